"""`FoldableGroups`: things in groups, each of which could be replaced by one thing; which one frees most."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar, final

G = TypeVar("G", bound=Hashable)
M = TypeVar("M", bound=Hashable)


@final
class FoldableGroups(Generic[G, M]):
    """What would become fewer if all members of a group were folded into one thing, which some groups have already.

    Each change costs as much as one in a heap, however many groups there are.
    """

    def __init__(self) -> None:
        """Begin with no groups."""
        self._members: dict[G, set[M]] = {}
        self._folded: set[G] = set()
        self._ranked: list[tuple[int, int, G]] = []  # a heap; those that are not as it says any more are out of date
        self._counter = count()

    def add(self, group: G, member: M) -> None:
        """Count `member`, which may be there already."""
        self._members.setdefault(group, set()).add(member)
        self._rank(group)

    def discard(self, group: G, member: M) -> None:
        """Count `member` no more."""
        members = self._members[group]
        members.discard(member)
        if not members:
            del self._members[group]
        self._rank(group)

    def mark(self, group: G, *, folded: bool) -> None:
        """Say whether the thing exists into which the members of `group` would be folded."""
        if folded:
            self._folded.add(group)
        else:
            self._folded.discard(group)
        self._rank(group)

    def members(self, group: G) -> tuple[M, ...]:
        """Those of `group`."""
        return tuple(self._members[group])

    def largest(self) -> G | None:
        """The group of which folding frees most, and of several the one that came to it first; None if none frees."""
        while self._ranked:
            freed, _, group = self._ranked[0]
            if self._freed_by(group) == -freed:
                return group
            heapq.heappop(self._ranked)
        return None

    def _freed_by(self, group: G) -> int:
        """How many fewer there are when those of `group` are folded."""
        members = self._members.get(group)
        return 0 if members is None else len(members) - (group not in self._folded)

    def _rank(self, group: G) -> None:
        if freed := self._freed_by(group):
            heapq.heappush(self._ranked, (-freed, next(self._counter), group))
        if len(self._ranked) > 2 * len(self._members) + 10:  # at least half are out of date
            counts = ((self._freed_by(each), each) for each in self._members)
            self._ranked = [(-freed, next(self._counter), each) for freed, each in counts if freed]
            heapq.heapify(self._ranked)
