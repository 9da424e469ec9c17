"""The cookies of a log-in page: by which name, and where a browser may have them without TLS. Pure.

Two names stand for one cookie. ``__Host-session`` is what browsers keep for this very host alone, over TLS. On this
machine, without TLS, it is ``session``: for development. Which of them counts follows from the request, so that nobody
who is elsewhere can have a cookie taken that another host of the domain has set.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final, final

from attrs import frozen

from seawall.errors import ConfigurationError
from seawall.guards import sources
from seawall.guards.requirements import Requirement
from seawall.guards.token_source import TokenSource
from seawall.handshake import Handshake
from seawall.http.cookies import Cookie
from seawall.http.hosts import LOOPBACK
from seawall.http.request import TOKEN
from seawall.mistakes import is_text
from seawall.wire.transport.sockets import MEMORY, host_of

#: How the name of a cookie begins that a browser keeps for one host, with ``Secure`` (RFC 6265bis, section 4.1.3.2).
PREFIX: Final = "__Host-"

_NAME: Final = re.compile(PREFIX + TOKEN)

#: The origin of a page that came in plain text.
_PLAIN: Final = "http://"


def is_local(handshake: Handshake) -> bool:
    """Whether a browser on this machine asks without TLS, as in development.

    All that can be seen has to say so: the socket, the ``Host``, and the ``Origin`` if there is one. Behind a proxy on
    this machine the last two name what the browser has asked for.
    """
    if handshake.secure or not _is_here(handshake.peer) or not _is_loopback(handshake.host):
        return False
    return handshake.origin is None or _is_plain_loopback(handshake.origin)


def is_plain(handshake: Handshake) -> bool:
    """Whether the page of a request came in plain text, as its ``Origin`` says."""
    return (handshake.origin or "").lower().startswith(_PLAIN)


@final
@frozen
class HostCookie(TokenSource):
    """A cookie of a log-in page, by both of its names."""

    name: str
    """The one with the prefix."""

    def __attrs_post_init__(self) -> None:
        """Refuse a name that another host could set.

        Raises:
          ConfigurationError: it is so, or no cookie can have it.
        """
        if not (is_text(self.name) and _NAME.fullmatch(self.name)):
            raise ConfigurationError(
                f"login_page: a cookie cannot be called {self.name!r} here; give a name such as '__Host-session', "
                "whose prefix keeps other hosts from setting it; on this machine, without TLS, it is left out by itself"
            )

    def find(self, handshake: Handshake, /) -> str | None:
        """The cookie's value; None if there is none, or it is empty."""
        return self._asked(handshake).find(handshake)

    def with_token(self, handshake: Handshake, token: str, /) -> Handshake:
        """`handshake`, with `token` as the cookie's value."""
        return self._asked(handshake).with_token(handshake, token)

    def describe(self) -> Requirement:
        """What a client has to present."""
        return sources.Cookie(self.name).describe()

    def made(self, value: str, seconds: int, *, local: bool) -> Cookie:
        """The cookie to set, for so many seconds.

        Args:
          value: of the cookie.
          seconds: until the browser forgets it.
          local: what `is_local` says of the request.
        """
        name = self.name.removeprefix(PREFIX) if local else self.name
        return Cookie(name=name, value=value, max_age=seconds, secure=not local, same_site="Strict")

    def cleared(self, *, local: bool) -> Cookie:
        """The cookie to set so that there is none."""
        return self.made("", 0, local=local)

    def _asked(self, handshake: Handshake) -> sources.Cookie:
        """Where to look: without an origin, as a page that is got, at the safer name first."""
        safer = sources.Cookie(self.name)
        if not is_local(handshake) or (handshake.origin is None and handshake.cookies(self.name)):
            return safer
        return sources.Cookie(self.name.removeprefix(PREFIX))


def _is_here(peer: str) -> bool:
    """Whether a peer is in this process, or on this machine by TCP."""
    if peer == MEMORY:
        return True
    try:
        return ip_address(host_of(peer)).is_loopback
    except ValueError:
        return False  # a Unix socket has no address


def _is_loopback(host: str) -> bool:
    return bool(host) and LOOPBACK.admits(host, secure=False)


def _is_plain_loopback(origin: str) -> bool:
    return origin.startswith(_PLAIN) and _is_loopback(origin.removeprefix(_PLAIN))
