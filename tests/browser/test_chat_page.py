"""The chat among the examples in headless Chromium: two people, each in a browser of their own, and bad networks."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Final, cast

import pytest
from attrs import frozen
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from examples import chat
from tests.kit.browser import Browser, displayed, read
from tests.kit.processes import Program, forked
from tests.kit.relay import relayed
from tests.kit.served import served

pytestmark = pytest.mark.slow

#: Seconds for which somebody who reloads is not missed.
LINGER: Final = 5.0

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
        found = self.chrome.execute_script(f"return {read(selector)}")  # at once: elements come and go
        return cast("list[str]", found)

    def write(self, field: str, text: str) -> None:
        """Replace what is in a field, and press Enter."""
        found = self.find(field)
        found.clear()
        found.send_keys(text, Keys.ENTER)

    def say(self, text: str) -> None:
        """Say something, as soon as that is possible."""
        self.wait_state("Online")
        self.write("#say input", text)

    def come(self, url: str) -> None:
        """Open the page, as somebody who has never been there."""
        self.chrome.forget()
        self.chrome.get(f"http{url}/")

    def log_in(self, name: str) -> None:
        """Choose a name."""
        self.wait_logged_out()
        self.write("#name", name)
        self.wait_state("Online")

    def reload(self) -> float:
        """Load the page again; how many seconds it took until it was online."""
        began = time.monotonic()
        self.chrome.execute_script("globalThis.isOld = true; location.reload()")
        self.chrome.wait("!globalThis.isOld", "a new page")
        self.wait_state("Online")
        return time.monotonic() - began

    def wait_logged_out(self) -> None:
        """Wait for the form that asks for a name."""
        self.chrome.wait(f"{displayed('#login')} && !{displayed('#chat')}", "logged out")

    def wait_state(self, state: str) -> None:
        """Wait until the page says how its connection is."""
        self.chrome.wait(f"{read('#state')}[0] === {state!r}", state)

    def wait_displayed(self, selector: str, what: str) -> None:
        """Wait until an element is seen."""
        self.chrome.wait(displayed(selector), what)

    def wait_texts(self, selector: str, *texts: str) -> None:
        """Wait until exactly this is read."""
        self.chrome.wait_same(read(selector), [*texts])

    def wait_last(self, selector: str, text: str) -> None:
        """Wait until this is read in the last element that matches."""
        self.chrome.wait(f"{read(selector)}.at(-1) === {json.dumps(text)}", f"{text} in the last of {selector}")

    def wait_value(self, field: str, text: str) -> None:
        """Wait until this is in a field."""
        self.chrome.wait(f"document.querySelector({field!r}).value === {json.dumps(text)}", f"{text!r} in {field}")

    def leave(self) -> list[object]:
        """Leave the page, before its server ends; what has been written to the console since the last time."""
        self.chrome.get("about:blank")
        return self.chrome.get_log("browser")


@contextmanager
def program(port: int = 0) -> Generator[tuple[Program, str]]:
    """The chat as a program, and where its page is."""
    with forked("examples/chat.py", str(port), env={"SEAWALL_SECRET": SECRET}) as started:
        yield started, started.stderr.wait_for(r"listening on ws(://\S+)\n")[1]


@pytest.fixture
def people(browsers: tuple[Browser, Browser]) -> Iterator[tuple[Person, Person]]:
    """Ada, who has come first, and Grace: in the lobby, with nothing in the console."""
    with served(chat.app) as url:
        ada, grace = map(Person, browsers)
        for person, name in ((ada, "Ada"), (grace, "Grace")):
            person.come(url)
            person.log_in(name)
        ada.wait_texts("#people .name", "Ada", "Grace")
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


def test_a_reload_is_not_seen(people: tuple[Person, Person]) -> None:
    """Who reloads the page has not been gone for the others; who closes it is, some seconds later."""
    ada, grace = people
    ada.chrome.execute_script(WATCH_PEOPLE)
    took = grace.reload()
    grace.say("back")
    ada.wait_texts(".said p", "back")
    if took < LINGER:  # a machine that is busy may take longer
        assert ada.chrome.execute_script("return seen") == []
        assert ada.texts(".note") == ["Grace has come"]
    grace.chrome.get("about:blank")
    ada.wait_texts("#people .name", "Ada")
    assert ada.texts(".note:last-child") == ["Grace has gone"]
    if took < LINGER:
        assert ada.chrome.execute_script("return seen") == [["Ada"]]


def test_the_host_kicks(people: tuple[Person, Person]) -> None:
    """Who is kicked is told so, and has gone; trying again at once is of no use here, and another room is open."""
    ada, grace = people
    assert grace.texts(".kick") == []
    ada.find(".kick[aria-label='Kick Grace']").click()
    grace.wait_displayed("#out", "told")
    assert not grace.find("#say").is_displayed()
    ada.wait_texts("#people .name", "Ada")
    assert ada.texts(".note:last-child") == ["Grace has gone"]
    ada.say("peace")
    ada.wait_texts(".said p", "peace")
    grace.find("#again").click()
    grace.wait_displayed("#out", "told again")
    grace.find("a[href='#kitchen']").click()
    grace.wait_state("Online")
    grace.wait_texts("#people .name", "Grace")
    assert grace.find("#say").is_displayed()
    assert grace.texts(".said") == []


def test_a_cut_and_a_resume(browsers: tuple[Browser, Browser]) -> None:
    """After the network was away there is all that was said meanwhile, once and in order; too much of it is a gap."""
    with served(chat.app) as url, relayed(int(url.rpartition(":")[2])) as relay:
        ada, grace = map(Person, browsers)
        ada.come(url)
        ada.log_in("Ada")
        grace.come(f"://127.0.0.1:{relay.port}")
        grace.log_in("Grace")
        ada.say("before")
        grace.wait_texts(".said p", "before")
        grace.find("#say input").send_keys("half a")
        relay.cut()
        grace.wait_state("Offline")
        for number in range(5):
            ada.say(f"meanwhile {number}")
            ada.wait_last(".said p", f"meanwhile {number}")
        relay.mend()
        grace.wait_state("Online")
        grace.find("#say input").send_keys(" word", Keys.ENTER)
        wanted = ["before", *(f"meanwhile {number}" for number in range(5)), "half a word"]
        for person in (ada, grace):
            person.wait_texts(".said p", *wanted)
            assert person.texts(".gap") == []
        relay.cut()
        grace.wait_state("Offline")
        ada.chrome.execute_script("for (let i = 0; i < 103; i++) ask({ type: 'say', text: `flood ${i}` }, () => {})")
        ada.wait_last(".said p", "flood 102")
        relay.mend()
        grace.wait_last(".said p", "flood 102")
        assert grace.texts(".said p") == [*wanted, *(f"flood {number}" for number in range(3, 103))]
        assert grace.texts(".gap") == ["3 messages are missing here"]
        assert grace.texts(".gap + .said p") == ["flood 3"]
        ada.leave()
        grace.leave()  # what is in the console is that the server did not answer


def test_going_offline(people: tuple[Person, Person]) -> None:
    """The button cuts the connection, and the page stays offline until it is pressed again."""
    ada, grace = people
    grace.find("#cut").click()
    grace.wait_state("Cut off")
    assert not grace.find("#say button").is_enabled()
    ada.say("meanwhile")
    ada.wait_texts(".said p", "meanwhile")
    assert grace.texts(".said p") == []
    grace.find("#cut").click()
    grace.wait_texts(".said p", "meanwhile")
    grace.wait_state("Online")
    assert grace.find("#cut").text == "Go offline"


def test_log_out_and_reload(people: tuple[Person, Person]) -> None:
    """A log-in outlives a reload, and what was said is there again; a log-out lasts, and is seen by the others."""
    ada, grace = people
    ada.say("ahoy")
    grace.wait_texts(".said p", "ahoy")
    grace.chrome.execute_script("location.reload()")
    grace.wait_texts(".said p", "ahoy")
    grace.wait_texts("#people .name", "Ada", "Grace")
    grace.find("#logout").click()
    grace.wait_logged_out()
    ada.wait_texts("#people .name", "Ada")
    assert ada.texts(".note:last-child") == ["Grace has gone"]
    grace.chrome.execute_script("location.reload()")
    grace.wait_logged_out()
    grace.log_in("Eve")
    ada.wait_texts("#people .name", "Ada", "Eve")


def test_rooms(people: tuple[Person, Person]) -> None:
    """Another room has other people in it; one that is not there leads to the lobby."""
    ada, grace = people
    ada.find("a[href='#kitchen']").click()
    ada.wait_texts("#people .name", "Ada")
    ada.say("in the kitchen")
    grace.wait_texts(".note:last-child", "Ada has gone")
    ada.chrome.execute_script("location.hash = 'attic'")
    ada.wait_texts("#people .name", "Grace", "Ada")
    assert ada.texts("nav a[aria-current]") == ["Lobby"]
    assert grace.texts(".said") == ada.texts(".said") == []
    ada.find("a[href='#kitchen']").click()
    ada.wait_texts(".said p", "in the kitchen")


def test_what_is_no_name(browsers: tuple[Browser, Browser]) -> None:
    """It is said at the field, and the next try is good."""
    with served(chat.app) as url:
        person = Person(browsers[0])
        person.come(url)
        person.wait_logged_out()
        person.write("#name", "no name!")
        person.wait_texts("#login .problem", "a name has 1 to 20 letters and digits")
        person.log_in("Ada")
        assert ["422" in str(entry) for entry in person.leave()] == [True]


def test_the_server_is_started_anew(browsers: tuple[Browser, Browser]) -> None:
    """The page keeps what was being written, goes on with the next server, and shows that messages may be missing."""
    person = Person(browsers[0])
    with program() as (first, url):
        person.come(url)
        person.log_in("Ada")
        person.say("ahoy")
        person.wait_texts(".said p", "ahoy")
        person.find("#say input").send_keys("half a")
        first.tell(signal.SIGTERM)
        person.wait_state("Offline")
        assert first.wait() == 0
    with program(int(url.rpartition(":")[2])):
        person.wait_state("Online")
        person.find("#say input").send_keys(" word", Keys.ENTER)
        person.wait_texts(".said p", "ahoy", "half a word")
        assert person.texts(".gap") == ["Messages may be missing here"]
        person.leave()  # what is in the console is that the server did not answer


#: Notes each list of people that is shown from now on and differs from the one before.
WATCH_PEOPLE: Final = """
globalThis.seen = [];
const list = document.getElementById("people");
const names = () => [...list.querySelectorAll(".name")].map((name) => name.textContent);
let last = String(names());
new MutationObserver(() => {
  if (String(names()) !== last) seen.push(names());
  last = String(names());
}).observe(list, { childList: true });
"""

#: Two phones and a desk.
WIDTHS: Final = (360, 420, 1280)

#: What is seen of the last message; the list is higher than the screen.
LAST_IS_SEEN: Final = (
    "const log = document.getElementById('log'); return log.scrollHeight - log.scrollTop - log.clientHeight < 2"
)


def test_the_page_fits(people: tuple[Person, Person]) -> None:
    """Nothing is wider or higher than the screen, on a phone and on a desk, by day and by night, whatever is said."""
    ada, _ = people

    def resize(width: int) -> None:
        size: dict[str, object] = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        ada.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    try:
        resize(WIDTHS[0])  # what becomes a phone scrolls to the top, which no phone does
        for text in ("x" * 400, *["ahoy"] * 11):
            ada.say(text)
            ada.wait_last(".said p", text)
        for width, scheme in product(WIDTHS, ("light", "dark")):
            resize(width)
            ada.chrome.execute_cdp_cmd(
                "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            )
            ada.say(f"{scheme}, {width}")
            ada.wait_last(".said p", f"{scheme}, {width}")
            assert ada.chrome.execute_script("return innerWidth") == width
            for way in ("Width", "Height"):
                assert ada.chrome.execute_script(f"return document.documentElement.scroll{way} <= inner{way}")
            assert ada.chrome.execute_script(LAST_IS_SEEN), "the last message is seen"
    finally:
        ada.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        ada.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {})
