"""Rooms at the end of a server: who waits is woken, and nothing of them is there when the app is served again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, Connection
from seawall.errors import Disconnected, SeawallError, SlowConsumer, Unavailable
from seawall.rooms import Disconnect, DropOldest, RoomEvent, Topic
from seawall.testing import serve
from seawall.testing.network import MemoryListener
from tests.kit.presence import meeting, watching
from tests.kit.rooms import Said, held, in_memory, network_of, room_app, table_entries
from tests.kit.tokens import by, token

#: Tasks, and readers of each: so many that a round takes more turns than a server takes to stop.
MANY = (80, 100)


async def test_publishers_that_wait_when_the_server_stops(autojump_clock: MockClock) -> None:
    """They go on, for in a lifespan the app is served still; when it is not any more, the next publish says so."""
    app, go, done = App(), trio.Event(), list[str]()
    said: Topic[Said] = app.topic("rooms/{room}", Said)
    room = said(room="x")

    async def read(task_status: trio.TaskStatus[None]) -> None:
        async with AsyncExitStack() as readers:
            for _ in range(MANY[1]):
                await readers.enter_async_context(room.events(lag=DropOldest(1)))
            task_status.started()
            await trio.sleep_forever()

    async def publish_one() -> None:
        await go.wait()
        await room.publish(Said(1))
        done.append("in a lifespan")

    async def publish_on() -> None:
        await go.wait()
        with pytest.raises(Unavailable):  # noqa: PT012 - where it is raised is the point
            while True:
                await room.publish(Said(2))
        done.append("elsewhere")

    @app.lifespan
    @asynccontextmanager
    async def reading() -> AsyncGenerator[None]:
        async with trio.open_nursery() as readers:
            for _ in range(MANY[0]):
                await readers.start(read)
            async with trio.open_nursery() as publishers:
                publishers.start_soon(publish_one)
                yield
            readers.cancel_scope.cancel()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            server = await app.start(nursery, listeners=[MemoryListener()])
            nursery.start_soon(publish_on)
            await wait_all_tasks_blocked()
            for _ in range(100):
                room.publish_nowait(Said(0))
            go.set()
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            assert table_entries(app)["publishers that wait"] == 2
            await server.drain()
            assert table_entries(app)["rounds"] == 1, "the round has not ended before the server"
    assert sorted(done) == ["elsewhere", "in a lifespan"]
    assert table_entries(app) == {}


async def test_readers_that_wait_when_the_server_stops(autojump_clock: MockClock) -> None:
    """Each of them ends at once, with `Unavailable`, whether it waits for an event or is busy with one."""
    app, ended = App(), list[tuple[str, float]]()
    said: Topic[Said] = app.topic("rooms/{room}", Said, history=10, ttl=60)
    room = said(room="x")

    async def wait(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(Unavailable):  # noqa: PT012 - where it is raised is the point
            async with room.events(since="joined") as events:
                task_status.started()
                async for _ in events:
                    pass
        ended.append(("waits", trio.current_time()))

    async def be_busy(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(Unavailable):  # noqa: PT012 - where it is raised is the point
            async with room.events() as events:
                assert isinstance(await anext(events), RoomEvent)
                task_status.started()
                await trio.sleep_forever()
        ended.append(("busy", trio.current_time()))

    async with trio.open_nursery() as nursery, in_memory(app):
        room.publish_nowait(Said(1))
        said(room="unread").publish_nowait(Said(1))
        await nursery.start(wait)
        await nursery.start(be_busy)
        await wait_all_tasks_blocked()
        now = trio.current_time()
    assert sorted(ended) == [("busy", now), ("waits", now)]
    assert table_entries(app) == {}


async def test_who_lingers_when_the_server_stops(autojump_clock: MockClock) -> None:
    """Nobody of them is there when the app is served again, and nothing is told of them then."""
    met = meeting(linger=60)
    async with serve(met.app) as served:
        async with served.connect("/tea/ada", headers=by(token("ada"))) as ada:
            assert await ada.receive() == "in"
            ada.reset()
        await wait_all_tasks_blocked()
        assert met.names() == ["ada"]
        began = trio.current_time()
    assert trio.current_time() == began, "nobody waits for who lingers"
    async with serve(met.app) as served, watching(met.room()) as watched:
        await wait_all_tasks_blocked()
        assert met.names() == []
        async with served.connect("/tea/ada", headers=by(token("ada"))) as ada:
            assert await ada.receive() == "in"
            await wait_all_tasks_blocked()
            assert watched.take() == ["=", "+ada"]
            await trio.sleep(100)
        await trio.sleep(100)
        assert watched.take() == ["-ada"]
    assert met.names() == []


async def test_who_comes_in_as_the_server_stops(autojump_clock: MockClock) -> None:
    """Either it is let in while the app is served, so that it can publish too, or it is told `Unavailable`."""
    app, came = App(), list[str]()
    room = app.topic("rooms/{room}", Said)(room="x")

    async def come_and_go() -> None:
        with pytest.raises(Unavailable):  # noqa: PT012 - where it is raised is the point
            while True:
                came.append("comes")
                async with room.events():
                    came.append("is in")
                    room.publish_nowait(Said(1))
                    came.append("goes")

    async with trio.open_nursery() as nursery, in_memory(app):
        nursery.start_soon(come_and_go)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
    assert came[-2:] == ["goes", "comes"]
    assert table_entries(app) == {}


async def test_subscribing_when_the_connection_is_over(autojump_clock: MockClock) -> None:
    """It is refused as what it is, and not taken for a connection of another app."""
    refused = list[type[Exception]]()

    async def read(conn: Connection[object], _: str) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
            for block in (lambda: conn.subscribe(said(room="x")), lambda: people(room="x").joined(conn, Said(1))):
                try:
                    async with block():
                        raise AssertionError("let in")
                except SeawallError as refusal:
                    refused.append(type(refusal))

    app = room_app(read)
    said, people = app.topic("rooms/{room}", Said), app.presence("rooms/{room}", Said)
    async with in_memory(app) as dial:
        peer = await dial("/a")
        network_of(peer).reset()
        await trio.sleep(20)
    assert refused == [Disconnected, Disconnected]


async def test_who_is_ended_and_does_not_go(autojump_clock: MockClock) -> None:
    """Nothing is kept for who has been ended, however long its body takes to notice."""
    ended = list[str]()

    async def read(conn: Connection[object], _: str) -> None:
        with pytest.raises(SlowConsumer):  # noqa: PT012 - where it is raised is the point
            async with conn.subscribe(said(room="x"), lag=Disconnect(3)):
                with trio.CancelScope(shield=True):
                    await trio.sleep(50)
        ended.append("peer")

    async def read_here(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(SlowConsumer):  # noqa: PT012 - where it is raised is the point
            async with said(room="x").events(lag=Disconnect(3)):
                task_status.started()
                with trio.CancelScope(shield=True):
                    await trio.sleep(50)
        ended.append("here")

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said)
    async with in_memory(app) as dial, trio.open_nursery() as nursery:
        await nursery.start(read_here)
        peer = await dial("/a")
        await wait_all_tasks_blocked()
        network_of(peer).stall()
        for number in range(100):
            said(room="x").publish_nowait(Said(number))
            await wait_all_tasks_blocked()
        assert held(app) == 0
        assert ended == []
        await trio.sleep(60)
        assert sorted(ended) == ["here", "peer"]
