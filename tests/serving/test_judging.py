"""In which order a request is judged, and its host, over every kind of listener."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock

from seawall import App, Forbidden, Gate, Limits, Request, Response, any_host, guard, public
from seawall.guards.guard import Anonymous
from seawall.http.hosts import LOOPBACK, UNRESTRICTED, HostCheck
from seawall.serving.listening import Address, Listen, host_checks
from seawall.testing import serve
from tests.kit.log import recorded
from tests.kit.memory import Peer
from tests.kit.sockets import Place, Transport, echo, echo_app, server_context, serving
from tests.kit.wire import KEY, request

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {KEY}",
)


@frozen(kw_only=True)
class Ask:
    """A request, with one fault after the other mended from the first to the last."""

    version: str = "HTTP/1.1"
    host: str = "chat.example"
    path: str = "/echo"
    method: str = "GET"
    key: str = KEY
    origin: str = "https://chat.example"
    subprotocol: str = "chat"

    def __bytes__(self) -> bytes:
        """As it is sent."""
        lines = (
            f"{self.method} {self.path} {self.version}",
            f"Host: {self.host}",
            *UPGRADE[:3],
            f"Sec-WebSocket-Key: {self.key}",
            f"Origin: {self.origin}",
            f"Sec-WebSocket-Protocol: {self.subprotocol}",
        )
        return "\r\n".join([*lines, "", ""]).encode()


FAULTS = [
    ("version", "HTTP/2.0", 505),
    ("host", "evil.example", 421),
    ("path", "/nowhere", 404),
    ("method", "POST", 405),
    ("key", "short", 400),
    ("origin", "https://evil.example", 403),
    ("subprotocol", "other", 400),
]


def judging_app(limits: Limits | None = None) -> App:
    """An app where everything can be wrong, and whose guard says no in the end."""
    app = App(hosts=["chat.example"], limits=limits)

    @guard
    async def forbids(gate: Gate, proved: Anonymous) -> Anonymous:
        raise Forbidden

    app.route("/echo", guard=forbids, subprotocols=["chat"])(echo)
    app.page("/page", "hello")
    return app


@pytest.mark.parametrize("first", range(len(FAULTS) + 1))
async def test_mended_00_the_order_of_judging(first: int, autojump_clock: MockClock) -> None:
    """Of several faults the first in the order is told: head, host, path, handshake, origin, subprotocol, guards."""
    ask = Ask(**{name: wrong for name, wrong, _ in FAULTS[first:]})
    async with serve(judging_app()) as served:
        peer = Peer(served.open_stream())
        await peer.say(bytes(ask))
        head = await peer.head()
    expected = FAULTS[first][2] if first < len(FAULTS) else 403
    assert head.startswith(f"HTTP/1.1 {expected} "), head


@pytest.mark.parametrize(
    "fields", ["Content-Length: 5", "Content-Length: 99999", "Transfer-Encoding: chunked", f"Origin: x\r\n{UPGRADE[0]}"]
)
@pytest.mark.parametrize("path", ["/form", "/page", "/echo", "/nowhere"])
async def test_mended_00_a_stranger_of_a_host_learns_no_paths(
    autojump_clock: MockClock, path: str, fields: str
) -> None:
    """With a body too, a request for a host that is not served is 421, wherever it goes."""
    app = judging_app()

    @app.page("/form", methods=["POST"])
    async def form(asked: Request[Anonymous]) -> Response:
        return Response("taken")

    async with serve(app) as served:
        peer = Peer(served.open_stream())
        await peer.say(f"POST {path} HTTP/1.1\r\nHost: evil.example\r\n{fields}\r\n\r\n".encode())
        assert (await peer.head()).startswith("HTTP/1.1 421 ")


async def test_mended_00_too_many_comes_before_all(autojump_clock: MockClock) -> None:
    """Whoever is one too many reads that, whatever else is wrong."""
    async with serve(judging_app(Limits(max_connections=1))) as served:
        served.open_stream()
        peer = Peer(served.open_stream())
        await peer.say(b"GET /nowhere HTTP/2.0\r\nHost: evil.example\r\n\r\n")
        assert (await peer.head()).startswith("HTTP/1.1 503 ")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("POST /nowhere HTTP/1.1", 404),
        ("HEAD /nowhere HTTP/1.1", 404),
        ("GET /page HTTP/1.1", 404),
        ("GET /nowhere HTTP/1.0", 404),
        ("GET /page HTTP/1.0", 200),
        ("POST /echo HTTP/1.0", 405),
        ("GET /echo HTTP/1.0", 426),
    ],
)
async def test_mended_00_upgrades_of_what_is_no_route(line: str, status: int, autojump_clock: MockClock) -> None:
    """404 comes before every fault of a handshake; in HTTP/1.0 a page is read all the same (RFC 9110, section 7.8)."""
    async with serve(judging_app()) as served:
        peer = Peer(served.open_stream())
        await peer.say("\r\n".join([line, "Host: chat.example", *UPGRADE, "", ""]).encode())
        head = await peer.head()
        assert head.startswith(f"HTTP/1.1 {status} "), head
        assert bool(await peer.rest()) == (not line.startswith("HEAD"))


# Hosts.


def plain(host: str, origin: str | None, path: str = "/echo") -> bytes:
    """An opening handshake that names this host, from a page of this origin."""
    extra = [] if origin is None else [f"Origin: {origin}".encode()]
    return request(path, *extra, host=host.encode())


async def status_of(place: Place, ask: bytes) -> int:
    """The status of the answer to this request."""
    client = await place.dial()
    await client.send(ask)
    answer = await client.response()
    client.close()
    return answer.status


CASES: list[tuple[str, str | None, int]] = [
    ("evil.example", "http://evil.example", 421),
    ("evil.example:{}", None, 421),
    ("localhost:{}", "http://localhost:{}", 101),
    ("app.localhost:{}", "http://app.localhost:{}", 101),
    ("127.0.0.1:{}", "http://127.0.0.1:{}", 101),
    ("127.0.0.1.evil.example", "http://127.0.0.1.evil.example", 421),
    ("localhost.:{}", "http://localhost.:{}", 101),
    ("localhost:{}", "http://evil.example", 403),
]


@pytest.mark.parametrize(("host", "origin", "status"), CASES)
async def test_mended_04_loopback_by_default(host: str, origin: str | None, status: int) -> None:
    """On 127.0.0.1 a name that a stranger has had resolved to it is 421, for a WebSocket and for a page."""
    app = echo_app()
    app.page("/page", "secret")
    async with serving(app) as place:
        host, origin = host.format(place.at.port), origin and origin.format(place.at.port)
        assert await status_of(place, plain(host, origin)) == status
        page = f"GET /page HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        assert await status_of(place, page) == (421 if status == 421 else 200)


@pytest.mark.parametrize("over", ["plain", "tls", "reader", "unix"])
@pytest.mark.parametrize("chosen", [None, "any", "chat"])
async def test_mended_04_over_every_kind_of_listener(over: Transport, chosen: str | None) -> None:
    """By default only TCP on loopback is restricted; what is chosen holds everywhere, and so does the waiver."""
    hosts = {None: None, "any": any_host, "chat": ["chat.example"]}[chosen]
    async with serving(echo_app(hosts=hosts), over) as place:
        found = [await status_of(place, plain(host, None)) for host in ("localhost", "chat.example", "evil.example")]
    if chosen == "chat":
        assert found == [421, 101, 421]
    elif chosen is None and over in {"plain", "tls"}:
        assert found == [101, 421, 421]
    else:
        assert found == [101, 101, 101]


async def test_mended_04_over_memory(autojump_clock: MockClock) -> None:
    """Memory streams have no rebinding; hosts that are chosen hold there as well, and a test's client can name one."""
    async with serve(echo_app()) as served, served.connect("/echo", host="evil.example"):
        pass
    async with serve(echo_app(hosts=["chat.example"])) as served:
        async with served.connect("/echo", host="chat.example:8443"):
            pass
        peer = Peer(served.open_stream())
        await peer.say(plain("evil.example", None))
        assert (await peer.head()).startswith("HTTP/1.1 421 ")
        assert await peer.rest() == b"this host is not served here\n"
        peer = Peer(served.open_stream())
        await peer.say(b"HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert (await peer.head()).startswith("HTTP/1.1 421 ")
        assert not await peer.rest()


async def test_mended_04_ipv6() -> None:
    """On ::1 too, where the same names are served."""
    async with serving(echo_app(), host="::1", port=0) as place:
        port = place.at.port

        async def ask(host: str, origin: str) -> bytes:
            async with await trio.open_tcp_stream("::1", port) as stream:
                await stream.send_all(plain(host, origin))
                return bytes(await stream.receive_some(12))

        assert await ask(f"[::1]:{port}", f"http://[::1]:{port}") == b"HTTP/1.1 101"
        assert await ask("evil.example", "http://evil.example") == b"HTTP/1.1 421"


async def test_mended_04_behind_a_proxy_and_on_all_addresses(tmp_path: Path) -> None:
    """A list holds wherever the app listens; without one, an address that others reach is not restricted."""
    listen: list[Listen] = [{"host": "127.0.0.1", "port": 0}, {"host": "0.0.0.0", "port": 0}, {"unix": tmp_path / "s"}]
    for where in listen:
        async with serving(echo_app(hosts=["chat.example"]), **where) as place:
            assert await status_of(place, plain("chat.example", "https://chat.example")) == 101
            assert await status_of(place, plain("other.example", "https://other.example")) == 421
    for where in listen[1:]:
        async with serving(echo_app(), **where) as place:
            assert await status_of(place, plain("other.example", "https://other.example")) == 101


async def test_mended_04_a_target_names_the_host() -> None:
    """A target in absolute-form replaces Host, whether there is one or not."""
    async with serving(echo_app()) as place:
        ask = plain("localhost", None)
        assert await status_of(place, ask.replace(b" /echo", b" ws://localhost/echo")) == 101
        assert await status_of(place, ask.replace(b" /echo", b" ws://evil.example/echo")) == 421
        assert await status_of(place, b"GET http://evil.example/ HTTP/1.0\r\n\r\n") == 421
        assert await status_of(place, b"GET http://localhost/ HTTP/1.0\r\n\r\n") == 404
        assert await status_of(place, b"GET / HTTP/1.0\r\n\r\n") == 404


async def test_mended_04_the_log_says_what_to_do() -> None:
    """The line of a 421 names the host and the list; a server that others reach says once that there is none."""
    with recorded() as records:
        async with serving(echo_app()) as place:
            await status_of(place, plain("evil.example", None))
    (line,) = [one for one in records.lines("connection") if "refused, 421" in one]
    assert "(Host 'evil.example' is none of hosts=['localhost', '*.localhost', '127.0.0.0/8', '[::1]']" in line
    assert "App(hosts=[...])" in line
    said = "hosts is not set"
    assert not any(said in one for one in records.lines("server"))
    for hosts, times in ((None, 1), (any_host, 0), (["localhost"], 0)):
        with recorded() as records:
            async with serving(echo_app(hosts=hosts), host="0.0.0.0", port=0) as place:
                for _ in range(3):
                    await status_of(place, plain("localhost", None))
        assert sum(said in one for one in records.lines("server")) == times


def test_mended_04_which_listener_is_restricted() -> None:
    """Loopback is, unless another TCP address can be reached; what has no port is not; what is chosen holds for all."""
    home, other = Address(host="127.0.0.1", port=1), Address(host="192.0.2.1", port=1)
    unix, memory = Address(host="/run/chat"), Address(host="memory")
    mapped = Address(host="::ffff:127.0.0.1", port=1)
    scoped = Address(host="fe80::1%lo", port=1)
    assert host_checks([home, unix, memory, mapped], None) == [LOOPBACK, UNRESTRICTED, UNRESTRICTED, LOOPBACK]
    assert host_checks([unix, memory], None) == [UNRESTRICTED] * 2
    for reached in (other, scoped, Address(host="::", port=1), Address(host="0.0.0.0", port=1)):
        assert host_checks([home, reached, unix], None) == [UNRESTRICTED] * 3
    chosen = HostCheck.parse(["a"])
    assert host_checks([home, other, unix], chosen) == [chosen] * 3


async def test_mended_05_tls_that_ends_here() -> None:
    """A page that came over plain HTTP is another origin, unless it is listed."""
    for origins, plain_page in ((None, 403), (["http://chat.example", "https://chat.example"], 101)):
        app = App(hosts=["chat.example"]) if origins is None else App(hosts=["chat.example"], origins=origins)
        app.route("/echo", guard=public)(echo)
        async with serving(app, "tls") as place:
            assert await status_of(place, plain("chat.example", "http://chat.example")) == plain_page
            assert await status_of(place, plain("chat.example", "https://chat.example")) == 101


async def test_mended_05_tls_by_ssl_context() -> None:
    """The same where the app itself opens the listener."""
    context: ssl.SSLContext = server_context()
    with recorded() as records:
        async with serving(echo_app(), port=0, ssl_context=context) as place:
            port = place.at.port
            assert await status_of(place, plain(f"localhost:{port}", f"http://localhost:{port}")) == 403
            assert await status_of(place, plain(f"localhost:{port}", f"https://localhost:{port}")) == 101
    (line,) = [one for one in records.lines("connection") if "refused, 403" in one]
    assert f"(origin 'http://localhost:{port}' is not that of Host 'localhost:{port}' over https; if a proxy" in line


async def test_mended_21_a_refused_origin_in_the_log() -> None:
    """A proxy that drops the port is the usual reason, and the line says so."""
    with recorded() as records:
        async with serving(echo_app()) as place:
            assert await status_of(place, plain("localhost", "http://localhost:8080")) == 403
    (line,) = [one for one in records.lines("connection") if "refused, 403" in one]
    assert "403 'origin not allowed'" in line
    assert "(origin 'http://localhost:8080' is not that of Host 'localhost'; behind a proxy pass Host with its" in line
    assert " /echo: " in line
