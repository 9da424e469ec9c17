"""A server that stops tells everybody, lets handlers finish if it drains, and takes no longer than it says."""

from __future__ import annotations

import resource
import signal
import socket
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import pytest
import trio
import trio.testing

from seawall import Anonymous, Connection, Limits
from seawall.testing import serve
from tests.kit.processes import running
from tests.kit.sockets import EVERYWHERE, Transport, busy, echo_app, everywhere, pour, quick, serving, undecided, until
from tests.kit.wire import SOON, RawClient, request

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("calm")
@everywhere()
async def test_cancelling_tells_every_peer_1001_at_once(over: Transport) -> None:
    """Also those whose handler is busy, sends, or whose peer does not read; all is over within `close_timeout`."""
    app = echo_app(busy=busy, pour=pour, limits=Limits(close_timeout=2.0))
    app.route("/undecided", guard=undecided)(quick)
    async with trio.open_nursery() as nursery:
        stopping = trio.Event()

        async def expect_1001(client: RawClient) -> None:
            await stopping.wait()
            assert (await client.dismissal(within=1.5, answer=True)).code == 1001

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
        assert trio.current_time() - stopped < 2.0 + SOON


async def test_who_has_just_connected_is_told() -> None:
    """Those whom the kernel has let in, and the server not yet, read 503 or 1001 instead of a reset."""
    async with serving(echo_app()) as place, trio.open_nursery() as nursery:
        address = place.at.host, place.at.port
        waiting = [socket.create_connection(address) for _ in range(50)]
        for blocking in waiting:
            blocking.sendall(request())  # and the server has no turn
        nursery.start_soon(place.server.drain)
        for plain in map(trio.socket.from_stdlib_socket, waiting):
            client = RawClient(trio.SocketStream(plain), plain)
            answer = await client.response()
            if answer.status == 101:
                assert (await client.dismissal(answer=True)).code == 1001
            else:
                assert (answer.status, answer.header("retry-after")) == (503, "5")
            client.close()


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
        with trio.fail_after(SOON):
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


#: A server with all the kinds of connections there are; it drains in four seconds.
SERVER: Final = """
import trio
from seawall import Anonymous, App, Connection, Gate, Limits, guard, public

app = App(limits=Limits(drain_timeout=4, close_timeout=2))

@app.route("/idle", guard=public)
async def idle(conn: Connection[Anonymous]) -> None:
    async for message in conn:
        await conn.send(message)

@app.route("/busy", guard=public)
async def busy(conn: Connection[Anonymous]) -> None:
    await trio.sleep_forever()

@app.route("/stuck", guard=public)
async def stuck(conn: Connection[Anonymous]) -> None:
    while True:
        await conn.send(bytes(60_000))

@guard
async def never(gate: Gate, proved: Anonymous) -> Anonymous:
    await trio.sleep_forever()
    return proved

@app.route("/undecided", guard=never)
async def unreached(conn: Connection[Anonymous]) -> None:
    pass

app.run(port=0)
"""

#: How many of each kind come; "handshake" stops in the middle of it.
CROWD: Final = {"idle": 1200, "busy": 400, "stuck": 100, "undecided": 150, "handshake": 150}


#: Seconds that telling all of them may take, on a machine that is busy with others.
BUSY: Final = 24.0


@contextmanager
def descriptors(count: int) -> Generator[None]:
    """Let this process and those that it starts have so many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < count:
        pytest.skip(f"only {before[1]} file descriptors may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], count), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def _arrive(port: int, kind: str) -> RawClient:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    client = RawClient(stream, stream.socket, patience=BUSY)
    if kind in {"undecided", "handshake"}:
        await client.send(request("/undecided")[: 40 if kind == "handshake" else None])
    else:
        await client.upgrade(f"/{kind}")
    return client


async def test_a_signal_ends_two_thousand_connections() -> None:
    """All that read are told why: 1001 after the upgrade, 503 before it; it is over within ``drain_timeout``."""
    told: Counter[tuple[str, int]] = Counter()
    clients: list[tuple[str, RawClient]] = []
    limiter = trio.CapacityLimiter(50)

    async def arrive(kind: str) -> None:
        async with limiter:
            clients.append((kind, await _arrive(port, kind)))

    async def leave(kind: str, client: RawClient) -> None:
        if kind in {"idle", "busy"}:
            told[kind, (await client.dismissal(within=BUSY, answer=True)).code] += 1
        elif kind != "stuck":  # which reads nothing
            told[kind, (await client.response()).status] += 1
            client.close()

    with descriptors(5000), running("-c", SERVER) as program:
        port = int(program.stderr.wait_for(r"listening on ws://127.0.0.1:(\d+)")[1])
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for kind, count in CROWD.items():
                for _ in range(count):
                    nursery.start_soon(arrive, kind)
        busy_for = (
            trio.current_time() - began
        )  # says how fast the machine is: they cannot go much faster than they came
        async with trio.open_nursery() as nursery:
            for kind, client in clients:
                nursery.start_soon(leave, kind, client)
            await trio.testing.wait_all_tasks_blocked()
            started = trio.current_time()
            program.tell(signal.SIGTERM)
            status = await trio.to_thread.run_sync(program.wait)
            took = trio.current_time() - started
        for _, client in clients:
            client.close()
    assert status == 0
    assert took < 4 + 3 * max(1.5, busy_for)
    assert told == {
        ("idle", 1001): CROWD["idle"],
        ("busy", 1001): CROWD["busy"],
        ("undecided", 503): CROWD["undecided"],
        ("handshake", 503): CROWD["handshake"],
    }
    assert "draining 2000 connections" in program.stderr.text
    assert program.stderr.text.count(" 1006 ''") == 0
    assert "Traceback" not in program.stderr.text
