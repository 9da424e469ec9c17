"""A Starlette app, on the ASGI server that the argument names: ``uvicorn`` or ``hypercorn`` (its Trio worker)."""

from __future__ import annotations

import sys
from typing import cast

import trio
import uvicorn
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType] # it takes a bare dict somewhere
from hypercorn.typing import ASGIFramework
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.servers import common


async def echo(connection: WebSocket) -> None:
    """Answer every message."""
    await connection.accept()
    while (event := await connection.receive())["type"] == "websocket.receive":
        if (text := event.get("text")) is not None:
            await connection.send_text(text)
        else:
            await connection.send_bytes(event["bytes"])


room = set[WebSocket]()


async def talk(connection: WebSocket) -> None:
    """Tell everybody what anybody says, one after another."""
    await connection.accept()
    room.add(connection)
    try:
        while (event := await connection.receive())["type"] == "websocket.receive":
            for each in list(room):
                try:
                    await each.send_text(event["text"])
                except (WebSocketDisconnect, RuntimeError):
                    pass  # it is closing
    finally:
        room.remove(connection)


app = Starlette(routes=[WebSocketRoute("/echo", echo), WebSocketRoute("/room", talk)])


async def on_trio(config: Config) -> None:
    """Hypercorn's Trio worker, in this process."""
    await serve(cast(ASGIFramework, app), config)  # each of the two has its own types for ASGI


listener = common.listen()
if "uvicorn" in sys.argv:
    settings = uvicorn.Config(app, ws="websockets-sansio", log_level="error", backlog=common.BACKLOG)
    uvicorn.Server(settings).run(sockets=[listener])
else:
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.backlog = common.BACKLOG
    config.loglevel = "ERROR"
    trio.run(on_trio, config)
