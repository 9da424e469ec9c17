"""`Sessions`: which connections were let in by which credentials, and which credentials have been revoked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import Final, TypeAlias, final

import trio

from seawall.connection.lifecycle import Lifecycle
from seawall.connection.revocations import CredentialSnapshot, Identity, NamedCredentials, Revocations, Selection
from seawall.connection.session_renewal import Renewable, renew_all
from seawall.errors import ConfigurationError, Revoked, TooManyRequests, Unauthorized
from seawall.guards.credential import Credential
from seawall.guards.jwt.one_issuer import MAX_TOKEN
from seawall.guards.jwt.unverified import identity_of
from seawall.guards.token_source import is_token
from seawall.observability.logs import server_log

#: When a subject that has too many connections may try again, in seconds.
RETRY_AFTER = 5.0

#: Seconds for which a revocation is remembered: as long as a `TokenVerifier` lets a token live, a day, and its skew.
REVOCATIONS_KEPT: Final = 86_460.0

#: A kind, and the names of that kind by which a connection is found.
_Key: TypeAlias = tuple[str, str | None] | tuple[str, str, str]

_EVERYBODY: Final = Selection(None, None, None, None)

#: What a connection begins with.
_NONE_NAMED: Final = NamedCredentials()


@final
class Sessions:
    """The connections of an app whose guards have named the credential; see `App.sessions` and `Gate.identify`.

    ::

        app.sessions.revoke(subject="ada")  # logged out, everywhere
        app.sessions.revoke(session_id="9c41")  # logged out, here
        app.sessions.revoke(token_id="7f3a")  # one token, which was stolen
        app.sessions.revoke(issued_before=time.time() + 60)  # everybody, because the key was

    It covers the connections of one process, and revocations are lost when that process ends: a revocation that has to
    last longer, or to reach several processes, belongs in a database that a guard asks. What is remembered is bounded:
    100,000 revocations, each for ``App(revocations_kept=...)`` seconds, or until the one token that it names has been
    found, and has expired. When there are more, those whose time has come are given up first, and then what was revoked
    by subject and token id becomes one revocation of all that this subject had. Name the subject with a token id: an id
    alone may be that of several, and never becomes a revocation of one subject; nor does a session, which gets further
    tokens.
    """

    def __init__(self, *, at_most: int | None, kept: float = REVOCATIONS_KEPT) -> None:
        """Begin with no connections.

        Args:
          at_most: how many connections a subject may have; any number if that is None.
          kept: for how many seconds a revocation is remembered.
        """
        self._at_most = at_most
        self._registered: set[Registration] = set()
        self._index: dict[_Key, set[Registration]] = {}
        self._revocations = Revocations(kept=kept)

    def __len__(self) -> int:
        """How many connections there are whose guards have identified them."""
        return len(self._registered)

    def revoke(
        self,
        *,
        issuer: str | None = None,
        subject: str | None = None,
        session_id: str | None = None,
        token_id: str | None = None,
        issued_before: float | None = None,
    ) -> int:
        """End the connections of all credentials that match, and refuse these credentials from now on.

        A credential matches if all arguments that are given match it. Its connections end with `Revoked`, close code
        3003; a later connection with it is refused as `Unauthorized`. A credential that does not say when it was issued
        counts as issued before any time. Call this in Trio's thread; from another thread, with
        ``trio.from_thread.run_sync``.

        Args:
          issuer: who has issued them; empty for those that name nobody. Left out, those of every issuer.
          subject: whose credentials. Without a session, a token or a time, it revokes what was issued up to now by a
            clock that may be ahead by the skew that the verifier allows: for so long (60 s) new tokens are refused too.
            Whoever logs out to log in again at once needs `session_id`.
          session_id: those of one log-in, such as a token's ``sid``.
          token_id: the id of one credential.
          issued_before: only credentials that were issued before this, in Unix time. Given alone, those of everybody;
            add the skew of the issuer's clock.

        Returns:
          How many connections end.

        Raises:
          ConfigurationError: nothing is given, which would be everybody; the time is NaN; or it is another thread.
          Unavailable: the connections end, but so much has been revoked lately that this cannot be remembered.
        """
        selection = Selection(issuer, subject, session_id, token_id)
        is_for_all = selection == _EVERYBODY
        if is_for_all and issued_before is None:
            raise ConfigurationError(
                "revoke() without an issuer, a subject, a session_id, a token_id or a time; if it is to end "
                "everybody's session, say revoke(issued_before=time.time() + 60)"
            )
        if issued_before is not None and math.isnan(issued_before):
            raise ConfigurationError("revoke(issued_before=nan) is before nothing; give a Unix time")
        if self._registered and not trio.lowlevel.in_trio_run():
            raise ConfigurationError("revoke() outside of Trio's thread; call it with trio.from_thread.run_sync()")
        before = math.inf if issued_before is None else issued_before
        found = {
            registration: matching
            for registration in self._candidates(selection)
            if (matching := registration.matching(selection, before))
        }
        ended = sum(registration.end() for registration in found)
        given = {**selection._asdict(), "issued_before": issued_before}
        by = ", ".join(name for name, value in given.items() if value is not None)
        server_log.info("revoked by %s: %d connections end", by, ended)
        if is_for_all:
            self._revocations.refuse_before(before)
        else:
            self._revocations.add(selection, issued_before, chain.from_iterable(found.values()))
        return ended

    async def renew(self, token: str) -> int:
        """Renew every connection of the token's issuer, subject and session, as `Connection.renew` renews one.

        For pages that renew a cookie that JavaScript cannot read: nobody else can hand the connection its new token. ::

            @app.page("/refresh", methods=["POST"], guard=bearer(verifier, cookie("__Host-session")))
            async def refresh(request: Request[Claims]) -> Response:
                token = issue(request.principal)
                await app.sessions.renew(token)
                return Response("renewed", cookies=[Cookie(name="__Host-session", value=token)])

        Which connections these are is looked up by what the token says, *before anything of it is verified*. Then the
        guards of each route verify it, so that a forged token renews nothing; but they are asked, so call this with
        tokens that you have verified or issued. 32 connections are asked at the same time, each has
        ``Limits.auth_timeout``, and all together have 5 seconds. A connection whose guards refuse the token keeps its
        lease; if one says `Forbidden`, or the token has been revoked, it ends with 3003. If this is cancelled, some
        are renewed and the others are as before. Call it in Trio's thread.

        Returns:
          How many have been renewed. None is no error: nobody may be connected. The log says how many there were.

        Raises:
          Unauthorized: it is no token, or it names neither a subject nor a session.
          ConfigurationError: it is another thread.
        """
        if not trio.lowlevel.in_trio_task():
            raise ConfigurationError("renew() outside of Trio's thread; call it with trio.from_thread.run()")
        await trio.lowlevel.checkpoint()
        if not is_token(token) or len(token) > MAX_TOKEN:
            raise Unauthorized("token refused: it is too long, or has characters that no token has")
        said = identity_of(token)
        identity = Identity(said.issuer, said.subject, said.session_id, None)
        found = self._candidates(Selection(None, said.subject, said.session_id, None))
        return await renew_all([connection for connection in found if connection.is_about(identity)], token)

    def _candidates(self, selection: Selection) -> set[Registration]:
        """All connections whose credentials may match, and perhaps others."""
        keys: tuple[_Key, ...] = (
            ("token", selection.token_id),
            ("session", selection.session_id),
            ("subject", selection.subject),
        )
        key = next((key for key in keys if key[1] is not None), None)
        return self._registered if key is None else self._index.get(key, set[Registration]())

    def is_revoked(self, credential: Credential, *, skew: float = 0.0) -> bool:
        """Whether `credential` would be refused; `skew` as in `Gate.identify`."""
        try:
            self._revocations.raise_if_revoked(CredentialSnapshot.of(credential, skew))
        except Unauthorized:
            return True
        return False

    def raise_if_refused(self, registration: Registration, held: CredentialSnapshot) -> None:
        """Refuse `held` for `registration` if it has been revoked, or if its subject has too many connections.

        Raises:
          Unauthorized: the credential has been revoked.
          TooManyRequests: its subject has `at_most` other connections.
        """
        self._revocations.raise_if_revoked(held)
        if held.subject is not None and self._at_most is not None:
            siblings = self._index.get(("place", held.issuer, held.subject), set[Registration]())
            if registration not in siblings and len(siblings) >= self._at_most:
                raise TooManyRequests("too many connections of one subject", retry_after=RETRY_AFTER)

    def raise_if_not_renewable(self, renewed: CredentialSnapshot) -> None:
        """Refuse `renewed`, which is about somebody who is connected, if it has been revoked.

        Raises:
          Revoked: it has been.
          Unauthorized: that is not known any more.
        """
        if self._revocations.is_revoked(renewed):
            raise Revoked
        self._revocations.raise_if_revoked(renewed)

    def reindex(
        self,
        registration: Registration,
        named: NamedCredentials,
        *,
        instead_of: NamedCredentials,
    ) -> None:
        """Index `registration` by the credentials `named`, and no longer by those that it had before, `instead_of`."""
        now = _keys_of(named)
        for gone in _keys_of(instead_of) - now:
            siblings = self._index[gone]
            siblings.discard(registration)
            if not siblings:
                del self._index[gone]
        for key in now:
            self._index.setdefault(key, set()).add(registration)
        if named.held:
            self._registered.add(registration)
        else:
            self._registered.discard(registration)


def _keys_of(named: NamedCredentials) -> set[_Key]:
    """What a connection is found by, by those of its credentials that count no more too, for a renewal."""
    keys = {key for held in named.held for key in _keys(held)}
    for gone in named.replaced:
        keys.update((kind, name) for kind, name in (("subject", gone.subject), ("session", gone.session_id)) if name)
    return keys


def _keys(held: CredentialSnapshot) -> Iterator[_Key]:
    """What a connection with this credential is found by."""
    if held.subject is not None:
        yield "subject", held.subject
        yield "place", held.issuer, held.subject
    if held.session_id is not None:
        yield "session", held.session_id
    if held.token_id is not None:
        yield "token", held.token_id


@final
class Registration:
    """One connection among the `Sessions`."""

    __slots__ = ("_lifecycle", "_named", "_sessions", "renewal")

    def __init__(self, sessions: Sessions, lifecycle: Lifecycle) -> None:
        """Begin without a credential: the connection is not among `sessions` until `identify`."""
        self._sessions = sessions
        self._lifecycle = lifecycle
        self._named = _NONE_NAMED
        self.renewal: Renewable | None = None
        """Renews the connection, if it has been let in by a token."""

    def identify(self, credential: Credential, instead_of: Credential | None, skew: float = 0.0) -> None:
        """Add `credential`, in place of `instead_of` if that is given. Raises as `Gate.identify`."""
        if self._lifecycle.ended is None:
            added = CredentialSnapshot.of(credential, skew)
            self._sessions.raise_if_refused(self, added)
            self._set_named(self._named.adding(added, instead_of))

    def raise_if_not_renewable(self, renewed: CredentialSnapshot) -> None:
        """Refuse a credential with which the connection cannot be renewed.

        Raises:
          Unauthorized: it is about nobody, or about somebody else than those of the connection.
          Revoked: it has been revoked.
        """
        identity = renewed.identity()
        if identity.is_nobody or identity not in self._named.identities():
            raise Unauthorized("the new token is about another subject")
        self._sessions.raise_if_not_renewable(renewed)

    def renew(self, renewed: NamedCredentials) -> None:
        """Hold `renewed`, which have been checked, instead of those that there were.

        Raises:
          Unauthorized: somebody whom the connection was let in as is missing among them.
          Revoked: one has been revoked since it was checked.
        """
        if self._named.identities() != renewed.identities():
            raise Unauthorized("the new token does not prove all that the first one did")
        for held in renewed.held:
            self._sessions.raise_if_not_renewable(held)
        self._set_named(renewed)

    def matching(self, selection: Selection, before: float) -> tuple[CredentialSnapshot, ...]:
        """Those of the connection's credentials that match `selection` and were issued before `before`."""
        return tuple(held for held in self._named.held if held.issued_at < before and selection.matches(held))

    def is_about(self, identity: Identity) -> bool:
        """Whether the connection was let in as `identity`, by whatever credential."""
        return identity in self._named.identities()

    async def renew_for_session(self, token: str, /) -> bool:
        """Renew the connection, if it is open and was let in by a token."""
        if self.renewal is None:
            await trio.lowlevel.checkpoint()
            return False
        return await self.renewal.renew_for_session(token)

    def end(self) -> bool:
        """End the connection. Returns as `Lifecycle.revoke`."""
        return self._lifecycle.revoke()

    def leave(self) -> None:
        """Remove the connection from the sessions, because it is over."""
        self.renewal = None  # a reference cycle would be left to the garbage collector
        if self._named.held:
            self._set_named(_NONE_NAMED)

    def _set_named(self, named: NamedCredentials) -> None:
        before, self._named = self._named, named
        self._sessions.reindex(self, named, instead_of=before)
