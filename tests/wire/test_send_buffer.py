"""`SendBuffer` alone: whole frames, turns, room, and a transport that takes what it likes."""

from __future__ import annotations

import enum
import random
import zlib
from sys import getrefcount

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.compression import Deflate
from seawall.wire.budget import Budget
from seawall.wire.events import SendBlocked, WireEvents
from seawall.wire.frames.deflate import Deflater
from seawall.wire.frames.encoder import LONG_FROM, encode_message
from seawall.wire.send_buffer import SendBuffer
from seawall.wire.state import Replying
from seawall.wire.waiter import Waiter
from tests.kit.channels import Hand, Told
from tests.kit.wire import frames


class Fact(enum.Flag):
    """What a `SendBuffer` says of its state."""

    NONE = 0
    CLOSING = 1
    BROKEN = 2


@define(eq=False)
class Noted:
    """Remembers that it was woken."""

    name: str
    woken: list[str]

    def wake(self) -> None:
        """Remember."""
        self.woken.append(self.name)


@define(eq=False)
class Bench:
    """A `SendBuffer` over a transport that does nothing by itself, and what it has said about what waits."""

    limit: int = 100
    transport: Hand = field(factory=Hand)
    changes: list[int] = field(factory=list[int])
    """How much waited, each time that the transport was updated."""
    told: Told = field(factory=Told)
    out: SendBuffer = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the `SendBuffer`."""
        self.transport.on_update = self.on_update
        self.out = SendBuffer(self.transport, Budget(), WireEvents(self.told), limit=self.limit)

    def on_update(self) -> None:
        """Remember."""
        self.changes.append(len(self.out.pending))

    def at(self) -> tuple[Replying, Fact]:
        """The state that it is in, and what it says of that itself."""
        silent, broken = self.out.replying.is_closing, self.out.broken
        return self.out.replying, (Fact.CLOSING if silent else Fact.NONE) | (Fact.BROKEN if broken else Fact.NONE)

    async def run(self, *, pace: float, size: int) -> None:
        """Take some of what waits, again and again."""
        while True:
            await trio.sleep(pace)
            if self.out.pending:
                self.transport.drain(self.out, size)


def full(limit: int = 10) -> Bench:
    """One whose transport takes nothing, and whose buffer is full."""
    bench = Bench(limit)
    bench.transport.room = 0
    bench.out.put(b"0" * limit)
    return bench


async def test_what_the_transport_takes_does_not_wait() -> None:
    """As long as the transport takes everything, all goes at once, in any size, and nobody is told of anything."""
    bench = Bench(limit=10)
    bench.out.put(b"a" * 1000)
    await bench.out.put_message(b"b" * 1000)
    bench.out.put_message_nowait(b"c" * 1000)
    await bench.out.put_control(b"d" * 1000)
    await bench.out.wait_empty()
    assert bench.transport.written == b"a" * 1000 + b"b" * 1000 + b"c" * 1000 + b"d" * 1000
    assert bench.out.bytes_written == 4000
    assert not bench.out.pending
    assert not bench.changes


async def test_what_the_transport_does_not_take_waits() -> None:
    """The rest of a frame goes before any other frame; it is told when something begins to wait, and when it ends."""
    bench = Bench()
    bench.transport.room = 4
    bench.out.put(b"abcdef")
    assert bench.changes == [2]
    assert bench.out.bytes_written == 4
    bench.transport.room = 1000  # there is room again, but it is not this frame's turn
    await bench.out.put_message(b"ghi")
    assert bench.transport.written == b"abcd"
    assert bytes(bench.out.pending) == b"efghi"
    bench.transport.drain(bench.out, 3)
    assert bench.changes == [2]
    bench.transport.drain(bench.out, 3)
    assert bench.changes == [2, 0]
    assert bench.out.bytes_written == 9
    bench.out.put(b"j")
    assert bench.transport.written == b"abcdefghij"


@pytest.mark.parametrize("room", [0, 1, 9, 10, 11, 50_000, 549_999, 550_009])
async def test_a_long_frame_waits_as_it_is(room: int) -> None:
    """Wherever it is cut, the rest is a view of it; what comes behind is appended, and nothing keeps it at the end."""
    payload = bytes(range(250)) * 2_200
    first, second = encode_message(payload), encode_message(payload[::-1])
    bench, references = Bench(limit=1_200_000), getrefcount(payload)
    bench.transport.room = room
    await bench.out.put_message(first)
    assert len(bench.out.pending) == len(first) - room
    assert not isinstance(bench.out.pending, bytearray)
    bench.transport.drain(bench.out, 7)
    bench.out.put_message_nowait(second)
    bench.out.put(b"behind")
    while bench.out.pending:
        bench.transport.drain(bench.out, 130_011)
    assert bench.transport.written == bytes(first) + bytes(second) + b"behind"
    bench.transport.room = room
    await bench.out.put_message(first)
    while bench.out.pending:
        bench.transport.drain(bench.out, 130_011)
    assert bench.transport.written.endswith(b"behind" + bytes(first))
    assert bench.out.bytes_written == len(bench.transport.written)
    assert getrefcount(payload) == references


@pytest.mark.parametrize("seed", range(12))
async def test_frames_stay_whole_whoever_is_cancelled(seed: int, autojump_clock: MockClock) -> None:
    """Whatever sends are cancelled whenever, the wire holds whole frames: those whose sends returned, in that order."""
    chance = random.Random(seed)
    bench = Bench(limit=chance.choice([1, 500, 200_000]))
    bench.transport.room = 0
    done: list[str] = []

    async def sender(name: int) -> None:
        for count in range(8):
            message = f"{name}.{count}." + "x" * chance.choice([0, 10, 300, 70_000, LONG_FROM])
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
    assert bench.out.bytes_written == len(bench.transport.written)


async def test_only_what_is_sent_is_compressed(autojump_clock: MockClock) -> None:
    """A message is compressed when it is sent and not before: what is not sent after all must leave no trace in it.

    All the messages have a text in common, to which the second may refer only in the first that was really sent.
    """
    bench, shared = full(100), random.Random(1).randbytes(60)
    bench.out.deflater = Deflater(bits=15, takeover=True, config=Deflate(threshold=0))
    with pytest.raises(trio.WouldBlock):
        bench.out.put_message_nowait(encode_message(b"would block" + shared))
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.out.put_message(encode_message(b"cancelled at once" + shared))
    with trio.move_on_after(1):
        await bench.out.put_message(encode_message(b"cancelled while it waits" + shared))
    bench.out.put(b"control")
    await wait_all_tasks_blocked()
    bench.transport.drain(bench.out, 1000)
    await bench.out.put_message(encode_message(b"one" + shared))
    bench.transport.drain(bench.out, 1000)
    bench.out.put_message_nowait(encode_message(b"two" + shared))
    bench.out.begin_closing()
    with pytest.raises(trio.ClosedResourceError):
        await bench.out.put_message(encode_message(b"closed" + shared))
    bench.transport.drain(bench.out, 1000)
    assert bench.out.messages == 2
    before = b"0" * 100 + b"control"
    assert bench.transport.written.startswith(before)
    inflater, inflated = zlib.decompressobj(wbits=-15), list[bytes]()
    data = bytes(bench.transport.written[len(before) :])
    while data:
        assert data[0] == 0xC2
        payload, data = data[2 : 2 + data[1]], data[2 + data[1] :]
        inflated.append(inflater.decompress(payload + b"\x00\x00\xff\xff"))
    assert inflated == [b"one" + shared, b"two" + shared]


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


async def test_the_limit_is_exact() -> None:
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
        assert bytes(bench.out.pending) == b"0" * 8
        bench.transport.drain(bench.out, 8)
    assert bytes(bench.out.pending) == b"y" * 9 + b"z"


async def test_silence(autojump_clock: MockClock) -> None:
    """Once silent it takes no message, and who waits for room is told so; the Close, and what was put, go out."""
    bench = full()

    async def refused() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await bench.out.put_message(b"late")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(refused)
        await wait_all_tasks_blocked()
        bench.out.begin_closing()
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


async def test_abort_while_the_transport_writes() -> None:
    """A transport that is in the middle of writing from the buffer keeps what it holds."""
    bench = full()
    held = memoryview(bench.out.pending)
    bench.out.abort()
    assert held == b"0" * 10
    assert not bench.out.pending


async def test_a_transport_that_breaks() -> None:
    """Who finds out is told, and from then on everybody is."""
    bench = Bench()
    bench.transport.broken = True
    with pytest.raises(trio.BrokenResourceError):
        await bench.out.put_message(b"x")
    assert bench.out.broken
    assert bench.out.bytes_written == 0
    bench.transport.broken = False
    with pytest.raises(trio.BrokenResourceError):
        bench.out.put(b"x")
    assert not bench.transport.written


async def test_broken_comes_before_closed() -> None:
    """A message is refused as closed once there are to be no more, and as broken only before that."""
    bench = Bench()
    bench.out.abort()
    with pytest.raises(trio.BrokenResourceError):
        await bench.out.put_message(b"x")
    bench.out.begin_closing()
    with pytest.raises(trio.ClosedResourceError):
        await bench.out.put_message(b"x")


@pytest.mark.parametrize("first", ["silence", "abort"])
async def test_what_may_still_be_sent(first: str) -> None:
    """Silent, then closed, then over; broken, and over once it is to be closed, whichever comes first."""
    bench = Bench()
    assert bench.at() == (Replying.OPEN, Fact.NONE)
    if first == "silence":
        bench.out.begin_closing()
        assert bench.at() == (Replying.CLOSING, Fact.CLOSING)
        bench.out.put_close(b"close")
        bench.out.put_close(b"again")
        assert bench.at() == (Replying.CLOSE_SENT, Fact.CLOSING)
        bench.out.abort()
    else:
        bench.out.abort()
        assert bench.at() == (Replying.BROKEN, Fact.BROKEN)
        bench.out.begin_closing()
    assert bench.at() == (Replying.OVER, Fact.CLOSING | Fact.BROKEN)
    with pytest.raises(trio.BrokenResourceError):
        bench.out.put_close(b"late")
    assert bytes(bench.transport.written) == (b"close" if first == "silence" else b"")


async def test_a_close_takes_no_more_messages() -> None:
    """Also when nobody has said before that there is to be one."""
    bench = Bench()
    bench.out.put_close(b"close")
    with pytest.raises(trio.ClosedResourceError):
        bench.out.put_message_nowait(b"late")
    bench.out.begin_closing()
    assert bench.at() == (Replying.CLOSE_SENT, Fact.CLOSING)


async def test_a_close_that_finds_the_transport_broken() -> None:
    """It has not been sent then, and never will be."""
    bench = Bench()
    bench.transport.broken = True
    with pytest.raises(trio.BrokenResourceError):
        bench.out.put_close(b"close")
    assert bench.at() == (Replying.OVER, Fact.CLOSING | Fact.BROKEN)


async def test_since_when_something_waits(autojump_clock: MockClock) -> None:
    """`blocked_since` is when it began, however much is added or taken, and None while nothing waits."""
    bench = Bench()
    since: list[float | None] = [bench.out.blocked_since]
    for begin in (1, 10):
        await trio.sleep(begin)
        bench.transport.room = 0
        for _ in range(2):
            bench.out.put(b"x" * 10)
            since.append(bench.out.blocked_since)
            await trio.sleep(1)
        bench.transport.drain(bench.out, 10)
        since.append(bench.out.blocked_since)
        bench.transport.drain(bench.out, 10)
        since.append(bench.out.blocked_since)
    bench.out.put(b"x")
    bench.out.abort()
    assert since == [None, 1, 1, 1, None, 13, 13, 13, None]
    assert bench.out.blocked_since is None


async def test_blocked_is_told_once_to_who_watches() -> None:
    """`SendBlocked` is told when something begins to wait, and again only if nobody looks after it by then."""
    bench = Bench()
    bench.transport.room = 0
    for _ in range(3):
        bench.out.put(b"x")
        assert bench.told.events == [SendBlocked()]
        bench.transport.drain(bench.out, 1)
    assert bench.out.is_watched
    bench.out.is_watched = False  # as whoever was told says when it has found nothing
    bench.out.put(b"x")
    assert bench.told.events == [SendBlocked()] * 2


class Waiting:
    """A task that waits for a `Waiter`, and how often it was woken."""

    def __init__(self) -> None:
        """Begin."""
        self.waiter = Waiter()
        self.woken = 0

    async def run(self) -> None:
        """Wait, again and again."""
        while True:
            await self.waiter.wait()
            self.woken += 1

    async def count(self) -> int:
        """How often it was woken, when it has had the time."""
        await wait_all_tasks_blocked()
        return self.woken


async def test_who_is_notified_when_nothing_is_pending(autojump_clock: MockClock) -> None:
    """Each waiter is woken once, at the last byte and not before; whoever did not ask again is not woken again."""
    bench, first, second = full(), Waiting(), Waiting()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        nursery.start_soon(second.run)
        await wait_all_tasks_blocked()
        for _ in range(2):  # to ask twice is as good as once
            bench.out.notify_when_empty(first.waiter)
        bench.out.notify_when_empty(second.waiter)
        bench.transport.drain(bench.out, 9)
        assert (await first.count(), await second.count()) == (0, 0)
        bench.transport.drain(bench.out, 1)
        assert (await first.count(), await second.count()) == (1, 1)
        bench.out.put(b"more")
        bench.out.notify_when_empty(second.waiter)
        bench.out.abort()
        assert (await first.count(), await second.count()) == (1, 2)
        nursery.cancel_scope.cancel()


async def test_who_is_notified_at_once(autojump_clock: MockClock) -> None:
    """If nothing is pending there is nothing to wait for."""
    bench, waiting = Bench(), Waiting()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.run)
        await wait_all_tasks_blocked()
        bench.out.notify_when_empty(waiting.waiter)
        assert await waiting.count() == 1
        bench.transport.room = 0
        bench.out.put(b"x")
        bench.transport.drain(bench.out, 1)
        assert await waiting.count() == 1
        nursery.cancel_scope.cancel()


async def test_anything_can_be_notified_and_told_not_to_wait() -> None:
    """What is notified need not be a task; whoever has been told to stop notifying does not, and others still are."""
    bench = full()
    woken: list[str] = []
    first, second = Noted("first", woken), Noted("second", woken)
    bench.out.stop_notifying(first)  # nobody waits yet
    bench.out.notify_when_empty(first)
    bench.out.notify_when_empty(second)
    bench.out.stop_notifying(first)
    bench.transport.drain(bench.out, 10)
    assert woken == ["second"]


async def test_shared_frames_are_sent_only_if_nothing_waits() -> None:
    """`put_shared` sends several frames in one write and counts them; it never adds to what waits."""
    bench, frame = Bench(limit=1000), bytes(encode_message(b"x" * 10))
    assert bench.out.put_shared(frame * 3, 3)
    assert bench.transport.written == frame * 3
    assert (bench.out.messages, bench.out.bytes_written) == (3, 36)
    bench.transport.room = 5
    assert bench.out.put_shared(frame, 1)
    assert bytes(bench.out.pending) == frame[5:]
    assert bench.told.events == [SendBlocked()]
    assert not bench.out.put_shared(frame, 1)
    assert bench.out.messages == 4
    bench.transport.drain(bench.out, 1000)
    bench.transport.room = 1000
    assert bench.out.put_shared(frame, 1)
    bench.out.begin_closing()
    assert not bench.out.put_shared(frame, 1)
    assert bench.transport.written == frame * 5


async def test_a_shared_frame_finds_the_transport_broken() -> None:
    """A transport that has failed is no exception here: nothing is sent, and the buffer knows."""
    bench = Bench()
    bench.transport.broken = True
    assert not bench.out.put_shared(bytes(encode_message(b"x")), 1)
    assert bench.out.broken
    assert not bench.out.put_shared(bytes(encode_message(b"x")), 1)


@pytest.mark.parametrize("size", [100, 200, 0xFFFF, 0x10000, 100_000, LONG_FROM])
async def test_a_shared_frame_is_compressed_for_each_connection(size: int) -> None:
    """Where compression was agreed on, what is shared is compressed as any message is, from the same size on."""
    plain = b"x" * size
    frame = encode_message(plain)
    for threshold, is_compressed in ((0, True), (size, True), (size + 1, False)):
        bench = Bench()
        bench.out.deflater = Deflater(bits=15, takeover=True, config=Deflate(threshold=threshold))
        assert bench.out.put_shared(frame if threshold == size else bytes(frame), 1)
        written = bytes(bench.transport.written)
        if is_compressed:
            assert (written[0], written[1]) == (0xC2, len(written) - 2 if len(written) < 128 else 126)
            packed = written[2 if len(written) < 128 else 4 :]
            assert zlib.decompressobj(wbits=-15).decompress(packed + b"\x00\x00\xff\xff") == plain
        else:
            assert written == bytes(frame)


async def test_the_flush_waits_for_the_last_byte(autojump_clock: MockClock) -> None:
    """`wait_empty` returns when the transport has taken everything, and not before."""
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
