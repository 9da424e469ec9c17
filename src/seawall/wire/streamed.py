"""`StreamLink`: the link of everything that is not a plain socket: TLS, memory, a system without epoll.

trio-websocket's reader reads the stream, and one task writes it: TLS, for one, is broken by a write that is cancelled
half-way, and by two at the same time.
"""

from __future__ import annotations

import math
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

#: Seconds after which a stream that gives nothing has nothing.
EMPTY: Final = 0.02


@final
class StreamLink:
    """Reads inside `advance`, and writes inside `run`."""

    def __init__(
        self, stream: trio.abc.Stream, lane: Lane, watch: Callable[[Callable[[], None]], Watch] | None
    ) -> None:
        """Prepare. `watch` begins to watch the socket under `stream`, if there is one and a poller for it."""
        self._stream = stream
        self._lane = lane
        self._begin_watch = watch
        self._watch: Watch | None = None
        self._demand = Demand.READ
        self._bell = Bell()
        self._more = Bell()
        self._wait = trio.CancelScope()

    def write(self, data: bytes) -> int:
        """Take nothing, but let `run` begin."""
        self._more.ring()
        return 0

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Write what is pending, until cancelled or until the stream fails."""
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
                self._lane.fail(fault)
            else:
                out.taken(len(batch))

    def update(self) -> None:
        """Let `advance` look again, if the lane wants something else now."""
        if self._lane.demand is not self._demand:
            self._bell.ring()

    def interrupt(self) -> None:
        """End `advance`."""
        self._wait.cancel()

    async def advance(self) -> None:
        """Do what the lane wants, once."""
        with trio.CancelScope() as self._wait:
            self._demand = self._lane.demand
            match self._demand:
                case Demand.READ:
                    await self._read()
                case Demand.DECODE:
                    await trio.lowlevel.checkpoint()
                    self._lane.proceed()
                case Demand.LATER:
                    with trio.move_on_after(PACE) as pause:
                        await self._bell.wait()
                    if pause.cancelled_caught:
                        self._lane.look()
                case Demand.WATCH:
                    self._begin_watching()
                    await self._bell.wait()
                case Demand.NOTHING:
                    await self._bell.wait()
        self._end_watching()

    async def linger(self) -> None:
        """Half-close the stream, and discard what still comes."""
        await linger(self._stream)

    def close(self) -> None:
        """Write no more, and let the poller forget the socket, which is closed next."""
        self._more.ring()
        self._end_watching()

    async def _read(self) -> None:
        with trio.move_on_after(EMPTY if self._lane.looking else math.inf) as patience:
            try:
                data = await self._stream.receive_some(self._lane.read_size)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            self._lane.feed(data, trio.current_time())
        if patience.cancelled_caught:
            self._lane.looking = False

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
