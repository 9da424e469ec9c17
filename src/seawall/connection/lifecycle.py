"""`Lifecycle`: the scope of one connection's guards and handler, and the record of what ended it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import trio
from attrs import define, field

from seawall.connection.deadlines import Deadline
from seawall.connection.timeouts import Timeouts
from seawall.errors import ConfigurationError, LeaseExpired, Revoked, SeawallError
from seawall.guards.gate import Renew
from seawall.policy.ending import End


def ignore(_: End) -> None:
    """Stands for a listener that is not told any more."""


@final
@define(eq=False)
class Lifecycle:
    """What ended one connection, once something has, and how long what still runs may go on."""

    timeouts: Timeouts
    """What ends it if nothing else does."""
    scope: trio.CancelScope
    """Around the guards, the handler, and all that the handler has started."""
    _deadline: Deadline
    """Of the connection, in the server's queue."""
    _on_recorded: Callable[[End], None] = field(kw_only=True, alias="on_recorded")
    """Called once, when the end is recorded and before anything is cancelled."""
    ended: End | None = field(init=False, default=None)
    """What ended it."""
    is_closed: bool = field(init=False, default=False)
    """Whether the socket has been closed."""
    _closed: trio.Event | None = field(init=False, default=None)  # made when somebody waits
    _is_draining: bool = field(init=False, default=False)
    _draining: trio.Event | None = field(init=False, default=None)  # made when somebody asks
    _grace_ends_by: float = field(init=False, default=math.inf)  # however often it is extended
    _overdue_at: float = field(init=False, default=math.inf)  # the closing, and once it is closed, what still runs

    @trio.lowlevel.enable_ki_protection
    def end(self, end: End, *, grace: float = 0.0) -> None:
        """Record why the connection ends, then cancel its scope after `grace` seconds. Only the first call counts."""
        if self.ended is not None:
            return
        self._grace_ends_by = min(
            trio.current_time() + self.timeouts.limits.drain_timeout, self.timeouts.leases.ends_at
        )
        self.ended = end
        self._deadline.disarm()
        self._on_recorded(end)
        self.extend(grace)

    def extend(self, grace: float) -> None:
        """Give what still runs `grace` seconds from now.

        It gets no more than ``drain_timeout`` since the end in all, and nothing after the end of its lease.
        """
        if grace > 0:
            self.scope.deadline = min(trio.current_time() + grace, self._grace_ends_by)
        else:
            self.scope.cancel()

    def expire(self, failure: SeawallError) -> bool:
        """Let the connection end with `failure` when the server next looks at its deadlines, which is at once.

        For what is found outside of the connection's own tasks. Returns whether it was not over, or about to be.
        """
        is_first = self.ended is None and self.timeouts.expire(failure)
        self.rearm()
        return is_first

    def revoke(self) -> bool:
        """What a guard proved holds no longer. Returns as `expire`."""
        if self.ended is not None:
            self.extend(0.0)  # what came before a Close is not for the handler any more either
            return False
        return self.expire(Revoked())

    def limit_stage(self, seconds: float) -> None:
        """What the connection does now has to be over in `seconds`."""
        self.timeouts.stage_ends_at = trio.current_time() + seconds
        self.rearm()

    def begin(self) -> None:
        """The upgrade is accepted."""
        self.timeouts.begin()
        self.rearm()

    def rearm(self) -> None:
        """Look at the connection when the first of its deadlines has come."""
        if self.ended is None:
            self._deadline.arm(self.timeouts.due())

    def limit_closing(self, seconds: float) -> None:
        """The closing handshake has to be over in `seconds`, or sooner if that was said before.

        A deadline like the others, because a `trio.CancelScope` for each connection that closes costs twice as much.
        """
        self._overdue_at = min(self._overdue_at, trio.current_time() + seconds)
        self._deadline.arm(self._overdue_at)

    def watch_cleanup(self) -> None:
        """Look whether what still runs has ended ``wind_down`` seconds after its cancellation; see `is_overdue`."""
        now, deadline = trio.current_time(), self.scope.deadline
        cancelled_at = min(deadline, now) if self.scope.cancel_called else deadline
        self._overdue_at = cancelled_at + self.timeouts.limits.wind_down
        self._deadline.arm(self._overdue_at)

    def is_overdue(self, now: float) -> bool:
        """Whether what still runs should have ended; if not, it is looked at again when it should have."""
        if not self.scope.cancel_called:  # it has been given more time; see `extend`
            self._overdue_at = max(self._overdue_at, self.scope.deadline + self.timeouts.limits.wind_down)
        if now >= self._overdue_at:
            return True
        self._deadline.arm(self._overdue_at)
        return False

    def lease(self, expires_at: float, renew: Renew | None) -> None:
        """Hold a lease until `expires_at` (Unix time); the connection ends when the first of its leases does."""
        self.timeouts.lease(expires_at, renew)
        self.rearm()

    async def renew(self, token: str) -> None:
        """Renew the lease that can be renewed with `token`.

        Raises:
          ConfigurationError: no guard of this connection gave a lease that can be renewed.
          LeaseExpired: the connection has already ended.
        """
        await trio.lowlevel.checkpoint()
        if self.ended is not None:
            raise LeaseExpired
        lease = self.timeouts.leases.renewable()
        if lease is None or lease.renew is None:
            raise ConfigurationError("renew(): no guard of this route leases; put bearer(...) into its chain")
        expires_at = await lease.renew(token)
        if self.ended is not None:
            raise LeaseExpired
        self.timeouts.leases.prolong(lease, expires_at)
        self.rearm()

    def drain(self) -> None:
        """The server wants to stop, and the handler may know."""
        self._is_draining = True
        if self._draining is not None:
            self._draining.set()

    @property
    def draining(self) -> trio.Event:
        """Set by `drain`."""
        if self._draining is None:
            self._draining = trio.Event()
            if self._is_draining:
                self._draining.set()
        return self._draining

    def on_closed(self) -> None:
        """The socket has been closed."""
        self.is_closed = True
        self.timeouts.clear()
        self._on_recorded = ignore  # a reference circle would be left to the garbage collector
        if self._closed is not None:
            self._closed.set()

    async def wait_closed(self) -> None:
        """Wait until the socket has been closed."""
        if self._closed is None:
            self._closed = trio.Event()
            if self.is_closed:
                self._closed.set()
        await self._closed.wait()

    def on_finished(self) -> None:
        """Nothing of the connection runs any more."""
        self._deadline.close()
