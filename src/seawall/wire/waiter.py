"""`Waiter`: something that one task waits for, again and again; `Wakes`: what may be told instead."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import Final, Protocol, TypeVar, final

import trio
from outcome import Outcome

R = TypeVar("R")


@final
class _Woken(Outcome[None]):
    """What a task that is woken gets from Trio: nothing. `outcome.Value`, which can be used once, takes six calls."""

    __slots__ = ()

    def unwrap(self) -> None:
        """Return."""

    def send(self, gen: Generator[R, None, object]) -> R:
        """Let `gen` go on."""
        return gen.send(None)

    async def asend(self, agen: AsyncGenerator[R, None]) -> R:
        """Let `agen` go on."""
        return await agen.asend(None)


_WOKEN: Final = _Woken()

# Globals, because each message looks these up.
_current_task: Final = trio.lowlevel.current_task
_reschedule: Final = trio.lowlevel.reschedule
_wait_task_rescheduled: Final = trio.lowlevel.wait_task_rescheduled


class Wakes(Protocol):
    """What is told that something has happened: a `Waiter`, or what does more than wake a task."""

    def wake(self) -> None:
        """It has happened. Must not raise."""
        ...


@final
class Waiter:
    """Wakes the one task that waits: like a `trio.Event` that can be used again, at a third of the cost.

    A `wake` is lost while no task waits. So check the condition before `wait`, and again after it.
    """

    __slots__ = ("_task",)

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._task: trio.lowlevel.Task | None = None

    def wait(self) -> Awaitable[object]:
        """Wait for the next `wake`; await the result at once. Only one task may wait."""
        self._task = _current_task()
        return _wait_task_rescheduled(self)  # noqa: ASYNC105 - the caller awaits it at once

    def wake(self) -> None:
        """Wake the task that waits, if there is one."""
        task = self._task
        if task is not None:
            self._task = None
            _reschedule(task, _WOKEN)

    def __call__(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        """The task that waits is cancelled. Trio calls this; a bound method would take memory while the task waits."""
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
