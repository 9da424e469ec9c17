"""Decoding and validating alone, without a server: in a process for each library, which says how long a message takes.

cattrs is as fast as it gets while it refuses unknown fields: a function made once for the class, behind a decoder of
msgspec, and with ``detailed_validation=False``, so that it stops at the first fault. It is given the message without a
``type``, which it would have to look at besides. Seawall is given the whole message.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final, final

import msgspec
from attrs import asdict, frozen
from cattrs.preconf.msgspec import make_converter

from benchmarks.measures import Failed, Row, Unit
from benchmarks.typed import SAID, UNTAGGED, Say
from seawall import JSON
from seawall.messages.decoder import decoder_for

#: By the name of the column.
LIBRARIES: Final = ("seawall", "cattrs")

#: Messages in one measurement, in each of its parts; the fastest part counts, because the others were disturbed.
PARTS, MESSAGES = 5, 20_000

#: Seconds for all of it.
PATIENCE: Final = 60.0


@final
@frozen(kw_only=True)
class Decoding:
    """A message decoded and validated again and again."""

    name: str
    title: str

    async def measure(self, library: str, core: int | None) -> tuple[Row, str, float]:
        """The row and the column, and the CPU time for each message, in a process of its own on a core.

        Raises:
          Failed: it has decoded something else, or has not ended.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.decoding", library, stdout=asyncio.subprocess.PIPE
        )
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        async with asyncio.timeout(PATIENCE):
            said, _ = await process.communicate()
        if process.returncode:
            raise Failed(f"decoding by {library} ended with {process.returncode}")
        return Row(self.title, Unit.TYPED), library, float(said)


def by_seawall() -> Callable[[], Say]:
    """As `Connection.messages` does it."""
    return partial(decoder_for(JSON(), Say, where="the benchmark").decode, SAID)


def by_cattrs() -> Callable[[], Say]:
    """As the head of this file says."""
    structure = make_converter(forbid_extra_keys=True, detailed_validation=False).get_structure_hook(Say)
    decode = msgspec.json.Decoder().decode

    def build(message: str) -> Say:
        made: Say = structure(decode(message), Say)
        return made

    return partial(build, UNTAGGED)


def main() -> None:
    """Measure the library that the argument names."""
    decode = by_seawall() if sys.argv[1] == "seawall" else by_cattrs()
    expected = msgspec.json.decode(UNTAGGED)
    best = float("inf")
    for _ in range(PARTS):
        start = time.process_time()
        for _ in range(MESSAGES):
            decode()
        best = min(best, time.process_time() - start)
        if asdict(decode()) != expected:
            sys.exit(f"{decode()} is not {expected}")
    print(best / MESSAGES * 1e6)


if __name__ == "__main__":
    main()
