"""What the wire tells the connection above it: one listener, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, final

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


@final
@frozen
class SendBlocked:
    """Something that was sent begins to wait for the peer: from now on it has to make progress.

    Told again only when `StallDetector` has found that nothing waits any more.
    """


#: An exception is a violation, or a fault of the transport. All but `SendBlocked` end the conversation.
WireEvent: TypeAlias = PeerClosed | PeerVanished | SendBlocked | Exception


@final
class WireEvents:
    """Tells the one listener of a connection; shared by all the parts of its wire."""

    __slots__ = ("_on_wire_event",)

    def __init__(self, on_wire_event: Callable[[WireEvent], None]) -> None:
        """Tell `on_wire_event`, at once and in the task in which something has happened."""
        self._on_wire_event: Callable[[WireEvent], None] | None = on_wire_event

    def tell(self, event: WireEvent) -> None:
        """Tell the listener, if there still is one. What it raises comes out here."""
        if self._on_wire_event is not None:
            self._on_wire_event(event)

    def close(self) -> None:
        """Drop the listener, which holds the connection that holds this: no reference circle is to be left."""
        self._on_wire_event = None
