"""Clients that flood a server, as a program of its own, so that their work delays nobody but the server.

``python -m tests.tools.flood HOST PORT tls|plain KIND COUNT`` opens so many connections, prints a line, and floods
until its standard input ends. ``idle`` is a kind too: it opens the connections and does nothing; ``everything`` is
all others but the fragments.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import trio
from attrs import define, field

from tests.kit.wire import BINARY, CONTINUATION, PING, PONG, TEXT, frame, request

if TYPE_CHECKING:  # the program has to start fast
    from seawall.serving.listening import Address

#: Bytes that are sent over and over, and the path that they are sent to.
KINDS: Final = {
    "idle": ("/echo", b""),
    "pings": ("/discard", frame(PING) * 10_000),
    "pongs": ("/discard", frame(PONG, b"x") * 10_000),
    "texts": ("/discard", frame(TEXT) * 10_000),
    "fragments": ("/discard", frame(CONTINUATION, fin=False) * 10_000),
    "large": ("/discard", frame(BINARY, bytes(64 * 1024), mask=b"\x01\x02\x03\x04") * 10),
    "echoes": ("/echo", frame(TEXT, b"x" * 50) * 1000),
    "read": ("/pour", b""),
    "read little": ("/drip", b""),
}

#: What has to come before.
FIRST: Final = {"fragments": frame(TEXT, fin=False)}

#: Nothing is sent now: try again when the socket is ready.
NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@final
@define(eq=False)
class Flooder:
    """One connection."""

    socket: socket.socket
    data: bytes
    _at: int = field(init=False, default=0)

    def go_on(self, ready: int) -> None:
        """Read what there is, and send what can be sent."""
        if ready & selectors.EVENT_READ:
            with contextlib.suppress(*NOT_NOW):
                self.socket.recv(256 * 1024)
        if ready & selectors.EVENT_WRITE:
            with contextlib.suppress(*NOT_NOW):
                self._at += self.socket.send(memoryview(self.data)[self._at :])
                self._at %= len(self.data)


def opened(address: tuple[str, int], kind: str, context: ssl.SSLContext | None) -> Flooder:
    """A WebSocket."""
    path, data = KINDS[kind]
    plain = socket.create_connection(address, 10)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client = plain if context is None else context.wrap_socket(plain)
    client.sendall(request(path) + FIRST.get(kind, b""))
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(64 * 1024)  # messages that come with it do not matter
    assert head.startswith(b"HTTP/1.1 101 "), head
    client.setblocking(False)
    return Flooder(client, data)


@asynccontextmanager
async def flooding(at: Address, kind: str, count: int) -> AsyncGenerator[None]:
    """While the block runs, so many clients of that kind flood the server that is there."""
    arguments = ["-m", "tests.tools.flood", at.host, str(at.port), "tls" if at.secure else "plain", kind, str(count)]
    program = partial(
        trio.run_process,
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(program)
        assert process.stdin is not None
        assert process.stdout is not None
        with trio.fail_after(20):
            assert await process.stdout.receive_some(1), "it could not open them all"
        try:
            yield
        finally:
            await trio.aclose_forcefully(process.stdin)
            await trio.aclose_forcefully(process.stdout)


def main(host: str, port: str, security: str, kind: str, count: str) -> None:
    """Flood."""
    context = None
    if security == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    kinds = [name for name in KINDS if name not in {"idle", "fragments"}] if kind == "everything" else [kind]
    flooders = [opened((host, int(port)), kinds[number % len(kinds)], context) for number in range(int(count))]
    os.write(1, b"ready")  # who started us waits for it
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        for flooder in flooders if kind != "idle" else []:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if flooder.data else 0)
            selector.register(flooder.socket, wanted, flooder)
        with contextlib.suppress(ConnectionError):  # the server has had enough
            while True:
                for key, ready in selector.select():
                    if key.data is None:
                        return
                    key.data.go_on(ready)


if __name__ == "__main__":
    main(*sys.argv[1:])
