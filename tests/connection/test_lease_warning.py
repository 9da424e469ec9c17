"""`Connection.expires_at`, and `Connection.expiring`, which is set before the first lease ends, by either clock."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Final

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, Claims, ConfigurationError, Connection, Gate, Limits, bearer, guard, public
from seawall.connection.connection import state_of
from seawall.connection.deadlines import LOOK_INTERVAL
from seawall.testing import CloseFrame, connect, serve
from tests.kit.tokens import by, verifier
from tests.kit.wall import Wall

EXPIRED: Final = CloseFrame(3000, "lease expired")

#: Seconds before the end of a lease, by default.
AHEAD: Final = 30.0


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The wall clock of Seawall."""
    return Wall.instead_of(monkeypatch)


@define
class Scene:
    """One connection, and when its handler was warned."""

    wall: Wall
    warned: list[float] = field(factory=list[float])
    conn: Connection[object] | None = None

    @property
    def open(self) -> Connection[object]:
        """The connection."""
        assert self.conn is not None
        return self.conn

    async def listen(self, conn: Connection[object]) -> None:
        """Note the connection, and take tokens."""
        self.conn = conn
        async for message in conn:
            await conn.renew(str(message))
            await conn.send("renewed")

    async def watch(self, conn: Connection[object]) -> None:
        """The same, and note each warning."""
        conn.nursery.start_soon(self.note_warnings, conn)
        await self.listen(conn)

    async def note_warnings(self, conn: Connection[object]) -> None:
        """Note each warning, once."""
        while True:
            event = conn.expiring
            await event.wait()
            self.warned.append(trio.current_time())
            while conn.expiring is event:  # noqa: ASYNC110 - nothing tells when there is another one
                await trio.sleep(0.5)

    def token(self, seconds: float) -> str:
        """A token that is good for so many seconds from now."""
        return self.wall.token(seconds)


def app_of(handler: Callable[[Connection[Claims]], Awaitable[None]], limits: Limits | None = None) -> App:
    """An app with one route, for who has a token."""
    app = App(limits=limits)
    app.route("/", guard=bearer(verifier))(handler)
    return app


async def test_a_warning(wall: Wall, autojump_clock: MockClock) -> None:
    """It comes `lease_warning` seconds before the end, and the end is where it was."""
    scene = Scene(wall)
    app, began = app_of(scene.watch), wall.time()
    async with connect(app, "/", headers=by(scene.token(100)), timeout=200) as client:
        await wait_all_tasks_blocked()
        assert scene.open.expires_at == began + 100
        assert not scene.open.expiring.is_set()
        assert await client.wait_closed() == EXPIRED
    assert scene.warned == [pytest.approx(100 - AHEAD)]
    assert trio.current_time() == pytest.approx(100)


@pytest.mark.parametrize("seconds", [5, AHEAD])
async def test_a_lease_that_is_shorter(seconds: float, wall: Wall, autojump_clock: MockClock) -> None:
    """The warning is there at once, the first time that somebody looks."""
    scene = Scene(wall)
    async with connect(app_of(scene.listen), "/", headers=by(scene.token(seconds))) as client:
        await wait_all_tasks_blocked()
        assert scene.open.expiring.is_set()
        assert await client.wait_closed() == EXPIRED
    assert trio.current_time() == pytest.approx(seconds)


async def test_who_looks_late(wall: Wall, autojump_clock: MockClock) -> None:
    """An event that is read for the first time when its moment has passed is set."""
    scene = Scene(wall)
    async with connect(app_of(scene.listen), "/", headers=by(scene.token(100))):
        await trio.sleep(100 - AHEAD - 1)
        assert not scene.open.expiring.is_set()
        await trio.sleep(1.5)
        assert scene.open.expiring.is_set()
    async with connect(app_of(scene.listen), "/", headers=by(scene.token(100))):
        await trio.sleep(100 - AHEAD + 1)
        assert scene.open.expiring.is_set()
        assert scene.open.expiring is scene.open.expiring


async def test_renewed_after_the_warning(wall: Wall, autojump_clock: MockClock) -> None:
    """There is a new event, for the new lease; the old one stays set."""
    scene = Scene(wall)
    async with connect(app_of(scene.watch), "/", headers=by(scene.token(100)), timeout=500) as client:
        await trio.sleep(80)
        first = scene.open.expiring
        assert first.is_set()
        await client.send(scene.token(100))
        assert await client.receive() == "renewed"
        assert scene.open.expiring is not first
        assert first.is_set()
        assert not scene.open.expiring.is_set()
        assert scene.open.expires_at == wall.began + 180
        assert await client.wait_closed() == EXPIRED
    assert scene.warned == [pytest.approx(70), pytest.approx(150)]


async def test_renewed_before_the_warning(wall: Wall, autojump_clock: MockClock) -> None:
    """Whoever waits already is woken before the end of the new lease: it is the same event."""
    scene = Scene(wall)
    async with connect(app_of(scene.watch), "/", headers=by(scene.token(100)), timeout=500) as client:
        await trio.sleep(50)
        before = scene.open.expiring
        await client.send(scene.token(100))
        assert await client.receive() == "renewed"
        assert scene.open.expiring is before
        assert await client.wait_closed() == EXPIRED
    assert scene.warned == [pytest.approx(120)]


@pytest.mark.parametrize("seconds", [20, 5])
async def test_renewed_by_nothing_better(seconds: float, wall: Wall, autojump_clock: MockClock) -> None:
    """A token that ends no later than the one before brings no second warning."""
    scene = Scene(wall)
    async with connect(app_of(scene.watch), "/", headers=by(scene.token(100)), timeout=500) as client:
        await trio.sleep(80)
        first = scene.open.expiring
        await client.send(scene.token(seconds))
        assert await client.receive() == "renewed"
        assert scene.open.expiring is first
        assert first.is_set()
        assert await client.wait_closed() == EXPIRED
    assert scene.warned == [pytest.approx(70)]
    assert trio.current_time() == pytest.approx(80 + seconds)


async def test_renewed_by_something_short(wall: Wall, autojump_clock: MockClock) -> None:
    """A later end that is near all the same is warned of at once."""
    scene = Scene(wall)
    async with connect(app_of(scene.watch), "/", headers=by(scene.token(100)), timeout=500) as client:
        await trio.sleep(80)
        await client.send(scene.token(25))
        assert await client.receive() == "renewed"
        assert scene.open.expiring.is_set()
        assert await client.wait_closed() == EXPIRED
    assert trio.current_time() == pytest.approx(105)


async def test_renewed_earlier(wall: Wall, autojump_clock: MockClock) -> None:
    """A token that ends earlier, before any warning: so does the warning come earlier."""
    scene = Scene(wall)
    async with connect(app_of(scene.watch), "/", headers=by(scene.token(1000)), timeout=500) as client:
        await trio.sleep(10)
        await client.send(scene.token(100))
        assert await client.receive() == "renewed"
        assert await client.wait_closed() == EXPIRED
    assert scene.warned == [pytest.approx(80)]


async def test_two_leases(wall: Wall, autojump_clock: MockClock) -> None:
    """The one that ends first counts, whichever guard has it."""
    scene = Scene(wall)

    @guard
    async def briefly(gate: Gate, claims: Claims) -> Claims:
        gate.lease(expires_at=wall.time() + 60)
        return claims

    app, began = App(), wall.time()
    app.route("/", guard=bearer(verifier) >> briefly)(scene.watch)
    async with connect(app, "/", headers=by(scene.token(100)), timeout=500) as client:
        await wait_all_tasks_blocked()
        assert scene.open.expires_at == began + 60
        await trio.sleep(40)
        await client.send(scene.token(50))
        assert await client.receive() == "renewed"
        assert scene.open.expires_at == began + 90
        assert await client.wait_closed() == EXPIRED
    assert scene.warned == [pytest.approx(30), pytest.approx(60)]


async def test_nothing_is_leased(wall: Wall, autojump_clock: MockClock) -> None:
    """There is no end and no warning, and reading that costs no deadline."""
    scene, app = Scene(wall), App(limits=Limits(ping_interval=None))
    app.route("/", guard=public)(scene.listen)
    async with connect(app, "/"):
        await wait_all_tasks_blocked()
        timeouts = state_of(scene.open).lifecycle.timeouts
        assert scene.open.expires_at is None
        shared = timeouts.leases
        assert not scene.open.expiring.is_set()
        assert timeouts.leases.due == float("inf")
        assert timeouts.leases is not shared
        await trio.sleep(10_000)
        assert not scene.open.expiring.is_set()
    async with connect(app, "/"):
        await wait_all_tasks_blocked()
        assert state_of(scene.open).lifecycle.timeouts.leases is shared


async def test_who_never_asks(wall: Wall, autojump_clock: MockClock) -> None:
    """Without a reader there is no moment for a warning, and no event."""
    scene = Scene(wall)
    async with connect(app_of(scene.listen, Limits(ping_interval=None)), "/", headers=by(scene.token(100))) as client:
        await wait_all_tasks_blocked()
        leases = state_of(scene.open).lifecycle.timeouts.leases
        assert (leases.due, leases.wall_due) == (leases.ends_at, leases.expires_at)
        assert await client.wait_closed() == EXPIRED


async def test_after_a_suspension(wall: Wall, autojump_clock: MockClock) -> None:
    """Trio's clock has stood still while the machine was suspended: the warning comes at the next look at the other."""
    scene = Scene(wall)
    async with connect(app_of(scene.watch), "/", headers=by(scene.token(3600)), timeout=5000) as client:
        await trio.sleep(100)
        wall.ahead = 3600 - 100 - AHEAD + 5
        assert await client.wait_closed() == EXPIRED
    assert len(scene.warned) == 1
    assert 100 <= scene.warned[0] <= 100 + LOOK_INTERVAL
    assert 125 <= trio.current_time() <= 125 + LOOK_INTERVAL


async def test_after_a_long_suspension(wall: Wall, autojump_clock: MockClock) -> None:
    """The lease has ended meanwhile, and there is nothing to be warned of."""
    scene = Scene(wall)
    async with connect(app_of(scene.watch), "/", headers=by(scene.token(3600)), timeout=5000) as client:
        await trio.sleep(100)
        wall.ahead = 3600
        assert await client.wait_closed() == EXPIRED
    assert scene.warned == []


async def test_a_wall_clock_that_is_set_back(wall: Wall, autojump_clock: MockClock) -> None:
    """Trio's clock says when to warn."""
    scene = Scene(wall)
    async with connect(app_of(scene.watch), "/", headers=by(scene.token(3600)), timeout=5000) as client:
        await trio.sleep(100)
        wall.ahead = -10_000
        assert await client.wait_closed() == EXPIRED
    assert scene.warned == [pytest.approx(3600 - AHEAD)]


async def test_a_server_that_drains(wall: Wall, autojump_clock: MockClock) -> None:
    """A handler that takes its time to end is warned all the same."""
    scene = Scene(wall)

    async def linger(conn: Connection[Claims]) -> None:
        conn.nursery.start_soon(scene.note_warnings, conn)
        await conn.draining.wait()
        await conn.expiring.wait()

    app = app_of(linger, Limits(drain_timeout=20))
    async with serve(app) as served, served.connect("/", headers=by(scene.token(100)), timeout=500) as client:
        await trio.sleep(68)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.drain)
            assert (await client.wait_closed()).code == 1001
    assert scene.warned == [pytest.approx(70)]


async def test_after_the_end(wall: Wall, autojump_clock: MockClock) -> None:
    """A connection that is over has no lease any more; asking it harms nobody."""
    scene = Scene(wall)
    async with connect(app_of(scene.listen), "/", headers=by(scene.token(100))) as client:
        await wait_all_tasks_blocked()
    await client.wait_closed()
    assert scene.open.expires_at is None
    assert not scene.open.expiring.is_set()


async def test_no_event_is_kept(wall: Wall, autojump_clock: MockClock) -> None:
    """Of a hundred renewals, each after a warning, the last event is left."""
    scene, seen = Scene(wall), list[weakref.ref[trio.Event]]()
    async with connect(app_of(scene.listen), "/", headers=by(scene.token(40)), timeout=5000) as client:
        for _ in range(100):
            await trio.sleep(15)
            assert scene.open.expiring.is_set()
            seen.append(weakref.ref(scene.open.expiring))
            await client.send(scene.token(40))
            assert await client.receive() == "renewed"
            assert not scene.open.expiring.is_set()
        gc.collect()
        assert [event for event in seen if event() is not None] == []


async def test_in_another_thread(wall: Wall) -> None:
    """Reading it there would change what the server's task reads."""
    scene = Scene(wall)
    async with connect(app_of(scene.listen), "/", headers=by(scene.token(100))):
        await wait_all_tasks_blocked()
        with pytest.raises(ConfigurationError, match=r"from_thread\.run_sync\(lambda: conn\.expiring\)"):
            await trio.to_thread.run_sync(lambda: scene.open.expiring)
