"""The end of the peer ends whatever its connection is doing, in every shape that a handler or a guard can have.

In virtual time each shape ends at its moment: at once if it waits for the peer, after ``wind_down`` if it does not.
Over real sockets all of them are left at the same time, and end in time.
"""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Literal, TypeAlias, final, get_args

import pytest
import trio
from attrs import define, field, frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Cause, Connection, Gate, Guard, Limits, Outcome, any_host, guard, public
from seawall.testing import serve
from seawall.testing.network import MemoryStream
from tests.kit.memory import Peer, close, request, telling
from tests.kit.sockets import DRIVEN, Transport, no_leaks, until
from tests.kit.sockets import serving as serving_sockets
from tests.kit.wire import RawClient, close_frame

#: How a peer ends: with a Close; without one, by a reset; or by an end-of-file.
Farewell: TypeAlias = Literal["close", "reset", "fin"]
FAREWELLS: Final[tuple[Farewell, ...]] = get_args(Farewell)
GONE: Final[tuple[Farewell, ...]] = ("reset", "fin")

#: Seconds that the connection has been quiet when its peer leaves.
LEAVES_AT: Final = 3.0

#: ``wind_down``; how long cleanup takes that is shielded; and ``close_timeout``, which bounds a resource's.
GRACE, CLEANUP, PATIENCE = 2.5, 0.5, 5.0

#: How a task ended, and how many seconds after its peer.
End: TypeAlias = tuple[str, float]


@final
@define
class Log:
    """What the tasks of one connection came to, and when."""

    outcome: Outcome | None = None
    over_at: float = math.inf
    """When all of it was over."""
    release: threading.Event = field(factory=threading.Event)
    """What threads wait for; nobody waits for them."""
    _ends: dict[str, tuple[str, float]] = field(factory=dict[str, tuple[str, float]])

    async def over(self, name: str, task: Callable[[], Awaitable[object]]) -> None:
        """Run `task`, and note how it ends."""
        with telling(partial(self._note, name)):
            await task()

    def _note(self, name: str, how: str) -> None:
        self._ends[name] = how, trio.current_time()

    async def think(self) -> None:
        """Be busy in a thread."""

        def wait() -> None:
            self.release.wait(60)

        await self.over("task", partial(trio.to_thread.run_sync, wait, abandon_on_cancel=True))

    def end(self, outcome: Outcome) -> None:
        """The connection is over."""
        self.outcome, self.over_at = outcome, trio.current_time()

    def ends(self, since: float) -> dict[str, End]:
        """How each has ended, and how many seconds after `since`."""
        return {name: (how, at - since) for name, (how, at) in self._ends.items()}


Body: TypeAlias = Callable[[Connection[Anonymous], Log], Awaitable[None]]
Door: TypeAlias = Callable[[Log], Guard[Anonymous, Anonymous]]


# Handlers. What they do goes by the name of "task"; what they do on the way out, of "cleanup".


async def receive(conn: Connection[Anonymous], log: Log) -> None:
    """Wait for a message."""
    await log.over("task", conn.receive)


async def iterate(conn: Connection[Anonymous], log: Log) -> None:
    """Take messages."""

    async def take() -> None:
        async for _ in conn:
            pass

    await log.over("task", take)


async def send(conn: Connection[Anonymous], log: Log) -> None:
    """Send more than the peer takes."""

    async def pour() -> None:
        await trio.sleep(0.1)  # by then the peer has stopped reading
        while True:
            await conn.send(bytes(64 * 1024))

    await log.over("task", pour)


async def sleep(conn: Connection[Anonymous], log: Log) -> None:
    """Be busy elsewhere."""
    await log.over("task", trio.sleep_forever)


async def start(conn: Connection[Anonymous], log: Log) -> None:
    """Return, and leave a task in the background."""
    conn.nursery.start_soon(log.over, "task", trio.sleep_forever)


async def start_below(conn: Connection[Anonymous], log: Log) -> None:
    """Return, and leave a task in the background that has tasks of its own."""

    async def above() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.over, "task", trio.sleep_forever)
            nursery.start_soon(log.over, "beside", trio.sleep_forever)

    conn.nursery.start_soon(above)


def start_and(body: Body) -> Body:
    """`body`, and a task in the background."""

    async def handle(conn: Connection[Anonymous], log: Log) -> None:
        conn.nursery.start_soon(log.over, "beside", trio.sleep_forever)
        await body(conn, log)

    return handle


async def clean_up(log: Log) -> None:
    """Wait for something that does not come."""
    await log.over("cleanup", trio.sleep_forever)


async def clean_up_soon(log: Log) -> None:
    """Let nothing interrupt what does not take long."""
    with trio.CancelScope(shield=True):
        await log.over("cleanup", partial(trio.sleep, CLEANUP))


async def clean_up_in_time(log: Log) -> None:
    """Let nothing interrupt what might take long, but not for longer than that."""
    with trio.move_on_after(CLEANUP, shield=True):
        await log.over("cleanup", trio.sleep_forever)


def leaving(way: Callable[[Log], Awaitable[None]], body: Body) -> Body:
    """`body` inside of an ``async with`` whose ``__aexit__`` is `way`."""

    @define
    class Held:
        """Something that has to be left."""

        log: Log

        async def __aenter__(self) -> None:
            await trio.lowlevel.checkpoint()

        async def __aexit__(self, *_: object) -> None:
            await way(self.log)  # noqa: ASYNC102 - some are shielded, some are not: that is the point

    async def handle(conn: Connection[Anonymous], log: Log) -> None:
        async with Held(log):
            await body(conn, log)

    return handle


async def think(conn: Connection[Anonymous], log: Log) -> None:
    """Be busy in a thread."""
    await log.think()


# Guards.


def everybody(log: Log) -> Guard[Anonymous, Anonymous]:
    """Nobody is kept."""
    return public


def guarded(way: Callable[[Gate, Log], Awaitable[None]], *, accepted: bool) -> Door:
    """A guard that does this, before the upgrade or after it, and does not come to a decision."""

    def make(log: Log) -> Guard[Anonymous, Anonymous]:
        @guard
        async def decide(gate: Gate, proved: Anonymous) -> Anonymous:
            if accepted:
                await gate.accept()
            await way(gate, log)
            return proved

        return decide

    return make


async def hesitate(gate: Gate, log: Log) -> None:
    """Wait for something else."""
    await log.over("task", trio.sleep_forever)


async def hear(gate: Gate, log: Log) -> None:
    """Wait for the peer."""
    await log.over("task", gate.receive_text)


async def enter_for_ever(gate: Gate, log: Log) -> None:
    """Enter a resource that cannot be had."""

    @asynccontextmanager
    async def hopeless() -> AsyncGenerator[None]:
        await log.over("resource", trio.sleep_forever)
        yield

    await log.over("task", partial(gate.enter, hopeless()))


async def wonder(gate: Gate, log: Log) -> None:
    """Be busy in a thread."""
    await log.think()


async def enter_and_hesitate(gate: Gate, log: Log) -> None:
    """Hold a resource, and wait for something else."""

    @asynccontextmanager
    async def resource() -> AsyncGenerator[None]:
        yield
        await clean_up_soon(log)

    await gate.enter(resource())
    await hesitate(gate, log)


def holding(way: Callable[[Log], Awaitable[None]]) -> Door:
    """A guard that enters a resource which is left in this way."""

    def make(log: Log) -> Guard[Anonymous, Anonymous]:
        @asynccontextmanager
        async def resource() -> AsyncGenerator[None]:
            yield
            await way(log)

        @guard
        async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
            await gate.enter(resource())
            return proved

        return hold

    return make


def holding_tasks(log: Log) -> Guard[Anonymous, Anonymous]:
    """A guard that enters a resource with a task of its own."""

    @asynccontextmanager
    async def resource() -> AsyncGenerator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.over, "resource", trio.sleep_forever)
            yield
            nursery.cancel_scope.cancel()

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(resource())
        return proved

    return hold


@final
@frozen(kw_only=True)
class Shape:
    """What a connection is doing when its peer leaves, and when that ends."""

    ends: dict[str, End]
    """By name, how each of its tasks ends, and how many seconds later."""
    gone: dict[str, End] | None = None
    """The same if the peer leaves without a Close, where that is not the same."""
    body: Body = sleep
    door: Door = everybody
    farewells: tuple[Farewell, ...] = FAREWELLS
    accepted: bool = True
    """Whether the upgrade has been accepted."""
    stuck: bool = False
    """Whether the peer takes nothing any more."""

    def after(self, farewell: Farewell) -> dict[str, End]:
        """How its tasks end."""
        return self.ends if self.gone is None or farewell == "close" else self.gone


AT_ONCE: Final = ("Disconnected", 0.0)
CANCELLED: Final = ("cancelled", GRACE)
CUT: Final = ("cancelled", 0.0)

SHAPES: Final = {
    "receives": Shape(body=receive, ends={"task": AT_ONCE}),
    "iterates": Shape(body=iterate, ends={"task": ("returned", 0)}),
    "sends": Shape(body=send, stuck=True, ends={"task": AT_ONCE}),
    "sleeps": Shape(body=sleep, ends={"task": CANCELLED}),
    "thinks": Shape(body=think, ends={"task": CANCELLED}),
    "has a child": Shape(body=start, ends={"task": CANCELLED}),
    "has grandchildren": Shape(body=start_below, ends={"task": CANCELLED, "beside": CANCELLED}),
    "receives and has a child": Shape(body=start_and(receive), ends={"task": AT_ONCE, "beside": CUT}),
    "iterates and has a child": Shape(body=start_and(iterate), ends={"task": ("returned", 0), "beside": CANCELLED}),
    "cleans up": Shape(body=leaving(clean_up, sleep), ends={"task": CANCELLED, "cleanup": CANCELLED}),
    "receives and cleans up": Shape(body=leaving(clean_up, receive), ends={"task": AT_ONCE, "cleanup": CANCELLED}),
    "cleans up soon": Shape(
        body=leaving(clean_up_soon, sleep), ends={"task": CANCELLED, "cleanup": ("returned", GRACE + CLEANUP)}
    ),
    "receives and cleans up soon": Shape(
        body=leaving(clean_up_soon, receive), ends={"task": AT_ONCE, "cleanup": ("returned", CLEANUP)}
    ),
    "cleans up in time": Shape(
        body=leaving(clean_up_in_time, sleep), ends={"task": CANCELLED, "cleanup": ("cancelled", GRACE + CLEANUP)}
    ),
    "child cleans up": Shape(body=leaving(clean_up, start), ends={"task": CANCELLED, "cleanup": CANCELLED}),
    # A guard that has not accepted is told of no Close: what came early is for the handler.
    "hesitates": Shape(door=guarded(hesitate, accepted=False), ends={"task": CUT}, farewells=GONE, accepted=False),
    "wonders": Shape(door=guarded(wonder, accepted=False), ends={"task": CUT}, farewells=GONE, accepted=False),
    "enters": Shape(
        door=guarded(enter_for_ever, accepted=False),
        ends={"task": CUT, "resource": CUT},
        farewells=GONE,
        accepted=False,
    ),
    "enters and hesitates": Shape(
        door=guarded(enter_and_hesitate, accepted=False),
        ends={"task": CUT, "cleanup": ("returned", CLEANUP)},
        farewells=GONE,
        accepted=False,
    ),
    # One that has is like a handler, but that a peer without a Close is no use to it.
    "hears": Shape(door=guarded(hear, accepted=True), ends={"task": AT_ONCE}),
    "hesitates, accepted": Shape(door=guarded(hesitate, accepted=True), ends={"task": CANCELLED}, gone={"task": CUT}),
    "wonders, accepted": Shape(door=guarded(wonder, accepted=True), ends={"task": CANCELLED}, gone={"task": CUT}),
    "enters, accepted": Shape(
        door=guarded(enter_for_ever, accepted=True),
        ends={"task": CANCELLED, "resource": CANCELLED},
        gone={"task": CUT, "resource": CUT},
    ),
    "holds": Shape(door=holding(clean_up_soon), ends={"task": CANCELLED, "cleanup": ("returned", GRACE + CLEANUP)}),
    "holds, receives": Shape(
        body=receive, door=holding(clean_up_soon), ends={"task": AT_ONCE, "cleanup": ("returned", CLEANUP)}
    ),
    "holds on": Shape(door=holding(clean_up), ends={"task": CANCELLED, "cleanup": ("cancelled", GRACE + PATIENCE)}),
    "holds tasks": Shape(door=holding_tasks, ends={"task": CANCELLED, "resource": CANCELLED}),
}


def cases() -> Iterator[object]:
    """Each shape, with each way to leave that there is for it."""
    for name, shape in SHAPES.items():
        for farewell in shape.farewells:
            yield pytest.param(shape, farewell, id=f"{name}-{farewell}")


def serve_shape(app: App, path: str, shape: Shape, log: Log) -> None:
    """Give `app` a route that does what `shape` says."""

    async def handle(conn: Connection[Anonymous]) -> None:
        await shape.body(conn, log)

    app.route(path, guard=shape.door(log))(handle)


async def leave(peer: Peer, stream: MemoryStream, farewell: Farewell) -> None:
    """Go, over memory streams; who closes reads what it is told, if anything, and hangs up."""
    match farewell:
        case "close":
            await peer.say(close(4001, "bye"))
        case "reset":
            stream.reset()
        case "fin":
            stream.half_close()


@pytest.mark.parametrize(("shape", "farewell"), list(cases()))
async def test_a_shape(shape: Shape, farewell: Farewell, autojump_clock: MockClock) -> None:
    """Everything ends at its moment, the connection with the last of it, and the outcome says that it was the peer."""
    log = Log()
    app = App(limits=Limits(wind_down=GRACE, close_timeout=PATIENCE, drain_timeout=100), on_end=log.end)
    serve_shape(app, "/", shape, log)
    async with serve(app) as served:
        stream = served.open_stream()
        peer = Peer(stream)
        await peer.say(request())
        if shape.accepted:
            await peer.head()
        if shape.stuck:
            stream.stall()
        await trio.sleep(LEAVES_AT)
        await leave(peer, stream, farewell)
        if not shape.stuck:
            await peer.rest()
            await stream.aclose()
        await trio.sleep(20)
        log.release.set()
        assert log.ends(LEAVES_AT) == shape.after(farewell)
        last = max(seconds for _, seconds in shape.after(farewell).values())
        stuck = shape.stuck and farewell == "close"  # our Close has to be taken first
        assert log.over_at - LEAVES_AT == (PATIENCE if stuck else last)
    assert log.outcome is not None
    found = (log.outcome.cause, log.outcome.code, log.outcome.reason)
    assert found == ((Cause.PEER_CLOSED, 4001, "bye") if farewell == "close" else (Cause.PEER_VANISHED, 1006, ""))


@pytest.mark.slow
@pytest.mark.parametrize("over", DRIVEN)
@pytest.mark.parametrize("farewell", FAREWELLS)
async def test_all_shapes_over_sockets(farewell: Farewell, over: Transport) -> None:
    """What ends in virtual time ends there as well, and in the same way, though all of it ends at once."""
    app = App(limits=Limits(wind_down=0.2, close_timeout=0.5), hosts=any_host)
    acts = {name: (shape, Log()) for name, shape in SHAPES.items() if farewell in shape.farewells}
    for number, (shape, log) in enumerate(acts.values()):
        serve_shape(app, f"/{number}", shape, log)
    async with serving_sockets(app, over) as place, no_leaks(place):
        clients: list[RawClient] = []
        for number, (shape, _) in enumerate(acts.values()):
            clients.append(await place.dial(receive_buffer=4096))
            await clients[-1].send(request(f"/{number}"))
            if shape.accepted:
                assert (await clients[-1].response()).status == 101
        await wait_all_tasks_blocked(0.15)  # by then the one that sends is stuck
        for client in clients:
            match farewell:
                case "close":
                    await client.send(close_frame(4001, b"bye"))
                case "reset":
                    client.reset()
                case "fin":
                    client.finish()
        expected = {name: hows(shape.after(farewell)) for name, (shape, _) in acts.items()}

        def found() -> dict[str, dict[str, str]]:
            return {name: hows(log.ends(0)) for name, (_, log) in acts.items()}

        await until(lambda: found() == expected, describe=lambda: f"{found()} instead of {expected}")
        for _, log in acts.values():
            log.release.set()


def hows(ends: dict[str, End]) -> dict[str, str]:
    """How each ended, whenever."""
    return {name: how for name, (how, _) in ends.items()}
