"""Pages, and the answers to every other request that is no upgrade, byte by byte."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import h11
import pytest
import trio
from attrs import frozen

from seawall.app import App
from seawall.connection.connection import Connection
from seawall.errors import ConfigurationError
from seawall.guards.guard import Anonymous, public
from seawall.guards.origins import any_origin
from seawall.testing import Serving, connect, serve

BODY = "<!doctype html><title>Grüße</title>"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {KEY}",
)


@frozen
class Response:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@asynccontextmanager
async def pages() -> AsyncGenerator[Serving]:
    """An app with a page at / and /both, and a route at /ws, /both and /rooms/{room}."""
    app = App(origins=any_origin)
    app.page("/", BODY)
    app.page("/both", b"\x00\xff", media_type="application/octet-stream")
    app.page("/empty", "", media_type="text/plain")
    app.page("/caf%C3%A9", "coffee")

    async def echo(conn: Connection[Anonymous], room: str = "none") -> None:
        await conn.send(room)

    for path in ("/ws", "/both", "/rooms/{room}"):
        app.route(path, guard=public)(echo)
    async with serve(app) as serving:
        yield serving


async def ask(serving: Serving, method: str, target: str, *fields: str, host: str = "seawall.test") -> Response:
    """Send one request and read one answer, to the end of the connection; h11 says whether it is good HTTP."""
    client = h11.Connection(h11.CLIENT)
    request = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""])
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    async with serving.open_stream() as stream:
        await stream.send_all(request.encode("latin-1"))
        while data := await stream.receive_some():
            client.receive_data(bytes(data))
        client.receive_data(b"")
    answer = client.next_event()
    assert isinstance(answer, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert client.their_state is h11.MUST_CLOSE
    assert client.trailing_data == (b"", True)
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.status_code, headers, body)


async def test_a_page() -> None:
    """A page is served with its type and its length, and the connection is closed."""
    async with pages() as serving:
        answer = await ask(serving, "GET", "/")
    assert answer.status == 200
    assert answer.body == BODY.encode()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-length"] == str(len(BODY.encode()))
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_head_is_get_without_the_body() -> None:
    """HEAD has the same headers (RFC 9110, section 9.3.2)."""
    async with pages() as serving:
        whole = await ask(serving, "GET", "/")
        head = await ask(serving, "HEAD", "/")
    of_whole, of_head = ({**answer.headers, "date": ""} for answer in (whole, head))  # a second may have passed
    assert (head.status, of_head, head.body) == (whole.status, of_whole, b"")


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/?a=b", 200, BODY.encode()),
        ("/both", 200, b"\x00\xff"),
        ("/empty", 200, b""),
        ("/caf%C3%A9", 200, b"coffee"),
        ("/both/", 404, b"not found\n"),
        ("//", 404, b"not found\n"),
        ("/./", 404, b"not found\n"),
        ("/%2F", 404, b"not found\n"),
        ("/nothing", 404, b"not found\n"),
        ("/%00", 404, b"not found\n"),
        ("/ws", 426, b"this is a WebSocket; upgrade to connect\n"),
        ("/rooms/lobby", 426, b"this is a WebSocket; upgrade to connect\n"),
        ("/rooms/%ff", 404, b"not found\n"),
    ],
)
async def test_what_get_gets(target: str, status: int, body: bytes) -> None:
    """The page at exactly this path; 426 where there is only a WebSocket, 404 where there is nothing."""
    async with pages() as serving:
        answer = await ask(serving, "GET", target)
    assert (answer.status, answer.body) == (status, body)
    if status == 426:
        assert answer.headers["upgrade"] == "websocket"
        assert answer.headers["connection"] == "close, Upgrade"
        assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "X-MINE"])
@pytest.mark.parametrize(
    ("target", "status", "allow"),
    [
        ("/", 405, "GET, HEAD, OPTIONS"),
        ("/both", 405, "GET, HEAD, OPTIONS"),
        ("/ws", 405, "GET"),
        ("/nothing", 404, None),
    ],
)
async def test_other_methods(method: str, target: str, status: int, allow: str | None) -> None:
    """405 names the methods that there are (RFC 9110, section 15.5.6); where there is nothing it is 404."""
    async with pages() as serving:
        answer = await ask(serving, method, target, "Content-Length: 0")
    assert (answer.status, answer.headers.get("allow")) == (status, allow)


async def test_head_of_what_is_no_page() -> None:
    """HEAD of a WebSocket is another method there, and no body follows either answer."""
    async with pages() as serving:
        route = await ask(serving, "HEAD", "/ws")
        nothing = await ask(serving, "HEAD", "/nothing")
    assert (route.status, route.headers["allow"], route.body) == (405, "GET", b"")
    assert (nothing.status, nothing.body) == (404, b"")


async def test_a_page_and_a_route_at_one_path() -> None:
    """A request that asks for an upgrade gets the WebSocket, any other one the page."""
    async with pages() as serving:
        assert (await ask(serving, "GET", "/both")).body == b"\x00\xff"
        async with serving.connect("/both") as client:
            assert await client.receive() == "none"


@pytest.mark.parametrize(
    ("method", "target", "fields", "status", "body"),
    [
        ("POST", "/ws", UPGRADE, 405, b"only GET opens a WebSocket\n"),
        ("POST", "/nothing", UPGRADE, 404, b"not found\n"),
        ("GET", "/nothing", UPGRADE, 404, b"not found\n"),
        ("GET", "/", UPGRADE, 404, b"not found\n"),
        ("GET", "/ws", UPGRADE[1:], 400, b"Connection does not list upgrade\n"),
        ("GET", "/ws", UPGRADE[:3], 400, b"not exactly one valid Sec-WebSocket-Key\n"),
        ("GET", "/ws", (*UPGRADE[:2], "Sec-WebSocket-Version: 8", UPGRADE[3]), 426, None),
        ("GET", "/ws", ("Connection: Upgrade", "Upgrade: h2c"), 426, b"this is a WebSocket; upgrade to connect\n"),
        ("GET", "/", ("Connection: Upgrade", "Upgrade: h2c"), 200, BODY.encode()),
    ],
)
async def test_upgrades_that_are_none(
    method: str, target: str, fields: tuple[str, ...], status: int, body: bytes | None
) -> None:
    """Each half-hearted upgrade has its answer; one to another protocol is an ordinary request."""
    async with pages() as serving:
        answer = await ask(serving, method, target, *fields)
    assert answer.status == status
    assert body is None or answer.body == body


async def test_a_page_has_no_origin_check() -> None:
    """A page may be linked to from anywhere; only what opens a WebSocket is held against the origins."""
    app = App(origins=[])
    app.page("/", BODY)
    async with serve(app) as serving:
        answer = await ask(serving, "GET", "/", "Origin: https://evil.example")
    assert answer.status == 200


async def test_one_answer_per_connection() -> None:
    """What is pipelined behind a request is not read: there is one answer, and the connection is closed."""
    async with pages() as serving, serving.open_stream() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        received = b""
        while data := await stream.receive_some():
            received += bytes(data)
    assert received.count(b"HTTP/1.1 200") == 1


async def test_a_request_with_a_body() -> None:
    """A body is refused before anybody would read it."""
    async with pages() as serving:
        answer = await ask(serving, "POST", "/", "Content-Length: 5")
    assert answer.status == 400


async def test_a_request_in_pieces(autojump_clock: trio.abc.Clock) -> None:
    """However slowly it comes, as long as it comes within `handshake_timeout`; then 408."""
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    async with pages() as serving:
        for pause, status in ((0.3, b"200"), (0.5, b"408")):
            received = b""
            async with serving.open_stream() as stream, trio.open_nursery() as nursery:
                nursery.start_soon(slowly, stream, request, pause)
                while data := await stream.receive_some():
                    received += bytes(data)
                nursery.cancel_scope.cancel()
            assert received.startswith(b"HTTP/1.1 " + status)


async def slowly(stream: trio.abc.Stream, data: bytes, pause: float) -> None:
    """Send byte by byte."""
    for index in range(len(data)):
        try:
            await stream.send_all(data[index : index + 1])
        except trio.BrokenResourceError:
            return
        await trio.sleep(pause)


@pytest.mark.parametrize(
    "path", ["", "page", "/a b", "/a?b", "/a#b", "/{name}", "/ä", "/a\r\nX: y", "/a\x00"], ids=repr
)
def test_a_path_that_no_request_has(path: str) -> None:
    """A page's path is exact; one that could never be asked for is a mistake."""
    with pytest.raises(ConfigurationError, match=r"page\(.*give the exact path as it is sent, such as '/about'"):
        App().page(path, "")


def test_a_page_twice() -> None:
    """Two pages at one path are a mistake."""
    app = App()
    app.page("/", "a")
    with pytest.raises(ConfigurationError, match=r"page\('/'\): there is a page at this path already; remove one"):
        app.page("/", "b")


@pytest.mark.parametrize("media_type", ["text/html\r\nX: y", "text/höml", "\x00", "", " ", "text/html\n"], ids=repr)
def test_a_media_type_that_cannot_be_sent(media_type: str) -> None:
    """It would fail when somebody asks for the page; it fails here instead."""
    with pytest.raises(ConfigurationError, match=r"media_type .* cannot be sent; use text/html"):
        App().page("/", "", media_type=media_type)


def test_a_body_that_cannot_be_sent() -> None:
    """A surrogate cannot be encoded."""
    with pytest.raises(ConfigurationError, match=r"page\('/'\): the body cannot be encoded"):
        App().page("/", "\ud800")


async def test_the_page_of_one_app_is_not_the_others() -> None:
    """Each app has its own pages."""
    app = App()
    app.page("/", BODY)
    async with serve(App()) as serving:
        assert (await ask(serving, "GET", "/")).status == 404
    async with serve(app) as serving:
        assert (await ask(serving, "GET", "/")).status == 200


async def test_a_client_that_only_knows_websockets() -> None:
    """A WebSocket client that comes to a page is refused like at any path without a route."""
    app = App()
    app.page("/", BODY)
    with pytest.raises(Exception, match="404"):
        async with connect(app, "/"):
            pass
