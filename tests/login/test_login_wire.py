"""`login_page` over real sockets: whatever they are, a browser logs in, is who it says, and logs out."""

from __future__ import annotations

import pytest
import trio

from seawall.sessions import LoginLimits, MemorySessions, Rotation, StoredSession, TokenIssuer
from tests.kit.login import Browser, Place
from tests.kit.sockets import EVERYWHERE, Transport, serving
from tests.kit.tokens import SECRET
from tests.kit.wire import request


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_over_every_socket(over: Transport) -> None:
    """Over TLS, and behind a proxy on a Unix socket, with ``__Host-``; without either, on this machine, without."""
    made = Place(limits=LoginLimits(answer_after=0.05, proxies=["unix"]))
    async with serving(made.app, over) as place:
        port = place.at.port
        host = "chat.example" if over == "unix" else f"localhost:{port}"
        is_plain = over in ("plain", "reader")
        browser = Browser(None, host, f"{'http' if is_plain else 'https'}://{host}", dial=place.dial)
        assert (await browser.log_in("ada", "wrong")).status == 401
        assert (await browser.log_in()).status == 200
        prefix = "" if is_plain else "__Host-"
        assert sorted(browser.cookies) == [f"{prefix}{name}" for name in ("device", "refresh", "session")]
        assert (await browser.post("/session/renew")).status == 200
        client = await place.dial()
        fields = [f"{name}: {value}".encode() for name, value in browser.headers().items()]
        await client.send(request("/chat", *fields, host=host.encode()))
        assert (await client.response()).status == 101
        assert (await client.frame()).payload == b"ada"
        assert (await browser.post("/session/end-all")).said == {"ended": 1}
        assert (await client.closed()).closing == (3003, "revoked")
        client.close()


@pytest.mark.parametrize("over", ["plain", "unix"])
async def test_addresses_of_real_sockets(over: Transport) -> None:
    """A sixth try is refused: of this machine, and of a client behind a proxy on a Unix socket; others may try."""
    made = Place(limits=LoginLimits(answer_after=0.05, proxies=["unix"]))
    async with serving(made.app, over) as place:
        host = f"localhost:{place.at.port}" if over == "plain" else "chat.example"
        browser = Browser(None, host, f"{'http' if over == 'plain' else 'https'}://{host}", dial=place.dial)
        forwarded = {"X-Forwarded-For": "203.0.113.5, 198.51.100.7"}
        found = [(await browser.log_in(f"user{number}", "x", **forwarded)).status for number in range(6)]
        assert found == [401] * 5 + [429]
        other = await browser.log_in("ada", "x", **{"X-Forwarded-For": "203.0.113.5, 198.51.100.8"})
        assert other.status == (429 if over == "plain" else 401)


class Slow:
    """A store that takes as long as a test says, once it is told to."""

    def __init__(self) -> None:
        """Answer at once."""
        self.kept = MemorySessions()
        self.asked, self.may_answer = trio.Event(), trio.Event()
        self.may_answer.set()

    async def add(self, session: StoredSession, /) -> None:
        """Store it."""
        await self.kept.add(session)

    async def rotate(self, family: bytes, presented: bytes, successor: bytes, now: float, /) -> Rotation:
        """Decide, when it may."""
        self.asked.set()
        await self.may_answer.wait()
        return await self.kept.rotate(family, presented, successor, now)

    async def delete(self, session_id: str, /) -> None:
        """Delete it."""
        await self.kept.delete(session_id)

    async def delete_subject(self, issuer: str, subject: str, /) -> tuple[str, ...]:
        """Delete them."""
        return await self.kept.delete_subject(issuer, subject)


async def test_who_leaves_at_once_is_logged_out() -> None:
    """A page that logs out and is closed before the answer has logged out."""
    store = Slow()
    made = Place(issuer=TokenIssuer(SECRET, issuer="https://chat.example", audience="chat", store=store))
    async with serving(made.app) as place:
        host = f"localhost:{place.at.port}"
        browser = Browser(None, host, f"http://{host}", dial=place.dial)
        await browser.log_in()
        store.may_answer = trio.Event()
        client = await place.dial()
        head = (
            f"POST /session/end HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: {browser.line}\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        await client.send(head.encode())
        await store.asked.wait()
        client.reset()
        await trio.sleep(0.1)  # the server sees it; if it did not yet, the test proves less
        store.may_answer.set()
        await place.idle(0)
        assert len(store.kept) == 0
        assert (await browser.post("/session/renew")).status == 401
