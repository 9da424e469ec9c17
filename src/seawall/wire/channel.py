"""`MessageChannel`: the messages of one connection, decoded, counted and queued, over a `Transport`.

The transport gives it what it has read; messages go into a `ReceiveQueue` for the handler, and Pings and the Close into
a `ControlQueue`, from which the `ControlStream` beside it hands them to trio-websocket. What either of them sends joins
in one `SendBuffer`. What ends the conversation is told to the one listener, as a `WireEvent`.

The ways through it, as lists of functions:

- a message in: `Transport` reads, `MessageChannel.feed`, `FrameDecoder.receive_message`, `ReceiveQueue.put`,
  `ReceiveQueue.announce`; the handler waits in `ReceiveQueue.receive`.
- a message out: `MessageChannel.send`, `SendBuffer.put_message`, `Transport.write`.
- a Ping in: `feed`, `proceed`, `ControlQueue.put`; trio-websocket reads it from `ControlStream.receive_some` and writes
  its answer to `ControlStream.send_all`.
- an end: `feed`, `proceed`, `lose` or `fail`, `advance_reading`, `WireEvents.tell`.

Where these methods need not wait they are no checkpoints: a turn of the scheduler costs more than what they do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, final

import trio
from attrs import define

from seawall.errors import ProtocolViolation
from seawall.limits import Limits
from seawall.wire.budget import Budget
from seawall.wire.control_queue import ControlQueue
from seawall.wire.events import PeerClosed, PeerVanished, WireEvent, WireEvents
from seawall.wire.frames.codes import Opcode
from seawall.wire.frames.control import Control
from seawall.wire.frames.decoder import FrameDecoder
from seawall.wire.frames.deflate import Agreement
from seawall.wire.frames.encoder import encode_message
from seawall.wire.receive_queue import ReceiveQueue
from seawall.wire.send_buffer import SendBuffer
from seawall.wire.state import Reading, ReadingEvent, advance_reading
from seawall.wire.traffic import Inbound, Traffic
from seawall.wire.transport.base import LARGE_READ_SIZE, MAX_READ_SIZE, READ_SIZE, ReadInterest, Transport

#: Frames decoded before everybody else has a turn. 16 KiB may hold 2,700.
FRAMES_PER_TURN: Final = 64

#: Bytes of messages after which it is somebody else's turn as well: 16 KiB that are compressed may become 16 MiB.
BYTES_PER_TURN: Final = 256 * 1024

#: Bytes that a client may send after its request before it has been let in.
EARLY_SIZE: Final = 64 * 1024

# Looking a member up in its class costs as much as a call; this one is looked at for every read.
_OPEN: Final = Reading.OPEN


@final
@define(eq=False)
class ChannelSettings:
    """What a channel has to know before anything comes."""

    limits: Limits
    """Message size and fragments, buffers."""
    agreement: Agreement | None = None
    """How messages are compressed in both directions, if that was agreed on."""
    raw: bool = False
    """Whether a text message is queued as `RawText`, the bytes of its payload, instead of a str."""


@final
class MessageChannel:
    """One connection's messages, in and out."""

    __slots__ = (
        "_decoder",
        "_events",
        "_queue",
        "accepted",
        "backlog",
        "controls",
        "inbound",
        "reading",
        "send_buffer",
        "transport",
    )

    def __init__(
        self,
        transport: Transport,
        settings: ChannelSettings,
        budget: Budget,
        on_wire_event: Callable[[WireEvent], None],
    ) -> None:
        """Make the parts, and let the transport begin.

        Args:
          transport: carries the bytes; it has no channel yet.
          settings: hold for as long as the channel lives.
          budget: of the server.
          on_wire_event: is called with what ends the conversation, maybe more than once, of which the first call
            counts, and with `SendBlocked`.
        """
        limits, agreement = settings.limits, settings.agreement
        self.transport = transport
        """Carries the bytes."""
        self.reading = Reading.HEAD
        """What becomes of what comes. Only `advance_reading` says what follows."""
        self.accepted = False
        """Whether the 101 is on its way: from then on refusals are close codes."""
        self.backlog = False
        """Whether there is more to decode."""
        self.inbound = Inbound()
        """What has come so far."""
        self._events = WireEvents(on_wire_event)
        self._queue = ReceiveQueue(limits, budget, transport)
        self._decoder = FrameDecoder(
            max_message_size=limits.max_message_size,
            max_fragments=limits.max_fragments,
            inflater=agreement.inflater() if agreement is not None else None,
            raw=settings.raw,
        )
        self.controls = ControlQueue(self._queue)
        """The control frames that are for trio-websocket."""
        self.send_buffer = SendBuffer(transport, budget, self._events, limit=limits.outbound_buffer)
        """The way out."""
        if agreement is not None:
            self.send_buffer.deflater = agreement.deflater()
        transport.start(self)

    def accept(self, response: bytes) -> None:
        """Send the 101, and decode from now on, beginning with what came early. Raises as `SendBuffer.put`."""
        self.send_buffer.put(response)
        self.accepted = True
        self.reading = advance_reading(self.reading, ReadingEvent.ACCEPTED)
        if self.reading is _OPEN and self._decoder.pending:
            self.inbound.heard_at = trio.current_time()
            self.proceed()  # which wakes trio-websocket's reader if there was something for it
        self.transport.update()

    def begin_closing(self) -> None:
        """The connection is about to be closed: answer no more Pings, take no more messages from senders."""
        self.send_buffer.begin_closing()
        self.controls.changed.wake()

    def drop_messages(self) -> None:
        """Throw away what is queued."""
        self._queue.clear()

    def stop_receiving(self) -> None:
        """Queue no more messages; `receive` gives what is queued and then raises `trio.EndOfChannel`."""
        self._queue.end()

    def discard_input(self) -> None:
        """Throw away what is queued and what comes from now on, so that it never fills the queue."""
        self._queue.discard()

    async def linger(self) -> None:
        """Half-close, and discard what the peer still sends until it has closed too. The caller bounds the time."""
        if self.reading is not Reading.FINISHED:
            self.reading = advance_reading(self.reading, ReadingEvent.LINGER)
            await self.transport.linger()

    def abort(self) -> None:
        """Give everything up, and let go of the stream: whoever waits here, for room or for data, waits no longer."""
        self.reading = advance_reading(self.reading, ReadingEvent.ABORTED)
        self.transport.close()  # first: it is to do nothing more
        self.send_buffer.abort()
        self._queue.end()
        self.controls.close()
        self._events.close()

    def receive(self) -> Awaitable[str | bytes]:
        """The next message. Raises as `ReceiveQueue.receive`."""
        return self._queue.receive()

    def send(self, message: str | bytes) -> Awaitable[None]:
        """Send a message once there is room; to be awaited at once. Raises as `SendBuffer.put_message`."""
        return self.send_buffer.put_message(encode_message(message))

    def send_nowait(self, message: str | bytes) -> None:
        """Send a message now. Raises as `SendBuffer.put_message_nowait`."""
        self.send_buffer.put_message_nowait(encode_message(message))

    def send_frame_nowait(self, frame: bytes) -> None:
        """Send a frame of `encode_message` now and as it is. Raises as `SendBuffer.put_frame_nowait`.

        Like all of these methods it leaves the idle time alone: what counts as activity is known above the wire.
        """
        self.send_buffer.put_frame_nowait(frame)

    def traffic(self) -> Traffic:
        """What has gone through it up to now."""
        return Traffic(
            messages_in=self.inbound.messages,
            messages_out=self.send_buffer.messages,
            bytes_in=self.inbound.bytes,
            bytes_out=self.send_buffer.bytes_written,
        )

    @property
    def read_interest(self) -> ReadInterest:
        """What the transport is to do next."""
        if self.reading is not _OPEN:
            if self.reading is Reading.HEAD:
                return ReadInterest.READ if self._decoder.pending < EARLY_SIZE else ReadInterest.PAUSED
            return ReadInterest.READ if self.reading is Reading.LINGERING else ReadInterest.NOTHING
        if self._queue.above_soft:
            if self._queue.above_hard:
                return ReadInterest.PAUSED
            if not self.transport.probing:
                return ReadInterest.THROTTLED
        return ReadInterest.DECODE if self.backlog else ReadInterest.READ

    @property
    def read_size(self) -> int:
        """How many bytes the transport may read at once."""
        if self.reading is Reading.HEAD:
            return min(READ_SIZE, EARLY_SIZE - self._decoder.pending)
        if self.reading is not _OPEN or self._decoder.missing > LARGE_READ_SIZE:
            return MAX_READ_SIZE
        return LARGE_READ_SIZE if self._decoder.announced > READ_SIZE else READ_SIZE

    def feed(self, data: bytes | bytearray, now: float) -> bool:
        """Take what the transport has read `now`, nothing for the end; whether `read_interest` may have changed."""
        inbound = self.inbound
        inbound.bytes += len(data)
        if not data:
            self.lose(ReadingEvent.END_OF_STREAM)
        elif self.reading is _OPEN:
            inbound.heard_at = now
            message = self._decoder.receive_message(data)
            if message is not None:
                inbound.messages += 1
                inbound.message_at = now
                queue = self._queue
                queue.put(message)
                if not self.controls.defers_messages:
                    queue.announce()
                return queue.above_soft
            self._decoder.receive_data(data)
            self.proceed()
        elif self.reading is Reading.HEAD:
            self._decoder.receive_data(data)
        return True

    def proceed(self) -> None:
        """Decode one turn's worth of what has come, or as much as the handler may have for now."""
        queue, inbound = self._queue, self.inbound
        decoded, messages, self.backlog = 0, inbound.messages, True
        try:
            for _ in range(FRAMES_PER_TURN):
                event = self._decoder.next_event()
                if event is None:
                    self.backlog = self._decoder.has_more
                    break
                if isinstance(event, Control):
                    self._take_control(event)
                    continue
                inbound.messages += 1
                decoded += len(event)
                queue.put(event)
                if queue.above_soft and (queue.above_hard or not self.transport.probing):
                    break
                if decoded > BYTES_PER_TURN:
                    break
        except ProtocolViolation as violation:
            self.reading = advance_reading(self.reading, ReadingEvent.VIOLATION)
            self.controls.changed.wake()
            self._events.tell(violation)
        if inbound.messages > messages:
            inbound.message_at = inbound.heard_at
            if not self.controls.defers_messages:
                queue.announce()

    def lose(self, how: ReadingEvent = ReadingEvent.VANISHED) -> None:
        """The peer has gone, or, with `END_OF_STREAM`, has been read to its end; what it sent last is not decoded."""
        had_ended = self.reading >= Reading.ENDED
        self.reading = advance_reading(self.reading, how)
        self.controls.changed.wake()
        if not had_ended:  # or what ended it has been told
            self._queue.end()
            self._events.tell(PeerVanished())

    def fail(self, fault: Exception) -> None:
        """The transport has failed in a way that nobody foresaw, which must harm nobody else."""
        self.reading = advance_reading(self.reading, ReadingEvent.FAULT)
        self._queue.end()
        self.controls.changed.wake()
        self._events.tell(fault)

    def _take_control(self, control: Control) -> None:
        if control.opcode is Opcode.PONG:
            return
        self.controls.put(control)
        if control.opcode is Opcode.CLOSE:
            self.reading = advance_reading(self.reading, ReadingEvent.CLOSE)
            self._queue.end()
            self._events.tell(PeerClosed(control.code, control.reason))
