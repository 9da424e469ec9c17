"""`serve` and `connect`: an app that is served over memory streams in a test, and a WebSocket client of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import NamedTuple, TypeAlias, cast, final

import trio
import trio_websocket
from attrs import define, field, frozen
from wsproto.utilities import LocalProtocolError

from seawall.app import App
from seawall.errors import ConfigurationError
from seawall.exception_groups import flatten
from seawall.printable import safe
from seawall.serving.server import Server
from seawall.testing.network import Line, MemoryListener, MemoryStream
from seawall.testing.waiting import Account, bounded, default_timeout
from seawall.wire.frames.codes import Opcode, sendable_code

Headers: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]

#: The ``Host`` that a test's client asks for.
HOST = "seawall.test"

#: Seconds that a client gives the app to answer its Close.
CLOSE_TIMEOUT = 5.0

#: The client's own limits: messages that wait, and bytes of one. Large, because tests are about the server's limits.
QUEUE_SIZE = 100_000
MAX_MESSAGE_SIZE = 1 << 30


@final
@frozen
class Rejected(Exception):
    """The app answered the handshake with an HTTP status instead of an upgrade."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str

    def header(self, name: str) -> str | None:
        """The first header called `name`, or None. Case does not matter."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def __str__(self) -> str:
        """Status and text."""
        return f"{self.status} {self.body}".rstrip(" \r\n")


@final
@frozen
class Closed(Exception):
    """The app closed the connection: there is no further message."""

    code: int
    reason: str


class CloseFrame(NamedTuple):
    """Code and reason of a Close frame; equal to a plain ``(code, reason)``. 1006 if there was no Close frame."""

    code: int
    reason: str


@final
@define(eq=False)
class Client:
    """The client's end of a connection."""

    _websocket: trio_websocket.WebSocketConnection = field(alias="websocket", repr=False)
    _line: Line = field(alias="line", repr=False)
    _timeout: float = field(alias="timeout", repr=False)
    _sent: int = field(init=False, default=0, repr=False)
    _received: int = field(init=False, default=0, repr=False)
    _last: str | bytes = field(init=False, default="", repr=False)

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the app selected."""
        return self._websocket.subprotocol

    async def send(self, message: str | bytes, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the bound is what it is about
        """Send a message. Raises `Closed` when the app has closed, and `TimedOut`."""
        with self._bounded(timeout, "room to send a message"):
            try:
                await self._websocket.send_message(message)
            except trio_websocket.ConnectionClosed as closed:
                raise _closed(closed) from None
        self._sent += 1

    async def receive(self, *, timeout: float | None = None) -> str | bytes:  # noqa: ASYNC109 - likewise
        """The next message. Raises `TimedOut`, or `Closed` when the app has closed and all messages are received.

        Args:
          timeout: the seconds to wait at most, in place of the `timeout` of `connect`; ``math.inf`` waits for ever.
        """
        with self._bounded(timeout, "a message"):
            return await self._receive()

    async def wait_closed(self, *, timeout: float | None = None) -> CloseFrame:  # noqa: ASYNC109 - likewise
        """Discard messages until the app closes; returns the code and the reason of its Close. Raises `TimedOut`.

        Args:
          timeout: as of `receive`; it bounds the whole wait, however many messages come.
        """
        with self._bounded(timeout, "the app to close"):
            while True:
                try:
                    await self._receive()
                except Closed as closed:
                    return CloseFrame(closed.code, closed.reason)
        raise AssertionError("unreachable")

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close from the client's side, and wait for the app's answer, but no longer than `CLOSE_TIMEOUT`.

        Raises:
          ConfigurationError: trio-websocket cannot send the code; ``open_stream()`` sends any bytes.
        """
        if not sendable_code(code):
            raise ConfigurationError(f"aclose({code!r}): not a code that a client may send (RFC 6455, section 7.4)")
        self._line.release(Opcode.CLOSE)  # the client ignores the app's Close, not its own
        with trio.move_on_after(CLOSE_TIMEOUT):
            await self._websocket.aclose(code, reason or None)

    async def _receive(self) -> str | bytes:
        try:
            message = await self._websocket.get_message()
        except trio_websocket.ConnectionClosed as closed:
            raise _closed(closed) from None
        self._received, self._last = self._received + 1, message
        return message

    @contextmanager
    def _bounded(self, timeout: float | None, waited_for: str) -> Generator[None]:
        """Bound a wait, and account for what came until it was over."""
        before, pongs, bytes_in = self._received, self._line.pongs, self._line.bytes_in

        def account() -> Account:
            messages, pings = self._received - before, self._line.pongs - pongs
            came = [f"{messages} messages, the last of them {_shown(self._last)}"] if messages else []
            came += [f"{pings} Pings"] if pings else []
            bare = self._line.bytes_in - bytes_in
            came += [f"{bare} bytes of no whole message"] if bare and not came else []
            return Account(
                ", and ".join(came) or "nothing",
                f"the connection is {self._line.standing}; messages sent: {self._sent}, received: {self._received}",
            )

        with bounded(self._timeout if timeout is None else timeout, waited_for, account):
            yield

    def stall(self) -> None:
        """Read no more, as a client that hangs; what it sends still arrives.

        Whatever the app sends now waits, as if every buffer on the way were full. `Connection.send` returns all the
        same until ``outbound_buffer`` (1 MiB) is full, and then waits. ``send_timeout`` (10 s) after something began to
        wait, the handler is cancelled and the connection ends as a slow consumer: the outcome has 1008, and the client
        reads 1006, because no Close is sent. If the app sends nothing, its Ping waits, 20 s after the last byte of the
        client, and so the connection ends at 30 s. After a `resume` in time everything arrives.
        """
        self._line.stream.stall()

    def resume(self) -> None:
        """Read again, after `stall`."""
        self._line.stream.resume()

    def reset(self) -> None:
        """Break the connection, as a network that resets it: without a Close, and without an end-of-file.

        What either side has not read yet is lost. The app sees the peer vanish: `Connection.receive` and
        `Connection.send` raise `Disconnected` at once, and a handler that has not ended by itself is cancelled
        ``wind_down`` (1 s) later. The outcome is 1006, for the client too.
        """
        self._line.stream.reset()

    def half_close(self) -> None:
        """Send an end-of-file instead of a Close, and go on reading what the app has sent before.

        A client that cannot send a Close any more has gone, by RFC 6455: the app sees the peer vanish, as after
        `reset`, and closes the socket at once.
        """
        self._line.stream.half_close()

    @contextmanager
    def unplugged(self) -> Generator[None]:
        """Deliver nothing inside of the block, in either direction; after it everything arrives, in order.

        Each side can send 64 KiB meanwhile, which a kernel would buffer; with more the app waits, as after `stall`. For
        40 s (``ping_interval`` and ``ping_timeout``) after the client's last byte nothing is lost. Then the handler is
        cancelled, the connection ends as `KeepaliveLost`, 1011, and ``close_timeout`` (5 s) later the app closes the
        socket. A client that is plugged in after that reads 1006.
        """
        with self._line.stream.unplugged():
            yield

    def ignore_pings(self) -> None:
        """Answer no Ping from now on. Anything else that the client sends still counts as a sign of life.

        ``ping_interval`` (20 s) after its last byte the client gets a Ping, and ``ping_timeout`` (20 s) later the
        handler is cancelled and the connection ends as `KeepaliveLost`; the client reads 1011.
        """
        self._line.withhold(Opcode.PONG)

    def ignore_close(self) -> None:
        """Answer no Close of the app from now on, and keep the connection open until the block of this client is left.

        The client reads the code and the reason at once, but ending the connection takes the app ``close_timeout``
        (5 s), and so does `Connection.aclose`. `aclose` on this side still sends a Close.
        """
        self._line.withhold(Opcode.CLOSE)


@final
@frozen(eq=False)
class Serving:
    """An app that is being served over memory streams."""

    server: Server
    """The server, for `Server.aclose`."""
    _listener: MemoryListener = field(alias="listener", repr=False)

    def open_stream(self) -> MemoryStream:
        """A new connection on which nothing has been sent, for a test that sends bytes of its own."""
        return self._listener.connect()

    @asynccontextmanager
    async def connect(
        self,
        path: str,
        *,
        headers: Headers = (),
        subprotocols: Sequence[str] = (),
        host: str = HOST,
        timeout: float | None = None,  # noqa: ASYNC109 - the client's own bound
    ) -> AsyncGenerator[Client]:
        """Connect a client; see the function `connect`."""
        seconds = default_timeout() if timeout is None else timeout
        async with _contained() as nursery, self.open_stream() as stream:
            line = Line(stream)
            dial = partial(_dial, line, host, path, subprotocols=subprotocols, headers=_pairs(headers))
            with bounded(seconds, f"the answer to the handshake for {path}", partial(_account_of_handshake, line)):
                websocket: trio_websocket.WebSocketConnection = await nursery.start(dial)
            client = Client(websocket, line, seconds)
            yield client
            await client.aclose()


@asynccontextmanager
async def serve(app: App) -> AsyncGenerator[Serving]:
    """Serve `app` over memory streams, for tests with several clients or streams of their own.

    On leaving, the app is stopped as if its nursery had been cancelled.
    """
    listener = MemoryListener()
    async with _contained() as nursery:
        server = await app.start(nursery, listeners=[listener])
        yield Serving(server, listener)


@asynccontextmanager
async def connect(
    app: App,
    path: str,
    *,
    headers: Headers = (),
    subprotocols: Sequence[str] = (),
    host: str = HOST,
    timeout: float | None = None,  # noqa: ASYNC109 - the client's own bound
) -> AsyncGenerator[Client]:
    """Serve `app` over memory streams and connect one client to it; leaving closes the connection with 1000.

    Args:
      app: what to talk to.
      path: the path, with a query if need be, as it is sent.
      headers: more header fields, such as ``{"Authorization": "Bearer ..."}`` or ``{"Origin": ...}``.
      subprotocols: the subprotocols to offer, the preferred one first.
      host: the ``Host`` header.
      timeout: how many seconds the client waits for anything: the answer to its handshake, a message, the app's Close.
        By default an hour under a `trio.testing.MockClock`, else 30 s; ``math.inf`` waits for ever.

    Raises:
      Rejected: the app refused the handshake.
      Closed: the app closed the socket without a response.
      TimedOut: the app has not answered in time.
    """
    async with (
        serve(app) as serving,
        serving.connect(path, headers=headers, subprotocols=subprotocols, host=host, timeout=timeout) as client,
    ):
        yield client


@asynccontextmanager
async def _contained() -> AsyncGenerator[trio.Nursery]:
    """A nursery that is cancelled on leaving, and does not wrap what its body raises into a group.

    When what runs in it fails too, both are raised in one group; but if the body raised `Closed`, only the group of the
    others is raised, because it says why the app has closed.
    """
    raised: BaseException | None = None
    try:
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            try:
                yield nursery
            except BaseException as error:  # noqa: ASYNC103 - raised again below, outside the nursery
                if _belongs_to_trio(error):
                    raise
                raised = error
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if raised is None or isinstance(raised, Closed):
            raise
        raise BaseExceptionGroup("the test and the app", [raised, group]) from None
    if raised is not None:
        raise raised


def _belongs_to_trio(raised: BaseException) -> bool:
    """Whether `raised` is for a cancel scope. Outcomes of pytest, which are no `Exception` either, are not."""
    group = isinstance(raised, BaseExceptionGroup) and not isinstance(raised, Exception)
    return group or isinstance(raised, trio.Cancelled)


async def _dial(
    line: Line,
    host: str,
    path: str,
    *,
    subprotocols: Sequence[str],
    headers: list[tuple[bytes, bytes]],
    task_status: trio.TaskStatus[trio_websocket.WebSocketConnection],
) -> None:
    """Open the connection and read it until cancelled."""
    dialing = trio.CancelScope()
    try:
        async with trio.open_nursery(strict_exception_groups=True) as readers:
            readers.start_soon(line.wait_ended, dialing)
            with dialing:
                websocket = await trio_websocket.wrap_client_stream(
                    readers,
                    cast("trio.SocketStream", line),  # typed for sockets, but any stream will do
                    host,
                    path,
                    subprotocols=subprotocols,
                    extra_headers=headers,
                    message_queue_size=QUEUE_SIZE,
                    max_message_size=MAX_MESSAGE_SIZE,
                )
                task_status.started(websocket)
    except BaseExceptionGroup as group:
        for leaf in flatten(group):
            if isinstance(leaf, trio_websocket.ConnectionRejected):
                raise _rejected(leaf) from None
            if isinstance(leaf, LocalProtocolError):
                return  # a Ping has crossed our Close, and trio-websocket tried to answer it
        raise
    if dialing.cancelled_caught:
        raise Closed(1006, "")


def _account_of_handshake(line: Line) -> Account:
    came = f"{line.bytes_in} bytes, which are no whole answer" if line.bytes_in else "nothing"
    return Account(came, f"the connection is {line.standing}, and the app has not answered the handshake")


def _shown(message: str | bytes) -> str:
    """The beginning of a message, for the text of an exception."""
    return safe(repr(message[:100]), 100)


def _rejected(rejection: trio_websocket.ConnectionRejected) -> Rejected:
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in rejection.headers)
    return Rejected(rejection.status_code, headers, (rejection.body or b"").decode())


def _closed(closed: trio_websocket.ConnectionClosed) -> Closed:
    if closed.reason is None:
        return Closed(1006, "")
    return Closed(int(closed.reason.code), closed.reason.reason or "")


def _pairs(headers: Headers) -> list[tuple[bytes, bytes]]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
