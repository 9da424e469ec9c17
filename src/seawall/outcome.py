"""`Outcome`: how a connection ended, and on whose part."""

from __future__ import annotations

import enum
from typing import Final, final

from attrs import define, frozen

from seawall.errors import (
    AuthTimeout,
    IdleTimeout,
    KeepaliveLost,
    LeaseExpired,
    LifetimeReached,
    ProtocolViolation,
    Refused,
    Revoked,
    SlowConsumer,
)


@final
class Party(enum.Enum):
    """On whose part a connection ended."""

    PEER = "peer"
    """It closed, or it is gone."""
    APPLICATION = "application"
    """The handler returned, closed, or failed."""
    SERVER = "server"
    """A guard refused, a limit was reached, the peer broke the protocol, or the server stops."""


@final
class Cause(enum.Enum):
    """Why a connection ended. There is exactly one, the first; it is recorded before anything is cancelled."""

    ANSWERED = "answered"
    """A plain HTTP request got its page."""
    REFUSED = "refused"
    """A guard, an origin or the request itself stood in the way, or took too long; or a handler raised a refusal."""
    OVERLOAD = "overload"
    """There were too many already: ``Limits.max_connections`` and what is counted among them."""
    RETURNED = "handler returned"
    """The handler, and all that it started, have finished."""
    CLOSED = "closed by the handler"
    """`Connection.aclose`."""
    FAILED = "error"
    """A guard, the handler or something below it raised; the policy decided."""
    PEER_CLOSED = "peer closed"
    """The peer sent a Close; code and reason are its own, 1005 if it gave none."""
    PEER_VANISHED = "peer vanished"
    """The peer is gone without a Close."""
    VIOLATION = "protocol violation"
    """The peer broke the protocol, or a limit of it: 1002, 1007 or 1009."""
    LEASE_EXPIRED = "lease expired"
    """What the guards proved holds no longer, a token for instance."""
    REVOKED = "revoked"
    """``app.sessions.revoke``."""
    IDLE = "idle"
    """``Limits.idle_timeout``."""
    LIFETIME = "lifetime"
    """``Limits.lifetime``."""
    SLOW_CONSUMER = "slow consumer"
    """``Limits.send_timeout``."""
    KEEPALIVE = "keepalive lost"
    """``Limits.ping_timeout``."""
    DRAINED = "server draining"
    """`Server.drain`, or a signal under ``app.run``."""
    STOPPED = "server stopped"
    """``serve`` was cancelled, or something was escalated."""

    @property
    def by(self) -> Party:
        """On whose part it is."""
        return _PARTIES.get(self, Party.SERVER)


_PARTIES: Final = {
    Cause.PEER_CLOSED: Party.PEER,
    Cause.PEER_VANISHED: Party.PEER,
    Cause.RETURNED: Party.APPLICATION,
    Cause.CLOSED: Party.APPLICATION,
    Cause.FAILED: Party.APPLICATION,
}


@final
@frozen
class End:
    """What ends a connection, as it is recorded at that moment."""

    cause: Cause
    code: int
    """The close code, ours or the peer's; the HTTP status if there never was an upgrade; 1006 if the peer vanished."""
    reason: str = ""
    """The reason that went with the code."""
    detail: str = ""
    """The failure behind it, for the log; the peer never reads it."""
    rule: str = ""
    """The type that the policy's rule names, if a rule decided."""

    @property
    def is_peers(self) -> bool:
        """Whether it was the peer who ended it."""
        return self.cause is Cause.PEER_CLOSED or self.cause is Cause.PEER_VANISHED


@final
@define(eq=False)
class Drain:
    """Whether the server is draining, and what it tells its peers then."""

    begun: bool = False
    restarting: bool = False
    """Whether it will be back, so that 1012 tells more than 1001."""

    @property
    def end(self) -> End:
        """The end of a connection that is drained."""
        code, reason = (1012, "service restart") if self.restarting else (1001, "going away")
        return End(Cause.DRAINED, code, reason)


@final
@frozen(kw_only=True)
class Outcome:
    """How one connection ended, for ``App(on_end=...)`` and the log."""

    cause: Cause
    """Why; ``cause.by`` says on whose part."""
    code: int
    """The close code, ours or the peer's; the HTTP status if there never was an upgrade; 1006 if the peer vanished."""
    reason: str
    """The reason that went with the code."""
    detail: str
    """The failure behind it: its type and text, or the path or origin asked for; bounded, escaped, never sent."""
    rule: str
    """The type that the error policy's rule names, if a rule decided, such as ``Unauthorized``."""
    connection: str
    """The connection's id."""
    peer: str
    """The other end of the socket."""
    route: str
    """The route's name; empty if it never got that far."""
    principal: str
    """Whom the guards proved, redacted: see `seawall.reports.name_of_principal`. Empty if they never did."""
    seconds: float
    """How long it lasted, from being accepted until the socket and all resources were gone."""
    messages_in: int
    """Messages from the peer, the handler's or not."""
    messages_out: int
    """Messages to the peer."""
    bytes_in: int
    """Bytes from the peer after its request, frame headers included, as the network carried them inside TLS."""
    bytes_out: int
    """Bytes to the peer that the network has taken, the answer to the handshake included; likewise."""


def cause_of(failure: Exception) -> Cause:
    """The cause that a failure stands for, when it ends a connection."""
    match failure:
        case LeaseExpired():
            return Cause.LEASE_EXPIRED
        case Revoked():
            return Cause.REVOKED
        case IdleTimeout():
            return Cause.IDLE
        case LifetimeReached():
            return Cause.LIFETIME
        case SlowConsumer():
            return Cause.SLOW_CONSUMER
        case KeepaliveLost():
            return Cause.KEEPALIVE
        case ProtocolViolation():
            return Cause.VIOLATION
        case Refused() | AuthTimeout():
            return Cause.REFUSED
        case _:
            return Cause.FAILED
