"""Every program in the README and in docs/ runs, and does what the text beside it says."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import re
import socket
import ssl
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest
import trio
import trio_websocket
import trustme
from attrs import frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, ConfigurationError, TokenVerifier
from seawall.messages.codec import Codec
from seawall.messages.decoder import decoder_for
from seawall.messages.encoder import MessageEncoder
from seawall.observability.principals import PrincipalNames
from seawall.sessions import SessionInfo
from seawall.testing import Rejected, connect, serve
from seawall.tokens import KeyRing
from tests.kit import tokens
from tests.kit.keys import ec, public_pem, rsa, signed_by
from tests.kit.messages import Level
from tests.kit.processes import PATIENCE, opened
from tests.kit.provider import provided
from tests.kit.sockets import authority, until
from tests.kit.tokens import SECRET, signed
from tests.kit.wire import RawClient, Response

ROOT = Path(__file__).parent.parent
PAGES = {page: page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}
PROGRAMS = [program for text in PAGES.values() for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Loader:
    """Loads the program that contains a line, as a module of its own."""
    return Loader(monkeypatch)


class Loader:
    """Finds programs in the pages."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, line: str) -> ModuleType:
        """The one program that contains `line`, run as an import would run it."""
        (program,) = [program for program in PROGRAMS if line in program]
        for name in ("CHAT_SECRET", "SECRET"):
            self._monkeypatch.setenv(name, SECRET)
        module = ModuleType("readme")
        self._monkeypatch.setitem(sys.modules, "readme", module)
        exec(compile(program, "a page", "exec"), vars(module))
        return module

    def app(self, line: str) -> App:
        """The ``app`` of that program."""
        return cast("App", vars(self(line))["app"])


def token(**claims: object) -> str:
    """A token for the chat of the README."""
    payload = {"aud": "chat", "iss": "https://id.example", "sub": "ada", "scope": "chat:write", "exp": 4e9} | claims
    return signed(payload)


async def test_first_program_echoes(load: Loader, autojump_clock: object) -> None:
    """The ten lines at the top are an echo server."""
    async with connect(load.app("an open door"), "/echo") as client:
        await client.send("hello")
        assert await client.receive() == "hello"


async def test_the_app_behind_a_proxy_serves_its_name(load: Loader, autojump_clock: object) -> None:
    """The program of the page on deployment answers to the name that it lists, with any port, and to no other."""
    app = load.app("ask the proxy for")
    for host in ("chat.example", "chat.example:8443"):
        async with connect(app, "/echo", host=host, headers={"Origin": f"https://{host}"}) as client:
            await client.send("hello")
            assert await client.receive() == "hello"
    with pytest.raises(Rejected, match="421 this host is not served here"):
        async with connect(app, "/echo", host="localhost"):
            pass


def test_every_program_is_loaded_by_a_test() -> None:
    """A program that is added to a page needs a test here."""
    tested = [
        'route="/ticketed"',
        "an open door",
        "NoSuchRoom",
        "Router[Owner]",
        "await conn.renew(str(token))",
        "tenants=[",
        "def load_keys",
        "HOUSE_CA",
        "this feed never receives",
        "async def greeting",
        "test_later",
        "unplugged",
        "ask the proxy for",
        "load_cert_chain",
        "run_apps",
        "keep_list",
        "CODES",
        "PasswordHasher",
        "LoginLimits(proxies",
        "conn.report",
        "hypercorn",
        "test_everybody_hears",
        "OrderTaken",
        "Spoilt",
        "after_start",
        "Pretty",
        "Countdown",
        'audience="feed"',
        "JWKS.discover(REALM)",
        "gate.admit_by",
        'said = app.topic("rooms/{room}", Said)\n',
        "async def resumable",
        "def share_of",
        "async def several",
        ".readable(is_member)",
        "tell_who_is_here",
        "waits for none of them",
        "def bookkeeper",
        "test_coming_back",
    ]
    assert [sum(line in program for line in tested) for program in PROGRAMS] == [1] * len(PROGRAMS) == [1] * len(tested)


async def test_the_room_of_the_readme(load: Loader, autojump_clock: MockClock) -> None:
    """Who comes in hears what was said before, and then what comes; in another room it is quiet."""
    async with serve(load.app("waits for none of them")) as server, server.connect("/rooms/lobby") as ada:
        await ada.send("one")
        assert await ada.receive() == "one"
        async with server.connect("/rooms/lobby") as grace, server.connect("/rooms/kitchen") as eve:
            assert await grace.receive() == "one"
            await grace.send("two")
            assert await ada.receive() == await grace.receive() == "two"
            with trio.move_on_after(1):
                raise AssertionError(await eve.receive())


async def test_the_chat_says_what_the_page_says(load: Loader, autojump_clock: object) -> None:
    """Each line of its conversation is answered with the one beside it."""
    app = load.app("NoSuchRoom")
    (talk,) = re.findall(r"```\n(-> .*?)```", PAGES[ROOT / "README.md"], re.DOTALL)
    lines = re.findall(r"^-> (\{.*\}) +<- (\{.*\})$", talk, re.MULTILINE)
    assert len(lines) == len(talk.splitlines()) == 3
    async with connect(
        app, "/rooms/lobby", headers={"Authorization": f"Bearer {token(exp=time.time() + 60)}"}
    ) as client:
        for said, answered in lines:
            await client.send(said)
            assert json.loads(await client.receive()) == json.loads(answered)


async def test_chat_knows_members(load: Loader, autojump_clock: object) -> None:
    """The chat admits a member, refuses everybody else, and closes for no room."""
    app = load.app("NoSuchRoom")
    member = {"Authorization": f"Bearer {token(exp=time.time() + 60)}", "Origin": "https://chat.example"}
    async with connect(app, "/rooms/lobby", headers=member) as client:
        await client.aclose()
    async with connect(app, "/rooms/attic", headers=member) as client:
        assert await client.wait_closed() == (4404, "no such room")
    for path, headers, status in [
        ("/rooms/lobby", {}, 401),
        ("/rooms/lobby", {"Authorization": "Bearer nonsense"}, 401),
        ("/rooms/lobby", {"Authorization": f"Bearer {token(exp=time.time() + 60, scope='')}"}, 403),
        ("/rooms/lobby", member | {"Origin": "https://elsewhere.example"}, 403),
    ]:
        with pytest.raises(Rejected) as refused:
            async with connect(app, path, headers=headers):
                raise AssertionError(f"{path} was open to {headers}")
        assert refused.value.status == status


async def test_a_failure_that_is_answered(load: Loader, autojump_clock: object) -> None:
    """The peer reads the id of the incident, and the conversation goes on."""
    async with connect(load.app("conn.report"), "/divide") as client:
        for said, answer in (("0", "sorry, incident [0-9a-f]{6}"), ("8", "12.5"), ("x", "sorry, incident [0-9a-f]{6}")):
            await client.send(said)
            assert re.fullmatch(answer, str(await client.receive()))


async def test_several_apps(load: Loader, autojump_clock: object) -> None:
    """The first of the two echoes."""
    async with connect(cast("App", vars(load("run_apps"))["chat"]), "/") as client:
        await client.send("hello")
        assert await client.receive() == "hello"


async def test_a_lease_is_renewed(load: Loader, autojump_clock: object) -> None:
    """By a token of the same subject, and by no other."""
    app, now = load.app("await conn.renew(str(token))"), time.time()
    async with connect(app, "/feed", headers={"Authorization": f"Bearer {token(exp=now + 60)}"}) as client:
        for sent, answer in ((token(exp=now + 90), "renewed"), (token(exp=now + 90, sub="eve"), "no"), ("x", "no")):
            await client.send(sent)
            assert await client.receive() == answer
        assert await client.wait_closed() == (3000, "lease expired")
    assert 80 < trio.current_time() < 90


async def test_claims_of_two_issuers(
    load: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    """Members by our secret, guests of two tenants by the other issuer's key, each with claims and roles of its own."""
    public = tmp_path / "public.pem"
    public.write_bytes(public_pem(rsa()))
    monkeypatch.setenv("PUBLIC_KEY", str(public))
    app, roles = load.app("tenants=["), ["writer"]

    def member(**claims: object) -> str:
        return token(**{"exp": time.time() + 60, "email": "ada@example", "realm_access": {"roles": roles}} | claims)

    def guest(tenant: str, **claims: object) -> str:
        theirs = {"iss": f"https://login.example/{tenant}/v2.0", "tid": tenant, "client_id": "chat", "roles": roles}
        return signed_by(rsa(), "RS256", None, **theirs | claims)

    for presented, answer in (
        (member(), "ada@example"),
        (guest("acme"), "a guest from acme"),
        (member(email=None), "401"),
        (member(realm_access={"roles": []}), "403"),
        (member(iss="https://login.example/acme/v2.0", tid="acme", client_id="chat", roles=roles), "401"),
        (guest("umbrella"), "401"),
        (guest("acme", tid="initech"), "401"),
        (guest("acme", client_id="mail"), "401"),
        (guest("acme", roles="writer"), "401"),
        (guest("acme", roles=["reader"]), "403"),
    ):
        with nullcontext() if len(answer) > 3 else pytest.raises(Rejected, match=answer):
            async with connect(app, "/chat", headers={"Authorization": f"Bearer {presented}"}) as client:
                assert await client.receive() == answer


def test_links_between_pages_lead_somewhere() -> None:
    """To a file, and to a heading of it."""
    for page, text in PAGES.items():
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for link in re.findall(r"\]\((?!https?:)([^)]*)\)", prose):
            path, _, heading = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name}: {link}"
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE) if heading else []
            assert not heading or heading in [title.lower().replace(" ", "-") for title in headings], link


async def test_the_token_opens_the_chat(
    load: Loader, autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the command under the chat prints is good for a member."""
    app = load.app("NoSuchRoom")  # with the secret in the environment
    *_, command = re.findall(r"python -c '([^']*)'", PAGES[ROOT / "README.md"])
    exec(command, {})
    headers = {"Authorization": f"Bearer {capsys.readouterr().out.strip()}"}
    lines = re.findall(r"^-> (\{.*\}) +<- (\{.*\})$", PAGES[ROOT / "README.md"], re.MULTILINE)
    assert len(lines) == 3
    async with connect(app, "/rooms/lobby", headers=headers) as client:
        for sent, answered in lines:
            await client.send(sent)
            assert json.loads(await client.receive()) == json.loads(answered)


def test_mended_21_no_program_of_a_page_has_a_secret_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each program that verifies tokens asks the environment for its secret or keys, and does not start without."""
    verifying = [program for program in PROGRAMS if "TokenVerifier(" in program or "TokenIssuer(" in program]
    assert len(verifying) == 15
    for program in verifying:
        first, *others = re.findall(r'os\.environ\["(\w+)"\]', program)
        assert "environ.get" not in program
        for name in (first, *others):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(KeyError, match=first):
            exec(compile(program, "a page", "exec"), vars(ModuleType("readme")))


def test_mended_21_the_secret_that_the_readme_makes_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    """What its first command prints is a secret of the right kind; the one that stood there once is refused."""
    first, *_ = re.findall(r"python -c '([^']*)'", PAGES[ROOT / "README.md"])
    exec(first, {})
    TokenVerifier(capsys.readouterr().out.strip(), algorithms=["HS256"], audience="chat", issuer="chat")
    with pytest.raises(ConfigurationError, match="stands in an example"):
        TokenVerifier(
            "only for trying it out, not for anything real", algorithms=["HS256"], audience="chat", issuer="chat"
        )


async def test_tokens_are_judged_by_the_wall_clock(load: Loader, autojump_clock: MockClock) -> None:
    """As the page about testing says: let in after two virtual hours, and for an hour."""
    await trio.sleep(7200)
    headers = {"Authorization": f"Bearer {token(exp=time.time() + 3600)}"}
    async with connect(load.app("await conn.renew(str(token))"), "/feed", headers=headers) as client:
        assert await client.wait_closed() == (3000, "lease expired")
    assert trio.current_time() == pytest.approx(3 * 3600, abs=2)


async def test_one_key_follows_another(
    load: Loader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mock_clock: MockClock
) -> None:
    """The program with a `reload` loads its keys when it is served, and again a minute later."""
    file = tmp_path / "keys.json"
    monkeypatch.setenv("KEYS", str(file))
    mock_clock.rate = 1.0  # a thread reads the file
    program = vars(load("def load_keys"))
    ring = cast("KeyRing", program["keys"])

    def kids() -> list[str | None]:
        return [key.kid for key in ring.keys]

    file.write_text(json.dumps({"old": public_pem(ec()).decode()}))
    claims = {"aud": "chat", "iss": "https://id.example"}
    old, new = (signed_by(ec(nth=nth), "ES256", {"kid": kid}, **claims) for nth, kid in enumerate(("old", "new")))
    async with serve(cast("App", program["app"])) as serving:
        await until(lambda: kids() == ["old"])
        async with serving.connect("/whoami", headers=tokens.by(old)) as client:
            assert await client.receive() == "ada"
        file.write_text(json.dumps({"new": public_pem(ec(nth=1)).decode()}))
        mock_clock.jump(60)
        await until(lambda: kids() == ["new"])
        async with serving.connect("/whoami", headers=tokens.by(new)) as client:
            assert await client.receive() == "ada"
        with pytest.raises(Rejected):
            async with serving.connect("/whoami", headers=tokens.by(old)):
                pass


async def test_keys_of_the_house(load: Loader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program lets in by a key that a provider on this machine publishes, with a certificate of the test."""
    async with provided(tls=True) as provider:
        provider.publish(("one", rsa()))
        monkeypatch.setenv("HOUSE_CA", str(authority(tmp_path)))
        monkeypatch.setenv("HOUSE_KEYS", provider.url)
        claims = {"aud": "chat", "iss": "https://id.house.example"}
        presented = tokens.by(signed_by(rsa(), "RS256", {"kid": "one"}, **claims))
        async with connect(load.app("HOUSE_CA"), "/desk", headers=presented) as client:
            assert await client.receive() == "hello ada"
        assert len(provider.asked) == 1


async def test_a_token_may_come_from_anywhere(load: Loader, autojump_clock: object) -> None:
    """Each source lets in, two at once do not, and a browser can read the refusal."""
    good, chat = token(exp=time.time() + 60), "chat.v1"
    app = load.app("gate.admit_by")
    async with serve(app) as serving:
        for path, headers, offers in (
            ("/anywhere", {"Authorization": f"Bearer {good}"}, [chat]),
            ("/anywhere", {"Cookie": f"__Host-session={good}"}, [chat]),
            ("/anywhere", {}, [chat, f"bearer.{good}"]),
            (f"/anywhere?ticket={await app.tickets.issue(good, route='/anywhere')}", {}, [chat]),
        ):
            async with serving.connect(path, headers=headers, subprotocols=offers) as client:
                assert await client.receive() == "ada speaks chat.v1"
        async with serving.connect("/anywhere", subprotocols=[chat]) as client:
            await client.send(good)
            assert [await client.receive(), await client.receive()] == ["welcome", "ada speaks chat.v1"]
        both = {"Authorization": f"Bearer {good}", "Cookie": f"__Host-session={good}"}
        async with serving.connect("/anywhere", headers=both, subprotocols=[chat]) as client:
            assert await client.wait_closed() == (3000, "unauthorized")
        async with serving.connect("/by-key", headers={"X-Key": good}) as client:
            assert await client.receive() == "ada has a key"
        with pytest.raises(Rejected, match="401"):
            async with serving.connect("/by-key"):
                pass


async def test_a_ticket_is_good_once(load: Loader, autojump_clock: object) -> None:
    """The page gives one for a token, and none for another; it lets in once."""
    good = token(exp=time.time() + 60)
    async with serve(load.app('route="/ticketed"')) as serving:
        answers = list[Response]()
        for presented in (good, good[:-3]):
            page = RawClient(serving.open_stream())
            fields = f"Host: seawall.test\r\nAuthorization: Bearer {presented}\r\nContent-Length: 0\r\n"
            await page.send(f"POST /ticket HTTP/1.1\r\n{fields}\r\n".encode())
            answers.append(await page.last_response())
        assert [answer.status for answer in answers] == [200, 401]
        path = f"/ticketed?ticket={answers[0].body.decode()}"
        async with serving.connect(path) as client:
            assert await client.receive() == "hello ada"
        with pytest.raises(Rejected, match="401"):
            async with serving.connect(path):
                pass


async def test_shops_have_routers(load: Loader, autojump_clock: object) -> None:
    """Each mount lets in whom its guard proves, and hands the shop of its prefix on."""
    app = load.app("Router[Owner]")
    for name, path, greeting in [
        ("ada", "/shops/acme/orders", "orders for ada"),
        ("bob", "/shops/acme/orders", "orders for bob"),
        ("ada", "/shops/acme/books/sales", "ada reads the books of acme"),
    ]:
        async with connect(app, path, headers={"X-Name": name}) as client:
            assert await client.receive() == greeting
    for name, path, status in [
        ("eve", "/shops/acme/orders", 401),
        ("ada", "/shops/other/orders", 401),
        ("eve", "/shops/acme/books/sales", 401),
        ("bob", "/shops/acme/books/sales", 403),
        ("ada", "/orders", 404),
    ]:
        with pytest.raises(Rejected) as refused:
            async with connect(app, path, headers={"X-Name": name}):
                raise AssertionError(f"{path} was open to {name}")
        assert refused.value.status == status


async def test_embedded_program_runs(load: Loader, capsys: pytest.CaptureFixture[str]) -> None:
    """The embedded program listens, and ends by itself."""
    module = load("this feed never receives")
    with trio.fail_after(5):
        await vars(module)["main"]()
    assert capsys.readouterr().out.startswith("listening on ws://127.0.0.1:")


async def test_mended_24_what_fails_in_the_embedded_program_is_seen(
    load: Loader, autojump_clock: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has not set up logging, and so a handler's traceback reaches standard error, under the peer's incident."""
    app = load.app("this feed never receives")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    async with serve(app) as serving:
        async with serving.connect("/share/4") as client:
            assert await client.receive() == "25 %"
        async with serving.connect("/share/0") as client:
            (_, incident) = (await client.wait_closed()).reason.split(", ")
    printed = capsys.readouterr().err
    assert "ERROR seawall.error c" in printed
    assert incident in printed.splitlines()[0]
    assert "\n    ZeroDivisionError: division by zero\n" in printed


def test_mended_20_the_page_says_how_a_digest_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expression in the page about the log finds the lines of a subject."""
    (expression,) = re.findall(r"`(hashlib\.[^`]*)`", PAGES[ROOT / "docs" / "deployment.md"])
    digest = eval(expression, {"hashlib": hashlib, "log_key": SECRET.encode()[:32]})
    assert (
        PrincipalNames(SECRET[:32]).name_of(tokens.verified(tokens.token("ada"), tokens.verifier)) == f"Claims:{digest}"
    )


async def test_clock_sends_every_second(load: Loader, autojump_clock: object) -> None:
    """The embedded program's route sends once a second."""
    async with connect(load.app("this feed never receives"), "/time") as client:
        first = int(str(await client.receive()))
        assert int(str(await client.receive())) == first + 1


@pytest.mark.parametrize("buffer", [1000, 1])
async def test_the_list_of_who_is_connected(load: Loader, buffer: int) -> None:
    """It follows, and is right again after it has missed something."""
    module = load("keep_list")
    app, here = cast("App", module.app), cast("dict[str, SessionInfo]", module.here)
    async with trio.open_nursery() as nursery, serve(app) as served, AsyncExitStack() as stack:
        nursery.start_soon(module.keep_list, buffer)
        for _ in range(4):
            await stack.enter_async_context(served.connect("/"))
            await wait_all_tasks_blocked()
            assert tuple(here.values()) == app.sessions.find()
        for session in app.sessions.find()[:3]:  # at once: there is no time to look in between
            assert app.sessions.end(session)
        await wait_all_tasks_blocked()
        assert tuple(here.values()) == app.sessions.find()
        assert len(here) == 1
        nursery.cancel_scope.cancel()


async def test_lifespan_provides_the_greeting(load: Loader, autojump_clock: object) -> None:
    """The handler gets what the lifespan function yielded."""
    async with connect(load.app("async def greeting"), "/") as client:
        assert await client.receive() == "ahoy"


async def test_the_test_in_the_readme_passes(load: Loader, autojump_clock: object) -> None:
    """The hour passes in virtual time."""
    await vars(load("test_later"))["test_later"](autojump_clock)


async def test_the_test_of_a_bad_network_passes(load: Loader, autojump_clock: MockClock) -> None:
    """Nothing is lost in 30 s, and then the keepalive is, 40 s after the client was last heard."""
    await vars(load("unplugged"))["test_a_bad_network"](autojump_clock)
    assert trio.current_time() == 30 + 40


async def test_the_test_of_many_clients_passes(load: Loader, autojump_clock: object) -> None:
    """The recipe's own test, which has a hundred clients."""
    await vars(load("test_everybody_hears"))["test_everybody_hears"](autojump_clock)


async def test_mended_31_tls_in_two_lines(load: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe's context serves TLS to a client that trusts the authority of its certificate."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "privkey.pem")
    for link in certificate.cert_chain_pems:
        link.write_to_path(tmp_path / "fullchain.pem", append=True)
    monkeypatch.chdir(tmp_path)
    program = vars(load("load_cert_chain"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)  # pyright: ignore[reportUnknownMemberType]  # pyOpenSSL's
    async with trio.open_nursery() as nursery:
        server = await program["app"].start(nursery, port=0, ssl_context=program["context"])
        async with trio_websocket.open_websocket_url(server.addresses[0].url, ssl_context=trusting) as client:
            assert await client.get_message() == "privately"
        await server.aclose()


async def test_mended_26_beside_an_http_framework(load: Loader) -> None:
    """Hypercorn's Trio worker and an app in one nursery: both answer, and both end with it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        http = f"127.0.0.1:{probe.getsockname()[1]}"
    program = vars(load("hypercorn"))
    told: list[str] = []

    def tell(_: str, url: str) -> None:
        told.append(url)

    program["print"] = tell
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program["main"], http)
        with trio.fail_after(20):
            page = f"http://{http}/"
            while not told or not await trio.to_thread.run_sync(answers, page, b"from Starlette"):  # noqa: ASYNC110 - a server
                await trio.sleep(0.05)
            assert await trio.to_thread.run_sync(first_message_of, f"{told[0]}/ws") == "from Seawall"
        nursery.cancel_scope.cancel()


def first_message_of(url: str) -> str | bytes:
    """What a WebSocket says first."""
    with opened(url) as client:
        return client.recv(PATIENCE)


def answers(url: str, body: bytes) -> bool:
    """Whether there is a server that says `body`."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            said: bytes = response.read()
            return said == body
    except OSError:
        return False


async def test_the_messages_of_the_shop(load: Loader, autojump_clock: object) -> None:
    """Each line of the page is answered as it says."""
    lines = wire_lines("OrderTaken")
    assert len(lines) == 4
    async with connect(load.app("OrderTaken"), "/shop") as client:
        for sent, answered in lines:
            await client.send(sent)
            assert await client.receive() == answered


@pytest.mark.parametrize(
    ("changed", "answered"),
    [
        (
            {},
            {
                "start": 1,
                "end": 3,
                "cents": 150,
                "contact": "Ada@Example.COM",
                "copy_to": "Ada@example.com",
                "nights": 1,
            },
        ),
        ({"end": 1}, {"path": "$.end", "detail": "end must be after start"}),
        ({"nights": 3}, {"path": "$.nights", "detail": "more nights than days"}),
        ({"contact": "ada"}, {"path": "$.contact", "detail": "expected an e-mail address"}),
        ({"copy_to": "ada"}, {"path": "$.copy_to", "detail": "expected an e-mail address"}),
        ({"cents": "much"}, {"path": "$.cents", "detail": "refused by its validator"}),
        ({"cents": 1}, {"path": "$.cents", "detail": "expected text, got an integer"}),
    ],
)
async def test_the_bookings_are_validated(
    load: Loader, autojump_clock: object, changed: dict[str, object], answered: dict[str, object]
) -> None:
    """By the class, whose own texts the peer may read."""
    booking = {"start": 1, "end": 3, "cents": "1.50", "contact": "Ada@Example.COM", "copy_to": "Ada@Example.COM"}
    async with connect(load.app("after_start"), "/bookings") as client:
        await client.send(json.dumps({"type": "booking", **booking, **changed}))
        answer = json.loads(await client.receive())
    kind = {"type": "booking"} if not changed else {"type": "error", "code": "invalid_message"}
    assert answer == kind | answered


async def test_a_codec_of_ones_own(load: Loader, autojump_clock: object) -> None:
    """It is used in both directions."""
    async with connect(load.app("Pretty"), "/pings") as client:
        await client.send('{"type": "ping", "n": 1}')
        assert await client.receive() == '{\n  "type": "ping",\n  "n": 1\n}'


def test_the_codec_of_the_page_takes_every_type(load: Loader) -> None:
    """Keys of mappings that are no text too."""
    codec = cast("Callable[[], Codec]", vars(load("class Pretty"))["Pretty"])()
    value = Keys({1: "a"}, {uuid.UUID(int=7): 1}, {Level.HIGH: 2}, {dt.date(2026, 1, 2): 3})
    message = MessageEncoder(codec).encode(value).decode()
    assert decoder_for(codec, Keys, where="the test").decode(message) == value


@frozen
class Keys:
    """Mappings by all that a key can be."""

    by_number: dict[int, str]
    by_id: dict[uuid.UUID, int]
    by_level: dict[Level, int]
    by_day: dict[dt.date, int]


async def test_what_a_policy_answers(load: Loader, autojump_clock: object) -> None:
    """The votes of the page on messages, line by line, up to the Close."""
    *lines, last = wire_lines("Spoilt")
    assert len(lines) == 3
    async with connect(load.app("Spoilt"), "/votes") as client:
        for sent, answered in lines:
            await client.send(sent)
            assert await client.receive() == answered
        await client.send(last[0])
        code, reason = await client.wait_closed()
    assert last[1] == f'Close {code} "{reason}"'


async def test_events(load: Loader, autojump_clock: object) -> None:
    """The talk of the page on messages, line by line, and how it ends."""
    lines = wire_lines("Moderator")
    assert len(lines) == 6
    presented = signed({"sub": "ada", "aud": "chat", "scope": "write", "exp": time.time() + 60})
    app = load.app("Countdown")
    async with connect(app, "/talk/lounge", headers={"Authorization": f"Bearer {presented}"}) as client:
        for sent, answered in lines:
            await client.send(sent)
            for one in re.findall(r"\{.*?\}(?=, \{|$)", answered):
                assert await client.receive() == one
        await client.send('{"type":"leave","room":"a"}')
        await client.receive()
        await client.send('{"type":"answer","re":2,"yes":true}')
        assert await client.wait_closed() == (1000, "ada has left")


def wire_lines(name: str) -> list[tuple[str, str]]:
    """What is sent and answered, in the block behind the program of the page on messages that has `name` in it."""
    _, _, behind = PAGES[ROOT / "docs" / "messages.md"].partition(f"class {name}")
    block = behind.partition("\n```\n")[2].partition("\n```\n")[2].partition("\n```\n")[0]
    return re.findall(r"^-> (\{.*?\}) +<- (.*)$", block, re.MULTILINE)
