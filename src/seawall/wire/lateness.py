"""`Lateness`: when the program could not mind its deadlines, so that no peer has to pay for it.

While the event loop stands still (a blocking call, SIGSTOP, a virtual machine that is paused), nothing is read, and a
peer that has answered looks silent. So whatever is waited for from a peer ends later by as much as the task that minds
the deadlines was late meanwhile. What this program promises by itself (a lease, a lifetime, draining) does not move.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import Final, NamedTuple, final

#: Seconds by which the task that minds the deadlines may wake late, without that being counted.
TOLERANCE: Final = 0.1

#: How many times of being late are remembered. Of more, the older half is forgotten: what has been waited for from a
#: peer for that long then ends earlier, but never before the peer was read.
MAX_REMEMBERED: Final = 1000


class _Late(NamedTuple):
    """Deadlines that came between two moments were minded at the second one."""

    due: float
    woken: float
    total_before: float
    """Seconds of all that were earlier."""


@final
class Lateness:
    """The times in which a server minded its deadlines late; they never overlap."""

    __slots__ = ("_times", "total")

    def __init__(self) -> None:
        """Begin with none."""
        self._times: list[_Late] = []
        self.total = 0.0
        """Seconds of all of them."""

    def record(self, due: float, woken: float) -> bool:
        """Count the time between two moments on Trio's clock, if it is longer than `TOLERANCE`; whether it is."""
        if woken - due <= TOLERANCE:
            return False
        if len(self._times) >= MAX_REMEMBERED:
            del self._times[: MAX_REMEMBERED // 2]
        self._times.append(_Late(due, woken, self.total))
        self.total += woken - due
        return True

    def since(self, moment: float) -> float:
        """How many seconds of the time after `moment` have been counted."""
        if not self._times or moment >= self._times[-1].woken:
            return 0.0  # as nearly always
        first = self._times[bisect_right(self._times, moment, key=attrgetter("woken"))]
        return self.total - first.total_before - max(0.0, moment - first.due)
