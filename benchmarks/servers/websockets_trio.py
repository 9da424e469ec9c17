"""``websockets`` on Trio."""

from __future__ import annotations

import trio
from websockets.trio.server import ServerConnection, serve

from benchmarks.servers import common


async def echo(connection: ServerConnection) -> None:
    """Answer every message."""
    async for message in connection:
        await connection.send(message)


async def main() -> None:
    """Serve until the process is ended."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(common.listen()))
    await serve(echo, listeners=[listener])


trio.run(main)
