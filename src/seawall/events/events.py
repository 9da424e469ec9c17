"""`Events`: the messages of a connection, each handled by the function for its type."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar, cast, final, overload
from weakref import WeakKeyDictionary

from seawall.callables import Parameter, PathArgument, agrees, shown
from seawall.connection.connection import Connection, state_of
from seawall.connection.message_format import MessageFormat
from seawall.connection.state import ConnectionState
from seawall.connection.typed_messages import ending_of
from seawall.errors import ConfigurationError
from seawall.events import conversation
from seawall.events.conversation import Conversation
from seawall.events.event import AnyEvent, Event, EventHandler, classes_of
from seawall.events.route_handler import RouteHandler
from seawall.guards.guard import Check, Guard
from seawall.guards.service import Service, Serviced, services_of
from seawall.messages.codec import JSON, Codec, Fields, MessagePack
from seawall.messages.decoder import EventDecoder, answer_decoder_for, is_message_class
from seawall.messages.encoder import MessageEncoder
from seawall.messages.forms import members_of
from seawall.messages.hints import UnresolvedName
from seawall.messages.unions import check_names, check_tags
from seawall.mistakes import is_number

if TYPE_CHECKING:
    from typing_extensions import TypeForm

P = TypeVar("P")
N = TypeVar("N")
M = TypeVar("M")
T = TypeVar("T")
Q = ParamSpec("Q")
R = TypeVar("R", bound="Fields | None")


class EventDecorator(Protocol[P, M]):
    """What ``events.on(...)`` returns: a decorator for handlers of messages of one type."""

    @overload
    def __call__(
        self, handler: Callable[Concatenate[Connection[P], M, Q], AsyncIterator[R]], /
    ) -> Callable[Concatenate[Connection[P], M, Q], AsyncIterator[R]]: ...
    @overload
    def __call__(
        self, handler: Callable[Concatenate[Connection[P], M, Q], Awaitable[R]], /
    ) -> Callable[Concatenate[Connection[P], M, Q], Awaitable[R]]: ...
    def __call__(self, handler: Callable[..., object], /) -> Callable[..., object]:  # type: ignore[explicit-any]  # any path
        """Register `handler` and return it unchanged."""
        ...


@final
class Events(RouteHandler, Serviced, Generic[P]):
    """Handles each message of a connection by the function for its type; `P` is the principal of the route.

    ::

        events = Events[User](sends=Said | Left)


        @events.on(Say)
        async def say(conn: Connection[User], message: Say, room: str) -> Said:
            return Said(conn.principal.name, message.text)


        app.route("/rooms/{room}", guard=member)(events)

    It is a handler, as it is. A handler around it awaits it between entering and leaving::

        @app.route("/rooms/{room}", guard=member)
        async def chat(conn: Connection[User], room: str) -> None:
            async with people.joined(conn):
                await events(conn, room=room)

    A message that brings a ``ref``, which is an integer below 2**53 or a text of at most 64 bytes, asks for an answer,
    which has that as its ``re``: what the handler returns; ``{"type": "done"}`` if that is None; or all that it yields,
    and then ``{"type": "end"}``. ``{"type": "cancel", "ref": ...}`` cancels it. Without a ``ref``, what is returned or
    yielded is sent as a message, and None is not.

    What a handler raises goes to the error policy, in the phase `Phase.MESSAGE`.
    """

    def __init__(self, *, sends: TypeForm[object] | None = None, concurrent: int = 1) -> None:
        """Begin with no types of messages.

        Args:
          sends: the classes of what is sent without being asked for, by `Connection.send`; sending another value is
            then a `TypeError`. None allows all.
          concurrent: how many events of a connection are handled at a time. With 1 they are handled in order. Handlers
            that yield are not counted: 16 of them run at a time.

        Raises:
          ConfigurationError: no message can carry one of `sends`, or `concurrent` is no number of events.
        """
        if not (is_number(concurrent) and concurrent >= 1 and concurrent % 1 == 0):
            raise ConfigurationError(f"Events(concurrent={concurrent!r}); give a whole number of events, 1 or more")
        self._sends = None if sends is None else members_of(sends)
        encoder = MessageEncoder(JSON())
        for kind in self._sends or ():
            _check_sendable(encoder, kind, "Events(sends=...)")
        self._concurrent: Final = concurrent
        self._events: dict[type, AnyEvent[P]] = {}
        self._registered: tuple[AnyEvent[P], ...] = ()
        self._names: Mapping[str, object] = {}
        self._protocols: WeakKeyDictionary[MessageFormat, conversation.Protocol[P]] = WeakKeyDictionary()
        self._running: dict[ConnectionState, Conversation[P]] = {}
        self._replies = MessageEncoder(JSON())  # looks at what handlers return
        self._is_used = False

    @overload
    def on(self, kind: TypeForm[M], /, *, timeout: float | None = None) -> EventDecorator[P, M]: ...
    @overload
    def on(self, kind: TypeForm[M], /, *, guard: Guard[P, N], timeout: float | None = None) -> EventDecorator[N, M]: ...
    @overload
    def on(self, kind: TypeForm[M], /, *, guard: Check[P], timeout: float | None = None) -> EventDecorator[P, M]: ...
    def on(
        self, kind: TypeForm[M], /, *, guard: Guard[P, N] | Check[P] | None = None, timeout: float | None = None
    ) -> EventDecorator[P, M] | EventDecorator[N, M]:
        """Register the async function below as the handler of messages of one type.

        Args:
          kind: a class, or a union of classes; ``bytes`` takes binary messages as they come where the codec's are text,
            and ``str`` text where they are binary.
          guard: asked for each message; the handler's connection has the principal that it proves. Or a check.
          timeout: seconds for guard and handler together; what takes longer is cancelled, and `EventTimeout`.

        Raises:
          ConfigurationError: no message can be of this type, another handler has it, the function is no handler, the
            guard is one that only a route can have, or the events have been given to a route already.
        """

        def register(handler: Callable[..., object], /) -> Callable[..., object]:  # type: ignore[explicit-any]  # any path
            self._add(Event(kind=kind, handler=cast("EventHandler", handler), guard=guard, timeout=timeout))
            return handler

        return cast("EventDecorator[P, M]", register)

    def _add(self, event: AnyEvent[P]) -> None:
        if self._is_used:
            raise ConfigurationError(f"{event.owner}: the events are in use already; register it before the route")
        found: Mapping[str, object] = {} if event.is_raw else _names_in(event.kind, event.owner)
        for kind in classes_of(event.kind):
            if (other := self._events.get(kind)) is not None:
                raise ConfigurationError(f"{event.owner}: {other.owner} handles {kind.__name__} already; remove one")
        for reply in event.replies:
            _check_sendable(self._replies, reply, event.owner)
        registered = (*self._registered, event)
        classes = [one for known in registered for one in members_of(known.kind) if is_message_class(one)]
        try:
            check_tags(classes, "the events")
            names = check_names(self._names, found.items())
        except ConfigurationError as error:
            raise ConfigurationError(f"{event.owner}: {error}") from None
        _check_one_raw(registered)
        _taken_from_path(registered)
        self._registered, self._names = registered, names
        self._events |= dict.fromkeys(classes_of(event.kind), event)

    async def request(self, conn: Connection[object], ask: Fields, answer: TypeForm[T], /, *, timeout: float) -> T:  # noqa: ASYNC109 - as everywhere
        """Ask the peer and wait for its answer: a message that has as its ``re`` the ``ref`` which this one brings.

        It may be called wherever the connection is at hand, in a handler of events too: it reads while it waits, so
        that answers and cancels act at once. Events wait meanwhile, in their order.

        Args:
          conn: the connection; its `Events` have to be running.
          ask: the question.
          answer: the type of the answer.
          timeout: seconds to wait for it.

        Raises:
          EventTimeout: there was no answer in time; one that comes later is dropped.
          InvalidMessage: the answer is not of the type.
          Disconnected, Draining: there will be none.
          ConfigurationError: the events do not run on this connection, or no answer can be of the type.
        """
        if not (is_number(timeout) and 0 < timeout <= sys.maxsize):
            raise ConfigurationError(f"events.request(timeout={timeout!r}); give a number of seconds above 0")
        state = state_of(conn)
        running = self._running.get(state)
        if running is None:
            if state.lifecycle.ended is not None or state.lifecycle.draining.is_set():
                raise ending_of(state)
            raise ConfigurationError(
                "events.request(): the events do not run on this connection; ask while `await events(conn)` runs"
            )
        decoder = answer_decoder_for(state.format.codec, answer, where="events.request()")
        return await running.request(ask, decoder, timeout)

    async def __call__(self, conn: Connection[P], /, **path: Parameter) -> None:
        """Handle the events of a connection until its conversation is over. It is what a route's handler awaits, or is.

        Args:
          conn: the connection.
          path: the path parameters that handlers and guards take.

        Raises:
          Disconnected: the connection is over.
          ConfigurationError: a path parameter is missing or of another type than annotated, or nobody takes it; no
            event is registered; or they run on this connection already.
        """
        state = state_of(conn)
        protocol = self._protocol_of(state.format)
        _check_handed(self._taken, path)
        if state in self._running:
            raise ConfigurationError("events(conn): they run on this connection already; await it once")
        before = state.format
        running = self._running[state] = Conversation(protocol, conn, path)
        state.format = protocol.pushes or before
        try:
            await running.run()
        finally:
            state.format = before
            del self._running[state]

    def check_route(self, codec: Codec | None) -> tuple[PathArgument, ...]:
        """What the events take from the path, all together: a route asks for it when they are given to it.

        Raises:
          ConfigurationError: there is no event, an annotation names what does not exist, or the codec cannot carry what
            is received or sent.
        """
        taken = self._taken
        if codec is None:
            takes_text = any(event.kind is str for event in self._registered)
            codec = MessagePack() if takes_text else JSON()
        _check_raw(self._registered, codec)
        for event in self._registered:
            if not event.is_raw:
                EventDecoder(codec, (event.kind,), where=event.owner)
        self._protocol_of(MessageFormat(codec, ""))
        return tuple(taken.values())

    def services(self) -> tuple[Service, ...]:
        """What the guards of the events need: a route asks for it when they are given to it."""
        return services_of(*self._registered)

    @cached_property
    def _taken(self) -> Mapping[str, PathArgument]:
        """What the events take from the path, by name. From now on, there are no more events."""
        if not self._registered:
            raise ConfigurationError("the Events have no event; register one with `@events.on(...)` before the route")
        self._is_used = True
        return _taken_from_path(self._registered)

    def _protocol_of(self, format_: MessageFormat) -> conversation.Protocol[P]:
        """What is made once for each route that has the events."""
        made = self._protocols.get(format_)
        if made is None:
            _ = self._taken
            _check_raw(self._registered, format_.codec)
            kinds = tuple(event.kind for event in self._registered)
            for event in self._registered:
                for kind in event.replies:
                    format_.encoder.check(kind, where=event.owner)
            made = self._protocols[format_] = conversation.Protocol(
                events=self._events,
                decoder=EventDecoder(format_.codec, kinds, where="the events"),
                encoder=format_.encoder,
                framed=format_.framed,
                concurrent=self._concurrent,
                pushes=None if self._sends is None else format_.sending(self._sends, where="Events(sends=...)"),
            )
        return made


def _check_raw(events: Iterable[AnyEvent[P]], codec: Codec) -> None:
    """Refuse messages as they come whose kind is the codec's own.

    Raises:
      ConfigurationError: it is so for one of the events.
    """
    own, other = (bytes, str) if codec.binary else (str, bytes)
    for event in events:
        if event.kind is own:
            kind = "text" if own is str else "binary"
            raise ConfigurationError(
                f"{event.owner}: on({own.__name__}) on a route whose messages are {kind}, which the codec reads; write "
                f"a class for them, or on({other.__name__}) for the other kind"
            )


def _check_one_raw(events: Iterable[AnyEvent[P]]) -> None:
    """Refuse both kinds of messages as they come.

    Raises:
      ConfigurationError: there are both.
    """
    if len(raw := {event.kind: event.owner for event in events if event.is_raw}) > 1:
        raise ConfigurationError(
            f"{' and '.join(raw.values())}: on(str) and on(bytes), but the codec of a route reads one of them; write a "
            "class for those"
        )


def _check_sendable(encoder: MessageEncoder, kind: object, owner: str) -> None:
    try:
        encoder.check(kind, where=owner)
    except UnresolvedName:
        pass  # it may exist when a route is given the events


def _names_in(kind: object, owner: str) -> Mapping[str, object]:
    """The classes of all that is in the messages of one type, by name.

    Raises:
      ConfigurationError: no message can be of it.
    """
    try:
        return EventDecoder(JSON(), (kind,), where=owner).names
    except UnresolvedName:
        return {}  # it may exist when a route is given the events, which looks again


def _taken_from_path(events: Iterable[AnyEvent[P]]) -> dict[str, PathArgument]:
    """What the events take from the path, by name.

    Raises:
      ConfigurationError: two of them annotate a parameter differently.
    """
    found: dict[str, PathArgument] = {}
    for argument in (argument for event in events for taken in event.parameters() for argument in taken):
        known = found.setdefault(argument.name, argument)
        if argument.annotation != known.annotation:
            raise ConfigurationError(
                f"{argument.owner} and {known.owner} annotate the path parameter {argument.name!r} differently; "
                "a path has one type for it"
            )
        if argument.required and not known.required:
            found[argument.name] = argument
    return found


def _check_handed(taken: Mapping[str, PathArgument], path: Mapping[str, Parameter]) -> None:
    """Compare what a handler hands on with what the events take, as a route does for handlers.

    Raises:
      ConfigurationError: they do not fit.
    """
    for name, argument in taken.items():
        if name not in path:
            if argument.required:
                raise ConfigurationError(f"{argument.owner} takes {name!r}; hand it on: await events(conn, {name}=...)")
        elif not any(agrees(argument.annotation, kind) for kind in type(path[name]).__mro__):
            raise ConfigurationError(
                f"{argument.owner}: parameter {name!r} is annotated {shown(argument.annotation)}, but "
                f"events(conn, {name}=...) was given a {type(path[name]).__name__}; change one of them"
            )
    if unclaimed := path.keys() - taken.keys():
        raise ConfigurationError(
            f"events(conn, {min(unclaimed)}=...): no handler and no guard of the events takes it; leave it out"
        )
