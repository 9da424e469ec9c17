"""`Server`: listeners, the barrier between connections and everything else, and the two ways to stop.

`serve` itself only accepts; its connections run in a child task, inside of one shielded scope. Cancelling `serve`
therefore does not cut them off in the middle of a frame: it ends each of them, within the limits of its own. The
deadline queue, the poller and the background tasks end after the last connection.

All these tasks are protected from KeyboardInterrupt, which could otherwise be raised in the middle of any line of ours.
Trio then raises it in the main task, whose nursery cancels `serve` in the ordinary way. Guards and handlers are not
protected, so that Ctrl-C can interrupt one that loops without a checkpoint.
"""

from __future__ import annotations

import errno
import itertools
import math
from collections.abc import Sequence
from threading import get_ident
from typing import final

import trio

from seawall.connection.connection import checked_end
from seawall.errors import ConfigurationError
from seawall.http.hosts import HostCheck
from seawall.observability.logs import server_log
from seawall.observability.reports import labelled
from seawall.observability.snapshot import ConnectionSnapshot
from seawall.policy.ending import Cause
from seawall.serving.labels import label_of_server
from seawall.serving.listening import Address, Listener, address_of, host_checks
from seawall.serving.runner import run_connection
from seawall.serving.state import AcceptedConnection, ServerState
from seawall.serving.tls import TlsError
from seawall.wire.transport.lingering import abandon
from seawall.wire.transport.sockets import peer_of

#: Errors of accept() for lack of descriptors or memory, which pass when some are freed (as in trio.serve_listeners).
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

#: Errors of accept() that belong to the one connection that was about to be accepted (accept(2), "Error handling").
_PASSING = frozenset(
    {
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EPERM,
        errno.EPROTO,
    }
)

#: Seconds to wait before accepting again after one of `_EXHAUSTED`.
BACK_OFF = 0.1

#: How many connections are told in one turn that the server drains, at least, and in how many turns at most.
AT_ONCE = 100
TURNS = 10

#: Numbers the connections of the process, so that an id is unique even where several servers run.
_numbers = itertools.count(1)


@final
class Server:
    """A server that runs; ``await app.start(...)`` gives one."""

    def __init__(self, state: ServerState, left: trio.Event | None = None) -> None:
        """Prepare to `serve`. `left` is set by the caller once the lifespans around `serve` have been left."""
        self.addresses: tuple[Address, ...] = ()
        """Where it listens."""
        self._state = state
        self._label = ""
        self._accepting = trio.CancelScope()
        self._accepted = 0
        self._hosting = trio.Event()
        self._nursery: trio.Nursery
        self._stop = trio.Event()
        self._finished = trio.Event()
        self._left = self._finished if left is None else left

    @property
    def connections(self) -> tuple[ConnectionSnapshot, ...]:
        """A snapshot of each connection that is open, in the order in which they came.

        Those whose guards have not let them in yet are among them; those whose end has been recorded are not.

        Raises:
          ConfigurationError: it is another thread than the server's; use ``trio.from_thread.run_sync``.
        """
        self._check_thread("connections")
        found = (connection.snapshot() for connection in self._state.connections)
        return tuple(snapshot for snapshot in found if snapshot is not None)

    def end(self, connection: str, code: int = 1000, reason: str = "") -> bool:
        """End the connection of this id, without waiting for that.

        Its handler sees that it is over, and has ``Limits.wind_down`` seconds to return. A client whose guards have not
        let it in gets HTTP 503 with the reason.

        Args:
          connection: the id, from `connections`, ``conn.id`` or the log.
          code: the close code: 1000, or 4000-4999 for the application's own meanings.
          reason: at most 123 bytes of UTF-8.

        Returns:
          Whether it ends because of that. False if it is not there, or has ended before.

        Raises:
          ConfigurationError: as `Connection.close_nowait`.
        """
        self._check_thread("end")
        end, served = checked_end("end", Cause.ENDED, code, reason), self._state.connections.get(connection)
        return served is not None and served.end(end)

    def _check_thread(self, name: str, by: str = "run_sync") -> None:
        if get_ident() != self._state.thread:
            raise ConfigurationError(
                f"server.{name} in another thread than the server's; ask for it with trio.from_thread.{by}"
            )

    async def drain(self, *, restarting: bool = False) -> None:
        """Let every connection end, and wait until it has, which takes ``Limits.drain_timeout`` at most.

        Listening ends at once; clients that have connected but not been let in get HTTP 503. Handlers see
        `Connection.draining`, their iteration over messages ends, and they may finish; what has not finished
        ``close_timeout`` before the end is cancelled. Peers get close code 1001. More than a hundred connections are
        told in turns, over half the time that handlers have, so that their clients do not all come back in the same
        second.

        Only three things can take longer: resources of guards that are slow to leave (``close_timeout`` each), what
        a handler shields from cancellation, and threads. They are named in the log, and their sockets are closed.

        Cancelling this call does not stop the draining; cancelling ``serve`` does. A handler or a lifespan that awaits
        this call waits for its own end, until it is cancelled: start it in a nursery of the program's instead.

        Args:
          restarting: the server will be back: peers get 1012 instead. What the first call says counts.

        Raises:
          ConfigurationError: it is another thread than the server's.
        """
        self._check_thread("drain", "run")
        if not self._state.drain.begun:
            self._state.drain.begun, self._state.drain.restarting = True, restarting
            await self._accept_rest()
            self._accepting.cancel()
        await self._finished.wait()

    async def _accept_rest(self) -> None:
        """Accept the connections that a listener holds already, so that they get HTTP 503.

        Closing a listener would reset them.
        """
        before, most = -1, self._accepted + self._state.limits.max_unauthenticated
        with trio.CancelScope(shield=True):
            while before < self._accepted < most:
                before = self._accepted
                for _ in range(3):  # one for Trio to ask the kernel, one for `_accept`, one for `run_connection`
                    await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """As `drain`, and wait until the app's lifespans have been left too. Inside of one, call `drain`."""
        await self.drain()
        await self._left.wait()

    async def wait_closed(self) -> None:
        """Wait until the server has stopped, for whatever reason, and the app's lifespans have been left.

        Raises:
          ConfigurationError: it is another thread than the server's.
        """
        self._check_thread("wait_closed", "run")
        await self._left.wait()

    @trio.lowlevel.enable_ki_protection
    async def serve(  # noqa: ASYNC128 - `_accept_all` calls started()
        self, listeners: Sequence[Listener], *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled, drained, or stopped by what a policy escalates. Closes the listeners.

        Raises:
          BaseExceptionGroup: what was escalated, flat.
        """
        try:
            with label_of_server() as self._label:
                self._state.reporter.server = self._label
                try:
                    await self._serve(listeners, task_status)
                finally:
                    self._finished.set()
                    self._state.reporter.flush_suppressed()
                    server_log.info("%s", self._labelled(f"stopped {self._urls}"))
        finally:
            if self._state.escalated:  # even while `serve` is cancelled, because it may be lost otherwise
                raise BaseExceptionGroup("escalated by the error policy", self._state.escalated)

    async def _serve(  # noqa: ASYNC128 - `_accept_all` calls started()
        self, listeners: Sequence[Listener], task_status: trio.TaskStatus[Server]
    ) -> None:
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.start_soon(self._host)
            try:
                await self._accept_all(listeners, task_status)
                if not self._state.escalation.is_set():
                    await self._drain()
            finally:
                self._stop.set()

    @property
    def _urls(self) -> str:
        return ", ".join(address.url for address in self.addresses)

    def _labelled(self, line: str) -> str:
        """The line with this server's label in front, which the first of a process does not have."""
        return labelled(self._label, line)

    @trio.lowlevel.enable_ki_protection
    async def _host(self) -> None:
        """Run the connections in a shielded scope until `_stop` is set; then end them all and wait for them."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery(strict_exception_groups=True) as around:
                around.start_soon(self._state.deadlines.run)
                around.start_soon(self._state.reporter.run)
                if self._state.poller is not None:
                    await around.start(self._state.poller.run)
                async with self._state.background.running(self._label, close_timeout=self._state.limits.close_timeout):
                    for service in self._state.services:
                        self._state.background.start_soon(service.run, name=service.name)
                    await self._hold_connections()
                around.cancel_scope.cancel()

    async def _hold_connections(self) -> None:
        async with trio.open_nursery(strict_exception_groups=True) as self._nursery:
            self._hosting.set()
            await self._stop.wait()
            self._state.connections.stop()

    async def _drain(self) -> None:
        limits = self._state.limits
        window = limits.drain_timeout - limits.close_timeout
        server_log.info("%s", self._labelled(f"draining {len(self._state.connections)} connections of {self._urls}"))
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + window
            nursery.start_soon(self._drain_connections, window / 2)
            await self._state.connections.wait_empty()
            nursery.cancel_scope.cancel()

    async def _drain_connections(self, seconds: float) -> None:
        """End at once the connections whose handler has not begun; tell the other handlers in turns."""
        connections = self._state.connections
        for connection in [connection for connection in connections if not connection.is_handled]:
            connection.drain()
        handled = list(connections)
        size = max(AT_ONCE, math.ceil(len(handled) / TURNS))
        for start in range(0, len(handled), size):
            if start:
                await trio.sleep(seconds * size / len(handled))
            for connection in handled[start : start + size]:
                connection.drain()

    async def _accept_all(self, listeners: Sequence[Listener], task_status: trio.TaskStatus[Server]) -> None:
        """Accept from all listeners until told to drain or to stop."""
        self.addresses = tuple(address_of(listener) for listener in listeners)
        checks = host_checks(self.addresses, self._state.hosts)
        try:
            await self._hosting.wait()
            with self._accepting:
                async with trio.open_nursery(strict_exception_groups=True) as nursery:
                    for listener, hosts in zip(listeners, checks, strict=True):
                        nursery.start_soon(self._accept, listener, hosts)
                    server_log.info("%s", self._labelled(f"listening on {self._urls}"))
                    task_status.started(self)
                    await self._state.escalation.wait()
                    nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self._state.limits.close_timeout):
                for listener in listeners:  # an application's own may take long to close
                    await listener.aclose()

    @trio.lowlevel.enable_ki_protection
    async def _accept(self, listener: Listener, hosts: HostCheck) -> None:
        exhausted = False
        while True:
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:
                return
            except TlsError as failure:
                self._state.reporter.log_not_wrapped(failure)
                continue
            except OSError as error:
                if error.errno not in _EXHAUSTED | _PASSING:
                    raise
                passing = error
            else:
                exhausted = False
                self._accepted += 1
                await self._state.capacity.settle()
                self._begin_connection(stream, hosts)
                continue
            if passing.errno in _EXHAUSTED:
                if not exhausted:  # once, not ten times a second
                    line = f"accept: {passing.strerror}; trying again every {BACK_OFF} s"
                    self._state.reporter.log_exhausted(line)
                exhausted = True
                await trio.sleep(BACK_OFF)

    def _begin_connection(self, stream: trio.abc.Stream, hosts: HostCheck) -> None:
        """Count one connection, and let it run in a task of its own."""
        address = peer_of(stream)
        place = self._state.capacity.admit(address)
        if place is None:
            self._state.reporter.log_dropped()
            self._nursery.start_soon(abandon, stream)
            return
        accepted = AcceptedConnection(
            id=f"{self._label}-c{next(_numbers)}" if self._label else f"c{next(_numbers)}",
            stream=stream,
            address=address,
            secure=isinstance(stream, trio.SSLStream),
            place=place,
            hosts=hosts,
        )
        # With a name, because Trio makes a new text for each task that has none.
        self._nursery.start_soon(run_connection, self._state, accepted, name="connection")
