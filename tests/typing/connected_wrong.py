"""Mistakes with who is connected and what is revoked: each has to be found, by both checkers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from seawall import App
from seawall.sessions import MemoryRevocations, Revocation, limit_connections
from tests.typing.connected import app, found


class Forgetful:
    """A store that cannot be asked for what it has."""

    async def add(self, revocation: Revocation) -> None:
        """Keep it."""

    @asynccontextmanager
    async def changes(self) -> AsyncGenerator[AsyncIterator[Revocation]]:
        """As it should be."""
        async with MemoryRevocations().changes() as changes:
            yield changes


App(revocations=Forgetful())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no load
App(revocations=MemoryRevocations)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody has called it
App(revocations="revoked.db")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a path is no store
app.sessions.find("ada")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by name
app.sessions.find(subject=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a name
app.sessions.find(user="ada")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # what is that?
app.sessions.end(17)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # ids are text
app.sessions.end(found)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # one at a time
app.sessions.end("c17", "moved")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the code comes first
app.sessions.watch(10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # ten of what?
found[0].route = "/"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # a snapshot
Revocation(subject="ada")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # until when?
Revocation("ada", issued_before=1.0, forgotten_at=2.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by name
limit_connections(2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # of whom?
limit_connections("2", per="subject")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number
limit_connections(2, per="user")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # one of two words
limit_connections(2, per="subject", losing="first")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # likewise
app.route("/", guard=limit_connections(2, per="address"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # proves nobody


async def mistakes() -> None:
    """Of who waits, and for what."""
    app.sessions.revoke(subject="ada")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]  # never awaited
    await app.sessions.revoke("ada")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by name: a subject or a token?
    await app.sessions.revoke(session_id=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a name
    await app.sessions.revoke(issued_before="today")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a Unix time
    await app.sessions.find()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]  # nothing to wait for
    await anext(app.sessions.watch())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # a block first
    async with app.sessions.watch() as events:
        (await anext(events)).session  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # it may be Lagged
