"""The chat among the examples in headless Chromium: two people, each in a browser of their own."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final, cast

import pytest
from attrs import frozen
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.kit.browser import Browser, chromium, until
from tests.kit.processes import Program, running

pytestmark = pytest.mark.slow

#: A secret that outlives the program.
SECRET: Final = "a secret of the tests, long enough for HS256"


@frozen
class Person:
    """Somebody before a browser, who looks at the page of the chat."""

    chrome: Browser

    def find(self, selector: str) -> WebElement:
        """The first element that matches."""
        return self.chrome.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """What is read in each element that matches."""
        script = f"return [...document.querySelectorAll({selector!r})].map((found) => found.innerText)"
        return cast("list[str]", self.chrome.execute_script(script))  # at once: elements come and go

    def write(self, field: str, text: str) -> None:
        """Replace what is in a field, and press Enter."""
        self.find(field).clear()
        self.find(field).send_keys(text, Keys.ENTER)

    def say(self, text: str) -> None:
        """Say something, as soon as that is possible."""
        self.wait_state("Online")
        self.write("#say input", text)

    def come(self, url: str) -> None:
        """Open the page, as somebody who has never been there."""
        self.chrome.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.chrome.get(f"http{url}/")

    def log_in(self, name: str) -> None:
        """Choose a name."""
        self.wait_logged_out()
        self.write("#name", name)
        self.wait_state("Online")

    def wait_logged_out(self) -> None:
        """Wait for the form that asks for a name."""
        until(lambda: self.find("#login").is_displayed() and not self.find("#chat").is_displayed(), "logged out")

    def wait_state(self, state: str) -> None:
        """Wait until the page says how its connection is."""
        until(lambda: self.find("#state").text == state, state)

    def wait_texts(self, selector: str, *texts: str) -> None:
        """Wait until exactly this is read."""
        until(lambda: self.texts(selector) == [*texts], f"{texts} in {selector}: {self.texts(selector)}")

    def wait_last(self, selector: str, text: str) -> None:
        """Wait until this is read in the last element that matches."""
        until(lambda: self.texts(selector)[-1:] == [text], f"{text} in the last of {selector}")

    def wait_value(self, field: str, text: str) -> None:
        """Wait until this is in a field."""
        until(lambda: self.find(field).get_attribute("value") == text, f"{text!r} in {field}")

    def leave(self) -> list[object]:
        """Leave the page, before its server ends; what has been written to the console since the last time."""
        self.chrome.get("about:blank")
        return self.chrome.get_log("browser")


@pytest.fixture(scope="module")
def browsers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Browser]]:
    """Two browsers that share no cookie."""
    with chromium(tmp_path_factory.mktemp("one")) as one, chromium(tmp_path_factory.mktemp("two")) as other:
        yield one, other


@contextmanager
def served(port: int = 0) -> Generator[tuple[Program, str]]:
    """The chat as a program, and where its page is."""
    with running("examples/chat.py", str(port), env={"SEAWALL_SECRET": SECRET}) as program:
        yield program, program.stderr.wait_for(r"listening on ws(://\S+)\n")[1]


@pytest.fixture
def people(browsers: tuple[Browser, Browser]) -> Iterator[tuple[Person, Person]]:
    """Ada, who has come first, and Grace: in the lobby, with nothing in the console."""
    with served() as (_, url):
        ada, grace = map(Person, browsers)
        for person, name in ((ada, "Ada"), (grace, "Grace")):
            person.come(url)
            person.log_in(name)
        ada.wait_texts("#people li", "Ada", "Grace")
        yield ada, grace
        assert ada.leave() == grace.leave() == []


def test_two_people_talk(people: tuple[Person, Person]) -> None:
    """Each sees what the other says, whatever is in it, and their own; the field is empty again."""
    ada, grace = people
    ada.say("ahoy")
    grace.wait_texts(".said p", "ahoy")
    grace.say("<b>ahoy</b> &amp; \u20ac")
    for person in people:
        person.wait_texts(".said p", "ahoy", "<b>ahoy</b> &amp; \u20ac")
        person.wait_texts(".said b", "Ada", "Grace")
        person.wait_value("#say input", "")
    assert ada.texts(".said.mine p") == ["ahoy"]
    assert ada.texts(".note") == ["Grace has come"]


def test_what_is_wrong_is_shown_at_its_field(people: tuple[Person, Person]) -> None:
    """What the server has refused stays in the field, with the reason below it; nobody else hears of it."""
    ada, grace = people
    for text, problem in ((" ", "write something"), ("x" * 501, "expected at most 500 characters")):
        ada.say(text)
        ada.wait_texts("#say .problem", problem)
        assert ada.find("#say input").get_attribute("aria-invalid") == "true"
        assert ada.find("#say input").get_attribute("value") == text
    ada.find("#say input").clear()
    ada.say("ahoy")
    ada.wait_texts("#say .problem", "")
    assert ada.find("#say input").get_attribute("aria-invalid") == "false"
    grace.wait_texts(".said p", "ahoy")


def test_the_topic_is_for_the_host(people: tuple[Person, Person]) -> None:
    """The host's is seen by all; somebody else's is refused, in words."""
    ada, grace = people
    ada.write("#topic input", "ab")
    ada.wait_texts("#topic .problem", "expected at least 3 characters")
    ada.write("#topic input", "Tides")
    for person in people:
        person.wait_texts(".note:last-child", "Ada has set the topic: Tides")
        assert person.find("#topic input").get_attribute("value") == "Tides"
    ada.wait_texts("#topic .problem", "")
    grace.write("#topic input", "Mutiny")
    grace.wait_texts("#topic .problem", "Only the host may do that: Ada.")


def test_log_out_and_reload(people: tuple[Person, Person]) -> None:
    """A log-in outlives a reload, and what was said is there again; a log-out lasts, and is seen by the others."""
    ada, grace = people
    ada.say("ahoy")
    grace.wait_texts(".said p", "ahoy")
    grace.chrome.execute_script("location.reload()")
    grace.wait_texts(".said p", "ahoy")
    grace.wait_texts("#people li", "Ada", "Grace")
    grace.find("#logout").click()
    grace.wait_logged_out()
    ada.wait_texts("#people li", "Ada")
    assert ada.texts(".note:last-child") == ["Grace has gone"]
    grace.chrome.execute_script("location.reload()")
    grace.wait_logged_out()
    grace.log_in("Eve")
    ada.wait_texts("#people li", "Ada", "Eve")


def test_rooms(people: tuple[Person, Person]) -> None:
    """Another room has other people in it; one that is not there leads to the lobby."""
    ada, grace = people
    ada.find("a[href='#kitchen']").click()
    ada.wait_texts("#people li", "Ada")
    ada.say("in the kitchen")
    grace.wait_texts(".note:last-child", "Ada has gone")
    ada.chrome.execute_script("location.hash = 'attic'")
    ada.wait_texts("#people li", "Grace", "Ada")
    assert ada.texts("nav a[aria-current]") == ["Lobby"]
    assert grace.texts(".said") == ada.texts(".said") == []


def test_what_is_no_name(browsers: tuple[Browser, Browser]) -> None:
    """It is said at the field, and the next try is good."""
    with served() as (_, url):
        person = Person(browsers[0])
        person.come(url)
        person.wait_logged_out()
        person.write("#name", "no name!")
        person.wait_texts("#login .problem", "a name has 1 to 20 letters and digits")
        person.log_in("Ada")
        assert ["422" in str(entry) for entry in person.leave()] == [True]


def test_the_server_is_started_anew(browsers: tuple[Browser, Browser]) -> None:
    """The page says that it is offline, keeps what was being written, and goes on with the next server by itself."""
    person = Person(browsers[0])
    with served() as (program, url):
        person.come(url)
        person.log_in("Ada")
        person.say("ahoy")
        person.wait_texts(".said p", "ahoy")
        person.find("#say input").send_keys("half a")
        program.tell(signal.SIGTERM)
        person.wait_state("Offline")
        assert program.wait() == 0
    with served(int(url.rpartition(":")[2])):
        person.wait_state("Online")
        person.find("#say input").send_keys(" word", Keys.ENTER)
        person.wait_texts(".said p", "half a word")
        person.leave()  # what is in the console is that the server did not answer


#: What is seen of the last message; the list is higher than the screen.
LAST_IS_SEEN: Final = (
    "const log = document.getElementById('log'); return log.scrollHeight - log.scrollTop - log.clientHeight < 2"
)


@pytest.mark.parametrize("width", [360, 420, 1280])
def test_the_page_fits(people: tuple[Person, Person], width: int) -> None:
    """Nothing is wider or higher than the screen, on a phone and on a desk, by day and by night, whatever is said."""
    ada, _ = people
    ada.chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    try:
        for text in ("x" * 400, *["ahoy"] * 11):
            ada.say(text)
            ada.wait_last(".said p", text)
        for scheme in ("light", "dark"):
            ada.chrome.execute_cdp_cmd(
                "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            )
            ada.say(scheme)
            ada.wait_last(".said p", scheme)
            assert ada.chrome.execute_script("return innerWidth") == width
            for way in ("Width", "Height"):
                assert ada.chrome.execute_script(f"return document.documentElement.scroll{way} <= inner{way}")
            assert ada.chrome.execute_script(LAST_IS_SEEN), "the last message is seen"
    finally:
        ada.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        ada.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {})
