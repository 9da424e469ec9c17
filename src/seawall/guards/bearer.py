"""`bearer`: the guard that proves claims from a token."""

from __future__ import annotations

from typing import TypeVar, final

from attrs import frozen

from seawall.errors import ConfigurationError, NoCredentials, Unauthorized
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Guard
from seawall.guards.jwt.claims import AnyClaims
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.guards.lease_terms import LeaseTerms
from seawall.guards.requirements import CookieKey, Requirements
from seawall.guards.service import Service
from seawall.guards.sources import FirstMessage, Query, TicketQuery, header
from seawall.guards.ticket_taker import TicketTaker
from seawall.guards.token_gate import Presented, TokenGate
from seawall.guards.token_source import TokenSource
from seawall.messages.codec import Sendable

C = TypeVar("C", bound=AnyClaims)


def bearer(
    verifier: TokenVerifier[C],
    /,
    *sources: TokenSource,
    warn: Sendable | None = None,
    max_age: float | None = None,
) -> Guard[Anonymous, C]:
    """Take a token from one of `sources`, verify it, and prove its claims.

    The connection is leased until the token expires, and can be renewed with `Connection.renew`: then the new token
    stands where the old one was found.

    Args:
      verifier: says which tokens are good.
      sources: where a client may present its token, such as `seawall.tokens.cookie`; ``Authorization: Bearer`` if none
        is named. Tokens in two of them are refused.
      warn: is sent to the peer ``Limits.lease_warning`` seconds before the connection ends because of its lease, so
        that it can send a new token: text, or a value as `Connection.send` takes it. Once for each lease; not to a peer
        for whom more is waiting than ``Limits.outbound_buffer``.
      max_age: for how many seconds the connection may be renewed, counted from when it was let in. Then it ends as if
        the token had expired, with 3000, and its user has to log in again. None means for ever.

    Raises:
      ConfigurationError: one of the arguments is not what it should be; a source stands behind
        `seawall.tokens.first_message`, or there are two alike; no message can carry `warn`; `max_age` is no number of
        seconds.
    """
    _check_verifier(verifier)
    for source in sources:
        _check_source(source)
    for at, source in enumerate(sources):
        if source in sources[:at]:
            raise ConfigurationError(f"bearer(): {source} is named twice; name each source once")
        if isinstance(source, FirstMessage) and at < len(sources) - 1:
            raise ConfigurationError(
                "bearer(): first_message() waits for a token, so that what stands behind it would never be looked at; "
                "name it last"
            )
    _check_parameters([source.name for source in sources if isinstance(source, Query)])
    return _Bearer(verifier, sources or (header(),), LeaseTerms.parse(warn, max_age))


@final
@frozen
class _Bearer(Guard[Anonymous, C]):
    verifier: TokenVerifier[C]
    sources: tuple[TokenSource, ...]
    terms: LeaseTerms

    async def admit(self, gate: Gate, proved: Anonymous, /) -> C:
        asked = gate.handshake
        found = [(source, token) for source in self.sources if (token := source.find(asked)) is not None]
        if len(found) > 1:
            raise Unauthorized("tokens in more than one place")
        if found:
            ((source, token),) = found
        elif self.accepts():
            source, token = self.sources[-1], await _first_message(gate)
        else:
            raise NoCredentials
        if isinstance(gate, TokenGate):
            return await gate.take(self.verifier, Presented(token, source, self.terms))
        if isinstance(source, TicketQuery):
            raise ConfigurationError(
                f"query({source.name!r}) behind a {type(gate).__name__}, which takes no tickets: they are for the "
                "routes of an app; name another source, such as header()"
            )
        return await gate.admit_by(self.verifier, token)

    def describe(self) -> Requirements:
        return tuple((source.describe(),) for source in self.sources)

    def needs_task(self) -> bool:
        return False

    def reads_cookie(self) -> bool:
        return any(isinstance(source.describe().scheme, CookieKey) for source in self.sources)

    def takes_token(self) -> bool:
        return True

    def takes_tickets(self) -> tuple[TicketTaker, ...]:
        return tuple(TicketTaker(one.name, self.verifier) for one in self.sources if isinstance(one, TicketQuery))

    def services(self) -> tuple[Service, ...]:
        return self.verifier.services()

    def accepts(self) -> bool:
        return isinstance(self.sources[-1], FirstMessage)

    def may_find_nothing(self) -> bool:
        # Without a first message the peer has gone, or the time for authentication has passed.
        return not self.accepts()


async def _first_message(gate: Gate) -> str:
    if isinstance(gate, TokenGate):
        return await gate.first_message()
    await gate.accept()
    return await gate.receive_text()


def _check_verifier(verifier: object) -> None:
    """Refuse what a type checker would. Most likely it is the secret, so the text does not show it."""
    if not isinstance(verifier, TokenVerifier):
        raise ConfigurationError(
            f"bearer() was given a {type(verifier).__name__}; give a verifier, which says what tokens have to name: "
            'bearer(TokenVerifier(secret, algorithms=["HS256"], audience="chat", issuer="https://id.example"))'
        )


def _check_source(source: object) -> None:
    if not isinstance(source, TokenSource):
        raise ConfigurationError(
            f"bearer() was given a {type(source).__name__} as a source; give some of seawall.tokens, such as "
            "header(), cookie('__Host-session') or first_message()"
        )


def _check_parameters(names: list[str]) -> None:
    """Refuse a parameter of the query that would be a ticket and a token: each request had two of them."""
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"bearer(): the query's {name!r} is to be a ticket and a token; give them two names, such as "
                "query('ticket') and query('token', reusable=True)"
            )
