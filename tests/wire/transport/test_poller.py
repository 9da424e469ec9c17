"""`Poller` and `SocketTransport` on real sockets: direct writes, ends that nobody reads, fairness, and descriptors."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import final

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.limits import Limits
from seawall.wire.budget import Budget
from seawall.wire.channel import FRAMES_PER_TURN, ChannelSettings, MessageChannel
from seawall.wire.events import PeerClosed, PeerFinished, PeerVanished, WireEvent
from seawall.wire.frames.encoder import encode_message
from seawall.wire.transport.base import PACE, ReadInterest
from seawall.wire.transport.polled import HangupWatch, PolledReceiver, SocketTransport
from seawall.wire.transport.poller import MAX_EVENTS, Poller, open_poller
from tests.kit.channels import ANSWER, Bench, Told, bench, benches, masked, opened, until
from tests.kit.memory import BROKEN, close, text
from tests.kit.wire import CLOSE, PING, SOON, TEXT, frame, frames

HARD = Limits(max_message_size=1000, inbound_buffer=1000)
SOFT = Limits(inbound_queue=2)


@final
class Steps(trio.abc.Instrument):
    """Counts the steps of the poller's task: one that spins takes one whenever anybody does."""

    def __init__(self) -> None:
        """Begin."""
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        self.count += task.name.endswith("Poller.run")


async def rests() -> bool:
    """Whether the poller does nothing while nothing happens, though it is given every chance."""
    steps = Steps()
    for _ in range(5):  # what has just happened may be worked off
        await trio.lowlevel.checkpoint()
    trio.lowlevel.add_instrument(steps)
    for _ in range(100):
        await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(steps)
    return steps.count == 0


@asynccontextmanager
async def polling() -> AsyncGenerator[Poller]:
    """A poller that runs."""
    async with trio.open_nursery() as nursery:
        poller = Poller()
        await nursery.start(poller.run)
        yield poller
        nursery.cancel_scope.cancel()


async def tcp() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Both ends of a TCP connection: ours and the peer's."""
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        far = trio.socket.socket()
        await far.connect(listener.getsockname())
        near, _ = await listener.accept()
    return trio.SocketStream(near), trio.SocketStream(far)


def reset(stream: trio.abc.Stream) -> None:
    """Vanish: over TCP by linger, over a Unix socket by leaving something unread."""
    assert isinstance(stream, trio.SocketStream)
    if stream.socket.family != socket.AF_UNIX:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def number_of(stream: trio.abc.Stream) -> int:
    """The number of its descriptor."""
    assert isinstance(stream, trio.SocketStream)
    return stream.socket.fileno()


async def test_there_is_one_where_there_is_epoll() -> None:
    """On Linux a server polls."""
    assert open_poller() is not None


# Writing.


async def test_writing_is_direct(autojump_clock: MockClock) -> None:
    """What is sent is with the operating system when `send` returns: no task had to run, and none has to."""
    async with opened("polled") as made:
        made.channel.send_buffer.put_message_nowait(encode_message("now"))
        assert frames(os.read(number_of(made.peer.stream), 100)) == [(TEXT, b"now")]
        assert not made.channel.send_buffer.pending
        assert await rests()


async def test_what_does_not_fit_is_written_when_there_is_room(autojump_clock: MockClock) -> None:
    """The rest waits for the socket to take it, without anybody's task; and afterwards nobody waits any more."""
    async with opened("polled", Limits(outbound_buffer=10_000_000)) as made:
        for number in range(20):
            made.channel.send_buffer.put_message_nowait(encode_message(bytes([number]) * 50_000))
        pending = len(made.channel.send_buffer.pending)
        assert 0 < pending < 1_000_000
        await wait_all_tasks_blocked()
        assert len(made.channel.send_buffer.pending) == pending
        found = await made.heard()
        assert [one.payload for one in found] == [bytes([number]) * 50_000 for number in range(20)]
        assert not made.channel.send_buffer.pending
        assert await rests()


async def test_waiting_for_room_and_for_data(autojump_clock: MockClock) -> None:
    """A peer that does not read is heard all the same."""
    async with opened("polled") as made:
        await made.block()
        await made.peer.say(text("I do not read"))
        assert await made.channel.queue.receive() == "I do not read"
        assert made.channel.send_buffer.pending
        assert await rests()


async def test_waiting_for_room_when_nothing_is_wanted_any_more(autojump_clock: MockClock) -> None:
    """After the peer's Close what we still have to say goes out as the peer takes it."""
    async with opened("polled") as made:
        await made.block()
        await made.peer.say(close(1000))
        await wait_all_tasks_blocked()
        assert made.wants(ReadInterest.NOTHING)
        made.control_stream.put_close(b"\x88\x02\x03\xe8")
        assert await rests()
        assert [one.opcode for one in await made.heard()] == [TEXT, CLOSE]
        assert await rests()


@pytest.mark.parametrize(
    "read_interest", [ReadInterest.READ, ReadInterest.THROTTLED, ReadInterest.PAUSED, ReadInterest.NOTHING]
)
async def test_the_peer_vanishes_while_something_waits(read_interest: ReadInterest, autojump_clock: MockClock) -> None:
    """Whatever the channel wants, the poller finds out, who waits for room is told, and nothing spins."""
    limits = {ReadInterest.THROTTLED: SOFT, ReadInterest.PAUSED: HARD}.get(read_interest, Limits())
    async with opened("polled", limits) as made:
        await made.peer.say(text("x" * 900), text("x" * 900) if read_interest is not ReadInterest.NOTHING else close())
        await wait_all_tasks_blocked()
        assert made.wants(read_interest)
        await made.block()
        refused: list[str] = []

        async def send() -> None:
            with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
                await made.channel.send("y" * 2_000_000)
            refused.append("send")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            reset(made.peer.stream)
        assert refused == ["send"]
        await wait_all_tasks_blocked()
        assert made.channel.send_buffer.broken
        was_told = read_interest is ReadInterest.NOTHING
        assert made.ends == [PeerClosed(1000, "") if was_told else PeerVanished(reset=True)]
        assert await rests()


async def test_writing_to_who_has_gone(autojump_clock: MockClock) -> None:
    """A write that fails breaks the way out, and the end is reported by reading alone, once, with what came before."""
    async with opened("polled") as made:
        await made.peer.say(text("last"), close(4000))
        await made.peer.stream.aclose()
        with pytest.raises(trio.BrokenResourceError):
            made.channel.send_buffer.put_message_nowait(encode_message("x"))
        assert made.channel.send_buffer.broken
        assert await made.channel.queue.receive() == "last"
        assert made.ends == [PeerClosed(4000, "")]
        assert await rests()


async def test_a_closed_transport_writes_nothing(autojump_clock: MockClock) -> None:
    """The socket may be somebody else's by then."""
    async with opened("polled") as made:
        made.transport.close()
        with pytest.raises(trio.BrokenResourceError):
            made.channel.send_buffer.put_message_nowait(encode_message("x"))
        assert await made.heard() == []


# Ends that nobody reads.


@pytest.mark.parametrize("over", ["polled", "watched"])
async def test_above_the_hard_mark_a_reset_is_seen(over: str, autojump_clock: MockClock) -> None:
    """A channel that does not read at all sees a reset all the same, at once, without reading on."""
    async with opened(over, HARD) as made:
        await made.peer.say(text("x" * 1000), text("y" * 1000))
        await wait_all_tasks_blocked()
        assert made.wants(ReadInterest.PAUSED)
        assert await rests()
        start = trio.current_time()
        await made.channel.send("unread")
        await wait_all_tasks_blocked()
        reset(made.peer.stream)
        await wait_all_tasks_blocked()
        assert made.ends == [PeerVanished(reset=True)]
        assert made.wants(ReadInterest.NOTHING)
        assert made.has_left()
        assert trio.current_time() == start
        assert await rests()
        assert await made.channel.queue.receive() == "x" * 1000
        with pytest.raises(trio.EndOfChannel):
            await made.channel.queue.receive()
        assert made.channel.inbound.messages == 1
        assert await rests()


@pytest.mark.parametrize("how", ["end", "close"])
@pytest.mark.parametrize("over", ["polled", "watched"])
async def test_mended_12_above_the_hard_mark_the_end_is_seen(how: str, over: str, autojump_clock: MockClock) -> None:
    """A channel that does not read sees at once that the peer has closed its side, and still reads all before that."""
    async with opened(over, HARD) as made:
        await made.peer.say(*[text(one * 1000) for one in "abcdefgh"])
        await wait_all_tasks_blocked()
        assert made.wants(ReadInterest.PAUSED)
        if how == "end":
            await made.finish()
        else:
            await made.peer.stream.aclose()
        await wait_all_tasks_blocked()
        assert trio.current_time() == 0
        assert made.ends == [PeerFinished()]
        assert made.channel.inbound.finished_at == 0
        assert await rests()
        for one in "abcdefgh":
            assert PeerVanished() not in made.ends
            assert await made.channel.queue.receive() == one * 1000
            await wait_all_tasks_blocked()
            assert await rests()
        assert made.ends[-1] == PeerVanished()
        assert await rests()


@pytest.mark.parametrize("over", ["polled", "watched"])
async def test_mended_12_who_has_closed_its_side_is_still_written_to(over: str, autojump_clock: MockClock) -> None:
    """Above the hard mark, too: what has to wait for room is written once there is some, and nothing spins."""
    async with opened(over, HARD) as made:
        await made.peer.say(text("x" * 1000), text("y" * 1000))
        await wait_all_tasks_blocked()
        await made.block()
        await made.finish()
        await wait_all_tasks_blocked()
        assert made.ends[-1:] == [PeerFinished()]
        assert await rests()
        assert made.channel.send_buffer.pending
        while made.channel.send_buffer.pending:
            await made.peer.hear()
            await wait_all_tasks_blocked()
        assert await rests()


@pytest.mark.parametrize("over", ["polled", "watched"])
async def test_what_was_not_read_is_taken_off_the_socket(over: str, autojump_clock: MockClock) -> None:
    """A peer whose last words were not read is not answered with a reset, which would cost it ours."""
    async with opened(over, HARD) as made:
        last = text("x" * 1000) * 20
        await made.peer.say(last)
        await wait_all_tasks_blocked()
        await made.finish()
        await wait_all_tasks_blocked()
        made.channel.lose()
        assert made.ends == [PeerFinished(), PeerVanished(reset=True)]
        assert made.taken(len(last)) < len(last)
        await made.control_stream.aclose()
        with trio.fail_after(1):
            await made.channel.linger()
        assert await made.peer.rest() == b""
        assert made.taken(len(last)) == len(last)
        assert made.channel.inbound.messages == 1


@pytest.mark.parametrize("over", ["polled", "watched"])
async def test_before_the_upgrade_the_end_is_seen(over: str, autojump_clock: MockClock) -> None:
    """Also by who has as much early data as may be."""
    async with bench(over) as made:
        made.nursery.start_soon(made.read)
        with trio.move_on_after(1):
            while made.wants(ReadInterest.READ):
                await made.peer.say(text("x" * 1000))
        assert made.wants(ReadInterest.PAUSED)
        assert await rests()
        await made.finish()
        await wait_all_tasks_blocked()
        assert made.ends == [PeerFinished()]
        assert await rests()


async def test_above_the_soft_mark_the_end_is_seen_with_what_led_to_it(autojump_clock: MockClock) -> None:
    """A Close before the end is read, and at once: the end of the stream brings the probe forward."""
    async with opened("polled", SOFT) as made:
        await made.peer.say(text("1"), text("2"))
        await wait_all_tasks_blocked()
        assert made.wants(ReadInterest.THROTTLED)
        await made.peer.say(text("3"), close(4000))
        await made.peer.stream.aclose()
        await wait_all_tasks_blocked()
        assert made.ends == [PeerClosed(4000, "")]
        assert trio.current_time() == 0
        assert await made.receive_all() == ["1", "2", "3"]
        assert await rests()


async def test_above_the_soft_mark_a_reset_is_seen(autojump_clock: MockClock) -> None:
    """At once."""
    async with opened("polled", SOFT) as made:
        await made.peer.say(text("1"), text("2"))
        await made.channel.send("unread")
        await wait_all_tasks_blocked()
        reset(made.peer.stream)
        await wait_all_tasks_blocked()
        assert made.ends == [PeerVanished(reset=True)]
        assert trio.current_time() == 0
        assert await rests()


@pytest.mark.parametrize("size", [16_400, 60_000])
async def test_a_large_message_after_another_takes_one_read(size: int, autojump_clock: MockClock) -> None:
    """The first of some large messages takes a turn for each read; from the second on one read has all of it."""
    async with opened("polled") as made:
        turns: list[int] = []
        for bytes_sent in (size, size, size, 10, size):
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            await made.peer.say(text("x" * bytes_sent))
            await wait_all_tasks_blocked()
            trio.lowlevel.remove_instrument(steps)
            turns.append(steps.count)
        assert turns == [2, 1, 1, 1, 2]
        assert made.channel.inbound.messages == 5


@pytest.mark.parametrize("family", ["tcp", "unix"])
async def test_a_reset_after_the_end_is_seen_once(family: str) -> None:
    """A channel that wants nothing any more lets go of a socket that is dead: epoll would report it for ever."""
    async with over(family) as (poller, channel, far, ends):
        await far.send_all(close(1000))
        await until(lambda: bool(ends))
        assert channel.read_interest is ReadInterest.NOTHING
        assert len(poller) == 1
        reset(far)
        await until(lambda: not len(poller))
        assert channel.send_buffer.broken
        assert await rests()
        assert ends == [PeerClosed(1000, "")]


@pytest.mark.parametrize("family", ["tcp", "unix"])
async def test_nobody_lingers_for_a_dead_socket(family: str) -> None:
    """When the poller has let go of a socket, there is nobody any more to wait for."""
    async with over(family) as (poller, channel, far, _):
        await far.send_all(close(1000))
        reset(far)
        await until(lambda: not len(poller))
        with trio.fail_after(SOON):
            await channel.linger()


@asynccontextmanager
async def over(family: str) -> AsyncGenerator[tuple[Poller, MessageChannel, trio.SocketStream, list[WireEvent]]]:
    """An open channel on a socket, with its poller, the peer's end, and what ended it."""
    near, far = await tcp() if family == "tcp" else map(trio.SocketStream, trio.socket.socketpair())
    told = Told()
    with near.socket, far.socket:
        async with polling() as poller:
            channel = MessageChannel(SocketTransport(poller, near), ChannelSettings(Limits()), Budget(), told)
            channel.admit(Limits().max_message_size)
            channel.accept(ANSWER)
            try:
                yield poller, channel, far, told.events
            finally:
                channel.abort()


async def test_above_both_marks_nothing_spins(autojump_clock: MockClock) -> None:
    """Data that nobody wants yet do not keep the poller busy; when there is room, what was held is decoded at once."""
    for limits in (SOFT, HARD):
        async with opened("polled", limits) as made:
            await made.peer.say(text("x" * 900) * 3)
            await wait_all_tasks_blocked()
            await made.peer.say(text("y"))
            assert await rests()
            assert made.channel.inbound.messages == 2
            start = trio.current_time()
            assert await made.channel.queue.receive() == "x" * 900
            if made.wants(ReadInterest.THROTTLED):
                await made.channel.queue.receive()
            await wait_all_tasks_blocked()  # nothing but the wake-up tells the poller
            assert made.channel.inbound.messages > 2
            assert trio.current_time() == start


# Fairness.


async def test_a_flood_gets_its_share_and_no_more(autojump_clock: MockClock) -> None:
    """A peer that sends thousands of tiny frames delays another one's message by its turns, not by all it has sent."""
    async with benches() as make:
        flood, innocent = make("polled", Limits()), make("polled", Limits())
        for one in (flood, innocent):
            await one.open()
        flood.channel.queue.discard()
        await flood.peer.say(text("") * 5000)
        await until(lambda: flood.channel.inbound.messages > 0)
        for number in range(20):
            before = flood.channel.inbound.messages
            await innocent.peer.say(text(str(number)))
            assert await innocent.channel.queue.receive() == str(number)
            assert flood.channel.inbound.messages - before <= 3 * FRAMES_PER_TURN
        assert flood.channel.inbound.messages < 5000
        await wait_all_tasks_blocked()
        assert flood.channel.inbound.messages == 5000


async def test_everybody_gets_a_turn(autojump_clock: MockClock) -> None:
    """Of many floods none is more than a read ahead of another."""
    async with benches() as make:
        floods = [make("polled", Limits()) for _ in range(5)]
        for one in floods:
            await one.open()
            one.channel.queue.discard()
            await one.peer.say(text("") * 5000)
        await until(lambda: all(one.wants(ReadInterest.DECODE) for one in floods))
        before = [one.channel.inbound.messages for one in floods]
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        gained = [one.channel.inbound.messages - count for one, count in zip(floods, before, strict=True)]
        assert max(gained) - min(gained) <= 2 * FRAMES_PER_TURN
        assert 5 * FRAMES_PER_TURN <= max(gained) <= 15 * FRAMES_PER_TURN


async def test_a_flood_does_not_put_off_the_looks_at_others(mock_clock: MockClock) -> None:
    """Somebody else's backlog, however long, does not keep the control frames of who is behind waiting."""
    async with benches() as make:
        flood, behind = make("polled", Limits()), make("polled", SOFT)
        for one in (flood, behind):
            await one.open()
        flood.channel.queue.discard()
        await behind.peer.say(text("1"), text("2"))
        await wait_all_tasks_blocked()
        assert behind.wants(ReadInterest.THROTTLED)
        await behind.peer.say(frame(PING, b"!"))
        flood.feed(text("") * 30_000)  # as much as one read may give, in the middle of a large frame
        flood.transport.update()
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        mock_clock.jump(PACE)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert behind.controls == [masked(PING, b"!")]
        assert flood.wants(ReadInterest.DECODE)


async def test_more_sockets_than_one_turn_looks_at(autojump_clock: MockClock) -> None:
    """All of them get their turn."""
    async with benches() as make:
        many = [make("polled", Limits()) for _ in range(MAX_EVENTS + 20)]
        for one in many:
            await one.control_stream.send_all(ANSWER)
            await one.peer.say(text("x"))
        await wait_all_tasks_blocked()
        assert [one.channel.inbound.messages for one in many] == [1] * len(many)
        assert await rests()


# One channel's faults.


class Odd(Exception):
    """What nobody expects."""


def fails_once(made: Bench) -> None:
    """Let what is told of the end raise, the first time."""

    def on_end(end: WireEvent) -> None:
        made.ends.append(end)
        if len(made.ends) == 1:
            raise Odd

    made.on_end = on_end


@pytest.mark.parametrize("where", ["read", "decode", "probe", "watch"])
async def test_a_fault_in_one_channel_is_its_own(where: str, autojump_clock: MockClock) -> None:
    """Whatever one channel raises ends that channel; the poller and the others go on."""
    async with benches() as make:
        limits = {"probe": SOFT, "watch": HARD}.get(where, Limits(inbound_queue=1000))
        faulty, innocent = make("polled", limits), make("polled", Limits())
        for one in (faulty, innocent):
            await one.open()
        fails_once(faulty)
        if where == "decode":
            await faulty.peer.say(text("x") * 2 * FRAMES_PER_TURN, close())
        elif where != "read":
            await faulty.peer.say(text("x" * 900) * 2)
            await wait_all_tasks_blocked()
        if where == "probe":
            await faulty.peer.say(close())
            await trio.sleep(2 * PACE)
        else:
            await faulty.finish()
        await wait_all_tasks_blocked()
        assert [type(end) for end in faulty.ends] == [type(faulty.ends[0]), Odd]
        assert faulty.wants(ReadInterest.NOTHING)
        assert faulty.has_left()
        assert not faulty.channel.send_buffer.broken  # the peer may be told
        await innocent.peer.say(text("x"))
        assert await innocent.channel.queue.receive() == "x"
        assert await rests()


async def test_a_faulty_channel_is_left_alone(autojump_clock: MockClock) -> None:
    """Nothing more is read of it."""
    async with opened("polled") as made:
        fails_once(made)
        await made.peer.say(close())
        await wait_all_tasks_blocked()
        assert [type(end) for end in made.ends] == [PeerClosed, Odd]
        late = text("late") * 10
        await made.peer.say(late)
        await wait_all_tasks_blocked()
        assert made.taken(len(late)) == 0
        assert await rests()


async def test_a_fault_on_top_of_a_fault(autojump_clock: MockClock) -> None:
    """A channel whose own end fails as well is given up, and is still the only one."""
    async with benches() as make:
        faulty, innocent = make("polled", Limits()), make("polled", Limits())
        for one in (faulty, innocent):
            await one.open()

        def on_end(_: WireEvent) -> None:
            raise Odd

        faulty.on_end = on_end
        await faulty.finish()
        await wait_all_tasks_blocked()
        assert faulty.channel.send_buffer.broken
        assert faulty.has_left()
        assert len(faulty.poller) == 1
        await innocent.peer.say(text("x"))
        assert await innocent.channel.queue.receive() == "x"
        assert await rests()


async def test_a_fault_of_who_is_told_is_its_own(autojump_clock: MockClock) -> None:
    """What a channel raises when its watched socket has gone must not reach the poller either."""
    async with benches() as make:
        faulty, innocent = make("watched", HARD), make("polled", Limits())
        for one in (faulty, innocent):
            await one.open()
        await faulty.peer.say(text("x" * 1000))
        await wait_all_tasks_blocked()
        fails_once(faulty)
        await faulty.finish()
        await wait_all_tasks_blocked()
        await innocent.peer.say(text("x"))
        assert await innocent.channel.queue.receive() == "x"


async def test_a_descriptor_that_somebody_else_has_closed(autojump_clock: MockClock) -> None:
    """A mistake of the program's with one socket is no end of the poller, nor of the others."""
    async with benches() as make:
        robbed, innocent = make("polled", SOFT), make("polled", Limits())
        for one in (robbed, innocent):
            await one.open()
        await robbed.peer.say(text("x") * 3)
        await wait_all_tasks_blocked()
        os.close(robbed.near.socket.detach())
        await trio.sleep(2 * PACE)
        with pytest.raises(trio.BrokenResourceError):
            await robbed.channel.send("x")
        await innocent.peer.say(text("x"))
        assert await innocent.channel.queue.receive() == "x"
        assert await rests()


# Descriptors.


@pytest.mark.parametrize("how", ["abort", "close"])
async def test_a_number_is_used_again(how: str, autojump_clock: MockClock) -> None:
    """A socket is forgotten before it is closed: the next one with its number gets its own events, and no others."""
    async with benches() as make:
        old = make("polled", Limits())
        await old.open()
        number = number_of(old.stream)
        if how == "abort":
            old.channel.abort()
        else:
            old.transport.close()
        assert len(old.poller) == 0
        old.near.socket.close()
        new = make("polled", Limits())
        assert number == number_of(new.stream)
        await new.open()
        old.channel.abort()  # late, and again: it must not take the new one with it
        old.transport.update()
        assert len(new.poller) == 1
        await new.peer.say(text("x"))
        assert await new.channel.queue.receive() == "x"
        assert old.channel.inbound.messages == 0
        await new.block()
        await new.heard()
        assert not new.channel.send_buffer.pending


async def test_a_transport_that_is_closed_while_it_is_due(autojump_clock: MockClock) -> None:
    """What the poller still had to do for a channel that has been given up, a turn or a probe, is not done."""
    for limits in (Limits(inbound_queue=1000), SOFT):
        async with opened("polled", limits) as made:
            await made.peer.say(text("x") * 3 * FRAMES_PER_TURN)
            await until(lambda: made.channel.inbound.messages > 0)
            assert made.channel.read_interest in {ReadInterest.DECODE, ReadInterest.THROTTLED}
            made.channel.abort()
            received = made.channel.inbound.messages
            await trio.sleep(10 * PACE)
            assert made.channel.inbound.messages == received
            assert not made.ends


async def test_a_channel_that_another_one_ends(autojump_clock: MockClock) -> None:
    """What one channel's end sets off may close others that have something to read in the same turn."""
    async with benches() as make:
        pair = [make("polled", Limits()) for _ in range(2)]
        for one in pair:
            await one.open()

        def both(end: WireEvent) -> None:
            for one in pair:
                one.channel.abort()

        for one in pair:
            one.on_end = both
            await one.peer.say(close())
        await wait_all_tasks_blocked()
        assert [one.has_left() for one in pair] == [True, True]
        assert len(pair[0].poller) == 0


@pytest.mark.parametrize("data", [text("x") * 2 * FRAMES_PER_TURN, b""], ids=["decode", "read"])
async def test_a_channel_that_another_one_changes(data: bytes, autojump_clock: MockClock) -> None:
    """Channels that have something to decode or to read, and need not any more when their turn comes, do nothing."""
    async with benches() as make:
        pair = [make("polled", Limits(inbound_queue=1000)) for _ in range(2)]

        def both(end: WireEvent) -> None:
            for one in pair:
                if not one.wants(ReadInterest.NOTHING):
                    one.channel.lose()

        for one in pair:
            await one.open()
            one.on_end = both
        for one in pair:
            os.write(number_of(one.peer.stream), data + BROKEN)  # both in one turn of the poller
        await wait_all_tasks_blocked()
        assert all(one.wants(ReadInterest.NOTHING) for one in pair)
        assert {one.channel.inbound.messages for one in pair} == {2 * FRAMES_PER_TURN if data else 0}
        assert await rests()


async def test_news_of_nothing(autojump_clock: MockClock) -> None:
    """A socket that is said to be readable and is not, as Linux may do it, is still there."""
    async with opened("polled") as made:
        assert isinstance(made.transport, SocketTransport)
        made.transport.on_ready(select.EPOLLIN, trio.current_time())
        assert not made.ends
        await made.peer.say(text("x"))
        assert await made.channel.queue.receive() == "x"
        await made.peer.say(close())
        await wait_all_tasks_blocked()
        made.transport.on_ready(select.EPOLLIN, trio.current_time())
        assert len(made.poller) == 1
        assert await rests()


# Receivers and watches.


async def test_a_polled_receiver(autojump_clock: MockClock) -> None:
    """It reads what is there at once, waits for what is not, and is forgotten by the poller when it is closed."""
    near, far = trio.socket.socketpair()
    with near, far:
        async with polling() as poller:
            with closing(PolledReceiver(poller, trio.SocketStream(near))) as receiver:
                await far.send(b"at once")
                assert await receiver.receive_some(100) == b"at once"
                assert len(poller) == 0
                for said in (b"later", b"and later"):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(far.send, said)
                        assert await receiver.receive_some(100) == said
                    assert len(poller) == 1
                far.shutdown(socket.SHUT_WR)
                assert await receiver.receive_some(100) == b""
            assert len(poller) == 0
            assert await rests()


async def test_a_polled_receiver_that_is_given_up(autojump_clock: MockClock) -> None:
    """Waiting can be cancelled, and a reset is an error like a stream's."""
    listening = await trio.open_tcp_listeners(0, host="127.0.0.1")
    far = await trio.testing.open_stream_to_socket_listener(listening[0])
    near = await listening[0].accept()
    async with listening[0], near, far, polling() as poller:
        with closing(PolledReceiver(poller, near)) as receiver:
            with trio.move_on_after(1) as patience:
                await receiver.receive_some(100)
            assert patience.cancelled_caught
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await far.aclose()
            with pytest.raises(trio.BrokenResourceError):
                await receiver.receive_some(100)
        assert await rests()


@define
class Gone:
    """Remembers when it was told something."""

    at: list[float] = field(factory=list[float])

    def on_ready(self, _events: int, now: float, /) -> None:
        """Remember."""
        self.at.append(now)


async def test_watching(autojump_clock: MockClock) -> None:
    """A `HangupWatch` tells once, does not care for data, and forgets its socket when it is closed."""
    near, far = trio.socket.socketpair()
    with near, far:
        async with polling() as poller:
            gone = Gone()
            watch = HangupWatch(poller, near.fileno())
            assert len(poller) == 0
            watch.begin(gone)
            await far.send(b"data")
            assert await rests()
            assert not gone.at
            far.shutdown(socket.SHUT_WR)
            await wait_all_tasks_blocked()
            assert gone.at == [0]
            assert await rests()
            assert gone.at == [0]
            assert len(poller) == 1
            watch.end()
            watch.end()  # whoever ends it need not know whether it has begun
            assert len(poller) == 0
            far.close()
            assert await rests()


async def test_the_poller_leaves_no_descriptor_behind() -> None:
    """What it has opened it closes, when it is cancelled."""
    before = descriptors()
    async with polling():
        assert descriptors() == before + 2
    assert descriptors() == before


def descriptors() -> int:
    """How many are open."""
    return len(list(Path("/proc/self/fd").iterdir()))
