"""`Sessions.renew` in headless Chromium: a cookie that JavaScript cannot read is renewed for all tabs that share it."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, cast

import pytest
import trio
from attrs import frozen

from seawall import Anonymous, App, Claims, Connection, Cookie, Request, Response, bearer
from seawall.tokens import cookie
from tests.kit.browser import Browser
from tests.kit.sockets import serving
from tests.kit.tokens import token, verifier

pytestmark = pytest.mark.slow

COOKIE: Final = "__Host-session"

#: Seconds that the first token of a session lives, and the one that replaces it.
LIFE: Final = 5.0
LONGER: Final = 11.0

#: A page that opens a WebSocket, and notes what it sees.
PAGE: Final = """<!doctype html><meta charset="utf-8"><title>tabs</title><link rel="icon" href="data:,"><script>
const seen = [];
let socket = null, closed = null;
async function logIn(name) { await fetch(`/${name}`, {method: "POST"}); seen.push(`cookies: ${document.cookie}`); }
async function renew() { seen.push(await (await fetch("/renew", {method: "POST"})).text()); }
function open_socket() {
  socket = new WebSocket(`ws://${location.host}/talk`);
  socket.addEventListener("message", ({data}) => seen.push(data));
  socket.addEventListener("close", ({code, reason}) => {
    closed = Date.now() / 1000;
    seen.push(`closed ${code} ${reason}`);
  });
}
</script>"""


@frozen
class Tab:
    """One tab of the browser."""

    chrome: Browser
    name: str

    def run(self, script: str) -> object:
        """Run JavaScript in it."""
        self.chrome.tab = self.name
        return self.chrome.execute_script(script)

    def wait(self, *lines: str) -> None:
        """Wait until it has seen this, and nothing else."""
        self.chrome.tab = self.name
        self.chrome.wait(f"seen.length >= {len(lines)}", f"it sees {lines}")
        assert self.run("return seen") == [*lines]


@contextmanager
def tabs(chrome: Browser, *urls: str) -> Generator[list[Tab]]:
    """Tabs with these pages, beside the one that is there; without cookies of earlier ones."""
    first = chrome.tab
    chrome.forget()
    opened = list[Tab]()
    try:
        for url in urls:
            chrome.open_tab()
            opened.append(Tab(chrome, chrome.tab))
            chrome.get(url)
        yield opened
    finally:
        for tab in opened:
            chrome.tab = tab.name
            chrome.close_tab(first)


def site() -> App:
    """A site with sessions in a cookie, which a page of it renews."""
    app = App()
    app.page("/", PAGE)
    member = bearer(verifier, cookie(COOKIE))

    def with_cookie(text: str, value: str) -> Response:
        return Response(text, cookies=[Cookie(name=COOKIE, value=value, max_age=60)])

    @app.page("/ada", methods=["POST"])
    async def ada(request: Request[Anonymous]) -> Response:
        return with_cookie("", token("ada", sid="1", seconds=LIFE))

    @app.page("/eve", methods=["POST"])
    async def eve(request: Request[Anonymous]) -> Response:
        return with_cookie("", token("eve", sid="2", seconds=LIFE))

    @app.page("/renew", methods=["POST"], guard=member)
    async def renew(request: Request[Claims]) -> Response:
        claims = request.principal
        renewed = token(claims.subject, sid=claims.session_id, seconds=LONGER)
        return with_cookie(f"renewed {await app.sessions.renew(renewed)}", renewed)

    @app.route("/talk", guard=member)
    async def talk(conn: Connection[Claims]) -> None:
        await conn.send(f"hello, {conn.principal.subject}")
        async for message in conn:
            await conn.send(message)

    return app


async def test_tabs_of_one_session_are_renewed_together(chrome: Browser) -> None:
    """Both stay beyond the end of the token that let them in; a tab of another session ends with its own token."""

    def look(port: int) -> None:
        ours, theirs = f"http://localhost:{port}/", f"http://eve.localhost:{port}/"  # which share no cookie
        with tabs(chrome, ours, ours, theirs) as (one, two, other):
            one.run("logIn('ada')")
            one.wait("cookies: ")
            one.run("open_socket()")
            two.run("open_socket()")
            one.wait("cookies: ", "hello, ada")
            two.wait("hello, ada")
            other.run("logIn('eve')")
            other.wait("cookies: ")
            other_ends = time.time() + LIFE  # when the first token of the others has ended, too
            other.run("open_socket()")
            other.wait("cookies: ", "hello, eve")

            one.run("renew()")
            one.wait("cookies: ", "hello, ada", "renewed 2")
            other.wait("cookies: ", "hello, eve", "closed 3000 lease expired")
            assert other_ends - 2 < cast("float", other.run("return closed")) < other_ends + 2

            for tab in (one, two):
                tab.run("socket.send('still here')")
            one.wait("cookies: ", "hello, ada", "renewed 2", "still here")
            two.wait("hello, ada", "still here")
            two.wait("hello, ada", "still here", "closed 3000 lease expired")
            one.wait("cookies: ", "hello, ada", "renewed 2", "still here", "closed 3000 lease expired")

    async with serving(site()) as place:
        await trio.to_thread.run_sync(look, int(place.at.url.rpartition(":")[2].rstrip("/")))
    assert chrome.get_log("browser") == []
