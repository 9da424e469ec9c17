"""`Event`: a type of message, and the function that handles it."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from inspect import Parameter as Signed
from types import NoneType
from typing import Generic, TypeAlias, TypeVar, cast, final, get_origin

from attrs import field, frozen

from seawall.callables import (
    Parameter,
    PathArgument,
    describe,
    is_async,
    is_async_generator,
    path_arguments,
    return_types,
)
from seawall.connection.connection import Connection, state_of
from seawall.errors import ConfigurationError
from seawall.events.gate import EventGate
from seawall.guards.guard import Check, Guard
from seawall.guards.results import inspected, proved
from seawall.guards.service import Service, Serviced, services_of
from seawall.messages.codec import Fields
from seawall.messages.decoder import is_message_class
from seawall.messages.fields import is_dictionary, is_without_instances
from seawall.messages.forms import is_named_tuple, members_of
from seawall.messages.tags import tag_of
from seawall.mistakes import is_number

P = TypeVar("P")
P_contra = TypeVar("P_contra", contravariant=True)
N = TypeVar("N")

#: What a handler of an event may do: return one message or nothing, or yield several.
Outcome: TypeAlias = Awaitable[Fields | None] | AsyncIterator[Fields]

#: A handler, whatever message and path parameters it takes.
EventHandler: TypeAlias = Callable[..., Outcome]  # type: ignore[explicit-any]  # any path

#: A handler that returns what it answers.
PlainHandler: TypeAlias = Callable[..., Awaitable[Fields | None]]  # type: ignore[explicit-any]  # likewise


class AnyEvent(Serviced, ABC, Generic[P_contra]):
    """An `Event`, whatever principal its handler takes."""

    kind: object
    """The class of the messages, a union of classes, or ``bytes`` or ``str`` for messages as they came."""
    name: str
    """The ``type`` of the messages, for the log."""
    timeout: float | None
    """Seconds that the handler may take, its guard included."""
    is_raw: bool
    """Whether the messages are not decoded: ``bytes`` or ``str``."""
    is_stream: bool
    """Whether the handler yields its answers."""
    plain: PlainHandler | None
    """The handler, if it has neither a guard nor a timeout and is no stream: it can be called as it is."""
    taken: tuple[PathArgument, ...]
    """What the handler takes from the path."""
    replies: tuple[object, ...]
    """The classes of what the handler returns or yields, by its annotation, as far as they are known."""

    @property
    @abstractmethod
    def owner(self) -> str:
        """The handler, for messages."""

    @abstractmethod
    def parameters(self) -> tuple[tuple[PathArgument, ...], ...]:
        """What handler and guard take from the path."""

    @abstractmethod
    async def call_guarded(
        self, conn: Connection[P_contra], message: object, path: Mapping[str, Parameter], resources: AsyncExitStack, /
    ) -> Outcome:
        """Ask the guard, then call the handler; what the guard enters is held by `resources`. Raises what they do."""


@final
@frozen(kw_only=True, eq=False)
class Event(AnyEvent[P], Generic[P, N]):
    """A type of message and the function that handles it, with what its guard makes of the principal.

    Raises:
      ConfigurationError: the handler is no async function, or the guard is one that only a route can have.
    """

    kind: object
    handler: EventHandler
    guard: Guard[P, N] | Check[P] | None
    timeout: float | None
    name: str = field(init=False, default="")
    is_raw: bool = field(init=False)
    is_stream: bool = field(init=False)
    plain: PlainHandler | None = field(init=False)
    taken: tuple[PathArgument, ...] = field(init=False)
    replies: tuple[object, ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Check that the parts fit together."""
        object.__setattr__(self, "name", "|".join(map(_name, members_of(self.kind))))
        handler: object = self.handler
        if not callable(handler):
            raise ConfigurationError(f"@events.on({self.name}) was given {handler!r}; give an async function")
        is_stream = is_async_generator(self.handler)
        if not (is_stream or is_async(self.handler)):
            raise ConfigurationError(f"{self.owner} is not an async function; a handler of events is `async def`")
        if self.timeout is not None and not (is_number(self.timeout) and 0 < self.timeout <= sys.maxsize):
            raise ConfigurationError(f"{self.owner}: timeout={self.timeout!r}; give a number of seconds above 0")
        _check_guard(self.owner, self.guard)
        object.__setattr__(self, "is_raw", self.kind is bytes or self.kind is str)
        object.__setattr__(self, "is_stream", is_stream)
        is_plain = self.guard is None and self.timeout is None and not is_stream
        object.__setattr__(self, "plain", self.handler if is_plain else None)
        object.__setattr__(self, "replies", tuple(filter(_may_be_checked, return_types(self.handler))))
        object.__setattr__(
            self, "taken", path_arguments(self.handler, leading=2, first="the connection and the message")
        )

    @property
    def owner(self) -> str:
        """The handler, for messages."""
        return describe(self.handler)

    def parameters(self) -> tuple[tuple[PathArgument, ...], ...]:
        """What handler and guard take from the path."""
        of_guard = () if self.guard is None else self.guard.parameters()
        return (self.taken, *of_guard)

    def services(self) -> tuple[Service, ...]:
        """What the guard needs."""
        return services_of(self.guard)

    async def call_guarded(
        self, conn: Connection[P], message: object, path: Mapping[str, Parameter], resources: AsyncExitStack, /
    ) -> Outcome:
        """Ask the guard, then call the handler."""
        gate = EventGate(state_of(conn), path, resources)
        arguments = arguments_of(self.taken, path)
        if isinstance(self.guard, Guard):
            narrowed = conn.narrowed(proved(self.guard, await self.guard.admit(gate, conn.principal)))
            return self.handler(narrowed, message, **arguments)
        if self.guard is not None:
            await inspected(self.guard, gate, conn.principal)
        return self.handler(conn, message, **arguments)


def classes_of(kind: object) -> tuple[type, ...]:
    """The classes of the messages that a type of event stands for."""
    return tuple(cast("type", get_origin(member) or member) for member in members_of(kind))


def _may_be_checked(kind: object) -> bool:
    """Whether it is a class of messages, or something that surely is none: ``int``, ``list[Said]``."""
    origin = get_origin(kind) or kind
    if not isinstance(origin, type) or origin in (object, NoneType, Signed.empty):
        return False
    is_none = origin.__module__ == "builtins" or is_named_tuple(origin) or is_dictionary(origin)
    return is_none or (is_message_class(origin) and not is_without_instances(origin))


def _name(member: object) -> str:
    kind = get_origin(member) or member
    if kind is bytes or kind is str or not isinstance(kind, type):
        return str(getattr(kind, "__name__", kind))
    return tag_of(kind)


def arguments_of(taken: tuple[PathArgument, ...], path: Mapping[str, Parameter]) -> Mapping[str, Parameter]:
    """Those of the path parameters that a function takes."""
    return {wanted.name: path[wanted.name] for wanted in taken if wanted.name in path}


def _check_guard(owner: str, guard: object) -> None:
    if guard is None:
        return
    if not isinstance(guard, Guard | Check):
        raise ConfigurationError(f"{owner}: guard={guard!r} is neither a guard nor a check; leave it out, or give one")
    step = cast("Guard[object, object] | Check[object]", guard)
    if step.takes_token() or step.accepts():
        raise ConfigurationError(
            f"{owner}: the guard takes a token, which the client has presented when it connected; put it into the "
            "guard of the route, and ask here for what the principal may do: guard=has_scope('chat:write')"
        )
