"""`SessionEnds`: which sessions a browser presents, and how they end: their tokens, and their connections."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, final

import trio
from attrs import frozen

from seawall.connection.sessions import Sessions, revoke_deleted, table_of
from seawall.errors import RefreshTokenReused, Unauthorized, Unavailable
from seawall.handshake import Handshake
from seawall.login.cookies import HostCookie
from seawall.login.issuer import TokenIssuer, Tokens

#: Seconds that ending sessions may take whoever is cancelled meanwhile: a browser that logs out may leave at once.
PATIENCE: Final = 5.0

#: Seconds in which a store has to say whose a refresh token is, where an access token says it too.
_ASKED_WITHIN: Final = 2.0


@final
@frozen
class Presented:
    """A session whose token a browser has presented."""

    session_id: str
    subject: str
    is_proof: bool
    """Whether the token is one that only who is logged in has: not one that was used long ago, or revoked."""


@final
@frozen(kw_only=True)
class _LogIn:
    """The `Credential` that a session is: what revokes it revokes its tokens, also those of later."""

    issuer: str
    subject: str
    session_id: str
    issued_at: float
    """When it began."""
    token_id: None = None


@final
@frozen(kw_only=True, eq=False)
class SessionEnds:
    """Ends sessions of an issuer, in its store and in an app."""

    sessions: Sessions
    issuer: TokenIssuer
    access: HostCookie
    refresh: HostCookie

    async def end_presented(self, handshake: Handshake) -> tuple[Presented, ...]:
        """End the sessions whose tokens a request brings, whoever is cancelled meanwhile. Raises as `end`."""
        with _uninterrupted():
            found = await self.presented(handshake)
            for one in found:
                await self.end(one.session_id)
        return found

    async def presented(self, handshake: Handshake) -> tuple[Presented, ...]:
        """The sessions whose tokens a request brings, each once; the refresh token is used up by that.

        If the store cannot be asked now, those whose access token it brings: they can be ended here all the same.

        Raises:
          Unavailable: the store cannot be asked now, and there is no access token.
        """
        found = await self._by_access(handshake)
        with trio.move_on_after(_ASKED_WITHIN if found else math.inf):
            try:
                found += await self._by_refresh(handshake)
            except Unavailable:
                if not found:
                    raise
        proofs = {one.session_id for one in found if one.is_proof}
        by_id = {one.session_id: Presented(one.session_id, one.subject, one.session_id in proofs) for one in found}
        return tuple(by_id.values())

    def is_revoked(self, tokens: Tokens) -> bool:
        """Whether a session has been revoked since it began, or its subject: the store of sessions does not know."""
        log_in = _LogIn(
            issuer=self.issuer.issuer,
            subject=tokens.subject,
            session_id=tokens.session_id,
            issued_at=tokens.refresh_expires_at - self.issuer.refresh_lifetime,
        )
        return table_of(self.sessions).is_session_revoked(log_in)

    async def end(self, session_id: str) -> int:
        """End a session, and its connections, which read 3003. The number of them.

        Raises:
          Unavailable: it may not be over elsewhere, or after a restart.
        """
        try:
            return await revoke_deleted(self.sessions, session_id)
        finally:
            with trio.move_on_after(PATIENCE, shield=True) as scope:
                await self.issuer.end(session_id)
            if scope.cancelled_caught:
                raise Unavailable("the store of sessions has not answered")

    async def end_all(self, subject: str, *also: str) -> tuple[int, int]:
        """End all sessions of a subject, and `also` those with these ids, as `end` does.

        Those that are connected end whatever the store says: it may be down, or have given one up for another.

        Returns:
          How many sessions there were, and how many connections.
        """
        connected = {*self._connected(subject), *also}
        ids, ended, unavailable = set(connected), list[int](), list[str]()

        async def revoke(session_id: str) -> None:
            try:
                ended.append(await revoke_deleted(self.sessions, session_id))
            except Unavailable:  # which is told below: the others are revoked all the same
                unavailable.append("the store of revocations does not have all of them")

        with _uninterrupted():
            async with trio.open_nursery() as nursery:  # so that none waits for what a store does with another one
                for session_id in connected:
                    nursery.start_soon(revoke, session_id)
                try:
                    ids.update(await self.issuer.end_all(subject))
                except Unavailable:
                    unavailable.append("the store of sessions does not end them now")
                for session_id in ids - connected:
                    nursery.start_soon(revoke, session_id)
        if unavailable:
            raise Unavailable("; ".join(sorted({*unavailable})))
        return len(ids), sum(ended)

    def _connected(self, subject: str) -> set[str]:
        """The sessions of a subject that have connections here."""
        found = self.sessions.find(issuer=self.issuer.issuer, subject=subject)
        held = (one for info in found for one in info.credentials)
        return {
            one.session_id
            for one in held
            if one.session_id is not None and (one.issuer, one.subject) == (self.issuer.issuer, subject)
        }

    async def _by_access(self, handshake: Handshake) -> list[Presented]:
        try:
            token = self.access.find(handshake)
            claims = None if token is None else await self.issuer.verifier.verify(token)
        except Unauthorized:
            return []
        if claims is None or claims.session_id is None:
            return []
        return [Presented(claims.session_id, claims.subject, not self.sessions.is_revoked(claims))]

    async def _by_refresh(self, handshake: Handshake) -> list[Presented]:
        try:
            token = self.refresh.find(handshake)
            tokens = None if token is None else await self.issuer.rotate(token)
        except RefreshTokenReused as reused:
            return [Presented(reused.session_id, reused.subject, is_proof=False)]
        except Unauthorized:
            return []
        return [] if tokens is None else [Presented(tokens.session_id, tokens.subject, is_proof=True)]


@contextmanager
def _uninterrupted() -> Generator[None]:
    """Do not be cancelled inside of the block, for `PATIENCE` seconds; after that it is `Unavailable`."""
    with trio.move_on_after(PATIENCE, shield=True) as scope:
        yield
    if scope.cancelled_caught:
        raise Unavailable("ending a session took too long")
