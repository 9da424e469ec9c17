"""`PageRoute`: a page that is made when it is asked for, by a function behind a guard."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Generic, Literal, Protocol, TypeAlias, TypeVar, cast, final

from attrs import field, frozen

from seawall.callables import describe, is_async, path_arguments
from seawall.errors import ConfigurationError
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Guard
from seawall.guards.results import proved
from seawall.guards.service import Service, services_of
from seawall.handshake import Handshake
from seawall.http.exchange import Request, Response
from seawall.http.pages import check_path
from seawall.lifespan import Values

P = TypeVar("P")

Method: TypeAlias = Literal["GET", "POST"]

PageHandler: TypeAlias = Callable[[Request[P]], Awaitable[Response]]
"""An async function that answers a request."""

_NOBODY: Final = Anonymous()


class PageEndpoint(Protocol[P]):
    """What ``app.page(path)`` returns: a decorator for functions that take what the guard proves."""

    def __call__(self, handler: PageHandler[P], /) -> PageHandler[P]:
        """Register `handler` and return it unchanged."""
        ...


@final
@frozen(kw_only=True)
class Posted:
    """A request whose guard has not been asked."""

    method: str
    handshake: Handshake
    body: bytes = field(repr=False)


class AnyPageRoute(ABC):
    """A `PageRoute`, whatever principal its function takes."""

    path: str
    methods: tuple[Method, ...]

    @abstractmethod
    async def respond(self, gate: Gate, posted: Posted, values: Values, /) -> Response:
        """Ask the guard, then the function. Raises what they raise."""

    @property
    @abstractmethod
    def services(self) -> tuple[Service, ...]:
        """What a server has to run for its guard."""

    @property
    def allowed(self) -> str:
        """The value of an ``Allow`` field."""
        return ", ".join([*self.methods, *(["HEAD"] if "GET" in self.methods else []), "OPTIONS"])

    def takes(self, method: str) -> bool:
        """Whether the function answers requests with `method`."""
        return ("GET" if method == "HEAD" else method) in self.methods


@final
@frozen(kw_only=True)
class PageRoute(AnyPageRoute, Generic[P]):
    """A page at an exact path, its guard, and the function that answers."""

    path: str
    guard: Guard[Anonymous, P]
    handler: PageHandler[P]
    methods: tuple[Method, ...]

    @classmethod
    def parse(
        cls, path: str, guard: Guard[Anonymous, P], handler: PageHandler[P], methods: Sequence[Method]
    ) -> PageRoute[P]:
        """A page, after checking that it can be asked for and that it can answer.

        Raises:
          ConfigurationError: the path is not one that a client sends; there is no method, or another than GET and POST;
            the function is not async, or takes something else than the request; the guard accepts an upgrade, takes
            tickets or path parameters.
        """
        check_path(path)
        where = f"page({path!r})"
        if not _are_known(methods):
            raise ConfigurationError(f"{where}: methods={methods!r}; give ['GET'], ['POST'] or both")
        if not is_async(handler):
            raise ConfigurationError(f"{where}: {describe(handler)} is not an async function; write `async def`")
        for wanted in (path_arguments(handler, leading=1), *guard.parameters()):
            for argument in wanted:
                if argument.required:
                    raise ConfigurationError(
                        f"{where}: {argument.owner} takes {argument.name!r}, but the path of a page has no parameters; "
                        "take it from request.handshake.query, or from request.form()"
                    )
        if guard.accepts():
            raise ConfigurationError(
                f"{where}: its guard talks over the WebSocket, and a page has none; use one that reads the request, "
                "such as bearer(verifier, header(), cookie('__Host-session'))"
            )
        if takers := guard.takes_tickets():
            raise ConfigurationError(
                f"{where}: its guard takes tickets, query({takers[0].parameter!r}), and they are for the routes of an "
                "app; take the token from elsewhere, such as cookie('__Host-session')"
            )
        return cls(path=path, guard=guard, handler=handler, methods=tuple(dict.fromkeys(methods)))

    @property
    def services(self) -> tuple[Service, ...]:
        """What a server has to run for its guard."""
        return services_of(self.guard)

    async def respond(self, gate: Gate, posted: Posted, values: Values, /) -> Response:
        """Ask the guard, then the function."""
        request = Request(
            method=posted.method,
            handshake=posted.handshake,
            principal=proved(self.guard, await self.guard.admit(gate, _NOBODY)),
            body=posted.body,
            values=values,
        )
        response = await self.handler(request)
        _check_response(self.handler, response)
        return response


def _are_known(methods: object) -> bool:
    if not isinstance(methods, Collection) or isinstance(methods, str):
        return False
    listed = list(cast("Collection[object]", methods))
    return bool(listed) and all(method in ("GET", "POST") for method in listed)


def _check_response(handler: PageHandler[P], response: object) -> None:
    """Refuse what a type checker would, for programs that none has seen."""
    if not isinstance(response, Response):
        raise ConfigurationError(f"{describe(handler)} returned a {type(response).__name__}; return a seawall.Response")
