"""`judge`: what a failure comes to, from the exception to what the peer reads and what is recorded."""

from __future__ import annotations

import pytest
from attrs import evolve

from seawall.errors import Forbidden, ProtocolViolation, TooManyRequests, Unauthorized
from seawall.http.response import refusal
from seawall.policy.ending import (
    Cause,
    End,
    Ends,
    Nothing,
    Replies,
    http_end,
    internal_error,
    judge,
    refusal_headers,
)
from seawall.policy.error_policy import ErrorPolicy
from seawall.policy.verdicts import Close, Context, Escalate, Ignore, Phase, Refuse, Reply

BEFORE = Context(phase=Phase.GUARD, accepted=False, incident="4f1c9a")
AFTER = evolve(BEFORE, accepted=True)


class NoSuchRoom(Exception):
    """An error of an application."""


def test_before_the_upgrade_it_is_a_response() -> None:
    """The client reads an HTTP response, with the fields that belong to its status, and the end says the same."""
    judgement = judge(Unauthorized("no token", retry_after=2.5), BEFORE, ErrorPolicy())
    assert isinstance(judgement.consequence, Ends)
    end, response = judgement.consequence.end, judgement.consequence.response
    assert end == End(Cause.REFUSED, 401, "unauthorized", "Unauthorized: no token", "Unauthorized")
    assert response is not None
    assert (response.status, response.text) == (401, "unauthorized")
    assert b'\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nRetry-After: 3\r\n' in response.data
    assert len(judgement.leaves) == 1
    assert not judgement.escalated


def test_after_the_upgrade_it_is_a_close() -> None:
    """The peer reads a close code; nothing of the failure is in it."""
    judgement = judge(Forbidden("ada is banned"), AFTER, ErrorPolicy())
    end = End(Cause.REFUSED, 3003, "forbidden", "Forbidden: ada is banned", "Forbidden")
    assert judgement.consequence == Ends(end, None)


def test_what_nobody_expected() -> None:
    """The peer reads the incident and nothing else; the end has no rule."""
    judgement = judge(ValueError("secret"), AFTER, ErrorPolicy())
    end = End(Cause.FAILED, 1011, "internal error, incident 4f1c9a", "ValueError: secret", "")
    assert judgement.consequence == Ends(end, None)
    assert [leaf.expected for leaf in judgement.leaves] == [False]


def test_a_message_that_failed_may_be_answered() -> None:
    """Then nothing ends; the same rule closes where there is no message to answer."""
    policy = ErrorPolicy().on(NoSuchRoom, Reply(str), Close(4404, "no such room"))
    failure = NoSuchRoom("attic")
    replies = judge(failure, evolve(AFTER, phase=Phase.MESSAGE), policy).consequence
    assert isinstance(replies, Replies)
    assert replies.make.make(replies.exception) == "attic"
    ends = judge(failure, evolve(AFTER, phase=Phase.HANDLER), policy).consequence
    assert isinstance(ends, Ends)
    assert (ends.end.code, ends.end.rule) == (4404, "NoSuchRoom")


def test_what_is_ignored() -> None:
    """Nothing is to be done, and it is still reported."""
    policy = ErrorPolicy().on(NoSuchRoom, Ignore())
    judgement = judge(NoSuchRoom(), evolve(AFTER, phase=Phase.RELEASE), policy)
    assert judgement.consequence == Nothing()
    assert len(judgement.leaves) == 1


@pytest.mark.parametrize(("context", "code"), [(BEFORE, 500), (AFTER, 1011)], ids=["before", "after"])
def test_what_is_escalated(context: Context, code: int) -> None:
    """The connection ends without a word about it, and the failure is to come out of the server."""
    failure = NoSuchRoom("attic")
    judgement = judge(failure, context, ErrorPolicy().on(NoSuchRoom, Escalate()))
    assert judgement.escalated == (failure,)
    assert judgement.consequence == internal_error(failure, accepted=context.accepted)
    assert isinstance(judgement.consequence, Ends)
    assert judgement.consequence.end == End(Cause.FAILED, code, "internal error", "NoSuchRoom: attic")


def test_the_gravest_acts_and_all_are_reported() -> None:
    """Of a group the gravest leaf ends the connection; one that escalates goes out besides."""
    policy = ErrorPolicy().on(NoSuchRoom, Escalate()).on(KeyError, Close(4001, "key"))
    room = NoSuchRoom()
    judgement = judge(ExceptionGroup("both", [KeyError("x"), room]), AFTER, policy)
    assert judgement.escalated == (room,)
    assert {type(leaf.exception) for leaf in judgement.leaves} == {KeyError, NoSuchRoom}


@pytest.mark.parametrize("fatal", [SystemExit(7), KeyboardInterrupt()], ids=["SystemExit", "KeyboardInterrupt"])
def test_a_rule_that_means_the_program(fatal: BaseException) -> None:
    """What a rule raises that is no failure is escalated, and the built-in rules decide about the failure."""

    def decide(failure: NoSuchRoom, context: Context) -> Close:
        raise fatal

    judgement = judge(NoSuchRoom(), AFTER, ErrorPolicy().on(NoSuchRoom, decide))
    assert judgement.escalated == (fatal,)
    assert isinstance(judgement.consequence, Ends)
    assert judgement.consequence.end.code == 1011


def test_a_violation_says_which() -> None:
    """The code and the reason are the violation's own."""
    consequence = judge(ProtocolViolation(1009, "message too big"), AFTER, ErrorPolicy()).consequence
    assert isinstance(consequence, Ends)
    assert (consequence.end.cause, consequence.end.code) == (Cause.VIOLATION, 1009)


def test_a_refusal_of_the_applications_own() -> None:
    """Its text is the end's reason, though its status has no phrase."""
    consequence = judge(NoSuchRoom(), BEFORE, ErrorPolicy().on(NoSuchRoom, Refuse(499))).consequence
    assert isinstance(consequence, Ends)
    assert (consequence.end.code, consequence.end.reason) == (499, "refused")


def test_a_page_is_no_refusal() -> None:
    """A request that got its page has been answered; one with an error status was refused."""
    page = evolve(refusal(404, "not found"), status=200, text="page")
    assert http_end(page, "'/'").end == End(Cause.ANSWERED, 200, "page", "'/'")
    assert http_end(refusal(404, "not found")).end.cause is Cause.REFUSED


@pytest.mark.parametrize(
    ("seconds", "field"),
    [(0.1, "1"), (-3.0, "0"), (31_536_000, "31536000"), (31_536_001, None), (float("nan"), None), (None, None)],
    ids=["a little", "in the past", "a year", "more", "nan", "none"],
)
def test_when_to_come_back(seconds: float | None, field: str | None) -> None:
    """Whole seconds, never too early and never before now; what makes no sense is not sent."""
    headers = dict(refusal_headers(429, TooManyRequests(retry_after=seconds)))
    assert headers.get("Retry-After") == field
