"""Who is connected or logged in, and what has been revoked or issued: what `seawall` itself does not export.

::

    from seawall import bearer
    from seawall.sessions import SessionClosed, SessionOpened, TokenIssuer, login_page

    issuer = TokenIssuer(secret, issuer="https://chat.example", audience="chat")
    login = login_page(app, "/session", authenticate, issuer)
    member = bearer(issuer.verifier, login.cookie)

    async with app.sessions.watch() as events:
        async for event in events:
            ...
"""

from __future__ import annotations

from seawall.connection.revocation_store import MemoryRevocations, Revocation, RevocationStore
from seawall.connection.session_events import (
    HeldCredential,
    Lagged,
    SessionClosed,
    SessionEvent,
    SessionInfo,
    SessionOpened,
)
from seawall.connection.sessions import Sessions
from seawall.connection.ticket_store import MemoryTickets, StoredTicket, TicketStore
from seawall.errors import RefreshTokenReused
from seawall.guards.connection_limit import limit_connections
from seawall.guards.jwt.signing import SigningKey
from seawall.login.attempts import LoggedIn
from seawall.login.issuer import TokenIssuer, Tokens
from seawall.login.limits import LoginLimits
from seawall.login.memory_sessions import MemorySessions
from seawall.login.page import LoginPage, login_page
from seawall.login.session_store import Reused, Rotated, Rotation, SessionStore, StoredSession, rotate
from seawall.serving.tickets import Tickets
from seawall.sqlite.revocations import SqliteRevocations
from seawall.sqlite.sessions import SqliteSessions
from seawall.sqlite.tickets import SqliteTickets

__all__ = [
    "HeldCredential",
    "Lagged",
    "LoggedIn",
    "LoginLimits",
    "LoginPage",
    "MemoryRevocations",
    "MemorySessions",
    "MemoryTickets",
    "RefreshTokenReused",
    "Reused",
    "Revocation",
    "RevocationStore",
    "Rotated",
    "Rotation",
    "SessionClosed",
    "SessionEvent",
    "SessionInfo",
    "SessionOpened",
    "SessionStore",
    "Sessions",
    "SigningKey",
    "SqliteRevocations",
    "SqliteSessions",
    "SqliteTickets",
    "StoredSession",
    "StoredTicket",
    "TicketStore",
    "Tickets",
    "TokenIssuer",
    "Tokens",
    "limit_connections",
    "login_page",
    "rotate",
]
