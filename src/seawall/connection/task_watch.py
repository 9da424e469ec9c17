"""`TaskWatch`: notices at once that a task in ``conn.nursery``, which is a `HandlerNursery`, has failed.

A nursery raises only when all of its tasks have ended, and one of them may be in a cleanup that is shielded. Until then
Trio tells nobody that the first has failed, other than by cancelling the others.
"""

from __future__ import annotations

from itertools import chain
from typing import cast, final

import trio
from attrs import define

from seawall.connection.lifecycle import Lifecycle
from seawall.exception_groups import flatten


@final
class TaskWatch(trio.abc.Instrument):
    """Watches the nurseries of one server's handlers, for as long as there are any that have been used."""

    def __init__(self) -> None:
        """Begin with none."""
        self._watched: dict[trio.Nursery, Lifecycle] = {}

    def __len__(self) -> int:
        """How many nurseries are watched."""
        return len(self._watched)

    def add(self, nursery: trio.Nursery, lifecycle: Lifecycle) -> None:
        """Call `Lifecycle.on_task_failed` when a task in `nursery` has failed, unless `discard` is called before."""
        if lifecycle.ended is not None:
            return
        if not self._watched:
            trio.lowlevel.add_instrument(self)
        self._watched[nursery] = lifecycle

    def discard(self, nursery: trio.Nursery) -> None:
        """Watch `nursery` no longer. May be called more than once, and for one that is not watched."""
        if self._watched and self._watched.pop(nursery, None) is not None and not self._watched:
            trio.lowlevel.remove_instrument(self)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """Trio calls this when a task, of whatever nursery, has ended."""
        nursery = task.parent_nursery
        if nursery is None or nursery not in self._watched or not nursery.cancel_scope.cancel_called:
            return
        lifecycle = self._watched[nursery]
        self.discard(nursery)
        lifecycle.on_task_failed()


@final
@define(eq=False)
class HandlerNursery:
    """The nursery of one connection's handler, watched once the handler has asked for it."""

    _nursery: trio.Nursery
    _watch: TaskWatch

    def watched(self, lifecycle: Lifecycle) -> trio.Nursery:
        """The nursery; `lifecycle` is told when a task in it has failed."""
        self._watch.add(self._nursery, lifecycle)
        return self._nursery


def known_failures(nursery: trio.Nursery) -> tuple[BaseException, ...]:
    """The leaves of what the tasks in `nursery` that have ended have raised, without cancellations.

    Trio has no public name for it. Empty if the installed Trio keeps it elsewhere: a failure is then told when all
    tasks have ended.
    """
    pending: object = getattr(nursery, "_pending_excs", ())
    raised = cast("list[object]", pending) if isinstance(pending, list) else []
    leaves = chain.from_iterable(flatten(one) for one in raised if isinstance(one, BaseException))
    return tuple(leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled))
