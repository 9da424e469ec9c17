"""What is written down by default: failures, and the end of each connection."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, final

from attrs import frozen

from seawall.life import Cause, Outcome
from seawall.logs import connection_log, error_log, safe
from seawall.policy import ErrorReport

Q = ParamSpec("Q")

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
        Cause.KEEPALIVE,
        Cause.DRAINED,
        Cause.STOPPED,
    }
)


def _contained(write: Callable[Q, None]) -> Callable[Q, None]:
    """Log; a log handler of the application that raises must end neither a connection nor the server."""

    @wraps(write)
    def written(*args: Q.args, **kwargs: Q.kwargs) -> None:
        try:
            write(*args, **kwargs)
        except Exception:  # noqa: BLE001 - it is shown where `logging` itself shows such a thing
            traceback.print_exc(chain=False)

    return written


@_contained
def log_report(report: ErrorReport) -> None:
    """Log a failure that no rule expected, with its traceback, under the incident that the peer may have read.

    A server calls it for the first few of a kind in each minute, and counts the others: see `seawall.throttle`.

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


@_contained
def log_held(kind: tuple[str, ...], held: int) -> None:
    """Log how many failures of a kind have not been, because there were too many of them."""
    if held:
        shown = " ".join(safe(part) or "-" for part in kind)
        error_log.error("%d more of the same were not logged: %s", held, shown, extra={"seawall": {"held": held}})


def report_safely(report: Callable[[ErrorReport], None], failure: ErrorReport) -> None:
    """Call the application's `report`; what it raises is logged and goes no further."""
    try:
        report(failure)
    except Exception:  # noqa: BLE001 - the report of one failure must not become another one's
        _log_broken_report()
        log_report(failure)


@_contained
def _log_broken_report() -> None:
    error_log.exception("App(report=...) raised")


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


@_contained
def log_end(end: End) -> None:
    """Log the end of a connection in one line: a WARNING if something was wrong with it, else INFO."""
    outcome = end.outcome
    level = logging.INFO if outcome.cause in _ORDINARY else logging.WARNING
    if not connection_log.isEnabledFor(level):
        return  # before anything is made for it
    connection_log.log(
        level,
        "%s %s %s: %s, %d %r after %.3f s, %d in, %d out%s",
        end.connection,
        end.peer,
        safe(end.route) or "-",
        outcome.cause.value,
        outcome.code,
        outcome.reason,  # at most 123 bytes, and %r escapes
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
