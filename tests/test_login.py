"""The log-in among the examples: what its WebSocket tells, and who can log out whom."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from argon2 import PasswordHasher
from attrs import define

from examples import login
from seawall.testing import Serving, serve
from tests.kit.login import Browser
from tests.kit.talk import Message, Talker


@pytest.fixture
def passwords(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[dict[str, str]]:
    """The accounts, with the passwords that were printed for them."""
    monkeypatch.setattr(login, "DATA", tmp_path)
    monkeypatch.setattr(login, "hasher", PasswordHasher(1, 8, 1))
    login.make_accounts("ada", "grace")
    lines = capsys.readouterr().out.splitlines()
    yield {line.split()[3].strip(","): line.split()[-1] for line in lines}
    assert login.browsers == {}


@define
class House:
    """The example, and what is done there."""

    serving: Serving
    passwords: dict[str, str]

    async def log_in(self, name: str) -> Browser:
        """A browser in which somebody is logged in."""
        browser = Browser(self.serving)
        assert (await browser.log_in(name, self.passwords[name])).status == 200
        return browser

    @asynccontextmanager
    async def tab(self, browser: Browser, agent: str) -> AsyncGenerator[Talker]:
        """One of its tabs."""
        headers = {**browser.headers(), "User-Agent": agent}
        async with self.serving.connect("/live", host=browser.host, headers=headers) as client:
            yield Talker(client)


def listed(message: Message) -> list[tuple[str, int, bool]]:
    """What a client is told of each device: its browser, its tabs, and whether it is this one."""
    assert message["type"] == "devices"
    each = cast("list[dict[str, object]]", message["devices"])
    return [(str(one["browser"]), cast("int", one["tabs"]), one["session"] == message["here"]) for one in each]


async def test_passwords(passwords: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """What was printed is a password, and nothing else is; it is printed once."""
    assert await login.authenticate("ada", passwords["ada"]) == "ada"
    for name, password in (("ada", passwords["grace"]), ("Ada", passwords["ada"]), ("nobody", "x")):
        assert await login.authenticate(name, password) is None
    login.make_accounts("ada", "grace")
    assert capsys.readouterr().out == ""
    assert await login.authenticate("ada", passwords["ada"]) == "ada"


async def test_each_is_told_where_they_are_connected(passwords: dict[str, str]) -> None:
    """Whenever a tab of theirs comes or goes, with the browser that it is in; nobody hears of anybody else's."""
    async with serve(login.app) as serving:
        house = House(serving, passwords)
        phone, desk = await house.log_in("ada"), await house.log_in("ada")
        async with house.tab(await house.log_in("grace"), "Lynx") as grace, house.tab(phone, "Phone") as first:
            assert listed(await grace.hear()) == [("Lynx", 1, True)]
            assert listed(await first.hear()) == [("Phone", 1, True)]
            async with house.tab(desk, "Desk") as second:
                assert listed(await first.hear()) == [("Phone", 1, True), ("Desk", 1, False)]
                assert listed(await second.hear()) == [("Phone", 1, False), ("Desk", 1, True)]
                async with house.tab(desk, "Desk"):
                    assert listed(await first.hear()) == [("Phone", 1, True), ("Desk", 2, False)]
                assert listed(await first.hear()) == [("Phone", 1, True), ("Desk", 1, False)]
            assert listed(await first.hear()) == [("Phone", 1, True)]
            await grace.say({"type": "log_out", "session": "x", "ref": 1})
            assert await grace.hear() == {"type": "done", "re": 1}


async def test_a_device_logs_out_another_one(passwords: dict[str, str]) -> None:
    """Of the same user, whose session is over; somebody else's, whose id they happen to know, goes on."""
    async with serve(login.app) as serving:
        house = House(serving, passwords)
        phone, desk = await house.log_in("ada"), await house.log_in("ada")
        async with (
            house.tab(await house.log_in("grace"), "Lynx") as grace,
            house.tab(phone, "Phone") as first,
            house.tab(desk, "Desk") as second,
        ):
            await grace.hear()
            await first.hear()
            here = (await second.hear())["here"]
            await grace.say({"type": "log_out", "session": here, "ref": 1})
            await grace.hear()
            assert listed(await first.hear()) == [("Phone", 1, True), ("Desk", 1, False)]
            await first.say({"type": "log_out", "session": here})
            assert await second.client.wait_closed() == (3003, "revoked")
            assert listed(await first.hear()) == [("Phone", 1, True)]
        assert (await desk.post("/session/renew")).status == 401
        assert (await phone.post("/session/renew")).status == 200
