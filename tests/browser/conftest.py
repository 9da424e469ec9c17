"""What all tests in a browser share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.browser import Browser, chromium


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of a module."""
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser
