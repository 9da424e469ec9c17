"""What is measured, on which servers, and what Seawall has to reach."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from benchmarks.echoes import Echo, Latency
from benchmarks.sockets import Handshakes, Idle
from benchmarks.target import Server

BOTH = ("/echo", "/jwt")

SERVERS = (
    Server("seawall", ("seawall",), paths=BOTH),
    Server("trio-websocket", ("trio_websocket",), paths=BOTH),
    # 17.4 often leaves its Close out when the client's comes right behind the handshake.
    Server("websockets.trio", ("websockets_trio",), answers_close=False),
    Server("hypercorn", ("asgi", "hypercorn")),
    Server("websockets", ("websockets_asyncio",)),
    Server("aiohttp", ("aiohttp",)),
    Server("aiohttp-uvloop", ("aiohttp", "uvloop")),
    Server("uvicorn", ("asgi", "uvicorn")),
    # No server: what is left when nothing is checked, and as much as anything on Trio takes.
    Server("bare Trio", ("bare",), answers_close=False, works=("echo-64", "echo-1k")),
)

Work: TypeAlias = Echo | Handshakes | Latency | Idle

TEXT = "a message of 64 bytes, as chats and games send by the thousand. "
BYTES = bytes(range(256))
KIB = 1024
PIPELINED = 16

WORKS: tuple[Work, ...] = (
    Echo(name="echo-64", title="echo 64 B", payload=TEXT),
    Echo(name="echo-64-pipelined", title="echo 64 B, pipelined", payload=TEXT, in_flight=PIPELINED),
    Echo(name="echo-1k", title="echo 1 KiB", payload=TEXT * 16),
    Echo(name="echo-1k-pipelined", title="echo 1 KiB, pipelined", payload=TEXT * 16, in_flight=PIPELINED),
    Echo(name="echo-64k", title="echo 64 KiB", payload=TEXT * KIB),
    Echo(name="echo-64k-pipelined", title="echo 64 KiB, pipelined", payload=TEXT * KIB, in_flight=PIPELINED),
    Echo(name="echo-1m", title="echo 1 MiB, binary", payload=BYTES * 4 * KIB, connections=8, seconds=1.2),
    Echo(
        name="echo-1m-pipelined",
        title="echo 1 MiB, binary, pipelined",
        payload=BYTES * 4 * KIB,
        connections=8,
        in_flight=4,
        seconds=1.2,
    ),
    Handshakes(name="handshake", title="handshake"),
    Handshakes(name="handshake-jwt", title="handshake with a JWT", path="/jwt"),
    Latency(name="latency", title="2,000 echoes of 64 B a second", payload=TEXT, rate=2000),
    Idle(name="memory", title="an idle connection"),
)


@frozen
class Goal:
    """What Seawall has to reach: at most so many times what another server takes."""

    title: str
    against: str
    at_most: float


GOALS = (
    Goal("echo 64 B", "trio-websocket", 1 / 5),
    Goal("echo 64 B", "websockets.trio", 1 / 4),
    Goal("echo 64 B", "aiohttp", 0.8),
    Goal("echo 1 KiB", "trio-websocket", 1 / 4),
    Goal("echo 1 MiB, binary", "trio-websocket", 1 / 2),
    Goal("handshake", "trio-websocket", 1.4),
    Goal("handshake with a JWT", "trio-websocket", 1.4),
    Goal("an idle connection", "trio-websocket", 1.25),
)
