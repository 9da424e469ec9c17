"""What is logged by default, and what the application is told: failures, and the end of each connection."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar, final

import trio
from attrs import frozen

from seawall.clock import unix_time
from seawall.observability.folding import EndFolder, level_of
from seawall.observability.logs import connection_log, error_log, server_log
from seawall.observability.outcome import Outcome
from seawall.observability.principals import PrincipalNames
from seawall.observability.sampling import WINDOW, LogSampler
from seawall.observability.snapshot import ConnectionSnapshot
from seawall.policy.ending import End
from seawall.policy.error_policy import LeafDecision
from seawall.policy.verdicts import MAX_REASON, AnyVerdict, Context, Phase
from seawall.printable import name_of, name_of_type, redacted, safe
from seawall.wire.traffic import Traffic

T = TypeVar("T")


@final
@frozen(kw_only=True)
class ErrorReport:
    """One failure, for ``App(report=...)`` and the log."""

    incident: str
    """A short random id. If the failure is unexpected, the peer reads it too."""
    phase: Phase
    """Where it happened."""
    route: str
    """The route's name, or empty before there is one."""
    connection: str
    """The connection's id."""
    peer: str
    """The other end of the socket."""
    principal: str
    """Whom the guards proved, redacted by `PrincipalNames`. Empty before they have."""
    at: float
    """When the policy decided, in Unix time."""
    exception: Exception
    """The exception, with its traceback; never a group."""
    verdict: AnyVerdict
    """What the policy decided."""
    expected: bool
    """Whether a rule of the application or of Seawall is for such an exception."""


def report_of(leaf: LeafDecision, context: Context) -> ErrorReport:
    """The report of one failure that has been decided."""
    return ErrorReport(
        incident=context.incident,
        phase=context.phase,
        route=context.route,
        connection=context.connection,
        peer=context.peer,
        principal=context.principal,
        at=unix_time(),
        exception=leaf.exception,
        verdict=leaf.verdict,
        expected=leaf.expected,
    )


def log_report(report: ErrorReport) -> None:
    """Log a failure: at level ERROR with its traceback if no rule expected it, else at level DEBUG without one.

    What became of the connection is in the line that is logged when it ends. Of unexpected failures, a server logs the
    first few of a kind in each minute, and counts the others; see `LogSampler`.
    """
    error_log.log(
        logging.DEBUG if report.expected else logging.ERROR,
        "%s %s %s: %s -> %s, incident %s",
        report.connection,
        safe(report.route) or "-",
        report.phase.value,
        name_of(report.exception),
        type(report.verdict).__name__,
        report.incident,
        failure=None if report.expected else report.exception,
        fields={
            "incident": report.incident,
            "phase": report.phase.value,
            "route": report.route,
            "connection": report.connection,
            "peer": report.peer,
            "principal": report.principal,
            "error": type(report.exception).__name__,
            "verdict": type(report.verdict).__name__,
        },
    )


def log_suppressed(kind: tuple[str, ...], suppressed: int) -> None:
    """Log how many failures of a kind were not logged because there were too many; nothing if that is 0."""
    if suppressed:
        shown = " ".join(safe(part) or "-" for part in kind)
        error_log.log(
            logging.ERROR, "%d more of the same were not logged: %s", suppressed, shown, fields={"held": suppressed}
        )


def note_of(context: Context) -> str:
    """The note for an exception that comes out of ``serve``: in which phase, route and connection it was raised."""
    place = f"{context.phase.value} of {safe(context.route)}" if context.route else context.phase.value
    incident = f", incident {context.incident}" if context.incident else ""
    return f"seawall: {place}, connection {context.connection} from {context.peer}{incident}"


def outcome_of(end: End, about: Context, seconds: float, traffic: Traffic) -> Outcome:
    """What is to be told of a connection that ended so, after `seconds`."""
    return Outcome(
        cause=end.cause,
        code=end.code,
        reason=end.reason,
        detail=end.detail,
        rule=end.rule,
        connection=about.connection,
        peer=about.peer,
        route=about.route,
        principal=about.principal,
        seconds=seconds,
        messages_in=traffic.messages_in,
        messages_dropped=traffic.messages_dropped,
        messages_out=traffic.messages_out,
        bytes_in=traffic.bytes_in,
        bytes_out=traffic.bytes_out,
        silent=end.silent,
    )


def _unreceived(dropped: int, received: int) -> str:
    """What a line says of messages that nobody has received."""
    if not dropped:
        return ""
    remedy = "" if dropped < received else "; a handler that only sends says so: conn.discard_input()"
    return f"{dropped} of them never received{remedy}"


def log_end(outcome: Outcome) -> None:
    """Log the end of a connection in one line: a WARNING if something was wrong with it, else INFO.

    What a peer has sent before it ended the connection, and nobody has received, is wrong too. The line is DEBUG if the
    peer never sent a byte, as health checks and the connections that browsers keep in reserve.
    """
    reason = redacted(outcome.reason if len(outcome.reason) <= MAX_REASON else f"{outcome.reason[:MAX_REASON]}…")
    rule, dropped = outcome.rule, outcome.messages_dropped
    about = (outcome.detail, rule and f"by the rule for {rule}", _unreceived(dropped, outcome.messages_in))
    why = "; ".join(str(part) for part in about if part)
    fields = {
        "connection": outcome.connection,
        "peer": outcome.peer,
        "principal": outcome.principal,
        "route": outcome.route,
        "cause": outcome.cause.value,
        "by": outcome.cause.by.value,
        "code": outcome.code,
        "reason": reason,
        "detail": outcome.detail,
        "rule": outcome.rule,
        "seconds": round(outcome.seconds, 3),
        "messages_in": outcome.messages_in,
        "messages_dropped": outcome.messages_dropped,
        "messages_out": outcome.messages_out,
        "bytes_in": outcome.bytes_in,
        "bytes_out": outcome.bytes_out,
    }
    connection_log.log(
        level_of(outcome, outcome.messages_dropped),
        "%s %s %s: %s, %d %r after %.3f s, %d in, %d out%s",
        outcome.connection,
        f"{outcome.peer} {outcome.principal}".rstrip(" "),
        safe(outcome.route) or "-",
        outcome.cause.value,
        outcome.code,
        reason,  # %r escapes
        outcome.seconds,
        outcome.messages_in,
        outcome.messages_out,
        f" ({why})" if why else "",
        fields={name: value for name, value in fields.items() if value not in {"", 0}},
    )


def labelled(label: str, line: str) -> str:
    """A line of the log with the label of its server in front, which the first server of a process does not have."""
    return f"{label}: {line}" if label else line


@final
class Reporter:
    """Tells the application and the log of failures and of connections that have ended.

    Of the connections of one network that end in one of the ways that are a WARNING, ten lines are logged in a minute,
    and the others counted; of 1,000 networks each, and of all others together (`EndFolder`). What a connection can make
    us log besides is ten lines a minute, too. The application is told of each.

    What a callback of the application raises is logged, ten of a kind in a minute, and not raised again; except
    SystemExit and KeyboardInterrupt, which are.
    """

    def __init__(
        self,
        report: Callable[[ErrorReport], None],
        on_end: Callable[[Outcome], None] | None,
        names: PrincipalNames | None = None,
        on_open: Callable[[ConnectionSnapshot], None] | None = None,
    ) -> None:
        """Tell the application by `report`, `on_open` and `on_end`, its own callbacks; name principals by `names`."""
        self.server = ""
        """The label of the server, where a process has several."""
        self._report = report
        self._on_end = on_end
        self._on_open = on_open
        self.names = names or PrincipalNames()
        self._throttle = LogSampler()
        self._has_suppressed = trio.Event()
        self._ends = EndFolder(self._note_suppressed)

    def report(self, failure: ErrorReport) -> None:
        """Tell of a failure. An application's own ``report`` gets each; the default logs ten of a kind in a minute."""
        if self._report is log_report or not self._tell("report", self._report, failure):
            kind = (name_of_type(type(failure.exception)), failure.phase.value, failure.route)
            if failure.expected or self._admits(kind):
                log_report(failure)

    @property
    def tells_of_opening(self) -> bool:
        """Whether the application wants to know of connections whose guards have let them in."""
        return self._on_open is not None

    def report_opened(self, opened: ConnectionSnapshot) -> None:
        """Tell the application that the guards have let a connection in."""
        if self._on_open is not None:
            self._tell("on_open", self._on_open, opened)

    def report_outcome(self, outcome: Outcome) -> None:
        """Log how a connection ended, unless too many of its network have ended so, and tell the application."""
        if self._ends.admits(outcome, trio.current_time()):
            log_end(outcome)
        if self._on_end is not None:
            self._tell("on_end", self._on_end, outcome)

    def log_dropped(self) -> None:
        """Log that a connection is closed without a response, because `Capacity.admit` has given it no place."""
        if self._admits(("closed without an answer",)):
            line = "too many connections above a limit: one more is closed without an answer"
            server_log.warning("%s", labelled(self.server, line))

    def log_not_wrapped(self, failure: Exception) -> None:
        """Log that a connection is closed because TLS could not begin on it; ten of a kind in a minute."""
        if self._admits(("TLS", name_of_type(type(failure.__cause__)))):
            server_log.error("%s", labelled(self.server, f"{safe(str(failure))}; it is closed"))

    def log_late(self, what: str, route: str, line: str) -> None:
        """Log a `line` about a connection that is not over when it should be: `what` of a route, ten in a minute."""
        if self._admits((what, route)):
            server_log.warning("%s", line)

    def log_exhausted(self, line: str) -> None:
        """Log that nothing can be accepted: whoever opens and closes enough connections makes that come and go."""
        if self._admits(("accept",)):
            server_log.error("%s", labelled(self.server, line))

    def is_observed(self, end: End, *, dropped: int) -> bool:
        """Whether the log or the application gets the outcome of `end`, with so many messages dropped.

        If not, no `Outcome` need be made.
        """
        return self._on_end is not None or connection_log.shows(level_of(end, dropped))

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Log how many lines were suppressed, `WINDOW` seconds after the first one was; until cancelled."""
        while True:
            await self._has_suppressed.wait()
            self._has_suppressed = trio.Event()
            await trio.sleep(WINDOW)
            self.flush_suppressed()

    def flush_suppressed(self) -> None:
        """Log how many lines have been suppressed since that was logged last."""
        for kind in self._throttle.kinds():
            log_suppressed(kind, self._throttle.take_suppressed(kind))
        self._ends.flush()

    def _tell(self, name: str, callback: Callable[[T], None], told: T) -> bool:
        """Call `callback`, and log what it raises. True if it returned."""
        try:
            callback(told)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as broken:  # noqa: ASYNC103, BLE001 - one failure must not become another one's
            if self._admits((f"App({name}=...)", name_of_type(type(broken)))):
                error_log.log(logging.ERROR, "App(%s=...) raised", name, failure=broken)
        else:
            return True
        return False

    def _note_suppressed(self) -> None:
        self._has_suppressed.set()

    def _admits(self, kind: tuple[str, ...]) -> bool:
        if not self._throttle.admits(kind, trio.current_time()):
            self._note_suppressed()
            return False
        log_suppressed(self._throttle.counted_as(kind), self._throttle.take_suppressed(kind))
        return True
