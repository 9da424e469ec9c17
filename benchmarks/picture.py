"""What was measured, as one picture: a panel for each work, a bar for each server."""

# The **kwargs of matplotlib have no types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.measures import Row, Unit
from benchmarks.report import OURS, Report

#: The rows that are worth a panel; what was not measured is left out.
PANELS = (
    Row("echo 64 B"),
    Row("echo 64 KiB"),
    Row("echo 1 MiB"),
    Row("broadcast, each delivery"),
    Row("handshake"),
    Row("an idle connection", Unit.MEMORY),
)
COLUMNS = 3
OUR_COLOUR, THEIR_COLOUR = "#0b6e8c", "#b9c4c9"


def draw(report: Report, path: Path) -> None:
    """Draw it into an SVG file, which is the same for the same numbers."""
    rows = [row for row in PANELS if row in report.samples]
    if not rows:
        return
    lines = -(-len(rows) // COLUMNS)
    figure = Figure(figsize=(11, 0.6 + 2.3 * lines), layout="constrained")
    figure.suptitle("What one server process takes: less is better")
    for place, row in enumerate(rows, 1):
        _panel(figure.add_subplot(lines, COLUMNS, place), row, report)
    with mpl.rc_context({"svg.hashsalt": "seawall", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(path, metadata={"Date": None})


def _panel(axes: Axes, row: Row, report: Report) -> None:
    found = {server: report.median(row, server) for server in reversed(report.servers)}
    bars = {server: value for server, value in found.items() if value is not None}
    drawn = axes.barh(
        list(bars), list(bars.values()), color=[OUR_COLOUR if server == OURS else THEIR_COLOUR for server in bars]
    )
    axes.bar_label(drawn, fmt="{:,.0f}", padding=3, fontsize=8)
    axes.set_title(f"{row.title} ({row.unit.value})", fontsize=9)
    axes.tick_params(axis="y", labelsize=8, length=0)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.margins(x=0.15)
