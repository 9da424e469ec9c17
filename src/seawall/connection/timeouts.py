"""`Timeouts`: the moments at which one connection is ended."""

from __future__ import annotations

import math
from typing import Final, Protocol, final

import trio

from seawall.connection.leases import Leases
from seawall.errors import IdleTimeout, LeaseExpired, LifetimeReached, SeawallError
from seawall.limits import Limits
from seawall.wire.lateness import Lateness


class Liveness(Protocol):
    """Watches whether the peer still sends, and takes what it is sent. The wire implements it."""

    @property
    def message_at(self) -> float:
        """When the last message came from the peer, on Trio's clock, whether or not the handler has taken it."""
        ...

    def begin(self, now: float, /) -> None:
        """Start watching at the time `now`, on Trio's clock: the guards have passed, and the upgrade is accepted."""
        ...

    def due(self) -> float:
        """When to `check` next, on Trio's clock."""
        ...

    def check(self, now: float) -> SeawallError | None:
        """What is wrong with the peer, if anything."""
        ...


#: What most connections have; nothing is added to these.
_NO_LEASES: Final = Leases()


@final
class Timeouts:
    """The moments, on Trio's clock, at which one connection is ended, and the first of them."""

    __slots__ = (
        "_expired",
        "_last_activity",
        "_lateness",
        "_lifetime_ends_at",
        "_liveness",
        "_stage_began_at",
        "_stage_ends_at",
        "_stage_of_peer",
        "leases",
        "limits",
    )

    def __init__(self, limits: Limits, lateness: Lateness) -> None:
        """Begin with no moment. `lateness` is the server's: what is waited for from the peer ends so much later."""
        self.limits = limits
        """The app's, and the route's once there is one."""
        self.leases = _NO_LEASES
        self._lateness = lateness
        self._stage_began_at = math.inf
        self._stage_ends_at = math.inf  # if the program is never late
        self._stage_of_peer = True
        self._expired: SeawallError | None = None
        self._liveness: Liveness | None = None
        self._lifetime_ends_at = math.inf
        self._last_activity = -math.inf

    def watch(self, liveness: Liveness) -> None:
        """Include `liveness` from now on."""
        self._liveness = liveness

    def begin(self) -> None:
        """Start lifetime and idle time: the guards have passed, and the upgrade is accepted."""
        now = trio.current_time()
        self.end_stage()
        self._last_activity = now
        if self._liveness is not None:
            self._liveness.begin(now)
        if self.leases is not _NO_LEASES:
            self.leases.warning.open()
            self.leases.schedule()
        if self.limits.lifetime is not None:
            self._lifetime_ends_at = now + self.limits.lifetime

    def limit_stage(self, seconds: float, *, of_peer: bool = True) -> None:
        """Give the stage that begins now (receiving the request, the guards, closing) so many `seconds`.

        Unless it is one `of_peer`, it ends in time even if the program was late.
        """
        now = trio.current_time()
        self._stage_began_at, self._stage_ends_at, self._stage_of_peer = now, now + seconds, of_peer

    def end_stage(self) -> None:
        """Limit the stage no longer."""
        self._stage_began_at = self._stage_ends_at = math.inf

    @property
    def stage_ends_at(self) -> float:
        """When the stage that the connection is in has to be over."""
        if self._lateness.total and self._stage_of_peer:  # else there is nothing to add, which is cheaper to see here
            return self._stage_ends_at + self._lateness.since(self._stage_began_at)
        return self._stage_ends_at

    def own_leases(self) -> Leases:
        """The leases of this connection, to which something may be added."""
        if self.leases is _NO_LEASES:
            self.leases = Leases(self.limits.lease_warning)
        return self.leases

    def expiring(self) -> trio.Event:
        """Set when the first lease is about to end, at once if it is; see `Connection.expiring`."""
        leases = self.own_leases()
        event = leases.warning.event
        leases.schedule()
        leases.warn(trio.current_time())
        return event

    def touch(self) -> None:
        """Start the idle time anew: the handler has sent or taken a message."""
        if self.limits.idle_timeout is not None:
            self._last_activity = trio.current_time()

    def expire(self, failure: SeawallError) -> bool:
        """Have `check` return `failure`, and `due` return at once. False if another failure came first."""
        is_first = self._expired is None
        if is_first:
            self._expired = failure
        return is_first

    @property
    def expired(self) -> SeawallError | None:
        """What `expire` was told first: `check` will return it."""
        return self._expired

    def clear(self) -> None:
        """Drop the references to wire and leases, because the socket has been closed."""
        self._liveness = None
        self.leases = _NO_LEASES

    def due(self) -> float:
        """When to `check` next, on Trio's clock."""
        if self._expired is not None:
            return -math.inf
        wire = math.inf if self._liveness is None else self._liveness.due()
        stage = self.stage_ends_at if self._lateness.total else self._stage_ends_at
        return min(wire, stage, self.leases.due, self._lifetime_ends_at, self._idle_ends_at())

    def check(self, now: float, *, with_peer: bool = True) -> SeawallError | None:
        """The failure that ends the connection; None if no moment has come. Does not check `stage_ends_at`.

        Gives the warning of the leases, if its moment has come. Without `with_peer` it looks only at what does not
        depend on the peer.
        """
        if self._expired is not None:
            return self._expired
        if self.leases is not _NO_LEASES:
            if self.leases.are_over(now):
                return LeaseExpired()
            self.leases.warn(now)
        if now >= self._lifetime_ends_at:
            return LifetimeReached()
        if not with_peer:
            return None
        if now >= self._idle_ends_at():
            return IdleTimeout()
        return None if self._liveness is None else self._liveness.check(now)

    def _idle_ends_at(self) -> float:
        if self.limits.idle_timeout is None or self._last_activity == -math.inf:
            return math.inf
        heard_at = -math.inf if self._liveness is None else self._liveness.message_at
        return self._end_of(max(self._last_activity, heard_at), self.limits.idle_timeout)

    def _end_of(self, moment: float, seconds: float) -> float:
        """When something ends that has been waited for from the peer since `moment`, for `seconds`."""
        return moment + seconds + self._lateness.since(moment)
