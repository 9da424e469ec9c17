"""``python -m tests.tools.killed``: ends processes that write into a file of SQLite, before and behind each statement.

What such a process has acknowledged is there afterwards; what not, wholly or not at all. With names of operations, only
these. Also ``writer FILE``: a
process that writes, and says what it has written, until somebody ends it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from itertools import count
from pathlib import Path

import trio
from attrs import evolve

from seawall.login.session_store import REUSE_WITHIN
from seawall.sessions import Rotated, SqliteRevocations, SqliteSessions
from tests.kit.faults import (
    IN_MEMORY,
    OPERATIONS,
    START,
    at,
    between,
    contents,
    die,
    digest,
    operate,
    prepare,
    revocation,
    session,
)


def in_child(path: Path, name: str, number: int) -> tuple[bool, bool]:
    """Do something in a process that is ended at a place: whether it was ended, and whether that was acknowledged."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():  # that there are threads: one that has been joined may be there for a moment
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        with at(number, die):
            trio.run(operate, path, name)
            os.write(writing, b"done")
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, 9}, code
    return code == 9, said == b"done"


def everywhere(directory: Path, name: str) -> int:
    """Do something again and again, ended one place later each time, and return how many there are."""
    prepared, done = directory / "prepared.db", directory / f"{name}.db"
    before = contents(prepared)
    shutil.copy(prepared, done)
    trio.run(operate, done, name)
    after = contents(done)
    states = [before, after, *between(prepared, directory, name)]
    for number in count():
        path = directory / f"{name} {number}.db"
        shutil.copy(prepared, path)
        sys.stdout.write(f"{name} {number}\n")
        sys.stdout.flush()  # somebody may wait for a sign of life, and a child must not write it again
        was_ended, was_acknowledged = in_child(path, name, number)
        left = contents(path)
        assert left in ([after] if was_acknowledged else states), (name, number)
        if left == before:
            trio.run(operate, path, name)
            assert contents(path) == after, (name, number)
        if not was_ended:
            return number
        for each in directory.glob(f"{path.name}*"):
            each.unlink()
    raise AssertionError


async def write(path: Path) -> None:
    """Revoke, begin sessions and renew them until ended, and say what has been acknowledged."""
    revocations, sessions = SqliteRevocations(path), SqliteSessions(path)
    numbers = count()

    async def revoke() -> None:
        for number in numbers:
            await revocations.add(revocation(f"{os.getpid()} {number}"))
            os.write(1, f"revoked {os.getpid()} {number}\n".encode())

    async def renew(name: str) -> None:
        await sessions.add(evolve(session(name), subject=name, ends_at=START + 1e9))
        os.write(1, f"begun {name}\n".encode())
        for step in count():
            one, two = digest(f"{name} {step}"), digest(f"{name} {step + 1}")
            now = START + 2 * REUSE_WITHIN * (step + 1)
            assert isinstance(await sessions.rotate(digest(name), one, two, now), Rotated)
            os.write(1, f"renewed {name} {step + 1}\n".encode())

    async with revocations, sessions, trio.open_nursery() as nursery:
        nursery.start_soon(revoke)
        nursery.start_soon(revoke)
        nursery.start_soon(renew, f"session {os.getpid()}")


def main() -> None:
    """Run it."""
    if sys.argv[1:2] == ["writer"]:
        trio.run(write, Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as directory:
        trio.run(prepare, Path(directory) / "prepared.db")
        for name in sys.argv[1:] or OPERATIONS:
            sys.stdout.write(f"{name}: {everywhere(Path(directory), name)} places\n")


if __name__ == "__main__":
    main()
