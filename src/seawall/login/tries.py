"""`Tries`: how many there have been in the last minute, by whatever is counted. Pure, but for chance.

A table that forgets somebody when it is full would be filled by whoever wants to be forgotten, and one that refuses
newcomers would keep everybody out. So what is counted has one of a fixed number of places, by a hash that nobody can
foresee. Two that share a place are counted together: one of many thousands, and for a minute.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import Final, final

#: Bytes of the hash by which what is counted has a place, of which there are 65,536.
_PLACE_SIZE: Final = 2

#: Seconds in which tries are counted.
WITHIN: Final = 60.0


@final
class Tries:
    """Counts tries, and says when there may be another one.

    It takes at most 65,536 times `at_most` numbers, and no name: for nobody whom it has not seen in the last minute,
    and only as many as there have been checks of passwords meanwhile.
    """

    def __init__(self, at_most: int) -> None:
        """Begin with none.

        Args:
          at_most: how many there may be in any 60 seconds.
        """
        self._at_most = at_most
        self._key = secrets.token_bytes(16)
        self._times = OrderedDict[bytes, tuple[float, ...]]()  # those that were added to last stand last

    def __len__(self) -> int:
        """In how many places there is something."""
        return len(self._times)

    def wait(self, what: bytes, now: float) -> float:
        """Seconds until there may be another one; 0 if there may be one now."""
        recent = self._recent(self._place(what), now)
        return max(0.0, recent[-self._at_most] + WITHIN - now) if len(recent) >= self._at_most else 0.0

    def add(self, what: bytes, now: float) -> None:
        """Count one."""
        place = self._place(what)
        recent = self._recent(place, now)
        self._times[place] = (*recent, now)[-self._at_most :]
        self._times.move_to_end(place)
        self._forget(now)

    def take_back(self, what: bytes, when: float) -> None:
        """Count one less: the one that was added at `when` was none."""
        place = self._place(what)
        times = list(self._times.get(place, ()))
        if when in times:
            times.remove(when)
            self._times[place] = tuple(times)

    def _recent(self, place: bytes, now: float) -> tuple[float, ...]:
        return tuple(time for time in self._times.get(place, ()) if _is_recent(time, now))

    def _forget(self, now: float) -> None:
        """Drop the places to which nothing was added for so long: those before the first one that counts."""
        while not any(_is_recent(time, now) for time in next(iter(self._times.values()))):
            self._times.popitem(last=False)

    def _place(self, what: bytes) -> bytes:
        return hashlib.blake2b(what, key=self._key, digest_size=_PLACE_SIZE).digest()


def _is_recent(time: float, now: float) -> bool:
    """Whether it counts. What is yet to come is of another run of Trio, whose clock began elsewhere."""
    return time <= now < time + WITHIN
