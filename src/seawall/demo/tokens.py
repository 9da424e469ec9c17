"""Tokens to try things with: a secret that lives as long as the process, and what it signs."""

from __future__ import annotations

import math
import secrets
import time
from typing import Final, final

import jwt
from attrs import Factory, field, frozen

from seawall.guards.jwt.verifier import TokenVerifier

AUDIENCE: Final = "seawall-demo"
ISSUER: Final = "seawall-demo"

#: What no verifier takes for a token.
GARBAGE: Final = "this-is.not-a.token"


@final
@frozen(kw_only=True)
class Issuer:
    """Signs tokens for the demo, and says how they are verified."""

    secret: str = field(default=Factory(lambda: secrets.token_urlsafe(32)), repr=False)

    @property
    def verifier(self) -> TokenVerifier:
        """Accepts the tokens of this issuer, and no others."""
        return TokenVerifier(self.secret, algorithms=("HS256",), audience=AUDIENCE, issuer=ISSUER)

    def issue(self, seconds: float) -> str:
        """A token, of a session of its own, for `seconds`, rounded up to a full second; expired if that is negative."""
        expires_at = math.ceil(time.time() + seconds)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "visitor",
            "sid": secrets.token_hex(8),
            "iat": min(math.floor(time.time()), expires_at - 60),
            "exp": expires_at,
        }
        return jwt.encode(claims, self.secret, algorithm="HS256")
