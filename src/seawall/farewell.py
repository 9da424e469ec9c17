"""The last word to a peer: an HTTP answer before the upgrade, a Close frame after it. The caller bounds the time."""

from __future__ import annotations

import trio

from seawall.outcome import Cause, End
from seawall.pages import Answer
from seawall.wire.authority import Authority
from seawall.wire.closing import LINGER, linger
from seawall.wire.lane import Lane


async def give_answer(stream: trio.abc.Stream, lane: Lane | None, answer: Answer | None) -> None:
    """Send the answer, if there is one, so that it is read; `lane` has been aborted.

    Raises:
      trio.BrokenResourceError, trio.ClosedResourceError: the peer has gone.
    """
    if lane is not None:
        await lane.wait_released()
    if answer is not None:
        await stream.send_all(answer.data)
    await linger(stream)


async def say_goodbye(lane: Lane, authority: Authority, end: End | None, patience: trio.CancelScope) -> None:
    """Send our Close unless the peer was first, wait for the peer's and for all that was sent, and half-close.

    Args:
      lane: is open.
      authority: of the lane.
      end: what the peer is told; nothing if it is None.
      patience: bounds this; its deadline comes nearer once everything has been said.

    Raises:
      trio.BrokenResourceError, trio.ClosedResourceError: the peer has gone.
    """
    if end is None or lane.out.broken:
        return
    if not end.is_peers:
        await authority.hang_up(end.code, end.reason)
    await lane.wait_left()
    if end.cause is not Cause.PEER_VANISHED:  # then there is nobody to tell
        await lane.flush()
    elif lane.out.pending:
        return  # nor anybody who takes what was said before
    patience.deadline = min(patience.deadline, trio.current_time() + LINGER)
    await lane.linger()
