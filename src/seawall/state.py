"""What all the connections of one server share, and how a failure is judged on their behalf."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import final

import trio
from attrs import field, frozen

from seawall.compression import Deflate
from seawall.errors import Refused
from seawall.exception_groups import partition
from seawall.guards.origins import OriginCheck
from seawall.lifecycle import DeadlineQueue, Values
from seawall.limits import Limits
from seawall.listening import socket_of
from seawall.outcome import Drain, Outcome
from seawall.pages import Answer, Page
from seawall.paths import PathTable
from seawall.policy import DEFAULTS, ErrorPolicy, ErrorReport, LeafDecision
from seawall.reports import Reporter, note_of
from seawall.route import AnyRoute
from seawall.sessions import Sessions
from seawall.verdicts import Context, Escalate
from seawall.wire.budget import Budget
from seawall.wire.channel import ChannelTransport
from seawall.wire.poller import HangupWatch, Poller, SocketTransport, open_poller
from seawall.wire.stream import StreamTransport

#: What goes with a 503: when a client that was turned away may come back.
RETRY = (("Retry-After", "5"),)

#: Seconds above which it is not worth saying: a year.
MAX_RETRY_AFTER = 31_536_000


@final
@frozen(kw_only=True, eq=False)
class ServerState:
    """What all the sessions of a server share."""

    routes: PathTable[AnyRoute]
    pages: Mapping[str, Page]
    errors: ErrorPolicy
    limits: Limits
    origins: OriginCheck
    compression: Deflate | None
    reporter: Reporter
    values: Values
    sessions: Sessions
    deadlines: DeadlineQueue = field(factory=DeadlineQueue, init=False)
    poller: Poller | None = field(factory=open_poller, init=False)
    budget: Budget = field(factory=Budget, init=False)
    unauthenticated: set[object] = field(factory=set[object], init=False)
    """Sessions that have not passed their guards yet."""
    drain: Drain = field(factory=Drain, init=False)
    failed: trio.Event = field(factory=trio.Event, init=False)
    """Set when something was escalated: the server stops."""
    escalated: list[BaseException] = field(factory=list[BaseException], init=False)
    """What is to come out of ``serve``."""
    _settings: dict[int, ResolvedSettings] = field(factory=dict[int, "ResolvedSettings"], init=False)

    def settings(self, route: AnyRoute) -> ResolvedSettings:
        """What holds on `route`, one of `routes`: its own settings over the app's."""
        found = self._settings.get(id(route))
        if found is None:
            entry = route.table_entry
            found = ResolvedSettings(
                errors=entry.errors.within(self.errors),
                limits=self.limits.override(entry.limits),
                origins=entry.origins or self.origins,
                compression=(self.compression if entry.compression is None else entry.compression) or None,
                subprotocols=entry.subprotocols,
            )
            self._settings[id(route)] = found
        return found

    def transport(self, stream: trio.abc.Stream, tasks: trio.Nursery) -> ChannelTransport:
        """The way of a channel to its peer over `stream`; where it needs tasks they run in `tasks`."""
        if self.poller is not None and isinstance(stream, trio.SocketStream):
            return SocketTransport(self.poller, stream)
        bound = socket_of(stream)
        watch = None if self.poller is None or bound is None else HangupWatch(self.poller, bound.fileno())
        return StreamTransport(stream, tasks, watch)

    def escalate(self, failure: BaseException, origin: str) -> None:
        """Stop the server and let `failure` out of ``serve``, with a note of its `origin`."""
        with suppress(Exception):  # an exception of the application's may have `__notes__` of its own
            failure.add_note(origin)
        self.escalated.append(failure)
        self.failed.set()

    def judge(self, failure: Exception, context: Context, policy: ErrorPolicy) -> LeafDecision:
        """Let `policy` decide about `failure`; report every leaf, escalate those that are to be, return the gravest."""
        try:
            decision = policy.decide(failure, context)
        except BaseException as raised:  # noqa: ASYNC103, BLE001 - by a rule, which may raise what it likes
            for fatal in partition(raised).fatal:
                self.escalate(fatal, note_of(context))
            decision = DEFAULTS.decide(failure, context)
        for leaf in decision.leaves:
            if isinstance(leaf.verdict, Escalate):
                self.escalate(leaf.exception, note_of(context))
            report = ErrorReport(
                incident=context.incident,
                phase=context.phase,
                route=context.route,
                connection=context.connection,
                peer=context.peer,
                principal=context.principal,
                at=time.time(),
                exception=leaf.exception,
                verdict=leaf.verdict,
                expected=leaf.expected,
            )
            with self._escalating("seawall: App(report=...)"):
                self.reporter.report(report)
        return decision.gravest

    def tell(self, outcome: Outcome) -> None:
        """Tell the log and the application how a connection has ended."""
        with self._escalating("seawall: App(on_end=...)"):
            self.reporter.end(outcome)

    @contextmanager
    def _escalating(self, origin: str) -> Generator[None]:
        """Around code of the application that a connection's task runs: what means the program stops the server."""
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


@final
@frozen(kw_only=True)
class AcceptedConnection:
    """Who connected."""

    connection: str
    """The connection's id."""
    address: str
    secure: bool
    over_capacity: Answer | None = None
    """What it reads if it is one too many."""


def refusal_headers(status: int, failure: Exception) -> tuple[tuple[str, str], ...]:
    """What goes with a refusal: a challenge (RFC 6750, section 3) and when to try again (RFC 9110, 10.2.3)."""
    headers: list[tuple[str, str]] = []
    if status == 401:
        headers.append(("WWW-Authenticate", "Bearer"))
    seconds: object = failure.retry_after if isinstance(failure, Refused) else None
    if isinstance(seconds, int | float) and abs(seconds) <= MAX_RETRY_AFTER:  # an application's own may be anything
        headers.append(("Retry-After", str(max(0, math.ceil(seconds)))))
    return tuple(headers)
