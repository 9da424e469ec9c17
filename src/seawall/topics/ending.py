"""`leave_block`: the end of an ``async with`` whose body somebody else may have ended."""

from __future__ import annotations

from types import TracebackType

import trio


def leave_block(
    scope: trio.CancelScope | None,
    failure: Exception | None,
    raised: BaseException | None,
    traceback: TracebackType | None,
) -> bool:
    """Leave the body of a block, which has `raised` something, or nothing.

    Args:
      scope: round the body; cancelled by who has ended it.
      failure: why it was ended, if it was.
      raised: what the body has raised.
      traceback: of that.

    Returns:
      Whether what was raised is done with.

    Raises:
      Exception: `failure`, unless the body has raised something that is not the cancellation.
    """
    is_caught = scope is not None and scope.__exit__(type(raised) if raised is not None else None, raised, traceback)
    if failure is not None and (raised is None or is_caught):
        raise failure from failure.__cause__
    return is_caught
