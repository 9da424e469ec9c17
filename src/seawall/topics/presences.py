"""`Presences`: what the presences of one app share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol, final

from seawall.topics.keys import RoomKey
from seawall.topics.kicks import Kickable
from seawall.topics.lingering import Lingering


class HasMembers(Protocol):
    """The rooms of one presence."""

    def kickables(self, key: RoomKey, /) -> Iterable[Kickable]:
        """The memberships in one of them."""
        ...


@final
class Presences:
    """The presences of one app, and who lingers in their rooms."""

    def __init__(self) -> None:
        """Begin with none."""
        self.lingering: Final = Lingering()
        """Members whose connection has ended, and who may come back."""
        self._rooms: dict[str, HasMembers] = {}

    def add(self, pattern: str, rooms: HasMembers) -> None:
        """Have the rooms of a presence found by its pattern."""
        self._rooms[pattern] = rooms

    def kickables(self, key: RoomKey, /) -> Iterable[Kickable]:
        """The memberships in a room."""
        rooms = self._rooms.get(key.pattern)
        return () if rooms is None else rooms.kickables(key)
