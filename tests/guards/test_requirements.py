"""`describe`: what a chain of guards asks for, in words and as a security scheme."""

from __future__ import annotations

import pytest
from attrs import frozen

from seawall import (
    Anonymous,
    Check,
    Claims,
    Gate,
    Guard,
    bearer,
    check,
    guard,
    has_scope,
    inherited,
    public,
)
from seawall.guards.requirements import CookieKey, FirstMessage, HttpBearer, Requirement, Requirements
from seawall.tokens import cookie, first_message, header
from tests.kit.tokens import verifier

HEADER = Requirement(text="a token in Authorization: Bearer", scheme=HttpBearer())
COOKIE = Requirement(text="a token in the cookie session", scheme=CookieKey("session"))
MESSAGE = Requirement(text="a token as the first message", scheme=FirstMessage())
SCOPES = Requirement(text="the scopes chat:read, chat:write", scopes=("chat:read", "chat:write"))
SENIOR = Requirement(text="The user has been here for a year.")
USER = Requirement(text="load user")
ROW = Requirement(text="A row of the table of users.")
NAMED = Requirement(text="Named")

token = bearer(verifier)
scopes = has_scope("chat:write", "chat:read")


@check
async def senior(gate: Gate, principal: object) -> None:
    """The user has been here for a year.

    Which the peer need not read.
    """


@guard
async def load_user(gate: Gate, principal: Claims) -> str:  # noqa: D103 - without one, on purpose
    return principal.subject or ""


@frozen
class Row(Guard[object, str]):
    """A row of the table of users."""

    async def admit(self, gate: Gate, proved: object, /) -> str:
        """Give it."""
        return "row"


@frozen
class Named(Check[object]):  # noqa: D101 - without one, on purpose
    async def inspect(self, gate: Gate, principal: object, /) -> None:
        """Let everybody through."""


@pytest.mark.parametrize(
    ("step", "requirements"),
    [
        (public, ((),)),
        (token, ((HEADER,),)),
        (bearer(verifier, header(), cookie("session")), ((HEADER,), (COOKIE,))),
        (bearer(verifier, first_message()), ((MESSAGE,),)),
        (scopes, ((SCOPES,),)),
        (has_scope("a"), ((Requirement(text="the scope a", scopes=("a",)),),)),
        (senior, ((SENIOR,),)),
        (load_user, ((USER,),)),
        (Row(), ((ROW,),)),
        (Named(), ((NAMED,),)),
        (senior >> Named(), ((SENIOR, NAMED),)),
        (token >> scopes >> load_user, ((HEADER, SCOPES, USER),)),
        (senior >> public, ((SENIOR,),)),
        (inherited(), ((),)),
        (inherited(senior, Named()), ((SENIOR, NAMED),)),
        (token | public, ((HEADER,), ())),
        (token >> scopes >> senior | public, ((HEADER, SCOPES, SENIOR), ())),
        (token >> load_user | bearer(verifier, first_message()) >> load_user, ((HEADER, USER), (MESSAGE, USER))),
        (bearer(verifier, header(), cookie("session")) >> senior, ((HEADER, SENIOR), (COOKIE, SENIOR))),
        (senior >> token | public, ((SENIOR, HEADER), ())),
    ],
)
def test_what_a_chain_asks_for(step: Guard[Anonymous, object] | Check[object], requirements: Requirements) -> None:
    """Each of its steps, in order; with ``|`` the alternatives."""
    assert step.describe() == requirements
