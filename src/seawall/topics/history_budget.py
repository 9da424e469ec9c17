"""`HistoryBudget`: how many bytes the events of all rooms may take, and which room gives up some of its own."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar, final


class Holder(Protocol):
    """What holds events: a `Log`."""

    size: int
    """The bytes that it holds; only `HistoryBudget.change` changes it."""

    def give_up(self) -> None:
        """Hold one event less, the oldest one."""
        ...


H = TypeVar("H", bound=Holder)


@final
class HistoryBudget(Generic[H]):
    """Counts what all rooms hold. When it is too much, the room that holds most gives up its oldest events.

    So nobody who floods a room costs other rooms what they hold. "Most" is within a factor of two: holders are kept in
    classes, by the number of bits of their sizes, so that finding one takes no search, however many rooms there are.
    """

    __slots__ = ("_classes", "limit", "total")

    def __init__(self, limit: int) -> None:
        """Begin with nothing held."""
        self.limit = limit
        """The bytes that all may hold."""
        self.total = 0
        """The bytes that all hold."""
        self._classes: dict[int, dict[H, None]] = {}  # by bits; no class is empty

    def change(self, holder: H, by: int) -> None:
        """`holder` holds so many bytes more, or less."""
        before = holder.size.bit_length()
        self.total += by
        holder.size += by
        after = holder.size.bit_length()
        if before != after:
            if before:
                members = self._classes[before]
                del members[holder]
                if not members:
                    del self._classes[before]
            if after:
                self._classes.setdefault(after, {})[holder] = None

    def make_room(self) -> list[H]:
        """Have as many events given up as it takes to be within the limit.

        Returns:
          Whose were given up.
        """
        asked: dict[H, None] = {}
        while self.total > self.limit:
            holder = next(iter(self._classes[max(self._classes)]))
            holder.give_up()
            asked[holder] = None
        return list(asked)
