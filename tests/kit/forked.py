"""Programs of ours as processes of their own, copied from an interpreter that has imported Seawall already.

A fresh interpreter takes half a second to import us, a copy begins within some milliseconds. It is made by a fork, for
programs whose start is not what a test is about; where there can be none, `tests.kit.processes` takes fresh ones.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, final

from attrs import define, field

ROOT: Final = Path(__file__).resolve().parent.parent.parent

#: Seconds that the interpreter may take to import us, and a copy to begin.
BEGINS_WITHIN: Final = 60.0

#: Whether there can be copies. What a program covers is measured from its start on.
CAN_FORK: Final = sys.platform == "linux" and "COVERAGE_PROCESS_CONFIG" not in os.environ


@final
@define(eq=False)
class Forked:
    """A copy that runs a program; what `subprocess.Popen` is to a fresh interpreter."""

    _connection: socket.socket
    stdout: IO[str]
    stderr: IO[str]
    pid: int
    _returncode: int | None = field(init=False, default=None)

    def wait(self, timeout: float) -> int:
        """Its exit status, that of a signal being negative.

        Raises:
          subprocess.TimeoutExpired: it has not ended within so many seconds.
        """
        if self._returncode is None:
            self._connection.settimeout(timeout)
            try:
                self._returncode = _number(self._connection)
            except TimeoutError:
                raise subprocess.TimeoutExpired("a copy", timeout) from None
            self._connection.close()
        return self._returncode

    def poll(self) -> int | None:
        """Its exit status, if it has ended."""
        try:
            return self.wait(1e-6)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Tell it to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


@final
class ForkServer:
    """The interpreter that is copied. It starts when it is needed, and keeps nothing open in this process."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self.directory = ""
        """Where its socket is, while it runs."""
        self._lock = threading.Lock()

    def fork(self, arguments: Sequence[str], *, directory: Path, env: Mapping[str, str]) -> Forked:
        """Run what would follow ``python`` on a command line in a copy, in this directory and environment."""
        with self._lock:
            if self._process is None:
                self._process = self._start()
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(BEGINS_WITHIN)
        connection.connect(self._path)
        (out, out_written), (err, err_written) = os.pipe(), os.pipe()
        request = {"arguments": list(arguments), "environment": dict(env), "directory": str(directory)}
        data = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(connection, [data], [out_written, err_written])
        connection.sendall(data[sent:])
        os.close(out_written)
        os.close(err_written)
        pid = _number(connection)
        return Forked(connection, os.fdopen(out, encoding="utf-8"), os.fdopen(err, encoding="utf-8"), pid)

    def stop(self) -> None:
        """End it, and wait for that, if it runs."""
        with self._lock:
            if self._process is not None:
                self._process.terminate()
                self._process.wait()
                self._process = None
                shutil.rmtree(self.directory)

    @property
    def _path(self) -> str:
        return f"{self.directory}/socket"

    def _start(self) -> subprocess.Popen[bytes]:
        """Start it. Who asks before it is ready waits."""
        self.directory = tempfile.mkdtemp()  # nobody else may have programs run
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._path)
            listener.listen(100)
            return subprocess.Popen(
                [sys.executable, "-m", "tests.kit.fork_server", str(listener.fileno()), str(os.getpid())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
            )


#: That of this process.
FORK_SERVER: Final = ForkServer()


def _number(connection: socket.socket) -> int:
    """The next number that is said there."""
    data = b""
    while not data.endswith(b"\n"):
        read = connection.recv(1)
        assert read, "the interpreter that is copied has ended; it says why on stderr"
        data += read
    return int(data)
