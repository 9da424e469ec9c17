"""`Lease`: until when a guard's proof holds, and `LeaseWarning`: who is told before it ends.

A lease ends by the clock that says so first. Trio's alone would prolong it while the machine is suspended, when it
stands still, and when the wall clock was behind and has been set; the wall clock alone, when it is set back. The
warning comes by either clock, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol, final

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


class Notice(Protocol):
    """What a peer is told when the lease of its connection is about to end."""

    def send(self) -> None:
        """Send it now, or not at all if that would have to wait. Must not raise."""
        ...


@final
class LeaseWarning:
    """Tells, once for each lease, that it is about to end: whoever waits for `event`, and the peer by a `Notice`."""

    __slots__ = ("_event", "_is_open", "_notice", "_seconds", "is_given")

    def __init__(self, seconds: float) -> None:
        """Nobody is to be told yet, `seconds` before the end of the lease."""
        self._seconds = seconds
        self._event: trio.Event | None = None  # made when it is first read
        self._notice: Notice | None = None
        self._is_open = False
        self.is_given = False
        """Whether the lease that there is now has been warned of."""

    @property
    def event(self) -> trio.Event:
        """Set by `give`."""
        if self._event is None:
            self._event = trio.Event()
            if self.is_given:
                self._event.set()
        return self._event

    @property
    def ahead(self) -> float:
        """How many seconds before the end of the lease somebody has to be told; 0 if nobody is waiting for that."""
        is_awaited = self._event is not None or (self._is_open and self._notice is not None)
        return self._seconds if is_awaited and not self.is_given else 0.0

    def tell_peer(self, notice: Notice) -> None:
        """Have `give` send `notice`, once `open` was called. Of several, the first one counts."""
        self._notice = self._notice or notice

    def open(self) -> None:
        """Let notices be sent: the guards have passed."""
        self._is_open = True

    def give(self) -> None:
        """Tell everybody."""
        self.is_given = True
        if self._event is not None:
            self._event.set()
        if self._notice is not None and self._is_open:
            self._notice.send()

    def renew(self) -> None:
        """Be ready to warn again, because the lease has been prolonged. An event that has been set stays so."""
        if self.is_given:
            self.is_given, self._event = False, None


@final
class Leases:
    """The leases of one connection, which ends when the first of them does."""

    __slots__ = ("_fixed", "_leases", "due", "ends_at", "expires_at", "wall_due", "warning")

    def __init__(self, warning: float = math.inf) -> None:
        """Begin with none; whoever asks for a `warning` gets it so many seconds before the end."""
        self._leases: tuple[Lease, ...] = ()
        self._fixed: tuple[Lease, ...] = ()  # those that `replace` keeps
        self.warning = LeaseWarning(warning)
        """Of the first that ends."""
        self.ends_at = math.inf
        """When the first of them ends, on Trio's clock; infinity if there are none."""
        self.expires_at = math.inf
        """The same in Unix time."""
        self.due = math.inf
        """When something has to be done, on Trio's clock: to warn, or to end the connection."""
        self.wall_due = math.inf
        """The same in Unix time."""

    def add(self, expires_at: float) -> None:
        """Add a lease until `expires_at` in Unix time. Raises as `until`."""
        self._leases = (*self._leases, Lease(until(expires_at), expires_at))
        self._set()

    def fix(self, seconds: float) -> None:
        """Add one for so many seconds from now, which `replace` keeps; of several, the first that ends counts."""
        self._fixed = (*self._fixed, Lease(trio.current_time() + seconds, unix_time() + seconds))
        self._set()

    def replace(self, several: Iterable[float]) -> None:
        """Hold leases until `several` times, in Unix time, instead of those that there were. Raises as `until`.

        There is another warning only if the first of them ends later than before: else a client that renews whenever it
        is warned would do so again and again.
        """
        before = self.expires_at
        self._leases = tuple(Lease(until(expires_at), expires_at) for expires_at in several)
        self._set()
        if self.expires_at > before:
            self.warning.renew()
            self.schedule()

    def are_over(self, now: float) -> bool:
        """Whether one of them has ended, by either clock; `now` is on Trio's."""
        return now >= self.ends_at or (self.expires_at < math.inf and unix_time() >= self.expires_at)

    def warn(self, now: float) -> None:
        """Give the warning if its time has come, by either clock; none of them is over. `now` is on Trio's."""
        if now >= self.due or (self.wall_due < math.inf and unix_time() >= self.wall_due):
            self.warning.give()
            self.schedule()

    def end_by(self, now: float) -> float:
        """When the first of them ends on Trio's clock, as both clocks say now."""
        return self.ends_at if self.expires_at == math.inf else min(self.ends_at, now + self.expires_at - unix_time())

    def schedule(self) -> None:
        """Find out again when something has to be done, because who waits for the warning has changed."""
        ahead = self.warning.ahead
        self.due, self.wall_due = self.ends_at - ahead, self.expires_at - ahead

    def _set(self) -> None:
        leases = self._leases + self._fixed
        self.ends_at = min((lease.deadline for lease in leases), default=math.inf)
        self.expires_at = min((lease.expires_at for lease in leases), default=math.inf)
        self.schedule()
