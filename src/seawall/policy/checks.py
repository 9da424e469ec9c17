"""Refuses mistaken rules of an `ErrorPolicy` when they are defined. Pure: no I/O, no await, no clock.

A rule is mistaken if a policy does not decide about its type, if it has no verdict, if one of its verdicts is something
else, or if one of them could never act: because the failure does not happen in any phase in which that verdict acts, or
because earlier verdicts of the rule act in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from seawall.callables import check_sync_callback
from seawall.errors import (
    AuthTimeout,
    ConfigurationError,
    IdleTimeout,
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
)
from seawall.policy.verdicts import AnyVerdict, Close, Context, Escalate, Ignore, Phase, Refuse, Reply, applies

#: Failures that happen only after the upgrade, on the wire or by a deadline.
_AFTER_UPGRADE = (
    IdleTimeout,
    LifetimeReached,
    MessageTimeout,
    SlowConsumer,
    KeepaliveLost,
    ProtocolViolation,
    TooManyInvalidMessages,
)

#: Failures of subscriptions, which only open connections have. Those of an event may be answered.
_OF_SUBSCRIPTIONS = (SubscriptionLost, Kicked)

#: Failures by a deadline or a revocation, which may come before the upgrade or after it.
_ENDINGS = (AuthTimeout, LeaseExpired, Revoked)

#: All contexts in which something can fail.
_PLACES = [
    Context(phase=phase, accepted=accepted)
    for phase in Phase
    for accepted in (True, False)
    if accepted or phase in {Phase.GUARD, Phase.BACKGROUND, Phase.RELEASE, Phase.TRANSPORT}
]


def check_rule(kind: type[Exception], verdicts: Sequence[object]) -> None:
    """Refuse a rule without a verdict, or with one that could never act.

    Args:
      kind: the type that the rule is for.
      verdicts: what may be done, in order of preference.

    Raises:
      ConfigurationError: as `ErrorPolicy.on` says.
    """
    if not _is_decidable(kind):
        raise ConfigurationError(
            f"ErrorPolicy.on({getattr(kind, '__name__', kind)!s}): name a subclass of Exception, or a tuple of some; "
            "groups are taken apart, and what is not an Exception (Cancelled, KeyboardInterrupt, SystemExit) is never "
            "decided by a policy"
        )
    if not verdicts:
        raise ConfigurationError(f"ErrorPolicy.on({kind.__name__}): no verdict; add one, such as Close(4000)")
    for verdict in verdicts:
        _check_verdict(kind.__name__, verdict)
        _check_use(kind, verdict)
    _check_order(kind.__name__, verdicts)


def _is_decidable(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, BaseExceptionGroup)


def _check_verdict(rule: str, verdict: object) -> None:
    known = isinstance(verdict, Refuse | Close | Reply | Ignore | Escalate)
    if isinstance(verdict, type) or not (known or callable(verdict)):
        raise ConfigurationError(f"ErrorPolicy.on({rule}): {verdict!r} is no verdict; give one, such as Close(4000)")
    if not known and callable(verdict):
        check_sync_callback(f"ErrorPolicy.on({rule})", verdict, takes="exception, context")


def _check_use(kind: type[Exception], verdict: object) -> None:
    """Refuse a verdict that acts in none of the phases in which `kind` happens."""
    if issubclass(kind, _AFTER_UPGRADE) and isinstance(verdict, Refuse | Reply | Ignore):
        raise ConfigurationError(
            f"ErrorPolicy.on({kind.__name__}): {verdict!r} can never act, because this only happens to a connection "
            "that is open; give a Close, or Escalate()"
        )
    if issubclass(kind, _OF_SUBSCRIPTIONS) and isinstance(verdict, Refuse):
        raise ConfigurationError(
            f"ErrorPolicy.on({kind.__name__}): {verdict!r} can never act, because this only happens to a connection "
            "that is open; give a Close, a Reply, or Escalate()"
        )
    if issubclass(kind, _ENDINGS) and isinstance(verdict, Reply | Ignore):
        raise ConfigurationError(
            f"ErrorPolicy.on({kind.__name__}): {verdict!r} can never act, because this ends a connection whatever is "
            "decided; give a Refuse, a Close, or Escalate()"
        )


def _check_order(name: str, verdicts: Sequence[object]) -> None:
    """Refuse a verdict if earlier ones act wherever it could. Callables are skipped: their results are not known."""
    left = _PLACES
    for verdict in verdicts:
        if isinstance(verdict, Refuse | Close | Reply | Ignore | Escalate):
            after = [place for place in left if not applies(cast("AnyVerdict", verdict), place)]
            if len(after) == len(left):
                raise ConfigurationError(
                    f"ErrorPolicy.on({name}): {verdict!r} can never act, because those before it act wherever it "
                    "could; leave it out, or put it first"
                )
            left = after
