"""What the schema of a type allows decodes, and what it forbids is refused."""

from __future__ import annotations

import datetime as dt
import json
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall import JSON, ConfigurationError, InvalidMessage
from seawall.messages.decoder import MessageDecoder, decoder_for
from seawall.messages.schema import JSONSchema, schema_of
from tests.kit.json_schema import allows, definition, values
from tests.kit.messages import (
    MESSAGES,
    Bounded,
    Circle,
    Everything,
    Level,
    Moved,
    Page,
    Point,
    RoomLeft,
    Say,
    Shapes,
    Square,
    Tree,
)

KINDS: tuple[object, ...] = (
    *MESSAGES,
    Say | RoomLeft | Circle,
    Circle | Square | None,
    list[Point],
    dict[Level, int],
    dict[dt.date, int],
    dict[int, int],
)
CODECS = (JSON(), JSON(rename="camel", unknown_fields="ignore"))


def both(kind: object, codec: JSON) -> tuple[JSONSchema, MessageDecoder[object]]:
    """The schema and the decoder of a type."""
    schema = schema_of(codec, cast("type[object]", kind), where="here")
    decoder: MessageDecoder[object] = decoder_for(codec, cast("type[object]", kind), where="here")
    return schema, decoder


CASES = [both(kind, codec) for codec in CODECS for kind in KINDS]
JUNK: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 0, -1, 7, 10**6, 1.5, "", "x" * 50, [], [1], {}, {"x": 1}]
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_what_the_schema_allows_decodes(data: st.DataObject) -> None:
    """Whatever is made by the schema is a value."""
    schema, decoder = data.draw(st.sampled_from(CASES))
    message = data.draw(values(schema, schema))
    assert allows(schema, message, schema)
    decoder.decode(json.dumps(message))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
@given(st.data())
def test_what_the_schema_forbids_is_refused(data: st.DataObject) -> None:
    """A message with something replaced, removed or added is decoded if and only if the schema still allows it."""
    schema, decoder = data.draw(st.sampled_from(CASES))
    message = corrupted(data, data.draw(values(schema, schema)))
    if allows(schema, message, schema) and not of_a_format(schema, message):
        decoder.decode(json.dumps(message))
    elif not allows(schema, message, schema):
        with pytest.raises(InvalidMessage):
            decoder.decode(json.dumps(message))


def of_a_format(schema: JSONSchema, message: object) -> bool:
    """Whether junk text may stand where text of a format has to be: that is no matter of types."""
    names = ("added",) if "propertyNames" in json.dumps(schema) else ()
    return any(f'"{junk}"' in json.dumps(message) for junk in ("", "x" * 50, "x", *names))


def corrupted(data: st.DataObject, message: object) -> object:
    """`message` with one thing changed somewhere in it."""
    if isinstance(message, dict) and message and data.draw(st.booleans()):
        entries = cast("dict[str, object]", message)
        name = data.draw(st.sampled_from(sorted(entries)))
        return entries | {name: corrupted(data, entries[name])}
    if isinstance(message, list) and message and data.draw(st.booleans()):
        items = cast("list[object]", message)
        at = data.draw(st.integers(0, len(items) - 1))
        return [*items[:at], corrupted(data, items[at]), *items[at + 1 :]]
    if isinstance(message, dict) and data.draw(st.booleans()):
        entries = cast("dict[str, object]", message)
        gone = data.draw(st.sampled_from(["", *sorted(entries)]))
        rest = {name: value for name, value in entries.items() if name != gone}
        return rest if gone else rest | {"added": data.draw(JUNK)}
    if isinstance(message, list) and data.draw(st.booleans()):
        return [*cast("list[object]", message), data.draw(JUNK)]
    return data.draw(JUNK)


def test_what_a_schema_says() -> None:
    """Limits, defaults that are values, docstrings, and nothing of ours."""
    schema = schema_of(JSON(rename="camel"), Say | RoomLeft, where="here")
    assert schema["$defs"] == {
        "Say": {
            "title": "Say",
            "description": "The message of most tests, with four validators.",
            "type": "object",
            "properties": {
                "type": {"enum": ["say"]},
                "room": {"type": "string", "minLength": 1, "maxLength": 32},
                "text": {"type": "string", "maxLength": 10},
                "n": {"type": "integer", "minimum": 0, "default": 1},
            },
            "required": ["type", "room", "text"],
            "additionalProperties": False,
        },
        "RoomLeft": {
            "title": "RoomLeft",
            "description": "One whose name has two words.",
            "type": "object",
            "properties": {
                "type": {"enum": ["room_left"]},
                "roomId": {"type": "string"},
                "lastMessage": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            },
            "required": ["type", "roomId"],
            "additionalProperties": False,
        },
    }
    assert "NOTHING" not in json.dumps(schema_of(JSON(), Everything, where="here"))
    assert "default" not in json.dumps(
        definition(schema_of(JSON(), Tree, where="here"), "Tree", "properties", "children")
    )
    json.dumps([schema for schema, _ in CASES])


def test_a_class_in_a_union_and_outside_of_one() -> None:
    """It has two definitions, one with the type."""
    alone = schema_of(JSON(), Page[Circle], where="here")
    assert "type" not in str(definition(alone, "Circle", "required"))
    both = schema_of(JSON(), Shapes | Page[Circle], where="here")
    assert "type" in str(definition(both, "Circle", "required"))
    assert "type" not in str(definition(both, "CircleUntagged", "required"))
    assert schema_of(JSON(), Bounded, where="here", sent=True)["$ref"] == "#/$defs/Bounded"
    with pytest.raises(ConfigurationError, match="here: Point"):
        schema_of(JSON(), Point, where="here")
    assert schema_of(JSON(), Moved, where="here") == schema_of(JSON(), Moved, where="here", sent=True)
