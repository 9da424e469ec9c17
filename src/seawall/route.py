"""`Route`: where a connection may arrive, who guards the door, and who is behind it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, final

import trio
from attrs import Attribute, field, frozen

from seawall.compression import RouteCompression, check_compression
from seawall.connection import Connection
from seawall.errors import ConfigurationError
from seawall.guards.core import Anonymous, Check, Gate, Guard
from seawall.guards.origins import OriginCheck, Origins
from seawall.limits import LimitOverrides
from seawall.paths import Parameter, PathPattern
from seawall.policy import ErrorPolicy
from seawall.signatures import Taken, check, describe, is_async, taken

P = TypeVar("P")
P_contra = TypeVar("P_contra", contravariant=True)
Q = ParamSpec("Q")

Handler: TypeAlias = Callable[Concatenate[Connection[P], ...], Awaitable[None]]  # type: ignore[explicit-any]  # any path
"""An async function that takes a `Connection` and, by keyword, the parameters of its path."""

#: A token of RFC 9110, section 5.6.2, which is what a subprotocol must be (RFC 6455, section 4.1).
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Endpoint(Protocol[P]):
    """What ``app.route(...)`` returns: a decorator for handlers that take what the guard proves."""

    def __call__(
        self, handler: Callable[Concatenate[Connection[P], Q], Awaitable[None]], /
    ) -> Callable[Concatenate[Connection[P], Q], Awaitable[None]]:
        """Register `handler` and return it unchanged."""
        ...


class Opening(Protocol):
    """Makes the `Connection` for a principal."""

    def __call__(self, principal: P, /) -> Connection[P]:
        """The connection, with its principal."""
        ...


#: Runs the handler for a principal that has been proved.
Enter: TypeAlias = Callable[[Opening], Awaitable[None]]


class AnyRoute(ABC):
    """A `Route` of whatever principal: the type of a table of routes."""

    @property
    @abstractmethod
    def table_entry(self) -> RouteEntry:
        """What the look-up and the session need to know."""

    @abstractmethod
    async def admit(self, gate: Gate, /) -> Enter:
        """Run the guards; what they refuse, they raise."""


@final
@frozen(kw_only=True)
class RouteEntry:
    """The parts of a route that do not depend on its principal's type."""

    pattern: PathPattern
    name: str
    errors: ErrorPolicy
    limits: LimitOverrides
    subprotocols: tuple[str, ...]
    origins: OriginCheck | None
    compression: RouteCompression
    handler: str
    needs_task: bool
    """Whether the guards run in a task of their own."""


def _check_guard(value: object) -> None:
    if isinstance(value, Check):
        raise ConfigurationError("guard= was given a check, which proves nobody; write `check >> public`")
    if not isinstance(value, Guard):
        raise ConfigurationError(f"guard= was given {value!r}; give a Guard, such as `public` or `bearer(verifier)`")


def _tokens(instance: object, attribute: Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for entry in value:
        if not _TOKEN.fullmatch(entry):
            raise ConfigurationError(f"subprotocol {entry!r} is not a token (RFC 6455, section 4.1); remove separators")


def _a_tuple(value: Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ConfigurationError(f"subprotocols={value!r}: give a list, [{value!r}]")
    return tuple(value)


@final
@frozen(kw_only=True)
class Route(AnyRoute, Generic[P]):
    """One path with its guard and its handler; ``app.route(...)`` makes one, ``app.add(...)`` takes it.

    Raises:
      ConfigurationError: path, guard, handler and parameters do not fit together; the text names the function and the
        remedy.
    """

    path: str
    """The pattern, such as ``/rooms/{room}``; see `seawall.paths`."""
    guard: Guard[Anonymous, P]
    """Proves who it is. There is no default: a door that is open to all says so with `public`."""
    handler: Handler[P]
    """What runs for each connection."""
    errors: ErrorPolicy = field(factory=ErrorPolicy)
    """Asked before the app's policy."""
    limits: LimitOverrides = field(factory=LimitOverrides)
    """Single limits of this route, over the app's."""
    subprotocols: tuple[str, ...] = field(default=(), converter=_a_tuple, validator=_tokens)
    """The subprotocols that this route speaks; the first of the client's that is among them is selected."""
    origins: Origins | None = None
    """Which web pages may connect; None leaves it to the app."""
    compression: RouteCompression = None
    """How messages are compressed; None leaves it to the app, False switches it off."""
    name: str = ""
    """For log and reports; the path, if left out."""
    _entry: RouteEntry = field(init=False, repr=False)
    _taken: tuple[Taken, ...] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Check that the parts fit together."""
        by = describe(self.handler)
        if not is_async(self.handler):
            raise ConfigurationError(f"{by} is not an async function; a handler is `async def` and awaits")
        with _naming(by):
            _check_guard(self.guard)
            check_compression(self.compression, where=f"route {self.path}")
            pattern = PathPattern.parse(self.path)
            origins = None if self.origins is None else OriginCheck.parse(self.origins)
        handler_takes = taken(self.handler, leading=1)
        check(self.path, pattern.parameters, by=by, functions=(handler_takes, *self.guard.parameters()))
        entry = RouteEntry(
            pattern=pattern,
            name=self.name or self.path,
            errors=self.errors,
            limits=self.limits,
            subprotocols=self.subprotocols,
            origins=origins,
            compression=self.compression,
            handler=by,
            needs_task=self.guard.needs_task(),
        )
        object.__setattr__(self, "_taken", handler_takes)
        object.__setattr__(self, "_entry", entry)

    @property
    def table_entry(self) -> RouteEntry:
        """What the look-up and the session need to know."""
        return self._entry

    @trio.lowlevel.disable_ki_protection
    async def admit(self, gate: Gate, /) -> Enter:
        """Run the guards; what they refuse, they raise."""
        principal = await self.guard.admit(gate, Anonymous())
        arguments = {wanted.name: gate.params[wanted.name] for wanted in self._taken if wanted.name in gate.params}
        return partial(self._enter, principal, arguments)

    @trio.lowlevel.disable_ki_protection
    async def _enter(self, principal: P, arguments: Mapping[str, Parameter], opening: Opening) -> None:
        await self.handler(opening(principal), **arguments)


@contextmanager
def _naming(by: str) -> Generator[None]:
    """Put the function that a mistake is about in front of it."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{by}: {error}") from None
