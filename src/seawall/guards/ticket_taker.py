"""`TicketTaker`: where a guard takes a ticket, and what verifies the token that it stands for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from attrs import frozen

from seawall.errors import ConfigurationError
from seawall.guards.jwt.claims import AnyClaims
from seawall.guards.jwt.verifier import TokenVerifier


@final
@frozen
class TicketTaker:
    """Where a guard takes a ticket, and what verifies the token that it stands for."""

    parameter: str
    """The name of the parameter of the query."""
    verifier: TokenVerifier[AnyClaims]


def check_takers(takers: Iterable[TicketTaker]) -> None:
    """Refuse a chain of guards in which two would take one ticket.

    Raises:
      ConfigurationError: it is one.
    """
    names = [taker.parameter for taker in takers]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"two guards take the ticket in the query's {name!r}, and it is good for one of them; give one guard "
                f"both verifiers, bearer(by_issuer(first, second), query({name!r})), or the tickets two names"
            )
