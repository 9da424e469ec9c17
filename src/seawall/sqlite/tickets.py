"""`SqliteTickets`: tickets that one process of a machine issues, and another takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

import trio

from seawall.connection.ticket_store import (
    LIFETIME,
    MAX_PER_SUBJECT,
    MAX_TICKETS,
    SKEW,
    StoredTicket,
    retry_after,
)
from seawall.errors import TooManyRequests, Unavailable
from seawall.mistakes import check_counts
from seawall.sqlite.database import Database
from seawall.sqlite.schema import read, written

if TYPE_CHECKING:
    import sqlite3

_COUNT: Final = "SELECT count(*), min(expires_at) FROM tickets"


@final
class SqliteTickets(trio.abc.AsyncResource):
    """A `TicketStore` in a file: for several processes behind one proxy, of which any may be asked to take a ticket.

    ::

        app = App(tickets=SqliteTickets("logins.db"))

    It has the tokens that the tickets stand for, and whoever can read it can use them while they are good. Only the
    user who has made it can; what is deleted is overwritten there, and a little later in what SQLite writes beside it.
    `SqliteRevocations` and `SqliteSessions` can have the same file. It lies on a local disk.

    There is nothing to close: the file is open from the first use until the run of Trio ends, in a thread that all its
    stores share; ``async with`` and `aclose` end that earlier. In virtual time (`trio.testing.MockClock`) nobody waits
    for a thread: test with `MemoryTickets`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, at_most: int = MAX_TICKETS, per_subject: int = MAX_PER_SUBJECT
    ) -> None:
        """Make the file if it is missing, with the mode 0600; if it is there, read it through.

        Args:
          path: the file; its directory has to be there.
          at_most: how many there may be that have neither been presented nor ended.
          per_subject: how many of them one subject may have.

        Raises:
          ConfigurationError: one of the numbers is less than 1; the file cannot be made or opened, others may read it,
            or it is damaged, empty, of another program or of another version of Seawall; or this Python has no SQLite,
            or one before 3.35.
        """
        check_counts("SqliteTickets", "tickets", at_most=at_most, per_subject=per_subject)
        self._at_most = at_most
        self._per_subject = per_subject
        self._database = Database("SqliteTickets", path)

    async def put(self, digest: bytes, ticket: StoredTicket, now: float, /) -> None:
        """Store a ticket.

        Raises:
          TooManyRequests: its owner has `per_subject`.
          Unavailable: there are `at_most`; or the file cannot be written now.
        """
        await self._database.write(lambda connection: self._put(connection, digest, ticket, now))

    async def take(self, digest: bytes, /) -> StoredTicket | None:
        """Delete a ticket and return it. If this is cancelled, it may be gone.

        Raises:
          Unavailable: the file cannot be written now.
        """
        # Anybody may ask for any: what is not there keeps nobody from writing.
        if not await self._database.read(lambda connection: _has(connection, digest)):
            return None
        return await self._database.write(lambda connection: _take(connection, digest))

    async def aclose(self) -> None:
        """Close the file, if no other store has it open; a later use opens it again. What waits is `Unavailable`."""
        await self._database.aclose()

    def _put(self, connection: sqlite3.Connection, digest: bytes, ticket: StoredTicket, now: float) -> None:
        # What `has_ended` says.
        connection.execute("DELETE FROM tickets WHERE expires_at <= ? OR expires_at > ?", (now, now + LIFETIME + SKEW))
        count, first = connection.execute(f"{_COUNT} WHERE owner = ?", (ticket.owner,)).fetchone()
        if count >= self._per_subject:
            raise TooManyRequests("too many tickets of one subject", retry_after=retry_after(first, now))
        count, first = connection.execute(_COUNT).fetchone()
        if count >= self._at_most:
            raise Unavailable(f"there are {self._at_most} tickets", retry_after=retry_after(first, now))
        connection.execute(
            "INSERT INTO tickets (digest, token, owner, route, expires_at) VALUES (?, ?, ?, ?, ?)",
            (digest, written(ticket.token), ticket.owner, written(ticket.route), ticket.expires_at),
        )


def _has(connection: sqlite3.Connection, digest: bytes) -> bool:
    return connection.execute("SELECT 1 FROM tickets WHERE digest = ?", (digest,)).fetchone() is not None


def _take(connection: sqlite3.Connection, digest: bytes) -> StoredTicket | None:
    rows = connection.execute(
        "DELETE FROM tickets WHERE digest = ? RETURNING token, owner, route, expires_at", (digest,)
    ).fetchall()
    for token, owner, route, expires_at in rows:
        return StoredTicket(token=read(token), owner=owner, route=read(route), expires_at=expires_at)
    return None
