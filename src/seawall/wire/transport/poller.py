"""`Poller`: waits for all the plain sockets of a server at once, and reads them without a task for each.

Trio waits for one epoll descriptor; that one knows all the sockets. What one turn of the poller does is bounded for
each of them: one read, and one turn's worth of frames. It then lets everybody else run, the handlers that it woke above
all, so that a peer that floods slows the others down by its share and no more.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Final, Protocol, final

import trio

from seawall.wire.transport.base import PACE, ReadInterest

#: Sockets looked at in one turn.
MAX_EVENTS: Final = 256


def open_poller() -> Poller | None:
    """A poller, where the system has epoll."""
    return Poller() if sys.platform == "linux" else None


class Polled(Protocol):
    """What a `Poller` minds a socket for."""

    def on_ready(self, events: int, now: float, /) -> None:
        """What it waits for has happened: the events that epoll reports, and the moment. It must not raise."""
        ...


class Scheduled(Polled, Protocol):
    """What a `Poller` also calls in its turns; a `seawall.wire.transport.polled.SocketTransport` is."""

    def proceed(self) -> None:
        """It is its turn to decode."""
        ...

    def probe(self) -> None:
        """It is time to look what has come, though its handler is behind."""
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
        """How many sockets it minds."""
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
        """Mind a socket, and tell `polled` of these events."""
        self._epoll.register(descriptor, events)
        self._registered[descriptor] = polled

    def modify(self, descriptor: int, events: int) -> None:
        """Wait for other events of a socket that it minds."""
        self._epoll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Mind a socket no longer. It must still be open: later its number may be another one's."""
        del self._registered[descriptor]
        try:
            self._epoll.unregister(descriptor)
        except OSError:
            pass  # somebody else has closed it, and then the kernel has forgotten it

    def schedule(self, transport: Scheduled, read_interest: ReadInterest) -> None:
        """Let `transport` decode in the next turn, or look after `PACE`, or neither, as its channel wants."""
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
        """Let everybody else run, and wait until there is something to do."""
        if self._busy:
            await trio.lowlevel.checkpoint()
        elif self._throttled:
            with trio.move_on_at(next(iter(self._throttled.values()))):  # they are in the order in which they are due
                await trio.lowlevel.wait_readable(self._epoll.fileno())
        else:
            await trio.lowlevel.wait_readable(self._epoll.fileno())

    def _serve(self) -> None:
        """What is left from the last turn, then what has come, then those that were to be looked at later."""
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
