"""`Presence` and `People`: who is in a room, said by those who are there, and read by whoever wants to know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final, Generic, TypeVar, cast, final

from attrs import frozen

from seawall.callables import Parameter
from seawall.connection.connection import Connection, state_of
from seawall.connection.state import ConnectionState
from seawall.connection.subscriptions import SubscribeOptions, Subscription
from seawall.entering import MustBeEntered
from seawall.errors import ConfigurationError
from seawall.lag import DropOldest, Latest
from seawall.position import Position
from seawall.topics.forwarding import Forwarding, SubscribeRequest
from seawall.topics.hub import Hub
from seawall.topics.keys import RoomKey, RoomPattern
from seawall.topics.kicking import Moderated
from seawall.topics.kinds import Kinds
from seawall.topics.presence_changes import Member, PresenceChange, PresenceEvent
from seawall.topics.presence_membership import Membership, PresenceRoom
from seawall.topics.presence_reading import MAX_WAITING, Changes
from seawall.topics.presence_rooms import PresenceRooms
from seawall.topics.rendering import Wrap

M = TypeVar("M")

#: Seconds that somebody may linger at most: a reload takes a few.
MAX_LINGER: Final = 300.0


@final
class Presence(Generic[M]):
    """Who is in the rooms of one pattern; made by `App.presence`. A topic of the same pattern has the same rooms.

    ::

        people = app.presence("rooms/{room}", Who)

        async with people(room=room).joined(conn, Who(conn.principal.subject)) as me:
            async for message in conn.messages(Typing):
                await me.update(Who(conn.principal.subject, typing=True))
    """

    __slots__ = ("_hub", "_linger", "_pattern", "_rooms")

    def __init__(self, hub: Hub, pattern: RoomPattern, kinds: Kinds, linger: float) -> None:
        """Made by `App.presence`."""
        self._hub = hub
        self._pattern = pattern
        self._linger = linger
        self._rooms: PresenceRooms[M] = PresenceRooms(hub, pattern.text, kinds)
        hub.presences.add(pattern.text, self._rooms)

    def __repr__(self) -> str:
        """The pattern."""
        return f"Presence({self._pattern.text!r})"

    def __call__(self, **parameters: Parameter) -> People[M]:
        """Those in one room.

        Raises:
          TypeError: a parameter is missing, or unknown, or not of the type that the pattern names.
          InvalidMessage: a text is too long for the name of a room, or cannot be encoded; or a number is too large.
        """
        return People(
            PresenceRoom(self._rooms, self._pattern.key(parameters), self._hub.kicks, self._linger), self._hub
        )


@final
@frozen(eq=False, repr=False)
class People(Moderated, Generic[M]):
    """Those who are in one room. Nothing is kept of it while nobody is there."""

    _room: PresenceRoom[M]
    _hub: Hub

    @property
    def _key(self) -> RoomKey:
        return self._room.key

    @property
    def _place(self) -> tuple[Hub, RoomKey]:
        return self._hub, self._key

    def __eq__(self, other: object) -> bool:
        """Whether they are of the same room of the same app."""
        if not isinstance(other, People):
            return NotImplemented
        return self._hub is other._hub and self._key == other._key

    def __hash__(self) -> int:
        """One hash for those that are equal."""
        return hash(self._key)

    def __repr__(self) -> str:
        """Which room it is."""
        return f"People({self._key!r})"

    def joined(self, connection: Connection[object], value: M, /) -> AbstractAsyncContextManager[Membership[M]]:
        """Be in the room, with `value`, for as long as the ``async with`` lasts. There is one value a connection.

        If the connection is then ended by its peer, which closes it, vanishes, or takes nothing for too long, the
        member stays for the seconds of ``linger``. When the same subject of the same issuer, by the credentials of its
        connection, joins again within them, it is the same member, and nobody has left: so a reload of a page does not
        flicker. Nobody lingers who is nobody's: whose guards have named no subject. Nor does who has been revoked or
        kicked, or whose lease has ended, not even for the rest of its time; or whose block ends otherwise.

        It counts for ``Limits.max_subscriptions`` of the connection. Where the connection is in the room already,
        because a block of another task has been cancelled and still ends, it waits for that, but no longer than
        ``Limits.wind_down`` seconds.

        Args:
          connection: whose it is.
          value: what others see; keep it small, and do not change it: `Membership.update` says something else.

        Raises, where it is entered:
          Kicked: who is connected has been kicked out of the room, and may not come back yet.
          TooManyRequests: there are ``Limits.max_subscriptions`` of this connection, or ``Limits.max_rooms``; or the
            value has more than 4 KiB, or those of this connection more than 16 KiB in all rooms together.
          TypeError: the value is of another class than those of the presence.
          TypeError, ValueError: it cannot be sent as a message.
          Unavailable: the app is not served.
          Disconnected: the connection is over.
          ConfigurationError: it is in the room already, and stays; it is another app's; or no message can carry the
            value.

        Somebody who is kicked leaves at once: the body is cancelled, and the ``async with`` raises `Kicked`.
        """
        self._hub.check_here("joined")
        state = state_of(connection)
        self._check_known("joined", state)
        return MustBeEntered("people(...).joined(...)", Membership(self._room, state, value))

    def members(self) -> tuple[Member[M], ...]:
        """Who is there now, in the order in which they have joined; nobody while the app is not served.

        Raises:
          ConfigurationError: it is another thread than the server's.
        """
        if self._hub.is_served:
            self._hub.check_here("members")
            return self._room.rooms.members(self._key)
        return ()

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[PresenceEvent[M]]]:
        """Who is there, as a `Snapshot`, and then each `Joined`, `Updated` and `Left`, as they happen.

        ::

            async with people(room=room).changes() as changes:
                async for change in changes:
                    match change:
                        case Snapshot(members):
                            ...
                        case Joined(member) | Updated(member):
                            ...
                        case Left(member):
                            ...
                        case Gap():
                            ...  # a new snapshot comes next
                        case _:
                            assert_never(change)

        It waits for the next one and does not end by itself; whoever iterates is cancelled. A reader that is busy while
        more than a thousand changes happen is told of the `Gap`, and then who is there.

        Raises, where it is entered:
          Unavailable: the app is not served, or not any more.
          TooManyRequests: there are ``Limits.max_rooms``.
          ConfigurationError: it is another thread than the server's.
        """
        self._hub.check_here("changes")
        return MustBeEntered("people(...).changes()", Changes(self._room.rooms, self._key))

    def subscription(
        self, connection: Connection[object], options: SubscribeOptions[PresenceChange[M]], /
    ) -> AbstractAsyncContextManager[Subscription]:
        """For `Connection.subscribe`: the peer is told who is there, and then what changes.

        ::

            def tell(event: RoomEvent[PresenceChange[Who]] | Gap) -> Sendable | None:
                if isinstance(event, Gap):
                    return None  # another snapshot comes next
                match event.value:
                    case Snapshot(members):
                        ...
                    case Joined(member) | Updated(member):
                        ...
                    case Left(member):
                        ...
                    case _:
                        assert_never(event.value)


            async with conn.subscribe(people(room=room), wrap=tell):
                ...

        It needs a ``wrap``, which makes a message of each `Snapshot`, `Joined`, `Updated` and `Left`, and takes no
        ``since``: the snapshot says what was before. For a peer that does not keep up a thousand changes wait, or as
        the `lag` says; behind a `Gap` there is a snapshot again.

        Raises:
          ConfigurationError: there is no ``wrap``; there is a ``since`` that is a position; `lag` is a `Latest`; or the
            connection is another app's.
        """
        self._hub.check_here("subscribe")
        self._check_known("subscribe", state_of(connection))
        where = f"subscribe() to the presence {self._key.pattern!r}"
        if options.wrap is None:
            raise ConfigurationError(f"{where} needs wrap=, a function that makes messages of what changes")
        if isinstance(options.since, Position):
            raise ConfigurationError(f"{where} begins with who is there; leave since= out")
        if isinstance(options.lag, Latest):
            raise ConfigurationError(f"{where} with Latest would hide who has left; use DropOldest(n) or Disconnect(n)")
        wrap = cast("Wrap", options.wrap)  # it takes the changes of this presence, and gets no others
        lag = DropOldest(MAX_WAITING) if options.lag is None else options.lag
        return Forwarding(self._room.rooms, SubscribeRequest(self._key, "joined", wrap), connection, lag)

    def _check_known(self, call: str, state: ConnectionState) -> None:
        if not self._hub.knows(state):
            raise ConfigurationError(
                f"{call}() of {self._key.pattern!r}, which is another app's presence; use one of the app that serves "
                "this connection"
            )


def check_linger(where: str, linger: object) -> None:
    """Refuse what is no time for which somebody may linger.

    Raises:
      ConfigurationError: it is none; the text begins with `where`.
    """
    if not (isinstance(linger, int | float) and not isinstance(linger, bool) and 0 <= linger <= MAX_LINGER):
        raise ConfigurationError(f"{where}: linger={linger!r}; give a number of seconds up to {MAX_LINGER:g}, or 0")
