"""`leave_block`: the end of an ``async with`` whose body somebody else may have ended."""

from __future__ import annotations

import copy
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


def copied(failure: Exception) -> Exception:
    """The same for one more block: what is raised in many tasks would have a traceback through all of them.

    `failure` itself is returned if it is of a class that cannot be copied.
    """
    try:
        made = copy.copy(failure)
    except Exception:  # noqa: BLE001 - its class is code of the application
        return failure
    if type(made) is not type(failure):
        return failure
    made.__cause__, made.__suppress_context__ = failure.__cause__, failure.__suppress_context__
    return made.with_traceback(failure.__traceback__)
