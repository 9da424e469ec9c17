"""Medians and their ratios, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import final

from attrs import define, field

from benchmarks.works import GOALS

Samples = dict[str, dict[str, list[float]]]

OURS = "seawall"


@final
@define
class Report:
    """What has been measured, by row and server; one number for each round."""

    servers: Sequence[str]
    samples: Samples = field(factory=dict[str, dict[str, list[float]]])

    def add(self, row: str, server: str, measured: float) -> None:
        """Take in one number."""
        self.samples.setdefault(row, {}).setdefault(server, []).append(measured)

    def median(self, row: str, server: str) -> float | None:
        """The median over all rounds; None if it was not measured."""
        found = self.samples.get(row, {}).get(server)
        return median(found) if found else None

    def ratio(self, row: str, server: str) -> float | None:
        """How much of what the other server takes Seawall takes."""
        ours, theirs = self.median(row, OURS), self.median(row, server)
        return ours / theirs if ours is not None and theirs else None

    def numbers(self) -> str:
        """The medians: microseconds, or bytes of memory."""
        rows = ([row, *(_number(row, self.median(row, server)) for server in self.servers)] for row in self.samples)
        return table(["microseconds", *self.servers], rows)

    def ratios(self) -> str:
        """Seawall's share of what the others take."""
        others = [server for server in self.servers if server != OURS]
        rows = ([row, *(_ratio(self.ratio(row, server)) for server in others)] for row in self.samples)
        return table(["seawall's share of", *others], rows)

    def goals(self) -> str:
        """What had to be reached, and what was."""
        rows = list[list[str]]()
        for goal in GOALS:
            if (ratio := self.ratio(goal.row, goal.against)) is not None:
                reached = "yes" if ratio <= goal.at_most else "**no**"
                rows.append([goal.row, goal.against, f"{goal.at_most:.2f}", f"{ratio:.2f}", reached])
        return table(["work", "against", "at most", "measured", "reached"], rows) if rows else ""


def _number(row: str, value: float | None) -> str:
    if value is None:
        return ""
    if row.startswith("memory"):
        return f"{value / 1024:.1f} KiB"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose first column is text."""
    lines = [head, ["---", *["---:" for _ in head[1:]]], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
