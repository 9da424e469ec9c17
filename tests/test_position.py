"""Positions: text that stands for one place, and garbage that stands for none."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.errors import InvalidMessage
from seawall.position import Position

EPOCHS = st.text(string.ascii_letters + string.digits, min_size=1, max_size=24)
POSITIONS = st.builds(Position, EPOCHS, st.integers(0, 10**19 - 1))


@given(POSITIONS)
def test_the_text_of_a_position_is_read_again(position: Position) -> None:
    """What `str` writes, `parse` reads, and equal positions have one hash."""
    again = Position.parse(str(position))
    assert again == position
    assert hash(again) == hash(position)


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("aZ09-"), max_size=60))
def test_one_text_for_each_position(text: str) -> None:
    """What is read at all is written as it was: no position has two texts."""
    try:
        position = Position.parse(text)
    except InvalidMessage:
        return
    assert str(position) == text


@pytest.mark.parametrize(
    "garbage",
    [
        *("", "-", "a", "a-", "-1", "a-1-2", "a--1", "a-+1", "a-1.0", "a-01", " a-1", "a-1 ", "a-1\n", "é-1"),
        *("a-\u0661", "a" * 25 + "-1", "a-" + "1" * 20, "a" * 10**6, 7, None, b"a-1", ["a-1"]),
    ],
)
def test_garbage(garbage: object) -> None:
    """Whatever else comes from a peer is an invalid message, and what it was is not in the error."""
    with pytest.raises(InvalidMessage, match="expected a position") as caught:
        Position.parse(garbage)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not checked on purpose
    assert caught.value.path == "$"


def test_positions_have_no_order() -> None:
    """Nothing compares them: those of two logs have no order, and programs would not notice."""
    with pytest.raises(TypeError, match="not supported"):
        sorted([Position("a", 2), Position("a", 1)])  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]  # that is the test
