"""`Limits.message_timeout`: a message that is begun has to be finished, however the peer delays it."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from seawall import Anonymous, App, Connection, Gate, LimitOverrides, Limits, guard, public
from seawall.testing import serve
from seawall.wire.frames.decoder import Position
from seawall.wire.message_timer import MessageTimer
from tests.kit.memory import Peer, text
from tests.kit.sockets import Transport, echo, everywhere, serving
from tests.kit.wire import BINARY, CONTINUATION, PING, PONG, TEXT, frame

LIMITS = Limits(ping_interval=None, message_timeout=60)


@guard
async def first_word(gate: Gate, proved: Anonymous) -> Anonymous:
    """Wait for a message."""
    await gate.accept()
    await gate.receive_text()
    return proved


@asynccontextmanager
async def opened(limits: Limits = LIMITS, route: LimitOverrides | None = None, path: str = "/") -> AsyncGenerator[Peer]:
    """A peer of an echo in memory."""
    app = App(limits=limits)
    app.route("/", guard=public, limits=route or {})(echo)
    app.route("/word", guard=first_word)(echo)
    async with serve(app) as server:
        peer = Peer(server.open_stream())
        await peer.open(path)
        yield peer


def one_byte_each(data: bytes) -> list[bytes]:
    """In the smallest pieces that there are."""
    return [data[at : at + 1] for at in range(len(data))]


DRIPPED: dict[str, list[bytes]] = {
    "a long frame": one_byte_each(frame(TEXT, b"x" * 1000)),
    "a header that never ends": one_byte_each(frame(BINARY, bytes(70_000))[:9]),
    "fragments": [frame(TEXT, b"x", fin=False), *[frame(CONTINUATION, b"x", fin=False)] * 100],
    "empty fragments": [frame(TEXT, b"", fin=False), *[frame(CONTINUATION, b"", fin=False)] * 100],
    "fragments with pings between them": [frame(TEXT, b"", fin=False), *[frame(PING, b"") + frame(PONG, b"")] * 100],
    "a ping": one_byte_each(frame(PING, b"x" * 100)),
}


@pytest.mark.parametrize("pieces", DRIPPED.values(), ids=DRIPPED)
async def test_mended_13_what_drips_ends(autojump_clock: MockClock, pieces: list[bytes]) -> None:
    """A piece every 15 s is a sign of life; a minute after its first byte the message has to be there all the same."""
    async with opened(evolve(LIMITS, ping_interval=20), path="/") as peer:
        begun = trio.current_time()

        async def drip() -> None:
            for piece in pieces:
                try:
                    await peer.say(piece)
                except trio.BrokenResourceError:
                    return
                await trio.sleep(15)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert await peer.closing() == (1008, "message timed out")
            assert 60 <= trio.current_time() - begun < 61
            nursery.cancel_scope.cancel()


async def test_mended_13_in_the_first_message_too(autojump_clock: MockClock) -> None:
    """While a guard waits for a message, the message has as long as any other, if the guards have longer."""
    async with opened(evolve(LIMITS, auth_timeout=600), path="/word") as peer:
        await peer.say(text("let me in")[:4])
        assert await peer.closing() == (1008, "message timed out")
        assert 60 <= trio.current_time() < 62


async def test_mended_13_each_message_has_its_own_minute(autojump_clock: MockClock) -> None:
    """Messages that straddle segments for an hour are all in time, and so are the pings between them."""
    stream = b"".join(text(f"{number}") + frame(PING, b"") for number in range(100))
    async with opened() as peer:
        for at in range(0, len(stream), 7):
            await peer.say(stream[at : at + 7])
            await trio.sleep(19)
        said = 0
        while said < 100:
            found = await peer.frame()
            assert found is not None
            said += found.opcode == TEXT


@pytest.mark.parametrize(("app", "route"), [(None, {}), (1, {"message_timeout": None}), (1, {"message_timeout": 7200})])
async def test_mended_13_it_can_be_set(autojump_clock: MockClock, app: float | None, route: LimitOverrides) -> None:
    """None is no limit, and a route has its own."""
    async with opened(evolve(LIMITS, message_timeout=app), route) as peer:
        whole = text("at last")
        await peer.say(whole[:-1])
        await trio.sleep(3600)
        await peer.say(whole[-1:])
        assert await peer.message() == "at last"


async def test_mended_13_what_we_do_not_read_is_not_late(autojump_clock: MockClock) -> None:
    """While the handler is behind, its peer is not read; the message that waits in between has not had that time."""
    may_go_on = trio.Event()
    app = App(limits=evolve(LIMITS, inbound_queue=1, max_message_size=1000, inbound_buffer=1000))

    @app.route("/", guard=public)
    async def slow(conn: Connection[Anonymous]) -> None:
        await may_go_on.wait()
        async for message in conn:
            await conn.send(message)

    async with serve(app) as server:
        peer = Peer(server.open_stream())
        await peer.open("/")
        whole = text("b" * 500)
        await peer.say(text("a" * 900), text("a" * 900), whole[:100])
        await trio.sleep(3600)
        may_go_on.set()
        for _ in range(2):
            await peer.message()
        await trio.sleep(55)
        await peer.say(whole[100:])
        assert await peer.message() == "b" * 500
        await peer.say(whole[:100])
        assert await peer.closing() == (1008, "message timed out")
        assert 3655 + 60 <= trio.current_time() < 3655 + 62


async def test_mended_13_the_timer_alone(autojump_clock: MockClock) -> None:
    """It begins with a message, not with what comes whole, and counts no pause."""
    timer = MessageTimer()

    def note(position: Position, *, message: bool = False, control: bool = False) -> bool:
        return timer.note(position, has_message=message, has_control=control)

    assert not note(Position.BETWEEN, message=True)
    assert timer.begun_at(is_behind=False) == math.inf
    await trio.sleep(1)
    assert note(Position.IN_FRAME)
    assert not note(Position.IN_MESSAGE)
    assert timer.begun_at(is_behind=False) == 1
    timer.pause()
    await trio.sleep(10)
    timer.pause()
    assert timer.begun_at(is_behind=True) == 11
    await trio.sleep(10)
    assert timer.begun_at(is_behind=False) == 21
    await trio.sleep(10)
    assert timer.begun_at(is_behind=False) == 21
    assert not note(Position.IN_MESSAGE, control=True)
    assert note(Position.IN_MESSAGE, message=True)
    assert timer.begun_at(is_behind=False) == trio.current_time()
    timer.stop()
    assert timer.begun_at(is_behind=False) == math.inf


@everywhere("plain", "tls", "reader", "unix")
async def test_mended_13_over_sockets(over: Transport) -> None:
    """It ends a message in pieces over every transport, and leaves one alone that takes a while."""
    app = App(limits=evolve(LIMITS, message_timeout=1))
    app.route("/echo", guard=public)(echo)
    async with serving(app, over) as place:
        client = await place.open()
        whole = frame(TEXT, b"x" * 10_000)
        for at in range(0, len(whole), 3000):
            await client.send(whole[at : at + 3000])
            await trio.sleep(0.1)
        assert len((await client.frame()).payload) == 10_000
        await client.send(whole[:-1])
        assert (await client.closed()).closing == (1008, "message timed out")
