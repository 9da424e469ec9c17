"""`ReceiveQueue` and the `Waiter` in it: two marks, one receiver, and no message lost."""

from __future__ import annotations

import random
from sys import getsizeof

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.limits import Limits
from seawall.wire.budget import OPERATIONS, Budget
from seawall.wire.inbound_budget import COUNTED_FROM
from seawall.wire.receive_queue import ReceiveQueue
from seawall.wire.waiter import Waiter
from tests.kit.channels import AfterStep, Hand

# The waiter.


async def test_waking_who_waits() -> None:
    """Each `wake` ends one wait, and the waiter can be used again and again."""
    waiter = Waiter()
    woken = 0

    async def wait() -> None:
        nonlocal woken
        for _ in range(3):
            await waiter.wait()
            woken += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        for expected in (1, 2, 3):
            await wait_all_tasks_blocked()
            waiter.wake()
            waiter.wake()  # nobody waits by now
            await wait_all_tasks_blocked()
            assert woken == expected


async def test_a_wake_that_nobody_waits_for_is_lost(autojump_clock: MockClock) -> None:
    """Who comes too late waits for the next one."""
    waiter = Waiter()
    waiter.wake()
    with trio.move_on_after(1) as patience:
        await waiter.wait()
    assert patience.cancelled_caught


async def test_a_wait_that_is_cancelled(autojump_clock: MockClock) -> None:
    """It leaves nothing behind: a later `wake` wakes nobody, or who waits by then."""
    waiter = Waiter()
    with trio.move_on_after(1):
        await waiter.wait()
    waiter.wake()
    await trio.sleep(1)

    async def wait() -> None:
        await waiter.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        waiter.wake()


async def test_a_wait_that_is_cancelled_when_it_begins(autojump_clock: MockClock) -> None:
    """Cancelled before it could wait, it is a checkpoint like any other."""
    waiter = Waiter()
    with trio.CancelScope() as scope:
        scope.cancel()
        await waiter.wait()
    assert scope.cancelled_caught
    waiter.wake()


# The marks.


@define(eq=False)
class Bench:
    """A queue, and how often it said that there is more room."""

    limits: Limits = field(factory=Limits)
    budget: Budget = field(factory=Budget)
    transport: Hand = field(factory=Hand)
    queue: ReceiveQueue = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make it."""
        self.transport.on_update = self.on_update
        self.queue = ReceiveQueue(self.limits, self.budget, self.transport)

    def on_update(self) -> None:
        """See why."""
        assert not self.queue.above_hard

    def rooms(self) -> int:
        """How often it said that there is more room."""
        return self.transport.updates

    def above_soft(self) -> bool:
        """Whether a mark has been reached."""
        return self.queue.above_soft

    def above_hard(self) -> bool:
        """Whether it is above the hard mark."""
        return self.queue.above_hard

    def put(self, *messages: str | bytes) -> None:
        """Queue messages, and say so."""
        for message in messages:
            self.queue.put(message)
        self.queue.announce()

    def spend(self) -> None:
        """Let the next operation let others run: with its message still in the queue."""
        assert not any(self.budget.is_spent(0) for _ in range(OPERATIONS - 1))

    async def take(self, count: int) -> list[str | bytes]:
        """Receive so many."""
        return [await self.queue.receive() for _ in range(count)]


async def test_the_soft_mark_counts_messages() -> None:
    """It is reached with the last of ``inbound_queue`` messages, and holds until half of them have gone."""
    bench = Bench(Limits(inbound_queue=6))
    bench.put("", "a", "b", "c", b"")
    assert not bench.above_soft()
    bench.put("d")
    assert bench.above_soft()
    assert not bench.above_hard()
    await bench.take(2)
    assert bench.above_soft()
    bench.put("e")
    await bench.take(1)
    assert bench.above_soft()
    assert bench.rooms() == 0
    await bench.take(1)
    assert not bench.above_soft()
    assert bench.rooms() == 1
    await bench.take(3)
    assert bench.rooms() == 1


async def test_the_hard_mark_counts_memory() -> None:
    """It is reached with ``inbound_buffer`` bytes as Python holds them, and with it the soft one."""
    size = getsizeof(b"x" * 100)
    bench = Bench(Limits(max_message_size=100, inbound_buffer=4 * size))
    bench.put(*[b"x" * 100] * 3, b"x" * 99)
    assert not bench.above_hard()
    assert not bench.above_soft()
    await bench.take(4)
    bench.put(*[b"x" * 100] * 4)
    assert bench.above_hard()
    assert bench.above_soft()
    await bench.take(1)
    assert not bench.above_hard()
    assert bench.above_soft()
    assert bench.rooms() == 1
    await bench.take(1)
    assert not bench.above_soft()
    assert bench.rooms() == 2
    bench.put(*[b"x" * 100] * 2)
    assert bench.above_hard()
    bench.put(b"x" * 100)
    await bench.take(1)
    assert bench.above_hard()
    assert bench.rooms() == 2
    await bench.take(3)
    assert bench.rooms() == 4


@pytest.mark.parametrize(
    "message", ["", b"", "x" * 50, "\N{DIGIT ONE}\N{PILE OF POO}" * 25], ids=["", "b", "x", "emoji"]
)
async def test_what_a_message_costs(message: str | bytes) -> None:
    """An empty message is not free, and an emoji makes each character of its text four bytes."""
    bench = Bench(Limits(max_message_size=100, inbound_buffer=10_000, inbound_queue=10_000))
    count = 0
    while not bench.above_hard():
        bench.put(message)
        count += 1
    assert count == -(-10_000 // getsizeof(message))


async def test_room_takes_half_of_both_marks() -> None:
    """Few large messages and many small ones each keep the queue above it, whichever mark was reached first."""
    size = getsizeof(b"x" * 1000)
    bench = Bench(Limits(max_message_size=1000, inbound_buffer=4 * size, inbound_queue=8))
    bench.put(*[b""] * 5, *[b"x" * 1000] * 3)
    assert bench.above_soft()
    await bench.take(5)
    assert bench.above_soft()  # only three of eight messages, but three quarters of the memory
    await bench.take(1)
    assert bench.rooms() == 1
    await bench.take(2)
    bench.put(*[b"x" * 1000] * 4, *[b""] * 4)
    assert bench.above_soft()
    assert bench.above_hard()
    await bench.take(3)
    assert bench.rooms() == 2  # it is no longer full
    assert bench.above_soft()  # a quarter of the memory, but five of eight messages
    await bench.take(1)
    assert bench.rooms() == 3


async def test_a_mark_of_one() -> None:
    """With an ``inbound_queue`` of one each message reaches the mark, until it is taken."""
    bench = Bench(Limits(inbound_queue=1))
    for rooms in (1, 2, 3):
        bench.put("x")
        assert bench.above_soft()
        await bench.take(1)
        assert bench.rooms() == rooms


async def test_throwing_away() -> None:
    """`clear` makes room, says so if there was none, and gives the memory back."""
    bench = Bench(Limits(max_message_size=100, inbound_buffer=1000, inbound_queue=10))
    bench.put("x")
    bench.queue.clear()
    assert bench.rooms() == 0
    bench.put(*["x"] * 10)
    bench.queue.clear()
    assert bench.rooms() == 1
    bench.put(*["x"] * 9)
    assert not bench.above_soft()
    bench.queue.clear()
    bench.put(b"x" * 900)
    assert not bench.above_hard()


@pytest.mark.parametrize("how", ["end", "discard"])
async def test_messages_that_are_not_queued_any_more(how: str) -> None:
    """After `end` and after `discard` no message is taken, and no mark counts; the one keeps what is there."""
    bench = Bench(Limits(inbound_queue=2))
    bench.put("one", "two")
    assert bench.above_soft()
    if how == "end":
        bench.queue.end()
    else:
        bench.queue.discard()
    assert not bench.above_soft()
    assert bench.rooms() == 1
    bench.put("three", "four", "five")
    assert not bench.above_soft()
    if how == "end":
        assert await bench.take(2) == ["one", "two"]
    bench.queue.end()
    with pytest.raises(trio.EndOfChannel):
        await bench.queue.receive()
    assert bench.rooms() == 1


# Receiving.


async def test_one_task_receives(autojump_clock: MockClock) -> None:
    """A second receiver is told so, and the first one is none the worse for it."""
    bench = Bench()
    received: list[str | bytes] = []

    async def receive() -> None:
        received.append(await bench.queue.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="another task is already receiving"):
            await bench.queue.receive()
        bench.put("one")
    assert received == ["one"]


@pytest.mark.parametrize("there", [[], ["one"], ["one", "two"]], ids=len)
async def test_two_receivers_at_the_same_moment(there: list[str], autojump_clock: MockClock) -> None:
    """Of two that start in the same instant one is told so, messages or not; neither is forgotten."""
    bench = Bench()
    bench.spend()
    bench.put(*there)
    results: list[object] = []

    async def receive() -> None:
        try:
            results.append(await bench.queue.receive())
        except trio.BusyResourceError:
            results.append("busy")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        bench.put("three")
    assert results == ["busy", [*there, "three"][0]]


async def test_messages_are_announced(autojump_clock: MockClock) -> None:
    """Who waits is woken when it is time, not when a message is queued; who comes later finds it anyway."""
    bench, received = Bench(), list[str | bytes]()

    async def receive() -> None:
        received.append(await bench.queue.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        bench.queue.announce()  # of nothing
        bench.queue.put("one")
        bench.queue.put("two")
        await wait_all_tasks_blocked()
        assert not received
        bench.queue.announce()
    assert received == ["one"]
    assert await bench.queue.receive() == "two"


async def test_the_right_to_receive_is_given_back(autojump_clock: MockClock) -> None:
    """A receiver that was cancelled, at its first checkpoint or later, does not keep the next one out."""
    bench = Bench()
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.queue.receive()
    with trio.move_on_after(1):
        await bench.queue.receive()
    bench.put("one")
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.queue.receive()
    assert await bench.queue.receive() == "one"


@pytest.mark.parametrize("seed", range(8))
async def test_a_cancelled_receive_loses_no_message(seed: int, autojump_clock: MockClock) -> None:
    """Messages are received once each and in order, however often receiving is cancelled, waiting or not."""
    chance = random.Random(seed)
    bench = Bench()

    async def put() -> None:
        for number in range(200):
            bench.put(str(number))
            if chance.random() < 0.5:
                await trio.sleep(chance.choice([0, 0.1, 0.2]))

    received: list[str | bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(put)
        while len(received) < 200:
            with trio.CancelScope() as scope:
                scope.deadline = trio.current_time() + chance.choice([0, 0.05, 0.1, 0.1])
                while True:
                    received.append(await bench.queue.receive())
    assert received == [str(number) for number in range(200)]


async def test_a_wake_and_a_cancellation_at_the_same_moment() -> None:
    """A receiver that is woken and cancelled in the same instant either has the message or has left it there."""
    bench = Bench()
    received: list[str | bytes] = []

    async def receive() -> None:
        received.append(await bench.queue.receive())

    for first in ("put", "cancel"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            if first == "put":
                bench.put(first)
                nursery.cancel_scope.cancel()
            else:
                nursery.cancel_scope.cancel()
                bench.put(first)
    assert [*received, await bench.queue.receive()] == ["put", "cancel"]


async def test_messages_that_are_thrown_away_before_they_are_seen() -> None:
    """A receiver that is woken for a message that is gone by then waits on as well."""
    bench, received = Bench(), list[str | bytes]()

    async def receive() -> None:
        received.append(await bench.queue.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        for _ in range(3):
            await wait_all_tasks_blocked()
            bench.put("old")
            bench.queue.clear()
        await wait_all_tasks_blocked()
        assert not received
        bench.put("new")
    assert received == ["new"]


async def test_messages_that_are_thrown_away_under_the_receiver(autojump_clock: MockClock) -> None:
    """A receiver that lets others run while a message is there waits on when they have thrown it away."""
    bench = Bench()
    bench.spend()
    bench.put("old")
    received: list[str | bytes] = []

    async def receive() -> None:
        received.append(await bench.queue.receive())

    clear = AfterStep("receive", bench.queue.clear)  # when it stands between looking and taking
    trio.lowlevel.add_instrument(clear)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(clear)
        assert not received
        bench.put("new")
    assert received == ["new"]


async def test_no_more() -> None:
    """After `end` what is queued is received, and then there is no more: each call says so, and can be cancelled."""
    bench = Bench()
    bench.put("one", b"two")
    bench.queue.end()
    assert await bench.take(2) == ["one", b"two"]
    for _ in range(2 * OPERATIONS):
        with pytest.raises(trio.EndOfChannel):
            await bench.queue.receive()
        with trio.CancelScope() as scope:
            scope.cancel()
            await bench.queue.receive()
        assert scope.cancelled_caught


async def test_no_more_for_who_waits(autojump_clock: MockClock) -> None:
    """Who waits is told at once."""
    bench = Bench()

    async def receive() -> None:
        with pytest.raises(trio.EndOfChannel):
            await bench.queue.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        bench.queue.end()


async def test_receiving_what_is_there_is_a_checkpoint() -> None:
    """It can be cancelled, with the message still there; and every sixteenth lets others run."""
    bench = Bench()
    bench.put(*["x"] * 100)
    for _ in range(3 * OPERATIONS):
        with trio.CancelScope() as scope:
            scope.cancel()
            await bench.queue.receive()
        assert scope.cancelled_caught
    assert len(await bench.take(100)) == 100


@pytest.mark.parametrize("left", [COUNTED_FROM - 1, COUNTED_FROM, COUNTED_FROM + 1])
async def test_what_is_received_counts_no_more(left: int) -> None:
    """For all connections together, also if what was left in between is just as much as begins to count."""
    budget = Budget()
    queue = ReceiveQueue(Limits(), budget, Hand())
    first = bytes(left - getsizeof(b""))
    queue.put(first)
    queue.put(bytes(2 * COUNTED_FROM))
    queue.take(1)
    assert budget.inbound.queued == (left if left >= COUNTED_FROM else 0)
    assert await queue.receive() == first
    assert budget.inbound.queued == 0
