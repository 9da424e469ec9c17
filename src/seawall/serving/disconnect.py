"""`DisconnectWatch`: notices that a client has broken its connection off while a page is made for it.

Only what is certain counts: a reset, another error of the connection, a Unix socket that its peer has closed. A client
that has closed its sending side may still read the answer: some say so that their request is over. Over TCP and TLS a
client that leaves without a reset looks the same, so that this is noticed when the answer is written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import trio
from attrs import define

from seawall.policy.ending import Cause, End, Ends
from seawall.wire.transport.lingering import READ_SIZE
from seawall.wire.transport.poller import Poller
from seawall.wire.transport.sockets import socket_of

#: Bytes that are read after a request, where reading is the only way to notice anything; they are discarded.
MOST: Final = 1024 * 1024

_GONE: Final = Ends(End(Cause.PEER_VANISHED, 1006, "before its answer"))


@final
@define(eq=False)
class DisconnectWatch:
    """Watches one connection that nobody else reads."""

    _stream: trio.abc.Stream
    _poller: Poller | None
    _end_by: Callable[[Ends], None]
    """Is called once, when the connection has broken off, and has to cancel what is being done for the client."""

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Watch, until cancelled, or until there is nothing more to notice. It ends before the socket is closed."""
        bound = socket_of(self._stream)
        if self._poller is None or bound is None:
            await self._read()
            return
        watched = _WatchedSocket(self._poller, bound.fileno())
        try:
            await watched.broken.wait()
        finally:
            watched.close()
        self._end_by(_GONE)

    async def _read(self) -> None:
        """Read and discard."""
        discarded = 0
        try:
            while discarded < MOST and (data := await self._stream.receive_some(READ_SIZE)):
                discarded += len(data)
        except trio.BrokenResourceError:
            self._end_by(_GONE)


@final
class _WatchedSocket:
    """A socket that is registered with a poller for nothing but its end."""

    def __init__(self, poller: Poller, descriptor: int) -> None:
        self.broken = trio.Event()
        self._poller = poller
        self._descriptor = descriptor
        poller.add(descriptor, self, 0)  # epoll reports EPOLLERR and EPOLLHUP without being asked
        self._is_registered = True

    def on_ready(self, _events: int, _now: float) -> None:
        """Wake who waits, once."""
        self.close()
        self.broken.set()

    def close(self) -> None:
        """Watch no more. The socket must still be open."""
        if self._is_registered:
            self._is_registered = False
            self._poller.remove(self._descriptor)
