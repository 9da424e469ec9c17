"""The file of a store: how it is made, and what is refused, with what can be done about it."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import trio

from seawall import ConfigurationError, Unavailable
from seawall.sessions import SqliteRevocations, SqliteSessions, SqliteTickets
from tests.kit.faults import contents, prepare, revocation, session

Store: TypeAlias = SqliteRevocations | SqliteSessions | SqliteTickets

#: Each of them makes a file of the same kind.
MAKING: list[Callable[[str | os.PathLike[str]], Store]] = [SqliteRevocations, SqliteSessions, SqliteTickets]

posix = pytest.mark.skipif(os.name != "posix", reason="there are no modes")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with some of everything."""
    path = tmp_path / "logins.db"
    trio.run(prepare, path)
    return path


def mode(path: Path) -> int:
    """Who may read and write."""
    return stat.S_IMODE(path.stat().st_mode)


def in_directory(path: Path) -> set[str]:
    """The names of what is beside `path`, and its own."""
    return {each.name for each in path.parent.iterdir()}


@pytest.mark.parametrize("making", MAKING)
def test_it_is_made(making: Callable[[str | os.PathLike[str]], Store], tmp_path: Path) -> None:
    """Where it is missing, with nothing beside it; afterwards it is what it is, for every store."""
    path = tmp_path / "logins.db"
    for again in (making, SqliteRevocations, SqliteSessions, SqliteTickets):
        store = again(path)
        assert in_directory(path) == {"logins.db"}
        assert type(store).__name__ in repr(store)
    assert contents(path) == {"revocations": [], "sessions": [], "tickets": []}


def test_a_path_of_any_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text or a path; relative to where the program was then; with characters that mean something in a URI."""
    monkeypatch.chdir(tmp_path)
    one = SqliteSessions("which? #1 100%20.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    async def main() -> None:
        async with one:
            await one.add(session("s"))

    trio.run(main)
    assert len(contents(tmp_path / "which? #1 100%20.db")["sessions"]) == 1
    assert list(Path().iterdir()) == []


@posix
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_nobody_else_can_read_it(tmp_path: Path, mask: int) -> None:
    """Neither the file nor what lies beside it while it is open, whatever the mask of the process lets others do."""
    before = os.umask(mask)
    try:
        async with SqliteRevocations(tmp_path / "it.db") as store:
            await store.add(revocation("ada"))
            assert {name: mode(tmp_path / name) for name in in_directory(tmp_path / "it.db")} == {
                "it.db": 0o600,
                "it.db-wal": 0o600,
                "it.db-shm": 0o600,
            }
    finally:
        os.umask(before)
    assert in_directory(tmp_path / "it.db") == {"it.db"}


@posix
@pytest.mark.parametrize("others", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_what_others_can_read(file: Path, others: int) -> None:
    """It is refused, and not repaired: it may have been read."""
    file.chmod(others)
    with pytest.raises(ConfigurationError, match=rf"has the mode {others:04o}.*; chmod 600 {file}$"):
        SqliteSessions(file)
    assert mode(file) == others
    file.chmod(0o600)
    SqliteSessions(file)


@posix
def test_what_lies_beside_it(file: Path) -> None:
    """What a process has left beside it, when it was killed, has all that the last commits wrote."""
    connection = sqlite3.connect(file)
    connection.execute("DELETE FROM tickets")
    (log := file.with_name("logins.db-wal")).chmod(0o644)
    with pytest.raises(ConfigurationError, match=f"{log} has the mode 0644"):
        SqliteSessions(file)
    connection.close()


def refused(path: Path, match: str) -> None:
    """Every store says the same of it, and leaves it as it is."""
    before = path.read_bytes() if path.is_file() else b""
    for making in MAKING:
        with pytest.raises(ConfigurationError, match=match) as raised:
            making(path)
        assert str(raised.value).startswith(making.__name__)
        assert str(path) in str(raised.value) or str(path.parent) in str(raised.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_no_directory(tmp_path: Path) -> None:
    """It is not made: it may be a volume that is not mounted."""
    refused(tmp_path / "not" / "there.db", r"there is no directory \S+not; make it")
    assert not (tmp_path / "not").exists()


def test_a_directory(tmp_path: Path) -> None:
    """It is no file."""
    refused(tmp_path, "is no file; give the path of one")


@pytest.mark.parametrize("path", [None, "", b"", ":memory:", 5, Path], ids=str)
def test_no_path(path: object) -> None:
    """What is no path, and what SQLite would take for a database in memory."""
    with pytest.raises(ConfigurationError, match=r"give the path of a file on a local disk"):
        SqliteRevocations(path)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # as it may be


@pytest.mark.parametrize("store", [SqliteSessions, SqliteTickets])
@pytest.mark.parametrize("bound", ["at_most", "per_subject"])
@pytest.mark.parametrize("number", [0, -1, 1.5, True, "100"])
def test_bounds_that_are_none(
    tmp_path: Path, store: type[SqliteSessions | SqliteTickets], bound: str, number: object
) -> None:
    """A store for nobody is a mistake, which makes no file."""
    with pytest.raises(ConfigurationError, match=rf"{store.__name__}: {bound}={number!r}; give a number"):
        store(tmp_path / "logins.db", **{bound: number})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # as it may be
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 99])
def test_an_empty_file(file: Path, size: int) -> None:
    """There was something in it: no file of ours is ever empty, not for a moment."""
    os.truncate(file, size)
    refused(file, "is empty, or nearly: what was stored in it is lost; delete it, and a new one is made")


def test_no_database(tmp_path: Path) -> None:
    """It was never one, or its beginning is damaged."""
    path = tmp_path / "logins.db"
    path.touch(0o600)
    path.write_bytes(os.urandom(50_000))
    refused(path, "file is not a database; restore it from a backup, or move it away")


@pytest.mark.parametrize("page", range(14))
def test_a_damaged_file(file: Path, page: int) -> None:
    """On whatever page the damage is, if SQLite can tell."""
    content = bytearray(file.read_bytes())
    assert len(content) == 14 * 4096
    content[page * 4096 : page * 4096 + 200] = bytes(range(200))
    file.write_bytes(content)
    refused(file, "restore it from a backup, or move it away, and all that was stored in it is forgotten")


@pytest.mark.parametrize("size", [512, 4096, 8192, 30_000])
def test_a_file_that_was_cut_off(file: Path, size: int) -> None:
    """Likewise."""
    with file.open("r+b") as opened:
        opened.truncate(size)
    refused(file, "restore it from a backup, or move it away, and all that was stored in it is forgotten")


def test_a_log_without_its_file(file: Path) -> None:
    """Somebody has moved the file alone: the log has commits that a new file would not have, or worse, would."""
    connection = sqlite3.connect(file)
    connection.execute("DELETE FROM tickets")
    moved = file.rename(file.with_name("moved.db"))
    refused(file, "logins.db-wal is there without .*logins.db, which it belongs to: put that back")
    assert not file.exists()
    moved.rename(file)
    connection.close()
    SqliteSessions(file)


def changed(path: Path, *statements: str) -> None:
    """Change a database, as another program would."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    path.chmod(0o600)


def test_another_program(tmp_path: Path) -> None:
    """Its database is left alone, whether it says whose it is or not."""
    path = tmp_path / "other.db"
    changed(path, "CREATE TABLE sessions (id)")
    refused(path, "is a database of another program; give a file of its own")
    changed(path, "PRAGMA application_id = 77")
    refused(path, "is a database of another program; give a file of its own")


@pytest.mark.parametrize("version", [0, 2, 1000])
def test_another_version(file: Path, version: int) -> None:
    """What another Seawall has written is not understood, and so not touched."""
    changed(file, f"PRAGMA user_version = {version}")
    refused(file, rf"another version of Seawall \(its schema is {version}, and ours 1\); use that version")


def test_a_link(file: Path, tmp_path: Path) -> None:
    """It is followed, also where it leads to nothing as yet; what SQLite puts beside the file lies beside that."""
    (tmp_path / "elsewhere").mkdir()
    link, target = tmp_path / "link.db", tmp_path / "elsewhere" / "target.db"
    link.symlink_to(target)
    SqliteSessions(link)
    assert link.is_symlink()
    assert contents(target) == {"revocations": [], "sessions": [], "tickets": []}


def test_a_python_without_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be built so; what does not need it works, and what does says so."""
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    with pytest.raises(ConfigurationError, match=r"SqliteRevocations: this Python was built without sqlite3"):
        SqliteRevocations(tmp_path / "logins.db")


def test_an_old_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DELETE .. RETURNING came with 3.35."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    with pytest.raises(ConfigurationError, match=r"has SQLite 3\.34\.1; the oldest that will do is 3\.35"):
        SqliteRevocations(tmp_path / "logins.db")
    assert list(tmp_path.iterdir()) == []


def test_made_by_many_at_once(tmp_path: Path) -> None:
    """One of them makes it, and all have it."""
    path, failures, barrier = tmp_path / "logins.db", list[Exception](), threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        try:
            SqliteSessions(path)
        except Exception as error:  # noqa: BLE001 - whatever it is
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    # Of two that close it at the same moment each may leave it to the other to remove what lies beside it.
    assert in_directory(path) - {"logins.db-wal", "logins.db-shm"} == {"logins.db"}


async def test_removed_while_it_is_open(file: Path) -> None:
    """What would be written into a file that nobody can find again is `Unavailable`; and none is made instead."""
    async with SqliteSessions(file) as store:
        await store.delete("id of a")
        file.rename(moved := file.with_name("moved.db"))
        with pytest.raises(Unavailable, match=r"removed or replaced while it was open; restart"):
            await store.delete("id of b")
        with pytest.raises(Unavailable, match=r"not there any more; restart, and a new one is made"):
            await store.delete("id of b")
        assert not file.exists()
        moved.rename(file)
        await store.delete("id of b")
    assert len(contents(file)["sessions"]) == 2


async def test_replaced_while_it_is_open(file: Path, tmp_path: Path) -> None:
    """Another file of its name is not taken for it, whichever store asks first: its ids tell a follower nothing."""
    other = tmp_path / "other.db"
    async with SqliteRevocations(file) as store, SqliteTickets(file) as tickets, store.changes() as changes:
        await store.add(revocation("ada"))
        assert (await anext(aiter(changes))).subject == "ada"
        SqliteTickets(other)
        other.replace(file)
        for _ in range(2):
            with pytest.raises(Unavailable, match="removed or replaced while it was open; restart"):
                await tickets.take(bytes(32))
        with pytest.raises(Unavailable, match="removed or replaced while it was open; restart"):
            await anext(aiter(changes))


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a file that is open cannot be removed")
async def test_its_log_removed_while_it_is_open(file: Path) -> None:
    """What would be written into a log that nobody can find again is `Unavailable`; what stands in it is kept."""
    log = file.with_name(f"{file.name}-wal")
    async with SqliteRevocations(file) as store:
        await store.add(revocation("ada"))
        log.unlink()
        with pytest.raises(Unavailable, match=r"-wal was removed or replaced while it was open; leave it to SQLite"):
            await store.add(revocation("bob"))
        await store.add(revocation("eve"))
        assert log.exists()
        assert {"ada", "eve"} <= {each.subject for each in await store.load()}


async def test_damaged_while_it_is_open(file: Path) -> None:
    """It is `Unavailable`, with the remedy, whoever asks and however often."""
    async with SqliteRevocations(file) as store:
        for _ in range(3):
            with file.open("r+b") as opened:
                opened.write(os.urandom(60_000))
            with pytest.raises(Unavailable, match="restore it from a backup"):
                await store.add(revocation("ada"))
            with pytest.raises(Unavailable, match=re.escape(str(file))):
                await store.load()
