"""Tokens from each source, over each kind of socket: who gets in, who is refused how, and what is answered."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, Literal, TypeAlias

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock

from seawall import (
    Anonymous,
    App,
    Connection,
    Forbidden,
    Gate,
    Guard,
    Limits,
    Unauthorized,
    bearer,
    check,
    public,
)
from seawall.testing import Client, CloseFrame, connect, serve
from seawall.tokens import Claims, cookie, first_message, header, query, subprotocol
from tests.kit.sockets import EVERYWHERE, Transport, serving
from tests.kit.tokens import token, verifier
from tests.kit.wire import TEXT, Frame, RawClient, frame, request

Source: TypeAlias = Literal["header", "cookie", "subprotocol", "query", "message"]
SOURCES: Final[tuple[Source, ...]] = ("header", "cookie", "subprotocol", "query", "message")

everything = bearer(
    verifier, header(), cookie("s"), subprotocol(), query("token", reusable=True), first_message(ack="you are in")
)
without_message = bearer(verifier, header(), cookie("s"), subprotocol(), query("token", reusable=True))


async def tell(conn: Connection[object]) -> None:
    """Say who it is and what was negotiated; take each message as a new token."""
    principal = conn.principal
    name = principal.subject if isinstance(principal, Claims) else "nobody"
    await conn.send(f"{name} {conn.subprotocol} {','.join(conn.handshake.subprotocols)}")
    async for message in conn:
        try:
            await conn.renew(str(message))
        except Unauthorized as refusal:
            await conn.send(str(refusal))
        else:
            await conn.send(f"renewed {conn.principal.token_id if isinstance(conn.principal, Claims) else ''}")


def telling(door: Guard[Anonymous, object], limits: Limits | None = None) -> App:
    """An app with one route."""
    app = App(limits=limits)
    app.route("/", guard=door, subprotocols=["chat"])(tell)
    return app


@frozen
class Asked:
    """A request that presents tokens."""

    path: str
    lines: tuple[bytes, ...]
    message: str | None = None

    @classmethod
    def by(cls, *sources: Source, token: str) -> Asked:
        """One that presents `token` in each of `sources`."""
        offers = b"chat, bearer." + token.encode() if "subprotocol" in sources else b"chat"
        lines = [b"Sec-WebSocket-Protocol: " + offers]
        if "header" in sources:
            lines.append(b"Authorization: Bearer " + token.encode())
        if "cookie" in sources:
            lines.append(b"Cookie: s=" + token.encode())
        return cls(
            path=f"/?token={token}" if "query" in sources else "/",
            lines=tuple(lines),
            message=token if "message" in sources else None,
        )

    async def ask(self, client: RawClient) -> list[str | int]:
        """What is answered: the status; then texts, or the code of a Close and its reason."""
        await client.send(request(self.path, *self.lines))
        response = await client.response()
        if response.status != 101:
            return [response.status]
        assert response.header("sec-websocket-protocol") == "chat"
        if self.message is not None:
            await client.send(frame(TEXT, self.message.encode()))
        got = await client.frame()
        if got.opcode != TEXT:
            return [*got.closing]
        answers: list[str | int] = [got.payload.decode()]
        if answers == ["you are in"]:
            answers.append((await client.frame()).payload.decode())
        return answers


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_from_each_source(over: Transport) -> None:
    """A good token lets in from each of them, and is neither answered nor handed to the handler as a subprotocol."""
    async with serving(telling(everything), over) as place:
        for source in SOURCES:
            answers = await Asked.by(source, token=token()).ask(await place.dial())
            assert answers == (["you are in"] if source == "message" else []) + ["ada chat chat"], source
            for wrong in (token(seconds=-60), token()[:-3], token() + "A" * 8192, "nonsense"):
                answers = await Asked.by(source, token=wrong).ask(await place.dial())
                if source == "message":
                    assert answers in ([3000, "unauthorized"], [1009, "message too big"]), (source, len(wrong))
                else:
                    assert answers in ([401], [431]), (source, len(wrong))
            place.hang_up()


@pytest.mark.parametrize("first", SOURCES[:4])
@pytest.mark.parametrize("second", SOURCES[:4])
async def test_from_two_sources_at_once(first: Source, second: Source, autojump_clock: MockClock) -> None:
    """Two tokens are refused, also if they are the same and both are good, and nobody comes in as a stranger."""
    if first == second:
        return
    for door in (everything, without_message, without_message | public):
        async with serve(telling(door)) as server:
            assert await Asked.by(first, second, token=token()).ask(RawClient(server.open_stream())) == [401]


async def test_one_in_the_handshake_and_one_as_a_message(autojump_clock: MockClock) -> None:
    """Who presents a token in the handshake is let in by that one; a first message is the handler's then."""
    async with serve(telling(everything)) as server:
        client = RawClient(server.open_stream())
        assert await Asked.by("header", "message", token=token(jti="1")).ask(client) == ["ada chat chat"]
        assert await client.frame() == Frame(TEXT, b"renewed 1")


async def test_a_token_where_no_source_looks(autojump_clock: MockClock) -> None:
    """In a query, a cookie or a subprotocol of another route it lets nobody in, and is no credential either."""
    for source in ("cookie", "subprotocol", "query"):
        assert await _one(telling(bearer(verifier)), Asked.by(source, token=token())) == [401]
        assert await _one(telling(bearer(verifier) | public), Asked.by(source, token=token())) == ["nobody chat chat"]


async def _one(app: App, asked: Asked) -> list[str | int]:
    async with serve(app) as server:
        return await asked.ask(RawClient(server.open_stream()))


@pytest.mark.parametrize(
    ("path", "lines", "status"),
    [
        ("/", (b"Cookie: s=%(good)s; s=%(good)s",), 401),
        ("/", (b"Cookie: s=%(other)s; s=%(good)s",), 401),
        ("/", (b"Cookie: s=%(good)s", b"Cookie: s=%(other)s"), 401),
        ("/", (b"Sec-WebSocket-Protocol: chat, bearer.%(good)s, bearer.%(other)s",), 401),
        ("/", (b"Sec-WebSocket-Protocol: chat, bearer.",), 401),
        ("/", (b"Sec-WebSocket-Protocol: bearer.%(good)s",), 400),
        ("/", (b"Sec-WebSocket-Protocol: news, bearer.%(good)s",), 400),
        ("/", (b"Sec-WebSocket-Protocol: chat, bearer.%(good)s=",), 400),
        ("/", (b"Sec-WebSocket-Protocol: chat, bearer.\xff",), 400),
        ("/?token=%(good)s&token=%(good)s", (), 401),
        ("/?token=%(good)s&t%%6fken=%(other)s", (), 401),
        ("/?token=", (), 401),
        ("/?token", (), 401),
        ("/", (b"Authorization: Bearer %(good)s", b"Authorization: Bearer %(good)s"), 401),
    ],
)
async def test_several_of_one_source(
    path: str, lines: tuple[bytes, ...], status: int, autojump_clock: MockClock
) -> None:
    """As a sub-domain could set a second cookie: two of a name, and what has no token, are wrong credentials."""
    good, other = token(), token("eve")
    filled = tuple(line % {b"good": good.encode(), b"other": other.encode()} for line in lines)
    asked = Asked(path % {"good": good, "other": other}, filled)
    assert await _one(telling(without_message | public), asked) == [status]
    assert await _one(telling(everything), asked) == [status]


@asynccontextmanager
async def _client(app: App, source: Source, presented: str) -> AsyncGenerator[Client]:
    """A client that is in, by a token from `source`."""
    headers = {"header": {"Authorization": f"Bearer {presented}"}, "cookie": {"Cookie": f"s={presented}"}}
    path = f"/?a=b&token={presented}" if source == "query" else "/"
    offers = ["chat", f"bearer.{presented}"] if source == "subprotocol" else ["chat"]
    async with connect(app, path, headers=headers.get(source, {}), subprotocols=offers) as client:
        if source == "message":
            await client.send(presented)
            assert await client.receive() == "you are in"
        assert await client.receive() == "ada chat chat"
        yield client


@pytest.mark.parametrize("source", SOURCES)
async def test_each_can_be_renewed(source: Source, autojump_clock: MockClock) -> None:
    """The new token stands in the handshake of the renewal where the old one was found; the rest is as it was."""
    seen = list[tuple[str, tuple[str, ...]]]()

    @check
    async def see(gate: Gate, principal: object) -> None:
        asked = gate.handshake
        seen.append((asked.query + str(asked.headers), asked.subprotocols))

    old, new = token(jti="old"), token(jti="new", seconds=600)
    async with _client(telling(everything >> see), source, old) as client:
        await client.send(new)
        assert await client.receive() == "renewed new"  # and no acknowledgement again
        await client.send(token("eve"))
        assert await client.receive() == "the new token is about another subject"
        await client.send("a&b")
        assert "characters that no token has" in str(await client.receive())
        await trio.sleep(601)
        assert await client.wait_closed() == CloseFrame(3000, "lease expired")
    if source != "message":
        assert (old in seen[0][0], new in seen[0][0]) == (True, False)
        assert (old in seen[1][0], new in seen[1][0]) == (False, True)
        assert seen[0][0].replace(old, "").count("a=b") == seen[1][0].replace(new, "").count("a=b")
    assert all(one[1] == ("chat",) for one in seen)


async def test_the_acknowledgement_comes_when_all_have_passed(autojump_clock: MockClock) -> None:
    """Not while guards behind the token still decide, and never to who is refused."""
    may = trio.Event()

    @check
    async def late(gate: Gate, claims: Claims) -> None:
        await may.wait()
        if claims.subject != "ada":
            raise Forbidden("not ada")

    app = telling(bearer(verifier, first_message(ack='{"type": "welcome"}')) >> late)
    async with serve(app) as server, server.connect("/", subprotocols=["chat"]) as ada:
        await ada.send(token())
        async with server.connect("/", subprotocols=["chat"]) as eve:
            await eve.send(token("eve"))
            await trio.sleep(1)
            may.set()
            assert await eve.wait_closed() == CloseFrame(3003, "forbidden")
        assert [await ada.receive(), await ada.receive()] == ['{"type": "welcome"}', "ada chat chat"]


async def test_it_is_not_sent_to_others(autojump_clock: MockClock) -> None:
    """Who was let in by a header waits for no acknowledgement."""
    async with _client(telling(everything), "header", token(jti="1")) as client:
        await client.send(token(jti="2"))
        assert await client.receive() == "renewed 2"
