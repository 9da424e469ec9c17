"""`SendBuffer`: the one way out of a connection, so that frames never interleave and never tear.

Everything that is sent, data frames and trio-websocket's control frames alike, is handed to the link whole, or as much
of it as the link takes; the rest waits in one buffer, which the link empties as it can. A sender that is cancelled has
therefore either not sent at all or sent a whole frame; it can never leave half of one behind for the next sender to
land in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import trio

from seawall.wire.budget import Budget
from seawall.wire.transport import Transport
from seawall.wire.waiter import nothing


@final
class SendBuffer:
    """What goes out, and a bounded buffer for what cannot go at once."""

    __slots__ = (
        "_budget",
        "_finished",
        "_less",
        "_on_change",
        "_transport",
        "_turn",
        "broken",
        "gone",
        "limit",
        "messages",
        "pending",
        "seal",
    )

    def __init__(self, transport: Transport, budget: Budget, *, limit: int, on_change: Callable[[], None]) -> None:
        """Begin empty.

        Args:
          transport: takes the bytes.
          budget: of the server.
          limit: bytes that may wait; an empty buffer takes one message of any size.
          on_change: called when something begins to wait, and when nothing waits any more.
        """
        self._transport = transport
        self._budget = budget
        self._on_change = on_change
        self._less: trio.Event | None = None
        self._turn: trio.StrictFIFOLock | None = None
        self._finished = False
        self.pending = bytearray()
        """What waits. Only links look into it, and say with `taken` what has gone."""
        self.limit = limit
        """Bytes that may wait."""
        self.gone = 0
        """Bytes that the link has taken so far."""
        self.seal: Callable[[bytes], bytes] | None = None
        """Compresses a message's frame. What it makes depends on what it made before, and so has to be sent."""
        self.messages = 0
        """Messages that have been sent."""
        self.broken = False
        """Whether nothing more can be written."""

    def put(self, data: bytes) -> None:
        """Send whole frames without waiting for room: for the handshake, the Close and a ping.

        Raises:
          trio.BrokenResourceError: the link has failed.
        """
        if self.broken:
            raise trio.BrokenResourceError
        if self.pending:
            self.pending += data
            return
        try:
            gone = self._transport.write(data)
        except trio.BrokenResourceError:
            self.abort()
            raise
        self.gone += gone
        if gone < len(data):
            self.pending += memoryview(data)[gone:]
            self._on_change()

    async def put_control(self, data: bytes) -> None:
        """Send a control frame once there is room, messages or not. Raises as `put`."""
        while self.is_full(len(data)):
            await self._wait_less()
        self.put(data)

    @trio.lowlevel.enable_ki_protection
    async def put_message(self, data: bytes) -> None:
        """Send a data frame once there is room; waiting senders take turns in the order in which they came.

        Raises:
          trio.ClosedResourceError: `finish` was called.
          trio.BrokenResourceError: the link has failed.
        """
        if self._budget.is_spent(len(data)):
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        if self.pending or self._turn is not None:
            await self._wait_turn(len(data))
        if self._finished:
            raise trio.ClosedResourceError
        self.put(data if self.seal is None else self.seal(data))
        self.messages += 1

    @trio.lowlevel.enable_ki_protection
    def put_message_nowait(self, data: bytes) -> None:
        """Send a data frame now.

        Raises:
          trio.WouldBlock: there is no room, or others are waiting for it.
          trio.ClosedResourceError, trio.BrokenResourceError: as `put_message`.
        """
        if self._is_queued() or self.is_full(len(data)):
            raise trio.WouldBlock
        if self._finished:
            raise trio.ClosedResourceError
        self.put(data if self.seal is None else self.seal(data))
        self.messages += 1

    def taken(self, count: int) -> None:
        """The link has taken `count` bytes off the front of what waits."""
        self.gone += count
        del self.pending[:count]
        self._wake_waiters()
        if not self.pending:
            self._on_change()

    def finish(self) -> None:
        """Take no more messages; those who wait for room get `trio.ClosedResourceError`."""
        self._finished = True
        self._wake_waiters()

    def abort(self) -> None:
        """Give up: nothing more will be written, and nobody waits any longer."""
        self.broken = True
        self.pending = bytearray()  # a new one: a link may still be writing from the old one
        self._wake_waiters()
        self._on_change()
        self._on_change = nothing  # it will not change any more, and circles would be left to the garbage collector

    async def wait_empty(self) -> None:
        """Wait until the link has taken everything, or has failed."""
        while self.pending:
            await self._wait_less()

    def is_full(self, size: int) -> bool:
        """Whether `size` bytes more would have to wait for room."""
        return bool(self.pending) and len(self.pending) + size > self.limit and not (self._finished or self.broken)

    def _is_queued(self) -> bool:
        """Whether somebody waits for room."""
        return self._turn is not None and self._turn.locked()

    async def _wait_turn(self, size: int) -> None:
        """Wait for room. The caller sends at once: until then, nobody else does."""
        if self._is_queued() or self.is_full(size):
            if self._turn is None:
                self._turn = trio.StrictFIFOLock()
            async with self._turn:  # held only by who waits for room, so that `put_message_nowait` sees nobody else
                while self.is_full(size):
                    await self._wait_less()

    async def _wait_less(self) -> None:
        if self._less is None:
            self._less = trio.Event()
        await self._less.wait()

    def _wake_waiters(self) -> None:
        if self._less is not None:
            self._less.set()
            self._less = None
