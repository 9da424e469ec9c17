"""``python -m benchmarks.instructions``: how many instructions a handshake takes, and an echo, typed or not.

The server and 16 clients are one process under valgrind's cachegrind, over loopback, in virtual time that stands
still, with hashes and an order of the tasks that are the same each time. Each number is the difference between a long
run and a short one, divided by how much longer it was, so that starting up cancels out; printed is the median of
three. Instructions do not depend on what else the machine does, as time does. The clients' own are included, the
kernel's are not.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Final, final

ROOT = Path(__file__).resolve().parent.parent

#: How many connections do the same at the same time.
TOGETHER: Final = 16
#: How many times each of them does it, in the short and in the long run.
SHORT: Final = 2
LONG: Final = {"handshake": 12, "echo": 202, "typed": 202, "events": 202}
ROUNDS: Final = 3

VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")


@final
class Options(argparse.Namespace):
    """What the command line asks for."""

    src: Path
    only: list[str]


def options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--src", type=Path, default=ROOT / "src", help="what to import Seawall from, if not from here")
    parser.add_argument("--only", nargs="+", choices=LONG, default=list(LONG), help="which works, if not all")
    given = parser.parse_args(namespace=Options())
    if not given.src.joinpath("seawall").is_dir():
        parser.error(f"--src {given.src}: there is no Seawall in it")
    return given


def run(src: Path, work: str, times: int, *, counted: bool = True) -> int:
    """How many instructions one process takes for the work; 0 if they are not counted."""
    command = [sys.executable, "-m", "benchmarks.counted", work, str(times)]
    paths = os.pathsep.join((str(src.resolve()), str(ROOT)))
    done = subprocess.run(  # noqa: S603 # our own module
        [*(VALGRIND if counted else ()), *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": "0"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    found = re.search(r"I +refs: +([\d,]+)", done.stderr)
    if done.returncode or (found is None and counted):
        sys.exit(f"instructions: {work} ended with {done.returncode}, and said:\n{done.stderr}")
    return int(found[1].replace(",", "")) if found is not None else 0


def measure(src: Path, works: list[str]) -> None:
    """Print what each work takes."""
    for work in works:
        long = LONG[work]
        run(src, work, SHORT, counted=False)  # compiles what has not been compiled yet
        each = list[float]()
        for _ in range(ROUNDS):
            more = run(src, work, long) - run(src, work, SHORT)
            each.append(more / (long - SHORT) / TOGETHER)
        print(f"{work:10} {median(each):12,.0f} instructions ({min(each):,.0f} to {max(each):,.0f})", flush=True)


if __name__ == "__main__":
    given = options()
    measure(given.src, given.only)
