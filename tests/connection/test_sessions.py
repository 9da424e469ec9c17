"""Revoking what somebody was let in by, and counting the connections of one subject."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import cast, final
from uuid import uuid4

import pytest
import trio
from attrs import define, evolve, frozen

from seawall import (
    Anonymous,
    App,
    Claims,
    ConfigurationError,
    Connection,
    Credential,
    ErrorReport,
    Gate,
    Limits,
    Revoked,
    Sessions,
    TokenVerifier,
    Unauthorized,
    Unavailable,
    any_audience,
    any_issuer,
    bearer,
    guard,
    public,
)
from seawall.connection.revocations import CredentialSnapshot, Entry, Selection
from seawall.connection.sessions import table_of
from seawall.observability.reports import log_report
from seawall.sessions import Revocation, SessionInfo
from seawall.testing import Client, Closed, CloseFrame, Rejected, Serving, connect, serve
from seawall.tokens import AnyClaims, first_message, header
from tests.kit.tokens import SECRET, about_anything, by, token, verifier


@frozen
class Pass:
    """A credential that is not a token."""

    subject: str | None = "ada"
    token_id: str | None = None
    issued_at: float | None = 1000.0


def members(limits: Limits | None = None, report: Callable[[ErrorReport], None] = log_report) -> App:
    """An app whose handler echoes, and renews by what begins with ``renew``."""
    app = App(limits=limits, report=report)

    @app.route("/", guard=bearer(verifier))
    async def handler(conn: Connection[Claims]) -> None:
        async for message in conn:
            try:
                if str(message).startswith("renew "):
                    await conn.renew(str(message).removeprefix("renew "))
            except Unauthorized as refusal:
                await conn.send(str(refusal))
            else:
                await conn.send(message)

    return app


async def is_served(client: Client) -> bool:
    """Whether it echoes."""
    await client.send("there?")
    return await client.receive() == "there?"


async def status(app: App, presented: str) -> int:
    """The status with which a token is refused."""
    with pytest.raises(Rejected) as refused:
        async with connect(app, "/", headers=by(presented)):
            pass
    return refused.value.status


async def test_a_subject_is_logged_out(autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """All her connections end at once with 3003, nobody else's do; her tokens are refused, but for those to come."""
    app, first, second = members(), token(), token()
    async with (
        connect(app, "/", headers=by(first)) as ada,
        connect(app, "/", headers=by(second)) as ada_too,
        connect(app, "/", headers=by(token("bob"))) as bob,
    ):
        assert await app.sessions.revoke(subject="ada") == 2
        for client in (ada, ada_too):
            assert await client.wait_closed() == CloseFrame(3003, "revoked")
        assert await app.sessions.revoke(subject="ada") == 0
        assert await is_served(bob)
        assert trio.current_time() == 0
    for old in (first, second, token()):  # the last one may have been there, if its clock is ahead
        assert await status(app, old) == 401
    later = time.time() + 61
    monkeypatch.setattr("seawall.clock.source", lambda: later)
    async with connect(app, "/", headers=by(token(iat=later, exp=later + 60))) as again:
        assert await is_served(again)


async def test_one_token_is_revoked() -> None:
    """By its id; the subject's other tokens stay."""
    app, stolen = members(), token(jti="stolen")
    async with (
        connect(app, "/", headers=by(stolen)) as thief,
        connect(app, "/", headers=by(token(jti="hers"))) as ada,
    ):
        assert await app.sessions.revoke(token_id="stolen") == 1
        assert await thief.wait_closed() == CloseFrame(3003, "revoked")
        assert await is_served(ada)
    assert await status(app, stolen) == 401


async def test_everybody_is_logged_out() -> None:
    """By a time: what was issued before it ends, for whomever, and so do tokens that do not say when they were."""
    app, now = members(), time.time()
    async with (
        connect(app, "/", headers=by(token(iat=now - 30))) as old,
        connect(app, "/", headers=by(token("bob", iat=None))) as timeless,
        connect(app, "/", headers=by(token("eve", iat=now - 10))) as young,
    ):
        assert await app.sessions.revoke(issued_before=now - 20) == 2
        for client in (old, timeless):
            assert await client.wait_closed() == CloseFrame(3003, "revoked")
        assert await is_served(young)


@pytest.mark.parametrize(
    ("given", "good", "bad"),
    [
        ({"subject": "ada", "issued_before": 2000.0}, Pass("bob"), Pass("ada")),
        ({"subject": "ada", "issued_before": 2000.0}, Pass(issued_at=2000.0), Pass(issued_at=1999.0)),
        ({"subject": "ada", "issued_before": 2000.0}, Pass(None), Pass(issued_at=None)),
        ({"subject": "ada"}, Pass("bob"), Pass()),
        ({"token_id": "7"}, Pass(token_id="8"), Pass(token_id="7", issued_at=9e9)),
        ({"token_id": "7"}, Pass(), Pass(None, "7")),
        ({"subject": "ada", "token_id": "7"}, Pass(token_id="8"), Pass(token_id="7")),
        ({"subject": "ada", "token_id": "7"}, Pass("bob", "7"), Pass(token_id="7", issued_at=None)),
        ({"token_id": "7", "issued_before": 2000.0}, Pass(token_id="7", issued_at=2000.0), Pass(token_id="7")),
        ({"issued_before": 2000.0}, Pass(issued_at=2000.0), Pass(None, None, None)),
    ],
)
async def test_what_matches(given: dict[str, object], good: Credential, bad: Credential) -> None:
    """A credential matches in everything that is given, and one that says nothing about its age is old."""
    sessions = Sessions(at_most=None)
    assert not sessions.is_revoked(bad)
    assert await sessions.revoke(**given) == 0  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # a table
    assert sessions.is_revoked(bad)
    assert not sessions.is_revoked(good)


async def test_revoking_again_takes_nothing_back() -> None:
    """The later of two times counts, in whatever order they come."""
    sessions = Sessions(at_most=None)
    await sessions.revoke(subject="ada", issued_before=2000.0)
    await sessions.revoke(subject="ada", issued_before=1500.0)
    await sessions.revoke(issued_before=500.0)
    await sessions.revoke(issued_before=400.0)
    assert sessions.is_revoked(Pass(issued_at=1999.0))
    assert sessions.is_revoked(Pass("bob", issued_at=499.0))


@frozen
class Ticket:
    """A credential that says all that one can say."""

    subject: str | None = "ada"
    token_id: str | None = None
    issued_at: float | None = 1000.0
    issuer: str | None = None
    session_id: str | None = None
    expires_at: float | None = None


def few_places() -> App:
    """An app where every subject has one place; the verifier allows a minute between the clocks."""
    app, lenient = (
        App(limits=Limits(max_connections_per_subject=1)),
        TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, leeway=60),
    )

    @app.route("/", guard=bearer(lenient))
    async def handler(conn: Connection[Claims]) -> None:
        async for message in conn:
            await conn.send(message)

    return app


async def test_mended_07_a_token_from_within_the_skew() -> None:
    """Who is revoked has no use of a token whose clock is ahead, connected with it or not; others have."""
    app, ahead = few_places(), token(iat=time.time() + 50)
    assert await app.sessions.revoke(subject="ada") == 0
    assert await status(app, ahead) == 401
    async with connect(app, "/", headers=by(token("bob", iat=time.time() + 50))) as bob:
        assert await is_served(bob)


async def test_mended_07_logging_in_again_at_once() -> None:
    """A log-out by session ends that session alone: the next one of the same subject is let in in the same second."""
    app, ahead = few_places(), time.time() + 50
    async with connect(app, "/", headers=by(token(sid="first"))) as ada:
        assert await app.sessions.revoke(session_id="first") == 1
        assert await ada.wait_closed() == CloseFrame(3003, "revoked")
    for iat in (time.time(), ahead):
        assert await status(app, token(sid="first", iat=iat)) == 401
    async with connect(app, "/", headers=by(token(sid="second"))) as again:
        assert await is_served(again)
    await app.sessions.revoke(subject="ada")
    assert await status(app, token(sid="third")) == 401


async def test_mended_07_subjects_of_two_issuers() -> None:
    """They have places of their own, and are logged out on their own; a subject alone is every issuer's."""
    app = few_places()
    async with (
        connect(app, "/", headers=by(token(iss="https://us.example"))) as ours,
        connect(app, "/", headers=by(token(iss="https://them.example"))) as theirs,
        connect(app, "/", headers=by(token())) as nobodys,
    ):
        with pytest.raises(Rejected, match="429"):
            async with connect(app, "/", headers=by(token(iss="https://us.example"))):
                pass
        assert await app.sessions.revoke(issuer="https://us.example", subject="ada") == 1
        assert await ours.wait_closed() == CloseFrame(3003, "revoked")
        assert await status(app, token(iss="https://us.example")) == 401
        assert await is_served(theirs)
        assert await app.sessions.revoke(issuer="", subject="ada") == 1
        assert await nobodys.wait_closed() == CloseFrame(3003, "revoked")
        assert await app.sessions.revoke(subject="ada") == 1
        assert await theirs.wait_closed() == CloseFrame(3003, "revoked")


async def test_mended_07_an_issuer_is_revoked() -> None:
    """All that it has issued until now, for whomever."""
    app = members()
    async with (
        connect(app, "/", headers=by(token("bob", iss="them"))) as bob,
        connect(app, "/", headers=by(token(iss="us"))) as ada,
    ):
        assert await app.sessions.revoke(issuer="them") == 1
        assert await bob.wait_closed() == CloseFrame(3003, "revoked")
        assert await is_served(ada)
    assert await status(app, token("eve", iss="them")) == 401


async def test_mended_07_the_innocent() -> None:
    """A hundred thousand tokens that one subject revokes shut out that subject, and nobody who has an older token."""
    sessions, now = Sessions(at_most=None), time.time()
    innocent = Ticket("innocent", issued_at=now - 60, expires_at=now + 3600)
    timeless = Ticket("innocent", issued_at=None, expires_at=now + 3600)
    for number in range(100_001):
        await sessions.revoke(subject="mallory", token_id=str(number))
    assert not sessions.is_revoked(innocent)
    assert not sessions.is_revoked(timeless)
    for number in (0, 50_000, 100_000):
        assert sessions.is_revoked(Ticket("mallory", str(number), now - 60))


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The wall clock, which stands still but for what a test does to it; and a table with room for three."""
    monkeypatch.setattr("seawall.connection.revocations.MAX_REVOCATIONS", 3)
    now = [1_000_000.0]
    monkeypatch.setattr("seawall.clock.source", lambda: now[0])
    return now


async def test_mended_07_what_has_had_its_time_goes_first(wall: list[float]) -> None:
    """It makes room, and harms only what lives longer than revocations are kept, and so may have been meant."""
    sessions = Sessions(at_most=None, kept=100.0)
    await sessions.revoke(subject="ada")
    for wall[0] in (1_000_050.0, 1_000_051.0):
        await sessions.revoke(subject=f"bob at {wall[0]}")
    wall[0] = 1_000_101.0
    await sessions.revoke(subject="carol")
    for now, subject in ((wall[0], "carol"), (1_000_050.0, "bob at 1000050.0"), (1_000_051.0, "bob at 1000051.0")):
        assert sessions.is_revoked(Ticket(subject, issued_at=now, expires_at=now + 90))
    assert not sessions.is_revoked(Ticket("dan", issued_at=1_000_002.0, expires_at=1_000_102.0))
    assert sessions.is_revoked(Ticket("ada", issued_at=999_999.0, expires_at=1_000_102.0))
    assert not sessions.is_revoked(Ticket("dan", issued_at=None, expires_at=1_000_200.0))
    assert sessions.is_revoked(Ticket("dan", issued_at=None, expires_at=1_000_202.0))
    assert sessions.is_revoked(Ticket("dan", issued_at=1_000_059.0, expires_at=1_000_160.0), skew=60.0)


async def test_what_is_revoked_again_is_remembered_for_longer(wall: list[float]) -> None:
    """From the last time on: what was revoked once, and later, makes room before it."""
    sessions = Sessions(at_most=None, kept=100.0)
    await sessions.revoke(subject="ada")
    wall[0] = 1_000_001.0
    await sessions.revoke(subject="bob")
    wall[0] = 1_000_050.0
    await sessions.revoke(subject="ada")
    await sessions.revoke(subject="carol")
    wall[0] = 1_000_102.0
    await sessions.revoke(subject="dan")
    for subject in ("ada", "carol", "dan"):
        assert sessions.is_revoked(Ticket(subject, issued_at=1_000_049.0, expires_at=1_000_200.0))
    assert not sessions.is_revoked(Ticket("bob", issued_at=1_000_049.0, expires_at=1_000_200.0))
    assert sessions.is_revoked(Ticket("bob", issued_at=1_000_000.0, expires_at=1_000_200.0))


async def test_what_was_folded_makes_no_room(wall: list[float]) -> None:
    """The ends of the tokens that all that their owner had stands for now are passed over, and another's time comes."""
    sessions = Sessions(at_most=None, kept=100.0)
    await sessions.revoke(issuer="us", subject="ada", token_id="1")
    await sessions.revoke(issuer="us", subject="ada", token_id="2")
    wall[0] = 1_000_040.0
    await sessions.revoke(issuer="us", subject="bob")
    wall[0] = 1_000_050.0
    await sessions.revoke(issuer="us", subject="ada", token_id="3")  # one too many
    wall[0] = 1_000_060.0
    await sessions.revoke(issuer="us", subject="carol")
    wall[0] = 1_000_141.0
    await sessions.revoke(issuer="us", subject="dan")
    for subject in ("ada", "carol", "dan"):
        assert sessions.is_revoked(Ticket(subject, issued_at=1_000_045.0, expires_at=1_000_200.0, issuer="us"))
    assert not sessions.is_revoked(Ticket("bob", issued_at=1_000_045.0, expires_at=1_000_200.0, issuer="us"))


async def test_mended_07_until_the_table_is_full_nothing_is_given_up(wall: list[float]) -> None:
    """What has had its time is remembered while there is room, and harms nobody."""
    sessions = Sessions(at_most=None, kept=100.0)
    for name in ("ada", "bob", "carol"):
        await sessions.revoke(subject=name)
    wall[0] += 1e6
    assert sessions.is_revoked(Ticket("ada", issued_at=None))
    assert not sessions.is_revoked(Ticket("dan", issued_at=None))


async def test_mended_07_who_cannot_be_folded(wall: list[float]) -> None:
    """A table full of tokens of nobody known, or of subjects, says so instead of forgetting one of them."""
    sessions = Sessions(at_most=None, kept=100.0)
    await sessions.revoke(token_id="1")
    await sessions.revoke(session_id="2")
    await sessions.revoke(subject="ada")
    with pytest.raises(Unavailable, match="revocations_kept"):
        await sessions.revoke(token_id="4")
    await sessions.revoke(subject="ada")  # which is there already
    assert sessions.is_revoked(Ticket("bob", "1"))
    assert sessions.is_revoked(Ticket("bob", session_id="2"))
    assert sessions.is_revoked(Ticket())
    assert not sessions.is_revoked(Ticket("bob"))
    wall[0] += 101.0
    await sessions.revoke(token_id="4")


async def test_mended_07_tokens_of_one_subject_are_folded(wall: list[float]) -> None:
    """Those of whoever has most; what this subject gets later is good, and so is what others have."""
    sessions = Sessions(at_most=None, kept=100.0)
    await sessions.revoke(issuer="us", subject="bob", token_id="1")
    await sessions.revoke(issuer="us", subject="ada", session_id="2", issued_before=wall[0] - 5)
    await sessions.revoke(issuer="us", subject="ada", token_id="3")
    await sessions.revoke(issuer="us", subject="carol", token_id="4")
    now = wall[0]
    for held in (Ticket("bob", "1", now), Ticket("carol", "4", now), Ticket("ada", "5", now)):
        assert sessions.is_revoked(evolve(held, issuer="us"))
    for held in (Ticket("bob", "2", now), Ticket("carol", "3", now), Ticket("ada", "5", now + 1)):
        assert not sessions.is_revoked(evolve(held, issuer="us"))
    assert not sessions.is_revoked(Ticket("ada", "5", now, issuer="them"))
    await sessions.revoke(issuer="us", subject="ada", token_id="6", issued_before=now)  # which is folded at once
    with pytest.raises(Unavailable):
        await sessions.revoke(subject="dan")
    assert sessions.is_revoked(Ticket("ada", "5", now, issuer="us"))


@pytest.mark.parametrize("named", ["token_id", "session_id"])
async def test_mended_07_a_name_that_several_share(named: str, wall: list[float]) -> None:
    """A token id or a session that was found with one subject may be another's too, who is not connected."""
    app, at_the_door = App(), list[Ticket]()

    @guard
    async def by_ticket(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.identify(at_the_door[-1])
        return proved

    @app.route("/", guard=by_ticket)
    async def handler(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    def ticket(issuer: str, subject: str, name: str) -> Ticket:
        both = {"token_id": None, "session_id": None, named: name}
        return Ticket(subject, both["token_id"], wall[0], issuer, both["session_id"])

    async with serve(app) as served:
        for name in ("1", "2", "3"):
            at_the_door.append(ticket("us", "ada", name))
            async with served.connect("/") as client:
                assert await app.sessions.revoke(
                    token_id=at_the_door[-1].token_id, session_id=at_the_door[-1].session_id
                )
                assert await client.wait_closed() == CloseFrame(3003, "revoked")
    with pytest.raises(Unavailable, match="name the subject"):
        await app.sessions.revoke(token_id="4")
    for name in ("1", "2", "3"):
        for issuer, subject in (("us", "ada"), ("us", "bob"), ("them", "ada"), ("them", "bob")):
            assert app.sessions.is_revoked(ticket(issuer, subject, name))


async def test_mended_07_a_session_gets_further_tokens(wall: list[float]) -> None:
    """And all are refused: a session that was revoked is not made one of what its subject had then."""
    sessions = Sessions(at_most=None, kept=100.0)
    for number in range(3):
        await sessions.revoke(issuer="us", subject="ada", session_id=str(number))
    with pytest.raises(Unavailable):
        await sessions.revoke(subject="bob")
    assert all(
        sessions.is_revoked(Ticket("ada", None, wall[0] + 90, "us", session_id=str(number))) for number in range(3)
    )


async def test_mended_07_a_token_that_is_revoked_twice(wall: list[float]) -> None:
    """A time that was named once is kept when the same token is revoked again, without one, and folded after that."""
    sessions = Sessions(at_most=None, kept=100.0)
    await sessions.revoke(subject="ada", token_id="1", issued_before=wall[0] + 50)
    for token_id in ("1", "2", "3", "4"):
        await sessions.revoke(subject="ada", token_id=token_id)
    assert sessions.is_revoked(Ticket("ada", "1", wall[0] + 40))


async def test_mended_07_until_what_it_found_expires(wall: list[float], autojump_clock: trio.abc.Clock) -> None:
    """A token that was found need not be remembered for longer than it is good, and leaves nothing behind."""
    app, gates = App(revocations_kept=1000.0), list[Ticket]()

    @guard
    async def by_ticket(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.identify(gates[-1], skew=5.0)
        return proved

    @app.route("/", guard=by_ticket)
    async def handler(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    now, sessions = wall[0], app.sessions
    async with serve(app) as served:
        for number in range(3):
            gates.append(Ticket(f"user {number}", str(number), now - 1, "us", f"s{number}", now + 10 + number))
            async with served.connect("/") as client:
                assert await sessions.revoke(issuer="us", subject=f"user {number}", token_id=str(number)) == 1
                assert await client.wait_closed() == CloseFrame(3003, "revoked")
    wall[0] = now + 14.9
    with pytest.raises(Unavailable):
        await sessions.revoke(token_id="4")
    assert all(sessions.is_revoked(ticket) for ticket in gates)
    wall[0] = now + 15
    await sessions.revoke(token_id="4")
    assert [sessions.is_revoked(ticket) for ticket in gates] == [False, True, True]
    assert not sessions.is_revoked(Ticket("innocent", "9", now - 100, "us", "s9", now + 1e6))


@pytest.mark.parametrize("named", [{}, {"subject": "ada"}, {"issuer": "us"}], ids=["id", "subject", "issuer"])
async def test_an_id_that_another_token_has_too(named: dict[str, str], wall: list[float]) -> None:
    """A token that lives on is refused, though one of the same id was found, which has expired."""
    app, gates = App(revocations_kept=1000.0), list[Ticket]()

    @guard
    async def by_ticket(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.identify(gates[-1])
        return proved

    @app.route("/", guard=by_ticket)
    async def handler(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    now = wall[0]
    issuer, subject = named.get("issuer", "them"), named.get("subject", "bob")
    other = Ticket(subject, "1", now - 1, issuer, expires_at=now + 900)
    async with serve(app) as served:
        gates.append(Ticket("ada", "1", now - 1, "us", expires_at=now + 10))
        async with served.connect("/"):
            assert (
                await app.sessions.revoke(token_id="1", issuer=named.get("issuer"), subject=named.get("subject")) == 1
            )
    await app.sessions.revoke(token_id="2")
    await app.sessions.revoke(token_id="3")
    wall[0] = now + 20
    with pytest.raises(Unavailable):
        await app.sessions.revoke(token_id="4")
    assert app.sessions.is_revoked(other)


async def test_mended_07_a_token_id_that_two_issuers_gave(wall: list[float]) -> None:
    """It is revoked of both, and remembered for the one that was not found: its token may live longer."""
    app, gates = App(revocations_kept=1000.0), list[Ticket]()

    @guard
    async def by_ticket(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.identify(gates[-1])
        return proved

    @app.route("/", guard=by_ticket)
    async def handler(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    now, sessions = wall[0], app.sessions
    mine = Ticket("ada", "t", now - 1, "us", "s", now + 500)
    async with serve(app) as served:
        gates.append(Ticket("bob", "u", now - 1, "us", "s", now + 500))
        async with served.connect("/"):
            pass
        gates.append(Ticket("eve", "t", now - 1, "them", "s", now + 10))
        async with served.connect("/") as client:
            assert await sessions.revoke(token_id="t") == 1
            assert await client.wait_closed() == CloseFrame(3003, "revoked")
    for number in range(2):
        await sessions.revoke(token_id=f"another {number}")
    wall[0] = now + 20
    with pytest.raises(Unavailable):
        await sessions.revoke(token_id="one more")
    assert sessions.is_revoked(mine)


async def test_mended_07_what_is_revoked_while_the_table_is_full(wall: list[float]) -> None:
    """The connections end all the same, before it raises."""
    app = members()
    for name in ("ada", "bob", "carol"):
        await app.sessions.revoke(subject=name)
    wall[0] = time.time()
    async with connect(app, "/", headers=by(token("eve"))) as eve:
        assert await app.sessions.revoke(token_id="nobody's") == 0  # the three have had their time
        for name in ("frank", "grace"):
            await app.sessions.revoke(subject=name)
        with pytest.raises(Unavailable):
            await app.sessions.revoke(subject="eve")
        assert await eve.wait_closed() == CloseFrame(3003, "revoked")


async def test_mended_07_for_good(wall: list[float]) -> None:
    """What is revoked until the end of time, or in an app that keeps everything, is never given up."""
    sessions, keeping = Sessions(at_most=None, kept=1.0), Sessions(at_most=None, kept=math.inf)
    for number in range(3):
        await sessions.revoke(subject=str(number), issued_before=math.inf)
        await keeping.revoke(token_id=str(number))
    wall[0] += 1e9
    for full in (sessions, keeping):
        with pytest.raises(Unavailable):
            await full.revoke(subject="one too many")


async def test_mended_07_folding_again_and_again_takes_no_room(wall: list[float]) -> None:
    """What was folded leaves nothing behind that grows."""
    sessions = Sessions(at_most=None)
    for number in range(1000):
        await sessions.revoke(subject="ada", token_id=str(number))
    table = table_of(sessions).revocations
    assert len(table._ends) < 10  # pyright: ignore[reportPrivateUsage] # what is bounded, is bounded in here
    assert len(table._entries) <= 3  # pyright: ignore[reportPrivateUsage] # as above


@define
class Odd:
    """A credential of a program that no type checker has seen."""

    subject: object = "ada"
    token_id: object = None
    issued_at: object = None
    issuer: object = None
    session_id: object = None
    expires_at: object = None


@pytest.mark.parametrize(
    ("odd", "named"),
    [
        *(
            (Odd(issuer=3), "Odd.issuer"),
            (Odd(session_id=b"1"), "Odd.session_id"),
            (Odd(expires_at="soon"), "expires_at"),
        ),
        *(
            (Odd(subject=cast("str", 42)), "Odd.subject"),
            (Odd(token_id=uuid4()), "Odd.token_id"),
            (Odd(issued_at=True), "issued_at"),
        ),
    ],
)
def test_mended_07_a_credential_of_other_types(odd: Odd, named: str) -> None:
    """It is refused by the name of what is wrong, not taken for one that cannot be revoked."""
    with pytest.raises(ConfigurationError, match=named):
        Sessions(at_most=None).is_revoked(cast("Credential", odd))
    assert not Sessions(at_most=None).is_revoked(cast("Credential", Odd(expires_at=math.nan)))


@pytest.mark.parametrize("skew", [0.0, 60.0, 5.0])
async def test_mended_07_instead_of_one_with_another_skew(skew: float) -> None:
    """What `bearer` has named with its skew counts no more when a guard names its own credential in its place."""
    app = App(limits=Limits(max_connections_per_subject=1))

    @guard
    async def by_row(gate: Gate, claims: Claims) -> Claims:
        gate.identify(Pass("row of ada", "row", time.time()), instead_of=claims, skew=skew)
        return claims

    @app.route("/", guard=bearer(verifier) >> by_row)
    async def handler(conn: Connection[Claims]) -> None:
        async for message in conn:
            await conn.send(message)

    async with connect(app, "/", headers=by(token("ada", jti="1"))) as client:
        assert await app.sessions.revoke(token_id="1") == await app.sessions.revoke(subject="ada") == 0
        assert await is_served(client)
        assert await app.sessions.revoke(token_id="row") == 1
        assert await client.wait_closed() == CloseFrame(3003, "revoked")
    assert len(app.sessions) == 0


@pytest.mark.parametrize("skew", [-1.0, math.nan, math.inf])
def test_mended_07_a_skew_that_is_none(skew: float) -> None:
    """With it nothing would be revoked, or everything."""
    with pytest.raises(ConfigurationError, match="skew"):
        Sessions(at_most=None).is_revoked(Ticket(), skew=skew)


@pytest.mark.parametrize("kept", [0.0, -1.0, math.nan])
def test_mended_07_how_long_is_no_time(kept: float) -> None:
    """An app that forgets at once is refused."""
    with pytest.raises(ConfigurationError, match="revocations_kept"):
        App(revocations_kept=kept)


@pytest.mark.parametrize(
    ("mistake", "remedy"),
    [
        (Sessions(at_most=None).revoke, "issued_before=time.time()"),
        (partial(Sessions(at_most=None).revoke, issued_before=math.nan), "Unix time"),
        (partial(Sessions(at_most=None).revoke, subject=cast("str", 42)), "subject=42"),
    ],
)
async def test_revoking_nothing(mistake: Callable[[], Awaitable[int]], remedy: str) -> None:
    """Which would be everybody, or nobody, is a mistake."""
    with pytest.raises(ConfigurationError, match=remedy):
        await mistake()


async def test_a_lease_that_was_renewed() -> None:
    """The new token counts from then on, the first one no more."""
    app = members()
    async with connect(app, "/", headers=by(token(jti="1"))) as client:
        renewed = "renew " + token(jti="2")
        await client.send(renewed)
        assert await client.receive() == renewed
        assert await app.sessions.revoke(token_id="1") == 0
        assert await is_served(client)
        assert await app.sessions.revoke(token_id="2") == 1
        assert await client.wait_closed() == CloseFrame(3003, "revoked")


async def test_a_subject_takes_no_more_than_its_places() -> None:
    """One too many gets 429 and when to come back; others are let in, and so is she when she has left."""
    app = members(Limits(max_connections_per_subject=2))
    async with connect(app, "/", headers=by(token())) as first, connect(app, "/", headers=by(token())):
        with pytest.raises(Rejected) as refused:
            async with connect(app, "/", headers=by(token())):
                pass
        assert (refused.value.status, refused.value.header("Retry-After")) == (429, "5")
        async with connect(app, "/", headers=by(token("bob"))) as bob:
            assert await is_served(bob)
        renewed = "renew " + token()
        await first.send(renewed)  # which is no connection more
        assert await first.receive() == renewed
        await first.aclose()
        async with connect(app, "/", headers=by(token())) as third:
            assert await is_served(third)


async def test_tokens_about_nobody_are_not_counted() -> None:
    """They have nothing in common that could be counted."""
    app, nobody = App(limits=Limits(max_connections_per_subject=1)), by(token(None))

    @app.route("/", guard=bearer(about_anything))
    async def handler(conn: Connection[AnyClaims]) -> None:
        async for message in conn:
            await conn.send(message)

    async with connect(app, "/", headers=nobody) as one, connect(app, "/", headers=nobody) as other:
        assert await is_served(one)
        assert await is_served(other)


@pytest.mark.parametrize("subject", ["ada", "tablet"])
async def test_by_two_credentials(subject: str) -> None:
    """Whoever is let in by two is there by each, and loses the place with either; then both are forgotten."""
    app = App(limits=Limits(max_connections_per_subject=1))

    @guard
    async def both(gate: Gate, proved: Anonymous) -> Anonymous:
        person, device = Pass("ada"), Pass("phone")
        gate.identify(person)
        gate.identify(device)
        gate.identify(Pass("tablet"), instead_of=device)
        return proved

    @app.route("/", guard=both)
    async def handler(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    async with connect(app, "/") as client:
        assert len(app.sessions) == 1
        assert await app.sessions.revoke(subject="phone", issued_before=0.0) == 0
        assert await app.sessions.revoke(subject=subject, issued_before=0.0) == 0
        assert await is_served(client)
        assert await app.sessions.revoke(subject=subject, issued_before=1001.0) == 1
        assert await client.wait_closed() == CloseFrame(3003, "revoked")
    assert len(app.sessions) == 0


async def test_nothing_stays() -> None:
    """However a connection ends, a refusal after it was identified included, it is one of the sessions no more."""
    app = members()

    @guard
    async def late(gate: Gate, claims: Claims) -> Claims:
        raise Unauthorized

    async def never(conn: Connection[Claims]) -> None:
        raise AssertionError

    app.route("/late", guard=bearer(verifier) >> late)(never)
    with pytest.raises(Rejected):
        async with connect(app, "/late", headers=by(token())):
            pass
    async with connect(app, "/", headers=by(token())) as client:
        assert len(app.sessions) == 1
        await client.aclose()
    async with connect(app, "/", headers=by(token())) as client:
        client.reset()
    assert len(app.sessions) == 0


async def test_what_outlasts_its_connection_has_no_place(autojump_clock: trio.abc.Clock) -> None:
    """A handler that shields itself keeps no place of its subject's, and a lease that it renews is not there again."""
    app, stuck, seen = App(limits=Limits(max_connections_per_subject=1)), trio.Event(), list[int]()
    gates = list[Gate]()

    @guard
    async def remember(gate: Gate, claims: Claims) -> Claims:
        gates.append(gate)
        return claims

    @app.route("/", guard=bearer(verifier) >> remember)
    async def handler(conn: Connection[Claims]) -> None:
        with trio.CancelScope(shield=True):
            await stuck.wait()
        gates[0].identify(Pass())  # as renewing a lease does
        seen.append(len(app.sessions))

    async with connect(app, "/", headers=by(token())) as client:
        assert await app.sessions.revoke(subject="ada") == 1
        await client.wait_closed()
        await trio.sleep(10)
        seen.append(len(app.sessions))
        stuck.set()
    assert seen == [0, 0]


async def test_from_another_thread() -> None:
    """As the documentation says."""
    app = members()
    async with connect(app, "/", headers=by(token())) as client:

        def log_out() -> int:
            return trio.from_thread.run(partial(app.sessions.revoke, subject="ada"))

        assert await trio.to_thread.run_sync(log_out) == 1
        assert await client.wait_closed() == CloseFrame(3003, "revoked")


@define
class Row:
    """A credential that can change, as a row of a database can."""

    subject: str | None
    token_id: str | None = None
    issued_at: float | None = None


async def test_a_credential_that_changes() -> None:
    """What it was when somebody was let in by it counts; nobody else notices, and nothing stays."""
    app, row = App(), Row("ada", issued_at=math.nan)

    @guard
    async def by_row(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.identify(row)
        return proved

    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    app.route("/row", guard=by_row)(echo)
    app.route("/echo", guard=public)(echo)
    async with serve(app) as served, served.connect("/echo") as bystander:
        async with served.connect("/row") as ada:
            row.subject, row.token_id = "bob", "7"
            assert await app.sessions.revoke(subject="bob") == 0
            assert await app.sessions.revoke(subject="ada") == 1
            assert await ada.wait_closed() == CloseFrame(3003, "revoked")
        assert await is_served(bystander)
    assert len(app.sessions) == 0


async def test_from_a_thread_of_ones_own() -> None:
    """It is refused with the remedy, and the connection is as it was."""
    app, raised = members(), list[Exception]()

    def log_out() -> None:
        coroutine = app.sessions.revoke(subject="ada")
        try:
            coroutine.send(None)
        except ConfigurationError as error:
            raised.append(error)

    async with connect(app, "/", headers=by(token())) as client:
        await trio.to_thread.run_sync(log_out)
        assert "trio.from_thread" in str(raised)
        assert await is_served(client)
        assert await app.sessions.revoke(subject="ada") == 1
        assert await client.wait_closed() == CloseFrame(3003, "revoked")


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_close_does_not_put_it_off(how: str, autojump_clock: trio.abc.Clock) -> None:
    """Who has sent many messages and a Close is served no longer than anybody else."""
    app, done = App(), list[float]()

    @app.route("/", guard=bearer(verifier))
    async def slow(conn: Connection[Claims]) -> None:
        async for _ in conn:
            await trio.sleep(0.9)
            done.append(trio.current_time())

    presented = token(exp=time.time() + (3 if how == "expired" else 60))
    async with serve(app) as served, served.connect("/", headers=by(presented)) as client:
        for number in range(30):
            await client.send(str(number))
        await client.aclose()
        await trio.sleep(3)
        if how == "revoked":
            assert await app.sessions.revoke(subject="ada") == 0
        await trio.sleep(20)
    assert 2 < max(done) < 3.1


@pytest.mark.parametrize("how", ["end", "peer"])
async def test_an_end_in_the_same_turn_gives_no_grace(how: str, autojump_clock: trio.abc.Clock) -> None:
    """Whatever ends a connection while its revocation is about to: its handler has no more time."""
    app, gone = App(), list[float]()

    @app.route("/", guard=bearer(verifier))
    async def busy(conn: Connection[Claims]) -> None:
        try:
            await trio.sleep(1000)
        finally:
            gone.append(trio.current_time())

    async def end(who: SessionInfo) -> None:
        await trio.lowlevel.checkpoint()
        app.sessions.end(who)

    async with serve(app) as served:
        for turns in [turns for turns in range(12) for _ in range(2)]:  # whose turn is first is chance
            async with (
                served.connect("/", headers=by(token(sid=(name := str(uuid4()))))) as client,
                trio.open_nursery() as nursery,
            ):
                await trio.sleep(1)
                now = trio.current_time()
                if how == "end":
                    (found,) = app.sessions.find()
                    nursery.start_soon(end, found)
                else:
                    nursery.start_soon(client.aclose)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                await app.sessions.revoke(session_id=name)
                await client.wait_closed()
                await trio.sleep(1)
            assert gone.pop() == now


@pytest.mark.parametrize("first", [False, True], ids=["header", "first message"])
async def test_who_is_revoked_at_the_door_does_not_get_in(first: bool, autojump_clock: trio.abc.Clock) -> None:
    """Whenever the revocation comes while the guards are at work, or the upgrade is being accepted."""
    app, presented, revoked = App(), token(), False
    late = list[str]()

    @app.route("/", guard=bearer(verifier, first_message() if first else header()))
    async def handler(conn: Connection[Claims]) -> None:
        if revoked:
            late.append(conn.id)
        await trio.sleep_forever()

    async def come(served: Serving) -> None:
        with suppress(Rejected, Closed):
            async with served.connect("/", headers={} if first else by(presented)) as client:
                if first:
                    await client.send(presented)
                await client.receive()

    async with serve(app) as served:
        for turns in [turns for turns in range(1, 50) for _ in range(4)]:  # whose turn is first is chance
            revoked, token_id = False, str(uuid4())
            presented = token(jti=token_id)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(come, served)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                revoked = True
                await app.sessions.revoke(token_id=token_id)
    assert not late


async def test_an_issuer_whose_clock_is_ahead() -> None:
    """A token from the future, which the leeway lets in, is one that she has now."""
    app, lenient = (
        App(),
        TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, leeway=30),
    )

    @app.route("/", guard=bearer(lenient))
    async def handler(conn: Connection[Claims]) -> None:
        await trio.sleep_forever()

    stolen = token(iat=time.time() + 20)
    async with connect(app, "/", headers=by(stolen)) as client:
        assert await app.sessions.revoke(subject="ada") == 1
        assert await client.wait_closed() == CloseFrame(3003, "revoked")
    assert await status(app, stolen) == 401


async def test_because_of_a_report() -> None:
    """A report that has somebody revoked hears of each connection once."""
    heard = list[ErrorReport]()

    def report(failure: ErrorReport) -> None:
        heard.append(failure)
        nursery.start_soon(partial(app.sessions.revoke, subject="ada"))

    app = members(report=report)
    async with trio.open_nursery() as nursery, connect(app, "/", headers=by(token())) as client:
        assert await app.sessions.revoke(subject="ada") == 1
        assert await app.sessions.revoke(subject="ada") == 0
        assert await client.wait_closed() == CloseFrame(3003, "revoked")
    assert [type(failure.exception) for failure in heard] == [Revoked]


async def test_a_crowd_is_ended_some_at_a_time(autojump_clock: trio.abc.Clock) -> None:
    """Others have their turn between them, and all are gone at once by the clock."""
    app, turns = members(), 0
    async with serve(app) as served, trio.open_nursery() as nursery, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(served.connect("/", headers=by(token()))) for _ in range(100)]

        async def breathe() -> None:
            nonlocal turns
            while len(app.sessions) > 20:
                turns += 1
                await trio.lowlevel.checkpoint()

        assert await app.sessions.revoke(issued_before=math.inf) == 100
        nursery.start_soon(breathe)
        for client in clients:
            assert await client.wait_closed() == CloseFrame(3003, "revoked")
    assert turns >= 4
    assert trio.current_time() == 0


@final
class Told:
    """Keeps what it is told of revocations."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.selections: list[Selection] = []

    def on_revoked(self, selection: Selection, entry: Entry, /) -> None:
        """Keep it."""
        assert entry.covers(CredentialSnapshot.of(Pass(subject="ada"), 0.0))
        self.selections.append(selection)


async def test_what_outlives_connections_is_told_of_revocations() -> None:
    """It is told of each, whoever they are about, here or in another process."""
    sessions, told = Sessions(at_most=None), Told()
    table = table_of(sessions)
    table.revocations.watcher = told
    await sessions.revoke(subject="ada")
    await sessions.revoke(issued_before=time.time())
    table.apply(Revocation(issuer="us", issued_before=math.inf, revoked_at=time.time(), forgotten_at=time.time() + 60))
    assert told.selections == [
        Selection(None, "ada", None, None),
        Selection(None, None, None, None),
        Selection("us", None, None, None),
    ]
