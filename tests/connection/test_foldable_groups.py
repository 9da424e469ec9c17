"""Of all groups the one whose members, folded into one, free most; however many groups there are."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from seawall.connection.foldable_groups import FoldableGroups
from seawall.connection.revocations import Revocations, Selection
from seawall.errors import Unavailable

GROUPS = "abcd"

#: A group, what happens in it, and to which member.
STEPS = st.lists(
    st.tuples(st.sampled_from(GROUPS), st.sampled_from(["add", "discard", "fold", "unfold"]), st.integers(0, 4))
)


@given(steps=STEPS)
def test_mended_07_the_largest_after_any_history(steps: list[tuple[str, str, int]]) -> None:
    """It is one of those that free most by counting, and none if none frees anything."""
    groups = FoldableGroups[str, int]()
    members: dict[str, set[int]] = {group: set() for group in GROUPS}
    folded = set[str]()
    for group, what, member in steps:
        if what == "add":
            groups.add(group, member)
            members[group].add(member)
        elif what == "discard":
            if member in members[group]:
                groups.discard(group, member)
                members[group].discard(member)
        else:
            groups.mark(group, folded=what == "fold")
            folded = folded | {group} if what == "fold" else folded - {group}
        freed = {one: len(members[one]) - (one not in folded) for one in GROUPS if members[one]}
        most = max(freed.values(), default=0)
        largest = groups.largest()
        assert (most > 0) == (largest is not None)
        if largest is not None:
            assert freed[largest] == most
            assert set(groups.members(largest)) == members[largest]


def test_mended_07_nothing_out_of_date_is_kept() -> None:
    """However often members come and go, what is remembered of that grows with the groups, and not with time."""
    groups = FoldableGroups[str, int]()
    for number in range(2):
        groups.add("b", number)
    for _ in range(1000):
        for number in range(3):
            groups.add("a", number)
        for number in range(3):
            groups.discard("a", number)
    assert len(groups._ranked) <= 20  # pyright: ignore[reportPrivateUsage] # a leak would be here
    assert groups.largest() == "b"


def seconds_of_one_more(size: int) -> float:
    """How long a revocation takes for which there is no room, in a table of so many subjects with one token each."""
    table = Revocations(kept=86_460.0)
    for number in range(size):
        table.add(Selection(None, f"user {number}", None, f"token {number}"), None, ())
    best = float("inf")
    for number in range(20):
        began = time.perf_counter()
        try:
            table.add(Selection(None, f"another {number}", None, f"another {number}"), None, ())
        except Unavailable:
            best = min(best, time.perf_counter() - began)
    assert best < float("inf")
    return best


def test_mended_07_a_full_table_is_not_walked() -> None:
    """One more revocation for which there is no room costs no more in a table of 100,000 than in one that is small.

    It took a walk over all subjects, which held up every connection for a tenth of a second.
    """
    assert seconds_of_one_more(100_000) < 0.003
