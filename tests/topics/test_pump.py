"""`Pump` alone, with readers that are made for it: turns, rounds, and what one of them raises."""

from __future__ import annotations

import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Limits
from seawall.lag import Disconnect
from seawall.position import Position, Since
from seawall.room_event import Gap
from seawall.topics.cursor import Cursor
from seawall.topics.engine import MemoryEngine
from seawall.topics.entry import Entry
from seawall.topics.history_budget import HistoryBudget
from seawall.topics.keys import RoomKey
from seawall.topics.log import Log, Retention
from seawall.topics.pump import DELIVERIES, MAX_AHEAD, Pump
from seawall.topics.readers import FrameCache
from seawall.wire.send_buffer import SendBuffer


@define(eq=False)
class Reader:
    """Reads one event in each visit, or raises."""

    log: Log
    pump: Pump
    steps: list[str]
    fails: bool = False
    has_left: bool = False
    since: Since = "joined"
    slot: int = -1
    outlet: SendBuffer | None = None
    renderer: FrameCache | None = None
    ended: Exception | None = None
    cursor: Cursor = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin."""
        self.cursor = Cursor(Disconnect(100))
        self.cursor.place(self.log, self.since, 0)
        self.log.readers.add(self)

    def visit(self) -> None:
        """Read."""
        if self.fails:
            raise LookupError("mine")
        if (item := self.cursor.peek()) is not None and self.ended is None:
            self.cursor.move(item)
            self.steps.append("gap" if isinstance(item, Gap) else "read")

    def resume(self) -> bool:
        """The same, unless it has left."""
        if not self.has_left:
            self.visit()
        return not self.has_left

    def leave(self) -> None:
        """Read no more."""
        self.has_left = True
        self.log.readers.remove(self)

    def needs(self) -> int:
        """What it has not read."""
        return self.cursor.next

    def end(self, failure: Exception) -> None:
        """Remember."""
        self.ended = failure
        self.fails = False


@define(eq=False)
class StepSizes(trio.abc.Instrument):
    """How many deliveries there are between two checkpoints, of whichever task."""

    steps: list[str]
    sizes: list[int] = field(factory=list[int])
    _before: int = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        self.sizes.append(len(self.steps) - self._before)
        self._before = len(self.steps)


def log_of(name: str, history: int = 0) -> Log:
    """One that keeps so many events for who comes."""
    return Log(RoomKey("rooms/{room}", (name,)), name, Retention(history), HistoryBudget[Log](1 << 30))


async def test_others_have_their_turn(autojump_clock: MockClock) -> None:
    """After so many deliveries others run; a second room does not wait for the round of the first to end."""
    pump, steps = Pump(), list[str]()
    large, small = log_of("large"), log_of("small")
    for _ in range(100):
        Reader(large, pump, steps)
    other = Reader(small, pump, list[str]())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        await wait_all_tasks_blocked()
        for log in (large, small):
            log.append(Entry("x", None), 0)
            pump.schedule(log)
        counted = StepSizes(steps)
        trio.lowlevel.add_instrument(counted)
        while large.readers.is_scheduled:
            await trio.lowlevel.checkpoint()
            if len(steps) > 3 * DELIVERIES:
                assert other.steps == ["read"]
        trio.lowlevel.remove_instrument(counted)
        assert 0 < max(counted.sizes) <= DELIVERIES
        assert len(steps) == 100
        assert len(large.entries) == len(small.entries) == 0
        nursery.cancel_scope.cancel()


async def test_who_was_behind_waits_for_no_round(autojump_clock: MockClock) -> None:
    """One that can be written to again has its turn while a large room is served, and not after it."""
    pump, steps = Pump(), list[str]()
    large, small = log_of("large"), log_of("small")
    for _ in range(100):
        Reader(large, pump, steps)
    other = Reader(small, pump, list[str]())
    small.append(Entry("x", None), 0)
    large.append(Entry("x", None), 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        await wait_all_tasks_blocked()
        pump.schedule(large)
        pump.put(other)
        for _ in range(100):
            await trio.lowlevel.checkpoint()
            if other.steps:
                break
        assert other.steps == ["read"]
        assert len(steps) <= 2 * DELIVERIES
        nursery.cancel_scope.cancel()


async def test_many_small_rounds_hold_up_nobody_else(autojump_clock: MockClock) -> None:
    """Though there is something new in more rooms than are served between two checkpoints, again and again."""
    pump, steps = Pump(), list[str]()
    rooms = [log_of(str(number)) for number in range(100)]
    for log in rooms:
        Reader(log, pump, steps)
    other = Reader(log_of("other"), pump, list[str](), since=None)
    other.log.append(Entry("x", None), 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        await wait_all_tasks_blocked()
        pump.put(other)
        for _ in range(10):
            for log in rooms:
                if not log.readers.is_scheduled:
                    log.append(Entry("x", None), 0)
                    pump.schedule(log)
            await trio.lowlevel.checkpoint()
        assert len(steps) > 50
        assert other.steps == ["read"]
        nursery.cancel_scope.cancel()


async def test_who_comes_and_goes_holds_up_nobody(autojump_clock: MockClock) -> None:
    """However many begin to read and end between two turns of the pump, who stays is served, and nothing grows."""
    pump, log = Pump(), log_of("room")
    stays = Reader(log, pump, list[str]())
    passing = list[Reader]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        await wait_all_tasks_blocked()
        for _ in range(50):
            log.append(Entry("x", None), 0)
            pump.schedule(log)
            for reader in passing:
                reader.leave()
            passing = [Reader(log, pump, list[str]()) for _ in range(1000)]
            for reader in passing:
                pump.put(reader)
            await trio.lowlevel.checkpoint()
        assert len(stays.steps) >= 5
        assert len(log.readers.slots) < 10_000
        nursery.cancel_scope.cancel()


async def test_what_somebody_needs_who_comes_during_a_round(autojump_clock: MockClock) -> None:
    """It is in no round yet, and has all the same what was kept where it begins to read."""
    pump, log = Pump(), log_of("room", history=5)
    for _ in range(5):
        log.append(Entry("x", None), 0)
    for _ in range(100):
        Reader(log, pump, list[str]())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        await wait_all_tasks_blocked()
        log.append(Entry("x", None), 0)
        pump.schedule(log)
        await trio.lowlevel.checkpoint()
        assert log.readers.is_scheduled
        comes = Reader(log, pump, list[str](), since=Position(log.epoch, 1))
        log.append(Entry("x", None), 0)
        await wait_all_tasks_blocked()
        for _ in range(6):
            log.append(Entry("x", None), 0)
            pump.schedule(log)
            await wait_all_tasks_blocked()
        assert comes.steps == ["read"] * (comes.cursor.next - 2)
        assert comes.cursor.next >= 9
        nursery.cancel_scope.cancel()


async def test_what_one_reader_raises_is_its_own(autojump_clock: MockClock) -> None:
    """It ends that reader, in a round and in a turn of its own; the others are served."""
    pump, log = Pump(), log_of("room")
    good, bad, woken = (Reader(log, pump, list[str]()) for _ in range(3))
    bad.fails = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        await wait_all_tasks_blocked()
        log.append(Entry("x", None), 0)
        pump.schedule(log)
        await wait_all_tasks_blocked()
        assert isinstance(bad.ended, LookupError)
        assert good.steps == woken.steps == ["read"]
        woken.fails = True
        pump.put(woken)
        await wait_all_tasks_blocked()
        assert isinstance(woken.ended, LookupError)
        log.append(Entry("x", None), 0)
        pump.schedule(log)
        await wait_all_tasks_blocked()
        assert good.steps == ["read", "read"]
        nursery.cancel_scope.cancel()


async def published(memory: MemoryEngine, key: RoomKey, done: list[int], number: int) -> None:
    """Publish one event, and note that it is done."""
    await memory.publish(key, Retention(), Entry("x", None))
    done.append(number)


async def test_publishers_that_wait_when_their_room_is_forgotten(autojump_clock: MockClock) -> None:
    """They all go on, without a round that ends: whoever publishes in a room of the same name is not behind in this."""
    pump = Pump()
    memory, key, done = MemoryEngine(Limits(), pump), RoomKey("rooms/{room}", ("x",)), list[int]()
    memory.begin()
    pump.is_running = True  # but it is not
    log = await memory.open(key, Retention())
    reader = Reader(log, pump, [])
    for _ in range(MAX_AHEAD + 1):
        memory.publish_nowait(key, Retention(), Entry("x", None))
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(published, memory, key, done, number)
            await wait_all_tasks_blocked()
            assert done == []
            reader.leave()
            memory.release(log)
    assert len(done) == 200


def test_what_nobody_has_read_is_not_waited_for() -> None:
    """A room whose events had no readers is not behind when the first one has come."""
    pump, log = Pump(), log_of("x", history=10)
    pump.is_running = True  # but it is not
    for _ in range(2 * MAX_AHEAD):
        log.append(Entry("x", None), 0)
    Reader(log, pump, [])
    for _ in range(MAX_AHEAD + 1):
        assert not pump.is_behind(log)
        log.append(Entry("x", None), 0)
        pump.schedule(log)
    assert pump.is_behind(log)
