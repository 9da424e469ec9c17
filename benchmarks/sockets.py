"""Handshakes, and connections that do nothing. The client writes canned bytes to plain sockets, to be light."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import resource
import socket
import time
from contextlib import ExitStack
from typing import final

import jwt
from attrs import define, frozen

from benchmarks.measures import Failed, Measured, Row, Unit, cost
from benchmarks.servers import common
from benchmarks.target import Target

#: Seconds that one step of one connection may take.
PATIENCE = 20.0

KEY = base64.b64encode(b"sixteen bytes...")
ACCEPT = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324 # RFC 6455
MASK = b"\x01\x02\x03\x04"


def frame(opcode: int, payload: bytes) -> bytes:
    """A short frame of a client."""
    masked = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    return bytes((0x80 | opcode, 0x80 | len(payload))) + MASK + masked


CLOSE, CLOSE_BACK = frame(8, b"\x03\xe8"), b"\x88\x02\x03\xe8"
HELLO, HELLO_BACK = frame(1, b"hello"), b"\x81\x05hello"


def request(port: int, path: str) -> bytes:
    """An opening handshake, with a good token if the path is ``/jwt``."""
    now = int(time.time())
    claims = {"sub": "ann", "aud": common.AUDIENCE, "iss": common.ISSUER, "iat": now, "exp": now + 3600}
    token = jwt.encode(claims, common.SECRET, common.ALGORITHM)
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY.decode()}",
        "Sec-WebSocket-Version: 13",
        "User-Agent: benchmark",
        *([f"Authorization: Bearer {token}"] if path == "/jwt" else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def shake_hands(connection: socket.socket, port: int, greeting: bytes) -> None:
    """Connect, and do the opening handshake."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await loop.sock_sendall(connection, greeting)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        if not (chunk := await loop.sock_recv(connection, 4096)):
            raise Failed(f"a handshake was answered by {answer!r} and the end")
        answer += chunk
    if not answer.startswith(b"HTTP/1.1 101 ") or ACCEPT not in answer:
        raise Failed(f"a handshake was answered by {answer!r}")


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
    loop = asyncio.get_running_loop()
    while visits.running:
        with socket.socket() as connection:
            await shake_hands(connection, target.port, greeting)
            await loop.sock_sendall(connection, CLOSE)
            answer = b""
            while chunk := await loop.sock_recv(connection, 4096):
                answer += chunk
            if answer != CLOSE_BACK and (answer or target.server.answers_close):
                raise Failed(f"a Close was answered by {answer!r}")
            visits.done += 1


@final
@frozen(kw_only=True)
class Idle:
    """Connections that have echoed one message and are silent."""

    name: str
    title: str
    connections: int = 5000
    before: int = 200
    """How many are open already when counting begins: what is there once is not a connection's."""

    async def measure(self, target: Target) -> Measured:
        """The server's own memory per connection."""
        with ExitStack() as stack:
            await self._open(target, stack, self.before)
            start = await _settled(target)
            await self._open(target, stack, self.connections)
            used = await _settled(target) - start
            target.end()  # before its peers go: that 5,000 vanish at once is not what is measured
        return {Row(self.title, Unit.MEMORY): used / self.connections / 1024}

    async def _open(self, target: Target, stack: ExitStack, count: int) -> None:
        greeting, slots = request(target.port, "/echo"), asyncio.Semaphore(32)
        loop = asyncio.get_running_loop()

        async def one() -> None:
            async with slots:
                connection = stack.enter_context(socket.socket())
                await shake_hands(connection, target.port, greeting)
                await loop.sock_sendall(connection, HELLO)
                if (answer := await loop.sock_recv(connection, 4096)) != HELLO_BACK:
                    raise Failed(f"a message was answered by {answer!r}")

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one())


async def _settled(target: Target) -> int:
    """Memory once the server has been quiet for half a second."""
    async with asyncio.timeout(PATIENCE):
        cpu = 0.0
        while target.cpu() - cpu > 0.01:
            cpu = target.cpu()
            await asyncio.sleep(0.5)
    return target.memory()


def allow_descriptors(connections: int) -> None:
    """Let this process, and the servers that it starts from now on, have a descriptor for each connection.

    Raises:
      Failed: the system does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + 256
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise Failed(f"{connections} connections need {needed} open files; `ulimit -Hn` allows {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
