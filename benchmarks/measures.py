"""What a measurement yields, and when it is worth nothing."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, final

from attrs import frozen

#: Seconds within which a server has to become quiet when nobody talks to it.
QUIET = 20.0


class Failed(Exception):
    """The run is worth nothing: a server died, complained, or answered something else than it had to."""


@final
class Unit(enum.Enum):
    """What is measured; each has a table of its own."""

    CPU = "server CPU, µs"
    DELAY = "latency, µs"
    TIME = "time, ms"
    MEMORY = "memory, KiB"
    TYPED = "typed messages, CPU, µs"


@final
@frozen
class Row:
    """One line of a table."""

    title: str
    unit: Unit = Unit.CPU


Measured: TypeAlias = Mapping[Row, float]


async def cost(cpu: Callable[[], float], count: Callable[[], int], during: Awaitable[None]) -> float:
    """Microseconds of CPU time for each thing that is counted meanwhile.

    Raises:
      Failed: there was none.
    """
    used, done = cpu(), count()
    await during
    used, done = cpu() - used, count() - done
    if not done:
        raise Failed("nothing was answered")
    return used / done * 1e6


async def settled(cpu: Callable[[], float]) -> None:
    """Return when the server has been quiet for half a second."""
    async with asyncio.timeout(QUIET):
        before = 0.0
        while cpu() - before > 0.01:
            before = cpu()
            await asyncio.sleep(0.5)
