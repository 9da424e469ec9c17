"""Tokens for the tests that let somebody in by one; what is in a token's bytes is for `tests.guards.test_tokens`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TypeVar

import jwt
import trio

from seawall import TokenVerifier, any_audience, any_issuer
from seawall.guards.jwt.claims import AnyClaims

C = TypeVar("C", bound=AnyClaims)

SECRET = "a secret that is long enough for all the tokens of these tests"

verifier = TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer)

about_anything = TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, claims=AnyClaims)
"""Also takes tokens about nobody."""


def token(subject: str | None = "ada", /, *, seconds: float = 60.0, **claims: object) -> str:
    """A token that is good for so many seconds from now; a claim that is None is left out."""
    now = time.time()
    return signed({"sub": subject, "exp": now + seconds, "iat": now} | claims)


def signed(claims: Mapping[str, object], secret: str = SECRET) -> str:
    """A token of these claims, but for those that are None."""
    payload = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(payload, secret, algorithm="HS256")


def verified(presented: str, verifier: TokenVerifier[C]) -> C:
    """The claims of a token, in a run of Trio's own."""
    return trio.run(verifier.verify, presented)


def by(presented: str) -> dict[str, str]:
    """The header that presents a token."""
    return {"Authorization": f"Bearer {presented}"}
