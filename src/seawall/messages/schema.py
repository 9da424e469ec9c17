"""The JSON Schema of a type: what messages of it look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec

from seawall.messages.codec import Codec
from seawall.messages.decoder import located, message_shape
from seawall.messages.shaping import Shaper

if TYPE_CHECKING:
    from typing_extensions import TypeForm

#: A JSON Schema, as `json.dumps` takes it.
JSONSchema: TypeAlias = "dict[str, object]"


def schema_of(codec: Codec, kind: TypeForm[object], /, *, where: str, sent: bool = False) -> JSONSchema:
    """The JSON Schema (2020-12) of the messages of one type, with its classes in ``$defs``.

    It says of text, numbers and collections what msgspec holds: their types and the limits of stock validators. A
    validator that is not among these may refuse more.

    Args:
      codec: how names are spelled, and whether fields may be there that are not known.
      kind: as `decoder_for` takes it.
      where: who asks, for messages.
      sent: whether the server sends these messages; the types of fields with a converter are then those of the fields.

    Raises:
      ConfigurationError: no message can be of this type.
    """

    def make() -> object:
        shape = message_shape(Shaper(codec, sends=sent, describes=True), kind)
        return _corrected(msgspec.json.schema(shape.wire))

    return cast("JSONSchema", located(where, make))


def _corrected(schema: object) -> object:
    """A set that names a member twice is decoded, and a Decimal may be a number."""
    if isinstance(schema, dict):
        entries = cast("Mapping[str, object]", schema)
        made = {key: _corrected(value) for key, value in entries.items() if key != "uniqueItems"}
        return made | {"type": ["string", "number"]} if made.get("format") == "decimal" else made
    if isinstance(schema, list):
        return [_corrected(one) for one in cast("list[object]", schema)]
    return schema
