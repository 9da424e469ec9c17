"""What tests of real connections need: servers on real sockets, each way that they are driven, and what must not stay.

A connection is driven in one of two ways. A plain socket is driven by the server's poller, where there is one; TLS and
any stream that Trio did not make are driven by a reader of their own. Both must do the same, so most tests run over
all of `DRIVEN`: "plain" is TCP, "reader" is TCP too, but behind a listener whose streams only implement the interface
of a stream, and "tls" is what it says.
"""

from __future__ import annotations

import itertools
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeAlias, Unpack, final

import trio
import trio.testing
import trustme
from attrs import astuple, define, field, frozen

from seawall import Anonymous, App, Connection, Gate, Limits, guard, public
from seawall.http.hosts import Hosts
from seawall.serving.listening import Address, Listen
from seawall.serving.server import Server
from tests.kit.leaks import registered
from tests.kit.wire import PATIENCE, SOON, RawClient

#: Seconds that an innocent connection may ever have to wait for its echo, on a machine that is busy with others.
UNDISTURBED: Final = 3.0

#: A kind of socket, and of what drives it.
Transport: TypeAlias = Literal["plain", "reader", "tls", "unix"]

#: Everything that drives a connection.
DRIVEN: Final[tuple[Transport, ...]] = ("plain", "reader", "tls")

#: Where the kernel matters as well.
EVERYWHERE: Final[tuple[Transport, ...]] = (*DRIVEN, "unix")

Handler: TypeAlias = Callable[[Connection[Anonymous]], Awaitable[None]]


#: Much shorter than the defaults, so that a test sees them pass.
SHORT: Final = Limits(close_timeout=0.3, wind_down=0.05, send_timeout=0.3)


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@cache
def server_context() -> ssl.SSLContext:
    """TLS for a server on this machine."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _authority().issue_cert("localhost", "127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType] # pyOpenSSL's
    return context


def certificate(directory: Path) -> Path:
    """A file with the key and the certificate of a server on this machine, which `client_context` trusts."""
    issued, path = _authority().issue_cert("localhost", "127.0.0.1"), directory / "certificate.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


def authority_file(directory: Path) -> Path:
    """A file with the authority of `server_context`, for ``SSL_CERT_FILE``."""
    path = directory / "authority.pem"
    _authority().cert_pem.write_to_path(str(path))
    return path


def authority(directory: Path) -> Path:
    """A file with the certificate of who has signed those of these servers."""
    path = directory / "authority.pem"
    _authority().cert_pem.write_to_path(str(path))
    return path


@cache
def client_context() -> ssl.SSLContext:
    """TLS for a client that trusts `server_context`."""
    context = ssl.create_default_context()
    _authority().configure_trust(context)  # pyright: ignore[reportUnknownMemberType] # pyOpenSSL's
    return context


@guard
async def undecided(gate: Gate, proved: Anonymous) -> Anonymous:
    """Never decide."""
    await trio.Event().wait()
    return proved


@guard
async def slow(gate: Gate, proved: Anonymous) -> Anonymous:
    """Take a moment to let everybody in."""
    await trio.sleep(0.01)
    return proved


async def echo(conn: Connection[Anonymous]) -> None:
    """Send everything back."""
    async for message in conn:
        await conn.send(message)


async def quick(conn: Connection[Anonymous]) -> None:
    """Return without reading anything."""


async def busy(conn: Connection[Anonymous]) -> None:
    """Be occupied with something else for ever."""
    await trio.sleep_forever()


async def discard(conn: Connection[Anonymous]) -> None:
    """Read, and do nothing with it."""
    async for _ in conn:
        pass


async def pour(conn: Connection[Anonymous]) -> None:
    """Send for ever."""
    while True:
        await conn.send(bytes(64 * 1024))


def echo_app(*, limits: Limits | None = None, hosts: Hosts | None = None, **handlers: Handler) -> App:
    """An app with ``/echo`` and a route for each of `handlers`, under its name."""
    app = App(limits=limits, hosts=hosts)
    for name, handler in {"echo": echo, **handlers}.items():
        app.route(f"/{name}", guard=public)(handler)
    return app


@final
@define(eq=False)
class ForeignStream(trio.abc.HalfCloseableStream):
    """A TCP connection that is no `trio.SocketStream`: nobody can see the socket, so nobody can poll it."""

    _hidden: trio.SocketStream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write."""
        await self._hidden.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until writing makes sense."""
        await self._hidden.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Read."""
        return await self._hidden.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """Write no more."""
        await self._hidden.send_eof()

    async def aclose(self) -> None:
        """Close."""
        await self._hidden.aclose()


@final
@define(eq=False)
class ForeignListener(trio.abc.Listener[ForeignStream]):
    """Accepts TCP connections as `ForeignStream`."""

    _hidden: trio.SocketListener

    async def accept(self) -> ForeignStream:
        """The next connection."""
        return ForeignStream(await self._hidden.accept())

    async def aclose(self) -> None:
        """Stop listening."""
        await self._hidden.aclose()


@final
@frozen(eq=False)
class Place:
    """A server that runs on a real socket."""

    server: Server
    _clients: list[RawClient] = field(init=False, factory=list["RawClient"])

    @property
    def at(self) -> Address:
        """Where it is."""
        (address,) = self.server.addresses
        return address

    async def dial(self, *, receive_buffer: int | None = None, send_buffer: int | None = None) -> RawClient:
        """A TCP, Unix or TLS connection on which nothing has been said; closed by `hang_up`.

        Args:
          receive_buffer: bytes that the client's kernel takes before it makes the server wait, instead of megabytes.
          send_buffer: bytes that the client's kernel takes before it makes the client wait.
        """
        client = await self.dial_plain(receive_buffer=receive_buffer, send_buffer=send_buffer)
        if self.at.secure:
            assert isinstance(client.stream, trio.SocketStream)
            client.tls = trio.SSLStream(
                client.stream, client_context(), server_hostname="localhost", https_compatible=True
            )
            client.stream = client.tls
        return client

    async def dial_plain(self, *, receive_buffer: int | None = None, send_buffer: int | None = None) -> RawClient:
        """As `dial`, but without TLS, even where it is spoken."""
        plain = trio.socket.socket(socket.AF_INET if self.at.port else socket.AF_UNIX)
        client = RawClient(trio.SocketStream(plain), plain)
        self._clients.append(client)
        for option, size in ((socket.SO_RCVBUF, receive_buffer), (socket.SO_SNDBUF, send_buffer)):
            if size is not None:
                plain.setsockopt(socket.SOL_SOCKET, option, size)
        await plain.connect((self.at.host, self.at.port) if self.at.port else self.at.host)
        return client

    async def open(
        self,
        path: str = "/echo",
        *,
        then: bytes = b"",
        receive_buffer: int | None = None,
        send_buffer: int | None = None,
    ) -> RawClient:
        """A WebSocket, with more bytes in the segment of its request; the buffers are as for `dial`."""
        client = await self.dial(receive_buffer=receive_buffer, send_buffer=send_buffer)
        await client.upgrade(path, then=then)
        return client

    async def rejected(self, *pieces: bytes) -> int:
        """Send something that is answered with an HTTP error and the end of the connection; its status."""
        client = await self.dial()
        await client.send(*pieces)
        answer = await client.last_response()
        assert answer.header("connection").startswith("close")
        assert len(answer.body) == int(answer.header("content-length")) > 0
        return answer.status

    def hang_up(self) -> None:
        """Close every connection that was dialled and is open still, without a word."""
        while self._clients:
            self._clients.pop().close()

    @property
    def sessions(self) -> int:
        """The connections that the server holds."""
        return len(self.server._state.connections)  # pyright: ignore[reportPrivateUsage] # a leak would be here

    @property
    def deadlines(self) -> int:
        """The deadlines that the server minds."""
        return len(self.server._state.deadlines)  # pyright: ignore[reportPrivateUsage] # as above

    @property
    def polled(self) -> int:
        """The sockets that the server polls: those in its table, or in the kernel's, whichever are more."""
        poller = self.server._state.poller  # pyright: ignore[reportPrivateUsage] # as above
        return max(registered(poller), len(poller)) if poller is not None else 0

    async def idle(self, sessions: int, within: float = PATIENCE) -> None:
        """Wait until the server holds no more than `sessions` connections."""
        await until(lambda: self.sessions <= sessions, within)


async def _listen(over: Transport, files: ExitStack, buffers: int | None) -> tuple[Listen, Address | None]:
    """What to tell the server, and where that is, if the server will not know."""
    if over == "unix":
        directory = files.enter_context(tempfile.TemporaryDirectory())
        return {"unix": Path(directory, "socket")}, None
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    if buffers is not None:  # the connections inherit them
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
    host, port = listener.socket.getsockname()[:2]
    if over == "reader":
        return {"listeners": [ForeignListener(listener)]}, Address(host=host, port=port)
    if over == "tls":
        return {"listeners": [trio.SSLListener(listener, server_context(), https_compatible=True)]}, None
    return {"listeners": [listener]}, None


@asynccontextmanager
async def serving(
    app: App, over: Transport = "plain", *, buffers: int | None = None, **where: Unpack[Listen]
) -> AsyncGenerator[Place]:
    """Serve `app` on a free port of this machine, or where it says; it is cancelled on leaving.

    Args:
      app: what to serve.
      over: the kind of socket.
      buffers: bytes that the server's kernel buffers each way, instead of megabytes.
      where: to listen there instead.
    """
    with ExitStack() as stack:
        listen, at = (where, None) if where else await _listen(over, stack, buffers)
        async with trio.open_nursery() as nursery:
            server = await app.start(nursery, **listen)
            if at is not None:
                server.addresses = (at,)
            place = Place(server)
            stack.callback(place.hang_up)
            yield place
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def innocent(place: Place) -> AsyncGenerator[list[float]]:
    """Echo over one connection all the while; it must never miss an answer, nor wait for one. How long each took."""
    mine, delays = Place(place.server), list[float]()
    with ExitStack() as clients:
        clients.callback(mine.hang_up)
        client = await mine.open()
        await client.echo(b"before")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_echo_on, client, delays)
            yield delays
            nursery.cancel_scope.cancel()


async def _echo_on(client: RawClient, delays: list[float]) -> None:
    for number in itertools.count():
        delays.append(await client.echo(b"innocent %d" % number))
        assert delays[-1] < UNDISTURBED, f"an innocent connection waited for {delays[-1]:.2f} s"
        await trio.sleep(0.01)


#: Whether other servers come and go at the same time, so that what is theirs cannot be told from what is ours.
_among_others: Final = ContextVar("_among_others", default=False)


@asynccontextmanager
async def no_leaks(place: Place, *, within: float = PATIENCE) -> AsyncGenerator[None]:
    """What the block began must be gone `within` seconds of its end: tasks, descriptors, and what is in tables."""
    await trio.testing.wait_all_tasks_blocked()
    before = _held(place)
    yield
    place.hang_up()
    await until(lambda: _held(place) <= before, within, lambda: f"{_held(place)}, but before it was {before}")


def _held(place: Place) -> Held:
    alone = not _among_others.get()
    return Held(
        trio.lowlevel.current_statistics().tasks_living if alone else 0,
        len(os.listdir("/dev/fd")) if alone else 0,  # noqa: PTH208 - counts only, thousands of times
        place.sessions,
        max(0, place.deadlines - 2 * place.sessions),  # those that are stale may stay until they are half of all
        place.polled,
    )


@final
@frozen(order=False)
class Held:
    """What exists at one moment."""

    tasks: int
    descriptors: int
    sessions: int
    deadlines: int
    polled: int

    def __le__(self, other: Held) -> bool:
        """Whether nothing has grown."""
        return all(one <= another for one, another in zip(astuple(self), astuple(other), strict=True))


async def until(
    true: Callable[[], bool],
    within: float = PATIENCE,
    describe: Callable[[], str] = lambda: "",
    *,
    step: float = 0.005,
) -> None:
    """Wait until something is true, and fail when that takes longer than `within`; look every `step` seconds."""
    with trio.move_on_after(within) as patience:
        while not true():  # noqa: ASYNC110 - what is waited for is in the server, and has no event for a test
            await trio.sleep(step)
    assert not patience.cancelled_caught or true(), f"not within {within} s: {describe()}"


@asynccontextmanager
async def surviving(
    app: App,
    over: Transport = "plain",
    *,
    within: float = PATIENCE,
    buffers: int | None = None,
    **where: Unpack[Listen],
) -> AsyncGenerator[Place]:
    """Serve `app`; an innocent connection must notice nothing, and all that the block begins must be gone after it.

    Args:
      app: what to serve.
      over: the kind of socket.
      within: how soon after the block, in seconds.
      buffers: as for `serving`.
      where: to listen there instead.
    """
    async with (
        serving(app, over, buffers=buffers, **where) as place,
        innocent(place),
        no_leaks(place, within=within),
    ):
        yield place


def everywhere(*over: Transport) -> Callable[[Callable[[Transport], Awaitable[None]]], Callable[[], Awaitable[None]]]:
    """Make one test of a test that mostly waits: over each of these, or over all of `DRIVEN`, at the same time."""

    def decorate(test: Callable[[Transport], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def test_all() -> None:
            await at_once(test, *over)

        test_all.__doc__ = test.__doc__
        return test_all

    return decorate


async def at_once(test: Callable[[Transport], Awaitable[None]], *over: Transport) -> None:
    """Run `test` over each of these, or over all of `DRIVEN`, at the same time; nothing may be left of all of it."""

    async def run(one: Transport) -> None:
        _among_others.set(True)
        try:
            await test(one)
        except BaseException as error:
            error.add_note(f"over {one}")
            raise

    def held() -> tuple[int, int]:
        return trio.lowlevel.current_statistics().tasks_living, len(os.listdir("/dev/fd"))  # noqa: PTH208 - as above

    before = held()
    async with trio.open_nursery() as nursery:
        for one in over or DRIVEN:
            nursery.start_soon(run, one)
    await until(lambda: held() <= before, SOON, lambda: f"{held()} tasks and descriptors, but before it was {before}")
