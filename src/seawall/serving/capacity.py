"""`Capacity`: how many connections a server has room for, and which of them count."""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol, final

from seawall.http.response import SerializedResponse, refusal
from seawall.limits import Limits
from seawall.serving.eviction import EvictionQueue, Waiting
from seawall.wire.transport.sockets import network_of

#: The headers of a refusal for lack of capacity: after how many seconds the client may try again.
RETRY: Final = (("Retry-After", "5"),)

#: Connections above a limit that are sent an HTTP response at the same time; further ones are closed without one.
MAX_OVER_CAPACITY: Final = 100


#: What a connection reads that is one too many of all, or that has given way to another.
TOO_MANY: Final = refusal(503, "too many connections", headers=RETRY)

#: Seconds that a connection has to have waited to give way where all ``max_connections`` are taken. There may then be
#: one place for all who want to be let in, and who has just got it must be able to come through.
SETTLED: Final = 1.0


class Occupant(Protocol):
    """The connection in a place."""

    def is_waiting(self, seconds: float, /) -> bool:
        """Whether it has been there for `seconds`, and still waits for what it said that it waits for."""
        ...

    def evict(self) -> None:
        """End it: its place is somebody else's now."""
        ...


@final
class Place:
    """The place of one connection among those of its server."""

    __slots__ = ("_address", "_capacity", "_is_unauthenticated", "_network", "_occupant", "is_dropped", "refusal")

    def __init__(self, capacity: Capacity, address: str, refusal: SerializedResponse | None) -> None:
        """`Capacity.admit` makes one."""
        self._capacity: Capacity | None = capacity
        self._address = address
        self._network: str | None = None
        self._is_unauthenticated = refusal is None
        self._occupant: Occupant | None = None
        self.refusal = refusal
        """The response for a connection above a limit, which is sent at once; None if the connection is served."""
        self.is_dropped = False
        """Whether it is closed without that response, because `MAX_OVER_CAPACITY` others are sent theirs."""

    @property
    def network(self) -> str:
        """What is counted as one address."""
        if self._network is None:
            self._network = network_of(self._address)
        return self._network

    def wait(self, what: Waiting, occupant: Occupant | None = None) -> None:
        """Let the connection give way to others from now on; `occupant` is told, and is given the first time."""
        self._occupant = occupant or self._occupant
        if self._capacity is not None and self._is_unauthenticated:
            self._capacity.waiting.add(self, what)

    def work(self) -> None:
        """Do not let it give way, because it does not wait for its peer any more. May be called more than once."""
        if self._capacity is not None and self._is_unauthenticated:
            self._capacity.waiting.discard(self)

    def authenticated(self) -> None:
        """Count the connection as authenticated: its guards have let it in."""
        self.work()
        self._occupant = None  # a reference cycle would be left to the garbage collector
        if self._capacity is not None and self._is_unauthenticated:
            self._is_unauthenticated = False
            self._capacity.unauthenticated -= 1

    def leave(self) -> None:
        """Count the connection no more. May be called more than once."""
        if self._capacity is not None:
            if self._is_unauthenticated:
                self.authenticated()
            self._capacity.release(self, is_refused=self.refusal is not None)
            self._capacity = None

    def give_way(self, seconds: float) -> bool:
        """End the connection, if it has waited for `seconds` and still waits. False if it does not give way."""
        capacity, occupant = self._capacity, self._occupant
        if capacity is None or occupant is None or not occupant.is_waiting(seconds):
            return False
        self.authenticated()
        capacity.release(self, is_refused=False)
        self.refusal = TOO_MANY
        if capacity.over_capacity >= MAX_OVER_CAPACITY:
            self._capacity, self.is_dropped = None, True
        else:
            capacity.over_capacity += 1
        occupant.evict()
        return True


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
        self.waiting = EvictionQueue(few=limits.max_unauthenticated // 2)
        """Of the unauthenticated, those that wait for their peers."""
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
            return Place(self, address, refused)
        self.admitted += 1
        self.unauthenticated += 1
        if network:
            self.per_network[network] += 1
        return Place(self, address, None)

    def release(self, place: Place, *, is_refused: bool) -> None:
        """Count one connection less; `place` calls it."""
        if is_refused:
            self.over_capacity -= 1
            return
        self.admitted -= 1
        network = "" if self._limits.max_connections_per_address is None else place.network
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
        if self.admitted >= limits.max_connections and not self._make_room(SETTLED):
            return TOO_MANY
        if self.unauthenticated >= limits.max_unauthenticated and not self._make_room(0):
            return TOO_MANY
        return None

    def _make_room(self, seconds: float) -> bool:
        """Have one connection give way that has waited for so long; False if none does."""
        while isinstance(place := self.waiting.first(), Place):
            if place.give_way(seconds):
                return True
            if seconds:
                return False
            place.work()  # what it waited for has come, though its guard has not seen that yet
        return False
