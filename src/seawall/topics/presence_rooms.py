"""`PresenceRooms`: the rooms of one presence, their members, and the logs in which changes are told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Generic, TypeVar, final

import trio
from attrs import define, field, frozen

from seawall.connection.state import ConnectionState
from seawall.errors import ConfigurationError, TooManyRequests
from seawall.lag import Lag
from seawall.topics.cursor import Cursor
from seawall.topics.entry import Entry
from seawall.topics.keys import RoomKey, log_key
from seawall.topics.kicks import Kickable, RoomConnection
from seawall.topics.kinds import Kinds
from seawall.topics.lingering import Lingerer, Lingering
from seawall.topics.log import Log, Retention
from seawall.topics.presence_changes import Change, Joined, Left, Member, Snapshot, Updated
from seawall.topics.presence_cursor import PresenceCursor
from seawall.topics.presence_table import MemberEntry, MemberTable, Said, Subjects, subjects_of
from seawall.topics.pump import Pump
from seawall.topics.rendering import Renderers

if TYPE_CHECKING:
    from seawall.topics.hub import Hub

M = TypeVar("M")

#: Bytes that a value may have where it is written. All who are in the room are told of it, and it is kept as long as
#: somebody is there.
MAX_VALUE: Final = 4_096

#: What the pump counts for each member in a snapshot, as bytes that were written: it is made anew for each who comes,
#: though what a `wrap` makes of it may be short.
_PER_MEMBER: Final = 1_024

#: Nobody reads the past of who is there: a snapshot says it.
_RETENTION: Final = Retention()


@final
@frozen
class JoinRequest(Generic[M]):
    """A connection that is to become a member of a room."""

    key: RoomKey
    log: Log
    """That of the room, opened for it."""
    owner: RoomConnection
    said: Said[M]
    kickable: Kickable
    """What ends where somebody kicks it out."""


@final
@define(eq=False)
class MemberHandle(Generic[M]):
    """What a member of a room is changed by, until it leaves."""

    _rooms: PresenceRooms[M]
    key: RoomKey
    log: Log
    entry: MemberEntry[M]
    _lingerer: Lingerer | None = field(init=False, default=None)

    def is_overdue(self, now: float) -> bool:
        """Whether it lingers, and its time is over: the pump is about to have it leave."""
        return self._lingerer is not None and self._lingerer.until <= now

    def update(self, said: Said[M]) -> None:
        """Say something else of it, and tell it, unless it is the same. Raises as `PresenceRooms.enter`."""
        if said.encoded != self.entry.said.encoded:
            self._rooms.tell(self.log, Updated(Member(self.entry.id, said.value)), said)
        self.entry.said = said

    def linger(self, owner: RoomConnection, until: float) -> None:
        """Stay, though the connection has ended, until the same subject joins again or it is `until`."""
        held = owner.held
        lingerer = Lingerer(
            key=self.key,
            connection=owner.connection,
            held=held,
            subjects=subjects_of(held),
            until=until,
            member=self,
        )
        self._lingerer = lingerer
        self._rooms.linger(self, lingerer)

    def take_over(self, request: JoinRequest[M]) -> None:
        """Belong to another connection from now on; the log stays open once, not twice."""
        self.update(request.said)
        lingerer, self._lingerer = self._lingerer, None
        if lingerer is not None:
            self._rooms.lingering.discard(lingerer)
        self._rooms.release(request.log)

    def leave(self) -> None:
        """Leave, and tell it; does nothing if it has left."""
        lingerer, self._lingerer = self._lingerer, None
        if lingerer is not None:
            self._rooms.lingering.discard(lingerer)
        if self._rooms.remove(self):
            self._rooms.release(self.log)


@final
class _Room(Generic[M]):
    """One room with members."""

    __slots__ = ("kickables", "left", "lingering", "table")

    def __init__(self) -> None:
        self.left: trio.Event | None = None  # set when a connection is no member any more, if somebody waits for that
        self.table: MemberTable[M] = MemberTable()
        self.kickables: dict[str, Kickable] = {}  # by the ids of connections
        self.lingering: dict[MemberEntry[M], MemberHandle[M]] = {}


@final
class PresenceRooms(Generic[M]):
    """The rooms of one presence: those that have members."""

    def __init__(self, hub: Hub, pattern: str, kinds: Kinds) -> None:
        """Begin with none."""
        self._hub = hub
        self._kinds = kinds
        self.name: Final = pattern
        """The pattern, for errors."""
        self._rooms: dict[RoomKey, _Room[M]] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._rooms)

    @property
    def lingering(self) -> Lingering:
        """Who lingers, in all rooms of the app."""
        return self._hub.presences.lingering

    def say(self, call: str, value: M) -> Said[M]:
        """A value that was given to `call`, and how it is written.

        Raises:
          TypeError: it is of another class than those of this presence.
          TypeError, ValueError, ConfigurationError: it cannot be sent as a message; or the app is in another thread.
          TooManyRequests: it has more than `MAX_VALUE` bytes.
          Unavailable: the app is not served.
        """
        self._hub.check_here(call)
        if not isinstance(value, self._kinds.classes):
            raise self._kinds.refusal(call, value)
        encoded = bytes(self._hub.format.frame(value))
        if len(encoded) > MAX_VALUE:
            raise TooManyRequests(
                f"the value of a member has at most {MAX_VALUE} bytes, and this one {len(encoded)}; say less"
            )
        return Said(value, encoded)

    # Who reads a room.

    @property
    def pump(self) -> Pump:
        """What serves those who read."""
        return self._hub.pump

    @property
    def renderers(self) -> Renderers:
        """How changes are written, for who subscribes."""
        return self._hub.renderers

    async def ask(self, _: RoomKey, __: object, /) -> None:
        """Everybody may read."""
        await trio.lowlevel.checkpoint()

    def admit(self, key: RoomKey, state: ConnectionState, /) -> RoomConnection:
        """The connection as one of a room. Raises as `Kicks.admit`."""
        return self._hub.kicks.admit(key, state.id)

    def cursor(self, key: RoomKey, lag: Lag[object], /) -> Cursor:
        """One that is to read a room, and begins with who is there."""
        return PresenceCursor(lag, lambda: self._look(key))

    async def open(self, key: RoomKey, /) -> Log:
        """The log of a room, kept until `release`; there is no checkpoint after it has been found.

        Raises:
          TooManyRequests: there are ``Limits.max_rooms``.
          Unavailable: the app is not served.
        """
        return await self._hub.engine.open(log_key(key), _RETENTION)

    def release(self, log: Log, /) -> None:
        """It is not needed any more."""
        self._hub.engine.release(log)

    # Who is in it.

    def members(self, key: RoomKey) -> tuple[Member[M], ...]:
        """Who is in a room now; without those whose time is over, also if the pump has not had its turn yet."""
        room, now = self._rooms.get(key), trio.current_time()
        if room is None:
            return ()
        overdue = {entry.id for entry, handle in room.lingering.items() if handle.is_overdue(now)}
        return tuple(member for member in room.table.members() if member.id not in overdue)

    def _look(self, key: RoomKey) -> Snapshot[M]:
        """Who is in a room, for a reader: those who are still to be told to have left are there."""
        room = self._rooms.get(key)
        members = () if room is None else room.table.members()
        self.pump.written += _PER_MEMBER * len(members)
        return Snapshot(members)

    def kickables(self, key: RoomKey) -> Iterable[Kickable]:
        """The memberships in a room, as they are now."""
        room = self._rooms.get(key)
        return () if room is None else tuple(room.kickables.values())

    async def wait_left(self, key: RoomKey, connection: str) -> None:
        """Wait until no member of a room belongs to this connection; no checkpoint if none does."""
        while (room := self._rooms.get(key)) is not None and room.table.has(connection):
            room.left = room.left or trio.Event()
            await room.left.wait()

    def enter(self, request: JoinRequest[M]) -> MemberHandle[M]:
        """Make a connection a member: the one of the same subject that lingers, or a new one; and tell it.

        Raises:
          ConfigurationError: the connection is a member already.
          TooManyRequests: an event of this size is larger than ``Limits.room_history``.
        """
        connection = request.owner.connection
        room = self._rooms.get(request.key) or _Room[M]()
        if room.table.has(connection):
            raise ConfigurationError(
                f"joined() of {request.key.pattern!r}, where this connection is already; update what it has joined with"
            )
        found = self._to_take_over(room, subjects_of(request.owner.held))
        if found is not None:
            handle = room.lingering[found]
            handle.take_over(request)
            del room.lingering[found]
            room.table.take_over(found, connection)
        else:
            entry = MemberEntry(str(request.log.position(request.log.end)), request.said, connection)
            self.tell(request.log, Joined(entry.member), request.said)
            room.table.join(entry)
            handle = MemberHandle(self, request.key, request.log, entry)
        room.kickables[connection] = request.kickable
        self._rooms[request.key] = room
        return handle

    def _to_take_over(self, room: _Room[M], subjects: Subjects) -> MemberEntry[M] | None:
        """The member that lingers for `subjects`. Those whose time is over leave, if the pump has not had its turn."""
        now = trio.current_time()
        while (found := room.table.to_take_over(subjects)) is not None and room.lingering[found].is_overdue(now):
            room.lingering[found].leave()
        return found

    def linger(self, handle: MemberHandle[M], lingerer: Lingerer) -> None:
        """Have a member linger."""
        room = self._rooms[handle.key]
        del room.kickables[handle.entry.connection]
        room.table.linger(handle.entry, lingerer.subjects)
        _wake_waiting(room)
        room.lingering[handle.entry] = handle
        is_first = lingerer.until < self.lingering.due
        self.lingering.add(lingerer)
        if is_first:
            self._hub.pump.wake()

    def remove(self, handle: MemberHandle[M]) -> bool:
        """Have a member leave, and tell it if anybody can read it any more; False if it has left before."""
        entry, log = handle.entry, handle.log
        if entry.has_left:
            return False
        room = self._rooms[handle.key]
        if room.lingering.pop(entry, None) is None:
            del room.kickables[entry.connection]
        room.table.leave(entry)
        _wake_waiting(room)
        if not len(room.table):
            del self._rooms[handle.key]
        if self._hub.engine.find(log.use.key) is log:
            self.tell(log, Left(entry.member), entry.said)
        return True

    def tell(self, log: Log, change: Change[M], said: Said[M]) -> None:
        """Tell all who read the changes of a room.

        Raises:
          TooManyRequests: this is larger than ``Limits.room_history``.
          Unavailable: the app is not served any more.
        """
        entry = Entry(change, None)
        entry.size += 2 * len(said.encoded)
        self._hub.engine.publish_nowait(log.use.key, _RETENTION, entry)


def _wake_waiting(room: _Room[M]) -> None:
    """Wake those who wait for a connection to leave."""
    if room.left is not None:
        room.left.set()
        room.left = None
