"""What is known of a peer; that `peer_of` finds it under each kind of stream is in test_listening."""

from __future__ import annotations

import pytest

from seawall.wire.transport.sockets import network_of


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.7:50412", "192.0.2.7"),
        ("[2001:db8:1:2:3:4:5:6]:50412", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:ffff::1]:1", "2001:db8:1:2::/64"),
        ("[fe80::1%eth0]:50412", "fe80::/64"),
        ("[::ffff:192.0.2.7]:50412", "192.0.2.7"),
        ("unix", ""),
        ("memory", ""),
        ("gone", ""),
    ],
)
def test_what_counts_as_one_address(peer: str, network: str) -> None:
    """Of IPv6 a customer has at least a /64; an IPv4 address is the same one inside of IPv6; the rest has none."""
    assert network_of(peer) == network
