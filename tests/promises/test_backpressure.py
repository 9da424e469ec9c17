"""A handler that does not receive: its peer is still answered, then no longer read, and seen to leave all the while.

Messages lie unread up to a soft limit in their number, ``inbound_queue``, and a hard one in bytes, ``inbound_buffer``.
Up to the hard one control frames are answered; beyond it the peer is not read, so that TCP makes it wait.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import pytest
import trio
from attrs import evolve

from seawall import Anonymous, Connection, Limits
from tests.kit.sockets import EVERYWHERE, Transport, at_once, busy, echo_app, everywhere, surviving, until
from tests.kit.wire import BINARY, PATIENCE, PING, PONG, SOON, TEXT, Frame, RawClient, close_frame, frame

pytestmark = pytest.mark.slow

KIB: Final = 1024

#: The hard limit of these tests.
HARD: Final = 256 * KIB

#: What the kernels and TLS may hold besides.
BUFFERS: Final = 512 * KIB

SMALL: Final = Limits(max_message_size=16 * KIB, inbound_buffer=HARD, wind_down=0.1, close_timeout=0.5)


def numbered(number: int) -> bytes:
    """A message of a KiB that can be told from the others."""
    return b"%1024d" % number


def messages(count: int) -> bytes:
    """So many of them, as they are sent."""
    return b"".join(frame(BINARY, numbered(number)) for number in range(count))


def test_how_much_may_lie_unread() -> None:
    """By default 64 messages before the server begins to hold back, and never more than four of the largest size."""
    assert Limits().inbound_queue == 64
    assert Limits().inbound_bytes == 4 * 1024 * 1024


@pytest.mark.usefixtures("calm")
@everywhere(*EVERYWHERE)
async def test_control_frames_are_answered_while_messages_lie_unread(over: Transport) -> None:
    """At once, whether few large messages or many small ones lie there; and so is a Close."""

    async def expect_answers(unread: bytes) -> None:
        client = await place.open("/busy", then=unread)
        for number in range(2):
            await client.send(frame(PING, b"old") * number, frame(PING, b"%d" % number))
            with trio.fail_after(SOON):
                while (answer := await client.frame()) != Frame(PONG, b"%d" % number):
                    assert answer == Frame(PONG, b"old")
        await client.send(close_frame(4000))
        with trio.fail_after(SOON):
            assert (await client.closed()).code == 4000
        client.close()

    async with surviving(echo_app(busy=busy, limits=SMALL), over) as place, trio.open_nursery() as nursery:
        for unread in (b"", messages(63), messages(240), frame(TEXT, b"tiny") * 2000, frame(TEXT) * 100):
            nursery.start_soon(expect_answers, unread)


class Sender:
    """Sends numbered messages, and counts those that were taken."""

    def __init__(self, client: RawClient) -> None:
        """Begin with none."""
        self.taken = 0
        self._client = client

    async def run(self, count: int) -> None:
        """Send so many."""
        for number in range(count):
            await self._client.stream.send_all(frame(BINARY, numbered(number)))
            self.taken += 1

    async def wait_stuck(self) -> int:
        """Wait until no more are taken; how many were."""
        before = -1
        while self.taken != before:
            before = self.taken
            await trio.sleep(0.7)
        return before


@pytest.mark.usefixtures("calm")
@everywhere(*EVERYWHERE)
async def test_a_peer_whose_handler_does_not_receive_has_to_wait(over: Transport) -> None:
    """No more than the hard limit is taken from it; once the handler receives, all of it arrives, in order."""
    receiving = trio.Event()

    async def late(conn: Connection[Anonymous]) -> None:
        await receiving.wait()
        for number in range(2000):
            assert await conn.receive() == numbered(number)
        await conn.send("all of them")
        await trio.sleep_forever()

    async with surviving(echo_app(limits=SMALL, late=late), over, buffers=64 * KIB) as place:
        client = await place.open("/late", send_buffer=64 * KIB)
        async with trio.open_nursery() as nursery:
            sender = Sender(client)
            nursery.start_soon(sender.run, 2000)
            taken = await sender.wait_stuck() * KIB
            assert HARD * 3 // 4 < taken < HARD + BUFFERS
            receiving.set()
        assert await client.frame() == Frame(TEXT, b"all of them")
        await client.send(frame(PING, b"still there?"))
        assert await client.frame() == Frame(PONG, b"still there?")


LEAVING: Final = ("reset", "close", "half-close")


async def _leave_busy_handler(over: Transport, *, unread: int, how: str) -> None:
    """Send so many messages to a handler that is busy, and go; it has to be cancelled within a second."""
    cancelled = trio.Event()

    async def busy(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with surviving(echo_app(limits=SMALL, busy=busy), over, within=SOON) as place:
        client = await place.open("/busy")
        await client.send(messages(unread))
        await until(lambda: not client.unsent)  # or its end could not be told from what lies before it
        if how == "reset":
            client.reset()
        elif how == "close":
            client.close()
        else:
            client.finish()
        with trio.fail_after(SOON):
            await cancelled.wait()


@pytest.mark.parametrize("how", LEAVING)
@pytest.mark.usefixtures("calm")
async def test_a_peer_that_leaves_above_the_soft_limit_is_seen(how: str) -> None:
    """Messages that lie unread do not hide that their sender has gone."""
    await at_once(partial(_leave_busy_handler, unread=150, how=how), *EVERYWHERE)


@pytest.mark.parametrize("how", LEAVING)
async def test_a_peer_that_leaves_above_the_hard_limit_is_seen(how: str) -> None:
    """Nor does it that the server has stopped reading; only of a stream without a socket nobody can tell."""
    await at_once(partial(_leave_busy_handler, unread=260, how=how), "plain", "tls", "unix")


async def test_to_see_a_peer_leave_over_tls_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Time and again: the log has its line for each, and nothing else."""

    async def leave() -> None:
        client = await place.open("/busy")
        await client.send(messages(260))
        await until(lambda: not client.unsent)
        await trio.sleep(1.0)
        client.reset()

    async with surviving(echo_app(limits=SMALL, busy=busy), "tls") as place:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(leave)
        await place.idle(1)
    assert [record.getMessage() for record in caplog.records if record.name == "seawall.error"] == []


#: A ping and an end that come soon, to a peer whose fault it is.
HASTY: Final = evolve(SMALL, idle_timeout=0.9, ping_interval=0.4, ping_timeout=0.6)


@pytest.mark.usefixtures("calm")
@everywhere(*EVERYWHERE)
async def test_who_was_above_the_hard_limit_is_heard_below_it(over: Transport) -> None:
    """The handler takes one message of too many, and is busy then: the peer is asked, answers, and is answered."""

    async def slow(conn: Connection[Anonymous]) -> None:
        await full.wait()
        await conn.receive()
        await trio.sleep(PATIENCE)

    full = trio.Event()
    async with surviving(echo_app(limits=HASTY, slow=slow), over) as place:
        client = await place.open("/slow")
        large = HASTY.max_message_size
        await client.send(frame(BINARY, bytes(large)) * (HARD // large))
        await client.silence(0.8)
        full.set()
        asked = 0
        with trio.move_on_after(2.0):
            while (await client.frame()).opcode == PING:
                asked += 1
                await client.send(frame(PONG), frame(BINARY, b"not idle"))
        assert asked >= 2
        await client.send(frame(PING, b"there?"))
        with trio.fail_after(SOON):
            assert await client.but_pings() == Frame(PONG, b"there?")
        await client.send(close_frame(4000))
        with trio.fail_after(SOON):
            assert (await client.but_pings()).code == 4000
        client.close()


@pytest.mark.usefixtures("calm")
@everywhere("plain", "tls", "unix")
async def test_who_leaves_with_a_full_inbox_and_reads_nothing(over: Transport) -> None:
    """A peer that goes while neither side takes anything is gone at once, and that is no fault of anybody's."""

    async def stuck(conn: Connection[Anonymous]) -> None:
        while True:
            await conn.send(bytes(16 * KIB))

    async with surviving(echo_app(limits=SMALL, stuck=stuck), over, within=SOON) as place:
        client = await place.open("/stuck", receive_buffer=16 * KIB)
        await client.send(messages(260))
        await until(lambda: not client.unsent)  # or its end would wait behind them
        client.finish()
        await place.idle(1, within=SOON)
        client.close()


@pytest.mark.usefixtures("calm")
@everywhere("plain", "tls")
async def test_what_a_peer_cannot_help_is_not_held_against_it(over: Transport) -> None:
    """It is we who do not read: neither its silence counts nor its idle time, until we read again."""
    receiving, received = trio.Event(), trio.Event()

    async def late(conn: Connection[Anonymous]) -> None:
        await receiving.wait()
        for number in range(300):
            assert await conn.receive() == numbered(number)
        received.set()
        await trio.sleep_forever()

    patient = evolve(SMALL, idle_timeout=0.9, ping_interval=0.7, ping_timeout=0.5)
    async with surviving(echo_app(limits=patient, late=late), over) as place:
        client = await place.open("/late")
        await client.send(messages(300))
        await client.silence(1.8)
        receiving.set()
        with trio.fail_after(SOON):
            await received.wait()
            assert (await client.closed()).code in {1011, 3008}
        client.close()


@everywhere()
async def test_a_feed_that_discards_its_input_never_holds_back(over: Transport) -> None:
    """Megabytes go nowhere, and a Ping behind them is answered."""

    async def feed(conn: Connection[Anonymous]) -> None:
        conn.discard_input()
        await trio.sleep_forever()

    async with surviving(echo_app(limits=SMALL, feed=feed), over) as place:
        client = await place.open("/feed")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.send, messages(4000), frame(PING, b"through")))
            assert await client.frame() == Frame(PONG, b"through")
