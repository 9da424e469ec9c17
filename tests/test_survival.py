"""Nothing that a peer sends, and nothing that a handler raises, ends the server, disturbs another connection or stays.

Everything here runs on real sockets, unless a test is about exact times. Where it says `surviving`, an innocent
connection echoes all the while, and afterwards no task, descriptor, session or deadline may be left.
"""

from __future__ import annotations

import io
import logging
import os
import random
import re
import resource
import socket
import struct
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing
from trio_websocket import WebSocketConnection

from seawall import (
    Anonymous,
    App,
    ConfigurationError,
    Connection,
    Disconnected,
    Forbidden,
    Gate,
    Limits,
    guard,
    public,
)
from seawall.listening import Listen
from seawall.logs import TextFormatter
from seawall.testing import serve
from tests.support import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    PROMPT,
    TEXT,
    Frame,
    RawClient,
    close_frame,
    echo,
    echo_app,
    frame,
    request,
    server_context,
    serving,
    surviving,
    until,
)

#: Much shorter than the defaults, so that a test sees them pass, and too long to be confused with "at once".
SHORT: Final = Limits(close_timeout=0.5, wind_down=0.1, send_timeout=0.5)

Lines = Callable[[], list[str]]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Lines:
    """What the connections have logged so far, a line each."""
    caplog.set_level(logging.INFO, logger="seawall")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "seawall.connection"]


@pytest.fixture
def calm(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    """Nothing of what happens is a fault of ours or of the layers below."""
    yield
    records = caplog.get_records("call")
    assert [record.getMessage() for record in records if record.name == "seawall.error"] == []


@pytest.fixture(params=["tcp", "tls", "unix"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Listen:
    """Each kind of socket."""
    kind: object = request.param
    if kind == "unix":
        return {"unix": tmp_path / "socket"}
    return {"port": 0, "ssl_context": server_context()} if kind == "tls" else {"port": 0}


async def quick(conn: Connection[Anonymous]) -> None:
    """Return without reading anything."""


async def busy(conn: Connection[Anonymous]) -> None:
    """Be occupied with something else for ever."""
    await trio.sleep_forever()


async def discard(conn: Connection[Anonymous]) -> None:
    """Read, and do nothing with it."""
    async for _ in conn:
        pass


async def pour(conn: Connection[Anonymous]) -> None:
    """Send for ever."""
    while True:
        await conn.send(bytes(64 * 1024))


@guard
async def undecided(gate: Gate, proved: Anonymous) -> Anonymous:
    """Never decide."""
    await trio.Event().wait()
    return proved


@guard
async def slow(gate: Gate, proved: Anonymous) -> Anonymous:
    """Take a moment to let everybody in."""
    await trio.sleep(0.01)
    return proved


# What a handler raises


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
async def test_a_crash_ends_its_own_connection_with_1011(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a handler raises, its peer reads 1011 and an incident that is in the log, and others notice nothing."""

    async def crash(conn: Connection[Anonymous]) -> None:
        raise failure

    async with surviving(echo_app(crash=crash)) as place:
        client = await place.open("/crash")
        last = await client.dismissal(answer=True)
    assert last.code == 1011
    told = re.fullmatch(r"internal error, incident ([0-9a-f]{6})", last.reason)
    assert told is not None, last.reason
    errors = [record for record in caplog.records if record.name == "seawall.error"]
    assert errors
    assert all(told[1] in record.getMessage() and record.exc_info for record in errors)
    assert all(record.getMessage().isprintable() and len(record.getMessage()) < 500 for record in errors)


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
        await place.idle(1, within=1.2)


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


async def test_a_guard_that_crashes_is_contained() -> None:
    """Before the upgrade a guard's failure is a 500, after it 1011; neither tells anything."""

    @guard
    async def before(gate: Gate, proved: Anonymous) -> Anonymous:
        raise ValueError("secret detail")

    @guard
    async def after(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        raise ValueError("secret detail")

    app = echo_app()
    app.route("/before", guard=before)(quick)
    app.route("/after", guard=after)(quick)
    async with surviving(app) as place:
        client = await place.dial()
        await client.send(request("/before"))
        answer = await client.response()
        assert answer.status == 500
        assert re.fullmatch(rb"internal error, incident [0-9a-f]{6}\n", answer.body)
        last = await (await place.open("/after")).dismissal(answer=True)
        assert last.code == 1011
        assert "secret" not in last.reason


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
        client = await place.open("/greedy", then=frame(TEXT, b"once"))
        assert (await client.dismissal(answer=True)).code == 1000
    assert sorted(map(str, outcomes)) == ["busy", "once"]


# Peers that vanish


@pytest.mark.parametrize("stage", ["connected", "in the head", "undecided", "echoing", "in a frame", "busy", "pouring"])
@pytest.mark.usefixtures("calm")
async def test_a_reset_frees_everything_within_a_second(stage: str, where: Listen) -> None:
    """Whenever a peer vanishes, also while a guard is undecided or a handler busy, nothing is held for it."""
    app = echo_app(limits=Limits(wind_down=0.1), busy=busy, pour=pour)
    app.route("/undecided", guard=undecided)(quick)
    async with surviving(app, **where) as place:
        client = await place.dial()
        match stage:
            case "connected":
                await until(lambda: place.sessions == 2)
            case "in the head":
                await client.send(request()[:50])
                await until(lambda: place.sessions == 2)
            case "undecided":
                await client.send(request("/undecided"), frame(TEXT, b"early"))
                await trio.testing.wait_all_tasks_blocked()
            case "echoing":
                await client.upgrade()
            case "in a frame":
                await client.upgrade(then=frame(TEXT, bytes(1000))[:-1])
            case "busy":
                await client.upgrade("/busy", then=frame(TEXT, b"unread"))
            case _:
                await client.upgrade("/pour")
        client.reset()
        await place.idle(1, within=1.1)


@pytest.mark.parametrize("farewell", ["reset", "end", "close frame"])
async def test_a_handler_that_is_busy_is_cancelled_when_its_peer_leaves(farewell: str, where: Listen) -> None:
    """A handler that looks elsewhere is cancelled within a second and `wind_down`, however the peer leaves."""
    cancelled = trio.Event()

    async def busy(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with surviving(echo_app(limits=SHORT, busy=busy), **where) as place:
        client = await place.open("/busy")
        match farewell:
            case "reset":
                client.reset()
            case "end":
                client.close()
            case _:
                await client.send(close_frame(4321))
                assert (await client.dismissal()).code == 4321
        with trio.fail_after(1 + SHORT.wind_down):
            await cancelled.wait()


@pytest.mark.parametrize(
    ("farewell", "code"),
    [("reset", None), ("end", None), ("close", 1000), ("binary", 3000), ("violation", 1002), ("silence", 3008)],
)
async def test_a_peer_leaves_while_a_guard_talks_to_it(farewell: str, code: int | None, where: Listen) -> None:
    """Between the upgrade and the handler everything ends as it does later, and at once."""

    @guard
    async def talks(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        await gate.send_text("who are you?")
        await gate.receive_text()
        return proved

    app = echo_app(limits=Limits(auth_timeout=0.5))
    app.route("/talk", guard=talks)(quick)
    sent = {"close": close_frame(), "binary": frame(BINARY, b"\xff"), "violation": frame(3), "silence": b""}
    async with surviving(app, **where) as place:
        client = await place.open("/talk")
        assert await client.frame() == Frame(TEXT, b"who are you?")
        match farewell:
            case "reset":
                client.reset()
            case "end":
                client.close()
            case _:
                await client.send(sent[farewell])
                assert (await client.dismissal(answer=code in {3000, 3008})).code == code
        await place.idle(1, within=0.5)


@pytest.mark.usefixtures("calm")
async def test_a_port_scanner_may_reset_while_its_answer_is_written() -> None:
    """A plain GET whose sender resets, with megabytes of answer under way, harms nobody."""
    app = echo_app()
    app.page("/big", bytes(8 * 1024 * 1024))
    get = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
    async with surviving(app) as place:
        for path in (b"/big", b"/", b"/echo", b"/\xff"):
            for reading in (False, True):
                client = await place.dial()
                await client.send(get % path)
                if reading:
                    assert await client.stream.receive_some(10)
                client.reset()
        await place.idle(1, within=1.0)


@pytest.mark.parametrize("leave", ["close", "half-close", "reset"])
@pytest.mark.usefixtures("calm")
async def test_a_head_that_ends_early_is_freed_at_once(leave: str) -> None:
    """A connection that ends at any byte before its request is whole does not wait for a deadline."""
    whole = request()
    async with surviving(echo_app()) as place:
        clients = [await place.dial() for _ in whole]
        for size, client in enumerate(clients):
            if size:
                await client.send(whole[:size])
        await until(lambda: place.sessions == 1 + len(whole))
        for client in clients:
            match leave:
                case "close":
                    client.close()
                case "reset":
                    client.reset()
                case _:
                    client.finish()
        await place.idle(1, within=1.0)


@pytest.mark.usefixtures("calm")
async def test_a_thousand_clients_connect_and_drop() -> None:
    """Their slots and descriptors are free as soon as they have gone."""
    async with surviving(echo_app()) as place:
        for number in range(1000):
            client = await place.dial()
            if number % 2:
                await client.send(request()[: number % 150 + 1])
            if number % 3:
                client.close()
            else:
                client.reset()
        await place.idle(1, within=1.0)


# Requests that are refused


def lines(*wanted: bytes) -> bytes:
    """A request of these lines."""
    return b"\r\n".join([*wanted, b"", b""])


REFUSED: Final = {
    "bytes that are no request": (b"\x00\xff\x00\xff\r\n\r\n", 400),
    "a TLS hello": (bytes.fromhex("160301020001"), 400),
    "no path": (request("/nowhere"), 404),
    "no upgrade": (lines(b"GET /echo HTTP/1.1", b"Host: a"), 426),
    "a POST": (request().replace(b"GET", b"POST"), 405),
    "HTTP/1.0": (request().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
    "HTTP/2 in cleartext": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "no version": (request().replace(b"Sec-WebSocket-Version: 13\r\n", b""), 426),
    "version 8": (request().replace(b"Version: 13", b"Version: 8"), 426),
    "an empty key": (request().replace(KEY.encode(), b""), 400),
    "a short key": (request().replace(KEY.encode(), b"c2hvcnQ="), 400),
    "two keys": (request("/echo", b"Sec-WebSocket-Key: " + KEY.encode()), 400),
    "no host": (request().replace(b"Host: localhost\r\n", b""), 400),
    "two hosts": (request("/echo", b"Host: localhost"), 400),
    "a host of one byte": (request(host=b"\xff"), 400),
    "a host that is no name": (request(host=b"xn--\xff\xfe.example"), 400),
    "a host of nothing but punctuation": (request(host=b"xn--..:99999"), 400),
    "a connection header of one byte": (request().replace(b"Connection: Upgrade", b"Connection: \xe9"), 400),
    "a subprotocol of one byte": (request("/echo", b"Sec-WebSocket-Protocol: \xff"), 400),
    "a foreign origin": (request("/echo", b"Origin: https://elsewhere.example"), 403),
    "an origin of bytes": (request("/echo", b"Origin: \xff\xfe"), 403),
    "a body": (request("/echo", b"Content-Length: 5") + b"hello", 400),
    "a body in chunks": (request("/echo", b"Transfer-Encoding: chunked"), 400),
    "a head without end": (request("/echo", b"Cookie: " + b"x" * 20_000), 431),
    "many fields": (request("/echo", *[b"X-%d: y" % number for number in range(200)]), 431),
    "an escape into the log": (request("/\x1b[31m\n"), 400),
    "a guard that says no": (request("/forbidden"), 403),
}


def refusing_app() -> App:
    """An app with all the reasons to refuse."""

    @guard
    async def forbids(gate: Gate, proved: Anonymous) -> Anonymous:
        raise Forbidden

    app = echo_app()
    app.route("/forbidden", guard=forbids)(quick)
    return app


@pytest.mark.parametrize(("ask", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_request_that_is_refused_is_answered_and_freed(ask: bytes, status: int) -> None:
    """Each gets its status in one readable answer, nothing after it is processed, and the connection is closed."""
    async with surviving(refusing_app()) as place:
        assert await place.rejected(ask, request(), frame(TEXT, b"pipelined")) == status
        await place.idle(1, within=0.5)


@pytest.mark.parametrize("reading", [True, False])
@pytest.mark.usefixtures("calm")
async def test_a_client_that_is_refused_cannot_stay(reading: bool) -> None:
    """All of them are gone within a second, though they stream data for ever, whether they read the answer or not."""

    async def insist(client: RawClient, ask: bytes, status: int) -> None:
        await client.send(ask)
        if reading:
            assert (await client.response()).status == status
        await client.insist(bytes(10_000))

    async with surviving(refusing_app()) as place, trio.open_nursery() as nursery:
        for ask, status in REFUSED.values():
            nursery.start_soon(insist, await place.dial(), ask, status)
        await until(lambda: place.sessions > 1)
        await place.idle(1, within=PROMPT)


async def test_a_head_byte_by_byte_gets_the_handshake_timeout() -> None:
    """Who dawdles over the request is answered 408 when the time is over, although something keeps coming."""
    async with surviving(echo_app(limits=Limits(handshake_timeout=0.5))) as place:
        client = await place.dial()
        started = trio.current_time()
        await client.send(b"GET / HTTP/1.1\r\nX: ")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.insist, b"A")
            assert (await client.response()).status == 408
            assert 0.4 < trio.current_time() - started < 1.0
            await place.idle(1, within=PROMPT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Connection: Upgrade", b"Connection: keep-alive\r\nConnection: x, upgrade"),
        (b"Connection: Upgrade", b"connection:upgrade,\xe9"),
        (b"Upgrade: websocket", b"Upgrade: h2c\r\nUpgrade: WebSocket"),
        (b"Host: localhost", b"Host: xn--a.example"),
        (b"Host: localhost", b"Host: xn--0zwm56d.example:80"),
        (b"Host: localhost", b"Host: localhost\r\nSec-WebSocket-Extensions: \xff"),
        (b"Host: localhost", b"Host: localhost\r\nSec-WebSocket-Extensions: permessage-deflate; x=\x80"),
        (b"Host: localhost", b"Host: localhost\r\nUser-Agent: \xff\xfe\t\x80"),
        (b"Host: localhost", b"Host: localhost\r\nCookie: \xff=\xfe; =; ;;;"),
        (b"Host: localhost", b"Host: localhost\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b, c"),
        (b"Host: localhost", b"Host: localhost\r\nContent-Length: 0"),
    ],
)
async def test_odd_headers_that_are_legal_are_accepted(old: bytes, new: bytes) -> None:
    """Header bytes are data: none of them reaches a decoder that would choke on it."""
    async with surviving(echo_app()) as place:
        client = await place.dial()
        await client.send(request().replace(old, new), frame(TEXT, b"in"))
        assert (await client.response()).status == 101
        assert await client.frame() == Frame(TEXT, b"in")


# Violations


BAD_TEXT: Final = "Κόσμε".encode()[:5]

VIOLATIONS: Final = {
    "reserved bit 1": (frame(TEXT, b"x", rsv=4), 1002),
    "reserved bit 3": (frame(PING, b"x", rsv=1), 1002),
    "opcode 3": (frame(3, b"x"), 1002),
    "opcode 11": (frame(11), 1002),
    "not masked": (frame(TEXT, b"x", mask=None), 1002),
    "a Close that is not masked": (frame(CLOSE, mask=None), 1002),
    "a fragmented Ping": (frame(PING, b"x", fin=False), 1002),
    "a long Ping": (frame(PING, bytes(126)), 1002),
    "a length that is not minimal": (b"\x81\xfe\x00\x7d" + bytes(4), 1002),
    "a long length that is not minimal": (b"\x82\xff" + (65535).to_bytes(8, "big"), 1002),
    "a length of 64 bits": (b"\x82\xff\x80" + bytes(7), 1002),
    "nothing to continue": (frame(CONTINUATION, b"x"), 1002),
    "a message in a message": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "half a close code": (frame(CLOSE, b"\x03"), 1002),
    "close code 0": (close_frame(0), 1002),
    "close code 999": (close_frame(999), 1002),
    "close code 1005": (close_frame(1005), 1002),
    "close code 1006": (close_frame(1006), 1002),
    "close code 1015": (close_frame(1015), 1002),
    "close code 2999": (close_frame(2999), 1002),
    "close code 5000": (close_frame(5000), 1002),
    "close code 65535": (close_frame(65535), 1002),
    "a close reason that is not text": (close_frame(1000, b"\xff"), 1007),
    "text that is not text": (frame(TEXT, b"\xff"), 1007),
    "text that ends early": (frame(TEXT, BAD_TEXT), 1007),
    "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "bad text in a message that goes on": (frame(TEXT, b"good \xf5", fin=False), 1007),
    "bad text in a frame that goes on": (frame(TEXT, b"\xc0" + bytes(90))[:50], 1007),
    "more bytes than characters": (frame(TEXT, "é".encode() * 51), 1009),
    "too much, by the header alone": (b"\x82\xff" + (1 << 62).to_bytes(8, "big"), 1009),
    "too much, in pieces": (frame(BINARY, bytes(60), fin=False) + frame(CONTINUATION, bytes(60)), 1009),
    "too many empty pieces": (frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 20, 1009),
}
SMALL: Final = Limits(max_message_size=100, max_fragments=20)


@pytest.mark.parametrize(("broken", "code"), VIOLATIONS.values(), ids=VIOLATIONS)
@pytest.mark.usefixtures("calm")
async def test_a_violation_is_told_and_ends_the_connection(broken: bytes, code: int) -> None:
    """The right code is really on the wire, alone and last, TCP is closed at once, and nothing after it counts."""
    async with surviving(echo_app(limits=SMALL)) as place:
        for then in (b"", frame(PING), close_frame(), frame(TEXT, b"more"), b"\xff" * 1000, broken):
            client = await place.open()
            await client.send(broken, then)
            (last,) = await client.end()
            assert (last.opcode, last.code) == (CLOSE, code)
        await place.idle(1, within=0.5)


async def test_a_violation_is_told_on_every_kind_of_socket(where: Listen) -> None:
    """After good messages, whose answers come first, and to a peer that does not stop sending."""
    async with surviving(echo_app(limits=SMALL), **where) as place:
        client = await place.open()
        await client.send(frame(TEXT, b"one"))
        assert await client.frame() == Frame(TEXT, b"one")
        await client.send(frame(TEXT, b"\xff"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.insist, bytes(10_000))
            assert (await client.closed()).code == 1007
            await place.idle(1, within=PROMPT)


async def test_what_is_just_allowed_passes() -> None:
    """Sizes count bytes, to the last one, and so do pieces."""
    async with surviving(echo_app(limits=SMALL)) as place:
        client = await place.open()
        for text in ("é" * 50, "x" * 100, ""):
            await client.send(frame(TEXT, text.encode()))
            assert await client.frame() == Frame(TEXT, text.encode())
        await client.send(frame(TEXT, fin=False), frame(CONTINUATION, fin=False) * 18, frame(CONTINUATION, b"end"))
        assert await client.frame() == Frame(TEXT, b"end")


# The end of the conversation


AFTERWARDS: Final = {
    "nothing": b"",
    "a Ping": frame(PING, b"late"),
    "many Pings": frame(PING, b"late") * 500,
    "a Pong": frame(PONG, b"late"),
    "text": frame(TEXT, b"late") * 10,
    "many bytes": frame(BINARY, bytes(500_000)),
    "a Ping and text": frame(PING) + frame(TEXT, b"late") + frame(PING),
}


@pytest.mark.parametrize("late", AFTERWARDS.values(), ids=AFTERWARDS)
@pytest.mark.usefixtures("calm")
async def test_after_our_close_only_the_peers_close_counts(late: bytes, where: Listen) -> None:
    """What else a peer sends after our Close is ignored, and answered with nothing."""
    async with surviving(echo_app(quick=quick), **where) as place:
        client = await place.open("/quick")
        assert await client.closed() == Frame(CLOSE, struct.pack("!H", 1000))
        await client.send(late)
        await client.send(late, close_frame())
        assert await client.end() == []
        await place.idle(1, within=0.5)


@pytest.mark.parametrize(("broken", "code"), VIOLATIONS.values(), ids=VIOLATIONS)
@pytest.mark.usefixtures("calm")
async def test_a_violation_after_our_close_ends_it_at_once(broken: bytes, code: int) -> None:
    """We have said 1000 and say nothing more, nor wait any longer."""
    async with surviving(echo_app(limits=SMALL, quick=quick)) as place:
        client = await place.open("/quick")
        assert (await client.closed()).code == 1000
        await client.send(broken)
        assert await client.end() == []


@pytest.mark.parametrize("late", [*AFTERWARDS.values(), close_frame(), b"\xff" * 1000])
@pytest.mark.usefixtures("calm")
async def test_after_the_peers_close_nothing_counts(late: bytes, where: Listen) -> None:
    """The answer to a Close is the same Close, and the end, whatever comes with it in the same segment."""
    async with surviving(echo_app(busy=busy, limits=SHORT), **where) as place:
        client = await place.open("/busy")
        await client.send(close_frame(1001, b"bye"), late)
        (last,) = await client.end()
        assert (last.opcode, last.code) == (CLOSE, 1001)


CLOSED_4000: Final = Frame(CLOSE, struct.pack("!H", 4000))


@pytest.mark.usefixtures("calm")
async def test_a_ping_and_a_close_in_one_segment(where: Listen) -> None:
    """The Close is answered; the Ping may be, but only before it."""
    async with surviving(echo_app(), **where) as place:
        client = await place.open()
        await client.send(frame(PING, b"one"), close_frame(4000))
        assert await client.end() in ([Frame(PONG, b"one"), CLOSED_4000], [CLOSED_4000])


async def test_a_ping_is_answered_while_the_handler_is_busy(where: Listen) -> None:
    """Also when messages lie unread; of Pings that come together the last one is answered."""
    async with surviving(echo_app(busy=busy, limits=SHORT), **where) as place:
        client = await place.open("/busy", then=frame(TEXT, bytes(1000)) * 100)
        for number in range(3):
            await client.send(frame(PING, b"old") * number, frame(PING, b"%d" % number))
            while (answer := await client.frame()) != Frame(PONG, b"%d" % number):
                assert answer == Frame(PONG, b"old")


@pytest.mark.parametrize("path", ["/echo", "/busy", "/slow"])
@pytest.mark.usefixtures("calm")
async def test_a_close_right_after_the_handshake_is_answered(path: str, where: Listen) -> None:
    """Even when it comes in one segment with the request, whatever code it carries, or none."""
    app = echo_app(busy=busy, limits=SHORT)
    app.route("/slow", guard=slow)(echo)
    async with surviving(app, **where) as place:
        for code in (1000, 1001, 1002, 1003, *range(1007, 1014), 3000, 3999, 4000, 4999):
            client = await place.open(path, then=close_frame(code, b"because"))
            (last,) = await client.end()
            assert (last.opcode, last.code) == (CLOSE, code)
        client = await place.open(path, then=close_frame(1014))
        assert (await client.dismissal()).code in {1014, 1011}
        client = await place.open(path, then=frame(CLOSE))
        assert await client.end() in ([Frame(CLOSE, b"")], [Frame(CLOSE, struct.pack("!H", 1000))])


async def test_messages_before_an_early_close_are_delivered(where: Listen) -> None:
    """A client may say all that it has to say, and goodbye, in the segment of its request."""
    got: list[str | bytes] = []

    async def collect(conn: Connection[Anonymous]) -> None:
        got.extend([message async for message in conn])

    async with surviving(echo_app(collect=collect), **where) as place:
        client = await place.open("/collect", then=frame(TEXT, b"one") + frame(TEXT, b"two") + close_frame())
        assert (await client.dismissal()).code == 1000
        await place.idle(1)
    assert got == ["one", "two"]


async def test_a_handler_that_returns_without_reading_is_heard() -> None:
    """The Close is not lost to a reset, though megabytes have not been read."""
    async with surviving(echo_app(quick=quick)) as place:
        client = await place.dial()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, request("/quick"), frame(BINARY, bytes(1_000_000)) * 5, close_frame())
            assert (await client.response()).status == 101
            assert await client.end() == [Frame(CLOSE, struct.pack("!H", 1000))]


@pytest.mark.parametrize(("path", "code"), [("/quick", 1000), ("/crash", 1011), ("/close", 4000)])
async def test_a_mute_peer_costs_exactly_the_close_timeout(path: str, code: int, autojump_clock: object) -> None:
    """A peer that reads our Close and does not answer is waited for as long as the limit says, and no longer."""

    async def crash(conn: Connection[Anonymous]) -> None:
        raise ValueError

    async def close(conn: Connection[Anonymous]) -> None:
        await conn.aclose(4000)
        assert trio.current_time() == started + 5.0

    async with serve(echo_app(quick=quick, crash=crash, close=close)) as serving:
        client = RawClient(serving.open_stream())
        await client.upgrade(path)
        started = trio.current_time()
        assert (await client.closed()).code == code
        assert await client.eof() == 5.0


async def test_a_peer_that_streams_instead_of_closing_costs_the_close_timeout(where: Listen) -> None:
    """Data for ever are no answer to a Close, on any kind of socket."""
    async with surviving(echo_app(quick=quick, limits=SHORT), **where) as place:
        client = await place.open("/quick")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.insist, frame(BINARY, bytes(10_000)))
            await place.idle(1, within=SHORT.close_timeout + 0.5)


@pytest.mark.usefixtures("calm")
async def test_closing_does_not_wait_behind_a_blocked_send(where: Listen) -> None:
    """With a peer that does not read, and a task stuck in `send`, `aclose` takes no more than its limit."""
    ended: list[float] = []

    async def stuck(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(pour_until_closed, conn)
        with trio.move_on_after(0.3):
            await pour(conn)
        started = trio.current_time()
        await conn.aclose(4000)
        ended.append(trio.current_time() - started)
        with pytest.raises(Disconnected):
            await conn.send("more")

    async def pour_until_closed(conn: Connection[Anonymous]) -> None:
        with pytest.raises(Disconnected):
            await pour(conn)

    limits = Limits(close_timeout=0.5, send_timeout=5)
    async with surviving(echo_app(limits=limits, stuck=stuck), **where) as place:
        await place.open("/stuck")
        await until(lambda: bool(ended))
        assert ended[0] < 1.0
        await place.idle(1, within=0.5)


async def test_a_peer_that_closes_and_does_not_read_is_let_go(where: Listen) -> None:
    """Its Close cannot be answered behind all that it has not read, so it costs the close timeout."""
    async with surviving(echo_app(limits=Limits(close_timeout=0.5, wind_down=0.1), pour=pour), **where) as place:
        client = await place.open("/pour")
        await trio.sleep(0.2)
        await client.send(close_frame())
        await place.idle(1, within=1.0)


async def test_a_client_that_does_not_read_its_page_is_let_go(where: Listen) -> None:
    """Nor does a large answer over plain HTTP hold anything for longer than the close timeout."""
    app = echo_app(limits=SHORT)
    app.page("/big", bytes(32 * 1024 * 1024))
    async with surviving(app, **where) as place:
        client = await place.dial()
        await client.send(lines(b"GET /big HTTP/1.1", b"Host: a"))
        await until(lambda: place.sessions == 2)
        await place.idle(1, within=1.0)


async def test_a_resource_that_does_not_leave_is_cancelled(where: Listen) -> None:
    """What a guard has entered has `close_timeout` to be left, then the connection is gone without it."""

    @asynccontextmanager
    async def resource() -> AsyncGenerator[None]:
        yield
        await trio.sleep_forever()

    @guard
    async def holds(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.enter(resource())
        return proved

    app = echo_app(limits=SHORT)
    app.route("/held", guard=holds)(quick)
    async with surviving(app, **where) as place:
        assert (await (await place.open("/held")).dismissal(answer=True)).code == 1000
        await place.idle(1, within=SHORT.close_timeout + 0.3)


@pytest.mark.parametrize(
    ("first", "flood"),
    [
        (b"", frame(TEXT) * 10_000),
        (b"", frame(PING) * 10_000),
        (b"", frame(PONG, bytes(125)) * 1000),
        (frame(TEXT, fin=False), frame(CONTINUATION, fin=False) * 10_000),
    ],
    ids=["empty texts", "Pings", "Pongs", "empty fragments"],
)
@pytest.mark.usefixtures("calm")
async def test_a_flood_of_tiny_frames_delays_nobody(first: bytes, flood: bytes) -> None:
    """One peer that sends as fast as it can, and as little as possible at a time, gets no more than its share."""
    async with surviving(echo_app(limits=SHORT, discard=discard)) as place:
        client = await place.open("/discard", then=first)
        with trio.move_on_after(0.7):
            await client.insist(flood, every=0)
        client.reset()
        await place.idle(1)  # what has been received is still delivered


@pytest.mark.usefixtures("calm")
async def test_a_slow_consumer_is_ended_although_its_socket_is_stuck(where: Listen, log: Lines) -> None:
    """A peer that takes nothing for `send_timeout` is let go, with all that it held."""
    async with surviving(echo_app(limits=SHORT, pour=pour), **where) as place:
        await place.open("/pour")
        await until(lambda: place.sessions == 2)
        await place.idle(1, within=2.0)
        assert "slow consumer, 1008" in log()[-1]


async def test_a_peer_that_pings_and_does_not_read_is_ended() -> None:
    """Its Pongs count as something that it has to take."""
    async with surviving(echo_app(limits=SHORT)) as place:
        client = await place.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.insist, frame(BINARY, bytes(1_000_000)) + frame(PING, bytes(125)) * 100)
            await until(lambda: place.sessions == 2)
            await place.idle(1, within=3.0)


# What comes early


async def test_messages_that_come_with_the_handshake_are_kept(where: Listen) -> None:
    """All of them, in order, whether the route lets in at once or makes up its mind first."""
    app = echo_app()
    app.route("/slow", guard=slow)(echo)
    texts = [b"message %d" % number for number in range(1000)]
    early = b"".join(frame(TEXT, text) for text in texts)
    assert len(early) < 64 * 1024
    async with surviving(app, **where) as place:
        for path in ("/echo", "/slow"):
            client = await place.dial()
            await client.send(request(path), early[:100])
            await client.send(early[100:])
            assert (await client.response()).status == 101
            assert [(await client.frame()).payload for _ in texts] == texts


async def test_no_more_than_64_kib_are_kept_before_the_upgrade(autojump_clock: object) -> None:
    """A client that has not been let in is not read any further than that; what it said is not lost."""
    decided = trio.Event()

    @guard
    async def slow(gate: Gate, proved: Anonymous) -> Anonymous:
        await decided.wait()
        return proved

    app = echo_app()
    app.route("/slow", guard=slow)(echo)
    async with serve(app) as serving:
        client = RawClient(serving.open_stream())
        big = frame(BINARY, bytes(500_000))
        await client.send(request("/slow"), big)
        await trio.testing.wait_all_tasks_blocked()
        (session,) = serving.server._sessions  # pyright: ignore[reportPrivateUsage] # it is held here
        lane = session._lane  # pyright: ignore[reportPrivateUsage] # as above
        assert lane is not None
        assert len(lane._early) <= 64 * 1024  # pyright: ignore[reportPrivateUsage] # as above
        decided.set()
        assert (await client.response()).status == 101
        assert await client.frame() == Frame(BINARY, bytes(500_000))


# Sends


@pytest.mark.usefixtures("calm")
async def test_a_cancelled_send_never_tears_a_frame(where: Listen) -> None:
    """What `send` has returned from arrives whole and in order, and what was cancelled does not arrive at all."""
    delivered: list[bytes] = []
    cancelled = 0

    async def torn(conn: Connection[Anonymous]) -> None:
        async with trio.open_nursery() as nursery:
            for name in range(4):
                nursery.start_soon(send_and_cancel, conn, random.Random(name))

    async def send_and_cancel(conn: Connection[Anonymous], rng: random.Random) -> None:
        nonlocal cancelled
        for _ in range(40):
            content = rng.randbytes(rng.choice([10, 1000, 30_000, 200_000]))
            payload = struct.pack("!I", zlib.crc32(content)) + content
            with trio.move_on_after(rng.choice([0, 0.001, 0.01, 1])) as scope:
                await conn.send(payload)
                delivered.append(payload)
            cancelled += scope.cancelled_caught

    app = echo_app(limits=Limits(outbound_buffer=64 * 1024), torn=torn)
    received: list[bytes] = []
    async with surviving(app, **where) as place:
        client = await place.open("/torn")
        while (found := await client.frame()).opcode != CLOSE:
            assert found.fin
            assert int.from_bytes(found.payload[:4], "big") == zlib.crc32(found.payload[4:])
            received.append(found.payload)
            await trio.sleep(0.002)
        await client.send(close_frame())
        assert await client.end() == []
    assert received == delivered
    assert cancelled > 10
    assert len(received) > 10


async def test_big_messages_go_both_ways(where: Listen) -> None:
    """Megabytes, whole and fragmented, with control frames between the fragments."""
    rng = random.Random(1)
    big = rng.randbytes(3_000_000)
    async with surviving(echo_app(limits=Limits(max_message_size=4_000_000)), **where) as place:
        client = await place.dial()
        async with trio.open_nursery() as nursery:
            pieces = [frame(BINARY, big[:1000], fin=False), frame(PING, b"between")]
            pieces += [frame(CONTINUATION, big[1000:], mask=rng.randbytes(4))]
            nursery.start_soon(client.send, request(), frame(BINARY, big), *pieces)
            assert (await client.response()).status == 101
            found = [await client.frame() for _ in range(3)]
        assert [one.payload for one in found if one.opcode == BINARY] == [big, big]
        assert Frame(PONG, b"between") in found


# TLS


async def test_a_mute_client_on_a_tls_port_gets_the_handshake_timeout() -> None:
    """TLS counts as part of the handshake, and who never begins with it is not answered either."""
    limits = Limits(handshake_timeout=0.4)
    async with surviving(echo_app(limits=limits), port=0, ssl_context=server_context()) as place:
        mute, half = await place.dial_plain(), await place.dial_plain()
        await half.send(b"\x16\x03\x01\x02\x00\x01\x00")
        await until(lambda: place.sessions == 3)
        await place.idle(1, within=0.9)
        assert await mute.eof() < 0.5
        assert await half.eof() < 0.5


async def test_a_mute_client_after_tls_gets_the_handshake_timeout() -> None:
    """The request has to come too."""
    limits = Limits(handshake_timeout=0.4)
    async with surviving(echo_app(limits=limits), port=0, ssl_context=server_context()) as place:
        client = await place.dial()
        assert client.tls is not None
        await client.tls.do_handshake()
        await place.idle(1, within=0.4 + PROMPT)


@pytest.mark.parametrize("plaintext", [request(), b"\x00" * 1000, b"\x16\x03\x01" + b"\xff" * 1000, b"SSH-2.0-x\r\n"])
@pytest.mark.usefixtures("calm")
async def test_plaintext_on_a_tls_port_is_the_end_of_it(plaintext: bytes) -> None:
    """It is not answered in plain text, and freed at once."""
    async with surviving(echo_app(), port=0, ssl_context=server_context()) as place:
        client = await place.dial_plain()
        await client.send(plaintext)
        assert await client.eof() < 1.0
        await place.idle(1, within=0.5)


@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.usefixtures("calm")
async def test_tls_is_closed_properly(polite: bool, log: Lines) -> None:
    """The Close frame is readable, then comes TLS's own farewell, which the client may answer or not."""
    async with surviving(echo_app(quick=quick), port=0, ssl_context=server_context()) as place:
        client = await place.open("/quick")
        assert (await client.closed()).code == 1000
        await client.send(close_frame())
        assert client.tls is not None
        assert await client.tls.receive_some(100) == b""
        if polite:
            under, _ = await client.tls.unwrap()
            assert await under.receive_some(100) == b""
            await trio.aclose_forcefully(under)
        else:
            client.close()
        await place.idle(1, within=0.5)
        assert "handler returned" in log()[-1]


# Unix sockets


async def test_a_unix_socket_lives_and_dies(tmp_path: Path) -> None:
    """A stale file is replaced, connections echo and close, and the file goes with the server."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(path))
    assert path.is_socket()
    async with surviving(echo_app(), unix=path) as place:
        assert place.server.addresses[0].url == f"unix:{path}"
        client = await place.open()
        await client.send(frame(TEXT, b"hello"))
        assert await client.frame() == Frame(TEXT, b"hello")
        await client.send(close_frame())
        assert (await client.dismissal()).code == 1000
        with pytest.RaisesGroup(ConfigurationError):
            async with serving(echo_app(), unix=path):
                pass
        assert path.is_socket()
    assert not path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """Only what another server has abandoned is replaced."""
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.RaisesGroup(ConfigurationError):
        async with trio.open_nursery() as nursery:
            await echo_app().start(nursery, unix=path)
    assert path.read_text() == "data"


# Capacity


async def test_one_connection_too_many_gets_503(where: Listen) -> None:
    """It is told when to come back, may be as rude as it likes, and the place is free when another has left."""
    async with surviving(echo_app(limits=Limits(max_connections=3)), **where) as place:
        first, second = await place.open(), await place.open()
        for piece in (request(), b"\xff" * 1000, request() + bytes(100_000)):
            client = await place.dial()
            await client.send(piece)
            answer = await client.response()
            assert (answer.status, answer.header("retry-after")) == (503, "5")
            client.close()
        first.reset()
        await place.idle(2)
        await place.open()
        second.close()


async def test_a_flood_of_surplus_connections_is_bounded() -> None:
    """Those that say nothing are told and freed within a second, and so many at once are just closed."""
    async with surviving(echo_app(limits=Limits(max_connections=1))) as place:
        clients = [await place.dial() for _ in range(300)]
        await until(lambda: place.sessions > 50)
        assert place.sessions <= 101
        await place.idle(1, within=PROMPT)
        for client in clients:
            assert await client.eof() < 0.5


@contextmanager
def no_free_descriptor() -> Generator[None]:
    """Every call that needs a new descriptor fails."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_running_out_of_descriptors_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    """Open connections go on, the log says it once, and those that wait are let in when there is room again."""

    def complaints() -> int:
        return sum("Too many open files" in record.getMessage() for record in caplog.records)

    async with surviving(echo_app()) as place:
        (address,) = place.server.addresses
        waiting = [trio.socket.socket() for _ in range(5)]
        with no_free_descriptor():
            for plain in waiting:
                await plain.connect((address.host, address.port))
            await until(lambda: complaints() > 0)
            await trio.sleep(0.5)
            assert complaints() == 1
            assert place.sessions == 1
        for plain in waiting:
            client = RawClient(trio.SocketStream(plain), plain)
            await client.upgrade()
            await client.send(frame(TEXT, b"at last"))
            assert await client.frame() == Frame(TEXT, b"at last")
            client.close()


# Stopping


@pytest.mark.usefixtures("calm")
async def test_cancelling_tells_every_peer_1001_at_once(where: Listen) -> None:
    """Also those whose handler is busy, sends, or whose peer does not read; all is over within `close_timeout`."""
    app = echo_app(busy=busy, pour=pour, limits=Limits(close_timeout=1.0))
    app.route("/undecided", guard=undecided)(quick)
    async with trio.open_nursery() as nursery:
        stopping = trio.Event()

        async def expect_1001(client: RawClient) -> None:
            await stopping.wait()
            assert (await client.dismissal(within=0.5, answer=True)).code == 1001

        async def expect_503(client: RawClient) -> None:
            await stopping.wait()
            assert (await client.response()).status == 503

        async with serving(app, **where) as place:
            clients = [await place.open(path) for path in ("/echo", "/busy", "/echo")]
            await place.open("/pour")
            turned_away = await place.dial()
            await turned_away.send(request("/undecided"))
            for client in clients:
                nursery.start_soon(expect_1001, client)
            nursery.start_soon(expect_503, turned_away)
            await until(lambda: place.sessions == 5)
            await trio.testing.wait_all_tasks_blocked()
            stopping.set()
            stopped = trio.current_time()
        assert trio.current_time() - stopped < 1.3


async def test_draining_lets_handlers_finish(where: Listen) -> None:
    """Iteration ends, `draining` is set, the last words arrive, the peer reads 1001, and new ones are not let in."""

    async def polite(conn: Connection[Anonymous]) -> None:
        await conn.draining.wait()
        await conn.send("last words")

    async def iterating(conn: Connection[Anonymous]) -> None:
        async for _ in conn:
            pass
        await conn.send("last words")

    async def crash(conn: Connection[Anonymous]) -> None:
        await conn.draining.wait()
        raise ValueError

    app = echo_app(polite=polite, iterating=iterating, crash=crash)
    async with serving(app, **where) as place, trio.open_nursery() as nursery:
        clients = {path: await place.open(path) for path in ("/polite", "/iterating", "/crash", "/echo")}
        nursery.start_soon(place.server.aclose)
        nursery.start_soon(place.server.aclose)
        for path, client in clients.items():
            found = await client.end(answer=True)
            assert [one.payload for one in found[:-1]] == ([b"last words"] if path in {"/polite", "/iterating"} else [])
            assert found[-1].code == (1011 if path == "/crash" else 1001)
        with trio.fail_after(1):
            await place.server.wait_closed()
        with pytest.raises(OSError):  # noqa: PT011 - refused, or no such file
            await place.dial()


async def test_draining_is_bounded_exactly(autojump_clock: object) -> None:
    """A handler that does not care is cancelled `close_timeout` before the end, and a mute peer costs the rest."""
    cancelled: list[float] = []

    async def stubborn(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with serve(echo_app(stubborn=stubborn, limits=Limits(drain_timeout=30, close_timeout=4))) as serving:
        client = RawClient(serving.open_stream())
        await client.upgrade("/stubborn")
        started = trio.current_time()
        await serving.server.aclose()
        assert cancelled == [started + 26]
        assert trio.current_time() == started + 30
        assert (await client.dismissal()).code == 1001


async def test_a_handler_that_drains_its_own_server_is_bounded(autojump_clock: object) -> None:
    """Waiting for itself, it is cancelled like any other that does not finish."""

    async def suicidal(conn: Connection[Anonymous]) -> None:
        await server[0].aclose()

    async with serve(echo_app(suicidal=suicidal)) as serving:
        server = [serving.server]
        client = RawClient(serving.open_stream())
        await client.upgrade("/suicidal")
        started = trio.current_time()
        assert (await client.dismissal(within=6, answer=True)).code == 1001
        await serving.server.wait_closed()
        assert trio.current_time() - started == 5.0


async def test_a_return_is_1000_and_nothing_else_is(log: Lines) -> None:
    """A handler that returns gives 1000, and the log says so."""
    async with surviving(echo_app(quick=quick)) as place:
        last = await (await place.open("/quick")).dismissal(answer=True)
        assert (last.code, last.reason) == (1000, "")
        await place.idle(1)
        assert "handler returned, 1000" in log()[-1]


# The log


def hostilities(count: int) -> Iterator[bytes]:
    """What is sent over `count` connections, before their senders leave."""
    rng = random.Random(26)
    poison = [
        b"\x1b[31m",
        b"\r\nfake 127.0.0.1 line",
        "\u202e\u2028".encode(),
        b"\xff\xfe\x00",
        b"%s%n{0}",
        b"A" * 20_000,
    ]
    for number in range(count):
        bad = poison[number % len(poison)]
        match rng.randrange(7):
            case 0:
                yield rng.randbytes(rng.randrange(1, 500))
            case 1:
                yield request("/").replace(b"GET /", b"GET /" + bad)
            case 2:
                yield request("/echo", b"Origin: " + bad)
            case 3:
                yield request("/echo", b"Cookie: " + bad, host=bad[:100])
            case 4:
                yield request() + close_frame(4000, ("bye\x1b[2J\r\n" + "\u202e" * 30).encode())
            case 5:
                yield request() + frame(TEXT, bad)
            case _:
                yield request() + frame(CLOSE, rng.randbytes(rng.randrange(3, 100)))


@pytest.mark.usefixtures("calm")
async def test_a_hostile_run_leaves_one_bounded_line_each() -> None:
    """Hundreds of cases write kilobytes, without a byte that a terminal or a parser of logs would obey."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(TextFormatter())
    logger, count = logging.getLogger("seawall"), 300
    async with surviving(echo_app()) as place:
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            for sent in hostilities(count):
                client = await place.dial()
                await client.send(sent)
                client.finish()
                await client.eof()
                client.close()
            await place.idle(1)
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
    written = output.getvalue()
    assert written.count("\n") == count
    assert len(written) < 300 * count
    assert all(line.isprintable() for line in written.splitlines())
    assert "fake" not in written or "\nfake" not in written


# The wire at random


@pytest.mark.usefixtures("calm")
async def test_noise_after_a_good_handshake_is_survived() -> None:
    """Good frames with a byte changed, cut at random, in any order: always an answer or the end, never a hang."""
    rng = random.Random(7)
    good = [
        frame(TEXT, b"hello"),
        frame(BINARY, bytes(300)),
        frame(PING, b"p"),
        frame(CONTINUATION, b"c"),
        close_frame(),
    ]
    async with surviving(echo_app(limits=SHORT)) as place:
        for _ in range(150):
            noise = bytearray(b"".join(rng.choices(good, k=rng.randrange(1, 6))))
            noise[rng.randrange(len(noise))] = rng.randrange(256)
            client = await place.open(then=bytes(noise[: rng.randrange(1, len(noise) + 1)]))
            await client.send(close_frame())
            client.finish()
            await client.end(answer=False)
            client.close()
        await place.idle(1, within=1.0)
