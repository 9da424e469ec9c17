"""`bearer` and `first_message`: guards that prove `Claims` from a token."""

from __future__ import annotations

import re
from typing import Final, final

from attrs import frozen

from seawall.errors import ConfigurationError, NoCredentials, Unauthorized
from seawall.guards.auth_message import token_in
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Guard
from seawall.guards.jwt.claims import Claims
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.guards.requirements import CookieKey, FirstMessage, HttpBearer, Requirement, Requirements
from seawall.guards.token_source import FromCookie, FromHeader, FromMessage, TokenGate, TokenSource
from seawall.handshake import Handshake
from seawall.http.request import TOKEN
from seawall.mistakes import is_text

#: A cookie's name (RFC 6265, section 4.1.1).
_NAME: Final = re.compile(TOKEN)

#: How an ``Authorization`` with the scheme ``Bearer`` begins. With another byte behind it, it is meant for that too.
_BEARER: Final = re.compile(rf"bearer(?!{TOKEN})", re.IGNORECASE)

#: What has the shape of a JWT: three parts, the first of which has JSON's ``{"`` in base64, also with a word before it.
#: A header has 16 characters in base64 and more. The time is linear in the length of what is searched.
_JWT: Final = re.compile(r"(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]*e[wy][A-Za-z0-9_-]{14})[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.")


def bearer(verifier: TokenVerifier, *, cookie: str | None = None) -> Guard[Anonymous, Claims]:
    """Take the token from ``Authorization: Bearer`` (RFC 6750, section 2.1), or from a cookie.

    The connection is leased until the token expires, and can be renewed with `Connection.renew`: then the new token
    stands where the old one was found.

    Args:
      verifier: says which tokens are good.
      cookie: the name of a cookie to look into when there is no such header, for browsers, whose JavaScript cannot
        set headers on a WebSocket. The route's origins keep other sites from using it. Two cookies of the name are
        refused, because the browser does not say who has set which.

    Raises:
      ConfigurationError: `cookie` is not a name that a cookie can have.
    """
    _check_verifier("bearer", verifier)
    if cookie is not None and not (is_text(cookie) and _NAME.fullmatch(cookie)):
        raise ConfigurationError(f"bearer(cookie={cookie!r}): no cookie can have this name; give one such as 'session'")
    return _Bearer(verifier, cookie)


def first_message(verifier: TokenVerifier) -> Guard[Anonymous, Claims]:
    """Accept the upgrade and take the token from the first message, for browsers without a cookie.

    The message is the token, as text, or on a route whose codec is `JSON` also ``{"type": "auth", "token": "..."}``.

    A refusal is then a close code with a reason, which JavaScript can read; it cannot read the status of a refused
    handshake. The connection is leased until the token expires, and can be renewed with `Connection.renew`.
    """
    _check_verifier("first_message", verifier)
    return _FirstMessage(verifier)


@final
@frozen
class _Bearer(Guard[Anonymous, Claims]):
    verifier: TokenVerifier
    cookie: str | None

    async def admit(self, gate: Gate, proved: Anonymous, /) -> Claims:
        source: TokenSource = FromHeader()
        token = _from_header(gate.handshake)
        if token is None and self.cookie is not None:
            source, token = FromCookie(self.cookie), _from_cookie(gate.handshake, self.cookie)
        if not token:
            raise NoCredentials
        return _admit(gate, self.verifier, token, source)

    def describe(self) -> Requirements:
        header = (Requirement(text="a token in Authorization: Bearer", scheme=HttpBearer()),)
        if self.cookie is None:
            return (header,)
        return (header, (Requirement(text=f"a token in the cookie {self.cookie}", scheme=CookieKey(self.cookie)),))

    def needs_task(self) -> bool:
        return False

    def reads_cookie(self) -> bool:
        return self.cookie is not None

    def takes_token(self) -> bool:
        return True


@final
@frozen
class _FirstMessage(Guard[Anonymous, Claims]):
    verifier: TokenVerifier

    async def admit(self, gate: Gate, proved: Anonymous, /) -> Claims:
        await gate.accept()
        token = gate.renewed_message() if isinstance(gate, TokenGate) else None
        if token is None:
            token = (await gate.receive_text()).strip(" \t\r\n")
            if isinstance(gate, TokenGate) and gate.speaks_json:
                token = token_in(token)
        return _admit(gate, self.verifier, token, FromMessage())

    def describe(self) -> Requirements:
        return ((Requirement(text="a token as the first message", scheme=FirstMessage()),),)

    def needs_task(self) -> bool:
        return False

    def takes_token(self) -> bool:
        return True

    def accepts(self) -> bool:
        return True

    def may_find_nothing(self) -> bool:
        return False  # without a message the peer has gone, or the time for authentication has passed


def _check_verifier(name: str, verifier: object) -> None:
    """Refuse what a type checker would. Most likely it is the secret, so the text does not show it."""
    if not isinstance(verifier, TokenVerifier):
        raise ConfigurationError(
            f"{name}() was given a {type(verifier).__name__}; give a verifier, which says what tokens have to name: "
            f'{name}(TokenVerifier(secret, algorithms=["HS256"], audience="chat", issuer="https://id.example"))'
        )


def _from_header(handshake: Handshake) -> str | None:
    values = handshake.values("authorization")
    if len(values) > 1:
        raise Unauthorized("more than one Authorization header")
    value = values[0] if values else ""
    if not _BEARER.match(value):
        if _JWT.search(value):  # it is meant as a credential, so that its client must not become a stranger
            raise Unauthorized("a token in Authorization without the scheme Bearer")
        return None
    token = value[len("bearer") :].strip(" \t")
    if not token:
        raise Unauthorized("an Authorization header without a token")
    return token


def _from_cookie(handshake: Handshake, name: str) -> str | None:
    values = handshake.cookies(name)
    if len(values) > 1:
        raise Unauthorized("more than one cookie of the name")
    return values[0] if values else None


def _admit(gate: Gate, verifier: TokenVerifier, token: str, source: TokenSource) -> Claims:
    claims, skew = verifier.verify(token), max(verifier.skew, verifier.leeway)
    if isinstance(gate, TokenGate):
        gate.verified(source)
    gate.identify(claims, skew=skew)  # by so much may a date in the token be ahead of our clock, or past
    gate.lease(expires_at=claims.expires_at + verifier.leeway)
    return claims
