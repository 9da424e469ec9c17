"""The chat among the examples: what its clients send and hear, line by line."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote

import pytest
import trio
from attrs import define
from trio.testing import MockClock

from examples import chat
from seawall.testing import Rejected, Serving, serve
from tests.kit.talk import Message, Talker, error
from tests.kit.tokens import signed
from tests.kit.wire import RawClient, Response


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
    async def visit(self, cookie: str, room: str = "lobby") -> AsyncGenerator[Talker]:
        """Somebody who is in a room; what the room is like has been heard."""
        async with self.serving.connect(f"/rooms/{room}", headers={"Cookie": cookie}) as client:
            yield Talker(client)

    @asynccontextmanager
    async def ada_and_grace(self) -> AsyncGenerator[tuple[Talker, Talker]]:
        """The two of them in the lobby. Ada came first."""
        async with self.visit(await self.log_in("Ada")) as ada, self.visit(await self.log_in("Grace")) as grace:
            assert await ada.hear() == welcome("Ada")
            assert await ada.hear() == {"type": "joined", "name": "Grace"}
            assert await grace.hear() == welcome("Ada", "Grace")
            yield ada, grace


@pytest.fixture
async def house() -> AsyncGenerator[House]:
    """The chat, served in memory."""
    async with serve(chat.app) as serving:
        yield House(serving)


def welcome(*people: str, topic: str = "Anything") -> dict[str, object]:
    """What somebody hears first."""
    return {"type": "welcome", "topic": topic, "people": list(people)}


def said(message: Mapping[str, object]) -> dict[str, object]:
    """What somebody has heard, without its time, which has to be one of now, in UTC."""
    at = str(message["at"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", at), at
    return {name: value for name, value in message.items() if name != "at"}


async def test_two_talk(house: House, autojump_clock: MockClock) -> None:
    """What is said is answered to who has said it, with the number of the question, and is told to the others."""
    async with house.ada_and_grace() as (ada, grace):
        answer = said(await ada.ask({"type": "say", "ref": 7, "text": "ahoy"}))
        assert answer == {"type": "said", "re": 7, "number": 1, "name": "Ada", "text": "ahoy"}
        assert said(await grace.hear()) == {"type": "said", "number": 1, "name": "Ada", "text": "ahoy"}
        answer = said(await grace.ask({"type": "say", "text": "ahoy"}))
        assert answer == {"type": "said", "number": 2, "name": "Grace", "text": "ahoy"}
        assert said(await ada.hear()) == answer


INVALID: Final[list[tuple[Message, Message]]] = [
    ({"type": "say", "ref": 1, "text": " "}, error("invalid_message", 1, path="$.text", detail="write something")),
    (
        {"type": "say", "ref": 2, "text": "x" * 501},
        error("invalid_message", 2, path="$.text", detail="expected at most 500 characters"),
    ),
    ({"type": "say", "ref": 3}, error("invalid_message", 3, path="$.text", detail="missing")),
    (
        {"type": "set_topic", "ref": 4, "topic": "no"},
        error("invalid_message", 4, path="$.topic", detail="expected at least 3 characters"),
    ),
    (
        {"type": "history", "ref": 5, "last": 0},
        error("invalid_message", 5, path="$.last", detail="expected at least 1"),
    ),
]


@pytest.mark.parametrize(("sent", "answered"), INVALID, ids=[str(sent)[:60] for sent, _ in INVALID])
async def test_what_is_invalid_is_answered_where_it_is(
    house: House, autojump_clock: MockClock, sent: Message, answered: Message
) -> None:
    """The answer names the field and what was expected there; nobody else hears of it, and the next one is heard."""
    async with house.ada_and_grace() as (ada, grace):
        assert await ada.ask(sent) == answered
        assert said(await ada.ask({"type": "say", "text": "ahoy"}))["number"] == 1
        assert said(await grace.hear())["number"] == 1


async def test_the_host_sets_the_topic(house: House, autojump_clock: MockClock) -> None:
    """Everybody hears of it, and the host is answered that it is done; who comes later finds it."""
    async with house.ada_and_grace() as (ada, grace):
        await ada.say({"type": "set_topic", "ref": "t", "topic": "Tides"})
        told: Message = {"type": "topic_set", "topic": "Tides", "name": "Ada"}
        assert await ada.hear_many(2) == [told, {"type": "done", "re": "t"}]
        assert await grace.hear() == told
        async with house.visit(await house.log_in("Eve")) as eve:
            assert await eve.hear() == welcome("Ada", "Grace", "Eve", topic="Tides")


async def test_nobody_else_sets_it_until_the_host_has_gone(house: House, autojump_clock: MockClock) -> None:
    """Who is no host is refused, each time; the next one becomes the host when the first has gone."""
    grace_s = await house.log_in("Grace")
    async with house.visit(await house.log_in("Ada")) as ada:
        assert await ada.hear() == welcome("Ada")
        async with house.visit(grace_s) as grace:
            assert await grace.hear() == welcome("Ada", "Grace")
            for ref in (1, 2):
                refused = await grace.ask({"type": "set_topic", "ref": ref, "topic": "Mutiny"})
                assert refused == error("forbidden", ref)
            await ada.client.aclose()
            assert await grace.hear() == {"type": "left", "name": "Ada"}
            assert (await grace.ask({"type": "set_topic", "topic": "Mutiny"}))["type"] == "topic_set"


async def test_what_was_said_before(house: House, autojump_clock: MockClock) -> None:
    """It comes as a stream that has an end, the oldest first, as much of it as was asked for."""
    cookie = await house.log_in("Ada")
    async with house.visit(cookie) as ada:
        assert await ada.hear() == welcome("Ada")
        for text in ("one", "two", "three"):
            await ada.ask({"type": "say", "text": text})
        await ada.say({"type": "history", "ref": 1, "last": 2}, {"type": "history", "last": 1})
        *stream, end, last = await ada.hear_many(4)
        if last["type"] == "end":  # a stream holds up nothing that comes after it
            end, last = last, end
        assert [(one["re"], one["text"]) for one in stream] == [(1, "two"), (1, "three")]
        assert end == {"type": "end", "re": 1}
        assert said(last) == {"type": "said", "number": 3, "name": "Ada", "text": "three"}


async def test_two_windows_are_one_person(house: House, autojump_clock: MockClock) -> None:
    """A second window of somebody is not announced, and neither is that it has been closed."""
    cookie = await house.log_in("Ada")
    async with house.visit(cookie) as first, house.visit(await house.log_in("Grace")) as grace:
        async with house.visit(cookie) as second:
            assert await second.hear() == welcome("Ada", "Grace")
            assert (await first.hear_many(2))[1] == {"type": "joined", "name": "Grace"}
            assert await grace.hear() == welcome("Ada", "Grace")
            await first.say({"type": "say", "text": "ahoy"})
            assert (await second.hear())["text"] == (await grace.hear())["text"] == "ahoy"
        await grace.silence(1)


async def test_rooms(house: House, autojump_clock: MockClock) -> None:
    """Nothing of one room is heard in the other, and a third one there is not."""
    cookie = await house.log_in("Ada")
    async with house.visit(cookie) as lobby, house.visit(cookie, "kitchen") as kitchen:
        assert await lobby.hear() == await kitchen.hear() == welcome("Ada")
        await lobby.ask({"type": "say", "text": "ahoy"})
        await kitchen.silence(1)
    async with house.visit(cookie, "attic") as attic:
        assert await attic.end() == (4404, "no such room")


async def test_who_does_not_read_is_let_go(house: House, autojump_clock: MockClock) -> None:
    """Whoever takes nothing while others talk is closed, 1013 in the log, and holds up nobody."""
    async with house.ada_and_grace() as (ada, grace):
        grace.client.stall()
        began = trio.current_time()
        answer: Message = {}
        for number in range(1, 1000):
            answer = await ada.ask({"type": "say", "text": "🌊" * 500})
            if answer["type"] == "left":
                break
            assert answer["number"] == number
        assert answer == {"type": "left", "name": "Grace"}
        assert trio.current_time() < began + 1


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
        assert await zoe.hear() == welcome("Zöe")
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
