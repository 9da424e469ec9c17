"""Medians and their ratios, as Markdown."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import final

from attrs import define, field

from benchmarks.measures import Row, Unit
from benchmarks.works import GOALS

OURS = "seawall"
PACKAGES = ("trio", "trio-websocket", "websockets", "hypercorn", "aiohttp", "uvicorn", "starlette", "uvloop", "picows")


@final
@define
class Report:
    """What has been measured, by row and server; one number for each round."""

    servers: Sequence[str]
    samples: dict[Row, dict[str, list[float]]] = field(factory=dict[Row, dict[str, list[float]]])

    def add(self, row: Row, server: str, measured: float) -> None:
        """Take in one number."""
        self.samples.setdefault(row, {}).setdefault(server, []).append(measured)

    def median(self, row: Row, server: str) -> float | None:
        """The median over all rounds; None if it was not measured."""
        found = self.samples[row].get(server)
        return median(found) if found else None

    def ratio(self, row: Row, server: str) -> float | None:
        """How much of what the other server takes Seawall takes."""
        ours, theirs = self.median(row, OURS), self.median(row, server)
        return ours / theirs if ours is not None and theirs else None

    def numbers(self, unit: Unit) -> str:
        """The medians of all that is measured in this unit; nothing if there is none."""
        rows = [
            [row.title, *(_number(self.median(row, server)) for server in self.servers)]
            for row in self.samples
            if row.unit is unit
        ]
        return table([unit.value, *self.servers], rows) if rows else ""

    def ratios(self) -> str:
        """Seawall's share of what the others take."""
        others = [server for server in self.servers if server != OURS]
        rows = [
            [row.title, *(_ratio(self.ratio(row, server)) for server in others)]
            for row in self.samples
            if OURS in self.samples[row]
        ]
        return table(["seawall's share of", *others], rows) if rows and others else ""

    def goals(self) -> str:
        """What had to be reached, and what was."""
        rows = list[list[str]]()
        titles = {row.title: row for row in self.samples}
        for goal in GOALS:
            row = titles.get(goal.title)
            if row is not None and (ratio := self.ratio(row, goal.against)) is not None:
                reached = "yes" if ratio <= goal.at_most else "**no**"
                rows.append([goal.title, goal.against, f"{goal.at_most:.2f}", f"{ratio:.2f}", reached])
        return table(["work", "against", "at most", "measured", "reached"], rows) if rows else ""

    def summary(self) -> str:
        """What one looks for first."""
        return "\n".join((origin(), self.numbers(Unit.CPU), self.numbers(Unit.MEMORY)))

    def text(self) -> str:
        """All of it."""
        parts = (origin(), *map(self.numbers, Unit), self.ratios(), self.goals())
        return "\n".join(part for part in parts if part)


def origin() -> str:
    """When, where and with what it was measured."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    machine = f"Python {platform.python_version()}, {platform.system()}, {_processor()}"
    command = " ".join(["python -m benchmarks", *(argument for argument in sys.argv[1:] if argument != "--write")])
    return f"{time.strftime('%Y-%m-%d', time.gmtime())}, `{command}`: {machine}; {versions}.\n"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose first column is text."""
    lines = [head, ["---", *["---:" for _ in head[1:]]], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
