"""`TokenGate`: a gate that guards tell where they found the token, for a renewal."""

from __future__ import annotations

from abc import abstractmethod

from seawall.guards.gate import Gate
from seawall.guards.lease_terms import LeaseTerms
from seawall.guards.token_source import TokenSource


class TokenGate(Gate):
    """A `Gate` of Seawall's own, which guards that take a token tell where they found it."""

    @abstractmethod
    def verified(self, source: TokenSource) -> None:
        """Note that the token from `source` has been verified. In a chain with several, the first one counts."""

    @abstractmethod
    def agree(self, terms: LeaseTerms) -> None:
        """Keep to `terms`, from when the connection is let in; in a renewal those of the first time hold."""

    @property
    @abstractmethod
    def speaks_json(self) -> bool:
        """Whether the messages of the route are JSON."""

    @abstractmethod
    def renewed_message(self) -> str | None:
        """What stands in place of the first message, when the connection is renewed; None if that is to be awaited."""
