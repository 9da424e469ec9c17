"""Ctrl-C in a program that embeds an app and has no signal handling of its own."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from seawall import Anonymous, App, Connection, ErrorReport, Server, public
from seawall.serving.signals import serve_until_signalled
from tests.kit.processes import PATIENCE, ending, forked, opened


@pytest.fixture(autouse=True)
def ctrl_c_arrives() -> Generator[None]:
    """A shell lets its background jobs ignore SIGINT, and Trio then leaves it alone: `pytest &` would never see one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt(report: ErrorReport) -> None:
    """Press Ctrl-C in the middle of the session's own code."""
    signal.raise_signal(signal.SIGINT)


def app_with(*, report: bool) -> App:
    """An app in which a handler fails, and SIGINT comes either there or while the failure is reported."""
    app = App(report=interrupt) if report else App()

    @app.route("/echo", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    @app.route("/fail", guard=public)
    async def fail(conn: Connection[Anonymous]) -> None:
        if not report:
            signal.raise_signal(signal.SIGINT)
        raise ValueError("after Ctrl-C")

    return app


def talk(url: str) -> list[int]:
    """Echo on one connection, let the other one fail, and read the close codes of both."""
    with opened(f"{url}/echo") as echo:
        echo.send("hello")
        assert echo.recv() == "hello"
        with opened(f"{url}/fail") as fail:
            return [ending(client)[1] for client in (echo, fail)]


@pytest.mark.parametrize("report", [True, False], ids=["in our code", "in a handler"])
def test_ctrl_c_tells_every_peer(report: bool) -> None:
    """Wherever the interrupt lands, every peer reads a Close, and the program still gets its KeyboardInterrupt."""
    with ThreadPoolExecutor() as threads:
        codes: list[Future[list[int]]] = []

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                server = await app_with(report=report).start(nursery, port=0)
                codes.append(threads.submit(talk, server.addresses[0].url))
                await trio.sleep(PATIENCE)
                nursery.cancel_scope.cancel()  # nobody has interrupted; what the clients have met says why

        try:
            trio.run(main)
        except* KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
        assert codes[0].result(timeout=PATIENCE) == [1001, 1011]
        assert interrupted


def test_the_exit_status_is_the_handlers() -> None:
    """Under ``app.run``, SystemExit stops the server in an orderly way, and the program ends as it says."""
    with forked("-c", EXITS) as program:
        url = program.stderr.wait_for(r"listening on (\S+)")[1]
        with opened(url) as client:
            assert ending(client)[1] == 1011
        assert program.wait() == 7
        assert "Traceback" not in program.stderr.text


EXITS = """
from seawall import Anonymous, App, Connection, public
app = App()
@app.route("/", guard=public)
async def leave(conn: Connection[Anonymous]) -> None:
    raise SystemExit(7)
app.run(port=0)
"""


@final
class Probe(trio.abc.Listener[trio.abc.Stream]):
    """A listener to which nobody comes, and which remembers whether Ctrl-C could land where it is closed."""

    is_protected: bool | None = None

    async def accept(self) -> trio.abc.Stream:
        """Wait for ever."""
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        """Remember."""
        self.is_protected = trio.lowlevel.currently_ki_protected()
        await trio.lowlevel.checkpoint()


async def test_no_interrupt_between_the_lines_of_a_server() -> None:
    """Before it has told its sessions to stop they would wait for that for ever."""
    listener = Probe()
    async with trio.open_nursery() as nursery:
        await App().start(nursery, listeners=[listener])
        nursery.cancel_scope.cancel()
    assert listener.is_protected


async def test_a_signal_while_the_second_app_still_starts() -> None:
    """The first one would drain, and the second one, which has not heard of it, would run on."""
    first, second = App(), App()

    @second.lifespan
    @asynccontextmanager
    async def slow() -> AsyncGenerator[None]:
        signal.raise_signal(signal.SIGTERM)
        await wait_all_tasks_blocked()
        yield

    with trio.fail_after(PATIENCE):
        await serve_until_signalled(partial(first.start, port=0), partial(second.start, port=0))


def test_an_app_that_runs_in_a_thread(caplog: pytest.LogCaptureFixture) -> None:
    """Python gives signals to the main thread only: the app runs without, says so once, and can be drained."""
    caplog.set_level("INFO", logger="seawall")
    app, servers = App(), list[Server]()

    async def serve_and_drain() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_until_signalled, start)
            while not servers:  # noqa: ASYNC110 - it is there after a few turns
                await trio.lowlevel.checkpoint()
            await servers[0].aclose()

    async def start(nursery: trio.Nursery) -> Server:
        servers.append(await app.start(nursery, port=0))
        return servers[0]

    with ThreadPoolExecutor(1) as executor:
        executor.submit(trio.run, serve_and_drain).result(10)
    said = [record.getMessage() for record in caplog.records if "main thread" in record.getMessage()]
    assert said == ["not in the main thread: SIGINT and SIGTERM do not drain this server"]


HANGING = """
import sys, trio
from contextlib import asynccontextmanager
from seawall import App, public

app = App()

@app.lifespan
@asynccontextmanager
async def hangs():
    if sys.argv[1] == "start":
        print("hanging", flush=True)
        await trio.sleep_forever()
    yield
    print("hanging", flush=True)
    await trio.sleep_forever()

app.run(port=0)
print("over")
"""


@pytest.mark.parametrize("when", ["start", "stop"])
def test_a_lifespan_that_hangs_can_be_interrupted(when: str) -> None:
    """Before anything listens the first signal ends the program, while it drains the second one does."""
    with forked("-c", HANGING, when) as program:
        if when == "stop":
            program.stderr.wait_for("listening on")
            program.tell(signal.SIGTERM)
        program.stdout.wait_for("hanging")
        program.tell(signal.SIGINT)
        assert program.wait() == 0
        assert program.stdout.text.endswith("over\n")
