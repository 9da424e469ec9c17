"""``python -m benchmarks``: what Seawall and its peers take for the same work, measured side by side.

How it is measured stands in the report; `benchmarks.method` has the text.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar, assert_never, final

import uvloop
from attrs import evolve, frozen

from benchmarks.arrivals import Handshakes, Storm
from benchmarks.broadcast import Broadcast
from benchmarks.decoding import LIBRARIES, Decoding
from benchmarks.echoes import Echo, Latency
from benchmarks.measures import Failed, Unit, settled
from benchmarks.memory import Memory, most_connections
from benchmarks.picture import draw
from benchmarks.report import Report, fill_in
from benchmarks.rooms import Bystander, Stopped
from benchmarks.target import Server, Target, running
from benchmarks.warming import warm
from benchmarks.works import SERVERS, WORKS, Served, Work

PICTURE = "results.svg"

#: Memory hardly varies, and takes long.
MEMORY_ROUNDS = 2

T = TypeVar("T")


@final
class Options(argparse.Namespace):
    """What the command line asks for."""

    only: list[str]
    servers: list[str]
    rounds: int
    quick: bool
    tree: list[Path]
    write: bool


def options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    works, servers = [work.name for work in WORKS], [server.name for server in SERVERS]
    parser.add_argument("--only", nargs="+", choices=works, default=works, metavar="WORK", help=", ".join(works))
    parser.add_argument(
        "--servers", nargs="+", choices=servers, default=servers, metavar="SERVER", help=", ".join(servers)
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="5 unless told otherwise")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it runs, and little more")
    parser.add_argument(
        "--tree", type=Path, action="append", default=[], metavar="SRC", help="one more server: Seawall as it is there"
    )
    parser.add_argument("--write", action="store_true", help="write results.md and results.svg too")
    return parser.parse_args(namespace=Options())


@final
@frozen
class Plan:
    """What is to be measured."""

    servers: list[Server]
    works: list[Work]
    rounds: int
    remarks: list[str]
    """What is not as it should be."""

    @classmethod
    def of(cls, given: Options) -> Plan:
        """What the command line asks for, as far as the system has descriptors for it."""
        servers = [server for server in SERVERS if server.name in given.servers]
        for number, tree in enumerate(given.tree, 2):
            servers.append(evolve(SERVERS[0], name=f"seawall-{number}", tree=tree.resolve()))
        wanted = [work for work in WORKS if work.name in given.only]
        if given.quick:
            wanted = [shorter(work) for work in wanted]
        remarks = ["One short round, with fewer connections: it shows that all works."] if given.quick else []
        most = most_connections()
        works = [fitting(work, most) for work in wanted]
        if works != wanted:
            remarks.append(f"With fewer connections than intended: there may be {most:,}, by `ulimit -Hn`.")
        return cls(servers, works, 1 if given.quick else given.rounds, remarks)


def shorter(work: Work) -> Work:
    """The same in a fraction of the time, and with less precision."""
    match work:
        case Memory():
            return evolve(work, connections=work.connections // 10, before=work.before // 4)
        case Storm():
            return evolve(work, connections=work.connections // 4, seconds=work.seconds / 4)
        case Echo() | Handshakes() | Latency() | Broadcast() | Bystander() | Stopped():
            return evolve(work, seconds=work.seconds / 4)
        case Decoding():
            return work
        case _:
            assert_never(work)


def fitting(work: Work, most: int) -> Work:
    """The same with as many connections as there may be."""
    match work:
        case Memory():
            return evolve(work, connections=min(work.connections, most - work.before))
        case Storm():
            return evolve(work, connections=min(work.connections, most))
        case Broadcast() | Bystander():
            return evolve(work, subscribers=min(work.subscribers, most))
        case Stopped() | Echo() | Handshakes() | Latency() | Decoding():
            return work
        case _:
            assert_never(work)


def carry_out(plan: Plan, report: Report) -> None:
    """Server by server within work by work within round by round."""
    ours, theirs = cores()
    if ours is not None:
        os.sched_setaffinity(0, {ours})
    start = time.monotonic()
    for turn in range(plan.rounds):
        sys.stderr.write(f"round {turn + 1} of {plan.rounds}, after {time.monotonic() - start:.0f} s\n")
        servers = [server for server in plan.servers if not (server.is_aside and turn)]
        with ExitStack() as stack:
            targets = [stack.enter_context(running(server, theirs)) for server in servers]
            for target in targets:
                within(warm(target), target, "warming up")
            for work in plan.works:
                if isinstance(work, Storm | Latency | Bystander):  # time counts, and all servers share a core
                    quieten(targets)
                if isinstance(work, Decoding):
                    decode(work, theirs, report)
                    continue
                for target in targets:
                    if not isinstance(work, Memory | Stopped) and can(target.server, work):
                        measure(work, target, report)
        for work in plan.works:
            if not isinstance(work, Memory | Stopped) or turn >= MEMORY_ROUNDS:
                continue
            for server in servers:
                if not can(server, work):
                    continue
                with running(server, theirs) as target:
                    within(warm(target), target, "warming up")
                    measure(work, target, report)


def quieten(targets: Sequence[Target]) -> None:
    """Wait until no server is busy any more with what it was asked before."""
    within(settled(lambda: sum(target.cpu() for target in targets)), targets[0], "becoming quiet")


def cores() -> tuple[int | None, int | None]:
    """A core for the client and another one for the servers, where there are two to be had."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else (None, None)


def decode(work: Decoding, core: int | None, report: Report) -> None:
    """Measure one library after another, in processes of their own."""
    for library in LIBRARIES:
        with asyncio.Runner() as runner:
            report.add(*runner.run(work.measure(library, core)))


def can(server: Server, work: Served) -> bool:
    """Whether the server can do the work at all, and has the door that it knocks at."""
    if server.works is not None and work.name not in server.works:
        return False
    return not isinstance(work, Handshakes | Broadcast | Bystander | Stopped | Echo) or work.path in server.paths


def measure(work: Served, target: Target, report: Report) -> None:
    """Measure one server at one work."""
    for row, value in within(work.measure(target), target, work.name).items():
        report.add(row, target.server.name, value)
        sys.stderr.write(f"{target.server.name:16} {row.title:36} {row.unit.value:16} {value:10,.1f}\n")


def within(done: Coroutine[None, None, T], target: Target, what: str) -> T:
    """Do something with a server, in an event loop of its own.

    Raises:
      Failed: whatever went wrong.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(done)
        except Exception as error:
            raise Failed(f"{target.server.name}, {what}: {error!r}") from error


def main() -> None:
    """Measure what was asked for, and print it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the servers too
    given = options()
    plan = Plan.of(given)
    columns = [server.name for server in plan.servers if not server.is_aside]
    columns += [library for library in LIBRARIES if library not in columns]
    report = Report(columns, [server.name for server in plan.servers if server.is_aside], plan.remarks)
    carry_out(plan, report)
    print(report.text())
    if given.write:
        write(report)


def write(report: Report) -> None:
    """Put the tables and the picture beside this file, and a part of it into the docs where they have a place.

    Typed messages are a part of their own: what has not been measured stays as it is.
    """
    here = Path(__file__).parent
    if (typed := report.part({Unit.TYPED})).samples:
        here.joinpath("typed.md").write_text(f"# Results with typed messages\n\n{typed.text()}", encoding="utf-8")
        fill_in("typed messages", f"{typed.summary([Unit.TYPED])}\n{typed.goals()}")
    if (rest := report.part(set(Unit) - {Unit.TYPED})).samples:
        here.joinpath("results.md").write_text(f"# Results\n\n![]({PICTURE})\n\n{rest.text()}", encoding="utf-8")
        draw(rest, here / PICTURE)
        fill_in("all else", rest.summary([Unit.CPU, Unit.TIME, Unit.MEMORY]))


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"benchmarks: {failure}")
    except KeyboardInterrupt:
        sys.exit("benchmarks: interrupted")
