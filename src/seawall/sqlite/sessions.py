"""`SqliteSessions`: who is logged in, for several processes of one machine, and for later ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, final

import trio

from seawall.errors import Unavailable
from seawall.login.session_store import Rotated, Rotation, StoredSession, rotate
from seawall.mistakes import check_counts
from seawall.sqlite.database import Database
from seawall.sqlite.schema import read, written

if TYPE_CHECKING:
    import sqlite3

#: Sessions that have ended which go at once, when another one begins.
AT_ONCE: Final = 1_000

_READ: Final = """
    SELECT session_id, issuer, subject, claims, ends_at, family, current, previous, used_at FROM sessions
    WHERE family = ?"""

_ADD: Final = """
    INSERT INTO sessions (session_id, issuer, subject, claims, ends_at, family, current, previous, used_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_DELETE_ENDED: Final = """
    DELETE FROM sessions WHERE family IN (SELECT family FROM sessions WHERE ends_at <= ? LIMIT ?)"""

_DELETE_UNUSED: Final = """
    DELETE FROM sessions WHERE family IN (
        SELECT family FROM sessions WHERE issuer = ? AND subject = ? ORDER BY used_at DESC LIMIT -1 OFFSET ?)"""


@final
class SqliteSessions(trio.abc.AsyncResource):
    """A `SessionStore` in a file: who is logged in stays so after a restart, and is in every process that has it.

    ::

        issuer = TokenIssuer(key, issuer="https://chat.example", audience="chat", store=SqliteSessions("logins.db"))

    What a method has returned from outlives the process, and a loss of power as far as the disk keeps what it has
    acknowledged. `SqliteRevocations` and `SqliteTickets` can have the same file. It lies on a local disk, only the user
    who has made it can read it, and who does cannot tell a token by it.

    There is nothing to close: the file is open from the first use until the run of Trio ends, in a thread that all its
    stores share; ``async with`` and `aclose` end that earlier. In virtual time (`trio.testing.MockClock`) nobody waits
    for a thread: test with `MemorySessions`.
    """

    def __init__(self, path: str | os.PathLike[str], *, at_most: int = 100_000, per_subject: int = 100) -> None:
        """Make the file if it is missing, with the mode 0600; if it is there, read it through.

        Args:
          path: the file; its directory has to be there.
          at_most: how many sessions there may be; while there are, another one is `Unavailable`.
          per_subject: how many a subject may have. One more takes the place of the one that was used longest ago.

        Raises:
          ConfigurationError: one of the numbers is less than 1; the file cannot be made or opened, others may read it,
            or it is damaged, empty, of another program or of a newer Seawall; or this Python has no SQLite, or one
            before 3.35.
        """
        check_counts("SqliteSessions", "sessions", at_most=at_most, per_subject=per_subject)
        self._at_most = at_most
        self._per_subject = per_subject
        self._database = Database("SqliteSessions", path)

    async def add(self, session: StoredSession, /) -> None:
        """Store a new session.

        Raises:
          Unavailable: there are `at_most`; or the file cannot be written now.
        """
        await self._database.write(lambda connection: self._add(connection, session))

    async def rotate(self, family: bytes, presented: bytes, successor: bytes, now: float, /) -> Rotation:
        """Do what the function `rotate` says about the session of this family.

        Raises:
          Unavailable: the file cannot be written now.
        """
        decide = partial(rotate, presented=presented, successor=successor, now=now)
        return await self._database.write(lambda connection: _rotate(connection, family, decide))

    async def delete(self, session_id: str, /) -> None:
        """Delete the session of this id, if there is one.

        Raises:
          Unavailable: the file cannot be written now.
        """
        name = written(session_id)
        await self._database.write(lambda connection: _delete(connection, name))

    async def delete_subject(self, issuer: str, subject: str, /) -> tuple[str, ...]:
        """Delete all sessions of a subject of an issuer, and return the ids that they had.

        Raises:
          Unavailable: the file cannot be written now.
        """
        owner = (written(issuer), written(subject))
        return await self._database.write(lambda connection: _delete_of(connection, owner))

    async def aclose(self) -> None:
        """Close the file, if no other store has it open; a later use opens it again. What waits is `Unavailable`."""
        await self._database.aclose()

    def _add(self, connection: sqlite3.Connection, session: StoredSession) -> None:
        connection.execute(_DELETE_ENDED, (session.used_at, AT_ONCE))
        owner = (written(session.issuer), written(session.subject))
        connection.execute(_DELETE_UNUSED, (*owner, self._per_subject - 1))
        (count,) = connection.execute("SELECT count(*) FROM sessions").fetchone()
        if count >= self._at_most:
            raise Unavailable(f"there are {self._at_most} sessions already")
        connection.execute(_ADD, _row(session))


def _rotate(connection: sqlite3.Connection, family: bytes, decide: Callable[[StoredSession], Rotation]) -> Rotation:
    row = connection.execute(_READ, (family,)).fetchone()
    if row is None:
        return None
    session = _session(row)
    rotation = decide(session)
    if not isinstance(rotation, Rotated):
        connection.execute("DELETE FROM sessions WHERE family = ?", (family,))
    elif rotation.session != session:
        changed = rotation.session
        connection.execute(
            "UPDATE sessions SET current = ?, previous = ?, used_at = ? WHERE family = ?",
            (changed.current, changed.previous, changed.used_at, family),
        )
    return rotation


def _delete(connection: sqlite3.Connection, session_id: bytes) -> None:
    connection.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))


def _delete_of(connection: sqlite3.Connection, owner: tuple[bytes, bytes]) -> tuple[str, ...]:
    rows = connection.execute("DELETE FROM sessions WHERE issuer = ? AND subject = ? RETURNING session_id", owner)
    return tuple(read(session_id) for (session_id,) in rows.fetchall())


_Row: TypeAlias = tuple[bytes, bytes, bytes, bytes, float, bytes, bytes, bytes | None, float]


def _row(session: StoredSession) -> _Row:
    return (
        written(session.session_id),
        written(session.issuer),
        written(session.subject),
        written(session.claims),
        session.ends_at,
        session.family,
        session.current,
        session.previous,
        session.used_at,
    )


def _session(row: _Row) -> StoredSession:
    session_id, issuer, subject, claims, ends_at, family, current, previous, used_at = row
    return StoredSession(
        session_id=read(session_id),
        issuer=read(issuer),
        subject=read(subject),
        claims=read(claims),
        ends_at=ends_at,
        family=family,
        current=current,
        previous=previous,
        used_at=used_at,
    )
