"""`Owners`: whose single credentials have been revoked, and which owner has most of them."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Final, Generic, TypeVar, final

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)

#: Entries of the heap beside those of the owners that there are, before it is made anew.
_SLACK: Final = 64


@final
class Owners(Generic[K, V]):
    """Owners, each with what it has. `largest` takes no longer where there are many."""

    def __init__(self) -> None:
        """Begin with none."""
        self._owned: dict[K, set[V]] = {}
        self._sizes: list[tuple[int, int, K]] = []  # a heap of negative sizes; the owner may have fewer by now
        self._counter = count()

    def __len__(self) -> int:
        """How many owners there are."""
        return len(self._owned)

    def add(self, owner: K, one: V) -> None:
        """Let `owner` have `one`."""
        owned = self._owned.setdefault(owner, set())
        if one not in owned:
            owned.add(one)
            self._push(owner, len(owned))

    def discard(self, owner: K, one: V) -> None:
        """The opposite."""
        owned = self._owned.get(owner)
        if owned is not None:
            owned.discard(one)
            if not owned:
                del self._owned[owner]

    def of(self, owner: K) -> tuple[V, ...]:
        """What `owner` has."""
        return tuple(self._owned.get(owner, ()))

    def largest(self) -> K | None:
        """Who has most, and two at least; None if nobody has."""
        while self._sizes:
            noted, number, owner = self._sizes[0]
            size = len(self._owned.get(owner, ()))
            if size == -noted:
                return owner
            if size > 1:  # fewer than noted: whenever somebody gets one more, that is noted
                heapq.heapreplace(self._sizes, (-size, number, owner))
            else:
                heapq.heappop(self._sizes)
        return None

    def _push(self, owner: K, size: int) -> None:
        if size < 2:
            return
        if len(self._sizes) > 2 * len(self._owned) + _SLACK:
            several = ((each, len(owned)) for each, owned in self._owned.items())
            self._sizes = [(-many, next(self._counter), each) for each, many in several if many > 1]
            heapq.heapify(self._sizes)
        heapq.heappush(self._sizes, (-size, next(self._counter), owner))
