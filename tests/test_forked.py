"""A program that runs in a copy of an interpreter is what it is in a fresh one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.kit.forked import CAN_FORK, ROOT, ForkServer
from tests.kit.processes import PATIENCE, forked, run, run_forked, running

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CAN_FORK, reason="there are no copies")]

#: What a program can see of how it was started.
SEES = """
import os, signal, sys, threading
print(__name__, sys.argv, os.getcwd(), os.environ["SEEN"], repr(sys.path[0]))
print(sys.modules["__main__"].__dict__ is globals())
print([signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)])
print(sys.stdin.read(), sys.stdout.line_buffering, sys.stdout.encoding, sys.stderr.line_buffering)
print(threading.active_count(), sorted(os.listdir("/proc/self/fd"))[:-1])
print("to stderr", file=sys.stderr)
"""

#: How programs end. Whoever has started us may ignore SIGINT, and then they do too.
ENDS = {
    "by itself": ("import atexit; atexit.register(print, 'at exit'); print('over')", 0),
    "with a status": ("import sys; sys.exit(7)", 7),
    "with a line": ("import sys; sys.exit('why')", 1),
    "with an exception": ("raise ValueError('why')", 1),
    "by Ctrl-C": (
        "import signal as s; s.signal(s.SIGINT, s.default_int_handler); s.raise_signal(s.SIGINT)",
        -signal.SIGINT,
    ),
    "by SIGKILL": ("import os, signal; print('lost'); os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "when its thread does": ("import threading, time; threading.Timer(0.1, print, ['late']).start(); print('main')", 0),
}


@pytest.mark.parametrize("how", ["-c", "file"])
def test_how_it_begins(how: str, tmp_path: Path) -> None:
    """Arguments, environment, directory, signals, streams and descriptors are those that any program has."""
    file = tmp_path / "program.py"
    file.write_text(SEES)
    arguments = (*(("-c", SEES) if how == "-c" else (str(file),)), "an argument")
    env = {"SEEN": "an environment"}
    with forked("-c", "import time; print('here', flush=True); time.sleep(100)") as other:
        other.stdout.wait_for("here")
        assert run_forked(*arguments, env=env) == run(*arguments, env=env)


def test_a_module() -> None:
    """The same holds for a module of ours."""
    assert run_forked("-m", "seawall") == run("-m", "seawall")


@pytest.mark.parametrize("how", ENDS)
def test_how_it_ends(how: str) -> None:
    """Its status is that of the interpreter, or of the signal; what it has printed is there."""
    program, ends = ENDS[how]
    status, out, err = run_forked("-c", program)
    fresh_status, fresh_out, fresh_err = run("-c", program)
    assert (status, out) == (fresh_status, fresh_out)
    assert status == ends
    assert err.splitlines()[-1:] == fresh_err.splitlines()[-1:]


def test_several_at_once() -> None:
    """Each has its own streams and its own end; one that is killed is dead when that is told."""
    waiting = "import time; print('ready', flush=True); time.sleep(100)"
    with forked("-c", waiting) as one, forked("-c", waiting) as other:
        for program in (one, other):
            program.stdout.wait_for("ready")
        one.tell(signal.SIGKILL)
        assert one.wait() == -signal.SIGKILL
        with pytest.raises(ProcessLookupError):
            os.kill(one.process.pid, 0)
        assert other.process.poll() is None
        other.tell(signal.SIGTERM)
        assert other.wait() == -signal.SIGTERM


#: Starts what is copied, and is gone.
GONE = """
import os
from tests.kit.forked import FORK_SERVER, ROOT
FORK_SERVER.fork(["-c", ""], directory=ROOT, env=os.environ).wait(60)
print("gone", FORK_SERVER.directory, flush=True)
os._exit(0)
"""


def test_nothing_is_left() -> None:
    """The interpreter that is copied ends when it is told to, and when who has started it has gone."""
    server = ForkServer()
    copy = server.fork(["-c", "print('over')"], directory=ROOT, env=os.environ)
    with copy.stdout, copy.stderr:
        assert (copy.stdout.read(), copy.wait(PATIENCE)) == ("over\n", 0)
    server.stop()
    server.stop()
    with running("-c", GONE) as program:
        directory = Path(program.stdout.wait_for(r"gone (\S+)")[1])
        program.stderr.wait_for_end()  # which both have open
    assert not directory.exists()
