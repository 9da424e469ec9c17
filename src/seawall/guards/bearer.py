"""`bearer`: the guard that proves claims from a token."""

from __future__ import annotations

from typing import TypeVar, final

from attrs import frozen

from seawall.errors import ConfigurationError, NoCredentials, Unauthorized
from seawall.guards.auth_message import token_in
from seawall.guards.gate import Gate
from seawall.guards.guard import Anonymous, Guard
from seawall.guards.jwt.claims import AnyClaims
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.guards.requirements import Requirements
from seawall.guards.service import Service
from seawall.guards.sources import Cookie, FirstMessage, header
from seawall.guards.token_gate import TokenGate
from seawall.guards.token_source import TokenSource

C = TypeVar("C", bound=AnyClaims)


def bearer(verifier: TokenVerifier[C], /, *sources: TokenSource) -> Guard[Anonymous, C]:
    """Take a token from one of `sources`, verify it, and prove its claims.

    The connection is leased until the token expires, and can be renewed with `Connection.renew`: then the new token
    stands where the old one was found.

    Args:
      verifier: says which tokens are good.
      sources: where a client may present its token, such as `seawall.tokens.cookie`; ``Authorization: Bearer`` if none
        is named. Tokens in two of them are refused.

    Raises:
      ConfigurationError: one of the arguments is not what it should be; a source stands behind
        `seawall.tokens.first_message`, or there are two alike.
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
    return _Bearer(verifier, sources or (header(),))


@final
@frozen
class _Bearer(Guard[Anonymous, C]):
    verifier: TokenVerifier[C]
    sources: tuple[TokenSource, ...]

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
        claims = await self.verifier.verify(token)
        if isinstance(gate, TokenGate):
            gate.verified(source)
        # By so much may a date in the token be ahead of our clock, or past.
        gate.identify(claims, skew=max(self.verifier.skew, self.verifier.leeway))
        gate.lease(expires_at=claims.expires_at + self.verifier.leeway)
        return claims

    def describe(self) -> Requirements:
        return tuple((source.describe(),) for source in self.sources)

    def needs_task(self) -> bool:
        return False

    def reads_cookie(self) -> bool:
        return any(isinstance(source, Cookie) for source in self.sources)

    def takes_token(self) -> bool:
        return True

    def services(self) -> tuple[Service, ...]:
        return self.verifier.services()

    def accepts(self) -> bool:
        return isinstance(self.sources[-1], FirstMessage)

    def may_find_nothing(self) -> bool:
        # Without a first message the peer has gone, or the time for authentication has passed.
        return not self.accepts()


async def _first_message(gate: Gate) -> str:
    await gate.accept()
    token = gate.renewed_message() if isinstance(gate, TokenGate) else None
    if token is not None:
        return token
    token = (await gate.receive_text()).strip(" \t\r\n")
    return token_in(token) if isinstance(gate, TokenGate) and gate.speaks_json else token


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
