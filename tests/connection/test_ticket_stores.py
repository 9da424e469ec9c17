"""What every `TicketStore` does. `STORES` lists them; each test runs over all, on a store that opens twice as one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import trio

from seawall.connection.ticket_store import LIFETIME, SKEW, MemoryTickets, StoredTicket, TicketStore
from seawall.errors import ConfigurationError, TooManyRequests, Unavailable
from seawall.sqlite.tickets import SqliteTickets

#: Opens a store in a directory, for so many tickets, and so many of a subject.
Open: TypeAlias = Callable[[Path, int, int], AbstractAsyncContextManager[TicketStore]]


@asynccontextmanager
async def in_memory(path: Path, at_most: int, per_subject: int) -> AsyncGenerator[TicketStore]:
    """A store that has no file."""
    yield MemoryTickets(at_most=at_most, per_subject=per_subject)


@asynccontextmanager
async def in_a_file(path: Path, at_most: int, per_subject: int) -> AsyncGenerator[TicketStore]:
    """A store in a file."""
    async with SqliteTickets(path / "tickets.db", at_most=at_most, per_subject=per_subject) as store:
        yield store


STORES: dict[str, Open] = {"memory": in_memory, "sqlite": in_a_file}

START = 1_750_000_000.0
AT_MOST = 12
PER_SUBJECT = 3


@pytest.fixture(params=[*STORES.values()], ids=[*STORES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TicketStore]:
    """An empty one."""
    opened: Open = request.param
    async with opened(tmp_path, AT_MOST, PER_SUBJECT) as store:
        yield store


def digest(name: str) -> bytes:
    """What stands for a ticket, or for an owner."""
    return name.encode().ljust(32, b".")


def stored(name: str, *, owner: str = "ada", at: float = 0.0) -> StoredTicket:
    """A ticket that is put `at` seconds after the start."""
    return StoredTicket(
        token=f"token of {name}", owner=digest(owner), route="/rooms/{room}", expires_at=START + at + LIFETIME
    )


async def put(store: TicketStore, name: str, *, owner: str = "ada", at: float = 0.0) -> StoredTicket:
    """Put a ticket, `at` seconds after the start."""
    ticket = stored(name, owner=owner, at=at)
    await store.put(digest(name), ticket, START + at)
    return ticket


async def take(store: TicketStore, name: str) -> StoredTicket | None:
    """Take it."""
    return await store.take(digest(name))


async def test_taken_once(store: TicketStore) -> None:
    """What was put comes back whole, once; what was never put does not."""
    ticket = await put(store, "one")
    other = await put(store, "two")
    assert await take(store, "three") is None
    assert await take(store, "one") == ticket
    assert await take(store, "one") is None
    assert await take(store, "two") == other


async def test_two_at_once(store: TicketStore) -> None:
    """Of many who take one ticket at the same time, one gets it, each time."""
    for number in range(20):
        name, got = str(number), list[StoredTicket | None]()
        await put(store, name)

        async def taker(name: str = name, got: list[StoredTicket | None] = got) -> None:
            got.append(await take(store, name))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(taker)
        assert sorted(one is None for one in got) == [False, True, True, True, True]


async def test_so_many_of_a_subject(store: TicketStore) -> None:
    """One more is refused, and nobody else's is; taking one makes room, and so does the end of the first."""
    for number in range(PER_SUBJECT):
        await put(store, str(number), at=float(number))
    with pytest.raises(TooManyRequests) as refused:
        await put(store, "more", at=10.0)
    assert refused.value.retry_after == LIFETIME - 10.0
    assert await take(store, "more") is None
    await put(store, "other", owner="eve", at=10.0)
    assert await take(store, "1") is not None
    await put(store, "more", at=10.0)
    with pytest.raises(TooManyRequests) as refused:
        await put(store, "again", at=LIFETIME - 0.1)
    assert refused.value.retry_after == 1.0
    await put(store, "again", at=LIFETIME)
    with pytest.raises(TooManyRequests):
        await put(store, "once more", at=LIFETIME)


async def test_so_many_in_all(store: TicketStore) -> None:
    """One more is unavailable until one has been taken, or has ended."""
    for number in range(AT_MOST):
        await put(store, str(number), owner=str(number), at=float(number))
    with pytest.raises(Unavailable) as refused:
        await put(store, "more", owner="more", at=20.0)
    assert refused.value.retry_after == LIFETIME - 20.0
    assert await take(store, "5") is not None
    await put(store, "more", owner="more", at=20.0)
    with pytest.raises(Unavailable):
        await put(store, "again", owner="again", at=20.0)
    await put(store, "again", owner="again", at=LIFETIME)


async def test_what_has_ended(store: TicketStore) -> None:
    """It is deleted by the next that is put."""
    await put(store, "one")
    await put(store, "two", at=10.0)
    await put(store, "three", at=LIFETIME)
    assert await take(store, "one") is None
    assert await take(store, "two") is not None


async def test_a_clock_that_is_set_back(store: TicketStore) -> None:
    """Tickets of before would end too late; they are deleted, so that they are in nobody's way."""
    for number in range(PER_SUBJECT):
        await put(store, str(number), at=SKEW + 1.0)
    await put(store, "after", at=0.0)
    assert [await take(store, str(number)) for number in range(PER_SUBJECT)] == [None] * PER_SUBJECT
    assert await take(store, "after") is not None


@pytest.mark.parametrize("number", [0, -1, 1.5, True, None])
def test_mistaken_numbers(number: int) -> None:
    """No store is made for none."""
    with pytest.raises(ConfigurationError, match="at_most"):
        MemoryTickets(at_most=number)
    with pytest.raises(ConfigurationError, match="per_subject"):
        MemoryTickets(per_subject=number)


async def test_nothing_is_left() -> None:
    """A table in memory is empty when all have been taken or have ended."""
    memory = MemoryTickets()
    for number in range(50):
        await put(memory, str(number), owner=str(number % 20), at=float(number % 3))
    assert len(memory) == 50
    for number in range(0, 50, 2):
        assert await take(memory, str(number)) is not None
    await put(memory, "last", at=LIFETIME + 3.0)
    assert len(memory) == 1
    assert await take(memory, "last") is not None
    assert (len(memory), vars(memory)["_owned"]) == (0, {})
