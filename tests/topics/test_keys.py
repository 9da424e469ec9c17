"""Which room is meant: patterns that are refused when they are written, and parameters that are refused later."""

from __future__ import annotations

import enum
import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.callables import Parameter
from seawall.errors import ConfigurationError, InvalidMessage
from seawall.topics.keys import MAX_TEXT, RoomPattern

PATTERN = RoomPattern.parse("rooms/{room}/{part}")
NUMBERED = RoomPattern.parse("rooms/{room:int}/{id:uuid}/{at:int}")
NOBODY = UUID(int=0)
TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("/\0,'\"\\"), max_size=6)


class Colour(enum.StrEnum):
    """Text that is more than text."""

    RED = "red"


def test_a_pattern() -> None:
    """Literals and placeholders, in their order; without placeholders there is one room."""
    assert NUMBERED.text == "rooms/{room:int}/{id:uuid}/{at:int}"
    assert list(NUMBERED.parameters.items()) == [("room", int), ("id", UUID), ("at", int)]
    assert RoomPattern.parse("news").key({}).parameters == ()
    assert RoomPattern.parse("rooms/{room:str}").parameters == {"room": str}


def test_the_shape() -> None:
    """Patterns that differ in names only are of one shape."""
    assert RoomPattern.parse("rooms/{a}/{b:int}").shape == RoomPattern.parse("rooms/{c:str}/{d:int}").shape
    assert RoomPattern.parse("rooms/{a}").shape != RoomPattern.parse("rooms/{a:int}").shape


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "it has an empty segment"),
        ("/rooms/{room}", "what rooms are called is no path; write 'rooms/{room}'"),
        ("rooms//x", "it has an empty segment"),
        ("rooms/", "it has an empty segment"),
        ("rooms/x{room}", "the placeholder in 'x{room}' is not a whole segment"),
        ("rooms/{room", "the placeholder in '{room' is not a whole segment"),
        ("rooms/{a}{b}", "the placeholder in '{a}{b}' is not a whole segment"),
        ("rooms/{}", "'' cannot be the name of a parameter"),
        ("rooms/{class}", "'class' cannot be the name of a parameter"),
        ("rooms/{ﬁ}", "'ﬁ' cannot be the name of a parameter"),
        ("rooms/{room:path}", "there is no converter 'path'; known are str, int, uuid"),
        ("rooms/{room:}", "there is no converter ''"),
        ("rooms/{room}/{room}", "the name 'room' is there twice"),
        ("rooms\n", "it has a character that cannot be printed"),
        (7, "it is no text"),
    ],
)
def test_a_pattern_that_is_wrong(pattern: str, problem: str) -> None:
    """It is refused when it is written, with what to write instead."""
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        RoomPattern.parse(pattern)


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_different_parameters_are_different_rooms(room: str, part: str, other: str, another: str) -> None:
    """Whatever is in them, a `/` too: two keys are equal if all parameters are, and then have one hash."""
    one, two = PATTERN.key({"room": room, "part": part}), PATTERN.key({"part": another, "room": other})
    assert (one == two) is ((room, part) == (other, another))
    assert one == PATTERN.key({"part": part, "room": room})
    assert hash(one) == hash(PATTERN.key({"part": part, "room": room}))


def test_the_pattern_is_a_part_of_the_room() -> None:
    """Two topics have no room in common, and text that looks like a number is another room than the number."""
    assert RoomPattern.parse("a/{x}").key({"x": "1"}) != RoomPattern.parse("b/{x}").key({"x": "1"})
    assert RoomPattern.parse("a/{x}").key({"x": "1"}) != RoomPattern.parse("a/{x:int}").key({"x": 1})
    assert RoomPattern.parse("a").key({}) != ("a", ())


def test_hashes_are_no_concern_of_the_peer() -> None:
    """Numbers of one hash, which anybody can find, name rooms of different hashes."""
    pattern, modulus = RoomPattern.parse("a/{x:int}"), 2**61 - 1
    keys = [pattern.key({"x": number}) for number in range(-3 * modulus + 1, 4 * modulus, modulus)]
    assert len({hash(key.parameters[0]) for key in keys}) <= 2
    assert len({hash(key) for key in keys}) == len(keys)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "takes room, id, at; it was given no parameters"),
        ({"room": 1, "id": NOBODY}, "takes room, id, at; it was given room, id"),
        ({"room": 1, "id": NOBODY, "at": 1, "x": 1}, "takes room, id, at; it was given room, id, at, x"),
        ({"room": "1", "id": NOBODY, "at": 1}, "room is a str; give it a int"),
        ({"room": True, "id": NOBODY, "at": 1}, "room is a bool; give it a int"),
        ({"room": 1, "id": str(NOBODY), "at": 1}, "id is a str; give it a UUID"),
        ({"room": 1, "id": NOBODY, "at": 1.0}, "at is a float; give it a int"),
    ],
)
def test_a_call_that_is_wrong(values: dict[str, Parameter], problem: str) -> None:
    """A mistake of the program says so as Python does, and names the topic."""
    with pytest.raises(TypeError, match=rf"'{re.escape(NUMBERED.text)}'.*{re.escape(problem)}"):
        NUMBERED.key(values)


def test_names_of_clients() -> None:
    """Text that is too long, or can be sent to nobody, and numbers beyond 64 bits, are the fault of a message."""
    for text in ("x" * MAX_TEXT, "é" * (MAX_TEXT // 2), "", "x" * 300, "é" * 200):
        assert PATTERN.key({"room": text, "part": ""}).parameters == (text, "")
    for text in ("x" * (MAX_TEXT + 1), "é" * (MAX_TEXT // 2) + "x", "\ud800", "x" * 300 + "\udfff"):
        with pytest.raises(InvalidMessage, match="expected text of at most 1024 bytes") as caught:
            PATTERN.key({"room": "", "part": text})
        assert caught.value.path == "$.part"
    for number in (2**63, -(2**63)):
        with pytest.raises(InvalidMessage, match="expected a number within range"):
            NUMBERED.key({"room": number, "id": NOBODY, "at": 1})


def test_text_that_is_more_than_text() -> None:
    """A member of an enum names the room that its value names, and is not kept itself."""
    key = PATTERN.key({"room": Colour.RED, "part": "x"})
    assert key == PATTERN.key({"room": "red", "part": "x"})
    assert [type(one) for one in key.parameters] == [str, str]


def test_a_key_is_shown_in_one_line() -> None:
    """With what fills in the pattern, shortened and escaped."""
    assert repr(PATTERN.key({"room": "a\nb", "part": "x" * 100})) == f"rooms/{{room}}/{{part}}('a\\nb', '{'x' * 58}…)"
