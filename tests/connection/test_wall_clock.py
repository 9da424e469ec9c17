"""A lease ends by the clock that says so first: Trio's, or the wall clock, which may be set and goes on in suspend."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, final

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from seawall import Anonymous, App, Connection, Gate, Limits, guard, public
from seawall.connection.deadlines import AT_A_TIME, LOOK_INTERVAL, Deadline, DeadlineQueue
from seawall.testing import Serving, serve
from tests.kit.channels import AfterStep
from tests.kit.memory import Peer

#: What the wall clock says in the beginning.
EPOCH: Final = 1_900_000_000.0

#: Seconds for which a proof holds.
HOLDS: Final = 3600.0


@final
@define
class Wall:
    """A wall clock that goes like Trio's, until it is set."""

    ahead: float = 0.0

    def time(self) -> float:
        """Now, in Unix time."""
        return EPOCH + self.ahead + trio.current_time()


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The wall clock of Seawall."""
    wall = Wall()
    monkeypatch.setattr("seawall.clock.source", wall.time)
    return wall


@asynccontextmanager
async def serving(wall: Wall) -> AsyncGenerator[Serving]:
    """Serve an app whose guard proves something for an hour, and one that proves it for ever."""
    app = App(limits=Limits(ping_interval=None))

    @guard
    async def for_an_hour(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.lease(expires_at=wall.time() + HOLDS)
        return proved

    async def listen(conn: Connection[Anonymous]) -> None:
        async for _ in conn:
            pass

    app.route("/", guard=public >> for_an_hour)(listen)
    app.route("/open", guard=public)(listen)
    async with serve(app) as served:
        yield served


async def opened(served: Serving, path: str = "/") -> Peer:
    """Somebody who was let in."""
    peer = Peer(served.open_stream())
    await peer.open(path)
    return peer


@pytest.mark.parametrize("ahead", [HOLDS, 10 * HOLDS])
async def test_mended_06_a_wall_clock_that_jumps_ends_a_lease(
    ahead: float, wall: Wall, autojump_clock: MockClock
) -> None:
    """The machine was suspended, or its clock was set: an expired proof ends soon after, not an hour later."""
    async with serving(wall) as served:
        peer = await opened(served)
        await trio.sleep(100)
        wall.ahead = ahead
        assert await peer.closing() == (3000, "lease expired")
        assert 100 <= trio.current_time() <= 100 + LOOK_INTERVAL


async def test_mended_06_a_little_ahead(wall: Wall, autojump_clock: MockClock) -> None:
    """A clock that has gained ten minutes ends it ten minutes earlier."""
    async with serving(wall) as served:
        peer = await opened(served)
        await trio.sleep(1000)
        wall.ahead = 600
        assert await peer.closing() == (3000, "lease expired")
        assert HOLDS - 600 <= trio.current_time() <= HOLDS - 600 + LOOK_INTERVAL


async def test_mended_06_a_wall_clock_that_jumps_back_prolongs_nothing(wall: Wall, autojump_clock: MockClock) -> None:
    """Trio's clock says when an hour is over."""
    async with serving(wall) as served:
        peer = await opened(served)
        await trio.sleep(100)
        wall.ahead = -10 * HOLDS
        assert await peer.closing() == (3000, "lease expired")
        assert trio.current_time() == pytest.approx(HOLDS)


async def test_mended_06_back_and_forth(wall: Wall, autojump_clock: MockClock) -> None:
    """Whatever it has said in between, the hour counts from the beginning, and by whichever clock is first."""
    async with serving(wall) as served:
        peer = await opened(served)
        for ahead in (-HOLDS, 100, -5, 0):
            wall.ahead = ahead
            await trio.sleep(100)
        wall.ahead = HOLDS
        assert await peer.closing() == (3000, "lease expired")
        assert trio.current_time() <= 400 + LOOK_INTERVAL


async def test_mended_06_a_grace_period_ends_with_the_lease(wall: Wall, autojump_clock: MockClock) -> None:
    """A handler that may go on after its end is cancelled when the lease ends, by the wall clock too."""
    ended = list[float]()
    app = App(limits=Limits(ping_interval=None, wind_down=9))

    @guard
    async def for_an_hour(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.lease(expires_at=wall.time() + HOLDS)
        return proved

    @app.route("/", guard=public >> for_an_hour)
    async def stubborn(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with serve(app) as served:
        peer = await opened(served)
        await trio.sleep(100)
        wall.ahead = HOLDS - 103  # three seconds are left
        await peer.stream.aclose()
        await trio.sleep(30)
    assert ended == [pytest.approx(103)]


async def test_mended_06_no_wake_ups_without_leases(wall: Wall, autojump_clock: MockClock) -> None:
    """The wall clock is looked at every twenty seconds while somebody has a lease, and never while nobody has."""
    steps = list[float]()
    watch = AfterStep("DeadlineQueue.run", lambda: steps.append(trio.current_time()))
    async with serving(wall) as served:
        await opened(served, "/open")
        trio.lowlevel.add_instrument(watch)
        await trio.sleep(10_000)
        assert len(steps) <= 1  # it may have had a deadline of the handshake to pass over
        leased = await opened(served)
        del steps[:]
        await trio.sleep(1000)
        assert 1000 / LOOK_INTERVAL <= len(steps) <= 1000 / LOOK_INTERVAL + 2
        await leased.stream.aclose()
        await trio.sleep(100)
        del steps[:]
        await trio.sleep(10_000)
        trio.lowlevel.remove_instrument(watch)
        assert steps == []


@final
@define(eq=False)
class Leaseholder:
    """Counts when it is looked at."""

    queue: DeadlineQueue
    expires_at: float
    looked_at: list[float] = field(factory=list[float], init=False)
    deadline: Deadline = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin."""
        self.deadline = Deadline(self.queue, self)
        self.deadline.arm_by_wall(self.expires_at)

    def on_due(self, now: float) -> None:
        """Be looked at."""
        self.looked_at.append(now)

    def on_fault(self, fault: Exception) -> None:
        """Nothing fails here."""
        raise fault


async def test_mended_06_only_those_that_are_due_are_looked_at(wall: Wall, autojump_clock: MockClock) -> None:
    """Of many leases only the ones whose moment has come are touched, and thousands at once are not one turn."""
    async with trio.open_nursery() as nursery:
        queue = DeadlineQueue()
        nursery.start_soon(queue.run)
        await trio.sleep(1)
        holders = [Leaseholder(queue, EPOCH + 10_000 + number) for number in range(1000)]
        await trio.sleep(50)
        wall.ahead = 10_000 + 5 - 51  # five are due
        await trio.sleep(LOOK_INTERVAL)
        due = [holder for holder in holders if holder.looked_at]
        assert 5 <= len(due) <= 6 + LOOK_INTERVAL
        wall.ahead = 10_000 + 10 * AT_A_TIME
        await trio.sleep(LOOK_INTERVAL)
        assert all(len(holder.looked_at) == 1 for holder in holders[: 10 * AT_A_TIME])
        assert not holders[-1].looked_at
        for holder in holders:
            holder.deadline.close()
        assert len(queue) == 0
        nursery.cancel_scope.cancel()


async def test_mended_06_a_moment_by_the_wall_clock_moves_earlier_only(wall: Wall, autojump_clock: MockClock) -> None:
    """As with the other one: later and never are ignored, because the owner arms again when it is called."""
    async with trio.open_nursery() as nursery:
        queue = DeadlineQueue()
        nursery.start_soon(queue.run)
        await trio.sleep(1)
        holder = Leaseholder(queue, EPOCH + 1000)
        for due in (2000.0, float("inf"), 500.0):
            holder.deadline.arm_by_wall(EPOCH + due)
            assert len(queue) == 1
        await trio.sleep(400)
        assert not holder.looked_at
        await trio.sleep(100 + LOOK_INTERVAL)
        assert len(holder.looked_at) == 1
        assert len(queue) == 0
        holder.deadline.close()
        holder.deadline.arm_by_wall(EPOCH)
        assert len(queue) == 0
        nursery.cancel_scope.cancel()
