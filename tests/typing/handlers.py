"""Typed messages that are right: what is received has the type that was asked for, and what has fields can be sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Generic, Literal, TypeVar, assert_never, assert_type

import msgspec
from attrs import frozen

from seawall import (
    JSON,
    Anonymous,
    App,
    Codec,
    Connection,
    ErrorPolicy,
    Fields,
    InvalidMessage,
    MessagePack,
    Reply,
    Route,
    Router,
    Sendable,
    public,
    tag,
)

T = TypeVar("T")


@frozen
class Say:
    """An attrs class."""

    text: str


@dataclasses.dataclass
class Leave:
    """A dataclass."""

    room: str


@tag("pong")
class Pong(msgspec.Struct):
    """A Struct."""

    at: float


@frozen
class Page(Generic[T]):
    """A generic class."""

    items: list[T]


async def talk(conn: Connection[Anonymous]) -> None:
    """Receive a union, and look at each of its members."""
    async for message in conn.messages(Say | Leave):
        assert_type(message, Say | Leave)
        match message:
            case Say(text):
                assert_type(text, str)
                await conn.send(Say(text))
            case Leave(room):
                assert_type(room, str)
                return
            case _:
                assert_never(message)


async def take(conn: Connection[object]) -> None:
    """Receive one value of each kind of type."""
    assert_type(await conn.receive_as(Say), Say)
    assert_type(await conn.receive_as(Say | Leave | Pong), Say | Leave | Pong)
    assert_type(await conn.receive_as(Say | None), Say | None)
    assert_type(await conn.receive_as(list[int]), list[int])
    assert_type(await conn.receive_as(dict[str, Say]), dict[str, Say])
    assert_type(await conn.receive_as(tuple[int, str]), tuple[int, str])
    assert_type(await conn.receive_as(Page[int]), Page[int])
    assert_type(await conn.receive_as(Page[Say] | Leave), Page[Say] | Leave)
    assert_type(await conn.receive_as(Literal["a", "b"]), Literal["a", "b"])
    assert_type(await conn.receive_as(Annotated[int, msgspec.Meta(ge=0)]), int)
    assert_type(await conn.receive_as(int), int)
    assert_type(await conn.receive(), str | bytes)
    assert_type([one async for one in conn.messages(Pong)], list[Pong])
    assert_type(await anext(conn.messages(Pong | Say)), Pong | Say)
    either: Say | Leave | Pong = await conn.receive_as(Say | Leave)
    await conn.send(either)


async def give(conn: Connection[object]) -> None:
    """Send everything that can be sent."""
    await conn.send("text")
    await conn.send(b"bytes")
    await conn.send(Say("x"))
    await conn.send(Leave("x"))
    await conn.send(Pong(1.0))
    await conn.send(Page([1]))
    conn.send_nowait("text")
    conn.send_nowait(Say("x"))
    conn.send_nowait(Leave("x"))
    conn.send_nowait(Pong(1.0))


async def relay(conn: Connection[object], value: Sendable, fields: Fields) -> None:
    """Send what somebody else has made."""
    await conn.send(value)
    await conn.send(fields)
    conn.send_nowait(value)


fields: Fields = Say("x")
sendable: list[Sendable] = ["text", b"bytes", Say("x"), Leave("x"), Pong(1.0)]


class NoSuchRoom(Exception):
    """An error of an application."""

    room: str = ""


def say(error: NoSuchRoom) -> Say:
    """Answer with a value."""
    return Say(error.room)


def say_or_leave(error: Exception) -> Say | Leave | str:
    """Answer whatever, with one or the other."""
    return Leave("x")


answers: list[Callable[[InvalidMessage], Sendable]] = [say_or_leave, lambda error: Say(error.path)]

policy = (
    ErrorPolicy()
    .on(NoSuchRoom, Reply(say))
    .on(NoSuchRoom, Reply(say_or_leave))
    .on(NoSuchRoom, Reply(lambda error: Leave(error.room)))
    .on(InvalidMessage, Reply(lambda error: Say(f"{error.path}: {error.detail}")))
    .on(InvalidMessage, lambda error, context: Reply(lambda _: Say(error.code)))
)


class Lines:
    """A codec of an application."""

    binary = False
    rename = None
    unknown_fields: Literal["refuse", "ignore"] = "refuse"

    def decoder(self, kind: object, /) -> Callable[[str | bytes], object]:
        """Decode lines."""
        return lambda message: msgspec.convert(message, object)

    def encoder(self) -> Callable[[object], bytes]:
        """Encode lines."""
        return lambda value: str(value).encode()


codecs: list[Codec] = [JSON(), MessagePack(), Lines(), JSON(rename="camel", unknown_fields="ignore")]
app = App(codec=JSON(rename="kebab"))
App(codec=Lines())
router = Router[Anonymous](codec=MessagePack(rename="pascal"))
app.route("/", guard=public, codec=MessagePack())(talk)
app.route("/none", guard=public, codec=None)(talk)
app.add(Route(path="/other", guard=public, handler=talk, codec=JSON()))
app.route("/limits", guard=public, limits={"max_message_errors": None})(talk)
