"""`SessionStore`: where the sessions of a `TokenIssuer` are kept, each with the refresh token that comes next.

A session is one entry, however often its tokens are renewed: it has the digest of the refresh token that may be used
next, and that of the one before it. Any other token of the session was used long ago: whoever presents it has a copy,
or somebody else has (RFC 9700, section 4.14.2).
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final, Protocol, TypeAlias, final

from attrs import evolve, field, frozen

#: For so many seconds a refresh token that has been used gives the same successor again, and that one gives itself: all
#: tabs of a browser are warned at once, and what one sends may overtake what another does. An answer may be lost, too.
REUSE_WITHIN: Final = 10.0


@final
@frozen(kw_only=True)
class StoredSession:
    """A session, as it is stored. It holds no token: only digests of them, of 32 bytes each."""

    session_id: str
    """The ``sid`` of its access tokens. No two sessions have the same."""
    issuer: str
    """Who has issued them: two subjects of one name are two if their issuers differ."""
    subject: str
    """Whose session it is."""
    claims: str = field(repr=False)
    """What its access tokens say besides, as a JSON object."""
    ends_at: float
    """When it ends, however often it is renewed, in Unix time: it is none from that moment on."""
    family: bytes = field(repr=False)
    """The digest of what all its refresh tokens have in common. No two sessions have the same."""
    current: bytes = field(repr=False)
    """The digest of the refresh token that may be used next."""
    previous: bytes | None = field(default=None, repr=False)
    """That of the one that was used last, if one was."""
    used_at: float
    """When that was, in Unix time; before it, when the session began."""


@final
@frozen
class Rotated:
    """The token may be exchanged."""

    session: StoredSession
    """To be stored. Its current token is the successor; if one has been exchanged just before, nothing has changed."""


@final
@frozen
class Reused:
    """The token was exchanged before, and too long ago: somebody else may have it, or the one that came after it."""

    session: StoredSession
    """To be deleted."""


#: What becomes of a session when one of its refresh tokens is presented; None: it has ended, and is to be deleted.
Rotation: TypeAlias = Rotated | Reused | None


def rotate(session: StoredSession, presented: bytes, successor: bytes, now: float) -> Rotation:
    """What becomes of `session` when a token with the digest `presented` is to be exchanged.

    Pure, so that every store decides the same; a store has to do what it says in one step.

    Args:
      session: as it is stored, under the family of the token.
      presented: the digest of the token.
      successor: the digest of the token that it is to be exchanged for, if that has not happened yet.
      now: Unix time. It may be earlier than before: a clock can be set back.
    """
    if session.ends_at <= now:
        return None
    is_current = compare_digest(presented, session.current)
    if session.previous is not None and abs(now - session.used_at) <= REUSE_WITHIN:
        if is_current or compare_digest(presented, session.previous):
            return Rotated(session)
    elif is_current:
        return Rotated(evolve(session, current=successor, previous=presented, used_at=now))
    return Reused(session)


class SessionStore(Protocol):
    """Keeps the sessions of a `TokenIssuer`, or of several.

    Each method is one step: of two calls at once, one comes first. What it has done is stored for good when it returns,
    as far as the store outlives the process. If a call is cancelled, all of it has happened or nothing. All raise
    `Unavailable` if the store cannot do it now.

    It is bounded. Sessions that have ended go first. If a subject of an issuer has too many, a new one takes the place
    of that which was used longest ago (by `StoredSession.used_at`); if all together are too many, it is `Unavailable`.
    """

    async def add(self, session: StoredSession, /) -> None:
        """Store a new session, which begins at its `used_at`.

        Raises:
          Unavailable: there are too many.
        """
        ...

    async def rotate(self, family: bytes, presented: bytes, successor: bytes, now: float, /) -> Rotation:
        """Do what the function `rotate` says about the session that is stored under `family`, and return that.

        None if there is no such session, or it has ended by `now`.
        """
        ...

    async def delete(self, session_id: str, /) -> None:
        """Delete the session of this id, if there is one: its refresh tokens are worth nothing from then on."""
        ...

    async def delete_subject(self, issuer: str, subject: str, /) -> tuple[str, ...]:
        """Delete all sessions of a subject of an issuer, and return the ids that they had, in any order."""
        ...
