"""``websockets`` on asyncio."""

from __future__ import annotations

import asyncio

from websockets.asyncio.server import ServerConnection, serve

from benchmarks.servers import common


async def echo(connection: ServerConnection) -> None:
    """Answer every message."""
    async for message in connection:
        await connection.send(message)


async def main() -> None:
    """Serve until the process is ended."""
    async with serve(echo, sock=common.listen()) as server:
        await server.serve_forever()


asyncio.run(main())
