"""`RefreshSchedule`: when keys are fetched, and for how long they are good. Pure: the caller has the clocks."""

from __future__ import annotations

import math
from typing import Final, final

from attrs import define, field, frozen

#: Failures in a row after which waiting twice as long changes nothing any more.
MAX_DOUBLINGS: Final = 16


@final
@frozen
class Now:
    """A moment, on the two clocks.

    Trio's stands still while the machine is suspended, and a wall clock can be set: what has grown old on one is old.
    """

    trio: float
    unix: float

    def since(self, then: Now) -> float:
        """The seconds since `then`, on the clock on which they are more."""
        return max(self.trio - then.trio, self.unix - then.unix)


_NEVER: Final = Now(-math.inf, -math.inf)


@final
@define(eq=False)
class RefreshSchedule:
    """When to fetch: every `refresh` seconds, less and less often while that fails, and never twice in `cool_down`."""

    refresh: float
    stale: float
    cool_down: float
    failures: int = field(default=0, init=False)
    """How many fetches have failed since the last one that did not."""
    _began: Now = field(default=_NEVER, init=False)
    _failed: Now = field(default=_NEVER, init=False)
    _fetched: Now = field(default=_NEVER, init=False)

    def restart(self, now: Now) -> None:
        """Fetch at once: this is another run of Trio, whose clock shows other times, or nobody has fetched for long."""
        age = max(0.0, now.unix - self._fetched.unix)
        self._began, self.failures = _NEVER, 0
        self._fetched = Now(now.trio - age, self._fetched.unix)

    def begin(self, now: Now) -> None:
        """A fetch begins."""
        self._began = now

    def succeed(self) -> None:
        """It has given keys, which are as old as its beginning."""
        self._fetched, self.failures = self._began, 0

    def fail(self, now: Now) -> None:
        """It has given none, which it may have taken long to find out."""
        self._failed = now
        self.failures += 1

    def age(self, now: Now) -> float:
        """How old the keys are, in seconds."""
        return now.since(self._fetched)

    def is_stale(self, now: Now) -> bool:
        """Whether the keys are too old to be used; also if there have never been any."""
        return self.age(now) > self.stale

    def wait(self, now: Now) -> float:
        """Seconds until keys are to be fetched though nobody asks for them; 0 or less if that is now."""
        if not self.failures:
            return 0.0 if self._began is _NEVER else max(self.refresh, self.cool_down) - self.age(now)
        pause = min(self.refresh, self.cool_down * 2.0 ** min(self.failures - 1, MAX_DOUBLINGS))
        return max(pause, self.cool_down) - now.since(self._failed)

    def cooling(self, now: Now) -> float:
        """Seconds until keys may be fetched because somebody asks; 0 or less if that is now."""
        return self.cool_down - (now.trio - self._began.trio)
