"""`TrioWebSocketAdapter`: what trio-websocket does in a connection: the handshake, the control frames and the Close."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast, final

import trio
import trio_websocket
from attrs import frozen

from seawall.wire.channel import MessageChannel
from seawall.wire.encoder import encode_close

Reader: TypeAlias = Callable[[], Awaitable[None]]

#: Told that the reader has ended, and what it raised.
OnLeft: TypeAlias = Callable[[BaseException | None], Awaitable[None]]


@final
class TrioWebSocketAdapter:
    """trio-websocket's connection over a `MessageChannel`, with its reader under control."""

    __slots__ = ("_accepted", "_channel", "_farewell", "_headers", "_request", "_websocket")

    def __init__(self, channel: MessageChannel, *, extensions: str = "") -> None:
        """Prepare; nothing is read before `start`. `extensions` goes into the answer."""
        self._channel = channel
        self._headers = [(b"Sec-WebSocket-Extensions", extensions.encode("ascii"))] if extensions else None
        self._request: trio_websocket.WebSocketRequest | None = None
        self._websocket: trio_websocket.WebSocketConnection | None = None
        self._farewell: trio.CancelScope | None = None
        self._accepted: trio.Event | None = None  # made when a second task wants to accept

    async def start(self, tasks: trio.Nursery, *, on_left: OnLeft) -> None:
        """Let a reader run in `tasks` that reads the lane until its end, and wait until it has the lane's head.

        What the reader raises is for `on_left`, which its task calls when it has ended; it cancels nothing else.
        """
        around = cast("trio.Nursery", _Around(tasks, self._read, on_left))  # of which it uses `start_soon` alone
        self._request = await trio_websocket.wrap_server_stream(around, self._channel)

    async def accept(self, subprotocol: str | None) -> None:
        """Accept the upgrade. Cancelled, it has not happened: nothing in here waits for the peer.

        Raises:
          trio.BrokenResourceError: the lane has been given up.
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
            with trio.CancelScope() as self._farewell:
                await self._websocket.aclose(code, reason)
        self._channel.put_close(encode_close(code, reason))  # if there is no reader, or it has crashed in this moment
        await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def _read(self, reader: Reader, on_left: OnLeft) -> None:
        crash: BaseException | None = None
        try:
            await reader()
        except BaseException as raised:  # noqa: ASYNC103, BLE001 - raised again by `on_left`, if it is for a cancel scope
            crash = raised
        # Normally the lane has said so itself, and this is nothing new; after a crash nobody else would.
        self._channel.leave()
        self._websocket = None
        if self._farewell is not None:
            self._farewell.cancel()
        await on_left(crash)


@final
@frozen
class _Around:
    """What trio-websocket takes for a nursery: it starts the reader under `read`."""

    tasks: trio.Nursery
    read: Callable[[Reader, OnLeft], Awaitable[None]]
    on_left: OnLeft

    def start_soon(self, reader: Reader) -> None:
        """Start it."""
        self.tasks.start_soon(self.read, reader, self.on_left)
