"""Rooms under peers that look in everywhere, and under code of the application that fails, or publishes much."""

from __future__ import annotations

import traceback
from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Connection, Limits, public
from seawall.connection.connection import state_of
from seawall.rooms import Gap, Latest, RoomEvent
from seawall.testing import serve
from tests.kit.rooms import table_entries


async def test_looking_in_is_no_memory(autojump_clock: MockClock) -> None:
    """Rooms in which nothing has been said are forgotten with their last reader, also where there is a ttl."""
    app = App(limits=Limits(max_rooms=10))
    topic = app.topic("rooms/{room}", str, history=10, ttl=3600)

    @app.route("/", guard=public)
    async def look_in(conn: Connection[Anonymous]) -> None:
        async for name in conn:
            async with conn.subscribe(topic(room=str(name))):
                await conn.send("in")

    async with serve(app) as serving, serving.connect("/") as one:
        for number in range(30):
            await one.send(f"room {number}")
            assert await one.receive() == "in"
        await wait_all_tasks_blocked()
        assert table_entries(app) == {}
        await topic(room="a").publish("said")
        await trio.sleep(3599)
        assert [event.value for event in await topic(room="a").history(10)] == ["said"]
        await trio.sleep(2)
        assert table_entries(app) == {}


class Unhelpful(Exception):
    """One that cannot be made again from its arguments."""

    def __init__(self, one: str, two: str) -> None:
        """Say what is wrong."""
        super().__init__(one + two)


@pytest.mark.parametrize("is_copied", [True, False])
async def test_each_reader_fails_by_itself(is_copied: bool, autojump_clock: MockClock) -> None:
    """Each whom a key function ends has an exception of its own, with its own traceback, if that can be copied."""
    # Made here: a parameter would outlive the test, and its traceback with it, and all subscriptions in that.
    failure = ValueError("no key") if is_copied else Unhelpful("no", "key")

    def key(value: str) -> str:
        raise failure

    app, ends = App(), list[Exception]()
    topic = app.topic("news", str, lag=Latest(key))

    @app.route("/", guard=public)
    async def read(conn: Connection[Anonymous]) -> None:
        try:
            async with conn.subscribe(topic()):
                await trio.sleep_forever()
        except (ValueError, Unhelpful) as end:
            ends.append(end)

    async with serve(app) as serving, AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(serving.connect("/"))
        await wait_all_tasks_blocked()
        topic().publish_nowait("said")
        await wait_all_tasks_blocked()
        assert [type(end) for end in ends] == [type(failure)] * 20
        assert {str(end) for end in ends} == {str(failure)}
        if is_copied:
            assert len(set(map(id, ends))) == 20
            assert len({len(traceback.extract_tb(end.__traceback__)) for end in ends}) == 1


def as_it_is(event: RoomEvent[str] | Gap) -> str | None:
    """Wrap an event as nothing else."""
    return None if isinstance(event, Gap) else event.value


class Steps(trio.abc.Instrument):
    """Looks how many messages were handed over in one step of a task at most."""

    def __init__(self, conns: list[Connection[Anonymous]]) -> None:
        """Say to whom."""
        self._conns = conns
        self._before = 0
        self.most = 0

    def _messages(self) -> int:
        return sum(state_of(conn).channel.send_buffer.messages for conn in self._conns)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A step begins."""
        self._before = self._messages()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It has ended."""
        self.most = max(self.most, self._messages() - self._before)


@pytest.mark.parametrize("is_wrapped", [False, True])
async def test_large_events_take_more_of_a_turn(is_wrapped: bool, autojump_clock: MockClock) -> None:
    """Between two checkpoints the pump writes, or compresses, a megabyte or two, however many readers there are."""
    app, conns = App(), list[Connection[Anonymous]]()
    topic = app.topic("news", str)

    @app.route("/", guard=public)
    async def read(conn: Connection[Anonymous]) -> None:
        conns.append(conn)
        async with conn.subscribe(topic(), wrap=as_it_is if is_wrapped else None):
            await trio.sleep_forever()

    async with serve(app) as serving, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(serving.connect("/")) for _ in range(20)]
        await wait_all_tasks_blocked()
        steps = Steps(conns)
        trio.lowlevel.add_instrument(steps)
        await topic().publish("small")
        await wait_all_tasks_blocked()
        assert steps.most == 16
        steps.most = 0
        await topic().publish("x" * 1_000_000)
        await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
        assert 1 <= steps.most <= 2
        for client in clients:
            assert [await client.receive(), len(await client.receive())] == ["small", 1_000_000]
