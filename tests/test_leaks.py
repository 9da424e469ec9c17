"""What a test leaves behind is found: each leak is made on purpose here."""

from __future__ import annotations

import re
import select
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from seawall import Anonymous, App, Connection, Limits
from seawall.connection.deadlines import Deadline, DeadlineQueue
from seawall.serving.runner import ConnectionRunner
from seawall.serving.server import Server
from seawall.serving.state import ServerState
from seawall.testing import serve
from seawall.wire.transport.polled import PolledReceiver
from seawall.wire.transport.poller import Poller
from tests.kit.leaks import Watch, entries, registered
from tests.kit.sockets import SHORT, echo_app, serving

ROOT = Path(__file__).parent.parent

linux = pytest.mark.skipif(sys.platform != "linux", reason="there is no epoll")

#: Tests of a project that has our conftest; all of them pass, and all but the first leave something behind.
LEAKING = """
import os

import trio

from seawall import App
from seawall.connection.deadlines import DeadlineQueue
from seawall.testing import serve


async def test_nothing():
    async with serve(App()):
        pass


async def test_a_task():
    trio.lowlevel.spawn_system_task(DeadlineQueue().run)


async def test_an_entry():
    async with serve(App()) as served:
        served.server._state.capacity.unauthenticated += 1


async def test_a_descriptor():
    os.dup(0)


def test_a_descriptor_without_trio():
    os.dup(0)
"""


def left_by(main: Callable[[], Awaitable[None]]) -> list[str]:
    """What is found after `main`."""
    watch = Watch()
    watch.run(main, clock=MockClock(autojump_threshold=0), instruments=[])
    left = watch.take()
    assert watch.take() == [], "it is said once"
    return left


def poller_of(server: Server) -> Poller:
    """The poller of a server that is being served."""
    poller = server._state.poller  # pyright: ignore[reportPrivateUsage] # to leave something in it
    assert poller is not None
    return poller


def test_a_server_leaves_nothing() -> None:
    """One whose connections come, talk and go in every way is not complained of, nor are the tasks of its handlers."""

    async def start(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(trio.sleep_forever)
        await conn.receive()

    async def main() -> None:
        async with serve(echo_app(start=start)) as served:
            for path in ("/echo", "/start"):
                async with served.connect(path) as client:
                    await client.send("x")
                async with served.connect(path) as client:
                    client.reset()
            served.open_stream()

    assert left_by(main) == []


def test_a_task_of_seawalls() -> None:
    """A task that runs our code and does not end with the test is named."""

    async def main() -> None:
        trio.lowlevel.spawn_system_task(DeadlineQueue().run)
        trio.lowlevel.spawn_system_task(trio.sleep_forever)  # not ours

    assert left_by(main) == ["a task: seawall.connection.deadlines.DeadlineQueue.run"]


def test_a_task_that_a_connection_has_started() -> None:
    """So is one of the application's, when it was started inside of ours, however deep."""

    async def outlive() -> None:
        trio.lowlevel.spawn_system_task(trio.sleep_forever, name="of a task")

    async def start(conn: Connection[Anonymous]) -> None:
        trio.lowlevel.spawn_system_task(trio.sleep_forever, name="of a handler")
        conn.nursery.start_soon(outlive)

    async def main() -> None:
        async with serve(echo_app(start=start)) as served, served.connect("/start"):
            pass

    assert left_by(main) == ["a task: of a handler", "a task: of a task"]


def keep_a_place(state: ServerState) -> None:
    """Let a connection have a place and never leave it."""
    place = state.capacity.admit("127.0.0.1:1")
    assert place is not None
    place.authenticated()


def keep_a_place_among_strangers(state: ServerState) -> None:
    """As above, but its guards never decide."""
    assert state.capacity.admit("127.0.0.1:1") is not None


def be_too_many(state: ServerState) -> None:
    """Be refused, and never leave."""
    for _ in range(2):
        state.capacity.admit("127.0.0.1:1")


@pytest.mark.parametrize(
    ("leak", "left"),
    [
        (keep_a_place, {"places": 1}),
        (keep_a_place_among_strangers, {"places": 1, "places of those who are not authenticated": 1}),
        (
            be_too_many,
            {
                "places": 1,
                "places of those who are not authenticated": 1,
                "places of those who are too many": 1,
                "networks": 1,
            },
        ),
    ],
    ids=["a place", "a place of a stranger", "one too many"],
)
def test_a_place_that_is_not_given_back(leak: Callable[[ServerState], None], left: dict[str, int]) -> None:
    """It is found when the server has long stopped, in every table that it is in."""

    async def main() -> None:
        limits = Limits(max_connections=1, max_connections_per_address=1)
        async with serve(App(limits=limits if leak is be_too_many else Limits())) as served:
            pass
        leak(served.server._state)  # pyright: ignore[reportPrivateUsage] # to leak

    assert left_by(main) == [f"in a table of a server: {count} {name}" for name, count in left.items()]


def test_a_connection_in_the_table() -> None:
    """A connection that is not taken out of the server's table is found as well."""

    async def forever(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        async with serve(echo_app(forever=forever)) as served, served.connect("/forever"):
            (connection,) = served.server._state.connections  # pyright: ignore[reportPrivateUsage] # to leak it
        served.server._state.connections.add("c0", connection)  # pyright: ignore[reportPrivateUsage] # as above

    assert left_by(main) == ["in a table of a server: 1 connections"]


def test_a_deadline() -> None:
    """So is a connection that the sweeper still minds, but not an alarm of one that has gone."""

    async def forever(conn: Connection[Anonymous]) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        async with serve(echo_app(forever=forever)) as served, served.connect("/forever"):
            (connection,) = served.server._state.connections  # pyright: ignore[reportPrivateUsage] # to leak its deadline
        deadlines = served.server._state.deadlines  # pyright: ignore[reportPrivateUsage] # as above
        assert isinstance(connection, ConnectionRunner)
        Deadline(deadlines, connection).arm(1000)

    assert left_by(main) == ["in a table of a server: 1 deadlines"]


@linux
def test_a_socket_in_the_poller() -> None:
    """A socket that is not taken out of the poller's table is found there and, as the server stops, in the kernel."""
    near, far = trio.socket.socketpair()

    async def main() -> None:
        async with serving(App()) as place:
            poller = poller_of(place.server)
            poller.add(near.fileno(), PolledReceiver(poller, trio.SocketStream(near)), select.EPOLLIN)

    with near, far:
        assert left_by(main) == [
            "in the epoll of a server without connections: 1 sockets",
            "in a table of a server: 1 sockets that are polled",
        ]


@linux
@pytest.mark.parametrize("how", ["cancelled", "drained", "with a connection"])
def test_a_socket_that_only_the_kernel_knows(how: str) -> None:
    """A registration that no table knows of is found when the server stops, however it does."""
    near, far = socket.socketpair()

    async def main() -> None:
        async with serving(echo_app(limits=SHORT)) as place:
            poller = poller_of(place.server)
            if how == "with a connection":
                await place.open()
                assert (registered(poller), len(poller)) == (1, 1)
            poller._epoll.register(near, select.EPOLLIN)  # pyright: ignore[reportPrivateUsage] # behind its back
            assert registered(poller) == len(poller) + 1
            if how == "drained":
                await place.server.drain()
            assert set(entries(place.server)) <= {
                "connections",
                "places",
                "open sessions",
                "deadlines",
                "sockets that are polled",
            }

    with near, far:
        watch = Watch()
        watch.run(main, clock=None, instruments=[])
        assert set(watch.take()) == {"in the epoll of a server without connections: 1 sockets"}


def test_every_test_is_looked_at(tmp_path: Path) -> None:
    """Under our conftest a test that leaves something behind is an error, whatever it is, and only such a one."""
    project = tmp_path / "test_leaking.py"
    project.write_text(LEAKING, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "tests.conftest"]
    run = subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), str(project)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    found = re.findall(r"^E +AssertionError: (left .*)", run.stdout, re.MULTILINE)
    expected = [
        "left behind: a task: seawall.connection.deadlines.DeadlineQueue.run",
        "left behind: in a table of a server: 1 places of those who are not authenticated",
    ]
    if sys.platform == "linux":
        *found, first, second = found
        assert first.startswith("left open: [('")
        assert second.startswith("left open: [('")
    assert found == expected, run.stdout
    assert f"5 passed, {4 if sys.platform == 'linux' else 2} errors" in run.stdout, run.stdout
