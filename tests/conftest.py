"""What holds for every test: it leaves nothing behind."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import HealthCheck, settings

from tests.kit.forked import FORK_SERVER
from tests.kit.leaks import OPEN, Watch, descriptors, threads

if TYPE_CHECKING:
    from tests.kit.browser import Browser, Chromium

# How long an example takes depends on what else the machine does; what must not take long has tests of its own.
settings.register_profile("any machine", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

#: Where a test that runs under Trio has its `Watch`.
WATCH = pytest.StashKey[Watch]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each test under Trio be watched; pytest-trio has marked them by now, and asks the nearest mark how to run."""
    for item in items:
        if item.get_closest_marker("trio") is not None:
            item.stash[WATCH] = watch = Watch()
            item.add_marker(pytest.mark.trio(run=watch.run), append=False)


def pytest_collection_finish() -> None:
    """What is here by now lives to the end: no test that collects garbage, and many do, has to look at it."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Nothing that tests have started for each other outlives them."""
    FORK_SERVER.stop()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    """Let a report be sent from pytest-xdist's workers, which encode UTF-8: what peers and handlers said may not be."""
    return encodable((yield))


def encodable(data: object) -> object:
    """The same strings, lists and tables, with each lone surrogate as an escape."""
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(data, dict):
        return {key: encodable(value) for key, value in cast("dict[str, object]", data).items()}
    if isinstance(data, list | tuple):
        parts = [encodable(part) for part in cast("Sequence[object]", data)]
        return parts if isinstance(data, list) else tuple(parts)
    return data


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest) -> Generator[None]:
    """No task or thread of Seawall's, no entry in a server's tables, no descriptor outlives it, whatever its path."""
    before = descriptors() if OPEN.exists() else {}
    yield
    item = request.node
    assert isinstance(item, pytest.Item)
    left = item.stash[WATCH].take() if WATCH in item.stash else []
    assert not left, f"left behind: {'; '.join(left)}"
    assert not threads(), f"left running: {threads()}"
    if not before:
        return
    if descriptors().items() - before.items():
        gc.collect()  # what a test itself has dropped without closing it
    left_open = descriptors().items() - before.items()
    assert not left_open, f"left open: {sorted(left_open)}"


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A Chromium for all tests of this process."""
    from tests.kit import browser  # noqa: PLC0415 - Selenium takes long to import, and most processes need none

    with browser.chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def chrome(chromium: Chromium) -> Iterator[Browser]:
    """A browser for all tests of a module."""
    with chromium.browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def browsers(chromium: Chromium) -> Iterator[tuple[Browser, Browser]]:
    """Two browsers that share no cookie."""
    with chromium.browser() as one, chromium.browser() as other:
        yield one, other
