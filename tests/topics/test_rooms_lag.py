"""Readers who are behind: from where what waits is counted, what it costs meanwhile, and where they go on."""

from __future__ import annotations

import json

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, Connection
from seawall.rooms import Disconnect, DropNewest, DropOldest, Gap, Lag, Latest, Position, Room, RoomEvent, Topic
from tests.kit.memory import text
from tests.kit.rooms import PATIENT, Said, by_key, held, in_memory, network_of, pinned, room_app, take, tell


async def say(room: Room[Said], numbers: range, *, at_once: bool) -> list[Position]:
    """Publish, in one go or so that everybody has a turn after each of them."""
    places = list[Position]()
    for number in numbers:
        places.append(room.publish_nowait(Said(number)))
        if not at_once:
            await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()
    return places


@pytest.mark.parametrize("lag", [DropOldest(3), DropNewest(3), Disconnect(3)])
async def test_one_burst_after_the_other(lag: Lag[Said], autojump_clock: MockClock) -> None:
    """Who reads each of them costs itself nothing, though it is busy whenever one comes."""
    app = App()
    room = app.topic("rooms/{room}", Said)(room="x")
    async with in_memory(app), room.events(lag=lag) as events:
        for first in range(0, 50, 10):
            await say(room, range(first, first + 10), at_once=True)
            assert await take(events, 10) == [*range(first, first + 10)]


async def test_so_many_at_once_as_may_wait(autojump_clock: MockClock) -> None:
    """They are no burst: one more, and something is lost."""
    app = App()
    room = app.topic("rooms/{room}", Said)(room="x")
    async with in_memory(app), room.events(lag=DropOldest(3)) as events:
        await say(room, range(3), at_once=True)
        await say(room, range(3, 4), at_once=True)
        assert await take(events, 4) == ["1 lost", 1, 2, 3]


async def test_what_is_new_behind_a_burst(autojump_clock: MockClock) -> None:
    """`DropNewest` keeps the burst, and so many of what comes then as may wait; what else comes is lost."""
    app = App()
    room = app.topic("rooms/{room}", Said)(room="x")
    async with in_memory(app), room.events(lag=DropNewest(3)) as events:
        await say(room, range(10), at_once=True)
        await say(room, range(10, 15), at_once=False)
        assert await take(events, 14) == [*range(13), "2 lost"]
        await say(room, range(15, 16), at_once=False)
        assert await take(events, 1) == [15]
        assert pinned(app) == 0


async def test_more_is_lost_than_nobody_knows(autojump_clock: MockClock) -> None:
    """A gap of unknown size stays one when its reader loses more before it has been told."""
    app = App()
    room = app.topic("rooms/{room}", Said, history=20)(room="x")
    async with in_memory(app):
        await say(room, range(2), at_once=True)
        async with room.events(since=Position("elsewhere", 1), lag=DropOldest(3)) as events:
            await say(room, range(2, 12), at_once=False)
            assert await take(events, 4) == ["None lost", 9, 10, 11]


async def test_who_reads_the_newest_holds_nothing_else(autojump_clock: MockClock) -> None:
    """Whoever is behind by `Latest` costs one event for each key, however many come."""
    app = App()
    room = app.topic("rooms/{room}", Said)(room="x")
    async with in_memory(app), room.events(lag=Latest(by_key)) as events:
        room.publish_nowait(Said(0, key=0))
        await wait_all_tasks_blocked()
        one = held(app)
        for number in range(1, 500):
            room.publish_nowait(Said(number, key=number % 2))
            if number % 10 == 0:
                await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert 2 * one <= held(app) < 5 * one
        assert pinned(app) == 2
        assert await take(events, 2) == [498, 499]


async def test_a_slow_peer_has_one_burst_for_nothing(autojump_clock: MockClock) -> None:
    """While it has not had all of that, what comes then is counted, also if it has taken some meanwhile."""

    async def read(conn: Connection[object], _: str) -> None:
        async with conn.subscribe(said(room="x"), lag=DropOldest(10), wrap=tell_at_length):
            await trio.sleep_forever()

    def tell_at_length(event: RoomEvent[Said] | Gap) -> Said:
        return Said(-(event.lost or 0)) if isinstance(event, Gap) else Said(event.value.number, filling="x" * 5_000)

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said)
    async with in_memory(app) as dial:
        peer = await dial("/a")
        await wait_all_tasks_blocked()
        network_of(peer).stall()
        await say(said(room="x"), range(100), at_once=True)
        await say(said(room="x"), range(100, 108), at_once=False)
        network_of(peer).resume()
        got = [json.loads(await peer.message())["number"]]
        network_of(peer).stall()
        await say(said(room="x"), range(108, 116), at_once=False)
        network_of(peer).resume()
        while got[-1] != 115:
            got.append(json.loads(await peer.message())["number"])
        gap = next(at for at, number in enumerate(got) if number < 0)
        assert 1 <= gap < 50
        assert got == [*range(gap), gap - 106, *range(106, 116)]


async def test_where_who_is_behind_goes_on(autojump_clock: MockClock) -> None:
    """Right behind what it was handed, as long as it has not been told of what is lost since then."""
    positions, since = list[Position](), list[Position]()

    async def read(conn: Connection[object], name: str) -> None:
        await conn.receive()
        if name == "resumes":
            await conn.send("something that waits")
        lag: Lag[Said] = Latest(by_key) if name == "resumes" else DropOldest(3)
        async with conn.subscribe(said(room="x"), since=since[0], lag=lag, wrap=tell) as subscription:
            await conn.receive()
            positions.append(subscription.position)
            await trio.sleep_forever()

    app = room_app(read)
    said: Topic[Said] = app.topic("rooms/{room}", Said, history=5)
    async with in_memory(app) as dial:
        at = await say(said(room="x"), range(10), at_once=True)
        since.append(at[9])
        behind = await dial("/behind")
        await behind.say(text("go"))
        await wait_all_tasks_blocked()
        network_of(behind).stall()
        at += await say(said(room="x"), range(10, 20), at_once=False)
        await behind.say(text("where?"))
        await wait_all_tasks_blocked()
        assert positions == [at[10]]  # the one that is on its way
        network_of(behind).resume()
        got = [json.loads(await behind.message()) for _ in range(5)]
        assert [one.get("number", one.get("lost")) for one in got] == [10, 6, 17, 18, 19]

        since[0] = at[3]
        resumes = await dial("/resumes")
        network_of(resumes).stall()
        await resumes.say(text("go"), text("where?"))
        await wait_all_tasks_blocked()
        assert positions[1:] == [at[3]]
        network_of(resumes).resume()
        assert await resumes.message() == "something that waits"
        gap, event = [json.loads(await resumes.message()) for _ in range(2)]
        assert (gap["lost"], gap["before"], event["number"]) == (11, str(at[14]), 19)


async def test_positions_among_the_newest_of_each_key(autojump_clock: MockClock) -> None:
    """Where all is known that has been published since, nothing is missed; where it is not, a gap says so."""
    app = App()
    newest = app.topic("newest/{room}", Said, history=2, lag=Latest(by_key))(room="x")
    room = app.topic("rooms/{room}", Said, history=2)(room="x")
    async with in_memory(app):
        at = [newest.publish_nowait(Said(number, key=number % 3)) for number in range(10)]
        first: dict[int, list[int | str]] = {
            0: [7, 8, 9],  # who read before anything was published
            5: [7, 8, 9],
            9: [9],
            10: [],
            11: ["None lost", 7, 8, 9],  # nobody has been told of that one
        }
        for since, expected in first.items():
            async with newest.events(since=Position(at[0].epoch, since)) as events:
                assert await take(events, len(expected)) == expected
                with trio.move_on_after(1) as waiting:
                    await anext(events)
                assert waiting.cancelled_caught
        at = [room.publish_nowait(Said(number, key=number)) for number in range(10)]
        second: dict[int, list[int | str]] = {7: ["1 lost", 8, 9], 8: [8, 9], 9: [9], 11: ["None lost", 8, 9]}
        for since, expected in second.items():
            async with room.events(since=Position(at[0].epoch, since), lag=Latest(by_key)) as events:
                assert await take(events, len(expected)) == expected


async def test_the_newest_of_a_key_is_too_old_for_who_comes_back(autojump_clock: MockClock) -> None:
    """Who was away while it came is told of a gap instead; who had it misses nothing."""
    app = App()
    room = app.topic("rooms/{room}", Said, history=1, ttl=10, lag=Latest(by_key))(room="x")
    async with in_memory(app):
        at = [room.publish_nowait(Said(number, key=number)) for number in range(4)]
        await trio.sleep(6)
        at += [room.publish_nowait(Said(number, key=number)) for number in range(4, 6)]
        await trio.sleep(6)
        first: dict[int, list[int | str]] = {
            0: ["None lost", 4, 5],
            3: ["None lost", 4, 5],
            4: [4, 5],
            5: [5],
            6: [],
        }
        for since, expected in first.items():
            async with room.events(since=Position(at[0].epoch, since)) as events:
                assert await take(events, len(expected)) == expected
        room.publish_nowait(Said(6, key=0))
        await trio.sleep(6)
        second: dict[int, list[int | str]] = {0: ["None lost", 6], 5: ["None lost", 6], 6: [6]}
        for since, expected in second.items():
            async with room.events(since=Position(at[0].epoch, since)) as events:
                assert await take(events, len(expected)) == expected
        await trio.sleep(5)
        async with room.events(since=Position(at[0].epoch, 3)) as events:
            assert await take(events, 1) == ["None lost"]
            room.publish_nowait(Said(7))
            assert await take(events, 1) == [7]


async def test_two_who_read_the_newest_in_two_ways(autojump_clock: MockClock) -> None:
    """By one function, but of so many keys each: whoever has room for more keys is told of no gap."""
    app = App()
    room = app.topic("rooms/{room}", Said)(room="x")
    async with (
        in_memory(app),
        room.events(lag=Latest(by_key, at_most=2)) as some,
        room.events(lag=Latest(by_key)) as everything,
    ):
        for number in range(5):
            room.publish_nowait(Said(number, key=number))
        await wait_all_tasks_blocked()
        assert await take(some, 3) == ["None lost", 3, 4]
        assert await take(everything, 5) == [*range(5)]


async def test_the_newest_are_kept_as_the_topic_says(autojump_clock: MockClock) -> None:
    """Whoever reads by another `Latest` has nothing kept when it has gone."""
    app = App()
    room = app.topic("rooms/{room}", Said, history=1, lag=Latest(by_key, at_most=2))(room="x")
    async with in_memory(app):
        room.publish_nowait(Said(0))
        one = held(app)
        async with room.events(lag=Latest(by_key)) as events:
            assert await take(events, 1) == [0]
        for number in range(100):
            room.publish_nowait(Said(number, key=number))
        async with room.events() as events:
            assert await take(events, 2) == [98, 99]
        assert held(app) < 3 * one


async def test_the_newest_are_kept_behind_a_key_that_failed(autojump_clock: MockClock) -> None:
    """From then on those of each key are kept again, whether or not somebody reads."""

    def key(value: Said) -> int:
        if value.number == 13:
            raise LookupError("of the test")
        return value.key

    app = App()
    room = app.topic("rooms/{room}", Said, history=2, lag=Latest(key))(room="x")
    async with in_memory(app):
        for number in (13, 14, 15):
            room.publish_nowait(Said(number))
        async with room.events() as events:
            assert await take(events, 1) == [15]
        for number in range(20, 30):
            room.publish_nowait(Said(number, key=number))
        async with room.events() as events:
            assert await take(events, 11) == [15, *range(20, 30)]


async def test_the_newest_of_a_key_is_given_up(autojump_clock: MockClock) -> None:
    """When all rooms together hold too much, who reads by `Latest` is told that keys are missing."""
    app = App(limits=evolve(PATIENT, room_history=20_000))
    said = app.topic("rooms/{room}", Said)
    room, other = said(room="x"), said(room="y")
    async with in_memory(app), room.events(lag=Latest(by_key)) as events, other.events(lag=Disconnect(100)):
        for number in range(20):
            room.publish_nowait(Said(number, key=number, filling="x" * 50))
            await wait_all_tasks_blocked()
        for number in range(20):
            other.publish_nowait(Said(number, filling="x" * 150))
        await wait_all_tasks_blocked()
        assert held(app) <= 20_000
        assert await take(events, 1) == ["None lost"]
        rest = list[int | str]()
        while rest[-1:] != [19]:
            rest += await take(events, 1)
        assert len(rest) < 20
        assert rest == [*range(20 - len(rest), 20)]


async def test_the_oldest_are_given_up_first(autojump_clock: MockClock) -> None:
    """Those that are kept for who is far behind go before newer ones that somebody else has not read yet."""
    app = App(limits=evolve(PATIENT, room_history=10_000))
    room = app.topic("rooms/{room}", Said)(room="x")
    async with in_memory(app), room.events(lag=DropNewest(3)) as far_behind:
        for number in range(10):
            room.publish_nowait(Said(number, filling="x" * 400))
            await wait_all_tasks_blocked()
        one = held(app) // 3
        async with room.events(since="joined", lag=Disconnect(100)) as events:
            fit = 10_000 // one
            assert fit > 4
            for number in range(10, 8 + fit):  # one too many
                room.publish_nowait(Said(number, filling="x" * 400))
                await wait_all_tasks_blocked()
            assert await take(far_behind, 3) == ["1 lost", 1, 2]
            assert await take(events, fit - 2) == [*range(10, 8 + fit)]


async def test_what_has_been_read_goes_before_what_is_kept(autojump_clock: MockClock) -> None:
    """When all rooms together hold too much, no history is given up for events that nobody is to read any more."""
    app = App(limits=evolve(PATIENT, room_history=20_000))
    room, other = app.topic("rooms/{room}", Said)(room="x"), app.topic("kept", Said, history=100)()
    async with in_memory(app), room.events() as events:
        for number in range(30):
            room.publish_nowait(Said(number))
            await wait_all_tasks_blocked()
        assert await take(events, 30) == [*range(30)]
        for number in range(45):
            other.publish_nowait(Said(number))
            await wait_all_tasks_blocked()
        assert [event.value.number for event in await other.history(100)] == [*range(45)]


async def test_which_key_is_forgotten(autojump_clock: MockClock) -> None:
    """The one whose newest event is the oldest, however early the others were there first."""
    app = App()
    room = app.topic("rooms/{room}", Said)(room="x")
    async with in_memory(app), room.events(lag=Latest(by_key, at_most=2)) as events:
        for number, key in enumerate((1, 2, 1, 3)):
            room.publish_nowait(Said(number, key=key))
        await wait_all_tasks_blocked()
        assert await take(events, 3) == ["None lost", 2, 3]


async def test_what_waited_for_the_last_reader_is_forgotten(autojump_clock: MockClock) -> None:
    """When it leaves, only what the room keeps for who comes back is still there."""
    app = App()
    room = app.topic("rooms/{room}", Said, history=2)(room="x")
    async with in_memory(app):
        async with room.events(lag=Disconnect(100)):
            await say(room, range(100), at_once=False)
            one = held(app) // 100
        assert held(app) < 3 * one
        assert [event.value.number for event in await room.history(100)] == [98, 99]
