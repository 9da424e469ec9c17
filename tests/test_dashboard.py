"""The dashboard among the examples: of each turbine a slow reader gets the newest report, and no old ones."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import cast

import trio
from trio.testing import MockClock

from examples import dashboard
from seawall.testing import Client, connect, serve
from tests.kit.wire import RawClient


async def reading(client: Client) -> tuple[str, int]:
    """Which turbine has reported, and how often it has."""
    message = cast("dict[str, object]", json.loads(await client.receive()))
    assert set(message) == {"type", "turbine", "kilowatts", "wind", "number"}
    assert 0 <= cast("int", message["kilowatts"]) <= dashboard.RATED
    return str(message["turbine"]), cast("int", message["number"])


async def test_all_turbines_report(autojump_clock: MockClock) -> None:
    """A reader that keeps up gets each report of each turbine, ten a second."""
    heard: dict[str, list[int]] = defaultdict(list)
    async with connect(dashboard.app, "/live") as client:
        began = trio.current_time()
        while trio.current_time() < began + 10:
            turbine, number = await reading(client)
            heard[turbine].append(number)
    assert set(heard) == set(dashboard.TURBINES)
    for numbers in heard.values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert 80 < len(numbers) < 120


async def test_who_comes_sees_something_at_once(autojump_clock: MockClock) -> None:
    """The newest report of each turbine is there before anything new is."""
    async with serve(dashboard.app) as serving:
        await trio.sleep(10)
        async with serving.connect("/live") as client:
            began = trio.current_time()
            heard = [await reading(client) for _ in dashboard.TURBINES]
            assert trio.current_time() == began
        assert {turbine for turbine, _ in heard} == set(dashboard.TURBINES)
        assert min(number for _, number in heard) > 80


async def test_a_slow_reader_gets_the_newest(autojump_clock: MockClock) -> None:
    """After a stall of five seconds there comes a little that was on its way, and then the newest, one of each."""
    async with connect(dashboard.app, "/live") as client:
        newest: dict[str, int] = {}
        for _ in range(100):
            turbine, newest[turbine] = await reading(client)
        client.stall()
        await trio.sleep(5)
        client.resume()
        skipped = 0
        began = trio.current_time()
        while trio.current_time() < began + 1:
            turbine, number = await reading(client)
            assert number > newest[turbine]
            skipped += number - newest[turbine] - 1
            newest[turbine] = number
        assert skipped > 12 * 20
        assert min(newest.values()) > 55


async def test_the_page(autojump_clock: MockClock) -> None:
    """No browser runs or loads anything that does not stand in it."""
    async with serve(dashboard.app) as serving:
        client = RawClient(serving.open_stream())
        await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await client.last_response()
    assert answer.body.decode() == dashboard.PAGE
    policy = answer.header("content-security-policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
