"""`Keepalive`: keepalive and slow consumers, in virtual time, by hand and on real sockets."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from seawall.errors import IdleTimeout, KeepaliveLost, SlowConsumer
from seawall.lifecycle import DeadlineQueue, Lifecycle
from seawall.limits import Limits
from seawall.outcome import End, cause_of
from seawall.wire.budget import Budget
from seawall.wire.channel import MessageChannel
from seawall.wire.keepalive import Keepalive
from seawall.wire.poller import Poller, SocketTransport
from seawall.wire.transport import ReadInterest, Transport
from tests.kit.channels import ANSWER, Hand
from tests.kit.memory import text
from tests.kit.wire import PING, PONG, frame

#: A Ping.
ASKED = b"\x89\x00"


@define(eq=False)
class Bench:
    """An open connection whose life minds its pulse, and what was found."""

    limits: Limits
    deadlines: DeadlineQueue = field(factory=DeadlineQueue)
    hand: Hand = field(factory=Hand)
    connect: Callable[[MessageChannel], Transport] | None = None
    transport: trio.socket.SocketType | None = None
    found: list[tuple[float, type[Exception]]] = field(factory=list[tuple[float, type[Exception]]])
    """When something was wrong, and what."""
    pings: list[float] = field(factory=list[float])
    """When the peer was asked."""
    channel: MessageChannel = field(init=False)
    pulse: Keepalive = field(init=False)
    lifecycle: Lifecycle = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make everything."""
        self.channel = MessageChannel(self.connect or self._by_hand, self.limits, Budget(), on_end=lambda end: None)
        self.lifecycle = Lifecycle(self.limits, self.deadlines, on_end=lambda outcome: None, on_due=self.on_due)
        self.pulse = Keepalive(self.channel, self.limits, self.transport, on_due=self.lifecycle.rearm)
        self.lifecycle.watch(self.pulse)

    def _by_hand(self, _: MessageChannel) -> Transport:
        return self.hand

    async def open(self) -> None:
        """Accept the upgrade."""
        await self.channel.send_all(ANSWER)
        del self.hand.written[:]
        self.lifecycle.open()

    def wants(self, read_interest: ReadInterest) -> bool:
        """Whether this is what the lane wants; a type checker would think that it never changes."""
        return self.channel.read_interest is read_interest

    def on_due(self, error: Exception) -> None:
        """Remember, and end as a session does."""
        self.found.append((trio.current_time(), type(error)))
        self.lifecycle.end(End(cause_of(error), 1011))

    def hear(self, data: bytes) -> None:
        """Let the peer say something."""
        self.channel.feed(data, trio.current_time())


@asynccontextmanager
async def watched(limits: Limits, *, delay: float = math.inf) -> AsyncGenerator[Bench]:
    """An open connection under a sweeper, whose peer answers pings after `delay`, or never."""
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
        assert not bench.channel.out.broken  # it is told, should it be there after all
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
        for _ in range(20):
            await trio.sleep(19)
            bench.hear(text("x")[:1] if _ % 2 else text("x")[1:])
            await bench.channel.send("and we answer")
        assert not bench.pings
        assert not bench.found


async def test_what_we_send_is_no_sign_of_life(autojump_clock: MockClock) -> None:
    """However much the link takes, as long as nothing of it is on its way."""
    async with watched(Limits(ping_interval=20, ping_timeout=20)) as bench:
        while not bench.found:
            await bench.channel.send("x")
            await trio.sleep(1)
        assert bench.pings == [20]
        assert bench.found == [(40, KeepaliveLost)]


async def test_without_an_interval_nobody_is_asked(autojump_clock: MockClock) -> None:
    """``ping_interval=None`` switches it all off, and costs the sweeper nothing."""
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
        assert bench.pulse.due() == math.inf
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
        await bench.channel.receive()
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
            bench.hand.drain(bench.channel.out, 10)
        assert not bench.found
        assert bench.channel.out.pending
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
        pending = len(bench.channel.out.pending)
        await trio.sleep(100)
        assert len(bench.channel.out.pending) == pending
        assert bench.found == [(40, KeepaliveLost)]


# Idle time.


async def test_messages_that_wait_are_messages(autojump_clock: MockClock) -> None:
    """For ``idle_timeout`` a message counts when it comes, taken or not; and while we do not read nobody is idle."""
    limits = Limits(ping_interval=None, idle_timeout=10, max_message_size=1000, inbound_buffer=1000)
    async with watched(limits) as bench:
        assert bench.pulse.message_at == -math.inf
        await trio.sleep(9)
        bench.hear(text("x"))
        assert bench.pulse.message_at == 9
        await trio.sleep(9)
        bench.hear(frame(PING))
        bench.hear(text("x" * 1000))
        assert bench.wants(ReadInterest.PAUSED)
        await trio.sleep(1000)
        assert bench.pulse.message_at == trio.current_time()
        assert not bench.found
        await bench.channel.receive()
        await bench.channel.receive()
        bench.lifecycle.touch()
        resumed = trio.current_time()
        await trio.sleep(30)
        assert bench.found == [(resumed + 10, IdleTimeout)]


# Slow consumers.


@pytest.mark.parametrize("send_timeout", [0.5, 10, 60])
@pytest.mark.parametrize("start", [0, 0.123, 7])
async def test_a_peer_that_takes_nothing(send_timeout: float, start: float, autojump_clock: MockClock) -> None:
    """After ``send_timeout`` it is over, and the lane is given up: a Close would be stuck."""
    async with watched(Limits(ping_interval=None, send_timeout=send_timeout)) as bench:
        await trio.sleep(start)
        bench.hand.room = 0
        await bench.channel.send("x" * 1000)
        await trio.sleep(200)
        ((moment, error),) = bench.found
        assert moment == pytest.approx(start + send_timeout)
        assert error is SlowConsumer
        assert bench.channel.out.broken


async def test_more_data_are_no_progress(autojump_clock: MockClock) -> None:
    """What is sent meanwhile does not put the end off."""
    async with watched(Limits(ping_interval=None, send_timeout=10)) as bench:
        bench.hand.room = 0
        while not bench.found:
            bench.channel.send_nowait("x")
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
            bench.hand.drain(bench.channel.out, 1)
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
            bench.hand.drain(bench.channel.out, 2000)
            await trio.sleep(100)
            assert bench.pulse.due() == math.inf
        start, bench.hand.room = trio.current_time(), 0
        await bench.channel.send("x" * 1000)
        await trio.sleep(100)
        assert start + 10 <= bench.found[0][0] <= start + 11.25


async def test_a_peer_that_is_behind_again_at_once(autojump_clock: MockClock) -> None:
    """Between two looks it may have caught up and be behind anew: that is progress."""
    async with watched(Limits(ping_interval=None, send_timeout=10)) as bench:
        bench.hand.room = 0
        await bench.channel.send("x" * 1000)
        for _ in range(40):
            await trio.sleep(1)
            bench.hand.drain(bench.channel.out, 2000)
            await bench.channel.send("y" * 1000)
        assert not bench.found


async def test_a_slow_consumer_before_the_upgrade(autojump_clock: MockClock) -> None:
    """Already the 101 has to be taken."""
    bench = Bench(Limits(send_timeout=10))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.deadlines.run)
        bench.hand.room = 0
        await bench.channel.send_all(ANSWER)
        await trio.sleep(20)
        assert [error for _, error in bench.found] == [SlowConsumer]
        nursery.cancel_scope.cancel()


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
            bench = Bench(limits, connect=lambda channel: SocketTransport(poller, stream, channel), transport=near)
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
        assert not bench.channel.out.pending
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
    assert bench.pulse.check(1) is None
    assert isinstance(bench.pulse.check(2), KeepaliveLost)


async def test_a_peer_that_resets_when_it_is_about_to_be_asked(autojump_clock: MockClock) -> None:
    """The sweeper may come before the poller that has the news; it must survive that."""
    async with connected(socket.AF_UNIX, Limits(ping_interval=20, ping_timeout=20)) as (bench, far):
        await trio.sleep(19)
        far.socket.close()
        assert bench.pulse.check(trio.current_time() + 1) is None
        assert bench.channel.out.broken
