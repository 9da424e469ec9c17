"""A peer that says nothing is asked whether it is there, and let go when it does not answer.

Only bytes that come from the peer are life, but any of them are, be it one byte of a frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Final

import pytest
import trio
import trio.testing
from attrs import evolve

from seawall import Anonymous, Connection, Limits
from seawall.testing import serve
from tests.kit.log import Lines
from tests.kit.sockets import (
    DRIVEN,
    Transport,
    at_once,
    busy,
    discard,
    echo_app,
    everywhere,
    pour,
    quick,
    surviving,
    until,
)
from tests.kit.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, SOON, TEXT, Frame, RawClient, close_frame, frame

pytestmark = pytest.mark.slow

INTERVAL: Final = 0.6
TIMEOUT: Final = 0.6

#: Virtual seconds in which everything has to happen.
LONG: Final = 10_000.0


#: Limits with a keepalive that does not take long.
EAGER: Final = Limits(ping_interval=INTERVAL, ping_timeout=TIMEOUT, close_timeout=0.3, wind_down=0.05)


def soon(due: float, took: float) -> bool:
    """Whether something that was due after a time happened then, on a machine that has other things to do as well."""
    return due * 0.9 <= took <= due * 1.25 + SOON


async def test_a_silent_peer_is_asked_and_then_let_go(log: Lines) -> None:
    """A Ping after so much silence, 1011 so much later, and then its handler is cancelled and nothing is left."""
    await at_once(_expect_question_and_end)
    assert sum(": keepalive lost, 1011 " in line for line in log()) == len(DRIVEN)


async def _expect_question_and_end(over: Transport) -> None:
    cancelled: list[float] = []

    async def busy(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with surviving(echo_app(limits=EAGER, busy=busy), over, within=SOON) as place:
        client = await place.open("/busy")
        opened = trio.current_time()
        assert (await client.frame()).opcode == PING
        asked = trio.current_time()
        assert soon(INTERVAL, asked - opened)
        last = await client.dismissal()
        assert (last.code, last.reason) == (1011, "keepalive lost")
        assert soon(INTERVAL + TIMEOUT, trio.current_time() - opened)
        assert soon(TIMEOUT, cancelled[0] - asked)
        await place.idle(1, within=SOON)


@everywhere()
async def test_a_peer_that_takes_nothing_either_is_let_go(over: Transport) -> None:
    """Nor does it matter that its Ping and its Close cannot be delivered."""
    async with surviving(
        echo_app(limits=evolve(EAGER, send_timeout=30), busy=busy, pour=pour), over, within=SOON
    ) as place:
        for path in ("/busy", "/pour"):
            await place.open(path)
        await until(lambda: place.sessions == 3)
        await place.idle(1, within=INTERVAL + TIMEOUT + SOON)


async def _expect_no_ping(client: RawClient) -> None:
    while True:
        assert (await client.frame()).opcode not in {PING, CLOSE}


async def _say(client: RawClient, words: Iterable[bytes]) -> None:
    """Say one thing after the other, each before silence becomes a question; no Ping may come."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_no_ping, client)
        for word in words:
            await client.send(word)
            await trio.sleep(INTERVAL / 4)


async def _answer(client: RawClient, answer: Callable[[Frame], bytes]) -> None:
    """Say nothing but answers to Pings."""
    while True:
        found = await client.frame()
        assert found.opcode != CLOSE
        if found.opcode == PING:
            await client.send(answer(found))


@everywhere()
async def test_any_byte_is_life(over: Transport) -> None:
    """Whoever sends anything, be it one byte of a frame at a time, is neither asked nor let go."""
    large = frame(BINARY, bytes(1000))
    words: tuple[Iterable[bytes], ...] = (
        (large[at : at + 1] for at in range(len(large))),
        itertools.repeat(frame(TEXT)),
        itertools.repeat(frame(PONG)),
        itertools.repeat(frame(PING, b"?")),
        itertools.chain([frame(TEXT, fin=False)], itertools.repeat(frame(CONTINUATION, fin=False))),
    )
    async with surviving(echo_app(limits=EAGER, discard=discard), over) as place, trio.open_nursery() as nursery:
        for way in words:
            nursery.start_soon(_say, await place.open("/discard"), way)
        await trio.sleep(1.5 * (INTERVAL + TIMEOUT))
        assert place.sessions == 1 + len(words)
        nursery.cancel_scope.cancel()


@everywhere()
async def test_any_answer_to_a_ping_is_life(over: Transport) -> None:
    """A Pong with what the Ping held, as the RFC demands, or anything else that shows that somebody is there."""
    answers: list[Callable[[Frame], bytes]] = [
        lambda ping: frame(PONG, ping.payload),
        lambda _: frame(PONG, b"something else"),
        lambda _: frame(TEXT, b"I am here"),
        lambda _: frame(PING),
    ]
    async with surviving(echo_app(limits=EAGER, discard=discard), over) as place, trio.open_nursery() as nursery:
        for answer in answers:
            nursery.start_soon(_answer, await place.open("/discard"), answer)
        await trio.sleep(2 * INTERVAL + TIMEOUT)
        assert place.sessions == 1 + len(answers)
        nursery.cancel_scope.cancel()


@everywhere()
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


@everywhere()
async def test_what_we_send_is_no_life(over: Transport) -> None:
    """A peer whose kernel takes all that a handler sends may have gone long ago."""

    async def tick(conn: Connection[Anonymous]) -> None:
        while True:
            await conn.send("tick")
            await trio.sleep(INTERVAL / 10)

    async with surviving(echo_app(limits=EAGER, tick=tick), over) as place:
        client = await place.open("/tick")
        found = await client.end(within=INTERVAL + TIMEOUT + SOON)
        assert PING in {one.opcode for one in found}
        assert found[-1].code == 1011


@everywhere()
async def test_nobody_is_asked_after_our_close(over: Transport) -> None:
    """While a closing handshake waits for the peer there is nothing more to say."""
    async with surviving(echo_app(limits=evolve(EAGER, close_timeout=1), quick=quick), over) as place:
        client = await place.open("/quick")
        assert (await client.closed()).code == 1000
        assert await client.end() == []


async def test_hundreds_of_silent_peers_cost_no_task_each() -> None:
    """One sweeper asks them all; they are let go together, and nothing of them is left."""

    async def tasks(patience: Limits) -> int:
        async with surviving(echo_app(limits=patience, busy=busy), within=SOON) as place:
            before = trio.lowlevel.current_statistics().tasks_living
            for _ in range(100):
                await place.open("/busy")
            await trio.testing.wait_all_tasks_blocked(0.001)
            found = trio.lowlevel.current_statistics().tasks_living - before
            if patience.close_timeout < 1:
                await place.idle(1, within=INTERVAL + TIMEOUT + SOON)
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
