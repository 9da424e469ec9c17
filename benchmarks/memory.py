"""What a connection takes in memory: one that is silent, and one that talks now and then."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import final

from attrs import frozen

from benchmarks.measures import Measured, Row, Unit, settled
from benchmarks.sockets import request, shake_hands, talk
from benchmarks.target import Target

#: Descriptors that a process needs besides those of its connections.
SPARE = 256

HELLO, SAID = b"hello", b"what one has to say is rarely much longer than a few lines. " * 17

#: So many connections of the client's do something at the same time.
HANDS = 32


@final
@frozen(kw_only=True)
class Memory:
    """Connections that have echoed one message and are silent, and then talk now and then."""

    name: str
    title: str = "an idle connection"
    busy: str = "a busy connection"
    connections: int = 5000
    before: int = 200
    """How many are open already when counting begins: what is there once is not a connection's."""
    talks: int = 2
    """How many messages of 1 KiB each of them then sends."""
    rate: float = 2000.0
    """How many messages a second they send together."""

    async def measure(self, target: Target) -> Measured:
        """The server's own memory per connection, idle and busy."""
        with ExitStack() as stack:
            await self._open(target, stack, self.before)
            await settled(target.cpu)
            start = target.memory()
            opened = await self._open(target, stack, self.connections)
            await settled(target.cpu)
            idle = target.memory() - start
            async with asyncio.timeout(120), asyncio.TaskGroup() as group:
                for hand in range(HANDS):
                    group.create_task(self._talk(opened[hand::HANDS]))
            busy = target.memory() - start
            target.end()  # before its peers go: that 5,000 vanish at once is not what is measured
        return {
            Row(self.title, Unit.MEMORY): idle / self.connections / 1024,
            Row(self.busy, Unit.MEMORY): busy / self.connections / 1024,
        }

    async def _open(self, target: Target, stack: ExitStack, count: int) -> Sequence[socket.socket]:
        greeting, slots = request(target.port, "/echo"), asyncio.Semaphore(HANDS)
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]

        async def open_one(connection: socket.socket) -> None:
            async with slots:
                await shake_hands(connection, target.port, greeting)
                await talk(connection, HELLO)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for connection in sockets:
                group.create_task(open_one(connection))
        return sockets

    async def _talk(self, connections: Sequence[socket.socket]) -> None:
        for _ in range(self.talks):
            for connection in connections:
                await talk(connection, SAID)
                await asyncio.sleep(HANDS / self.rate)


def most_connections() -> int:
    """Let this process, and the servers that it starts from now on, open as many files as the system allows.

    Returns:
      How many connections that makes.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return (1 << 30 if hard == resource.RLIM_INFINITY else hard) - SPARE
