"""What stands on the wire, line by line: a message, and what is answered to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

import msgspec
import pytest
import trio
from attrs import frozen
from trio.testing import MockClock

from seawall import Anonymous, App, Connection, Events, MessagePack, public
from seawall.testing import connect
from tests.kit.talk import Count, Message, Said, Say, Tick, chat, decoded, error, talking

T = TypeVar("T")

TICKS: list[Message] = [{"type": "tick", "re": 1, "n": n} for n in range(3)]

#: What is sent, and all that is answered to it, in order.
LINES: list[tuple[Message, list[Message]]] = [
    ({"type": "say", "ref": 7, "text": "hi"}, [{"type": "said", "re": 7, "text": "sea:hi"}]),
    ({"type": "say", "text": "hi"}, [{"type": "said", "text": "sea:hi"}]),
    ({"type": "say", "ref": "a", "text": "hi"}, [{"type": "said", "re": "a", "text": "sea:hi"}]),
    ({"type": "say", "ref": 0, "text": "hi"}, [{"type": "said", "re": 0, "text": "sea:hi"}]),
    ({"type": "say", "ref": "", "text": "hi"}, [{"type": "said", "re": "", "text": "sea:hi"}]),
    ({"type": "say", "ref": 2**53 - 1, "text": "hi"}, [{"type": "said", "re": 2**53 - 1, "text": "sea:hi"}]),
    ({"type": "say", "ref": "x" * 64, "text": "hi"}, [{"type": "said", "re": "x" * 64, "text": "sea:hi"}]),
    ({"type": "item", "ref": 8, "id": 41}, [{"type": "item", "re": 8, "id": 42}]),
    ({"type": "count", "ref": 1, "n": 3}, [*TICKS, {"type": "end", "re": 1}]),
    ({"type": "count", "ref": 1, "n": 0}, [{"type": "end", "re": 1}]),
    ({"type": "count", "n": 2}, [{"type": "tick", "n": n} for n in range(2)]),
    ({"type": "wait", "ref": 1}, [{"type": "done", "re": 1}]),
    ({"type": "wait"}, []),
    ({"type": "cancel", "ref": 99}, []),
    ({"type": "answer", "re": 99, "a": "late"}, []),
    (
        {"type": "say", "ref": 5, "text": "x" * 11},
        [error("invalid_message", 5, path="$.text", detail="expected at most 10 characters")],
    ),
    ({"type": "say", "text": 1}, [error("invalid_message", path="$.text", detail="expected text, got an integer")]),
    ({"type": "nope", "ref": 4}, [error("unknown_type", 4, path="$.type")]),
    ({"type": "nope"}, [error("unknown_type", path="$.type")]),
    ({"ref": 4}, [error("invalid_message", 4, path="$.type", detail="missing")]),
    ({"type": "done", "ref": 4}, [error("unknown_type", 4, path="$.type")]),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "answered"), LINES, ids=[json.dumps(sent)[:60] for sent, _ in LINES])
async def test_line(sent: Message, answered: list[Message], autojump_clock: MockClock) -> None:
    """Each message is answered like this, and the next one is handled."""
    async with talking(chat()) as talker:
        await talker.say(sent)
        heard = await talker.hear_many(len(answered))
        for one in heard:
            if one.get("code") == "unknown_type":
                one.pop("detail", None)
        assert heard == answered
        await talker.silence(5)
        assert await talker.ask({"type": "say", "ref": "after", "text": "!"}) == {
            "type": "said", "re": "after", "text": "sea:!",
        }  # fmt: skip


@pytest.mark.parametrize("ref", [-1, 2**53, 1.5, "x" * 65, "€" * 22, True, [], {}], ids=repr)
async def test_what_is_no_ref(ref: object, autojump_clock: MockClock) -> None:
    """What can be no ref is an error, which cannot say whose it is."""
    async with talking(chat()) as talker:
        heard = await talker.ask({"type": "say", "ref": ref, "text": "hi"})
        assert heard["code"] == "invalid_message"
        assert heard["path"] == "$.ref"
        assert "re" not in heard


async def test_a_cancel_of_what_is_no_ref_is_an_error(autojump_clock: MockClock) -> None:
    """A cancel without a ref, or with a wrong one, is an invalid message."""
    async with talking(chat()) as talker:
        for message in ({"type": "cancel"}, {"type": "cancel", "ref": -1}, {"type": "cancel", "ref": "x" * 65}):
            assert (await talker.ask(message))["code"] == "invalid_message"


async def test_a_ref_in_use_is_refused(autojump_clock: MockClock) -> None:
    """The second event with a ref that is in use is an error at once; the first goes on, and its ref is free then."""
    async with talking(chat()) as talker:
        await talker.say({"type": "wait", "ref": 1}, {"type": "wait", "ref": 1})
        assert await talker.hear_many(2) == [error("duplicate_ref", 1), {"type": "done", "re": 1}]
        assert await talker.ask({"type": "wait", "ref": 1}) == {"type": "done", "re": 1}


async def test_the_ref_of_a_waiting_event_is_in_use_too(autojump_clock: MockClock) -> None:
    """A ref is in use from the moment its message has come, although others are handled before."""
    async with talking(chat()) as talker:
        await talker.say({"type": "wait", "ref": 1}, {"type": "wait", "ref": 2}, {"type": "wait", "ref": 2})
        assert await talker.hear() == error("duplicate_ref", 2)
        assert await talker.hear_many(2) == [{"type": "done", "re": 1}, {"type": "done", "re": 2}]


async def test_an_integer_and_a_text_are_two_refs(autojump_clock: MockClock) -> None:
    """1 and "1" are not the same."""
    async with talking(chat()) as talker:
        await talker.say({"type": "count", "ref": 1, "n": 0}, {"type": "count", "ref": "1", "n": 0})
        assert await talker.hear_many(2) == [{"type": "end", "re": 1}, {"type": "end", "re": "1"}]


async def test_the_server_asks_from_inside_an_event(autojump_clock: MockClock) -> None:
    """A question has a ref of the server's, and its answer the same as re."""
    async with talking(chat()) as talker:
        assert await talker.ask({"type": "ask", "ref": 7}) == {"type": "ask", "ref": 1, "q": "sure?"}
        assert await talker.ask({"type": "answer", "re": 1, "a": "yes"}) == {"type": "said", "re": 7, "text": "yes"}


async def test_message_pack(autojump_clock: MockClock) -> None:
    """The same in binary: refs, done, errors, cancels, streams and questions."""
    app = App(codec=MessagePack())
    app.route("/", guard=public)(chat())
    async with connect(app, "/") as client:

        async def ask(message: Message, answers: int = 1) -> list[object]:
            await client.send(msgspec.msgpack.encode(message))
            received = [await client.receive() for _ in range(answers)]
            assert all(isinstance(one, bytes) for one in received)
            return [msgspec.msgpack.decode(one) for one in received if isinstance(one, bytes)]

        assert await ask({"type": "say", "ref": 7, "text": "hi"}) == [{"type": "said", "re": 7, "text": "sea:hi"}]
        assert await ask({"type": "wait", "ref": "b"}) == [{"type": "done", "re": "b"}]
        assert await ask({"type": "count", "ref": 1, "n": 1}, 2) == [
            {"type": "tick", "re": 1, "n": 0}, {"type": "end", "re": 1},
        ]  # fmt: skip
        await client.send(msgspec.msgpack.encode({"type": "wait", "ref": 2, "seconds": 100.0}))
        assert await ask({"type": "cancel", "ref": 2}) == [error("cancelled", 2)]
        assert await ask({"type": "ask", "ref": 7}) == [{"type": "ask", "ref": 1, "q": "sure?"}]
        assert await ask({"type": "answer", "re": 1, "a": "yes"}) == [{"type": "said", "re": 7, "text": "yes"}]
        await client.send('{"type": "say", "text": "hi"}')
        refused = await client.receive()
        assert isinstance(refused, bytes)
        assert msgspec.msgpack.decode(refused) == error("invalid_message", path="$", detail="expected a binary message")


async def test_raw_messages_beside_typed_ones(autojump_clock: MockClock) -> None:
    """`bytes` takes binary messages on a route in JSON, and `str` text on one in MessagePack."""
    events = Events[Anonymous]()

    @events.on(bytes)
    async def binary(conn: Connection[Anonymous], message: bytes) -> Said:
        return Said(message.decode())

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> Said:
        return Said(message.text)

    async with talking(events) as talker:
        await talker.client.send(b"raw")
        assert await talker.hear() == {"type": "said", "text": "raw"}
        assert await talker.ask({"type": "say", "ref": 1, "text": "hi"}) == {"type": "said", "re": 1, "text": "hi"}

    packed = Events[Anonymous]()

    @packed.on(str)
    async def text(conn: Connection[Anonymous], message: str) -> Said:
        return Said(message)

    app = App(codec=MessagePack())
    app.route("/", guard=public)(packed)
    async with connect(app, "/") as client:
        await client.send("raw")
        received = await client.receive()
        assert isinstance(received, bytes)
        assert msgspec.msgpack.decode(received) == {"type": "said", "text": "raw"}


async def test_a_binary_message_that_nobody_takes_is_invalid(autojump_clock: MockClock) -> None:
    """Without a handler for `bytes`, a binary message on a route in JSON is refused."""
    async with talking(chat()) as talker:
        await talker.client.send(b"raw")
        assert await talker.hear() == error("invalid_message", path="$", detail="expected a text message")


async def test_one_handler_for_a_union(autojump_clock: MockClock) -> None:
    """A handler may take several types, and is called with values of each."""

    @frozen
    class Join:
        room: str

    @frozen
    class Leave:
        room: str

    events = Events[Anonymous]()

    @events.on(Join | Leave)
    async def either(conn: Connection[Anonymous], message: Join | Leave) -> Said:
        return Said(f"{type(message).__name__} {message.room}")

    async with talking(events) as talker:
        for type_, name in (("join", "Join"), ("leave", "Leave")):
            assert (await talker.ask({"type": type_, "room": "x"}))["text"] == f"{name} x"


async def test_sends_and_pushes(autojump_clock: MockClock) -> None:
    """`sends` is about `Connection.send` while the events run; answers may be any value, and so may text and bytes."""
    events = Events[Anonymous](sends=Tick)
    refused: list[str] = []

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> Said:
        await conn.send(Tick(1))
        conn.send_nowait("text")
        for send in (conn.send(Said("no")), conn.send(Say("no"))):
            with pytest.raises(TypeError) as caught:
                await send
            refused.append(str(caught.value))
        with pytest.raises(TypeError):
            conn.send_nowait(Said("no"))
        return Said("as an answer")

    app = App()

    @app.route("/", guard=public)
    async def before_and_after(conn: Connection[Anonymous]) -> None:
        await conn.send(Said("before"))
        with trio.move_on_after(10):
            await events(conn)
        await conn.send(Said("after"))

    async with talking(app) as talker:
        assert (await talker.hear())["text"] == "before"
        assert await talker.ask({"type": "say", "text": "hi"}) == {"type": "tick", "n": 1}
        assert await talker.client.receive() == "text"
        assert await talker.hear() == {"type": "said", "text": "as an answer"}
        assert (await talker.hear())["text"] == "after"
    assert refused == [
        f"a {name} is none of what is sent here; add it to Events(sends=...)" for name in ("Said", "Say")
    ]


@frozen
class Page(Generic[T]):
    """A generic message."""

    items: list[T]


async def test_generic_values_are_known_by_annotations(autojump_clock: MockClock) -> None:
    """A generic value can be sent if the handler that returns it, or `sends`, says of what it is."""
    events = Events[Anonymous](sends=Page[Tick])

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> Page[Tick]:
        await conn.send(Page([Tick(0)]))
        return Page([Tick(1)])

    @events.on(Count)
    async def count(conn: Connection[Anonymous], message: Count) -> AsyncIterator[Page[Tick]]:
        yield Page([Tick(2)])

    async with talking(events) as talker:
        await talker.say({"type": "say", "ref": 1, "text": "hi"})
        assert await talker.hear_many(2) == [
            {"type": "page", "items": [{"n": 0}]}, {"type": "page", "re": 1, "items": [{"n": 1}]},
        ]  # fmt: skip
        await talker.say({"type": "count", "ref": 2})
        assert await talker.hear() == {"type": "page", "re": 2, "items": [{"n": 2}]}


async def test_an_answer_keeps_the_bytes_of_its_frame(autojump_clock: MockClock) -> None:
    """What is sent is the JSON that the codec makes, once."""
    async with talking(chat()) as talker:
        await talker.say({"type": "say", "ref": 1, "text": "€"})
        received = await talker.client.receive()
        assert received == '{"type":"said","re":1,"text":"sea:€"}'
        assert decoded(received)["re"] == 1
