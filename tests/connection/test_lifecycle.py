"""`DeadlineQueue`, `Lifecycle`, leases and lifespan values, alone and in virtual time."""

from __future__ import annotations

import gc
import math
import random
import time
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.connection.deadlines import Deadline, DeadlineQueue
from seawall.connection.leases import until
from seawall.connection.lifecycle import Lifecycle
from seawall.connection.timeouts import Timeouts
from seawall.errors import (
    AuthTimeout,
    ConfigurationError,
    Forbidden,
    IdleTimeout,
    KeepaliveLost,
    Kicked,
    LeaseExpired,
    LifetimeReached,
    ProtocolViolation,
    Revoked,
    SeawallError,
    SlowConsumer,
    SubscriptionLost,
)
from seawall.lifespan import Provided, Values
from seawall.limits import Limits
from seawall.policy.ending import Cause, End, cause_of
from seawall.wire.lateness import Lateness

DONE = End(Cause.RETURNED, 1000)


@define(eq=False)
class Vital:
    """A wire that says when it wants to be looked at, and what is wrong with it then."""

    next: float = math.inf
    wrong: SeawallError | None = None
    message_at: float = -math.inf
    begun: list[float] = field(factory=list[float])
    checked: list[float] = field(factory=list[float])

    def begin(self, now: float) -> None:
        """Remember."""
        self.begun.append(now)

    def due(self) -> float:
        """As it was told."""
        return self.next

    def check(self, now: float) -> SeawallError | None:
        """Remember, and say what it was told to."""
        self.checked.append(now)
        self.next = math.inf
        return self.wrong


@define(eq=False)
class Subject:
    """A connection without a wire: its lifecycle, and what became of it."""

    deadlines: DeadlineQueue
    limits: Limits = field(factory=Limits)
    ends: list[tuple[float, End, bool]] = field(factory=list[tuple[float, End, bool]])
    """When it ended, how, and whether its scope had been cancelled by then."""
    due: list[tuple[float, type[Exception]]] = field(factory=list[tuple[float, type[Exception]]])
    """When something ran out, and what."""
    late: list[float] = field(factory=list[float])
    """When a stage was over."""
    faults: list[Exception] = field(factory=list[Exception])
    """What went wrong when it was looked at."""
    deadline: Deadline = field(init=False)
    lifecycle: Lifecycle = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin."""
        self.deadline = Deadline(self.deadlines, self)
        timeouts = Timeouts(self.limits, self.deadlines.lateness)
        self.lifecycle = Lifecycle(timeouts, trio.CancelScope(), self.deadline, listener=self)

    @property
    def ran_out(self) -> list[tuple[float, type[Exception]]]:
        """`due`, to the tenth of a second: leases are in Unix time, which is not virtual."""
        return [(round(moment, 1), error) for moment, error in self.due]

    def on_recorded(self, end: End) -> None:
        """Remember."""
        self.ends.append((trio.current_time(), end, self.lifecycle.scope.cancel_called))

    def on_due(self, now: float) -> None:
        """Remember, and end as a connection does."""
        if self.lifecycle.ended is not None:
            return
        if now >= self.lifecycle.timeouts.stage_ends_at:
            self.late.append(trio.current_time())
            self.lifecycle.end(DONE)
        elif (error := self.lifecycle.timeouts.check(now)) is None:
            self.lifecycle.rearm()
        else:
            self.due.append((trio.current_time(), type(error)))
            self.lifecycle.end(End(cause_of(error), 3008))

    def on_fault(self, fault: Exception) -> None:
        """Remember."""
        self.faults.append(fault)


@define(eq=False)
class Failing:
    """The owner of a deadline who fails when he is called."""

    called: list[float] = field(factory=list[float])
    faults: list[str] = field(factory=list[str])

    def on_due(self, now: float) -> None:
        """Fail."""
        self.called.append(now)
        raise OSError("a fault")

    def on_fault(self, fault: Exception) -> None:
        """Remember."""
        self.faults.append(str(fault))


@define(eq=False)
class Listening:
    """Who is told of the end, and does something."""

    on_recorded: Callable[[End], None]


def alone(on_recorded: Callable[[End], None]) -> Lifecycle:
    """The lifecycle of a connection that nobody looks at."""
    deadline = Deadline(DeadlineQueue(), Failing())
    return Lifecycle(Timeouts(Limits(), Lateness()), trio.CancelScope(), deadline, listener=Listening(on_recorded))


@asynccontextmanager
async def sweeping() -> AsyncGenerator[DeadlineQueue]:
    """A sweeper that runs."""
    deadlines = DeadlineQueue()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        yield deadlines
        nursery.cancel_scope.cancel()


# The sweeper.


async def test_lives_are_looked_at_exactly_when_due(autojump_clock: MockClock) -> None:
    """A hundred lives with random limits each run out at their own moment, in one task."""
    chance = random.Random(1)
    async with sweeping() as deadlines:
        seconds = [chance.uniform(0.001, 1000) for _ in range(100)]
        subjects = [Subject(deadlines, Limits(lifetime=limit)) for limit in seconds]
        for subject in subjects:
            subject.lifecycle.begin()
        await trio.sleep(1001)
        assert [subject.due for subject in subjects] == [[(limit, LifetimeReached)] for limit in seconds]
        assert len(deadlines) == 0


async def test_a_fault_is_told_to_its_owner(autojump_clock: MockClock) -> None:
    """Whatever fails when something is due is the owner's; others that are due at the same moment are still called."""
    async with sweeping() as deadlines:
        failing, other = Failing(), Subject(deadlines, Limits(lifetime=10))
        Deadline(deadlines, failing).arm(10)
        other.lifecycle.begin()
        await trio.sleep(11)
        assert (failing.called, failing.faults) == ([10], ["a fault"])
        assert other.due == [(10, LifetimeReached)]
        assert len(deadlines) == 0


async def test_one_moment_for_many(autojump_clock: MockClock) -> None:
    """Lives that are due together are all looked at."""
    async with sweeping() as deadlines:
        subjects = [Subject(deadlines, Limits(lifetime=10)) for _ in range(50)]
        for subject in subjects:
            subject.lifecycle.begin()
        await trio.sleep(10.001)
        assert all(subject.due == [(10, LifetimeReached)] for subject in subjects)


async def test_rearming_earlier(autojump_clock: MockClock) -> None:
    """A life that is due earlier than it was before is looked at then, though the sweeper sleeps, and only then."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines)
        subject.lifecycle.lease(time.time() + 100)
        await trio.sleep(1)
        for seconds in (50, 20, 10):
            subject.lifecycle.lease(time.time() + seconds - 1)
        assert len(deadlines.heap) == len(deadlines.wall_heap) == 1
        await trio.sleep(200)
        assert [error for _, error in subject.due] == [LeaseExpired]
        assert subject.due[0][0] == pytest.approx(10, abs=0.1)
        assert len(deadlines.heap) == 0


async def test_rearming_later(autojump_clock: MockClock) -> None:
    """A life whose deadline moves away is looked at when it would have been due, and then at the new one."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines, Limits(idle_timeout=10))
        subject.lifecycle.begin()
        liveness = Vital()
        subject.lifecycle.timeouts.watch(liveness)
        for _ in range(500):
            await trio.sleep(0.1)
            subject.lifecycle.timeouts.touch()
            subject.lifecycle.rearm()
            assert len(deadlines.heap._entries) == 1  # pyright: ignore[reportPrivateUsage] # a leak would be here
        assert len(liveness.checked) == 5
        await trio.sleep(20)
        assert subject.ran_out == [(60, IdleTimeout)]


async def test_rearming_for_never(autojump_clock: MockClock) -> None:
    """An alarm that there is no need for any more is let come, and is the last one."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines)
        subject.deadline.arm(10)
        subject.deadline.arm(math.inf)
        await trio.sleep(5)
        assert len(deadlines) == 1
        await trio.sleep(6)
        assert len(deadlines) == 0
        assert not subject.due
        assert subject.deadline.entry is None


async def test_an_alarm_keeps_nothing_alive(autojump_clock: MockClock) -> None:
    """A life that is over is gone at once, though its alarm lies there until it is due."""
    async with sweeping() as deadlines:
        others = [Subject(deadlines, Limits(lifetime=100)) for _ in range(4)]
        passing = Subject(deadlines, Limits(lifetime=1000))
        for subject in (*others, passing):
            subject.lifecycle.begin()
        passing.lifecycle.end(DONE)
        gone = weakref.ref(passing.lifecycle)
        assert len(deadlines.heap._entries) == 5  # pyright: ignore[reportPrivateUsage] # it is still there
        del passing, subject  # pyright: ignore[reportPossiblyUnboundVariable] # the loop has run
        gc.collect()
        assert gone() is None


async def test_disarmed(autojump_clock: MockClock) -> None:
    """A life that was disarmed is not looked at; twice is once."""
    async with sweeping() as deadlines:
        subject, other = Subject(deadlines, Limits(lifetime=10)), Subject(deadlines, Limits(lifetime=20))
        subject.lifecycle.begin()
        other.lifecycle.begin()
        subject.deadline.disarm()
        subject.deadline.disarm()
        await trio.sleep(30)
        assert not subject.due
        assert other.due == [(20, LifetimeReached)]


async def test_lives_that_came_and_went_leave_nothing(autojump_clock: MockClock) -> None:
    """Ten thousand lives that ended long before they were due take no place among those that live."""
    async with sweeping() as deadlines:
        alive = [Subject(deadlines, Limits(lifetime=5000)) for _ in range(20)]
        for subject in alive:
            subject.lifecycle.begin()
        largest = 0
        for _ in range(10_000):
            passing = Subject(deadlines, Limits(lifetime=4000, idle_timeout=60))
            passing.lifecycle.begin()
            passing.lifecycle.lease(time.time() + 3000)
            passing.lifecycle.end(DONE)
            for heap in (deadlines.heap, deadlines.wall_heap):
                largest = max(largest, len(heap._entries))  # pyright: ignore[reportPrivateUsage] # a leak would be here
        assert largest <= 2 * (len(alive) + 1)
        await trio.sleep(5000.5)
        assert all(subject.due == [(5000, LifetimeReached)] for subject in alive)
        assert len(deadlines) == 0


async def test_stale_entries_pass(autojump_clock: MockClock) -> None:
    """Entries that went stale, but were too few to be swept, are skipped when their time comes."""
    async with sweeping() as deadlines:
        subjects = [Subject(deadlines, Limits(lifetime=10 + number)) for number in range(10)]
        for subject in subjects:
            subject.lifecycle.begin()
        for subject in subjects[:4]:
            subject.lifecycle.end(DONE)
        assert len(deadlines) == 6
        await trio.sleep(30)
        assert len(deadlines) == 0
        assert [subject.due for subject in subjects] == [[]] * 4 + [[(10 + n, LifetimeReached)] for n in range(4, 10)]


async def test_a_sweeper_without_work(autojump_clock: MockClock) -> None:
    """A sweeper with nothing to do sleeps, and takes up what comes then."""
    async with sweeping() as deadlines:
        await trio.sleep(1000)
        subject = Subject(deadlines, Limits(lifetime=5))
        subject.lifecycle.begin()
        await trio.sleep(6)
        assert subject.due == [(1005, LifetimeReached)]


async def test_a_sweeper_that_sleeps_keeps_nothing_alive(autojump_clock: MockClock) -> None:
    """The life that it looked at last is gone when it is over."""
    async with sweeping() as deadlines:
        last = Subject(deadlines, Limits(lifetime=10))
        last.lifecycle.begin()
        await trio.sleep(11)
        assert last.due == [(10, LifetimeReached)]
        gone = weakref.ref(last.lifecycle)
        del last
        gc.collect()
        assert gone() is None


# Deadlines.


async def test_idle_time_counts_from_the_last_message(autojump_clock: MockClock) -> None:
    """Each message puts the idle limit off; it runs out exactly so long after the last one."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines, Limits(idle_timeout=10))
        await trio.sleep(100)
        assert not subject.due
        subject.lifecycle.begin()
        for _ in range(5):
            await trio.sleep(9)
            subject.lifecycle.timeouts.touch()
        await trio.sleep(20)
        assert subject.due == [(100 + 45 + 10, IdleTimeout)]


async def test_without_limits_nothing_runs_out(autojump_clock: MockClock) -> None:
    """Idle limit and lifetime are off unless set, and cost the sweeper nothing."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines)
        subject.lifecycle.begin()
        subject.lifecycle.timeouts.touch()
        assert len(deadlines) == 0


async def test_the_earliest_deadline_wins(autojump_clock: MockClock) -> None:
    """Of lease, lifetime and idle limit the one that runs out first ends the life; of equals it is the lease."""
    async with sweeping() as deadlines:
        for limits, lease, expected in [
            (Limits(lifetime=10, idle_timeout=20), 30, LifetimeReached),
            (Limits(lifetime=20, idle_timeout=10), 30, IdleTimeout),
            (Limits(lifetime=20, idle_timeout=30), 10, LeaseExpired),
            (Limits(lifetime=10, idle_timeout=10), 10, LifetimeReached),
        ]:
            subject, start = Subject(deadlines, limits), trio.current_time()
            subject.lifecycle.begin()
            subject.lifecycle.lease(time.time() + lease + 0.01)
            await trio.sleep(40)
            assert subject.ran_out == [(start + 10, expected)]


async def test_the_first_of_several_leases_ends(autojump_clock: MockClock) -> None:
    """With several leases the one that ends first ends the life."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines)
        subject.lifecycle.lease(time.time() + 20)
        subject.lifecycle.lease(time.time() + 10)
        subject.lifecycle.lease(math.inf)
        await trio.sleep(30)
        assert subject.ran_out == [(10, LeaseExpired)]


async def test_renewing(autojump_clock: MockClock) -> None:
    """New leases count in place of all that there were; the first of them ends the life."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines)
        subject.lifecycle.lease(time.time() + 1000)
        subject.lifecycle.lease(time.time() + 10)
        await trio.sleep(9)
        subject.lifecycle.renew([time.time() + 900, time.time() + 50])
        await trio.sleep(100)
        assert subject.ran_out == [(59, LeaseExpired)]


async def test_renewing_for_good(autojump_clock: MockClock) -> None:
    """New proofs that never end, or none, leave nothing to look at."""
    async with sweeping() as deadlines:
        for several in ([math.inf], []):
            subject = Subject(deadlines)
            subject.lifecycle.lease(time.time() + 10)
            subject.lifecycle.renew(several)
            await trio.sleep(20)
            assert not subject.due
            assert len(deadlines.heap) == 0


async def test_renewing_to_an_earlier_end(autojump_clock: MockClock) -> None:
    """A new proof may also end earlier, even at once."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines)
        subject.lifecycle.lease(time.time() + 1000)
        subject.lifecycle.renew([time.time() - 1])
        await wait_all_tasks_blocked()
        assert subject.due == [(0, LeaseExpired)]


async def test_renewing_until_no_time(autojump_clock: MockClock) -> None:
    """What is no time is refused, and the leases are what they were."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines)
        subject.lifecycle.lease(time.time() + 10)
        with pytest.raises(ConfigurationError):
            subject.lifecycle.renew([time.time() + 100, math.nan])
        await trio.sleep(20)
        assert subject.ran_out == [(10, LeaseExpired)]


async def test_unix_time_on_trios_clock(autojump_clock: MockClock) -> None:
    """A moment in Unix time is as far away on Trio's clock."""
    assert until(time.time() + 100) == pytest.approx(trio.current_time() + 100, abs=0.1)
    assert until(time.time() - 100) == pytest.approx(trio.current_time() - 100, abs=0.1)


# What is to be over soon, and the wire.


async def test_what_has_to_be_over_in_time(autojump_clock: MockClock) -> None:
    """What takes longer than it may is told of once, at the moment."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines)
        subject.lifecycle.limit_stage(10)
        await trio.sleep(9.9)
        assert not subject.late
        await trio.sleep(100)
        assert subject.late == [10]


async def test_one_thing_after_the_other(autojump_clock: MockClock) -> None:
    """Only the last one counts: more time and less, each from its own beginning."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines)
        subject.lifecycle.limit_stage(10)
        await trio.sleep(9)
        subject.lifecycle.limit_stage(20)
        await trio.sleep(19)
        assert not subject.late
        subject.lifecycle.limit_stage(0.5)
        await trio.sleep(0.6)
        assert subject.late == [28.5]


async def test_what_was_over_in_time(autojump_clock: MockClock) -> None:
    """After the upgrade, or the end, nothing is late any more."""
    async with sweeping() as deadlines:
        opened, ended = Subject(deadlines), Subject(deadlines)
        for subject in (opened, ended):
            subject.lifecycle.limit_stage(10)
        opened.lifecycle.begin()
        ended.lifecycle.end(DONE)
        ended.lifecycle.limit_stage(1)
        await trio.sleep(20)
        assert opened.late == ended.late == []
        assert len(deadlines) == 0


async def test_a_cleanup_that_takes_too_long(autojump_clock: MockClock) -> None:
    """What still runs is overdue ``wind_down`` after it was cancelled, and not while it was given more time."""
    async with sweeping() as deadlines:
        subject, overdue = Subject(deadlines, Limits(wind_down=2)), list[float]()

        class Overdue:
            def on_due(self, now: float) -> None:
                if subject.lifecycle.is_overdue(now):
                    overdue.append(now)

            def on_fault(self, fault: Exception) -> None:
                raise fault

        subject.deadline.owner = Overdue()
        with subject.lifecycle.scope:
            subject.lifecycle.end(DONE, grace=1)
            subject.lifecycle.watch_cleanup()
            await trio.sleep(0.5)
            subject.lifecycle.set_grace(3)
            await trio.sleep_forever()
        assert trio.current_time() == 3.5
        await trio.sleep(10)
        assert overdue == [5.5]
        subject.lifecycle.watch_cleanup()
        subject.lifecycle.on_finished()
        await trio.sleep(10)
        assert overdue == [5.5]
        assert subject.deadline.owner is None


async def test_ended_from_outside(autojump_clock: MockClock) -> None:
    """What is found outside of a connection's tasks ends it at the next look, which is at once; the first counts."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines, Limits(lifetime=100))
        subject.lifecycle.begin()
        await trio.sleep(7)
        assert subject.lifecycle.end_soon(SlowConsumer())
        assert not subject.lifecycle.revoke()
        assert not subject.due
        await wait_all_tasks_blocked()
        assert subject.due == [(7, SlowConsumer)]
        assert not subject.lifecycle.end_soon(SlowConsumer())
        await trio.sleep(200)
        assert subject.due == [(7, SlowConsumer)]


@pytest.mark.parametrize("grace", [0.0, 5.0])
async def test_no_grace_after_a_revocation(grace: float, autojump_clock: MockClock) -> None:
    """An end that comes between a revocation and the next look at the deadlines gives nobody more time."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines, Limits())
        with subject.lifecycle.scope:
            assert subject.lifecycle.revoke()
            subject.lifecycle.end(DONE, grace=grace)
            await trio.sleep_forever()
        assert trio.current_time() == 0


async def test_the_wire_is_minded(autojump_clock: MockClock) -> None:
    """It is looked at when it wants to be, and what is wrong with it is reported; as long as nothing is, it goes on."""
    async with sweeping() as deadlines:
        subject, vital = Subject(deadlines, Limits(lifetime=1000)), Vital()
        subject.lifecycle.timeouts.watch(vital)
        assert not vital.begun
        subject.lifecycle.begin()
        assert vital.begun == [0]
        for moment in (10, 11, 50):
            vital.next = moment
            subject.lifecycle.rearm()
            await trio.sleep(moment + 1 - trio.current_time())
        assert vital.checked == [10, 11, 50]
        assert not subject.due
        vital.next, vital.wrong = 60, KeepaliveLost()
        subject.lifecycle.rearm()
        await trio.sleep(100)
        assert subject.due == [(60, KeepaliveLost)]


async def test_the_wire_comes_last(autojump_clock: MockClock) -> None:
    """What ends the connection anyway needs no look at its wire."""
    async with sweeping() as deadlines:
        subject, vital = Subject(deadlines, Limits(lifetime=10)), Vital(10, SlowConsumer())
        subject.lifecycle.timeouts.watch(vital)
        subject.lifecycle.begin()
        await trio.sleep(20)
        assert subject.due == [(10, LifetimeReached)]
        assert not vital.checked


async def test_messages_that_the_wire_has_seen(autojump_clock: MockClock) -> None:
    """A message that came but was not taken puts the idle limit off as well."""
    async with sweeping() as deadlines:
        subject, vital = Subject(deadlines, Limits(idle_timeout=10)), Vital()
        subject.lifecycle.timeouts.watch(vital)
        vital.message_at = 40.0  # before the upgrade nothing counts
        await trio.sleep(50)
        assert not subject.due
        subject.lifecycle.begin()
        vital.message_at = 57.0
        await trio.sleep(50)
        assert subject.due == [(67, IdleTimeout)]


# The end.


async def test_the_first_end_wins(autojump_clock: MockClock) -> None:
    """Only the first cause counts, and it is told before anything is cancelled."""
    subject = Subject(DeadlineQueue())
    other = End(Cause.FAILED, 1011)
    subject.lifecycle.end(DONE)
    subject.lifecycle.end(other)
    assert subject.lifecycle.ended is DONE
    assert subject.ends == [(0, DONE, False)]
    assert subject.lifecycle.scope.cancel_called


async def test_an_end_within_the_end(autojump_clock: MockClock) -> None:
    """What the listener itself sets off cannot end the life again."""
    ends: list[End] = []

    def on_recorded(end: End) -> None:
        ends.append(end)
        lifecycle.end(End(Cause.FAILED, 1011))

    lifecycle = alone(on_recorded)
    lifecycle.end(DONE)
    assert ends == [DONE]


async def test_what_is_over_does_not_run_out(autojump_clock: MockClock) -> None:
    """No deadline is armed, and none reported, after the end."""
    async with sweeping() as deadlines:
        subject = Subject(deadlines, Limits(lifetime=10))
        subject.lifecycle.end(DONE)
        subject.lifecycle.begin()
        subject.lifecycle.lease(time.time() + 1)
        subject.on_due(math.inf)
        assert len(deadlines) == 0
        assert not subject.due


async def test_grace(autojump_clock: MockClock) -> None:
    """With grace the scope goes on for exactly so long."""
    subject = Subject(DeadlineQueue())
    with subject.lifecycle.scope:
        subject.lifecycle.end(DONE, grace=1.5)
        await trio.sleep_forever()
    assert trio.current_time() == 1.5
    assert subject.lifecycle.scope.cancelled_caught


async def test_grace_can_be_extended_but_not_for_ever(autojump_clock: MockClock) -> None:
    """Each extension counts from its own moment; ``drain_timeout`` after the end it is over whatever came."""
    subject = Subject(DeadlineQueue(), Limits(drain_timeout=6))
    await trio.sleep(100)
    with subject.lifecycle.scope:
        subject.lifecycle.end(DONE, grace=1)
        for _ in range(100):
            await trio.sleep(0.75)
            subject.lifecycle.set_grace(1)
    assert trio.current_time() == 106


async def test_no_more_grace(autojump_clock: MockClock) -> None:
    """The grace period can be cut short: cancelling takes effect at once."""
    subject = Subject(DeadlineQueue())
    with subject.lifecycle.scope:
        subject.lifecycle.end(DONE, grace=1)
        await trio.sleep(0.5)
        subject.lifecycle.cancel_now()
        await trio.sleep_forever()
    assert trio.current_time() == 0.5


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (LeaseExpired(), Cause.LEASE_EXPIRED),
        (Revoked(), Cause.REVOKED),
        (IdleTimeout(), Cause.IDLE),
        (LifetimeReached(), Cause.LIFETIME),
        (SlowConsumer(), Cause.SLOW_CONSUMER),
        (KeepaliveLost(), Cause.KEEPALIVE),
        (SubscriptionLost(), Cause.MESSAGES_LOST),
        (Kicked(), Cause.KICKED),
        (ProtocolViolation(1002, "x"), Cause.VIOLATION),
        (Forbidden(), Cause.REFUSED),
        (AuthTimeout(), Cause.REFUSED),
        (ValueError(), Cause.FAILED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_causes(failure: Exception, cause: Cause) -> None:
    """Each failure stands for one cause."""
    assert cause_of(failure) is cause


async def test_waiting_for_the_socket_to_be_closed(autojump_clock: MockClock) -> None:
    """Whoever waits is told, and who comes later need not wait."""
    subject, told = Subject(DeadlineQueue()), list[float]()

    async def wait() -> None:
        await subject.lifecycle.wait_closed()
        told.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.sleep(1)
        closed = [subject.lifecycle.is_closed]
        subject.lifecycle.on_closed()
        closed.append(subject.lifecycle.is_closed)
        assert closed == [False, True]
    await wait()
    subject.lifecycle.on_closed()
    await wait()
    assert told == [1, 1, 1, 1]


async def test_a_socket_that_was_closed_before_anybody_waited(autojump_clock: MockClock) -> None:
    """The same."""
    subject = Subject(DeadlineQueue())
    subject.lifecycle.on_closed()
    with trio.fail_after(1):
        await subject.lifecycle.wait_closed()


# Lifespan values.


def test_values() -> None:
    """A handle gives what the app stored for it; a handle of another app is a mistake that names the function."""

    @asynccontextmanager
    async def database() -> AsyncGenerator[str]:
        yield "rows"

    ours, theirs = Provided(database, "database"), Provided(database, "database")
    values = Values({ours: "rows"})
    assert values.get(ours) == "rows"
    with pytest.raises(ConfigurationError, match=r"put @app.lifespan over database\(\)"):
        values.get(theirs)
    assert "object at" not in repr(ours)


async def test_the_end_is_protected_from_ctrl_c() -> None:
    """Between the record of the end and what follows from it no KeyboardInterrupt can land, whoever calls."""
    protected: list[bool] = []
    lifecycle = alone(lambda end: protected.append(trio.lowlevel.currently_ki_protected()))
    lifecycle.end(DONE)
    assert protected == [True]
