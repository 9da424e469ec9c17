"""`Waiter`: what one task waits for, again and again."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import final

import trio


def nothing(*_: object) -> None:
    """Do nothing: what a callback is before it is given and after it was taken away."""


@final
class Waiter:
    """Wakes the one task that waits; like a `trio.Event` that need not be made anew, at a third of its cost.

    A `wake` that nobody waits for is lost: look whether there is something to wait for first, and again afterwards.
    """

    __slots__ = ("_task",)

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._task: trio.lowlevel.Task | None = None

    def wait(self) -> Awaitable[object]:
        """Wait for the next `wake`; to be awaited at once. Only one task may."""
        self._task = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - the caller awaits it at once

    def wake(self) -> None:
        """Wake the task that waits, if there is one."""
        task = self._task
        if task is not None:
            self._task = None
            trio.lowlevel.reschedule(task)

    def _abort(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
