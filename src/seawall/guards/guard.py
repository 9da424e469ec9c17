"""`Guard` and `Check`, the steps that prove who connects, and how they are put together to a chain.

A `Guard` takes what is already proved and proves more; its type parameters say what. A `Check` lets a principal
through or refuses, and changes nothing. ``a >> b`` runs one after the other, ``a | b`` tries `b` where `a` finds no
credential; a type checker follows the principal through the chain to the handler::

    member = bearer(verifier) >> has_scope("chat:write") >> load_user  # Guard[Anonymous, User]
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast, final, overload

from attrs import frozen

from seawall.callables import describe
from seawall.errors import ConfigurationError, NoCredentials, Unauthorized
from seawall.guards.gate import Gate
from seawall.guards.requirements import NOTHING, Requirements
from seawall.guards.results import Inspecting, check_annotation, inspected, proved, refuse_result
from seawall.guards.step import Composed, Step

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    Need_contra = DefaultTypeVar("Need_contra", contravariant=True, default=object)
else:
    Need_contra = TypeVar("Need_contra", contravariant=True)


@final
@frozen
class Anonymous:
    """The principal of a client that has proved nothing: every chain of guards starts from it."""


#: What becomes of `NoCredentials` that another than the first guard has raised, where a stranger would come in by it.
_HALF_PROVED: Final = "a credential is missing, which a check or a later guard of the chain wants"


class Guard(Step, ABC, Generic[In_contra, Out_co]):
    """Takes what is proved, proves more.

    Subclass it, or put `guard` over a function. Guards are shared by all connections: keep no state of one in them.

    What `admit` returns is looked at: None, a bool, an exception, a verdict or what nobody has awaited proves nobody,
    and ends the connection as any error does. A subclass whose `admit` is annotated with bool raises
    `ConfigurationError`.
    """

    def __init_subclass__(cls, **options: object) -> None:
        """Refuse a subclass whose `admit` cannot return a principal."""
        super().__init_subclass__(**options)
        check_annotation("a guard", cls.__dict__.get("admit"))

    @abstractmethod
    async def admit(self, gate: Gate, proved: In_contra, /) -> Out_co:
        """Return the principal, or refuse by raising `Unauthorized`, `Forbidden`, or whatever the policy knows."""

    def owner(self) -> str:
        """Where the function was written that is called, for messages."""
        return describe(self.admit)

    def decides(self) -> bool:
        """Whether it decides who may connect. `public` does: everybody. `inherited` leaves that to other guards."""
        return True

    def may_prove(self) -> bool:
        """Whether it may prove more than was proved before it, on one way at least. `inherited` never does."""
        return self.decides()

    def may_find_nothing(self) -> bool:
        """Whether it may raise `NoCredentials`, so that ``|`` asks the next guard. `public` never does."""
        return True

    def before_or(self) -> Guard[In_contra, Out_co]:
        """This guard as the left side of ``|``: only the first guard of a chain may say that there is no credential."""
        return self

    @overload
    def __rshift__(self, after: Guard[Out_co, C], /) -> Guard[In_contra, C]: ...
    @overload
    def __rshift__(self, after: Check[Out_co], /) -> Guard[In_contra, Out_co]: ...
    def __rshift__(self, after: Guard[Out_co, C] | Check[Out_co], /) -> Guard[In_contra, C] | Guard[In_contra, Out_co]:
        """This guard, then `after`."""
        if isinstance(after, Guard):
            return _Then(self, after)
        return _checked(self, after) if _is(after, Check) else NotImplemented

    def __rrshift__(self, before: Check[In_contra], /) -> Guard[In_contra, Out_co]:
        """The check `before`, then this guard."""
        return _CheckThenGuard(before, self) if _is(before, Check) else NotImplemented

    def __or__(self, other: Guard[In_contra, C], /) -> Guard[In_contra, Out_co | C]:
        """This guard, or `other` where this one raises `NoCredentials`; a wrong credential is refused at once.

        If this one is a chain, only its first guard may raise `NoCredentials`. From a later one, or from a check, it
        becomes `Unauthorized`: whoever has proved something comes in as no stranger.

        Resources and leases of this guard stay with the connection even if `other` is asked.

        Raises:
          ConfigurationError: this guard never raises `NoCredentials`, so that the other one would never be asked.
        """
        if not _is(other, Guard):
            return NotImplemented
        if not self.may_find_nothing():
            raise ConfigurationError(
                "the guard before | asks for no credential that could be missing, so that the one behind it would "
                "never be asked; write the one that does first, as in `bearer(verifier) | public`"
            )
        return _Either(self.before_or(), other)


class Check(Step, ABC, Generic[Need_contra]):
    """Lets a principal through or refuses; the principal does not change.

    It is no guard, because it proves nobody: write ``check >> public`` for a route that needs nothing else.

    What `inspect` returns is looked at: anything but None ends the connection as any error does, because it may be
    meant as a refusal. A subclass whose `inspect` is annotated with bool raises `ConfigurationError`.
    """

    def __init_subclass__(cls, **options: object) -> None:
        """Refuse a subclass whose `inspect` returns whether it lets through, instead of raising."""
        super().__init_subclass__(**options)
        check_annotation("a check", cls.__dict__.get("inspect"))

    @abstractmethod
    async def inspect(self, gate: Gate, principal: Need_contra, /) -> None:
        """Return, or refuse by raising."""

    def owner(self) -> str:
        """Where the function was written that is called, for messages."""
        return describe(self.inspect)

    def looks_at_nothing(self) -> bool:
        """Whether it looks at no principal, and only says what is to be done when all guards have passed."""
        return False

    def __rshift__(self, after: Check[Need_contra], /) -> Check[Need_contra]:
        """This check, then `after`."""
        return _Checks(_checks_of(self) + _checks_of(after)) if _is(after, Check) else NotImplemented

    def __rrshift__(self, before: Check[Need_contra], /) -> Check[Need_contra]:
        """The check `before`, then this one; for type checkers, when `before` takes a wider principal than this one."""
        return _Checks(_checks_of(before) + _checks_of(self)) if _is(before, Check) else NotImplemented


def _is(operand: object, kind: type) -> bool:
    """Whether `operand` is a `kind`. A type checker is sure; without one, a wrong operand has to raise TypeError.

    Raises:
      ConfigurationError: it is a function that nobody has decorated, or a class that nobody has called.
    """
    if isinstance(operand, type):
        raise ConfigurationError(f"{operand.__name__} is a class, and no guard or check; write `{operand.__name__}()`")
    if inspect.isroutine(operand):
        raise ConfigurationError(
            f"{describe(operand)} is a function, and no guard or check yet; put @guard over it, or @check, or call it "
            "if it makes one"
        )
    return isinstance(operand, kind)


@final
@frozen
class _Then(Composed, Guard[A, C], Generic[A, B, C]):
    first: Guard[A, B]
    second: Guard[B, C]

    async def admit(self, gate: Gate, before: A, /) -> C:
        between = proved(self.first, await self.first.admit(gate, before))
        return proved(self.second, await self.second.admit(gate, between))

    def parts(self) -> tuple[Step, ...]:
        return self.first, self.second

    def decides(self) -> bool:
        return self.first.decides() or self.second.decides()

    def may_prove(self) -> bool:
        return self.first.may_prove() or self.second.may_prove()

    def may_find_nothing(self) -> bool:
        return self.first.may_find_nothing() or (not self.first.may_prove() and self.second.may_find_nothing())

    def before_or(self) -> Guard[A, C]:
        second = _Later(self.second) if self.first.may_prove() else self.second.before_or()
        return _Then(self.first.before_or(), second)


@final
@frozen
class _Checked(Composed, Guard[A, B]):
    """A guard, then checks of what it has proved. They stand in a row, because each link of a chain costs something."""

    guard: Guard[A, B]
    checks: tuple[Check[B], ...]

    async def admit(self, gate: Gate, before: A, /) -> B:
        principal = proved(self.guard, await self.guard.admit(gate, before))
        for one in self.checks:
            asked: Inspecting[B] = one
            returned = await asked.inspect(gate, principal)
            if returned is not None:
                refuse_result(one, returned)
        return principal

    def parts(self) -> tuple[Step, ...]:
        return self.guard, *self.checks

    def decides(self) -> bool:
        return self.guard.decides()

    def may_prove(self) -> bool:
        return self.guard.may_prove()

    def before_or(self) -> Guard[A, B]:
        return _Checked(self.guard.before_or(), tuple(_LaterCheck(one) for one in self.checks))


@final
@frozen
class _CheckThenGuard(Composed, Guard[A, B]):
    first: Check[A]
    second: Guard[A, B]

    async def admit(self, gate: Gate, before: A, /) -> B:
        await inspected(self.first, gate, before)
        return proved(self.second, await self.second.admit(gate, before))

    def parts(self) -> tuple[Step, ...]:
        return self.first, self.second

    def decides(self) -> bool:
        return self.second.decides()

    def may_prove(self) -> bool:
        return self.second.may_prove()

    def before_or(self) -> Guard[A, B]:
        """As it is, but that what looks at nothing is asked last: it is not to count for who comes in by the other."""
        checks = _checks_of(self.first)
        first = tuple(one for one in checks if not one.looks_at_nothing())
        last = tuple(cast("Check[B]", one) for one in checks if one.looks_at_nothing())
        guard = self.second.before_or()
        for one in reversed(first):
            guard = _CheckThenGuard(_LaterCheck(one), guard)
        return _checked(guard, _Checks(last)) if last else guard


@final
@frozen
class _Either(Composed, Guard[A, B | C], Generic[A, B, C]):
    first: Guard[A, B]
    second: Guard[A, C]

    async def admit(self, gate: Gate, before: A, /) -> B | C:
        try:
            return proved(self.first, await self.first.admit(gate, before))
        except NoCredentials:
            pass
        return proved(self.second, await self.second.admit(gate, before))

    def parts(self) -> tuple[Step, ...]:
        return self.first, self.second

    def describe(self) -> Requirements:
        return self.first.describe() + self.second.describe()

    def decides(self) -> bool:
        return self.first.decides() and self.second.decides()

    def may_take_token(self) -> bool:
        return (
            self.first.needs_task() or super().may_take_token()
        )  # the first may be an application's own, by `admit_by`

    def may_prove(self) -> bool:
        return self.first.may_prove() or self.second.may_prove()

    def may_find_nothing(self) -> bool:
        return self.second.may_find_nothing()

    def before_or(self) -> Guard[A, B | C]:
        return _Either(self.first, self.second.before_or())


@final
@frozen
class _Later(Composed, Guard[A, B]):
    """A guard that is not the first one of the left side of ``|``."""

    guard: Guard[A, B]

    async def admit(self, gate: Gate, before: A, /) -> B:
        try:
            return proved(self.guard, await self.guard.admit(gate, before))
        except NoCredentials as missing:
            raise Unauthorized(_HALF_PROVED) from missing

    def parts(self) -> tuple[Step, ...]:
        return (self.guard,)

    def owner(self) -> str:
        return self.guard.owner()

    def decides(self) -> bool:
        return self.guard.decides()

    def may_prove(self) -> bool:
        return self.guard.may_prove()

    def may_find_nothing(self) -> bool:
        return False


@final
@frozen
class _LaterCheck(Composed, Check[A]):
    """A check on the left side of ``|``."""

    check: Check[A]

    async def inspect(self, gate: Gate, principal: A, /) -> None:
        try:
            await inspected(self.check, gate, principal)
        except NoCredentials as missing:
            raise Unauthorized(_HALF_PROVED) from missing

    def parts(self) -> tuple[Step, ...]:
        return (self.check,)

    def owner(self) -> str:
        return self.check.owner()


@final
@frozen
class _Checks(Composed, Check[A]):
    """Checks, one after the other."""

    checks: tuple[Check[A], ...]

    async def inspect(self, gate: Gate, principal: A, /) -> None:
        for one in self.checks:
            await inspected(one, gate, principal)

    def parts(self) -> tuple[Step, ...]:
        return self.checks


def _checks_of(check: Check[A]) -> tuple[Check[A], ...]:
    """The checks in a row that `check` is."""
    return check.checks if isinstance(check, _Checks) else (check,)


def _checked(guard: Guard[A, B], check: Check[B]) -> Guard[A, B]:
    if isinstance(guard, _Checked):
        return _Checked(guard.guard, guard.checks + _checks_of(check))
    return _Checked(guard, _checks_of(check))


@final
@frozen
class _Public(Guard[Anonymous, Anonymous]):
    async def admit(self, gate: Gate, proved: Anonymous, /) -> Anonymous:
        return proved

    def describe(self) -> Requirements:
        return NOTHING

    def needs_task(self) -> bool:
        return False

    def may_find_nothing(self) -> bool:
        return False


public: Guard[Anonymous, Anonymous] = _Public()
"""Lets everybody in. A route without authentication is declared by this name."""
