"""What is measured, on which servers, and what Seawall has to reach."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from benchmarks.arrivals import Handshakes, Storm
from benchmarks.broadcast import Broadcast
from benchmarks.decoding import Decoding
from benchmarks.echoes import Echo, Latency
from benchmarks.measures import Unit
from benchmarks.memory import Memory
from benchmarks.rooms import Bystander, Stopped
from benchmarks.target import Server
from benchmarks.typed import ROOM_AT, SAID

ECHO, JWT, ROOM, TASKS = "/echo", "/jwt", "/room", "/room-tasks"
FEED, LOOP, SLOW, SLOW_SPEAKER = "/feed", "/feed-loop", "/feed-slow", "/feed-slow-speaker"
TYPED, STRUCT, EVENTS = "/typed", "/typed-struct", "/typed-events"

#: The works with typed messages, which have a table of their own.
MESSAGES = ("typed", "typed-struct")

SERVERS = (
    Server("seawall", ("seawall",), paths=(ECHO, JWT, ROOM, TASKS, FEED, LOOP, SLOW, TYPED, STRUCT, EVENTS)),
    Server("trio-websocket", ("trio_websocket",), paths=(ECHO, JWT, ROOM, TASKS, FEED)),
    # 17.4 often leaves its Close out when the client's comes right behind the handshake.
    Server("websockets.trio", ("websockets_trio",), answers_close=False),
    Server("hypercorn", ("asgi", "hypercorn")),
    Server("websockets", ("websockets_asyncio",)),
    Server("aiohttp", ("aiohttp",), paths=(ECHO, ROOM, TASKS, FEED)),
    Server("aiohttp-uvloop", ("aiohttp", "uvloop"), paths=(ECHO, ROOM, TASKS, FEED)),
    Server("uvicorn", ("asgi", "uvicorn")),
    Server("fastapi", ("fastapi",), paths=(TYPED, STRUCT), works=MESSAGES),
    Server("fastapi-uvloop", ("fastapi", "uvloop"), paths=(TYPED, STRUCT), works=MESSAGES),
    # No server: what is left when nothing is checked, and as much as anything on Trio takes.
    Server(
        "bare Trio",
        ("bare",),
        paths=(ECHO, ROOM, FEED),
        answers_close=False,
        works=("echo-64", "echo-1k", "broadcast", "publish", "publish-5000"),
        takes_pieces=False,
    ),
    # No column of its own, but a note.
    Server(
        "without epoll", ("seawall_portable",), works=("echo-64", "echo-64k", "handshake", "broadcast"), is_aside=True
    ),
)

Served: TypeAlias = Echo | Handshakes | Latency | Broadcast | Bystander | Stopped | Storm | Memory
Work: TypeAlias = Served | Decoding

TEXT = "a message of 64 bytes, as chats and games send by the thousand. "
BYTES = bytes(range(256))
KIB = 1024
PIPELINED = 16

WORKS: tuple[Work, ...] = (
    Echo(name="echo-64", title="echo 64 B", payload=TEXT),
    Echo(name="echo-64-pipelined", title="echo 64 B, pipelined", payload=TEXT, in_flight=PIPELINED, seconds=0.6),
    Echo(name="echo-1k", title="echo 1 KiB", payload=TEXT * 16),
    Echo(name="echo-1k-pipelined", title="echo 1 KiB, pipelined", payload=TEXT * 16, in_flight=PIPELINED, seconds=0.6),
    Echo(name="echo-64k", title="echo 64 KiB", payload=TEXT * KIB),
    Echo(
        name="echo-64k-pipelined", title="echo 64 KiB, pipelined", payload=TEXT * KIB, in_flight=PIPELINED, seconds=0.6
    ),
    Echo(name="echo-1m", title="echo 1 MiB", payload=TEXT * 16 * KIB, connections=8, seconds=1.2),
    Echo(name="echo-1m-binary", title="echo 1 MiB, binary", payload=BYTES * 4 * KIB, connections=8, seconds=0.8),
    Echo(
        name="echo-1m-pipelined",
        title="echo 1 MiB, binary, pipelined",
        payload=BYTES * 4 * KIB,
        connections=8,
        in_flight=4,
        seconds=0.8,
    ),
    Handshakes(name="handshake", title="handshake"),
    Handshakes(name="handshake-jwt", title="handshake with a JWT", path=JWT),
    Latency(name="latency", title="2,000 echoes of 64 B a second", payload=TEXT, rate=2000),
    Broadcast(name="broadcast", title="broadcast, each delivery", text=TEXT * 2),
    Broadcast(name="broadcast-tasks", title="broadcast, a task each", text=TEXT * 2, path=TASKS),
    Broadcast(name="publish", title="publish, each delivery to 500", text=TEXT * 2, path=FEED, interval=0.04),
    Broadcast(
        name="publish-5000",
        title="publish, each delivery to 5,000",
        text=TEXT * 2,
        path=FEED,
        subscribers=5000,
        interval=0.25,
        seconds=2.0,
    ),
    Bystander(name="beside-room", title="echo beside a room of 3,000, p99", text=TEXT * 2, path=FEED),
    Bystander(name="beside-loop", title="echo beside a loop over 3,000, p99", text=TEXT * 2, path=LOOP),
    Stopped(
        name="stopped",
        title="a subscriber that has stopped reading",
        text=TEXT * 64,
        path=SLOW,
        speaking=SLOW_SPEAKER,
    ),
    Storm(name="storm", title="reconnect storm"),
    Memory(name="memory"),
    Echo(name="typed", title="attrs", payload=SAID, own_at=ROOM_AT, path=TYPED, unit=Unit.TYPED, seconds=1.6),
    Echo(
        name="typed-events",
        title="attrs, by an event",
        payload=SAID,
        own_at=ROOM_AT,
        path=EVENTS,
        unit=Unit.TYPED,
        seconds=1.6,
    ),
    Echo(
        name="typed-struct",
        title="msgspec.Struct",
        payload=SAID,
        own_at=ROOM_AT,
        path=STRUCT,
        unit=Unit.TYPED,
        seconds=1.6,
    ),
    Decoding(name="decode", title="decoding alone, attrs"),
)


@frozen
class Goal:
    """What Seawall has to reach: at most so many times what another server takes."""

    title: str
    against: str
    at_most: float
    aim: float | None = None
    """What would be better still."""
    than: str = ""
    """What the other one is measured at, if that is another row."""


GOALS = (
    Goal("echo 64 B", "trio-websocket", 0.22),
    Goal("echo 64 B", "websockets.trio", 0.23),
    Goal("echo 64 B", "websockets", 0.70),
    Goal("echo 64 B", "aiohttp", 1.3),
    Goal("echo 64 KiB", "websockets.trio", 0.42),
    Goal("echo 64 KiB", "websockets", 1.0),
    Goal("echo 64 KiB", "aiohttp", 1.25),
    Goal("echo 1 MiB", "websockets.trio", 0.6),
    Goal("echo 1 MiB", "trio-websocket", 0.16),
    Goal("handshake", "trio-websocket", 1.35, aim=1.25),
    Goal("an idle connection", "trio-websocket", 1.2),
    Goal("broadcast, each delivery", "aiohttp", 1.0),
    Goal("broadcast, each delivery", "trio-websocket", 0.13),
    Goal("broadcast, a task each", "trio-websocket", 0.13),
    Goal("publish, each delivery to 500", "aiohttp", 1.0, aim=0.9),
    Goal("publish, each delivery to 500", "trio-websocket", 0.12),
    Goal("publish, each delivery to 5,000", "aiohttp", 1.0),
    Goal("echo beside a room of 3,000, p99", "seawall", round(1 / 3, 2), than="echo beside a loop over 3,000, p99"),
    Goal("attrs", "fastapi", 0.6, aim=0.5),
    Goal("attrs", "fastapi-uvloop", 0.85, aim=0.7),
    Goal("msgspec.Struct", "fastapi", 0.5),
    Goal("msgspec.Struct", "fastapi-uvloop", 0.7),
    Goal("decoding alone, attrs", "cattrs", 0.7, aim=0.55),
    Goal("attrs, by an event", "seawall", 1.15, aim=1.05, than="attrs"),
)
