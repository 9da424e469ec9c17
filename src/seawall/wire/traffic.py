"""How much has gone through a connection."""

from __future__ import annotations

import math
from typing import final

from attrs import frozen


@final
@frozen(kw_only=True)
class Traffic:
    """How much has gone through a connection up to some moment; nothing, for one that sent no whole request."""

    messages_in: int = 0
    """Messages received, those that were thrown away too."""
    messages_out: int = 0
    """Messages sent."""
    bytes_in: int = 0
    """Bytes received after the request, framing included."""
    bytes_out: int = 0
    """Bytes that the transport has taken, the answer to the request included."""


@final
class Inbound:
    """What has come from the peer so far: how much, and when something last did, on Trio's clock."""

    __slots__ = ("bytes", "heard_at", "message_at", "messages")

    def __init__(self) -> None:
        """Begin with nothing, ever."""
        self.messages = 0
        """Messages received."""
        self.bytes = 0
        """Bytes received."""
        self.heard_at = -math.inf
        """When anything last came, be it a single byte, after the upgrade."""
        self.message_at = -math.inf
        """When a message last came."""
