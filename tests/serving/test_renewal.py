"""Renewing a connection: its guards are asked again, with a new token, and all of it changes or nothing."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

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
    Disconnected,
    ErrorReport,
    Forbidden,
    Gate,
    Guard,
    LeaseExpired,
    Limits,
    Outcome,
    Revoked,
    Router,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    bearer,
    check,
    guard,
    has_scope,
    inherited,
    public,
)
from seawall.testing import CloseFrame, connect, serve
from seawall.tokens import AnyClaims, cookie, first_message, header
from tests.kit.log import recorded
from tests.kit.renewing import renew_each
from tests.kit.tokens import about_anything, by, signed, token, verifier

REVOKED = CloseFrame(3003, "revoked")
FORBIDDEN = CloseFrame(3003, "forbidden")
EXPIRED = CloseFrame(3000, "lease expired")


@frozen
class User:
    """A row of a database."""

    name: str
    role: str


@define
class Rows:
    """A database, and what is asked of it."""

    roles: dict[str, str] = field(factory=lambda: {"ada": "admin", "eve": "admin"})
    banned: set[str] = field(factory=set[str])
    asked: list[str] = field(factory=list[str])


def by_role(rows: Rows) -> Guard[AnyClaims, User]:
    """A guard that looks up a role."""

    @guard
    async def load_user(gate: Gate, claims: AnyClaims) -> User:
        await trio.lowlevel.checkpoint()
        rows.asked.append(claims.subject or "")
        if claims.subject in rows.banned:
            raise Forbidden("banned")
        return User(claims.subject or "", rows.roles[claims.subject or ""])

    return load_user


def renewing(door: Guard[Anonymous, object], limits: Limits | None = None) -> App:
    """An app with one route, which renews."""
    app = App(limits=limits)
    app.route("/", guard=door)(renew_each)
    return app


@check
async def admin(gate: Gate, claims: Claims) -> None:
    """Demand a role that only the token's raw claims have."""
    await trio.lowlevel.checkpoint()
    access = claims.raw.get("realm_access")
    if not (isinstance(access, dict) and "admin" in access.get("roles", ())):  # pyright: ignore[reportUnknownMemberType] # raw is raw
        raise Forbidden("no admin")


ADMIN = {"roles": ["admin"]}
CLERK = {"roles": ["clerk"]}


async def test_mended_01_a_role_that_was_lost(autojump_clock: MockClock) -> None:
    """A token that gets 403 at the door renews no admin's connection: it ends it."""
    app = renewing(bearer(verifier) >> admin)
    async with connect(app, "/", headers=by(token(realm_access=ADMIN))) as client:
        await client.send(token(realm_access=ADMIN))
        assert await client.receive() == "renewed"
        await client.send(token(realm_access=CLERK))
        assert await client.wait_closed() == FORBIDDEN


async def test_mended_01_rows_are_read_again(autojump_clock: MockClock) -> None:
    """The principal is made anew; a ban ends the connection at its next renewal, and is logged once."""
    rows, outcomes, reports, conns = Rows(), list[Outcome](), list[ErrorReport](), list[Connection[User]]()
    app = App(on_end=outcomes.append, report=reports.append)

    @app.route("/", guard=bearer(verifier) >> by_role(rows))
    async def handler(conn: Connection[User]) -> None:
        conns.append(conn)
        await renew_each(conn)

    async with connect(app, "/", headers=by(token())) as client:
        rows.roles["ada"] = "clerk"
        await client.send(token())
        assert await client.receive() == "renewed"
        assert conns[0].principal == User("ada", "clerk")
        rows.banned.add("ada")
        await client.send("nonsense")
        assert str(await client.receive()).startswith("Unauthorized: token refused")
        await client.send(token())
        assert await client.wait_closed() == FORBIDDEN
    assert rows.asked == ["ada"] * 3
    assert [type(report.exception) for report in reports] == [Forbidden]
    assert [outcome.code for outcome in outcomes] == [3003]


async def test_mended_01_mounts_are_asked_too(autojump_clock: MockClock) -> None:
    """The guards of all mounts above the route, and the checks of the route itself."""
    rows, seen = Rows(), list[str]()

    @check
    async def outermost(gate: Gate, principal: object, shop: str) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(shop)

    inner: Router[User] = Router()
    inner.route("/log", guard=inherited(outermost))(renew_each)
    outer: Router[Claims] = Router()
    outer.mount("/admin", inner, guard=by_role(rows))
    app = App()
    app.mount("/{shop}", outer, guard=outermost >> bearer(verifier) >> has_scope("chat"))
    async with connect(app, "/acme/admin/log", headers=by(token(scope="chat"))) as client:
        await client.send(token(scope="chat"))
        assert await client.receive() == "renewed"
        assert (seen, rows.asked) == (["acme"] * 4, ["ada"] * 2)
        await client.send(token())
        assert await client.wait_closed() == FORBIDDEN


async def test_mended_01_a_revoked_token(autojump_clock: MockClock) -> None:
    """One that verifies and was revoked ends the connection; a revoked one of somebody else does not."""
    app = renewing(bearer(verifier))
    await app.sessions.revoke(token_id="bad")
    async with connect(app, "/", headers=by(token(jti="1"))) as client:
        await client.send(token("eve", jti="bad"))
        assert await client.receive() == "Unauthorized: the new token is about another subject"
        await client.send(token(jti="bad"))
        assert await client.wait_closed() == REVOKED


async def test_mended_01_while_a_revocation_is_due(autojump_clock: MockClock) -> None:
    """A renewal does not outrun it, and it is reported once."""
    reports, principals = list[ErrorReport](), list[Claims]()
    app = App(report=reports.append)

    @app.route("/", guard=bearer(verifier))
    async def handler(conn: Connection[Claims]) -> None:
        assert await app.sessions.revoke(session_id="s") == 1
        try:
            await conn.renew(token(sid="s", jti="2"))
        finally:
            principals.append(conn.principal)

    async with connect(app, "/", headers=by(token(sid="s", jti="1"))) as client:
        assert await client.wait_closed() == REVOKED
    assert [type(report.exception) for report in reports] == [Revoked]
    assert [claims.token_id for claims in principals] == ["1"]


@pytest.mark.parametrize("revoked", ["old", "new"])
async def test_mended_01_revoked_while_guards_run(revoked: str, autojump_clock: MockClock) -> None:
    """By the old token or by the new one, before the guards are done."""
    app, conns = App(), list[Connection[Claims]]()

    @guard
    async def slow(gate: Gate, claims: Claims) -> Claims:
        await trio.sleep(1)
        return claims

    @app.route("/", guard=bearer(verifier) >> slow)
    async def handler(conn: Connection[Claims]) -> None:
        conns.append(conn)
        await renew_each(conn)

    async with connect(app, "/", headers=by(token(jti="old"))) as client:
        await client.send(token(jti="new"))
        await trio.sleep(0.5)
        await app.sessions.revoke(token_id=revoked)
        assert await client.wait_closed() == REVOKED
    assert conns[0].principal.token_id == "old"


def presented(claims: Mapping[str, object]) -> str:
    """A token of ada's, but for `claims`."""
    now = time.time()
    return signed({"sub": "ada", "iat": now, "exp": now + 60, **claims})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"iss": "us"}, {"iss": "them"}),
        ({"iss": "us"}, {}),
        ({"sid": "1"}, {"sid": "2"}),
        ({"sid": "1"}, {}),
        ({}, {"sid": "1"}),
        ({}, {"sub": "eve"}),
        ({"sub": None}, {"sub": None}),
        ({"sub": None, "jti": "1"}, {"sub": None, "jti": "2"}),
    ],
)
async def test_mended_01_somebody_elses(
    first: dict[str, object], second: dict[str, object], autojump_clock: MockClock
) -> None:
    """Identity is issuer, subject and session; a token of another one leaves everything as it is."""
    rows = Rows()
    app = renewing(bearer(about_anything) >> by_role(Rows(roles={"ada": "a", "": "a"}, asked=rows.asked)))
    async with connect(app, "/", headers=by(presented(first))) as client:
        await client.send(presented(second))
        assert await client.receive() == "Unauthorized: the new token is about another subject"
    assert len(rows.asked) == 1  # no other guard has seen somebody else's claims


async def test_mended_01_a_session_without_a_subject(autojump_clock: MockClock) -> None:
    """Is an identity too."""
    app = renewing(bearer(about_anything))
    async with connect(app, "/", headers=by(token(None, sid="1"))) as client:
        await client.send(token(None, sid="1"))
        assert await client.receive() == "renewed"


@pytest.mark.parametrize("scopes", ["chat", "chat more", ""])
async def test_mended_01_rights_are_not_compared(scopes: str, autojump_clock: MockClock) -> None:
    """More, fewer, none: what the route demands is asked of the new token, and nothing else."""
    app = renewing(bearer(verifier))
    async with connect(app, "/", headers=by(token(scope="chat"))) as client:
        await client.send(token(scope=scopes))
        assert await client.receive() == "renewed"


async def test_mended_01_where_the_old_token_stood(autojump_clock: MockClock) -> None:
    """The new one stands there for every guard, and nowhere else."""
    seen = list[tuple[str | None, str | None]]()

    @guard
    async def look(gate: Gate, claims: Claims) -> Claims:
        await trio.lowlevel.checkpoint()
        seen.append((gate.handshake.header("authorization"), gate.handshake.header("cookie")))
        return claims

    first, second, third = token(jti="1"), token(jti="2"), token(jti="3")
    app = renewing(bearer(verifier, header(), cookie("t")) >> look)
    in_header = {"Authorization": f"bearer  {first}", "Cookie": f"tt={first}"}
    in_cookie = {"Cookie": f'a=b; t="{first}";tt={first}'}
    for headers, wanted in (
        (in_header, [(f"Bearer {new}", f"tt={first}") for new in (second, third)]),
        (in_cookie, [(None, f"a=b;t={new};tt={first}") for new in (second, third)]),
    ):
        async with connect(app, "/", headers=headers) as client:
            seen.clear()
            for new in (second, third):
                await client.send(new)
                assert await client.receive() == "renewed"
        assert seen == wanted


@pytest.mark.parametrize("injected", ["; role=admin", ";", '"', "\r\nX-Role: admin", " ", ",", "\x00", "\xe9"])
async def test_mended_01_a_token_brings_no_cookies(injected: str, autojump_clock: MockClock) -> None:
    """What is no token does not get into the handshake that guards see."""
    asked = list[str]()

    @check
    async def count(gate: Gate, proved: object) -> None:
        await trio.lowlevel.checkpoint()
        asked.append(str(gate.handshake.headers))

    app = renewing(count >> bearer(verifier, header(), cookie("t")))
    async with connect(app, "/", headers={"Cookie": f"t={token()}"}) as client:
        await client.send(token() + injected)
        assert await client.receive() == "Unauthorized: token refused: it has characters that no token has"
    assert len(asked) == 1


async def test_mended_01_a_first_message(autojump_clock: MockClock) -> None:
    """Its guard takes the new token directly; nothing is awaited of the peer."""
    app = renewing(bearer(verifier) | bearer(verifier, first_message()) >> has_scope("chat"))
    async with connect(app, "/") as client:
        await client.send(token(scope="chat"))
        for _ in range(2):
            await client.send(token(scope="chat"))
            assert await client.receive() == "renewed"
        await client.send("nonsense")
        assert str(await client.receive()).startswith("Unauthorized: token refused")
        await client.send(token())
        assert await client.wait_closed() == FORBIDDEN


async def test_mended_01_either(autojump_clock: MockClock) -> None:
    """Whoever was let in as anonymous stays anonymous, whatever token comes; and is told so, not cut off."""
    app = renewing(bearer(verifier) | public)
    async with connect(app, "/") as client:
        await client.send(token())
        assert await client.receive() == "Unauthorized: this connection was let in without a token"
    async with connect(app, "/", headers=by(token())) as client:
        await client.send(token())
        assert await client.receive() == "renewed"


@pytest.mark.parametrize("word", ["receive_text", "send_text"])
async def test_mended_01_a_guard_that_talks(word: str, autojump_clock: MockClock) -> None:
    """It cannot talk again: the renewal fails with the remedy, and the handler may go on."""
    app, raised = App(), list[Exception]()

    @guard
    async def talk(gate: Gate, claims: Claims) -> Claims:
        await gate.accept()
        if word == "receive_text":
            await gate.receive_text()
        else:
            await gate.send_text("who?")
        return claims

    @app.route("/", guard=bearer(verifier) >> talk)
    async def handler(conn: Connection[Claims]) -> None:
        async for message in conn:
            try:
                await conn.renew(str(message))
            except ConfigurationError as error:
                raised.append(error)
                await conn.send("still here")

    async with connect(app, "/", headers=by(token())) as client:
        if word == "receive_text":
            await client.send("me")
        else:
            assert await client.receive() == "who?"
        await client.send(token())
        assert await client.receive() == "still here"
    assert word in str(raised)


def entering(entered: list[str]) -> Callable[[Gate, str], Awaitable[list[str]]]:
    """Two resources, by name."""

    @asynccontextmanager
    async def lamp(name: str) -> AsyncGenerator[list[str]]:
        entered.append(f"on {name}")
        yield [name]
        entered.append(f"off {name}")

    @asynccontextmanager
    async def heater(name: str) -> AsyncGenerator[list[str]]:
        entered.append(f"hot {name}")
        yield [name]
        entered.append(f"cold {name}")

    return lambda gate, name: gate.enter(heater(name) if name.startswith("heater") else lamp(name))


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ("a b", "a b", "renewed"),
        ("a heater", "b heater", "renewed"),
        ("", "", "renewed"),
        ("a", "heater", "Unauthorized: the new token leads to another resource than the first one"),
        ("a heater", "heater a", "Unauthorized: the new token leads to another resource than the first one"),
        ("a", "a b", "Unauthorized: the new token leads to more resources than the first one"),
        ("a b", "a", "Unauthorized: the new token leads to fewer resources than the first one"),
    ],
)
async def test_mended_01_resources(first: str, second: str, outcome: str, autojump_clock: MockClock) -> None:
    """They are handed back if the same functions ask for them in the same order; nothing is entered twice."""
    entered, held = list[str](), list[list[str]]()
    enter = entering(entered)

    @guard
    async def lit(gate: Gate, claims: Claims) -> Claims:
        for name in str(claims.raw["rooms"]).split(" "):
            if name:
                held.append(await enter(gate, name))
        return claims

    app = renewing(bearer(verifier) >> lit)
    async with connect(app, "/", headers=by(token(rooms=first))) as client:
        before, values = list(entered), list(held)
        await client.send(token(rooms=second))
        assert str(await client.receive()).startswith(outcome)
        assert entered == before
        if outcome == "renewed":
            assert all(one is other for one, other in zip(values, held[len(values) :], strict=True))
    assert len(entered) == 2 * len(before)


async def test_mended_01_all_or_nothing(autojump_clock: MockClock) -> None:
    """A renewal that fails at its last guard has changed no lease, no credential and no principal."""
    app, refuse, conns = App(), [Unauthorized("later")], list[Connection[Claims]]()

    @check
    async def last(gate: Gate, claims: Claims) -> None:
        await trio.lowlevel.checkpoint()
        if claims.token_id == "2":
            raise refuse[0]

    @app.route("/", guard=bearer(verifier) >> last)
    async def handler(conn: Connection[Claims]) -> None:
        conns.append(conn)
        await renew_each(conn)

    async with connect(app, "/", headers=by(token(jti="1", seconds=60))) as client:
        await client.send(token(jti="2", seconds=600))
        assert await client.receive() == "Unauthorized: later"
        assert conns[0].principal.token_id == "1"
        assert await app.sessions.revoke(token_id="2") == 0
        await client.send(token(jti="3", seconds=90))
        assert await client.receive() == "renewed"
        assert conns[0].principal.token_id == "3"
        assert await app.sessions.revoke(token_id="1") == 0
        assert await client.wait_closed() == EXPIRED
    assert trio.current_time() == pytest.approx(90, abs=0.5)


@pytest.mark.parametrize("refusal", [Unauthorized, TooManyRequests, Unavailable])
async def test_mended_01_what_a_guard_says_later(refusal: type[Exception], autojump_clock: MockClock) -> None:
    """A refusal other than Forbidden is for the handler; the connection goes on."""
    refusals = list[Exception]()

    @check
    async def moody(gate: Gate, claims: Claims) -> None:
        await trio.lowlevel.checkpoint()
        if refusals:
            raise refusals.pop()

    app = renewing(bearer(verifier) >> moody)
    async with connect(app, "/", headers=by(token())) as client:
        refusals.append(refusal("not now"))
        await client.send(token())
        assert await client.receive() == f"{refusal.__name__}: not now"
        await client.send(token())
        assert await client.receive() == "renewed"


async def test_mended_01_guards_that_take_too_long(autojump_clock: MockClock) -> None:
    """They have ``auth_timeout``; then the handler is told, and nothing has changed."""
    slow = [0.0]

    @guard
    async def sleepy(gate: Gate, claims: Claims) -> Claims:
        await trio.sleep(slow[0])
        return claims

    app = renewing(bearer(verifier) >> sleepy, Limits(auth_timeout=3))
    async with connect(app, "/", headers=by(token())) as client:
        slow[0] = 100
        await client.send(token())
        assert await client.receive() == "AuthTimeout: authentication timed out"
        assert trio.current_time() == 3
        slow[0] = 2
        await client.send(token())
        assert await client.receive() == "renewed"


async def test_mended_01_guards_that_answer_too_late(autojump_clock: MockClock) -> None:
    """What a guard says that cannot be cancelled in time counts no more, as it does not at the door."""
    slow = [0.0]

    @guard
    async def stubborn(gate: Gate, claims: Claims) -> Claims:
        with trio.CancelScope(shield=True):
            await trio.sleep(slow[0])
        return claims

    app = renewing(bearer(verifier) >> stubborn, Limits(auth_timeout=3))
    async with connect(app, "/", headers=by(token(seconds=20))) as client:
        slow[0] = 10
        await client.send(token(seconds=60))
        assert await client.receive() == "AuthTimeout: authentication timed out"
        assert await client.wait_closed() == EXPIRED
        assert trio.current_time() < 25


async def test_mended_01_one_at_a_time(autojump_clock: MockClock) -> None:
    """The second waits for the first, and the last one counts; one that is cancelled changes nothing."""
    app, running, most = App(), [0], [0]
    conns = list[Connection[Claims]]()

    @guard
    async def sleepy(gate: Gate, claims: Claims) -> Claims:
        running[0] += 1
        most[0] = max(most[0], running[0])
        try:
            await trio.sleep(1)
        finally:
            running[0] -= 1
        return claims

    @app.route("/", guard=bearer(verifier) >> sleepy)
    async def handler(conn: Connection[Claims]) -> None:
        conns.append(conn)
        with trio.move_on_after(0.5):
            await conn.renew(token(jti="cancelled"))
        assert conn.principal.token_id == "0"
        async with trio.open_nursery() as nursery:
            for number in range(1, 4):
                nursery.start_soon(conn.renew, token(jti=str(number)))
                await wait_all_tasks_blocked()
        await conn.send(str(conn.principal.token_id))

    async with connect(app, "/", headers=by(token(jti="0"))) as client:
        assert await client.receive() == "3"
    assert most == [1]
    assert trio.current_time() == 4.5


async def test_mended_01_a_guard_that_leaves_a_nursery_open(autojump_clock: MockClock) -> None:
    """What breaks the task of the guards does not break the handler's."""
    gates = list[object]()

    async def broken() -> AsyncGenerator[None]:
        async with trio.open_nursery():
            yield  # noqa: ASYNC101, ASYNC119 - that is the mistake

    @guard
    async def careless(gate: Gate, claims: Claims) -> Claims:
        if gates:
            opened = broken()
            gates.append(opened)
            await anext(opened)
        gates.append(gate)
        return claims

    app, after = App(), list[str]()

    @app.route("/", guard=bearer(verifier) >> careless)
    async def handler(conn: Connection[Claims]) -> None:
        with trio.move_on_after(5):
            try:
                await conn.renew(token())
            except Exception as error:  # noqa: BLE001 - what Trio says about it
                after.append(type(error).__name__)
        with trio.move_on_after(1) as scope:
            await trio.sleep_forever()
        after.append(str(scope.cancelled_caught))
        await conn.send("fine")

    async with connect(app, "/", headers=by(token())) as client:
        assert await client.receive() == "fine"
    assert after[-1] == "True"


async def test_mended_01_no_place_is_counted_twice(autojump_clock: MockClock) -> None:
    """Who has all places of a subject can renew, again and again, and has as many afterwards."""
    app = renewing(bearer(verifier), Limits(max_connections_per_subject=1))
    async with connect(app, "/", headers=by(token())) as client:
        for number in range(3):
            await client.send(token(jti=str(number)))
            assert await client.receive() == "renewed"
            assert len(app.sessions) == 1
    assert len(app.sessions) == 0
    async with connect(app, "/", headers=by(token())):
        assert len(app.sessions) == 1


@frozen
class Key:
    """A credential that a guard reads from a database."""

    subject: str | None = None
    token_id: str | None = "key"
    issued_at: float | None = 0.0


async def test_mended_01_guards_that_identify_differently(autojump_clock: MockClock) -> None:
    """Everybody who was named at the door has to be named again, and nobody else."""
    keys: list[list[Key]] = [[Key()], [], [Key(), Key("bob")], [Key(token_id=None)], [Key()]]

    @guard
    async def with_key(gate: Gate, claims: Claims) -> Claims:
        await trio.lowlevel.checkpoint()
        for key in keys.pop(0):
            gate.identify(key)
        return claims

    app = renewing(bearer(verifier) >> with_key)
    async with connect(app, "/", headers=by(token())) as client:
        for answer in ("does not prove all", "another subject", "another subject", "renewed"):
            await client.send(token())
            assert answer in str(await client.receive())


class Mute(Guard[Anonymous, Claims]):
    """Runs `bearer` over a gate of its own, which hears nothing of what it says."""

    async def admit(self, gate: Gate, proved: Anonymous, /) -> Claims:
        """Verify by hand."""
        await trio.lowlevel.checkpoint()
        header = gate.handshake.header("authorization") or ""
        return await verifier.verify(header.removeprefix("Bearer "))


async def test_mended_01_a_guard_that_names_nobody(autojump_clock: MockClock) -> None:
    """Without `bearer` there is nowhere to put a token: renewing is a mistake of the program, with the remedy."""
    app, raised = App(), list[Exception]()

    @app.route("/", guard=Mute())
    async def handler(conn: Connection[Claims]) -> None:
        with pytest.raises(ConfigurationError, match="put bearer") as error:
            await conn.renew(token("eve"))
        raised.append(error.value)
        await conn.send(conn.principal.subject or "")

    async with connect(app, "/", headers=by(token())) as client:
        assert await client.receive() == "ada"
    assert len(raised) == 1


async def test_mended_01_a_guard_that_asks_no_more(autojump_clock: MockClock) -> None:
    """If no guard takes the new token, it has proved nothing."""
    remembered = list[Claims]()
    inner = bearer(verifier)

    @guard
    async def caching(gate: Gate, proved: Anonymous) -> Claims:
        if not remembered:
            remembered.append(await inner.admit(gate, proved))
        else:
            gate.identify(remembered[0])
        return remembered[0]

    app = renewing(caching)
    async with connect(app, "/", headers=by(token())) as client:
        await client.send("nonsense")
        assert await client.receive() == "Unauthorized: no guard has taken the new token"


async def test_mended_01_from_another_task_than_the_connections(autojump_clock: MockClock) -> None:
    """Whoever renews it, its own handler sees the new principal, and a refusal ends that connection alone."""
    conns = list[Connection[Claims]]()
    app = App()

    @app.route("/", guard=bearer(verifier) >> has_scope("chat"))
    async def handler(conn: Connection[Claims]) -> None:
        conns.append(conn)
        await trio.sleep_forever()

    async with serve(app) as served:
        async with served.connect("/", headers=by(token(scope="chat", jti="1"))) as client:
            await conns[0].renew(token(scope="chat", jti="2"))
            assert conns[0].principal.token_id == "2"
            with pytest.raises(Disconnected):
                await conns[0].renew(token(jti="3"))
            assert await client.wait_closed() == FORBIDDEN
            assert conns[0].principal.token_id == "2"
        with pytest.raises(LeaseExpired):
            await conns[0].renew(token(scope="chat", jti="4"))


async def test_mended_01_the_log_names_the_new_principal(autojump_clock: MockClock) -> None:
    """And no token is in it."""
    rows = Rows()
    presented, renewed = token(), token(jti="2")
    with recorded() as records:
        app = renewing(bearer(verifier) >> by_role(rows))
        async with connect(app, "/", headers=by(presented)) as client:
            rows.banned.add("ada")
            await client.send(renewed)
            assert await client.wait_closed() == FORBIDDEN
    said = " ".join(record.getMessage() for record in records.found)
    assert "banned" in said
    assert presented not in said
    assert renewed not in said


async def test_mended_01_what_is_kept(autojump_clock: MockClock) -> None:
    """A connection that has been renewed, and one whose renewal was refused, leave no cycles behind."""
    app, gone = App(), list[weakref.ref[Connection[Claims]]]()

    @app.route("/", guard=bearer(verifier))
    async def handler(conn: Connection[Claims]) -> None:
        gone.append(weakref.ref(conn))
        for _ in range(2):
            await conn.renew(token())
        for wrong in (token("eve"), "nonsense"):
            try:
                await conn.renew(wrong)
            except Unauthorized:
                pass
        await conn.send("done")

    gc.collect()
    gc.disable()
    try:
        async with connect(app, "/", headers=by(token())) as client:
            assert await client.receive() == "done"
        assert [ref() for ref in gone] == [None]
    finally:
        gc.enable()


async def test_mended_01_an_expired_token(autojump_clock: MockClock) -> None:
    """It leaves the lease as it is."""
    app = renewing(bearer(verifier))
    async with connect(app, "/", headers=by(token(seconds=30))) as client:
        await client.send(token(seconds=-5))
        assert await client.receive() == "TokenExpired: token expired"
        await client.send(
            signed({"sub": "ada", "exp": time.time() + 90}, "another secret, which is as long as ours is")
        )
        assert str(await client.receive()).startswith("Unauthorized: token refused")
        assert await client.wait_closed() == EXPIRED
    assert trio.current_time() == pytest.approx(30, abs=0.5)


@frozen
class Row:
    """A credential of an application's own, which counts in place of the token."""

    subject: str | None
    token_id: str | None = None
    issued_at: float | None = None


@guard
async def by_row(gate: Gate, claims: Claims) -> Claims:
    """Look up who it is."""
    gate.identify(Row(f"row of {claims.subject}", issued_at=time.time()), instead_of=claims)
    return claims


async def test_mended_01_a_credential_that_counts_no_more(autojump_clock: MockClock) -> None:
    """Compared is whom the door had named, the token among them although another credential counts in its place."""
    app = renewing(bearer(verifier) >> by_row)
    async with connect(app, "/", headers=by(token("ada", jti="1"))) as client:
        for jti in "23":
            await client.send(token("ada", jti=jti))
            assert await client.receive() == "renewed"
        await client.send(token("eve"))
        assert await client.receive() == "Unauthorized: the new token is about another subject"
        assert await app.sessions.revoke(token_id="3") == 0
        assert await app.sessions.revoke(subject="row of ada") == 1
        assert await client.wait_closed() == REVOKED


@pytest.mark.parametrize("late", ["Trio's", "the wall"])
async def test_mended_01_a_token_that_expires_while_guards_run(
    late: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as one that has expired before, by whichever clock: the old lease stays, and the next token renews."""
    began, now, ahead = trio.current_time(), time.time(), 0.0
    monkeypatch.setattr("seawall.clock.source", lambda: now + ahead + trio.current_time() - began)

    @check
    async def slow(gate: Gate, claims: Claims) -> None:
        nonlocal ahead
        if claims.token_id == "slow" and late == "the wall":
            ahead = 4.0
        elif claims.token_id == "slow":
            await trio.sleep(4.0)

    app = renewing(bearer(verifier) >> slow)
    async with connect(app, "/", headers=by(token(seconds=60))) as client:
        await client.send(token(seconds=3, jti="slow"))
        assert await client.receive() == "Unauthorized: what the new token proves has ended while the guards were asked"
        await client.send(token(seconds=30))
        assert await client.receive() == "renewed"
        assert await client.wait_closed() == EXPIRED
