"""`Patterns`: what the topics and presences of one app are called; each has its pattern alone."""

from __future__ import annotations

import math
from typing import Final, Literal, final

from seawall.errors import ConfigurationError
from seawall.topics.keys import RoomPattern

#: Seconds that a history may be told to keep something for, at least: the clock has to tell them apart.
_SHORTEST: Final = 0.001


@final
class Patterns:
    """The patterns of one app. A topic and a presence of one pattern speak of the same rooms."""

    def __init__(self) -> None:
        """Begin with none."""
        self._taken: set[tuple[str, str]] = set()
        self._spellings: dict[str, str] = {}  # by shape

    def add(self, what: Literal["topic", "presence"], text: str) -> RoomPattern:
        """Take a pattern for a topic, or for a presence.

        Raises:
          ConfigurationError: it is no pattern, or is taken; or another one differs from it in the names only, so that
            the rooms of both would look alike and be different ones.
        """
        try:
            pattern = RoomPattern.parse(text)
        except ConfigurationError as mistake:
            raise ConfigurationError(f"{what} {mistake}") from None
        if (what, text) in self._taken:
            raise ConfigurationError(
                f"{what} {text!r}: this app has a {what} of this pattern already; use that one, or give them a union "
                "of what both carry"
            )
        spelling = self._spellings.setdefault(pattern.shape, text)
        if spelling != text:
            raise ConfigurationError(
                f"{what} {text!r}: this app has the pattern {spelling!r}, which differs in names only; write it alike "
                "if the same rooms are meant, and otherwise with another word in it"
            )
        self._taken.add((what, text))
        return pattern


def check_retention(where: str, history: object, ttl: object) -> None:
    """Refuse what cannot say how much a room keeps.

    Raises:
      ConfigurationError: it is so; the text begins with `where`.
    """
    if not (isinstance(history, int) and not isinstance(history, bool) and history >= 0):
        raise ConfigurationError(f"{where}: history={history!r}; give a number of events, such as 100, or 0 for none")
    if ttl is None:
        return
    if not (isinstance(ttl, int | float) and not isinstance(ttl, bool) and _SHORTEST <= ttl < math.inf):
        raise ConfigurationError(f"{where}: ttl={ttl!r}; give a number of seconds, such as 300, or None for no end")
    if not history:
        raise ConfigurationError(f"{where}: ttl={ttl!r} of a history that keeps nothing; give it a history, too")
