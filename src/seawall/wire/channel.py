"""`MessageChannel`: the stream that trio-websocket is given, between it and the real one.

trio-websocket keeps the authority over the handshake, control frames and the closing handshake. Messages never
pass through it: the lane decodes them into an `ReceiveQueue` for the handler. What trio-websocket reads from the lane
is one
canonical request head and then one well-formed control frame at a time; what it writes joins the messages in one
`SendBuffer`. The bytes come and go through a `Transport`.

The rules that are easy to get wrong:

- A Ping must not reach trio-websocket once a Close has been decided: its answer would be illegal by then, and the
  reader would die of it. The check therefore sits at the very return of `receive_some`, after the last checkpoint.
- `aclose` closes nothing, for trio-websocket calls it even before our Close is written; the session closes the socket.
- Where these methods need not wait they are no checkpoints: a turn of the scheduler costs more than what they do.
- A Ping is answered before the handler is woken for the message that came after it; so trio-websocket's reader, having
  answered, does that. Behind a full buffer the handler does not wait for it.
- After a violation nothing that the peer sends matters; `receive_some` waits until our Close is written and then
  returns end-of-file, which is how trio-websocket learns that no answer will come.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, final

import trio
from attrs import define, field

from seawall.errors import ProtocolViolation
from seawall.limits import Limits
from seawall.wire.budget import Budget
from seawall.wire.codes import Opcode
from seawall.wire.control import Control, Controls
from seawall.wire.decoder import FrameDecoder
from seawall.wire.deflate import Agreement
from seawall.wire.encoder import compress_frame, encode_frame, encode_message
from seawall.wire.events import PeerClosed, PeerVanished, WireEnd
from seawall.wire.receive_queue import ReceiveQueue
from seawall.wire.send_buffer import SendBuffer
from seawall.wire.transport import ReadInterest, Transport
from seawall.wire.waiter import Waiter, nothing

#: Bytes read at once; and at most, in the middle of a frame that is larger.
READ_SIZE: Final = 16 * 1024
MAX_READ_SIZE: Final = 256 * 1024

#: Frames decoded before everybody else has a turn. 16 KiB may hold 2,700.
FRAMES_PER_TURN: Final = 64

#: Bytes of messages after which it is somebody else's turn as well: 16 KiB that are compressed may become 16 MiB.
BYTES_PER_TURN: Final = 256 * 1024

#: Bytes that a client may send after its request before it has been let in.
EARLY_SIZE: Final = 64 * 1024

_CLOSE_FRAME: Final = 0x80 | Opcode.CLOSE  # its first byte
_PING: Final = encode_frame(Opcode.PING, b"")


@final
@define(eq=False)
class MessageChannel(trio.abc.Stream):
    """One connection's frames, in and out."""

    _connect: Callable[[MessageChannel], Transport] = field(repr=False)
    """Makes the link."""
    _limits: Limits
    """Message size and fragments, buffers."""
    _budget: Budget
    """The server's."""
    _on_end: Callable[[WireEnd], None] = field(kw_only=True, alias="on_end")
    """Told what ends the conversation. It may be called more than once; the first call counts."""

    on_blocked: Callable[[], None] = field(init=False, default=nothing)
    """Called when something begins to wait for the peer to take it."""
    out: SendBuffer = field(init=False)
    """The way out."""
    opened: bool = field(init=False, default=False)
    """Whether the 101 is on its way: from then on refusals are close codes."""
    eof: bool = field(init=False, default=False)
    """Whether nothing more can come from the peer."""
    looking: bool = field(init=False, default=False)
    """Whether all that there is is to be taken in, though the handler is behind; the link ends that."""
    is_read: bool = field(init=False, default=True)
    """Whether trio-websocket still reads: `leave` has not been called."""
    backlog: bool = field(init=False, default=False)
    """Whether there is more to decode."""
    received: int = field(init=False, default=0)
    """Messages received."""
    bytes_in: int = field(init=False, default=0)
    """Bytes received."""
    heard_at: float = field(init=False, default=-math.inf)
    """When something last came, on Trio's clock."""
    message_at: float = field(init=False, default=-math.inf)
    """When a message last came, on Trio's clock."""

    _transport: Transport = field(init=False)
    _decoder: FrameDecoder = field(init=False)
    _queue: ReceiveQueue = field(init=False)
    _head: bytes = field(init=False, default=b"")
    _early: bytes = field(init=False, default=b"")
    _controls: Controls = field(init=False, factory=Controls)
    _close_put: bool = field(init=False, default=False)
    _dropping: bool = field(init=False, default=False)  # whether messages are thrown away
    _silent: bool = field(init=False, default=False)  # whether pings are answered no more
    _holding: bool = field(init=False, default=False)  # whether messages wait for the answer to a Ping
    _stuck: bool = field(init=False, default=False)  # whether that answer waits for room
    _done: bool = field(init=False, default=False)  # whether all that matters has come
    _lost: bool = field(init=False, default=False)
    _lingering: bool = field(init=False, default=False)
    _violated: bool = field(init=False, default=False)
    _closed: bool = field(init=False, default=False)  # whether trio-websocket is to be told end-of-file
    _news: Waiter = field(init=False, factory=Waiter)  # for who waits in `receive_some` or `wait_eof`
    _departure: Waiter = field(init=False, factory=Waiter)

    def __attrs_post_init__(self) -> None:
        """Make the parts."""
        limits = self._limits
        self._decoder = FrameDecoder(max_message_size=limits.max_message_size, max_fragments=limits.max_fragments)
        self._transport = self._connect(self)
        del self._connect
        self._queue = ReceiveQueue(limits, self._budget, on_change=self._transport.update)
        self.out = SendBuffer(self._transport, self._budget, limit=limits.outbound_buffer, on_change=self._on_pending)

    def present(self, head: bytes) -> None:
        """Give the request head that trio-websocket is to read first."""
        self._head = head

    def agree(self, agreement: Agreement) -> None:
        """Compress messages in both directions, as it was agreed on; to be called before anything is decoded."""
        self._decoder = FrameDecoder(
            max_message_size=self._limits.max_message_size,
            max_fragments=self._limits.max_fragments,
            inflater=agreement.inflater(),
        )
        self.out.seal = partial(compress_frame, deflater=agreement.deflater())

    def begin_closing(self) -> None:
        """The connection is over: answer no more pings, take no more messages from senders."""
        self._silent = True
        self.out.finish()
        self._news.wake()

    def drop_messages(self) -> None:
        """Throw away what is queued."""
        self._queue.clear()

    def stop_receiving(self) -> None:
        """Queue no more messages; `receive` gives what is queued and then `trio.EndOfChannel`."""
        self._dropping = True
        self._queue.end()
        self._transport.update()

    def discard_input(self) -> None:
        """Throw away what is queued and what comes from now on, so that it never fills the queue."""
        self._dropping = True
        self._queue.clear()
        self._transport.update()

    def put_close(self, frame: bytes) -> None:
        """Send a Close frame, ours or trio-websocket's; only the first one goes out."""
        if not self._close_put:
            self.out.put(frame)
            self._close_put = True
            self._news.wake()

    def ping(self) -> None:
        """Send a Ping, if the peer could get it at all: behind a full buffer it is of no use."""
        if len(self.out.pending) < self.out.limit:
            with suppress(trio.BrokenResourceError):  # the peer has just gone, as the reader will find out
                self.out.put(_PING)

    async def flush(self) -> None:
        """Wait until all that was sent is with the operating system, or cannot get there."""
        await self.out.wait_empty()

    async def linger(self) -> None:
        """Half-close, and discard what the peer still sends until it has closed too. The caller bounds the time."""
        if not self.eof:
            self._lingering = True
            await self._transport.linger()

    async def wait_eof(self) -> None:
        """For the link, while it lingers: wait until nothing more can come."""
        while not (self.eof or self.out.broken):
            await self._news.wait()

    def abort(self) -> None:
        """Give everything up, and let go of the stream: whoever waits here, for room or for data, waits no longer."""
        self._closed = True
        self._transport.close()  # first: it is to do nothing more
        self.out.abort()
        self.stop_receiving()
        self._news.wake()
        self._on_end = self.on_blocked = nothing  # circles would be left to the garbage collector

    def receive(self) -> Awaitable[str | bytes]:
        """The next message. Raises as `ReceiveQueue.receive`."""
        return self._queue.receive()

    def send(self, message: str | bytes) -> Awaitable[None]:
        """Send a message once there is room; to be awaited at once. Raises as `SendBuffer.put_message`."""
        return self.out.put_message(encode_message(message))

    def send_nowait(self, message: str | bytes) -> None:
        """Send a message now. Raises as `SendBuffer.put_message_nowait`."""
        self.out.put_message_nowait(encode_message(message))

    @property
    def read_interest(self) -> ReadInterest:
        """What the link is to do next."""
        if self._done:
            return ReadInterest.READ if self._lingering and not self.eof else ReadInterest.NOTHING
        if not self.opened:
            return ReadInterest.READ if len(self._early) < EARLY_SIZE else ReadInterest.PAUSED
        if self._queue.above_soft and not self._dropping:
            if self._queue.above_hard:
                return ReadInterest.PAUSED
            if not self.looking:
                return ReadInterest.THROTTLED
        return ReadInterest.DECODE if self.backlog else ReadInterest.READ

    @property
    def read_size(self) -> int:
        """How many bytes the link may read at once."""
        if not self.opened:
            return min(READ_SIZE, EARLY_SIZE - len(self._early))
        return MAX_READ_SIZE if self._lingering or self._decoder.missing > READ_SIZE else READ_SIZE

    def feed(self, data: bytes | bytearray, now: float) -> bool:
        """Take what the link has read `now`, nothing for the end; whether that may have changed what it is to do."""
        self.bytes_in += len(data)
        if not data:
            self.eof = True
            self.lose()
        elif not self.opened:
            self._early += data
        elif not self._lingering:
            self.heard_at = now
            message = self._decoder.receive_message(data)
            if message is not None:
                self._take_message(message)
                return self._queue.above_soft
            self._decoder.receive_data(data)
            self.proceed()
        return True

    def lose(self) -> None:
        """The peer has gone; what it sent last is not read any more."""
        self._lost = True
        self._news.wake()
        if not self._done:  # or `_on_end` knows already
            self.fail(PeerVanished())

    def fail(self, end: WireEnd) -> None:
        """The peer has gone, or the link has failed in a way that nobody foresaw, which must harm nobody else."""
        self._done = self._lost = True
        self._queue.end()
        self._news.wake()
        self._on_end(end)

    def proceed(self) -> None:
        """Decode one turn's worth of what has come, or as much as the handler may have for now."""
        decoded, received, self.backlog = 0, self.received, True
        try:
            for _ in range(FRAMES_PER_TURN):
                event = self._decoder.next_event()
                if event is None:
                    self.backlog = self._decoder.has_more
                    break
                if isinstance(event, Control):
                    self._take_control(event)
                    continue
                self.received += 1
                decoded += len(event)
                if not self._dropping:
                    self._queue.put(event)
                    if self._queue.above_soft and (self._queue.above_hard or not self.looking):
                        break
                if decoded > BYTES_PER_TURN:
                    break
        except ProtocolViolation as violation:
            self._done = self._violated = True
            self._news.wake()
            self._on_end(violation)
        if self.received > received:
            self.message_at = self.heard_at
            if not self._holding:
                self._queue.announce()

    def look(self) -> None:
        """Take in, once, all that there is, though the handler is behind: a Ping or a Close may be in it."""
        self.looking = True
        self._transport.update()

    @trio.lowlevel.enable_ki_protection
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Take what trio-websocket writes: first the 101, then control frames."""
        frame = bytes(data)
        if not self.opened:
            self.out.put(frame)
            self._open()
        elif frame[0] == _CLOSE_FRAME:
            self.out.finish()
            self.put_close(frame)
        else:
            if self.out.is_full(len(frame)):
                self._holding, self._stuck = False, True
                self._queue.announce()
            await self.out.put_control(frame)

    async def wait_send_all_might_not_block(self) -> None:
        """Part of the interface of a stream; the buffer is always there."""
        await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give trio-websocket the head, then one control frame a call, then end-of-file."""
        if self._head:
            head, self._head = self._head, b""
            return head
        self._stuck = False
        while not self._closed:
            if self._silent:
                self._controls.drop_pings()
            if self.opened and (control := self._controls.take()):
                return control
            self._holding = False
            self._queue.announce()
            if self._is_over():
                break
            await self._news.wait()
        self.leave()
        return b""

    def leave(self) -> None:
        """trio-websocket has been told end-of-file, or has crashed, and will not write any more."""
        self.is_read = False
        self._departure.wake()

    async def wait_left(self) -> None:
        """Wait until `leave`. Only one task may."""
        if self.is_read:
            await self._departure.wait()

    async def wait_released(self) -> None:
        """Wait, after `abort`, until nothing of ours uses the stream. Only one task may."""
        await self.wait_left()
        await self._transport.wait_released()

    async def aclose(self) -> None:
        """Only mark: the session closes the socket when our Close is out."""
        self._closed = True
        self._news.wake()

    def _is_over(self) -> bool:
        """Whether trio-websocket has nothing more to wait for."""
        gone = self.eof or self._lost or ((self._done or self._silent) and self.out.broken)
        return gone or (self._violated and self._close_put and not self.out.pending)

    def _open(self) -> None:
        """The 101 is on its way: what came early counts now."""
        self.opened = True
        early, self._early = self._early, b""
        if early:
            self.bytes_in -= len(early)  # which are counted again
            self.feed(early, trio.current_time())
        self._transport.update()
        self._news.wake()

    def _take_message(self, message: str | bytes) -> None:
        self.received += 1
        self.message_at = self.heard_at
        if not self._dropping:
            self._queue.put(message)
            if not self._holding:
                self._queue.announce()

    def _take_control(self, control: Control) -> None:
        if control.opcode is Opcode.PONG:
            return
        self._controls.put(control)
        self._news.wake()
        if control.opcode is Opcode.PING:
            self._holding = not self._stuck
        else:
            self._done = True
            self._queue.end()
            self._on_end(PeerClosed(control.code, control.reason))

    def _on_pending(self) -> None:
        """Something waits to be written, or nothing does any more."""
        self._transport.update()
        if self.out.pending:
            self.on_blocked()
        elif self._done:
            self._news.wake()  # our Close is out, or never will be
