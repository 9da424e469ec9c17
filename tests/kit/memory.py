"""What the tests over memory streams share: a client that speaks in bytes, and a stream that misbehaves."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import final

import trio
import trio.testing
from attrs import define, field

from seawall.app import App
from seawall.errors import Disconnected
from seawall.testing.client import HOST
from tests.kit import wire
from tests.kit.wire import CLOSE, TEXT, Frame, close_frame, frame, take


def request(path: str = "/", *fields: str) -> bytes:
    """A request head that asks for an upgrade, as a client over memory does."""
    return wire.request(path, *(field.encode() for field in fields), host=HOST.encode())


def text(message: str) -> bytes:
    """A text message in one frame."""
    return frame(TEXT, message.encode())


def close(code: int = 1000, reason: str = "") -> bytes:
    """A Close frame."""
    return close_frame(code, reason.encode())


#: A frame with a reserved bit set.
BROKEN = b"\xc1\x80\x00\x00\x00\x00"


@final
@define
class Peer:
    """A client that says exactly what it is told to, and reads only when it is told to."""

    stream: trio.abc.Stream
    _heard: bytearray = field(factory=bytearray, init=False)

    async def say(self, *data: bytes) -> None:
        """Send all of this in one segment."""
        await self.stream.send_all(b"".join(data))

    async def hear(self) -> bool:
        """Read some more; False when there is nothing more."""
        try:
            data = await self.stream.receive_some()
        except trio.BrokenResourceError:
            return False
        self._heard += data
        return bool(data)

    async def head(self) -> str:
        """The head of the answer to a request."""
        while b"\r\n\r\n" not in self._heard:
            assert await self.hear(), f"no answer, only {bytes(self._heard)!r}"
        head, _, rest = self._heard.partition(b"\r\n\r\n")
        self._heard = rest
        return head.decode()

    async def open(self, path: str = "/", *fields: str, early: bytes = b"") -> None:
        """Ask for an upgrade and get it."""
        await self.say(request(path, *fields), early)
        head = await self.head()
        assert head.startswith("HTTP/1.1 101 "), head

    async def status(self) -> int:
        """The status of the answer to a request, when the server has closed the connection after it."""
        head = await self.head()
        await self.rest()
        return int(head.split()[1])

    async def frame(self) -> Frame | None:
        """The next frame; None if the server is gone."""
        while (found := take(self._heard)) is None:
            if not await self.hear():
                assert not self._heard, "torn"
                return None
        return found

    async def message(self) -> str:
        """The next frame, which is a text message."""
        found = await self.frame()
        assert found is not None
        assert found.opcode == TEXT, found
        return found.payload.decode()

    async def closing(self) -> tuple[int, str] | None:
        """The code and the reason of the server's Close; None if it went away without one."""
        while (found := await self.frame()) is not None:
            if found.opcode == CLOSE:
                return found.closing
        return None

    async def rest(self) -> bytes:
        """Everything until the server is gone."""
        while await self.hear():
            pass
        rest, self._heard = bytes(self._heard), bytearray()
        return rest


@final
class Wire(trio.abc.HalfCloseableStream):
    """The server's end of a connection, which stalls, breaks and fails as it is told to, and remembers."""

    def __init__(self, stream: trio.abc.HalfCloseableStream | None = None) -> None:
        """Wrap `stream`, or the near end of a new pair whose other end is `far`."""
        near, self.far = trio.testing.memory_stream_pair()
        self._stream = stream or near
        self.written = bytearray()
        """What was written, whole or in part."""
        self.taken = 0
        """Bytes that were read."""
        self._flow = trio.Event()
        self.flow()
        self.send_error: Exception | None = None
        self.receive_error: Exception | None = None
        """Raised once: by the next call, or by one that is already waiting as soon as data come."""
        self.close_error: Exception | None = None
        self.ended_at = math.inf
        """When it was half-closed."""
        self.closed_at = math.inf

    def stall(self) -> None:
        """Let writing get nowhere, until `flow`."""
        self._flow = trio.Event()

    def flow(self) -> None:
        """Let writing go on."""
        self._flow.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write."""
        await trio.lowlevel.checkpoint()
        if self.send_error is not None:
            raise self.send_error
        await self._flow.wait()
        await self._stream.send_all(data)
        self.written += data

    async def wait_send_all_might_not_block(self) -> None:
        """Nobody asks."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Half-close."""
        self.ended_at = trio.current_time()
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Read."""
        data = b"" if self.receive_error else await self._stream.receive_some(max_bytes)
        if self.receive_error is not None:
            await trio.lowlevel.checkpoint()  # a read that is cancelled here leaves it for the next one
            error, self.receive_error = self.receive_error, None
            raise error
        self.taken += len(data)
        return data

    async def aclose(self) -> None:
        """Close."""
        self.closed_at = min(self.closed_at, trio.current_time())
        try:
            await self._stream.aclose()
        finally:
            if self.close_error is not None:
                raise self.close_error


@final
class Doorstep(trio.abc.Listener[trio.abc.Stream]):
    """A listener whose connections a test makes itself."""

    def __init__(self) -> None:
        """Listen."""
        self._put, self._get = trio.open_memory_channel[trio.abc.Stream | OSError](math.inf)
        self.closed = 0
        """How often it was closed."""

    def arrive(self, stream: trio.abc.Stream | OSError) -> None:
        """Let somebody come, or let accepting fail."""
        self._put.send_nowait(stream)

    async def accept(self) -> trio.abc.Stream:
        """The next one who came."""
        arrived = await self._get.receive()
        if isinstance(arrived, OSError):
            raise arrived
        return arrived

    async def aclose(self) -> None:
        """Stop listening."""
        self.closed += 1
        await self._get.aclose()


def living() -> int:
    """How many tasks there are."""
    return trio.lowlevel.current_statistics().tasks_living


@asynccontextmanager
async def wired(app: App, wire: Wire) -> AsyncGenerator[Peer]:
    """Serve `app` to one connection, whose server's end is `wire`."""
    listener = Doorstep()
    before = living()
    async with trio.open_nursery() as nursery:
        await app.start(nursery, listeners=[listener])
        listener.arrive(wire)
        yield Peer(wire.far)
        nursery.cancel_scope.cancel()
    assert living() == before


@contextmanager
def telling(tell: Callable[[str], None]) -> Generator[None]:
    """Tell how the block ends, when it does: "returned", "cancelled", "Disconnected" or "failed"."""
    how = "failed"
    try:
        yield
        how = "returned"
    except trio.Cancelled:
        how = "cancelled"
        raise
    except Disconnected:
        how = "Disconnected"
        raise
    finally:
        tell(how)
