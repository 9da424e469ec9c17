"""Properties of rooms: whatever happens in whatever order, each reader sees one sequence, or is told what is missing.

Scripts run in virtual time against an app over memory streams; `tests.kit.room_story` says what is to be seen.
"""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from typing import Final, TypeAlias, cast, final

import pytest
import trio
from attrs import define, evolve, field, frozen
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, ConfigurationError, Connection
from seawall.errors import Kicked, SlowConsumer, SubscriptionLost
from seawall.rooms import (
    Disconnect,
    DropNewest,
    DropOldest,
    Gap,
    Lag,
    Latest,
    Position,
    Room,
    RoomEvent,
    Since,
    Subscription,
    Topic,
)
from seawall.testing.network import MemoryStream
from seawall.topics.forwarding import Forwarding
from seawall.topics.log import Log
from seawall.topics.reading import Reading
from tests.kit.memory import Peer, text
from tests.kit.room_story import Reader, Story
from tests.kit.rooms import (
    PATIENT,
    Said,
    Wrap,
    by_key,
    held,
    in_memory,
    network_of,
    pinned,
    room_app,
    table_entries,
    tell,
    tell_some,
)
from tests.kit.wire import CLOSE

#: Names of rooms. With a separator in them they are other rooms still.
NAMES: Final = ("x", "x/y")
LINES: Final = 2
#: Where things happen, as numbers of rooms and of lines: most in one place, so that they meet.
MOSTLY: Final = (0, 0, 0, 1)
#: No two things happen that far apart, so that what is a moment too old is clear.
TTL: Final = 6.5
#: In a script where memory is short.
TIGHT: Final = 6_000


@frozen
class Publish:
    """Events come, one of the lines may be passed over."""

    room: int
    keys: tuple[int, ...]
    but: int | None
    how: str
    """``nowait``, ``awaited`` in a task beside, or ``cancelled`` before it is done."""
    is_large: bool


@frozen
class Read:
    """A connection, or the app itself, reads; what it has read before is left."""

    line: int | None
    room: int
    since: str
    """``None``, ``joined``, where the ``last`` reader ended, ``old``, or ``foreign``; or of the ``other`` room or the
    ``future``."""
    lag: Lag[Said]
    wrap: Wrap | None


@frozen
class Do:
    """Something happens to a line, or to the reader in the app if there is none."""

    line: int | None
    what: str
    """``stall``, ``flow``, ``leave``, ``cancel``, ``reset``, ``kick``."""


@frozen
class Flood:
    """Somebody reads, and stops; events come, all others have a turn after each round, and then it may go on."""

    read: Read
    rounds: tuple[int, ...]
    goes_on: bool


@frozen
class Wait:
    """Everybody has a turn, and then so many seconds pass."""

    seconds: int


Dial: TypeAlias = Callable[[str], Awaitable[Peer]]
Step: TypeAlias = Publish | Read | Do | Flood | Wait

NEWEST: Final = Latest(by_key)
LAGS: Final[list[Lag[Said]]] = [
    Disconnect(3),
    Disconnect(50),
    DropOldest(1),
    DropOldest(3),
    DropNewest(1),
    DropNewest(3),
    NEWEST,
    Latest(by_key, at_most=2),
]
WRAPS: Final[list[Wrap]] = [tell, tell, tell_some]
SINCE: Final = ["None", "None", "joined", "last", "last", "old", "foreign", "other", "future"]


def reads() -> st.SearchStrategy[Read]:
    """Any way to read that is allowed."""
    rooms, since, line = st.sampled_from(MOSTLY), st.sampled_from(SINCE), st.sampled_from(MOSTLY)
    lags = st.sampled_from(LAGS)
    plain = st.sampled_from([lag for lag in LAGS if not isinstance(lag, DropOldest | DropNewest)])
    return st.one_of(
        st.builds(Read, line, rooms, since, lags, st.sampled_from(WRAPS)),
        st.builds(Read, line, rooms, since, plain, st.none()),
        st.builds(Read, st.none(), rooms, since, lags, st.none()),
    )


def scripts() -> st.SearchStrategy[list[Step]]:
    """Anything that may happen."""
    publish = st.builds(
        Publish,
        room=st.sampled_from(MOSTLY),
        keys=st.lists(st.integers(0, 3), min_size=1, max_size=9).map(tuple),
        but=st.sampled_from([None, None, None, None, None, 0]),
        how=st.sampled_from(["nowait", "nowait", "awaited", "cancelled"]),
        is_large=st.booleans(),
    )
    do = st.builds(
        Do,
        line=st.sampled_from([0, 0, 0, 1, None, None]),
        what=st.sampled_from(
            ["stall", "stall", "stall", "stall", "flow", "flow", "flow", "leave", "cancel", "reset", "kick"]
        ),
    )
    rounds = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple)
    flood = st.builds(Flood, reads(), rounds, st.sampled_from([True, True, False]))
    wait = st.builds(Wait, st.sampled_from([0, 0, 0, 0, 1, 4, 9]))
    step: st.SearchStrategy[Step] = st.one_of(publish, reads(), do, wait, flood)
    return st.lists(step, min_size=6, max_size=30)


@frozen
class Kept:
    """What a topic says of its rooms."""

    history: int
    ttl: float | None
    is_tight: bool
    keeps_newest: bool
    """Whether the newest of each key is kept, too."""


def keeping() -> st.SearchStrategy[Kept]:
    """Any."""
    return st.builds(
        Kept,
        *(st.sampled_from(one) for one in ([0, 1, 4, 100], [None, TTL], [False, False, False, True], [False, True])),
    ).map(lambda kept: kept if kept.history else evolve(kept, ttl=None))


@contextmanager
def traced() -> Generator[Callable[[], int]]:
    """By how many bytes memory has grown in the block; ask after it."""
    tracemalloc.start()
    try:
        gc.collect()
        before, after = tracemalloc.get_traced_memory()[0], 0
        yield lambda: after - before
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def log_of(events: object) -> Log:
    """What is read by who reads in the app."""
    assert isinstance(events, Reading)
    return cast("Reading[object]", events).cursor.log


def newest_of(log: Log) -> Position:
    """Where the newest event is of those that are read; before the first, if there is none yet."""
    return log.position(log.end - 1)


@final
@define(eq=False)
class Line:
    """A connection, whose handler reads what it is told to."""

    conn: Connection[object] | None = None
    peer: Peer | None = None
    is_stalled: bool = False
    kicked_until: dict[str, float] = field(factory=dict[str, float])
    """By name of the room."""
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    leave: trio.Event = field(factory=trio.Event)
    orders: list[tuple[Room[Said], str, Reader]] = field(factory=list[tuple[Room[Said], str, Reader]])
    more: trio.Event = field(factory=trio.Event)
    over: int = 0
    """Of how many orders the peer has seen the end."""

    async def handle(self, conn: Connection[object]) -> None:
        """Read one room after the other; the end of each is told to the peer."""
        self.conn = conn
        for at in count():
            while at == len(self.orders):
                self.more = trio.Event()
                await self.more.wait()
            if at == len(self.orders) - 1:
                self.leave = trio.Event()
            with trio.CancelScope() as self.scope:
                await self.carry_out(conn, *self.orders[at])
            await conn.send("over")

    async def carry_out(self, conn: Connection[object], room: Room[Said], name: str, reader: Reader) -> None:
        """Read until told to leave."""
        leave, reader.connection = self.leave, conn.id
        one: Subscription | None = None
        failure: Exception | None = None
        try:
            async with conn.subscribe(room, since=reader.since, lag=reader.lag, wrap=reader.wrap) as one:
                assert isinstance(one, Forwarding)
                reader.begin(newest_of(one.cursor.log))
                assert trio.current_time() >= self.kicked_until.get(name, 0.0), "let in, though kicked"
                await leave.wait()
        except (SubscriptionLost, SlowConsumer, Kicked) as raised:
            failure = raised
        finally:
            reader.end(failure, None if one is None else one.position)

    def order(self, room: Room[Said], name: str, reader: Reader) -> None:
        """Leave what is read now, and read this."""
        reader.has_waited = self.is_stalled
        self.orders.append((room, name, reader))
        self.leave.set()
        self.more.set()

    async def listen(self, check_at: Callable[[int, Position], None]) -> None:
        """Take what comes, for whom it is."""
        assert self.peer is not None
        while (found := await self.peer.frame()) is not None and found.opcode != CLOSE:
            said = found.payload.decode()
            if said == "over":
                self.over += 1
                continue
            assert self.over < len(self.orders), f"{said} comes, though nobody reads"
            message, (_, _, reader) = json.loads(said), self.orders[self.over]
            if message["type"] == "lost":
                reader.got.append(Gap(Position.parse(message["before"]), message["lost"]))
                continue
            reader.got.append(message["number"])
            if "at" in message:
                check_at(message["number"], Position.parse(message["at"]))

    def stall(self) -> None:
        """Take nothing."""
        self.is_stalled = True
        for _, _, reader in self.orders[self.over :]:
            reader.has_waited = True
        self.stream.stall()

    def flow(self) -> None:
        """Take everything again."""
        self.is_stalled = False
        self.stream.resume()

    def reset(self) -> None:
        """Break off."""
        for _, _, reader in self.orders[self.over :]:
            reader.is_cut = True
        self.stream.reset()

    @property
    def stream(self) -> MemoryStream:
        """What misbehaves."""
        assert self.peer is not None
        return network_of(self.peer)


@final
@define(eq=False)
class World:
    """An app, what is published in it, and who reads."""

    kept: Kept
    nursery: trio.Nursery
    app: App = field(init=False)
    topic: Topic[Said] = field(init=False)
    stories: list[Story] = field(init=False)
    lines: list[Line] = field(factory=lambda: [Line() for _ in range(LINES)])
    readers: list[Reader] = field(factory=list[Reader])
    last: dict[int, Position] = field(factory=dict[int, Position])
    """By room, where the last event is."""
    mine: trio.CancelScope = field(factory=trio.CancelScope)
    """Cancels who reads in the app itself."""
    may_read: trio.Event = field(factory=trio.Event)
    number: int = 0

    def __attrs_post_init__(self) -> None:
        """Define the app."""
        self.may_read.set()
        kept = self.kept
        lag: Lag[Said] = NEWEST if kept.keeps_newest else Disconnect(256)
        self.app = room_app(self.handle, evolve(PATIENT, room_history=TIGHT) if self.kept.is_tight else PATIENT)
        self.topic = self.app.topic("rooms/{room}", Said, history=kept.history, ttl=kept.ttl, lag=lag)
        newest = NEWEST if kept.history and kept.keeps_newest else None
        self.stories = [Story(kept.history, kept.ttl, kept.is_tight, newest) for _ in NAMES]

    async def handle(self, conn: Connection[object], name: str) -> None:
        """The handler of all lines."""
        await self.lines[int(name)].handle(conn)

    async def connect(self, at: int, dial: Dial) -> None:
        """Let a line come, or come back."""
        self.lines[at] = line = Line()
        line.peer = await dial(f"/{at}")
        self.nursery.start_soon(line.listen, self.check_at)

    def check_at(self, number: int, at: Position) -> None:
        """An event is where its publisher was told that it is."""
        assert any(one.number == number and one.at == at for story in self.stories for one in story.events), (
            number,
            at,
        )

    async def take(self, step: Step, dial: Dial) -> None:
        """Let it happen."""
        match step:
            case Publish(how="nowait"):
                for key in step.keys:
                    value, but = self.value(step, key)
                    self.note(step.room, value, self.room(step.room).publish_nowait(value, but=but), but)
            case Publish(how="awaited"):
                self.nursery.start_soon(self.publish, step)
            case Publish():
                self.nursery.start_soon(self.publish_nothing, step)
            case Read():
                self.read(step)
            case Do():
                await self.do(step, dial)
            case Flood():
                await self.flood(step, dial)
            case Wait():
                await wait_all_tasks_blocked()
                self.settle()
                await trio.sleep(step.seconds)

    def room(self, at: int) -> Room[Said]:
        """One of the rooms."""
        return self.topic(room=NAMES[at])

    def value(self, step: Publish, key: int) -> tuple[Said, Connection[object] | None]:
        """The next event, and who is passed over."""
        self.number += 1
        but = None if step.but is None else self.lines[step.but].conn
        return Said(self.number, key, "x" * 400 if step.is_large else ""), but

    def note(self, room: int, value: Said, at: Position, but: Connection[object] | None) -> None:
        """It has been published."""
        story, self.last[room] = self.stories[room], at
        story.publish(value, at, None if but is None else but.id)
        for reader in self.readers:
            if reader.story is story:
                reader.note_burst()
        assert not self.kept.is_tight or held(self.app) <= TIGHT

    async def flood(self, step: Flood, dial: Dial) -> None:
        """Publish round after round while one of them does not read."""
        await self.do(Do(step.read.line, "flow"), dial)
        self.read(step.read)
        await wait_all_tasks_blocked()
        self.settle()
        await self.do(Do(step.read.line, "stall"), dial)
        for events in step.rounds:
            await self.take(Publish(step.read.room, tuple(range(events)), None, "nowait", is_large=False), dial)
            await wait_all_tasks_blocked()
            self.settle()
        if step.goes_on:
            await self.do(Do(step.read.line, "flow"), dial)

    async def publish(self, step: Publish) -> None:
        """Publish, and let others run in between."""
        for key in step.keys:
            value, but = self.value(step, key)
            self.note(step.room, value, await self.room(step.room).publish(value, but=but), but)

    async def publish_nothing(self, step: Publish) -> None:
        """Publish, but be cancelled; nothing has been published then."""
        with trio.CancelScope() as scope:
            scope.cancel()
            await self.room(step.room).publish(self.value(step, step.keys[0])[0])
        assert scope.cancelled_caught

    def since(self, step: Read) -> Since:
        """From where to read."""
        story = self.stories[step.room]
        ended = [one.position for one in self.readers if one.story is story and one.position is not None]
        last, other = self.last.get(step.room), self.last.get(1 - step.room)
        choices: dict[str, Since] = {
            "joined": "joined",
            "last": ended[-1] if ended else None,
            "old": story.events[len(story.events) // 2].at if story.events else None,
            "foreign": Position("foreign", 7),
            "other": other,
            "future": None if last is None else Position(last.epoch, last.number + 1000),
        }
        return choices.get(step.since)

    def read(self, step: Read) -> None:
        """Read as it says."""
        reader = Reader(self.stories[step.room], self.since(step), step.lag, step.wrap)
        self.readers.append(reader)
        if step.line is not None:
            self.lines[step.line].order(self.room(step.room), NAMES[step.room], reader)
            return
        self.mine.cancel()
        self.mine = scope = trio.CancelScope()
        reader.has_waited = not self.may_read.is_set()
        self.nursery.start_soon(self.read_here, self.room(step.room), reader, scope)

    async def read_here(self, room: Room[Said], reader: Reader, scope: trio.CancelScope) -> None:
        """Read values."""
        failure: Exception | None = None
        with scope:
            try:
                async with room.events(since=reader.since, lag=reader.lag) as events:
                    reader.begin(newest_of(log_of(events)))
                    async for event in events:
                        reader.got.append(event if isinstance(event, Gap) else event.value.number)
                        if isinstance(event, RoomEvent):
                            self.check_at(event.value.number, event.at)
                        await self.may_read.wait()
            except SlowConsumer as raised:
                failure = raised
            finally:
                reader.end(failure, None)

    async def do(self, step: Do, dial: Dial) -> None:
        """Something happens to one who reads."""
        if step.line is None:
            self.do_here(step.what)
        else:
            await self.do_there(step.line, step.what, dial)

    def do_here(self, what: str) -> None:
        """Something happens to who reads in the app itself."""
        match what:
            case "stall":
                self.may_read = trio.Event() if self.may_read.is_set() else self.may_read
                for reader in self.readers:
                    reader.has_waited = reader.has_waited or (reader.connection is None and not reader.is_over)
            case "flow":
                self.may_read.set()
            case _:
                self.mine.cancel()

    async def do_there(self, at: int, what: str, dial: Dial) -> None:
        """Something happens to a line."""
        line = self.lines[at]
        match what:
            case "stall":
                line.stall()
            case "flow":
                line.flow()
            case "leave":
                line.leave.set()
            case "cancel":
                line.scope.cancel()
            case "reset":
                line.reset()
                await self.connect(at, dial)
            case _:
                await self.kick(line)

    async def kick(self, line: Line) -> None:
        """Put a line out of the room that it was in last."""
        if line.conn is None or not line.orders:
            return
        room, name, reader = line.orders[-1]
        line.kicked_until[name] = trio.current_time() + 3
        await room.kick(connection=line.conn.id, seconds=3)
        await wait_all_tasks_blocked()
        self.settle()
        assert reader.is_over, "kicked, and still there"

    def settle(self) -> None:
        """Everybody has had a turn."""
        for story in self.stories:
            story.burst = 0
        for reader in self.readers:
            reader.backlog = 0

    async def finish(self) -> None:
        """Let everybody read what there is, check it, and let everybody go: what is left of it then?"""
        self.may_read.set()
        for line in self.lines:
            line.flow()
        await wait_all_tasks_blocked()
        for reader in self.readers:
            reader.check()
        indexed = [one for one in self.readers if isinstance(one.lag, Latest) and not one.is_over]
        assert self.kept.keeps_newest or indexed or not pinned(self.app), "kept for somebody who has read it"
        for line in self.lines:
            line.reset()
        self.mine.cancel()
        await trio.sleep(3 * TTL)
        left = table_entries(self.app)
        if self.kept.history and self.kept.ttl is None:
            left = {name: left[name] for name in left.keys() - {"rooms", "bytes", "classes of rooms"}}
        assert left.keys() <= {"kicks"}, left


async def play(kept: Kept, script: list[Step]) -> None:
    """Let everything happen that the script says."""
    async with trio.open_nursery() as nursery:
        world = World(kept, nursery)
        async with in_memory(world.app) as dial:
            for at in range(LINES):
                await world.connect(at, dial)
            for step in script:
                await world.take(step, dial)
            await world.finish()
        nursery.cancel_scope.cancel()


@settings(max_examples=60)
@example(  # whose subscription is over with its connection, but not left yet
    kept=Kept(history=4, ttl=6.5, is_tight=False, keeps_newest=False),
    script=[Flood(Read(0, 0, "last", DropNewest(1), tell), (2, 4, 4, 2), goes_on=False), Do(0, "reset")],
)
@example(  # who leaves a room later than its events come, and nobody uses it from then on
    kept=Kept(history=100, ttl=6.5, is_tight=False, keeps_newest=False),
    script=[
        Flood(Read(None, 1, "joined", Disconnect(3), None), (2, 2), goes_on=False),
        Wait(1),
        Do(None, "cancel"),
        Wait(4),
        Wait(4),
        Publish(1, (0,), None, "nowait", is_large=False),
    ],
)
@given(kept=keeping(), script=scripts())
def test_what_each_reader_sees(kept: Kept, script: list[Step]) -> None:
    """It is contiguous, or a gap says what is missing; in the one order, without doubles, and nothing after its end."""
    trio.run(play, kept, script, clock=MockClock(autojump_threshold=0))


@pytest.mark.slow
@settings(max_examples=200, phases=[Phase.generate])  # others on each Python; one is shrunk in the test above
@given(kept=keeping(), script=scripts())
def test_what_each_reader_sees_in_many_more(kept: Kept, script: list[Step]) -> None:
    """The same, with more examples."""
    trio.run(play, kept, script, clock=MockClock(autojump_threshold=0))


@settings(max_examples=40)
@given(
    names=st.lists(
        st.tuples(st.text("ab/", max_size=4), st.text("ab/", max_size=4)), min_size=2, max_size=8, unique=True
    )
)
def test_different_parameters_are_different_rooms(names: list[tuple[str, str]]) -> None:
    """Whatever is in them: what is published in one room is read there, and nowhere else."""

    async def main() -> None:
        app = App()
        said = app.topic("{first}/{second}", Said, history=1)
        alike = app.topic("{first}/x/{second}", Said, history=1)
        rooms = [topic(first=first, second=second) for topic in (said, alike) for first, second in names]
        async with in_memory(app):
            for number, room in enumerate(rooms):
                room.publish_nowait(Said(number))
            for number, room in enumerate(rooms):
                assert [event.value.number for event in await room.history(10)] == [number]
        assert len(set(rooms)) == len(rooms)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_two_apps_have_nothing_in_common(autojump_clock: MockClock) -> None:
    """Rooms of one name in two apps are two, a position of one is a gap in the other, and the other's are refused."""
    refused = list[ConfigurationError]()

    async def read(conn: Connection[object], _: str) -> None:
        try:
            async with conn.subscribe(topics[1](room="x")):
                raise AssertionError("let in")
        except ConfigurationError as refusal:
            refused.append(refusal)
        async with conn.subscribe(topics[0](room="x"), since=theirs, wrap=tell):
            await trio.sleep_forever()

    apps = [room_app(read), App()]
    topics: list[Topic[Said]] = [app.topic("rooms/{room}", Said, history=10) for app in apps]
    assert topics[0](room="x") != topics[1](room="x")
    async with in_memory(apps[0]) as dial, in_memory(apps[1]):
        topics[0](room="x").publish_nowait(Said(1))
        theirs = topics[1](room="x").publish_nowait(Said(2))
        peer = await dial("/a")
        told = [json.loads(await peer.message()) for _ in range(2)]
        assert (told[0]["type"], told[0]["lost"], told[1]["number"]) == ("lost", None, 1)
        await topics[1](room="x").kick(subject="ada")
        assert len(refused) == 1
        assert [event.value.number for event in await topics[1](room="x").history(10)] == [2]
    assert [table_entries(app) for app in apps] == [{}, {}]


async def test_thousands_of_rooms_come_and_go(autojump_clock: MockClock) -> None:
    """Whatever they were used for, nothing is left of them: no entry in a table, and no memory."""

    async def read(conn: Connection[object], _: str) -> None:
        async for message in conn:
            async with AsyncExitStack() as stack:
                for number in range(50):
                    lag: Lag[Said] = (Disconnect(5), DropOldest(2), DropNewest(2), NEWEST)[number % 4]
                    name = f"{message!r}/{number}"
                    await stack.enter_async_context(conn.subscribe(brief(room=name), lag=lag, wrap=tell))
                    await stack.enter_async_context(plain(room=name).events())
                    brief(room=name).publish_nowait(Said(number))
                    await plain(room=name).publish(Said(number))
                    await brief(room=f"unread/{name}").publish(Said(number))
                await conn.receive()
            await conn.send("over")

    app = room_app(read)
    plain: Topic[Said] = app.topic("plain/{room}", Said)
    brief: Topic[Said] = app.topic("brief/{room}", Said, history=5, ttl=TTL)

    async def use(peer: Peer, times: range) -> None:
        for number in times:
            await peer.say(text(f"{number}"), text("go on"))
            while await peer.message() != "over":
                pass
        await trio.sleep(3 * TTL)

    async with in_memory(app) as dial:
        peer = await dial("/a")
        await use(peer, range(10))
        with traced() as grown:
            await use(peer, range(10, 30))
            assert table_entries(app) == {}
        # 72 KiB are the table that had them all, which Python leaves as it is; an object for each would be 140 KB more.
        assert grown() < 130_000, "of 3,000 rooms"
