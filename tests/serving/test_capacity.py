"""`Capacity`: who has a place, and who is one too many."""

from __future__ import annotations

from seawall.limits import Limits
from seawall.serving.capacity import MAX_OVER_CAPACITY, Capacity, Place


def admitted(capacity: Capacity, address: str = "192.0.2.1:5000") -> Place:
    """The place of a connection whose guards are at work."""
    place = capacity.admit(address)
    assert place is not None
    assert place.refusal is None
    place.work()
    return place


def status(place: Place | None) -> int:
    """What a connection reads that is one too many."""
    assert place is not None
    assert place.refusal is not None
    return place.refusal.status


def test_places_are_counted_until_they_are_left() -> None:
    """One too many is refused; a place that is left is free, and leaving twice frees one."""
    capacity = Capacity(Limits(max_connections=2))
    one, two = admitted(capacity), admitted(capacity)
    refused = capacity.admit("192.0.2.1:5000")
    assert status(refused) == 503
    assert refused is not None
    one.leave()
    one.leave()
    refused.leave()
    assert (capacity.admitted, capacity.over_capacity) == (1, 0)
    three = admitted(capacity)
    two.leave()
    three.leave()
    assert (capacity.admitted, capacity.unauthenticated) == (0, 0)


def test_strangers_have_fewer_places() -> None:
    """Those whose guards have let them in do not count among them, however often that is said."""
    capacity = Capacity(Limits(max_connections=10, max_unauthenticated=1))
    first = admitted(capacity)
    assert status(capacity.admit("192.0.2.1:5000")) == 503
    first.authenticated()
    first.authenticated()
    assert capacity.unauthenticated == 0
    second = admitted(capacity)
    second.leave()
    second.authenticated()
    assert (capacity.unauthenticated, capacity.admitted) == (0, 1)


def test_those_who_are_told_do_not_count() -> None:
    """Neither among the admitted nor among the unauthenticated; and of them there are so many and no more."""
    capacity = Capacity(Limits(max_connections=1))
    admitted(capacity)
    told = [capacity.admit("192.0.2.1:5000") for _ in range(MAX_OVER_CAPACITY)]
    assert {status(place) for place in told} == {503}
    assert capacity.admit("192.0.2.1:5000") is None
    assert (capacity.admitted, capacity.unauthenticated, capacity.over_capacity) == (1, 1, MAX_OVER_CAPACITY)
    assert told[0] is not None
    told[0].leave()
    assert status(capacity.admit("192.0.2.1:5000")) == 503


def test_one_network() -> None:
    """Its limit is its own, and nothing of it is left when its connections are over."""
    capacity = Capacity(Limits(max_connections_per_address=1))
    here = admitted(capacity, "[2001:db8::1]:5000")
    assert status(capacity.admit("[2001:db8::2]:6000")) == 429
    there = admitted(capacity, "[2001:db8:1::1]:5000")
    here.leave()
    there.leave()
    assert not capacity.per_network


def test_a_network_is_forgotten_with_its_last_connection() -> None:
    """One that leaves makes room for one, and no more."""
    capacity = Capacity(Limits(max_connections_per_address=2))
    first, second = admitted(capacity), admitted(capacity)
    first.leave()
    assert capacity.per_network == {"192.0.2.1": 1}
    admitted(capacity)
    assert status(capacity.admit("192.0.2.1:5001")) == 429
    second.leave()
    assert capacity.per_network == {"192.0.2.1": 1}


def test_without_the_limit_nobody_is_told_apart() -> None:
    """No address is kept where none counts."""
    capacity = Capacity(Limits())
    admitted(capacity)
    assert not capacity.per_network


def test_mended_00_the_limit_of_an_address_comes_first() -> None:
    """An address that has all its places reads 429, also while the server is full; others read 503."""
    for limits in (
        Limits(max_connections=1, max_connections_per_address=1),
        Limits(max_unauthenticated=1, max_connections_per_address=1),
    ):
        capacity = Capacity(limits)
        admitted(capacity)
        assert status(capacity.admit("192.0.2.1:5001")) == 429
        assert status(capacity.admit("192.0.2.2:5000")) == 503
