"""`Poller`: waits for all the plain sockets of a server at once, and reads them without a task for each.

All the sockets are registered with one epoll descriptor, and Trio waits for that one. In one turn the poller does a
bounded amount of work for each socket: one read, and at most `FRAMES_PER_TURN` frames (of `seawall.wire.channel`). Then
all other tasks run, the handlers that it woke among them. So a peer that floods takes no more than its share.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Final, Protocol, final

import trio

from seawall.wire.transport.base import PACE, ReadInterest

#: Sockets served in one turn.
MAX_EVENTS: Final = 256


def open_poller() -> Poller | None:
    """A poller; None where the system has no epoll."""
    return Poller() if sys.platform == "linux" else None


class Polled(Protocol):
    """What a `Poller` calls when an event of a socket happens."""

    def on_ready(self, events: int, now: float, /) -> None:
        """Handle `events`, as epoll reports them, at the time `now` on Trio's clock. It must not raise."""
        ...


class Scheduled(Polled, Protocol):
    """A `Polled` that a `Poller` also calls without an event: `seawall.wire.transport.polled.SocketTransport`."""

    def proceed(self) -> None:
        """Decode for one turn. It must not raise."""
        ...

    def probe(self) -> None:
        """Begin a probe (see `seawall.wire.transport.base`). It must not raise."""
        ...


@final
class Poller:
    """One epoll descriptor, and the task that waits for it."""

    def __init__(self) -> None:
        """Prepare; `run` opens the descriptor."""
        self._registered: dict[int, Polled] = {}
        self._busy: set[Scheduled] = set()
        self._throttled: dict[Scheduled, float] = {}
        self._epoll: select.epoll
        self._wakeup: int

    def __len__(self) -> int:
        """How many sockets are registered."""
        return len(self._registered)

    @trio.lowlevel.enable_ki_protection
    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve the sockets until cancelled."""
        self._wakeup = os.eventfd(0)
        try:
            with select.epoll() as self._epoll:
                self._epoll.register(self._wakeup, select.EPOLLIN | select.EPOLLET)
                task_status.started()
                while True:
                    await self._wait()
                    self._serve()
        finally:
            os.close(self._wakeup)

    def add(self, descriptor: int, polled: Polled, events: int) -> None:
        """Register a socket: `polled.on_ready` is called when one of `events` happens."""
        self._epoll.register(descriptor, events)
        self._registered[descriptor] = polled

    def modify(self, descriptor: int, events: int) -> None:
        """Wait for other events of a socket that is registered."""
        self._epoll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Unregister a socket. It must still be open, because the number of a closed one may be in use again."""
        del self._registered[descriptor]
        try:
            self._epoll.unregister(descriptor)
        except OSError:
            pass  # it was closed elsewhere, and the kernel has unregistered it

    def schedule(self, transport: Scheduled, read_interest: ReadInterest) -> None:
        """Let `transport` decode in the next turn (`DECODE`), probe after `PACE` seconds (`THROTTLED`), or neither."""
        if read_interest is ReadInterest.DECODE:
            self._busy.add(transport)
            os.eventfd_write(self._wakeup, 1)
        elif self._busy:
            self._busy.discard(transport)
        if read_interest is not ReadInterest.THROTTLED:
            if self._throttled:
                self._throttled.pop(transport, None)
        elif transport not in self._throttled:
            self._throttled[transport] = trio.current_time() + PACE
            os.eventfd_write(self._wakeup, 1)

    async def _wait(self) -> None:
        """Let all other tasks run, and wait until there is something to do."""
        if self._busy:
            await trio.lowlevel.checkpoint()
        elif self._throttled:
            with trio.move_on_at(next(iter(self._throttled.values()))):  # they are in the order in which they are due
                await trio.lowlevel.wait_readable(self._epoll.fileno())
        else:
            await trio.lowlevel.wait_readable(self._epoll.fileno())

    def _serve(self) -> None:
        """Serve the transports that have more to decode, then the sockets with events, then the probes that are due."""
        now = trio.current_time()
        busy, self._busy = self._busy, set()
        for transport in busy:
            transport.proceed()
        for descriptor, events in self._epoll.poll(0, MAX_EVENTS):
            registered = self._registered.get(descriptor)
            if registered is not None:
                registered.on_ready(events, now)
        for transport in [transport for transport, due in self._throttled.items() if due <= now]:
            transport.probe()
