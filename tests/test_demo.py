"""The demo as a process, with clients that are not ours: websockets, aiohttp, and http.client for the page."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Iterator

import aiohttp
import jwt
import pytest
from attrs import frozen
from websockets.exceptions import InvalidStatus

from seawall.demo.apps import Surroundings, echo_app, secure_app
from seawall.demo.origins import own_hosts
from seawall.demo.page import document
from seawall.demo.scenes import sources
from seawall.demo.serving import Settings, origin_of
from seawall.demo.tokens import AUDIENCE, GARBAGE, ISSUER, Issuer
from seawall.errors import TokenExpired, Unauthorized
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.testing import connect
from tests.kit.processes import PATIENCE, Demo, demo, ending, opened
from tests.kit.tokens import verified


@pytest.fixture(scope="module")
def running() -> Iterator[Demo]:
    """A demo for all the tests of this file that do not stop it."""
    with demo("--session-seconds", "1") as started:
        yield started


@frozen
class Tokens:
    """What the page gets from ``/tokens``."""

    valid: str
    expired: str
    garbage: str
    now: float
    secure_port: int
    scenes_port: int
    session_seconds: float


def fresh_tokens(running: Demo) -> Tokens:
    """Ask for tokens as the page does."""
    with opened(f"{running.echo}tokens", origin=running.origin) as client:
        (message,), code, _ = ending(client)
    assert code == 1000
    return Tokens(**json.loads(message))


# The echo.


def test_echoes_text_and_bytes(running: Demo) -> None:
    """Text comes back with a word before it, bytes as they are."""
    with opened(running.echo) as client:
        client.send("wave")
        assert client.recv(PATIENCE) == "Server received: wave"
        client.send(b"\x00\xff")
        assert client.recv(PATIENCE) == b"\x00\xff"


def test_echoes_to_aiohttp(running: Demo) -> None:
    """The aiohttp client, whose close is answered with its own code, gets the same."""

    async def talk() -> tuple[str, int | None]:
        async with aiohttp.ClientSession() as session, session.ws_connect(running.echo) as client:
            await client.send_str("wave")
            answer = await client.receive_str(timeout=PATIENCE)
            await client.close(code=4001)
            return answer, client.close_code

    assert asyncio.run(talk()) == ("Server received: wave", 4001)


# The session.


def test_a_valid_token_opens_a_session(running: Demo) -> None:
    """The token that was printed is answered, and the session echoes until the client leaves."""
    with opened(running.secure) as client:
        client.send(running.valid_token)
        assert client.recv(PATIENCE) == "Authenticated!"
        client.send("inside")
        assert client.recv(PATIENCE) == "Server received: inside"
        client.close()
        assert client.close_code == 1000


def test_an_expired_token_is_refused(running: Demo) -> None:
    """The expired token that was printed gets a message, then 3000, and both say the same."""
    with opened(running.secure) as client:
        client.send(running.expired_token)
        assert ending(client) == (["Token Expired"], 3000, "Token Expired")


def foreign_token() -> str:
    """A token that is right in all but its signature."""
    return Issuer().issue(60)


@pytest.mark.parametrize(
    "token",
    [GARBAGE, "", "a.b.c.d", "\N{WATER WAVE}", b"bytes", foreign_token()],
    ids=["garbage", "empty", "too many parts", "not ASCII", "binary", "another secret"],
)
def test_any_other_token_is_refused(running: Demo, token: str | bytes) -> None:
    """Whatever is no token of this demo gets the same message and 3000."""
    with opened(running.secure) as client:
        client.send(token)
        assert ending(client) == (["Invalid Token"], 3000, "Invalid Token")


def test_refuses_aiohttp_in_the_same_way(running: Demo) -> None:
    """The aiohttp client reads the message, then the close code."""

    async def talk() -> tuple[str, aiohttp.WSMsgType, int | None]:
        async with aiohttp.ClientSession() as session, session.ws_connect(running.secure) as client:
            await client.send_str(running.expired_token)
            answer = await client.receive_str(timeout=PATIENCE)
            last = await client.receive(timeout=PATIENCE)
            return answer, last.type, client.close_code

    assert asyncio.run(talk()) == ("Token Expired", aiohttp.WSMsgType.CLOSE, 3000)


def test_the_session_ends_with_its_token(running: Demo) -> None:
    """The tokens for the page live as long as was asked for, and close their session with 3000 when they end."""
    for _ in range(5):
        tokens = fresh_tokens(running)
        assert tokens.session_seconds == 1
        assert tokens.secure_port == running.secure_port
        expires_at = jwt.decode_complete(tokens.valid, options={"verify_signature": False})["payload"]["exp"]
        assert 1 <= expires_at - tokens.now < 2
        with opened(running.secure, origin=running.origin) as client:
            client.send(tokens.valid)
            answers, code, reason = ending(client)
        late = time.time() - expires_at
        assert (code, reason) == (3000, "Token Expired")
        if answers == ["Authenticated!"] and 0 <= late < 2:
            return
        assert late > 1, (answers, late)  # the machine did something else for so long
    pytest.fail("it never ends in time")


def test_the_other_tokens_for_the_page(running: Demo) -> None:
    """The page also gets a token that has expired, and one that is none."""
    tokens = fresh_tokens(running)
    for token, answer in ((tokens.expired, "Token Expired"), (tokens.garbage, "Invalid Token")):
        with opened(running.secure) as client:
            client.send(token)
            assert ending(client) == ([answer], 3000, answer)


# Who may connect.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("path", ["echo", "tokens", "secure"])
def test_the_page_may_connect(running: Demo, host: str, path: str) -> None:
    """A browser is let in under both names of this machine, at every route."""
    url = {"echo": running.echo, "tokens": f"{running.echo}tokens", "secure": running.secure}[path]
    port = running.secure_port if path == "secure" else running.echo_port
    with opened(url.replace("127.0.0.1", host), at=port, origin=f"http://{host}:{running.echo_port}") as client:
        assert client.response is not None
        assert client.response.status_code == 101


@pytest.mark.parametrize("path", ["echo", "tokens", "secure"])
def test_no_other_page_may_connect(running: Demo, path: str) -> None:
    """A page from elsewhere gets 403, and 421 under a name that has been made to point here."""
    port = running.secure_port if path == "secure" else running.echo_port
    for name, origin, status in (
        ("127.0.0.1", "https://evil.example", 403),
        ("evil.example", f"http://evil.example:{port}", 421),
    ):
        url = f"ws://{name}:{port}/{'tokens' if path == 'tokens' else ''}"
        with pytest.raises(InvalidStatus) as refused, opened(url, origin=origin, at=port):
            pass
        assert refused.value.response.status_code == status


def test_nothing_logs_a_token(running: Demo) -> None:
    """What is printed for the person who tries it does not go to the log, refused or accepted."""
    with opened(running.secure) as client:
        client.send(running.expired_token)
        ending(client)
    running.program.stderr.wait_for("3000 'Token Expired'")
    for token in (running.valid_token, running.expired_token):
        assert token.rpartition(".")[2] not in running.program.stderr.text


# The page.


def get(running: Demo, path: str) -> tuple[int, str, str]:
    """Status, type and text of an HTTP answer."""
    connection = http.client.HTTPConnection("127.0.0.1", running.echo_port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def test_serves_the_page(running: Demo) -> None:
    """The page comes from the port of the echo; there is nothing else to get."""
    status, media_type, text = get(running, "/")
    assert (status, media_type) == (200, "text/html; charset=utf-8")
    ports = (running.echo_port, running.secure_port, fresh_tokens(running).scenes_port)
    assert text == document(ports=ports, code=sources())
    assert get(running, "/favicon.ico")[0] == 404


def test_the_page_is_closed_to_the_world() -> None:
    """The page allows its own script and style by hash, the two ports, and nothing more, and names no other host."""
    text = document(ports=(8765, 8888), code={})
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert found is not None
    policy = dict(directive.split(" ", 1) for directive in found[1].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "ws://*:8765 ws://*:8888"
    for element in ("script", "style"):
        content = text.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[f"{element}-src"] == f"'sha256-{digest}'"
    assert set(re.findall(r"https?://[^'\"\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r'\b(src|on[a-z]+|style)="', text), "an attribute that the policy would stop"


# How it ends, and where it listens.


def test_ctrl_c_tells_the_clients() -> None:
    """SIGINT closes the connections of both apps with 1001 and ends with status 0."""
    with (
        demo() as running,
        opened(running.echo) as anybody,
        opened(running.secure) as member,
        opened(running.secure) as new,
    ):
        member.send(running.valid_token)
        assert member.recv(PATIENCE) == "Authenticated!"
        anybody.send("there?")
        anybody.recv(PATIENCE)
        running.program.tell(signal.SIGINT)
        for client in (anybody, member, new):
            assert ending(client) == ([], 1001, "going away")
        assert running.program.wait() == 0


def test_mended_30_the_machines_own_address(own_address: str) -> None:
    """On all addresses the page may be opened by any of them, and connect to every port; no other page may."""
    with demo("--host", "0.0.0.0") as running:
        url, page = f"ws://{own_address}:", f"http://{own_address}:{running.echo_port}"
        for port, path in ((running.echo_port, "tokens"), (running.secure_port, ""), (scenes_port(running), "divide")):
            with opened(f"{url}{port}/{path}", origin=page) as client:
                assert client.response is not None
                assert client.response.status_code == 101
            for other in (f"http://{own_address}:1", "http://evil.example", "null"):
                with pytest.raises(InvalidStatus) as refused, opened(f"{url}{port}/{path}", origin=other):
                    pass
                assert refused.value.response.status_code == 403


def test_mended_30_a_name_that_is_resolved_to_the_machine(own_address: str) -> None:
    """On all addresses no page of another name gets in, nothing is said of hosts, and our own names are served."""
    with demo("--host", "0.0.0.0") as running:
        ports = running.echo_port, running.secure_port, scenes_port(running)
        names = "evil.example", f"{own_address}.nip.example", "localhost.evil.example", "2130706433"
        for port, path in zip(ports, ("tokens", "", "divide"), strict=True):
            for name in names:
                page = f"http://{name}:{running.echo_port}"
                with (
                    pytest.raises(InvalidStatus) as refused,
                    opened(f"ws://{name}:{port}/{path}", origin=page, at=port),
                ):
                    pass
                assert refused.value.response.status_code == 421
            for name in (own_address, "192.0.2.7", "[2001:db8::1]", "localhost", socket.gethostname()):
                with opened(f"ws://{name}:{port}/{path}", origin=f"http://{name}:{running.echo_port}", at=port):
                    pass
        assert "hosts is not set" not in running.program.stderr.text
        running.program.tell(signal.SIGINT)
        assert running.program.wait() == 0
        assert "hosts is not set" not in running.program.stderr.text


def test_mended_30_the_name_to_listen_on() -> None:
    """A demo is asked for by the name that it was told to listen on."""
    assert own_hosts("Box.lan").admits("box.lan:8765", secure=False)
    assert not own_hosts("box.lan").admits("other.lan:8765", secure=False)
    assert own_hosts("::").admits("[::1]:8765", secure=False)


@pytest.fixture
def own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: the kernel chooses the address that it would send from
        except OSError:
            pytest.skip("this machine has no network")
        address: tuple[str, int] = probe.getsockname()
    if address[0].startswith("127."):
        pytest.skip("this machine has no other address")
    return address[0]


def scenes_port(running: Demo) -> int:
    """The port of the second half of the page."""
    return fresh_tokens(running).scenes_port


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")])
def test_other_addresses(host: str, shown: str) -> None:
    """Whatever it listens on, the page's address is one that a browser on this machine can open, and may connect."""
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with demo("--host", host) as running:
        assert running.page == f"http://{shown}:{running.echo_port}/"
        with opened(running.secure, origin=running.origin) as client:
            client.send(running.valid_token)
            assert client.recv(PATIENCE) == "Authenticated!"


def has_ipv6() -> bool:
    """Whether ``::1`` can be bound."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_origins_leave_out_the_usual_port() -> None:
    """A browser does not send port 80, so an origin with it would never match."""
    assert origin_of("localhost", 80) == "http://localhost"
    assert origin_of("localhost", 8765) == "http://localhost:8765"


# Its parts.


def around() -> Surroundings:
    """The apps' surroundings, with the defaults."""
    defaults = Settings()
    return Surroundings(
        issuer=Issuer(),
        echo_port=defaults.echo_port,
        secure_port=defaults.secure_port,
        scenes_port=8899,
        session_seconds=defaults.session_seconds,
    )


async def test_the_apps_need_no_network() -> None:
    """The same apps, over memory streams."""
    surroundings = around()
    async with connect(echo_app(surroundings), "/") as client:
        await client.send("wave")
        assert await client.receive() == "Server received: wave"
    async with connect(secure_app(surroundings), "/") as client:
        await client.send(surroundings.issuer.issue(60))
        assert await client.receive() == "Authenticated!"
    async with connect(secure_app(surroundings), "/") as client:
        await client.send(surroundings.issuer.issue(-1))
        assert await client.receive() == "Token Expired"
        assert await client.wait_closed() == (3000, "Token Expired")


def test_tokens_name_audience_and_issuer() -> None:
    """A token says for whom it is and from whom, and a verifier for somebody else refuses it."""
    issuer = Issuer()
    claims = verified(issuer.issue(60), issuer.verifier)
    assert (claims.audience, claims.issuer, claims.subject) == ((AUDIENCE,), ISSUER, "visitor")
    with pytest.raises(TokenExpired):
        verified(issuer.issue(-1), issuer.verifier)
    for audience, signer in ((AUDIENCE, "other"), ("other", ISSUER)):
        other = TokenVerifier(issuer.secret, algorithms=("HS256",), audience=audience, issuer=signer)
        with pytest.raises(Unauthorized):
            verified(issuer.issue(60), other)


def test_every_run_has_its_own_secret() -> None:
    """No two runs accept each other's tokens, and the secret is not shown."""
    one, another = Issuer(), Issuer()
    with pytest.raises(Unauthorized):
        verified(another.issue(60), one.verifier)
    assert one.secret not in repr(one)
    assert one.secret not in repr(one.verifier)
