"""`Lifecycle`: the cancel scope of one connection's guards and handler, and the record of what ended it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Protocol, final

import trio
from attrs import define, field

from seawall.connection.deadlines import Deadline
from seawall.connection.subscriptions import Subscriptions
from seawall.connection.timeouts import Timeouts
from seawall.errors import (
    IdleTimeout,
    KeepaliveLost,
    MessageTimeout,
    Revoked,
    SeawallError,
    SlowConsumer,
)
from seawall.policy.ending import End

#: What ends a connection because its peer was silent. Before that its socket has to be read once more.
_SILENCE: Final = (IdleTimeout, KeepaliveLost, MessageTimeout, SlowConsumer)


class EndListener(Protocol):
    """Who is told of the end: the connection."""

    def on_recorded(self, end: End, /) -> None:
        """`end` is recorded, and nothing has been cancelled yet."""
        ...


@final
@define(eq=False)
class Lifecycle:
    """What ended one connection, and how long its guards and its handler may run after that."""

    timeouts: Timeouts
    """The moments at which it is ended."""
    scope: trio.CancelScope
    """Around the guards, the handler, and all that the handler has started."""
    deadline: Deadline
    """Of the connection, in the server's queue."""
    _listener: EndListener | None = field(kw_only=True, alias="listener")
    """Told once; None when the socket is closed."""
    subscriptions: Subscriptions = field(init=False, factory=Subscriptions)
    """What reads rooms for it, until its tasks are over."""
    ended: End | None = field(init=False, default=None)
    """What ended it; None until then."""
    is_closed: bool = field(init=False, default=False)
    """Whether the socket has been closed."""
    _closed: trio.Event | None = field(init=False, default=None)  # made by the first `wait_closed`
    _is_draining: bool = field(init=False, default=False)
    _draining: trio.Event | None = field(init=False, default=None)  # made when it is first read
    _grace_ends_by: float = field(init=False, default=math.inf)  # the latest deadline that `set_grace` may set
    # Once the socket is closed: when guards and handler have to have ended.
    _overdue_at: float = field(init=False, default=math.inf)

    @trio.lowlevel.enable_ki_protection
    def end(self, end: End, *, grace: float = 0.0, at_most: float = math.inf) -> None:
        """Record why the connection ends, and cancel its scope `grace` seconds later. Only the first call counts.

        What `set_grace` adds later is bounded by ``drain_timeout`` and by `at_most` seconds from now. There is no grace
        period if `end_soon` was called before: whoever has been revoked gets none from an end that comes in between.
        """
        if self.ended is not None:
            return
        now, timeouts = trio.current_time(), self.timeouts
        patience = min(timeouts.limits.drain_timeout, at_most)
        self._grace_ends_by = min(now + patience, timeouts.leases.end_by(now))
        self.ended = end
        self.timeouts.end_stage()
        self.deadline.disarm()
        if self._listener is not None:
            self._listener.on_recorded(end)
        if grace > 0 and self.timeouts.expired is None:
            self.set_grace(grace)
        else:
            self.cancel_now()

    def set_grace(self, seconds: float) -> None:
        """Cancel guards and handler `seconds` from now, which is more than 0, instead of when it was said before.

        They are cancelled at the latest ``drain_timeout`` seconds after the connection has ended, or when a lease ends.
        """
        self.scope.deadline = min(trio.current_time() + seconds, self._grace_ends_by)
        if self.is_closed:
            self.watch_cleanup()  # it may be overdue earlier than was thought

    def cancel_now(self) -> None:
        """Cancel guards and handler."""
        self.scope.cancel()

    def end_soon(self, failure: SeawallError) -> bool:
        """Have the `DeadlineQueue` end the connection with `failure`, in its next turn.

        For callers in other tasks than the connection's own. Returns False if the connection has ended before, or
        is about to for another failure.
        """
        is_first = self.ended is None and self.timeouts.expire(failure)
        self.rearm()
        return is_first

    def revoke(self) -> bool:
        """End the connection with `Revoked`, or what still runs of it. Returns as `end_soon`."""
        if self.ended is not None:
            self.cancel_now()  # no grace period: the handler must not take what the peer sent before its Close
            return False
        return self.end_soon(Revoked())

    def limit_stage(self, seconds: float) -> None:
        """Give the stage that begins now (receiving the request, or the guards) so many `seconds`."""
        if self.ended is None:  # closing has a limit of its own
            self.timeouts.limit_stage(seconds)
            self.rearm()

    def begin(self) -> None:
        """Start lifetime, idle time and keepalive: the guards have passed, and the upgrade is accepted."""
        self.timeouts.begin()
        self.rearm()

    def on_task_failed(self) -> None:
        """Give the tasks of the handler ``wind_down`` to end, because one has failed and has cancelled the others."""
        if self.ended is None:
            self.timeouts.limit_stage(self.timeouts.limits.wind_down, of_peer=False)
            self.rearm()

    def rearm(self) -> None:
        """Arm the deadline of the connection for the first of its `timeouts`, or for that of closing."""
        if self.ended is None:
            self.deadline.arm(self.timeouts.due())
            if (due := self.timeouts.leases.wall_due) != math.inf:
                self.deadline.arm_by_wall(due)
        elif not self.is_closed:
            self.deadline.arm(self.timeouts.stage_ends_at)

    def limit_closing(self, seconds: float) -> None:
        """Bound the closing handshake by `seconds` from now; an earlier bound stays.

        It uses the connection's deadline, because a `trio.CancelScope` for each closing connection costs twice as much.
        """
        self.timeouts.limit_stage(min(seconds, self.timeouts.stage_ends_at - trio.current_time()))
        self.deadline.arm(self.timeouts.stage_ends_at)

    def watch_cleanup(self) -> None:
        """Arm the deadline for when guards and handler have to have ended; see `is_overdue`.

        That is ``wind_down`` seconds after their scope's deadline, or from now if that has passed, or if the scope was
        cancelled outright.
        """
        now, deadline = trio.current_time(), self.scope.deadline
        cancelled_at = min(deadline, now) if self.scope.cancel_called else deadline
        self._overdue_at = cancelled_at + self.timeouts.limits.wind_down
        self.deadline.arm(self._overdue_at)

    def check(self, now: float) -> SeawallError | None:
        """The failure that ends the connection; if there is none, arms the deadline.

        A peer counts as silent only when its socket has been read once more: until then, None.
        """
        is_behind = self.deadline.is_behind()
        failure = self.timeouts.check(now, with_peer=not is_behind) if self.ended is None else None
        if failure is None and not is_behind:
            self.rearm()
        return None if isinstance(failure, _SILENCE) and not self.deadline.was_read() else failure

    def is_overdue(self, now: float) -> bool:
        """Whether guards and handler have run longer than they may; if not, arms the deadline for when they will."""
        if not self.scope.cancel_called:  # `set_grace` has given them more time
            self._overdue_at = max(self._overdue_at, self.scope.deadline + self.timeouts.limits.wind_down)
        if now >= self._overdue_at:
            return True
        self.deadline.arm(self._overdue_at)
        return False

    def lease(self, expires_at: float) -> None:
        """Hold a lease until `expires_at` (Unix time); the connection ends when the first of its leases does."""
        self.timeouts.own_leases().add(expires_at)
        self.rearm()

    def renew(self, several: Iterable[float]) -> None:
        """Hold leases until `several` times (Unix time) instead of those that there were."""
        self.timeouts.own_leases().replace(several)
        self.rearm()

    def drain(self) -> None:
        """Set `draining`, for the handler to see that the server is stopping."""
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
        """Wake `wait_closed` and drop references, because the socket has been closed."""
        self.is_closed = True
        self.timeouts.clear()
        self._listener = None  # a reference cycle would be left to the garbage collector
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
        """Close the deadline, because all tasks of the connection have ended."""
        self.deadline.close()
