"""Questions about annotations."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterable
from typing import Final, cast

#: What ``X | Y`` and ``Union[X, Y]`` are made of.
UNIONS: Final = frozenset[object]((types.UnionType, typing.Union))  # pyright: ignore[reportDeprecated]  # Optional[X] is still written


def origin_of(kind: object) -> object:
    """``list`` of ``list[int]``; None of what has no parameters."""
    found: object = typing.get_origin(kind)
    return found


def arguments_of(kind: object) -> tuple[object, ...]:
    """``int`` of ``list[int]``."""
    found: tuple[object, ...] = typing.get_args(kind)
    return found


def class_of(kind: object) -> type:
    """The class; of a generic one with its parameters, the class alone."""
    return cast("type", origin_of(kind) or kind)


def is_generic(kind: type) -> bool:
    """Whether a class has type parameters that nothing has filled in."""
    parameters: object = getattr(kind, "__parameters__", ())
    return parameters != ()


def is_enum(kind: object) -> bool:
    """Whether it is an enum."""
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def is_named_tuple(kind: object) -> bool:
    """Whether it is a NamedTuple."""
    return isinstance(kind, type) and issubclass(cast("type[object]", kind), tuple) and hasattr(kind, "_fields")


def named_fields(kind: object) -> tuple[str, ...]:
    """The names in a NamedTuple, in order."""
    found: tuple[str, ...] = getattr(kind, "_fields", ())
    return found


def is_hashable(kind: type) -> bool:
    """Whether instances of a class can be hashed."""
    hashes: object = kind.__hash__
    return hashes is not None


def documentation(kind: type) -> str | None:
    """What the class says about itself; a dataclass without docstring says its signature."""
    text = kind.__doc__
    return None if text is None or text.startswith(f"{kind.__name__}(") else text


def shown(kind: object) -> str:
    """How it is called in a text for who has written it."""
    return f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else str(kind)


def name_of(kind: object) -> str:
    """``Say``; ``Page_Item`` for ``Page[Item]``."""
    parts = (
        [class_of(kind).__name__, *(name_of(one) for one in arguments_of(kind))]
        if isinstance(kind, type) or (origin_of(kind) is not None)
        else [str(kind)]
    )
    return "_".join(parts)


def without_alias(kind: object) -> object:
    """What is behind ``NewType`` and ``type X = ...``."""
    while True:
        if isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        elif type(kind).__name__ == "TypeAliasType":
            kind = getattr(kind, "__value__", None)
        else:
            return kind


def members_of(kind: object) -> tuple[object, ...]:
    """The members of a union, those of the unions in it included; a type that is none is its own."""
    kind = without_alias(kind)
    if origin_of(kind) in UNIONS:
        inner = (one for member in arguments_of(kind) for one in members_of(member))
        return tuple(dict.fromkeys(inner))
    return (kind,)


def union(wires: Iterable[object]) -> object:
    """The union of types that msgspec decodes."""
    made: object = typing.Union[tuple(wires)]  # noqa: UP007 - of as many as there are  # pyright: ignore[reportDeprecated]  # as above
    return made
