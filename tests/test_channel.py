"""`MessageChannel`: by hand, without any link; then over each kind of link; then with the real trio-websocket."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from sys import getsizeof
from typing import cast

import pytest
import trio
import trio_websocket
from attrs import define, evolve, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.compression import Deflate
from seawall.errors import ProtocolViolation
from seawall.limits import Limits
from seawall.wire.budget import Budget
from seawall.wire.channel import BYTES_PER_TURN, EARLY_SIZE, FRAMES_PER_TURN, MAX_READ_SIZE, READ_SIZE, MessageChannel
from seawall.wire.control import MAX_PINGS
from seawall.wire.decoder import MAX_PIECES
from seawall.wire.deflate import negotiate
from seawall.wire.events import PeerClosed, PeerVanished, WireEnd
from seawall.wire.head import canonical
from seawall.wire.transport import PACE, ReadInterest
from tests.kit.channels import ANSWER, ASKED, LINKS, Bench, Hand, bench, masked, opened, until
from tests.kit.memory import BROKEN, close, text
from tests.kit.wire import BINARY, CLOSE, PING, PONG, TEXT, frame, frames

#: Room for four messages of 1,000 bytes, give or take, before the hard mark.
HARD = Limits(max_message_size=1000, inbound_buffer=4000, outbound_buffer=1000)

#: Room for four messages before the soft mark.
SOFT = Limits(inbound_queue=4, outbound_buffer=1000)


@pytest.fixture(params=LINKS)
def over(request: pytest.FixtureRequest) -> str:
    """Each kind of link."""
    return cast("str", request.param)


# By hand: what the lane wants, and what it makes of what it gets.


@define(eq=False)
class Alone:
    """A lane on a link that does nothing by itself."""

    limits: Limits = field(factory=Limits)
    transport: Hand = field(factory=Hand)
    ends: list[WireEnd] = field(factory=list[WireEnd])
    channel: MessageChannel = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the lane."""
        self.channel = MessageChannel(lambda channel: self.transport, self.limits, Budget(), on_end=self.ends.append)

    def wants(self, read_interest: ReadInterest) -> bool:
        """Whether this is what the lane wants; a type checker would think that it never changes."""
        return self.channel.read_interest is read_interest

    def feed(self, data: bytes) -> None:
        """Play the link that has read something."""
        self.channel.feed(data, trio.current_time())


async def alone(limits: Limits | None = None, *, closed: bool = False) -> Alone:
    """A lane that is open, unless `closed`."""
    made = Alone(limits or Limits())
    if not closed:
        await made.channel.send_all(ANSWER)
        del made.transport.written[:]
    return made


async def test_before_the_upgrade_early_data_are_bounded() -> None:
    """Until the 101 at most `EARLY_SIZE` bytes are asked for, down to the last one, and none is looked at."""
    made = await alone(closed=True)
    while made.wants(ReadInterest.READ):
        size = made.channel.read_size
        assert 0 < size <= READ_SIZE
        made.feed(bytes(min(size, 10_000)))
    assert made.wants(ReadInterest.PAUSED)
    assert made.channel.received == 0
    assert made.channel.heard_at == -math.inf
    assert not made.ends
    made = await alone(closed=True)
    made.feed(bytes(EARLY_SIZE - 1))
    assert made.channel.read_size == 1


async def test_a_turn_is_bounded() -> None:
    """However many frames have come in one piece, one turn decodes `FRAMES_PER_TURN`; then it is to be called again."""
    made = await alone(Limits(inbound_queue=1000))
    made.feed(text("x") * (2 * FRAMES_PER_TURN + 1))
    for received in (FRAMES_PER_TURN, 2 * FRAMES_PER_TURN):
        assert made.channel.received == received
        assert made.wants(ReadInterest.DECODE)
        made.channel.proceed()
    assert made.channel.received == 2 * FRAMES_PER_TURN + 1
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
        assert made.channel.received == received
        assert made.wants(ReadInterest.DECODE)
        made.channel.proceed()
    assert made.wants(ReadInterest.READ)
    assert made.channel.received == 7


async def test_pieces_fill_a_turn() -> None:
    """A message of many pieces is no more than as many messages: its turn ends in the middle of it."""
    made = await alone()
    pieces = 5 * MAX_PIECES
    made.feed(frame(TEXT, b"x", fin=False) + frame(0, b"x", fin=False) * (pieces - 2) + frame(0, b"x"))
    for _ in range(4):
        assert made.channel.received == 0
        assert made.wants(ReadInterest.DECODE)
        made.channel.proceed()
    made.channel.proceed()
    assert made.wants(ReadInterest.READ)
    assert await made.channel.receive() == "x" * pieces


async def test_a_turn_that_is_just_full() -> None:
    """Exactly one turn's worth may leave a turn to come, which finds nothing."""
    made = await alone(Limits(inbound_queue=1000))
    made.feed(text("x") * FRAMES_PER_TURN)
    made.channel.proceed()
    assert made.wants(ReadInterest.READ)
    assert made.channel.received == FRAMES_PER_TURN


async def test_reads_are_large_only_inside_a_large_frame() -> None:
    """A frame larger than one read is read in large pieces to its end; everything else in small ones."""
    made = await alone()
    assert made.channel.read_size == READ_SIZE
    whole = frame(TEXT, b"x" * 1_000_000)
    made.feed(whole[:100])
    assert made.channel.read_size == MAX_READ_SIZE
    made.feed(whole[100:-READ_SIZE])
    assert made.channel.read_size == READ_SIZE
    made.feed(whole[-READ_SIZE:])
    assert made.channel.received == 1
    assert made.channel.read_size == READ_SIZE


async def test_above_the_soft_mark_what_came_is_held_raw() -> None:
    """Above the soft mark nothing more is decoded and nothing read; once there is room, in order, on it goes."""
    made = await alone(SOFT)
    made.feed(b"".join(text(str(number)) for number in range(7)))
    assert made.channel.received == 4
    assert made.wants(ReadInterest.THROTTLED)
    assert await made.channel.receive() == "0"
    assert made.wants(ReadInterest.THROTTLED)  # a little room is none yet
    updates = made.transport.updates
    assert await made.channel.receive() == "1"
    assert made.transport.updates == updates + 1
    assert made.wants(ReadInterest.DECODE)
    made.channel.proceed()
    assert made.channel.received == 6
    assert made.wants(ReadInterest.THROTTLED)
    assert [await made.channel.receive() for _ in range(2)] == ["2", "3"]
    made.channel.proceed()
    assert made.wants(ReadInterest.READ)
    assert [await made.channel.receive() for _ in range(3)] == ["4", "5", "6"]


async def test_a_look_takes_in_what_there_is() -> None:
    """During a look messages are taken in above the soft mark as well, and after it no longer."""
    made = await alone(SOFT)
    made.feed(text("x") * 6 + frame(PING, b"!"))
    assert made.wants(ReadInterest.THROTTLED)
    made.channel.look()
    assert made.wants(ReadInterest.DECODE)
    made.channel.proceed()
    assert made.channel.received == 6
    assert made.wants(ReadInterest.READ)
    assert await made.channel.receive_some() == masked(PING, b"!")
    made.feed(text("y") * 3)
    assert made.channel.received == 9
    made.channel.looking = False
    assert made.wants(ReadInterest.THROTTLED)


async def test_a_look_ends_at_the_hard_mark() -> None:
    """However much there is, a look takes in no more than memory allows."""
    made = await alone(Limits(max_message_size=1000, inbound_buffer=4000, inbound_queue=1))
    made.channel.look()
    made.feed(frame(TEXT, b"x" * 1000) * 10)
    assert made.channel.received == 4
    assert made.wants(ReadInterest.PAUSED)


async def test_above_the_hard_mark_nothing_is_read() -> None:
    """Memory is the hard mark: above it there is only watching, look or not, until half of it is free again."""
    made = await alone(HARD)
    made.feed(b"".join(frame(TEXT, b"%d" % number * 1000) for number in range(7)))
    assert made.channel.received == 4  # each takes a little over 1,000, so the fourth is one too many
    assert made.wants(ReadInterest.PAUSED)
    made.channel.look()
    assert made.wants(ReadInterest.PAUSED)
    made.channel.looking = False
    await made.channel.receive()
    assert made.wants(ReadInterest.THROTTLED)  # below the mark itself, pings may be looked for
    await made.channel.receive()
    assert made.wants(ReadInterest.THROTTLED)
    await made.channel.receive()
    assert made.wants(ReadInterest.DECODE)


async def test_empty_messages_are_not_free() -> None:
    """Empty messages fill the memory as well."""
    made = await alone(Limits(max_message_size=1000, inbound_buffer=4000, inbound_queue=1000))
    made.feed(frame(TEXT) * 200)
    while made.wants(ReadInterest.DECODE):
        made.channel.proceed()
    assert made.channel.received == -(-4000 // getsizeof(""))
    assert made.wants(ReadInterest.PAUSED)


async def test_dropping_takes_everything_in() -> None:
    """Whoever throws messages away is never behind: the lane reads on, and looks at what it held."""
    made = await alone(HARD)
    made.feed(frame(TEXT, b"x" * 1000) * 7)
    assert made.wants(ReadInterest.PAUSED)
    updates = made.transport.updates
    made.channel.discard_input()
    assert made.transport.updates > updates
    assert made.wants(ReadInterest.DECODE)
    made.channel.proceed()
    assert made.wants(ReadInterest.READ)
    assert made.channel.received == 7


async def test_after_the_end_nothing_is_wanted() -> None:
    """A Close, a violation and an end each make the rest meaningless, whatever state the lane was in."""
    for data in (close(1000) + text("late") * 200, BROKEN + text("late") * 200, b""):
        for limits in (Limits(), SOFT, HARD):
            made = await alone(limits)
            made.feed(text("x") * 3)
            made.feed(data)
            assert made.wants(ReadInterest.NOTHING)
            assert made.channel.received == 3
            assert len(made.ends) == 1
            assert made.channel.eof == (not data)


async def test_messages_before_the_end_of_the_stream() -> None:
    """What was taken in before the end is received, and then there is no more."""
    made = await alone()
    made.feed(text("last") + frame(TEXT, b"torn")[:-1])
    made.feed(b"")
    assert made.ends == [PeerVanished()]
    assert await made.channel.receive() == "last"
    with pytest.raises(trio.EndOfChannel):
        await made.channel.receive()


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
        assert made.channel.heard_at == moment
        assert made.channel.message_at == message_at
    made.feed(text("x") * 2 * FRAMES_PER_TURN)
    await trio.sleep(10)
    made.channel.proceed()
    assert made.channel.message_at == 4  # it had come, though nobody had looked


async def test_only_the_latest_pings_are_answered() -> None:
    """Of pings that come faster than they are taken, only the latest are handed over, in order."""
    made = await alone()
    made.feed(b"".join(frame(PING, bytes([number])) for number in range(100)))
    made.channel.proceed()
    for number in range(100 - MAX_PINGS, 100):
        assert await made.channel.receive_some() == masked(PING, bytes([number]))
    made.feed(frame(PING, b"again"))
    assert await made.channel.receive_some() == masked(PING, b"again")


async def test_no_ping_once_closing_has_begun() -> None:
    """After `begin_closing` no ping is handed over, not even one that was there before; the peer's Close is."""
    made = await alone()
    made.feed(frame(PING, b"a"))
    made.channel.begin_closing()
    made.feed(frame(PING, b"b") + close(1000))
    assert await made.channel.receive_some() == masked(CLOSE, b"\x03\xe8")


async def test_asking_the_peer() -> None:
    """A Ping goes out like any frame, unless the peer is so far behind that it could not get it in time."""
    made = await alone(Limits(outbound_buffer=10))
    made.channel.ping()
    assert frames(made.transport.written) == [(PING, b"")]
    made.transport.room = 0
    made.channel.send_nowait(b"xxx")
    made.channel.ping()
    made.channel.send_nowait(b"y")
    made.channel.ping()
    made.transport.drain(made.channel.out, 100)
    assert [found.opcode for found in frames(made.transport.written)] == [PING, 2, PING, 2]
    made.channel.abort()
    made.channel.ping()
    assert len(frames(made.transport.written)) == 4


async def test_asking_a_peer_that_has_just_gone() -> None:
    """A Ping that finds the connection broken raises nothing: the reader finds out too, and says so."""
    made = await alone()
    made.transport.broken = True
    made.channel.ping()
    assert made.channel.out.broken


async def test_somebody_is_told_when_something_waits() -> None:
    """`on_blocked` is called when the link does not take everything, and not when it does."""
    made = await alone()
    blocked: list[int] = []
    made.channel.on_blocked = lambda: blocked.append(len(made.channel.out.pending))
    await made.channel.send("x" * 10)
    assert not blocked
    made.transport.room = 5
    await made.channel.send("x" * 10)
    assert blocked == [7]
    updates = made.transport.updates
    made.transport.drain(made.channel.out, 100)
    assert blocked == [7]
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
        received, ends = made.channel.received, len(made.ends)
        for data in (text("late"), frame(PING), BROKEN, b"\xff" * 1000):
            made.feed(data)
        assert made.wants(ReadInterest.READ)
        assert (made.channel.received, len(made.ends)) == (received, ends)
        assert made.channel.read_size == MAX_READ_SIZE
        made.feed(b"")
        assert made.wants(ReadInterest.NOTHING)
        assert made.channel.eof


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
        assert made.channel.out.broken
        assert not made.ends


async def test_a_fault_nobody_foresaw() -> None:
    """A fault of the link ends the reading; the peer can still be told."""
    made = await alone()
    fault = ZeroDivisionError()
    made.channel.fail(fault)
    assert made.ends == [fault]
    assert made.channel.read_interest is ReadInterest.NOTHING
    assert not made.channel.out.broken
    assert await made.channel.receive_some() == b""
    with pytest.raises(trio.EndOfChannel):
        await made.channel.receive()


async def test_there_is_always_room_for_trio_websocket() -> None:
    """The part of the interface that trio-websocket has no use for returns at once, when nothing is taken, too."""
    made = await alone()
    made.transport.room = 0
    await made.channel.wait_send_all_might_not_block()


# Over each kind of link.


async def test_the_head_comes_first_and_then_one_control_frame_a_call(over: str, autojump_clock: MockClock) -> None:
    """trio-websocket reads the canonical head, whatever it asks for, then single control frames, and no message."""
    async with bench(over) as made:
        channel = made.channel
        channel.present(b"GET / HTTP/1.1\r\n\r\n")
        assert await channel.receive_some(1) == b"GET / HTTP/1.1\r\n\r\n"
        await channel.send_all(ANSWER)
        await made.peer.say(text("one"), frame(PING, b"!"), text("two"), frame(PONG, b"?"), close(4000, "bye"))
        assert await channel.receive_some(1) == masked(PING, b"!")
        assert await channel.receive_some(1) == masked(CLOSE, b"\x0f\xa0bye")
        assert made.ends == [PeerClosed(4000, "bye")]
        assert await made.receive_all() == ["one", "two"]
        assert channel.received == 2


async def test_a_client_that_waits_is_not_read_before_it_is_let_in(over: str, autojump_clock: MockClock) -> None:
    """Until the 101 nothing that came early is looked at, and a ping that came early is answered after it."""
    async with bench(over) as made:
        made.feed(text("one") + frame(PING, b"a"))
        made.nursery.start_soon(made.read)
        await made.peer.say(text("two"))
        await wait_all_tasks_blocked()
        assert not made.controls
        assert made.channel.received == 0
        await made.channel.send_all(ANSWER)
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
        await made.channel.send_all(ANSWER)
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
        assert made.channel.eof
        assert made.has_left()


async def test_pings_before_the_upgrade_are_answered_after_it(over: str, autojump_clock: MockClock) -> None:
    """Only the latest ones, as ever."""
    async with bench(over) as made:
        made.nursery.start_soon(made.read)
        await made.peer.say(*(frame(PING, bytes([number])) for number in range(50)))
        await wait_all_tasks_blocked()
        await made.channel.send_all(ANSWER)
        await wait_all_tasks_blocked()
        assert made.controls == [masked(PING, bytes([number])) for number in range(50 - MAX_PINGS, 50)]


async def test_after_a_violation_reading_ends_once_our_close_is_written(over: str, autojump_clock: MockClock) -> None:
    """The reader gets no end-of-file before the Close is with the operating system, and then at once."""
    async with opened(over) as made:
        await made.block()
        await made.peer.say(BROKEN, frame(PING, b"a"))
        await trio.sleep(5)
        assert len(made.ends) == 1
        assert not made.has_left()
        await made.channel.send_all(b"\x88\x02\x03\xea")
        await trio.sleep(5)
        assert not made.has_left()
        made.wire.flow()
        assert await made.peer.closing() == (1002, "")
        await wait_all_tasks_blocked()
        assert made.has_left()
        assert not made.controls


async def test_after_a_violation_without_a_close(over: str, autojump_clock: MockClock) -> None:
    """As long as no Close has been sent there is no end-of-file, though everything else is out."""
    async with opened(over) as made:
        await made.peer.say(BROKEN)
        await made.channel.send("x")
        await trio.sleep(5)
        assert not made.has_left()
        made.channel.put_close(b"\x88\x02\x03\xea")
        await wait_all_tasks_blocked()
        assert made.has_left()


async def test_closing_the_lane_closes_nothing(over: str, autojump_clock: MockClock) -> None:
    """`aclose` makes the reader see end-of-file; the stream stays, and what is queued is still written."""
    async with opened(over) as made:
        await made.block()
        await made.channel.send_all(b"\x88\x02\x03\xe8")
        await made.channel.aclose()
        await wait_all_tasks_blocked()
        assert made.has_left()
        assert await made.channel.receive_some() == b""
        made.wire.flow()
        assert await made.peer.closing() == (1000, "")
        assert made.wire.closed_at > trio.current_time()
        assert not made.ends


async def test_the_stream_ends(over: str, autojump_clock: MockClock) -> None:
    """The peer has vanished then, what it had sent is still received, and we can still write."""
    async with opened(over) as made:
        await made.peer.say(text("last"), frame(TEXT, b"torn")[:-1])
        await made.finish()
        await wait_all_tasks_blocked()
        assert made.ends == [PeerVanished()]
        assert await made.channel.receive() == "last"
        with pytest.raises(trio.EndOfChannel):
            await made.channel.receive()
        assert made.has_left()
        await made.channel.send("into the void")
        assert await made.peer.message() == "into the void"


async def test_a_stream_that_ends_while_somebody_waits(over: str, autojump_clock: MockClock) -> None:
    """Who waits for a message learns that there will be none."""
    async with opened(over) as made, trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.EndOfChannel):
                await made.channel.receive()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await made.finish()


async def test_a_cancelled_read_loses_nothing(over: str, autojump_clock: MockClock) -> None:
    """Reading can be cancelled at any moment and taken up again."""
    async with bench(over) as made:
        await made.channel.send_all(ANSWER)

        async def speak() -> None:
            for number in range(50):
                await made.peer.say(text(str(number)), frame(PING, str(number).encode()))
                await trio.sleep(1)
            await made.finish()

        made.nursery.start_soon(speak)
        pings: list[int] = []
        while not made.channel.eof:
            with trio.move_on_after(0.3):
                while control := await made.channel.receive_some():
                    pings.append(int(control[6:]))
        assert pings == list(range(50))
        assert await made.receive_all() == [str(number) for number in range(50)]


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
                received.append(await made.channel.receive())
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
            received.append(await made.channel.receive())
            if chance.random() < 0.1:
                await trio.sleep(chance.choice([0, 0.3, 3]))
        with pytest.raises(trio.EndOfChannel):
            await made.channel.receive()
        assert [int(message) for message in received] == list(numbers)
        assert made.ends == [PeerClosed(1000, "")]


async def test_no_more_messages(over: str, autojump_clock: MockClock) -> None:
    """After `stop_receiving` what is queued is delivered and then there is an end; the peer is still read."""
    async with opened(over) as made:
        await made.peer.say(text("one"))
        await wait_all_tasks_blocked()
        made.channel.stop_receiving()
        await made.peer.say(text("two"), frame(PING, b"a"))
        assert await made.channel.receive() == "one"
        with pytest.raises(trio.EndOfChannel):
            await made.channel.receive()
        await wait_all_tasks_blocked()
        assert made.controls == [masked(PING, b"a")]


async def test_dropped_messages(over: str, autojump_clock: MockClock) -> None:
    """`drop_messages` throws away what is queued, and only that."""
    async with opened(over) as made:
        await made.peer.say(text("one"))
        await wait_all_tasks_blocked()
        made.channel.drop_messages()
        await made.peer.say(text("two"))
        assert await made.channel.receive() == "two"


# Backpressure, over each kind of link.


async def fill(made: Bench, count: int, size: int = 1000) -> None:
    """Send messages, each in a segment of its own, and give them time to be read."""
    for _ in range(count):
        await made.peer.say(frame(TEXT, b"x" * size))
        await wait_all_tasks_blocked()


async def test_above_the_soft_mark_the_socket_is_left_alone(over: str, autojump_clock: MockClock) -> None:
    """Between two looks nothing is read, and when there is room it goes on at once."""
    async with opened(over, SOFT) as made:
        await fill(made, 4)
        assert made.wants(ReadInterest.THROTTLED)
        await fill(made, 3)
        assert made.channel.received == 4
        start = trio.current_time()
        for _ in range(2):
            await made.channel.receive()
        await wait_all_tasks_blocked()
        assert made.channel.received > 4
        assert trio.current_time() == start


@pytest.mark.parametrize("what", ["ping", "close", "violation", "end"])
async def test_above_the_soft_mark_control_frames_are_seen(what: str, over: str, autojump_clock: MockClock) -> None:
    """While the handler is behind, the lane looks twice a second at what comes; a stream that ends it sees as well."""
    async with opened(over, SOFT) as made:
        await fill(made, 4)
        start = trio.current_time()
        said = {"ping": frame(PING, b"!"), "close": close(4000), "violation": BROKEN, "end": b""}[what]
        await made.peer.say(said)
        if what == "end":
            await made.finish()
        await until(lambda: bool(made.controls or made.ends), step=0.01)
        assert trio.current_time() - start <= PACE + 0.05
        assert made.channel.received == 4


async def test_a_look_is_whole(over: str, autojump_clock: MockClock) -> None:
    """One look finds a ping behind messages, which came together with it."""
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
    """One look finds a ping behind more messages than one turn decodes."""
    async with opened(over, SOFT) as made:
        await fill(made, 4)
        start = trio.current_time()
        await made.peer.say(text("x") * 3 * FRAMES_PER_TURN, frame(PING, b"!"))
        await until(lambda: bool(made.controls), step=0.01)
        assert trio.current_time() - start <= PACE + 0.05


async def test_a_look_takes_several_reads(over: str, autojump_clock: MockClock) -> None:
    """One look finds a ping behind more bytes than are read at once."""
    async with opened(over, SOFT) as made:
        await fill(made, 4)
        start = trio.current_time()
        await made.peer.say(text("x" * 10_000) * 5, frame(PING, b"!"))
        await until(lambda: bool(made.controls), step=0.01)
        assert trio.current_time() - start <= PACE + 0.05


async def test_looks_begin_with_the_upgrade(over: str, autojump_clock: MockClock) -> None:
    """A handler that is behind from the start, because of early data, is no reason not to look either."""
    async with bench(over, SOFT) as made:
        made.feed(text("early") * 4)
        await wait_all_tasks_blocked()  # whoever polls waits for something to happen
        await made.channel.send_all(ANSWER)
        assert made.wants(ReadInterest.THROTTLED)
        made.nursery.start_soon(made.read)
        start = trio.current_time()
        await made.peer.say(frame(PING, b"!"))
        await until(lambda: bool(made.controls), step=0.01)
        assert trio.current_time() - start <= PACE + 0.05


async def test_a_look_ends(autojump_clock: MockClock) -> None:
    """After a look that took in what there was, the socket is left alone again until the next one."""
    async with opened("polled", SOFT) as made:
        await fill(made, 4)
        await made.peer.say(text("x"))
        await trio.sleep(PACE + 0.1)
        assert made.channel.received == 5
        assert made.wants(ReadInterest.THROTTLED)
        await made.peer.say(text("y"))
        await wait_all_tasks_blocked()
        assert made.channel.received == 5
        await trio.sleep(PACE + 0.1)
        assert made.channel.received == 6


@pytest.mark.parametrize(
    "over",
    ["polled", "streamed", "watched"],
)
async def test_looks_go_on_while_the_handler_sends(over: str, autojump_clock: MockClock) -> None:
    """A handler that sends and does not receive does not put the looks off."""
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
        assert made.channel.received == 4
        assert made.wants(ReadInterest.PAUSED)
        start = trio.current_time()
        await made.peer.say(frame(PING, b"a"))
        for _ in range(3):
            await made.channel.receive()
        await wait_all_tasks_blocked()
        assert made.channel.received > 4
        assert trio.current_time() == start
        await trio.sleep(10)
        while made.channel.received < 20:
            await made.receive_all()
        assert made.controls == [masked(PING, b"a")]


async def test_discarded_input_never_fills_the_queue(over: str, autojump_clock: MockClock) -> None:
    """`discard_input` throws away what is queued and what comes, so the peer is always read; and it wakes a reader."""
    async with opened(over, HARD) as made:
        await fill(made, 6)
        assert made.channel.received == 4
        made.channel.discard_input()
        await fill(made, 100)
        assert made.channel.received == 106
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
            made.channel.stop_receiving()
            await made.peer.say(close(1000))
            await wait_all_tasks_blocked()
            assert made.ends == [PeerClosed(1000, "")]
        else:
            made.channel.abort()
            await wait_all_tasks_blocked()
            assert made.has_left()


# Sending, and giving up, over each kind of link.


async def test_messages_and_control_frames_share_the_way_out(over: str, autojump_clock: MockClock) -> None:
    """Messages, pongs and the Close leave in the order in which they were handed over, and messages are counted."""
    async with opened(over) as made:
        await made.channel.send("one")
        await made.channel.send_all(b"\x8a\x01!")
        made.channel.send_nowait(b"two")
        await made.channel.send_all(bytearray(b"\x88\x02\x03\xe8"))
        with pytest.raises(trio.ClosedResourceError):
            await made.channel.send("three")
        with pytest.raises(trio.ClosedResourceError):
            made.channel.send_nowait("three")
        await made.channel.flush()
        assert [found.opcode for found in await made.heard()] == [TEXT, PONG, 2, CLOSE]
        assert made.channel.out.messages == 2


async def test_only_the_first_close_goes_out(over: str, autojump_clock: MockClock) -> None:
    """Whether it is ours or trio-websocket's: there is one Close, and nothing after it."""
    async with opened(over) as made:
        made.channel.put_close(b"\x88\x02\x03\xf3")
        made.channel.put_close(b"\x88\x02\x03\xe8")
        await made.channel.send_all(b"\x88\x02\x03\xe8")
        await made.channel.flush()
        assert [found.closing for found in await made.heard()] == [(1011, "")]


@pytest.mark.parametrize("seed", range(4))
async def test_frames_stay_whole(seed: int, over: str, autojump_clock: MockClock) -> None:
    """Senders that are cancelled at any moment, and a peer that reads now and then: only whole frames, in order."""
    chance = random.Random(seed)
    done: list[str] = []

    async def sender(made: Bench, name: int) -> None:
        for count in range(10):
            message = f"{name}.{count}." + "x" * chance.choice([0, 10, 3000, 70_000])
            with trio.move_on_after(chance.choice([0, 0.1, 1, 100])):
                await made.channel.send(message)
                done.append(message)

    async with opened(over, Limits(outbound_buffer=chance.choice([1, 5000, 200_000]))) as made:
        async with trio.open_nursery() as senders:
            found: list[str] = []
            for name in range(5):
                senders.start_soon(sender, made, name)
            while senders.child_tasks or made.channel.out.pending or len(found) < len(done):
                await trio.sleep(chance.choice([0, 0.05, 0.5]))
                found += [one.payload.decode() for one in await made.heard()]
        assert found == done
        assert 0 < len(done) < 50


async def test_a_flush_waits_for_the_operating_system(over: str, autojump_clock: MockClock) -> None:
    """`flush` returns when everything has been handed over, and not before."""
    async with opened(over) as made:
        await made.channel.flush()
        await made.block()
        flushed = trio.Event()

        async def flush() -> None:
            await made.channel.flush()
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
        made.channel.put_close(b"\x88\x02\x03\xe8")
        await made.channel.aclose()
        await wait_all_tasks_blocked()
        lingered: list[float] = []

        async def linger() -> None:
            await made.channel.linger()
            lingered.append(trio.current_time())

        made.nursery.start_soon(linger)
        assert await made.peer.closing() == (1000, "")
        assert await made.peer.frame() is None
        received = made.channel.received
        for _ in range(3):
            await made.peer.say(text("late") * 10_000, BROKEN)
            await trio.sleep(0.3)
        assert not lingered
        start = trio.current_time()
        await made.finish()
        await wait_all_tasks_blocked()
        assert lingered == [start]
        assert made.channel.received == received


async def test_lingering_for_who_has_gone(over: str, autojump_clock: MockClock) -> None:
    """A peer that is not there any more is not waited for."""
    async with opened(over) as made:
        await made.channel.aclose()
        await made.peer.stream.aclose()
        with trio.fail_after(0.1):
            await made.channel.linger()


async def test_abort_lets_nobody_wait(over: str, autojump_clock: MockClock) -> None:
    """Whoever waits in an aborted lane, for room, for data or for a message, waits no longer."""
    async with opened(over, HARD) as made:
        await made.block()
        woken: list[str] = []

        async def wait(what: str) -> None:
            try:
                if what == "receive":
                    await made.channel.receive()
                elif what == "send":
                    await made.channel.send("y" * 1000)
                elif what == "pong":
                    await made.channel.send_all(b"\x8a\x7d" + b"z" * 125)
                elif what == "flush":
                    await made.channel.flush()
                else:
                    await made.channel.wait_left()
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


# With the real trio-websocket, over each kind of link.


@asynccontextmanager
async def driven(
    over: str, limits: Limits | None = None
) -> AsyncGenerator[tuple[Bench, trio_websocket.WebSocketConnection]]:
    """A lane that trio-websocket reads and writes."""
    async with bench(over, limits) as made:
        made.channel.present(canonical(ASKED, None))
        request = await trio_websocket.wrap_server_stream(made.nursery, made.channel)
        websocket = await request.accept()
        yield made, websocket


async def test_trio_websocket_does_the_handshake_and_answers(over: str, autojump_clock: MockClock) -> None:
    """The real thing accepts the canonical head, answers pings and the Close, and then sees end-of-file."""
    async with driven(over) as (made, websocket):
        assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in await made.peer.head()  # RFC 6455, section 1.3
        await made.peer.say(frame(PING, b"a"), text("one"))
        assert await made.peer.frame() == (PONG, b"a")
        assert await made.channel.receive() == "one"
        await made.peer.say(close(4000, "bye"))
        assert await made.peer.closing() == (4000, "bye")
        await made.channel.wait_left()
        await websocket.aclose()
        assert made.ends == [PeerClosed(4000, "bye")]


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

    async with bench(over) as made:
        made.channel.agree(agreement)
        made.feed(deflated("early" * 100))
        await made.open()
        await made.peer.say(deflated("again" * 100), text("plain"), frame(PING, b"!"))
        assert await made.receive_all() == ["early" * 100, "again" * 100, "plain"]
        assert made.controls == [masked(PING, b"!")]
        await made.channel.send("and back" * 100)
        made.channel.send_nowait("and back" * 100)
        await made.channel.flush()
        data = await made.peer.stream.receive_some()
        for _ in range(2):
            assert data[0] == 0xC1
            payload, data = data[2 : 2 + data[1]], data[2 + data[1] :]
            assert ours.decompress(payload + b"\x00\x00\xff\xff") == b"and back" * 100
        assert not data


async def test_a_ping_is_answered_before_what_came_after_it(over: str, autojump_clock: MockClock) -> None:
    """A handler that waits for a message sees it when the pings before it have been answered, and soon enough."""
    async with driven(over) as (made, _):
        await made.peer.head()

        async def echo() -> None:
            while True:
                await made.channel.send(await made.channel.receive())

        made.nursery.start_soon(echo)
        for number in range(20):
            await wait_all_tasks_blocked()
            await made.peer.say(frame(PING, b"a"), frame(PING, b"b"), text(str(number)), text("!"))
            assert [found.opcode for found in await made.heard()] == [PONG, PONG, TEXT, TEXT]


async def test_a_message_does_not_wait_for_a_pong_that_is_stuck(over: str, autojump_clock: MockClock) -> None:
    """A peer that reads nothing, and whose pings cannot be answered therefore, is heard all the same."""
    async with driven(over, Limits(outbound_buffer=10)) as (made, _):
        await made.peer.head()
        await made.block()
        received: list[str | bytes] = []

        async def receive() -> None:
            while True:
                received.append(await made.channel.receive())

        made.nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        await made.peer.say(frame(PING, b"a"), text("one"), frame(PING, b"b"))
        await made.peer.say(text("two"))
        await wait_all_tasks_blocked()
        assert received == ["one", "two"]
        await made.peer.say(frame(PING, b"c"), text("three"))
        await wait_all_tasks_blocked()
        assert received == ["one", "two", "three"]


@pytest.mark.parametrize("limits", [Limits(), SOFT], ids=["flood", "behind"])
async def test_a_close_does_not_wait_for_a_pong_that_is_stuck(
    limits: Limits, over: str, autojump_clock: MockClock
) -> None:
    """Nor does what comes later, be it more than a turn's worth or more than the handler has taken."""
    async with driven(over, evolve(limits, outbound_buffer=10)) as (made, _):
        await made.peer.head()
        await made.block()
        await made.peer.say(frame(PING, b"a"))
        await wait_all_tasks_blocked()
        if limits is not SOFT:
            made.channel.discard_input()
        await made.peer.say(text("x") * 5, text("y") * (0 if limits is SOFT else 10 * FRAMES_PER_TURN), close(4000))
        await trio.sleep(1.1)
        assert made.ends == [PeerClosed(4000, "")]


async def test_a_message_does_not_wait_for_a_pong_that_gets_stuck() -> None:
    """Also when the way out is blocked in the moment between the ping and its answer."""
    made = await alone(Limits(outbound_buffer=10))
    received: list[str | bytes] = []

    async def receive() -> None:
        received.append(await made.channel.receive())

    async def answer() -> None:
        ping = await made.channel.receive_some()
        made.transport.room = 0
        made.channel.send_nowait("x" * 100)  # as somebody else may do it now
        assert ping == masked(PING, b"a")
        await made.channel.send_all(b"\x8a\x01a")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        made.feed(frame(PING, b"a") + text("one"))
        await wait_all_tasks_blocked()
        assert not received
        nursery.start_soon(answer)
        await wait_all_tasks_blocked()
        assert received == ["one"]
        nursery.cancel_scope.cancel()


async def test_our_close_is_answered(over: str, autojump_clock: MockClock) -> None:
    """A Close of ours is over when the peer's has come; data in between are no harm."""
    async with driven(over) as (made, websocket):
        await made.peer.head()
        made.nursery.start_soon(websocket.aclose, 1001, "going away")
        assert await made.peer.closing() == (1001, "going away")
        await made.peer.say(text("late"), frame(PONG), close(1001))
        with trio.fail_after(1):
            await made.channel.wait_left()
            await websocket.aclose()


async def test_a_close_that_is_decided_while_a_pong_waits(over: str, autojump_clock: MockClock) -> None:
    """trio-websocket holds its lock for a pong without room when the Close is decided: pong, Close, nothing else.

    A ping that arrives in this moment would make its reader raise, if the lane handed it over.
    """
    async with driven(over, Limits(outbound_buffer=1000)) as (made, websocket):
        await made.peer.head()
        await made.block()
        await made.peer.say(frame(PING, b"a"))
        await wait_all_tasks_blocked()
        made.nursery.start_soon(websocket.aclose, 1000, "")
        await made.peer.say(frame(PING, b"b"))
        await wait_all_tasks_blocked()
        made.channel.begin_closing()
        await made.peer.say(frame(PING, b"c"), text("late"))
        await wait_all_tasks_blocked()
        made.wire.flow()
        found = [await made.peer.frame() for _ in range(3)]
        assert [one.opcode for one in found if one is not None] == [TEXT, PONG, CLOSE]
        await made.peer.say(frame(PING, b"d"), close(1000))
        with trio.fail_after(1):
            await made.channel.wait_left()
        made.channel.abort()
        await trio.aclose_forcefully(made.stream)
        assert await made.peer.rest() == b""


@pytest.mark.parametrize("seed", range(8))
async def test_pings_and_a_close_at_the_same_time(seed: int, over: str, autojump_clock: MockClock) -> None:
    """Whenever a Close is decided among pings, trio-websocket's reader lives, and nothing follows the Close."""
    chance = random.Random(seed)
    async with driven(over) as (made, websocket):
        await made.peer.head()

        async def ping() -> None:
            for number in range(30):
                await made.peer.say(*[frame(PING, bytes([number]))] * chance.randrange(1, 4))
                for _ in range(chance.randrange(4)):
                    await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            for _ in range(chance.randrange(80)):
                await trio.lowlevel.checkpoint()
            made.channel.begin_closing()
            nursery.start_soon(websocket.aclose, 1000, "")
            await trio.sleep(1)
            await made.peer.say(close(1000))
        found = await made.heard()
        assert [one.opcode for one in found if one.opcode != PONG] == [CLOSE]
        assert found[-1].opcode == CLOSE
        with trio.fail_after(1):
            await made.channel.wait_left()


async def test_violations_close_with_a_code(over: str, autojump_clock: MockClock) -> None:
    """trio-websocket sends the code of a violation and does not wait for the peer."""
    async with driven(over) as (made, websocket):
        await made.peer.head()
        await made.peer.say(BROKEN)
        await wait_all_tasks_blocked()
        violation = made.ends[0]
        assert isinstance(violation, ProtocolViolation)
        start = trio.current_time()
        await websocket.aclose(violation.code, violation.reason)
        assert trio.current_time() == start
        assert await made.peer.closing() == (1002, "reserved bits set")
