"""`Owners`: who has most, found without asking everybody."""

from __future__ import annotations

import random
import time

import pytest

from seawall.connection.revocation_owners import Owners
from seawall.connection.revocations import Revocations, Selection
from seawall.errors import Unavailable


def test_who_has_most() -> None:
    """Whoever is named has as many as anybody, and two at least."""
    chance, owners, known = random.Random(14), Owners[int, int](), dict[int, set[int]]()
    for _ in range(20_000):
        owner, one = chance.randrange(30), chance.randrange(20)
        if chance.random() < 0.5:
            owners.add(owner, one)
            known.setdefault(owner, set()).add(one)
        else:
            owners.discard(owner, one)
            known.get(owner, set[int]()).discard(one)
        if chance.random() < 0.05 and (named := owners.largest()) is not None:
            assert len(known[named]) == max(map(len, known.values()))
            assert set(owners.of(named)) == known[named]
            for each in owners.of(named):
                owners.discard(named, each)
            known[named].clear()
        elif chance.random() < 0.05:
            assert (owners.largest() is None) == (max(map(len, known.values()), default=0) < 2)
        assert len(owners) == sum(1 for owned in known.values() if owned)


def test_what_is_not_there() -> None:
    """Nothing is had by nobody, and nothing is taken away from them."""
    owners = Owners[str, int]()
    owners.discard("nobody", 1)
    assert owners.largest() is None
    assert owners.of("nobody") == ()


def test_coming_and_going_takes_no_room() -> None:
    """However often owners get a second one and lose it."""
    owners = Owners[int, int]()
    for turn in range(100_000):
        owner = turn % 10
        owners.add(owner, 1)
        owners.add(owner, 2)
        owners.discard(owner, 2)
    assert len(owners._sizes) < 100  # pyright: ignore[reportPrivateUsage] # its room is what this is about


@pytest.mark.parametrize("tokens", [1, 2], ids=["one of each", "two of each"])
def test_a_full_table_is_no_slower(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs out while the table is full, of one token or of several of a subject, holds up nobody."""
    monkeypatch.setattr("seawall.connection.revocations.MAX_REVOCATIONS", 30_000)
    revocations, began = Revocations(kept=1000.0), time.process_time()

    def revoke(number: int) -> bool:
        try:
            selection = Selection("us", f"user {number // tokens}", None, str(number))
            revocations.put(selection, revocations.entry_of(selection, None, ()))
        except Unavailable:
            return False
        return True

    assert all(revoke(number) for number in range(30_000))
    filled = time.process_time()
    assert [revoke(number) for number in range(30_000, 31_000)] == [tokens > 1] * 1000
    assert time.process_time() - filled < 2 * (filled - began) + 1.0  # else each goes through all owners
