"""Requests that are refused, and odd ones that are not.

The clauses are those of RFC 6455, section 4.2.1, and of RFC 9112 where a request could be understood in two ways.
"""

from __future__ import annotations

import base64
from typing import Final

from tests.kit.wire import KEY, request


def lines(*wanted: bytes) -> bytes:
    """A request of these lines."""
    return b"\r\n".join([*wanted, b"", b""])


def changed(old: bytes, new: bytes) -> bytes:
    """The good request with one thing changed."""
    assert old in request()
    return request().replace(old, new, 1)


def padded(size: int) -> bytes:
    """A good request whose head has `size` bytes."""
    return request("/echo", b"X: " + b"x" * (size - len(request("/echo", b"X: "))))


def with_fields(count: int) -> bytes:
    """A good request with `count` header fields."""
    return request("/echo", *[b"X-%d: y" % number for number in range(count - request().count(b"\r\n") + 2)])


HOST: Final = b"Host: localhost"
VERSION: Final = b"Sec-WebSocket-Version: 13"
KEY_LINE: Final = b"Sec-WebSocket-Key: " + KEY.encode()
TARGET: Final = b"/echo"

MALFORMED: Final = {
    "bytes that are no request": b"\x00\xff\x00\xff\r\n\r\n",
    "a TLS hello": bytes.fromhex("160301020001"),
    "two empty lines first": b"\r\n\r\n" + request(),
    "line feeds alone": request().replace(b"\r\n", b"\n"),
    "an empty target": changed(b" /echo ", b"  "),
    "no target": changed(b" /echo ", b" "),
    "a space in the target": changed(TARGET, b"/ec ho"),
    "a NUL in the target": changed(TARGET, b"/ec\0ho"),
    "a byte in the target": changed(TARGET, b"/\xe9"),
    "an escape in the target": changed(TARGET, b"/\x1b[31m"),
    "an absolute target without a host": changed(TARGET, b"http:///echo"),
    "userinfo in the target": changed(TARGET, b"http://user:secret@localhost/echo"),
    "an authority for a target": changed(TARGET, b"localhost:80"),
    "a target that is a star": changed(TARGET, b"*"),
    "a fragment in the target": changed(TARGET, b"/echo#there"),
    "a tab in the request line": changed(b"GET ", b"GET\t"),
    "a method of bytes": changed(b"GET", b"G\xe9T"),
    "a bare CR in a field": changed(HOST, HOST + b"\r\nX: a\rb"),
    "a bare LF in a field": changed(HOST, HOST + b"\r\nX: a\nb"),
    "a NUL in a field": changed(HOST, HOST + b"\r\nX: a\0b"),
    "an escape in a field": changed(HOST, HOST + b"\r\nX: \x1b[2J"),
    "a folded field": changed(HOST, HOST + b"\r\nX: a\r\n b"),
    "a field without a colon": changed(HOST, HOST + b"\r\nX"),
    "a field without a name": changed(HOST, HOST + b"\r\n: x"),
    "a space before the colon": changed(HOST, b"Host : localhost"),
    "a field name of bytes": changed(HOST, HOST + b"\r\n\xe9: x"),
    "no host": changed(HOST + b"\r\n", b""),
    "an empty host": changed(HOST, b"Host:"),
    "two hosts": request("/echo", HOST),
    "two hosts in one": changed(HOST, b"Host: localhost, localhost"),
    "userinfo in the host": changed(HOST, b"Host: user@localhost"),
    "a path in the host": changed(HOST, b"Host: localhost/echo"),
    "a host of one byte": changed(HOST, b"Host: \xff"),
    "a host that is no name": changed(HOST, b"Host: xn--\xff\xfe.example"),
    "a port that is no number": changed(HOST, b"Host: localhost:http"),
    "a port that is none": changed(HOST, b"Host: localhost:65536"),
    "an address that is none": changed(HOST, b"Host: [::g]"),
    "an address without its bracket": changed(HOST, b"Host: [::1"),
    "no connection header": changed(b"Connection: Upgrade\r\n", b""),
    "a connection header without upgrade": changed(b"Connection: Upgrade", b"Connection: keep-alive, upgraded"),
    "a connection header of one byte": changed(b"Connection: Upgrade", b"Connection: \xe9"),
    "no key": changed(KEY_LINE + b"\r\n", b""),
    "an empty key": changed(KEY.encode(), b""),
    "a key of 15 bytes": changed(KEY.encode(), base64.b64encode(bytes(15))),
    "a key of 17 bytes": changed(KEY.encode(), base64.b64encode(bytes(17))),
    "a key that is no base64": changed(KEY.encode(), b"!" * 22 + b"=="),
    "two keys": request("/echo", KEY_LINE),
    "two keys in one": changed(KEY_LINE, KEY_LINE + b", " + KEY.encode()),
    "a subprotocol of one byte": request("/echo", b"Sec-WebSocket-Protocol: \xff"),
    "a subprotocol twice": request("/echo", b"Sec-WebSocket-Protocol: a, b, a"),
    "a subprotocol that is no token": request("/echo", b"Sec-WebSocket-Protocol: a b"),
    "no subprotocol at all": request("/echo", b"Sec-WebSocket-Protocol:"),
    "only subprotocols that are not spoken": request(
        "/echo", b"Sec-WebSocket-Protocol: a", b"Sec-WebSocket-Protocol: b, c"
    ),
    "two origins": request("/echo", b"Origin: http://localhost", b"Origin: http://localhost"),
    "a body": request("/echo", b"Content-Length: 5") + b"hello",
    "a body that is not there": request("/echo", b"Content-Length: 5"),
    "a body of a length that is none": request("/echo", b"Content-Length: -1"),
    "bodies of two lengths": request("/echo", b"Content-Length: 0", b"Content-Length: 5"),
    "a body in chunks": request("/echo", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "a body in no chunks": request("/echo", b"Transfer-Encoding: identity"),
}

REFUSED: Final = {
    **{name: (ask, 400) for name, ask in MALFORMED.items()},
    "no such path": (request("/nowhere"), 404),
    "a guard that says no": (request("/forbidden"), 403),
    "a foreign origin": (request("/echo", b"Origin: https://elsewhere.example"), 403),
    "an origin of bytes": (request("/echo", b"Origin: \xff\xfe"), 403),
    "an origin that is nobody": (request("/echo", b"Origin: null"), 403),
    "a POST": (changed(b"GET", b"POST"), 405),
    "a HEAD": (lines(b"POST /page HTTP/1.1", HOST), 405),
    "a method in lower case": (changed(b"GET", b"Get"), 405),
    "no upgrade": (lines(b"GET /echo HTTP/1.1", HOST), 426),
    "an upgrade to something else": (changed(b"websocket", b"h2c"), 426),
    "an upgrade to something longer": (changed(b"websocket", b"websockets"), 426),
    "no version": (changed(VERSION + b"\r\n", b""), 426),
    "version 8": (changed(VERSION, b"Sec-WebSocket-Version: 8"), 426),
    "version 013": (changed(VERSION, b"Sec-WebSocket-Version: 013"), 426),
    "two versions": (request("/echo", VERSION), 426),
    "two versions in one": (changed(VERSION, b"Sec-WebSocket-Version: 13, 8"), 426),
    "one byte too many": (padded(16 * 1024 + 1), 431),
    "a head without end": (request("/echo", b"Cookie: " + b"x" * 20_000)[:-4], 431),
    "one field too many": (with_fields(101), 431),
    "HTTP/1.0": (changed(b"HTTP/1.1", b"HTTP/1.0"), 426),
    "HTTP/2.0": (changed(b"HTTP/1.1", b"HTTP/2.0"), 505),
    "HTTP/2 in cleartext": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
}

ACCEPTED: Final = {
    "an empty line first": b"\r\n" + request(),
    "an absolute target of a WebSocket": changed(TARGET, b"ws://localhost/echo"),
    "an absolute target of a WebSocket over TLS": changed(TARGET, b"WSS://localhost/echo"),
    "HTTP/1.2": changed(b"HTTP/1.1", b"HTTP/1.2"),
    "an absolute target": changed(TARGET, b"http://localhost/echo"),
    "no port after the colon": request(host=b"localhost:"),
    "16 KiB": padded(16 * 1024),
    "100 fields": with_fields(100),
    "no body": request("/echo", b"Content-Length: 0"),
    "upgrade in other words": changed(b"Connection: Upgrade", b"connection:upgrade,\xe9"),
    "upgrade on its second line": changed(b"Connection: Upgrade", b"Connection: keep-alive\r\nConnection: x, upgrade"),
    "a list with nothing in it": changed(b"Connection: Upgrade", b"Connection: ,, ,Upgrade,"),
    "another protocol too": changed(b"Upgrade: websocket", b"Upgrade: h2c\r\nUpgrade: WebSocket"),
    "a host that only looks odd": request(host=b"xn--a.example"),
    "a host in Chinese": request(host=b"xn--0zwm56d.example:80"),
    "an address": request(host=b"[::1]:8765"),
    "no such extension": request("/echo", b"Sec-WebSocket-Extensions: \xff"),
    "an extension of bytes": request("/echo", b"Sec-WebSocket-Extensions: permessage-deflate; x=\x80"),
    "a browser of bytes": request("/echo", b"User-Agent: \xff\xfe\t\x80"),
    "cookies of bytes": request("/echo", b"Cookie: \xff=\xfe; =; ;;;"),
    "all that is above ASCII": request("/echo", b"X: " + bytes(range(0x80, 0x100))),
    "a query of anything": changed(TARGET, b"/echo?%ff%00%0d%0a=#".rstrip(b"#")),
}
