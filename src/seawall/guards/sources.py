"""The places where `bearer` looks for a token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, final
from urllib.parse import quote, unquote

from attrs import evolve, frozen

from seawall.errors import ConfigurationError, Unauthorized
from seawall.guards.requirements import CookieKey, HttpBearer, QueryKey, Requirement, SubprotocolToken
from seawall.guards.requirements import FirstMessage as FirstMessageScheme
from seawall.guards.token_source import TokenSource
from seawall.handshake import Handshake
from seawall.http.request import TOKEN, elements
from seawall.http.upgrade import token_in_subprotocol
from seawall.mistakes import is_text
from seawall.printable import redact_named

#: A cookie's name (RFC 6265, section 4.1.1).
_NAME: Final = re.compile(TOKEN)

#: A parameter's name, which is the same with and without percent-encoding (RFC 3986, section 2.3).
_PARAMETER: Final = re.compile(r"[A-Za-z0-9._~-]+")

#: Where a client offers subprotocols.
_OFFERED: Final = "sec-websocket-protocol"

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


def subprotocol() -> TokenSource:
    """``bearer.<token>`` among the subprotocols that the client offers, for browsers without a cookie.

    In JavaScript: ``new WebSocket(url, ["chat.v1", "bearer." + token])``. The other one is the route's own, which is
    answered, and so the route has to have ``subprotocols=``. The token is never answered, and not in
    `Handshake.subprotocols`; offered alone it is refused with 400, because a browser would fail what is not answered.
    Proxies and servers in front may log the header. Two tokens are refused.
    """
    return _Subprotocol()


def query(name: str, *, reusable: bool = False) -> TokenSource:
    """A ticket in a parameter of the query, ``wss://chat.example/chat?ticket=...``, for clients that can set no more.

    An address is written to logs of proxies, to histories and to ``Referer``. So what stands there is good once, for 30
    seconds, and at this route only: a ticket, which ``await app.tickets.issue(token, route="/chat")`` gives for a
    token. The token is verified when the ticket is presented, and the connection lasts as long as the token does. What
    `Connection.renew` takes is a token, not a ticket.

    Seawall itself logs no query, and redacts what has this name wherever it logs text. Two parameters of the name are
    refused.

    Args:
      name: of the parameter.
      reusable: whether it is a token itself, and no ticket. Who reads the address can use it for as long as it lives:
        write ``reusable=True`` if you know this, and your tokens live for a short time only.

    Raises:
      ConfigurationError: the name has other characters than letters, digits and ``-._~``; `reusable` is no bool.
    """
    if not (is_text(name) and _PARAMETER.fullmatch(name)):
        raise ConfigurationError(
            f"query({name!r}): give the name of a parameter, of letters, digits and -._~, such as 'token'"
        )
    if reusable is not True and reusable is not False:
        raise ConfigurationError(
            f"query({name!r}, reusable={reusable!r}): write reusable=True for tokens that whoever finds the address in "
            "a log could use again, and leave it out for tickets, which are good once"
        )
    redact_named(name)
    return Query(name) if reusable else TicketQuery(name)


def first_message(*, ack: str | None = None) -> TokenSource:
    """The first message, for browsers without a cookie; the upgrade is accepted for it. It is the last of all sources.

    The message is the token, as text, or on a route whose codec is `JSON` also ``{"type": "auth", "token": "..."}``. A
    refusal is then a close code with a reason, which JavaScript can read; it cannot read the status of a refused
    handshake.

    Args:
      ack: is sent to the client, as text, when it has been let in by this token: once all guards of the route have
        passed, and before the handler begins. So JavaScript knows that it is in. It is not sent for a renewal.

    Raises:
      ConfigurationError: `ack` is no text that can be sent.
    """
    if not (ack is None or (is_text(ack) and _is_sendable(ack))):
        raise ConfigurationError(f"first_message(ack={ack!r}): give a text that can be encoded, such as 'ok'")
    return FirstMessage(ack)


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
class _Subprotocol(TokenSource):
    def find(self, handshake: Handshake, /) -> str | None:
        found = [token for offer in _offers(handshake) if (token := token_in_subprotocol(offer)) is not None]
        if len(found) > 1:
            raise Unauthorized("more than one token among the subprotocols")
        if found == [""]:
            raise Unauthorized("a subprotocol for a token without one")
        return found[0] if found else None

    def with_token(self, handshake: Handshake, token: str, /) -> Handshake:
        offers = [offer if token_in_subprotocol(offer) is None else f"bearer.{token}" for offer in _offers(handshake)]
        headers = [(name, value) for name, value in handshake.headers if name != _OFFERED]
        return evolve(handshake, headers=(*headers, (_OFFERED, ", ".join(offers))))

    def describe(self) -> Requirement:
        return Requirement(text="a token among the subprotocols, as bearer.<token>", scheme=SubprotocolToken())


@frozen
class Query(TokenSource):
    """What `query` makes for a token."""

    name: str

    def find(self, handshake: Handshake, /) -> str | None:
        """The value of the parameter."""
        values = [value for key, value in _parameters(handshake.query) if key == self.name]
        if len(values) > 1:
            raise Unauthorized("more than one parameter of the name in the query")
        if values == [""]:  # it is meant as a credential, so that its client must not become a stranger
            raise Unauthorized("a parameter in the query without a token")
        return values[0] if values else None

    def with_token(self, handshake: Handshake, token: str, /) -> Handshake:
        """`handshake`, with `token` as the parameter's value."""
        parts = [
            f"{self.name}={quote(token, safe='')}" if _key_and_value(part)[0] == self.name else part
            for part in handshake.query.split("&")
        ]
        return evolve(handshake, query="&".join(parts))

    def describe(self) -> Requirement:
        """What a client has to present."""
        return Requirement(text=f"a token in the query, as {self.name}=<token>", scheme=QueryKey(self.name))


@final
@frozen
class TicketQuery(Query):
    """What `query` makes for a ticket."""

    def describe(self) -> Requirement:
        """What a client has to present."""
        return Requirement(text=f"a ticket in the query, as {self.name}=<ticket>", scheme=QueryKey(self.name))


@final
@frozen
class FirstMessage(TokenSource):
    """What `first_message` makes."""

    ack: str | None = None
    """What a client is sent that has been let in by it."""

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


def _offers(handshake: Handshake) -> list[str]:
    return elements(handshake.values(_OFFERED))


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    """Names and values of a query (URL Standard, section 5.1), decoded; ``+``, which no token has, is left as it is."""
    return map(_key_and_value, query.split("&"))


def _key_and_value(part: str) -> tuple[str, str]:
    key, _, value = part.partition("=")
    return unquote(key), unquote(value)


def _is_sendable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
