"""Telling a peer that its connection is over: an HTTP response before the upgrade, a Close frame after it."""

from __future__ import annotations

import enum
from typing import final

import trio
from attrs import define, field

from seawall.connection.lifecycle import Lifecycle
from seawall.http.response import SerializedResponse
from seawall.policy.ending import Cause, End
from seawall.policy.verdicts import Phase
from seawall.serving.eviction import Waiting
from seawall.serving.failures import FailureHandler
from seawall.serving.state import AcceptedConnection
from seawall.wire.channel import MessageChannel
from seawall.wire.traffic import MOST_OF_STRANGERS
from seawall.wire.transport.lingering import LINGER, abandon, linger
from seawall.wire.trio_websocket import TrioWebSocketAdapter


async def turn_away(accepted: AcceptedConnection) -> None:
    """Close the socket of a connection that has not begun, without a word."""
    accepted.place.leave()
    await abandon(accepted.stream)


async def close_websocket(channel: MessageChannel, adapter: TrioWebSocketAdapter, lifecycle: Lifecycle) -> None:
    """Send our Close unless the peer closed first, wait for the peer's Close and an empty send buffer, and half-close.

    Args:
      channel: is open.
      adapter: of the channel.
      lifecycle: has the end that the peer is told, and the deadline of closing. When that has passed,
        `MessageChannel.abort` is called, which wakes this task wherever it waits.

    Raises:
      trio.BrokenResourceError, trio.ClosedResourceError: the peer has gone.
    """
    end = lifecycle.ended
    if end is None or channel.send_buffer.broken:
        return
    close_timeout = lifecycle.timeouts.limits.close_timeout
    # Where the peer closed first and its Close has been answered, nothing is left to send or to read.
    if not end.by_peer or adapter.stream.reader_running or channel.send_buffer.pending:
        lifecycle.limit_closing(close_timeout)
        if not end.by_peer:
            await adapter.hang_up(end.code, end.reason)
        await adapter.stream.wait_reader_exited()
        if end.cause is not Cause.PEER_VANISHED:  # a peer that has gone reads no Close
            await channel.send_buffer.wait_empty()
        elif channel.send_buffer.pending:
            return  # what is still in the buffer will not be taken
    lifecycle.limit_closing(min(LINGER, close_timeout))
    await channel.linger()


@final
class Closer(enum.Enum):
    """Which task tells the peer and closes the socket."""

    RUNNER = "runner"
    """The connection's own task, because guards and handler have ended."""
    TASK = "task"
    """A task started for it, because guards or handler still run."""
    READER = "reader"
    """trio-websocket's reader, because guards or handler still run and the reader is about to end anyway."""


@final
@define(eq=False)
class Closing:
    """How one connection is closed, once its end has been recorded."""

    _incoming: AcceptedConnection
    _lifecycle: Lifecycle
    _failures: FailureHandler
    _outer_nursery: trio.Nursery
    """Runs the task that closes."""
    _inner_nursery: trio.Nursery
    """Runs guards, handler and what the handler has started. Closing does not wait for these."""
    has_request: bool = field(init=False, default=False)
    """Whether the request has been received, or the client is answered without one."""
    response: SerializedResponse | None = field(init=False, default=None)
    """The HTTP response that the client reads instead of an upgrade."""
    channel: MessageChannel | None = field(init=False, default=None)
    """Set by `attach`, once the request has named a route."""
    _adapter: TrioWebSocketAdapter | None = field(init=False, default=None)
    _responding: trio.CancelScope | None = field(init=False, default=None)
    _is_untaken: bool = field(init=False, default=False)
    """Whether the peer has not taken, in its time, what we had to say: there is no use in the kernel going on."""
    closed_by: Closer = field(init=False, default=Closer.RUNNER)

    def attach(self, channel: MessageChannel, adapter: TrioWebSocketAdapter) -> None:
        """Set the channel to close, and trio-websocket's end of it."""
        self.channel, self._adapter = channel, adapter

    @property
    def is_upgraded(self) -> bool:
        """Whether the upgrade has been accepted. The peer then reads a close code; until then, an HTTP status."""
        return self.channel is not None and self.channel.accepted

    @property
    def is_reachable(self) -> bool:
        """Whether the peer can still be sent something over the connection that was accepted."""
        return self.channel is not None and self.channel.accepted and not self.channel.send_buffer.broken

    def on_recorded(self, end: End) -> None:
        """Start closing, because the end has just been recorded. Of what comes now, only the peer's Close counts."""
        channel, adapter = self.channel, self._adapter
        if channel is not None:
            channel.begin_closing()
            if not end.by_peer:
                channel.queue.clear()
            channel.queue.end()
            if not channel.accepted:
                channel.abort()  # else a task that is accepting the upgrade could write its 101 after our response
        if self._inner_nursery.child_tasks:
            is_reading = adapter is not None and adapter.stream.reader_running
            self.closed_by = Closer.READER if end.by_peer and is_reading else Closer.TASK
            if self.closed_by is Closer.TASK:
                self._outer_nursery.start_soon(self.close)

    async def finish(self) -> None:
        """Close, unless another task does so already. Guards and handler have ended: only the peer is waited for."""
        if not self._lifecycle.is_closed:
            self._incoming.place.wait(Waiting.CLOSING)
        if self.closed_by is Closer.RUNNER:
            await self.close()

    @trio.lowlevel.enable_ki_protection
    async def close(self) -> None:
        """Tell the peer why, and close the socket.

        Takes ``close_timeout`` at most, or `LINGER` for a connection over capacity: it has to free its slot soon.
        """
        try:
            if self._incoming.place.is_dropped:
                pass
            elif self.channel is not None and self._adapter is not None and self.channel.accepted:
                await close_websocket(self.channel, self._adapter, self._lifecycle)
            elif self.has_request or not self._incoming.secure:
                # Before the request, TLS may not be established: a TLS handshake only to refuse costs too much.
                await self._respond()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer has gone
        except Exception as fault:  # noqa: BLE001 - a fault of the layers below; the socket must be closed all the same
            self._failures.handle(fault, Phase.TRANSPORT, accepted=self.is_upgraded)
        await self.close_socket()

    async def close_socket(self) -> None:
        """Close the socket without sending anything more."""
        self.abort_channel()
        await abandon(self._incoming.stream, reset=self._is_untaken)
        self._incoming.place.work()
        self._lifecycle.on_closed()
        if self._inner_nursery.child_tasks:
            self._lifecycle.watch_cleanup()

    def on_over(self) -> int:
        """Count what is queued no more, because nobody receives it any more; how many messages nobody has received."""
        if self.channel is None:
            return 0
        self.channel.queue.forget()
        return self.channel.queue.unreceived

    def abort_channel(self) -> None:
        """Send nothing more and wake the tasks that wait for the peer, because it has taken too long."""
        if self.channel is not None:
            self._is_untaken = self._is_untaken or bool(self.channel.send_buffer.pending)
            self.channel.abort()

    def cut_short(self) -> None:
        """Wait for the peer no longer, because its place has been given to another."""
        if self._responding is not None:
            self._responding.cancel()
        elif self.is_upgraded:
            self.abort_channel()

    async def _respond(self) -> None:
        """Send the response, half-close, and discard input for a moment so that the client can read it."""
        stream, adapter, response = self._incoming.stream, self._adapter, self.response
        close_timeout = self._lifecycle.timeouts.limits.close_timeout
        with trio.move_on_after(close_timeout if self._incoming.place.refusal is None else LINGER) as self._responding:
            if adapter is not None:
                await adapter.stream.wait_released()
            if response is not None:
                self._is_untaken = True
                await stream.send_all((response.without_body() if self._incoming.head_only else response).data)
                self._is_untaken = False
            await linger(stream, most=MOST_OF_STRANGERS)
