"""Medians and their ratios, as Markdown."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import final

from attrs import define, field

from benchmarks.measures import Row, Unit
from benchmarks.method import METHOD, origin
from benchmarks.works import GOALS

OURS = "seawall"

#: What `fill_in` replaces in the docs is between these.
BEGIN, END = "<!-- written by: python -m benchmarks --write, {} -->\n", "<!-- end -->\n"


@final
@define
class Report:
    """What has been measured, by row and server; one number for each round. Every server has a column, or a note."""

    servers: Sequence[str]
    aside: Sequence[str] = ()
    remarks: list[str] = field(factory=list[str])
    """What else there is to say, such as that something was made smaller."""
    samples: dict[Row, dict[str, list[float]]] = field(factory=dict[Row, dict[str, list[float]]])

    def add(self, row: Row, server: str, measured: float) -> None:
        """Take in one number."""
        self.samples.setdefault(row, {}).setdefault(server, []).append(measured)

    def median(self, row: Row, server: str) -> float | None:
        """The median over all rounds; None if it was not measured."""
        found = self.samples[row].get(server)
        return median(found) if found else None

    def ratio(self, row: Row, server: str, than: Row | None = None) -> float | None:
        """How much of what the other server takes Seawall takes; of what it takes for another row, if that is given."""
        ours, theirs = self.median(row, OURS), self.median(than or row, server)
        return ours / theirs if ours is not None and theirs else None

    def numbers(self, unit: Unit) -> str:
        """The medians of all that is measured in this unit; nothing if there is none."""
        rows = [row for row in self.samples if row.unit is unit]
        columns = [server for server in self.servers if any(server in self.samples[row] for row in rows)]
        lines = [
            [row.title, *(_number(self.median(row, server)) for server in columns)]
            for row in rows
            if not self.samples[row].keys().isdisjoint(columns)
        ]
        return table([unit.value, *columns], lines) if lines else ""

    def ratios(self) -> str:
        """Seawall's share of what the others take."""
        measured = {server for row in self.samples.values() for server in row}
        others = [server for server in self.servers if server != OURS and server in measured]
        rows = [
            [row.title, *(_ratio(self.ratio(row, server)) for server in others)]
            for row in self.samples
            if OURS in self.samples[row]
        ]
        return table(["seawall's share of", *others], rows) if rows and others else ""

    def notes(self) -> str:
        """What stands under the tables: the servers that have no column, and the remarks."""
        lines = list(self.remarks)
        for server in self.aside:
            found = [
                f"{row.title} {_number(self.median(row, server))} {row.unit.value.rpartition(', ')[2]}"
                for row in self.samples
                if server in self.samples[row]
            ]
            if found:
                lines.append(f"Seawall {server}, as on macOS, measured once: {'; '.join(found)}.")
        return "\n".join(f"{line}\n" for line in lines)

    def goals(self) -> str:
        """What had to be reached, and what was."""
        rows = list[list[str]]()
        titles = {row.title: row for row in self.samples}
        for goal in GOALS:
            row, than = titles.get(goal.title), titles.get(goal.than or goal.title)
            if row is not None and than is not None and (ratio := self.ratio(row, goal.against, than)) is not None:
                limit = f"{goal.at_most:.2f}" + (f" (aim {goal.aim:.2f})" if goal.aim is not None else "")
                reached = "ok" if ratio <= goal.at_most else "**not**"
                against = f"{goal.against}, {goal.than}" if goal.than else goal.against
                rows.append([goal.title, against, f"{ratio:.2f}", limit, reached])
        return table(["work", "against", "ratio", "at most", ""], rows) if rows else ""

    def part(self, units: Container[Unit]) -> Report:
        """What has been measured in these units alone."""
        samples = {row: found for row, found in self.samples.items() if row.unit in units}
        return Report(self.servers, self.aside, self.remarks, samples)

    def summary(self, units: Iterable[Unit]) -> str:
        """What one looks for first."""
        parts = (origin(), *map(self.numbers, units), self.notes())
        return "\n".join(part for part in parts if part)

    def text(self) -> str:
        """All of it."""
        parts = (origin(), METHOD, *map(self.numbers, Unit), self.notes(), self.ratios(), self.goals())
        return "\n".join(part for part in parts if part)


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


def fill_in(what: str, text: str) -> None:
    """Replace a part of the docs."""
    page, begin = Path(__file__).parent.parent / "docs" / "benchmarks.md", BEGIN.format(what)
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, end, after = rest.partition(END)
    if found and end:
        page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
