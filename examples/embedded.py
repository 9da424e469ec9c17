"""Seawall inside a program of your own: a ticker that runs next to a server, in one nursery.

    python examples/embedded.py

Every subscriber of ws://127.0.0.1:PORT/ticks gets a number every tenth of a second. After the last one the program
drains the server and ends.
"""

from __future__ import annotations

import sys

import trio

from seawall import Anonymous, App, Connection, Disconnected, public

app = App()
subscribers: set[Connection[Anonymous]] = set()


@app.route("/ticks", guard=public)
async def ticks(conn: Connection[Anonymous]) -> None:
    """Subscribe for as long as the connection lasts."""
    subscribers.add(conn)
    try:
        async for _ in conn:
            pass  # whatever a subscriber says; the loop ends when it leaves, or when the server drains
    finally:
        subscribers.discard(conn)


def broadcast(message: str) -> None:
    """Send to everybody, and wait for nobody."""
    for conn in tuple(subscribers):
        try:
            conn.send_nowait(message)
        except trio.WouldBlock:
            pass  # this one reads too slowly, and misses a tick
        except Disconnected:
            pass  # this one is just leaving


async def main(last: int) -> None:
    """Tick from 1 to `last` next to the server, then drain it."""
    async with trio.open_nursery() as nursery:
        server = await app.start(nursery, port=0)
        print(f"listening on {server.addresses[0].url}/ticks", flush=True)
        for number in range(1, last + 1):
            await trio.sleep(0.1)
            broadcast(f"tick {number}")
        await server.aclose()
    print("drained")


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if sys.argv[1:] else 600)
