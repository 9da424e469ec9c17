"""`Position`: the place of an event among those of its room; `Since`: from where somebody reads."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias, final

from attrs import frozen

from seawall.errors import InvalidMessage

#: What `Position.parse` says to a peer. Each position is written in one way only: no zeros in front.
EXPECTED: Final = "expected a position"
FORM: Final = re.compile(r"([A-Za-z0-9]{1,24})-(0|[1-9][0-9]{0,18})")


@final
@frozen(order=False)
class Position:
    """The place of one event among all that have been published in its room.

    Clients keep it as the text that it is on the wire, and hand it back as ``since``; what is in it is no concern of
    theirs. It can be a field of a message. Which of two is the later one it does not tell: the order of events is that
    in which they arrive.
    """

    epoch: str
    """Names the log that it is a place in: of one room, as long as that is kept. At most 24 letters and digits."""
    number: int
    """Counts the events in that log."""

    def __str__(self) -> str:
        """The text of it."""
        return f"{self.epoch}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that has been written as `text`.

        Raises:
          InvalidMessage: it is none. Whether there is such an event is found out where one reads since then.
        """
        found = FORM.fullmatch(text) if type(text) is str else None
        if found is None:
            raise InvalidMessage("$", EXPECTED)
        return cls(found[1], int(found[2]))


#: From where somebody reads. A `Position`: right behind it. None: all that is kept, then what comes. ``"joined"``: only
#: what is published from now on.
Since: TypeAlias = Position | Literal["joined"] | None
