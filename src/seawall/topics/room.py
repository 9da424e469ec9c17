"""`Room`: where something is published, and read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Generic, TypeVar, cast, final, overload

import trio

from seawall.connection.connection import Connection, state_of
from seawall.connection.state import ConnectionState
from seawall.connection.subscriptions import SubscribeOptions, Subscription
from seawall.entering import MustBeEntered
from seawall.errors import ConfigurationError
from seawall.lag import DropNewest, DropOldest, Lag
from seawall.mistakes import is_count
from seawall.position import Position, Since
from seawall.room_event import Gap, RoomEvent
from seawall.topics.definition import Definition
from seawall.topics.entry import Entry
from seawall.topics.forwarding import Forwarding, SubscribeRequest
from seawall.topics.hub import Hub
from seawall.topics.keys import RoomKey
from seawall.topics.kicking import Moderated
from seawall.topics.reading import Reading
from seawall.topics.rendering import Wrap

T = TypeVar("T")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    R_contra = TypeVarWithDefault("R_contra", contravariant=True, default=object)
else:
    R_contra = TypeVar("R_contra", contravariant=True)


@final
class Room(Moderated, Generic[T, R_contra]):
    """One room of a topic: values of the type `T`, which may be read by those who have proved an `R_contra`.

    A topic called with parameters makes it, and it costs nothing until somebody publishes or reads. Two that are made
    with equal parameters are the same room.
    """

    __slots__ = ("_definition", "_key")

    if not TYPE_CHECKING:

        def __class_getitem__(cls, parameters: object) -> object:
            """``Room[Said]`` is ``Room[Said, object]``, before Python 3.13 too."""
            return super().__class_getitem__(parameters if isinstance(parameters, tuple) else (parameters, object))

    def __init__(self, definition: Definition, key: RoomKey) -> None:
        """Made by a topic."""
        self._definition = definition
        self._key = key

    def __eq__(self, other: object) -> bool:
        """Whether it is the same room of the same app."""
        if not isinstance(other, Room):
            return NotImplemented
        room = cast("Room[object, object]", other)
        return self._definition.hub is room._definition.hub and self._key == room._key

    def __hash__(self) -> int:
        """One hash for the same room."""
        return hash(self._key)

    def __repr__(self) -> str:
        """Which room it is."""
        return f"Room({self._key!r})"

    async def publish(self, value: T, /, *, but: Connection[object] | None = None) -> Position:
        """Publish a value to all who read the room, and return its place.

        It is encoded once, here, and kept as the topic says. That this returns means that those who read will get it,
        each as fast as it can; nobody makes the publisher wait. It waits only while the server itself has not come to
        hand on what was published before. When it is cancelled, nothing has been published.

        Args:
          value: what is published; do not change it afterwards, for readers are given it later.
          but: a connection that does not get it: the one that it comes from, which has shown it already.

        Raises:
          Unavailable: the app is not served.
          TooManyRequests: the value is larger than ``Limits.room_history``, or there are ``Limits.max_rooms``.
          TypeError: the value is of another class than those of the topic, or `but` is no connection; nothing is
            published.
          TypeError, ValueError, ConfigurationError: it cannot be encoded, as for `Connection.send`.
          ConfigurationError: it is another thread than the server's; call it with ``trio.from_thread.run``.
        """
        entry = self._entry("publish", value, but)
        return await self._definition.hub.engine.publish(self._key, self._definition.retention, entry)

    def publish_nowait(self, value: T, /, *, but: Connection[object] | None = None) -> Position:
        """Publish now, and let nobody else run before. Raises as `publish`.

        Whoever publishes much in one go makes the server hold it all, within ``Limits.room_history``.
        """
        entry = self._entry("publish_nowait", value, but)
        return self._definition.hub.engine.publish_nowait(self._key, self._definition.retention, entry)

    def events(
        self, *, since: Since = None, lag: Lag[T] | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[RoomEvent[T] | Gap]]:
        """Read the room in code of your own, for as long as the ``async with`` lasts.

        ::

            async with said(room="lobby").events(since="joined") as events:
                async for event in events:
                    match event:
                        case RoomEvent(value, at):
                            ...
                        case Gap(before, lost):
                            ...

        It is for the server's own eyes: no check is asked.

        Args:
          since: as for `Connection.subscribe`.
          lag: what becomes of this reader if it is busy for too long; as the topic says, when left out.

        Raises, where it is entered or, when it ends before its body, where it is left:
          SlowConsumer: more events wait than `Disconnect` allows.
          Unavailable: the app is not served, or not any more.
          TooManyRequests: there are ``Limits.max_rooms``.
          ConfigurationError: it is another thread than the server's; or `since` or `lag` is none.
        """
        self._definition.hub.check_here("events")
        options = SubscribeOptions[T](since=since, lag=lag, call="events")
        reading = Reading[T](self._definition, self._key, since=options.since, lag=self._lag(options))
        return MustBeEntered("room.events(...)", reading)

    @overload
    async def history(self: Room[T, object], last: int, /) -> Sequence[RoomEvent[T]]: ...
    @overload
    async def history(self, last: int, /, *, to: Connection[R_contra]) -> Sequence[RoomEvent[T]]: ...
    async def history(self, last: int, /, *, to: Connection[R_contra] | None = None) -> Sequence[RoomEvent[T]]:
        """The last events that the room keeps for who comes back, the oldest one first.

        Args:
          last: so many at most.
          to: for whom they are: the check of a readable topic is asked about its principal.

        Raises:
          Exception: what the check raises to refuse.
          Kicked: `to` has been kicked out of the room, and may not come back yet.
          Disconnected: it is over.
          Unavailable: the app is not served.
          ConfigurationError: the topic is readable, and `to` is missing; `to` is another app's; or it is another thread
            than the server's.
        """
        definition = self._definition
        definition.check_current("asked for its history")
        definition.hub.check_here("history")
        if not is_count(last):
            raise ConfigurationError(f"history({last!r}); give a number of events")
        if to is not None:
            self._admit("history", to)
            await definition.ask(self._key, to.principal)
        elif definition.check is not None:
            raise ConfigurationError(
                f"history() of {definition.name!r}, which is readable by some only; say for whom it is: to=conn"
            )
        await trio.lowlevel.checkpoint()
        log = definition.hub.engine.find(self._key)
        if log is None:
            return ()
        first = max(log.kept_from(trio.current_time()), log.end - last)
        kept = [(number, log.get(number)) for number in range(first, log.end)]
        return [RoomEvent(cast("T", entry.value), log.position(number)) for number, entry in kept if entry is not None]

    @property
    def _place(self) -> tuple[Hub, RoomKey]:
        return self._definition.hub, self._key

    def subscription(
        self, connection: Connection[R_contra], options: SubscribeOptions[T], /
    ) -> AbstractAsyncContextManager[Subscription]:
        """For `Connection.subscribe`."""
        definition, lag = self._definition, self._lag(options)
        definition.check_current("subscribed to")
        definition.hub.check_here("subscribe")
        self._check_known("subscribe", state_of(connection))
        if options.wrap is None and isinstance(lag, DropOldest | DropNewest):
            raise ConfigurationError(
                f"subscribe() to {definition.name!r} with {lag!r} and without wrap=, so that nothing tells the peer of "
                "a gap; give a wrap that makes a message of a Gap, or lag=Disconnect(n)"
            )
        wrap = cast("Wrap | None", options.wrap)  # it takes the values of this topic, and gets no others
        return Forwarding(definition, SubscribeRequest(self._key, options.since, wrap), connection, lag)

    def _check_known(self, call: str, state: ConnectionState) -> None:
        if not self._definition.hub.knows(state):
            raise ConfigurationError(
                f"{call}() of a room of {self._definition.name!r}, which is another app's; use a topic of the app that "
                "serves this connection"
            )

    def _admit(self, call: str, connection: Connection[R_contra]) -> None:
        state = state_of(connection)
        self._check_known(call, state)
        self._definition.admit(self._key, state)

    def _entry(self, call: str, value: T, but: Connection[object] | None) -> Entry:
        hub = self._definition.hub
        hub.check_here(call)
        kinds = self._definition.kinds
        if not isinstance(value, kinds.classes):
            raise kinds.refusal(call, value)
        frame = hub.format.frame(value)
        return Entry(value, frame, but=None if but is None else _id_of(call, but))

    def _lag(self, options: SubscribeOptions[T]) -> Lag[object]:
        if options.lag is None:
            return self._definition.lag
        return cast("Lag[object]", options.lag)  # its key takes the values of this topic, and gets no others


def _id_of(call: str, but: object) -> str:
    if not isinstance(but, Connection):
        raise TypeError(f"{call}(but=...) was given {type(but).__name__}; give the Connection that gets nothing")
    return but.id
