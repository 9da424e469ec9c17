"""What must not check about tickets. Each line is an error to both checkers, for the reason that stands behind it."""

from __future__ import annotations

from seawall import App, Claims, Connection, Request, Response, bearer
from seawall.sessions import MemoryTickets, StoredTicket, Tickets
from seawall.tokens import query
from tests.typing.tickets import door, here
from tests.typing.tokens import Member, members

app = App()


class Blocking:
    """A store that does not let others go on."""

    def put(self, digest: bytes, ticket: StoredTicket, now: float, /) -> None: ...

    def take(self, digest: bytes, /) -> StoredTicket | None: ...


class Forgetful:
    """A store that nothing can be taken from."""

    async def put(self, digest: bytes, ticket: StoredTicket, now: float, /) -> None: ...


class OfTokens:
    """A store that was written for something else."""

    async def put(self, digest: bytes, ticket: StoredTicket, now: float, /) -> None: ...

    async def take(self, digest: bytes, /) -> str | None: ...


App(tickets=MemoryTickets)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # called
App(tickets=Blocking())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # its methods are not async
App(tickets=Forgetful())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a method is missing
App(tickets=OfTokens())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it gives a text
App(tickets=10_000)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a store, not a number
MemoryTickets(10_000)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a bound of what? by keyword
MemoryTickets(per_subject="10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number
Tickets()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # an app makes it
StoredTicket("token", b"", "/", 0.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by keyword
StoredTicket(token=b"token", owner=b"", route="/", expires_at=0.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a token is a text
app.tickets = here.tickets  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # App(tickets=...) takes a store
bearer(members, query("ticket", once=True))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportUnknownArgumentType]  # that is what it is
bearer(members, app.tickets)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # query("ticket") is the source


@app.route("/", guard=door)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a ticket proves what its token does
async def of_a_ticket(conn: Connection[str]) -> None: ...


@app.page("/ticket", guard=bearer(members))
async def issue(request: Request[Member]) -> Response:
    await app.tickets.issue("token")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # for which route?
    await app.tickets.issue("token", "/")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by keyword
    await app.tickets.issue("token", route=of_a_ticket)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # its path
    await app.tickets.issue(request.principal, route="/")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # claims are no token
    await app.tickets.issue(request.handshake.cookie("token"), route="/")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # there may be none
    await app.tickets.issue("token", route="/", lifetime=3600)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # 30 seconds
    return Response(app.tickets.issue("token", route="/"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not awaited


async def prove(claims: Claims) -> None:
    await app.tickets.redeem("ticket")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # the door does that
