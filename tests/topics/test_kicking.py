"""``room.kick``: subscriptions and memberships end and are refused, in virtual time over memory streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from attrs import define, field, frozen
from trio.testing import MockClock

from seawall import App, Claims, ConfigurationError, Connection, Unavailable, bearer
from seawall.rooms import Kicked, Position, Presence
from seawall.testing import Client, CloseFrame, Serving, serve
from seawall.topics.topic import Topic
from tests.kit.tokens import by, token, verifier


@frozen
class Said:
    """What is published, and what is said of somebody."""

    text: str


@define(eq=False)
class Hall:
    """An app with a topic and a presence of the same rooms; the handler stays connected when it is kicked."""

    app: App = field(factory=App)
    said: Topic[Said] = field(init=False)
    people: Presence[Said] = field(init=False)
    kicked: list[str] = field(factory=list[str])

    def __attrs_post_init__(self) -> None:
        """Define them."""
        self.said = self.app.topic("rooms/{room}", Said, history=10)
        self.people = self.app.presence("rooms/{room}", Said)

        @self.app.route("/{room}", guard=bearer(verifier))
        async def handler(conn: Connection[Claims], room: str) -> None:
            async for message in conn:
                since = None if message == "all" else Position.parse(str(message))
                try:
                    async with (
                        self.people(room=room).joined(conn, Said(str(conn.principal.subject))),
                        conn.subscribe(self.said(room=room), since=since),
                    ):
                        await conn.send("in")
                        await trio.sleep_forever()
                except* Kicked as group:
                    self.kicked.append(str(conn.principal.subject))
                    await conn.send(f"out {len(group.exceptions)}")


@asynccontextmanager
async def inside(served: Serving, who: str, room: str = "tea", *, sid: str | None = None) -> AsyncGenerator[Client]:
    """A client that is in a room."""
    async with served.connect(f"/{room}", headers=by(token(who, sid=sid))) as client:
        await client.send("all")
        assert await client.receive() == "in"
        yield client


async def test_both_end_and_are_refused(autojump_clock: MockClock) -> None:
    """Subscription and membership end together, a resume is refused for as long, and the connection goes on."""
    hall = Hall()
    tea = hall.said(room="tea")
    async with serve(hall.app) as served, inside(served, "ada") as ada, inside(served, "bob") as bob:
        at = await tea.publish(Said("1"))
        assert [await client.receive() for client in (ada, bob)] == ['{"type":"said","text":"1"}'] * 2
        assert await tea.kick(subject="ada", seconds=20) == 1
        assert await ada.receive() == "out 1"
        assert [member.value for member in hall.people(room="tea").members()] == [Said("bob")]
        await tea.publish(Said("2"))
        assert await bob.receive() == '{"type":"said","text":"2"}'
        await ada.send(str(at))
        assert await ada.receive() == "out 1"
        await trio.sleep(20)
        await ada.send(str(at))
        assert await ada.receive() == "in"
        assert await ada.receive() == '{"type":"said","text":"2"}'
        assert hall.kicked == ["ada", "ada"]


async def test_a_kick_is_taken_back(autojump_clock: MockClock) -> None:
    """By the topic or by the presence, whichever has kicked: both have the same rooms."""
    hall = Hall()
    tea, people = hall.said(room="tea"), hall.people(room="tea")
    async with serve(hall.app) as served, inside(served, "ada") as ada, inside(served, "bob"):
        assert await tea.kick(subject="ada", seconds=20) == 1
        assert await ada.receive() == "out 1"
        assert not await people.unkick(subject="bob")
        assert not await hall.said(room="milk").unkick(subject="ada")
        assert await people.unkick(subject="ada")
        assert not await tea.unkick(subject="ada")
        await ada.send("all")
        assert await ada.receive() == "in"
        assert [member.value for member in people.members()] == [Said("bob"), Said("ada")]
        assert await people.kick(subject="ada", seconds=20) == 1
        assert await ada.receive() == "out 1"
        assert await tea.unkick(subject="ada")
        await ada.send("all")
        assert await ada.receive() == "in"


async def test_taking_a_kick_back_is_done_though_it_is_cancelled(autojump_clock: MockClock) -> None:
    """As a kick is: all is done before anything is awaited."""
    hall = Hall()
    tea = hall.said(room="tea")
    async with serve(hall.app) as served, inside(served, "ada") as ada:
        await tea.kick(subject="ada")
        assert await ada.receive() == "out 1"
        with trio.CancelScope() as scope:
            scope.cancel()
            assert await tea.unkick(subject="ada")
        await ada.send("all")
        assert await ada.receive() == "in"


async def test_by_the_presence(autojump_clock: MockClock) -> None:
    """Who is kicked out of a presence is out of the topic of the same pattern, and of no other room."""
    hall = Hall()
    async with (
        serve(hall.app) as served,
        inside(served, "ada", sid="one") as one,
        inside(served, "ada", sid="two") as two,
        inside(served, "ada", "milk", sid="one") as other,
    ):
        assert await hall.people(room="tea").kick(session_id="one") == 1
        assert await one.receive() == "out 1"
        await hall.said(room="tea").publish(Said("1"))
        await hall.said(room="milk").publish(Said("2"))
        assert await two.receive() == '{"type":"said","text":"1"}'
        assert await other.receive() == '{"type":"said","text":"2"}'


async def test_the_default_is_a_close(autojump_clock: MockClock) -> None:
    """A handler that lets it out is closed by 3003."""
    app = App()
    said = app.topic("{room:int}", Said)

    @app.route("/{room:int}", guard=bearer(verifier))
    async def handler(conn: Connection[Claims], room: int) -> None:
        async with conn.subscribe(said(room=room)):
            await conn.send("in")
            async for _ in conn:
                pass

    async with serve(app) as served, served.connect("/7", headers=by(token("ada"))) as client:
        assert await client.receive() == "in"
        assert await said(room=8).kick(subject="ada") == 0
        assert await said(room=7).kick(subject="ada") == 1
        assert await client.wait_closed() == CloseFrame(3003, "kicked")


async def test_where_it_cannot_be_called(autojump_clock: MockClock) -> None:
    """Of nobody, for no time, of an app that is not served, or in another thread it is a mistake."""
    hall = Hall()
    tea = hall.said(room="tea")
    with pytest.raises(Unavailable):
        await tea.kick(subject="ada")
    with pytest.raises(Unavailable, match=r"^unkick\(\)"):
        await tea.unkick(subject="ada")
    async with serve(hall.app):
        with pytest.raises(ConfigurationError, match="nobody"):
            await tea.kick()
        with pytest.raises(ConfigurationError, match="seconds"):
            await tea.kick(subject="ada", seconds=-1)
        with pytest.raises(ConfigurationError, match="another thread"):
            await trio.to_thread.run_sync(trio.run, lambda: tea.kick(subject="ada"))
        with pytest.raises(ConfigurationError, match=r"^unkick\(\) of nobody"):
            await tea.unkick()
        with pytest.raises(ConfigurationError, match=r"^unkick\(subject=7\)"):
            await tea.unkick(subject=cast("str", 7))
        with pytest.raises(ConfigurationError, match=r"^unkick\(\) in another thread"):
            await trio.to_thread.run_sync(trio.run, lambda: tea.unkick(subject="ada"))


async def test_kicks_are_forgotten_with_the_app(autojump_clock: MockClock) -> None:
    """What is served again begins anew."""
    hall = Hall()
    async with serve(hall.app):
        assert await hall.said(room="tea").kick(subject="ada") == 0
    async with serve(hall.app) as served, inside(served, "ada"):
        assert len(hall.people(room="tea").members()) == 1
