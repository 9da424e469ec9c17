"""`StreamTransport`: one writer, a reader that is trio-websocket's, and a stream that misbehaves."""

from __future__ import annotations

import random
import ssl

import pytest
import trio
import trustme
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.limits import Limits
from seawall.wire.budget import Budget
from seawall.wire.channel import FRAMES_PER_TURN, ChannelSettings, MessageChannel
from seawall.wire.control_stream import ControlStream
from seawall.wire.events import MessageBegun, PeerClosed, PeerVanished, SendBlocked
from seawall.wire.frames.encoder import encode_message
from seawall.wire.transport.base import PACE, ReadInterest
from seawall.wire.transport.stream import IDLE_READ_SECONDS, WRITE_SIZE, StreamTransport
from tests.kit.channels import ANSWER, AfterStep, Told, benches, masked, opened, until
from tests.kit.memory import BROKEN, Peer, Wire, close, text
from tests.kit.wire import CLOSE, PING, TEXT, frame, frames

HARD = Limits(max_message_size=1000, inbound_buffer=1000)
SOFT = Limits(inbound_queue=2)


class Odd(Exception):
    """What no stream should raise."""


@define(eq=False)
class Slow(trio.abc.Stream):
    """A stream that takes its time for each write, and would not bear two at once, or one that is cancelled."""

    pace: float = 0.0
    """Seconds for a write."""
    writes: list[bytes] = field(factory=list[bytes])
    """What was written, one for each call."""
    writing: bool = False
    torn: bool = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Take it all."""
        self.torn |= self.writing
        self.writing = True
        await trio.sleep(self.pace)
        self.writing = False
        self.writes.append(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Nobody asks."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Nothing ever comes."""
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        """Nobody asks."""
        await trio.lowlevel.checkpoint()


@define(eq=False)
class Fragile(trio.abc.Stream):
    """A stream that is broken by whoever cancels it, as TLS may be."""

    stream: trio.abc.Stream
    broken: list[str] = field(factory=list[str])
    """What was cancelled."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write."""
        try:
            await self.stream.send_all(data)
        except trio.Cancelled:
            self.broken.append("write")
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Nobody asks."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Read."""
        try:
            return await self.stream.receive_some(max_bytes)
        except trio.Cancelled:
            self.broken.append("read")
            raise

    async def aclose(self) -> None:
        """Close."""
        await self.stream.aclose()


def channel_over(stream: trio.abc.Stream, nursery: trio.Nursery, limits: Limits) -> MessageChannel:
    """A channel whose transport writes `stream`."""
    channel = MessageChannel(StreamTransport(stream, nursery), ChannelSettings(limits), Budget(), Told())
    channel.admit(limits.max_message_size)
    return channel


# Writing.


@pytest.mark.parametrize("seed", range(4))
async def test_one_write_at_a_time(seed: int, autojump_clock: MockClock) -> None:
    """Whatever sends are cancelled whenever, no write is, no two overlap, and none is larger than `WRITE_SIZE`."""
    chance = random.Random(seed)
    stream, done = Slow(0.7), list[str]()
    async with trio.open_nursery() as nursery:
        channel = channel_over(stream, nursery, Limits(outbound_buffer=chance.choice([1, 500, 200_000])))

        async def sender(name: int) -> None:
            for count in range(8):
                message = f"{name}.{count}." + "x" * chance.choice([0, 10, 300, 170_000, 600_000])
                with trio.move_on_after(chance.choice([0, 0.1, 0.7, 1.4, 3, 1000])):
                    await channel.send(message)
                    done.append(message)

        async with trio.open_nursery() as senders:
            for name in range(6):
                senders.start_soon(sender, name)
        await channel.send_buffer.wait_empty()
        nursery.cancel_scope.cancel()
    assert [found.payload.decode() for found in frames(b"".join(stream.writes))] == done
    assert 0 < len(done) < 6 * 8
    assert not stream.torn
    assert max(map(len, stream.writes)) == WRITE_SIZE


async def test_small_messages_share_a_write(autojump_clock: MockClock) -> None:
    """What has come together while the last write was under way leaves in one piece."""
    stream = Slow(1)
    async with trio.open_nursery() as nursery:
        channel = channel_over(stream, nursery, Limits())
        for _ in range(100):
            await channel.send("x")
        await channel.send_buffer.wait_empty()
        assert trio.current_time() <= 3
        nursery.cancel_scope.cancel()
    assert len(frames(b"".join(stream.writes))) == 100


async def test_the_flush_waits_for_the_last_write(autojump_clock: MockClock) -> None:
    """`flush` returns when the stream has taken everything, not when it has been handed over."""
    stream = Slow(3)
    async with trio.open_nursery() as nursery:
        channel = channel_over(stream, nursery, Limits())
        await channel.send(b"x" * WRITE_SIZE)
        await channel.send_buffer.wait_empty()
        assert trio.current_time() == 6
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("error", [trio.BrokenResourceError, trio.ClosedResourceError])
async def test_a_stream_that_cannot_be_written(error: type[Exception], autojump_clock: MockClock) -> None:
    """It ends the writer and every wait for it, and nothing else: what the peer had to say is still heard."""
    async with opened("streamed", Limits(outbound_buffer=10)) as made:
        made.wire.send_error = error()
        await made.channel.send("x" * 10)
        with pytest.raises(trio.BrokenResourceError):
            await made.channel.send("y")
        await made.channel.send_buffer.wait_empty()
        assert made.channel.send_buffer.broken
        assert not made.ends
        await made.peer.say(text("last"), close(4000))
        assert await made.channel.queue.receive() == "last"
        assert made.ends == [PeerClosed(4000, "")]


async def test_a_stream_that_fails_oddly(autojump_clock: MockClock) -> None:
    """Whatever else a write raises is what ended the connection, and stays inside it."""
    async with opened("streamed") as made:
        made.wire.send_error = Odd()
        await made.channel.send("x")
        await wait_all_tasks_blocked()
        assert made.ends == [made.wire.send_error]
        assert made.channel.send_buffer.broken
        assert made.has_left()


async def test_giving_up_while_a_write_is_stuck(autojump_clock: MockClock) -> None:
    """`abort` lets nobody wait; the writer itself ends when the stream is closed under it."""
    async with trio.open_nursery() as nursery:
        wire = Wire()
        channel = channel_over(wire, nursery, Limits(outbound_buffer=10))
        wire.stall()
        await channel.send("x" * 10)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as waiting:
            waiting.start_soon(channel.send_buffer.wait_empty)
            await wait_all_tasks_blocked()
            channel.abort()
        with pytest.raises(trio.BrokenResourceError):
            channel.send_buffer.put_message_nowait(encode_message("y"))
        await trio.aclose_forcefully(wire)
        wire.flow()
        await until(lambda: not nursery.child_tasks)
        assert not wire.written


async def test_giving_up_ends_a_writer_with_nothing_to_do(autojump_clock: MockClock) -> None:
    """The task is gone as soon as the channel is."""
    async with trio.open_nursery() as nursery:
        channel = channel_over(Wire(), nursery, Limits())
        await wait_all_tasks_blocked()
        channel.abort()
        await until(lambda: not nursery.child_tasks)


# Reading.


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_cancelled_in_the_middle(seed: int, autojump_clock: MockClock) -> None:
    """Whatever either side does, and whatever of it is cancelled, reads and writes of the stream are not."""
    chance = random.Random(seed)
    wire = Wire()
    stream, peer = Fragile(wire), Peer(wire.far)
    limits = Limits(inbound_queue=chance.choice([1, 3]), max_message_size=1000, inbound_buffer=2000, outbound_buffer=10)
    async with trio.open_nursery() as nursery:
        channel = channel_over(stream, nursery, limits)
        control_stream = ControlStream(channel)
        await control_stream.send_all(ANSWER)

        async def say() -> None:
            for number in range(60):
                await peer.say(frame(PING), text(f"{number:0{chance.choice([1, 900])}}"))
                await trio.sleep(chance.choice([0, 0.01, 0.7]))
            await peer.say(close(1000))

        async def answer() -> None:
            while control := await control_stream.receive_some():
                if control[0] == 0x80 | PING:
                    with trio.move_on_after(chance.choice([0, 1])):
                        await control_stream.send_all(b"\x8a\x00")

        async def hear() -> None:
            heard = True
            while heard:
                heard = await peer.hear()
                await trio.sleep(chance.choice([0, 0.3]))

        for task in (say, answer, hear):
            nursery.start_soon(task)
        received: list[int] = []
        while len(received) < 60:
            with trio.move_on_after(chance.choice([0, 0.02, 1])):
                received.append(int(await channel.queue.receive()))
                await channel.send("x" * chance.choice([1, 100]))
        with pytest.raises(trio.EndOfChannel):
            await channel.queue.receive()
        assert received == list(range(60))
        assert not stream.broken
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("error", [trio.BrokenResourceError, trio.ClosedResourceError])
async def test_a_stream_that_cannot_be_read(error: type[Exception], autojump_clock: MockClock) -> None:
    """A broken stream is an end: the peer has vanished, and what it had sent is still received."""
    async with opened("streamed") as made:
        await made.peer.say(text("last"))
        await wait_all_tasks_blocked()
        made.wire.receive_error = error()
        await made.peer.say(b"!")
        await wait_all_tasks_blocked()
        assert made.ends == [PeerVanished(reset=True)]
        assert made.has_left()
        assert await made.channel.queue.receive() == "last"
        with pytest.raises(trio.EndOfChannel):
            await made.channel.queue.receive()


async def test_a_stream_that_reads_oddly(autojump_clock: MockClock) -> None:
    """Whatever else a read raises ends the conversation, and the peer can still be told."""
    async with opened("streamed") as made:
        made.wire.receive_error = Odd()
        await made.peer.say(b"!")
        await wait_all_tasks_blocked()
        assert [type(end) for end in made.ends] == [Odd]
        assert made.has_left()
        assert not made.channel.send_buffer.broken


async def test_a_reader_that_is_called_off(autojump_clock: MockClock) -> None:
    """Whatever ends the reading gets through to trio-websocket, also in the middle of a read."""
    for what in ("abort", "aclose", "close"):
        async with opened("streamed") as made:
            await made.peer.say(text("x")[:3])
            await wait_all_tasks_blocked()
            if what == "abort":
                made.channel.abort()
            elif what == "aclose":
                await made.control_stream.aclose()
            else:
                await made.peer.say(BROKEN)
                await wait_all_tasks_blocked()
                made.control_stream.put_close(b"\x88\x02\x03\xea")
            await wait_all_tasks_blocked()
            assert made.has_left()


async def test_a_turn_at_a_time(autojump_clock: MockClock) -> None:
    """Between two turns of a flood others run, and the flood can be cancelled."""
    async with opened("streamed", Limits(inbound_queue=10_000)) as made:
        await made.peer.say(text("") * 2000)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        assert made.channel.inbound.messages <= 10 * FRAMES_PER_TURN
        await wait_all_tasks_blocked()
        assert made.channel.inbound.messages == 2000
        await made.peer.say(text("") * 2000)
        await until(lambda: made.wants(ReadInterest.DECODE))
        made.channel.abort()
        await wait_all_tasks_blocked()
        assert made.has_left()
        assert made.channel.inbound.messages < 4000


async def test_a_turn_that_is_not_wanted_any_more(autojump_clock: MockClock) -> None:
    """Who let others run before it decodes on looks again whether it should."""
    async with opened("streamed", Limits(inbound_queue=1000)) as made:
        lose = AfterStep("_catch_up", made.channel.lose)
        trio.lowlevel.add_instrument(lose)
        await made.peer.say(text("x") * 3 * FRAMES_PER_TURN)
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(lose)
        assert made.has_left()
        assert made.channel.inbound.messages == FRAMES_PER_TURN


async def test_looking_at_a_silent_stream(autojump_clock: MockClock) -> None:
    """A probe of a stream that gives nothing takes what comes next, and is over then."""
    async with opened("streamed", SOFT) as made:
        await made.peer.say(text("1"), text("2"))
        await wait_all_tasks_blocked()
        assert made.wants(ReadInterest.THROTTLED)
        await trio.sleep(PACE + IDLE_READ_SECONDS)
        assert made.wants(ReadInterest.READ)
        await made.peer.say(text("3"))
        await wait_all_tasks_blocked()
        assert made.channel.inbound.messages == 3
        assert made.wants(ReadInterest.THROTTLED)


async def test_room_during_the_wait_for_a_look(autojump_clock: MockClock) -> None:
    """A handler that catches up is not kept waiting for the probe."""
    async with opened("streamed", SOFT) as made:
        await made.peer.say(text("1"), text("2"))
        await wait_all_tasks_blocked()
        await made.peer.say(text("3"))
        assert await made.receive_all() == ["1", "2", "3"]
        assert trio.current_time() < IDLE_READ_SECONDS


async def test_without_a_socket_nobody_watches(autojump_clock: MockClock) -> None:
    """Above the hard mark the end of a stream without a socket is seen when there is room again."""
    async with opened("streamed", HARD) as made:
        await made.peer.say(text("x" * 1000))
        await made.finish()
        await trio.sleep(10)
        assert made.wants(ReadInterest.PAUSED)
        assert not made.ends
        await made.channel.queue.receive()
        await wait_all_tasks_blocked()
        assert made.ends == [PeerVanished()]


async def test_the_socket_is_watched_only_above_the_hard_mark(autojump_clock: MockClock) -> None:
    """The poller minds it while nobody reads it, and at no other time, however often that changes."""
    async with opened("watched", HARD) as made:
        assert len(made.poller) == 0
        for _ in range(3):
            await made.peer.say(text("x" * 1000))
            await wait_all_tasks_blocked()
            assert len(made.poller) == 1
            await made.channel.queue.receive()
            await wait_all_tasks_blocked()
            assert len(made.poller) == 0


async def test_the_watch_ends_before_the_socket_is_closed(autojump_clock: MockClock) -> None:
    """A channel that is given up while its socket is watched has the poller forget the socket at once."""
    async with benches() as make:
        made = make("watched", HARD)
        await made.control_stream.send_all(ANSWER)
        crashes: list[Exception] = []

        async def read() -> None:
            try:
                assert await made.control_stream.receive_some() == b""
            except OSError as crash:
                crashes.append(crash)

        made.nursery.start_soon(read)
        await made.peer.say(text("x" * 1000))
        await wait_all_tasks_blocked()
        assert made.wants(ReadInterest.PAUSED)
        made.channel.abort()
        made.near.socket.close()  # as the owner does it: without a checkpoint in between
        await wait_all_tasks_blocked()
        assert not crashes
        assert len(made.poller) == 0


async def test_the_stream_is_given_back(autojump_clock: MockClock) -> None:
    """Whoever uses it next waits until reading, which is cancelled then, has really stopped."""
    async with opened("streamed") as made:
        await wait_all_tasks_blocked()
        made.channel.abort()
        with pytest.raises(trio.BusyResourceError):
            await made.stream.receive_some()
        await made.control_stream.wait_released()
        with trio.move_on_after(0.01) as patience:
            await made.stream.receive_some()
        assert patience.cancelled_caught


# TLS.


async def test_over_tls(autojump_clock: MockClock) -> None:
    """Messages, a ping, backpressure and a Close over a TLS stream, which bears no cancelled write."""
    authority, wire = trustme.CA(), Wire()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("seawall.test").configure_cert(server)  # pyright: ignore[reportUnknownMemberType]  # of pyOpenSSL
    authority.configure_trust(client)  # pyright: ignore[reportUnknownMemberType]  # as above
    near = trio.SSLStream[trio.abc.Stream](wire, server, server_side=True, https_compatible=True)
    peer = Peer(trio.SSLStream(wire.far, client, server_hostname="seawall.test", https_compatible=True))
    told = Told()
    async with trio.open_nursery() as nursery:
        channel = MessageChannel(StreamTransport(near, nursery), ChannelSettings(SOFT), Budget(), told)
        channel.admit(Limits().max_message_size)
        control_stream = ControlStream(channel)
        nursery.start_soon(control_stream.send_all, ANSWER)
        await peer.head()
        said = b"".join(text(f"{number}" * 10_000) for number in range(5))
        nursery.start_soon(peer.say, said, frame(PING, b"!"), close(4000))
        with trio.fail_after(2 * PACE):
            assert await control_stream.receive_some() == masked(PING, b"!")
            assert await control_stream.receive_some() == masked(CLOSE, b"\x0f\xa0")
        for number in range(5):
            assert await channel.queue.receive() == f"{number}" * 10_000
            with trio.move_on_after(0):
                await channel.send("never")
            await channel.send(f"{number}" * 100_000)
            found = await peer.frame()
            assert found == (TEXT, f"{number}".encode() * 100_000)
        assert [end for end in told.events if not isinstance(end, SendBlocked | MessageBegun)] == [PeerClosed(4000, "")]
        nursery.cancel_scope.cancel()
