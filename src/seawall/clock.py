"""The wall clock, in one place, so that a test can put another one there."""

from __future__ import annotations

import time
from collections.abc import Callable

#: What `unix_time` asks; a test replaces it, as with ``monkeypatch.setattr("seawall.clock.source", ...)``.
source: Callable[[], float] = time.time


def unix_time() -> float:
    """Now, in Unix time (seconds)."""
    return source()
