"""The resources that the guards of one connection have entered, and code of the application in tasks of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar, final

import trio
from attrs import frozen

from seawall.exception_groups import replace_stray_cancelled, subtract, wrap_unprintable
from seawall.policy.verdicts import Phase

T = TypeVar("T")


async def in_own_task(user_code: Callable[[], Awaitable[T]], *, name: str) -> T:
    """Run code of the application in a task that has no scope of ours in it.

    Who leaves a nursery open (an async generator that is not run to its end is enough) breaks the whole task, and with
    it whatever else that task holds, which must therefore be nothing. What the code raises comes out in a group;
    cancelling this cancels the code. `name` is the task's, for the log.
    """
    results: list[T] = []

    async def run() -> None:
        try:
            results.append(await user_code())
        except BaseException as raised:
            wrap_unprintable(raised)
            raise

    async with trio.open_nursery(strict_exception_groups=True) as nursery:  # noqa: ASYNC112 - the task is the point
        nursery.start_soon(run, name=name)
    return results[0]


def task_names(nursery: trio.Nursery, *, depth: int = 3) -> str:
    """The names of the tasks in `nursery`, each with those below it in brackets, so many levels of them."""
    names: list[str] = []
    for task in nursery.child_tasks:
        below = ", ".join(task_names(inner, depth=depth - 1) if depth else "…" for inner in task.child_nurseries)
        names.append(f"{task.name} [{below}]" if below else task.name)
    return ", ".join(sorted(names))


@final
class HeldResource:
    """One resource, in a task of its own: what holds a nursery may not be entered under somebody else's scope."""

    def __init__(
        self, settle: Callable[[BaseException, Phase], None], context_manager: AbstractAsyncContextManager[object]
    ) -> None:
        """Prepare; `settle` decides about what the resource raises once it has been entered."""
        self._settle = settle
        self._leave = trio.Event()
        self._failure: Exception | None = None
        self._scope = trio.CancelScope()
        self._left = trio.Event()
        made_by = getattr(context_manager, "func", type(context_manager))  # the function under @asynccontextmanager
        self.name = str(getattr(made_by, "__qualname__", type(context_manager).__qualname__))
        """What it is, for the log."""

    async def hold(
        self,
        context_manager: AbstractAsyncContextManager[T],
        *,
        task_status: trio.TaskStatus[T],
    ) -> None:
        """Enter, wait to be told to leave, and leave. What is raised before it is entered goes to the guard."""
        entered = False
        try:
            with self._scope:
                async with context_manager as value:
                    entered = True
                    task_status.started(value)
                    await self._leave.wait()
                    if self._failure is not None:
                        raise self._failure
        except BaseException as raised:  # noqa: ASYNC103 - raised again by `settle`, but for what the policy decides
            if not entered:
                wrap_unprintable(raised)
                raise
            fresh = subtract(
                replace_stray_cancelled(raised), self._failure
            )  # what was passed on comes back, perhaps in a group
            if fresh is not None:
                self._settle(fresh, Phase.RELEASE if self._leave.is_set() else Phase.BACKGROUND)
        else:
            if not self._leave.is_set():
                self._settle(RuntimeError(f"{self.name} was left before its connection was over"), Phase.BACKGROUND)
        finally:
            self._left.set()

    async def leave(self, failure: Exception | None, patience: ReleaseLimits) -> None:
        """Leave the resource, passing on what ended the handler; cancel it, and say so, if that takes too long."""
        self._failure = failure
        self._leave.set()
        for seconds, on_late in ((patience.seconds, patience.on_late), (patience.cleanup, patience.on_stuck)):
            with trio.move_on_after(seconds):
                await self._left.wait()
            if self._left.is_set():
                return
            on_late(self.name)
            self._scope.cancel()
        await self._left.wait()


@final
@frozen(kw_only=True)
class ReleaseLimits:
    """How long a resource may take to be left, and who hears of it if it takes longer."""

    seconds: float
    """After so many it is cancelled."""
    on_late: Callable[[str], None]
    """Called with its name then."""
    cleanup: float
    """What it gets for its cleanup."""
    on_stuck: Callable[[str], None]
    """Called with its name if it has not ended by then; it is still waited for."""


@final
class ResourceStack:
    """What the guards of one connection have entered, in order."""

    __slots__ = ("_held", "_nursery", "_settle")

    def __init__(self, nursery: trio.Nursery, settle: Callable[[BaseException, Phase], None]) -> None:
        """Hold them in `nursery`."""
        self._nursery = nursery
        self._settle = settle
        self._held: tuple[HeldResource, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held, as in most connections."""
        return not self._held

    async def enter(self, context_manager: AbstractAsyncContextManager[T]) -> T:
        """Enter one more; see `Gate.enter`."""
        held = HeldResource(self._settle, context_manager)
        value: T = await self._nursery.start(held.hold, context_manager, name=held.name)
        self._held += (held,)
        return value

    async def leave(self, failure: Exception | None, patience: ReleaseLimits) -> None:
        """Leave them all, the last one first, with `patience` for each."""
        while self._held:
            *rest, held = self._held
            self._held = tuple(rest)
            await held.leave(failure, patience)

    def close(self) -> None:
        """Enter nothing any more, and let go of the connection: circles would be left to the garbage collector."""
        del self._settle, self._nursery
