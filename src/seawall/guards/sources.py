"""The places where `bearer` looks for a token."""

from __future__ import annotations

import re
from typing import Final, final

from attrs import evolve, frozen

from seawall.errors import ConfigurationError, Unauthorized
from seawall.guards.requirements import CookieKey, HttpBearer, Requirement
from seawall.guards.requirements import FirstMessage as FirstMessageScheme
from seawall.guards.token_source import TokenSource
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


def header() -> TokenSource:
    """``Authorization: Bearer`` (RFC 6750, section 2.1). Two such headers are refused."""
    return _Header()


def cookie(name: str) -> TokenSource:
    """A cookie, for browsers, whose JavaScript cannot set headers on a WebSocket.

    The route's origins keep other sites from using it. Two cookies of the name are refused, because the browser does
    not say who has set which.

    Args:
      name: of the cookie. No other site can set one that begins with ``__Host-``, such as ``__Host-session``.

    Raises:
      ConfigurationError: no cookie can have this name.
    """
    if not (is_text(name) and _NAME.fullmatch(name)):
        raise ConfigurationError(f"cookie({name!r}): no cookie can have this name; give one such as '__Host-session'")
    return Cookie(name)


def first_message() -> TokenSource:
    """The first message, for browsers without a cookie; the upgrade is accepted for it. It is the last of all sources.

    The message is the token, as text, or on a route whose codec is `JSON` also ``{"type": "auth", "token": "..."}``. A
    refusal is then a close code with a reason, which JavaScript can read; it cannot read the status of a refused
    handshake.
    """
    return FirstMessage()


@final
@frozen
class _Header(TokenSource):
    def find(self, handshake: Handshake, /) -> str | None:
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

    def with_token(self, handshake: Handshake, token: str, /) -> Handshake:
        headers = [(name, f"Bearer {token}" if name == "authorization" else value) for name, value in handshake.headers]
        return evolve(handshake, headers=tuple(headers))

    def describe(self) -> Requirement:
        return Requirement(text="a token in Authorization: Bearer", scheme=HttpBearer())


@final
@frozen
class Cookie(TokenSource):
    """What `cookie` makes."""

    name: str

    def find(self, handshake: Handshake, /) -> str | None:
        """The cookie's value; None if it is empty."""
        values = handshake.cookies(self.name)
        if len(values) > 1:
            raise Unauthorized("more than one cookie of the name")
        return (values[0] or None) if values else None

    def with_token(self, handshake: Handshake, token: str, /) -> Handshake:
        """`handshake`, with `token` as the cookie's value."""
        headers = [
            (name, self._replaced(value, token) if name == "cookie" else value) for name, value in handshake.headers
        ]
        return evolve(handshake, headers=tuple(headers))

    def describe(self) -> Requirement:
        """What a client has to present."""
        return Requirement(text=f"a token in the cookie {self.name}", scheme=CookieKey(self.name))

    def _replaced(self, line: str, token: str) -> str:
        return ";".join(f"{self.name}={token}" if _key(pair) == self.name else pair for pair in line.split(";"))


@final
@frozen
class FirstMessage(TokenSource):
    """What `first_message` makes."""

    def find(self, handshake: Handshake, /) -> None:
        """None: a handshake has no messages."""

    def with_token(self, handshake: Handshake, token: str, /) -> Handshake:
        """`handshake`: the token stands in no part of it."""
        return handshake

    def describe(self) -> Requirement:
        """What a client has to present."""
        return Requirement(text="a token as the first message", scheme=FirstMessageScheme())


def _key(pair: str) -> str | None:
    key, separator, _ = pair.strip(" \t").partition("=")
    return key if separator else None
