"""`Sessions`: who is connected by which credential, and which credentials are good no longer."""

from __future__ import annotations

import math
import time
from typing import NamedTuple, Protocol, final

from seawall.errors import ConfigurationError, TooManyRequests, Unauthorized
from seawall.life import Life
from seawall.logs import server_log

#: Revocations that are remembered one by one. The oldest of more becomes one of everything that is as old as it.
MAX_REVOCATIONS = 100_000

#: When a subject that has too many connections may try again, in seconds.
RETRY_AFTER = 5.0


class Credential(Protocol):
    """What a guard let somebody in by; `Claims` are one. What is None cannot be named when it is revoked."""

    @property
    def subject(self) -> str | None:
        """Whom it is about."""
        ...

    @property
    def token_id(self) -> str | None:
        """What tells it from all others, such as ``jti``."""
        ...

    @property
    def issued_at(self) -> float | None:
        """When it was issued, in Unix time; one that does not say counts as older than any other."""
        ...


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
    processes, belongs into a database that a guard asks.
    """

    def __init__(self, *, at_most: int | None = None) -> None:
        """Begin with nobody; a subject may have `at_most` connections."""
        self._at_most = at_most
        self._present: set[Presence] = set()
        self._subjects: dict[str, set[Presence]] = {}
        self._revoked: dict[tuple[str | None, str | None], _Revoked] = {}  # the oldest first
        self._all_before = -math.inf

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._present)

    def revoke(
        self, *, subject: str | None = None, token_id: str | None = None, issued_before: float | None = None
    ) -> int:
        """End the connections of all credentials that match, and refuse these credentials from now on.

        A credential matches if it does so in everything that is given. Its connections end with `Revoked`, close code
        3003; who comes with it later is `Unauthorized`. Call it in Trio's thread, from another one with
        ``trio.from_thread.run_sync``.

        Args:
          subject: whose. Alone, it means all that she has now: what is issued after this second is good again.
          token_id: which one.
          issued_before: only what is older than this, in Unix time; alone, everybody's.

        Returns:
          How many connections it has ended.

        Raises:
          ConfigurationError: nothing is given, which would be everybody, or the time is NaN.
        """
        if subject is None and token_id is None and issued_before is None:
            raise ConfigurationError(
                "revoke() without a subject, a token_id or a time; if it is to end everybody's session, say "
                "revoke(issued_before=time.time())"
            )
        if issued_before is not None and math.isnan(issued_before):
            raise ConfigurationError("revoke(issued_before=nan) is before nothing; give a Unix time")
        now = time.time()
        default = now if token_id is None else math.inf
        self._remember(subject, token_id, _Revoked(default if issued_before is None else issued_before, now))
        before = math.inf if issued_before is None else issued_before
        asked = self._present if subject is None else self._subjects.get(subject, set[Presence]())
        found = [presence for presence in asked if presence.holds(subject, token_id, before)]
        ended = sum(presence.end() for presence in found)
        given = {"subject": subject, "token_id": token_id, "issued_before": issued_before}
        by = ", ".join(name for name, value in given.items() if value is not None)
        server_log.info("revoked by %s: %d connections ended", by, ended)
        return ended

    def _remember(self, subject: str | None, token_id: str | None, revoked: _Revoked) -> None:
        if subject is None and token_id is None:
            self._all_before = max(self._all_before, revoked.before)
            return
        known = self._revoked.pop((subject, token_id), revoked)
        self._revoked[subject, token_id] = revoked._replace(before=max(revoked.before, known.before))
        if len(self._revoked) > MAX_REVOCATIONS:
            oldest = self._revoked.pop(next(iter(self._revoked)))
            self._all_before = max(self._all_before, min(oldest))

    def is_revoked(self, credential: Credential) -> bool:
        """Whether `credential` is good no longer."""
        issued_at, subject, token_id = _issued_at(credential), credential.subject, credential.token_id
        if issued_at < self._all_before:
            return True
        for key in ((subject, None), (None, token_id), (subject, token_id)):
            revoked = self._revoked.get(key)
            if revoked is not None and issued_at < revoked.before:
                return True
        return False

    def admit(self, presence: Presence, credential: Credential) -> None:
        """Count `presence` as one of the subject's connections.

        Raises:
          Unauthorized: the credential is good no longer.
          TooManyRequests: the subject has too many connections.
        """
        if self.is_revoked(credential):
            raise Unauthorized("the credential was revoked")
        if credential.subject is not None:
            siblings = self._subjects.get(credential.subject, set[Presence]())
            if self._at_most is not None and presence not in siblings and len(siblings) >= self._at_most:
                raise TooManyRequests("too many connections of one subject", retry_after=RETRY_AFTER)
            siblings.add(presence)
            self._subjects[credential.subject] = siblings
        self._present.add(presence)

    def leave(self, presence: Presence) -> None:
        """Forget `presence`, which is there by nothing any more."""
        self._present.discard(presence)

    def forget(self, presence: Presence, subject: str | None) -> None:
        """`presence` is no longer one of the connections of `subject`."""
        if subject is not None:
            siblings = self._subjects[subject]
            siblings.remove(presence)
            if not siblings:
                del self._subjects[subject]


@final
class Presence:
    """One connection among the `Sessions`."""

    __slots__ = ("_credentials", "_life", "_sessions")

    def __init__(self, sessions: Sessions, life: Life) -> None:
        """Not there yet."""
        self._sessions = sessions
        self._life = life
        self._credentials: tuple[Credential, ...] = ()

    def identify(self, credential: Credential, instead_of: Credential | None) -> None:
        """Be there by `credential`, and by the one before no more. Raises as `Sessions.admit`."""
        if self._life.outcome is None:
            self._sessions.admit(self, credential)
            self._hold((*(held for held in self._credentials if held is not instead_of), credential))

    def holds(self, subject: str | None, token_id: str | None, before: float) -> bool:
        """Whether it is there by a credential of `subject`, with this `token_id`, issued `before`."""
        return any(
            subject in {None, held.subject} and token_id in {None, held.token_id} and _issued_at(held) < before
            for held in self._credentials
        )

    def end(self) -> bool:
        """End the connection; whether it was not over yet."""
        return self._life.revoke()

    def leave(self) -> None:
        """The connection is over."""
        if self._credentials:
            self._hold(())
            self._sessions.leave(self)

    def _hold(self, credentials: tuple[Credential, ...]) -> None:
        subjects = {held.subject for held in self._credentials}
        self._credentials = credentials
        for gone in subjects - {held.subject for held in credentials}:
            self._sessions.forget(self, gone)


def _issued_at(credential: Credential) -> float:
    return -math.inf if credential.issued_at is None else credential.issued_at
