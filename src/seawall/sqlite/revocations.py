"""`SqliteRevocations`: what has been revoked, for several processes of one machine, and for later ones."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias, final

import trio

from seawall.clock import unix_time
from seawall.connection.revocation_store import MAX_REVOCATIONS, Revocation, merged
from seawall.errors import Unavailable
from seawall.sqlite.database import Database
from seawall.sqlite.schema import read, written

if TYPE_CHECKING:
    import sqlite3

#: Seconds between two looks at what other processes have added.
LOOKS_EVERY: Final = 0.25

#: Entries that are read, or forgotten, at once.
AT_ONCE: Final = 500

_READ: Final = """
    SELECT id, issuer, subject, session_id, token_id, issued_before, revoked_at, forgotten_at FROM revocations
    WHERE id > ? ORDER BY id LIMIT ?"""


@final
class SqliteRevocations(trio.abc.AsyncResource):
    """A `RevocationStore` in a file: what was revoked stays revoked after a restart, and in every process that has it.

    ::

        app = App(revocations=SqliteRevocations("logins.db"))

    What `add` has returned from outlives the process, and a loss of power as far as the disk keeps what it has
    acknowledged. Other processes of this machine know it within a second. `SqliteSessions` and `SqliteTickets` can have
    the same file. It lies on a local disk, and only the user who has made it can read it.

    There is nothing to close: the file is open, in a thread of its own, from the first use until the run of Trio ends;
    ``async with`` and `aclose` end that earlier. In virtual time (`trio.testing.MockClock`) nobody waits for a thread:
    test with `MemoryRevocations`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Make the file if it is missing, with the mode 0600; if it is there, read it through.

        Args:
          path: the file; its directory has to be there.

        Raises:
          ConfigurationError: the file cannot be made or opened, others may read it, or it is damaged, empty, of another
            program or of a newer Seawall; or this Python has no SQLite, or one before 3.35.
        """
        self._database = Database("SqliteRevocations", path)

    async def load(self) -> tuple[Revocation, ...]:
        """All whose time has not come.

        Raises:
          Unavailable: the file cannot be read.
        """
        rows = _Rows(self._database, 0)
        now = unix_time()
        found: list[Revocation] = []
        while some := await rows.take():
            found += (one for one in some if one.forgotten_at > now)
        return tuple(found)

    async def add(self, revocation: Revocation) -> None:
        """Store `revocation`, and return when it outlives whatever happens. If this is cancelled, it may be stored.

        Raises:
          Unavailable: there are 100,000, and no one's time has come; the disk is full; or another process has been
            writing for 5 seconds.
        """
        now = unix_time()
        await self._database.write(lambda connection: _add(connection, revocation, now))

    @asynccontextmanager
    async def changes(self) -> AsyncGenerator[AsyncIterator[Revocation]]:
        """What is added from now on, also by this process; it is looked for four times a second."""
        last = await self._database.read(_last)
        yield _Changes(_Rows(self._database, last))

    async def aclose(self) -> None:
        """Close the file; a later use opens it again. What waits for it is `Unavailable`."""
        await self._database.aclose()


@final
class _Rows:
    """The entries of the file, in the order in which they were added, and some at a time."""

    def __init__(self, database: Database, last: int) -> None:
        self._database = database
        self._last = last

    async def take(self) -> list[Revocation]:
        """The next ones; none if there are no more as yet."""
        found = await self._database.read(self._read)
        if found:
            self._last = found[-1][0]
        return [revocation for _, revocation in found]

    def _read(self, connection: sqlite3.Connection) -> list[tuple[int, Revocation]]:
        rows = connection.execute(_READ, (self._last, AT_ONCE)).fetchall()
        return [(row[0], _revocation(row[1:])) for row in rows]


@final
class _Changes(AsyncIterator[Revocation]):
    """What comes after others, for ever."""

    def __init__(self, rows: _Rows) -> None:
        self._rows = rows
        self._found = deque[Revocation]()

    async def __anext__(self) -> Revocation:
        if self._found:
            await trio.lowlevel.checkpoint()
        while not self._found:
            await trio.sleep(LOOKS_EVERY)
            self._found += await self._rows.take()
        return self._found.popleft()


def _add(connection: sqlite3.Connection, revocation: Revocation, now: float) -> None:
    connection.execute(
        "DELETE FROM revocations WHERE id IN (SELECT id FROM revocations WHERE forgotten_at <= ? LIMIT ?)",
        (now, AT_ONCE),
    )
    for known in _taken_out(connection, revocation):
        revocation = merged(known, revocation)
    (count,) = connection.execute("SELECT count(*) FROM revocations").fetchone()
    if count >= MAX_REVOCATIONS:
        raise Unavailable(f"{MAX_REVOCATIONS} revocations are stored, and none has had its time")
    _insert(connection, revocation)


def _taken_out(connection: sqlite3.Connection, revocation: Revocation) -> list[Revocation]:
    """Those of the same names: they come back as one, which is new, so that whoever follows sees it."""
    rows = connection.execute(
        """DELETE FROM revocations WHERE subject IS ? AND session_id IS ? AND token_id IS ? AND issuer IS ?
        AND (revoked_at IS NULL) = ?
        RETURNING issuer, subject, session_id, token_id, issued_before, revoked_at, forgotten_at""",
        (
            *(_written(name) for name in (revocation.subject, revocation.session_id)),
            *(_written(name) for name in (revocation.token_id, revocation.issuer)),
            revocation.revoked_at is None,
        ),
    ).fetchall()
    return [_revocation(row) for row in rows]


def _insert(connection: sqlite3.Connection, revocation: Revocation) -> None:
    names = (revocation.issuer, revocation.subject, revocation.session_id, revocation.token_id)
    connection.execute(
        """INSERT INTO revocations (issuer, subject, session_id, token_id, issued_before, revoked_at, forgotten_at)
        VALUES (?, ?, ?, ?, ?, ?, ?)""",
        (
            *(_written(name) for name in names),
            revocation.issued_before,
            revocation.revoked_at,
            revocation.forgotten_at,
        ),
    )


def _last(connection: sqlite3.Connection) -> int:
    """The id that the newest entry has. Those of later ones are higher, whatever is deleted."""
    last: int
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM revocations").fetchone()
    return last


_Row: TypeAlias = tuple[bytes | None, bytes | None, bytes | None, bytes | None, float, float | None, float]


def _revocation(row: _Row) -> Revocation:
    issuer, subject, session_id, token_id, issued_before, revoked_at, forgotten_at = row
    return Revocation(
        issuer=_read(issuer),
        subject=_read(subject),
        session_id=_read(session_id),
        token_id=_read(token_id),
        issued_before=issued_before,
        revoked_at=revoked_at,
        forgotten_at=forgotten_at,
    )


def _written(name: str | None) -> bytes | None:
    return None if name is None else written(name)


def _read(name: bytes | None) -> str | None:
    return None if name is None else read(name)
