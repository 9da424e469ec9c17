"""What a handler, a guard or a resource raises ends its own connection, tells its peer nothing, and stays with it."""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio
from trio_websocket import WebSocketConnection

from seawall import (
    Anonymous,
    App,
    Close,
    ConfigurationError,
    Connection,
    Disconnected,
    ErrorPolicy,
    Gate,
    guard,
    public,
)
from tests.kit.log import Lines
from tests.kit.sockets import SHORT, Transport, busy, echo, echo_app, quick, surviving, until
from tests.kit.wire import PING, SOON, TEXT, Frame, close_frame, frame, request

pytestmark = pytest.mark.slow


class Unprintable(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        """Raise."""
        raise self


class Grudging(Exception):
    """An exception with a text that takes some escaping."""

    def __str__(self) -> str:
        """Control characters, a lone surrogate, and very much of it."""
        return "\x1b[31m\r\nfake line\ud800" * 1000


def nested(depth: int) -> Exception:
    """A failure in groups within groups."""
    failure: Exception = ValueError("innermost")
    for _ in range(depth):
        failure = ExceptionGroup[Exception]("outer", [failure])
    return failure


FAILURES: Final[dict[str, Exception]] = {
    "an error": ValueError("secret detail"),
    "a group": ExceptionGroup[Exception]("secret detail", [ValueError("one"), nested(2)]),
    "groups in groups": nested(50),
    "another connection's end": Disconnected("c0"),
    "one of ours": ConfigurationError("secret detail"),
    "recursion": RecursionError("secret detail"),
    "memory": MemoryError("secret detail"),
    "a closed resource": trio.ClosedResourceError("secret detail"),
    "a broken resource": trio.BrokenResourceError("secret detail"),
    "no room": trio.WouldBlock("secret detail"),
    "a timeout": trio.TooSlowError("secret detail"),
    "no descriptors": OSError(24, "secret detail"),
    "an assertion": AssertionError("secret detail"),
    "no text": Unprintable("secret detail"),
    "a text of poison": Grudging("secret detail"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_a_crash_ends_its_own_connection_with_1011(
    failure: Exception, over: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a handler raises, its peer reads 1011 and an incident that is in the log, and others notice nothing."""

    async def crash(conn: Connection[Anonymous]) -> None:
        raise failure

    async with surviving(echo_app(crash=crash), over) as place:
        client = await place.open("/crash")
        last = await client.dismissal(answer=True)
    assert last.code == 1011
    told = re.fullmatch(r"internal error, incident ([0-9a-f]{6})", last.reason)
    assert told is not None, last.reason
    errors = [record for record in caplog.records if record.name == "seawall.error"]
    assert len(errors) == (2 if failure is FAILURES["a group"] else 1)  # once for each failure that is in it
    assert all(told[1] in record.getMessage() and record.exc_text for record in errors)
    assert all(record.getMessage().isprintable() and len(record.getMessage()) < 500 for record in errors)


async def test_the_policy_says_with_what_code(log: Lines) -> None:
    """A failure that the policy knows has its code and reason, and the text of the exception stays in the log."""

    class NoSuchRoom(Exception):
        pass

    async def crash(conn: Connection[Anonymous]) -> None:
        raise NoSuchRoom("secret detail")

    app = App(errors=ErrorPolicy().on(NoSuchRoom, Close(4404, "no such room")))
    app.route("/echo", guard=public)(echo)
    app.route("/crash", guard=public)(crash)
    async with surviving(app) as place:
        last = await (await place.open("/crash")).dismissal(answer=True)
        assert (last.code, last.reason) == (4404, "no such room")
        await place.idle(1)
        (line,) = [line for line in log() if "/crash" in line]
        assert "4404" in line
        assert "secret detail" in line


async def test_a_crash_in_the_background_ends_its_own_connection_with_1011() -> None:
    """A task that a handler has started in its connection's nursery counts like the handler."""

    async def crash(conn: Connection[Anonymous]) -> None:
        async def fail() -> None:
            raise ValueError("secret detail")

        conn.nursery.start_soon(fail)
        await trio.sleep_forever()

    async with surviving(echo_app(crash=crash)) as place:
        assert (await (await place.open("/crash")).dismissal(answer=True)).code == 1011


async def test_a_crash_when_cancelled_ends_its_own_connection() -> None:
    """A handler that raises while it is being cancelled, because its peer has gone, harms nobody."""

    async def crash(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in cleanup")

    async with surviving(echo_app(limits=SHORT, crash=crash)) as place:
        (await place.open("/crash")).reset()
        await place.idle(1, within=SOON)


async def test_the_disconnection_of_another_connection_is_an_error_like_any_other() -> None:
    """What a send to somebody else's dead connection raises is 1011 here, and the end of nothing else."""
    first: list[Connection[Anonymous]] = []

    async def keep(conn: Connection[Anonymous]) -> None:
        first.append(conn)
        await conn.aclose()

    async def forward(conn: Connection[Anonymous]) -> None:
        await first[0].send("are you there?")

    async with surviving(echo_app(keep=keep, forward=forward)) as place:
        assert (await (await place.open("/keep")).dismissal(answer=True)).code == 1000
        assert (await (await place.open("/forward")).dismissal(answer=True)).code == 1011


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536])
async def test_a_close_code_that_may_not_be_sent_is_not(code: int) -> None:
    """To ask for one is a mistake of the handler, which ends like all its mistakes."""

    async def close(conn: Connection[Anonymous]) -> None:
        await conn.aclose(code)

    async with surviving(echo_app(close=close)) as place:
        assert (await (await place.open("/close")).dismissal(answer=True)).code == 1011


@pytest.mark.parametrize("reason", ["x" * 124, "é" * 62, "\ud800"])
async def test_a_close_reason_that_cannot_be_sent_is_not(reason: str) -> None:
    """Too long, or not encodable: again a mistake of the handler."""

    async def close(conn: Connection[Anonymous]) -> None:
        await conn.aclose(4000, reason)

    async with surviving(echo_app(close=close)) as place:
        assert (await (await place.open("/close")).dismissal(answer=True)).code == 1011


async def test_a_text_that_cannot_be_sent_is_not() -> None:
    """A lone surrogate raises where it is sent, nothing of it is written, and the connection is as good as before."""

    async def send(conn: Connection[Anonymous]) -> None:
        for attempt in (conn.send, no_wait(conn)):
            with pytest.raises(UnicodeEncodeError):
                await attempt("\ud800")
        await conn.send("fine")

    async with surviving(echo_app(send=send)) as place:
        client = await place.open("/send")
        assert [one.payload for one in await client.end(answer=True)] == [b"fine", struct.pack("!H", 1000)]


def no_wait(conn: Connection[Anonymous]) -> Callable[[str], Awaitable[None]]:
    """`send_nowait` with the face of `send`."""

    async def send(message: str) -> None:
        await trio.lowlevel.checkpoint()
        conn.send_nowait(message)

    return send


async def test_a_handler_that_cancels_its_own_nursery_returns() -> None:
    """It is a way to end what it has started, and nothing more."""

    async def own(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(trio.sleep_forever)
        conn.nursery.cancel_scope.cancel()

    async with surviving(echo_app(own=own)) as place:
        assert (await (await place.open("/own")).dismissal(answer=True)).code == 1000


async def test_a_crash_in_the_layer_below_is_1011(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the reader under a connection dies of a fault of its own, its peer is told, and nobody else notices."""

    async def crash(connection: object, event: object) -> None:
        raise RuntimeError("a fault below")

    monkeypatch.setattr(WebSocketConnection, "_handle_ping_event", crash)
    async with surviving(echo_app(busy=busy)) as place:
        client = await place.open("/busy")
        await client.send(frame(PING))
        assert (await client.dismissal()).code == 1011


async def test_a_report_and_a_log_that_raise_are_contained() -> None:
    """An application's `report` that fails, and a log handler that does, cost nobody a connection."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("disk full")

    def report(failure: object) -> None:
        raise RuntimeError("no report")

    async def crash(conn: Connection[Anonymous]) -> None:
        raise ValueError

    app = App(report=report)
    app.route("/echo", guard=public)(echo)
    app.route("/crash", guard=public)(crash)
    broken, logger = Broken(), logging.getLogger("seawall")
    async with surviving(app) as place:
        logger.addHandler(broken)
        try:
            assert (await (await place.open("/crash")).dismissal(answer=True)).code == 1011
            await place.idle(1)
            assert await place.rejected(request("/nowhere")) == 404
        finally:
            logger.removeHandler(broken)


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_a_guard_that_crashes_is_contained(
    failure: Exception, over: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the upgrade whatever a guard raises is a 500, after it 1011; neither tells anything."""

    @guard
    async def before(gate: Gate, proved: Anonymous) -> Anonymous:
        raise failure

    @guard
    async def after(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        raise failure

    app = echo_app()
    app.route("/before", guard=before)(quick)
    app.route("/after", guard=after)(quick)
    async with surviving(app, over) as place:
        client = await place.dial()
        await client.send(request("/before"), frame(TEXT, b"early"))
        answer = await client.last_response()
        assert answer.status == 500
        incident = re.fullmatch(r"internal error, incident ([0-9a-f]{6})\n", answer.body.decode())
        assert incident is not None
        assert any(incident[1] in record.getMessage() for record in caplog.records)
        last = await (await place.open("/after")).dismissal(answer=True)
        assert last.code == 1011
        assert re.fullmatch(r"internal error, incident [0-9a-f]{6}", last.reason)


@pytest.mark.parametrize("moment", ["enter", "hold", "leave"])
async def test_a_resource_that_crashes_is_contained(moment: str) -> None:
    """What a guard's resource raises when it is entered, while it is held or when it is left reaches nobody else."""

    @asynccontextmanager
    async def resource() -> AsyncGenerator[None]:
        if moment == "enter":
            raise ValueError("enter")
        async with trio.open_nursery() as nursery:
            if moment == "hold":
                nursery.start_soon(fail)
            yield
        if moment == "leave":
            raise ValueError("leave")

    async def fail() -> None:
        raise ValueError("hold")

    @guard
    async def holds(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        await gate.enter(resource())
        return proved

    app = echo_app()
    app.route("/held", guard=holds)(echo)
    async with surviving(app) as place:
        client = await place.open("/held")
        if moment == "leave":
            await client.send(frame(TEXT, b"there"))
            assert await client.frame() == Frame(TEXT, b"there")
            await client.send(close_frame(1001))
        assert (await client.dismissal(answer=moment != "leave")).code == (1001 if moment == "leave" else 1011)


async def test_two_receivers_do_not_lose_each_other() -> None:
    """Of two tasks that receive at the same moment one gets the message, and the other is told."""
    outcomes: list[object] = []

    async def greedy(conn: Connection[Anonymous]) -> None:
        async def receive() -> None:
            try:
                outcomes.append(await conn.receive())
            except trio.BusyResourceError:
                outcomes.append("busy")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(receive)

    async with surviving(echo_app(greedy=greedy)) as place:
        client = await place.open("/greedy")
        await until(lambda: outcomes == ["busy"])
        await client.send(frame(TEXT, b"once"))
        assert (await client.dismissal(answer=True)).code == 1000
    assert sorted(map(str, outcomes)) == ["busy", "once"]
