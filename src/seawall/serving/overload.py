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

    @property
    def seconds(self) -> float:
        """For how long it has been there."""
        return trio.current_time() - self._incoming.at

    def is_waiting(self, what: Waiting) -> bool:
        """Whether it still waits for `what`: nothing has come that its guard has not seen."""
        if what is Waiting.CLOSING or self._lifecycle.ended is not None:
            return what is Waiting.CLOSING and not self._lifecycle.is_closed
        channel = self._closing.channel
        return channel is None or what is not Waiting.MESSAGE or len(channel.queue) == 0

    def evict(self) -> None:
        """End it, because its place has been given to another: HTTP 503, or close code 1013 after the upgrade.

        It is closed within `LINGER` seconds, or at once and without an answer if `Place.is_dropped` says so, as it
        does where another answer has been given.
        """
        is_upgraded = self._closing.is_upgraded
        code = 1013 if is_upgraded else TOO_MANY.status
        self._settlement.end_by(Ends(End(Cause.OVERLOAD, code, TOO_MANY.text), TOO_MANY))
        if self._incoming.place.is_dropped:
            self._closing.cut_short()
        elif is_upgraded:
            self._lifecycle.limit_closing(LINGER)
