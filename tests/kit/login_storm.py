"""A program: many who try to log in at the same time, again and again, each on a connection of its own.

``python -m tests.kit.login_storm PORT CLIENTS PAUSE SECONDS`` prints how often each status was answered, as JSON. Each
client pauses for so many seconds between two tries.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

import trio


async def main(port: int, clients: int, pause: float, seconds: float) -> Counter[str]:
    """Storm."""
    statuses = Counter[str]()

    async def client(number: int) -> None:
        while True:
            body = json.dumps({"username": f"user{number}", "password": "guess"}).encode()
            origin = f"http://localhost:{port}"
            head = (
                f"POST /session HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: {origin}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            try:
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(head.encode() + body)
                    answer = await stream.receive_some(4096)
            except OSError:
                statuses["broken"] += 1
            else:
                statuses[answer[9:12].decode()] += 1
            await trio.sleep(pause)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for number in range(clients):
                nursery.start_soon(client, number)
    return statuses


if __name__ == "__main__":
    port, clients, pause, seconds = sys.argv[1:]
    found = trio.run(main, int(port), int(clients), float(pause), float(seconds))
    print(json.dumps(found))  # noqa: T201 - what the test reads
