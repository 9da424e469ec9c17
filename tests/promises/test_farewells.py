"""The end of a conversation: who says what last, and how long that may take."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio

from seawall import Anonymous, Connection, Disconnected, Gate, Limits, guard
from seawall.testing import serve
from tests.kit.log import Lines
from tests.kit.sockets import (
    EVERYWHERE,
    SHORT,
    Transport,
    busy,
    echo,
    echo_app,
    everywhere,
    pour,
    quick,
    slow,
    surviving,
    until,
)
from tests.kit.wire import BINARY, CLOSE, PING, PONG, PROMPT, SOON, TEXT, Frame, RawClient, close_frame, frame, request

pytestmark = pytest.mark.slow

CLOSED_1000: Final = Frame(CLOSE, struct.pack("!H", 1000))
CLOSED_4000: Final = Frame(CLOSE, struct.pack("!H", 4000))

AFTERWARDS: Final = {
    "nothing": b"",
    "a Ping": frame(PING, b"late"),
    "many Pings": frame(PING, b"late") * 500,
    "a Pong": frame(PONG, b"late"),
    "text": frame(TEXT, b"late") * 10,
    "a message in pieces": frame(TEXT, fin=False) + frame(PING) + frame(PONG),
    "many bytes": frame(BINARY, bytes(500_000)),
    "a Ping and text": frame(PING) + frame(TEXT, b"late") + frame(PING),
}


@pytest.mark.parametrize("late", AFTERWARDS.values(), ids=AFTERWARDS)
@pytest.mark.usefixtures("calm")
async def test_after_our_close_only_the_peers_close_counts(late: bytes, over: Transport) -> None:
    """What else a peer sends after our Close is ignored, and answered with nothing."""
    async with surviving(echo_app(quick=quick), over) as place:
        client = await place.open("/quick")
        assert await client.closed() == CLOSED_1000
        await client.send(late)
        await client.send(late, close_frame())
        assert await client.end() == []
        await place.idle(1, within=SOON)


@pytest.mark.usefixtures("calm")
async def test_after_the_peers_close_nothing_counts(over: Transport) -> None:
    """The answer to a Close is the same Close, and the end, whatever comes with it in the same segment."""

    async def close(path: str, late: bytes) -> None:
        client = await place.open(path)
        await client.send(close_frame(1001, b"bye"), late)
        (last,) = await client.end()
        assert (last.opcode, last.code) == (CLOSE, 1001)

    async with surviving(echo_app(busy=busy, limits=SHORT), over) as place, trio.open_nursery() as nursery:
        for late in (*AFTERWARDS.values(), close_frame(), b"\xff" * 1000):
            for path in ("/echo", "/busy"):
                nursery.start_soon(close, path, late)


@pytest.mark.usefixtures("calm")
async def test_a_ping_and_a_close_in_one_segment(over: Transport) -> None:
    """The Close is answered; the Ping may be, but only before it."""
    async with surviving(echo_app(), over) as place:
        client = await place.open()
        await client.send(frame(PING, b"one"), close_frame(4000))
        assert await client.end() in ([Frame(PONG, b"one"), CLOSED_4000], [CLOSED_4000])


@pytest.mark.parametrize("path", ["/echo", "/busy", "/slow", "/quick"])
@pytest.mark.usefixtures("calm")
async def test_a_close_right_after_the_handshake_is_answered(path: str, over: Transport) -> None:
    """Even when it comes in one segment with the request, whatever code it carries, or none."""
    app = echo_app(busy=busy, quick=quick, limits=SHORT)
    app.route("/slow", guard=slow)(echo)
    async with surviving(app, over) as place:
        ours = {1000} if path == "/quick" else set[int]()  # whichever of the two is first
        for code in (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999):
            client = await place.open(path, then=close_frame(code, b"because"))
            (last,) = await client.end()
            assert last.opcode == CLOSE
            assert last.code in {code, *ours}
        client = await place.open(path, then=frame(CLOSE))
        assert await client.end() in ([Frame(CLOSE, b"")], [CLOSED_1000])


@pytest.mark.parametrize("over", ["plain", "reader", "tls"])
@pytest.mark.usefixtures("calm")
async def test_a_client_that_says_all_at_once_and_goes_is_not_waited_for(over: Transport) -> None:
    """Request, Close and the end of its half of the connection in one segment: whatever it is told, it is at once."""
    async with surviving(echo_app(), over) as place:
        for _ in range(40):
            client = await place.dial()
            await client.send(request(), close_frame(4000))
            client.finish()
            assert await client.eof() < PROMPT


@pytest.mark.usefixtures("calm")
async def test_a_close_of_both_at_once_is_fine(over: Transport) -> None:
    """A handler that closes while its peer does: each side has said one Close, and that is the end."""

    async def close(conn: Connection[Anonymous]) -> None:
        await conn.receive()
        await conn.aclose(4000)

    async with surviving(echo_app(close=close), over) as place:
        for _ in range(20):
            client = await place.open("/close")
            await client.send(frame(TEXT, b"close, please"), close_frame(4001))
            assert (await client.dismissal()).code in {4000, 4001}


async def test_messages_before_an_early_close_are_delivered(over: Transport) -> None:
    """A client may say all that it has to say, and goodbye, in the segment of its request."""
    got: list[str | bytes] = []

    async def collect(conn: Connection[Anonymous]) -> None:
        got.extend([message async for message in conn])

    async with surviving(echo_app(collect=collect), over) as place:
        client = await place.open("/collect", then=frame(TEXT, b"one") + frame(TEXT, b"two") + close_frame())
        assert (await client.dismissal()).code == 1000
        await place.idle(1)
    assert got == ["one", "two"]


@pytest.mark.usefixtures("calm")
async def test_a_handler_that_returns_without_reading_is_heard(over: Transport) -> None:
    """The Close is not lost to a reset, though megabytes have not been read."""
    async with surviving(echo_app(quick=quick), over) as place:
        client = await place.dial()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, request("/quick"), frame(BINARY, bytes(1_000_000)) * 5, close_frame())
            assert (await client.response()).status == 101
            assert await client.end() == [CLOSED_1000]


async def test_a_return_is_1000_and_nothing_else_is(over: Transport, log: Lines) -> None:
    """A handler that returns gives 1000, and the log says so."""
    async with surviving(echo_app(quick=quick), over) as place:
        last = await (await place.open("/quick")).dismissal(answer=True)
        assert (last.code, last.reason) == (1000, "")
        await place.idle(1)
        assert "handler returned, 1000" in log()[-1]


@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.usefixtures("calm")
async def test_tls_is_closed_properly(polite: bool, log: Lines) -> None:
    """The Close frame is readable, then comes TLS's own farewell, which the client may answer or not."""
    async with surviving(echo_app(quick=quick), "tls", within=SOON) as place:
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
        await place.idle(1, within=SOON)
        assert "handler returned" in log()[-1]


# Who does not answer


def test_how_long_closing_may_take() -> None:
    """Five seconds, by default."""
    assert Limits().close_timeout == 5


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


@pytest.mark.usefixtures("calm")
@everywhere()
async def test_a_peer_that_does_not_answer_costs_the_close_timeout(over: Transport) -> None:
    """Whether it says nothing, or data and Pings for ever: no answer to a Close, on any kind of socket."""
    async with surviving(echo_app(quick=quick, limits=SHORT), over) as place, trio.open_nursery() as nursery:
        for said in (frame(BINARY, bytes(10_000)), frame(PING, b"?"), frame(TEXT, fin=False)):
            client = await place.open("/quick")
            nursery.start_soon(client.insist, said)
        await place.open("/quick")
        await place.idle(1, within=SHORT.close_timeout + SOON)


@pytest.mark.usefixtures("calm")
@everywhere(*EVERYWHERE)
async def test_closing_does_not_wait_behind_a_blocked_send(over: Transport) -> None:
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

    async with surviving(echo_app(limits=Limits(close_timeout=0.3, send_timeout=5), stuck=stuck), over) as place:
        await place.open("/stuck")
        await until(lambda: bool(ended))
        assert ended[0] < SOON  # which is less than `send_timeout`
        await place.idle(1, within=SOON)


@everywhere(*EVERYWHERE)
async def test_a_peer_that_closes_and_does_not_read_is_let_go(over: Transport) -> None:
    """Its Close cannot be answered behind all that it has not read, so it costs the close timeout."""
    async with surviving(echo_app(limits=Limits(close_timeout=0.3, wind_down=0.1), pour=pour), over) as place:
        client = await place.open("/pour")
        await trio.sleep(0.1)
        await client.send(close_frame())
        await place.idle(1, within=SOON)


@everywhere()
async def test_a_client_that_does_not_read_its_page_is_let_go(over: Transport) -> None:
    """Nor does a large answer over plain HTTP hold anything for longer than the close timeout."""
    app = echo_app(limits=SHORT)
    app.page("/big", bytes(32 * 1024 * 1024))
    async with surviving(app, over) as place:
        client = await place.dial()
        await client.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: place.sessions == 2)
        await place.idle(1, within=SHORT.close_timeout + SOON)


@everywhere()
async def test_a_resource_that_does_not_leave_is_cancelled(over: Transport) -> None:
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
    async with surviving(app, over) as place:
        assert (await (await place.open("/held")).dismissal(answer=True)).code == 1000
        await place.idle(1, within=SHORT.close_timeout + SOON)
