"""Random conversations in virtual time: every ref gets exactly one final reply, and order is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence

import trio
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from seawall import Anonymous, Connection, Events, Forbidden, Limits
from seawall.testing import connect
from tests.kit.talk import Answer, Ask, Message, Talker, app_of

REFS = st.one_of(st.none(), st.integers(0, 4), st.sampled_from(["a", "b"]))
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 3.0])

#: The final replies. Of a stream, what it yields is not final.
FINAL = {"done", "worked", "end", "error"}


@frozen
class Work:
    """Takes so long, and then is answered, or fails, or has nothing to say; it may ask first."""

    number: int
    seconds: float
    how: str


@frozen
class Flow:
    """A stream."""

    number: int
    seconds: float
    values: int


@frozen
class Worked:
    """The answer."""

    number: int


@frozen
class Value:
    """What a stream yields."""

    number: int


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[float, Message]]:
    """What a client sends, and how long it waits before."""
    said: list[tuple[float, Message]] = []
    for number in range(draw(st.integers(1, 25))):
        message: dict[str, object]
        match draw(st.sampled_from(["work", "work", "work", "flow", "cancel", "answer", "nope"])):
            case "work":
                how = draw(st.sampled_from(["return", "nothing", "forbidden", "ask"]))
                message = {"type": "work", "number": number, "seconds": draw(SECONDS), "how": how}
            case "flow":
                message = {
                    "type": "flow",
                    "number": number,
                    "seconds": draw(SECONDS),
                    "values": draw(st.integers(0, 3)),
                }
            case "cancel":
                said.append((draw(SECONDS), {"type": "cancel", "ref": draw(REFS.filter(lambda ref: ref is not None))}))
                continue
            case "answer":
                said.append((draw(SECONDS), {"type": "answer", "re": draw(st.integers(1, 5)), "a": "yes"}))
                continue
            case _:
                message = {"type": "nope"}
        ref = draw(REFS)
        said.append((draw(SECONDS), message if ref is None else message | {"ref": ref}))
    return said


@frozen
class Seen:
    """What happened."""

    heard: list[dict[str, object]]
    begun: list[int]
    ended: list[int]


def working(seen: Seen, concurrent: int) -> Events[Anonymous]:
    """Events that write down what they do."""
    events = Events[Anonymous](concurrent=concurrent)

    @events.on(Work)
    async def work(conn: Connection[Anonymous], message: Work) -> Worked | None:
        seen.begun.append(message.number)
        try:
            await trio.sleep(message.seconds)
            if message.how == "ask":
                await events.request(conn, Ask(), Answer, timeout=2)
            if message.how == "forbidden":
                raise Forbidden("no")
        finally:
            seen.ended.append(message.number)
        return None if message.how == "nothing" else Worked(message.number)

    @events.on(Flow)
    async def flow(conn: Connection[Anonymous], message: Flow) -> AsyncGenerator[Value]:
        for _ in range(message.values):
            yield Value(message.number)
            await trio.sleep(message.seconds)

    return events


def converse(said: Sequence[tuple[float, Message]], concurrent: int) -> Seen:
    """Have the conversation, and wait until nothing more comes."""
    seen = Seen([], [], [])

    async def main() -> None:
        app = app_of(working(seen, concurrent), limits=Limits(max_message_errors=None))
        async with connect(app, "/", timeout=3600) as client, trio.open_nursery() as nursery:

            async def hear() -> None:
                while True:
                    seen.heard.append(json.loads(await client.receive()))

            nursery.start_soon(hear)
            for seconds, message in said:
                await trio.sleep(seconds)
                await Talker(client).say(message)
            await trio.sleep(600)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return seen


def finals(heard: Sequence[dict[str, object]]) -> Counter[object]:
    """How many final replies each ref has got. A reply of 1 and one of "1" are of two refs."""
    return Counter(repr(one["re"]) for one in heard if one["type"] in FINAL and "re" in one)


@given(said=conversations(), concurrent=st.sampled_from([1, 1, 2]))
@settings(deadline=None, max_examples=60)
def test_random_conversations(said: list[tuple[float, Message]], concurrent: int) -> None:
    """As many final replies as messages with that ref, none for those without, and order unless it is waived."""
    seen = converse(said, concurrent)
    asked = Counter(repr(message["ref"]) for _, message in said if "ref" in message and message["type"] != "cancel")
    assert finals(seen.heard) == asked
    without = [message for _, message in said if "ref" not in message and message["type"] in ("work", "nope")]
    loose = [one for one in seen.heard if "re" not in one and one["type"] in FINAL]
    replied = [one for one in without if one["type"] == "nope" or one["how"] != "nothing"]
    assert len(loose) == len(replied)
    assert Counter(seen.begun) == Counter(seen.ended)
    assert max(Counter(seen.begun).values(), default=1) == 1
    assert seen.begun == sorted(seen.begun)
    if concurrent == 1:
        assert seen.ended == seen.begun
