"""The shape of a `Position`, which is text in a message."""

from __future__ import annotations

from typing import Annotated, Final, cast, final

import msgspec
from attrs import define, field

from seawall.errors import InvalidMessage
from seawall.messages.problems import Problem
from seawall.messages.shapes import Convert, Shape
from seawall.position import EXPECTED, FORM, Position

#: Text, of which the schema says more. With a limit of msgspec, the error would be about characters.
_TEXT: Final[object] = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{FORM.pattern}$"})]


@final
@define(eq=False)
class PositionShape(Shape):
    """A `Position`, read by its `parse`."""

    wire: object = field(init=False, default=_TEXT)

    @property
    def hashed(self) -> bool:
        """It is text, whose hash is salted."""
        return True

    def builder(self) -> Convert:
        """As `Shape.builder` says."""
        return cast("Convert", Position.parse)

    def dumper(self) -> Convert:
        """As `Shape.dumper` says."""
        return _text

    def rebuild(self, decoded: object, path: str) -> object:
        """As `Shape.rebuild` says."""
        try:
            return Position.parse(cast("str", decoded))
        except InvalidMessage:
            return Problem(path, EXPECTED)

    def wire_kinds(self) -> tuple[type, ...]:
        """As `Shape.wire_kinds` says."""
        return (str,)

    def value_kinds(self) -> tuple[type, ...]:
        """As `Shape.value_kinds` says."""
        return (Position,)


def position_shape(kind: object) -> Shape | None:
    """The shape of a `Position`, if `kind` is that."""
    return PositionShape() if kind is Position else None


def _text(value: object) -> str:
    if not isinstance(value, Position):
        raise TypeError(f"a {type(value).__name__} is sent where Position is declared")
    return str(value)
