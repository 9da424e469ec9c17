"""`ControlStream`: by hand; then over each kind of transport; then with the real trio-websocket."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import pytest
import trio
import trio_websocket
from attrs import define, evolve, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.errors import ProtocolViolation
from seawall.http.upgrade import canonical_head
from seawall.limits import Limits
from seawall.wire.budget import Budget
from seawall.wire.channel import FRAMES_PER_TURN
from seawall.wire.control_queue import MAX_PINGS, ControlQueue
from seawall.wire.events import PeerClosed
from seawall.wire.frames.codes import Opcode
from seawall.wire.frames.control import Control
from seawall.wire.frames.encoder import encode_message
from seawall.wire.receive_queue import ReceiveQueue
from seawall.wire.state import Reading
from seawall.wire.waiter import Waiter
from tests.kit.channels import ANSWER, ASKED, LINKS, Bench, Hand, alone, bench, masked, opened
from tests.kit.memory import BROKEN, close, text
from tests.kit.wire import CLOSE, PING, PONG, TEXT, frame

#: Room for four messages before the soft mark.
SOFT = Limits(inbound_queue=4, outbound_buffer=1000)


@pytest.fixture(params=LINKS)
def over(request: pytest.FixtureRequest) -> str:
    """Each kind of transport."""
    return cast("str", request.param)


# The queue between it and the channel, alone.


@define(eq=False)
class Queues:
    """A `ControlQueue` over messages of which the first is waited for."""

    messages: ReceiveQueue = field(factory=lambda: ReceiveQueue(Limits(), Budget(), Hand()))
    controls: ControlQueue = field(init=False)
    received: list[str | bytes] = field(factory=list[str | bytes])

    def __attrs_post_init__(self) -> None:
        """Make it."""
        self.controls = ControlQueue(self.messages)

    async def receive(self) -> None:
        """Wait for the first message."""
        self.received.append(await self.messages.receive())

    def holds(self) -> bool:
        """Whether messages are held; a type checker would think that it never changes."""
        return self.controls.defers_messages


async def test_messages_are_held_until_a_ping_is_answered(autojump_clock: MockClock) -> None:
    """From a Ping on, until the next one is asked for and there is none; a Close holds nothing."""
    queues = Queues()
    controls = queues.controls
    controls.put(Control(Opcode.CLOSE, b""))
    assert not queues.holds()
    controls.put(Control(Opcode.PING, b"!"))
    assert queues.holds()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queues.receive)
        await wait_all_tasks_blocked()
        queues.messages.put("after the Ping")
        controls.begin_reading()
        assert controls.take() == masked(PING, b"!")
        await wait_all_tasks_blocked()
        assert not queues.received
        controls.begin_reading()
        assert controls.take() == masked(CLOSE)
        assert controls.take() is None
        controls.release_messages()
        assert not queues.holds()
    assert queues.received == ["after the Ping"]


async def test_messages_are_not_held_while_an_answer_waits() -> None:
    """As long as an answer waits for room, later Pings hold nothing; when more are asked for they do again."""
    queues = Queues()
    controls = queues.controls
    controls.put(Control(Opcode.PING, b"a"))
    controls.release_messages(pong_blocked=True)
    assert not queues.holds()
    controls.put(Control(Opcode.PING, b"b"))
    assert not queues.holds()
    controls.begin_reading()
    controls.put(Control(Opcode.PING, b"c"))
    assert queues.holds()
    controls.drop_pings()
    assert controls.take() is None


async def test_news_wakes_who_waits(autojump_clock: MockClock) -> None:
    """A control frame and the closing do."""
    controls = Queues().controls
    for happen in (partial(controls.put, Control(Opcode.PING, b"")), controls.close):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for, controls.changed)
            await wait_all_tasks_blocked()
            happen()
    assert controls.closed


async def wait_for(waiter: Waiter) -> None:
    """Wait once."""
    await waiter.wait()


# By hand.


async def test_only_the_latest_pings_are_answered() -> None:
    """Of pings that come faster than they are taken, only the latest are handed over, in order."""
    made = await alone()
    made.feed(b"".join(frame(PING, bytes([number])) for number in range(100)))
    made.channel.proceed()
    for number in range(100 - MAX_PINGS, 100):
        assert await made.control_stream.receive_some() == masked(PING, bytes([number]))
    made.feed(frame(PING, b"again"))
    assert await made.control_stream.receive_some() == masked(PING, b"again")


async def test_no_ping_once_closing_has_begun() -> None:
    """After `begin_closing` no ping is handed over, not even one that was there before; the peer's Close is."""
    made = await alone()
    made.feed(frame(PING, b"a"))
    made.channel.begin_closing()
    made.feed(frame(PING, b"b") + close(1000))
    assert await made.control_stream.receive_some() == masked(CLOSE, b"\x03\xe8")


async def test_there_is_always_room_for_trio_websocket() -> None:
    """The part of the interface that trio-websocket has no use for returns at once, when nothing is taken, too."""
    made = await alone()
    made.transport.room = 0
    await made.control_stream.wait_send_all_might_not_block()


# Over each kind of transport.


async def test_the_head_comes_first_and_then_one_control_frame_a_call(over: str, autojump_clock: MockClock) -> None:
    """trio-websocket reads the canonical head, whatever it asks for, then single control frames, and no message."""
    async with bench(over) as made:
        made.present(b"GET / HTTP/1.1\r\n\r\n")
        stream = made.control_stream
        assert await stream.receive_some(1) == b"GET / HTTP/1.1\r\n\r\n"
        await stream.send_all(ANSWER)
        await made.peer.say(text("one"), frame(PING, b"!"), text("two"), frame(PONG, b"?"), close(4000, "bye"))
        assert await stream.receive_some(1) == masked(PING, b"!")
        assert await stream.receive_some(1) == masked(CLOSE, b"\x0f\xa0bye")
        assert made.ends == [PeerClosed(4000, "bye")]
        assert await made.receive_all() == ["one", "two"]
        assert made.channel.inbound.messages == 2


async def test_pings_before_the_upgrade_are_answered_after_it(over: str, autojump_clock: MockClock) -> None:
    """Only the latest ones, as ever."""
    async with bench(over) as made:
        made.nursery.start_soon(made.read)
        await made.peer.say(*(frame(PING, bytes([number])) for number in range(50)))
        await wait_all_tasks_blocked()
        await made.control_stream.send_all(ANSWER)
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
        await made.control_stream.send_all(b"\x88\x02\x03\xea")
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
        made.control_stream.put_close(b"\x88\x02\x03\xea")
        await wait_all_tasks_blocked()
        assert made.has_left()


async def test_closing_the_control_stream_closes_nothing(over: str, autojump_clock: MockClock) -> None:
    """`aclose` makes the reader see end-of-file; the stream stays, and what is queued is still written."""
    async with opened(over) as made:
        await made.block()
        await made.control_stream.send_all(b"\x88\x02\x03\xe8")
        await made.control_stream.aclose()
        await wait_all_tasks_blocked()
        assert made.has_left()
        assert await made.control_stream.receive_some() == b""
        made.wire.flow()
        assert await made.peer.closing() == (1000, "")
        assert made.wire.closed_at > trio.current_time()
        assert not made.ends


async def test_a_cancelled_read_loses_nothing(over: str, autojump_clock: MockClock) -> None:
    """Reading can be cancelled at any moment and taken up again."""
    async with bench(over) as made:
        await made.control_stream.send_all(ANSWER)

        async def speak() -> None:
            for number in range(50):
                await made.peer.say(text(str(number)), frame(PING, str(number).encode()))
                await trio.sleep(1)
            await made.finish()

        made.nursery.start_soon(speak)
        pings: list[int] = []
        while not made.is_at(Reading.FINISHED):
            with trio.move_on_after(0.3):
                while control := await made.control_stream.receive_some():
                    pings.append(int(control[6:]))
        assert pings == list(range(50))
        assert await made.receive_all() == [str(number) for number in range(50)]


async def test_only_the_first_close_goes_out(over: str, autojump_clock: MockClock) -> None:
    """Whether it is ours or trio-websocket's: there is one Close, and nothing after it."""
    async with opened(over) as made:
        made.control_stream.put_close(b"\x88\x02\x03\xf3")
        made.control_stream.put_close(b"\x88\x02\x03\xe8")
        await made.control_stream.send_all(b"\x88\x02\x03\xe8")
        await made.channel.send_buffer.wait_empty()
        assert [found.closing for found in await made.heard()] == [(1011, "")]


# With the real trio-websocket, over each kind of transport.


@asynccontextmanager
async def driven(
    over: str, limits: Limits | None = None
) -> AsyncGenerator[tuple[Bench, trio_websocket.WebSocketConnection]]:
    """A channel that trio-websocket reads and writes."""
    async with bench(over, limits) as made:
        made.present(canonical_head(ASKED, None))
        request = await trio_websocket.wrap_server_stream(made.nursery, made.control_stream)
        websocket = await request.accept()
        yield made, websocket


async def test_trio_websocket_does_the_handshake_and_answers(over: str, autojump_clock: MockClock) -> None:
    """The real thing accepts the canonical head, answers pings and the Close, and then sees end-of-file."""
    async with driven(over) as (made, websocket):
        assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in await made.peer.head()  # RFC 6455, section 1.3
        await made.peer.say(frame(PING, b"a"), text("one"))
        assert await made.peer.frame() == (PONG, b"a")
        assert await made.channel.queue.receive() == "one"
        await made.peer.say(close(4000, "bye"))
        assert await made.peer.closing() == (4000, "bye")
        await made.control_stream.wait_reader_exited()
        await websocket.aclose()
        assert made.ends == [PeerClosed(4000, "bye")]


async def test_a_ping_is_answered_before_what_came_after_it(over: str, autojump_clock: MockClock) -> None:
    """A handler that waits for a message sees it when the pings before it have been answered, and soon enough."""
    async with driven(over) as (made, _):
        await made.peer.head()

        async def echo() -> None:
            while True:
                await made.channel.send(await made.channel.queue.receive())

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
                received.append(await made.channel.queue.receive())

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
            made.channel.queue.discard()
        await made.peer.say(text("x") * 5, text("y") * (0 if limits is SOFT else 10 * FRAMES_PER_TURN), close(4000))
        await trio.sleep(1.1)
        assert made.ends == [PeerClosed(4000, "")]


async def test_a_message_does_not_wait_for_a_pong_that_gets_stuck() -> None:
    """Also when the way out is blocked in the moment between the ping and its answer."""
    made = await alone(Limits(outbound_buffer=10))
    received: list[str | bytes] = []

    async def receive() -> None:
        received.append(await made.channel.queue.receive())

    async def answer() -> None:
        ping = await made.control_stream.receive_some()
        made.transport.room = 0
        made.channel.send_buffer.put_message_nowait(encode_message("x" * 100))  # as somebody else may do it now
        assert ping == masked(PING, b"a")
        await made.control_stream.send_all(b"\x8a\x01a")

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
            await made.control_stream.wait_reader_exited()
            await websocket.aclose()


async def test_a_close_that_is_decided_while_a_pong_waits(over: str, autojump_clock: MockClock) -> None:
    """trio-websocket holds its lock for a pong without room when the Close is decided: pong, Close, nothing else.

    A ping that arrives in this moment would make its reader raise, if the channel handed it over.
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
            await made.control_stream.wait_reader_exited()
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
            await made.control_stream.wait_reader_exited()


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
