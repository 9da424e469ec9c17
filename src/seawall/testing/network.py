"""The network between a test's client and its app: connections in memory, which fail when they are told to.

A network has buffers that hide for a while what goes wrong in it. This one has none while all is well, and while
somebody stalls; only what is sent into a cable that is unplugged is kept, up to `SYSTEM_BUFFER`. So each fault is seen
at a moment that a test can name.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final, final

import trio
from attrs import define, field
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pump

from seawall.wire.frames.codes import Opcode

#: Bytes that each end can send while the cable is unplugged, before sending waits: what its system would hold for it.
SYSTEM_BUFFER: Final = 64 * 1024


@final
@define(eq=False)
class _Way:
    """One direction of a connection."""

    _sender: MemorySendStream = field(init=False, factory=MemorySendStream)
    _receiver: MemoryReceiveStream = field(init=False, factory=MemoryReceiveStream)
    _stalled: bool = field(init=False, default=False)  # whether the receiver takes nothing
    _ended: bool = field(init=False, default=False)  # whether either end has closed it: then nobody waits
    _is_reset: bool = field(init=False, default=False)
    _cuts: int = field(init=False, default=0)  # how often it is unplugged
    _held: int = field(init=False, default=0)  # bytes sent since then
    _waiting: trio.lowlevel.ParkingLot = field(init=False, factory=trio.lowlevel.ParkingLot)

    def __attrs_post_init__(self) -> None:
        """Let what is sent arrive."""
        self._sender.send_all_hook = self._deliver
        self._sender.close_hook = self._carry

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send, once that is possible."""
        await self.wait_possible()
        if self._cuts:
            self._held += len(data)
        with self._broken_by_reset():
            await self._sender.send_all(data)

    async def wait_possible(self) -> None:
        """Wait until something can be sent. It is no checkpoint."""
        while not self._ended and (self._stalled or self._held >= SYSTEM_BUFFER):
            await self._waiting.park()

    async def receive(self, max_bytes: int | None) -> bytearray:
        """Receive."""
        with self._broken_by_reset():
            return await self._receiver.receive_some(max_bytes)

    def stall(self, *, stalled: bool) -> None:
        """Let the receiver take nothing, or take things again."""
        self._stalled = stalled
        self._waiting.unpark_all()

    def cut(self) -> None:
        """Let nothing arrive."""
        self._cuts += 1

    def mend(self) -> None:
        """Let everything arrive."""
        self._cuts -= 1
        if not self._cuts:
            self._held = 0
            self._waiting.unpark_all()
            with suppress(trio.BrokenResourceError):  # there is nobody any more, as the next one to send will find
                self._carry()

    def end(self) -> None:
        """Nothing more will be sent."""
        self._ended = True
        self._sender.close()
        self._waiting.unpark_all()

    def leave(self) -> None:
        """Nothing more will be received."""
        self._ended = True
        self._receiver.close()
        self._waiting.unpark_all()

    def reset(self) -> None:
        """Lose what is on its way, and fail at both ends."""
        self._is_reset = True
        self.end()
        self.leave()

    async def _deliver(self) -> None:
        self._carry()

    def _carry(self) -> None:
        if not self._cuts and not self._is_reset:
            memory_stream_pump(self._sender, self._receiver)  # what there is ...
            memory_stream_pump(self._sender, self._receiver)  # ... and that there is no more, if it is so

    @contextmanager
    def _broken_by_reset(self) -> Generator[None]:
        """After a reset it was not we who closed the stream."""
        try:
            yield
        except trio.ClosedResourceError:
            if self._is_reset:
                raise trio.BrokenResourceError("the connection was reset") from None
            raise


@final
@define(eq=False)
class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory, with verbs for what goes wrong in a network; `connected` makes two."""

    _out: _Way = field(repr=False)
    _back: _Way = field(repr=False)

    def stall(self) -> None:
        """Read no more: what the other end sends waits, as if every buffer on the way were full."""
        self._back.stall(stalled=True)

    def resume(self) -> None:
        """Read again."""
        self._back.stall(stalled=False)

    def half_close(self) -> None:
        """Send no more, as `send_eof`: the other end reads end-of-file, and may still send."""
        self._out.end()

    def reset(self) -> None:
        """Break the connection at both ends, without end-of-file; what has not been read yet is lost."""
        self._out.reset()
        self._back.reset()

    @contextmanager
    def unplugged(self) -> Generator[None]:
        """Let nothing arrive at either end inside of the block, and everything after it, in order."""
        self._out.cut()
        self._back.cut()
        try:
            yield
        finally:
            self._out.mend()
            self._back.mend()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write."""
        await self._out.send(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is a point in writing."""
        await trio.lowlevel.checkpoint()
        await self._out.wait_possible()

    async def send_eof(self) -> None:
        """Half-close."""
        self._out.end()
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Read."""
        return await self._back.receive(max_bytes)

    async def aclose(self) -> None:
        """Close."""
        self._out.end()
        self._back.leave()
        await trio.lowlevel.checkpoint()


def connected() -> tuple[MemoryStream, MemoryStream]:
    """Both ends of a new connection."""
    there, back = _Way(), _Way()
    return MemoryStream(there, back), MemoryStream(back, there)


@final
class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener without a network: `connect` makes a connection for whoever accepts from it."""

    def __init__(self) -> None:
        """Start listening."""
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](math.inf)

    def connect(self) -> MemoryStream:
        """The client's end of a new connection. Raises `trio.BrokenResourceError` when nobody listens any more."""
        ours, theirs = connected()
        self._send.send_nowait(theirs)
        return ours

    async def accept(self) -> trio.abc.Stream:
        """The server's end of the next connection."""
        return await self._receive.receive()

    async def aclose(self) -> None:
        """Stop listening, and hang up on those who have not been accepted, as a kernel does."""
        try:
            while True:
                await trio.aclose_forcefully(self._receive.receive_nowait())
        except (trio.WouldBlock, trio.ClosedResourceError):
            await self._receive.aclose()


@final
@define(eq=False)
class Line(trio.abc.Stream):
    """The client's end as trio-websocket is given it, which writes one whole frame at a time.

    It notices when the app hangs up: during the handshake trio-websocket would wait for ever. And it can keep some of
    the client's frames to itself.
    """

    stream: MemoryStream
    """The end itself."""
    _ended: trio.Event = field(factory=trio.Event, init=False)
    _withheld: set[bytes] = field(factory=set[bytes], init=False)  # first bytes of the frames that are not sent

    def withhold(self, opcode: Opcode) -> None:
        """Send no frames of this kind, a kind of control frame, from now on."""
        self._withheld.add(_first_byte(opcode))

    def release(self, opcode: Opcode) -> None:
        """Send them again."""
        self._withheld.discard(_first_byte(opcode))

    async def wait_ended(self, dialing: trio.CancelScope) -> None:
        """Cancel `dialing` at the end of the stream; it has no effect any more when that is over."""
        await self._ended.wait()
        dialing.cancel()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write."""
        if bytes(data[:1]) in self._withheld:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError:
            self._ended.set()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Part of the interface of a stream."""
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Read."""
        try:
            data = await self.stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._ended.set()
            raise
        if not data:
            self._ended.set()
        return data

    async def aclose(self) -> None:
        """Close."""
        await self.stream.aclose()


def _first_byte(opcode: Opcode) -> bytes:
    return bytes([0x80 | opcode])  # control frames are never fragmented (RFC 6455, section 5.5)
