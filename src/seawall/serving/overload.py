"""How a connection gives way to another because too many are open that have not been let in."""

from __future__ import annotations

import trio

from seawall.connection.lifecycle import Lifecycle
from seawall.policy.ending import Cause, End, Ends
from seawall.serving.capacity import TOO_MANY
from seawall.serving.closing import Closing
from seawall.serving.settlement import Settlement
from seawall.serving.state import AcceptedConnection
from seawall.wire.transport.lingering import LINGER


def is_waiting(incoming: AcceptedConnection, lifecycle: Lifecycle, closing: Closing, seconds: float) -> bool:
    """Whether a connection that waits for its peer has done so for `seconds`, and nothing has come that is not seen."""
    if lifecycle.ended is not None or trio.current_time() - incoming.at < seconds:
        return False
    return closing.channel is None or len(closing.channel.queue) == 0


def give_way(incoming: AcceptedConnection, settlement: Settlement, lifecycle: Lifecycle, closing: Closing) -> None:
    """End a connection whose place has been given to another: HTTP 503, or close code 1013 after the upgrade.

    It is closed within `LINGER` seconds, or at once and without an answer if `Place.is_dropped` says so.
    """
    code = 1013 if closing.is_upgraded else TOO_MANY.status
    settlement.end_by(Ends(End(Cause.OVERLOAD, code, TOO_MANY.text), TOO_MANY))
    if closing.is_upgraded:
        lifecycle.limit_closing(LINGER)
        if incoming.place.is_dropped:
            closing.abort_channel()
