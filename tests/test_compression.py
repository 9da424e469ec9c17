"""Deflate: its defaults, and what it refuses when it is defined."""

from __future__ import annotations

import inspect
import math

import pytest
from attrs import fields

from seawall.compression import Deflate
from seawall.errors import ConfigurationError

LEVELS = ["level", "memory_level"]
WINDOWS = ["server_max_window_bits", "client_max_window_bits"]
FLAGS = ["server_context_takeover", "client_context_takeover"]


def with_value(name: str, value: object) -> Deflate:
    """A Deflate with one field set to whatever a program without a type checker may give."""
    arguments = {name: value}
    return Deflate(**arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not checked on purpose


def test_the_defaults() -> None:
    """The defaults are those that the documentation names."""
    assert Deflate() == Deflate(
        level=6,
        memory_level=5,
        server_max_window_bits=12,
        client_max_window_bits=12,
        server_context_takeover=True,
        client_context_takeover=True,
        threshold=64,
    )


def test_each_field_says_what_it_is() -> None:
    """Under each field stands what it does."""
    source = inspect.getsource(Deflate)
    for one in fields(Deflate):
        after = source.partition(f"    {one.name}: ")[2].partition("\n")[2]
        assert after.startswith('    """'), one.name


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("value", [0, -1, 10, True, None, 6.0, "6", math.nan], ids=repr)
def test_a_level_is_from_1_to_9(name: str, value: object) -> None:
    """What zlib would refuse, or take for no compression at all, is named together with the range."""
    with pytest.raises(ConfigurationError, match=rf"Deflate\.{name} is .*; give a whole number from 1 to 9$"):
        with_value(name, value)


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("value", [8, 0, -12, 16, False, None, 12.0, "12"], ids=repr)
def test_a_window_is_from_9_to_15_bits(name: str, value: object) -> None:
    """8 bits, which the RFC knows, are not among what zlib can do."""
    with pytest.raises(ConfigurationError, match=rf"Deflate\.{name} is .*; give a whole number from 9 to 15$"):
        with_value(name, value)


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", [0, 1, None, "no"], ids=repr)
def test_context_takeover_is_a_bool(name: str, value: object) -> None:
    """What is only true or false to Python may be a mistake."""
    with pytest.raises(ConfigurationError, match=rf"Deflate\.{name} is .*; give True or False$"):
        with_value(name, value)


@pytest.mark.parametrize("value", [-1, True, None, 1.5, "64", math.inf], ids=repr)
def test_the_threshold_is_a_size(value: object) -> None:
    """A number of bytes, or 0; nothing else."""
    with pytest.raises(ConfigurationError, match=r"Deflate\.threshold is .*; give a size in bytes, or 0"):
        with_value("threshold", value)


@pytest.mark.parametrize(("names", "values"), [(LEVELS, range(1, 10)), (WINDOWS, range(9, 16))])
def test_the_whole_range_is_allowed(names: list[str], values: range) -> None:
    """Both ends and everything between."""
    assert len({with_value(name, value) for name in names for value in values}) >= len(values)
    assert Deflate(threshold=0).threshold == 0
