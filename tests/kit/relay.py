"""A relay between a browser and a server, in a thread: a network that can be cut, mended, and stalled."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, final

#: Bytes that the relay takes at a time, and that the kernel keeps for it.
_PIECE: Final = 4096


@final
class Relay:
    """Passes on what comes, both ways, from a port of its own."""

    def __init__(self, port: int) -> None:
        """Begin to listen, for a server at `port` of this machine."""
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: Final[int] = self._listener.getsockname()[1]
        """Where it listens."""
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._is_cut = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """End all connections, and refuse new ones until `mend`."""
        with self._lock:
            self._is_cut = True
            for one in self._open:
                with contextlib.suppress(OSError):  # it has ended just now
                    one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let new connections through."""
        with self._lock:
            self._is_cut = False

    @contextmanager
    def stalled(self) -> Generator[None]:
        """Take nothing from the server for so long."""
        self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()

    def close(self) -> None:
        """End everything."""
        self._flows.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)
            try:
                with self._lock:
                    if self._is_cut:
                        raise ConnectionRefusedError
                    server.connect(self._target)
                    self._open |= {client, server}
            except OSError:
                client.close()
                server.close()
                continue
            ends = [client, server]  # closed by the second of the two that is done
            for one, other in ((client, server), (server, client)):
                self._threads.append(threading.Thread(target=self._pass, args=(one, other, ends), daemon=True))
                self._threads[-1].start()

    def _pass(self, one: socket.socket, other: socket.socket, ends: list[socket.socket]) -> None:
        from_server = one.getpeername() == self._target
        with contextlib.suppress(OSError):
            while piece := one.recv(_PIECE):
                if from_server:
                    self._flows.wait()
                other.sendall(piece)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            ends.pop()
            if not ends:
                for end in (one, other):
                    self._open.discard(end)
                    end.close()


@contextmanager
def relayed(port: int) -> Generator[Relay]:
    """A relay to a server at `port` of this machine."""
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.close()
