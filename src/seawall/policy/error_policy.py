"""`ErrorPolicy`: decides what follows from each failure. Pure: no I/O, no await, no clock.

How a decision is found. An exception group is taken apart, and each leaf is decided by itself. For one leaf the
levels are asked from the inner policy (route) to the outer ones (routers, app, the built-in defaults). Within a level
the method resolution order of the exception's type decides, so the most specific rule comes first; of two rules
for one type the one that was added later. A rule names one verdict or several; the first one that can act in the
phase is taken, and a rule with none falls through to the next. The gravest verdict of all leaves acts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar, cast, final

from attrs import evolve, field, frozen

from seawall.errors import (
    AuthTimeout,
    ConfigurationError,
    EventTimeout,
    Forbidden,
    IdleTimeout,
    InvalidMessage,
    KeepaliveLost,
    Kicked,
    LeaseExpired,
    LifetimeReached,
    MessageTimeout,
    ProtocolViolation,
    Revoked,
    SlowConsumer,
    SubscriptionLost,
    TooManyInvalidMessages,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from seawall.exception_groups import exceptions_in, partition
from seawall.policy.answers import answer_invalid, answer_refused, answer_timeout
from seawall.policy.checks import check_rule
from seawall.policy.verdicts import (
    AnyVerdict,
    Close,
    Context,
    Ignore,
    Phase,
    Refuse,
    Reply,
    Verdict,
    applies,
    severity,
)
from seawall.printable import name_of_type

E = TypeVar("E", bound=Exception)

Decide: TypeAlias = Callable[[E, Context], Verdict[E]]
"""Decides from the exception's own data. One that itself raises counts as an unexpected failure."""


@final
@frozen
class Rule:
    """One line of an `ErrorPolicy`: a type and what may be done about it, in order of preference."""

    type: type[Exception]
    verdicts: tuple[AnyVerdict | Decide[Exception], ...]


@final
@frozen
class Considered:
    """One rule that was asked about an exception."""

    rule: Rule
    level: int
    """The number of policies that were asked before the rule's own: 0 for the inner one. The defaults come last."""
    verdict: AnyVerdict | None
    """The rule's verdict for this phase. None if it has none (the next rule was asked then), or if it failed."""
    failure: str = ""
    """The type of what the rule raised; empty if it raised nothing. After a failure the last resort decides."""

    def __str__(self) -> str:
        """Level, type and verdict in one line."""
        nothing = f"raised {self.failure}" if self.failure else "nothing for this phase"
        says = nothing if self.verdict is None else repr(self.verdict)
        return f"level {self.level}: on({self.rule.type.__name__}): {says}"


@final
@frozen(kw_only=True)
class LeafDecision:
    """What was decided about one exception that is not a group."""

    exception: Exception
    verdict: AnyVerdict
    expected: bool
    """Whether a rule decided. If the last resort did, the failure is logged with its traceback."""
    considered: tuple[Considered, ...] = field(default=(), repr=False, eq=False)
    """The rules that were asked, in their order; the last one decided, unless it was the last resort."""

    @property
    def rule(self) -> Rule | None:
        """The rule that decided; None if it was the last resort."""
        return self.considered[-1].rule if self.expected else None


@final
@frozen
class Decision:
    """What was decided about all leaves of one failure."""

    leaves: tuple[LeafDecision, ...]

    @property
    def gravest(self) -> LeafDecision:
        """The leaf whose verdict acts.

        Of equals it is the first by the name of its type: the order of a group, which is the order in which tasks
        happened to end, decides only between leaves of one type.
        """
        return min(self.leaves, key=lambda leaf: (severity(leaf.verdict), name_of_type(type(leaf.exception))))

    @property
    def verdict(self) -> AnyVerdict:
        """The verdict that acts."""
        return self.gravest.verdict


@final
@frozen
class ErrorPolicy:
    """A frozen table from exception types to verdicts; `on` returns a larger one.

    ::

        errors = (
            ErrorPolicy()
            .on(NoSuchRoom, Close(4404, "no such room"))
            .on(TokenExpired, Refuse(401), Close(3000, "token expired"))
            .on(Overloaded, lambda error, context: Close(1013, f"try again in {error.seconds} s"))
        )
    """

    rules: tuple[Rule, ...] = ()
    """The rules in the order in which they were added."""
    outer: ErrorPolicy | None = None
    """The policy that is asked when no rule here applies; after the last one come the built-in defaults."""

    def on(self, exception: type[E] | tuple[type[E], ...], *verdicts: Verdict[E] | Decide[E]) -> ErrorPolicy:
        """A new policy with one more rule; this one does not change: ``errors = errors.on(...)``.

        Of two rules for the same type the later one is asked first.

        Args:
          exception: the type that the rule is for, with its subclasses; or a tuple of types, as after ``except``.
          verdicts: what may be done, in order of preference: verdicts, or callables ``(exception, context)`` that
            return one. A verdict that cannot act in the phase is skipped.

        Raises:
          ConfigurationError: no verdict is given, or something else than one, or one that could never act; or the type
            is not an `Exception`.
        """
        kinds = exception if isinstance(exception, tuple) else (exception,)
        if not kinds:
            raise ConfigurationError("ErrorPolicy.on(()): no type; name at least one subclass of Exception")
        for kind in kinds:
            check_rule(kind, verdicts)
        # A rule is only ever asked about exceptions of its own type, which makes the narrower callables safe here.
        verdicts = cast("tuple[AnyVerdict | Decide[Exception], ...]", verdicts)
        return evolve(self, rules=(*self.rules, *(Rule(kind, verdicts) for kind in kinds)))

    def within(self, outer: ErrorPolicy) -> ErrorPolicy:
        """This policy with `outer` to fall back to, after those that it falls back to already."""
        return evolve(self, outer=outer if self.outer is None else self.outer.within(outer))

    def decide(self, exception: Exception, context: Context) -> Decision:
        """Decide about each leaf of `exception`. The verdict that acts does not depend on the order in a group."""
        return Decision(tuple(decided for leaf in exceptions_in(exception) for decided in self._leaf(leaf, context)))

    def explain(self, exception: Exception, context: Context) -> tuple[Considered, ...]:
        """The rules that `decide` asks about `exception`, in their order, and what each says.

        The last rule decides; if it has no verdict either, the last resort does: 500 or 1011 with an incident id. For a
        group these are the rules of the leaf whose verdict acts. In a test of your own policy, or at a prompt::

            for rule in errors.explain(NoSuchRoom(), Context(phase=Phase.HANDLER)):
                print(rule)
        """
        return self.decide(exception, context).gravest.considered

    def _leaf(self, exception: Exception, context: Context) -> Iterator[LeafDecision]:
        """One decision; if a rule fails, one for each of its failures, with `exception` as their context."""
        failures, asked = [exception], list[Considered]()
        verdict: AnyVerdict | None = None
        for level, rule in self._rules(type(exception)):
            try:
                verdict = _verdict(rule, exception, context)
            except BaseException as fault:  # noqa: ASYNC103 - a rule that fails is the failure to report
                sifted = partition(fault)
                if sifted.fatal or sifted.cancelled is not None:
                    raise
                failures = list(sifted.failures)
                if fault is not exception and fault.__context__ is None:
                    fault.__context__ = exception
                asked.append(Considered(rule, level, None, type(fault).__name__))
                break  # noqa: ASYNC104 - what belongs to a cancel scope has been raised again
            asked.append(Considered(rule, level, verdict))
            if verdict is not None:
                break
        for failure in failures:
            yield LeafDecision(
                exception=failure,
                verdict=verdict or _last_resort(context),
                expected=verdict is not None,
                considered=tuple(asked),
            )

    def _rules(self, kind: type[Exception]) -> Iterator[tuple[int, Rule]]:
        """The rules for `kind` in the order in which they are asked, each with its level."""
        policy: ErrorPolicy | None = self
        level = 0
        while policy is not None:
            for rule in policy._level(kind):
                yield level, rule
            policy, level = policy.outer, level + 1
        for rule in DEFAULTS._level(kind):
            yield level, rule

    def _level(self, kind: type[Exception]) -> Iterator[Rule]:
        for base in kind.__mro__:
            for rule in reversed(self.rules):
                if rule.type is base:
                    yield rule


def _verdict(rule: Rule, exception: Exception, context: Context) -> AnyVerdict | None:
    """The first verdict of `rule` that can act in this phase; None if there is none."""
    for candidate in rule.verdicts:
        verdict = candidate(exception, context) if callable(candidate) else candidate
        if applies(verdict, context):
            return verdict
    return None


def _last_resort(context: Context) -> AnyVerdict:
    """The verdict on an exception for which there is no rule: the peer reads only an id that finds it in the log."""
    if context.phase is Phase.RELEASE:
        return Ignore()
    text = f"internal error, incident {context.incident}"
    return Close(1011, text) if context.accepted else Refuse(500, text)


def _broken_protocol(violation: ProtocolViolation, context: Context) -> Close:
    return Close(violation.code, violation.reason)


#: The built-in rules, asked after all policies of the application.
DEFAULTS = (
    ErrorPolicy()
    .on(Unauthorized, Refuse(401), Reply(answer_refused), Close(3000, "unauthorized"))
    .on(Forbidden, Refuse(403), Reply(answer_refused), Close(3003, "forbidden"))
    .on(TooManyRequests, Refuse(429), Reply(answer_refused), Close(1013, "too many requests"))
    .on(Unavailable, Refuse(503), Reply(answer_refused), Close(1013, "unavailable"))
    .on(InvalidMessage, Reply(answer_invalid), Close(1008, "invalid message"))
    .on(EventTimeout, Reply(answer_timeout), Close(3008, "event timed out"))
    .on(TooManyInvalidMessages, Close(1008, "too many invalid messages"))
    .on(AuthTimeout, Refuse(408), Close(3008, "authentication timed out"))
    .on(IdleTimeout, Close(3008, "idle too long"))
    .on(LifetimeReached, Close(3008, "lifetime reached"))
    .on(MessageTimeout, Close(1008, "message timed out"))
    .on(SlowConsumer, Close(1008, "slow consumer"))
    .on(SubscriptionLost, Close(1013, "messages lost"))
    .on(Kicked, Close(3003, "kicked"))
    .on(KeepaliveLost, Close(1011, "keepalive lost"))
    .on(LeaseExpired, Refuse(401), Close(3000, "lease expired"))
    .on(Revoked, Refuse(403), Close(3003, "revoked"))
    .on(ProtocolViolation, _broken_protocol)
)


def check_policy(value: object, *, where: str) -> None:
    """Refuse what a type checker would.

    Raises:
      ConfigurationError: it is neither None nor an `ErrorPolicy`.
    """
    if not (value is None or isinstance(value, ErrorPolicy)):
        raise ConfigurationError(f"{where}: errors={value!r} is no policy; give an ErrorPolicy().on(...)")
