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
        self._undecoded: dict[Unfinished, int] = {}
        self.queued = 0
        """Bytes of complete messages."""
        self.unfinished = 0
        """Bytes of messages that are not complete."""
        self.undecoded = 0
        """Bytes that are not decoded yet, though whole messages may be among them."""

    @property
    def held(self) -> int:
        """Bytes that are counted in all."""
        return self.queued + self.unfinished + self.undecoded

    def put(self, holder: Holder, size: int) -> None:
        """Note that `holder`, to which a message has been added, now holds `size` bytes."""
        if size < COUNTED_FROM:
            return
        self.queued += size - self._queued.get(holder, 0)
        self._queued[holder] = size
        if size > UNTOUCHED and holder not in self._paused:
            self._large[holder] = size
        if self.held > self._limit and self._large:
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

    def hold_unfinished(self, channel: Unfinished, size: int, *, is_begun: bool) -> None:
        """Note that `channel` holds `size` bytes that are not queued.

        Args:
          channel: what holds them.
          size: how many they are.
          is_begun: whether they belong to a message of which more has to come. If not, whole messages may be among
            them, which are decoded when the handler has caught up, or the guards have let the peer in.
        """
        counted = size if size >= COUNTED_FROM else 0
        if not counted and channel not in self._unfinished and channel not in self._undecoded:
            return
        self._uncount(channel, keep=is_begun and counted > 0)
        if is_begun and counted:
            self.unfinished += counted - self._unfinished.get(channel, 0)
            self._unfinished[channel] = counted  # one that is there already keeps its place in the order
        elif counted:
            self.undecoded += counted
            self._undecoded[channel] = counted
        while self.unfinished > self._limit:
            first = next(iter(self._unfinished))
            self._uncount(first)
            first.fail(ProtocolViolation(1013, "too much is unfinished"))
        self._go_on()

    def forget(self, holder: Holder) -> None:
        """Count a queue no more, because nobody receives from it any more."""
        if self.queued or self._paused:  # as rarely
            self._paused.pop(holder, None)
            self.take(holder, 0)

    def _uncount(self, channel: Unfinished, *, keep: bool = False) -> None:
        """Count nothing for `channel`, or, to `keep` it, only what it has of a message that is not complete."""
        self.undecoded -= self._undecoded.pop(channel, 0)
        if not keep:
            self.unfinished -= self._unfinished.pop(channel, 0)

    def _go_on(self) -> None:
        """Have those that are paused be read again, if there is room."""
        if self._paused and self.held * 4 <= self._limit * 3:
            paused, self._paused = self._paused, {}
            for holder, hard in paused.items():
                holder.set_hard_mark(hard)
                if (size := self._queued.get(holder, 0)) > UNTOUCHED:
                    self._large[holder] = size
