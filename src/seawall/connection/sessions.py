"""`Sessions`: who is connected by which credential, and which credentials are good no longer."""

from __future__ import annotations

import math
from typing import NamedTuple, cast, final

import trio

from seawall.clock import unix_time
from seawall.connection.lifecycle import Lifecycle
from seawall.errors import ConfigurationError, TooManyRequests, Unauthorized
from seawall.guards.credential import Credential
from seawall.observability.logs import server_log

#: Revocations that are remembered one by one. The oldest of more becomes one of everything that is as old as it.
MAX_REVOCATIONS = 100_000

#: When a subject that has too many connections may try again, in seconds.
RETRY_AFTER = 5.0


class _Held(NamedTuple):
    """A credential as it was when somebody was let in by it, because the one that was given may change."""

    subject: str | None
    token_id: str | None
    issued_at: float

    @classmethod
    def of(cls, credential: Credential) -> _Held:
        at = credential.issued_at
        is_known = at is not None and math.isfinite(at)
        return cls(credential.subject, credential.token_id, at if at is not None and is_known else -math.inf)


class _Revoked(NamedTuple):
    before: float
    at: float


@final
class Sessions:
    """The connections of an app whose guards have said by which credential; see `App.sessions` and `Gate.identify`.

    ::

        app.sessions.revoke(subject="ada")  # logged out, everywhere
        app.sessions.revoke(token_id="7f3a")  # one token, which was stolen
        app.sessions.revoke(issued_before=time.time())  # everybody, because the key was

    It knows the connections of its own process, and forgets when that ends: what is revoked for longer, or for several
    processes, belongs in a database that a guard asks. Subjects are told apart by their name alone: of two issuers
    that both know an ``ada``, both are meant.
    """

    def __init__(self, *, at_most: int | None) -> None:
        """Begin with nobody; a subject may have `at_most` connections."""
        self._at_most = at_most
        self._registered: set[Registration] = set()
        self._subjects: dict[str, set[Registration]] = {}
        self._tokens: dict[str, set[Registration]] = {}
        self._revoked: dict[tuple[str | None, str | None], _Revoked] = {}  # the oldest first
        self._all_before = -math.inf
        self._forgets = False

    def __len__(self) -> int:
        """How many connections there are whose guards have identified them."""
        return len(self._registered)

    def revoke(
        self, *, subject: str | None = None, token_id: str | None = None, issued_before: float | None = None
    ) -> int:
        """End the connections of all credentials that match, and refuse these credentials from now on.

        A credential matches if it does so in everything that is given. Its connections end with `Revoked`, close code
        3003; who comes with it later is `Unauthorized`. A credential that does not say when it was issued is older than
        any time. Call it in Trio's thread, from another one with ``trio.from_thread.run_sync``.

        Args:
          subject: whose. Alone, it means what was issued up to now, by the issuer's clock; what comes later is good. An
            ``iat`` in whole seconds is the beginning of its second: a new token is refused until the next one begins,
            unless its ``iat`` has a fraction.
          token_id: which one.
          issued_before: only what is older than this, in Unix time; alone, everybody's.

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
        if issued_before is None and token_id is None:  # what she has now; a clock that is ahead does not save it
            before = max(unix_time(), math.nextafter(newest, math.inf))
        self._remember(subject, token_id, _Revoked(before, unix_time()))
        ended = sum(registration.end() for registration, at in found.items() if at is not None)
        given = {"subject": subject, "token_id": token_id, "issued_before": issued_before}
        by = ", ".join(name for name, value in given.items() if value is not None)
        server_log.info("revoked by %s: %d connections end", by, ended)
        return ended

    def _candidates(self, subject: str | None, token_id: str | None) -> set[Registration]:
        """All that may match, and perhaps others."""
        if token_id is not None:
            return self._tokens.get(token_id, set[Registration]())
        return self._registered if subject is None else self._subjects.get(subject, set[Registration]())

    def _remember(self, subject: str | None, token_id: str | None, revoked: _Revoked) -> None:
        if subject is None and token_id is None:
            self._all_before = max(self._all_before, revoked.before)
            return
        known = self._revoked.pop((subject, token_id), revoked)
        self._revoked[subject, token_id] = revoked._replace(before=max(revoked.before, known.before))
        if len(self._revoked) > MAX_REVOCATIONS:
            oldest = self._revoked.pop(next(iter(self._revoked)))
            self._all_before = max(self._all_before, min(oldest.before, oldest.at))
            if not self._forgets:
                self._forgets = True
                server_log.warning(
                    "more than %d revocations: credentials as old as the oldest of them are now all refused",
                    MAX_REVOCATIONS,
                )

    def is_revoked(self, credential: Credential) -> bool:
        """Whether `credential` is good no longer."""
        subject, token_id, issued_at = _Held.of(credential)
        if issued_at < self._all_before:
            return True
        for key in ((subject, None), (None, token_id), (subject, token_id)):
            revoked = self._revoked.get(key)
            if revoked is not None and issued_at < revoked.before:
                return True
        return False

    def check(self, registration: Registration, credential: Credential) -> None:
        """Look whether `registration` may be there by `credential`.

        Raises:
          Unauthorized: it is good no longer.
          TooManyRequests: its subject has too many connections.
        """
        if self.is_revoked(credential):
            raise Unauthorized("the credential was revoked")
        if credential.subject is not None and self._at_most is not None:
            siblings = self._subjects.get(credential.subject, set[Registration]())
            if registration not in siblings and len(siblings) >= self._at_most:
                raise TooManyRequests("too many connections of one subject", retry_after=RETRY_AFTER)

    def keep(self, registration: Registration, held: tuple[_Held, ...], *, instead_of: tuple[_Held, ...]) -> None:
        """Note by what `registration` is there now, and what it is there by no more."""
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

    __slots__ = ("_held", "_lifecycle", "_sessions")

    def __init__(self, sessions: Sessions, lifecycle: Lifecycle) -> None:
        """Not there yet."""
        self._sessions = sessions
        self._lifecycle = lifecycle
        self._held: tuple[_Held, ...] = ()

    def identify(self, credential: Credential, instead_of: Credential | None) -> None:
        """Be there by `credential` too, or instead of another one. Raises as `Sessions.check`."""
        if self._lifecycle.ended is None:
            self._sessions.check(self, credential)
            gone = None if instead_of is None else _Held.of(instead_of)
            self._hold((*(held for held in self._held if held != gone), _Held.of(credential)))

    def newest(self, subject: str | None, token_id: str | None, before: float) -> float | None:
        """When the newest credential by which it is there was issued that matches; None if none does."""
        matching = (
            held.issued_at
            for held in self._held
            if subject in {None, held.subject} and token_id in {None, held.token_id} and held.issued_at < before
        )
        return max(matching, default=None)

    def end(self) -> bool:
        """End the connection; whether it was not over yet."""
        return self._lifecycle.revoke()

    def leave(self) -> None:
        """The connection is over."""
        if self._held:
            self._hold(())

    def _hold(self, held: tuple[_Held, ...]) -> None:
        before, self._held = self._held, held
        self._sessions.keep(self, held, instead_of=before)
