"""Faults of Seawall's own, injected where nothing of the application runs: they end one connection and nothing else."""

from __future__ import annotations

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Connection, Outcome, public
from seawall.serving.runner import ConnectionRunner
from seawall.testing import Serving, serve


@define(eq=False)
class Served:
    """An app whose handlers listen, and how its connections ended."""

    ends: list[Outcome] = field(factory=list[Outcome])
    app: App = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make it."""
        self.app = App(on_end=self.ends.append)

        @self.app.route("/", guard=public)
        async def echo(conn: Connection[Anonymous]) -> None:
            async for message in conn:
                await conn.send(message)


def runner_of(serving: Serving) -> ConnectionRunner:
    """The only connection of a server."""
    (connection,) = serving.server._state.connections  # pyright: ignore[reportPrivateUsage] # to break it
    assert isinstance(connection, ConnectionRunner)
    return connection


async def test_a_deadline_that_fails(autojump_clock: MockClock) -> None:
    """The peer is told 1011, and the other connection notices nothing."""
    served = Served()
    async with serve(served.app) as serving, serving.connect("/") as client:
        broken = runner_of(serving)
        async with serving.connect("/") as innocent:
            broken.on_fault(OSError("a fault"))
            code, reason = await client.wait_closed()
            assert code == 1011
            assert reason.startswith("internal error, incident ")
            await innocent.send("hello")
            assert await innocent.receive() == "hello"
    assert {end.code for end in served.ends} == {1011, 1000}


async def test_a_deadline_that_fails_twice(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """When even deciding about the fault fails, the end is recorded all the same and what runs is cancelled."""
    served = Served()

    def fails(*_: object, **__: object) -> None:
        raise OSError("a second fault")

    async with serve(served.app) as serving, serving.connect("/") as client:
        with monkeypatch.context() as broken:
            broken.setattr("seawall.serving.failures.judge", fails)
            runner_of(serving).on_fault(OSError("a fault"))
        assert await client.wait_closed() == (1011, "internal error")
    assert [(end.code, end.detail) for end in served.ends] == [(1011, "")]


async def test_a_task_of_ours_that_crashes(autojump_clock: MockClock) -> None:
    """Its connection is closed without a word, reported and written down; its place is free, and the server goes on."""
    served = Served()

    async def crash() -> None:
        await trio.lowlevel.checkpoint()
        raise OSError("a fault")

    async with serve(served.app) as serving:
        async with serving.connect("/") as client:
            runner_of(serving)._outer_nursery.start_soon(crash)  # pyright: ignore[reportPrivateUsage] # as above
            assert (await client.wait_closed()).code == 1006
            await wait_all_tasks_blocked()
            assert serving.server._state.capacity.admitted == 0  # pyright: ignore[reportPrivateUsage] # to look
        async with serving.connect("/") as client:
            await client.send("hello")
            assert await client.receive() == "hello"
    assert [end.code for end in served.ends] == [1011, 1000]
