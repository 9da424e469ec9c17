"""What is wrong with a message: texts of ours for the mistakes that msgspec and validators find.

msgspec's own texts repeat keys and values of the peer, and so do those of attrs' validators. Only their kind is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, final

from attrs import frozen

from seawall.errors import Invalid, InvalidMessageCode

REFUSED: Final = "refused by its validator"
TOO_DEEP: Final = "nested too deeply"
COLLIDING: Final = "too many values of one hash"
REF_EXPECTED: Final = "expected an integer from 0 to 2^53-1, or text of at most 64 bytes"
MAX_PATH: Final = 160
MAX_DETAIL: Final = 200

_UNKNOWN_FIELD: Final = "Object contains unknown field `"
_PLACE = re.compile(r" - at (?:`key` in )?`(\$[^`]*)`\Z")
_EXPECTED_GOT = re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`\Z")
_LENGTH = re.compile(r"Expected `(str|bytes|array|object)` of length (>=|<=) (\d+)\Z")
_ROW = re.compile(r"Expected `array` of (?:at (?:least|most) )?length (\d+)(?: to (\d+))?(?:, got \d+)?\Z")
_BOUND = re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) (-?[0-9.e+-]+)\Z")
_MISSING = re.compile(r"Object missing required field `([^`]*)`\Z")

#: msgspec's names of types, in words of JSON.
_TYPES = {
    "int": "an integer", "float": "a number", "str": "text", "bool": "true or false", "null": "null",
    "array": "an array", "object": "an object", "bytes": "text in base64", "datetime": "a date and time",
    "date": "a date", "time": "a time", "duration": "a duration", "uuid": "a UUID", "decimal": "a decimal number",
}  # fmt: skip
_UNITS = {"str": "characters", "bytes": "bytes", "array": "items", "object": "entries"}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}

#: By how msgspec's text begins.
_BEGINNINGS: Mapping[str, str] = {
    _UNKNOWN_FIELD: "a field that is not known",
    "Invalid enum value": "expected one of the values that are allowed",
    "Invalid value": "expected a type that is known",
    "Invalid UUID": "expected a UUID",
    "Invalid RFC3339 encoded datetime": "expected a date and time of RFC 3339",
    "Invalid RFC3339 encoded date": "expected a date of RFC 3339",
    "Invalid RFC3339 encoded time": "expected a time of RFC 3339",
    "Invalid ISO8601 duration": "expected a duration of ISO 8601",
    "Only units": "expected a duration of ISO 8601 in days, hours, minutes and seconds",
    "Invalid base64": "expected text in base64",
    "Invalid decimal": "expected a decimal number",
    "Invalid MessagePack timestamp": "expected a timestamp",
    "Invalid epoch timestamp": "expected a timestamp",
    "Timestamp is out of range": "expected a timestamp within range",
    "Duration is out of range": "expected a duration within range",
    "Integer value out of range": "expected a number within range",
    "Number out of range": "expected a number within range",
    "Expected `str` matching regex": "expected text of another form",
    "Expected `int` that's a multiple": "expected a multiple of another number",
    "Expected `float` that's a multiple": "expected a multiple of another number",
}


@final
@frozen
class Problem:
    """Where a message is wrong, and what was expected there."""

    path: str
    detail: str
    code: InvalidMessageCode = "invalid_message"


def of_msgspec(text: str) -> Problem:
    """What an error of msgspec says, in our words; nothing that the peer has chosen is in them.

    The place stands at the end. Where an unknown field itself ends like one, the caller has to look: `may_be_a_key`.
    """
    place = _PLACE.search(text)
    path = "$" if place is None else place[1] + ("[...]" if "`key` in " in place[0] else "")
    said = text if place is None else text[: place.start()]
    if (missing := _MISSING.fullmatch(said)) is not None:
        return Problem(f"{path}.{missing[1]}", "missing")
    detail = _detail(said)
    return Problem(path, detail)


def _detail(said: str) -> str:
    if (types := _EXPECTED_GOT.fullmatch(said)) is not None:
        expected = " or ".join(_TYPES.get(name, name) for name in types[1].split(" | "))
        return f"expected {expected}, got {_TYPES.get(types[2], types[2])}"
    if (length := _LENGTH.fullmatch(said)) is not None:
        return f"expected {_BOUNDS[length[2]]} {length[3]} {_UNITS[length[1]]}"
    if (row := _ROW.fullmatch(said)) is not None:
        return f"expected {row[1]} items" if row[2] is None else f"expected {row[1]} to {row[2]} items"
    if (bound := _BOUND.fullmatch(said)) is not None:
        return f"expected {_BOUNDS[bound[1]]} {bound[2]}"
    if said.startswith("Expected") and said.endswith(("with a timezone component", "with no timezone component")):
        return "expected a time zone" if "with a " in said else "expected no time zone"
    if said in {"Expected `str`", "Expected `int`"}:
        return "expected a type that is known"
    for beginning, detail in _BEGINNINGS.items():
        if said.startswith(beginning):
            return detail
    return "not what is expected here"


def may_be_a_key(text: str) -> str | None:
    """The name of an unknown field, if it stands in the outermost object and ends like a place."""
    return text[len(_UNKNOWN_FIELD) : -1] if text.startswith(_UNKNOWN_FIELD) and _PLACE.search(text) else None


def of_validator(error: Exception, path: str) -> Problem:
    """What a validator that has raised `error` lets the peer read."""
    return Problem(path, shortened(str(error), MAX_DETAIL) if isinstance(error, Invalid) else REFUSED)


def shortened(text: str, limit: int) -> str:
    """`text` in at most `limit` bytes of UTF-8; what cannot be encoded is replaced."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode("utf-8", "ignore") + "..."
