"""A server that stops tells everybody, lets handlers finish if it drains, and takes no longer than it says."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from seawall import Anonymous, Connection, Limits
from seawall.testing import serve
from tests.raw import RawClient, request
from tests.support import EVERYWHERE, Transport, busy, echo_app, everywhere, pour, quick, serving, undecided, until


@pytest.mark.usefixtures("calm")
@everywhere()
async def test_cancelling_tells_every_peer_1001_at_once(over: Transport) -> None:
    """Also those whose handler is busy, sends, or whose peer does not read; all is over within `close_timeout`."""
    app = echo_app(busy=busy, pour=pour, limits=Limits(close_timeout=1.0))
    app.route("/undecided", guard=undecided)(quick)
    async with trio.open_nursery() as nursery:
        stopping = trio.Event()

        async def expect_1001(client: RawClient) -> None:
            await stopping.wait()
            assert (await client.dismissal(within=0.5, answer=True)).code == 1001

        async def expect_503(client: RawClient) -> None:
            await stopping.wait()
            assert (await client.response()).status == 503

        async with serving(app, over) as place:
            clients = [await place.open(path) for path in ("/echo", "/busy", "/echo")]
            await place.open("/pour")
            turned_away = await place.dial()
            await turned_away.send(request("/undecided"))
            for client in clients:
                nursery.start_soon(expect_1001, client)
            nursery.start_soon(expect_503, turned_away)
            await until(lambda: place.sessions == 5)
            await trio.testing.wait_all_tasks_blocked()
            stopping.set()
            stopped = trio.current_time()
        assert trio.current_time() - stopped < 1.3


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_draining_lets_handlers_finish(over: Transport) -> None:
    """Iteration ends, `draining` is set, the last words arrive, the peer reads 1001, and new ones are not let in."""

    async def polite(conn: Connection[Anonymous]) -> None:
        await conn.draining.wait()
        await conn.send("last words")

    async def iterating(conn: Connection[Anonymous]) -> None:
        async for _ in conn:
            pass
        await conn.send("last words")

    async def crash(conn: Connection[Anonymous]) -> None:
        await conn.draining.wait()
        raise ValueError

    app = echo_app(polite=polite, iterating=iterating, crash=crash)
    async with serving(app, over) as place, trio.open_nursery() as nursery:
        clients = {path: await place.open(path) for path in ("/polite", "/iterating", "/crash", "/echo")}
        nursery.start_soon(place.server.aclose)
        nursery.start_soon(place.server.aclose)
        for path, client in clients.items():
            found = await client.end(answer=True)
            assert [one.payload for one in found[:-1]] == ([b"last words"] if path in {"/polite", "/iterating"} else [])
            assert found[-1].code == (1011 if path == "/crash" else 1001)
        with trio.fail_after(1):
            await place.server.wait_closed()
        with pytest.raises(OSError):  # noqa: PT011 - refused, or no such file
            await place.dial()


async def test_draining_is_bounded_exactly(autojump_clock: object) -> None:
    """A handler that does not care is cancelled `close_timeout` before the end, and a mute peer costs the rest."""
    cancelled: list[float] = []

    async def stubborn(conn: Connection[Anonymous]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with serve(echo_app(stubborn=stubborn, limits=Limits(drain_timeout=30, close_timeout=4))) as serving:
        client = RawClient(serving.open_stream())
        await client.upgrade("/stubborn")
        started = trio.current_time()
        await serving.server.aclose()
        assert cancelled == [started + 26]
        assert trio.current_time() == started + 30
        assert (await client.dismissal()).code == 1001


async def test_a_handler_that_drains_its_own_server_is_bounded(autojump_clock: object) -> None:
    """Waiting for itself, it is cancelled like any other that does not finish."""

    async def suicidal(conn: Connection[Anonymous]) -> None:
        await server[0].aclose()

    async with serve(echo_app(suicidal=suicidal)) as serving:
        server = [serving.server]
        client = RawClient(serving.open_stream())
        await client.upgrade("/suicidal")
        started = trio.current_time()
        assert (await client.dismissal(within=6, answer=True)).code == 1001
        await serving.server.wait_closed()
        assert trio.current_time() - started == 5.0
