"""The page about sessions and log-in: each of its programs does what the text beside it says."""

from __future__ import annotations

from types import ModuleType
from typing import cast
from urllib.parse import urlencode

import pytest
import trio
from argon2 import PasswordHasher
from selenium.webdriver.common.by import By
from trio.testing import MockClock

from seawall import App
from seawall.testing import Serving, serve
from tests.kit.browser import Browser as Chromium
from tests.kit.browser import displayed, read
from tests.kit.login import FORM, Answer, Browser
from tests.kit.sockets import serving
from tests.kit.wall import Wall
from tests.test_readme import Loader, load

__all__ = ["load"]  # the fixture

PASSWORD = "enchantress of numbers"


async def post(serving: Serving, path: str, **values: str) -> Answer:
    """What a phone is answered, which is on no page."""
    return await Browser(serving, origin=None).post(path, urlencode(values).encode(), FORM)


async def test_a_phone(load: Loader, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code is good once; a pair opens the chat and is exchanged once; a copy ends the session for both."""
    Wall.instead_of(monkeypatch)
    module = load("CODES")
    cast("dict[str, str]", module.CODES)["7f3a"] = "ada"
    async with serve(cast("App", module.app)) as place:
        first = (await post(place, "/phone/begin", code="7f3a")).said
        for code in ("7f3a", ""):
            assert (await post(place, "/phone/begin", code=code)).status == 401
        async with place.connect("/chat", headers={"Authorization": f"Bearer {first['access']}"}) as client:
            await client.send("ahoy")
            assert await client.receive() == "ada: ahoy"
            second = (await post(place, "/phone/renew", refresh=str(first["refresh"]))).said
            assert (await post(place, "/phone/renew", refresh=str(first["refresh"]))).said == second
            await trio.sleep(11)
            assert (await post(place, "/phone/renew", refresh=str(first["refresh"]))).status == 401
            assert await client.wait_closed() == (3003, "revoked")
        assert (await post(place, "/phone/renew", refresh=str(second["refresh"]))).status == 401


def chat_of(load: Loader) -> ModuleType:
    """The chat with the log-in page, and an account."""
    module = load("PasswordHasher")
    cast("dict[str, str]", module.ACCOUNTS)["ada"] = PasswordHasher(1, 8, 1).hash(PASSWORD)
    return module


async def test_the_pages(load: Loader) -> None:
    """Each of the four answers as the table says; names and passwords that are wrong are told alike."""
    async with serve(cast("App", chat_of(load).app)) as place:
        browser, other = Browser(place), Browser(place)
        wrong = [await browser.log_in(name, "x") for name in ("ada", "nobody")]
        assert [(answer.status, answer.said) for answer in wrong] == [(401, {"error": "wrong name or password"})] * 2
        assert {*(await browser.log_in("ada", PASSWORD)).said} == {"subject", "expires_at"}
        await other.log_in("ada", PASSWORD)
        async with place.connect("/chat", host=browser.host, headers=browser.headers()) as client:
            assert await client.receive() == "hello, ada"
            assert (await browser.post("/session/renew")).said["subject"] == "ada"
            assert (await browser.post("/session/end")).said == {"ended": 1}
            assert await client.wait_closed() == (3003, "revoked")
        assert (await browser.post("/session/renew")).status == 401
        assert (await other.post("/session/end-all")).said == {"ended": 1}
        submitted = await browser.submit("ada", PASSWORD)
        assert (submitted.status, submitted.raw.header("location")) == (303, "/")


@pytest.mark.slow
async def test_behind_nginx(load: Loader) -> None:
    """The proxy's own name is no host of the app; tries are counted by the address that the proxy has seen."""
    async with serving(cast("App", load("LoginLimits(proxies").app)) as place:

        async def tries(forwarded: str, host: str = "chat.example", **fields: str) -> list[int]:
            async def one() -> None:
                browser = Browser(None, host, dial=place.dial)
                found.append((await browser.log_in("ada", "x", **{"X-Forwarded-For": forwarded}, **fields)).status)

            found: list[int] = []
            async with trio.open_nursery() as nursery:
                for _ in range(6):
                    nursery.start_soon(one)
            return sorted(found)

        assert await tries("198.51.100.1, 203.0.113.1") == [401] * 5 + [429]
        assert await tries("203.0.113.2") == [401] * 5 + [429]
        assert await tries("203.0.113.3", place.at.url.removeprefix("ws://")) == [421] * 6
        assert await tries("203.0.113.3", Origin="http://chat.example") == [403] * 6


@pytest.mark.slow
async def test_the_chat_in_a_browser(load: Loader, chrome: Chromium) -> None:
    """The page of the chat asks for a password, talks, is logged out, and is still logged in after a reload."""

    def visit(url: str) -> None:
        form, hello = displayed("#login"), f"{read('#said')}[0] === 'hello, ada'"
        chrome.get(url)
        for _ in range(2):
            chrome.wait(form, "the form")
            for name, text in (("username", "ada"), ("password", PASSWORD + "\n")):
                chrome.find_element(By.NAME, name).send_keys(text)
            chrome.wait(hello, "let in")
            chrome.execute_script("location.reload()")
            chrome.wait(hello, "still let in")
            chrome.find_element(By.ID, "end").click()
            chrome.wait(form, "logged out")
            chrome.execute_script("location.reload()")
        chrome.get("about:blank")

    async with serving(cast("App", chat_of(load).app)) as place:
        await trio.to_thread.run_sync(visit, place.at.url.replace("ws:", "http:"))
