"""Properties of presence: whatever comes, goes, vanishes or is thrown out, what is told adds up to who is there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from typing import TypeAlias, final

import pytest
import trio
from attrs import define, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall.testing import Client, Closed, Rejected, Serving, serve
from seawall.topics import presence_reading
from tests.kit.presence import Meeting, Watched, heard, meeting
from tests.kit.tokens import by, token

LINGER = 5.0
ROOMS = ("tea", "milk")


@frozen
class Connect:
    """Somebody comes; without a subject, anybody."""

    subject: str | None
    room: str


@frozen
class Act:
    """One of those who have come does something."""

    how: str
    which: int


@frozen
class Kick:
    """A subject is kicked out of a room for so many seconds."""

    subject: str
    room: str
    seconds: float


@frozen
class Wait:
    """Time passes."""

    seconds: float


@frozen
class Watch:
    """Somebody begins to read, or one who reads is busy from now on, or is not any more."""

    how: str
    room: str


Step: TypeAlias = Connect | Act | Kick | Wait | Watch

rooms = st.sampled_from(["tea", "tea", "tea", "milk"])
acts = st.sampled_from(["say", "say", "same", "close", "close", "reset", "leave", "fail", "revoke", "revoke"])
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Connect, st.sampled_from(["ada", "ada", "bob", None]), rooms),
    st.builds(Connect, st.just("ada"), st.just("tea")),
    st.builds(Act, acts, st.integers(-8, 8)),
    st.builds(Act, st.sampled_from(["close", "close", "say"]), st.integers(-3, -1)),
    st.builds(Kick, st.sampled_from(["ada", "bob"]), rooms, st.sampled_from([0.0, 3.137])),
    st.builds(Wait, st.sampled_from([0.0, 0.313, 1.171, 2.737, 6.191])),
    st.builds(Watch, st.sampled_from(["begin", "subscribe", "stop", "stop", "go on"]), rooms),
)
#: Most lists that hypothesis makes are short.
histories = st.one_of(st.lists(steps, max_size=20), st.lists(steps, min_size=30, max_size=60))


@final
@define(eq=False)
class Guest:
    """A client, and what the model says of it."""

    subject: str | None
    room: str
    session: str
    name: str
    client: Client | None = None
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    heard: list[str] = field(factory=list[str])
    is_in: bool = False


@final
@define(eq=False)
class Seat:
    """A member, as the model has it."""

    guest: Guest
    until: float = math.inf
    order: int = 0
    """Who began to linger later has a higher one."""


@final
@define(eq=False)
class Spectator:
    """A reader, which may be busy."""

    room: str
    watched: Watched = field(factory=Watched)
    gate: trio.Event = field(factory=trio.Event)


@final
@define(eq=False)
class World:
    """The app, its clients and its readers, and a model of who is where."""

    met: Meeting
    served: Serving
    nursery: trio.Nursery
    guests: list[Guest] = field(factory=list[Guest])
    spectators: list[Spectator] = field(factory=list[Spectator])
    seats: dict[str, list[Seat]] = field(factory=lambda: {room: list[Seat]() for room in ROOMS})
    kicked: dict[tuple[str, str], float] = field(factory=dict[tuple[str, str], float])
    names: itertools.count[int] = field(factory=itertools.count)

    # What is done.

    async def spectate(self, room: str) -> None:
        """Read from now on."""
        one = Spectator(room)
        one.gate.set()
        self.spectators.append(one)
        await self.nursery.start(self._read, one)

    async def _read(self, one: Spectator, task_status: trio.TaskStatus[None]) -> None:
        async with self.met.room(one.room).changes() as changes:
            task_status.started()
            async for change in changes:
                one.watched.told(change)
                await one.gate.wait()

    async def subscribe(self, room: str) -> None:
        """Have a client subscribe."""
        one = Spectator(room)
        one.gate.set()
        self.spectators.append(one)
        begun = trio.Event()
        self.nursery.start_soon(self._hear, one, begun)
        await begun.wait()

    async def _hear(self, one: Spectator, begun: trio.Event) -> None:
        async with self.served.connect(f"/watch/{one.room}") as client:
            while True:
                one.watched.told(heard(str(await client.receive())))
                begun.set()
                await one.gate.wait()

    async def connect(self, step: Connect) -> Guest:
        """Have somebody come, and wait until that has worked or not."""
        number = next(self.names)
        guest = Guest(step.subject, step.room, f"session {number}", f"n{number}")
        self.guests.append(guest)
        done = trio.Event()
        self.nursery.start_soon(self._be, guest, done)
        await done.wait()
        return guest

    async def _be(self, guest: Guest, done: trio.Event) -> None:
        prefix = "" if guest.subject else "/anybody"
        headers = by(token(guest.subject, seconds=10_000, sid=guest.session)) if guest.subject else {}
        with guest.scope, suppress(Rejected):  # it may have been revoked on its way
            async with self.served.connect(f"{prefix}/{guest.room}/{guest.name}", headers=headers) as client:
                try:
                    guest.heard.append(str(await client.receive()))
                    guest.client = client
                    done.set()
                    while True:
                        guest.heard.append(str(await client.receive()))
                except Closed:
                    guest.client = None
                    done.set()
        done.set()

    async def act(self, guest: Guest, how: str) -> None:
        """Have a guest do something."""
        client = guest.client
        if how == "revoke":
            await self.met.app.sessions.revoke(session_id=guest.session)
        elif client is not None:
            with suppress(Closed):
                await self._say(guest, client, how)

    async def _say(self, guest: Guest, client: Client, how: str) -> None:
        match how:
            case "say":
                guest.name = f"n{next(self.names)}"
                await client.send(guest.name)
            case "same":
                await client.send(guest.name)
            case "close":
                await client.aclose()
            case "reset":
                client.reset()
                guest.scope.cancel()
                guest.client = None
            case "leave":
                await client.send(".")
            case _:
                await client.send("!")

    async def watch(self, step: Watch) -> None:
        """Have a reader begin, be busy, or go on."""
        if step.how == "begin":
            await self.spectate(step.room)
        elif step.how == "subscribe":
            await self.subscribe(step.room)
        for one in self.spectators[2 * len(ROOMS) :]:
            if one.room == step.room:
                if step.how == "stop":
                    if one.gate.is_set():
                        one.gate = trio.Event()
                else:
                    one.gate.set()

    # The model.

    def model(self, step: Step, guest: Guest | None, now: float) -> None:
        """What has to follow."""
        match step:
            case Connect(subject, room):
                assert guest is not None
                is_kicked = subject is not None and self.kicked.get((subject, room), -math.inf) > now
                assert (guest.heard[:1] == ["in"]) is not is_kicked
                if not is_kicked:
                    guest.is_in = True
                    self._come(guest)
            case Act(how) if guest is not None:
                self._acted(guest, how, now)
            case Kick(subject, room, seconds):
                if seconds:
                    self.kicked[subject, room] = max(self.kicked.get((subject, room), now), now + seconds)
                self._drop(lambda one: one.subject == subject and one.room == room)
            case _:
                pass

    def _come(self, guest: Guest) -> None:
        seats = self.seats[guest.room]
        free = [one for one in seats if one.until < math.inf and one.guest.subject == guest.subject]
        if guest.subject is not None and free:
            taken = max(free, key=lambda one: one.order)
            taken.guest, taken.until = guest, math.inf
        else:
            seats.append(Seat(guest))

    def _acted(self, guest: Guest, how: str, now: float) -> None:
        if how == "revoke":
            if guest.subject is not None:
                self._drop(lambda one: one is guest)
        elif not guest.is_in or how in {"say", "same"}:
            return
        elif how in {"close", "reset"} and guest.subject is not None:
            guest.is_in = False
            for seat in self.seats[guest.room]:
                if seat.guest is guest:
                    seat.until, seat.order = now + LINGER, next(self.names)
        else:
            self._drop(lambda one: one is guest)

    def _drop(self, which: Callable[[Guest], bool]) -> None:
        for seats in self.seats.values():
            for seat in [one for one in seats if which(one.guest)]:
                seats.remove(seat)
                seat.guest.is_in = False

    def expire(self, now: float) -> None:
        """Those leave whose time is over."""
        for seats in self.seats.values():
            seats[:] = [seat for seat in seats if seat.until > now]

    def check(self) -> None:
        """What is told adds up to who is there, and that is who should be."""
        for room in ROOMS:
            expected = [seat.guest.name for seat in self.seats[room]]
            assert self.met.names(room) == expected
            for one in self.spectators:
                if one.room == room and one.gate.is_set():
                    assert list(one.watched.present.values()) == expected


async def in_a_world(body: Callable[[World], Awaitable[None]]) -> None:
    """Run `body`, and see that nothing is left when all have gone."""
    met = meeting(linger=LINGER)
    async with serve(met.app) as served, trio.open_nursery() as nursery:
        world = World(met, served, nursery)
        for room in ROOMS:
            await world.spectate(room)
            await world.subscribe(room)
        await body(world)
        for guest in world.guests:
            await world.act(guest, "close")
        for one in world.spectators:
            one.gate.set()
        await trio.sleep(LINGER + 1)
        await wait_all_tasks_blocked()
        for one in world.spectators:
            assert one.watched.present == {}
            assert one.watched.is_told_of_all_that_left
        assert all(met.names(room) == [] for room in ROOMS)
        nursery.cancel_scope.cancel()


def run(body: Callable[[World], Awaitable[None]], *, waiting: int) -> None:
    """Do it in virtual time, with readers for whom so few changes may wait."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(presence_reading, "MAX_WAITING", waiting)
        trio.run(in_a_world, body, clock=MockClock(autojump_threshold=0))


@settings(max_examples=60)
@given(histories, st.sampled_from([2, 1000]))
def test_what_is_told_is_the_truth(several: list[Step], waiting: int) -> None:
    """One thing after another: members, snapshots and changes are those of a model, in its order."""

    async def body(world: World) -> None:
        for step in several:
            guest: Guest | None = None
            now = trio.current_time()
            match step:
                case Connect():
                    guest = await world.connect(step)
                case Act(how, which):
                    guest = world.guests[which % len(world.guests)] if world.guests else None
                    if guest is not None:
                        await world.act(guest, how)
                case Kick(subject, room, seconds):
                    await world.met.room(room).kick(subject=subject, seconds=seconds)
                case Wait(seconds):
                    await trio.sleep(seconds)
                    now = trio.current_time()
                case _:
                    await world.watch(step)
            await wait_all_tasks_blocked()
            world.expire(now)
            world.model(step, guest, now)
            world.check()

    run(body, waiting=waiting)


@settings(max_examples=60)
@given(st.lists(st.lists(steps, min_size=3, max_size=8), max_size=8), st.sampled_from([1, 2, 1000]))
def test_at_the_same_time(batches: list[list[Step]], waiting: int) -> None:
    """Several things at once, in any order: readers agree with who is there, and each who came has left once."""

    async def do(world: World, step: Step) -> None:
        match step:
            case Connect():
                await world.connect(step)
            case Act(how, which):
                if world.guests:
                    await world.act(world.guests[which % len(world.guests)], how)
            case Kick(subject, room, seconds):
                await world.met.room(room).kick(subject=subject, seconds=seconds)
            case Wait(seconds):
                await trio.sleep(seconds)
            case _:
                await world.watch(step)

    async def body(world: World) -> None:
        for batch in batches:
            async with trio.open_nursery() as nursery:
                for step in batch:
                    nursery.start_soon(do, world, step)
            await wait_all_tasks_blocked()
            for one in world.spectators:
                if one.gate.is_set():
                    assert list(one.watched.present.values()) == world.met.names(one.room)

    run(body, waiting=waiting)
