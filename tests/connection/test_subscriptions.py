"""The subscriptions of one connection: how many there may be, and what a renewal asks of them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, TypeAlias, TypeVar, cast, final

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    App,
    Claims,
    ConfigurationError,
    Connection,
    Disconnected,
    Forbidden,
    Limits,
    TooManyRequests,
    bearer,
    public,
)
from seawall.connection.connection import renewed_principal, state_of
from seawall.connection.subscriptions import Review, SubscribeOptions, Subscription, Subscriptions
from seawall.entering import MustBeEntered
from seawall.position import Position
from seawall.room_event import Gap, RoomEvent
from seawall.testing import connect
from tests.kit.renewing import renew_each
from tests.kit.tokens import by, token, verifier

R = TypeVar("R")
Entered: TypeAlias = AbstractAsyncContextManager[Subscription]


@final
@define(eq=False)
class Reader(Generic[R]):
    """A subscription to nothing, with a check."""

    connection: Connection[R]
    check: Callable[[R], Awaitable[None]]
    position: Position = field(factory=lambda: Position("test", 0))
    ended: Exception | None = None
    scope: trio.CancelScope = field(factory=trio.CancelScope)

    async def ask(self, principal: object, /) -> None:
        """Ask the check."""
        await self.check(renewed_principal(self.connection, principal))

    def end(self, failure: Exception, /) -> None:
        """Cancel the body."""
        self.ended = failure
        self.scope.cancel()

    def leave(self) -> None:
        """It has no place in any room."""


@final
@define(eq=False)
class Board(Generic[R]):
    """Something to subscribe to, for those who pass a check."""

    check: Callable[[R], Awaitable[None]]
    readers: list[Reader[R]] = field(factory=list[Reader[R]])
    options: list[SubscribeOptions[int]] = field(factory=list[SubscribeOptions[int]])

    def subscription(self, connection: Connection[R], options: SubscribeOptions[int], /) -> Entered:
        """As a room does it."""
        self.options.append(options)
        return MustBeEntered("conn.subscribe(...)", self._subscribed(connection))

    @asynccontextmanager
    async def _subscribed(self, connection: Connection[R]) -> AsyncGenerator[Subscription]:
        reader, state = Reader(connection, self.check), state_of(connection)
        state.hold(reader)
        try:
            await reader.check(connection.principal)
            self.readers.append(reader)
            with reader.scope:
                yield reader
            if reader.ended is not None:
                raise reader.ended
        finally:
            state.subscriptions.discard(reader)


@define
class Members:
    """Who may read, and who has been asked about."""

    asked: list[str] = field(factory=list[str])
    refuse: Callable[[str], Exception | None] = lambda token_id: None
    seconds: float = 0.0

    async def check(self, claims: Claims) -> None:
        """Let all read, but for those that `refuse` refuses."""
        self.asked.append(claims.token_id or "")
        await trio.sleep(self.seconds)
        if (refusal := self.refuse(claims.token_id or "")) is not None:
            raise refusal


def without(*refused: str) -> Callable[[str], Exception | None]:
    """Refuses some tokens."""
    return lambda token_id: Forbidden(f"not {token_id}") if token_id in refused else None


@define
class Reading:
    """An app whose handler reads a board several times, and renews with what the client sends."""

    board: Board[Claims]
    many: int = 1
    raised: list[Exception] = field(factory=list[Exception])
    app: App = field(factory=App)

    def __attrs_post_init__(self) -> None:
        """Make its route."""
        self.app.route("/", guard=bearer(verifier))(self.handle)

    async def handle(self, conn: Connection[Claims]) -> None:
        """Read, and renew meanwhile."""
        for _ in range(self.many):
            conn.nursery.start_soon(self.read, conn)
        await wait_all_tasks_blocked()
        await renew_each(conn)
        conn.nursery.cancel_scope.cancel()

    async def read(self, conn: Connection[Claims]) -> None:
        """Read until that ends."""
        try:
            async with conn.subscribe(self.board):
                await trio.sleep_forever()
        except Exception as failure:  # noqa: BLE001 - that is the result
            self.raised.append(failure)


async def test_a_renewal_asks_each_subscription(autojump_clock: MockClock) -> None:
    """About the new principal, once each; those whose check lets it through go on."""
    members = Members()
    reading = Reading(Board(members.check), many=3)
    async with connect(reading.app, "/", headers=by(token(jti="1"))) as client:
        await client.send(token(jti="2"))
        assert await client.receive() == "renewed"
        await client.send(token(jti="3"))
        assert await client.receive() == "renewed"
        assert members.asked == ["1"] * 3 + ["2"] * 3 + ["3"] * 3
        assert reading.raised == []


async def test_those_that_are_refused_end_after_the_renewal(autojump_clock: MockClock) -> None:
    """Each with what its check has raised, whatever that is; the connection has the new principal by then."""
    members, seen = Members(), list[str | None]()
    reading = Reading(Board(members.check), many=2)

    def refuse(token_id: str) -> Exception | None:
        if token_id == "1":
            return None
        seen.append(reading.board.readers[0].connection.principal.token_id)
        return Forbidden("no member any more") if len(seen) == 1 else KeyError("who")

    members.refuse = refuse
    async with connect(reading.app, "/", headers=by(token(jti="1"))) as client:
        await client.send(token(jti="2"))
        assert await client.receive() == "renewed"
        await wait_all_tasks_blocked()
        assert seen == ["1", "1"]  # the renewal could still fail
        assert reading.board.readers[0].connection.principal.token_id == "2"
        raised = {(type(one), str(one)) for one in reading.raised}
        assert raised == {(Forbidden, "no member any more"), (KeyError, "'who'")}
        await client.send(token(jti="3"))
        assert await client.receive() == "renewed"
        assert members.asked == ["1", "1", "2", "2"]


async def test_a_renewal_that_fails_ends_none(autojump_clock: MockClock) -> None:
    """Nothing has changed then: also when the checks, which count for its time, have refused and are too slow."""
    members = Members(refuse=without("2"))
    reading = Reading(Board(members.check), many=2)
    async with connect(reading.app, "/", headers=by(token(jti="1"))) as client:
        await client.send("garbage")
        assert "Unauthorized" in str(await client.receive())
        members.seconds = 6
        await client.send(token(jti="2"))
        assert await client.receive() == "AuthTimeout: authentication timed out"
        assert reading.raised == []
        assert reading.board.readers[0].connection.principal.token_id == "1"


async def test_one_that_begins_during_a_renewal_is_asked_too(autojump_clock: MockClock) -> None:
    """Its check has been asked about the old principal; before the renewal is through, it is asked about the new."""
    members = Members(refuse=without("2"))
    reading, late = Reading(Board(members.check)), list[Exception]()

    @reading.app.route("/late", guard=bearer(verifier))
    async def handle(conn: Connection[Claims]) -> None:
        async def read_later() -> None:
            await trio.sleep(1.5)
            try:
                async with conn.subscribe(reading.board):
                    await trio.sleep_forever()
            except Forbidden as refusal:
                late.append(refusal)

        conn.nursery.start_soon(reading.read, conn)
        await wait_all_tasks_blocked()
        conn.nursery.start_soon(read_later)
        members.seconds = 1
        await trio.sleep(1)
        await conn.renew(token(jti="2"))
        await conn.send("renewed")
        await trio.sleep(2)
        conn.nursery.cancel_scope.cancel()

    async with connect(reading.app, "/late", headers=by(token(jti="1"))) as client:
        assert await client.receive() == "renewed"
        await client.wait_closed()
    assert members.asked == ["1", "2", "1", "2"]
    assert [str(one) for one in (*reading.raised, *late)] == ["not 2", "not 2"]


async def test_what_an_event_has_proved_is_asked_about_again() -> None:
    """The principal of a narrowed connection is another than that of the route, and no renewal changes it."""
    asked, subscriptions = list[int](), Subscriptions()

    async def check(principal: int) -> None:
        await trio.lowlevel.checkpoint()
        asked.append(principal)

    app = App()

    @app.route("/", guard=public)
    async def handle(conn: Connection[object]) -> None:
        reader = Reader(conn.narrowed(7), check)
        subscriptions.add(reader, at_most=1)
        review = Review(subscriptions, "new")
        await review.ask()
        review.settle()
        assert reader.ended is None

    async with connect(app, "/") as client:
        assert await client.wait_closed() == (1000, "")
    assert asked == [7]


async def test_a_subscription_that_has_ended_meanwhile_is_left_alone() -> None:
    """Its body is over: there is nobody to tell."""
    subscriptions = Subscriptions()
    async with without_connection() as conn:

        async def refuse(principal: object) -> None:
            await trio.lowlevel.checkpoint()
            raise Forbidden

        reader = Reader(conn, refuse)
        subscriptions.add(reader, at_most=1)
        review = Review(subscriptions, "new")
        complete = [review.is_complete]
        await review.ask()
        assert [*complete, review.is_complete] == [False, True]
        subscriptions.discard(reader)
        subscriptions.discard(reader)
        review.settle()
        assert len(subscriptions) == 0
        assert reader.ended is None


@asynccontextmanager
async def without_connection() -> AsyncGenerator[Connection[object]]:
    """A connection that nobody uses."""
    app, found = App(), list[Connection[object]]()

    @app.route("/", guard=public)
    async def handle(conn: Connection[object]) -> None:
        found.append(conn)
        await trio.sleep_forever()

    async with connect(app, "/"):
        yield found[0]


async def test_there_are_not_too_many(autojump_clock: MockClock) -> None:
    """As many as the limit says, on each connection; one that has ended is no longer there."""
    board = Board(Members().check)
    app, heard = App(limits=Limits(max_subscriptions=2)), list[str]()

    @app.route("/", guard=bearer(verifier), limits={"max_subscriptions": 1})
    async def handle(conn: Connection[Claims]) -> None:
        for _ in range(2):
            async with conn.subscribe(board):
                with pytest.raises(TooManyRequests, match="too many subscriptions of one connection"):
                    async with conn.subscribe(board):
                        raise AssertionError
                heard.append("one")
        await conn.send("done")
        await conn.receive()

    async with connect(app, "/", headers=by(token())) as client:
        assert await client.receive() == "done"
        assert heard == ["one", "one"]
        async with connect(app, "/", headers=by(token())) as another:
            assert await another.receive() == "done"


async def test_a_connection_that_is_over_subscribes_to_nothing(autojump_clock: MockClock) -> None:
    """There is nobody to send to."""
    board, app = Board(Members().check), App()

    @app.route("/", guard=bearer(verifier))
    async def handle(conn: Connection[Claims]) -> None:
        await conn.aclose()
        with pytest.raises(Disconnected):
            async with conn.subscribe(board):
                raise AssertionError

    async with connect(app, "/", headers=by(token())) as client:
        assert await client.wait_closed() == (1000, "")


async def anybody(principal: object) -> None:
    """A check that lets all read."""
    await trio.lowlevel.checkpoint()


async def shout(event: RoomEvent[int] | Gap) -> str:
    """A wrap that nobody would await."""
    return str(event)


async def test_arguments_that_no_type_checker_has_seen() -> None:
    """Are refused at once, each with what to write instead."""
    board = Board(anybody)
    problems: list[tuple[object, dict[str, object], str]] = [
        ("lobby", {}, "subscribe() was given 'lobby'; give a room, as in topic(room='lobby')"),
        (board, {"since": "a-1"}, "since='a-1' is no position; give Position.parse(text)"),
        (board, {"since": 7}, "since=7 is no position"),
        (board, {"lag": 256}, "subscribe: lag=256; give DropOldest(n)"),
        (board, {"wrap": "x"}, "wrap='x' cannot be called"),
        (board, {"wrap": shout}, "is async, and nobody would await it; write `def`"),
    ]
    async with without_connection() as conn:
        subscribe = cast("Callable[..., Entered]", conn.subscribe)  # type: ignore[explicit-any]  # any arguments
        for given, options, problem in problems:
            with pytest.raises(ConfigurationError, match=re.escape(problem)):
                subscribe(given, **options)
        with pytest.raises(ConfigurationError, match=r"call it with trio.from_thread.run\(conn.subscribe"):
            await trio.to_thread.run_sync(subscribe, board)
        assert board.options == []
        async with subscribe(board, since=Position("a", 1), wrap=str):
            assert board.options == [SubscribeOptions(since=Position("a", 1), wrap=str)]


async def test_a_subscription_that_is_not_entered() -> None:
    """Warns as a coroutine does that nobody awaits."""
    board = Board(Members().check)
    async with without_connection() as conn:
        member = cast("Connection[Claims]", conn)
        with pytest.warns(RuntimeWarning, match=re.escape("conn.subscribe(...) was never entered")):
            member.subscribe(board)
        assert board.readers == []
