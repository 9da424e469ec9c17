"""The wall clock, in one place, so that a test can put another one there."""

from __future__ import annotations

import time


def unix_time() -> float:
    """Now, in Unix time (seconds). Called as ``clock.unix_time()``, so that replacing it here is enough."""
    return time.time()
