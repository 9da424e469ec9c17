"""`Cursor`: how far one reader of a room is, what it is to have next, and what it loses if it is behind. No I/O.

Who has been found behind may have so many events waiting as its `Lag` says. They are counted from where it is; if more
than that came at once, before anybody could find out, from the last of these: a burst ends nobody.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from seawall.errors import SlowConsumer
from seawall.lag import Disconnect, DropNewest, DropOldest, Lag, Latest
from seawall.position import Position, Since
from seawall.room_event import Gap
from seawall.topics.ending import copied
from seawall.topics.entry import Entry
from seawall.topics.keys import shown_room
from seawall.topics.latest import NewestIndex, is_kept, join_index, leave_index
from seawall.topics.log import Log

#: In `Cursor.lost`: it is not known how many.
UNKNOWN: Final = -1
#: The position of who has to be told of a gap of unknown size: whoever comes back with it has that gap, too.
LOST: Final = Position("lost", 0)
#: In `Cursor._stop_at`: nothing newer is lost.
_NO_STOP: Final = -1

#: What a reader is to have next.
Item: TypeAlias = Entry | Gap


class Cursor:
    """A place in a log. `place` comes first, and `leave` last."""

    __slots__ = ("_index", "_lag", "_mark", "_stop_at", "log", "lost", "next")

    if TYPE_CHECKING:
        log: Log
        """What is read; set by `place`."""

    def __init__(self, lag: Lag[object]) -> None:
        """Begin nowhere."""
        self._lag = lag
        self._index: NewestIndex | None = None
        self._mark = 0  # from where what waits is counted, if that is further than `next`
        self._stop_at = _NO_STOP  # the first number that is lost because it is too new
        self.next = 0
        """The number of the event that is to come next, behind a gap, if there is one."""
        self.lost = 0
        """How many events before `next` are lost, of which the reader has not been told; or `UNKNOWN`."""

    def place(self, log: Log, since: Since, now: float) -> None:
        """Begin to read `log`.

        Raises:
          Exception: what the key function of `Latest` has raised.
        """
        if isinstance(self._lag, Latest):
            self._index = join_index(log, self._lag)
        self.log = log
        if since is None:
            self.next = self._first(log, now)
        elif isinstance(since, Position):
            self._resume(log, since, now)
        else:
            self.next = log.end

    def _first(self, log: Log, now: float) -> int:
        """The number of the first event that is kept for who comes."""
        if self._index is None or not isinstance(self._lag, Latest) or not is_kept(log, self._lag):
            return log.kept_from(now)
        return max(self._index.evicted + 1, self._index.first_since(_oldest(log, now)))

    def _resume(self, log: Log, since: Position, now: float) -> None:
        self.next = kept_from = self._first(log, now)
        index = self._index
        if index is not None and since.epoch == log.epoch and index.begins - 1 <= since.number < log.end:
            self.next = since.number + 1  # what is no longer kept has been replaced, or `evicted` tells of it
            found, young = index.first_from(self.next), index.first_since(_oldest(log, now))
            if found is not None and found < young:  # kept for nobody who comes, though it is the newest of its key
                self.next, self.lost = young, UNKNOWN
        elif since.epoch != log.epoch or since.number >= log.end:
            self.lost = UNKNOWN
        elif since.number < kept_from - 1:
            self.lost = kept_from - 1 - since.number
        else:
            self.next = since.number + 1

    def leave(self) -> None:
        """Need nothing of the log any more."""
        self.release_window()
        if self._index is not None:
            leave_index(self._index)
            self._index = None

    @property
    def position(self) -> Position:
        """Where the reader goes on that has had all that it was given, with nothing lost that it has not been told."""
        return LOST if self.lost == UNKNOWN else self.log.position(self.next - 1 - self.lost)

    @property
    def is_indexed(self) -> bool:
        """Whether it reads the newest of each key."""
        return self._index is not None

    def fault(self) -> Exception | None:
        """What the key function by which it reads has raised; each time another one, as it is raised again."""
        failure = None if self._index is None else self._index.failure
        return None if failure is None else copied(failure)

    def needs(self) -> int:
        """The first event that has to stay in the log for it; `Log.end` if none has to."""
        if self._index is not None or self._stop_at != _NO_STOP:
            return self.log.end
        return self.next

    def peek(self) -> Item | None:
        """What is to be read next; None if there is nothing. Ask again, and it is the same, or a larger gap."""
        if self._index is not None:
            self._seek_newest(self._index)
        elif self.next == self._stop_at:
            self._lose_newest()
        elif self.next < self.log.base and self.log.get(self.next) is None:
            self._skip_given_up()
        if self.lost:
            return Gap(self.log.position(self.next - 1), None if self.lost == UNKNOWN else self.lost)
        return self.log.get(self.next)

    def move(self, item: Item) -> None:
        """What `peek` has returned has been read."""
        if isinstance(item, Gap):
            self.lost = 0
            return
        number = self.next
        self.next = number + 1
        if number < self._stop_at:
            self.log.unpin(number)

    def rewind(self, number: int, lost: int) -> None:
        """What has been read since these were `next` and `lost` has not reached anybody; and nothing more is read."""
        self.release_window()
        self.next, self.lost = number, lost

    def skip(self, number: int) -> None:
        """All before the event with this number is known otherwise: go on with it, and tell of no gap."""
        self.release_window()
        self.next = number
        self.lost = 0

    def fall_behind(self) -> None:
        """It does not take what there is, as is found now: count from here what waits."""
        if self.next >= self._mark and not isinstance(self._lag, Latest):
            self._mark = self.log.end if self.log.end - self.next > self._lag.n else self.next

    def apply_lag(self) -> SlowConsumer | None:
        """It still does not take what there is: drop what is too much, or return why it has to end."""
        lag = self._lag
        if isinstance(lag, Latest) or self._stop_at != _NO_STOP:
            return None
        first = max(self.next, self._mark)
        if self.log.end - first <= lag.n:
            return None
        match lag:
            case Disconnect():
                return SlowConsumer(shown_room(self.log.use.key), f"Disconnect({lag.n})")
            case DropOldest():
                self._lose_until(self.log.end - lag.n)
            case DropNewest():
                self._stop_at = first + lag.n
                for number in range(self.next, self._stop_at):
                    self.log.pin(number)
            case _:
                assert_never(lag)
        return None

    def _seek_newest(self, index: NewestIndex) -> None:
        if index.evicted >= self.next:
            self.lost = UNKNOWN
            self.next = index.evicted + 1
        if not self.lost:  # else what is behind the gap comes when the gap has been told
            found = index.first_from(self.next)
            self.next = self.log.end if found is None else found

    def _lose_newest(self) -> None:
        """What waited has been read; the rest is lost up to now."""
        self._stop_at = _NO_STOP
        self._lose_until(self.log.end)

    def _skip_given_up(self) -> None:
        """The next events have been given up, because all rooms together held too much."""
        until = self.log.base if self._stop_at == _NO_STOP else self._stop_at
        found = min(self.log.first_kept(self.next), until)
        self._lose_until(found)
        if found == self._stop_at:
            self._lose_newest()

    def _lose_until(self, number: int) -> None:
        if self.lost != UNKNOWN:
            self.lost += number - self.next
        self.next = number

    def release_window(self) -> None:
        """Hold nothing in the log of what is yet to be read before what `DropNewest` has dropped."""
        for number in range(self.next, self._stop_at):
            self.log.unpin(number)
        self._stop_at = _NO_STOP


def _oldest(log: Log, now: float) -> float:
    """When an event was published at the earliest that is kept for who comes."""
    ttl = log.retention.ttl
    return -math.inf if ttl is None else now - ttl
