"""`Engine`: where the logs of all rooms are; `MemoryEngine` has them in this process."""

from __future__ import annotations

import math
import secrets
from heapq import heappop, heappush
from itertools import count
from typing import Final, Protocol, final

import trio

from seawall.errors import TooManyRequests, Unavailable
from seawall.limits import Limits
from seawall.position import Position
from seawall.topics.entry import Entry
from seawall.topics.history_budget import HistoryBudget
from seawall.topics.keys import RoomKey
from seawall.topics.latest import keep_index
from seawall.topics.log import Log, Retention
from seawall.topics.pump import Pump

#: Rooms with something too old that are looked at before other tasks have their turn: about a millisecond's worth.
AT_A_TIME: Final = 100


class Engine(Protocol):
    """Has the logs of all rooms. A log that is open is in this process, with every event that is published in it."""

    async def open(self, key: RoomKey, retention: Retention, /) -> Log:
        """The log of a room, which is kept until `release`. There is no checkpoint after it has been found.

        Raises:
          TooManyRequests: there are ``Limits.max_rooms``.
          Unavailable: the app is not served.
        """
        ...

    def find(self, key: RoomKey, /) -> Log | None:
        """The log of a room, if it is kept."""
        ...

    def release(self, log: Log, /) -> None:
        """One who had it opened needs it no more. If nobody does, and it keeps nothing, the room is forgotten."""
        ...

    async def publish(self, key: RoomKey, retention: Retention, entry: Entry, /) -> Position:
        """Publish as `publish_nowait`, once the readers of this room have been served. Cancelled, it has not."""
        ...

    def publish_nowait(self, key: RoomKey, retention: Retention, entry: Entry, /) -> Position:
        """Add an event to the log of a room, and have all who read it served.

        Raises:
          TooManyRequests: there are ``Limits.max_rooms``, or the event is larger than ``Limits.room_history``.
          Unavailable: the app is not served.
        """
        ...


@final
class MemoryEngine:
    """The logs of all rooms, in this process; all of them are gone when the app is not served any more."""

    def __init__(self, limits: Limits, pump: Pump) -> None:
        """Begin with no rooms."""
        self._is_open = False
        self._most = limits.max_rooms
        self._budget = HistoryBudget[Log](limits.room_history)
        self._pump = pump
        self._logs: dict[RoomKey, Log] = {}
        self._due: list[tuple[float, int, Log]] = []  # when to look at those with a ttl and an event, each once
        self._ties = count()

    def __len__(self) -> int:
        """How many rooms there are that take memory."""
        return len(self._logs)

    @property
    def held(self) -> int:
        """Bytes that all events take."""
        return self._budget.total

    async def open(self, key: RoomKey, retention: Retention, /) -> Log:
        """The log of a room, made if there is none."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        log = self._logs.get(key)
        if log is None:
            log = self._make(key, retention)
        log.use.count += 1
        return log

    def find(self, key: RoomKey, /) -> Log | None:
        """The log of a room, if it is kept."""
        return self._logs.get(key)

    def release(self, log: Log, /) -> None:
        """One needs it no more."""
        log.use.count -= 1
        if self._logs.get(log.use.key) is not log:
            return  # the app is not served any more
        if not log.use.count:
            now = log.use.last = trio.current_time()
            log.trim(log.end, now)
            self._forget_unless_kept(log)
        elif log.readers.count and len(log.entries) > log.retention.history:
            log.readers.is_repeated = True  # a round that goes on may have counted what this one needed
            self._pump.schedule(log)  # the one who has left may be the one for whom so much was kept

    async def publish(self, key: RoomKey, retention: Retention, entry: Entry, /) -> Position:
        """Publish, once the pump is not far behind in that room."""
        await self._pump.turn(entry.size)
        waited: Log | None = None
        try:
            while (log := self._logs.get(key)) is not None and log is not waited and self._pump.is_behind(log):
                waited = log
                await self._pump.wait_turn(log)
            return self.publish_nowait(key, retention, entry)
        finally:
            if waited is not None:
                self._pump.let_on(waited)

    def publish_nowait(self, key: RoomKey, retention: Retention, entry: Entry, /) -> Position:
        """Publish now."""
        self._check_open()
        if entry.size > self._budget.limit:
            raise TooManyRequests(
                f"an event takes {entry.size} bytes, and all rooms have Limits.room_history={self._budget.limit}; "
                "publish smaller ones, or raise the limit"
            )
        log = self._logs.get(key)
        if log is None:
            if not retention.history:
                return Position(_new_epoch(), 1)  # there is nobody to read it, and nobody can come back to it
            log = self._make(key, retention)
        now = trio.current_time()
        number = log.append(entry, now)
        if number == 1 and retention.history and retention.ttl is not None:
            self._look_again(log, now)
        if log.readers.count:
            self._pump.schedule(log)
        else:
            log.trim(log.end, now)
        if self._budget.total > self._budget.limit:
            self._make_room()
        return log.position(number)

    @property
    def due(self) -> float:
        """When there is something too old."""
        return self._due[0][0] if self._due else math.inf

    def run_due(self, now: float, /) -> None:
        """Remove some of what is too old by now: 100,000 rooms at once would hold up everybody."""
        for _ in range(AT_A_TIME):
            if self.due > now:
                return
            _, _, log = heappop(self._due)
            if self._logs.get(log.use.key) is not log:
                continue
            if log.readers.count:
                self._pump.schedule(log)  # a round ends with `Log.trim`
            else:
                log.trim(log.end, now)
            if log.use.count or now < self._kept_until(log):
                self._look_again(log, now)
            else:
                self._forget(log)

    def begin(self) -> None:
        """The app is served."""
        self._is_open = True

    def end(self) -> None:
        """The app is not served any more: forget all rooms, and end who still reads."""
        self._is_open = False
        for log in tuple(self._logs.values()):
            for reader in log.readers:
                reader.end(_unavailable())
            log.drop()
        self._logs.clear()
        self._due.clear()

    def _check_open(self) -> None:
        if not self._is_open:
            raise _unavailable()

    def _make(self, key: RoomKey, retention: Retention) -> Log:
        if len(self._logs) >= self._most:
            raise TooManyRequests(
                f"too many rooms: there are Limits.max_rooms={self._most}; give topics with a history a ttl, so that "
                "rooms nobody uses are forgotten, or raise the limit"
            )
        log = self._logs[key] = Log(key, _new_epoch(), retention, self._budget)
        if retention.history and retention.latest is not None:
            keep_index(log, retention.latest)
        return log

    def _look_again(self, log: Log, now: float) -> None:
        """Look at a log with a ttl when its first event is too old, or when it has not been used for so long."""
        ttl, kept_until = log.retention.ttl or 0.0, self._kept_until(log)
        too_old = log.entries[0].at + ttl if log.entries else kept_until  # an event is kept for all of that moment
        due = next((due for due in (too_old, kept_until) if due > now), now + ttl)
        heappush(self._due, (due, next(self._ties), log))
        self._pump.wake()

    def _kept_until(self, log: Log) -> float:
        """Until when a log is kept that nobody uses."""
        if not log.retention.history or log.end == 1:
            return -math.inf  # where nothing has been said there is nothing to come back to, and peers name rooms
        if log.retention.ttl is None:
            return math.inf if log.size else -math.inf
        return log.use.last + log.retention.ttl

    def _forget_unless_kept(self, log: Log) -> None:
        if not log.use.count and self._kept_until(log) == -math.inf:
            self._forget(log)

    def _forget(self, log: Log) -> None:
        del self._logs[log.use.key]
        log.drop()
        self._pump.let_all_on(log)

    def _make_room(self) -> None:
        for log in self._budget.make_room():
            if log.readers.count:
                # At the end of the round events go that all have read, before any of another room's history.
                self._pump.schedule(log)
            else:
                self._forget_unless_kept(log)


def _unavailable() -> Unavailable:
    return Unavailable("the app of this room is not served")


def _new_epoch() -> str:
    return secrets.token_hex(8)
