"""What a handler sends arrives whole or not at all, and a peer that does not take it is let go."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Final

import pytest
import trio

from seawall import Anonymous, Connection, Disconnected, Limits
from tests.kit.log import Lines
from tests.kit.sockets import (
    DRIVEN,
    EVERYWHERE,
    SHORT,
    Transport,
    at_once,
    echo_app,
    everywhere,
    pour,
    surviving,
    until,
)
from tests.kit.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    SOON,
    TEXT,
    Frame,
    RawClient,
    close_frame,
    frame,
    request,
)

pytestmark = pytest.mark.slow

KIB: Final = 1024


def test_how_long_a_peer_may_take_nothing() -> None:
    """Ten seconds, by default."""
    assert Limits().send_timeout == 10


@pytest.mark.usefixtures("calm")
@everywhere(*EVERYWHERE)
async def test_a_cancelled_send_never_tears_a_frame(over: Transport) -> None:
    """What `send` has returned from arrives whole and in order, and what was cancelled does not arrive at all."""
    delivered: list[bytes] = []
    cancelled = 0

    async def torn(conn: Connection[Anonymous]) -> None:
        async with trio.open_nursery() as nursery:
            for name in range(4):
                nursery.start_soon(send_and_cancel, conn, random.Random(name))

    async def send_and_cancel(conn: Connection[Anonymous], rng: random.Random) -> None:
        nonlocal cancelled
        for _ in range(40):
            content = rng.randbytes(rng.choice([10, 1000, 30_000, 200_000]))
            payload = struct.pack("!I", zlib.crc32(content)) + content
            with trio.move_on_after(rng.choice([0, 0.001, 0.01, 1])) as scope:
                await conn.send(payload)
                delivered.append(payload)
            cancelled += scope.cancelled_caught

    app = echo_app(limits=Limits(outbound_buffer=64 * KIB), torn=torn)
    received: list[bytes] = []
    async with surviving(app, over) as place:
        client = await place.open("/torn")
        while (found := await client.frame()).opcode != CLOSE:
            assert int.from_bytes(found.payload[:4], "big") == zlib.crc32(found.payload[4:])
            received.append(found.payload)
            await trio.sleep(0.002)
        await client.send(close_frame())
        assert await client.end() == []
    assert received == delivered
    assert cancelled > 10
    assert len(received) > 10


@pytest.mark.usefixtures("calm")
@everywhere()
async def test_a_send_that_timed_out_leaves_the_connection_as_it_was(over: Transport) -> None:
    """A peer that reads again later gets whole frames, those whose `send` returned and no others."""
    stuck = trio.Event()
    sent: list[int] = []

    async def impatient(conn: Connection[Anonymous]) -> None:
        for number in range(1000):
            with trio.move_on_after(0.2) as scope:
                await conn.send(struct.pack("!I", number) + bytes(100_000))
                sent.append(number)
            if scope.cancelled_caught:
                break
        stuck.set()
        await conn.receive()
        await conn.send("and on")

    async with surviving(echo_app(limits=Limits(close_timeout=0.5), impatient=impatient), over) as place:
        client = await place.open("/impatient")
        await stuck.wait()
        await client.send(frame(TEXT, b"go on"))
        for number in sent:
            assert (await client.frame()).payload == struct.pack("!I", number) + bytes(100_000)
        assert await client.frame() == Frame(TEXT, b"and on")
        assert (await client.dismissal(answer=True)).code == 1000


async def test_big_messages_go_both_ways(over: Transport) -> None:
    """Megabytes, whole and fragmented, with control frames between the fragments."""
    rng = random.Random(1)
    big = rng.randbytes(3_000_000)
    async with surviving(echo_app(limits=Limits(max_message_size=4_000_000)), over) as place:
        client = await place.dial()
        async with trio.open_nursery() as nursery:
            pieces = [frame(BINARY, big[:1000], fin=False), frame(PING, b"between")]
            pieces += [frame(CONTINUATION, big[1000:], mask=rng.randbytes(4))]
            nursery.start_soon(client.send, request(), frame(BINARY, big), *pieces)
            assert (await client.response()).status == 101
            found = [await client.frame() for _ in range(3)]
        assert [one.payload for one in found if one.opcode == BINARY] == [big, big]
        assert Frame(PONG, b"between") in found


# Peers that do not read


@pytest.mark.usefixtures("calm")
async def test_a_slow_consumer_is_ended_although_its_socket_is_stuck(log: Lines) -> None:
    """A peer that takes nothing for `send_timeout` is let go, with all that it held, and its handler knows."""
    await at_once(_take_nothing, *EVERYWHERE)
    assert sum(": slow consumer, 1008 " in line for line in log()) == len(EVERYWHERE)


async def _take_nothing(over: Transport) -> None:
    timeout, told = 0.5, list[float]()

    async def pour_until_told(conn: Connection[Anonymous]) -> None:
        with pytest.raises(Disconnected):
            await pour(conn)
        told.append(trio.current_time())

    app = echo_app(limits=Limits(close_timeout=0.3, wind_down=0.1, send_timeout=timeout), pour=pour_until_told)
    async with surviving(app, over, within=SOON) as place:
        started = trio.current_time()
        await place.open("/pour")
        await until(lambda: bool(told))
        assert timeout * 0.9 <= told[0] - started <= timeout + SOON
        await place.idle(1, within=SOON)


@everywhere()
async def test_a_peer_that_pings_and_does_not_read_is_ended(over: Transport) -> None:
    """Its Pongs count as something that it has to take."""
    async with surviving(echo_app(limits=SHORT), over) as place:
        client = await place.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.insist, frame(BINARY, bytes(1_000_000)) + frame(PING, bytes(125)) * 100)
            await until(lambda: place.sessions == 2)
            await place.idle(1, within=SOON)


async def _sip(client: RawClient, size: int, *, every: float) -> None:
    """Read steadily, but not much at a time."""
    data = b"begin"
    while data:
        data = bytes(await client.stream.receive_some(size))
        await trio.sleep(every)


@pytest.mark.usefixtures("calm")
@everywhere()
async def test_a_slow_but_steady_reader_stays(over: Transport) -> None:
    """Not to be fast is no fault: a write may take longer than `send_timeout`, as long as something of it goes."""
    timeout = 0.8

    async def send(conn: Connection[Anonymous]) -> None:
        for _ in range(2):
            await conn.send(bytes(64 * KIB))

    app = echo_app(limits=Limits(send_timeout=timeout, close_timeout=3), send=send)
    async with surviving(app, over, buffers=16 * KIB) as place:
        client = await place.open("/send", receive_buffer=4 * KIB)
        started = trio.current_time()
        frames = 0
        while (await client.slow_frame(4 * KIB, every=0.06)).opcode != CLOSE:
            frames += 1
        assert frames == 2
        assert trio.current_time() - started > 2 * timeout


@pytest.mark.usefixtures("calm")
@everywhere("plain", "tls")  # what lies in a kernel only those can tell who see the socket
async def test_a_steady_reader_stays_behind_large_buffers(over: Transport) -> None:
    """What leaves the kernel's buffer is progress, though megabytes have to leave it before it takes more."""
    app = echo_app(limits=Limits(send_timeout=0.8, close_timeout=0.3), pour=pour)
    async with surviving(app, over) as place:
        client = await place.open("/pour", receive_buffer=64 * KIB)
        await trio.sleep(0.2)  # in which they fill
        with trio.move_on_after(2.0):
            await _sip(client, 16 * KIB, every=0.05)
        assert place.sessions == 2
        client.reset()


async def test_a_reader_that_stops_is_ended(log: Lines) -> None:
    """What it has read before does not help it."""
    await at_once(_stop_reading)
    assert sum(": slow consumer, 1008 " in line for line in log()) == len(DRIVEN)


async def _stop_reading(over: Transport) -> None:
    timeout = 0.5
    async with surviving(
        echo_app(limits=Limits(send_timeout=timeout, close_timeout=0.3), pour=pour), over, buffers=16 * KIB
    ) as place:
        client = await place.open("/pour", receive_buffer=16 * KIB)
        with trio.move_on_after(0.5):
            await _sip(client, 16 * KIB, every=0.001)
        assert place.sessions == 2
        await place.idle(1, within=timeout + SOON)
