"""Seawall as its README shows it: guards, policy, limits and keepalive as they are when nobody says otherwise."""

from __future__ import annotations

import trio

from benchmarks.servers import common
from benchmarks.typed import Say, SayStruct
from seawall import Anonymous, App, Claims, Connection, Disconnected, Events, TokenVerifier, bearer, public

app = App()
verifier = TokenVerifier(common.SECRET, algorithms=[common.ALGORITHM], audience=common.AUDIENCE, issuer=common.ISSUER)


@app.route("/echo", guard=public)
async def echo(conn: Connection[Anonymous]) -> None:
    """Answer everybody."""
    async for message in conn:
        await conn.send(message)


@app.route("/jwt", guard=bearer(verifier))
async def members(conn: Connection[Claims]) -> None:
    """Answer those who have a token."""
    async for message in conn:
        await conn.send(message)


@app.route("/typed", guard=bearer(verifier))
async def typed(conn: Connection[Claims]) -> None:
    """Answer members with what they say, if it is valid."""
    async for message in conn.messages(Say):
        await conn.send(message)


@app.route("/typed-struct", guard=bearer(verifier))
async def typed_struct(conn: Connection[Claims]) -> None:
    """The same with a Struct."""
    async for message in conn.messages(SayStruct):
        await conn.send(message)


events = Events[Claims]()


@events.on(Say)
async def say(conn: Connection[Claims], message: Say) -> Say:
    """The same as an event, which answers with what it returns."""
    return message


app.route("/typed-events", guard=bearer(verifier))(events)


room = set[Connection[Anonymous]]()


@app.route("/room", guard=public)
@app.route("/room-tasks", guard=public)  # which needs none: `send_nowait` waits for nobody
async def talk(conn: Connection[Anonymous]) -> None:
    """Tell everybody what anybody says; who does not keep up misses it."""
    room.add(conn)
    try:
        async for message in conn:
            for each in room:
                try:
                    each.send_nowait(message)
                except (trio.WouldBlock, Disconnected):
                    pass
    finally:
        room.remove(conn)


async def main() -> None:
    """Serve until the process is ended."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(common.listen()))
    await app.serve(listeners=[listener])


trio.run(main)
