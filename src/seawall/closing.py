"""The last word to a peer: an HTTP answer before the upgrade, a Close frame after it. The caller bounds the time."""

from __future__ import annotations

import trio

from seawall.outcome import Cause, End
from seawall.pages import Answer
from seawall.wire.channel import MessageChannel
from seawall.wire.control_stream import ControlStream
from seawall.wire.lingering import LINGER, linger
from seawall.wire.trio_websocket import TrioWebSocketAdapter


async def send_response(stream: trio.abc.Stream, control: ControlStream | None, answer: Answer | None) -> None:
    """Send the answer, if there is one, so that it is read; the channel of `control` has been aborted.

    Raises:
      trio.BrokenResourceError, trio.ClosedResourceError: the peer has gone.
    """
    if control is not None:
        await control.wait_released()
    if answer is not None:
        await stream.send_all(answer.data)
    await linger(stream)


async def close_websocket(
    channel: MessageChannel, authority: TrioWebSocketAdapter, end: End | None, patience: trio.CancelScope
) -> None:
    """Send our Close unless the peer was first, wait for the peer's and for all that was sent, and half-close.

    Args:
      channel: is open.
      authority: of the channel.
      end: what the peer is told; nothing if it is None.
      patience: bounds this; its deadline comes nearer once everything has been said.

    Raises:
      trio.BrokenResourceError, trio.ClosedResourceError: the peer has gone.
    """
    if end is None or channel.send_buffer.broken:
        return
    if not end.is_peers:
        await authority.hang_up(end.code, end.reason)
    await authority.stream.wait_left()
    if end.cause is not Cause.PEER_VANISHED:  # then there is nobody to tell
        await channel.send_buffer.wait_empty()
    elif channel.send_buffer.pending:
        return  # nor anybody who takes what was said before
    patience.deadline = min(patience.deadline, trio.current_time() + LINGER)
    await channel.linger()
