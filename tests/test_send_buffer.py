"""`SendBuffer` alone: whole frames, turns, room, and a link that takes what it likes."""

from __future__ import annotations

import random

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.wire.budget import Budget
from seawall.wire.encoder import encode_message
from seawall.wire.send_buffer import SendBuffer
from tests.kit.channels import Hand
from tests.kit.wire import frames


@define(eq=False)
class Bench:
    """An `SendBuffer` over a link that does nothing by itself, and what it has said about what waits."""

    limit: int = 100
    transport: Hand = field(factory=Hand)
    changes: list[int] = field(factory=list[int])
    """How much waited, each time that it told."""
    out: SendBuffer = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the `SendBuffer`."""
        self.out = SendBuffer(self.transport, Budget(), limit=self.limit, on_change=self.on_change)

    def on_change(self) -> None:
        """Remember."""
        self.changes.append(len(self.out.pending))

    async def run(self, *, pace: float, size: int) -> None:
        """Take some of what waits, again and again."""
        while True:
            await trio.sleep(pace)
            if self.out.pending:
                self.transport.drain(self.out, size)


def full(limit: int = 10) -> Bench:
    """One whose link takes nothing, and whose buffer is full."""
    bench = Bench(limit)
    bench.transport.room = 0
    bench.out.put(b"0" * limit)
    return bench


async def test_what_the_link_takes_does_not_wait() -> None:
    """As long as the link takes everything, everything goes at once, in any size, and nobody is told of anything."""
    bench = Bench(limit=10)
    bench.out.put(b"a" * 1000)
    await bench.out.put_message(b"b" * 1000)
    bench.out.put_message_nowait(b"c" * 1000)
    await bench.out.put_control(b"d" * 1000)
    await bench.out.wait_empty()
    assert bench.transport.written == b"a" * 1000 + b"b" * 1000 + b"c" * 1000 + b"d" * 1000
    assert bench.out.gone == 4000
    assert not bench.out.pending
    assert not bench.changes


async def test_what_the_link_does_not_take_waits() -> None:
    """The rest of a frame goes before any other frame; it is told when something begins to wait, and when it ends."""
    bench = Bench()
    bench.transport.room = 4
    bench.out.put(b"abcdef")
    assert bench.changes == [2]
    assert bench.out.gone == 4
    bench.transport.room = 1000  # there is room again, but it is not this frame's turn
    await bench.out.put_message(b"ghi")
    assert bench.transport.written == b"abcd"
    assert bench.out.pending == b"efghi"
    bench.transport.drain(bench.out, 3)
    assert bench.changes == [2]
    bench.transport.drain(bench.out, 3)
    assert bench.changes == [2, 0]
    assert bench.out.gone == 9
    bench.out.put(b"j")
    assert bench.transport.written == b"abcdefghij"


@pytest.mark.parametrize("seed", range(12))
async def test_frames_stay_whole_whoever_is_cancelled(seed: int, autojump_clock: MockClock) -> None:
    """Whatever sends are cancelled whenever, the wire holds whole frames: those whose sends returned, in that order."""
    chance = random.Random(seed)
    bench = Bench(limit=chance.choice([1, 500, 200_000]))
    bench.transport.room = 0
    done: list[str] = []

    async def sender(name: int) -> None:
        for count in range(8):
            message = f"{name}.{count}." + "x" * chance.choice([0, 10, 300, 70_000])
            with trio.move_on_after(chance.choice([0, 0.1, 0.7, 1.4, 3, 1000])):
                await bench.out.put_message(encode_message(message))
                done.append(message)
            if chance.random() < 0.3:
                bench.transport.room = chance.choice([0, 1, 1000])
                try:
                    bench.out.put_message_nowait(encode_message(f"{name}.{count}.now"))
                except trio.WouldBlock:
                    continue
                done.append(f"{name}.{count}.now")

    async def take() -> None:
        while True:
            await trio.sleep(chance.choice([0, 0.1, 0.7]))
            if bench.out.pending:
                bench.transport.drain(bench.out, chance.choice([1, 100, 50_000]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        async with trio.open_nursery() as senders:
            for name in range(6):
                senders.start_soon(sender, name)
        await bench.out.wait_empty()
        nursery.cancel_scope.cancel()
    assert [frame.payload.decode() for frame in frames(bench.transport.written)] == done
    assert 0 < len(done) < 6 * 16
    assert bench.out.gone == len(bench.transport.written)


async def test_only_what_is_sent_is_sealed(autojump_clock: MockClock) -> None:
    """A message is compressed when it is sent and not before: what is not sent after all must leave no trace in it."""
    bench, sealed = full(), list[bytes]()

    def seal(data: bytes) -> bytes:
        sealed.append(data)
        return b"<%b>" % data

    bench.out.seal = seal
    with pytest.raises(trio.WouldBlock):
        bench.out.put_message_nowait(b"would block")
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.out.put_message(b"cancelled at once")
    with trio.move_on_after(1):
        await bench.out.put_message(b"cancelled while it waits")
    bench.out.put(b"control")
    await wait_all_tasks_blocked()
    bench.transport.drain(bench.out, 100)
    await bench.out.put_message(b"one")
    bench.transport.drain(bench.out, 100)
    bench.out.put_message_nowait(b"two")
    bench.out.finish()
    with pytest.raises(trio.ClosedResourceError):
        await bench.out.put_message(b"closed")
    bench.transport.drain(bench.out, 100)
    assert sealed == [b"one", b"two"]
    assert bench.transport.written == b"0" * 10 + b"control<one><two>"
    assert bench.out.messages == 2


async def test_senders_take_turns(autojump_clock: MockClock) -> None:
    """Senders who wait for room get it in the order in which they came; a small one does not overtake a large one."""
    bench = full()
    async with trio.open_nursery() as nursery:
        for data in (b"a" * 11, b"b", b"c" * 30, b"d"):
            nursery.start_soon(bench.out.put_message, data)
            await wait_all_tasks_blocked()
        bench.transport.drain(bench.out, 9)
        await wait_all_tasks_blocked()  # there would be room for b by now
        nursery.start_soon(lambda: bench.run(pace=1, size=5))
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert bench.transport.written == b"0" * 10 + b"a" * 11 + b"b" + b"c" * 30 + b"d"


async def test_a_sender_that_gives_up_its_turn(autojump_clock: MockClock) -> None:
    """Cancelled while it waits, it has not sent, and those behind it move up."""
    bench = full()
    first = trio.CancelScope()

    async def give_up() -> None:
        with first:
            await bench.out.put_message(b"a" * 11)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        await wait_all_tasks_blocked()
        nursery.start_soon(bench.out.put_message, b"b")
        await wait_all_tasks_blocked()
        first.cancel()
        await wait_all_tasks_blocked()
        bench.transport.drain(bench.out, 5)
    bench.transport.drain(bench.out, 100)
    assert bench.transport.written == b"0" * 10 + b"b"


async def test_an_empty_buffer_takes_anything(autojump_clock: MockClock) -> None:
    """A message of any size goes into an empty buffer; the next one, however small, has to wait."""
    bench = Bench(limit=10)
    bench.transport.room = 0
    await bench.out.put_message(b"x" * 1000)
    with trio.move_on_after(5) as patience:
        await bench.out.put_message(b"y")
    assert patience.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.put_message, b"z")
        await wait_all_tasks_blocked()
        bench.transport.drain(bench.out, 990)
        await wait_all_tasks_blocked()
        assert len(bench.out.pending) == 10
        bench.transport.drain(bench.out, 1)
    bench.transport.drain(bench.out, 100)
    assert bench.transport.written == b"x" * 1000 + b"z"


def test_the_limit_is_exact() -> None:
    """Bytes up to the limit may wait, and not one more."""
    bench = Bench(limit=10)
    bench.transport.room = 0
    bench.out.put_message_nowait(b"x" * 4)
    bench.out.put_message_nowait(b"x" * 6)
    with pytest.raises(trio.WouldBlock):
        bench.out.put_message_nowait(b"x")


async def test_nowait_does_not_overtake(autojump_clock: MockClock) -> None:
    """A sender that will not wait gets no room either while others wait for it, even if its own message would fit."""
    bench = full()
    bench.transport.drain(bench.out, 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.put_message, b"y" * 9)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            bench.out.put_message_nowait(b"z")
        nursery.cancel_scope.cancel()
    bench.out.put_message_nowait(b"z")


async def test_nobody_overtakes_who_waits(autojump_clock: MockClock) -> None:
    """Nor does a sender that could wait, when there is room for its own message only."""
    bench = full()
    bench.transport.drain(bench.out, 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.put_message, b"y" * 9)
        await wait_all_tasks_blocked()
        nursery.start_soon(bench.out.put_message, b"z")
        await wait_all_tasks_blocked()
        assert bench.out.pending == b"0" * 8
        bench.transport.drain(bench.out, 8)
    assert bench.out.pending == b"y" * 9 + b"z"


async def test_finish(autojump_clock: MockClock) -> None:
    """Once finished it takes no message, and who waits for room is told so; the Close, and what was put, go out."""
    bench = full()

    async def refused() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await bench.out.put_message(b"late")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(refused)
        await wait_all_tasks_blocked()
        bench.out.finish()
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks
    await refused()
    with pytest.raises(trio.ClosedResourceError):
        bench.out.put_message_nowait(b"late")
    with trio.fail_after(1):
        await bench.out.put_control(b"pong")  # without waiting: there will be no more messages to make room
    bench.out.put(b"close")
    bench.transport.drain(bench.out, 100)
    assert bench.transport.written == b"0" * 10 + b"pong" + b"close"
    with pytest.raises(trio.ClosedResourceError):
        bench.out.put_message_nowait(b"later")


async def test_abort(autojump_clock: MockClock) -> None:
    """Given up, it writes nothing more and lets nobody wait: not senders, not the flush."""
    bench = full()

    async def refused(data: bytes) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await bench.out.put_message(data)

    async def control() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await bench.out.put_control(b"pong")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused, b"y")
        nursery.start_soon(control)
        nursery.start_soon(bench.out.wait_empty)
        await wait_all_tasks_blocked()
        bench.out.abort()
    await refused(b"z")
    with pytest.raises(trio.BrokenResourceError):
        bench.out.put(b"close")
    with pytest.raises(trio.BrokenResourceError):
        bench.out.put_message_nowait(b"z")
    await bench.out.wait_empty()
    assert bench.out.broken
    assert not bench.transport.written
    assert bench.changes == [10, 0]


def test_abort_while_the_link_writes() -> None:
    """A link that is in the middle of writing from the buffer keeps what it holds."""
    bench = full()
    held = memoryview(bench.out.pending)
    bench.out.abort()
    assert held == b"0" * 10
    assert not bench.out.pending


async def test_a_link_that_breaks() -> None:
    """Who finds out is told, and from then on everybody is."""
    bench = Bench()
    bench.transport.broken = True
    with pytest.raises(trio.BrokenResourceError):
        await bench.out.put_message(b"x")
    assert bench.out.broken
    assert bench.out.gone == 0
    bench.transport.broken = False
    with pytest.raises(trio.BrokenResourceError):
        bench.out.put(b"x")
    assert not bench.transport.written


async def test_broken_comes_before_finished() -> None:
    """A message is refused as closed once there are to be no more, and as broken only before that."""
    bench = Bench()
    bench.out.abort()
    with pytest.raises(trio.BrokenResourceError):
        await bench.out.put_message(b"x")
    bench.out.finish()
    with pytest.raises(trio.ClosedResourceError):
        await bench.out.put_message(b"x")


async def test_the_flush_waits_for_the_last_byte(autojump_clock: MockClock) -> None:
    """`wait_empty` returns when the link has taken everything, and not before."""
    bench = full()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: bench.run(pace=1, size=3))
        await bench.out.wait_empty()
        assert trio.current_time() == 4
        await bench.out.wait_empty()
        nursery.cancel_scope.cancel()


async def test_control_frames_wait_for_room_beside_the_messages(autojump_clock: MockClock) -> None:
    """A control frame waits for room as messages do, but not for its turn behind them."""
    bench = full()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.put_message, b"y" * 11)
        await wait_all_tasks_blocked()
        nursery.start_soon(bench.out.put_control, b"pong")
        await trio.sleep(5)
        assert len(nursery.child_tasks) == 2
        bench.transport.drain(bench.out, 4)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        bench.transport.drain(bench.out, 10)
    bench.transport.drain(bench.out, 100)
    assert bench.transport.written == b"0" * 10 + b"pong" + b"y" * 11


async def test_a_sender_that_never_waits_still_yields() -> None:
    """Sending is a checkpoint even when there is room, and a cancelled sender has not sent."""
    bench = Bench(limit=1000)
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.out.put_message(b"x")
    assert scope.cancelled_caught
    assert not bench.transport.written


async def test_sending_now_beside_a_sender_that_need_not_wait(autojump_clock: MockClock) -> None:
    """`put_message_nowait` refuses only where `put_message` would wait: not because somebody else is sending."""
    bench = Bench()
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(bench.out.put_message, b"from another task")
        for _ in range(3):
            bench.out.put_message_nowait(b"now")
            await trio.lowlevel.checkpoint()
