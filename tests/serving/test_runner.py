"""One connection's life, over memory streams and in virtual time: what ends it, what the peer sees, what is logged."""

from __future__ import annotations

import errno
import logging
import math
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import reduce
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    AuthTimeout,
    Claims,
    Close,
    ConfigurationError,
    Connection,
    Disconnected,
    ErrorPolicy,
    ErrorReport,
    Escalate,
    Forbidden,
    Gate,
    Guard,
    LeaseExpired,
    Limits,
    Phase,
    Unauthorized,
    any_origin,
    bearer,
    guard,
    public,
)
from seawall.testing import Closed, Rejected, connect, serve
from seawall.wire.transport.lingering import LINGER
from tests.kit.log import Records, recorded
from tests.kit.memory import BROKEN, Doorstep, Peer, Wire, close, living, request, text, wired
from tests.kit.tokens import by, token, verifier
from tests.kit.wire import CLOSE, PING, PONG, TEXT, frame, frames

Handler = Callable[[Connection[Anonymous]], Awaitable[None]]


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged during the test."""
    with recorded() as found:
        yield found


def app_of(
    handler: Handler,
    *,
    door: Guard[Anonymous, Anonymous] = public,
    limits: Limits | None = None,
    errors: ErrorPolicy | None = None,
    reports: list[ErrorReport] | None = None,
) -> App:
    """An app with one route."""
    if reports is None:
        app = App(limits=limits, errors=errors)
    else:
        app = App(limits=limits, errors=errors, report=reports.append)
    app.route("/", guard=door)(handler)
    return app


async def listen(conn: Connection[Anonymous]) -> None:
    """A handler that takes messages until there are no more."""
    async for _ in conn:
        pass


async def sleep(conn: Connection[Anonymous]) -> None:
    """A handler that is busy elsewhere."""
    await trio.sleep_forever()


async def leave(conn: Connection[Anonymous]) -> None:
    """A handler that has nothing to say."""


class Trouble(Exception):
    """Something that an app's policy may know."""


# The handler ends.


async def test_a_handler_that_returns(autojump_clock: MockClock, records: Records) -> None:
    """The peer gets 1000, and the log one line."""
    async with connect(app_of(leave), "/") as client:
        assert await client.wait_closed() == (1000, "")
    assert records.ends == ["handler returned, 1000 ''"]
    assert records.lines("error") == []


async def test_a_handler_that_raises(autojump_clock: MockClock, records: Records) -> None:
    """The peer gets 1011 and an incident that is in the log, once, with the traceback, and nothing else."""

    async def fail(conn: Connection[Anonymous]) -> None:
        raise Trouble("the password is 1234")

    async with wired(app_of(fail), wire := Wire()) as peer:
        await peer.open()
        closing = await peer.closing()
        await peer.rest()
    assert closing is not None
    incident = re.fullmatch("internal error, incident ([0-9a-f]{6})", closing[1])
    assert closing[0] == 1011
    assert incident is not None
    assert b"1234" not in wire.written
    assert b"Trouble" not in wire.written
    lines = records.lines("error")
    assert len(lines) == 1
    assert incident[1] in lines[0]
    assert "Trouble: the password is 1234" in lines[0]
    assert [bool(record.exc_text) for record in records.found if record.name == "seawall.error"] == [True]
    assert records.ends == [f"error, 1011 '{closing[1]}'"]


async def test_a_handler_whose_connection_is_over(autojump_clock: MockClock, records: Records) -> None:
    """A handler that only sends ends by `Disconnected` when the peer has closed; that is an ordinary end."""
    reports: list[ErrorReport] = []
    raised: list[str] = []

    async def feed(conn: Connection[Anonymous]) -> None:
        try:
            while True:
                await conn.send("tick")
                await trio.sleep(0.25)
        except Disconnected as disconnected:
            raised.append(disconnected.connection)
            raise

    async with serve(app_of(feed, reports=reports)) as served, served.connect("/") as client:
        await client.receive()
        await client.aclose(4321, "enough")
        await trio.sleep(1)
    assert [f"{name} " for name in raised] == [records.lines("connection")[0].partition("memory")[0]]
    assert not reports
    assert records.ends == ["peer closed, 4321 'enough'"]


async def test_an_own_disconnect_by_hand(autojump_clock: MockClock, records: Records) -> None:
    """A handler may raise it itself, alone or in a group, and has just ended then: nothing is reported."""
    reports: list[ErrorReport] = []

    async def give_up(conn: Connection[Anonymous]) -> None:
        raise ExceptionGroup("all tasks", [Disconnected(conn.id), ExceptionGroup("more", [Disconnected(conn.id)])])

    async with serve(app_of(give_up, reports=reports)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        assert await peer.closing() == (1000, "")
    assert not reports
    assert records.ends == ["handler returned, 1000 ''"]


async def test_the_disconnect_of_another_connection(autojump_clock: MockClock, records: Records) -> None:
    """A `Disconnected` of somebody else's that escapes a handler is an error like any other."""
    others: list[Connection[Anonymous]] = []
    reports: list[ErrorReport] = []

    async def forward(conn: Connection[Anonymous]) -> None:
        others.append(conn)
        if len(others) == 1:
            return
        await trio.sleep(1)
        await others[0].send("hello")

    async with serve(app_of(forward, reports=reports)) as served:
        async with served.connect("/") as client:
            assert await client.wait_closed() == (1000, "")
        async with served.connect("/") as client:
            assert (await client.wait_closed()).code == 1011
    assert [type(report.exception) for report in reports] == [Disconnected]
    assert "error, 1011" in records.ends[1]


async def test_a_background_task_that_fails(autojump_clock: MockClock) -> None:
    """A task in ``conn.nursery`` that raises ends the connection by the policy, and cancels the handler at once."""
    reports: list[ErrorReport] = []
    cancelled: list[float] = []

    async def fail() -> None:
        await trio.sleep(3)
        raise Trouble

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(fail)
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    errors = ErrorPolicy().on(Trouble, Close(4001, "trouble"))
    async with serve(app_of(work, errors=errors, reports=reports)) as served, served.connect("/") as client:
        start = trio.current_time()
        assert await client.wait_closed() == (4001, "trouble")
        assert cancelled == [start + 3]
        assert [(report.phase, report.expected) for report in reports] == [(Phase.BACKGROUND, True)]


async def test_a_background_task_outlives_the_handler(autojump_clock: MockClock) -> None:
    """The connection ends when the handler and all that it started have finished."""

    async def say(conn: Connection[Anonymous]) -> None:
        await trio.sleep(3)
        await conn.send("late")

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(say, conn)

    async with connect(app_of(work), "/") as client:
        start = trio.current_time()
        assert await client.receive() == "late"
        assert await client.wait_closed() == (1000, "")
        assert trio.current_time() == start + 3


async def test_cancelling_the_nursery_is_a_way_to_return(autojump_clock: MockClock) -> None:
    """A handler may cancel its own nursery; that is no error."""

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(trio.sleep_forever)
        conn.nursery.cancel_scope.cancel()
        await trio.sleep_forever()

    async with connect(app_of(work), "/") as client:
        assert await client.wait_closed() == (1000, "")


async def test_handler_and_background_task_fail(autojump_clock: MockClock) -> None:
    """Both failures are reported, once each and under one incident; the gravest decides."""
    reports: list[ErrorReport] = []

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise Trouble

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(fail)
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError

    errors = ErrorPolicy().on(Trouble, Close(4002)).on(LookupError, Close(4001))
    async with connect(app_of(work, errors=errors, reports=reports), "/") as client:
        assert await client.wait_closed() == (4001, "")
    assert sorted(type(report.exception).__name__ for report in reports) == ["LookupError", "Trouble"]
    assert len({report.incident for report in reports}) == 1


async def test_groups_are_taken_apart(autojump_clock: MockClock) -> None:
    """Each leaf of nested groups is decided by itself; an own `Disconnected` among them is none."""
    reports: list[ErrorReport] = []

    async def fail(conn: Connection[Anonymous]) -> None:
        inner = ExceptionGroup("inner", [Trouble(), Disconnected(conn.id), KeyError("k")])
        raise ExceptionGroup("outer", [inner, ZeroDivisionError()])

    errors = ErrorPolicy().on(Trouble, Close(4003)).on(LookupError, Close(4002)).on(ArithmeticError, Close(4009))
    async with connect(app_of(fail, errors=errors, reports=reports), "/") as client:
        assert await client.wait_closed() == (4002, "")
    assert [type(report.exception) for report in reports] == [Trouble, KeyError, ZeroDivisionError]


async def test_a_failure_while_being_cancelled(autojump_clock: MockClock, records: Records) -> None:
    """What cleanup raises after the connection has ended is reported, and changes neither cause nor code."""
    reports: list[ErrorReport] = []

    async def clumsy(conn: Connection[Anonymous]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise Trouble

    app = app_of(clumsy, reports=reports, limits=Limits(lifetime=10))
    async with serve(app) as served, served.connect("/") as client:
        assert await client.wait_closed() == (3008, "lifetime reached")
    assert [type(report.exception).__name__ for report in reports] == ["LifetimeReached", "Trouble"]
    assert records.ends == ["lifetime, 3008 'lifetime reached'"]


async def test_the_policy_of_a_failure_that_is_grave(autojump_clock: MockClock) -> None:
    """`Escalate` ends this connection with 1011, the others with 1001, and comes out of ``serve`` as one flat group."""
    trouble = Trouble()

    async def fail(conn: Connection[Anonymous]) -> None:
        async for _ in conn:
            raise ExceptionGroup("a", [ExceptionGroup("b", [trouble]), ValueError("unexpected")])

    app = app_of(fail, errors=ErrorPolicy().on(Trouble, Escalate()))
    ends: list[object] = []
    with pytest.RaisesGroup(pytest.RaisesGroup(pytest.RaisesExc(Trouble, check=lambda raised: raised is trouble))):
        async with serve(app) as served, served.connect("/") as one, served.connect("/") as other:
            await one.send("!")
            ends += [await one.wait_closed(), await other.wait_closed()]
            await trio.sleep_forever()
    assert ends == [(1011, "internal error"), (1001, "going away")]
    (note,) = trouble.__notes__
    assert re.fullmatch(r"seawall: handler of /, connection c\d+ from memory, incident [0-9a-f]{6}", note)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_what_no_policy_may_decide(kind: type[BaseException], autojump_clock: MockClock) -> None:
    """`KeyboardInterrupt` and `SystemExit` stop the server and come out; the peer reads 1011 without an incident."""

    async def fail(conn: Connection[Anonymous]) -> None:
        raise BaseExceptionGroup("both", [kind(), Trouble()])

    ends: list[object] = []
    errors = ErrorPolicy().on(Exception, Close(4000))
    with pytest.RaisesGroup(kind, flatten_subgroups=True):
        async with connect(app_of(fail, errors=errors), "/") as client:
            ends.append(await client.wait_closed())
            await trio.sleep_forever()
    assert ends == [(1011, "internal error")]


async def test_what_no_policy_may_decide_at_the_door(autojump_clock: MockClock) -> None:
    """The same in a guard, where the peer reads 500."""

    @guard
    async def fail(gate: Gate, proved: Anonymous) -> Anonymous:
        raise KeyboardInterrupt

    statuses: list[int] = []
    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        async with serve(app_of(leave, door=fail)) as served:
            peer = Peer(served.open_stream())
            await peer.say(request())
            statuses.append(await peer.status())
            await trio.sleep_forever()
    assert statuses == [500]


# Deadlines.


@pytest.mark.parametrize(
    ("limits", "reason"),
    [(Limits(idle_timeout=30), "idle too long"), (Limits(lifetime=30), "lifetime reached")],
    ids=["idle", "lifetime"],
)
async def test_limits(limits: Limits, reason: str, autojump_clock: MockClock, records: Records) -> None:
    """A connection that is idle or old too long ends with 3008, at that very second after the upgrade."""
    async with serve(app_of(listen, limits=limits)) as served:
        peer = Peer(served.open_stream())
        await trio.sleep(5)  # what comes before the upgrade does not count
        await peer.open()
        start = trio.current_time()
        assert await peer.closing() == (3008, reason)
        assert trio.current_time() == start + 30
    assert records.ends[0].endswith(f"3008 '{reason}'")
    assert not [record for record in records.found if record.levelname in {"WARNING", "ERROR"}]


async def test_traffic_puts_the_idle_limit_off(autojump_clock: MockClock) -> None:
    """Messages in either direction count, also those that nobody takes; pings do not."""
    done = trio.Event()

    async def talk(conn: Connection[Anonymous]) -> None:
        for _ in range(3):
            await conn.receive()
        for _ in range(3):
            await trio.sleep(8)
            await conn.send("x")
        for _ in range(3):
            await trio.sleep(8)
            conn.send_nowait("x")
        done.set()
        await trio.sleep_forever()

    async with serve(app_of(talk, limits=Limits(idle_timeout=10, ping_interval=None))) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        for _ in range(3):
            await trio.sleep(8)
            await peer.say(text("x"))
        await done.wait()
        for _ in range(5):
            await trio.sleep(8)
            await peer.say(text("x"))
        start = trio.current_time()
        for _ in range(3):
            await trio.sleep(3)
            await peer.say(frame(PING))
        assert await peer.closing() == (3008, "idle too long")
        assert trio.current_time() == start + 10


async def test_a_feed_whose_clients_talk_is_not_idle(autojump_clock: MockClock) -> None:
    """Input that is discarded is traffic all the same."""

    async def feed(conn: Connection[Anonymous]) -> None:
        conn.discard_input()
        await trio.sleep_forever()

    async with serve(app_of(feed, limits=Limits(idle_timeout=10))) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        for _ in range(10):
            await trio.sleep(8)
            await peer.say(text("still here"))
        start = trio.current_time()
        assert await peer.closing() == (3008, "idle too long")
        assert trio.current_time() == start + 10


def leased(seconds: float) -> Guard[Anonymous, Anonymous]:
    """A guard that leases."""

    @guard
    async def lease(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.lease(expires_at=time.time() + seconds)
        return proved

    return lease


async def test_a_lease_that_expires(autojump_clock: MockClock, records: Records) -> None:
    """What a guard proved until a moment ends at that moment, with 3000."""
    async with serve(app_of(listen, door=leased(60), limits=Limits(ping_interval=None))) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        assert await peer.closing() == (3000, "lease expired")
        assert trio.current_time() == pytest.approx(60, abs=0.2)
    assert records.ends == ["lease expired, 3000 'lease expired'"]


async def test_a_lease_that_is_renewed(autojump_clock: MockClock) -> None:
    """Renewing moves the end; a renewal that is refused raises, and leaves it where it was."""
    presented = ["nonsense", token(seconds=100)]

    async def renewing(conn: Connection[Claims]) -> None:
        await trio.sleep(59)
        await conn.renew(presented.pop())
        await trio.sleep_forever()

    app = App(limits=Limits(ping_interval=None))
    app.route("/", guard=bearer(verifier))(renewing)
    async with connect(app, "/", headers=by(token(seconds=60))) as client:
        assert await client.wait_closed() == (3000, "lease expired")
        assert trio.current_time() == pytest.approx(159, abs=0.5)
    async with connect(app, "/", headers=by(token(seconds=60))) as client:
        assert await client.wait_closed() == (3000, "unauthorized")


async def test_a_lease_that_expires_at_the_door(autojump_clock: MockClock) -> None:
    """A lease that ends while later guards still run is a 401."""

    @guard
    async def slow(gate: Gate, proved: Anonymous) -> Anonymous:
        await trio.sleep_forever()

    async with serve(app_of(listen, door=leased(3) >> slow)) as served:
        peer = Peer(served.open_stream())
        await peer.say(request())
        assert await peer.status() == 401
        assert trio.current_time() == pytest.approx(3, abs=1.2)


async def test_renewing_after_the_end(autojump_clock: MockClock) -> None:
    """A handler that renews when its connection is over is told so."""
    raised: list[BaseException] = []

    app = App()

    @app.route("/", guard=bearer(verifier))
    async def late(conn: Connection[Claims]) -> None:
        async for _ in conn:
            pass
        try:
            await conn.renew(token())
        except LeaseExpired as error:
            raised.append(error)

    async with connect(app, "/", headers=by(token())):
        pass
    assert len(raised) == 1


async def test_a_slow_consumer(autojump_clock: MockClock, records: Records) -> None:
    """A peer that takes nothing for ``send_timeout`` is cut off, an eighth later at most; there is nobody to tell."""

    async def feed(conn: Connection[Anonymous]) -> None:
        while True:
            await conn.send("x" * 100_000)
            await trio.sleep(0.125)

    wire = Wire()
    async with wired(app_of(feed, limits=Limits(outbound_buffer=1 << 18)), wire) as peer:
        await peer.open()
        await trio.sleep(1)
        wire.stall()
        start = trio.current_time()
        await trio.sleep(20)
        assert start + 10 <= wire.closed_at <= start + 11.25
    assert records.ends == ["slow consumer, 1008 'slow consumer'"]
    assert len([line for line in records.lines("error") if "SlowConsumer" in line]) == 1


# The peer ends.


async def test_a_peer_that_closes(autojump_clock: MockClock, records: Records) -> None:
    """What came before its Close is delivered; then iteration ends, `receive` raises, and sending does."""
    heard: list[object] = []

    async def hear(conn: Connection[Anonymous]) -> None:
        await trio.sleep(0.5)
        heard.extend([message async for message in conn])
        for attempt in (conn.receive, conn.__anext__, lambda: conn.send("x")):
            try:
                await attempt()
            except (Disconnected, StopAsyncIteration) as error:
                heard.append(type(error))
        with pytest.raises(Disconnected, match=f"connection {conn.id} is closed"):
            conn.send_nowait("x")

    async with serve(app_of(hear)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await peer.say(text("one"), text("two"), close(4000, "bye"), text("three"))
        assert await peer.closing() == (4000, "bye")
        await peer.stream.aclose()
        await trio.sleep(2)
        assert heard == ["one", "two", Disconnected, StopAsyncIteration, Disconnected]
    assert records.ends == ["peer closed, 4000 'bye'"]
    assert "2 in, 0 out" in records.lines("connection")[0]


async def test_a_peer_that_closes_without_a_code(autojump_clock: MockClock, records: Records) -> None:
    """A Close without a code is answered, and logged as 1005."""
    async with serve(app_of(listen)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await peer.say(frame(8))
        found = await peer.frame()
        assert found is not None
        assert found.opcode == 8
        await peer.rest()
    assert records.ends == ["peer closed, 1005 ''"]


@pytest.mark.parametrize("how", ["closes", "vanishes"])
async def test_a_busy_handler_is_wound_down(how: str, autojump_clock: MockClock, records: Records) -> None:
    """When its peer is gone a handler that is busy elsewhere has exactly ``wind_down``, and is then cancelled."""
    cancelled: list[float] = []

    async def busy(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with serve(app_of(busy, limits=Limits(wind_down=2.5))) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await trio.sleep(10)
        if how == "closes":
            await peer.say(close(1001))
            assert await peer.closing() == (1001, "")
        await peer.stream.aclose()
        await trio.sleep(10)
        assert cancelled == [12.5]
    assert records.ends == ["peer closed, 1001 ''" if how == "closes" else "peer vanished, 1006 ''"]


async def test_messages_that_are_still_taken_restart_the_winding_down(autojump_clock: MockClock) -> None:
    """Each message that is taken after the end gives another ``wind_down``, ``drain_timeout`` in all."""
    heard: list[float] = []

    async def slow(conn: Connection[Anonymous]) -> None:
        async for _ in conn:
            heard.append(trio.current_time())
            await trio.sleep(0.75)

    async with serve(app_of(slow, limits=Limits(wind_down=1, drain_timeout=6))) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await peer.say(*[text("x")] * 20, close())
        assert await peer.closing() == (1000, "")
        await trio.sleep(20)
        assert heard == [0.75 * count for count in range(8)]


async def test_a_peer_that_vanishes(autojump_clock: MockClock, records: Records) -> None:
    """The end of the stream without a Close is 1006, after what had come before it."""
    heard: list[object] = []

    async def hear(conn: Connection[Anonymous]) -> None:
        try:
            while True:
                heard.append(await conn.receive())
        except Disconnected:
            heard.append("gone")

    wire = Wire()
    async with wired(app_of(hear), wire) as peer:
        await peer.open()
        await peer.say(text("one"), frame(TEXT, b"torn")[:-2])
        await peer.stream.aclose()
        await trio.sleep(1)
        assert wire.closed_at == 0
    assert heard == ["one", "gone"]
    assert records.ends == ["peer vanished, 1006 ''"]


async def test_a_handler_that_sends_to_a_peer_that_vanished(autojump_clock: MockClock, records: Records) -> None:
    """A send that waits for room when the peer goes away ends in `Disconnected`."""
    raised: list[float] = []

    async def feed(conn: Connection[Anonymous]) -> None:
        try:
            while True:
                await conn.send("x" * 1000)
        except Disconnected:
            raised.append(trio.current_time())
            raise

    wire = Wire()
    async with wired(app_of(feed, limits=Limits(outbound_buffer=5000)), wire) as peer:
        await peer.open()
        wire.stall()
        await trio.sleep(3)
        await peer.stream.aclose()
        await trio.sleep(1)
    assert raised == [3]
    assert records.ends == ["peer vanished, 1006 ''"]


async def test_a_write_that_fails_first(autojump_clock: MockClock, records: Records) -> None:
    """A socket that refuses our data before it ends is a peer that vanished, whoever finds out first."""

    async def feed(conn: Connection[Anonymous]) -> None:
        while True:
            await conn.send("x")
            await trio.sleep(1)

    wire = Wire()
    async with wired(app_of(feed), wire) as peer:
        await peer.open()
        await trio.sleep(2.5)
        wire.send_error = trio.BrokenResourceError()
        await trio.sleep(5)
        assert wire.closed_at == 4  # the write at 3 fails, the send at 4 finds out
    assert records.ends == ["peer vanished, 1006 ''"]


async def test_what_comes_with_the_handshake_is_delivered(autojump_clock: MockClock, records: Records) -> None:
    """Messages and a Close that are sent along with the request count as if they had come after the 101."""
    heard: list[object] = []

    async def hear(conn: Connection[Anonymous]) -> None:
        heard.extend([message async for message in conn])

    async with serve(app_of(hear)) as served:
        peer = Peer(served.open_stream())
        await peer.open("/", early=text("one") + frame(PING, b"!") + text("two") + close(4000, "bye"))
        assert await peer.closing() == (4000, "bye")
        await peer.stream.aclose()
        await trio.sleep(2)
    assert heard == ["one", "two"]
    assert records.ends == ["peer closed, 4000 'bye'"]


async def test_a_violation_that_comes_with_the_handshake(autojump_clock: MockClock) -> None:
    """A broken frame that is sent along with the request gets the 101 and its close code."""
    async with serve(app_of(listen)) as served:
        peer = Peer(served.open_stream())
        await peer.open("/", early=text("one") + BROKEN)
        assert await peer.closing() == (1002, "reserved bits set")


async def test_a_client_that_says_all_at_once_to_a_guard_that_talks(autojump_clock: MockClock) -> None:
    """A guard that takes the first message does not keep the handler from those that came before an early Close."""
    heard: list[object] = []

    @guard
    async def password(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        heard.append(await gate.receive_text())
        await trio.lowlevel.checkpoint()
        return proved

    async def hear(conn: Connection[Anonymous]) -> None:
        heard.extend([message async for message in conn])

    async with serve(app_of(hear, door=password)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await peer.say(text("sesame"), text("one"), close())
        assert await peer.closing() == (1000, "")
        await trio.sleep(1)
    assert heard == ["sesame", "one"]


@pytest.mark.parametrize("moment", [0, 3])
async def test_a_violation(moment: float, autojump_clock: MockClock, records: Records) -> None:
    """A broken frame gets its code at once; the handler is cancelled, and the socket closed within a second."""
    cancelled: list[float] = []

    async def busy(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    wire = Wire()
    async with wired(app_of(busy), wire) as peer:
        await peer.open()
        await trio.sleep(moment)
        await peer.say(text("fine"), BROKEN, text("not heard"), close())
        assert await peer.closing() == (1002, "reserved bits set")
        await peer.say(b"x" * 1000)
        await trio.sleep(10)
        assert cancelled == [moment]
        assert wire.closed_at == moment + LINGER
    assert records.ends == ["protocol violation, 1002 'reserved bits set'"]


# Closing.


async def test_a_mute_peer_costs_close_timeout(autojump_clock: MockClock, records: Records) -> None:
    """A peer that does not answer our Close is waited for exactly ``close_timeout``, and no more after it."""
    wire = Wire()
    async with wired(app_of(leave, limits=Limits(close_timeout=3)), wire) as peer:
        await peer.open()
        assert await peer.closing() == (1000, "")
        await trio.sleep(10)
        assert wire.closed_at == 3
        assert wire.ended_at == math.inf
    assert records.ends == ["handler returned, 1000 ''"]


async def test_a_peer_that_talks_on(autojump_clock: MockClock) -> None:
    """Messages and pings after our Close are ignored; when the Close comes the socket is half-closed, then closed."""
    wire = Wire()
    async with wired(app_of(leave), wire) as peer:
        await peer.open()
        assert await peer.closing() == (1000, "")
        for _ in range(20):
            await trio.sleep(0.125)
            await peer.say(text("and another thing"), frame(PING), frame(PONG))
        await peer.say(close(1000))
        assert await peer.rest() == b""
        assert wire.ended_at == 2.5
        await trio.sleep(10)
        assert wire.closed_at == 2.5 + LINGER


async def test_a_violation_after_our_close(autojump_clock: MockClock, records: Records) -> None:
    """Garbage after our Close is no second end, and ends the waiting."""
    wire = Wire()
    async with wired(app_of(leave), wire) as peer:
        await peer.open()
        assert await peer.closing() == (1000, "")
        await trio.sleep(1)
        await peer.say(BROKEN)
        await trio.sleep(10)
        assert wire.closed_at == 1 + LINGER
    assert records.ends == ["handler returned, 1000 ''"]


async def test_a_peer_that_closes_its_socket_instead_of_answering(autojump_clock: MockClock) -> None:
    """A peer that just hangs up on our Close is not waited for."""
    wire = Wire()
    async with wired(app_of(leave), wire) as peer:
        await peer.open()
        assert await peer.closing() == (1000, "")
        await trio.sleep(0.5)
        await peer.stream.aclose()
        await trio.sleep(10)
        assert wire.closed_at == 0.5


async def test_two_closes_cross(autojump_clock: MockClock, records: Records) -> None:
    """When both sides close at the same moment there is one cause, one Close from each, and no waiting."""

    async def wait(conn: Connection[Anonymous]) -> None:
        await trio.sleep(1)

    wire = Wire()
    async with wired(app_of(wait), wire) as peer:
        await peer.open()
        await trio.sleep(1)
        await peer.say(close(4000))
        closing = await peer.closing()
        assert closing in {(1000, ""), (4000, "")}
        assert await peer.rest() == b""
        await peer.stream.aclose()
        await trio.sleep(5)
        assert wire.closed_at == 1
    assert len(records.ends) == 1


async def test_a_blocked_way_out_is_no_way_to_stay(autojump_clock: MockClock) -> None:
    """A Close behind data that nobody takes is given up after ``close_timeout``."""
    wire = Wire()

    async def talk(conn: Connection[Anonymous]) -> None:
        await conn.receive()
        wire.stall()
        await conn.send("x" * 1000)

    async with wired(app_of(talk), wire) as peer:
        await peer.open()
        await peer.say(text("go"))
        await trio.sleep(20)
        assert wire.closed_at == 5


async def test_the_close_does_not_wait_for_cleanup(autojump_clock: MockClock) -> None:
    """The Close is on the wire before a handler's slow, shielded cleanup ends; the connection ends after it."""
    cleaned: list[float] = []

    async def slow(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)
            cleaned.append(trio.current_time())

    app = app_of(slow, limits=Limits(lifetime=10))
    with recorded() as records:
        async with serve(app) as served:
            peer = Peer(served.open_stream())
            await peer.open()
            assert await peer.closing() == (3008, "lifetime reached")
            assert trio.current_time() == 10
            await peer.say(close(3008))
            assert await peer.rest() == b""
            assert trio.current_time() == 10
            assert records.ends == []
        assert cleaned == [110]
        assert records.ends == ["lifetime, 3008 'lifetime reached'"]


async def test_a_handler_that_swallows_its_cancellation(autojump_clock: MockClock, records: Records) -> None:
    """A handler that returns as if nothing had happened does not change why the connection ended."""

    async def deaf(conn: Connection[Anonymous]) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(15)

    async with connect(app_of(deaf, limits=Limits(lifetime=10)), "/") as client:
        assert await client.wait_closed() == (3008, "lifetime reached")
    assert records.ends == ["lifetime, 3008 'lifetime reached'"]


@pytest.mark.parametrize("how", ["handler", "background", "child"])
async def test_what_cannot_be_cut_gives_its_place_back(how: str, autojump_clock: MockClock, records: Records) -> None:
    """Its socket is closed in time and its place is free; it is named in the log, once, and waited for."""

    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    async def handle(conn: Connection[Anonymous]) -> None:
        if how == "handler":
            await stubborn()
        elif how == "background":
            conn.nursery.start_soon(stubborn, name="rebuild the index")
        else:
            async with trio.open_nursery() as nursery:
                for name in ("ask a slow thread", "ask another"):
                    nursery.start_soon(stubborn, name=name)

    app = app_of(handle, limits=Limits(max_connections=1, lifetime=10))
    async with serve(app) as served:
        async with served.connect("/") as client:
            assert await client.wait_closed() == (3008, "lifetime reached")
            assert trio.current_time() == 10
        with pytest.raises(Rejected):
            async with served.connect("/"):
                pass
        await trio.sleep(2)
        async with served.connect("/") as client:
            await client.wait_closed()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.drain)
            await trio.sleep(60)
            assert trio.current_time() < 100
            still = [line for line in records.lines("server") if "still running" in line]
            assert len(still) == 2
            named = {
                "handler": "handle()",
                "background": "rebuild the index",
                "child": "[ask a slow thread, ask another]",
            }[how]
            assert all(named in line for line in still)
        assert trio.current_time() > 110


async def test_closing_by_hand(autojump_clock: MockClock, records: Records) -> None:
    """`aclose` sends code and reason, waits until the connection is closed, and afterwards everything raises."""
    moments: list[object] = []

    async def close_it(conn: Connection[Anonymous]) -> None:
        await trio.sleep(1)
        await conn.aclose(4999, "ü" * 61 + "x")
        moments.append(trio.current_time())
        with pytest.raises(Disconnected):
            await conn.receive()
        with pytest.raises(Disconnected):
            await conn.send("x")
        await conn.aclose(4000, "once is enough")

    wire = Wire()
    async with wired(app_of(close_it), wire) as peer:
        await peer.open()
        await peer.say(text("thrown away"))
        assert await peer.closing() == (4999, "ü" * 61 + "x")
        await trio.sleep(2)
        await peer.say(close(4999))
        assert await peer.rest() == b""
        await peer.stream.aclose()
        await trio.sleep(1)
        assert moments == [3]
    assert records.ends == [f"closed by the handler, 4999 '{'ü' * 61}x'"]


async def test_closing_by_hand_is_bounded(autojump_clock: MockClock) -> None:
    """A mute peer holds `aclose` for ``close_timeout``; then the handler has ``wind_down`` to return."""
    moments: list[float] = []

    async def close_it(conn: Connection[Anonymous]) -> None:
        try:
            await conn.aclose()
            moments.append(trio.current_time())
            await trio.sleep_forever()
        finally:
            moments.append(trio.current_time())

    async with serve(app_of(close_it)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await trio.sleep(20)
        assert moments == [5, 6]


async def test_after_closing_by_hand_there_is_wind_down(autojump_clock: MockClock) -> None:
    """A peer that answers at once leaves the handler ``wind_down`` from then on, not more."""
    moments: list[float] = []

    async def close_it(conn: Connection[Anonymous]) -> None:
        try:
            await conn.aclose()
            await trio.sleep_forever()
        finally:
            moments.append(trio.current_time())

    async with serve(app_of(close_it)) as served:
        async with served.connect("/") as client:
            assert await client.wait_closed() == (1000, "")
        await trio.sleep(20)
        assert moments == [1]


async def test_closing_by_hand_and_returning(autojump_clock: MockClock, records: Records) -> None:
    """A handler that closes in a background task and returns has closed once."""

    async def close_it(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(conn.aclose, 4000, "from behind")

    async with connect(app_of(close_it), "/") as client:
        assert await client.wait_closed() == (4000, "from behind")
    assert records.ends == ["closed by the handler, 4000 'from behind'"]


async def test_closing_by_hand_after_the_end(autojump_clock: MockClock, records: Records) -> None:
    """`aclose` on a connection that is over sends nothing and returns when it is closed."""
    moments: list[float] = []

    async def close_it(conn: Connection[Anonymous]) -> None:
        await listen(conn)
        await conn.aclose(4000, "too late")
        moments.append(trio.current_time())

    async with serve(app_of(close_it)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await peer.say(close(4001))
        assert await peer.closing() == (4001, "")
        await peer.stream.aclose()
        await trio.sleep(5)
        assert moments == [0]
    assert records.ends == ["peer closed, 4001 ''"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *((code, "") for code in (999, 1004, 1005, 1006, 1015, 5000, 0, -1)),
        *((1000, reason) for reason in ("x" * 124, "ü" * 62, "\ud800")),
        *((cast("int", code), "") for code in (1000.0, "1000", None)),
        *((1000, cast("str", reason)) for reason in (5, b"x", None)),
    ],
    ids=repr,
)
async def test_what_cannot_be_closed_with(code: int, reason: str, autojump_clock: MockClock) -> None:
    """A code that may not travel, or a reason that does not fit or is no text, is a mistake; the connection goes on."""

    async def wrong(conn: Connection[Anonymous]) -> None:
        with pytest.raises(ConfigurationError, match=r"aclose\("):
            await conn.aclose(code, reason)
        await conn.send("still here")

    async with connect(app_of(wrong), "/") as client:
        assert await client.receive() == "still here"
        assert await client.wait_closed() == (1000, "")


# Sending and receiving.


async def test_many_may_send(autojump_clock: MockClock) -> None:
    """Messages of concurrent senders arrive whole, and each sender's in order."""

    async def talk(conn: Connection[Anonymous]) -> None:
        async def sender(name: int) -> None:
            for count in range(20):
                await conn.send(f"{name}:{count}:" + "x" * (name * 1000))

        async with trio.open_nursery() as nursery:
            for name in range(5):
                nursery.start_soon(sender, name)

    heard: dict[str, list[int]] = {}
    async with connect(app_of(talk, limits=Limits(outbound_buffer=1000)), "/") as client:
        for _ in range(100):
            message = await client.receive()
            assert isinstance(message, str)
            name, count, filling = message.split(":")
            assert len(filling) == int(name) * 1000
            heard.setdefault(name, []).append(int(count))
        with pytest.raises(Closed):
            await client.receive()
    assert heard == {str(name): list(range(20)) for name in range(5)}


async def test_one_may_receive(autojump_clock: MockClock) -> None:
    """A second receiver gets `trio.BusyResourceError`, which is its own mistake."""

    async def talk(conn: Connection[Anonymous]) -> None:
        with pytest.RaisesGroup(trio.BusyResourceError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(conn.receive)
                nursery.start_soon(conn.receive)
        assert await conn.receive() == "one"

    async with connect(app_of(talk), "/") as client:
        await client.send("one")
        assert await client.wait_closed() == (1000, "")


async def test_send_nowait(autojump_clock: MockClock) -> None:
    """What would have to wait raises `trio.WouldBlock`; what is in goes out."""
    wire = Wire()
    taken: list[int] = []

    async def talk(conn: Connection[Anonymous]) -> None:
        await conn.receive()
        wire.stall()
        try:
            while True:
                conn.send_nowait(b"x" * 98)
                taken.append(1)
        except trio.WouldBlock:
            wire.flow()

    async with wired(app_of(talk, limits=Limits(outbound_buffer=1000)), wire) as peer:
        await peer.open()
        await peer.say(text("go"))
        heard = 0
        while (found := await peer.frame()) is not None and found.opcode == 2:
            heard += 1
        assert heard == len(taken) == 10


@pytest.mark.parametrize("message", [12, None, ["x"]], ids=str)
async def test_what_is_no_message(message: object, autojump_clock: MockClock) -> None:
    """Anything but text and bytes is a `TypeError`, and nothing of it is sent."""

    async def talk(conn: Connection[Anonymous]) -> None:
        with pytest.raises(TypeError):
            await conn.send(cast("str", message))  # as a program without a checker may do
        with pytest.raises(UnicodeEncodeError):
            await conn.send("\ud800")
        await conn.send(b"fine")

    async with connect(app_of(talk), "/") as client:
        assert await client.receive() == b"fine"
        assert await client.wait_closed() == (1000, "")


async def test_a_send_that_is_cancelled_has_not_happened(autojump_clock: MockClock) -> None:
    """A handler may give up a send and go on with the next one."""
    wire = Wire()

    async def talk(conn: Connection[Anonymous]) -> None:
        await conn.receive()
        wire.stall()
        await conn.send("one" * 1000)
        with trio.move_on_after(1):
            await conn.send("two")
        wire.flow()
        await conn.send("three")

    async with wired(app_of(talk, limits=Limits(outbound_buffer=1000)), wire) as peer:
        await peer.open()
        await peer.say(text("go"))
        assert await peer.message() == "one" * 1000
        assert await peer.message() == "three"
        assert await peer.closing() == (1000, "")


async def test_discarded_input(autojump_clock: MockClock) -> None:
    """A feed that discards its input sees the peer's Close behind more than any buffer holds."""

    async def feed(conn: Connection[Anonymous]) -> None:
        conn.discard_input()
        await trio.sleep_forever()

    async with serve(app_of(feed, limits=Limits(max_message_size=1000))) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        for _ in range(100):
            await peer.say(frame(TEXT, b"x" * 1000))
        await peer.say(close(4000))
        assert await peer.closing() == (4000, "")


async def test_a_handler_that_does_not_receive(autojump_clock: MockClock) -> None:
    """Pings are answered and the Close is seen while the handler is busy, as long as the buffer holds the messages."""
    async with serve(app_of(sleep)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await peer.say(*[text("x")] * 1000, frame(PING, b"!"))
        assert await peer.frame() == (PONG, b"!")
        await peer.say(close(4000))
        assert await peer.closing() == (4000, "")


async def test_what_a_connection_shows(autojump_clock: MockClock) -> None:
    """A connection has its principal, its handshake, a name and its subprotocol; its repr shows no secret."""
    shown: list[str] = []
    app = App()

    @app.route("/", guard=public, subprotocols=["chat.v1", "chat.v2"])
    async def show(conn: Connection[Anonymous]) -> None:
        shown.append(repr(conn))
        await conn.send(f"{conn.principal} {conn.subprotocol} {conn.id} {conn.handshake.path} {conn.draining.is_set()}")

    cookie = {"Cookie": "session=hush"}
    async with connect(app, "/?token=hush", headers=cookie, subprotocols=["hush", "chat.v2", "chat.v1"]) as client:
        assert client.subprotocol == "chat.v2"
        said = await client.receive()
        assert isinstance(said, str)
        assert re.fullmatch(r"Anonymous\(\) chat.v2 c[0-9]+ / False", said)
    assert "hush" not in shown[0]
    assert said.split()[2] in shown[0]


# At the door.


async def test_a_request_that_does_not_come(autojump_clock: MockClock, records: Records) -> None:
    """After ``handshake_timeout`` a peer that has not asked for anything gets 408."""
    async with serve(app_of(listen)) as served:
        peer = Peer(served.open_stream())
        await peer.say(b"GET / HTTP/1.1\r\n")
        assert (await peer.head()).startswith("HTTP/1.1 408 ")
        assert trio.current_time() == 10
        await peer.rest()
    assert records.ends == ["refused, 408 'request timed out'"]


@pytest.mark.parametrize("said", [b"", b"GET / HT"])
@pytest.mark.parametrize("how", ["leaves", "resets"])
async def test_a_peer_that_leaves_before_its_request(
    how: str, said: bytes, autojump_clock: MockClock, records: Records
) -> None:
    """An end before the request is whole frees everything at once."""
    wire = Wire()
    async with wired(app_of(listen), wire) as peer:
        await peer.say(said)
        await trio.sleep(2)
        if how == "resets":
            wire.receive_error = trio.BrokenResourceError()
        await peer.stream.aclose()
        await trio.sleep(1)
        assert wire.closed_at == 2
    assert records.ends == ["peer vanished, 1006 'before its request'"]


async def test_a_refused_client_that_stays(autojump_clock: MockClock) -> None:
    """After a refusal the socket is closed within a second, whatever the client does."""
    wire = Wire()
    async with wired(app_of(listen), wire) as peer:
        await peer.say(request("/elsewhere"), text("one"))
        assert (await peer.head()).startswith("HTTP/1.1 404 ")
        await peer.say(text("two"))
        await trio.sleep(5)
        assert wire.closed_at == LINGER


async def test_a_refused_client_that_is_deaf(autojump_clock: MockClock) -> None:
    """An answer that nobody takes is given up after ``close_timeout``."""
    wire = Wire()
    async with wired(app_of(listen), wire) as peer:
        wire.stall()
        await peer.say(request("/elsewhere"))
        await trio.sleep(20)
        assert wire.closed_at == 5


def hanging(*, accept: bool) -> Guard[Anonymous, Anonymous]:
    """A guard that never decides."""

    @guard
    async def hang(gate: Gate, proved: Anonymous) -> Anonymous:
        if accept:
            await gate.accept()
        await trio.sleep_forever()

    return hang


@pytest.mark.parametrize("accept", [False, True])
async def test_a_guard_that_hangs(accept: bool, autojump_clock: MockClock, records: Records) -> None:
    """Guards are cut after ``auth_timeout``: 408, or 3008 if the upgrade was accepted."""
    app = app_of(listen, door=hanging(accept=accept), limits=Limits(auth_timeout=7))
    async with serve(app) as served:
        peer = Peer(served.open_stream())
        await peer.say(request())
        head = await peer.head()
        if accept:
            assert await peer.closing() == (3008, "authentication timed out")
        else:
            assert head.startswith("HTTP/1.1 408 ")
        assert trio.current_time() == 7
    status = "3008 'authentication timed out'" if accept else "408 'request timeout'"
    assert records.ends == [f"refused, {status}"]


@pytest.mark.parametrize("accept", [False, True])
async def test_a_peer_that_leaves_while_guards_run(accept: bool, autojump_clock: MockClock, records: Records) -> None:
    """Guards are cancelled when the peer goes away, and nothing is reported."""
    wire = Wire()
    async with wired(app_of(listen, door=hanging(accept=accept)), wire) as peer:
        await peer.say(request())
        await trio.sleep(2)
        await peer.stream.aclose()
        await trio.sleep(2)
        assert wire.closed_at == 2
    assert records.ends == ["peer vanished, 1006 ''"]
    assert records.lines("error") == []


@pytest.mark.parametrize("accept", [False, True])
async def test_a_guard_that_fails(accept: bool, autojump_clock: MockClock, records: Records) -> None:
    """What a guard did not mean to raise is 500, or 1011, with an incident and no detail."""

    @guard
    async def fail(gate: Gate, proved: Anonymous) -> Anonymous:
        if accept:
            await gate.accept()
        raise Trouble("detail")

    async with serve(app_of(listen, door=fail)) as served:
        peer = Peer(served.open_stream())
        await peer.say(request())
        head = await peer.head()
        if accept:
            closing = await peer.closing()
            assert closing is not None
            assert closing[0] == 1011
            said = closing[1]
        else:
            assert head.startswith("HTTP/1.1 500 ")
            said = (await peer.rest()).decode()
        incident = said.strip().removeprefix("internal error, incident ")
        assert incident in records.lines("error")[0]


async def test_a_guard_that_refuses(autojump_clock: MockClock, records: Records) -> None:
    """A refusal has its status, a challenge or a time, and a line in the log that says why; its text is not sent."""

    @guard
    async def strict(gate: Gate, proved: Anonymous) -> Anonymous:
        raise Unauthorized("the token is from 1999", retry_after=1.5)

    async with serve(app_of(listen, door=strict)) as served:
        peer = Peer(served.open_stream())
        await peer.say(request())
        head = await peer.head()
        assert head.startswith("HTTP/1.1 401 ")
        assert "www-authenticate: bearer" in head.lower()
        assert "retry-after: 2" in head.lower()
        assert b"1999" not in await peer.rest()
    assert records.ends == ["refused, 401 'unauthorized'"]
    assert "the token is from 1999" in records.lines("connection")[0]


async def test_a_guard_whose_upgrade_comes_too_late(autojump_clock: MockClock) -> None:
    """A guard that shields itself over the end of the connection cannot accept any more."""
    raised: list[type[Exception]] = []

    @guard
    async def stubborn(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.lease(expires_at=time.time() + 3)
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
            for attempt in (gate.accept, gate.accept):
                try:
                    await attempt()
                except Disconnected as error:
                    raised.append(type(error))
        return proved

    wire = Wire()
    async with wired(app_of(listen, door=stubborn), wire) as peer:
        await peer.say(request())
        assert await peer.status() == 401
        await trio.sleep(10)
        assert raised == [Disconnected, Disconnected]
        assert b"101" not in wire.written


async def test_a_guard_that_talks_to_nobody(autojump_clock: MockClock, records: Records) -> None:
    """A guard that talks with a peer that has closed gets `Disconnected`, which is nobody's failure."""
    raised: list[str] = []

    @guard
    async def talk(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        await gate.send_text("who are you?")
        for attempt in (gate.receive_text, lambda: gate.send_text("hello?")):
            try:
                await attempt()
            except Disconnected as error:
                raised.append(error.connection)
        raise Disconnected(raised[0])

    async with serve(app_of(listen, door=talk)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        assert await peer.message() == "who are you?"
        await peer.say(close(4000))
        assert await peer.closing() == (4000, "")
        await trio.sleep(1)
    assert len(raised) == 2
    assert len(set(raised)) == 1
    assert records.ends == ["peer closed, 4000 ''"]
    assert records.lines("error") == []


async def test_a_binary_message_for_a_guard(autojump_clock: MockClock) -> None:
    """Where a guard wants text, bytes are refused."""

    @guard
    async def talk(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        await gate.accept()
        await gate.receive_text()
        return proved

    async with connect(app_of(listen, door=talk), "/") as client:
        await client.send(b"token")
        assert await client.wait_closed() == (3000, "unauthorized")


# What guards enter.


async def test_resources_are_left_in_reverse_order(autojump_clock: MockClock) -> None:
    """What guards enter is left when the connection is closed, in reverse order, with the handler's failure."""
    story: list[str] = []

    @asynccontextmanager
    async def resource(name: str) -> AsyncGenerator[str]:
        story.append(f"enter {name}")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                yield name
                nursery.cancel_scope.cancel()
        except* Trouble:
            story.append(f"{name} heard")
            raise
        finally:
            story.append(f"leave {name}")

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        assert await gate.enter(resource("a")) == "a"
        assert await gate.enter(resource("b")) == "b"
        return proved

    async def fail(conn: Connection[Anonymous]) -> None:
        story.append("handler")
        raise Trouble

    reports: list[ErrorReport] = []
    async with connect(app_of(fail, door=hold, reports=reports), "/") as client:
        assert (await client.wait_closed()).code == 1011
        assert "leave b" not in story
    assert story == ["enter a", "enter b", "handler", "b heard", "leave b", "a heard", "leave a"]
    assert [report.phase for report in reports] == [Phase.HANDLER]


async def test_a_resource_of_a_refused_connection_is_left(autojump_clock: MockClock) -> None:
    """What the first guard entered is left when the second one refuses, and told why."""
    story: list[object] = []

    @asynccontextmanager
    async def resource() -> AsyncGenerator[None]:
        try:
            yield
        except Forbidden as error:
            story.append(type(error))

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(resource())
        raise Forbidden

    async with serve(app_of(listen, door=hold)) as served:
        peer = Peer(served.open_stream())
        await peer.say(request())
        assert await peer.status() == 403
        await peer.stream.aclose()
        await trio.sleep(1)
        assert story == [Forbidden]


async def test_a_resource_that_cannot_be_entered(autojump_clock: MockClock) -> None:
    """What entering raises comes to the guard as it is."""

    @asynccontextmanager
    async def resource(*, there: bool) -> AsyncGenerator[None]:
        if not there:
            raise Trouble
        yield

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        with pytest.raises(Trouble):
            await gate.enter(resource(there=False))
        await gate.enter(resource(there=True))
        return proved

    async with connect(app_of(leave, door=hold), "/") as client:
        assert await client.wait_closed() == (1000, "")


async def test_a_resource_that_cannot_be_left(autojump_clock: MockClock, records: Records) -> None:
    """A failure on leaving is reported; the others are left all the same, and the peer notices nothing."""
    left: list[str] = []
    reports: list[ErrorReport] = []

    @asynccontextmanager
    async def resource(name: str) -> AsyncGenerator[None]:
        yield
        left.append(name)
        if name == "b":
            raise Trouble

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        for name in "abc":
            await gate.enter(resource(name))
        return proved

    async with serve(app_of(leave, door=hold, reports=reports)) as served, served.connect("/") as client:
        assert await client.wait_closed() == (1000, "")
    assert left == ["c", "b", "a"]
    assert [(type(report.exception), report.phase) for report in reports] == [(Trouble, Phase.RELEASE)]
    assert records.ends == ["handler returned, 1000 ''"]


async def test_a_resource_that_fails_in_between(autojump_clock: MockClock) -> None:
    """A resource whose own task fails ends the connection as a background task does, and is not left twice."""
    reports: list[ErrorReport] = []
    left: list[float] = []

    async def fail() -> None:
        await trio.sleep(3)
        raise Trouble

    @asynccontextmanager
    async def resource() -> AsyncGenerator[None]:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                yield
        finally:
            left.append(trio.current_time())

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(resource())
        return proved

    async with serve(app_of(sleep, door=hold, reports=reports)) as served, served.connect("/") as client:
        assert (await client.wait_closed()).code == 1011
    assert left == [3]
    assert [(type(report.exception), report.phase) for report in reports] == [(Trouble, Phase.BACKGROUND)]


async def test_a_resource_that_is_slow_to_leave(autojump_clock: MockClock, records: Records) -> None:
    """Each has ``close_timeout`` to be left and is then cancelled and named; the others are left in their turn."""
    left: list[tuple[str, float]] = []

    @asynccontextmanager
    async def resource(name: str, seconds: float) -> AsyncGenerator[None]:
        yield
        try:
            await trio.sleep(seconds)
            left.append((name, trio.current_time()))
        except trio.Cancelled:
            left.append((f"{name} cancelled", trio.current_time()))
            raise

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(resource("outer", 1))
        await gate.enter(resource("slow", 100))
        await gate.enter(resource("inner", 1))
        return proved

    async with serve(app_of(leave, door=hold)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await peer.stream.aclose()
        await trio.sleep(20)
        assert left == [("inner", 1), ("slow cancelled", 6), ("outer", 7)]
    assert sum("took too long" in line for line in records.lines("server")) == 1


# Faults below and beside.


async def test_a_reader_that_crashes_after_our_close(autojump_clock: MockClock, records: Records) -> None:
    """Nobody waits for an answer that nobody would read."""
    wire = Wire()
    async with wired(app_of(leave), wire) as peer:
        await peer.open()
        assert await peer.closing() == (1000, "")
        wire.receive_error = Trouble("odd")
        await peer.say(close())
        assert await peer.rest() == b""
        await trio.sleep(10)
        assert wire.closed_at == LINGER
    assert records.ends == ["handler returned, 1000 ''"]
    assert len(records.lines("error")) == 1


@pytest.mark.parametrize("cleanup", [0, 50])
async def test_a_reader_that_crashes(cleanup: float, autojump_clock: MockClock, records: Records) -> None:
    """If reading fails in an odd way, the peer gets 1011 with an incident that is in the log, cleanup or not."""

    async def busy(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(cleanup)

    wire = Wire()
    async with wired(app_of(busy), wire) as peer:
        await peer.open()
        await trio.sleep(1)
        wire.receive_error = Trouble("odd")
        await peer.say(b"!")
        closing = await peer.closing()
        assert trio.current_time() == 1
        assert await peer.rest() == b""
        await trio.sleep(10)
        assert wire.closed_at == 1 + LINGER
    assert closing is not None
    assert closing[0] == 1011
    assert closing[1].removeprefix("internal error, incident ") in records.lines("error")[0]
    assert len(records.lines("error")) == 1
    assert records.ends == [f"error, 1011 '{closing[1]}'"]


async def test_a_writer_that_crashes(autojump_clock: MockClock, records: Records) -> None:
    """If writing fails in an odd way there is nobody to tell; the connection ends at once, and the log says why."""
    cancelled: list[float] = []

    async def talk(conn: Connection[Anonymous]) -> None:
        try:
            await conn.receive()
            wire.send_error = Trouble("odd")
            await conn.send("x")
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    wire = Wire()
    async with wired(app_of(talk, limits=Limits(lifetime=30)), wire) as peer:
        await peer.open()
        await peer.say(text("go"))
        await trio.sleep(60)
        assert wire.closed_at == 0
        assert cancelled == [0]
    assert len(records.lines("error")) == 1
    assert "Trouble: odd" in records.lines("error")[0]
    assert len(records.ends) == 1
    assert records.ends[0].startswith("error, 1011")


async def test_a_request_that_cannot_be_read(autojump_clock: MockClock, records: Records) -> None:
    """If reading fails in an odd way before the request is there, the peer gets 500."""
    wire = Wire()
    async with wired(app_of(listen), wire) as peer:
        wire.receive_error = Trouble("odd")
        await peer.say(b"GET")
        assert (await peer.head()).startswith("HTTP/1.1 500 ")
        await peer.rest()
        await trio.sleep(10)
    assert "Trouble: odd" in records.lines("error")[0]
    assert len(records.ends) == 1


@pytest.mark.parametrize("error", [trio.BrokenResourceError, Trouble])
async def test_a_stream_that_cannot_be_closed(
    error: type[Exception], autojump_clock: MockClock, records: Records
) -> None:
    """A stream that raises when it is closed is closed all the same, and the server goes on."""
    wire = Wire()
    wire.close_error = error()
    async with wired(app_of(leave), wire) as peer:
        await peer.open()
        assert await peer.closing() == (1000, "")
        await peer.say(close())
        await trio.sleep(10)
        assert wire.closed_at == LINGER
    assert records.ends == ["handler returned, 1000 ''"]


async def test_a_report_that_raises(autojump_clock: MockClock, records: Records) -> None:
    """What ``App(report=...)`` raises is logged, and so is what it should have reported; the peer is told as ever."""

    def report(failure: ErrorReport) -> None:
        raise LookupError("no database")

    async def fail(conn: Connection[Anonymous]) -> None:
        raise Trouble

    app = App(report=report)
    app.route("/", guard=public)(fail)
    async with connect(app, "/") as client:
        closing = await client.wait_closed()
        assert closing.code == 1011
    lines = records.lines("error")
    assert len(lines) == 2
    assert "App(report=...) raised" in lines[0]
    assert "Trouble" in lines[1]


async def test_no_secret_in_the_log(autojump_clock: MockClock, records: Records) -> None:
    """Neither query nor headers of any connection come into the log, however it ends."""
    app = App(origins=any_origin)

    @guard
    async def door(gate: Gate, proved: Anonymous) -> Anonymous:
        match gate.handshake.path:
            case "/refused":
                raise Forbidden
            case "/broken":
                raise Trouble
            case _:
                return proved

    async def fail(conn: Connection[Anonymous]) -> None:
        raise Trouble(repr(conn))

    for path in ("/refused", "/broken", "/open"):
        app.route(path, guard=door)(fail)
    async with serve(app) as served:
        for path in ("/refused", "/broken", "/open", "/nowhere"):
            peer = Peer(served.open_stream())
            await peer.say(request(f"{path}?token=hush", "Cookie: session=hush", "Authorization: Bearer hush"))
            await peer.rest()
    assert len(records.ends) == 4
    everything = " ".join(str(record.__dict__) + record.getMessage() for record in records.found)
    assert "hush" not in everything


async def test_the_log_is_one_line_however_the_peer_tries(autojump_clock: MockClock, records: Records) -> None:
    """A reason with line breaks in it is escaped."""
    async with serve(app_of(listen)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await peer.say(close(4000, "a\r\nINFO forged\x1b[2J"))
        await peer.closing()
        await peer.rest()
    [line] = records.lines("connection")
    assert line.isprintable()
    assert "4000" in line


async def test_the_auth_timeout_can_be_decided(autojump_clock: MockClock) -> None:
    """An app's policy may say something else about a deadline."""
    errors = ErrorPolicy().on(AuthTimeout, Close(4408, "too slow"))
    async with connect(app_of(listen, door=hanging(accept=True), errors=errors), "/") as client:
        assert await client.wait_closed() == (4408, "too slow")
        await wait_all_tasks_blocked()


async def test_a_fault_while_closing(autojump_clock: MockClock, records: Records) -> None:
    """If reading fails in an odd way when all has been said, that is in the log, and the socket is closed."""
    wire = Wire()
    async with wired(app_of(listen), wire) as peer:
        await peer.say(request("/nowhere"))
        assert (await peer.head()).startswith("HTTP/1.1 404 ")
        wire.receive_error = Trouble("odd")
        await peer.say(b"!")
        await trio.sleep(10)
        assert wire.closed_at == 0
    assert records.ends == ["refused, 404 'not found'"]
    assert "Trouble: odd" in records.lines("error")[0]


class Mute(Exception):
    """An error that cannot be shown."""

    def __repr__(self) -> str:
        """Fail."""
        raise Trouble


def deep(levels: int) -> Exception:
    """A group in a group, and so on: too deep for Python to show it."""

    def around(inner: Exception) -> Exception:
        return ExceptionGroup("deep", [inner])

    nothing: Exception = Trouble()
    return reduce(lambda inner, _: around(inner), range(levels), nothing)


@pytest.mark.parametrize("failure", [Mute, lambda: deep(900), lambda: deep(2000)], ids=["mute", "deep", "deeper"])
@pytest.mark.parametrize("where", ["guard", "resource", "handler"])
async def test_an_error_that_cannot_be_shown(
    where: str, failure: Callable[[], Exception], autojump_clock: MockClock
) -> None:
    """Trio shows what tasks raise and ends the whole program when that fails; here it ends one connection."""

    class Broken(AbstractAsyncContextManager[None]):
        async def __aenter__(self) -> None:
            raise failure()

        async def __aexit__(self, *_: object) -> None:
            pass

    @guard
    async def door(gate: Gate, proved: Anonymous) -> Anonymous:
        if where == "guard":
            raise failure()
        if where == "resource":
            await gate.enter(Broken())
        return proved

    async def fail(conn: Connection[Anonymous]) -> None:
        raise failure()

    reports: list[ErrorReport] = []
    async with serve(app_of(fail, door=door, reports=reports)) as served:
        for _ in range(2):
            if where == "handler":
                async with served.connect("/") as client:
                    assert (await client.wait_closed()).code == 1011
            else:
                with pytest.raises(Rejected) as refused:
                    async with served.connect("/"):
                        pass
                assert refused.value.status == 500
    assert len(reports) == 2


async def test_an_error_without_a_text(autojump_clock: MockClock, records: Records) -> None:
    """An exception whose text cannot be had is reported all the same."""

    class Shy(Exception):
        """Says nothing about itself."""

        def __str__(self) -> str:
            raise RuntimeError

    async def fail(conn: Connection[Anonymous]) -> None:
        raise Shy

    async with connect(app_of(fail), "/") as client:
        assert (await client.wait_closed()).code == 1011
    assert "Shy: (its text cannot be shown)" in records.lines("error")[0]
    assert len(records.ends) == 1


async def test_a_log_that_raises(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """A log handler of the application's that raises ends neither a connection nor the server."""

    class Full(logging.Handler):
        """Has no room for another line."""

        def emit(self, record: logging.LogRecord) -> None:
            raise OSError(errno.ENOSPC, "the disk is full")

    async def fail(conn: Connection[Anonymous]) -> None:
        raise Trouble

    full, logger = Full(), logging.getLogger("seawall")
    logger.addHandler(full)
    try:
        async with serve(app_of(fail)) as served:
            for _ in range(2):
                async with served.connect("/") as client:
                    assert (await client.wait_closed()).code == 1011
    finally:
        logger.removeHandler(full)
    assert "the disk is full" in capsys.readouterr().err


# Everything at once.


@pytest.mark.parametrize("what", ["cancel", "drain", "vanish", "close", "break", "raise"])
async def test_whenever_it_ends(what: str, autojump_clock: MockClock) -> None:
    """At whatever step of its life a connection is ended from outside: one line, resources left, nobody waits."""
    for steps in range(70):
        with recorded() as records:
            await end_after(steps, what)
        assert len(records.ends) <= 1
        errors = [line for line in records.lines("error") if "Trouble" not in line and "ProtocolViolation" not in line]
        assert not errors, steps


async def end_after(steps: int, what: str) -> None:
    """Let a connection live for so many steps of the scheduler, then end it."""
    held: list[int] = []

    @asynccontextmanager
    async def resource() -> AsyncGenerator[None]:
        held.append(1)
        try:
            yield
        finally:
            held.append(-1)

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(resource())
        if steps % 2:
            await gate.accept()
        await trio.lowlevel.checkpoint()
        return proved

    trouble = trio.Event()

    async def watch() -> None:
        await trouble.wait()
        raise Trouble

    async def echo(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(watch)
        async for message in conn:
            await conn.send(message)
        conn.nursery.cancel_scope.cancel()

    wire, listener, before = Wire(), Doorstep(), living()
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        server = await app_of(echo, door=hold).start(nursery, listeners=[listener])
        listener.arrive(wire)
        await wire.far.send_all(request() + text("one") + frame(PING) + text("two"))
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        match what:
            case "cancel":
                nursery.cancel_scope.cancel()
            case "drain":
                await server.aclose()
                assert trio.current_time() <= start + 10
            case "vanish":
                await wire.far.aclose()
            case "close":
                await wire.far.send_all(close(4000))
            case "break":
                await wire.far.send_all(BROKEN)
            case _:
                trouble.set()
        if what != "cancel":
            await trio.sleep(20)
            assert wire.closed_at <= start + 10
        nursery.cancel_scope.cancel()
    assert living() == before
    assert sum(held) == 0
    head, _, rest = bytes(wire.written).partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 101 "):
        assert CLOSE not in [found.opcode for found in frames(rest)][:-1]


async def stumble(chance: random.Random) -> None:
    """Let others go first, or some time pass."""
    for _ in range(chance.randrange(6)):
        await trio.lowlevel.checkpoint()
    await trio.sleep(chance.choice([0, 0, 0, 0.5, 1, 2.5]))


async def misbehave(chance: random.Random, peer: Peer) -> None:
    """Be a peer that does anything at any time."""
    said = [text("x"), text("x") * 50, frame(PING, b"!"), frame(PONG), close(), close(4000), BROKEN, b"\x81"]
    try:
        await peer.say(*chance.choice([[request()], [request(), text("early")], [request()[:30]]]))
        for _ in range(chance.randrange(12)):
            await stumble(chance)
            await peer.say(chance.choice(said))
        if chance.random() < 0.5:
            await stumble(chance)
            await peer.stream.aclose()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def handle(chance: random.Random, conn: Connection[Anonymous]) -> None:
    """Be a handler that does anything at any time."""
    for _ in range(chance.randrange(10)):
        await stumble(chance)
        match chance.randrange(9):
            case 0 | 1:
                await conn.send("x" * chance.choice([1, 1000, 70_000, 600_000]))
            case 2:
                conn.send_nowait("x")
            case 3 | 4:
                with trio.move_on_after(1):
                    await conn.receive()
            case 5:
                conn.nursery.start_soon(conn.send, "from behind")
            case 6:
                conn.discard_input()
            case 7:
                await conn.aclose(4001)
            case _:
                raise Trouble


@pytest.mark.parametrize("seed", range(100))
async def test_whatever_happens(seed: int, autojump_clock: MockClock, records: Records) -> None:
    """Whatever peer, handler, wire and server do: one end, one line, whole frames, one Close, nothing left behind."""
    chance = random.Random(seed)
    held = 0

    @asynccontextmanager
    async def resource() -> AsyncGenerator[None]:
        nonlocal held
        held += 1
        try:
            yield
        finally:
            held -= 1

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(resource())
        if chance.random() < 0.3:
            await gate.accept()
        await stumble(chance)
        return proved

    async def handler(conn: Connection[Anonymous]) -> None:
        await handle(chance, conn)

    reports: list[ErrorReport] = []
    limits = Limits(idle_timeout=chance.choice([None, 3]), lifetime=chance.choice([None, 7]), outbound_buffer=5000)
    app = app_of(handler, door=hold, limits=limits, reports=reports)
    wire, listener = Wire(), Doorstep()
    before = living()
    async with trio.open_nursery() as nursery:
        server = await app.start(nursery, listeners=[listener])
        listener.arrive(wire)
        async with trio.open_nursery() as people:
            people.start_soon(misbehave, chance, Peer(wire.far))
            await stumble(chance)
            match chance.randrange(6):
                case 0:
                    wire.stall()
                case 1:
                    people.start_soon(server.aclose)
                case 2:
                    nursery.cancel_scope.cancel()
                case _:
                    pass
        await trio.sleep(40)
        assert len(records.ends) == 1
        nursery.cancel_scope.cancel()
    assert living() == before
    assert held == 0
    assert len(records.ends) == 1
    assert wire.closed_at <= trio.current_time()
    assert {type(report.exception).__name__ for report in reports} <= {
        *("Trouble", "WouldBlock", "EndOfChannel", "ProtocolViolation"),
        *("IdleTimeout", "LifetimeReached", "SlowConsumer"),
    }
    head, _, rest = bytes(wire.written).partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 101 "):
        opcodes = [found.opcode for found in frames(rest)]
        assert CLOSE not in opcodes[:-1]


@pytest.mark.parametrize("where", ["handler", "guard"])
async def test_user_code_that_leaves_its_task_in_disorder(
    where: str, autojump_clock: MockClock, records: Records
) -> None:
    """Leaving a nursery open breaks the task that did it, and nothing else: the others go on, the peer is told."""

    async def disorder() -> None:
        left_open = trio.open_nursery()
        nursery = await left_open.__aenter__()
        nursery.start_soon(trio.sleep_forever)

    @guard
    async def careless(gate: Gate, proved: Anonymous) -> Anonymous:
        await disorder()
        return proved

    app = App()

    @app.route("/echo", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    @app.route("/handler", guard=public)
    async def broken(conn: Connection[Anonymous]) -> None:
        await disorder()

    app.route("/guard", guard=careless)(echo)
    async with serve(app) as served, served.connect("/echo") as innocent:
        for _ in range(3):
            with pytest.raises((Closed, Rejected)) as ended:
                async with served.connect(f"/{where}") as client:
                    await client.receive()
            assert getattr(ended.value, "code", None) == 1011 or getattr(ended.value, "status", None) == 500
            await innocent.send("still there?")
            assert await innocent.receive() == "still there?"
    assert len(records.lines("error")) >= 3


async def test_stopping_does_not_wait_for_a_handler_that_winds_down(autojump_clock: MockClock) -> None:
    """When `serve` is cancelled, a handler whose peer has gone before loses what it had left."""
    app = App()

    @app.route("/", guard=public, limits={"wind_down": 9.0})
    async def lingers(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    async with serve(app) as served, served.connect("/"):
        pass
    assert trio.current_time() < 6


async def test_escalating_what_takes_no_notes(autojump_clock: MockClock) -> None:
    """An exception that fails when somebody adds a note comes out as it is."""

    class Odd(Exception):
        def add_note(self, note: str, /) -> None:
            raise TypeError

    async def fail(conn: Connection[Anonymous]) -> None:
        raise Odd

    with pytest.RaisesGroup(pytest.RaisesGroup(Odd)):
        async with connect(app_of(fail, errors=ErrorPolicy().on(Odd, Escalate())), "/"):
            await trio.sleep_forever()
