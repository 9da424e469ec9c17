"""What tests of real connections need: a client that is not ours, servers on real sockets, and what must not be left.

The client speaks RFC 6455 by hand and shares no code with Seawall, so that it can also break every rule.
"""

from __future__ import annotations

import base64
import itertools
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias, Unpack, final

import trio
import trio.testing
import trustme
from attrs import define, field, frozen

from seawall.app import App
from seawall.connection import Connection
from seawall.guards.core import Anonymous, public
from seawall.limits import Limits
from seawall.listening import Listen
from seawall.server import Server

#: Seconds in which anything that a test waits for has to happen.
PATIENCE: Final = 10.0

#: Seconds that an innocent connection may ever have to wait for its echo.
UNDISTURBED: Final = 1.0

#: Seconds in which a TCP connection that is over has to be closed: a second of lingering, and some for the machine.
PROMPT: Final = 1.5

#: Opcodes (RFC 6455, section 5.2).
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

KEY: Final = base64.b64encode(b"sixteen bytes ok").decode()

Handler: TypeAlias = Callable[[Connection[Anonymous]], Awaitable[None]]


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


@final
@frozen
class Frame:
    """One frame that the server sent."""

    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def code(self) -> int:
        """The code of a Close frame."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005

    @property
    def reason(self) -> str:
        """The reason of a Close frame."""
        return self.payload[2:].decode()


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
    """A WebSocket client without manners, on any stream. Nothing that it reads may take longer than `PATIENCE`."""

    stream: trio.abc.Stream
    socket: trio.socket.SocketType | None = None
    """What is under it all; None for a memory stream."""
    tls: trio.SSLStream[trio.SocketStream] | None = None
    """The stream, if it is TLS."""
    _buffer: bytearray = field(init=False, factory=bytearray)

    async def send(self, *pieces: bytes) -> None:
        """Send the pieces in one segment."""
        with trio.fail_after(PATIENCE):
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

    async def frame(self) -> Frame:
        """Read one frame and check that it is one that a server may send."""
        first, second = await self._exactly(2)
        assert first & 0x70 == 0, "reserved bits"
        assert first & 0x0F in {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}, "unknown opcode"
        assert second < 0x80, "masked"
        size = second
        if second == 126:
            size = int.from_bytes(await self._exactly(2), "big")
        elif second == 127:
            size = int.from_bytes(await self._exactly(8), "big")
        return Frame(first & 0x0F, await self._exactly(size), first >= 0x80)

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
        with trio.fail_after(PATIENCE):
            try:
                data = await self.stream.receive_some(64 * 1024)
            except trio.BrokenResourceError:
                return False
        self._buffer += data
        return bool(data)


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@cache
def server_context() -> ssl.SSLContext:
    """TLS for a server on this machine."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _authority().issue_cert("localhost", "127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType] # pyOpenSSL's
    return context


@cache
def client_context() -> ssl.SSLContext:
    """TLS for a client that trusts `server_context`."""
    context = ssl.create_default_context()
    _authority().configure_trust(context)  # pyright: ignore[reportUnknownMemberType] # pyOpenSSL's
    return context


async def echo(conn: Connection[Anonymous]) -> None:
    """Send everything back."""
    async for message in conn:
        await conn.send(message)


def echo_app(*, limits: Limits | None = None, **handlers: Handler) -> App:
    """An app with ``/echo`` and a route for each of `handlers`, under its name."""
    app = App(limits=limits)
    for name, handler in {"echo": echo, **handlers}.items():
        app.route(f"/{name}", guard=public)(handler)
    return app


@final
@frozen(eq=False)
class Place:
    """A server that runs on a real socket."""

    server: Server
    _clients: list[RawClient] = field(init=False, factory=list["RawClient"])

    async def dial(self) -> RawClient:
        """A TCP, Unix or TLS connection on which nothing has been said; closed by `hang_up`."""
        client = await self.dial_plain()
        if self.server.addresses[0].secure:
            assert isinstance(client.stream, trio.SocketStream)
            client.tls = trio.SSLStream(
                client.stream, client_context(), server_hostname="localhost", https_compatible=True
            )
            client.stream = client.tls
        return client

    async def dial_plain(self) -> RawClient:
        """As `dial`, but without TLS, even where it is spoken."""
        (address,) = self.server.addresses
        plain = trio.socket.socket(socket.AF_INET if address.port else socket.AF_UNIX)
        self._clients.append(RawClient(trio.SocketStream(plain), plain))
        await plain.connect((address.host, address.port) if address.port else address.host)
        return self._clients[-1]

    async def open(self, path: str = "/echo", *, then: bytes = b"") -> RawClient:
        """A WebSocket."""
        client = await self.dial()
        await client.upgrade(path, then=then)
        return client

    async def rejected(self, *pieces: bytes) -> int:
        """Send something that is answered with an HTTP error and the end of the connection; its status."""
        client = await self.dial()
        await client.send(*pieces)
        answer = await client.response()
        assert answer.header("connection").startswith("close")
        assert await client.eof() < PROMPT
        return answer.status

    def hang_up(self) -> None:
        """Close every connection that was dialled and is open still, without a word."""
        while self._clients:
            self._clients.pop().close()

    @property
    def sessions(self) -> int:
        """The connections that the server holds."""
        return len(self.server._sessions)  # pyright: ignore[reportPrivateUsage] # a leak would be here

    @property
    def deadlines(self) -> int:
        """The deadlines that the server minds."""
        return len(self.server._service.sweeper)  # pyright: ignore[reportPrivateUsage] # as above

    async def idle(self, sessions: int, within: float = PATIENCE) -> None:
        """Wait until the server holds no more than `sessions` connections."""
        await until(lambda: self.sessions <= sessions, within)


@asynccontextmanager
async def serving(app: App, **where: Unpack[Listen]) -> AsyncGenerator[Place]:
    """Serve `app`, on a free port of this machine unless told otherwise; it is cancelled on leaving."""
    with ExitStack() as clients:
        async with trio.open_nursery() as nursery:
            place = Place(await app.start(nursery, **(where or {"port": 0})))
            clients.callback(place.hang_up)
            yield place
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def innocent(place: Place) -> AsyncGenerator[None]:
    """Echo over one connection all the while; it must never miss an answer, nor wait for one."""
    mine = Place(place.server)
    with ExitStack() as clients:
        clients.callback(mine.hang_up)
        client = await mine.open()
        await _echo(client, b"before")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_echo_on, client)
            yield
            nursery.cancel_scope.cancel()


async def _echo_on(client: RawClient) -> None:
    for number in itertools.count():
        await _echo(client, b"innocent %d" % number)
        await trio.sleep(0.01)


async def _echo(client: RawClient, payload: bytes) -> None:
    sent = trio.current_time()
    await client.send(frame(TEXT, payload))
    assert await client.frame() == Frame(TEXT, payload)
    waited = trio.current_time() - sent
    assert waited < UNDISTURBED, f"an innocent connection waited for {waited:.2f} s"


@asynccontextmanager
async def no_leaks(place: Place, *, within: float = PATIENCE) -> AsyncGenerator[None]:
    """What the block began must be gone `within` seconds of its end: tasks, descriptors, sessions and deadlines."""
    await trio.testing.wait_all_tasks_blocked()
    before = _held(place)
    yield
    place.hang_up()
    await until(lambda: _held(place) <= before, within, lambda: f"{_held(place)}, but before it was {before}")


def _held(place: Place) -> Held:
    return Held(
        trio.lowlevel.current_statistics().tasks_living,
        len(list(Path("/dev/fd").iterdir())),
        place.sessions,
        place.deadlines,
    )


@final
@frozen(order=False)
class Held:
    """What exists at one moment."""

    tasks: int
    descriptors: int
    sessions: int
    deadlines: int

    def __le__(self, other: Held) -> bool:
        """Whether nothing has grown."""
        mine = (self.tasks, self.descriptors, self.sessions, self.deadlines)
        theirs = (other.tasks, other.descriptors, other.sessions, other.deadlines)
        return all(one <= another for one, another in zip(mine, theirs, strict=True))


async def until(true: Callable[[], bool], within: float = PATIENCE, describe: Callable[[], str] = lambda: "") -> None:
    """Wait until something is true, and fail when that takes too long."""
    with trio.move_on_after(within):
        while not true():  # noqa: ASYNC110 - what is waited for is in the server, and has no event for a test
            await trio.sleep(0.005)
        return
    raise AssertionError(f"not within {within} s: {describe()}")


@asynccontextmanager
async def surviving(app: App, **where: Unpack[Listen]) -> AsyncGenerator[Place]:
    """Serve `app`; an innocent connection must notice nothing, and all that the block begins must be gone after it."""
    async with serving(app, **where) as place, innocent(place), no_leaks(place):
        yield place
