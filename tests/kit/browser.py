"""Headless Chromium, as people use it: one process, and in it browsers that share no cookie.

Starting Chromium takes longer than most tests do with it. So each process that runs tests starts one, and each module
has browsers of its own in it: contexts, as private windows are.

Skipped where there is no Chromium or no driver for it, but not on CI (``CI`` is set there), where that is a failure.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, cast, final
from urllib.request import urlopen

from attrs import define, field
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement
from websockets.sync.client import ClientConnection, connect

from tests.kit.processes import PATIENCE
from tests.kit.proxies import executable

#: What costs a process for each page or window, and is of no use here: renderers in reserve, what drops down from the
#: address bar, and pages that one might go back to.
UNUSED: Final = (
    "SpareRendererForSitePerProcess",
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "BackForwardCache",
)

#: What keeps Chromium from calling home, and makes it start without a screen.
FLAGS: Final = (
    f"--disable-features={','.join(UNUSED)}",
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

#: Looks in the page until something is true there: asking from here takes all of Chromium's processes a turn each.
HOLDS: Final = """
return new Promise((resolve, reject) => {
  const end = performance.now() + %(milliseconds)d;
  const look = () => {
    try {
      const holds = Boolean(%(condition)s);
      if (holds || performance.now() > end) resolve(holds);
      else setTimeout(look, 25);
    } catch (problem) {  // the page may be half loaded
      if (performance.now() > end) reject(problem);
      else setTimeout(look, 25);
    }
  };
  look();
});
"""


class _Tabs(Protocol):
    """Which tab a driver means."""

    def window(self, window_name: str) -> None:
        """Mean another one."""
        ...


class _Driver(Protocol):
    """What is used of a driver; Selenium leaves half of it without types."""

    capabilities: dict[str, dict[str, str]]

    @property
    def current_window_handle(self) -> str:
        """The name of the tab that is meant."""
        ...

    @property
    def switch_to(self) -> _Tabs:
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

    def quit(self) -> None:
        """End it all."""
        ...


@final
@define(eq=False)
class Chromium:
    """A Chromium that runs."""

    _driver: _Driver
    _devtools: ClientConnection
    _meant: str = field(init=False)  # the tab that the driver means

    def __attrs_post_init__(self) -> None:
        """Show nothing in the window that it opens by itself: what is there by default is a page that works."""
        self._meant = self._driver.current_window_handle
        self._driver.get("about:blank")

    @contextmanager
    def browser(self) -> Generator[Browser]:
        """A browser where nobody has ever been, at an empty page."""
        context = self._tell("Target.createBrowserContext")["browserContextId"]
        try:
            browser = Browser(self, context, self.open_tab(context))
            browser.get_log("browser")  # what is left of others
            yield browser
        finally:
            self._tell("Target.disposeBrowserContext", browserContextId=context)

    def at(self, tab: str) -> _Driver:
        """The driver, which means this tab now."""
        if self._meant != tab:
            self._driver.switch_to.window(tab)
            self._meant = tab
        return self._driver

    def open_tab(self, context: str) -> str:
        """A new tab in one of the browsers."""
        return self._tell("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]

    def _tell(self, method: str, **params: str) -> dict[str, str]:
        """Give a command to Chromium itself, which it does not take through a tab."""
        self._devtools.send(json.dumps({"id": 1, "method": method, "params": params}))
        while "id" not in (said := json.loads(self._devtools.recv(PATIENCE))):
            pass  # an event
        assert "result" in said, said
        return cast("dict[str, str]", said["result"])


@final
@define(eq=False)
class Browser:
    """A browser. What is done happens in the tab that it means."""

    _chromium: Chromium
    _context: str
    tab: str
    """The name of the tab that is meant; give it another one to mean that."""

    @property
    def _driver(self) -> _Driver:
        return self._chromium.at(self.tab)

    def open_tab(self) -> None:
        """Open a new one, and mean that."""
        self.tab = self._chromium.open_tab(self._context)

    def close_tab(self, back: str) -> None:
        """Close the tab that is meant, and mean `back`."""
        self._driver.close()
        self.tab = back

    def get(self, url: str) -> None:
        """Open a page."""
        self._driver.get(url)

    def forget(self) -> None:
        """Forget all cookies."""
        self.execute_cdp_cmd("Network.clearBrowserCookies", {})

    def find_element(self, by: str, value: str) -> WebElement:
        """The first element that matches."""
        return self._driver.find_element(by, value)

    def execute_script(self, script: str) -> object:
        """Run JavaScript in the page."""
        return self._driver.execute_script(script)

    def execute_cdp_cmd(self, cmd: str, cmd_args: dict[str, object]) -> object:
        """Give a command of the Chrome DevTools Protocol."""
        return self._driver.execute_cdp_cmd(cmd, cmd_args)

    def get_log(self, log_type: str) -> list[object]:
        """What has been logged since the last call, by all browsers of this Chromium."""
        return self._driver.get_log(log_type)

    def save_screenshot(self, filename: str) -> bool:
        """Write what is seen into a PNG file."""
        return self._driver.save_screenshot(filename)

    def wait(self, condition: str, what: str) -> None:
        """Wait until a JavaScript expression is true in the page, or in the one that comes after it."""
        assert self._holds(condition), f"not within {PATIENCE} s: {what}"

    def wait_same(self, script: str, wanted: object) -> None:
        """Wait until a JavaScript expression is what `wanted` is as JSON."""
        text = json.dumps(wanted, ensure_ascii=False, separators=(",", ":"))
        if not self._holds(f"JSON.stringify({script}) === {json.dumps(text)}"):
            assert self.execute_script(f"return {script}") == wanted, f"not within {PATIENCE} s: {script}"

    def _holds(self, condition: str) -> bool:
        end = time.monotonic() + PATIENCE
        while (left := end - time.monotonic()) > 0:
            try:
                return bool(self.execute_script(HOLDS % {"condition": condition, "milliseconds": 1000 * left}))
            except TimeoutException as problem:
                if "aborted by navigation" not in str(problem):
                    raise
        return False


def read(selector: str) -> str:
    """JavaScript for what is read in each element that matches."""
    return f"[...document.querySelectorAll({selector!r})].map((found) => found.innerText)"


def displayed(selector: str) -> str:
    """JavaScript for whether an element is seen."""
    return f"document.querySelector({selector!r}).checkVisibility({{visibilityProperty: true, opacityProperty: true}})"


@contextmanager
def chromium(profile: Path) -> Generator[Chromium]:
    """A headless Chromium, which writes into a directory of its own."""
    options = ChromeOptions()
    options.binary_location = executable("chromium", "chromium-browser", "google-chrome", what=UNSEEN)
    for flag in FLAGS:
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # as root it starts in no other way
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # Named, so that nothing is downloaded.
    driver = cast("_Driver", Chrome(options=options, service=Service(executable("chromedriver", what=UNSEEN))))
    try:
        at = driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
        with urlopen(f"http://{at}/json/version", timeout=PATIENCE) as answer:
            url = json.load(answer)["webSocketDebuggerUrl"]
        with connect(url, proxy=None, ping_interval=None, open_timeout=PATIENCE, close_timeout=PATIENCE) as devtools:
            yield Chromium(driver, devtools)
    finally:
        driver.quit()


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)
