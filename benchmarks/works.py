"""What is measured, on which servers, and what Seawall has to reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import frozen

from benchmarks.echoes import Echo, Latency
from benchmarks.sockets import Handshakes, Idle
from benchmarks.target import Server, Target

SERVERS = (
    Server("seawall", ("seawall",), checks_tokens=True),
    Server("trio-websocket", ("trio_websocket",), checks_tokens=True),
    # 17.4 often leaves its Close out when the client's comes right behind the handshake.
    Server("websockets.trio", ("websockets_trio",), answers_close=False),
    Server("websockets", ("websockets_asyncio",)),
    Server("aiohttp", ("aiohttp",)),
    Server("aiohttp-uvloop", ("aiohttp", "uvloop")),
    Server("uvicorn", ("asgi", "uvicorn")),
    Server("hypercorn", ("asgi", "hypercorn")),
)


class Work(Protocol):
    """One thing that servers are measured at."""

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    async def measure(self, target: Target) -> Mapping[str, float]:
        """What was measured, by the title of the row in the report."""
        ...


TEXT = "a message of 64 bytes, as chats and games send by the thousand. "
KIB, MIB = 1024, 1024 * 1024
PIPELINED = 16

WORKS: tuple[Work, ...] = (
    Echo(name="echo-64", title="echo 64 B", payload=TEXT),
    Echo(name="echo-64-pipelined", title="echo 64 B, pipelined", payload=TEXT, in_flight=PIPELINED),
    Echo(name="echo-1k", title="echo 1 KiB", payload=TEXT * 16),
    Echo(name="echo-1k-pipelined", title="echo 1 KiB, pipelined", payload=TEXT * 16, in_flight=PIPELINED),
    Echo(name="echo-64k", title="echo 64 KiB", payload=TEXT * KIB),
    Echo(name="echo-64k-pipelined", title="echo 64 KiB, pipelined", payload=TEXT * KIB, in_flight=PIPELINED),
    Echo(name="echo-1m", title="echo 1 MiB binary", payload=bytes(range(256)) * 4 * KIB, connections=8, seconds=1.5),
    Echo(
        name="echo-1m-pipelined",
        title="echo 1 MiB binary, pipelined",
        payload=bytes(range(256)) * 4 * KIB,
        connections=8,
        in_flight=4,
        seconds=1.5,
    ),
    Handshakes(name="handshake", title="handshake"),
    Handshakes(name="handshake-jwt", title="handshake with JWT", path="/jwt"),
    Latency(name="latency", title="2,000 messages/s of 64 B", payload=TEXT),
    Idle(name="memory", title="memory per idle connection"),
)


@frozen
class Goal:
    """What Seawall has to reach: at most so many times what another server takes."""

    row: str
    against: str
    at_most: float


GOALS = (
    Goal("echo 64 B", "trio-websocket", 1 / 5),
    Goal("echo 64 B", "websockets.trio", 1 / 4),
    Goal("echo 64 B", "aiohttp", 0.8),
    Goal("echo 1 KiB", "trio-websocket", 1 / 4),
    Goal("echo 1 MiB binary", "trio-websocket", 1 / 2),
    Goal("handshake", "trio-websocket", 1.4),
    Goal("handshake with JWT", "trio-websocket", 1.4),
    Goal("memory per idle connection", "trio-websocket", 1.25),
)
