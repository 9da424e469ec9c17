"""Each field of `Limits`, in virtual time: what happens when it is reached, at which moment, and whose value counts.

A case is a little play: what the peer does, what the handler does, and what either of them notes. Its `story` is what
has to be noted if the limit has some value. It is played with the app's value; and, where a route may set the limit,
with a route that sets it lower than the app, and with one that sets it higher.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Final, NamedTuple, TypeAlias, cast, final

import pytest
import trio
from attrs import define, evolve, field, fields, frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Connection, Gate, Guard, Limits, Outcome, TooManyRequests, guard, public
from seawall.clock import unix_time
from seawall.limits import LimitOverrides
from seawall.rooms import Room, Topic
from seawall.serving.server import Server
from seawall.topics.entry import OVERHEAD
from seawall.wire.transport.base import PACE
from seawall.wire.transport.lingering import LINGER
from tests.kit.log import attached
from tests.kit.memory import Doorstep, Peer, Wire, close, living, request, telling, text
from tests.kit.wire import BINARY, PING, PONG, TEXT, frame

#: What is set for all connections of a server, and what a route may set for its own.
FIELDS: Final = tuple(limit.name for limit in fields(Limits))
OVERRIDES: Final = frozenset(LimitOverrides.__annotations__)

#: A route may close faster than the app, not more slowly: `tests.test_limits` has the error.
LESS_ONLY: Final = "close_timeout"

#: Nobody has an address on a memory stream: `tests.promises.test_capacity` has it over TCP.
NETWORKED: Final = "max_connections_per_address"

#: What an event of 1 KiB counts for: its frame, its value, and what goes with them.
EVENT_SIZE: Final = OVERHEAD + 2 * (4 + 1024)

#: Nobody is asked anything where it is not the point.
QUIET: Final = Limits(ping_interval=None)


class Note(NamedTuple):
    """Something that somebody saw."""

    what: object
    at: float
    """Seconds since the beginning."""


@final
@define
class Scene:
    """A server, its visitors, and what they note."""

    door: Doorstep = field(factory=Doorstep)
    story: list[Note] = field(factory=list[Note])
    value: float = 0.0
    """Of the limit, as it should hold."""
    outcomes: list[Note] = field(factory=list[Note])
    _topic: Topic[str] | None = field(init=False, default=None)
    _server: Server | None = field(init=False, default=None)

    def define(self, app: App) -> None:
        """Give `app` a topic."""
        self._topic = app.topic("rooms/{room}", str, history=100)

    def room(self, name: object = "lobby") -> Room[str]:
        """A room of it."""
        assert self._topic is not None
        return self._topic(room=str(name))

    @property
    def server(self) -> Server:
        """The server."""
        assert self._server is not None
        return self._server

    def over(self, outcome: Outcome) -> None:
        """A connection has ended."""
        self.outcomes.append(Note((outcome.code, outcome.reason), trio.current_time()))

    def note(self, what: object) -> None:
        """Somebody saw this, now."""
        self.story.append(Note(what, trio.current_time()))

    def come(self) -> tuple[Wire, Peer]:
        """Somebody connects: both ends."""
        wire = Wire()
        self.door.arrive(wire)
        return wire, Peer(wire.far)

    @asynccontextmanager
    async def serving(self, app: App) -> AsyncGenerator[None]:
        """Serve `app`; not one task is left when it has stopped."""
        before = living()
        async with trio.open_nursery() as nursery:
            self._server = await app.start(nursery, listeners=[self.door])
            yield
            nursery.cancel_scope.cancel()
        assert living() == before

    async def open(self) -> tuple[Wire, Peer]:
        """Somebody connects, and is let in."""
        wire, peer = self.come()
        await peer.open()
        await wait_all_tasks_blocked()
        return wire, peer

    async def note_answer(self, peer: Peer) -> None:
        """Note the status of an answer and its body, when it is all there and the server has half-closed."""
        head = await peer.head()
        body = await peer.rest()
        self.note((int(head.split()[1]), body.decode().strip()))

    async def note_close(self, peer: Peer) -> None:
        """Note the code and the reason of a Close; None if the server goes without one."""
        self.note(await peer.closing())

    async def note_frames(self, peer: Peer, count: int) -> None:
        """Note the opcodes of so many frames."""
        for _ in range(count):
            found = await peer.frame()
            self.note(found.opcode if found is not None else None)

    async def note_closed(self, wire: Wire) -> None:
        """Wait for long, and note when the socket was closed."""
        await trio.sleep(100)
        self.story.append(Note("closed", wire.closed_at))

    def noting(self, what: str) -> AbstractContextManager[None]:
        """Note when the block ends, and how."""
        return telling(lambda how: self.note(f"{what}: {how}"))


Handler: TypeAlias = Callable[[Scene, Connection[Anonymous]], Awaitable[None]]
Act: TypeAlias = Callable[[Scene], Awaitable[None]]
Story: TypeAlias = Callable[[float], list[Note]]


async def sleep(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Be busy elsewhere."""
    await trio.sleep_forever()


async def listen(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Take messages until there are no more."""
    async for _ in conn:
        pass


async def leave(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Have nothing to say."""


@final
@frozen(kw_only=True)
class Case:
    """How one limit is reached."""

    field: str
    story: Story
    act: Act
    handler: Handler = sleep
    door: Guard[Anonymous, Anonymous] = public
    base: Limits = QUIET
    variant: str = ""
    low: float = 7
    high: float = 11

    def __str__(self) -> str:
        """The name of its tests."""
        return f"{self.field}-{self.variant}" if self.variant else self.field


# At the door.


async def dawdle(scene: Scene) -> None:
    """Send a request byte by byte, one a second, and read the answer."""
    wire, peer = scene.come()
    async with trio.open_nursery() as nursery:

        async def say() -> None:
            for number in range(100):
                await peer.say(request()[number : number + 1])
                await trio.sleep(1)

        nursery.start_soon(say)
        await scene.note_answer(peer)
        nursery.cancel_scope.cancel()
    await scene.note_closed(wire)


def too_late(value: float) -> list[Note]:
    """The answer comes at the moment, and the socket is closed a second later."""
    return [Note((408, "request timed out"), value), Note("closed", value + LINGER)]


@guard
async def undecided(gate: Gate, proved: Anonymous) -> Anonymous:
    """Never decide."""
    await trio.sleep_forever()


@guard
async def talkative(gate: Gate, proved: Anonymous) -> Anonymous:
    """Accept after two seconds, and talk for ever: that does not put the limit off."""
    await trio.sleep(2)
    await gate.accept()
    while True:
        await gate.receive_text()


@guard
async def asks_twice(gate: Gate, proved: Anonymous) -> Anonymous:
    """Accept, and let in who says two things."""
    await gate.accept()
    await gate.receive_text()
    await gate.receive_text()
    return proved


async def largest_first(scene: Scene) -> None:
    """Say as much as may be said to a guard, and a second later one byte more."""
    _, peer = await scene.open()
    await peer.say(text("x" * int(scene.value)))
    await trio.sleep(1)
    await peer.say(text("x" * (int(scene.value) + 1)))
    await scene.note_close(peer)


async def begin_many(scene: Scene) -> None:
    """Begin a message in each of several connections, as many as are too much; a second later the first is over."""
    _, first = await scene.open()
    await first.say(text("x" * 9000)[:8500])
    await trio.sleep(1)
    for _ in range(int(scene.value) // 8500):
        _, peer = await scene.open()
        await peer.say(text("x" * 9000)[:8500])
    await scene.note_close(first)


async def ask(scene: Scene) -> None:
    """Ask for an upgrade, and read the answer."""
    _, peer = scene.come()
    await peer.say(request())
    await scene.note_answer(peer)


async def talk(scene: Scene) -> None:
    """Be accepted, and talk on every second."""
    _, peer = scene.come()
    await peer.open()
    async with trio.open_nursery() as nursery:

        async def say() -> None:
            while True:
                await peer.say(text("please"))
                await trio.sleep(1)

        nursery.start_soon(say)
        await scene.note_close(peer)
        nursery.cancel_scope.cancel()


async def crowd(scene: Scene) -> None:
    """Let as many come as may, then one more, who is told so; and another one when one of them has gone."""
    visitors = [await scene.open() for _ in range(int(scene.value))]
    await trio.sleep(1)
    _, surplus = scene.come()
    await surplus.say(request())
    await scene.note_answer(surplus)
    await visitors[0][1].stream.aclose()
    await wait_all_tasks_blocked()
    await scene.open()
    scene.note("let in")


async def strangers(scene: Scene) -> None:
    """The same with those whom a guard keeps; who has been let in does not count."""
    for _ in range(3):
        await scene.open()
    visitors = [scene.come()[1] for _ in range(int(scene.value))]
    for peer in visitors:
        await peer.say(request("/undecided"))
    await trio.sleep(1)
    _, surplus = scene.come()
    await surplus.say(request())
    await scene.note_answer(surplus)
    await visitors[-1].stream.aclose()
    await wait_all_tasks_blocked()
    await scene.open()
    scene.note("let in")


def too_many(_: float) -> list[Note]:
    """The answer comes at once, and who comes then has a place."""
    return [Note((503, "too many connections"), 1), Note("let in", 1)]


@final
@frozen
class Badge:
    """A credential."""

    subject: str | None = "ada"
    token_id: str | None = None
    issued_at: float | None = None


@guard
async def as_ada(gate: Gate, proved: Anonymous) -> Anonymous:
    """Let in Ada."""
    gate.identify(Badge())
    return proved


@guard
async def for_a_minute(gate: Gate, proved: Anonymous) -> Anonymous:
    """Prove something for 60 seconds."""
    gate.lease(expires_at=unix_time() + 60)
    return proved


# The time of a connection.


async def note_expiring(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Wait for the warning, and go on."""
    await conn.expiring.wait()
    scene.note("expiring")
    await trio.sleep_forever()


async def stay(scene: Scene) -> None:
    """Wait for the end."""
    _, peer = await scene.open()
    await scene.note_close(peer)


async def speak_once(scene: Scene) -> None:
    """Wait before the request and after it, say something, and no more."""
    _, peer = scene.come()
    await trio.sleep(2)
    await peer.open()
    await trio.sleep(3)
    await peer.say(text("well"))
    await scene.note_close(peer)


async def say_in_parts(scene: Scene) -> None:
    """Begin a message after a while, go on with it every second, and never finish it."""
    _, peer = scene.come()
    await peer.open()
    await trio.sleep(2)

    async def drip() -> None:
        while True:
            for piece in (text("x" * 100)[:3], b"", *[b"x"] * 50):
                try:
                    await peer.say(piece)
                except trio.BrokenResourceError:
                    return
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        await scene.note_close(peer)
        nursery.cancel_scope.cancel()


async def speak_on(scene: Scene) -> None:
    """Wait before the request, and then say something every second."""
    _, peer = scene.come()
    await trio.sleep(2)
    await peer.open()
    async with trio.open_nursery() as nursery:

        async def say() -> None:
            while True:
                await trio.sleep(1)
                await peer.say(text("and"))

        nursery.start_soon(say)
        await scene.note_close(peer)
        nursery.cancel_scope.cancel()


async def answer_late(scene: Scene) -> None:
    """Answer the first Ping after a second, and see when the next one comes."""
    _, peer = await scene.open()
    await scene.note_frames(peer, 1)
    await trio.sleep(1)
    await peer.say(frame(PONG))
    await scene.note_frames(peer, 1)


async def be_silent(scene: Scene) -> None:
    """Open, and read until the server closes."""
    _, peer = await scene.open()
    await scene.note_close(peer)


async def be_mute(scene: Scene) -> None:
    """Open, read the Close, and do not answer it."""
    wire, peer = await scene.open()
    await scene.note_close(peer)
    await scene.note_closed(wire)


async def be_stuck(scene: Scene) -> None:
    """Open, and take nothing of what is sent from the third second on."""
    wire, peer = await scene.open()
    await trio.sleep(3)
    wire.stall()
    await scene.note_closed(wire)
    scene.story += scene.outcomes
    scene.note(await peer.closing())


async def feed(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Send a lot, when nobody takes it any more."""
    await trio.sleep(3)
    await wait_all_tasks_blocked()
    with scene.noting("feed"):
        while True:
            await conn.send("x" * 1000)


async def hang_up(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Close by hand."""
    with scene.noting("aclose"):
        await conn.aclose(4000, "enough")


async def busy(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Be busy, and note for how long."""
    with scene.noting("busy"):
        await trio.sleep_forever()


async def stubborn(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Be busy, and take no interruption."""
    with trio.CancelScope(shield=True):
        await trio.sleep(80)


async def vanish(scene: Scene) -> None:
    """Go, as a process that dies."""
    wire, peer = await scene.open()
    await trio.sleep(3)
    await peer.stream.aclose()
    await scene.note_closed(wire)


async def drain(scene: Scene, *, restarting: bool = False) -> None:
    """Open, be mute, and see the server stop."""
    wire, peer = await scene.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.note_close, peer)
        await scene.server.drain(restarting=restarting)
        scene.note("drained")
    await scene.note_closed(wire)


def drained(code: int, reason: str, value: float) -> list[Note]:
    """The handler is cut with ``close_timeout`` to go, which the peer may use up."""
    cut = value - QUIET.close_timeout
    return [Note("busy: cancelled", cut), Note((code, reason), cut), Note("drained", value), Note("closed", value)]


async def speak_wrongly(scene: Scene) -> None:
    """Say one wrong thing a second, until the server closes, after one that is right."""
    _, peer = await scene.open()
    await peer.say(text("x"), text("1"))
    await scene.note_frames(peer, 1)
    async with trio.open_nursery() as nursery:

        async def say() -> None:
            while True:
                await trio.sleep(1)
                await peer.say(text("x"))

        nursery.start_soon(say)
        await scene.note_frames(peer, int(scene.value) - 1)
        await scene.note_close(peer)
        nursery.cancel_scope.cancel()


async def count(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Take numbers."""
    async for _ in conn.messages(int):
        pass


# Sizes and counts. Each is reached at the first second, and the answer is there in the same moment.


async def largest(scene: Scene) -> None:
    """Send as large a message as may be, then the header of one that has a byte more."""
    size = int(scene.value)
    _, peer = await scene.open()
    await peer.say(frame(BINARY, b"x" * size))
    await scene.note_frames(peer, 1)
    await trio.sleep(1)
    await peer.say(frame(BINARY, b"x" * (size + 1))[:8])
    await scene.note_close(peer)


async def largest_in_pieces(scene: Scene) -> None:
    """The same, in two frames."""
    size = int(scene.value)
    _, peer = await scene.open()
    await peer.say(frame(BINARY, b"x" * (size - 1), fin=False), frame(0, b"x"))
    await scene.note_frames(peer, 1)
    await trio.sleep(1)
    await peer.say(frame(BINARY, b"x" * size, fin=False), frame(0, b"x")[:6])
    await scene.note_close(peer)


async def most_pieces(scene: Scene) -> None:
    """Send a message in as many frames as may be, empty ones, and then one more."""
    count = int(scene.value)
    _, peer = await scene.open()
    await peer.say(frame(BINARY, fin=False), frame(0, fin=False) * (count - 2), frame(0))
    await scene.note_frames(peer, 1)
    await trio.sleep(1)
    await peer.say(frame(BINARY, fin=False), frame(0, fin=False) * (count - 1))
    await peer.say(frame(PING))
    await scene.note_frames(peer, 1)
    await trio.sleep(1)
    await peer.say(frame(0))
    await scene.note_close(peer)


async def echo(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Send everything back."""
    async for message in conn:
        await conn.send(message)


async def pile_up(scene: Scene, messages: list[bytes]) -> None:
    """Send all but the last of these, and a Ping; after a second the last one, and a Ping again."""
    _, peer = await scene.open()
    *most, last = messages
    await peer.say(*most, frame(PING))
    await scene.note_frames(peer, 1)
    await trio.sleep(1)
    await peer.say(last)
    await wait_all_tasks_blocked()
    await peer.say(frame(PING))
    await scene.note_frames(peer, 1)
    await peer.say(close())
    await trio.sleep(10)


async def pile_up_many(scene: Scene) -> None:
    """Send as many messages as the handler may be behind."""
    await pile_up(scene, [text("")] * int(scene.value))


#: A message, and what it takes in memory.
PIECE: Final = bytes(100)
PIECE_SIZE: Final = PIECE.__sizeof__()


async def pile_up_much(scene: Scene) -> None:
    """Send as much as the server may hold for a handler."""
    await pile_up(scene, [frame(BINARY, PIECE)] * math.ceil(scene.value / PIECE_SIZE))


async def listen_late(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Begin to take messages after five seconds."""
    await trio.sleep(5)
    await listen(scene, conn)


async def fill(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Send what there is room for, and then one more."""
    await trio.sleep(1)
    await wait_all_tasks_blocked()
    count = 0
    with suppress(trio.WouldBlock):
        while True:
            conn.send_nowait(PIECE)
            count += 1
    scene.note(count)
    await conn.send(PIECE)
    scene.note("sent")


async def take_late(scene: Scene) -> None:
    """Take nothing from the first second to the fourth."""
    wire, _ = await scene.open()
    await trio.sleep(1)
    wire.stall()
    await trio.sleep(3)
    wire.flow()
    await trio.sleep(100)


# Rooms.


async def visit(scene: Scene) -> None:
    """Come, after a second."""
    await trio.sleep(1)
    await scene.open()


async def subscribe_to_many(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Subscribe as often as may be; and once more, when these subscriptions have ended."""
    number = 0
    async with AsyncExitStack() as stack:
        with suppress(TooManyRequests):
            while True:
                await stack.enter_async_context(conn.subscribe(scene.room(number)))
                number += 1
        scene.note(number)
    async with conn.subscribe(scene.room("last")):
        scene.note("subscribed")


async def publish_in_many(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Publish in as many rooms as there may be, which all keep it; then in one of them again."""
    number = 0
    with suppress(TooManyRequests):
        while True:
            await scene.room(number).publish("hello")
            number += 1
    scene.note(number)
    await scene.room(0).publish("again")
    scene.note("published")


async def publish_much(scene: Scene, conn: Connection[Anonymous]) -> None:
    """Publish a hundred events of 1 KiB, and note how many are kept."""
    for _ in range(100):
        await scene.room().publish("x" * 1024)
    scene.note(len(await scene.room().history(100)))


TOO_BIG: Final = (1009, "message too big")

CASES: Final = (
    Case(field="handshake_timeout", act=dawdle, story=too_late),
    Case(
        field="auth_timeout",
        door=undecided,
        act=ask,
        story=lambda value: [Note((408, "request timeout"), value)],
    ),
    Case(
        field="auth_timeout",
        variant="accepted",
        door=talkative,
        act=talk,
        story=lambda value: [Note((3008, "authentication timed out"), value)],
    ),
    Case(field="idle_timeout", act=speak_once, story=lambda value: [Note((3008, "idle too long"), 2 + 3 + value)]),
    Case(
        field="message_timeout",
        base=Limits(ping_interval=None),
        act=say_in_parts,
        story=lambda value: [Note((1008, "message timed out"), 2 + value)],
    ),
    Case(field="lifetime", act=speak_on, story=lambda value: [Note((3008, "lifetime reached"), 2 + value)]),
    Case(
        field="lease_warning",
        door=for_a_minute,
        handler=note_expiring,
        act=stay,
        story=lambda value: [Note("expiring", 60 - value), Note((3000, "lease expired"), 60)],
    ),
    Case(
        field="ping_interval",
        base=Limits(ping_timeout=3),
        act=answer_late,
        story=lambda value: [Note(PING, value), Note(PING, value + 1 + value)],
    ),
    Case(
        field="ping_timeout",
        base=Limits(ping_interval=3),
        act=be_silent,
        story=lambda value: [Note((1011, "keepalive lost"), 3 + value)],
    ),
    Case(
        field="send_timeout",
        base=evolve(QUIET, outbound_buffer=5000),
        handler=feed,
        act=be_stuck,
        story=lambda value: [
            Note("feed: Disconnected", 3 + value),
            Note("closed", 3 + value),
            Note((1008, "slow consumer"), 3 + value),
            Note(None, 103),  # it reads that there is no more, but not why
        ],
    ),
    Case(
        field="close_timeout",
        base=evolve(QUIET, drain_timeout=100),
        handler=leave,
        act=be_mute,
        story=lambda value: [Note((1000, ""), 0), Note("closed", value)],
    ),
    Case(
        field="close_timeout",
        variant="by hand",
        base=evolve(QUIET, drain_timeout=100),
        handler=hang_up,
        act=be_mute,
        story=lambda value: [Note((4000, "enough"), 0), Note("aclose: returned", value), Note("closed", value)],
    ),
    Case(
        field="wind_down",
        base=evolve(QUIET, drain_timeout=100),
        handler=busy,
        act=vanish,
        story=lambda value: [Note("busy: cancelled", 3 + value), Note("closed", 3)],
    ),
    Case(
        field="wind_down",
        variant="cleanup",
        base=evolve(QUIET, drain_timeout=100),
        handler=stubborn,
        act=vanish,
        story=lambda value: [Note("still running", 3 + 2 * value), Note("closed", 3)],
    ),
    Case(field="drain_timeout", handler=busy, act=drain, story=partial(drained, 1001, "going away")),
    Case(
        field="drain_timeout",
        variant="restarting",
        handler=busy,
        act=partial(drain, restarting=True),
        story=partial(drained, 1012, "service restart"),
    ),
    Case(field="max_connections", handler=listen, act=crowd, story=too_many, low=3, high=5),
    Case(
        field="max_connections_per_subject",
        door=as_ada,
        handler=listen,
        act=crowd,
        story=lambda _: [Note((429, "too many requests"), 1), Note("let in", 1)],
        low=3,
        high=5,
    ),
    Case(field="max_unauthenticated", act=strangers, story=too_many, low=3, high=5),
    Case(
        field="max_message_size",
        handler=echo,
        act=largest,
        story=lambda _: [Note(BINARY, 0), Note(TOO_BIG, 1)],
        low=1000,
        high=2000,
    ),
    Case(
        field="max_message_size",
        variant="in pieces",
        handler=echo,
        act=largest_in_pieces,
        story=lambda _: [Note(BINARY, 0), Note(TOO_BIG, 1)],
        low=1000,
        high=2000,
    ),
    Case(
        field="total_inbound_buffer",
        base=Limits(max_message_size=9000),
        act=begin_many,
        story=lambda _: [Note((1013, "too much is unfinished"), 1)],
        low=10_000,
        high=20_000,
    ),
    Case(
        field="max_first_message",
        door=asks_twice,
        act=largest_first,
        story=lambda _: [Note(TOO_BIG, 1)],
        low=1000,
        high=2000,
    ),
    Case(
        field="max_fragments",
        handler=echo,
        act=most_pieces,
        story=lambda _: [Note(BINARY, 0), Note(PONG, 1), Note((1009, "too many fragments"), 2)],
        low=10,
        high=20,
    ),
    Case(
        field="max_message_errors",
        handler=count,
        act=speak_wrongly,
        story=lambda value: [
            *(Note(TEXT, second) for second in range(int(value))),
            Note((1008, "too many invalid messages"), value),
        ],
        low=3,
        high=5,
    ),
    Case(
        field="inbound_queue",
        handler=listen_late,
        act=pile_up_many,
        story=lambda _: [Note(PONG, 0), Note(PONG, 1 + PACE)],
    ),
    Case(
        field="inbound_buffer",
        base=evolve(QUIET, max_message_size=100, inbound_queue=1000),
        handler=listen_late,
        act=pile_up_much,
        story=lambda _: [Note(PONG, 0), Note(PONG, 5)],
        low=1000,
        high=2000,
    ),
    Case(
        field="outbound_buffer",
        base=evolve(QUIET, send_timeout=100),
        handler=fill,
        act=take_late,
        story=lambda value: [Note(value // (2 + len(PIECE)), 1), Note("sent", 4)],
        low=1000,
        high=2000,
    ),
    Case(
        field="max_subscriptions",
        handler=subscribe_to_many,
        act=visit,
        story=lambda value: [Note(value, 1), Note("subscribed", 1)],
    ),
    Case(
        field="max_rooms",
        handler=publish_in_many,
        act=visit,
        story=lambda value: [Note(value, 1), Note("published", 1)],
    ),
    Case(
        field="room_history",
        handler=publish_much,
        act=visit,
        story=lambda value: [Note(value // EVENT_SIZE, 1)],
        low=20_000,
        high=40_000,
    ),
)


@final
@frozen
class Level:
    """Who sets a limit."""

    name: str
    app: float
    route: float | None = None

    @property
    def value(self) -> float:
        """What should hold."""
        return self.app if self.route is None else self.route


def levels(case: Case) -> Iterator[Level]:
    """What is to be tried of `case`."""
    yield Level("app", case.low)
    if case.field in OVERRIDES:
        yield Level("route lower", case.high, case.low)
        if case.field != LESS_ONLY:
            yield Level("route higher", case.low, case.high)
    else:
        yield Level("app higher", case.high)


def app_of(case: Case, level: Level, scene: Scene) -> App:
    """An app with the limit of `case` set, for the whole app or for the one route."""
    app = App(limits=set_to(case.base, case.field, level.app), on_end=scene.over)

    async def handle(conn: Connection[Anonymous]) -> None:
        await case.handler(scene, conn)

    scene.define(app)
    own: dict[str, float] = {} if level.route is None else {case.field: level.route}
    app.route("/", guard=case.door, limits=cast("LimitOverrides", own))(handle)
    app.route("/undecided", guard=undecided)(handle)
    return app


def plays() -> Iterator[object]:
    """Each case, at each level."""
    for case in CASES:
        for level in levels(case):
            yield pytest.param(case, level, id=f"{case}-{level.name}")


def set_to(base: Limits, name: str, value: float) -> Limits:
    """`base` with one of its fields set."""
    return evolve(base, **cast("LimitOverrides", {name: value}))


@final
class Overdue(logging.Handler):
    """Notes when the log says that something is overdue."""

    def __init__(self, scene: Scene) -> None:
        """Note it in `scene`."""
        super().__init__(logging.WARNING)
        self._scene = scene

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        if "still running" in record.getMessage():
            self._scene.note("still running")


@pytest.mark.parametrize(("case", "level"), list(plays()))
async def test_a_limit(case: Case, level: Level, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the peer, the handler and the log see when it is reached, in that order and at that moment."""
    monkeypatch.setattr("seawall.clock.source", trio.current_time)
    scene = Scene(value=level.value)
    with attached(Overdue(scene)):
        async with scene.serving(app_of(case, level, scene)):
            with trio.fail_after(1000):
                await case.act(scene)
            story = list(scene.story)
    assert story == case.story(level.value)


def test_no_limit_is_left_out() -> None:
    """A field without a case is one that nobody has seen to hold."""
    assert {case.field for case in CASES} == set(FIELDS) - {NETWORKED}
    assert {case.field for case in CASES for level in levels(case) if level.route is not None} == OVERRIDES
