"""`MessageChannel`: the messages of one connection, decoded, counted and queued, over a `Transport`.

The transport reads bytes and hands them to the channel. The channel puts messages into a `ReceiveQueue`, for the
handler, and Pings and the Close into a `ControlQueue`, from which a `ControlStream` hands them to trio-websocket. The
handler and trio-websocket both send through one `SendBuffer`. What ends the conversation, the channel tells its one
listener as a `WireEvent`.

Which functions are called, in order:

- a message in, whole in one read: `Transport` reads, `MessageChannel.feed`, `FrameDecoder.receive_message`,
  `ReceiveQueue.put`; the handler waits in `ReceiveQueue.receive`.
- one in several reads, or behind another: `feed`, `FrameDecoder.receive_data`, `proceed`, `ReceiveQueue.put`,
  `ReceiveQueue.announce`.
- a message out: `SendBuffer.put_message`, `Transport.write`.
- a Ping in: `feed`, `proceed`, `ControlQueue.put`; trio-websocket reads it from `ControlStream.receive_some` and writes
  its answer to `ControlStream.send_all`.
- an end: `feed`, `proceed`, `lose` or `fail`, `advance_reading`, `WireEvents.tell`.

A method that need not wait is no checkpoint: a turn of the scheduler costs more than what the method does.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Awaitable
from typing import Final, final

import trio
from attrs import define

from seawall.errors import ProtocolViolation
from seawall.limits import Limits
from seawall.wire.budget import Budget
from seawall.wire.control_queue import ControlQueue
from seawall.wire.events import MessageBegun, PeerClosed, PeerFinished, PeerVanished, WireEvents, WireListener
from seawall.wire.frames.codes import Opcode
from seawall.wire.frames.control import Control
from seawall.wire.frames.decoder import FrameDecoder, Position
from seawall.wire.frames.deflate import Agreement
from seawall.wire.frames.encoder import encode_message
from seawall.wire.message_timer import MessageTimer
from seawall.wire.receive_queue import ReceiveQueue, size_of
from seawall.wire.send_buffer import SendBuffer
from seawall.wire.state import Reading, ReadingEvent, advance_reading
from seawall.wire.traffic import Inbound, Traffic
from seawall.wire.transport.base import LARGE_READ_SIZE, MAX_READ_SIZE, READ_SIZE, ReadInterest, Transport

#: Frames decoded before the other tasks have a turn. 16 KiB may hold 2,700.
FRAMES_PER_TURN: Final = 64

#: Bytes of messages decoded before the other tasks have a turn: 16 KiB that are compressed may become 16 MiB.
BYTES_PER_TURN: Final = 256 * 1024

#: Bytes that are read and not decoded before the guards have let the connection in.
EARLY_SIZE: Final = 64 * 1024


@final
class Guards(enum.Enum):
    """Whether guards decide about the peer, and so what becomes of messages."""

    DECIDE = "decide"
    """They do; messages wait as they came."""
    ASK = "ask"
    """One of them waits for a message: one is decoded."""
    OVER = "over"
    """They have let the peer in; messages are queued for the handler."""


# Globals, because to look a member up in its enum costs as much as a call, and every read compares with these.
_OPEN: Final = Reading.OPEN
_OVER: Final = Guards.OVER
_DECIDE: Final = Guards.DECIDE
_UNDECIDED: Final = (Reading.HEAD, Reading.GUARDED)
_DECODING: Final = (Reading.GUARDED, Reading.OPEN)


@final
@define(eq=False)
class ChannelSettings:
    """What a channel has to know before the first byte comes."""

    limits: Limits
    """Message size and fragments, buffers."""
    agreement: Agreement | None = None
    """How messages are compressed in both directions; None if compression was not agreed on."""


@final
class MessageChannel:
    """One connection's messages, in and out."""

    __slots__ = (
        "_decoder",
        "_events",
        "accepted",
        "backlog",
        "controls",
        "guards",
        "inbound",
        "queue",
        "reading",
        "send_buffer",
        "timer",
        "transport",
    )

    def __init__(
        self,
        transport: Transport,
        settings: ChannelSettings,
        budget: Budget,
        listener: WireListener,
    ) -> None:
        """Make the parts, and start the transport.

        Args:
          transport: carries the bytes; it has no channel yet.
          settings: hold for as long as the channel lives.
          budget: of the server.
          listener: is told `SendBlocked`, and what ends the conversation. The latter may happen more than once; then
            the first call counts.
        """
        limits, agreement = settings.limits, settings.agreement
        self.transport = transport
        """Carries the bytes."""
        self.reading = Reading.HEAD
        """What is done with the bytes that come. Only `advance_reading` gives the next state."""
        self.guards = Guards.DECIDE
        """Whether guards still decide; `admit` ends that."""
        self.accepted = False
        """Whether the 101 has been sent: from then on a refusal is a close code, not an HTTP status."""
        self.backlog = False
        """Whether bytes that could be decoded now are still in the decoder."""
        self.inbound = Inbound()
        """How much has come so far, and when."""
        self._events = WireEvents(listener)
        self.timer = MessageTimer()
        """Since when a message has been incomplete."""
        self.queue = ReceiveQueue(limits, budget, transport)
        """The messages that the handler has not received yet."""
        self._decoder = FrameDecoder(
            max_message_size=min(limits.max_first_message, limits.max_message_size),
            max_fragments=limits.max_fragments,
            inflater=agreement.inflater() if agreement is not None else None,
        )
        self.controls = ControlQueue(self.queue)
        """The control frames that trio-websocket has yet to read."""
        self.send_buffer = SendBuffer(transport, budget, self._events, limit=limits.outbound_buffer)
        """What sends messages and control frames."""
        if agreement is not None:
            self.send_buffer.deflater = agreement.deflater()
        transport.start(self)

    def accept(self, response: bytes) -> None:
        """Send the 101, then decode, first the frames that came before it. Raises as `SendBuffer.put`."""
        self.send_buffer.put(response)
        self.accepted = True
        is_over = self.guards is Guards.OVER
        how = ReadingEvent.ACCEPTED if is_over else ReadingEvent.ACCEPTED_BY_GUARD
        self.reading = advance_reading(self.reading, how)
        self._decode_pending()

    def admit(self, max_message_size: int) -> None:
        """Decode all messages, of up to `max_message_size` bytes, from now on: the guards have let the peer in."""
        self.guards = Guards.OVER
        if self.reading is Reading.FINISHED:
            self.queue.cut(max_message_size)
        self._decoder.max_message_size = max_message_size
        self.reading = advance_reading(self.reading, ReadingEvent.ADMITTED)
        if self.accepted:
            self._decode_pending()

    async def receive_for_guard(self) -> str | bytes:
        """The next message, while guards decide; one is decoded. Raises as `ReceiveQueue.receive`."""
        if self.reading is Reading.GUARDED and not self.queue:
            self.guards = Guards.ASK
            self._decode_pending()
        try:
            message = await self.queue.receive()
        finally:
            if self.guards is Guards.ASK:
                self.guards = _DECIDE
        if self.reading is Reading.FINISHED and size_of(message) > self._decoder.max_message_size:
            raise trio.EndOfChannel  # `_decode_rest` could not know for whom it was
        return message

    def _decode_pending(self) -> None:
        if self.reading in _DECODING and self._decoder.pending:
            self.inbound.heard_at = trio.current_time()
            self.proceed()  # wakes trio-websocket's reader if it has decoded a control frame
        self.transport.update()

    def begin_closing(self) -> None:
        """Refuse messages and answer no more Pings, because the connection is about to be closed."""
        self.send_buffer.begin_closing()
        self.controls.changed.wake()
        if self.guards is not _OVER:
            self.inbound.refuse()
        if self.reading is Reading.GUARDED:
            self.admit(self._decoder.max_message_size)  # the peer's Close may stand behind messages for the guards

    async def linger(self) -> None:
        """Half-close, and discard what the peer sends until the peer has closed too. The caller bounds the time."""
        if self.reading is not Reading.FINISHED:
            self.reading = advance_reading(self.reading, ReadingEvent.LINGER)
            await self.transport.linger(self.inbound.allowed - self.inbound.bytes)

    def abort(self) -> None:
        """Send and read nothing more, and drop the stream. Whoever waits for room or for a message is woken."""
        self.reading = advance_reading(self.reading, ReadingEvent.ABORTED)
        self.transport.close()  # first, because what follows calls `Transport.update`
        self.send_buffer.abort()
        self.queue.end()
        self.controls.close()
        self._events.close()
        self._decoder.stop()
        self.queue.budget.inbound.hold_unfinished(self, 0, is_begun=False)

    def send(self, message: str | bytes) -> Awaitable[None]:
        """Send a message once there is room; await the result at once. Raises as `SendBuffer.put_message`."""
        return self.send_buffer.put_message(encode_message(message))

    def traffic(self) -> Traffic:
        """How much has gone through the connection up to now."""
        return Traffic(
            messages_in=self.inbound.messages,
            messages_out=self.send_buffer.messages,
            bytes_in=self.inbound.bytes,
            bytes_out=self.send_buffer.bytes_written,
            messages_dropped=self.queue.unreceived,
        )

    @property
    def read_interest(self) -> ReadInterest:
        """What the transport is to do next."""
        if self.reading is not _OPEN:
            if self.reading in _UNDECIDED:
                return ReadInterest.READ if self._decoder.pending < EARLY_SIZE else ReadInterest.PAUSED
            return ReadInterest.READ if self.reading is Reading.LINGERING else ReadInterest.NOTHING
        if self.queue.above_soft:
            if self.queue.above_hard:
                return ReadInterest.PAUSED
            if not self.transport.probing:
                return ReadInterest.THROTTLED
        return ReadInterest.DECODE if self.backlog else ReadInterest.READ

    @property
    def read_size(self) -> int:
        """How many bytes the transport may read at once."""
        if self.reading in _UNDECIDED:
            return min(READ_SIZE, max(1, EARLY_SIZE - self._decoder.pending))
        if self.reading is not _OPEN or self._decoder.missing > LARGE_READ_SIZE:
            return MAX_READ_SIZE
        return LARGE_READ_SIZE if self._decoder.announced > READ_SIZE else READ_SIZE

    def feed(self, data: bytes | bytearray, now: float) -> bool:
        """Take what the transport has read at the time `now`; empty `data` is the end of the stream.

        Returns:
          Whether `read_interest` may have changed.
        """
        inbound = self.inbound
        inbound.bytes += len(data)
        if not data:
            if self.reading is Reading.GUARDED:
                _decode_rest(self, self._decoder)
            self.lose(ReadingEvent.END_OF_STREAM)
        elif self.reading is _OPEN:
            inbound.heard_at = now
            message = self._decoder.receive_message(data)
            if message is not None:
                inbound.messages += 1
                inbound.message_at = now
                queue = self.queue
                queue.put(message, announced=not self.controls.defers_messages)
                return queue.above_soft
            self._decoder.receive_data(data)
            self.proceed()
        elif self.reading in _UNDECIDED:
            self._decoder.receive_data(data)
            if self.reading is Reading.GUARDED:
                inbound.heard_at = now
                self.proceed()
            else:
                self.queue.budget.inbound.hold_unfinished(self, self._decoder.pending, is_begun=False)
        if inbound.bytes > inbound.allowed:
            self.lose(ReadingEvent.END_OF_STREAM)
        return True

    def proceed(self) -> None:
        """Decode what has come, until the end of a turn (`FRAMES_PER_TURN`) or until a mark of the queue is reached."""
        queue, inbound = self.queue, self.inbound
        decoded, controls, messages, self.backlog = 0, 0, inbound.messages, True
        self.timer.follow(is_behind=queue.above_soft)
        try:
            for _ in range(FRAMES_PER_TURN):
                event = self._decoder.next_event(without_messages=self.guards is _DECIDE)
                if event is None:
                    self.backlog = self._decoder.has_more
                    break
                if isinstance(event, Control):
                    self._take_control(event)
                    controls += 1
                    continue
                inbound.messages += 1
                decoded += len(event)
                queue.put(event)
                if self.guards is not _OVER:
                    self.guards = _DECIDE
                elif queue.above_soft and (queue.above_hard or not self.transport.probing):
                    break
                if decoded > BYTES_PER_TURN and self._decoder.position is not Position.BETWEEN:
                    break
        except ProtocolViolation as violation:
            self.reading = advance_reading(self.reading, ReadingEvent.VIOLATION)
            self.controls.changed.wake()
            self._events.tell(violation)
        self.timer.follow(is_behind=queue.above_soft)
        if self.reading is not _OPEN and self.guards is not Guards.ASK:
            self.timer.stop()
        elif not self.backlog and self.timer.note(
            self._decoder.position, has_message=inbound.messages > messages, has_control=controls > 0
        ):
            self._events.tell(MessageBegun())
        if inbound.messages > messages:
            queue.budget.inbound.hold_unfinished(self, 0, is_begun=True)  # what is held now was begun later
            inbound.message_at = inbound.heard_at
            if not self.controls.defers_messages:
                queue.announce()
        is_begun = self._decoder.position is Position.IN_MESSAGE or not (self.backlog or self.guards is _DECIDE)
        queue.budget.inbound.hold_unfinished(self, self._decoder.pending, is_begun=is_begun)

    def lose(self, how: ReadingEvent = ReadingEvent.VANISHED) -> None:
        """Tell the listener that the peer has gone. Bytes that are not decoded yet never will be.

        Args:
          how: `END_OF_STREAM` if the stream has been read to its end, `RESET` if it broke off, else `VANISHED`.
        """
        had_ended = self.reading >= Reading.ENDED
        self.reading = advance_reading(self.reading, how)
        self.controls.changed.wake()
        if not had_ended:  # else the listener has been told what ended it
            self.queue.end()
            self._events.tell(PeerVanished(reset=how is not ReadingEvent.END_OF_STREAM))

    def finish(self) -> None:
        """Tell the listener, once, that the peer has closed its side while we do not read. What it sent can be read."""
        if self.inbound.finished_at == math.inf:
            self.inbound.finished_at = trio.current_time()
            self._events.tell(PeerFinished())

    def fail(self, fault: Exception) -> None:
        """Tell the listener of `fault`, which ends this connection alone; what is not decoded yet is dropped."""
        self._decoder.stop()
        self.reading = advance_reading(self.reading, ReadingEvent.FAULT)
        self.queue.end()
        self.controls.changed.wake()
        self._events.tell(fault)

    def _take_control(self, control: Control) -> None:
        if control.opcode is Opcode.PONG:
            return
        self.controls.put(control)
        if control.opcode is Opcode.CLOSE:
            self.reading = advance_reading(self.reading, ReadingEvent.CLOSE)
            self.queue.end()
            self._events.tell(PeerClosed(control.code, control.reason))


def _decode_rest(channel: MessageChannel, decoder: FrameDecoder) -> None:
    """Decode what is held, because it is all that comes, and a guard may still let the peer in.

    Compressed messages may be many times as large: `EARLY_SIZE` bytes of them are decoded, and the rest of the last.
    `MessageChannel.receive_for_guard` and `MessageChannel.admit` judge how large each is.
    """
    queue, room, channel.backlog = channel.queue, EARLY_SIZE, True
    most, decoder.max_message_size = decoder.max_message_size, EARLY_SIZE
    while channel.backlog and room > 0 and not queue.above_soft:
        before, channel.guards = channel.inbound.messages, Guards.ASK
        channel.proceed()
        if channel.inbound.messages > before and len(queue):
            room -= size_of(queue.peek(-1))
            channel.backlog = True
    channel.guards, decoder.max_message_size = _DECIDE, most
