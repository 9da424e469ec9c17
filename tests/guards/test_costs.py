"""What a guard may cost: that is in microseconds (`python -m benchmarks.verifying`), and is held here by counting.

How many instructions of Python's virtual machine there are differs a little from one version to the next; each bound
leaves room for that, and none for twice as much.
"""

from __future__ import annotations

import pytest

from benchmarks.guarding import ADA, CHAINS, admitting, proved, verifying
from seawall.guards.results import proved as looked_at
from tests.kit.steps import steps


def test_steps_are_counted_the_same_each_time() -> None:
    """Twice the work takes twice the steps, and each run of it as many."""
    one, two = steps(lambda: list(map(divmod_of, range(100)))), steps(lambda: list(map(divmod_of, range(200))))
    assert one == steps(lambda: list(map(divmod_of, range(100))))
    assert 1.9 * one < two < 2.1 * one


def divmod_of(number: int) -> tuple[int, int]:
    """A function that is not one of Python's own."""
    return divmod(number, 7)


@pytest.mark.parametrize(("chain", "most"), list(zip(CHAINS, (200, 240), strict=True)), ids=["scopes", "mixed"])
def test_four_checks(chain: str, most: int) -> None:
    """Four checks take 140 and 170 instructions more than their guard alone, in 0.9 and 1.4 µs: 2 µs are allowed."""
    assert 100 < steps(admitting(CHAINS[chain])) - steps(admitting(proved)) < most


def test_kinds_of_principals_are_looked_at_once() -> None:
    """Whether an object may prove somebody is found out for its class once: it takes as long as four checks."""
    assert steps(lambda: looked_at(proved, ADA)) < 20


def test_verifying_rs256() -> None:
    """Seawall takes 600 instructions more than PyJWT, in 6 to 9 µs: 10 µs are allowed."""
    by_pyjwt, by_seawall = verifying("RS256")
    assert 400 < steps(by_seawall) - steps(by_pyjwt) < 850
