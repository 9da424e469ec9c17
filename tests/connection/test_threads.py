"""What a connection's methods do in another thread than the server's: nothing, and they say what to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import trio

from seawall import Anonymous, App, ConfigurationError, Connection, Disconnected, public
from seawall.testing import connect
from tests.kit.sockets import EVERYWHERE, Transport, serving


def handing_out() -> tuple[App, trio.MemoryReceiveChannel[Connection[Anonymous]]]:
    """An app that echoes at ``/echo``, and its connections as they come."""
    app, (put, get) = App(), trio.open_memory_channel[Connection[Anonymous]](1)

    @app.route("/echo", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        put.send_nowait(conn)
        async for message in conn:
            await conn.send(message)

    return app, get


async def refusal(call: Callable[[], object]) -> str:
    """What a call in a thread of its own is refused with; empty if it is not."""

    def run() -> str:
        try:
            call()
        except ConfigurationError as error:
            return str(error)
        return ""

    return await trio.to_thread.run_sync(run)


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_mended_19_send_nowait_in_another_thread(over: Transport) -> None:
    """It is refused before anything is written, with the remedy, which works."""
    app, connections = handing_out()
    async with serving(app, over) as place:
        client = await place.open()
        conn = await connections.receive()
        said = await refusal(partial(conn.send_nowait, "from nowhere"))
        assert said == (
            "send_nowait() in another thread than the server's; "
            "call it with trio.from_thread.run_sync(conn.send_nowait, ...)"
        )
        await client.echo(b"nothing came before")

        def by_the_book() -> None:
            trio.from_thread.run_sync(conn.send_nowait, "by the book")

        await trio.to_thread.run_sync(by_the_book)
        assert (await client.frame()).payload == b"by the book"
        client.close()


@pytest.mark.parametrize("method", ["send_nowait", "discard_input"])
async def test_mended_19_each_method_that_does_not_wait(method: str) -> None:
    """Over memory streams too, and whatever would be done: the connection is as it was."""
    app, connections = handing_out()
    async with connect(app, "/echo") as client:
        conn = await connections.receive()
        calls: dict[str, Callable[[], object]] = {
            "send_nowait": partial(conn.send_nowait, b""),
            "discard_input": conn.discard_input,
        }
        assert f"trio.from_thread.run_sync(conn.{method}, ...)" in await refusal(calls[method])
        await client.send("still here")
        assert await client.receive() == "still here"


async def test_mended_19_a_thread_with_a_trio_of_its_own() -> None:
    """That Trio runs there too does not help: it is not the server's."""
    app, connections = handing_out()
    async with connect(app, "/echo"):
        conn = await connections.receive()

        async def elsewhere() -> None:
            conn.send_nowait("from another run")

        assert "in another thread than the server's" in await refusal(partial(trio.run, elsewhere))


async def test_mended_19_after_the_end() -> None:
    """In the server's thread a connection that is over says so, as ever."""
    app, connections = handing_out()
    async with connect(app, "/echo") as client:
        conn = await connections.receive()
        await client.aclose()
    with pytest.raises(Disconnected):
        conn.send_nowait("too late")
