"""Rooms that many use at once: tasks that publish without a pause, routes that have little in common, other threads."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import pairwise

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    JSON,
    Anonymous,
    App,
    Codec,
    ConfigurationError,
    Connection,
    Events,
    Limits,
    MessagePack,
    public,
)
from seawall.rooms import Disconnect, Gap, RoomEvent
from seawall.testing import Closed, serve
from seawall.topics.presence_membership import Membership
from seawall.topics.reading import IN_ONE_GO
from tests.kit.presence import Who, meeting
from tests.kit.rooms import held


async def test_who_only_reads_is_not_behind(autojump_clock: MockClock) -> None:
    """Many tasks publish in each turn; a reader in the app that waits for nothing else loses nothing."""
    app, seen = App(), list[int]()
    topic = app.topic("news", str)

    async def read(task_status: trio.TaskStatus[None]) -> None:
        async with topic().events(lag=Disconnect(16)) as events:
            task_status.started()
            async for event in events:
                assert isinstance(event, RoomEvent)
                seen.append(int(event.value))
                if len(seen) == 8000:
                    break

    async def publish(first: int) -> None:
        for number in range(first, first + 200):
            await topic().publish(str(number))

    async with serve(app), trio.open_nursery() as nursery:
        await nursery.start(read)
        for first in range(0, 8000, 200):
            nursery.start_soon(publish, first)
    assert sorted(seen) == [*range(8000)]


async def test_a_reader_lets_others_run(autojump_clock: MockClock) -> None:
    """Whoever reads what is there already, and waits for nothing else, does not keep the other tasks waiting."""
    app, turns = App(), list[int]()
    topic, seen = app.topic("news", str, history=1000), list[str]()

    async def count() -> None:
        while len(seen) < 1000:
            turns.append(len(seen))
            await trio.lowlevel.checkpoint()

    async with serve(app), trio.open_nursery() as nursery:
        for number in range(1000):
            await topic().publish(str(number))
        async with topic().events() as events:
            nursery.start_soon(count)
            async for event in events:
                assert isinstance(event, RoomEvent)
                seen.append(event.value)
                if len(seen) == 1000:
                    break
    most = max(after - before for before, after in pairwise(turns))
    assert most <= 2 * IN_ONE_GO  # which of two tasks is the first in a turn is by chance


async def test_coming_again_and_again_is_no_memory(autojump_clock: MockClock) -> None:
    """What was made for readers who have left counts no more, or coming back often would take the history."""
    app = App()
    topic = app.topic("news", str, history=100)

    def shout(event: RoomEvent[str] | Gap) -> str | None:
        return None if isinstance(event, Gap) else event.value.upper()

    @app.route("/", guard=public)
    async def read(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(topic(), wrap=shout):
            await trio.sleep_forever()

    async with serve(app) as serving:
        for _ in range(100):
            await topic().publish("said")
        taken = list[int]()
        for _ in range(20):
            async with serving.connect("/") as client:
                assert [await client.receive() for _ in range(100)] == ["SAID"] * 100
            taken.append(held(app))
        assert set(taken) == {taken[0]}


async def test_a_room_that_fills_the_history_costs_others_no_more_calls(autojump_clock: MockClock) -> None:
    """A wrap is called once for an event and all its readers, also where all rooms hold as much as they may."""
    app, calls = App(limits=Limits(room_history=100_000)), list[object]()
    topic = app.topic("rooms/{room}", str, history=1000)

    def shout(event: RoomEvent[str] | Gap) -> str | None:
        calls.append(event)
        return None if isinstance(event, Gap) else event.value.upper()

    @app.route("/", guard=public)
    async def read(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(topic(room="small"), wrap=shout):
            await trio.sleep_forever()

    async with serve(app) as serving, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(serving.connect("/")) for _ in range(50)]
        for number in range(1000):
            await topic(room="large").publish(str(number))
        for _ in range(10):
            await topic(room="small").publish("said")
            for client in clients:
                assert await client.receive() == "SAID"
        assert held(app) > 99_000
        assert len(calls) == 10


@frozen
class Said:
    """What is published."""

    text: str


@frozen
class Join:
    """Subscribes."""


@frozen
class Joined:
    """All that is sent, says the route."""


def as_it_is(event: RoomEvent[Said] | Gap) -> Said | None:
    """Wrap an event as nothing else."""
    return None if isinstance(event, Gap) else event.value


#: The codec of the routes, and, in it, what subscribes and what is heard. The first is that of the app.
CODECS: list[tuple[Codec, str | bytes, str | bytes]] = [
    (JSON(), '{"type":"join"}', '{"type":"said","text":"x"}'),
    (MessagePack(), b"\x81\xa4type\xa4join", b"\x82\xa4type\xa4said\xa4text\xa1x"),
]


@pytest.mark.parametrize(("codec", "asked", "heard"), CODECS, ids=["JSON", "MessagePack"])
@pytest.mark.parametrize("is_wrapped", [True, False])
@pytest.mark.parametrize("order", [("/some", "/all"), ("/all", "/some")])
async def test_what_one_route_does_not_send(
    order: tuple[str, str],
    is_wrapped: bool,
    codec: Codec,
    asked: str | bytes,
    heard: str | bytes,
    autojump_clock: MockClock,
) -> None:
    """A route whose `Events` send other classes refuses an event for itself alone, whoever subscribes first."""
    app = App(codec=CODECS[0][0])
    topic, events = app.topic("news", Said), Events[Anonymous](sends=Joined)

    async def subscribe(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(topic(), wrap=as_it_is if is_wrapped else None):
            await trio.sleep_forever()

    @events.on(Join)
    async def join(conn: Connection[Anonymous], message: Join) -> None:
        await subscribe(conn)

    @app.route("/some", guard=public, codec=codec)
    async def some(conn: Connection[Anonymous]) -> None:
        await events(conn)

    @app.route("/all", guard=public, codec=codec)
    async def everything(conn: Connection[Anonymous]) -> None:
        await subscribe(conn)

    async with serve(app) as serving, AsyncExitStack() as stack:
        clients = {path: await stack.enter_async_context(serving.connect(path)) for path in ("/some", "/all")}
        for path in order:
            if path == "/all":
                await clients.pop(path).aclose()
                clients[path] = await stack.enter_async_context(serving.connect(path))
            else:
                await clients[path].send(asked)
            await wait_all_tasks_blocked()
        await topic().publish(Said("x"))
        assert await clients["/all"].receive() == heard
        with pytest.raises(Closed, match="1011"):
            await clients["/some"].receive()


async def test_a_member_in_another_thread(autojump_clock: MockClock) -> None:
    """Nothing is said of a member in another run of Trio; the error says how to come back from there."""
    met, memberships = meeting(), list[Membership[Who]]()

    @met.app.route("/", guard=public)
    async def be(conn: Connection[Anonymous]) -> None:
        async with met.room().joined(conn, Who("ada")) as me:
            memberships.append(me)
            await trio.sleep_forever()

    async with serve(met.app) as serving, serving.connect("/"):
        await wait_all_tasks_blocked()
        with pytest.raises(ConfigurationError, match=r"update\(\) in another thread .*; call it with trio"):
            await trio.to_thread.run_sync(trio.run, memberships[0].update, Who("eve"))
        assert met.names() == ["ada"]
