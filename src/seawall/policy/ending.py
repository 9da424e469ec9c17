"""Why a connection ends, and what follows from a failure. Pure: no I/O, no await, no clock.

`judge` asks the `ErrorPolicy` about an `Exception` and returns the consequence: what is recorded and what the peer
reads. What stops the server without asking a policy, such as SystemExit, ends a connection by `internal_error`. Other
modules only carry out the consequences.
"""

from __future__ import annotations

import enum
import math
import re
from typing import Final, TypeAlias, assert_never, final

from attrs import field, frozen

from seawall.errors import (
    AuthTimeout,
    Forbidden,
    IdleTimeout,
    KeepaliveLost,
    Kicked,
    LeaseExpired,
    LifetimeReached,
    MessageTimeout,
    NoCredentials,
    ProtocolViolation,
    Refused,
    Revoked,
    SlowConsumer,
    SubscriptionLost,
    TooManyInvalidMessages,
    Unauthorized,
)
from seawall.exception_groups import partition
from seawall.http.response import SerializedResponse, refusal
from seawall.policy.answers import MAX_RETRY_AFTER
from seawall.policy.error_policy import DEFAULTS, ErrorPolicy, LeafDecision
from seawall.policy.verdicts import Close, Context, Escalate, Ignore, Refuse, Reply
from seawall.printable import name_of

#: The scopes that a challenge can name (RFC 6749, section 3.3); the bound is on what a header may reasonably hold.
_SCOPES: Final = re.compile(r"(?=.{1,1024}\Z)[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")


@final
class Party(enum.Enum):
    """Which side ended a connection."""

    PEER = "peer"
    """The peer closed, or is gone."""
    APPLICATION = "application"
    """The handler returned, closed, or failed; or a guard failed."""
    SERVER = "server"
    """A guard refused, a limit was reached, the peer broke the protocol, or the server stops."""


@final
class Cause(enum.Enum):
    """Why a connection ended. There is exactly one, the first; it is recorded before anything is cancelled."""

    ANSWERED = "answered"
    """A plain HTTP request got its page."""
    REFUSED = "refused"
    """The request was bad or late, the origin is not allowed, a guard refused or was late, or a handler refused."""
    OVERLOAD = "overload"
    """``Limits.max_connections`` was reached, or ``max_unauthenticated``, or ``max_connections_per_address``."""
    RETURNED = "handler returned"
    """The handler, and all tasks that it started, have finished."""
    CLOSED = "closed by the handler"
    """`Connection.aclose` or `Connection.close_nowait`."""
    ENDED = "ended by the program"
    """`Server.end`, or `Sessions.end`."""
    FAILED = "error"
    """A guard, the handler or something below it raised; the policy decided."""
    PEER_CLOSED = "peer closed"
    """The peer sent a Close. Code and reason are the peer's; 1005 if it gave no code."""
    PEER_VANISHED = "peer vanished"
    """The peer is gone without a Close."""
    VIOLATION = "protocol violation"
    """The peer broke the protocol, or a limit of it: 1002, 1007 or 1009."""
    INVALID_MESSAGES = "invalid messages"
    """``Limits.max_message_errors``."""
    LEASE_EXPIRED = "lease expired"
    """A lease has ended: what a guard proved is no longer valid, such as a token."""
    REVOKED = "revoked"
    """`Sessions.revoke`, here or in another process."""
    KICKED = "kicked"
    """``room.kick``, and the handler let the `Kicked` out."""
    REPLACED = "replaced"
    """`limit_connections`: another connection of the same subject, or address, has come."""
    IDLE = "idle"
    """``Limits.idle_timeout``."""
    LIFETIME = "lifetime"
    """``Limits.lifetime``."""
    MESSAGE_TIMEOUT = "message timed out"
    """``Limits.message_timeout``."""
    SLOW_CONSUMER = "slow consumer"
    """``Limits.send_timeout``, or the `Disconnect` of a subscription."""
    MESSAGES_LOST = "messages lost"
    """A subscription has missed events, and the handler let the `SubscriptionLost` out."""
    KEEPALIVE = "keepalive lost"
    """``Limits.ping_timeout``."""
    DRAINED = "server draining"
    """`Server.drain`, or a signal under ``app.run``."""
    STOPPED = "server stopped"
    """``serve`` was cancelled, or something was escalated."""

    @property
    def by(self) -> Party:
        """Which side ended the connection."""
        return _PARTIES.get(self, Party.SERVER)


_PARTIES: Final = {
    Cause.PEER_CLOSED: Party.PEER,
    Cause.PEER_VANISHED: Party.PEER,
    Cause.RETURNED: Party.APPLICATION,
    Cause.CLOSED: Party.APPLICATION,
    Cause.ENDED: Party.APPLICATION,
    Cause.FAILED: Party.APPLICATION,
}


@final
@frozen
class End:
    """How a connection ends, recorded once, when that is decided."""

    cause: Cause
    code: int
    """The close code, ours or the peer's; the HTTP status if there never was an upgrade; 1006 if the peer vanished."""
    reason: str = ""
    """The reason that went with the code."""
    detail: str = ""
    """The failure behind it, for the log; the peer never reads it."""
    rule: str = ""
    """The type that the policy's rule names, if a rule decided."""
    silent: bool = False
    """Whether the peer had not sent a byte until then."""

    @property
    def by_peer(self) -> bool:
        """Whether the peer ended the connection."""
        return self.cause is Cause.PEER_CLOSED or self.cause is Cause.PEER_VANISHED


def cause_of(failure: Exception) -> Cause:
    """The cause that is recorded when `failure` ends a connection."""
    match failure:
        case LeaseExpired():
            return Cause.LEASE_EXPIRED
        case Revoked():
            return Cause.REVOKED
        case IdleTimeout():
            return Cause.IDLE
        case LifetimeReached():
            return Cause.LIFETIME
        case MessageTimeout():
            return Cause.MESSAGE_TIMEOUT
        case SlowConsumer():
            return Cause.SLOW_CONSUMER
        case SubscriptionLost():
            return Cause.MESSAGES_LOST
        case Kicked():
            return Cause.KICKED
        case KeepaliveLost():
            return Cause.KEEPALIVE
        case ProtocolViolation():
            return Cause.VIOLATION
        case TooManyInvalidMessages():
            return Cause.INVALID_MESSAGES
        case Refused() | AuthTimeout():
            return Cause.REFUSED
        case _:
            return Cause.FAILED


@final
@frozen
class Ends:
    """A consequence: the connection ends."""

    end: End
    """What is recorded. Once the upgrade has been accepted, the peer reads its code and reason in a Close frame."""
    response: SerializedResponse | None = None
    """What the client reads if the upgrade has not been accepted."""


def http_end(response: SerializedResponse, detail: str = "", *, silent: bool = False) -> Ends:
    """The consequence that a connection ends with an HTTP response: a page, or an error. The rest is for the log."""
    cause = Cause.ANSWERED if response.status < 400 else Cause.REFUSED
    return Ends(End(cause, response.status, response.text, detail, silent=silent), response)


@final
@frozen
class Replies:
    """A consequence: the message that failed is answered, and the connection goes on."""

    make: Reply[Exception]
    """Makes the answer from `exception`."""
    exception: Exception
    """What the message failed with."""


@final
@frozen
class Nothing:
    """A consequence: the connection goes on as if nothing had happened."""


#: What has to be done to a connection because of a failure.
Consequence: TypeAlias = Ends | Replies | Nothing


@final
@frozen(kw_only=True)
class Judgement:
    """What follows from a failure."""

    consequence: Consequence
    """What has to be done to the connection."""
    leaves: tuple[LeafDecision, ...]
    """Each exception in the failure that is not a group, with its verdict. The caller reports them all."""
    escalated: tuple[BaseException, ...] = field(default=())
    """What ``app.serve`` has to raise: leaves whose verdict is `Escalate`, and a SystemExit that a rule raised."""


def judge(failure: Exception, context: Context, policy: ErrorPolicy) -> Judgement:
    """Decide about `failure`, which happened in `context`, by `policy`. What a rule raises is a failure as well."""
    fatal: tuple[BaseException, ...] = ()
    try:
        decision = policy.decide(failure, context)
    except BaseException as raised:  # noqa: ASYNC103, BLE001 - a rule may raise SystemExit, or anything
        fatal = partition(raised).fatal
        decision = DEFAULTS.decide(failure, context)
    escalated = [leaf.exception for leaf in decision.leaves if isinstance(leaf.verdict, Escalate)]
    return Judgement(
        consequence=_consequence(decision.gravest, context),
        leaves=decision.leaves,
        escalated=(*fatal, *escalated),
    )


def _consequence(leaf: LeafDecision, context: Context) -> Consequence:
    exception, verdict = leaf.exception, leaf.verdict
    cause, detail = cause_of(exception), name_of(exception)
    rule = leaf.rule.type.__name__ if leaf.rule is not None else ""
    match verdict:
        case Refuse(status):
            response = refusal(status, verdict.text, headers=refusal_headers(status, exception))
            return Ends(End(cause, status, verdict.text, detail, rule), response)
        case Close(code, reason):
            return Ends(End(cause, code, reason, detail, rule))
        case Escalate():
            return internal_error(exception, accepted=context.accepted)
        case Reply():
            return Replies(verdict, exception)
        case Ignore():
            return Nothing()
        case _:
            assert_never(verdict)


def internal_error(failure: BaseException, *, accepted: bool) -> Ends:
    """The consequence that a connection ends because `failure` stops the server. The peer reads no detail of it."""
    end = End(Cause.FAILED, 1011 if accepted else 500, "internal error", name_of(failure))
    return Ends(end, None if accepted else refusal(500, end.reason))


def refusal_headers(status: int, failure: Exception) -> tuple[tuple[str, str], ...]:
    """The headers of a refusal: a challenge (RFC 6750, section 3) and when to try again (RFC 9110, 10.2.3)."""
    headers: list[tuple[str, str]] = []
    challenge = _challenge(status, failure)
    if challenge:
        headers.append(("WWW-Authenticate", challenge))
    seconds: object = failure.retry_after if isinstance(failure, Refused) else None
    if isinstance(seconds, int | float) and abs(seconds) <= MAX_RETRY_AFTER:  # an application's own may be anything
        headers.append(("Retry-After", str(max(0, math.ceil(seconds)))))
    return tuple(headers)


def _challenge(status: int, failure: Exception) -> str:
    """What a client has to present (RFC 6750, section 3); empty where no other token would help."""
    if status == 401:
        wrong = isinstance(failure, Unauthorized | LeaseExpired) and not isinstance(failure, NoCredentials)
        return 'Bearer error="invalid_token"' if wrong else "Bearer"
    scope: object = failure.scope if status == 403 and isinstance(failure, Forbidden) else None
    if not isinstance(scope, str):
        return ""
    needed = f', scope="{scope}"' if _SCOPES.fullmatch(scope) else ""  # an application's own may be anything
    return f'Bearer error="insufficient_scope"{needed}'
