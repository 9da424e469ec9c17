"""FastAPI and pydantic on uvicorn, with ``websockets-sansio``: on asyncio's own loop, or as the argument says."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import jwt
import uvicorn
from fastapi import Depends, FastAPI, Header, WebSocket, WebSocketDisconnect, WebSocketException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks import typed
from benchmarks.servers import common


class Say(BaseModel):  # type: ignore[explicit-any]  # in what pydantic gives it
    """The message, with the same limits as Seawall's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["say"]
    room: Annotated[str, Field(max_length=typed.MAX_ROOM)]
    text: Annotated[str, Field(min_length=typed.MIN_TEXT, max_length=typed.MAX_TEXT)]
    number: Annotated[int, Field(ge=typed.MIN_NUMBER)]


def member(authorization: Annotated[str, Header()] = "") -> str:
    """Who it is; nobody else is let in."""
    scheme, _, token = authorization.partition(" ")
    try:
        claims = jwt.decode(
            token, common.SECRET, algorithms=[common.ALGORITHM], audience=common.AUDIENCE, issuer=common.ISSUER
        )
    except jwt.InvalidTokenError:
        raise WebSocketException(3000) from None
    if scheme != "Bearer":
        raise WebSocketException(3000)
    return str(claims["sub"])


app = FastAPI()


@app.websocket("/echo")
async def echo(connection: WebSocket) -> None:
    """Answer everybody."""
    await connection.accept()
    try:
        while True:
            await connection.send_text(await connection.receive_text())
    except WebSocketDisconnect:
        pass


@app.websocket("/typed")
@app.websocket("/typed-struct")  # pydantic has one kind of class
async def talk(connection: WebSocket, user: Annotated[str, Depends(member)]) -> None:
    """Answer members with what they say, if it is valid."""
    await connection.accept()
    try:
        while True:
            try:
                message = Say.model_validate_json(await connection.receive_text())
            except ValidationError:
                await connection.send_text('{"type":"error","code":"invalid_message"}')
            else:
                await connection.send_text(message.model_dump_json())
    except WebSocketDisconnect:
        pass


loop = "uvloop" if "uvloop" in sys.argv else "asyncio"
settings = uvicorn.Config(app, ws="websockets-sansio", loop=loop, log_level="error", backlog=common.BACKLOG)
uvicorn.Server(settings).run(sockets=[common.listen()])
