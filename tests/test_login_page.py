"""The log-in among the examples in headless Chromium: two browsers, one of which has three tabs."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Final, cast

import jwt
import pytest
from argon2 import PasswordHasher
from attrs import frozen
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from examples import login
from tests.kit.browser import Browser, displayed, read, until
from tests.kit.processes import Program, forked
from tests.kit.served import served

pytestmark = pytest.mark.slow

#: A secret that outlives the program.
SECRET: Final = "a secret of the tests, long enough for HS256"

#: Notes what becomes of the connections of a page; it runs before the page's own script.
WATCH: Final = """
const Plain = WebSocket;
window.seen = [];
window.WebSocket = class extends Plain {
  constructor(...given) {
    super(...given);
    this.addEventListener("open", () => seen.push("open"));
    this.addEventListener("close", ({code, reason}) => seen.push(`close ${code} ${reason}`.trim()));
  }
};
"""

#: By browser that is listed, whether it is this one, and how many tabs it has.
DEVICES: Final = (
    f"{read('#devices li')}.map((entry) => [entry.includes('this browser') ? 'here' : 'there', entry.split(' · ')[1]])"
)

#: What is nearer to the right edge of the window than to the left one.
CENTRED: Final = """
return [...document.querySelectorAll(".card, header, dl")].filter((found) => {
  const {left, right} = found.getBoundingClientRect();
  return found.checkVisibility() && right > innerWidth - left + 1;
}).map((found) => found.outerHTML)
"""


@frozen
class Tab:
    """A tab of a browser, and who sits before it."""

    chrome: Browser
    handle: str

    @classmethod
    def opened(cls, chrome: Browser, url: str) -> Tab:
        """A new one, at a page that is watched."""
        chrome.open_tab()
        chrome.execute_cdp_cmd("Page.enable", {})
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        chrome.get(url)
        return cls(chrome, chrome.tab)

    @property
    def here(self) -> Browser:
        """The browser, which means this tab now."""
        self.chrome.tab = self.handle
        return self.chrome

    def run(self, script: str) -> object:
        """Run JavaScript in it."""
        return self.here.execute_script(script)

    def text(self, selector: str) -> str:
        """What is read in the first element that matches."""
        return cast("str", self.run(f"return {read(selector)}[0] ?? ''"))

    def click(self, selector: str) -> None:
        """Click on an element."""
        self.here.find_element(By.CSS_SELECTOR, selector).click()

    @property
    def seen(self) -> list[str]:
        """What has become of its connections, since the page was loaded."""
        return cast("list[str]", self.run("return seen"))

    def log_in(self, name: str, password: str) -> None:
        """Write both, and press Enter."""
        self.wait_logged_out()
        for field, text in (("username", name), ("password", password + Keys.ENTER)):
            found = self.here.find_element(By.CSS_SELECTOR, f"[name={field}]")
            found.clear()
            found.send_keys(text)

    def wait_logged_out(self) -> None:
        """Wait for the form."""
        self.here.wait(f"{displayed('#login')} && !{displayed('#home')}", "the form is seen")

    def wait_state(self, state: str) -> None:
        """Wait until the page says how its connection is."""
        self.here.wait_same(read("#state"), [state])

    def wait_online(self) -> None:
        """Wait for the connection."""
        self.wait_state("Online")

    def wait_devices(self, *devices: tuple[str, str]) -> None:
        """Wait until exactly this is listed: of each browser, whether it is this one, and how many tabs it has."""
        self.here.wait_same(DEVICES, [[*device] for device in devices])

    def wait_renewed(self, count: int) -> None:
        """Wait until its connection has been renewed so often, as the page says."""
        self.here.wait(f"Number({read('#renewals')}[0]) >= {count}", f"renewed {count} times")

    def wait_seen(self, *seen: str) -> None:
        """Wait until this, and nothing else, has become of its connections."""
        self.here.wait_same("seen", [*seen])


@frozen
class Site:
    """Where the example is served, and the passwords that it has printed."""

    url: str
    passwords: Mapping[str, str]

    def password(self, name: str) -> str:
        """Somebody's."""
        return self.passwords[name]


def printed(lines: str) -> dict[str, str]:
    """The passwords in what the example has printed."""
    return dict(re.findall(r"as (\w+), with the password (\S+)\n", lines))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    """The example, with passwords that are soon hashed."""
    monkeypatch.setattr(login, "DATA", tmp_path)
    monkeypatch.setattr(login, "hasher", PasswordHasher(1, 8, 1))
    with served(login.app) as url:
        login.make_accounts("ada", "grace")
        yield Site(f"http{url}/", printed(capsys.readouterr().out))
    assert login.browsers == {}


@contextmanager
def program(data: Path, port: str = "0") -> Generator[tuple[Program, str]]:
    """Start it as it is, with what it has stored; and where it is."""
    with forked("examples/login.py", port, env={"SEAWALL_SECRET": SECRET, "LOGIN_DATA": str(data)}) as started:
        yield started, "http" + started.stderr.wait_for(r"listening on ws(://\S+)\n")[1] + "/"


@pytest.fixture(autouse=True)
def _no_cookies(browsers: tuple[Browser, Browser]) -> None:
    """Nobody has ever been there."""
    for chrome in browsers:
        chrome.forget()
        chrome.get_log("browser")


@contextmanager
def opened(url: str, *chromes: Browser) -> Generator[list[Tab]]:
    """A tab in each; they are closed afterwards."""
    first = [(chrome, chrome.tab) for chrome in dict.fromkeys(chromes)]
    tabs: list[Tab] = []
    try:
        tabs.extend(Tab.opened(chrome, url) for chrome in chromes)
        yield tabs
    finally:
        for tab in tabs:
            tab.here.close_tab(tab.handle)
        for chrome, handle in first:
            chrome.tab = handle


def test_tabs_live_on_over_renewals_and_are_logged_out(browsers: tuple[Browser, Browser], site: Site) -> None:
    """Tokens end and connections do not; a log-out ends all tabs of one browser, and nothing of the other."""
    one, other = browsers
    with opened(site.url, one, one, one, other) as (*tabs, elsewhere):
        tabs[0].log_in("ada", site.password("ada"))
        for tab in tabs:  # the others learn of it from the first
            tab.wait_online()
            assert tab.text("#me") == "ada"
        elsewhere.log_in("ada", site.password("ada"))
        for tab in tabs:
            tab.wait_devices(("here", "3 tabs"), ("there", "1 tab"))
        elsewhere.wait_devices(("there", "3 tabs"), ("here", "1 tab"))
        assert "Chrome on Linux" in tabs[0].text("#devices")

        for count in (1, 2):  # all of a browser are warned in the same moment
            for tab in (*tabs, elsewhere):
                tab.wait_renewed(count)
        for tab in (*tabs, elsewhere):
            assert tab.seen == ["open"]

        tabs[1].click("#end")
        for tab in tabs:
            tab.wait_seen("open", "close 3003 revoked")
            tab.wait_logged_out()
        elsewhere.wait_devices(("here", "1 tab"))
        assert elsewhere.seen == ["open"]


def test_log_out_everywhere_and_one_other_device(browsers: tuple[Browser, Browser], site: Site) -> None:
    """Each device can log out another one of the same user, and all; nobody else is logged out."""
    one, other = browsers
    with opened(site.url, one, other) as (tab, elsewhere):
        for each in (tab, elsewhere):
            each.log_in("ada", site.password("ada"))
            each.wait_online()
        tab.click("#devices button")
        elsewhere.wait_seen("open", "close 3003 revoked")
        elsewhere.wait_logged_out()
        tab.wait_devices(("here", "1 tab"))

        elsewhere.log_in("ada", site.password("ada"))
        elsewhere.wait_online()
        tab.wait_devices(("here", "1 tab"), ("there", "1 tab"))
        elsewhere.click("#end-all")
        for each in (tab, elsewhere):
            each.wait_logged_out()
        assert tab.seen == ["open", "close 3003 revoked"]

        tab.log_in("ada", site.password("ada"))
        elsewhere.log_in("grace", site.password("grace"))
        elsewhere.wait_devices(("here", "1 tab"))
        tab.click("#end-all")
        tab.wait_logged_out()
        elsewhere.wait_devices(("here", "1 tab"))


def kept(chrome: Browser) -> list[dict[str, object]]:
    """The cookies that a browser has for the page."""
    found = cast("dict[str, list[dict[str, object]]]", chrome.execute_cdp_cmd("Network.getCookies", {}))
    return found["cookies"]


def lasting(cookies: list[dict[str, object]]) -> list[dict[str, object]]:
    """The same, with tokens of the same session that end later: on a busy machine a program takes long to start."""
    ends, found = int(time.time()) + 20, list[dict[str, object]]()
    for cookie in cookies:
        value = str(cookie["value"])
        if value.count(".") == 2:
            claims = jwt.decode(value, options={"verify_signature": False})
            value = jwt.encode({**claims, "exp": ends}, SECRET, headers=jwt.get_unverified_header(value))
        found.append({**cookie, "value": value, "expires": ends})
    return found


def test_the_program_is_started_anew(browsers: tuple[Browser, Browser], tmp_path: Path) -> None:
    """Who was logged in still is, in the page that was open; a session that was ended is refused by its tokens."""
    one, other = browsers
    with program(tmp_path) as (first, url), opened(url, one, other) as (tab, elsewhere):
        first.stdout.wait_for("as grace, with")
        password = printed(first.stdout.text)["ada"]
        for each in (tab, elsewhere):
            each.log_in("ada", password)
            each.wait_online()
        cookies = kept(other)
        elsewhere.click("#end")
        elsewhere.wait_logged_out()
        until(lambda: [each["name"] for each in kept(other)] == ["device"], "the cookies with tokens are gone")

        first.tell(signal.SIGTERM)
        tab.wait_state("Offline")
        assert first.wait() == 0
        with program(tmp_path, url.strip("/").rpartition(":")[2]) as (again, _):
            tab.wait_online()
            assert tab.text("#me") == "ada"
            tab.wait_devices(("here", "1 tab"))
            assert tab.seen[0] == "open"

            other.execute_cdp_cmd("Network.setCookies", {"cookies": lasting(cookies)})
            elsewhere.run("new WebSocket(location.origin.replace('http', 'ws') + '/live')")
            elsewhere.wait_seen("open", "close 3003 revoked", "close 1006")
            again.stderr.wait_for(r"/live: refused, 401 .*revoked")
            elsewhere.run("location.reload()")
            elsewhere.wait_logged_out()
            assert again.stdout.text == ""  # no new passwords
            tab.here.get("about:blank")  # a program that ends waits some seconds for a page that is connected


def test_a_wrong_password(browsers: tuple[Browser, Browser], site: Site) -> None:
    """It is said at the form, the same as for a name that nobody has; the next try is good."""
    with opened(site.url, browsers[0]) as (tab,):
        for name in ("ada", "nobody"):
            tab.log_in(name, "wrong")
            tab.here.wait_same(read("#login .problem"), ["wrong name or password"])
            tab.run("location.reload()")
        tab.log_in("ada", site.password("ada"))
        tab.wait_online()
        tab.run("location.reload()")
        tab.wait_online()
        wrong = [entry for entry in tab.chrome.get_log("browser") if not re.search("401", str(entry))]
        assert wrong == []


#: A phone, a larger one, and a desk.
WIDTHS: Final = (360, 420, 1280)


def test_the_page_fits(browsers: tuple[Browser, Browser], site: Site, request: pytest.FixtureRequest) -> None:
    """Nothing is wider than the screen, on a phone and on a desk, before the log-in and after it."""
    with opened(site.url, *browsers) as (tab, elsewhere):
        elsewhere.log_in("ada", site.password("ada"))
        elsewhere.wait_online()
        tab.wait_logged_out()

        def look(what: str, width: int, scheme: str) -> None:
            size: dict[str, object] = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
            tab.here.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            tab.chrome.execute_cdp_cmd(
                "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            )
            assert tab.run("return [innerWidth, document.documentElement.scrollWidth <= innerWidth]") == [width, True]
            assert tab.run(CENTRED) == [], (what, width, scheme)
            if shots := request.config.getoption("basetemp", None):
                tab.chrome.save_screenshot(f"{shots}/{what}-{width}-{scheme}.png")

        for shown in product(WIDTHS, ("light", "dark")):
            look("login", *shown)
        tab.log_in("ada", site.password("ada"))
        tab.wait_devices(("there", "1 tab"), ("here", "1 tab"))
        for shown in product(WIDTHS, ("light", "dark")):
            look("home", *shown)
