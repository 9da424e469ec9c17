"""`StreamLink`: the link of everything that is not a plain socket: TLS, memory, a system without epoll.

One task reads the stream and one writes it. Neither is cancelled before `linger` or `close`, when there is nothing more
to say: TLS, for one, is broken by a write that is cancelled half-way, and when it reads it may have to write. What has
been read and is left for later has a task of its own while there is such a thing: both may be busy with the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import trio

from seawall.wire.bell import Bell
from seawall.wire.closing import linger
from seawall.wire.lane import Lane
from seawall.wire.link import PACE, Demand
from seawall.wire.poller import Watch

#: Bytes handed to the stream at once.
WRITE_SIZE: Final = 64 * 1024

#: What a lane wants while it is behind with what has been read.
_BEHIND: Final = frozenset({Demand.DECODE, Demand.LATER})

#: Seconds of waiting after which it is sure that the stream had nothing more to give.
EMPTY: Final = 0.02


@final
class StreamLink:
    """Reads and writes inside `run`."""

    def __init__(
        self, stream: trio.abc.Stream, lane: Lane, watch: Callable[[Callable[[], None]], Watch] | None
    ) -> None:
        """Prepare. `watch` begins to watch the socket under `stream`, if there is one and a poller for it."""
        self._stream = stream
        self._lane = lane
        self._begin_watch = watch
        self._watch: Watch | None = None
        self._demand = Demand.READ
        self._changed = Bell()
        self._turned = Bell()
        self._more = Bell()
        self._working = trio.CancelScope()
        self._stopped = trio.Event()
        self._catching_up = False

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read and write until `linger` or `close`, or until the stream has ended and failed."""
        try:
            with self._working:
                async with trio.open_nursery(strict_exception_groups=True) as self._tasks:
                    self._tasks.start_soon(self._read_on)
                    await self._write_on()
        finally:
            self._stopped.set()
            self._end_watching()
            del self._lane, self._tasks  # circles would be left to the garbage collector

    def write(self, data: bytes) -> int:
        """Take nothing, but let the writer begin."""
        self._more.ring()
        return 0

    def update(self) -> None:
        """See to it that what the lane wants now is done."""
        if self._stopped.is_set():
            return
        demand = self._lane.demand
        if demand is not self._demand:
            self._demand = demand
            self._changed.ring()
            self._turned.ring()
        if self._is_behind() and not self._catching_up:
            self._catching_up = True
            self._tasks.start_soon(self._catch_up)

    async def linger(self) -> None:
        """Half-close the stream, and discard what still comes."""
        self._working.cancel()
        await self.wait_released()
        await linger(self._stream)

    async def wait_released(self) -> None:
        """Wait until nothing is read and nothing written any more."""
        await self._stopped.wait()

    def close(self) -> None:
        """Neither read nor write, and let the poller forget the socket, which is closed next."""
        self._working.cancel()
        self._end_watching()

    @trio.lowlevel.enable_ki_protection
    async def _read_on(self) -> None:
        try:
            while not self._lane.eof:
                await self._read_once()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
            self._lane.fail(fault)

    async def _read_once(self) -> None:
        demand = self._lane.demand
        if demand is Demand.WATCH:
            self._begin_watching()
        if demand is not Demand.READ:
            await self._changed.wait()
            self._end_watching()
            return
        asked_at = trio.current_time()
        try:
            data = await self._stream.receive_some(self._lane.read_size)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        now = trio.current_time()
        if now - asked_at >= EMPTY:
            self._lane.looking = False  # there was nothing; this is new
        self._lane.feed(data, now)
        self.update()

    @trio.lowlevel.enable_ki_protection
    async def _catch_up(self) -> None:
        """Decode what has been read, a turn at a time; look whether there is more now and then."""
        try:
            while self._is_behind():
                with trio.move_on_after(0.0 if self._demand is Demand.DECODE else PACE) as pause:
                    await self._turned.wait()
                if pause.cancelled_caught:
                    self._take_turn()
                self.update()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
            self._lane.fail(fault)
        finally:
            self._catching_up = False

    def _take_turn(self) -> None:
        """Decode, or look, whichever is the lane's demand after all that may have happened before it was our turn."""
        match self._lane.demand:
            case Demand.DECODE:
                self._lane.proceed()
            case Demand.LATER:
                self._lane.look()
            case Demand.READ | Demand.WATCH | Demand.NOTHING:
                pass

    def _is_behind(self) -> bool:
        return not self._working.cancel_called and self._lane.demand in _BEHIND

    @trio.lowlevel.enable_ki_protection
    async def _write_on(self) -> None:
        out = self._lane.out
        while not out.broken:
            if not out.pending:
                await self._more.wait()
                continue
            batch = bytes(out.pending[:WRITE_SIZE])
            try:
                await self._stream.send_all(batch)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # The reader finds out too, and says so: whether the peer had closed properly only it can know.
                out.abort()
            except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
                out.abort()
                self._lane.fail(fault)
            else:
                out.taken(len(batch))

    def _begin_watching(self) -> None:
        if self._begin_watch is not None:
            self._watch = self._begin_watch(self._on_gone)

    def _end_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _on_gone(self) -> None:
        try:
            self._lane.lose()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and not the poller
            self._lane.fail(fault)
