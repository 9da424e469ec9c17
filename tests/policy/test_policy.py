"""The error policy, case by case: which rule decides, in which phase, and what nobody can decide."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import cast

import pytest
import trio

from seawall.app import App
from seawall.connection.connection import Connection
from seawall.errors import (
    AuthTimeout,
    ConfigurationError,
    Disconnected,
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
from seawall.exception_groups import exceptions_in, flatten, partition, subtract
from seawall.guards.guard import Anonymous, public
from seawall.observability.outcome import Outcome
from seawall.observability.reports import ErrorReport
from seawall.policy.error_policy import Decision, ErrorPolicy, LeafDecision, Rule
from seawall.policy.verdicts import (
    MAX_REASON,
    AnyVerdict,
    Close,
    Context,
    Escalate,
    Ignore,
    Phase,
    Refuse,
    Reply,
    applies,
)
from seawall.routing.router import Router
from tests.kit.cancelled import cancelled

BEFORE = Context(phase=Phase.GUARD, accepted=False, incident="4f1c9a")
TALKING = Context(phase=Phase.GUARD, incident="4f1c9a")
MESSAGE = Context(phase=Phase.MESSAGE, incident="4f1c9a")
HANDLER = Context(phase=Phase.HANDLER, incident="4f1c9a")
BACKGROUND = Context(phase=Phase.BACKGROUND, incident="4f1c9a")
RELEASE = Context(phase=Phase.RELEASE, incident="4f1c9a")
TRANSPORT = Context(phase=Phase.TRANSPORT, incident="4f1c9a")
AFTER = (TALKING, MESSAGE, HANDLER, BACKGROUND, TRANSPORT)

UNKNOWN = "internal error, incident 4f1c9a"


class Broken(Exception):
    """A failure of an application."""


class Worse(Broken):
    """A special case of it."""


class Both(Worse, KeyError):
    """A failure with two parents."""


def answer(error: Exception) -> str:
    """An answer made from the exception."""
    return f"sorry: {error}"


def verdict_of(policy: ErrorPolicy, exception: Exception, context: Context = HANDLER) -> AnyVerdict:
    """The verdict that acts."""
    return policy.decide(exception, context).verdict


@pytest.mark.parametrize(
    ("exception", "before", "after"),
    [
        (Unauthorized(), Refuse(401), Close(3000, "unauthorized")),
        (NoCredentials(), Refuse(401), Close(3000, "unauthorized")),
        (TokenExpired(), Refuse(401), Close(3000, "unauthorized")),
        (Forbidden(), Refuse(403), Close(3003, "forbidden")),
        (TooManyRequests(retry_after=5), Refuse(429), Close(1013, "too many requests")),
        (Unavailable(), Refuse(503), Close(1013, "unavailable")),
        (InvalidMessage("$", "malformed"), None, Close(1008, "invalid message")),
        (TooManyInvalidMessages(), None, Close(1008, "too many invalid messages")),
        (EventTimeout(), None, Close(3008, "event timed out")),
        (AuthTimeout(), Refuse(408), Close(3008, "authentication timed out")),
        (IdleTimeout(), None, Close(3008, "idle too long")),
        (LifetimeReached(), None, Close(3008, "lifetime reached")),
        (SlowConsumer(), None, Close(1008, "slow consumer")),
        (SubscriptionLost("rooms/{room}", 3), None, Close(1013, "messages lost")),
        (Kicked("rooms/{room}"), None, Close(3003, "kicked")),
        (KeepaliveLost(), None, Close(1011, "keepalive lost")),
        (LeaseExpired(), Refuse(401), Close(3000, "lease expired")),
        (Revoked(), Refuse(403), Close(3003, "revoked")),
        (ProtocolViolation(1002, "reserved bits"), None, Close(1002, "reserved bits")),
        (ProtocolViolation(1009, "too big"), None, Close(1009, "too big")),
        (ConfigurationError("x"), None, None),
        (Disconnected("c7"), None, None),
        (Refused(), None, None),
        (LimitReached(), None, None),
        (SeawallError("x"), None, None),
        (Broken("x"), None, None),
        (OSError(5, "x"), None, None),
        (trio.BrokenResourceError(), None, None),
    ],
    ids=repr,
)
def test_the_defaults(exception: Exception, before: AnyVerdict | None, after: AnyVerdict | None) -> None:
    """Every exception has its status before the upgrade and its code after it; what nobody knows is 500 or 1011.

    What a message fails with is answered instead, if it is one of those that a peer can do something about.
    """
    decision = ErrorPolicy().decide(exception, BEFORE)
    expected = LeafDecision(exception=exception, verdict=before or Refuse(500, UNKNOWN), expected=before is not None)
    assert decision == Decision((expected,))
    refused = Unauthorized | Forbidden | TooManyRequests | Unavailable
    answered = isinstance(exception, InvalidMessage | EventTimeout | refused)
    for context in AFTER:
        if answered and context is MESSAGE:
            assert isinstance(ErrorPolicy().decide(exception, context).verdict, Reply)
            continue
        expected = LeafDecision(exception=exception, verdict=after or Close(1011, UNKNOWN), expected=after is not None)
        assert ErrorPolicy().decide(exception, context) == Decision((expected,))


def test_a_release_has_nobody_to_tell() -> None:
    """When a resource fails to leave, the connection is over: it is reported, as unexpected, and no more."""
    for exception in (Broken("x"), Unauthorized(), ProtocolViolation(1002, "x")):
        expected = LeafDecision(exception=exception, verdict=Ignore(), expected=False)
        assert ErrorPolicy().decide(exception, RELEASE).leaves == (expected,)


APPLICABLE: dict[Phase, tuple[set[type[AnyVerdict]], set[type[AnyVerdict]]]] = {
    Phase.GUARD: ({Refuse, Escalate}, {Close, Escalate}),
    Phase.MESSAGE: (set(), {Close, Reply, Ignore, Escalate}),
    Phase.HANDLER: (set(), {Close, Escalate}),
    Phase.BACKGROUND: ({Refuse, Escalate}, {Close, Escalate}),
    Phase.RELEASE: ({Ignore, Escalate}, {Ignore, Escalate}),
    Phase.TRANSPORT: ({Refuse, Escalate}, {Close, Escalate}),
}


@pytest.mark.parametrize("phase", Phase, ids=str)
@pytest.mark.parametrize("accepted", [False, True], ids=["before", "after"])
def test_what_can_act(phase: Phase, accepted: bool) -> None:
    """Each phase has its verdicts: a status before the upgrade, a code after it, an answer for a message only."""
    known = APPLICABLE[phase][accepted]
    context = Context(phase=phase, accepted=accepted)
    every: tuple[AnyVerdict, ...] = (Refuse(400), Close(4000), Reply(answer), Ignore(), Escalate())
    if known:  # there is no message and no handler before the upgrade
        assert {type(verdict) for verdict in every if applies(verdict, context)} == known


def test_a_resource_that_fails_before_the_upgrade_is_refused_by_the_rule() -> None:
    """A guard's resource may fail in its own task while the next guard is still deciding: a status can be sent."""
    policy = ErrorPolicy().on(Broken, Refuse(503, "no database"), Close(1013))
    context = Context(phase=Phase.BACKGROUND, accepted=False)
    assert verdict_of(policy, Broken(), context) == Refuse(503, "no database")
    assert verdict_of(policy, Unavailable(), context) == Refuse(503)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_the_most_specific_type_wins(order: Iterable[int]) -> None:
    """Whatever the order of the rules, the one nearest in the exception's method resolution order decides."""
    rules: list[tuple[type[Exception], Close]] = [(Exception, Close(4000)), (Broken, Close(4001)), (Worse, Close(4002))]
    policy = ErrorPolicy()
    for index in order:
        policy = policy.on(*rules[index])
    assert verdict_of(policy, Worse()) == Close(4002)
    assert verdict_of(policy, Both()) == Close(4002)
    assert verdict_of(policy, Broken()) == Close(4001)
    assert verdict_of(policy, KeyError()) == Close(4000)
    assert verdict_of(policy, Unauthorized()) == Close(4000)


def test_two_parents() -> None:
    """With several bases it is still the method resolution order: Both, Worse, Broken, KeyError, LookupError, ..."""
    policy = ErrorPolicy().on(LookupError, Close(4003)).on(KeyError, Close(4002)).on(Broken, Close(4001))
    assert verdict_of(policy, Both()) == Close(4001)
    assert verdict_of(policy, KeyError()) == Close(4002)
    assert verdict_of(policy.on(Both, Close(4009)), Both()) == Close(4009)


def test_the_later_rule_for_one_type_comes_first() -> None:
    """A later rule for the same type replaces the earlier one where it applies, and falls back to it where not."""
    policy = ErrorPolicy().on(Broken, Refuse(400), Close(4001)).on(Broken, Close(4002))
    assert verdict_of(policy, Broken()) == Close(4002)
    assert verdict_of(policy, Broken(), BEFORE) == Refuse(400)


def test_verdicts_of_one_rule_are_asked_in_order() -> None:
    """Of several verdicts the first that can act in the phase is taken."""
    policy = ErrorPolicy().on(Broken, Reply(answer), Refuse(400), Close(4001), Escalate())
    assert verdict_of(policy, Broken(), BEFORE) == Refuse(400)
    assert verdict_of(policy, Broken(), MESSAGE) == Reply(answer)
    assert verdict_of(policy, Broken(), HANDLER) == Close(4001)
    assert verdict_of(policy, Broken(), RELEASE) == Escalate()


@pytest.mark.parametrize(
    "verdicts",
    [
        (Close(4000), Close(4001)),
        (Refuse(400), Close(4000), Refuse(402)),
        (Escalate(), Close(4001)),
        (Ignore(), Reply(answer)),
        (Close(4000), Reply(answer)),
        (Refuse(400), Close(4000), Ignore(), Escalate()),
    ],
)
def test_a_verdict_behind_others_that_leave_it_nothing(verdicts: tuple[AnyVerdict, ...]) -> None:
    """What no phase would ever come to is a mistake, with the remedy."""
    with pytest.raises(ConfigurationError, match=r"on\(Broken\): .* can never act, because those before it.* put it"):
        ErrorPolicy().on(Broken, *verdicts)


def test_a_verdict_behind_a_callable() -> None:
    """Nobody knows what that will return, so it leaves something to the others."""
    policy = ErrorPolicy().on(Broken, lambda error, context: Ignore(), Close(4001))
    assert verdict_of(policy, Broken(), HANDLER) == Close(4001)


def test_a_rule_with_nothing_applicable_falls_outward() -> None:
    """What cannot act is passed over: to a less specific type, to the outer policy, to the defaults, to the last."""
    inner = ErrorPolicy().on(Worse, Refuse(400)).on(Broken, Refuse(401))
    assert verdict_of(inner.on(Broken, Close(4001)), Worse()) == Close(4001)
    assert verdict_of(inner.within(ErrorPolicy().on(Exception, Close(4002))), Worse()) == Close(4002)
    assert verdict_of(ErrorPolicy().on(Unauthorized, Refuse(404)), Unauthorized()) == Close(3000, "unauthorized")
    assert verdict_of(inner, Worse()) == Close(1011, UNKNOWN)


def test_an_inner_policy_comes_before_an_outer_one() -> None:
    """A less specific rule further in wins over a more specific one further out."""
    app = ErrorPolicy().on(Worse, Close(4001)).on(Unauthorized, Close(4002))
    route = ErrorPolicy().on(Exception, Close(4009))
    assert verdict_of(route.within(app), Worse()) == Close(4009)
    assert verdict_of(app.within(route), Worse()) == Close(4001)
    assert verdict_of(app.within(route), Unauthorized()) == Close(4002)
    assert verdict_of(ErrorPolicy().within(app), Unauthorized()) == Close(4002)


def test_within_chains() -> None:
    """`within` puts the outer policy behind all that are there already, however they are nested."""
    a, b, c = (ErrorPolicy().on(kind, Close(code)) for kind, code in ((Both, 4001), (Worse, 4002), (Broken, 4003)))
    for chained in (a.within(b).within(c), a.within(b.within(c))):
        assert [verdict_of(chained, kind()) for kind in (Both, Worse, Broken)] == [
            Close(4001),
            Close(4002),
            Close(4003),
        ]
        assert verdict_of(chained, KeyError()) == Close(1011, UNKNOWN)
    assert a.within(b).within(c) == a.within(b.within(c))
    assert a.outer is None


def test_a_policy_is_a_value() -> None:
    """`on` returns a new policy and leaves the old one as it was; equal policies are equal and hash alike."""
    empty = ErrorPolicy()
    one = empty.on(Broken, Close(4001))
    assert empty.rules == ()
    assert one.rules == (Rule(Broken, (Close(4001),)),)
    assert one == empty.on(Broken, Close(4001))
    assert hash(one) == hash(empty.on(Broken, Close(4001)))
    assert one != empty.on(Broken, Close(4002))


def test_a_callable_decides_from_the_exception_and_the_context() -> None:
    """A callable has the exception's own data and knows where it happened."""

    def decide(error: OSError, context: Context) -> Close | Refuse:
        text = f"{error.errno} in {context.phase.value} of {context.route} for {context.connection}"
        return Close(4001, text) if context.accepted else Refuse(409, text)

    policy = ErrorPolicy().on(OSError, decide)
    after = Context(phase=Phase.HANDLER, route="/chat", connection="c7")
    assert verdict_of(policy, OSError(5, "x"), after) == Close(4001, "5 in handler of /chat for c7")
    assert verdict_of(policy, OSError(5, "x"), BEFORE) == Refuse(409, "5 in guard of  for ")


def test_a_callable_that_returns_what_cannot_act_is_passed_over() -> None:
    """The verdict of a callable is held against the phase like any other."""

    def refuse(error: Broken, context: Context) -> Refuse:
        return Refuse(400)

    assert verdict_of(ErrorPolicy().on(Broken, refuse, Close(4001)), Broken()) == Close(4001)
    assert verdict_of(ErrorPolicy().on(Broken, refuse), Broken()) == Close(1011, UNKNOWN)


def test_a_callable_may_reply() -> None:
    """A callable can choose an answer, which is only made when it is sent."""

    def decide(error: Broken, context: Context) -> Reply[Exception]:
        return Reply(answer)

    verdict = verdict_of(ErrorPolicy().on(Broken, decide), Broken("x"), MESSAGE)
    assert isinstance(verdict, Reply)
    assert verdict.make(Broken("x")) == "sorry: x"


def test_a_callable_that_raises_is_the_failure() -> None:
    """A rule that fails is reported in place of what it was asked about, which stays reachable behind it."""

    def clumsy(error: Broken, context: Context) -> Close:
        return Close(4001, ("text" * 100) + str(error))

    failure = Broken("x")
    (leaf,) = ErrorPolicy().on(Broken, clumsy).decide(failure, HANDLER).leaves
    assert isinstance(leaf.exception, ConfigurationError)
    assert leaf.exception.__context__ is failure
    assert (leaf.verdict, leaf.expected) == (Close(1011, UNKNOWN), False)


def test_a_callable_that_raises_a_group_is_several_failures() -> None:
    """Even then no decision is about a group."""

    def clumsy(error: Broken, context: Context) -> Close:
        raise ExceptionGroup("two", [ValueError("a"), ExceptionGroup("more", [ValueError("b")])])

    decided = ErrorPolicy().on(Broken, clumsy).on(ValueError, Close(4001)).decide(Broken(), HANDLER).leaves
    assert [str(leaf.exception) for leaf in decided] == ["a", "b"]
    assert {(leaf.verdict, leaf.expected) for leaf in decided} == {(Close(1011, UNKNOWN), False)}


def test_a_callable_that_raises_anew_what_it_was_given_decides_nothing() -> None:
    """Raising the exception itself is no way to hand it on; it is then unexpected."""

    def rethrow(error: Broken, context: Context) -> Close:
        raise error

    failure = Broken()
    (leaf,) = ErrorPolicy().on(Broken, rethrow).on(Exception, Close(4001)).decide(failure, HANDLER).leaves
    assert leaf.exception is failure
    assert (leaf.verdict, leaf.expected) == (Close(1011, UNKNOWN), False)
    assert failure.__context__ is None


@pytest.mark.parametrize("junk", [None, 4001, "4001", Close, (Close(4001),)], ids=repr)
def test_a_callable_that_returns_no_verdict(junk: object) -> None:
    """Whatever else a callable returns is a failure that names it and the remedy."""

    def decide(error: Broken, context: Context) -> Close:
        return junk  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # the mistake under test

    (leaf,) = ErrorPolicy().on(Broken, decide, Close(4001)).decide(Broken(), HANDLER).leaves
    assert isinstance(leaf.exception, TypeError)
    assert repr(junk) in str(leaf.exception)
    assert "return Refuse, Close, Reply, Ignore or Escalate" in str(leaf.exception)
    assert (leaf.verdict, leaf.expected) == (Close(1011, UNKNOWN), False)


def test_a_callable_that_interrupts() -> None:
    """What is not an Exception goes through a rule untouched."""

    def interrupt(error: Broken, context: Context) -> Close:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ErrorPolicy().on(Broken, interrupt).decide(Broken(), HANDLER)


def nest(exception: Exception, depth: int) -> Exception:
    """The exception, in `depth` groups."""
    for level in range(depth):
        exception = ExceptionGroup(f"level {level}", [exception])
    return exception


@pytest.mark.parametrize("depth", [0, 1, 2, 50, 2_000])
def test_groups_are_taken_apart_at_any_depth(depth: int) -> None:
    """Neither the rules nor the recursion limit see how deep a leaf lies."""
    failure = Broken()
    decision = ErrorPolicy().on(Broken, Close(4001)).decide(nest(failure, depth), HANDLER)
    assert decision.leaves == (LeafDecision(exception=failure, verdict=Close(4001), expected=True),)


def test_every_leaf_is_decided_once() -> None:
    """Each leaf has its own verdict, in the order of the group; one that is there twice counts once."""
    again, other = Broken("again"), Worse()
    group = ExceptionGroup("a", [ExceptionGroup("b", [again, other]), again, ExceptionGroup("c", [OSError(), again])])
    policy = ErrorPolicy().on(Broken, Close(4001)).on(Worse, Close(4002))
    assert [(type(leaf.exception), leaf.verdict, leaf.expected) for leaf in policy.decide(group, HANDLER).leaves] == [
        (Broken, Close(4001), True),
        (Worse, Close(4002), True),
        (OSError, Close(1011, UNKNOWN), False),
    ]


def test_equal_exceptions_are_two() -> None:
    """Exceptions that compare equal are still two failures."""

    class Equal(Exception):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]  # not even hashable  # pyright: ignore[reportAssignmentType]

    assert len(ErrorPolicy().decide(ExceptionGroup("", [Equal(), Equal()]), HANDLER).leaves) == 2


class Kinds:
    """One exception type for each verdict."""

    policy = (
        ErrorPolicy()
        .on(BufferError, Escalate())
        .on(OSError, Refuse(400, "a"), Close(4001, "a"))
        .on(ConnectionError, Refuse(400, "b"), Close(4001, "b"))
        .on(EOFError, Refuse(404), Close(4000))
        .on(KeyError, Reply(answer), Refuse(402), Close(4005))
        .on(IndexError, Ignore(), Refuse(401), Close(4009))
    )


@pytest.mark.parametrize(
    ("context", "kinds", "gravest"),
    [
        (MESSAGE, (BufferError, OSError, EOFError, KeyError, IndexError, ValueError), Escalate()),
        (MESSAGE, (EOFError, OSError, KeyError, IndexError), Close(4000)),
        (MESSAGE, (OSError, KeyError, ValueError), Close(1011, UNKNOWN)),
        (MESSAGE, (ConnectionError, OSError), Close(4001, "a")),
        (MESSAGE, (KeyError, IndexError), Reply(answer)),
        (MESSAGE, (IndexError, IndexError), Ignore()),
        (BEFORE, (OSError, EOFError, KeyError), Refuse(404)),
        (BEFORE, (OSError, ValueError, EOFError), Refuse(500, UNKNOWN)),
        (BEFORE, (ConnectionError, OSError), Refuse(400, "a")),
        (BEFORE, (BufferError, ValueError), Escalate()),
        (HANDLER, (IndexError, KeyError), Close(4005)),
        (RELEASE, (IndexError, ValueError), Ignore()),
        (RELEASE, (IndexError, BufferError), Escalate()),
    ],
)
def test_the_gravest_verdict_acts(context: Context, kinds: tuple[type[Exception], ...], gravest: AnyVerdict) -> None:
    """Escalate, then Refuse or Close (the highest status, the lowest code), then Reply, then Ignore; in any order."""
    failures = [kind() for kind in kinds]
    for order in itertools.permutations(failures):
        decision = Kinds.policy.decide(ExceptionGroup("several", list(order)), context)
        assert decision.verdict == gravest
        assert {id(leaf.exception) for leaf in decision.leaves} == {id(failure) for failure in failures}


def test_of_equal_verdicts_the_same_leaf_acts() -> None:
    """Which leaf acts decides what is logged and which answer is sent, so it must not hang on the order of tasks."""
    policy = ErrorPolicy().on(KeyError, Reply(answer)).on(IndexError, Reply(repr))
    failures: list[Exception] = [KeyError(), IndexError()]
    chosen = [policy.decide(ExceptionGroup("", order), MESSAGE).gravest for order in (failures, failures[::-1])]
    assert chosen[0] == chosen[1]
    assert isinstance(chosen[0].exception, IndexError)


def test_an_error_is_never_1000() -> None:
    """No rule can make an error look like an ordinary end."""
    with pytest.raises(ConfigurationError, match=r"Close\(1000\).*an error is never 1000.*give 4000-4999"):
        Close(1000)


@pytest.mark.parametrize("code", [-1, 0, 999, 1000, 1004, 1005, 1006, 1010, 1015, 1016, 1999, 2000, 2999, 5000, 65536])
def test_codes_that_no_error_has(code: int) -> None:
    """A code that may not be sent, or says that all is well, is refused where the rule is written."""
    with pytest.raises(ConfigurationError, match=rf"Close\({code}\).*give "):
        Close(code)


@pytest.mark.parametrize("code", [1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])
def test_codes_that_an_error_may_have(code: int) -> None:
    """The registered ones and the application's own."""
    assert Close(code).code == code


@pytest.mark.parametrize("status", [-1, 0, 100, 101, 200, 302, 399, 600, 1000])
def test_statuses_that_no_refusal_has(status: int) -> None:
    """A refusal is an HTTP error."""
    with pytest.raises(ConfigurationError, match=rf"Refuse\({status}\).*400 to 599"):
        Refuse(status)


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (Refuse(400), "bad request"),
        (Refuse(404, "no such room"), "no such room"),
        (Refuse(429), "too many requests"),
        (Refuse(599), "refused"),
    ],
)
def test_what_a_refused_peer_reads(verdict: Refuse, text: str) -> None:
    """The body of the rule, else the phrase of the status, else a constant."""
    assert verdict.text == text


@pytest.mark.parametrize(
    "reason", ["x" * 123, "é" * 61 + "x", "€" * 41, "𝄞" * 30 + "xxx", ""], ids=["1", "2", "3", "4", "0"]
)
def test_reasons_that_fit(reason: str) -> None:
    """A reason of 123 bytes fits, whatever its characters."""
    assert len(reason.encode()) in {0, MAX_REASON}
    assert Close(4000, reason).reason == reason


@pytest.mark.parametrize("reason", ["x" * 124, "é" * 62, "€" * 42, "𝄞" * 31], ids=["1", "2", "3", "4"])
def test_reasons_that_are_too_long(reason: str) -> None:
    """Bytes count, not characters."""
    with pytest.raises(ConfigurationError, match=f"{len(reason.encode())} bytes.*room for 123: shorten it"):
        Close(4000, reason)


@pytest.mark.parametrize("kind", [Revoked, LeaseExpired, AuthTimeout])
@pytest.mark.parametrize("verdict", [Ignore(), Reply(answer)], ids=["ignored", "answered"])
def test_an_ending_that_would_go_on(kind: type[Exception], verdict: AnyVerdict) -> None:
    """What ends a connection from outside ends it whatever is decided."""
    with pytest.raises(
        ConfigurationError, match=rf"ErrorPolicy.on\({kind.__name__}\): .* can never act.* give a Refuse"
    ):
        ErrorPolicy().on(kind, verdict)


@pytest.mark.parametrize(
    ("mistake", "text"),
    [
        (lambda: Close("4000"), r"Close\('4000'\): not a close code"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # on purpose
        (lambda: Close(4000.5), r"Close\(4000.5\): not a close code"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
        (lambda: Close(True), r"Close\(True\): not a close code"),
        (lambda: Close(4000, b"x"), r"Close reason b'x' is no text"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
        (lambda: Refuse("400"), r"Refuse\('400'\): a refusal is an HTTP error"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
        (lambda: ErrorPolicy().on(5, Ignore()), r"on\(5\): name a subclass"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
        (lambda: ErrorPolicy().on((OSError, 6), Ignore()), r"on\(6\): name a subclass"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
        (lambda: ErrorPolicy().on((), Ignore()), r"on\(\(\)\): no type; name at least one"),
    ],
)
def test_mistakes_that_a_type_checker_would_find(mistake: Callable[[], object], text: str) -> None:
    """They are mistakes for who has none as well, with the remedy."""
    with pytest.raises(ConfigurationError, match=text):
        mistake()


def test_what_cannot_be_encoded() -> None:
    """A surrogate, in a reason or in a body, would raise when the failure is answered; it raises here instead."""
    with pytest.raises(ConfigurationError, match=r"cannot be encoded.*remove the surrogate"):
        Close(4000, "room \ud800")
    with pytest.raises(ConfigurationError, match=r"cannot be encoded.*remove the surrogate"):
        Refuse(400, "room \ud800")


def test_a_rule_without_a_verdict() -> None:
    """A rule that says nothing is a mistake, with the remedy."""
    with pytest.raises(ConfigurationError, match=r"ErrorPolicy\.on\(Broken\): no verdict; add one"):
        ErrorPolicy().on(Broken)


@pytest.mark.parametrize(
    "kind",
    [
        BaseException,
        KeyboardInterrupt,
        SystemExit,
        GeneratorExit,
        trio.Cancelled,
        BaseExceptionGroup,
        ExceptionGroup,
        int,
    ],
)
def test_types_that_no_policy_decides(kind: type[Exception]) -> None:
    """What is no Exception, or is a group, cannot have a rule."""
    with pytest.raises(ConfigurationError, match=rf"ErrorPolicy\.on\({kind.__name__}\): name a subclass of Exception"):
        ErrorPolicy().on(kind, Close(4000))


async def test_sift_takes_a_group_apart() -> None:
    """Failures for the policy, fatal ones for nobody, and each Cancelled to be raised again."""
    stop, quit_, exit_, failure = await cancelled(), KeyboardInterrupt(), SystemExit(2), Broken()
    group = BaseExceptionGroup(
        "outer",
        [
            failure,
            stop,
            BaseExceptionGroup("inner", [quit_, stop]),
            ExceptionGroup("more", [OSError(), failure]),
            exit_,
        ],
    )
    sifted = partition(group)
    assert [type(leaf) for leaf in sifted.failures] == [Broken, OSError]
    assert sifted.fatal == (quit_, exit_)
    assert sifted.cancelled is not None
    assert list(flatten(sifted.cancelled)) == [stop, stop]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_sift_never_consumes_what_is_fatal(kind: type[BaseException]) -> None:
    """Alone or in a group, it is in exactly one part, and that is not the policy's."""
    fatal = kind()
    for raised in (fatal, BaseExceptionGroup("", [fatal])):
        sifted = partition(raised)
        assert (sifted.failures, sifted.fatal, sifted.cancelled) == ((), (fatal,), None)


async def test_sift_never_consumes_cancelled() -> None:
    """Alone it comes back itself; in a group, the group that holds it."""
    stop = await cancelled()
    assert partition(stop).cancelled is stop
    assert (partition(stop).failures, partition(stop).fatal) == ((), ())
    assert list(flatten(partition(BaseExceptionGroup("", [stop])).cancelled or Broken())) == [stop]


@pytest.mark.parametrize("depth", [0, 1, 100])
def test_sift_leaves_failures_to_the_policy(depth: int) -> None:
    """A failure alone, or in groups, has nothing to raise again."""
    failure = Broken()
    sifted = partition(nest(failure, depth))
    assert (sifted.failures, sifted.fatal, sifted.cancelled) == ((failure,), (), None)


def test_leaves_are_exceptions_only() -> None:
    """What a policy decides leaves out what is fatal."""
    failure = Broken()
    assert list(exceptions_in(BaseExceptionGroup("", [KeyboardInterrupt(), failure]))) == [failure]
    assert list(exceptions_in(SystemExit())) == []


def test_what_is_known_already_is_taken_out() -> None:
    """What comes back from a resource that was told of a failure is that failure, alone or in any groups."""
    known, other, more = Broken(), OSError(), KeyboardInterrupt()
    assert subtract(known, known) is None
    assert subtract(nest(known, 3), known) is None
    assert subtract(nest(known, 3), nest(known, 1)) is None
    assert subtract(ExceptionGroup("", [known, known]), ExceptionGroup("", [other, known])) is None
    assert subtract(other, known) is other
    assert subtract(other, None) is other
    group = BaseExceptionGroup("outer", [known, BaseExceptionGroup("inner", [more, known]), other])
    left = subtract(group, known)
    assert left is not None
    assert list(flatten(left)) == [more, other]
    assert list(flatten(subtract(group, None) or known)) == [known, more, known, other]


def test_sift_makes_a_failure_of_what_means_nothing_here() -> None:
    """What is neither an Exception nor meant for the whole program is a failure, with itself as the cause."""
    odd = GeneratorExit()
    sifted = partition(BaseExceptionGroup("", [odd, ValueError("x")]))
    assert [type(failure) for failure in sifted.failures] == [ValueError, RuntimeError]
    assert sifted.failures[1].__cause__ is odd
    assert (sifted.fatal, sifted.cancelled) == ((), None)


@pytest.mark.parametrize("junk", ["oops", 4000, Close, None])
def test_what_is_no_verdict_is_refused_at_once(junk: object) -> None:
    """A rule with something else than a verdict is a mistake of the definition."""
    with pytest.raises(ConfigurationError, match=r"on\(ValueError\): .* is no verdict"):
        ErrorPolicy().on(ValueError, cast("Close", junk))


async def later(*_: object) -> Close:
    """A rule, a report or an answer that somebody would have to await."""
    return Close(4000)


def test_a_callback_is_a_plain_function() -> None:
    """Nobody would await it, and what it says would be lost."""
    text = r"^{}: later\(\) \(.*\) is async, and nobody would await it; write `def`"
    with pytest.raises(ConfigurationError, match=text.format(r"ErrorPolicy\.on\(ValueError\)")):
        ErrorPolicy().on(ValueError, cast("Callable[[ValueError, Context], Close]", later))
    with pytest.raises(ConfigurationError, match=text.format(r"Reply\(\.\.\.\)")):
        Reply(cast("Callable[[ValueError], str]", later))
    with pytest.raises(ConfigurationError, match=text.format(r"App\(report=\.\.\.\)")):
        App(report=cast("Callable[[ErrorReport], None]", later))
    with pytest.raises(ConfigurationError, match=text.format(r"App\(on_end=\.\.\.\)")):
        App(on_end=cast("Callable[[Outcome], None]", later))
    with pytest.raises(ConfigurationError, match=r"answer\(\) .*is called with \(exception, context\), .*too many"):
        ErrorPolicy().on(ValueError, cast("Callable[[ValueError, Context], Close]", answer))
    with pytest.raises(ConfigurationError, match=r"^App\(on_end=\.\.\.\) was given 5, which cannot be called"):
        App(on_end=cast("Callable[[Outcome], None]", 5))


@pytest.mark.parametrize("junk", [ErrorPolicy, [], 5])
def test_what_is_no_policy(junk: object) -> None:
    """App, router and route say so when they are made, not when something fails."""
    errors = cast("ErrorPolicy", junk)

    async def handler(conn: Connection[Anonymous]) -> None:
        raise AssertionError

    with pytest.raises(ConfigurationError, match=r"^App: errors=.* is no policy; give an ErrorPolicy"):
        App(errors=errors)
    with pytest.raises(ConfigurationError, match=r"^Router: errors=.* is no policy"):
        Router[Anonymous](errors=errors)
    with pytest.raises(ConfigurationError, match=r"handler\(\) .*: route /: errors=.* is no policy"):
        App().route("/", guard=public, errors=errors)(handler)


# Explanations.


class Cellar(Exception):
    """A failure of ours."""


class Flood(Cellar):
    """A kind of it."""


def told(
    policy: ErrorPolicy, exception: Exception, context: Context
) -> list[tuple[int, type[Exception], AnyVerdict | None]]:
    """The chain, as plain values."""
    return [(one.level, one.rule.type, one.verdict) for one in policy.explain(exception, context)]


def test_a_decision_is_explained() -> None:
    """From inner to outer, the most specific type first, the later rule before the earlier; at last the defaults."""
    inner = ErrorPolicy().on(Cellar, Refuse(409)).on(Exception, Refuse(418))
    outer = ErrorPolicy().on(Cellar, Close(4001)).on(Cellar, Refuse(410)).on(Flood, Ignore())
    policy = inner.within(outer)
    assert told(policy, Flood(), Context(phase=Phase.HANDLER)) == [
        (0, Cellar, None),
        (0, Exception, None),
        (1, Flood, None),
        (1, Cellar, None),
        (1, Cellar, Close(4001)),
    ]
    assert told(policy, Flood(), Context(phase=Phase.GUARD, accepted=False)) == [(0, Cellar, Refuse(409))]
    assert told(policy, IdleTimeout(), Context(phase=Phase.TRANSPORT)) == [
        (0, Exception, None),
        (2, IdleTimeout, Close(3008, "idle too long")),
    ]
    assert told(ErrorPolicy(), Cellar(), Context(phase=Phase.HANDLER)) == []


def test_an_explanation_reads_well() -> None:
    """Each rule that was asked is a line."""
    policy = ErrorPolicy().on(Exception, Close(4000, "sorry")).on(Cellar, Refuse(409))
    assert [str(one) for one in policy.explain(Flood(), Context(phase=Phase.HANDLER))] == [
        "level 0: on(Cellar): nothing for this phase",
        "level 0: on(Exception): Close(code=4000, reason='sorry')",
    ]


def test_the_explanation_of_a_group_is_that_of_what_acts() -> None:
    """Of the gravest leaf, however deep it lies."""
    policy = ErrorPolicy().on(Cellar, Close(4001)).on(Flood, Close(4000))
    group = ExceptionGroup("", [Cellar(), ExceptionGroup("", [Flood()])])
    assert told(policy, group, Context(phase=Phase.HANDLER)) == [(0, Flood, Close(4000))]


def test_a_rule_that_fails_is_the_last_one_asked() -> None:
    """It has said nothing, and its failure is what the last resort decides."""

    def fails(error: Cellar, context: Context) -> Close:
        raise KeyError

    policy = ErrorPolicy().on(Exception, Close(4000)).on(Cellar, fails)
    (decided,) = policy.decide(Cellar(), Context(phase=Phase.HANDLER)).leaves
    assert isinstance(decided.exception, KeyError)
    assert [str(one) for one in decided.considered] == ["level 0: on(Cellar): raised KeyError"]
    assert decided.considered[0].verdict is None
    assert decided.rule is None


def test_what_decided_is_known() -> None:
    """The rule, or none where it was the last resort."""
    policy = ErrorPolicy().on(Cellar, Refuse(409), Close(4001))
    (decided,) = policy.decide(Flood(), Context(phase=Phase.HANDLER)).leaves
    assert decided.rule == policy.rules[0]
    (unknown,) = policy.decide(KeyError(), Context(phase=Phase.HANDLER)).leaves
    assert unknown.rule is None


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (IdleTimeout, Refuse(408)),
        (KeepaliveLost, Ignore()),
        (ProtocolViolation, Reply(answer)),
        (SlowConsumer, Refuse(400)),
        (TooManyInvalidMessages, Ignore()),
        (SubscriptionLost, Refuse(503)),
        (Kicked, Refuse(403)),
    ],
)
def test_a_verdict_that_could_never_act(kind: type[Exception], verdict: AnyVerdict) -> None:
    """What only happens to an open connection cannot be refused, ignored or answered: a mistake when it is written."""
    with pytest.raises(
        ConfigurationError, match=rf"ErrorPolicy.on\({kind.__name__}\): .* can never act.* give a Close"
    ):
        ErrorPolicy().on(kind, Close(4000), verdict)
    failure = kind(1002, "odd") if kind is ProtocolViolation else kind()
    assert verdict_of(ErrorPolicy().on(kind, Close(4000)), failure) == Close(4000)


def test_a_lost_subscription_of_an_event_may_be_answered() -> None:
    """The connection goes on then, and the client may ask for the room again."""
    policy = ErrorPolicy().on((SubscriptionLost, Kicked), Reply(answer), Close(4000))
    assert verdict_of(policy, Kicked("rooms/{room}"), MESSAGE) == Reply(answer)
    assert verdict_of(policy, SubscriptionLost(), HANDLER) == Close(4000)
