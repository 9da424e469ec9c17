"""`ErrorPolicy`: what every failure does. Pure: no I/O, no await, no clock.

How a decision is found. An exception group is taken apart, and each leaf is decided by itself. For one leaf the
levels are asked from the inner policy (route) to the outer ones (app, then the built-in defaults). Within a level
the method resolution order of the exception's type decides, so the most specific rule comes first; of two rules
for one type the one that was added later. A rule names one verdict or several; the first one that can act in the
phase is taken, and a rule with none falls through to the next. The gravest verdict of all leaves acts.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Generic, TypeAlias, TypeVar, assert_never, cast, final

from attrs import Attribute, evolve, field, frozen

from seawall.errors import (
    AuthTimeout,
    ConfigurationError,
    Forbidden,
    IdleTimeout,
    KeepaliveLost,
    LeaseExpired,
    LifetimeReached,
    ProtocolViolation,
    SlowConsumer,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from seawall.groups import leaves

E = TypeVar("E", bound=Exception)
E_contra = TypeVar("E_contra", bound=Exception, contravariant=True)

#: Bytes that a close reason may have: 125 of a control frame less two for the code (RFC 6455, section 5.5).
MAX_REASON = 123


class Phase(enum.Enum):
    """Where in a connection's life something failed; the phase says which verdicts can act."""

    GUARD = "guard"
    """A guard; whether the upgrade has been accepted tells `Refuse` from `Close`."""
    MESSAGE = "message"
    """One message that did not validate; the connection can go on."""
    HANDLER = "handler"
    """The handler itself."""
    BACKGROUND = "background"
    """A task in ``conn.nursery``, or the task that holds a guard's resource."""
    RELEASE = "release"
    """Leaving a guard's resource, when the connection is already over."""
    TRANSPORT = "transport"
    """The wire, or a deadline: a protocol violation, a lease, a limit."""


@final
@frozen(kw_only=True)
class Context:
    """What a rule may know about a failure besides the exception."""

    phase: Phase
    """Where it happened."""
    accepted: bool = True
    """Whether the upgrade has been accepted: before it a refusal is an HTTP status, after it a close code."""
    incident: str = ""
    """The id under which this failure is reported."""
    route: str = ""
    """The route's name, or empty before there is one."""
    connection: str = ""
    """The connection's id."""


def _error_status(instance: object, attribute: Attribute[int], value: int) -> None:
    if not 400 <= value <= 599:
        raise ConfigurationError(f"Refuse({value}): a refusal is an HTTP error; give a status from 400 to 599")


def _error_code(instance: object, attribute: Attribute[int], value: int) -> None:
    if value in {1000, 1005, 1006, 1010, 1015} or not (1001 <= value <= 1014 or 3000 <= value <= 4999):
        raise ConfigurationError(
            f"Close({value}): not a close code for an error (an error is never 1000, and 1004-1006 and 1015 may not "
            "be sent); give 4000-4999 for your own, or one of 1001-1003, 1007-1009, 1011-1014, 3000-3999"
        )
    if value == 1004:
        raise ConfigurationError("Close(1004): the code is reserved (RFC 6455, section 7.4.1); give another")


def _size(instance: object, attribute: Attribute[str], value: str) -> int:
    try:
        return len(value.encode())
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{type(instance).__name__} {attribute.name} {value!r} cannot be encoded as UTF-8; remove the surrogate"
        ) from error


def _short(instance: object, attribute: Attribute[str], value: str) -> None:
    size = _size(instance, attribute, value)
    if size > MAX_REASON:
        raise ConfigurationError(f"Close reason of {size} bytes; a close frame has room for {MAX_REASON}: shorten it")


@final
@frozen
class Refuse:
    """Answer the handshake with an HTTP error. Acts before the upgrade is accepted."""

    status: int = field(validator=_error_status)
    """The HTTP status, 400 to 599."""
    body: str = field(default="", validator=_size)
    """The text of the answer; empty means the standard phrase of the status."""

    @property
    def text(self) -> str:
        """What the peer reads."""
        if self.body:
            return self.body
        try:
            return HTTPStatus(self.status).phrase.lower()
        except ValueError:
            return "refused"


@final
@frozen
class Close:
    """End the connection with a close code. Acts once the upgrade is accepted."""

    code: int = field(validator=_error_code)
    """The close code: 4000-4999 are the application's; 1000 is refused, because an error is not a normal end."""
    reason: str = field(default="", validator=_short)
    """The reason that the peer reads, at most 123 bytes of UTF-8."""


@final
@frozen
class Reply(Generic[E_contra]):
    """Answer the one message that failed, and go on. Acts on a message only."""

    make: Callable[[E_contra], str | bytes]
    """Makes the answer from the exception."""


@final
@frozen
class Ignore:
    """Go on as if nothing had happened; it is still reported. Acts on a message and on a release."""


@final
@frozen
class Escalate:
    """End the server: the exception comes out of ``app.serve`` in the embedding program. Acts everywhere.

    Name your own exception types with it. Under ``on(Exception, Escalate())`` any client could stop the server, with a
    bad token or a bad frame, because `Unauthorized` and `ProtocolViolation` are exceptions too.
    """


Verdict: TypeAlias = Refuse | Close | Reply[E] | Ignore | Escalate
AnyVerdict: TypeAlias = Refuse | Close | Reply[Exception] | Ignore | Escalate

Decide: TypeAlias = Callable[[E, Context], Verdict[E]]
"""Decides from the exception's own data. One that itself raises counts as an unexpected failure."""


@final
@frozen
class Rule:
    """One line of an `ErrorPolicy`: a type and what may be done about it, in order of preference."""

    type: type[Exception]
    verdicts: tuple[AnyVerdict | Decide[Exception], ...]


@final
@frozen(kw_only=True)
class LeafDecision:
    """What was decided about one exception that is not a group."""

    exception: Exception
    verdict: AnyVerdict
    expected: bool
    """False when only the last resort knew the exception: such a failure is logged with its traceback."""


@final
@frozen
class Decision:
    """The verdict that acts, and every leaf with its own."""

    leaves: tuple[LeafDecision, ...]

    @property
    def gravest(self) -> LeafDecision:
        """The leaf whose verdict acts.

        Of equals it is the first by the name of its type: the order of a group, which is the order in which tasks
        happened to end, decides only between leaves of one type.
        """
        return min(self.leaves, key=lambda leaf: (_gravity(leaf.verdict), _name(type(leaf.exception))))

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

    def on(self, exception: type[E], *verdicts: Verdict[E] | Decide[E]) -> ErrorPolicy:
        """This policy and one more rule.

        Args:
          exception: the type that the rule is for; its subclasses fall under it too.
          verdicts: what may be done, in order of preference: verdicts, or callables ``(exception, context)`` that
            return one. What cannot act in the phase is passed over.

        Raises:
          ConfigurationError: no verdict is given, or something else than one, or the type is not an `Exception`.
        """
        if not _is_decidable(exception):
            raise ConfigurationError(
                f"ErrorPolicy.on({exception.__name__}): name a subclass of Exception; groups are taken apart, and what "
                "is not an Exception (Cancelled, KeyboardInterrupt, SystemExit) is never decided by a policy"
            )
        if not verdicts:
            raise ConfigurationError(f"ErrorPolicy.on({exception.__name__}): no verdict; add one, such as Close(4000)")
        for verdict in verdicts:
            _check_verdict(exception.__name__, verdict)
        # A rule is only ever asked about exceptions of its own type, which makes the narrower callables safe here.
        rule = Rule(exception, cast("tuple[AnyVerdict | Decide[Exception], ...]", verdicts))
        return evolve(self, rules=(*self.rules, rule))

    def within(self, outer: ErrorPolicy) -> ErrorPolicy:
        """This policy with `outer` to fall back to, behind any that it already has."""
        return evolve(self, outer=outer if self.outer is None else self.outer.within(outer))

    def decide(self, exception: Exception, context: Context) -> Decision:
        """What is to be done about `exception`: pure, total, and the same in whatever order a group's leaves come."""
        return Decision(tuple(decided for leaf in leaves(exception) for decided in self._leaf(leaf, context)))

    def _leaf(self, exception: Exception, context: Context) -> Iterator[LeafDecision]:
        """One decision; but when a rule itself fails, one for each of its failures, with `exception` behind them."""
        failures = [exception]
        try:
            verdict = self._verdict(exception, context)
        except Exception as fault:  # noqa: BLE001 - a rule that fails is the failure to report
            verdict = None
            failures = list(leaves(fault))
            if fault is not exception and fault.__context__ is None:
                fault.__context__ = exception
        for failure in failures:
            yield LeafDecision(
                exception=failure, verdict=verdict or _last_resort(context), expected=verdict is not None
            )

    def _verdict(self, exception: Exception, context: Context) -> AnyVerdict | None:
        """What the first rule that has something for this phase says; None if there is no such rule."""
        for rule in self._rules(type(exception)):
            for candidate in rule.verdicts:
                verdict = candidate(exception, context) if callable(candidate) else candidate
                if applies(verdict, context):
                    return verdict
        return None

    def _rules(self, kind: type[Exception]) -> Iterator[Rule]:
        level: ErrorPolicy | None = self
        while level is not None:
            yield from level._level(kind)
            level = level.outer
        yield from DEFAULTS._level(kind)

    def _level(self, kind: type[Exception]) -> Iterator[Rule]:
        for base in kind.__mro__:
            for rule in reversed(self.rules):
                if rule.type is base:
                    yield rule


def _name(kind: type[object]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _check_verdict(rule: str, verdict: object) -> None:
    known = isinstance(verdict, Refuse | Close | Reply | Ignore | Escalate)
    if isinstance(verdict, type) or not (known or callable(verdict)):
        raise ConfigurationError(f"ErrorPolicy.on({rule}): {verdict!r} is no verdict; give one, such as Close(4000)")


def _is_decidable(kind: type[BaseException]) -> bool:
    return issubclass(kind, Exception) and not issubclass(kind, BaseExceptionGroup)


def applies(verdict: AnyVerdict, context: Context) -> bool:
    """Whether `verdict` can act in this phase.

    Raises:
      TypeError: it is no verdict at all (a callable of the policy returned something else).
    """
    match verdict:
        case Escalate():
            return True
        case Refuse():
            return not context.accepted and context.phase is not Phase.RELEASE
        case Close():
            return context.accepted and context.phase is not Phase.RELEASE
        case Reply():
            return context.phase is Phase.MESSAGE
        case Ignore():
            return context.phase in {Phase.MESSAGE, Phase.RELEASE}
    raise TypeError(f"a rule of the error policy returned {verdict!r}; return Refuse, Close, Reply, Ignore or Escalate")


def _last_resort(context: Context) -> AnyVerdict:
    """What happens to an exception that nobody named: no detail for the peer, an id to find it in the log."""
    if context.phase is Phase.RELEASE:
        return Ignore()
    text = f"internal error, incident {context.incident}"
    return Close(1011, text) if context.accepted else Refuse(500, text)


def _gravity(verdict: AnyVerdict) -> tuple[int, int, str]:
    """Sorts the gravest first: Escalate, then the lowest code or the highest status, then Reply, then Ignore."""
    match verdict:
        case Escalate():
            return (0, 0, "")
        case Refuse(status, body):
            return (1, -status, body)
        case Close(code, reason):
            return (1, code, reason)
        case Reply() | Ignore():
            return (2 if isinstance(verdict, Reply) else 3, 0, "")
        case _:
            assert_never(verdict)


def _broken_protocol(violation: ProtocolViolation, context: Context) -> Close:
    return Close(violation.code, violation.reason)


#: What happens when no policy of the application says otherwise.
DEFAULTS = (
    ErrorPolicy()
    .on(Unauthorized, Refuse(401), Close(3000, "unauthorized"))
    .on(Forbidden, Refuse(403), Close(3003, "forbidden"))
    .on(TooManyRequests, Refuse(429), Close(1013, "too many requests"))
    .on(Unavailable, Refuse(503), Close(1013, "unavailable"))
    .on(AuthTimeout, Refuse(408), Close(3008, "authentication timed out"))
    .on(IdleTimeout, Close(3008, "idle too long"))
    .on(LifetimeReached, Close(3008, "lifetime reached"))
    .on(SlowConsumer, Close(1008, "slow consumer"))
    .on(KeepaliveLost, Close(1011, "keepalive lost"))
    .on(LeaseExpired, Refuse(401), Close(3000, "lease expired"))
    .on(ProtocolViolation, _broken_protocol)
)


@final
@frozen(kw_only=True)
class ErrorReport:
    """One failure, for ``App(report=...)`` and the log."""

    incident: str
    """A short random id, the same that the peer of an unexpected failure reads."""
    phase: Phase
    """Where it happened."""
    route: str
    """The route's name, or empty before there is one."""
    connection: str
    """The connection's id."""
    exception: Exception
    """The exception, with its traceback; never a group."""
    verdict: AnyVerdict
    """What was decided for it."""
    expected: bool
    """Whether a rule of the application or of Seawall named it."""
