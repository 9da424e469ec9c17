"""Lag: what a policy takes, and what it refuses when it is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from seawall.errors import ConfigurationError
from seawall.lag import Disconnect, DropNewest, DropOldest, Latest, check_lag


async def later(value: object) -> object:
    """An async function, which nobody would await."""
    return value


def both(first: object, second: object) -> object:
    """A function that takes too much."""
    return (first, second)


@pytest.mark.parametrize("kind", [DropOldest, DropNewest, Disconnect])
@pytest.mark.parametrize("number", [0, -1, 1.5, True, "8", None])
def test_a_number_of_events(kind: Callable[[object], object], number: object) -> None:
    """One event or more may wait; the text names the policy and the remedy."""
    with pytest.raises(ConfigurationError, match=rf"{kind.__name__}: n={number!r}; give a number of events"):
        kind(number)


def test_the_latest_of_each_key() -> None:
    """The key is a function of the value; a thousand keys are kept unless others are asked for."""
    assert Latest(both.__get__(1)).at_most == 1000
    with pytest.raises(ConfigurationError, match=r"Latest was given 'symbol', which cannot be called"):
        Latest("symbol")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not checked on purpose
    with pytest.raises(ConfigurationError, match=r"Latest: later\(\) .* is async"):
        Latest(cast("Callable[[object], str]", later))
    with pytest.raises(ConfigurationError, match=r"Latest: both\(\) .* is called with \(value\)"):
        Latest(both)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not checked on purpose
    with pytest.raises(ConfigurationError, match=r"Latest: at_most=0; give a number of keys"):
        Latest(str, at_most=0)


def test_what_is_no_policy() -> None:
    """A policy is one of the four."""
    for good in (DropOldest(1), DropNewest(1), Disconnect(1), Latest(str)):
        check_lag("topic 'a'", good)
    for bad in (None, 256, "block", Disconnect):
        with pytest.raises(ConfigurationError, match=r"topic 'a': lag=.*; give DropOldest\(n\)"):
            check_lag("topic 'a'", bad)
