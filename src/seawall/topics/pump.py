"""`Pump`: the one task that writes to all who read rooms, some at a time, with the other tasks in between.

A round goes over all who read one room, and ends with removing what nobody needs any more. There is one after whatever
has been published, and another one if more was published meanwhile. Who has been behind, and can be written to again, is
woken by its send buffer and has a turn of its own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, final

import trio

from seawall.topics.log import Entry, Log
from seawall.topics.rendering import Style
from seawall.wire.budget import Budget
from seawall.wire.waiter import Waiter

#: What is done between two checkpoints, in units: so many deliveries, each of which costs as much as passing over so
#: many readers for whom there is nothing to do.
DELIVERIES: Final = 16
_DELIVERY: Final = 16


class Resumed(Protocol):
    """Who has been woken."""

    def resume(self) -> None:
        """Have a turn. Must not raise."""
        ...


@final
class Pump:
    """Serves all who read the rooms of one app."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._rounds: deque[Log] = deque()  # those that have a round
        self._woken: deque[Resumed] = deque()
        self._waiter = Waiter()
        self._budget = Budget()
        self._due = math.inf
        self.progress = trio.lowlevel.ParkingLot()
        """Who waits until a round has ended."""

    async def turn(self, size: int) -> None:
        """A checkpoint of who publishes an event of so many bytes."""
        if self._budget.is_spent(size):
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    def schedule(self, log: Log) -> None:
        """Have a round over the readers of a log."""
        readers = log.readers
        if not readers.is_scheduled:
            readers.begin_round(log.end)
            self._rounds.append(log)
            self._waiter.wake()

    def wake(self, reader: Resumed) -> None:
        """Have a turn of one reader."""
        self._woken.append(reader)
        self._waiter.wake()

    def expire_at(self, due: float) -> None:
        """Have what is too old removed at that time, or earlier."""
        if due < self._due:
            self._due = due
            self._waiter.wake()

    @trio.lowlevel.enable_ki_protection
    async def run(self, expire: Callable[[float], float]) -> None:
        """Serve until cancelled. `expire` removes what is too old at a given time, and returns when to do so again."""
        while True:
            if self._due <= trio.current_time():
                self._due = math.inf
                due = expire(trio.current_time())
                self._due = min(self._due, due)
            if self._rounds or self._woken:
                self._serve_some()
                await trio.lowlevel.checkpoint()
            elif self._due == math.inf:
                await self._waiter.wait()
            else:
                with trio.move_on_at(self._due):
                    await self._waiter.wait()

    def stop(self) -> None:
        """Forget what was to be done."""
        self._rounds.clear()
        self._woken.clear()
        self._due = math.inf
        self.progress.unpark_all()

    def _serve_some(self) -> None:
        """Do what is done between two checkpoints."""
        left = DELIVERIES * _DELIVERY
        is_over = True
        while is_over and left > 0 and self._rounds:
            log = self._rounds.popleft()
            share = left // 2 if self._woken and left > _DELIVERY else left
            left -= share - self._go_round(log, share) + 1
            is_over = not log.readers.is_scheduled
            if not is_over:
                self._rounds.append(log)
        while left > 0 and self._woken:
            self._woken.popleft().resume()
            left -= _DELIVERY

    def _go_round(self, log: Log, left: int) -> int:
        """Serve readers of one room until so many units are used up, or the round is over; what is left of them.

        Most of what all rooms do is done in this loop: the newest event, which nobody has yet, in one frame for all.
        """
        readers, end = log.readers, log.end
        slots, at, lowest = readers.slots, readers.at, readers.lowest
        newest, entry = end - 1, _newest_for_all(log)
        style: Style | None = None  # the one that `frame` is of
        frame = b""
        while left > 0 and at < len(slots):
            reader = slots[at]
            at += 1
            left -= 1
            if reader is None:
                continue
            outlet, number = reader.outlet, reader.next
            if outlet is not None:
                if number == newest and entry is not None:
                    if style is not reader.style:
                        style = reader.style
                        frame = (style and style.known(entry)) or b""
                    if frame and outlet.put_shared(frame, 1):
                        reader.next = end
                        left -= _DELIVERY
                        continue
                elif number == log.end:
                    continue
                style = None  # what is done now may make the frame
            reader.visit()
            lowest = min(lowest, reader.needs())
            if reader.next != number:
                left -= _DELIVERY
        readers.at, readers.lowest = at, lowest
        if at >= len(slots):
            self._end_round(log)
        return left

    def _end_round(self, log: Log) -> None:
        readers = log.readers
        readers.end_round()
        log.trim(min(readers.lowest, readers.begun_at), trio.current_time())
        if log.end > readers.begun_at:
            readers.begin_round(log.end)
        self.progress.unpark_all()


def _newest_for_all(log: Log) -> Entry | None:
    """The newest event of a log, unless somebody does not get it."""
    entry = log.entries[-1] if log.entries else None
    return None if entry is None or entry.but is not None else entry
