"""``python -m benchmarks.verifying``: what `TokenVerifier` takes beyond PyJWT, and what checks take behind a guard.

Both verify the same token, in one process and in turns: PyJWT with a key that has been parsed before, by the same
options, so that all the rest is Seawall's: finding the key, its own checks, and an object with the claims. A chain of
four checks is asked in turns with its guard alone, which proves claims that are there already. A turn measures
everything once, so that what slows the machine down for a while slows all of it down. Each number is the median of the
turns, and what is taken more is the median of the differences within a turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from statistics import median
from typing import Final, final

from attrs import define, field

from benchmarks.guarding import CHAINS, admitting, proved, verifying
from benchmarks.method import machine
from benchmarks.report import fill_in, table
from seawall.tokens import Algorithm

#: Microseconds that Seawall may take more than PyJWT, and that four checks may take.
AT_MOST: Final = 10.0
CHECKS_AT_MOST: Final = 2.0

#: Tokens that each verifies in a turn, connections that each chain lets in, and turns.
TOKENS, CONNECTIONS, TURNS = 50, 1000, 200


@final
class Options(argparse.Namespace):
    """What the command line asks for."""

    write: bool


@final
@define
class Compared:
    """The same done with less and with more, in turns: microseconds of CPU time."""

    name: str
    pair: tuple[Callable[[], None], Callable[[], None]]
    times: int
    at_most: float
    turns: list[tuple[float, float]] = field(init=False, factory=list[tuple[float, float]])

    def turn(self) -> None:
        """Measure once."""
        less, more = self.pair
        self.turns.append((timed(less, self.times), timed(more, self.times)))

    def row(self) -> list[str]:
        """A line of a table."""
        less, more = zip(*self.turns, strict=True)
        difference = median(one - other for other, one in self.turns)
        reached = "ok" if difference <= self.at_most else "**not**"
        return [self.name, *(f"{value:.1f}" for value in (median(less), median(more), difference)), reached]


def timed(function: Callable[[], None], times: int) -> float:
    """Microseconds of CPU time that it takes once."""
    start = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - start) / times * 1e6


def main() -> None:
    """Measure, print, and with ``--write`` put the table into the docs."""
    parser = argparse.ArgumentParser("python -m benchmarks.verifying", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    given = parser.parse_args(namespace=Options())
    algorithms: tuple[Algorithm, ...] = ("HS256", "RS256", "ES256", "EdDSA")
    tokens = [Compared(algorithm, verifying(algorithm), TOKENS, AT_MOST) for algorithm in algorithms]
    alone = admitting(proved)
    checks = [Compared(name, (alone, admitting(chain)), CONNECTIONS, CHECKS_AT_MOST) for name, chain in CHAINS.items()]
    for _ in range(TURNS):
        for work in (*tokens, *checks):
            work.turn()
    text = "\n".join(
        (
            table(["a token, CPU, µs", "PyJWT", "seawall", "more", f"at most {AT_MOST:.0f}"], _rows(tokens)),
            table(
                ["four checks, CPU, µs", "guard", "with them", "more", f"at most {CHECKS_AT_MOST:.0f}"], _rows(checks)
            ),
        )
    )
    print(text)
    if given.write:
        day = time.strftime("%Y-%m-%d", time.gmtime())
        versions = ", ".join(f"{package} {version(package)}" for package in ("PyJWT", "cryptography"))
        fill_in("verifying", f"{day}, `python -m benchmarks.verifying`, on {machine()}; {versions}.\n\n{text}")


def _rows(works: Iterable[Compared]) -> list[list[str]]:
    return [work.row() for work in works]


if __name__ == "__main__":
    main()
