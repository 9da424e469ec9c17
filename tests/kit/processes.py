"""Programs of ours as processes of their own: what they print, how they end, and a client to talk to them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import IO, Final, final

from attrs import define, field
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.kit.forked import CAN_FORK, FORK_SERVER, ROOT, Forked

#: Seconds in which anything that a test waits for has to happen, on a machine that is busy with others.
PATIENCE: Final = 20.0


@final
@define(eq=False)
class Output:
    """What a program writes to one of its streams, read as it comes."""

    text: str = ""
    _changed: threading.Condition = field(init=False, factory=threading.Condition)
    _ended: bool = field(init=False, default=False)

    def follow(self, stream: IO[str]) -> None:
        """Read `stream` to its end and close it; for a thread."""
        with stream:
            for line in stream:
                with self._changed:
                    self.text += line
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first place where `pattern` matches, as soon as there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or re.search(pattern, self.text), PATIENCE)
        found = re.search(pattern, self.text)
        assert found is not None, f"no {pattern!r} in:\n{self.text}"
        return found

    def wait_for_end(self) -> None:
        """Wait as long as it is written to; each time for something new."""
        with self._changed:
            while not self._ended:
                assert self._changed.wait(PATIENCE), f"nothing more in {PATIENCE} s, after:\n{self.text}"


@final
@define(eq=False)
class Program:
    """A program that runs."""

    process: subprocess.Popen[str] | Forked
    stdout: Output = field(init=False, factory=Output)
    stderr: Output = field(init=False, factory=Output)
    _readers: list[threading.Thread] = field(init=False, factory=list[threading.Thread])

    def __attrs_post_init__(self) -> None:
        """Begin to read what it writes."""
        for stream, output in ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr)):
            assert stream is not None
            self._readers.append(threading.Thread(target=output.follow, args=(stream,)))
            self._readers[-1].start()

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status, once it has ended and all that it wrote is here."""
        status = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return status


@contextmanager
def running(*arguments: str, env: Mapping[str, str] | None = None) -> Generator[Program]:
    """Run Python with `arguments`; whatever happens, the program is gone afterwards.

    Args:
      arguments: ``-m seawall demo``, or a file.
      env: more variables.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with _gone_afterwards(process) as program:
        yield program


@contextmanager
def forked(*arguments: str, env: Mapping[str, str] | None = None) -> Generator[Program]:
    """As `running`, but the interpreter is not started for it: it is copied from one that has imported Seawall.

    For programs that a test is not about the start of, which is most of what a short one takes.
    """
    if not CAN_FORK:
        with running(*arguments, env=env) as program:
            yield program
        return
    process = FORK_SERVER.fork(arguments, directory=ROOT, env={**os.environ, **(env or {})})
    with _gone_afterwards(process) as program:
        yield program


@contextmanager
def _gone_afterwards(process: subprocess.Popen[str] | Forked) -> Generator[Program]:
    program = Program(process)
    try:
        yield program
    finally:
        # Told to stop first, because a process that is killed writes down no coverage.
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        program.wait()


def run(*arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run Python with `arguments` to its end, as long as it prints: its exit status, stdout and stderr."""
    with running(*arguments, env=env) as program:
        return _ended(program)


def run_forked(*arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """As `run`, of a program that `forked` runs."""
    with forked(*arguments, env=env) as program:
        return _ended(program)


def _ended(program: Program) -> tuple[int, str, str]:
    program.stdout.wait_for_end()
    return program.wait(), program.stdout.text, program.stderr.text


@final
@define
class Demo:
    """The demo, running."""

    program: Program
    page: str
    echo: str
    secure: str
    valid_token: str = field(repr=False)
    expired_token: str = field(repr=False)

    @property
    def echo_port(self) -> int:
        """The port of page and echo."""
        return _port(self.echo)

    @property
    def secure_port(self) -> int:
        """The port of the session."""
        return _port(self.secure)

    @property
    def origin(self) -> str:
        """The origin of the page."""
        return self.page.rstrip("/")


def _port(url: str) -> int:
    found = re.search(r":(\d+)/$", url)
    assert found is not None, url
    return int(found[1])


@contextmanager
def demo(*options: str, fresh: bool = False) -> Generator[Demo]:
    """Run ``python -m seawall demo`` on free ports; in a `fresh` interpreter, or in one as for `forked`."""
    with (running if fresh else forked)(
        "-m", "seawall", "demo", "--echo-port", "0", "--secure-port", "0", *options
    ) as program:
        program.stdout.wait_for("Ctrl-C stops")
        page, echo, secure = (program.stdout.wait_for(rf"{name} +(\S+)")[1] for name in ("Page", "Echo", "Secure"))
        valid, expired = re.findall(r"^ *(ey\S+)$", program.stdout.text, re.MULTILINE)
        yield Demo(program, page, echo, secure, valid, expired)


def opened(
    url: str, *, origin: str | None = None, bearer: str | None = None, at: int | None = None
) -> ClientConnection:
    """A connection that is open; everything about it has a deadline.

    Args:
      url: where to, as the ``Host`` header says it.
      origin: the page for which a browser would connect.
      bearer: the token of an ``Authorization`` header.
      at: a port of this machine to connect to, whatever `url` says.
    """
    return connect(
        url,
        sock=None if at is None else socket.create_connection(("127.0.0.1", at), PATIENCE),
        origin=None if origin is None else Origin(origin),
        additional_headers=None if bearer is None else {"Authorization": f"Bearer {bearer}"},
        proxy=None,
        open_timeout=PATIENCE,
        close_timeout=PATIENCE,
    )


def ending(client: ClientConnection) -> tuple[list[str | bytes], int, str]:
    """The messages that still come, and the code and the reason of the server's close."""
    messages: list[str | bytes] = []
    said: Close | None = None
    while said is None:
        try:
            messages.append(client.recv(PATIENCE))
        except ConnectionClosed as closed:
            said = closed.rcvd or Close(1006, "no close frame")
    return messages, said.code, said.reason
