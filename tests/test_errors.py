"""The exceptions: the tree that the docstring draws, and what they carry."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from seawall import errors
from seawall.errors import (
    AuthTimeout,
    Disconnected,
    Draining,
    EventTimeout,
    Forbidden,
    IdleTimeout,
    InvalidMessage,
    KeepaliveLost,
    Kicked,
    LeaseExpired,
    LifetimeReached,
    LimitReached,
    NoCredentials,
    ProtocolViolation,
    Refused,
    Revoked,
    SeawallError,
    SlowConsumer,
    SubscriptionLost,
    TokenExpired,
    TooManyInvalidMessages,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from seawall.policy.error_policy import DEFAULTS
from seawall.policy.verdicts import Close, Context, Phase, Refuse

NUMBERS = re.compile(r"(?:(\d{3}) · )?\b(\d{4})\b")


def described() -> dict[str, tuple[str, str]]:
    """Each class that the module docstring draws, with its parent and what is said about it."""
    found: dict[str, tuple[str, str]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        drawn = re.fullmatch(r"    ([│ ]*)(?:[├└]── )?([A-Z]\w+)(?: +(.*))?", line)
        if drawn is None:
            continue
        indent, name, text = drawn.groups()
        depth = 0 if name in {"SeawallError", "ValueError"} else len(indent) // 4 + 1
        above[depth:] = [name]
        if name == "ValueError":
            continue  # Python's own, of which one of ours is a kind
        found[name] = (above[depth - 1] if depth else "Exception", text or "")
    return found


def classes() -> dict[str, type[Exception]]:
    """The classes that the module defines."""
    return {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}


def test_the_tree_in_the_docstring() -> None:
    """The tree that is drawn is the tree that is defined."""
    drawn = {name: parent for name, (parent, _) in described().items()}
    assert drawn == {name: kind.__base__.__name__ for name, kind in classes().items() if kind.__base__ is not None}


def test_the_numbers_in_the_docstring() -> None:
    """The status and the close code that are drawn are those of the default policy."""
    given: set[str] = set()
    for name, (_, text) in described().items():
        numbers = NUMBERS.match(text)
        if numbers is None:
            continue
        given.add(name)
        status, code = numbers.groups()
        kind = classes()[name]
        failure = InvalidMessage("$", "malformed") if kind is InvalidMessage else kind()
        before = DEFAULTS.decide(failure, Context(phase=Phase.GUARD, accepted=False)).verdict
        after = DEFAULTS.decide(failure, Context(phase=Phase.TRANSPORT)).verdict
        assert isinstance(after, Close)
        assert after.code == int(code)
        assert status is None or (isinstance(before, Refuse) and before.status == int(status))
    named = {rule.type.__name__ for rule in DEFAULTS.rules}
    assert given == named - {"ProtocolViolation"}  # which carries its own code


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Refused, "refused"),
        (Unauthorized, "unauthorized"),
        (NoCredentials, "no credentials"),
        (TokenExpired, "token expired"),
        (Forbidden, "forbidden"),
        (TooManyRequests, "too many requests"),
        (Unavailable, "unavailable"),
    ],
)
def test_a_refusal_has_a_text_and_a_time(kind: type[Refused], text: str) -> None:
    """Each refusal has its phrase, may have another text, and says when to come back."""
    assert str(kind()) == text
    assert kind().retry_after is None
    other = kind("the log reads this", retry_after=2.5)
    assert (str(other), other.retry_after) == ("the log reads this", 2.5)
    assert str(kind("")) == ""


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (LimitReached, "limit reached"),
        (AuthTimeout, "authentication timed out"),
        (IdleTimeout, "idle too long"),
        (LifetimeReached, "lifetime reached"),
        (SlowConsumer, "slow consumer"),
        (KeepaliveLost, "keepalive lost"),
    ],
)
def test_a_limit_has_its_text(kind: type[LimitReached], text: str) -> None:
    """Each deadline has its phrase."""
    assert str(kind()) == text


def test_what_a_subscription_raises() -> None:
    """It names the room, or the topic where no more is known, what is known about the events, and the policy."""
    lost = SubscriptionLost("rooms/{room}", 3)
    assert (lost.topic, lost.lost, str(lost)) == ("rooms/{room}", 3, "3 events of 'rooms/{room}' lost")
    assert [str(SubscriptionLost("feed", 1)), str(SubscriptionLost("feed")), str(SubscriptionLost())] == [
        "1 event of 'feed' lost",
        "events of 'feed' lost",
        "events lost",
    ]
    kicked = Kicked("rooms/{room}")
    assert (kicked.topic, str(kicked), str(Kicked())) == ("rooms/{room}", "kicked out of 'rooms/{room}'", "kicked")
    room = "rooms/{room}('lobby')"
    assert str(SubscriptionLost("rooms/{room}", 3, room)) == f"3 events of {room} lost"
    assert str(Kicked("rooms/{room}", room)) == f"kicked out of {room}"
    slow = SlowConsumer(room, "Disconnect(256)")
    assert (slow.room, slow.lag) == (room, "Disconnect(256)")
    assert str(slow) == f"slow consumer: further behind than Disconnect(256) allows in {room}"
    assert str(SlowConsumer(room)) == f"slow consumer: behind in {room}"


@pytest.mark.parametrize(
    "error", [SubscriptionLost("feed", 3, "feed()"), Kicked("feed", "feed()"), SlowConsumer("feed()", "Disconnect(1)")]
)
def test_what_a_subscription_raises_can_be_copied(error: Exception) -> None:
    """And pickled: what ends many blocks is copied for each, and some programs send errors to another process."""
    for made in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(made), vars(made)) == (str(error), vars(error))


def test_what_the_others_carry() -> None:
    """A violation has its close code, a disconnection names its connection, a lease just ends."""
    violation = ProtocolViolation(1007, "bad text")
    assert (violation.code, violation.reason, str(violation)) == (1007, "bad text", "1007 bad text")
    assert (Disconnected("c7").connection, str(Disconnected("c7"))) == ("c7", "connection c7 is closed")
    assert str(LeaseExpired()) == "lease expired"
    assert str(Revoked()) == "revoked"
    assert str(TooManyInvalidMessages()) == "too many invalid messages"
    assert str(EventTimeout()) == "event timed out"


@pytest.mark.parametrize(
    "error",
    [
        Forbidden("x", retry_after=2.5),
        IdleTimeout(),
        KeepaliveLost(),
        LeaseExpired(),
        Revoked(),
        TooManyInvalidMessages(),
        EventTimeout(),
        ProtocolViolation(1002, "x"),
        Disconnected("c7"),
        Draining("c7"),
    ],
    ids=repr,
)
def test_errors_can_be_copied(error: SeawallError) -> None:
    """An error survives pickling, as multiprocessing and some log handlers ask, with its text and its data."""
    copied: object = pickle.loads(pickle.dumps(error))
    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert vars(copied) == vars(error)
