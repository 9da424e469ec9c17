"""`TrioWebSocketAdapter`: runs trio-websocket, which does the handshakes and the control frames of a connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Protocol, TypeAlias, cast, final

import trio
import trio_websocket

from seawall.wire.control_stream import ControlStream
from seawall.wire.frames.encoder import encode_close

Reader: TypeAlias = Callable[[], Awaitable[None]]


class ReaderOwner(Protocol):
    """Who is told that trio-websocket's reader has exited: a connection."""

    async def on_reader_exited(self, crash: BaseException | None, /) -> None:
        """It has: it raised `crash`, or came to the end of the stream. Called in the task that it ran in."""
        ...


@final
class TrioWebSocketAdapter:
    """trio-websocket's connection over a `ControlStream`. Its reader runs in a task of ours, not in its own nursery."""

    __slots__ = ("_accepted", "_closing_scope", "_headers", "_request", "_websocket", "stream")

    def __init__(self, stream: ControlStream, *, extensions: str = "") -> None:
        """Prepare; nothing is read before `start`.

        Args:
          stream: what trio-websocket reads and writes.
          extensions: the value of ``Sec-WebSocket-Extensions`` in the 101; empty for no such field.
        """
        self.stream = stream
        """What trio-websocket reads and writes."""
        self._headers = [(b"Sec-WebSocket-Extensions", extensions.encode("ascii"))] if extensions else None
        self._request: trio_websocket.WebSocketRequest | None = None
        self._websocket: trio_websocket.WebSocketConnection | None = None
        self._closing_scope: trio.CancelScope | None = None
        self._accepted: trio.Event | None = None  # made when a second task wants to accept

    async def start(self, tasks: trio.Nursery, owner: ReaderOwner) -> None:
        """Start trio-websocket's reader in `tasks`, and wait until it has read the request head.

        The reader reads the stream to its end. Then its task tells `owner` what the reader raised, which goes nowhere
        else and cancels no other task.
        """

        def start_soon(reader: Reader) -> None:
            tasks.start_soon(self._read, reader(), owner, name="trio-websocket's reader")

        nursery = cast("trio.Nursery", SimpleNamespace(start_soon=start_soon))  # trio-websocket uses nothing else of it
        self._request = await trio_websocket.wrap_server_stream(nursery, self.stream)

    async def accept(self, subprotocol: str | None) -> None:
        """Accept the upgrade, or wait for another task that is accepting it.

        Cancellation: a call that is cancelled has accepted nothing. Nothing in here waits for the peer.

        Raises:
          trio.BrokenResourceError: the connection was aborted.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # the only one: what follows cannot be undone
        request, self._request = self._request, None  # drops the request: most of it is of no use any more
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
        """Wait until another task has accepted, and raise if it could not."""
        if self._accepted is None:
            self._accepted = trio.Event()
        await self._accepted.wait()
        if self._websocket is None:
            raise trio.BrokenResourceError

    async def hang_up(self, code: int, reason: str) -> None:
        """Send our Close, and wait for the closing handshake or until the reader exits.

        Raises:
          trio.BrokenResourceError: nothing can be sent any more.
        """
        if self._websocket is not None:
            with trio.CancelScope() as self._closing_scope:
                await self._websocket.aclose(code, reason)
        self.stream.put_close(encode_close(code, reason))  # if there is no reader, or it has crashed just now
        await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def _read(self, reading: Awaitable[None], owner: ReaderOwner) -> None:
        crash: BaseException | None = None
        try:
            await reading
        except BaseException as raised:  # noqa: ASYNC103, BLE001 - raised again by `owner`, if it is for a cancel scope
            crash = raised
        # After end-of-file the stream has called this itself; after a crash it has not.
        self.stream.mark_reader_exited()
        self._websocket = None
        if self._closing_scope is not None:
            self._closing_scope.cancel()
        await owner.on_reader_exited(crash)
