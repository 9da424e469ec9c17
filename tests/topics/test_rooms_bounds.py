"""Rooms at their bounds: too much history, compression, connections that end, many who come and go."""

from __future__ import annotations

import json
import zlib

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Connection, Deflate, Limits, SubscriptionLost, public
from seawall.connection.connection import state_of
from seawall.rooms import Disconnect, DropOldest, Gap, Latest, RoomEvent
from seawall.testing import Closed, serve
from seawall.topics.engine import MemoryEngine
from tests.kit.memory import Peer


def engine(app: App) -> MemoryEngine:
    """Where its rooms are."""
    made = app._topics.hub.engine  # pyright: ignore[reportPrivateUsage] # no user has a reason to look
    assert isinstance(made, MemoryEngine)
    return made


async def test_a_flood_costs_its_own_room(autojump_clock: MockClock) -> None:
    """Above ``room_history`` the flooded room gives up its oldest events, which its readers are told; others do not."""
    app, ends = App(limits=Limits(room_history=100_000)), list[BaseException]()
    topic = app.topic("rooms/{room}", str, history=50)
    conns = list[Connection[Anonymous]]()

    @app.route("/", guard=public)
    async def enter(conn: Connection[Anonymous]) -> None:
        conns.append(conn)
        try:
            async with conn.subscribe(topic(room="flooded"), lag=Disconnect(100_000)):
                await trio.sleep_forever()
        except SubscriptionLost as lost:
            ends.append(lost)
            raise

    async with serve(app) as serving, serving.connect("/") as slow:
        for number in range(20):
            await topic(room="quiet").publish(str(number))
        await wait_all_tasks_blocked()
        state_of(conns[0]).channel.send_buffer.pending = bytearray(b"\x8a\x00")
        for number in range(300):
            await topic(room="flooded").publish(f"{number:0500}")
            await wait_all_tasks_blocked()
            assert engine(app).held <= 100_000
        assert len(await topic(room="quiet").history(50)) == 20
        assert ends == []  # nobody has been able to tell it anything
        buffer = state_of(conns[0]).channel.send_buffer
        buffer.mark_written(len(buffer.pending))
        with pytest.raises(Closed) as closed:
            await slow.receive()
        assert closed.value.code == 1013
        [lost] = ends
        assert isinstance(lost, SubscriptionLost)
        assert lost.lost
        for number in range(2000):
            topic(room=f"room {number}").publish_nowait("x" * 1000)
        assert engine(app).held <= 100_000
        assert len(engine(app)) <= 100


async def test_each_connection_compresses_for_itself(autojump_clock: MockClock) -> None:
    """Where compression was agreed on, events arrive all the same: alone, in a burst, beside who does not compress."""
    app = App(compression=Deflate(threshold=0))
    topic = app.topic("news", str)

    @app.route("/packed", guard=public)
    @app.route("/plain", guard=public, compression=False)
    async def enter(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(topic()):
            await trio.sleep_forever()

    async with serve(app) as serving, serving.connect("/plain") as plain:
        packed, inflater = Peer(serving.open_stream()), zlib.decompressobj(wbits=-15)
        await packed.open("/packed", "Sec-WebSocket-Extensions: permessage-deflate")
        await wait_all_tasks_blocked()
        texts = [f"{number} " * 20 for number in range(200)]
        for text in texts:
            topic().publish_nowait(text)
        assert [await plain.receive() for _ in texts] == texts
        data, inflated = bytearray(), list[str]()
        while len(inflated) < len(texts):
            data += await packed.stream.receive_some()
            while len(data) > 1 and len(data) >= 2 + data[1]:
                assert data[0] == 0xC1  # compressed, as its first reserved bit says
                inflated.append(inflater.decompress(data[2 : 2 + data[1]] + b"\x00\x00\xff\xff").decode())
                del data[: 2 + data[1]]
        assert inflated == texts
        await packed.stream.aclose()


async def test_a_connection_that_ends(autojump_clock: MockClock) -> None:
    """What is published while a connection closes, or its handler winds down, goes to the others."""
    app = App()
    topic = app.topic("news", str)
    conns = list[Connection[Anonymous]]()

    @app.route("/", guard=public)
    async def enter(conn: Connection[Anonymous]) -> None:
        conns.append(conn)
        async with conn.subscribe(topic()), conn.subscribe(topic(), wrap=lambda event: "wrapped"):
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)
            await trio.sleep_forever()

    async with serve(app) as serving, serving.connect("/") as one, serving.connect("/"):
        await wait_all_tasks_blocked()
        conns[1].close_nowait(4000)
        for number in range(3):
            await topic().publish(str(number))
        heard = [await one.receive() for _ in range(6)]
        assert [message for message in heard if message != "wrapped"] == ["0", "1", "2"]
        await trio.sleep(2)
        await topic().publish("last")
    assert (len(engine(app)), engine(app).held) == (0, 0)


async def test_many_come_and_go_while_others_stay(autojump_clock: MockClock) -> None:
    """Whoever stays misses nothing, and the places of those who have left are used again."""
    app, heard = App(), list[str]()
    topic = app.topic("news", str)
    async with serve(app), trio.open_nursery() as nursery:

        async def stay() -> None:
            async with topic().events() as events:
                async for event in events:
                    assert isinstance(event, RoomEvent)
                    heard.append(event.value)
                    if event.value == "last":
                        return

        async def come_and_go(number: int) -> None:
            await trio.sleep(number / 10)
            async with topic().events(since="joined") as events:
                async for _ in events:
                    return

        nursery.start_soon(stay)
        for number in range(200):
            nursery.start_soon(come_and_go, number)
        await wait_all_tasks_blocked()
        for number in range(220):
            await topic().publish(str(number))
            await trio.sleep(0.1)
        [log] = engine(app)._logs.values()  # pyright: ignore[reportPrivateUsage] # a leak would be here
        assert len(log.readers.slots) < 30
        await topic().publish("last")
    assert heard == [*map(str, range(220)), "last"]
    assert len(engine(app)) == 0


async def test_what_is_used_twice(autojump_clock: MockClock) -> None:
    """A subscription is entered once, and one task at a time reads events; a key that fails lets nobody in."""
    app = App()
    topic = app.topic("news", str, history=3, ttl=5)

    def fail(_: str) -> str:
        raise LookupError

    @app.route("/", guard=public)
    async def enter(conn: Connection[Anonymous]) -> None:
        again = conn.subscribe(topic())
        async with again:
            with pytest.raises(RuntimeError, match="entered once"):
                await again.__aenter__()
        with pytest.raises(LookupError):
            async with conn.subscribe(topic(), lag=Latest(fail)):
                raise AssertionError
        with pytest.raises(LookupError):
            async with topic().events(lag=Latest(fail)):
                raise AssertionError
        await conn.send(json.dumps(len(state_of(conn).subscriptions)))

    async with serve(app) as serving:
        await topic().publish("1")
        async with serving.connect("/") as one:
            assert [await one.receive() for _ in range(1)][-1] in {"1", "0"}
        async with topic().events(since="joined", lag=DropOldest(2)) as events, trio.open_nursery() as nursery:
            nursery.start_soon(events.__anext__)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await anext(events)
            await trio.sleep(20)  # the first has become too old meanwhile
            assert engine(app).held == 0
            await topic().publish("2")
        async with topic().events() as events:
            assert not isinstance(await anext(events), Gap)
        await trio.sleep(20)
        assert len(engine(app)) == 0
