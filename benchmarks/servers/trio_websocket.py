"""trio-websocket, as its documentation shows it; at ``/jwt`` the handler decodes the token by hand."""

from __future__ import annotations

import jwt
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, WebSocketServer

from benchmarks.servers import common

BEARER = b"Bearer "


def is_member(request: WebSocketRequest) -> bool:
    """Whether the request brings a token that is good."""
    for name, value in request.headers:
        if name == b"authorization" and value.startswith(BEARER):
            try:
                jwt.decode(
                    value.removeprefix(BEARER),
                    common.SECRET,
                    algorithms=[common.ALGORITHM],
                    audience=common.AUDIENCE,
                    issuer=common.ISSUER,
                    options={"require": ["exp", "aud", "iss"]},
                )
            except jwt.InvalidTokenError:
                return False
            return True
    return False


room = set[WebSocketConnection]()


async def talk(connection: WebSocketConnection, *, by_tasks: bool) -> None:
    """Tell everybody what anybody says: one after another, or by a task for each of them."""
    room.add(connection)
    try:
        while True:
            message = await connection.get_message()
            if by_tasks:
                async with trio.open_nursery() as nursery:
                    for each in room:
                        nursery.start_soon(tell, each, message)
            else:
                for each in list(room):
                    await tell(each, message)
    finally:
        room.remove(connection)


async def tell(connection: WebSocketConnection, message: str | bytes) -> None:
    """Tell one of them, if it is still there."""
    try:
        await connection.send_message(message)
    except ConnectionClosed:
        pass


async def echo(request: WebSocketRequest) -> None:
    """Answer every message of those who may come in."""
    if request.path == "/jwt" and not is_member(request):
        await request.reject(401)
        return
    connection = await request.accept()
    try:
        if request.path.startswith(("/room", "/feed")):
            await talk(connection, by_tasks=request.path == "/room-tasks")
        while True:
            await connection.send_message(await connection.get_message())
    except ConnectionClosed:
        pass  # the server of trio-websocket would end


async def main() -> None:
    """Serve until the process is ended."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(common.listen()))
    await WebSocketServer(echo, [listener]).run()


trio.run(main)
