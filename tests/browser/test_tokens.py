"""Tokens in headless Chromium: how a page lets itself in, and what its JavaScript sees of the end of a token."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final, cast

import pytest
import trio
from attrs import define, field, frozen

from seawall import (
    Anonymous,
    App,
    Claims,
    Connection,
    Cookie,
    Limits,
    Request,
    Response,
    Unauthorized,
    bearer,
    has_scope,
)
from seawall.routing.refusing import RefuseWith
from seawall.tokens import TokenSource, cookie, first_message, query, subprotocol
from tests.kit.browser import Browser
from tests.kit.sockets import serving
from tests.kit.tokens import token, verifier

pytestmark = pytest.mark.slow

COOKIE: Final = "__Host-session"

#: Seconds that the first token of a page lives, and each further one.
LIFE: Final = 4.0
LONGER: Final = 5.0

#: Seconds before the end of a token at which the page is told.
AHEAD: Final = 3.0

#: A page that fetches a token, presents it in one of the ways that a browser has, fetches another one when it is told
#: that this one is about to end, and notes all that it sees, in the order in which it sees it.
PAGE: Final = """<!doctype html><meta charset="utf-8"><title>tokens</title><link rel="icon" href="data:,"><script>
const seen = [];
let socket = null, closed = null, host = location.host, ticket = null;
async function fetched(path) { return (await fetch(path, {cache: "no-store"})).text(); }
async function ticketed() {
  const headers = {"Authorization": `Bearer ${await fetched("/token")}`};
  ticket = await (await fetch("/ticket", {method: "POST", headers})).text();
}
const ways = {
  cookie: async () => { await fetch("/login", {cache: "no-store"}); return new WebSocket(url("/talk")); },
  subprotocol: async () => new WebSocket(url("/talk"), ["talk.v1", `bearer.${await fetched("/token")}`]),
  query: async () => new WebSocket(url(`/talk?token=${encodeURIComponent(await fetched("/token"))}`)),
  ticket: async () => { await ticketed(); return new WebSocket(url(`/talk?ticket=${ticket}`)); },
  again: async () => new WebSocket(url(`/talk?ticket=${ticket}`)),
  message: async () => {
    const token = await fetched("/token"), opening = new WebSocket(url("/talk"));
    opening.addEventListener("open", () => opening.send(token));
    return opening;
  },
  nonsense: async () => {
    const opening = new WebSocket(url("/talk"));
    opening.addEventListener("open", () => opening.send("let me in"));
    return opening;
  },
  moderator: async () => { await fetch("/login", {cache: "no-store"}); return new WebSocket(url("/moderate")); },
  nothing: async () => new WebSocket(url("/talk")),
};
function url(path) { return `ws://${host}${path}`; }
async function knock(way) {
  socket = await ways[way]();
  socket.addEventListener("open", () => { if (socket.protocol) seen.push(`speaks ${socket.protocol}`); });
  socket.addEventListener("message", async ({data}) => {
    seen.push(data);
    if (data === "expiring" && !seen.includes("renewed")) socket.send(await fetched("/longer"));
  });
  socket.addEventListener("close", ({code, reason}) => {
    closed = Date.now() / 1000;
    seen.push(`closed ${code} ${reason}`.trim());
  });
}
</script>"""


@frozen
class Page:
    """The page, in a browser."""

    chrome: Browser

    def knock(self, way: str) -> None:
        """Let it present a token."""
        self.chrome.execute_script(f"knock({way!r})")

    def forget(self) -> None:
        """Let it forget what it has seen."""
        self.chrome.execute_script("seen.length = 0")

    @property
    def host(self) -> str:
        """Which host it came from, with the port."""
        return cast("str", self.chrome.execute_script("return location.host"))

    def reach(self, host: str) -> None:
        """Let it open its WebSockets to another host."""
        self.chrome.execute_script(f"host = {host!r}")

    @property
    def seen(self) -> list[str]:
        """What it has seen."""
        return cast("list[str]", self.chrome.execute_script("return seen"))

    @property
    def closed(self) -> float:
        """When it has seen the close, in Unix time."""
        return cast("float", self.chrome.execute_script("return closed"))

    def wait(self, *lines: str) -> None:
        """Wait until it has seen this, and nothing else."""
        over = "seen.some((line) => line.startsWith('closed'))"
        self.chrome.wait(f"seen.length >= {len(lines)} || {over}", f"it sees {lines}")
        assert self.seen == [*lines]


@define(eq=False)
class Site:
    """A site whose page lets itself in."""

    app: App
    issued: list[str] = field(init=False, factory=list[str])
    ends: list[float] = field(init=False, factory=list[float])
    """When each token that it has issued ends, in Unix time."""

    def issue(self, seconds: float) -> str:
        """A token for whoever asks; a real site asks for a password first."""
        self.issued.append(token(seconds=seconds))
        self.ends.append(time.time() + seconds)
        return self.issued[-1]

    def pages(self) -> None:
        """Add the page, and where it gets its tokens."""
        self.app.page("/", PAGE)

        @self.app.page("/login")
        async def login(request: Request[Anonymous]) -> Response:
            return Response("", cookies=[Cookie(name=COOKIE, value=self.issue(LIFE), max_age=60)])

        @self.app.page("/token")
        async def first(request: Request[Anonymous]) -> Response:
            return Response(self.issue(LIFE))

        @self.app.page("/ticket", methods=["POST"], guard=bearer(verifier))
        async def ticket(request: Request[Claims]) -> Response:
            _, _, presented = (request.handshake.header("authorization") or "").partition(" ")
            return Response(await self.app.tickets.issue(presented, route="/talk"))

        @self.app.page("/longer")
        async def further(request: Request[Anonymous]) -> Response:
            return Response(self.issue(LONGER))


async def talk(conn: Connection[Claims]) -> None:
    """Greet, and take each message as a new token."""
    await conn.send(f"hello, {conn.principal.subject}")
    async for message in conn:
        try:
            await conn.renew(str(message))
        except Unauthorized:
            await conn.send("no")
        else:
            await conn.send("renewed")


def site(*sources: TokenSource, speaks: tuple[str, ...] = (), refuse_with: RefuseWith = "status") -> Site:
    """A site whose page presents its token in one of `sources`; another route is for those who may moderate."""
    made = Site(App(limits=Limits(lease_warning=AHEAD)))
    made.pages()
    member = bearer(verifier, *sources, warn="expiring")
    for path, door in (("/talk", member), ("/moderate", member >> has_scope("ban"))):
        made.app.route(path, guard=door, subprotocols=speaks, refuse_with=refuse_with)(talk)
    return made


async def visit(chrome: Browser, at: Site, look: Callable[[Page], None]) -> None:
    """Serve the site, and open its page, as somebody who has never been there."""

    def open_page(url: str) -> None:
        chrome.forget()
        chrome.get(url)
        look(Page(chrome))
        chrome.get("about:blank")

    async with serving(at.app) as place:
        await trio.to_thread.run_sync(open_page, place.at.url.replace("ws:", "http:"))


#: How the page presents its token: where the server looks then, what the route speaks, and what the page sees first.
WAYS: Final = {
    "cookie": ((cookie(COOKIE),), (), ()),
    "subprotocol": ((subprotocol(),), ("talk.v1",), ("speaks talk.v1",)),
    "query": ((query("token", reusable=True),), (), ()),
    "ticket": ((query("ticket"),), (), ()),
    "message": ((first_message(ack="you are in"),), (), ("you are in",)),
}


@pytest.mark.parametrize("way", WAYS)
async def test_from_letting_in_to_the_end(chrome: Browser, way: str) -> None:
    """A page is let in, is warned, renews, stays beyond the end of its first token, and sees the end of the second."""
    sources, speaks, first = WAYS[way]
    at = site(*sources, speaks=speaks)

    def look(page: Page) -> None:
        page.knock(way)
        page.wait(*first, "hello, ada", "expiring", "renewed", "expiring", "closed 3000 lease expired")
        begins, ends = at.ends
        assert begins < ends <= page.closed < ends + LONGER

    await visit(chrome, at, look)
    assert chrome.get_log("browser") == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_log_out(chrome: Browser, way: str) -> None:
    """A page sees that its token has been revoked, with code and reason; and why no other that is as old lets it in."""
    sources, speaks, first = WAYS[way]
    at = site(*sources, speaks=speaks, refuse_with="close")

    def look(page: Page) -> None:
        page.knock(way)
        page.wait(*first, "hello, ada")
        assert trio.from_thread.run(partial(at.app.sessions.revoke, subject="ada")) == 1
        page.wait(*first, "hello, ada", "closed 3003 revoked")
        page.forget()
        page.knock(way)
        opened = ["speaks talk.v1"] if speaks else []  # the upgrade is accepted, to say why
        page.wait(*opened, "closed 3000 unauthorized")

    await visit(chrome, at, look)
    log = chrome.get_log("browser")
    assert len(log) == (way == "ticket"), log  # for a token that has been revoked there is no ticket


async def test_a_first_message_that_is_no_token(chrome: Browser) -> None:
    """A page that sends something else first sees 3000 and a reason: the upgrade was accepted for it."""
    at = site(first_message())

    def look(page: Page) -> None:
        page.knock("nonsense")
        page.wait("closed 3000 unauthorized")

    await visit(chrome, at, look)
    assert chrome.get_log("browser") == []


async def test_a_ticket_is_good_once(chrome: Browser) -> None:
    """A page that opens the same address again is refused, and one that gets another ticket is let in."""
    at = site(query("ticket"), refuse_with="close")

    def look(page: Page) -> None:
        page.knock("ticket")
        page.wait("hello, ada")
        page.forget()
        page.knock("again")
        page.wait("closed 3000 unauthorized")
        page.forget()
        page.knock("ticket")
        page.wait("hello, ada")

    await visit(chrome, at, look)
    assert chrome.get_log("browser") == []


@pytest.mark.parametrize(
    ("way", "status", "close"),
    [("nothing", "closed 1006", "closed 3000 unauthorized"), ("moderator", "closed 1006", "closed 3003 forbidden")],
)
async def test_why_a_page_is_refused(chrome: Browser, way: str, status: str, close: str) -> None:
    """JavaScript sees 1006 of every refused handshake; where the route refuses by a close, it sees which one it was."""
    for refuse_with, refused in (("status", status), ("close", close)):

        def look(page: Page, refused: str = refused) -> None:
            page.knock(way)
            page.wait(refused)

        await visit(chrome, site(cookie(COOKIE), refuse_with=cast("RefuseWith", refuse_with)), look)
    chrome.get_log("browser")  # what was refused by a status


async def test_another_origin_is_told_nothing(chrome: Browser) -> None:
    """A page of another site sees 1006, whether its visitor has a cookie or not, also where ours sees the reason."""
    at = site(cookie(COOKIE), refuse_with="close")

    def look(page: Page) -> None:
        page.knock("cookie")
        page.wait("hello, ada")
        ours = page.host
        page.chrome.get(f"http://evil.localhost:{ours.partition(':')[2]}/")
        page.reach(ours)
        page.knock("nothing")
        page.wait("closed 1006")
        page.chrome.forget()
        page.forget()
        page.knock("nothing")
        page.wait("closed 1006")

    await visit(chrome, at, look)
    chrome.get_log("browser")  # what was refused
