"""Where tokens come from and how they are verified: what `seawall` itself does not export.

::

    from seawall import TokenVerifier, bearer
    from seawall.tokens import cookie, header

    member = bearer(verifier, header(), cookie("__Host-session"))
"""

from __future__ import annotations

from seawall.guards.jwt.claims import AnyClaims, Claims
from seawall.guards.jwt.keys import Algorithm
from seawall.guards.jwt.verifier import TokenVerifier, any_audience, any_issuer
from seawall.guards.service import Service
from seawall.guards.sources import cookie, first_message, header
from seawall.guards.token_source import TokenSource

__all__ = [
    "Algorithm",
    "AnyClaims",
    "Claims",
    "Service",
    "TokenSource",
    "TokenVerifier",
    "any_audience",
    "any_issuer",
    "cookie",
    "first_message",
    "header",
]
