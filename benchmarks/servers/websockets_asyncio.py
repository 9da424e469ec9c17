"""``websockets`` on asyncio."""

from __future__ import annotations

import asyncio

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.servers import common

room = set[ServerConnection]()


async def handle(connection: ServerConnection) -> None:
    """Answer every message; at ``/room``, tell everybody."""
    try:
        if connection.request is not None and connection.request.path == "/room":
            await talk(connection)
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass  # it would be logged as an error


async def talk(connection: ServerConnection) -> None:
    """Tell everybody what anybody says."""
    room.add(connection)
    try:
        async for message in connection:
            broadcast(room, message)
    finally:
        room.remove(connection)


async def main() -> None:
    """Serve until the process is ended."""
    async with serve(handle, sock=common.listen(), backlog=common.BACKLOG) as server:
        await server.serve_forever()


asyncio.run(main())
