"""Telling a peer that its connection is over: an HTTP response before the upgrade, a Close frame after it."""

from __future__ import annotations

import enum
from typing import final

import trio
from attrs import define, field

from seawall.connection.lifecycle import Lifecycle
from seawall.http.response import Response
from seawall.policy.ending import Cause, End
from seawall.policy.verdicts import Phase
from seawall.serving.failures import Failures
from seawall.serving.state import AcceptedConnection
from seawall.wire.channel import MessageChannel
from seawall.wire.transport.lingering import LINGER, abandon, linger
from seawall.wire.trio_websocket import TrioWebSocketAdapter


async def turn_away(accepted: AcceptedConnection) -> None:
    """Close the socket of a connection that has not begun, without a word."""
    accepted.place.leave()
    await abandon(accepted.stream)


async def send_response(
    stream: trio.abc.Stream, adapter: TrioWebSocketAdapter | None, response: Response | None
) -> None:
    """Send the response, if there is one, so that it is read. The caller bounds the time, and has aborted the channel.

    Raises:
      trio.BrokenResourceError, trio.ClosedResourceError: the peer has gone.
    """
    if adapter is not None:
        await adapter.stream.wait_released()
    if response is not None:
        await stream.send_all(response.data)
    await linger(stream)


async def close_websocket(channel: MessageChannel, adapter: TrioWebSocketAdapter, lifecycle: Lifecycle) -> None:
    """Send our Close unless the peer was first, wait for the peer's and for all that was sent, and half-close.

    Args:
      channel: is open.
      adapter: of the channel.
      lifecycle: says what the peer is told, and bounds this: whoever waits here is woken by `MessageChannel.abort`.

    Raises:
      trio.BrokenResourceError, trio.ClosedResourceError: the peer has gone.
    """
    end = lifecycle.ended
    if end is None or channel.send_buffer.broken:
        return
    close_timeout = lifecycle.timeouts.limits.close_timeout
    if (
        not end.is_peers or adapter.stream.reader_running or channel.send_buffer.pending
    ):  # else there is nothing to wait for
        lifecycle.limit_closing(close_timeout)
        if not end.is_peers:
            await adapter.hang_up(end.code, end.reason)
        await adapter.stream.wait_reader_exited()
        if end.cause is not Cause.PEER_VANISHED:  # then there is nobody to tell
            await channel.send_buffer.wait_empty()
        elif channel.send_buffer.pending:
            return  # nor anybody who takes what was said before
    lifecycle.limit_closing(min(LINGER, close_timeout))
    await channel.linger()


@final
class Closer(enum.Enum):
    """Who tells the peer and closes the socket."""

    RUNNER = "runner"
    """The connection's own task, after guards and handler have ended."""
    TASK = "task"
    """A task of its own, while they still run."""
    READER = "reader"
    """trio-websocket's reader, in the same case, because it is about to end."""


@final
@define(eq=False)
class Closing:
    """How one connection is closed, once its end has been recorded."""

    _accepted: AcceptedConnection
    _lifecycle: Lifecycle
    _failures: Failures
    _tasks: trio.Nursery
    """For the task that closes."""
    _nursery: trio.Nursery
    """Of guards, handler and what it has started: closing does not wait for them."""
    has_request: bool = field(init=False, default=False)
    """Whether its request has come, or will not be waited for."""
    response: Response | None = field(init=False, default=None)
    """What the client reads instead of an upgrade."""
    channel: MessageChannel | None = field(init=False, default=None)
    """What the connection has once its request is good."""
    _adapter: TrioWebSocketAdapter | None = field(init=False, default=None)
    by: Closer = field(init=False, default=Closer.RUNNER)

    def use(self, channel: MessageChannel, adapter: TrioWebSocketAdapter) -> None:
        """The connection has a channel from now on."""
        self.channel, self._adapter = channel, adapter

    @property
    def is_accepted(self) -> bool:
        """Whether the upgrade has been accepted: then the peer reads a close code, and before it an HTTP status."""
        return self.channel is not None and self.channel.accepted

    @property
    def is_reachable(self) -> bool:
        """Whether the peer can still be sent something over the connection that was accepted."""
        return self.channel is not None and self.channel.accepted and not self.channel.send_buffer.broken

    def on_recorded(self, end: End) -> None:
        """The end has just been recorded: from this moment only the peer's Close counts."""
        channel, adapter = self.channel, self._adapter
        if channel is None or adapter is None:
            return
        channel.begin_closing()
        if not end.is_peers:
            channel.drop_messages()
        channel.stop_receiving()
        if not channel.accepted:
            channel.abort()  # an upgrade that is just being accepted must not follow the response
        if self._nursery.child_tasks:
            self.by = Closer.READER if end.is_peers and adapter.stream.reader_running else Closer.TASK
            if self.by is Closer.TASK:
                self._tasks.start_soon(self.close)

    @trio.lowlevel.enable_ki_protection
    async def close(self) -> None:
        """Tell the peer why, and close the socket; all within ``close_timeout``."""
        try:
            if self.channel is not None and self._adapter is not None and self.channel.accepted:
                await close_websocket(self.channel, self._adapter, self._lifecycle)
            elif self.has_request or not self._accepted.secure:
                # Before the request there may be no TLS either, and a handshake just to say no is too much.
                await self._respond()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer has gone; there is nobody left to tell
        except Exception as fault:  # noqa: BLE001 - a fault of the layers below; the socket must be closed all the same
            self._failures.judge(fault, Phase.TRANSPORT, accepted=self.is_accepted)
        await self.let_go()

    async def let_go(self) -> None:
        """Close the socket without a word."""
        if self.channel is not None:
            self.channel.abort()
        await abandon(self._accepted.stream)
        self._lifecycle.on_closed()
        if self._nursery.child_tasks:
            self._lifecycle.watch_cleanup()

    def give_up(self) -> None:
        """The peer has taken too long: send nothing more, and wait for nothing."""
        if self.channel is not None:
            self.channel.abort()

    async def _respond(self) -> None:
        close_timeout = self._lifecycle.timeouts.limits.close_timeout
        with trio.move_on_after(close_timeout if self._accepted.place.refusal is None else LINGER):
            await send_response(self._accepted.stream, self._adapter, self.response)
