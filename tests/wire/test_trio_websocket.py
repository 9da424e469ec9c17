"""`TrioWebSocketAdapter`: trio-websocket under control, also when it is too late, or when its reader crashes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from attrs import define, evolve, field
from trio.testing import MockClock, wait_all_tasks_blocked
from trio_websocket import WebSocketConnection

from seawall.http.upgrade import canonical_head
from seawall.limits import Limits
from seawall.wire.events import PeerClosed, PeerVanished
from seawall.wire.trio_websocket import TrioWebSocketAdapter
from tests.kit.channels import ASKED, Bench, bench
from tests.kit.memory import close
from tests.kit.wire import CLOSE, PING, PONG, TEXT, frame


@pytest.fixture(params=["polled", "streamed"])
def over(request: pytest.FixtureRequest) -> str:
    """Both kinds of transport."""
    return cast("str", request.param)


class Odd(Exception):
    """Something that no stream should raise."""


@define(eq=False)
class Subject:
    """A channel with trio-websocket on it, and what became of its reader."""

    bench: Bench
    authority: TrioWebSocketAdapter
    left: list[BaseException | None] = field(factory=list[BaseException | None])
    """What the reader raised, if anything."""

    async def on_reader_exited(self, crash: BaseException | None) -> None:
        """Remember, and let nothing out but what belongs to a cancel scope."""
        self.left.append(crash)
        if isinstance(crash, trio.Cancelled):
            raise crash


async def crash(connection: object, event: object) -> None:
    """Be what trio-websocket does with an event, and fail."""
    raise Odd


@asynccontextmanager
async def reading(over: str, *, extensions: str = "") -> AsyncGenerator[Subject]:
    """A channel that is read, with an upgrade that nobody has accepted yet."""
    async with bench(over, Limits(outbound_buffer=1000)) as made:
        made.present(canonical_head(ASKED, None))
        subject = Subject(made, TrioWebSocketAdapter(made.control_stream, extensions=extensions))
        await subject.authority.start(made.nursery, subject)
        yield subject


async def test_the_whole_conversation(over: str, autojump_clock: MockClock) -> None:
    """The upgrade, a ping, and our Close, which is answered: after that the reader has left by itself."""
    async with reading(over) as subject:
        made = subject.bench
        await subject.authority.accept(None)
        assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in await made.peer.head()  # RFC 6455, section 1.3
        await made.peer.say(frame(PING, b"!"))
        assert await made.peer.frame() == (PONG, b"!")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.authority.hang_up, 4000, "bye")
            assert await made.peer.closing() == (4000, "bye")
            await made.peer.say(close(4000))
        await made.control_stream.wait_reader_exited()
        await wait_all_tasks_blocked()
        assert subject.left == [None]
        assert await made.heard() == []
        assert made.ends == [PeerClosed(4000, "")]


async def test_what_goes_into_the_answer(over: str, autojump_clock: MockClock) -> None:
    """The subprotocol and the extensions that were agreed on, and none where there are none."""
    async with reading(over) as subject:
        await subject.authority.accept(None)
        head = await subject.bench.peer.head()
        assert "Extensions" not in head
        assert "Protocol:" not in head

    async with bench(over) as made:
        made.present(canonical_head(evolve(ASKED, subprotocols=("chat",)), "chat"))
        authority = TrioWebSocketAdapter(made.control_stream, extensions="permessage-deflate")
        await authority.start(made.nursery, Subject(made, authority))
        await authority.accept("chat")
        head = (await made.peer.head()).lower()
        assert "sec-websocket-protocol: chat" in head.splitlines()
        assert "sec-websocket-extensions: permessage-deflate" in head.splitlines()


async def test_the_peer_goes_while_an_upgrade_waits(over: str, autojump_clock: MockClock) -> None:
    """The reader watches from the start: it leaves, says so, and cancels nothing."""
    async with reading(over) as subject:
        await subject.bench.peer.stream.aclose()
        with trio.fail_after(1):
            await subject.bench.control_stream.wait_reader_exited()
        await wait_all_tasks_blocked()
        assert subject.left == [None]
        assert subject.bench.ends == [PeerVanished()]
        assert not subject.bench.nursery.cancel_scope.cancel_called


async def test_an_upgrade_that_comes_too_late(over: str, autojump_clock: MockClock) -> None:
    """A channel that has been given up cannot be upgraded."""
    async with reading(over) as subject:
        subject.bench.channel.abort()
        with pytest.raises(trio.BrokenResourceError):
            await subject.authority.accept(None)
        with pytest.raises(trio.BrokenResourceError):
            await subject.authority.hang_up(1000, "")
        assert not subject.bench.channel.accepted


@pytest.mark.parametrize("steps", range(4))
async def test_an_upgrade_that_is_cancelled(steps: int, over: str, autojump_clock: MockClock) -> None:
    """There is no half an upgrade: one that is cancelled has not begun, and may be asked for again, or is done."""
    async with reading(over) as subject:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.authority.accept, None)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        if not subject.bench.channel.accepted:
            await subject.authority.accept(None)
        assert (await subject.bench.peer.head()).startswith("HTTP/1.1 101 ")
        assert await subject.bench.heard() == []


#: How many tasks accept at the same time.
SEVERAL = pytest.mark.parametrize("tasks", [2, 3])


@SEVERAL
async def test_several_want_the_upgrade(tasks: int, over: str, autojump_clock: MockClock) -> None:
    """Tasks that accept at the same time get one upgrade, and each goes on when it is there."""
    async with reading(over) as subject:
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(subject.authority.accept, None)
        assert subject.bench.channel.accepted
        assert (await subject.bench.peer.head()).startswith("HTTP/1.1 101 ")
        assert await subject.bench.heard() == []


@SEVERAL
async def test_several_want_an_upgrade_that_fails(tasks: int, over: str, autojump_clock: MockClock) -> None:
    """Each of them is told."""
    async with reading(over) as subject:
        subject.bench.channel.abort()
        failed: list[str] = []

        async def accept() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await subject.authority.accept(None)
            failed.append("once")

        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(accept)
        assert failed == ["once"] * tasks


@pytest.mark.parametrize("steps", range(6))
async def test_a_close_while_the_upgrade_is_accepted(steps: int, over: str, autojump_clock: MockClock) -> None:
    """A Close that is due while the 101 is on its way follows it, and is the only one, whatever the peer answers."""
    async with reading(over) as subject, trio.open_nursery() as nursery:
        made = subject.bench
        nursery.start_soon(subject.authority.accept, None)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        if made.channel.accepted:  # before that there is no Close: the owner gives such a channel up
            made.channel.begin_closing()
            nursery.start_soon(subject.authority.hang_up, 1001, "going away")
            await made.peer.head()
            assert await made.peer.closing() == (1001, "going away")
            await made.peer.say(close(1001))
            with trio.fail_after(1):
                await made.control_stream.wait_reader_exited()
            await made.channel.send_buffer.wait_empty()
            assert await made.heard() == []


async def test_a_close_of_the_peers(over: str, autojump_clock: MockClock) -> None:
    """trio-websocket answers it, and the reader leaves; a Close of ours does not follow any more."""
    async with reading(over) as subject:
        made = subject.bench
        await subject.authority.accept(None)
        await made.peer.head()
        await made.peer.say(close(4000, "bye"))
        with trio.fail_after(1):
            await made.control_stream.wait_reader_exited()
            await subject.authority.hang_up(1000, "")
        assert [found.closing for found in await made.heard()] == [(4000, "bye")]
        assert subject.left == [None]


async def test_a_reader_that_crashes(over: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the reader raises is told, and cancels nothing; the Close then goes out alone."""
    monkeypatch.setattr(WebSocketConnection, "_handle_ping_event", crash)
    async with reading(over) as subject:
        made = subject.bench
        await subject.authority.accept(None)
        await made.peer.head()
        await made.peer.say(frame(PING))
        with trio.fail_after(1):
            await made.control_stream.wait_reader_exited()
        await wait_all_tasks_blocked()
        assert [type(crash) for crash in subject.left] == [Odd]
        assert not made.nursery.cancel_scope.cancel_called
        with trio.fail_after(1):
            await subject.authority.hang_up(1011, "internal error")
        assert await made.peer.closing() == (1011, "internal error")


async def test_a_reader_that_crashes_before_our_close_is_out(
    over: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Close that waits behind the reader for trio-websocket's lock is not lost when the reader crashes."""
    monkeypatch.setattr(WebSocketConnection, "_handle_close_connection_event", crash)
    async with reading(over) as subject:
        made = subject.bench
        await subject.authority.accept(None)
        await made.peer.head()
        await made.block()
        await made.peer.say(frame(PING), close())
        await wait_all_tasks_blocked()  # the pong waits for room, and holds the lock
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.authority.hang_up, 1000, "")
            await wait_all_tasks_blocked()
            made.wire.flow()
            found = [await made.peer.frame() for _ in range(3)]
        assert [type(crash) for crash in subject.left] == [Odd]
        assert [one.opcode for one in found if one is not None] == [TEXT, PONG, CLOSE]
        assert await made.heard() == []


async def test_a_reader_that_crashes_while_we_wait_for_the_peers_close(
    over: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There will be no answer then, and nobody waits for it."""
    monkeypatch.setattr(WebSocketConnection, "_handle_close_connection_event", crash)
    async with reading(over) as subject:
        made = subject.bench
        await subject.authority.accept(None)
        await made.peer.head()
        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(subject.authority.hang_up, 1000, "")
                assert await made.peer.closing() == (1000, "")
                await made.peer.say(close())
        assert [type(crash) for crash in subject.left] == [Odd]
        assert await made.heard() == []


async def test_cancelling_the_tasks_cancels_the_reader(over: str, autojump_clock: MockClock) -> None:
    """What belongs to a cancel scope comes to the owner too, who lets it out again."""
    async with bench(over) as made:
        made.present(canonical_head(ASKED, None))
        subject = Subject(made, TrioWebSocketAdapter(made.control_stream))
        async with trio.open_nursery() as tasks:
            await subject.authority.start(tasks, subject)
            tasks.cancel_scope.cancel()
        assert [type(crash) for crash in subject.left] == [trio.Cancelled]
        assert tasks.cancel_scope.cancelled_caught
