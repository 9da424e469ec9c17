"""What connections cost: a stated number of bytes while they are idle, and nothing once they have gone."""

from __future__ import annotations

import gc
import logging
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing
from attrs import evolve
from trio_websocket import ConnectionClosed, WebSocketRequest, WebSocketServer

from seawall import App
from seawall.serving.listening import Address, address_of
from tests.kit.sockets import Place, Transport, busy, echo_app, quick, serving
from tests.kit.wire import BINARY, CONTINUATION, PING, PONG, TEXT, close_frame, frame, request
from tests.promises.violations import SMALL
from tests.tools.flood import flooding

pytestmark = pytest.mark.slow

KIB: Final = 1024

#: Resident memory that an idle connection may take. TLS keeps its own buffers and keys besides.
IDLE: Final[dict[Transport, int]] = {"plain": 40 * KIB, "reader": 40 * KIB, "tls": 120 * KIB}

#: What Python allocates for an idle connection, beside what it does for one of trio-websocket alone. Of resident
#: memory it is to be 1.2 at most, which `benchmarks` measures; this can be told exactly, and differs by a hundredth
#: between versions of Python.
BESIDE: Final = 1.17

#: Objects by which the heap may grow at all, which is a few for each connection: Trio itself keeps up to a thousand
#: deadlines that have passed. A connection that stayed would be a hundred objects or more.
NOISE: Final = 5000


def resident() -> int:
    """Bytes of memory that this process really has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def objects() -> int:
    """How many objects there are."""
    gc.collect()
    return sys.getallocatedblocks()


@pytest.fixture(autouse=True)
def no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged: pytest would keep it."""
    caplog.set_level(logging.CRITICAL, logger="seawall")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux")
async def test_an_idle_connection_costs_so_much(over: Transport) -> None:
    """Measured over hundreds of clients in another process, after as many have come and gone."""
    count = 100
    async with serving(echo_app(), over) as place:
        async with flooding(place.at, "idle", count):
            pass
        await place.idle(0)
        before = resident()
        async with flooding(place.at, "idle", 2 * count):
            assert place.sessions == 2 * count
            each = (resident() - before) / count  # the second half of them: the first found the room of those before
        assert each < IDLE[over], f"{each / KIB:.1f} KiB"


async def _echo(request: WebSocketRequest) -> None:
    """The echo of a server of trio-websocket."""
    connection = await request.accept()
    with suppress(ConnectionClosed):
        while True:
            await connection.send_message(await connection.get_message())


async def _allocated() -> int:
    """Bytes that Python has allocated, once nothing happens any more."""
    await trio.testing.wait_all_tasks_blocked()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def _idle(at: Address) -> float:
    """Bytes that Python allocates for an idle connection to the server that is there."""
    first, then = 175, 125  # a dict grows with its 171st and its 342nd key, a set with its 77th and its 307th
    tracemalloc.start()
    try:
        async with flooding(at, "idle", first):
            before = await _allocated()
            async with flooding(at, "idle", then):
                return (await _allocated() - before) / then
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no epoll, and each connection has more tasks")
async def test_an_idle_connection_beside_one_of_trio_websocket() -> None:
    """It takes little more than one of trio-websocket, which is a part of it: what that has, and what Seawall adds."""
    async with serving(echo_app()) as place:
        ours = await _idle(place.at)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(WebSocketServer(_echo, [listener]).run)
        theirs = await _idle(address_of(listener))
        nursery.cancel_scope.cancel()
    assert ours < BESIDE * theirs, f"{ours:.0f} and {theirs:.0f} bytes"


async def _polite(place: Place) -> None:
    client = await place.open()
    await client.echo(b"hello")
    await client.send(close_frame())
    assert (await client.dismissal()).code == 1000


async def _abrupt(place: Place) -> None:
    client = await place.open(then=frame(TEXT, b"hello"))
    client.reset()


async def _early(place: Place) -> None:
    client = await place.dial()
    await client.send(request()[:100])
    client.close()


async def _refused(place: Place) -> None:
    assert await place.rejected(request("/nowhere")) == 404


async def _violating(place: Place) -> None:
    client = await place.open(then=frame(TEXT, b"\xff"))
    assert (await client.dismissal()).code == 1007


async def _unfinished(place: Place) -> None:
    client = await place.open(then=frame(BINARY, bytes(50), fin=False) + frame(CONTINUATION, bytes(50))[:30])
    client.close()


async def _unread(place: Place) -> None:
    client = await place.open("/busy", then=frame(TEXT, b"unread") * 50)
    client.close()


async def _returned(place: Place) -> None:
    client = await place.open("/quick")
    assert (await client.dismissal(answer=True)).code == 1000


WAYS: Final[tuple[Callable[[Place], Awaitable[None]], ...]] = (
    _polite,
    _abrupt,
    _early,
    _refused,
    _violating,
    _unfinished,
    _unread,
    _returned,
)


def app() -> App:
    """An app that lets connections go fast."""
    return echo_app(limits=evolve(SMALL, inbound_buffer=64 * KIB), busy=busy, quick=quick)


@pytest.mark.parametrize(("over", "count"), [("plain", 1500), ("reader", 300), ("tls", 300)])
async def test_connections_that_have_gone_leave_nothing(over: Transport, count: int) -> None:
    """Thousands come and go in every way; the heap is as large as before, and so are all tables."""

    async def come_and_go(times: int) -> None:
        for number in range(times):
            await WAYS[number % len(WAYS)](place)
        place.hang_up()
        await place.idle(0)
        await trio.testing.wait_all_tasks_blocked()

    async with serving(app(), over) as place:
        await come_and_go(200)
        before = objects()
        await come_and_go(count)
        assert objects() - before < NOISE
        assert place.deadlines == 0


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left_to_the_garbage_collector(
    way: Callable[[Place], Awaitable[None]], over: Transport
) -> None:
    """A connection goes at the moment at which it ends: to collect circles is felt at thousands a second."""
    ours = set[str]()
    async with serving(app(), over) as place:
        for _ in range(2):  # what is made once is made in the first round
            gc.collect(0)
            gc.disable()  # all that is made from here on is of the youngest generation
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                await way(place)
                place.hang_up()
                await place.idle(0)
                await trio.testing.wait_all_tasks_blocked()
                gc.collect(0)
                ours = {type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("seawall")}
            finally:
                gc.set_debug(0)
                gc.enable()
                gc.garbage.clear()
    # Since Python 3.12 what Trio's streams raise at a reset is a circle of its own, and holds who reads: the link.
    assert not ours - ({"StreamTransport", "Waiter"} if way is _abrupt and over != "plain" else set[str]())


async def test_what_is_announced_costs_nothing() -> None:
    """Clients that announce a MiB and send little of it, or many tiny pieces, cost what they have sent."""
    pieces = 20_000
    async with serving(echo_app()) as place:
        announced = frame(BINARY, bytes(1024 * KIB))[:1000]
        broken = frame(TEXT, fin=False) + frame(CONTINUATION, b"x", fin=False) * pieces
        clients = [await place.open() for _ in range(50)]
        tracemalloc.start()
        try:
            for client in clients[1:]:
                await client.send(announced)
            await clients[0].send(broken, frame(PING))
            assert (await clients[0].frame()).opcode == PONG
            await trio.testing.wait_all_tasks_blocked()
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert held < 49 * 8 * KIB + 4 * pieces + 256 * KIB, f"{held / KIB:.1f} KiB"
        place.hang_up()
