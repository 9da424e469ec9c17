"""`Gate.admit_by`: a token that a guard of an application has found; and which guard gets the new one in a renewal."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from seawall import (
    Anonymous,
    App,
    Claims,
    Connection,
    Gate,
    Guard,
    NoCredentials,
    Request,
    Response,
    TokenVerifier,
    Unauthorized,
    any_audience,
    any_issuer,
    bearer,
    guard,
    public,
)
from seawall.testing import CloseFrame, Rejected, connect, serve
from seawall.testing.client import HOST
from seawall.tokens import cookie, header
from tests.kit.tokens import signed, token, verifier
from tests.kit.wire import RawClient

OTHER_SECRET = "another secret, which is as long as it has to be for these tests"

#: Of another issuer, whose tokens say something else about somebody.
other = TokenVerifier(OTHER_SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer)


def presented(gate: Gate, name: str) -> str:
    """What a header of a request has."""
    value = gate.handshake.header(name)
    if value is None:
        raise NoCredentials
    return value


@guard
async def by_key(gate: Gate, proved: Anonymous) -> Claims:
    """A token in a header of our own."""
    return await gate.admit_by(verifier, presented(gate, "x-key"))


@guard
async def by_device(gate: Gate, claims: Claims) -> tuple[Claims, Claims]:
    """A second one, which names the device."""
    return claims, await gate.admit_by(verifier, presented(gate, "x-device"))


@guard
async def by_either(gate: Gate, proved: Anonymous) -> Claims:
    """One of two issuers, tried one after the other."""
    key = presented(gate, "x-key")
    try:
        return await gate.admit_by(other, key)
    except Unauthorized:
        return await gate.admit_by(verifier, key)


def name(principal: object) -> str:
    """Who it is, by which token."""
    if isinstance(principal, tuple):
        return " ".join(map(name, principal))  # pyright: ignore[reportUnknownArgumentType]  # claims
    return f"{principal.subject} {principal.token_id}" if isinstance(principal, Claims) else "nobody"


async def tell(conn: Connection[object]) -> None:
    """Say who it is; take each message as a token, and say who it is then."""
    await conn.send(name(conn.principal))
    async for message in conn:
        try:
            await conn.renew(str(message))
        except Unauthorized as refusal:
            await conn.send(str(refusal))
        else:
            await conn.send(name(conn.principal))


def renewing(door: Guard[Anonymous, object]) -> App:
    """An app with one route, which renews."""
    app = App()
    app.route("/", guard=door)(tell)
    return app


async def test_it_leases_identifies_and_renews(autojump_clock: MockClock) -> None:
    """The connection ends with its token, and with its revocation; a new token prolongs it."""
    app = renewing(by_key)
    async with serve(app) as serving:
        async with serving.connect("/", headers={"X-Key": token(jti="1", seconds=60)}) as client:
            assert await client.receive() == "ada 1"
            await client.send(token(jti="2", seconds=600))
            assert await client.receive() == "ada 2"
            await trio.sleep(300)
            await client.send(token("eve", seconds=900))
            assert await client.receive() == "the new token is about another subject"
            await trio.sleep(301)
            assert await client.wait_closed() == CloseFrame(3000, "lease expired")
        async with serving.connect("/", headers={"X-Key": token(jti="3", seconds=900)}) as client:
            assert await client.receive() == "ada 3"
            assert await app.sessions.revoke(token_id="3") == 1
            assert await client.wait_closed() == CloseFrame(3003, "revoked")
        for wrong in (token(jti="3"), token(seconds=-60), "nonsense", "x" * 9000, token()[:-2]):
            with pytest.raises(Rejected, match="401"):
                async with serving.connect("/", headers={"X-Key": wrong}):
                    raise AssertionError("unreachable")


async def test_the_first_one_is_renewed_and_no_other(autojump_clock: MockClock) -> None:
    """Of two tokens by one verifier the second one stays; its lease holds on."""
    app = renewing(by_key >> by_device)
    asked = {"X-Key": token(jti="1"), "X-Device": token(jti="device", seconds=100)}
    async with connect(app, "/", headers=asked) as client:
        assert await client.receive() == "ada 1 ada device"
        await client.send(token(jti="2", seconds=600))
        assert await client.receive() == "ada 2 ada device"
        await trio.sleep(101)
        assert await client.wait_closed() == CloseFrame(3000, "lease expired")


async def test_one_that_did_not_let_in_gets_none(autojump_clock: MockClock) -> None:
    """The verifier that refused the first token is asked about that one again, and not about the new one."""
    theirs = signed({"sub": "ada", "exp": 4e9, "jti": "theirs"}, OTHER_SECRET)
    async with connect(renewing(by_either), "/", headers={"X-Key": token(jti="1")}) as client:
        assert await client.receive() == "ada 1"
        await client.send(token(jti="2"))
        assert await client.receive() == "ada 2"
        await client.send(theirs)
        assert "token refused" in str(await client.receive())
        await client.send(token(jti="3"))
        assert await client.receive() == "ada 3"


async def test_a_renewal_stays_in_its_branch(autojump_clock: MockClock) -> None:
    """Each alternative gets the new token only if it took the first one, also where both have one verifier."""
    app = renewing(bearer(verifier, header()) | by_key | public)
    for headers in ({"Authorization": "Bearer " + token(jti="1")}, {"X-Key": token(jti="1")}):
        async with connect(app, "/", headers=headers) as client:
            assert await client.receive() == "ada 1"
            await client.send(token(jti="2"))
            assert await client.receive() == "ada 2"
    async with connect(app, "/") as client:
        assert await client.receive() == "nobody"
        await client.send(token(jti="2"))
        assert await client.receive() == "this connection was let in without a token"


@guard
async def by_good_key(gate: Gate, proved: Anonymous) -> Claims | Anonymous:
    """A key that is wrong is as good as none."""
    try:
        return await gate.admit_by(verifier, gate.handshake.header("x-key") or "")
    except Unauthorized:
        return proved


@pytest.mark.parametrize(
    "door", [by_key | public, by_key >> by_device | public, public >> (by_key | public), by_good_key]
)
async def test_a_guest_of_a_guard_of_ones_own_has_nothing_to_renew(door: Guard[Anonymous, object]) -> None:
    """It is no mistake of the program that its client sends a token all the same: as behind `bearer`, it is refused."""
    async with connect(renewing(door), "/") as client:
        assert await client.receive() == "nobody"
        await client.send(token())
        assert await client.receive() == "this connection was let in without a token"


async def test_a_chain_that_goes_another_way_takes_no_token(autojump_clock: MockClock) -> None:
    """A guard that presents more tokens than at the door gets the new one where the first one stood, and only there."""
    extra = list[str]()

    @guard
    async def moody(gate: Gate, proved: Anonymous) -> Claims:
        for one in extra:
            await gate.admit_by(verifier, one)
        return await gate.admit_by(verifier, presented(gate, "x-key"))

    async with connect(renewing(moody), "/", headers={"X-Key": token(jti="1")}) as client:
        assert await client.receive() == "ada 1"
        await client.send(token(jti="2"))
        assert await client.receive() == "ada 2"
        extra.append("nonsense")
        await client.send(token(jti="3"))
        assert await client.receive() == "ada 1"  # the first call took the new one, as it did at the door


async def test_bearer_in_front_is_the_one(autojump_clock: MockClock) -> None:
    """Behind `bearer` a guard of the application is asked about its own token again."""
    app = renewing(bearer(verifier, cookie("s")) >> by_device)
    asked = {"Cookie": f"s={token(jti='1')}", "X-Device": token(jti="device")}
    async with connect(app, "/", headers=asked) as client:
        assert await client.receive() == "ada 1 ada device"
        await client.send(token(jti="2"))
        assert await client.receive() == "ada 2 ada device"


async def test_a_page_is_let_in_by_it(autojump_clock: MockClock) -> None:
    """A page has neither a lease nor a renewal, and refuses what has been revoked."""
    app = App()

    @app.page("/me", guard=by_key)
    async def me(request: Request[Claims]) -> Response:
        return Response(request.principal.subject)

    async def status(*fields: str) -> int:
        async with serve(app) as server:
            client = RawClient(server.open_stream())
            lines = ("GET /me HTTP/1.1", f"Host: {HOST}", *fields, "", "")
            await client.send("\r\n".join(lines).encode())
            return (await client.last_response()).status

    assert await status("X-Key: " + token(jti="1")) == 200
    assert await status("X-Key: " + token(seconds=-5)) == 401
    assert await status() == 401
    await app.sessions.revoke(token_id="1")
    assert await status("X-Key: " + token(jti="1")) == 401
