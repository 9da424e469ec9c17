"""`Poller`: waits for all the plain sockets of a server at once, and reads them without a task for each.

Trio waits for one epoll descriptor; that one knows all the sockets. What one turn of the poller does is bounded for
each of them: one read, and one turn's worth of frames. It then lets everybody else run, the handlers that it woke above
all, so that a peer that floods slows the others down by its share and no more.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

import trio

from seawall.wire.bell import Bell
from seawall.wire.lane import READ_SIZE, Lane
from seawall.wire.link import PACE, Demand

#: Sockets looked at in one turn.
MAX_EVENTS: Final = 256

if sys.platform == "linux" or TYPE_CHECKING:
    _IN: Final = select.EPOLLIN
    _READ: Final = select.EPOLLIN | select.EPOLLRDHUP
    _WRITE: Final = select.EPOLLOUT
    _LEFT: Final = select.EPOLLRDHUP
    _DEAD: Final = select.EPOLLERR | select.EPOLLHUP
    _ONCE: Final = select.EPOLLONESHOT
    # What a socket is watched for when it is not to be read; never 0, which would report a reset again and again. It
    # stays at `_READ` until the next event all the same: nearly always there is none before it is read again or closed.
    _WATCHED: Final = {Demand.LATER: _LEFT | _ONCE, Demand.WATCH: _LEFT | _ONCE, Demand.NOTHING: _ONCE}


def _is_reading(demand: Demand) -> bool:
    return demand is Demand.READ or demand is Demand.DECODE


def open_poller() -> Poller | None:
    """A poller, where the system has epoll."""
    return Poller() if sys.platform == "linux" else None


@final
class Poller:
    """One epoll descriptor, and the task that waits for it."""

    def __init__(self) -> None:
        """Prepare; `run` opens the descriptor."""
        self._minded: dict[int, PolledLink | Door | Watch] = {}
        self._busy: set[PolledLink] = set()
        self._later: dict[PolledLink, float] = {}
        self._epoll: select.epoll
        self._wakeup: int

    def __len__(self) -> int:
        """How many sockets it minds."""
        return len(self._minded)

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

    def add(self, descriptor: int, link: PolledLink | Door | Watch, events: int) -> None:
        """Mind a socket."""
        self._epoll.register(descriptor, events)
        self._minded[descriptor] = link

    def modify(self, descriptor: int, events: int) -> None:
        """Wait for other events of a socket that it minds."""
        self._epoll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Mind a socket no longer. It must still be open: later its number may be another one's."""
        del self._minded[descriptor]
        try:
            self._epoll.unregister(descriptor)
        except OSError:
            pass  # somebody else has closed it, and then the kernel has forgotten it

    def schedule(self, link: PolledLink, demand: Demand) -> None:
        """Let `link` decode in the next turn, or look after `PACE`, or neither, as its lane demands."""
        if demand is Demand.DECODE:
            self._busy.add(link)
            os.eventfd_write(self._wakeup, 1)
        elif self._busy:
            self._busy.discard(link)
        if demand is not Demand.LATER:
            if self._later:
                self._later.pop(link, None)
        elif link not in self._later:
            self._later[link] = trio.current_time() + PACE
            os.eventfd_write(self._wakeup, 1)

    async def _wait(self) -> None:
        """Let everybody else run, and wait until there is something to do."""
        if self._busy:
            await trio.lowlevel.checkpoint()
        elif self._later:
            with trio.move_on_at(next(iter(self._later.values()))):  # they are in the order in which they are due
                await trio.lowlevel.wait_readable(self._epoll.fileno())
        else:
            await trio.lowlevel.wait_readable(self._epoll.fileno())

    def _serve(self) -> None:
        """What is left from the last turn, then what has come, then those that were to be looked at later."""
        now = trio.current_time()
        busy, self._busy = self._busy, set()
        for link in busy:
            link.proceed()
        for descriptor, events in self._epoll.poll(0, MAX_EVENTS):
            minded = self._minded.get(descriptor)
            if minded is not None:
                minded.on_ready(events, now)
        for link in [link for link, due in self._later.items() if due <= now]:
            link.look()


@final
class PolledLink:
    """The link of a plain socket: the poller reads it, and who sends writes to it directly."""

    __slots__ = ("_demand", "_descriptor", "_events", "_lane", "_open", "_poller", "_socket", "_was_full")

    def __init__(self, poller: Poller, stream: trio.SocketStream, lane: Lane) -> None:
        """Take the socket over from `stream`, until `close`."""
        self._poller = poller
        self._lane = lane
        self._socket = stream.socket
        self._descriptor = stream.socket.fileno()
        self._demand = Demand.READ
        self._events = _READ
        self._was_full = False
        self._open = True
        poller.add(self._descriptor, self, self._events)

    def write(self, data: bytes | bytearray) -> int:
        """Write to the socket."""
        if not self._open:
            raise trio.BrokenResourceError
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:
            # The reader finds out too, and says so: whether the peer had closed properly only it can know.
            raise trio.BrokenResourceError from None

    def update(self) -> None:
        """Wait for what the lane wants now, and for room if there is something to write."""
        if not self._open:
            return
        lane = self._lane
        demand = lane.demand
        if demand is self._demand is Demand.READ and self._events == _READ and not lane.out.pending:
            return  # as nearly always
        self._poller.schedule(self, demand)
        self._demand = demand
        self._wait_for(_READ if _is_reading(demand) or self._events & _IN else _WATCHED[demand])

    def _wait_for(self, events: int) -> None:
        """Ask the kernel for these, and for room if there is something to write."""
        if self._lane.out.pending:
            events |= _WRITE
        if events != self._events:
            self._events = events
            self._poller.modify(self._descriptor, events)

    def on_ready(self, events: int, now: float) -> None:
        """Something has happened to the socket."""
        lane = self._lane
        try:
            if events != _IN or self._demand is not Demand.READ:
                self._serve(lane, events, now)
            elif not self._read(lane, now):
                return  # as nearly always: a message has come, and more may
            if self._demand is not lane.demand or not self._events:
                self.update()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
            self._give_up(lane, fault)

    def proceed(self) -> None:
        """Decode on."""
        if not self._open:
            return  # it has just been closed, in the same turn
        lane = self._lane
        try:
            if lane.demand is Demand.DECODE:
                lane.proceed()
            self.update()
        except Exception as fault:  # noqa: BLE001 - as above
            self._give_up(lane, fault)

    def look(self) -> None:
        """Take in what has come, though the handler is behind."""
        if not self._open:
            return
        lane = self._lane
        try:
            lane.look()
        except Exception as fault:  # noqa: BLE001 - as above
            self._give_up(lane, fault)

    async def linger(self) -> None:
        """Half-close the socket; the poller discards what still comes."""
        if not self._open:
            return
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it has gone already
        self._was_full = True
        self.update()
        await self._lane.wait_eof()

    def close(self) -> None:
        """Give the socket back, and let go of the lane: circles would be left to the garbage collector."""
        if self._open:
            self._open = False
            self._poller.schedule(self, Demand.NOTHING)
            self._poller.remove(self._descriptor)
            del self._lane

    async def wait_released(self) -> None:
        """Nothing of ours uses the socket between the poller's turns."""

    def _give_up(self, lane: Lane, fault: Exception) -> None:
        """Read no more. The peer is still told, if that is possible."""
        try:
            lane.fail(fault)
            self.update()
        except Exception:  # noqa: BLE001 - the second fault has the first one's cause
            lane.abort()

    def _drain(self, lane: Lane) -> None:
        try:
            lane.out.taken(self.write(lane.out.pending))
        except trio.BrokenResourceError:
            lane.out.abort()

    def _serve(self, lane: Lane, events: int, now: float) -> None:
        demand = lane.demand
        if self._events & _ONCE:
            self._events = 0  # the kernel has forgotten what it was to wait for
        elif events & _IN and not _is_reading(demand):
            self._wait_for(_WATCHED[demand])  # only now: most sockets that are not read do not say anything either
            events &= ~_IN
        if events & _WRITE and lane.out.pending:
            self._drain(lane)
        if not events & ~_WRITE:
            return
        match lane.demand:
            case Demand.READ:
                self._read(lane, now)
            case Demand.LATER:
                lane.look()  # the peer may have gone, and have said why
            case Demand.WATCH:
                lane.lose()
            case Demand.NOTHING:
                if events & _DEAD:  # it would be reported for ever
                    self.close()
                    lane.out.abort()
            case Demand.DECODE:
                pass  # first what is here already

    def _read(self, lane: Lane, now: float) -> bool:
        """Read once; whether that may have changed what is to be done next."""
        size = READ_SIZE if lane.opened and not self._was_full else lane.read_size
        try:
            data = os.read(self._descriptor, size)
        except BlockingIOError:
            data = None
        except OSError:
            data = b""
        changed = data is not None and lane.feed(data, now)
        self._was_full = data is not None and len(data) == size  # then there is more, and perhaps much more
        if not (self._was_full or lane.backlog):
            lane.looking = False
        return changed


@final
class Door:
    """Reads a plain socket on which nothing has been agreed yet. Trio would ask the kernel more often for it."""

    def __init__(self, poller: Poller, stream: trio.SocketStream) -> None:
        """Prepare; nothing is asked of the poller before something is waited for."""
        self._poller = poller
        self._descriptor = stream.socket.fileno()
        self._bell = Bell()
        self._is_minded = False

    @trio.lowlevel.enable_ki_protection
    async def receive_some(self, max_bytes: int) -> bytes:
        """At least one byte; none at the end. Cancelled, it has taken nothing.

        Raises:
          trio.BrokenResourceError: the peer has reset the connection.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                return os.read(self._descriptor, max_bytes)
            except BlockingIOError:
                if not self._is_minded:
                    self._poller.add(self._descriptor, self, _READ)
                    self._is_minded = True
                await self._bell.wait()
            except OSError as error:
                raise trio.BrokenResourceError from error

    def on_ready(self, _events: int, _now: float) -> None:
        """There is something to read."""
        self._bell.ring()

    def close(self) -> None:
        """Read no more."""
        if self._is_minded:
            self._poller.remove(self._descriptor)


@final
class Watch:
    """Tells when the peer of a socket that nobody reads has gone."""

    def __init__(self, poller: Poller, descriptor: int, on_gone: Callable[[], None]) -> None:
        """Begin to watch; `on_gone` is called once, at a reset or when the peer has finished."""
        self._poller = poller
        self._descriptor = descriptor
        self._on_gone = on_gone
        poller.add(descriptor, self, _LEFT | _ONCE)

    def on_ready(self, _events: int, _now: float) -> None:
        """It has gone."""
        self._on_gone()

    def close(self) -> None:
        """Watch no longer."""
        self._poller.remove(self._descriptor)
