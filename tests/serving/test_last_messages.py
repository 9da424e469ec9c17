"""What a peer has sent before it ends the connection is delivered while ``drain_timeout`` lasts, and counted if not."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Literal, TypeAlias, final

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from seawall import Anonymous, App, Cause, Connection, Disconnected, Gate, Guard, Limits, Outcome, guard, public
from seawall.clock import unix_time
from seawall.testing import Rejected, serve
from seawall.testing.network import MemoryStream
from tests.kit.log import Records, recorded
from tests.kit.memory import Peer, close, text
from tests.kit.sockets import EVERYWHERE, Transport, serving, until
from tests.kit.wire import TEXT, close_frame, frame

Handler: TypeAlias = Callable[[Connection[Anonymous]], Awaitable[None]]

#: How a peer ends a connection.
Farewell: TypeAlias = Literal["close", "end", "reset"]

#: What it has come to then.
CODES = {"close": (Cause.PEER_CLOSED, 4000), "end": (Cause.PEER_VANISHED, 1006), "reset": (Cause.PEER_VANISHED, 1006)}


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged during the test."""
    with recorded() as found:
        yield found


@final
@define
class Story:
    """What became of one connection."""

    taken: list[tuple[float, str]] = field(factory=list[tuple[float, str]])
    """When each message was received."""
    outcomes: list[Outcome] = field(factory=list[Outcome])
    over: list[float] = field(factory=list[float])
    """When the handler ended."""

    def handler(self, work: float) -> Handler:
        """A handler that takes `work` seconds for each message."""

        async def handle(conn: Connection[Anonymous]) -> None:
            try:
                async for message in conn:
                    self.taken.append((trio.current_time(), str(message)))
                    await trio.sleep(work)
            finally:
                self.over.append(trio.current_time())

        return handle

    def app(self, handler: Handler, limits: Limits | None = None, door: Guard[Anonymous, Anonymous] = public) -> App:
        """An app with one route."""
        app = App(limits=limits, on_end=self.outcomes.append)
        app.route("/", guard=door)(handler)
        return app

    @property
    def end(self) -> tuple[Cause, int, int]:
        """Cause and code of the only connection, and how many messages were dropped."""
        (outcome,) = self.outcomes
        return outcome.cause, outcome.code, outcome.messages_dropped


async def leave(peer: Peer, how: Farewell, count: int = 20) -> None:
    """Send so many messages and end the connection."""
    await peer.say(*[text(str(number)) for number in range(count)], close(4000) if how == "close" else b"")
    await trio.testing.wait_all_tasks_blocked()
    if how == "reset":
        assert isinstance(peer.stream, MemoryStream)
        peer.stream.reset()
    elif how == "end":
        await peer.stream.aclose()
    else:
        assert await peer.closing() == (4000, "")
        await peer.stream.aclose()


def levels(records: Records) -> list[int]:
    """How grave each line about a connection was."""
    return [record.levelno for record in records.found if record.name == "seawall.connection"]


@pytest.mark.parametrize("how", ["close", "end"])
async def test_mended_12_all_that_was_sent_before_the_end(
    how: Farewell, autojump_clock: MockClock, records: Records
) -> None:
    """A handler that needs longer than ``wind_down`` for each message gets them all within ``drain_timeout``."""
    story = Story()
    async with serve(story.app(story.handler(1.5), Limits(drain_timeout=60))) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await leave(peer, how)
        await trio.sleep(100)
    assert story.taken == [(1.5 * number, str(number)) for number in range(20)]
    assert story.over == [19 * 1.5 + Limits().wind_down]
    assert story.end == (*CODES[how], 0)
    assert levels(records) == [logging.INFO]


@pytest.mark.parametrize("how", ["close", "end"])
async def test_mended_12_what_is_not_delivered_is_counted_and_said(
    how: Farewell, autojump_clock: MockClock, records: Records
) -> None:
    """After ``drain_timeout`` the rest is thrown away: a number in the outcome, and a WARNING that names it."""
    story = Story()
    async with serve(story.app(story.handler(1.5))) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await leave(peer, how)
        await trio.sleep(100)
    assert [when for when, _ in story.taken] == [0, 1.5, 3, 4.5, 6, 7.5, 9]
    assert story.over == [Limits().drain_timeout]
    assert story.end == (*CODES[how], 13)
    assert story.outcomes[0].messages_in == 20
    (record,) = [record for record in records.found if record.name == "seawall.connection"]
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith("20 in, 0 out (13 of them never received)")


async def test_mended_12_a_handler_that_only_sends_is_told_how_to_say_so(
    autojump_clock: MockClock, records: Records
) -> None:
    """What its peer has said counts as lost, unless it says that it never receives; the line names the call."""

    async def feed(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    async def deaf(conn: Connection[Anonymous]) -> None:
        conn.discard_input()
        await trio.sleep_forever()

    app = App()
    app.route("/feed", guard=public)(feed)
    app.route("/deaf", guard=public)(deaf)
    async with serve(app) as served:
        for path in ("/feed", "/deaf"):
            async with served.connect(path) as client:
                await trio.sleep(1)
                await client.send("hello")
    feeds, deafs = [record for record in records.found if record.name == "seawall.connection"]
    assert (feeds.levelno, deafs.levelno) == (logging.WARNING, logging.INFO)
    assert feeds.getMessage().endswith(
        "1 of them never received; a handler that only sends says so: conn.discard_input())"
    )


async def test_mended_12_a_reset_prolongs_nothing(autojump_clock: MockClock, records: Records) -> None:
    """After a reset there is ``wind_down`` for everything; what is thrown away is counted all the same."""
    story = Story()
    async with serve(story.app(story.handler(0.4))) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await leave(peer, "reset")
        await trio.sleep(100)
    assert [when for when, _ in story.taken] == [0, 0.4, 0.8]
    assert story.over == [Limits().wind_down]
    assert story.end == (*CODES["reset"], 17)
    assert levels(records) == [logging.WARNING]


@pytest.mark.parametrize("how", ["close", "end"])
async def test_mended_12_a_handler_that_never_receives(
    how: Farewell, autojump_clock: MockClock, records: Records
) -> None:
    """It is busy elsewhere, and has ``wind_down``, also if a guard has received something; nothing is silent."""
    story = Story()

    @guard
    async def asking(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.accept()
        assert await gate.receive_text() == "0"
        return proved

    async def busy(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            story.over.append(trio.current_time())

    async with serve(story.app(busy, door=public >> asking)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await leave(peer, how)
        await trio.sleep(100)
    assert story.over == [Limits().wind_down]
    assert story.end == (*CODES[how], 19)
    assert levels(records) == [logging.WARNING]


@pytest.mark.parametrize("how", ["close", "end"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_mended_12_input_that_is_discarded(
    how: Farewell, when: str, autojump_clock: MockClock, records: Records
) -> None:
    """`discard_input`, before or after the end, means that nothing is missed: ``wind_down``, and no number."""
    story = Story()

    async def feed(conn: Connection[Anonymous]) -> None:
        try:
            await conn.receive()
            if when == "before":
                conn.discard_input()
            await trio.sleep(0.5)
            conn.discard_input()
            await trio.sleep_forever()
        finally:
            story.over.append(trio.current_time())

    async with serve(story.app(feed)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await leave(peer, how)
        await trio.sleep(100)
    assert story.over == [Limits().wind_down + (0 if when == "before" else 0.5)]
    assert story.end == (*CODES[how], 0)
    assert levels(records) == [logging.INFO]


async def test_mended_12_a_handler_that_begins_to_receive_late(autojump_clock: MockClock) -> None:
    """If it receives within ``wind_down``, it gets the rest too, ``drain_timeout`` from the Close in all."""
    story = Story()

    async def late(conn: Connection[Anonymous]) -> None:
        await trio.sleep(0.75)
        await story.handler(2)(conn)

    async with serve(story.app(late)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await leave(peer, "close")
        await trio.sleep(100)
    assert [when for when, _ in story.taken] == [0.75, 2.75, 4.75, 6.75, 8.75]
    assert story.over == [Limits().drain_timeout]


async def test_mended_12_a_handler_that_leaves_the_rest(autojump_clock: MockClock, records: Records) -> None:
    """A handler that returns, or that a failing `send` ends, has not received the rest; that is said too."""
    for sends in (True, False):
        story = Story()

        async def once(conn: Connection[Anonymous], *, sends: bool = sends) -> None:
            await conn.receive()
            await trio.sleep(0.1)
            if sends:
                await conn.send("thanks")

        async with serve(story.app(once)) as served:
            peer = Peer(served.open_stream())
            await peer.open()
            await leave(peer, "close")
            await trio.sleep(100)
        assert story.end == (*CODES["close"], 19)
    assert levels(records) == [logging.WARNING] * 2


async def test_mended_12_who_ends_the_connection_itself(autojump_clock: MockClock, records: Records) -> None:
    """A handler that returns before the peer has ended throws away what it knew of: a number, and no WARNING."""
    story = Story()

    async def once(conn: Connection[Anonymous]) -> None:
        await conn.receive()

    async with serve(story.app(once)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await peer.say(*[text("x")] * 20)
        assert await peer.closing() == (1000, "")
        await peer.say(text("late"), close())
        await peer.rest()
    assert story.end == (Cause.RETURNED, 1000, 20)
    assert levels(records) == [logging.INFO]


async def test_mended_12_a_guard_that_talks(autojump_clock: MockClock) -> None:
    """A client that says everything at once and ends its side is let in, and heard, as one that sends a Close is."""
    for how in ("close", "end"):
        story = Story()

        @guard
        async def asking(gate: Gate, proved: Anonymous) -> Anonymous:
            await gate.accept()
            assert await gate.receive_text() == "token"
            await trio.sleep(0.5)
            return proved

        async with serve(story.app(story.handler(1.5), door=public >> asking)) as served:
            peer = Peer(served.open_stream())
            await peer.open()
            await peer.say(*[text(one) for one in ("token", "a", "b", "c")], close(4000) if how == "close" else b"")
            await peer.stream.aclose()
            await trio.sleep(100)
        assert [said for _, said in story.taken] == ["a", "b", "c"], how
        assert story.end == (*CODES[how], 0)


async def test_mended_12_a_place_that_is_held_by_a_cleanup(autojump_clock: MockClock) -> None:
    """After the last message all is as ever: cancelled ``wind_down`` later, and another one later the place is free."""
    story = Story()

    async def stubborn(conn: Connection[Anonymous]) -> None:
        async for _ in conn:
            pass
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    async with serve(story.app(stubborn, Limits(max_connections=1))) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await leave(peer, "close")
        await trio.sleep(1.9)
        with pytest.raises(Rejected):
            async with served.connect("/"):
                pass
        await trio.sleep(0.2)
        async with served.connect("/") as client:
            await client.aclose()


async def test_mended_12_a_lease_still_ends_it(autojump_clock: MockClock) -> None:
    """Nobody's messages are taken when what lets them in is over."""
    story = Story()

    @guard
    async def shortly(gate: Gate, proved: Anonymous) -> Anonymous:
        gate.lease(expires_at=unix_time() + 4)
        return proved

    async with serve(story.app(story.handler(1.5), door=public >> shortly)) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await leave(peer, "close")
        await trio.sleep(100)
    assert len(story.taken) == 3
    assert 3.9 < story.over[0] < 4.1


@pytest.mark.slow
@pytest.mark.parametrize("over", EVERYWHERE)
@pytest.mark.parametrize("how", ["close", "end", "end of both"])
@pytest.mark.parametrize("size", [10, 100_000])
async def test_mended_12_over_sockets(size: int, how: str, over: Transport) -> None:
    """All messages arrive however many the kernel holds when the peer has gone: few small ones, and ten large ones."""
    story, count = Story(), 12
    limits = Limits(wind_down=0.03, max_message_size=size, inbound_buffer=2 * size)
    received: list[int] = []

    async def work(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            received.append(len(message))
            await trio.sleep(0.1)

    async with serving(story.app(work, limits), over) as place:
        client = await place.open("/")
        await client.send(frame(TEXT, b"x" * size) * count + (close_frame(4000) if how == "close" else b""))
        match how:
            case "close":
                assert (await client.dismissal(within=10)).code == 4000
            case "end":
                client.finish()
            case _:
                client.close()
        await until(lambda: bool(story.outcomes))
    assert received == [size] * count
    assert story.end == (*CODES["close" if how == "close" else "end"], 0)


async def test_mended_12_a_handler_that_does_not_come_to_the_end(autojump_clock: MockClock) -> None:
    """`Disconnected` is raised where the messages end, and not before."""
    story = Story()
    heard: list[object] = []

    async def hear(conn: Connection[Anonymous]) -> None:
        try:
            while True:
                heard.append(await conn.receive())
                await trio.sleep(1.2)
        except Disconnected:
            heard.append("gone")

    async with serve(story.app(hear, Limits(wind_down=1.3))) as served:
        peer = Peer(served.open_stream())
        await peer.open()
        await leave(peer, "end", 3)
        await trio.sleep(100)
    assert heard == ["0", "1", "2", "gone"]


@pytest.mark.slow
@pytest.mark.parametrize("over", ["plain", "tls"])
@pytest.mark.parametrize("receives", [True, False])
async def test_mended_12_who_does_not_come_to_the_end(receives: bool, over: Transport) -> None:
    """A handler that is far behind when its peer has finished has ``drain_timeout`` if it receives, else little."""
    story, size = Story(), 8_000
    limits = Limits(wind_down=0.1, close_timeout=0.5, drain_timeout=1, max_message_size=size, inbound_buffer=2 * size)

    async def stuck(conn: Connection[Anonymous]) -> None:
        if receives:
            await conn.receive()
        await trio.sleep_forever()

    async with serving(story.app(stuck, limits), over) as place:
        client = await place.open("/")
        await client.send(frame(TEXT, b"x" * size) * 3)  # the end is only seen if all before it fits into the kernel
        started = trio.current_time()
        client.finish()
        await until(lambda: bool(story.outcomes))
        assert trio.current_time() - started >= (0.9 if receives else 0.1)
    assert story.outcomes[0].cause is Cause.PEER_VANISHED
    assert story.outcomes[0].messages_dropped > 0
