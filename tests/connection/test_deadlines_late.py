"""The program stood still for longer than a limit: who has answered meanwhile stays, and who has not goes a bit later.

In virtual time, over memory streams: while a task blocks, the clock jumps, and what peers say arrives, as in a kernel.
`tests.promises.test_standstill` has the same over sockets.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, final

import pytest
import trio
from attrs import define, field, frozen
from trio.testing import MemoryReceiveStream, MockClock, memory_stream_pair

from seawall import Anonymous, App, Connection, Gate, Limits, Outcome, guard, public
from seawall.connection.deadlines import AT_A_TIME, Deadline, DeadlineQueue
from seawall.wire.lateness import MAX_REMEMBERED, TOLERANCE, Lateness
from tests.kit.memory import Doorstep, Peer, Wire, close, living, request, text
from tests.kit.wire import PONG, frame

#: Each limit that a peer can run into.
LIMIT: Final = 10.0

#: How much longer than the limit the program stands still.
LATE: Final = 3.0


@final
@define(eq=False)
class Visit:
    """One connection: the peer, and what it can do while the server does nothing."""

    wire: Wire
    peer: Peer
    _inbox: MemoryReceiveStream

    def arrive(self, *data: bytes) -> None:
        """What the peer says is in the kernel, and nobody has had a turn."""
        self._inbox.put_data(b"".join(data))


@final
@define(eq=False)
class Stage:
    """A server in virtual time."""

    clock: MockClock
    door: Doorstep = field(factory=Doorstep)
    ends: list[tuple[float, int, str]] = field(factory=list[tuple[float, int, str]])
    """When a connection ended, and how."""

    def over(self, outcome: Outcome) -> None:
        """A connection has ended."""
        self.ends.append((trio.current_time(), outcome.code, outcome.reason))

    def come(self) -> Visit:
        """Somebody connects."""
        near, far = memory_stream_pair()
        inbox = near.receive_stream
        assert isinstance(inbox, MemoryReceiveStream)
        wire = Wire(near)
        self.door.arrive(wire)
        return Visit(wire, Peer(far), inbox)

    async def open(self, path: str = "/") -> Visit:
        """Somebody is let in."""
        visit = self.come()
        await visit.peer.open(path)
        return visit


async def echo(conn: Connection[Anonymous]) -> None:
    """Send everything back."""
    async for message in conn:
        await conn.send(message)


@guard
async def word(gate: Gate, proved: Anonymous) -> Anonymous:
    """Let in who says something."""
    await gate.accept()
    await gate.receive_text()
    return proved


async def quick(conn: Connection[Anonymous]) -> None:
    """Return at once."""


async def pour(conn: Connection[Anonymous]) -> None:
    """Send a lot."""
    await conn.send(bytes(300_000))
    await conn.receive()
    await conn.send("still here")


@asynccontextmanager
async def standing(clock: MockClock, limits: Limits) -> AsyncGenerator[Stage]:
    """Serve all of these routes."""
    stage = Stage(clock)
    app = App(limits=limits, on_end=stage.over)
    app.route("/", guard=public)(echo)
    app.route("/quick", guard=public)(quick)
    app.route("/pour", guard=public)(pour)
    app.route("/word", guard=public >> word)(echo)
    before = living()
    async with trio.open_nursery() as nursery:
        await app.start(nursery, listeners=[stage.door])
        yield stage
        nursery.cancel_scope.cancel()
    assert living() == before


async def asked(stage: Stage) -> Visit:
    """Somebody who has been sent a Ping."""
    visit = await stage.open()
    assert await visit.peer.frame()
    return visit


async def half(stage: Stage) -> Visit:
    """Somebody whose request has come in part."""
    visit = stage.come()
    await visit.peer.say(request()[:50])
    return visit


async def silent(stage: Stage) -> Visit:
    """Somebody who is let in when it says something."""
    return await stage.open("/word")


async def quiet(stage: Stage) -> Visit:
    """Somebody who is in and has said nothing."""
    return await stage.open()


async def begun(stage: Stage) -> Visit:
    """Somebody whose message has come in part."""
    visit = await stage.open()
    await visit.peer.say(text("whole")[:5])
    return visit


async def full(stage: Stage) -> Visit:
    """Somebody who takes nothing of what it is sent."""
    visit = await stage.open("/pour")
    visit.wire.stall()
    return visit


async def told(stage: Stage) -> Visit:
    """Somebody whom the server has sent its Close."""
    visit = await stage.open("/quick")
    assert await visit.peer.closing() == (1000, "")
    return visit


async def echoes(visit: Visit) -> None:
    """It is served as ever."""
    await visit.peer.say(text("still there?"))
    while (message := await visit.peer.frame()) is not None and message.payload != b"still there?":
        pass
    assert message is not None


async def is_let_in(visit: Visit) -> None:
    """Its request is answered."""
    assert (await visit.peer.head()).startswith("HTTP/1.1 101 ")


async def takes_more(visit: Visit) -> None:
    """It gets the rest, and more."""
    await visit.peer.say(text("go on"))
    while (message := await visit.peer.frame()) is not None and message.payload != b"still here":
        pass
    assert message is not None


async def is_left_politely(visit: Visit) -> None:
    """The server half-closes, which it does only after a whole closing handshake."""
    assert not await visit.peer.hear()
    assert visit.wire.ended_at < math.inf


@final
@frozen(kw_only=True)
class Wait:
    """Something that a peer is waited for."""

    limits: Limits
    begin: Callable[[Stage], Awaitable[Visit]]
    """Go on until the peer is waited for, for `LIMIT` seconds."""
    answer: Callable[[Visit], None]
    """What a peer does in time."""
    lives: Callable[[Visit], Awaitable[None]]
    """How it shows that the peer is not given up."""
    gone: tuple[int, str] | None = None
    """How a peer ends that does nothing; None where that is no outcome."""


def answering(data: bytes) -> Callable[[Visit], None]:
    """Say this."""
    return lambda visit: visit.arrive(data)


QUIET: Final = Limits(ping_interval=None)

WAITS: Final = {
    "keepalive": Wait(
        limits=Limits(ping_interval=20, ping_timeout=LIMIT),
        begin=asked,
        answer=answering(frame(PONG)),
        lives=echoes,
        gone=(1011, "keepalive lost"),
    ),
    "idle": Wait(
        limits=Limits(ping_interval=None, idle_timeout=LIMIT),
        begin=quiet,
        answer=answering(text("here")),
        lives=echoes,
        gone=(3008, "idle too long"),
    ),
    "handshake": Wait(
        limits=Limits(ping_interval=None, handshake_timeout=LIMIT),
        begin=half,
        answer=answering(request()[50:]),
        lives=is_let_in,
        gone=(408, "request timed out"),
    ),
    "first message": Wait(
        limits=Limits(ping_interval=None, auth_timeout=LIMIT),
        begin=silent,
        answer=answering(text("let me in")),
        lives=echoes,
        gone=(3008, "authentication timed out"),
    ),
    "message": Wait(
        limits=Limits(ping_interval=None, message_timeout=LIMIT),
        begin=begun,
        answer=answering(text("whole")[5:]),
        lives=echoes,
        gone=(1008, "message timed out"),
    ),
    "sending": Wait(
        limits=Limits(ping_interval=None, send_timeout=LIMIT),
        begin=full,
        answer=lambda visit: visit.wire.flow(),
        lives=takes_more,
        gone=(1008, "slow consumer"),
    ),
    "closing": Wait(
        limits=Limits(ping_interval=None, close_timeout=LIMIT, drain_timeout=LIMIT * 2),
        begin=told,
        answer=answering(close(1000)),
        lives=is_left_politely,
    ),
}


@pytest.fixture(params=list(WAITS))
def wait(request: pytest.FixtureRequest) -> Wait:
    """Each of them."""
    return WAITS[str(request.param)]


async def test_mended_10_who_has_answered_stays(wait: Wait, autojump_clock: MockClock) -> None:
    """The answer came while the program stood still, long before the limit: it is read before anything is judged."""
    async with standing(autojump_clock, wait.limits) as stage:
        visit = await wait.begin(stage)
        await trio.testing.wait_all_tasks_blocked()
        wait.answer(visit)
        autojump_clock.jump(LIMIT + LATE)
        await wait.lives(visit)
        assert not [end for end in stage.ends if wait.gone == end[1:]]


@pytest.mark.parametrize("late", [0.05, 1000.0])
async def test_mended_10_however_late(late: float, wait: Wait, autojump_clock: MockClock) -> None:
    """A standstill that ends just after the limit, which nobody calls late, is no other case, nor is a long one."""
    async with standing(autojump_clock, wait.limits) as stage:
        visit = await wait.begin(stage)
        await trio.testing.wait_all_tasks_blocked()
        wait.answer(visit)
        autojump_clock.jump(LIMIT + late)
        await wait.lives(visit)


async def test_mended_10_who_has_not_answered_goes(wait: Wait, autojump_clock: MockClock) -> None:
    """A standstill saves nobody: nobody has more than the limit left when the program is awake."""
    async with standing(autojump_clock, wait.limits) as stage:
        visit = await wait.begin(stage)
        await trio.testing.wait_all_tasks_blocked()
        woken = trio.current_time() + LIMIT + LATE
        autojump_clock.jump(LIMIT + LATE)
        assert not visit.wire.closed_at < math.inf
        await visit.peer.hear()  # the Close, the answer, or the end
        assert woken <= trio.current_time() <= woken + LIMIT  # what it had left when the queue should have woken
        await visit.peer.rest()
        await trio.sleep(1)  # an HTTP answer is followed by lingering
        assert [end[1:] for end in stage.ends] == [wait.gone or (1000, "")]
        assert wait.gone is not None or visit.wire.ended_at == math.inf


async def test_mended_10_the_others_get_the_time_back(autojump_clock: MockClock) -> None:
    """One deadline came 4 s before the program woke: every other that was running then ends 4 s later, once."""
    async with standing(autojump_clock, Limits(ping_interval=None, idle_timeout=10)) as stage:
        first = await stage.open()
        await trio.sleep(3)
        second = await stage.open()
        await trio.sleep(3)
        autojump_clock.jump(8)  # from 6 to 14; the first was due at 10
        third = await stage.open()
        told = list[float]()
        for visit in (first, second, third):
            assert await visit.peer.closing() == (3008, "idle too long")
            told.append(trio.current_time())
        assert told == [14, 3 + 10 + 4, 14 + 10]


async def test_mended_10_a_dead_peer_ends_in_spite_of_standstills(autojump_clock: MockClock) -> None:
    """Each standstill moves a deadline by what it cost, once; between them time counts."""
    limits = Limits(ping_interval=None, idle_timeout=10)
    async with standing(autojump_clock, limits) as stage:
        await stage.open()
        other = await stage.open()
        while not stage.ends:
            other.arrive(text("here"))
            await trio.sleep(1)
            autojump_clock.jump(5)
            assert trio.current_time() < 200
        assert stage.ends[0][0] <= 70  # ten seconds awake, and at most five after each


@final
@define(eq=False)
class Slow(trio.abc.Instrument):
    """Lets each turn of the scheduler take some time."""

    clock: MockClock
    seconds: float = 0.0

    def before_io_wait(self, timeout: float) -> None:
        """One more turn."""
        if self.seconds:
            self.clock.jump(self.seconds)


@pytest.mark.parametrize("seconds", [0.15, 0.5, 5.0])
async def test_mended_10_a_dead_peer_ends_where_every_turn_is_long(seconds: float, autojump_clock: MockClock) -> None:
    """Where each turn of the scheduler is late and others have deadlines all the time, time still goes on."""
    async with standing(autojump_clock, Limits(ping_interval=0.5, ping_timeout=10)) as stage:
        slow = Slow(autojump_clock)
        trio.lowlevel.add_instrument(slow)
        dead = await stage.open()
        others = [await stage.open() for _ in range(20)]
        ended = trio.Event()

        async def answer(visit: Visit) -> None:
            while await visit.peer.hear():
                visit.arrive(frame(PONG))

        async def watch() -> None:
            await dead.peer.closing()
            ended.set()

        async with trio.open_nursery() as nursery:
            for visit in others:
                nursery.start_soon(answer, visit)
            nursery.start_soon(watch)
            slow.seconds = seconds
            for _ in range(400):  # a tenth of a second of each turn counts at least
                await trio.lowlevel.checkpoint()
                if ended.is_set():
                    break
            slow.seconds = 0
            trio.lowlevel.remove_instrument(slow)
            nursery.cancel_scope.cancel()
        assert ended.is_set()
        assert not [end for end in stage.ends if end[1] == 1011][1:]


async def test_mended_10_what_is_ours_does_not_move(autojump_clock: MockClock) -> None:
    """The lifetime of a connection and the window for draining are kept to the moment when the program wakes."""
    async with standing(autojump_clock, Limits(ping_interval=None, lifetime=12, idle_timeout=10)) as stage:
        visit = await stage.open()
        autojump_clock.jump(8)
        visit.arrive(text("here"))
        assert await visit.peer.message() == "here"
        autojump_clock.jump(4.5)
        assert await visit.peer.closing() == (3008, "lifetime reached")
        assert trio.current_time() == 12.5


async def test_mended_10_a_ping_waits_for_what_is_in_the_socket(autojump_clock: MockClock) -> None:
    """Who has just answered is not asked again."""
    async with standing(autojump_clock, Limits(ping_interval=2, ping_timeout=20)) as stage:
        visit = await asked(stage)
        await trio.sleep(1)
        visit.arrive(frame(PONG), text("and more"))
        autojump_clock.jump(5)
        answer = await visit.peer.frame()
        assert answer is not None
        assert answer.payload == b"and more"


async def test_mended_10_thousands_at_once(autojump_clock: MockClock) -> None:
    """All of many peers have answered, and all of them stay."""
    async with standing(autojump_clock, Limits(ping_interval=None, idle_timeout=10)) as stage:
        visits = [await stage.open() for _ in range(AT_A_TIME * 3)]
        for visit in visits:
            visit.arrive(text("here"))
        autojump_clock.jump(15)
        for visit in visits:
            await echoes(visit)
        assert not stage.ends


# The parts, alone.


def test_mended_10_lateness_counts_what_is_after_a_moment() -> None:
    """What is counted is the time between due and woken, and of each only the part after the moment asked for."""
    lateness = Lateness()
    assert lateness.since(-math.inf) == 0
    assert not lateness.record(0, TOLERANCE)
    assert lateness.since(0) == 0
    assert lateness.record(10, 13)
    assert lateness.record(20, 21)
    assert [lateness.since(moment) for moment in (-math.inf, 9, 10, 12, 13, 20.5, 21, math.inf)] == [
        4, 4, 4, 2, 1, 0.5, 0, 0
    ]  # fmt: skip


def test_mended_10_lateness_is_bounded() -> None:
    """A program that is late for ever remembers the last times."""
    lateness = Lateness()
    for number in range(3 * MAX_REMEMBERED):
        lateness.record(number, number + 0.5)
    assert MAX_REMEMBERED / 4 <= lateness.since(-math.inf) <= MAX_REMEMBERED / 2
    assert lateness.since(3 * MAX_REMEMBERED - 10) == 5


async def test_mended_10_a_queue_is_not_late_for_what_it_learns_late(autojump_clock: MockClock) -> None:
    """A moment that has passed when it is asked for is no lateness, however long the queue has slept."""
    called = list[float]()

    class Owner:
        def on_due(self, now: float) -> None:
            called.append(now)

        def on_fault(self, fault: Exception) -> None:
            raise fault

    async with trio.open_nursery() as nursery:
        queue = DeadlineQueue()
        nursery.start_soon(queue.run)
        await trio.sleep(100)
        deadline = Deadline(queue, Owner())
        deadline.arm(-math.inf)
        await trio.sleep(1)
        deadline.arm(50)
        await trio.sleep(1)
        assert called == [100, 101]
        assert queue.lateness.since(-math.inf) == 0
        deadline.close()
        nursery.cancel_scope.cancel()


async def test_mended_10_who_is_closed_meanwhile_is_not_called(autojump_clock: MockClock) -> None:
    """A deadline that is closed while sockets are read is forgotten."""
    called = list[float]()

    class Owner:
        def on_due(self, now: float) -> None:
            called.append(now)
            assert not deadline.was_read()

        def on_fault(self, fault: Exception) -> None:
            raise fault

    async with trio.open_nursery() as nursery:
        queue = DeadlineQueue()
        nursery.start_soon(queue.run)
        deadline = Deadline(queue, Owner())
        deadline.arm(5)
        await trio.sleep(5)
        while not called:  # noqa: ASYNC110 - its turns are counted
            await trio.lowlevel.checkpoint()
        deadline.close()
        await trio.sleep(5)
        assert called == [5]
        nursery.cancel_scope.cancel()
