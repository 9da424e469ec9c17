"""A WebSocket client that is not ours, on any stream: it speaks RFC 6455 by hand and shares no code with Seawall.

So it can also break every rule.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
from typing import Final, NamedTuple, final

import trio
from attrs import define, field, frozen

#: Seconds in which anything that a test waits for has to happen.
PATIENCE: Final = 10.0

# Over sockets the tests say *what* happens; *when* it does, `tests.test_limits_moments` says to the instant, in virtual
# time. So both of these leave time for a machine that is busy with others, and are shorter than the default limits.

#: Seconds in which something has to happen for which nothing has to be waited.
SOON: Final = 3.0

#: Seconds in which a TCP connection that is over has to be closed: a second of lingering, and some for the machine.
PROMPT: Final = 4.5

#: Opcodes (RFC 6455, section 5.2).
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

#: The key of every handshake (RFC 6455, section 1.3).
KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="


def request(path: str = "/echo", *extra: bytes, host: bytes = b"localhost") -> bytes:
    """The bytes of a good opening handshake for `path`, with `extra` header lines."""
    lines = [
        b"GET %b HTTP/1.1" % path.encode(),
        b"Host: " + host,
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: " + KEY.encode(),
        b"Sec-WebSocket-Version: 13",
        *extra,
    ]
    return b"\r\n".join([*lines, b"", b""])


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = b"\x5a\x00\xff7"
) -> bytes:
    """One frame as a client sends it; without a `mask` it is one that no client may send."""
    size, marked = len(payload), 0 if mask is None else 0x80
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if size < 126:
        header = struct.pack("!BB", first, marked | size)
    elif size < 1 << 16:
        header = struct.pack("!BBH", first, marked | 126, size)
    else:
        header = struct.pack("!BBQ", first, marked | 127, size)
    if mask is None:
        return header + payload
    whole = mask * (size // 4 + 1)
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(whole[:size], "big")
    return header + mask + masked.to_bytes(size, "big")


def close_frame(code: int = 1000, reason: bytes = b"") -> bytes:
    """A Close frame as a client sends it."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


class Frame(NamedTuple):
    """One frame that the server sent, which is a whole message."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """The code of a Close frame."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005

    @property
    def reason(self) -> str:
        """The reason of a Close frame."""
        return self.payload[2:].decode()

    @property
    def closing(self) -> tuple[int, str]:
        """The code and the reason of a frame that must be a Close."""
        assert self.opcode == CLOSE, self
        return self.code, self.reason


def take(buffer: bytearray) -> Frame | None:
    """Take the first frame off what a server has written; None if it is not all there."""
    if len(buffer) < 2:
        return None
    first, size, start = buffer[0], buffer[1], 2
    assert first >= 0x80, "a server of ours sends whole messages"
    assert not first & 0x70, "reserved bits"
    assert first & 0x0F in {TEXT, BINARY, CLOSE, PING, PONG}, "unknown opcode"
    assert size < 0x80, "masked"
    if size >= 126:
        start = 4 if size == 126 else 10
        if len(buffer) < start:
            return None
        size = int.from_bytes(buffer[2:start], "big")
    if len(buffer) < start + size:
        return None
    found = Frame(first & 0x0F, bytes(buffer[start : start + size]))
    del buffer[: start + size]
    return found


def frames(data: bytes | bytearray) -> list[Frame]:
    """What a server has written, which must be whole frames and nothing else."""
    buffer = bytearray(data)
    found: list[Frame] = []
    while buffer:
        one = take(buffer)
        assert one is not None, f"torn: {bytes(buffer[:20])!r} ..."
        found.append(one)
    return found


@final
@frozen
class Response:
    """An HTTP answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """The only header called `name`."""
        (value,) = [value for key, value in self.headers if key == name.lower()]
        return value


@final
@define(eq=False)
class RawClient:
    """A WebSocket client without manners, on any stream."""

    stream: trio.abc.Stream
    socket: trio.socket.SocketType | None = None
    """What is under it all; None for a memory stream."""
    tls: trio.SSLStream[trio.SocketStream] | None = None
    """The stream, if it is TLS."""
    patience: float = PATIENCE
    """Seconds that anything which it sends or reads may take."""
    _buffer: bytearray = field(init=False, factory=bytearray)
    _limit: tuple[int, float] = field(init=False, default=(64 * 1024, 0.0))

    async def send(self, *pieces: bytes) -> None:
        """Send the pieces in one segment."""
        with trio.fail_after(self.patience):
            await self.stream.send_all(b"".join(pieces))

    async def insist(self, data: bytes, *, every: float = 0.01) -> None:
        """Send `data` again and again, until it is no longer taken."""
        try:
            while True:
                await self.send(data)
                await trio.sleep(every)
        except trio.BrokenResourceError:
            return

    async def upgrade(self, path: str = "/echo", *extra: bytes, then: bytes = b"") -> Response:
        """Open a WebSocket, with more bytes in the same segment; the 101."""
        await self.send(request(path, *extra), then)
        answer = await self.response()
        assert answer.status == 101, answer
        return answer

    async def response(self) -> Response:
        """Read an HTTP answer with its body."""
        head = await self._until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        pairs = [line.split(":", 1) for line in lines]
        headers = tuple((name.lower(), value.strip()) for name, value in pairs)
        status = int(status_line.split(" ")[1])
        size = int(dict(headers).get("content-length", "0"))
        return Response(status, headers, await self._exactly(size))

    async def last_response(self) -> Response:
        """Read an HTTP answer that must be the end of the connection, at once and with nothing after it."""
        answer = await self.response()
        started = trio.current_time()
        assert not await self._more(), f"something follows the answer: {bytes(self._buffer[:100])!r}"
        took = trio.current_time() - started
        await self._let_go()
        assert took < PROMPT, f"it took {took:.2f} s"
        return answer

    async def echo(self, payload: bytes) -> float:
        """Send a text and read it back, Pings aside; the seconds that it took."""
        sent = trio.current_time()
        await self.send(frame(TEXT, payload))
        assert await self.but_pings() == Frame(TEXT, payload)
        return trio.current_time() - sent

    async def silence(self, seconds: float) -> None:
        """Nothing may come for so long."""
        with trio.move_on_after(seconds):
            raise AssertionError(f"{await self.frame()} where nothing should be")

    async def frame(self) -> Frame:
        """Read one frame and check that it is one that a server may send."""
        while (found := take(self._buffer)) is None:
            assert await self._fill(), f"closed in the middle of {bytes(self._buffer[:100])!r}"
        return found

    async def but_pings(self) -> Frame:
        """The next frame that is no Ping; none is answered."""
        while (found := await self.frame()).opcode == PING:
            pass
        return found

    async def slow_frame(self, size: int, *, every: float) -> Frame:
        """As `frame`, but reading no more than `size` bytes in `every` seconds."""
        held = self._limit
        self._limit = (size, every)
        try:
            return await self.frame()
        finally:
            self._limit = held

    async def closed(self) -> Frame:
        """Read until the Close frame; it."""
        while (found := await self.frame()).opcode != CLOSE:
            pass
        return found

    async def end(self, *, within: float = PROMPT, answer: bool = False) -> list[Frame]:
        """Read until the server has closed the TCP connection, and close it too; all the frames that came.

        Fails if that takes longer, if it is not a whole number of frames, or if anything follows a Close.

        Args:
          within: seconds.
          answer: answer the Close, as a client that is well-bred does.
        """
        started, found = trio.current_time(), list[Frame]()
        while await self._more():
            assert not found or found[-1].opcode != CLOSE, "something follows a Close"
            found.append(await self.frame())
            if answer and found[-1].opcode == CLOSE:
                await self.send(frame(CLOSE, found[-1].payload[:2]))
        took = trio.current_time() - started
        await self._let_go()
        assert took < within, f"it took {took:.2f} s"
        return found

    async def rest(self) -> list[Frame]:
        """The frames that come before the server ends the connection, which may be in the middle of another one.

        A Close is answered.
        """
        found = list[Frame]()
        while await self._fill():
            while (one := take(self._buffer)) is not None:
                found.append(one)
                if one.opcode == CLOSE:
                    await self.send(frame(CLOSE, one.payload[:2]))
        return found

    async def dismissal(self, *, within: float = PROMPT, answer: bool = False) -> Frame:
        """The Close frame that ends it all, whatever comes before it; as `end`."""
        *_, last = await self.end(within=within, answer=answer)
        assert last.opcode == CLOSE, last
        return last

    async def eof(self) -> float:
        """Wait until the server has closed the TCP connection, whatever it sends, and close it too; the seconds."""
        started = trio.current_time()
        self._buffer.clear()
        while await self._more():
            self._buffer.clear()
        took = trio.current_time() - started
        await self._let_go()
        return took

    @property
    def unsent(self) -> int:
        """Bytes that have not arrived at the server's kernel; on a Unix socket, which has no way, there are none."""
        assert self.socket is not None
        if self.socket.family == socket.AF_UNIX:
            return 0
        answer = fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(answer, sys.byteorder)

    def finish(self) -> None:
        """Say that nothing more will come, and go on reading."""
        assert self.socket is not None
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the TCP connection, without a Close frame or TLS's farewell."""
        assert self.socket is not None
        self.socket.close()

    async def _let_go(self) -> None:
        if self.socket is None:
            await trio.aclose_forcefully(self.stream)
        else:
            self.socket.close()

    def reset(self) -> None:
        """Vanish: the kernel answers everything from now on with a reset, and sends one."""
        assert self.socket is not None
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            assert await self._fill(), f"closed in the middle of {bytes(self._buffer)!r}"
        return await self._exactly(self._buffer.index(end) + len(end))

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            assert await self._fill(), f"closed in the middle of {bytes(self._buffer[:100])!r}"
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    async def _more(self) -> bool:
        return bool(self._buffer) or await self._fill()

    async def _fill(self) -> bool:
        size, every = self._limit
        await trio.sleep(every)
        with trio.fail_after(self.patience):
            try:
                data = await self.stream.receive_some(size)
            except trio.BrokenResourceError:
                return False
        self._buffer += data
        return bool(data)
