"""`DeadlineQueue`: one task that calls each connection of a server when the first of its deadlines has come.

What a peer has sent may still be in its socket when its deadline has come: the program may have stood still, or have
been busy with others. So a connection asks `Deadline.was_read` before it is ended for its peer's silence. The first
answer is no; the queue then lets all tasks run for some turns, the poller and the readers of the streams among them,
and calls the connection again. How late the queue itself has been, `seawall.wire.lateness` adds to what is waited for.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sized
from typing import Final, Protocol, final

import trio
from attrs import define

from seawall.clock import unix_time
from seawall.wire.lateness import TOLERANCE, Lateness
from seawall.wire.transport.poller import MAX_EVENTS

#: Connections that are called before other tasks have their turn.
AT_A_TIME: Final = 20

#: Seconds on Trio's clock after which the wall clock is looked at again while something ends by it: it may have been
#: set, and Trio's clock may have stood still while the machine was suspended.
LOOK_INTERVAL: Final = 20.0

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
    deadline: Deadline | None
    """None once it has been disarmed: the entry stays in the heap for a while, and must keep no connection alive."""

    def __lt__(self, other: Entry) -> bool:
        """Whether it is the earlier one."""
        return self.due < other.due


@final
class Heap:
    """Entries on one clock, the earliest first."""

    __slots__ = ("_entries", "_stale")

    def __init__(self) -> None:
        """Begin empty."""
        self._entries: list[Entry] = []
        self._stale = 0

    def __len__(self) -> int:
        """How many deadlines are in it."""
        return len(self._entries) - self._stale

    @property
    def first(self) -> float:
        """When the first is due, which may have been disarmed; infinity if there is none."""
        return self._entries[0].due if self._entries else math.inf

    def add(self, deadline: Deadline, due: float) -> Entry:
        """A new entry for `deadline`."""
        entry = Entry(due, deadline)
        heapq.heappush(self._entries, entry)
        return entry

    def drop(self, entry: Entry) -> None:
        """Disarm `entry`. When more than half of all are disarmed, they are removed together."""
        entry.deadline = None
        self._stale += 1
        if self._stale * 2 > len(self._entries):
            self._entries = [entry for entry in self._entries if entry.deadline is not None]
            heapq.heapify(self._entries)
            self._stale = 0

    def pop(self) -> Deadline | None:
        """Remove the first entry, and return its deadline; None if that has been disarmed."""
        deadline = heapq.heappop(self._entries).deadline
        if deadline is None:
            self._stale -= 1
        return deadline


@final
class Deadline:
    """The moment at which the queue calls a connection. It is moved earlier, and never later."""

    __slots__ = ("_queue", "_wall_entry", "entry", "owner")

    def __init__(self, queue: DeadlineQueue, owner: Owner) -> None:
        """Begin without a moment."""
        self._queue = queue
        self.owner: Owner | None = owner
        """What is called; None after `close`."""
        self.entry: Entry | None = None
        """Its place in the queue, if it has one."""
        self._wall_entry: Entry | None = None  # the same, of `arm_by_wall`

    def arm(self, due: float) -> None:
        """Call the owner at `due` on Trio's clock, or earlier if that was asked before. Infinity asks for nothing."""
        if self.owner is None or (self.entry is not None and self.entry.due <= due):
            return  # the owner arms again when it is called, which costs less than moving the entry each time
        if self.entry is not None:
            self._queue.heap.drop(self.entry)
            self.entry = None
        if due < math.inf:
            self.entry = self._queue.add(self, due)

    def arm_by_wall(self, due: float) -> None:
        """Call the owner within `LOOK_INTERVAL` after `due`, in Unix time, whatever the wall clock does; as `arm`."""
        if self.owner is None or due == math.inf or (self._wall_entry is not None and self._wall_entry.due <= due):
            return
        if self._wall_entry is not None:
            self._queue.wall_heap.drop(self._wall_entry)
        self._wall_entry = self._queue.add_by_wall(self, due)

    def disarm(self) -> None:
        """Do not call."""
        if self.entry is not None:
            self._queue.heap.drop(self.entry)
            self.entry = None
        if self._wall_entry is not None:
            self._queue.wall_heap.drop(self._wall_entry)
            self._wall_entry = None

    def call(self, now: float) -> None:
        """Call the owner, which has to arm again."""
        if (owner := self.owner) is not None:
            try:
                owner.on_due(now)
            except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
                owner.on_fault(fault)

    def call_by_wall(self, now: float) -> None:
        """As `call`, for `arm_by_wall`."""
        self._wall_entry = None
        self.call(now)

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
        self.heap = Heap()
        """On Trio's clock."""
        self.wall_heap = Heap()
        """In Unix time."""
        self._sockets = sockets
        self._sleep = trio.CancelScope()
        self._look_at = math.inf  # when to look at the wall clock
        self._turn = 0
        self._caught_up_in = 0
        """The turn by which all sockets have been read since the queue was last late."""
        self._reading: dict[Deadline, int] = {}
        """Those whose owners wait until all sockets have been read, and the turn in which that is so."""

    def __len__(self) -> int:
        """How many deadlines are armed."""
        return len(self.heap) + len(self.wall_heap)

    def add(self, deadline: Deadline, due: float) -> Entry:
        """A new entry for `deadline`."""
        if due < self._sleep.deadline:
            self._sleep.deadline = max(due, trio.current_time())  # `run` is not late for what it learns only now
        return self.heap.add(deadline, due)

    def add_by_wall(self, deadline: Deadline, due: float) -> Entry:
        """The same for a moment in Unix time."""
        if not self.wall_heap:
            self._look_at = trio.current_time() + LOOK_INTERVAL
            self._sleep.deadline = min(self._sleep.deadline, self._look_at)
        return self.wall_heap.add(deadline, due)

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

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Sleep until the next deadline, call its owner, and again, until cancelled."""
        woken = trio.current_time()
        while True:
            if self._reading:
                due = woken
                await trio.lowlevel.checkpoint()
            else:
                with trio.move_on_at(max(min(self.heap.first, self._look_at), woken)) as self._sleep:
                    await trio.sleep_forever()
                due = self._sleep.deadline
            # Some of each turn counts as time, so that a peer that is dead ends where all turns are long.
            due, woken = max(due, woken + TOLERANCE), trio.current_time()
            self._turn += 1
            if self.lateness.record(due, woken):
                self._caught_up_in = self._all_read_in()
            self._call_due(woken)
            self._call_read(woken)
            self._call_due_by_wall(woken)

    def _call_due(self, now: float) -> None:
        """Call those that are due, some at a time: ending thousands at once would hold up all the others.

        Not in `run`, whose variables would keep the last one alive while it sleeps.
        """
        for _ in range(AT_A_TIME):
            if self.heap.first > now:
                return
            deadline = self.heap.pop()
            if deadline is not None:
                deadline.entry = None
                deadline.call(now)

    def _call_read(self, now: float) -> None:
        """Call those that have waited until all sockets were read."""
        for deadline in [deadline for deadline, turn in self._reading.items() if turn <= self._turn][:AT_A_TIME]:
            deadline.call(now)
            self.forget(deadline)

    def _call_due_by_wall(self, now: float) -> None:
        """Call those that are due by the wall clock, and find out when to look at it again."""
        self._look_at = math.inf
        if not self.wall_heap:
            return
        wall_now = unix_time()
        for _ in range(AT_A_TIME):
            if self.wall_heap.first > wall_now:
                break
            deadline = self.wall_heap.pop()
            if deadline is not None:
                deadline.call_by_wall(now)
        if self.wall_heap:
            self._look_at = now if self.wall_heap.first <= wall_now else now + LOOK_INTERVAL
