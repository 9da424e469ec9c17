"""What tests of presence need: an app whose connections are in a room, and a reader that keeps what it was told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import assert_never, final

import trio
from attrs import define, field, frozen

from seawall import App, Claims, Connection, Limits, Unauthorized, bearer, public
from seawall.position import Position
from seawall.room_event import Gap, RoomEvent
from seawall.topics.presence import People, Presence
from seawall.topics.presence_changes import Joined, Left, Member, PresenceChange, PresenceEvent, Snapshot, Updated
from tests.kit.tokens import verifier


@frozen
class Who:
    """What is said of somebody."""

    name: str


@final
@define(eq=False)
class Meeting:
    """An app whose connections are in ``rooms/{room}`` as long as they are open."""

    app: App
    people: Presence[Who]
    raised: list[BaseException] = field(factory=list[BaseException])
    """What the blocks have raised."""

    def room(self, name: str = "tea") -> People[Who]:
        """Those in one of the rooms."""
        return self.people(room=name)

    def names(self, name: str = "tea") -> list[str]:
        """Who is there now."""
        return [member.value.name for member in self.room(name).members()]


def meeting(limits: Limits | None = None, linger: float = 5.0) -> Meeting:
    """An app with a route ``/{room}/{name}``; with a token, and at ``/anybody/...`` without one.

    A message is another name; ``!`` fails, ``.`` leaves the room and stays connected, ``=`` closes, and anything that
    begins with ``token `` renews.
    """
    app = App(limits=limits)
    made = Meeting(app, app.presence("rooms/{room}", Who, linger=linger))

    async def be(conn: Connection[object], room: str, name: str) -> None:
        try:
            async with made.people(room=room).joined(conn, Who(name)) as me:
                await conn.send("in")
                async for message in conn:
                    match message:
                        case "!":
                            raise Unauthorized("as it was asked to")
                        case ".":
                            break
                        case "=":
                            await conn.aclose(4000)
                        case _ if str(message).startswith("token "):
                            await conn.renew(str(message).removeprefix("token "))
                            await conn.send("renewed")
                        case _:
                            await me.update(Who(str(message)))
                            await conn.send("updated")
        except BaseException as raised:
            made.raised.append(raised)
            raise
        async for message in conn:
            await conn.send(message)

    @app.route("/{room}/{name}", guard=bearer(verifier))
    async def member(conn: Connection[Claims], room: str, name: str) -> None:
        await be(conn, room, name)

    @app.route("/watch/{room}", guard=public)
    async def watch(conn: Connection[object], room: str) -> None:
        async with conn.subscribe(made.room(room), wrap=tell):
            async for _ in conn:
                pass

    @app.route("/anybody/{room}/{name}", guard=public)
    async def anybody(conn: Connection[object], room: str, name: str) -> None:
        await be(conn, room, name)

    return made


def tell(event: RoomEvent[PresenceChange[Who]] | Gap) -> str:
    """What a peer is told that subscribes to a presence; see `heard`."""
    if isinstance(event, Gap):
        return "gap"
    match event.value:
        case Snapshot(members):
            return " ".join(["=", *(f"{member.id}:{member.value.name}" for member in members)])
        case Joined(member):
            return f"+ {member.id}:{member.value.name}"
        case Updated(member):
            return f"> {member.id}:{member.value.name}"
        case Left(member):
            return f"- {member.id}:{member.value.name}"
        case _:
            assert_never(event.value)


def heard(text: str) -> PresenceEvent[Who]:
    """What a peer was told by `tell`."""
    kind, *words = text.split(" ")
    members = tuple(Member(name, Who(value)) for name, _, value in (word.partition(":") for word in words))
    match kind:
        case "=":
            return Snapshot(members)
        case "+":
            return Joined(members[0])
        case ">":
            return Updated(members[0])
        case "-":
            return Left(members[0])
        case _:
            return Gap(Position("x", 0), None)


@final
@define(eq=False)
class Watched:
    """What a reader of the changes has been told, checked for what can never be."""

    present: dict[str, str] = field(factory=dict[str, str])
    """Names by the ids of members, as snapshots and changes say."""
    log: list[tuple[float, str]] = field(factory=list[tuple[float, str]])
    """When what was told."""
    came: set[str] = field(factory=set[str])
    left: set[str] = field(factory=set[str])
    gaps: int = 0
    _is_lost: bool = True

    def told(self, event: PresenceEvent[Who]) -> None:
        """Take one event."""
        match event:
            case Snapshot(members):
                assert self._is_lost, "a snapshot where nothing was lost"
                self._is_lost = False
                self.present = {member.id: member.value.name for member in members}
                assert not self.left & self.present.keys(), "from the dead"
                self.came |= self.present.keys()
                self._keep("=" + ",".join(self.present.values()))
            case Joined(Member(name, value)):
                assert name not in self.present, "twice"
                assert name not in self.left, "from the dead"
                self.present[name] = value.name
                self.came.add(name)
                self._keep(f"+{value.name}")
            case Updated(Member(name, value)):
                assert self.present[name] != value.name, "it is the same"
                self._keep(f"{self.present[name]}>{value.name}")
                self.present[name] = value.name
            case Left(Member(name, value)):
                assert self.present.pop(name) == value.name
                assert name not in self.left, "twice"
                self.left.add(name)
                self._keep(f"-{value.name}")
            case Gap():
                self._is_lost = True
                self.gaps += 1
            case _:
                assert_never(event)

    @property
    def is_told_of_all_that_left(self) -> bool:
        """Whether all have left whom it has seen, unless something was lost."""
        return self.came == self.left or self.gaps > 0

    def _keep(self, what: str) -> None:
        self.log.append((trio.current_time(), what))

    def take(self) -> list[str]:
        """What there was since the last call."""
        taken = [what for _, what in self.log]
        self.log.clear()
        return taken


@asynccontextmanager
async def watching(people: People[Who]) -> AsyncGenerator[Watched]:
    """Read the changes beside the block."""
    watched = Watched()

    async def read(task_status: trio.TaskStatus[None]) -> None:
        async with people.changes() as changes:
            task_status.started()
            async for change in changes:
                watched.told(change)

    async with trio.open_nursery() as nursery:
        await nursery.start(read)
        yield watched
        nursery.cancel_scope.cancel()
