"""`MessageChannel`: by hand, without any real transport; then over each kind of transport."""

from __future__ import annotations

import math
import random
import zlib
from sys import getsizeof
from typing import cast

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.compression import Deflate
from seawall.limits import Limits
from seawall.wire.channel import BYTES_PER_TURN, EARLY_SIZE, FRAMES_PER_TURN
from seawall.wire.events import PeerClosed, PeerVanished
from seawall.wire.frames.decoder import MAX_PIECES
from seawall.wire.frames.deflate import negotiate
from seawall.wire.frames.encoder import LONG_FROM, encode_message
from seawall.wire.keepalive import ping
from seawall.wire.state import Reading
from seawall.wire.traffic import Traffic
from seawall.wire.transport.base import LARGE_READ_SIZE, MAX_READ_SIZE, PACE, READ_SIZE, ReadInterest, Receiver
from tests.kit.channels import ANSWER, LINKS, Alone, Bench, Hand, alone, bench, masked, opened, until
from tests.kit.memory import BROKEN, close, text
from tests.kit.wire import BINARY, CLOSE, PING, PONG, TEXT, frame, frames

#: Room for four messages of 1,000 bytes, give or take, before the hard mark.
HARD = Limits(max_message_size=1000, inbound_buffer=4000, outbound_buffer=1000)

#: Room for four messages before the soft mark.
SOFT = Limits(inbound_queue=4, outbound_buffer=1000)


@pytest.fixture(params=LINKS)
def over(request: pytest.FixtureRequest) -> str:
    """Each kind of transport."""
    return cast("str", request.param)


# By hand: what the channel wants, and what it makes of what it gets.


async def test_before_the_upgrade_early_data_are_bounded() -> None:
    """Until the 101 at most `EARLY_SIZE` bytes are asked for, down to the last one, and none is looked at."""
    made = await alone(closed=True)
    while made.wants(ReadInterest.READ):
        size = made.channel.read_size
        assert 0 < size <= READ_SIZE
        made.feed(bytes(min(size, 10_000)))
        assert made.channel.inbound.bytes <= EARLY_SIZE
    assert made.wants(ReadInterest.PAUSED)
    assert made.channel.inbound.messages == 0
    assert made.channel.inbound.heard_at == -math.inf
    assert not made.ends
    made = await alone(closed=True)
    made.feed(bytes(EARLY_SIZE - 1))
    assert made.channel.read_size == 1


async def test_a_turn_is_bounded() -> None:
    """However many frames have come in one piece, one turn decodes `FRAMES_PER_TURN`; then it is to be called again."""
    made = await alone(Limits(inbound_queue=1000))
    made.feed(text("x") * (2 * FRAMES_PER_TURN + 1))
    for received in (FRAMES_PER_TURN, 2 * FRAMES_PER_TURN):
        assert made.channel.inbound.messages == received
        assert made.wants(ReadInterest.DECODE)
        made.channel.proceed()
    assert made.channel.inbound.messages == 2 * FRAMES_PER_TURN + 1
    assert made.wants(ReadInterest.READ)


async def test_control_frames_and_fragments_count_for_the_turn() -> None:
    """A flood of anything that yields an event ends the turn, not of messages alone."""
    made = await alone()
    made.feed(frame(PONG) * 1000)
    assert made.wants(ReadInterest.DECODE)
    for _ in range(1000 // FRAMES_PER_TURN):
        assert made.wants(ReadInterest.DECODE)
        made.channel.proceed()
    assert made.wants(ReadInterest.READ)


async def test_large_messages_fill_a_turn() -> None:
    """So do bytes: a turn ends with the message that is more than `BYTES_PER_TURN`."""
    made = await alone()
    size = BYTES_PER_TURN // 2
    made.feed(frame(BINARY, bytes(size)) * 7)
    for received in (3, 6):
        assert made.channel.inbound.messages == received
        assert made.wants(ReadInterest.DECODE)
        made.channel.proceed()
    assert made.wants(ReadInterest.READ)
    assert made.channel.inbound.messages == 7


async def test_the_last_large_message_ends_no_turn() -> None:
    """Behind a message that fills a turn, if nothing has come, the channel reads on without a turn for nothing."""
    made = await alone()
    large, more = frame(BINARY, bytes(BYTES_PER_TURN + 1)), frame(TEXT, b"more")
    made.feed(large)
    assert made.wants(ReadInterest.READ)
    made.feed(large[:-1])
    made.feed(large[-1:])
    assert made.wants(ReadInterest.READ)
    made.feed(large + more[:1])
    assert made.wants(ReadInterest.DECODE)
    made.channel.proceed()
    assert made.wants(ReadInterest.READ)
    made.feed(more[1:])
    assert made.channel.inbound.messages == 4


async def test_pieces_fill_a_turn() -> None:
    """A message of many pieces is no more than as many messages: its turn ends in the middle of it."""
    made = await alone()
    pieces = 5 * MAX_PIECES
    made.feed(frame(TEXT, b"x", fin=False) + frame(0, b"x", fin=False) * (pieces - 2) + frame(0, b"x"))
    for _ in range(4):
        assert made.channel.inbound.messages == 0
        assert made.wants(ReadInterest.DECODE)
        made.channel.proceed()
    made.channel.proceed()
    assert made.wants(ReadInterest.READ)
    assert await made.channel.queue.receive() == "x" * pieces


async def test_a_turn_that_is_just_full() -> None:
    """Exactly one turn's worth may leave a turn to come, which finds nothing."""
    made = await alone(Limits(inbound_queue=1000))
    made.feed(text("x") * FRAMES_PER_TURN)
    made.channel.proceed()
    assert made.wants(ReadInterest.READ)
    assert made.channel.inbound.messages == FRAMES_PER_TURN


async def test_reads_are_largest_inside_a_large_frame() -> None:
    """A frame that is much larger than one read is read in the largest pieces, its end in large ones."""
    made = await alone()
    assert made.channel.read_size == READ_SIZE
    whole = frame(TEXT, b"x" * 1_000_000)
    made.feed(whole[:100])
    assert made.channel.read_size == MAX_READ_SIZE
    made.feed(whole[100:-LARGE_READ_SIZE])
    assert made.channel.read_size == LARGE_READ_SIZE
    made.feed(whole[-LARGE_READ_SIZE:])
    assert made.channel.inbound.messages == 1
    assert made.channel.read_size == READ_SIZE


async def test_reads_are_large_in_a_large_message() -> None:
    """A message larger than one read, in one frame or in many, is read in large pieces until it is all there."""
    for whole in (
        frame(TEXT, b"x" * (READ_SIZE + 1)),
        frame(TEXT, b"x" * 10_000, fin=False) + frame(0, b"x" * 10_000, fin=False) + frame(0, b"x"),
    ):
        made = await alone()
        made.feed(whole[:READ_SIZE])
        assert made.channel.read_size == LARGE_READ_SIZE
        made.feed(whole[READ_SIZE:])
        assert made.channel.inbound.messages == 1
        assert made.channel.read_size == READ_SIZE


async def test_reads_are_small_in_a_flood_of_small_messages() -> None:
    """That a small message was cut by the end of a read, or a read was full, is no sign of a large one."""
    made = await alone(Limits(inbound_queue=1000))
    made.feed((text("x" * 1000) * 17)[:READ_SIZE])
    assert made.channel.inbound.messages == 16
    assert made.channel.read_size == READ_SIZE


async def test_above_the_soft_mark_what_came_is_held_raw() -> None:
    """Above the soft mark nothing more is decoded and nothing read; once there is room, in order, on it goes."""
    made = await alone(SOFT)
    made.feed(b"".join(text(str(number)) for number in range(7)))
    assert made.channel.inbound.messages == 4
    assert made.wants(ReadInterest.THROTTLED)
    assert await made.channel.queue.receive() == "0"
    assert made.wants(ReadInterest.THROTTLED)  # a little room is none yet
    updates = made.transport.updates
    assert await made.channel.queue.receive() == "1"
    assert made.transport.updates == updates + 1
    assert made.wants(ReadInterest.DECODE)
    made.channel.proceed()
    assert made.channel.inbound.messages == 6
    assert made.wants(ReadInterest.THROTTLED)
    assert [await made.channel.queue.receive() for _ in range(2)] == ["2", "3"]
    made.channel.proceed()
    assert made.wants(ReadInterest.READ)
    assert [await made.channel.queue.receive() for _ in range(3)] == ["4", "5", "6"]


async def test_a_look_takes_in_what_there_is() -> None:
    """During a probe messages are taken in above the soft mark as well, and after it no longer."""
    made = await alone(SOFT)
    made.feed(text("x") * 6 + frame(PING, b"!"))
    assert made.wants(ReadInterest.THROTTLED)
    made.transport.probing = True
    assert made.wants(ReadInterest.DECODE)
    made.channel.proceed()
    assert made.channel.inbound.messages == 6
    assert made.wants(ReadInterest.READ)
    assert await made.control_stream.receive_some() == masked(PING, b"!")
    made.feed(text("y") * 3)
    assert made.channel.inbound.messages == 9
    made.transport.probing = False
    assert made.wants(ReadInterest.THROTTLED)


async def test_a_look_ends_at_the_hard_mark() -> None:
    """However much there is, a probe takes in no more than memory allows."""
    made = await alone(Limits(max_message_size=1000, inbound_buffer=4000, inbound_queue=1))
    made.transport.probing = True
    made.feed(frame(TEXT, b"x" * 1000) * 10)
    assert made.channel.inbound.messages == 4
    assert made.wants(ReadInterest.PAUSED)


async def test_above_the_hard_mark_nothing_is_read() -> None:
    """Memory is the hard mark: above it there is only watching, probe or not, until half of it is free again."""
    made = await alone(HARD)
    made.feed(b"".join(frame(TEXT, b"%d" % number * 1000) for number in range(7)))
    assert made.channel.inbound.messages == 4  # each takes a little over 1,000, so the fourth is one too many
    assert made.wants(ReadInterest.PAUSED)
    made.transport.probing = True
    assert made.wants(ReadInterest.PAUSED)
    made.transport.probing = False
    await made.channel.queue.receive()
    assert made.wants(ReadInterest.THROTTLED)  # below the mark itself, pings may be looked for
    await made.channel.queue.receive()
    assert made.wants(ReadInterest.THROTTLED)
    await made.channel.queue.receive()
    assert made.wants(ReadInterest.DECODE)


async def test_empty_messages_are_not_free() -> None:
    """Empty messages fill the memory as well."""
    made = await alone(Limits(max_message_size=1000, inbound_buffer=4000, inbound_queue=1000))
    made.feed(frame(TEXT) * 200)
    while made.wants(ReadInterest.DECODE):
        made.channel.proceed()
    assert made.channel.inbound.messages == -(-4000 // getsizeof(""))
    assert made.wants(ReadInterest.PAUSED)


async def test_dropping_takes_everything_in() -> None:
    """Whoever throws messages away is never behind: the channel reads on, and looks at what it held."""
    made = await alone(HARD)
    made.feed(frame(TEXT, b"x" * 1000) * 7)
    assert made.wants(ReadInterest.PAUSED)
    updates = made.transport.updates
    made.channel.queue.discard()
    assert made.transport.updates > updates
    assert made.wants(ReadInterest.DECODE)
    made.channel.proceed()
    assert made.wants(ReadInterest.READ)
    assert made.channel.inbound.messages == 7


async def test_after_the_end_nothing_is_wanted() -> None:
    """A Close, a violation and an end each make the rest meaningless, whatever state the channel was in."""
    for data in (close(1000) + text("late") * 200, BROKEN + text("late") * 200, b""):
        for limits in (Limits(), SOFT, HARD):
            made = await alone(limits)
            made.feed(text("x") * 3)
            made.feed(data)
            assert made.wants(ReadInterest.NOTHING)
            assert made.channel.inbound.messages == 3
            assert len(made.ends) == 1
            assert made.is_at(Reading.FINISHED) == (not data)


async def test_messages_before_the_end_of_the_stream() -> None:
    """What was taken in before the end is received, and then there is no more."""
    made = await alone()
    made.feed(text("last") + frame(TEXT, b"torn")[:-1])
    made.feed(b"")
    assert made.ends == [PeerVanished()]
    assert await made.channel.queue.receive() == "last"
    with pytest.raises(trio.EndOfChannel):
        await made.channel.queue.receive()


async def test_when_something_came(autojump_clock: MockClock) -> None:
    """Any byte is heard, also of a frame that is not whole; only messages count as messages."""
    made = await alone()
    whole = text("x")
    for moment, data, message_at in (
        (1, frame(PING), -math.inf),
        (2, whole[:3], -math.inf),
        (3, whole[3:], 3),
        (4, frame(PONG), 3),
    ):
        await trio.sleep(1)
        made.feed(data)
        assert made.channel.inbound.heard_at == moment
        assert made.channel.inbound.message_at == message_at
    made.feed(text("x") * 2 * FRAMES_PER_TURN)
    await trio.sleep(10)
    made.channel.proceed()
    assert made.channel.inbound.message_at == 4  # it had come, though nobody had looked


async def test_asking_the_peer() -> None:
    """A Ping goes out like any frame, unless the peer is so far behind that it could not get it in time."""
    made = await alone(Limits(outbound_buffer=10))
    ping(made.channel.send_buffer)
    assert frames(made.transport.written) == [(PING, b"")]
    made.transport.room = 0
    made.channel.send_buffer.put_message_nowait(encode_message(b"xxx"))
    ping(made.channel.send_buffer)
    made.channel.send_buffer.put_message_nowait(encode_message(b"y"))
    ping(made.channel.send_buffer)
    made.transport.drain(made.channel.send_buffer, 100)
    assert [found.opcode for found in frames(made.transport.written)] == [PING, 2, PING, 2]
    made.channel.abort()
    ping(made.channel.send_buffer)
    assert len(frames(made.transport.written)) == 4


async def test_asking_a_peer_that_has_just_gone() -> None:
    """A Ping that finds the connection broken raises nothing: the reader finds out too, and says so."""
    made = await alone()
    made.transport.broken = True
    ping(made.channel.send_buffer)
    assert made.channel.send_buffer.broken


async def test_somebody_is_told_when_something_waits(autojump_clock: MockClock) -> None:
    """`SendBlocked` is told when the transport does not take everything, and not when it does."""
    made = await alone()
    await made.channel.send("x" * 10)
    assert not made.blocked
    made.transport.room = 5
    await made.channel.send("x" * 10)
    assert made.blocked == [7]
    updates = made.transport.updates
    made.transport.drain(made.channel.send_buffer, 100)
    assert made.blocked == [7]
    assert made.transport.updates == updates + 1  # it need not wait for room any longer


async def test_lingering_discards() -> None:
    """Whatever still comes is thrown away unread, also after a Close or a violation, until there is an end."""
    for last in (b"", close(1000), BROKEN):
        made = await alone()
        if last:
            made.feed(last)
        await made.channel.linger()
        assert made.transport.lingers == 1
        assert made.wants(ReadInterest.READ)
        received, ends = made.channel.inbound.messages, len(made.ends)
        for data in (text("late"), frame(PING), BROKEN, b"\xff" * 1000):
            made.feed(data)
        assert made.wants(ReadInterest.READ)
        assert (made.channel.inbound.messages, len(made.ends)) == (received, ends)
        assert made.channel.read_size == MAX_READ_SIZE
        made.feed(b"")
        assert made.wants(ReadInterest.NOTHING)
        assert made.is_at(Reading.FINISHED)


async def test_no_lingering_after_the_end() -> None:
    """A peer that has finished need not be waited for."""
    made = await alone()
    made.feed(b"")
    await made.channel.linger()
    assert not made.transport.lingers


async def test_giving_up() -> None:
    """`abort` lets go of the stream, and may come again."""
    made = await alone()
    for closed in (1, 2):
        made.channel.abort()
        assert made.transport.closed == closed
        assert made.channel.send_buffer.broken
        assert not made.ends


async def test_a_fault_nobody_foresaw() -> None:
    """A fault of the transport ends the reading; the peer can still be told."""
    made = await alone()
    fault = ZeroDivisionError()
    made.channel.fail(fault)
    assert made.ends == [fault]
    assert made.channel.read_interest is ReadInterest.NOTHING
    assert not made.channel.send_buffer.broken
    assert await made.control_stream.receive_some() == b""
    with pytest.raises(trio.EndOfChannel):
        await made.channel.queue.receive()


async def test_what_has_gone_through() -> None:
    """`traffic` counts both ways, early data and what is thrown away too; it is a value that does not change."""
    made = await alone(closed=True)
    before = made.channel.traffic()
    assert before == Traffic()
    said = [text("early"), text("x") + frame(PING), text("y"), text("z")]
    made.feed(said[0])
    made.channel.accept(ANSWER)
    made.feed(said[1])
    made.channel.queue.discard()
    made.feed(said[2])
    await made.channel.send("!")
    made.transport.room = 2
    made.channel.send_buffer.put_message_nowait(encode_message("waits"))
    await made.channel.linger()
    made.feed(said[3])
    assert made.channel.traffic() == Traffic(
        messages_in=3, messages_out=2, bytes_in=len(b"".join(said)), bytes_out=len(ANSWER) + len(b"\x81\x01!") + 2
    )
    assert before == Traffic()


async def test_the_transport_is_started_when_everything_is_there() -> None:
    """Once, by the constructor, with a channel that may be used at once."""
    used: list[ReadInterest] = []

    def begin(channel: Receiver) -> None:
        channel.feed(text("early"), 0.0)
        used.append(channel.read_interest)

    made = Alone(transport=Hand(on_start=begin))
    assert made.transport.started == 1
    assert used == [ReadInterest.READ]
    made.channel.accept(ANSWER)
    assert await made.channel.queue.receive() == "early"


async def test_nobody_is_told_after_the_end_of_it_all() -> None:
    """`abort` lets go of the listener, for it holds what holds the channel."""
    made = await alone()
    made.channel.abort()
    made.channel.fail(ZeroDivisionError())
    made.channel.lose()
    assert not made.ends
    assert made.is_at(Reading.FINISHED)


async def test_data_that_come_too_late() -> None:
    """What a transport reads once nothing matters any more is counted and has no effect, whatever is in it."""
    for last in (close(1000), BROKEN, b"", None):
        made = await alone()
        if last is None:
            made.channel.fail(ZeroDivisionError())
        else:
            made.feed(last)
        before, ends = made.channel.traffic(), list(made.ends)
        late = text("late") + close(1000) + BROKEN
        made.feed(late)
        assert made.channel.traffic() == evolve(before, bytes_in=before.bytes_in + len(late))
        assert made.ends == ends
        assert made.wants(ReadInterest.NOTHING)


async def test_an_upgrade_of_who_has_gone() -> None:
    """It is sent for nobody, and changes nothing: what came early is not looked at any more."""
    for end in (b"", None):
        made = await alone(closed=True)
        made.feed(text("early"))
        if end is None:
            made.channel.lose()
        else:
            made.feed(end)
        made.channel.accept(ANSWER)
        assert made.channel.accepted
        assert made.wants(ReadInterest.NOTHING)
        assert made.channel.inbound.messages == 0
        assert made.ends == [PeerVanished(reset=end is None)]


# Over each kind of transport.


async def test_a_client_that_waits_is_not_read_before_it_is_let_in(over: str, autojump_clock: MockClock) -> None:
    """Until the 101 nothing that came early is looked at, and a ping that came early is answered after it."""
    async with bench(over) as made:
        made.feed(text("one") + frame(PING, b"a"))
        made.nursery.start_soon(made.read)
        await made.peer.say(text("two"))
        await wait_all_tasks_blocked()
        assert not made.controls
        assert made.channel.inbound.messages == 0
        await made.control_stream.send_all(ANSWER)
        assert await made.receive_all() == ["one", "two"]
        assert made.controls == [masked(PING, b"a")]


async def test_early_data_stay_outside(over: str, autojump_clock: MockClock) -> None:
    """Before the upgrade at most `EARLY_SIZE` bytes are taken from the socket; the rest comes after it, in order."""
    first = b"".join(text(f"{number:0900}") for number in range(17))
    later = [b"".join(text(f"{number:0900}") for number in range(start, start + 17)) for start in range(17, 136, 17)]
    async with bench(over, Limits(inbound_buffer=1 << 24, inbound_queue=1000)) as made:
        made.feed(first)
        made.nursery.start_soon(made.read)
        for data in later:
            await made.peer.say(data)
        await wait_all_tasks_blocked()
        assert made.taken(sum(map(len, later))) + len(first) == EARLY_SIZE
        await made.control_stream.send_all(ANSWER)
        received = await made.receive_all()
        assert [int(message) for message in received] == list(range(136))
        assert not made.ends


async def test_a_violation_among_early_data(over: str, autojump_clock: MockClock) -> None:
    """What came before an early violation counts; what came after it does not."""
    async with bench(over) as made:
        made.feed(text("one") + frame(PING, b"a") + text("two") + BROKEN + text("three"))
        await made.open()
        assert await made.receive_all() == ["one", "two"]
        assert [str(end) for end in made.ends] == ["1002 reserved bits set"]
        await made.peer.say(text("four"))
        assert await made.receive_all() == []
        assert made.controls == [masked(PING, b"a")]


async def test_an_early_close(over: str, autojump_clock: MockClock) -> None:
    """A Close that comes with the handshake is seen as soon as the upgrade is accepted."""
    async with bench(over) as made:
        made.feed(text("one") + close(4001))
        await made.open()
        assert await made.receive_all() == ["one"]
        assert made.controls == [masked(CLOSE, b"\x0f\xa1")]
        assert made.ends == [PeerClosed(4001, "")]


async def test_a_client_that_leaves_before_it_is_let_in(over: str, autojump_clock: MockClock) -> None:
    """The end of the stream is noticed before the upgrade, too."""
    async with bench(over) as made:
        made.nursery.start_soon(made.read)
        await wait_all_tasks_blocked()
        await made.peer.stream.aclose()
        await wait_all_tasks_blocked()
        assert made.ends == [PeerVanished()]
        assert made.is_at(Reading.FINISHED)
        assert made.has_left()


async def test_the_stream_ends(over: str, autojump_clock: MockClock) -> None:
    """The peer has vanished then, what it had sent is still received, and we can still write."""
    async with opened(over) as made:
        await made.peer.say(text("last"), frame(TEXT, b"torn")[:-1])
        await made.finish()
        await wait_all_tasks_blocked()
        assert made.ends == [PeerVanished()]
        assert await made.channel.queue.receive() == "last"
        with pytest.raises(trio.EndOfChannel):
            await made.channel.queue.receive()
        assert made.has_left()
        await made.channel.send("into the void")
        assert await made.peer.message() == "into the void"


async def test_a_stream_that_ends_while_somebody_waits(over: str, autojump_clock: MockClock) -> None:
    """Who waits for a message learns that there will be none."""
    async with opened(over) as made, trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.EndOfChannel):
                await made.channel.queue.receive()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await made.finish()


@pytest.mark.parametrize("seed", range(4))
async def test_a_cancelled_receive_loses_no_message(seed: int, over: str, autojump_clock: MockClock) -> None:
    """Messages arrive once each and in order, however often receiving is cancelled."""
    chance = random.Random(seed)
    async with opened(over, Limits(inbound_queue=chance.choice([1, 5, 64]))) as made:

        async def speak() -> None:
            for number in range(60):
                await made.peer.say(text(str(number)))
                if chance.random() < 0.5:
                    await trio.sleep(chance.choice([0, 0.1, 0.2]))

        made.nursery.start_soon(speak)
        received: list[str | bytes] = []
        while len(received) < 60:
            with trio.move_on_after(chance.choice([0, 0.05, 0.1])):
                received.append(await made.channel.queue.receive())
        assert received == [str(number) for number in range(60)]


@pytest.mark.parametrize("seed", range(4))
async def test_messages_stay_in_order(seed: int, over: str, autojump_clock: MockClock) -> None:
    """Whatever marks are reached, and however the stream is cut, messages and pings come once each and in order."""
    chance = random.Random(seed)
    limits = Limits(
        max_message_size=1000, inbound_queue=chance.choice([1, 3, 100]), inbound_buffer=chance.choice([1000, 5000])
    )
    numbers = range(300)
    said = b"".join(text(f"{number:0{chance.choice([1, 50, 900])}}") for number in numbers) + close(1000)

    async def speak(made: Bench) -> None:
        at = 0
        while at < len(said):
            size = chance.choice([1, 7, 2000, 30_000])
            await made.peer.say(said[at : at + size])
            at += size
            if chance.random() < 0.1:
                await trio.sleep(chance.choice([0, 0.3, 1]))

    async with opened(over, limits) as made:
        made.nursery.start_soon(speak, made)
        received: list[str | bytes] = []
        while len(received) < len(numbers):
            received.append(await made.channel.queue.receive())
            if chance.random() < 0.1:
                await trio.sleep(chance.choice([0, 0.3, 3]))
        with pytest.raises(trio.EndOfChannel):
            await made.channel.queue.receive()
        assert [int(message) for message in received] == list(numbers)
        assert made.ends == [PeerClosed(1000, "")]


async def test_no_more_messages(over: str, autojump_clock: MockClock) -> None:
    """After `ReceiveQueue.end` what is queued is delivered and then there is an end; the peer is still read."""
    async with opened(over) as made:
        await made.peer.say(text("one"))
        await wait_all_tasks_blocked()
        made.channel.queue.end()
        await made.peer.say(text("two"), frame(PING, b"a"))
        assert await made.channel.queue.receive() == "one"
        with pytest.raises(trio.EndOfChannel):
            await made.channel.queue.receive()
        await wait_all_tasks_blocked()
        assert made.controls == [masked(PING, b"a")]


async def test_dropped_messages(over: str, autojump_clock: MockClock) -> None:
    """Clearing the queue throws away what is queued, and only that."""
    async with opened(over) as made:
        await made.peer.say(text("one"))
        await wait_all_tasks_blocked()
        made.channel.queue.clear()
        await made.peer.say(text("two"))
        assert await made.channel.queue.receive() == "two"


# Backpressure, over each kind of transport.


async def fill(made: Bench, count: int, size: int = 1000) -> None:
    """Send messages, each in a segment of its own, and give them time to be read."""
    for _ in range(count):
        await made.peer.say(frame(TEXT, b"x" * size))
        await wait_all_tasks_blocked()


async def test_above_the_soft_mark_the_socket_is_left_alone(over: str, autojump_clock: MockClock) -> None:
    """Between two probes nothing is read, and when there is room it goes on at once."""
    async with opened(over, SOFT) as made:
        await fill(made, 4)
        assert made.wants(ReadInterest.THROTTLED)
        await fill(made, 3)
        assert made.channel.inbound.messages == 4
        start = trio.current_time()
        for _ in range(2):
            await made.channel.queue.receive()
        await wait_all_tasks_blocked()
        assert made.channel.inbound.messages > 4
        assert trio.current_time() == start


@pytest.mark.parametrize("what", ["ping", "close", "violation", "end"])
async def test_above_the_soft_mark_control_frames_are_seen(what: str, over: str, autojump_clock: MockClock) -> None:
    """While the handler is behind there are two probes a second; the end of the stream is seen as well."""
    async with opened(over, SOFT) as made:
        await fill(made, 4)
        start = trio.current_time()
        said = {"ping": frame(PING, b"!"), "close": close(4000), "violation": BROKEN, "end": b""}[what]
        await made.peer.say(said)
        if what == "end":
            await made.finish()
        await until(lambda: bool(made.controls or made.ends), step=0.01)
        assert trio.current_time() - start <= PACE + 0.05
        assert made.channel.inbound.messages == 4


async def test_a_look_is_whole(over: str, autojump_clock: MockClock) -> None:
    """One probe finds a ping behind messages, which came together with it."""
    async with opened(over, SOFT) as made:
        await fill(made, 4)
        start = trio.current_time()
        await made.peer.say(text("x") * 3, frame(PING, b"!"))
        await until(lambda: bool(made.controls), step=0.01)
        assert trio.current_time() - start <= PACE + 0.05


@pytest.mark.parametrize(
    "over",
    [
        "polled",
        "streamed",
        "watched",
    ],
)
async def test_a_look_takes_several_turns(over: str, autojump_clock: MockClock) -> None:
    """One probe finds a ping behind more messages than one turn decodes."""
    async with opened(over, SOFT) as made:
        await fill(made, 4)
        start = trio.current_time()
        await made.peer.say(text("x") * 3 * FRAMES_PER_TURN, frame(PING, b"!"))
        await until(lambda: bool(made.controls), step=0.01)
        assert trio.current_time() - start <= PACE + 0.05


async def test_a_look_takes_several_reads(over: str, autojump_clock: MockClock) -> None:
    """One probe finds a ping behind more bytes than are read at once."""
    async with opened(over, SOFT) as made:
        await fill(made, 4)
        start = trio.current_time()
        await made.peer.say(text("x" * 10_000) * 5, frame(PING, b"!"))
        await until(lambda: bool(made.controls), step=0.01)
        assert trio.current_time() - start <= PACE + 0.05


async def test_looks_begin_with_the_upgrade(over: str, autojump_clock: MockClock) -> None:
    """The peer of a handler that is behind from the start, because of early data, is probed as well."""
    async with bench(over, SOFT) as made:
        made.feed(text("early") * 4)
        await wait_all_tasks_blocked()  # whoever polls waits for something to happen
        await made.control_stream.send_all(ANSWER)
        assert made.wants(ReadInterest.THROTTLED)
        made.nursery.start_soon(made.read)
        start = trio.current_time()
        await made.peer.say(frame(PING, b"!"))
        await until(lambda: bool(made.controls), step=0.01)
        assert trio.current_time() - start <= PACE + 0.05


async def test_a_look_ends(autojump_clock: MockClock) -> None:
    """After a probe that took in what there was, the socket is left alone again until the next one."""
    async with opened("polled", SOFT) as made:
        await fill(made, 4)
        await made.peer.say(text("x"))
        await trio.sleep(PACE + 0.1)
        assert made.channel.inbound.messages == 5
        assert made.wants(ReadInterest.THROTTLED)
        await made.peer.say(text("y"))
        await wait_all_tasks_blocked()
        assert made.channel.inbound.messages == 5
        await trio.sleep(PACE + 0.1)
        assert made.channel.inbound.messages == 6


@pytest.mark.parametrize(
    "over",
    ["polled", "streamed", "watched"],
)
async def test_looks_go_on_while_the_handler_sends(over: str, autojump_clock: MockClock) -> None:
    """A handler that sends and does not receive does not put the probes off."""
    async with opened(over, SOFT) as made:
        await fill(made, 4)
        start = trio.current_time()
        await made.peer.say(frame(PING, b"!"))
        while not made.controls:
            await made.channel.send("x")
            await trio.sleep(0.1)
            assert trio.current_time() - start <= 1


async def test_reading_stops_at_the_hard_mark_and_resumes_at_half(over: str, autojump_clock: MockClock) -> None:
    """Above ``inbound_buffer`` the socket is not read at all; below half of it, it is again, at once."""
    async with opened(over, HARD) as made:
        await fill(made, 20)
        await trio.sleep(10)
        assert made.channel.inbound.messages == 4
        assert made.wants(ReadInterest.PAUSED)
        start = trio.current_time()
        await made.peer.say(frame(PING, b"a"))
        for _ in range(3):
            await made.channel.queue.receive()
        await wait_all_tasks_blocked()
        assert made.channel.inbound.messages > 4
        assert trio.current_time() == start
        await trio.sleep(10)
        while made.channel.inbound.messages < 20:
            await made.receive_all()
        assert made.controls == [masked(PING, b"a")]


async def test_discarded_input_never_fills_the_queue(over: str, autojump_clock: MockClock) -> None:
    """`discard_input` throws away what is queued and what comes, so the peer is always read; and it wakes a reader."""
    async with opened(over, HARD) as made:
        await fill(made, 6)
        assert made.channel.inbound.messages == 4
        made.channel.queue.discard()
        await fill(made, 100)
        assert made.channel.inbound.messages == 106
        assert await made.receive_all() == []
        await made.peer.say(close(1000))
        await wait_all_tasks_blocked()
        assert made.ends == [PeerClosed(1000, "")]


@pytest.mark.parametrize("limits", [SOFT, HARD], ids=["soft", "hard"])
@pytest.mark.parametrize("what", ["stop", "abort"])
async def test_a_paused_reader_goes_on_when_the_connection_ends(
    what: str, limits: Limits, over: str, autojump_clock: MockClock
) -> None:
    """A reader that waits for room finds out that there is no need for it any more."""
    async with opened(over, limits) as made:
        await fill(made, 6)
        if what == "stop":
            made.channel.queue.end()
            await made.peer.say(close(1000))
            await wait_all_tasks_blocked()
            assert made.ends == [PeerClosed(1000, "")]
        else:
            made.channel.abort()
            await wait_all_tasks_blocked()
            assert made.has_left()


# Sending, and giving up, over each kind of transport.


async def test_messages_and_control_frames_share_the_way_out(over: str, autojump_clock: MockClock) -> None:
    """Messages, pongs and the Close leave in the order in which they were handed over, and messages are counted."""
    async with opened(over) as made:
        await made.channel.send("one")
        await made.control_stream.send_all(b"\x8a\x01!")
        made.channel.send_buffer.put_message_nowait(encode_message(b"two"))
        await made.control_stream.send_all(bytearray(b"\x88\x02\x03\xe8"))
        with pytest.raises(trio.ClosedResourceError):
            await made.channel.send("three")
        with pytest.raises(trio.ClosedResourceError):
            made.channel.send_buffer.put_message_nowait(encode_message("three"))
        await made.channel.send_buffer.wait_empty()
        assert [found.opcode for found in await made.heard()] == [TEXT, PONG, 2, CLOSE]
        assert made.channel.send_buffer.messages == 2


@pytest.mark.parametrize("seed", range(4))
async def test_frames_stay_whole(seed: int, over: str, autojump_clock: MockClock) -> None:
    """Senders that are cancelled at any moment, and a peer that reads now and then: only whole frames, in order."""
    chance = random.Random(seed)
    done: list[str] = []

    async def sender(made: Bench, name: int) -> None:
        for count in range(10):
            message = f"{name}.{count}." + "x" * chance.choice([0, 10, 3000, 70_000, LONG_FROM])
            with trio.move_on_after(chance.choice([0, 0.1, 1, 100])):
                await made.channel.send(message)
                done.append(message)

    async with opened(over, Limits(outbound_buffer=chance.choice([1, 5000, 200_000]))) as made:
        async with trio.open_nursery() as senders:
            found: list[str] = []
            for name in range(5):
                senders.start_soon(sender, made, name)
            while senders.child_tasks or made.channel.send_buffer.pending or len(found) < len(done):
                await trio.sleep(chance.choice([0, 0.05, 0.5]))
                found += [one.payload.decode() for one in await made.heard()]
        assert found == done
        assert 0 < len(done) < 50


async def test_a_flush_waits_for_the_operating_system(over: str, autojump_clock: MockClock) -> None:
    """`flush` returns when everything has been handed over, and not before."""
    async with opened(over) as made:
        await made.channel.send_buffer.wait_empty()
        await made.block()
        flushed = trio.Event()

        async def flush() -> None:
            await made.channel.send_buffer.wait_empty()
            flushed.set()

        made.nursery.start_soon(flush)
        await trio.sleep(10)
        assert not flushed.is_set()
        made.wire.flow()
        await made.heard()
        assert flushed.is_set()


@pytest.mark.parametrize("last", [b"", close(1000), BROKEN], ids=["open", "closed", "violated"])
async def test_lingering(last: bytes, over: str, autojump_clock: MockClock) -> None:
    """The peer reads the end of the stream, may say what it likes, and is waited for until it finishes as well."""
    async with opened(over) as made:
        if last:
            await made.peer.say(last)
        await wait_all_tasks_blocked()
        made.control_stream.put_close(b"\x88\x02\x03\xe8")
        await made.control_stream.aclose()
        await wait_all_tasks_blocked()
        lingered: list[float] = []

        async def linger() -> None:
            await made.channel.linger()
            lingered.append(trio.current_time())

        made.nursery.start_soon(linger)
        assert await made.peer.closing() == (1000, "")
        assert await made.peer.frame() is None
        received = made.channel.inbound.messages
        for _ in range(3):
            await made.peer.say(text("late") * 10_000, BROKEN)
            await trio.sleep(0.3)
        assert not lingered
        start = trio.current_time()
        await made.finish()
        await wait_all_tasks_blocked()
        assert lingered == [start]
        assert made.channel.inbound.messages == received


async def test_lingering_for_who_has_gone(over: str, autojump_clock: MockClock) -> None:
    """A peer that is not there any more is not waited for."""
    async with opened(over) as made:
        await made.control_stream.aclose()
        await made.peer.stream.aclose()
        with trio.fail_after(0.1):
            await made.channel.linger()


async def test_abort_lets_nobody_wait(over: str, autojump_clock: MockClock) -> None:
    """Whoever waits in an aborted channel, for room, for data or for a message, waits no longer."""
    async with opened(over, HARD) as made:
        await made.block()
        woken: list[str] = []

        async def wait(what: str) -> None:
            try:
                if what == "receive":
                    await made.channel.queue.receive()
                elif what == "send":
                    await made.channel.send("y" * 1000)
                elif what == "pong":
                    await made.control_stream.send_all(b"\x8a\x7d" + b"z" * 125)
                elif what == "flush":
                    await made.channel.send_buffer.wait_empty()
                else:
                    await made.control_stream.wait_reader_exited()
            except (trio.EndOfChannel, trio.BrokenResourceError):
                pass
            woken.append(what)

        waits = ["receive", "send", "pong", "flush", "read"]
        for what in waits:
            made.nursery.start_soon(wait, what)
        await wait_all_tasks_blocked()
        assert not woken
        made.channel.abort()
        await wait_all_tasks_blocked()
        assert sorted(woken) == sorted(waits)
        assert not made.ends


async def test_compression(over: str, autojump_clock: MockClock) -> None:
    """What was agreed on holds in both directions, from the first message on, for early data too; not for control."""
    agreement = negotiate(["permessage-deflate"], Deflate(threshold=0))
    assert agreement is not None
    theirs, ours = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)

    def deflated(message: str) -> bytes:
        data = theirs.compress(message.encode()) + theirs.flush(zlib.Z_SYNC_FLUSH)
        whole = bytearray(frame(TEXT, data[:-4]))
        whole[0] |= 0x40
        return bytes(whole)

    async with bench(over, agreement=agreement) as made:
        made.feed(deflated("early" * 100))
        await made.open()
        await made.peer.say(deflated("again" * 100), text("plain"), frame(PING, b"!"))
        assert await made.receive_all() == ["early" * 100, "again" * 100, "plain"]
        assert made.controls == [masked(PING, b"!")]
        await made.channel.send("and back" * 100)
        made.channel.send_buffer.put_message_nowait(encode_message("and back" * 100))
        await made.channel.send_buffer.wait_empty()
        data = await made.peer.stream.receive_some()
        for _ in range(2):
            assert data[0] == 0xC1
            payload, data = data[2 : 2 + data[1]], data[2 + data[1] :]
            assert ours.decompress(payload + b"\x00\x00\xff\xff") == b"and back" * 100
        assert not data
