"""The chat among the examples: what its clients send and hear, line by line."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, cast
from urllib.parse import quote

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from examples import chat
from seawall.testing import Rejected, Serving, serve
from tests.kit.talk import Message, Talker, error
from tests.kit.tokens import signed
from tests.kit.wire import RawClient, Response


@define
class Guest:
    """Somebody in a room. Who is there, and what is said, are told in an order of their own each."""

    talker: Talker
    others: list[dict[str, object]] = field(factory=list[dict[str, object]])
    """What has been heard while something else was waited for."""

    async def hear(self, *kinds: str) -> dict[str, object]:
        """The next message of one of these types."""
        for at, message in enumerate(self.others):
            if message["type"] in kinds:
                return self.others.pop(at)
        while (message := await self.talker.hear())["type"] not in kinds:
            self.others.append(message)
        return message

    async def names(self) -> list[str]:
        """Who is there, as is told to who comes in."""
        here = await self.hear("here")
        return [str(person["name"]) for person in cast("list[dict[str, str]]", here["people"])]

    async def sees(self, kind: str) -> str:
        """Who has come or gone."""
        return cast("dict[str, str]", (await self.hear(kind))["person"])["name"]

    async def texts(self, count: int) -> list[str]:
        """What was said next, so many times."""
        return [said(await self.hear("heard"))[1] for _ in range(count)]

    async def ask(self, **message: object) -> dict[str, object]:
        """Send a message, and receive its answer."""
        await self.talker.say({**message, "ref": 1})
        answer = await self.hear("done", "error")
        assert answer.pop("re") == 1
        return answer

    async def say(self, text: str) -> None:
        """Say something."""
        assert await self.ask(type="say", text=text) == {"type": "done"}

    async def end(self) -> object:
        """How it ends, whatever is heard before that."""
        return await self.talker.end()


@define
class House:
    """The chat, and what its clients do."""

    serving: Serving

    async def ask(self, method: str, path: str, body: str = "", cookie: str = "") -> Response:
        """What a page is answered, to the page of the chat."""
        client = RawClient(self.serving.open_stream())
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Origin: http://localhost"]
        lines += [f"Cookie: {cookie}"] * bool(cookie)
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}", "", body]
        await client.send("\r\n".join(lines).encode())
        return await client.last_response()

    async def log_in(self, name: str) -> str:
        """The cookie that somebody of this name gets."""
        answer = await self.ask("POST", "/login", f"name={name}")
        assert answer.status == 200
        return answer.header("set-cookie").partition(";")[0]

    @asynccontextmanager
    async def visit(self, cookie: str, room: str = "lobby", since: object = None) -> AsyncGenerator[Guest]:
        """Somebody who comes into a room."""
        async with self.serving.connect(f"/rooms/{room}", headers={"Cookie": cookie}) as client:
            talker = Talker(client)
            await talker.say({"type": "enter", "since": since})
            yield Guest(talker)

    @asynccontextmanager
    async def ada_and_grace(self) -> AsyncGenerator[tuple[Guest, Guest]]:
        """The two of them in the lobby. Ada came first."""
        async with self.visit(await self.log_in("Ada")) as ada:
            assert await ada.names() == ["Ada"]
            async with self.visit(await self.log_in("Grace")) as grace:
                assert await grace.names() == ["Ada", "Grace"]
                assert await ada.sees("came") == "Grace"
                yield ada, grace


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    """The chat, served in memory."""
    async with serve(chat.app) as serving:
        yield House(serving)


def said(message: dict[str, object]) -> tuple[str, str]:
    """Who has said what, at a time of now, in UTC, and with a position."""
    assert re.fullmatch(r"[A-Za-z0-9]+-\d+", str(message["position"]))
    found = cast("dict[str, str]", message["said"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", found["at"]), found
    return found["name"], found["text"]


async def test_two_talk(house: House, autojump_clock: MockClock) -> None:
    """What is said is told to all in one order, to who has said it too, who is answered that it is done."""
    async with house.ada_and_grace() as (ada, grace):
        await ada.say("ahoy")
        await grace.say("hello")
        for guest in (ada, grace):
            assert said(await guest.hear("heard")) == ("Ada", "ahoy")
            assert said(await guest.hear("heard")) == ("Grace", "hello")


async def test_the_app_can_be_served_again(autojump_clock: MockClock) -> None:
    """A position of an earlier run is a gap of which nobody knows how long it is."""
    async with serve(chat.app) as serving:
        house = House(serving)
        async with house.visit(await house.log_in("Ada")) as ada:
            await ada.say("one")
            position = (await ada.hear("heard"))["position"]
    async with serve(chat.app) as serving:
        house = House(serving)
        async with house.visit(await house.log_in("Ada"), since=position) as ada:
            missed = await ada.hear("missed")
            assert missed["lost"] is None
            await ada.say("two")
            assert await ada.texts(1) == ["two"]


INVALID: Final[list[tuple[Message, Message]]] = [
    ({"type": "say", "text": " "}, error("invalid_message", path="$.text", detail="write something")),
    (
        {"type": "say", "text": "x" * 501},
        error("invalid_message", path="$.text", detail="expected at most 500 characters"),
    ),
    ({"type": "say"}, error("invalid_message", path="$.text", detail="missing")),
    (
        {"type": "kick", "name": "x" * 21},
        error("invalid_message", path="$.name", detail="expected at most 20 characters"),
    ),
]


@pytest.mark.parametrize(("sent", "answered"), INVALID, ids=[str(sent)[:60] for sent, _ in INVALID])
async def test_what_is_invalid_is_answered_where_it_is(
    house: House, autojump_clock: MockClock, sent: Message, answered: Message
) -> None:
    """The answer names the field and what was expected there; nobody else hears of it, and the next one is heard."""
    async with house.ada_and_grace() as (ada, grace):
        assert await ada.ask(**sent) == answered
        await ada.say("ahoy")
        assert await grace.texts(1) == ["ahoy"]


async def test_a_position_that_is_none(house: House, autojump_clock: MockClock) -> None:
    """It is answered as any message that is invalid, and who enters properly then is let in."""
    async with house.visit(await house.log_in("Ada"), since="yesterday") as ada:
        answer = await ada.hear("error")
        assert answer == error("invalid_message", path="$.since", detail="expected a position")
        await ada.talker.say({"type": "enter"})
        assert await ada.names() == ["Ada"]


async def test_who_comes_later_hears_what_was_said(house: House, autojump_clock: MockClock) -> None:
    """The last hundred, in their order, and then what comes."""
    async with house.ada_and_grace() as (ada, _):
        for number in range(103):
            await ada.say(str(number))
        async with house.visit(await house.log_in("Eve")) as eve:
            assert await eve.texts(100) == [str(number) for number in range(3, 103)]
            await ada.say("live")
            assert await eve.texts(1) == ["live"]


@pytest.mark.parametrize(("meanwhile", "lost"), [(0, 0), (3, 0), (100, 0), (101, 1), (130, 30)])
async def test_who_comes_back(house: House, autojump_clock: MockClock, meanwhile: int, lost: int) -> None:
    """What was said meanwhile follows, once each; what is no longer kept is a gap of a known length before it."""
    grace_s = await house.log_in("Grace")
    async with house.visit(await house.log_in("Ada")) as ada:
        async with house.visit(grace_s) as grace:
            await ada.say("before")
            position = (await grace.hear("heard"))["position"]
        for number in range(meanwhile):
            await ada.say(str(number))
        async with house.visit(grace_s, since=position) as grace:
            if lost:
                missed = await grace.hear("missed", "heard")
                assert (missed["type"], missed["lost"]) == ("missed", lost)
            wanted = list(map(str, range(lost, meanwhile)))
            assert await grace.texts(len(wanted)) == wanted  # before anybody goes on: the room keeps a hundred
            await ada.say("live")
            assert await grace.texts(1) == ["live"]
            assert "missed" not in [message["type"] for message in grace.others]


async def test_a_reload_is_not_seen(house: House, autojump_clock: MockClock) -> None:
    """Who is back within five seconds has not been gone for the others; who stays away is, after that time."""
    grace_s = await house.log_in("Grace")
    async with house.visit(await house.log_in("Ada")) as ada:
        async with house.visit(grace_s) as grace:
            assert await grace.names() == ["Ada", "Grace"]
        await trio.sleep(3)
        async with house.visit(grace_s) as grace:
            assert await grace.names() == ["Ada", "Grace"]
            await trio.sleep(60)
            await grace.say("still here")
        gone = trio.current_time()
        assert await ada.sees("gone") == "Grace"
        assert 5 <= trio.current_time() - gone < 6
        assert [message["type"] for message in ada.others].count("came") == 1


async def test_a_log_out_is_seen_at_once(house: House, autojump_clock: MockClock) -> None:
    """Who has logged out is gone without delay."""
    grace_s = await house.log_in("Grace")
    async with house.visit(await house.log_in("Ada")) as ada, house.visit(grace_s) as grace:
        assert await grace.names() == ["Ada", "Grace"]
        began = trio.current_time()
        await house.ask("POST", "/logout", cookie=grace_s)
        assert await ada.sees("gone") == "Grace"
        assert trio.current_time() < began + 1
        assert await grace.end() == (3003, "revoked")


async def test_the_host_kicks(house: House, autojump_clock: MockClock) -> None:
    """Who is kicked is gone at once, is refused for a minute, in this room only, and may come back then."""
    grace_s = await house.log_in("Grace")
    async with house.visit(await house.log_in("Ada")) as ada:
        async with house.visit(grace_s) as grace:
            await ada.say("before")
            position = (await grace.hear("heard"))["position"]
            assert await ada.ask(type="kick", name="Grace") == {"type": "done"}
            assert await grace.end() == (3003, "kicked")
        assert await ada.sees("gone") == "Grace"
        await ada.say("meanwhile")
        for since in (position, None):
            async with house.visit(grace_s, since=since) as grace:
                assert await grace.end() == (3003, "kicked")
        async with house.visit(grace_s, "kitchen") as grace:
            assert await grace.names() == ["Grace"]
        await trio.sleep(chat.KICKED_FOR)
        async with house.visit(grace_s, since=position) as grace:
            assert await grace.texts(1) == ["meanwhile"]


async def test_nobody_else_kicks_until_the_host_has_gone(house: House, autojump_clock: MockClock) -> None:
    """Who is no host is refused, each time, and so is the host who means herself; then the next one is the host."""
    grace_s = await house.log_in("Grace")
    async with house.visit(await house.log_in("Ada")) as ada:
        assert await ada.names() == ["Ada"]
        async with house.visit(grace_s) as grace:
            for _ in range(2):
                assert await grace.ask(type="kick", name="Ada") == error("forbidden")
            assert await ada.ask(type="kick", name="Ada") == error("forbidden")
            await ada.talker.client.aclose()
            assert await grace.sees("gone") == "Ada"
            assert await grace.ask(type="kick", name="Ada") == {"type": "done"}


async def test_two_windows_are_two_connections(house: House, autojump_clock: MockClock) -> None:
    """Each is told of, with an id of its own, so that a page can tell who is still there when one has closed."""
    cookie = await house.log_in("Ada")
    async with house.visit(cookie) as first:
        assert await first.names() == ["Ada"]
        async with house.visit(cookie) as second:
            assert await second.names() == ["Ada", "Ada"]
            come = (await first.hear("came"))["person"]
            await first.say("ahoy")
            assert await second.texts(1) == ["ahoy"]
        assert (await first.hear("gone"))["person"] == come


async def test_rooms(house: House, autojump_clock: MockClock) -> None:
    """Nothing of one room is heard in the other, and a third one there is not."""
    cookie = await house.log_in("Ada")
    async with house.visit(cookie) as lobby, house.visit(cookie, "kitchen") as kitchen:
        assert await lobby.names() == await kitchen.names() == ["Ada"]
        await lobby.say("ahoy")
        await kitchen.talker.silence(1)
    async with house.visit(cookie, "attic") as attic:
        assert await attic.end() == (4404, "no such room")


async def test_who_does_not_read_is_let_go(house: House, autojump_clock: MockClock) -> None:
    """Whoever takes nothing while others talk is closed, and holds up nobody."""
    async with house.ada_and_grace() as (ada, grace):
        grace.talker.client.stall()
        began = trio.current_time()
        for number in range(600):
            await ada.say(str(number))
        assert trio.current_time() < began + 1
        assert await ada.sees("gone") == "Grace"
        assert await ada.texts(600) == [str(number) for number in range(600)]


@pytest.mark.parametrize("name", ["", " ", "a b", "x" * 21, "<b>", "a_b", "A\n"], ids=repr)
async def test_what_is_no_name(house: House, autojump_clock: MockClock, name: str) -> None:
    """It is refused in words for the page, and there is no cookie; spaces around a name do not matter."""
    answer = await house.ask("POST", "/login", f"name={quote(name)}")
    if name.strip() == "A":
        assert answer.status == 200
        return
    assert (answer.status, answer.body) == (422, b"a name has 1 to 20 letters and digits")
    assert not [value for key, value in answer.headers if key == "set-cookie"]


async def test_from_the_log_in_to_the_log_out(house: House, autojump_clock: MockClock) -> None:
    """The cookie is hidden from scripts and other sites; with it the page knows the name, until it is taken back."""
    assert (await house.ask("GET", "/me")).body == b""
    answer = await house.ask("POST", "/login", "name=Z%C3%B6e")
    cookie, *attributes = answer.header("set-cookie").split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Secure", "Path=/"} <= set(attributes)
    assert (await house.ask("GET", "/me", cookie=cookie)).body.decode() == "Zöe"
    async with house.visit(cookie) as zoe:
        assert await zoe.names() == ["Zöe"]
        assert (await house.ask("POST", "/logout", cookie=cookie)).status == 200
        assert await zoe.end() == (3003, "revoked")
    assert (await house.ask("GET", "/me", cookie=cookie)).status == 401
    assert (await house.ask("POST", "/logout")).status == 401


async def test_tokens_that_let_nobody_in(house: House, autojump_clock: MockClock) -> None:
    """None, one of another secret, and one that names no session."""
    claims = {"iss": "chat", "aud": "chat", "sub": "Ada", "exp": time.time() + 60}
    forged = signed({**claims, "sid": "1"}, "another secret, long enough for HS256 too")
    for cookie in ("", f"{chat.COOKIE}={forged}", f"{chat.COOKIE}={signed(claims, chat.SECRET)}"):
        with pytest.raises(Rejected) as refused:
            async with house.visit(cookie):
                raise AssertionError("let in")
        assert refused.value.status == 401


async def test_the_page(house: House, autojump_clock: MockClock) -> None:
    """It is the same for everybody, and no browser runs or loads anything that does not stand in it."""
    answer = await house.ask("GET", "/")
    assert answer.body.decode() == chat.PAGE
    policy = answer.header("content-security-policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
