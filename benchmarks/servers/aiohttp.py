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
    """Tell everybody what anybody says: one after another, or by a task for each of them."""
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    room.add(connection)
    try:
        async for message in connection:
            if message.type is WSMsgType.TEXT:
                if request.path == "/room-tasks":
                    await asyncio.gather(*(tell(each, message.data) for each in room))
                else:
                    for each in list(room):
                        await tell(each, message.data)
    finally:
        room.remove(connection)
    return connection


async def tell(connection: web.WebSocketResponse, text: str) -> None:
    """Tell one of them, if it is still there."""
    try:
        await connection.send_str(text)
    except ConnectionResetError:
        pass


app = web.Application()
app.router.add_get("/echo", echo)
app.router.add_get("/room", talk)
app.router.add_get("/room-tasks", talk)
app.router.add_get("/feed", talk)
loop = uvloop.new_event_loop() if "uvloop" in sys.argv else asyncio.new_event_loop()
web.run_app(app, sock=common.listen(), backlog=common.BACKLOG, print=None, access_log=None, loop=loop)
