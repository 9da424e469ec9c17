"""`TicketStore`: where tickets are kept until they are presented; one in memory."""

from __future__ import annotations

from typing import Final, Protocol, final

import trio
from attrs import field, frozen

from seawall.errors import TooManyRequests, Unavailable
from seawall.mistakes import check_counts

#: Seconds for which a ticket is good.
LIFETIME: Final = 30.0

#: Seconds that the clocks of two machines with one store may differ.
SKEW: Final = 60.0

#: How many tickets there may be that have been neither presented nor ended: in all, and of one subject.
MAX_TICKETS: Final = 10_000
MAX_PER_SUBJECT: Final = 10


@final
@frozen(kw_only=True)
class StoredTicket:
    """What is stored of a ticket: not the ticket itself, but the token that it stands for."""

    token: str = field(repr=False)
    """Whoever can read a store can use this for as long as it is good."""
    owner: bytes = field(repr=False)
    """A digest of issuer and subject, by which tickets are counted."""
    route: str
    """The path of the route that takes it, with its placeholders: ``/rooms/{room}``."""
    expires_at: float
    """Unix time."""


class TicketStore(Protocol):
    """Keeps tickets: for several processes, of which one issues a ticket and another takes it."""

    async def put(self, digest: bytes, ticket: StoredTicket, now: float, /) -> None:
        """Store a new ticket, which is found by `digest`.

        First, those that `has_ended` says so of are deleted. All of it is one step.

        Args:
          digest: 32 bytes.
          ticket: what to store.
          now: Unix time.

        Raises:
          TooManyRequests: its owner has ten.
          Unavailable: there are 10,000; or it cannot be stored.
        """
        ...

    async def take(self, digest: bytes, /) -> StoredTicket | None:
        """Delete a ticket and return it, as one step: of two who ask at once, one gets it. None if there is none.

        One that has ended may be returned, too.

        Raises:
          Unavailable: the store cannot be asked.
        """
        ...


@final
class MemoryTickets:
    """A `TicketStore` in memory: other processes know none of them.

    An entry takes about a kilobyte, and the length of its token.
    """

    def __init__(self, *, at_most: int = MAX_TICKETS, per_subject: int = MAX_PER_SUBJECT) -> None:
        """Begin with none.

        Args:
          at_most: how many there may be that have neither been presented nor ended.
          per_subject: how many of them one subject may have.

        Raises:
          ConfigurationError: one of the numbers is less than 1.
        """
        check_counts("MemoryTickets", "tickets", at_most=at_most, per_subject=per_subject)
        self._at_most = at_most
        self._per_subject = per_subject
        self._tickets: dict[bytes, StoredTicket] = {}  # in the order in which they came, and end
        self._owned: dict[bytes, dict[bytes, None]] = {}  # by owner, in the same order

    def __len__(self) -> int:
        """How many there are, including those that have ended since the last one was put."""
        return len(self._tickets)

    async def put(self, digest: bytes, ticket: StoredTicket, now: float, /) -> None:
        """Store a ticket.

        Raises:
          TooManyRequests: its owner has `per_subject`.
          Unavailable: there are `at_most`.
        """
        await trio.lowlevel.checkpoint()
        while (first := next(iter(self._tickets), None)) and has_ended(self._tickets[first].expires_at, now):
            self._delete(first)
        owned = self._owned.get(ticket.owner, dict[bytes, None]())
        if len(owned) >= self._per_subject:
            raise TooManyRequests("too many tickets of one subject", retry_after=self._frees(owned, now))
        if len(self._tickets) >= self._at_most:
            raise Unavailable(f"there are {self._at_most} tickets", retry_after=self._frees(self._tickets, now))
        self._tickets[digest] = ticket
        self._owned.setdefault(ticket.owner, {})[digest] = None

    async def take(self, digest: bytes, /) -> StoredTicket | None:
        """Delete a ticket and return it."""
        await trio.lowlevel.checkpoint()
        return self._delete(digest) if digest in self._tickets else None

    def _delete(self, digest: bytes) -> StoredTicket:
        ticket = self._tickets.pop(digest)
        owned = self._owned[ticket.owner]
        del owned[digest]
        if not owned:
            del self._owned[ticket.owner]
        return ticket

    def _frees(self, digests: dict[bytes, StoredTicket] | dict[bytes, None], now: float) -> float:
        """When the first of them ends, in seconds."""
        return retry_after(self._tickets[next(iter(digests))].expires_at, now)


def has_ended(expires_at: float, now: float) -> bool:
    """Whether a ticket is good no more. One that ends too late was put before the clock was set back."""
    return not now < expires_at <= now + LIFETIME + SKEW


def retry_after(expires_at: float, now: float) -> float:
    """When to try again because a ticket is in the way, in seconds."""
    return max(1.0, expires_at - now)
