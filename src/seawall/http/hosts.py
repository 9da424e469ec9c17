"""Which values of ``Host`` are served, with no I/O.

A page of any site can have its own name resolved to an address of this machine or this network ("DNS rebinding"). Its
browser then takes our pages and our WebSockets for that site's own: ``Origin`` and ``Host`` are the same. Only the name
tells, so it is compared with those that are ours.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, TypeAlias, final

from attrs import field, frozen

from seawall.errors import ConfigurationError
from seawall.mistakes import several
from seawall.printable import safe


@final
class HostRule(enum.Enum):
    """The rule that has a name."""

    ANY = "any_host"


any_host: Final = HostRule.ANY
"""Any ``Host`` is answered: what compares ``Origin`` with it then protects from no DNS rebinding."""

#: The longest name of DNS in text. The parents of a longer one would take long to compare.
_MAX_NAME: Final = 253

_PARTS: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::([0-9]{0,5}))?")
_NAME: Final = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_NUMBERS: Final = re.compile(r"(?:.*\.)?[0-9]+")

#: Stands for any port among those of an entry.
_ANY_PORT: Final = 0


@final
@frozen
class HostCheck:
    """Compares the ``Host`` of a request with those that are served."""

    entries: tuple[str, ...] | None
    """As they were written; None if every host is served."""
    _ports: Mapping[str, frozenset[int]] = field(factory=dict[str, frozenset[int]], repr=False)
    """The ports of each name; that of ``*.name`` is ``.name`` here."""
    _is_loopback: bool = field(default=False, alias="is_loopback")
    """Whether 127.0.0.0/8 is served as well."""
    _any_address: bool = field(default=False, alias="any_address")
    """Whether every address is, as no page of a site with a name can be made to ask for one."""

    @classmethod
    def parse(cls, hosts: Hosts) -> HostCheck:
        """Check that `hosts` are what a request can name, and store them.

        Raises:
          ConfigurationError: it is no list, it is empty, or an entry is no host.
        """
        if isinstance(hosts, HostCheck):
            return hosts
        if isinstance(hosts, HostRule):
            return UNRESTRICTED
        listed = several("hosts", hosts, such_as="['chat.example'], or say any_host")
        if not listed:
            raise ConfigurationError(f"hosts={hosts!r}: no request could be answered; list the hosts, or say any_host")
        ports: dict[str, frozenset[int]] = {}
        for entry in listed:
            name, port = _parse(entry)
            ports[name] = ports.get(name, frozenset()) | {port}
        return cls(listed, ports)

    @classmethod
    def by_address(cls, *names: str) -> HostCheck:
        """Serve whoever asks for an address, and of all names ``localhost``, those below it, and `names`.

        It is for who listens on all addresses of a machine and cannot know them, or those of a router before it. A name
        that nobody can ask for is left out.
        """
        found = dict(_ON_LOOPBACK)
        for name in map(str.lower, names):
            if _PARTS.fullmatch(name) and _is_name(name):
                found[_canonical(name)] = frozenset({_ANY_PORT})
        return cls(("any address", *found), found, any_address=True)

    def admits(self, host: str, *, secure: bool) -> bool:
        """Whether `host` is served.

        Args:
          host: the ``Host`` of a request, valid by RFC 9110, section 7.2; empty if there was none, which only a request
            of HTTP/1.0 may do, which no browser makes, and which opens no WebSocket. It is served.
          secure: whether the connection is TLS. Without a port the request then means 443, else 80 or, because TLS may
            have ended before us, 443.
        """
        if self.entries is None or not host:
            return True
        parts = _PARTS.fullmatch(host.lower())
        if parts is None or parts[1][0] == ".":
            return False
        name, port = parts.groups()
        if _ANY_PORT in self._ports.get(name, ()):  # as nearly always
            return True
        asked = {int(port)} if port else {443} if secure else {80, 443}
        return self._serves(_canonical(name), asked | {_ANY_PORT})

    def _serves(self, name: str, ports: set[int]) -> bool:
        if not 0 < len(name) <= _MAX_NAME:
            return False
        if not ports.isdisjoint(self._ports.get(name, ())) or (self._is_loopback and _is_loopback(name)):
            return True
        if self._any_address and _is_address(name):
            return True
        dot = name.find(".")
        while dot > 0:
            if not ports.isdisjoint(self._ports.get(name[dot:], ())):
                return True
            dot = name.find(".", dot + 1)
        return False

    def explain(self, host: str) -> str:
        """Why `host` is not served, for the log."""
        served, default = (
            safe(ascii(list(self.entries or ()))),
            ", the default on loopback" if self._is_loopback else "",
        )
        return f"Host {safe(ascii(host), 100)} is none of hosts={served}{default}; if it is yours, App(hosts=[...])"


#: Which hosts are served: `any_host`, a list, or a check that has been made already.
Hosts: TypeAlias = HostRule | HostCheck | Sequence[str]


def _parse(entry: object) -> tuple[str, int]:
    """The name of an entry, as a key, and its port."""
    parts = _PARTS.fullmatch(entry) if isinstance(entry, str) else None
    port = int(parts[2]) if parts is not None and parts[2] else _ANY_PORT
    if parts is None or parts[2] == "" or port > 65_535 or (parts[2] and not port) or not _is_name(parts[1]):
        raise ConfigurationError(
            f"hosts: {entry!r} is no host that a request names; write a name in lower case, an address or *.name, with "
            "a port or without, such as 'chat.example', 'chat.example:8443', '[::1]' or '*.chat.example'; for any "
            "host, any_host"
        )
    return _canonical(parts[1]).removeprefix("*"), port


def _is_name(text: str) -> bool:
    """Whether `text` is an address or a name; one that ends in a number can only be an address (as browsers say)."""
    try:
        if text.startswith("["):
            IPv6Address(text[1:-1])
        elif _NUMBERS.fullmatch(text.removesuffix(".")):
            IPv4Address(text.removesuffix("."))
        else:
            return _NAME.fullmatch(text) is not None
    except AddressValueError:
        return False
    return True


def _canonical(name: str) -> str:
    """A name in lower case without the dot of the root, or an address as browsers write it."""
    if not name.startswith("["):
        return name.removesuffix(".")
    try:
        return f"[{IPv6Address(name[1:-1]).compressed}]"
    except AddressValueError:
        return ""


def _is_loopback(name: str) -> bool:
    try:
        return name.startswith("127.") and IPv4Address(name).is_loopback
    except AddressValueError:
        return False


def _is_address(name: str) -> bool:
    """Whether a `_canonical` name is an address."""
    try:
        return name.startswith("[") or bool(IPv4Address(name))
    except AddressValueError:
        return False


_ON_LOOPBACK: Final = {name: frozenset({_ANY_PORT}) for name in ("localhost", ".localhost", "127.0.0.1", "[::1]")}

#: Every host is served.
UNRESTRICTED: Final = HostCheck(None)

#: What only this machine calls itself.
LOOPBACK: Final = HostCheck(("localhost", "*.localhost", "127.0.0.0/8", "[::1]"), _ON_LOOPBACK, is_loopback=True)
