"""What Seawall has logged, for a test to look at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias, final

#: Gives what was logged.
Lines: TypeAlias = Callable[[], list[str]]


@final
class Records(logging.Handler):
    """What Seawall has logged."""

    def __init__(self) -> None:
        """Keep everything."""
        super().__init__(logging.DEBUG)
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.found.append(record)

    def lines(self, logger: str) -> list[str]:
        """The messages of one logger, such as ``connection``."""
        return [record.getMessage() for record in self.found if record.name == f"seawall.{logger}"]

    @property
    def ends(self) -> list[str]:
        """What ended the connections, and how: the middle of their lines, such as ``handler returned, 1000 ''``."""
        return [line.partition(": ")[2].partition(" after ")[0] for line in self.lines("connection")]


@contextmanager
def attached(handler: logging.Handler) -> Generator[None]:
    """Let `handler` see what Seawall logs."""
    logger = logging.getLogger("seawall")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def recorded() -> Generator[Records]:
    """Keep what Seawall logs."""
    records = Records()
    with attached(records):
        yield records
