"""`TrioWebSocketAdapter`: what trio-websocket does in a connection: the handshake, the control frames and the Close."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import TypeAlias, cast, final

import trio
import trio_websocket

from seawall.wire.control_stream import ControlStream
from seawall.wire.frames.encoder import encode_close

Reader: TypeAlias = Callable[[], Awaitable[None]]

#: Told that the reader has ended, and what it raised.
OnReaderExited: TypeAlias = Callable[[BaseException | None], Awaitable[None]]


@final
class TrioWebSocketAdapter:
    """trio-websocket's connection over a `ControlStream`, with its reader under control."""

    __slots__ = ("_accepted", "_closing_scope", "_headers", "_request", "_websocket", "stream")

    def __init__(self, stream: ControlStream, *, extensions: str = "") -> None:
        """Prepare; nothing is read before `start`. `extensions` goes into the answer."""
        self.stream = stream
        """What trio-websocket reads and writes."""
        self._headers = [(b"Sec-WebSocket-Extensions", extensions.encode("ascii"))] if extensions else None
        self._request: trio_websocket.WebSocketRequest | None = None
        self._websocket: trio_websocket.WebSocketConnection | None = None
        self._closing_scope: trio.CancelScope | None = None
        self._accepted: trio.Event | None = None  # made when a second task wants to accept

    async def start(self, tasks: trio.Nursery, *, on_exited: OnReaderExited) -> None:
        """Let a reader run in `tasks` that reads the stream until its end, and wait until it has the stream's head.

        What the reader raises is for `on_exited`, which its task calls when it has ended; it cancels nothing else.
        """

        def start_soon(reader: Reader) -> None:
            tasks.start_soon(self._read, reader, on_exited)

        nursery = cast("trio.Nursery", SimpleNamespace(start_soon=start_soon))  # of which it uses nothing else
        self._request = await trio_websocket.wrap_server_stream(nursery, self.stream)

    async def accept(self, subprotocol: str | None) -> None:
        """Accept the upgrade. Cancelled, it has not happened: nothing in here waits for the peer.

        Raises:
          trio.BrokenResourceError: the connection has been given up.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # before anything has changed, which cannot be undone
        request, self._request = self._request, None  # most of what it holds is of no use any more
        if request is None:
            await self._wait_accepted()
            return
        try:
            self._websocket = await request.accept(subprotocol=subprotocol, extra_headers=self._headers)
        except trio_websocket.ConnectionClosed:
            raise trio.BrokenResourceError from None
        finally:
            if self._accepted is not None:
                self._accepted.set()

    async def _wait_accepted(self) -> None:
        """Wait for another task that is accepting."""
        if self._accepted is None:
            self._accepted = trio.Event()
        await self._accepted.wait()
        if self._websocket is None:
            raise trio.BrokenResourceError

    async def hang_up(self, code: int, reason: str) -> None:
        """Send our Close, and take part in the closing handshake for as long as there is a reader.

        Raises:
          trio.BrokenResourceError: nothing can be sent any more.
        """
        if self._websocket is not None:
            with trio.CancelScope() as self._closing_scope:
                await self._websocket.aclose(code, reason)
        self.stream.put_close(encode_close(code, reason))  # if there is no reader, or it has crashed in this moment
        await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def _read(self, reader: Reader, on_exited: OnReaderExited) -> None:
        crash: BaseException | None = None
        try:
            await reader()
        except BaseException as raised:  # noqa: ASYNC103, BLE001 - raised again by `on_exited`, if it is for a cancel scope
            crash = raised
        # Normally the stream knows already, because it has given end-of-file; after a crash it does not.
        self.stream.mark_reader_exited()
        self._websocket = None
        if self._closing_scope is not None:
            self._closing_scope.cancel()
        await on_exited(crash)
