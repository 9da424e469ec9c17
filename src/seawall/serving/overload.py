"""How a connection gives way to another because too many are open that have not been let in."""

from __future__ import annotations

from typing import final

import trio
from attrs import define

from seawall.connection.lifecycle import Lifecycle
from seawall.policy.ending import Cause, End, Ends
from seawall.serving.capacity import TOO_MANY
from seawall.serving.closing import Closing
from seawall.serving.eviction import Waiting
from seawall.serving.settlement import Settlement
from seawall.serving.state import AcceptedConnection
from seawall.wire.transport.lingering import LINGER


@final
@define(eq=False)
class Candidate:
    """A connection that may have to give way: the `Occupant` of its place."""

    _incoming: AcceptedConnection
    _lifecycle: Lifecycle
    _settlement: Settlement
    _closing: Closing

    def begin(self) -> None:
        """Let it give way to others from now on, while its request is not whole."""
        self._incoming.place.wait(Waiting.REQUEST, self)

    def is_waiting(self, seconds: float) -> bool:
        """Whether it has been there for `seconds`, and nothing has come that its guard has not seen."""
        if self._lifecycle.ended is not None or trio.current_time() - self._incoming.at < seconds:
            return False
        return self._closing.channel is None or len(self._closing.channel.queue) == 0

    def evict(self) -> None:
        """End it, because its place has been given to another: HTTP 503, or close code 1013 after the upgrade.

        It is closed within `LINGER` seconds, or at once and without an answer if `Place.is_dropped` says so.
        """
        is_upgraded = self._closing.is_upgraded
        code = 1013 if is_upgraded else TOO_MANY.status
        self._settlement.end_by(Ends(End(Cause.OVERLOAD, code, TOO_MANY.text), TOO_MANY))
        if is_upgraded:
            self._lifecycle.limit_closing(LINGER)
            if self._incoming.place.is_dropped:
                self._closing.abort_channel()
