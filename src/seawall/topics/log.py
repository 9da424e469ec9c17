"""`Log`: the events of one room that are kept, for who comes back and for who is behind. No I/O, and no clock.

An event has a number, the first one has 1. Those from `Log.base` to before `Log.end` are in `Log.entries`. Older ones
are kept where somebody has pinned them: an index of the newest values (`Latest`), or a reader that is so far behind
that newer ones are lost to it (`DropNewest`). Everybody else reads what is in `entries`, and may find that it is gone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, deque
from typing import Protocol, final

from attrs import frozen

from seawall.lag import Latest
from seawall.position import Position
from seawall.topics.entry import Entry
from seawall.topics.history_budget import HistoryBudget
from seawall.topics.keys import RoomKey
from seawall.topics.readers import Readers


@final
@frozen
class Retention:
    """What a room keeps for who comes back."""

    history: int = 0
    """At most so many events."""
    ttl: float | None = None
    """Those that are younger than so many seconds; None for any."""
    latest: Latest[object] | None = None
    """Beside them, where there is a history, the newest of each key; see `NewestIndex`."""


class Index(Protocol):
    """What is told of each event: the newest value of each key."""

    def add(self, number: int, entry: Entry, /) -> None:
        """An event has been published. Must not raise."""
        ...

    def evict(self, number: int, /) -> None:
        """This event is no longer kept."""
        ...


@final
class Use:
    """Whose log it is, and who uses it."""

    __slots__ = ("count", "key", "last")

    def __init__(self, key: RoomKey) -> None:
        """Begin with nobody."""
        self.key = key
        """Of the room."""
        self.count = 0
        """How many need the log, as `Engine.open` counts them."""
        self.last = 0.0
        """When there was the last event, or the last of the users has left, on Trio's clock."""


@final
class Log:
    """The events of one room."""

    __slots__ = (
        "_budget",
        "_pinned",
        "base",
        "end",
        "entries",
        "epoch",
        "indexes",
        "readers",
        "retention",
        "size",
        "use",
    )

    def __init__(self, key: RoomKey, epoch: str, retention: Retention, budget: HistoryBudget[Log]) -> None:
        """Begin with no event."""
        self.epoch = epoch
        """Names this log among all that there have been."""
        self.retention = retention
        """What is kept though nobody needs it now."""
        self.use = Use(key)
        """Whose it is, and who uses it."""
        self._budget = budget
        self.entries: deque[Entry] = deque()
        """The events from `base` on."""
        self.base = 1
        """The number of the first event in `entries`."""
        self.end = 1
        """The number of the event that comes next."""
        self._pinned: OrderedDict[int, Entry] | None = None  # older than `base`, made for the first one
        self.indexes: tuple[Index, ...] = ()
        """What is told of each event."""
        self.size = 0
        """The bytes of all events here."""
        self.readers = Readers()
        """Who reads it."""

    def position(self, number: int) -> Position:
        """The position of the event with this number."""
        return Position(self.epoch, number)

    def append(self, entry: Entry, now: float) -> int:
        """Add an event, at the time `now`, and return its number. What is surplus then is for `trim`."""
        number = self.end
        entry.at = self.use.last = now
        self.entries.append(entry)
        self.end = number + 1
        self._budget.change(self, entry.size)
        for index in self.indexes:
            index.add(number, entry)
        return number

    def get(self, number: int) -> Entry | None:
        """The event with this number; None if it is not kept, or has not come yet."""
        if number >= self.base:
            return self.entries[number - self.base] if number < self.end else None
        return None if self._pinned is None else self._pinned.get(number)

    def first_kept(self, number: int) -> int:
        """The number of the first event that is kept, from `number` on, which is before `base`."""
        return next((pinned for pinned in self._pinned or () if pinned >= number), self.base)

    def kept_from(self, now: float) -> int:
        """The number of the first event that is kept for who comes back, at the time `now`; `end` if there is none."""
        start = max(self.base, self.end - self.retention.history)
        if self.retention.ttl is None or start == self.end:
            return start
        oldest = now - self.retention.ttl
        base, entries = self.base, self.entries
        return bisect_left(range(start, self.end), oldest, key=lambda number: entries[number - base].at) + start

    def trim(self, lowest: int, now: float) -> None:
        """Remove what is not kept for who comes back; `lowest` is the first number that somebody else needs."""
        keep, freed = min(lowest, self.kept_from(now)), 0
        while self.base < keep:
            number, entry = self.base, self.entries.popleft()
            self.base = number + 1
            if entry.pins:
                self._pinned = OrderedDict() if self._pinned is None else self._pinned
                self._pinned[number] = entry
            else:
                freed += entry.size
        if freed:
            self._budget.change(self, -freed)  # once: it may be all that rooms may hold, in one turn

    def give_up(self) -> None:
        """Remove the oldest event, whoever needs it: all rooms together hold too much."""
        if self._pinned:
            number, entry = self._pinned.popitem(last=False)
        else:
            number, entry = self.base, self.entries.popleft()
            self.base = number + 1
        for index in self.indexes:
            index.evict(number)
        self._budget.change(self, -entry.size)

    def grow(self, entry: Entry, size: int) -> bool:
        """Have an event that is here take `size` more bytes; False if that would be too much for all rooms together."""
        if self._budget.total + size > self._budget.limit:
            return False
        entry.size += size
        self._budget.change(self, size)
        return True

    def pin(self, number: int) -> None:
        """Keep an event that is here until `unpin` is called as often."""
        entry = self.get(number)
        if entry is not None:
            entry.pins += 1

    def unpin(self, number: int) -> None:
        """An event is needed by one less; does nothing if it has been given up."""
        entry = self.get(number)
        if entry is None:
            return
        entry.pins -= 1
        if not entry.pins and number < self.base and self._pinned is not None:
            del self._pinned[number]
            self._budget.change(self, -entry.size)

    def drop(self) -> None:
        """Hold nothing more: the room is forgotten."""
        self.entries.clear()
        self.base = self.end
        self.indexes = ()
        self._pinned = None
        self._budget.change(self, -self.size)
