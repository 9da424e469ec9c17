"""Processes that are ended while they write, several that write into one file, and a disk that is full."""

from __future__ import annotations

import random
import re
import resource
import signal
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import evolve

from seawall import App, Claims, Connection, Unavailable, bearer
from seawall.login.session_store import Rotated, Rotation
from seawall.sessions import SqliteRevocations, SqliteSessions, SqliteTickets
from seawall.testing import Rejected, serve
from tests.kit.faults import OPERATIONS, START, contents, digest, revocation, session, ticket
from tests.kit.processes import forked, run_forked
from tests.kit.tokens import by, token, verifier
from tests.kit.wire import SOON

pytestmark = pytest.mark.slow

ROUNDS = 6


@pytest.fixture
def path(memory: Path) -> Path:
    """A file for stores, which is not there yet."""
    return memory / "logins.db"


@pytest.mark.parametrize("name", OPERATIONS)
def test_ended_between_two_statements(name: str) -> None:
    """Before and behind each: what was acknowledged is there afterwards, what was not wholly or not at all."""
    status, out, err = run_forked("-m", "tests.tools.killed", name)
    assert (status, err) == (0, "")
    found = re.search(rf"^{name}: (\d+) places\n\Z", out, re.MULTILINE)
    assert found is not None
    assert int(found[1]) > 20


def test_killed_while_writing(path: Path) -> None:
    """Two processes write, again and again until they are killed: all that they have acknowledged is there then."""
    chance = random.Random(14)
    lines = list[str]()
    for _ in range(ROUNDS):
        with (
            forked("-m", "tests.tools.killed", "writer", str(path)) as one,
            forked("-m", "tests.tools.killed", "writer", str(path)) as other,
        ):
            for program in (one, other):
                program.stdout.wait_for(rf"renewed \S+ \S+ {chance.randrange(1, 30)}\n")
            for program in (one, other):
                program.tell(signal.SIGKILL)
                assert program.wait() == -signal.SIGKILL
                lines += re.findall(r".*(?=\n)", program.stdout.text)
        check(path, lines)
    assert len(lines) > 10 * ROUNDS


def check(path: Path, lines: list[str]) -> None:
    """What was acknowledged is there; of the last step of each session it may be that nobody was told."""
    found = contents(path)
    revoked = {row[1] for row in found["revocations"]}
    steps = {row[0]: row[6] for row in found["sessions"]}
    for line in lines:
        said = line.split(" ")
        if said[0] == "revoked":
            assert f"{said[1]} {said[2]}".encode() in revoked
    renewed: dict[str, int] = {}
    for name, step in re.findall(r"renewed (\S+ \d+) (\d+)", "\n".join(lines)):
        renewed[name] = int(step)
    for name, step in renewed.items():
        assert steps[digest(name)] in {digest(f"{name} {step}"), digest(f"{name} {step + 1}")}


async def test_what_another_process_revokes(path: Path) -> None:
    """It is known here within a second, whether this process has been writing or not."""
    async with SqliteRevocations(path) as store, store.changes() as changes:
        known = {one.subject for one in await store.load()}
        with forked("-m", "tests.tools.killed", "writer", str(path)) as program:
            seen: dict[str, float] = {}

            async def follow() -> None:
                async for one in changes:
                    assert one.subject is not None
                    seen[one.subject] = trio.current_time()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                delays = list[float]()
                for number in range(1, 100, 20):
                    wait = partial(program.stdout.wait_for, rf"revoked (\d+ {number})\n")
                    found = await trio.to_thread.run_sync(wait)
                    told = trio.current_time()
                    with trio.fail_after(SOON):
                        while found[1] not in seen:  # noqa: ASYNC110 - it may have come before
                            await trio.sleep(0.01)
                    delays.append(seen[found[1]] - told)
                    assert found[1] not in known
                    await store.add(revocation(f"ours {number}"))
                assert sorted(delays)[-2] < 1.0  # once the machine may have done something else for so long
                nursery.cancel_scope.cancel()


async def rotate(store: SqliteSessions, name: str, successor: str) -> Rotation:
    """Exchange the first token of a session."""
    return await store.rotate(digest(name), digest(f"{name} 0"), digest(successor), START + 1.0)


COMPETING = """
import sys, trio
from seawall.login.session_store import Rotated
from seawall.sessions import SqliteSessions
from tests.kit.faults import START, digest

async def main():
    async with SqliteSessions(sys.argv[1]) as store:
        print("ready", flush=True)
        for number in range(int(sys.argv[2])):
            found = await store.rotate(digest(f"{number}"), digest(f"{number} 0"), digest("theirs"), START + 1.0)
            assert isinstance(found, Rotated)
            print(number, found.session.current.rstrip(b".").decode(), flush=True)

trio.run(main)
"""


async def test_two_processes_renew_one_session(path: Path) -> None:
    """Both get the same successor, which is that of one of them; each wins some."""
    async with SqliteSessions(path) as store:
        for number in range(100):
            await store.add(evolve(session(f"{number}"), subject=f"{number}"))
        ours: list[str] = []
        with forked("-c", COMPETING, str(path), "100") as other:
            await trio.to_thread.run_sync(other.stdout.wait_for, "ready")
            for number in range(100):
                found = await rotate(store, f"{number}", "ours")
                assert isinstance(found, Rotated)
                ours.append(found.session.current.rstrip(b".").decode())
            assert await trio.to_thread.run_sync(other.wait) == 0, other.stderr.text
        theirs = [line.split(" ")[1] for line in other.stdout.text.splitlines()[1:]]
    assert ours == theirs
    assert set(ours) <= {"ours", "theirs"}


TAKING = """
import sys, trio
from seawall.sessions import SqliteTickets
from tests.kit.faults import digest

async def main():
    async with SqliteTickets(sys.argv[1]) as store:
        print("ready", flush=True)
        for number in range(int(sys.argv[2])):
            print(await store.take(digest(f"{number}")) is not None, flush=True)

trio.run(main)
"""


async def test_two_processes_take_one_ticket(path: Path) -> None:
    """One of them gets it, each time."""
    async with SqliteTickets(path, per_subject=1000) as store:
        for number in range(300):
            await store.put(digest(f"{number}"), ticket(f"{number}"), START)
        with forked("-c", TAKING, str(path), "300") as other:
            await trio.to_thread.run_sync(other.stdout.wait_for, "ready")
            ours = [await store.take(digest(f"{number}")) for number in range(300)]
            assert await trio.to_thread.run_sync(other.wait) == 0, other.stderr.text
        theirs = [line == "True" for line in other.stdout.text.splitlines()[1:]]
    assert [(one is not None) != other for one, other in zip(ours, theirs, strict=True)] == [True] * 300
    assert all(one == ticket(f"{number}") for number, one in enumerate(ours) if one is not None)


@contextmanager
def full_disk(size: int) -> Generator[None]:
    """Let no file of this process grow beyond so many bytes: SQLite cannot write then, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk(tmp_path: Path) -> None:
    """What cannot be stored is `Unavailable`, has its effect here, and the app lives on, until there is space."""
    path = tmp_path / "logins.db"
    store, sessions = SqliteRevocations(path), SqliteSessions(path)
    app = App(revocations=store)

    @app.route("/", guard=bearer(verifier))
    async def echo(conn: Connection[Claims]) -> None:
        async for message in conn:
            await conn.send(message)

    async with store, sessions, serve(app) as served, served.connect("/", headers=by(token("bob"))) as client:
        await app.sessions.revoke(subject="ada")
        await sessions.add(session("before"))
        refused = 0
        with full_disk(path.with_name("logins.db-wal").stat().st_size + 100):
            for number in range(5):
                with pytest.raises(Unavailable, match=r"logins\.db: .*Error"):
                    await app.sessions.revoke(subject=f"lost {number}")
                with pytest.raises(Unavailable, match=r"logins\.db: .*Error"):
                    await sessions.add(session(f"lost {number}"))
                refused += 1
                await client.send("there?")
                assert await client.receive() == "there?"
                with pytest.raises(Rejected) as rejected:
                    await served.connect("/", headers=by(token(f"lost {number}"))).__aenter__()
                assert rejected.value.status == 401
        await app.sessions.revoke(subject="after")
        await sessions.add(session("after"))
        assert isinstance(await rotate(sessions, "before", "next"), Rotated)
    found = contents(path)
    assert refused == 5
    assert [row[1] for row in found["revocations"]] == [b"ada", b"after"]
    assert len(found["sessions"]) == 2


async def test_a_full_disk_at_the_start(tmp_path: Path) -> None:
    """A store that cannot be made is refused, and nothing is left; one that is there can be read."""
    path = tmp_path / "logins.db"
    with full_disk(10_000), pytest.raises(Exception, match=r"SqliteSessions: .*logins\.db cannot be used"):
        SqliteSessions(path)
    assert list(tmp_path.iterdir()) == []
