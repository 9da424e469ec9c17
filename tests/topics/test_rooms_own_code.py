"""Code of the application that rooms call, or are used by: keys that fail late, checks that come late, odd tasks."""

from __future__ import annotations

from collections.abc import Hashable
from typing import cast, final

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, ConfigurationError, Connection, Forbidden, Limits, public
from seawall.rooms import DropOldest, Gap, Kicked, Latest, PresenceChange, RoomEvent
from seawall.testing import serve
from tests.kit.presence import Who, meeting
from tests.kit.rooms import Said, held, in_memory, table_entries
from tests.kit.tokens import by, token


@final
class Key:
    """A key that cannot be hashed any more once `is_broken`."""

    is_broken = False

    def __hash__(self) -> int:
        """Fail, or not."""
        if Key.is_broken:
            raise LookupError("no hash")
        return 1


async def test_a_key_that_fails_when_it_is_given_up(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """It ends those who read by it; publishers, other rooms and the tables notice nothing."""
    app = App(limits=Limits(room_history=10_000))
    broken, other = app.topic("broken", Said, history=100), app.topic("other", Said, history=100)
    failures: list[BaseException] = []

    def key(_: Said) -> Hashable:
        return Key()

    async def read() -> None:
        try:
            async with broken().events(lag=Latest(key)) as events:
                await anext(events)
                await trio.sleep_forever()
        except LookupError as failure:
            failures.append(failure)

    async with in_memory(app), trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(read)
        await wait_all_tasks_blocked()
        number = 0
        while held(app) < 9_000:
            await broken().publish(Said(number := number + 1))
        monkeypatch.setattr(Key, "is_broken", True)
        for number in range(200):
            await other().publish(Said(number))
        assert held(app) <= 10_000
        await broken().publish(Said(6))
        await wait_all_tasks_blocked()
        assert len(failures) == 20
        assert [event.value.number for event in await other().history(1)] == [199]
    assert table_entries(app) == {}


@define(eq=False)
class Keys:
    """Whose method is a key function."""

    calls: list[int] = field(factory=list[int])

    def of(self, value: Said) -> int:
        """Count."""
        self.calls.append(value.number)
        return value.number


async def test_a_method_is_one_key_function(autojump_clock: MockClock) -> None:
    """However often it is looked up: it is called once for each event, for all who read by it."""
    app, keys = App(), Keys()
    room = app.topic("rooms", Said)()
    async with in_memory(app), room.events(lag=Latest(keys.of)), room.events(lag=Latest(keys.of)):
        await room.publish(Said(1))
        await room.publish(Said(2))
        assert keys.calls == [1, 2]


async def test_a_room_of_before_the_check(autojump_clock: MockClock) -> None:
    """Nobody reads a room by the topic that `readable` has replaced, though it was made before."""
    app = App()
    topic = app.topic("rooms", Said, history=10)
    before = topic()

    async def nobody(_: Anonymous) -> None:
        raise Forbidden("nobody")

    topic.readable(nobody)

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        with pytest.raises(ConfigurationError, match=r"subscribed to after readable\(\).*use what readable"):
            conn.subscribe(before)
        with pytest.raises(ConfigurationError, match="asked for its history after"):
            await before.history(1, to=conn)
        with pytest.raises(ConfigurationError, match="asked for its history after"):
            await before.history(1)
        await conn.send("refused")

    async with serve(app) as server, server.connect("/") as client:
        assert await client.receive() == "refused"


async def test_who_was_kicked_is_given_no_history(autojump_clock: MockClock) -> None:
    """As no subscription; nor is a connection of another app."""
    app, other = App(), App()
    room, elsewhere = app.topic("rooms", Said, history=10)(), other.topic("rooms", Said, history=10)()

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        await room.publish(Said(1))
        assert [event.value.number for event in await room.history(1, to=conn)] == [1]
        await room.kick(connection=conn.id)
        with pytest.raises(Kicked):
            await room.history(1, to=conn)
        with pytest.raises(ConfigurationError, match=r"history\(\) of a room of 'rooms', which is another app's"):
            await elsewhere.history(1, to=conn)
        await conn.send("refused")

    async with serve(other), serve(app) as server, server.connect("/") as client:
        assert await client.receive() == "refused"


async def test_what_a_wrap_brings_about_is_told_after_the_snapshot(mock_clock: MockClock) -> None:
    """A `wrap` that looks who is there, just as somebody's time is over, is told so, as of any other change."""
    met, told = meeting(linger=10), list[str]()

    def wrap(event: RoomEvent[PresenceChange[Who]] | Gap) -> str | None:
        assert isinstance(event, RoomEvent)
        told.append(type(event.value).__name__)
        if len(told) == 1:
            assert met.names() == ["ada"]
            mock_clock.jump(11)
            assert met.names() == []
        return None

    @met.app.route("/looking", guard=public)
    async def look(conn: Connection[Anonymous]) -> None:
        async with conn.subscribe(met.room(), wrap=wrap):
            await conn.receive()

    async with serve(met.app) as server:
        async with server.connect("/tea/ada", headers=by(token("ada"))) as ada:
            assert await ada.receive() == "in"
            ada.reset()
        await wait_all_tasks_blocked()
        async with server.connect("/looking"):
            await wait_all_tasks_blocked()
            assert told == ["Snapshot", "Left"]


async def test_a_task_that_the_body_does_not_wait_for(autojump_clock: MockClock) -> None:
    """One of an outer nursery that waits for the next event is told that there will be none."""
    app, over = App(), list[str]()
    room = app.topic("rooms", Said)()
    async with in_memory(app), trio.open_nursery() as nursery:

        async def read() -> None:
            async for _ in events:
                over.append("read")
            over.append("over")

        async with room.events() as events:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert over == ["over"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ttl", [1e-12, 0.000_999])
def test_a_time_that_no_clock_tells(ttl: float) -> None:
    """A history that is over as it begins is refused where it is defined."""
    with pytest.raises(ConfigurationError, match="give a number of seconds"):
        App().topic("rooms", Said, history=1, ttl=ttl)


async def test_mistakes_name_the_call(autojump_clock: MockClock) -> None:
    """Not another one that takes the same."""
    app = App()
    room = app.topic("rooms", Said)()
    async with in_memory(app):
        with pytest.raises(ConfigurationError, match=r"^events: lag=3; give DropOldest\(n\)"):
            room.events(lag=cast("DropOldest", 3))
    with pytest.raises(ConfigurationError, match=r"^presence pattern '/people': .* is no path; write 'people'"):
        app.presence("/people", Who)
