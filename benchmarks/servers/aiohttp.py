"""aiohttp on asyncio's own loop; ``uvloop`` as the argument puts it on that."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import WSMsgType, web

from benchmarks.servers import common


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Answer every message."""
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    async for message in connection:
        if message.type is WSMsgType.TEXT:
            await connection.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await connection.send_bytes(message.data)
    return connection


app = web.Application()
app.router.add_get("/echo", echo)
loop = uvloop.new_event_loop() if "uvloop" in sys.argv else asyncio.new_event_loop()
web.run_app(app, sock=common.listen(), print=None, access_log=None, loop=loop)
