"""`login_page`: logging in, renewing, logging out; what it answers, and to whom it answers nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import jwt
import pytest
import trio
from trio.testing import MockClock

from seawall import (
    App,
    ConfigurationError,
    Handshake,
    Unauthorized,
    Unavailable,
    any_origin,
)
from seawall.login.cookies import HostCookie
from seawall.sessions import (
    MemoryRevocations,
    MemorySessions,
    Revocation,
    Rotation,
    StoredSession,
    TokenIssuer,
    login_page,
)
from seawall.testing import CloseFrame, Rejected, Serving, serve
from tests.kit.log import recorded
from tests.kit.login import FORM, PASSWORDS, Browser, Place, subject_of
from tests.kit.tokens import SECRET
from tests.kit.wall import Wall
from tests.kit.wire import RawClient

REVOKED = CloseFrame(3003, "revoked")

#: The cookies with tokens.
TOKENS = ("__Host-refresh", "__Host-session")


@pytest.fixture(autouse=True)
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The wall clock of Seawall, in virtual time."""
    return Wall.instead_of(monkeypatch)


@asynccontextmanager
async def browsing(place: Place) -> AsyncGenerator[Browser]:
    """A browser, and the app to which it talks."""
    async with serve(place.app) as serving:
        yield Browser(serving)


def session_of(browser: Browser) -> str:
    """The ``sid`` of the access token that a browser has."""
    token = browser.cookies.get("__Host-session") or browser.cookies["session"]
    return str(cast("dict[str, object]", jwt.decode(token, options={"verify_signature": False}))["sid"])


async def turned_away(serving: Serving, host: str, headers: dict[str, str]) -> bool:
    """Whether a WebSocket is refused."""
    try:
        async with serving.connect("/chat", host=host, headers=headers):
            return False
    except Rejected:
        return True


# ------------------------------------------------------------------------------------------------ what it is for


async def test_logging_in_renewing_and_logging_out(wall: Wall, autojump_clock: MockClock) -> None:
    """A script logs in, its socket is who it says, is renewed without a break, and reads 3003 when it logs out."""
    place = Place()
    async with browsing(place) as browser:
        answer = await browser.log_in()
        assert (answer.status, answer.said) == (200, {"subject": "ada", "expires_at": int(wall.time() + 600)})
        assert sorted(browser.cookies) == ["__Host-device", "__Host-refresh", "__Host-session"]
        (access, refresh, device) = answer.values("set-cookie")
        assert access.endswith("; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Strict")
        assert refresh.endswith("; Path=/; Max-Age=2592000; Secure; HttpOnly; SameSite=Strict")
        assert device.endswith("; Path=/; Max-Age=31536000; Secure; HttpOnly; SameSite=Strict")
        async with browser.serving_here.connect(
            "/chat", host=browser.host, headers=browser.headers(), timeout=5000
        ) as client:
            assert await subject_of(client) == "ada"
            for _ in range(3):
                await trio.sleep(500)
                before = dict(browser.cookies)
                answer = await browser.post("/session/renew")
                assert (answer.status, answer.said["subject"]) == (200, "ada")
                assert answer.said["expires_at"] == pytest.approx(wall.time() + 600, abs=1)
                assert {name for name in before if before[name] != browser.cookies[name]} == set(TOKENS)
            stolen = browser.copy()
            answer = await browser.post("/session/end")
            assert (answer.status, answer.said, sorted(browser.cookies)) == (200, {"ended": 1}, ["__Host-device"])
            assert await client.wait_closed() == REVOKED
        assert await turned_away(stolen.serving_here, stolen.host, stolen.headers())
        assert (await stolen.post("/session/renew")).status == 401


async def test_a_form(wall: Wall, autojump_clock: MockClock) -> None:
    """A form is sent on to the page that was named at definition, whatever the request says, and read as texts."""
    place = Place()
    async with browsing(place) as browser:
        answer = await browser.submit()
        assert (answer.status, answer.values("location")) == (303, ["/"])
        answer = await browser.post("/session?next=https://evil.example", b"next=//evil.example", FORM)
        assert (answer.status, answer.raw.body) == (400, b"username and password are texts that are not empty\n")
        assert answer.raw.header("content-type") == "text/plain; charset=utf-8"
        assert (await browser.post("/session/renew", b"", FORM)).status == 303
        answer = await browser.post("/session/end", b"next=//evil.example", FORM)
        assert (answer.status, answer.values("location")) == (303, ["/"])
        assert not browser.is_logged_in


async def test_what_is_told_to_a_script_that_is_not_logged_in(autojump_clock: MockClock) -> None:
    """401 and what is wrong, to renew and to log out everywhere; logging out here is no error."""
    async with browsing(Place()) as browser:
        for path in ("renew", "end-all"):
            answer = await browser.post(f"/session/{path}")
            assert (answer.status, answer.said) == (401, {"error": "not logged in"})
            assert answer.raw.header("www-authenticate") == 'Cookie cookie-name="__Host-session"'
        answer = await browser.post("/session/end")
        assert (answer.status, answer.said) == (200, {"ended": 0})
        browser.cookies = {"__Host-session": "nonsense", "__Host-refresh": "nonsense"}
        assert (await browser.post("/session/renew")).said == {"error": "logged out"}


async def test_logging_out_everywhere(autojump_clock: MockClock) -> None:
    """All sessions of who asks end, on all devices, and nobody else's; she can log in again at once."""
    place = Place()
    async with browsing(place) as browser:
        phone, other = browser.copy(), browser.copy()
        for one, name in ((browser, "ada"), (phone, "ada"), (other, "bob")):
            assert (await one.log_in(name)).status == 200
        headers = phone.headers()
        async with browser.serving_here.connect("/chat", host=phone.host, headers=headers) as client:
            assert (await browser.post("/session/end-all")).said == {"ended": 2}
            assert await client.wait_closed() == REVOKED
        assert (await phone.post("/session/renew")).status == 401
        assert (await other.post("/session/renew")).status == 200
        assert (await browser.log_in()).status == 200
        async with browser.serving_here.connect("/chat", host=browser.host, headers=browser.headers()) as client:
            assert await subject_of(client) == "ada"


async def test_an_application_ends_sessions(autojump_clock: MockClock) -> None:
    """By id, or all of a subject; both end connections and refuse what comes later, but no new log-in."""
    place = Place()
    async with browsing(place) as browser:
        for end in ("one", "all"):
            assert (await browser.log_in()).status == 200
            async with browser.serving_here.connect("/chat", host=browser.host, headers=browser.headers()) as client:
                ended = place.login.end(session_of(browser)) if end == "one" else place.login.end_all("ada")
                assert await ended == 1
                assert await client.wait_closed() == REVOKED
            assert (await browser.post("/session/renew")).status == 401


async def test_a_subject_that_was_revoked_renews_nothing(wall: Wall, autojump_clock: MockClock) -> None:
    """``sessions.revoke(subject=...)`` says nothing to the store, but its sessions are over; later ones are not."""
    place = Place()
    async with browsing(place) as browser:
        await browser.log_in()
        await trio.sleep(100)
        await place.app.sessions.revoke(subject="ada")
        stolen = browser.copy()
        await trio.sleep(100)
        assert (await browser.post("/session/renew")).status == 401
        assert (await stolen.post("/session/renew")).status == 401
        await browser.log_in()
        assert (await browser.post("/session/renew")).status == 200


@pytest.mark.parametrize("named", ["subject", "session_id", "issuer", "issued_before"])
async def test_what_was_revoked_stays_so_as_long_as_sessions(named: str, wall: Wall, autojump_clock: MockClock) -> None:
    """Days later, in a process that was started since, and with a session that nobody has renewed meanwhile."""
    revocations, sessions = MemoryRevocations(), MemorySessions()

    def place() -> Place:
        issuer = TokenIssuer(SECRET, issuer="https://chat.example", audience="chat", store=sessions)
        return Place(App(revocations=revocations), issuer=issuer)

    first, copies = place(), list[Browser]()
    async with browsing(first) as browser:
        await browser.log_in()
        copies.append(browser.copy())
        await trio.sleep(100)
        revoke, session_id, now = first.app.sessions.revoke, session_of(browser), wall.time()
        by = {
            "subject": lambda: revoke(subject="ada"),
            "session_id": lambda: revoke(session_id=session_id),
            "issuer": lambda: revoke(issuer="https://chat.example"),
            "issued_before": lambda: revoke(issued_before=now),
        }
        await by[named]()
    wall.ahead += 29 * 86_400
    async with browsing(place()) as later:
        later.cookies |= copies[0].cookies
        assert (await later.post("/session/renew")).status == 401


async def test_log_outs_are_remembered_no_longer_than_tokens_live(wall: Wall, autojump_clock: MockClock) -> None:
    """Their sessions are in no store any more; and innocent ones of before go on when the oldest are given up."""
    revocations = MemoryRevocations()
    place = Place(App(revocations=revocations))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seawall.connection.revocations.MAX_REVOCATIONS", 3)
        async with browsing(place) as browser:
            await browser.log_in()
            other = Browser(browser.serving_here)
            for _ in range(5):
                await other.log_in()
                assert (await other.post("/session/end")).status == 200
                wall.ahead += 90_000
            assert len(await revocations.load()) == 0
            assert (await browser.post("/session/renew")).status == 200


# -------------------------------------------------------------------------------------------------------- attacks


async def test_a_session_of_before_the_log_in_ends(autojump_clock: MockClock) -> None:
    """Whoever has planted a session, or shares it, has none once its browser has logged in; the new id is another."""
    place = Place()
    async with browsing(place) as eve:
        await eve.log_in("bob")
        victim = eve.copy()
        planted = session_of(victim)
        assert (await victim.log_in("ada", "wrong")).status == 401  # who fails to log in keeps what there was
        async with eve.serving_here.connect("/chat", host=eve.host, headers=eve.headers()) as client:
            assert (await victim.log_in("ada")).status == 200
            assert await client.wait_closed() == REVOKED
        assert session_of(victim) != planted
        assert (await eve.post("/session/renew")).status == 401


@pytest.mark.parametrize("left", ["__Host-session", "__Host-refresh"])
async def test_one_cookie_is_enough_to_end_the_session_of_before(left: str, autojump_clock: MockClock) -> None:
    """The access cookie goes with its token, after minutes, the other one stays: each ends the session."""
    place = Place()
    async with browsing(place) as browser:
        await browser.log_in()
        copy = browser.copy()
        browser.cookies = {left: browser.cookies[left]}
        await browser.log_in()
        assert (await copy.post("/session/renew")).status == 401


@pytest.mark.parametrize("path", ["", "/renew", "/end", "/end-all"])
async def test_another_page_posts_nothing(path: str, autojump_clock: MockClock) -> None:
    """Another origin, ``null``, none at all, and a page in plain text are 403, with or without cookies, at once."""
    place = Place()
    async with browsing(place) as browser:
        await browser.log_in()
        body = json.dumps({"username": "ada", "password": PASSWORDS["ada"]}).encode()
        before = dict(browser.cookies)
        asked = len(place.accounts.asked)
        for origin in ("https://evil.example", "null", "http://chat.example", "https://chat.example.evil.example"):
            evil = browser.copy()
            evil.origin = origin
            for kind in ("application/json", FORM):
                assert (await evil.post(f"/session{path}", body, kind)).status == 403
            evil.cookies = {}
            assert (await evil.post(f"/session{path}", body)).status == 403
            assert evil.cookies == {}
        curl = Browser(browser.serving_here, origin=None)
        answer = await curl.post(f"/session{path}", body)
        assert answer.status == 403
        assert "add -H 'Origin: https://...'" in str(answer.said["error"])
        assert len(place.accounts.asked) == asked
        assert browser.cookies == before
        assert (await browser.post("/session/renew")).status == 200


async def test_a_refresh_token_of_two_tabs(autojump_clock: MockClock) -> None:
    """Within 10 s both get the same pair; later the session is over for everybody, and the log says so."""
    place = Place()
    async with browsing(place) as browser:
        await browser.log_in()
        tab, thief = browser.copy(), browser.copy()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(browser.post, "/session/renew")
            nursery.start_soon(tab.post, "/session/renew")
        assert browser.cookies == tab.cookies
        async with browser.serving_here.connect("/chat", host=browser.host, headers=browser.headers()) as client:
            await trio.sleep(11)
            with recorded() as log:
                answer = await thief.post("/session/renew")
            assert answer.status == (await thief.post("/session/renew")).status == 401
            assert any("a refresh token was used again" in line for line in log.lines("server"))
            assert await client.wait_closed() == REVOKED
        assert (await browser.post("/session/renew")).status == 401


async def test_a_tab_that_renews_while_another_logs_in(autojump_clock: MockClock) -> None:
    """It came with the cookies of before, and its refusal takes nothing from the browser that has others by then."""
    place = Place()
    async with browsing(place) as browser:
        await browser.log_in()
        tab = browser.copy()
        assert (await browser.log_in("bob")).status == 200
        for path in ("/session/renew", "/session/end-all"):
            refused = await tab.copy().post(path)
            assert refused.status == 401
            assert refused.values("set-cookie") == []
        assert (await browser.post("/session/renew")).said["subject"] == "bob"


async def test_a_token_of_long_ago_logs_out_here_but_not_everywhere(autojump_clock: MockClock) -> None:
    """Who presents a refresh token that was exchanged has stolen it, or it was: its session ends, no other does."""
    place = Place()
    async with browsing(place) as browser:
        phone = browser.copy()
        await browser.log_in()
        await phone.log_in()
        thief = browser.copy()
        del thief.cookies["__Host-session"]
        await browser.post("/session/renew")
        await trio.sleep(11)
        assert (await thief.post("/session/end-all")).status == 401
        assert (await phone.post("/session/renew")).status == 200


# -------------------------------------------------------------------------------------------- what is not answered


async def test_what_can_be_posted(autojump_clock: MockClock) -> None:
    """A name and a password that an account can have, in JSON or a form; the application never sees anything else."""
    place = Place()
    cases: list[tuple[bytes, str, int]] = [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"[" * 16_000, "application/json", 400),
        (b'{"username": "ada"}', "application/json", 400),
        (b'{"username": "ada", "password": 5}', "application/json", 400),
        (b'{"username": "ada", "password": ""}', "application/json", 400),
        (b'{"username": "", "password": "x"}', "application/json", 400),
        (b'{"username": "a\\u0000", "password": "x"}', "application/json", 400),
        (b'{"username": "a\\n", "password": "x"}', "application/json", 400),
        (b'{"username": "a\\u0085", "password": "x"}', "application/json", 400),
        (b'{"username": "ada", "password": "x\\u0000"}', "application/json", 400),
        (b'{"username": "ada", "password": "\\ud800"}', "application/json", 400),
        (b'{"username": "\xff", "password": "x"}', "application/json", 400),
        (b'{"username": "' + b"a" * 321 + b'", "password": "x"}', "application/json", 400),
        (b'{"username": "ada", "password": "' + b"a" * 1025 + b'"}', "application/json", 400),
        (b"username=ada", FORM, 400),
        (b"username=ada&password=%FF", FORM, 400),
        (b"username=ada&password=x", "text/plain", 415),
        (b"username=ada&password=x", "", 415),
        (b"username=ada&password=" + b"x" * 16_384, FORM, 413),
        (b"x" * 65_537, FORM, 413),
        (b'{"username": "' + b"a" * 320 + b'", "password": "x"}', "application/json; charset=utf-8", 401),
        (b'{"username": "ada", "password": "' + b"a" * 1024 + b'"}', "Application/JSON", 401),
        ("username=ad\u00e4&password=a b".encode(), FORM, 400),
        (b"username=ad%C3%A4&password=a+b&more=x", FORM, 401),
    ]
    async with browsing(place) as browser:
        for body, kind, status in cases:
            await trio.sleep(100)
            answer = await browser.post("/session", body, kind)
            assert answer.status == status, (body[:60], answer.raw.body)
        assert [name for name, _ in place.accounts.asked] == ["a" * 320, "ada", "ad\u00e4"]
        assert place.accounts.asked[-1][1] == "a b"


async def test_a_get_is_no_log_in(autojump_clock: MockClock) -> None:
    """Nothing is in an address: only POST is answered."""
    async with browsing(Place()) as browser:
        client = RawClient(browser.serving_here.open_stream())
        await client.send(b"GET /session?username=ada&password=x HTTP/1.1\r\nHost: chat.example\r\n\r\n")
        answer = await client.last_response()
        assert (answer.status, answer.header("allow")) == (405, "POST, OPTIONS")


async def test_what_authenticate_raises(autojump_clock: MockClock) -> None:
    """`Unauthorized` is a wrong password; `Unavailable` is 503, and keeps the cookies; no subject is 500."""

    async def authenticate(name: str, password: str) -> str | None:
        match name:
            case "refused":
                raise Unauthorized("no such account")
            case "down":
                raise Unavailable("the database")
            case "empty":
                return ""
            case "yes":
                return True  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # what is tested
            case _:
                return None

    app = App()
    login_page(app, "/session", authenticate, TokenIssuer(SECRET, issuer="i", audience="a"))
    async with serve(app) as serving:
        browser = Browser(serving)
        refused, wrong = [(await browser.log_in(name, "x")).raw for name in ("refused", "nobody")]
        assert (
            (refused.status, refused.body)
            == (wrong.status, wrong.body)
            == (401, b'{"error": "wrong name or password"}')
        )
        for name, status in (("down", 503), ("empty", 500), ("yes", 500)):
            assert (await browser.log_in(name, "x")).status == status


async def test_a_store_that_is_down(autojump_clock: MockClock) -> None:
    """503, with the cookies as they were; what can be ended here has been. One that says nothing is down after 5 s."""
    place = Place()
    async with browsing(place) as browser:
        await browser.log_in()

        async def fail(*_: object) -> None:
            await trio.lowlevel.checkpoint()
            raise Unavailable("full")

        async def hang(*_: object) -> None:
            await trio.sleep_forever()

        before = dict(browser.cookies)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(place.issuer, "end", fail)
            async with browser.serving_here.connect("/chat", host=browser.host, headers=browser.headers()) as client:
                assert (await browser.post("/session/end")).status == 503
                assert await client.wait_closed() == REVOKED
            assert browser.cookies == before
            patch.setattr(place.issuer, "end", hang)
            with pytest.raises(Unavailable):
                await place.login.end("session")
            patch.setattr(place.issuer, "end_all", hang)
            began = trio.current_time()
            assert (await browser.post("/session/end-all")).status in (401, 503)
            with pytest.raises(Unavailable):
                await place.login.end_all("ada")
            assert trio.current_time() - began <= 10


@pytest.mark.parametrize("way", ["fails", "hangs"])
@pytest.mark.parametrize("asked", ["end", "end-all", "by the application"])
async def test_sessions_that_cannot_be_stored(way: str, asked: str, autojump_clock: MockClock) -> None:
    """Whoever logs out is logged out here while the store of sessions is down; 503 says that it may not be all."""

    class Down:
        """A store of sessions that can be down."""

        def __init__(self) -> None:
            self.of = MemorySessions()
            self.is_down = False

        async def _ask(self) -> None:
            await trio.lowlevel.checkpoint()
            if self.is_down and way == "hangs":
                await trio.sleep_forever()
            if self.is_down:
                raise Unavailable("down")

        async def add(self, session: StoredSession, /) -> None:
            await self._ask()
            await self.of.add(session)

        async def rotate(self, family: bytes, presented: bytes, successor: bytes, now: float, /) -> Rotation:
            await self._ask()
            return await self.of.rotate(family, presented, successor, now)

        async def delete(self, session_id: str, /) -> None:
            await self._ask()
            await self.of.delete(session_id)

        async def delete_subject(self, issuer: str, subject: str, /) -> tuple[str, ...]:
            await self._ask()
            return await self.of.delete_subject(issuer, subject)

    store = Down()
    place = Place(issuer=TokenIssuer(SECRET, issuer="https://chat.example", audience="chat", store=store))
    async with browsing(place) as browser:
        await browser.log_in()
        async with browser.serving_here.connect("/chat", host=browser.host, headers=browser.headers()) as client:
            store.is_down = True
            if asked == "by the application":
                with pytest.raises(Unavailable):
                    await place.login.end_all("ada")
            else:
                assert (await browser.post(f"/session/{asked}")).status == 503
            assert await client.wait_closed() == REVOKED
        store.is_down = False
        assert (await browser.copy().post("/session/renew")).status == 401
        assert not browser.is_logged_in or (await browser.post("/session/end")).status == 200


async def test_a_session_that_its_store_has_given_up(autojump_clock: MockClock) -> None:
    """It is connected all the same, and ends with all others of its subject."""
    store = MemorySessions(per_subject=1)
    place = Place(issuer=TokenIssuer(SECRET, issuer="https://chat.example", audience="chat", store=store))
    async with browsing(place) as browser:
        phone = browser.copy()
        await browser.log_in()
        async with browser.serving_here.connect("/chat", host=browser.host, headers=browser.headers()) as client:
            assert (await phone.log_in()).status == 200
            assert len(store) == 1
            assert await place.login.end_all("ada") == 1
            assert await client.wait_closed() == REVOKED


async def test_revocations_that_cannot_be_stored(autojump_clock: MockClock) -> None:
    """All connections end here, and it is told that it may not be so elsewhere; once it is stored, it is."""

    class Full:
        is_full = True

        async def load(self) -> tuple[Revocation, ...]:
            return ()

        async def add(self, revocation: Revocation) -> None:
            await trio.lowlevel.checkpoint()
            if self.is_full:
                raise Unavailable("full")

        @asynccontextmanager
        async def changes(self) -> AsyncGenerator[AsyncIterator[Revocation]]:
            send, receive = trio.open_memory_channel[Revocation](0)
            with send, receive:
                yield receive

    store = Full()
    place = Place(App(revocations=store))
    async with browsing(place) as browser:
        phone = browser.copy()
        await browser.log_in()
        await phone.log_in()
        async with (
            browser.serving_here.connect("/chat", host=browser.host, headers=browser.headers()) as here,
            browser.serving_here.connect("/chat", host=browser.host, headers=phone.headers()) as there,
        ):
            assert (await browser.post("/session/end-all")).status == 503
            assert await here.wait_closed() == await there.wait_closed() == REVOKED
        assert (await phone.post("/session/renew")).status == 401
        with pytest.raises(Unavailable):
            await place.login.end("session")
        store.is_full = False
        assert await place.login.end("session") == 0


async def test_two_cookies_of_a_name(autojump_clock: MockClock) -> None:
    """Nobody can tell which is the browser's, so they are none; whoever has the right password gets in."""
    async with browsing(Place()) as browser:
        for names in (("__Host-device",), ("__Host-session", "__Host-refresh")):
            await browser.log_in()
            line = "; ".join(f"{name}={browser.cookies[name]}" for name in names for _ in range(2))
            twice = browser.copy()
            assert (await twice.log_in(Cookie=line)).status == 200
            assert (await browser.post("/session/renew", Cookie=line)).status == 401


# ----------------------------------------------------------------------------------------- without TLS, on this machine


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1:8765", "[::1]:8765", "app.localhost"])
async def test_development(host: str, autojump_clock: MockClock) -> None:
    """On this machine, without TLS, the cookies have no prefix and no ``Secure``; the log says so once; all works."""
    place = Place()
    async with serve(place.app) as serving:
        browser = Browser(serving, host, f"http://{host}")
        with recorded() as log:
            assert (await browser.log_in()).status == 200
            assert (await browser.post("/session/renew")).status == 200
        assert sorted(browser.cookies) == ["device", "refresh", "session"]
        assert sum("for development only" in line for line in log.lines("server")) == 1
        async with serving.connect("/chat", host=host, headers=browser.headers()) as client:
            assert await subject_of(client) == "ada"
            assert (await browser.post("/session/end")).said == {"ended": 1}
            assert await client.wait_closed() == REVOKED
        assert not browser.is_logged_in


async def test_a_cookie_without_the_prefix_is_one_only_there(autojump_clock: MockClock) -> None:
    """Another host of the domain can set it: everywhere else nobody gets in by it, and nobody is renewed."""
    place = Place()
    async with serve(place.app) as serving:
        browser = Browser(serving)
        await browser.log_in()
        renamed = browser.copy()
        renamed.cookies = {name.removeprefix("__Host-"): value for name, value in browser.cookies.items()}
        elsewhere = [
            (browser.host, browser.origin),
            ("localhost", "https://chat.example"),
            ("localhost", "https://localhost"),
        ]
        for host, origin in elsewhere:
            headers = {"Cookie": renamed.line, "Origin": origin or ""}
            assert await turned_away(serving, host, headers)
        assert (await renamed.post("/session/renew")).said == {"error": "not logged in"}


def test_which_name_counts() -> None:
    """By what the request says of where its browser is, and of its page."""

    def named(peer: str, host: str, origin: str | None, *, secure: bool = False) -> str:
        headers = [("cookie", "__Host-s=safe; s=local")] + ([] if origin is None else [("origin", origin)])
        asked = Handshake(path="/", host=host, key="", headers=tuple(headers), peer=peer, secure=secure)
        found = HostCookie("__Host-s").find(asked)
        assert found is not None
        renewed = HostCookie("__Host-s").with_token(asked, "new")
        assert HostCookie("__Host-s").find(renewed) == "new"
        return found

    here = "http://localhost:1"
    assert named("127.0.0.1:5", "localhost:1", here) == "local"
    assert named("127.0.0.1:5", "localhost:1", "http://localhost:3000") == "local"
    assert named("[::1]:5", "[::1]:1", "http://[::1]:1") == "local"
    assert named("[::ffff:127.0.0.1]:5", "127.0.0.9:1", "http://127.0.0.9:1") == "local"
    assert named("127.0.0.1:5", "localhost:1", None) == "safe"
    assert named("127.0.0.1:5", "localhost:1", here, secure=True) == "safe"
    assert named("192.0.2.1:5", "localhost:1", here) == "safe"
    assert named("unix", "localhost:1", here) == "safe"
    assert named("gone", "localhost:1", here) == "safe"
    assert named("127.0.0.1:5", "chat.example", here) == "safe"
    assert named("127.0.0.1:5", "localhost:1", "http://chat.example") == "safe"
    assert named("127.0.0.1:5", "localhost:1", "https://localhost:1") == "safe"
    assert named("127.0.0.1:5", "localhost:1", "http://localhost.evil.example") == "safe"


# ---------------------------------------------------------------------------------------------- mistakes at definition

ISSUER = TokenIssuer(SECRET, issuer="i", audience="a")


async def good(name: str, password: str) -> str | None:
    """Know nobody."""


def no_async(name: str, password: str) -> str | None:
    """Know nobody."""


async def alone(name: str) -> str | None:
    """Take no password."""


MISTAKES: list[tuple[Callable[[App], object], str]] = [
    (lambda app: login_page(app, "/session/", good, ISSUER), "pages below it"),
    (lambda app: login_page(app, "/", good, ISSUER), "pages below it"),
    (lambda app: login_page(app, "session", good, ISSUER), "exact path"),
    (lambda app: login_page(app, "/session", no_async, ISSUER), "async def"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested
    (lambda app: login_page(app, "/session", alone, ISSUER), "does not take"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
    (lambda app: login_page(app, "/session", "good", ISSUER), "give a function"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
    (lambda app: login_page(app, "/session", good, SECRET), "give the TokenIssuer"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
    (lambda app: login_page("app", "/session", good, ISSUER), "give the App"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
    (lambda app: login_page(app, "/session", good, ISSUER, cookie="session"), "__Host-session"),
    (lambda app: login_page(app, "/session", good, ISSUER, cookie="__Host-"), "__Host-session"),
    (lambda app: login_page(app, "/session", good, ISSUER, cookie="__Host-a b"), "__Host-session"),
    (lambda app: login_page(app, "/session", good, ISSUER, refresh_cookie="__Host-session"), "give different ones"),
    (lambda app: [login_page(app, "/session", good, ISSUER) for _ in range(2)], "already"),
]


@pytest.mark.parametrize(("define", "remedy"), MISTAKES, ids=[str(number) for number in range(len(MISTAKES))])
def test_a_mistake_is_found_at_definition(define: Callable[[App], object], remedy: str) -> None:
    """What could not work, or protects nobody, is refused where it is written, with what to write instead."""
    with pytest.raises(ConfigurationError, match=remedy):
        define(App())


@pytest.mark.parametrize(
    "after",
    [
        "",
        " /",
        "chat",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil",
        "javascript:alert(1)",
        "/a b",
        "/\r\nA: b",
        "https:///x",
        "/\u00e4",
    ],
)
def test_a_form_leads_somewhere(after: str) -> None:
    """To a path, or to a URL of http; what browsers take for something else is refused."""
    with pytest.raises(ConfigurationError, match="no path and no URL of http"):
        login_page(App(), "/session", good, ISSUER, after=after)
    for good_one in ("/", "/chat?a=b#c", "https://chat.example", "http://localhost:8765/a"):
        login_page(App(), "/session", good, ISSUER, after=good_one)


@pytest.mark.parametrize("app", [App(origins=any_origin), App(origins=["null"])])
def test_any_origin_is_refused(app: App) -> None:
    """Where every page may post, no cookie proves anything."""
    with pytest.raises(ConfigurationError, match="a cookie is a credential"):
        login_page(app, "/session", good, ISSUER)
