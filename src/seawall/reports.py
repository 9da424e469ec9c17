"""What is written down by default: failures, and the end of each connection."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import final

from attrs import frozen

from seawall.life import Cause, Outcome
from seawall.logs import connection_log, error_log, safe
from seawall.policy import ErrorReport

#: The ends of a connection that are nobody's failure.
_ORDINARY = frozenset(
    {
        Cause.ANSWERED,
        Cause.RETURNED,
        Cause.CLOSED,
        Cause.PEER_CLOSED,
        Cause.PEER_VANISHED,
        Cause.LEASE_EXPIRED,
        Cause.IDLE,
        Cause.LIFETIME,
        Cause.DRAINED,
        Cause.STOPPED,
    }
)


def log_report(report: ErrorReport) -> None:
    """Log a failure that no rule expected, with its traceback, under the incident that the peer may have read.

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
        exc_info=None if report.expected else report.exception,
        extra={
            "seawall": {
                "incident": report.incident,
                "phase": report.phase.value,
                "route": report.route,
                "connection": report.connection,
                "error": type(report.exception).__name__,
                "verdict": type(report.verdict).__name__,
            }
        },
    )


def name_of(failure: Exception) -> str:
    """The type and the text of `failure`, bounded and escaped, for a log line."""
    try:
        text = str(failure)
    except Exception:  # noqa: BLE001 - an exception whose text cannot be had is still to be reported
        text = "(its text cannot be shown)"
    return f"{type(failure).__name__}: {safe(text)}"


def report_safely(report: Callable[[ErrorReport], None], failure: ErrorReport) -> None:
    """Call the application's `report`; what it raises is logged and goes no further."""
    try:
        report(failure)
    except Exception:  # noqa: BLE001 - the report of one failure must not become another one's
        error_log.exception("App(report=...) raised")
        log_report(failure)


@final
@frozen(kw_only=True)
class End:
    """One connection that is over."""

    outcome: Outcome
    connection: str
    peer: str
    route: str
    """The route's name; empty if it never got that far."""
    seconds: float
    received: int
    """Messages from the peer."""
    sent: int
    """Messages to the peer."""


def log_end(end: End) -> None:
    """Log the end of a connection in one line: a WARNING if something was wrong with it, else INFO."""
    outcome = end.outcome
    connection_log.log(
        logging.INFO if outcome.cause in _ORDINARY else logging.WARNING,
        "%s %s %s: %s, %d %r after %.3f s, %d in, %d out%s",
        end.connection,
        end.peer,
        safe(end.route) or "-",
        outcome.cause.value,
        outcome.code,
        safe(outcome.reason),
        end.seconds,
        end.received,
        end.sent,
        f" ({outcome.detail})" if outcome.detail else "",
        extra={
            "seawall": {
                "connection": end.connection,
                "peer": end.peer,
                "route": end.route,
                "cause": outcome.cause.value,
                "code": outcome.code,
                "reason": outcome.reason,
                "detail": outcome.detail,
                "seconds": round(end.seconds, 3),
                "received": end.received,
                "sent": end.sent,
            }
        },
    )
