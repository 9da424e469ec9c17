"""`MessageTimer`: since when a message of the peer has been incomplete, but for the times in which we did not read."""

from __future__ import annotations

import math
from typing import final

import trio

from seawall.wire.frames.decoder import Position


@final
class MessageTimer:
    """Since when a message has been incomplete. One that comes whole in one read is never noted here."""

    __slots__ = ("_paused_at", "_unread", "_unread_before", "noted_at")

    def __init__(self) -> None:
        """Begin between two messages, and reading."""
        self.noted_at = math.inf
        """When the message began, whatever came since; ``inf`` if there is none."""
        self._paused_at = math.inf
        self._unread = 0.0  # seconds of all pauses that are over
        self._unread_before = 0.0  # seconds of pauses before the message began

    def follow(self, *, is_behind: bool) -> None:
        """Pause while the handler is behind."""
        if is_behind:
            self.pause()
        elif self._paused_at != math.inf:
            self.go_on()

    def pause(self) -> None:
        """The peer is not read from now on, or rarely, because the handler is behind."""
        if self._paused_at == math.inf:
            self._paused_at = trio.current_time()

    def go_on(self) -> None:
        """The peer is read again, or still."""
        if self._paused_at != math.inf:
            self._unread, self._paused_at = self._unread_seconds(), math.inf

    def begun_at(self, *, is_behind: bool) -> float:
        """When the message began, later by the time for which it was not read since; ``inf`` if there is none.

        Args:
          is_behind: whether the handler still is, so that a pause goes on.
        """
        if self.noted_at == math.inf:
            return math.inf
        if not is_behind:
            self.go_on()
        return self.noted_at + self._unread_seconds() - self._unread_before

    def note(self, position: Position, *, has_message: bool, has_control: bool) -> bool:
        """Note where the decoder has stopped because it needs more bytes.

        Args:
          position: where it is.
          has_message: whether it has yielded a message since the last call.
          has_control: whether it has yielded a control frame, which may stand between the frames of a message.

        Returns:
          Whether a message has begun.
        """
        if position is Position.BETWEEN or has_message or (has_control and position is not Position.IN_MESSAGE):
            self.noted_at = math.inf
        if position is Position.BETWEEN or self.noted_at != math.inf:
            return False
        # Now, not when the bytes came: they may have waited for the handler.
        self.noted_at, self._unread_before = trio.current_time(), self._unread_seconds()
        return True

    def stop(self) -> None:
        """No message counts any more."""
        self.noted_at = math.inf

    def _unread_seconds(self) -> float:
        return self._unread if self._paused_at == math.inf else self._unread + trio.current_time() - self._paused_at
