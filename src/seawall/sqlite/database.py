"""`Database`: a file of SQLite, used from Trio.

A store has no owner who could be relied on to close it: one that an issuer uses is made when the program is loaded, and
known to handlers only. So the file is opened with the first use in a run of Trio, and closed by the end of that run at
the latest, by a system task; nobody has to do anything. Who wants it closed earlier says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar, final

import trio

from seawall.errors import Unavailable
from seawall.observability.logs import server_log
from seawall.sqlite.file import BUSY_TIMEOUT, Synchronous, checked_path
from seawall.sqlite.thread import DatabaseThread, Job

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

#: Seconds in which a file is closed: a statement may wait for another process, and then the log is transferred.
CLOSED_WITHIN: Final = 2 * BUSY_TIMEOUT


@final
class Database:
    """A file, and in each run of Trio that uses it, a thread and a connection."""

    def __init__(self, where: str, path: object, *, synchronous: Synchronous = "FULL") -> None:
        """Make the file, or look at the one that is there; arguments as of `checked_path` and `open_file`.

        Raises:
          ConfigurationError: as `checked_path`.
        """
        self._synchronous: Synchronous = synchronous
        self.file = checked_path(where, path)
        self._opened: trio.lowlevel.RunVar[_Opened | None] = trio.lowlevel.RunVar(where, None)

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call `function`, which only reads, in the thread, and return what it returns.

        If this is cancelled before the function has been called, it never is; if later, this does not wait for it.

        Raises:
          Unavailable: SQLite has failed, or so many wait that this would take too long.
        """
        return await self._run(Job(function, writes=False))

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call `function` likewise, in a transaction: what it writes is stored for good when this returns.

        Nobody else writes meanwhile. If this raises, nothing has been written. If it is cancelled, nothing or all.
        What else waits may be written in the same transaction, and fails with it; not what the function raises itself.

        Raises:
          Unavailable: as `read`; or another process has been writing for 5 seconds.
        """
        return await self._run(Job(function, writes=True))

    async def _run(self, job: Job[T]) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._thread().put(job)
        try:
            await job.done.wait()
        finally:
            job.is_wanted = False
        return job.take()

    async def aclose(self) -> None:
        """Close the file; a later use opens it again. What waits is `Unavailable`; it takes 10 seconds at most."""
        opened = self._opened.get()
        if opened is None:
            await trio.lowlevel.checkpoint()
            return
        opened.is_done.set()
        with trio.CancelScope(shield=True):  # which `mind` bounds
            await opened.is_closed.wait()

    def _thread(self) -> DatabaseThread:
        opened = self._opened.get()
        if opened is None:
            try:
                thread = DatabaseThread(self.file, self._synchronous)
            except RuntimeError as error:
                raise Unavailable(f"{self.file}: no thread can be started: {error}") from error
            opened = _Opened(thread)
            self._opened.set(opened)
            trio.lowlevel.spawn_system_task(self._mind, opened, name=f"closes {self.file.name}")
        return opened.thread

    async def _mind(self, opened: _Opened) -> None:
        """Stop the thread when it is told to, or when Trio cancels all system tasks, because its main task is over."""
        try:
            await opened.is_done.wait()
        finally:
            with trio.move_on_after(CLOSED_WITHIN) as scope:
                scope.shield = True
                await opened.thread.stop()
            if scope.cancelled_caught:
                server_log.warning("%s: not closed in %g s; the disk does not answer", self.file, CLOSED_WITHIN)
            self._opened.set(None)
            opened.is_closed.set()


@final
class _Opened:
    """A thread, and the end of it."""

    def __init__(self, thread: DatabaseThread) -> None:
        self.thread = thread
        self.is_done = trio.Event()
        self.is_closed = trio.Event()
