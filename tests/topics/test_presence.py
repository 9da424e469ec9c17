"""Presence over memory streams, in virtual time: who is there, who lingers, and what is told of that."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from functools import partial
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    App,
    Claims,
    ConfigurationError,
    Connection,
    InvalidMessage,
    Limits,
    TooManyRequests,
    Unavailable,
    bearer,
    public,
)
from seawall.errors import Kicked
from seawall.testing import Client, Closed, CloseFrame, serve
from tests.kit.presence import Watched, Who, meeting, watching
from tests.kit.tokens import by, token, verifier


async def test_joining_updating_leaving(autojump_clock: MockClock) -> None:
    """A member is there as long as its block lasts; what it says anew is told if it is new."""
    met = meeting()
    async with serve(met.app) as served, watching(met.room()) as watched:
        await wait_all_tasks_blocked()
        assert watched.take() == ["="]
        async with served.connect("/tea/ada", headers=by(token("ada"))) as ada:
            assert await ada.receive() == "in"
            (member,) = met.room().members()
            assert member.value == Who("ada")
            assert met.names("milk") == []
            for name in ("ada", "eve", "eve"):
                await ada.send(name)
                assert await ada.receive() == "updated"
            async with watching(met.room()) as second:
                await ada.send(".")
                await ada.send("x")
                assert await ada.receive() == "x"
                assert met.names() == []
                await wait_all_tasks_blocked()
                assert second.take() == ["=eve", "-eve"]
        await wait_all_tasks_blocked()
        assert watched.take() == ["+ada", "ada>eve", "-eve"]


async def test_a_reload(autojump_clock: MockClock) -> None:
    """Who comes back in time is the same member; a new value is told, and nobody has left or come."""
    met = meeting()
    async with serve(met.app) as served, watching(met.room()) as watched:
        for name in ("ada", "ada", "ada again"):
            async with served.connect(f"/tea/{name.replace(' ', '%20')}", headers=by(token("ada"))) as ada:
                assert await ada.receive() == "in"
            await trio.sleep(4)
            assert len(met.names()) == 1
        assert watched.take() == ["=", "+ada", "ada>ada again"]
        began = trio.current_time()
        await trio.sleep(10)
        ((when, what),) = watched.log
        assert what == "-ada again"
        assert when == pytest.approx(began + 1, abs=0.1)
        assert met.names() == []


async def test_it_leaves_on_time_without_readers(autojump_clock: MockClock) -> None:
    """Who lingers is gone after that time, whoever reads."""
    met = meeting()
    async with serve(met.app) as served:
        async with served.connect("/tea/ada", headers=by(token("ada"))) as ada:
            await ada.receive()
        await trio.sleep(4.9)
        assert met.names() == ["ada"]
        await trio.sleep(0.2)
        assert met.names() == []
    assert met.names() == []


@pytest.mark.parametrize("how", ["close", "reset", "unplugged"])
async def test_by_the_peer(how: str, autojump_clock: MockClock) -> None:
    """It lingers if the peer closed, reset the connection, or is silent for too long."""
    met = meeting(Limits(ping_interval=5, ping_timeout=5))
    async with (
        serve(met.app) as served,
        watching(met.room()) as watched,
        served.connect("/tea/ada", headers=by(token("ada", seconds=1000))) as ada,
    ):
        await ada.receive()
        match how:
            case "close":
                await ada.aclose()
            case "reset":
                ada.reset()
            case _:
                with ada.unplugged():
                    await trio.sleep(12)
        await trio.sleep(2)
        assert met.names() == ["ada"]
        assert watched.take() == ["=", "+ada"]
        await trio.sleep(10)
        assert watched.take() == ["-ada"]


@pytest.mark.parametrize("how", ["!", ".", "=", "revoke", "end", "lease", "anybody", "no linger"])
async def test_not_by_the_peer(how: str, autojump_clock: MockClock) -> None:
    """It leaves at once after a failure, when it leaves the block, is closed, ended or revoked, or its lease ends."""
    met = meeting(linger=0 if how == "no linger" else 5)
    async with serve(met.app) as served, watching(met.room()) as watched:
        path = "/anybody/tea/ada" if how == "anybody" else "/tea/ada"
        async with served.connect(path, headers=by(token("ada", seconds=8, sid="s"))) as ada:
            await ada.receive()
            began = trio.current_time()
            match how:
                case "revoke":
                    await met.app.sessions.revoke(subject="ada")
                case "end":
                    (info,) = met.app.sessions.find()
                    met.app.sessions.end(info)
                case "lease":
                    await trio.sleep(8.1)
                    began = trio.current_time()
                case "anybody" | "no linger":
                    await ada.aclose()
                case _:
                    await ada.send(how)
            await trio.sleep(3)
            assert met.names() == []
        left = [when for when, what in watched.log if what == "-ada"]
        assert left == [pytest.approx(began, abs=1)]


async def test_revoked_while_it_lingers(autojump_clock: MockClock) -> None:
    """A revocation that is about who lingers is told as a Left at once; one about others is not."""
    met = meeting()
    async with serve(met.app) as served, watching(met.room()) as watched:
        for name in ("ada", "bob"):
            async with served.connect(f"/tea/{name}", headers=by(token(name))) as client:
                await client.receive()
        await trio.sleep(1)
        await met.app.sessions.revoke(subject="ada")
        await trio.sleep(0.01)
        assert watched.take() == ["=", "+ada", "+bob", "-ada"]
        assert met.names() == ["bob"]
        assert await met.room().kick(subject="bob") == 0
        await trio.sleep(0.01)
        assert watched.take() == ["-bob"]


@pytest.mark.parametrize("how", ["revoke", "kick", "nothing"])
async def test_between_the_end_and_the_linger(how: str, autojump_clock: MockClock) -> None:
    """Who is revoked or kicked while its handler winds down leaves at once too; who is not, lingers."""
    app = App(limits=Limits(wind_down=10))
    people = app.presence("rooms", Who)

    @app.route("/", guard=bearer(verifier))
    async def handler(conn: Connection[Claims]) -> None:
        async with people().joined(conn, Who("ada")):
            await conn.send("in")
            async for _ in conn:
                pass
            await trio.sleep(3)

    async with serve(app) as served, watching(people()) as watched:
        async with served.connect("/", headers=by(token("ada", seconds=100))) as client:
            await client.receive()
        began = trio.current_time()
        await trio.sleep(1)
        assert len(people().members()) == 1
        match how:
            case "revoke":
                assert await app.sessions.revoke(subject="ada") == 0
            case "kick":
                assert await people().kick(subject="ada") == 1
            case _:
                pass
        await trio.sleep(20)
        expected = 3 + 5 if how == "nothing" else 1
        assert [when - began for when, what in watched.log if what == "-ada"] == [pytest.approx(expected, abs=0.1)]


async def test_a_renewal(autojump_clock: MockClock) -> None:
    """Who has renewed lingers by what it has renewed with: a revocation of that token ends it, and its lease counts."""
    met = meeting()
    async with serve(met.app) as served, watching(met.room()) as watched:
        first = token("ada", seconds=3, jti="1", sid="s")
        async with served.connect("/tea/ada", headers=by(first)) as ada:
            await ada.receive()
            await ada.send(f"token {token('ada', seconds=100, jti='2', sid='s')}")
            assert await ada.receive() == "renewed"
        await trio.sleep(3.5)
        assert met.names() == ["ada"], "the lease of the first token is no matter any more"
        await met.app.sessions.revoke(token_id="1")
        assert met.names() == ["ada"]
        await met.app.sessions.revoke(token_id="2")
        assert met.names() == []
        await wait_all_tasks_blocked()
        assert watched.take() == ["=", "+ada", "-ada"]


async def test_a_lease_ends_while_it_lingers(autojump_clock: MockClock) -> None:
    """Nobody lingers for longer than what it was let in by is good."""
    met = meeting()
    async with serve(met.app) as served, watching(met.room()) as watched:
        async with served.connect("/tea/ada", headers=by(token("ada", seconds=2))) as ada:
            await ada.receive()
            began = trio.current_time()
        await trio.sleep(10)
        assert [when - began for when, what in watched.log if what == "-ada"] == [pytest.approx(2, abs=1.1)]


async def test_several_of_one_subject(autojump_clock: MockClock) -> None:
    """Each connection has a member of its own; who comes back takes the place of one that is gone, not of another."""
    met = meeting()
    async with serve(met.app) as served, watching(met.room()) as watched:
        async with served.connect("/tea/one", headers=by(token("ada"))) as one:
            await one.receive()
            async with served.connect("/tea/two", headers=by(token("ada"))) as two:
                await two.receive()
            async with served.connect("/tea/three", headers=by(token("ada", iss="other"))) as three:
                await three.receive()
                assert met.names() == ["one", "two", "three"]
            async with served.connect("/tea/four", headers=by(token("ada"))) as four:
                await four.receive()
                assert met.names() == ["one", "four", "three"]
        await trio.sleep(20)
        assert watched.take() == ["=", "+one", "+two", "+three", "two>four", *["-three", "-four", "-one"]]


async def test_a_kick(autojump_clock: MockClock) -> None:
    """Who is kicked leaves at once, is told 3003, and is refused for that long; others stay."""
    met = meeting()
    async with serve(met.app) as served, watching(met.room()) as watched:
        async with (
            served.connect("/tea/ada", headers=by(token("ada"))) as ada,
            served.connect("/tea/bob", headers=by(token("bob"))) as bob,
            served.connect("/milk/ada", headers=by(token("ada"))) as other,
        ):
            for each in (ada, bob, other):
                await each.receive()
            assert await met.room().kick(subject="ada", seconds=30) == 1
            assert met.names() == ["bob"]
            assert await ada.wait_closed() == CloseFrame(3003, "kicked")
            assert met.names("milk") == ["ada"]
            assert [type(raised) for raised in met.raised] == [Kicked]
        async with served.connect("/tea/ada", headers=by(token("ada"))) as again:
            with pytest.raises(Closed):
                await again.receive()
            assert await again.wait_closed() == CloseFrame(3003, "kicked")
        await trio.sleep(30)
        async with served.connect("/tea/ada", headers=by(token("ada"))) as again:
            assert await again.receive() == "in"
        assert watched.take()[:5] == ["=", "+ada", "+bob", "-ada", "-bob"]


async def test_a_kick_of_one_connection(autojump_clock: MockClock) -> None:
    """A connection may be kicked by its id; another one of the same subject is not."""
    met = meeting()
    async with (
        serve(met.app) as served,
        served.connect("/tea/one", headers=by(token("ada"))) as one,
        served.connect("/tea/two", headers=by(token("ada"))) as two,
    ):
        await one.receive()
        await two.receive()
        first = met.app.sessions.find()[0].id
        assert await met.room().kick(connection=first) == 1
        assert await one.wait_closed() == CloseFrame(3003, "kicked")
        assert met.names() == ["two"]
        with pytest.raises(ConfigurationError, match="kick\\(\\) of nobody"):
            await met.room().kick()


async def test_a_kick_while_somebody_comes_in(autojump_clock: MockClock) -> None:
    """Who is on the way in when the kick is said does not get in, or is out again, whichever task is first."""
    app, raised = App(), list[type[BaseException]]()
    people = app.presence("rooms/{room:int}", Who)

    @app.route("/{room:int}", guard=public)
    async def handler(conn: Connection[object], room: int) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(people(room=room).kick, connection=conn.id))
            with pytest.raises(Kicked):
                async with people(room=room).joined(conn, Who("ada")):
                    await trio.sleep_forever()
            assert people(room=room).members() == ()
            with pytest.raises(Kicked):
                await people(room=room).joined(conn, Who("ada")).__aenter__()
        raised.append(Kicked)

    told = set[tuple[str, ...]]()
    async with serve(app) as served:
        for room in range(30):
            async with watching(people(room=room)) as watched:
                async with served.connect(f"/{room}") as client:
                    assert await client.wait_closed() == CloseFrame(1000, "")
                told.add(tuple(watched.take()))
    assert told == {("=",), ("=", "+ada", "-ada")}
    assert len(raised) == 30


async def test_after_a_kick(autojump_clock: MockClock) -> None:
    """Who is out says nothing any more, though its body still runs; what that raises itself goes before the kick."""
    app, failed = App(), trio.Event()
    people = app.presence("rooms", Who)

    @app.route("/", guard=public)
    async def handler(conn: Connection[object]) -> None:
        try:
            async with people().joined(conn, Who("ada")) as me:
                await people().kick(connection=conn.id)
                assert people().members() == ()
                with trio.CancelScope(shield=True), pytest.raises(Kicked):
                    await me.update(Who("eve"))
                raise LookupError
        except LookupError:
            failed.set()

    async with serve(app) as served, watching(people()) as watched, served.connect("/"):
        await failed.wait()
        await wait_all_tasks_blocked()
        assert watched.take() == ["=", "+ada", "-ada"]


async def test_bounds(autojump_clock: MockClock) -> None:
    """Memberships count as subscriptions of their connection, and rooms for those of the app; nothing is left over."""
    app = App(limits=Limits(max_subscriptions=2, max_rooms=3))
    people = app.presence("rooms/{room:int}", Who)

    @app.route("/", guard=public)
    async def handler(conn: Connection[object]) -> None:
        async with AsyncExitStack() as stack:
            async for message in conn:
                try:
                    await stack.enter_async_context(people(room=int(message)).joined(conn, Who("ada")))
                except (TooManyRequests, ConfigurationError) as refused:
                    await conn.send(f"{type(refused).__name__}: {refused}")
                else:
                    await conn.send("in")

    async def ask(client: Client, room: int) -> str:
        await client.send(str(room))
        return str(await client.receive())

    async with serve(app) as served:
        for _ in range(3):
            async with served.connect("/") as one, served.connect("/") as two:
                assert await ask(one, 1) == "in"
                assert "is already" in await ask(one, 1)
                assert await ask(one, 2) == "in"
                assert "too many subscriptions" in await ask(one, 3)
                assert await ask(two, 2) == "in"
                assert await ask(two, 3) == "in"
                assert len(people(room=2).members()) == 2
            async with served.connect("/") as one, served.connect("/") as two:
                assert [await ask(one, 1), await ask(one, 2)] == ["in", "in"]
                assert [await ask(two, 3), await ask(two, 3)][0] == "in"
                assert "too many rooms" in await ask(two, 4)
        assert all(people(room=room).members() == () for room in range(5))
        assert len(people._rooms) == 0  # pyright: ignore[reportPrivateUsage] # nothing else shows it


async def test_values(autojump_clock: MockClock) -> None:
    """What cannot be written, or is too large, is refused where it is said, and changes nothing."""
    app, raised = App(), list[str]()
    people = app.presence("rooms", Who)

    @app.route("/", guard=public)
    async def handler(conn: Connection[object]) -> None:
        for wrong in (Who("\ud800"), Who("x" * 20_000), cast("Who", 3), cast("Who", Who)):
            try:
                async with people().joined(conn, wrong):
                    raise AssertionError("it is in")
            except (TypeError, ValueError, TooManyRequests) as error:
                raised.append(type(error).__name__)
        async with people().joined(conn, Who("ada")) as me:
            with pytest.raises(TooManyRequests, match="4096 bytes"):
                await me.update(Who("x" * 20_000))
            assert repr(me) == "Membership(rooms())"
            assert people().members()[0].value == Who("ada")
        with pytest.raises(RuntimeError, match="outside of"):
            await me.update(Who("bob"))
        with pytest.raises(RuntimeError, match="entered once"):
            await me.__aenter__()
        await conn.send("done")

    async with serve(app) as served, served.connect("/") as client:
        assert await client.receive() == "done"
        assert raised == ["UnicodeEncodeError", "TooManyRequests", "TypeError", "TypeError"]


async def test_another_app(autojump_clock: MockClock) -> None:
    """A connection joins nothing of another app, and what is never entered warns."""
    app, other = App(), App()
    elsewhere, people = other.presence("rooms", Who), app.presence("rooms", Who)

    @app.route("/", guard=public)
    async def handler(conn: Connection[object]) -> None:
        with pytest.raises(ConfigurationError, match="another app's presence"):
            elsewhere().joined(conn, Who("ada"))
        with pytest.warns(RuntimeWarning, match="never entered"):
            people().joined(conn, Who("ada"))
        with pytest.warns(RuntimeWarning, match="never entered"):
            people().changes()
        await conn.send("done")

    async with serve(app) as served, serve(other), served.connect("/") as client:
        assert await client.receive() == "done"


async def test_a_reader_that_is_busy(autojump_clock: MockClock) -> None:
    """Behind too many changes it is told of a gap and then who is there, and from there on everything again."""
    met = meeting()
    async with serve(met.app) as served, served.connect("/anybody/tea/0") as client, met.room().changes() as changes:
        assert await client.receive() == "in"
        watched = Watched()
        watched.told(await anext(changes))
        for number in range(1, 2000):
            await client.send(str(number))
            assert await client.receive() == "updated"
        while watched.present != dict.fromkeys(watched.present, "1999"):
            watched.told(await anext(changes))
        assert watched.gaps == 1
        await client.send("2000")
        await client.receive()
        watched.told(await anext(changes))
        assert watched.take()[-2:] == ["=1999", "1999>2000"]


def test_what_presence_can_be() -> None:
    """Wrong patterns, kinds and times are refused at definition; the same room is equal, and says what it is."""
    app = App()
    people = app.presence("rooms/{room}", Who)
    assert repr(people) == "Presence('rooms/{room}')"
    assert repr(people(room="tea")) == "People(rooms/{room}('tea'))"
    assert people(room="tea") == people(room="tea")
    assert hash(people(room="tea")) == hash(people(room="tea"))
    assert people(room="tea") != people(room="milk")
    assert people(room="tea") != App().presence("rooms/{room}", Who)(room="tea")
    assert people(room="tea") != "tea"
    with pytest.raises(ConfigurationError, match="already"):
        app.presence("rooms/{room}", Who)
    with pytest.raises(ConfigurationError, match="presence"):
        app.presence("kind", int)
    for number, linger in enumerate((-1, 301, math.nan, cast("float", "5"), True)):
        with pytest.raises(ConfigurationError, match="linger="):
            app.presence(f"linger{number}", Who, linger=linger)
    with pytest.raises(TypeError, match="takes room"):
        people()
    with pytest.raises(InvalidMessage):
        people(room="x" * 2000)


async def test_not_served(autojump_clock: MockClock) -> None:
    """Nobody is there in an app that is not served, nothing can be read, and nobody kicked."""
    met = meeting()
    assert met.names() == []
    with pytest.raises(Unavailable):
        async with met.room().changes():
            raise AssertionError
    with pytest.raises(Unavailable):
        await met.room().kick(subject="ada")


async def test_leaving_and_joining_at_once(autojump_clock: MockClock) -> None:
    """Whoever leaves in one task and joins in the next is told as that, also if the first block takes time to end."""
    app = App()
    people = app.presence("rooms/{room}", Who)

    async def stay(conn: Connection[object], name: str, scope: trio.CancelScope) -> None:
        with scope:
            async with people(room="tea").joined(conn, Who(name)):
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.move_on_after(0.5, shield=True):
                        await trio.sleep_forever()

    @app.route("/", guard=public)
    async def handler(conn: Connection[object]) -> None:
        scope = trio.CancelScope()
        async for message in conn:
            scope.cancel()
            scope = trio.CancelScope()
            conn.nursery.start_soon(stay, conn, str(message), scope)
        conn.nursery.cancel_scope.cancel()

    async with serve(app) as served, watching(people(room="tea")) as watched, served.connect("/") as client:
        for name in ("ada", "bob"):
            await client.send(name)
            await trio.sleep(0.1)
        await trio.sleep(5)
        assert watched.take() == ["=", "+ada", "-ada", "+bob"]
        await client.send("eve")
        await trio.sleep(5)
        assert watched.take() == ["-bob", "+eve"]
