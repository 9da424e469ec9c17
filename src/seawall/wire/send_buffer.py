"""`SendBuffer`: everything that a connection sends goes through it, so that frames are whole and never interleave.

Data frames and trio-websocket's control frames are handed to the transport at once. What the transport does not take
waits in one buffer, which the transport empties as it can. So a sender that is cancelled has sent either nothing or a
whole frame, and never a part of one, into which the next frame would be written.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, final

import trio

from seawall.wire.budget import Budget
from seawall.wire.events import SendBlocked, WireEvents
from seawall.wire.frames.deflate import Deflater
from seawall.wire.frames.encoder import Frame, LongFrame, compress_frame
from seawall.wire.state import Replying, ReplyingEvent, advance_replying
from seawall.wire.transport.base import Transport
from seawall.wire.waiter import Wakes

#: The bytearray of every buffer in which nothing waits. Nothing is ever added to this one.
_EMPTY: Final = bytearray()

_BLOCKED: Final = SendBlocked()

# Globals, because to look a member up in its enum costs as much as a call, and every message compares with these.
_OPEN: Final = Replying.OPEN
_BROKEN: Final = Replying.BROKEN


def _refusal(replying: Replying) -> Exception:
    """The exception that says why no message is accepted."""
    return trio.BrokenResourceError() if replying is Replying.BROKEN else trio.ClosedResourceError()


@final
class SendBuffer:
    """Writes frames to the transport, with a bounded buffer for what the transport does not take at once."""

    __slots__ = (
        "_budget",
        "_events",
        "_notified",
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
          transport: writes the bytes, and is updated when something begins to wait and when nothing waits any more.
          budget: of the server.
          events: is told `SendBlocked` when something begins to wait.
          limit: bytes that may wait. An empty buffer takes one message of any size.
        """
        self._transport = transport
        self._budget = budget
        self._events = events
        self._room: _SendWaiters | None = None  # made when a task has to wait; in most connections none ever has to
        self._notified: Wakes | None = None  # the first that `notify_when_empty` was given; most often the only one
        self.pending: bytearray | memoryview = _EMPTY
        """The bytes that wait: a view of the rest of one frame, which keeps all of it; or a copy of it with what came
        behind it. Only transports read them, and call `mark_written` for those that they have written."""
        self.blocked_since: float | None = None
        """When something began to wait, on Trio's clock; None while nothing waits."""
        self.is_watched = False
        """Whether `SendBlocked` was told; `StallDetector` clears it once it finds that nothing waits."""
        self.replying = Replying.OPEN
        """What may still be sent. Only `advance_replying` gives the next state."""
        self.limit = limit
        """Bytes that may wait before a sender has to wait."""
        self.bytes_written = 0
        """Bytes that the transport has taken so far."""
        self.deflater: Deflater | None = None
        """Compresses messages; None if that was not agreed on. Its output depends on its earlier output, so all of it
        has to be sent."""
        self.messages = 0
        """Messages that have been sent."""

    @property
    def broken(self) -> bool:
        """Whether the transport has failed or `abort` was called: nothing more can be written."""
        return self.replying >= _BROKEN

    def put(self, data: bytes) -> None:
        """Send whole frames, even above `limit`: for the 101, the Close and a Ping of ours.

        Raises:
          trio.BrokenResourceError: the transport has failed.
        """
        if self.broken:
            raise trio.BrokenResourceError
        if self.pending:
            self._gather(data)
            return
        try:
            written = self._transport.write(data)
        except trio.BrokenResourceError:
            self.abort()
            raise
        self.bytes_written += written
        if written < len(data):
            self._begin_waiting(data, written)

    async def put_control(self, frame: bytes) -> None:
        """Send a control frame once there is room, and even if messages are refused. Raises as `put`."""
        while self.is_full(len(frame)):
            self._room = self._room or _SendWaiters()
            await self._room.wait_shrunk()
        self.put(frame)

    def put_close(self, frame: bytes) -> None:
        """Send a Close frame, unless one has been sent; refuse messages from then on. Raises as `put`."""
        if self.replying is not Replying.CLOSE_SENT:
            self.begin_closing()
            self.put(frame)
            self.replying = advance_replying(self.replying, ReplyingEvent.CLOSE)

    async def put_message(self, frame: Frame) -> None:
        """Send a data frame once there is room. Senders that wait send in the order in which they came.

        Raises:
          trio.ClosedResourceError: the connection is about to be closed.
          trio.BrokenResourceError: the transport has failed.
        """
        await self.wait_turn(len(frame))
        self.put_in_turn(frame)

    def wait_turn(self, size: int) -> Awaitable[None]:
        """Wait until a data frame of `size` bytes may be sent; await the result at once.

        Then call `put_in_turn`, without a checkpoint in between. The two are `put_message`, for who sends often: a
        coroutine more costs as much as both of them.
        """
        is_spent = self._budget.is_spent(size)
        if is_spent or self.pending or self._room is not None:
            return self._wait_turn(size, is_spent=is_spent)
        return trio.lowlevel.checkpoint_if_cancelled()  # noqa: ASYNC105 - the caller awaits it at once

    @trio.lowlevel.enable_ki_protection
    def put_in_turn(self, frame: Frame) -> None:
        """Send a data frame after `wait_turn`. Raises as `put_message`."""
        if self.replying is not _OPEN:
            raise _refusal(self.replying)
        if self.deflater is not None:
            frame = compress_frame(frame, self.deflater)
        if self.pending:
            self._gather(frame)
        else:  # as `put`, of which each message would feel the call
            try:
                written = self._transport.write(frame)
            except trio.BrokenResourceError:
                self.abort()
                raise
            self.bytes_written += written
            if written < len(frame):
                self._begin_waiting(frame, written)
        self.messages += 1

    @trio.lowlevel.enable_ki_protection
    def put_message_nowait(self, frame: Frame) -> None:
        """Send a data frame now.

        Raises:
          trio.WouldBlock: there is no room, or other senders wait for room.
          trio.ClosedResourceError, trio.BrokenResourceError: as `put_message`.
        """
        if (self._room is not None and self._room.has_queue()) or (self.pending and self.is_full(len(frame))):
            raise trio.WouldBlock
        self.put_in_turn(frame)

    @trio.lowlevel.enable_ki_protection
    def put_shared(self, frames: Frame, messages: int) -> bool:
        """Send data frames, which may go to many connections, if nothing waits; never adds to what waits.

        This is the way of what is published in rooms, and the shortest there is. Where compression was agreed on, each
        connection compresses for itself, so give one frame at a time.

        Args:
          frames: one, or several short ones, one behind the other.
          messages: how many.

        Returns:
          Whether they are sent. If not, something waits, or no message is accepted any more; nothing is sent then.
        """
        if self.pending or self.replying is not _OPEN:
            return False
        sent = frames if self.deflater is None else compress_frame(frames, self.deflater)
        try:
            written = self._transport.write(sent)
        except trio.BrokenResourceError:
            self.abort()
            return False
        self.bytes_written += written
        self.messages += messages
        if written < len(sent):
            self._begin_waiting(sent, written)
        return True

    def mark_written(self, count: int) -> None:
        """Remove the first `count` bytes of `pending`, which the transport has written."""
        self.bytes_written += count
        if isinstance(self.pending, bytearray):
            del self.pending[:count]
        else:
            self.pending = self.pending[count:] or _EMPTY  # the last view of a frame would keep all of it
        if self._room is not None:
            self._room.wake()
        if not self.pending:
            self.blocked_since = None
            self._transport.update()
            first, self._notified = self._notified, None
            if first is not None:
                first.wake()
            if self._room is not None:
                self._room.wake_notified()

    def begin_closing(self) -> None:
        """Refuse all messages, those that wait for room too, because the connection is about to be closed."""
        self.replying = advance_replying(self.replying, ReplyingEvent.BEGIN_CLOSING)
        if self._room is not None:
            self._room.wake()

    def abort(self) -> None:
        """Throw away what waits, write nothing more, and wake every task that waits."""
        self.replying = advance_replying(self.replying, ReplyingEvent.BREAK)
        self.pending = _EMPTY  # not cleared in place: a transport may be writing from the old one
        self.mark_written(0)

    def stop_notifying(self, waiter: Wakes) -> None:
        """Do not wake `waiter` after all; does nothing if it would not be woken."""
        if self._notified is waiter:
            self._notified = None
        elif self._room is not None:
            self._room.forget(waiter)

    async def wait_empty(self) -> None:
        """Wait until the transport has taken everything, or nothing more can be written."""
        while self.pending:
            self._room = self._room or _SendWaiters()
            await self._room.wait_shrunk()

    def notify_when_empty(self, waiter: Wakes) -> None:
        """Wake `waiter` once, as soon as nothing is pending; at once if nothing is pending now.

        `ControlStream` uses it to wait for this and for other things with one `Waiter`. A `wake` of that is lost while
        no task waits, so the task has to look at `pending` before it waits.
        """
        if not self.pending:
            waiter.wake()
        elif self._notified is None:
            self._notified = waiter
        elif waiter is not self._notified:
            self._room = self._room or _SendWaiters()
            self._room.notify(waiter)

    def is_full(self, size: int) -> bool:
        """Whether a frame of `size` bytes has to wait for room."""
        return bool(self.pending) and len(self.pending) + size > self.limit and self.replying is _OPEN

    def _gather(self, frame: Frame) -> None:
        if not isinstance(self.pending, bytearray):
            self.pending = bytearray(self.pending)
        self.pending += bytes(frame)

    def _begin_waiting(self, frame: Frame, written: int) -> None:
        # A frame is not copied to be written in parts: of an echo of 1 MiB, that was a fifteenth of the time.
        self.pending = frame.after(written) if isinstance(frame, LongFrame) else memoryview(frame)[written:]
        self.blocked_since = trio.current_time()
        self._transport.update()
        if not self.is_watched:
            self.is_watched = True
            self._events.tell(_BLOCKED)

    @trio.lowlevel.enable_ki_protection
    async def _wait_turn(self, size: int, *, is_spent: bool) -> None:
        """Let the other tasks run if it is their turn, and wait for room, after the senders that came before."""
        if is_spent:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        if not self.pending and self._room is None:
            return
        self._room = room = self._room or _SendWaiters()
        if room.has_queue() or self.is_full(size):
            async with room.queue():  # only senders that wait hold the lock, which `put_message_nowait` relies on
                while self.is_full(size):
                    await room.wait_shrunk()


@final
class _SendWaiters:
    """The tasks that wait until a `SendBuffer` holds less, or nothing."""

    __slots__ = ("_less", "_when_empty", "sender_lock")

    def __init__(self) -> None:
        """Begin with none."""
        self.sender_lock: trio.StrictFIFOLock | None = None
        """Held by the sender that is the next to send; None until a sender has had to wait."""
        self._less: trio.Event | None = None
        self._when_empty: tuple[Wakes, ...] = ()

    def has_queue(self) -> bool:
        """Whether a sender waits for room."""
        return self.sender_lock is not None and self.sender_lock.locked()

    def queue(self) -> trio.StrictFIFOLock:
        """The lock that a sender holds while it waits for room; the others wait for the lock."""
        if self.sender_lock is None:
            self.sender_lock = trio.StrictFIFOLock()
        return self.sender_lock

    async def wait_shrunk(self) -> None:
        """Wait until `wake`."""
        if self._less is None:
            self._less = trio.Event()
        await self._less.wait()

    def wake(self) -> None:
        """Wake all tasks in `wait_shrunk`: the buffer holds less, or they are to wait no longer."""
        if self._less is not None:
            self._less.set()
            self._less = None

    def notify(self, waiter: Wakes) -> None:
        """Wake `waiter` at the next `wake_notified`."""
        if waiter not in self._when_empty:
            self._when_empty += (waiter,)

    def forget(self, waiter: Wakes) -> None:
        """Do not wake `waiter`."""
        self._when_empty = tuple(other for other in self._when_empty if other is not waiter)

    def wake_notified(self) -> None:
        """Wake every waiter of `notify`, once: the buffer is empty."""
        waiters, self._when_empty = self._when_empty, ()
        for waiter in waiters:
            waiter.wake()
