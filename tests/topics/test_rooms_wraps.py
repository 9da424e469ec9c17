"""Functions that wrap: which are one, what they may do meanwhile, and what is kept of what they return."""

from __future__ import annotations

import json
from typing import cast, final

import msgspec
import trio
from attrs import define, evolve, field, frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, Connection, MessagePack, public
from seawall.rooms import Gap, RoomEvent, Topic
from seawall.testing import serve
from tests.kit.rooms import PATIENT, Lost, Said, Seen, held, in_memory, room_app, tell


@final
@define(hash=True)
class Wrapping:
    """Wraps for somebody. Whatever their names, two of them are equal."""

    name: str = field(eq=False)
    calls: list[int] = field(factory=list[int], eq=False)

    def wrap(self, event: RoomEvent[Said] | Gap) -> Named:
        """Make a message with a name."""
        assert isinstance(event, RoomEvent)
        self.calls.append(event.value.number)
        return Named(self.name, event.value.number)


@frozen
class Named:
    """A `Said`, for somebody."""

    name: str
    number: int


async def test_methods_of_two_objects_are_two_functions(autojump_clock: MockClock) -> None:
    """Also if the objects are equal; a method of one object is one, though it is another object at each look-up."""
    wrappings = {"/a": Wrapping("a"), "/b": Wrapping("b")}
    assert wrappings["/a"] == wrappings["/b"]

    async def read(conn: Connection[object], name: str) -> None:
        async with conn.subscribe(said(room="x"), wrap=wrappings[f"/{name}"].wrap):
            await trio.sleep_forever()

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said, history=10)
    async with in_memory(app) as dial:
        early = [(path[1:], await dial(path)) for path in ("/a", "/b", "/a", "/b")]
        await wait_all_tasks_blocked()
        for number in range(5):
            said(room="x").publish_nowait(Said(number))
        late = [(path[1:], await dial(path)) for path in ("/b", "/a")]
        for name, peer in early + late:
            got = [json.loads(await peer.message()) for _ in range(5)]
            assert [(one["name"], one["number"]) for one in got] == [(name, number) for number in range(5)]
        assert [one.calls for one in wrappings.values()] == [[*range(5)]] * 2


async def test_a_wrap_that_pushes_out_what_it_wraps(autojump_clock: MockClock) -> None:
    """What it publishes comes behind, and once; nothing counts any more of an event that is not kept any more."""

    async def read(conn: Connection[object], _: str) -> None:
        def wrap(event: RoomEvent[Said] | Gap) -> Seen | Lost:
            if isinstance(event, RoomEvent) and event.value.number < 100:
                said(room="x").publish_nowait(Said(event.value.number + 100, filling=large))
            return tell(event)

        async with conn.subscribe(said(room="x"), wrap=wrap):
            await trio.sleep_forever()

    large = "x" * 6_000
    app = room_app(read, evolve(PATIENT, room_history=20_000))
    said: Topic[Said] = app.topic("rooms/{room}", Said)
    async with in_memory(app) as dial:
        peer = await dial("/a")
        await wait_all_tasks_blocked()
        for number in range(50):
            said(room="x").publish_nowait(Said(number, filling=large))
            got = [json.loads(await peer.message()) for _ in range(2)]
            assert [one["number"] for one in got] == [number, number + 100]
            await wait_all_tasks_blocked()
            assert held(app) == 0


async def test_each_route_has_its_own_codec(autojump_clock: MockClock) -> None:
    """What is not wrapped is written as the route writes it, whether it comes alone, in a burst or from the history."""
    app = App(limits=PATIENT)
    said: Topic[Said] = app.topic("rooms/{room}", Said, history=10)

    @app.route("/json", guard=public)
    @app.route("/packed", guard=public, codec=MessagePack())
    async def enter(conn: Connection[object]) -> None:
        async with conn.subscribe(said(room="x")):
            await trio.sleep_forever()

    def number_of(path: str, message: str | bytes) -> object:
        assert isinstance(message, bytes) == (path == "/packed")
        read: object = msgspec.msgpack.decode(message) if isinstance(message, bytes) else msgspec.json.decode(message)
        assert isinstance(read, dict)
        return cast("dict[str, object]", read)["number"]

    async with serve(app) as served, served.connect("/json") as plain, served.connect("/packed") as packed:
        await wait_all_tasks_blocked()
        said(room="x").publish_nowait(Said(0))
        await wait_all_tasks_blocked()
        for number in range(1, 5):
            said(room="x").publish_nowait(Said(number))
        async with served.connect("/packed") as late:
            for path, client in (("/json", plain), ("/packed", packed), ("/packed", late)):
                assert [number_of(path, await client.receive()) for _ in range(5)] == [*range(5)]
