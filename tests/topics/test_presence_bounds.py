"""How much a connection can make the server hold by what is said of it in rooms."""

from __future__ import annotations

import tracemalloc
from contextlib import AsyncExitStack

import pytest
from trio.testing import MockClock

from seawall import Anonymous, App, Connection, TooManyRequests, public
from seawall.rooms import Presence
from seawall.testing import Closed, CloseFrame, serve
from seawall.topics.presence_membership import MAX_VALUES
from tests.kit.presence import Who

#: As large as a value may be, with the frame and the names round it.
LARGEST = 4_096 - len('{"type":"who","name":""}') - 4


async def test_values_of_one_connection(autojump_clock: MockClock) -> None:
    """They have 16 KiB in all rooms of all presences; what is too much is refused, and changes nothing."""
    app = App()
    people, pets = app.presence("rooms/{room:int}", Who), app.presence("pets", str)
    ended: list[str] = []

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        async with AsyncExitStack() as stack:
            mine = [
                await stack.enter_async_context(people(room=room).joined(conn, Who("x" * LARGEST))) for room in range(4)
            ]
            with pytest.raises(TooManyRequests, match=rf"at most {MAX_VALUES} bytes in all rooms.*leave a room"):
                async with pets().joined(conn, "cat"):
                    pytest.fail("it is in")
            assert pets().members() == ()
            await mine[0].update(Who("x" * (LARGEST - 5)))
            async with pets().joined(conn, "cat") as pet:
                with pytest.raises(TooManyRequests):
                    await mine[0].update(Who("x" * (LARGEST - 4)))
                assert len(people(room=0).members()[0].value.name) == LARGEST - 5
                with pytest.raises(TooManyRequests):
                    await pet.update("tiger")
                await mine[0].update(Who("x"))
                await pet.update("tiger")
            await mine[0].update(Who("x" * LARGEST))
        async with pets().joined(conn, "x" * 4_000):
            ended.append("it has room again when it has left")

    async with serve(app) as server, server.connect("/") as client:
        assert await client.wait_closed() == CloseFrame(1000, "")
    assert ended


async def test_another_connection_has_its_own(autojump_clock: MockClock) -> None:
    """Nobody who says much of itself keeps others out."""
    app = App()
    people = app.presence("rooms/{room:int}", Who)

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        async with AsyncExitStack() as stack:
            for room in range(4):
                await stack.enter_async_context(people(room=room).joined(conn, Who("x" * LARGEST)))
            await conn.send("in")
            await conn.draining.wait()

    async with serve(app) as server, server.connect("/") as one, server.connect("/") as two:
        assert [await one.receive(), await two.receive()] == ["in", "in"]
        assert len(people(room=3).members()) == 2


async def test_the_default_is_a_close(autojump_clock: MockClock) -> None:
    """A handler that lets it out is closed as by any other limit, and what it holds in memory is bounded."""
    app = App()
    people: Presence[str] = app.presence("rooms/{room:int}", str)

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        async with AsyncExitStack() as stack:
            for room in range(100):
                await stack.enter_async_context(people(room=room).joined(conn, chr(97 + room) * 4_000))
                await conn.send(str(room))

    rooms = 0
    async with serve(app) as server:
        tracemalloc.start()
        try:
            async with server.connect("/") as client:
                with pytest.raises(Closed, match="too many requests"):  # noqa: PT012 - when it is raised is the point
                    while await client.receive():
                        rooms += 1
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()
    assert rooms == 4
