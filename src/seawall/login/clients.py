"""`Clients`: from which network a request comes, also through proxies that are trusted. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias, final

from attrs import frozen

from seawall.errors import ConfigurationError
from seawall.handshake import Handshake
from seawall.http.hosts import LOOPBACK
from seawall.http.request import elements
from seawall.mistakes import is_text, several
from seawall.wire.transport.sockets import host_of, network_of

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

#: A peer on a Unix socket.
UNIX: Final = "unix"

#: Elements of ``X-Forwarded-For`` that are looked at, from the end.
_MAX_HOPS: Final = 20


@final
@frozen
class Clients:
    """Tells the networks of clients: an IPv4 address, or a /64 of IPv6."""

    networks: tuple[Network, ...] = ()
    """Of the proxies that are trusted."""
    trusts_unix: bool = False
    """Whether whoever connects by a Unix socket is one."""

    @classmethod
    def behind(cls, proxies: Iterable[str]) -> Clients:
        """Trust these: addresses, networks such as ``10.0.0.0/8``, and ``unix``.

        Raises:
          ConfigurationError: it is no list, or one of them is none of these.
        """
        named = several("LoginLimits: proxies", proxies, such_as="['127.0.0.1', 'unix']")
        networks: list[Network] = []
        for name in named:
            if name == UNIX:
                continue
            try:
                networks.append(ip_network(name if is_text(name) else ""))
            except ValueError:
                raise ConfigurationError(
                    f"LoginLimits: the proxy {name!r} is no address and no network; give such as '127.0.0.1', "
                    "'10.0.0.0/8' or 'unix'"
                ) from None
        return cls(tuple(networks), UNIX in named)

    def network(self, handshake: Handshake) -> str:
        """The network of the client; empty if nothing is known of it, as of who connects by a Unix socket.

        A proxy adds the address of who has asked it to the end of ``X-Forwarded-For``. What stands before the first one
        that is no proxy of ours may be made up.
        """
        peer = _address(host_of(handshake.peer))
        if not (self.trusts_unix and handshake.peer == UNIX) and not (peer is not None and self._trusts(peer)):
            return _network(peer)
        found = peer
        for hop in reversed(elements(handshake.values("x-forwarded-for"))[-_MAX_HOPS:]):
            address = _address(hop) or _address(hop.rpartition(":")[0])
            if address is None:
                break
            found = address
            if not self._trusts(address):
                break
        return _network(found)

    def unnamed(self, handshake: Handshake) -> str:
        """How a proxy on this machine is named that a request comes through and that is not trusted; empty if none is.

        Nobody else asks from here for a host that is elsewhere.
        """
        if handshake.peer == UNIX:
            return "" if self.trusts_unix else UNIX
        peer = _address(host_of(handshake.peer))
        if peer is None or not peer.is_loopback or self._trusts(peer):
            return ""
        is_elsewhere = bool(handshake.host) and not LOOPBACK.admits(handshake.host, secure=False)
        return str(peer) if is_elsewhere else ""

    def is_forwarded(self, handshake: Handshake) -> bool:
        """Whether a request says that it comes through a proxy, and the peer is none that is trusted."""
        peer = _address(host_of(handshake.peer))
        return peer is not None and not self._trusts(peer) and handshake.header("x-forwarded-for") is not None

    def _trusts(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self.networks)


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _network(address: Address | None) -> str:
    return "" if address is None else network_of(f"[{address}]:0" if address.version == 6 else f"{address}:0")
