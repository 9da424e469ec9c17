"""`Entry`: one event of a room, encoded."""

from __future__ import annotations

from typing import Final, final

from seawall.wire.frames.encoder import Frame

#: Bytes that an event takes beside its frame, about.
OVERHEAD: Final = 256


@final
class Entry:
    """One event in a log."""

    __slots__ = ("at", "but", "frame", "pins", "renderings", "size", "value")

    def __init__(self, value: object, frame: Frame | None, *, but: str | None = None) -> None:
        """An event that is not in a log yet.

        Args:
          value: what has been published.
          frame: how it is sent where nothing else is said; None if it cannot be sent as it is.
          but: the id of the connection that does not get it.
        """
        self.value = value
        """What has been published."""
        self.frame = frame
        """It as the app's codec writes it."""
        self.but = but
        """The id of the connection that does not get it."""
        self.at = 0.0
        """When it was published, on Trio's clock."""
        self.size = OVERHEAD if frame is None else OVERHEAD + 2 * len(frame)  # once more for the value
        """The bytes that count for it."""
        self.pins = 0
        """How many need it beside those who read the log."""
        self.renderings: tuple[tuple[object, Frame | None], ...] = ()
        """By `Renderer`, its frames for who has a function that wraps it, another codec than the app, or both."""
