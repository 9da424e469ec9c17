"""`Style`: how events are written for one kind of reader; each frame is made once for all who are alike."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Final, TypeAlias, cast, final

from seawall.connection.message_format import MessageFormat
from seawall.messages.codec import Sendable
from seawall.room_event import Gap, RoomEvent
from seawall.topics.entry import Entry
from seawall.topics.log import Log

#: Frames that are kept with one event; more are made again each time.
MOST: Final = 8

#: What makes the message of an event, or of a gap; None sends nothing.
Wrap: TypeAlias = "Callable[[RoomEvent[object] | Gap], Sendable | None]"


@final
class Style:
    """How events are written for one kind of reader."""

    __slots__ = ("_own", "users", "wrap", "written")

    def __init__(self, wrap: Wrap | None, written: MessageFormat, *, own: bool) -> None:
        """Say how.

        Args:
          wrap: makes the message; None sends the value.
          written: how messages are written.
          own: whether events are written like that anyway, unless they are wrapped.
        """
        self.wrap = wrap
        self.written = written
        self._own = own and wrap is None
        self.users = 0
        """How many readers have it."""

    def known(self, entry: Entry) -> bytes | None:
        """The frame of an event, if it has been made before; None, too, if nothing is to be sent."""
        if self._own:
            return entry.frame
        found = self._find(entry)
        return None if found is None else found[2]

    def frame(self, log: Log, number: int, entry: Entry) -> bytes | None:
        """The frame of an event that is in the log; None to send nothing.

        Raises:
          Exception: what `wrap` raises; or what it has returned cannot be encoded.
        """
        if self._own and entry.frame is not None:
            return entry.frame
        found = self._find(entry)
        if found is not None:
            return found[2]
        wrap = self.wrap
        message = cast("Sendable", entry.value) if wrap is None else wrap(RoomEvent(entry.value, log.position(number)))
        made = None if message is None else self.written.frame(message)
        if len(entry.renderings) < MOST and log.get(number) is entry:  # what has been called may have published
            entry.renderings += ((wrap, self.written.codec, made),)
            log.grow(entry, 0 if made is None else len(made))
        return made

    def gap(self, gap: Gap) -> bytes | None:
        """The frame that tells of a gap, for who has a `wrap`; None to send nothing. Raises as `frame`."""
        message = None if self.wrap is None else self.wrap(gap)
        return None if message is None else self.written.frame(message)

    def _find(self, entry: Entry) -> tuple[object, object, bytes | None] | None:
        codec, wrap = self.written.codec, self.wrap
        for known in entry.renderings:
            if known[1] is codec and (known[0] is wrap or (isinstance(wrap, MethodType) and known[0] == wrap)):
                return known  # a method is made anew each time that it is looked up
        return None


@final
class Styles:
    """Those that are in use, so that readers who are alike share one."""

    def __init__(self, written: MessageFormat) -> None:
        """Say how events are written when they are published."""
        self._written = written
        self._styles: dict[tuple[int, int], Style] = {}  # by the ids of what each has
        self.own = self._style(None, written)
        """That of who gets what is published as it is."""

    def join(self, wrap: Wrap | None, written: MessageFormat) -> Style:
        """The style of one more reader."""
        if wrap is None and written.codec is self._written.codec:
            return self.own
        key = (id(wrap), id(written.codec))
        style = self._styles.get(key)
        if style is None:
            style = self._styles[key] = self._style(wrap, written)
        style.users += 1
        return style

    def leave(self, style: Style) -> None:
        """One reader less."""
        style.users -= 1
        if not style.users and style is not self.own:
            del self._styles[id(style.wrap), id(style.written.codec)]

    def _style(self, wrap: Wrap | None, written: MessageFormat) -> Style:
        return Style(wrap, written, own=written.codec is self._written.codec)
