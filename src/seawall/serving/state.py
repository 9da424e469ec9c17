"""What all the connections of one server share."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import get_ident
from typing import Protocol, final

import trio
from attrs import Factory, define, field, frozen

from seawall.compression import Deflate
from seawall.connection.deadlines import DeadlineQueue
from seawall.connection.message_format import MessageFormat
from seawall.connection.session_table import SessionTable
from seawall.connection.task_watch import TaskWatch
from seawall.connection.ticket_store import TicketStore
from seawall.guards.origins import OriginCheck
from seawall.guards.service import Service
from seawall.http.hosts import HostCheck
from seawall.http.pages import Page
from seawall.lifespan import Values
from seawall.limits import Limits
from seawall.messages.codec import Codec
from seawall.observability.outcome import Outcome
from seawall.observability.reports import Reporter, note_of, report_of
from seawall.observability.snapshot import ConnectionSnapshot
from seawall.policy.ending import Cause, End, Judgement
from seawall.policy.error_policy import ErrorPolicy
from seawall.policy.verdicts import Context
from seawall.routing.page_route import AnyPageRoute
from seawall.routing.paths import PathTable
from seawall.routing.route import AnyRoute
from seawall.serving.background import BackgroundTasks
from seawall.serving.capacity import Capacity, Place
from seawall.serving.tickets import Redeemer, redeemer_of
from seawall.wire.budget import Budget
from seawall.wire.transport.base import Transport
from seawall.wire.transport.polled import HangupWatch, SocketTransport
from seawall.wire.transport.poller import Poller, open_poller
from seawall.wire.transport.sockets import socket_of
from seawall.wire.transport.stream import StreamTransport


class ServedConnection(Protocol):
    """What a server needs of one of its connections."""

    @property
    def is_handled(self) -> bool:
        """Whether its handler has begun."""
        ...

    def snapshot(self) -> ConnectionSnapshot | None:
        """The connection as it is now; None if its end has been recorded."""
        ...

    def drain(self) -> None:
        """Tell its handler to finish; if the handler has not begun, end the connection."""
        ...

    def end(self, end: End) -> bool:
        """End it, or return False if it has ended before. Its handler has ``wind_down`` seconds to return."""
        ...

    def stop(self) -> None:
        """End it now."""
        ...


@final
class Connections:
    """The connections of a server, until each is over or has released its place."""

    def __init__(self) -> None:
        """Begin with none."""
        self._running: dict[str, ServedConnection] = {}  # by id, in the order in which they came
        self._empty = trio.Event()
        self.stopped = False
        """Whether the server has stopped: a connection that was accepted just before is closed at once."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self._running)

    def __iter__(self) -> Iterator[ServedConnection]:
        """A snapshot of them, in the order in which they came."""
        return iter(tuple(self._running.values()))

    def get(self, connection: str) -> ServedConnection | None:
        """The one that is called `connection`, if there is one."""
        return self._running.get(connection)

    def add(self, name: str, connection: ServedConnection) -> None:
        """Add `connection` under its id, `name`."""
        self._running[name] = connection

    def discard(self, name: str) -> None:
        """Remove the connection of this id; does nothing if that has been done before."""
        if self._running.pop(name, None) is not None and not self._running:
            self._empty.set()

    def stop(self) -> None:
        """End them all."""
        self.stopped = True
        for connection in self:
            connection.stop()

    async def wait_empty(self) -> None:
        """Wait until there are none."""
        while self._running:
            self._empty = trio.Event()
            await self._empty.wait()


@final
@define(eq=False)
class Drain:
    """Whether the server is draining, and the ends that it records for its connections."""

    begun: bool = False
    """Whether the server is draining."""
    restarting: bool = False
    """Whether the server will start again: peers then get close code 1012 instead of 1001."""

    @property
    def end_of_drained(self) -> End:
        """The end of a connection that is drained."""
        code, reason = (1012, "service restart") if self.restarting else (1001, "going away")
        return End(Cause.DRAINED, code, reason)

    @property
    def end_of_returned(self) -> End:
        """The end of a connection whose handler has returned."""
        return self.end_of_drained if self.begun else End(Cause.RETURNED, 1000)

    @property
    def end_of_stopped(self) -> End:
        """The end of a connection when the server stops."""
        return self.end_of_drained if self.begun else End(Cause.STOPPED, 1001, "going away")


@final
@frozen(kw_only=True, eq=False)
class ServerState:
    """What all the connections of a server share."""

    routes: PathTable[AnyRoute]
    pages: Mapping[str, Page | AnyPageRoute]
    errors: ErrorPolicy
    limits: Limits
    origins: OriginCheck
    hosts: HostCheck | None
    """Those of ``App(hosts=...)``; None if they are not set."""
    compression: Deflate | None
    codec: Codec
    reporter: Reporter
    values: Values
    sessions: SessionTable
    tickets: TicketStore
    services: tuple[Service, ...]
    """What the guards need done beside the connections."""
    poller: Poller | None = field(factory=open_poller, init=False)
    deadlines: DeadlineQueue = field(
        init=False, default=Factory(lambda self: DeadlineQueue(self.poller or ()), takes_self=True)
    )
    budget: Budget = field(
        init=False, default=Factory(lambda self: Budget(self.limits.total_inbound_buffer), takes_self=True)
    )
    task_watch: TaskWatch = field(factory=TaskWatch, init=False)
    thread: int = field(factory=get_ident, init=False)
    """The thread in which the server runs."""
    capacity: Capacity = field(init=False, default=Factory(lambda self: Capacity(self.limits), takes_self=True))
    background: BackgroundTasks = field(
        init=False, default=Factory(lambda self: BackgroundTasks(self.escalate), takes_self=True)
    )
    connections: Connections = field(factory=Connections, init=False)
    drain: Drain = field(factory=Drain, init=False)
    escalation: trio.Event = field(factory=trio.Event, init=False)
    """Set when something is escalated; the server then stops."""
    escalated: list[BaseException] = field(factory=list[BaseException], init=False)
    """What ``serve`` raises when the server has stopped."""
    _settings: dict[int, ResolvedSettings] = field(factory=dict[int, "ResolvedSettings"], init=False)

    def settings(self, route: AnyRoute) -> ResolvedSettings:
        """The settings of `route`, which is one of `routes`: its own where it has them, else the app's."""
        found = self._settings.get(id(route))
        if found is None:
            entry = route.table_entry
            found = ResolvedSettings(
                errors=entry.errors.within(self.errors),
                limits=self.limits.override(entry.limits),
                origins=entry.origins or self.origins,
                compression=(self.compression if entry.compression is None else entry.compression) or None,
                subprotocols=entry.subprotocols,
                format=MessageFormat(entry.codec or self.codec, entry.name),
                tickets=redeemer_of(self.tickets, entry),
            )
            self._settings[id(route)] = found
        return found

    def transport(self, stream: trio.abc.Stream, tasks: trio.Nursery) -> Transport:
        """A transport over `stream`; the tasks of a `StreamTransport` run in `tasks`."""
        if self.poller is not None and isinstance(stream, trio.SocketStream):
            return SocketTransport(self.poller, stream)
        bound = socket_of(stream)
        watch = None if self.poller is None or bound is None else HangupWatch(self.poller, bound.fileno())
        return StreamTransport(stream, tasks, watch)

    def escalate(self, failure: BaseException, origin: str) -> None:
        """Stop the server and have ``serve`` raise `failure`, with `origin` as a note."""
        with suppress(Exception):  # an exception of the application's may have `__notes__` of its own
            failure.add_note(origin)
        self.escalated.append(failure)
        self.escalation.set()

    def report(self, judgement: Judgement, context: Context) -> None:
        """Tell the log and the application of every failure in `judgement`, and escalate what it says to escalate."""
        for failure in judgement.escalated:
            self.escalate(failure, note_of(context))
        for leaf in judgement.leaves:
            with self._escalating("seawall: App(report=...)"):
                self.reporter.report(report_of(leaf, context))

    def tell_opened(self, connection: ServedConnection) -> None:
        """Tell the application that the guards have let `connection` in, if it wants to know."""
        if self.reporter.tells_of_opening and (opened := connection.snapshot()) is not None:
            with self._escalating("seawall: App(on_open=...)"):
                self.reporter.report_opened(opened)

    def tell(self, outcome: Outcome) -> None:
        """Tell the log and the application how a connection has ended."""
        with self._escalating("seawall: App(on_end=...)"):
            self.reporter.report_outcome(outcome)

    @contextmanager
    def _escalating(self, origin: str) -> Generator[None]:
        """Escalate a KeyboardInterrupt or SystemExit that an application's callback raises in a connection's task."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit) as fatal:
            self.escalate(fatal, origin)


@final
@frozen(kw_only=True)
class ResolvedSettings:
    """What holds for the connections of one route."""

    errors: ErrorPolicy
    limits: Limits
    origins: OriginCheck
    compression: Deflate | None
    subprotocols: tuple[str, ...]
    format: MessageFormat
    tickets: Redeemer | None
    """Takes those of the route; None if it has none."""


@final
@define(kw_only=True, eq=False)  # not frozen, as `seawall.connection.ConnectionState` is not
class AcceptedConnection:
    """A connection that has been accepted, before anything is read from it."""

    id: str
    """Names it in the log."""
    stream: trio.abc.Stream
    address: str
    """The other end, as `Handshake.peer` shows it."""
    secure: bool
    """Whether it is TLS."""
    place: Place
    """Its place among those of the server."""
    silent: bool = True
    """Whether nothing has come from the peer yet."""
    head_only: bool = False
    """Whether it is answered without a body, because the method is HEAD."""
    hosts: HostCheck
    """Which hosts are served where it was accepted."""
    at: float = field(factory=trio.current_time)
    """When it was accepted, on Trio's clock."""
