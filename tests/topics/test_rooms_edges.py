"""Rooms where they may break: code of the application that does what it should not, and moments when nobody serves."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, Connection
from seawall.errors import SlowConsumer
from seawall.rooms import Disconnect, DropOldest, Gap, Latest, Position, RoomEvent, Topic
from seawall.testing.network import MemoryListener
from seawall.topics.forwarding import Forwarding
from tests.kit.memory import Peer, text
from tests.kit.rooms import (
    PATIENT,
    Lost,
    Said,
    Seen,
    by_key,
    held,
    in_memory,
    network_of,
    room_app,
    table_entries,
    tell,
)


async def numbers(peer: Peer, count: int) -> list[int]:
    """The numbers of the next events."""
    return [json.loads(await peer.message())["number"] for _ in range(count)]


async def test_published_while_nobody_serves(autojump_clock: MockClock) -> None:
    """Who publishes in a lifespan where somebody reads waits for nobody, neither before the server runs nor after."""
    app, done = App(), list[str]()
    said = app.topic("rooms/{room}", Said)

    async def publish_many(where: str) -> None:
        for number in range(200):
            await said(room="x").publish(Said(number))
        done.append(where)

    @app.lifespan
    @asynccontextmanager
    async def reading() -> AsyncGenerator[None]:
        async with said(room="x").events(lag=DropOldest(1)):
            await publish_many("before")
            yield
            await publish_many("after")

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            server = await app.start(nursery, listeners=[MemoryListener()])
            await publish_many("while")
            await server.drain()
    assert done == ["before", "while", "after"]


async def test_history_does_not_keep_who_has_read_it(autojump_clock: MockClock) -> None:
    """What a room keeps does not keep the `wrap` of somebody who has gone, and all that this refers to."""
    gone = list[weakref.ref[object]]()

    async def read(conn: Connection[object], _: str) -> None:
        def wrap(event: RoomEvent[Said] | Gap) -> Seen | Lost:
            assert conn.id
            return tell(event)

        gone.append(weakref.ref(wrap))
        async with conn.subscribe(said(room="x"), wrap=wrap):
            await trio.sleep_forever()

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said, history=10)
    async with in_memory(app) as dial:
        peer = await dial("/a")
        await wait_all_tasks_blocked()
        said(room="x").publish_nowait(Said(1))
        assert await numbers(peer, 1) == [1]
        network_of(peer).reset()
        await trio.sleep(10)
        gc.collect()
        assert [one() for one in gone] == [None]


async def test_what_is_made_for_wrap_counts(autojump_clock: MockClock) -> None:
    """Events that are wrapped in several ways take no more than the bound either, and nobody misses any."""

    async def read(conn: Connection[object], _: str) -> None:
        def wrap(event: RoomEvent[Said] | Gap) -> Said | Lost:
            return Lost(event.before, event.lost) if isinstance(event, Gap) else event.value

        async with conn.subscribe(said(room="x"), wrap=wrap):
            await trio.sleep_forever()

    app = room_app(read, evolve(PATIENT, room_history=200_000))
    said: Topic[Said] = app.topic("rooms/{room}", Said, history=1000)
    async with in_memory(app) as dial:
        peers = [await dial("/a") for _ in range(6)]
        await wait_all_tasks_blocked()
        for number in range(130):
            said(room="x").publish_nowait(Said(number, filling="x" * 500))
        assert held(app) <= 200_000
        await wait_all_tasks_blocked()
        assert held(app) <= 200_000
        for peer in peers:
            assert await numbers(peer, 130) == list(range(130))


async def test_a_wrap_that_sends(autojump_clock: MockClock) -> None:
    """A `wrap` that sends something itself, to a peer that has stopped, costs no event."""

    async def read(conn: Connection[object], _: str) -> None:
        def wrap(event: RoomEvent[Said] | Gap) -> Seen | Lost:
            conn.send_nowait("beside")
            return tell(event)

        async with conn.subscribe(said(room="x"), wrap=wrap):
            await trio.sleep_forever()

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said)
    async with in_memory(app) as dial:
        peer = await dial("/a")
        await wait_all_tasks_blocked()
        network_of(peer).stall()
        for number in range(5):
            said(room="x").publish_nowait(Said(number))
            await wait_all_tasks_blocked()
        network_of(peer).resume()
        got = [await peer.message() for _ in range(10)]
        assert [json.loads(one)["number"] for one in got if one != "beside"] == [0, 1, 2, 3, 4]


async def test_a_position_from_before_a_gap_was_told(autojump_clock: MockClock) -> None:
    """Who goes on from the position of a subscription that could not tell of its gap is told of it then."""
    positions = list[Position | None]()

    async def read(conn: Connection[object], name: str) -> None:
        if name == "again":
            async with conn.subscribe(said(room="x"), since=positions[0], wrap=tell):
                await trio.sleep_forever()
        await conn.receive()
        await conn.send("something that waits")
        async with conn.subscribe(said(room="x"), since=Position("another", 5), wrap=tell) as subscription:
            await trio.sleep(1)
            positions.append(subscription.position)

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said, history=10)
    async with in_memory(app) as dial:
        stalled = await dial("/first")
        network_of(stalled).stall()
        said(room="x").publish_nowait(Said(1))
        await stalled.say(text("go"))
        await trio.sleep(2)
        peer = await dial("/again")
        assert json.loads(await peer.message())["type"] == "lost"
        assert await numbers(peer, 1) == [1]


async def test_a_position_among_the_newest_of_each_key(autojump_clock: MockClock) -> None:
    """Who reads by key and is told of keys that were pushed out later has had, until then, what its position says."""
    positions = list[Position | None]()

    async def read(conn: Connection[object], _: str) -> None:
        async with conn.subscribe(said(room="x"), lag=Latest(by_key, at_most=2), wrap=tell) as subscription:
            await conn.receive()
            positions.append(subscription.position)

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said, history=10)
    async with in_memory(app) as dial:
        peer = await dial("/a")
        await wait_all_tasks_blocked()
        at = [said(room="x").publish_nowait(Said(number, key=number)) for number in range(2)]
        assert await numbers(peer, 2) == [0, 1]
        network_of(peer).stall()
        for number in range(2, 9):
            at.append(said(room="x").publish_nowait(Said(number, key=number)))
            await wait_all_tasks_blocked()
        await peer.say(text("position"))
        await wait_all_tasks_blocked()
        network_of(peer).resume()
        assert await numbers(peer, 1) == [2]  # which was on its way
        assert positions == [at[2]]


async def test_a_second_server_takes_over(autojump_clock: MockClock) -> None:
    """Of two servers of one app either may end: who reads at the other one misses nothing."""

    async def read(conn: Connection[object], _: str) -> None:
        async with conn.subscribe(said(room="x")):
            await trio.sleep_forever()

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said)
    async with trio.open_nursery() as nursery, in_memory(app) as dial:
        listener, first = MemoryListener(), trio.CancelScope()
        del nursery
        async with trio.open_nursery() as other:
            first = other.cancel_scope
            await app.start(other, listeners=[listener])
            here, there = await dial("/a"), Peer(listener.connect())
            await there.open("/b")
            await wait_all_tasks_blocked()
            for number in range(100):
                await said(room="x").publish(Said(number))
            assert await numbers(here, 100) == await numbers(there, 100) == list(range(100))
            said(room="x").publish_nowait(Said(100))
            first.cancel()
        said(room="x").publish_nowait(Said(101))
        assert await numbers(here, 2) == [100, 101]


async def test_an_unforeseen_gap_without_wrap(autojump_clock: MockClock) -> None:
    """Where a policy drops, a reader in the app sees the gap, though it is busy all the time."""
    app = App()
    said = app.topic("rooms/{room}", Said)
    async with in_memory(app), said(room="x").events(lag=DropOldest(3)) as events:
        for number in range(5):
            said(room="x").publish_nowait(Said(number))
        await wait_all_tasks_blocked()  # a burst costs nothing
        for number in range(5, 10):
            said(room="x").publish_nowait(Said(number))
            await wait_all_tasks_blocked()
        got = [await anext(events) for _ in range(4)]
        assert isinstance(got[0], Gap)
        assert got[0].lost == 7
        assert [one.value.number for one in got[1:] if isinstance(one, RoomEvent)] == [7, 8, 9]


async def test_a_wrap_that_publishes(autojump_clock: MockClock) -> None:
    """What a `wrap` publishes in the room that it is called for comes behind what it wraps, for everybody."""

    async def read(conn: Connection[object], name: str) -> None:
        def wrap(event: RoomEvent[Said] | Gap) -> Seen | Lost:
            if isinstance(event, RoomEvent) and event.value.number < 5:
                said(room="x").publish_nowait(Said(event.value.number + 1))
            return tell(event)

        async with conn.subscribe(said(room="x"), wrap=wrap if name == "publishes" else tell):
            await trio.sleep_forever()

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said)
    async with in_memory(app) as dial, said(room="x").events() as events:
        peers = [await dial(path) for path in ("/a", "/publishes", "/b")]
        await wait_all_tasks_blocked()
        said(room="x").publish_nowait(Said(0))
        for peer in peers:
            assert await numbers(peer, 6) == [0, 1, 2, 3, 4, 5]
        mine = [await anext(events) for _ in range(6)]
        assert [event.value.number for event in mine if isinstance(event, RoomEvent)] == [0, 1, 2, 3, 4, 5]


async def test_a_burst_ends_no_reader_in_the_app(autojump_clock: MockClock) -> None:
    """One that is busy when more comes at once than may wait has it all; what comes while it still is ends it."""
    app = App()
    said = app.topic("rooms/{room}", Said, lag=Disconnect(3))
    async with in_memory(app):
        async with said(room="x").events() as events:
            for number in range(10):
                said(room="x").publish_nowait(Said(number))
            await wait_all_tasks_blocked()
            got = [await anext(events) for _ in range(10)]
            assert [one.value.number for one in got if isinstance(one, RoomEvent)] == [*range(10)]

        async def be_busy() -> None:
            async with said(room="x").events():
                for number in range(5):
                    said(room="x").publish_nowait(Said(number))
                    await wait_all_tasks_blocked()

        with pytest.raises(SlowConsumer):
            await be_busy()


async def test_what_waited_for_who_has_left_is_forgotten(autojump_clock: MockClock) -> None:
    """As soon as the only one leaves that was behind, though others go on to read, and nothing more is published."""
    app = App()
    said = app.topic("rooms/{room}", Said)
    async with in_memory(app), said(room="x").events(lag=DropOldest(1)):
        async with said(room="x").events(lag=Disconnect(1000)):
            for number in range(100):
                said(room="x").publish_nowait(Said(number))
                await wait_all_tasks_blocked()
            assert held(app) > 20_000
        await wait_all_tasks_blocked()
        assert held(app) < 2_000


def forwardings() -> list[Forwarding]:
    """Those that exist."""
    return [one for one in gc.get_objects() if isinstance(one, Forwarding)]


async def test_who_leaves_while_behind_is_forgotten(autojump_clock: MockClock) -> None:
    """A connection whose peer has stopped subscribes and leaves, often: nothing of it waits for the peer."""

    async def read(conn: Connection[object], _: str) -> None:
        await conn.receive()
        await conn.send("something that waits")
        for number in range(200):
            async with conn.subscribe(said(room="x")):
                said(room="x").publish_nowait(Said(number))
                await wait_all_tasks_blocked()
        await conn.receive()

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said)
    async with in_memory(app) as dial:
        peer = await dial("/a")
        network_of(peer).stall()
        known = forwardings()  # of other tests, which an exception may keep
        await peer.say(text("go"))
        await trio.sleep(10)
        gc.collect()
        assert [one for one in forwardings() if one not in known] == []
        assert table_entries(app) == {}
