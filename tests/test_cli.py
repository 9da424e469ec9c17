"""The ``seawall`` command, as a process of its own."""

from __future__ import annotations

import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import entry_points, version

import pytest

from seawall.cli import main
from tests.kit.processes import demo, run, run_forked


@contextmanager
def taken_port() -> Generator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` prints name and version, as installed."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"seawall {version('seawall')}\n"


def test_without_a_command_helps(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the help goes to stderr, and the status is that of a wrong command line."""
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "demo" in captured.err


@pytest.mark.parametrize("arguments", [("--echo-port", "65536"), ("--secure-port", "-1"), ("--echo-port", "http")])
def test_refuses_what_is_no_port(arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A port out of range, or no number, is refused before anything starts."""
    with pytest.raises(SystemExit) as stopped:
        main(["demo", "=".join(arguments)])
    assert stopped.value.code == 2
    assert "give a number from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "3601", "soon"])
def test_refuses_what_is_no_session(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A session has a length that somebody can wait for."""
    with pytest.raises(SystemExit) as stopped:
        main(["demo", f"--session-seconds={seconds}"])
    assert stopped.value.code == 2
    assert "give seconds from 1 to 3600" in capsys.readouterr().err


def test_is_installed_as_a_command() -> None:
    """The command ``seawall`` is `main`."""
    (command,) = entry_points(group="console_scripts", name="seawall")
    assert command.load() is main


def test_runs_as_a_module() -> None:
    """``python -m seawall`` is the same command, and passes on its status."""
    status, stdout, stderr = run("-m", "seawall")
    assert (status, stdout) == (2, "")
    assert "usage: seawall" in stderr


@pytest.mark.parametrize("which", ["--echo-port", "--secure-port"])
def test_a_busy_port_is_one_line(which: str) -> None:
    """A port that is in use is one line on stderr that says which, and status 1."""
    other = "--secure-port" if which == "--echo-port" else "--echo-port"
    with taken_port() as port:
        status, stdout, stderr = run_forked("-m", "seawall", "demo", which, str(port), other, "0")
    assert (status, stdout) == (1, "")
    (line,) = stderr.splitlines()
    assert f"cannot listen on 127.0.0.1 port {port}: the port is in use" in line
    assert which in line


@pytest.mark.parametrize(("number", "fresh"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_signal_stops_with_status_0(number: signal.Signals, fresh: bool) -> None:
    """Ctrl-C, or what a service manager sends, drains and ends without a traceback."""
    with demo(fresh=fresh) as running:
        running.program.tell(number)
        assert running.program.wait() == 0
        assert running.program.stdout.text.endswith("Stopped.\n")
        assert "Traceback" not in running.program.stderr.text
