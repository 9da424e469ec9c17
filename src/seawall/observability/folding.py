"""`EndFolder`: which of the lines about connections that have ended are logged, and which are only counted.

Whoever can reach the server can make as many connections as it likes end in a way that is a WARNING: refused, broken,
failed in a guard, a page or a handler, too slow, left with messages unread. Of each network ten of a kind are logged in
a minute. The kinds are counted apart, so that a storm of refusals hides no failure.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, final

from attrs import define, field

from seawall.observability.logs import connection_log
from seawall.observability.outcome import Outcome
from seawall.observability.sampling import Kind, LogSampler
from seawall.policy.ending import Cause, End, Party
from seawall.printable import safe
from seawall.wire.transport.sockets import network_of

#: The causes that are not logged as warnings, because nothing has failed.
ORDINARY: Final = frozenset(
    {
        Cause.ANSWERED,
        Cause.RETURNED,
        Cause.CLOSED,
        Cause.ENDED,
        Cause.PEER_CLOSED,
        Cause.PEER_VANISHED,
        Cause.LEASE_EXPIRED,
        Cause.REVOKED,
        Cause.KICKED,
        Cause.REPLACED,
        Cause.IDLE,
        Cause.LIFETIME,
        Cause.KEEPALIVE,
        Cause.DRAINED,
        Cause.STOPPED,
    }
)

_REFUSED: Final = "were refused"

#: What is said of the connections that have no line of their own, by cause: of all causes that are warnings.
FOLDED: Final = {
    Cause.REFUSED: _REFUSED,
    Cause.OVERLOAD: _REFUSED,
    Cause.VIOLATION: _REFUSED,
    Cause.INVALID_MESSAGES: _REFUSED,
    Cause.FAILED: "failed",
    Cause.MESSAGE_TIMEOUT: "were too slow",
    Cause.SLOW_CONSUMER: "were too slow",
    Cause.MESSAGES_LOST: "were too slow",
}

_UNREAD: Final = "ended with messages that nobody received"


def level_of(ended: End | Outcome, dropped: int) -> int:
    """The level of the line about a connection that has ended so, with so many messages dropped."""
    if ended.silent:
        return logging.DEBUG
    # A peer that ends the connection believes that what it has sent before has been received.
    is_lossy = dropped > 0 and ended.cause.by is Party.PEER
    return logging.INFO if ended.cause in ORDINARY and not is_lossy else logging.WARNING


def log_folded(network: Kind, how: str, folded: int) -> None:
    """Log how many connections of a network have ended as `how` says, without a line of their own; nothing if 0."""
    if folded:
        (name,) = network
        connection_log.log(
            logging.WARNING,
            "%d more connections from %s %s and are not in the log",
            folded,
            safe(name),
            how,
            fields={"folded": folded, "network": name},
        )


@final
@define(eq=False)
class EndFolder:
    """Decides which lines are logged. `flush` has to be called some time after `on_folded` has been."""

    _on_folded: Callable[[], None]
    """Is called when a line is not logged."""
    _samplers: dict[str, LogSampler] = field(init=False, factory=dict[str, LogSampler])

    def admits(self, outcome: Outcome, now: float) -> bool:
        """Whether the line about `outcome` is to be logged; if not, it is counted. `now` is in seconds, on any clock.

        How many have been counted before is logged first.
        """
        how = _folded_as(outcome)
        if how is None:
            return True
        if not connection_log.shows(level_of(outcome, outcome.messages_dropped)):
            return False
        sampler = self._samplers.setdefault(how, LogSampler())
        network = (network_of(outcome.peer) or outcome.peer,)
        if not sampler.admits(network, now):
            self._on_folded()
            return False
        log_folded(sampler.counted_as(network), how, sampler.take_suppressed(network))
        return True

    def flush(self) -> None:
        """Log how many have been counted since that was logged last."""
        for how, sampler in self._samplers.items():
            for network in sampler.kinds():
                log_folded(network, how, sampler.take_suppressed(network))


def _folded_as(outcome: Outcome) -> str | None:
    """With which others the line is counted; None if it always has its own."""
    if outcome.silent:
        return None
    if outcome.cause is Cause.PEER_VANISHED and not outcome.route:  # in the middle of its request
        return _REFUSED
    if level_of(outcome, outcome.messages_dropped) < logging.WARNING:
        return None
    return FOLDED.get(outcome.cause, _UNREAD)
