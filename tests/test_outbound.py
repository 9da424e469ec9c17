"""`Outbound` alone: whole frames, turns, room, and a peer that takes nothing."""

from __future__ import annotations

import random

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.wire.encoding import encode_message
from seawall.wire.outbound import WRITE_SIZE, Outbound
from tests.memory import frames


@define(eq=False)
class Sink(trio.abc.SendStream):
    """A stream that takes its time for each write, or breaks."""

    pace: float = 0.0
    """Seconds for a write."""
    broken: bool = False
    writes: list[bytes] = field(factory=list[bytes])
    """What was written, one for each call."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Take it all."""
        await trio.sleep(self.pace)
        if self.broken:
            raise trio.BrokenResourceError
        self.writes.append(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Nobody asks."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Nobody asks."""
        await trio.lowlevel.checkpoint()


@define(eq=False)
class Bench:
    """An `Outbound` over a sink, and how often it has stalled."""

    sink: Sink
    limit: int = 100
    send_timeout: float = 10.0
    stalls: list[float] = field(factory=list[float])
    out: Outbound = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the `Outbound`."""
        self.out = Outbound(
            self.sink,
            limit=self.limit,
            send_timeout=self.send_timeout,
            on_stall=lambda: self.stalls.append(trio.current_time()),
        )

    @property
    def written(self) -> bytes:
        """All that was written."""
        return b"".join(self.sink.writes)


@pytest.mark.parametrize("seed", range(12))
async def test_frames_stay_whole_whoever_is_cancelled(seed: int, autojump_clock: MockClock) -> None:
    """Whatever sends are cancelled whenever, the wire holds whole frames: those whose sends returned, in that order."""
    chance = random.Random(seed)
    bench = Bench(Sink(pace=0.7), limit=chance.choice([1, 500, 200_000]), send_timeout=100.0)
    done: list[str] = []

    async def sender(name: int) -> None:
        for count in range(8):
            message = f"{name}.{count}." + "x" * chance.choice([0, 10, 300, 70_000])
            with trio.move_on_after(chance.choice([0, 0.1, 0.7, 1.4, 3, 1000])):
                await bench.out.put_message(encode_message(message))
                done.append(message)
            if chance.random() < 0.3:
                try:
                    bench.out.put_message_nowait(encode_message(f"{name}.{count}.now"))
                except trio.WouldBlock:
                    continue
                done.append(f"{name}.{count}.now")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.run)
        async with trio.open_nursery() as senders:
            for name in range(6):
                senders.start_soon(sender, name)
        await bench.out.wait_empty()
        nursery.cancel_scope.cancel()
    assert [frame.payload.decode() for frame in frames(bench.written)] == done
    assert 0 < len(done) < 6 * 16
    assert not bench.stalls


async def test_senders_take_turns(autojump_clock: MockClock) -> None:
    """Senders who wait for room get it in the order in which they came; a small one does not overtake a large one."""
    bench = Bench(Sink(), limit=10)
    bench.out.put(b"0" * 10)
    async with trio.open_nursery() as nursery:
        for data in (b"a" * 11, b"b", b"c" * 30, b"d"):
            nursery.start_soon(bench.out.put_message, data)
            await wait_all_tasks_blocked()
        writer = trio.CancelScope()
        with writer:
            nursery.start_soon(bench.out.run)
            await bench.out.wait_empty()
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert bench.written == b"0" * 10 + b"a" * 11 + b"b" + b"c" * 30 + b"d"


async def test_an_empty_buffer_takes_anything(autojump_clock: MockClock) -> None:
    """A message of any size goes into an empty buffer; the next one, however small, has to wait."""
    bench = Bench(Sink(), limit=10)
    await bench.out.put_message(b"x" * 1000)
    with trio.move_on_after(5) as patience:
        await bench.out.put_message(b"y")
    assert patience.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.run)
        await bench.out.put_message(b"z")
        await bench.out.wait_empty()
        nursery.cancel_scope.cancel()
    assert bench.written == b"x" * 1000 + b"z"


async def test_the_limit_is_exact() -> None:
    """Bytes up to the limit may wait, and not one more."""
    bench = Bench(Sink(), limit=10)
    bench.out.put_message_nowait(b"x" * 4)
    bench.out.put_message_nowait(b"x" * 6)
    with pytest.raises(trio.WouldBlock):
        bench.out.put_message_nowait(b"x")


async def test_nowait_does_not_overtake(autojump_clock: MockClock) -> None:
    """A sender that will not wait gets no room either while others wait for it, even if its own message would fit."""
    bench = Bench(Sink(), limit=10)
    bench.out.put_message_nowait(b"x" * 8)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.put_message, b"y" * 9)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            bench.out.put_message_nowait(b"z")
        nursery.cancel_scope.cancel()
    bench.out.put_message_nowait(b"z")


async def test_finish(autojump_clock: MockClock) -> None:
    """Once finished it takes no message, and who waits for room is told so; the Close, and what was put, go out."""
    bench = Bench(Sink(), limit=10)
    bench.out.put_message_nowait(b"x" * 10)

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
        await bench.out.put_control(b"pong")
        bench.out.put(b"close")
        nursery.start_soon(bench.out.run)
        await bench.out.wait_empty()
        nursery.cancel_scope.cancel()
    assert bench.written == b"x" * 10 + b"pong" + b"close"


async def test_abort(autojump_clock: MockClock) -> None:
    """Given up, it writes nothing more and lets nobody wait: not senders, not the flush, not the writer."""
    bench = Bench(Sink(), limit=10)
    bench.out.put_message_nowait(b"x" * 10)

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
    await bench.out.run()
    await bench.out.wait_empty()
    assert bench.out.broken
    assert not bench.written
    assert not bench.stalls


async def test_abort_wakes_an_idle_writer(autojump_clock: MockClock) -> None:
    """A writer that waits for something to write ends too."""
    bench = Bench(Sink())
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.out.run)
            await wait_all_tasks_blocked()
            bench.out.abort()


async def test_a_stall_takes_exactly_send_timeout(autojump_clock: MockClock) -> None:
    """A write that gets nowhere ends the writer after ``send_timeout``, said once; the stream is useless then."""
    bench = Bench(Sink(pace=1000), limit=10, send_timeout=10)
    start = trio.current_time()
    bench.out.put_message_nowait(b"x" * 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.run)
        with pytest.raises(trio.BrokenResourceError):
            await bench.out.put_message(b"y")
    assert bench.stalls == [start + 10]
    assert bench.out.broken


async def test_progress_resets_the_patience(autojump_clock: MockClock) -> None:
    """A slow peer that takes something within each ``send_timeout`` may take as long as it likes altogether."""
    bench = Bench(Sink(pace=9.9), send_timeout=10)
    start = trio.current_time()
    bench.out.put(b"x" * (20 * WRITE_SIZE))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.run)
        await bench.out.wait_empty()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - start == pytest.approx(20 * 9.9)
    assert [len(write) for write in bench.sink.writes] == [WRITE_SIZE] * 20
    assert not bench.stalls


async def test_a_broken_stream(autojump_clock: MockClock) -> None:
    """A stream that breaks ends the writer and every wait, and is no stall."""
    bench = Bench(Sink(pace=1, broken=True), limit=10)
    bench.out.put_message_nowait(b"x" * 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.run)
        nursery.start_soon(bench.out.wait_empty)
        with pytest.raises(trio.BrokenResourceError):
            await bench.out.put_message(b"y")
    assert not bench.stalls


async def test_the_flush_waits_for_the_last_write(autojump_clock: MockClock) -> None:
    """`wait_empty` returns when the stream has taken everything, not when it has been handed over."""
    bench = Bench(Sink(pace=3))
    start = trio.current_time()
    await bench.out.wait_empty()
    bench.out.put(b"x" * (WRITE_SIZE + 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.run)
        await bench.out.wait_empty()
        assert trio.current_time() - start == 6
        nursery.cancel_scope.cancel()


async def test_control_frames_wait_for_room_beside_the_messages(autojump_clock: MockClock) -> None:
    """A control frame waits for room as messages do, but not for its turn behind them."""
    bench = Bench(Sink(pace=1), limit=10)
    bench.out.put_message_nowait(b"x" * 10)
    arrived: list[str] = []

    async def message() -> None:
        await bench.out.put_message(b"y" * 11)
        arrived.append("message")

    async def control() -> None:
        await bench.out.put_control(b"pong")
        arrived.append("control")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(message)
        await wait_all_tasks_blocked()
        nursery.start_soon(control)
        with trio.move_on_after(5):
            await trio.sleep_forever()
        assert not arrived
        nursery.start_soon(bench.out.run)
        await trio.sleep(5)
        await bench.out.wait_empty()
        nursery.cancel_scope.cancel()
    assert sorted(arrived) == ["control", "message"]
    assert sorted(bench.written.decode()) == sorted("x" * 10 + "y" * 11 + "pong")


async def test_a_sender_that_never_waits_still_yields() -> None:
    """Sending is a checkpoint even when there is room, and a cancelled sender has not sent."""
    bench = Bench(Sink(), limit=1000)
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.out.put_message(b"x")
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not bench.written


async def test_sending_now_beside_a_sender_that_need_not_wait(autojump_clock: MockClock) -> None:
    """`put_message_nowait` refuses only where `put_message` would wait: not because somebody else is sending."""
    bench = Bench(Sink())
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(bench.out.put_message, b"from another task")
        for _ in range(3):
            bench.out.put_message_nowait(b"now")
            await trio.lowlevel.checkpoint()
