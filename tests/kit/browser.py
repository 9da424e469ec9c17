"""A headless Chromium, as a person would use it.

Skipped where there is no Chromium or no driver for it, but not on CI (``CI`` is set there), where that is a failure.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, cast

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement

from tests.kit.processes import PATIENCE
from tests.kit.proxies import executable

#: What keeps Chromium from calling home, and makes it start without a screen.
FLAGS: Final = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1100",
    "--host-resolver-rules=MAP *.example 127.0.0.1",
)

#: What it means that there is no browser.
UNSEEN: Final = "nobody has looked at the pages"


class Tabs(Protocol):
    """Which tab a driver means."""

    def new_window(self, type_hint: str) -> None:
        """Open a new one, ``"tab"``, and mean that."""
        ...

    def window(self, window_name: str) -> None:
        """Mean another one."""
        ...


class Browser(Protocol):
    """What is used of a driver; Selenium leaves half of it without types."""

    @property
    def current_window_handle(self) -> str:
        """The name of the tab that is meant."""
        ...

    @property
    def switch_to(self) -> Tabs:
        """For meaning another one."""
        ...

    def close(self) -> None:
        """Close the tab that is meant."""
        ...

    def get(self, url: str) -> None:
        """Open a page."""
        ...

    def find_element(self, by: str, value: str) -> WebElement:
        """The first element that matches."""
        ...

    def find_elements(self, by: str, value: str) -> list[WebElement]:
        """All elements that match."""
        ...

    def execute_script(self, script: str) -> object:
        """Run JavaScript in the page."""
        ...

    def execute_cdp_cmd(self, cmd: str, cmd_args: dict[str, object]) -> object:
        """Give a command of the Chrome DevTools Protocol."""
        ...

    def get_log(self, log_type: str) -> list[object]:
        """What has been logged since the last call."""
        ...

    def save_screenshot(self, filename: str) -> bool:
        """Write what is seen into a PNG file."""
        ...


@contextmanager
def chromium(profile: Path) -> Generator[Browser]:
    """A headless Chromium with an empty profile."""
    options = ChromeOptions()
    options.binary_location = executable("chromium", "chromium-browser", "google-chrome", what=UNSEEN)
    for flag in FLAGS:
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # as root it starts in no other way
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Named, so that nothing is downloaded.
    driver = Chrome(options=options, service=Service(executable("chromedriver", what=UNSEEN)))
    try:
        yield cast("Browser", driver)
    finally:
        driver.quit()


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)
