"""Which web pages may connect: the ``Origin`` of a request (RFC 6455, section 10.2).

A browser sends the user's cookies along with a WebSocket that any page opens, and no same-origin policy prevents that.
Only the ``Origin`` header says which page it was. It is checked on every route before its guards, so that no chain of
guards can omit the check. Clients that are not browsers send no such header, and pass.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Final, TypeAlias, final

from attrs import frozen

from seawall.errors import ConfigurationError
from seawall.handshake import Handshake
from seawall.mistakes import several
from seawall.printable import safe


@final
class OriginRule(enum.Enum):
    """The two rules that have a name."""

    SAME = "same_origin"
    ANY = "any_origin"


same_origin: Final = OriginRule.SAME
"""The page must come from the host and port that the request names, and over TLS if the request did; the default."""
any_origin: Final = OriginRule.ANY
"""Any page on the web may connect, with its visitor's cookies."""

Origins: TypeAlias = OriginRule | Sequence[str]

#: Origins without a host: of pages in a sandboxed frame, and of files, as browsers and some embedded ones send them.
_HOSTLESS: Final = frozenset({"null", "file://"})

#: An origin as browsers serialise it (RFC 6454, section 6.2).
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")

_DEFAULT_PORTS = {"http": "80", "ws": "80", "https": "443", "wss": "443"}


@final
@frozen
class OriginCheck:
    """Compares a request's origin with a rule."""

    rule: OriginRule | frozenset[str]

    @classmethod
    def parse(cls, origins: Origins) -> OriginCheck:
        """Check that `origins` are what browsers send, and store them.

        Raises:
          ConfigurationError: it is no list, or an entry is not an origin as browsers send it.
        """
        if isinstance(origins, OriginRule):
            return cls(origins)
        if isinstance(origins, str):
            remedy = "say origins=any_origin" if origins == "*" else f"give a list, [{origins!r}]"
            raise ConfigurationError(f"origins={origins!r}: {remedy}")
        listed = several("origins", origins, such_as="['https://chat.example'], or say same_origin or any_origin")
        for origin in listed:
            _check(origin)
        return cls(frozenset(listed))

    @property
    def is_anybodys(self) -> bool:
        """Whether every site has a page that is admitted; of a page in a sandboxed frame the origin is ``null``."""
        return self.rule is any_origin or (isinstance(self.rule, frozenset) and "null" in self.rule)

    def admits(self, handshake: Handshake) -> bool:
        """Whether the rule allows the request's origin; a request without one is always allowed."""
        origin = handshake.origin
        if origin is None or self.rule is any_origin:
            return True
        if isinstance(self.rule, frozenset):
            return origin in self.rule
        return _is_same(origin, handshake)

    def explain(self, handshake: Handshake) -> str:
        """Why the origin of a request is not allowed, for the log: what it was held against, and what to do."""
        origin = f"origin {safe(ascii(handshake.origin), 100)}"
        if isinstance(self.rule, frozenset):
            return f"{origin} is none of origins={safe(ascii(sorted(self.rule)))}"
        host = f"Host {safe(ascii(handshake.host), 100)}"
        if handshake.secure:
            return f"{origin} is not that of {host} over https; if a proxy speaks TLS to us, list the browser's origin"
        return f"{origin} is not that of {host}; behind a proxy pass Host with its port"


def _check(origin: object) -> None:
    if origin in _HOSTLESS:
        return
    parsed = _ORIGIN.fullmatch(origin) if isinstance(origin, str) else None
    if isinstance(origin, str) and "*" in origin:
        remedy = "for all of them say origins=any_origin" if origin == "*" else "name each of them"
        raise ConfigurationError(f"origin {origin!r}: an origin is compared whole, and * stands for nothing; {remedy}")
    if parsed is None:
        raise ConfigurationError(
            f"origin {origin!r} is not one that a browser sends: write scheme://host or scheme://host:port in lower "
            "case, without a path, such as 'https://chat.example', or 'null' or 'file://' for pages without a host, "
            "which are anybody's; for any origin, any_origin"
        )
    scheme, _, port = parsed.groups()
    if port is not None and port == _DEFAULT_PORTS.get(scheme):
        raise ConfigurationError(f"origin {origin!r}: browsers leave out the default port; remove :{port}")


def _is_same(origin: str, handshake: Handshake) -> bool:
    """Whether `origin` has the host and port of ``Host``, where a missing port is the default of the origin's scheme.

    On TLS the scheme has to be https: whoever is in between can replace a page that came in plain text. Without TLS it
    is not compared: where TLS ends at a proxy, the page is https and the request here is not.
    """
    parsed = _ORIGIN.fullmatch(origin.lower()) if origin.isascii() else None
    if parsed is None or parsed[1] not in {"http", "https"}:  # an extension's origin has an id where the host is
        return False
    scheme, name, port = parsed.groups()
    if handshake.secure and scheme != "https":
        return False
    default = _DEFAULT_PORTS[scheme]
    asked = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]*))?", handshake.host.lower())
    return asked is not None and asked[1] == name and (asked[2] or default) == (port or default)
