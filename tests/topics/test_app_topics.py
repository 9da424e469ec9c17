"""The topics of an app: how they are defined, when they can be used, and that apps have nothing in common."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, ConfigurationError, Connection, Unavailable, public
from seawall.rooms import Room, Topic
from seawall.testing import connect, serve


@frozen
class Said:
    """What somebody has said."""

    text: str


@frozen
class Renamed:
    """A room has another name."""

    name: str


def listening(app: App, room: Room[Said]) -> None:
    """A route of `app` that forwards a room."""

    @app.route("/", guard=public)
    async def handle(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(room):
            await conn.receive()


def wrongly(**options: object) -> Callable[[], object]:
    """Defines a topic with options that no type checker has seen."""
    define = cast("Callable[..., object]", App().topic)  # type: ignore[explicit-any]  # any options
    arguments = {"pattern": "rooms/{room}", "kind": Said} | options
    return lambda: define(**arguments)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"pattern": "/rooms"}, "what rooms are called is no path; write 'rooms'"),
        ({"pattern": 7}, "it is no text"),
        ({"kind": int}, "int"),
        ({"kind": Said | int}, "int"),
        ({"kind": complex}, "complex"),
        ({"history": -1}, "history=-1; give a number of events"),
        ({"history": "100"}, "history='100'; give a number of events"),
        ({"history": 1, "ttl": 0}, "ttl=0; give a number of seconds"),
        ({"ttl": 300}, "ttl=300 of a history that keeps nothing"),
        ({"lag": 256}, "lag=256; give DropOldest(n)"),
        ({"lag": None}, "lag=None; give DropOldest(n)"),
    ],
)
def test_a_mistake_in_a_definition(options: dict[str, object], problem: str) -> None:
    """It is found where the topic is defined, and the text says what to write."""
    with pytest.raises(ConfigurationError, match=re.escape(problem)) as mistake:
        wrongly(**options)()
    assert "topic" in str(mistake.value)


def test_two_topics_of_one_pattern() -> None:
    """There would be two logs of one room; and another spelling of it would hide that."""
    app = App()
    app.topic("rooms/{room}", Said)
    for kind in (Said, Renamed):
        with pytest.raises(ConfigurationError, match="this app has a topic of this pattern already"):
            app.topic("rooms/{room}", kind)
    with pytest.raises(ConfigurationError, match="which differs in names only"):
        app.topic("rooms/{name}", Renamed)
    app.topic("rooms/{room:int}", Said)
    App().topic("rooms/{room}", Said)


def test_a_mistake_leaves_the_pattern_free() -> None:
    """What could not be defined can be defined properly, at a prompt for instance."""
    app = App()
    define = cast("Callable[..., object]", app.topic)  # type: ignore[explicit-any]  # any options
    with pytest.raises(ConfigurationError):
        define("rooms/{room}", complex)
    assert isinstance(define("rooms/{room}", Said), Topic)


async def publish(room: Room[Said]) -> None:
    """And wait."""
    await room.publish(Said("x"))


async def publish_nowait(room: Room[Said]) -> None:
    """Now."""
    room.publish_nowait(Said("x"))


async def look_back(room: Room[Said]) -> None:
    """At what is kept."""
    await room.history(1)


async def read(room: Room[Said]) -> None:
    """What comes."""
    async with room.events():
        pass


USES = (publish, publish_nowait, look_back, read)


@pytest.mark.parametrize("use", USES)
async def test_an_app_that_is_not_served(use: Callable[[Room[Said]], Awaitable[None]]) -> None:
    """Nobody would get what is published, and nothing of what was published before is left: `Unavailable`."""
    app = App()
    room = app.topic("rooms/{room}", Said, history=10)(room="a")
    with pytest.raises(Unavailable, match="is not served"):
        await use(room)
    async with serve(app):
        await use(room)
        await room.publish(Said("y"))
    with pytest.raises(Unavailable, match="is not served"):
        await use(room)
    async with serve(app):
        assert not await room.history(10)
        await use(room)


@pytest.mark.parametrize("use", USES)
async def test_another_thread(use: Callable[[Room[Said]], Awaitable[None]]) -> None:
    """It would interrupt what runs in the server's: the error says how to come back from there."""
    app = App()
    room = app.topic("rooms/{room}", Said, history=10)(room="a")
    async with serve(app):
        with pytest.raises(ConfigurationError, match=r"in another thread than the server's; call it with trio"):
            await trio.to_thread.run_sync(lambda: trio.run(use, room))

        def from_a_thread() -> None:
            trio.from_thread.run(use, room)
            trio.from_thread.run_sync(room.publish_nowait, Said("y"))

        await trio.to_thread.run_sync(from_a_thread)
        assert [event.value for event in await room.history(1)] == [Said("y")]


async def test_an_app_is_served_in_one_run_of_trio() -> None:
    """Its rooms have events, locks and a pump of that run; another run is refused, and the first goes on."""
    app = App()
    room = app.topic("rooms/{room}", Said, history=10)(room="a")

    async def elsewhere() -> None:
        async with serve(app):
            raise AssertionError

    async with serve(app):
        with pytest.raises(ConfigurationError, match="served in another thread; make one for each"):
            await trio.to_thread.run_sync(trio.run, elsewhere)
        await room.publish(Said("x"))


def test_an_app_is_served_again_in_another_run() -> None:
    """One after the other is fine: nothing of the first run is left."""
    app = App()
    room = app.topic("rooms/{room}", Said, history=10)(room="a")
    listening(app, room)

    async def program() -> None:
        async with connect(app, "/") as client:
            await wait_all_tasks_blocked()
            assert not await room.history(10)
            await room.publish(Said("x"))
            assert await client.receive() == '{"type":"said","text":"x"}'

    for _ in range(2):
        trio.run(program)


async def test_a_room_of_another_app() -> None:
    """Its pump may not even run: `subscribe` says so, and names the topic."""
    app, other = App(), App()
    app.topic("rooms/{room}", Said)
    stranger = other.topic("rooms/{room}", Said)(room="a")

    @app.route("/", guard=public)
    async def handle(conn: Connection[Anonymous]) -> None:
        with pytest.raises(ConfigurationError, match=r"'rooms/\{room\}', which is another app's"):
            async with conn.subscribe(stranger):
                raise AssertionError
        await conn.send("refused")

    async with serve(other), connect(app, "/") as client:
        assert await client.receive() == "refused"


async def test_two_apps_in_one_process() -> None:
    """Rooms of the same name have nothing in common, and are not equal."""
    apps = (App(), App())
    one, two = (app.topic("rooms/{room}", Said, history=10)(room="a") for app in apps)
    for app, room in zip(apps, (one, two), strict=True):
        listening(app, room)
    async with connect(apps[0], "/") as first, connect(apps[1], "/") as second:
        await wait_all_tasks_blocked()
        await one.publish(Said("one"))
        await two.publish(Said("two"))
        assert await first.receive() == '{"type":"said","text":"one"}'
        assert await second.receive() == '{"type":"said","text":"two"}'
        assert [event.value for event in await one.history(10)] == [Said("one")]
    assert one != two


async def test_two_servers_of_one_app(autojump_clock: MockClock) -> None:
    """They share the rooms, and one pump serves the readers of both; the other takes over when its server has gone."""
    app = App()
    room = app.topic("rooms/{room}", Said, history=10)(room="a")
    listening(app, room)
    async with serve(app) as second:
        async with serve(app) as first, first.connect("/") as here, second.connect("/") as there:
            await wait_all_tasks_blocked()
            await room.publish(Said("both"))
            assert await here.receive() == await there.receive() == '{"type":"said","text":"both"}'
        async with second.connect("/") as later:
            assert await later.receive() == '{"type":"said","text":"both"}'
            await room.publish(Said("one"))
            assert await later.receive() == '{"type":"said","text":"one"}'


async def test_rooms_are_the_same_room() -> None:
    """Whoever calls the topic with the same parameters has it; it can be a key of a mapping."""
    said = App().topic("rooms/{room}/{part}", Said)
    assert said(room="a", part="b") == said(part="b", room="a")
    assert {said(room="a", part="b"): 1}[said(room="a", part="b")] == 1
    assert said(room="a/b", part="") != said(room="a", part="b/")
    assert repr(said(room="a", part="b")) == "Room(rooms/{room}/{part}('a', 'b'))"
    assert repr(said) == "Topic('rooms/{room}/{part}')"
