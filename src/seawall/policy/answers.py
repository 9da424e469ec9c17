"""What a peer reads when one of its messages has failed, unless the application's policy says otherwise. Pure."""

from __future__ import annotations

from typing import Final

from seawall.errors import EventTimeout, Forbidden, InvalidMessage, Refused, TooManyRequests, Unauthorized, Unavailable
from seawall.messages.encoder import ErrorCode, ErrorFrame

#: Seconds above which saying when to try again is not worth it: a year.
MAX_RETRY_AFTER: Final = 31_536_000

_CODES: Final[tuple[tuple[type[Refused], ErrorCode], ...]] = (
    (Unauthorized, "unauthorized"),
    (Forbidden, "forbidden"),
    (TooManyRequests, "too_many_requests"),
    (Unavailable, "unavailable"),
)


def answer_invalid(error: InvalidMessage) -> ErrorFrame:
    """Where it is wrong, and what was expected there."""
    return ErrorFrame(code=error.code, path=error.path, detail=error.detail or None)


def answer_refused(error: Refused) -> ErrorFrame:
    """That the event is refused, and when to try again if that is known; never the text, which is for the log."""
    code: ErrorCode = next(code for kind, code in _CODES if isinstance(error, kind))
    seconds: object = error.retry_after
    if not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_RETRY_AFTER:  # an application's may be anything
        seconds = None
    return ErrorFrame(code=code, retry_after=seconds)


def answer_timeout(_: EventTimeout) -> ErrorFrame:
    """That it took too long."""
    return ErrorFrame(code="timeout")
