"""`Authority`: trio-websocket under control, also when it is too late, or when its reader crashes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.handshake import Handshake
from seawall.limits import Limits
from seawall.wire.authority import Authority
from seawall.wire.head import canonical
from seawall.wire.lane import Lane
from tests.memory import PING, PONG, Peer, Wire, close, frame, frames

ASKED = Handshake(path="/", host="seawall.test", key="dGhlIHNhbXBsZSBub25jZQ==", headers=(), peer="memory")


class Odd(Exception):
    """Something that no stream should raise."""


class Bench:
    """A lane with trio-websocket on it, and what its reader raised."""

    def __init__(self, wire: Wire) -> None:
        """Make the lane."""
        self.wire = wire
        self.peer = Peer(wire.far)
        self.lane = Lane(wire, early=b"", limits=Limits(outbound_buffer=1000), on_end=lambda end: None)
        self.lane.present(canonical(ASKED, None))
        self.authority = Authority(self.lane)
        self.crashes: list[BaseException] = []

    async def read(self, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 - `run` calls started()
        """Run the reader."""
        try:
            await self.authority.run(task_status=task_status)
        except ExceptionGroup as group:
            self.crashes += group.exceptions


@asynccontextmanager
async def reading() -> AsyncGenerator[Bench]:
    """A lane that is written and read, with an upgrade that nobody has accepted yet."""
    bench = Bench(Wire())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.lane.run_writer)
        await nursery.start(bench.read)
        yield bench
        nursery.cancel_scope.cancel()


async def test_the_whole_conversation(autojump_clock: MockClock) -> None:
    """The upgrade, a ping, and our Close, which is answered: after that the reader has left by itself."""
    async with reading() as bench:
        await bench.authority.accept(None)
        await bench.peer.head()
        await bench.peer.say(frame(PING, b"!"))
        assert await bench.peer.frame() == (PONG, b"!")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.authority.hang_up, 4000, "bye")
            assert await bench.peer.closing() == (4000, "bye")
            await bench.peer.say(close(4000))
        assert bench.lane.reader_left.is_set()
        assert not bench.crashes


async def test_an_upgrade_that_comes_too_late(autojump_clock: MockClock) -> None:
    """A lane that has been given up cannot be upgraded."""
    async with reading() as bench:
        bench.lane.abort()
        with pytest.raises(trio.BrokenResourceError):
            await bench.authority.accept(None)
        with pytest.raises(trio.BrokenResourceError):
            await bench.authority.hang_up(1000, "")


async def test_an_upgrade_cannot_be_cancelled(autojump_clock: MockClock) -> None:
    """There is no half an upgrade: a cancelled one is done."""
    async with reading() as bench:
        with trio.CancelScope() as scope:
            scope.cancel()
            await bench.authority.accept(None)
        assert bench.lane.opened
        assert (await bench.peer.head()).startswith("HTTP/1.1 101 ")


@pytest.mark.parametrize("steps", range(6))
async def test_a_close_while_the_upgrade_is_accepted(steps: int, autojump_clock: MockClock) -> None:
    """A Close that is due while the 101 is on its way follows it, and is the only one, whatever the peer answers."""
    async with reading() as bench, trio.open_nursery() as nursery:
        nursery.start_soon(bench.authority.accept, None)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        if bench.lane.opened:  # before that there is no Close: the session gives such a lane up
            bench.lane.begin_closing()
            nursery.start_soon(bench.authority.hang_up, 1001, "going away")
            await bench.peer.head()
            assert await bench.peer.closing() == (1001, "going away")
            await bench.peer.say(close(1001))
            with trio.fail_after(1):
                await bench.lane.reader_left.wait()
            await bench.lane.flush()
            assert len(frames(bench.wire.written.partition(b"\r\n\r\n")[2])) == 1


async def test_a_reader_that_crashes(autojump_clock: MockClock) -> None:
    """What the reader raises comes out of `run`; the Close then goes out alone."""
    async with reading() as bench:
        await bench.authority.accept(None)
        await bench.peer.head()
        bench.wire.receive_error = Odd()
        await bench.peer.say(b"!")
        await bench.lane.reader_left.wait()
        assert [type(crash) for crash in bench.crashes] == [Odd]
        with trio.fail_after(1):
            await bench.authority.hang_up(1011, "internal error")
        assert await bench.peer.closing() == (1011, "internal error")


async def test_a_reader_that_crashes_before_our_close_is_out(autojump_clock: MockClock) -> None:
    """A Close that waits behind the reader for trio-websocket's lock is not lost when the reader crashes."""
    async with reading() as bench:
        await bench.authority.accept(None)
        await bench.peer.head()
        bench.wire.stall()
        await bench.lane.send("x" * 2000)
        await bench.peer.say(frame(PING))
        await wait_all_tasks_blocked()  # the pong waits for room, and holds the lock
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.authority.hang_up, 1000, "")
            await wait_all_tasks_blocked()
            bench.wire.receive_error = Odd()
            await bench.peer.say(b"!")
            bench.wire.flow()
            assert await bench.peer.closing() == (1000, "")
        assert [type(crash) for crash in bench.crashes] == [Odd]
        assert [found.opcode for found in frames(bench.wire.written.partition(b"\r\n\r\n")[2])] == [1, PONG, 8]
