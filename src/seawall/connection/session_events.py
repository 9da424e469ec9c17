"""What is told of connections that are open: `SessionInfo`, and the events of `Sessions.watch`."""

from __future__ import annotations

import math
from typing import TypeAlias, final

from attrs import field, frozen

from seawall.connection.revocations import CredentialSnapshot
from seawall.policy.ending import Cause


@final
@frozen(kw_only=True)
class HeldCredential:
    """By what a connection was let in, as a guard has named it; it is a `Credential` itself."""

    issuer: str
    """Who has issued it; empty if it names nobody."""
    subject: str | None
    """Whom it identifies."""
    session_id: str | None
    """What all credentials of one log-in have in common, such as a token's ``sid``."""
    token_id: str | None
    """Its own id, such as a token's ``jti``."""
    issued_at: float | None
    """When it was issued, in Unix time; None if it does not say."""
    expires_at: float | None
    """When it ends, in Unix time; None if it does not say."""

    @classmethod
    def of(cls, held: CredentialSnapshot) -> HeldCredential:
        """What is known of `held`."""
        return cls(
            issuer=held.issuer,
            subject=held.subject,
            session_id=held.session_id,
            token_id=held.token_id,
            issued_at=None if held.issued_at == -math.inf else held.issued_at,
            expires_at=None if held.expires_at == math.inf else held.expires_at,
        )


@final
@frozen(kw_only=True)
class SessionInfo:
    """A connection that the guards have let in, as it is at one moment."""

    id: str
    """Names the connection, in the log and for `Sessions.end`."""
    route: str
    """The route's name."""
    peer: str
    """The other end of the socket, as `Handshake.peer` shows it."""
    principal: str
    """Whom the guards have proved, as the log names it: the type, and a digest of the subject."""
    credentials: tuple[HeldCredential, ...] = field(repr=False)
    """By what it was let in, at the door or when it was last renewed; empty if no guard has named anything."""
    opened_at: float
    """When the guards had let it in, in Unix time."""
    expires_at: float | None
    """When the first of its leases ends, in Unix time; None if it has none."""


@final
@frozen
class SessionOpened:
    """The guards have let a connection in, and its handler is about to begin."""

    session: SessionInfo


@final
@frozen(kw_only=True)
class SessionClosed:
    """A connection that was open has ended: `Sessions.find` does not find it any more."""

    session: SessionInfo
    """As it was at the end."""
    cause: Cause
    """Why it has ended."""
    code: int
    """The close code."""
    reason: str
    """The reason that went with it; it may be the peer's."""
    at: float
    """When it ended, in Unix time."""


@final
@frozen
class Lagged:
    """So many events in this place are missing, because nobody took those before them; ask `Sessions.find` again."""

    missed: int


#: What `Sessions.watch` tells.
SessionEvent: TypeAlias = SessionOpened | SessionClosed | Lagged
