"""What ends a conversation from the outside."""

from __future__ import annotations

from typing import TypeAlias, final

from attrs import frozen


@final
@frozen
class PeerClosed:
    """The peer sent a Close frame, with this code (1005 if it gave none) and reason."""

    code: int
    reason: str


@final
@frozen
class PeerVanished:
    """The stream ended without a Close frame."""


#: An exception is a violation, or a fault of the link.
WireEnd: TypeAlias = PeerClosed | PeerVanished | Exception
