"""`Lingering`: members of rooms whose connection has ended, and who may come back. Pure but for its clock.

There is no task for each: `run_due` ends those whose time is over, some at a time, and `due` says when there is
something to do again.
"""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import Final, Protocol, final

from attrs import field, frozen

from seawall.connection.revocation_owners import Owners
from seawall.connection.revocations import CredentialSnapshot, Entry, Selection
from seawall.topics.keys import RoomKey
from seawall.topics.kicks import Who
from seawall.topics.presence_table import Subjects

#: Members that linger at a time, in all rooms of an app. One more, and whoever has most of them loses the first.
MAX_LINGERING: Final = 10_000

#: Members that leave before other tasks have their turn: about a millisecond's worth.
AT_A_TIME: Final = 100


class Leaves(Protocol):
    """A member that can leave its room."""

    def leave(self) -> None:
        """Leave, and have it told. It is not called for a member that has been taken over, and never twice."""
        ...


@final
@frozen(eq=False, kw_only=True)
class Lingerer:
    """One member that lingers."""

    key: RoomKey
    connection: str
    """The id of the one that has ended."""
    held: tuple[CredentialSnapshot, ...] = field(repr=False)
    """What that was let in by."""
    subjects: Subjects = field(repr=False)
    until: float
    """When it leaves, on Trio's clock."""
    member: Leaves

    def is_about(self, key: RoomKey, who: Who) -> bool:
        """Whether a kick of `who` out of a room is about it."""
        return key == self.key and who.matches(self.connection, self.held)

    def is_revoked_by(self, selection: Selection, entry: Entry) -> bool:
        """Whether a revocation is about it."""
        return any(selection.matches(held) and entry.covers(held) for held in self.held)


@final
class Lingering:
    """The members of one app that linger."""

    def __init__(self, at_most: int = MAX_LINGERING) -> None:
        """Begin with none."""
        self._at_most = at_most
        self._lingerers: dict[Lingerer, None] = {}
        self._owners: Owners[Subjects, Lingerer] = Owners()
        self._ends: list[tuple[float, int, Lingerer]] = []  # a heap; some do not linger any more
        self._counter = count()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._lingerers)

    @property
    def due(self) -> float:
        """When to call `run_due`, on Trio's clock; infinity if there is nobody."""
        while self._ends and self._ends[0][2] not in self._lingerers:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else math.inf

    def add(self, lingerer: Lingerer) -> None:
        """Have it leave when its time is over."""
        if len(self._lingerers) >= self._at_most:
            self._end(self._first_of_largest())
        self._lingerers[lingerer] = None
        self._owners.add(lingerer.subjects, lingerer)
        if len(self._ends) > 2 * self._at_most:  # most have been taken over
            self._ends = [(one.until, next(self._counter), one) for one in self._lingerers]
            heapq.heapify(self._ends)
        else:
            heapq.heappush(self._ends, (lingerer.until, next(self._counter), lingerer))

    def discard(self, lingerer: Lingerer) -> None:
        """Forget it, because somebody has taken it over."""
        if lingerer in self._lingerers:
            del self._lingerers[lingerer]
            self._owners.discard(lingerer.subjects, lingerer)

    def run_due(self, now: float) -> None:
        """Have some of those leave whose time is over: all of a large room at once would hold up everybody else."""
        for _ in range(AT_A_TIME):
            if self.due > now:
                return
            self._end(heapq.heappop(self._ends)[2])

    def end(self) -> None:
        """Have all leave, because the app is not served any more."""
        for lingerer in list(self._lingerers):
            self._end(lingerer)

    def on_revoked(self, selection: Selection, entry: Entry) -> None:
        """Have those leave at once whose credential has been revoked."""
        for lingerer in [one for one in self._lingerers if one.is_revoked_by(selection, entry)]:
            self._end(lingerer)

    def on_kicked(self, key: RoomKey, who: Who) -> None:
        """The same for those who have been kicked out of a room."""
        for lingerer in [one for one in self._lingerers if one.is_about(key, who)]:
            self._end(lingerer)

    def _first_of_largest(self) -> Lingerer:
        largest = self._owners.largest()
        if largest is None:
            return next(iter(self._lingerers))
        return min(self._owners.of(largest), key=lambda one: one.until)

    def _end(self, lingerer: Lingerer) -> None:
        self.discard(lingerer)
        lingerer.member.leave()
