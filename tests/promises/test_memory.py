"""What connections cost: a stated number of bytes while they are idle, nothing once they have gone, little in between."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing

from seawall import App
from tests.flood import flooding
from tests.promises.violations import SMALL
from tests.raw import BINARY, CONTINUATION, PING, PONG, TEXT, close_frame, frame, request
from tests.support import Place, Transport, busy, echo_app, quick, serving

KIB: Final = 1024

#: Resident memory that an idle connection may take. TLS keeps its own buffers and keys besides.
IDLE: Final[dict[Transport, int]] = {"plain": 40 * KIB, "reader": 40 * KIB, "tls": 120 * KIB}

#: Bytes by which the heap may grow for each connection that has come and gone.
LEFT_BEHIND: Final = 20


def resident() -> int:
    """Bytes of memory that this process really has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


@contextmanager
def traced() -> Generator[Callable[[], int]]:
    """Gives the size of the heap, in bytes."""

    def size() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        yield size
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux")
async def test_an_idle_connection_costs_so_much(over: Transport) -> None:
    """Measured over hundreds of clients in another process, after as many have come and gone."""
    count = 300
    async with serving(echo_app(), over) as place:
        async with flooding(place.at, "idle", count):
            pass
        await place.idle(0)
        before = resident()
        async with flooding(place.at, "idle", 2 * count):
            assert place.sessions == 2 * count
            each = (resident() - before) / count  # the second half of them: the first found the room of those before
        assert each < IDLE[over], f"{each / KIB:.1f} KiB"


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
    return echo_app(limits=SMALL, busy=busy, quick=quick)


@pytest.mark.parametrize(("over", "count"), [("plain", 2000), ("reader", 800), ("tls", 400)])
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
        with traced() as size:
            await come_and_go(200)
            before = size()
            await come_and_go(count)
            left = (size() - before) / count
        assert left < LEFT_BEHIND, f"{left:.1f} bytes each"
        assert place.deadlines == 0


async def test_what_a_header_announces_costs_nothing(over: Transport) -> None:
    """A hundred clients that each announce a MiB and send little of it cost what they have sent."""
    count = 100
    async with serving(echo_app(), over) as place:
        clients = [await place.open() for _ in range(count)]
        with traced() as size:
            before = size()
            for client in clients:
                await client.send(frame(BINARY, bytes(1024 * KIB))[:1000])
            await trio.testing.wait_all_tasks_blocked()
            each = (size() - before) / count
        assert each < 10 * KIB, f"{each / KIB:.1f} KiB"
        place.hang_up()


async def test_tiny_fragments_cost_no_more_than_they_hold(over: Transport) -> None:
    """Nor do a hundred thousand pieces of a text that never ends: a character in several is one character."""
    pieces = 100_000
    async with serving(echo_app(), over) as place:
        client = await place.open(then=frame(TEXT, fin=False))
        with traced() as size:
            before = size()
            await client.send(frame(CONTINUATION, b"x", fin=False) * pieces)
            await client.send(frame(PING))
            assert (await client.frame()).opcode == PONG
            held = size() - before
        assert held < 4 * pieces + 512 * KIB, f"{held / KIB:.1f} KiB"
        place.hang_up()
