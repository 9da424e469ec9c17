"""`WireEvent`: what the wire tells the connection above it; and `WireEvents`, which tells its one listener."""

from __future__ import annotations

from typing import Protocol, TypeAlias, final

from attrs import define, frozen


@final
@define
class PeerClosed:
    """The peer sent a Close frame, with this code (1005 if it gave none) and reason."""

    code: int
    reason: str


@final
@frozen
class PeerVanished:
    """The stream ended without a Close frame."""

    reset: bool = False
    """Whether it broke off, instead of being read to its end; what the peer sent last may then be missing."""


@final
@frozen
class PeerFinished:
    """The peer sends nothing more, though not all that it has sent has been read: reading is paused."""


@final
@frozen
class SendBlocked:
    """Something that was sent begins to wait: from now on the peer has to make progress, as `StallDetector` checks.

    It is told once, and again only after `StallDetector` has found that nothing waits.
    """


@final
@frozen
class MessageBegun:
    """A message has begun and is not complete: it has ``Limits.message_timeout`` from now on."""


#: An exception is a `ProtocolViolation`, or a fault of the transport: both end the conversation, as the first two do.
WireEvent: TypeAlias = PeerClosed | PeerVanished | PeerFinished | SendBlocked | MessageBegun | Exception


class WireListener(Protocol):
    """Who is told: a connection."""

    def on_wire_event(self, event: WireEvent, /) -> None:
        """It has happened."""
        ...


@final
class WireEvents:
    """Tells the one listener of a connection. The channel and its send buffer share it."""

    __slots__ = ("_listener",)

    def __init__(self, listener: WireListener) -> None:
        """Keep the listener, which `tell` calls at once and in the task that calls `tell`."""
        self._listener: WireListener | None = listener

    def tell(self, event: WireEvent) -> None:
        """Call the listener, unless `close` has been called. Raises what the listener raises."""
        if self._listener is not None:
            self._listener.on_wire_event(event)

    def close(self) -> None:
        """Drop the listener: it refers to the connection, which refers to this, and that is a reference cycle."""
        self._listener = None
