"""What holds for every test: it closes what it opens."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from pathlib import Path

import pytest

#: Where the system shows the descriptors of this process, if it does.
OPEN = Path("/proc/self/fd")


def descriptors() -> dict[str, str]:
    """Which descriptors are open, and on what."""
    found: dict[str, str] = {}
    for name in os.listdir(OPEN):  # noqa: PTH208 - names only, thousands of times
        try:
            found[name] = os.readlink(OPEN / name)  # noqa: PTH115 - as above
        except FileNotFoundError:
            pass  # the one that lists them
    return found


@pytest.fixture(autouse=True)
def closes_what_it_opens() -> Generator[None]:
    """No descriptor outlives the test, on any path through it; tasks and tables are checked by what serves the app."""
    if not OPEN.exists():
        yield
        return
    before = descriptors()
    yield
    if len(descriptors()) > len(before):
        gc.collect()  # what a test itself has dropped without closing it
    after = descriptors()
    assert len(after) <= len(before), f"left open: {sorted(set(after.items()) - set(before.items()))}"
