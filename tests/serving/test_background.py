"""`BackgroundTasks`: what runs on behalf of a server, and ends with it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App
from seawall.serving.background import BackgroundTasks
from seawall.testing import serve


def nobody(failure: BaseException, origin: str) -> None:
    """For tests in which nothing is escalated."""
    raise AssertionError(failure, origin)


async def test_they_end_with_the_block(autojump_clock: MockClock) -> None:
    """They run inside of the block, and are cancelled when it is left."""
    tasks, ended = BackgroundTasks(nobody), list[float]()

    async def fetch() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with tasks.running(close_timeout=5):
        tasks.start_soon(fetch, name="fetch")
        await trio.sleep(10)
        assert not ended
    assert ended == [10]


async def test_a_failure_is_logged_and_harms_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The others go on."""
    tasks, turns = BackgroundTasks(nobody), list[float]()

    async def fail() -> None:
        await trio.sleep(1)
        raise OSError("no route to host")

    async def go_on() -> None:
        while True:
            await trio.sleep(1)
            turns.append(trio.current_time())

    async with tasks.running(close_timeout=5):
        tasks.start_soon(fail, name="keys of id.example")
        tasks.start_soon(go_on, name="other")
        await trio.sleep(3.5)
    assert turns == [1, 2, 3]
    (record,) = [record for record in caplog.records if record.name == "seawall.error"]
    assert record.getMessage() == "keys of id.example: OSError: no route to host"


async def test_what_means_the_program_is_escalated(autojump_clock: MockClock) -> None:
    """A SystemExit stops the server, by way of who is told."""
    told = list[tuple[BaseException, str]]()
    tasks, leaving = BackgroundTasks(lambda failure, origin: told.append((failure, origin))), SystemExit(7)

    async def leave() -> None:
        await trio.lowlevel.checkpoint()
        raise leaving

    async with tasks.running(close_timeout=5):
        tasks.start_soon(leave, name="leave")
        await wait_all_tasks_blocked()
    assert told == [(leaving, "seawall: leave")]


async def test_one_that_does_not_end_is_named(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """What shields itself is waited for, and the log says for what."""
    tasks = BackgroundTasks(nobody)

    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(8)

    async with tasks.running(close_timeout=5):
        tasks.start_soon(stubborn, name="stubborn")
        await wait_all_tasks_blocked()
    assert trio.current_time() == 8
    assert "stopping, but still running: stubborn" in caplog.text


async def test_before_and_after_nothing_can_be_started() -> None:
    """It would never run, or never end."""
    tasks = BackgroundTasks(nobody)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="fetch cannot be started: the server does not run"):
            tasks.start_soon(trio.sleep_forever, name="fetch")
        async with tasks.running(close_timeout=5):
            pass


async def test_in_a_server_they_outlive_the_connections(autojump_clock: MockClock) -> None:
    """A server ends them after its last connection, inside its shield."""
    app, ended = App(), list[str]()

    async def fetch() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("fetch")

    async with serve(app) as serving:
        state = serving.server._state  # pyright: ignore[reportPrivateUsage] # no part of it is public yet
        state.background.start_soon(fetch, name="fetch")
        await wait_all_tasks_blocked()
        assert not ended
    assert ended == ["fetch"]
