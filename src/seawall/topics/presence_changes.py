"""Who is in a room, and what changes: what is read of presence."""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar, final

from attrs import frozen

from seawall.room_event import Gap

M_co = TypeVar("M_co", covariant=True)
M = TypeVar("M")


@final
@frozen
class Member(Generic[M_co]):
    """Somebody who is in a room."""

    id: str
    """Tells the members of a room apart. It stays the same when somebody comes back in time, through a reload of the
    page for instance, and it is no secret: clients may see it."""
    value: M_co
    """What has been said of it, by `People.joined` or `Membership.update`."""


@final
@frozen
class Snapshot(Generic[M_co]):
    """Who is there now: what readers begin with, and begin anew with behind each `Gap`."""

    members: tuple[Member[M_co], ...]
    """In the order in which they have joined."""


@final
@frozen
class Joined(Generic[M_co]):
    """Somebody has come."""

    member: Member[M_co]


@final
@frozen
class Updated(Generic[M_co]):
    """Somebody who is there has another value."""

    member: Member[M_co]
    """With the new one."""


@final
@frozen
class Left(Generic[M_co]):
    """Somebody is gone: it is told once of each member that joined."""

    member: Member[M_co]
    """As it was at last."""


#: What happens in a room.
Change: TypeAlias = Joined[M] | Updated[M] | Left[M]

#: What is told of a room: in a `RoomEvent`, to the ``wrap`` of a subscription.
PresenceChange: TypeAlias = Snapshot[M] | Joined[M] | Updated[M] | Left[M]

#: What a reader of the changes sees.
PresenceEvent: TypeAlias = Snapshot[M] | Joined[M] | Updated[M] | Left[M] | Gap
