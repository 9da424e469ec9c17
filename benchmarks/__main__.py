"""``python -m benchmarks``: measure Seawall and its peers side by side, and print what they take."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvloop
from attrs import evolve

from benchmarks.echoes import Echo, Latency
from benchmarks.report import Report
from benchmarks.sockets import Handshakes, Idle
from benchmarks.target import Failed, Server, Target, running
from benchmarks.works import SERVERS, WORKS, Work

#: Memory hardly varies, and takes long.
MEMORY_ROUNDS = 2


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [work.name for work in WORKS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="WORK", help=", ".join(names))
    servers = [server.name for server in SERVERS]
    parser.add_argument(
        "--servers", nargs="+", choices=servers, default=servers, metavar="SERVER", help=", ".join(servers)
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5); the median counts")
    parser.add_argument("--quick", action="store_true", help="a round or two of short measurements: does it run?")
    parser.add_argument(
        "--tree", type=Path, action="append", default=[], help="another src/ of Seawall, measured as one more server"
    )
    return parser.parse_args()


def chosen(given: argparse.Namespace) -> tuple[list[Server], list[Work]]:
    """The servers and the works that were asked for."""
    servers = [server for server in SERVERS if server.name in given.servers]
    trees: list[Path] = given.tree
    servers += [evolve(SERVERS[0], name=f"seawall-{n}", tree=tree.resolve()) for n, tree in enumerate(trees, 2)]
    works = [work for work in WORKS if work.name in given.only]
    return servers, [shorter(work) for work in works] if given.quick else works


def shorter(work: Work) -> Work:
    """The same in a fraction of the time, and with less precision."""
    match work:
        case Idle():
            return evolve(work, connections=work.connections // 5)
        case Echo() | Handshakes() | Latency():
            return evolve(work, seconds=work.seconds / 4)
        case _:
            return work


def cores() -> tuple[int | None, int | None]:
    """A core for the client and another one for the servers, where there are two to be had."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else (None, None)


def measure(work: Work, target: Target, report: Report) -> None:
    """Measure one server at one work."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            measured = runner.run(work.measure(target))
        except (Exception, ExceptionGroup) as error:  # noqa: BLE001 # whatever it is, the run is worth nothing
            raise Failed(f"{target.server.name}, {work.name}: {_said(error)}") from error
    for row, value in measured.items():
        report.add(row, target.server.name, value)
        sys.stderr.write(f"{target.server.name:16} {row:32} {value:12,.1f}\n")


def _said(error: Exception) -> str:
    first = error
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return f"{type(first).__name__}: {first}"


@contextmanager
def all_running(servers: Sequence[Server], core: int | None) -> Iterator[list[Target]]:
    """Start them all, and end them all."""
    with ExitStack() as stack:
        yield [stack.enter_context(running(server, core)) for server in servers]


def main() -> None:
    """Measure what was asked for, server by server within work by work within round by round."""
    given = options()
    servers, works = chosen(given)
    rounds = min(given.rounds, 2) if given.quick else given.rounds
    client, core = cores()
    if client is not None:
        os.sched_setaffinity(0, {client})
    report, start = Report([server.name for server in servers]), time.monotonic()
    for turn in range(rounds):
        sys.stderr.write(f"round {turn + 1} of {rounds}, {time.monotonic() - start:.0f} s\n")
        with all_running(servers, core) as targets:
            for work in works:
                for target in targets:
                    if not isinstance(work, Idle) and can(target.server, work):
                        measure(work, target, report)
        for work in works:
            for server in servers if isinstance(work, Idle) and turn < MEMORY_ROUNDS else []:
                with running(server, core) as target:
                    measure(work, target, report)
    sys.stdout.write("\n".join([report.numbers(), report.ratios(), report.goals()]))


def can(server: Server, work: Work) -> bool:
    """Whether the server has what the work asks for."""
    return server.checks_tokens or not (isinstance(work, Handshakes) and work.path == "/jwt")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"benchmarks: {failure}")
