"""`RoomEvent` and `Gap`: what somebody reads who reads a room."""

from __future__ import annotations

from typing import Generic, TypeVar, final

from attrs import frozen

from seawall.position import Position

T_co = TypeVar("T_co", covariant=True)


@final
@frozen
class RoomEvent(Generic[T_co]):
    """What has been published in a room."""

    value: T_co
    at: Position
    """Its place; ``since=event.at`` goes on behind it."""


@final
@frozen
class Gap:
    """Events that this reader does not get, at this place: they are no longer kept, or it was too far behind."""

    before: Position
    """The last of them: ``since=gap.before`` goes on behind the gap, with the event that follows it."""
    lost: int | None
    """How many they are; None if that is not known, because the reader came with a position of another time."""
