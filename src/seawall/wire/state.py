"""The state of a connection in each direction: two enums, and the tables of their transitions.

Only `advance_reading` and `advance_replying` give the next state. They raise for a transition that is not in its table:
no peer can bring one about, so it is a mistake in our own code.

Both enums are ordered and no transition goes back, so ``reading >= Reading.ENDED`` stays true once it is true.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, final


@final
class IllegalTransition(Exception):
    """Something happened that cannot happen in this state: a fault in Seawall itself."""


@final
class Reading(enum.IntEnum):
    """What is done with the bytes that the peer sends; owned by the `MessageChannel`."""

    HEAD = 0
    """RFC 6455's CONNECTING: the upgrade is not accepted yet. Frames that come early are kept, and not decoded."""
    GUARDED = 1
    """The upgrade is accepted, and the guards talk: a message is decoded when a guard asks for one; others wait raw."""
    OPEN = 2
    """Frames are decoded."""
    ENDED = 3
    """A Close or a violation has come: whatever comes after it is ignored."""
    LOST = 4
    """The peer has gone or the transport has failed; bytes that may still be in the socket are not read."""
    LINGERING = 5
    """Our side is closed: bytes that come are read and discarded, because unread ones would cause a reset."""
    FINISHED = 6
    """Nothing more is read: the stream has ended, or the connection was aborted."""


@final
class ReadingEvent(enum.IntEnum):
    """What changes `Reading`."""

    ACCEPTED = 0
    """The upgrade was accepted."""
    CLOSE = 1
    """A Close frame was decoded."""
    VIOLATION = 2
    """The peer broke the protocol or a limit."""
    VANISHED = 3
    """The peer has gone, and its last bytes may not have been read: the poller or a write has reported it."""
    FAULT = 4
    """The transport raised an unforeseen exception."""
    LINGER = 5
    """Our side was closed."""
    END_OF_STREAM = 6
    """The stream has been read to its end."""
    ABORTED = 7
    """The connection was aborted."""
    RESET = 8
    """The stream broke off while it was read."""
    ACCEPTED_BY_GUARD = 9
    """The upgrade was accepted by a guard, which wants to talk."""
    ADMITTED = 10
    """The guards have let the connection in."""


@final
class Replying(enum.IntEnum):
    """What may still be sent; owned by the `SendBuffer`.

    There are two states in which nothing can be written. In `BROKEN` nobody has decided to close, and reading goes on,
    because the peer may have sent a Close before it went. In `OVER` somebody has.
    """

    OPEN = 0
    """Messages and control frames are sent."""
    CLOSING = 1
    """The connection is about to be closed: messages are refused and Pings are not answered."""
    CLOSE_SENT = 2
    """A Close has been sent or waits to be sent; nothing may follow it (RFC 6455, section 5.5.1)."""
    BROKEN = 3
    """Nothing can be written any more; what the peer has sent is still read."""
    OVER = 4
    """Nothing can be written any more, and the connection is about to be closed."""

    @property
    def is_closing(self) -> bool:
        """Whether it was decided to close the connection: messages are refused and Pings are not answered."""
        return self is not Replying.OPEN and self is not Replying.BROKEN


@final
class ReplyingEvent(enum.IntEnum):
    """What changes `Replying`."""

    BEGIN_CLOSING = 0
    """It was decided to close the connection."""
    CLOSE = 1
    """A Close was handed over to be sent."""
    BREAK = 2
    """The transport can write nothing any more, or the connection was aborted."""


_READING: Final[Mapping[tuple[Reading, ReadingEvent], Reading]] = {
    (Reading.HEAD, ReadingEvent.ACCEPTED): Reading.OPEN,
    (Reading.HEAD, ReadingEvent.VANISHED): Reading.LOST,
    (Reading.HEAD, ReadingEvent.FAULT): Reading.LOST,
    (Reading.HEAD, ReadingEvent.END_OF_STREAM): Reading.FINISHED,
    (Reading.HEAD, ReadingEvent.ABORTED): Reading.FINISHED,
    (Reading.HEAD, ReadingEvent.RESET): Reading.FINISHED,
    (Reading.HEAD, ReadingEvent.ACCEPTED_BY_GUARD): Reading.GUARDED,
    (Reading.HEAD, ReadingEvent.ADMITTED): Reading.HEAD,
    (Reading.GUARDED, ReadingEvent.CLOSE): Reading.ENDED,
    (Reading.GUARDED, ReadingEvent.VIOLATION): Reading.ENDED,
    (Reading.GUARDED, ReadingEvent.VANISHED): Reading.LOST,
    (Reading.GUARDED, ReadingEvent.FAULT): Reading.LOST,
    (Reading.GUARDED, ReadingEvent.LINGER): Reading.LINGERING,
    (Reading.GUARDED, ReadingEvent.END_OF_STREAM): Reading.FINISHED,
    (Reading.GUARDED, ReadingEvent.ABORTED): Reading.FINISHED,
    (Reading.GUARDED, ReadingEvent.RESET): Reading.FINISHED,
    (Reading.GUARDED, ReadingEvent.ADMITTED): Reading.OPEN,
    (Reading.OPEN, ReadingEvent.ADMITTED): Reading.OPEN,  # guards have finished after their connection was refused
    (Reading.OPEN, ReadingEvent.CLOSE): Reading.ENDED,
    (Reading.OPEN, ReadingEvent.VIOLATION): Reading.ENDED,
    (Reading.OPEN, ReadingEvent.VANISHED): Reading.LOST,
    (Reading.OPEN, ReadingEvent.FAULT): Reading.LOST,
    (Reading.OPEN, ReadingEvent.LINGER): Reading.LINGERING,
    (Reading.OPEN, ReadingEvent.END_OF_STREAM): Reading.FINISHED,
    (Reading.OPEN, ReadingEvent.ABORTED): Reading.FINISHED,
    (Reading.OPEN, ReadingEvent.RESET): Reading.FINISHED,
    (Reading.ENDED, ReadingEvent.ADMITTED): Reading.ENDED,
    (Reading.ENDED, ReadingEvent.VANISHED): Reading.LOST,
    (Reading.ENDED, ReadingEvent.FAULT): Reading.LOST,
    (Reading.ENDED, ReadingEvent.LINGER): Reading.LINGERING,
    (Reading.ENDED, ReadingEvent.END_OF_STREAM): Reading.FINISHED,
    (Reading.ENDED, ReadingEvent.ABORTED): Reading.FINISHED,
    (Reading.ENDED, ReadingEvent.RESET): Reading.FINISHED,
    (Reading.LOST, ReadingEvent.ACCEPTED): Reading.LOST,  # it went unnoticed until now; the 101 reaches nobody
    (Reading.LOST, ReadingEvent.ACCEPTED_BY_GUARD): Reading.LOST,
    (Reading.LOST, ReadingEvent.ADMITTED): Reading.LOST,
    (Reading.LOST, ReadingEvent.VANISHED): Reading.LOST,
    (Reading.LOST, ReadingEvent.FAULT): Reading.LOST,
    (Reading.LOST, ReadingEvent.LINGER): Reading.LINGERING,
    (Reading.LOST, ReadingEvent.END_OF_STREAM): Reading.FINISHED,
    (Reading.LOST, ReadingEvent.ABORTED): Reading.FINISHED,
    (Reading.LOST, ReadingEvent.RESET): Reading.FINISHED,
    (Reading.LINGERING, ReadingEvent.ADMITTED): Reading.LINGERING,
    (Reading.LINGERING, ReadingEvent.VANISHED): Reading.LINGERING,
    (Reading.LINGERING, ReadingEvent.FAULT): Reading.FINISHED,
    (Reading.LINGERING, ReadingEvent.LINGER): Reading.LINGERING,
    (Reading.LINGERING, ReadingEvent.END_OF_STREAM): Reading.FINISHED,
    (Reading.LINGERING, ReadingEvent.ABORTED): Reading.FINISHED,
    (Reading.LINGERING, ReadingEvent.RESET): Reading.FINISHED,
    (Reading.FINISHED, ReadingEvent.ACCEPTED): Reading.FINISHED,  # as LOST
    (Reading.FINISHED, ReadingEvent.ACCEPTED_BY_GUARD): Reading.FINISHED,
    (Reading.FINISHED, ReadingEvent.ADMITTED): Reading.FINISHED,
    (Reading.FINISHED, ReadingEvent.VANISHED): Reading.FINISHED,
    (Reading.FINISHED, ReadingEvent.FAULT): Reading.FINISHED,
    (Reading.FINISHED, ReadingEvent.LINGER): Reading.FINISHED,
    (Reading.FINISHED, ReadingEvent.END_OF_STREAM): Reading.FINISHED,
    (Reading.FINISHED, ReadingEvent.ABORTED): Reading.FINISHED,
    (Reading.FINISHED, ReadingEvent.RESET): Reading.FINISHED,
}

_REPLYING: Final[Mapping[tuple[Replying, ReplyingEvent], Replying]] = {
    (Replying.OPEN, ReplyingEvent.BEGIN_CLOSING): Replying.CLOSING,
    (Replying.OPEN, ReplyingEvent.BREAK): Replying.BROKEN,
    (Replying.CLOSING, ReplyingEvent.BEGIN_CLOSING): Replying.CLOSING,
    (Replying.CLOSING, ReplyingEvent.CLOSE): Replying.CLOSE_SENT,
    (Replying.CLOSING, ReplyingEvent.BREAK): Replying.OVER,
    (Replying.CLOSE_SENT, ReplyingEvent.BEGIN_CLOSING): Replying.CLOSE_SENT,
    (Replying.CLOSE_SENT, ReplyingEvent.BREAK): Replying.OVER,
    (Replying.BROKEN, ReplyingEvent.BEGIN_CLOSING): Replying.OVER,
    (Replying.BROKEN, ReplyingEvent.BREAK): Replying.BROKEN,
    (Replying.OVER, ReplyingEvent.BEGIN_CLOSING): Replying.OVER,
    (Replying.OVER, ReplyingEvent.BREAK): Replying.OVER,
}


# The same tables, indexed by number: hashing a member of an enum is a call in Python.
_NEXT_READING: Final = tuple(tuple(_READING.get((state, event)) for event in ReadingEvent) for state in Reading)
_NEXT_REPLYING: Final = tuple(tuple(_REPLYING.get((state, event)) for event in ReplyingEvent) for state in Replying)


def advance_reading(state: Reading, event: ReadingEvent) -> Reading:
    """The state after `event` in `state`.

    Raises:
      IllegalTransition: `event` cannot happen in `state`.
    """
    following = _NEXT_READING[state][event]
    if following is None:
        raise IllegalTransition(f"{event.name} while reading is {state.name}")
    return following


def advance_replying(state: Replying, event: ReplyingEvent) -> Replying:
    """The state after `event` in `state`.

    Raises:
      IllegalTransition: `event` cannot happen in `state`.
    """
    following = _NEXT_REPLYING[state][event]
    if following is None:
        raise IllegalTransition(f"{event.name} while replying is {state.name}")
    return following
