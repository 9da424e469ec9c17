"""A server under measurement: a process of its own on a core of its own, its CPU time and its memory."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, final

from attrs import define, field, frozen

from benchmarks.measures import Failed

ROOT = Path(__file__).resolve().parent.parent

#: Seconds that a server has to say where it listens, and to go when it is told to.
START, STOP = 30.0, 10.0


@final
@frozen
class Server:
    """A server that can be started."""

    name: str
    command: tuple[str, ...]
    """The module in ``benchmarks.servers``, and its arguments."""
    paths: tuple[str, ...] = ("/echo", "/room")
    """Its doors; ``/jwt`` asks for a token, at ``/room-tasks`` each delivery of a broadcast is a task."""
    answers_close: bool = True
    """Whether each Close is answered by one; if not, some connections are only ended."""
    works: tuple[str, ...] | None = None
    """What it can do, if not everything."""
    takes_pieces: bool = True
    """Whether a message may come in more than one read."""
    is_aside: bool = False
    """Whether it is measured only once, and told of in a note."""
    tree: Path | None = None
    """Where it takes Seawall from, if that is not what is installed."""


@final
@define(eq=False)
class Target:
    """A server that runs."""

    server: Server
    port: int
    process: subprocess.Popen[str] = field(repr=False)
    ended: bool = False
    """Whether it was `end` that ended it."""

    def cpu(self) -> float:
        """CPU seconds that all its threads have used up to now, those included that have ended."""
        return time.clock_gettime((~self.process.pid << 3) | 2)  # what Linux' clock_getcpuclockid(3) gives

    def memory(self) -> int:
        """Bytes of memory that are its own: what ending it would free."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))

    def end(self) -> None:
        """End it at once."""
        self.ended = True
        self.process.kill()
        self.process.wait()


@contextmanager
def running(server: Server, core: int | None) -> Generator[Target]:
    """Start a server, and end it whatever happens.

    Raises:
      Failed: it does not say where it listens, has died by the end, or has written anything to standard error.
    """
    environment = os.environ | ({"PYTHONPATH": str(server.tree)} if server.tree else {})
    command = [sys.executable, "-m", f"benchmarks.servers.{server.command[0]}", *server.command[1:]]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(  # noqa: S603 # our own modules
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            target = Target(server, _port(process), process)
            yield target
            died = None if target.ended else process.poll()
        except BaseException:
            _stop(process)
            sys.stderr.write(_written(errors))
            raise
        _stop(process)
        said = _written(errors)
    if died is not None or said:
        raise Failed(f"{server.name}: {'alive' if died is None else f'ended with {died}'}, and wrote:\n{said}")


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None  # noqa: S101 # it is a pipe
    ready, _, _ = select.select([process.stdout], [], [], START)
    line = process.stdout.readline() if ready else ""
    if not line.strip().isdigit():
        raise Failed(f"{process.args!r} did not say where it listens, but {line!r}")
    return int(line)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _written(errors: IO[str]) -> str:
    errors.seek(0)
    return errors.read()
