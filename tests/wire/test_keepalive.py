"""`Keepalive` and `StallDetector`, joined in a `WireLiveness`, in virtual time, by hand and on real sockets."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from seawall.connection.deadlines import Deadline, DeadlineQueue
from seawall.connection.lifecycle import Lifecycle
from seawall.connection.timeouts import Timeouts
from seawall.errors import IdleTimeout, KeepaliveLost, SlowConsumer
from seawall.limits import Limits
from seawall.policy.ending import End, cause_of
from seawall.wire.budget import Budget
from seawall.wire.channel import ChannelSettings, MessageChannel
from seawall.wire.events import SendBlocked, WireEvent
from seawall.wire.frames.encoder import encode_message
from seawall.wire.keepalive import Keepalive, StallDetector, WireLiveness
from seawall.wire.lateness import Lateness
from seawall.wire.transport.base import ReadInterest, Transport
from seawall.wire.transport.polled import SocketTransport
from seawall.wire.transport.poller import Poller
from tests.kit.channels import ANSWER, Hand, alone
from tests.kit.memory import text
from tests.kit.wire import PING, PONG, frame

#: A Ping.
ASKED = b"\x89\x00"


@define(eq=False)
class Bench:
    """An open connection whose lifecycle asks about its wire, and what was found."""

    limits: Limits
    deadlines: DeadlineQueue = field(factory=DeadlineQueue)
    hand: Hand = field(factory=Hand)
    carrier: Transport | None = None
    """Carries the bytes, instead of `hand`."""
    transport: trio.socket.SocketType | None = None
    found: list[tuple[float, type[Exception]]] = field(factory=list[tuple[float, type[Exception]]])
    """When something was wrong, and what."""
    pings: list[float] = field(factory=list[float])
    """When the peer was asked."""
    channel: MessageChannel = field(init=False)
    liveness: WireLiveness = field(init=False)
    lifecycle: Lifecycle = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make everything."""
        transport, settings = self.carrier or self.hand, ChannelSettings(self.limits)
        self.channel = MessageChannel(transport, settings, Budget(), self)
        self.channel.admit(settings.limits.max_message_size)
        deadline, scope = Deadline(self.deadlines, self), trio.CancelScope()
        timeouts = Timeouts(self.limits, self.deadlines.lateness)
        self.lifecycle = Lifecycle(timeouts, scope, deadline, listener=None)
        self.liveness = WireLiveness(self.channel, self.limits, self.transport, self.deadlines.lateness)
        self.lifecycle.timeouts.watch(self.liveness)

    def on_wire_event(self, event: WireEvent) -> None:
        """Look again when something is due, as a connection does."""
        if isinstance(event, SendBlocked):
            self.lifecycle.rearm()

    async def open(self) -> None:
        """Accept the upgrade."""
        self.channel.accept(ANSWER)
        del self.hand.written[:]
        self.lifecycle.begin()

    def wants(self, read_interest: ReadInterest) -> bool:
        """Whether this is what the channel wants; a type checker would think that it never changes."""
        return self.channel.read_interest is read_interest

    def on_due(self, now: float) -> None:
        """Remember, and end as a connection does."""
        if (error := self.lifecycle.timeouts.check(now)) is None:
            self.lifecycle.rearm()
            return
        self.found.append((trio.current_time(), type(error)))
        if isinstance(error, SlowConsumer):
            assert not self.channel.send_buffer.broken  # nobody but its owner gives it up
            self.channel.abort()
        self.lifecycle.end(End(cause_of(error), 1011))

    def on_fault(self, fault: Exception) -> None:
        """Nothing here fails."""
        raise fault

    def hear(self, data: bytes) -> None:
        """Let the peer say something."""
        self.channel.feed(data, trio.current_time())


@asynccontextmanager
async def watched(limits: Limits, *, delay: float = math.inf) -> AsyncGenerator[Bench]:
    """An open connection under a deadline queue, whose peer answers pings after `delay`, or never."""
    bench = Bench(limits)
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            await trio.sleep(delay)
            bench.hear(frame(PONG))

        def on_write(data: bytes) -> None:
            if data == ASKED:
                bench.pings.append(trio.current_time())
                nursery.start_soon(answer)

        bench.hand.on_write = on_write
        nursery.start_soon(bench.deadlines.run)
        await bench.open()
        yield bench
        nursery.cancel_scope.cancel()


# Keepalive.


async def test_a_silent_peer_is_asked_and_given_up(autojump_clock: MockClock) -> None:
    """A Ping after ``ping_interval``, once; and ``ping_timeout`` later it is over."""
    async with watched(Limits(ping_interval=20, ping_timeout=15)) as bench:
        await trio.sleep(100)
        assert bench.pings == [20]
        assert bench.found == [(35, KeepaliveLost)]
        assert not bench.channel.send_buffer.broken  # it is told, should it be there after all
        assert len(bench.deadlines) == 0


async def test_a_peer_that_answers(autojump_clock: MockClock) -> None:
    """It is asked ``ping_interval`` after its last sign of life, for ever."""
    async with watched(Limits(ping_interval=20, ping_timeout=20), delay=1) as bench:
        await trio.sleep(1000)
        assert not bench.found
        expected = [20 + 21 * number for number in range(47)]
        assert bench.pings == expected


@pytest.mark.parametrize(
    "sign", [frame(PONG), frame(PONG, b"unasked"), text("x"), text("x")[:1], frame(PING)], ids=range(5)
)
async def test_any_byte_is_a_sign_of_life(sign: bytes, autojump_clock: MockClock) -> None:
    """An answer in the last moment counts, whatever it is, and puts the next question off."""
    async with watched(Limits(ping_interval=20, ping_timeout=20)) as bench:
        await trio.sleep(39.5)
        bench.hear(sign)
        await trio.sleep(100)
        assert bench.pings == [20, 59.5]
        assert bench.found == [(79.5, KeepaliveLost)]


async def test_a_peer_that_talks_is_not_asked(autojump_clock: MockClock) -> None:
    """As long as something comes in time there is no need."""
    async with watched(Limits(ping_interval=20, ping_timeout=20)) as bench:
        for number in range(20):
            await trio.sleep(19)
            bench.hear(text("x")[1:] if number % 2 else text("x")[:1])
            await bench.channel.send("and we answer")
        assert not bench.pings
        assert not bench.found
        assert bench.channel.inbound.messages == 10


async def test_what_we_send_is_no_sign_of_life(autojump_clock: MockClock) -> None:
    """However much the transport takes, as long as nothing of it is on its way."""
    async with watched(Limits(ping_interval=20, ping_timeout=20)) as bench:
        while not bench.found:
            await bench.channel.send("x")
            await trio.sleep(1)
        assert bench.pings == [20]
        assert bench.found == [(40, KeepaliveLost)]


async def test_without_an_interval_nobody_is_asked(autojump_clock: MockClock) -> None:
    """``ping_interval=None`` switches it all off, and costs the deadline queue nothing."""
    async with watched(Limits(ping_interval=None)) as bench:
        assert len(bench.deadlines) == 0
        await trio.sleep(10_000)
        assert not bench.pings
        assert not bench.found


async def test_without_a_timeout_nobody_is_given_up(autojump_clock: MockClock) -> None:
    """With ``ping_timeout=None`` a peer may be silent for ever."""
    async with watched(Limits(ping_interval=20, ping_timeout=None)) as bench:
        await trio.sleep(10_000)
        assert bench.pings[0] == 20
        assert not bench.found


async def test_without_a_timeout_everybody_is_asked_on(autojump_clock: MockClock) -> None:
    """``ping_timeout=None`` switches off the giving up, not the asking: proxies on the way want to see something."""
    async with watched(Limits(ping_interval=20, ping_timeout=None), delay=0) as bench:
        await trio.sleep(110)
        assert len(bench.pings) == 5


async def test_a_timeout_that_is_longer_than_the_interval(autojump_clock: MockClock) -> None:
    """Who has answered is asked again after ``ping_interval``, however patient we are."""
    async with watched(Limits(ping_interval=20, ping_timeout=90), delay=0) as bench:
        await trio.sleep(110)
        assert len(bench.pings) == 5


async def test_a_patient_server_asks_again(autojump_clock: MockClock) -> None:
    """Who does not answer is asked every ``ping_interval``, and given up ``ping_timeout`` after the first time."""
    async with watched(Limits(ping_interval=20, ping_timeout=90)) as bench:
        await trio.sleep(200)
        assert bench.pings == [20, 40, 60, 80, 100]
        assert bench.found == [(110, KeepaliveLost)]


async def test_a_timeout_that_is_shorter_than_the_interval(autojump_clock: MockClock) -> None:
    """Who has answered is not asked any earlier for it."""
    async with watched(Limits(ping_interval=20, ping_timeout=1), delay=0) as bench:
        await trio.sleep(110)
        assert len(bench.pings) == 5
        assert not bench.found


async def test_before_the_upgrade_nobody_is_asked(autojump_clock: MockClock) -> None:
    """A client that waits to be let in need not answer pings."""
    bench = Bench(Limits(ping_interval=1, ping_timeout=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.deadlines.run)
        bench.lifecycle.rearm()
        await trio.sleep(100)
        assert bench.liveness.due() == math.inf
        assert not bench.hand.written
        await bench.open()
        await trio.sleep(1.5)
        assert bench.hand.written == ASKED
        nursery.cancel_scope.cancel()


async def test_while_we_do_not_read_nobody_is_given_up(autojump_clock: MockClock) -> None:
    """Above the hard mark an answer would not be heard: it is not asked for then, and counts again afterwards."""
    async with watched(Limits(ping_interval=20, ping_timeout=20, max_message_size=1000, inbound_buffer=1000)) as bench:
        await trio.sleep(30)
        assert bench.pings == [20]
        bench.hear(text("x" * 1000))
        assert bench.wants(ReadInterest.PAUSED)
        await trio.sleep(1000)
        assert bench.pings == [20]
        assert not bench.found
        await bench.channel.queue.receive()
        resumed = trio.current_time()
        await trio.sleep(100)
        (_, asked), ((given_up, error),) = bench.pings, bench.found
        assert resumed < asked <= resumed + 20
        assert given_up == asked + 20
        assert error is KeepaliveLost


async def test_above_the_soft_mark_peers_are_asked(autojump_clock: MockClock) -> None:
    """A handler that is behind is no excuse for a peer: it is looked at twice a second, and would be heard."""
    async with watched(Limits(ping_interval=20, ping_timeout=20, inbound_queue=1)) as bench:
        bench.hear(text("x"))
        assert bench.wants(ReadInterest.THROTTLED)
        await trio.sleep(100)
        assert bench.pings == [20]
        assert bench.found == [(40, KeepaliveLost)]


@pytest.mark.parametrize("send_timeout", [70, 1000])
async def test_a_slow_download_is_not_lost(send_timeout: float, autojump_clock: MockClock) -> None:
    """A Ping behind a long way of data may wait as long as these make progress, and no longer."""
    async with watched(Limits(ping_interval=20, ping_timeout=20, send_timeout=send_timeout)) as bench:
        bench.hand.room = 0
        await bench.channel.send("x" * 1000)
        for _ in range(20):
            await trio.sleep(15)
            bench.hand.drain(bench.channel.send_buffer, 10)
        assert not bench.found
        assert bench.channel.send_buffer.pending
        stopped = trio.current_time()
        await trio.sleep(100)
        ((given_up, error),) = bench.found
        assert stopped + 20 - 1e-6 <= given_up <= stopped + 40 + 1e-6
        assert error is KeepaliveLost


async def test_a_download_that_gets_nowhere_is_lost(autojump_clock: MockClock) -> None:
    """Also when there was no room for the Ping itself, which would not have got there."""
    limits = Limits(ping_interval=20, ping_timeout=20, send_timeout=1000, outbound_buffer=100)
    async with watched(limits) as bench:
        bench.hand.room = 0
        await bench.channel.send("x" * 1000)
        pending = len(bench.channel.send_buffer.pending)
        await trio.sleep(100)
        assert len(bench.channel.send_buffer.pending) == pending
        assert bench.found == [(40, KeepaliveLost)]


# Idle time.


async def test_messages_that_wait_are_messages(autojump_clock: MockClock) -> None:
    """For ``idle_timeout`` a message counts when it comes, taken or not; and while we do not read nobody is idle."""
    limits = Limits(ping_interval=None, idle_timeout=10, max_message_size=1000, inbound_buffer=1000)
    async with watched(limits) as bench:
        assert bench.liveness.message_at == -math.inf
        await trio.sleep(9)
        bench.hear(text("x"))
        assert bench.liveness.message_at == 9
        await trio.sleep(9)
        bench.hear(frame(PING))
        bench.hear(text("x" * 1000))
        assert bench.wants(ReadInterest.PAUSED)
        await trio.sleep(1000)
        assert bench.liveness.message_at == trio.current_time()
        assert not bench.found
        await bench.channel.queue.receive()
        await bench.channel.queue.receive()
        bench.lifecycle.timeouts.touch()
        resumed = trio.current_time()
        await trio.sleep(30)
        assert bench.found == [(resumed + 10, IdleTimeout)]


# Slow consumers.


@pytest.mark.parametrize("send_timeout", [0.5, 10, 60])
@pytest.mark.parametrize("start", [0, 0.123, 7])
async def test_a_peer_that_takes_nothing(send_timeout: float, start: float, autojump_clock: MockClock) -> None:
    """After ``send_timeout`` it is over, and the channel is given up: a Close would be stuck."""
    async with watched(Limits(ping_interval=None, send_timeout=send_timeout)) as bench:
        await trio.sleep(start)
        bench.hand.room = 0
        await bench.channel.send("x" * 1000)
        await trio.sleep(200)
        ((moment, error),) = bench.found
        assert moment == pytest.approx(start + send_timeout)
        assert error is SlowConsumer
        assert bench.channel.send_buffer.broken


async def test_more_data_are_no_progress(autojump_clock: MockClock) -> None:
    """What is sent meanwhile does not put the end off."""
    async with watched(Limits(ping_interval=None, send_timeout=10)) as bench:
        bench.hand.room = 0
        while not bench.found:
            bench.channel.send_buffer.put_message_nowait(encode_message("x"))
            await trio.sleep(0.5)
        assert 10 <= bench.found[0][0] <= 11.25


@pytest.mark.parametrize("pace", [0.3, 1.25, 9.9])
async def test_slow_but_steady(pace: float, autojump_clock: MockClock) -> None:
    """A peer that takes a byte in each ``send_timeout`` may go on; when it stops, an eighth more may pass."""
    async with watched(Limits(ping_interval=None, send_timeout=10)) as bench:
        bench.hand.room = 0
        await bench.channel.send("x" * 1000)
        for _ in range(50):
            await trio.sleep(pace)
            bench.hand.drain(bench.channel.send_buffer, 1)
        assert not bench.found
        stopped = trio.current_time()
        await trio.sleep(30)
        ((moment, error),) = bench.found
        assert 10 - 1e-6 <= moment - stopped <= 11.25 + 1e-6
        assert error is SlowConsumer


async def test_a_peer_that_catches_up(autojump_clock: MockClock) -> None:
    """When nothing waits any more nothing is due, and the next time counts from its own beginning."""
    async with watched(Limits(ping_interval=None, send_timeout=10)) as bench:
        for _ in range(3):
            bench.hand.room = 0
            await bench.channel.send("x" * 1000)
            await trio.sleep(9)
            bench.hand.drain(bench.channel.send_buffer, 2000)
            await trio.sleep(100)
            assert bench.liveness.due() == math.inf
        start, bench.hand.room = trio.current_time(), 0
        await bench.channel.send("x" * 1000)
        await trio.sleep(100)
        assert start + 10 <= bench.found[0][0] <= start + 11.25


async def test_a_peer_that_is_behind_again_at_once(autojump_clock: MockClock) -> None:
    """Between two measurements it may have caught up and be behind anew: that is progress."""
    async with watched(Limits(ping_interval=None, send_timeout=10)) as bench:
        bench.hand.room = 0
        await bench.channel.send("x" * 1000)
        for _ in range(40):
            await trio.sleep(1)
            bench.hand.drain(bench.channel.send_buffer, 2000)
            await bench.channel.send("y" * 1000)
        assert not bench.found


async def test_a_slow_consumer_before_the_upgrade(autojump_clock: MockClock) -> None:
    """Already the 101 has to be taken."""
    bench = Bench(Limits(send_timeout=10))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.deadlines.run)
        bench.hand.room = 0
        bench.channel.accept(ANSWER)
        await trio.sleep(20)
        assert [error for _, error in bench.found] == [SlowConsumer]
        nursery.cancel_scope.cancel()


# Each of them alone.


async def test_a_stall_detector_asks_the_buffer(autojump_clock: MockClock) -> None:
    """It needs no channel and tells nobody: asked when it is due, it finds out by itself that something waits."""
    made = await alone(Limits(send_timeout=10))
    buffer = made.channel.send_buffer
    detector = StallDetector(buffer, 10, None, Lateness())
    assert detector.due() == math.inf
    await trio.sleep(3)
    made.transport.room = 0
    made.channel.send_buffer.put_message_nowait(encode_message("x"))
    await trio.sleep(1)
    assert detector.due() == 3 + 10 / 8
    assert detector.check(4) is None  # too early to say anything
    assert detector.due() == 3 + 10 / 8
    while (failure := detector.check(detector.due())) is None:
        assert detector.due() <= 13
    assert isinstance(failure, SlowConsumer)
    assert detector.due() == 13
    assert buffer.pending  # and it is for somebody else to give the connection up
    assert not buffer.broken
    assert buffer.is_watched
    made.transport.drain(buffer, 100)
    assert detector.check(14) is None
    assert detector.due() == math.inf
    assert not buffer.is_watched


async def test_a_stall_detector_that_is_looked_at_before_it_was_asked(autojump_clock: MockClock) -> None:
    """A look for another reason finds that something waits, too."""
    made = await alone()
    detector = StallDetector(made.channel.send_buffer, 10, None, Lateness())
    made.transport.room = 0
    made.channel.send_buffer.put_message_nowait(encode_message("x"))
    assert detector.check(0) is None
    assert detector.due() == 10 / 8


async def test_a_keepalive_knows_nothing_of_stalls(autojump_clock: MockClock) -> None:
    """It asks and gives up, whatever waits in the buffer; before `begin` it does neither."""
    made = await alone()
    keepalive = Keepalive(made.channel, Limits(ping_interval=20, ping_timeout=5), None, Lateness())
    assert keepalive.due() == math.inf
    assert keepalive.check(1000) is None
    assert not made.transport.written
    keepalive.begin(0)
    assert keepalive.due() == 20
    made.transport.room = 0
    made.channel.send_buffer.put_message_nowait(encode_message("x"))
    assert keepalive.check(20) is None
    assert keepalive.due() == 25
    assert isinstance(keepalive.check(25), KeepaliveLost)


# On real sockets.


@asynccontextmanager
async def connected(family: socket.AddressFamily, limits: Limits) -> AsyncGenerator[tuple[Bench, trio.SocketStream]]:
    """An open connection on a real socket, and the peer's end, with little room for what it does not read."""
    if family == socket.AF_INET:
        with trio.socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            far = trio.socket.socket()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            await far.connect(listener.getsockname())
            near, _ = await listener.accept()
    else:
        near, far = trio.socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # here the sender's buffer hides what is read
    stream, poller = trio.SocketStream(near), Poller()
    with near, far:
        async with trio.open_nursery() as nursery:
            await nursery.start(poller.run)
            bench = Bench(limits, carrier=SocketTransport(poller, stream), transport=near)
            nursery.start_soon(bench.deadlines.run)
            await bench.open()
            yield bench, trio.SocketStream(far)
            bench.channel.abort()
            nursery.cancel_scope.cancel()


async def read_slowly(far: trio.SocketStream, seconds: float) -> None:
    """Read 10 kB a second."""
    for _ in range(round(seconds / 0.1)):
        await trio.sleep(0.1)
        with trio.fail_after(1):
            assert await far.receive_some(1000)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
async def test_a_slow_reader_is_not_a_stalled_one(family: socket.AddressFamily, autojump_clock: MockClock) -> None:
    """At 10 kB a second there is room in the socket only now and then; that it goes on is seen, and that it stops."""
    async with connected(family, Limits(ping_interval=None, send_timeout=10, outbound_buffer=1)) as (bench, far):
        await bench.channel.send(b"x" * 8_000_000)
        await read_slowly(far, 120)
        assert not bench.found
        stopped = trio.current_time()
        await trio.sleep(20)
        ((moment, error),) = bench.found
        assert stopped + 5 <= moment <= stopped + 11.25 + 1e-6
        assert error is SlowConsumer


async def test_a_ping_behind_what_the_kernel_holds(autojump_clock: MockClock) -> None:
    """Nothing waits with us, but the Ping is behind data of which the peer takes its time: TCP says that it goes on."""
    async with connected(socket.AF_INET, Limits(ping_interval=2, ping_timeout=2)) as (bench, far):
        assert bench.transport is not None
        bench.transport.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        bench.transport.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 1 << 30)  # Trio lets it hold 16 KiB
        held = 0
        while held < 250_000:
            await bench.channel.send(b"x" * 10_000)
            held += 10_000
        assert not bench.channel.send_buffer.pending
        await read_slowly(far, 20)
        assert not bench.found
        stopped = trio.current_time()
        await trio.sleep(10)
        ((moment, error),) = bench.found
        assert stopped + 2 - 1e-6 <= moment <= stopped + 4 + 1e-6
        assert error is KeepaliveLost


async def test_a_socket_that_is_closed_under_us(autojump_clock: MockClock) -> None:
    """A kernel that can say nothing any more is no reason to fail."""
    near, far = trio.socket.socketpair()
    far.close()
    near.close()
    bench = Bench(Limits(ping_interval=1, ping_timeout=1), transport=near)
    await bench.open()
    await trio.sleep(1)
    assert bench.liveness.check(1) is None
    assert isinstance(bench.liveness.check(2), KeepaliveLost)


async def test_a_peer_that_resets_when_it_is_about_to_be_asked(autojump_clock: MockClock) -> None:
    """The deadline queue may come before the poller that has the news; it must survive that."""
    async with connected(socket.AF_UNIX, Limits(ping_interval=20, ping_timeout=20)) as (bench, far):
        await trio.sleep(19)
        far.socket.close()
        assert bench.liveness.check(trio.current_time() + 1) is None
        assert bench.channel.send_buffer.broken
