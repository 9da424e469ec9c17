"""The second half of the demo: what one connection does, and that no other one notices."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final, final

import trio
from attrs import define, field

from seawall.app import App
from seawall.connection.connection import Connection
from seawall.demo.origins import from_the_page
from seawall.demo.tokens import Issuer
from seawall.errors import Disconnected
from seawall.guards.bearer import bearer
from seawall.guards.guard import Anonymous, Guard, public
from seawall.guards.jwt.claims import Claims
from seawall.guards.origins import any_origin
from seawall.guards.sources import first_message
from seawall.http.hosts import Hosts
from seawall.limits import Limits
from seawall.observability.outcome import Outcome
from seawall.serving.listening import Address, Listener, address_of
from seawall.serving.server import Server

#: What the ticker sends again and again.
PRICES: Final = "ESP 17.20  FRA 12.80  ITA 9.10  " * 512

#: Seconds that a reader which has stopped is given.
PATIENCE: Final = 2.0

#: The request of a client that will not read: by hand, because every WebSocket library reads.
REQUEST: Final = (
    "GET /ticker HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@final
@define(eq=False)
class Feed:
    """Tells the pages that follow it how each connection of the scenes has ended."""

    _following: set[Connection[Anonymous]] = field(init=False, factory=set[Connection[Anonymous]])

    def tell(self, outcome: Outcome) -> None:
        """Tell all of them; a page that is behind misses it, so that it holds up nobody."""
        about = {
            "route": outcome.route,
            "cause": outcome.cause.value,
            "by": outcome.cause.by.value,
            "code": outcome.code,
            "reason": outcome.reason,
            "seconds": outcome.seconds,
            "detail": outcome.detail,
        }
        for page in tuple(self._following):
            with suppress(trio.WouldBlock, Disconnected):
                page.send_nowait(json.dumps(about))

    async def follow(self, page: Connection[Anonymous]) -> None:
        """Tell `page` until it leaves."""
        self._following.add(page)
        try:
            async for _ in page:
                pass
        finally:
            self._following.discard(page)


def scenes_app(issuer: Issuer, feed: Feed, page_port: int, hosts: Hosts | None = None) -> App:
    """The app of the scenes. The page shows the functions of the scenes, as they stand here."""
    limits = Limits(send_timeout=PATIENCE, drain_timeout=6)
    app = App(limits=limits, hosts=hosts, origins=any_origin, on_end=feed.tell)
    anybody = from_the_page(page_port) >> public
    member = from_the_page(page_port) >> bearer(issuer.verifier, first_message())
    _add_open(app, anybody)
    _add_sessions(app, member)
    return app


def _add_open(app: App, anybody: Guard[Anonymous, Anonymous]) -> None:
    """The scenes that anybody may play."""

    @app.route("/bystander", guard=anybody)
    async def bystander(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            await conn.send(message)

    @app.route("/ticker", guard=anybody)
    async def ticker(conn: Connection[Anonymous]) -> None:
        while True:
            # Waits while the reader is behind, until it has taken
            # nothing for Limits.send_timeout: SlowConsumer.
            await conn.send(PRICES)

    @app.route("/divide", guard=anybody)
    async def divide(conn: Connection[Anonymous]) -> None:
        async for message in conn:
            # A bug: nobody has thought of 0. The peer reads 1011
            # and an incident, the log has the traceback under it.
            await conn.send(str(100 / int(message)))

    @app.route("/slow-handler", guard=anybody)
    async def slow_handler(conn: Connection[Anonymous]) -> None:
        taken = 0
        async for _ in conn:
            await trio.sleep(0.002)  # its work, for one message
            taken += 1
            # No more is needed against a flood: when 4 MiB are
            # unread, Seawall reads no more, and TCP holds it back.
            if taken % 100 == 0:
                await conn.send(str(taken))

    @app.route("/form", guard=anybody)
    async def form(conn: Connection[Anonymous]) -> None:
        async for message in conn:  # ends when the server drains
            await conn.send(f"draft: {message!r}")
        await trio.sleep(1)  # there is time to finish
        await conn.send("saved")


def _add_sessions(app: App, member: Guard[Anonymous, Claims]) -> None:
    """The scenes of who has a token."""

    @app.route("/session", guard=member)
    async def session(conn: Connection[Claims]) -> None:
        await conn.send("hello, " + str(conn.principal.subject))
        async for message in conn:
            await conn.send(message)

    @app.route("/log-out", guard=member)
    async def log_out(conn: Connection[Claims]) -> None:
        # Ends every connection of this session, in all tabs, with
        # 3003, and refuses the token from now on.
        await app.sessions.revoke(session_id=conn.principal.session_id)


def sources() -> dict[str, str]:
    """The functions of the scenes by name: their source, decorators included."""
    source = inspect.getsource(_add_open) + inspect.getsource(_add_sessions)
    lines = source.splitlines()
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AsyncFunctionDef):
            begin = min(decorator.lineno for decorator in node.decorator_list)
            found[node.name] = textwrap.dedent("\n".join(lines[begin - 1 : node.end_lineno]))
    return found


@final
@define(eq=False, kw_only=True)
class Scenes:
    """Serves the app of the scenes on a port of its own, so that it can be restarted under the page."""

    app: App
    host: str
    listeners: list[Listener]
    address: Address = field(init=False)
    """Where it listens, also after a restart."""
    _server: Server = field(init=False)
    _nursery: trio.Nursery = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Look where it listens, while it can be asked: draining closes the listeners."""
        self.address = address_of(self.listeners[0])

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Scenes]:
        """Serve from here to the end of the block."""
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            self._nursery = nursery
            self._server = await self.app.start(nursery, listeners=self.listeners)
            yield self
            await self._server.aclose()

    def restart(self) -> None:
        """Drain, as when a new version is deployed, and serve again; in the background."""
        self._nursery.start_soon(self._restart, self._server)

    async def _restart(self, server: Server) -> None:
        await server.drain(restarting=True)
        if server is self._server:  # another click has not restarted it meanwhile
            self._server = await self.app.start(self._nursery, host=self.host, port=self.address.port)

    async def read_nothing(self, page: Connection[Anonymous]) -> None:
        """Connect to the ticker, and read nothing, until `page` leaves."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address.host, self.address.host)  # noqa: S104 - not bound
        async with await trio.open_tcp_stream(host, self.address.port) as stream:
            await stream.send_all(REQUEST.format(host=f"[{host}]" if ":" in host else host).encode())
            await page.send("connected")
            async for _ in page:
                pass
