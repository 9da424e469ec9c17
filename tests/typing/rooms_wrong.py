"""What must not check about rooms. Each line is an error to both checkers, for the reason that stands behind it."""

from __future__ import annotations

from seawall import Connection
from seawall.rooms import Disconnect, Gap, Lag, Latest, Position, Room, RoomEvent, Topic
from tests.typing.house import Admin, Person, Robot
from tests.typing.rooms import (
    Missed,
    Price,
    Renamed,
    Said,
    Who,
    app,
    may_read,
    news,
    of_members,
    people,
    said,
    symbol_of,
    ticks,
    told,
)

# Topics.

app.topic("rooms/{room}", Said, 100)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a hundred of what?
app.topic("rooms/{room}", Said("x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a value is no type
app.topic("rooms/{room}", Said, lag=256)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # and what becomes of the 257th?
app.topic("rooms/{room}", Said, ttl="300")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # seconds are a number
app.topic("rooms/{room}", Said, lag=Latest(symbol_of))  # type: ignore[misc]  # pyright: ignore[reportArgumentType]  # what is said has no symbol
said("lobby")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # parameters have names
said(room=["lobby"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a list is no parameter
told_more: Topic[Said | Renamed] = said  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # a new name could be published
told_less: Topic[Said] = news  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # a new name could be read

# Lag.

number: Lag[Price] = Disconnect("256")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number of events
Latest(symbol_of, at_most="10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number of keys
wide: Lag[object] = Latest(symbol_of)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]  # not everything has a symbol

# Who may read.


def in_time(person: Person, room: str) -> None:
    """Not async."""


async def verdict(person: Person, room: str) -> bool:
    """Returns what nobody looks at."""
    return True


said.readable(in_time)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody could wait for it
said.readable(verdict)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # raise to refuse
of_members.readable(may_read)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # it is readable already


async def passed_on(room: Room[Said]) -> None:
    """Reads whatever room it is given."""


async def mistakes(conn: Connection[Person], admin: Connection[Admin], machine: Connection[Robot]) -> None:
    """Of publishing and reading."""
    room, secret = said(room="lobby"), of_members(room="lobby")
    await room.publish(Renamed("lounge"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # this topic has no such values
    room.publish(Said("x"))  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]  # nobody awaits it
    await room.publish_nowait(Said("x"))  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]  # there is nothing to wait for
    await room.publish(Said("x"), but=conn.id)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the connection itself
    await passed_on(secret)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not everybody may read there
    machine.subscribe(secret)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # robots are no members
    await secret.history(10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # for whom?
    await secret.history(10, to=machine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # robots are no members
    conn.subscribe(said)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # which of its rooms?
    conn.subscribe(room, since="a-1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # Position.parse reads it
    conn.subscribe(room, lag=Latest(symbol_of))  # type: ignore[misc]  # pyright: ignore[reportArgumentType]  # what is said has no symbol
    conn.subscribe(room, wrap=lambda event: event.value)  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType, reportUnknownMemberType]  # a gap has none
    conn.subscribe(room, wrap=lambda event: 7)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]  # no message
    conn.subscribe(ticks(market=1), wrap=told)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it takes what is said, and no price
    await conn.subscribe(room)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]  # a block, not a wait
    async with conn.subscribe(room) as subscription:
        subscription.position = Position.parse("a-1")  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # it is the server's to say
    async with room.events() as events:
        async for event in events:
            event.value  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # it may be a Gap
    lobby = people(room="lobby")
    lobby.joined(Who("ada"))  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]  # whose is it?
    lobby.joined(conn, Said("hello"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody says that of itself
    people.members()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # of which room?
    async with lobby.joined(conn, Who("ada")) as me:
        await me.update("typing")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a value, and no word
        me.update(Who("ada"))  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]  # nobody awaits it
    async with lobby.changes() as changes:
        (await anext(changes)).member  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # it may be a Snapshot
    await room.unkick(subject="eve", seconds=60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # all of it
    await room.kick("eve")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a subject, or an issuer?
    assert Position("a", 1) < Position("a", 2)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # places have no order
    Missed(lost=1, since="a-1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a position is no text here
    Gap("a-1", None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # likewise
    RoomEvent(Said("x"))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # where?
