"""`Capacity`: how many connections a server has room for, and which of them count."""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol, final

import trio

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

#: Seconds after which a connection gives way to any other. Before that it does not to one whose address has more, nor,
#: where all ``max_connections`` are taken, to one whose address would then have more: there may be one place for all
#: who want to be let in, and who has just got it must be able to come through.
SETTLED: Final = 1.0


#: Turns of the scheduler in which a request that has come is read, and its guards, if they do not wait, have decided or
#: ask for a message.
TURNS: Final = 16


class Occupant(Protocol):
    """The connection in a place."""

    @property
    def seconds(self) -> float:
        """For how long it has been there."""
        ...

    def is_waiting(self, what: Waiting, /) -> bool:
        """Whether it still waits for what it said that it waits for."""
        ...

    def evict(self) -> None:
        """End it: its place is somebody else's now."""
        ...


@final
class Place:
    """The place of one connection among those of its server."""

    __slots__ = (
        "_address",
        "_capacity",
        "_is_unauthenticated",
        "_network",
        "_occupant",
        "_waiting",
        "is_dropped",
        "refusal",
    )

    def __init__(self, capacity: Capacity, address: str, refusal: SerializedResponse | None) -> None:
        """`Capacity.admit` makes one."""
        self._capacity: Capacity | None = capacity
        self._address = address
        self._network: str | None = None
        self._is_unauthenticated = refusal is None
        self._occupant: Occupant | None = None
        self._waiting = Waiting.REQUEST
        self.refusal = refusal
        """The response for a connection above a limit, which is sent at once; None if the connection is served."""
        self.is_dropped = False
        """Whether it is closed without that response: it has had one, or `MAX_OVER_CAPACITY` others are sent theirs."""

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
            self._waiting = what
            self._capacity.waiting.put(self, what)

    def work(self) -> None:
        """Do not let it give way, because it does not wait for its peer any more. May be called more than once."""
        if self._capacity is not None and self._is_unauthenticated:
            self._capacity.waiting.put(self, Waiting.NOTHING)

    def authenticated(self) -> None:
        """Count the connection as authenticated: its guards have let it in."""
        self._occupant = None  # a reference cycle would be left to the garbage collector
        if self._capacity is not None and self._is_unauthenticated:
            self._is_unauthenticated = False
            self._capacity.unauthenticated -= 1
            self._capacity.waiting.discard(self)

    def leave(self) -> None:
        """Count the connection no more. May be called more than once."""
        if self._capacity is not None:
            if self._is_unauthenticated:
                self.authenticated()
            self._capacity.release(self)
            self._capacity = None

    @property
    def is_settled(self) -> bool:
        """Whether the connection may give way to any other: it has had an answer, or a second to come through."""
        return self._waiting is Waiting.CLOSING or (self._occupant is not None and self._occupant.seconds >= SETTLED)

    @property
    def is_waiting(self) -> bool:
        """Whether the connection still waits for its peer."""
        return self._occupant is None or self._occupant.is_waiting(self._waiting)

    def give_way(self, capacity: Capacity) -> None:
        """End the connection, because its place is needed; `capacity` calls it."""
        occupant = self._occupant
        self.authenticated()
        capacity.release(self)
        self.refusal = TOO_MANY
        self.is_dropped = self._waiting is Waiting.CLOSING or capacity.over_capacity >= MAX_OVER_CAPACITY
        capacity.evict(self)
        if occupant is not None:  # else it has not begun, and finds its `refusal` when it does
            occupant.evict()


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
        self.dropped = 0
        """Connections that have given way without that response, and are not over yet."""
        self.waiting = EvictionQueue(few=limits.max_unauthenticated // 2)
        """The unauthenticated, and which of them wait for their peers."""
        self.per_network: Counter[str] = Counter()
        """Connections by `network_of` their addresses, if ``max_connections_per_address`` is set."""

    async def settle(self) -> None:
        """Before one more connection is admitted, let those come through that are about to wait for their peers.

        It takes a few turns of the scheduler at most, and none while there is room, or one that can give way. Without
        them, who comes in the same moment as many others would find all places taken by those, and be refused.
        """
        limits = self._limits
        for _ in range(TURNS):
            is_full = self.admitted >= limits.max_connections or self.unauthenticated >= limits.max_unauthenticated
            if not is_full or not self.unauthenticated or self._next() is not None:
                break
            await trio.lowlevel.cancel_shielded_checkpoint()  # the connection has been accepted, and must be served

    def admit(self, address: str) -> Place | None:
        """Count a connection from `address`.

        Returns:
          Its place, with a refusal if a limit is reached. None if `MAX_OVER_CAPACITY` refused ones are open as well:
          the connection is then closed without a response.
        """
        network = "" if self._limits.max_connections_per_address is None else network_of(address)
        refused = self._refusal(network, address)
        if refused is not None:
            if self.over_capacity >= MAX_OVER_CAPACITY:
                return None
            self.over_capacity += 1
            return Place(self, address, refused)
        self.admitted += 1
        self.unauthenticated += 1
        if network:
            self.per_network[network] += 1
        place = Place(self, address, None)
        self.waiting.put(place, Waiting.REQUEST)
        return place

    def evict(self, place: Place) -> None:
        """Count one that has given way; `place` calls it, after `release`."""
        if place.is_dropped:
            self.dropped += 1
        else:
            self.over_capacity += 1

    def release(self, place: Place) -> None:
        """Count one connection less; `place` calls it."""
        if place.is_dropped:
            self.dropped -= 1
            return
        if place.refusal is not None:
            self.over_capacity -= 1
            return
        self.admitted -= 1
        network = "" if self._limits.max_connections_per_address is None else place.network
        if network:
            self.per_network[network] -= 1
            if not self.per_network[network]:
                del self.per_network[network]

    def _refusal(self, network: str, address: str) -> SerializedResponse | None:
        """The response to one more connection from `address`, if that is above a limit: its network's comes first."""
        limits = self._limits
        at_most = limits.max_connections_per_address
        if network and at_most is not None and self.per_network[network] >= at_most:
            return refusal(429, "too many connections from one address", headers=RETRY)
        if self.admitted >= limits.max_connections and not self._make_room(address, 2):
            return TOO_MANY
        if self.unauthenticated >= limits.max_unauthenticated and not self._make_room(address, 0):
            return TOO_MANY
        return None

    def _make_room(self, address: str, more: int) -> bool:
        """Have one connection give way to one from `address`; False if none does.

        One that has only just come gives way only where its network has so many `more` than the other.
        """
        if self.dropped >= max(MAX_OVER_CAPACITY, self._limits.max_unauthenticated):
            return False  # their guards are slow to clean up, and there must not be any number of them
        place, count = self._next(), self.waiting.count
        if place is None or not (place.is_settled or count(place.network) >= count(network_of(address)) + more):
            return False
        place.give_way(self)
        return True

    def _next(self) -> Place | None:
        """The connection that gives way next."""
        while isinstance(place := self.waiting.first(), Place):
            if place.is_waiting:
                return place
            place.work()  # what it waited for has come, though its guard has not seen that yet
        return None
