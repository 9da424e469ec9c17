"""`DeadlineQueue`: one task that calls each connection of a server when the first of its deadlines has come.

What a peer has sent may still be in its socket when its deadline has come: the program may have stood still, or have
been busy with others. So a connection asks `Deadline.was_read` before it is ended for its peer's silence. The first
answer is no; the queue then lets all tasks run for some turns, the poller and the readers of the streams among them,
and calls the connection again. How late the queue itself has been, `seawall.wire.lateness` adds to what is waited for.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sized
from typing import Final, Protocol, final

import trio
from attrs import define

from seawall.wire.lateness import Lateness
from seawall.wire.transport.poller import MAX_EVENTS

#: Connections that are called before other tasks have their turn.
AT_A_TIME: Final = 20

#: Turns of the scheduler in which sockets are read before a peer counts as silent; one more for each `MAX_EVENTS`
#: sockets of the poller. A reader of TLS takes one record of 16 KiB in a turn, and 64 of these are 1 MiB.
READING_TURNS: Final = 80


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

    def was_read(self) -> bool:
        """Whether all sockets have been read since this was first asked. If not, the owner is called when they have."""
        return self._queue.was_read(self)

    def is_behind(self) -> bool:
        """Whether the queue was late, and not all sockets have been read since; the owner is called when they have."""
        return self._queue.is_behind(self)

    def close(self) -> None:
        """Never call again, and drop the owner: a reference cycle would be left to the garbage collector."""
        self.disarm()
        self._queue.forget(self)
        self.owner = None


@final
class DeadlineQueue:
    """The deadlines of all connections of a server, the earliest first."""

    def __init__(self, sockets: Sized = ()) -> None:
        """Begin empty. `sockets` are those that the poller reads."""
        self.lateness = Lateness()
        """When `run` was late."""
        self._sockets = sockets
        self._heap: list[Entry] = []
        self._order = itertools.count()
        self._stale = 0
        self._sleep = trio.CancelScope()
        self._turn = 0
        self._caught_up_in = 0
        """The turn by which all sockets have been read since the queue was last late."""
        self._reading: dict[Deadline, int] = {}
        """Those whose owners wait until all sockets have been read, and the turn in which that is so."""

    def __len__(self) -> int:
        """How many deadlines are armed."""
        return len(self._heap) - self._stale

    def add(self, deadline: Deadline, due: float) -> Entry:
        """A new entry for `deadline`."""
        entry = Entry(due, next(self._order), deadline)
        heapq.heappush(self._heap, entry)
        if due < self._sleep.deadline:
            self._sleep.deadline = max(due, trio.current_time())  # `run` is not late for what it learns only now
        return entry

    def was_read(self, deadline: Deadline) -> bool:
        """As `Deadline.was_read`."""
        return self._reading.setdefault(deadline, self._all_read_in()) <= self._turn

    def is_behind(self, deadline: Deadline) -> bool:
        """As `Deadline.is_behind`."""
        return self._turn < self._caught_up_in and not self.was_read(deadline)

    def _all_read_in(self) -> int:
        """The turn by which all sockets will have been read."""
        return self._turn + READING_TURNS + len(self._sockets) // MAX_EVENTS

    def forget(self, deadline: Deadline) -> None:
        """Drop what is kept of `deadline`."""
        if self._reading:
            self._reading.pop(deadline, None)

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
        woken = trio.current_time()
        while True:
            if self._reading:
                due = woken
                await trio.lowlevel.checkpoint()
            else:
                with trio.move_on_at(max(self._heap[0].due, woken) if self._heap else math.inf) as self._sleep:
                    await trio.sleep_forever()
                due = self._sleep.deadline
            woken = trio.current_time()
            self._turn += 1
            if self.lateness.record(due, woken):
                self._caught_up_in = self._all_read_in()
            self._call_due(woken)
            self._call_read(woken)

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
            _call(deadline, now)

    def _call_read(self, now: float) -> None:
        """Call those that have waited until all sockets were read."""
        for deadline in [deadline for deadline, turn in self._reading.items() if turn <= self._turn][:AT_A_TIME]:
            _call(deadline, now)
            self.forget(deadline)


def _call(deadline: Deadline, now: float) -> None:
    """Call the owner."""
    if (owner := deadline.owner) is not None:
        try:
            owner.on_due(now)
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
            owner.on_fault(fault)
