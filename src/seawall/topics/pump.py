"""`Pump`: the one task that writes to all who read rooms, some at a time, with the other tasks in between.

A round goes over all who read one room, and ends with removing what nobody needs any more. There is one whenever
something has been published, and another one if more was published meanwhile. Who has been behind, and can be written
to again, is woken by its send buffer and has a turn of its own. Whoever publishes in a room whose round is far behind
waits here for its turn.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, Protocol, final

import trio

from seawall.topics.entry import Entry
from seawall.topics.log import Log
from seawall.topics.readers import FrameCache
from seawall.wire.budget import Budget
from seawall.wire.frames.encoder import Frame
from seawall.wire.waiter import Waiter

#: Events of a room that may still have to be served when somebody publishes there without waiting.
MAX_AHEAD: Final = 64

#: What is done between two checkpoints, in units: so many deliveries, each of which costs as much as passing over so
#: many readers for whom there is nothing to do.
DELIVERIES: Final = 16
_DELIVERY: Final = 16
#: Bytes that are written for one more unit: large events take more of a slice, above all where they are compressed.
_PER_UNIT: Final = 4096


class Resumed(Protocol):
    """Who has been woken."""

    def resume(self) -> bool:
        """Have a turn, unless it has left meanwhile; whether it had one. What it raises ends it."""
        ...

    def end(self, failure: Exception, /) -> None:
        """Have it read no more, and raise `failure` where it is used."""
        ...


class Timed(Protocol):
    """What has something to do at certain times."""

    @property
    def due(self) -> float:
        """When, on Trio's clock; infinity for never."""
        ...

    def run_due(self, now: float, /) -> None:
        """Do some of what is due at `now`, and leave the rest for the next turn: it is still `due`. Must not raise."""
        ...


@final
class _Queue:
    """Who waits to publish in one room."""

    __slots__ = ("lot", "woken")

    def __init__(self) -> None:
        """Begin with nobody."""
        self.lot = trio.lowlevel.ParkingLot()
        """They, in the order in which they came."""
        self.woken = 0
        """How many have been let on, and have not run yet."""


@final
class Pump:
    """Serves all who read the rooms of one app."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._rounds: deque[Log] = deque()  # those that have a round
        self._woken: deque[Resumed] = deque()
        self._waiter = Waiter()
        self._budget = Budget()
        self.timers: list[Timed] = []
        """What is done at certain times."""
        self._queues: dict[Log, _Queue] = {}  # of logs where somebody waits to publish
        self.is_running = False
        """Whether anybody is served now; in a lifespan nobody is."""
        self.written = 0
        """Bytes that a reader has written in its turn, and adds here."""

    async def turn(self, size: int) -> None:
        """A checkpoint of who publishes an event of so many bytes."""
        if self._budget.is_spent(size):
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    def is_behind(self, log: Log) -> bool:
        """Whether who publishes there has to wait: for the readers, or for those who have come before."""
        return self.is_running and (log in self._queues or log.readers.is_behind(log.end - MAX_AHEAD))

    async def wait_turn(self, log: Log) -> None:
        """Wait until one may publish, before the next checkpoint. After that, or instead, call `let_on`."""
        queue = self._queues.setdefault(log, _Queue())
        try:
            await queue.lot.park()
            queue.woken -= 1
        finally:
            if not queue.lot and not queue.woken and self._queues.get(log) is queue:  # not one that has come since
                del self._queues[log]

    def let_on(self, log: Log) -> None:
        """Let on as many of those who wait to publish as may."""
        if (queue := self._queues.get(log)) is not None:
            unserved = log.end - log.readers.done if log.readers.is_scheduled else 0
            free = MAX_AHEAD + 1 - unserved - queue.woken
            queue.woken += len(queue.lot.unpark(count=max(0, free)))

    def let_all_on(self, log: Log) -> None:
        """Let on all who wait to publish: the room is forgotten, or nobody is served any more."""
        if (queue := self._queues.get(log)) is not None:
            queue.woken += len(queue.lot.unpark_all())

    def schedule(self, log: Log) -> None:
        """Have a round over the readers of a log."""
        readers = log.readers
        if not readers.is_scheduled:
            readers.done = max(readers.done, log.end - 1)  # what came before has been served, or had no readers
            readers.begin_round(log.end)
            self._rounds.append(log)
            self._waiter.wake()

    def put(self, reader: Resumed) -> None:
        """Have a turn of one reader."""
        self._woken.append(reader)
        self._waiter.wake()

    def wake(self) -> None:
        """Look again at what is due when."""
        self._waiter.wake()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Serve until cancelled."""
        self.is_running = True
        try:
            while True:
                due = self._run_due(trio.current_time())
                if self._rounds or self._woken:
                    self._serve_some()
                    await trio.lowlevel.checkpoint()
                elif due == math.inf:
                    await self._waiter.wait()
                else:
                    with trio.move_on_at(due):
                        await self._waiter.wait()
        finally:
            self.is_running = False
            for log in self._queues:
                self.let_all_on(log)

    def stop(self) -> None:
        """Forget what was to be done; nobody waits for a round any more, as `run` has ended."""
        self._rounds.clear()
        self._woken.clear()

    def _run_due(self, now: float) -> float:
        """Do some of what is due, and return when there is more to do."""
        first = math.inf
        for timer in self.timers:
            if timer.due <= now:
                timer.run_due(now)
            first = min(first, timer.due)
        return first

    def _serve_some(self) -> None:
        """Do what is done between two checkpoints."""
        left = DELIVERIES * _DELIVERY
        for_woken = left // 2 if self._woken else 0  # however many small rooms have a round
        is_over = True
        while is_over and left > for_woken and self._rounds:
            log = self._rounds.popleft()
            share = left - for_woken
            left -= share - self._go_round(log, share) + 1
            is_over = not log.readers.is_scheduled
            if not is_over:
                self._rounds.append(log)
        while left > 0 and self._woken:
            reader = self._woken.popleft()
            try:
                if not reader.resume():
                    continue  # this costs less than to come and go: what is left is for those who stay
            except Exception as failure:  # noqa: BLE001 - as below
                reader.end(failure)
            left -= self._cost()

    def _cost(self) -> int:
        """What one delivery costs, in units."""
        written, self.written = self.written, 0
        return _DELIVERY + written // _PER_UNIT

    def _go_round(self, log: Log, left: int) -> int:
        """Serve readers of one room until so many units are used up, or the round is over; what is left of them.

        Most of what all rooms do is done in this loop: the newest event, which nobody has yet, in one frame for all.
        """
        readers, end = log.readers, log.end
        slots, at, until, lowest = readers.slots, readers.at, readers.until, readers.lowest
        newest, entry = end - 1, _newest_for_all(log)
        renderer: FrameCache | None = None  # the one that `frame` is of
        frame: Frame = b""
        while left > 0 and at < until:
            reader = slots[at]
            at += 1
            left -= 1
            if reader is None:
                continue
            try:
                outlet, cursor = reader.outlet, reader.cursor
                number = cursor.next
                if outlet is not None:
                    if number == newest and entry is not None:
                        if renderer is not reader.renderer:
                            renderer = reader.renderer
                            frame = b"" if renderer is None else renderer.known(entry) or b""
                        if frame and outlet.put_shared(frame, 1):
                            cursor.next = end
                            left -= _DELIVERY + len(frame) // _PER_UNIT
                            continue
                    elif number == log.end:
                        continue
                    renderer = None  # what is done now may make the frame
                reader.visit()
                lowest = min(lowest, reader.needs())
                if cursor.next != number:
                    left -= self._cost()
            except Exception as failure:  # noqa: BLE001 - whatever it is, it is this reader's alone
                reader.end(failure)
        readers.at, readers.lowest = at, lowest
        if at >= until:
            self._end_round(log)
        return left

    def _end_round(self, log: Log) -> None:
        readers = log.readers
        readers.end_round()
        log.trim(min(readers.lowest, readers.begun_at), trio.current_time())
        if log.end > readers.begun_at or readers.is_repeated:
            readers.begin_round(log.end)
        self.let_on(log)


def _newest_for_all(log: Log) -> Entry | None:
    """The newest event of a log, unless somebody does not get it."""
    entry = log.entries[-1] if log.entries else None
    return None if entry is None or entry.but is not None else entry
