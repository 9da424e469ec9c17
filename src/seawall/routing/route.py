"""`Route`: the path of a connection, the guard that proves who it is, and the handler that serves it.

A `RouteTemplate` is a route of a router: it starts from a principal that has been proved before. It becomes a `Route`
when its `MountPath` is known, which is when the router is mounted.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Concatenate, Final, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, final

import trio
from attrs import Attribute, define, field, frozen

from seawall.callables import Parameter, PathArgument, check_path_arguments, describe, is_async
from seawall.compression import RouteCompression, check_compression
from seawall.connection.connection import Connection, connection_of
from seawall.connection.state import ConnectionState
from seawall.errors import ConfigurationError
from seawall.events.route_handler import taken_by
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Check, Guard
from seawall.guards.origins import OriginCheck, Origins, any_origin
from seawall.guards.requirements import SubprotocolToken
from seawall.guards.results import proved
from seawall.guards.service import Service, services_of
from seawall.guards.step import Step
from seawall.guards.ticket_taker import TicketTaker, check_takers
from seawall.http.upgrade import token_in_subprotocol
from seawall.limits import LimitOverrides
from seawall.messages.codec import Codec, check_codec
from seawall.mistakes import check_text, is_text, several
from seawall.policy.error_policy import ErrorPolicy, check_policy
from seawall.routing.mounting import MountPath, Settings, join
from seawall.routing.paths import PathPattern
from seawall.routing.refusing import RefuseWith, check_refuse_with

P = TypeVar("P")
Q = ParamSpec("Q")
Start = TypeVar("Start")
Start_contra = TypeVar("Start_contra", contravariant=True)

Handler: TypeAlias = Callable[Concatenate[Connection[P], ...], Awaitable[None]]  # type: ignore[explicit-any]  # any path
"""An async function that takes a `Connection` and, by keyword, the parameters of its path."""

#: Where every chain of guards begins.
_NOBODY: Final = Anonymous()

#: What most handlers take from their path.
_NO_ARGUMENTS: Final[Mapping[str, Parameter]] = {}

#: A token of RFC 9110, section 5.6.2, which is what a subprotocol must be (RFC 6455, section 4.1).
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Endpoint(Protocol[P]):
    """What ``app.route(...)`` returns: a decorator for handlers that take what the guard proves."""

    def __call__(
        self, handler: Callable[Concatenate[Connection[P], Q], Awaitable[None]], /
    ) -> Callable[Concatenate[Connection[P], Q], Awaitable[None]]:
        """Register `handler` and return it unchanged."""
        ...


class Admitted(ABC):
    """The principal that the guards of a route have proved, and the handler that serves it."""

    @property
    @abstractmethod
    def principal(self) -> object:
        """What the guards have proved."""

    @abstractmethod
    def handle(self, state: ConnectionState, /) -> Awaitable[None]:
        """Run the handler; await the result, in a frame without KI protection."""


class AnyRouteTemplate(ABC, Generic[Start_contra]):
    """A `RouteTemplate`, whatever principal its handler takes: the type of the routes in a router."""

    @property
    @abstractmethod
    def pattern(self) -> PathPattern:
        """Its path below the router that has it."""

    @property
    @abstractmethod
    def owner(self) -> str:
        """The handler, for messages."""

    @abstractmethod
    def mounted_at(self, at: MountPath[Start_contra], /) -> AnyRoute:
        """The route that leads to this template's handler when its router is mounted at `at`.

        Raises:
          ConfigurationError: path, guards, handler and parameters do not fit together.
        """


class AnyRoute(AnyRouteTemplate[Anonymous]):
    """A `Route`, whatever principal its handler takes: the type of the routes in an app's table."""

    @property
    @abstractmethod
    def table_entry(self) -> RouteEntry:
        """The parts of the route that the server reads."""

    @abstractmethod
    async def admit(self, gate: Gate, /) -> Admitted:
        """Run the guards. Raises what they raise: a refusal, for instance."""


@final
@frozen(kw_only=True)
class RouteEntry:
    """The parts of a route that do not depend on the type of its principal."""

    pattern: PathPattern
    name: str
    errors: ErrorPolicy
    limits: LimitOverrides
    subprotocols: tuple[str, ...]
    origins: OriginCheck | None
    compression: RouteCompression
    codec: Codec | None
    handler_name: str
    """The handler's name, file and line: the name of its task."""
    needs_task: bool
    """Whether the guards run in a task of their own."""
    reads_cookie: bool
    """Whether a cookie is a credential."""
    takes_token: bool
    """Whether `Connection.renew` may have a guard to give its token to, also where one came in without."""
    takes_tickets: tuple[TicketTaker, ...]
    """Where a guard takes a ticket."""
    refuses_by_close: bool
    """Whether the upgrade is accepted in order to say that guards have refused it."""
    services: tuple[Service, ...]
    """What a server has to run for its guards, and for those of its events."""


def check_guard(value: object) -> None:
    """Refuse what is no guard, for programs that no type checker has seen.

    Raises:
      ConfigurationError: it is no guard; the text says what to write.
    """
    if isinstance(value, Check):
        raise ConfigurationError(
            "guard= was given a check, which proves nobody; write `check >> public`, or in a router `inherited(check)`"
        )
    if inspect.isroutine(value) or isinstance(value, type):
        raise ConfigurationError(
            f"guard= was given {describe(value)}, which is no guard yet; put @guard over an async function, and call "
            "what makes guards, as in `bearer(verifier)`"
        )
    if not isinstance(value, Guard):
        raise ConfigurationError(f"guard= was given {value!r}; give a Guard, such as `public` or `bearer(verifier)`")


def check_origins(origins: Origins | None) -> OriginCheck | None:
    """The check for the `origins` of a route or a router; None if they are not set."""
    return None if origins is None else OriginCheck.parse(origins)


def check_cookie(path: str, origins: OriginCheck) -> None:
    """Refuse a cookie as a credential at `path` if `origins` let any page connect.

    Raises:
      ConfigurationError: it is so.
    """
    if origins.is_anybodys:
        rule = "any_origin" if origins.rule is any_origin else "origins=['null'], a page in a sandboxed frame,"
        raise ConfigurationError(
            f"at {path!r} a cookie is a credential, and {rule} lets every page on the web use its "
            "visitor's; list your pages, origins=['https://chat.example'], or take the token from a header or from a "
            "message: bearer(verifier, header()), or bearer(verifier, first_message())"
        )


def _tokens(instance: object, attribute: Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for entry in value:
        if not (is_text(entry) and _TOKEN.fullmatch(entry)):
            raise ConfigurationError(f"subprotocol {entry!r} is not a token (RFC 6455, section 4.1); remove separators")
        if token_in_subprotocol(entry) is not None:
            raise ConfigurationError(
                f"subprotocol {entry!r}: what begins with 'bearer.' carries a token, and is never answered; rename it"
            )


def _offers_token(guard: Step) -> bool:
    """Whether a client may have to present a token among its subprotocols."""
    return any(isinstance(one.scheme, SubprotocolToken) for each in guard.describe() for one in each)


def _a_tuple(value: Sequence[str]) -> tuple[str, ...]:
    return several("subprotocols", value, such_as="['chat.v1']")


@frozen(kw_only=True)
class RouteTemplate(AnyRouteTemplate[Start], Generic[Start, P]):
    """One path with its guard and its handler. The guard starts from a `Start`; see `Route` for the errors."""

    path: str
    """The pattern, such as ``/rooms/{room}``; see `seawall.routing.paths`."""
    guard: Guard[Start, P]
    """Proves who connects. There is no default: a route without authentication says so with `public`."""
    handler: Handler[P]
    """What runs for each connection."""
    errors: ErrorPolicy = field(factory=ErrorPolicy)
    """Asked before the policies of router and app."""
    limits: LimitOverrides = field(factory=LimitOverrides)
    """Single limits of this route, over those of router and app."""
    subprotocols: tuple[str, ...] = field(default=(), converter=_a_tuple, validator=_tokens)
    """The subprotocols that this route speaks; the first of the client's that is among them is selected."""
    origins: Origins | None = None
    """Which web pages may connect; None leaves it to router and app."""
    compression: RouteCompression = None
    """How messages are compressed; None leaves it to router and app, False switches it off."""
    codec: Codec | None = None
    """How typed messages are written; None leaves it to router and app."""
    refuse_with: RefuseWith | None = None
    """How a client learns that guards have refused it. With ``"status"``, the default, by the HTTP status of the
    handshake, which JavaScript cannot read. With ``"close"`` a refusal that would be 401 or 403 is a close code with a
    reason, as the policy closes what has been accepted: the upgrade is accepted and closed at once, with 3000 or 3003
    by the built-in rules. That is for guards only: another origin, a wrong host or path, 429 and 503 stay a status. So
    does what no rule closes. None leaves it to the routers around."""
    name: str = field(default="", validator=check_text)
    """For log and reports; the path, if left out."""
    _pattern: PathPattern = field(init=False, repr=False)
    _taken: tuple[PathArgument, ...] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Check what does not depend on where it will be mounted."""
        if not is_async(self.handler):
            raise ConfigurationError(f"{self.owner} is not an async function; a handler is `async def` and awaits")
        with naming(self.owner):
            check_guard(self.guard)
            check_policy(self.errors, where=f"route {self.path}")
            check_compression(self.compression, where=f"route {self.path}")
            check_origins(self.origins)
            check_codec(self.codec, where=f"route {self.path}")
            check_refuse_with(self.refuse_with, where=f"route {self.path}")
            pattern = PathPattern.parse(self.path)
        object.__setattr__(self, "_pattern", pattern)
        object.__setattr__(self, "_taken", taken_by(self.handler, self.codec))

    @property
    def pattern(self) -> PathPattern:
        """Its path below the router that has it."""
        return self._pattern

    @property
    def owner(self) -> str:
        """The handler, for messages."""
        return describe(self.handler)

    def mounted_at(self, at: MountPath[Start], /) -> AnyRoute:
        """The complete route: this template with the path, the guard and the settings of `at` in front."""
        if not (at.has_deciding_guard or self.guard.decides()):
            raise ConfigurationError(
                f"{self.owner}: inherited() has nothing to inherit at {join(at.prefix, self.path)!r}, because no guard "
                "comes before it; a door that is open to all says so with `public`"
            )
        settings = Settings(
            errors=self.errors,
            limits=self.limits,
            origins=self.origins,
            compression=self.compression,
            codec=self.codec,
            refuse_with=self.refuse_with,
        ).with_fallback(at.settings)
        return Route(
            path=join(at.prefix, self.path),
            guard=at.guard >> self.guard,
            handler=self.handler,
            errors=settings.errors,
            limits=settings.limits,
            subprotocols=self.subprotocols,
            origins=settings.origins,
            compression=settings.compression,
            codec=settings.codec,
            refuse_with=settings.refuse_with,
            name=self.name,
        )


@final
@frozen(kw_only=True)
class Route(RouteTemplate[Anonymous, P], AnyRoute, Generic[P]):
    """One path with its guard and its handler; ``app.route(...)`` makes one, ``app.add(...)`` takes it.

    Raises:
      ConfigurationError: path, guard, handler and parameters do not fit together; the text names the function and the
        remedy.
    """

    _entry: RouteEntry = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Check that the parts fit together."""
        super().__attrs_post_init__()
        owner, pattern = self.owner, self._pattern
        check_path_arguments(
            self.path, pattern.parameters, owner=owner, functions=(self._taken, *self.guard.parameters())
        )
        if not self.subprotocols and _offers_token(self.guard):
            raise ConfigurationError(
                f"{owner}: at {self.path!r} a token comes among the subprotocols, and none is there to be answered; a "
                "browser would fail the connection. Name what the route speaks: subprotocols=['chat.v1']"
            )
        entry = RouteEntry(
            pattern=pattern,
            name=self.name or self.path,
            errors=self.errors,
            limits=self.limits,
            subprotocols=self.subprotocols,
            origins=check_origins(self.origins),
            compression=self.compression,
            codec=self.codec,
            handler_name=owner,
            needs_task=self.guard.needs_task(),
            reads_cookie=self.guard.reads_cookie(),
            takes_token=self.guard.may_take_token(),
            takes_tickets=self.guard.takes_tickets(),
            refuses_by_close=self.refuse_with == "close",
            services=services_of(self.guard, self.handler),
        )
        with naming(owner):
            check_takers(entry.takes_tickets)
        object.__setattr__(self, "_entry", entry)

    @property
    def table_entry(self) -> RouteEntry:
        """The parts of the route that the server reads."""
        return self._entry

    @trio.lowlevel.disable_ki_protection
    async def admit(self, gate: Gate, /) -> Admitted:
        """Run the guards. Raises what they raise: a refusal, for instance."""
        principal = proved(self.guard, await self.guard.admit(gate, _NOBODY))
        arguments = _NO_ARGUMENTS
        if self._taken:
            arguments = {wanted.name: gate.params[wanted.name] for wanted in self._taken if wanted.name in gate.params}
        return _Admitted(self.handler, principal, arguments)


@final
@define(eq=False)
class _Admitted(Admitted, Generic[P]):
    """What `Route.admit` makes. Its type parameter says that the handler takes what the guards have proved."""

    handler: Handler[P]
    proved: P
    arguments: Mapping[str, Parameter]

    @property
    def principal(self) -> object:
        return self.proved

    def handle(self, state: ConnectionState, /) -> Awaitable[None]:
        return self.handler(connection_of(self.proved, state), **self.arguments)


@contextmanager
def naming(owner: str) -> Generator[None]:
    """Prefix the text of a ConfigurationError that is raised in the block with `owner`."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{owner}: {error}") from None
