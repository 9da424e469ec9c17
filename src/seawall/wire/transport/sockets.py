"""The socket under a stream or a listener, the address of its peer, and what of that is compared."""

from __future__ import annotations

import ipaddress
import socket
from typing import cast

import trio

#: The address of a peer that is not connected by a socket.
MEMORY = "memory"


def socket_of(endpoint: object) -> trio.socket.SocketType | None:
    """The socket under a stream of Trio, TLS or not, or under a listener for sockets; None for any other."""
    if isinstance(endpoint, trio.SocketStream | trio.SocketListener):
        return endpoint.socket
    if isinstance(endpoint, trio.SSLStream):
        return socket_of(cast("trio.SSLStream[trio.SocketStream]", endpoint).transport_stream)
    return None


def peer_of(stream: trio.abc.Stream) -> str:
    """The address of the peer of `stream`, as `Handshake.peer` shows it."""
    connected = socket_of(stream)
    if connected is None:
        return MEMORY
    if connected.family not in {socket.AF_INET, socket.AF_INET6}:
        return "unix"
    try:
        host, port = connected.getpeername()[:2]
    except OSError:
        return "gone"  # reset before we asked
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_of(peer: str) -> str:
    """The address in one from `peer_of`, as `plain_host` has it; all of what has no port."""
    host, separator, _ = peer.rpartition(":")
    if not separator:
        return peer
    return plain_host(host.strip("[]")) if host.startswith("[") else host


def plain_host(host: str) -> str:
    """An IP address as it is written everywhere, and an IPv4 one inside of IPv6 as itself; any other text as it is."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(address if mapped is None else mapped)


def network_of(peer: str) -> str:
    """The network of an address from `peer_of`: the IPv4 address itself or the /64 of IPv6; empty for no IP address."""
    host = peer.rpartition(":")[0].strip("[]").partition("%")[0]
    if not host:
        return ""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))
