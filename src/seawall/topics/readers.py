"""`Readers`: who reads one room, in the order in which they came, and how far the pump is in a round over them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, final

from seawall.topics.entry import Entry
from seawall.wire.frames.encoder import Frame
from seawall.wire.send_buffer import SendBuffer

#: A number that no event has.
ENDLESS: Final = 1 << 63

#: Empty places, beyond one for each reader, from which on they are removed.
_SPARE: Final = 8


class ReaderCursor(Protocol):
    """How far one reader is: a `Cursor`."""

    next: int
    """The number of the event that it is to have next."""


class FrameCache(Protocol):
    """The frames of events for readers who are alike: a `Renderer`."""

    def known(self, entry: Entry, /) -> Frame | None:
        """The frame of an event, if it has been made before; None, too, if nothing is to be sent."""
        ...


class Reader(Protocol):
    """One who reads a room."""

    slot: int
    """Its place among the readers; only `Readers` changes it."""

    @property
    def cursor(self) -> ReaderCursor:
        """How far it is."""
        ...

    @property
    def outlet(self) -> SendBuffer | None:
        """Where the frame of the event that is the `next` can be put without a `visit`; None if it cannot."""
        ...

    @property
    def renderer(self) -> FrameCache | None:
        """How that frame is written."""
        ...

    def visit(self) -> None:
        """Do what there is to do, because there are new events: write, wake somebody, see how far behind it is.

        What it raises ends it.
        """
        ...

    def needs(self) -> int:
        """The number of the first event that must be kept for it; that of the next one to come if none must."""
        ...

    def end(self, failure: Exception) -> None:
        """Have it read no more, and raise `failure` where it is used."""
        ...


@final
class Readers:
    """Those who read one room. One who leaves leaves a hole behind, so that a round can go on in between."""

    __slots__ = ("at", "begun_at", "count", "done", "is_repeated", "is_scheduled", "lowest", "slots", "until")

    def __init__(self) -> None:
        """Begin with none."""
        self.slots: list[Reader | None] = []
        """They, in order, and holes."""
        self.count = 0
        """How many they are."""
        self.is_scheduled = False
        """Whether there is, or will be, a round."""
        self.is_repeated = False
        """Whether another round follows this one, although nothing new may come."""
        self.at = 0
        """The index of the next one in this round."""
        self.until = 0
        """The index behind the last one in this round. Who comes meanwhile is in the next, or no round might end."""
        self.begun_at = 0
        """The number of the event that was the next to come when this round began."""
        self.lowest = ENDLESS
        """The first number that one of those needs who have been visited in this round, or have come meanwhile."""
        self.done = 0
        """The number of the event that was the next to come when the last round began that has ended."""

    def __iter__(self) -> Iterator[Reader]:
        """A snapshot of them."""
        return iter([reader for reader in self.slots if reader is not None])

    def add(self, reader: Reader) -> None:
        """One more, whose `needs` count from now on."""
        reader.slot = len(self.slots)
        self.slots.append(reader)
        self.count += 1
        if self.is_scheduled:
            self.lowest = min(self.lowest, reader.needs())

    def remove(self, reader: Reader) -> None:
        """One less."""
        self.slots[reader.slot] = None
        self.count -= 1
        if not self.is_scheduled:
            self._compact()

    def is_behind(self, number: int) -> bool:
        """Whether there will be a round, and the last one began before the event with this number came."""
        return self.is_scheduled and self.done < number

    def begin_round(self, end: int) -> None:
        """Begin a round, when `end` is the number of the next event to come."""
        self.is_scheduled = True
        self.is_repeated = False
        self.at = 0
        self.until = len(self.slots)
        self.begun_at = end
        self.lowest = ENDLESS

    def end_round(self) -> None:
        """The round is over."""
        self.is_scheduled = False
        self.done = self.begun_at
        self._compact()

    def _compact(self) -> None:
        if len(self.slots) <= 2 * self.count + _SPARE:
            return
        self.slots = [reader for reader in self.slots if reader is not None]
        for slot, reader in enumerate(self.slots):
            if reader is not None:
                reader.slot = slot
