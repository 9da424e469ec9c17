"""What must check about presence: who subscribes to it, and what is told."""

from __future__ import annotations

from typing import assert_never, assert_type

from attrs import frozen

from seawall import App, Connection, Sendable
from seawall.rooms import (
    Change,
    Disconnect,
    DropOldest,
    Gap,
    Joined,
    Left,
    Member,
    People,
    PresenceChange,
    PresenceEvent,
    RoomEvent,
    Snapshot,
    Subscribable,
    Subscription,
    Updated,
)
from tests.typing.house import Person


@frozen
class Who:
    """What somebody says of itself."""

    name: str


@frozen
class Admin(Who):
    """A special case of it."""


app = App()
people = app.presence("rooms/{room}", Who)
lobby = people(room="lobby")


def tell(event: RoomEvent[PresenceChange[Who]] | Gap) -> Sendable | None:
    """Makes messages of what changes."""
    if isinstance(event, Gap):
        return None
    match event.value:
        case Snapshot(members):
            assert_type(members, tuple[Member[Who], ...])
            return ", ".join(member.value.name for member in members)
        case Joined(member) | Updated(member):
            assert_type(member, Member[Who])
            return member.value
        case Left(member):
            return member.id
        case _:
            assert_never(event.value)


def count(event: RoomEvent[object] | Gap) -> Sendable | None:
    """Takes what any room has."""
    return "gap" if isinstance(event, Gap) else None


async def attend(conn: Connection[Person]) -> None:
    """A connection of whatever principal is told."""
    feed: Subscribable[PresenceChange[Who], object] = lobby
    async with conn.subscribe(lobby, wrap=tell) as subscription:
        assert_type(subscription, Subscription)
    async with conn.subscribe(lobby, wrap=count, lag=DropOldest(10), since="joined"):
        await conn.receive()
    async with conn.subscribe(feed, wrap=tell, lag=Disconnect(10)):
        await conn.receive()
    async with lobby.joined(conn, Admin("ada")) as me:
        await me.update(Admin("eve"))
    assert_type(lobby, People[Who])
    assert_type(await lobby.kick(issuer="us", subject="eve", session_id="s", seconds=0.5), int)
    assert_type(await lobby.unkick(issuer="us", subject="eve", session_id="s"), bool)


def of(event: PresenceEvent[Who]) -> Change[Who] | None:
    """What happens, without what was there before."""
    match event:
        case Snapshot() | Gap():
            return None
        case _:
            return event
