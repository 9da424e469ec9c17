"""Sessions of an application that is its own issuer: what `seawall` itself does not export.

::

    from seawall import bearer
    from seawall.sessions import TokenIssuer

    issuer = TokenIssuer(secret, issuer="https://chat.example", audience="chat")
    member = bearer(issuer.verifier)
"""

from __future__ import annotations

from seawall.errors import RefreshTokenReused
from seawall.guards.jwt.signing import SigningKey
from seawall.login.issuer import TokenIssuer, Tokens
from seawall.login.memory_sessions import MemorySessions
from seawall.login.session_store import Reused, Rotated, Rotation, SessionStore, StoredSession, rotate

__all__ = [
    "MemorySessions",
    "RefreshTokenReused",
    "Reused",
    "Rotated",
    "Rotation",
    "SessionStore",
    "SigningKey",
    "StoredSession",
    "TokenIssuer",
    "Tokens",
    "rotate",
]
