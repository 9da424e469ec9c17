"""`SendBuffer`: the one way out of a connection, so that frames never interleave and never tear.

Everything that is sent, data frames and trio-websocket's control frames alike, is handed to the transport whole, or as
much of it as the transport takes; the rest waits in one buffer, which the transport empties as it can. A sender that is
cancelled has therefore either not sent at all or sent a whole frame; it can never leave half of one behind for the next
sender to land in.
"""

from __future__ import annotations

from typing import Final, final

import trio

from seawall.wire.budget import Budget
from seawall.wire.events import SendBlocked, WireEvents
from seawall.wire.frames.deflate import Deflater
from seawall.wire.frames.encoder import compress_frame
from seawall.wire.state import Replying, ReplyingEvent, advance_replying
from seawall.wire.transport.base import Transport
from seawall.wire.waiter import Waiter

#: What every empty buffer holds, until something has to wait in it: nothing is ever added to this one.
_EMPTY: Final = bytearray()

_BLOCKED: Final = SendBlocked()

# Looking a member up in its class costs as much as a call; these are looked at for every message.
_OPEN: Final = Replying.OPEN
_BROKEN: Final = Replying.BROKEN


def _refusal(replying: Replying) -> Exception:
    """Why no message is taken any more."""
    return trio.BrokenResourceError() if replying is Replying.BROKEN else trio.ClosedResourceError()


@final
class SendBuffer:
    """What goes out, and a bounded buffer for what cannot go at once."""

    __slots__ = (
        "_budget",
        "_events",
        "_room",
        "_transport",
        "blocked_since",
        "bytes_written",
        "deflater",
        "is_watched",
        "limit",
        "messages",
        "pending",
        "replying",
    )

    def __init__(self, transport: Transport, budget: Budget, events: WireEvents, *, limit: int) -> None:
        """Begin empty.

        Args:
          transport: takes the bytes, and is updated when something begins to wait and when nothing waits any more.
          budget: of the server.
          events: is told when something begins to wait.
          limit: bytes that may wait; an empty buffer takes one message of any size.
        """
        self._transport = transport
        self._budget = budget
        self._events = events
        self._room: _SendWaiters | None = None  # made when somebody has to wait, as in most connections nobody ever has
        self.pending = _EMPTY
        """What waits. Only transports look into it, and say with `mark_written` what has gone."""
        self.blocked_since: float | None = None
        """When something began to wait, on Trio's clock; None while nothing waits."""
        self.is_watched = False
        """Whether `SendBlocked` was told, and who heard it still looks whether there is progress."""
        self.replying = Replying.OPEN
        """What may still be sent. Only `advance_replying` says what follows."""
        self.limit = limit
        """Bytes that may wait."""
        self.bytes_written = 0
        """Bytes that the transport has taken so far."""
        self.deflater: Deflater | None = None
        """Compresses messages, if that was agreed on. What it makes depends on what it made before, and so has to be
        sent."""
        self.messages = 0
        """Messages that have been sent."""

    @property
    def broken(self) -> bool:
        """Whether nothing more can be written."""
        return self.replying >= _BROKEN

    @property
    def is_closing(self) -> bool:
        """Whether the connection is about to be closed: no more messages are taken and no more Pings answered."""
        return self.replying is not _OPEN and self.replying is not _BROKEN

    def put(self, data: bytes) -> None:
        """Send whole frames without waiting for room: for the handshake, the Close and a Ping.

        Raises:
          trio.BrokenResourceError: the transport has failed.
        """
        if self.broken:
            raise trio.BrokenResourceError
        self._write(data)

    async def put_control(self, frame: bytes) -> None:
        """Send a control frame once there is room, messages or not. Raises as `put`."""
        while self.is_full(len(frame)):
            await self._get_waiters().wait_shrunk()
        self.put(frame)

    def put_close(self, frame: bytes) -> None:
        """Send a Close frame. Only the first one goes out; from then on no message is taken. Raises as `put`."""
        if self.replying is not Replying.CLOSE_SENT:
            self.begin_closing()
            self.put(frame)
            self.replying = advance_replying(self.replying, ReplyingEvent.CLOSE)

    @trio.lowlevel.enable_ki_protection
    async def put_message(self, frame: bytes) -> None:
        """Send a data frame once there is room; waiting senders take turns in the order in which they came.

        Raises:
          trio.ClosedResourceError: the connection is about to be closed.
          trio.BrokenResourceError: the transport has failed.
        """
        if self._budget.is_spent(len(frame)):
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        if self.pending or self._room is not None:
            await self._wait_turn(len(frame))
        if self.replying is not _OPEN:
            raise _refusal(self.replying)
        self._write(frame if self.deflater is None else compress_frame(frame, self.deflater))
        self.messages += 1

    @trio.lowlevel.enable_ki_protection
    def put_message_nowait(self, frame: bytes) -> None:
        """Send a data frame now.

        Raises:
          trio.WouldBlock: there is no room, or others are waiting for it.
          trio.ClosedResourceError, trio.BrokenResourceError: as `put_message`.
        """
        self._check_now(len(frame))
        self._write(frame if self.deflater is None else compress_frame(frame, self.deflater))
        self.messages += 1

    @trio.lowlevel.enable_ki_protection
    def put_frame_nowait(self, frame: bytes) -> None:
        """Send a data frame now and as it is, never compressed, so that one frame may go to many.

        Raises:
          trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError: as `put_message_nowait`.
        """
        self._check_now(len(frame))
        self._write(frame)
        self.messages += 1

    def mark_written(self, count: int) -> None:
        """The transport has taken `count` bytes off the front of what waits."""
        self.bytes_written += count
        del self.pending[:count]
        if self._room is not None:
            self._room.wake()
        if not self.pending:
            self._end_waiting()

    def begin_closing(self) -> None:
        """The connection is about to be closed: those who wait for room, and who come later, are refused."""
        self.replying = advance_replying(self.replying, ReplyingEvent.BEGIN_CLOSING)
        if self._room is not None:
            self._room.wake()

    def abort(self) -> None:
        """Give up: nothing more will be written, and nobody waits any longer."""
        self.replying = advance_replying(self.replying, ReplyingEvent.BREAK)
        self.pending = _EMPTY  # another one: a transport may still be writing from this one
        if self._room is not None:
            self._room.wake()
        self._end_waiting()

    async def wait_empty(self) -> None:
        """Wait until the transport has taken everything, or has failed."""
        while self.pending:
            await self._get_waiters().wait_shrunk()

    def notify_when_empty(self, waiter: Waiter) -> None:
        """Wake `waiter` once, as soon as nothing is pending any more; at once, if nothing is.

        For one task that serves many connections. A `wake` that nobody waits for is lost, so that task looks at
        `pending` before it waits.
        """
        if self.pending:
            self._get_waiters().notify(waiter)
        else:
            waiter.wake()

    def is_full(self, size: int) -> bool:
        """Whether `size` bytes more would have to wait for room."""
        return bool(self.pending) and len(self.pending) + size > self.limit and self.replying is _OPEN

    def _write(self, data: bytes) -> None:
        if self.pending:
            self.pending += data
            return
        try:
            written = self._transport.write(data)
        except trio.BrokenResourceError:
            self.abort()
            raise
        self.bytes_written += written
        if written < len(data):
            self.pending = bytearray(memoryview(data)[written:])
            self.blocked_since = trio.current_time()
            self._transport.update()
            if not self.is_watched:
                self.is_watched = True
                self._events.tell(_BLOCKED)

    def _check_now(self, size: int) -> None:
        if (self._room is not None and self._room.has_queue()) or self.is_full(size):
            raise trio.WouldBlock
        if self.replying is not _OPEN:
            raise _refusal(self.replying)

    async def _wait_turn(self, size: int) -> None:
        """Wait for room. The caller sends at once: until then, nobody else does."""
        room = self._get_waiters()
        if room.has_queue() or self.is_full(size):
            async with room.queue():  # held only by who waits for room, so that `_check_now` sees nobody else
                while self.is_full(size):
                    await room.wait_shrunk()

    def _end_waiting(self) -> None:
        self.blocked_since = None
        self._transport.update()
        if self._room is not None:
            self._room.wake_notified()

    def _get_waiters(self) -> _SendWaiters:
        """Where to wait for room."""
        if self._room is None:
            self._room = _SendWaiters()
        return self._room


@final
class _SendWaiters:
    """Who waits for a `SendBuffer` to become less full, or empty."""

    __slots__ = ("_less", "_when_empty", "sender_lock")

    def __init__(self) -> None:
        """Begin with nobody, as most connections stay."""
        self.sender_lock: trio.StrictFIFOLock | None = None
        """Held by the sender whose turn it is, as soon as one has had to wait."""
        self._less: trio.Event | None = None
        self._when_empty: tuple[Waiter, ...] = ()

    def has_queue(self) -> bool:
        """Whether a sender waits for room."""
        return self.sender_lock is not None and self.sender_lock.locked()

    def queue(self) -> trio.StrictFIFOLock:
        """What senders that wait for room take, in turn."""
        if self.sender_lock is None:
            self.sender_lock = trio.StrictFIFOLock()
        return self.sender_lock

    async def wait_shrunk(self) -> None:
        """Wait until `wake`."""
        if self._less is None:
            self._less = trio.Event()
        await self._less.wait()

    def wake(self) -> None:
        """There is less in the buffer, or nobody is to wait any longer."""
        if self._less is not None:
            self._less.set()
            self._less = None

    def notify(self, waiter: Waiter) -> None:
        """Wake `waiter` at the next `wake_notified`."""
        if waiter not in self._when_empty:
            self._when_empty += (waiter,)

    def wake_notified(self) -> None:
        """The buffer is empty: wake everybody who was to be notified, once."""
        waiters, self._when_empty = self._when_empty, ()
        for waiter in waiters:
            waiter.wake()
