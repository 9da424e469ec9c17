"""Routes that are right: the handler takes what the guard proves, or a base class of it, and is returned unchanged."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import assert_type

import trio
from attrs import frozen

from seawall import (
    Anonymous,
    AnyRoute,
    App,
    Claims,
    Close,
    Connection,
    ConnectionSnapshot,
    ErrorPolicy,
    Gate,
    Limits,
    ListeningApp,
    Outcome,
    Provided,
    Request,
    Route,
    Server,
    any_host,
    any_origin,
    guard,
    has_scope,
    public,
    run_apps,
    same_origin,
)
from seawall.testing import Client, CloseFrame, Serving, connect
from tests.typing.house import (
    Admin,
    Person,
    Robot,
    app,
    for_admin,
    for_anonymous,
    for_claims,
    for_claims_or_nobody,
    for_object,
    for_person,
    for_person_in_room,
    for_person_or_robot,
    load_person,
    member,
    promote,
    robot,
)

person = member >> load_person
admin = person >> promote


# As a decorator, over the whole chain at once.
@app.route("/chat", guard=member >> has_scope("chat:write") >> load_person)
async def chat(conn: Connection[Person]) -> None:
    """Everything that a connection can do."""
    assert_type(conn.principal, Person)
    assert_type(conn.principal.name, str)
    assert_type(conn.subprotocol, str | None)
    assert_type(await conn.receive(), str | bytes)
    async for message in conn:
        assert_type(message, str | bytes)
        await conn.send(message)
    conn.send_nowait(b"")
    conn.discard_input()
    conn.close_nowait()
    conn.close_nowait(4000, reason="bye")
    assert_type(conn.report(ValueError()), str)
    await conn.renew("token")
    assert_type(conn.expires_at, float | None)
    assert_type(conn.expiring, trio.Event)
    assert_type(conn.principal, Person)
    await conn.aclose(4000, "bye")
    wider: Connection[object] = conn
    await for_object(wider)


@app.route("/rooms/{room}/{floor:int}", guard=person)
async def room(conn: Connection[Person], room: str, *, floor: int) -> None:
    """Path parameters are the handler's own business."""


# What comes back is the handler, with its own parameters.
plain = app.route("/a", guard=person)(for_person)
assert_type(plain, Callable[[Connection[Person]], Awaitable[None]])
placed = app.route("/b/{room}", guard=person)(for_person_in_room)


async def still_a_function(conn: Connection[Person]) -> None:
    """The parameters behind the connection are kept."""
    await plain(conn)
    await placed(conn, "lobby", floor=1)
    await chat(conn)


# A handler for a base class of what is proved.
app.route("/c", guard=admin)(for_person)
app.route("/d", guard=admin)(for_object)
app.route("/e", guard=person)(for_person_or_robot)
app.route("/f", guard=robot)(for_person_or_robot)
app.route("/g", guard=person | robot)(for_person_or_robot)
app.route("/h", guard=admin | robot)(for_person_or_robot)
app.route("/i", guard=member | public)(for_claims_or_nobody)
app.route("/j", guard=public)(for_claims_or_nobody)
app.route("/k", guard=public)(for_anonymous)


# Methods and callable instances.
class Chat:
    """A handler with a state of its own."""

    async def __call__(self, conn: Connection[Person], room: str) -> None:
        """Make instances handlers."""

    async def method(self, conn: Connection[Person], room: str) -> None:
        """Be a handler."""

    @staticmethod
    async def static(conn: Connection[Person], room: str) -> None:
        """Be a handler."""


app.route("/l/{room}", guard=person)(Chat())
app.route("/m/{room}", guard=person)(Chat().method)
app.route("/n/{room}", guard=person)(Chat.static)

# As values, of different principals, in one table.
table: list[AnyRoute] = [
    Route(path="/o", guard=person, handler=for_person),
    Route(path="/p", guard=public, handler=for_anonymous),
    Route(path="/q", guard=admin, handler=for_admin, limits={"idle_timeout": None, "auth_timeout": 2}),
    Route(path="/r/{room}", guard=person, handler=for_person_in_room),
    Route(path="/s/{room}", guard=person, handler=Chat()),
]
app.add(*table)
assert_type(Route(path="/t", guard=person, handler=for_person), Route[Person])
assert_type(Route(path="/u", guard=member, handler=for_claims), Route[Claims])

# Everything that a route and an app can be told.
app.route(
    "/v",
    guard=public,
    errors=ErrorPolicy().on(OSError, Close(4000)),
    limits={"lifetime": 3600, "idle_timeout": None},
    subprotocols=["chat.v1"],
    origins=["https://chat.example"],
    name="v",
)(for_anonymous)
App(origins=any_origin, errors=ErrorPolicy(), limits=Limits(idle_timeout=60))
App(origins=same_origin, report=lambda report: None)
App(hosts=any_host)
App(hosts=["chat.example", "*.chat.example:8443"])
App(hosts=("[::1]",))
App(hosts=None)
App(origins=("https://chat.example",), log_key=b"the same in each process")
App(log_key="the same in each process")
app.page("/", "text")
app.page("/", b"bytes", media_type="text/plain")


# Lifespan values.
@app.lifespan
@asynccontextmanager
async def database() -> AsyncGenerator[Person]:
    """Provide a value."""
    yield Person()


@app.lifespan
@asynccontextmanager  # pyright: ignore[reportDeprecated]  # still written everywhere
async def cache() -> AsyncIterator[dict[str, int]]:
    """Provide another one, in the older spelling."""
    yield {}


assert_type(database, Provided[Person])
assert_type(cache, Provided[dict[str, int]])


@frozen
class Cookie:
    """A credential of an application's own."""

    subject: str
    issued_at: float
    token_id: str | None = None


@guard
async def by_cookie(gate: Gate, proved: Anonymous) -> Person:
    """Say by what somebody is let in."""
    gate.identify(Cookie("ada", 0.0))
    return Person()


@guard
async def by_token(gate: Gate, claims: Claims) -> Person:
    """Claims are a credential."""
    gate.identify(claims, instead_of=claims)
    gate.identify(claims, skew=60)
    return Person()


async def log_out() -> None:
    """Revoking waits for the store."""
    assert_type(await App().sessions.revoke(subject="ada"), int)
    assert_type(await App(revocations_kept=660).sessions.revoke(issuer="us", session_id="9c41", issued_before=1e9), int)


async def renewed(request: Request[Claims]) -> None:
    """How many connections go on."""
    assert_type(await app.sessions.renew("token"), int)


@guard
async def with_values(gate: Gate, proved: Anonymous) -> Person:
    """Read a value at the door."""
    assert_type(gate.provided(cache), dict[str, int])
    assert_type(await gate.enter(trio.open_nursery()), trio.Nursery)
    assert_type(await gate.receive_text(), str)
    return gate.provided(database)


async def reads(conn: Connection[object]) -> None:
    """Read a value in a handler."""
    assert_type(conn.provided(database), Person)
    assert_type(conn.provided(cache)["key"], int)
    assert_type(conn.nursery, trio.Nursery)


# Serving.
async def embedded() -> None:
    """Both ways to serve in a nursery."""
    async with trio.open_nursery() as nursery:
        server = await app.start(nursery, host="127.0.0.1", port=0)
        assert_type(server, Server)
        again: Server = await nursery.start(partial(app.serve, port=0))
        await again.aclose()
        await app.start(nursery, unix="/run/chat", unix_mode=0o660)
        assert_type(server.connections, tuple[ConnectionSnapshot, ...])
        assert_type(server.end(server.connections[0].id, 4000, "bye"), bool)


def opened(connection: ConnectionSnapshot) -> None:
    """What is known of a connection that has been let in."""
    assert_type(connection.principal, object)
    assert_type(connection.lease_ends_at, float | None)


App(on_open=opened)


def main_program() -> None:
    """Several apps, each with its own options."""
    assert_type(app.at(port=0), ListeningApp)
    run_apps(app.at(host="::", port=8765), App().at(unix=Path("/run/admin"), unix_mode=0o600), App().at())


def narrowed(principal: Person | Robot) -> str:
    """A union can be told apart."""
    if isinstance(principal, Person):
        return principal.name
    assert_type(principal, Robot)
    return ""


def is_admin(conn: Connection[Admin]) -> Connection[Person]:
    """A connection of an admin is one of a person."""
    return conn


async def waits(client: Client, serving: Serving, outcome: Outcome) -> None:
    """A client of a test waits no longer than it is told, and an outcome says whether anything came."""
    assert_type(await client.receive(timeout=1), str | bytes)
    assert_type(await client.wait_closed(timeout=0.5), CloseFrame)
    await client.send("hello", timeout=math.inf)
    async with connect(app, "/", timeout=5) as another, serving.connect("/", timeout=None) as third:
        assert_type((another, third), tuple[Client, Client])
    assert_type(outcome.silent, bool)
