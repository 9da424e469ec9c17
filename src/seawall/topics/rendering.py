"""`Renderer`: how events are written for one kind of reader; each frame is made once for all who are alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MethodType
from typing import Final, TypeAlias, cast, final

from seawall.connection.message_format import MessageFormat
from seawall.messages.codec import Sendable
from seawall.room_event import Gap, RoomEvent
from seawall.topics.entry import OVERHEAD, Entry
from seawall.topics.log import Log
from seawall.wire.frames.encoder import Frame

#: Frames that are kept with one event; more are made again each time.
MAX_RENDERINGS: Final = 8

#: Bytes of the largest event and of the longest frame that a renderer keeps itself, where the history has no room.
MAX_LAST: Final = 64 * 1024

#: What makes the message of an event, or of a gap; None sends nothing.
Wrap: TypeAlias = "Callable[[RoomEvent[object] | Gap], Sendable | None]"


@final
class Renderer:
    """How events are written for one kind of reader."""

    __slots__ = ("_last", "_own", "users", "wrap", "written")

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
        self._last: tuple[Entry, Frame | None] | None = None  # made last, if there was no room for it with the event
        self.users = 0
        """How many readers have it."""

    @property
    def key(self) -> _Key:
        """Equal for those that are alike, as long as they are in use."""
        return _key(self.wrap, self.written)

    def known(self, entry: Entry, /) -> Frame | None:
        """The frame of an event, if it has been made before; None, too, if nothing is to be sent."""
        if self._own:
            return entry.frame
        found = self._find(entry)
        return None if found is None else found[1]

    def frame(self, log: Log, number: int, entry: Entry) -> Frame | None:
        """The frame of an event that is in the log; None to send nothing.

        Raises:
          Exception: what `wrap` raises; or what it has returned cannot be encoded.
        """
        if self._own and entry.frame is not None:
            return entry.frame
        if (found := self._find(entry)) is not None:
            return found[1]
        wrap = self.wrap
        message = cast("Sendable", entry.value) if wrap is None else wrap(RoomEvent(entry.value, log.position(number)))
        made = None if message is None else self.written.frame(message)
        if log.get(number) is entry:  # what has been called may have published
            self._keep(log, entry, made)
        return made

    def forget(self) -> None:
        """Nobody has it any more, though events may keep it with the frames that it has made."""
        self.wrap, self._last = _nothing, None

    def gap(self, gap: Gap) -> Frame | None:
        """The frame that tells of a gap, for who has a `wrap`; None to send nothing. Raises as `frame`."""
        message = None if self.wrap is None else self.wrap(gap)
        return None if message is None else self.written.frame(message)

    def _find(self, entry: Entry) -> tuple[object, Frame | None] | None:
        """The frame of an event, behind whatever it is found by; None if it is not kept."""
        for made in entry.renderings:
            if made[0] is self:
                return made
        last = self._last
        return last if last is not None and last[0] is entry else None

    def _keep(self, log: Log, entry: Entry, made: Frame | None) -> None:
        self._last = None
        used = [one for one in entry.renderings if isinstance(one[0], Renderer) and one[0].users]
        if len(used) < MAX_RENDERINGS:
            used.append((self, made))
            if log.grow(entry, _size(used) - _size(entry.renderings)):  # those that nobody uses any more are forgotten
                entry.renderings = tuple(used)
                return
        if self.users > 1 and max(entry.size, len(made or b"")) <= MAX_LAST:  # or each reader's would be made anew
            self._last = entry, made


def _size(renderings: Iterable[tuple[object, Frame | None]]) -> int:
    """The bytes that renderings count for."""
    return sum(OVERHEAD if frame is None else OVERHEAD + len(frame) for _, frame in renderings)


#: What tells renderers apart: the ids of a function, of what it is a method of, and of a format. That of another route
#: may have the same codec and refuse other classes, which is to fail for nobody else.
_Key: TypeAlias = tuple[int, int, int]


def _key(wrap: Wrap | None, written: MessageFormat) -> _Key:
    if isinstance(wrap, MethodType):  # which is made anew each time that it is looked up
        return id(wrap.__func__), id(wrap.__self__), id(written)
    return id(wrap), 0, id(written)


def _nothing(_: RoomEvent[object] | Gap) -> None:
    """The wrap of a renderer that nobody has any more."""


@final
class Renderers:
    """Those that are in use, so that readers who are alike share one."""

    def __init__(self, written: MessageFormat) -> None:
        """Say how events are written when they are published."""
        self._written = written
        self._renderers: dict[_Key, Renderer] = {}
        self.own = self._renderer(None, written)
        """That of who gets what is published as it is."""

    def join(self, wrap: Wrap | None, written: MessageFormat) -> Renderer:
        """The renderer of one more reader."""
        if wrap is None and self._is_own(written):
            return self.own
        key = _key(wrap, written)
        renderer = self._renderers.get(key)
        if renderer is None:
            renderer = self._renderers[key] = self._renderer(wrap, written)
        renderer.users += 1
        return renderer

    def leave(self, renderer: Renderer) -> None:
        """One reader less. After the last, the function is forgotten: it may be all that keeps a connection alive."""
        if renderer is self.own:
            return
        renderer.users -= 1
        if not renderer.users:
            del self._renderers[renderer.key]
            renderer.forget()

    def _renderer(self, wrap: Wrap | None, written: MessageFormat) -> Renderer:
        return Renderer(wrap, written, own=self._is_own(written))

    def _is_own(self, written: MessageFormat) -> bool:
        """Whether what is published is what a route of this format sends: by the same codec, and of any class."""
        return written.codec is self._written.codec and not written.is_limited
