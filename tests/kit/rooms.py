"""What tests of rooms need: what is published, how it is wrapped, and what the tables of an app's rooms hold."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from attrs import frozen

from seawall import App, Connection, Limits, public
from seawall.rooms import Gap, Position, RoomEvent
from seawall.testing.network import MemoryListener, MemoryStream
from tests.kit.memory import Peer

if TYPE_CHECKING:
    from seawall.topics.hub import Hub

#: Deadlines of connections that no test of rooms in virtual time is to meet.
PATIENT: Final = Limits(ping_interval=1e6, ping_timeout=1e6, send_timeout=1e6)


@frozen
class Said:
    """What is published."""

    number: int
    """Of all that a test publishes, each has another one."""
    key: int = 0
    filling: str = ""


@frozen
class Seen:
    """A `Said`, and where it is."""

    number: int
    at: Position


@frozen
class Lost:
    """A `Gap`, for a peer."""

    before: Position
    lost: int | None


#: Makes a message of what is read.
Wrap: TypeAlias = Callable[[RoomEvent[Said] | Gap], Seen | Lost | None]


def tell(event: RoomEvent[Said] | Gap) -> Seen | Lost:
    """Wrap everything."""
    if isinstance(event, Gap):
        return Lost(event.before, event.lost)
    return Seen(event.value.number, event.at)


async def take(events: AsyncIterator[RoomEvent[Said] | Gap], count: int) -> list[int | str]:
    """What is read next, and is there: the numbers of events, and what gaps say."""
    got = list[int | str]()
    with trio.fail_after(1):
        while len(got) < count:
            one = await anext(events)
            got.append(f"{one.lost} lost" if isinstance(one, Gap) else one.value.number)
    return got


def tell_some(event: RoomEvent[Said] | Gap) -> Seen | Lost | None:
    """Wrap gaps, and events whose key is even; say nothing of others."""
    if isinstance(event, Gap):
        return Lost(event.before, event.lost)
    return None if event.value.key % 2 else Seen(event.value.number, event.at)


def by_key(value: Said) -> int:
    """For `Latest`."""
    return value.key


def hub_of(app: App) -> Hub:
    """What the rooms of an app share."""
    return app._topics.hub  # pyright: ignore[reportPrivateUsage] # what leaks, leaks in here


def held(app: App) -> int:
    """The bytes that all rooms of an app hold."""
    return hub_of(app)._memory.held  # pyright: ignore[reportPrivateUsage] # as above


def pinned(app: App) -> int:
    """Events that are kept because somebody has pinned them, though they are older than what is kept anyway."""
    logs = hub_of(app)._memory._logs.values()  # pyright: ignore[reportPrivateUsage] # as above
    return sum(len(log._pinned or ()) for log in logs)  # pyright: ignore[reportPrivateUsage] # as above


def table_entries(app: App) -> dict[str, int]:
    """What is in the tables of an app's rooms; those that are empty are left out."""
    hub = hub_of(app)
    engine, pump = hub._memory, hub.pump  # pyright: ignore[reportPrivateUsage] # as above
    found = {
        "rooms": len(engine),
        "bytes": engine.held,
        "rooms with a time to live": len(engine._due),  # pyright: ignore[reportPrivateUsage] # as above
        "classes of rooms": len(engine._budget._classes),  # pyright: ignore[reportPrivateUsage] # as above
        "rounds": len(pump._rounds),  # pyright: ignore[reportPrivateUsage] # as above
        "woken": len(pump._woken),  # pyright: ignore[reportPrivateUsage] # as above
        "queues of publishers": len(pump._queues),  # pyright: ignore[reportPrivateUsage] # as above
        "publishers that wait": sum(len(queue.lot) for queue in pump._queues.values()),  # pyright: ignore[reportPrivateUsage] # as above
        "renderers": len(hub.renderers._renderers),  # pyright: ignore[reportPrivateUsage] # as above
        "kicks": len(hub.kicks),
    }
    return {name: count for name, count in found.items() if count}


@asynccontextmanager
async def in_memory(app: App) -> AsyncGenerator[Callable[[str], Awaitable[Peer]]]:
    """Serve an app to peers, each of which is connected at a path; cancelled on leaving."""
    listener = MemoryListener()

    async def dial(path: str = "/") -> Peer:
        peer = Peer(listener.connect())
        await peer.open(path)
        return peer

    async with trio.open_nursery() as nursery:
        await app.start(nursery, listeners=[listener])
        yield dial
        nursery.cancel_scope.cancel()


def network_of(peer: Peer) -> MemoryStream:
    """What stalls, resumes and resets its connection."""
    assert isinstance(peer.stream, MemoryStream)
    return peer.stream


def room_app(read: Callable[[Connection[object], str], Awaitable[None]], limits: Limits = PATIENT) -> App:
    """An app with one route, ``/{name}``, whose handler is `read`."""
    app = App(limits=limits)

    @app.route("/{name}", guard=public)
    async def handler(conn: Connection[object], name: str) -> None:
        await read(conn, name)

    return app
