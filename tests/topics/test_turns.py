"""What goes over a large table does some of it in one turn: nobody else waits until it has been over all of it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import final

import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import App, Connection
from seawall.connection.session_table import SessionTable
from seawall.room_event import Gap, RoomEvent
from seawall.topics import engine, lingering
from seawall.topics.keys import RoomKey
from seawall.topics.kicks import RoomConnection
from seawall.topics.presence_changes import PresenceChange, Snapshot
from seawall.topics.presence_rooms import JoinRequest, MemberHandle, PresenceRooms
from tests.kit.presence import Meeting, Who, meeting, watching
from tests.kit.rooms import PATIENT, Said, in_memory, room_app, table_entries
from tests.kit.visitors import Pass, Present, connected


@final
@define(eq=False)
class MostInOneTurn(trio.abc.Instrument):
    """By how much something changes at most between two checkpoints."""

    count: Callable[[], int]
    most: int = 0
    _before: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin to count."""
        self._before = self.count()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See how much it was."""
        now = self.count()
        self.most = max(self.most, abs(now - self._before))
        self._before = now


@contextmanager
def counting(count: Callable[[], int]) -> Generator[MostInOneTurn]:
    """Count during the block."""
    counter = MostInOneTurn(count)
    trio.lowlevel.add_instrument(counter)
    yield counter
    trio.lowlevel.remove_instrument(counter)


def rooms_of(met: Meeting) -> PresenceRooms[Who]:
    """The rooms of its presence."""
    return met.people._rooms  # pyright: ignore[reportPrivateUsage] # a thousand connections would take seconds


async def join(met: Meeting, name: str) -> tuple[MemberHandle[Who], RoomConnection]:
    """Have somebody in the room who has a subject of the same name."""
    rooms, key = rooms_of(met), RoomKey("rooms/{room}", ("tea",))
    owner = RoomConnection(name, connected(SessionTable(at_most=None, kept=60), name, Pass(subject=name)))
    said = rooms.say("joined", Who(name))
    return rooms.enter(JoinRequest(key, await rooms.open(key), owner, said, Present(owner))), owner


async def linger(met: Meeting, count: int) -> None:
    """Have so many linger in the room for ten seconds."""
    for number in range(count):
        handle, owner = await join(met, str(number))
        handle.linger(owner, trio.current_time() + 10)


async def test_many_linger_and_do_not_come_back(autojump_clock: MockClock) -> None:
    """Those whose time is over at once leave some at a time, and all of them are told."""
    met, most = meeting(), lingering.AT_A_TIME
    async with in_memory(met.app), watching(met.room()) as watched:
        await linger(met, 5 * most)
        with counting(lambda: len(rooms_of(met).lingering)) as counter:
            await trio.sleep(20)
        assert counter.most == most
        assert len(watched.left) == 5 * most


async def test_whose_time_is_over_is_not_there(autojump_clock: MockClock) -> None:
    """Though there were so many that most have not left yet; and none of them is taken over."""
    met = meeting()
    async with in_memory(met.app), watching(met.room()) as watched:
        await linger(met, 5 * lingering.AT_A_TIME)
        before = {member.value.name: member.id for member in met.room().members()}
        await trio.sleep(10)
        assert len(rooms_of(met).lingering) >= 4 * lingering.AT_A_TIME
        assert met.names() == []
        last = str(len(before) - 1)
        again, _ = await join(met, last)
        assert again.entry.id != before[last]
        assert met.names() == [last]
        await trio.sleep(1)
        assert list(watched.present) == [again.entry.id]


async def test_many_rooms_become_too_old(autojump_clock: MockClock) -> None:
    """Rooms whose events become too old at once are forgotten some at a time."""
    app, most = App(), engine.AT_A_TIME
    said = app.topic("rooms/{room:int}", Said, history=1, ttl=10)
    async with in_memory(app):
        for number in range(5 * most):
            said(room=number).publish_nowait(Said(number))
        with counting(lambda: table_entries(app).get("rooms", 0)) as counter:
            await trio.sleep(20)
        assert counter.most == most
        assert table_entries(app) == {}


async def test_snapshots_of_a_large_room(autojump_clock: MockClock) -> None:
    """Many who come at once are told who is there one by one, also where that is a short message."""
    snapshots = list[int]()

    def tell(event: RoomEvent[PresenceChange[Who]] | Gap) -> str:
        if isinstance(event, RoomEvent) and isinstance(event.value, Snapshot):
            snapshots.append(len(event.value.members))
        return "x"

    async def read(conn: Connection[object], _: str) -> None:
        await opened.wait()
        async with conn.subscribe(people(room="tea"), wrap=tell):
            await trio.sleep_forever()

    app, opened = room_app(read, PATIENT), trio.Event()
    people = app.presence("rooms/{room}", Who)
    met = Meeting(app, people)
    async with in_memory(app) as dial:
        for number in range(1000):
            await join(met, str(number))
        peers = [await dial("/a") for _ in range(12)]
        await wait_all_tasks_blocked()
        with counting(lambda: len(snapshots)) as counter:
            opened.set()
            for peer in peers:
                assert await peer.message() == "x"
        assert snapshots == [1000] * 12
        assert counter.most == 1
