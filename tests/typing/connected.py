"""Who is connected, and what is revoked: what is found, what is told, and what a store has to be."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import assert_never, assert_type

from seawall import Anonymous, App, Cause, Check, Claims, Credential, Guard, bearer, public
from seawall.sessions import (
    HeldCredential,
    Lagged,
    MemoryRevocations,
    Revocation,
    RevocationStore,
    SessionClosed,
    SessionEvent,
    SessionInfo,
    SessionOpened,
    Sessions,
    limit_connections,
)
from tests.typing.house import verifier


class Database:
    """A store of an application's own."""

    async def load(self) -> Sequence[Revocation]:
        """Any iterable."""
        return [Revocation(subject="ada", issued_before=math.inf, forgotten_at=math.inf)]

    async def add(self, revocation: Revocation) -> None:
        """By position or by name."""

    @asynccontextmanager
    async def changes(self) -> AsyncGenerator[AsyncIterator[Revocation]]:
        """A function under ``@asynccontextmanager`` is one."""
        async with MemoryRevocations().changes() as changes:
            yield changes


store: RevocationStore = Database()
in_memory: RevocationStore = MemoryRevocations()
app = App(revocations=Database(), revocations_kept=660)
App(revocations=MemoryRevocations())
App(revocations=None)
sessions: Sessions = app.sessions

found = app.sessions.find(subject="ada", route="/rooms/{room}", address="192.0.2.7")
assert_type(found, tuple[SessionInfo, ...])
assert_type(app.sessions.end(found[0]), bool)
assert_type(app.sessions.end("c17", 4000, "moved"), bool)
assert_type(found[0].credentials, tuple[HeldCredential, ...])
assert_type(found[0].expires_at, float | None)
credential: Credential = found[0].credentials[0]


limited: Check[object] = limit_connections(2, per="subject")
member: Guard[Anonymous, Claims] = bearer(verifier) >> limit_connections(2, per="subject", losing="oldest")
stranger: Guard[Anonymous, Anonymous] = limit_connections(10, per="address") >> public


async def log_out() -> None:
    """Revoking waits for the store."""
    assert_type(await sessions.revoke(session_id=found[0].credentials[0].session_id, subject="ada"), int)


async def follow() -> None:
    """Every event is one of three."""
    async with app.sessions.watch(buffer=10) as events:
        assert_type(events, AsyncIterator[SessionEvent])
        async for event in events:
            match event:
                case SessionOpened(session):
                    assert_type(session, SessionInfo)
                case SessionClosed(session=session, cause=cause, code=code):
                    assert_type(session, SessionInfo)
                    assert_type(cause, Cause)
                    assert_type(code, int)
                case Lagged(missed):
                    assert_type(missed, int)
                case _:
                    assert_never(event)
