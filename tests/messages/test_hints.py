"""What the names in annotations stand for."""

from __future__ import annotations

from typing import cast

import pytest
from attrs import frozen

from seawall import JSON, ConfigurationError
from seawall.messages.decoder import EventDecoder, decoder_for
from tests.kit import messages


@frozen
class Place:
    """Has the name of a class of another module, which a class there names."""

    n: int


@frozen
class Point:
    """Likewise, of a class that has a name of its own in the schema."""

    n: int


def test_a_name_stands_for_what_its_module_says() -> None:
    """A message of the same name, from elsewhere, is another class."""
    kind = cast("type[object]", Place | messages.Search)
    text = '{"type":"search","options":{"limit":1},"fixed":{"a_b":1},"places":{"k":["a",{"x":1,"y":2}]}}'
    found = decoder_for(JSON(), kind, where="the test").decode(text)
    assert isinstance(found, messages.Search)
    assert found.places == {"k": messages.Place("a", messages.Point(1, 2))}
    events = EventDecoder(JSON(), (Place, messages.Search), where="the test")
    assert events.decode(text) == (found, None)


def test_two_classes_of_one_name_are_seen() -> None:
    """They are not taken for one."""
    with pytest.raises(ConfigurationError, match="have one name, Point"):
        decoder_for(JSON(), cast("type[object]", Point | messages.Move), where="the test")


def test_what_is_local_stands_for_what_is_beside_it() -> None:
    """Even if the module has something of that name, and however many functions have."""

    def one() -> tuple[type[object], type[object]]:
        @frozen
        class Point:
            text: str

        @frozen
        class Line:
            start: Point

        return Point, Line

    def another() -> tuple[type[object], type[object]]:
        @frozen
        class Point:
            yes: bool

        @frozen
        class Arrow:
            tip: Point

        return Point, Arrow

    (point, line), (other, arrow) = one(), another()
    for kind, text, name in (
        (point | line, '{"type":"line","start":{"text":"a"}}', "start"),
        (other | arrow, '{"type":"arrow","tip":{"yes":true}}', "tip"),
    ):
        found = decoder_for(JSON(), cast("type[object]", kind), where="the test").decode(text)
        assert type(getattr(found, name)) in {point, other}
