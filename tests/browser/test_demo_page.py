"""The demo's page in headless Chromium: a person's clicks, and what the page then shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final, TypeAlias, cast

import pytest
import trio
from attrs import frozen
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from seawall import Anonymous, App, Claims, Connection, Deflate, any_host, bearer, public
from seawall.http.hosts import Hosts
from seawall.tokens import cookie, header
from tests.kit.browser import Browser
from tests.kit.log import recorded
from tests.kit.processes import Demo, demo
from tests.kit.proxies import documented, nginx
from tests.kit.sockets import SHORT, echo, serving
from tests.kit.tokens import token, verifier

pytestmark = pytest.mark.slow

PNG: Final = b"\x89PNG\r\n\x1a\n"

#: One line of a log on the page: what happened, and its text.
Line: TypeAlias = tuple[str, str]

#: What happened in a log, and the text beside it.
LOG: Final = (
    '[...document.querySelectorAll("#%s-log .entry")].map((entry) => '
    '[entry.dataset.kind, entry.querySelector("strong, p:not(:has(strong))").innerText])'
)

#: The closes among them.
CLOSES: Final = LOG + ".filter(([kind]) => kind === 'close').map(([, text]) => text)"


@frozen
class Page:
    """The demo's page, as a person sees it."""

    chrome: Browser

    def find(self, name: str) -> WebElement:
        """The element with this id."""
        return self.chrome.find_element(By.ID, name)

    def click(self, name: str) -> None:
        """Click on what has this id, as soon as that is possible."""
        self.chrome.wait(f"!document.getElementById({name!r}).disabled", f"{name} can be clicked")
        self.find(name).click()

    def choose(self, kind: str) -> None:
        """Choose a kind of token."""
        self.chrome.find_element(By.CSS_SELECTOR, f"label[for=kind-{kind}]").click()

    def log(self, panel: str) -> list[Line]:
        """What the log of a panel says; of a close, only code and reason."""
        lines = cast("list[list[str]]", self.chrome.execute_script(f"return {LOG % panel}"))
        return [(kind, text) for kind, text in lines]

    def wait(self, condition: str, what: str) -> None:
        """Wait until a JavaScript expression is true in the page."""
        self.chrome.wait(condition, what)

    def wait_lines(self, panel: str, count: int) -> None:
        """Wait until there are so many lines in the log of a panel."""
        self.wait(f"{LOG % panel}.length === {count}", f"{count} lines")

    def wait_last(self, panel: str, *line: str) -> None:
        """Wait until this is the last line in the log of a panel."""
        self.chrome.wait_same(f"{LOG % panel}.at(-1)", [*line])

    def wait_closes(self, panel: str, *closes: str) -> None:
        """Wait until these are the closes that a panel shows; whichever, if none is named."""
        if closes:
            self.chrome.wait_same(CLOSES % panel, [*closes])
        else:
            self.wait(f"{CLOSES % panel}.length", "closed")

    def wait_text(self, name: str, text: str) -> None:
        """Wait until what has this id contains a text."""
        self.wait(f"document.getElementById({name!r}).innerText.includes({text!r})", text)

    def wait_focus(self, name: str) -> None:
        """Wait until the next key goes to what has this id."""
        self.wait(f"document.activeElement.id === {name!r}", f"{name} has the focus")


@pytest.fixture(scope="module")
def running(chrome: Browser) -> Iterator[Demo]:
    """A demo whose sessions last two seconds; it starts after the browser, so that it need not if there is none."""
    with demo("--session-seconds", "2") as started:
        yield started


@pytest.fixture
def page(chrome: Browser, running: Demo) -> Iterator[Page]:
    """The page, freshly loaded; what it wrote to the console must be nothing."""
    chrome.get(running.page)
    loaded = Page(chrome)
    loaded.wait("document.getElementById('secure-token').value", "there is a token")
    yield loaded
    assert chrome.get_log("browser") == []


def test_echo(page: Page, running: Demo) -> None:
    """Connect, send by click and by Enter, disconnect: each frame is shown, and the code of the close."""
    assert page.find("echo-address").text == running.echo
    assert not page.find("echo-send").is_enabled()
    page.click("echo-connect")
    page.click("echo-send")
    field = page.find("echo-text")
    field.clear()
    field.send_keys("Ahoy", Keys.ENTER)
    page.wait_lines("echo", 5)
    page.click("echo-disconnect")
    page.wait_closes("echo")
    assert page.log("echo") == [
        ("open", "open"),
        ("out", "Hello, sea!"),
        ("in", "Server received: Hello, sea!"),
        ("out", "Ahoy"),
        ("in", "Server received: Ahoy"),
        ("close", "1000 goodbye"),
    ]
    assert page.find("echo-state").text == "closed 1000"
    assert not page.find("echo-send").is_enabled()
    page.click("echo-clear")
    assert page.log("echo") == []


def test_the_keyboard_is_enough(page: Page) -> None:
    """Connecting, sending and disconnecting by keys leaves the focus where the next key is of use."""
    page.find("echo-connect").send_keys(Keys.ENTER)
    page.wait("!document.getElementById('echo-send').disabled", "connected")
    page.wait_focus("echo-disconnect")  # what ends it
    page.find("echo-text").send_keys("!", Keys.ENTER)
    page.wait_lines("echo", 3)
    page.find("echo-disconnect").send_keys(Keys.SPACE)
    page.wait_closes("echo", "1000 goodbye")
    page.wait_focus("echo-connect")  # what begins it


def test_a_session_from_its_token_to_its_expiry(page: Page, running: Demo, tmp_path: Path) -> None:
    """A valid token opens a session, which counts down and then ends with 3000; and again, with a fresh token."""
    assert page.find("secure-address").text == running.secure
    page.click("secure-connect")
    page.click("secure-send")
    page.wait("document.getElementById('secure-countdown').innerText.endsWith(' s')", "counting down")
    assert page.find("secure-label").text == "Session expires in"
    assert page.find("secure-state").text == "open"
    assert page.chrome.save_screenshot(str(tmp_path / "session.png"))
    page.wait_closes("secure")
    opened, token, *rest = page.log("secure")
    assert opened == ("open", "open")
    assert token[1].startswith("eyJ")
    assert rest == [
        ("in", "Authenticated!"),
        ("out", "Hello from inside!"),
        ("in", "Server received: Hello from inside!"),
        ("close", "3000 Token Expired"),
    ]
    assert page.find("secure-countdown").text == "expired"
    assert "Unauthorized" in page.find("secure-log").text
    assert page.chrome.save_screenshot(str(tmp_path / "expired.png"))
    for picture in ("session", "expired"):
        assert (tmp_path / f"{picture}.png").read_bytes().startswith(PNG)
    page.click("secure-connect")
    page.wait_last("secure", "in", "Authenticated!")
    page.click("secure-disconnect")
    page.wait_closes("secure", "3000 Token Expired", "1000 goodbye")


@pytest.mark.parametrize(("kind", "answer"), [("expired", "Token Expired"), ("garbage", "Invalid Token")])
def test_a_refused_token(page: Page, kind: str, answer: str) -> None:
    """The page shows the message that refuses, and the close code and reason that follow."""
    page.choose(kind)
    page.click("secure-connect")
    page.wait_closes("secure")
    assert page.log("secure")[-2:] == [("in", answer), ("close", f"3000 {answer}")]
    assert page.find("secure-state").text == "closed 3000"
    assert page.find("secure-label").text == "No session"
    assert page.find("secure-countdown").text == "refused"
    assert not page.find("secure-send").is_enabled()


def test_a_token_of_the_visitor(page: Page, running: Demo) -> None:
    """The token that the demo has printed can be pasted, and its session is an hour long."""
    page.choose("own")
    page.find("secure-token").send_keys(running.valid_token)
    assert page.find("secure-claims").text.startswith("Subject: visitor. Good until ")
    page.click("secure-connect")
    page.wait("document.getElementById('secure-countdown').innerText.startsWith('59 min')", "an hour to go")
    page.click("secure-disconnect")
    page.wait_closes("secure", "1000 goodbye")


#: What each scene shows at last: what the client sees, and how the server says that the connection ended.
SCENES: Final = {
    "slow": ("ended after", "/ticker 1008 slow consumer"),
    "raise": ("1011 internal error, incident", "/divide 1011 internal error, incident"),
    "flood": ("1000 all taken", "/slow-handler 1000 all taken"),
    "logout": ("another tab: 3003 revoked", "/session 3003 revoked"),
    "drain": ("1012 service restart", "/form 1012 service restart"),
}


@pytest.mark.parametrize("scene", SCENES)
def test_mended_30_a_scene_harms_nobody(page: Page, scene: str) -> None:
    """A scene is played to its end, its code beside it, and the bystander's messages are echoed all the time."""
    page.click("view-scenes")
    page.click(f"scene-{scene}")
    page.wait("document.getElementById('trip-last').innerText.endsWith(' ms')", "the bystander is connected")
    page.click(f"{scene}-go")
    if scene in {"logout", "drain"}:
        page.click(f"{scene}-end")
    seen, told = SCENES[scene]
    page.wait_text("stage-log", seen)
    page.wait_text("outcome-log", told)
    code = page.chrome.find_element(By.CSS_SELECTOR, f"#stage-{scene} pre").text
    assert code.startswith("@app.route(")
    assert "async def " in code
    assert float(page.find("trip-longest").text.removesuffix(" ms")) < 1000
    if scene == "drain":
        page.chrome.get_log("browser")  # that the bystander was refused until the server was there again


@pytest.mark.parametrize("half", ["talk", "scenes"])
def test_mended_30_nothing_is_out_of_reach(page: Page, half: str) -> None:
    """In a window of 1280 by 800 each half of the page is seen whole, whichever scene is chosen."""
    metrics: dict[str, object] = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.click(f"view-{half}")
        for scene in SCENES if half == "scenes" else ("",):
            if scene:
                page.click(f"scene-{scene}")
            assert page.chrome.execute_script("return document.documentElement.scrollHeight <= innerHeight")
            assert page.chrome.execute_script(
                "return [...document.querySelectorAll('button, input, textarea, .log, pre')]"
                ".filter((one) => one.checkVisibility() && !one.closest('.choice'))"
                ".every((one) => { const box = one.getBoundingClientRect(), at = one.closest('.panel, header')"
                ".getBoundingClientRect(); return box.height > 0 && box.bottom <= Math.min(at.bottom, innerHeight); })"
            )
    finally:
        page.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("half", ["talk", "scenes"])
def test_the_page_fits(page: Page, half: str) -> None:
    """Nothing is wider than the screen, in a phone and on a desk, and the ground follows the visitor's colours."""
    page.click(f"view-{half}")
    try:
        for width, scheme in product((360, 420, 1280), ("light", "dark")):
            page.chrome.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
            )
            page.chrome.execute_cdp_cmd(
                "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            )
            assert page.chrome.execute_script("return innerWidth") == width
            assert page.chrome.execute_script("return document.documentElement.scrollWidth <= innerWidth")
            ground = page.chrome.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
            assert (ground == "rgb(14, 21, 24)") == (scheme == "dark"), (width, scheme)
    finally:
        page.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {})


def test_the_demo_stops_under_the_page(chrome: Browser) -> None:
    """When the demo is stopped the page says so: 1001, without losing the focus; and a note on the next attempt."""
    with demo() as stopping:
        chrome.get(stopping.page)
        page = Page(chrome)
        page.click("echo-connect")
        page.click("echo-send")
        page.wait_lines("echo", 3)
        page.find("echo-text").send_keys("!")
        stopping.program.process.terminate()
        page.wait_closes("echo", "1001 going away")
        page.wait_focus("echo-connect")  # what begins it again
        assert stopping.program.wait() == 0
        page.click("secure-connect")
        page.wait_last("secure", "note", "The demo does not answer. Is it still running?")
        assert page.find("secure-connect").is_enabled()
    chrome.get_log("browser")  # that the connection was refused


#: A page that opens a WebSocket with the visitor's cookies, and says in its title what came of it.
KNOCK: Final = """<!doctype html><meta charset="utf-8"><title>knocking</title><link rel="icon" href="data:,"><script>
const socket = new WebSocket(`ws://${location.host}/me`);
socket.onmessage = (event) => { document.title = event.data; };
socket.onclose = (event) => { if (document.title === "knocking") document.title = `${event.code}`; };
</script>"""

#: The response of a site below our domain: a cookie for us all, whose name begins with a byte that is no white space.
SETS_A_COOKIE: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 18\r\nConnection: close\r\n"
    b"Set-Cookie: %b__Host-s=%b; Domain=chat.localhost; Path=/\r\n\r\n<title>set</title>"
)


@pytest.mark.parametrize("before", [b"", b"\x85", b"\xc2\x85", b"\xa0"], ids=repr)
async def test_mended_02_a_cookie_of_a_site_below_ours(chrome: Browser, before: bytes) -> None:
    """A page below our domain sets a cookie that looks like one only we can set: its visitor stays a stranger to us."""
    app = App(limits=SHORT)
    app.page("/", KNOCK)
    seen = list[str]()

    @app.route("/me", guard=bearer(verifier, header(), cookie("__Host-s")) | public)
    async def me(conn: Connection[Claims | Anonymous]) -> None:
        seen.append(conn.handshake.header("cookie") or "")
        await conn.send(f"{type(conn.principal).__name__}: {conn.handshake.cookie('__Host-s')}")

    async def below(stream: trio.SocketStream) -> None:
        async with stream:
            if await stream.receive_some():
                await stream.send_all(SETS_A_COOKIE % (before, token("eve").encode()))

    def visit(url: str, title: str) -> None:
        chrome.get(url)
        chrome.wait_same("document.title", title)

    def look(evil: int, ours: int) -> None:
        visit(f"http://evil.chat.localhost:{evil}/", "set")
        visit(f"http://chat.localhost:{ours}/", "Anonymous: None")
        chrome.forget()

    async with trio.open_nursery() as nursery, serving(app) as place:
        listeners = await nursery.start(trio.serve_tcp, below, 0)
        port = listeners[0].socket.getsockname()[1]
        await trio.to_thread.run_sync(look, port, place.at.port)
        nursery.cancel_scope.cancel()
    assert not before or "__Host-s=" in seen[-1], "the browser has sent it"


#: A page that sends messages of all sizes to its own server, twice, and says in its title what came of it.
TALK: Final = """<!doctype html><meta charset="utf-8"><title>talking</title><link rel="icon" href="data:,"><script>
const sizes = [0, 1, 63, 64, 65, 1000, 70000, 500000];
const said = [...sizes, ...sizes].map((size) => "same again \u20ac ".repeat(size).slice(0, size));
const socket = new WebSocket(`ws://${location.host}/echo`);
const heard = [];
socket.onopen = () => said.forEach((message) => socket.send(message));
socket.onclose = () => { document.title = "closed too early"; };
socket.onmessage = (event) => {
  heard.push(event.data);
  if (heard.length < said.length) return;
  const same = heard.every((message, number) => message === said[number]);
  document.title = `${same ? "all the same" : "different"}: ${socket.extensions}`;
};
</script>"""


async def test_chromium_compresses(chrome: Browser) -> None:
    """Chromium offers permessage-deflate, and what it compresses and inflates comes back as it was."""
    app = App(compression=Deflate())
    app.page("/", TALK)
    app.route("/echo", guard=public)(echo)

    def look(url: str) -> None:
        chrome.get(url)
        chrome.wait("document.title !== 'talking'", "it has heard everything")
        title = str(chrome.execute_script("return document.title"))
        assert title.startswith("all the same: permessage-deflate")

    async with serving(app) as place:
        await trio.to_thread.run_sync(look, place.server.addresses[0].url.replace("ws:", "http:"))


#: A page that tries a page and a WebSocket of the host that it came from, when it is told to, and says what came of it.
ASKING: Final = """<!doctype html><meta charset="utf-8"><title>waiting</title><link rel="icon" href="data:,"><script>
async function ask(protocols) {
  document.title = "asking";
  const page = await fetch("/page", {cache: "no-store"});
  const socket = new WebSocket(`ws://${location.host}/echo`, protocols);
  const opened = await new Promise((resolve) => {
    socket.onopen = () => socket.send("ahoy");
    socket.onmessage = (event) => { resolve(`heard ${event.data} by ${socket.protocol || "none"}`); socket.close(); };
    socket.onclose = (event) => resolve(`closed ${event.code}`);
  });
  document.title = `${page.status} ${opened}`;
}
</script>"""


def answer_to(chrome: Browser, *protocols: str) -> str:
    """What a page that asks has got from its server."""
    chrome.execute_script(f"ask({list(protocols)!r})")
    chrome.wait("!['waiting', 'asking'].includes(document.title)", "it was answered")
    return str(chrome.execute_script("return document.title"))


def asking_app(hosts: Hosts | None = None) -> App:
    """A page that asks, another page, and an echo."""
    app = App(hosts=hosts)
    app.page("/", ASKING)
    app.page("/page", "hello")
    app.route("/echo", guard=public)(echo)
    return app


async def test_mended_04_a_name_that_was_resolved_to_this_machine(chrome: Browser) -> None:
    """A stranger's page, whose name now leads here, reads no page and opens no WebSocket of ours."""
    async with serving(asking_app(hosts=any_host)) as theirs:
        port = theirs.at.port
        await trio.to_thread.run_sync(chrome.get, f"http://evil.example:{port}/")
        assert await trio.to_thread.run_sync(answer_to, chrome) == "200 heard ahoy by none"
    with recorded() as records:
        async with serving(asking_app(), port=port):
            answer = "503"
            while answer.startswith("503"):  # on a spare connection that Chromium has opened to the server before ours
                answer = await trio.to_thread.run_sync(answer_to, chrome)
            assert answer == "421 closed 1006"
            await trio.to_thread.run_sync(chrome.get, f"http://evil.example:{port}/")
            assert "this host is not served here" in str(chrome.execute_script("return document.body.innerText"))
            await trio.to_thread.run_sync(chrome.get, f"http://localhost:{port}/")
            assert await trio.to_thread.run_sync(answer_to, chrome) == "200 heard ahoy by none"
    assert any(f"Host 'evil.example:{port}' is none of hosts=" in line for line in records.lines("connection"))
    chrome.get_log("browser")  # what was refused


async def test_mended_18_chromium_and_subprotocols(chrome: Browser) -> None:
    """Chromium fails a WebSocket whose subprotocols nobody speaks; no handler has run for nothing."""
    begun: list[str | None] = []
    app = asking_app()

    async def note(conn: Connection[Anonymous]) -> None:
        begun.append(conn.subprotocol)
        await echo(conn)

    app.page("/spoken", ASKING.replace("/echo", "/chat"))
    app.page("/unspoken", ASKING.replace("/echo", "/plain"))
    app.route("/chat", guard=public, subprotocols=["chat.v2"])(note)
    app.route("/plain", guard=public)(note)
    async with serving(app) as place:
        url = place.at.url.replace("ws:", "http:")
        await trio.to_thread.run_sync(chrome.get, f"{url}/unspoken")
        assert await trio.to_thread.run_sync(answer_to, chrome, "chat.v2") == "200 closed 1006"
        await trio.to_thread.run_sync(chrome.get, f"{url}/spoken")
        assert await trio.to_thread.run_sync(answer_to, chrome, "chat.v1") == "200 closed 1006"
        assert begun == []
        assert await trio.to_thread.run_sync(answer_to, chrome, "chat.v1", "chat.v2") == "200 heard ahoy by chat.v2"
    assert begun == ["chat.v2"]
    chrome.get_log("browser")  # what was refused


async def test_mended_21_chromium_through_nginx(chrome: Browser, tmp_path: Path) -> None:
    """As documented, a page and its WebSocket work; that a proxy drops the port is in the log."""
    without_port, origin = documented("nginx").replace("$http_host", "$host"), ""
    with recorded() as records:
        async with serving(asking_app(hosts=["chat.example"])) as place:
            for location, answer in ((None, "200 heard ahoy by none"), (without_port, "200 closed 1006")):
                async with nginx(tmp_path, place.at.port, location) as proxy:
                    origin = f"http://chat.example:{proxy.port}"
                    await trio.to_thread.run_sync(chrome.get, f"{origin}/")
                    assert await trio.to_thread.run_sync(answer_to, chrome) == answer
    said = f"origin {origin!r} is not that of Host 'chat.example'; behind a proxy pass Host with its port"
    assert any(said in line for line in records.lines("connection"))
    chrome.get_log("browser")  # what was refused


async def test_mended_31_the_three_lines_in_the_readme(chrome: Browser) -> None:
    """What the README says into a browser's console is echoed, on the page that it names."""
    (script,) = re.findall(r"```js\n(.*?)```", Path(__file__).parents[2].joinpath("README.md").read_text(), re.DOTALL)
    app = App()
    app.route("/echo", guard=public)(echo)

    def speak(url: str) -> None:
        chrome.get(url)
        chrome.execute_script(
            "console.log = (text) => { document.title = text; };"
            + script.replace("ws://127.0.0.1:8765", url.replace("http:", "ws:"))
        )
        chrome.wait_same("document.title", "hello")
        chrome.get_log("browser")  # that the page was a 404

    async with serving(app) as place:
        await trio.to_thread.run_sync(speak, place.server.addresses[0].url.replace("ws:", "http:"))
