"""The page about rooms: each of its programs does what the text beside it says."""

from __future__ import annotations

import re
import time
from contextlib import AbstractAsyncContextManager
from typing import cast

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from seawall import Anonymous, App, Request, Response
from seawall.rooms import Topic
from seawall.testing import Client, connect, serve
from tests.kit.browser import Browser
from tests.kit.relay import relayed
from tests.kit.sockets import serving
from tests.kit.talk import Talker
from tests.kit.tokens import signed
from tests.test_readme import PAGES, ROOT, Loader, load

__all__ = ["load"]  # the fixture

FIRST = 'said = app.topic("rooms/{room}", Said)\n'


def bearing(subject: str) -> dict[str, str]:
    """The headers of somebody."""
    claims = {"aud": "chat", "iss": "https://id.example", "sub": subject, "exp": time.time() + 3600}
    return {"Authorization": f"Bearer {signed(claims)}"}


async def test_publish_and_subscribe(load: Loader, autojump_clock: MockClock) -> None:
    """What one says, all hear who are in the room, who says it too, and nobody in another room."""
    async with (
        serve(load.app(FIRST)) as place,
        place.connect("/rooms/lobby") as ada,
        place.connect("/rooms/lobby") as grace,
        place.connect("/rooms/a%2Fb") as eve,
    ):
        await wait_all_tasks_blocked()
        await Talker(ada).say({"type": "say", "text": "ahoy"})
        for client in (ada, grace):
            assert await Talker(client).hear() == {"type": "said", "text": "ahoy"}
        await Talker(eve).silence(1)


async def test_resume(load: Loader, autojump_clock: MockClock) -> None:
    """The table about ``since``: all, what is missing, and a gap before what is kept; garbage is an invalid message."""
    async with serve(load.app("async def resumable")) as place:

        async def texts(since: object, count: int) -> list[object]:
            async with place.connect("/rooms/lobby") as client:
                await Talker(client).say({"type": "enter", "since": since})
                heard = await Talker(client).hear_many(count)
                await Talker(client).silence(1)
            return [one.get("text", one.get("lost", one["type"])) for one in heard]

        async with place.connect("/rooms/lobby") as ada:
            await Talker(ada).say({"type": "enter"})
            for number in range(3):
                await Talker(ada).say({"type": "say", "text": str(number)})
            first, *_ = await Talker(ada).hear_many(3)
            assert await texts(None, 3) == ["0", "1", "2"]
            assert await texts(first["position"], 2) == ["1", "2"]
            for number in range(3, 103):
                await Talker(ada).say({"type": "say", "text": str(number)})
            await Talker(ada).hear_many(100)
            assert await texts(first["position"], 101) == [2, *map(str, range(3, 103))]
            assert await texts("elsewhere-1", 101) == [None, *map(str, range(3, 103))]
        await trio.sleep(4000)
        async with place.connect("/rooms/lobby") as client:
            talker = Talker(client)
            answer = await talker.ask({"type": "enter", "since": "yesterday"})
            assert (answer["code"], answer["path"]) == ("invalid_message", "$.since")
            await talker.say({"type": "enter", "since": first["position"]})
            assert (await talker.hear())["type"] == "missed"  # the hour is over, and nothing is kept
            await talker.silence(1)


async def test_prices(load: Loader, autojump_clock: MockClock) -> None:
    """Who takes nothing for a while gets the newest of each share then, and who comes new begins with these."""
    module = load("def share_of")
    prices = cast("Topic[object]", module.prices)()
    async with connect(cast("App", module.app), "/prices") as client:
        await wait_all_tasks_blocked()
        client.stall()
        for cents in range(10_000):
            await prices.publish(module.Price("ABC" if cents % 2 else "XYZ", cents))
        client.resume()
        heard = [-1]
        while heard[-1] != 9_999:
            heard.append(cast("int", (await Talker(client).hear())["cents"]))
        assert heard == sorted(heard)
        assert len(heard) < 9_000
    async with serve(cast("App", module.app)) as place:
        for share, cents in (("ABC", 1), ("XYZ", 2), ("XYZ", 3), ("XYZ", 4)):
            await prices.publish(module.Price(share, cents))
        async with place.connect("/prices") as client:
            assert [one["cents"] for one in await Talker(client).hear_many(2)] == [1, 4]


async def test_several_rooms(load: Loader, autojump_clock: MockClock) -> None:
    """Who has joined a room hears it until leaving it; one room too many ends the connection."""
    async with serve(load.app("async def several")) as place, place.connect("/chat") as client:
        ada = Talker(client)
        for room in ("a", "b"):
            await ada.say({"type": "join", "room": room})
        await wait_all_tasks_blocked()
        await ada.say({"type": "say", "room": "a", "text": "ahoy"})
        assert await ada.hear() == {"type": "line", "room": "a", "text": "ahoy"}
        await ada.say({"type": "leave", "room": "a"})
        await wait_all_tasks_blocked()
        await ada.say({"type": "say", "room": "a", "text": "still here?"})
        await ada.say({"type": "say", "room": "b", "text": "well"})
        assert await ada.hear() == {"type": "line", "room": "b", "text": "well"}
        for number in range(20):
            await ada.say({"type": "join", "room": str(number)})
        assert await client.wait_closed() == (1013, "too many requests")


async def test_readable(load: Loader, autojump_clock: MockClock) -> None:
    """Members see the last three and what comes, others are refused, and the names of groups are no secret."""
    module = load(".readable(is_member)")
    minutes = cast("Topic[object]", module.minutes)
    async with serve(cast("App", module.app)) as place:
        for number in range(5):
            await minutes(group="staff").publish(module.Minutes(str(number)))
        async with place.connect("/groups/staff", headers=bearing("grace")) as grace:
            assert [one["text"] for one in await Talker(grace).hear_many(3)] == ["2", "3", "4"]
            await wait_all_tasks_blocked()
            await minutes(group="staff").publish(module.Minutes("5"))
            assert (await Talker(grace).hear())["text"] == "5"
        for group in ("board", "kitchen"):
            async with place.connect(f"/groups/{group}", headers=bearing("grace")) as grace:
                assert await grace.wait_closed() == (3003, "forbidden")


async def test_presence_and_kick(load: Loader, autojump_clock: MockClock) -> None:
    """Who is there is told, a reload is not seen, and whom the moderator kicks is refused for ten minutes."""
    async with (
        serve(load.app("tell_who_is_here")) as place,
        place.connect("/rooms/lobby", headers=bearing("ada")) as client,
    ):
        ada = Talker(client)

        def bob() -> AbstractAsyncContextManager[Client]:
            return place.connect("/rooms/lobby", headers=bearing("bob"))

        async def names(client: Client) -> list[object]:
            here = await Talker(client).hear()
            assert here["type"] == "here"
            return list(cast("dict[str, object]", here["names"]).values())

        assert await names(client) == ["ada"]
        async with bob() as first:
            assert await names(first) == ["ada", "bob"]
            came = await ada.hear()
            assert (came["type"], came["name"]) == ("came", "bob")
        async with bob() as second:
            assert await names(second) == ["ada", "bob"]
            await ada.silence(10)
            assert (await Talker(second).ask({"type": "kick", "name": "ada"}))["code"] == "forbidden"
            await ada.say({"type": "kick", "name": "bob"})
            assert await second.wait_closed() == (3003, "kicked")
        assert await ada.hear() == {"type": "gone", "id": came["id"]}
        await trio.sleep(590)
        async with bob() as third:
            assert await third.wait_closed() == (3003, "kicked")
        await trio.sleep(20)
        async with bob() as fourth:
            assert await names(fourth) == ["ada", "bob"]


async def test_the_books(load: Loader, autojump_clock: MockClock) -> None:
    """What clients order is written down by a task of the app."""
    module = load("def bookkeeper")
    async with connect(cast("App", module.app), "/orders") as client:
        for item in ("tea", "cake"):
            await Talker(client).say({"type": "order", "item": item})
        await wait_all_tasks_blocked()
        assert module.ledger == ["tea", "cake"]


async def test_the_test(load: Loader, autojump_clock: MockClock) -> None:
    """The test on the page passes."""
    await load("test_coming_back").test_coming_back(autojump_clock)


def script() -> str:
    """The JavaScript on the page."""
    (found,) = re.findall(r"```js\n(.*?)```", PAGES[ROOT / "docs" / "rooms.md"], re.DOTALL)
    return str(found)


@frozen
class Looker:
    """Looks at the page of the resumable chat."""

    chrome: Browser

    def sees(self, *texts: str) -> None:
        """Wait until exactly this is shown."""
        self.chrome.wait_same("shown", [*texts])


@pytest.mark.slow
async def test_the_script_resumes(load: Loader, chrome: Browser) -> None:
    """What was published while the network was away is there once, and what is not kept is said to be missing."""
    module = load("async def resumable")
    app = cast("App", module.app)
    room = cast("Topic[object]", module.said)(room="lobby")
    html = f"<!doctype html><script>const shown = [], show = (text) => shown.push(text);\n{script()}connect();</script>"

    @app.page("/")
    async def page(request: Request[Anonymous]) -> Response:
        """A page with nothing but the script."""
        return Response(html, media_type="text/html; charset=utf-8")

    def look(at: int, publish: trio.lowlevel.TrioToken) -> None:
        def say(*texts: str) -> None:
            for text in texts:
                trio.from_thread.run(room.publish, module.Said(text), trio_token=publish)

        looker = Looker(chrome)
        with relayed(at) as relay:
            say("before")
            chrome.get(f"http://127.0.0.1:{relay.port}/")
            looker.sees("before")
            relay.cut()
            say("one", "two")
            relay.mend()
            looker.sees("before", "one", "two")
            relay.cut()
            flood = [str(number) for number in range(103)]
            say(*flood)
            relay.mend()
            looker.sees("before", "one", "two", "3 messages are missing here", *flood[3:])
            chrome.get("about:blank")

    async with serving(app) as place:
        port = int(place.at.url.rpartition(":")[2])
        await trio.to_thread.run_sync(look, port, trio.lowlevel.current_trio_token())
