"""Who may read a room: the check of a topic, what it may look like, and when it is asked."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import cast

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
    Events,
    Forbidden,
    Gate,
    Unavailable,
    bearer,
    guard,
    public,
)
from seawall.rooms import RoomEvent, Topic
from seawall.testing import connect, serve
from tests.kit.tokens import by, token, verifier


@frozen
class Said:
    """What somebody has said."""

    text: str


@frozen
class Listen:
    """A message: let me hear."""

    room: str


@frozen
class Heard:
    """The answer to it."""

    texts: list[str]


@frozen
class Moderator:
    """What the guard of an event proves."""

    name: str


@define
class Asked:
    """A check that writes down what it is asked."""

    about: list[tuple[object, str]] = field(factory=list[tuple[object, str]])
    refuse: bool = False

    async def may_read(self, principal: object, room: str) -> None:
        """Let all read until `refuse` is set."""
        await trio.lowlevel.checkpoint()
        self.about.append((principal, room))
        if self.refuse:
            raise Forbidden("no member")


def topic(app: App | None = None) -> Topic[Said]:
    """A topic of two parameters."""
    return (app or App()).topic("rooms/{room}/{floor:int}", Said, history=10)


async def of_both(principal: object, room: str, floor: int) -> None:
    """Takes both parameters."""


async def of_one(principal: object, *, floor: int, log: bool = False) -> None:
    """Takes one, and something that has a default."""


async def of_none(principal: object, /) -> None:
    """Takes none."""


async def of_all(principal: object, **parameters: object) -> None:
    """Takes whatever there is."""


class Checker:
    """An instance that can be called."""

    async def __call__(self, principal: object, room: str) -> None:
        """Let all read."""


@pytest.mark.parametrize("check", [of_both, of_one, of_none, of_all, Checker(), Asked().may_read])
async def test_what_a_check_may_look_like(check: Callable[..., Awaitable[None]]) -> None:  # type: ignore[explicit-any]  # any parameters
    """It takes the principal, and those parameters of the pattern that it names."""
    app = App()
    room = topic(app).readable(check)(room="a", floor=1)

    @app.route("/", guard=public)
    async def handle(conn: Connection[Anonymous]) -> None:
        await room.publish(Said("x"))
        async with conn.subscribe(room):
            await conn.receive()

    async with connect(app, "/") as client:
        assert await client.receive() == '{"type":"said","text":"x"}'


def in_time(principal: object, room: str) -> None:
    """Not async."""


async def verdict(principal: object, room: str) -> bool:
    """Returns what nobody looks at."""
    return True


async def of_house(principal: object, house: str) -> None:
    """Takes what the pattern does not have."""


async def of_floor(principal: object, floor: str) -> None:
    """Takes the number as text."""


async def of_nobody() -> None:
    """Takes no principal."""


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ("member", "was given 'member'; give an async function"),
        (in_time, "is not an async function; write `async def`"),
        (verdict, "returns something; raise to refuse, return nothing"),
        (of_house, "takes 'house', which the pattern does not have"),
        (of_floor, "parameter 'floor' of of_floor()"),
        (of_nobody, "must take the principal as positional parameters"),
    ],
)
def test_a_mistake_in_a_check(check: object, problem: str) -> None:
    """It is found when the topic is defined, whose pattern is in the text."""
    said = topic()
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        said.readable(cast("Callable[[object], Awaitable[None]]", check))
    said(room="a", floor=1)  # it is what it was


async def test_a_check_that_returns_something_all_the_same() -> None:
    """Where no annotation says so: a `return False` that was meant to refuse does not let anybody in."""

    async def lax(principal: object, room: str) -> bool:
        await trio.lowlevel.checkpoint()
        return room == "a"

    lax.__annotations__.clear()
    app = App()
    room = topic(app).readable(cast("Callable[[object], Awaitable[None]]", lax))(room="a", floor=1)

    @app.route("/", guard=public)
    async def handle(conn: Connection[Anonymous]) -> None:
        with pytest.raises(ConfigurationError, match="returned True; raise to refuse, or return nothing"):
            async with conn.subscribe(room):
                raise AssertionError
        await conn.send("refused")

    async with connect(app, "/") as client:
        assert await client.receive() == "refused"


def test_there_is_one_topic_to_use() -> None:
    """The one without the check would be a way around it, and so nobody may call it any more."""
    said = topic()
    guarded = said.readable(of_both)
    assert guarded(room="a", floor=1) == guarded(room="a", floor=1)
    with pytest.raises(ConfigurationError, match=r"was called after readable\(\), which has made another one"):
        said(room="a", floor=1)
    with pytest.raises(ConfigurationError, match=r"was made readable after readable\(\)"):
        said.readable(of_both)
    with pytest.raises(ConfigurationError, match="is readable by a check already; put both into one"):
        guarded.readable(of_both)


async def test_the_check_is_asked_when_somebody_reads(autojump_clock: MockClock) -> None:
    """Each time, about the principal of the connection; publishing asks nobody, and neither does the server itself."""
    app, asked = App(), Asked()
    said = app.topic("rooms/{room}", Said, history=10).readable(asked.may_read)

    @app.route("/{room}", guard=bearer(verifier))
    async def handle(conn: Connection[Claims], room: str) -> None:
        await said(room=room).publish(Said("x"))
        async with conn.subscribe(said(room=room), since="joined"):
            await conn.send("reads")
            await conn.receive()
            assert [event.value.text for event in await said(room=room).history(5, to=conn)] == ["x"]
            asked.refuse = True
            with pytest.raises(Forbidden, match="no member"):
                await said(room=room).history(5, to=conn)
            with pytest.raises(Forbidden, match="no member"):
                async with conn.subscribe(said(room=room)):
                    raise AssertionError
            await conn.send("refused")
            await conn.receive()

    async with connect(app, "/a", headers=by(token(sub="ada"))) as client:
        assert await client.receive() == "reads"
        assert [(cast("Claims", one).subject, room) for one, room in asked.about] == [("ada", "a")]
        async with said(room="a").events() as events:
            event = await anext(events)
            assert isinstance(event, RoomEvent)
        assert len(asked.about) == 1
        await client.send("go on")
        assert await client.receive() == "refused"
        assert len(asked.about) == 4
        await said(room="a").publish(Said("still there"))  # the subscription that was let in goes on
        assert await client.receive() == '{"type":"said","text":"still there"}'


async def test_the_history_of_a_readable_topic_is_for_somebody() -> None:
    """Whom no type checker has told is told at run time."""
    app, asked = App(), Asked()
    said = app.topic("rooms/{room}", Said, history=10).readable(asked.may_read)
    history = cast("Callable[[int], Awaitable[object]]", said(room="a").history)
    async with serve(app):
        with pytest.raises(ConfigurationError, match="say for whom it is: to=conn"):
            await history(1)
    with pytest.raises(Unavailable):
        await history(1)


async def test_what_the_guard_of_an_event_has_proved_may_read(autojump_clock: MockClock) -> None:
    """The check is asked about that principal; in a renewal too, which changes only that of the route."""
    app, asked = App(), Asked()
    said = app.topic("rooms/{room}", Said, history=10).readable(asked.may_read)
    events: Events[Claims] = Events()

    @guard
    async def moderator(gate: Gate, claims: Claims) -> Moderator:
        await trio.lowlevel.checkpoint()
        return Moderator(claims.subject or "")

    @events.on(Listen, guard=moderator)
    async def listen(conn: Connection[Moderator], message: Listen) -> Heard:
        async with conn.subscribe(said(room=message.room), since="joined"):
            await conn.renew(token(sub="ada", jti="2"))
            return Heard([event.value.text for event in await said(room=message.room).history(5, to=conn)])

    app.route("/", guard=bearer(verifier))(events)
    async with connect(app, "/", headers=by(token(sub="ada"))) as client:
        await said(room="a").publish(Said("x"))
        await client.send('{"type":"listen","room":"a","ref":1}')
        assert await client.receive() == '{"type":"heard","re":1,"texts":["x"]}'
        await wait_all_tasks_blocked()
    assert asked.about == [(Moderator("ada"), "a")] * 3
