"""The two tables of `seawall.wire.state`: every pair, which way they lead, and that nothing else writes the states."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final

import pytest

import seawall
from seawall.wire.state import (
    IllegalTransition,
    Reading,
    ReadingEvent,
    Replying,
    ReplyingEvent,
    advance_reading,
    advance_replying,
)

#: What follows, row by row: the state, then for each event the state after it, or "-" where it cannot happen.
READING: Final = """
          ACCEPTED CLOSE VIOLATION VANISHED  FAULT    LINGER    END_OF_STREAM ABORTED  RESET
HEAD      OPEN     -     -         LOST      LOST     -         FINISHED      FINISHED FINISHED
GUARDED   -        ENDED ENDED     LOST      LOST     LINGERING FINISHED      FINISHED FINISHED
OPEN      -        ENDED ENDED     LOST      LOST     LINGERING FINISHED      FINISHED FINISHED
ENDED     -        -     -         LOST      LOST     LINGERING FINISHED      FINISHED FINISHED
LOST      LOST     -     -         LOST      LOST     LINGERING FINISHED      FINISHED FINISHED
LINGERING -        -     -         LINGERING FINISHED LINGERING FINISHED      FINISHED FINISHED
FINISHED  FINISHED -     -         FINISHED  FINISHED FINISHED  FINISHED      FINISHED FINISHED
"""

#: The same for what guards do.
READING_GUARDS: Final = """
          ACCEPTED_BY_GUARD ADMITTED
HEAD      GUARDED           HEAD
GUARDED   -                 OPEN
OPEN      -                 OPEN
ENDED     -                 ENDED
LOST      LOST              LOST
LINGERING -                 LINGERING
FINISHED  FINISHED          FINISHED
"""

REPLYING: Final = """
             BEGIN_CLOSING  CLOSE       BREAK
OPEN         CLOSING        -           BROKEN
CLOSING      CLOSING        CLOSE_SENT  OVER
CLOSE_SENT   CLOSE_SENT     -           OVER
BROKEN       OVER           -           BROKEN
OVER         OVER           -           OVER
"""


def rows(table: str) -> list[tuple[str, str, str]]:
    """The cells of a table: state, event, and what follows."""
    cells: list[tuple[str, str, str]] = []
    head, *lines = table.strip().splitlines()
    for line in lines:
        state, *following = line.split()
        cells += [(state, event, after) for event, after in zip(head.split(), following, strict=True)]
    return cells


@pytest.mark.parametrize(("state", "event", "after"), [*rows(READING), *rows(READING_GUARDS)])
def test_reading(state: str, event: str, after: str) -> None:
    """Each event in each state leads where the table says, or raises."""
    if after == "-":
        with pytest.raises(IllegalTransition, match=f"{event} while reading is {state}"):
            advance_reading(Reading[state], ReadingEvent[event])
    else:
        assert advance_reading(Reading[state], ReadingEvent[event]) is Reading[after]


@pytest.mark.parametrize(("state", "event", "after"), rows(REPLYING))
def test_replying(state: str, event: str, after: str) -> None:
    """Each event in each state leads where the table says, or raises."""
    if after == "-":
        with pytest.raises(IllegalTransition, match=f"{event} while replying is {state}"):
            advance_replying(Replying[state], ReplyingEvent[event])
    else:
        assert advance_replying(Replying[state], ReplyingEvent[event]) is Replying[after]


def test_the_tables_are_whole() -> None:
    """No pair is left out above."""
    assert {(state, event) for state, event, _ in [*rows(READING), *rows(READING_GUARDS)]} == {
        (state.name, event.name) for state, event in product(Reading, ReadingEvent)
    }
    assert {(state, event) for state, event, _ in rows(REPLYING)} == {
        (state.name, event.name) for state, event in product(Replying, ReplyingEvent)
    }


def test_nothing_leads_back() -> None:
    """So that ``>=`` says what has been reached for good."""
    for state, _, after in rows(READING):
        assert after == "-" or Reading[after] >= Reading[state]
    for state, _, after in rows(REPLYING):
        assert after == "-" or Replying[after] >= Replying[state]


def assignments(path: Path) -> Iterator[tuple[str, str]]:
    """What is assigned to attributes of these names in a file: the attribute, and the function or value."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in (inner for outer in targets for inner in ast.walk(outer)):
                if isinstance(target, ast.Attribute) and target.attr in {"reading", "replying"}:
                    value = node.value.func if isinstance(node.value, ast.Call) else node.value
                    yield target.attr, ast.unparse(value) if value is not None else ""


def test_the_tables_are_the_only_writers() -> None:
    """After the first state, each assignment in the whole of Seawall is what a table says."""
    source = Path(seawall.__file__).parent
    found = {one for path in source.rglob("*.py") for one in assignments(path)}
    assert found == {
        ("reading", "Reading.HEAD"),
        ("reading", "advance_reading"),
        ("replying", "Replying.OPEN"),
        ("replying", "advance_replying"),
    }
