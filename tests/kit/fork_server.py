"""``python -m tests.kit.fork_server LISTENER PARENT``: imports Seawall once, and is copied for each program to be run.

A program begins where a new interpreter would that has imported the same: nothing else has run, nothing is configured,
there is one thread. Only what an import has drawn at random is the same in all, as the key for the names of principals.
It ends as any other does, by the interpreter's own way out.

Whoever connects to the Unix socket that is the descriptor LISTENER sends a line of JSON, with two descriptors, stdout
and stderr; gets the process's number from the copy, when that is ready for signals, and its exit status from here. When
the process PARENT has gone, this ends too.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
from pathlib import Path
from types import FrameType, ModuleType
from typing import Final, final

from attrs import frozen

#: What programs import that are run in tests, and what takes them long.
IMPORTED: Final = ("seawall.cli", "seawall.sessions", "seawall.testing", "tests.kit.faults")

#: Seconds between two looks at whether there is still somebody to serve.
LOOKS_EVERY: Final = 1.0


@final
@frozen(kw_only=True)
class Request:
    """A program to be run, as it comes in a line of JSON."""

    arguments: list[str]
    """What would follow ``python`` on a command line."""
    environment: dict[str, str]
    directory: str

    def run(self) -> None:
        """Run it. Raises what it does."""
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.directory)
        first, *rest = self.arguments
        if first == "-m":
            name, *rest = rest
            sys.argv = [name, *rest]
            sys.path[0] = self.directory
            runpy.run_module(name, run_name="__main__", alter_sys=True)
            return
        if first == "-c":
            code, *rest = rest
            sys.argv, sys.path[0], file = ["-c", *rest], "", "<string>"
        else:
            code, file = Path(first).read_text(encoding="utf-8"), first
            sys.argv, sys.path[0] = [first, *rest], str(Path(first).resolve().parent)
        main = sys.modules["__main__"] = ModuleType("__main__")
        main.__file__ = file
        exec(compile(code, file, "exec"), main.__dict__)  # as Python does


@final
class Forking:
    """Forks for whoever asks."""

    def __init__(self, listener: socket.socket) -> None:
        """Listen there, and be woken when a copy has ended."""
        self._listener = listener
        self._asking: dict[int, socket.socket] = {}
        self._woken, self._wakes = socket.socketpair()
        for each in (listener, self._woken, self._wakes):
            each.setblocking(False)
        self._before = {
            number: signal.signal(number, handler)
            for number, handler in ((signal.SIGCHLD, _ended), (signal.SIGINT, signal.SIG_IGN))
        }
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)

    def serve(self, parent: int) -> Request | None:
        """Fork until `parent` has gone. In a copy, what it has to run."""
        while os.getppid() == parent:
            ready, _, _ = select.select([self._listener, self._woken], [], [], LOOKS_EVERY)
            if self._woken in ready:
                self._woken.recv(4096)
            self._tell()
            if self._listener in ready and (request := self._take()) is not None:
                return request
        return None

    def _take(self) -> Request | None:
        connection, _ = self._listener.accept()
        connection.setblocking(True)
        data, outputs, _, _ = socket.recv_fds(connection, 65536, 2)
        while data and not data.endswith(b"\n"):
            data = data + more if (more := connection.recv(65536)) else b""
        if data:
            child = os.fork()
            if not child:
                self._become(connection, outputs)
                return Request(**json.loads(data))
            self._asking[child] = connection
        else:  # who asked has gone before that was done
            connection.close()
        for output in outputs:
            os.close(output)
        return None

    def _tell(self) -> None:
        """Say how those have ended that have."""
        while self._asking:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                break
            with self._asking.pop(ended) as connection:
                try:
                    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
                except OSError:
                    pass  # nobody wants to know any more

    def _become(self, connection: socket.socket, outputs: list[int]) -> None:
        """Be a process that has nothing of this one but what it has imported, and say so."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for descriptor, output in zip((1, 2), outputs, strict=True):
            os.dup2(output, descriptor)
            os.close(output)
        for each in (self._listener, self._woken, self._wakes, *self._asking.values()):
            each.close()
        with connection:
            connection.sendall(b"%d\n" % os.getpid())


def _ended(number: int, frame: FrameType | None) -> None:
    """Nothing, but a signal that is ignored would wake nobody."""


def main() -> None:
    """Serve; and, in a copy, run what was asked for."""
    listening, parent = map(int, sys.argv[1:])
    with socket.socket(fileno=listening) as listener:
        for name in IMPORTED:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()  # so that collecting garbage copies no memory
        request = Forking(listener).serve(parent)
        if request is None:
            shutil.rmtree(Path(listener.getsockname()).parent)  # nobody else is there to do it
    if request is not None:
        request.run()


if __name__ == "__main__":
    main()
