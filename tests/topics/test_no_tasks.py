"""However many rooms and readers there are, they have one task: that of the pump, which the server starts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from seawall import topics

MODULES = sorted(Path(topics.__path__[0]).glob("*.py"))

#: What begins a task or a thread, in Trio.
BEGINNINGS = {"start_soon", "start", "open_nursery", "spawn_system_task", "run_sync", "run_sync_soon"}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_no_task_begins(module: Path) -> None:
    """Nothing in the package begins one, for a room, a reader, an event or anything else."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in called}
    assert names & BEGINNINGS == set()


def test_all_modules_are_looked_at() -> None:
    """The pump is among them: it is a service, and the server runs it."""
    assert {"pump.py", "hub.py", "forwarding.py", "room.py"} <= {module.name for module in MODULES}
