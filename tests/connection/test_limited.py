"""`limit_connections`: how many connections one subject, or one address, has open, and which one has to go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import cast

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Cause,
    Check,
    Claims,
    ConfigurationError,
    Connection,
    Events,
    Forbidden,
    Gate,
    Guard,
    Outcome,
    Request,
    Response,
    TooManyRequests,
    bearer,
    check,
    guard,
    public,
)
from seawall.connection.limited import LimitedConnections
from seawall.guards.connection_limit import ConnectionLimit, Losing, Per
from seawall.sessions import limit_connections
from seawall.testing import Client, CloseFrame, Rejected, connect, serve
from tests.kit.sockets import EVERYWHERE, SHORT, Transport, serving, until
from tests.kit.tokens import about_anything, by, token, verifier
from tests.kit.wire import request

REPLACED = CloseFrame(3003, "replaced")


async def echo(conn: Connection[object]) -> None:
    """Echo."""
    async for message in conn:
        await conn.send(message)


def members(limit: Check[object], on_end: Callable[[Outcome], None] | None = None) -> App:
    """An app for who has a token; ``renew`` and a token renew it."""
    app = App(on_end=on_end)

    @app.route("/", guard=bearer(verifier) >> limit)
    async def handler(conn: Connection[Claims]) -> None:
        async for message in conn:
            if str(message).startswith("renew "):
                await conn.renew(str(message).removeprefix("renew "))
            await conn.send(message)

    return app


async def is_served(client: Client) -> bool:
    """Whether it echoes."""
    await client.send("there?")
    return await client.receive() == "there?"


async def test_the_oldest_loses(autojump_clock: MockClock) -> None:
    """One too many of one subject ends the one that has been open for longest, and nobody else's."""
    ends = list[Outcome]()
    app = members(limit_connections(2, per="subject", losing="oldest"), ends.append)
    async with serve(app) as served, AsyncExitStack() as stack:

        async def come(name: str) -> Client:
            return await stack.enter_async_context(served.connect("/", headers=by(token(name))))

        bob, first, second = await come("bob"), await come("ada"), await come("ada")
        assert await is_served(first)
        third = await come("ada")
        assert await first.wait_closed() == REPLACED
        fourth = await come("ada")
        assert await second.wait_closed() == REPLACED
        for client in (bob, third, fourth):
            assert await is_served(client)
    assert [end.code for end in ends if end.cause is Cause.REPLACED] == [3003, 3003]


async def test_the_newest_loses() -> None:
    """It is refused, and told when to come again; when another has left, it is let in."""
    app = members(limit_connections(1, per="subject"))
    async with serve(app) as served:
        async with served.connect("/", headers=by(token())) as first:
            with pytest.raises(Rejected) as refused:
                async with served.connect("/", headers=by(token())):
                    pass
            assert (refused.value.status, refused.value.header("Retry-After")) == (429, "5")
            async with served.connect("/", headers=by(token("bob"))) as bob:
                assert await is_served(bob)
            assert await is_served(first)
        async with served.connect("/", headers=by(token())) as again:
            assert await is_served(again)


@pytest.mark.parametrize("losing", ["oldest", "newest"])
@pytest.mark.parametrize("place", ["before the bearer", "after it", "behind all"])
async def test_nobody_loses_to_who_is_refused(losing: Losing, place: str, autojump_clock: MockClock) -> None:
    """Wherever the check is: it counts when all guards have let somebody in, and not before."""
    app, knocking, decided = App(), trio.Event(), trio.Event()
    limit = limit_connections(1, per="subject", losing=losing)

    @check
    async def no_bots(gate: Gate, claims: Claims) -> None:
        if claims.token_id == "bot":
            knocking.set()
            await decided.wait()
            raise Forbidden

    chains: dict[str, Guard[Anonymous, Claims]] = {
        "before the bearer": limit >> bearer(verifier) >> no_bots,
        "after it": bearer(verifier) >> limit >> no_bots,
        "behind all": bearer(verifier) >> no_bots >> limit,
    }
    app.route("/", guard=chains[place])(echo)
    async with serve(app) as served, trio.open_nursery() as nursery:

        async def knock() -> None:
            with pytest.raises(Rejected, match="403"):
                async with served.connect("/", headers=by(token(jti="bot"))):
                    pass

        async with served.connect("/", headers=by(token())) as first:
            nursery.start_soon(knock)
            await knocking.wait()
            assert await is_served(first)
            decided.set()
            await wait_all_tasks_blocked()
            assert await is_served(first)
        async with served.connect("/", headers=by(token())) as second:
            assert await is_served(second)


@pytest.mark.parametrize("losing", ["oldest", "newest"])
async def test_several_at_once(losing: Losing) -> None:
    """Of ten that come in the same moment, two stay: whoever loses."""
    app, stays, gone = members(limit_connections(2, per="subject", losing=losing)), list[int](), list[object]()
    over = trio.Event()
    async with serve(app) as served, trio.open_nursery() as nursery:

        async def come(number: int) -> None:
            try:
                async with served.connect("/", headers=by(token())) as client:
                    stays.append(number)
                    with trio.CancelScope() as scope:
                        nursery.start_soon(leave, scope)
                        gone.append(await client.wait_closed())
                        stays.remove(number)
            except Rejected as refused:
                gone.append(refused.status)

        async def leave(scope: trio.CancelScope) -> None:
            await over.wait()
            scope.cancel()

        for number in range(10):
            nursery.start_soon(come, number)
        await until(lambda: len(gone) == 8)
        assert len(stays) == 2
        assert len(app.sessions.find(subject="ada")) == 2
        assert set(gone) == {REPLACED if losing == "oldest" else 429}
        over.set()


@pytest.mark.parametrize("losing", ["oldest", "newest"])
async def test_who_renews_is_not_its_own_rival(losing: Losing) -> None:
    """It keeps its one place, and is not the newest because of that."""
    app = members(limit_connections(1, per="subject", losing=losing))
    async with connect(app, "/", headers=by(token(jti="1"))) as client:
        for number in range(3):
            renewed = f"renew {token(jti=str(number))}"
            await client.send(renewed)
            assert await client.receive() == renewed
    two = members(limit_connections(2, per="subject", losing="oldest"))
    async with (
        serve(two) as served,
        served.connect("/", headers=by(token())) as old,
        served.connect("/", headers=by(token())) as young,
    ):
        renewed = f"renew {token()}"
        await old.send(renewed)
        assert await old.receive() == renewed
        async with served.connect("/", headers=by(token())):
            assert await old.wait_closed() == REPLACED
            assert await is_served(young)


async def test_which_connections_are_counted_together() -> None:
    """Those of all routes behind the same check; one that looks the same counts for itself. Issuers are told apart."""
    app = App()
    shared = limit_connections(1, per="subject", losing="oldest")
    app.route("/one", guard=bearer(verifier) >> shared)(echo)
    app.route("/two", guard=bearer(verifier) >> shared >> limit_connections(5, per="subject"))(echo)
    app.route("/own", guard=bearer(verifier) >> limit_connections(1, per="subject", losing="oldest"))(echo)
    async with (
        serve(app) as served,
        served.connect("/one", headers=by(token(iss="us"))) as one,
        served.connect("/own", headers=by(token(iss="us"))) as own,
        served.connect("/two", headers=by(token(iss="them"))) as theirs,
        served.connect("/two", headers=by(token(iss="us"))) as two,
    ):
        assert await one.wait_closed() == REPLACED
        for client in (own, theirs, two):
            assert await is_served(client)


async def test_a_handler_that_does_not_end_is_in_nobodys_way(autojump_clock: MockClock) -> None:
    """What counts is that the connection has ended, not that its handler has."""
    app, over = App(), trio.Event()

    @app.route("/", guard=bearer(verifier) >> limit_connections(1, per="subject"))
    async def stuck(conn: Connection[Claims]) -> None:
        with trio.CancelScope(shield=True):
            await over.wait()

    async with serve(app) as served, served.connect("/", headers=by(token())):
        assert app.sessions.end(app.sessions.find()[0])
        async with served.connect("/", headers=by(token())) as client:
            over.set()
            await client.wait_closed()


async def test_who_was_revoked_at_the_door_replaces_nobody() -> None:
    """Its end is certain, though it has not been recorded yet."""
    app = App()

    @guard
    async def revoke(gate: Gate, claims: Claims) -> Claims:
        if claims.token_id == "stolen":
            revoking = app.sessions.revoke(token_id="stolen")
            revoking.send(None)  # as far as its checkpoint: the guards go on before anything can end
            revoking.close()
        return claims

    app.route("/", guard=bearer(verifier) >> revoke >> limit_connections(1, per="subject", losing="oldest"))(echo)
    async with serve(app) as served, served.connect("/", headers=by(token())) as first:
        with pytest.raises(Rejected, match="403"):
            async with served.connect("/", headers=by(token(jti="stolen"))):
                pass
        assert await is_served(first)


@pytest.mark.parametrize("losing", ["oldest", "newest"])
def test_where_there_is_room_nobody_is_asked(losing: Losing) -> None:
    """However many are there: who comes costs no more."""
    asked = 0

    class Other:
        """A connection that is open."""

        @property
        def is_over(self) -> bool:
            """It is not."""
            nonlocal asked
            asked += 1
            return False

        def replace(self) -> None:
            """There is room."""
            raise AssertionError

    connections, limit = LimitedConnections(), ConnectionLimit(1000, "subject", losing)
    groups = ((limit, ("us", "ada")),)
    for _ in range(1000):
        connections.claim(other := Other(), groups)
        connections.open(other, groups)
    assert asked == 0
    if losing == "newest":
        with pytest.raises(TooManyRequests):
            connections.claim(Other(), groups)
    assert len(connections) == 1


@pytest.mark.parametrize("place", ["before", "after"])
async def test_either_counts_its_own(place: str) -> None:
    """A limit of one side of ``|`` is not one of who came in by the other, wherever it stands on that side."""
    app, asked = App(limits=SHORT), list[str]()

    @check
    async def noted(gate: Gate, principal: object) -> None:
        asked.append(gate.handshake.path)

    of_members, of_strangers = limit_connections(1, per="subject"), limit_connections(2, per="address")
    members = {
        "before": noted >> of_members >> bearer(verifier),
        "after": noted >> bearer(verifier) >> of_members,
    }
    app.route("/", guard=members[place] | (of_strangers >> public))(echo)
    ada = b"Authorization: Bearer " + token().encode()
    async with serving(app) as server:
        for fields in (list[bytes](), list[bytes](), [ada]):
            client = await server.dial()
            assert (await client.upgrade("/", *fields)).status == 101
        for fields in (list[bytes](), [ada]):
            assert await server.rejected(request("/", *fields)) == 429
        assert len(app.sessions.find()) == 3
    assert len(asked) == 5


async def test_after_a_conversation() -> None:
    """Where a guard has accepted the upgrade, who is one too many reads a close code."""
    app = App()

    @guard
    async def talks(gate: Gate, claims: Claims) -> Claims:
        await gate.accept()
        return claims

    app.route("/", guard=bearer(verifier) >> talks >> limit_connections(1, per="subject"))(echo)
    async with serve(app) as served, served.connect("/", headers=by(token())) as first:
        async with served.connect("/", headers=by(token())) as second:
            assert await second.wait_closed() == CloseFrame(1013, "too many requests")
        assert await is_served(first)


@pytest.mark.parametrize("over", EVERYWHERE)
@pytest.mark.parametrize("losing", ["oldest", "newest"])
async def test_by_address(over: Transport, losing: Losing) -> None:
    """Strangers too are counted where there is an address: over TCP and TLS, not over Unix sockets or in memory."""
    app = App()
    app.route("/", guard=limit_connections(1, per="address", losing=losing) >> public)(echo)
    async with serving(app, over) as place:
        first = await place.open("/")
        if not app.sessions.find()[0].peer.startswith("127.0.0.1:"):
            await (await place.open("/")).echo(b"second")
            await first.echo(b"first")
        elif losing == "oldest":
            second = await place.open("/")
            assert (await first.dismissal(answer=True)).closing == (3003, "replaced")
            await second.echo(b"second")
        else:
            assert await place.rejected(request("/")) == 429
            await first.echo(b"first")
        place.hang_up()


async def test_nobody_to_count() -> None:
    """Who has not been identified cannot be counted by subject: the app is told, and the peer gets no further."""
    app, limit = App(), limit_connections(1, per="subject")
    app.route("/strangers", guard=limit >> public)(echo)
    app.route("/about-nobody", guard=bearer(about_anything) >> limit)(echo)
    async with serve(app) as served:
        with pytest.raises(Rejected, match="500"):
            async with served.connect("/strangers"):
                pass
        with pytest.raises(Rejected, match="401"):
            async with served.connect("/about-nobody", headers=by(token(None))):
                pass
        async with served.connect("/about-nobody", headers=by(token())) as client:
            assert await is_served(client)


@frozen
class Pass:
    """A credential that is not a token."""

    subject: str
    token_id: str | None = None
    issued_at: float | None = None


async def test_by_two_credentials() -> None:
    """Whoever is two is counted as each, and who is refused as one takes no place as the other."""
    app = App()

    @guard
    async def both(gate: Gate, proved: Anonymous) -> Anonymous:
        for name in (gate.handshake.header("X-Names") or "").split(","):
            gate.identify(Pass(name))
        return proved

    app.route("/", guard=both >> limit_connections(1, per="subject"))(echo)
    async with serve(app) as served, served.connect("/", headers={"X-Names": "ada"}) as ada:
        with pytest.raises(Rejected, match="429"):
            async with served.connect("/", headers={"X-Names": "tablet,ada"}):
                pass
        async with served.connect("/", headers={"X-Names": "tablet,bob"}) as bob:
            assert await is_served(bob)
            with pytest.raises(Rejected, match="429"):
                async with served.connect("/", headers={"X-Names": "bob"}):
                    pass
        assert await is_served(ada)


async def test_a_page_is_not_counted() -> None:
    """A guard with a limit can guard pages too."""
    app = members(limit_connections(1, per="subject"))

    @app.page("/me", guard=bearer(verifier) >> limit_connections(1, per="subject"))
    async def me(request: Request[Claims]) -> Response:
        return Response(request.principal.subject)

    async with connect(app, "/", headers=by(token())), serving(app) as place:
        for _ in range(2):
            client = await place.dial()
            presented = token().encode()
            await client.send(b"GET /me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n" % presented)
            assert (await client.last_response()).body == b"ada"


async def test_an_event_is_not_counted(autojump_clock: MockClock) -> None:
    """A limit in the guard of an event is a mistake, and says so."""
    events, raised = Events[Anonymous](), list[Exception]()
    app = App(report=lambda report: raised.append(report.exception))

    @frozen
    class Ask:
        """A message."""

    @events.on(Ask, guard=limit_connections(1, per="address"))
    async def ask(conn: Connection[Anonymous], message: Ask) -> None:
        raise AssertionError

    app.route("/", guard=public)(events)
    async with connect(app, "/") as client:
        await client.send('{"type":"ask"}')
        await client.wait_closed()
    assert [type(one) for one in raised] == [ConfigurationError]
    assert "guard of the route" in str(raised[0])


@pytest.mark.parametrize(
    "mistake",
    [
        partial(limit_connections, 0, per="subject"),
        partial(limit_connections, True, per="subject"),
        partial(limit_connections, cast("int", 1.5), per="subject"),
        partial(limit_connections, 1, per=cast("Per", "user")),
        partial(limit_connections, 1, per="subject", losing=cast("Losing", "first")),
        partial(limit_connections, 1, per=cast("Per", ["subject"])),
    ],
    ids=["none", "a bool", "a half", "user", "first", "several"],
)
def test_mistakes(mistake: Callable[[], object]) -> None:
    """They are found when it is defined."""
    with pytest.raises(ConfigurationError, match="limit_connections"):
        mistake()


def test_what_it_asks_for() -> None:
    """It can be read, as other requirements can."""
    texts = [
        requirement.text
        for limit in (limit_connections(1, per="subject"), limit_connections(2, per="address"))
        for ((requirement,),) in (limit.describe(),)
    ]
    assert texts == ["at most 1 connection of one subject", "at most 2 connections of one address"]
