"""The file: made so that nobody else can read it, and refused if it is not what it should be.

It is made under another name and linked when it is complete, so that there is never a moment in which it is empty:
a file that is empty has lost what it had.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from seawall.errors import ConfigurationError
from seawall.sqlite.schema import APPLICATION_ID, SCHEMA, VERSION

if TYPE_CHECKING:
    import sqlite3

#: Seconds that a statement waits for another process, or another store of this one, that is writing.
BUSY_TIMEOUT: Final = 5.0

#: The oldest SQLite that knows DELETE .. RETURNING.
OLDEST: Final = (3, 35)

#: Bytes of the smallest database. What has less is an empty one to SQLite.
SMALLEST: Final = 512

#: Bytes of the log of writes that stay on disk when they have been transferred into the file.
LOG_SIZE: Final = 4 * 1024 * 1024

#: What SQLite puts beside a file while it is open.
BESIDE: Final = ("-wal", "-shm")


def checked_path(where: str, path: object) -> Path:
    """The absolute path of a file that a store can use; it is made if it is missing, and read through if it is there.

    Args:
      where: which store it is for, for the text of an error.
      path: what an application has given.

    Raises:
      ConfigurationError: the file cannot be made or opened, others may read it, or it is damaged, of another program or
        of a newer Seawall; or SQLite is too old, or missing.
    """
    _check_library(where)
    if not isinstance(path, str | os.PathLike) or not os.fspath(path) or os.fspath(path) == ":memory:":
        raise ConfigurationError(
            f"{where}({path!r}): give the path of a file on a local disk; what needs none is in memory by default"
        )
    given = cast("str | os.PathLike[str]", path)
    file = Path(os.fsdecode(given)).resolve()  # what SQLite puts beside it lies beside what a link points to
    try:
        _make_if_missing(file)
        with _closed_afterwards(open_file(file)) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    except (OSError, _sqlite_error()) as error:
        raise ConfigurationError(f"{where}: {file} cannot be used: {said_of(error)}") from error
    if said != "ok":
        raise ConfigurationError(f"{where}: {file} is damaged ({said}); {_REMEDY}")
    return file


def open_file(file: Path) -> sqlite3.Connection:
    """A connection to a file that is there, for the thread that calls this.

    Raises:
      ConfigurationError: it is not there, others may read it, or it is of another program or a newer Seawall.
      sqlite3.Error: it cannot be opened, it is locked, or it is damaged.
    """
    import sqlite3  # noqa: PLC0415 - a Python may have been built without it

    _check_file(file)
    connection = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        _check_contents(connection, file)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_SIZE}")
    except BaseException:
        connection.close()
        raise
    return connection


def identity_of(file: Path) -> tuple[int, int] | None:
    """What tells the file from another one of the same name; None if there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def said_of(error: Exception) -> str:
    """What has failed, for an error or the log, with what can be done about it."""
    said = f"{type(error).__name__}: {error}"
    code = getattr(error, "sqlite_errorname", "")
    return next((f"{said}; {remedy}" for start, remedy in _REMEDIES.items() if code.startswith(start)), said)


_REMEDY: Final = "restore it from a backup, or move it away, and all that was stored in it is forgotten"

_REMEDIES: Final = {
    "SQLITE_NOTADB": _REMEDY,
    "SQLITE_CORRUPT": _REMEDY,
    "SQLITE_FULL": "free some space",
    "SQLITE_BUSY": "something else has held a lock on it for too long",
}


def _sqlite_error() -> type[Exception]:
    import sqlite3  # noqa: PLC0415 - as above

    return sqlite3.Error


def _check_library(where: str) -> None:
    try:
        import sqlite3  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ConfigurationError(f"{where}: this Python was built without sqlite3 ({error}); use another") from error
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigurationError(
            f"{where}: this Python has SQLite {sqlite3.sqlite_version}; the oldest that will do is 3.35; use another"
        )


@contextmanager
def _closed_afterwards(connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    try:
        yield connection
    finally:
        connection.close()


def _check_file(file: Path) -> None:
    try:
        found = file.stat()
    except FileNotFoundError:
        raise ConfigurationError(f"{file} is not there any more; restart, and a new one is made") from None
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{file} is no file; give the path of one, which may be missing as yet")
    if not os.access(file, os.R_OK | os.W_OK) or not os.access(file.parent, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{file} and its directory have to be writable for this process; change their owner")
    if found.st_size < SMALLEST:
        raise ConfigurationError(
            f"{file} is empty, or nearly: what was stored in it is lost; delete it, and a new one is made"
        )
    for each in (file, *(file.with_name(file.name + end) for end in BESIDE)):
        _check_mode(each)


def _check_mode(file: Path) -> None:
    """Refuse what others may read: it may have been read, and who has made it so may have meant to."""
    if os.name != "posix":
        return
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except FileNotFoundError:
        return
    if mode & 0o077:
        raise ConfigurationError(f"{file} has the mode {mode:04o}, and others have to be kept out; chmod 600 {file}")


def _check_contents(connection: sqlite3.Connection, file: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise ConfigurationError(f"{file} is a database of another program; give a file of its own")
    if version != VERSION:
        raise ConfigurationError(
            f"{file} was written by another version of Seawall (its schema is {version}, and ours {VERSION}); use that "
            "version, or give another file"
        )
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise ConfigurationError(
            f"{file} cannot have a write-ahead log (journal_mode={mode}); give a file on a local disk"
        )


def _make_if_missing(file: Path) -> None:
    """Make the file if it is missing; of several processes that do this at once, one succeeds.

    It has the mode 0600 from the first moment, and so has what SQLite puts beside it.
    """
    import sqlite3  # noqa: PLC0415 - as above

    log = file.with_name(f"{file.name}-wal")
    if not file.parent.is_dir():
        raise ConfigurationError(f"there is no directory {file.parent}; make it, with the mode 0700")
    was_left = log.exists()
    if file.exists():
        return
    if was_left:
        raise ConfigurationError(
            f"{log} is there without {file}, which it belongs to: put that back; without it, what was stored is lost, "
            f"and {log} can be deleted"
        )
    new = file.with_name(f"{file.name}.{secrets.token_hex(8)}.new")
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with _closed_afterwards(sqlite3.connect(f"{new.as_uri()}?mode=rw", uri=True, isolation_level=None)) as made:
            made.execute("PRAGMA journal_mode = WAL")
            made.execute("PRAGMA synchronous = FULL")
            made.executescript(SCHEMA)
        os.link(new, file)
    except FileExistsError:
        pass  # of another process, a moment ago
    finally:
        for each in (new, *(new.with_name(new.name + end) for end in BESIDE)):
            each.unlink(missing_ok=True)
    _sync(file.parent)


def _sync(directory: Path) -> None:
    """Let the name of the file outlive a loss of power."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
