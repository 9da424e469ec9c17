"""What follows when an event fails: a reply, the end of the connection, or nothing, as the policy says."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import cast

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock

from seawall import (
    Anonymous,
    App,
    Close,
    Connection,
    Context,
    Disconnected,
    ErrorPolicy,
    ErrorReport,
    Events,
    EventTimeout,
    Forbidden,
    Ignore,
    InvalidMessage,
    Phase,
    Reply,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    public,
)
from seawall.testing import connect
from tests.kit.talk import Answer, Count, Fail, Message, Said, Say, Talker, Wait, error, talking, with_ref


class Odd(BaseException):
    """Neither a failure nor an end."""


class NoSuchRoom(Exception):
    """A failure of the application's."""

    room = "lounge"


@frozen
class RoomError:
    """A typed error of the application's."""

    room: str


class Unprintable(Exception):
    """Nobody can look at it."""

    def __repr__(self) -> str:
        """Fail."""
        raise RuntimeError("no")

    __str__ = __repr__


FAILURES: dict[str, BaseException] = {
    "forbidden": Forbidden("the text is for the log"),
    "who": Unauthorized("the text is for the log"),
    "slower": TooManyRequests("the text is for the log", retry_after=2.5),
    "shut": Unavailable("the text is for the log"),
    "timeout": EventTimeout(),
    "invalid": InvalidMessage("$.x", "of the handler's own"),
    "wrong": ValueError("a secret"),
    "odd": Odd("a secret"),
    "room": NoSuchRoom(),
    "unprintable": Unprintable(),
    "two": ExceptionGroup("two", [Forbidden("a"), ValueError("b")]),
    "two alike": ExceptionGroup("two", [Forbidden("a"), ExceptionGroup("more", [Forbidden("b")])]),
    "another's": Disconnected("another connection"),
}

REPLIES: dict[str, Message] = {
    "forbidden": error("forbidden"),
    "who": error("unauthorized"),
    "slower": error("too_many_requests", retry_after=2.5),
    "shut": error("unavailable"),
    "timeout": error("timeout"),
    "invalid": error("invalid_message", path="$.x", detail="of the handler's own"),
    "two alike": error("forbidden"),
}


def failing(*, concurrent: int = 1) -> Events[Anonymous]:
    """Events that fail as they are told to."""
    events = Events[Anonymous](concurrent=concurrent)

    @events.on(Fail)
    async def fail(conn: Connection[Anonymous], message: Fail) -> Said:
        if message.how:
            await trio.lowlevel.checkpoint()
            raise FAILURES[message.how]
        return Said("well")

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> AsyncGenerator[Said]:
        yield Said("one")
        raise FAILURES[message.text]

    return events


def served(events: Events[Anonymous], errors: ErrorPolicy | None = None) -> tuple[App, list[ErrorReport]]:
    """An app with these events, and what it reports."""
    reports: list[ErrorReport] = []
    app = App(report=reports.append, errors=errors or ErrorPolicy())
    app.route("/", guard=public)(events)
    return app, reports


@pytest.mark.parametrize("ref", [None, 7])
@pytest.mark.parametrize("concurrent", [1, 3])
@pytest.mark.parametrize("how", REPLIES)
async def test_replies(how: str, concurrent: int, ref: int | None, autojump_clock: MockClock) -> None:
    """Refusals and timeouts are replies by default, without the text of the exception, and the connection goes on."""
    app, reports = served(failing(concurrent=concurrent))
    async with connect(app, "/") as client:
        talker = Talker(client)
        expected = {**REPLIES[how]} | ({} if ref is None else {"re": ref})
        assert await talker.ask(with_ref({"type": "fail", "how": how}, ref)) == expected
        assert (await talker.ask(with_ref({"type": "fail"}, ref)))["text"] == "well"
        assert (await talker.ask(with_ref({"type": "say", "text": how}, ref)))["text"] == "one"
        assert await talker.hear() == expected
        await talker.silence(3)
    assert {report.phase for report in reports} == {Phase.MESSAGE}
    assert all(report.expected for report in reports)


@pytest.mark.parametrize("ref", [None, 7])
@pytest.mark.parametrize("concurrent", [1, 3])
@pytest.mark.parametrize("how", [how for how in FAILURES if how not in REPLIES])
async def test_the_unexpected(how: str, concurrent: int, ref: int | None, autojump_clock: MockClock) -> None:
    """Anything else ends the connection with 1011 and an incident; nothing of it is told to the peer."""
    app, reports = served(failing(concurrent=concurrent))
    async with connect(app, "/") as client:
        await Talker(client).say(with_ref({"type": "fail", "how": how}, ref))
        code, reason = await client.wait_closed()
    assert code == 1011
    unexpected = [report for report in reports if not report.expected]
    assert reason == f"internal error, incident {unexpected[0].incident}"
    assert {report.phase for report in reports} == {Phase.MESSAGE}
    assert len(reports) == (2 if how == "two" else 1)


async def test_the_type_is_in_the_context(autojump_clock: MockClock) -> None:
    """A rule that is called learns the type of the message, in the phase of messages."""
    contexts: list[Context] = []

    def decide(failure: ValueError, context: Context) -> Ignore:
        contexts.append(context)
        return Ignore()

    app, _ = served(failing(), ErrorPolicy().on(ValueError, decide))
    async with connect(app, "/") as client:
        talker = Talker(client)
        await talker.say({"type": "fail", "how": "wrong"}, {"type": "say", "text": "wrong"})
        await talker.silence(1) if not await talker.hear() else None
    assert [(context.phase, context.message) for context in contexts] == [
        (Phase.MESSAGE, "fail"),
        (Phase.MESSAGE, "say"),
    ]


@pytest.mark.parametrize("ref", [None, 7])
async def test_rules_of_the_application(ref: int | None, autojump_clock: MockClock) -> None:
    """A `Reply` of a rule is the answer, whatever `sends` allows; `Ignore` is one too if somebody has asked."""
    events = Events[Anonymous](sends=Said)

    @events.on(Fail)
    async def fail(conn: Connection[Anonymous], message: Fail) -> None:
        raise FAILURES[message.how]

    policy = (
        ErrorPolicy()
        .on(NoSuchRoom, Reply(lambda failure: RoomError(failure.room)))
        .on(ValueError, Ignore())
        .on(Unavailable, Close(4000, "gone"))
    )
    app, _ = served(events, policy)
    async with connect(app, "/") as client:
        talker = Talker(client)
        expected = {"type": "room_error", "room": "lounge"} | ({} if ref is None else {"re": ref})
        assert await talker.ask(with_ref({"type": "fail", "how": "room"}, ref)) == expected
        await talker.say(with_ref({"type": "fail", "how": "wrong"}, ref))
        if ref is not None:
            assert await talker.hear() == error("cancelled", ref)
        await talker.silence(1)
        await talker.say(with_ref({"type": "fail", "how": "shut"}, ref))
        assert await talker.end() == (4000, "gone")


@pytest.mark.parametrize("returned", [3, "text", [Said("a")], Said, (1, 2)], ids=repr)
async def test_what_cannot_be_sent(returned: object, autojump_clock: MockClock) -> None:
    """A handler that returns no message, as without a type checker, is a mistake of the program: 1011."""
    events = Events[Anonymous]()

    @events.on(Fail)
    async def fail(conn: Connection[Anonymous], message: Fail) -> Said:
        return cast("Said", returned)

    app, reports = served(events)
    async with connect(app, "/") as client:
        await Talker(client).say({"type": "fail", "ref": 1})
        assert (await client.wait_closed()).code == 1011
    assert isinstance(reports[0].exception, TypeError)


async def test_nine_in_a_row_and_a_good_one(autojump_clock: MockClock) -> None:
    """A valid message starts the count of invalid ones anew; answers and cancels do not."""
    app, _ = served(failing())
    async with connect(app, "/") as client:
        talker = Talker(client)
        for _ in range(3):
            for _ in range(9):
                assert (await talker.ask({"type": "nope"}))["code"] == "unknown_type"
            await talker.ask({"type": "fail"})
        for _ in range(9):
            assert (await talker.ask({"type": "fail", "ref": 1, "no": 1}))["code"] == "invalid_message"
            await talker.say({"type": "cancel", "ref": 5}, {"type": "answer", "re": 5})
        await talker.say({"type": "nope"})
        assert await talker.end() == (1008, "too many invalid messages")


async def test_ten_in_a_row_while_an_event_runs(autojump_clock: MockClock) -> None:
    """They count in their turn, when the event has ended."""
    events = failing()

    @events.on(Wait)
    async def wait(conn: Connection[Anonymous], message: Wait) -> None:
        await trio.sleep(5)

    app, _ = served(events)
    async with connect(app, "/") as client:
        talker = Talker(client)
        began = trio.current_time()
        await talker.say({"type": "wait", "ref": 1}, *({"type": "nope"} for _ in range(10)))
        assert await talker.hear() == {"type": "done", "re": 1}
        assert (await talker.end()).code == 1008
        assert trio.current_time() - began == 5


async def test_timeout(autojump_clock: MockClock) -> None:
    """An event that takes too long is cancelled, its generator closed, and who has asked gets `timeout`."""
    closed: list[float] = []
    events = Events[Anonymous]()

    @events.on(Wait, timeout=2)
    async def wait(conn: Connection[Anonymous], message: Wait) -> None:
        await trio.sleep(message.seconds)

    @events.on(Count, timeout=2)
    async def count(conn: Connection[Anonymous], message: Count) -> AsyncGenerator[Said]:
        try:
            while True:
                yield Said("tick")
                await trio.sleep(0.75)
        finally:
            closed.append(trio.current_time())

    async with talking(events) as talker:
        began = trio.current_time()
        assert await talker.ask({"type": "wait", "ref": 1, "seconds": 3}) == error("timeout", 1)
        assert trio.current_time() - began == 2
        assert await talker.ask({"type": "wait", "seconds": 3}) == error("timeout")
        assert await talker.ask({"type": "wait", "ref": 1, "seconds": 1}) == {"type": "done", "re": 1}
        began = trio.current_time()
        await talker.say({"type": "count", "ref": 1})
        assert [one["type"] for one in await talker.hear_many(4)] == ["said"] * 3 + ["error"]
        assert closed == [began + 2]


async def test_a_stray_cancelled(autojump_clock: MockClock) -> None:
    """A Cancelled that was kept from a scope that is over is a failure: who has asked is not left waiting."""
    events = Events[Anonymous]()

    @events.on(Fail)
    async def fail(conn: Connection[Anonymous], message: Fail) -> None:
        kept: list[trio.Cancelled] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:  # noqa: ASYNC103 - the mistake that it is about
                kept.append(cancelled)
        raise kept[0]

    for ref in (None, 1):
        app, reports = served(events)
        async with connect(app, "/") as client:
            await Talker(client).say(with_ref({"type": "fail"}, ref))
            assert (await client.wait_closed()).code == 1011
        assert len(reports) == 1


async def test_a_failure_while_it_is_cancelled(autojump_clock: MockClock) -> None:
    """What a handler raises on being cancelled is reported; its client gets one answer, that it was cancelled."""
    events = Events[Anonymous]()

    @events.on(Fail)
    async def fail(conn: Connection[Anonymous], message: Fail) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise Forbidden("in the cleanup")

    app, reports = served(events)
    async with connect(app, "/") as client:
        talker = Talker(client)
        await talker.say({"type": "fail", "ref": 1})
        await trio.sleep(1)
        assert await talker.ask({"type": "cancel", "ref": 1}) == error("cancelled", 1)
        await talker.silence(3)
    assert [type(report.exception) for report in reports] == [Forbidden]


@pytest.mark.parametrize("how", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("ref", [None, 1])
async def test_what_stops_the_program(how: type[BaseException], ref: int | None, autojump_clock: MockClock) -> None:
    """KeyboardInterrupt and SystemExit are for nobody but the program."""
    events = Events[Anonymous]()

    @events.on(Fail)
    async def fail(conn: Connection[Anonymous], message: Fail) -> None:
        raise how

    async def converse() -> None:
        async with talking(events) as talker:
            await talker.say(with_ref({"type": "fail"}, ref))
            await talker.end()

    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: ASYNC401 - however deep
        await converse()
    assert caught.value.subgroup(how) is not None


async def test_a_background_task_that_fails(autojump_clock: MockClock) -> None:
    """It ends the connection as it does without events, and what runs is cancelled."""
    events = Events[Anonymous]()
    ended: list[str] = []

    @events.on(Wait)
    async def wait(conn: Connection[Anonymous], message: Wait) -> None:
        async def background() -> None:
            await trio.sleep(1)
            raise ValueError

        conn.nursery.start_soon(background)
        try:
            await events.request(conn, Say("?"), Answer, timeout=60)
        finally:
            ended.append("wait")

    app, reports = served(events)
    async with connect(app, "/") as client:
        await Talker(client).say({"type": "wait", "ref": 1})
        assert (await client.wait_closed()).code == 1011
    assert ended == ["wait"]
    assert [report.phase for report in reports] == [Phase.BACKGROUND]
