"""Typed messages that are wrong, one a line: each is an error for mypy and for pyright, or this file fails the check."""

# pyright: reportUnusedVariable=false, reportUnusedExpression=false, reportUnusedCoroutine=false
# A name is bound, and an expression stands alone, to be checked.

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, assert_never

from seawall import (
    JSON,
    Anonymous,
    App,
    Codec,
    Connection,
    ErrorPolicy,
    Fields,
    MessagePack,
    Reply,
    Route,
    Router,
    public,
)
from tests.typing.handlers import Leave, NoSuchRoom, Pong, Say


class Plain:
    """A class without fields."""


async def make() -> Say:
    """Make a value, if somebody awaits it."""
    return Say("x")


async def give(conn: Connection[object]) -> None:
    """What cannot be sent."""
    await conn.send(make())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody has awaited it
    await conn.send(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number is no message
    await conn.send(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # neither is nothing
    await conn.send([Say("x")])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nor a list, which has no type
    await conn.send({"type": "say"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nor a dictionary, whose fields nobody checks
    await conn.send(Plain())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a class that has no fields
    await conn.send(bytearray(b"x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a buffer that somebody may change
    conn.send_nowait(make())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody has awaited it
    conn.send_nowait(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number is no message
    conn.send_nowait([Say("x")])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nor a list
    fields: Fields = make  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # a function has no fields


async def take(conn: Connection[object]) -> None:
    """What was not asked for."""
    one: Leave = await conn.receive_as(Say)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]  # it is a Say
    two: Say = await conn.receive_as(Say | Leave)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]  # it may be a Leave
    three: int = await conn.receive_as(list[int])  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]  # it is a list
    four: list[str] = await conn.receive_as(list[int])  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]  # of numbers
    await conn.receive_as(Say("x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a value is no type
    await conn.receive_as(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # neither is a number
    await conn.receive_as()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # of what type?
    conn.messages(Say, Leave)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a union is one type
    conn.messages([Say, Leave])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a list of types is no type
    (await conn.receive_as(Say)).txt  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # there is no such field
    (await conn.receive_as(Say | Leave)).text  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # a Leave has none
    async for message in conn.messages(Say | Leave):
        message.room  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # a Say has none
        if isinstance(message, Say):
            message.room  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # it is a Say
    async for pong in conn.messages(Pong):
        pong.text  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # a Pong has none
    for _ in conn.messages(Say):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]  # it has to be waited for
        pass


async def talk(conn: Connection[Anonymous]) -> None:
    """A member of the union that nobody looks at."""
    async for message in conn.messages(Say | Leave | Pong):
        match message:
            case Say():
                pass
            case Leave():
                pass
            case _:
                assert_never(message)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what of a Pong?


def number(error: NoSuchRoom) -> int:
    """Answer with what cannot be sent."""
    return 7


async def later(error: NoSuchRoom) -> Say:
    """Answer later."""
    return Say("x")


def of_lookup(error: LookupError) -> Say:
    """Answer another exception."""
    return Say("x")


Reply(number)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number is no answer
Reply(later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a reply cannot wait
Reply(Say("x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a value is no function that makes one
ErrorPolicy().on(NoSuchRoom, Reply(of_lookup))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # which takes another exception
ErrorPolicy().on(NoSuchRoom, Reply(lambda error: error.path))  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType, reportUnknownMemberType]  # it has no path
ErrorPolicy().on(NoSuchRoom, Reply(lambda error: [error.room]))  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownLambdaType, reportUnknownMemberType]  # a list is no answer


class NoRename:
    """A codec that does not say how names are spelled."""

    binary = False
    unknown_fields: Literal["refuse", "ignore"] = "refuse"

    def decoder(self, kind: object, /) -> Callable[[str | bytes], object]:
        """Decode."""
        return lambda message: message

    def encoder(self) -> Callable[[object], bytes]:
        """Encode."""
        return lambda value: b""


codec: Codec = NoRename()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # how are names spelled?
App(codec=NoRename())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # likewise
App(codec=JSON)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a class is no codec
App(codec="json")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a name neither
Router[Anonymous](codec=JSON)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # likewise
App().route("/", guard=public, codec=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it cannot be switched on, or off
Route(path="/", guard=public, handler=talk, codec="msgpack")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a name is no codec
JSON(rename="snake")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no such spelling
JSON(unknown_fields="forbid")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no such choice
MessagePack("camel")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by keyword
App().route("/", guard=public, limits={"max_message_errors": "ten"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number
