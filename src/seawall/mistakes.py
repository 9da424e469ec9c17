"""Values of another type than a type checker would let through, refused where something is defined."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from attrs import Attribute

from seawall.errors import ConfigurationError

T = TypeVar("T")


def several(where: str, value: Iterable[T], *, such_as: str) -> tuple[T, ...]:
    """The entries of `value`, which has to be a list or something else to go through.

    Raises:
      ConfigurationError: it is none, or is a single text; the text of the error begins with `where`.
    """
    _check_several(where, value, such_as)
    return tuple(value)


def _check_several(where: str, value: object, such_as: str) -> None:
    if isinstance(value, str):
        raise ConfigurationError(f"{where}={value!r}: give a list, [{value!r}]")
    if isinstance(value, bytes | bytearray) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{where}={value!r}: give a list, such as {such_as}")


def check_names(where: str, given: Iterable[str], known: Iterable[str], *, kind: str = "option") -> None:
    """Refuse an option that is misspelt, where options come by keyword for a value that does not know who is asked.

    Raises:
      ConfigurationError: one of those `given` is not `known`; the text begins with `where`.
    """
    known = tuple(known)
    for name in given:
        if name not in known:
            raise ConfigurationError(f"{where}: there is no {kind} {name!r}; the {kind}s are {', '.join(known)}")


def is_text(value: object) -> bool:
    """Whether `value` is a str."""
    return isinstance(value, str)


def is_number(value: object) -> bool:
    """Whether `value` is a number; a bool is one to Python only."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: object) -> bool:
    """Whether `value` is a whole number, 1 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def check_counts(where: str, of: str, **counts: object) -> None:
    """Refuse what is no count, such as 100 `of` something.

    Raises:
      ConfigurationError: one is not; the text begins with `where`.
    """
    for name, number in counts.items():
        if not is_count(number):
            raise ConfigurationError(f"{where}: {name}={number!r}; give a number of {of}, such as 100")


def check_methods(where: str, value: object, *names: str) -> None:
    """Refuse what has not all methods of a Protocol; the text of the error begins with `where`.

    Raises:
      ConfigurationError: one is missing, or `value` is the class instead of an instance.
    """
    if isinstance(value, type):
        raise ConfigurationError(f"{where} was given the class {value.__name__}; call it")
    missing = [name for name in names if not callable(getattr(value, name, None))]
    if missing:
        raise ConfigurationError(
            f"{where} was given a {type(value).__name__}, which has no {' and no '.join(missing)}; give a store of "
            "this kind, such as those of seawall.sessions"
        )


def check_text(instance: object, attribute: Attribute[str], value: object) -> None:
    """Validate an attribute that is text.

    Raises:
      ConfigurationError: it is something else.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{type(instance).__name__}: {attribute.name}={value!r} is no text; give a str")
