"""`Sessions`: which connections were let in by which credentials, and which credentials have been revoked."""

from __future__ import annotations

import math
from typing import NamedTuple, cast, final

import trio

from seawall.clock import unix_time
from seawall.connection.lifecycle import Lifecycle
from seawall.errors import ConfigurationError, TooManyRequests, Unauthorized
from seawall.guards.credential import Credential
from seawall.observability.logs import server_log

#: Revocations that are remembered one by one. When there are more, the oldest is replaced by the refusal of every
#: credential that was issued before it.
MAX_REVOCATIONS = 100_000

#: When a subject that has too many connections may try again, in seconds.
RETRY_AFTER = 5.0


class _CredentialSnapshot(NamedTuple):
    """What is known of a credential when a connection is let in by it. The credential itself may change afterwards."""

    subject: str | None
    token_id: str | None
    issued_at: float

    @classmethod
    def of(cls, credential: Credential) -> _CredentialSnapshot:
        at = credential.issued_at
        is_known = at is not None and math.isfinite(at)
        return cls(credential.subject, credential.token_id, at if at is not None and is_known else -math.inf)


class _Revocation(NamedTuple):
    """One call of `Sessions.revoke`."""

    issued_before: float
    """Credentials that were issued before this are revoked; Unix time, as the next."""
    revoked_at: float
    """When it was called."""


@final
class Sessions:
    """The connections of an app whose guards have named the credential; see `App.sessions` and `Gate.identify`.

    ::

        app.sessions.revoke(subject="ada")  # logged out, everywhere
        app.sessions.revoke(token_id="7f3a")  # one token, which was stolen
        app.sessions.revoke(issued_before=time.time())  # everybody, because the key was

    It covers the connections of one process, and revocations are lost when that process ends: a revocation that has to
    last longer, or to reach several processes, belongs in a database that a guard asks. Subjects are compared by their
    names alone: if two issuers both have an ``ada``, revoking ``ada`` revokes both.
    """

    def __init__(self, *, at_most: int | None) -> None:
        """Begin with no connections; a subject may have `at_most`, or any number if that is None."""
        self._at_most = at_most
        self._registered: set[Registration] = set()
        self._subjects: dict[str, set[Registration]] = {}
        self._tokens: dict[str, set[Registration]] = {}
        self._revoked: dict[tuple[str | None, str | None], _Revocation] = {}  # the oldest first
        self._all_before = -math.inf
        self._warned_overflow = False

    def __len__(self) -> int:
        """How many connections there are whose guards have identified them."""
        return len(self._registered)

    def revoke(
        self, *, subject: str | None = None, token_id: str | None = None, issued_before: float | None = None
    ) -> int:
        """End the connections of all credentials that match, and refuse these credentials from now on.

        A credential matches if all arguments that are given match it. Its connections end with `Revoked`, close code
        3003; a later connection with it is refused as `Unauthorized`. A credential that does not say when it was issued
        counts as issued before any time. Call this in Trio's thread; from another thread, with
        ``trio.from_thread.run_sync``.

        Args:
          subject: whose credentials. Given alone, it revokes what was issued up to now, by the issuer's clock; what is
            issued later is valid. An ``iat`` in whole seconds means the beginning of its second: a new token is refused
            until the next second begins, unless its ``iat`` has a fraction.
          token_id: the id of one credential.
          issued_before: only credentials that were issued before this, in Unix time. Given alone, those of everybody.

        Returns:
          How many connections end.

        Raises:
          ConfigurationError: nothing is given, which would be everybody; the time is NaN; or it is another thread.
        """
        if subject is None and token_id is None and issued_before is None:
            raise ConfigurationError(
                "revoke() without a subject, a token_id or a time; if it is to end everybody's session, say "
                "revoke(issued_before=time.time())"
            )
        if issued_before is not None and math.isnan(issued_before):
            raise ConfigurationError("revoke(issued_before=nan) is before nothing; give a Unix time")
        if self._registered and not trio.lowlevel.in_trio_run():
            raise ConfigurationError("revoke() outside of Trio's thread; call it with trio.from_thread.run_sync()")
        before = math.inf if issued_before is None else issued_before
        found = {
            registration: registration.newest(subject, token_id, before)
            for registration in self._candidates(subject, token_id)
        }
        newest = max((at for at in found.values() if at is not None), default=-math.inf)
        if issued_before is None and token_id is None:  # what there is now, even if the issuer's clock is ahead
            before = max(unix_time(), math.nextafter(newest, math.inf))
        self._remember(subject, token_id, _Revocation(before, unix_time()))
        ended = sum(registration.end() for registration, at in found.items() if at is not None)
        given = {"subject": subject, "token_id": token_id, "issued_before": issued_before}
        by = ", ".join(name for name, value in given.items() if value is not None)
        server_log.info("revoked by %s: %d connections end", by, ended)
        return ended

    def _candidates(self, subject: str | None, token_id: str | None) -> set[Registration]:
        """All connections whose credentials may match, and perhaps others."""
        if token_id is not None:
            return self._tokens.get(token_id, set[Registration]())
        return self._registered if subject is None else self._subjects.get(subject, set[Registration]())

    def _remember(self, subject: str | None, token_id: str | None, revoked: _Revocation) -> None:
        if subject is None and token_id is None:
            self._all_before = max(self._all_before, revoked.issued_before)
            return
        known = self._revoked.pop((subject, token_id), revoked)
        self._revoked[subject, token_id] = revoked._replace(
            issued_before=max(revoked.issued_before, known.issued_before)
        )
        if len(self._revoked) > MAX_REVOCATIONS:
            oldest = self._revoked.pop(next(iter(self._revoked)))
            self._all_before = max(self._all_before, min(oldest.issued_before, oldest.revoked_at))
            if not self._warned_overflow:
                self._warned_overflow = True
                server_log.warning(
                    "more than %d revocations: credentials as old as the oldest of them are now all refused",
                    MAX_REVOCATIONS,
                )

    def is_revoked(self, credential: Credential) -> bool:
        """Whether `credential` has been revoked."""
        subject, token_id, issued_at = _CredentialSnapshot.of(credential)
        if issued_at < self._all_before:
            return True
        for key in ((subject, None), (None, token_id), (subject, token_id)):
            revoked = self._revoked.get(key)
            if revoked is not None and issued_at < revoked.issued_before:
                return True
        return False

    def raise_if_refused(self, registration: Registration, credential: Credential) -> None:
        """Refuse `credential` for `registration` if it has been revoked, or if its subject has too many connections.

        Raises:
          Unauthorized: the credential has been revoked.
          TooManyRequests: its subject has `at_most` other connections.
        """
        if self.is_revoked(credential):
            raise Unauthorized("the credential was revoked")
        if credential.subject is not None and self._at_most is not None:
            siblings = self._subjects.get(credential.subject, set[Registration]())
            if registration not in siblings and len(siblings) >= self._at_most:
                raise TooManyRequests("too many connections of one subject", retry_after=RETRY_AFTER)

    def reindex(
        self,
        registration: Registration,
        held: tuple[_CredentialSnapshot, ...],
        *,
        instead_of: tuple[_CredentialSnapshot, ...],
    ) -> None:
        """Index `registration` by the credentials `held`, and no longer by those that it had before, `instead_of`."""
        for index, place in ((self._subjects, 0), (self._tokens, 1)):
            now = {entry[place] for entry in held} - {None}
            for gone in {entry[place] for entry in instead_of} - {None} - now:
                siblings = index[cast("str", gone)]
                siblings.discard(registration)
                if not siblings:
                    del index[cast("str", gone)]
            for name in now:
                index.setdefault(cast("str", name), set()).add(registration)
        if held:
            self._registered.add(registration)
        else:
            self._registered.discard(registration)


@final
class Registration:
    """One connection among the `Sessions`."""

    __slots__ = ("_credentials", "_lifecycle", "_sessions")

    def __init__(self, sessions: Sessions, lifecycle: Lifecycle) -> None:
        """Begin without a credential: the connection is not among `sessions` until `identify`."""
        self._sessions = sessions
        self._lifecycle = lifecycle
        self._credentials: tuple[_CredentialSnapshot, ...] = ()

    def identify(self, credential: Credential, instead_of: Credential | None) -> None:
        """Add `credential`, in place of `instead_of` if that is given. Raises as `Sessions.raise_if_refused`."""
        if self._lifecycle.ended is None:
            self._sessions.raise_if_refused(self, credential)
            gone = None if instead_of is None else _CredentialSnapshot.of(instead_of)
            self._set_credentials(
                (*(held for held in self._credentials if held != gone), _CredentialSnapshot.of(credential))
            )

    def newest(self, subject: str | None, token_id: str | None, before: float) -> float | None:
        """When the newest of the connection's credentials that match was issued; None if none matches.

        A credential matches if it has the subject and the id that are given, and was issued before `before`.
        """
        matching = (
            held.issued_at
            for held in self._credentials
            if subject in {None, held.subject} and token_id in {None, held.token_id} and held.issued_at < before
        )
        return max(matching, default=None)

    def end(self) -> bool:
        """End the connection. Returns as `Lifecycle.revoke`."""
        return self._lifecycle.revoke()

    def leave(self) -> None:
        """Remove the connection from the sessions, because it is over."""
        if self._credentials:
            self._set_credentials(())

    def _set_credentials(self, held: tuple[_CredentialSnapshot, ...]) -> None:
        before, self._credentials = self._credentials, held
        self._sessions.reindex(self, held, instead_of=before)
