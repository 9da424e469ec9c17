"""`Budget`: who never has to wait lets the others run, soon enough, and before anything is done."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable

import pytest
import trio

from seawall.limits import Limits
from seawall.wire.budget import BYTES, OPERATIONS, Budget
from tests.kit.channels import ANSWER, Alone
from tests.kit.wire import frame, frames


class Turns(trio.abc.Instrument):
    """Counts how often a task has let the others run."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        """Begin."""
        self._task = task
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """The others have had their turn."""
        self.count += task is self._task


async def turns(what: Awaitable[object]) -> int:
    """How often others may run while this is done."""
    counter = Turns(trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(counter)
    try:
        await what
    finally:
        trio.lowlevel.remove_instrument(counter)
    return counter.count


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([0] * (OPERATIONS - 1), 0),
        ([0] * OPERATIONS, 1),
        ([0] * 10 * OPERATIONS, 10),
        ([BYTES - 1], 0),
        ([BYTES], 1),
        ([BYTES * 10], 1),
        ([BYTES - 1, 1], 1),
        ([BYTES // 4] * 40, 10),
        ([BYTES // 2, BYTES // 2, *[0] * (OPERATIONS - 1)], 1),  # each turn begins both counts anew
        ([*[0] * OPERATIONS, BYTES - 1], 1),
        ([BYTES // 2, *[0] * (OPERATIONS - 1), BYTES // 2], 1),
    ],
    ids=itertools.count(),
)
def test_others_get_their_turns(sizes: list[int], expected: int) -> None:
    """After sixteen operations, or 256 KiB, whichever comes first, and not before."""
    budget = Budget()
    assert sum(budget.is_spent(size) for size in sizes) == expected


def one_of(budget: Budget) -> Alone:
    """A channel whose peer takes everything."""
    return Alone(Limits(inbound_queue=1000), budget=budget)


async def test_a_broadcast_shares_one_budget() -> None:
    """One task that sends over a thousand connections lets others run as often as one that sends over one."""
    budget = Budget()
    channels = [one_of(budget).channel for _ in range(1000)]

    async def broadcast() -> None:
        for one in channels:
            await one.send("x")

    assert await turns(broadcast()) == 1000 // OPERATIONS


async def test_sending_and_receiving_share_one_budget() -> None:
    """An echo that never has to wait counts twice for each message."""
    one = one_of(Budget()).channel
    one.accept(ANSWER)
    one.feed(frame(2, b"x") * 64, 0)

    async def echo() -> None:
        for _ in range(64):
            await one.send(await one.queue.receive())

    assert await turns(echo()) == 2 * 64 // OPERATIONS


async def test_large_messages_count_by_their_size() -> None:
    """A megabyte is several turns' worth: each such message lets others run."""
    one = one_of(Budget()).channel

    async def send() -> None:
        for _ in range(5):
            await one.send(b"x" * 1_000_000)

    assert await turns(send()) == 5


async def test_the_effect_comes_after_the_checkpoint() -> None:
    """Cancelled at any operation, a send has not been sent and a message not been taken."""
    made = one_of(Budget())
    one, transport = made.channel, made.transport
    one.accept(ANSWER)
    del transport.written[:]
    one.feed(b"".join(frame(2, bytes([number])) for number in range(40)), 0)
    for number in range(40):
        for again in range(2):
            with trio.CancelScope() as scope:
                if not again:
                    scope.cancel()
                await one.send(bytes([number]))
            assert scope.cancelled_caught == (not again)
        with trio.CancelScope() as scope:
            scope.cancel()
            await one.queue.receive()
        assert await one.queue.receive() == bytes([number])
    assert [found.payload for found in frames(transport.written)] == [bytes([number]) for number in range(40)]
    assert one.send_buffer.messages == 40
