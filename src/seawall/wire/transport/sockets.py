"""The socket under a stream or a listener, the address of its peer, and the network of that address."""

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
