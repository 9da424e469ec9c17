"""`LogSampler`: admits a few lines of each kind in a minute, and counts the others. Pure: the caller has the clock."""

from __future__ import annotations

import math
from typing import Final, final

from attrs import define, field

#: Failures of one kind that are logged in full within `WINDOW` seconds.
BURST: Final = 10
WINDOW: Final = 60.0

#: Kinds that are counted separately; further ones are counted together. A kind holds nothing that a client sends.
MAX_KINDS: Final = 1000

#: Seconds after which looking for kinds that can be forgotten is worth while again.
FORGET_AGAIN: Final = 1.0

Kind = tuple[str, ...]
_OTHERS: Final[Kind] = ("others",)


@define
class _Count:
    """One kind within one window."""

    began: float
    admitted: int = 0
    suppressed: int = 0


@final
@define(eq=False)
class LogSampler:
    """Decides what is logged, so that a failure that happens thousands of times cannot fill a disk."""

    _counts: dict[Kind, _Count] = field(init=False, factory=dict[Kind, _Count])
    _forgot_at: float = field(init=False, default=-math.inf)

    def admits(self, kind: Kind, now: float) -> bool:
        """Whether one more of `kind` is to be logged; if not, it is counted. `now` is in seconds, on any clock."""
        if kind not in self._counts and len(self._counts) >= MAX_KINDS:
            self._forget(now)
        count = self._counts.setdefault(self.counted_as(kind), _Count(now))
        if now >= count.began + WINDOW:
            count.began, count.admitted = now, 0
        if count.admitted >= BURST:
            count.suppressed += 1
            return False
        count.admitted += 1
        return True

    def _forget(self, now: float) -> None:
        """Remove the kinds whose window is over and of which nothing was suppressed that is not logged yet.

        Once in a second at most: somebody else may choose the kinds, and make a new one each time.
        """
        if now < self._forgot_at + FORGET_AGAIN:
            return
        self._forgot_at = now
        self._counts = {
            kind: count for kind, count in self._counts.items() if count.suppressed or now < count.began + WINDOW
        }

    def counted_as(self, kind: Kind) -> Kind:
        """The kind that `kind` is counted as: itself, or the one for all others once there are `MAX_KINDS`."""
        return kind if kind in self._counts or len(self._counts) < MAX_KINDS else _OTHERS

    def take_suppressed(self, kind: Kind) -> int:
        """How many of what `kind` is counted as were suppressed since the last call; sets that to 0."""
        count = self._counts.get(self.counted_as(kind))
        if count is None:
            return 0
        suppressed, count.suppressed = count.suppressed, 0
        return suppressed

    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of which some have been suppressed."""
        return tuple(kind for kind, count in self._counts.items() if count.suppressed)
