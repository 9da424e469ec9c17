"""`Reading`: which task reads the messages of a connection, and what stands behind those that have to wait.

One task receives at a time: mostly the one that handles the events. While that is held up, whoever waits for something
that only the peer can say, such as an answer, reads on. What is about an event (an answer, a cancel) is taken out of
the queue and acts at once. Events stay in the queue, in their order, and count for its limits as before.
"""

from __future__ import annotations

from collections import deque
from typing import final

import trio

from seawall.connection.state import ConnectionState
from seawall.messages.decoder import Ref


@final
class Reading:
    """The messages of one connection, for several tasks that wait for different ones of them."""

    def __init__(self, state: ConnectionState) -> None:
        """Read the messages of the connection of `state`."""
        self._state = state
        self._queue = state.channel.queue
        self._most = state.lifecycle.timeouts.limits.inbound_queue
        self.ahead: deque[Ref | None] = deque()
        """The refs of the messages at the front of the queue that have been looked at, and have to wait."""
        self.ended = False
        """Whether no more messages come."""
        self._is_read = False  # whether a task is receiving
        self._changed: trio.Event | None = None  # for those who wait for something else than a message

    async def receive(self) -> str | bytes:
        """The next message, in the order in which they came.

        Raises:
          trio.EndOfChannel: there are no more.
        """
        while self.ahead or self._is_read:
            if not self.ahead:
                await self.wait_changed()
                continue
            await trio.lowlevel.checkpoint()
            self._forget_lost()
            if self.ahead:
                self.ahead.popleft()
                return self._take(0)
        self._is_read = True
        try:
            message = await self._queue.receive()
        finally:
            self._is_read = False
            if self._changed is not None:
                self.changed()
        self._state.on_received()
        return message

    async def look_ahead(self) -> str | bytes | None:
        """Wait for a message that nobody has looked at; it stays in the queue, behind those of `ahead`.

        Returns:
          None if something else may have changed: another task is reading, or the one that reads was woken.
        """
        queue = self._queue
        self._forget_lost()
        if self._is_read or self.ended or len(self.ahead) >= self._most:
            await self.wait_changed()
            return None
        self._is_read = more = True
        try:
            if len(queue) > len(self.ahead):
                await trio.lowlevel.checkpoint()
            else:
                more = await queue.wait_arrival()
        finally:
            self._is_read = False
            self.changed()
        self._forget_lost()
        if len(queue) > len(self.ahead):
            return queue.peek(len(self.ahead))
        self.ended = not more
        return None

    def take_looked_at(self) -> None:
        """Take the message of `look_ahead` out of the queue."""
        self._take(len(self.ahead))

    def take_back(self, ref: Ref) -> bool:
        """Take an event out of the queue that waits, by its ref; False if there is none."""
        self._forget_lost()
        if ref not in self.ahead:
            return False
        position = self.ahead.index(ref)
        del self.ahead[position]
        self._take(position)
        return True

    def end(self) -> None:
        """Note that no more messages come."""
        self.ended = True
        self.changed()

    def changed(self) -> None:
        """Let all who wait in `wait_changed` look again."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def nudge(self) -> None:
        """Let the task look again that waits in `look_ahead`."""
        self._queue.nudge()

    async def wait_changed(self) -> None:
        """Wait for the next `changed`."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    def _forget_lost(self) -> None:
        """Forget what waits if it has been thrown away: the application has closed, or takes no more input."""
        if len(self.ahead) > len(self._queue):
            self.ahead.clear()

    def _take(self, position: int) -> str | bytes:
        message = self._queue.take(position)
        self._state.on_received()
        return message
