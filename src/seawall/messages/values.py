"""Checks of single values that msgspec does not make."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import cast


def finite(value: object) -> object:
    """A float that is neither NaN nor infinite; msgspec would send it as null.

    Raises:
      ValueError: it is.
    """
    number = cast("float", value)
    if number - number != 0:
        raise ValueError("a number is NaN or infinite, which no message can carry")
    return value


def finite_decimal(value: object) -> object:
    """A Decimal that is neither NaN nor infinite.

    Raises:
      ValueError: it is.
    """
    if not cast("Decimal", value).is_finite():
        raise ValueError("a Decimal is NaN or infinite, which no message can carry")
    return value


def plain(value: object) -> object:
    """A value of which only is known that it is an `object`: what JSON can say.

    Raises:
      ValueError: it is something else, or a number in it is NaN or infinite.
    """
    waiting, seen = [value], set[int]()
    while waiting:
        one = waiting.pop()
        if one is None or isinstance(one, str | int):
            continue
        if isinstance(one, float):
            finite(one)
            continue
        if id(one) in seen:
            continue  # a list may contain itself
        seen.add(id(one))
        if isinstance(one, list | tuple):
            waiting += cast("Iterable[object]", one)
        elif isinstance(one, dict):
            entries = cast("dict[object, object]", one)
            waiting += entries.values()
            if not all(isinstance(key, str) for key in entries):
                raise ValueError("a key that is no text")
        else:
            raise ValueError(  # noqa: TRY004 - as for a number that is wrong: both are the value's fault
                f"a {type(one).__name__} where only what JSON can say may be"
            )
    return value
