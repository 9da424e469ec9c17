"""`has`: a check that the principal has certain values, such as roles."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar, cast, final, overload

from attrs import frozen

from seawall.callables import describe, is_async
from seawall.errors import ConfigurationError, Forbidden
from seawall.guards.gate import Gate
from seawall.guards.guard import Check
from seawall.guards.requirements import Requirement, Requirements

Need = TypeVar("Need")
E = TypeVar("E", bound=enum.Enum)

#: As a tuple, because a union would be made anew for each connection.
_TEXTS = (str, bytes)


@overload
def has(values_of: Callable[[Need], Collection[str]], first: str, /, *more: str) -> Check[Need]: ...
@overload
def has(values_of: Callable[[Need], Collection[E]], first: E, /, *more: E) -> Check[Need]: ...
@overload
def has(values_of: Callable[[Need], Collection[int]], first: int, /, *more: int) -> Check[Need]: ...
def has(values_of: Callable[[Need], Collection[object]], /, *wanted: object) -> Check[Need]:
    """Let a principal through that has all of `wanted`; others get `Forbidden`.

    ::

        def roles_of(member: Member) -> frozenset[str]:
            return member.roles


        admin = bearer(verifier) >> has(roles_of, "admin")

    Args:
      values_of: gives the values of a principal, of which there are several: a text is refused, and so is a mapping. A
        function with a name: pyright does not know what a lambda behind ``>>`` is called with.
      wanted: texts, members of an enumeration, or whole numbers.

    Raises:
      ConfigurationError: nothing is wanted, or the first argument is no function that is called with the principal.
    """
    _check_function(values_of)
    if not wanted:
        raise ConfigurationError("has(): name what the principal has to have, as in has(roles_of, 'admin')")
    return _Has(values_of, wanted)


def _check_function(values_of: object) -> None:
    if not callable(values_of) or is_async(values_of):
        raise ConfigurationError(
            f"has() was given {values_of!r}; give a function, which is not async and is called with the principal, "
            "and then what it has to have: has(roles_of, 'admin')"
        )


@final
@frozen
class _Has(Check[Need], Generic[Need]):
    values_of: Callable[[Need], Collection[object]]
    wanted: tuple[object, ...]

    async def inspect(self, gate: Gate, principal: Need, /) -> None:
        values = self.values_of(principal)
        if isinstance(values, _TEXTS):  # "admin" is in "no admin"
            raise ConfigurationError(
                f"has(): {describe(self.values_of)} returned a text; return a set or a list of texts"
            )
        if isinstance(values, Mapping):  # {"admin": False} has the name, and may mean the opposite
            raise ConfigurationError(
                f"has(): {describe(self.values_of)} returned a mapping; return a set or a list, such as its keys()"
            )
        for one in self.wanted:
            if one not in values:
                missing = [other for other in self.wanted if other not in values]
                raise Forbidden(f"{', '.join(map(_name, missing))} is missing")

    def describe(self) -> Requirements:
        document = cast("object", getattr(self.values_of, "__doc__", None))
        what = document.strip(" \n").partition("\n")[0].rstrip(". ") if isinstance(document, str) else ""
        called = str(getattr(self.values_of, "__name__", "<none>"))
        name = what or (called.strip("_").replace("_", " ") if called.isidentifier() else "values")
        return ((Requirement(text=f"{name}: {', '.join(map(_name, self.wanted))}"),),)

    def needs_task(self) -> bool:
        return False


def _name(value: object) -> str:
    return value.name if isinstance(value, enum.Enum) else str(value)
