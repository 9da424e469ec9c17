"""Ctrl-C in a program that embeds an app and has no signal handling of its own."""

from __future__ import annotations

import signal
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import trio

from seawall import Anonymous, App, Connection, ErrorReport, public
from tests.clients import ending, opened
from tests.programs import running


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
                await trio.sleep(10)

        with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
            trio.run(main)
        assert codes[0].result(timeout=5) == [1001, 1011]


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
    with running("-c", HANGING, when) as program:
        if when == "stop":
            program.stderr.wait_for("listening on")
            program.tell(signal.SIGTERM)
        program.stdout.wait_for("hanging")
        program.tell(signal.SIGINT)
        assert program.wait() == 0
        assert program.stdout.text.endswith("over\n")
