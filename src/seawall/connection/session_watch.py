"""`SessionWatchers`: who is told that connections open and close."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import final

import trio

from seawall.connection.session_events import Lagged, SessionClosed, SessionEvent, SessionOpened


@final
class SessionWatcher:
    """One block of `Sessions.watch`: an async iterator over what has happened, in order."""

    def __init__(self, buffer: int) -> None:
        """Keep at most `buffer` events that nobody has taken."""
        self._buffer = buffer
        self._events: deque[SessionEvent] = deque()
        self._missed = 0  # so many events after the last that is kept
        self._is_open = True
        self._waiting = trio.lowlevel.ParkingLot()

    def tell(self, event: SessionOpened | SessionClosed) -> None:
        """Keep `event`, or count it as missed. Never waits."""
        if len(self._events) >= self._buffer:
            self._missed += 1
            return
        if self._missed:
            self._events.append(Lagged(self._missed))
            self._missed = 0
        self._events.append(event)
        self._waiting.unpark_all()

    def close(self) -> None:
        """End the iteration, because the block has been left."""
        self._is_open = False
        self._waiting.unpark_all()

    def __aiter__(self) -> SessionWatcher:
        """This."""
        return self

    async def __anext__(self) -> SessionEvent:
        """The next event, for which it waits."""
        await trio.lowlevel.checkpoint()
        while self._is_open and not (self._events or self._missed):
            await self._waiting.park()
        if not self._is_open:
            raise StopAsyncIteration
        if self._events:
            return self._events.popleft()
        missed, self._missed = self._missed, 0
        return Lagged(missed)


@final
class SessionWatchers:
    """All that watch the connections of one app."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._watchers: dict[SessionWatcher, None] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._watchers)

    @asynccontextmanager
    async def watching(self, buffer: int) -> AsyncGenerator[AsyncIterator[SessionEvent]]:
        """Watch from now on, until the end of the block."""
        watcher = SessionWatcher(buffer)
        self._watchers[watcher] = None
        try:
            yield watcher
        finally:
            del self._watchers[watcher]
            watcher.close()

    def tell(self, event: SessionOpened | SessionClosed) -> None:
        """Tell everybody."""
        for watcher in self._watchers:
            watcher.tell(event)
