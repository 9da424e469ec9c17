"""Rooms from outside: clients that are not ours, over real sockets, and everything that befalls them there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Final, final

import aiohttp
import pytest
import trio
from attrs import define, field, frozen
from websockets.asyncio.client import connect

from seawall import App, Connection, Limits, Unavailable, public
from seawall.errors import SlowConsumer
from seawall.rooms import (
    Disconnect,
    DropNewest,
    DropOldest,
    Gap,
    Lag,
    Latest,
    Position,
    Room,
    RoomEvent,
    Since,
    Subscription,
)
from tests.kit.rooms import table_entries
from tests.kit.sockets import Place, Transport, client_context, everywhere, serving, surviving, until
from tests.kit.wire import CLOSE, TEXT, Frame, RawClient, frame

pytestmark = pytest.mark.slow

#: Seconds that anything here may take, on a machine that is busy with others.
PATIENCE: Final = 30.0


@frozen
class Said:
    """What is published."""

    publisher: int
    number: int
    filling: str = ""


@frozen
class Seen:
    """It, as a peer is told."""

    publisher: int
    number: int
    at: Position


@frozen
class Lost:
    """A gap, as a peer is told."""

    before: Position
    lost: int | None


def tell(event: RoomEvent[Said] | Gap) -> Seen | Lost:
    """Wrap everything."""
    if isinstance(event, Gap):
        return Lost(event.before, event.lost)
    return Seen(event.value.publisher, event.value.number, event.at)


def tell_all(event: RoomEvent[Said] | Gap) -> Said | Lost:
    """Wrap gaps."""
    return Lost(event.before, event.lost) if isinstance(event, Gap) else event.value


def publisher_of(value: Said) -> int:
    """For `Latest`."""
    return value.publisher


LAGS: Final[dict[str, Lag[Said]]] = {
    "oldest": DropOldest(5),
    "newest": DropNewest(5),
    "latest": Latest(publisher_of),
    "disconnect": Disconnect(5),
    "good": Disconnect(100_000),
}


@final
@define(eq=False)
class Hall:
    """An app with one room.

    ``/publish/{publisher}``: each message is a number, or some. ``/read/{lag}/{since}``: is told `Seen` and `Lost`.
    ``/whole/{lag}``: gets the events as they are. ``/flicker``: each message subscribes, and ends that again.
    """

    history: int = 0
    app: App = field(init=False)
    room: Room[Said] = field(init=False)
    readers: list[Subscription] = field(factory=list[Subscription])
    """All who have been let in."""
    ended: list[BaseException] = field(factory=list[BaseException])
    """Why the others have ended."""

    def __attrs_post_init__(self) -> None:
        """Define the app."""
        self.app = App(limits=Limits(send_timeout=PATIENCE))
        self.room = self.app.topic("rooms/{room}", Said, history=self.history)(room="one")
        self.app.route("/publish/{publisher:int}", guard=public)(self.publish)
        self.app.route("/flicker", guard=public)(self.flicker)
        self.app.route("/echo", guard=public)(self.echo)
        self.app.route("/read/{lag}/{since}", guard=public)(self.read)
        self.app.route("/whole/{lag}", guard=public)(self.whole)

    async def publish(self, conn: Connection[object], publisher: int) -> None:
        """Publish what comes."""
        async for said in conn:
            await self.room.publish(Said(publisher, int(said)))
            await conn.send("published")

    async def read(self, conn: Connection[object], lag: str, since: str) -> None:
        """Read from some position."""
        choices: dict[str, Since] = {"all": None, "joined": "joined"}
        at = choices[since] if since in choices else Position.parse(since)
        await self.stay(conn, conn.subscribe(self.room, since=at, lag=LAGS[lag], wrap=tell))

    async def whole(self, conn: Connection[object], lag: str) -> None:
        """Read from now on."""
        await self.stay(conn, conn.subscribe(self.room, since="joined", lag=LAGS[lag], wrap=tell_all))

    async def stay(self, conn: Connection[object], subscribing: AbstractAsyncContextManager[Subscription]) -> None:
        """Read until the peer goes."""
        try:
            async with subscribing as subscription:
                self.readers.append(subscription)
                async for _ in conn:
                    pass
        except BaseException as ended:
            self.ended.append(ended)
            raise

    async def flicker(self, conn: Connection[object]) -> None:
        """Subscribe again and again."""
        async for said in conn:
            async with conn.subscribe(self.room, since="joined", wrap=tell):
                pass
            await conn.send(f"flickered {said!r}")

    async def echo(self, conn: Connection[object]) -> None:
        """For who watches that nobody has to wait."""
        async for said in conn:
            await conn.send(said)

    async def wait_readers(self, count: int) -> None:
        """Wait until so many have been let in."""
        await until(lambda: len(self.readers) >= count, PATIENCE)

    async def flood(self, numbers: Iterable[int], filling: str = "") -> None:
        """Publish these, as if each came from one of three."""
        for number in numbers:
            await self.room.publish(Said(number % 3, number, filling))


async def message(client: RawClient) -> str:
    """The next message."""
    found = await client.but_pings()
    assert found.opcode == TEXT, found
    return found.payload.decode()


def parsed(text: str) -> Said | Lost:
    """What a message says; an event without its position."""
    fields = json.loads(text)
    if fields["type"] == "lost":
        return Lost(Position.parse(fields["before"]), fields["lost"])
    return Said(fields["publisher"], fields["number"])


async def contiguous(client: RawClient, first: int, last: int) -> list[int | Lost]:
    """What is told up to the event with the number `last`; it has no holes but gaps, and those are exact."""
    found, expected = list[int | Lost](), first
    while expected <= last:
        one = parsed(await message(client))
        if isinstance(one, Lost):
            assert one.lost is not None
            expected += one.lost
            found.append(one)
        else:
            assert one.number == expected, f"{one.number} where {expected} should be"
            found.append(expected)
            expected += 1
    return found


async def by_websockets(url: str, count: int, say: Sequence[int] = ()) -> list[str]:
    """What one hears in `count` messages who speaks by websockets."""
    tls = client_context() if url.startswith("wss") else None
    async with connect(url, ssl=tls, proxy=None) as client:
        for number in say:
            await client.send(str(number))
        return [str(await client.recv()) for _ in range(count)]


async def by_aiohttp(url: str, count: int, say: Sequence[int] = ()) -> list[str]:
    """The same, by aiohttp."""
    tls = client_context() if url.startswith("wss") else True
    async with aiohttp.ClientSession() as session, session.ws_connect(url, ssl=tls) as client:
        for number in say:
            await client.send_str(str(number))
        return [await client.receive_str() for _ in range(count)]


async def in_asyncio(*talks: Callable[[], Awaitable[list[str]]]) -> list[list[str]]:
    """Have all of them talk at once, in a thread."""

    async def gather() -> list[list[str]]:
        heard = await asyncio.wait_for(asyncio.gather(*(talk() for talk in talks)), PATIENCE)
        await asyncio.sleep(0.5)  # aiohttp closes TLS a moment later, its documentation says
        return heard

    return await trio.to_thread.run_sync(lambda: asyncio.run(gather()))


@pytest.mark.parametrize("over", ["plain", "tls"])
async def test_all_see_one_sequence(over: Transport) -> None:
    """Three who publish and twenty who read, by three libraries: one sequence for all, with each publisher's order."""
    each, hall = 150, Hall()
    heard, path = list[list[str]](), "/read/good/joined"

    async def read_raw(place: Place) -> None:
        client = await place.open(path)
        heard.append([await message(client) for _ in range(3 * each)])

    async def read_by_others(url: str) -> None:
        libraries = [by_websockets, by_aiohttp] * 7
        heard.extend(await in_asyncio(*(partial(one, url + path, 3 * each) for one in libraries)))

    async with serving(hall.app, over) as place:
        url = place.at.url
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(read_raw, place)
            nursery.start_soon(read_by_others, url)
            await hall.wait_readers(20)
            said = range(each)
            await in_asyncio(
                partial(by_websockets, f"{url}/publish/0", each, said),
                partial(by_aiohttp, f"{url}/publish/1", each, said),
                partial(by_websockets, f"{url}/publish/2", each, said),
            )
        place.hang_up()
    assert len(heard) == 20
    assert all(one == heard[0] for one in heard)
    events = [parsed(text) for text in heard[0]]
    for publisher in range(3):
        assert [one.number for one in events if isinstance(one, Said) and one.publisher == publisher] == [*said]


@everywhere("plain", "reader", "tls")
async def test_slow_readers_of_every_policy(over: Transport) -> None:
    """They stop, and go on: each has what its policy says, and a good one among them has everything."""
    hall, count, filling = Hall(), 500, "x" * 4096
    async with surviving(hall.app, over, buffers=16 * 1024) as place:
        slow = {lag: await place.open(f"/whole/{lag}", receive_buffer=4096) for lag in LAGS if lag != "good"}
        good = await place.open("/whole/good")
        await hall.wait_readers(5)
        frames = list[Frame]()

        async def read_what_is_left() -> None:  # what it does not take in time is dropped
            await until(lambda: bool(hall.ended), PATIENCE)
            frames.extend(await slow["disconnect"].rest())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_what_is_left)
            nursery.start_soon(hall.flood, range(count), filling)
            assert await contiguous(good, 0, count - 1) == [*range(count)]
        assert [type(one) for one in hall.ended] == [SlowConsumer]
        *_, end = seen = await contiguous(slow["oldest"], 0, count - 1)
        assert end == count - 1
        assert any(isinstance(one, Lost) for one in seen)
        assert seen[-5:] == [*range(count - 5, count)]
        assert len(await up_to_gap(slow["newest"])) > 5
        newest = dict[int, int]()
        while len(newest) < 3 or min(newest.values()) < count - 3:
            one = parsed(await message(slow["latest"]))
            assert isinstance(one, Said)
            assert one.number > newest.get(one.publisher, -1)
            newest[one.publisher] = one.number
        await hall.flood(range(count, count + 50))  # those that are left go on
        assert await contiguous(good, count, count + 49) == [*range(count, count + 50)]
        told = [json.loads(one.payload)["number"] for one in frames if one.opcode == TEXT]
        assert told == [*range(len(told))]
        assert all(one.code == 1008 for one in frames if one.opcode == CLOSE)  # which comes too late if this is busy


async def up_to_gap(client: RawClient) -> list[int | Lost]:
    """What comes up to the first gap, that included; it is contiguous."""
    found = list[int | Lost]()
    while True:
        one = parsed(await message(client))
        if isinstance(one, Lost):
            assert one.before.number == len(found) + (one.lost or 0)
            return [*found, one]
        assert one.number == len(found)
        found.append(one.number)


@pytest.mark.parametrize("over", ["plain", "tls"])
async def test_coming_back(over: Transport) -> None:
    """After 0.05 to 5 s somebody goes on exactly where they were, or is told how much is lost, and has the rest."""
    hall, numbers = Hall(history=100), iter(range(1_000_000))

    async def publish_on() -> None:
        for number in numbers:
            await hall.room.publish(Said(0, number))
            await trio.sleep(0.01)

    async def come_and_go(seconds: float) -> None:
        client = await place.open("/read/good/joined")
        last = [json.loads(await message(client)) for _ in range(10)][-1]
        client.reset()
        await trio.sleep(seconds)
        again = await place.open(f"/read/good/{last['at']}")
        fields = json.loads(await message(again))
        missed = last["number"] + 1
        if fields["type"] == "lost":
            assert seconds > 0.05
            missed += fields["lost"]
            assert Position.parse(fields["before"]).number == missed
            fields = json.loads(await message(again))
        else:
            assert seconds < 5
        assert fields["number"] == missed
        for number in range(missed + 1, missed + 120):
            assert json.loads(await message(again))["number"] == number

    async with serving(hall.app, over) as place, trio.open_nursery() as nursery:
        nursery.start_soon(publish_on)
        async with trio.open_nursery() as visitors:
            for seconds in (0.05, 0.1, 0.3, 3.1, 5.0):
                visitors.start_soon(come_and_go, seconds)
        for garbage in ("x", "-", "a-01", "a--1", "%E2%82%AC-1", "a-99999999999999999999", "a" * 25 + "-1"):
            client = await place.open(f"/read/good/{garbage}")
            assert (await client.dismissal(answer=True)).code == 1008, garbage
        for foreign in ("A-0", "a-9999999999999999999"):
            client = await place.open(f"/read/good/{foreign}")
            assert json.loads(await message(client))["lost"] is None
            first = json.loads(await message(client))["number"]
            assert json.loads(await message(client))["number"] == first + 1
        place.hang_up()
        nursery.cancel_scope.cancel()


@everywhere("plain", "reader", "tls")
async def test_vanishing_under_load(over: Transport) -> None:
    """Readers vanish by reset, in the middle of it all: the others have everything, and nothing is left of them."""
    hall, count = Hall(), 400
    async with surviving(hall.app, over) as place:
        staying = [await place.open("/whole/good") for _ in range(3)]
        going = [await place.open(f"/whole/{lag}") for lag in ("oldest", "newest", "latest", "good") * 5]
        await hall.wait_readers(23)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hall.flood, range(count), "x" * 500)
            for client in going:
                await message(client)
                client.reset()
            for client in staying:
                assert await contiguous(client, 0, count - 1) == [*range(count)]
        await place.idle(4)  # those that stay, and the innocent one
        place.hang_up()
        await place.idle(1)
        await until(lambda: table_entries(hall.app) == {}, PATIENCE, lambda: str(table_entries(hall.app)))


@everywhere("plain", "tls")
async def test_draining_in_the_middle(over: Transport) -> None:
    """Whoever reads while the server drains has a contiguous part, and a Close with 1001; then nobody publishes."""
    hall = Hall()
    async with serving(hall.app, over) as place:
        readers = [await place.open("/whole/good") for _ in range(10)]
        await hall.wait_readers(10)

        async def publish_on() -> None:
            with suppress(Unavailable):
                await hall.flood(range(1_000_000))

        seen = list[list[Frame]]()

        async def read_to_the_end(client: RawClient) -> None:
            seen.append(await client.end(within=PATIENCE, answer=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish_on)
            for client in readers:
                nursery.start_soon(read_to_the_end, client)
            await trio.sleep(0.2)
            await place.server.drain()
            await until(lambda: len(seen) == 10, PATIENCE)
        for frames in seen:
            told = [json.loads(one.payload)["number"] for one in frames if one.opcode == TEXT]
            assert told == [*range(len(told))]
            assert len(told) > 10
            assert frames[-1].code == 1001
        assert table_entries(hall.app) == {}


@everywhere("plain", "tls")
async def test_subscribing_and_leaving_all_the_time(over: Transport) -> None:
    """Four connections subscribe and leave, thousands of times beside one that reads it all: nothing is left."""
    hall, times = Hall(), 1000
    async with surviving(hall.app, over) as place:
        good = await place.open("/whole/good")
        await hall.wait_readers(1)

        async def flicker() -> None:
            client, done = await place.open("/flicker"), 0
            await client.send(*(frame(TEXT, b"again") for _ in range(times)))
            while done < times:
                done += (await message(client)).startswith("flickered")

        began = time.process_time()  # what else the machine does is not counted
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(flicker)
            nursery.start_soon(hall.flood, range(1000))
            assert await contiguous(good, 0, 999) == [*range(1000)]
        assert time.process_time() - began < 4 * times / 300, "1,000 a second are common, over two transports at once"
        place.hang_up()
        await until(lambda: table_entries(hall.app) == {}, PATIENCE, lambda: str(table_entries(hall.app)))
