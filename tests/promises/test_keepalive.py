"""A peer that says nothing is asked whether it is there, and let go when it does not answer.

Only bytes that come from the peer are life, but any of them are, be it one byte of a frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio
import trio.testing
from attrs import evolve

from seawall import Anonymous, Connection, Limits
from seawall.testing import serve
from tests.raw import BINARY, CLOSE, PING, PONG, TEXT, Frame, RawClient, close_frame, frame
from tests.support import Lines, Transport, busy, discard, echo_app, pour, quick, surviving, until

INTERVAL: Final = 0.3
TIMEOUT: Final = 0.4

#: Virtual seconds in which everything has to happen.
LONG: Final = 10_000.0


#: Limits with a keepalive that does not take long.
EAGER: Final = Limits(ping_interval=INTERVAL, ping_timeout=TIMEOUT, close_timeout=0.3, wind_down=0.05)


def soon(due: float, took: float) -> bool:
    """Whether something that was due after a time happened then, on a machine that has other things to do as well."""
    return due * 0.9 <= took <= due * 1.25 + 0.5


async def test_a_silent_peer_is_asked_and_then_let_go(over: Transport, log: Lines) -> None:
    """A Ping after so much silence, 1011 so much later, and then its handler is cancelled and nothing is left."""
    cancelled: list[float] = []

    async def busy(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with surviving(echo_app(limits=EAGER, busy=busy), over, within=1.0) as place:
        client = await place.open("/busy")
        opened = trio.current_time()
        assert (await client.frame()).opcode == PING
        asked = trio.current_time()
        assert soon(INTERVAL, asked - opened)
        last = await client.dismissal()
        assert (last.code, last.reason) == (1011, "keepalive lost")
        assert soon(INTERVAL + TIMEOUT, trio.current_time() - opened)
        assert soon(TIMEOUT, cancelled[0] - asked)
        await place.idle(1, within=1.0)
        assert ": keepalive lost, 1011 " in log()[-1]


async def test_a_peer_that_takes_nothing_either_is_let_go(over: Transport) -> None:
    """Nor does it matter that its Ping and its Close cannot be delivered."""
    async with surviving(
        echo_app(limits=evolve(EAGER, send_timeout=30), busy=busy, pour=pour), over, within=1.0
    ) as place:
        for path in ("/busy", "/pour"):
            await place.open(path)
        await until(lambda: place.sessions == 3)
        await place.idle(1, within=(INTERVAL + TIMEOUT) * 1.25 + 1.0)


async def _say(client: RawClient, said: bytes, stop: trio.Event) -> None:
    """Say that again and again, more often than would be needed; no Ping may come."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_no_ping, client)
        while not stop.is_set():
            await client.send(said)
            await trio.sleep(INTERVAL / 4)
        nursery.cancel_scope.cancel()


async def _dribble(client: RawClient, stop: trio.Event) -> None:
    """Send one frame, a byte at a time."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_no_ping, client)
        for byte in frame(BINARY, bytes(1000)):
            await client.send(bytes([byte]))
            await trio.sleep(INTERVAL / 4)
            if stop.is_set():
                break
        nursery.cancel_scope.cancel()


async def _expect_no_ping(client: RawClient) -> None:
    while True:
        assert (await client.frame()).opcode not in {PING, CLOSE}


async def _answer(client: RawClient, answer: Callable[[Frame], bytes], stop: trio.Event) -> None:
    """Say nothing but answers to Pings, of which there must be several."""
    asked = 0
    while not stop.is_set():
        found = await client.frame()
        if found.opcode == PING:
            asked += 1
            await client.send(answer(found))
    assert asked >= 2


async def test_any_byte_is_life(over: Transport) -> None:
    """Whoever sends anything is neither asked nor let go; whoever answers a Ping with anything stays too."""
    ways: list[Callable[[RawClient, trio.Event], Awaitable[None]]] = [
        _dribble,
        *(
            partial(_say_so, said=said)
            for said in (frame(TEXT), frame(PONG), frame(PING, b"?"), frame(TEXT, fin=False))
        ),
        partial(_answer_so, answer=lambda ping: frame(PONG, ping.payload)),
        partial(_answer_so, answer=lambda ping: frame(PONG, b"something else")),
        partial(_answer_so, answer=lambda ping: frame(TEXT, b"I am here")),
        partial(_answer_so, answer=lambda ping: frame(PING)),
    ]
    stop = trio.Event()
    async with surviving(echo_app(limits=evolve(EAGER, max_fragments=1000), discard=discard), over) as place:
        async with trio.open_nursery() as nursery:
            for way in ways:
                nursery.start_soon(way, await place.open("/discard"), stop)
            await trio.sleep(2 * (INTERVAL + TIMEOUT))
            assert place.sessions == 1 + len(ways)
            stop.set()
        place.hang_up()


async def _say_so(client: RawClient, stop: trio.Event, *, said: bytes) -> None:
    first, *rest = (said, frame(0, fin=False)) if said == frame(TEXT, fin=False) else (said, said)
    await client.send(first)
    await _say(client, rest[0], stop)


async def _answer_so(client: RawClient, stop: trio.Event, *, answer: Callable[[Frame], bytes]) -> None:
    await _answer(client, answer, stop)


async def test_life_after_the_question_begins_anew(over: Transport) -> None:
    """A byte that comes after the Ping counts from when it came: the next Ping, and the end, are due from there."""
    async with surviving(echo_app(limits=EAGER, busy=busy), over) as place:
        client = await place.open("/busy")
        assert (await client.frame()).opcode == PING
        await trio.sleep(TIMEOUT / 2)
        await client.send(frame(TEXT)[:1])
        alive = trio.current_time()
        assert (await client.frame()).opcode == PING
        assert soon(INTERVAL, trio.current_time() - alive)
        assert (await client.dismissal()).code == 1011
        assert soon(INTERVAL + TIMEOUT, trio.current_time() - alive)


async def test_what_we_send_is_no_life(over: Transport) -> None:
    """A peer whose kernel takes all that a handler sends may have gone long ago."""

    async def tick(conn: Connection[Anonymous]) -> None:
        while True:
            await conn.send("tick")
            await trio.sleep(INTERVAL / 10)

    async with surviving(echo_app(limits=EAGER, tick=tick), over) as place:
        client = await place.open("/tick")
        found = await client.end(within=(INTERVAL + TIMEOUT) * 1.25 + 1.0)
        assert PING in {one.opcode for one in found}
        assert found[-1].code == 1011


async def test_nobody_is_asked_after_our_close(over: Transport) -> None:
    """While a closing handshake waits for the peer there is nothing more to say."""
    async with surviving(echo_app(limits=evolve(EAGER, close_timeout=1), quick=quick), over) as place:
        client = await place.open("/quick")
        assert (await client.closed()).code == 1000
        assert await client.end() == []


async def test_hundreds_of_silent_peers_cost_no_task_each() -> None:
    """One sweeper asks them all; they are let go together, and nothing of them is left."""

    async def tasks(patience: Limits) -> int:
        async with surviving(echo_app(limits=patience, busy=busy), within=2.0) as place:
            before = trio.lowlevel.current_statistics().tasks_living
            for _ in range(200):
                await place.open("/busy")
            await trio.testing.wait_all_tasks_blocked(0.001)
            found = trio.lowlevel.current_statistics().tasks_living - before
            if patience.close_timeout < 1:
                await place.idle(1, within=(INTERVAL + TIMEOUT) * 1.25 + 2.0)
                assert place.deadlines <= 2
            return found

    assert await tasks(EAGER) <= await tasks(Limits(ping_interval=None))


# In virtual time


async def test_the_numbers(autojump_clock: object) -> None:
    """By default a Ping after 20 seconds of silence, and the end 20 seconds later."""
    async with serve(echo_app(busy=busy)) as serving:
        client = RawClient(serving.open_stream(), patience=LONG)
        await client.upgrade("/busy")
        opened = trio.current_time()
        assert (await client.frame()).opcode == PING
        asked = trio.current_time()
        assert 20 <= asked - opened <= 21
        assert (await client.closed()).code == 1011
        assert 20 <= trio.current_time() - asked <= 21
        await client.eof()
        await serving.server.aclose()


async def test_keepalive_can_be_turned_off(autojump_clock: object) -> None:
    """None is none: no Ping for hours, or Pings that nobody has to answer."""
    async with serve(echo_app(limits=Limits(ping_interval=None))) as serving:
        client = RawClient(serving.open_stream(), patience=LONG)
        await client.upgrade()
        await client.silence(LONG - 1)
        await client.echo(b"still here")
    async with serve(echo_app(limits=Limits(ping_timeout=None))) as serving:
        client = RawClient(serving.open_stream(), patience=LONG)
        await client.upgrade()
        assert (await client.frame()).opcode == PING
        with trio.move_on_after(LONG - 1):
            while (await client.frame()).opcode == PING:
                pass
            raise AssertionError("let go")
        await client.send(close_frame())
        assert (await client.closed()).code == 1000
