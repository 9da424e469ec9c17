"""Topics and rooms in a whole app: publishing, subscribing, coming back, and what ends a subscription."""

from __future__ import annotations

import gc
import json
import re
import threading
import weakref
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import final

import pytest
import trio
from attrs import define, field, frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    Anonymous,
    App,
    Claims,
    ConfigurationError,
    Connection,
    Forbidden,
    InvalidMessage,
    Kicked,
    Limits,
    MessagePack,
    SlowConsumer,
    SubscriptionLost,
    TooManyRequests,
    Unavailable,
    bearer,
    public,
)
from seawall.connection.connection import state_of
from seawall.lag import Disconnect, DropNewest, DropOldest, Lag, Latest
from seawall.position import Position, Since
from seawall.room_event import Gap, RoomEvent
from seawall.testing import Client, Closed, Serving, serve
from seawall.topics.engine import MemoryEngine
from seawall.topics.log import Log
from seawall.topics.room import Room
from seawall.topics.topic import Topic
from tests.kit.tokens import by, token, verifier


@frozen
class Said:
    """What is published."""

    text: str


@frozen
class Placed:
    """The same, with its place."""

    text: str
    at: Position


@frozen
class Missing:
    """A gap."""

    before: Position
    lost: int | None


def placed(event: RoomEvent[Said] | Gap) -> Placed | Missing:
    """What subscribers are sent who want to come back."""
    if isinstance(event, Gap):
        return Missing(event.before, event.lost)
    return Placed(event.value.text, event.at)


def said(number: object) -> str:
    """The message of an event."""
    return f'{{"type":"said","text":"{number}"}}'


def engine(app: App) -> MemoryEngine:
    """Where its rooms are."""
    made = app._topics.hub.engine  # pyright: ignore[reportPrivateUsage] # no user has a reason to look
    assert isinstance(made, MemoryEngine)
    return made


@final
@define(eq=False)
class Hall:
    """An app with a topic whose rooms anybody may enter, and how their subscriptions have ended."""

    history: int = 0
    ttl: float | None = None
    limits: Limits = field(factory=Limits)
    lag: Lag[Said] = field(factory=lambda: Disconnect(256))
    app: App = field(init=False)
    topic: Topic[Said] = field(init=False)
    ends: list[BaseException | None] = field(factory=list[BaseException | None])
    conns: list[Connection[Anonymous]] = field(factory=list[Connection[Anonymous]])
    since: Since = None
    own_lag: Lag[Said] | None = None
    is_wrapped: bool = False

    def __attrs_post_init__(self) -> None:
        """Define its route."""
        self.app = App(limits=self.limits)
        self.topic = self.app.topic("rooms/{room}", Said, history=self.history, ttl=self.ttl, lag=self.lag)

        @self.app.route("/{room}", guard=public)
        async def enter(conn: Connection[Anonymous], room: str) -> None:
            self.conns.append(conn)
            wrap = placed if self.is_wrapped else None
            try:
                async with conn.subscribe(self.topic(room=room), since=self.since, lag=self.own_lag, wrap=wrap):
                    async for message in conn:
                        await conn.send(message)
            except BaseException as raised:
                self.ends.append(raised)
                raise
            self.ends.append(None)

    @property
    def lobby(self) -> Room[Said]:
        """A room of it."""
        return self.topic(room="lobby")

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Serving]:
        """Serve it."""
        with trio.fail_after(500):
            async with serve(self.app) as serving:
                yield serving

    async def say(self, *numbers: int) -> list[Position]:
        """Publish in the lobby."""
        return [await self.lobby.publish(Said(str(number))) for number in numbers]


async def hear(client: Client, count: int) -> list[str | bytes]:
    """The next messages."""
    return [await client.receive() for _ in range(count)]


async def placed_in(client: Client) -> Placed:
    """The next message, which is an event."""
    fields = json.loads(await client.receive())
    assert fields["type"] == "placed", fields
    return Placed(fields["text"], Position.parse(fields["at"]))


async def missing(client: Client) -> Missing:
    """The next message, which tells of a gap."""
    fields = json.loads(await client.receive())
    assert fields["type"] == "missing", fields
    return Missing(Position.parse(fields["before"]), fields["lost"])


async def test_everybody_in_a_room_hears_what_is_published(autojump_clock: MockClock) -> None:
    """In the order in which it was published, and nobody else does; `but` leaves one out."""
    hall = Hall()
    async with (
        hall.serving() as serving,
        serving.connect("/lobby") as one,
        serving.connect("/lobby") as two,
        serving.connect("/elsewhere") as other,
    ):
        await wait_all_tasks_blocked()
        await hall.say(*range(100))
        expected = [said(number) for number in range(100)]
        assert await hear(one, 100) == await hear(two, 100) == expected
        await hall.lobby.publish(Said("not one"), but=hall.conns[0])
        hall.lobby.publish_nowait(Said("now"))
        assert await hear(one, 1) == [said("now")]
        assert await hear(two, 2) == [said("not one"), said("now")]
        await other.send("still here")
        assert await other.receive() == "still here"


async def test_a_burst_is_joined_and_ends_nobody(autojump_clock: MockClock) -> None:
    """Thousands of events that are published before the pump has a turn arrive, though `Disconnect` allows fewer."""
    hall = Hall(lag=Disconnect(2))
    async with hall.serving() as serving, serving.connect("/lobby") as one:
        await wait_all_tasks_blocked()
        for number in range(3000):
            hall.lobby.publish_nowait(Said(str(number)))
        assert await hear(one, 3000) == [said(number) for number in range(3000)]


async def test_who_publishes_waits_for_the_pump(autojump_clock: MockClock) -> None:
    """`publish` holds at most some events that nobody has been given; cancelled, it has published nothing."""
    hall = Hall()
    async with hall.serving() as serving, serving.connect("/lobby") as one:
        await wait_all_tasks_blocked()
        for number in range(200):
            hall.lobby.publish_nowait(Said(str(number)))
        with trio.CancelScope() as scope:
            scope.cancel()
            await hall.lobby.publish(Said("cancelled"))
        await hall.lobby.publish(Said("then"))
        assert await hear(one, 201) == [*(said(number) for number in range(200)), said("then")]


@pytest.mark.parametrize("missed", [0, 1, 5, 6, 30])
async def test_coming_back(missed: int, autojump_clock: MockClock) -> None:
    """Behind a position all that is kept follows; if some is not, a gap comes first that says how much."""
    hall = Hall(history=5, is_wrapped=True)
    async with hall.serving() as serving:
        [*_, last] = await hall.say(*range(10))
        places = await hall.say(*range(missed))
        hall.since = last
        async with serving.connect("/lobby") as one:
            lost = max(0, missed - 5)
            if lost:
                assert await missing(one) == Missing(places[lost - 1], lost)
            for number in range(lost, missed):
                assert await placed_in(one) == Placed(str(number), places[number])
            [live] = await hall.say(99)
            assert await placed_in(one) == Placed("99", live)


async def test_coming_back_to_what_is_not_there(autojump_clock: MockClock) -> None:
    """A position of another room, another run, or the future is a gap of unknown size before all that is kept."""
    hall = Hall(history=2, is_wrapped=True)
    async with hall.serving() as serving:
        places = await hall.say(*range(5))
        other = await hall.topic(room="other").publish(Said("there"))
        for since in (other, Position("gone", 3), Position(places[0].epoch, 10**9)):
            hall.since = since
            async with serving.connect("/lobby") as one:
                assert await missing(one) == Missing(places[2], None)
                assert [(await placed_in(one)).text for _ in range(2)] == ["3", "4"]


async def test_without_a_wrap_a_gap_ends_it(autojump_clock: MockClock) -> None:
    """At once, when a position is not kept: the peer reads 1013, and `SubscriptionLost` says how many are lost."""
    hall = Hall(history=2)
    async with hall.serving() as serving:
        [first, *_] = await hall.say(*range(5))
        hall.since = first
        async with serving.connect("/lobby") as one:
            with pytest.raises(Closed) as closed:
                await one.receive()
        assert (closed.value.code, closed.value.reason) == (1013, "messages lost")
        [end] = hall.ends
        assert isinstance(end, SubscriptionLost)
        assert end.lost == 2


async def test_where_it_begins(autojump_clock: MockClock) -> None:
    """None begins with what is kept, "joined" with what comes; what is too old is not kept."""
    hall = Hall(history=3, ttl=10)
    async with hall.serving() as serving:
        await hall.say(1, 2)
        await trio.sleep(6)
        await hall.say(3)
        async with serving.connect("/lobby") as all_of_it:
            assert await hear(all_of_it, 3) == [said(1), said(2), said(3)]
            hall.since = "joined"
            async with serving.connect("/lobby") as joined:
                await wait_all_tasks_blocked()
                await hall.say(4)
                assert await hear(joined, 1) == await hear(all_of_it, 1) == [said(4)]
        await trio.sleep(5)
        hall.since = None
        async with serving.connect("/lobby") as later:
            assert await hear(later, 2) == [said(3), said(4)]
        assert len(engine(hall.app)) == 1
        await trio.sleep(11)
        assert len(engine(hall.app)) == 0
        assert engine(hall.app).held == 0


async def test_history(autojump_clock: MockClock) -> None:
    """The last events of a room, as values with their places; of a room that nobody knows, none."""
    hall = Hall(history=3)
    async with hall.serving():
        places = await hall.say(*range(5))
        kept = [RoomEvent(Said(str(number)), places[number]) for number in range(2, 5)]
        assert list(await hall.lobby.history(100)) == kept
        assert list(await hall.lobby.history(2)) == kept[1:]
        assert list(await hall.topic(room="other").history(2)) == []
        with pytest.raises(ConfigurationError, match="give a number of events"):
            await hall.lobby.history(0)


def stall(conn: Connection[Anonymous]) -> None:
    """Have its peer take nothing more, as far as the pump can see."""
    state_of(conn).channel.send_buffer.pending = bytearray(b"\x8a\x00")


def flow(conn: Connection[Anonymous]) -> None:
    """Have it take everything again."""
    buffer = state_of(conn).channel.send_buffer
    buffer.mark_written(len(buffer.pending))


@pytest.mark.parametrize(
    ("lag", "expected"),
    [
        (DropOldest(3), [None, Missing, "7", "8", "9"]),
        (DropNewest(3), [None, "0", "1", "2", Missing]),
        (Latest[Said](lambda value: int(value.text) % 2), [None, "8", "9"]),
    ],
)
async def test_a_slow_reader(lag: Lag[Said], expected: Sequence[object], autojump_clock: MockClock) -> None:
    """Each policy loses what it says and tells of it; another reader, who is not slow, loses nothing."""
    hall = Hall(own_lag=lag, is_wrapped=True)
    async with hall.serving() as serving, serving.connect("/lobby") as slow, serving.connect("/lobby") as good:
        await wait_all_tasks_blocked()
        stall(hall.conns[0])
        for number in range(10):
            await hall.say(number)
            await wait_all_tasks_blocked()
        assert [(await placed_in(good)).text for _ in range(10)] == [str(number) for number in range(10)]
        flow(hall.conns[0])
        for one in expected[1:]:
            if one is Missing:
                assert (await missing(slow)).lost == 7
            else:
                assert (await placed_in(slow)).text == one
        await hall.say(10)
        assert (await placed_in(slow)).text == "10"
    assert engine(hall.app).held == 0


async def test_who_comes_has_the_newest_of_each_key(autojump_clock: MockClock) -> None:
    """A topic with a history and `Latest` keeps them, also of keys that change rarely; who comes back has the rest."""
    lag = Latest[Said](lambda value: value.text[0], 3)
    hall = Hall(history=2, ttl=100, lag=lag, is_wrapped=True)
    async with hall.serving() as serving:
        texts = ["a1", "b1", *(f"c{number}" for number in range(50))]
        places = [await hall.lobby.publish(Said(text)) for text in texts]
        async with serving.connect("/lobby") as one:
            assert [(await placed_in(one)).text for _ in range(3)] == ["a1", "b1", "c49"]
            await hall.lobby.publish(Said("b2"))
            assert (await placed_in(one)).text == "b2"
        for text in ("c50", "c51", "c52"):
            await hall.lobby.publish(Said(text))
        hall.since = places[-1]
        async with serving.connect("/lobby") as back:
            assert [(await placed_in(back)).text for _ in range(2)] == ["b2", "c52"]
        await hall.lobby.publish(Said("d1"))  # for which a1 is pushed out
        await hall.lobby.publish(Said("e1"))  # and b2
        async with serving.connect("/lobby") as behind:
            assert (await missing(behind)).lost is None
            assert [(await placed_in(behind)).text for _ in range(3)] == ["c52", "d1", "e1"]
        hall.since = None
        async with serving.connect("/lobby") as new:
            assert [(await placed_in(new)).text for _ in range(3)] == ["c52", "d1", "e1"]
        await trio.sleep(99)
        await hall.lobby.publish(Said("d2"))
        await trio.sleep(2)
        async with serving.connect("/lobby") as late:
            assert (await placed_in(late)).text == "d2"
        assert len(engine(hall.app)) == 1
        await trio.sleep(101)
        assert (len(engine(hall.app)), engine(hall.app).held) == (0, 0)


async def test_a_key_that_fails_in_a_topic(autojump_clock: MockClock) -> None:
    """A publisher is not told; who reads is, and who comes later begins with what has a key again."""
    hall = Hall(history=2, lag=Latest[Said](lambda value: int(value.text)), is_wrapped=True)
    async with hall.serving() as serving:
        await hall.say(1)
        async with serving.connect("/lobby") as one:
            assert (await placed_in(one)).text == "1"
            await hall.lobby.publish(Said("none"))
            with pytest.raises(Closed):
                await one.receive()
        [end] = hall.ends
        assert isinstance(end, ValueError)
        await hall.say(3, 4)
        async with serving.connect("/lobby") as two:
            assert [(await placed_in(two)).text for _ in range(2)] == ["3", "4"]
            await hall.say(4)
            assert (await placed_in(two)).text == "4"


async def test_a_slow_reader_is_disconnected(autojump_clock: MockClock) -> None:
    """With one event more than `Disconnect` allows it ends with `SlowConsumer`."""
    hall = Hall(lag=Disconnect(3))
    async with hall.serving() as serving, serving.connect("/lobby"):
        await wait_all_tasks_blocked()
        stall(hall.conns[0])
        for number in range(3):
            await hall.say(number)
            await wait_all_tasks_blocked()
        assert hall.ends == []
        await hall.say(3)
        await wait_all_tasks_blocked()
        [end] = hall.ends
        assert isinstance(end, SlowConsumer)


async def test_what_needs_a_wrap(autojump_clock: MockClock) -> None:
    """Dropping events of which nothing would tell the peer is a mistake."""
    hall = Hall(own_lag=DropOldest(3))
    async with hall.serving() as serving, serving.connect("/lobby") as one:
        with pytest.raises(Closed):
            await one.receive()
        [end] = hall.ends
        assert isinstance(end, ConfigurationError)
        assert "give a wrap" in str(end)


async def test_wrap_is_called_once_for_all(autojump_clock: MockClock) -> None:
    """For each event and function, however many subscribe, by whatever codec; None sends nothing."""
    app, calls = App(), list[object]()
    topic = app.topic("news", Said, history=10)

    def odd(event: RoomEvent[Said] | Gap) -> Said | None:
        calls.append(event)
        assert isinstance(event, RoomEvent)
        return event.value if int(event.value.text) % 2 else None

    @app.route("/json", guard=public)
    @app.route("/msgpack", guard=public, codec=MessagePack())
    async def enter(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(topic(), wrap=odd):
            await trio.sleep_forever()

    async with (
        serve(app) as serving,
        serving.connect("/json") as one,
        serving.connect("/json") as two,
        serving.connect("/msgpack") as packed,
    ):
        await wait_all_tasks_blocked()
        for number in range(10):
            await topic().publish(Said(str(number)))
        for client in (one, two):
            assert await hear(client, 5) == [said(number) for number in range(1, 10, 2)]
        assert [type(message) for message in await hear(packed, 5)] == [bytes] * 5
        assert len(calls) == 20  # by two codecs
        async with serving.connect("/json") as late:
            assert await hear(late, 5) == [said(number) for number in range(1, 10, 2)]
        assert len(calls) == 20


@pytest.mark.parametrize("fault", ["wrap", "key", "encoder"])
async def test_what_fails_for_one_fails_for_no_other(fault: str, autojump_clock: MockClock) -> None:
    """A wrap, or a key function, that raises, and a wrap whose result is no message, end who use them alone."""
    app, ends = App(), list[BaseException]()
    topic = app.topic("news", Said)

    def fail(_: object) -> Said:
        raise LookupError("none")

    def nothing(_: RoomEvent[Said] | Gap) -> str:
        return "\ud800"

    @app.route("/bad", guard=public)
    async def bad(conn: Connection[Anonymous]) -> None:
        wrap = {"wrap": fail, "encoder": nothing, "key": None}[fault]
        lag = Latest[Said](fail) if fault == "key" else None
        try:
            async with conn.subscribe(topic(), wrap=wrap, lag=lag):
                await trio.sleep_forever()
        except Exception as raised:
            ends.append(raised)
            raise

    @app.route("/good", guard=public)
    async def good(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(topic()):
            await trio.sleep_forever()

    async with serve(app) as serving, serving.connect("/bad"), serving.connect("/bad"), serving.connect("/good") as one:
        await wait_all_tasks_blocked()
        await topic().publish(Said("1"))
        await topic().publish(Said("2"))
        assert await hear(one, 2) == [said(1), said(2)]
        await wait_all_tasks_blocked()
        assert len(ends) == 2
        assert all(isinstance(end, UnicodeEncodeError if fault == "encoder" else LookupError) for end in ends)
        with pytest.raises(TypeError):
            await topic().publish(object())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # a mistake


async def test_a_function_of_one_connection_is_forgotten_with_it(autojump_clock: MockClock) -> None:
    """What is kept of a room does not keep alive what belonged to a subscription; a method is one function."""
    app, alive = App(), weakref.WeakSet[object]()
    topic = app.topic("news", Said, history=10)

    @define(eq=False)
    class Wrapping:
        """Belongs to a connection."""

        conn: Connection[Anonymous]
        calls: int = 0

        def wrap(self, event: RoomEvent[Said] | Gap) -> Said | None:
            """Pass it on."""
            self.calls += 1
            return event.value if isinstance(event, RoomEvent) else None

    @app.route("/", guard=public)
    async def enter(conn: Connection[Anonymous]) -> None:
        wrapping = Wrapping(conn)
        alive.add(wrapping)
        async with conn.subscribe(topic(), wrap=wrapping.wrap), conn.subscribe(topic(), wrap=wrapping.wrap):
            async for message in conn:
                await conn.send(f"calls {wrapping.calls}" if message else "")

    async with serve(app) as serving:
        for before in range(20):
            async with serving.connect("/") as one:
                await wait_all_tasks_blocked()
                await topic().publish(Said("x"))
                await wait_all_tasks_blocked()
                await one.send("calls")
                while (heard := await one.receive()) == said("x"):
                    pass
                assert heard == f"calls {min(before, 10) + 1}"
        gc.collect()
        assert not alive


async def test_renderings_count(autojump_clock: MockClock) -> None:
    """What is made of an event takes its share of ``room_history``, and is not kept where that is full."""
    hall = Hall(history=100, is_wrapped=True, limits=Limits(room_history=20_000))
    async with hall.serving() as serving:
        await hall.say(*range(60))
        before = engine(hall.app).held
        async with serving.connect("/lobby") as one:
            for number in range(60):
                assert (await placed_in(one)).text == str(number)
            assert before < engine(hall.app).held <= 20_000


async def test_a_wrap_that_sends_itself(autojump_clock: MockClock) -> None:
    """What it sends goes before the event, and nothing is lost although something is pending then."""
    app = App()
    topic = app.topic("news", Said, history=100)

    @app.route("/", guard=public)
    async def enter(conn: Connection[Anonymous]) -> None:
        def wrap(event: RoomEvent[Said] | Gap) -> Said | None:
            assert isinstance(event, RoomEvent)
            conn.send_nowait("sent")
            return event.value

        async with conn.subscribe(topic(), wrap=wrap):
            await trio.sleep_forever()

    async with serve(app) as serving:
        for number in range(100):
            await topic().publish(Said(str(number)))
        async with serving.connect("/") as one:
            heard = await hear(one, 200)
            assert [message for message in heard if message != "sent"] == [said(number) for number in range(100)]


async def test_reading_in_code(autojump_clock: MockClock) -> None:
    """`events` gives values and gaps, and ends who is busy for too long, if so told."""
    hall = Hall(history=2)
    async with hall.serving():
        places = await hall.say(*range(5))
        async with hall.lobby.events(since=places[0]) as events:
            assert [await anext(events) for _ in range(3)] == [
                Gap(places[2], 2),
                RoomEvent(Said("3"), places[3]),
                RoomEvent(Said("4"), places[4]),
            ]
            with trio.move_on_after(1) as waiting:
                await anext(events)
            assert waiting.cancelled_caught
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hall.say, 5)
                assert isinstance(await anext(events), RoomEvent)
        with pytest.raises(StopAsyncIteration):
            await anext(events)
        with pytest.raises(SlowConsumer):  # noqa: PT012 - where it is raised is the point
            async with hall.lobby.events(since="joined", lag=Disconnect(2)):
                for number in range(4):
                    await hall.say(number)
                    await wait_all_tasks_blocked()
                await trio.sleep_forever()
        async with hall.lobby.events(since="joined", lag=DropOldest(2)) as events:
            for number in range(9):
                await hall.say(number)
                await wait_all_tasks_blocked()
            gap = await anext(events)
            assert isinstance(gap, Gap)
            assert gap.lost == 7
            assert isinstance(await anext(events), RoomEvent)
        with pytest.warns(RuntimeWarning, match="never entered"):
            hall.lobby.events()


async def test_what_the_body_raises_comes_first(autojump_clock: MockClock) -> None:
    """A subscription that has ended raises why, unless the body has raised something else, or all is cancelled."""
    hall = Hall()
    async with hall.serving():
        with pytest.raises(ValueError, match="mine"):  # noqa: PT012 - where it is raised is the point
            async with hall.lobby.events() as events:
                assert not isinstance(events, str)
                self_ended = next(iter(logs(hall)[0].readers))
                self_ended.end(Kicked("x"))
                raise ValueError("mine")
        with trio.move_on_after(1) as outer:
            async with hall.lobby.events():
                next(iter(logs(hall)[0].readers)).end(Kicked("x"))
                outer.cancel()
                await trio.sleep_forever()
        assert outer.cancelled_caught
        with pytest.raises(Kicked):  # noqa: PT012 - where it is raised is the point
            async with hall.lobby.events():
                next(iter(logs(hall)[0].readers)).end(Kicked("x"))
                next(iter(logs(hall)[0].readers)).end(ValueError("second"))
        assert len(engine(hall.app)) == 0


def logs(hall: Hall) -> list[Log]:
    """Those of its lobby."""
    log = engine(hall.app).find(hall.lobby._key)  # pyright: ignore[reportPrivateUsage] # no user has a reason to look
    return [] if log is None else [log]


async def test_readable_by_some(autojump_clock: MockClock) -> None:
    """The check is asked when somebody subscribes and for the history, with the parameters that it takes."""
    app, asked = App(), list[tuple[str | None, str]]()
    open_topic = app.topic("rooms/{room}", Said, history=3)

    async def is_member(user: Claims, room: str) -> None:
        asked.append((user.subject, room))
        if user.subject != "ada":
            raise Forbidden("no member")

    topic = open_topic.readable(is_member)
    for wrong in (open_topic, topic):
        with pytest.raises(ConfigurationError, match="readable"):
            wrong.readable(is_member)  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] # a mistake
    with pytest.raises(ConfigurationError, match="another one"):
        open_topic(room="lobby")

    @app.route("/{room}", guard=bearer(verifier))
    async def enter(conn: Connection[Claims], room: str) -> None:
        async with conn.subscribe(topic(room=room)):
            assert [event.value for event in await topic(room=room).history(9, to=conn)] == [Said("hello")]
            await trio.sleep_forever()

    async with serve(app) as serving:
        await topic(room="lobby").publish(Said("hello"))
        async with serving.connect("/lobby", headers=by(token(sub="ada"))) as ada:
            assert await ada.receive() == said("hello")
            assert asked == [("ada", "lobby"), ("ada", "lobby")]
        async with serving.connect("/lobby", headers=by(token(sub="eve"))) as eve:
            with pytest.raises(Closed) as closed:
                await eve.receive()
            assert closed.value.code == 3003
        with pytest.raises(ConfigurationError, match="to=conn"):
            await topic(room="lobby").history(9)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # a mistake


async def test_checks_that_cannot_be(autojump_clock: MockClock) -> None:
    """A check is async, returns nothing, and takes no parameters that the pattern does not have."""
    topic = App().topic("rooms/{room}/{id:int}", Said)

    async def other(user: Anonymous, floor: str) -> None: ...
    async def typed(user: Anonymous, id: str) -> None: ...  # noqa: A002 - as the placeholder
    async def answering(user: Anonymous) -> bool:
        return True

    def plain(user: Anonymous) -> None: ...

    for check, problem in {other: "floor", typed: "annotated str", answering: "returns", plain: "async"}.items():
        with pytest.raises(ConfigurationError, match=problem):
            topic.readable(check)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # mistakes
    with pytest.raises(ConfigurationError, match="async"):
        topic.readable(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # a mistake


async def test_where_rooms_can_be_used(autojump_clock: MockClock) -> None:
    """Only while the app is served, in its thread, and by its own connections."""
    hall, other = Hall(), Hall()
    with pytest.raises(Unavailable):
        hall.lobby.publish_nowait(Said("too early"))
    with pytest.raises(Unavailable):
        hall.lobby.events()
    async with hall.serving() as serving:
        failures: list[BaseException] = []

        def elsewhere() -> None:
            try:
                hall.lobby.publish_nowait(Said("from a thread"))
            except ConfigurationError as failure:
                failures.append(failure)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert "trio.from_thread" in str(failures)
        async with serving.connect("/lobby"), other.serving():
            await wait_all_tasks_blocked()
            with pytest.raises(ConfigurationError, match="another app's"):
                hall.conns[0].subscribe(other.lobby)
            with pytest.warns(RuntimeWarning, match="never entered"):
                hall.conns[0].subscribe(hall.lobby)
    with pytest.raises(Unavailable):
        await hall.lobby.publish(Said("too late"))


async def test_a_reader_outlives_no_server(autojump_clock: MockClock) -> None:
    """Code that still reads when the app is not served any more is told so; another run begins anew."""
    hall = Hall(history=3)
    async with trio.open_nursery() as nursery:
        ended = trio.Event()

        async def read(task_status: trio.TaskStatus[None]) -> None:
            with pytest.raises(Unavailable):  # noqa: PT012 - where it is raised is the point
                async with hall.lobby.events() as events:
                    task_status.started()
                    async for _ in events:
                        pass
            ended.set()

        async with hall.serving():
            [first] = await hall.say(1)
            await nursery.start(read)
        await ended.wait()
    async with hall.serving():
        assert list(await hall.lobby.history(3)) == []
        [again] = await hall.say(1)
        assert again.epoch != first.epoch


async def test_two_servers_of_one_app_share_its_rooms(autojump_clock: MockClock) -> None:
    """What is published is read by the connections of both, and of the second when the first has gone."""
    hall = Hall(history=3)
    async with serve(hall.app) as second, second.connect("/lobby") as two:
        async with serve(hall.app) as first, first.connect("/lobby") as one:
            await wait_all_tasks_blocked()
            await hall.say(1)
            assert await hear(one, 1) == await hear(two, 1) == [said(1)]
        await hall.say(2)
        assert await hear(two, 1) == [said(2)]


async def test_bounds(autojump_clock: MockClock) -> None:
    """Rooms, subscriptions of a connection, and the size of an event are bounded."""
    hall = Hall(history=1, limits=Limits(max_rooms=2, max_subscriptions=2, room_history=4096))
    async with hall.serving() as serving, serving.connect("/lobby"):
        await wait_all_tasks_blocked()
        conn = hall.conns[0]
        async with conn.subscribe(hall.lobby):
            with pytest.raises(TooManyRequests, match="subscriptions"):
                async with conn.subscribe(hall.lobby):
                    raise AssertionError
        await hall.topic(room="second").publish(Said("2"))
        with pytest.raises(TooManyRequests, match="rooms"):
            await hall.topic(room="third").publish(Said("3"))
        with pytest.raises(TooManyRequests, match="rooms"):
            async with conn.subscribe(hall.topic(room="third")):
                raise AssertionError
        with pytest.raises(TooManyRequests, match="room_history"):
            await hall.say(10**3000)
        with pytest.raises(InvalidMessage):
            hall.topic(room="x" * 2000)


async def test_rooms_that_come_and_go_leave_nothing(autojump_clock: MockClock) -> None:
    """Thousands of them, with subscribers and without, whatever their names: memory is as it was."""
    hall = Hall()
    async with hall.serving() as serving, serving.connect("/lobby"):
        await wait_all_tasks_blocked()
        for number in range(2000):
            room = hall.topic(room=f"a/{number}")
            async with hall.conns[0].subscribe(room, since="joined"):
                await room.publish(Said("x"))
            await room.publish(Said("y"))
        assert len(engine(hall.app)) == 1
        assert engine(hall.app).held == 0


async def test_names_are_never_joined(autojump_clock: MockClock) -> None:
    """Parameters may hold the separator: different parameters are different rooms."""
    app = App()
    topic = app.topic("{a}/{b}", Said, history=3)
    async with serve(app):
        await topic(a="x/y", b="z").publish(Said("one"))
        await topic(a="x", b="y/z").publish(Said("two"))
        assert [event.value.text for event in await topic(a="x/y", b="z").history(3)] == ["one"]
        assert topic(a="x/y", b="z") == topic(b="z", a="x/y")
        assert topic(a="x/y", b="z") != topic(a="x", b="y/z")
        assert topic(a="x", b="z") != App().topic("{a}/{b}", Said)(a="x", b="z")
        assert len({topic(a="x", b="z"), topic(a="x", b="z")}) == 1
        assert topic(a="x", b="z") != "x/z"
        assert re.fullmatch(r"Room\(.*x.*z.*\)", repr(topic(a="x", b="z")))


def test_types_at_run_time() -> None:
    """`Room[int]` and `Topic[int]` are filled in with `object`, which 3.11 would not do."""
    assert Room[int] == Room[int, object]
    assert Topic[int] == Topic[int, object]
