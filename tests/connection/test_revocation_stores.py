"""What every `RevocationStore` of ours does. `STORES` lists them; each test runs over all."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import trio

from seawall import Unavailable
from seawall.sessions import MemoryRevocations, Revocation, RevocationStore, SqliteRevocations
from tests.kit.wire import SOON

#: Opens a store in a directory.
Open: TypeAlias = Callable[[Path], AbstractAsyncContextManager[RevocationStore]]


@asynccontextmanager
async def in_memory(path: Path) -> AsyncGenerator[RevocationStore]:
    """A store that has no file."""
    yield MemoryRevocations()


@asynccontextmanager
async def in_a_file(path: Path) -> AsyncGenerator[RevocationStore]:
    """A store in a file."""
    async with SqliteRevocations(path / "revocations.db") as store:
        yield store


STORES: dict[str, Open] = {"memory": in_memory, "sqlite": in_a_file}


@pytest.fixture(params=[*STORES.values()], ids=[*STORES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RevocationStore]:
    """An empty one."""
    opened: Open = request.param
    async with opened(tmp_path) as store:
        yield store


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The wall clock, to be set."""
    now = [1000.0]
    monkeypatch.setattr("seawall.clock.source", lambda: now[0])
    return now


@pytest.fixture
def at_most_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that are full with two."""
    for place in ("seawall.connection.revocation_store", "seawall.sqlite.revocations"):
        monkeypatch.setattr(f"{place}.MAX_REVOCATIONS", 2)


def of(token_id: str, *, until: float = math.inf) -> Revocation:
    """That of a token."""
    return Revocation(token_id=token_id, issued_before=math.inf, revoked_at=1000.0, forgotten_at=until)


async def ids(store: RevocationStore) -> list[str | None]:
    """Those of the tokens that are revoked."""
    return [one.token_id for one in await store.load()]


ODD = [
    Revocation(issued_before=5.0, forgotten_at=math.inf),
    Revocation(issuer="", issued_before=math.inf, revoked_at=-math.inf, forgotten_at=math.inf),
    Revocation(subject="a\x00b", issued_before=-math.inf, forgotten_at=1e300),
    Revocation(subject="\ud800", session_id="Ädä 🙂", issued_before=0.1 + 0.2, revoked_at=0.1, forgotten_at=math.inf),
    Revocation(token_id="'; DROP TABLE revocations; --", issued_before=1, forgotten_at=2**53),
    Revocation(issuer="i", subject="s" * 5000, session_id="x", token_id="t", issued_before=1.5, forgotten_at=math.inf),
]


async def test_all_comes_back(store: RevocationStore) -> None:
    """Whatever it names, and whatever its times are, infinite ones included."""
    assert list(await store.load()) == []
    for one in ODD:
        await store.add(one)
    assert list(await store.load()) == ODD


async def test_the_same_again(store: RevocationStore) -> None:
    """It is one; and among others with some of the same names it stays that."""
    for _ in range(3):
        await store.add(of("1"))
    await store.add(Revocation(issuer="", token_id="1", issued_before=1.0, forgotten_at=math.inf))
    await store.add(Revocation(subject="1", issued_before=1.0, forgotten_at=math.inf))
    assert len(list(await store.load())) == 3


async def test_nothing_is_taken_back(store: RevocationStore) -> None:
    """Of two with the same names the later times count, in whatever order; one that named a time is its own."""
    late = Revocation(subject="ada", issued_before=20.0, revoked_at=20.0, forgotten_at=1e12)
    for one in (late, Revocation(subject="ada", issued_before=10.0, revoked_at=10.0, forgotten_at=math.inf)):
        await store.add(one)
    named = Revocation(subject="ada", issued_before=15.0, forgotten_at=math.inf)
    await store.add(named)
    both = Revocation(subject="ada", issued_before=20.0, revoked_at=20.0, forgotten_at=math.inf)
    assert list(await store.load()) == [both, named]


async def test_what_has_had_its_time(store: RevocationStore, now: list[float]) -> None:
    """It is not loaded any more, from that moment on."""
    await store.add(of("1", until=1010.0))
    await store.add(of("2", until=1020.0))
    now[0] = 1009.9
    assert await ids(store) == ["1", "2"]
    now[0] = 1010.0
    assert await ids(store) == ["2"]
    now[0] = 1020.0
    assert await ids(store) == []


@pytest.mark.usefixtures("at_most_2")
async def test_it_is_bounded(store: RevocationStore, now: list[float]) -> None:
    """What has had its time makes room; without that, it is `Unavailable`, and what is known is kept."""
    await store.add(of("1", until=1010.0))
    await store.add(of("2", until=1020.0))
    with pytest.raises(Unavailable, match="2 revocations"):
        await store.add(of("3", until=1030.0))
    await store.add(of("1", until=1015.0))  # the same
    now[0] = 1016.0
    await store.add(of("3", until=1030.0))
    assert await ids(store) == ["2", "3"]


async def test_changes(store: RevocationStore) -> None:
    """They are what is added from the beginning of the block on, once each, and in order; also what is known better."""
    await store.add(of("0"))
    async with store.changes() as changes:
        for number in range(1, 30):
            await store.add(of(str(number)))
        with trio.fail_after(SOON):
            assert [(await anext(changes)).token_id for _ in range(29)] == [str(number) for number in range(1, 30)]
            await store.add(of("7", until=math.inf))
            assert (await anext(changes)).token_id == "7"


async def test_changes_for_several(store: RevocationStore) -> None:
    """Each gets all, and being cancelled loses nothing."""
    async with store.changes() as one, store.changes() as other:
        with trio.move_on_after(0.01) as scope:
            await anext(one)
        assert scope.cancelled_caught
        for number in range(10):
            await store.add(of(str(number)))
        with trio.fail_after(SOON):
            for changes in (one, other):
                assert [(await anext(changes)).token_id for _ in range(10)] == [str(number) for number in range(10)]


async def test_nothing_is_missed_in_between(store: RevocationStore) -> None:
    """Whoever enters `changes`, then loads, then iterates has all, whenever it was added."""
    expected = {str(number) for number in range(100)}
    found = set[str | None]()

    async def add() -> None:
        for name in sorted(expected):
            await store.add(of(name))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(add)
        await trio.sleep(0.01)
        async with store.changes() as changes:
            found.update(await ids(store))
            with trio.fail_after(SOON):
                while found != expected:
                    found.add((await anext(changes)).token_id)


async def test_many_at_once(store: RevocationStore) -> None:
    """Each of them is stored."""
    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(store.add, of(str(number)))
    assert sorted(map(str, await ids(store))) == sorted(map(str, range(300)))


async def test_cancelled(store: RevocationStore) -> None:
    """A call that is cancelled before it begins has done nothing."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.add(of("1"))
    assert scope.cancelled_caught
    assert list(await store.load()) == []
