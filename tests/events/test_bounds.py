"""What nobody can make grow, and what is left when it is over."""

from __future__ import annotations

import ast
import gc
import json
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import JSON, Anonymous, Connection, Events, Limits
from seawall.connection.message_format import MessageFormat
from seawall.connection.state import ConnectionState
from seawall.events import conversation
from seawall.events.conversation import Conversation
from seawall.events.running import MAX_STREAMS
from seawall.testing import connect, serve
from tests.kit.memory import living
from tests.kit.talk import Answer, Ask, Count, Said, Say, Talker, Wait, app_of, chat, error, talking
from tests.kit.wire import TEXT, frame, request, take

SOURCE = Path(conversation.__file__).parent


def test_who_starts_tasks() -> None:
    """In events/ one place starts tasks, in the connection's nursery, and nobody opens a nursery of their own."""
    found = [
        f"{path.stem}: {ast.unparse(node.func)}"
        for path in sorted(SOURCE.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("start_soon", "start", "open_nursery", "spawn_system_task")
    ]
    assert found == ["conversation: self._conn.nursery.start_soon"]


def conversations() -> Generator[Conversation[object]]:
    """Those that exist."""
    for one in gc.get_objects():
        if isinstance(one, Conversation):
            yield one


@pytest.mark.parametrize("how", ["the peer closes", "the peer vanishes", "the app closes", "an event fails"])
async def test_nothing_is_left(how: str, autojump_clock: MockClock) -> None:
    """However a connection with events of every kind ends: no task, no entry in a table, no conversation."""
    events = chat()

    @events.on(bytes)
    async def raw(conn: Connection[Anonymous], message: bytes) -> None:
        if message == b"close":
            await conn.aclose()
        raise ValueError

    known, before = list(conversations()), living()  # an exception of another test may keep some
    async with serve(app_of(events)) as serving:
        served = living()
        async with serving.connect("/") as client:
            talker = Talker(client)
            await talker.say(*({"type": "count", "ref": f"s{n}", "n": 10_000} for n in range(3)))
            await talker.say({"type": "ask", "ref": "q"}, {"type": "wait", "ref": "w", "seconds": 99})
            await talker.say({"type": "say", "ref": "x", "text": "waits"}, {"type": "cancel", "ref": "q"})
            await wait_all_tasks_blocked()
            match how:
                case "the peer closes":
                    await client.aclose()
                case "the peer vanishes":
                    client.reset()
                case _:
                    await talker.say({"type": "cancel", "ref": "w"})
                    await client.send(b"close" if how == "the app closes" else b"fail")
                    await talker.end()
        await trio.sleep(60)
        assert living() == served
        assert not events._running  # pyright: ignore[reportPrivateUsage] # what leaks, leaks in here
    assert living() == before
    gc.collect()
    assert [one for one in conversations() if one not in known] == []


async def test_the_tables_are_empty_between_events(autojump_clock: MockClock) -> None:
    """While nothing runs, a conversation holds no ref, no scope and no question."""
    events = chat()
    async with talking(events) as talker:
        await talker.say(*({"type": "count", "ref": n, "n": 2} for n in range(3 * MAX_STREAMS)))
        await talker.hear_many(9 * MAX_STREAMS)
        for n in range(5):
            await talker.ask({"type": "ask", "ref": n})
            await talker.ask({"type": "answer", "re": n + 1, "a": ""})
            await talker.say({"type": "wait", "ref": n, "seconds": 99})
            await talker.ask({"type": "cancel", "ref": n})
            await talker.ask({"type": "wait", "ref": n})
        ((state, running),) = events._running.items()  # pyright: ignore[reportPrivateUsage] # as above
        assert isinstance(state, ConnectionState)
        table = running._running  # pyright: ignore[reportPrivateUsage] # as above
        assert not table
        assert not table._by_ref  # pyright: ignore[reportPrivateUsage] # as above
        assert not running._questions  # pyright: ignore[reportPrivateUsage] # as above
        assert not running._reading.ahead  # pyright: ignore[reportPrivateUsage] # as above


@pytest.mark.parametrize("sends", [None, Said])
def test_servers_that_come_and_go(sends: type[Said] | None) -> None:
    """An `Events` keeps nothing of the servers whose routes it has handled."""
    events = Events[Anonymous](sends=sends)

    @events.on(Say)
    async def say(conn: Connection[Anonymous], message: Say) -> None: ...

    for _ in range(3):
        events._protocol_of(MessageFormat(JSON(), "/"))  # pyright: ignore[reportPrivateUsage] # as above
    gc.collect()
    assert not events._protocols  # pyright: ignore[reportPrivateUsage] # as above


async def test_a_slow_reader(autojump_clock: MockClock) -> None:
    """Streams wait for a peer that does not read, and it is cut off in its time; others are not concerned."""
    events = Events[Anonymous]()
    yielded = 0

    @events.on(Count)
    async def count(conn: Connection[Anonymous], message: Count) -> AsyncGenerator[Said]:
        nonlocal yielded
        while True:
            yield Said("x" * 1000)
            yielded += 1

    async with serve(app_of(events, limits=Limits(outbound_buffer=10_000, send_timeout=5))) as serving:
        async with serving.connect("/") as client:
            client.stall()
            await Talker(client).say(*({"type": "count", "ref": n} for n in range(MAX_STREAMS + 3)))
            await trio.sleep(4)
            assert yielded < 40
            await trio.sleep(10)
        assert not events._running  # pyright: ignore[reportPrivateUsage] # as above


@pytest.mark.parametrize(
    ("message", "answers"),
    [
        ({"type": "say", "text": "a"}, 0),
        ({"type": "cancel", "ref": 1}, 0),
        ({"type": "answer", "re": 1, "a": "a"}, 0),
        ({"type": "wait", "ref": 1, "seconds": 0}, 1),
    ],
    ids=["events", "cancels", "answers", "refs"],
)
async def test_a_flood(message: dict[str, object], answers: int, autojump_clock: MockClock) -> None:
    """A hundred thousand messages in a row, of which nobody is the wiser: others are served meanwhile."""
    events = Events[Anonymous]()
    handled = 0

    @events.on(Say)
    async def say(conn: Connection[Anonymous], said: Say) -> None:
        nonlocal handled
        handled += 1

    @events.on(Wait)
    async def wait(conn: Connection[Anonymous], message: Wait) -> None: ...

    count = 20_000 if answers else 100_000
    async with serve(app_of(events)) as serving, serving.connect("/") as other:
        stream = serving.open_stream()
        async with stream:
            await stream.send_all(request("/", host=b"testserver"))
            heard = bytearray()
            while b"\r\n\r\n" not in heard:
                heard += await stream.receive_some()
            del heard[: heard.index(b"\r\n\r\n") + 4]
            one = frame(TEXT, json.dumps(message).encode())
            async with trio.open_nursery() as nursery:
                finished = trio.Event()

                async def read() -> None:
                    found, last = 0, None
                    while found < count * answers + 1:
                        while (got := take(heard)) is not None:
                            found += 1
                            last = json.loads(got.payload)
                        if found < count * answers + 1:
                            heard.extend(await stream.receive_some())
                    assert last == {"type": "done", "re": "last"}
                    finished.set()

                nursery.start_soon(read)
                for _ in range(count // 1000):
                    await stream.send_all(one * 1000)
                    if handled % 10_000 == 0:
                        assert await Talker(other).ask({"type": "wait", "ref": 1}) == {"type": "done", "re": 1}
                await stream.send_all(frame(TEXT, b'{"type": "wait", "ref": "last"}'))
                await finished.wait()
    if message["type"] == "say":
        assert handled == count


async def test_a_flood_behind_an_event(autojump_clock: MockClock) -> None:
    """While an event runs, so many are looked at as ``inbound_queue`` says; the rest is not even read for ever."""
    async with connect(app_of(chat(), limits=Limits(inbound_queue=8, inbound_buffer=2**20 * 4)), "/") as client:
        talker = Talker(client)
        await talker.say({"type": "wait", "ref": "w", "seconds": 9})
        await talker.say(*({"type": "say", "ref": n, "text": ""} for n in range(20)), {"type": "cancel", "ref": "w"})
        await talker.silence(5)  # the cancel is behind more than is looked at
        assert [one["re"] for one in await talker.hear_many(21)] == ["w", *range(20)]
        await talker.say({"type": "wait", "ref": "w", "seconds": 9})
        await talker.say(*({"type": "say", "ref": n, "text": ""} for n in range(7)), {"type": "cancel", "ref": "w"})
        assert await talker.hear() == error("cancelled", "w")


async def test_a_hundred_questions(autojump_clock: MockClock) -> None:
    """Many tasks may wait for answers at once."""
    events = Events[Anonymous]()
    answered: list[str] = []

    @events.on(Wait)
    async def wait(conn: Connection[Anonymous], message: Wait) -> None:
        async def ask() -> None:
            answered.append((await events.request(conn, Ask(), Answer, timeout=9)).a)

        for _ in range(100):
            conn.nursery.start_soon(ask)

    async with talking(events) as talker:
        await talker.say({"type": "wait"})
        refs = [one["ref"] for one in await talker.hear_many(100)]
        await talker.say(*({"type": "answer", "re": ref, "a": str(ref)} for ref in reversed(refs)))
        await wait_all_tasks_blocked()
        assert sorted(answered, key=int) == [str(n) for n in range(1, 101)]
        await trio.sleep(20)
