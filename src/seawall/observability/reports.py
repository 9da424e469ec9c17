"""What is written down by default: failures, and the end of each connection."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import TypeVar, final

import trio
from attrs import frozen

from seawall.clock import unix_time
from seawall.observability.logs import connection_log, error_log, server_log
from seawall.observability.outcome import Outcome
from seawall.observability.sampling import WINDOW, LogSampler
from seawall.policy.ending import Cause, End
from seawall.policy.error_policy import LeafDecision
from seawall.policy.verdicts import MAX_REASON, AnyVerdict, Context, Phase
from seawall.printable import name_of, name_of_type, safe
from seawall.wire.traffic import Traffic

T = TypeVar("T")

#: Hexadecimal digits of a digest: enough to tell a million subjects apart nearly always.
DIGEST = 10

#: The ends of a connection that are nobody's failure.
_ORDINARY = frozenset(
    {
        Cause.ANSWERED,
        Cause.RETURNED,
        Cause.CLOSED,
        Cause.PEER_CLOSED,
        Cause.PEER_VANISHED,
        Cause.LEASE_EXPIRED,
        Cause.REVOKED,
        Cause.IDLE,
        Cause.LIFETIME,
        Cause.KEEPALIVE,
        Cause.DRAINED,
        Cause.STOPPED,
    }
)


@final
@frozen(kw_only=True)
class ErrorReport:
    """One failure, for ``App(report=...)`` and the log."""

    incident: str
    """A short random id, the same that the peer of an unexpected failure reads."""
    phase: Phase
    """Where it happened."""
    route: str
    """The route's name, or empty before there is one."""
    connection: str
    """The connection's id."""
    peer: str
    """The other end of the socket."""
    principal: str
    """Whom the guards proved, redacted by `seawall.observability.reports.name_of_principal`. Empty before they have."""
    at: float
    """When it was decided, in Unix time."""
    exception: Exception
    """The exception, with its traceback; never a group."""
    verdict: AnyVerdict
    """What was decided for it."""
    expected: bool
    """Whether a rule of the application or of Seawall named it."""


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
    """Log a failure that no rule expected, with its traceback, under the incident that the peer may have read.

    A server calls it for the first few of a kind in each minute, and counts the others: `LogSampler`.

    One that a rule expected is a line of level DEBUG: what became of the connection is in the line of its end.
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


def log_held(kind: tuple[str, ...], held: int) -> None:
    """Log how many failures of a kind have not been, because there were too many of them."""
    if held:
        shown = " ".join(safe(part) or "-" for part in kind)
        error_log.log(logging.ERROR, "%d more of the same were not logged: %s", held, shown, fields={"held": held})


def note_of(context: Context) -> str:
    """Where something was raised, for who finds it outside of the server."""
    place = f"{context.phase.value} of {safe(context.route)}" if context.route else context.phase.value
    incident = f", incident {context.incident}" if context.incident else ""
    return f"seawall: {place}, connection {context.connection} from {context.peer}{incident}"


def name_of_principal(principal: object) -> str:
    """Who was proved, for a log: the type, and a digest of its ``subject`` if it has one, as `Claims` do.

    The digest is the beginning of ``hashlib.sha256(subject.encode()).hexdigest()``: who knows a subject finds its
    lines, and who has only the log learns no names from it. Nobody, None, has no name.
    """
    if principal is None:
        return ""
    name = safe(type(principal).__name__)
    try:
        subject: object = getattr(principal, "subject", None)
        if not isinstance(subject, str):
            return name
        digest = hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
    except Exception:  # noqa: BLE001 - code of the application's; its name is no reason to fail
        return name
    return f"{name}:{digest[:DIGEST]}"


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
        messages_out=traffic.messages_out,
        bytes_in=traffic.bytes_in,
        bytes_out=traffic.bytes_out,
    )


def _level(cause: Cause) -> int:
    return logging.INFO if cause in _ORDINARY else logging.WARNING


def log_end(outcome: Outcome) -> None:
    """Log the end of a connection in one line: a WARNING if something was wrong with it, else INFO."""
    reason = outcome.reason if len(outcome.reason) <= MAX_REASON else f"{outcome.reason[:MAX_REASON]}…"
    why = "; ".join(part for part in (outcome.detail, outcome.rule and f"by the rule for {outcome.rule}") if part)
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
        "messages_out": outcome.messages_out,
        "bytes_in": outcome.bytes_in,
        "bytes_out": outcome.bytes_out,
    }
    connection_log.log(
        _level(outcome.cause),
        "%s %s %s: %s, %d %r after %.3f s, %d in, %d out%s",
        outcome.connection,
        f"{outcome.peer} {outcome.principal}".rstrip(),
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


@final
class Reporter:
    """Tells the application and the log; whatever happens there, no connection notices.

    What a callback raises is logged, ten of a kind in a minute, but for SystemExit and KeyboardInterrupt.
    """

    def __init__(self, report: Callable[[ErrorReport], None], on_end: Callable[[Outcome], None] | None) -> None:
        """Tell `report` and `on_end`."""
        self._report = report
        self._on_end = on_end
        self._throttle = LogSampler()
        self._has_held = trio.Event()

    def report(self, failure: ErrorReport) -> None:
        """Tell of a failure. A storm of them is for the application's own ``report`` to deal with."""
        if self._report is log_report or not self._tell("report", self._report, failure):
            kind = (name_of_type(type(failure.exception)), failure.phase.value, failure.route)
            if failure.expected or self._admits(kind):
                log_report(failure)

    def end(self, outcome: Outcome) -> None:
        """Tell of the end of a connection."""
        log_end(outcome)
        if self._on_end is not None:
            self._tell("on_end", self._on_end, outcome)

    def drop_unanswered(self) -> None:
        """Tell the log of a connection that is closed unread: there are too many, and too many to be told so."""
        if self._admits(("closed without an answer",)):
            server_log.warning("too many connections above a limit: one more is closed without an answer")

    def wants(self, cause: Cause) -> bool:
        """Whether anybody will hear of such an end; if not, nothing need be made for it."""
        return self._on_end is not None or connection_log.shows(_level(cause))

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Write down how many failures have not been, when a window is over, until cancelled."""
        while True:
            await self._has_held.wait()
            self._has_held = trio.Event()
            await trio.sleep(WINDOW)
            self.finish()

    def finish(self) -> None:
        """Write down how many failures have not been so far."""
        for kind in self._throttle.kinds():
            log_held(kind, self._throttle.take_held(kind))

    def _tell(self, name: str, callback: Callable[[T], None], told: T) -> bool:
        """Call `callback`; whether it returned."""
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

    def _admits(self, kind: tuple[str, ...]) -> bool:
        if not self._throttle.admits(kind, trio.current_time()):
            self._has_held.set()
            return False
        log_held(self._throttle.counted_as(kind), self._throttle.take_held(kind))
        return True
