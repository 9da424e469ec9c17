"""`BatchListener`: accepts several connections before other tasks have their turn."""

from __future__ import annotations

import os
import socket
from typing import Final, final

import trio

from seawall.errors import ConfigurationError

#: Connections that are accepted in a row, if so many wait: with a turn for all other tasks after each of them, as under
#: `trio.SocketListener`, accepting costs as much again.
AT_A_TIME: Final = 16


@final
class BatchListener(trio.abc.Listener[trio.SocketStream]):
    """Accepts what a `trio.SocketListener` accepts. It becomes that one's owner: closing it closes both."""

    def __init__(self, listener: trio.SocketListener) -> None:
        """Share the socket of `listener`, of which Trio gives only its own kind.

        Raises:
          ConfigurationError: it is closed.
        """
        if listener.socket.fileno() < 0:
            raise ConfigurationError("listening: the listener has been closed; leave that to the server")
        self.socket = listener.socket
        self._listener = listener
        self._shared = socket.socket(fileno=os.dup(listener.socket.fileno()))
        self._shared.setblocking(False)
        self._left = 0

    @trio.lowlevel.enable_ki_protection
    async def accept(self) -> trio.SocketStream:
        """The next connection.

        It is a checkpoint if none waits, and at every `AT_A_TIME` connections.

        Raises:
          trio.ClosedResourceError: the listener has been closed.
          OSError: a connection could not be accepted.
        """
        if self._left:
            self._left -= 1
        else:
            await trio.lowlevel.checkpoint()
            self._left = AT_A_TIME - 1
        while True:
            if self.socket.fileno() < 0:  # closed, perhaps by who has given it to the server
                self._shared.close()
                raise trio.ClosedResourceError
            try:
                accepted, _ = self._shared.accept()
            except BlockingIOError:
                pass
            else:
                return trio.SocketStream(trio.socket.from_stdlib_socket(accepted))
            await self._wait()
            self._left = AT_A_TIME - 1

    async def aclose(self) -> None:
        """Stop listening."""
        self._shared.close()
        await self._listener.aclose()

    async def _wait(self) -> None:
        """Wait until a connection waits, or the listener is closed."""
        try:
            await trio.lowlevel.wait_readable(self.socket)
        except trio.ClosedResourceError:
            pass
