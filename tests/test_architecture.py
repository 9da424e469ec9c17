"""docs/architecture.md is true: its tree is the real one, and what it names exists where it says."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import seawall

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SOURCE = Path(seawall.__file__).parent


def drawn() -> set[str]:
    """The modules in the tree of the page."""
    (tree,) = re.findall(r"```\nseawall/\n(.*?)```", PAGE, re.DOTALL)
    found, folders = set[str](), dict[int, str]()
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        above = "".join(folders[level] for level in range(1, depth))
        if name.endswith("/"):
            folders[depth] = name
        else:
            found.add(above + name)
            assert len(line.split()) > 1, f"{name}: says nothing"
    return found


def named() -> list[str]:
    """What the page names in code: functions, classes, methods."""
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    names = set(re.findall(r"`([A-Za-z_]+(?:\.[a-z_]+)?)`", prose))
    return sorted(name for name in names if not name.endswith((".py", ".toml")))


def defined() -> dict[str, object]:
    """Everything that the package defines, by its name."""
    found: dict[str, object] = {}
    for module in pkgutil.walk_packages(seawall.__path__, "seawall."):
        if not module.name.endswith("__main__"):
            found |= vars(importlib.import_module(module.name))
    return found


def test_the_tree_is_the_real_one() -> None:
    """Every module is drawn, where it is, and no other."""
    real = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py")}
    packages = {name for name in real if name.endswith("/__init__.py")}
    assert drawn() == real - packages


DEFINED = defined()
#: Packages, and what is not in a module's namespace.
ELSEWHERE = {
    *("cli", "demo", "testing", "login", "app", "serving", "routing", "connection", "guards", "observability"),
    *("policy", "http", "wire", "messages", "errors", "sqlite", "topics", "rooms"),
    *("serve", "Origin"),  # a method of an app, and a header
}


@pytest.mark.parametrize("name", [name for name in named() if name not in ELSEWHERE])
def test_what_is_named_exists(name: str) -> None:
    """Each function, class and method on the page is in the code, under that name."""
    first, _, rest = name.partition(".")
    if first.startswith("above_"):
        first, rest = "ReceiveQueue", first
    assert first in DEFINED, first
    if rest:
        owner = DEFINED[first]
        assert inspect.isclass(owner)
        assert rest in {*dir(owner), *re.findall(r"self\.(\w+)", inspect.getsource(owner)), *owner.__annotations__}


def test_every_level_is_the_linters() -> None:
    """The order of the packages on the page is that of the contract."""
    (levels,) = re.findall(r"Imports point down: (.*?) the other modules", PAGE, re.DOTALL)
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (layers,) = re.findall(r'containers = \["seawall"\].*?layers = \[(.*?)\]', contract, re.DOTALL)
    told = [re.findall(r"`(\w+)`", level) for level in levels.split(">")]
    lint = [re.findall(r"\w+", layer) for layer in re.findall(r'"([^"]+)"', layers)]
    assert [level for level in told if level] == lint[1 : 1 + len([level for level in told if level])]
