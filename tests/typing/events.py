"""Events that are right: no line here is an error for mypy or for pyright."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import ParamSpec, TypeVar, assert_type

import msgspec
from attrs import frozen

from seawall import Claims, Connection, Events, Reply, has_scope, public
from seawall.policy.error_policy import ErrorPolicy
from tests.typing.house import (
    Admin,
    Person,
    Robot,
    adult,
    anybody,
    app,
    load_person,
    member,
    promote,
    robot,
)

Q = ParamSpec("Q")
R = TypeVar("R")


@frozen
class Say:
    """A message."""

    text: str


@frozen
class Leave:
    """Another one."""


class Move(msgspec.Struct):
    """A message that is a Struct."""

    x: int


@frozen
class Said:
    """An answer."""

    text: str


@frozen
class Ask:
    """A question."""


@frozen
class Yes:
    """An answer of the client's."""


@frozen
class No:
    """Another one."""

    why: str


events = Events[Person]()
pushing = Events[Person](sends=Said | Leave, concurrent=4)


@events.on(Say)
async def say(conn: Connection[Person], message: Say, room: str) -> Said:
    """Answer, with a path parameter."""
    assert_type(conn.principal, Person)
    return Said(message.text)


@events.on(Leave)
async def leave(conn: Connection[Person], message: Leave, *, floor: int = 0) -> None:
    """Answer nothing."""


@events.on(Move)
async def move(conn: Connection[Person], message: Move) -> Said | Move | None:
    """Answer one of several, or nothing."""
    return None


@events.on(Say | Leave)
async def either(conn: Connection[Person], message: Say | Leave) -> None:
    """Take a union."""


@events.on(Say)
async def wider(conn: Connection[object], message: object) -> Said:
    """Take any principal and any message."""
    return Said("")


@events.on(bytes)
async def raw(conn: Connection[Person], message: bytes) -> None:
    """Take binary messages as they come."""


# Streams.
@events.on(Say)
async def iterator(conn: Connection[Person], message: Say) -> AsyncIterator[Said]:
    """Yield."""
    yield Said("")


@events.on(Say, timeout=3)
async def generator(conn: Connection[Person], message: Say) -> AsyncGenerator[Said | Move]:
    """Yield several kinds."""
    yield Said("")
    yield Move(1)


# Guards.
@events.on(Say, guard=promote)
async def for_admin(conn: Connection[Admin], message: Say) -> Said:
    """The guard narrows."""
    assert_type(conn.principal, Admin)
    return Said("")


@events.on(Say, guard=adult)
async def for_adult(conn: Connection[Person], message: Say) -> None:
    """A check leaves the principal."""


@events.on(Say, guard=anybody, timeout=1.5)
async def for_anybody(conn: Connection[Person], message: Say) -> None:
    """A check of anything."""


@events.on(Say, guard=promote)
async def admin_as_person(conn: Connection[Person], message: Say) -> None:
    """An admin is a person."""


@events.on(Say, guard=promote >> anybody)
async def chained(conn: Connection[Admin], message: Say) -> AsyncIterator[Said]:
    """A chain."""
    yield Said("")


with_token = Events[Claims]()


@with_token.on(Say, guard=has_scope("write"))
async def write(conn: Connection[Claims], message: Say) -> None:
    """A check of a token's scopes."""


@with_token.on(Leave, guard=load_person)
async def load(conn: Connection[Person], message: Leave) -> None:
    """From claims to a person."""


@with_token.on(Leave, guard=load_person | load_person >> promote)
async def either_of(conn: Connection[Person | Admin], message: Leave) -> None:
    """Alternatives."""


# What `on` returns is what it was given.
async def kept(conn: Connection[Person], message: Say, room: str) -> Said:
    """A handler."""
    return Said("")


async def reveal(conn: Connection[Person]) -> None:
    """Call a handler as what it is."""
    assert_type(await say(conn, Say(""), room="x"), Said)
    assert_type(await events.on(Say)(kept)(conn, Say(""), room="x"), Said)
    async for value in iterator(conn, Say("")):
        assert_type(value, Said)


# Questions.
async def question(conn: Connection[Admin]) -> None:
    """Ask, from any connection."""
    assert_type(await events.request(conn, Ask(), Yes, timeout=5), Yes)
    answer = await events.request(conn, Ask(), Yes | No, timeout=5)
    assert_type(answer, Yes | No)
    match answer:
        case Yes():
            pass
        case No(why):
            assert_type(why, str)
    assert_type(await events.request(conn, Move(1), Move, timeout=5), Move)


# Routes.
app.route("/{room}", guard=member >> load_person)(events)
app.route("/{room}", guard=member >> load_person >> promote)(events)  # an admin is a person
app.route("/", guard=member)(with_token)
app.route("/", guard=public)(Events[object]())
app.route("/", guard=robot)(Events[Robot](concurrent=2))
app.route("/", guard=robot | public)(Events[object](sends=Said))


@app.route("/{room}", guard=member >> load_person)
async def around(conn: Connection[Person], room: str) -> None:
    """Await the events between entering and leaving."""
    await events(conn, room=room, floor=3)


# A decorator of the application's that keeps the signature.
def logged(function: Callable[Q, Awaitable[R]]) -> Callable[Q, Awaitable[R]]:
    """Wrap a handler."""

    @functools.wraps(function)
    async def wrapper(*args: Q.args, **kwargs: Q.kwargs) -> R:
        return await function(*args, **kwargs)

    return wrapper


@pushing.on(Say)
@logged
async def wrapped(conn: Connection[Person], message: Say) -> Said:
    """A handler behind a decorator."""
    return Said("")


class Bot:
    """Handlers that are methods."""

    async def say(self, conn: Connection[Person], message: Say) -> Said:
        """A handler."""
        return Said("")


pushing.on(Say)(Bot().say)

# Typed errors of the application's are answers.
ErrorPolicy().on(KeyError, Reply(lambda error: Said(str(error))))
