"""`ControlStream`: the stream that trio-websocket reads and writes, beside the `MessageChannel` of the same connection.

trio-websocket does the opening handshake, the control frames and the closing handshake. Messages never pass through it.
It reads from this stream one canonical request head and then one well-formed control frame at a time. What it writes
goes into the channel's `SendBuffer`, as messages do.

The rules that are easy to get wrong:

- Once we have decided to close, trio-websocket must not read a Ping: it would write a Pong after its Close, which is
  illegal, and its reader would crash. So `receive_some` checks for that just before it returns, after its last
  checkpoint.
- `aclose` closes nothing, because trio-websocket calls it even before our Close is written. Whoever owns the connection
  closes the socket.
- After a violation everything that the peer sends is ignored. `receive_some` then waits until our Close is written and
  returns end-of-file, from which trio-websocket learns that no Close will come from the peer.
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

    def __init__(self, channel: MessageChannel, head: bytes | bytearray = b"") -> None:
        """Prepare; `head` is the request head that trio-websocket reads first."""
        self._channel = channel
        self._head = head
        self._reader_exited: Waiter | None = None  # made by `wait_reader_exited`
        self.reader_running = True
        """Whether trio-websocket still reads, that is, until `mark_reader_exited`."""

    @trio.lowlevel.enable_ki_protection
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send what trio-websocket writes: first the 101, then control frames."""
        frame, channel = bytes(data), self._channel
        if not channel.accepted:
            channel.accept(frame)
        elif frame[0] == _CLOSE_FRAME:
            self.put_close(channel.controls.answer(frame))
        else:
            if channel.send_buffer.is_full(len(frame)):
                channel.controls.release_messages(pong_blocked=True)
            await channel.send_buffer.put_control(frame)

    async def wait_send_all_might_not_block(self) -> None:
        """Return after a checkpoint. `trio.abc.SendStream` demands the method; `send_all` does the waiting."""
        await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The request head, then one control frame for each call, then end-of-file."""
        if self._head:
            head, self._head = self._head, b""
            return head
        channel, controls = self._channel, self._channel.controls
        controls.begin_reading()
        while not controls.closed:
            if channel.send_buffer.replying.is_closing:
                controls.drop_pings()
            if channel.accepted and (control := controls.take()):
                return control
            controls.release_messages()
            if self._is_over():
                break
            if channel.reading is Reading.ENDED and channel.send_buffer.pending:
                channel.send_buffer.notify_when_empty(controls.changed)  # when our Close is written, or cannot be
            await controls.changed.wait()
        self.mark_reader_exited()
        return b""

    async def aclose(self) -> None:
        """Return end-of-file from `receive_some` from now on; close nothing."""
        self._channel.controls.close()

    def put_close(self, frame: bytes) -> None:
        """Send a Close frame, ours or trio-websocket's, unless one has been sent. Raises as `SendBuffer.put`."""
        try:
            self._channel.send_buffer.put_close(frame)
        finally:
            self._channel.controls.changed.wake()

    def mark_reader_exited(self) -> None:
        """Note that trio-websocket's reader has read end-of-file or has crashed: trio-websocket writes no more."""
        self.reader_running = False
        if self._reader_exited is not None:
            self._reader_exited.wake()

    async def wait_reader_exited(self) -> None:
        """Wait until `mark_reader_exited` has been called. Only one task may wait."""
        if self.reader_running:
            self._reader_exited = Waiter()
            await self._reader_exited.wait()

    async def wait_released(self) -> None:
        """Wait, after `MessageChannel.abort`, until nothing of ours uses the real stream. Only one task may wait."""
        await self.wait_reader_exited()
        await self._channel.transport.wait_released()

    def _is_over(self) -> bool:
        """Whether nothing can happen any more that trio-websocket would have to read."""
        reading, buffer = self._channel.reading, self._channel.send_buffer
        if reading is Reading.ENDED:
            return buffer.broken or (buffer.replying is Replying.CLOSE_SENT and not buffer.pending)
        return reading >= Reading.LOST or buffer.replying is Replying.OVER
