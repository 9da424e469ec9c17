"""How each row of ``docs/failures.md`` is provoked: an app, one connection over memory streams, and what happens."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, TypeAlias, cast, final

import trio
from attrs import define, evolve, field, frozen
from trio.testing import wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Claims,
    Connection,
    Disconnected,
    Draining,
    ErrorPolicy,
    Events,
    Gate,
    Guard,
    InvalidMessage,
    Limits,
    Outcome,
    Refuse,
    Reply,
    bearer,
    guard,
    has_scope,
    public,
)
from seawall.connection.subscriptions import SubscribeOptions, Subscription
from seawall.position import Position
from seawall.serving.server import Server
from seawall.sessions import limit_connections
from tests.kit.memory import BROKEN, Doorstep, Peer, Wire, close, request, text
from tests.kit.sockets import undecided
from tests.kit.tokens import token, verifier
from tests.kit.wire import TEXT, frame
from tests.tools.rows import ELSEWHERE, EVENT_FAILURES, SERVED, SUBSCRIPTION_FAILURES, Row, Where

Body: TypeAlias = Callable[[Connection[Anonymous]], Awaitable[object]]

#: Longer than any limit that a plot is about.
LONG: Final = 1000.0


@final
@define
class Watch:
    """What the tasks of a handler came to, and when; and the connection."""

    ends: dict[str, tuple[str, float]] = field(factory=dict[str, tuple[str, float]])
    outcome: Outcome | None = None
    """How the connection ended."""

    async def over(self, name: str, task: Callable[[], Awaitable[object]]) -> None:
        """Run `task`, and note how it ends; that its connection is over is for it to know."""
        how = "raised"
        try:
            await task()
        except trio.Cancelled:
            how = "cancelled"
            raise
        except (Disconnected, Draining) as ended:
            how = type(ended).__name__
        else:
            how = "returned"
        finally:
            self.ends.setdefault(name, (how, trio.current_time()))  # others may come later

    @property
    def seen(self) -> tuple[str, str, float]:
        """As the fields of a `View`."""
        receiving, since = self.ends.get("receiving", ("", math.nan))
        busy, until = self.ends.get("busy", ("", since))
        return receiving, busy, until - since if receiving else 0.0


@final
@define(kw_only=True)
class Stage:
    """One connection to a server, and all that can be done to it."""

    app: App
    server: Server
    serving: trio.Nursery
    listener: Doorstep
    wire: Wire
    peer: Peer

    async def drain(self, *, restarting: bool = False) -> None:
        """Drain the server, as an app does on SIGTERM."""
        self.serving.start_soon(partial(self.server.drain, restarting=restarting))
        await wait_all_tasks_blocked()

    async def restart(self) -> None:
        """Drain it, to start it again."""
        await self.drain(restarting=True)

    async def revoke(self) -> None:
        """Revoke what Ada was let in by."""
        await self.app.sessions.revoke(subject=ADA.subject)
        await wait_all_tasks_blocked()

    async def end(self) -> None:
        """End the one connection, as a program does that has had enough of it."""
        (connection,) = self.server.connections
        assert self.server.end(connection.id, 4003, "banned")
        assert not self.server.end(connection.id, 4003, "banned")
        await wait_all_tasks_blocked()

    async def stop(self) -> None:
        """Cancel ``app.serve``."""
        self.serving.cancel_scope.cancel()
        await wait_all_tasks_blocked()


@final
@frozen
class Pass:
    """A credential."""

    subject: str | None = "ada"
    token_id: str | None = None
    issued_at: float | None = None


ADA: Final = Pass()

Act: TypeAlias = Callable[[Stage], Awaitable[object]]


async def ask(stage: Stage) -> None:
    """Ask for an upgrade."""
    await stage.peer.say(request())


async def receive(conn: Connection[Anonymous]) -> None:
    """Take messages until there are no more."""
    while True:
        await conn.receive()


@final
@frozen(kw_only=True)
class Plot:
    """How a row is provoked."""

    door: Guard[Anonymous, Anonymous] = public
    handler: Body = receive
    busy: bool = True
    """Whether the handler is busy elsewhere as well."""
    beside: Callable[[], Awaitable[object]] | None = None
    """A task for ``conn.nursery``."""
    limits: Limits = field(factory=Limits)
    errors: ErrorPolicy = field(factory=ErrorPolicy)
    hosts: Sequence[str] | None = None
    crowd: int = 0
    """How many others have connected before, and have asked for an upgrade."""
    act: Act = ask
    """What happens once the connection has been made."""


def app_of(plot: Plot, watch: Watch, over: Callable[[Outcome], None]) -> App:
    """An app with the one route that `plot` needs."""
    app = App(limits=plot.limits, errors=plot.errors, hosts=plot.hosts, on_end=over)

    async def handle(conn: Connection[Anonymous]) -> None:
        async def talk() -> None:
            await plot.handler(conn)

        if plot.beside is not None:
            conn.nursery.start_soon(plot.beside)
        if not plot.busy:
            await watch.over("receiving", talk)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.over, "busy", trio.sleep_forever)
            await watch.over("receiving", talk)

    app.route("/", guard=plot.door)(handle)
    app.page("/page", "hello", media_type="text/plain")
    return app


# What the application raises.


def raising(make: Callable[[], BaseException]) -> Callable[[], Awaitable[None]]:
    """A function that raises after a second."""

    async def fail() -> None:
        await trio.sleep(1)
        raise make()

    return fail


@guard
async def talking(gate: Gate, proved: Anonymous) -> Anonymous:
    """Accept, and talk for ever."""
    await gate.accept()
    while True:
        await gate.receive_text()


def refusing(make: Callable[[], BaseException], *, accepting: bool) -> Guard[Anonymous, Anonymous]:
    """A guard that raises."""

    @guard
    async def refuse(gate: Gate, proved: Anonymous) -> Anonymous:
        if accepting:
            await gate.accept()
        await raising(make)()
        return proved

    return refuse


@final
@frozen
class Vague(Guard[Anonymous, Anonymous]):
    """A guard that returns a verdict."""

    accepting: bool

    def owner(self) -> str:
        """As a row says where it was written."""
        return "member() (chat.py:7)"

    async def admit(self, gate: Gate, proved: Anonymous, /) -> Anonymous:
        """Return what is for a policy to say."""
        if self.accepting:
            await gate.accept()
        return cast("Anonymous", Refuse(403))


def holding(resource: AbstractAsyncContextManager[None]) -> Guard[Anonymous, Anonymous]:
    """A guard that holds something."""

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(resource)
        return proved

    return hold


def raised_by(row: Row) -> Plot:
    """How the application raises what `row` says, where it says."""
    make = row.make
    assert make is not None

    async def fail(conn: Connection[Anonymous]) -> None:
        await raising(make)()

    @asynccontextmanager
    async def break_down() -> AsyncGenerator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raising(make))
            yield

    @asynccontextmanager
    async def leave_badly() -> AsyncGenerator[None]:
        yield
        raise make()

    match row.where:
        case Where.GUARD | Where.TALK:
            return Plot(door=refusing(make, accepting=row.where is Where.TALK))
        case Where.HANDLER:
            return Plot(handler=fail, busy=False)
        case Where.BACKGROUND:
            return Plot(beside=raising(make))
        case Where.RESOURCE:
            return Plot(door=holding(break_down()))
        case Where.RELEASE:
            return Plot(door=holding(leave_badly()), handler=leave, busy=False)
        case _:
            raise AssertionError(f"no application raises in {row.where}")


# Everything else.


async def leave(conn: Connection[Anonymous]) -> None:
    """Have nothing to say."""


async def finish(conn: Connection[Anonymous]) -> None:
    """Close, and see what there is."""
    await conn.aclose(4000, "enough")
    await conn.receive()


async def finish_soon(conn: Connection[Anonymous]) -> None:
    """Close without waiting for that, as another handler would, and see what there is."""
    conn.close_nowait(4000)
    await conn.receive()


async def feed(conn: Connection[Anonymous]) -> None:
    """Send more than anybody takes."""
    await trio.sleep(1)
    while True:
        await conn.send("x" * 100_000)


async def count(conn: Connection[Anonymous]) -> None:
    """Take one number."""
    await conn.receive_as(int)


@frozen
class Order:
    """A message of an event."""


@frozen
class Stop:
    """The last message."""


def eventful(failure: Exception) -> Body:
    """A handler that awaits events, of which one fails."""

    async def handle(conn: Connection[Anonymous]) -> None:
        events = Events[Anonymous]()
        enough = trio.CancelScope()

        @events.on(Order)
        async def order(conn: Connection[Anonymous], message: Order) -> None:
            raise failure

        @events.on(Stop)
        async def stop(conn: Connection[Anonymous], message: Stop) -> None:
            enough.cancel()

        with enough:
            await events(conn)

    return handle


def unprepared(failure: InvalidMessage) -> str:
    """Fail to answer."""
    raise RuntimeError("out of paper")


async def clumsy(conn: Connection[Anonymous]) -> None:
    """Fail when everything is over."""
    try:
        await receive(conn)
    except Disconnected:
        raise RuntimeError("out of paper") from None


@guard
async def feeding(gate: Gate, proved: Anonymous) -> Anonymous:
    """Do so before anybody has been proved."""
    await gate.accept()
    await trio.sleep(1)
    while True:
        await gate.send_text("x" * 100_000)


@guard
async def leasing(gate: Gate, proved: Anonymous) -> Anonymous:
    """Prove for three seconds."""
    gate.lease(expires_at=time.time() + 3)
    return proved


@guard
async def identified(gate: Gate, proved: Anonymous) -> Anonymous:
    """Let in Ada."""
    gate.identify(ADA)
    return proved


@guard
async def forget(gate: Gate, claims: Claims) -> Anonymous:
    """Let in whoever has a token."""
    return Anonymous()


#: Who may chat, by a token.
TOKEN_DOOR: Final = bearer(verifier) >> has_scope("chat") >> forget


async def with_token(stage: Stage) -> None:
    """Ask for an upgrade by a token, when another one has been revoked."""
    await stage.app.sessions.revoke(token_id="revoked")
    await stage.peer.say(request("/", f"Authorization: Bearer {token(scope='chat')}"))


async def renew_with_less(conn: Connection[Anonymous]) -> None:
    """Renew by a token without the scope."""
    await conn.renew(token())


async def renew_with_revoked(conn: Connection[Anonymous]) -> None:
    """Renew by a token that has been revoked."""
    await conn.renew(token(scope="chat", jti="revoked"))


@guard
async def accepted(gate: Gate, proved: Anonymous) -> Anonymous:
    """Accept, and let everybody in."""
    await gate.accept()
    return proved


async def open_and_stall(stage: Stage) -> None:
    """Open, and read no more."""
    await stage.peer.open()
    stage.wire.stall()


async def quietly(stage: Stage) -> None:
    """Connect, and say nothing."""
    await wait_all_tasks_blocked()


async def displaced(stage: Stage) -> None:
    """Let somebody else come."""
    stage.listener.arrive(Wire())
    await wait_all_tasks_blocked()


async def vanish(stage: Stage) -> None:
    """Go, as a process that dies."""
    await stage.peer.stream.aclose()


async def leaving(stage: Stage) -> None:
    """Go in the middle of the request."""
    await stage.peer.say(b"GET / HTTP/1.1\r\n")
    await wait_all_tasks_blocked()
    await vanish(stage)


async def come_too(stage: Stage) -> None:
    """Have another one come, as the same person."""
    other = Wire()
    stage.listener.arrive(other)
    await Peer(other.far).say(request())
    await wait_all_tasks_blocked()


async def once_more(stage: Stage) -> None:
    """Come as somebody who is there already."""
    await come_too(stage)
    await ask(stage)


def saying(*data: bytes) -> Act:
    """Open, and say this."""

    async def say(stage: Stage) -> None:
        await stage.peer.open()
        await wait_all_tasks_blocked()
        await stage.peer.say(*data)

    return say


def saying_first(data: bytes) -> Act:
    """Say this instead of a proper request."""

    async def say(stage: Stage) -> None:
        await stage.peer.say(data)

    return say


def then(act: Act) -> Act:
    """Ask, wait until the connection has got as far as it will, and do `act`."""

    async def both(stage: Stage) -> None:
        await ask(stage)
        await wait_all_tasks_blocked()
        await act(stage)

    return both


@final
@define
class Ending:
    """What can be subscribed to, and ends the subscription after a second."""

    failure: Exception
    position: Position = field(factory=lambda: Position("test", 0))

    @asynccontextmanager
    async def subscription(
        self, connection: Connection[object], options: SubscribeOptions[object], /
    ) -> AsyncGenerator[Subscription]:
        """As a room does it."""
        with trio.move_on_after(1):  # noqa: ASYNC100 - what is yielded to waits
            yield self
        raise self.failure


def subscribed(failure: Exception) -> Body:
    """A handler whose subscription ends."""

    async def subscribe(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(Ending(failure)):
            await trio.sleep_forever()

    return subscribe


#: Frames that break the protocol, by the code of the answer.
VIOLATIONS: Final = {1002: BROKEN, 1007: frame(TEXT, b"\xff"), 1009: frame(TEXT, b"x" * 2000)}


def plots() -> Iterator[tuple[str, Plot]]:
    """How each row is provoked that no application raises."""
    quiet = Limits(ping_interval=None)
    yield "AuthTimeout-GUARD", Plot(door=undecided)
    yield "AuthTimeout-TALK", Plot(door=talking)
    yield "ConfigurationError-GUARD", Plot(door=Vague(accepting=False))
    yield "ConfigurationError-TALK", Plot(door=Vague(accepting=True))
    yield "LeaseExpired-WIRE_GUARD", Plot(door=leasing >> undecided)
    yield "LeaseExpired-WIRE_TALK", Plot(door=leasing >> talking)
    yield "LeaseExpired-WIRE", Plot(door=leasing)
    yield "Revoked-WIRE_GUARD", Plot(door=identified >> undecided, act=then(Stage.revoke))
    yield "Revoked-WIRE_TALK", Plot(door=identified >> talking, act=then(Stage.revoke))
    yield "Revoked-WIRE", Plot(door=identified, act=then(Stage.revoke))
    yield "Forbidden-RENEWAL", Plot(door=TOKEN_DOOR, handler=renew_with_less, act=with_token)
    yield "Revoked-RENEWAL", Plot(door=TOKEN_DOOR, handler=renew_with_revoked, act=with_token)
    alone = Limits(max_connections_per_subject=1)
    yield "subject-GUARD", Plot(door=identified >> undecided, limits=alone, act=once_more)
    yield "subject-TALK", Plot(door=accepted >> identified >> undecided, limits=alone, act=once_more)
    yield "InvalidMessage-MESSAGE", Plot(handler=count, busy=False, act=saying(text('"x"'), text("7")))
    yield (
        "TooManyInvalidMessages-MESSAGE",
        Plot(handler=count, limits=Limits(max_message_errors=1), act=saying(text("x"))),
    )
    order, stop = text('{"type":"order"}'), text('{"type":"stop"}')
    for failure in EVENT_FAILURES:
        goes_on = not isinstance(failure, RuntimeError)
        name = f"{type(failure).__name__}-EVENT"
        said = (order, stop) if goes_on else (order,)
        yield name, Plot(handler=eventful(failure), busy=not goes_on, act=saying(*said))
    silly = ErrorPolicy().on(InvalidMessage, Reply(unprepared))
    yield "RuntimeError-MESSAGE", Plot(handler=count, errors=silly, act=saying(text('"x"')))
    for ended in SUBSCRIPTION_FAILURES:
        yield f"{type(ended).__name__}-SUBSCRIPTION", Plot(handler=subscribed(ended), busy=False)
    yield "IdleTimeout-WIRE", Plot(limits=evolve(quiet, idle_timeout=30))
    yield "LifetimeReached-WIRE", Plot(limits=evolve(quiet, lifetime=30))
    yield "KeepaliveLost-WIRE", Plot()
    begun = saying(b"\x81\xfe")
    yield "MessageTimeout-WIRE_TALK", Plot(door=talking, limits=evolve(quiet, auth_timeout=LONG), act=begun)
    yield "MessageTimeout-WIRE", Plot(limits=quiet, act=begun)
    yield "SlowConsumer-WIRE_TALK", Plot(door=feeding, limits=evolve(quiet, auth_timeout=LONG), act=open_and_stall)
    yield "SlowConsumer-WIRE", Plot(handler=feed, limits=quiet, act=open_and_stall)
    small = Limits(max_message_size=1000)
    for code, broken in VIOLATIONS.items():
        yield f"ProtocolViolation-WIRE_TALK-{code}", Plot(door=talking, limits=small, act=saying(broken))
        yield f"ProtocolViolation-WIRE-{code}", Plot(limits=small, act=saying(broken))
    yield "late", Plot(act=saying_first(b"GET / HTTP/1.1\r\n"))
    yield "silent", Plot(act=quietly)
    yield "full", Plot(door=undecided, limits=Limits(max_connections=1), crowd=1)
    yield "crowd", Plot(door=undecided, limits=Limits(max_unauthenticated=1), crowd=1)
    yield "evicted", Plot(limits=Limits(max_unauthenticated=1), act=displaced)
    yield "evicted-WIRE_TALK", Plot(door=talking, limits=Limits(max_unauthenticated=1), act=then(displaced))
    yield "host", Plot(hosts=SERVED)
    yield "subprotocol", Plot(act=saying_first(request("/", "Sec-WebSocket-Protocol: chat")))
    yield "origin", Plot(act=saying_first(request("/", f"Origin: {ELSEWHERE}")))
    yield "gone", Plot(act=leaving)
    yield "probe", Plot(act=vanish)
    yield "RuntimeError-AFTER", Plot(handler=clumsy, busy=False, act=saying(close(4001, "bye")))
    yield "returned", Plot(handler=leave, busy=False)
    yield "aclose", Plot(handler=finish)
    yield "close_nowait", Plot(handler=finish_soon)
    yield "ended-REQUEST", Plot(act=Stage.end)
    yield "ended-GUARD", Plot(door=undecided, act=then(Stage.end))
    yield "ended-TALK", Plot(door=talking, act=then(Stage.end))
    yield "ended-HANDLER", Plot(act=then(Stage.end))
    one_place = limit_connections(1, per="subject", losing="oldest")
    yield "replaced", Plot(door=identified >> one_place, act=then(come_too))
    for where, door in (("WIRE_TALK", talking), ("WIRE", public)):
        yield f"closes-{where}", Plot(door=door, act=saying(close(4001, "bye")))
        yield f"vanishes-{where}", Plot(door=door, act=then(vanish))
    yield "vanishes-WIRE_GUARD", Plot(door=undecided, act=then(vanish))
    for name, act in (("drained", Stage.drain), ("restarts", Stage.restart), ("stopped", Stage.stop)):
        yield f"{name}-REQUEST", Plot(act=act)
        yield f"{name}-GUARD", Plot(door=undecided, act=then(act))
        yield f"{name}-TALK", Plot(door=talking, act=then(act))
        yield f"{name}-HANDLER", Plot(act=then(act))
        if name != "stopped":
            yield f"{name}-LEAVE", Plot(act=then(act), busy=False)


PLOTS: Final = dict(plots())


def plot_of(row: Row) -> Plot:
    """How `row` is provoked."""
    if row.make is not None:
        return raised_by(row)
    if row.said:
        return Plot(act=saying_first(row.said))
    return PLOTS[row.name]


async def play(plot: Plot, wire: Wire, watch: Watch) -> None:
    """Serve, connect, let things happen, and wait until the connection has ended."""
    over = trio.Event()

    def end(outcome: Outcome) -> None:
        if watch.outcome is None:  # others come later
            watch.outcome = outcome
            over.set()

    listener = Doorstep()
    async with trio.open_nursery() as serving:
        app = app_of(plot, watch, end)
        server = await app.start(serving, listeners=[listener])
        for _ in range(plot.crowd):
            other = Wire()
            listener.arrive(other)
            await Peer(other.far).say(request())
            await wait_all_tasks_blocked()
        listener.arrive(wire)
        await wait_all_tasks_blocked()
        await plot.act(
            Stage(app=app, server=server, serving=serving, listener=listener, wire=wire, peer=Peer(wire.far))
        )
        with trio.fail_after(LONG):
            await over.wait()
        serving.cancel_scope.cancel()
