"""What a connection's methods do in another thread than the server's: nothing, and they say what to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from seawall import Anonymous, App, Claims, ConfigurationError, Connection, Disconnected, bearer, public
from seawall.testing import connect, serve
from tests.kit.sockets import EVERYWHERE, Transport, serving
from tests.kit.tokens import by, token, verifier


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


async def refusal_elsewhere(call: Callable[[], Awaitable[object]]) -> str:
    """What a call in a thread with a Trio of its own is refused with; empty if it is not."""

    async def elsewhere() -> str:
        with trio.fail_after(3):
            try:
                await call()
            except ConfigurationError as error:
                return str(error)
        return ""

    return await trio.to_thread.run_sync(trio.run, elsewhere)


@pytest.mark.parametrize("method", ["renew", "aclose"])
async def test_what_waits_in_a_thread_with_a_trio_of_its_own(method: str) -> None:
    """It is refused, because the connection's locks and scopes are of another run; the connection is as it was."""
    app, (put, get) = App(), trio.open_memory_channel[Connection[Claims]](1)

    @app.route("/", guard=bearer(verifier))
    async def echo(conn: Connection[Claims]) -> None:
        put.send_nowait(conn)
        async for message in conn:
            await conn.send(message)

    async with connect(app, "/", headers=by(token())) as client:
        conn = await get.receive()
        ends_at = conn.expires_at
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "renew": partial(conn.renew, token(seconds=300)),
            "aclose": conn.aclose,
        }
        said = await refusal_elsewhere(calls[method])
        assert said == (
            f"{method}() in another thread than the server's; call it with trio.from_thread.run(conn.{method}, ...)"
        )
        assert conn.expires_at == ends_at
        await client.send("still here")
        assert await client.receive() == "still here"


@pytest.mark.parametrize("method", ["find", "end", "watch", "renew", "revoke"])
async def test_sessions_in_a_thread_with_a_trio_of_its_own(method: str) -> None:
    """Nothing is ended, renewed, revoked or told: that Trio runs there too does not help, it is not the app's."""
    app = App()

    @app.route("/", guard=bearer(verifier))
    async def echo(conn: Connection[Claims]) -> None:
        async for message in conn:
            await conn.send(message)

    async def find() -> None:
        app.sessions.find(subject="ada")

    async def end() -> None:
        app.sessions.end(session)

    async def watch() -> None:
        async with app.sessions.watch():
            pass

    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "find": find,
        "end": end,
        "watch": watch,
        "renew": partial(app.sessions.renew, token(seconds=300)),
        "revoke": partial(app.sessions.revoke, subject="ada"),
    }
    async with connect(app, "/", headers=by(token(jti="7"))) as client:
        (session,) = app.sessions.find(subject="ada")
        said = await refusal_elsewhere(calls[method])
        assert said.startswith(f"{method}() in another thread than the one in which the app is served; ")
        assert app.sessions.find(subject="ada") == (session,)
        await client.send("still here")
        assert await client.receive() == "still here"
    assert await refusal_elsewhere(calls[method]) == ""  # it is served nowhere now


async def test_an_app_is_served_in_one_thread_at_a_time() -> None:
    """Its sessions are of one run of Trio, in which it may be served several times; afterwards another one may."""
    app = App()

    @app.route("/", guard=public)
    async def hello(conn: Connection[Anonymous]) -> None:
        await conn.send("hello")

    async def once() -> None:
        async with connect(app, "/") as client:
            assert await client.receive() == "hello"

    async with serve(app):
        said = await refusal_elsewhere(once)
        assert said == "this app is served in another thread; make one for each"
        await once()
        assert await refusal_elsewhere(once) == said
    assert await refusal_elsewhere(once) == ""


@pytest.mark.parametrize("method", ["drain", "aclose", "wait_closed"])
async def test_a_server_in_a_thread_with_a_trio_of_its_own(method: str) -> None:
    """It neither drains nor is it waited for, but by the run of Trio in which it serves."""
    app = App()
    async with trio.open_nursery() as nursery:
        server = await app.start(nursery, host="127.0.0.1", port=0)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "drain": server.drain,
            "aclose": server.aclose,
            "wait_closed": server.wait_closed,
        }
        said = await refusal_elsewhere(calls[method])
        assert "in another thread than the server's; ask for it with trio.from_thread.run" in said
        await server.aclose()
        await server.wait_closed()
