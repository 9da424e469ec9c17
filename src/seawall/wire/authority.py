"""`Authority`: trio-websocket's part in a connection, which is the handshake, the control frames and the farewell."""

from __future__ import annotations

from typing import final

import trio
import trio_websocket

from seawall.wire.encoding import encode_close
from seawall.wire.lane import Lane


@final
class Authority:
    """trio-websocket's connection over a `Lane`, with its reader under control."""

    def __init__(self, lane: Lane) -> None:
        """Prepare; nothing is read before `run`."""
        self._lane = lane
        self._request: trio_websocket.WebSocketRequest
        self._websocket: trio_websocket.WebSocketConnection | None = None
        self._farewell = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read the lane until its end; started when the lane's head has been read.

        What the reader raises is raised here, alone in its nursery: nothing else is cancelled by it.
        """
        try:
            async with trio.open_nursery(strict_exception_groups=True) as readers:
                self._request = await trio_websocket.wrap_server_stream(readers, self._lane)
                task_status.started()
        finally:
            # Normally the lane has said so itself, and this is nothing new; after a crash nobody else would.
            self._lane.reader_left.set()
            self._websocket = None
            self._farewell.cancel()

    async def accept(self, subprotocol: str | None) -> None:
        """Accept the upgrade. Cannot be cancelled: nothing in here waits for the peer, and half an upgrade is none.

        Raises:
          trio.BrokenResourceError: the lane has been given up.
        """
        with trio.CancelScope(shield=True):
            try:
                self._websocket = await self._request.accept(subprotocol=subprotocol)
            except trio_websocket.ConnectionClosed:
                raise trio.BrokenResourceError from None

    async def hang_up(self, code: int, reason: str) -> None:
        """Send our Close, and take part in the closing handshake for as long as there is a reader.

        Raises:
          trio.BrokenResourceError: nothing can be sent any more.
        """
        if self._websocket is not None:
            with self._farewell:
                await self._websocket.aclose(code, reason)
        self._lane.put_close(encode_close(code, reason))  # if there is no reader, or it has crashed in this moment
        await trio.lowlevel.checkpoint()
