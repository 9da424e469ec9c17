"""A test that waits in vain fails, in time, and says what for."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from seawall import Anonymous, App, Connection, Gate, Limits, guard, public
from seawall.testing import Client, Closed, Serving, TimedOut, connect, serve
from seawall.testing.network import MemoryListener
from seawall.testing.waiting import GRACE, REAL_TIMEOUT, VIRTUAL_TIMEOUT, default_timeout

Act = Callable[[Client], Awaitable[object]]


def app() -> App:
    """An app that answers some, and a guard that decides nothing."""
    made = App(limits=Limits(auth_timeout=2 * VIRTUAL_TIMEOUT))

    @made.route("/", guard=public)
    async def answers_some(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            if message == "ticks":
                for number in range(3):
                    await conn.send(f"tick {number}")
            elif message == "later":
                await trio.sleep(VIRTUAL_TIMEOUT)
                await conn.send("in time")

    @guard
    async def undecided(gate: Gate, proved: Anonymous) -> Anonymous:
        await trio.sleep(2 * VIRTUAL_TIMEOUT)
        return proved

    made.route("/undecided", guard=undecided)(answers_some)
    return made


async def receive(client: Client) -> object:
    """Wait for a message."""
    return await client.receive()


async def ask(client: Client) -> object:
    """Wait for the answer to what is not answered."""
    await client.send("anybody there?")
    return await client.receive()


async def wait_closed(client: Client) -> object:
    """Wait for a Close, while messages come."""
    await client.send("ticks")
    return await client.wait_closed()


async def receive_stalled(client: Client) -> object:
    """Wait for a message that has been sent, and cannot arrive."""
    client.ignore_close()
    client.stall()
    return await client.receive()


async def send_unplugged(client: Client) -> None:
    """Send more than the network takes."""
    with client.unplugged():
        await client.send(b"x" * 100_000)
        await client.send(b"x" * 100_000, timeout=7)


#: What is waited for, for how long at the most, and what the failure says.
VAIN: dict[str, tuple[Act, float, str]] = {
    "a message": (
        receive,
        VIRTUAL_TIMEOUT,
        r"waited 3600 s for a message, .* came \d+ Pings; the connection is open; messages sent: 0, received: 0",
    ),
    "an answer": (
        ask,
        VIRTUAL_TIMEOUT,
        r"waited 3600 s for a message, .* came \d+ Pings; the connection is open; messages sent: 1, received: 0",
    ),
    "a Close": (
        wait_closed,
        VIRTUAL_TIMEOUT,
        (
            r"waited 3600 s for the app to close, .* came 3 messages, the last of them 'tick 2', and \d+ Pings; "
            r"the connection is open; messages sent: 1, received: 3"
        ),
    ),
    "room": (
        send_unplugged,
        7,
        (
            "waited 7 s for room to send a message, in vain; instead came nothing; "
            "the connection is open, but unplugged; messages sent: 1, received: 0"
        ),
    ),
}


@pytest.mark.parametrize("what", VAIN)
async def test_mended_25_a_wait_in_vain_fails(what: str, autojump_clock: MockClock) -> None:
    """After an hour of virtual time at the most, and it says what it waited for, what came, and how things stand."""
    act, seconds, said = VAIN[what]
    began = time.monotonic()
    with pytest.raises(TimedOut) as caught:
        async with connect(app(), "/") as client:
            await act(client)
    assert re.fullmatch(said, str(caught.value))
    assert trio.current_time() == pytest.approx(seconds, abs=10)
    assert time.monotonic() - began < 60  # of real time; without a bound it took for ever


async def test_mended_25_a_client_that_reads_no_more_is_told_so(autojump_clock: MockClock) -> None:
    """A test that has forgotten its own ``stall()`` finds it in the failure."""
    made = App(limits=Limits(ping_interval=None))

    @made.route("/", guard=public)
    async def tells(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    with pytest.raises(
        TimedOut, match=r"the connection is open, but stalled, and this client answers no Close; messages"
    ):
        async with connect(made, "/", timeout=5) as client:
            await receive_stalled(client)


async def test_mended_25_a_handshake_in_vain_fails(autojump_clock: MockClock) -> None:
    """A guard that never decides keeps no test waiting for ever."""
    with pytest.raises(TimedOut) as caught:
        async with connect(app(), "/undecided"):
            raise AssertionError
    assert str(caught.value) == (
        "waited 3600 s for the answer to the handshake for /undecided, in vain; instead came nothing; "
        "the connection is open, and the app has not answered the handshake"
    )
    assert trio.current_time() == pytest.approx(VIRTUAL_TIMEOUT + GRACE)


async def test_mended_25_half_an_answer_is_no_answer(autojump_clock: MockClock) -> None:
    """How much of it has come is said."""

    async def begin() -> None:
        stream = await listener.accept()
        await stream.send_all(b"HTTP/1.1 101")
        await trio.sleep_forever()

    listener = MemoryListener()
    async with serve(app()) as served, trio.open_nursery() as nursery:
        nursery.start_soon(begin)
        with pytest.raises(
            TimedOut, match=r"^waited 3 s .* for /x, in vain; instead came 12 bytes, which are no whole"
        ):
            async with Serving(served.server, listener).connect("/x", timeout=3):
                raise AssertionError
        nursery.cancel_scope.cancel()


async def test_mended_25_what_comes_at_the_last_moment_is_in_time(autojump_clock: MockClock) -> None:
    """An hour after an hour's wait began is not too late."""
    async with connect(app(), "/") as client:
        await client.send("later")
        assert await client.receive() == "in time"
        assert trio.current_time() == VIRTUAL_TIMEOUT


@pytest.mark.parametrize("of", ["connect", "serving", "receive", "wait_closed"])
async def test_mended_25_a_bound_of_ones_own(of: str, autojump_clock: MockClock) -> None:
    """It is a client's, or one wait's; the connection goes on after it."""
    whole = 5.0 if of in {"connect", "serving"} else None
    one = 5.0 if whole is None else None
    async with (
        serve(app()) as serving,
        connect(app(), "/", timeout=5) if of == "connect" else serving.connect("/", timeout=whole) as client,
    ):
        with pytest.raises(TimedOut) as caught:
            await (client.wait_closed(timeout=one) if of == "wait_closed" else client.receive(timeout=one))
        assert caught.value.timeout == 5
        assert trio.current_time() == pytest.approx(5 + GRACE)
        await client.send("ticks")
        assert await client.receive() == "tick 0"


async def test_mended_25_no_bound_at_all(autojump_clock: MockClock) -> None:
    """Infinity waits for ever."""
    with trio.move_on_after(10 * VIRTUAL_TIMEOUT) as patience:
        async with connect(app(), "/", timeout=math.inf) as client:
            await client.receive()
    assert patience.cancelled_caught


async def test_mended_25_a_cancelled_wait_is_no_failure(autojump_clock: MockClock) -> None:
    """A bound around the wait is its owner's, and so is what a test cancels."""
    async with connect(app(), "/") as client:
        with pytest.raises(trio.TooSlowError) as caught, trio.fail_after(3):
            await client.receive()
        assert not isinstance(caught.value, TimedOut)


async def test_mended_25_real_time_has_a_shorter_bound() -> None:
    """Half a minute, where each second is waited for."""
    async with connect(app(), "/") as client:
        with pytest.raises(TimedOut) as caught:
            await client.receive(timeout=0)
        assert caught.value.timeout == 0
        assert default_timeout() == REAL_TIMEOUT == 30


async def test_a_client_that_has_closed_says_so(autojump_clock: MockClock) -> None:
    """What has ended is no wait in vain."""
    async with connect(app(), "/") as client:
        await client.aclose()
        with pytest.raises(Closed):
            await client.receive()
