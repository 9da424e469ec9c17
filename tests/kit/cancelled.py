"""A real `trio.Cancelled`, for the tests of what becomes of one that was kept."""

from __future__ import annotations

import trio


async def cancelled() -> trio.Cancelled:
    """What somebody was cancelled with, kept from a scope that is over."""
    kept = list[trio.Cancelled]()
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            kept.append(error)
            raise
    return kept[0]
