"""The resources that the guards of one connection have entered, and `in_own_task` for code of the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar, cast, final

import trio
from attrs import frozen

from seawall.errors import Unauthorized
from seawall.exception_groups import replace_stray_cancelled, subtract, wrap_unprintable
from seawall.policy.verdicts import Phase

T = TypeVar("T")


async def in_own_task(
    user_code: Callable[[], Awaitable[T]], *, name: str, beside: Callable[[], Awaitable[None]] | None = None
) -> T:
    """Run code of the application in a task in which no cancel scope or nursery of ours is open.

    Code that leaves a nursery open breaks Trio's stack of scopes for its whole task; an async generator that is not run
    to its end is enough. A scope of ours in that task would break as well, and so there must be none.

    Args:
      user_code: is called and awaited; what it raises is raised here in an exception group.
      name: the task's, for the log.
      beside: runs in another task of the same nursery meanwhile, and is cancelled at the end. It is ours.

    Cancelling this call cancels the code.
    """
    results: list[T] = []

    async def run() -> None:
        try:
            results.append(await user_code())
        except BaseException as raised:
            wrap_unprintable(raised)
            raise
        if beside is not None:
            nursery.cancel_scope.cancel()

    async with trio.open_nursery(strict_exception_groups=True) as nursery:  # noqa: ASYNC112 - the task is the point
        nursery.start_soon(run, name=name)
        if beside is not None:
            nursery.start_soon(beside)
    return results[0]


def task_names(nursery: trio.Nursery, *, depth: int = 3) -> str:
    """The names of the tasks in `nursery`, each followed by its child tasks in brackets, down to `depth` levels."""
    names: list[str] = []
    for task in nursery.child_tasks:
        below = ", ".join(task_names(inner, depth=depth - 1) if depth else "…" for inner in task.child_nurseries)
        names.append(f"{task.name} [{below}]" if below else task.name)
    return ", ".join(sorted(names))


def maker_of(context_manager: AbstractAsyncContextManager[object]) -> object:
    """The function under ``@asynccontextmanager`` that has made it, or its class."""
    return getattr(context_manager, "func", type(context_manager))


@final
class HeldResource:
    """One resource, held open in a task of its own, because it may open a nursery; see `in_own_task`."""

    def __init__(
        self, settle: Callable[[BaseException, Phase], None], context_manager: AbstractAsyncContextManager[object]
    ) -> None:
        """Prepare. `settle` handles what the resource raises after it has been entered."""
        self._settle = settle
        self._leave = trio.Event()
        self._failure: Exception | None = None
        self._scope = trio.CancelScope()
        self._left = trio.Event()
        self._made_by = maker_of(context_manager)
        self._value: object = None
        self.name = str(getattr(self._made_by, "__qualname__", type(context_manager).__qualname__))
        """The name of the function or class behind the resource, for the log."""

    def again(self, context_manager: AbstractAsyncContextManager[T]) -> T:
        """What was entered, for who asks again with a `context_manager` of the same function, which is not entered.

        Raises:
          Unauthorized: it is another function's.
        """
        made_by = maker_of(context_manager)
        if getattr(made_by, "__code__", made_by) is not getattr(self._made_by, "__code__", self._made_by):
            raise Unauthorized(f"the new token leads to another resource than the first one, which entered {self.name}")
        return cast("T", self._value)  # what the same function yields has the same type

    async def hold(
        self,
        context_manager: AbstractAsyncContextManager[T],
        *,
        task_status: trio.TaskStatus[T],
    ) -> None:
        """Enter the resource, wait for `leave`, and leave it. What entering raises is raised in the guard's task."""
        entered = False
        try:
            with self._scope:
                async with context_manager as value:
                    entered, self._value = True, value
                    task_status.started(value)
                    await self._leave.wait()
                    if self._failure is not None:
                        raise self._failure
        except BaseException as raised:  # noqa: ASYNC103 - raised again by `settle`, but for what the policy decides
            if not entered:
                wrap_unprintable(raised)
                raise
            # The failure raised in the block, which has been reported, comes out of it again, perhaps in a group.
            fresh = subtract(replace_stray_cancelled(raised), self._failure)
            if fresh is not None:
                self._settle(fresh, Phase.RELEASE if self._leave.is_set() else Phase.BACKGROUND)
        else:
            if not self._leave.is_set():
                self._settle(RuntimeError(f"{self.name} was left before its connection was over"), Phase.BACKGROUND)
        finally:
            self._left.set()

    async def leave(self, failure: Exception | None, limits: ReleaseLimits) -> None:
        """Leave the resource, with `failure` raised in its block; cancel it if that takes longer than `limits`."""
        self._failure = failure
        self._leave.set()
        for seconds, on_late in ((limits.seconds, limits.on_late), (limits.cleanup, limits.on_stuck)):
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
    """How long leaving a resource may take, and what is called when it takes longer."""

    seconds: float
    """Seconds until it is cancelled."""
    on_late: Callable[[str], None]
    """Called with the resource's name when it is cancelled."""
    cleanup: float
    """Seconds that it has after that, for its cleanup."""
    on_stuck: Callable[[str], None]
    """Called with the resource's name when these have passed too. The resource is waited for all the same."""


class Settles(Protocol):
    """Handles what a resource raises after it has been entered: the `Settlement` of its connection."""

    def settle(self, raised: BaseException, phase: Phase, /) -> None:
        """Handle `raised`, which was raised in `phase`; raise again what belongs to a cancel scope."""
        ...


@final
class ResourceStack:
    """What the guards of one connection have entered, in order."""

    __slots__ = ("_held", "_nursery", "_settlement")

    def __init__(self, nursery: trio.Nursery, settlement: Settles) -> None:
        """Hold them in `nursery`."""
        self._nursery = nursery
        self._settlement = settlement
        self._held: tuple[HeldResource, ...] = ()

    @property
    def held(self) -> tuple[HeldResource, ...]:
        """What is held, in the order in which it was entered."""
        return self._held

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held, as in most connections."""
        return not self._held

    async def enter(self, context_manager: AbstractAsyncContextManager[T]) -> T:
        """Enter one more; see `Gate.enter`."""
        held = HeldResource(self._settlement.settle, context_manager)
        value: T = await self._nursery.start(held.hold, context_manager, name=held.name)
        self._held += (held,)
        return value

    async def leave(self, failure: Exception | None, limits: ReleaseLimits) -> None:
        """Leave them all, the last one first; `limits` count for each by itself."""
        while self._held:
            *rest, held = self._held
            self._held = tuple(rest)
            await held.leave(failure, limits)

    def close(self) -> None:
        """Drop the references to the connection: reference cycles would be left to the garbage collector."""
        del self._settlement, self._nursery
