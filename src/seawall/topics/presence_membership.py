"""`Membership`: a connection is in a room, for as long as an ``async with`` lasts, and perhaps a little longer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast, final

import trio
from attrs import frozen

from seawall.connection.leases import Leases
from seawall.connection.state import ConnectionState
from seawall.connection.subscriptions import Held
from seawall.errors import Disconnected, LeaseExpired, Revoked, TooManyRequests
from seawall.exception_groups import flatten
from seawall.policy.ending import Cause
from seawall.topics.ending import leave_block
from seawall.topics.keys import RoomKey
from seawall.topics.kicks import Kicks, RoomConnection
from seawall.topics.presence_rooms import MAX_VALUE, JoinRequest, MemberHandle, PresenceRooms
from seawall.topics.presence_table import Said

M = TypeVar("M")

#: Bytes that the values of one connection may have in all rooms together, where they are written: four of the largest.
#: Unlike events they cannot be given up when there are too many, and so nobody holds many of them.
MAX_VALUES: Final = 4 * MAX_VALUE

#: Ends of connections after which somebody may come back in a moment.
_BY_PEER: Final = frozenset({Cause.PEER_CLOSED, Cause.PEER_VANISHED, Cause.KEEPALIVE, Cause.SLOW_CONSUMER})


@final
@frozen
class PresenceRoom(Generic[M]):
    """One room of a presence, for those who join it."""

    rooms: PresenceRooms[M]
    key: RoomKey
    kicks: Kicks
    linger: float
    """Seconds."""


@final
class Membership(Generic[M]):
    """What ``async with people(...).joined(conn, value)`` gives."""

    __slots__ = ("_failure", "_handle", "_is_new", "_leases", "_owner", "_room", "_scope", "_state", "_value")

    if TYPE_CHECKING:
        _value: M  # deleted once it has been said

    def __init__(self, room: PresenceRoom[M], state: ConnectionState, value: M) -> None:
        """Say who comes in where; nothing happens before ``async with``."""
        self._room = room
        self._state = state
        self._value = value
        self._is_new = True
        self._owner: RoomConnection | None = None
        self._leases: Leases | None = None
        self._handle: MemberHandle[M] | None = None
        self._scope: trio.CancelScope | None = None
        self._failure: Exception | None = None

    def __repr__(self) -> str:
        """Which room it is in."""
        return f"Membership({self._room.key!r})"

    async def update(self, value: M, /) -> None:
        """Say something else of this member. All who read the changes are told, unless it is the same.

        Raises:
          TypeError: it is of another class than those of the presence.
          TypeError, ValueError, ConfigurationError: it cannot be sent as a message; or it is another thread than the
            server's.
          Kicked, TooManyRequests, Unavailable: as where it joined.
          RuntimeError: the ``async with`` has ended.
        """
        said = self._room.rooms.say("update", value)
        await trio.lowlevel.checkpoint()
        if self._failure is not None:
            raise self._failure
        if self._handle is None:
            raise RuntimeError("update() outside of `async with people(...).joined(...)`; join again")
        self._check_room_for(said)
        self._handle.update(said)

    @property
    def size(self) -> int:
        """The bytes of its value; 0 while it is in no room."""
        return 0 if self._handle is None else len(self._handle.entry.said.encoded)

    def _check_room_for(self, said: Said[M]) -> None:
        held = cast("Iterable[Membership[object] | Held]", self._state.subscriptions)  # of any presence of the app
        size = sum(one.size for one in held if isinstance(one, Membership) and one is not self) + len(said.encoded)
        if size > MAX_VALUES:
            raise TooManyRequests(
                f"the values of one connection have at most {MAX_VALUES} bytes in all rooms; these would be {size}; "
                "say less, or leave a room"
            )

    # What joins and leaves.

    async def __aenter__(self) -> Membership[M]:
        """Come in."""
        if not self._is_new:
            raise RuntimeError("a membership is entered once; call joined() for another one")
        self._is_new = False
        self._state.hold(self)
        try:
            await self._begin()
        except BaseException:
            self._state.subscriptions.discard(self)
            raise
        return self

    async def _begin(self) -> None:
        rooms, key = self._room.rooms, self._room.key
        kicks = self._room.kicks
        kicks.admit(key, self._state.id)  # who is kicked does not wait
        said = rooms.say("joined", self._value)
        with trio.move_on_after(self._state.lifecycle.timeouts.limits.wind_down):
            await rooms.wait_left(key, self._state.id)  # another task of the connection may be about to leave
        log = await rooms.open(key)
        try:
            if self._failure is not None:
                raise self._failure
            self._owner = owner = kicks.admit(key, self._state.id)
            self._check_room_for(said)
            self._handle = rooms.enter(JoinRequest(key, log, owner, said, self))
        except BaseException:
            rooms.release(log)
            raise
        self._leases = self._state.lifecycle.timeouts.leases
        self._scope = trio.CancelScope()
        self._scope.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None, /
    ) -> bool:
        """Go; raise why it has ended before, unless the body has raised something else."""
        self._state.subscriptions.discard(self)
        self._go(raised)
        scope, self._scope = self._scope, None
        return leave_block(scope, self._failure, raised, traceback)

    def _go(self, raised: BaseException | None) -> None:
        handle, self._handle = self._handle, None
        if handle is None or self._owner is None:
            return
        until = self._until(self._owner, raised)
        if until > trio.current_time():
            handle.linger(self._owner, until)
        else:
            handle.leave()

    def _until(self, owner: RoomConnection, raised: BaseException | None) -> float:
        """Until when the member may linger, on Trio's clock; long ago if it may not."""
        lifecycle, now = self._state.lifecycle, trio.current_time()
        expired, held = lifecycle.timeouts.expired, owner.held
        if (
            lifecycle.ended is None
            or lifecycle.ended.cause not in _BY_PEER
            or isinstance(expired, Revoked | LeaseExpired)
            or (raised is not None and not _is_end(raised))
            or not any(one.subject is not None for one in held)  # nobody could come back as the same
            or any(map(self._room.kicks.table.revocations.is_revoked, held))
        ):
            return -math.inf
        leases = self._leases  # which the connection has forgotten if its socket is closed
        return min(now + self._room.linger, math.inf if leases is None else leases.end_by(now))

    # As one of what the connection holds.

    @property
    def owner(self) -> RoomConnection:
        """Whose it is."""
        if self._owner is None:
            raise RuntimeError("it is not in the room")
        return self._owner

    async def ask(self, principal: object, /) -> None:
        """A renewal changes nothing."""
        await trio.lowlevel.checkpoint()

    def end(self, failure: Exception, /) -> None:
        """Leave at once, cancel the body, and raise `failure` where it ends. Only the first call counts."""
        if self._failure is not None:
            return
        self._failure = failure
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.leave()
        if self._scope is not None:
            self._scope.cancel()

    def leave(self) -> None:
        """It has left, because it has ended."""


def _is_end(raised: BaseException) -> bool:
    """Whether this is what becomes of a body whose connection has ended."""
    return all(isinstance(leaf, trio.Cancelled | Disconnected) for leaf in flatten(raised))
