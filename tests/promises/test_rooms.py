"""Rooms over real sockets: who does not read costs the others nothing, and the server next to nothing."""

from __future__ import annotations

import json
from typing import Final

import pytest
import trio
from attrs import define

from seawall import Anonymous, App, Connection, Limits, public
from seawall.connection.connection import state_of
from seawall.lag import DropOldest
from seawall.rooms import Gap, RoomEvent
from tests.kit.sockets import DRIVEN, Transport, everywhere, surviving, until
from tests.kit.wire import PATIENCE, RawClient

pytestmark = pytest.mark.slow

#: Each event is so large, and so many are published: more than all the kernels' buffers hold.
SIZE: Final = 4096
COUNT: Final = 600


@define
class Numbered:
    """What is published."""

    number: int
    filling: str = "x" * SIZE


@define
class Told:
    """A gap."""

    lost: int | None


def tell(event: RoomEvent[Numbered] | Gap) -> Numbered | Told:
    """What the peers are sent."""
    return Told(event.lost) if isinstance(event, Gap) else event.value


async def numbers(client: RawClient, until_number: int) -> list[int]:
    """What it is sent up to an event, which is contiguous or has exact gaps; the numbers of the events."""
    found, expected = list[int](), 0
    with trio.fail_after(PATIENCE):
        while expected <= until_number:
            fields = json.loads((await client.frame()).payload)
            if fields["type"] == "told":
                expected += fields["lost"]
            else:
                assert fields["number"] == expected
                found.append(expected)
                expected += 1
    return found


@pytest.mark.usefixtures("calm")
@everywhere(*DRIVEN)
async def test_who_does_not_read_costs_nobody_anything(over: Transport) -> None:
    """A good reader has every event; one that has stopped holds one frame at the server, and later has a gap."""
    app, conns = App(limits=Limits(send_timeout=PATIENCE, room_history=8 * 1024 * 1024)), list[Connection[Anonymous]]()
    topic = app.topic("rooms/{room}", Numbered, lag=DropOldest(1))

    @app.route("/echo", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    @app.route("/{lag:int}", guard=public)
    async def enter(conn: Connection[Anonymous], lag: int) -> None:
        async with conn.subscribe(topic(room="one"), wrap=tell, lag=DropOldest(lag)):
            conns.append(conn)
            await trio.sleep_forever()

    async with surviving(app, over, buffers=SIZE * 4) as place:
        slow = await place.open("/10", receive_buffer=SIZE)
        good = await place.open(f"/{COUNT}")
        await until(lambda: len(conns) == 2)
        seen = list[int]()

        async def read() -> None:
            seen.extend(await numbers(good, COUNT - 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for number in range(COUNT):
                await topic(room="one").publish(Numbered(number))
                await trio.lowlevel.checkpoint()
        pending = max(len(state_of(conn).channel.send_buffer.pending) for conn in conns)
        assert pending < 3 * SIZE
        assert seen == list(range(COUNT))
        late = await numbers(slow, COUNT - 1)
        assert late[-10:] == list(range(COUNT - 10, COUNT))
        assert len(late) < COUNT
        slow.close()
        good.close()
