"""`LogSampler`: so many of a kind in a time, and the others are counted. Pure: the caller brings the clock."""

from __future__ import annotations

from typing import Final, final

from attrs import define, field

#: Failures of one kind that are written down in full within `WINDOW` seconds.
BURST: Final = 10
WINDOW: Final = 60.0

#: Kinds that are told apart; those that come after so many are one kind. What a client sends makes no kind.
MAX_KINDS: Final = 1000

Kind = tuple[str, ...]
_OTHERS: Final[Kind] = ("others",)


@define
class _Count:
    """One kind within one window."""

    began: float
    admitted: int = 0
    held: int = 0


@final
@define(eq=False)
class LogSampler:
    """Decides what is written down, so that a storm of the same failure cannot flood a disk."""

    _counts: dict[Kind, _Count] = field(init=False, factory=dict[Kind, _Count])

    def admits(self, kind: Kind, now: float) -> bool:
        """Whether one more of `kind` is to be written down; if not, it is counted. `now` is in seconds."""
        if kind not in self._counts and len(self._counts) >= MAX_KINDS:
            self._forget(now)
        count = self._counts.setdefault(self.counted_as(kind), _Count(now))
        if now >= count.began + WINDOW:
            count.began, count.admitted = now, 0
        if count.admitted >= BURST:
            count.held += 1
            return False
        count.admitted += 1
        return True

    def _forget(self, now: float) -> None:
        """Make room: of what has not come for a whole window nothing is known that somebody has still to hear."""
        self._counts = {kind: count for kind, count in self._counts.items() if count.held or now < count.began + WINDOW}

    def counted_as(self, kind: Kind) -> Kind:
        """The kind that `kind` falls under: its own, while there are not too many of them."""
        return kind if kind in self._counts or len(self._counts) < MAX_KINDS else _OTHERS

    def take_held(self, kind: Kind) -> int:
        """How many of what `kind` falls under were not written down since this was asked last."""
        count = self._counts.get(self.counted_as(kind))
        if count is None:
            return 0
        held, count.held = count.held, 0
        return held

    def kinds(self) -> tuple[Kind, ...]:
        """Those of which some have been held back."""
        return tuple(kind for kind, count in self._counts.items() if count.held)
