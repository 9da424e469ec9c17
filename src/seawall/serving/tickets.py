"""`Tickets`: issues what a client presents once in place of a token; and `Redeemer`, which takes it at the door."""

from __future__ import annotations

from contextlib import suppress
from typing import final

import trio
from attrs import frozen

from seawall.clock import unix_time
from seawall.connection.ticket import Ticket, owner_of
from seawall.connection.ticket_store import LIFETIME, StoredTicket, TicketStore, has_ended
from seawall.errors import ConfigurationError, Unauthorized
from seawall.guards.jwt.claims import AnyClaims
from seawall.guards.ticket_taker import TicketTaker
from seawall.guards.token_source import is_token
from seawall.mistakes import check_methods, is_text
from seawall.one_run import OneRun
from seawall.routing.route import RouteEntry


@final
class Tickets:
    """Tickets for the routes of an app that take them, which are those with `query` among the sources of `bearer`.

    ::

        @app.page("/ticket", methods=["POST"], guard=bearer(verifier))
        async def ticket(request: Request[Claims]) -> Response:
            _, _, token = (request.handshake.header("authorization") or "").partition(" ")
            return Response(await app.tickets.issue(token, route="/chat"))


        @app.route("/chat", guard=bearer(verifier, query("ticket")))
        async def chat(conn: Connection[Claims]) -> None: ...

    There may be 10,000 that have neither been presented nor ended, and ten of one subject.
    """

    def __init__(self, store: TicketStore, run: OneRun) -> None:
        """Begin with no routes.

        Args:
          store: keeps the tickets.
          run: in which the app is served.

        Raises:
          ConfigurationError: it is no store.
        """
        check_methods("App(tickets=...)", store, "put", "take")
        self._store = store
        self._run = run
        self._by_path: dict[str, RouteEntry] = {}
        self._by_name: dict[str, list[RouteEntry]] = {}

    async def issue(self, token: str, *, route: str) -> str:
        """A ticket that stands for `token`: 43 characters, as they may stand in an address.

        It is good for 30 seconds, once, at this route. Whoever presents it there has used it up, also if it is refused
        then; a connection that is refused before the guards are asked, because of its origin for instance, leaves it
        as it was. At the door the token is verified, so that a ticket lets nobody in who could not have presented the
        token: one that has expired or has been revoked meanwhile does not, and a connection ends when its token does.

        The token is verified here, too, so that nobody has a ticket for a forged one, or uses up what another may have.

        Args:
          token: what the ticket stands for.
          route: the path of the route, with its placeholders, such as ``/rooms/{room}``; or its name.

        Raises:
          Unauthorized: the route's guards would not take the token.
          TooManyRequests: its subject has ten tickets that have neither been presented nor ended.
          Unavailable: there are 10,000 of them, the store cannot be asked, or a key cannot be fetched.
          ConfigurationError: the app has no such route, or more than one of the name; the route takes no tickets; or
            this is another thread than that of the app.
        """
        if not trio.lowlevel.in_trio_task():
            raise ConfigurationError("tickets.issue() outside of Trio's thread; call it with trio.from_thread.run()")
        if self._run.is_elsewhere():
            raise ConfigurationError(
                "tickets.issue() in another thread than the one in which the app is served; have it called there, by "
                "trio.from_thread.run()"
            )
        await trio.lowlevel.checkpoint()
        entry = self._entry(route)
        if not is_token(token):
            raise Unauthorized("token refused: it has characters that no token has")
        claims = await _verified(entry.takes_tickets, token)
        ticket, now = Ticket.drawn(), unix_time()
        stored = StoredTicket(
            token=token,
            owner=owner_of(claims.issuer, claims.subject, token),
            route=entry.pattern.text,
            expires_at=now + LIFETIME,
        )
        await self._store.put(ticket.digest, stored, now)
        return ticket.text

    def _entry(self, route: str) -> RouteEntry:
        """The route of this path or this name, if it takes tickets."""
        if not is_text(route):
            raise ConfigurationError(f"tickets.issue(route={route!r}): give the path of a route, such as '/chat'")
        named = self._by_name.get(route, [])
        entry = self._by_path.get(route) or (named[0] if len(named) == 1 else None)
        if entry is None:
            raise ConfigurationError(f"tickets.issue(route={route!r}): {self._missing(named)}")
        if not entry.takes_tickets:
            raise ConfigurationError(
                f"tickets.issue(route={route!r}): the route takes no tickets; name query('ticket') among the sources "
                "of its bearer(...)"
            )
        return entry

    def _missing(self, named: list[RouteEntry]) -> str:
        """What to do about a route that is not found."""
        if named:
            return f"this app has {len(named)} routes of this name; give the path, such as {named[0].pattern.text!r}"
        taking = ", ".join(repr(path) for path, entry in self._by_path.items() if entry.takes_tickets)
        if taking:
            return f"this app has no such route; those that take tickets are {taking}"
        return "this app has no such route, and none that takes tickets; a ticket is issued by the app that takes it"


def add_route(tickets: Tickets, entry: RouteEntry) -> None:
    """Let tickets be issued for this route, which is one of the app's."""
    tickets._by_path[entry.pattern.text] = entry  # pyright: ignore[reportPrivateUsage] # it is this module's
    tickets._by_name.setdefault(entry.name, []).append(entry)  # pyright: ignore[reportPrivateUsage] # as above


async def _verified(takers: tuple[TicketTaker, ...], token: str) -> AnyClaims:
    """The claims of `token`, verified by the first of `takers` whose verifier takes it. Raises as the last does."""
    *others, last = takers
    for taker in others:
        with suppress(Unauthorized):
            return await taker.verifier.verify(token)
    return await last.verifier.verify(token)


@final
@frozen(eq=False)
class Redeemer:
    """Exchanges the tickets of one route for the tokens that they stand for."""

    store: TicketStore
    route: str
    """Its path."""

    async def redeem(self, text: str) -> str:
        """The token, which has yet to be verified. No other call gets it for this ticket.

        Raises:
          Unauthorized: it is no ticket for this route, has been presented before, or has ended.
          Unavailable: the store cannot be asked.
        """
        stored = await self.store.take(Ticket.parsed(text).digest)
        if stored is None:
            raise Unauthorized("ticket refused: there is none like it, or it was presented before")
        if has_ended(stored.expires_at, unix_time()):
            raise Unauthorized("ticket refused: it has expired")
        if stored.route != self.route:
            raise Unauthorized("ticket refused: it is for another route")
        return stored.token


def redeemer_of(store: TicketStore, entry: RouteEntry) -> Redeemer | None:
    """What takes the tickets of a route; None if it has none."""
    return Redeemer(store, entry.pattern.text) if entry.takes_tickets else None
