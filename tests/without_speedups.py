"""A plugin, ``pytest -p tests.without_speedups``: the tests as they run where the extra `fast` is not installed."""

from __future__ import annotations

import sys
from typing import cast

import pytest

# None makes an import fail; and this comes before anything imports Seawall, which asks once.
cast("dict[str, object]", sys.modules)["websockets.speedups"] = None


def pytest_sessionstart() -> None:
    """Make sure that this proves what it is for."""
    from seawall.wire.frames import masking  # noqa: PLC0415 # not before coverage measures, nor before the line above

    if masking.ACCELERATED:
        raise pytest.UsageError("seawall was imported before this plugin")
