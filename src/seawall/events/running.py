"""`RunningEvents`: the events of one connection that have tasks of their own, and how many more may."""

from __future__ import annotations

from typing import Final, Generic, TypeVar, final

import trio
from attrs import define, field

from seawall.events.event import AnyEvent
from seawall.messages.decoder import Ref

P = TypeVar("P")

#: Streams of one connection at a time; the next one waits, and what came after it.
MAX_STREAMS: Final = 16


@final
@define(eq=False)
class RunningEvents(Generic[P]):
    """The events that have tasks, or are about to, each with its scope."""

    concurrent: int
    """How many may run at a time; streams are not counted."""
    handlers: int = field(init=False, default=0)
    """How many are running that are no streams."""
    streams: int = field(init=False, default=0)
    """How many streams are running."""
    _by_ref: dict[Ref, trio.CancelScope] = field(init=False, factory=dict[Ref, trio.CancelScope])
    _tasks: dict[trio.CancelScope, AnyEvent[P]] = field(init=False, factory=dict[trio.CancelScope, AnyEvent[P]])

    def __len__(self) -> int:
        """How many tasks there are."""
        return len(self._tasks)

    def __contains__(self, ref: Ref) -> bool:
        """Whether the ref is in use."""
        return ref in self._by_ref

    @property
    def is_full(self) -> bool:
        """Whether the next event has to wait."""
        return self.handlers >= self.concurrent

    @property
    def is_full_of_streams(self) -> bool:
        """Whether the next stream has to."""
        return self.streams >= MAX_STREAMS

    def reserve(self, ref: Ref | None) -> trio.CancelScope:
        """The scope of an event that is about to run; its ref is in use from now on."""
        scope = trio.CancelScope()
        if ref is not None:
            self._by_ref[ref] = scope
        return scope

    def begin(self, scope: trio.CancelScope, event: AnyEvent[P]) -> None:
        """Count an event that has a task now."""
        self._tasks[scope] = event
        self._count(event, 1)

    def end(self, scope: trio.CancelScope, ref: Ref | None) -> None:
        """Forget it."""
        event = self._tasks.pop(scope, None)
        if event is not None:
            self._count(event, -1)
        if ref is not None:
            del self._by_ref[ref]

    def _count(self, event: AnyEvent[P], more: int) -> None:
        if event.is_stream:
            self.streams += more
        else:
            self.handlers += more

    def cancel(self, ref: Ref) -> bool:
        """Cancel the event that has asked with a ref; False if there is none."""
        scope = self._by_ref.get(ref)
        if scope is not None:
            scope.cancel()
        return scope is not None

    def cancel_all(self, *, only_streams: bool) -> None:
        """Cancel the streams, or all."""
        for scope, event in self._tasks.items():
            if event.is_stream or not only_streams:
                scope.cancel()
