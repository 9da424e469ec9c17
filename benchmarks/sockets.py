"""A client of canned bytes on plain sockets: light, and as impolite as it has to be."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import struct
import time

import jwt

from benchmarks.measures import Failed
from benchmarks.servers import common

#: Seconds that one step of one connection may take.
PATIENCE = 20.0

KEY = base64.b64encode(b"sixteen bytes...")
ACCEPT = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324 # RFC 6455
MASK = b"\x01\x02\x03\x04"

TEXT_FRAME, CLOSE_FRAME = 1, 8


def frame(opcode: int, payload: bytes, mask: bytes = MASK) -> bytes:
    """A frame of a client, or, without a mask, of a server."""
    bit, size = 0x80 if mask else 0, len(payload)
    if size < 126:
        header = struct.pack("!BB", 0x80 | opcode, bit | size)
    elif size < 65536:
        header = struct.pack("!BBH", 0x80 | opcode, bit | 126, size)
    else:
        header = struct.pack("!BBQ", 0x80 | opcode, bit | 127, size)
    if not mask:
        return header + payload
    stretched = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(stretched, "little")
    return header + mask + masked.to_bytes(size, "little")


CLOSE, CLOSE_BACK = frame(CLOSE_FRAME, b"\x03\xe8"), frame(CLOSE_FRAME, b"\x03\xe8", b"")


def credentials(path: str) -> dict[str, str]:
    """The header with a good token, if the path is one that asks for it."""
    if path not in common.FOR_MEMBERS:
        return {}
    now = int(time.time())
    claims = {"sub": "ann", "aud": common.AUDIENCE, "iss": common.ISSUER, "iat": now, "exp": now + 3600}
    return {"Authorization": f"Bearer {jwt.encode(claims, common.SECRET, common.ALGORITHM)}"}


def request(port: int, path: str) -> bytes:
    """An opening handshake, with a good token if the path asks for one."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY.decode()}",
        "Sec-WebSocket-Version: 13",
        "User-Agent: benchmark",
        *(f"{name}: {value}" for name, value in credentials(path).items()),
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


async def talk(connection: socket.socket, said: bytes) -> None:
    """Send a text message, and read its echo, which has to be the same.

    Raises:
      Failed: it is not.
    """
    loop = asyncio.get_running_loop()
    expected, answer = frame(TEXT_FRAME, said, b""), bytearray()
    await loop.sock_sendall(connection, frame(TEXT_FRAME, said))
    while len(answer) < len(expected):
        if not (chunk := await loop.sock_recv(connection, len(expected) - len(answer))):
            break
        answer += chunk
    if bytes(answer) != expected:
        raise Failed(f"a message was answered by {answer[:80]!r}, {len(answer)} bytes")


async def part(connection: socket.socket, *, answered: bool) -> None:
    """Send a Close, and read until the end; whether there has to be an answer is not the same for all servers.

    Raises:
      Failed: there was another one, or none though there had to be.
    """
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, CLOSE)
    answer = b""
    while chunk := await loop.sock_recv(connection, 4096):
        answer += chunk
    if answer != CLOSE_BACK and (answer or answered):
        raise Failed(f"a Close was answered by {answer!r}")


def vanish(connection: socket.socket) -> None:
    """Go without a word: the peer sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
