"""`ControlStream`: the stream that trio-websocket is given, beside the `MessageChannel` of the same connection.

trio-websocket keeps the authority over the handshake, control frames and the closing handshake. Messages never pass
through it. What it reads here is one canonical request head and then one well-formed control frame at a time; what it
writes here joins the messages in the channel's `SendBuffer`.

The rules that are easy to get wrong:

- A Ping must not reach trio-websocket once a Close has been decided: its answer would be illegal by then, and the
  reader would die of it. The check therefore sits at the very return of `receive_some`, after the last checkpoint.
- `aclose` closes nothing, for trio-websocket calls it even before our Close is written; whoever owns the connection
  closes the socket.
- After a violation nothing that the peer sends matters; `receive_some` waits until our Close is written and then
  returns end-of-file, which is how trio-websocket learns that no answer will come.
"""

from __future__ import annotations

from typing import Final, final

import trio

from seawall.wire.channel import MessageChannel
from seawall.wire.frames.codes import Opcode
from seawall.wire.state import Reading, Replying
from seawall.wire.waiter import Waiter

_CLOSE_FRAME: Final = 0x80 | Opcode.CLOSE  # its first byte


@final
class ControlStream(trio.abc.Stream):
    """Carries the handshake and the control frames of one connection between its channel and trio-websocket."""

    __slots__ = ("_channel", "_head", "_reader_exited", "reader_running")

    def __init__(self, channel: MessageChannel, head: bytes = b"") -> None:
        """Prepare; `head` is what is read first."""
        self._channel = channel
        self._head = head
        self._reader_exited: Waiter | None = None  # made when somebody waits for `mark_reader_exited`
        self.reader_running = True
        """Whether trio-websocket still reads: `mark_reader_exited` has not been called."""

    @trio.lowlevel.enable_ki_protection
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Take what trio-websocket writes: first the 101, then control frames."""
        frame, channel = bytes(data), self._channel
        if not channel.accepted:
            channel.accept(frame)
        elif frame[0] == _CLOSE_FRAME:
            self.put_close(frame)
        else:
            if channel.send_buffer.is_full(len(frame)):
                channel.controls.release_messages(pong_blocked=True)
            await channel.send_buffer.put_control(frame)

    async def wait_send_all_might_not_block(self) -> None:
        """Part of the interface of a stream; the buffer is always there."""
        await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give trio-websocket the head, then one control frame a call, then end-of-file."""
        if self._head:
            head, self._head = self._head, b""
            return head
        channel, controls = self._channel, self._channel.controls
        controls.begin_reading()
        while not controls.closed:
            if channel.send_buffer.is_closing:
                controls.drop_pings()
            if channel.accepted and (control := controls.take()):
                return control
            controls.release_messages()
            if self._is_over():
                break
            if channel.reading is Reading.ENDED and channel.send_buffer.pending:
                channel.send_buffer.notify_when_empty(controls.changed)  # our Close is out then, or never will be
            await controls.changed.wait()
        self.mark_reader_exited()
        return b""

    async def aclose(self) -> None:
        """Only give end-of-file from now on."""
        self._channel.controls.close()

    def put_close(self, frame: bytes) -> None:
        """Send a Close frame, ours or trio-websocket's; only the first one goes out. Raises as `SendBuffer.put`."""
        try:
            self._channel.send_buffer.put_close(frame)
        finally:
            self._channel.controls.changed.wake()

    def mark_reader_exited(self) -> None:
        """trio-websocket has been told end-of-file, or has crashed, and will not write any more."""
        self.reader_running = False
        if self._reader_exited is not None:
            self._reader_exited.wake()

    async def wait_reader_exited(self) -> None:
        """Wait until `mark_reader_exited`. Only one task may."""
        if self.reader_running:
            self._reader_exited = Waiter()
            await self._reader_exited.wait()

    async def wait_released(self) -> None:
        """Wait, after `MessageChannel.abort`, until nothing of ours uses the real stream. Only one task may."""
        await self.wait_reader_exited()
        await self._channel.transport.wait_released()

    def _is_over(self) -> bool:
        """Whether trio-websocket has nothing more to wait for."""
        reading, buffer = self._channel.reading, self._channel.send_buffer
        if reading is Reading.ENDED:
            return buffer.broken or (buffer.replying is Replying.CLOSE_SENT and not buffer.pending)
        return reading >= Reading.LOST or buffer.replying is Replying.OVER
