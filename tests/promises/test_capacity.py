"""Too many connections, and no descriptors left: told, survived, and over as soon as there is room again."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from seawall import Anonymous, ConfigurationError, Gate, Limits, guard
from tests.kit.sockets import EVERYWHERE, Transport, echo, echo_app, serving, surviving, until
from tests.kit.wire import PROMPT, SOON, TEXT, Frame, RawClient, close_frame, frame, request

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_one_connection_too_many_gets_503(over: Transport) -> None:
    """It is told when to come back, may be as rude as it likes, and the place is free when another has left."""
    async with surviving(echo_app(limits=Limits(max_connections=3)), over) as place:
        first, second = await place.open(), await place.open()
        for piece in (request(), b"\xff" * 1000, request() + bytes(100_000)):
            client = await place.dial()
            await client.send(piece)
            answer = await client.response()
            assert (answer.status, answer.header("retry-after")) == (503, "5")
            client.close()
        first.reset()
        await place.idle(2)
        await place.open()
        second.close()


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_strangers_do_not_take_the_places_of_those_who_were_let_in(over: Transport) -> None:
    """So many may be on their way in at a time; one more gets 503, until one of them is through or has gone."""
    passing, at_work = trio.Event(), 0

    @guard
    async def asks(gate: Gate, proved: Anonymous) -> Anonymous:
        nonlocal at_work
        at_work += 1
        await passing.wait()
        return proved

    app = echo_app(limits=Limits(max_unauthenticated=3, close_timeout=1.0))
    app.route("/asks", guard=asks)(echo)
    async with surviving(app, over) as place:
        members = [await place.open() for _ in range(5)]
        asked = [await place.dial() for _ in range(3)]
        for client in asked:
            await client.send(request("/asks"))
        await until(lambda: at_work == 3)
        surplus = await place.dial()
        await surplus.send(request())
        answer = await surplus.response()
        assert (answer.status, answer.header("retry-after")) == (503, "5")
        passing.set()
        for client in asked:
            assert (await client.response()).status == 101
        late = await place.open()
        for client in (*members, *asked, late):
            await client.echo(b"let in")


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_strangers_who_say_nothing_keep_nobody_out(over: Transport) -> None:
    """However many come: the oldest of them is told, and closed within a second, and who asks is let in."""
    async with surviving(echo_app(limits=Limits(max_unauthenticated=3)), over) as place:
        strangers = [await place.dial_plain() for _ in range(10)]
        await until(lambda: place.sessions > 3)
        for _ in range(10):
            client = await place.open()
            await client.echo(b"let in")
        for stranger in strangers[:6]:
            assert await stranger.eof() < PROMPT


@pytest.mark.parametrize("over", ["plain", "tls", "unix"], indirect=True)
async def test_a_flood_of_surplus_connections_is_bounded(over: Transport) -> None:
    """Those that say nothing are told and freed within a second, and so many at once are just closed."""
    async with surviving(echo_app(limits=Limits(max_connections=1)), over) as place:
        clients = [await place.dial() for _ in range(300)]
        await until(lambda: place.sessions > 50)
        assert place.sessions <= 101
        await place.idle(1, within=PROMPT)
        for client in clients:
            assert await client.eof() < SOON


@pytest.mark.parametrize("over", ["plain", "tls"], indirect=True)
async def test_one_address_takes_no_more_than_its_places(over: Transport) -> None:
    """One too many from it gets 429, may be as rude as it likes, and is let in when another has left."""
    async with surviving(echo_app(limits=Limits(max_connections_per_address=3)), over) as place:
        first, second = await place.open(), await place.open()
        for piece in (request("/echo"), b"\xff" * 1000):
            client = await place.dial()
            await client.send(piece)
            answer = await client.response()
            assert (answer.status, answer.header("retry-after")) == (429, "5")
            client.close()
        for leaving in (first, second):
            leaving.reset()
        await place.idle(1)
        for _ in range(2):
            await place.open()


async def test_places_of_an_address_where_there_are_none() -> None:
    """Over a Unix socket everybody is the proxy: nobody is counted."""
    async with surviving(echo_app(limits=Limits(max_connections_per_address=1)), "unix") as place:
        for _ in range(3):
            await place.open()


@contextmanager
def no_free_descriptor() -> Generator[None]:
    """Every call that needs a new descriptor fails."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_running_out_of_descriptors_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    """Open connections go on, the log says it once, and those that wait are let in when there is room again."""

    def complaints() -> int:
        return sum("Too many open files" in record.getMessage() for record in caplog.records)

    async with surviving(echo_app()) as place:
        (address,) = place.server.addresses
        waiting = [trio.socket.socket() for _ in range(5)]
        with no_free_descriptor():
            for plain in waiting:
                await plain.connect((address.host, address.port))
            await until(lambda: complaints() > 0)
            await trio.sleep(0.5)
            assert complaints() == 1
            assert place.sessions == 1
        for plain in waiting:
            client = RawClient(trio.SocketStream(plain), plain)
            await client.upgrade()
            await client.send(frame(TEXT, b"at last"))
            assert await client.frame() == Frame(TEXT, b"at last")
            client.close()


# Unix sockets


async def test_a_unix_socket_lives_and_dies(tmp_path: Path) -> None:
    """A stale file is replaced, connections echo and close, and the file goes with the server."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(path))
    assert path.is_socket()
    async with surviving(echo_app(), unix=path) as place:
        assert place.server.addresses[0].url == f"unix:{path}"
        client = await place.open()
        await client.send(frame(TEXT, b"hello"))
        assert await client.frame() == Frame(TEXT, b"hello")
        await client.send(close_frame())
        assert (await client.dismissal()).code == 1000
        with pytest.RaisesGroup(ConfigurationError):
            async with serving(echo_app(), unix=path):
                pass
        assert path.is_socket()
    assert not path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """Only what another server has abandoned is replaced."""
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.RaisesGroup(ConfigurationError):
        async with trio.open_nursery() as nursery:
            await echo_app().start(nursery, unix=path)
    assert path.read_text() == "data"
