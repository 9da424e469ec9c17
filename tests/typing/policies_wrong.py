"""Error policies that are wrong, one a line: each is an error for mypy and for pyright, or this file fails the check."""

from __future__ import annotations

from typing import assert_never

import trio

from seawall import App, Close, Context, ErrorPolicy, ErrorReport, Escalate, Ignore, Phase, Refuse, Reply
from seawall.policy.verdicts import AnyVerdict
from tests.typing.policies import NoSuchRoom, answer, of_oserror, of_timeout

policy = ErrorPolicy()
context = Context(phase=Phase.HANDLER)


def of_value(error: ValueError, context: Context) -> Close:
    """Decide about something else."""
    return Close(4000)


def without_context(error: TimeoutError) -> Close:
    """Take no context."""
    return Close(4000)


def returns_a_code(error: TimeoutError, context: Context) -> int:
    """Return a number."""
    return 4000


def returns_nothing(error: TimeoutError, context: Context) -> None:
    """Return nothing."""


async def asynchronous(error: TimeoutError, context: Context) -> Close:
    """A decision does not wait."""
    return Close(4000)


def answers_a_number(error: TimeoutError) -> int:
    """Answer a number."""
    return 7


# A rule for another exception.
policy.on(TimeoutError, of_value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a TimeoutError is no ValueError
policy.on(OSError, of_timeout)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not every OSError is a TimeoutError
policy.on(Exception, of_oserror)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not every exception is an OSError
policy.on(TimeoutError, Close(4000), of_value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nor in the second place
policy.on(ValueError, Reply(answer))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a ValueError names no room
policy.on(Exception, Reply(answer))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
policy.on(NoSuchRoom, Reply(lambda error: error.name))  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType, reportAttributeAccessIssue]  # a room that is missing has no name
policy.on(NoSuchRoom, lambda error, context: Close(4404, error.name))  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportAttributeAccessIssue]  # as above


# What is no rule.
policy.on(TimeoutError, without_context)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # takes no context
policy.on(TimeoutError, returns_a_code)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number is no verdict
policy.on(TimeoutError, returns_nothing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nothing is no verdict
policy.on(TimeoutError, asynchronous)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a decision does not wait
policy.on(TimeoutError, Reply(answers_a_number))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a message is text or bytes
policy.on(TimeoutError, 4000)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number is no verdict
policy.on(TimeoutError, Close)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a class is no verdict
policy.on(TimeoutError, None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # None is no verdict
policy.on(TimeoutError, [Close(4000)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # several verdicts are several arguments


# What no policy decides.
policy.on(KeyboardInterrupt, Close(4000))  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]  # no Exception
policy.on(trio.Cancelled, Close(4000))  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]  # as above
policy.on(BaseException, Close(4000))  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]  # as above
policy.on(int, Close(4000))  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]  # not even an exception
policy.on(TimeoutError(), Close(4000))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # one exception is no type
policy.on((TimeoutError, int), Close(4000))  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]  # not even an exception
policy.on([TimeoutError, OSError], Close(4000))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a tuple, as after except
policy.on((TimeoutError, ValueError), of_oserror)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # for one of them alone
policy.decide(KeyboardInterrupt(), context)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no Exception
policy.decide(ValueError)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]  # where did it happen?
policy.within(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a policy
Context()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # where?
Context(Phase.HANDLER)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by name
Context(phase="handler")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a phase is not its name


# Verdicts.
Close()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # with which code?
Close("4000")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a code is a number
Close(4000, 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a reason is text
Refuse()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # with which status?
Refuse("404")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a status is a number
Refuse(404, b"not here")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a body is text
Reply()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # with what?
Reply("sorry")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an answer is made of the exception
Ignore(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # nothing to say
Escalate("now")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # as above
App(errors=[])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a policy
App(report=of_value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a report takes one failure
App(report=lambda failure: failure.status)  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType, reportAttributeAccessIssue]  # a report has no status


def four_of_five(verdict: AnyVerdict) -> str:
    """Forget a verdict."""
    match verdict:
        case Refuse() | Close() | Reply() | Ignore():
            return ""
        case _:
            assert_never(verdict)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # Escalate is forgotten


def five_of_six(phase: Phase) -> str:
    """Forget a phase."""
    match phase:
        case Phase.GUARD | Phase.MESSAGE | Phase.HANDLER | Phase.BACKGROUND | Phase.TRANSPORT:
            return ""
        case _:
            assert_never(phase)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # RELEASE is forgotten


def changes(report: ErrorReport, close: Close) -> None:
    """Values do not change."""
    report.incident = ""  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # frozen
    close.code = 1000  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # frozen
    policy.rules = ()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # frozen
    context.accepted = False  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # frozen
