"""Mistakes with events are refused where they are defined, with what, where and the remedy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Generic, Literal, NamedTuple, TypeVar, cast

import msgspec
import pytest
from attrs import field, frozen, make_class
from trio.testing import MockClock

from seawall import (
    JSON,
    Anonymous,
    App,
    Codec,
    ConfigurationError,
    Connection,
    ErrorReport,
    Events,
    Gate,
    MessagePack,
    Router,
    Unauthorized,
    check,
    guard,
    inherited,
    public,
)
from seawall.events.event import EventHandler
from seawall.messages.hints import UnresolvedName
from seawall.messages.tags import tag
from seawall.routing.route import Route
from seawall.testing import connect, serve
from tests.kit.talk import Count, Fail, Message, Said, Say, Talker, Tick, Wait, talking

T = TypeVar("T")

Register = Callable[[Events[Anonymous]], object]


async def plain(conn: Connection[Anonymous], message: object) -> None:
    """A handler."""


def synchronous(conn: Connection[Anonymous], message: object) -> None:
    """No handler."""


def generator(conn: Connection[Anonymous], message: object) -> Iterator[Said]:
    """No handler."""
    yield Said("")


async def without_a_message(conn: Connection[Anonymous]) -> None:
    """No handler."""


async def positional(conn: Connection[Anonymous], message: object, room: str, /) -> None:
    """No handler."""


async def returning_row(conn: Connection[Anonymous], message: object) -> Row:
    """Returns a tuple with names."""
    return Row(1)


async def returning_int(conn: Connection[Anonymous], message: object) -> int:
    """Return what is no message."""
    return 3


async def returning_list(conn: Connection[Anonymous], message: object) -> list[Said] | None:
    """Return what is no message."""


async def yielding_text(conn: Connection[Anonymous], message: object) -> AsyncGenerator[str]:
    """Yield what is no message."""
    yield ""


class Row(NamedTuple):
    """A tuple."""

    a: int


class Plain:
    """A class without fields."""


@frozen
class Untyped:
    """A message with a field that nobody knows."""

    a = field()  # type: ignore[var-annotated]  # pyright: ignore[reportGeneralTypeIssues]  # what is refused


@frozen
class Reserved:
    """A message with a field of the envelope's."""

    ref: int


@tag("say")
@frozen
class Speak:
    """Another class with a type that is taken."""


@tag("cancel")
@frozen
class Withdraw:
    """A class with a type that has a meaning."""


async def returning_untyped(conn: Connection[Anonymous], message: object) -> Untyped:
    """Return what no message can carry."""
    raise AssertionError("unreachable")


async def room_text(conn: Connection[Anonymous], message: object, room: str) -> None:
    """A handler of a room."""


async def room_number(conn: Connection[Anonymous], message: object, room: int) -> None:
    """A handler of another kind of room."""


def on(kind: object, handler: object = plain, **more: object) -> Register:
    """What registers a handler for messages of a type, as a program without a type checker may."""

    def register(events: Events[Anonymous]) -> object:
        decorate = cast("Callable[..., Callable[[object], object]]", events.on)  # type: ignore[explicit-any]  # as above
        return decorate(kind, **more)(handler)

    return register


#: By name: what is done with `Events` that handle `Say` by `plain`, and the text that says what is wrong.
MISTAKES: dict[str, tuple[Register, str]] = {
    "twice": (on(Say), r"plain\(\) \(.*: plain\(\) \(.*\) handles Say already; remove one"),
    "twice in a union": (on(Wait | Say), r"handles Say already; remove one"),
    "one type": (on(Speak), r"plain\(\) \(.*: the events: .*Say and .*Speak have one type, 'say'; give one.*@tag"),
    "cancel": (on(Withdraw), r"plain\(\) \(.*'cancel'; give one"),
    "int": (on(int), r"plain\(\) \(.*<class 'int'> is no class of messages; write an attrs class"),
    "text": (on("say"), r"'say' is no class of messages; write an attrs class"),
    "list": (on(list[Wait]), r"is no class of messages; write an attrs class"),
    "None": (on(None), r"None is no class of messages; write an attrs class"),
    "tuple": (on(Row), r"is no class of messages; write an attrs class"),
    "plain class": (on(Plain), r"is no class of messages; write an attrs class"),
    "instance": (on(Wait()), r"is no class of messages; write an attrs class"),
    "bytes in a union": (on(bytes | Wait), r"<class 'bytes'> is no class of messages"),
    "struct": (on(msgspec.Struct), r"plain\(\) \(.*msgspec.Struct has no instances; name the classes that are derived"),
    "untyped": (on(Untyped), r"plain\(\) \(.*Untyped.*a"),
    "reserved": (on(Reserved), r"plain\(\) \(.*ref"),
    "not async": (on(Wait, synchronous), r"synchronous\(\) \(.*is not an async function; .*`async def`"),
    "generator": (on(Wait, generator), r"generator\(\) \(.*is not an async function; .*`async def`"),
    "no function": (on(Wait, 3), r"@events.on\(wait\) was given 3; give an async function"),
    "class": (on(Wait, Plain), r"is not an async function"),
    "no message": (on(Wait, without_a_message), r"without_a_message\(\) \(.*must take the connection and the message"),
    "positional-only": (on(Wait, positional), r"parameter 'room' is positional-only.*move it behind the /"),
    "returns int": (on(Wait, returning_int), r"returning_int\(\) \(.*<class 'int'> is no class of messages; write"),
    "returns list": (on(Wait, returning_list), r"returning_list\(\) \(.*list\[.*Said\] is no class of messages; write"),
    "yields text": (on(Wait, yielding_text), r"yielding_text\(\) \(.*<class 'str'> is no class of messages; write"),
    "returns untyped": (on(Wait, returning_untyped), r"returning_untyped\(\) \(.*Untyped"),
    "guard": (on(Wait, guard=3), r"plain\(\) \(.*guard=3 is neither a guard nor a check; leave it out, or give one"),
    "guard class": (on(Wait, guard=Plain), r"is neither a guard nor a check"),
    "timeout 0": (on(Wait, timeout=0), r"plain\(\) \(.*timeout=0; give a number of seconds above 0"),
    "timeout nan": (on(Wait, timeout=float("nan")), r"timeout=nan; give a number of seconds above 0"),
    "timeout text": (on(Wait, timeout="5"), r"timeout='5'; give a number of seconds above 0"),
    "timeout without end": (on(Wait, timeout=10**400), r"give a number of seconds above 0"),
    "a list of classes": (on([Say]), r"is no class of messages; write an attrs class"),
    "a dict": (on({}), r"is no class of messages; write an attrs class"),
    "returns a named tuple": (on(Wait, returning_row), r"returning_row\(\) \(.*Row'> is no class of messages; write"),
    "timeout bool": (on(Wait, timeout=True), r"timeout=True; give a number of seconds above 0"),
    "path": (
        lambda events: (on(Wait, room_text)(events), on(Count, room_number)(events)),
        r"room_number\(\) \(.*and room_text\(\) \(.*annotate the path parameter 'room' differently",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
async def test_refused_at_definition(name: str, autojump_clock: MockClock) -> None:
    """The text says which handler, where, and what to do; nothing has been registered then."""
    register, text = MISTAKES[name]
    events = Events[Anonymous]()
    events.on(Say)(plain)
    with pytest.raises(ConfigurationError, match=text):
        register(events)
    if name != "path":
        async with talking(events) as talker:
            assert await talker.ask({"type": "say", "ref": 1, "text": ""}) == {"type": "done", "re": 1}
            assert (await talker.ask({"type": "wait"}))["code"] == "unknown_type"


@pytest.mark.parametrize("concurrent", [0, -1, 1.5, True, "2", None, float("inf"), float("nan")], ids=repr)
def test_concurrent(concurrent: int) -> None:
    """It is a whole number of events."""
    with pytest.raises(ConfigurationError, match=r"Events\(concurrent=.*; give a whole number of events, 1 or more"):
        Events[Anonymous](concurrent=concurrent)


@pytest.mark.parametrize("sends", [int, bytes, str, Said | bytes, Plain, Untyped, list[Said], Row, "Said"], ids=repr)
def test_sends(sends: type) -> None:
    """It is classes that a message can carry."""
    with pytest.raises(ConfigurationError, match=r"^Events\(sends=\.\.\.\): "):
        Events[Anonymous](sends=sends)


def test_no_events() -> None:
    """A route of events that handle nothing is refused."""
    with pytest.raises(ConfigurationError, match=r"have no event; register one with `@events\.on.* before the route"):
        App().route("/", guard=public)(Events[Anonymous]())


def test_too_late() -> None:
    """After a route has taken the events, there are no more."""
    events = Events[Anonymous]()
    events.on(Say)(plain)
    App().route("/", guard=public)(events)
    with pytest.raises(ConfigurationError, match=r"plain\(\) \(.*the events are in use already; register it before"):
        events.on(Wait)(plain)


async def test_too_late_in_a_wrapper(autojump_clock: MockClock) -> None:
    """After a connection has been served, likewise."""
    events = Events[Anonymous]()
    events.on(Say)(plain)
    app = App()

    @app.route("/", guard=public)
    async def wrapper(conn: Connection[Anonymous]) -> None:
        await events(conn)

    events.on(Wait)(plain)  # nobody has used them so far
    async with talking(app) as talker:
        assert await talker.ask({"type": "wait", "ref": 1}) == {"type": "done", "re": 1}
    with pytest.raises(ConfigurationError, match="in use already"):
        events.on(Fail)(plain)


# The path.


def in_rooms() -> Events[Anonymous]:
    """Events of a room, whose number only a guard asks for."""

    @check
    async def known(gate: Gate, principal: object, number: int) -> None:
        if gate.params["number"] != 7:
            raise Unauthorized("another")

    events = Events[Anonymous]()

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say, room: str) -> Said:
        return Said(room)

    @events.on(Wait, guard=known)
    async def wait(conn: Connection[Anonymous], message: Wait, *, floor: int = 3) -> Tick:
        return Tick(floor)

    return events


async def test_path_parameters_of_a_route(autojump_clock: MockClock) -> None:
    """The events take from the path what their handlers and guards take, each what it wants."""
    app = App()
    app.route("/{room}/{number:int}", guard=public)(in_rooms())
    async with serve(app) as serving, serving.connect("/lounge/7") as client:
        talker = Talker(client)
        assert await talker.ask({"type": "say", "text": ""}) == {"type": "said", "text": "lounge"}
        assert await talker.ask({"type": "wait", "ref": 1}) == {"type": "tick", "re": 1, "n": 3}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/{room}", r"known\(\) \(.*takes 'number', which the path '/\{room\}' does not have"),
        ("/{number:int}", r"say\(\) \(.*takes 'room', which the path .* does not have; add \{room\}"),
        ("/{room}/{number}", r"known\(\) \(.*'number' is annotated int, but the path .* gives str"),
        ("/{room:int}/{number:int}", r"say\(\) \(.*'room' is annotated str, but the path .* gives int"),
        ("/{room}/{number:int}/{more}", r"path .* has \{more\}, but neither the handler nor a guard takes it"),
    ],
)
def test_a_path_that_does_not_fit(path: str, text: str) -> None:
    """As for other handlers, it is refused where the route is defined, and names the handler of the event."""
    with pytest.raises(ConfigurationError, match=text):
        App().route(path, guard=public)(in_rooms())


HANDED: dict[str, tuple[Message, str]] = {
    "missing": ({"room": "a"}, r"known\(\) \(.*takes 'number'; hand it on: await events\(conn, number=\.\.\.\)"),
    "of another type": ({"room": "a", "number": "7"}, r"'number' is annotated int, but events\(conn, number=.* a str"),
    "unknown": ({"room": "a", "number": 7, "rom": "b"}, r"events\(conn, rom=\.\.\.\): no handler and no guard"),
    "good": ({"room": "a", "number": 7}, ""),
    "with a default": ({"room": "a", "number": 7, "floor": 9}, ""),
}


@pytest.mark.parametrize("name", HANDED)
async def test_path_parameters_in_a_wrapper(name: str, autojump_clock: MockClock) -> None:
    """A handler around the events hands on what they take; what does not fit is refused at its first connection."""
    handed, text = HANDED[name]
    events = in_rooms()
    app = App()

    @app.route("/", guard=public)
    async def wrapper(conn: Connection[Anonymous]) -> None:
        if text:
            with pytest.raises(ConfigurationError, match=text):
                await events(conn, **cast("dict[str, int]", handed))
            await conn.send("refused")
        else:
            await events(conn, **cast("dict[str, int]", handed))

    async with connect(app, "/") as client:
        if text:
            assert await client.receive() == "refused"
        else:
            heard = await Talker(client).ask({"type": "wait", "ref": 1})
            assert heard == {"type": "tick", "re": 1, "n": handed.get("floor", 3)}


async def test_twice_at_once(autojump_clock: MockClock) -> None:
    """The events run once on a connection at a time."""
    events = Events[Anonymous]()
    texts: list[str] = []

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> None:
        with pytest.raises(ConfigurationError) as caught:
            await events(conn)
        texts.append(str(caught.value))

    async with talking(events) as talker:
        for _ in range(2):
            assert await talker.ask({"type": "say", "ref": 1, "text": ""}) == {"type": "done", "re": 1}
    assert texts == ["events(conn): they run on this connection already; await it once"] * 2


# Handlers of every shape.


class Bot:
    """Handlers that are methods, and an instance that is one."""

    async def say(self, conn: Connection[Anonymous], message: Say) -> Said:
        """Answer."""
        return Said("method")

    async def __call__(self, conn: Connection[Anonymous], message: Wait) -> Said:
        """Answer."""
        return Said("instance")

    async def count(self, conn: Connection[Anonymous], message: Count) -> AsyncGenerator[Said]:
        """Answer."""
        yield Said("stream")


async def test_handlers_of_every_shape(autojump_clock: MockClock) -> None:
    """A method, an instance, a stream that is a method: `on` returns what it was given."""
    bot, events = Bot(), Events[Anonymous]()
    say: EventHandler = bot.say
    assert events.on(Say)(bot.say) == say
    events.on(Wait)(bot)
    events.on(Count)(bot.count)
    async with talking(events) as talker:
        for type_, text in (("say", "method"), ("wait", "instance"), ("count", "stream")):
            assert (await talker.ask({"type": type_} | ({"text": ""} if type_ == "say" else {})))["text"] == text


async def test_a_reply_of_an_abstract_class(autojump_clock: MockClock) -> None:
    """There is nothing to be looked at beforehand; what is sent is of another class."""

    @frozen
    class Pongs(ABC):
        @abstractmethod
        def more(self) -> None: ...

    @frozen
    class Pong(Pongs):
        n: int

        def more(self) -> None: ...

    events = Events[Anonymous]()

    @events.on(Wait)
    async def wait(conn: Connection[Anonymous], message: Wait) -> Pongs:
        return Pong(1)

    async with talking(events) as talker:
        assert await talker.ask({"type": "wait", "ref": 1}) == {"type": "pong", "re": 1, "n": 1}


# Names that come later.


@frozen
class Early:
    """Has a field whose class is defined below."""

    late: "Late | None" = None  # noqa: UP037 - what is looked at


def test_a_name_that_comes_later() -> None:
    """It need not exist when the event is defined, but when a route takes the events, or it is refused there."""

    @frozen
    class Never:
        late: Nowhere  # type: ignore[name-defined]  # noqa: F821 # pyright: ignore[reportUndefinedVariable]  # what is refused

    events = Events[Anonymous]()
    events.on(Never)(plain)
    with pytest.raises(UnresolvedName, match=r"plain\(\) \(.*Nowhere"):
        App().route("/", guard=public)(events)


@frozen
class Late:
    """Is defined later."""

    n: int


async def test_a_name_that_has_come(autojump_clock: MockClock) -> None:
    """Then it is decoded like any other."""
    events = Events[Anonymous]()

    @events.on(Early)
    async def early(conn: Connection[Anonymous], message: Early) -> Late | None:
        return message.late

    async with talking(events) as talker:
        assert await talker.ask({"type": "early", "ref": 1, "late": {"n": 3}}) == {"type": "late", "re": 1, "n": 3}


def test_a_guard_may_be_written_later() -> None:
    """Guards are values: an `Events` can be passed about and extended by another module until it is used."""

    @guard
    async def named(gate: Gate, proved: Anonymous) -> str:
        return "ada"

    events = Events[Anonymous]()

    def extend(more: Events[Anonymous]) -> None:
        @more.on(Wait, guard=named)
        async def wait(conn: Connection[str], message: Wait) -> None: ...

    extend(events)
    App().route("/", guard=public)(events)


# What depends on the codec of a route, which may be that of its router or of its app.

OWN_KINDS: list[tuple[type, Codec, str]] = [(str, JSON(), "text"), (bytes, MessagePack(), "binary")]


def set_by_route(codec: Codec, events: Events[Anonymous]) -> None:
    """An app with a route that says the codec."""
    App(codec=JSON() if codec.binary else MessagePack()).route("/", guard=public, codec=codec)(events)


def set_by_app(codec: Codec, events: Events[Anonymous]) -> None:
    """An app that says the codec for its routes."""
    App(codec=codec).route("/", guard=public)(events)


def set_by_router(codec: Codec, events: Events[Anonymous]) -> None:
    """An app with a router that says the codec."""
    router: Router[Anonymous] = Router(codec=codec)
    router.route("/", guard=inherited())(events)
    App().mount("/under", router, guard=public)


def set_around_a_router(codec: Codec, events: Events[Anonymous]) -> None:
    """An app that says the codec, with a router that does not."""
    router: Router[Anonymous] = Router()
    router.route("/", guard=inherited())(events)
    App(codec=codec).mount("/under", router, guard=public)


def set_by_a_route_of_its_own(codec: Codec, events: Events[Anonymous]) -> None:
    """An app that is given a route."""
    App(codec=codec).add(Route(path="/", guard=public, handler=events))


SET = [set_by_route, set_by_app, set_by_router, set_around_a_router, set_by_a_route_of_its_own]


@pytest.mark.parametrize("put_together", SET)
@pytest.mark.parametrize(("kind", "codec", "called"), OWN_KINDS, ids=["text", "binary"])
def test_messages_as_they_come_of_the_codecs_own_kind(
    kind: type, codec: Codec, called: str, put_together: Callable[[Codec, Events[Anonymous]], None]
) -> None:
    """The codec reads those: it is refused when the app is put together, with what to write."""
    events = Events[Anonymous]()
    on(kind)(events)
    text = rf"plain\(\) \(.*: on\({kind.__name__}\) on a route whose messages are {called}.*a class for them, or on\("
    with pytest.raises(ConfigurationError, match=text):
        put_together(codec, events)


@pytest.mark.parametrize(("kind", "codec", "called"), OWN_KINDS, ids=["text", "binary"])
async def test_the_same_in_a_wrapper(kind: type, codec: Codec, called: str, autojump_clock: MockClock) -> None:
    """Nobody knows what a handler awaits: the report of the first connection says so."""
    reports = list[ErrorReport]()
    app, events = App(codec=codec, report=reports.append), Events[Anonymous]()
    on(kind)(events)

    @app.route("/", guard=public)
    async def wrapper(conn: Connection[Anonymous]) -> None:
        await events(conn)

    async with connect(app, "/") as client:
        assert (await client.wait_closed()).code == 1011
    [text] = [str(report.exception) for report in reports]
    assert f"on({kind.__name__}) on a route whose messages are {called}" in text


def test_messages_as_they_come_of_both_kinds() -> None:
    """No codec leaves both alone."""
    events = Events[Anonymous]()
    on(bytes)(events)
    with pytest.raises(
        ConfigurationError, match=r"plain\(\) .* and plain\(\) .*on\(str\) and on\(bytes\).* write a class"
    ):
        on(str)(events)
    App().route("/", guard=public)(events)  # the second one has not been registered


async def test_two_routes_with_different_codecs(autojump_clock: MockClock) -> None:
    """The same events serve both, each in its codec; what one of them cannot carry is refused there."""
    events, app = Events[Anonymous](sends=Said), App()

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> Said:
        await conn.send(Said("pushed"))
        return Said(message.text)

    app.route("/json", guard=public)(events)
    app.route("/packed", guard=public, codec=MessagePack())(events)
    async with serve(app) as serving, serving.connect("/json") as client, serving.connect("/packed") as packed:
        for _ in range(2):
            await client.send('{"type":"say","text":"x"}')
            assert [await client.receive() for _ in range(2)] == [f'{{"type":"said","text":"{one}"}}' for one in SAID]
            await packed.send(msgspec.msgpack.encode({"type": "say", "text": "x"}))
            heard = [msgspec.msgpack.decode(cast("bytes", await packed.receive())) for _ in range(2)]
            assert heard == [{"type": "said", "text": one} for one in SAID]


SAID = ("pushed", "x")


def test_two_routes_one_of_which_reads_what_is_taken_as_it_comes() -> None:
    """The second is refused; the first is served."""
    events, app = Events[Anonymous](), App()
    on(bytes)(events)
    app.route("/json", guard=public)(events)
    with pytest.raises(ConfigurationError, match=r"on\(bytes\) on a route whose messages are binary"):
        app.route("/packed", guard=public, codec=MessagePack())(events)


@frozen
class Twin:
    """Has two fields that a codec may spell alike."""

    room_id: int = 1
    roomId: int = 2  # noqa: N815 - as above


async def returning_twin(conn: Connection[Anonymous], message: object) -> Twin:
    """Return it."""
    return Twin()


TWINS: dict[str, Callable[[], Events[Anonymous]]] = {
    "received": lambda: with_events(on(Twin)),
    "answered": lambda: with_events(on(Wait, returning_twin)),
    "sent": lambda: with_events(on(Wait), sends=Twin),
}


def with_events(register: Register, *, sends: type | None = None) -> Events[Anonymous]:
    """Events with one handler."""
    events = Events[Anonymous](sends=sends)
    register(events)
    return events


@pytest.mark.parametrize("how", TWINS)
@pytest.mark.parametrize("put_together", SET)
def test_fields_that_the_codec_spells_alike(how: str, put_together: Callable[[Codec, Events[Anonymous]], None]) -> None:
    """Neither a client nor a server could tell them apart with this codec; with another one they can."""
    put_together(JSON(), TWINS[how]())
    with pytest.raises(ConfigurationError, match=r"Twin.roomId is 'roomId' in the message, which is taken; rename it"):
        put_together(JSON(rename="camel"), TWINS[how]())


@frozen
class Picky:
    """A codec that cannot have a class named Say."""

    binary: bool = False
    rename: None = None
    unknown_fields: Literal["refuse"] = "refuse"

    def decoder(self, kind: object, /) -> Callable[[str | bytes], object]:
        """Refuse it."""
        if "Say" in str(kind):
            raise ConfigurationError("no Say, please")
        return JSON().decoder(kind)

    def encoder(self) -> Callable[[object], bytes]:
        """As usual."""
        return JSON().encoder()


def test_a_codec_that_cannot_have_a_class() -> None:
    """Its refusal comes when the app is put together."""
    App(codec=Picky()).route("/", guard=public)(with_events(on(Wait)))
    with pytest.raises(ConfigurationError, match="no Say, please"):
        App(codec=Picky()).route("/", guard=public)(with_events(on(Say)))


# What only all of it together shows.


@frozen
class Page(Generic[T]):
    """Is generic."""

    items: list[T]


def test_sends_of_one_class_twice() -> None:
    """A value does not say of what it is: two of them cannot both be sent."""
    with pytest.raises(
        ConfigurationError, match=r"^Events\(sends=\.\.\.\): Page_Said and Page_Tick cannot both be sent"
    ):
        Events[Anonymous](sends=Page[Said] | Page[Tick])
    Events[Anonymous](sends=Page[Said] | Tick)


def test_sends_with_a_name_that_never_comes() -> None:
    """It is refused when a route takes the events."""

    @frozen
    class Never:
        late: Nowhere  # type: ignore[name-defined]  # noqa: F821 # pyright: ignore[reportUndefinedVariable]  # what is refused

    with pytest.raises(UnresolvedName, match=r"Events\(sends=\.\.\.\): .*Nowhere"):
        App().route("/", guard=public)(with_events(on(Wait), sends=Never))


def named_alike(inner: type) -> type:
    """Another class of this name."""
    return frozen(type(inner.__name__, (), {"__annotations__": {"n": int}}))


def test_two_classes_of_one_name() -> None:
    """Which one is meant nobody could say: the second handler is refused, also if the class is deep in a message."""
    other = tag("other")(cast("type[object]", named_alike(Tick)))
    outer = make_class("Outer", {"ticks": field(type=cast("type[object]", tuple[other, ...]))})  # type: ignore[valid-type]  # made here
    for kind in cast("list[type[object]]", [other, outer]):
        events = with_events(on(Tick))
        with pytest.raises(ConfigurationError, match=r"plain\(\) .*Tick and .*Tick have one name, Tick; rename one"):
            on(kind)(events)
        App().route("/", guard=public)(events)
