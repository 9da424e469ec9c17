"""Presence over real sockets: clients that close, vanish and reload, and servers that drain."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from seawall import Unavailable
from tests.kit.presence import Meeting, Watched, meeting, watching
from tests.kit.processes import PATIENCE
from tests.kit.sockets import DRIVEN, Place, Transport, serving, until
from tests.kit.tokens import by, token
from tests.kit.wire import TEXT, Frame, RawClient, close_frame, frame

pytestmark = pytest.mark.slow

LINGER = 0.5
#: So long nothing is told of somebody who is back at once.
QUIET = 1.5


def field_of(who: str) -> bytes:
    """The header by which `who` is let in."""
    return f"Authorization: Bearer {token(who)}".encode()


async def come(place: Place, who: str, room: str = "tea") -> RawClient:
    """A client of bytes that is in a room."""
    client = await place.dial()
    await client.upgrade(f"/{room}/{who}", field_of(who))
    assert await client.but_pings() == Frame(TEXT, b"in")
    return client


async def go(client: RawClient, how: str) -> None:
    """End a connection in one of the ways in which they end."""
    match how:
        case "close":
            await client.send(close_frame(1000))
        case "reset":
            client.reset()
        case "hang up":
            client.close()
        case "leave":
            await client.send(frame(TEXT, b"."))
        case _:
            await client.send(frame(TEXT, b"!"))


@pytest.mark.parametrize(
    ("over", "how"),
    [("plain", "close"), ("plain", "reset"), ("plain", "hang up"), ("reader", "reset"), ("tls", "hang up")],
)
async def test_a_reload(over: Transport, how: str) -> None:
    """Whoever ends a connection and is back at once was never away; who stays away has left, once."""
    met = meeting(linger=QUIET)
    async with serving(met.app, over) as place, watching(met.room()) as watched:
        for _ in range(3):
            await go(await come(place, "ada"), how)
        last = await come(place, "ada")
        await trio.sleep(QUIET + 0.5)
        assert watched.take() == ["=", "+ada"]
        await go(last, how)
        await until(lambda: not met.names(), PATIENCE)
        await until(lambda: bool(watched.log), PATIENCE)
        assert watched.take() == ["-ada"]
        place.hang_up()


@pytest.mark.parametrize("over", DRIVEN)
async def test_a_crowd(over: Transport) -> None:
    """Whatever many clients do: snapshot plus changes is who is there, and each has left once in the end."""
    met, chance = meeting(linger=LINGER), random.Random(1507)
    at_once = trio.CapacityLimiter(8)

    async def visit(place: Place, number: int) -> None:
        async with at_once:
            client = await come(place, f"u{number % 7}", chance.choice(["tea", "milk"]))
            for _ in range(chance.randrange(3)):
                await client.send(frame(TEXT, f"{number} {chance.random()}".encode()))
            await trio.sleep(chance.random() / 20)
            await go(client, chance.choice(["close", "reset", "hang up", "leave", "fail"]))

    async with serving(met.app, over) as place, watching(met.room()) as tea, watching(met.room("milk")) as milk:
        async with trio.open_nursery() as nursery:
            for number in range(120):
                nursery.start_soon(visit, place, number)
            for _ in range(5):
                await trio.sleep(0.05)
                async with watching(met.room()) as late:
                    await until(partial(agree, late, tea), PATIENCE)
        place.hang_up()
        for room, watched in (("tea", tea), ("milk", milk)):
            await until(partial(is_empty, met, room, watched), PATIENCE)
            assert watched.came == watched.left
            assert len(watched.left) > 5
            assert watched.gaps == 0


def agree(one: Watched, other: Watched) -> bool:
    """Whether both have been told the same."""
    return one.present == other.present


def is_empty(met: Meeting, room: str, watched: Watched) -> bool:
    """Whether nobody is there, and that has been told."""
    return not met.names(room) and not watched.present


async def by_websockets(place: Place, conversation: Callable[[ClientConnection], None], who: str) -> None:
    """Let the websockets client, in a thread, be in the room."""

    def dial() -> None:
        url = f"{place.at.url}/tea/{who}"
        with connect(url, proxy=None, additional_headers=by(token(who)), open_timeout=PATIENCE) as client:
            assert client.recv(timeout=PATIENCE) == "in"
            conversation(client)

    await trio.to_thread.run_sync(dial)


async def test_with_the_websockets_client() -> None:
    """It is there, says something else, reloads without a flicker, and is kicked by 3003."""
    met = meeting(linger=QUIET)

    def rename(client: ClientConnection) -> None:
        client.send("eve")
        assert client.recv(timeout=PATIENCE) == "updated"

    def stay(client: ClientConnection) -> None:
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(timeout=PATIENCE)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (3003, "kicked")

    async with serving(met.app) as place, watching(met.room()) as watched:
        await by_websockets(place, rename, "ada")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(by_websockets, place, stay, "ada")
            await until(lambda: watched.present != {} and list(watched.present.values()) == ["ada"], PATIENCE)
            assert await met.room().kick(subject="ada") == 1
        await until(lambda: not watched.present, PATIENCE)
        assert watched.take() == ["=", "+ada", "ada>eve", "eve>ada", "-ada"]
        await by_websockets_refused(place)


async def by_websockets_refused(place: Place) -> None:
    """Whoever has been kicked is told so again."""

    def dial() -> None:
        with (
            connect(f"{place.at.url}/tea/ada", proxy=None, additional_headers=by(token("ada"))) as client,
            pytest.raises(ConnectionClosed) as caught,
        ):
            client.recv(timeout=PATIENCE)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 3003

    await trio.to_thread.run_sync(dial)


async def test_a_drain() -> None:
    """When the server drains, all leave at once, each once, and nobody lingers in what is not served."""
    met, watched = meeting(linger=60), Watched()

    async def read(task_status: trio.TaskStatus[None]) -> None:
        with suppress(Unavailable):
            async with met.room().changes() as changes:
                task_status.started()
                async for change in changes:
                    watched.told(change)

    async with trio.open_nursery() as nursery, serving(met.app) as place:
        await nursery.start(read)
        clients = [await come(place, f"u{number}") for number in range(5)]
        await go(clients[0], "hang up")
        await until(lambda: len(met.names()) == 5 and place.sessions == 4, PATIENCE)
        await place.server.drain()
        await until(lambda: not met.names(), PATIENCE)
        place.hang_up()
    assert len(watched.came) == 5
    assert len(watched.left) >= 4, "all but who lingered, of whom nobody is left to be told"
    assert watched.came == watched.left | watched.present.keys()
    assert met.names() == []
