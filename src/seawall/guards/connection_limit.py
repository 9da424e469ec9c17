"""`limit_connections`: a check that bounds how many connections one subject, or one address, has open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, Literal, TypeAlias, final, get_args

from attrs import field, frozen

from seawall.errors import ConfigurationError
from seawall.guards.gate import Gate
from seawall.guards.guard import Check
from seawall.guards.requirements import Requirement, Requirements
from seawall.mistakes import is_count

#: Whose connections are counted together.
Per: TypeAlias = Literal["subject", "address"]

#: Which connection has to go when there is one too many.
Losing: TypeAlias = Literal["oldest", "newest"]

_PER: Final[tuple[Per, ...]] = get_args(Per)
_LOSING: Final[tuple[Losing, ...]] = get_args(Losing)


@final
@frozen(eq=False)  # two that look alike count for themselves
class ConnectionLimit:
    """How many connections may be open."""

    at_most: int
    per: Per
    losing: Losing


class LimitedGate(ABC):
    """A gate behind which connections are counted."""

    @abstractmethod
    def limit(self, limit: ConnectionLimit, /) -> None:
        """Have the connection count for `limit` when all guards have let it in."""


def limit_connections(at_most: int, *, per: Per, losing: Losing = "newest") -> Check[object]:
    """Let one subject, or one address, have `at_most` connections open at a time.

    ::

        member = bearer(verifier) >> limit_connections(2, per="subject", losing="oldest")

    Counted are the connections of all routes that share this very check, from when all their guards have let them in
    until their end is recorded. Nobody loses a connection to one that is refused; and one that is renewed is not its
    own rival. In ``(a >> limit) | b`` only those count whom `a` has let in.

    Args:
      at_most: how many, 1 or more.
      per: ``"subject"``: of those who were identified by the same issuer and subject, as `bearer` does and
        ``gate.identify``; wherever in the chain that happens. ``"address"``: of the same IPv4 address or IPv6 /64. Unix
        sockets and memory have none, and are not counted; behind a proxy all have the same.
      losing: ``"newest"`` refuses the one that comes, with HTTP 429 or close code 1013; a client whose network has
        gone waits then until its old connection is found to be dead. ``"oldest"`` ends the one that has been open for
        longest, with 3003 "replaced".

    Raises:
      ConfigurationError: the number, or one of the words, is none of these. In a connection: it is to be counted per
        subject, and no guard has identified anybody.
    """
    if not is_count(at_most):
        raise ConfigurationError(f"limit_connections({at_most!r}): give a number of connections, 1 or more")
    if per not in _PER:
        raise ConfigurationError(f'limit_connections(per={per!r}): give "subject" or "address"')
    if losing not in _LOSING:
        raise ConfigurationError(f'limit_connections(losing={losing!r}): give "oldest" or "newest"')
    return _LimitConnections(ConnectionLimit(at_most, per, losing))


@final
@frozen
class _LimitConnections(Check[object]):
    counted: ConnectionLimit = field()

    async def inspect(self, gate: Gate, principal: object, /) -> None:
        if not isinstance(gate, LimitedGate):
            raise ConfigurationError(
                "limit_connections() in the guard of an event, which is no connection; put it into the guard of the "
                "route"
            )
        gate.limit(self.counted)

    def describe(self) -> Requirements:
        many = "connection" if self.counted.at_most == 1 else "connections"
        return ((Requirement(text=f"at most {self.counted.at_most} {many} of one {self.counted.per}"),),)

    def needs_task(self) -> bool:
        return False

    def looks_at_nothing(self) -> bool:
        return True
