"""The network between a test's client and its app: connections in memory, which fail when a test says so.

The buffers of a real network hide a fault for a while. This one has none in normal operation, nor when a side stalls;
only what is sent while the cable is unplugged is buffered, up to `SYSTEM_BUFFER`. So the moment at which each fault is
seen is known to the test.
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

#: Bytes that each end can send while the cable is unplugged, before sending waits, as a kernel would buffer them.
SYSTEM_BUFFER: Final = 64 * 1024


@final
@define(eq=False)
class _Way:
    """One direction of a connection."""

    _sender: MemorySendStream = field(init=False, factory=MemorySendStream)
    _receiver: MemoryReceiveStream = field(init=False, factory=MemoryReceiveStream)
    _stalled: bool = field(init=False, default=False)  # whether the receiver takes nothing
    _ended: bool = field(init=False, default=False)  # whether either end has closed it
    _is_reset: bool = field(init=False, default=False)
    _cuts: int = field(init=False, default=0)  # how often it is unplugged
    _held: int = field(init=False, default=0)  # bytes sent since then
    _waiting: trio.lowlevel.ParkingLot = field(init=False, factory=trio.lowlevel.ParkingLot)

    def __attrs_post_init__(self) -> None:
        """Deliver what is sent."""
        self._sender.send_all_hook = self._deliver
        self._sender.close_hook = self._carry

    @property
    def standing(self) -> list[str]:
        """What a test has done to it, as verbs of the one that receives."""
        done = {"reset": self._is_reset, "unplugged": bool(self._cuts), "stalled": self._stalled}
        return [name for name, is_so in done.items() if is_so]

    @property
    def is_ended(self) -> bool:
        """Whether either end has closed it."""
        return self._ended

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
        """Stop the receiver taking anything, or let it take again."""
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
            with suppress(trio.BrokenResourceError):  # the receiver has gone, which the next `send` will raise
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
            memory_stream_pump(self._sender, self._receiver)  # delivers the data ...
            memory_stream_pump(self._sender, self._receiver)  # ... and end-of-file, if the sender has closed

    @contextmanager
    def _broken_by_reset(self) -> Generator[None]:
        """Raise BrokenResourceError in place of ClosedResourceError after a reset."""
        try:
            yield
        except trio.ClosedResourceError:
            if self._is_reset:
                raise trio.BrokenResourceError("the connection was reset") from None
            raise


@final
@define(eq=False)
class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory, with methods that make the network fail; `connected` makes two."""

    _out: _Way = field(repr=False)
    _back: _Way = field(repr=False)

    @property
    def standing(self) -> str:
        """How the connection stands at this end, such as ``open``, ``closed`` or ``open, but stalled``."""
        word = "closed" if self._back.is_ended else "half-closed by this client" if self._out.is_ended else "open"
        return ", but ".join([word, *self._back.standing])

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
        """Wait until `send_all` would not wait."""
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
    """A listener without a network: `connect` makes a connection, which `accept` returns."""

    def __init__(self) -> None:
        """Start listening."""
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](math.inf)

    def connect(self) -> MemoryStream:
        """The client's end of a new connection. Raises `trio.BrokenResourceError` once it is closed."""
        ours, theirs = connected()
        self._send.send_nowait(theirs)
        return ours

    async def accept(self) -> trio.abc.Stream:
        """The server's end of the next connection."""
        return await self._receive.receive()

    async def aclose(self) -> None:
        """Stop listening, and close the connections that have not been accepted, as a kernel does."""
        try:
            while True:
                await trio.aclose_forcefully(self._receive.receive_nowait())
        except (trio.WouldBlock, trio.ClosedResourceError):
            await self._receive.aclose()


@final
@define(eq=False)
class Line(trio.abc.Stream):
    """The stream under the client's trio-websocket, which writes one whole frame at a time.

    It notices when the app closes the socket during the handshake, which trio-websocket would wait for without end. It
    can also drop the client's control frames of one kind.
    """

    stream: MemoryStream
    """The end itself."""
    bytes_in: int = field(default=0, init=False)
    """Bytes that have come from the app."""
    pongs: int = field(default=0, init=False)
    """Pings of the app that have been answered, or would have been if Pongs were not withheld."""
    _ended: trio.Event = field(factory=trio.Event, init=False)
    _withheld: set[bytes] = field(factory=set[bytes], init=False)  # first bytes of the frames that are not sent

    @property
    def standing(self) -> str:
        """How the connection stands at the client's end, and what it no longer answers."""
        ignored = [name for name, first in _ANSWERS.items() if first in self._withheld]
        return self.stream.standing + (f", and this client answers no {' and no '.join(ignored)}" if ignored else "")

    def withhold(self, opcode: Opcode) -> None:
        """Drop the client's control frames with this `opcode` from now on."""
        self._withheld.add(_first_byte(opcode))

    def release(self, opcode: Opcode) -> None:
        """Stop dropping them."""
        self._withheld.discard(_first_byte(opcode))

    async def wait_ended(self, dialing: trio.CancelScope) -> None:
        """Cancel `dialing` at the end of the stream; without effect when the handshake is done."""
        await self._ended.wait()
        dialing.cancel()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write."""
        self.pongs += data[:1] == _PONG
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
        self.bytes_in += len(data)
        return data

    async def aclose(self) -> None:
        """Close."""
        await self.stream.aclose()


def _first_byte(opcode: Opcode) -> bytes:
    return bytes([0x80 | opcode])  # control frames are never fragmented (RFC 6455, section 5.5)


_PONG: Final = _first_byte(Opcode.PONG)
_ANSWERS: Final = {"Ping": _PONG, "Close": _first_byte(Opcode.CLOSE)}
