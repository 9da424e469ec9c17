"""The thread of a store: when it runs and when it ends, and what becomes of what waits for it."""

from __future__ import annotations

import gc
import sqlite3
import sys
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio
from attrs import define, field
from trio.testing import wait_all_tasks_blocked

from seawall import Unavailable
from seawall.sqlite.database import Database
from seawall.sqlite.thread import MAX_WAITING
from tests.kit.leaks import threads
from tests.kit.log import recorded
from tests.kit.processes import run_forked
from tests.kit.wire import SOON


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """One that nobody has used."""
    return Database("test", tmp_path / "it.db")


def ended(connection: sqlite3.Connection) -> int:
    """How many sessions have been written, by `insert`."""
    (number,) = connection.execute("SELECT count(*) FROM tickets").fetchone()
    assert isinstance(number, int)
    return number


def insert(connection: sqlite3.Connection) -> None:
    """Write something."""
    connection.execute("INSERT INTO tickets VALUES (randomblob(32), x'', x'', x'', 0)")


@define
class Gate:
    """Holds the thread up in the middle of a job that writes."""

    entered: threading.Event = field(factory=threading.Event)
    opened: threading.Event = field(factory=threading.Event)

    def insert(self, connection: sqlite3.Connection) -> int:
        """Write something, and wait."""
        insert(connection)
        self.entered.set()
        assert self.opened.wait(SOON)
        return 5

    async def wait_until_entered(self) -> None:
        """Wait until the thread is in it."""
        with trio.fail_after(SOON):
            while not self.entered.is_set():  # noqa: ASYNC110 - another thread sets it
                await trio.sleep(0.001)


@contextmanager
def locked(database: Database) -> Generator[None]:
    """Let another process, as it were, write all the time."""
    other = sqlite3.connect(database.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


async def test_it_runs_from_the_first_use(database: Database) -> None:
    """Until it is closed, which can be done again, and at any time; a later use opens the file again."""
    assert threads() == []
    await database.aclose()
    for number in range(3):
        await database.write(insert)
        assert threads() == ["seawall: SQLite, it.db"]
        assert await database.read(ended) == number + 1
        await database.aclose()
        assert threads() == []
        await database.aclose()


def test_it_ends_with_the_run(database: Database) -> None:
    """Nobody has to close anything: whatever ends the run of Trio closes the file; the next run opens it again."""

    async def main(failure: Exception | None) -> None:
        await database.write(insert)
        if failure is not None:
            raise failure

    trio.run(main, None)
    assert threads() == []
    with pytest.raises(OSError, match="failed"):
        trio.run(main, OSError("failed"))
    assert threads() == []
    assert not database.file.with_name("it.db-wal").exists()

    async def count() -> int:
        return await database.read(ended)

    assert trio.run(count) == 2


async def test_stores_of_one_file(database: Database) -> None:
    """They share the thread; it is closed when the last of those that have used it is."""
    other, unused = (Database("another", database.file) for _ in range(2))
    await database.write(insert)
    await other.write(insert)
    assert threads() == ["seawall: SQLite, it.db"]
    await unused.aclose()
    await database.aclose()
    await database.aclose()
    assert threads() == ["seawall: SQLite, it.db"]
    assert await other.read(ended) == 2
    assert await database.read(ended) == 2
    await other.aclose()
    assert threads() == ["seawall: SQLite, it.db"]
    await database.aclose()
    assert threads() == []


async def test_a_store_that_writes_little(database: Database) -> None:
    """It has its turn, however much another store of the file has to write."""
    other, written = Database("another", database.file), 0

    async def much() -> None:
        nonlocal written
        while True:
            await database.write(insert)
            written += 1

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(much)
        for number in range(1, 20):
            before = written
            await other.write(insert)
            assert written - before <= 2 * 20 + 1, number
        nursery.cancel_scope.cancel()
    await database.aclose()
    await other.aclose()


def test_a_run_that_ends_in_the_middle(database: Database) -> None:
    """What has begun is finished, and waited for; what has not, does not happen."""
    gate = Gate()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.write, gate.insert)
            await gate.wait_until_entered()
            nursery.start_soon(database.write, insert)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        threading.Timer(0.1, gate.opened.set).start()

    trio.run(main)
    assert threads() == []

    async def count() -> int:
        return await database.read(ended)

    assert trio.run(count) == 1


def test_runs_beside_each_other(database: Database) -> None:
    """Each has a thread and a connection of its own."""

    async def main() -> None:
        for _ in range(20):
            await database.write(insert)

    running = [threading.Thread(target=trio.run, args=(main,)) for _ in range(3)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()

    async def count() -> int:
        return await database.read(ended)

    assert trio.run(count) == 60


@pytest.mark.slow
def test_a_run_that_breaks(database: Database) -> None:
    """A failure in Trio itself closes nothing; the thread sees within seconds that there is nobody left."""

    async def bad_system_task() -> None:
        await database.write(insert)
        raise OSError("a system task must not fail")

    async def main() -> None:
        trio.lowlevel.spawn_system_task(bad_system_task)
        await trio.sleep_forever()

    with pytest.raises(trio.TrioInternalError):
        trio.run(main)
    gc.collect()
    for thread in threading.enumerate():
        if thread.name in threads():
            thread.join(SOON)
    assert threads() == []


@pytest.mark.slow
@pytest.mark.parametrize(("daemon", "printed"), [(False, "1\n1\n"), (True, "1\n")])
def test_a_main_thread_that_is_over(daemon: bool, printed: str, database: Database) -> None:
    """A run of Trio that the program goes on for keeps its thread; one in a daemon thread does not keep the program."""
    program = f"""
import threading, time, trio
from seawall.sqlite.database import Database

database = Database("test", {str(database.file)!r})
has_asked = threading.Event()

async def main():
    for _ in range(2):
        print(await database.read(lambda connection: 1), flush=True)
        has_asked.set()
        await trio.sleep(2.5)

threading.Thread(target=trio.run, args=(main,), daemon={daemon}).start()
has_asked.wait()
"""
    _, out, err = run_forked("-c", program)
    assert (out, err) == (printed, "")


async def test_cancelled_before_it_begins(database: Database) -> None:
    """A job that waits for its turn does not happen when nobody waits for it any more, and cancelling is prompt."""
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, gate.insert)
        await gate.wait_until_entered()
        for job in (database.write, database.read):
            with trio.move_on_after(0.01) as scope:
                await job(insert)
            assert scope.cancelled_caught
        gate.opened.set()
    assert await database.read(ended) == 1
    await database.aclose()


async def test_cancelled_while_it_happens(database: Database) -> None:
    """It goes on to its end, and nobody waits for that."""
    gate = Gate()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.write, gate.insert)
            await gate.wait_until_entered()
            scope.cancel()
    assert scope.cancelled_caught
    assert not gate.opened.is_set()
    gate.opened.set()
    assert await database.read(ended) == 1
    await database.aclose()


async def test_cancelled_at_any_moment(database: Database) -> None:
    """Each has happened or not; those that were acknowledged have."""
    acknowledged = 0

    async def one(number: int) -> None:
        nonlocal acknowledged
        with trio.move_on_after(number * 0.0002):
            await database.write(insert)
            acknowledged += 1

    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(one, number)
    assert acknowledged <= await database.read(ended) <= 200
    await database.aclose()


async def test_too_many_wait(database: Database) -> None:
    """One more than 1,000 is refused at once; then all is as it was."""
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, gate.insert)
        await gate.wait_until_entered()
        for _ in range(MAX_WAITING):
            nursery.start_soon(database.write, insert)
        await wait_all_tasks_blocked()
        with pytest.raises(Unavailable, match=r"it\.db: 1000 wait for it already"):
            await database.write(insert)
        with pytest.raises(Unavailable, match=r"it\.db: 1000 wait for it already"):
            await database.read(ended)
        gate.opened.set()
    assert await database.read(ended) == MAX_WAITING + 1
    await database.aclose()


async def test_closed_while_others_wait(database: Database) -> None:
    """What happens is finished, and returns; what waits is refused, and has not happened."""
    gate, refused, returned = Gate(), list[str](), list[int]()

    async def first() -> None:
        returned.append(await database.write(gate.insert))

    async def waiting() -> None:
        with pytest.raises(Unavailable, match=r"it\.db was closed") as raised:
            await database.write(insert)
        refused.append(str(raised.value))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await gate.wait_until_entered()
        for _ in range(3):
            nursery.start_soon(waiting)
        await wait_all_tasks_blocked()
        nursery.start_soon(database.aclose)
        await wait_all_tasks_blocked()
        with pytest.raises(Unavailable, match="is being closed"):
            await database.write(insert)
        nursery.start_soon(database.aclose)
        await wait_all_tasks_blocked()
        gate.opened.set()
    assert returned == [5]
    assert len(refused) == 3
    assert await database.read(ended) == 1
    await database.aclose()


async def test_closing_is_not_cancelled(database: Database) -> None:
    """Whoever closes it in a scope that is cancelled finds it closed all the same."""
    await database.write(insert)
    with trio.CancelScope() as scope:
        scope.cancel()
        await database.aclose()
    assert threads() == []


async def test_what_fails_by_itself(database: Database) -> None:
    """Of those that are written together, what one function raises is its own, and what it wrote is undone."""
    gate = Gate()

    def failing(connection: sqlite3.Connection) -> None:
        insert(connection)
        raise Unavailable("full")

    async def expect() -> None:
        with pytest.raises(Unavailable, match=r"^full$"):
            await database.write(failing)

    def mistaken(connection: sqlite3.Connection) -> None:
        insert(connection)
        raise ZeroDivisionError

    async def expect_mistake() -> None:
        with pytest.raises(ZeroDivisionError):
            await database.write(mistaken)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, gate.insert)
        await gate.wait_until_entered()
        for _ in range(10):
            nursery.start_soon(database.write, insert)
            nursery.start_soon(expect)
            nursery.start_soon(expect_mistake)
        await wait_all_tasks_blocked()
        gate.opened.set()
    assert await database.read(ended) == 11
    await database.aclose()


async def test_what_fails_for_all(database: Database) -> None:
    """When SQLite fails, none of those that are written together are, and each is told; then all goes on."""
    gate, refused = Gate(), list[str]()

    def broken(connection: sqlite3.Connection) -> None:
        insert(connection)
        connection.execute("INSERT INTO missing VALUES (1)")

    async def expect(function: object) -> None:
        with pytest.raises(Unavailable, match=r"it\.db: OperationalError: no such table: missing") as raised:
            await database.write(broken if function is broken else insert)
        refused.append(str(raised.value))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, gate.insert)
        await gate.wait_until_entered()
        for function in (insert, insert, broken, insert):
            nursery.start_soon(expect, function)
        await wait_all_tasks_blocked()
        gate.opened.set()
    assert len(refused) == 4
    assert await database.read(ended) == 1
    await database.aclose()


async def test_nobody_is_told_before_it_is_committed(database: Database) -> None:
    """Of what is written together, the first has not returned while another one is still being written."""
    first, last, told = Gate(), Gate(), list[str]()

    async def write() -> None:
        await database.write(insert)
        told.append("written")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, first.insert)
        await first.wait_until_entered()
        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        nursery.start_soon(database.write, last.insert)
        await wait_all_tasks_blocked()
        first.opened.set()
        await last.wait_until_entered()
        await wait_all_tasks_blocked()
        assert not told
        last.opened.set()
    assert told == ["written"]
    assert await database.read(ended) == 3
    await database.aclose()


async def test_another_process_that_writes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on; writing waits for a while, and then is `Unavailable`, with the reason."""
    monkeypatch.setattr("seawall.sqlite.file.BUSY_TIMEOUT", 0.2)
    with locked(database):
        assert await database.read(ended) == 0
        began = trio.current_time()
        with pytest.raises(Unavailable, match=r"it\.db: .* is locked; something else has held a lock on it"):
            await database.write(insert)
        assert trio.current_time() - began >= 0.2
    await database.write(insert)
    async with trio.open_nursery() as nursery:
        with locked(database):
            nursery.start_soon(database.write, insert)
            await trio.sleep(0.05)
    assert await database.read(ended) == 2
    await database.aclose()


async def test_nobody_else_writes_meanwhile(database: Database) -> None:
    """A function that writes has the file for itself from its beginning, also as long as it only reads."""
    refused = list[str]()

    def look_and_insert(connection: sqlite3.Connection) -> int:
        found = ended(connection)
        with closing(sqlite3.connect(database.file, timeout=0, isolation_level=None)) as other:
            try:
                insert(other)
            except sqlite3.OperationalError as error:
                refused.append(str(error))
        insert(connection)
        return found

    assert await database.write(look_and_insert) == 0
    assert refused == ["database is locked"]
    assert await database.read(ended) == 1
    await database.aclose()


async def test_no_thread(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has no more threads is `Unavailable`; later it may have one."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(Unavailable, match=r"it\.db: no thread can be started: can't start new thread"):
            await database.write(insert)
    await database.write(insert)
    await database.aclose()


async def test_nothing_is_kept(database: Database) -> None:
    """What a call was given, and what has come of it, is nobody's afterwards; a failure leaves no cycle either."""
    gc.collect()
    gc.disable()
    try:
        result = await database.read(lambda _: bytearray(10))
        await database.read(ended)
        assert sys.getrefcount(result) == 2
        with pytest.raises(Unavailable):
            await database.read(lambda connection: connection.execute("SELECT nothing"))
        await database.read(ended)
        left = [each for each in gc.get_objects() if isinstance(each, Unavailable) and "no such column" in str(each)]
        assert left == []
    finally:
        gc.enable()
    await database.aclose()


async def test_durable(database: Database) -> None:
    """What has been committed is on the disk: that is what SQLite calls FULL, and others may write meanwhile."""

    def settings(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "busy_timeout", "secure_delete")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await database.read(settings) == ["wal", 2, 5000, 1]
    await database.aclose()


async def test_a_disk_that_does_not_answer(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits for so long and no longer, and says so; the thread ends when the disk answers."""
    monkeypatch.setattr("seawall.sqlite.database.CLOSED_WITHIN", 0.05)
    gate = Gate()
    with recorded() as records:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.write, gate.insert)
            await gate.wait_until_entered()
            await database.aclose()
            assert ["not closed in 0.05 s" in line for line in records.lines("server")] == [True]
            gate.opened.set()
    for thread in threading.enumerate():
        if thread.name in threads():
            thread.join(SOON)
    assert await database.read(ended) == 1
    await database.aclose()
