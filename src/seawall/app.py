"""`App`: routes, pages and lifespan values by decorator, and the ways to serve them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, Unpack, cast, final, overload

import trio
from attrs import NOTHING, NothingType, evolve, frozen

from seawall.callables import check_sync_callback, describe
from seawall.compression import Deflate, check_compression
from seawall.connection.revocation_store import RevocationStore
from seawall.connection.sessions import REVOCATIONS_KEPT, Sessions, feed_of, table_of
from seawall.connection.ticket_store import MemoryTickets, TicketStore
from seawall.errors import ConfigurationError
from seawall.exception_groups import flatten
from seawall.guards.guard import Anonymous, Guard, public
from seawall.guards.origins import OriginCheck, Origins, same_origin
from seawall.guards.service import Service, each_once
from seawall.http.hosts import HostCheck, Hosts
from seawall.http.pages import Page, check_path
from seawall.lag import Disconnect, Lag
from seawall.lifespan import Provided, Values
from seawall.limits import Limits, check_limits
from seawall.messages.codec import JSON, Codec, check_codec
from seawall.mistakes import is_number
from seawall.observability.logs import configure_logging, is_configured
from seawall.observability.outcome import Outcome
from seawall.observability.principals import PrincipalNames
from seawall.observability.reports import ErrorReport, Reporter, log_report
from seawall.observability.snapshot import ConnectionSnapshot
from seawall.policy.error_policy import ErrorPolicy, check_policy
from seawall.routing.mounting import AT_THE_ROOT, Settings
from seawall.routing.page_route import AnyPageRoute, Method, PageEndpoint, PageHandler, PageRoute
from seawall.routing.paths import PathTable
from seawall.routing.route import AnyRoute, AnyRouteTemplate, check_cookie, check_guard, naming
from seawall.routing.router import Router
from seawall.serving.asgi import Event, refuse_asgi
from seawall.serving.blocking import named_when_blocking
from seawall.serving.listening import Listen, open_listeners
from seawall.serving.server import Server
from seawall.serving.signals import serve_until_signalled
from seawall.serving.state import ServerState
from seawall.serving.tickets import Tickets, add_route
from seawall.topics.defined import DefinedTopics
from seawall.topics.hub import Hub
from seawall.topics.log import Retention
from seawall.topics.presence import Presence
from seawall.topics.topic import Topic

if TYPE_CHECKING:
    from typing_extensions import TypeForm

P = TypeVar("P")
T = TypeVar("T")

#: The type of a page, unless it is said.
HTML: Final = "text/html; charset=utf-8"


@final
class App(Router[Anonymous]):
    """A WebSocket application: a router whose routes start from an `Anonymous`, and the ways to serve it.

    ::

        app = App(origins=["https://chat.example"])


        @app.route("/echo", guard=public)
        async def echo(conn: Connection[Anonymous]) -> None:
            async for message in conn:
                await conn.send(message)


        app.run(port=8765)
    """

    def __init__(
        self,
        *,
        origins: Origins = same_origin,
        hosts: Hosts | None = None,
        errors: ErrorPolicy | None = None,
        limits: Limits | None = None,
        report: Callable[[ErrorReport], None] = log_report,
        on_open: Callable[[ConnectionSnapshot], None] | None = None,
        on_end: Callable[[Outcome], None] | None = None,
        compression: Deflate | None = None,
        codec: Codec | None = None,
        log_key: str | bytes | None = None,
        revocations: RevocationStore | None = None,
        revocations_kept: float = REVOCATIONS_KEPT,
        tickets: TicketStore | None = None,
    ) -> None:
        """Begin with no routes.

        Args:
          origins: which web pages may connect: `same_origin`, `any_origin`, or a list of origins such as
            ``https://chat.example``. A route may say otherwise for itself.
          hosts: which values of ``Host`` are served, wherever the app listens; 421 for others. Names in lower case,
            addresses, and ``*.chat.example`` for all names below one; each with a port or without, which means any. By
            default, an app that listens on loopback by TCP, and by TCP nowhere else, serves there what this machine
            calls itself: ``localhost``, ``*.localhost``, ``127.0.0.0/8`` and ``[::1]``. Any other is not restricted,
            and `any_host` makes that explicit. A proxy passes the name that the browser has asked for: list it.
          errors: the app's policy; asked after the route's, before the built-in defaults.
          limits: the deadlines and sizes.
          report: called with every failure; the default logs it. What it raises is logged, together with the failure;
            only SystemExit and KeyboardInterrupt stop the server.
          on_open: called with the `ConnectionSnapshot` of every connection that the guards have let in, just before its
            handler begins. What it raises is treated likewise.
          on_end: called with the `Outcome` of every connection that has ended, refused ones and pages included, after
            it was logged. What it raises is treated likewise. It is not called for connections so far above a limit
            that they are closed without a response; these are only logged.
          compression: compresses messages for clients that offer it (permessage-deflate). A route may say otherwise.
          codec: how typed messages are written: `JSON`, the default, `MessagePack`, or one of your own. A route may say
            otherwise.
          log_key: 16 to 64 bytes, for the digests of subjects in the log: with the same key in several processes, or
            after a restart, a subject has the same digest. The default is drawn by chance, once for each process.
          revocations: keeps what ``app.sessions`` has revoked for other processes, and for later ones. What it has is
            loaded before the app listens; what others add is applied while it serves. By default a process remembers
            its own, until it ends.
          revocations_kept: for how many seconds what ``app.sessions`` has revoked is remembered, at the least: no fewer
            than a credential lives, and the skew of its issuer's clock. A day and a minute are what a `TokenVerifier`
            allows. ``math.inf`` never gives one up, for credentials that do not end; `Sessions` says what is bounded.
            A `login_page` has it remembered for as long as its sessions live, unless a token is named.
          tickets: keeps what ``app.tickets`` has issued, where one process issues a ticket and another takes it. By
            default a process takes its own.

        Raises:
          ConfigurationError: an origin is not one that a browser sends, a host is none, or something is not what it
            should be.
        """
        super().__init__()
        check_policy(errors, where="App")
        check_limits(limits)
        check_compression(compression, where="App")
        check_codec(codec, where="App")
        check_sync_callback("App(report=...)", report, takes="report")
        if not (is_number(revocations_kept) and revocations_kept > 0):
            raise ConfigurationError(f"App(revocations_kept={revocations_kept!r}); give a number of seconds above 0")
        if on_open is not None:
            check_sync_callback("App(on_open=...)", on_open, takes="connection")
        if on_end is not None:
            check_sync_callback("App(on_end=...)", on_end, takes="outcome")
        self._origins = OriginCheck.parse(origins)
        self._hosts = None if hosts is None else HostCheck.parse(hosts)
        self._errors = errors or ErrorPolicy()
        self._limits = limits or Limits()
        self._report = report
        self._on_open = on_open
        self._on_end = on_end
        self._compression = compression
        self._codec = codec or JSON()
        self._root = evolve(AT_THE_ROOT, settings=Settings(codec=self._codec))
        self._names = PrincipalNames(log_key)
        self.sessions: Final = Sessions(
            at_most=self._limits.max_connections_per_subject, kept=revocations_kept, store=revocations
        )
        """Who is connected; ``await app.sessions.revoke(subject="ada")`` logs ``ada`` out."""
        self._ticket_store: TicketStore = MemoryTickets() if tickets is None else tickets
        self.tickets: Final = Tickets(self._ticket_store, table_of(self.sessions).run)
        """What clients present once in place of a token: ``await app.tickets.issue(token, route="/chat")``."""
        self._topics = DefinedTopics(Hub(self._limits, self._codec, table_of(self.sessions)))
        self._routes: PathTable[AnyRoute] = PathTable()
        self._route_services: list[Service] = []
        self._pages: dict[str, Page | AnyPageRoute] = {}
        self._lifespan: list[Provided[object]] = []

    def _add_templates(self, templates: Sequence[AnyRouteTemplate[Anonymous]]) -> None:
        routes = [template.mounted_at(self._root) for template in templates]
        for route in routes:
            with naming(route.owner):
                self._limits.override(route.table_entry.limits)
                if route.table_entry.reads_cookie:
                    check_cookie(route.pattern.text, route.table_entry.origins or self._origins)
        super()._add_templates(routes)
        for route in routes:
            self._routes.add(route.pattern, route)
            add_route(self.tickets, route.table_entry)
            self._route_services += route.table_entry.services

    def _templates_to_mount(self, where: object) -> NoReturn:
        raise ConfigurationError(
            "an App cannot be mounted, because its pages, lifespans and limits are a whole server's; "
            "collect the routes in a Router"
        )

    @overload
    def page(self, path: str, body: str | bytes, *, media_type: str = HTML) -> None: ...
    @overload
    def page(self, path: str, *, methods: Sequence[Method] = ("GET",)) -> PageEndpoint[Anonymous]: ...
    @overload
    def page(
        self, path: str, *, guard: Guard[Anonymous, P], methods: Sequence[Method] = ("GET",)
    ) -> PageEndpoint[P]: ...
    def page(
        self,
        path: str,
        body: str | bytes | NothingType = NOTHING,
        *,
        media_type: str = HTML,
        guard: Guard[Anonymous, P] | NothingType = NOTHING,
        methods: Sequence[Method] = ("GET",),
    ) -> PageEndpoint[P] | PageEndpoint[Anonymous] | None:
        """Serve a small document at `path` to plain HTTP requests, on the port of the WebSockets.

        With a body it is that document. Without one this is a decorator over an async function that makes the answer::

            @app.page("/login", methods=["GET", "POST"])
            async def login(request: Request[Anonymous]) -> Response: ...

        Guard and function have ``Limits.auth_timeout`` together, and the connection ends with their answer. Until then
        it counts as one that no guard has let in. HEAD is answered where GET is, OPTIONS everywhere. A page and a route
        may have the same path.

        Both are cancelled as soon as the connection breaks off: when it is reset, or a Unix socket is closed by its
        peer. They are not when the client only sends no more, because such a client may be waiting for the answer.

        Args:
          path: the exact path, percent-encoded as a browser sends it.
          body: the document; text is encoded as UTF-8.
          media_type: its type.
          guard: proves who asks, as for a route; it must not talk, because there is no WebSocket. By default everybody
            may ask, as for a fixed document.
          methods: which requests the function answers. What is posted may have 64 KiB, and needs a
            ``Content-Length``. A POST from a page of another origin than the app allows is refused, and so is one
            that brings cookies and no origin.

        Raises:
          ConfigurationError: the path has a page already, or is not a path; body or type cannot be sent; guard,
            function or methods do not fit.
        """
        check_path(path)
        self._check_no_page(path)
        if body is not NOTHING:
            if guard is not NOTHING or methods not in (("GET",), ["GET"]):
                raise ConfigurationError(
                    f"page({path!r}): a fixed body is for everybody, and for GET; for guard= or methods= leave it out "
                    "and decorate a function, which returns a Response"
                )
            self._pages[path] = Page.parse(path, body, media_type)
            return None

        steps = cast("Guard[Anonymous, P]", public) if guard is NOTHING else guard  # without one, P is Anonymous

        def register(handler: PageHandler[P]) -> PageHandler[P]:
            self._check_no_page(path)  # there may be one since
            check_guard(steps)
            page = PageRoute[P].parse(path, steps, handler, methods)
            if "POST" in page.methods and steps.reads_cookie():  # what is got, no page of another origin can read
                with naming(describe(handler)):
                    check_cookie(path, self._origins)
            self._pages[path] = page
            return handler

        return register

    def _check_no_page(self, path: str) -> None:
        if path in self._pages:
            raise ConfigurationError(f"page({path!r}): there is a page at this path already; remove one of them")

    def lifespan(self, function: Callable[[], AbstractAsyncContextManager[T]], /) -> Provided[T]:
        """Provide a value while the app is served: a decorator over an ``@asynccontextmanager`` function.

        The function's context is entered before the app listens and left after its last connection, in reverse order
        of definition. What the decorator returns is a handle: ``conn.provided(handle)`` and
        ``gate.provided(handle)`` give the value that was yielded.

        Raises:
          ConfigurationError: ``@asynccontextmanager`` is missing, or the function takes something.
        """
        _check_lifespan(function)
        name = getattr(function, "__name__", "lifespan")
        handle = Provided(function, name)
        self._lifespan.append(handle)
        return handle

    def topic(
        self,
        pattern: str,
        kind: TypeForm[T],
        *,
        history: int = 0,
        ttl: float | None = None,
        lag: Lag[T] = Disconnect(256),  # noqa: B008 - a frozen value
    ) -> Topic[T]:
        """Define rooms in which values of one type are published.

        ::

            said = app.topic("rooms/{room}", Said, history=100, ttl=300)

        Args:
          pattern: what the rooms are called: words and placeholders between ``/``: ``{room}``, ``{id:int}``.
          kind: what is published: a class of messages, a union of such, `str`, or `bytes`.
          history: how many events a room keeps for who comes, and who comes back. With ``lag=Latest(key)`` it keeps the
            newest of each key beside them, and who comes begins with these: the last price of every share.
          ttl: for how many seconds it keeps them; without end if that is None.
          lag: what becomes of a reader who does not keep up, unless it is said where it reads.

        Raises:
          ConfigurationError: the app has a topic of this pattern, or it is none; no message can carry `kind`; another
            argument is not what it should be.
        """
        return self._topics.topic(pattern, kind, Retention(history, ttl), lag)

    def presence(self, pattern: str, kind: TypeForm[T], *, linger: float = 5.0) -> Presence[T]:
        """Define rooms in which it is known who is there.

        ::

            people = app.presence("rooms/{room}", Who)

        A topic and a presence of one pattern have the same rooms: who is kicked out of one is out of the other.

        Args:
          pattern: what the rooms are called, as for `topic`.
          kind: what each says of itself: a class of messages, a union of such, `str`, or `bytes`.
          linger: for how many seconds somebody stays whose peer has ended the connection, and may come back; see
            `People.joined`.

        Raises:
          ConfigurationError: the app has a presence of this pattern, or it is none; no message can carry `kind`;
            `linger` is no number of seconds up to 300.
        """
        return self._topics.presence(pattern, kind, linger)

    async def serve(  # noqa: ASYNC128 - the server calls started()
        self, *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED, **where: Unpack[Listen]
    ) -> None:
        """Serve until cancelled or drained; ``await app.start(nursery, ...)`` is the same in the background.

        Cancelling it tells every peer 1001 at once and closes every socket within ``Limits.close_timeout``. It returns
        when the guards' resources and the lifespans have been left too; see `Server.drain` for what can take longer. It
        changes neither signal handlers nor the logging configuration.

        Args:
          task_status: for ``nursery.start``, which then returns the `Server`.
          where: see `seawall.serving.listening.Listen`.

        Raises:
          ConfigurationError: the address cannot be bound; or the app is served in another thread.
          Exception: what a lifespan raises, or the store of revocations when it is asked for what it has.
          BaseExceptionGroup: what the error policy escalated.
        """
        _check_under_trio("serve")
        left = trio.Event()
        async with AsyncExitStack() as stack:
            stack.callback(left.set)
            stack.enter_context(
                table_of(self.sessions).run.using("this app is served in another thread; make one for each")
            )
            stack.enter_context(self._topics.hub.serving())
            values: dict[Provided[object], object] = {}
            for handle in self._lifespan:
                values[handle] = await stack.enter_async_context(handle.open())
            if (feed := feed_of(self.sessions)) is not None:
                await feed.load()
            state = ServerState(
                routes=self._routes,
                pages=self._pages,
                errors=self._errors,
                limits=self._limits,
                origins=self._origins,
                hosts=self._hosts,
                compression=self._compression,
                codec=self._codec,
                reporter=Reporter(self._report, self._on_end, self._names, self._on_open),
                values=Values(values),
                sessions=table_of(self.sessions),
                tickets=self._ticket_store,
                services=self._services(),
            )
            await Server(state, left).serve(await open_listeners(where), task_status=task_status)

    def _services(self) -> tuple[Service, ...]:
        of_pages = [page.services for page in self._pages.values() if isinstance(page, AnyPageRoute)]
        feed = feed_of(self.sessions)
        return each_once(chain(self._route_services, *of_pages, () if feed is None else (feed,), (self._topics.hub,)))

    async def start(self, nursery: trio.Nursery, **where: Unpack[Listen]) -> Server:
        """Serve in `nursery`, and return as soon as the app listens.

        Args:
          nursery: runs `serve`; cancelling it stops the app.
          where: see `seawall.serving.listening.Listen`.

        Raises:
          ConfigurationError: the address cannot be bound.
        """
        _check_under_trio("start")
        server: Server = await nursery.start(partial(self.serve, **where), name="seawall")
        return server

    def run(self, **where: Unpack[Listen]) -> None:
        """Serve as the main program: SIGINT and SIGTERM drain, and a second one stops at once.

        Outside of the main thread Python delivers no signals, and the log says so. If logging is not configured, it
        goes to standard error; see `configure_logging`.

        Args:
          where: see `seawall.serving.listening.Listen`.

        Raises:
          ConfigurationError: the address cannot be bound.
          SystemExit: it was raised in a handler, for instance; the server has been stopped as if it were cancelled.
          BaseExceptionGroup: what the error policy escalated.
        """
        _run("app.run()", partial(self.start, **where))

    def at(self, **where: Unpack[Listen]) -> ListeningApp:
        """This app and where it is to listen, for `run_apps`.

        Args:
          where: see `seawall.serving.listening.Listen`.
        """
        return ListeningApp(self, where)

    async def __call__(
        self, scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]
    ) -> None:
        """Say to an ASGI server that an `App` is a server itself. Raises as `refuse_asgi`."""
        await refuse_asgi(scope, receive, send)


@final
@frozen(eq=False)
class ListeningApp:
    """An app, and where it is to listen; `App.at` makes one."""

    app: App
    where: Listen


def run_apps(*apps: ListeningApp) -> None:
    """Serve several apps as the main program, as `App.run` serves one; SIGINT and SIGTERM drain them all.

    ::

        run_apps(chat.at(host="0.0.0.0", port=8765), admin.at(unix="/run/admin.sock", unix_mode=0o600))

    They start in this order, and all stop if one cannot. What one escalates stops all of them; one that the program
    itself has drained does not. The first is not labelled in the log, the second is ``s2``: its connections are
    ``s2-c17``.

    Raises:
      ConfigurationError: there is no app, an address cannot be bound, or Trio runs already.
      SystemExit, BaseExceptionGroup: as from `App.run`.
    """
    for given in apps:
        _check_listening(given)
    if not apps:
        raise ConfigurationError("run_apps() was given no app; give some, as run_apps(app.at(port=8765), ...)")
    _run("run_apps()", *(partial(listening.app.start, **listening.where) for listening in apps))


def _check_listening(value: object) -> None:
    if not isinstance(value, ListeningApp):
        raise ConfigurationError(f"run_apps() was given {value!r}; give apps and where each listens: app.at(port=8765)")


def _run(name: str, *starts: Callable[[trio.Nursery], Awaitable[Server]]) -> None:
    """Run what `starts` start as the whole program; `name` is the caller's, for an error."""
    if trio.lowlevel.in_trio_run():
        raise ConfigurationError(
            f"{name} is a whole program, but Trio runs here already; "
            "write `await app.serve(...)`, or `await app.start(nursery, ...)`"
        )
    if _in_asyncio_loop():
        raise ConfigurationError(
            f"{name} is a whole program on Trio, and the asyncio loop that runs here already would stand still; call "
            "it without asyncio.run(...), in a process or a thread of its own, or in trio.run(...) with "
            "`await app.serve(...)`"
        )
    if not is_configured():
        configure_logging()
    try:
        trio.run(_serve_as_program, *starts)
    except BaseExceptionGroup as group:
        raised = list(flatten(group))
        if all(isinstance(leaf, SystemExit) for leaf in raised):
            raise raised[0] from None  # its code is the program's
        raise


def _in_asyncio_loop() -> bool:
    """Whether this thread runs a loop of asyncio, or one that stands for it, such as uvloop."""
    if "asyncio" not in sys.modules:  # importing it takes longer than all of Seawall
        return False

    import asyncio  # noqa: PLC0415 - it is there already

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _serve_as_program(*starts: Callable[[trio.Nursery], Awaitable[Server]]) -> None:
    with named_when_blocking():
        await serve_until_signalled(*starts)


def _check_under_trio(method: str) -> None:
    if not trio.lowlevel.in_trio_task():
        raise ConfigurationError(
            f"app.{method}() needs Trio, and asyncio is another loop; in a program of its own write app.run(), "
            f"in yours trio.run(...)"
        )


def _check_lifespan(function: object) -> None:
    """Refuse what is no function under ``@asynccontextmanager``, before serving would fail because of it."""
    if not callable(function) or isinstance(function, AbstractAsyncContextManager):
        raise ConfigurationError(f"lifespan was given {function!r}; put it over a function, which opens the context")
    where, inner = describe(function), inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner):
        raise ConfigurationError(f"lifespan: {where} is not async; write `async def`, under @asynccontextmanager")
    if inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"lifespan: {where} opens no context; put @asynccontextmanager between the two")
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ConfigurationError(f"lifespan: {where} is called without arguments ({error}); leave them out") from None
