"""`TokenIssuer`: issues the tokens of an application that is its own issuer."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterable, Mapping
from hmac import compare_digest
from typing import Final, TypeVar, assert_never, final

from attrs import field, frozen

from seawall.clock import unix_time
from seawall.errors import ConfigurationError, RefreshTokenReused, Unauthorized
from seawall.guards.jwt.claims import AnyClaims, Claims
from seawall.guards.jwt.key_ring import KeyRing
from seawall.guards.jwt.one_issuer import MAX_TOKEN
from seawall.guards.jwt.rules import Rules
from seawall.guards.jwt.signing import SigningKey
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.login.contents import checked_contents, checked_names, checked_seconds
from seawall.login.memory_sessions import MemorySessions
from seawall.login.refresh_token import RefreshToken
from seawall.login.session_store import Reused, Rotated, SessionStore, StoredSession
from seawall.mistakes import check_methods

C = TypeVar("C", bound=AnyClaims)

#: The ``typ`` of access tokens (RFC 9068, section 2.1), so that no other token of the issuer passes for one.
ACCESS_TYPE: Final = "at+jwt"

#: Seconds that an access token may live: what a `TokenVerifier` accepts.
MAX_ACCESS_LIFETIME: Final = 86_400.0

#: What the server's key is derived by, with which the successor of a refresh token is made.
_SUCCESSOR: Final = b"seawall: successor of a refresh token"

#: Bytes of chance in a session id, and in the id of a token.
_ID_SIZE: Final = 16


@final
@frozen(kw_only=True)
class Tokens:
    """What a client gets when it logs in, and each time that it renews."""

    access: str = field(repr=False)
    """The access token, for minutes: a JSON Web Token, which `TokenIssuer.verifier` verifies."""
    refresh: str = field(repr=False)
    """The refresh token, which `TokenIssuer.rotate` takes once; text of 65 characters that says nothing."""
    session_id: str
    """The ``sid`` of all access tokens of the session."""
    subject: str
    """Whose tokens they are."""
    access_expires_at: float
    """When the access token expires, in Unix time."""
    refresh_expires_at: float
    """When the session ends, however often it is renewed, in Unix time."""


@final
class TokenIssuer:
    """Issues tokens, for an application that is its own issuer, and knows how they are verified.

    ::

        issuer = TokenIssuer(secret, issuer="https://chat.example", audience="chat")
        member = bearer(issuer.verifier)
        tokens = await issuer.begin("ada", scopes=["chat:write"])
        tokens = await issuer.rotate(tokens.refresh)

    A session begins with a log-in. It has access tokens that live for minutes, and one refresh token at a time, which
    is exchanged once for the next pair. Used again within 10 s, it gives the same pair once more: the same refresh
    token, and an access token of the same claims; also from another process and after a restart, if the store outlives
    it. So does the refresh token of that pair: within 10 s all tabs of a browser have the same, however their requests
    overtake each other. Whoever presents it later, or any other of the session, has a copy, or somebody else has: the
    session is deleted, and `RefreshTokenReused` says which it was (RFC 9700, section 4.14.2). Whatever happens, the
    session ends `refresh_lifetime` after the log-in.

    Raises:
      ConfigurationError: the key cannot sign, or protects nothing; the issuer or the audience is not named; a lifetime
        is no number of seconds, the access token's is longer than a day, or the refresh token's is shorter than it.
    """

    def __init__(
        self,
        key: str | bytes | SigningKey,
        *,
        issuer: str,
        audience: str | Iterable[str],
        access_lifetime: float = 600.0,
        refresh_lifetime: float = 2_592_000.0,
        store: SessionStore | None = None,
        previous: Iterable[SigningKey | str | bytes] = (),
    ) -> None:
        """Issue tokens that are signed with `key`.

        Args:
          key: a secret for HS256, of 32 bytes at least; or a `SigningKey` for any other algorithm.
          issuer: the ``iss`` of the tokens: who we are.
          audience: their ``aud``: whom they are for. One of them, or all, which each token names.
          access_lifetime: seconds from the issue of an access token to its ``exp``. Less than 20 leave too little
            beside the 10 in which `rotate` gives the same again.
          refresh_lifetime: seconds from the log-in to the end of the session.
          store: where the sessions are kept; `MemorySessions()` by default. Several issuers may share one: the refresh
            tokens of one are unknown to another, if their `issuer` or their `audience` differs.
          previous: keys whose tokens are good too. To replace a key, give the new one here on every server, then
            exchange the two, and leave the old one out when the last access token that it has signed has expired.
        """
        self._key, *_ = self._keys = tuple(_signing_key(each) for each in (key, *previous))
        audiences = checked_names("audience", (audience,) if isinstance(audience, str) else audience)
        (self._issuer,) = checked_names("issuer", (issuer,))
        self._owner = (self._issuer, *sorted(audiences))
        self._audience = audiences[0] if len(audiences) == 1 else list(audiences)
        self._access_lifetime = checked_seconds("access_lifetime", access_lifetime, 1.0, MAX_ACCESS_LIFETIME)
        self._refresh_lifetime = checked_seconds("refresh_lifetime", refresh_lifetime, access_lifetime, math.inf)
        if store is not None:
            check_methods("TokenIssuer(store=...)", store, "add", "rotate", "delete", "delete_subject")
        self._store: SessionStore = MemorySessions() if store is None else store
        self._ring = KeyRing(*(each.verifying for each in self._keys))
        self._rules = Rules(
            algorithms=tuple(dict.fromkeys(each.algorithm for each in self._keys)),
            audience=audiences,
            issuer=self._issuer,
            type=ACCESS_TYPE,
        )
        self._verifier: TokenVerifier[Claims] = TokenVerifier(self._ring, **self._rules)

    def __repr__(self) -> str:
        """Who issues for whom, without a secret."""
        return f"TokenIssuer({self._key!r}, issuer={self._issuer!r}, audience={self._audience!r})"

    @property
    def verifier(self) -> TokenVerifier[Claims]:
        """What verifies the access tokens: their signature, type, audience and issuer. It refuses all others."""
        return self._verifier

    @property
    def issuer(self) -> str:
        """Who issues: the ``iss`` of the tokens."""
        return self._issuer

    @property
    def refresh_lifetime(self) -> float:
        """Seconds from a log-in to the end of its session."""
        return self._refresh_lifetime

    def verifier_of(self, claims: type[C]) -> TokenVerifier[C]:
        """The same, for claims of an application's own, which it has given to `begin`.

        Args:
          claims: a class, as a `TokenVerifier` takes it.

        Raises:
          ConfigurationError: the class cannot be filled from a token.
        """
        return TokenVerifier(self._ring, claims=claims, **self._rules)

    def access(
        self,
        subject: str,
        *,
        session_id: str | None = None,
        lifetime: float | None = None,
        scopes: Iterable[str] = (),
        **claims: object,
    ) -> str:
        """An access token alone, without a session: nothing is stored, and there is no refresh token.

        Args:
          subject: its ``sub``: whom it is about.
          session_id: its ``sid``; none if left out.
          lifetime: seconds until its ``exp``, a day at most; those of the issuer if left out.
          scopes: its ``scope``.
          claims: what else it says, as JSON.

        Raises:
          ConfigurationError: the subject is no text, or empty; a scope is no word; a claim is one that is written here,
            such as ``exp``, or cannot be JSON; the token is longer than a verifier takes (8 KiB); the lifetime is no
            number of seconds.
        """
        seconds = self._access_lifetime
        if lifetime is not None:
            seconds = checked_seconds("lifetime", lifetime, 1.0, MAX_ACCESS_LIFETIME)
        contents = checked_contents(subject, scopes, claims)
        now = unix_time()
        said: dict[str, object] = {} if session_id is None else {"sid": session_id}
        said |= {"iat": math.floor(now), "exp": math.floor(now + seconds), "jti": secrets.token_urlsafe(_ID_SIZE)}
        return self._signed(subject, contents, said)

    async def begin(
        self, subject: str, *, scopes: Iterable[str] = (), claims: Mapping[str, object] | None = None
    ) -> Tokens:
        """Begin a session: somebody has logged in. Its id is always a new one, which nobody can know beforehand.

        Args:
          subject: who it is.
          scopes: the ``scope`` of all access tokens of the session.
          claims: what else they say, as JSON. It stays as it is while the session lasts: what may change, such as
            roles, is better looked up by a guard.

        Raises:
          ConfigurationError: as `access`.
          Unavailable: the session cannot be stored.
        """
        contents = checked_contents(subject, scopes, {} if claims is None else claims)
        now = unix_time()
        token = RefreshToken.drawn()
        session = StoredSession(
            session_id=secrets.token_urlsafe(_ID_SIZE),
            issuer=self._issuer,
            subject=subject,
            claims=contents,
            ends_at=math.floor(now) + self._refresh_lifetime,
            family=token.family(self._owner),
            current=token.digest,
            used_at=now,
        )
        tokens = self._tokens(session, token)
        await self._store.add(session)
        return tokens

    async def rotate(self, refresh_token: str, /) -> Tokens:
        """Exchange a refresh token for the next pair. If the call is cancelled, it can be made again within 10 s.

        Raises:
          RefreshTokenReused: it was exchanged before, more than 10 s ago or for a token that has been exchanged since.
            The session has been deleted; whoever has one of its access tokens still gets in until it expires, unless
            it is revoked.
          Unauthorized: it is none, its session has ended, or nothing is known of it.
          Unavailable: the store cannot be asked now.
        """
        token = RefreshToken.parsed(refresh_token)
        successors = [token.successor(key.derived(_SUCCESSOR)) for key in self._keys]
        family = token.family(self._owner)
        rotation = await self._store.rotate(family, token.digest, successors[0].digest, unix_time())
        match rotation:
            case None:
                raise Unauthorized("refresh token refused: its session has ended, or there was none")
            case Reused(session):
                raise RefreshTokenReused(session_id=session.session_id, subject=session.subject)
            case Rotated(session):
                for now_current in (*successors, token):  # made with a key of before, or just given out itself
                    if compare_digest(now_current.digest, session.current):
                        return self._tokens(session, now_current)
                raise Unauthorized("refresh token refused: it was exchanged by a server with another key")
            case _:
                assert_never(rotation)

    async def end(self, session_id: str) -> None:
        """End a session, if there is one: its refresh token is worth nothing from then on.

        Its access tokens are good until they expire, unless they are revoked as well:
        ``await app.sessions.revoke(session_id=...)``.

        Raises:
          Unavailable: the store cannot do it now.
        """
        await self._store.delete(session_id)

    async def end_all(self, subject: str) -> tuple[str, ...]:
        """End all sessions of a subject, and return their ids, so that their access tokens can be revoked as well.

        Raises:
          Unavailable: the store cannot do it now.
        """
        return await self._store.delete_subject(self._issuer, subject)

    def _tokens(self, session: StoredSession, refresh: RefreshToken) -> Tokens:
        """The pair that `refresh` belongs to. It follows from the two, whoever makes it and whenever."""
        expires_at = math.floor(min(session.used_at + self._access_lifetime, session.ends_at))
        issued_at = math.floor(session.used_at)
        said = {"iat": issued_at, "exp": expires_at, "jti": refresh.access_id, "sid": session.session_id}
        return Tokens(
            access=self._signed(session.subject, session.claims, said),
            refresh=refresh.text,
            session_id=session.session_id,
            subject=session.subject,
            access_expires_at=expires_at,
            refresh_expires_at=session.ends_at,
        )

    def _signed(self, subject: str, contents: str, said: Mapping[str, object]) -> str:
        """A token that says `contents`, which is a JSON object, and `said`."""
        written = {"iss": self._issuer, "aud": self._audience, "sub": subject, **said}
        payload: dict[str, object] = {**json.loads(contents), **written}
        token = self._key.sign(payload, type=ACCESS_TYPE)
        if len(token) > MAX_TOKEN:
            raise ConfigurationError(
                f"TokenIssuer: a token of {len(token)} characters, and none of more than {MAX_TOKEN} is accepted; keep "
                "what it says in a database, and look it up in a guard"
            )
        return token


def derived_keys(issuer: TokenIssuer, label: bytes) -> tuple[bytes, ...]:
    """Secrets of 32 bytes that only who has the keys of `issuer` knows: of its own key, and of each of before.

    Args:
      issuer: whose they are; two with the same keys have the same only if they issue for the same audience, too.
      label: what they are for.
    """
    whole = label + b": " + json.dumps(issuer._owner).encode()  # pyright: ignore[reportPrivateUsage] # its own module
    return tuple(key.derived(whole) for key in issuer._keys)  # pyright: ignore[reportPrivateUsage] # as above


def _signing_key(key: str | bytes | SigningKey) -> SigningKey:
    return key if isinstance(key, SigningKey) else SigningKey(None, key, "HS256")
