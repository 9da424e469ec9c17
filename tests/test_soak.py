"""The soak's verdict, and that ``nox -s soak``, which takes minutes, would run at all."""

from __future__ import annotations

import sys
from typing import Final

import pytest
from attrs import asdict, evolve

from tests.kit.processes import run_forked
from tests.tools.soak import Sample, verdict

pytestmark = pytest.mark.slow

#: A server at rest that does not change, but for how often it was used.
REST: Final = Sample(connections=0, tasks=100, descriptors=50, objects=10_000, blocks=400_000, resident=60_000_000)


def rounds(**growth: int) -> list[Sample]:
    """Twelve samples, each of which is more than the one before by `growth`."""
    grown = {"connections": 1000, **growth}
    first = asdict(REST)
    return [Sample(**{name: first[name] + number * grown.get(name, 0) for name in first}) for number in range(12)]


def test_a_server_that_stays_the_same_is_flat() -> None:
    """Also one that has grown while it was warming up, and one that holds more at one time than at another."""
    assert verdict(rounds()) == []
    cold = evolve(REST, tasks=10, descriptors=5, objects=100, blocks=1000, resident=1_000_000)
    assert verdict([cold, cold, *rounds()[2:]]) == []
    busy = evolve(REST, connections=9000, resident=90_000_000, blocks=500_000, objects=REST.objects + 10)
    assert verdict([*rounds()[:9], busy, *rounds()[10:]]) == []


@pytest.mark.parametrize(
    ("name", "growth"), [("tasks", 1), ("descriptors", 1), ("objects", 10), ("blocks", 1000), ("resident", 1_000_000)]
)
def test_a_server_that_grows_is_not_flat(name: str, growth: int) -> None:
    """Whatever it is: a task or a descriptor in a thousand connections, an object in a hundred, a block, a kilobyte."""
    (complaint,) = verdict(rounds(**{name: growth}))
    assert complaint.startswith("bytes" if name == "resident" else name)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_runs() -> None:
    """A very short one goes through all its rounds; whether a server is flat that is not yet warm means nothing."""
    status, said, complaints = run_forked("-m", "tests.tools.soak", "--seconds", "1", "--rounds", "3", "--idlers", "20")
    assert complaints == ""
    assert "round 3 of 3" in said
    assert "echoes of an innocent client" in said
    assert (status, said.splitlines()[-1][:4]) in {(0, "flat"), (1, "NOT ")}
