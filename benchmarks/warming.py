"""What a server has lived through before anything is measured: clients that talk, and vanish in the middle of it.

A process that has just started is not what anybody runs. The C library's allocator, for one, learns from the first big
buffer that is freed: on glibc an asyncio server costs half as much after its first abrupt disconnect as before it.
"""

from __future__ import annotations

import asyncio
import socket

from benchmarks.measures import settled
from benchmarks.sockets import PATIENCE, TEXT_FRAME, frame, request, shake_hands, talk, vanish
from benchmarks.target import Target

#: How many clients come, in groups of how many at a time.
CLIENTS, TOGETHER = 64, 16

#: What each says, and the message that every second one leaves half-sent.
SAID = (b"warm" * 16, b"warm" * 256, b"warm" * 16 * 1024)
#: What surely comes in one read.
PIECE = 1024
HALF = frame(TEXT_FRAME, b"warm" * 256 * 1024)[: 512 * 1024]


async def warm(target: Target) -> None:
    """Let some dozens of clients connect, talk and vanish; then wait until the server is quiet.

    Raises:
      Failed: an echo was wrong.
    """
    greeting = request(target.port, "/echo")
    async with asyncio.timeout(PATIENCE):
        for _ in range(CLIENTS // TOGETHER):
            async with asyncio.TaskGroup() as group:
                for number in range(TOGETHER):
                    group.create_task(_come_and_vanish(target, greeting, big=number % 2 == 1))
        await settled(target.cpu)


async def _come_and_vanish(target: Target, greeting: bytes, *, big: bool) -> None:
    connection = socket.socket()
    try:
        await shake_hands(connection, target.port, greeting)
        for said in SAID:
            if len(said) <= PIECE or target.server.takes_pieces:
                await talk(connection, said)
        if big and target.server.takes_pieces:
            await asyncio.get_running_loop().sock_sendall(connection, HALF)
            await asyncio.sleep(0.05)  # so that the server has read it
    finally:
        vanish(connection)
