"""What must check about tickets: issuing them, routes that take them, and stores."""

from __future__ import annotations

from typing import assert_type

from seawall import Anonymous, App, Connection, Guard, Request, Response, bearer
from seawall.sessions import MemoryTickets, StoredTicket, Tickets, TicketStore
from seawall.tokens import TokenSource, header, query
from tests.typing.tokens import Member, members


class Store:
    """Everything that a store has to have."""

    async def put(self, digest: bytes, ticket: StoredTicket, now: float, /) -> None: ...

    async def take(self, digest: bytes, /) -> StoredTicket | None: ...


stored: TicketStore = Store()
memory: TicketStore = MemoryTickets(at_most=1000, per_subject=3)
app = App(tickets=Store())
here = App(tickets=memory)
door = bearer(members, header(), query("ticket"))

assert_type(query("ticket"), TokenSource)
assert_type(door, Guard[Anonymous, Member])
assert_type(app.tickets, Tickets)


@app.route("/chat", guard=door)
async def chat(conn: Connection[Member]) -> None: ...


@app.page("/ticket", methods=["POST"], guard=bearer(members))
async def issue(request: Request[Member]) -> Response:
    _, _, token = (request.handshake.header("authorization") or "").partition(" ")
    return Response(assert_type(await app.tickets.issue(token, route="/chat"), str))


async def taken(store: TicketStore) -> None:
    ticket = await store.take(b"digest")
    if ticket is not None:
        assert_type(ticket, StoredTicket)
        assert_type(ticket.token, str)
        await store.put(b"another", ticket, ticket.expires_at)
