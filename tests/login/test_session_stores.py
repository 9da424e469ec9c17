"""What every `SessionStore` does. `STORES` lists them; each test runs over all, on a store that opens twice as one."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sized
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias, cast

import pytest
import trio
from attrs import evolve

from seawall.errors import ConfigurationError, Unavailable
from seawall.login.memory_sessions import MemorySessions
from seawall.login.session_store import (
    REUSE_WITHIN,
    Reused,
    Rotated,
    Rotation,
    SessionStore,
    StoredSession,
)
from seawall.sqlite.sessions import SqliteSessions

#: Opens a store in a directory, for so many sessions, and so many of a subject.
Open: TypeAlias = Callable[[Path, int, int], AbstractAsyncContextManager[SessionStore]]


@asynccontextmanager
async def in_memory(path: Path, at_most: int, per_subject: int) -> AsyncGenerator[SessionStore]:
    """A store that has no file."""
    yield MemorySessions(at_most=at_most, per_subject=per_subject)


@asynccontextmanager
async def in_a_file(path: Path, at_most: int, per_subject: int) -> AsyncGenerator[SessionStore]:
    """A store in a file."""
    async with SqliteSessions(path / "sessions.db", at_most=at_most, per_subject=per_subject) as store:
        yield store


STORES: dict[str, Open] = {"memory": in_memory, "sqlite": in_a_file}

START = 1_750_000_000.0
AT_MOST = 20
PER_SUBJECT = 5


@pytest.fixture(params=[*STORES.values()], ids=[*STORES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SessionStore]:
    """An empty one."""
    opened: Open = request.param
    async with opened(tmp_path, AT_MOST, PER_SUBJECT) as store:
        yield store


def digest(name: str) -> bytes:
    """What stands for a token, or for a family."""
    return name.encode().ljust(32, b".")


def session(name: str = "s", *, subject: str = "ada", begins: float = START, lasts: float = 1000.0) -> StoredSession:
    """A session, whose first token is 0."""
    return StoredSession(
        session_id=f"id of {name}",
        issuer="here",
        subject=subject,
        claims='{"scope":"chat"}',
        ends_at=begins + lasts,
        family=digest(name),
        current=digest(f"{name} 0"),
        used_at=begins,
    )


async def present(store: SessionStore, step: int, *, at: float, name: str = "s") -> Rotation:
    """Exchange the token `step` of a session for the next."""
    return await store.rotate(digest(name), digest(f"{name} {step}"), digest(f"{name} {step + 1}"), START + at)


async def is_there(store: SessionStore, stored: StoredSession) -> bool:
    """Whether the session is stored. It is used up by that."""
    other = b"none of its tokens".ljust(32, b".")
    return await store.rotate(stored.family, other, other, stored.used_at) == Reused(stored)


async def test_the_first_token(store: SessionStore) -> None:
    """It is exchanged for the second: all of the session comes back, with what has changed."""
    await store.add(session())
    expected = evolve(session(), current=digest("s 1"), previous=digest("s 0"), used_at=START + 500.5)
    assert await present(store, 0, at=500.5) == Rotated(expected)


async def test_a_long_chain(store: SessionStore) -> None:
    """Each token is exchanged once, and the session stays one entry."""
    await store.add(session())
    for step in range(50):
        rotation = await present(store, step, at=step * (REUSE_WITHIN + 0.1))
        assert isinstance(rotation, Rotated)
        assert (rotation.session.previous, rotation.session.current) == (digest(f"s {step}"), digest(f"s {step + 1}"))
    assert await store.delete_subject("here", "ada") == ("id of s",)


@pytest.mark.parametrize("later", [0.0, REUSE_WITHIN - 0.1, REUSE_WITHIN, -REUSE_WITHIN + 0.1])
async def test_a_token_again_soon(store: SessionStore, later: float) -> None:
    """Within 10 s the answer is the same, whatever successor is asked for, and the time does not begin anew."""
    await store.add(session())
    first = await present(store, 0, at=100.0)
    for _ in range(3):
        assert await store.rotate(digest("s"), digest("s 0"), digest("another"), START + 100.0 + later) == first
    assert await present(store, 1, at=100.0 + later) == first  # nor is the one exchanged that has just been given
    assert await present(store, 0, at=100.0 + later) == first
    assert await present(store, 1, at=100.0 + REUSE_WITHIN + 0.1) != first
    assert isinstance(await present(store, 0, at=100.0 + REUSE_WITHIN + 0.1), Reused)


@pytest.mark.parametrize("later", [REUSE_WITHIN + 0.1, 500.0, -REUSE_WITHIN - 0.1])
async def test_a_token_again_late(store: SessionStore, later: float) -> None:
    """After 10 s the session is deleted with its present token; also if the clock was set back by that much."""
    await store.add(session())
    rotated = await present(store, 0, at=100.0)
    assert isinstance(rotated, Rotated)
    assert await present(store, 0, at=100.0 + later) == Reused(rotated.session)
    assert await present(store, 1, at=100.0 + later) is None
    assert await present(store, 0, at=100.0 + later) is None
    assert await store.delete_subject("here", "ada") == ()


async def test_a_token_of_long_ago(store: SessionStore) -> None:
    """One from before the previous one ends the session at any time."""
    await store.add(session())
    for step in range(3):
        await present(store, step, at=20.0 * step)
    assert isinstance(await present(store, 1, at=40.0), Reused)
    assert await present(store, 3, at=40.0) is None


async def test_a_token_that_never_was(store: SessionStore) -> None:
    """So does one that was never issued: who knows of the family has seen a token of it."""
    await store.add(session())
    assert await present(store, 7, at=0.0) == Reused(session())
    assert await present(store, 0, at=0.0) is None


async def test_an_unknown_family(store: SessionStore) -> None:
    """Nothing is known, and nothing happens to the others."""
    await store.add(session())
    assert await present(store, 0, at=0.0, name="x") is None
    assert isinstance(await present(store, 0, at=0.0), Rotated)


async def test_the_end(store: SessionStore) -> None:
    """At its end a session is none any more, however often it was renewed; a moment before it is one."""
    await store.add(session())
    assert isinstance(await present(store, 0, at=999.0), Rotated)
    assert isinstance(await present(store, 1, at=999.9), Rotated)
    assert await present(store, 2, at=1000.0) is None
    assert await present(store, 1, at=1000.0) is None  # which is no reuse either


async def test_delete(store: SessionStore) -> None:
    """One session goes, and the others stay; deleting what is not there is nothing."""
    await store.add(session())
    await store.add(session("t"))
    for _ in range(2):
        await store.delete("id of s")
    await store.delete("of no session")
    assert await present(store, 0, at=0.0) is None
    assert isinstance(await present(store, 0, at=0.0, name="t"), Rotated)


async def test_delete_a_subject(store: SessionStore) -> None:
    """All of one subject of one issuer go, and are told; those of others stay, of the same name elsewhere too."""
    for name in "abc":
        await store.add(session(name))
    await store.add(session("bob's", subject="bob"))
    await store.add(evolve(session("elsewhere"), issuer="elsewhere"))
    assert sorted(await store.delete_subject("here", "ada")) == ["id of a", "id of b", "id of c"]
    assert await store.delete_subject("here", "ada") == ()
    assert await present(store, 0, at=0.0, name="b") is None
    assert isinstance(await present(store, 0, at=0.0, name="bob's"), Rotated)
    assert isinstance(await present(store, 0, at=0.0, name="elsewhere"), Rotated)


async def test_names_of_any_kind(store: SessionStore) -> None:
    """What an application calls its subjects is kept as it is."""
    for subject in ("", "a\x00b", "Ädä 🙂", "'; DROP TABLE sessions; --", "x" * 5000):
        await store.add(odd := session(f"s{len(subject)}", subject=subject))
        assert await store.rotate(odd.family, digest("no"), digest("no"), START) == Reused(odd)


async def test_too_many_of_a_subject(store: SessionStore) -> None:
    """Another one takes the place of the one that was used longest ago, and nobody else's."""
    await store.add(session("other", subject="bob"))
    for number in range(PER_SUBJECT):
        await store.add(session(f"{number}", begins=START + number))
    assert isinstance(await present(store, 0, at=100.0, name="0"), Rotated)
    await store.add(session("new", begins=START + 200.0))
    assert await present(store, 0, at=200.0, name="1") is None
    for name in ("0", "2", "new", "other"):
        assert isinstance(await present(store, 1 if name == "0" else 0, at=200.0, name=name), Rotated)


async def test_too_many_in_all(store: SessionStore) -> None:
    """Another one is refused until one is deleted or has ended; a subject at its own bound gets in."""
    for number in range(AT_MOST):
        await store.add(session(f"{number}", subject=f"{number // PER_SUBJECT}", lasts=1000.0 + number))
    refused = session("refused", subject="new")
    with pytest.raises(Unavailable):
        await store.add(refused)
    assert not await is_there(store, refused)
    await store.add(session("of one who has others", subject="0"))
    await store.delete("id of 6")
    await store.add(session("for the deleted one", subject="new"))
    with pytest.raises(Unavailable):
        await store.add(refused)
    await store.add(evolve(session("for those that have ended", subject="new"), used_at=START + 1007.0))
    assert await present(store, 0, at=0.0, name="7") is None
    assert isinstance(await present(store, 0, at=0.0, name="8"), Rotated)


async def test_at_once(store: SessionStore) -> None:
    """Of many tasks that present one token at once, all get the same; and of two chains one ends the session."""
    await store.add(session())
    found: list[Rotation] = []

    async def one(successor: str) -> None:
        found.append(await store.rotate(digest("s"), digest("s 0"), digest(successor), START + 5.0))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, f"successor {number}")
    assert len(found) == 20
    assert all(rotation == found[0] for rotation in found)
    assert isinstance(found[0], Rotated)


async def test_reuse_at_once(store: SessionStore) -> None:
    """Of many tasks that use an old token at once, one is told what session it was, which is gone for the others."""
    await store.add(session())
    await present(store, 0, at=0.0)
    found: list[Rotation] = []

    async def one() -> None:
        found.append(await present(store, 0, at=60.0))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(one)
    assert sum(isinstance(rotation, Reused) for rotation in found) == 1
    assert found.count(None) == 19


async def test_cancelled(store: SessionStore) -> None:
    """A call that is cancelled before it begins has done nothing."""
    await store.add(session())
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.delete("id of s")
    with trio.CancelScope() as scope:
        scope.cancel()
        await present(store, 0, at=0.0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.add(session("t"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.delete_subject("here", "ada")
    assert await present(store, 0, at=0.0, name="t") is None
    assert await is_there(store, session())


@pytest.mark.parametrize("bound", ["at_most", "per_subject"])
@pytest.mark.parametrize("number", [0, True, 1.5, math.nan, "5"], ids=repr)
def test_bounds_that_are_none(bound: str, number: object) -> None:
    """A store for no session is a mistake."""
    with pytest.raises(ConfigurationError, match=f"MemorySessions: {bound}={number!r}; give a number"):
        MemorySessions(**{bound: cast("int", number)})


async def test_memory_is_bounded() -> None:
    """Whoever logs in and out for ever leaves nothing behind, although no session has come to its end."""
    store = MemorySessions(at_most=100, per_subject=100)
    for number in range(5000):
        await store.add(session(f"{number}", subject=f"{number}", begins=START + number * 0.1))
        if number >= 50:
            await store.delete(f"id of {number - 50}")
    kept = [value for value in vars(store).values() if isinstance(value, Sized)]
    assert len(store) == 50
    assert len(kept) == 4
    assert all(len(value) <= 2 * 50 + 65 for value in kept)
    for number in range(4950, 5000):
        await store.delete_subject("here", f"{number}")
    assert len(store) == 0
