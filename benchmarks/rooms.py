"""Rooms: how long others wait beside a big one, and what a subscriber costs who reads nothing."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import ExitStack
from typing import final

from attrs import field, frozen

from benchmarks.broadcast import ENTERING, Room, Subscriber
from benchmarks.echoes import Tally, conversing
from benchmarks.measures import Failed, Measured, Row, Unit, settled
from benchmarks.sockets import TEXT_FRAME, frame, request, shake_hands
from benchmarks.target import ROOT, Target


@final
@frozen(kw_only=True)
class Bystander:
    """A room whose subscribers get so many messages a second, and a connection beside it that echoes."""

    name: str
    title: str
    text: str = field(repr=False)
    path: str
    subscribers: int = 3000
    interval: float = 0.1
    seconds: float = 2.0
    tries: int = 3
    """The best of them counts: another program on the machine makes it longer, and nothing makes it shorter."""

    async def measure(self, target: Target) -> Measured:
        """How long one echo in a hundred takes, or longer."""
        tally = Tally()
        room = Room(tally, self.text, self.subscribers, self.interval)
        clients = [Subscriber(room) for _ in range(self.subscribers)]
        found = list[float]()
        async with conversing(target, tally, clients, self.path):
            await asyncio.sleep(ENTERING)
            room.speak()
            await asyncio.sleep(self.seconds / 3)  # warms up
            for _ in range(self.tries):
                delays = await self._echoes(target)
                found.append(delays[int(0.99 * len(delays))])
        return {Row(self.title, Unit.DELAY): min(found) * 1e6}

    async def _echoes(self, target: Target) -> list[float]:
        """How long each of them took, the shortest first."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.bystander", str(target.port), str(self.seconds)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()
        if process.returncode:
            raise Failed("the bystander has failed")
        return sorted(map(float, printed.split()))


@final
@frozen(kw_only=True)
class Stopped:
    """Subscribers of a room that read nothing, while others go on talking there."""

    name: str
    title: str
    path: str
    """Where one subscribes, and misses what one is too slow for."""
    speaking: str
    """Where one publishes what one says."""
    text: str = field(repr=False)
    subscribers: int = 100
    rate: float = 1000.0
    """Messages a second."""
    seconds: float = 4.0

    async def measure(self, target: Target) -> Measured:
        """The server's own memory for each, beyond what a subscriber takes to whom nothing was said."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(self.subscribers + 1)]
            for connection in sockets[1:]:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                await shake_hands(connection, target.port, request(target.port, self.path))
            await shake_hands(sockets[0], target.port, request(target.port, self.speaking))
            await settled(target.cpu)
            start = target.memory()
            await self._talk(sockets[0])
            used = target.memory() - start
            target.end()
        return {Row(self.title, Unit.MEMORY): used / self.subscribers / 1024}

    async def _talk(self, connection: socket.socket) -> None:
        loop, said = asyncio.get_running_loop(), frame(TEXT_FRAME, self.text.encode())
        start, sent = loop.time(), 0
        while (passed := loop.time() - start) < self.seconds:
            while sent < passed * self.rate:
                await loop.sock_sendall(connection, said)
                sent += 1
            await asyncio.sleep(0.001)
