"""Connections to SQLite that fail, or end the process, between two statements; and what stores do meanwhile.

`sqlite3.connect` is replaced: whoever connects gets a connection that counts its statements, and has a place before and
behind each of them.
"""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Final, Protocol, final

import trio
from attrs import define, evolve

from seawall.sessions import Revocation, SqliteRevocations, SqliteSessions, SqliteTickets, StoredSession, StoredTicket

START: Final = 1_750_000_000.0

#: Where files are in memory, if somewhere: what a process leaves that ends is there without a disk, and syncing costs
#: nothing. None is where files are by default.
IN_MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Happening(Protocol):
    """What happens at a place."""

    def __call__(self, where: str) -> None:
        """Happen; `where` says between which statements."""


@final
@define
class Place:
    """One place among all that are passed."""

    number: int
    happening: Happening
    passed: list[str]
    """Where all has been."""

    def pass_by(self, where: str) -> None:
        """Let it happen, if this is the place."""
        self.passed.append(where)
        if len(self.passed) - 1 == self.number:
            self.happening(where)


def fail(where: str) -> None:
    """Fail as SQLite does when the disk is broken."""
    raise sqlite3.OperationalError(f"disk I/O error: {where}")


def die(where: str) -> None:
    """End the process as a signal would that cannot be handled."""
    os._exit(9)


@contextmanager
def at(number: int, happening: Happening) -> Generator[Place]:
    """Let `happening` happen at the place of this number, before or behind some statement, in the block."""
    place, connect = Place(number, happening, []), sqlite3.connect

    class Faulty(sqlite3.Connection):
        """Has places."""

        def execute(self, sql: str, parameters: Sequence[object] = (), /) -> sqlite3.Cursor:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride] # of ours
            place.pass_by(f"before {sql}")
            cursor = super().execute(sql, parameters)
            place.pass_by(f"behind {sql}")
            return cursor

    def connecting(database: str, *, uri: bool, timeout: float = 5.0, isolation_level: None) -> sqlite3.Connection:
        return connect(database, uri=uri, timeout=timeout, isolation_level=isolation_level, factory=Faulty)

    sqlite3.connect = connecting  # type: ignore[assignment] # as we call it
    try:
        yield place
    finally:
        sqlite3.connect = connect


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that is stored, but for the numbers of rows."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        columns = {
            "revocations": "issuer, subject, session_id, token_id, issued_before, revoked_at, forgotten_at",
            "sessions": "*",
            "tickets": "*",
        }
        return {
            name: sorted(connection.execute(f"SELECT {some} FROM {name}").fetchall(), key=repr)
            for name, some in columns.items()
        }
    finally:
        connection.close()


@final
class Stores:
    """The stores of one file, each made when it is used, and closed with the block."""

    def __init__(self, path: Path) -> None:
        """Those of a file."""
        self._path = path

    @cached_property
    def revocations(self) -> SqliteRevocations:
        """What has been revoked."""
        return SqliteRevocations(self._path)

    @cached_property
    def sessions(self) -> SqliteSessions:
        """Who is logged in, of few."""
        return SqliteSessions(self._path, at_most=10, per_subject=3)

    @cached_property
    def tickets(self) -> SqliteTickets:
        """What has been issued."""
        return SqliteTickets(self._path)

    async def __aenter__(self) -> Stores:
        """Nothing is open yet."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close those that have been used."""
        for each in list(vars(self).values()):
            if isinstance(each, trio.abc.AsyncResource):
                await each.aclose()


def digest(name: str) -> bytes:
    """What stands for a token, or for a family."""
    return name.encode().ljust(32, b".")


def session(name: str, *, begins: float = START) -> StoredSession:
    """One whose first token is 0."""
    return StoredSession(
        session_id=f"id of {name}",
        issuer="here",
        subject="ada",
        claims="{}",
        ends_at=START + 1000.0,
        family=digest(name),
        current=digest(f"{name} 0"),
        used_at=begins,
    )


def revocation(subject: str, *, until: float = math.inf) -> Revocation:
    """That of a subject."""
    return Revocation(subject=subject, issued_before=START, revoked_at=START, forgotten_at=until)


def ticket(name: str, at: float = 0.0) -> StoredTicket:
    """One that is issued so many seconds after the start."""
    return StoredTicket(token=name, owner=digest("owner"), route="/", expires_at=START + at + 30.0)


async def prepare(path: Path) -> None:
    """Store some of everything."""
    async with Stores(path) as stores:
        for one in (revocation("known"), revocation("forgotten", until=5.0), revocation("gone", until=6.0)):
            await stores.revocations.add(one)
        for name in "abc":
            await stores.sessions.add(session(name))
        await stores.sessions.add(evolve(session("ended"), subject="bob", ends_at=START + 1.0))
        await stores.sessions.rotate(digest("b"), digest("b 0"), digest("b 1"), START + 5.0)
        for name, at in (("early", -60.0), ("late", 0.0)):
            await stores.tickets.put(digest(name), ticket(name, at), START + at)


#: What is done at once, of which each is one step; they may share a transaction or not.
AT_ONCE: Final[tuple[Callable[[Stores], Awaitable[object]], ...]] = (
    lambda stores: stores.sessions.delete("id of a"),
    lambda stores: stores.sessions.add(evolve(session("new"), subject="bob")),
    lambda stores: stores.sessions.rotate(digest("b"), digest("b 1"), digest("b 2"), START + 20.0),
)

#: What these are called together.
SEVERAL: Final = "several at once"


async def _several(stores: Stores) -> None:
    async with trio.open_nursery() as nursery:
        for one in AT_ONCE:
            nursery.start_soon(one, stores)


async def _some(path: Path, several: Iterable[Callable[[Stores], Awaitable[object]]]) -> None:
    async with Stores(path) as stores:
        for one in several:
            await one(stores)


def between(prepared: Path, directory: Path, name: str) -> list[dict[str, list[tuple[object, ...]]]]:
    """What there may be when some of what is done at once has been done, and some not; nothing if it is one step."""
    found: list[dict[str, list[tuple[object, ...]]]] = []
    for size in range(1, len(AT_ONCE)) if name == SEVERAL else ():
        for chosen in combinations(range(len(AT_ONCE)), size):
            path = directory / f"some {chosen}.db"
            shutil.copy(prepared, path)
            trio.run(_some, path, [AT_ONCE[index] for index in chosen])
            found.append(contents(path))
    return found


def _rotating(name: str, step: int, now: float) -> Callable[[Stores], Awaitable[object]]:
    return lambda stores: stores.sessions.rotate(digest(name), digest(f"{name} {step}"), digest(f"{name} next"), now)


#: What is done with what has been prepared: each by itself is one step.
OPERATIONS: Final[dict[str, Callable[[Stores], Awaitable[object]]]] = {
    "revoke": lambda stores: stores.revocations.add(revocation("new")),
    "revoke again": lambda stores: stores.revocations.add(evolve(revocation("known"), revoked_at=START + 7.0)),
    "begin": lambda stores: stores.sessions.add(evolve(session("new", begins=START + 2.0), subject="bob")),
    "begin instead of another": lambda stores: stores.sessions.add(session("new", begins=START + 2.0)),
    "rotate": _rotating("a", 0, START + 9.0),
    "rotate again": _rotating("b", 0, START + 9.0),
    "reuse": _rotating("b", 0, START + 90.0),
    "rotate what has ended": _rotating("a", 0, START + 1000.0),
    "rotate what is unknown": _rotating("x", 0, START),
    "end": lambda stores: stores.sessions.delete("id of a"),
    "end all": lambda stores: stores.sessions.delete_subject("here", "ada"),
    "issue a ticket": lambda stores: stores.tickets.put(digest("new"), ticket("new"), START),
    "take a ticket": lambda stores: stores.tickets.take(digest("late")),
    "take what is no ticket": lambda stores: stores.tickets.take(digest("none")),
    SEVERAL: _several,
}


async def operate(path: Path, name: str) -> None:
    """Open the stores and do one of these."""
    async with Stores(path) as stores:
        await OPERATIONS[name](stores)
