"""What blocks the loop is named, with its line; what only waits, and a process that stood still, are not."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seawall.serving.blocking import culprit_of
from tests.kit.processes import Program, forked, opened

PROGRAM = """
import threading, time
import trio
from seawall import App, public

app = App()

def helper():
    time.sleep(1.7)

@app.route("/sleep", guard=public)
async def sleeps(conn):
    async for _ in conn:
        helper()  # here
        await conn.send("done")

@app.route("/compute", guard=public)
async def computes(conn):
    async for _ in conn:
        end = time.monotonic() + 1.7
        while time.monotonic() < end: pass  # here
        await conn.send("done")

@app.route("/keep", guard=public)
async def keeps(conn):
    async for _ in conn:
        over = (time.process_time() + 2.3).__lt__
        any(map(over, iter(time.process_time, None)))  # here; it lets no other thread run
        await conn.send("done")

@app.route("/wait", guard=public)
async def waits(conn):
    async for _ in conn:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1.7)
            nursery.start_soon(trio.to_thread.run_sync, time.sleep, 1.7)
        await conn.send("done")

app.run(port=0)
"""


@contextmanager
def serving(directory: Path) -> Generator[tuple[Program, str]]:
    """Run `PROGRAM`, and give its address."""
    file = directory / "blocks.py"
    file.write_text(PROGRAM)
    with forked(str(file)) as program:
        yield program, program.stderr.wait_for(r"listening on (\S+)")[1]


@pytest.mark.slow
@pytest.mark.parametrize(("route", "times"), [("sleep", 2), ("compute", 1)])
def test_mended_29_a_handler_that_blocks_is_named(route: str, times: int, tmp_path: Path) -> None:
    """One WARNING has the handler, its file and its line, and what it has called, each of the times that it blocks."""
    line = 1 + next(
        at
        for at, text in enumerate(PROGRAM.splitlines())
        if text.endswith("# here") and (route == "sleep") == ("helper" in text)
    )
    with serving(tmp_path) as (program, url), opened(f"{url}/{route}") as client:
        for _ in range(times):
            client.send("x")
            assert client.recv() == "done"
        line_of_each = r"WARNING seawall.server blocked: .* because of (\w+\(\) \(\S+:\d+\))(, which is in (\w+)\(\))?"
        program.stderr.wait_for("(?s)" + ".*".join([line_of_each] * times))  # the line may come after the answer
        text = program.stderr.text
    found = re.findall(line_of_each, text)
    assert [name for name, *_ in found] == [f"{route}s() ({tmp_path / 'blocks.py'}:{line})"] * times
    assert [inner for *_, inner in found] == ["helper" if route == "sleep" else ""] * times


@pytest.mark.slow
def test_mended_29_a_call_that_keeps_the_interpreter_is_named(tmp_path: Path) -> None:
    """It is named when it is over, because no thread can look before."""
    with serving(tmp_path) as (program, url), opened(f"{url}/keep") as client:
        client.send("x")
        assert client.recv() == "done"
        program.stderr.wait_for(re.escape(f"because of keeps() ({tmp_path / 'blocks.py'}:"))  # perhaps after the answer


@pytest.mark.slow
def test_mended_29_waiting_does_not_block(tmp_path: Path) -> None:
    """What waits for a clock or a thread holds up nobody; nor does a process that is stopped and goes on."""
    with serving(tmp_path) as (program, url), opened(f"{url}/wait") as client:
        client.send("x")
        assert client.recv() == "done"
        program.tell(signal.SIGSTOP)
        time.sleep(2)
        program.tell(signal.SIGCONT)
        client.send("x")
        assert client.recv() == "done"
        program.tell(signal.SIGTERM)
        program.wait()
        assert "blocked" not in program.stderr.text


def test_mended_29_what_is_named() -> None:
    """The outermost function that is not ours, and the innermost one if that is another; without a stack, nothing."""

    def inner() -> tuple[str, str]:
        return culprit_of(sys._getframe())  # pyright: ignore[reportPrivateUsage]  # documented

    culprit, within = inner()
    assert culprit.endswith(")")
    assert within.startswith("test_mended_29_what_is_named.<locals>.inner() (")
    assert culprit_of(None) == ("nothing that can be named", "")
