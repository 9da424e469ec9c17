"""`EvictionQueue`: which of the connections that have not been let in gives way when there are too many of them.

Of the address that has most of them it is the oldest: first of those that have been answered and are about to be
closed, then of those whose request is not whole, then of those whose guard waits for a message, or for room to send
one. Where addresses have equally many, the one comes first whose oldest would by that. Those whose guards are at work
count as well, though they do not give way.

A queue is used in two ways. As long as there is room, connections only enter and leave, which costs an entry in a
dict; not even their addresses are looked at. From the first time that somebody has to give way they are counted by
address as well, and kept in the order of those counts, so that finding the next one takes no walk over them. That ends
when there are few again, and as many have left as had to be counted in the beginning.
"""

from __future__ import annotations

import enum
from heapq import heapify, heappop, heappush
from typing import Final, Protocol, final


@final
class Waiting(enum.IntEnum):
    """What of its peer a connection waits for that gives way to others. Those that come first do so first."""

    CLOSING = 0
    """It has been answered, and is closed when the peer has read that, or has had its time."""
    REQUEST = 1
    """Its request is not whole."""
    MESSAGE = 2
    """A guard waits for a message."""
    ROOM = 3
    """A guard waits for room to send a message, because the peer has not read what it has been sent."""
    NOTHING = 4
    """Its guards are at work, and it does not give way."""


class Evictable(Protocol):
    """What a queue holds: a place."""

    @property
    def network(self) -> str:
        """What is counted as one address."""
        ...


@final
class _Group:
    """Those of one address."""

    __slots__ = ("count", "number", "waiting")

    def __init__(self) -> None:
        self.waiting: tuple[dict[Evictable, None], ...] = tuple({} for _ in Waiting)
        self.count = 0
        self.number = 0  # of its last entry among those that are ranked

    @property
    def first(self) -> Waiting:
        """What the first one waits for; nothing if none gives way."""
        return next((what for what in Waiting if self.waiting[what]), Waiting.NOTHING)


#: A group by how many it has, and what its first one waits for; the number tells which came to that first.
_Rank = tuple[int, Waiting, int, _Group]


@final
class _Crowd:
    """Those of all addresses, by how many each has."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._ranked: list[_Rank] = []  # a heap; entries that are not the last ones of their groups are stale
        self._number = 0

    def add(self, item: Evictable, waiting: Waiting) -> None:
        group = self._groups.get(item.network)
        if group is None:
            group = self._groups[item.network] = _Group()
        group.waiting[waiting][item] = None
        group.count += 1
        self._rank(group)

    def remove(self, item: Evictable, waiting: Waiting) -> None:
        group = self._groups[item.network]
        del group.waiting[waiting][item]
        group.count -= 1
        self._rank(group)
        if not group.count:
            del self._groups[item.network]

    def first(self) -> Evictable | None:
        while self._ranked:
            _, waiting, number, group = self._ranked[0]
            if group.number == number:
                return next(iter(group.waiting[waiting]))
            heappop(self._ranked)
        return None

    def count(self, network: str) -> int:
        group = self._groups.get(network)
        return 0 if group is None else group.count

    def _rank(self, group: _Group) -> None:
        self._number += 1
        group.number = self._number
        if (first := group.first) is not Waiting.NOTHING:
            heappush(self._ranked, (-group.count, first, self._number, group))
        if len(self._ranked) > 2 * len(self._groups) + 10:  # at least half are stale
            self._ranked = [rank for rank in self._ranked if rank[3].number == rank[2]]
            heapify(self._ranked)


@final
class EvictionQueue:
    """The connections that have not been let in, the oldest first, and what they wait for."""

    def __init__(self, few: int) -> None:
        """Begin with none. When no more than `few` are left, they need not be counted by address any more."""
        self._few: Final = few
        self._owed = 0  # so many have to leave before they may have to be counted again
        self._waiting: dict[Evictable, Waiting] = {}
        self._crowd: _Crowd | None = None

    def __len__(self) -> int:
        """How many there are, whatever they wait for."""
        return len(self._waiting)

    def put(self, item: Evictable, waiting: Waiting) -> None:
        """Note what `item`, which may be new, waits for from now on."""
        before = self._waiting.get(item)
        if before is waiting:
            return
        if before is not None:
            del self._waiting[item]  # it becomes the last one of its kind
        self._waiting[item] = waiting
        if self._crowd is not None:
            if before is not None:
                self._crowd.remove(item, before)
            self._crowd.add(item, waiting)

    def discard(self, item: Evictable) -> None:
        """Forget `item`. May be called more than once."""
        waiting = self._waiting.pop(item, None)
        if waiting is None or self._crowd is None:
            return
        self._owed -= 1
        if len(self._waiting) > self._few or self._owed > 0:
            self._crowd.remove(item, waiting)
        else:
            self._crowd = None

    def first(self) -> Evictable | None:
        """The one that gives way next; None if nobody does."""
        return self._counted().first() if self._waiting else None

    def count(self, network: str) -> int:
        """How many there are of this address."""
        return self._counted().count(network) if self._waiting else 0

    def _counted(self) -> _Crowd:
        if self._crowd is None:
            self._crowd, self._owed = _Crowd(), len(self._waiting)
            for item, waiting in self._waiting.items():
                self._crowd.add(item, waiting)
        return self._crowd
