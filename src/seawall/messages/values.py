"""Checks of single values that msgspec does not make."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, cast

import msgspec

from seawall.messages.problems import MAX_PATH, Problem

#: What a format may carry that JSON cannot.
_FOREIGN: Final[Mapping[type, str]] = {bytes: "bytes", msgspec.msgpack.Ext: "an extension", datetime: "a timestamp"}


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


def not_finite(value: object, path: str) -> Problem:
    """What `finite` and `finite_decimal` find wrong."""
    return Problem(path, "expected a finite number")


def not_plain(value: object, path: str) -> Problem:
    """What `plain` finds wrong, and where: the first of all, as they stand in the message."""
    inside = [iter(((value, path),))]
    while inside:
        for one, place in inside[-1]:
            if (problem := _fault(one, place)) is not None:
                return problem
            inside.append(_parts(one, place))
            break
        else:
            inside.pop()
    return Problem(path, "not what is expected here")


def _fault(value: object, path: str) -> Problem | None:
    """What is wrong with a value, whatever is in it."""
    if isinstance(value, dict):
        has_text = all(isinstance(key, str) for key in cast("dict[object, object]", value))
        return None if has_text else Problem(f"{path}[...]", "expected a key of text")
    if value is None or isinstance(value, str | int | list | tuple):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else not_finite(value, path)
    return Problem(path, f"expected what JSON can say, got {_FOREIGN.get(type(value), 'something else')}")


def _parts(value: object, path: str) -> Iterator[tuple[object, str]]:
    """What is in a value, with paths that are not longer than a peer can read."""
    is_long = len(path) > MAX_PATH
    if isinstance(value, dict):
        place = path if is_long else f"{path}[...]"
        yield from ((item, place) for item in cast("dict[object, object]", value).values())
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("Iterable[object]", value)):
            yield item, path if is_long else f"{path}[{index}]"
