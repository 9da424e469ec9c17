"""`NewestIndex`: of the events of each key, which one is the newest. For who reads a room by `Latest`."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Hashable
from types import MethodType
from typing import Final, final

from seawall.lag import Latest
from seawall.topics.entry import Entry
from seawall.topics.log import Log

#: Numbers that are no longer the newest of their key, beyond one for each key, from which on they are removed.
_SPARE: Final = 64


@final
class NewestIndex:
    """The newest event of each key, in the order of the events; all who have the same `Latest` share one.

    It pins those events in the log, and forgets the key whose newest event is the oldest when there are too many.
    """

    __slots__ = ("_at_most", "_key", "_keys", "_log", "_newest", "_numbers", "begins", "evicted", "failure", "users")

    def __init__(self, log: Log, key: Callable[[object], Hashable], at_most: int) -> None:
        """Begin with what is in the log."""
        self._log = log
        self._key = key
        self._at_most = at_most
        self._newest: OrderedDict[Hashable, int] = OrderedDict()  # by key, the number of its newest event; in order
        self._keys: dict[int, Hashable] = {}  # by number
        self._numbers: list[int] = []  # in order, and among them some that are not in `_keys` any more
        self.evicted = 0
        """The number of the last event that was forgotten though it was the newest of its key."""
        self.failure: Exception | None = None
        """What the key function has raised; the index is of no use then."""
        self.users = 0
        """How many read by it, and one more if it is kept though nobody does."""
        self.begins = log.base
        """The number from which on it has seen every event."""
        for number in range(log.base, log.end):
            entry = log.get(number)
            if entry is not None:
                self.add(number, entry)

    def is_of(self, lag: Latest[object]) -> bool:
        """Whether it is the index that `lag` asks for, and is of use."""
        return is_same(self._key, lag.key) and self._at_most == lag.at_most and self.failure is None

    def add(self, number: int, entry: Entry, /) -> None:
        """The event is the newest of its key."""
        if self.failure is not None:
            return
        try:
            key = self._key(entry.value)
            replaced = self._newest.pop(key, None)
            self._newest[key] = number
        except Exception as failure:  # noqa: BLE001 - whatever it is, it ends those who read by it, not the publisher
            self.failure = failure
            self.drop()
            return
        self._log.pin(number)
        if replaced is not None:
            self._forget(replaced)
        self._keys[number] = key
        self._numbers.append(number)
        if len(self._newest) > self._at_most:
            self._evict_oldest()
        if len(self._numbers) > 2 * len(self._keys) + _SPARE:
            self._numbers = [one for one in self._numbers if one in self._keys]

    def evict(self, number: int, /) -> None:
        """The log has given up this event, which no older one has survived."""
        if number not in self._keys:
            return
        self.evicted = number
        key = self._keys.pop(number)
        try:
            del self._newest[key]
        except Exception as failure:  # noqa: BLE001 - the key is an object of the application's, and so is its hash
            self.failure = failure
            self.drop()

    def first_from(self, number: int) -> int | None:
        """The first of the newest events that has at least this number."""
        numbers, keys = self._numbers, self._keys
        for at in range(bisect_left(numbers, number), len(numbers)):
            if numbers[at] in keys:
                return numbers[at]
        return None

    def first_since(self, oldest: float) -> int:
        """The first of the newest events that was not published before `oldest`; `Log.end` if there is none."""
        for number in self._numbers:
            entry = self._log.get(number) if number in self._keys else None
            if entry is not None and entry.at >= oldest:
                return number
        return self._log.end

    def drop(self) -> None:
        """Be told nothing, and pin nothing, any more."""
        self._log.indexes = tuple(other for other in self._log.indexes if other is not self)
        for number in self._keys:
            self._log.unpin(number)
        self._keys.clear()
        self._newest.clear()
        self._numbers.clear()

    def _forget(self, number: int) -> None:
        if self._keys.pop(number, None) is not None:
            self._log.unpin(number)

    def _evict_oldest(self) -> None:
        _, number = self._newest.popitem(last=False)
        self._forget(number)
        self.evicted = number


def is_same(one: object, other: object) -> bool:
    """Whether these are one function; a bound method is made anew each time that it is looked up."""
    return one is other or (isinstance(one, MethodType) and isinstance(other, MethodType) and one == other)


def keep_index(log: Log, lag: Latest[object]) -> None:
    """Keep the newest of each key in a log, whether or not somebody reads by it."""
    index = NewestIndex(log, lag.key, lag.at_most)
    index.users = 1
    log.indexes += (index,)


def join_index(log: Log, lag: Latest[object]) -> NewestIndex:
    """The index of a log that `lag` asks for; made if there is none.

    Raises:
      Exception: what the key function has raised about an event that is kept.
    """
    for index in log.indexes:
        if isinstance(index, NewestIndex) and index.is_of(lag):
            index.users += 1
            return index
    index = NewestIndex(log, lag.key, lag.at_most)
    if index.failure is not None:
        raise index.failure
    index.users = 2 if is_kept(log, lag) else 1
    log.indexes += (index,)
    return index


def is_kept(log: Log, lag: Latest[object]) -> bool:
    """Whether a log keeps the newest of each key, as `lag` asks for it, for who comes."""
    kept = log.retention.latest
    if kept is None or not log.retention.history:
        return False
    return is_same(kept.key, lag.key) and kept.at_most == lag.at_most


def leave_index(index: NewestIndex) -> None:
    """One reads by it no longer."""
    index.users -= 1
    if not index.users:
        index.drop()
