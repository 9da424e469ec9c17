"""Who leaves a room and comes back on the same connection reads each event once; who does not leave is made to."""

from __future__ import annotations

import json
from random import Random

import pytest
import trio
from attrs import define, field, frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Connection, Disconnected, Limits, SlowConsumer, public
from seawall.rooms import Disconnect, Gap, Position, RoomEvent, Since, Subscription
from seawall.testing import Client, Closed, serve
from tests.kit.rooms import table_entries

LAST = 300

#: One that is ended by its lag, and by nothing else.
PATIENT = Limits(send_timeout=10_000, ping_interval=None, outbound_buffer=50_000)


@frozen
class Said:
    """What is published."""

    number: int
    filling: str = ""


@frozen
class Numbered:
    """What a peer is sent."""

    number: int


@frozen
class Missing:
    """What it is sent of a gap."""

    lost: int | None


def numbered(event: RoomEvent[Said] | Gap) -> Numbered | Missing:
    """Without what fills it."""
    return Missing(event.lost) if isinstance(event, Gap) else Numbered(event.value.number)


async def read(client: Client, seen: list[object]) -> None:
    """Note each number, and each gap."""
    while True:
        message = json.loads(await client.receive())
        if message["type"] != "aside":
            seen.append(message.get("number", message))


@define
class Wanderer:
    """Leaves a room and comes back, by chance."""

    chance: Random
    sends: bool
    """Whether what wraps events sends to the connection as well, now and then so much that nothing more fits."""
    stays: bool = False
    """Whether it leaves no more."""
    conns: list[Connection[Anonymous]] = field(factory=list[Connection[Anonymous]])

    def wrap(self, event: RoomEvent[Said] | Gap) -> Numbered | Missing:
        """Called in the task that serves all rooms."""
        if self.sends and self.chance.random() < 0.2:
            try:
                self.conns[0].send_nowait(json.dumps({"type": "aside", "x": "x" * self.chance.choice([1, 49_900])}))
            except trio.WouldBlock:
                pass
        return numbered(event)

    async def pause(self) -> None:
        """Some turns, or some time, or none."""
        for _ in range(self.chance.randrange(4)):
            await trio.lowlevel.checkpoint()
        if self.chance.random() < 0.3:
            await trio.sleep(self.chance.choice([0.001, 0.01, 0.2]))


@pytest.mark.parametrize("sends", [False, True])
@pytest.mark.parametrize("seed", range(8))
async def test_leaving_and_coming_back(seed: int, *, sends: bool, autojump_clock: MockClock) -> None:
    """By the position of what was left, whether it ended or was ended, and wherever the pump was then."""
    wanderer = Wanderer(Random(seed), sends)
    chance, seen = wanderer.chance, list[object]()
    app = App(limits=PATIENT)
    room = app.topic("rooms", Said, history=LAST + 1, lag=Disconnect(3))()

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        conn.discard_input()
        wanderer.conns.append(conn)
        since: Since = "joined"
        left: list[Subscription] = []
        while True:
            try:
                async with conn.subscribe(room, since=since, wrap=wanderer.wrap) as reading:
                    left.append(reading)
                    if wanderer.stays:
                        await trio.sleep_forever()
                    await wanderer.pause()
            except SlowConsumer:
                pass  # it was too far behind, and comes back at once
            since = left[-1].position
            await wanderer.pause()

    async with serve(app) as server:
        room.publish_nowait(Said(-1))  # before which a position is one of nothing that is kept
        async with server.connect("/") as client, trio.open_nursery() as nursery:
            await wait_all_tasks_blocked()
            nursery.start_soon(read, client, seen)
            for number in range(LAST):
                room.publish_nowait(Said(number, "x" * chance.choice([1, 100, 5000])))
                await wanderer.pause()
                client.resume()
                if chance.random() < 0.2:
                    client.stall()
            client.resume()
            wanderer.stays = True
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
    assert seen == [*range(LAST)]


async def test_what_did_not_fit_is_behind_the_position(autojump_clock: MockClock) -> None:
    """A `wrap` that fills the buffer itself ends the subscription, whose position is before what was not sent."""
    app = App(limits=PATIENT)
    room = app.topic("rooms", Said, history=10)()
    fills = [True]

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        conn.discard_input()

        def fill(event: RoomEvent[Said] | Gap) -> Numbered | Missing:
            if fills:
                fills.pop()
                conn.send_nowait(json.dumps({"type": "aside", "x": "x" * 200_000}))
            return numbered(event)

        since: Position = room.publish_nowait(Said(0))
        room.publish_nowait(Said(1))
        left: list[Subscription] = []
        with pytest.raises(SlowConsumer, match=r"^slow consumer: behind in rooms\(\)$"):  # noqa: PT012 - the block is what ends
            async with conn.subscribe(room, since=since, wrap=fill) as reading:
                left.append(reading)
                await trio.sleep_forever()
        assert left[0].position == since
        async with conn.subscribe(room, since=left[0].position, wrap=fill):
            await trio.sleep_forever()

    seen: list[object] = []
    async with serve(app) as server, server.connect("/") as client, trio.open_nursery() as nursery:
        client.stall()
        await wait_all_tasks_blocked()
        client.resume()
        nursery.start_soon(read, client, seen)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert seen == [1]


async def test_a_block_that_was_cancelled_is_over_before_the_next_begins(autojump_clock: MockClock) -> None:
    """Though it is another task's, and whichever task has its turn first: nobody hears twice what is said just then."""
    app = App(limits=PATIENT)
    room = app.topic("rooms", Said)()
    says = trio.Event()
    count = 300

    async def say(number: int) -> None:
        await says.wait()
        room.publish_nowait(Said(number))

    async def stay(conn: Connection[Anonymous], scope: trio.CancelScope) -> None:
        with scope:
            async with conn.subscribe(room, since="joined"):
                await trio.sleep_forever()

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        nonlocal says
        conn.discard_input()
        for number in range(count):
            scope, says = trio.CancelScope(), trio.Event()
            conn.nursery.start_soon(stay, conn, scope)
            conn.nursery.start_soon(say, number)
            await wait_all_tasks_blocked()
            scope.cancel()
            room.publish_nowait(Said(-1))
            says.set()
            async with conn.subscribe(room, since="joined"):
                await wait_all_tasks_blocked()

    seen: list[object] = []
    async with serve(app) as server, server.connect("/") as client:
        with pytest.raises(Closed, match="1000"):
            await read(client, seen)
    said = [number for number in seen if number != -1]
    assert said
    assert len(said) == len({*map(str, said)})


async def test_what_is_never_left_ends_with_the_connection(autojump_clock: MockClock) -> None:
    """Of a block that is entered by hand, and not left, nothing stays in the rooms' tables."""
    app = App()
    topic, people = app.topic("rooms/{room}", str), app.presence("rooms/{room}", str)

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        await people(room="a").joined(conn, "ada").__aenter__()
        await conn.subscribe(topic(room="a")).__aenter__()

    async with serve(app) as server:
        async with server.connect("/") as client:
            await client.wait_closed()
        await wait_all_tasks_blocked()
        assert people(room="a").members() == ()
        assert table_entries(app) == {}


async def test_what_another_task_has_ends_with_the_connection(autojump_clock: MockClock) -> None:
    """A task that is none of the connection's, and subscribes for it, is told that it is disconnected."""
    app, ended = App(), list[str]()
    topic, people = app.topic("rooms/{room}", str), app.presence("rooms/{room}", str)
    connections, outside = trio.open_memory_channel[Connection[Anonymous]](1)

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        await connections.send(conn)
        await conn.receive()

    async def subscribe() -> None:
        conn = await outside.receive()
        with pytest.raises(Disconnected):  # noqa: PT012 - as a handler would
            async with conn.subscribe(topic(room="a")):
                try:
                    async with people(room="a").joined(conn, "ada"):
                        await conn.send("subscribed")
                        await trio.sleep_forever()
                finally:
                    ended.append("body")

    async with serve(app) as server, trio.open_nursery() as nursery:
        nursery.start_soon(subscribe)
        async with server.connect("/") as client:
            assert await client.receive() == "subscribed"
        await wait_all_tasks_blocked()
        assert ended == ["body"]
        assert people(room="a").members() == ()
        assert table_entries(app) == {}
