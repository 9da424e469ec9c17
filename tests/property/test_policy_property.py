"""Properties of the error policy: whatever the rules and whatever fails, there is one decision, and it can act."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from seawall.errors import ConfigurationError, Forbidden, ProtocolViolation, TokenExpired, Unauthorized
from seawall.exception_groups import flatten, partition, subtract
from seawall.policy.error_policy import DEFAULTS, Decide, ErrorPolicy, LeafDecision
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
from tests.kit.cancelled import cancelled


class A(Exception):
    """The top of a small hierarchy."""


class B(A):
    """One side."""


class C(A):
    """The other side."""


class D(C, B):
    """Both sides, the right one first."""


class E(D, KeyError):
    """Both sides and a stranger."""


KINDS: list[type[Exception]] = [A, B, C, D, E, KeyError, LookupError, Exception, Unauthorized, TokenExpired, Forbidden]

Candidate = AnyVerdict | Decide[Exception]


def raising(exception: Exception, context: Context) -> Close:
    """A rule that fails."""
    raise LookupError("a rule that fails")


def junk(exception: Exception, context: Context) -> Close:
    """A rule that returns no verdict."""
    return str(exception)  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # the mistake under test


def by_phase(exception: Exception, context: Context) -> Refuse | Close:
    """A rule that looks at the context."""
    return Close(4900, context.incident) if context.accepted else Refuse(418, context.incident)


def shout(exception: Exception) -> str:
    """An answer to a message."""
    return "no"


plain: st.SearchStrategy[AnyVerdict] = st.one_of(
    st.builds(Refuse, st.integers(400, 599), st.text("ab", max_size=2)),
    st.builds(Close, st.integers(4000, 4005), st.text("ab", max_size=2)),
    st.just(Reply(shout)),
    st.just(Ignore()),
    st.just(Escalate()),
)
candidates: st.SearchStrategy[Candidate] = plain | st.sampled_from([raising, junk, by_phase])
rules = st.lists(st.tuples(st.sampled_from(KINDS), st.lists(candidates, min_size=1, max_size=3)), max_size=6)
plain_rules = st.lists(st.tuples(st.sampled_from(KINDS), st.lists(plain, min_size=1, max_size=3)), max_size=6)

incidents = st.text("0123456789abcdef", min_size=6, max_size=6)
contexts = st.builds(Context, phase=st.sampled_from(Phase), accepted=st.just(True), incident=incidents) | st.builds(
    Context,
    phase=st.sampled_from([Phase.GUARD, Phase.BACKGROUND, Phase.RELEASE, Phase.TRANSPORT]),
    accepted=st.just(False),
    incident=incidents,
)

made: st.SearchStrategy[Exception] = st.one_of(
    st.sampled_from(KINDS).map(lambda kind: kind("x")),
    st.builds(ProtocolViolation, st.sampled_from([1002, 1007, 1009]), st.just("constant")),
)


def grouped(inner: st.SearchStrategy[Exception]) -> st.SearchStrategy[Exception]:
    """Groups of these, in which one exception may be more than once."""
    members = st.lists(inner, min_size=1, max_size=4).flatmap(
        lambda pool: st.lists(st.sampled_from(pool), min_size=1, max_size=6)
    )
    return members.map(lambda several: ExceptionGroup("several", several))


trees = st.recursive(made, grouped, max_leaves=12)


def useful(kind: type[Exception], verdicts: Sequence[Candidate]) -> list[Candidate]:
    """Those of `verdicts` to which the ones before leave something; the others are refused."""
    found = list[Candidate]()
    for verdict in verdicts:
        try:
            ErrorPolicy().on(kind, *found, verdict)
        except ConfigurationError:
            continue
        found.append(verdict)
    return found


def policy_of(*levels: Sequence[tuple[type[Exception], Sequence[Candidate]]]) -> ErrorPolicy:
    """A policy of these levels, the inner one first."""
    policies: list[ErrorPolicy] = []
    for level in levels:
        policy = ErrorPolicy()
        for kind, verdicts in level:
            policy = policy.on(kind, *useful(kind, verdicts))
        policies.append(policy)
    chained = policies[0]
    for outer in policies[1:]:
        chained = chained.within(outer)
    return chained


policies = st.lists(rules, min_size=1, max_size=3).map(lambda levels: policy_of(*levels))


@given(policies, trees, contexts)
def test_a_decision_is_total_and_the_same_each_time(policy: ErrorPolicy, failure: Exception, context: Context) -> None:
    """Nothing raises; each leaf is decided once; asking again gives the same; what is decided can act in the phase."""
    decision = policy.decide(failure, context)
    assert decision.leaves
    verdicts = [leaf.verdict for leaf in decision.leaves]
    assert verdicts == [leaf.verdict for leaf in policy.decide(failure, context).leaves]
    assert decision.gravest in decision.leaves
    for leaf in decision.leaves:
        assert applies(leaf.verdict, context)
        assert isinstance(leaf.exception, Exception)
        assert not isinstance(leaf.exception, BaseExceptionGroup)
    assert len(decision.leaves) == len({id(leaf) for leaf in flatten(failure)})


@given(policies, trees, contexts)
def test_no_error_is_an_ordinary_end(policy: ErrorPolicy, failure: Exception, context: Context) -> None:
    """Whatever is decided, the peer never reads 1000, and every reason and status can be sent."""
    for leaf in policy.decide(failure, context).leaves:
        if isinstance(leaf.verdict, Close):
            assert leaf.verdict.code not in {1000, 1005, 1006, 1015}
            assert len(leaf.verdict.reason.encode()) <= MAX_REASON
        if isinstance(leaf.verdict, Refuse):
            assert 400 <= leaf.verdict.status <= 599
            assert leaf.verdict.text.encode()


@given(st.data(), policies, st.lists(made, min_size=1, max_size=6), contexts)
def test_the_order_of_a_group_does_not_matter(
    data: st.DataObject, policy: ErrorPolicy, failures: list[Exception], context: Context
) -> None:
    """In whatever order tasks end and however their failures are grouped, the same verdict acts."""
    straight = policy.decide(ExceptionGroup("", failures), context)
    shuffled = data.draw(st.permutations(failures))
    cut = data.draw(st.integers(0, len(shuffled) - 1))
    regrouped: list[Exception] = [*shuffled[:cut], ExceptionGroup("inner", shuffled[cut:])]
    other = policy.decide(ExceptionGroup("", regrouped), context)
    assert other.verdict == straight.verdict
    assert type(other.gravest.exception) is type(straight.gravest.exception)
    assert sorted(map(repr, other.leaves)) == sorted(map(repr, straight.leaves))


def asked(
    levels: Sequence[Sequence[tuple[type[Exception], Sequence[AnyVerdict]]]], kind: type[Exception]
) -> Iterator[AnyVerdict]:
    """Every verdict about `kind` in the order in which it is to be considered: a slow and obvious model."""
    for level in levels:
        named = [(kind.__mro__.index(rule[0]), -at) for at, rule in enumerate(level) if issubclass(kind, rule[0])]
        for _, at in sorted(named):
            yield from level[-at][1]


@given(st.lists(plain_rules, min_size=1, max_size=3), st.sampled_from(KINDS), contexts)
def test_a_policy_agrees_with_the_model(
    levels: list[list[tuple[type[Exception], list[AnyVerdict]]]], kind: type[Exception], context: Context
) -> None:
    """The first verdict that can act, from inner to outer, from specific to general, from later to earlier."""
    failure = kind("x")
    (leaf,) = policy_of(*levels).decide(failure, context).leaves
    for verdict in asked(levels, kind):
        if applies(verdict, context):
            assert leaf == LeafDecision(exception=failure, verdict=verdict, expected=True)
            return
    assert leaf == DEFAULTS.decide(failure, context).gravest


@given(st.lists(rules, min_size=3, max_size=3), trees, contexts)
def test_within_is_associative(
    levels: list[list[tuple[type[Exception], list[Candidate]]]], failure: Exception, context: Context
) -> None:
    """However the levels are put into each other, they are asked in the same order."""
    a, b, c = (policy_of(level) for level in levels)
    assert a.within(b).within(c) == a.within(b.within(c))


@given(policies, trees, contexts)
def test_an_empty_level_changes_nothing(policy: ErrorPolicy, failure: Exception, context: Context) -> None:
    """A level without rules, and one with a rule for something else, fall through."""

    class Unrelated(Exception):
        pass

    straight = [leaf.verdict for leaf in policy.decide(failure, context).leaves]
    for inner in (ErrorPolicy(), ErrorPolicy().on(Unrelated, Escalate())):
        assert [leaf.verdict for leaf in inner.within(policy).decide(failure, context).leaves] == straight


@given(policies, trees, contexts)
def test_every_leaf_is_reported_exactly_once(policy: ErrorPolicy, failure: Exception, context: Context) -> None:
    """By identity and in order; in place of one whose rule has failed stands that failure, with the leaf behind it."""
    decided = policy.decide(failure, context).leaves
    once = list({id(leaf): leaf for leaf in flatten(failure)}.values())
    assert len(decided) == len(once)
    for decision, leaf in zip(decided, once, strict=True):
        assert decision.exception is leaf or (decision.exception.__context__ is leaf and not decision.expected)


@given(policies, trees, contexts)
def test_a_group_is_decided_as_its_leaves_are(policy: ErrorPolicy, failure: Exception, context: Context) -> None:
    """What else is in its group, and how deep it lies, changes nothing for a leaf."""
    once = {id(leaf): leaf for leaf in flatten(failure) if isinstance(leaf, Exception)}
    alone = [found for leaf in once.values() for found in policy.decide(leaf, context).leaves]
    together = policy.decide(failure, context).leaves
    assert [(one.verdict, one.expected) for one in together] == [(one.verdict, one.expected) for one in alone]
    assert [one.rule for one in together] == [one.rule for one in alone]


def graver(verdicts: Iterable[AnyVerdict]) -> AnyVerdict:
    """The gravest by the documented order, worked out in the plainest way."""
    left = list(verdicts)
    for found in left:
        if isinstance(found, Escalate):
            return found
    if refusals := [found for found in left if isinstance(found, Refuse)]:
        status = max(found.status for found in refusals)
        return min((found for found in refusals if found.status == status), key=lambda found: found.body)
    if closes := [found for found in left if isinstance(found, Close)]:
        code = min(found.code for found in closes)
        return min((found for found in closes if found.code == code), key=lambda found: found.reason)
    return next((found for found in left if isinstance(found, Reply)), left[0])


@given(policies, trees, contexts)
def test_the_gravest_verdict_acts(policy: ErrorPolicy, failure: Exception, context: Context) -> None:
    """Escalate before the lowest code or the highest status, before Reply, before Ignore."""
    decision = policy.decide(failure, context)
    assert decision.verdict == graver(leaf.verdict for leaf in decision.leaves)
    assert policy.explain(failure, context) == decision.gravest.considered


def quitting(exception: Exception, context: Context) -> Close:
    """A rule that is interrupted."""
    raise KeyboardInterrupt


def exiting(exception: Exception, context: Context) -> Close:
    """A rule that ends the process, from inside a group."""
    raise BaseExceptionGroup("exiting", [exception, SystemExit(3)])


def stopping(exception: Exception, context: Context) -> Close:
    """A rule that raises what belongs to a cancel scope."""
    raise cancellations()[0]


@given(
    policies,
    trees,
    contexts,
    st.sampled_from([(quitting, KeyboardInterrupt), (exiting, BaseExceptionGroup), (stopping, trio.Cancelled)]),
)
def test_what_is_fatal_in_a_rule_comes_out(
    policy: ErrorPolicy, failure: Exception, context: Context, rule: tuple[Decide[Exception], type[BaseException]]
) -> None:
    """A rule that is asked while the program is interrupted does not swallow that."""
    interrupted = ErrorPolicy().on(Exception, rule[0]).within(policy)
    with pytest.raises(rule[1]):
        interrupted.decide(failure, context)


@cache
def cancellations() -> tuple[BaseException, ...]:
    """Some of the Cancelled that only Trio can make."""
    return tuple(trio.run(cancelled) for _ in range(3))


FATAL: list[type[BaseException]] = [KeyboardInterrupt, SystemExit]
ODD: list[type[BaseException]] = [GeneratorExit, asyncio.CancelledError]

anything: st.SearchStrategy[BaseException] = st.recursive(
    made
    | st.sampled_from([*FATAL, *ODD]).map(lambda kind: kind())
    | st.integers(0, 2).map(lambda number: cancellations()[number]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4)
        .flatmap(lambda pool: st.lists(st.sampled_from(pool), min_size=1, max_size=5))
        .map(lambda several: BaseExceptionGroup("several", several))
    ),
    max_leaves=12,
)


def _ids(leaves: Iterable[BaseException | None]) -> list[int]:
    return [id(leaf) for leaf in leaves]


@given(anything)
def test_sift_loses_nothing(raised: BaseException) -> None:
    """Each leaf is in exactly one part, as it is or, if it means nothing under Trio, behind a failure of its own."""
    sifted = partition(raised)
    leaves = list(flatten(raised))
    failures = {id(leaf): leaf for leaf in leaves if isinstance(leaf, Exception)}
    fatal = [leaf for leaf in leaves if isinstance(leaf, KeyboardInterrupt | SystemExit)]
    cancelled = [leaf for leaf in leaves if isinstance(leaf, trio.Cancelled)]
    odd = [leaf for leaf in leaves if isinstance(leaf, tuple(ODD))]
    assert _ids(sifted.failures[: len(failures)]) == list(failures)
    assert _ids(leaf.__cause__ for leaf in sifted.failures[len(failures) :]) == _ids(odd)
    assert all(isinstance(leaf, Exception) for leaf in sifted.failures)
    assert _ids(sifted.fatal) == _ids(fatal)
    assert _ids([] if sifted.cancelled is None else flatten(sifted.cancelled)) == _ids(cancelled)


@given(policies, anything, contexts)
def test_what_is_not_for_the_policy_is_never_consumed(
    policy: ErrorPolicy, raised: BaseException, context: Context
) -> None:
    """Of all that was raised the policy decides the failures, each once; the rest is there to be raised again."""
    sifted = partition(raised)
    decided: list[BaseException] = []
    for failure in sifted.failures:
        decided += [leaf.exception for leaf in policy.decide(failure, context).leaves]
    assert len(decided) == len(sifted.failures)
    assert all(isinstance(leaf, Exception) for leaf in decided)
    kept: list[BaseException] = [*sifted.fatal, *([] if sifted.cancelled is None else flatten(sifted.cancelled))]
    wanted = Counter(type(leaf) for leaf in flatten(raised) if isinstance(leaf, (trio.Cancelled, *FATAL)))
    assert Counter(type(leaf) for leaf in kept) == wanted


@given(anything)
def test_sifting_is_the_same_each_time(raised: BaseException) -> None:
    """Taking a group apart changes nothing about it."""
    before = repr(raised), _ids(flatten(raised))
    one, other = partition(raised), partition(raised)
    assert (repr(raised), _ids(flatten(raised))) == before
    assert one.fatal == other.fatal
    assert list(map(repr, one.failures)) == list(map(repr, other.failures))
    assert repr(one.cancelled) == repr(other.cancelled)


@given(anything, st.data())
def test_without_takes_away_what_is_known(raised: BaseException, data: st.DataObject) -> None:
    """What is known is gone wherever it lay, everything else is still there, in order, and nothing besides."""
    failures = [leaf for leaf in flatten(raised) if isinstance(leaf, Exception)]
    known = data.draw(st.lists(st.sampled_from(failures), min_size=1, unique_by=id)) if failures else []
    rest = subtract(raised, ExceptionGroup("known", known) if known else None)
    wanted = [leaf for leaf in flatten(raised) if id(leaf) not in set(_ids(known))]
    assert _ids([] if rest is None else flatten(rest)) == _ids(wanted)


@given(st.integers(), st.text())
def test_a_close_is_one_that_can_be_sent(code: int, reason: str) -> None:
    """Any code and any reason is an error that can be sent, or a mistake that is named at once."""
    try:
        close = Close(code, reason)
    except ConfigurationError:
        return
    assert 1001 <= close.code <= 4999
    assert len(close.reason.encode()) <= MAX_REASON
