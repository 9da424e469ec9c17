"""Seawall as its README shows it: guards, policy, limits and keepalive as they are when nobody says otherwise."""

from __future__ import annotations

import trio

from benchmarks.servers import common
from benchmarks.typed import Say, SayStruct
from seawall import Anonymous, App, Claims, Connection, Disconnected, Events, TokenVerifier, bearer, public
from seawall.rooms import DropOldest, Gap, RoomEvent

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
@app.route("/feed-loop", guard=public)
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


feed = app.topic("feed", str)


@app.route("/feed", guard=public)
async def follow(conn: Connection[Anonymous]) -> None:
    """The same by a topic: who falls behind by 256 messages is disconnected."""
    room = feed()
    async with conn.subscribe(room):
        async for message in conn:
            await room.publish(str(message))


slow = app.topic("slow", str, lag=DropOldest(64))


def told(event: RoomEvent[str] | Gap) -> str:
    """What was said, or that something was missed."""
    return "..." if isinstance(event, Gap) else event.value


@app.route("/feed-slow", guard=public)
async def follow_slowly(conn: Connection[Anonymous]) -> None:
    """A topic whose subscribers miss what they are too slow for."""
    async with conn.subscribe(slow(), wrap=told):
        async for _ in conn:
            pass


@app.route("/feed-slow-speaker", guard=public)
async def speak(conn: Connection[Anonymous]) -> None:
    """Publish there."""
    async for message in conn:
        await slow().publish(str(message))


async def main() -> None:
    """Serve until the process is ended."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(common.listen()))
    await app.serve(listeners=[listener])


trio.run(main)
