"""A directory for files that nobody needs a disk for."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.kit.faults import IN_MEMORY


@pytest.fixture
def memory() -> Generator[Path]:
    """A directory in memory, if there can be one: it is gone with the test."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as directory:
        yield Path(directory)
