"""`Sessions.renew`: every connection of a token's session is renewed by its own guards, or goes on as before."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import pytest
import trio
from attrs import define, field, frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Claims,
    ConfigurationError,
    Connection,
    Cookie,
    ErrorReport,
    Forbidden,
    Gate,
    Guard,
    Limits,
    Request,
    Response,
    Unauthorized,
    bearer,
    check,
    guard,
    public,
)
from seawall.connection.session_renewal import AT_ONCE, WITHIN
from seawall.testing import CloseFrame, Serving, connect, serve
from seawall.tokens import cookie, first_message, header
from tests.kit.log import recorded
from tests.kit.tokens import by, signed, verifier
from tests.kit.wall import Wall
from tests.kit.wire import RawClient

EXPIRED: Final = CloseFrame(3000, "lease expired")
REVOKED: Final = CloseFrame(3003, "revoked")
FORBIDDEN: Final = CloseFrame(3003, "forbidden")


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The wall clock of Seawall."""
    return Wall.instead_of(monkeypatch)


@define
class Room:
    """An app whose handlers keep their connections."""

    app: App = field(factory=App)
    conns: list[Connection[Claims]] = field(factory=list[Connection[Claims]])

    def add(self, path: str, door: Guard[Anonymous, Claims]) -> None:
        """One more route."""
        self.app.route(path, guard=door)(self.stay)

    async def stay(self, conn: Connection[Claims]) -> None:
        """Be there until the end."""
        self.conns.append(conn)
        async for _ in conn:
            pass

    def leases(self, wall: Wall) -> list[float | None]:
        """In how many seconds the leases end, in the order in which the connections came."""
        return [None if conn.expires_at is None else conn.expires_at - wall.began for conn in self.conns]


async def test_those_of_the_session(wall: Wall, autojump_clock: MockClock) -> None:
    """Wherever they have presented their token, and whatever else they demand; nobody else's."""
    room = Room()
    room.add("/a", bearer(verifier, header(), cookie("s")))
    room.add("/b", bearer(verifier, first_message()))

    async def enter(stack: AsyncExitStack, served: Serving, path: str, **claims: str | None) -> None:
        named: dict[str, object] = {"sub": "ada", "sid": "s", "iss": "i", "exp": wall.time() + 100}
        presented = signed(named | claims)
        headers = {"/a": by(presented), "/a?": {"Cookie": f"s={presented}"}, "/b": {}}[path]
        client = await stack.enter_async_context(served.connect(path, headers=headers, timeout=500))
        if path == "/b":
            await client.send(presented)
        await wait_all_tasks_blocked()

    async with serve(room.app) as served, AsyncExitStack() as stack:
        for path in ("/a", "/a?", "/b"):
            await enter(stack, served, path)
        for other in ({"sid": "t"}, {"sid": None}, {"iss": "j"}, {"iss": None}, {"sub": "eve"}):
            await enter(stack, served, "/a", **other)
        await trio.sleep(50)
        with recorded() as records:
            assert await room.app.sessions.renew(wall.token(100, sid="s", iss="i", jti="new")) == 3
        assert room.leases(wall) == [150] * 3 + [100] * 5
        assert [conn.principal.token_id for conn in room.conns] == ["new"] * 3 + [None] * 5
        assert records.lines("server") == ["renewed: 3 of 3 connections"]
        assert await room.app.sessions.renew(wall.token(100, sid="u")) == 0


async def test_by_a_page(wall: Wall, autojump_clock: MockClock) -> None:
    """A page that renews the cookie renews the WebSockets of the browser."""
    room = Room()
    member = bearer(verifier, cookie("__Host-session"), warn="expiring")
    room.add("/", member)

    @room.app.page("/refresh", methods=["POST"], guard=member)
    async def refresh(request: Request[Claims]) -> Response:
        renewed = wall.token(100, request.principal.subject, sid=request.principal.session_id)
        count = await room.app.sessions.renew(renewed)
        return Response(f"{count}", cookies=[Cookie(name="__Host-session", value=renewed)])

    async with serve(room.app) as served:
        held = f"__Host-session={wall.token(100, sid='s')}"
        async with served.connect("/", headers={"Cookie": held}, timeout=500) as client:
            assert await client.receive() == "expiring"
            raw = RawClient(served.open_stream())
            lines = ["POST /refresh HTTP/1.1", "Host: localhost", "Origin: http://localhost", f"Cookie: {held}"]
            await raw.send("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
            assert (await raw.last_response()).body == b"1"
            assert await client.receive() == "expiring"
            assert trio.current_time() == pytest.approx(140)
            assert await client.wait_closed() == EXPIRED


async def test_each_by_its_own_rules(wall: Wall, autojump_clock: MockClock) -> None:
    """One is renewed, one refused, one ended and reported, one has a mistake in its guard; none knows of the others."""
    reports = list[ErrorReport]()
    room = Room(App(report=reports.append))

    def failing(failure: Exception) -> Guard[Anonymous, Claims]:
        asked = list[None]()

        @check
        async def at_second_sight(gate: Gate, claims: Claims) -> None:
            await trio.lowlevel.checkpoint()
            asked.append(None)
            if len(asked) > 1:
                raise failure

        return bearer(verifier) >> at_second_sight

    failures = (Unauthorized("no"), Forbidden("banned"), KeyError("mistake"))
    room.add("/", bearer(verifier))
    for failure in failures:
        room.add(f"/{type(failure).__name__}", failing(failure))
    async with serve(room.app) as served, AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(served.connect(path, headers=by(wall.token(100)), timeout=500))
            for path in ("/", "/Unauthorized", "/Forbidden", "/KeyError")
        ]
        await trio.sleep(50)
        assert await room.app.sessions.renew(wall.token(100)) == 1
        assert await clients[2].wait_closed() == FORBIDDEN
        await trio.sleep(2)
        assert room.leases(wall) == [150, 100, None, 100]
        told = {report.connection: type(report.exception) for report in reports}
        assert told == {room.conns[2].id: Forbidden, room.conns[3].id: KeyError}


async def test_a_revoked_token(wall: Wall, autojump_clock: MockClock) -> None:
    """It ends all that it is about, as it does by `Connection.renew`."""
    room = Room()
    room.add("/", bearer(verifier))
    async with serve(room.app) as served, AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(served.connect("/", headers=by(wall.token(100)), timeout=500))
            for _ in range(3)
        ]
        await wait_all_tasks_blocked()
        assert await room.app.sessions.revoke(token_id="7") == 0
        assert await room.app.sessions.renew(wall.token(100, jti="7")) == 0
        assert [await client.wait_closed() for client in clients] == [REVOKED] * 3


async def test_a_forged_token(wall: Wall, autojump_clock: MockClock) -> None:
    """It finds the connections, and changes nothing."""
    room = Room()
    room.add("/", bearer(verifier))
    forged = signed({"sub": "ada", "exp": wall.time() + 1000}, "another secret that is long enough for a test")
    async with serve(room.app) as served, served.connect("/", headers=by(wall.token(100)), timeout=500) as client:
        await wait_all_tasks_blocked()
        with recorded() as records:
            assert await room.app.sessions.renew(forged) == 0
            assert await room.app.sessions.renew(forged[: forged.rindex(".") + 1]) == 0
        assert records.lines("server") == ["renewed: 0 of 1 connections"] * 2
        assert forged not in " ".join(record.getMessage() for record in records.found)
        assert await client.wait_closed() == EXPIRED
    assert trio.current_time() == pytest.approx(100)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "nonsense",
        "a.b.c",
        "a;b",
        "a.bnVsbA.c",
        signed({"exp": 9e9}),
        signed({"sub": 7}),
        signed({"sub": "ada", "sid": ["s"]}),
        "e30.eyJzdWIiOiJhZGEiLCJpc3MiOnt9fQ.x",
        signed({"sub": "ada", "pad": "x" * 9000}),
        "e30." + "W1tb" * 1500 + ".x",
    ],
)
async def test_what_names_nobody(wrong: str, autojump_clock: MockClock) -> None:
    """Whatever is in its bytes: it is refused before anybody is asked."""
    with pytest.raises(Unauthorized, match="token refused: ") as refused:
        await App().sessions.renew(wrong)
    assert refused.value.__cause__ is None


async def test_slow_guards(wall: Wall, autojump_clock: MockClock) -> None:
    """One that is slow holds up nobody, and they are not all asked at once."""
    room, seen, at_once = Room(), list[int](), 0

    @check
    async def at_the_database(gate: Gate, claims: Claims) -> None:
        nonlocal at_once
        at_once += 1
        seen.append(at_once)
        await trio.sleep(20 if gate.handshake.query == "slow" and claims.token_id else 0.1)
        at_once -= 1

    room.add("/", bearer(verifier) >> at_the_database)
    async with serve(room.app) as served, AsyncExitStack() as stack:
        for number in range(100):
            path = "/?slow" if number < 5 else "/"
            await stack.enter_async_context(served.connect(path, headers=by(wall.token(100))))
        await wait_all_tasks_blocked()
        seen.clear()
        began = trio.current_time()
        with recorded() as records:
            assert await room.app.sessions.renew(wall.token(200, jti="2")) == 95
        assert trio.current_time() == pytest.approx(began + WITHIN)
        assert max(seen) == AT_ONCE
        assert records.lines("server") == [
            "renewing took more than 5 s: the connections that are left keep their leases",
            "renewed: 95 of 100 connections",
        ]
        assert [conn.principal.token_id for conn in room.conns] == [None] * 5 + ["2"] * 95


async def test_guards_have_their_own_time(wall: Wall, autojump_clock: MockClock) -> None:
    """A connection whose guards take longer than ``auth_timeout`` is not renewed, and the call goes on without it."""
    room = Room(App(limits=Limits(auth_timeout=2)))

    @check
    async def never(gate: Gate, claims: Claims) -> None:
        await trio.sleep(100 if claims.token_id else 0)

    room.add("/", bearer(verifier) >> never)
    async with connect(room.app, "/", headers=by(wall.token(100))):
        await wait_all_tasks_blocked()
        assert await room.app.sessions.renew(wall.token(200, jti="2")) == 0
        assert trio.current_time() == pytest.approx(2)
        assert room.leases(wall) == [100]


async def test_several_servers(wall: Wall, autojump_clock: MockClock) -> None:
    """Sessions are an app's, wherever it is served; another app has its own."""
    room, other = Room(), Room()
    for each in (room, other):
        each.add("/", bearer(verifier))
    async with serve(room.app) as one, serve(room.app) as two, serve(other.app) as three, AsyncExitStack() as stack:
        for served in (one, two, three):
            await stack.enter_async_context(served.connect("/", headers=by(wall.token(100))))
        await wait_all_tasks_blocked()
        assert await room.app.sessions.renew(wall.token(200)) == 2
        assert (room.leases(wall), other.leases(wall)) == ([200, 200], [100])


@frozen
class Row:
    """A credential of the application's own."""

    subject: str | None = "row 7"
    token_id: str | None = None
    issued_at: float | None = None


@guard
async def by_row(gate: Gate, claims: Claims) -> Claims:
    """Name the row of the user instead of the token's subject."""
    gate.identify(Row(), instead_of=claims)
    return claims


async def test_a_credential_that_counts_no_more(wall: Wall, autojump_clock: MockClock) -> None:
    """A connection is found by the token's subject, too, if a guard has named another one since."""
    room = Room()
    room.add("/", bearer(verifier) >> by_row)
    async with connect(room.app, "/", headers=by(wall.token(100))):
        await wait_all_tasks_blocked()
        assert await room.app.sessions.renew(wall.token(200)) == 1
        assert await room.app.sessions.renew(wall.token(300)) == 1
        assert room.leases(wall) == [300]
        assert await room.app.sessions.revoke(subject="ada", session_id="none") == 0
        assert await room.app.sessions.revoke(subject="row 7") == 1
    assert await room.app.sessions.renew(wall.token(200)) == 0


async def test_who_has_no_token(wall: Wall, autojump_clock: MockClock) -> None:
    """Who was let in as the same subject by something else has nothing to renew, and stays."""

    @guard
    async def by_certificate(gate: Gate, proved: Anonymous) -> Claims:
        claims = await verifier.verify(wall.token(100))
        gate.identify(claims)
        return claims

    room = Room()
    room.add("/", public >> by_certificate)
    async with connect(room.app, "/") as client:
        await wait_all_tasks_blocked()
        with recorded() as records:
            assert await room.app.sessions.renew(wall.token(200)) == 0
        assert records.lines("server") == ["renewed: 0 of 1 connections"]
        await client.send("still here")


def test_outside_of_trio() -> None:
    """There is no connection to renew where Trio does not run."""
    with pytest.raises(ConfigurationError, match=r"renew\(\) outside of Trio's thread"):
        App().sessions.renew("x.y.z").send(None)


def slow(wait: Callable[[], Awaitable[object]]) -> Guard[Anonymous, Claims]:
    """A door that waits for something when it is asked again."""

    @check
    async def waiting(gate: Gate, claims: Claims) -> None:
        if claims.token_id is not None:
            await wait()

    return bearer(verifier) >> waiting


async def test_cancelled(wall: Wall, autojump_clock: MockClock) -> None:
    """Who has not been renewed by then is as before, and can be renewed later."""
    room, later = Room(), trio.Event()
    room.add("/slow", slow(later.wait))
    room.add("/", bearer(verifier))
    async with serve(room.app) as served, AsyncExitStack() as stack:
        for path in ("/slow", "/"):
            await stack.enter_async_context(served.connect(path, headers=by(wall.token(100))))
        await wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await room.app.sessions.renew(wall.token(200, jti="2"))
        assert room.leases(wall) == [100, 200]
        later.set()
        assert await room.app.sessions.renew(wall.token(200, jti="2")) == 2


@pytest.mark.parametrize("how", ["revoked", "closed", "left"])
async def test_ended_meanwhile(how: str, wall: Wall, autojump_clock: MockClock) -> None:
    """A connection that ends while its guards are asked is not renewed any more."""
    room, later = Room(), trio.Event()
    room.add("/", slow(later.wait))
    async with serve(room.app) as served, served.connect("/", headers=by(wall.token(100))) as client:
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def renew() -> None:
                assert await room.app.sessions.renew(wall.token(200, jti="2")) == 0

            await wait_all_tasks_blocked()
            if how == "revoked":
                assert await room.app.sessions.revoke(subject="ada") == 1
            elif how == "closed":
                room.conns[0].close_nowait()
            else:
                await client.aclose()
            await trio.sleep(3)
            later.set()
        assert room.leases(wall) == [None]


async def test_one_at_a_time(wall: Wall, autojump_clock: MockClock) -> None:
    """Several renewals of one connection wait for each other; the last one counts."""
    room, asked = Room(), list[str]()

    @check
    async def noting(gate: Gate, claims: Claims) -> None:
        asked.append(f"+{claims.token_id}")
        await trio.sleep(0.1)
        asked.append(f"-{claims.token_id}")

    room.add("/", bearer(verifier) >> noting)
    async with connect(room.app, "/", headers=by(wall.token(100, jti="0"))):
        await wait_all_tasks_blocked()
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for number in range(1, 4):
                renewed = wall.token(100 + number, jti=str(number))
                nursery.start_soon(room.conns[0].renew if number == 2 else room.app.sessions.renew, renewed)
        assert [entry[0] for entry in asked] == ["+", "-"] * 4
        assert f"-{room.conns[0].principal.token_id}" == asked[-1]


async def test_the_age_of_a_connection(wall: Wall, autojump_clock: MockClock) -> None:
    """``max_age`` bounds these renewals too."""
    room = Room()
    room.add("/", bearer(verifier, max_age=150))
    async with connect(room.app, "/", headers=by(wall.token(100)), timeout=500) as client:
        await trio.sleep(80)
        first = room.conns[0].expiring
        assert await room.app.sessions.renew(wall.token(100)) == 1
        assert room.leases(wall) == [150]
        assert room.conns[0].expiring is not first
        assert await client.wait_closed() == EXPIRED
    assert trio.current_time() == pytest.approx(150)


async def test_what_is_kept(wall: Wall, autojump_clock: MockClock) -> None:
    """A connection that has been renewed, and one that was refused, leave no cycles behind."""
    room, gone = Room(), list[weakref.ref[Connection[Claims]]]()
    room.add("/", bearer(verifier, warn="expiring"))
    gc.collect()
    gc.disable()
    try:
        async with connect(room.app, "/", headers=by(wall.token(20))) as client:
            assert await client.receive() == "expiring"
            assert await room.app.sessions.renew(wall.token(200)) == 1
            assert await room.app.sessions.renew(wall.token(-1)) == 0
            gone.append(weakref.ref(room.conns.pop()))
        assert [ref() for ref in gone] == [None]
    finally:
        gc.enable()
