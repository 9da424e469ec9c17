"""A browser without a screen, for log-in pages: it keeps cookies, posts, and says which page it is on."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast, final
from urllib.parse import urlencode

import trio
from attrs import define, field, frozen

from seawall import App, Claims, Connection, bearer
from seawall.sessions import LoginLimits, LoginPage, TokenIssuer, login_page
from seawall.testing import Client, Serving
from tests.kit.tokens import SECRET
from tests.kit.wire import RawClient, Response

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

#: Who there is.
PASSWORDS: Final = {"ada": "enchantress of numbers", "bob": "the builder"}


@final
@define
class Accounts:
    """An application's accounts, and how often it was asked."""

    asked: list[tuple[str, str]] = field(factory=list[tuple[str, str]])
    passwords: dict[str, str] = field(factory=lambda: dict(PASSWORDS))

    async def authenticate(self, name: str, password: str) -> str | None:
        """Whose they are."""
        self.asked.append((name, password))
        await trio.lowlevel.checkpoint()
        return name if self.passwords.get(name) == password else None


@final
@define
class Place:
    """An app with a log-in page and a route behind it."""

    app: App = field(factory=App)
    accounts: Accounts = field(factory=Accounts)
    limits: LoginLimits | None = None
    issuer: TokenIssuer = field(
        factory=lambda: TokenIssuer(SECRET, issuer="https://chat.example", audience="chat", access_lifetime=600)
    )
    login: LoginPage = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Define them."""
        self.login = login_page(self.app, "/session", self.accounts.authenticate, self.issuer, limits=self.limits)
        self.app.route("/chat", guard=bearer(self.issuer.verifier, self.login.cookie))(who)


async def who(conn: Connection[Claims]) -> None:
    """Say who it is, and stay."""
    await conn.send(conn.principal.subject)
    async for _ in conn:
        pass


@final
@frozen
class Answer:
    """What a page has answered."""

    raw: Response

    @property
    def status(self) -> int:
        """Of the answer."""
        return self.raw.status

    @property
    def said(self) -> Mapping[str, object]:
        """The JSON in it."""
        assert self.raw.header("content-type") == JSON
        assert self.raw.header("cache-control") == "no-store"
        return cast("Mapping[str, object]", json.loads(self.raw.body))

    def values(self, name: str) -> list[str]:
        """All headers of a name."""
        return [value for key, value in self.raw.headers if key == name]


@final
@define
class Browser:
    """One profile of a browser, over memory streams, or whatever `dial` connects to."""

    serving: Serving | None
    host: str = "chat.example"
    origin: str | None = "https://chat.example"
    cookies: dict[str, str] = field(factory=dict[str, str])
    dial: Callable[[], Awaitable[RawClient]] | None = None

    async def connected(self) -> RawClient:
        """A connection."""
        if self.dial is not None:
            return await self.dial()
        return RawClient(self.serving_here.open_stream())

    @property
    def serving_here(self) -> Serving:
        """What it talks to over memory streams."""
        assert self.serving is not None
        return self.serving

    async def post(self, path: str, body: bytes = b"", kind: str = JSON, **fields: str) -> Answer:
        """Post something."""
        named = {"Host": self.host, "Content-Type": kind, "Content-Length": str(len(body))}
        if self.origin is not None:
            named["Origin"] = self.origin
        if self.cookies:
            named["Cookie"] = self.line
        named |= fields
        head = "\r\n".join([f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""])
        client = await self.connected()
        await client.send(head.encode(), body)
        answer = Answer(await client.last_response())
        for line in answer.values("set-cookie"):
            self.keep(line)
        return answer

    @property
    def line(self) -> str:
        """The cookies, as they are sent."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    @property
    def is_logged_in(self) -> bool:
        """Whether it has a cookie with a token."""
        return any(name.endswith(("session", "refresh")) for name in self.cookies)

    def keep(self, line: str) -> None:
        """Do what a ``Set-Cookie`` says."""
        pair, *attributes = line.split("; ")
        name, _, value = pair.partition("=")
        assert {"Path=/", "HttpOnly", "SameSite=Strict"} <= set(attributes), line
        assert name.startswith("__Host-") == ("Secure" in attributes), line
        if "Max-Age=0" in attributes:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    async def log_in(self, name: str = "ada", password: str | None = None, **fields: str) -> Answer:
        """Log in, as a script does."""
        said = {"username": name, "password": PASSWORDS.get(name, "") if password is None else password}
        return await self.post("/session", json.dumps(said).encode(), **fields)

    async def submit(self, name: str = "ada", password: str | None = None) -> Answer:
        """Log in, as a form does."""
        said = {"username": name, "password": PASSWORDS.get(name, "") if password is None else password}
        return await self.post("/session", urlencode(said).encode(), FORM)

    def copy(self) -> Browser:
        """Another one, with copies of all cookies: somebody who has stolen them."""
        return Browser(self.serving, self.host, self.origin, dict(self.cookies), self.dial)

    def headers(self) -> dict[str, str]:
        """What a WebSocket of it says."""
        return {"Cookie": self.line, "Origin": self.origin or ""}


async def subject_of(client: Client) -> str:
    """Whom a connection to ``/chat`` is for."""
    return str(await client.receive())
