"""How a connection ends that its peer has ended, and how long its guards and its handler may go on."""

from __future__ import annotations

import math

import trio

from seawall.connection.lifecycle import Lifecycle
from seawall.policy.ending import Cause, End
from seawall.wire.channel import MessageChannel
from seawall.wire.events import PeerClosed, PeerFinished, PeerVanished


def on_peer_end(
    lifecycle: Lifecycle, channel: MessageChannel, event: PeerClosed | PeerVanished | PeerFinished, *, is_handled: bool
) -> None:
    """End the connection as `event` means, or have it end soon."""
    if not isinstance(event, PeerFinished):
        end_by_peer(lifecycle, channel, event, is_handled=is_handled)
    elif is_handled:
        await_end(lifecycle, channel)
    else:
        channel.lose()


def end_by_peer(
    lifecycle: Lifecycle, channel: MessageChannel, event: PeerClosed | PeerVanished, *, is_handled: bool
) -> None:
    """Record the end that `event` means, and give guards and handler time for what the peer has sent before it.

    A handler that receives has ``drain_timeout`` while messages wait, and everybody else ``wind_down``, as it has after
    the last of them. After a reset nobody gets more than ``wind_down``, because a reset means that nobody waits for
    what was sent; and a guard gets nothing, unless it may let in somebody who has said something.
    """
    is_reset = isinstance(event, PeerVanished) and event.reset
    if isinstance(event, PeerClosed):
        end = End(Cause.PEER_CLOSED, event.code, event.reason)
    else:
        end = End(Cause.PEER_VANISHED, 1006)
    limits, is_unread = lifecycle.timeouts.limits, len(channel.queue) > 0
    if is_handled and not is_reset and is_unread and receives(channel):
        left = channel.inbound.finished_at - trio.current_time() + limits.drain_timeout
        lifecycle.end(end, grace=max(limits.wind_down, min(limits.drain_timeout, left)))
    elif is_handled or end.cause is Cause.PEER_CLOSED or (is_unread and not is_reset):
        lifecycle.end(end, grace=limits.wind_down, at_most=limits.wind_down if is_reset else limits.drain_timeout)
    else:
        lifecycle.end(end)


def await_end(lifecycle: Lifecycle, channel: MessageChannel) -> None:
    """Give the handler time to come to the end of what a peer has sent that sends no more. Does nothing for others.

    Reading is paused, because the handler is behind. It has ``drain_timeout`` in all if it receives by then, else
    ``wind_down``; if the end has not been read after that, the connection ends as if it had been reset. To be called
    when the peer has finished, and again when the stage that this limits is over.
    """
    limits, finished_at = lifecycle.timeouts.limits, channel.inbound.finished_at
    if lifecycle.ended is not None or finished_at == math.inf:
        return
    end_at = finished_at + (limits.drain_timeout if receives(channel) else limits.wind_down)
    if (left := end_at - trio.current_time()) > 0:
        lifecycle.limit_stage(left)
    else:
        channel.lose()


def begin_handling(channel: MessageChannel) -> None:
    """Note that the handler begins: what was received before, guards have."""
    if channel.inbound.messages:
        channel.inbound.messages_of_guards = channel.inbound.messages - channel.queue.unreceived


def receives(channel: MessageChannel) -> bool:
    """Whether the handler has received messages, and has not called `discard_input`."""
    received = channel.inbound.messages - channel.queue.unreceived
    return received > channel.inbound.messages_of_guards and not channel.queue.discards
