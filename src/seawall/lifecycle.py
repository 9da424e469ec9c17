"""How long a connection lives: `Lease`, `Lifecycle`, and the `DeadlineQueue` that minds the deadlines."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, final

import trio
from attrs import define, field

from seawall.errors import ConfigurationError, IdleTimeout, LeaseExpired, LifetimeReached, Revoked, SeawallError
from seawall.guards.gate import Renew
from seawall.limits import Limits
from seawall.outcome import Cause, End
from seawall.wire.waiter import nothing

#: Connections whose deadlines are looked at before other tasks have their turn.
AT_A_TIME = 20


@final
@define(eq=False)
class Lease:
    """A proof that holds until a deadline."""

    deadline: float
    """When it ends, on Trio's clock."""
    renew: Renew | None = field(default=None, repr=False)
    """How to prolong it, where that is possible."""


def until(expires_at: float) -> float:
    """The moment on Trio's clock that is `expires_at` in Unix time.

    Raises:
      ConfigurationError: it is NaN, which is later than nothing: the lease would never end.
    """
    if math.isnan(expires_at):
        raise ConfigurationError("a lease until NaN would never end; give a Unix time, such as a token's exp")
    return trio.current_time() + (expires_at - time.time())


@final
@define(order=False)
class Deadline:
    """When to look at one `Lifecycle`."""

    due: float
    number: int
    """Tells alarms of the same moment apart."""
    lifecycle: Lifecycle | None
    """None if it is not to be looked at any more; so the alarm keeps nothing alive until it is due."""

    def __lt__(self, other: Deadline) -> bool:
        """Whether it is the earlier one."""
        return (self.due, self.number) < (other.due, other.number)


@final
class DeadlineQueue:
    """Wakes each `Lifecycle` at its next deadline: one task for all the connections of a server."""

    def __init__(self) -> None:
        """Start empty."""
        self._heap: list[Deadline] = []
        self._order = itertools.count()
        self._stale = 0
        self._sleep = trio.CancelScope()

    def arm(self, lifecycle: Lifecycle, due: float) -> None:
        """Look at `lifecycle` at `due` on Trio's clock at the latest."""
        if lifecycle.deadline is not None and lifecycle.deadline.due <= due:
            return  # it is looked at before, and armed again then
        self.disarm(lifecycle)
        if due < math.inf:
            lifecycle.deadline = Deadline(due, next(self._order), lifecycle)
            heapq.heappush(self._heap, lifecycle.deadline)
            if due < self._sleep.deadline:  # noqa: PLR1730 - to set it costs more than to look
                self._sleep.deadline = due

    def disarm(self, lifecycle: Lifecycle) -> None:
        """Forget `lifecycle`. An empty alarm stays until it is due, or until half of all are empty."""
        if lifecycle.deadline is None:
            return
        lifecycle.deadline.lifecycle = None
        lifecycle.deadline = None
        self._stale += 1
        if self._stale * 2 > len(self._heap):
            self._heap = [deadline for deadline in self._heap if deadline.lifecycle is not None]
            heapq.heapify(self._heap)
            self._stale = 0

    def __len__(self) -> int:
        """How many connections it minds."""
        return len(self._heap) - self._stale

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Sleep until the next deadline, look, and again, until cancelled."""
        while True:
            with trio.move_on_at(self._heap[0].due if self._heap else math.inf) as self._sleep:
                await trio.sleep_forever()
            self._look(trio.current_time())

    def _look(self, now: float) -> None:
        """Look at those that are due, some at a time: ending thousands at once would hold up all the others.

        Not in `run`, whose variables would keep the last one alive while it sleeps.
        """
        for _ in range(AT_A_TIME):
            if not self._heap or self._heap[0].due > now:
                return
            lifecycle = heapq.heappop(self._heap).lifecycle
            if lifecycle is None:
                self._stale -= 1
            else:
                lifecycle.deadline = None
                try:
                    lifecycle.check(now)
                except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
                    lifecycle.give_up(fault)


class Liveness(Protocol):
    """What a `Lifecycle` asks of the connection's wire; `seawall.wire.keepalive.Keepalive` is one."""

    @property
    def message_at(self) -> float:
        """When the last message came from the peer, taken by the handler or not."""
        ...

    def begin(self) -> None:
        """The connection is open."""
        ...

    def due(self) -> float:
        """When to `check` next, on Trio's clock."""
        ...

    def check(self, now: float) -> SeawallError | None:
        """What is wrong with the wire or the peer, if anything."""
        ...


@final
@define(eq=False)
class Lifecycle:
    """The scope of one connection's guards and handler, and the record of what ended it."""

    limits: Limits
    """Of the route, once there is one."""
    _deadlines: DeadlineQueue
    """Minds the deadlines."""
    _on_end: Callable[[End], None] = field(kw_only=True, alias="on_end")
    """Called once, when the end is recorded and before anything is cancelled."""
    _on_due: Callable[[Exception], None] = field(kw_only=True, alias="on_due")
    """Called with what has run out, or what is wrong with the wire."""
    scope: trio.CancelScope = field(init=False, factory=trio.CancelScope)
    ended: End | None = field(init=False, default=None)
    """What ended it."""
    deadline: Deadline | None = field(init=False, default=None)
    is_closed: bool = field(init=False, default=False)
    """Whether the socket has been closed."""
    _closing: trio.Event | None = field(init=False, default=None)  # made when somebody waits
    _liveness: Liveness | None = field(init=False, default=None)
    _leases: tuple[Lease, ...] = field(init=False, default=())
    _lifetime_ends_at: float = field(init=False, default=math.inf)
    _drains: bool = field(init=False, default=False)
    _draining: trio.Event | None = field(init=False, default=None)  # made when somebody asks
    _revoked: bool = field(init=False, default=False)
    _grace_ends_by: float = field(init=False, default=math.inf)  # however often it is extended
    _late_at: float = field(init=False, default=math.inf)
    _on_late: Callable[[], None] = field(init=False, default=nothing)
    _last_message: float = field(init=False, default=-math.inf)

    @trio.lowlevel.enable_ki_protection
    def end(self, end: End, *, grace: float = 0.0) -> None:
        """Record why the connection ends, then cancel its scope after `grace` seconds. Only the first call counts."""
        if self.ended is not None:
            return
        self._grace_ends_by = min(trio.current_time() + self.limits.drain_timeout, self._lease_end())
        self.ended = end
        self._deadlines.disarm(self)
        self._late_at = math.inf
        self._on_end(end)
        self.extend(grace)

    def extend(self, grace: float) -> None:
        """Give what still runs `grace` seconds from now.

        It gets no more than ``drain_timeout`` since the end in all, and nothing after the end of its lease.
        """
        if grace > 0:
            self.scope.deadline = min(trio.current_time() + grace, self._grace_ends_by)
        else:
            self.scope.cancel()

    def within(self, seconds: float, on_late: Callable[[], None]) -> None:
        """What the connection does now has to be over in `seconds`, or `on_late` is called."""
        self._late_at, self._on_late = trio.current_time() + seconds, on_late
        if self.ended is None:
            self._deadlines.arm(self, self._late_at)

    def drain(self) -> None:
        """The server wants to stop, and the handler may know."""
        self._drains = True
        if self._draining is not None:
            self._draining.set()

    @property
    def draining(self) -> trio.Event:
        """Set by `drain`."""
        if self._draining is None:
            self._draining = trio.Event()
            if self._drains:
                self._draining.set()
        return self._draining

    def mind(self, on_late: Callable[[], None]) -> None:
        """Call `on_late` if what still runs has not ended ``wind_down`` seconds after its cancellation; see `part`."""
        ends_at = min(self.scope.deadline, trio.current_time()) if self.scope.cancel_called else self.scope.deadline
        self._late_at, self._on_late = ends_at + self.limits.wind_down, on_late
        self._deadlines.arm(self, self._late_at)

    def part(self) -> None:
        """Nothing runs any more."""
        self._deadlines.disarm(self)
        self._on_late = nothing

    def close(self) -> None:
        """The socket has been closed."""
        self.is_closed = True
        # Nothing is due any more, and nobody is to be told: circles would be left to the garbage collector.
        self._liveness, self._leases = None, ()
        self._on_late = self._on_end = self._on_due = nothing
        if self._closing is not None:
            self._closing.set()

    async def wait_closed(self) -> None:
        """Wait until the socket has been closed."""
        if self._closing is None:
            self._closing = trio.Event()
        if self.is_closed:
            self._closing.set()
        await self._closing.wait()

    def open(self) -> None:
        """The upgrade is accepted: lifetime and idle time count from now."""
        now = trio.current_time()
        self._late_at, self._on_late = math.inf, nothing
        self._last_message = now
        if self._liveness is not None:
            self._liveness.begin()
        if self.limits.lifetime is not None:
            self._lifetime_ends_at = now + self.limits.lifetime
        self.rearm()

    def watch(self, liveness: Liveness) -> None:
        """Mind the wire as well, from now on."""
        self._liveness = liveness

    def touch(self) -> None:
        """A message was sent or taken."""
        if self.limits.idle_timeout is not None:
            self._last_message = trio.current_time()

    def lease(self, expires_at: float, renew: Renew | None) -> None:
        """Hold a lease until `expires_at` (Unix time); the connection ends when the first of its leases does."""
        self._leases += (Lease(until(expires_at), renew),)
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
        for lease in self._leases:
            if lease.renew is not None:
                expires_at = await lease.renew(token)
                if self.ended is not None:
                    raise LeaseExpired
                lease.deadline = until(expires_at)
                self.rearm()
                return
        raise ConfigurationError("renew(): no guard of this route leases; put bearer(...) into its chain")

    def revoke(self) -> bool:
        """What a guard proved holds no longer: let the sweeper end the connection. Whether that was not known yet."""
        if self.ended is not None:
            self.extend(0.0)  # what came before a Close is not for the handler any more either
            return False
        was_known, self._revoked = self._revoked, True
        self.rearm()
        return not was_known

    def check(self, now: float) -> None:
        """Report what has run out, or look again at the next deadline."""
        if self.ended is not None and not self.scope.cancel_called:  # it was given more time; see `extend`
            self._late_at = max(self._late_at, self.scope.deadline + self.limits.wind_down)
        if now >= self._late_at:
            self._on_late()
        elif self.ended is not None:
            self._deadlines.arm(self, self._late_at)
        elif self._revoked:
            self._on_due(Revoked())
        elif now >= self._lease_end():
            self._on_due(LeaseExpired())
        elif now >= self._lifetime_ends_at:
            self._on_due(LifetimeReached())
        elif now >= self._idle_end():
            self._on_due(IdleTimeout())
        elif (failure := self._liveness.check(now) if self._liveness else None) is not None:
            self._on_due(failure)
        else:
            self.rearm()

    def give_up(self, fault: Exception) -> None:
        """`check` has failed. The peer is still told, if that is possible."""
        try:
            self._on_due(fault)
        except Exception:  # noqa: BLE001 - the second fault has the first one's cause
            with suppress(Exception):
                self.end(End(Cause.FAILED, 1011, "internal error"))
            self.scope.cancel()

    def rearm(self) -> None:
        """Look at the connection when the first of its deadlines is due."""
        if self.ended is None:
            due = -math.inf if self._revoked else self._liveness.due() if self._liveness else math.inf
            due = min(due, self._late_at, self._lease_end(), self._lifetime_ends_at, self._idle_end())
            self._deadlines.arm(self, due)

    def _lease_end(self) -> float:
        return min((lease.deadline for lease in self._leases), default=math.inf)

    def _idle_end(self) -> float:
        if self.limits.idle_timeout is None or self._last_message == -math.inf:
            return math.inf
        heard_at = self._liveness.message_at if self._liveness else -math.inf
        return max(self._last_message, heard_at) + self.limits.idle_timeout
