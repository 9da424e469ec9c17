"""Rooms to talk in: path parameters, a chain of guards, and an error policy.

    SEAWALL_SECRET=$(python -c 'import secrets; print(secrets.token_urlsafe(32))') python examples/chat.py

A client of ws://127.0.0.1:8765/rooms/sea sends its token as ``Authorization: Bearer ...`` or in the cookie ``token``.
It is signed with that secret (HS256), with "aud": "chat", "iss": "chat", "exp", "scope": "chat:write" and a "sub" that
is a user here.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from attrs import field, frozen

from seawall import (
    App,
    Claims,
    Close,
    ConfigurationError,
    Connection,
    Disconnected,
    ErrorPolicy,
    Forbidden,
    Gate,
    TokenVerifier,
    bearer,
    guard,
    has_scope,
)

ROOMS = {"sea", "wall"}
USERS = {"ada": "Ada", "grace": "Grace"}

LONGEST = 500


@frozen
class User:
    """Who talks."""

    name: str


@frozen(eq=False)
class Hall:
    """The connections in each room."""

    rooms: defaultdict[str, set[Connection[User]]] = field(factory=lambda: defaultdict(set[Connection[User]]))

    def tell(self, room: str, text: str) -> None:
        """Send to all who are in the room, and wait for nobody."""
        for conn in tuple(self.rooms[room]):
            try:
                conn.send_nowait(text)
            except (Disconnected, trio.WouldBlock):
                pass  # it is leaving, or reads too slowly and misses this one


class NoSuchRoom(Exception):
    """There is no room of that name."""


class TooLong(Exception):
    """A message is longer than anybody wants to read."""


@guard
async def load_user(gate: Gate, claims: Claims) -> User:
    """The user whom the token is about. A real one asks a database."""
    name = USERS.get(claims.subject or "")
    if name is None:
        raise Forbidden("no such user")
    return User(name)


def chat_app(verifier: TokenVerifier) -> App:
    """The app, for users whose tokens `verifier` accepts."""
    app = App(errors=ErrorPolicy().on(NoSuchRoom, Close(4404, "no such room")).on(TooLong, Close(4413, "too long")))
    member = bearer(verifier, cookie="token") >> has_scope("chat:write") >> load_user  # Guard[Anonymous, User]

    @app.lifespan
    @asynccontextmanager
    async def hall() -> AsyncGenerator[Hall]:
        yield Hall()

    @app.route("/rooms/{room}", guard=member)
    async def talk(conn: Connection[User], room: str) -> None:
        if room not in ROOMS:
            raise NoSuchRoom(room)
        name, place = conn.principal.name, conn.provided(hall)
        place.rooms[room].add(conn)
        place.tell(room, f"{name} has come")
        try:
            async for message in conn:
                if len(message) > LONGEST:
                    raise TooLong
                place.tell(room, f"{name}: {message!s}")
        finally:
            place.rooms[room].discard(conn)
            place.tell(room, f"{name} has gone")

    return app


if __name__ == "__main__":
    try:
        verifier = TokenVerifier(
            keys=os.environ.get("SEAWALL_SECRET", ""), algorithms=("HS256",), audience="chat", issuer="chat"
        )
    except ConfigurationError as error:
        sys.exit(f"Set SEAWALL_SECRET to a long random secret. {error}")
    chat_app(verifier).run(port=int(sys.argv[1]) if sys.argv[1:] else 8765)
