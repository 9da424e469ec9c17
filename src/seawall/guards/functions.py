"""`guard` and `check`: steps of a chain, made of functions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar, final, overload

from attrs import frozen

from seawall.callables import Parameter, PathArgument, describe, is_async, path_arguments, yields
from seawall.errors import ConfigurationError
from seawall.guards.gate import Gate
from seawall.guards.guard import Check, Guard
from seawall.guards.requirements import Requirements, requirement_of
from seawall.guards.results import check_annotation
from seawall.guards.service import Service
from seawall.mistakes import several

A = TypeVar("A")
B = TypeVar("B")
Q = ParamSpec("Q")


@final
@frozen
class GuardMaker:
    """What `guard` is with services: it is put over a function."""

    services: tuple[Service, ...]

    def __call__(self, function: Callable[Concatenate[Gate, A, Q], Awaitable[B]], /) -> Guard[A, B]:
        """Make a guard of `function`. Raises as `guard`."""
        _check_async("guard", function)
        check_annotation("a guard", function)
        return _FunctionGuard(function, path_arguments(function, leading=2), self.services)


@final
@frozen
class CheckMaker:
    """What `check` is with services: it is put over a function."""

    services: tuple[Service, ...]

    def __call__(self, function: Callable[Concatenate[Gate, A, Q], Awaitable[None]], /) -> Check[A]:
        """Make a check of `function`. Raises as `check`."""
        _check_async("check", function)
        check_annotation("a check", function)
        return _FunctionCheck(function, path_arguments(function, leading=2), self.services)


@overload
def guard(function: Callable[Concatenate[Gate, A, Q], Awaitable[B]], /) -> Guard[A, B]: ...
@overload
def guard(*, services: Iterable[Service]) -> GuardMaker: ...
def guard(
    function: Callable[Concatenate[Gate, A, Q], Awaitable[B]] | None = None, /, *, services: Iterable[Service] = ()
) -> Guard[A, B] | GuardMaker:
    """Make a guard of an async function ``(gate, proved, ...)`` that returns the principal.

    Further parameters are path parameters, by name; they are checked when a route uses the guard.

    What the function needs done beside the connections is named above it, such as what fetches the keys of a verifier::

        @guard(services=verifier.services())
        async def by_key(gate: Gate, proved: Anonymous) -> Claims:
            return await gate.admit_by(verifier, key_of(gate.handshake))

    Args:
      function: the function.
      services: what every server of the guard runs.

    Raises:
      ConfigurationError: the function is not async, or yields; does not begin with two positional parameters; returns
        a bool. One of `services` is no service.
    """
    make = GuardMaker(_services("guard", services))
    return make if function is None else make(function)


@overload
def check(function: Callable[Concatenate[Gate, A, Q], Awaitable[None]], /) -> Check[A]: ...
@overload
def check(*, services: Iterable[Service]) -> CheckMaker: ...
def check(
    function: Callable[Concatenate[Gate, A, Q], Awaitable[None]] | None = None, /, *, services: Iterable[Service] = ()
) -> Check[A] | CheckMaker:
    """Make a check of an async function ``(gate, principal, ...)`` that returns nothing. See `guard`."""
    make = CheckMaker(_services("check", services))
    return make if function is None else make(function)


def _services(decorator: str, services: Iterable[Service]) -> tuple[Service, ...]:
    named = several(f"@{decorator}: services", services, such_as="verifier.services()")
    for one in named:
        _check_service(decorator, one)
    return named


def _check_service(decorator: str, value: object) -> None:
    if not isinstance(value, Service):
        raise ConfigurationError(
            f"@{decorator}: services= names a {type(value).__name__}, which is no seawall.tokens.Service; a verifier "
            "has some: services=verifier.services()"
        )


def _check_async(decorator: str, function: Callable[..., object]) -> None:  # type: ignore[explicit-any]  # any function
    if yields(function):
        raise ConfigurationError(
            f"@{decorator}: {describe(function)} yields, and nobody would go on with it; write `return`, and "
            "`await gate.enter(...)` for what has to be left again"
        )
    if not is_async(function):
        raise ConfigurationError(f"@{decorator}: {describe(function)} is not an async function; write `async def`")


#: A function under `guard` or `check`, whose path parameters are known from its signature.
_Function: TypeAlias = Callable[Concatenate[Gate, A, ...], Awaitable[B]]  # type: ignore[explicit-any]  # any parameters


def _arguments(gate: Gate, wanted: tuple[PathArgument, ...]) -> dict[str, Parameter]:
    return {parameter.name: gate.params[parameter.name] for parameter in wanted if parameter.name in gate.params}


@final
@frozen
class _FunctionGuard(Guard[A, B]):
    function: _Function[A, B]
    wanted: tuple[PathArgument, ...]
    needed: tuple[Service, ...]

    async def admit(self, gate: Gate, proved: A, /) -> B:
        return await self.function(gate, proved, **_arguments(gate, self.wanted))

    def parameters(self) -> tuple[tuple[PathArgument, ...], ...]:
        return (self.wanted,)

    def services(self) -> tuple[Service, ...]:
        return self.needed

    def owner(self) -> str:
        return describe(self.function)

    def describe(self) -> Requirements:
        return requirement_of(self.function.__doc__, getattr(self.function, "__name__", type(self.function).__name__))


@final
@frozen
class _FunctionCheck(Check[A]):
    function: _Function[A, None]
    wanted: tuple[PathArgument, ...]
    needed: tuple[Service, ...]

    async def inspect(self, gate: Gate, principal: A, /) -> None:
        if not self.wanted:
            return await self.function(gate, principal)
        return await self.function(gate, principal, **_arguments(gate, self.wanted))

    def parameters(self) -> tuple[tuple[PathArgument, ...], ...]:
        return (self.wanted,)

    def services(self) -> tuple[Service, ...]:
        return self.needed

    def owner(self) -> str:
        return describe(self.function)

    def describe(self) -> Requirements:
        return requirement_of(self.function.__doc__, getattr(self.function, "__name__", type(self.function).__name__))
