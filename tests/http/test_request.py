"""Request heads, case by case."""

from __future__ import annotations

import string
import time
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seawall.http.request import MAX_FIELDS, MAX_HEAD, BadRequest, Head, HeadReader

Outcome = tuple[Head, bytes] | tuple[int, str] | None


def head_of(*fields: bytes, line: bytes = b"GET /chat?room=1 HTTP/1.1", host: bytes | None = b"example.com") -> bytes:
    """A request head with these fields."""
    hosts = [] if host is None else [b"Host: " + host]
    return b"\r\n".join([line, *hosts, *fields, b"", b""])


def outcome(pieces: Iterable[bytes]) -> Outcome:
    """What a fresh reader makes of the pieces: a head and what came after it, a refusal, or nothing yet."""
    reader, rest = HeadReader(), iter(pieces)
    try:
        for piece in rest:
            head = reader.receive_data(piece)
            if head is not None:
                return head, reader.rest + b"".join(rest)
    except BadRequest as refusal:
        return refusal.status, refusal.reason
    return None


def octets(data: bytes) -> Iterator[bytes]:
    """The bytes one by one."""
    return (data[index : index + 1] for index in range(len(data)))


def read(data: bytes) -> Head:
    """The head that these bytes are."""
    head = HeadReader().receive_data(data)
    assert head is not None
    return head


def test_a_head() -> None:
    """A head is split into its parts: names in lower case, values without the white space around them."""
    data = head_of(b"X-One:  a b\t", b"x-ONE:", b"Caf\x65: \xe9\xff \xa0")
    head = read(data + b"\x81\x00\r\n\r\n")
    assert (head.method, head.target, head.path, head.query) == ("GET", "/chat?room=1", "/chat", "room=1")
    expected = (("host", "example.com"), ("x-one", "a b"), ("x-one", ""), ("cafe", "\xe9\xff \xa0"))
    assert head.headers == expected
    assert outcome([data, b"not ", b"its"]) == (read(data), b"not its")
    assert outcome([data + b"\x81\x00\r\n\r\n"]) == (head, b"\x81\x00\r\n\r\n")


def test_a_head_keeps_secrets() -> None:
    """Neither the query nor the headers are in the repr."""
    text = repr(read(head_of(b"Cookie: secret", line=b"GET /a?token=secret HTTP/1.1")))
    assert "secret" not in text
    assert "'/a'" in text


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"//", "//", ""),
        (b"/a?", "/a", ""),
        (b"/a?b?c", "/a", "b?c"),
        (b"/%00%2f..;x=|~", "/%00%2f..;x=|~", ""),
    ],
)
def test_targets(target: bytes, path: str, query: str) -> None:
    """A target in origin-form is split at the first question mark and otherwise left alone."""
    head = read(head_of(line=b"GET " + target + b" HTTP/1.1"))
    assert (head.target, head.path, head.query) == (target.decode(), path, query)


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        (b"http://example.com/chat?room=1", "/chat?room=1", "example.com"),
        (b"HTTPS://Other.example:8443//chat", "//chat", "Other.example:8443"),
        (b"http://a", "/", "a"),
        (b"http://a?b/c?d", "/?b/c?d", "a"),
        (b"http://[::1]:/", "/", "[::1]:"),
    ],
)
def test_targets_in_absolute_form(url: bytes, target: str, host: str) -> None:
    """They are split like others; the host that they name counts, whatever ``Host`` says (RFC 9112, section 3.2.2)."""
    head = read(head_of(line=b"GET " + url + b" HTTP/1.1"))
    assert (head.target, head.path, head.headers) == (target, target.partition("?")[0], (("host", host),))


@pytest.mark.parametrize(
    "host",
    [
        *(b"localhost", b"example.com.", b"a_b-c.example:0", b"127.0.0.1:65535", b"xn--bcher-kva.example"),
        *(b"[::1]", b"[::1]:8080", b"[2001:DB8::ffff:192.0.2.1]:443", b"A:00080", b"a:"),
    ],
)
def test_hosts(host: bytes) -> None:
    """Names, IPv4 and IPv6 addresses are hosts, with a port or without."""
    assert read(head_of(host=host)).headers == (("host", host.decode()),)


FORBIDDEN = "forbidden bytes in the request head"
LINE = b"GET / HTTP/1.1\r\n"

# The bytes up to and with the one that shows the fault: before the last of them nothing is wrong yet.
EARLY: list[tuple[str, bytes, int, str]] = [
    ("TLS", b"\x16", 400, "not an HTTP request"),
    ("two empty lines first", b"\r\n\r", 400, "not an HTTP request"),
    ("lower case", b"g", 400, "not an HTTP request"),
    ("binary", b"\xff", 400, "not an HTTP request"),
    ("space first", b" ", 400, "not an HTTP request"),
    ("NUL in the target", b"GET /\x00", 400, FORBIDDEN),
    ("TAB in the request line", b"GET\t", 400, FORBIDDEN),
    ("8-bit target", b"GET /\xe9", 400, FORBIDDEN),
    ("DEL in the target", b"GET /\x7f", 400, FORBIDDEN),
    ("bare LF after the request line", b"GET / HTTP/1.1\n", 400, FORBIDDEN),
    ("bare CR in the request line", b"GET /\rx", 400, FORBIDDEN),
    ("two CR", b"GET / HTTP/1.1\r\r", 400, FORBIDDEN),
    ("no target", b"GET  HTTP/1.1\r\n", 400, "malformed request line"),
    ("no version", b"GET /\r\n", 400, "malformed request line"),
    ("two spaces", b"GET  / HTTP/1.1\r\n", 400, "malformed request line"),
    ("space at the end", b"GET / HTTP/1.1 \r\n", 400, "malformed request line"),
    ("space in the target", b"GET /a b HTTP/1.1\r\n", 400, "malformed request line"),
    ("bad method", b"G(T / HTTP/1.1\r\n", 400, "malformed request line"),
    ("bad version", b"GET / HTTP/1.10\r\n", 400, "malformed request line"),
    ("lower-case version", b"GET / http/1.1\r\n", 400, "malformed request line"),
    ("HTTP/0.9", b"GET / HTTP/0.9\r\n", 505, "only HTTP/1.x is spoken here"),
    ("HTTP/2.0", b"PRI * HTTP/2.0\r\n", 505, "only HTTP/1.x is spoken here"),
    ("HTTP/3.1", b"GET / HTTP/3.1\r\n", 505, "only HTTP/1.x is spoken here"),
    ("another scheme", b"GET ftp://example.com/ HTTP/1.1\r\n", 400, "request target neither a path nor a URL"),
    ("authority-form", b"CONNECT example.com:443 HTTP/1.1\r\n", 400, "request target neither a path nor a URL"),
    ("asterisk-form", b"OPTIONS * HTTP/1.1\r\n", 400, "request target neither a path nor a URL"),
    ("relative target", b"GET chat HTTP/1.1\r\n", 400, "request target neither a path nor a URL"),
    ("fragment", b"GET /chat#top HTTP/1.1\r\n", 400, "request target neither a path nor a URL"),
    ("bare LF between fields", LINE + b"A: b\n", 400, FORBIDDEN),
    ("bare LF at the end", LINE + b"A: b\r\n\n", 400, FORBIDDEN),
    ("bare CR in a value", LINE + b"A: b\rc", 400, FORBIDDEN),
    ("bare CR at the end", LINE + b"A: b\r\n\rX", 400, FORBIDDEN),
    ("NUL in a value", LINE + b"A: \x00", 400, FORBIDDEN),
    ("escape in a value", LINE + b"A: \x1b", 400, FORBIDDEN),
    ("DEL in a name", LINE + b"A\x7f", 400, FORBIDDEN),
    ("folding", LINE + b"A: b\r\n ", 400, FORBIDDEN),
    ("folding with a TAB", LINE + b"A: b\r\n\t", 400, FORBIDDEN),
    ("folding of the request line", LINE + b" ", 400, FORBIDDEN),
    ("too long", b"GET /" + b"a" * (MAX_HEAD - 4), 431, "request head too large"),
    ("too long, in fields", LINE + b"A: " + b"a" * (MAX_HEAD - 18), 431, "request head too large"),
    ("too long by its end", LINE + b"A: " + b"a" * (MAX_HEAD - 22) + b"\r\n\r\n", 431, "request head too large"),
]  # fmt: skip

# Faults that show when the head is complete.
LATE: list[tuple[str, bytes, int, str]] = [
    ("no fields", head_of(host=None), 400, "malformed request head"),
    ("no Host", head_of(b"A: b", host=None), 400, "malformed request head"),
    ("two Hosts", head_of(b"Host: example.com"), 400, "malformed request head"),
    ("space before the colon", head_of(b"A : b"), 400, "malformed request head"),
    ("space in a name", head_of(b"A B: c"), 400, "malformed request head"),
    ("8-bit name", head_of(b"\xe9: c"), 400, "malformed request head"),
    ("no name", head_of(b": c"), 400, "malformed request head"),
    ("no colon", head_of(b"A"), 400, "malformed request head"),
    *((f"Host {host!r}", head_of(host=host), 400, "bad Host") for host in (
        b"", b"a b", b"a,b", b"user@example.com", b"http://a", b"a/", b":", b":80", b"a:b", b"a:65536", b"a:999999",
        b"a:-1", b"a:80:80", b"\xe9", b"a%41", b"::1", b"[]", b"[::1", b"[::1]80", b"[1::2::3]", b"[127.0.0.1]",
        b"[fe80::1%25eth0]", b"[v1.x]", b"a:\xb2",
    )),
    *((f"target {url!r}", head_of(line=b"GET " + url + b" HTTP/1.1"), 400, "bad Host") for url in (
        b"http://user:pass@example.com/", b"http://", b"http:///", b"https://?a", b"http://a:99999/", b"http://a,b/",
    )),
    ("absolute-form without Host", head_of(line=b"GET http://a/ HTTP/1.1", host=None), 400, "malformed request head"),
    ("absolute-form with a bad Host", head_of(line=b"GET http://a/ HTTP/1.1", host=b"a b"), 400, "bad Host"),
    ("an encoded body", head_of(b"transfer-encoding: gzip"), 400, "malformed request head"),
    ("identity", head_of(b"Transfer-Encoding: identity"), 400, "malformed request head"),
    ("both", head_of(b"Content-Length: 0", b"Transfer-Encoding: chunked"), 400, "request with a body"),
    ("two equal lengths", head_of(b"Content-Length: 0", b"content-LENGTH: 0"), 400, "bad Content-Length"),
    ("two lengths in one", head_of(b"Content-Length: 0, 0"), 400, "bad Content-Length"),
    ("no length", head_of(b"Content-Length:"), 400, "malformed request head"),
    ("two lengths", head_of(b"Content-Length: 0", b"Content-Length: 5"), 400, "malformed request head"),
    ("signed length", head_of(b"Content-Length: +0"), 400, "malformed request head"),
    ("negative length", head_of(b"Content-Length: -1"), 400, "malformed request head"),
    ("superscript length", head_of(b"Content-Length: \xb2"), 400, "malformed request head"),
    ("huge length", head_of(b"Content-Length: " + b"9" * 5000), 400, "malformed request head"),
    ("too many fields", head_of(*[b"A: b"] * MAX_FIELDS), 431, "too many header fields"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "length", "is_chunked"),
    [
        (b"Content-Length: 0", 0, False),
        (b"Content-Length: 000", 0, False),
        (b"Content-Length: 5", 5, False),
        (b"Content-Length: \t0005 ", 5, False),
        (b"Content-Length: 65537", 65_537, False),
        (b"Content-Length: " + b"9" * 20, 10**18, False),
        (b"Transfer-Encoding: chunked", 0, True),
    ],
)
def test_a_body_is_announced(field: bytes, length: int, is_chunked: bool) -> None:
    """The head says how long the body is, or that nobody knows; whoever knows the path decides about it."""
    got = outcome([head_of(field)])
    assert isinstance(got, tuple)
    head = got[0]
    assert isinstance(head, Head)
    assert (head.content_length, head.is_chunked) == (length, is_chunked)
    assert head.has_body == (length > 0 or is_chunked)


@pytest.mark.parametrize(
    ("data", "status", "reason"), [case[1:] for case in EARLY + LATE], ids=[case[0] for case in EARLY + LATE]
)
def test_refusals(data: bytes, status: int, reason: str) -> None:
    """Each fault is refused with its status, at the very byte that shows it, whatever follows it."""
    assert outcome(octets(data)) == (status, reason)
    assert outcome(octets(data[:-1])) is None
    assert outcome([data]) == (status, reason)
    assert outcome([data + b"\x00 rest\r\n\r\n"]) == (status, reason)


TOKEN = set(f"!#$%&'*+-.^_`|~{string.digits}{string.ascii_letters}".encode())  # RFC 9110, section 5.6.2
VISIBLE = set(range(0x21, 0x7F))
IN_VALUES = {*VISIBLE, *b" \t", *range(0x80, 0x100)}  # RFC 9110, section 5.5

ALPHANUMERIC = set(f"{string.digits}{string.ascii_letters}".encode())

PLACES: dict[str, tuple[bytes, set[int]]] = {
    "first byte": (b"%cET / HTTP/1.1\r\nHost: a\r\n\r\n", set(string.ascii_uppercase.encode())),
    "method": (b"G%cT / HTTP/1.1\r\nHost: a\r\n\r\n", TOKEN),
    "first byte of the target": (b"GET %ca HTTP/1.1\r\nHost: a\r\n\r\n", {*b"/"}),
    "path": (b"GET /%c HTTP/1.1\r\nHost: a\r\n\r\n", VISIBLE - {*b"#"}),
    "query": (b"GET /?%c HTTP/1.1\r\nHost: a\r\n\r\n", VISIBLE - {*b"#"}),
    "after the target": (b"GET /%cHTTP/1.1\r\nHost: a\r\n\r\n", {*b" "}),
    "after the request line": (b"GET / HTTP/1.1%c\r\nHost: a\r\n\r\n", set()),
    "first byte of a name": (b"GET / HTTP/1.1\r\nHost: a\r\n%c: b\r\n\r\n", TOKEN),
    "name": (b"GET / HTTP/1.1\r\nHost: a\r\nX%c: b\r\n\r\n", TOKEN | {*b":"}),  # X with the value ": b"
    "value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: b%cc\r\n\r\n", IN_VALUES),
    "end of a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: b%c\r\n\r\n", IN_VALUES),
    "host": (b"GET / HTTP/1.1\r\nHost: a%cb\r\n\r\n", ALPHANUMERIC | {*b"._~-"}),
    "port": (b"GET / HTTP/1.1\r\nHost: a:%c\r\n\r\n", {*string.digits.encode(), *b" \t"}),  # white space ends a value
}


@pytest.mark.parametrize(("template", "allowed"), PLACES.values(), ids=PLACES)
def test_every_byte(template: bytes, allowed: set[int]) -> None:
    """In each place of a head exactly the bytes that belong there pass; any other is a 400."""
    passed: set[int] = set()
    for byte in range(256):
        found = outcome([template % byte])
        assert found is not None, byte
        if isinstance(found[0], Head):
            passed.add(byte)
        else:
            assert found[0] == 400, byte
    assert passed == allowed


def test_every_version() -> None:
    """HTTP/1 is spoken, and every other major version that there could be is told so."""
    for version in range(100):
        found = outcome([head_of(line=f"GET / HTTP/{version // 10}.{version % 10}".encode())])
        assert found is not None
        assert isinstance(found[0], Head) if version // 10 == 1 else found[0] == 505, version


def test_the_numbers() -> None:
    """The limits are those that are documented; a head may take 16 KiB and 100 fields, and not one more."""
    assert (MAX_HEAD, MAX_FIELDS) == (16_384, 100)


@pytest.mark.parametrize(
    "data",
    [
        head_of(b"Content-Length: 0"),
        head_of(b"Content-Length: 000"),
        head_of(*[b"A: b"] * (MAX_FIELDS - 1)),
        head_of(b"A: " + b"a" * (MAX_HEAD - len(head_of(b"A: ")))),
        head_of(line=b"M-SEARCH / HTTP/1.1"),
        head_of(b"Expect: 100-continue"),
    ],
    ids=["length 0", "length 000", "most fields", "largest", "another method", "expectation"],
)
def test_heads_at_the_limits(data: bytes) -> None:
    """What is just within the limits is read, whole or byte by byte, and so is what was sent early behind it."""
    expected = (read(data), b"\n\x00early")
    assert outcome([data + expected[1]]) == expected
    assert outcome(octets(data + expected[1])) == expected


def test_nothing_yet() -> None:
    """Without bytes, and without an end, there is neither a head nor a refusal."""
    assert outcome([]) is None
    assert outcome([b""]) is None
    assert outcome([head_of()[:-1]]) is None


def test_time_is_linear() -> None:
    """The largest head, byte by byte, costs microseconds a byte, not milliseconds."""
    data = b"GET /" + b"a" * (MAX_HEAD - 5)
    began = time.thread_time()
    assert outcome(octets(data)) is None
    assert time.thread_time() - began < 2


pieces = st.one_of(
    st.sampled_from([b"GET ", b"/ ", b"HTTP/1.1\r\n", b"Host: a\r\n", b"A: b\r\n", b"\r\n", b"\r", b"\n", b" ", b":"]),
    st.sampled_from([LINE, LINE + b"Host: a\r\n", b"Content-Length: ", b"Host: ", b"\xe9", b"\x00", b"0"]),
    st.binary(max_size=6),
)  # fmt: skip


@given(st.lists(pieces, max_size=12).map(b"".join), st.integers(1, 7))
@example(LINE + b"Host: a\r\n\r\n" + b"x" * 20, 3)
def test_cuts_do_not_matter(data: bytes, size: int) -> None:
    """Any bytes, cut anywhere, make one and the same head, refusal, or neither."""
    whole = outcome([data])
    assert outcome(octets(data)) == whole
    assert outcome(data[at : at + size] for at in range(0, len(data), size)) == whole
