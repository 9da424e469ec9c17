"""`InboundBudget`: how many bytes that nobody has received yet all connections of a server hold together."""

from __future__ import annotations

from typing import Final, Protocol, final

from seawall.errors import ProtocolViolation

#: Bytes from which on a connection is counted: most hold less, for a moment, and are not worth an entry.
COUNTED_FROM: Final = 4 * 1024

#: Bytes of complete messages that every connection may hold, whatever the others do.
UNTOUCHED: Final = 64 * 1024


class Holder(Protocol):
    """A queue of messages that are complete."""

    def set_hard_mark(self, hard: int, /) -> int:
        """Read nothing more while so many bytes are queued; the mark that held before."""
        ...


class Unfinished(Protocol):
    """A connection with bytes that are no complete message yet."""

    def fail(self, fault: Exception, /) -> None:
        """End it."""
        ...


@final
class InboundBudget:
    """Counts, by difference, and intervenes above its limit.

    Complete messages can wait: of the connections that hold more than `UNTOUCHED`, the one that holds most is paused,
    one for each message that comes above the limit, until its handler has received enough or all together hold a
    quarter less than the limit. A message that is not complete can not: if such alone exceed the limit, the connection
    whose one was begun first ends.
    """

    def __init__(self, limit: int) -> None:
        """Begin with nothing; `limit` is in bytes."""
        self._limit = limit
        self._queued: dict[Holder, int] = {}
        self._large: dict[Holder, int] = {}  # of these, those above `UNTOUCHED` that are not paused
        self._paused: dict[Holder, int] = {}  # and the hard marks that they had
        self._unfinished: dict[Unfinished, int] = {}  # in the order in which they were begun
        self.queued = 0
        """Bytes of complete messages."""
        self.unfinished = 0
        """Bytes that are not decoded yet, or belong to a message that is not complete."""

    def put(self, holder: Holder, size: int) -> None:
        """Note that `holder`, to which a message has been added, now holds `size` bytes."""
        if size < COUNTED_FROM:
            return
        self.queued += size - self._queued.get(holder, 0)
        self._queued[holder] = size
        if size > UNTOUCHED and holder not in self._paused:
            self._large[holder] = size
        if self.queued + self.unfinished > self._limit and self._large:
            most = max(self._large, key=self._large.__getitem__)
            del self._large[most]
            self._paused[most] = most.set_hard_mark(UNTOUCHED)

    def take(self, holder: Holder, size: int) -> None:
        """Note that `holder`, of which something has been taken, now holds `size` bytes. It may have been forgotten."""
        before = self._queued.pop(holder, None)
        if before is None:
            return
        if size >= COUNTED_FROM:
            self._queued[holder] = size
            self.queued += size - before
        else:
            self.queued -= before
        if holder in self._large:
            del self._large[holder]
            if size > UNTOUCHED:
                self._large[holder] = size
        self._go_on()

    def hold_unfinished(self, channel: Unfinished, size: int) -> None:
        """Note that `channel` holds `size` bytes which are no complete message."""
        before = self._unfinished.get(channel)
        if before is None and size < COUNTED_FROM:
            return
        self.unfinished += size - (before or 0)
        if size < COUNTED_FROM:
            self.unfinished -= size
            del self._unfinished[channel]
            self._go_on()
            return
        self._unfinished[channel] = size
        while self.unfinished > self._limit:
            first = next(iter(self._unfinished))
            self.unfinished -= self._unfinished.pop(first)
            first.fail(ProtocolViolation(1013, "too much is unfinished"))

    def forget(self, channel: Unfinished, holder: Holder) -> None:
        """Count a connection no more, because its socket is closed."""
        if self._unfinished:
            self.unfinished -= self._unfinished.pop(channel, 0)
        if self._queued:
            self._paused.pop(holder, None)
            self.take(holder, 0)

    def _go_on(self) -> None:
        """Have those that are paused be read again, if there is room."""
        if self._paused and (self.queued + self.unfinished) * 4 <= self._limit * 3:
            paused, self._paused = self._paused, {}
            for holder, hard in paused.items():
                holder.set_hard_mark(hard)
                if (size := self._queued.get(holder, 0)) > UNTOUCHED:
                    self._large[holder] = size
