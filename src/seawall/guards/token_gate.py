"""`TokenGate`: a gate that is told where a token was found, so that a renewal can put the new one there."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final, TypeVar, final

from attrs import field, frozen

from seawall.guards.gate import Gate
from seawall.guards.jwt.claims import AnyClaims
from seawall.guards.jwt.verifier import TokenVerifier
from seawall.guards.lease_terms import LeaseTerms
from seawall.guards.token_source import TokenSource

C = TypeVar("C", bound=AnyClaims)

_NOTHING_AGREED: Final = LeaseTerms()


@final
@frozen
class Presented:
    """A token, as a client presents it."""

    token: str = field(repr=False)
    source: TokenSource | None = None
    """Where it was found; None if a guard of an application has found it."""
    terms: LeaseTerms = _NOTHING_AGREED
    """What is agreed about the lease, beside its end."""


@final
@frozen
class Taken:
    """By which token a connection was let in: the one that a renewal replaces."""

    verifier: TokenVerifier[AnyClaims]
    source: TokenSource | None
    at: int
    """Its place among the tokens that were presented to the guards, counted from 1."""

    def is_by(self, other: Taken) -> bool:
        """Whether `other` was verified by the same verifier, in the same place of the chain, from the same source."""
        return self.verifier is other.verifier and self.source == other.source and self.at == other.at


class TokenGate(Gate):
    """A `Gate` of Seawall's own, over which a connection is let in or renewed by a token."""

    @abstractmethod
    async def take(self, verifier: TokenVerifier[C], presented: Presented, /) -> C:
        """As `admit_by`, for a token of which more is known."""

    @abstractmethod
    async def first_message(self) -> str:
        """The token that is presented as the first message, for which the upgrade is accepted.

        Raises:
          Unauthorized: the message is binary, or no token.
          Disconnected: the peer has gone.
        """

    async def admit_by(self, verifier: TokenVerifier[C], token: str, /) -> C:
        """Let in by a token that a guard of an application has found."""
        return await self.take(verifier, Presented(token))


async def admit(gate: Gate, verifier: TokenVerifier[C], token: str) -> C:
    """Verify `token`, and tell `gate` what it says. Raises as `Gate.admit_by`."""
    proof = await verifier.prove(token)
    gate.identify(proof.claims, skew=proof.skew)
    gate.lease(expires_at=proof.ends_at)
    return proof.claims
