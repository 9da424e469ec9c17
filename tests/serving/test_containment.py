"""What an application brings along cannot harm a connection that has nothing to do with it.

Log handlers, rules, exception classes, resources: each is the application's, and each may fail where none of its own
code is running any more. In every test somebody else is connected, and notices nothing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import cast

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from seawall import (
    Anonymous,
    App,
    AuthTimeout,
    Connection,
    Context,
    Disconnected,
    ErrorPolicy,
    Forbidden,
    Gate,
    Guard,
    LifetimeReached,
    Limits,
    Refuse,
    TooManyRequests,
    Verdict,
    guard,
    public,
)
from seawall.testing import CloseFrame, Rejected, Serving, serve
from tests.kit.cancelled import cancelled
from tests.kit.log import Records, attached, recorded

LIMITS = Limits(auth_timeout=2, close_timeout=1, wind_down=0.5, drain_timeout=4)


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged during the test."""
    with recorded() as found:
        yield found


class Broken(logging.Handler):
    """A handler of the application's that fails as a full disk does, and does not say so as `logging` would."""

    def emit(self, record: logging.LogRecord) -> None:
        """Fail."""
        raise OSError("no space left on device")


@asynccontextmanager
async def undisturbed(app: App) -> AsyncGenerator[Serving]:
    """Serve `app` with somebody else connected, who is served from the first to the last."""

    @app.route("/bystander", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    async with serve(app) as served, served.connect("/bystander") as bystander:
        yield served
        await bystander.send("still there?")
        assert await bystander.receive() == "still there?"


@asynccontextmanager
async def slow() -> AsyncGenerator[None]:
    """A resource whose release would take for ever."""
    yield
    await trio.sleep_forever()


@asynccontextmanager
async def stuck(release: trio.Event) -> AsyncGenerator[None]:
    """A resource whose release takes as long as it likes."""
    yield
    with trio.CancelScope(shield=True):
        await release.wait()


def holding(make: Callable[[], AbstractAsyncContextManager[None]]) -> Guard[Anonymous, Anonymous]:
    """A guard that enters what `make` makes."""

    @guard
    async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(make())
        return proved

    return hold


async def idle(conn: Connection[Anonymous]) -> None:
    """Wait for the peer to leave."""
    async for _ in conn:
        pass


async def shielded(conn: Connection[Anonymous]) -> None:
    """Take ten seconds, whatever is cancelled."""
    with trio.CancelScope(shield=True):
        await trio.sleep(10)


async def test_a_log_handler_that_raises(autojump_clock: MockClock, capfd: pytest.CaptureFixture[str]) -> None:
    """It is shown on stderr, for each line; nothing else comes of it, in whichever task the line was written."""
    app = App(limits=LIMITS)
    app.route("/shielded", guard=public)(shielded)
    app.route("/late", guard=holding(slow))(idle)
    with attached(Broken()):
        async with undisturbed(app) as served:
            for path in ("/shielded", "/late"):
                async with served.connect(path) as client:
                    await client.aclose()
                await trio.sleep(12)
    shown = capfd.readouterr().err
    assert shown.count("OSError: no space left on device") >= 6  # listening, two late ones, three ends


async def test_a_log_handler_that_raises_while_draining(
    autojump_clock: MockClock, capfd: pytest.CaptureFixture[str]
) -> None:
    """Handlers have their time all the same."""
    app = App(limits=LIMITS)

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        await conn.draining.wait()
        await trio.sleep(2)
        await conn.send("finished")

    with attached(Broken()):
        async with serve(app) as served, served.connect("/") as client, trio.open_nursery() as nursery:
            nursery.start_soon(served.server.drain)
            assert await client.receive() == "finished"
            assert await client.wait_closed() == CloseFrame(1001, "going away")
    assert "no space left" in capfd.readouterr().err


async def test_an_overdue_handler_that_is_nested_deep(autojump_clock: MockClock, records: Records) -> None:
    """Its tasks are named as far down as anybody would read."""
    app = App(limits=LIMITS)

    async def nest(conn: Connection[Anonymous], depth: int) -> None:
        if not depth:
            await shielded(conn)
            return
        async with trio.open_nursery() as nursery:  # noqa: ASYNC112 - many of them are the point
            nursery.start_soon(nest, conn, depth - 1)

    @app.route("/", guard=public)
    async def deep(conn: Connection[Anonymous]) -> None:
        await nest(conn, 600)

    async with undisturbed(app) as served:
        async with served.connect("/") as client:
            await client.aclose()
        await trio.sleep(12)
    (line,) = [line for line in records.lines("server") if "still running" in line]
    assert "deep() (" in line
    assert line.endswith("…")


class Banned(Forbidden):
    """A refusal that says nothing to the class above it."""

    def __init__(self, who: str) -> None:
        """Note who."""
        self.who = who


class Gone(Disconnected):
    """Another such one, and nobody's own end."""

    def __init__(self) -> None:
        """Note nothing."""


def too_many(retry_after: object) -> TooManyRequests:
    """A refusal whose data are not what they should be."""
    refusal = TooManyRequests()
    refusal.retry_after = cast("float", retry_after)
    return refusal


ODD: dict[str, tuple[Callable[[], BaseException], int, int]] = {
    "a refusal": (lambda: Banned("eve"), 403, 3003),
    "no end": (Gone, 500, 1011),
    "both in a group": (lambda: ExceptionGroup("", [Gone(), Banned("eve")]), 500, 1011),
    "text for a number": (lambda: too_many("5"), 429, 1013),
    "too large a number": (lambda: too_many(10**400), 429, 1013),
}


@pytest.mark.parametrize("case", ODD)
async def test_an_exception_class_that_is_odd(case: str, autojump_clock: MockClock) -> None:
    """It is decided as what it is, in a guard and in a handler, and by a rule that raises it when time is up."""
    make, status, code = ODD[case]

    def rule(error: Exception, context: Context) -> Verdict[Exception]:
        raise make()

    async def slow(gate: Gate, proved: Anonymous) -> Anonymous:
        await trio.sleep(10)
        return proved

    app = App(limits=LIMITS, errors=ErrorPolicy().on(AuthTimeout, rule))
    app.route("/guard", guard=guard(raising(make)))(idle)
    app.route("/slow", guard=guard(slow))(idle)

    @app.route("/handler", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        raise make()

    async with undisturbed(app) as served:
        with pytest.raises(Rejected) as refused:
            async with served.connect("/guard"):
                pass
        assert refused.value.status == status
        with pytest.raises(Rejected) as refused:
            async with served.connect("/slow"):
                pass
        assert refused.value.status == 500  # a rule that fails is a failure that nobody expected
        async with served.connect("/handler") as client:
            assert (await client.wait_closed()).code == code


def raising(make: Callable[[], BaseException]) -> Callable[[Gate, Anonymous], Awaitable[Anonymous]]:
    """An async function that raises."""

    async def refuse(gate: Gate, proved: Anonymous) -> Anonymous:
        raise make()

    return refuse


@pytest.mark.parametrize("make", [KeyboardInterrupt, lambda: BaseExceptionGroup("", [SystemExit(), ValueError()])])
async def test_a_rule_that_ends_the_program(make: Callable[[], BaseException], autojump_clock: MockClock) -> None:
    """It does, in an orderly way, even from where deadlines are minded: the others read 1001."""

    def rule(error: Exception, context: Context) -> Verdict[Exception]:
        raise make()

    app = App(limits=LIMITS, errors=ErrorPolicy().on(LifetimeReached, rule))

    @app.route("/", guard=public, limits={"lifetime": 3})
    async def handler(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    app.route("/bystander", guard=public)(idle)
    codes = list[int]()
    kind = KeyboardInterrupt if make is KeyboardInterrupt else SystemExit
    with pytest.RaisesGroup(pytest.RaisesGroup(kind)):
        async with serve(app) as served, served.connect("/") as client, served.connect("/bystander") as bystander:
            with trio.CancelScope(shield=True):
                codes += [(await client.wait_closed()).code, (await bystander.wait_closed()).code]
            await trio.sleep_forever()
    assert codes == [3008, 1001]


async def test_a_cancellation_of_somebody_elses(autojump_clock: MockClock, records: Records) -> None:
    """Raised where nobody has cancelled anything it is a failure, not the end of a handler that is done."""
    app = App(limits=LIMITS)

    @guard
    async def stray(gate: Gate, proved: Anonymous) -> Anonymous:
        raise await cancelled()

    @asynccontextmanager
    async def resource() -> AsyncGenerator[None]:
        yield
        raise await cancelled()

    app.route("/guard", guard=stray)(idle)
    app.route("/resource", guard=holding(resource))(idle)

    @app.route("/handler", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        raise await cancelled()

    async with undisturbed(app) as served:
        with pytest.raises(Rejected) as refused:
            async with served.connect("/guard"):
                pass
        assert refused.value.status == 500
        async with served.connect("/handler") as client:
            assert (await client.wait_closed()).code == 1011
        async with served.connect("/resource") as client:
            await client.aclose()
    why = "RuntimeError: Cancelled was raised, though nobody cancelled: it was kept from a scope that is over"
    said = [line.partition(" ")[2].partition(" ->")[0] for line in records.lines("error")]
    assert said == [f"/guard guard: {why}", f"/handler handler: {why}", f"/resource release: {why}"]


async def test_a_group_of_exceptions_that_were_not_raised(autojump_clock: MockClock, records: Records) -> None:
    """The log shows where the group was raised, for there is no other place."""
    app = App(limits=LIMITS)

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("several", [ValueError("one"), ExceptionGroup("inner", [OSError("another")])])

    async with undisturbed(app) as served, served.connect("/") as client:
        assert (await client.wait_closed()).code == 1011
    reports = [record for record in records.found if record.name == "seawall.error"]
    assert len(reports) == 2
    for report in reports:
        assert "in handler" in (report.exc_text or "")


async def test_a_resource_that_is_stuck(autojump_clock: MockClock, records: Records) -> None:
    """Its connection's place is free ``close_timeout`` and ``wind_down`` after the end, and the log names it."""
    app, release = App(limits=evolve(LIMITS, max_connections=1)), trio.Event()
    app.route("/", guard=holding(partial(stuck, release)))(idle)
    async with serve(app) as served:
        async with served.connect("/") as client:
            await client.aclose()
        await trio.sleep(1.4)
        with pytest.raises(Rejected):
            async with served.connect("/"):
                pass
        await trio.sleep(0.2)
        async with served.connect("/") as client:
            await client.aclose()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.drain)
            await trio.sleep(60)
            lines = records.lines("server")
            release.set()
        assert trio.current_time() == pytest.approx(61.6)
    for said in ("leaving stuck took too long and is cancelled", "still running: stuck"):
        assert sum(said in line for line in lines) == 2


@asynccontextmanager
async def short() -> AsyncGenerator[None]:
    """A resource that does not wait to be left."""
    with trio.move_on_after(3):  # noqa: ASYNC100 - what cancels it is waiting to be left
        yield


async def test_a_resource_that_ends_by_itself(autojump_clock: MockClock, records: Records) -> None:
    """The handler does not go on without it."""
    app = App(limits=LIMITS)
    app.route("/", guard=holding(short))(idle)
    async with undisturbed(app) as served, served.connect("/") as client:
        assert (await client.wait_closed()).code == 1011
        assert trio.current_time() == 3
    assert any("short was left before its connection was over" in line for line in records.lines("error"))


async def test_the_text_of_a_refusal_in_the_log(autojump_clock: MockClock, records: Records) -> None:
    """The line of a connection is bounded, whatever a rule has to say."""
    long = ErrorPolicy().on(OSError, lambda error, context: Refuse(400, "\n" * 100_000))
    app = App(limits=LIMITS, errors=long)
    app.route("/", guard=guard(raising(OSError)))(idle)
    async with serve(app) as served:
        with pytest.raises(Rejected) as refused:
            async with served.connect("/"):
                pass
        assert len(refused.value.body) >= 100_000
    (line,) = records.lines("connection")
    assert len(line) < 600
