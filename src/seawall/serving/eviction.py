"""`EvictionQueue`: which of the connections that have not been let in gives way when there are too many of them.

Of the address that has most of them it is the oldest: first of those whose request is not whole, then of those whose
guard waits for a message. Where addresses have equally many, one with a request that is not whole comes first.

A queue is used in two ways. As long as there is room, connections only enter and leave, which costs an entry in a
dict; not even their addresses are looked at. From the first time that somebody has to give way they are counted by
address as well, and kept in the order of those counts, so that finding the next one takes no walk over them. That ends
when there are few again.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol, final


@final
class Waiting(enum.IntEnum):
    """What of its peer a connection waits for that gives way to others. Those that come first do so first."""

    REQUEST = 0
    """Its request is not whole."""
    MESSAGE = 1
    """A guard waits for a message."""


class Evictable(Protocol):
    """What a queue holds: a place."""

    @property
    def network(self) -> str:
        """What is counted as one address."""
        ...


@final
class _Group:
    """Those of one address."""

    __slots__ = ("network", "waiting")

    def __init__(self, network: str) -> None:
        self.network = network
        self.waiting: tuple[dict[Evictable, None], dict[Evictable, None]] = ({}, {})

    @property
    def rank(self) -> tuple[int, bool]:
        """How many there are, and whether some have not sent their request."""
        requests, messages = self.waiting
        return len(requests) + len(messages), bool(requests)

    def oldest(self) -> Evictable:
        requests, messages = self.waiting
        return next(iter(requests or messages))


@final
class _Crowd:
    """Those of all addresses, by how many each has."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._ranked: dict[tuple[int, bool], dict[_Group, None]] = {}
        self._most = 0

    def add(self, item: Evictable, waiting: Waiting) -> None:
        group = self._groups.get(item.network)
        if group is None:
            group = self._groups[item.network] = _Group(item.network)
        else:
            self._forget(group)
        group.waiting[waiting][item] = None
        self._file(group)

    def remove(self, item: Evictable, waiting: Waiting) -> None:
        group = self._groups[item.network]
        self._forget(group)
        del group.waiting[waiting][item]
        if group.rank[0]:
            self._file(group)
        else:
            del self._groups[item.network]

    def first(self) -> Evictable | None:
        while self._most:
            for is_incomplete in (True, False):
                for group in self._ranked.get((self._most, is_incomplete), ()):
                    return group.oldest()
            self._most -= 1  # it rises by one for each that is added, so this is no walk over all
        return None

    def _file(self, group: _Group) -> None:
        rank = group.rank
        self._ranked.setdefault(rank, {})[group] = None
        self._most = max(self._most, rank[0])

    def _forget(self, group: _Group) -> None:
        rank = group.rank
        ranked = self._ranked[rank]
        del ranked[group]
        if not ranked:
            del self._ranked[rank]


@final
class EvictionQueue:
    """The connections that wait for their peers before they have been let in, the oldest first."""

    def __init__(self, few: int) -> None:
        """Begin with none. When no more than `few` are left, they are not counted by address any more."""
        self._few: Final = few
        self._waiting: dict[Evictable, Waiting] = {}
        self._crowd: _Crowd | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, item: Evictable, waiting: Waiting) -> None:
        """Let `item`, which is not in the queue, give way from now on."""
        self._waiting[item] = waiting
        if self._crowd is not None:
            self._crowd.add(item, waiting)

    def discard(self, item: Evictable) -> None:
        """Do not let `item` give way. May be called more than once."""
        waiting = self._waiting.pop(item, None)
        if waiting is None or self._crowd is None:
            return
        if len(self._waiting) > self._few:
            self._crowd.remove(item, waiting)
        else:
            self._crowd = None

    def first(self) -> Evictable | None:
        """The one that gives way next; None if nobody does."""
        if self._crowd is None and self._waiting:
            self._crowd = _Crowd()
            for item, waiting in self._waiting.items():
                self._crowd.add(item, waiting)
        return None if self._crowd is None else self._crowd.first()
