"""`inherited`: the guard that does not change the principal, for routes and routers below another guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, final, overload

from attrs import frozen

from seawall.callables import PathArgument
from seawall.errors import ConfigurationError
from seawall.guards.gate import Gate
from seawall.guards.guard import Check, Guard
from seawall.guards.requirements import NOTHING, Requirements, both
from seawall.guards.results import inspected
from seawall.guards.service import Service, services_of

C = TypeVar("C")
T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    # Without a default, pyright infers an unknown type where no router says who the principal is; it is an object.
    Proved = DefaultTypeVar("Proved", default=object)
else:
    Proved = TypeVar("Proved")


def inherited(*checks: Check[Proved]) -> Guard[Proved, Proved]:
    """The guard of a route that proves nothing more than its router: the principal is the router's.

    ::

        admin: Router[Admin] = Router()


        @admin.route("/log", guard=inherited())
        async def log(conn: Connection[Admin]) -> None: ...


        @admin.route("/reset", guard=inherited(senior))  # the same principal, but not everyone
        async def reset(conn: Connection[Admin]) -> None: ...

    Where no guard comes before it, as on a route of an app, it is refused: a route without authentication says so with
    `public`.

    Args:
      checks: asked one after the other about the principal.

    Raises:
      ConfigurationError: one of them is no check.
    """
    for one in checks:
        _check_check(one)
    return _Inherited(checks)


def _check_check(value: object) -> None:
    if not isinstance(value, Check):
        raise ConfigurationError(f"inherited() was given {value!r}; give it checks, such as has_scope('chat')")


@final
@frozen
class _Inherited(Guard[T, T]):
    """What `inherited` makes."""

    checks: tuple[Check[T], ...]

    @overload
    def __rshift__(self, after: Guard[T, C], /) -> Guard[T, C]: ...
    @overload
    def __rshift__(self, after: Check[T], /) -> Guard[T, T]: ...
    def __rshift__(self, after: Guard[T, C] | Check[T], /) -> Guard[T, C] | Guard[T, T]:
        """This guard, then `after`; without checks, `after` alone."""
        if isinstance(after, Guard) and not self.checks:
            return after
        return super().__rshift__(after)

    async def admit(self, gate: Gate, proved: T, /) -> T:
        """Return `proved`, if all checks let it through."""
        for one in self.checks:
            await inspected(one, gate, proved)
        return proved

    def parameters(self) -> tuple[tuple[PathArgument, ...], ...]:
        """The path parameters that the checks take."""
        return tuple(wanted for one in self.checks for wanted in one.parameters())

    def describe(self) -> Requirements:
        """What the checks ask for."""
        found = NOTHING
        for one in self.checks:
            found = both(found, one.describe())
        return found

    def needs_task(self) -> bool:
        """Whether one of the checks needs one."""
        return any(one.needs_task() for one in self.checks)

    def reads_cookie(self) -> bool:
        """Whether one of the checks does."""
        return any(one.reads_cookie() for one in self.checks)

    def takes_token(self) -> bool:
        """Whether one of the checks does."""
        return any(one.takes_token() for one in self.checks)

    def accepts(self) -> bool:
        """Whether one of the checks does."""
        return any(one.accepts() for one in self.checks)

    def services(self) -> tuple[Service, ...]:
        """What the checks need."""
        return services_of(*self.checks)

    def decides(self) -> bool:
        """False: checks do not prove who connects."""
        return False

    def may_find_nothing(self) -> bool:
        """Whether there are checks, which may raise `NoCredentials`."""
        return bool(self.checks)
