"""`MemorySessions`: sessions that are gone with the process."""

from __future__ import annotations

import heapq
from typing import Final, final

import trio

from seawall.errors import Unavailable
from seawall.login.session_store import Rotated, Rotation, StoredSession, rotate
from seawall.mistakes import check_counts

#: Entries of the heap beside those of the sessions that there are, before it is made anew.
_SLACK: Final = 64


@final
class MemorySessions:
    """A `SessionStore` in memory: all sessions are over when the process ends, and other processes know none of them.

    An entry takes about a kilobyte.
    """

    def __init__(self, *, at_most: int = 100_000, per_subject: int = 100) -> None:
        """Begin with none.

        Args:
          at_most: how many sessions there may be; while there are, another one is `Unavailable`.
          per_subject: how many a subject may have. One more takes the place of the one that was used longest ago.

        Raises:
          ConfigurationError: one of the numbers is none, or less than 1.
        """
        check_counts("MemorySessions", "sessions", at_most=at_most, per_subject=per_subject)
        self._at_most = at_most
        self._per_subject = per_subject
        self._by_family: dict[bytes, StoredSession] = {}
        self._families: dict[str, bytes] = {}
        self._owned: dict[tuple[str, str], set[bytes]] = {}
        self._ends: list[tuple[float, bytes]] = []  # a heap; an entry may have gone

    def __len__(self) -> int:
        """How many there are."""
        return len(self._by_family)

    async def add(self, session: StoredSession, /) -> None:
        """Store a new session.

        Raises:
          Unavailable: there are `at_most`.
        """
        await trio.lowlevel.checkpoint()
        self._delete_ended(session.used_at)
        siblings = self._owned.get((session.issuer, session.subject), set[bytes]())
        if len(siblings) >= self._per_subject:
            self._delete(min(siblings, key=lambda family: self._by_family[family].used_at))
        if len(self._by_family) >= self._at_most:
            raise Unavailable(f"there are {self._at_most} sessions already")
        self._by_family[session.family] = session
        self._families[session.session_id] = session.family
        self._owned.setdefault((session.issuer, session.subject), set()).add(session.family)
        heapq.heappush(self._ends, (session.ends_at, session.family))

    async def rotate(self, family: bytes, presented: bytes, successor: bytes, now: float, /) -> Rotation:
        """Do what the function `rotate` says about the session of this family."""
        await trio.lowlevel.checkpoint()
        session = self._by_family.get(family)
        rotation = None if session is None else rotate(session, presented, successor, now)
        if isinstance(rotation, Rotated):
            self._by_family[family] = rotation.session
        elif session is not None:
            self._delete(family)
        return rotation

    async def delete(self, session_id: str, /) -> None:
        """Delete the session of this id, if there is one."""
        await trio.lowlevel.checkpoint()
        family = self._families.get(session_id)
        if family is not None:
            self._delete(family)

    async def delete_subject(self, issuer: str, subject: str, /) -> tuple[str, ...]:
        """Delete all sessions of a subject of an issuer, and return the ids that they had."""
        await trio.lowlevel.checkpoint()
        families = tuple(self._owned.get((issuer, subject), ()))
        return tuple(self._delete(family).session_id for family in families)

    def _delete_ended(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, family = heapq.heappop(self._ends)
            if family in self._by_family:
                self._delete(family)

    def _delete(self, family: bytes) -> StoredSession:
        session = self._by_family.pop(family)
        del self._families[session.session_id]
        owner = (session.issuer, session.subject)
        self._owned[owner].discard(family)
        if not self._owned[owner]:
            del self._owned[owner]
        if len(self._ends) > 2 * len(self._by_family) + _SLACK:
            self._ends = [(each.ends_at, each.family) for each in self._by_family.values()]
            heapq.heapify(self._ends)
        return session
