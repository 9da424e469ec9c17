"""HTTP/1.0 and 1.2, OPTIONS, and other odd heads that are legal, as load balancers and proxies send them."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from seawall.testing import Serving, serve
from tests.http.test_request import head_of, outcome, read
from tests.kit.memory import Peer
from tests.kit.sockets import echo_app
from tests.kit.wire import KEY, request

UPGRADE = f"Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Version: 13|Sec-WebSocket-Key: {KEY}"


async def answer(served: Serving, text: str) -> tuple[str, bytes]:
    """The head and the body of the answer to a request, in whose text ``|`` stands for the end of a line."""
    peer = Peer(served.open_stream())
    await peer.say(text.replace("|", "\r\n").encode())
    head = await peer.head()
    return head, b"" if " 101 " in head else await peer.rest()


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        ("GET /healthz HTTP/1.0||", 200, b"well"),
        ("GET /healthz HTTP/1.0|Host: x||", 200, b"well"),
        ("HEAD /healthz HTTP/1.0||", 200, b""),
        ("GET /healthz HTTP/1.1|Host: x||", 200, b"well"),
        ("GET /healthz HTTP/1.2|Host: x||", 200, b"well"),
        ("GET /healthz HTTP/1.9|Host: x||", 200, b"well"),
        ("OPTIONS /healthz HTTP/1.0||", 200, b""),
        ("OPTIONS /healthz HTTP/1.1|Host: x||", 200, b""),
        ("OPTIONS /healthz HTTP/1.1|Host: x|Content-Length: 0||", 200, b""),
        ("OPTIONS /nowhere HTTP/1.0||", 404, b"not found\n"),
        ("OPTIONS /echo HTTP/1.0||", 405, b"only GET\n"),
        ("POST /healthz HTTP/1.0||", 405, b"only GET and HEAD\n"),
        (f"GET /echo HTTP/1.0|{UPGRADE}||", 426, b"a WebSocket needs HTTP/1.1\n"),
        (f"GET /echo HTTP/1.0|Host: x|{UPGRADE}||", 426, b"a WebSocket needs HTTP/1.1\n"),
        ("GET /echo HTTP/1.0||", 426, b"this is a WebSocket; upgrade to connect\n"),
        (f"GET /echo HTTP/1.2|Host: x|{UPGRADE}||", 101, b""),
        (f"GET /echo HTTP/1.2|{UPGRADE}||", 400, b"malformed request head\n"),
        ("GET /healthz HTTP/1.1||", 400, b"malformed request head\n"),
        ("GET /healthz HTTP/1.2||", 400, b"malformed request head\n"),
        ("GET /healthz HTTP/1.0|Host: x|Host: y||", 400, b"malformed request head\n"),
        ("GET /healthz HTTP/1.2|Host: x|Host: y||", 400, b"malformed request head\n"),
        ("GET /healthz HTTP/1.0|Host:||", 400, b"bad Host\n"),
        ("GET /healthz HTTP/1.0|Content-Length: 1||x", 400, b"request with a body\n"),
        ("GET /healthz HTTP/1.0|Transfer-Encoding: chunked||", 400, b"request with a body\n"),
        ("GET /healthz HTTP/2.0|Host: x||", 505, b"only HTTP/1.x is spoken here\n"),
        ("GET /healthz HTTP/0.9||", 505, b"only HTTP/1.x is spoken here\n"),
        ("GET /healthz HTTP/3.0||", 505, b"only HTTP/1.x is spoken here\n"),
    ],
)
async def test_mended_14_versions_and_options(text: str, status: int, body: bytes, autojump_clock: MockClock) -> None:
    """A page is served to any HTTP/1.x, a WebSocket to 1.1 and above; OPTIONS of a page says that it is there."""
    app = echo_app()
    app.page("/healthz", "well")
    async with serve(app) as served:
        head, rest = await answer(served, text)
    assert head.startswith(f"HTTP/1.1 {status} "), head
    assert rest == body
    assert ("\r\nConnection: close" in head) == (status != 101)
    if text.startswith("OPTIONS /healthz"):
        assert "\r\nAllow: GET, HEAD, OPTIONS\r\n" in head
        assert "\r\nContent-Length: 0\r\n" in head


@pytest.mark.parametrize(
    "text",
    [
        f"|GET /echo HTTP/1.1|Host: x|{UPGRADE}||",
        f"GET ws://x/echo HTTP/1.1|Host: x|{UPGRADE}||",
        f"GET wss://x/echo HTTP/1.1|Host: x|{UPGRADE}||",
        f"GET WS://x/echo HTTP/1.1|Host: x|{UPGRADE}||",
        f"|GET http://x/echo HTTP/1.2|Host: x|{UPGRADE}||",
        f"GET /echo HTTP/1.1|Host: x|{UPGRADE}||".replace(KEY, "AQIDBAUGBwgJCgsMDQ4PEC=="),
        f"GET /echo HTTP/1.1|Host: x|{UPGRADE}||".replace(KEY, "//////////////////////=="),
    ],
)
async def test_mended_15_odd_and_legal(text: str, autojump_clock: MockClock) -> None:
    """An empty line before the request, a target with the scheme of WebSockets, and any key of 16 bytes."""
    async with serve(echo_app()) as served:
        head, _ = await answer(served, text)
    assert head.startswith("HTTP/1.1 101 "), head


@pytest.mark.parametrize(
    "key", ["AQIDBAUGBwgJCgsMDQ4P==", "AQIDBAUGBwgJCgsMDQ4PECA=", "AQIDBAUGBwgJCgsMDQ4PEC=", "AQIDBAUGBwgJCgsMDQ4PE==="]
)
async def test_mended_15_keys_of_another_length(key: str, autojump_clock: MockClock) -> None:
    """Anything but 22 letters and two signs is another number of bytes, or no base64."""
    async with serve(echo_app()) as served:
        head, body = await answer(served, f"GET /echo HTTP/1.1|Host: x|{UPGRADE}||".replace(KEY, key))
    assert head.startswith("HTTP/1.1 400 "), head
    assert body == b"not exactly one valid Sec-WebSocket-Key\n"


def test_mended_15_one_empty_line() -> None:
    """One may come before a request, however it is cut; not two, no other line end, and nothing else."""
    good = request()
    expected = (read(good), b"early")
    for pieces in (
        [b"\r\n" + good + b"early"],
        [b"\r", b"\n", good, b"early"],
        [b"\r", b"\n" + good[:1], good[1:] + b"early"],
        [b"\r\n", good + b"early"],
        [b"", b"\r", b"", b"\n", good, b"early"],
    ):
        assert outcome(pieces) == expected
    for bad in (b"\r\n\r\n", b"\n", b"\rG", b"\r\r\n", b" \r\n", b"\r\n "):
        assert outcome([bad + good]) == (400, "not an HTTP request")
        assert outcome(bytes([byte]) for byte in bad + good) == (400, "not an HTTP request")
    assert outcome([b"\r"]) is None
    assert outcome([b"\r\n"]) is None


def test_mended_14_what_a_head_knows() -> None:
    """Its version, and its host: as it was sent, by the target, or none."""
    one = read(b"GET / HTTP/1.0\r\n\r\n")
    assert (one.version, one.host, one.headers) == ("1.0", "", ())
    two = read(b"GET http://a.example:80/b HTTP/1.0\r\nX: y\r\n\r\n")
    assert (two.host, two.path, two.headers) == ("a.example:80", "/b", (("host", "a.example:80"), ("x", "y")))
    three = read(head_of(line=b"GET ws://[::1]:1?q HTTP/1.7"))
    assert (three.version, three.host, three.target) == ("1.7", "[::1]:1", "/?q")
    assert read(head_of(host=b"A.example:")).host == "A.example:"
