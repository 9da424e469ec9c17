"""The wall clock, which a test can replace here for all of Seawall."""

from __future__ import annotations

import time
from collections.abc import Callable

#: The clock that `unix_time` reads; a test replaces it, as with ``monkeypatch.setattr("seawall.clock.source", ...)``.
source: Callable[[], float] = time.time


def unix_time() -> float:
    """Now, in Unix time (seconds)."""
    return source()
