"""A connection that fails at every boundary of a statement: what was not acknowledged is wholly there or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from seawall import ConfigurationError, Unavailable
from tests.kit.faults import OPERATIONS, at, between, contents, fail, operate, prepare


def attempt(path: Path, name: str) -> bool:
    """Do something, and return whether that was acknowledged."""
    refused = list[BaseException]()
    try:
        trio.run(operate, path, name)
    except* (Unavailable, ConfigurationError) as group:
        refused += group.exceptions
    return not refused


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with some of everything, closed."""
    path = tmp_path_factory.mktemp("prepared") / "prepared.db"
    trio.run(prepare, path)
    return path


#: Each takes hundreds of files: one is enough for a quick look.
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name != "rotate")) for name in OPERATIONS]


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_between_two_statements(name: str, prepared: Path, memory: Path) -> None:
    """Wherever it is, what is refused is done wholly or not at all, and what was not done can be done then."""
    before = contents(prepared)
    shutil.copy(prepared, memory / "after.db")
    assert attempt(memory / "after.db", name)
    after = contents(memory / "after.db")
    states = [before, after, *between(prepared, memory, name)]
    number, acknowledged, found = 0, 0, list[bool]()
    while True:
        path = memory / f"{number}.db"
        shutil.copy(prepared, path)
        with at(number, fail) as place:
            acknowledged += (was_acknowledged := attempt(path, name))
        if number >= len(place.passed):
            break
        left = contents(path)
        assert left in ([after] if was_acknowledged else states), place.passed[number]
        found.append(left == after)
        if left == before:
            assert attempt(path, name)
            assert contents(path) == after
        number += 1
        for each in memory.glob(f"{path.name}*"):
            each.unlink()
    assert number > 20
    assert acknowledged == 1, "that of the last round, in which nothing failed"
    assert before == after or {*found} == {False, True}
