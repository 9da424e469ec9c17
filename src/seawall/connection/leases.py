"""`Lease`: until when a guard's proof holds.

A lease ends by the clock that says so first. Trio's alone would prolong it while the machine is suspended, when it
stands still, and when the wall clock was behind and has been set; the wall clock alone, when it is set back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import final

import trio
from attrs import frozen

from seawall.clock import unix_time
from seawall.errors import ConfigurationError


@final
@frozen(eq=False)
class Lease:
    """A proof that holds until a deadline."""

    deadline: float
    """When it ends, on Trio's clock."""
    expires_at: float
    """When it ends, in Unix time."""


def until(expires_at: float) -> float:
    """The moment on Trio's clock that is `expires_at` in Unix time.

    Raises:
      ConfigurationError: it is NaN: no time compares as later, and the lease would never end.
    """
    if math.isnan(expires_at):
        raise ConfigurationError("a lease until NaN would never end; give a Unix time, such as a token's exp")
    return trio.current_time() + (expires_at - unix_time())


@final
class Leases:
    """The leases of one connection, which ends when the first of them does."""

    __slots__ = ("_leases", "ends_at", "expires_at")

    def __init__(self) -> None:
        """Begin with none."""
        self._leases: tuple[Lease, ...] = ()
        self.ends_at = math.inf
        """When the first of them ends, on Trio's clock; infinity if there are none."""
        self.expires_at = math.inf
        """The same in Unix time."""

    def add(self, expires_at: float) -> None:
        """Add a lease until `expires_at` in Unix time. Raises as `until`."""
        self._set((*self._leases, Lease(until(expires_at), expires_at)))

    def replace(self, several: Iterable[float]) -> None:
        """Hold leases until `several` times, in Unix time, instead of those that there were. Raises as `until`."""
        self._set(tuple(Lease(until(expires_at), expires_at) for expires_at in several))

    def are_over(self, now: float) -> bool:
        """Whether one of them has ended, by either clock; `now` is on Trio's."""
        return now >= self.ends_at or (self.expires_at < math.inf and unix_time() >= self.expires_at)

    def end_by(self, now: float) -> float:
        """When the first of them ends on Trio's clock, as both clocks say now."""
        return self.ends_at if self.expires_at == math.inf else min(self.ends_at, now + self.expires_at - unix_time())

    def _set(self, leases: tuple[Lease, ...]) -> None:
        self._leases = leases
        self.ends_at = min((lease.deadline for lease in leases), default=math.inf)
        self.expires_at = min((lease.expires_at for lease in leases), default=math.inf)
