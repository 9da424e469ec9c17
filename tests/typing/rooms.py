"""What must check about rooms: topics and their rooms, who may read them, lag, and what a subscription sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never, assert_type
from uuid import UUID

from attrs import frozen

from seawall import App, Connection, Forbidden, Sendable
from seawall.rooms import (
    Disconnect,
    DropNewest,
    DropOldest,
    Gap,
    Joined,
    Lag,
    Latest,
    Left,
    Member,
    Membership,
    People,
    Position,
    Presence,
    Room,
    RoomEvent,
    Since,
    Snapshot,
    Subscribable,
    Subscription,
    Topic,
    Updated,
)
from tests.typing.house import Admin, Opens, Person, Robot


@frozen
class Said:
    """What somebody has said."""

    text: str
    at: Position | None = None


@frozen
class Thanked(Said):
    """A special case of it."""


@frozen
class Renamed:
    """A room has another name."""

    name: str


@frozen
class Price:
    """What something costs."""

    symbol: str
    cents: int


@frozen
class Missed:
    """The peer has missed something."""

    lost: int | None
    since: Position


app = App()
said = app.topic("rooms/{room}", Said, history=100, ttl=300, lag=Disconnect(256))
news = app.topic("news", Said | Renamed)
ticks = app.topic("ticks/{market:int}/{id:uuid}", Price, lag=Latest(lambda price: price.symbol))
lines = app.topic("lines", str, lag=DropOldest(10))
assert_type(said, Topic[Said])
assert_type(said, Topic[Said, object])
assert_type(news, Topic[Said | Renamed])
assert_type(ticks, Topic[Price])
assert_type(lines, Topic[str])
assert_type(said(room="lobby"), Room[Said])
assert_type(news(), Room[Said | Renamed])
assert_type(ticks(market=7, id=UUID(int=0)), Room[Price])


async def may_read(person: Person, room: str) -> None:
    """The check of a topic, with the parameters of its pattern."""
    if room not in person.name:
        raise Forbidden


async def anybody(principal: object) -> None:
    """A check that needs none of them."""


of_members = app.topic("members/{room}", Said, history=10).readable(may_read)
assert_type(of_members, Topic[Said, Person])
assert_type(of_members(room="lobby"), Room[Said, Person])
assert_type(app.topic("open", Said).readable(anybody), Topic[Said, object])


def symbol_of(price: Price) -> str:
    """A key."""
    return price.symbol


def kind_of(value: object) -> str:
    """A key of any value."""
    return type(value).__name__


lags: tuple[Lag[Price], ...] = (DropOldest(8), DropNewest(8), Disconnect(8), Latest(symbol_of, at_most=10))
any_key: Lag[Price] = Latest(kind_of)


def told(event: RoomEvent[Said] | Gap) -> Said | Missed:
    """Makes a message of each event, with its position, and of a gap."""
    match event:
        case RoomEvent(value, at):
            assert_type(value, Said)
            return Said(value.text, at)
        case Gap(before, lost):
            return Missed(lost, before)
        case _:
            assert_never(event)


def quiet(event: RoomEvent[object] | Gap) -> Sendable | None:
    """For a room of anything; nothing is sent for most."""
    return "gap" if isinstance(event, Gap) else None


@app.route("/rooms/{room}", guard=Opens())
async def chat(conn: Connection[Person], room: str) -> None:
    """Forward a room, and say what comes in it."""
    async with conn.subscribe(said(room=room), since=Position.parse("a-1"), wrap=told) as subscription:
        assert_type(subscription, Subscription)
        assert_type(subscription.position, Position)
        assert_type(await said(room=room).publish(Said("hello"), but=conn), Position)
        assert_type(said(room=room).publish_nowait(Thanked("thanks")), Position)
    async with conn.subscribe(of_members(room=room), since="joined", lag=DropNewest(8), wrap=quiet):
        await conn.receive()
    async with conn.subscribe(ticks(market=1, id=UUID(int=0)), lag=any_key):
        await news().publish(Renamed("lounge"))
        await lines().publish("one")
    assert_type(await of_members(room=room).history(10, to=conn), Sequence[RoomEvent[Said]])
    assert_type(await said(room=room).history(10), Sequence[RoomEvent[Said]])
    assert_type(await said(room=room).history(10, to=conn), Sequence[RoomEvent[Said]])
    assert_type(await said(room=room).kick(subject="eve", seconds=60), int)
    assert_type(await said(room=room).unkick(subject="eve"), bool)


async def of_admins(conn: Connection[Admin]) -> None:
    """An admin is a person, and may read what persons may."""
    async with conn.subscribe(of_members(room="lobby")):
        await of_members(room="lobby").history(10, to=conn)


async def watch(room: Room[Said], since: Since) -> None:
    """Code of the server's own."""
    async with room.events(since=since, lag=Latest(kind_of)) as events:
        async for event in events:
            assert_type(event, RoomEvent[Said] | Gap)


async def watch_members(room: Room[Said, Person]) -> None:
    """The same, where persons may read."""
    async with room.events() as events:
        assert_type(await anext(events), RoomEvent[Said] | Gap)


def as_members(room: Room[Said]) -> Room[Said, Person]:
    """What everybody may read, persons may."""
    return room


@frozen
class Who:
    """What somebody says of itself."""

    name: str
    typing: bool = False


people = app.presence("rooms/{room}", Who, linger=10)
assert_type(people, Presence[Who])
assert_type(people(room="lobby"), People[Who])
assert_type(app.presence("robots", Who | Price), Presence[Who | Price])


async def attend(conn: Connection[Robot]) -> None:
    """Be in a room, and see who else is."""
    async with people(room="lobby").joined(conn, Who("r2")) as me:
        assert_type(me, Membership[Who])
        await me.update(Who("r2", typing=True))
        assert_type(people(room="lobby").members(), tuple[Member[Who], ...])
    assert_type(await people(room="lobby").kick(connection=conn.id), int)
    async with people(room="lobby").changes() as changes:
        async for change in changes:
            match change:
                case Snapshot(members):
                    assert_type(members, tuple[Member[Who], ...])
                case Joined(member) | Updated(member) | Left(member):
                    assert_type(member, Member[Who])
                    assert_type(member.value, Who)
                case Gap():
                    pass
                case _:
                    assert_never(change)


async def forward(conn: Connection[Robot], feed: Subscribable[Price, Robot]) -> None:
    """Whatever has events for robots."""
    async with conn.subscribe(feed, lag=Latest(symbol_of)):
        await conn.receive()
