"""The dashboard among the examples in headless Chromium: its numbers move, also behind a network that stalls."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final, cast

import pytest
import trio

from examples import dashboard
from tests.kit.browser import Browser
from tests.kit.relay import Relay, relayed
from tests.kit.sockets import serving

pytestmark = pytest.mark.slow

#: By turbine, the number of the report that is shown; the page keeps it.
NUMBERS: Final = "return Object.fromEntries([...turbines].map(([name, turbine]) => [name, turbine.number]))"

#: What the cards say.
SHOWN: Final = "[...document.querySelectorAll('#turbines li')].map((card) => card.innerText)"


def numbers(chrome: Browser) -> dict[str, int]:
    """Of which reports the page knows."""
    return cast("dict[str, int]", chrome.execute_script(NUMBERS))


def newer(before: dict[str, int]) -> str:
    """JavaScript for how many reports have come of that turbine of which the fewest have."""
    return f"Math.min(...Object.entries({before}).map(([name, number]) => turbines.get(name).number - number))"


def text(chrome: Browser, name: str) -> str:
    """What is read somewhere."""
    return str(chrome.execute_script(f"return find({name!r}).innerText"))


@asynccontextmanager
async def behind_a_relay() -> AsyncGenerator[Relay]:
    """The dashboard, whose server has kernel buffers of a few kilobytes, and what stands before it."""
    async with serving(dashboard.app, buffers=4096) as place:
        with relayed(int(place.at.url.rpartition(":")[2])) as relay:
            yield relay


async def look(at: Callable[[], None]) -> None:
    """Look at the page in a thread, while this one serves it."""
    await trio.to_thread.run_sync(at)


async def test_the_numbers_move(chrome: Browser) -> None:
    """Each turbine has a card, in order, and each changes; nothing is skipped; the console is empty."""

    def see() -> None:
        chrome.get(f"http://127.0.0.1:{relay.port}/")
        chrome.wait("find('state').innerText === 'Live' && turbines.size === 12", "twelve turbines")
        first = cast("list[str]", chrome.execute_script(f"return {SHOWN}"))
        assert [card.split("\n")[0] for card in first] == list(dashboard.TURBINES)
        chrome.wait(f"{json.dumps(first)}.every((text, card) => text !== {SHOWN}[card])", "all have moved")
        chrome.wait("Number(find('rate').innerText) > 60", "the rate")
        assert text(chrome, "skipped") == "0"
        chrome.get("about:blank")
        assert chrome.get_log("browser") == []

    async with behind_a_relay() as relay:
        await look(see)


async def test_a_stall(chrome: Browser) -> None:
    """A tab that has got nothing for five seconds shows the newest reports in a moment, and none of the old ones."""

    def see() -> None:
        chrome.get(f"http://127.0.0.1:{relay.port}/")
        chrome.wait("turbines.size === 12", "twelve turbines")
        with relay.stalled():
            before = numbers(chrome)
            time.sleep(1)
            while before != (before := numbers(chrome)):  # what was on its way
                time.sleep(1)
            time.sleep(5)
            assert numbers(chrome) == before
        chrome.wait(f"{newer(before)} > 45", "the newest")
        chrome.execute_script("count()")
        assert int(text(chrome, "skipped")) > 12 * 20
        assert text(chrome, "state") == "Live"
        chrome.get("about:blank")

    async with behind_a_relay() as relay:
        await look(see)


async def test_a_cut(chrome: Browser) -> None:
    """The page says that it is offline, and goes on by itself when the network is back."""

    def see() -> None:
        chrome.get(f"http://127.0.0.1:{relay.port}/")
        chrome.wait("turbines.size === 12", "twelve turbines")
        relay.cut()
        chrome.wait("find('state').innerText === 'Offline'", "offline")
        before = numbers(chrome)
        relay.mend()
        chrome.wait("find('state').innerText === 'Live'", "live again")
        chrome.wait(f"{newer(before)} > 0", "all have moved")
        chrome.get("about:blank")
        chrome.get_log("browser")  # that the server did not answer

    async with behind_a_relay() as relay:
        await look(see)


@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_the_page_fits(chrome: Browser, width: int) -> None:
    """Nothing is wider than the screen, on a phone and on a desk."""

    def see() -> None:
        metrics: dict[str, object] = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        try:
            chrome.get(f"http://127.0.0.1:{relay.port}/")
            chrome.wait("turbines.size === 12", "twelve turbines")
            assert chrome.execute_script("return innerWidth") == width
            assert chrome.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        finally:
            chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        chrome.get("about:blank")

    async with behind_a_relay() as relay:
        await look(see)
