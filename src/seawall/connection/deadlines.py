"""`DeadlineQueue`: one task that calls each connection of a server when the first of its deadlines has come."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import Final, Protocol, final

import trio
from attrs import define

#: Connections that are called before other tasks have their turn.
AT_A_TIME: Final = 20


class Owner(Protocol):
    """What a `Deadline` calls: a connection."""

    def on_due(self, now: float) -> None:
        """The deadline has come; `now` is on Trio's clock."""
        ...

    def on_fault(self, fault: Exception) -> None:
        """Called with what `on_due` has raised. Must not raise: other connections have deadlines in the same queue."""
        ...


@final
@define(order=False)
class Entry:
    """One entry of the queue."""

    due: float
    number: int
    """Orders entries of the same moment."""
    deadline: Deadline | None
    """None once it has been disarmed: the entry stays in the heap for a while, and must keep no connection alive."""

    def __lt__(self, other: Entry) -> bool:
        """Whether it is the earlier one."""
        return self.due < other.due or (self.due == other.due and self.number < other.number)


@final
class Deadline:
    """The moment at which the queue calls a connection. `arm` moves it earlier, and never later."""

    __slots__ = ("_queue", "entry", "owner")

    def __init__(self, queue: DeadlineQueue, owner: Owner) -> None:
        """Begin without a moment."""
        self._queue = queue
        self.owner: Owner | None = owner
        """What is called; None after `close`."""
        self.entry: Entry | None = None
        """Its place in the queue, if it has one."""

    def arm(self, due: float) -> None:
        """Call the owner at `due` on Trio's clock, or earlier if that was asked before. Infinity asks for nothing."""
        if self.owner is None or (self.entry is not None and self.entry.due <= due):
            return  # the owner arms again when it is called, which costs less than moving the entry each time
        self.disarm()
        if due < math.inf:
            self.entry = self._queue.add(self, due)

    def disarm(self) -> None:
        """Do not call."""
        if self.entry is not None:
            self.entry.deadline = None
            self.entry = None
            self._queue.note_stale()

    def close(self) -> None:
        """Never call again, and drop the owner: a reference cycle would be left to the garbage collector."""
        self.disarm()
        self.owner = None


@final
class DeadlineQueue:
    """The deadlines of all connections of a server, the earliest first."""

    def __init__(self) -> None:
        """Begin empty."""
        self._heap: list[Entry] = []
        self._order = itertools.count()
        self._stale = 0
        self._sleep = trio.CancelScope()

    def __len__(self) -> int:
        """How many deadlines are armed."""
        return len(self._heap) - self._stale

    def add(self, deadline: Deadline, due: float) -> Entry:
        """A new entry for `deadline`."""
        entry = Entry(due, next(self._order), deadline)
        heapq.heappush(self._heap, entry)
        if due < self._sleep.deadline:  # noqa: PLR1730 - to set it costs more than to look
            self._sleep.deadline = due
        return entry

    def note_stale(self) -> None:
        """Count one more disarmed entry. When more than half of all are, they are removed together."""
        self._stale += 1
        if self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry.deadline is not None]
            heapq.heapify(self._heap)
            self._stale = 0

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Sleep until the next deadline, call its owner, and again, until cancelled."""
        while True:
            with trio.move_on_at(self._heap[0].due if self._heap else math.inf) as self._sleep:
                await trio.sleep_forever()
            self._call_due(trio.current_time())

    def _call_due(self, now: float) -> None:
        """Call those that are due, some at a time: ending thousands at once would hold up all the others.

        Not in `run`, whose variables would keep the last one alive while it sleeps.
        """
        for _ in range(AT_A_TIME):
            if not self._heap or self._heap[0].due > now:
                return
            deadline = heapq.heappop(self._heap).deadline
            if deadline is None:
                self._stale -= 1
                continue
            deadline.entry = None
            if (owner := deadline.owner) is not None:
                try:
                    owner.on_due(now)
                except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
                    owner.on_fault(fault)
