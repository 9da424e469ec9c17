"""Properties of the error policy: whatever the rules and whatever fails, there is one decision, and it can act."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from seawall.errors import ConfigurationError, Forbidden, ProtocolViolation, TokenExpired, Unauthorized
from seawall.groups import flatten, sift
from seawall.policy import DEFAULTS, Decide, ErrorPolicy, LeafDecision
from seawall.verdicts import MAX_REASON, AnyVerdict, Close, Context, Escalate, Ignore, Phase, Refuse, Reply, applies


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


def policy_of(*levels: Sequence[tuple[type[Exception], Sequence[Candidate]]]) -> ErrorPolicy:
    """A policy of these levels, the inner one first."""
    policies: list[ErrorPolicy] = []
    for level in levels:
        policy = ErrorPolicy()
        for kind, verdicts in level:
            policy = policy.on(kind, *verdicts)
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


anything: st.SearchStrategy[BaseException] = st.recursive(
    st.sampled_from(KINDS).map(lambda kind: kind("x"))
    | st.sampled_from([KeyboardInterrupt, SystemExit]).map(lambda k: k()),
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(lambda several: BaseExceptionGroup("several", several)),
    max_leaves=12,
)


@given(anything)
def test_sift_loses_nothing(raised: BaseException) -> None:
    """Each leaf is in exactly one part: only Exceptions are the policy's, and what is fatal is never among them."""
    sifted = sift(raised)
    parts = [*sifted.failures, *sifted.fatal]
    assert {id(leaf) for leaf in parts} == {id(leaf) for leaf in flatten(raised)}
    assert all(isinstance(leaf, Exception) for leaf in sifted.failures)
    assert not any(isinstance(leaf, Exception) for leaf in sifted.fatal)
    assert sifted.cancelled is None


@given(st.integers(), st.text())
def test_a_close_is_one_that_can_be_sent(code: int, reason: str) -> None:
    """Any code and any reason is an error that can be sent, or a mistake that is named at once."""
    try:
        close = Close(code, reason)
    except ConfigurationError:
        return
    assert 1001 <= close.code <= 4999
    assert len(close.reason.encode()) <= MAX_REASON
