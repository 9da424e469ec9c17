"""Rounds over the readers of a room, while readers leave, events come, and events become too old."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import final

import pytest
import trio
from attrs import define
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, Connection, Limits, TooManyRequests
from seawall.rooms import DropOldest, Room, RoomEvent, Topic
from seawall.topics.keys import RoomKey
from seawall.topics.log import Log
from seawall.topics.pump import MAX_AHEAD
from tests.kit.rooms import Said, held, hub_of, in_memory, room_app, table_entries, take


async def test_many_leave_during_a_round(autojump_clock: MockClock) -> None:
    """Whoever stays is given what the round is about, though their places among the readers change."""
    app, heard = App(), list[int]()
    said = app.topic("rooms/{room}", Said)

    async def stay(task_status: trio.TaskStatus[None]) -> None:
        async with said(room="x").events() as events:
            task_status.started()
            async for event in events:
                assert isinstance(event, RoomEvent)
                heard.append(event.value.number)

    async with in_memory(app), trio.open_nursery() as nursery:
        async with AsyncExitStack() as leaving:
            for _ in range(600):
                await leaving.enter_async_context(said(room="x").events(lag=DropOldest(1)))
            for _ in range(20):
                await nursery.start(stay)
            await wait_all_tasks_blocked()
            said(room="x").publish_nowait(Said(1))
            for _ in range(2):  # of the three turns that the round takes
                await trio.lowlevel.checkpoint()
            assert heard == []
        await wait_all_tasks_blocked()
        assert heard == [1] * 20
        nursery.cancel_scope.cancel()


async def test_who_leaves_during_a_round_holds_nothing(autojump_clock: MockClock) -> None:
    """What was kept for a slow reader goes when it leaves, though the round had come to it before."""
    app, leaves = App(), trio.Event()
    room = app.topic("rooms/{room}", Said)(room="x")

    async def slow(task_status: trio.TaskStatus[None]) -> None:
        async with room.events(lag=DropOldest(100)):
            task_status.started()
            await leaves.wait()

    async with in_memory(app), trio.open_nursery() as nursery, AsyncExitStack() as stay:
        await nursery.start(slow)
        for _ in range(1200):
            await stay.enter_async_context(room.events(lag=DropOldest(1)))
        for number in range(10):
            room.publish_nowait(Said(number))
            await wait_all_tasks_blocked()
        ten = held(app)
        room.publish_nowait(Said(10))
        for _ in range(2):  # of the five turns that the round takes
            await trio.lowlevel.checkpoint()
        leaves.set()
        await wait_all_tasks_blocked()
        assert held(app) <= ten / 5


async def test_events_come_during_a_round(autojump_clock: MockClock) -> None:
    """Who was served before them, in the same round, is given them in the next one: nothing is removed in between."""

    async def read(conn: Connection[object], _: str) -> None:
        async with conn.subscribe(said(room="x")):
            await trio.sleep_forever()

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said)
    async with in_memory(app) as dial:
        peers = [await dial("/a") for _ in range(50)]  # four turns
        await wait_all_tasks_blocked()
        for number in range(40):
            said(room="x").publish_nowait(Said(number))
            await trio.lowlevel.checkpoint()
        for peer in peers:
            assert [json.loads(await peer.message())["number"] for _ in range(40)] == [*range(40)]
        assert held(app) == 0


async def last(room: Room[Said], count: int) -> list[int]:
    """The numbers of the events that the room gives who asks for the last ones."""
    return [event.value.number for event in await room.history(count)]


async def test_too_old_and_still_to_be_read(autojump_clock: MockClock) -> None:
    """Who is busy when events become too old is given them, and no gap; for everybody else they are no history."""
    app = App()
    said: Topic[Said] = app.topic("rooms/{room}", Said, history=3, ttl=10)
    room = said(room="x")
    async with in_memory(app), room.events(lag=DropOldest(100)) as busy:
        for number in range(6):
            room.publish_nowait(Said(number))
        await trio.sleep(5)
        assert await last(room, 100) == [3, 4, 5]
        room.publish_nowait(Said(6))
        assert await last(room, 100) == [4, 5, 6]
        assert await last(room, 1) == [6]
        await trio.sleep(6)
        assert await last(room, 100) == [6]
        async with room.events() as late:
            assert await take(late, 1) == [6]
        await trio.sleep(5)
        assert await last(room, 100) == []
        assert await take(busy, 7) == [*range(7)]
        with trio.move_on_after(100) as waiting:
            await anext(busy)
        assert waiting.cancelled_caught
        assert held(app) == 0


async def test_caught_up_and_busy_again(autojump_clock: MockClock) -> None:
    """Who was behind, and has read it all, is behind with nothing: what comes at once then costs it no event."""
    app = App()
    said = app.topic("rooms/{room}", Said)
    room = said(room="x")
    async with in_memory(app), room.events(lag=DropOldest(3)) as events:
        for number in range(2):
            room.publish_nowait(Said(number))
            await wait_all_tasks_blocked()  # it is found behind, with the second one
        assert await take(events, 2) == [0, 1]
        await wait_all_tasks_blocked()
        for number in range(2, 12):
            room.publish_nowait(Said(number))
        await wait_all_tasks_blocked()
        assert await take(events, 10) == [*range(2, 12)]


async def test_behind_and_still_busy(autojump_clock: MockClock) -> None:
    """Who was behind, and has read some of it, still is: so many events wait as its `lag` says, and no more."""
    app = App()
    said = app.topic("rooms/{room}", Said)
    room = said(room="x")
    async with in_memory(app), room.events(lag=DropOldest(3)) as events:
        for number in range(3):
            room.publish_nowait(Said(number))
            await wait_all_tasks_blocked()
        assert await take(events, 1) == [0]
        for number in range(3, 13):
            room.publish_nowait(Said(number))
        await wait_all_tasks_blocked()
        assert await take(events, 4) == ["9 lost", 10, 11, 12]


async def test_many_publishers_wait_for_their_own_room(autojump_clock: MockClock) -> None:
    """However many there are, and whatever is served elsewhere, they are not far ahead of its readers."""
    app, most, done = App(), list[int](), list[int]()
    said = app.topic("rooms/{room}", Said)
    large, small = said(room="large"), said(room="small")

    async def publish(number: int) -> None:
        for _ in range(20):
            await large.publish(Said(number))
        done.append(number)

    async with in_memory(app), trio.open_nursery() as nursery, AsyncExitStack() as readers:
        for _ in range(1_500):  # six turns
            await readers.enter_async_context(large.events(lag=DropOldest(1)))
        async with small.events(lag=DropOldest(1)):
            for number in range(100):
                nursery.start_soon(publish, number)
            while len(done) < 100:
                small.publish_nowait(Said(0))
                most.append(held(app) // 350)
                await trio.lowlevel.checkpoint()
    assert max(most) < 250, "of 2,000 events"


@final
@define(eq=False)
class Steps(trio.abc.Instrument):
    """How often any task has its turn."""

    count: int = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        self.count += 1


@asynccontextmanager
async def crowded(room: Room[Said], readers: int) -> AsyncGenerator[None]:
    """So many read a room, none of whom takes anything, and as much is published as need not wait for them."""
    async with AsyncExitStack() as stack:
        for _ in range(readers):
            await stack.enter_async_context(room.events(lag=DropOldest(1)))
        await wait_all_tasks_blocked()
        for number in range(MAX_AHEAD + 1):
            room.publish_nowait(Said(number))
        yield


async def test_a_round_wakes_no_more_publishers_than_may_go_on(autojump_clock: MockClock) -> None:
    """However many wait, each runs about twice; where all are woken at each end of a round it is 45,000 times."""
    app, steps = App(), Steps()
    room = app.topic("rooms/{room}", Said)(room="x")
    done = list[int]()

    async def publish(number: int) -> None:
        await room.publish(Said(number))
        done.append(number)

    async with in_memory(app), crowded(room, readers=20):
        async with trio.open_nursery() as nursery:
            for number in range(2_000):
                nursery.start_soon(publish, number)
            trio.lowlevel.add_instrument(steps)
        trio.lowlevel.remove_instrument(steps)
    assert sorted(done) == list(range(2_000))
    assert steps.count < 3 * 2_000


async def test_publishers_take_turns(autojump_clock: MockClock) -> None:
    """Of many that publish without a pause none is passed over; who comes rarely waits once for each of them."""
    app, counts, waits, ahead = App(), Counter[int](), list[int](), set[int]()
    room = app.topic("rooms/{room}", Said)(room="x")

    async def publish_on(log: Log, number: int) -> None:
        while True:
            await room.publish(Said(number))
            counts[number] += 1
            if log.readers.is_scheduled:
                ahead.add(log.end - log.readers.done)

    async with in_memory(app), crowded(room, readers=600), trio.open_nursery() as nursery:
        log = hub_of(app).engine.find(RoomKey("rooms/{room}", ("x",)))
        assert log is not None
        for number in range(100):
            nursery.start_soon(publish_on, log, number)
        while counts.total() < 20_000:
            before = counts.total()
            await room.publish(Said(-1))
            waits.append(counts.total() - before)
        nursery.cancel_scope.cancel()
    assert max(ahead) == MAX_AHEAD + 1
    assert max(waits) <= 100 + 2 * MAX_AHEAD
    assert max(counts.values()) <= 1.1 * min(counts.values()) + 2 * MAX_AHEAD


async def test_a_publisher_that_fails_lets_the_next_on(autojump_clock: MockClock) -> None:
    """Those behind it wait for no round that does not come, because it has published nothing."""
    app, done = App(limits=Limits(room_history=50_000)), list[int]()
    room = app.topic("rooms/{room}", Said)(room="x")

    async def publish(number: int, *, is_too_large: bool) -> None:
        if is_too_large:
            with pytest.raises(TooManyRequests, match="an event takes"):
                await room.publish(Said(number, filling="x" * 60_000))
        else:
            await room.publish(Said(number))
        done.append(number)

    async with in_memory(app), crowded(room, readers=2_000):
        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                for number in range(3 * MAX_AHEAD):
                    nursery.start_soon(partial(publish, number, is_too_large=True))
                for _ in range(2):  # of the eight turns that the round takes
                    await trio.lowlevel.checkpoint()
                nursery.start_soon(partial(publish, 3 * MAX_AHEAD, is_too_large=False))
    assert sorted(done) == list(range(3 * MAX_AHEAD + 1))


async def test_publishers_that_wait_when_all_readers_have_left(autojump_clock: MockClock) -> None:
    """They all go on, and nobody who comes after that waits, though the room is kept and no round will be."""
    app, done = App(), list[int]()
    room = app.topic("rooms/{room}", Said, history=10)(room="x")

    async def publish(number: int) -> None:
        await room.publish(Said(number))
        done.append(number)

    async with in_memory(app):
        with trio.fail_after(1):
            async with trio.open_nursery() as nursery, crowded(room, readers=2_000):
                for number in range(200):
                    nursery.start_soon(publish, number)
                for _ in range(3):  # of the eight turns that the round takes
                    await trio.lowlevel.checkpoint()
                assert table_entries(app)["publishers that wait"] == 200
        assert len(done) == 200
        assert "queues of publishers" not in table_entries(app)
