"""Revocations that outlive a process, or reach others: `RevocationStore`, and what an app does with one."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, Claims, ConfigurationError, Connection, Unavailable, bearer
from seawall.sessions import MemoryRevocations, MemorySessions, Revocation, RevocationStore
from seawall.testing import CloseFrame, Rejected, Serving, connect, serve
from tests.kit.log import Records, recorded
from tests.kit.tokens import by, token, verifier

REVOKED = CloseFrame(3003, "revoked")


def members(store: RevocationStore, kept: float = 86_460.0) -> App:
    """An app with one route, for who has a token. On ``log out`` it revokes the session that says so."""
    app = App(revocations=store, revocations_kept=kept)

    @app.route("/", guard=bearer(verifier))
    async def handler(conn: Connection[Claims]) -> None:
        async for message in conn:
            if message == "log out":
                await app.sessions.revoke(session_id=conn.principal.session_id)
            await conn.send(message)

    return app


@define
class Flaky:
    """A store that does what a test says. What it has, it has in memory."""

    inner: MemoryRevocations = field(factory=MemoryRevocations)
    failure: BaseException | None = None
    """What everything raises."""
    answers: trio.Event | None = None
    """`add` waits for it."""
    is_silent: bool = False
    """Whether `load` never answers."""
    junk: object = None
    """What `load` gives beside the rest."""
    loads: list[float] = field(factory=list[float])
    """When `load` was called, on Trio's clock."""
    _scopes: list[trio.CancelScope] = field(factory=list[trio.CancelScope])

    async def load(self) -> Iterable[Revocation]:
        """All, and junk."""
        self.loads.append(trio.current_time())
        if self.is_silent:
            await trio.sleep_forever()
        self._raise()
        found = await self.inner.load()
        return found if self.junk is None else (cast("Revocation", self.junk), *found)

    async def add(self, revocation: Revocation) -> None:
        """Keep it, when it is time."""
        if self.answers is not None:
            await self.answers.wait()
        self._raise()
        await self.inner.add(revocation)

    @asynccontextmanager
    async def changes(self) -> AsyncGenerator[AsyncIterator[Revocation]]:
        """What is added, until `break_off`."""
        self._raise()
        async with self.inner.changes() as changes:
            with trio.CancelScope() as scope:  # noqa: ASYNC100 - who iterates has them
                self._scopes.append(scope)
                yield changes
            if scope.cancelled_caught:
                raise OSError("broken off")

    def break_off(self) -> None:
        """Have every stream fail."""
        for scope in self._scopes:
            scope.cancel()

    def _raise(self) -> None:
        if self.failure is not None:
            raise self.failure


async def status(served: Serving, presented: str) -> int:
    """The status with which a token is answered: 101 if it is let in."""
    try:
        async with served.connect("/", headers=by(presented)):
            return 101
    except Rejected as refused:
        return refused.status


def warnings(records: Records) -> list[str]:
    """What the log says of revocations, but for those that succeed."""
    return [line for line in records.lines("server") if line.startswith("revocations")]


@pytest.mark.parametrize(
    "named",
    [
        {"subject": "ada"},
        {"issuer": "us", "subject": "ada"},
        {"issuer": "us"},
        {"session_id": "s1"},
        {"token_id": "t1"},
        {"subject": "ada", "token_id": "t1"},
        {"issued_before": 600.0},
        {"subject": "ada", "issued_before": 600.0},
    ],
    ids="-".join,
)
@pytest.mark.parametrize("while_connected", [True, False])
async def test_after_a_restart(named: dict[str, str | float], while_connected: bool) -> None:
    """What was revoked is refused by an app that has never heard of it, whether or not it was connected then."""
    if "issued_before" in named:  # so many seconds from now, whenever this was collected
        named = {**named, "issued_before": time.time() + 600.0}
    store, presented = MemoryRevocations(), token("ada", iss="us", sid="s1", jti="t1")
    async with serve(before := members(store)) as served:
        assert await status(served, presented) == 101
        if while_connected:
            async with served.connect("/", headers=by(presented)) as client:
                assert await before.sessions.revoke(**named) == 1  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # a table
                assert await client.wait_closed() == REVOKED
        else:
            assert await before.sessions.revoke(**named) == 0  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # as above
    async with serve(members(store)) as served:
        assert await status(served, presented) == 401
        if "issued_before" not in named:
            innocent = token("bob", iss="them", sid="s2", jti="t2")
            assert await status(served, innocent) == 101


async def test_before_an_app_listens_it_knows_all() -> None:
    """The first request finds what had been stored, because the store is asked before that."""
    store = Flaky()
    app = members(store)
    await store.add(Revocation(subject="ada", issued_before=math.inf, forgotten_at=time.time() + 60))
    async with serve(app) as served:
        assert await status(served, token()) == 401
        assert await status(served, token("bob")) == 101


async def test_in_another_process() -> None:
    """Its connections end, and what was revoked is refused there too; nobody else's are."""
    store, revoked, other = MemoryRevocations(), token("ada", sid="s1"), token("ada", sid="s2")
    here, there = members(store), members(store)
    with recorded() as records:
        async with serve(here), serve(there) as served:
            async with (
                served.connect("/", headers=by(revoked)) as ada,
                served.connect("/", headers=by(other)) as too,
            ):
                assert await here.sessions.revoke(session_id="s1") == 0
                assert await ada.wait_closed() == REVOKED
                await too.send("there?")
                assert await too.receive() == "there?"
            assert await status(served, revoked) == 401
            assert await status(served, other) == 101
    assert "revoked elsewhere by session_id: 1 connections end" in records.lines("server")
    assert "s1" not in " ".join(records.lines("server"))


async def test_in_another_process_whoever_logs_in_again_stays(autojump_clock: MockClock) -> None:
    """A subject's new token, from after the revocation and the skew, is not ended by it, nor by hearing it again."""
    store, now = Flaky(), time.time()
    async with serve(members(store)) as served:
        again = token("ada", iat=now + 55)
        async with served.connect("/", headers=by(again)) as client:
            await store.add(Revocation(subject="ada", issued_before=now, revoked_at=now - 6, forgotten_at=now + 60))
            await wait_all_tasks_blocked()
            store.break_off()
            await trio.sleep(2)
            assert len(store.loads) == 3
            await client.send("there?")
            assert await client.receive() == "there?"


async def test_acting_here_comes_first(autojump_clock: MockClock) -> None:
    """Connections end, and the credential is refused, while the store has not answered yet; then `revoke` returns."""
    store, returned = Flaky(answers=trio.Event()), list[int]()
    assert store.answers is not None
    app, presented = members(store), token()
    async with serve(app) as served, trio.open_nursery() as nursery:
        async with served.connect("/", headers=by(presented)) as client:

            async def revoke() -> None:
                returned.append(await app.sessions.revoke(subject="ada"))

            nursery.start_soon(revoke)
            assert await client.wait_closed() == REVOKED
            assert await status(served, presented) == 401
            assert returned == []
            assert len(store.inner) == 0
            store.answers.set()
        await wait_all_tasks_blocked()
        assert returned == [1]
        assert len(store.inner) == 1


@pytest.mark.parametrize("failure", [OSError("disk full"), Unavailable("disk full")], ids=["any", "its own"])
async def test_a_store_that_has_it_not(failure: Exception, autojump_clock: MockClock) -> None:
    """`Unavailable`, whatever it has raised; the local effect stands, and calling again stores it."""
    store, presented = Flaky(), token()
    app = members(store)
    async with serve(app) as served, served.connect("/", headers=by(presented)) as client:
        store.failure = failure
        with pytest.raises(Unavailable, match="disk full"):
            await app.sessions.revoke(subject="ada")
        assert await client.wait_closed() == REVOKED
        assert await status(served, presented) == 401
        store.failure = None
        assert await app.sessions.revoke(subject="ada") == 0
    assert len(store.inner) == 1


async def test_a_store_that_does_not_answer(autojump_clock: MockClock) -> None:
    """`Unavailable` after ten seconds, though the caller cannot be cancelled until then."""
    store = Flaky(answers=trio.Event())
    app = members(store)
    with pytest.raises(Unavailable, match="10 s"):
        await app.sessions.revoke(subject="ada")
    assert trio.current_time() == 10
    with trio.move_on_after(3) as scope, pytest.raises(Unavailable):
        await app.sessions.revoke(subject="ada")
    assert trio.current_time() == 20
    assert not scope.cancelled_caught


@pytest.mark.parametrize("store", [None, MemoryRevocations()], ids=["none", "memory"])
async def test_revoking_while_cancelled(store: MemoryRevocations | None) -> None:
    """It is done all the same, and stored: a page whose client has gone has logged it out."""
    app = App(revocations=store)
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await app.sessions.revoke(token_id="7") == 0
    assert not scope.cancelled_caught
    assert store is None or len(store) == 1


async def test_a_handler_revokes_its_own_session() -> None:
    """Its connection ends, which does not keep the store from having it."""
    store, presented = Flaky(answers=trio.Event()), token(sid="s1")
    assert store.answers is not None
    async with serve(members(store)) as served, served.connect("/", headers=by(presented)) as client:
        await client.send("log out")
        assert await client.wait_closed() == REVOKED
        store.answers.set()
    async with serve(members(store)) as served:
        assert await status(served, presented) == 401


async def test_a_store_that_fails_at_the_start() -> None:
    """The app does not listen, and what the store has raised comes out of `serve`."""
    store = Flaky(failure=OSError("damaged"))
    app = members(store)
    with pytest.raises(OSError, match="damaged"):
        async with serve(app):
            raise AssertionError
    store.failure, store.junk = None, "ada"
    with pytest.raises(ConfigurationError, match="RevocationStore gave 'ada'"):
        await app.serve(port=0)


async def test_a_store_that_fails_while_serving(autojump_clock: MockClock) -> None:
    """One WARNING each time, longer and longer pauses; the app serves on, and then applies what it has missed."""
    store, presented = Flaky(), token(seconds=1000)
    app = members(store)
    with recorded() as records:
        async with serve(app) as served, served.connect("/", headers=by(presented)) as client:
            await trio.sleep(40)
            store.loads.clear()
            began, store.failure = trio.current_time(), OSError("gone")
            store.break_off()
            await trio.sleep(100)
            assert await status(served, token("bob")) == 101
            pauses = [line.rpartition(" in ")[2] for line in warnings(records)]
            assert pauses == ["1 s", "2 s", "4 s", "8 s", "16 s", "30 s", "30 s", "30 s"]
            store.failure = None
            await store.inner.add(Revocation(subject="ada", issued_before=math.inf, forgotten_at=math.inf))
            assert await client.wait_closed() == REVOKED
            assert store.loads == [began + 121]
            assert await status(served, presented) == 401


async def test_a_store_that_is_silent(autojump_clock: MockClock) -> None:
    """After a minute it is as one that fails: at the start a refusal, later a WARNING, and it is asked again."""
    store = Flaky()
    app = members(store)
    async with serve(app) as served:
        await trio.sleep(40)
        store.is_silent = True
        began = trio.current_time()
        with recorded() as records:
            store.break_off()
            await trio.sleep(70)
            assert warnings(records)[-1].endswith("has not answered in 60 s); it is asked again in 1 s")
        store.is_silent = False
        await store.inner.add(Revocation(subject="ada", issued_before=math.inf, forgotten_at=math.inf))
        await trio.sleep(70)
        assert store.loads[2:] == [began + 1, began + 62, began + 62 + 61]
        assert await status(served, token()) == 401
    store.is_silent, began = True, trio.current_time()
    with pytest.raises(Unavailable, match="60 s"):
        await app.serve(port=0)
    assert trio.current_time() == began + 60


async def test_what_a_store_streams_is_checked(autojump_clock: MockClock) -> None:
    """Something else is a WARNING and a new beginning, and ends nobody's connection."""
    store = Flaky()
    async with serve(members(store)) as served, served.connect("/", headers=by(token())) as client:
        await wait_all_tasks_blocked()
        with recorded() as records:
            store.junk = {"subject": "ada"}
            store.break_off()
            await trio.sleep(3)
            (_, warning) = warnings(records)
            assert "ConfigurationError" in warning
            assert "seawall.sessions.Revocation" in warning
        await client.send("there?")
        assert await client.receive() == "there?"


async def test_what_is_no_revocation_hides_nothing(autojump_clock: MockClock) -> None:
    """What a store has behind it is refused all the same, and what is added after that."""
    store = Flaky()
    async with serve(members(store)) as served:
        await wait_all_tasks_blocked()
        store.junk = "a newer version's"
        with recorded() as records:
            store.break_off()
            await wait_all_tasks_blocked()  # nobody is told of what is added now
            for name in ("ada", "bob"):
                await store.inner.add(Revocation(subject=name, issued_before=math.inf, forgotten_at=math.inf))
            await trio.sleep(3)
            (_, warning) = warnings(records)
            assert "a newer version's" in warning
        assert await status(served, token("ada")) == 401
        assert await status(served, token("bob")) == 401
        await store.inner.add(Revocation(subject="carol", issued_before=math.inf, forgotten_at=math.inf))
        await wait_all_tasks_blocked()
        assert await status(served, token("carol")) == 401
        assert await status(served, token("dan")) == 101


class Foreign(BaseException):
    """As `asyncio.CancelledError` of a client that runs elsewhere: none of Trio's, and no `Exception`."""


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (Foreign(), "Foreign was raised"),
        (ExceptionGroup("tasks", [OSError("reset"), ValueError("torn")]), "OSError: reset; ValueError: torn"),
        (BaseExceptionGroup("tasks", [Foreign(), OSError("reset")]), "OSError: reset; RuntimeError: Foreign"),
    ],
    ids=["no Exception", "a group", "both"],
)
async def test_whatever_a_store_raises(failure: BaseException, said: str, autojump_clock: MockClock) -> None:
    """The log says what it was, `revoke` raises `Unavailable`, and the store is asked again."""
    store = Flaky()
    app = members(store)
    async with serve(app) as served:
        await wait_all_tasks_blocked()
        store.failure = failure
        with recorded() as records:
            store.break_off()
            await trio.sleep(2)
        assert said in warnings(records)[-1]
        with pytest.raises(Unavailable) as raised:
            await app.sessions.revoke(subject="bob")
        assert said in str(raised.value)
        store.failure = None
        await store.inner.add(Revocation(subject="ada", issued_before=math.inf, forgotten_at=math.inf))
        await trio.sleep(40)
        assert await status(served, token("ada")) == 401


@pytest.mark.parametrize("fatal", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
async def test_what_stops_the_server(fatal: BaseException, autojump_clock: MockClock) -> None:
    """It comes out of `revoke` as it is, and out of the server, though a store has raised it."""
    store = Flaky()
    app = members(store)
    with pytest.raises(type(fatal)):
        await members(Flaky(failure=fatal)).sessions.revoke(subject="bob")

    async def fail() -> None:
        async with serve(app):
            await wait_all_tasks_blocked()
            store.failure = fatal
            store.break_off()
            await trio.sleep(5)

    with pytest.RaisesGroup(type(fatal), flatten_subgroups=True):
        await fail()


@pytest.mark.parametrize("issued_before", [-math.inf, math.inf], ids=["up to then", "for good"])
async def test_everybody_by_a_store(issued_before: float) -> None:
    """A store of somebody's own may name nobody, and say when that was: all are refused that it is about."""
    store, now = MemoryRevocations(), time.time()
    await store.add(Revocation(issued_before=issued_before, revoked_at=now, forgotten_at=math.inf))
    async with serve(members(store)) as served:
        assert await status(served, token()) == 401
        assert await status(served, token(iat=now + 50, exp=now + 300)) == 401  # by a clock that is ahead


async def test_a_store_with_more_than_fits(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """At the start it is a refusal; later a WARNING, and what fits is refused."""
    monkeypatch.setattr("seawall.connection.revocations.MAX_REVOCATIONS", 3)
    store = MemoryRevocations()
    async with serve(app := members(store)) as served, served.connect("/", headers=by(token("5"))) as last:
        with recorded() as records:
            for name in range(4):
                await store.add(Revocation(subject=str(name), issued_before=math.inf, forgotten_at=math.inf))
            await store.add(Revocation(subject="5", issued_before=math.inf, forgotten_at=math.inf))
            assert await last.wait_closed() == REVOKED
            assert len(warnings(records)) == 2
        assert [await status(served, token(str(name))) for name in range(3)] == [401] * 3
        with pytest.raises(Unavailable, match="revocations_kept"):
            await app.sessions.revoke(subject="6")
    assert len(store) == 6  # it has room
    with pytest.raises(Unavailable, match="revocations_kept"):
        await members(store).serve(port=0)


async def test_many_are_loaded_some_at_a_time() -> None:
    """Other tasks have their turn between them."""
    store, turns = MemoryRevocations(), 0
    for number in range(1000):
        await store.add(Revocation(token_id=str(number), issued_before=math.inf, forgotten_at=math.inf))

    async def breathe() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(breathe)
        await nursery.start(partial(members(store).serve, port=0))
        assert turns > 10
        nursery.cancel_scope.cancel()


async def test_two_servers_of_one_app() -> None:
    """Both hear of what others revoke, and neither minds that the other does."""
    store, presented = MemoryRevocations(), token()
    app, elsewhere = members(store), members(store)
    async with serve(app) as one, serve(app) as other:
        async with one.connect("/", headers=by(presented)) as a, other.connect("/", headers=by(presented)) as b:
            assert await elsewhere.sessions.revoke(subject="ada") == 0
            assert await a.wait_closed() == REVOKED
            assert await b.wait_closed() == REVOKED
        await app.sessions.revoke(subject="bob")
        for served in (one, other):
            assert await status(served, token("bob")) == 401


async def test_how_long_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as what it refuses could live: until the one token has expired, or for as long as credentials live."""
    now = time.time()
    monkeypatch.setattr("seawall.clock.source", lambda: now)
    store = MemoryRevocations()
    app = members(store, kept=1000.0)
    async with connect(app, "/", headers=by(token(jti="1", iss="us", exp=now + 30))):
        await app.sessions.revoke(token_id="1", issuer="us", subject="ada")
    async with connect(app, "/", headers=by(token(jti="3", iss="us", exp=now + 30))):
        await app.sessions.revoke(token_id="3")  # which may be the id of another issuer's as well
    await app.sessions.revoke(token_id="2")
    await app.sessions.revoke(subject="bob")
    await app.sessions.revoke(issued_before=now + 50)
    lives = {(one.token_id, one.subject): one.forgotten_at - now for one in await store.load()}
    assert lives == {
        ("1", "ada"): pytest.approx(90, abs=1),  # and the skew
        ("3", None): 1000.0,
        ("2", None): 1000.0,
        (None, "bob"): 1000.0,
        (None, None): 1050.0,
    }
    later = now + 95
    monkeypatch.setattr("seawall.clock.source", lambda: later)
    assert len(await store.load()) == 4


async def test_memory_that_is_full_is_no_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever adds one too many does not have all gone through."""
    monkeypatch.setattr("seawall.connection.revocation_store.MAX_REVOCATIONS", 20_000)
    store, began = MemoryRevocations(), time.process_time()

    async def add(number: int) -> bool:
        try:
            await store.add(Revocation(token_id=str(number), issued_before=math.inf, forgotten_at=math.inf))
        except Unavailable:
            return False
        return True

    assert all([await add(number) for number in range(20_000)])
    filled = time.process_time()
    assert not any([await add(number) for number in range(20_000, 23_000)])
    assert time.process_time() - filled < 2 * (filled - began) + 1.0


async def test_memory_of_one_event_loop() -> None:
    """Another one is refused while the first listens, and may have it after that."""
    store = MemoryRevocations()
    revocation = Revocation(subject="ada", issued_before=1.0, forgotten_at=math.inf)

    def other() -> None:
        trio.run(store.add, revocation)

    async with store.changes():
        with pytest.raises(ConfigurationError, match="two event loops"):
            await trio.to_thread.run_sync(other)
        await store.add(Revocation(subject="bob", issued_before=1.0, forgotten_at=math.inf))
    await trio.to_thread.run_sync(other)
    assert {one.subject for one in await store.load()} == {"ada", "bob"}


async def test_who_is_slow_to_take_changes() -> None:
    """The stream ends, and has an end for who reads on: loading again has all."""
    store = MemoryRevocations()
    async with store.changes() as changes:
        for number in range(1001):
            await store.add(Revocation(token_id=str(number), issued_before=math.inf, forgotten_at=math.inf))
        taken = [one.token_id async for one in changes]
    assert len(taken) == 1000
    assert len(await store.load()) == 1001


@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": 42},
        {"issued_before": math.nan},
        {"issued_before": None},
        {"revoked_at": "now"},
        {"forgotten_at": True},
    ],
    ids=str,
)
def test_what_is_no_revocation(wrong: dict[str, object]) -> None:
    """A store that reads back something else says so."""
    right = {"subject": "ada", "issued_before": 1.0, "forgotten_at": 2.0}
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Revocation(**(right | wrong))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # a table


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("revocations.db", "a str, which has no load and no add and no changes"),
        (MemorySessions(), "a MemorySessions, which has no load and no changes"),
        (MemoryRevocations, "the class MemoryRevocations; call it"),
    ],
    ids=["a path", "of sessions", "a class"],
)
def test_what_is_no_store(store: object, said: str) -> None:
    """It is refused where the app is made."""
    with pytest.raises(ConfigurationError, match=said):
        App(revocations=cast("RevocationStore", store))
