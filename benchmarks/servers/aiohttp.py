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


room = set[web.WebSocketResponse]()


async def talk(request: web.Request) -> web.WebSocketResponse:
    """Tell everybody what anybody says, one after another."""
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    room.add(connection)
    try:
        async for message in connection:
            if message.type is WSMsgType.TEXT:
                for each in list(room):
                    try:
                        await each.send_str(message.data)
                    except ConnectionResetError:
                        pass
    finally:
        room.remove(connection)
    return connection


app = web.Application()
app.router.add_get("/echo", echo)
app.router.add_get("/room", talk)
loop = uvloop.new_event_loop() if "uvloop" in sys.argv else asyncio.new_event_loop()
web.run_app(app, sock=common.listen(), backlog=common.BACKLOG, print=None, access_log=None, loop=loop)
