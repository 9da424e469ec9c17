"""`Lane`: driven by hand first, then by the real trio-websocket."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from sys import getsizeof

import pytest
import trio
import trio_websocket
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.errors import ProtocolViolation, SlowConsumer
from seawall.handshake import Handshake
from seawall.limits import Limits
from seawall.wire.head import canonical
from seawall.wire.lane import EARLY_SIZE, MAX_PINGS, Lane, PeerClosed, PeerVanished, WireEnd
from tests.memory import BROKEN, CLOSE, PING, PONG, TEXT, Peer, Wire, close, frame, frames, text

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
ASKED = Handshake(path="/", host="seawall.test", key="dGhlIHNhbXBsZSBub25jZQ==", headers=(), peer="memory")

#: Room for four messages of 1,000 bytes, give or take.
SMALL = Limits(max_message_size=1000, inbound_buffer=4000, outbound_buffer=1000)


@define(eq=False)
class Bench:
    """A lane between a wire and a test that plays the part of trio-websocket."""

    nursery: trio.Nursery
    limits: Limits = field(factory=Limits)
    early: bytes = b""
    wire: Wire = field(factory=Wire)
    ends: list[WireEnd] = field(factory=list[WireEnd])
    controls: list[bytes] = field(factory=list[bytes])
    """What `read` got."""
    lane: Lane = field(init=False)
    peer: Peer = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the lane."""
        self.lane = Lane(self.wire, early=self.early, limits=self.limits, on_end=self.ends.append)
        self.peer = Peer(self.wire.far)

    async def open(self) -> None:
        """Start the writer, accept the upgrade and start to read."""
        self.nursery.start_soon(self.lane.run_writer)
        await self.lane.send_all(ANSWER)
        assert await self.peer.head()
        self.nursery.start_soon(self.read)

    async def read(self) -> None:
        """Read as trio-websocket does, until end-of-file."""
        while control := await self.lane.receive_some(4096):
            self.controls.append(control)

    async def receive_all(self) -> list[str | bytes]:
        """The messages that are there."""
        await wait_all_tasks_blocked()
        found: list[str | bytes] = []
        with trio.move_on_after(0.001):
            try:
                while True:
                    found.append(await self.lane.receive())
            except trio.EndOfChannel:
                pass
        return found


@asynccontextmanager
async def bench(limits: Limits | None = None, early: bytes = b"") -> AsyncGenerator[Bench]:
    """A lane that nothing has happened to yet."""
    async with trio.open_nursery() as nursery:
        yield Bench(nursery, limits or Limits(), early)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def opened(limits: Limits | None = None, early: bytes = b"") -> AsyncGenerator[Bench]:
    """A lane that is open and read."""
    async with bench(limits, early) as made:
        await made.open()
        yield made


def masked(opcode: int, payload: bytes = b"") -> bytes:
    """A control frame as the lane hands it on: with a mask of zeros."""
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


# By hand.


async def test_the_head_comes_first_and_then_one_control_frame_a_call(autojump_clock: MockClock) -> None:
    """trio-websocket reads the canonical head, whatever it asks for, then single control frames, and no message."""
    async with bench() as made:
        lane = made.lane
        lane.present(b"GET / HTTP/1.1\r\n\r\n")
        assert await lane.receive_some(1) == b"GET / HTTP/1.1\r\n\r\n"
        made.nursery.start_soon(lane.run_writer)
        await lane.send_all(ANSWER)
        await made.peer.say(text("one"), frame(PING, b"!"), text("two"), frame(PONG, b"?"), close(4000, "bye"))
        assert await lane.receive_some(1) == masked(PING, b"!")
        assert await lane.receive_some(1) == masked(CLOSE, b"\x0f\xa0bye")
        assert made.ends == [PeerClosed(4000, "bye")]
        assert await made.receive_all() == ["one", "two"]
        assert lane.received == 2


async def test_a_client_that_waits_is_not_read_before_it_is_let_in(autojump_clock: MockClock) -> None:
    """Until the 101 nothing that came early is looked at, and a ping that came early is answered after it."""
    async with bench(early=text("one") + frame(PING, b"a")) as made:
        made.nursery.start_soon(made.read)
        await made.peer.say(text("two"))
        await wait_all_tasks_blocked()
        assert not made.controls
        assert made.lane.received == 0
        made.nursery.start_soon(made.lane.run_writer)
        await made.lane.send_all(ANSWER)
        assert await made.receive_all() == ["one", "two"]
        assert made.controls == [masked(PING, b"a")]


async def test_early_data_are_bounded(autojump_clock: MockClock) -> None:
    """Before the upgrade at most `EARLY_SIZE` bytes are taken from the socket; the rest comes after it, in order."""
    first = b"".join(text(f"{number:0900}") for number in range(17))
    count = 2 * EARLY_SIZE // 1000
    async with bench(Limits(inbound_buffer=1 << 24), early=first) as made:
        made.nursery.start_soon(made.read)
        for number in range(17, count):
            await made.peer.say(text(f"{number:0900}"))
        await wait_all_tasks_blocked()
        assert made.wire.taken + len(first) == EARLY_SIZE
        made.nursery.start_soon(made.lane.run_writer)
        await made.lane.send_all(ANSWER)
        received = await made.receive_all()
        assert [int(message) for message in received] == list(range(count))


async def test_a_violation_among_early_data(autojump_clock: MockClock) -> None:
    """What came before an early violation counts; what came after it does not."""
    async with opened(early=text("one") + frame(PING, b"a") + text("two") + BROKEN + text("three")) as made:
        assert await made.receive_all() == ["one", "two"]
        assert [str(end) for end in made.ends] == ["1002 reserved bits set"]
        await made.peer.say(text("four"))
        assert await made.receive_all() == []
        assert made.controls == [masked(PING, b"a")]


async def test_an_early_close(autojump_clock: MockClock) -> None:
    """A Close that comes with the handshake is seen as soon as the upgrade is accepted."""
    async with opened(early=text("one") + close(4001)) as made:
        assert await made.receive_all() == ["one"]
        assert made.controls == [masked(CLOSE, b"\x0f\xa1")]
        assert made.ends == [PeerClosed(4001, "")]


async def test_a_client_that_leaves_before_it_is_let_in(autojump_clock: MockClock) -> None:
    """The end of the stream is noticed before the upgrade, too."""
    async with bench() as made:
        made.nursery.start_soon(made.read)
        await wait_all_tasks_blocked()
        await made.wire.far.aclose()
        await wait_all_tasks_blocked()
        assert made.ends == [PeerVanished()]
        assert made.lane.eof
        assert made.lane.reader_left.is_set()


async def test_only_the_latest_pings_are_answered(autojump_clock: MockClock) -> None:
    """Of pings that come faster than they are taken, only the latest are handed over, in order."""
    async with bench() as made:
        made.nursery.start_soon(made.lane.run_writer)
        await made.lane.send_all(ANSWER)
        await made.peer.say(*(frame(PING, bytes([number])) for number in range(100)))
        for number in range(100 - MAX_PINGS, 100):
            assert await made.lane.receive_some() == masked(PING, bytes([number]))
        await made.peer.say(frame(PING, b"again"))
        assert await made.lane.receive_some() == masked(PING, b"again")


async def test_no_ping_once_closing_has_begun(autojump_clock: MockClock) -> None:
    """After `begin_closing` no ping is handed over, not even one that was there before; the peer's Close is."""
    async with bench() as made:
        made.nursery.start_soon(made.lane.run_writer)
        await made.lane.send_all(ANSWER)
        with trio.move_on_after(1):
            await made.lane.receive_some()
        await made.peer.say(frame(PING, b"a"), close(1000))
        made.nursery.start_soon(made.read)
        for _ in range(3):  # until the lane has decoded, but not yet handed over
            await trio.lowlevel.checkpoint()
        made.lane.begin_closing()
        await wait_all_tasks_blocked()
        assert made.controls == [masked(CLOSE, b"\x03\xe8")]


async def test_after_a_violation_reading_ends_once_our_close_is_written(autojump_clock: MockClock) -> None:
    """The reader gets no end-of-file before the Close is with the operating system, and then at once."""
    async with bench() as made:
        lane, left = made.lane, made.lane.reader_left
        await lane.send_all(ANSWER)
        made.nursery.start_soon(made.read)
        await made.peer.say(BROKEN, frame(PING, b"a"))
        await trio.sleep(5)
        assert len(made.ends) == 1
        assert not left.is_set()
        await lane.send_all(b"\x88\x02\x03\xea")
        await trio.sleep(5)
        assert not left.is_set()
        made.nursery.start_soon(lane.run_writer)
        await made.peer.head()
        assert await made.peer.closing() == (1002, "")
        await wait_all_tasks_blocked()
        assert left.is_set()
        assert lane.eof
        assert not made.controls


async def test_closing_the_lane_closes_nothing(autojump_clock: MockClock) -> None:
    """`aclose` makes the reader see end-of-file; the stream stays, and what is queued is still written."""
    async with bench() as made:
        await made.lane.send_all(ANSWER)
        made.nursery.start_soon(made.read)
        await wait_all_tasks_blocked()
        await made.lane.send_all(b"\x88\x02\x03\xe8")
        await made.lane.aclose()
        await wait_all_tasks_blocked()
        assert made.lane.reader_left.is_set()
        assert await made.lane.receive_some() == b""
        made.nursery.start_soon(made.lane.run_writer)
        await made.peer.head()
        assert await made.peer.closing() == (1000, "")
        assert made.wire.closed_at > trio.current_time()
        assert not made.ends


@pytest.mark.parametrize("how", ["end", "break"])
async def test_the_stream_ends(how: str, autojump_clock: MockClock) -> None:
    """End-of-file and a broken stream are the same: the peer has vanished, and what it had sent is still received."""
    async with opened() as made:
        await made.peer.say(text("last"), frame(TEXT, b"torn")[:-1])
        await wait_all_tasks_blocked()
        if how == "end":
            await made.wire.far.send_eof()
        else:
            made.wire.receive_error = trio.BrokenResourceError()
            await made.peer.say(b"!")
        await wait_all_tasks_blocked()
        assert made.ends == [PeerVanished()]
        assert await made.lane.receive() == "last"
        with pytest.raises(trio.EndOfChannel):
            await made.lane.receive()
        assert made.lane.reader_left.is_set()


async def test_a_stream_that_ends_while_somebody_waits(autojump_clock: MockClock) -> None:
    """Who waits for a message learns that there will be none."""
    async with opened() as made:

        async def wait() -> None:
            with pytest.raises(trio.EndOfChannel):
                await made.lane.receive()

        made.nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await made.wire.far.send_eof()


async def test_a_cancelled_read_loses_nothing(autojump_clock: MockClock) -> None:
    """Reading can be cancelled at any moment and taken up again."""
    async with bench() as made:
        made.nursery.start_soon(made.lane.run_writer)
        await made.lane.send_all(ANSWER)

        async def speak() -> None:
            for number in range(50):
                await made.peer.say(text(str(number)), frame(PING, str(number).encode()))
                await trio.sleep(1)
            await made.wire.far.send_eof()

        made.nursery.start_soon(speak)
        pings: list[int] = []
        while not made.lane.eof:
            with trio.move_on_after(0.3):
                while control := await made.lane.receive_some():
                    pings.append(int(control[6:]))
        assert pings == list(range(50))
        assert await made.receive_all() == [str(number) for number in range(50)]


# Receiving.


async def test_one_task_receives(autojump_clock: MockClock) -> None:
    """A second receiver is told so, and the first one is none the worse for it."""
    async with opened() as made:
        received: list[str | bytes] = []

        async def receive() -> None:
            received.append(await made.lane.receive())

        made.nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await made.lane.receive()
        await made.peer.say(text("one"))
        await wait_all_tasks_blocked()
        assert received == ["one"]


async def test_two_receivers_at_the_same_moment(autojump_clock: MockClock) -> None:
    """Of two that start in the same instant one is told so; neither is forgotten."""
    async with opened() as made:
        results: list[object] = []

        async def receive() -> None:
            try:
                results.append(await made.lane.receive())
            except trio.BusyResourceError:
                results.append("busy")

        made.nursery.start_soon(receive)
        made.nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert results == ["busy"]
        await made.peer.say(text("one"), text("two"))
        await wait_all_tasks_blocked()
        assert results == ["busy", "one"]


async def test_the_right_to_receive_is_given_back(autojump_clock: MockClock) -> None:
    """A receiver that was cancelled, at its first checkpoint or later, does not keep the next one out."""
    async with opened() as made:
        with trio.CancelScope() as scope:
            scope.cancel()
            await made.lane.receive()
        with trio.move_on_after(1):
            await made.lane.receive()
        await made.peer.say(text("one"))
        assert await made.lane.receive() == "one"


@pytest.mark.parametrize("seed", range(8))
async def test_a_cancelled_receive_loses_no_message(seed: int, autojump_clock: MockClock) -> None:
    """Messages arrive once each and in order, however often receiving is cancelled."""
    chance = random.Random(seed)
    async with opened() as made:

        async def speak() -> None:
            for number in range(60):
                await made.peer.say(text(str(number)))
                if chance.random() < 0.5:
                    await trio.sleep(chance.choice([0, 0.1, 0.2]))

        made.nursery.start_soon(speak)
        received: list[str | bytes] = []
        while len(received) < 60:
            with trio.move_on_after(chance.choice([0, 0.05, 0.1])):
                received.append(await made.lane.receive())
        assert received == [str(number) for number in range(60)]


async def test_no_more_messages(autojump_clock: MockClock) -> None:
    """After `stop_receiving` what is queued is delivered and then there is an end; the peer is still read."""
    async with opened() as made:
        await made.peer.say(text("one"))
        await wait_all_tasks_blocked()
        made.lane.stop_receiving()
        await made.peer.say(text("two"), frame(PING, b"a"))
        assert await made.lane.receive() == "one"
        with pytest.raises(trio.EndOfChannel):
            await made.lane.receive()
        await wait_all_tasks_blocked()
        assert made.controls == [masked(PING, b"a")]


async def test_dropped_messages(autojump_clock: MockClock) -> None:
    """`drop_messages` throws away what is queued, and only that."""
    async with opened() as made:
        await made.peer.say(text("one"))
        await wait_all_tasks_blocked()
        made.lane.drop_messages()
        await made.peer.say(text("two"))
        assert await made.lane.receive() == "two"


# Backpressure.


async def fill(made: Bench, count: int, size: int = 1000) -> None:
    """Send messages, each in a segment of its own, and give them time to be read."""
    for _ in range(count):
        await made.peer.say(frame(TEXT, b"x" * size))
        await wait_all_tasks_blocked()


async def test_reading_stops_when_the_queue_is_full_and_resumes_at_half(autojump_clock: MockClock) -> None:
    """Above ``inbound_buffer`` the socket is not read; below half of it, it is again."""
    async with opened(SMALL) as made:
        await fill(made, 20)
        assert made.lane.received == 4  # each takes a little over 1,000, so the fourth is one too many
        await made.peer.say(frame(PING, b"a"))
        for left in (3, 2):
            await made.lane.receive()
            await wait_all_tasks_blocked()
            assert made.lane.received == 4, left
        await made.lane.receive()
        await wait_all_tasks_blocked()
        assert made.lane.received > 4
        await made.receive_all()
        assert made.lane.received == 20
        assert made.controls == [masked(PING, b"a")]


async def test_empty_messages_are_not_free(autojump_clock: MockClock) -> None:
    """A flood of empty messages fills the queue as well."""
    async with opened(SMALL) as made:
        await fill(made, 100, size=0)
        assert made.lane.received == -(-4000 // getsizeof(""))


async def test_discarded_input_never_fills_the_queue(autojump_clock: MockClock) -> None:
    """`discard_input` throws away what is queued and what comes, so the peer is always read; and it wakes a reader."""
    async with opened(SMALL) as made:
        await fill(made, 6)
        assert made.lane.received == 4
        made.lane.discard_input()
        await fill(made, 100)
        assert made.lane.received == 106
        assert await made.receive_all() == []
        await made.peer.say(close(1000))
        await wait_all_tasks_blocked()
        assert made.ends == [PeerClosed(1000, "")]


@pytest.mark.parametrize("what", ["stop", "abort"])
async def test_a_paused_reader_goes_on_when_the_connection_ends(what: str, autojump_clock: MockClock) -> None:
    """A reader that waits for room finds out that there is no need for it any more."""
    async with opened(SMALL) as made:
        await fill(made, 6)
        if what == "stop":
            made.lane.stop_receiving()
            await made.peer.say(close(1000))
            await wait_all_tasks_blocked()
            assert made.ends == [PeerClosed(1000, "")]
        else:
            made.lane.abort()
            await wait_all_tasks_blocked()
            assert made.lane.reader_left.is_set()


# Sending, and giving up.


async def test_messages_and_control_frames_share_the_way_out(autojump_clock: MockClock) -> None:
    """Messages, pongs and the Close leave in the order in which they were handed over, and messages are counted."""
    async with opened() as made:
        await made.lane.send("one")
        await made.lane.send_all(b"\x8a\x01!")
        made.lane.send_nowait(b"two")
        await made.lane.send_all(bytearray(b"\x88\x02\x03\xe8"))
        with pytest.raises(trio.ClosedResourceError):
            await made.lane.send("three")
        with pytest.raises(trio.ClosedResourceError):
            made.lane.send_nowait("three")
        await made.lane.flush()
        assert [found.opcode for found in frames(made.wire.written.partition(b"\r\n\r\n")[2])] == [1, 10, 2, 8]
        assert made.lane.sent == 2


async def test_only_the_first_close_goes_out(autojump_clock: MockClock) -> None:
    """Whether it is ours or trio-websocket's: there is one Close, and nothing after it."""
    async with opened() as made:
        made.lane.put_close(b"\x88\x02\x03\xf3")
        made.lane.put_close(b"\x88\x02\x03\xe8")
        await made.lane.send_all(b"\x88\x02\x03\xe8")
        await made.lane.flush()
        assert frames(made.wire.written.partition(b"\r\n\r\n")[2])[0].closing == (1011, "")
        assert len(frames(made.wire.written.partition(b"\r\n\r\n")[2])) == 1


async def test_a_peer_that_takes_nothing(autojump_clock: MockClock) -> None:
    """After ``send_timeout`` without progress the end is reported as a slow consumer's, and the lane is broken."""
    async with opened(Limits(send_timeout=3)) as made:
        made.wire.stall()
        start = trio.current_time()
        await made.lane.send("one")
        await made.lane.flush()
        assert trio.current_time() - start == 3
        assert [type(end) for end in made.ends] == [SlowConsumer]
        assert made.lane.broken
        with pytest.raises(trio.BrokenResourceError):
            await made.lane.send("two")


async def test_abort_lets_nobody_wait(autojump_clock: MockClock) -> None:
    """Whoever waits in an aborted lane, for room, for data or for a message, waits no longer."""
    async with opened(SMALL) as made:
        made.wire.stall()
        await made.lane.send("x" * 2000)
        woken: list[str] = []

        async def wait(what: str) -> None:
            try:
                if what == "receive":
                    await made.lane.receive()
                elif what == "send":
                    await made.lane.send("y" * 1000)
                elif what == "pong":
                    await made.lane.send_all(b"\x8a\x7d" + b"z" * 125)
                elif what == "flush":
                    await made.lane.flush()
                else:
                    await made.lane.reader_left.wait()
            except (trio.EndOfChannel, trio.BrokenResourceError):
                pass
            woken.append(what)

        waits = ["receive", "send", "pong", "flush", "read"]
        for what in waits:
            made.nursery.start_soon(wait, what)
        await wait_all_tasks_blocked()
        assert not woken
        made.lane.abort()
        await wait_all_tasks_blocked()
        assert sorted(woken) == sorted(waits)
        assert not made.ends


async def test_there_is_always_room_for_trio_websocket(autojump_clock: MockClock) -> None:
    """The part of the interface that trio-websocket has no use for returns at once."""
    async with bench() as made:
        await made.lane.wait_send_all_might_not_block()


# With the real trio-websocket.


@asynccontextmanager
async def driven(limits: Limits | None = None) -> AsyncGenerator[tuple[Bench, trio_websocket.WebSocketConnection]]:
    """A lane that trio-websocket reads and writes."""
    async with bench(limits) as made:
        made.lane.present(canonical(ASKED, None))
        request = await trio_websocket.wrap_server_stream(made.nursery, made.lane)
        made.nursery.start_soon(made.lane.run_writer)
        websocket = await request.accept()
        yield made, websocket


async def test_trio_websocket_does_the_handshake_and_answers(autojump_clock: MockClock) -> None:
    """The real thing accepts the canonical head, answers pings and the Close, and then sees end-of-file."""
    async with driven() as (made, websocket):
        assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in await made.peer.head()  # RFC 6455, section 1.3
        await made.peer.say(frame(PING, b"a"), text("one"))
        assert await made.peer.frame() == (PONG, b"a")
        assert await made.lane.receive() == "one"
        await made.peer.say(close(4000, "bye"))
        assert await made.peer.closing() == (4000, "bye")
        await made.lane.reader_left.wait()
        await websocket.aclose()
        assert made.ends == [PeerClosed(4000, "bye")]


async def test_our_close_is_answered(autojump_clock: MockClock) -> None:
    """A Close of ours is over when the peer's has come; data in between are no harm."""
    async with driven() as (made, websocket):
        await made.peer.head()
        made.nursery.start_soon(websocket.aclose, 1001, "going away")
        assert await made.peer.closing() == (1001, "going away")
        await made.peer.say(text("late"), frame(PONG), close(1001))
        with trio.fail_after(1):
            await made.lane.reader_left.wait()
            await websocket.aclose()


async def test_a_close_that_is_decided_while_a_pong_waits(autojump_clock: MockClock) -> None:
    """trio-websocket holds its lock for a pong without room when the Close is decided: pong, Close, nothing else.

    A ping that arrives in this moment would make its reader raise, if the lane handed it over.
    """
    async with driven(Limits(outbound_buffer=1000)) as (made, websocket):
        await made.peer.head()
        made.wire.stall()
        await made.lane.send("x" * 2000)
        await made.peer.say(frame(PING, b"a"))
        await wait_all_tasks_blocked()
        made.nursery.start_soon(websocket.aclose, 1000, "")
        await made.peer.say(frame(PING, b"b"))
        await wait_all_tasks_blocked()
        made.lane.begin_closing()
        await made.peer.say(frame(PING, b"c"), text("late"))
        await wait_all_tasks_blocked()
        made.wire.flow()
        found = [await made.peer.frame() for _ in range(3)]
        assert [one.opcode for one in found if one is not None] == [TEXT, PONG, CLOSE]
        await made.peer.say(frame(PING, b"d"), close(1000))
        with trio.fail_after(1):
            await made.lane.reader_left.wait()
        made.lane.abort()
        await made.wire.aclose()
        assert await made.peer.rest() == b""


@pytest.mark.parametrize("seed", range(20))
async def test_pings_and_a_close_at_the_same_time(seed: int, autojump_clock: MockClock) -> None:
    """Whenever a Close is decided among pings, trio-websocket's reader lives, and nothing follows the Close."""
    chance = random.Random(seed)
    async with driven() as (made, websocket):
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
            made.lane.begin_closing()
            nursery.start_soon(websocket.aclose, 1000, "")
            await trio.sleep(1)
            await made.peer.say(close(1000))
        found = frames(made.wire.written.partition(b"\r\n\r\n")[2])
        assert [one.opcode for one in found if one.opcode != PONG] == [CLOSE]
        assert found[-1].opcode == CLOSE
        assert made.lane.reader_left.is_set()


async def test_violations_close_with_a_code(autojump_clock: MockClock) -> None:
    """trio-websocket sends the code of a violation and does not wait for the peer."""
    async with driven() as (made, websocket):
        await made.peer.head()
        await made.peer.say(BROKEN)
        await wait_all_tasks_blocked()
        violation = made.ends[0]
        assert isinstance(violation, ProtocolViolation)
        start = trio.current_time()
        await websocket.aclose(violation.code, violation.reason)
        assert trio.current_time() == start
        assert await made.peer.closing() == (1002, "reserved bits set")
