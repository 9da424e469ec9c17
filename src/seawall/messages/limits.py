"""The limits of attrs' stock validators, said to msgspec: an exact path, and a line in the schema."""

from __future__ import annotations

import math
from typing import Annotated, Final, Protocol, cast

import msgspec
from attrs import validators

from seawall.messages.fields import AttrsField
from seawall.messages.validators import MAX_ADDRESS, Email

#: attrs keeps the classes to itself; what they make is public.
_NUMBER: Final[type] = type(validators.ge(0))
_MAX_LENGTH: Final[type] = type(validators.max_len(0))
_MIN_LENGTH: Final[type] = type(validators.min_len(0))
_AND: Final[type] = type(validators.and_(validators.ge(0)))
_OPTIONAL: Final[type] = type(validators.optional(validators.ge(0)))

#: Up to here every integer is a float, and up to here msgspec compares integers.
_EXACT: Final = 2**53
_WORD: Final = 2**63 - 1


def limited(wire: object, base: object, validator: object) -> object:
    """`wire` with the limits of a validator of its field, as far as msgspec can hold them.

    Whatever this does not know stays with the class, which is then called.

    Args:
      wire: the type of the field in the message, without None.
      base: what it is: only numbers, text, bytes, lists and mappings have limits.
      validator: of the field.
    """
    if base is str and any(isinstance(part, Email) for part in _parts(validator)):
        meta = msgspec.Meta(max_length=MAX_ADDRESS, extra_json_schema={"format": "email"})
        return annotated(wire, meta)
    numeric, sized = base is int or base is float, base is str or base is bytes or base is list or base is dict
    if numeric:
        limits = _number_limits(validator)
    elif sized:
        limits = _length_limits(validator)
    else:
        return wire
    if not limits:
        return wire
    try:
        narrowed = annotated(wire, cast("_MakeMeta", msgspec.Meta)(**limits))
        msgspec.json.Decoder(narrowed if numeric else object)
    except (TypeError, ValueError):
        return wire  # a number that msgspec cannot hold
    return narrowed


def holds(kind: object, validator: object) -> bool:
    """Whether msgspec, given `limited`, refuses all that a validator refuses of a field whose type is `kind`.

    It is asked of numbers and text that cannot be None: what else there is goes to the validator itself.
    """
    if not (kind is int or kind is float or kind is str) or limited(kind, kind, validator) is kind:
        return False
    return all(_is_length(part) if kind is str else _is_bound(part, kind) for part in _parts(validator))


def _is_length(part: object) -> bool:
    bound: object = getattr(part, "min_length" if type(part) is _MIN_LENGTH else "max_length", None)
    return type(part) in {_MIN_LENGTH, _MAX_LENGTH} and type(bound) is int


def _is_bound(part: object, kind: object) -> bool:
    """Whether a number is compared with one that msgspec compares it with in the same way, without rounding."""
    bound: object = getattr(part, "bound", None)
    if type(part) is not _NUMBER:
        return False
    if type(bound) is float:
        return kind is float and math.isfinite(bound)
    return type(bound) is int and abs(bound) <= (_EXACT if kind is float else _WORD)


def _parts(validator: object) -> list[object]:
    """A validator taken apart: what it demands of every value but None."""
    if isinstance(validator, _AND):
        inner = getattr(validator, "_validators", ())
        return [part for one in inner for part in _parts(one)]
    if isinstance(validator, _OPTIONAL):
        return _parts(getattr(validator, "validator", None))
    if isinstance(validator, list | tuple):
        return [part for one in cast("list[object]", validator) for part in _parts(one)]
    return [validator]


def _number_limits(validator: object) -> dict[str, float]:
    """The narrowest of the limits, because msgspec takes one a side."""
    low: tuple[float, bool] | None = None
    high: tuple[float, bool] | None = None
    for part in _parts(validator):
        bound: object = getattr(part, "bound", None)
        if not isinstance(part, _NUMBER) or type(bound) not in {int, float} or not math.isfinite(cast("float", bound)):
            continue
        number = cast("float", bound)
        match getattr(part, "compare_op", None):
            case ">=" | ">" as operator:
                low = max(low or (-math.inf, False), (number, operator == ">"))
            case "<=" | "<" as operator:
                high = min(high or (math.inf, True), (number, operator == "<="))
            case _:
                pass
    limits: dict[str, float] = {}
    if low is not None:
        limits["gt" if low[1] else "ge"] = low[0]
    if high is not None:
        limits["le" if high[1] else "lt"] = high[0]
    return limits


def _length_limits(validator: object) -> dict[str, float]:
    limits: dict[str, float] = {}
    for part in _parts(validator):
        if isinstance(part, _MIN_LENGTH) and isinstance(shortest := getattr(part, "min_length", None), int):
            limits["min_length"] = max(shortest, limits.get("min_length", 0))
        if isinstance(part, _MAX_LENGTH) and isinstance(longest := getattr(part, "max_length", None), int):
            limits["max_length"] = min(longest, limits.get("max_length", longest))
    return limits


def annotated(wire: object, *limits: msgspec.Meta) -> object:
    """A type with what msgspec is to know about it."""
    for one in limits:
        wire = Annotated[wire, one]
    return wire


class _MakeMeta(Protocol):
    def __call__(self, **limits: float) -> msgspec.Meta:
        """Make it."""
        ...


def validator_of(attribute: AttrsField | None) -> object:
    """The validator of a field without converter; with one, the value in the message is not the one validated."""
    return None if attribute is None or attribute.converter is not None else attribute.validator
