"""`DatabaseThread`: the thread that a connection to SQLite is used in, and nobody else's.

Whatever waits to be written is written in one transaction, in which each job happens or not by itself: all together
wait for the disk once. A job is done when the transaction is.

It ends with its owner: when it is told to, when the run of Trio that has started it is over, whatever ended that, and,
if that is in a daemon thread, when the main thread is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, final

import trio

from seawall.errors import ConfigurationError, Unavailable
from seawall.sqlite.file import identity_of, open_file, said_of

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

#: How the threads are called.
NAME: Final = "seawall: SQLite"

#: Jobs that may wait: more than a disk does in the time that anybody waits for one.
MAX_WAITING: Final = 1_000

#: Those that are done together at most: others of the process wait for them, and other processes for all.
AT_ONCE: Final = 100

#: Seconds between two looks at whether there is still somebody to work for.
LOOKS_EVERY: Final = 1.0


class Work(Protocol):
    """What the thread does."""

    @property
    def is_wanted(self) -> bool:
        """Whether anybody waits for it. If not, and it has not begun, it does not happen."""
        ...

    @property
    def writes(self) -> bool:
        """Whether it needs a transaction that writes."""
        ...

    @property
    def done(self) -> trio.Event:
        """Set by Trio when nothing will happen any more."""
        ...

    def do(self, connection: sqlite3.Connection, /) -> None:
        """Do it. What it raises is passed to `fail`."""
        ...

    def fail(self, error: BaseException, /) -> None:
        """Be told that it has failed."""
        ...


@final
class Job(Generic[T]):
    """A call of a function in the thread, and what has come of it."""

    def __init__(self, function: Callable[[sqlite3.Connection], T], *, writes: bool) -> None:
        """Call `function` with the connection of the thread, in a transaction if it `writes`."""
        self.writes = writes
        self.is_wanted = True
        self.done = trio.Event()
        self._function = function
        self._results: list[T] = []
        self._error: BaseException | None = None

    def do(self, connection: sqlite3.Connection) -> None:
        """Call it. Raises what it does."""
        self._results.append(self._function(connection))

    def fail(self, error: BaseException) -> None:
        """Let `take` raise `error`."""
        self._error = error

    def take(self) -> T:
        """What the function has returned. Raises what it has raised."""
        if (error := self._error) is not None:
            try:
                raise error
            finally:
                self._error = None
                del error  # a reference cycle would be left to the garbage collector
        return self._results.pop()


@final
class DatabaseThread:
    """A thread, and what it has to do. Its methods are for the thread of Trio that has made it."""

    def __init__(self, file: Path) -> None:
        """Start it. It opens `file` when there is something to do.

        Raises:
          RuntimeError: there are too many threads.
        """
        self._file = file
        self._jobs = SimpleQueue[Work | None]()
        self._token = trio.lowlevel.current_trio_token()
        self._is_stopping = False
        self._ended = trio.Event()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None  # of the first that was opened: another one is never
        self._log = file.with_name(f"{file.name}-wal")
        self._log_identity: tuple[int, int] | None = None
        self._owner = threading.current_thread()
        self._thread = threading.Thread(target=self._main, name=f"{NAME}, {file.name}", daemon=False)
        self._thread.start()

    def put(self, job: Work) -> None:
        """Let it do `job`, after those that wait already.

        Raises:
          Unavailable: too many wait, or it stops.
        """
        if self._is_stopping:
            raise Unavailable(f"{self._file} is being closed")
        if self._jobs.qsize() >= MAX_WAITING:
            raise Unavailable(f"{self._file}: {MAX_WAITING} wait for it already")
        self._jobs.put(job)

    async def stop(self) -> None:
        """Let it finish what it is at, refuse what waits, close the file and end, and wait for that."""
        self._is_stopping = True
        self._jobs.put(None)
        await self._ended.wait()
        self._thread.join()  # it has nothing more to do

    # What follows runs in the thread.

    def _main(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._do_all([job, *self._waiting()])
                del job  # else it would be kept until the next one
        finally:
            self._close()
            self._refuse_all()
            self._tell(self._ended.set)

    def _next(self) -> Work | None:
        """The next job; None when there are to be no more."""
        while not self._is_stopping:
            try:
                return self._jobs.get(timeout=LOOKS_EVERY)
            except Empty:
                if not (self._has_owner() and self._tell(_nothing)):
                    break
        return None

    def _has_owner(self) -> bool:
        """Whether the program goes on for the sake of the thread of Trio: a daemon is not waited for."""
        return threading.main_thread().is_alive() or not self._owner.daemon

    def _waiting(self) -> Iterator[Work]:
        """What waits besides, as much as is done at once."""
        for _ in range(min(self._jobs.qsize(), AT_ONCE)):
            if (job := self._jobs.get()) is not None:
                yield job

    def _do_all(self, jobs: list[Work]) -> None:
        for job in jobs:
            if not job.writes:
                self._do([job])
        if written := [job for job in jobs if job.writes]:
            self._do(written)

    def _do(self, jobs: list[Work]) -> None:
        """Do what reads, or all that writes; and tell who waits for it."""
        try:
            self._do_at_once(self._opened(), jobs)
        except (_sqlite_error(), OSError) as error:
            self._close()  # whatever is wrong with it, the next ones begin anew; what has not been committed is undone
            _fail_all(jobs, f"{self._file}: {said_of(error)}", error)
        except (ConfigurationError, Unavailable) as error:
            _fail_all(jobs, str(error), error)
        finally:
            for job in jobs:
                self._tell(job.done.set)

    def _do_at_once(self, connection: sqlite3.Connection, jobs: list[Work]) -> None:
        if not jobs[0].writes:
            _do_one(connection, jobs[0])
            return
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            connection.execute("SAVEPOINT one")
            if not _do_one(connection, job):
                connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
        connection.execute("COMMIT")

    def _opened(self) -> sqlite3.Connection:
        """The connection. What is written to a file that has been removed would be lost without anybody's noticing.

        Another file of the same name is not taken for it: who follows what is added knows only how far the first was.
        """
        identity = identity_of(self._file)
        if self._identity not in {None, identity} and (self._connection is not None or identity is not None):
            self._close()
            raise Unavailable(f"{self._file} was removed or replaced while it was open; restart")
        if self._connection is not None and identity_of(self._log) != self._log_identity:
            self._close()  # which transfers what stands in it
            raise Unavailable(f"{self._log} was removed or replaced while it was open; leave it to SQLite")
        if self._connection is None:
            self._connection = open_file(self._file)
            self._identity = identity
            self._log_identity = identity_of(self._log)
        return self._connection

    def _close(self) -> None:
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        try:
            # Closing alone would leave the lock to a statement that has not come to its end, while anybody has it.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except _sqlite_error():
            pass  # there is nothing left to be undone
        finally:
            connection.close()

    def _refuse_all(self) -> None:
        self._is_stopping = True  # also if it ends by itself
        while not self._jobs.empty():
            if (job := self._jobs.get()) is not None:
                job.fail(Unavailable(f"{self._file} was closed"))
                self._tell(job.done.set)

    def _tell(self, callback: Callable[[], object]) -> bool:
        """Have Trio call `callback`, and return whether there is a Trio to do so."""
        try:
            self._token.run_sync_soon(callback)
        except trio.RunFinishedError:
            return False
        return True


def _do_one(connection: sqlite3.Connection, job: Work) -> bool:
    """Do a job that is still wanted, and return whether it has been done. Raises what SQLite does."""
    if not job.is_wanted:
        return False
    try:
        job.do(connection)
    except (_sqlite_error(), OSError):
        raise
    except Exception as error:  # noqa: BLE001 - it is the caller's
        job.fail(error)
        return False
    return True


def _fail_all(jobs: list[Work], said: str, cause: Exception) -> None:
    for job in jobs:
        failure = Unavailable(said)
        failure.__cause__ = cause
        job.fail(failure)


def _nothing() -> None:
    """What is asked of Trio in order to see whether it runs."""


def _sqlite_error() -> type[Exception]:
    import sqlite3  # noqa: PLC0415 - a Python may have been built without it

    return sqlite3.Error
