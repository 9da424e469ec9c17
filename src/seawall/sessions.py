"""Who is connected, and what has been revoked: what `seawall` itself does not export.

::

    from seawall.sessions import Lagged, SessionClosed, SessionOpened

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
from seawall.guards.connection_limit import limit_connections

__all__ = [
    "HeldCredential",
    "Lagged",
    "MemoryRevocations",
    "Revocation",
    "RevocationStore",
    "SessionClosed",
    "SessionEvent",
    "SessionInfo",
    "SessionOpened",
    "Sessions",
    "limit_connections",
]
