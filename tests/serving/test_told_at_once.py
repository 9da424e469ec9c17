"""A failure is told when it happens, although something else of the connection takes long to end. In virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from seawall import (
    Anonymous,
    App,
    Close,
    Connection,
    ErrorPolicy,
    ErrorReport,
    Gate,
    Limits,
    Phase,
    guard,
    public,
)
from seawall.connection.task_watch import known_failures
from seawall.testing import Rejected, connect, serve
from tests.kit.log import Records, recorded
from tests.kit.sockets import DRIVEN, Transport, serving
from tests.kit.wire import SOON, TEXT, frame

Handler = Callable[[Connection[Anonymous]], Awaitable[None]]

#: Seconds for which the stubborn tasks of these tests shield themselves.
CLEANUP = 30

ERRORS = ErrorPolicy().on(KeyError, Close(4001, "key")).on(LookupError, Close(4002, "lookup"))


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged during the test."""
    with recorded() as found:
        yield found


async def stubborn() -> None:
    """Clean up for long, shielded from cancellation."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(CLEANUP)


async def fails_late() -> None:
    """Clean up for long, and fail at the end of it."""
    try:
        await stubborn()
    finally:
        raise ValueError


async def fail(failure: BaseException, delay: float = 0) -> None:
    """Raise `failure`."""
    await trio.sleep(delay)
    raise failure


def app_of(handler: Handler, reports: list[ErrorReport] | None = None, limits: Limits | None = None) -> App:
    """An app with one route."""
    app = App(errors=ERRORS, limits=limits, report=(list[ErrorReport]() if reports is None else reports).append)
    app.route("/", guard=public)(handler)
    return app


def kinds(reports: list[ErrorReport]) -> list[tuple[str, Phase]]:
    """What was reported, in order."""
    return [(type(report.exception).__name__, report.phase) for report in reports]


async def test_mended_12_a_handler_that_raises_beside_a_shielded_cleanup(autojump_clock: MockClock) -> None:
    """Its peer is told at once, its place is free a ``wind_down`` later, and what comes out late is reported."""
    reports: list[ErrorReport] = []

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(fails_late)
        await trio.sleep(3)
        raise KeyError

    limits = Limits(max_connections=1, wind_down=2)
    async with serve(app_of(work, reports, limits)) as served:
        async with served.connect("/") as client:
            assert await client.wait_closed() == (4001, "key")
            assert trio.current_time() == 3
        assert kinds(reports) == [("KeyError", Phase.HANDLER)]
        await trio.sleep(1)
        with pytest.raises(Rejected):
            async with served.connect("/"):
                pass
        await trio.sleep(1.5)
        async with served.connect("/") as client:
            await client.aclose()
        await trio.sleep(2 * CLEANUP)
    assert ("ValueError", Phase.BACKGROUND) in kinds(reports)


@pytest.mark.parametrize("shielded", ["task", "handler", "returned"])
async def test_mended_12_a_task_that_raises_beside_a_shielded_cleanup(shielded: str, autojump_clock: MockClock) -> None:
    """Its peer is told ``wind_down`` after it has cancelled the others, whichever of them goes on."""
    reports: list[ErrorReport] = []

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(fail, KeyError(), 3)
        if shielded == "handler":
            await stubborn()
        else:
            conn.nursery.start_soon(stubborn)
            if shielded == "task":
                await trio.sleep_forever()

    async with serve(app_of(work, reports, Limits(wind_down=2))) as served, served.connect("/") as client:
        assert await client.wait_closed() == (4001, "key")
        assert trio.current_time() == 5
        assert kinds(reports) == [("KeyError", Phase.BACKGROUND)]
        await trio.sleep(2 * CLEANUP)
        assert kinds(reports) == [("KeyError", Phase.BACKGROUND)]


async def test_mended_12_what_is_known_by_then_is_decided_together(autojump_clock: MockClock) -> None:
    """Two tasks that have failed by then are one failure; a third one that fails later is reported by itself."""
    reports: list[ErrorReport] = []

    async def also_fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(fail, IndexError())
        conn.nursery.start_soon(also_fails)
        conn.nursery.start_soon(fails_late)

    async with serve(app_of(work, reports)) as served, served.connect("/") as client:
        assert await client.wait_closed() == (4001, "key")
        assert trio.current_time() == Limits().wind_down
        assert sorted(kinds(reports), key=str) == [("IndexError", Phase.BACKGROUND), ("KeyError", Phase.BACKGROUND)]
        assert len({report.incident for report in reports}) == 1
        await trio.sleep(2 * CLEANUP)
        assert kinds(reports)[2:] == [("ValueError", Phase.BACKGROUND)]


async def test_mended_12_a_handler_that_fails_because_a_task_did(autojump_clock: MockClock) -> None:
    """What the task raised and what the handler made of that are decided together, when the handler has ended."""
    reports: list[ErrorReport] = []

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(stubborn)
        conn.nursery.start_soon(fail, IndexError(), 1)
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError

    async with serve(app_of(work, reports)) as served, served.connect("/") as client:
        assert await client.wait_closed() == (4001, "key")
        assert trio.current_time() == 1
        await trio.sleep(2 * CLEANUP)
    assert sorted(kinds(reports), key=str) == [("IndexError", Phase.HANDLER), ("KeyError", Phase.HANDLER)]


async def test_mended_12_tasks_that_end_in_time_are_waited_for(autojump_clock: MockClock) -> None:
    """As long as the others end within ``wind_down``, all that was raised is one failure."""
    reports: list[ErrorReport] = []

    async def tidy() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)
            raise KeyError

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(tidy)
        conn.nursery.start_soon(fail, IndexError())

    async with serve(app_of(work, reports)) as served, served.connect("/") as client:
        assert await client.wait_closed() == (4001, "key")
        assert trio.current_time() == 0.5
    assert len({report.incident for report in reports}) == 1


async def test_mended_12_a_handler_whose_connection_is_over(autojump_clock: MockClock) -> None:
    """A `Disconnected` that leaves the handler still cancels what the handler has started."""
    over: list[float] = []

    async def beside() -> None:
        try:
            await trio.sleep_forever()
        finally:
            over.append(trio.current_time())

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(beside)
        await conn.receive()

    async with serve(app_of(work)) as served, served.connect("/") as client:
        await client.aclose()
        await trio.sleep(5)
    assert over == [0]


async def test_mended_12_a_nursery_that_was_cancelled_has_not_failed(
    autojump_clock: MockClock, records: Records
) -> None:
    """A handler that cancels its own nursery, beside a task that cleans up for long, still ends with 1000."""

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(stubborn)
        await trio.lowlevel.checkpoint()
        conn.nursery.cancel_scope.cancel()

    async with serve(app_of(work)) as served, served.connect("/") as client:
        assert await client.wait_closed() == (1000, "")
        assert trio.current_time() == CLEANUP
    assert records.ends == ["handler returned, 1000 ''"]


@pytest.mark.parametrize("where", ["handler", "task"])
async def test_mended_12_what_stops_the_server_is_not_kept_waiting(where: str, autojump_clock: MockClock) -> None:
    """A SystemExit is escalated once, when a failure would be told, and its peer reads 1011."""

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(stubborn)
        if where == "task":
            conn.nursery.start_soon(fail, SystemExit())
            await trio.sleep_forever()
        await fail(SystemExit())

    with pytest.RaisesGroup(SystemExit, flatten_subgroups=True):
        async with serve(app_of(work)) as served, served.connect("/") as client:
            assert await client.wait_closed() == (1011, "internal error")
            assert trio.current_time() == (0 if where == "handler" else 1)
            await trio.sleep(2 * CLEANUP)


async def test_mended_12_a_guards_resource_is_told_the_failure(autojump_clock: MockClock) -> None:
    """What a guard has entered still sees the handler's exception when it is left."""
    told: list[str] = []

    @asynccontextmanager
    async def transaction() -> AsyncGenerator[None]:
        try:
            yield
        except KeyError:
            told.append("rolled back")
            raise

    @guard
    async def entering(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(transaction())
        return proved

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(stubborn)
        await trio.lowlevel.checkpoint()
        raise KeyError

    reports: list[ErrorReport] = []
    app = App(errors=ERRORS, report=reports.append)
    app.route("/", guard=public >> entering)(work)
    async with connect(app, "/") as client:
        assert await client.wait_closed() == (4001, "key")
    assert told == ["rolled back"]
    assert kinds(reports) == [("KeyError", Phase.HANDLER)]


async def test_mended_12_of_many_connections_only_one_fails(autojump_clock: MockClock) -> None:
    """A task that fails ends its own connection, whatever others have in their nurseries."""

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(stubborn)
        conn.nursery.start_soon(trio.lowlevel.checkpoint)
        if await conn.receive() == "fail":
            conn.nursery.start_soon(fail, KeyError())
        await conn.receive()

    async with (
        serve(app_of(work)) as served,
        served.connect("/") as good,
        served.connect("/") as bad,
        served.connect("/") as other,
    ):
        for client, what in ((good, "go on"), (bad, "fail"), (other, "go on")):
            await client.send(what)
        assert await bad.wait_closed() == (4001, "key")
        await trio.sleep(5)
        with trio.move_on_after(1) as waited:
            await good.wait_closed()
        assert waited.cancelled_caught


async def test_mended_12_failures_that_a_nursery_holds(autojump_clock: MockClock) -> None:
    """`known_failures` reads what Trio keeps to itself until all tasks have ended, and leaves out cancellations."""
    failure, known = KeyError(), list[tuple[BaseException, ...]]()
    with pytest.RaisesGroup(KeyError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stubborn)
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail, failure, 1)
            with trio.CancelScope(shield=True):
                known.append(known_failures(nursery))
                await trio.sleep(2)
                known.append(known_failures(nursery))
    assert known == [(), (failure,)]


@pytest.mark.slow
@pytest.mark.parametrize("over", DRIVEN)
async def test_mended_12_over_real_sockets(over: Transport) -> None:
    """So it is over TCP and TLS: the Close comes at once, and not after the cleanup."""
    leave = trio.Event()

    async def cleanup() -> None:
        with trio.CancelScope(shield=True):
            await leave.wait()

    async def work(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(cleanup)
        await conn.receive()
        raise KeyError

    async with serving(app_of(work), over) as place:
        try:
            client = await place.open("/")
            with trio.fail_after(SOON):
                await client.send(frame(TEXT))
                assert (await client.dismissal(answer=True)).code == 4001
        finally:
            leave.set()
