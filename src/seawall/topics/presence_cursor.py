"""`PresenceCursor`: a place in the log of a presence, before which it is told who is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, final

from seawall.lag import Lag
from seawall.room_event import Gap
from seawall.topics.cursor import Cursor, Item
from seawall.topics.entry import Entry

#: Makes a snapshot of a room as it is now.
Look: TypeAlias = Callable[[], object]


@final
class PresenceCursor(Cursor):
    """A cursor whose first item is a snapshot, and the one behind each gap. What was published before it, is in it."""

    __slots__ = ("_look", "_looked_at", "_needs_snapshot")

    def __init__(self, lag: Lag[object], look: Look) -> None:
        """Begin nowhere."""
        super().__init__(lag)
        self._look = look
        self._looked_at = 0  # the number of the first event that is not in the last snapshot
        self._needs_snapshot = True

    def peek(self) -> Item | None:
        """The snapshot, if it is its turn; what is lost before it does not matter any more."""
        if not self._needs_snapshot:
            return super().peek()
        snapshot = self._look()
        self._looked_at = self.log.end  # what a `wrap` brings about is told after it
        return Entry(snapshot, None)

    def move(self, item: Item) -> None:
        """What `peek` has just returned has been read."""
        if isinstance(item, Gap):
            super().move(item)
            self._needs_snapshot = True
        elif self._needs_snapshot:
            self._needs_snapshot = False
            self.skip(self._looked_at)
        else:
            super().move(item)
