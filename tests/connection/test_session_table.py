"""Who is connected: `Sessions.find`, `end` and `watch`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import cast

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Cause,
    Claims,
    ConfigurationError,
    Connection,
    Forbidden,
    Gate,
    Limits,
    Outcome,
    Sessions,
    any_host,
    bearer,
    guard,
    public,
)
from seawall.sessions import HeldCredential, Lagged, SessionClosed, SessionEvent, SessionInfo, SessionOpened
from seawall.testing import CloseFrame, Rejected, connect, serve
from tests.kit.sockets import EVERYWHERE, Transport, echo_app, surviving, until
from tests.kit.tokens import by, token, verifier
from tests.kit.wire import request


async def echo(conn: Connection[object]) -> None:
    """Echo."""
    async for message in conn:
        await conn.send(message)


def members(limits: Limits | None = None, on_end: Callable[[Outcome], None] | None = None) -> App:
    """An app with a route for everybody and one for who has a token; the second can be renewed."""
    app = App(limits=limits, on_end=on_end)
    app.route("/public", guard=public)(echo)

    @app.route("/rooms/{room}", guard=bearer(verifier))
    async def rooms(conn: Connection[Claims], room: str) -> None:
        async for message in conn:
            await conn.renew(str(message))
            await conn.send("renewed")

    return app


def ids(found: tuple[SessionInfo, ...]) -> list[str]:
    """Their ids."""
    return [info.id for info in found]


async def test_what_is_told_of_a_connection() -> None:
    """Id, route, peer, whom as the log says it, credentials, and until when; the names of people are in no repr."""
    app, before = members(), time.time()
    async with serve(app) as served:
        presented = token("ada", iss="us", jti="7", sid="s1", iat=before - 5, exp=before + 50)
        async with served.connect("/rooms/tea", headers=by(presented)), served.connect("/public"):
            ada, stranger = app.sessions.find()
            (snapshot, _) = served.server.connections
            assert ada.credentials == (
                HeldCredential(
                    issuer="us",
                    subject="ada",
                    session_id="s1",
                    token_id="7",
                    issued_at=before - 5,
                    expires_at=before + 50,
                ),
            )
            assert (ada.id, ada.route, ada.peer) == (snapshot.id, "/rooms/{room}", "memory")
            assert ada.principal.startswith("Claims:")
            assert before <= ada.opened_at <= time.time()
            assert ada.expires_at == before + 50
            assert "'ada'" not in repr(ada)
            assert (stranger.credentials, stranger.expires_at, stranger.principal) == ((), None, "Anonymous")
    assert app.sessions.find() == ()


async def test_finding() -> None:
    """Each argument that is given has to match; one credential has to match in all of its four."""
    app = members()
    everybody = {
        "ada at us": token("ada", iss="us", sid="1", jti="a"),
        "ada at them": token("ada", iss="them", sid="2", jti="b"),
        "bob at us": token("bob", iss="us", sid="3", jti="c"),
        "carol of nobody": token("carol"),
    }
    async with serve(app) as served, AsyncExitStack() as stack:
        for presented in everybody.values():
            await stack.enter_async_context(served.connect("/rooms/tea", headers=by(presented)))
        await stack.enter_async_context(served.connect("/public"))
        find = app.sessions.find
        us, them, bob, carol, stranger = ids(find())
        assert ids(find(subject="ada")) == [us, them]
        assert ids(find(subject="ada", issuer="them")) == [them]
        assert ids(find(issuer="us")) == [us, bob]
        assert ids(find(issuer="")) == [carol]
        assert ids(find(session_id="3")) == [bob]
        assert ids(find(token_id="b")) == [them]
        assert ids(find(token_id="b", subject="bob")) == []
        assert ids(find(route="/public")) == [stranger]
        assert ids(find(route="/rooms/{room}", subject="bob")) == [bob]
        assert ids(find(route="/rooms/tea")) == []
        assert len(find(address="memory")) == 5
        assert find(address="192.0.2.7") == find(subject="eve") == ()


async def test_an_address_behind_a_listener_for_both() -> None:
    """Whoever comes by IPv4 is found by that, and by what the socket says, where a listener is for IPv6 as well."""
    try:
        listening = trio.socket.socket(trio.socket.AF_INET6)
        listening.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 0)
        await listening.bind(("::", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    listening.listen()
    app = App(hosts=any_host)
    app.route("/", guard=public)(echo)
    async with trio.open_nursery() as nursery:
        await app.start(nursery, listeners=[trio.SocketListener(listening)])
        port = listening.getsockname()[1]
        async with (
            await trio.open_tcp_stream("127.0.0.1", port) as by_4,
            await trio.open_tcp_stream("::1", port) as by_6,
        ):
            for stream in (by_4, by_6):
                await stream.send_all(request("/", host=b"localhost"))
                assert b" 101 " in await stream.receive_some()
            find = app.sessions.find
            await until(lambda: len(find()) == 2)
            first, second = find()
            for spelled in ("127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1"):
                assert find(address=spelled) == (first,)
            for spelled in ("::1", "0:0:0:0:0:0:0:1"):
                assert find(address=spelled) == (second,)
        nursery.cancel_scope.cancel()


async def test_two_credentials_do_not_match_together() -> None:
    """Whoever is ada by one and has the token 7 by another is not found as ada with the token 7."""
    app = App()

    @guard
    async def both(gate: Gate, proved: Anonymous) -> Anonymous:
        for named in ({"subject": "ada", "token_id": "6"}, {"subject": "phone", "token_id": "7"}):
            info = HeldCredential(issuer="", session_id=None, issued_at=None, expires_at=None, **named)
            gate.identify(info)
        return proved

    app.route("/", guard=both)(echo)
    async with connect(app, "/"):
        assert len(app.sessions.find(subject="ada")) == len(app.sessions.find(token_id="7")) == 1
        assert app.sessions.find(subject="ada", token_id="7") == ()
        assert [held.token_id for held in app.sessions.find()[0].credentials] == ["6", "7"]


async def test_who_has_not_been_let_in_is_not_found() -> None:
    """Neither while the guards ask, nor after one has refused, though it has identified itself."""
    app, asked, go = App(), trio.Event(), trio.Event()

    @guard
    async def late(gate: Gate, claims: Claims) -> Claims:
        asked.set()
        await go.wait()
        raise Forbidden

    app.route("/", guard=bearer(verifier) >> late)(echo)
    async with serve(app) as served, trio.open_nursery() as nursery:

        async def knock() -> None:
            with pytest.raises(Rejected):
                async with served.connect("/", headers=by(token())):
                    pass

        async with app.sessions.watch() as events:
            nursery.start_soon(knock)
            await asked.wait()
            assert len(app.sessions) == 1
            assert app.sessions.find() == ()
            (connection,) = served.server.connections
            assert not app.sessions.end(connection.id)
            go.set()
            with trio.move_on_after(0.1) as nothing:
                await anext(events)
            assert nothing.cancelled_caught


async def test_who_has_ended_is_not_found(autojump_clock: MockClock) -> None:
    """From the moment on when the end is recorded, though the handler goes on for long."""
    app, over = App(), trio.Event()

    @app.route("/", guard=bearer(verifier))
    async def stuck(conn: Connection[Claims]) -> None:
        with trio.CancelScope(shield=True):
            await over.wait()

    async with serve(app) as served, served.connect("/", headers=by(token())) as client:
        (info,) = app.sessions.find(subject="ada")
        assert app.sessions.end(info, 4000, "enough")
        assert app.sessions.find() == ()
        assert not app.sessions.end(info, 4000, "once more")
        assert await client.wait_closed() == CloseFrame(4000, "enough")
        over.set()


async def test_a_renewal_is_seen() -> None:
    """The credential and the end of the lease are those of the new token."""
    app, now = members(), time.time()
    async with connect(app, "/rooms/tea", headers=by(token(jti="1", exp=now + 50))) as client:
        await client.send(token(jti="2", exp=now + 90))
        assert await client.receive() == "renewed"
        (info,) = app.sessions.find(token_id="2")
        assert info.expires_at == now + 90
        assert app.sessions.find(token_id="1") == ()


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_ending_one(over: Transport) -> None:
    """By what was found, or by its id: that one reads code and reason, and nobody else notices."""
    app = echo_app()
    async with surviving(app, over) as place:
        there = {info.id for info in app.sessions.find()}
        first, second = await place.open(), await place.open()
        await until(lambda: len(app.sessions.find()) == len(there) + 2)
        one, other = (info for info in app.sessions.find() if info.id not in there)
        address = "unix" if over == "unix" else "127.0.0.1" if over in {"plain", "tls"} else one.peer
        assert {info.id for info in app.sessions.find(address=address)} >= {one.id, other.id}
        assert app.sessions.end(one, reason="away")
        assert (await first.dismissal(answer=True)).closing == (3003, "away")
        assert app.sessions.end(other.id, 4001)
        assert (await second.dismissal(answer=True)).closing == (4001, "")


async def test_an_end_is_the_programs(autojump_clock: MockClock) -> None:
    """It is recorded as one, the handler has its time to wind down, and the credential stays good."""
    ends = list[Outcome]()
    app = members(on_end=ends.append)
    presented = by(token())
    async with serve(app) as served:
        async with served.connect("/rooms/tea", headers=presented) as client:
            assert app.sessions.end(app.sessions.find()[0])
            assert await client.wait_closed() == CloseFrame(3003, "")
        async with served.connect("/rooms/tea", headers=presented):
            pass
    assert (ends[0].cause, ends[0].code) == (Cause.ENDED, 3003)


@pytest.mark.parametrize(
    "mistake",
    [
        partial(Sessions.end, who="c1", code=1000),
        partial(Sessions.end, who="c1", code=1005),
        partial(Sessions.end, who="c1", reason="x" * 124),
        partial(Sessions.end, who=cast("str", 1)),
        partial(Sessions.find, subject=cast("str", 1)),
        partial(Sessions.watch, buffer=0),
        partial(Sessions.watch, buffer=True),
        partial(Sessions.watch, buffer=cast("int", math.inf)),
    ],
    ids=["1000", "1005", "long", "no id", "no name", "no room", "a bool", "any number"],
)
async def test_mistakes(mistake: Callable[[Sessions], object]) -> None:
    """They are refused at once, with the remedy, whether or not somebody is there."""
    with pytest.raises(ConfigurationError):
        mistake(App().sessions)


async def test_from_another_thread() -> None:
    """Refused, with the remedy, as soon as there is something to see."""
    app = members()
    async with connect(app, "/public"):
        for wrong in (app.sessions.find, lambda: app.sessions.end("c1")):
            with pytest.raises(ConfigurationError, match="run_sync"):
                await trio.to_thread.run_sync(wrong)
        found = await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(app.sessions.find))
        assert len(found) == 1


def named(event: SessionEvent) -> str:
    """An event in a word or two."""
    match event:
        case SessionOpened(session):
            return f"opened {session.route}"
        case SessionClosed(session=session, code=code, reason=reason):
            return f"closed {session.route} {code} {reason}".rstrip(" ")
        case Lagged(missed):
            return f"missed {missed}"


async def test_watching() -> None:
    """Each opening and each end, in order, with what it was; nothing of before or after the block."""
    app = members()
    async with serve(app) as served, served.connect("/public"):
        async with app.sessions.watch() as events:
            async with served.connect("/rooms/tea", headers=by(token(jti="1"))) as client:
                opened = await anext(events)
                assert isinstance(opened, SessionOpened)
                assert opened.session == app.sessions.find(subject="ada")[0]
                assert app.sessions.end(opened.session, 4000, "enough")
                await client.wait_closed()
            closed = await anext(events)
            assert isinstance(closed, SessionClosed)
            assert closed.session == opened.session
            assert (closed.cause, closed.code, closed.reason) == (Cause.ENDED, 4000, "enough")
            assert opened.session.opened_at <= closed.at <= time.time()
        async with served.connect("/public"):
            with pytest.raises(StopAsyncIteration):
                await anext(events)


async def test_find_and_watch_agree() -> None:
    """Whoever has looked once, and follows the events, has what another look finds."""
    app, here = members(), dict[str, SessionInfo]()
    async with serve(app) as served, served.connect("/public"), app.sessions.watch() as events:
        here = {info.id: info for info in app.sessions.find()}
        async with AsyncExitStack() as stack:
            for _ in range(5):
                await stack.enter_async_context(served.connect("/public"))
            async with served.connect("/rooms/tea", headers=by(token())) as client:
                await app.sessions.revoke(subject="ada")
                await client.wait_closed()
            for _ in range(7):
                match await anext(events):
                    case SessionOpened(session):
                        here[session.id] = session
                    case SessionClosed(session=session):
                        del here[session.id]
                    case Lagged():
                        raise AssertionError
            assert tuple(here.values()) == app.sessions.find()


async def test_a_slow_watcher(autojump_clock: MockClock) -> None:
    """It holds up nobody, keeps what it has room for, and is told in the right place what it has missed."""
    app = members()
    async with serve(app) as served, app.sessions.watch(buffer=3) as slow, app.sessions.watch() as quick:
        for _ in range(4):  # eight events
            async with served.connect("/public"):
                pass
            await wait_all_tasks_blocked()
        assert [named(await anext(slow)) for _ in range(2)] == ["opened /public", "closed /public 1000"]
        async with served.connect("/rooms/tea", headers=by(token())):
            seen = [named(await anext(slow)) for _ in range(3)]
        assert seen == ["opened /public", "missed 5", "opened /rooms/{room}"]
        assert named(await anext(slow)) == "closed /rooms/{room} 1000"
        for _ in range(10):
            assert not isinstance(await anext(quick), Lagged)
        for _ in range(3):
            async with served.connect("/public"):
                pass
            await wait_all_tasks_blocked()
        last = [named(await anext(slow)) for _ in range(4)]
        assert last[-1] == "missed 3"  # though nothing has happened after them
        with trio.move_on_after(1) as nothing:
            await anext(slow)
        assert nothing.cancelled_caught
        assert trio.current_time() == 1


async def test_a_cancelled_watcher_misses_nothing() -> None:
    """Cancelling the wait for an event leaves the event to the next one who asks."""
    app = members()
    async with serve(app) as served, app.sessions.watch() as events, served.connect("/public"):
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(events)
        assert scope.cancelled_caught
        assert named(await anext(events)) == "opened /public"


async def test_leaving_ends_the_iteration_elsewhere() -> None:
    """A task that iterates is not left waiting when another one leaves the block."""
    app, done = App(), trio.Event()
    async with trio.open_nursery() as nursery:
        async with app.sessions.watch() as events:

            async def follow() -> None:
                async for _ in events:
                    raise AssertionError
                done.set()

            nursery.start_soon(follow)
            await wait_all_tasks_blocked()
        await done.wait()


async def test_a_server_that_stops_is_seen() -> None:
    """All its connections close, also for a watcher outside of it."""
    app = members()
    async with app.sessions.watch() as events:
        async with serve(app) as served, served.connect("/public"):
            pass
        seen = [named(await anext(events)) for _ in range(2)]
    assert seen[0] == "opened /public"
    assert seen[1].startswith("closed /public")


def test_what_is_known_of_no_time() -> None:
    """A credential that does not say when it was issued, nor when it ends, says None, and is a `Credential`."""
    held = HeldCredential(issuer="", subject="ada", session_id=None, token_id=None, issued_at=None, expires_at=None)
    sessions = Sessions(at_most=None)
    assert not sessions.is_revoked(held)
    assert not sessions.is_revoked(evolve(held, issued_at=math.inf))
