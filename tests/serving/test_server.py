"""Many connections at once: lifespan, draining, cancelling, limits of the server, and a listener that fails."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import cast, final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Close,
    ConfigurationError,
    Connection,
    ErrorPolicy,
    Escalate,
    Gate,
    Limits,
    Server,
    guard,
    public,
)
from seawall.serving.capacity import MAX_OVER_CAPACITY
from seawall.serving.server import AT_ONCE, BACK_OFF, TURNS
from seawall.testing import serve
from seawall.testing import serve as served
from seawall.wire.transport.lingering import LINGER
from tests.kit.log import Records, recorded
from tests.kit.memory import Doorstep, Peer, Wire, close, living, request, text


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged during the test."""
    with recorded() as found:
        yield found


def echoing(limits: Limits | None = None, errors: ErrorPolicy | None = None) -> App:
    """An app that echoes at ``/echo``, is deaf at ``/deaf``, talks on when drained at ``/polite``, and raises."""
    app = App(limits=limits, errors=errors)

    @app.route("/echo", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    @app.route("/deaf", guard=public)
    async def deaf(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    @app.route("/polite", guard=public)
    async def polite(conn: Connection[Anonymous]) -> None:
        await conn.draining.wait()
        with pytest.raises(trio.EndOfChannel):
            await conn.receive()
        await trio.sleep(2)
        await conn.send("goodbye")

    @guard
    async def slow(gate: Gate, proved: Anonymous) -> Anonymous:
        await trio.sleep_forever()

    @app.route("/slow", guard=slow)
    async def guarded(conn: Connection[Anonymous]) -> None:
        raise AssertionError

    @guard
    async def talking(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        await gate.receive_text()
        return proved

    @app.route("/talking", guard=talking)
    async def talked(conn: Connection[Anonymous]) -> None:
        raise AssertionError

    @app.route("/raises", guard=public)
    async def raises(conn: Connection[Anonymous]) -> None:
        await conn.receive()
        raise Trouble

    return app


class Trouble(Exception):
    """Something that escalates."""


@asynccontextmanager
async def started(app: App, listener: Doorstep) -> AsyncGenerator[tuple[Server, trio.CancelScope]]:
    """Serve `app` at `listener`; the scope cancels it."""
    before = living()
    async with trio.open_nursery() as nursery:
        server = await app.start(nursery, listeners=[listener])
        yield server, nursery.cancel_scope
        nursery.cancel_scope.cancel()
    assert living() == before


def come(listener: Doorstep) -> tuple[Wire, Peer]:
    """Somebody arrives: both ends."""
    wire = Wire()
    listener.arrive(wire)
    return wire, Peer(wire.far)


async def closings_of(peers: list[Peer]) -> list[object]:
    """What they read, one after the other."""
    return [await peer.closing() for peer in peers]


# Draining.


async def test_draining(autojump_clock: MockClock, records: Records) -> None:
    """Everybody is told 1001, each as soon as it is its turn, nobody new is let in, and it ends within the window."""
    listener = Doorstep()
    async with started(echoing(), listener) as (server, _):
        said = {path: come(listener) for path in ("/echo", "/deaf", "/polite", "/talking")}
        for path, (_, peer) in said.items():
            await peer.open(path)
        (_, slow), (_, silent) = come(listener), come(listener)
        await slow.say(request("/slow"))
        await said["/echo"][1].say(text("one"))
        await wait_all_tasks_blocked()
        moments: dict[str, tuple[float, object]] = {}

        async def watch(path: str, peer: Peer) -> None:
            if path == "/polite":
                assert await peer.message() == "goodbye"
            closing = await peer.closing()
            moments[path] = trio.current_time() - start, closing
            await peer.say(close(1001))
            assert await peer.rest() == b""
            await peer.stream.aclose()

        async def turned_away(name: str, peer: Peer) -> None:
            head = await peer.head()
            assert "retry-after:" in head.lower()
            moments[name] = trio.current_time() - start, int(head.split()[1])
            await peer.stream.aclose()

        start = trio.current_time()
        async with trio.open_nursery() as watching:
            for path, (_, peer) in said.items():
                watching.start_soon(watch, path, peer)
            watching.start_soon(turned_away, "guard", slow)
            watching.start_soon(turned_away, "handshake", silent)
            await server.aclose()
            assert trio.current_time() - start == 5
        assert moments == {
            "/echo": (0, (1001, "going away")),
            "/talking": (0, (1001, "going away")),
            "guard": (0, 503),
            "handshake": (0, 503),
            "/polite": (2, (1001, "going away")),
            "/deaf": (5, (1001, "going away")),
        }
        assert listener.closed == 1
    assert {end.partition(",")[0] for end in records.ends} == {"server draining"}
    assert records.lines("server") == ["listening on memory", "draining 6 connections of memory", "stopped memory"]


async def test_a_server_that_will_be_back(autojump_clock: MockClock, records: Records) -> None:
    """Peers are told 1012 when it restarts, guards and handshakes 503; what a second call says is too late."""
    listener = Doorstep()
    async with started(echoing(), listener) as (server, _):
        (_, echo), (_, deaf), (_, slow) = come(listener), come(listener), come(listener)
        await echo.open("/echo")
        await deaf.open("/deaf")
        await slow.say(request("/slow"))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(server.drain, restarting=True))
            await wait_all_tasks_blocked()
            nursery.start_soon(server.drain)
            assert await slow.status() == 503
            for peer in (echo, deaf):
                assert await peer.closing() == (1012, "service restart")
                await peer.stream.aclose()
            await slow.stream.aclose()
    assert "server draining, 1012 'service restart'" in records.ends


async def test_many_are_told_in_turns(autojump_clock: MockClock) -> None:
    """Up to a hundred are told at once; more of them over half of the time that handlers have, in ten turns."""
    listener = Doorstep()
    moments: list[float] = []
    async with started(echoing(), listener) as (server, _):
        peers = list[Peer]()
        for _ in range(12 * AT_ONCE):
            _, peer = come(listener)
            await peer.open("/echo")
            peers.append(peer)

        async def watch(peer: Peer) -> None:
            assert await peer.closing() == (1001, "going away")
            moments.append(trio.current_time() - start)
            await peer.stream.aclose()

        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(watch, peer)
            await server.drain()
        assert trio.current_time() - start == pytest.approx(2.25)
    turns = [moments.count(moment) for moment in sorted(set(moments))]
    assert turns == [12 * AT_ONCE // TURNS] * TURNS
    assert max(moments) == pytest.approx(2.25)


async def test_strangers_do_not_wait_for_their_turn(autojump_clock: MockClock) -> None:
    """Who has not been let in is turned away at once, however many are told in turns."""
    listener = Doorstep()
    async with started(echoing(), listener) as (server, _):
        for _ in range(2 * AT_ONCE):
            await come(listener)[1].open("/echo")
        strangers = [come(listener)[0] for _ in range(10)]
        await wait_all_tasks_blocked()
        start = trio.current_time()
        await server.drain()
    assert all(wire.written.startswith(b"HTTP/1.1 503 ") for wire in strangers)
    assert max(wire.closed_at for wire in strangers) - start <= LINGER


async def test_a_handler_that_watches_is_told_in_its_turn(autojump_clock: MockClock) -> None:
    """`Connection.draining` is set when it is the connection's turn, and stays set."""
    app, listener, moments = App(), Doorstep(), list[float]()

    @app.route("/", guard=public)
    async def feed(conn: Connection[Anonymous]) -> None:
        if len(listening) % 2:
            assert not conn.draining.is_set()
        listening.append(conn)
        await conn.draining.wait()
        assert conn.draining.is_set()
        moments.append(trio.current_time())

    listening = list[Connection[Anonymous]]()
    async with started(app, listener) as (server, _):
        peers = [come(listener)[1] for _ in range(2 * AT_ONCE)]
        for peer in peers:
            await peer.open()
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.drain)
            await trio.sleep(4)
            for peer in peers:
                await peer.stream.aclose()
        assert all(conn.draining.is_set() for conn in listening)
    assert sorted(moments) == [0.0] * AT_ONCE + [1.25] * AT_ONCE


async def test_closing_waits_for_the_lifespans(autojump_clock: MockClock) -> None:
    """`drain` returns when the connections have ended, `aclose` and `wait_closed` when the lifespans have been left."""
    app, listener, left = App(), Doorstep(), list[tuple[str, float]]()

    @app.lifespan
    @asynccontextmanager
    async def database() -> AsyncGenerator[None]:
        yield
        await trio.sleep(7)

    async def wait(name: str, done: Callable[[], Awaitable[None]]) -> None:
        await done()
        left.append((name, trio.current_time()))

    async with started(app, listener) as (server, _), trio.open_nursery() as nursery:
        nursery.start_soon(wait, "drain", server.drain)
        nursery.start_soon(wait, "aclose", server.aclose)
        nursery.start_soon(wait, "wait_closed", server.wait_closed)
    assert sorted(left) == [("aclose", 7), ("drain", 0), ("wait_closed", 7)]
    assert database.name == "database"


async def test_what_was_received_is_still_handled(autojump_clock: MockClock) -> None:
    """Messages that are queued when draining begins are delivered before iteration ends; later ones are not."""
    heard: list[object] = []
    app, listener = App(), Doorstep()

    @app.route("/", guard=public)
    async def slowly(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            heard.append(message)
            await trio.sleep(1)

    async with started(app, listener) as (server, _):
        _, peer = come(listener)
        await peer.open()
        await peer.say(text("one"), text("two"), text("three"))
        await trio.sleep(0.5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose)
            await wait_all_tasks_blocked()
            await peer.say(text("four"))
            assert await peer.closing() == (1001, "going away")
            await peer.say(close())
    assert heard == ["one", "two", "three"]


async def test_draining_is_over_when_everybody_has_gone(autojump_clock: MockClock) -> None:
    """An idle server stops at once, one with a handler that returns as soon as that has returned."""
    listener = Doorstep()
    async with started(echoing(), listener) as (server, _):
        start = trio.current_time()
        await server.aclose()
        await server.aclose()
        await server.wait_closed()
        assert trio.current_time() == start


async def test_draining_with_mute_peers_takes_the_window_and_no_more(autojump_clock: MockClock) -> None:
    """Handlers and peers that do nothing at all are done with at exactly ``drain_timeout``."""
    listener = Doorstep()
    limits = Limits(drain_timeout=7, close_timeout=3)
    async with started(echoing(limits), listener) as (server, _):
        wires: list[Wire] = []
        for path in ("/deaf", "/deaf", "/echo", "/polite"):
            wire, peer = come(listener)
            await peer.open(path)
            wires.append(wire)
        blocked, peer = come(listener)
        await peer.open("/deaf")
        blocked.stall()
        start = trio.current_time()
        await server.aclose()
        assert [wire.closed_at - start for wire in wires] == [7, 7, 3, 5]
        assert blocked.closed_at - start == 7
        assert trio.current_time() - start == 7


async def test_a_cancelled_aclose_does_not_stop_the_draining(autojump_clock: MockClock) -> None:
    """Who waits for the draining may give up; it goes on."""
    listener = Doorstep()
    async with started(echoing(), listener) as (server, _):
        wire, peer = come(listener)
        await peer.open("/deaf")
        with trio.move_on_after(1):
            await server.aclose()
        assert trio.current_time() == 1
        assert await peer.closing() == (1001, "going away")
        assert trio.current_time() == 5
        await server.wait_closed()
        assert wire.closed_at == 10


async def test_who_has_connected_is_told_by_whoever_drains(autojump_clock: MockClock) -> None:
    """However many call for it at the same time, those in the queue of the listener are accepted and told."""
    listener = Doorstep()
    async with started(echoing(Limits()), listener) as (server, _):
        wires = [come(listener)[0] for _ in range(50)]
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(server.drain)
    assert all(wire.written.startswith(b"HTTP/1.1 503 ") for wire in wires)


async def test_a_drain_that_is_cancelled_at_once(autojump_clock: MockClock) -> None:
    """Has told those in the queue all the same."""
    listener = Doorstep()
    async with started(echoing(Limits()), listener) as (server, _):
        wires = [come(listener)[0] for _ in range(50)]
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.drain()
        with trio.fail_after(Limits().drain_timeout):
            await server.wait_closed()
    assert all(wire.written.startswith(b"HTTP/1.1 503 ") for wire in wires)


async def test_who_comes_for_ever_does_not_keep_a_drain(autojump_clock: MockClock) -> None:
    """Somebody new at each turn is let in no longer than there are places for strangers."""
    listener = Doorstep()
    async with started(echoing(Limits(max_unauthenticated=5)), listener) as (server, _), trio.open_nursery() as nursery:
        nursery.start_soon(server.drain)
        came = 0
        while came < 1000 and not listener.closed:
            come(listener)
            came += 1
            await trio.lowlevel.checkpoint()
    assert came < 100


async def test_cancelled_while_draining(autojump_clock: MockClock) -> None:
    """Cancelling ``serve`` cuts the draining short: 1001 to who is left."""
    listener = Doorstep()
    async with started(echoing(), listener) as (server, scope):
        wire, peer = come(listener)
        await peer.open("/deaf")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose)
            await trio.sleep(2)
            scope.cancel()
    assert await peer.closing() == (1001, "going away")
    assert wire.closed_at == 7


async def test_a_failure_while_draining_is_a_failure(autojump_clock: MockClock) -> None:
    """A handler that raises when it is told to finish has failed, and its peer is told so."""
    app, listener = App(errors=ErrorPolicy().on(Trouble, Close(4000))), Doorstep()

    @app.route("/", guard=public)
    async def fail(conn: Connection[Anonymous]) -> None:
        await conn.draining.wait()
        raise Trouble

    async with started(app, listener) as (server, _):
        _, peer = come(listener)
        await peer.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose)
            assert await peer.closing() == (4000, "")


# Cancelling.


async def test_cancelling(autojump_clock: MockClock, records: Records) -> None:
    """Everybody gets 1001, or 503, at once and without grace; mute peers cost ``close_timeout``, all together."""
    listener = Doorstep()
    wires: dict[str, tuple[Wire, Peer]] = {}
    async with started(echoing(), listener) as (_, scope):
        for path in ("/echo", "/deaf", "/polite", "/talking"):
            wires[path] = come(listener)
            await wires[path][1].open(path)
        wires["guard"], wires["handshake"] = come(listener), come(listener)
        await wires["guard"][1].say(request("/slow"))
        blocked, peer = come(listener)
        await peer.open("/deaf")
        blocked.stall()
        await trio.sleep(1)
        scope.cancel()
    assert trio.current_time() == 6
    for name, (wire, peer) in wires.items():
        if name in {"guard", "handshake"}:
            assert (await peer.head()).startswith("HTTP/1.1 503 ")
            assert wire.closed_at == 1 + LINGER, name
        else:
            assert await peer.closing() == (1001, "going away")
            assert wire.closed_at == 6, name
    assert blocked.closed_at == 6
    assert {end.partition(",")[0] for end in records.ends} == {"server stopped"}
    assert listener.closed == 1


async def test_cancelled_before_it_has_listened(autojump_clock: MockClock) -> None:
    """A server that is cancelled before it has begun leaves no task behind, and closes its listeners."""
    listener, before = Doorstep(), living()
    with trio.CancelScope() as scope:
        scope.cancel()
        await echoing().serve(listeners=[listener])
    assert scope.cancelled_caught
    assert listener.closed == 1
    assert living() == before


@pytest.mark.parametrize("steps", range(12))
async def test_cancelled_at_any_moment_of_its_start(steps: int, autojump_clock: MockClock) -> None:
    """At whatever step the start is cancelled, listeners are closed, lifespan values are left, and nobody hangs."""
    app, listener, before = echoing(), Doorstep(), living()
    story: list[str] = []

    @app.lifespan
    @asynccontextmanager
    async def value() -> AsyncGenerator[None]:
        story.append("enter")
        await trio.lowlevel.checkpoint()
        try:
            yield
        finally:
            story.append("leave")

    come(listener)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(app.serve, listeners=[listener]))
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert living() == before
    assert story in (["enter", "leave"], ["enter"], [])
    assert trio.current_time() <= 1


async def test_a_cancelled_start(autojump_clock: MockClock) -> None:
    """``app.start`` that is cancelled while a lifespan value is being entered leaves nothing."""
    app, before = echoing(), living()

    @app.lifespan
    @asynccontextmanager
    async def never() -> AsyncGenerator[None]:
        await trio.sleep(1000)
        yield

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(3):
            await app.start(nursery, listeners=[Doorstep()])
        assert trio.current_time() == 3
    assert living() == before


@final
class Stuck(trio.abc.Listener[trio.abc.Stream]):
    """A listener to which nobody comes, and that cannot be closed."""

    async def accept(self) -> trio.abc.Stream:
        """Wait for ever."""
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        """Try for ever."""
        await trio.sleep_forever()


@pytest.mark.parametrize("draining", [False, True])
async def test_a_listener_that_cannot_be_closed(draining: bool, autojump_clock: MockClock) -> None:
    """Somebody else's listener holds the server up for ``close_timeout``, and no longer."""
    async with trio.open_nursery() as nursery:
        server = await App().start(nursery, listeners=[Stuck()])
        if draining:
            await server.aclose()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 5


# Escalating.


async def test_escalation(autojump_clock: MockClock, records: Records) -> None:
    """What is escalated stops the server: 1011 for its connection, 1001 for the others, one flat group out of serve."""
    listener = Doorstep()
    app = echoing(errors=ErrorPolicy().on(Trouble, Escalate()))
    closings: list[object] = []
    with pytest.RaisesGroup(pytest.RaisesGroup(Trouble, Trouble)):
        async with started(app, listener):
            peers: list[Peer] = []
            for path in ("/raises", "/raises", "/echo", "/deaf"):
                _, peer = come(listener)
                await peer.open(path)
                peers.append(peer)
            for peer in peers[:2]:
                await peer.say(text("!"))
            with trio.CancelScope(shield=True):
                closings += await closings_of(peers)
            await trio.sleep_forever()
    assert closings == [(1011, "internal error")] * 2 + [(1001, "going away")] * 2
    assert trio.current_time() == 5
    assert listener.closed == 1


async def test_escalation_is_not_lost_to_a_cancellation(autojump_clock: MockClock) -> None:
    """An embedding program that is cancelled while the server stops still gets what was escalated."""
    listener = Doorstep()
    app = echoing(errors=ErrorPolicy().on(Trouble, Escalate()))
    with pytest.RaisesGroup(pytest.RaisesGroup(Trouble)):
        async with started(app, listener) as (_, scope):
            _, peer = come(listener)
            await peer.open("/raises")
            await peer.say(text("!"))
            with trio.CancelScope(shield=True):
                await peer.closing()
                await trio.sleep(1)
            scope.cancel()
            await trio.sleep_forever()


@pytest.mark.parametrize("draining", [False, True])
async def test_escalation_out_of_a_cancellation(draining: bool, autojump_clock: MockClock) -> None:
    """What a handler raises only because the server was cancelled is escalated as well."""
    app, listener = App(errors=ErrorPolicy().on(Trouble, Escalate())), Doorstep()

    @app.route("/", guard=public)
    async def clumsy(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Trouble

    with pytest.RaisesGroup(pytest.RaisesGroup(Trouble)):
        async with started(app, listener) as (server, scope):
            _, peer = come(listener)
            await peer.open()
            if draining:
                with trio.move_on_after(1):
                    await server.aclose()
            scope.cancel()
            await trio.sleep_forever()


# Lifespan.


async def test_lifespan(autojump_clock: MockClock) -> None:
    """Values are entered in order before listening, reach guards and handlers, and are left after all connections."""
    story: list[str] = []
    app, listener = App(), Doorstep()

    @app.lifespan
    @asynccontextmanager
    async def database() -> AsyncGenerator[dict[str, int]]:
        story.append("enter database")
        yield {"rows": 3}
        story.append("leave database")

    @app.lifespan
    @asynccontextmanager
    async def cache() -> AsyncGenerator[str]:
        assert listener.closed == 0
        story.append("enter cache")
        yield "cache"
        assert listener.closed == 1
        story.append("leave cache")

    @guard
    async def door(gate: Gate, proved: Anonymous) -> Anonymous:
        assert gate.provided(cache) == "cache"
        return proved

    @app.route("/", guard=door)
    async def handler(conn: Connection[Anonymous]) -> None:
        try:
            await conn.send(f"{conn.provided(database)['rows']} rows")
            await trio.sleep_forever()
        finally:
            story.append("handler")

    async with started(app, listener) as (server, _):
        assert story == ["enter database", "enter cache"]
        _, peer = come(listener)
        await peer.open()
        assert await peer.message() == "3 rows"
        await server.aclose()
    assert story == ["enter database", "enter cache", "handler", "leave cache", "leave database"]


async def test_a_handle_of_another_app(autojump_clock: MockClock) -> None:
    """A value that this app does not provide is a mistake, in a handler and in a guard."""
    other, app = App(), App()

    @other.lifespan
    @asynccontextmanager
    async def elsewhere() -> AsyncGenerator[int]:
        yield 1

    @guard
    async def door(gate: Gate, proved: Anonymous) -> Anonymous:
        with pytest.raises(ConfigurationError, match=r"provided\(elsewhere\)"):
            gate.provided(elsewhere)
        return proved

    @app.route("/", guard=door)
    async def handler(conn: Connection[Anonymous]) -> None:
        with pytest.raises(ConfigurationError, match=r"provided\(elsewhere\)"):
            conn.provided(elsewhere)
        await conn.send("fine")

    async with serve(app) as served, served.connect("/") as client:
        assert await client.receive() == "fine"


async def test_a_value_that_cannot_be_entered(autojump_clock: MockClock) -> None:
    """An app whose value fails does not listen, and what was entered before is left."""
    story: list[str] = []
    app, listener = App(), Doorstep()

    @app.lifespan
    @asynccontextmanager
    async def first() -> AsyncGenerator[None]:
        yield
        story.append("left")

    @app.lifespan
    @asynccontextmanager
    async def second() -> AsyncGenerator[None]:
        if story == []:
            raise Trouble
        yield

    try:
        await app.serve(listeners=[listener])
    except Trouble:
        story.append("raised")
    assert story == ["raised"]


@contextmanager
def not_async() -> Generator[int]:
    """A context of the other kind."""
    yield 1


@asynccontextmanager
async def of_something(size: int) -> AsyncGenerator[int]:
    """Needs to be told something."""
    yield size


async def bare() -> AsyncGenerator[int]:
    """Lacks the decorator."""
    yield 1


@pytest.mark.parametrize(
    ("junk", "remedy"),
    [
        (not_async, r"not_async\(\) \(.* is not async; write `async def`, under @asynccontextmanager"),
        (of_something, r"of_something\(\) \(.* is called without arguments \(missing .*'size'\); leave them out"),
        (bare, r"bare\(\) \(.* opens no context; put @asynccontextmanager between the two"),
        (of_something(1), r"was given <.*; put it over a function, which opens the context"),
        (None, r"was given None; put it over a function"),
    ],
    ids=["not async", "of something", "bare", "opened", "None"],
)
def test_what_cannot_be_a_lifespan(junk: object, remedy: str) -> None:
    """It is said where it is defined, not when the app is started."""
    with pytest.raises(ConfigurationError, match=rf"^lifespan:? {remedy}"):
        App().lifespan(cast("Callable[[], AbstractAsyncContextManager[int]]", junk))


def test_what_are_no_limits() -> None:
    """A route's are a dictionary, the app's are not."""
    with pytest.raises(ConfigurationError, match=r"^App: limits=\{.*\} are no limits; give Limits\("):
        App(limits=cast("Limits", {"idle_timeout": 60}))


# Limits of the server.


async def test_too_many_connections(autojump_clock: MockClock, records: Records) -> None:
    """One too many gets 503 and a time to come back; a place that becomes free is given to the next one at once."""
    listener = Doorstep()
    async with started(echoing(Limits(max_connections=3)), listener):
        peers: list[Peer] = []
        for _ in range(3):
            _, peer = come(listener)
            await peer.open("/echo")
            peers.append(peer)
        _, surplus = come(listener)
        await surplus.say(request("/echo"))
        head = await surplus.head()
        assert head.startswith("HTTP/1.1 503 ")
        assert "retry-after: 5" in head.lower()
        assert (await surplus.rest()).startswith(b"too many connections")
        await peers[0].say(close())
        await peers[0].closing()
        await peers[0].stream.aclose()
        await wait_all_tasks_blocked()
        _, peer = come(listener)
        await peer.open("/echo")
        await peer.say(text("one"))
        assert await peer.message() == "one"
    assert "overload, 503 'too many connections'" in records.ends


async def test_far_too_many_connections(autojump_clock: MockClock, records: Records) -> None:
    """Beyond a bounded number of those who are told that there is no room, connections are just closed, and counted."""
    listener = Doorstep()
    async with started(echoing(Limits(max_connections=1)), listener):
        wires = [come(listener)[0] for _ in range(1 + MAX_OVER_CAPACITY + 50)]
        await wait_all_tasks_blocked()
        assert sum(wire.closed_at == 0 and not wire.written for wire in wires) == 50
        assert sum(wire.written.startswith(b"HTTP/1.1 503 ") for wire in wires) == MAX_OVER_CAPACITY
        await trio.sleep(2)
        assert sum(wire.closed_at <= 1 for wire in wires) == MAX_OVER_CAPACITY + 50
    assert sum("closed without an answer" in line for line in records.lines("server")) == 10
    assert records.lines("error") == ["40 more of the same were not logged: closed without an answer"]


async def test_a_surplus_stream_that_cannot_be_closed(autojump_clock: MockClock) -> None:
    """A connection that is just closed, and raises at that, does not end the server."""
    listener = Doorstep()
    async with started(echoing(Limits(max_connections=1)), listener):
        for _ in range(1 + MAX_OVER_CAPACITY + 1):
            wire, _ = come(listener)
            wire.close_error = Trouble()
        await trio.sleep(20)
        _, peer = come(listener)
        await peer.open("/echo")


async def test_a_thousand_connections_that_come_and_go(autojump_clock: MockClock) -> None:
    """Connections that end in any way leave no task, and the server is as good as new."""
    listener = Doorstep()
    async with started(echoing(), listener):
        await wait_all_tasks_blocked()
        before = living()
        for number in range(1000):
            _, peer = come(listener)
            match number % 4:
                case 0:
                    await peer.say(b"GET")
                case 1:
                    await peer.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                case 2:
                    await peer.open("/echo")
                case _:
                    await peer.open("/deaf")
                    await peer.say(close())
            await peer.stream.aclose()
        await trio.sleep(5)
        assert living() == before


# Accepting.


async def test_accepting_when_descriptors_run_out(autojump_clock: MockClock, records: Records) -> None:
    """Exhaustion is logged once, tried again ten times a second, and over when it is over."""
    listener = Doorstep()
    async with started(echoing(), listener):
        await wait_all_tasks_blocked()
        start = trio.current_time()
        for code in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            listener.arrive(OSError(code, "exhausted"))
        _, peer = come(listener)
        await peer.open("/echo")
        assert trio.current_time() - start == pytest.approx(4 * BACK_OFF)
        listener.arrive(OSError(errno.EMFILE, "exhausted again"))
        await trio.sleep(1)
    errors = [record.getMessage() for record in records.found if record.levelno == logging.ERROR]
    assert [line.partition(";")[0] for line in errors] == ["accept: exhausted", "accept: exhausted again"]


async def test_accepting_somebody_who_has_gone(autojump_clock: MockClock, records: Records) -> None:
    """An error that belongs to the one connection is passed over without a word."""
    listener = Doorstep()
    async with started(echoing(), listener):
        for code in (errno.ECONNABORTED, errno.EPROTO, errno.EPERM):
            listener.arrive(OSError(code, "gone"))
        _, peer = come(listener)
        await peer.open("/echo")
        assert trio.current_time() == 0
    assert not [record for record in records.found if record.levelno >= logging.WARNING]


async def test_accepting_with_a_listener_that_is_broken(autojump_clock: MockClock) -> None:
    """Any other error is nothing to live with: it comes out of serve, and the connections there are get 1001."""
    listener = Doorstep()
    closings: list[object] = []
    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        async with started(echoing(), listener):
            _, peer = come(listener)
            await peer.open("/echo")
            listener.arrive(OSError(errno.EBADF, "broken"))
            with trio.CancelScope(shield=True):
                closings.append(await peer.closing())
            await trio.sleep_forever()
    assert closings == [(1001, "going away")]
    assert listener.closed == 1


async def test_a_listener_that_is_closed_from_outside(autojump_clock: MockClock) -> None:
    """Somebody may close one of several listeners; the others go on."""
    one, other = Doorstep(), Doorstep()
    async with trio.open_nursery() as nursery:
        server = await echoing().start(nursery, listeners=[one, other])
        assert len(server.addresses) == 2
        await wait_all_tasks_blocked()
        await one.aclose()
        await wait_all_tasks_blocked()
        _, peer = come(other)
        await peer.open("/echo")
        nursery.cancel_scope.cancel()


async def test_a_handler_that_only_receives_is_drained_like_any_other(
    records: Records, autojump_clock: MockClock
) -> None:
    """What `Connection.receive` raises when the server stops may escape the handler: 1001, and no failure logged."""
    app = App()

    @app.route("/", guard=public)
    async def receives(conn: Connection[Anonymous]) -> None:
        while True:
            await conn.receive()

    async with served(app) as server, server.connect("/") as client, trio.open_nursery() as nursery:
        nursery.start_soon(server.server.aclose)
        assert await client.wait_closed() == (1001, "going away")
    assert records.lines("error") == []
