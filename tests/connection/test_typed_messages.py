"""Messages as values in a handler: what is received and sent, and what follows when a message is wrong."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, Final, NamedTuple, TypeAlias, TypedDict, Unpack, assert_never, cast

import msgspec
import pytest
import trio
from attrs import field, frozen
from attrs.validators import max_len
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import (
    JSON,
    Anonymous,
    App,
    Cause,
    Close,
    Codec,
    ConfigurationError,
    Connection,
    Context,
    Deflate,
    Disconnected,
    Draining,
    ErrorPolicy,
    ErrorReport,
    Escalate,
    Fields,
    Forbidden,
    Ignore,
    InvalidMessage,
    LimitOverrides,
    Limits,
    MessagePack,
    Outcome,
    Phase,
    Reply,
    Route,
    Router,
    Sendable,
    TooManyInvalidMessages,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    inherited,
    public,
)
from seawall.connection.typed_messages import fail_message
from seawall.observability.reports import log_report
from seawall.testing import Client, Closed, connect, serve
from tests.kit.log import recorded
from tests.kit.memory import Peer, Wire, close, text, wired

Handler: TypeAlias = Callable[[Connection[Anonymous]], Awaitable[None]]


@frozen
class Say:
    """What somebody says."""

    text: str = field(validator=max_len(10))


@frozen
class Leave:
    """Somebody leaves."""


@frozen
class Said:
    """What is said to everybody."""

    text: str


@frozen
class Sorry:
    """An application's own answer to what is wrong."""

    where: str


@frozen
class Reading:
    """What a sensor says."""

    sensor_id: int
    value: float = 0.0


@dataclasses.dataclass
class Dated:
    """A dataclass."""

    day: int


class Packed(msgspec.Struct):
    """A Struct."""

    size: int


async def talk(conn: Connection[Anonymous]) -> None:
    """Repeat what is said, until somebody leaves."""
    async for message in conn.messages(Say | Leave):
        match message:
            case Say(said):
                await conn.send(Said(said))
            case Leave():
                return
            case _:
                assert_never(message)


class Settings(TypedDict, total=False):
    """What an app is told here."""

    limits: Limits
    errors: ErrorPolicy
    report: Callable[[ErrorReport], None]
    on_end: Callable[[Outcome], None]
    compression: Deflate
    codec: Codec


def serving(handler: Handler = talk, **settings: Unpack[Settings]) -> App:
    """An app with one route."""
    app = App(**settings)
    app.route("/", guard=public)(handler)
    return app


async def heard(client: Client) -> object:
    """The next message, which is JSON."""
    message = await client.receive()
    assert isinstance(message, str)
    found: object = json.loads(message)
    return found


WRONG: Final[dict[str, tuple[str | bytes, str, str, str]]] = {
    "malformed": ("{", "invalid_message", "$", "malformed"),
    "of another type": ('"x"', "invalid_message", "$", "expected an object, got text"),
    "unknown": ('{"type": "nope"}', "unknown_type", "$.type", "expected a type that is known"),
    "without a type": ('{"text": "x"}', "invalid_message", "$.type", "missing"),
    "refused": (
        '{"type": "say", "text": "xxxxxxxxxxx"}',
        "invalid_message",
        "$.text",
        "expected at most 10 characters",
    ),
    "without a field": ('{"type": "say"}', "invalid_message", "$.text", "missing"),
    "with one too many": ('{"type": "leave", "now": 1}', "invalid_message", "$", "a field that is not known"),
    "binary": (b'{"type": "leave"}', "invalid_message", "$", "expected a text message"),
}

GOOD: Final = '{"type": "say", "text": "hi"}'


@pytest.mark.parametrize("name", WRONG)
async def test_the_loop_goes_on(name: str, autojump_clock: MockClock) -> None:
    """A message that is wrong is answered with where, and the next one is received."""
    message, code, path, detail = WRONG[name]
    async with connect(serving(), "/") as client:
        await client.send(message)
        assert await heard(client) == {"type": "error", "code": code, "path": path, "detail": detail}
        await client.send(GOOD)
        assert await heard(client) == {"type": "said", "text": "hi"}
        await client.send('{"type": "leave"}')
        assert await client.wait_closed() == (1000, "")


async def test_an_answer_has_the_ref(autojump_clock: MockClock) -> None:
    """What asks with a ref is answered with it, so that its sender knows which message was wrong."""
    async with connect(serving(), "/") as client:
        for ref in (7, "a" * 64, 0):
            await client.send(json.dumps({"type": "say", "text": 1, "ref": ref}))
            assert cast("dict[str, object]", await heard(client))["re"] == ref
        for wrong in (-1, 1.5, None, "a" * 65, 2**53, [1]):
            await client.send(json.dumps({"type": "nope", "ref": wrong}))
            assert "re" not in cast("dict[str, object]", await heard(client))


@pytest.mark.parametrize("wrong", [[one] for one in WRONG] + [list(WRONG)])
async def test_ten_in_a_row(wrong: list[str], autojump_clock: MockClock) -> None:
    """Nine that are wrong and one that is good, and again; then ten: the tenth ends the connection."""
    outcomes, raised = list[Outcome](), list[Exception]()
    app = serving(on_end=outcomes.append, report=lambda report: raised.append(report.exception))
    messages = [WRONG[wrong[number % len(wrong)]][0] for number in range(10)]
    async with connect(app, "/") as client:
        for _ in range(2):
            for message in messages[:9]:
                await client.send(message)
            await client.send(GOOD)
            kinds = [cast("dict[str, object]", await heard(client))["type"] for _ in range(10)]
            assert kinds == ["error"] * 9 + ["said"]
        for message in messages:
            await client.send(message)
        for _ in range(9):
            await client.receive()
        with pytest.raises(Closed) as closed:
            await client.receive()
    assert (closed.value.code, closed.value.reason) == (1008, "too many invalid messages")
    assert [outcome.cause for outcome in outcomes] == [Cause.INVALID_MESSAGES]
    assert [type(one) for one in raised] == [InvalidMessage] * 27 + [TooManyInvalidMessages]


@pytest.mark.parametrize(
    ("app", "own", "most"),
    [
        (3, {}, 3),
        (2, {"max_message_errors": 4}, 4),
        (None, {"max_message_errors": 1}, 1),
        (2, {"max_message_errors": None}, None),
    ],
)
async def test_how_many(app: int | None, own: LimitOverrides, most: int | None, autojump_clock: MockClock) -> None:
    """The limit of the app, that of a route, and none."""
    served = App(limits=Limits(max_message_errors=app))
    served.route("/", guard=public, limits=own)(talk)
    async with connect(served, "/") as client:
        for _ in range(most or 30):
            await client.send("{")
        for _ in range(29 if most is None else most - 1):
            await client.receive()
        if most is None:
            await client.receive()
            await client.send(GOOD)
            assert await heard(client) == {"type": "said", "text": "hi"}
        else:
            with pytest.raises(Closed):
                await client.receive()


async def test_all_ways_to_receive_count_together(autojump_clock: MockClock) -> None:
    """`receive_as` and `messages`, of whatever types: it is the peer who makes mistakes."""

    async def mixed(conn: Connection[Anonymous]) -> None:
        while True:
            with trio.move_on_after(1):
                await conn.receive_as(int)
            with trio.move_on_after(1):
                async for _ in conn.messages(list[int]):
                    pass

    async with connect(serving(mixed, limits=Limits(max_message_errors=4)), "/") as client:
        for _ in range(3):
            await client.send('"x"')
            await client.receive()
            await trio.sleep(1)
        await client.send('"x"')
        assert await client.wait_closed() == (1008, "too many invalid messages")


async def test_receive_as(autojump_clock: MockClock) -> None:
    """The next one that is valid, of a class or a plain type; the text of a mistake names the route."""
    got = list[object]()

    async def handler(conn: Connection[Anonymous]) -> None:
        got.append(await conn.receive_as(Say))
        got.append(await conn.receive_as(list[int] | None))
        got.append(await conn.receive_as(Say | Leave))
        with pytest.raises(ConfigurationError, match=r"^route /: .*Any.*write `object`"):
            await conn.receive_as(list)  # pyright: ignore[reportUnknownArgumentType]  # of what?
        await conn.receive_as(Say)

    async with connect(serving(handler), "/") as client:
        for message in ("{", GOOD, "[1, 2]", '{"type": "leave"}'):
            await client.send(message)
        assert cast("dict[str, object]", await heard(client))["code"] == "invalid_message"
    assert got == [Say("hi"), [1, 2], Leave()]


async def test_how_it_ends_for_the_handler(autojump_clock: MockClock) -> None:
    """When the policy ends the connection, an iteration ends, `receive_as` raises, and the handler is cancelled."""
    seen = list[object]()

    async def handler(conn: Connection[Anonymous]) -> None:
        try:
            if conn.handshake.path == "/":
                async for _ in conn.messages(int):
                    pass
                seen.append("over")
            else:
                await conn.receive_as(int)
        except Disconnected as gone:
            seen.append(type(gone))
        with pytest.raises(Disconnected):
            conn.send_nowait(Said("x"))
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            seen.append("cancelled")
            raise

    app = serving(handler, limits=Limits(max_message_errors=1))
    app.route("/one", guard=public)(handler)
    async with serve(app) as served:
        for path in ("/", "/one"):
            async with served.connect(path) as client:
                await client.send("x")
                assert await client.wait_closed() == (1008, "too many invalid messages")
    assert seen == ["over", "cancelled", Disconnected, "cancelled"]


# What a policy may say.


def answering(make: Callable[[InvalidMessage], Sendable], report: Callable[[ErrorReport], None] = log_report) -> App:
    """An app that answers what is wrong by `make`."""
    return serving(errors=ErrorPolicy().on(InvalidMessage, Reply(make)), report=report)


@pytest.mark.parametrize(
    ("made", "with_ref", "without"),
    [
        (Sorry("$.text"), '{"type":"sorry","re":4,"where":"$.text"}', '{"type":"sorry","where":"$.text"}'),
        (Dated(1), '{"type":"dated","re":4,"day":1}', '{"type":"dated","day":1}'),
        (Packed(1), '{"type":"packed","re":4,"size":1}', '{"type":"packed","size":1}'),
        ("what?", "what?", "what?"),
        (b"what?", b"what?", b"what?"),
    ],
    ids=repr,
)
async def test_a_reply(made: Sendable, with_ref: str | bytes, without: str | bytes, autojump_clock: MockClock) -> None:
    """A value is sent as the codec writes it, with the ref as ``re``; text and bytes as they are."""
    async with connect(answering(lambda _: made), "/") as client:
        await client.send('{"type": "say", "text": 1, "ref": 4}')
        assert await client.receive() == with_ref
        await client.send('{"type": "say", "text": 1}')
        assert await client.receive() == without
        await client.send(GOOD)
        assert await heard(client) == {"type": "said", "text": "hi"}


async def test_a_reply_from_the_error(autojump_clock: MockClock) -> None:
    """The function gets the exception."""
    async with connect(answering(lambda error: Sorry(f"{error.path} {error.code}")), "/") as client:
        await client.send('{"type": "say", "text": 1}')
        assert await heard(client) == {"type": "sorry", "where": "$.text invalid_message"}


def failing(error: InvalidMessage) -> Sendable:
    """Fail to answer."""
    raise LookupError("no such text")


def untyped(made: object) -> Callable[[InvalidMessage], Sendable]:
    """A function that makes what no type checker admits."""
    return lambda _: cast("Sendable", made)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (failing, LookupError),
        (untyped(Reading(1, math.nan)), ValueError),
        (untyped("\ud800"), ValueError),
        (untyped(7), TypeError),
        (untyped(Sorry), TypeError),
        (untyped(None), TypeError),
        (untyped(LookupError()), TypeError),
    ],
    ids=["raises", "NaN", "surrogate", "int", "class", "None", "exception"],
)
@pytest.mark.parametrize("ref", ["", ', "ref": "4111-1111"'])
async def test_a_reply_that_fails(
    make: Callable[[InvalidMessage], Sendable], kind: type[Exception], ref: str, autojump_clock: MockClock
) -> None:
    """It is a failure of the program: an incident, of which the peer reads the number, and the log the rest."""
    reports = list[ErrorReport]()
    async with connect(answering(make, report=reports.append), "/") as client:
        await client.send(f'{{"type": "say", "text": 1{ref}}}')
        code, reason = await client.wait_closed()
    assert [report.phase for report in reports] == [Phase.MESSAGE, Phase.HANDLER]
    assert (code, reason) == (1011, f"internal error, incident {reports[1].incident}")
    assert isinstance(reports[1].exception, kind)
    assert not reports[1].expected
    assert reports[1].exception.__context__ is None
    assert "4111-1111" not in locals_of(reports[1].exception)


async def test_a_reply_that_fails_as_the_policy_knows(autojump_clock: MockClock) -> None:
    """The policy decides about what a reply raises, as about what a handler raises."""
    errors = ErrorPolicy().on(InvalidMessage, Reply(failing)).on(LookupError, Close(4004, "no text"))
    async with connect(serving(errors=errors), "/") as client:
        await client.send("x")
        assert await client.wait_closed() == (4004, "no text")


async def test_ignoring(autojump_clock: MockClock) -> None:
    """Nothing is said, but to who has asked, who would wait for ever; and it counts all the same."""
    errors = ErrorPolicy().on(InvalidMessage, Ignore())
    async with connect(serving(errors=errors), "/") as client:
        await client.send("{")
        await client.send('{"type": "nope", "ref": 4}')
        assert await heard(client) == {"type": "error", "re": 4, "code": "cancelled"}
        await client.send(GOOD)
        assert await heard(client) == {"type": "said", "text": "hi"}
        for _ in range(10):
            await client.send("{")
        assert await client.wait_closed() == (1008, "too many invalid messages")


async def test_closing(autojump_clock: MockClock) -> None:
    """A rule may end the connection at the first one."""
    errors = ErrorPolicy().on(InvalidMessage, Close(4007, "speak properly"))
    outcomes = list[Outcome]()
    async with connect(serving(errors=errors, on_end=outcomes.append), "/") as client:
        await client.send("{")
        assert await client.wait_closed() == (4007, "speak properly")
    assert (outcomes[0].cause, outcomes[0].rule) == (Cause.FAILED, "InvalidMessage")


async def test_escalating(autojump_clock: MockClock) -> None:
    """A rule may end the server, which the peer reads nothing of."""
    app = serving(errors=ErrorPolicy().on(InvalidMessage, Escalate()))
    with pytest.RaisesGroup(InvalidMessage, flatten_subgroups=True):
        async with connect(app, "/") as client:
            await client.send("{")
            assert await client.wait_closed() == (1011, "internal error")
            await trio.sleep(1)


async def test_the_limit_has_a_rule(autojump_clock: MockClock) -> None:
    """An application says by which code; nobody can answer it, or ignore it, by a rule for everything."""
    everything = ErrorPolicy().on(Exception, Reply(lambda _: "what?"), Close(4000, "enough"))
    async with connect(serving(errors=everything), "/") as client:
        for _ in range(10):
            await client.send("{")
        assert [await client.receive() for _ in range(9)] == ["what?"] * 9
        assert await client.wait_closed() == (4000, "enough")


async def test_levels(autojump_clock: MockClock) -> None:
    """A rule of the route is asked before that of the router, and that before the app's."""

    def rule(name: str) -> ErrorPolicy:
        return ErrorPolicy().on(InvalidMessage, Reply(lambda _: name))

    inner = Router[Anonymous](errors=rule("router"))
    inner.route("/own", guard=inherited(), errors=rule("route"))(talk)
    inner.route("/", guard=inherited())(talk)
    app = serving(errors=rule("app"))
    app.mount("/in", inner, guard=public)
    async with serve(app) as served:
        for path, who in (("/", "app"), ("/in", "router"), ("/in/own", "route")):
            async with served.connect(path) as client:
                await client.send("{")
                assert await client.receive() == who


@pytest.mark.parametrize(
    ("failure", "answer"),
    [
        (Unauthorized("secret"), {"code": "unauthorized"}),
        (Forbidden("secret", scope="secret"), {"code": "forbidden"}),
        (TooManyRequests("secret"), {"code": "too_many_requests"}),
        (TooManyRequests("secret", retry_after=2.5), {"code": "too_many_requests", "retry_after": 2.5}),
        (TooManyRequests("secret", retry_after=math.inf), {"code": "too_many_requests"}),
        (TooManyRequests("secret", retry_after=-1), {"code": "too_many_requests"}),
        (Unavailable("secret", retry_after=30), {"code": "unavailable", "retry_after": 30}),
        (InvalidMessage("$.a", ""), {"code": "invalid_message", "path": "$.a"}),
        (LookupError("secret"), None),
    ],
)
async def test_other_failures_of_a_message(
    failure: Exception, answer: dict[str, object] | None, autojump_clock: MockClock
) -> None:
    """A refusal is an answer without its text, and the connection goes on; what nobody knows ends it."""
    contexts = list[Context]()

    def look(error: Exception, context: Context) -> Ignore | Escalate | Close | Reply[Exception]:
        contexts.append(context)
        raise AssertionError("never asked")

    async def handler(conn: Connection[Anonymous]) -> None:
        state = conn._state  # pyright: ignore[reportPrivateUsage]  # as events do
        assert await fail_message(state, failure, ref=3, message="say") is (answer is not None)
        await conn.receive_as(int)

    async with connect(serving(handler, errors=ErrorPolicy().on(OSError, look)), "/") as client:
        if answer is None:
            code, reason = await client.wait_closed()
            assert code == 1011
            assert re.fullmatch("internal error, incident [0-9a-f]{6}", reason)
        else:
            assert await heard(client) == {"type": "error", "re": 3} | answer
            await client.send("1")
            assert await client.wait_closed() == (1000, "")


async def test_the_context(autojump_clock: MockClock) -> None:
    """A callable of the policy knows the phase, the route and the type of the message, if that is known."""
    contexts = list[Context]()

    def look(error: Exception, context: Context) -> Ignore:
        contexts.append(context)
        return Ignore()

    async def handler(conn: Connection[Anonymous]) -> None:
        state = conn._state  # pyright: ignore[reportPrivateUsage]  # as events do
        assert await fail_message(state, LookupError(), ref=None, message="say")
        await conn.receive_as(int)

    async with connect(serving(handler, errors=ErrorPolicy().on(Exception, look)), "/") as client:
        await client.send('{"type": "say"}')
        await client.send("1")
        await client.wait_closed()
    assert [(one.phase, one.route, one.accepted, one.message) for one in contexts] == [
        (Phase.MESSAGE, "/", True, "say"),
        (Phase.MESSAGE, "/", True, ""),
    ]
    assert len({one.incident for one in contexts}) == 2


# How messages are written.


def packed(value: object) -> bytes:
    """In MessagePack."""
    return msgspec.msgpack.encode(value)


async def test_messagepack(autojump_clock: MockClock) -> None:
    """Messages are binary, answers and errors too; text is of the wrong kind."""
    async with connect(serving(codec=MessagePack()), "/") as client:
        await client.send(packed({"type": "say", "text": "hi"}))
        message = await client.receive()
        assert isinstance(message, bytes)
        assert msgspec.msgpack.decode(message) == {"type": "said", "text": "hi"}
        await client.send(GOOD)
        message = await client.receive()
        assert isinstance(message, bytes)
        assert msgspec.msgpack.decode(message) == {
            "type": "error",
            "code": "invalid_message",
            "path": "$",
            "detail": "expected a binary message",
        }


async def test_other_names(autojump_clock: MockClock) -> None:
    """Fields are spelled as the codec says, and unknown ones ignored; a path is spelled as the peer does."""

    async def handler(conn: Connection[Anonymous]) -> None:
        async for reading in conn.messages(Reading):
            await conn.send(reading)

    async with connect(serving(handler, codec=JSON(rename="camel", unknown_fields="ignore")), "/") as client:
        await client.send('{"type": "reading", "sensorId": 4, "of": "tomorrow"}')
        assert await heard(client) == {"type": "reading", "sensorId": 4, "value": 0.0}
        await client.send('{"type": "reading", "sensor_id": 4}')
        assert cast("dict[str, object]", await heard(client))["path"] == "$.sensorId"


async def test_codecs_by_level(autojump_clock: MockClock) -> None:
    """The codec of a route counts before that of its router, and that before the app's."""
    inner = Router[Anonymous](codec=JSON(rename="camel"))
    inner.add(Route(path="/own", guard=inherited(), handler=sense, codec=JSON(rename="kebab")))
    inner.route("/", guard=inherited())(sense)
    app = App(codec=JSON(rename="pascal"))
    app.route("/", guard=public)(sense)
    app.route("/plain", guard=public, codec=JSON())(sense)
    app.mount("/in", inner, guard=public)
    names = {"/": "SensorId", "/plain": "sensor_id", "/in": "sensorId", "/in/own": "sensor-id"}
    async with serve(app) as served:
        for path, name in names.items():
            async with served.connect(path) as client:
                assert name in cast("dict[str, object]", await heard(client))


async def sense(conn: Connection[Anonymous]) -> None:
    """Send a value."""
    await conn.send(Reading(1))


@pytest.mark.parametrize("mistake", ["json", JSON, 7, object()], ids=["str", "class", "int", "object"])
def test_what_is_no_codec(mistake: object) -> None:
    """It is refused where it is written, with what to give."""
    wrong = cast("Codec", mistake)
    with pytest.raises(ConfigurationError, match=r"^App: codec=.* is no codec; give JSON\(\), MessagePack\(\), or"):
        App(codec=wrong)
    with pytest.raises(ConfigurationError, match=r"^Router: codec=.* is no codec"):
        Router[Anonymous](codec=wrong)
    with pytest.raises(ConfigurationError, match=r"^talk\(\) .*: route /: codec=.* is no codec"):
        App().route("/", guard=public, codec=wrong)(talk)


# What is sent.


@pytest.mark.parametrize("nowait", [False, True])
async def test_what_can_be_sent(nowait: bool, autojump_clock: MockClock) -> None:
    """Instances of attrs classes, dataclasses and Structs; text and bytes as they are."""
    values: list[Sendable] = [Said("hé"), Dated(1), Packed(2), "plain", b"raw", Leave()]

    async def handler(conn: Connection[Anonymous]) -> None:
        for value in values:
            if nowait:
                conn.send_nowait(value)
            else:
                await conn.send(value)

    outcomes = list[Outcome]()
    async with connect(serving(handler, on_end=outcomes.append), "/") as client:
        assert [await client.receive() for _ in values] == [
            '{"type":"said","text":"hé"}',
            '{"type":"dated","day":1}',
            '{"type":"packed","size":2}',
            "plain",
            b"raw",
            '{"type":"leave"}',
        ]
        await client.wait_closed()
    assert outcomes[0].messages_out == len(values)


class Pair(NamedTuple):
    """What has fields by name, but is a tuple."""

    a: int
    b: int


async def ask() -> Said:
    """What somebody forgets to await."""
    await trio.lowlevel.checkpoint()
    return Said("x")


UNSENDABLE: Final[list[tuple[Callable[[], object], type[Exception], str]]] = [
    (ask, TypeError, "a coroutine was to be sent, which nobody has awaited; write `await`"),
    (lambda: Said, TypeError, "the class Said was to be sent; make an instance of it"),
    (lambda: Pair(1, 2), TypeError, "a Pair is a tuple: a message has names; make it an attrs class"),
    (lambda: 7, TypeError, "a int was to be sent; send text, bytes, or an instance of an attrs class"),
    (lambda: [Said("x")], TypeError, "a list was to be sent; send text, bytes"),
    (lambda: {"type": "said"}, TypeError, "a dict was to be sent; send text, bytes"),
    (lambda: None, TypeError, "a NoneType was to be sent"),
    (lambda: bytearray(b"x"), TypeError, "a bytearray was to be sent"),
    (lambda: Reading(1, math.nan), ValueError, "a number is NaN or infinite, which no message can carry"),
    (lambda: Reading(1, -math.inf), ValueError, "a number is NaN or infinite"),
    (lambda: Said("\ud800"), ValueError, "surrogates not allowed"),
    (lambda: "\ud800", ValueError, "can't encode character"),
]


@pytest.mark.parametrize(("make", "kind", "said"), UNSENDABLE)
async def test_what_cannot_be_sent(
    make: Callable[[], object], kind: type[Exception], said: str, autojump_clock: MockClock
) -> None:
    """It is an error that says what to send instead; nothing has been sent, and the connection goes on."""

    async def handler(conn: Connection[Anonymous]) -> None:
        with pytest.raises(kind, match=re.escape(said)):
            await conn.send(cast("Fields", make()))
        with pytest.raises(kind, match=re.escape(said)):
            conn.send_nowait(cast("Fields", make()))
        await conn.send(Said("good"))

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a coroutine that was never awaited would be one more line
        async with connect(serving(handler), "/") as client:
            assert await heard(client) == {"type": "said", "text": "good"}


async def test_what_is_running_is_not_touched(autojump_clock: MockClock) -> None:
    """A coroutine that runs already, as that of another task, runs on after it was to be sent."""
    done = trio.Event()

    async def work() -> None:
        await trio.sleep(1)
        done.set()

    async def handler(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(work)
        await trio.sleep(0.5)
        (task,) = conn.nursery.child_tasks - {trio.lowlevel.current_task()}
        with pytest.raises(TypeError, match="nobody has awaited"):
            await conn.send(cast("Fields", task.coro))
        await done.wait()

    async with connect(serving(handler), "/") as client:
        assert await client.wait_closed() == (1000, "")


async def test_a_class_that_no_message_can_carry(autojump_clock: MockClock) -> None:
    """It is found when it is first sent, and the text names its field."""

    @frozen
    class Untold:
        call: Callable[[], int]

    async def handler(conn: Connection[Anonymous]) -> None:
        with pytest.raises(ConfigurationError, match=r"Untold\.call is a callable"):
            await conn.send(Untold(lambda: 1))

    async with connect(serving(handler), "/") as client:
        assert await client.wait_closed() == (1000, "")


async def test_send_nowait_of_another_thread() -> None:
    """A value is not sent from another thread either. In real time: virtual hours may pass while a thread starts."""

    async def handler(conn: Connection[Anonymous]) -> None:
        with pytest.raises(ConfigurationError, match=r"^send_nowait\(\) in another thread than the server's"):
            await trio.to_thread.run_sync(conn.send_nowait, Said("x"))

    async with connect(serving(handler), "/") as client:
        assert await client.wait_closed() == (1000, "")


async def test_send_nowait_without_room(autojump_clock: MockClock) -> None:
    """Where `send` would wait, it raises; nothing has been sent."""
    count = 0

    async def handler(conn: Connection[Anonymous]) -> None:
        nonlocal count
        with suppress(trio.WouldBlock):
            while True:
                conn.send_nowait(Said("x" * 1000))
                count += 1
        go.set()
        await trio.sleep(1)

    go = trio.Event()
    async with connect(serving(handler, limits=Limits(outbound_buffer=10_000)), "/") as client:
        client.stall()
        await go.wait()
        client.resume()
        for _ in range(count):
            await client.receive()
        assert await client.wait_closed() == (1000, "")
    assert count > 5


# With what else a connection can do.


async def test_with_compression(autojump_clock: MockClock) -> None:
    """Values are compressed as text is, errors too."""
    wire, long = Wire(), "x" * 1000

    async def handler(conn: Connection[Anonymous]) -> None:
        await conn.send(Said(long))
        await conn.receive_as(int)
        await conn.send(long)

    async with wired(serving(handler, compression=Deflate()), wire) as peer:
        await peer.open("/", "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover")
        await peer.say(text("1"))
        await peer.rest()
    _, _, rest = bytes(wire.written).partition(b"\r\n\r\n")
    size = rest[1]
    assert rest[0] == rest[2 + size] == 0xC1  # a text message that is compressed
    assert size < 100


async def test_while_draining(autojump_clock: MockClock) -> None:
    """An iteration ends when the server stops, and `receive_as` raises; values can still be sent."""

    async def handler(conn: Connection[Anonymous]) -> None:
        async for _ in conn.messages(Say):
            pass
        with pytest.raises(Draining):
            await conn.receive_as(Say)
        await conn.send(Said("bye"))

    async with serve(serving(handler)) as served, served.connect("/") as client, trio.open_nursery() as nursery:
        nursery.start_soon(served.server.drain)
        assert await heard(client) == {"type": "said", "text": "bye"}
        assert await client.wait_closed() == (1001, "going away")


async def test_with_input_discarded(autojump_clock: MockClock) -> None:
    """What is thrown away is not decoded, and so not counted as invalid."""

    async def handler(conn: Connection[Anonymous]) -> None:
        conn.discard_input()
        with trio.move_on_after(5):
            await conn.receive_as(int)
        await conn.send(Said("still here"))

    async with connect(serving(handler), "/") as client:
        for _ in range(20):
            await client.send("{")
        assert await heard(client) == {"type": "said", "text": "still here"}


@pytest.mark.parametrize("most", [10, 2])
async def test_after_the_peer_has_closed(most: int, autojump_clock: MockClock) -> None:
    """What came before the Close is received, also behind what is wrong, to which there is no answer any more."""
    got, wire = list[object](), Wire()

    async def handler(conn: Connection[Anonymous]) -> None:
        await trio.sleep(0.5)
        async for value in conn.messages(int):
            got.append(value)
        got.append("over")
        with pytest.raises(Disconnected):
            await conn.receive_as(int)
        with pytest.raises(Disconnected):
            await conn.send(Said("x"))

    outcomes = list[Outcome]()
    async with wired(serving(handler, limits=Limits(max_message_errors=most), on_end=outcomes.append), wire) as peer:
        await peer.open()
        await peer.say(text("1"), text("x"), text("2"), text("x"), text("x"), text("3"), close(4001, "bye"))
        assert await peer.closing() == (4001, "bye")
        await trio.sleep(2)
    assert got == ([1, 2, 3, "over"] if most == 10 else [1, 2, "over"])
    assert outcomes[0].cause is Cause.PEER_CLOSED


async def test_a_send_that_is_cancelled(autojump_clock: MockClock) -> None:
    """It has sent nothing, or the whole message."""

    async def handler(conn: Connection[Anonymous]) -> None:
        await conn.receive_as(int)
        number = 0
        while not stop.is_set():
            with trio.move_on_after(0.1):
                number += 1
                await conn.send(Said(f"{number} " + "x" * 5000))
        await conn.send(Leave())

    stop = trio.Event()
    async with connect(serving(handler, limits=Limits(outbound_buffer=20_000)), "/") as client:
        client.stall()
        await client.send("1")
        await trio.sleep(3)
        stop.set()
        client.resume()
        last = 0
        while (message := cast("dict[str, str]", await heard(client)))["type"] == "said":
            number, _, rest = message["text"].partition(" ")
            assert int(number) > last
            assert rest == "x" * 5000
            last = int(number)


async def test_one_task_receives(autojump_clock: MockClock) -> None:
    """A second one is an error, as with `receive`."""

    async def handler(conn: Connection[Anonymous]) -> None:
        conn.nursery.start_soon(conn.receive_as, int)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await conn.receive_as(str)
        with pytest.raises(trio.BusyResourceError):
            await anext(conn.messages(str))

    async with connect(serving(handler), "/") as client:
        await trio.sleep(1)
        await client.send("1")
        assert await client.wait_closed() == (1000, "")


async def test_several_tasks_send(autojump_clock: MockClock) -> None:
    """Values of several tasks do not mix, and answers to what is wrong stand between them."""

    async def handler(conn: Connection[Anonymous]) -> None:
        async def push(number: int) -> None:
            for _ in range(50):
                await conn.send(Said(f"{number}" * 300))

        for number in range(3):
            conn.nursery.start_soon(push, number)
        async for _ in conn.messages(Leave):
            return

    async with connect(serving(handler, limits=Limits(max_message_errors=None)), "/") as client:
        for _ in range(20):
            await client.send("{")
        kinds = [cast("dict[str, str]", await heard(client))["type"] for _ in range(170)]
        await client.send('{"type": "leave"}')
        assert await client.wait_closed() == (1000, "")
    assert (kinds.count("said"), kinds.count("error")) == (150, 20)


# What nobody may read.

SECRET: Final = "hunter2-4111111111111111"


def locals_of(error: BaseException) -> str:
    """What a tool would show that logs the locals of a traceback, with causes and contexts."""
    shown = list[str]()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None:
            continue
        shown += [str(one), repr(one), *getattr(one, "__notes__", ())]
        waiting += [one.__cause__, one.__context__]
        at = one.__traceback__
        while at is not None:
            if at.tb_frame.f_globals.get("__name__", "seawall").startswith("seawall"):
                shown += [repr(value) for value in at.tb_frame.f_locals.values()]
            at = at.tb_next
    return "\n".join(shown)


@pytest.mark.parametrize("size", [1, 43_000], ids=["short", "1 MB"])
@pytest.mark.parametrize("codec", [JSON(), MessagePack(), JSON(rename="camel", unknown_fields="ignore")], ids=repr)
@pytest.mark.parametrize("errors", [ErrorPolicy(), ErrorPolicy().on(InvalidMessage, Ignore())], ids=["reply", "ignore"])
async def test_a_planted_secret(size: int, codec: Codec, errors: ErrorPolicy, autojump_clock: MockClock) -> None:
    """As value, key, key of a mapping, tag and ref it is in no line of the log, no report, no traceback, no reply."""
    secret = SECRET * size
    planted: list[object] = [
        secret,
        [secret],
        {"type": secret},
        {"type": "say", "text": secret},
        {"type": "say", "text": {secret: secret}},
        {"type": "say", "text": [secret]},
        {"type": "say", secret: 1},
        {"type": "table", "of": {secret: secret}},
        {"type": "table", "of": {secret: {secret: 1}}},
        {"type": "say", "ref": [secret], "text": 1},
        {"type": "say", "ref": {secret: 1}, "text": 1},
        {"type": "say", "ref": secret + "x" * 64, "text": 1},
        {"type": "say", "ref": "4111-as-long-as-this", "text": 1},
    ]
    shown, answers = list[str](), list[bytes]()
    limits = Limits(max_message_errors=len(planted) + 1, max_message_size=8 * 1024 * 1024)

    def look(report: ErrorReport) -> None:
        shown.append(f"{report!r} {locals_of(report.exception)}")

    async def handler(conn: Connection[Anonymous]) -> None:
        with pytest.raises(Disconnected) as gone:
            await conn.receive_as(Say | Table)
        shown.append(locals_of(gone.value))

    app = serving(handler, codec=codec, errors=errors, report=look, limits=limits)
    with recorded() as records:
        async with connect(app, "/") as client:
            for message in [*planted, secret]:
                await client.send(packed(message) if codec.binary else json.dumps(message))
            with suppress(Closed):
                while True:
                    answer = await client.receive()
                    answers.append(answer if isinstance(answer, bytes) else answer.encode())
            assert (await client.wait_closed()).code == 1008
    assert len(shown) == len(planted) + 2
    lines = [record.getMessage() + repr(vars(record)) for record in records.found]
    assert len(answers) == (len(planted) if not errors.rules else 1)
    for line in [*lines, *shown]:
        assert "411111" not in line  # fewer digits stand in addresses and times by chance
        assert "4111-as-long" not in line
        assert "hunter2" not in line
        assert len(line) < 20_000
    for one in answers:
        assert len(one) <= 512
        assert b"hunter2" not in one
        assert b"411111" not in one


@frozen
class Table:
    """A mapping."""

    of: dict[str, int]


async def test_a_slow_reader_that_floods(autojump_clock: MockClock) -> None:
    """Who sends what is wrong, and reads no answer, is ended by ``send_timeout``, and harms nobody."""
    outcomes, wire, over = list[Outcome](), Wire(), trio.Event()

    def end(outcome: Outcome) -> None:
        outcomes.append(outcome)
        over.set()

    app = serving(limits=Limits(max_message_errors=None, outbound_buffer=2000), on_end=end)
    async with wired(app, wire) as peer, trio.open_nursery() as nursery:
        await peer.open()
        wire.stall()
        began = trio.current_time()
        nursery.start_soon(flood, peer)
        await over.wait()
        assert trio.current_time() - began == pytest.approx(10, abs=2)
        assert len(wire.written) < 10_000
        nursery.cancel_scope.cancel()
    assert [(one.cause, one.code) for one in outcomes] == [(Cause.SLOW_CONSUMER, 1008)]


async def test_a_flood_beside_others(autojump_clock: MockClock) -> None:
    """Somebody else on the same server is answered meanwhile."""
    app = serving(limits=Limits(max_message_errors=None))
    async with serve(app) as served, served.connect("/") as rude, served.connect("/") as other:
        rude.stall()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(partial(send_many, rude, 500))
            for number in range(20):
                await other.send(json.dumps({"type": "say", "text": str(number)}))
                assert await heard(other) == {"type": "said", "text": str(number)}
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def flood(peer: Peer) -> None:
    """Send nonsense for as long as it is taken."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while True:
            await peer.say(text("{") * 100)
            await trio.sleep(0.1)


async def send_many(client: Client, count: int) -> None:
    """Send nonsense."""
    for _ in range(count):
        await client.send("{")


async def test_a_type_that_cannot_be_hashed(autojump_clock: MockClock) -> None:
    """What stands in an Annotated is for others, and may be anything; its decoder is made each time."""
    app = App()

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        for _ in range(2):
            number = await conn.receive_as(Annotated[int, ["a note"], msgspec.Meta(ge=0)])
            await conn.send(str(number + 1))

    async with connect(app, "/") as client:
        for message in ("1", "2"):
            await client.send(message)
            assert await client.receive() == str(int(message) + 1)


async def test_a_validator_that_finds_fault_now_and_then(autojump_clock: MockClock) -> None:
    """A message that it has refused is refused, although it lets it pass when it is asked for the place."""
    complains = iter([True, False, True])

    def moody(instance: object, attribute: object, value: int) -> None:
        if next(complains):
            raise ValueError(value)

    @frozen
    class Moody:
        n: int = field(validator=moody)

    app = App()

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        async for _ in conn.messages(Moody):
            pass

    async with connect(app, "/") as client:
        await client.send('{"type": "moody", "n": 1}')
        answer = cast("dict[str, object]", json.loads(await client.receive()))
    assert (answer["type"], answer["path"], answer["detail"]) == ("error", "$", "refused by its validator")
    assert list(complains) == []
