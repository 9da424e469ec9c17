"""The faults that a test can order: what the app sees of each, when it does, and what is written down about it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Connection, public
from seawall.testing import Client, Closed, serve
from seawall.testing.network import SYSTEM_BUFFER, MemoryStream, connected
from seawall.wire.transport.lingering import LINGER
from tests.kit.log import Records, recorded

#: What a handler of the apps below sends at once.
MESSAGE = "x" * 1000

Handle = Callable[["Scene", Connection[Anonymous]], Awaitable[None]]


@define(eq=False)
class Scene:
    """One client and its handler, and when things happened to it."""

    handle: Handle
    app: App = field(init=False)
    records: Records = field(init=False)
    seen: list[tuple[str, float]] = field(init=False, factory=list[tuple[str, float]])
    """What the handler saw, and when."""

    def __attrs_post_init__(self) -> None:
        """Make an app with default limits."""
        self.app = App()
        self.app.route("/", guard=public)(self.serve)

    async def serve(self, conn: Connection[Anonymous]) -> None:
        """Handle, and see how that ends."""
        with self.noting():
            await self.handle(self, conn)

    @contextmanager
    def noting(self) -> Generator[None]:
        """Keep how a block ends, and when."""
        end = "went on"
        try:
            yield
        except BaseException as error:
            end = type(error).__name__
            raise
        finally:
            self.seen.append((end, trio.current_time()))

    @asynccontextmanager
    async def play(self) -> AsyncGenerator[Client]:
        """Connect, at 0 s, and see that nothing is left."""
        with recorded() as self.records:
            async with serve(self.app) as served, AsyncExitStack() as stack:
                client = await stack.enter_async_context(served.connect("/"))
                assert trio.current_time() == 0.0
                yield client
        assert all(record.levelno < logging.ERROR for record in self.records.found)

    @property
    def end(self) -> str:
        """What is written down about the connection: why and how it ended, and after how long."""
        (line,) = self.records.lines("connection")
        return line.partition(": ")[2].partition(" s, ")[0]


async def wait(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Do something else."""
    await trio.sleep_forever()


async def echo(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Answer everything, as long as there is something."""
    async for message in conn:
        await conn.send(message)


async def tell(scene: Scene, conn: Connection[Anonymous]) -> None:
    """When asked, send something, and do something else."""
    await conn.receive()
    await conn.send(MESSAGE)
    await trio.sleep_forever()


async def listen(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Receive until that fails."""
    while True:
        await conn.receive()


async def dismiss(scene: Scene, conn: Connection[Anonymous]) -> None:
    """When asked, close, and see how long it takes."""
    await conn.receive()
    await conn.aclose(4000, "bye")
    scene.seen.append(("closed", trio.current_time()))


async def test_a_client_that_stalls_is_a_slow_consumer(autojump_clock: MockClock) -> None:
    """It ends ``send_timeout`` after something began to wait; of why it ends the client cannot read anything."""
    scene = Scene(tell)
    async with scene.play() as client:
        await trio.sleep(3)
        client.stall()
        await client.send("now")  # still arrives
        assert await client.wait_closed() == (1006, "")
        assert trio.current_time() == 13.0
    assert scene.seen == [("Cancelled", 13.0)]
    assert scene.end == "slow consumer, 1008 'slow consumer' after 13.000"


async def test_a_silent_app_finds_a_stalled_client_with_its_ping(autojump_clock: MockClock) -> None:
    """The Ping is what waits."""
    scene = Scene(wait)
    async with scene.play() as client:
        client.stall()
        assert await client.wait_closed() == (1006, "")
    assert scene.seen == [("Cancelled", 30.0)]
    assert scene.end == "slow consumer, 1008 'slow consumer' after 30.000"


async def test_a_client_that_resumes_in_time_has_missed_nothing(autojump_clock: MockClock) -> None:
    """What has waited arrives, in order, and the app's `send` waits no longer."""

    async def pour(scene: Scene, conn: Connection[Anonymous]) -> None:
        await conn.receive()
        for size in (600_000, 600_001, 600_002):  # the buffer holds one of them
            with scene.noting():
                await conn.send("x" * size)

    scene = Scene(pour)
    async with scene.play() as client:
        client.stall()
        await client.send("now")
        await trio.sleep(9)
        client.resume()
        assert [len(await client.receive()) for _ in range(3)] == [600_000, 600_001, 600_002]
        assert await client.wait_closed() == (1000, "")
        assert trio.current_time() == 9.0
    assert scene.seen == [("went on", 0.0), ("went on", 9.0), ("went on", 9.0), ("went on", 9.0)]
    assert scene.end == "handler returned, 1000 '' after 9.000"


async def test_an_app_that_closes_on_a_stalled_client(autojump_clock: MockClock) -> None:
    """Its Close waits like everything else, for ``close_timeout``; that it hung up the client notices at once."""
    scene = Scene(dismiss)
    async with scene.play() as client:
        client.stall()
        await client.send("now")
        assert await client.wait_closed() == (1006, "")
        assert trio.current_time() == 5.0
    assert scene.end == "closed by the handler, 4000 'bye' after 5.000"


async def test_a_reset_cancels_a_busy_handler_after_wind_down(autojump_clock: MockClock) -> None:
    """The connection is over at once, at both ends; the handler has a second."""
    scene = Scene(wait)
    async with scene.play() as client:
        await trio.sleep(3)
        client.reset()
        assert await client.wait_closed() == (1006, "")
        for attempt in (client.receive, partial(client.send, "more")):
            with pytest.raises(Closed):
                await attempt()
        await client.aclose()
        assert trio.current_time() == 3.0
        await trio.sleep(2)
    assert scene.seen == [("Cancelled", 4.0)]
    assert scene.end == "peer vanished, 1006 '' after 4.000"


@pytest.mark.parametrize(("handle", "end"), [(echo, "went on"), (listen, "Disconnected")])
async def test_a_handler_that_receives_sees_a_reset_at_once(
    handle: Handle, end: str, autojump_clock: MockClock
) -> None:
    """Iteration ends, and `receive` raises; the handler has been left before it could be cancelled."""
    scene = Scene(handle)
    async with scene.play() as client:
        await trio.sleep(3)
        client.reset()
    assert scene.seen == [(end, 3.0)]
    assert scene.end == "peer vanished, 1006 '' after 3.000"


async def test_a_reset_behind_a_stall(autojump_clock: MockClock) -> None:
    """What waits for a client that has stalled waits no longer, and a handler that goes on sending is told."""

    async def pour(scene: Scene, conn: Connection[Anonymous]) -> None:
        while True:
            await conn.send("x" * 600_000)

    scene = Scene(pour)
    async with scene.play() as client:
        client.stall()
        await trio.sleep(3)
        client.reset()
        assert await client.wait_closed() == (1006, "")
        await trio.sleep(3)
        assert scene.seen == [("Disconnected", 3.0)]
    assert scene.end == "peer vanished, 1006 '' after 3.000"


async def test_a_reset_of_a_cable_that_is_unplugged(autojump_clock: MockClock) -> None:
    """It reaches both ends, and what was held is lost."""
    scene = Scene(echo)
    async with scene.play() as client:
        with client.unplugged():
            await client.send("lost")
            client.reset()
            assert await client.wait_closed() == (1006, "")
        await wait_all_tasks_blocked()
        assert scene.seen == [("went on", 0.0)]
    assert scene.end == "peer vanished, 1006 '' after 0.000"


async def test_a_half_close_is_the_end(autojump_clock: MockClock) -> None:
    """What the app has sent before is still read; then it hangs up, without a Close, while its handler winds down."""
    scene = Scene(tell)
    async with scene.play() as client:
        await client.send("now")
        await wait_all_tasks_blocked()
        await trio.sleep(3)
        client.half_close()
        with pytest.raises(Closed):
            await client.send("more")
        assert await client.receive() == MESSAGE
        assert await client.wait_closed() == (1006, "")
        assert trio.current_time() == 3.0
        await trio.sleep(2)
    assert scene.seen == [("Cancelled", 4.0)]
    assert scene.end == "peer vanished, 1006 '' after 4.000"


@pytest.mark.parametrize(("handle", "end"), [(echo, "went on"), (listen, "Disconnected")])
async def test_a_handler_that_receives_sees_a_half_close_at_once(
    handle: Handle, end: str, autojump_clock: MockClock
) -> None:
    """As after a reset."""
    scene = Scene(handle)
    async with scene.play() as client:
        client.half_close()
        assert await client.wait_closed() == (1006, "")
    assert scene.seen == [(end, 0.0)]
    assert scene.end == "peer vanished, 1006 '' after 0.000"


async def test_a_short_interruption_loses_nothing(autojump_clock: MockClock) -> None:
    """What either side sent arrives afterwards, in order, also what the answers are to."""
    scene = Scene(echo)
    async with scene.play() as client:
        with client.unplugged():
            for number in range(39):
                await client.send(str(number))
                await trio.sleep(1)
        assert [await client.receive() for _ in range(39)] == [str(number) for number in range(39)]
        assert trio.current_time() == 39.0
        await trio.sleep(100)
        await client.send("still there")
        assert await client.receive() == "still there"
        await client.aclose()
    assert scene.end == "peer closed, 1000 '' after 139.000"


async def test_a_long_interruption_is_keepalive_lost(autojump_clock: MockClock) -> None:
    """The handler is cancelled at 40 s, and nobody reads the Close; who comes back later is told nothing."""
    scene = Scene(wait)
    async with scene.play() as client:
        with client.unplugged():
            await trio.sleep(60)
        assert await client.wait_closed() == (1006, "")
        assert trio.current_time() == 60.0
    assert scene.seen == [("Cancelled", 40.0)]
    assert scene.end == "keepalive lost, 1011 'keepalive lost' after 45.000"


async def test_who_comes_back_while_the_app_hangs_up_reads_why(autojump_clock: MockClock) -> None:
    """The Close is among what arrives."""
    scene = Scene(wait)
    async with scene.play() as client:
        with client.unplugged():
            await trio.sleep(42)
        assert await client.wait_closed() == (1011, "keepalive lost")
    assert scene.end == "keepalive lost, 1011 'keepalive lost' after 42.000"


async def test_much_that_is_sent_into_an_interruption_waits(autojump_clock: MockClock) -> None:
    """A system takes only so much: an app that sends more sees a slow consumer first."""

    async def pour(scene: Scene, conn: Connection[Anonymous]) -> None:
        await conn.receive()
        await conn.send("x" * (2 * SYSTEM_BUFFER))
        await trio.sleep_forever()

    scene = Scene(pour)
    async with scene.play() as client:
        await client.send("now")
        with client.unplugged():
            await trio.sleep(20)
        assert await client.wait_closed() == (1006, "")
    # What the cable has taken counts as progress, which is measured eight times in 10 s.
    assert scene.seen == [("Cancelled", 11.25)]
    assert scene.end == "slow consumer, 1008 'slow consumer' after 11.250"


async def test_a_client_that_closes_into_an_interruption(autojump_clock: MockClock) -> None:
    """It does not wait for ever; its Close arrives when the cable is plugged in again."""
    scene = Scene(wait)
    async with scene.play() as client:
        with client.unplugged():
            await client.aclose(4001, "bye")
            assert trio.current_time() == 5.0
            await trio.sleep(1)
        await trio.sleep(10)
    assert scene.seen == [("Cancelled", 7.0)]
    assert scene.end == "peer closed, 4001 'bye' after 7.000"


async def test_a_client_that_answers_no_ping_is_keepalive_lost(autojump_clock: MockClock) -> None:
    """After 40 s, and the client can read it."""
    scene = Scene(wait)
    async with scene.play() as client:
        client.ignore_pings()
        assert await client.wait_closed() == (1011, "keepalive lost")
        assert trio.current_time() == 40.0
    assert scene.seen == [("Cancelled", 40.0)]
    assert scene.end == "keepalive lost, 1011 'keepalive lost' after 40.000"


async def test_a_client_that_talks_is_alive_without_a_pong(autojump_clock: MockClock) -> None:
    """Whatever it sends counts."""
    scene = Scene(echo)
    async with scene.play() as client:
        client.ignore_pings()
        for _ in range(10):
            await trio.sleep(39)
            await client.send("here")
            assert await client.receive() == "here"
    assert scene.seen == [("went on", 390.0)]
    assert scene.end == "peer closed, 1000 '' after 390.000"


async def test_a_client_that_answers_no_close_costs_close_timeout(autojump_clock: MockClock) -> None:
    """The client has read it at once; the app waits exactly so long for the answer."""
    scene = Scene(dismiss)
    async with scene.play() as client:
        client.ignore_close()
        await client.send("now")
        assert await client.wait_closed() == (4000, "bye")
        assert trio.current_time() == 0.0
        await trio.sleep(10)
    assert scene.seen == [("closed", 5.0), ("went on", 5.0)]
    assert scene.end == "closed by the handler, 4000 'bye' after 5.000"


async def test_a_client_that_answers_a_close_costs_less(autojump_clock: MockClock) -> None:
    """Without the fault the app waits only until the client hangs up, and that is not long."""
    scene = Scene(dismiss)
    async with scene.play() as client:
        await client.send("now")
        assert await client.wait_closed() == (4000, "bye")
        await trio.sleep(10)
    assert scene.seen == [("closed", LINGER), ("went on", LINGER)]


async def test_a_client_that_answers_no_close_may_send_its_own(autojump_clock: MockClock) -> None:
    """The fault is about answers only."""
    scene = Scene(echo)
    async with scene.play() as client:
        client.ignore_close()
        await client.aclose(4001, "bye")
    assert scene.end == "peer closed, 4001 'bye' after 0.000"


async def test_a_stream_has_the_same_verbs() -> None:
    """A test that speaks for itself can order faults as well."""
    with recorded() as records:
        async with serve(App()) as served:
            stream = served.open_stream()
            await stream.send_all(b"GET / HTTP/1.1\r\n")
            await wait_all_tasks_blocked()
            stream.half_close()
            assert await stream.receive_some() == b""
    assert records.ends == ["peer vanished, 1006 'before its request'"]


Ends = tuple[MemoryStream, MemoryStream]


@pytest.fixture
def ends() -> Ends:
    """The two ends of a connection."""
    return connected()


async def test_data_and_ends_travel(ends: Ends) -> None:
    """Without a fault it is a connection like any other."""
    near, far = ends
    await near.wait_send_all_might_not_block()
    await near.send_all(b"there")
    await far.send_all(memoryview(b"back"))
    assert await far.receive_some(3) == b"the"
    assert await far.receive_some() == b"re"
    assert await near.receive_some() == b"back"
    await near.send_eof()
    assert await far.receive_some() == b""
    await far.send_all(b"on")
    assert await near.receive_some() == b"on"
    await near.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await far.send_all(b"and on")
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"")


async def test_a_reset_breaks_both_ends(ends: Ends) -> None:
    """Who reads, and whoever sends afterwards, is told that the connection is broken; nobody reads an end-of-file."""
    near, far = ends
    await near.send_all(b"lost")

    async def read(end: MemoryStream) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await end.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, near)
        await wait_all_tasks_blocked()
        far.reset()
    await read(far)
    for end in ends:
        with pytest.raises(trio.BrokenResourceError):
            await end.send_all(b"more")
        await end.aclose()


@pytest.mark.parametrize("fault", ["stalled", "unplugged"])
@pytest.mark.parametrize("closer", [0, 1])
async def test_nobody_waits_for_who_has_closed(closer: int, fault: str, ends: Ends) -> None:
    """A write that waits ends when either end is closed."""
    near, far = ends
    outcome = "went on"

    async def write() -> None:
        nonlocal outcome
        try:
            await near.send_all(b"x")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            outcome = type(error).__name__

    async with AsyncExitStack() as stack:
        if fault == "stalled":
            far.stall()
        else:
            stack.enter_context(far.unplugged())
            await near.send_all(bytes(SYSTEM_BUFFER))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            await ends[closer].aclose()
    # That the other end has gone is not known while the cable is unplugged.
    assert outcome == (
        "ClosedResourceError" if closer == 0 else "BrokenResourceError" if fault == "stalled" else "went on"
    )


async def test_an_interruption_inside_an_interruption(ends: Ends, autojump_clock: MockClock) -> None:
    """Nothing travels before the last one is over; then the end arrives behind the data."""
    near, far = ends
    with near.unplugged():
        with far.unplugged():
            await near.send_all(b"late")
            await near.aclose()
        with trio.move_on_after(60) as patience:
            await far.receive_some()
        assert patience.cancelled_caught
    assert await far.receive_some() == b"late"
    assert await far.receive_some() == b""


async def test_an_interruption_that_somebody_does_not_survive(ends: Ends) -> None:
    """What was sent to an end that has closed is lost, and who sends on finds out."""
    near, far = ends
    with near.unplugged():
        await near.send_all(b"lost")
        await far.aclose()
    assert await near.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await near.send_all(b"more")


async def test_a_write_that_waits_and_is_cancelled_has_sent_nothing(ends: Ends, autojump_clock: MockClock) -> None:
    """A stall keeps all or nothing of a write."""
    near, far = ends
    far.stall()
    with trio.move_on_after(60):
        await near.send_all(b"never")
    far.resume()
    await near.send_all(b"now")
    assert await far.receive_some() == b"now"
