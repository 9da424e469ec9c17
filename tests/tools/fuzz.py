"""A seeded fuzz: a server on a real socket, thousands of clients without manners, and what must be true all the while.

The suite runs a part (`test_fuzz`); ``nox -s fuzz`` runs for minutes, from the clock's seed. One conversation again::

    python -m tests.tools.fuzz --seed 17 --only 4242 --over tls
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import math
import socket
import struct
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, Literal, TypeAlias, assert_never, final, get_args

import trio
import trio.testing
from attrs import define, field, frozen

from seawall import Anonymous, App, Claims, Connection, Forbidden, Gate, TokenVerifier, bearer, guard, public
from seawall.exception_groups import exceptions_in
from seawall.limits import Limits
from seawall.observability.logs import TextFormatter
from seawall.serving.listening import Address, Listen
from tests.kit.sockets import Handler, Place, client_context, echo, innocent, no_leaks, server_context, serving
from tests.kit.wire import close_frame
from tests.tools.conversations import PASSWORD, PINGING, SECRET, Ending, Script, compose, credentials
from tests.tools.oracle import Heard, check, hear, must_end

Over: TypeAlias = Literal["tcp", "stream", "tls", "unix"]

#: What conversations are held over. ``stream`` is TCP in a stream that does not look like a socket's.
OVER: Final[tuple[Over, ...]] = get_args(Over)

#: Clients at the same time.
AT_ONCE: Final = 12

#: Seconds in which the server has to end what a client has finished: less than it would wait for a request.
ENDED: Final = 8.0

#: Seconds after which a client gives up that cannot send, because the server does not read.
STUCK: Final = 5.0

#: Seconds for which a client waits for an answer that need not come.
UNANSWERED: Final = 0.1

#: Seconds for which a client that stalls does not read: long enough to be too slow.
STALLED: Final = 1.3

#: Conversations after which every cache is filled, at most.
WARM: Final = 500

#: Whose objects must all be gone when their connections are.
OWNERS: Final = frozenset({"seawall", "trio_websocket", "wsproto", "h11"})

#: Objects of theirs, more or less, that may be in use at one moment and not at another. One connection has 25; the
#: last one that some task of the server has looked at may still be known to it.
IN_USE: Final = 60

#: Blocks of memory, more or less, that stay allocated when all is quiet. Trio keeps up to a thousand deadlines that
#: have passed, of some five blocks each, for later; what one connection needs is some hundreds.
SLACK: Final = 8_000


#: How the time of a long run is divided.
SHARES: Final[dict[Over, int]] = {"tcp": 4, "stream": 2, "tls": 2, "unix": 1}


# The server


async def busy(conn: Connection[Anonymous]) -> None:
    """Take a message now and then, and be occupied with something else otherwise."""
    for _ in range(8):
        await trio.sleep(0.05)
        with trio.move_on_after(0.01):
            await conn.receive()


async def pour(conn: Connection[Anonymous]) -> None:
    """Only send."""
    for size in itertools.cycle((10, 4096, 150_000)):
        await conn.send(bytes(size))
        await trio.sleep(0.002)


async def ticks(conn: Connection[Anonymous]) -> None:
    """Echo, while another task sends too."""

    async def tick() -> None:
        while True:
            await conn.send("tick")
            await trio.sleep(0.002)

    conn.nursery.start_soon(tick)
    await echo(conn)


async def fickle(conn: Connection[Anonymous]) -> None:
    """Change one's mind about sending, again and again."""
    for number in range(40):
        with trio.move_on_after(0.0005 * (number % 3)):
            await conn.send(b"\xff" * 30_000)
        await conn.send("whole")


async def curt(conn: Connection[Anonymous]) -> None:
    """Close after the first message."""
    await conn.receive()
    await conn.aclose(4000, "enough")


async def member(conn: Connection[Claims]) -> None:
    """Echo to somebody known."""
    async for message in conn:
        await conn.send(message)


@asynccontextmanager
async def resource() -> AsyncGenerator[None]:
    """Something that takes a moment to enter and to leave."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep(0.002)
        yield
        nursery.cancel_scope.cancel()


@guard
async def hold(gate: Gate, proved: Anonymous) -> Anonymous:
    """Hold a resource."""
    await gate.enter(resource())
    return proved


@guard
async def talk(gate: Gate, proved: Anonymous) -> Anonymous:
    """Ask for a word."""
    await gate.accept()
    await gate.send_text("say friend")
    if await gate.receive_text() != PASSWORD.decode():
        raise Forbidden("not a friend")
    return proved


def patient_app(first: Handler = echo, limits: Limits = PINGING) -> App:
    """An app with handlers and guards of every temper, none of which ever fails; `first` is the one at ``/echo``."""
    made = App(limits=limits)
    handlers = {"/echo": first, "/busy": busy, "/pour": pour, "/ticks": ticks, "/fickle": fickle, "/curt": curt}
    for path, handler in handlers.items():
        made.route(path, guard=public)(handler)
    made.route("/brief", guard=public, limits={"lifetime": 0.02})(echo)
    made.route("/held", guard=hold)(echo)
    made.route("/talk", guard=talk)(echo)
    century = 100 * 366 * 86_400.0
    verifier = TokenVerifier(SECRET, algorithms=["HS256"], audience="fuzz", issuer="fuzz", max_lifetime=century)
    made.route("/member", guard=bearer(verifier))(member)
    made.page("/page", "<p>page</p>")
    return made


@final
@frozen(eq=False)
class Veil(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """A listener whose streams do not look like a socket's."""

    listener: trio.SocketListener

    async def accept(self) -> trio.abc.HalfCloseableStream:
        """The next connection."""
        stream = await self.listener.accept()
        return trio.StapledStream(stream, stream)

    async def aclose(self) -> None:
        """Stop listening."""
        await self.listener.aclose()


@asynccontextmanager
async def opened(app: App, over: Over) -> AsyncGenerator[Place]:
    """The server, listening."""
    with tempfile.TemporaryDirectory() as directory:
        (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        ways: dict[Over, Listen] = {
            "tcp": {"listeners": [plain]},
            "stream": {"listeners": [Veil(plain)]},
            "tls": {"listeners": [trio.SSLListener(plain, server_context(), https_compatible=True)]},
            "unix": {"unix": Path(directory) / "socket"},
        }
        async with plain, serving(app, **ways[over]) as place:
            if over == "stream":  # nobody but us can know
                place.server.addresses = (Address(host="127.0.0.1", port=plain.socket.getsockname()[1]),)
            yield place


# A client


@final
@define(eq=False)
class Client:
    """One client: acts as its script says, and remembers what it is told."""

    socket: trio.socket.SocketType
    stream: trio.abc.Stream
    is_secure: bool
    is_finished: bool = field(init=False, default=False)
    answer: bytearray = field(init=False, factory=bytearray)
    was_reset: bool = field(init=False, default=False)
    is_stuck: bool = field(init=False, default=False)
    over: trio.Event = field(init=False, factory=trio.Event)
    _news: trio.Event = field(init=False, factory=trio.Event)

    async def act(self, script: Script) -> None:
        """Say what is to be said, as far as the server takes it."""
        with trio.move_on_after(STUCK) as patience:
            try:
                for step in script.steps:
                    if isinstance(step, bytes):
                        await self.stream.send_all(step)
                    else:
                        await trio.sleep(step)
            except trio.BrokenResourceError:
                return
        self.is_stuck = patience.cancelled_caught

    async def listen(self) -> None:
        """Remember everything, to the end."""
        try:
            while data := await self.stream.receive_some(64 * 1024):
                self.answer += data
                self._news.set()
        except trio.BrokenResourceError:
            self.was_reset = True
        except trio.ClosedResourceError:
            pass  # TLS wanted to say something after we had half-closed the socket under it
        self.over.set()
        self._news.set()

    async def finish(self) -> None:
        """Say that nothing more will come, and read to the end."""
        self.is_finished = True
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server was first
        await self.wait()

    async def wait(self) -> None:
        """Read to the end."""
        with trio.move_on_after(ENDED):
            await self.over.wait()
        assert self.over.is_set(), f"not ended after {ENDED} s"

    async def part(self, sent: bytes) -> None:
        """Wait for every echo, close as one should, and read to the end."""

        def echoes() -> int:
            frames = check(bytes(self.answer), sent + close_frame(), cut=True).frames
            return sum(one.fin and one.opcode < 8 for one in frames)

        expected = len(hear(sent[sent.index(b"\r\n\r\n") + 4 :]).messages)
        with trio.move_on_after(ENDED):
            while not self.over.is_set() and echoes() < expected:
                self._news = trio.Event()
                await self._news.wait()
            await self.stream.send_all(close_frame())
            await self.over.wait()
        assert self.over.is_set(), f"not ended {ENDED} s after a good Close"
        heard = check(bytes(self.answer), sent + close_frame(), cut=False)
        assert (echoes(), heard.code) == (expected, 1000), f"{echoes()} of {expected} echoes, then {heard}"

    async def end(self, script: Script) -> None:
        """Do what is to be done when everything is said."""
        match script.ending:
            case Ending.POLITE:
                await self.part(script.sent)
            case Ending.WAIT:
                await self.wait()
            case Ending.FINISH:
                with trio.move_on_after(UNANSWERED):
                    await self._news.wait()
                await (self.wait() if must_end(bytes(self.answer), script.sent) else self.finish())
            case Ending.HASTE | Ending.STALL:
                await self.finish()
            case Ending.LEAVE:
                pass
            case Ending.RESET | Ending.DEAF:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case _:
                assert_never(script.ending)


async def dial(address: Address, script: Script) -> Client:
    """Connect; one that will not read has no room for what it is sent, either."""
    plain = trio.socket.socket(socket.AF_INET if address.port else socket.AF_UNIX)
    if not script.ending.reads:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        await plain.connect((address.host, address.port) if address.port else address.host)
    except OSError:
        plain.close()
        raise
    transport = trio.SocketStream(plain)
    if not address.secure or script.is_raw:
        return Client(plain, transport, is_secure=address.secure)
    secured = trio.SSLStream(transport, client_context(), server_hostname="localhost", https_compatible=True)
    return Client(plain, secured, is_secure=True)


async def converse(address: Address, script: Script) -> Client:
    """Be the client of `script` of a server at `address`, to its end.

    Raises:
      AssertionError: what the server did is wrong.
    """
    client = await dial(address, script)
    with client.socket:
        async with trio.open_nursery() as nursery:
            if script.ending.reads:
                nursery.start_soon(client.listen)
            await client.act(script)
            if script.ending is Ending.STALL:
                await trio.sleep(STALLED)
                nursery.start_soon(client.listen)
            if not client.is_stuck:
                await client.end(script)
            nursery.cancel_scope.cancel()
    return client


def judge(client: Client, script: Script) -> Heard:
    """Whether the answer is right.

    Raises:
      AssertionError: it is not.
    """
    if client.is_stuck or (script.is_raw and client.is_secure):
        return Heard()
    sent = script.sent + (close_frame() if script.ending is Ending.POLITE else b"")
    has_waited = script.ending in {Ending.POLITE, Ending.WAIT, Ending.FINISH, Ending.HASTE}
    # TLS that ends without its own farewell has been cut off: nothing can be said any more, and need not be. What was
    # pending for who had been let in is dropped then, with a reset; who has been refused still reads why.
    is_cut_off = client.is_secure and client.is_finished
    is_refused = script.status not in {None, 101} or bytes(client.answer[9:12]) not in {b"", b"101"}
    may_be_reset = is_cut_off and not is_refused
    assert not (has_waited and client.was_reset and not may_be_reset), "reset"
    heard = check(bytes(client.answer), sent, cut=not has_waited or is_cut_off)
    assert script.status in {None, heard.status}, f"status {heard.status} instead of {script.status}"
    return heard


# The log


@final
class Watch(logging.Handler):
    """Every line of the log must be short and printable, and none may be about a failure that nobody expected."""

    def __init__(self) -> None:
        """Nothing has been written yet."""
        super().__init__()
        self.setFormatter(TextFormatter())
        self.complaints: list[str] = []
        """What must not be there."""
        self.ended = 0
        """Connections that are over: one line each, or a number in a line for all that are folded into it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a line."""
        line = self.format(record)
        if record.name == "seawall.connection":
            fields: Mapping[str, object] = vars(record).get("seawall", {})
            folded = fields.get("folded", 1)
            assert isinstance(folded, int)
            self.ended += folded
        if record.levelno >= logging.ERROR or record.exc_text or len(line) > 600 or not line.isprintable():
            self.complaints.append(line)


@contextmanager
def watched() -> Generator[Watch]:
    """Watch the log instead of whoever else does (pytest would keep every line), and what cannot be raised anywhere."""

    def complain(unraisable: sys.UnraisableHookArgs) -> None:
        watch.complaints.append(f"{unraisable.err_msg or 'ignored'} {unraisable.object!r}: {unraisable.exc_value!r}")

    watch, ours, root = Watch(), logging.getLogger("seawall"), logging.getLogger()
    level, hook = ours.level, sys.unraisablehook
    sys.unraisablehook = complain
    ours.addHandler(watch)
    root.addHandler(watch)
    ours.setLevel(logging.INFO)
    ours.getChild("connection").setLevel(logging.DEBUG)  # of those, too, who say nothing
    ours.propagate = False
    try:
        yield watch
    finally:
        sys.unraisablehook = hook
        ours.propagate = True
        ours.setLevel(level)
        ours.getChild("connection").setLevel(logging.NOTSET)
        root.removeHandler(watch)
        ours.removeHandler(watch)


# Very many clients


@final
@frozen(kw_only=True)
class Plan:
    """What is to be done."""

    over: Over
    seed: int
    """With a conversation's number, it says what that conversation is."""
    numbers: Sequence[int]
    """Which conversations."""
    seconds: float = math.inf
    """None begins later than that."""
    members: int = 0
    """Connections that are there all the time, each with a deadline a century ahead."""
    app: App = field(factory=patient_app)

    def again(self, *numbers: int) -> str:
        """How to hold some of the conversations again."""
        only = f" --only {','.join(map(str, numbers))}" if numbers else ""
        return f"again: python -m tests.tools.fuzz --seed {self.seed} --over {self.over}{only}"


@final
@define(eq=False)
class Fuzz:
    """The clients of one plan."""

    plan: Plan
    place: Place
    watch: Watch
    tally: Counter[str] = field(init=False, factory=Counter[str])
    """How often what was seen."""
    held: int = field(init=False, default=0)
    """Conversations so far."""
    _recent: deque[int] = field(init=False, factory=lambda: deque[int](maxlen=2 * AT_ONCE))

    async def run(self, numbers: Iterable[int], seconds: float) -> None:
        """Hold the conversations with these numbers, `AT_ONCE` at a time; none begins after `seconds`.

        Raises:
          AssertionError: something is wrong, and the text says how to see it again.
        """
        waiting, deadline = iter(numbers), trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work, waiting, deadline)
        await self.place.idle(1 + self.plan.members)
        await trio.testing.wait_all_tasks_blocked()
        self.place.server._state.reporter.flush_suppressed()  # pyright: ignore[reportPrivateUsage] # what is due in a minute
        self._look_at_log()
        assert self.watch.ended == self.held, f"{self.held} connections, but {self.watch.ended} lines in the log"

    async def _work(self, numbers: Iterator[int], deadline: float) -> None:
        for number in numbers:
            await self._hold(number)
            self._look_at_log()
            if trio.current_time() > deadline:
                return

    async def _hold(self, number: int) -> None:
        script = compose(self.plan.seed, number)
        self._recent.append(number)
        self.held += 1
        (address,) = self.place.server.addresses
        try:
            client = await converse(address, script)
            heard = judge(client, script)
        except Exception as wrong:
            what = f"conversation {number} ({script.name}, then {script.ending.name}): {describe(wrong)}"
            raise AssertionError(f"{what}\n{self.plan.again(number)}") from wrong
        self.tally.update([script.ending.name, str(heard.status), *script.name.split("+")])
        self.tally.update([f"close {heard.code}"] if heard.code else [])
        self.tally["messages"] += sum(one.fin and one.opcode < 8 for one in heard.frames)

    def _look_at_log(self) -> None:
        if self.watch.complaints:
            lines, again = "\n".join(self.watch.complaints), self.plan.again(*self._recent)
            raise AssertionError(f"after one of these conversations the log says: {lines}\n{again}")


def describe(wrong: Exception) -> str:
    """What went wrong, without the groups around it."""
    return "; ".join(f"{type(one).__name__}: {one}" for one in exceptions_in(wrong))


async def fuzz(plan: Plan) -> Fuzz:
    """Start a server, hold the conversations of `plan` with it, and see that nothing is left of them.

    Raises:
      AssertionError: something is wrong, and the text or a note says how to see it again.
    """
    try:
        with watched() as watch:
            async with opened(plan.app, plan.over) as place, innocent(place), no_leaks(place):
                for _ in range(plan.members):
                    await (await place.dial()).upgrade("/member", credentials())
                run, warm = Fuzz(plan, place, watch), min(len(plan.numbers) // 4, WARM)
                await run.run(plan.numbers[:warm], plan.seconds / 4)
                before = memory()
                await run.run(plan.numbers[warm:], plan.seconds * 3 / 4)
                after = memory()
        if warm:
            assert after[0] <= before[0] + IN_USE, f"{before[0]} objects of ours have become {after[0]}"
            assert after[1] <= before[1] + SLACK, f"{before[1]} blocks of memory have become {after[1]}"
    except Exception as wrong:
        wrong.add_note(plan.again())
        raise
    return run


def memory() -> tuple[int, int]:
    """Objects of ours, and blocks of memory, that this process holds."""
    gc.collect()
    modules: list[object] = [type(one).__module__ for one in gc.get_objects()]  # of some classes it is no text
    ours = sum(isinstance(module, str) and module.partition(".")[0] in OWNERS for module in modules)
    return ours, sys.getallocatedblocks()


def main() -> None:
    """Fuzz for a while, or hold single conversations again."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.fuzz", description=main.__doc__)
    parser.add_argument("--seed", type=int, default=time.time_ns() // 1_000_000)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--over", choices=OVER, action="append")
    parser.add_argument("--only", type=lambda text: [int(number) for number in text.split(",")])
    given = parser.parse_args()
    seed: int = given.seed
    only: list[int] = given.only or []
    chosen: list[Over] = given.over or list(OVER)
    for number in only:
        say(f"{number}: {compose(seed, number)}")
    say(f"seed {seed}")
    for over in chosen:
        seconds = float(given.seconds) * SHARES[over] / sum(SHARES[one] for one in chosen)
        began = time.monotonic()
        numbers = only or range(1_000_000_000)
        run = trio.run(fuzz, Plan(over=over, seed=seed, numbers=numbers, seconds=seconds))
        seen = ", ".join(f"{what} {times}" for what, times in run.tally.most_common())
        say(f"{over}: {run.held} conversations in {time.monotonic() - began:.0f} s, nothing wrong ({seen})")


def say(text: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
