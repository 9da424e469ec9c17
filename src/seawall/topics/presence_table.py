"""`MemberTable`: who is in one room. Pure: it tells nobody.

A member belongs to a connection, or lingers: its connection has ended, and it is taken over by whoever comes back as
the same subject. A member that has left leaves no second time.
"""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar, final

from attrs import define, frozen

from seawall.connection.revocations import CredentialSnapshot
from seawall.topics.presence_changes import Member

M = TypeVar("M")

#: Whose a member is: issuer and subject of each credential that names one. Nobody takes over what is nobody's.
Subjects: TypeAlias = frozenset[tuple[str, str]]


def subjects_of(held: tuple[CredentialSnapshot, ...]) -> Subjects:
    """Whom these credentials identify."""
    return frozenset((one.issuer, one.subject) for one in held if one.subject is not None)


@final
@frozen
class Said(Generic[M]):
    """A value, and how the codec of the app writes it: two that are written alike are one value."""

    value: M
    encoded: bytes


@final
@define(eq=False)
class MemberEntry(Generic[M]):
    """A member, as the table keeps it."""

    id: str
    said: Said[M]
    connection: str
    """The id of the one that it belongs to, or has belonged to."""
    lingers_for: Subjects = frozenset()
    """Who may take it over; nobody while it belongs to a connection."""
    has_left: bool = False

    @property
    def member(self) -> Member[M]:
        """What is told of it."""
        return Member(self.id, self.said.value)


@final
class MemberTable(Generic[M]):
    """The members of one room."""

    __slots__ = ("_by_connection", "_by_id", "_lingering")

    def __init__(self) -> None:
        """Begin with nobody."""
        self._by_id: dict[str, MemberEntry[M]] = {}  # in the order in which they have joined
        self._by_connection: dict[str, MemberEntry[M]] = {}
        self._lingering: dict[Subjects, dict[MemberEntry[M], None]] = {}

    def __len__(self) -> int:
        """How many members there are, lingering ones included."""
        return len(self._by_id)

    def members(self) -> tuple[Member[M], ...]:
        """All of them."""
        return tuple(entry.member for entry in self._by_id.values())

    def has(self, connection: str) -> bool:
        """Whether one belongs to this connection."""
        return connection in self._by_connection

    def to_take_over(self, subjects: Subjects) -> MemberEntry[M] | None:
        """The one that lingers for `subjects`, the last that began to; None if there is none."""
        lingering = self._lingering.get(subjects) if subjects else None
        return next(reversed(lingering)) if lingering else None

    def join(self, entry: MemberEntry[M]) -> None:
        """Add `entry`, whose connection has none."""
        self._by_id[entry.id] = self._by_connection[entry.connection] = entry

    def take_over(self, entry: MemberEntry[M], connection: str) -> None:
        """Have `entry`, which lingers, belong to `connection`, which has none."""
        self._end_lingering(entry)
        entry.connection = connection
        self._by_connection[connection] = entry

    def linger(self, entry: MemberEntry[M], subjects: Subjects) -> None:
        """Keep `entry`, whose connection has ended, for `subjects` to come back; there is one at least."""
        del self._by_connection[entry.connection]
        entry.lingers_for = subjects
        self._lingering.setdefault(subjects, {})[entry] = None

    def leave(self, entry: MemberEntry[M]) -> bool:
        """Remove `entry`; False if it has left before."""
        if entry.has_left:
            return False
        entry.has_left = True
        if entry.lingers_for:
            self._end_lingering(entry)
        else:
            del self._by_connection[entry.connection]
        del self._by_id[entry.id]
        return True

    def _end_lingering(self, entry: MemberEntry[M]) -> None:
        subjects, entry.lingers_for = entry.lingers_for, frozenset()
        lingering = self._lingering[subjects]
        del lingering[entry]
        if not lingering:
            del self._lingering[subjects]
