"""Tickets at the door: presented once in place of a token, and everything that they are not good for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, final

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from seawall import (
    Anonymous,
    App,
    Claims,
    Connection,
    Forbidden,
    Gate,
    Guard,
    Request,
    Response,
    Router,
    TokenVerifier,
    Unauthorized,
    Unavailable,
    any_audience,
    bearer,
    check,
    guard,
    has_scope,
    inherited,
    public,
)
from seawall.connection.ticket import Ticket
from seawall.connection.ticket_store import LIFETIME
from seawall.sessions import MemoryTickets, StoredTicket, TicketStore
from seawall.testing import CloseFrame, Rejected, Serving, serve
from seawall.tokens import AnyClaims, TicketTaker, by_issuer, first_message, header, query
from tests.kit.log import recorded
from tests.kit.sockets import EVERYWHERE, Transport, serving
from tests.kit.tokens import SECRET, by, token, verifier
from tests.kit.wall import Wall
from tests.kit.wire import RawClient, request
from tests.serving.test_tokens_in_logs import everything

#: What has the shape of a ticket.
UNKNOWN: Final = "A" * 43


async def talk(conn: Connection[object]) -> None:
    """Say who it is; take each message as a new token."""
    principal = conn.principal
    await conn.send(str(principal.subject) if isinstance(principal, AnyClaims) else "nobody")
    async for message in conn:
        try:
            await conn.renew(str(message))
        except Unauthorized as refusal:
            await conn.send(str(refusal))
        else:
            await conn.send("renewed")


def talking(**doors: Guard[Anonymous, object]) -> App:
    """An app with a route that takes tickets, and with others."""
    app = App()
    for name, door in {"talk": bearer(verifier, query("ticket")), **doors}.items():
        app.route(f"/{name}", guard=door)(talk)
    return app


async def outcome(server: Serving, path: str, *, headers: Mapping[str, str] | None = None) -> int | str:
    """The status with which a request is refused, or what the handler says first."""
    try:
        async with server.connect(path, headers=headers or {}) as client:
            return str(await client.receive())
    except Rejected as refused:
        return refused.status


# From a page to a handler.


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_from_a_page_to_a_handler(over: Transport) -> None:
    """A page on request gives a ticket for the token that it was asked with; it lets in once, over every transport."""
    app = talking()

    @app.page("/ticket", methods=["POST"], guard=bearer(verifier))
    async def ticket(asked: Request[Claims]) -> Response:
        _, _, presented = (asked.handshake.header("authorization") or "").partition(" ")
        return Response(await app.tickets.issue(presented, route="/talk"))

    async with serving(app, over) as place:
        client = await place.dial()
        fields = f"Authorization: Bearer {token()}\r\nContent-Length: 0\r\n"
        await client.send(f"POST /ticket HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
        answer = await client.last_response()
        assert (answer.status, len(answer.body)) == (200, 43)
        path = f"/talk?a=b&ticket={answer.body.decode()}"
        client = await place.open(path)
        assert (await client.frame()).payload == b"ada"
        assert await place.rejected(request(path)) == 401
        assert await place.rejected(request(f"/talk?ticket={UNKNOWN}")) == 401
        place.hang_up()


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_of_two_at_once_one_wins(over: Transport) -> None:
    """Of five connections that present one ticket at the same time, one is let in, each time."""
    app = talking()
    async with serving(app, over) as place:
        for _ in range(5):
            ticket, statuses = await app.tickets.issue(token(), route="/talk"), list[int]()
            clients = [await place.dial() for _ in range(5)]

            async def present(client: RawClient, asked: bytes, statuses: list[int] = statuses) -> None:
                await client.send(asked)
                statuses.append((await client.response()).status)

            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(present, client, request(f"/talk?ticket={ticket}"))
            assert sorted(statuses) == [101, 401, 401, 401, 401]
            place.hang_up()


@final
@define
class Slow:
    """A store that takes a moment, or for ever, and notes what it was asked; or that cannot be asked at all."""

    inner: MemoryTickets = field(factory=MemoryTickets)
    seconds: float = 1.0
    down: bool = False
    put_in: list[tuple[bytes, StoredTicket]] = field(factory=list[tuple[bytes, StoredTicket]])
    asked: list[bytes] = field(factory=list[bytes])

    async def put(self, digest: bytes, ticket: StoredTicket, now: float, /) -> None:
        """Put it."""
        if self.down:
            raise Unavailable("the store has gone", retry_after=3.0)
        self.put_in.append((digest, ticket))
        await self.inner.put(digest, ticket, now)

    async def take(self, digest: bytes, /) -> StoredTicket | None:
        """Take it, after a moment."""
        if self.down:
            raise Unavailable("the store has gone", retry_after=3.0)
        self.asked.append(digest)
        await trio.sleep(self.seconds)
        return await self.inner.take(digest)


def with_store(store: TicketStore) -> App:
    """An app with a store of its own."""
    app = App(tickets=store)
    app.route("/talk", guard=bearer(verifier, query("ticket")))(talk)
    return app


async def test_two_that_wait_for_a_store(autojump_clock: MockClock) -> None:
    """Where a store takes its time, both have asked before one is answered; it is still one that wins."""
    store = Slow()
    app = with_store(store)
    async with serve(app) as server, trio.open_nursery() as nursery:
        ticket, outcomes = await app.tickets.issue(token(), route="/talk"), list[int | str]()

        async def present() -> None:
            outcomes.append(await outcome(server, f"/talk?ticket={ticket}"))

        for _ in range(2):
            nursery.start_soon(present)
    assert sorted(map(str, outcomes)) == ["401", "ada"]
    assert len(store.asked) == 2


async def test_what_a_store_sees(autojump_clock: MockClock) -> None:
    """No ticket, put or asked for, but its digest; what has no ticket's shape does not reach it."""
    store, jwt = Slow(), token()
    app = with_store(store)
    async with serve(app) as server:
        ticket = await app.tickets.issue(jwt, route="/talk")
        for wrong in ("nonsense", jwt, ticket + "A", ticket[:-1], f"{ticket[:-1]}%C3%A9", "A" * 2000):
            assert await outcome(server, f"/talk?ticket={wrong}") == 401
        assert store.asked == []
        assert await outcome(server, f"/talk?ticket={UNKNOWN}") == 401
        assert await outcome(server, f"/talk?ticket={ticket}") == "ada"
    ((digest, stored),) = store.put_in
    assert store.asked[1:] == [digest]
    assert (stored.token, stored.route) == (jwt, "/talk")
    assert ticket.encode() not in digest + stored.owner
    assert jwt not in repr(stored)


async def test_a_store_that_cannot_be_asked(autojump_clock: MockClock) -> None:
    """Nobody is let in meanwhile: 503, when to try again, and no incident."""
    store = Slow()
    app = with_store(store)
    async with serve(app) as server:
        ticket = await app.tickets.issue(token(), route="/talk")
        store.down = True
        with pytest.raises(Rejected) as refused:
            async with server.connect(f"/talk?ticket={ticket}"):
                pass
        assert (refused.value.status, refused.value.header("Retry-After")) == (503, "3")
        with pytest.raises(Unavailable):
            await app.tickets.issue(token(), route="/talk")
        store.down, store.seconds = False, 3600.0
        assert await outcome(server, f"/talk?ticket={ticket}") == 408


# What it is good for, and how long.


async def test_it_expires(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is good for less than 30 seconds, and the log says why not afterwards."""
    wall, app = Wall.instead_of(monkeypatch), talking()
    with recorded() as log:
        async with serve(app) as server:
            first, second = [await app.tickets.issue(wall.token(600), route="/talk") for _ in range(2)]
            await trio.sleep(LIFETIME - 0.5)
            assert await outcome(server, f"/talk?ticket={first}") == "ada"
            await trio.sleep(0.5)
            assert await outcome(server, f"/talk?ticket={second}") == 401
    assert [line for line in log.ends if "ticket" in line] == []
    assert any("ticket refused: it has expired" in record.getMessage() for record in log.found)


async def test_a_clock_that_is_set(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back makes no ticket good for longer, and one that is set forward ends them all."""
    wall, app = Wall.instead_of(monkeypatch), talking()
    async with serve(app) as server:
        back = await app.tickets.issue(wall.token(9000), route="/talk")
        wall.ahead = -3600.0
        assert await outcome(server, f"/talk?ticket={back}") == 401
        forward = await app.tickets.issue(wall.token(9000), route="/talk")
        wall.ahead = 0.0
        assert await outcome(server, f"/talk?ticket={forward}") == 401


async def test_it_lets_in_for_as_long_as_the_token(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends with the token."""
    wall, app = Wall.instead_of(monkeypatch), talking()
    async with serve(app) as server:
        ticket = await app.tickets.issue(wall.token(10), route="/talk")
        await trio.sleep(5)
        async with server.connect(f"/talk?ticket={ticket}") as client:
            assert await client.receive() == "ada"
            assert await client.wait_closed() == CloseFrame(3000, "lease expired")
            assert trio.current_time() == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("wrong", ["expired", "forged", "nonsense", ""])
async def test_the_token_is_verified_at_the_door(wrong: str, autojump_clock: MockClock) -> None:
    """Whatever the store holds: what has expired meanwhile, what is forged, and what is no token let nobody in."""
    held = {"expired": token(seconds=-1), "forged": token()[:-3] + "abc"}.get(wrong, wrong)
    store, ticket, now = MemoryTickets(), Ticket.drawn(), time.time()
    stored = StoredTicket(token=held, owner=b"ada", route="/talk", expires_at=now + LIFETIME)
    await store.put(ticket.digest, stored, now)
    async with serve(with_store(store)) as server:
        assert await outcome(server, f"/talk?ticket={ticket.text}") == 401


async def test_it_is_revoked_with_the_token(autojump_clock: MockClock) -> None:
    """Revoking the session ends the connection that a ticket has let in, and no ticket of before lets in any more."""
    app = talking()
    async with serve(app) as server:
        tickets = [await app.tickets.issue(token(sid="s1", jti=str(number)), route="/talk") for number in range(2)]
        async with server.connect(f"/talk?ticket={tickets[0]}") as client:
            assert await client.receive() == "ada"
            (found,) = app.sessions.find(session_id="s1")
            assert found.credentials[0].token_id == "0"
            assert await app.sessions.revoke(session_id="s1") == 1
            assert await client.wait_closed() == CloseFrame(3003, "revoked")
        assert await outcome(server, f"/talk?ticket={tickets[1]}") == 401


async def test_it_is_renewed_as_any_other(autojump_clock: MockClock) -> None:
    """By a token, in band and by its session; the guards find that where the ticket was, and the handler never does."""
    seen, app = list[str](), App()

    @check
    async def see(gate: Gate, principal: object) -> None:
        seen.append(gate.handshake.query)

    @app.route("/talk", guard=bearer(verifier, query("ticket")) >> see)
    async def handshaken(conn: Connection[Claims]) -> None:
        await conn.send(conn.handshake.query)
        await talk(conn)

    old, new = token(sid="s1", jti="old", seconds=10), token(sid="s1", jti="new", seconds=100)
    async with serve(app) as server:
        ticket = await app.tickets.issue(old, route="/talk")
        async with server.connect(f"/talk?a=b&ticket={ticket}") as client:
            assert await client.receive() == f"a=b&ticket={ticket}"
            assert await client.receive() == "ada"
            await client.send(new)
            assert await client.receive() == "renewed"
            assert await app.sessions.renew(token(sid="s1", seconds=1000)) == 1
            await client.send(token("eve", sid="s1"))
            assert await client.receive() == "the new token is about another subject"
            other = await app.tickets.issue(old, route="/talk")
            await client.send(other)
            assert "token refused" in str(await client.receive())
            await trio.sleep(900)
            await client.send("nonsense")
            assert "token refused" in str(await client.receive())
        assert (old in seen[0], new in seen[1], ticket in "".join(seen)) == (True, True, False)


async def test_a_ticket_beside_the_token_that_is_renewed(autojump_clock: MockClock) -> None:
    """Where another token has let in first, that one is renewed, and the one of the ticket is verified again."""

    @guard
    async def by_key(gate: Gate, proved: Anonymous) -> Anonymous:
        await gate.admit_by(verifier, gate.handshake.header("x-key") or "")
        return proved

    app = talking(both=by_key >> bearer(verifier, query("ticket")))
    async with serve(app) as server:
        ticket = await app.tickets.issue(token(seconds=50), route="/both")
        async with server.connect(f"/both?ticket={ticket}", headers={"X-Key": token(seconds=20)}) as client:
            assert await client.receive() == "ada"
            await client.send(token(seconds=900))
            assert await client.receive() == "renewed"


# Where it is used up, and where not.


async def test_at_another_route(autojump_clock: MockClock) -> None:
    """It is worth nothing there, and has been used up: whoever reads an address cannot try it where it belongs."""
    app = talking(other=bearer(verifier, query("ticket")), header=bearer(verifier))
    with recorded() as log:
        async with serve(app) as server:
            ticket = await app.tickets.issue(token(), route="/talk")
            assert await outcome(server, f"/header?ticket={ticket}") == 401
            assert await outcome(server, f"/other?ticket={ticket}") == 401
            assert await outcome(server, f"/talk?ticket={ticket}") == 401
            ticket = await app.tickets.issue(token(), route="/other")
            assert await outcome(server, f"/other?ticket={ticket}") == "ada"
    assert any("ticket refused: it is for another route" in record.getMessage() for record in log.found)


@pytest.mark.parametrize("over", EVERYWHERE)
async def test_what_is_refused_before_the_guards(over: Transport) -> None:
    """Another origin, a host that is not ours, a bad handshake, an unknown path: none of them uses it up."""
    app = App(hosts=["localhost"], origins=["https://chat.example"])
    app.route("/talk", guard=bearer(verifier, query("ticket")), subprotocols=["chat"])(talk)
    async with serving(app, over) as place:
        path = f"/talk?ticket={await app.tickets.issue(token(), route='/talk')}"
        assert await place.rejected(request(path, b"Origin: https://evil.example")) == 403
        assert await place.rejected(request(path, host=b"evil.example")) == 421
        assert await place.rejected(request(path, b"Sec-WebSocket-Protocol: bearer.x")) == 400
        assert await place.rejected(request(path).replace(b"Version: 13", b"Version: 8")) == 426
        assert await place.rejected(request("/nowhere" + path)) == 404
        client = await place.dial()
        assert (await client.upgrade(path, b"Origin: https://chat.example")).status == 101
        assert (await client.frame()).payload == b"ada"
        place.hang_up()


async def test_what_is_refused_before_it_is_looked_at(autojump_clock: MockClock) -> None:
    """Two tickets, a ticket beside a token, and a guard in front that refuses: it is good afterwards."""

    @check
    async def polite(gate: Gate, principal: object) -> None:
        if gate.handshake.header("x-please") is None:
            raise Forbidden

    app = talking(front=polite >> bearer(verifier, header(), query("ticket")))
    async with serve(app) as server:
        ticket, please = await app.tickets.issue(token(), route="/front"), {"X-Please": "1"}
        assert await outcome(server, f"/front?ticket={ticket}") == 403
        assert await outcome(server, f"/front?ticket={ticket}&ticket={UNKNOWN}", headers=please) == 401
        assert await outcome(server, f"/front?ticket={ticket}", headers=please | by(token())) == 401
        assert await outcome(server, f"/front?ticket={ticket}", headers=please) == "ada"


async def test_what_is_refused_after_it(autojump_clock: MockClock) -> None:
    """A guard behind it refuses: it has been used up."""

    @check
    async def polite(gate: Gate, principal: object) -> None:
        if gate.handshake.header("x-please") is None:
            raise Forbidden

    app = talking(behind=bearer(verifier, query("ticket")) >> polite)
    async with serve(app) as server:
        ticket = await app.tickets.issue(token(), route="/behind")
        assert await outcome(server, f"/behind?ticket={ticket}") == 403
        assert await outcome(server, f"/behind?ticket={ticket}", headers={"X-Please": "1"}) == 401


# With other guards.


async def test_beside_other_sources(autojump_clock: MockClock) -> None:
    """A route may take tickets and tokens; a wrong ticket is a wrong credential, with which nobody is a stranger."""
    app = talking(
        any=bearer(verifier, header(), query("ticket"), query("token", reusable=True)),
        open=bearer(verifier, query("ticket")) | public,
        said=bearer(verifier, query("ticket"), first_message(ack="in")),
    )
    async with serve(app) as server:
        assert await outcome(server, "/any", headers=by(token())) == "ada"
        assert await outcome(server, f"/any?token={token()}") == "ada"
        assert await outcome(server, f"/any?ticket={token()}") == 401
        ticket = await app.tickets.issue(token(), route="/any")
        assert await outcome(server, f"/any?token={ticket}") == 401
        assert await outcome(server, f"/any?ticket={ticket}") == "ada"
        assert await outcome(server, "/open") == "nobody"
        for wrong in ("/open?ticket", "/open?ticket=", "/open?ticket=x", f"/open?ticket={UNKNOWN}"):
            assert await outcome(server, wrong) == 401
        ticket = await app.tickets.issue(token(), route="/said")
        assert await outcome(server, f"/said?ticket={ticket}") == "ada"
        async with server.connect("/said") as client:
            await client.send(token("eve"))
            assert [await client.receive(), await client.receive()] == ["in", "eve"]


async def test_under_a_mount_and_with_a_close(autojump_clock: MockClock) -> None:
    """A mounted route is named by its whole path, with its placeholders; the ticket is for all rooms of it."""
    inner: Router[Claims] = Router(refuse_with="close")

    @inner.route("/rooms/{room}", guard=inherited(has_scope("chat")), name="room")
    async def rooms(conn: Connection[Claims], room: str) -> None:
        await conn.send(f"{conn.principal.subject} in {room}")

    app = App()
    app.mount("/v1", inner, guard=bearer(verifier, query("ticket")))
    async with serve(app) as server:
        tickets = [await app.tickets.issue(token(scope="chat"), route=named) for named in ("/v1/rooms/{room}", "room")]
        for ticket in tickets:
            assert await outcome(server, f"/v1/rooms/7?ticket={ticket}") == "ada in 7"
        async with server.connect(f"/v1/rooms/7?ticket={tickets[0]}") as client:
            assert await client.wait_closed() == CloseFrame(3000, "unauthorized")


async def test_several_issuers(autojump_clock: MockClock) -> None:
    """One verifier for several issuers, or two guards with tickets of two names: each token is for its own."""

    def verifier_of(issuer: str) -> TokenVerifier[Claims]:
        return TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=issuer)

    here, there = verifier_of("here"), verifier_of("there")
    app = talking(
        one=bearer(by_issuer(here, there), query("ticket")),
        two=bearer(here, query("here")) | bearer(there, query("there")),
    )
    async with serve(app) as server:
        for issuer, other in (("here", "there"), ("there", "here")):
            presented = token(iss=issuer)
            ticket = await app.tickets.issue(presented, route="/one")
            assert await outcome(server, f"/one?ticket={ticket}") == "ada"
            ticket = await app.tickets.issue(presented, route="/two")
            assert await outcome(server, f"/two?{issuer}={ticket}") == "ada"
            ticket = await app.tickets.issue(presented, route="/two")
            assert await outcome(server, f"/two?{other}={ticket}") == 401
        with pytest.raises(Unauthorized):
            await app.tickets.issue(token(iss="elsewhere"), route="/two")


async def test_two_apps_with_one_store(autojump_clock: MockClock) -> None:
    """One issues, the other takes at the route of the same path; an app with another store knows none of them."""
    store = MemoryTickets()
    here, there = with_store(store), with_store(store)
    async with serve(there) as server:
        ticket = await here.tickets.issue(token(), route="/talk")
        assert await outcome(server, f"/talk?ticket={ticket}") == "ada"
        alone = await talking().tickets.issue(token(), route="/talk")
        assert await outcome(server, f"/talk?ticket={alone}") == 401


async def test_a_guard_that_hides_it(autojump_clock: MockClock) -> None:
    """A guard of an application's own that calls another has to say that tickets are taken; else it is told to."""
    inside = bearer(verifier, query("ticket"))

    class Around(Guard[Anonymous, Claims]):
        async def admit(self, gate: Gate, proved: Anonymous, /) -> Claims:
            return await inside.admit(gate, proved)

    class Saying(Around):
        def takes_tickets(self) -> tuple[TicketTaker, ...]:
            return inside.takes_tickets()

    app = talking(around=Around(), saying=Saying())

    @app.page("/page", guard=Around())
    async def page(asked: Request[Claims]) -> Response:
        return Response("in")

    with recorded() as log:
        async with serve(app) as server:
            assert await outcome(server, f"/around?ticket={UNKNOWN}") == 500
            ticket = await app.tickets.issue(token(), route="/saying")
            assert await outcome(server, f"/saying?ticket={ticket}") == "ada"
            client = RawClient(server.open_stream())
            await client.send(f"GET /page?ticket={UNKNOWN} HTTP/1.1\r\nHost: seawall.test\r\n\r\n".encode())
            assert (await client.last_response()).status == 500
    said = "".join(record.getMessage() + str(record.exc_info) for record in log.found)
    assert "let takes_tickets() of the guard" in said
    assert "behind a PageGate, which takes no tickets" in said


async def test_nothing_is_written() -> None:
    """Neither ticket nor token is in any line of the log, at any level, nor in a repr of what a guard can see."""
    said, jwt, tickets = list[str](), token(), list[str]()

    @check
    async def look(gate: Gate, principal: object) -> None:
        said.extend((repr(gate), repr(gate.handshake), repr(principal)))

    @check
    async def fail(gate: Gate, principal: object) -> None:
        raise ValueError(f"{gate!r} {gate.handshake!r} {gate.handshake.query}")

    app = App()
    door = bearer(verifier, query("door")) >> look
    app.route("/talk", guard=door)(talk)
    app.route("/fail", guard=door >> fail)(talk)
    app.route("/close", guard=door, refuse_with="close")(talk)
    with everything() as log:
        async with serving(app) as place:
            for path in ("/talk", "/fail", "/close"):
                ticket = await app.tickets.issue(jwt, route=path)
                tickets.append(ticket)
                once, written = f"{path}?door={ticket}", f"{path}?do%6Fr={ticket}x"
                for asked in (once, once, written, f"/?door={ticket}"):
                    client = await place.dial()
                    await client.send(request(asked))
                    await client.response()
                    client.close()
        said.extend((repr(app.tickets), repr(vars(app.tickets)), repr(app)))
    texts = [*log.texts, *said]
    assert len(texts) > 50
    for secret in (*tickets, *jwt.split(".")[1:]):
        assert [text for text in texts if secret in text] == []
