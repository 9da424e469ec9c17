"""Fixtures of the tests from outside: over what, what is in the log, and that nothing was a fault of ours."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import cast

import pytest

from tests.kit.log import Lines
from tests.kit.sockets import DRIVEN, Transport


@pytest.fixture(params=DRIVEN)
def over(request: pytest.FixtureRequest) -> Transport:
    """Each way in which a connection is driven."""
    return cast("Transport", request.param)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Lines:
    """What the connections have logged so far, a line each."""
    caplog.set_level(logging.INFO, logger="seawall")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "seawall.connection"]


@pytest.fixture
def calm(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    """Nothing of what happens is a fault of ours or of the layers below."""
    yield
    records = caplog.get_records("call")
    assert [record.getMessage() for record in records if record.name == "seawall.error"] == []
