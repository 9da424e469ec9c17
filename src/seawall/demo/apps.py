"""The two apps of the demo's first half."""

from __future__ import annotations

import json
import time
from typing import Final, final

from attrs import field, frozen

from seawall.app import App
from seawall.connection.connection import Connection
from seawall.demo.origins import from_the_page
from seawall.demo.page import document
from seawall.demo.scenes import Feed, Scenes, sources
from seawall.demo.tokens import GARBAGE, Issuer
from seawall.errors import LeaseExpired, TokenExpired, Unauthorized
from seawall.guards.bearer import bearer
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Guard, public
from seawall.guards.jwt.claims import Claims
from seawall.guards.origins import any_origin
from seawall.guards.sources import first_message
from seawall.http.hosts import Hosts
from seawall.policy.error_policy import ErrorPolicy
from seawall.policy.verdicts import Close

AUTHENTICATED: Final = "Authenticated!"
EXPIRED: Final = "Token Expired"
INVALID: Final = "Invalid Token"

#: Seconds since the demo's expired tokens were good.
LONG_AGO: Final = 3600.0


@final
@frozen(kw_only=True)
class Surroundings:
    """What both apps have to know of each other."""

    issuer: Issuer
    echo_port: int
    """The page's, too."""
    secure_port: int
    scenes_port: int
    session_seconds: float
    """How long the page's tokens are good for."""
    hosts: Hosts | None = None
    """Which hosts are served; see `seawall.demo.origins.own_hosts`."""


def echo_app(around: Surroundings) -> App:
    """The page, the echo, and tokens for the page."""
    app = App(hosts=around.hosts)
    app.page("/", document(ports=(around.echo_port, around.secure_port, around.scenes_port), code=sources()))

    @app.route("/", guard=public)
    async def echo(conn: Connection[Anonymous]) -> None:
        await _echo(conn)

    @app.route("/tokens", guard=public)
    async def tokens(conn: Connection[Anonymous]) -> None:
        fresh = {
            "valid": around.issuer.issue(around.session_seconds),
            "expired": around.issuer.issue(-LONG_AGO),
            "garbage": GARBAGE,
            "now": time.time(),
            "secure_port": around.secure_port,
            "scenes_port": around.scenes_port,
            "session_seconds": around.session_seconds,
        }
        await conn.send(json.dumps(fresh))

    return app


def add_scenes(app: App, scenes: Scenes, feed: Feed) -> None:
    """Serve `scenes` while `app` is served, and let its page direct them."""
    app.lifespan(scenes.running)

    @app.route("/outcomes", guard=public)
    async def outcomes(conn: Connection[Anonymous]) -> None:
        await feed.follow(conn)

    @app.route("/slow-reader", guard=public)
    async def slow_reader(conn: Connection[Anonymous]) -> None:
        await scenes.read_nothing(conn)

    @app.route("/restart", guard=public)
    async def restart(conn: Connection[Anonymous]) -> None:
        scenes.restart()


def secure_app(around: Surroundings) -> App:
    """The session: a token as the first message, then an echo until the token expires."""
    app = App(
        hosts=around.hosts,
        origins=any_origin,  # the page has another port, and any address of this machine
        errors=ErrorPolicy()
        .on(Unauthorized, Close(3000, INVALID))
        .on(TokenExpired, Close(3000, EXPIRED))
        .on(LeaseExpired, Close(3000, EXPIRED)),
    )

    member = bearer(around.issuer.verifier, first_message())

    @app.route("/", guard=from_the_page(around.echo_port) >> SpokenRefusal(member))
    async def session(conn: Connection[Claims]) -> None:
        await conn.send(AUTHENTICATED)
        await _echo(conn)

    return app


@final
@frozen
class SpokenRefusal(Guard[Anonymous, Claims]):
    """A guard, with a message before the close, for clients that look at nothing else."""

    inner: Guard[Anonymous, Claims] = field(repr=False)

    async def admit(self, gate: Gate, proved: Anonymous, /) -> Claims:
        """Prove the claims, or say why not and refuse."""
        try:
            return await self.inner.admit(gate, proved)
        except Unauthorized as unauthorized:
            refusal = unauthorized
        await gate.send_text(EXPIRED if isinstance(refusal, TokenExpired) else INVALID)
        raise refusal


async def _echo(conn: Connection[object]) -> None:
    async for message in conn:
        await conn.send(f"Server received: {message}" if isinstance(message, str) else message)
