"""`Events.request`: the server asks, from wherever the connection is at hand, and reads while it waits."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock

from seawall import (
    Anonymous,
    App,
    ConfigurationError,
    Connection,
    Disconnected,
    Draining,
    Events,
    EventTimeout,
    InvalidMessage,
    Limits,
    public,
)
from seawall.testing import connect, serve
from tests.kit.talk import Answer, Ask, Count, Fail, Message, Said, Say, Talker, Tick, Wait, app_of, error, talking

SECRET = "the secret of the peer"


@frozen
class Other:
    """Another answer."""

    b: int


def asking(outcomes: list[str], *, timeout: float = 5) -> Events[Anonymous]:
    """Events that ask, each in its way."""
    events = Events[Anonymous]()

    async def asked(conn: Connection[Anonymous], q: str = "?") -> str:
        try:
            answer = await events.request(conn, Ask(q), Answer, timeout=timeout)
        except BaseException as failure:
            outcomes.append(type(failure).__name__)
            raise
        outcomes.append(answer.a)
        return answer.a

    @events.on(Ask)  # in order, with or without a ref
    async def ask(conn: Connection[Anonymous], message: Ask) -> Said:
        return Said(await asked(conn, message.q))

    @events.on(Count)
    async def count(conn: Connection[Anonymous], message: Count) -> AsyncGenerator[Said]:
        for _ in range(message.n):
            yield Said(await asked(conn))

    @events.on(Wait)
    async def wait(conn: Connection[Anonymous], message: Wait) -> None:
        async def background() -> None:
            await conn.send(Said(await asked(conn)))

        conn.nursery.start_soon(background)

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> Said:
        return Said(message.text)

    return events


#: By where it asks from: the message, and what comes after the answer.
PLACES: dict[str, tuple[Message, list[Message]]] = {
    "in order": ({"type": "ask", "q": "?"}, [{"type": "said", "text": "yes"}]),
    "with a ref": ({"type": "ask", "ref": 7, "q": "?"}, [{"type": "said", "re": 7, "text": "yes"}]),
    "a stream": (
        {"type": "count", "ref": 7, "n": 1},
        [{"type": "said", "re": 7, "text": "yes"}, {"type": "end", "re": 7}],
    ),
    "a stream without a ref": ({"type": "count", "n": 1}, [{"type": "said", "text": "yes"}]),
    "a task of its own": ({"type": "wait"}, [{"type": "said", "text": "yes"}]),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
async def test_asked_from(place: str, autojump_clock: MockClock) -> None:
    """The answer comes to who has asked, and the next event is handled after it, or before if nothing holds it up."""
    asks, expected = PLACES[place]
    outcomes: list[str] = []
    async with talking(asking(outcomes)) as talker:
        assert await talker.ask(asks) == {"type": "ask", "ref": 1, "q": "?"}
        await talker.say({"type": "say", "text": "between"})
        if holds := place in ("in order", "with a ref"):
            await talker.silence(1)
        else:
            assert (await talker.hear())["text"] == "between"
        await talker.say({"type": "answer", "re": 1, "a": "yes"})
        assert await talker.hear_many(len(expected)) == expected
        if holds:
            assert (await talker.hear())["text"] == "between"
    assert outcomes == ["yes"]


@pytest.mark.parametrize("place", ["in order", "with a ref", "a stream"])
async def test_no_answer(place: str, autojump_clock: MockClock) -> None:
    """It raises in time, which is by default a reply, and an answer that comes later is dropped."""
    asks, _ = PLACES[place]
    outcomes: list[str] = []
    async with talking(asking(outcomes)) as talker:
        await talker.ask(asks)
        began = trio.current_time()
        assert await talker.hear() == error("timeout", asks.get("ref"))
        assert trio.current_time() - began == 5
        await talker.say({"type": "answer", "re": 1, "a": "late"})
        await talker.silence(3)
        assert await talker.ask(asks) == {"type": "ask", "ref": 2, "q": "?"}
        await talker.say({"type": "answer", "re": 1, "a": "late"}, {"type": "answer", "re": 2, "a": "in time"})
        assert (await talker.hear())["text"] == "in time"
    assert outcomes == ["EventTimeout", "in time"]


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        ({"type": "answer", "re": 1, "a": 3}, "$.a"),
        ({"type": "answer", "re": 1}, "$.a"),
        ({"type": "other", "re": 1, "a": SECRET}, "$.type"),
        ({"type": "answer", "re": 1, "a": "a", SECRET: SECRET}, "$"),
        ({"type": "error", "re": 1, "code": SECRET}, "$.type"),
    ],
    ids=["wrong type", "missing", "unknown type", "unknown field", "an error"],
)
async def test_an_invalid_answer(answer: Message, path: str, autojump_clock: MockClock) -> None:
    """It raises where it was asked, and holds nothing of the answer; by default the event that has asked is refused."""
    events = Events[Anonymous]()
    failures: list[InvalidMessage] = []

    @events.on(Ask)
    async def ask(conn: Connection[Anonymous], message: Ask) -> Said:
        try:
            return Said((await events.request(conn, message, Answer, timeout=5)).a)
        except InvalidMessage as failure:
            failures.append(failure)
            raise

    async with talking(events) as talker:
        await talker.ask({"type": "ask", "ref": 7})
        heard = await talker.ask(answer)
        assert (heard["re"], heard["path"]) == (7, path)
        (failure,) = failures
        frame = failure.__traceback__
        while frame is not None:
            if "seawall" in frame.tb_frame.f_code.co_filename:
                assert SECRET not in str(frame.tb_frame.f_locals), frame
            frame = frame.tb_next
        assert SECRET not in f"{failure!r} {failure} {failure.__context__!r} {failure.__cause__!r} {heard!r}"


async def test_an_answer_of_several_types(autojump_clock: MockClock) -> None:
    """The answer may be a union."""
    events = Events[Anonymous]()

    @events.on(Ask)
    async def ask(conn: Connection[Anonymous], message: Ask) -> Said:
        match await events.request(conn, message, Answer | Other, timeout=5):
            case Answer(a):
                return Said(a)
            case Other(b):
                return Said(str(b))

    async with talking(events) as talker:
        await talker.ask({"type": "ask"})
        assert (await talker.ask({"type": "other", "re": 1, "b": 3}))["text"] == "3"
        await talker.ask({"type": "ask"})
        assert (await talker.ask({"type": "answer", "re": 2, "a": "a"}))["text"] == "a"


async def test_answers_out_of_order(autojump_clock: MockClock) -> None:
    """Several questions at once, from tasks of all kinds; each gets its own answer, and only the first for it."""
    outcomes: list[str] = []
    async with talking(asking(outcomes)) as talker:
        await talker.say({"type": "count", "ref": "s", "n": 1}, {"type": "wait"}, {"type": "ask", "ref": "r"})
        assert {one["ref"] for one in await talker.hear_many(3)} == {1, 2, 3}
        await talker.say(*({"type": "answer", "re": n, "a": f"{n}"} for n in (3, 1, 2, 1, 3)))
        heard = await talker.hear_many(4)
    assert outcomes == ["3", "1", "2"]
    assert sorted(str(one.get("text")) for one in heard) == ["1", "2", "3", "None"]


async def test_who_reads_is_cancelled(autojump_clock: MockClock) -> None:
    """When the task that reads is cancelled while another one waits for its answer too, that one reads on."""
    outcomes: list[str] = []
    async with talking(asking(outcomes)) as talker:
        await talker.say(*({"type": "count", "ref": n, "n": 1} for n in range(3)), {"type": "ask", "ref": 3})
        await talker.hear_many(4)
        await talker.say({"type": "cancel", "ref": 3})
        assert await talker.hear() == error("cancelled", 3)
        await talker.say({"type": "cancel", "ref": 0})
        assert await talker.hear() == error("cancelled", 0)
        await talker.say({"type": "answer", "re": 2, "a": "b"}, {"type": "answer", "re": 3, "a": "c"})
        assert {str(one.get("text")) for one in await talker.hear_many(4)} == {"b", "c", "None"}
        assert await talker.ask({"type": "say", "ref": 9, "text": "on"}) == {"type": "said", "re": 9, "text": "on"}
    assert outcomes == ["Cancelled", "Cancelled", "b", "c"]


@pytest.mark.parametrize("behind", [63, 64, 65])
async def test_messages_behind_a_question(behind: int, autojump_clock: MockClock) -> None:
    """An answer is found behind so many messages as ``inbound_queue`` allows; behind more, the deadline decides."""
    outcomes: list[str] = []
    async with talking(asking(outcomes)) as talker:
        await talker.ask({"type": "ask", "ref": "q"})
        await talker.say(*({"type": "say", "text": str(n)} for n in range(behind)))
        await talker.say({"type": "answer", "re": 1, "a": "yes"})
        heard = await talker.hear()
        assert heard == ({"type": "said", "re": "q", "text": "yes"} if behind < 64 else error("timeout", "q"))
        assert [one["text"] for one in await talker.hear_many(behind)] == [str(n) for n in range(behind)]


async def test_invalid_messages_behind_a_question(autojump_clock: MockClock) -> None:
    """They are answered in their turn."""
    async with talking(asking([])) as talker:
        await talker.ask({"type": "ask", "ref": "q"})
        await talker.say({"type": "say", "text": "1"}, {"type": "nope", "ref": 2}, {"type": "say", "text": "3"})
        await talker.say({"type": "cancel", "ref": 2})
        await talker.silence(1)
        await talker.say({"type": "answer", "re": 1, "a": "yes"})
        assert [one.get("text", one.get("code")) for one in await talker.hear_many(4)] == [
            "yes",
            "1",
            "unknown_type",
            "3",
        ]


async def test_an_answer_just_before_the_peer_leaves(autojump_clock: MockClock) -> None:
    """It counts, although nothing comes after it."""
    outcomes: list[str] = []
    async with connect(app_of(asking(outcomes)), "/") as client:
        talker = Talker(client)
        await talker.ask({"type": "ask"})
        await talker.say({"type": "answer", "re": 1, "a": "yes"})
        await client.aclose()
    assert outcomes == ["yes"]


@pytest.mark.parametrize("place", PLACES)
async def test_a_peer_that_leaves(place: str, autojump_clock: MockClock) -> None:
    """Who waits gets `Disconnected` at once."""
    outcomes: list[str] = []
    async with connect(app_of(asking(outcomes, timeout=50)), "/") as client:
        talker = Talker(client)
        await talker.ask(PLACES[place][0])
        began = trio.current_time()
        await client.aclose()
        assert trio.current_time() - began < 1
    assert outcomes[0] in ({"Disconnected", "Cancelled"} if "stream" in place else {"Disconnected"})


@pytest.mark.parametrize("place", PLACES)
async def test_draining(place: str, autojump_clock: MockClock) -> None:
    """Nothing is received any more when the server stops: who waits gets `Draining`, and so does who asks then."""
    outcomes: list[str] = []
    app = App()
    events = asking(outcomes, timeout=50)

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        try:
            await events(conn)
        except Draining:
            pass
        with pytest.raises(Draining):
            await events.request(conn, Ask(), Answer, timeout=1)

    async with serve(app) as serving, serving.connect("/") as client:
        talker = Talker(client)
        await talker.ask(PLACES[place][0])
        await serving.server.aclose()
        if place == "with a ref":
            assert await talker.hear() == error("cancelled", 7)
        assert (await talker.end()).code == 1001
    assert outcomes[0] in ({"Draining", "Cancelled"} if "stream" in place else {"Draining"})


async def test_the_event_that_asks_is_cancelled(autojump_clock: MockClock) -> None:
    """It reads the cancel itself."""
    outcomes: list[str] = []
    async with talking(asking(outcomes)) as talker:
        await talker.ask({"type": "ask", "ref": 7})
        assert await talker.ask({"type": "cancel", "ref": 7}) == error("cancelled", 7)
        await talker.say({"type": "answer", "re": 1, "a": "late"})
        await talker.silence(10)
    assert outcomes == ["Cancelled"]


async def test_after_the_events(autojump_clock: MockClock) -> None:
    """When they do not run, it says what to do; if the connection is over, that."""
    events = asking([])
    failures: list[Exception] = []
    app = App()

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        try:
            await events.request(conn, Ask(), Answer, timeout=1)
        except ConfigurationError as failure:
            failures.append(failure)
        await events(conn)
        try:
            await events.request(conn, Ask(), Answer, timeout=1)
        except Disconnected as failure:
            failures.append(failure)

    async with talking(app):
        pass
    assert [type(failure) for failure in failures] == [ConfigurationError, Disconnected]
    assert "while `await events(conn)` runs" in str(failures[0])


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), True, "5"], ids=repr)
async def test_a_timeout_that_is_none(timeout: float, autojump_clock: MockClock) -> None:
    """It is refused, with the remedy."""
    texts: list[str] = []
    events = Events[Anonymous]()

    @events.on(Ask)
    async def ask(conn: Connection[Anonymous], message: Ask) -> None:
        with pytest.raises(ConfigurationError) as caught:
            await events.request(conn, message, Answer, timeout=timeout)
        texts.append(str(caught.value))

    async with talking(events) as talker:
        await talker.ask({"type": "ask", "ref": 1})
    assert texts == [f"events.request(timeout={timeout!r}); give a number of seconds above 0"]


async def test_an_answer_that_no_message_can_be(autojump_clock: MockClock) -> None:
    """It is refused where it is asked, before anything is sent."""
    texts: list[str] = []
    events = Events[Anonymous]()

    class Plain:
        pass

    @events.on(Ask)
    async def ask(conn: Connection[Anonymous], message: Ask) -> None:
        with pytest.raises(ConfigurationError, match=r"events\.request\(\)") as caught:
            await events.request(conn, message, Plain, timeout=1)
        texts.append(str(caught.value))

    async with talking(events) as talker:
        assert await talker.ask({"type": "ask", "ref": 1}) == {"type": "done", "re": 1}
    assert len(texts) == 1


async def test_a_caught_timeout(autojump_clock: MockClock) -> None:
    """A handler may go on without the answer."""
    events = Events[Anonymous]()

    @events.on(Fail)
    async def fail(conn: Connection[Anonymous], message: Fail) -> Tick:
        try:
            await events.request(conn, Ask(), Answer, timeout=1)
        except EventTimeout:
            return Tick(0)
        return Tick(1)

    async with talking(events) as talker:
        await talker.ask({"type": "fail", "ref": 1})
        assert await talker.hear() == {"type": "tick", "re": 1, "n": 0}


async def test_a_slow_reader_and_a_duplicate(autojump_clock: MockClock) -> None:
    """Who reads a duplicate while it waits for its answer has it answered, however late the peer reads."""
    events = Events[Anonymous]()

    @events.on(Fail)
    async def fail(conn: Connection[Anonymous], message: Fail) -> None:
        await events.request(conn, Ask("x" * 10_000), Answer, timeout=2)

    app = app_of(events, limits=Limits(outbound_buffer=100, send_timeout=60))
    async with connect(app, "/") as client:
        talker = Talker(client)
        await talker.ask({"type": "fail", "ref": 1})
        client.stall()
        await talker.say(*({"type": "fail", "ref": 2}, {"type": "fail", "ref": 2}, {"type": "fail", "ref": 2}))
        await talker.say({"type": "cancel", "ref": 2})
        await trio.sleep(30)
        client.resume()
        heard = await talker.hear_many(4)
        assert sorted(str(one) for one in heard) == sorted(
            str(one) for one in [error("duplicate_ref", 2)] * 2 + [error("cancelled", 2), error("timeout", 1)]
        )
