"""Rooms: what nobody would see but by the memory or the time that it takes."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Connection, public
from seawall.lag import Disconnect, Latest
from seawall.room_event import Gap, RoomEvent
from seawall.testing import Closed, serve
from seawall.topics.entry import Entry
from seawall.topics.history_budget import HistoryBudget
from seawall.topics.keys import RoomKey
from seawall.topics.latest import NewestIndex
from seawall.topics.log import Log, Retention
from seawall.topics.pump import DELIVERIES, MAX_AHEAD
from tests.topics.test_rooms import Hall, Said, engine, said


@define(eq=False)
class MostInOneStep(trio.abc.Instrument):
    """How often something is called at most between two checkpoints."""

    calls: int = 0
    most: int = 0
    _before: int = field(init=False, default=0)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        self.most = max(self.most, self.calls - self._before)
        self._before = self.calls


async def test_publish_is_not_far_ahead(autojump_clock: MockClock) -> None:
    """Whoever publishes without a pause is some events ahead of the rounds over the readers, and no more."""
    hall, ahead = Hall(), list[int]()
    async with hall.serving() as serving, AsyncExitStack() as clients:
        for _ in range(80):
            await clients.enter_async_context(serving.connect("/lobby"))
        await wait_all_tasks_blocked()
        for number in range(500):
            await hall.say(number)
            log = engine(hall.app).find(RoomKey("rooms/{room}", ("lobby",)))
            assert log is not None
            if log.readers.is_scheduled:
                ahead.append(log.end - log.readers.done)
        assert MAX_AHEAD // 2 < max(ahead) <= MAX_AHEAD + 1


def test_an_index_does_not_grow() -> None:
    """Of a key that changes all the time one number is kept, and some more; not one for each change."""
    log = Log(RoomKey("prices", ()), "a", Retention(), HistoryBudget[Log](1 << 30))
    index = NewestIndex(log, lambda _: "one", 1000)
    log.indexes = (index,)
    for number in range(10_000):
        log.append(Entry(number, None), 0)
        log.trim(log.end, 0)
    assert index.first_from(0) == 10_000
    assert len(index._numbers) < 100  # pyright: ignore[reportPrivateUsage] # what grows, grows in here
    assert log.size < 1000, "the newest event, and no older one"


async def test_nothing_to_send_has_an_end(autojump_clock: MockClock) -> None:
    """A `wrap` that sends nothing of thousands of events does not keep all other tasks from running meanwhile."""
    app, count = App(), MostInOneStep()
    topic = app.topic("all", str)

    def nothing(_: RoomEvent[str] | Gap) -> None:
        count.calls += 1

    @app.route("/", guard=public)
    async def enter(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(topic(), wrap=nothing, lag=Disconnect(100_000)):
            await trio.sleep_forever()

    async with serve(app) as serving, serving.connect("/"):
        await wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(count)
        for _ in range(5000):
            topic().publish_nowait("x")
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(count)
        assert count.calls == 5000
        assert count.most <= 64 * DELIVERIES


async def test_one_is_left_out_of_what_all_others_are_sent_at_once(autojump_clock: MockClock) -> None:
    """`but` holds also for the newest event, whose frame all readers that are not behind get in one go."""
    hall = Hall()
    async with hall.serving() as serving, serving.connect("/lobby") as one:
        await wait_all_tasks_blocked()
        async with serving.connect("/lobby") as two:
            await wait_all_tasks_blocked()
            await hall.lobby.publish(Said("not one"), but=hall.conns[0])
            await wait_all_tasks_blocked()
            await hall.lobby.publish(Said("both"))
            assert await one.receive() == said("both")
            assert [await two.receive() for _ in range(2)] == [said("not one"), said("both")]


async def test_a_key_that_fails_is_noticed_at_once(autojump_clock: MockClock) -> None:
    """Also where the frame of the event is there already, which nothing else would keep from being sent."""
    hall = Hall(lag=Latest[Said](lambda value: int(value.text)))
    async with hall.serving() as serving, serving.connect("/lobby") as one:
        await wait_all_tasks_blocked()
        await hall.say(1)
        assert await one.receive() == said(1)
        await hall.lobby.publish(Said("none"))
        with pytest.raises(Closed):
            await one.receive()
        [end] = hall.ends
        assert isinstance(end, ValueError)
