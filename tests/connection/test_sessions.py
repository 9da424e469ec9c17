"""Revoking what somebody was let in by, and counting the connections of one subject."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import pytest
import trio
from attrs import define, frozen

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
    any_audience,
    any_issuer,
    bearer,
    guard,
    public,
)
from seawall.observability.reports import log_report
from seawall.testing import Client, CloseFrame, Rejected, connect, serve
from tests.kit.tokens import SECRET, by, token, verifier


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


async def test_a_subject_is_logged_out(autojump_clock: trio.abc.Clock) -> None:
    """All her connections end at once with 3003, nobody else's do; her tokens are refused, but for those to come."""
    app, first, second = members(), token(), token()
    async with (
        connect(app, "/", headers=by(first)) as ada,
        connect(app, "/", headers=by(second)) as ada_too,
        connect(app, "/", headers=by(token("bob"))) as bob,
    ):
        assert app.sessions.revoke(subject="ada") == 2
        for client in (ada, ada_too):
            assert await client.wait_closed() == CloseFrame(3003, "revoked")
        assert app.sessions.revoke(subject="ada") == 0
        assert await is_served(bob)
        assert trio.current_time() == 0
    for old in (first, second):
        assert await status(app, old) == 401
    async with connect(app, "/", headers=by(token())) as again:
        assert await is_served(again)


async def test_one_token_is_revoked() -> None:
    """By its id; the subject's other tokens stay."""
    app, stolen = members(), token(jti="stolen")
    async with (
        connect(app, "/", headers=by(stolen)) as thief,
        connect(app, "/", headers=by(token(jti="hers"))) as ada,
    ):
        assert app.sessions.revoke(token_id="stolen") == 1
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
        assert app.sessions.revoke(issued_before=now - 20) == 2
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
def test_what_matches(given: dict[str, object], good: Credential, bad: Credential) -> None:
    """A credential matches in everything that is given, and one that says nothing about its age is old."""
    sessions = Sessions(at_most=None)
    assert not sessions.is_revoked(bad)
    assert sessions.revoke(**given) == 0  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # a table
    assert sessions.is_revoked(bad)
    assert not sessions.is_revoked(good)


def test_revoking_again_takes_nothing_back() -> None:
    """The later of two times counts, in whatever order they come."""
    sessions = Sessions(at_most=None)
    sessions.revoke(subject="ada", issued_before=2000.0)
    sessions.revoke(subject="ada", issued_before=1500.0)
    sessions.revoke(issued_before=500.0)
    sessions.revoke(issued_before=400.0)
    assert sessions.is_revoked(Pass(issued_at=1999.0))
    assert sessions.is_revoked(Pass("bob", issued_at=499.0))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of too many becomes one of all that is as old: nothing that was refused is let in again."""
    monkeypatch.setattr("seawall.connection.sessions.MAX_REVOCATIONS", 2)
    sessions, before = Sessions(at_most=None), time.time()
    sessions.revoke(token_id="first")
    sessions.revoke(subject="ada", issued_before=2000.0)
    assert not sessions.is_revoked(Pass("bob", "other"))
    sessions.revoke(token_id="third")
    assert sessions.is_revoked(Pass("bob", "first", before))
    assert sessions.is_revoked(Pass("bob", "other", before))
    assert not sessions.is_revoked(Pass("bob", "other", time.time()))
    assert sessions.is_revoked(Pass("bob", "third", 9e9))


def test_a_revocation_that_is_said_again_is_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the one that is given up when there are too many."""
    monkeypatch.setattr("seawall.connection.sessions.MAX_REVOCATIONS", 2)
    sessions = Sessions(at_most=None)
    for token_id in ("first", "second", "first", "third"):
        sessions.revoke(token_id=token_id)
    assert sessions.is_revoked(Pass("bob", "first", 9e9))
    assert not sessions.is_revoked(Pass("bob", "second", 9e9))


@pytest.mark.parametrize(
    ("mistake", "remedy"),
    [
        (Sessions(at_most=None).revoke, "issued_before=time.time()"),
        (partial(Sessions(at_most=None).revoke, issued_before=math.nan), "Unix time"),
    ],
)
def test_revoking_nothing(mistake: Callable[[], int], remedy: str) -> None:
    """Which would be everybody, or nobody, is a mistake."""
    with pytest.raises(ConfigurationError, match=remedy):
        mistake()


async def test_a_lease_that_was_renewed() -> None:
    """The new token counts from then on, the first one no more; a revoked one renews nothing."""
    app = members()
    app.sessions.revoke(token_id="bad")
    async with connect(app, "/", headers=by(token(jti="1"))) as client:
        await client.send("renew " + token(jti="bad"))
        assert await client.receive() == "the credential was revoked"
        renewed = "renew " + token(jti="2")
        await client.send(renewed)
        assert await client.receive() == renewed
        assert app.sessions.revoke(token_id="1") == 0
        assert await is_served(client)
        assert app.sessions.revoke(token_id="2") == 1
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
    app, nobody = members(Limits(max_connections_per_subject=1)), token(None)
    async with connect(app, "/", headers=by(nobody)) as one, connect(app, "/", headers=by(nobody)) as other:
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
        assert app.sessions.revoke(subject="phone", issued_before=0.0) == 0
        assert app.sessions.revoke(subject=subject, issued_before=0.0) == 0
        assert await is_served(client)
        assert app.sessions.revoke(subject=subject, issued_before=1001.0) == 1
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
        assert app.sessions.revoke(subject="ada") == 1
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
            return trio.from_thread.run_sync(partial(app.sessions.revoke, subject="ada"))

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
            assert app.sessions.revoke(subject="bob") == 0
            assert app.sessions.revoke(subject="ada") == 1
            assert await ada.wait_closed() == CloseFrame(3003, "revoked")
        assert await is_served(bystander)
    assert len(app.sessions) == 0


async def test_from_a_thread_of_ones_own() -> None:
    """It is refused with the remedy, and the connection is as it was."""
    app, raised = members(), list[Exception]()

    def log_out() -> None:
        try:
            app.sessions.revoke(subject="ada")
        except ConfigurationError as error:
            raised.append(error)

    async with connect(app, "/", headers=by(token())) as client:
        await trio.to_thread.run_sync(log_out)
        assert "trio.from_thread" in str(raised)
        assert await is_served(client)
        assert app.sessions.revoke(subject="ada") == 1
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
            assert app.sessions.revoke(subject="ada") == 0
        await trio.sleep(20)
    assert 2 < max(done) < 3.1


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
        assert app.sessions.revoke(subject="ada") == 1
        assert await client.wait_closed() == CloseFrame(3003, "revoked")
    assert await status(app, stolen) == 401


async def test_within_a_report() -> None:
    """A report that revokes hears of each connection once."""
    heard = list[ErrorReport]()

    def report(failure: ErrorReport) -> None:
        heard.append(failure)
        assert app.sessions.revoke(subject="ada") == 0

    app = members(report=report)
    async with connect(app, "/", headers=by(token())) as client:
        assert app.sessions.revoke(subject="ada") == 1
        assert app.sessions.revoke(subject="ada") == 0
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

        assert app.sessions.revoke(issued_before=math.inf) == 100
        nursery.start_soon(breathe)
        for client in clients:
            assert await client.wait_closed() == CloseFrame(3003, "revoked")
    assert turns >= 4
    assert trio.current_time() == 0
