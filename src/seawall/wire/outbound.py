"""`Outbound`: the one way out of a connection, so that frames never interleave and never tear.

Everything that is sent, data frames and trio-websocket's control frames alike, is appended whole to one buffer,
and one task writes that buffer to the stream. A sender that is cancelled has therefore either not sent at all or
sent a whole frame; it can never leave half of one behind for the next sender to land in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import trio

#: Bytes handed to the stream at once. Progress is judged per write, so a write must be small beside a slow link.
WRITE_SIZE = 64 * 1024


@final
class Outbound:
    """A bounded buffer and the task that empties it."""

    def __init__(
        self,
        stream: trio.abc.SendStream,
        *,
        limit: int,
        send_timeout: float,
        on_stall: Callable[[], None],
    ) -> None:
        """Prepare; nothing is written before `run`.

        Args:
          stream: where to write.
          limit: bytes that may wait; an empty buffer takes one message of any size.
          send_timeout: seconds that one write may take before the peer counts as a slow consumer.
          on_stall: called once, when a write has taken that long. The stream is useless from then on.
        """
        self._stream = stream
        self._limit = limit
        self._send_timeout = send_timeout
        self._on_stall = on_stall
        self._buffer = bytearray()
        self._more = trio.Event()
        self._less = trio.Event()
        self._turn = trio.StrictFIFOLock()
        self._finished = False
        self.broken = False
        """Whether the stream has failed or stalled: nothing more can be written."""

    def put(self, data: bytes) -> None:
        """Append whole frames without waiting for room: for the handshake and the Close, of which there is one each.

        Raises:
          trio.BrokenResourceError: the stream has failed.
        """
        if self.broken:
            raise trio.BrokenResourceError
        self._buffer += data
        self._more.set()

    async def put_control(self, data: bytes) -> None:
        """Append a control frame once there is room, messages or not. Raises as `put`."""
        while self._is_full(len(data)):
            await self._less.wait()
        self.put(data)

    async def put_message(self, data: bytes) -> None:
        """Append a data frame once there is room; waiting senders take turns in the order in which they came.

        Raises:
          trio.ClosedResourceError: `finish` was called.
          trio.BrokenResourceError: the stream has failed.
        """
        await trio.lowlevel.checkpoint()
        if self._turn.locked() or self._is_full(len(data)):
            async with self._turn:  # held only by who waits for room, so that `put_message_nowait` sees nobody else
                while self._is_full(len(data)):
                    await self._less.wait()
                self._append_message(data)
        else:
            self._append_message(data)

    def put_message_nowait(self, data: bytes) -> None:
        """Append a data frame now.

        Raises:
          trio.WouldBlock: there is no room, or others are waiting for it.
          trio.ClosedResourceError, trio.BrokenResourceError: as `put_message`.
        """
        if self._turn.locked() or self._is_full(len(data)):
            raise trio.WouldBlock
        self._append_message(data)

    def finish(self) -> None:
        """Take no more messages; those who wait for room get `trio.ClosedResourceError`."""
        self._finished = True
        self._wake_waiters()

    def abort(self) -> None:
        """Give up: nothing more will be written, and nobody waits any longer."""
        self.broken = True
        self._buffer.clear()
        self._more.set()
        self._wake_waiters()

    async def wait_empty(self) -> None:
        """Wait until everything has been handed to the stream, or the stream has failed."""
        while self._buffer:
            await self._less.wait()

    async def run(self) -> None:
        """Write what is put, until cancelled or until the stream fails or stalls."""
        while not self.broken:
            if not self._buffer:
                self._more = trio.Event()
                await self._more.wait()
                continue
            batch = bytes(self._buffer[:WRITE_SIZE])
            if not await self._write(batch):
                self.abort()
                return
            del self._buffer[: len(batch)]
            self._wake_waiters()

    async def _write(self, batch: bytes) -> bool:
        with trio.move_on_after(self._send_timeout) as patience:
            try:
                await self._stream.send_all(batch)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # The reader finds out too, and says so: whether the peer had closed properly only it can know.
                return False
        if patience.cancelled_caught:
            self._on_stall()
            return False
        return True

    def _append_message(self, data: bytes) -> None:
        if self._finished:
            raise trio.ClosedResourceError
        self.put(data)

    def _is_full(self, size: int) -> bool:
        if self._finished or self.broken:
            return False
        return bool(self._buffer) and len(self._buffer) + size > self._limit

    def _wake_waiters(self) -> None:
        self._less.set()
        self._less = trio.Event()
