"""`Reading`: the events of a room as values, for code of the application that reads them itself."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Generic, Protocol, TypeVar, cast, final

import trio

from seawall.lag import Lag
from seawall.position import Since
from seawall.room_event import Gap, RoomEvent
from seawall.topics.cursor import Cursor, Item
from seawall.topics.ending import leave_block
from seawall.topics.keys import RoomKey
from seawall.topics.log import Log
from seawall.wire.waiter import Waiter

T = TypeVar("T")

#: Events that are read without letting the other tasks run, where they are there already: in one pass of the scheduler
#: many tasks may publish, and who does nothing but read is to keep up with them.
IN_ONE_GO: Final = 64


class Source(Protocol):
    """Where logs come from: a topic."""

    def cursor(self, key: RoomKey, lag: Lag[object], /) -> Cursor:
        """One that is to read a room."""
        ...

    async def open(self, key: RoomKey, /) -> Log:
        """The log of a room, kept until `release`; there is no checkpoint after it has been found."""
        ...

    def release(self, log: Log, /) -> None:
        """It is not needed any more."""
        ...


@final
class Status(enum.Enum):
    """What the reader does."""

    NEW = "new"
    """It has not begun."""
    BUSY = "busy"
    """It is busy with the last event."""
    BEHIND = "behind"
    """It still is, although there is another one."""
    READING = "reading"
    """It lets the other tasks run, and will read on: what comes meanwhile finds it neither busy nor behind."""
    WAITING = "waiting"
    """It waits for the next one."""
    WOKEN = "woken"
    """It has been told that there is one."""
    OVER = "over"
    """There is nothing more."""


@final
class Reading(AsyncIterator[RoomEvent[T] | Gap], Generic[T]):
    """Iterates over what is published in a room, while the ``async with`` lasts."""

    outlet = None
    renderer = None

    def __init__(self, source: Source, key: RoomKey, *, since: Since, lag: Lag[object]) -> None:
        """Say what is read, and from where."""
        self.cursor = source.cursor(key, lag)
        """How far it is."""
        self.slot = -1
        self._source = source
        self._key = key
        self._since: Since = since
        self._status = Status.NEW
        self._read_in_one_go = 0
        self._waiter = Waiter()
        self._scope: trio.CancelScope | None = None
        self._failure: Exception | None = None

    async def __aenter__(self) -> Reading[T]:
        """Begin to read."""
        if self._status is not Status.NEW:
            raise RuntimeError("a room is read once; call events() for another time")
        self._status = Status.OVER
        log = await self._source.open(self._key)
        try:
            self.cursor.place(log, self._since, trio.current_time())
        except BaseException:
            self._source.release(log)
            raise
        self._scope = trio.CancelScope()
        self._scope.__enter__()
        self._status = Status.BUSY
        log.readers.add(self)
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None, /
    ) -> bool:
        """End; raise why it has ended before, unless the body has raised something else."""
        self._finish()
        log, scope, self._scope = self.cursor.log, self._scope, None
        log.readers.remove(self)
        self.cursor.leave()
        self._source.release(log)
        return leave_block(scope, self._failure, raised, traceback)

    async def __anext__(self) -> RoomEvent[T] | Gap:
        """The next event, or the gap before it.

        Raises:
          trio.BusyResourceError: another task waits for it.
        """
        if self._status in {Status.READING, Status.WAITING, Status.WOKEN}:
            raise trio.BusyResourceError("another task reads these events")
        await self._take_turn()
        while not self._is_over:
            if (item := self._next()) is not None:
                return item
            await self._wait()
        await trio.lowlevel.checkpoint()  # where this is the body, whose end by a failure is a cancellation
        raise StopAsyncIteration

    async def _take_turn(self) -> None:
        """A checkpoint, which lets the other tasks run after so many events."""
        self._read_in_one_go += 1
        if self._read_in_one_go < IN_ONE_GO and not self._is_over:
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        self._read_in_one_go = 0
        before = self._status
        if not self._is_over:
            self._status = Status.READING
        try:
            await trio.lowlevel.checkpoint()
        finally:
            if self._status is Status.READING:
                self._status = before

    async def _wait(self) -> None:
        self._status = Status.WAITING
        try:
            await self._waiter.wait()
        finally:
            if not self._is_over:
                self._status = Status.BUSY

    @property
    def _is_over(self) -> bool:
        return self._status is Status.OVER

    def end(self, failure: Exception) -> None:
        """Cancel the body, and raise `failure` where it ends. Only the first call counts."""
        if self._failure is None:
            self._failure = failure
            self._finish()

    def _finish(self) -> None:
        self._status = Status.OVER
        self.cursor.release_window()
        if self._failure is not None and self._scope is not None:
            self._scope.cancel()
        self._waiter.wake()  # a task that waits all the same: the body does not wait for it

    def visit(self) -> None:
        """There are new events."""
        failure = self.cursor.fault()
        if failure is None and self._status is Status.BUSY and self.cursor.peek() is not None:
            self._status = Status.BEHIND
            self.cursor.fall_behind()
        if failure is None and self._status is Status.BEHIND:
            failure = self.cursor.apply_lag()
        if failure is not None:
            self.end(failure)
        elif self._status is Status.WAITING and self.cursor.peek() is not None:
            self._status = Status.WOKEN
            self._waiter.wake()

    def needs(self) -> int:
        """What has to stay in the log for it."""
        return self.cursor.log.end if self._status is Status.OVER else self.cursor.needs()

    def _next(self) -> RoomEvent[T] | Gap | None:
        """What is to be read next; None if there is nothing yet."""
        item = None if self.cursor.fault() is not None else self.cursor.peek()
        return None if item is None else self._read(item)

    def _read(self, item: Item) -> RoomEvent[T] | Gap:
        number = self.cursor.next
        self.cursor.move(item)
        if self._status is Status.BEHIND and self.cursor.peek() is None:
            self._status = Status.BUSY
        if isinstance(item, Gap):
            return item
        return RoomEvent(
            cast("T", item.value), self.cursor.log.position(number)
        )  # the topic's, as publish() takes no other
