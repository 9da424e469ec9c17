"""How a request arrives, and how one that is refused is sent away: the whole answer, and the end of the connection."""

from __future__ import annotations

import socket
import struct
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, final

import pytest
import trio
import trio.testing
from attrs import frozen

from seawall import Anonymous, App, Forbidden, Gate, Limits, guard
from seawall.http.request import MAX_HEAD, BadRequest
from seawall.serving.listening import Listen
from seawall.serving.receiving import read_head
from seawall.testing import serve
from tests.kit.memory import Doorstep
from tests.kit.sockets import Place, client_context, echo, echo_app, server_context, serving, until
from tests.kit.wire import KEY, PATIENCE, PROMPT, RawClient, Response, request


@pytest.fixture(params=["tcp", "tls", "unix"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Listen:
    """Each kind of socket."""
    kind: object = request.param
    if kind == "unix":
        return {"unix": tmp_path / "socket"}
    return {"port": 0, "ssl_context": server_context()} if kind == "tls" else {"port": 0}


# Reading


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_a_head_in_pieces(size: int) -> None:
    """However the stream is cut, the head is whole, and nothing that came after it is lost."""
    near, far = trio.testing.memory_stream_pair()
    sent = request("/chat?a=b") + b"\x81\x00early"

    async def send() -> None:
        for at in range(0, len(sent), size):
            await near.send_all(sent[at : at + size])
            await trio.testing.wait_all_tasks_blocked()
        await near.send_eof()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            found = await read_head(far)
        assert found is not None
        head, early = found
        while data := await far.receive_some():
            early += data
    assert (head.target, dict(head.headers)["sec-websocket-key"]) == ("/chat?a=b", KEY)
    assert early == b"\x81\x00early"


async def test_a_peer_that_leaves_before_its_head_is_whole() -> None:
    """After any number of bytes, the end of the stream is the end of it, and no refusal."""
    whole = request()
    for size in range(len(whole)):
        near, far = trio.testing.memory_stream_pair()
        if size:
            await near.send_all(whole[:size])
        await near.send_eof()
        with trio.fail_after(PATIENCE):
            assert await read_head(far) is None, size


async def test_a_peer_that_resets_before_its_head_is_whole() -> None:
    """A reset is such an end as well, and so is a stream that we have closed ourselves."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with socket.create_connection(listener.getsockname()) as client:
            server = trio.SocketStream(trio.socket.from_stdlib_socket(listener.accept()[0]))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with trio.fail_after(PATIENCE):
        assert await read_head(server) is None
        await server.aclose()
        assert await read_head(server) is None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16", 400),
        (b"GET / HTTP/2.0\r\n", 505),
        (b"GET /" + b"a" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\r\nA: \x00", 400),
    ],
    ids=["TLS", "HTTP/2.0", "too long", "NUL"],
)
async def test_a_refusal_waits_for_nothing(data: bytes, status: int) -> None:
    """What cannot become a request is refused as soon as that shows, though its head never ends."""
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(data)
    with trio.fail_after(PATIENCE), pytest.raises(BadRequest) as caught:
        await read_head(far)
    assert caught.value.status == status


async def test_tls_and_the_head_share_one_deadline(autojump_clock: object) -> None:
    """Who takes half of the time for TLS has only the other half for the request; nobody gets twice as long."""
    app, listener = echo_app(limits=Limits(handshake_timeout=10)), Doorstep()
    server_end, client_end = trio.testing.memory_stream_pair()
    client = trio.SSLStream(client_end, client_context(), server_hostname="localhost", https_compatible=True)
    async with trio.open_nursery() as nursery:
        await app.start(nursery, listeners=[listener])
        began = trio.current_time()
        listener.arrive(trio.SSLStream(server_end, server_context(), server_side=True, https_compatible=True))
        await trio.sleep(6)
        await client.do_handshake()
        await trio.sleep(3.9)
        await client.send_all(b"GET / HTTP/1.1\r\n")  # still there
        try:
            assert not await client.receive_some()
        except trio.BrokenResourceError:
            pass  # the end without TLS's farewell
        assert trio.current_time() - began == pytest.approx(10, abs=0.01)
        nursery.cancel_scope.cancel()


# Sending away


@final
@frozen
class Refusal:
    """A request that is refused, and how."""

    ask: bytes
    status: int
    text: str
    extra: tuple[tuple[str, str], ...] = ()


UPGRADE_FIELDS: Final = (("upgrade", "websocket"), ("sec-websocket-version", "13"))

REFUSED: Final = {
    "400": Refusal(request(host=b"a b"), 400, "bad Host"),
    "400 for a body": Refusal(request("/echo", b"Content-Length: 9"), 400, "request with a body"),
    "400 for bytes": Refusal(b"\x00", 400, "not an HTTP request"),
    "400 for subprotocols": Refusal(request("/echo", b"Sec-WebSocket-Protocol: chat"), 400, "no subprotocol in common"),
    "403": Refusal(request("/echo", b"Origin: https://elsewhere.example"), 403, "origin not allowed"),
    "403 from a guard": Refusal(request("/forbidden"), 403, "forbidden"),
    "404": Refusal(request("/nowhere"), 404, "not found"),
    "404 for a page": Refusal(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404, "not found"),
    "405": Refusal(request().replace(b"GET", b"PUT"), 405, "only GET opens a WebSocket", (("allow", "GET"),)),
    "405 for a route": Refusal(b"PUT /echo HTTP/1.1\r\nHost: a\r\n\r\n", 405, "only GET", (("allow", "GET"),)),
    "405 for a page": Refusal(
        b"PUT /page HTTP/1.1\r\nHost: a\r\n\r\n", 405, "only GET and HEAD", (("allow", "GET, HEAD, OPTIONS"),)
    ),
    "426": Refusal(
        b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 426, "this is a WebSocket; upgrade to connect", UPGRADE_FIELDS
    ),
    "426 for HTTP/1.0": Refusal(
        request().replace(b"HTTP/1.1", b"HTTP/1.0"), 426, "a WebSocket needs HTTP/1.1", UPGRADE_FIELDS
    ),
    "426 for version 8": Refusal(
        request().replace(b"Version: 13", b"Version: 8"),
        426,
        "only WebSocket version 13 is spoken here",
        UPGRADE_FIELDS,
    ),
    "431": Refusal(request("/echo", b"Cookie: " + b"x" * MAX_HEAD), 431, "request head too large"),
    "431 for fields": Refusal(request("/echo", *[b"X: y"] * 100), 431, "too many header fields"),
    "505": Refusal(request().replace(b"HTTP/1.1", b"HTTP/2.0"), 505, "only HTTP/1.x is spoken here"),
}


def refusing_app(limits: Limits | None = None) -> App:
    """An app with a route, a page, and a guard that says no."""

    @guard
    async def forbids(gate: Gate, proved: Anonymous) -> Anonymous:
        raise Forbidden

    app = echo_app(limits=limits)
    app.route("/forbidden", guard=forbids)(echo)
    app.page("/page", "hello")
    return app


def check(answer: Response, expected: Refusal) -> None:
    """The answer has a text, its length, the end of the connection, what its status demands, and nothing else."""
    assert (answer.status, answer.body.decode()) == (expected.status, f"{expected.text}\n")
    assert parsedate_to_datetime(answer.header("date")).tzinfo is not None
    assert sorted(answer.headers) == sorted(
        [
            ("date", answer.header("date")),
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(expected.text) + 1)),
            ("connection", "close, Upgrade" if expected.status == 426 else "close"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            *expected.extra,
        ]
    )


async def dismissed(app: App, expected: Refusal, *early: bytes) -> float:
    """Ask, read the answer, stay, and see the server let go all the same; the seconds until the answer.

    Args:
      app: what to ask.
      expected: what to ask for, and the answer.
      early: more bytes, which nobody will read.
    """
    async with serve(app) as served:
        client = RawClient(served.open_stream())
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, client, expected.ask, *early)
            check(await client.response(), expected)
            answered = trio.current_time()
            assert not await client.stream.receive_some(1)
            await Place(served.server).idle(0, within=1.0)
            nursery.cancel_scope.cancel()
        return answered - began


async def say(client: RawClient, *pieces: bytes) -> None:
    """Send all of it, as far as that is possible."""
    try:
        await client.send(*pieces)
    except trio.BrokenResourceError:
        pass  # it is not read to its end


@pytest.mark.parametrize("expected", REFUSED.values(), ids=REFUSED)
async def test_a_refusal_from_outside(expected: Refusal, autojump_clock: object) -> None:
    """It is answered completely and at once, and its connection is over in time although the client never closes."""
    assert await dismissed(refusing_app(), expected) == 0


@pytest.mark.parametrize("expected", REFUSED.values(), ids=REFUSED)
async def test_a_refusal_of_more_than_is_read(expected: Refusal, autojump_clock: object) -> None:
    """Nor does it matter that the client was not done with sending."""
    assert await dismissed(refusing_app(), expected, bytes(1_000_000)) == 0


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"], ids=["nothing", "half a head"])
async def test_a_request_that_takes_too_long_gets_408(begun: bytes, autojump_clock: object) -> None:
    """Whether it has begun or not, as soon as its time is over."""
    late = Refusal(begun, 408, "request timed out")
    assert await dismissed(refusing_app(Limits(handshake_timeout=7)), late) == 7


@pytest.mark.parametrize("ask", [request(), b"", b"\x00"], ids=["a request", "nothing", "bytes"])
async def test_one_connection_too_many_gets_503(ask: bytes, autojump_clock: object) -> None:
    """Whatever it asks for, and whether it has asked yet or not."""
    surplus = Refusal(ask, 503, "too many connections", (("retry-after", "5"),))
    async with serve(refusing_app(Limits(max_connections=1))) as served:
        await RawClient(served.open_stream()).upgrade()
        client = RawClient(served.open_stream())
        await client.send(ask)
        check(await client.response(), surplus)
        assert not await client.stream.receive_some(1)
        await Place(served.server).idle(1, within=1.0)


async def test_who_comes_late_gets_503(where: Listen) -> None:
    """A server that drains says so to those who have not asked yet, and closes; over TLS it only closes."""
    async with serving(refusing_app(), **where) as place:
        client = await place.dial()
        await client.send(b"GET / HTTP/1.1\r\n")
        await until(lambda: place.sessions == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place.server.aclose)
            if not place.server.addresses[0].secure:
                check(await client.response(), Refusal(b"", 503, "going away", (("retry-after", "5"),)))
            assert await client.eof() < PROMPT


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (b"HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"HEAD /echo HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (request().replace(b"GET", b"HEAD"), 405),
    ],
    ids=["no page", "a route", "an upgrade"],
)
async def test_a_refusal_of_head_has_no_body(ask: bytes, status: int, autojump_clock: object) -> None:
    """No answer to HEAD has one (RFC 9110, section 9.3.2), whatever else the request asked for."""
    async with serve(refusing_app()) as served:
        client = RawClient(served.open_stream())
        await client.send(ask)
        answer = b""
        with trio.fail_after(PATIENCE):
            while data := await client.stream.receive_some():
                answer += data
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nContent-Length: " in answer
        assert answer.endswith(b"\r\n\r\n")
