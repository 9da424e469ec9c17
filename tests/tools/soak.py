"""A soak: minutes of clients that come, go, stall, flood and idle, and a server that must be the same afterwards.

Three processes, so that none is measured through another: the server, an innocent client, and this one, which is all
the others. The time is divided into rounds. After each, everybody but the idle ones leaves, and the server is looked
at when it is at rest; `verdict` says what "the same" means. It needs Linux's /proc::

    python -m tests.tools.soak --seconds 180
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, final

import trio
from attrs import asdict, define, field, frozen

from seawall import public
from seawall.connection.deadlines import Entry
from seawall.limits import Limits
from seawall.serving.listening import Address
from tests.kit.sockets import Place, echo
from tests.kit.wire import BINARY, CONTINUATION, PING, TEXT, Frame, RawClient, close_frame, frame, request
from tests.tools.conversations import LIMITS, compose, credentials
from tests.tools.fuzz import IN_USE, converse, memory, patient_app, say, watched

ROOT: Final = Path(__file__).resolve().parent.parent.parent

#: How many of each kind there are at the same time.
VISITORS, STALLERS, FLOODERS, FUZZERS = 16, 8, 4, 8

#: Seconds of one round, and how few of them give no verdict.
ROUND, FEW = 10.0, 3

#: What memory may grow by from the second third of the rounds to the last: bytes, and blocks for each connection.
GROWTH_BYTES, GROWTH_BLOCKS = 1024 * 1024, 0.1

#: Blocks, more or less, that stay allocated at rest: caches, and deadlines that Trio keeps when they have passed.
SLACK: Final = 2_000


@final
@frozen(kw_only=True)
class Sample:
    """The server at rest."""

    connections: int
    """All that it has had so far."""
    tasks: int
    descriptors: int
    objects: int
    """Of ours and of the layers below."""
    blocks: int
    """Of Python's memory."""
    resident: int
    """Bytes of memory of its own. How much of the rest is whose depends on what other processes run."""

    def __str__(self) -> str:
        """For the line of a round."""
        return (
            f"{self.resident / 1e6:.1f} MB, {self.blocks} blocks, {self.objects} objects, {self.tasks} tasks, "
            f"{self.descriptors} descriptors after {self.connections} connections"
        )


def verdict(samples: Sequence[Sample]) -> list[str]:
    """What has grown; nothing, if the server is as it was.

    The first third of the samples is warm-up. Tasks, descriptors and objects must never be more than they were at some
    time during it (objects: but for `IN_USE`). Memory, in bytes and in blocks, must not be more in the last third than
    it was in the second, but for what `GROWTH_BYTES`, `GROWTH_BLOCKS` and `SLACK` allow; the lowest sample of each
    third counts, because a page goes back to the system only when nothing at all is left in it.
    """
    third = len(samples) // 3
    warm, middle, last = samples[:third], samples[third : 2 * third], samples[2 * third :]
    found: list[str] = []

    def compare(what: str, before: int, after: int, allowed: float) -> None:
        if after > before + allowed:
            found.append(f"{what}: {before} have become {after}")

    compare("tasks", max(one.tasks for one in warm), max(one.tasks for one in samples[third:]), 0)
    compare("descriptors", max(one.descriptors for one in warm), max(one.descriptors for one in samples[third:]), 0)
    compare("objects", max(one.objects for one in warm), max(one.objects for one in samples[third:]), IN_USE)
    compare("bytes", min(one.resident for one in middle), min(one.resident for one in last), GROWTH_BYTES)
    between = last[-1].connections - middle[0].connections
    blocks = min(one.blocks for one in middle), min(one.blocks for one in last)
    compare("blocks", *blocks, SLACK + GROWTH_BLOCKS * between)
    return found


# The server's process


def resident(process: int | str = "self") -> int:
    """Bytes of memory that a process has for itself."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def trim() -> None:
    """Give what is freed back to the system, which the C library otherwise does when it pleases."""
    if (give_back := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        give_back(0)


def spent_alarms() -> int:
    """Alarms for which nobody waits any more: up to as many as there are others stay until they are due."""
    found: list[object] = gc.get_objects()
    return sum(isinstance(one, Entry) and one.deadline is None for one in found)


async def serve(staying: int) -> None:
    """Serve, and say how it is whenever a byte arrives on stdin; drain at the end of it.

    Args:
      staying: the connections that there are at rest.
    """
    app = patient_app(limits=LIMITS)
    app.route("/large", guard=public, limits={"max_message_size": Limits().max_message_size, "inbound_buffer": None})(
        echo
    )
    with watched() as watch:
        async with trio.open_nursery() as nursery:
            place = Place(await app.start(nursery, host="127.0.0.1", port=0))
            say(json.dumps(place.server.addresses[0].port))
            async for _ in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
                await place.idle(staying, within=30.0)
                objects, blocks = memory()
                trim()
                sample = Sample(
                    connections=watch.ended + place.sessions,
                    tasks=trio.lowlevel.current_statistics().tasks_living,
                    descriptors=len(list(Path("/dev/fd").iterdir())),
                    objects=objects - spent_alarms(),
                    blocks=blocks,
                    resident=resident(),
                )
                assert not watch.complaints, watch.complaints
                say(json.dumps(asdict(sample)))
            await place.server.aclose()
            nursery.cancel_scope.cancel()
        assert not watch.complaints, watch.complaints


# The innocent client's process


async def be_innocent(port: int) -> None:
    """Echo until the end of stdin, and then say how long it took: the count, and milliseconds."""
    waits: list[float] = []

    async def echo_on() -> None:
        while True:
            sent = time.perf_counter()
            await client.send(frame(TEXT, b"innocent"))
            assert await client.frame() == Frame(TEXT, b"innocent")
            waits.append(1000 * (time.perf_counter() - sent))
            await trio.sleep(0.01)

    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
        client = RawClient(stream)
        await client.upgrade()
        nursery.start_soon(echo_on)
        async for _ in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
            pass
        nursery.cancel_scope.cancel()
    cuts = statistics.quantiles(waits, n=1000, method="inclusive")
    points = {"50 %": cuts[499], "90 %": cuts[899], "99 %": cuts[989], "99.9 %": cuts[998], "most": max(waits)}
    times = ", ".join(f"{name} {value:.1f}" for name, value in points.items())
    say(json.dumps(f"{len(waits)} echoes of an innocent client, in ms: {times}"))


# All the others


@final
@define(eq=False)
class Crowd:
    """Clients of one server."""

    port: int
    seed: int
    idlers: int
    rng: random.Random = field(init=False, factory=random.Random)
    numbers: Iterator[int] = field(init=False, factory=itertools.count)
    idle: list[RawClient] = field(init=False, factory=list[RawClient])

    async def dial(self, *, room: int = 0) -> RawClient:
        """Connect, with so many bytes of room for what is received."""
        plain = trio.socket.socket()
        if room:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        await plain.connect(("127.0.0.1", self.port))
        return RawClient(trio.SocketStream(plain), plain)

    async def visit(self) -> None:
        """Come, say something, and go in one way or another."""
        client = await self.dial()
        await client.upgrade("/member", credentials())
        for _ in range(self.rng.randrange(5)):
            payload = self.rng.randbytes(self.rng.choice((0, 10, 1000, 15_000)))
            await client.send(frame(BINARY, payload))
            assert await client.frame() == Frame(BINARY, payload)
        match self.rng.randrange(4):
            case 0:
                client.reset()
            case 1:
                client.close()
            case 2:
                client.finish()
                await client.eof()
            case _:
                await client.send(close_frame())
                assert (await client.closed()).code == 1000
                client.close()

    async def stall(self) -> None:
        """Ask for very much, read nothing, and be gone sooner or later than the server loses patience."""
        client = await self.dial(room=4096)
        await client.send(request("/pour"))
        await trio.sleep(self.rng.uniform(0, 1.5))
        client.reset()

    async def flood(self) -> None:
        """Send very much of something at once, and read what comes back."""
        flood = self.rng.choice(
            (
                frame(PING) * 10_000,
                frame(PING, bytes(125)) * 2_000,
                frame(TEXT) * 5_000,
                frame(TEXT, b"x" * 100) * 2_000,
                (frame(TEXT, b"", fin=False) + frame(CONTINUATION)) * 2_000,
                frame(BINARY, bytes(1024 * 1024)) * 2,
            )
        )
        client = await self.dial()
        await client.upgrade("/large")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.closed)
            await client.send(flood)
            await client.send(close_frame())
        client.close()

    async def fuzz(self) -> None:
        """Be one of the clients of the fuzz."""
        await converse(Address(host="127.0.0.1", port=self.port), compose(self.seed, next(self.numbers)))

    async def stay(self) -> None:
        """Replace one idle client in ten, or all that are missing, and let each say something."""
        self.rng.shuffle(self.idle)
        for client in self.idle[: self.idlers // 10]:
            client.close()
        del self.idle[: self.idlers // 10]
        while len(self.idle) < self.idlers:
            self.idle.append(await self.dial())
            await self.idle[-1].upgrade("/member", credentials())
        for client in self.idle:
            await client.send(frame(TEXT, b"still here"))
            assert await client.frame() == Frame(TEXT, b"still here")

    async def round(self, seconds: float) -> None:
        """Be very many for so many seconds."""

        async def again(act: Callable[[], Awaitable[None]]) -> None:
            while trio.current_time() < deadline:
                await act()

        await self.stay()
        deadline = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for act, count in (
                (self.visit, VISITORS), (self.stall, STALLERS), (self.flood, FLOODERS), (self.fuzz, FUZZERS)
            ):  # fmt: skip
                for _ in range(count):
                    nursery.start_soon(again, act)


@final
@define(eq=False)
class Helper:
    """One of the other processes."""

    process: trio.Process
    _heard: bytes = field(init=False, default=b"")

    async def ask(self) -> str:
        """Send it a byte, and read the line that it answers."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"?")
        return await self.line()

    async def finish(self) -> str:
        """End its stdin, and read the rest of what it says; it must end well."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        assert await self.process.wait() == 0
        return await self.line()

    async def line(self) -> str:
        """Read a line; an empty one at the end."""
        assert self.process.stdout is not None
        while b"\n" not in self._heard:
            data = await self.process.stdout.receive_some()
            if not data:
                break
            self._heard += data
        found, _, self._heard = self._heard.partition(b"\n")
        return found.decode()


@asynccontextmanager
async def helping(*arguments: str) -> AsyncGenerator[Helper]:
    """Run this file as another process, in another role; it is gone afterwards."""
    command = [sys.executable, *(f"-W{option}" for option in sys.warnoptions), "-m", "tests.tools.soak", *arguments]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        yield Helper(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@final
@frozen(kw_only=True)
class Plan:
    """What is to be done."""

    seconds: float
    rounds: int
    idlers: int
    """Connections that stay, with a deadline. They say something in each round, and then one in ten is replaced."""
    seed: int


async def soak(plan: Plan) -> list[str]:
    """Let them all loose on a server; what has grown by the end."""
    samples: list[Sample] = []
    async with helping("serve", str(plan.idlers + 1)) as server:
        crowd = Crowd(int(await server.line()), plan.seed, plan.idlers)
        crowd.rng.seed(plan.seed)
        async with helping("innocent", str(crowd.port)) as innocent:
            for number in range(plan.rounds):
                most = await peak(server.process.pid, crowd, plan.seconds / plan.rounds)
                samples.append(Sample(**json.loads(await server.ask())))
                say(f"round {number + 1} of {plan.rounds}: at most {most / 1e6:.1f} MB; at rest {samples[-1]}")
            say(json.loads(await innocent.finish()))
        for client in crowd.idle:
            client.close()
        await server.finish()
    return verdict(samples)


async def peak(process: int, crowd: Crowd, seconds: float) -> int:
    """Go through a round; the most memory that the server had in it, in bytes."""
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, resident(process))
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await crowd.round(seconds)
        nursery.cancel_scope.cancel()
    return most


def main() -> int:
    """Soak a server, and end with 1 if it is not what it was."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.soak", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--rounds", type=int, default=0, help=f"one in {ROUND} s, if not given")
    parser.add_argument("--idlers", type=int, default=500)
    parser.add_argument("--seed", type=int, default=time.time_ns() // 1_000_000)
    roles = parser.add_subparsers(dest="role")
    roles.add_parser("serve").add_argument("staying", type=int)
    roles.add_parser("innocent").add_argument("port", type=int)
    given = parser.parse_args()
    if given.role == "serve":
        trio.run(serve, given.staying)
        return 0
    if given.role == "innocent":
        trio.run(be_innocent, given.port)
        return 0
    rounds = max(FEW, given.rounds or int(given.seconds / ROUND))
    plan = Plan(seconds=given.seconds, rounds=rounds, idlers=given.idlers, seed=given.seed)
    say(f"seed {plan.seed}")
    grown = trio.run(soak, plan)
    say(f"NOT FLAT: {'; '.join(grown)}" if grown else "flat")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
