"""Connections that open and close, as fast as the server can, and many clients that come back in the same second."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack
from typing import final

from attrs import define, frozen

from benchmarks.measures import Measured, Row, Unit, cost, settled
from benchmarks.sockets import PATIENCE, part, request, shake_hands, talk
from benchmarks.target import Target

HELLO = b"hello"


@define
class Visits:
    """How many connections have come and gone."""

    done: int = 0
    running: bool = True


@final
@frozen(kw_only=True)
class Handshakes:
    """Connections that open and close at once, each visitor the next when the server has ended the last."""

    name: str
    title: str
    path: str = "/echo"
    visitors: int = 16
    seconds: float = 1.2

    async def measure(self, target: Target) -> Measured:
        """The server's CPU time per connection."""
        visits, greeting = Visits(), request(target.port, self.path)
        async with asyncio.timeout(PATIENCE + self.seconds * 2), asyncio.TaskGroup() as group:
            for _ in range(self.visitors):
                group.create_task(_visit(target, greeting, visits))
            await asyncio.sleep(self.seconds / 3)  # warms up
            spent = await cost(target.cpu, lambda: visits.done, asyncio.sleep(self.seconds))
            visits.running = False
        return {Row(self.title): spent}


async def _visit(target: Target, greeting: bytes, visits: Visits) -> None:
    while visits.running:
        with socket.socket() as connection:
            await shake_hands(connection, target.port, greeting)
            await part(connection, answered=target.server.answers_close)
            visits.done += 1


@final
@frozen(kw_only=True)
class Storm:
    """So many clients that connect within so many seconds, as after a restart: served is who has had an echo."""

    name: str
    title: str
    connections: int = 2000
    seconds: float = 1.0

    async def measure(self, target: Target) -> Measured:
        """The server's CPU time per connection, and the time from the first client to the last one that is served."""
        greeting, arrived = request(target.port, "/echo"), list[socket.socket]()
        with ExitStack() as stack:
            arrived.extend(stack.enter_context(socket.socket()) for _ in range(self.connections))
            cpu, start = target.cpu(), time.perf_counter()
            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
                for number, connection in enumerate(arrived):
                    while time.perf_counter() - start < number / self.connections * self.seconds:
                        await asyncio.sleep(0.001)
                    group.create_task(_arrive(connection, target.port, greeting))
            took = time.perf_counter() - start
            spent = target.cpu() - cpu
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(part(each, answered=target.server.answers_close) for each in arrived))
        await settled(target.cpu)
        return {
            Row(f"{self.title}, each connection"): spent / self.connections * 1e6,
            Row(f"{self.title}, until all are served", Unit.TIME): took * 1e3,
        }


async def _arrive(connection: socket.socket, port: int, greeting: bytes) -> None:
    await shake_hands(connection, port, greeting)
    await talk(connection, HELLO)
