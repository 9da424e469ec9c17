"""What a token has proved holds until it expires or is revoked, and two seconds longer at the most."""

from __future__ import annotations

import time

import pytest
import trio

from seawall import App, Claims, Connection, bearer, has_scope
from tests.kit.renewing import renew_each
from tests.kit.sockets import EVERYWHERE, Place, Transport, echo_app, everywhere, surviving
from tests.kit.tokens import token, verifier
from tests.kit.wire import CLOSE, TEXT, RawClient, frame, request

pytestmark = pytest.mark.slow

#: Seconds.
AT_MOST = 2.0


def members() -> App:
    """An app with members, whose handlers are busy, and with the echo that goes on."""
    app = echo_app()

    @app.route("/members", guard=bearer(verifier))
    async def handler(conn: Connection[Claims]) -> None:
        await trio.sleep_forever()

    return app


def ask(subject: str = "ada", *, expires_at: int | None = None) -> bytes:
    """A request with a token that is good for a minute, or until then."""
    presented = token(subject) if expires_at is None else token(subject, exp=expires_at)
    return request("/members", b"Authorization: Bearer " + presented.encode())


async def member(place: Place, asked: bytes) -> RawClient:
    """A connection that is let in."""
    client = await place.dial()
    await client.send(asked)
    assert (await client.response()).status == 101
    return client


@everywhere(*EVERYWHERE)
async def test_a_token_expires(over: Transport) -> None:
    """The peer reads 3000, and TCP is closed, within two seconds of the end of its token."""
    async with surviving(members(), over) as place:
        expires_at = int(time.time()) + 3
        client = await member(place, ask(expires_at=expires_at))
        assert (await client.dismissal(within=3 + AT_MOST, answer=True)).code == 3000
        assert expires_at - 0.1 < time.time() < expires_at + AT_MOST


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_a_token_is_revoked(over: Transport) -> None:
    """The peers read 3003, and TCP is closed, within two seconds; those of others stay, and the token opens no door."""
    app, asked = members(), ask()
    async with surviving(app, over) as place:
        clients = [await member(place, asked) for _ in range(20)]
        other = await member(place, ask("bob"))
        began = trio.current_time()
        assert await app.sessions.revoke(subject="ada") == 20
        for client in clients:
            assert (await client.dismissal(answer=True)).code == 3003
        assert trio.current_time() - began < AT_MOST
        client = await place.dial()
        await client.send(asked)
        assert (await client.last_response()).status == 401
        assert await app.sessions.revoke(subject="bob") == 1
        assert (await other.dismissal(answer=True)).code == 3003


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_mended_01_a_renewal_proves_again_what_the_door_demanded(over: Transport) -> None:
    """A wrong token leaves the lease as it is; one that verifies and whose chain says no ends the connection."""
    app = echo_app()

    app.route("/members", guard=bearer(verifier) >> has_scope("chat"))(renew_each)
    async with surviving(app, over) as place:
        asked = request("/members", b"Authorization: Bearer " + token(scope="chat").encode())
        client = await member(place, asked)
        for presented, answer in (
            (token(scope="more chat"), b"renewed"),
            (token("eve", scope="chat"), b"Unauthorized: the new token is about another"),
            (token(scope="chat")[:-1], b"Unauthorized: token refused"),
        ):
            await client.send(frame(TEXT, presented.encode()))
            said = await client.but_pings()
            assert said.opcode == TEXT
            assert said.payload.startswith(answer)
        await client.send(frame(TEXT, token().encode()))
        assert (await client.dismissal(answer=True)).code == 3003


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_a_peer_that_does_not_answer_is_told_all_the_same(over: Transport) -> None:
    """It reads 3003 at once; TCP is closed after ``close_timeout``."""
    app = members()
    async with surviving(app, over) as place:
        client = await member(place, ask())
        began = trio.current_time()
        assert await app.sessions.revoke(subject="ada") == 1
        told = await client.frame()
        assert (told.opcode, told.payload[:2]) == (CLOSE, (3003).to_bytes(2, "big"))
        assert trio.current_time() - began < AT_MOST
