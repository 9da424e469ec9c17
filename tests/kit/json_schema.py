"""As much of JSON Schema as Seawall's schemas use: whether a value is allowed, and values that are."""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import cast

from hypothesis import strategies as st

Schema = Mapping[str, object]

WORDS = {
    *("$defs", "$ref", "additionalProperties", "anyOf", "contentEncoding", "default", "description", "discriminator"),
    *("enum", "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maxProperties"),
    *("maximum", "minItems", "minLength", "minProperties", "minimum", "pattern", "prefixItems", "properties"),
    *("propertyNames", "required", "title", "type"),
}

ZONES = st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-3, minutes=-30))])

#: Texts of each format, as Seawall takes them.
FORMATS: Mapping[str, st.SearchStrategy[str]] = {
    "uuid": st.uuids().map(str),
    "date": st.dates().map(str),
    "date-time": st.datetimes(timezones=ZONES).map(dt.datetime.isoformat),
    "time": st.times().map(str),
    "duration": st.integers(-9999, 9999).map(lambda days: f"-P{-days}D" if days < 0 else f"P{days}D"),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False).map(str),
}

TEXT = st.text(st.characters(exclude_categories=["Cs"]))

TYPES: Mapping[str, Callable[[object], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def resolved(schema: Schema, root: Schema) -> Schema:
    """What a schema refers to."""
    assert set(schema) <= WORDS, set(schema) - WORDS
    reference = schema.get("$ref")
    if reference is None:
        return schema
    definitions = cast("Mapping[str, Schema]", root["$defs"])
    return definitions[cast("str", reference).removeprefix("#/$defs/")]


def definition(schema: Schema, *names: str) -> object:
    """What stands in ``$defs`` under these names."""
    found: object = schema["$defs"]
    for name in names:
        found = cast("Schema", found)[name]
    return found


def allows(schema: Schema, value: object, root: Schema) -> bool:
    """Whether `schema` allows a value; a text of a format is taken to be of it."""
    schema = resolved(schema, root)
    if "anyOf" in schema:
        return any(allows(one, value, root) for one in cast("list[Schema]", schema["anyOf"]))
    if "enum" in schema:
        return any(type(one) is type(value) and one == value for one in cast("list[object]", schema["enum"]))
    if "type" not in schema:
        return True
    kinds = schema["type"]
    if not any(TYPES[kind](value) for kind in (cast("list[str]", kinds) if isinstance(kinds, list) else [str(kinds)])):
        return False
    if isinstance(value, str):
        return within(schema, len(value), "Length") and re.search(str(schema.get("pattern", "")), value) is not None
    if isinstance(value, list):
        return allows_items(schema, cast("list[object]", value), root)
    if isinstance(value, dict):
        return allows_entries(schema, cast("dict[str, object]", value), root)
    return not isinstance(value, int | float) or allows_number(schema, value)


def within(schema: Schema, size: int, what: str) -> bool:
    """Whether a size is within ``min...`` and ``max...``."""
    low, high = cast("int", schema.get(f"min{what}", 0)), schema.get(f"max{what}")
    return low <= size and (high is None or size <= cast("int", high))


def allows_number(schema: Schema, value: float) -> bool:
    """Whether a number is within its bounds."""
    bounds = cast("Mapping[str, float]", schema)
    return bounds.get("minimum", value) <= value <= bounds.get("maximum", value) and bounds.get(
        "exclusiveMinimum", float("-inf")
    ) < value < bounds.get("exclusiveMaximum", float("inf"))


def allows_items(schema: Schema, value: list[object], root: Schema) -> bool:
    """Whether an array is allowed."""
    first = cast("list[Schema]", schema.get("prefixItems", []))
    rest = schema.get("items", {})
    return (
        within(schema, len(value), "Items")
        and all(allows(one, item, root) for one, item in zip(first, value, strict=False))
        and all(rest is not False and allows(cast("Schema", rest), item, root) for item in value[len(first) :])
    )


def allows_entries(schema: Schema, value: dict[str, object], root: Schema) -> bool:
    """Whether an object is allowed."""
    known = cast("Mapping[str, Schema]", schema.get("properties", {}))
    other = schema.get("additionalProperties", {})
    names = cast("Schema", schema.get("propertyNames", {}))
    return (
        within(schema, len(value), "Properties")
        and all(name in value for name in cast("list[str]", schema.get("required", [])))
        and all(allows({"type": "string", **names}, name, root) for name in value)
        and all(allows(known[name], item, root) for name, item in value.items() if name in known)
        and all(
            other is not False and allows(cast("Schema", other), item, root)
            for name, item in value.items()
            if name not in known
        )
    )


def values(schema: Schema, root: Schema, depth: int = 0) -> st.SearchStrategy[object]:
    """Values that `schema` allows."""
    schema = resolved(schema, root)
    if "anyOf" in schema:
        options = cast("list[Schema]", schema["anyOf"])
        if depth > 4:  # the end of a recursion
            options = [one for one in options if one.get("type") == "null"] or options
        return st.one_of([values(one, root, depth + 1) for one in options])
    if "enum" in schema:
        return st.sampled_from(cast("list[object]", schema["enum"]))
    kind = schema.get("type")
    if kind is None:
        return st.none() | st.integers() | TEXT
    if kind == ["string", "number"]:
        return FORMATS["decimal"] | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    return cast("st.SearchStrategy[object]", MAKERS[str(kind)](schema, root, depth))


def _integers(schema: Schema, root: Schema, depth: int) -> st.SearchStrategy[int]:
    return st.integers(cast("int | None", schema.get("minimum")), cast("int | None", schema.get("maximum")))


def _numbers(schema: Schema, root: Schema, depth: int) -> st.SearchStrategy[float]:
    bounds = cast("Mapping[str, float | None]", schema)
    return st.floats(
        bounds.get("exclusiveMinimum", bounds.get("minimum")),
        bounds.get("exclusiveMaximum", bounds.get("maximum")),
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema,
        allow_nan=False,
        allow_infinity=False,
    )


def _texts(schema: Schema, root: Schema, depth: int) -> st.SearchStrategy[str]:
    if "contentEncoding" in schema:
        return st.binary().map(lambda raw: base64.b64encode(raw).decode())
    if "format" in schema:
        return FORMATS[str(schema["format"])]
    if "pattern" in schema:
        return st.from_regex(str(schema["pattern"]), fullmatch=True, alphabet=st.characters(codec="ascii"))
    alphabet = st.characters(exclude_categories=["Cs"])
    low, high = cast("int", schema.get("minLength", 0)), cast("int | None", schema.get("maxLength"))
    return st.text(alphabet, min_size=low, max_size=high)


def _arrays(schema: Schema, root: Schema, depth: int) -> st.SearchStrategy[list[object]]:
    if "prefixItems" in schema:
        row = [values(one, root, depth + 1) for one in cast("list[Schema]", schema["prefixItems"])]
        return st.tuples(*row).map(list)
    if depth > 4:
        return st.just([])
    high = cast("int", schema.get("maxItems", 3))
    item = values(cast("Schema", schema.get("items", {})), root, depth + 1)
    return st.lists(item, min_size=cast("int", schema.get("minItems", 0)), max_size=high)


def _objects(schema: Schema, root: Schema, depth: int) -> st.SearchStrategy[dict[str, object]]:
    known = cast("Mapping[str, Schema]", schema.get("properties", {}))
    if known or schema.get("additionalProperties") is False:
        required = cast("list[str]", schema["required"])
        made = {name: values(one, root, depth + 1) for name, one in known.items() if depth < 5 or name in required}
        return st.fixed_dictionaries(
            {name: one for name, one in made.items() if name in required},
            optional={name: one for name, one in made.items() if name not in required},
        )
    names = cast("Schema", {"type": "string", **cast("Schema", schema.get("propertyNames", {}))})
    entry = values(cast("Schema", schema.get("additionalProperties", {})), root, depth + 1)
    keys = cast("st.SearchStrategy[str]", values(names, root))
    return st.dictionaries(keys, entry, max_size=cast("int", schema.get("maxProperties", 2)))


MAKERS: Mapping[str, Callable[[Schema, Schema, int], object]] = {
    "null": lambda schema, root, depth: st.none(),
    "boolean": lambda schema, root, depth: st.booleans(),
    "integer": _integers,
    "number": _numbers,
    "string": _texts,
    "array": _arrays,
    "object": _objects,
}
