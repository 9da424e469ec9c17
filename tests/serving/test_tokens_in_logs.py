"""No token in anything that Seawall writes: each line of the log, each traceback, each report, outcome and repr."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import pytest
from attrs import frozen

from seawall import (
    App,
    Claims,
    Connection,
    ConnectionSnapshot,
    ErrorReport,
    Events,
    Forbidden,
    Gate,
    Outcome,
    Request,
    Response,
    Unauthorized,
    bearer,
    check,
    guard,
    public,
)
from seawall.observability.logs import JsonFormatter, TextFormatter
from seawall.observability.reports import log_report
from seawall.tokens import cookie, first_message, header, query, subprotocol
from tests.kit.sockets import Transport, serving
from tests.kit.tokens import token, verifier
from tests.kit.wire import TEXT, close_frame, frame, request

#: No JSON Web Token, so that no shape gives it away.
OPAQUE: Final = "0paqueS3cretOfSomebody"


class Everything(logging.Handler):
    """All that any logger has, at every level, as each formatter writes it."""

    def __init__(self) -> None:
        """Keep it."""
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Format it in every way that there is."""
        for formatter in (logging.Formatter(), TextFormatter(), JsonFormatter()):
            self.texts.append(formatter.format(record))
        self.texts.append(repr(record.__dict__))


@contextmanager
def everything() -> Generator[Everything]:
    """What all loggers of the process have meanwhile, trio-websocket's included."""
    handler, root = Everything(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def shown(what: object) -> list[str]:
    """How `what` shows itself, and each thing that a program can reach from it by a name."""
    names = [name for name in dir(what) if not name.startswith("_")]
    return [repr(what), str(what), *(repr(getattr(what, name)) for name in names)]


def app_of(said: list[str]) -> App:
    """An app that shows all that it is handed, and fails in every way."""

    def on_end(outcome: Outcome) -> None:
        said.append(repr(outcome))

    def report(report: ErrorReport) -> None:
        said.append(repr(report))
        log_report(report)

    def on_open(snapshot: ConnectionSnapshot) -> None:
        said.append(repr(snapshot))

    app = App(on_end=on_end, on_open=on_open, report=report)
    sources = (header(), cookie("s"), subprotocol(), query("door", reusable=True), first_message(ack="in"))

    @check
    async def look(gate: Gate, principal: object) -> None:
        said.extend(shown(gate))

    @check
    async def fail(gate: Gate, principal: object) -> None:
        raise ValueError(f"{gate!r} {gate.handshake!r} {principal!r}")

    @check
    async def forbid(gate: Gate, principal: object) -> None:
        raise Forbidden(repr(gate))

    async def show(conn: Connection[object]) -> None:
        said.extend(shown(conn))
        async for message in conn:
            try:
                await conn.renew(str(message))
            except Unauthorized as refusal:
                said.append(repr(refusal))
            raise ValueError(f"{conn!r} {conn.principal!r}")

    door = bearer(verifier, *sources)
    for path, steps in {"/show": door >> look, "/fail": look >> door >> fail, "/forbid": door >> forbid}.items():
        app.route(path, guard=steps, subprotocols=["chat"])(show)
        app.route(f"{path}/close", guard=steps, subprotocols=["chat"], refuse_with="close")(show)
    app.route("/public", guard=look >> public)(show)

    @app.page("/page", guard=bearer(verifier, *sources[:-1]))
    async def page(asked: Request[Claims]) -> Response:
        raise ValueError(repr(asked))

    return app


def requests(presented: str) -> Generator[bytes]:
    """A request by each source, each source that a route has not, and several at once."""
    secret = presented.encode()
    ways: tuple[tuple[str, tuple[bytes, ...]], ...] = (
        ("", (b"Authorization: Bearer " + secret,)),
        ("", (b"Authorization: " + secret,)),
        ("", (b"Cookie: s=" + secret,)),
        ("", (b"Cookie: s=%b; s=%b" % (secret, secret),)),
        ("", (b"Sec-WebSocket-Protocol: chat, bearer." + secret,)),
        ("", (b"Sec-WebSocket-Protocol: bearer." + secret,)),
        ("", (b"Sec-WebSocket-Protocol: news, bearer." + secret,)),
        ("", (b"Sec-WebSocket-Protocol: chat, bearer.%b=" % secret,)),
        ("", (b"Sec-WebSocket-Protocol: " + secret,)),
        (f"?door={presented}", ()),
        (f"?door={presented}&door={presented}", ()),
        (f"?d%6For={presented}", (b"Cookie: s=" + secret,)),
        (f"?token={presented}", ()),
    )
    for path in ("/show", "/fail", "/forbid", "/show/close", "/fail/close", "/forbid/close", "/public", "/nowhere"):
        for suffix, lines in ways:
            yield request(path + suffix, *lines)
            yield request(path + suffix, *lines, b"Origin: https://evil.example")
    for suffix, lines in ways:
        fields = b"".join(line + b"\r\n" for line in lines)
        yield b"GET /page%b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (suffix.encode(), fields)
        yield b"GET /show%b HTTP/1.1\r\nHost: evil.example:5\r\n%b\r\n" % (suffix.encode(), fields)
        yield b"GET /show%b HTTP/1.1\r\nHost localhost\r\n%b\r\n" % (suffix.encode(), fields)
        yield b"BREW /show%b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (suffix.encode(), fields)


@frozen
class Settings:
    """A lifespan value that is careless about its repr."""

    password: str = OPAQUE


@frozen(kw_only=True)
class Ask:
    """An event."""


async def test_every_gate_is_shown_by_what_was_asked_for() -> None:
    """At the door, for an event, in a renewal and for a page: nothing else is in it, such as a lifespan value."""
    gates = list[str]()
    app, events = App(), Events[Claims]()

    @app.lifespan
    @asynccontextmanager
    async def settings() -> AsyncGenerator[Settings]:
        yield Settings()

    @guard
    async def look(gate: Gate, claims: Claims) -> Claims:
        assert gate.provided(settings).password == OPAQUE
        gates.append(repr(gate))
        return claims

    @events.on(Ask, guard=look)
    async def ask(conn: Connection[Claims], event: Ask) -> None:
        await conn.renew(token())
        await conn.aclose()

    app.route("/", guard=bearer(verifier) >> look)(events)

    @app.page("/page", guard=bearer(verifier) >> look)
    async def page(request: Request[Claims]) -> Response:
        return Response("")

    async with serving(app) as place:
        client = await place.dial()
        await client.send(request(f"/?a={OPAQUE}", b"Authorization: Bearer " + token().encode()))
        assert (await client.response()).status == 101
        await client.send(frame(TEXT, b'{"type": "ask"}'))
        await client.end(answer=True)
        client.close()
        client = await place.dial()
        lines = b"Host: localhost\r\nAuthorization: Bearer " + token().encode()
        await client.send(b"GET /page HTTP/1.1\r\n%b\r\n\r\n" % lines)
        assert (await client.response()).status == 200
        client.close()
    asked = r"\(handshake=Handshake\(path='/\w*', host='localhost', peer='127.0.0.1:\d+', secure=False\)\)"
    kinds = ("ConnectionGate", "EventGate", "RenewalGate", "PageGate")
    for kind, gate in zip(kinds, gates, strict=True):
        assert re.fullmatch(kind + asked, gate)


@pytest.mark.parametrize(
    ("over", "kind"),
    [
        ("plain", "good"),
        ("tls", "good"),
        ("plain", "expired"),
        ("plain", "forged"),
        ("plain", "opaque"),
        ("plain", "long"),
    ],
)
async def test_no_token_is_written(over: Transport, kind: str) -> None:
    """Good and bad ones, from every source, to routes that let in, refuse and fail."""
    jwt = token(jti="secret-id", seconds=-60 if kind == "expired" else 60)
    presented = {"good": jwt, "expired": jwt, "forged": jwt[:-3] + "abc", "opaque": OPAQUE, "long": OPAQUE * 400}[kind]
    secrets = [OPAQUE] if presented.startswith(OPAQUE) else presented.split(".")[1:]
    said = list[str]()
    with everything() as log:
        async with serving(app_of(said), over) as place:
            for sent in requests(presented):
                client = await place.dial()
                await client.send(sent)
                if (await client.response()).status == 101:
                    said_twice = frame(TEXT, presented.encode()) * 2  # as a first message, and to be renewed by
                    await client.send(said_twice, close_frame())
                    await client.end()
                client.close()
    texts = [*log.texts, *said]
    assert len(texts) > 500
    for secret in secrets:
        assert [text for text in texts if secret in text] == []
