"""`Kicks`: who has been put out of which room, and for how long. Bounded, and forgotten when their time is over."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from itertools import count
from typing import Final, NamedTuple, Protocol, TypeAlias, final

import trio

from seawall.connection.revocation_owners import Owners
from seawall.connection.revocations import EVERYBODY, CredentialSnapshot, Selection
from seawall.connection.session_table import Registration, SessionTable
from seawall.errors import ConfigurationError, Disconnected, Kicked, Unavailable
from seawall.mistakes import is_number, is_text
from seawall.observability.logs import server_log
from seawall.topics.keys import RoomKey, shown_room

#: Kicks that are remembered, in all rooms of an app.
MAX_KICKS: Final = 100_000

#: Kicks whose time is over, of which one call forgets so many, for all of them at once would hold up everybody.
_AT_A_TIME: Final = 100

#: So many seconds are the most: a week. Who is to be kept out for good is refused by a guard.
MAX_SECONDS: Final = 7 * 86_400.0


class RoomConnection(NamedTuple):
    """A connection, for a room that it is in."""

    connection: str
    """Its id."""
    registration: Registration
    """Its credentials, as they are now."""

    @property
    def held(self) -> tuple[CredentialSnapshot, ...]:
        """By what it has been let in, at the door or when it was last renewed; nothing once it is gone."""
        return self.registration.matching(EVERYBODY)


class Kickable(Protocol):
    """What a connection has in a room: a subscription, or a membership."""

    @property
    def owner(self) -> RoomConnection:
        """Whose it is."""
        ...

    def end(self, failure: Exception, /) -> None:
        """Cancel its block, whose ``async with`` raises `failure`."""
        ...


class Who(NamedTuple):
    """Whom a kick is about: those who match in all that is not None."""

    selection: Selection
    connection: str | None

    def matches(self, connection: str, held: tuple[CredentialSnapshot, ...]) -> bool:
        """Whether a connection that was let in by `held` is one of them."""
        if self.connection not in {None, connection}:
            return False
        return self.selection == EVERYBODY or any(map(self.selection.matches, held))

    @property
    def shape(self) -> _Shape:
        """Which fields it names."""
        return self.selection.shape, self.connection is not None


#: Which fields of a selection are named, and whether the connection is.
_Shape: TypeAlias = tuple[tuple[bool, ...], bool]


@final
class _RoomKicks:
    """The kicks of one room."""

    __slots__ = ("shapes", "until")

    def __init__(self) -> None:
        self.until: dict[Who, float] = {}  # in the order in which they were made
        self.shapes: dict[_Shape, int] = {}

    def put(self, who: Who, until: float) -> None:
        if self.until.pop(who, None) is None:
            self.shapes[who.shape] = self.shapes.get(who.shape, 0) + 1
        self.until[who] = until

    def pop(self, who: Who) -> None:
        del self.until[who]
        self.shapes[who.shape] -= 1
        if not self.shapes[who.shape]:
            del self.shapes[who.shape]

    def covers(self, owner: RoomConnection, now: float) -> bool:
        """Whether one of them is about `owner`: a look-up for each kind of kick and credential, not for each kick."""
        held = owner.held
        for selected, by_connection in self.shapes:
            connection = owner.connection if by_connection else None
            named = {Selection.naming(one, selected) for one in held} if any(selected) else {EVERYBODY}
            if any(self.until.get(Who(selection, connection), -math.inf) > now for selection in named):
                return True
        return False


@final
class Kicks:
    """The kicks of one app, as long as it is served."""

    def __init__(self, table: SessionTable) -> None:
        """Begin with none. `table` says by what its connections were let in."""
        self.table: Final = table
        """Who is connected."""
        self._rooms: dict[RoomKey, _RoomKicks] = {}
        self._most: Owners[RoomKey, Who] = Owners()
        self._ends: list[tuple[float, int, RoomKey, Who]] = []  # a heap; an entry may have gone, or hold for longer
        self._counter = count()
        self._len = 0

    def __len__(self) -> int:
        """How many are remembered."""
        return self._len

    def admit(self, key: RoomKey, connection: str) -> RoomConnection:
        """The connection of this id, as one of a room. Call it where nothing is awaited before what it begins there.

        Raises:
          Disconnected: it is not open any more.
          Kicked: it has been kicked out of the room, or who it is has been.
        """
        registration = self.table.get(connection)
        if registration is None or registration.is_over:
            raise Disconnected(connection)
        owner = RoomConnection(connection, registration)
        room = self._rooms.get(key)
        if room is not None and room.covers(owner, trio.current_time()):
            raise Kicked(key.pattern, shown_room(key))
        return owner

    def kick(self, key: RoomKey, who: Who, seconds: float, kickables: Iterable[Kickable]) -> int:
        """End what those who match have among `kickables`, and refuse them for so many `seconds`.

        Returns:
          How many connections they are.

        Raises:
          Unavailable: theirs have been ended, but there is no room to remember it.
        """
        found, room = self._found(who, kickables), shown_room(key)
        for kickable in found:
            kickable.end(Kicked(key.pattern, room))
        connections = len({kickable.owner.connection for kickable in found})
        server_log.info("kicked out of a room of %r by %s: %d connections", key.pattern, _said(who), connections)
        if seconds > 0:
            self._remember(key, who, trio.current_time() + seconds)
        return connections

    def unkick(self, key: RoomKey, who: Who) -> bool:
        """Take the kick of `who` out of a room back; False if there is none, or its time is over."""
        now = trio.current_time()
        self._expire(now)
        room = self._rooms.get(key)
        is_kicked = room is not None and room.until.get(who, -math.inf) > now
        if is_kicked:
            self._pop(key, who)
            server_log.info("no longer kicked out of a room of %r by %s", key.pattern, _said(who))
        return is_kicked

    def clear(self) -> None:
        """Forget all: the next run of Trio counts its time anew."""
        self._rooms.clear()
        self._ends.clear()
        self._most = Owners()
        self._len = 0

    def _found(self, who: Who, kickables: Iterable[Kickable]) -> list[Kickable]:
        if who.selection == EVERYBODY:
            return [one for one in kickables if one.owner.connection == who.connection]
        named = self.table.named_by(who.selection)
        some = ((one, one.owner) for one in kickables)
        return [one for one, at in some if at.registration in named and who.matches(at.connection, at.held)]

    def _remember(self, key: RoomKey, who: Who, until: float) -> None:
        self._expire(trio.current_time())
        room = self._rooms.get(key)
        known = None if room is None else room.until.get(who)
        if room is None or known is None:
            if self._len >= MAX_KICKS:
                self._make_room(key)
            room = self._rooms.setdefault(key, _RoomKicks())
            self._most.add(key, who)
            self._len += 1
            self._push_end(until, key, who)
        room.put(who, until if known is None else max(known, until))

    def _expire(self, now: float) -> None:
        """Forget some of those whose time is over; where there are too many, one at least."""
        expired = 0
        while self._ends and self._ends[0][0] <= now and (expired < _AT_A_TIME or self._len >= MAX_KICKS):
            expired += 1
            noted, _, key, who = heapq.heappop(self._ends)
            room = self._rooms.get(key)
            until = None if room is None else room.until.get(who)
            if until is None:
                continue
            if until > noted:
                self._push_end(until, key, who)
            else:
                self._pop(key, who)

    def _make_room(self, key: RoomKey) -> None:
        """Forget the first kick of the room that has most, unless that is the room of `key` itself."""
        largest = self._most.largest()
        if largest is None or len(self._most.of(key)) >= len(self._most.of(largest)):
            raise Unavailable(
                f"{MAX_KICKS} kicks are remembered, and no room has more of them than this one: this kick ended what "
                "there was, but refuses nobody; kick for fewer seconds, or refuse who is unwanted by a guard"
            )
        self._pop(largest, next(iter(self._rooms[largest].until)))

    def _pop(self, key: RoomKey, who: Who) -> None:
        room = self._rooms[key]
        room.pop(who)
        if not room.until:
            del self._rooms[key]
        self._most.discard(key, who)
        self._len -= 1

    def _push_end(self, until: float, key: RoomKey, who: Who) -> None:
        if len(self._ends) > 2 * MAX_KICKS:  # most are of kicks that were forgotten before their time
            rooms = self._rooms.items()
            self._ends = [(end, next(self._counter), at, one) for at, room in rooms for one, end in room.until.items()]
            heapq.heapify(self._ends)
        heapq.heappush(self._ends, (until, next(self._counter), key, who))


def check_named(call: str, who: Who) -> None:
    """Refuse what names nobody, for ``kick`` or ``unkick``.

    Raises:
      ConfigurationError: `who` is everybody, or has a name of a wrong type.
    """
    named = {**who.selection._asdict(), "connection": who.connection}
    for name, value in named.items():
        if not (value is None or is_text(value)):
            raise ConfigurationError(f"{call}({name}={value!r}) is about nobody; give a str")
    if all(value is None for value in named.values()):
        raise ConfigurationError(f"{call}() of nobody; give an issuer, a subject, a session_id or a connection")


def check_kick(who: Who, seconds: float) -> None:
    """Refuse what ``kick`` cannot be called with.

    Raises:
      ConfigurationError: as `check_named`; or `seconds` is no such time.
    """
    check_named("kick", who)
    if not (is_number(seconds) and 0 <= seconds <= MAX_SECONDS):
        raise ConfigurationError(f"kick(seconds={seconds!r}); give a number of seconds up to {MAX_SECONDS:.0f}, a week")


def _said(who: Who) -> str:
    """What `who` names, for the log: no values."""
    names = [who.selection.said(None)] if who.selection != EVERYBODY else []
    return ", ".join([*names, *(["connection"] if who.connection is not None else [])])
