"""Error policies that are right: callables and replies fit the type of the exception, verdicts are a closed union."""

from __future__ import annotations

from typing import assert_never, assert_type

from seawall import (
    Close,
    Context,
    ErrorPolicy,
    ErrorReport,
    Escalate,
    Ignore,
    Phase,
    Refuse,
    Reply,
    TokenExpired,
    TooManyRequests,
    Unauthorized,
)
from seawall.policy.error_policy import Decision, LeafDecision
from seawall.policy.verdicts import AnyVerdict, Verdict


class NoSuchRoom(Exception):
    """An error of an application."""

    room: str = ""


def of_timeout(error: TimeoutError, context: Context) -> Close:
    """Decide about a special case."""
    return Close(4000, str(error.errno))


def of_oserror(error: OSError, context: Context) -> Refuse | Close:
    """Decide about a family."""
    return Close(4000) if context.accepted else Refuse(500)


def of_anything(error: Exception, context: Context) -> Verdict[Exception]:
    """Decide about whatever."""
    return Escalate() if context.phase is Phase.BACKGROUND else Ignore()


def answer(error: NoSuchRoom) -> str:
    """Answer one message."""
    return error.room


def answer_anything(error: Exception) -> str | bytes:
    """Answer whatever."""
    return b""


class Counting:
    """A rule with a state of its own."""

    def __call__(self, error: OSError, context: Context, /) -> Escalate:
        """Decide."""
        return Escalate()


policy = (
    ErrorPolicy()
    .on(Unauthorized, Refuse(401), Close(3000, "unauthorized"))
    .on(TokenExpired, Refuse(401, body="expired"), Close(code=3000, reason="token expired"))
    .on(TimeoutError, of_timeout)
    .on(TimeoutError, of_oserror, of_anything, Close(4000))
    .on(OSError, of_oserror, Counting())
    .on(NoSuchRoom, Reply(answer), Close(4404, "no such room"))
    .on(NoSuchRoom, Reply(answer_anything))
    .on(NoSuchRoom, Reply(lambda error: error.room))
    .on(NoSuchRoom, lambda error, context: Close(4404, error.room))
    .on(TooManyRequests, lambda error, context: Close(1013, f"try again in {error.retry_after} s"))
    .on((TimeoutError, NoSuchRoom), Close(4000))
    .on((TimeoutError, ConnectionError), of_oserror, Counting())
    .on((TimeoutError, ValueError), of_anything)
    .on((NoSuchRoom,), lambda error, context: Close(4404, error.room))
    .on((TimeoutError, ValueError), lambda error, context: Close(4000, str(error)))
    .on(Exception, Escalate(), Ignore())
)
assert_type(policy, ErrorPolicy)
assert_type(policy.within(ErrorPolicy()), ErrorPolicy)

context = Context(phase=Phase.HANDLER)
assert_type(policy.decide(ValueError(), context), Decision)
assert_type(policy.decide(ExceptionGroup("", [ValueError()]), context).leaves, tuple[LeafDecision, ...])
assert_type(policy.decide(ValueError(), context).verdict, AnyVerdict)


def name(verdict: AnyVerdict) -> str:
    """Five verdicts, and there is no sixth."""
    match verdict:
        case Refuse(status):
            return str(status)
        case Close(code, reason):
            return f"{code} {reason}"
        case Reply():
            return "reply"
        case Ignore():
            return "ignore"
        case Escalate():
            return "escalate"
        case _:
            assert_never(verdict)


def where(phase: Phase) -> int:
    """Six phases, and there is no seventh."""
    match phase:
        case Phase.GUARD | Phase.MESSAGE:
            return 1
        case Phase.HANDLER | Phase.BACKGROUND:
            return 2
        case Phase.RELEASE | Phase.TRANSPORT:
            return 3
        case _:
            assert_never(phase)


def report(failure: ErrorReport) -> None:
    """What an application's report may read."""
    assert_type(failure.exception, Exception)
    assert_type(failure.verdict, AnyVerdict)
    assert_type(failure.expected, bool)
    assert_type(failure.incident, str)
