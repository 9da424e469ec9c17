"""`Lane`: the stream that trio-websocket is given, between it and the real one.

trio-websocket keeps the authority over the handshake, control frames and the closing handshake. Messages never
pass through it: the lane decodes them into a bounded queue for the handler. What trio-websocket reads from the
lane is one canonical request head and then one well-formed control frame at a time; what it writes joins the
messages in one `Outbound`.

The rules that are easy to get wrong:

- A Ping must not reach trio-websocket once a Close has been decided: its answer would be illegal by then, and the
  reader would die of it. The check therefore sits at the very return of `receive_some`, after the last checkpoint.
- `aclose` closes nothing. trio-websocket closes its stream when it pleases, also while our Close is still waiting
  to be written; the session closes the socket when everything is out.
- After a violation nothing that the peer sends matters; `receive_some` waits until our Close is written and then
  returns end-of-file, which is how trio-websocket learns that no answer will come.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from sys import getsizeof
from typing import TypeAlias, final

import trio
from attrs import frozen

from seawall.errors import ProtocolViolation, SlowConsumer
from seawall.limits import Limits
from seawall.wire.encoding import encode_message
from seawall.wire.frames import Control, FrameDecoder, Opcode
from seawall.wire.outbound import Outbound

#: Bytes asked of the stream at once. All of them are decoded before anybody else's turn, and may be 2,700 frames.
READ_SIZE = 16 * 1024

#: Bytes that a client may send after its request before it has been let in.
EARLY_SIZE = 64 * 1024

#: Pings kept for answering. Of those that come faster than we can answer, the latest suffice (RFC 6455, 5.5.3).
MAX_PINGS = 16

#: Bits of a frame's first byte (RFC 6455, section 5.2).
_CLOSE_FRAME = 0x80 | Opcode.CLOSE


@final
@frozen
class PeerClosed:
    """The peer sent a Close frame, with this code (1005 if it gave none) and reason."""

    code: int
    reason: str


@final
@frozen
class PeerVanished:
    """The stream ended without a Close frame."""


WireEnd: TypeAlias = PeerClosed | PeerVanished | ProtocolViolation | SlowConsumer


@final
class Lane(trio.abc.Stream):
    """One connection's frames, in and out."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        early: bytes,
        limits: Limits,
        on_end: Callable[[WireEnd], None],
    ) -> None:
        """Prepare; the socket is read only inside `receive_some`, by trio-websocket's reader.

        Args:
          stream: the real one; its request head has been read already.
          early: what came after that head.
          limits: message size and fragments, buffers, ``send_timeout``.
          on_end: told what ends the conversation. It may be called more than once; the first call counts.
        """
        self._stream = stream
        self._limits = limits
        self._on_end = on_end
        self._out = Outbound(
            stream,
            limit=limits.outbound_buffer,
            send_timeout=limits.send_timeout,
            on_stall=lambda: on_end(SlowConsumer()),
        )
        self._decoder = FrameDecoder(max_message_size=limits.max_message_size, max_fragments=limits.max_fragments)
        self._head = b""
        self._early = bytearray(early)
        self._messages: deque[str | bytes] = deque()
        self._queued = 0
        self._arrival = trio.Event()
        self._receiving = False
        self._room = trio.Event()
        self._discarding = False
        self._deaf = False
        self._silent = False
        self._pings: deque[bytes] = deque(maxlen=MAX_PINGS)
        self._close: bytes | None = None
        self._close_put = trio.Event()
        self._violated = False
        self._closed = False
        self._wait: trio.CancelScope | None = None
        self.opened = False
        """Whether the 101 is on its way: from then on refusals are close codes."""
        self.eof = False
        """Whether nothing more can come from the peer."""
        self.reader_left = trio.Event()
        """Set when trio-websocket has been told end-of-file and will not write any more."""
        self.received = 0
        """Messages received."""
        self.heard_at = -math.inf
        """When the last one came, on Trio's clock."""
        self.sent = 0
        """Messages sent."""

    def present(self, head: bytes) -> None:
        """Give the request head that trio-websocket is to read first."""
        self._head = head

    async def run_writer(self) -> None:
        """Write what is sent, until cancelled or until the stream fails."""
        await self._out.run()

    def begin_closing(self) -> None:
        """The connection is over: answer no more pings, take no more messages from senders."""
        self._silent = True
        self._out.finish()

    def drop_messages(self) -> None:
        """Throw away what is queued."""
        self._messages.clear()
        self._queued = 0
        self._room.set()

    def stop_receiving(self) -> None:
        """Queue no more messages; `receive` gives what is queued and then `trio.EndOfChannel`."""
        self._deaf = True
        self._arrival.set()
        self._room.set()

    def discard_input(self) -> None:
        """Throw away what is queued and what comes from now on, so that it never fills the queue."""
        self._discarding = True
        self.drop_messages()

    def put_close(self, frame: bytes) -> None:
        """Send a Close frame, ours or trio-websocket's; only the first one goes out."""
        if not self._close_put.is_set():
            self._out.put(frame)
            self._close_put.set()

    async def flush(self) -> None:
        """Wait until all that was sent is with the operating system, or cannot get there."""
        await self._out.wait_empty()

    def abort(self) -> None:
        """Give everything up: whoever waits here, for room or for data, waits no longer."""
        self._out.abort()
        self._closed = True
        self.stop_receiving()
        self._interrupt()

    @property
    def broken(self) -> bool:
        """Whether nothing more can be written."""
        return self._out.broken

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
          trio.EndOfChannel: there will be none.
          trio.BusyResourceError: another task is already waiting for it.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving from this connection")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()  # before the message is taken: a cancelled call has taken none
            while not self._messages:
                await self._wait_for_message()
        finally:
            self._receiving = False
        message = self._messages.popleft()
        self._queued -= getsizeof(message)
        if self._queued * 2 <= self._limits.inbound_bytes:
            self._room.set()
        return message

    @trio.lowlevel.enable_ki_protection
    async def send(self, message: str | bytes) -> None:
        """Queue a message once there is room. Raises as `Outbound.put_message`."""
        await self._out.put_message(encode_message(message))
        self.sent += 1

    @trio.lowlevel.enable_ki_protection
    def send_nowait(self, message: str | bytes) -> None:
        """Queue a message now. Raises as `Outbound.put_message_nowait`."""
        self._out.put_message_nowait(encode_message(message))
        self.sent += 1

    @trio.lowlevel.enable_ki_protection
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Take what trio-websocket writes: first the 101, then control frames."""
        frame = bytes(data)
        if not self.opened:
            self._out.put(frame)
            self._open()
        elif frame[0] == _CLOSE_FRAME:
            self._out.finish()
            self.put_close(frame)
        else:
            await self._out.put_control(frame)
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Part of the interface of a stream; the buffer is always there."""
        await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give trio-websocket the head, then one control frame a call, then end-of-file.

        Messages go into the queue on the way. This is where the socket is read.
        """
        await trio.lowlevel.checkpoint()
        if self._head:
            head, self._head = self._head, b""
            return head
        while not self._closed:
            if self.opened and (control := self._take_control()):
                return control
            if self.eof:
                break
            await self._advance()
        self.reader_left.set()
        return b""

    async def aclose(self) -> None:
        """Only mark: the session closes the socket when our Close is out."""
        self._closed = True
        self._interrupt()
        await trio.lowlevel.checkpoint()

    async def _wait_for_message(self) -> None:
        if self.eof or self._deaf:
            raise trio.EndOfChannel
        self._arrival = trio.Event()
        await self._arrival.wait()

    def _take_control(self) -> bytes | None:
        if self._silent:
            self._pings.clear()
        if self._pings:
            return self._pings.popleft()
        close, self._close = self._close, None
        return close

    async def _advance(self) -> None:
        """Wait for whatever has to come first, and take it in; `_interrupt` ends the wait early."""
        with trio.CancelScope() as self._wait:
            if self._violated:
                await self._close_put.wait()
                await self._out.wait_empty()
                self.eof = True
            elif self._has_room():
                await self._read()
            else:
                self._room = trio.Event()
                await self._room.wait()

    def _has_room(self) -> bool:
        if not self.opened:
            return len(self._early) < EARLY_SIZE
        return self._deaf or self._discarding or self._queued < self._limits.inbound_bytes

    async def _read(self) -> None:
        size = READ_SIZE if self.opened else EARLY_SIZE - len(self._early)
        try:
            data = await self._stream.receive_some(size)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            self.eof = True
            self._arrival.set()
            self._on_end(PeerVanished())
        elif self.opened:
            self._decode(data)
        else:
            self._early += data

    def _open(self) -> None:
        """The 101 is on its way: what came early counts now."""
        self.opened = True
        early, self._early = self._early, bytearray()
        if early:
            self._decode(early)
        if early or self._pings or self._close or self._violated:
            self._interrupt()

    def _decode(self, data: bytes | bytearray) -> None:
        received = self.received
        self._decoder.receive_data(data)
        try:
            while (event := self._decoder.next_event()) is not None:
                if isinstance(event, Control):
                    self._take_in_control(event)
                else:
                    self._take_in_message(event)
        except ProtocolViolation as violation:
            self._violated = True
            self._on_end(violation)
        if self.received > received:
            self.heard_at = trio.current_time()

    def _take_in_message(self, message: str | bytes) -> None:
        self.received += 1
        if not (self._deaf or self._discarding):
            self._messages.append(message)
            # The memory that it takes: an empty message counts, and an emoji makes each character four bytes.
            self._queued += getsizeof(message)
            self._arrival.set()

    def _take_in_control(self, control: Control) -> None:
        if control.opcode is Opcode.PING:
            self._pings.append(control.masked())
        elif control.opcode is Opcode.CLOSE:
            self._close = control.masked()
            self._arrival.set()
            self._on_end(PeerClosed(control.code, control.reason))

    def _interrupt(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
