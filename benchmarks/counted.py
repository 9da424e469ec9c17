"""The process whose instructions are counted: a server and its clients. Arguments: the work, and how many times.

It uses nothing of Seawall that is not public, so that any version of it can be counted that has what the work needs.
"""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final, cast

import trio
from trio.testing import MockClock

from benchmarks.typed import SAID, Say
from seawall import Anonymous, App, Connection, Events, public

#: Connections that are there at the same time.
TOGETHER: Final = 16

REQUEST = (
    b"GET /%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: c2l4dGVlbiBieXRlcy4uLg==\r\nSec-WebSocket-Version: 13\r\nUser-Agent: benchmark\r\n\r\n"
)
MASK = b"\x01\x02\x03\x04"


def masked(header: bytes, payload: bytes) -> bytes:
    """A client's frame."""
    return header + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


TEXT = b"a message of 64 bytes, as chats and games send by the thousand. "
ECHO, ECHO_BACK = masked(b"\x81\xc0", TEXT), b"\x81\x40" + TEXT
TYPED = SAID.encode()
TYPED_ECHO, TYPED_BACK = masked(bytes((0x81, 0x80 | len(TYPED))), TYPED), bytes((0x81, len(TYPED))) + TYPED
CLOSE, CLOSE_BACK = masked(b"\x88\x82", b"\x03\xe8"), b"\x88\x02\x03\xe8"

app = App()


@app.route("/echo", guard=public)
async def echo(conn: Connection[Anonymous]) -> None:
    """Answer everybody."""
    async for message in conn:
        await conn.send(message)


@app.route("/typed", guard=public)
async def typed(conn: Connection[Anonymous]) -> None:
    """Answer everybody with the value of what they say."""
    async for message in conn.messages(Say):
        await conn.send(message)


events = Events[Anonymous]()


@events.on(Say)
async def say(conn: Connection[Anonymous], message: Say) -> Say:
    """The same as an event."""
    return message


app.route("/events", guard=public)(events)


async def read(connection: socket.socket) -> bytes:
    """What has come, as soon as something has."""
    while True:
        try:
            return connection.recv(4096)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(connection)


async def expect(connection: socket.socket, end: bytes) -> None:
    """Read until `end`, which has to come."""
    answer = b""
    while not answer.endswith(end):
        if not (chunk := await read(connection)):
            sys.exit(f"the server ended after {answer!r}, before {end!r}")
        answer += chunk


async def enter(port: int, path: bytes) -> list[socket.socket]:
    """Connections that have done the opening handshake."""
    connections = list[socket.socket]()
    for _ in range(TOGETHER):
        connection = socket.create_connection(("127.0.0.1", port))  # noqa: ASYNC210 # loopback: the kernel accepts
        connection.setblocking(False)
        connection.send(REQUEST % path)
        connections.append(connection)
    for connection in connections:
        await expect(connection, b"\r\n\r\n")
    return connections


async def leave(connections: list[socket.socket]) -> None:
    """Close them properly."""
    for connection in connections:
        connection.send(CLOSE)
    for connection in connections:
        await expect(connection, CLOSE_BACK)
        while await read(connection):
            pass
        connection.close()


async def shake_hands(port: int, times: int) -> None:
    """Open connections and close them."""
    for _ in range(times):
        await leave(await enter(port, b"echo"))


async def converse(port: int, times: int, path: bytes = b"echo", said: bytes = ECHO, back: bytes = ECHO_BACK) -> None:
    """Echo a message on each connection, and another one when all have been answered."""
    connections = await enter(port, path)
    for _ in range(times):
        for connection in connections:
            connection.send(said)
        for connection in connections:
            await expect(connection, back)
    await leave(connections)


WORKS: Final[dict[str, Callable[[int, int], Coroutine[None, None, None]]]] = {
    "handshake": shake_hands,
    "echo": converse,
    "typed": partial(converse, path=b"typed", said=TYPED_ECHO, back=TYPED_BACK),
    "events": partial(converse, path=b"events", said=TYPED_ECHO, back=TYPED_BACK),
}


def schedule_alike() -> None:
    """Let Trio run its tasks in the same order each time: by this switch of its own, which its plugins use."""
    scheduler = vars(sys.modules["trio._core._run"])
    scheduler["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    cast("random.Random", scheduler["_r"]).seed(0)


async def serve(work: str, times: int) -> None:
    """Do the work, with a server in the same process."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=TOGETHER)
    listening.setblocking(False)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: app.serve(listeners=[listener]))
        await WORKS[work](listening.getsockname()[1], times)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    schedule_alike()
    trio.run(serve, sys.argv[1], int(sys.argv[2]), clock=MockClock())
