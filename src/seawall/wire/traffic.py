"""How much has gone through a connection."""

from __future__ import annotations

import math
from typing import Final, final

from attrs import frozen

#: Bytes that are discarded of a stranger after a refusal; who sends more is reset.
MOST_OF_STRANGERS: Final = 1024 * 1024


@final
@frozen(kw_only=True)
class Traffic:
    """How much has gone through a connection up to some moment; all zero if no whole request has come."""

    messages_in: int = 0
    """Messages received, including those that were thrown away."""
    messages_out: int = 0
    """Messages sent."""
    bytes_in: int = 0
    """Bytes received after the request, including frame headers."""
    bytes_out: int = 0
    """Bytes that the transport has taken, including the answer to the request."""
    messages_dropped: int = 0
    """Of `messages_in`, those that neither a guard nor the handler has received, without having asked for that."""


@final
class Inbound:
    """How much has come from the peer so far, and when something last came, on Trio's clock."""

    __slots__ = (
        "allowed",
        "bytes",
        "finished_at",
        "heard_at",
        "invalid",
        "message_at",
        "messages",
        "messages_of_guards",
    )

    def __init__(self) -> None:
        """Begin with nothing received."""
        self.messages = 0
        """Messages received."""
        self.invalid = 0
        """Of the messages, the last ones that were invalid in a row, as who decodes them has found."""
        self.messages_of_guards = 0
        """Of these, those that guards have taken."""
        self.bytes = 0
        """Bytes received."""
        self.allowed = math.inf
        """The number of `bytes` above which nothing more is read; see `refuse`."""
        self.finished_at = math.inf
        """When the peer was found to have closed its side while reading was paused."""
        self.heard_at = -math.inf
        """When bytes last came after the upgrade, even one; ``-inf`` if none has."""
        self.message_at = -math.inf
        """When a message last came; ``-inf`` if none has."""

    def refuse(self) -> None:
        """Let at most `MOST_OF_STRANGERS` bytes more come, because the guards have refused the peer."""
        self.allowed = min(self.allowed, self.bytes + MOST_OF_STRANGERS)
