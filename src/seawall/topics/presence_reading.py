"""`Changes`: who is in a room, and then what changes, as values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Generic, TypeVar, final

from seawall.lag import DropOldest
from seawall.room_event import Gap
from seawall.topics.keys import RoomKey
from seawall.topics.presence_changes import PresenceChange, PresenceEvent
from seawall.topics.presence_rooms import PresenceRooms
from seawall.topics.reading import Reading

M = TypeVar("M")

#: Changes that wait for a reader who is busy. Behind more of them it is told who is there instead.
MAX_WAITING: Final = 1000


@final
class Changes(AsyncIterator[PresenceEvent[M]], Generic[M]):
    """Iterates over a snapshot and what follows it, while the ``async with`` lasts."""

    def __init__(self, rooms: PresenceRooms[M], key: RoomKey) -> None:
        """Say of which room."""
        lag = DropOldest(MAX_WAITING)
        self._reading: Reading[PresenceChange[M]] = Reading(rooms, key, since="joined", lag=lag)

    async def __aenter__(self) -> Changes[M]:
        """Begin."""
        await self._reading.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None, /
    ) -> bool:
        """End."""
        return await self._reading.__aexit__(kind, raised, traceback)  # noqa: ASYNC102 - it is this one's cleanup

    async def __anext__(self) -> PresenceEvent[M]:
        """The next change, for which it waits.

        Raises:
          trio.BusyResourceError: another task waits for it.
        """
        item = await anext(self._reading)
        return item if isinstance(item, Gap) else item.value
