"""`Capacity`: how many connections a server has room for, and which of them count."""

from __future__ import annotations

from collections import Counter
from typing import Final, final

from seawall.http.response import SerializedResponse, refusal
from seawall.limits import Limits
from seawall.wire.transport.sockets import network_of

#: The headers of a refusal for lack of capacity: after how many seconds the client may try again.
RETRY: Final = (("Retry-After", "5"),)

#: Connections above a limit that are sent an HTTP response at the same time; further ones are closed without one.
MAX_OVER_CAPACITY: Final = 100


@final
class Place:
    """The place of one connection among those of its server."""

    __slots__ = ("_capacity", "_is_unauthenticated", "_network", "refusal")

    def __init__(self, capacity: Capacity, network: str, refusal: SerializedResponse | None) -> None:
        """`Capacity.admit` makes one."""
        self._capacity: Capacity | None = capacity
        self._network = network
        self._is_unauthenticated = refusal is None
        self.refusal = refusal
        """The response for a connection above a limit, which is sent at once; None if the connection is served."""

    def authenticated(self) -> None:
        """Count the connection as authenticated: its guards have let it in."""
        if self._capacity is not None and self._is_unauthenticated:
            self._is_unauthenticated = False
            self._capacity.unauthenticated -= 1

    def leave(self) -> None:
        """Count the connection no more. May be called more than once."""
        if self._capacity is not None:
            self.authenticated()
            self._capacity.release(self._network, is_refused=self.refusal is not None)
            self._capacity = None


@final
class Capacity:
    """Counts the connections of one server, and says which is one too many."""

    def __init__(self, limits: Limits) -> None:
        """Begin with none."""
        self._limits = limits
        self.admitted = 0
        """Connections that are served, from being accepted until they are over."""
        self.unauthenticated = 0
        """Of these, those whose guards have not let them in yet."""
        self.over_capacity = 0
        """Connections above a limit that are being sent the response that says so."""
        self.per_network: Counter[str] = Counter()
        """Connections by `network_of` their addresses, if ``max_connections_per_address`` is set."""

    def admit(self, address: str) -> Place | None:
        """Count a connection from `address`.

        Returns:
          Its place, with a refusal if a limit is reached. None if `MAX_OVER_CAPACITY` refused ones are open as well:
          the connection is then closed without a response.
        """
        network = "" if self._limits.max_connections_per_address is None else network_of(address)
        refused = self._refusal(network)
        if refused is not None:
            if self.over_capacity >= MAX_OVER_CAPACITY:
                return None
            self.over_capacity += 1
            return Place(self, "", refused)
        self.admitted += 1
        self.unauthenticated += 1
        if network:
            self.per_network[network] += 1
        return Place(self, network, None)

    def release(self, network: str, *, is_refused: bool) -> None:
        """Count one connection less; `Place.leave` calls it."""
        if is_refused:
            self.over_capacity -= 1
            return
        self.admitted -= 1
        if network:
            self.per_network[network] -= 1
            if not self.per_network[network]:
                del self.per_network[network]

    def _refusal(self, network: str) -> SerializedResponse | None:
        """The response to one more connection from `network`, if that is above a limit: its own comes first."""
        limits = self._limits
        at_most = limits.max_connections_per_address
        if network and at_most is not None and self.per_network[network] >= at_most:
            return refusal(429, "too many connections from one address", headers=RETRY)
        if self.admitted >= limits.max_connections or self.unauthenticated >= limits.max_unauthenticated:
            return refusal(503, "too many connections", headers=RETRY)
        return None
