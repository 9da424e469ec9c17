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


async def talk(connection: WebSocketConnection) -> None:
    """Tell everybody what anybody says, one after another."""
    room.add(connection)
    try:
        while True:
            message = await connection.get_message()
            for each in list(room):
                try:
                    await each.send_message(message)
                except ConnectionClosed:
                    pass
    finally:
        room.remove(connection)


async def echo(request: WebSocketRequest) -> None:
    """Answer every message of those who may come in."""
    if request.path == "/jwt" and not is_member(request):
        await request.reject(401)
        return
    connection = await request.accept()
    try:
        if request.path == "/room":
            await talk(connection)
        while True:
            await connection.send_message(await connection.get_message())
    except ConnectionClosed:
        pass  # the server of trio-websocket would end


async def main() -> None:
    """Serve until the process is ended."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(common.listen()))
    await WebSocketServer(echo, [listener]).run()


trio.run(main)
