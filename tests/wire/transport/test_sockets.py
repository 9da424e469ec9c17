"""What is known of a peer; that `peer_of` finds it under each kind of stream is in test_listening."""

from __future__ import annotations

import pytest

from seawall.wire.transport.sockets import host_of, network_of, plain_host


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


@pytest.mark.parametrize(
    ("peer", "spelled"),
    [
        ("192.0.2.7:50412", ["192.0.2.7", "::ffff:192.0.2.7", "::FFFF:c000:207"]),
        ("[::ffff:192.0.2.7]:50412", ["192.0.2.7", "::ffff:c000:207"]),
        ("[2001:db8::7]:50412", ["2001:db8::7", "2001:DB8:0:0:0:0:0:7", "2001:0db8::0007"]),
        ("[fe80::1%eth0]:50412", ["fe80::1%eth0", "FE80:0::1%eth0"]),
        ("unix", ["unix"]),
        ("memory", ["memory"]),
        ("gone", ["gone"]),
    ],
)
def test_one_address_in_several_spellings(peer: str, spelled: list[str]) -> None:
    """All are the peer's; what is none stays as it is."""
    assert {plain_host(each) for each in spelled} == {host_of(peer)}


@pytest.mark.parametrize("other", ["192.0.2.8", "2001:db8::7%eth0", "[2001:db8::7]", "", "192.0.2.07", "unix"])
def test_other_addresses(other: str) -> None:
    """Nothing else is one of these."""
    assert plain_host(other) not in {host_of("192.0.2.7:1"), host_of("[2001:db8::7]:1")}
