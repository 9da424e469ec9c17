"""`inherited`: the guard that does not change the principal, for routes and routers below another guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, final, overload

from attrs import frozen

from seawall.errors import ConfigurationError
from seawall.guards.gate import Gate
from seawall.guards.guard import Check, Guard
from seawall.guards.results import inspected
from seawall.guards.step import Composed, Step

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
class _Inherited(Composed, Guard[T, T]):
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

    def parts(self) -> tuple[Step, ...]:
        """The checks."""
        return self.checks

    def decides(self) -> bool:
        """False: checks do not prove who connects."""
        return False

    def may_find_nothing(self) -> bool:
        """Whether there are checks, which may raise `NoCredentials`."""
        return bool(self.checks)
