"""``bearer(warn=..., max_age=...)``: what a peer is told before its lease ends, and when renewing helps no more."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Final

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Claims,
    ConfigurationError,
    Connection,
    Gate,
    Guard,
    Limits,
    MessagePack,
    bearer,
    guard,
    public,
)
from seawall.testing import Closed, CloseFrame, connect, serve
from seawall.tokens import cookie, first_message
from tests.kit.log import recorded
from tests.kit.memory import Doorstep, Peer, Wire
from tests.kit.renewing import renew_each
from tests.kit.tokens import by, verifier
from tests.kit.wall import Wall

EXPIRED: Final = CloseFrame(3000, "lease expired")

#: Seconds before the end of a lease, by default.
AHEAD: Final = 30.0


@frozen
class Expiring:
    """The lease is about to end."""

    seconds: float = AHEAD


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The wall clock of Seawall."""
    return Wall.instead_of(monkeypatch)


def app_of(door: Guard[Anonymous, object], limits: Limits | None = None) -> App:
    """An app with one route, which renews."""
    app = App(limits=limits)
    app.route("/", guard=door)(renew_each)
    return app


async def test_a_text(wall: Wall, autojump_clock: MockClock) -> None:
    """The peer reads it before the end of the lease, once, and again after a renewal."""
    app = app_of(bearer(verifier, warn="expiring"))
    async with connect(app, "/", headers=by(wall.token(100)), timeout=500) as client:
        assert await client.receive() == "expiring"
        assert trio.current_time() == pytest.approx(70)
        await trio.sleep(10)
        await client.send(wall.token(100))
        assert await client.receive() == "renewed"
        assert await client.receive() == "expiring"
        assert trio.current_time() == pytest.approx(150)
        assert await client.wait_closed() == EXPIRED
        assert trio.current_time() == pytest.approx(180)
        with pytest.raises(Closed):
            await client.receive()


async def test_a_value(wall: Wall, autojump_clock: MockClock) -> None:
    """It is written as the codec of the route writes it: as text, or as bytes."""
    app, door = App(), bearer(verifier, warn=Expiring())
    app.route("/json", guard=door)(renew_each)
    app.route("/packed", guard=door, codec=MessagePack())(renew_each)
    async with serve(app) as served:
        async with served.connect("/json", headers=by(wall.token(100)), timeout=500) as client:
            assert json.loads(await client.receive()) == {"type": "expiring", "seconds": 30.0}
        async with served.connect("/packed", headers=by(wall.token(100)), timeout=500) as client:
            packed = await client.receive()
            assert isinstance(packed, bytes)
            assert b"expiring" in packed


async def test_it_disturbs_no_handler(wall: Wall, autojump_clock: MockClock) -> None:
    """A handler that is busy elsewhere neither sees it nor has to do anything for it, and it is no activity of its."""

    async def busy(conn: Connection[Claims]) -> None:
        await trio.sleep_forever()

    app = App(limits=Limits(idle_timeout=90))
    app.route("/", guard=bearer(verifier, warn="expiring"))(busy)
    async with connect(app, "/", headers=by(wall.token(100)), timeout=500) as client:
        assert await client.receive() == "expiring"
        assert await client.wait_closed() == CloseFrame(3008, "idle too long")
    assert trio.current_time() == pytest.approx(90)


async def test_a_lease_that_is_shorter(wall: Wall, autojump_clock: MockClock) -> None:
    """It is told as soon as the connection is open, not while guards still ask; and the handler may read it too."""

    @guard
    async def slow(gate: Gate, claims: Claims) -> Claims:
        await trio.sleep(5)
        return claims

    app = app_of(bearer(verifier, warn="expiring") >> slow)
    async with connect(app, "/", headers=by(wall.token(20)), timeout=500) as client:
        assert await client.receive() == "expiring"
        assert trio.current_time() == pytest.approx(5)
        assert await client.wait_closed() == EXPIRED


async def test_a_first_message(wall: Wall, autojump_clock: MockClock) -> None:
    """Nothing is sent while the guards talk."""
    app = app_of(bearer(verifier, first_message(), warn="expiring"))
    async with connect(app, "/", timeout=500) as client:
        await trio.sleep(1)
        await client.send(wall.token(20))
        assert await client.receive() == "expiring"


@pytest.mark.parametrize(("room", "is_told"), [(1100, False), (2100, True)])
async def test_a_peer_that_reads_nothing(room: int, is_told: bool, wall: Wall, autojump_clock: MockClock) -> None:
    """For whom the buffer is full already there is no warning on top of it."""

    async def send_on(conn: Connection[Claims]) -> None:
        await trio.sleep(1)
        wire.stall()
        await conn.send("x" * 1000)
        await conn.send("x" * 50)
        await trio.sleep_forever()

    limits = Limits(outbound_buffer=room, send_timeout=1000, ping_interval=None)
    app, door, wire = App(limits=limits), Doorstep(), Wire()
    app.route("/", guard=bearer(verifier, warn="y" * 1000))(send_on)
    async with trio.open_nursery() as nursery:
        server = await app.start(nursery, listeners=[door])
        door.arrive(wire)
        peer = Peer(wire.far)
        await peer.open("/", f"Authorization: Bearer {wall.token(100)}")
        await trio.sleep(80)
        assert [1000 < one.pending_bytes <= room for one in server.connections] == [True]
        wire.flow()
        assert await peer.message() == "x" * 1000
        assert await peer.message() == "x" * 50
        assert await peer.closing() == (3000, "lease expired") if not is_told else await peer.message() == "y" * 1000
        nursery.cancel_scope.cancel()


async def test_max_age(wall: Wall, autojump_clock: MockClock) -> None:
    """However often it is renewed, the connection ends when it is so old; there is one warning before that."""
    app, warned = app_of(bearer(verifier, warn="expiring", max_age=1000)), list[float]()
    async with connect(app, "/", headers=by(wall.token(100)), timeout=5000) as client:
        with suppress(Closed):
            while trio.current_time() < 1000:
                assert await client.receive() == "expiring"
                warned.append(trio.current_time())
                await client.send(wall.token(100))
                assert await client.receive() == "renewed"
        assert await client.wait_closed() == EXPIRED
    assert trio.current_time() == pytest.approx(1000)
    assert warned == [pytest.approx(70 * count) for count in range(1, 14)] + [pytest.approx(970)]


async def test_max_age_counts_from_the_door(wall: Wall, autojump_clock: MockClock) -> None:
    """Whichever clock says so first; what the token says does not count."""
    app = app_of(bearer(verifier, cookie("__Host-session"), max_age=1000))
    headers = {"Cookie": f"__Host-session={wall.token(5000, iat=wall.time() - 900)}"}
    async with connect(app, "/", headers=headers, timeout=5000) as client:
        assert await client.wait_closed() == EXPIRED
    assert trio.current_time() == pytest.approx(1000)
    async with connect(app, "/", headers=headers, timeout=5000) as client:
        await trio.sleep(100)
        wall.ahead = 900
        assert await client.wait_closed() == EXPIRED
    assert 1100 <= trio.current_time() <= 1120


async def test_a_token_that_ends_before(wall: Wall, autojump_clock: MockClock) -> None:
    """Its own end holds, too."""
    async with connect(app_of(bearer(verifier, max_age=1000)), "/", headers=by(wall.token(100)), timeout=500) as client:
        assert await client.wait_closed() == EXPIRED
    assert trio.current_time() == pytest.approx(100)


async def test_who_came_without_a_token(wall: Wall, autojump_clock: MockClock) -> None:
    """Nothing is leased, nothing ends."""
    app = app_of(bearer(verifier, warn="expiring", max_age=100) | public)
    async with connect(app, "/", timeout=5000) as client:
        await trio.sleep(1000)
        await client.send("nonsense")
        assert await client.receive() == "Unauthorized: this connection was let in without a token"


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan"), True, "8 hours"])
def test_a_wrong_age(wrong: float) -> None:
    """It is refused where it is written."""
    with pytest.raises(ConfigurationError, match=r"max_age=.*give a number of seconds above 0"):
        bearer(verifier, max_age=wrong)


@frozen
class Weird:
    """No message can carry this."""

    what: object


@pytest.mark.parametrize(
    "wrong", [7, Expiring, {"type": "expiring"}, "\ud800", Expiring(float("nan")), True, Weird(print)]
)
def test_a_wrong_warning(wrong: str) -> None:
    """So is what no message can carry."""
    with pytest.raises(ConfigurationError, match=r"bearer\(warn=\.\.\.\): no message can carry it: "):
        bearer(verifier, warn=wrong)


async def test_the_log_is_quiet(wall: Wall, autojump_clock: MockClock) -> None:
    """A warning is no incident."""
    with recorded() as log:
        async with connect(app_of(bearer(verifier, warn="soon")), "/", headers=by(wall.token(20))) as client:
            assert await client.receive() == "soon"
            await wait_all_tasks_blocked()
    assert log.lines("error") == []
