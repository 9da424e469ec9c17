"""Limits: their defaults, what cannot work, and a route's own over an app's."""

from __future__ import annotations

import inspect
import math
from typing import cast

import pytest
from attrs import fields

from seawall.errors import ConfigurationError
from seawall.limits import LimitOverrides, Limits

NAMES = [limit.name for limit in fields(Limits)]
OPTIONAL = [
    "idle_timeout",
    "lifetime",
    "inbound_buffer",
    "ping_interval",
    "ping_timeout",
    "message_timeout",
    "max_message_errors",
    "max_connections_per_address",
    "max_connections_per_subject",
]


def with_value(name: str, value: object) -> Limits:
    """Limits with one field set to whatever a program without a type checker may give."""
    arguments = {name: value}
    return Limits(**arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not checked on purpose


def test_the_defaults() -> None:
    """The defaults are those that the documentation names."""
    assert Limits() == Limits(
        handshake_timeout=10,
        auth_timeout=10,
        idle_timeout=None,
        lifetime=None,
        lease_warning=30,
        ping_interval=20,
        ping_timeout=20,
        send_timeout=10,
        close_timeout=5,
        wind_down=1,
        drain_timeout=10,
        max_connections=10_000,
        max_message_size=1024 * 1024,
        max_fragments=131_072,
        max_message_errors=10,
        inbound_queue=64,
        inbound_buffer=None,
        outbound_buffer=1024 * 1024,
        max_subscriptions=100,
        max_rooms=100_000,
        room_history=64 * 1024 * 1024,
    )


def test_each_limit_says_why() -> None:
    """Under each field stands what it is and why it has this default."""
    source = inspect.getsource(Limits)
    for limit in fields(Limits):
        head = f"    {limit.name}: "
        after = source.partition(head)[2].partition("\n")[2]
        assert after.startswith('    """'), limit.name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, -0.5, math.nan, -math.inf, math.inf, 10**400, True, "10", b"1"])
def test_a_limit_is_positive(name: str, value: object) -> None:
    """Nothing, less, NaN, infinity and what is no number are no limits; the text names the field and the remedy."""
    with pytest.raises(ConfigurationError, match=rf"Limits\.{name} is .*; give a (whole )?number greater than 0"):
        with_value(name, value)


@pytest.mark.parametrize("name", NAMES)
def test_none_is_for_what_may_be_unlimited(name: str) -> None:
    """Only some limits can be left out; elsewhere None would fail when the first client arrives."""
    if name in OPTIONAL:
        assert getattr(with_value(name, None), name) is None
    else:
        with pytest.raises(ConfigurationError, match=rf"Limits\.{name} is None; give a (whole )?number greater than 0"):
            with_value(name, None)


def test_the_inbound_buffer() -> None:
    """Left out, it is four messages; given, it holds at least one."""
    assert Limits().inbound_bytes == 4 * 1024 * 1024
    assert Limits(max_message_size=10).inbound_bytes == 40
    assert Limits(max_message_size=10, inbound_buffer=10).inbound_bytes == 10
    with pytest.raises(ConfigurationError, match=r"inbound_buffer \(9\).*max_message_size 10.*raise the one or lower"):
        Limits(max_message_size=10, inbound_buffer=9)
    with pytest.raises(ConfigurationError, match=r"total_inbound_buffer \(9\).*max_message_size 10.*raise the one or"):
        Limits(max_message_size=10, inbound_buffer=10, total_inbound_buffer=9)


@pytest.mark.parametrize("close_timeout", [10.0, 11.0])
def test_closing_leaves_time_for_draining(close_timeout: float) -> None:
    """Closing is a part of draining, so it must be the shorter one."""
    with pytest.raises(ConfigurationError, match=rf"close_timeout \({close_timeout}\).*10.*make it the smaller one"):
        Limits(close_timeout=close_timeout)
    assert Limits(close_timeout=9.99, drain_timeout=3600).close_timeout == 9.99


def test_winding_down_is_a_part_of_draining() -> None:
    """Nothing that a handler still gets when its connection is over may be longer than draining takes."""
    with pytest.raises(ConfigurationError, match=r"wind_down \(10.5\).*10.*make it the smaller one"):
        Limits(wind_down=10.5)
    assert Limits(wind_down=10).wind_down == 10


def test_a_route_overrides_single_fields() -> None:
    """What a route does not name stays the app's."""
    app = Limits(idle_timeout=60, lifetime=3600, max_message_size=100, max_connections=7)
    assert app.override({}) == app
    route = app.override({"idle_timeout": None, "max_message_size": 200})
    expected = Limits(idle_timeout=None, lifetime=3600, max_message_size=200, max_connections=7)
    assert route == expected
    assert app.idle_timeout == 60


def test_every_override_is_a_limit() -> None:
    """The names that a route may set are names of limits; those of the whole server are not among them."""
    own = set(LimitOverrides.__annotations__)
    assert own < set(NAMES)
    assert own.isdisjoint({"handshake_timeout", "drain_timeout", "max_connections", "max_rooms", "room_history"})


@pytest.mark.parametrize("name", ["max_connections", "drain_timeout", "idle", "Idle_timeout", ""])
def test_a_route_cannot_set_what_it_does_not_have(name: str) -> None:
    """A name that is the server's, or nobody's, is named together with those that there are."""
    overrides: LimitOverrides = {}
    overrides.update({name: 1})  # type: ignore[misc]  # pyright: ignore[reportCallIssue, reportArgumentType]  # on purpose
    with pytest.raises(ConfigurationError, match=rf"cannot set the limits \['{name}'\].*it can set auth_timeout, idle"):
        Limits().override(overrides)


def test_an_override_must_work_too() -> None:
    """Values and combinations are checked again."""
    with pytest.raises(ConfigurationError, match=r"Limits\.auth_timeout is -1"):
        Limits().override({"auth_timeout": -1})
    with pytest.raises(ConfigurationError, match="smaller than one message"):
        Limits(inbound_buffer=1024 * 1024).override({"max_message_size": 2 * 1024 * 1024})
    with pytest.raises(ConfigurationError, match=r"close_timeout \(6\) is longer than the app's \(5.0\)"):
        Limits().override({"close_timeout": 6})
    assert Limits().override({"close_timeout": 5}).close_timeout == 5


@pytest.mark.parametrize("name", NAMES)
def test_sizes_and_counts_are_whole(name: str) -> None:
    """A time may have a fraction; half a byte, message or connection may be a mistake."""
    if name.startswith("max_") or name.endswith(("_queue", "_buffer", "_history")):
        with pytest.raises(ConfigurationError, match=rf"Limits\.{name} is 1048576.5; give a whole number"):
            with_value(name, 1048576.5)
    else:
        assert getattr(with_value(name, 7.5), name) == 7.5


def test_an_override_is_a_dictionary() -> None:
    """A second `Limits` would set all that it does not name."""
    with pytest.raises(ConfigurationError, match=r"^limits=Limits\(.* are not those of one route; give a dictionary"):
        Limits().override(cast("LimitOverrides", Limits(idle_timeout=60)))


def test_an_override_without_a_type_checker() -> None:
    """What is no number is said to be none, in a route's limits too."""
    overrides: LimitOverrides = {"close_timeout": None}  # type: ignore[typeddict-item]  # pyright: ignore[reportAssignmentType]  # on purpose
    with pytest.raises(ConfigurationError, match=r"Limits\.close_timeout is None; give a number"):
        Limits().override(overrides)
