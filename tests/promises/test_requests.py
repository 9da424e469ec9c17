"""The request: what is refused, how that is told, and that nobody who was refused can stay."""

from __future__ import annotations

import base64
import hashlib
import logging
from functools import partial
from typing import Final

import pytest
import trio

from seawall import Anonymous, App, Forbidden, Gate, Limits, any_host, guard
from tests.kit.log import Lines
from tests.kit.sockets import EVERYWHERE, Place, Transport, echo_app, everywhere, quick, surviving, until
from tests.kit.wire import KEY, PROMPT, SOON, TEXT, Frame, RawClient, Response, frame, request
from tests.promises.requests import ACCEPTED, HOST, REFUSED, changed, lines

pytestmark = pytest.mark.slow


def refusing_app(limits: Limits | None = None) -> App:
    """An app with all the reasons to refuse."""

    @guard
    async def forbids(gate: Gate, proved: Anonymous) -> Anonymous:
        raise Forbidden

    app = echo_app(limits=limits)
    app.route("/forbidden", guard=forbids)(quick)
    app.page("/page", "hello")
    return app


@pytest.mark.parametrize(("ask", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_request_that_is_refused_is_answered_and_freed(ask: bytes, status: int, over: Transport) -> None:
    """Each gets its status in one readable answer, nothing after it is processed, and the connection is closed."""
    async with surviving(refusing_app(), over) as place:
        assert await place.rejected(ask) == status
        assert await place.rejected(ask, request(), frame(TEXT, b"pipelined")) == status
        await place.idle(1, within=SOON)


async def test_a_refusal_says_what_it_must() -> None:
    """A 426 says which version is spoken, and a 405 which methods are (RFC 6455, 4.4; RFC 9110, 15.5.6 and 15.5.22)."""

    async def refusal(ask: bytes) -> Response:
        client = await place.dial()
        await client.send(ask)
        return await client.last_response()

    async with surviving(refusing_app()) as place:
        for ask, status in REFUSED.values():
            answer = await refusal(ask)
            if status == 426:
                assert answer.header("sec-websocket-version") == "13"
                assert answer.header("upgrade") == "websocket"
                assert answer.header("connection") == "close, Upgrade"
            else:
                assert answer.header("connection") == "close"
        assert (await refusal(changed(b"GET", b"POST"))).header("allow") == "GET"
        assert (await refusal(lines(b"POST /page HTTP/1.1", HOST))).header("allow") == "GET, HEAD, OPTIONS"


async def test_a_page_is_read_with_get_and_head() -> None:
    """A HEAD is answered like the GET, but for the body."""
    async with surviving(refusing_app()) as place:
        for method, body in ((b"GET", b"hello"), (b"HEAD", b"")):
            client = await place.dial()
            await client.send(lines(method + b" /page HTTP/1.1", HOST))
            head = b""
            while data := await client.stream.receive_some(1000):
                head += data
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"\r\ncontent-length: 5\r\n" in head.lower()
            assert head.partition(b"\r\n\r\n")[2] == body
            client.close()


@pytest.mark.parametrize("ask", ACCEPTED.values(), ids=ACCEPTED)
@pytest.mark.usefixtures("calm")
async def test_an_odd_request_that_is_legal_is_accepted(ask: bytes, over: Transport) -> None:
    """Header bytes are data: none of them reaches a decoder that would choke on it, or leaks into the answer."""
    async with surviving(echo_app(hosts=any_host), over) as place:
        client = await place.dial()
        await client.send(ask, frame(TEXT, b"in"))
        answer = await client.response()
        assert answer.status == 101
        proof = hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        assert {name for name, _ in answer.headers} == {"upgrade", "connection", "sec-websocket-accept"}
        assert answer.header("sec-websocket-accept") == base64.b64encode(proof).decode()
        assert answer.header("upgrade").lower() == "websocket"
        assert answer.header("connection").lower() == "upgrade"
        assert await client.frame() == Frame(TEXT, b"in")


async def test_header_bytes_reach_no_log_unescaped(log: Lines, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that a client writes can forge a line, colour a terminal or turn text around."""
    poison = b"\x80\xe2\x80\xae\xc2\x9b31m%s{0}"
    async with surviving(refusing_app()) as place:
        for field in (b"Origin", b"User-Agent", b"Cookie", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions"):
            client = await place.dial()
            await client.send(request("/echo", field + b": " + poison))
            await client.response()
            client.close()
        await place.idle(1)
    assert len(log()) >= 5
    assert all(record.getMessage().isascii() for record in caplog.records if record.levelno >= logging.INFO)


# Who is refused cannot stay


async def _insist(place: Place, ask: bytes, status: int, *, reading: bool) -> None:
    """Be refused, and go on sending until the connection is gone."""
    client = await place.dial()
    await client.send(ask)
    if reading:
        assert (await client.response()).status == status
    told = trio.current_time()
    await client.insist(bytes(1000), every=0.05)
    assert trio.current_time() - told < PROMPT
    client.close()


@pytest.mark.usefixtures("calm")
@everywhere(*EVERYWHERE)
async def test_a_client_that_is_refused_cannot_stay(over: Transport) -> None:
    """All of them are gone within a second, though they stream data for ever, whether they read the answer or not."""
    async with surviving(refusing_app(), over) as place, trio.open_nursery() as nursery:
        for number, (ask, status) in enumerate(REFUSED.values()):
            if over == "plain" or number % 4 == 0:
                nursery.start_soon(partial(_insist, place, ask, status, reading=number % 2 == 0))
                await trio.sleep(0.01)  # a crowd that comes in one moment would measure itself


#: A refusal with each status, and by each that refuses.
ONE_OF_EACH: Final = (
    "a body",
    "a foreign origin",
    "a guard that says no",
    "no such path",
    "a POST",
    "no upgrade",
    "a head without end",
    "HTTP/2.0",
)


@pytest.mark.usefixtures("calm")
@everywhere(*EVERYWHERE)
async def test_a_refusal_is_not_lost_to_a_reset(over: Transport) -> None:
    """A client that looks for its answer late, when megabytes of its own have gone unread, still finds it whole."""

    async def late(ask: bytes, status: int) -> None:
        client = await place.dial()
        async with trio.open_nursery() as sending:
            sending.start_soon(_send_what_can_be_sent, client, ask + bytes(1_000_000))
            await trio.sleep(0.4)
            assert (await client.response()).status == status
            sending.cancel_scope.cancel()
        client.close()

    async with surviving(refusing_app(), over) as place, trio.open_nursery() as nursery:
        for name in ONE_OF_EACH:
            nursery.start_soon(late, *REFUSED[name])


async def _send_what_can_be_sent(client: RawClient, data: bytes) -> None:
    try:
        await client.send(data)
    except trio.BrokenResourceError:
        pass


# Time


def test_how_long_a_request_may_take() -> None:
    """Ten seconds, by default."""
    assert Limits().handshake_timeout == 10


@everywhere()
async def test_a_head_byte_by_byte_gets_the_handshake_timeout(over: Transport) -> None:
    """Who dawdles over the request is turned away when the time is over, although something keeps coming."""
    async with surviving(echo_app(limits=Limits(handshake_timeout=0.5)), over) as place:
        client = await place.dial()
        started = trio.current_time()
        await client.send(b"GET / HTTP/1.1\r\nX: ")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.insist, b"A")
            if over == "tls":  # nothing is said where there may be no TLS yet
                await client.eof()
            else:
                assert (await client.response()).status == 408
            assert 0.4 < trio.current_time() - started < 0.5 + SOON
            client.close()
            nursery.cancel_scope.cancel()


async def test_a_mute_client_on_a_tls_port_gets_the_handshake_timeout() -> None:
    """Who never begins with TLS, does not finish, or says nothing then, is not answered either."""
    async with surviving(echo_app(limits=Limits(handshake_timeout=0.4)), "tls") as place:
        mute, half, silent = await place.dial_plain(), await place.dial_plain(), await place.dial()
        await half.send(b"\x16\x03\x01\x02\x00\x01\x00")
        assert silent.tls is not None
        await silent.tls.do_handshake()
        await until(lambda: place.sessions == 4)
        await place.idle(1, within=0.4 + PROMPT)
        for client in (mute, half, silent):
            assert await client.eof() < SOON


@pytest.mark.parametrize("plaintext", [request(), b"\x00" * 1000, b"\x16\x03\x01" + b"\xff" * 1000, b"SSH-2.0-x\r\n"])
@pytest.mark.usefixtures("calm")
async def test_plaintext_on_a_tls_port_is_the_end_of_it(plaintext: bytes) -> None:
    """It is not answered in plain text, and freed at once."""
    async with surviving(echo_app(), "tls", within=SOON) as place:
        client = await place.dial_plain()
        await client.send(plaintext)
        assert await client.eof() < SOON
