"""`HttpsGet`: a small document, over HTTP and TLS on this machine, from servers that are well and from others."""

from __future__ import annotations

import socket
import ssl
import threading
import time

import pytest
import trio
import trustme

from seawall.http.https_get import MAX_HEAD, Answer, FetchFailed, HttpsGet, Url, https_get
from tests.kit.provider import Behaviour, answering, provided, response
from tests.kit.sockets import client_context
from tests.kit.wire import SOON

#: Trusts the servers of these tests, and asks those without TLS too.
get = HttpsGet(ssl_context=client_context(), insecure_http=True, timeout=SOON)

BOTH = pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])


@BOTH
async def test_a_document(*, tls: bool) -> None:
    """It is asked for once, plainly, and given as it is."""
    async with provided(tls=tls, behaviour=answering(response(b"a document"))) as provider:
        assert await get(f"{provider.url}?a=b") == b"a document"
        (head,) = provider.asked
    host = provider.url.split("/")[2]
    assert head.decode().split("\r\n") == [
        "GET /jwks?a=b HTTP/1.1",
        f"Host: {host}",
        "Accept: application/json",
        "Accept-Encoding: identity",
        "Connection: close",
        "User-Agent: seawall",
        "",
        "",
    ]


def chunked(*chunks: bytes) -> bytes:
    """The answer in pieces."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return response(headers=["Transfer-Encoding: chunked"], length=False) + body


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        response(b"doc"),
        response(b"doc", headers=["Content-Encoding: identity", "Content-Type: text/html"]),
        response(b"doc", length=False),
        chunked(b"d", b"o", b"c"),
        b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + response(b"doc"),
        response(b"doc").replace(b"HTTP/1.1", b"HTTP/1.0"),
        response(b"doc") + b"and more",
    ],
    ids=["length", "identity", "until the end", "chunks", "early hints", "HTTP/1.0", "more"],
)
async def test_the_ways_of_an_answer(answer: bytes, *, tls: bool) -> None:
    """All that HTTP/1.1 allows for a document that is not compressed."""
    async with provided(tls=tls, behaviour=answering(answer)) as provider:
        assert await get(provider.url) == b"doc"


@BOTH
@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (response(status="302 Found", headers=["Location: /other"]), "answers 302, not 200, and redirects are not fol"),
        (response(status="308 Permanent", headers=["Location: https://id.example/"]), "answers 308, not 200, and redi"),
        (response(status="404 Not Found"), "answers 404, not 200$"),
        (response(b"{}", status="203 Non-Authoritative"), "answers 203, not 200$"),
        (response(status="204 No Content", length=False), "answers 204, not 200$"),
        (response(b"\x1f\x8b", headers=["Content-Encoding: gzip"]), "sends it compressed"),
        (response(b"x", headers=["Content-Encoding: identity, br"]), "sends it compressed"),
        (response(b"x", headers=["Transfer-Encoding: gzip, chunked"], length=False), "what is no HTTP"),
        (response(length=False, headers=["Content-Length: 1073741824"]), "more than 65536 bytes"),
        (response(b"x" * 65_537), "more than 65536 bytes"),
        (response(b"x" * 70_000, length=False), "more than 65536 bytes"),
        (response(b"doc")[:-1], "what is no HTTP"),
        (response(b"doc", headers=["Content-Length: 4"]), "what is no HTTP"),
        (chunked(b"doc")[:-2], "what is no HTTP"),
        (b"", "what is no HTTP"),
        (b"\r\n" * 10, "what is no HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "what is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (MAX_HEAD + 1), "what is no HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "says again and again that it will answer"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "what is no HTTP"),
    ],
    ids=[
        *("302", "308", "404", "203", "204", "gzip", "brotli", "gzip on the way", "1 GiB said", "a byte too long"),
        *(
            "too long",
            "short",
            "two lengths",
            "chunks that stop",
            "nothing",
            "lines",
            "SSH",
            "head",
            "again",
            "upgrade",
        ),
    ],
)
async def test_what_is_no_document(answer: bytes, problem: str, *, tls: bool) -> None:
    """Each is refused with a reason, after one request."""
    async with provided(tls=tls, behaviour=answering(answer)) as provider:
        with pytest.raises(FetchFailed, match=problem):
            await get(provider.url)
        assert len(provider.asked) == 1


@BOTH
async def test_a_gibibyte(*, tls: bool) -> None:
    """However it comes, the answer is left after twice its bound, and nothing stays open."""
    for start, piece in (
        (response(length=False), b"x" * 65_536),
        (response(headers=["Transfer-Encoding: chunked"], length=False), b"1\r\nx\r\n" * 10_000),
        (response(headers=["Transfer-Encoding: chunked"], length=False), b"1;" + b"x" * 4096 + b"\r\nx\r\n"),
        (b"", b"HTTP/1.1 100 \r\n\r\n" * 1000),
        (b"", b"\r\n" * 1000),
    ):
        sent = 0

        async def flood(stream: trio.abc.Stream, start: bytes = start, piece: bytes = piece) -> None:
            nonlocal sent
            await stream.send_all(start)
            while sent < 2**30:
                await stream.send_all(piece)
                sent += len(piece)

        async with provided(tls=tls, behaviour=flood) as provider:
            with pytest.raises(FetchFailed, match=r"more than 65536 bytes|again and again|no HTTP"):
                await get(provider.url)
            await provider.wait_until(lambda provider: not provider.open)
        assert sent < 2**24


async def drip(stream: trio.abc.Stream) -> None:
    """Send an answer, a byte every now and then."""
    for byte in response(b"x" * 1000):
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.05)


async def silence(stream: trio.abc.Stream) -> None:
    """Read on, and say nothing."""
    while await stream.receive_some(1024):
        pass


@BOTH
@pytest.mark.slow
@pytest.mark.parametrize("behaviour", [drip, silence])
async def test_the_time_is_that_of_all_of_it(behaviour: Behaviour, *, tls: bool) -> None:
    """A server that drips gets no more time than one that is silent, and holds no thread."""
    threads = set(threading.enumerate())
    async with provided(tls=tls, behaviour=behaviour) as provider:
        before = time.monotonic()
        with pytest.raises(FetchFailed, match=r"no answer of 127\.0\.0\.1:\d+ within 0\.5 s"):
            await HttpsGet(ssl_context=client_context(), insecure_http=True, timeout=0.5)(provider.url)
        assert 0.5 <= time.monotonic() - before < SOON
        assert set(threading.enumerate()) <= threads


@pytest.mark.slow
async def test_a_server_that_never_shakes_hands() -> None:
    """TLS counts too: here is a server that accepts and says nothing."""
    async with provided() as provider:
        with pytest.raises(FetchFailed, match=r"within 0\.2 s"):
            await HttpsGet(timeout=0.2)(provider.url.replace("http:", "https:"))


@BOTH
async def test_who_asks_can_be_cancelled(*, tls: bool) -> None:
    """The connection ends at once."""
    async with provided(tls=tls, behaviour=silence) as provider:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, provider.url)
            await provider.wait_until(lambda provider: bool(provider.asked))
            nursery.cancel_scope.cancel()
        await provider.wait_until(lambda provider: not provider.open)


async def test_a_certificate_that_is_not_good() -> None:
    """One that the system does not trust, or for another name, is no server at all."""
    async with provided(tls=True) as provider:
        with pytest.raises(FetchFailed, match=r"127\.0\.0\.1:\d+ cannot be reached: SSLCertVerificationError"):
            await https_get(provider.url)
        stranger = ssl.create_default_context()
        trustme.CA().configure_trust(stranger)  # pyright: ignore[reportUnknownMemberType] # pyOpenSSL's
        with pytest.raises(FetchFailed, match="SSLCertVerificationError"):
            await HttpsGet(ssl_context=stranger)(provider.url)
        assert provider.asked == []


async def test_a_server_that_is_not_there() -> None:
    """The text names the reason, not only that all attempts have failed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(FetchFailed, match=r"^127\.0\.0\.1:\d+ cannot be reached: ConnectionRefusedError: "):
            await get(f"http://127.0.0.1:{free.getsockname()[1]}/")


async def test_a_reset() -> None:
    """A server that breaks off has not answered."""

    async def reset(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SocketStream)
        await stream.send_all(response(b"doc")[:-1])
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async with provided(behaviour=reset) as provider:
        with pytest.raises(FetchFailed, match=r"cannot be reached: ConnectionResetError|what is no HTTP"):
            await get(provider.url)


async def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a program may be another's: what it says is not looked at."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    async with provided(tls=True, behaviour=answering(response(b"doc"))) as provider:
        assert await get(provider.url) == b"doc"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://id.example", Url(True, "id.example", 443, "/")),
        ("HTTPS://ID.example:443/a%20b?c=d&e", Url(True, "ID.example", 443, "/a%20b?c=d&e")),
        ("https://[::1]:8443/~x", Url(True, "::1", 8443, "/~x")),
        ("http://key_server:80/", Url(False, "key_server", 80, "/")),
    ],
)
def test_urls(text: str, url: Url) -> None:
    """What can be asked for is taken apart."""
    assert Url.parse(text, insecure_http=True) == url


def test_the_authority_of_a_url() -> None:
    """It is as short as it can be."""
    found = [
        Url.parse(text, insecure_http=True).authority
        for text in ("https://a:443/", "https://a:80/", "http://a:80/", "https://[::1]/", "https://[::1]:8443/")
    ]
    assert found == ["a", "a:80", "a", "[::1]", "[::1]:8443"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "id.example", "//id.example/", "https:/id.example", "https://", "https:///path", "https://a b/"),
        *("https://user@a/", "https://user:secret@a/", "https://a/#f", "https://a?b", "https://a:/", "https://a:0/"),
        *("https://a:65536/", "https://a/\n", "https://a/é", "https://é/", "https://[::1", "https://a/ b", "file:///a"),
        "https://a/\r\nX: y",
    ],
)
def test_what_is_no_url(text: str) -> None:
    """It is refused, and not repeated."""
    with pytest.raises(FetchFailed, match=r"^the URL ") as caught:
        Url.parse(text, insecure_http=True)
    assert "secret" not in str(caught.value)


def test_http_is_to_be_asked_for() -> None:
    """Without TLS, anybody on the way may answer."""
    with pytest.raises(FetchFailed, match="the URL is not https"):
        Url.parse("http://127.0.0.1/", insecure_http=False)


def test_an_answer_byte_by_byte() -> None:
    """How it is cut does not matter."""
    answer = Answer(Url(True, "id.example", 443, "/"), 10)
    *before, last = (answer.receive_data(bytes([byte])) for byte in response(b"0123456789"))
    assert (set(before), last) == ({None}, b"0123456789")
