"""A log-in page in headless Chromium: what pages of other origins can post to it, which is nothing."""

from __future__ import annotations

from typing import cast

import pytest
import trio

from seawall import App, Outcome
from tests.kit.browser import Browser
from tests.kit.login import PASSWORDS, Place
from tests.kit.sockets import serving

pytestmark = pytest.mark.slow

#: The page of the site: it logs in, and opens a WebSocket.
PAGE = """<!doctype html><title>site</title><link rel="icon" href="data:,"><script>
let state = "new", closed = null;
async function post(path, said) {
  const headers = said ? {"Content-Type": "application/json"} : {};
  const answer = await fetch(path, {method: "POST", headers, body: said && JSON.stringify(said)});
  return answer.status;
}
function open_socket() {
  const socket = new WebSocket(`ws://${location.host}/chat`);
  socket.onmessage = ({data}) => { state = data; };
  socket.onclose = ({code, reason}) => { closed = `${code} ${reason}`; };
}
async function log_in(username, password) {
  state = await post("/session", {username, password});
  if (state === 200) open_socket();
}
</script>"""

#: A page of somebody else, which posts whatever a page can post to another origin.
EVIL = """<!doctype html><title>evil</title><link rel="icon" href="data:,"><script>
let done = null;
async function attack(site) {
  const said = JSON.stringify({username: "bob", password: "the builder"});
  const form = new URLSearchParams({username: "bob", password: "the builder"});
  const posts = [];
  for (const path of ["", "/renew", "/end", "/end-all"])
    for (const [body, type] of [[said, "text/plain"], [form, null], [said, "application/json"], [undefined, null]])
      for (const mode of ["no-cors", "cors"]) {
        const headers = type ? {"Content-Type": type} : {};
        posts.push(fetch(`${site}/session${path}`, {method: "POST", mode, credentials: "include", body, headers})
          .then((answer) => answer.type === "opaque" ? "opaque" : `read ${answer.status}`, () => "refused"));
      }
  for (const path of ["/end", "/end-all"]) navigator.sendBeacon(`${site}/session${path}`, form);
  done = await Promise.all(posts);
}
function submit(site, path) {
  const form = document.createElement("form");
  form.method = "post";
  form.action = `${site}/session${path}`;
  for (const [name, value] of [["username", "bob"], ["password", "the builder"]]) {
    const input = document.createElement("input");
    input.name = name; input.value = value;
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}
</script><body></body>"""


@pytest.mark.parametrize("evil_host", ["localhost", "127.0.0.1"], ids=["same site", "another site"])
async def test_a_page_of_another_origin(chrome: Browser, evil_host: str) -> None:
    """Not even one of the same site, to which the browser gives the cookies, logs anybody in or out, or renews.

    Pages on two ports of a host are of one site; only the origin tells them apart.
    """
    outcomes: list[Outcome] = []
    made = Place(App(on_end=outcomes.append))
    made.app.page("/", PAGE)
    evil_app = App()
    evil_app.page("/", EVIL)
    async with serving(made.app) as place, serving(evil_app) as evil:
        site, theirs = f"http://localhost:{place.at.port}", f"http://{evil_host}:{evil.at.port}"
        await trio.to_thread.run_sync(attacked, chrome, site, theirs)
        assert made.accounts.asked == [("ada", PASSWORDS["ada"])]
        await place.idle(0)
    posts = [outcome.code for outcome in outcomes if outcome.reason in ("origin not allowed", "options")]
    assert posts.count(403) >= 4 * 5 + 4  # what can be sent without asking first


def attacked(chrome: Browser, site: str, theirs: str) -> None:
    """Log in, and be attacked by a page in another tab; in the end nothing has changed."""

    def said(script: str) -> object:
        return chrome.execute_script(f"return {script}")

    chrome.forget()
    chrome.get(f"{site}/")
    chrome.execute_script(f"log_in('ada', '{PASSWORDS['ada']}')")
    chrome.wait("state === 'ada'", "the site is logged in")
    ours = chrome.tab
    chrome.open_tab()
    chrome.get(f"{theirs}/")
    chrome.execute_script(f"attack('{site}')")
    chrome.wait("done !== null", "the attack is over")
    results = cast("list[str]", said("done"))
    assert set(results) <= {"opaque", "refused"}, results
    for path in ("", "/renew", "/end", "/end-all"):
        chrome.get(f"{theirs}/")
        chrome.execute_script(f"submit('{site}', '{path}')")
        chrome.wait("document.body?.textContent.includes('origin not allowed')", "the form is refused")
    chrome.close_tab(ours)
    assert (said("state"), said("closed")) == ("ada", None)
    chrome.execute_script("post('/session/renew').then((status) => { state = status; })")
    chrome.wait("state === 200", "the session can be renewed")
    chrome.execute_script("post('/session/end').then((status) => { state = status; })")
    chrome.wait("closed === '3003 revoked'", "the site logs out")
    chrome.get("about:blank")
