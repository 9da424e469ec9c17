"""A chat with rooms: typed messages, events, guards, and the page that talks to it.

    python examples/chat.py

Open http://127.0.0.1:8765 and choose a name; then once more in a private window, to talk to yourself. Whoever asks is
given a token for the name, in a cookie that no script can read. A real chat asks for a password first, which
examples/login.py does. Tokens are good until the program ends; with SEAWALL_SECRET in the environment, longer.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import jwt
import trio
from attrs import Attribute, define, field, frozen
from attrs.validators import and_, ge, le, max_len, min_len

from seawall import (
    Anonymous,
    App,
    Claims,
    Close,
    Connection,
    Cookie,
    Disconnected,
    ErrorPolicy,
    Events,
    Forbidden,
    Gate,
    Invalid,
    Limits,
    Request,
    Response,
    TokenVerifier,
    Unauthorized,
    bearer,
    guard,
    public,
)
from seawall.tokens import cookie, header

ROOMS = ("lobby", "kitchen")
NAME = re.compile(r"[^\W_]{1,20}")

COOKIE = "__Host-chat"
SECONDS = 12 * 3600
SECRET = os.environ.get("SEAWALL_SECRET") or secrets.token_urlsafe(32)

PAGE = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")


# What a client sends.


def not_blank(_: object, attribute: Attribute[str], text: str) -> None:
    """Refuse spaces alone, in words that the client may read."""
    if not text.strip():
        raise Invalid("write something")


@frozen
class Say:
    """Says something to all who are in the room. The answer is what they hear."""

    text: str = field(validator=and_(max_len(500), not_blank))


@frozen
class SetTopic:
    """Changes what the room is about, which only its host may."""

    topic: str = field(validator=and_(min_len(3), max_len(60)))


@frozen
class History:
    """Asks for what was said last, from the oldest on; the answers come one by one."""

    last: int = field(default=50, validator=and_(ge(1), le(200)))


# What the server sends.


@frozen
class Welcome:
    """The room, as it is when a client comes in."""

    topic: str
    people: tuple[str, ...]
    """In the order in which they came. The first one is the host."""


@frozen
class Joined:
    """Somebody has come."""

    name: str


@frozen
class Left:
    """Somebody has gone."""

    name: str


@frozen
class Said:
    """Somebody has said something."""

    number: int
    """Counts what is said in the room, from 1."""
    name: str
    text: str
    at: datetime


@frozen
class TopicSet:
    """The room is about something else."""

    topic: str
    name: str


# Who is there.


@frozen
class User:
    """Who talks."""

    name: str
    session: str
    """What all connections of one log-in have in common."""


@frozen
class Host:
    """Who has been in a room for longest."""

    name: str


@define(eq=False)
class Room:
    """The connections in a room, and what was said there."""

    topic: str = "Anything"
    connections: list[Connection[User]] = field(factory=list[Connection[User]])
    said: deque[Said] = field(factory=lambda: deque[Said](maxlen=200))

    @property
    def people(self) -> tuple[str, ...]:
        """The names of all who are here, in the order in which they came."""
        return tuple(dict.fromkeys(conn.principal.name for conn in self.connections))

    def tell(self, message: Joined | Left | Said | TopicSet, *, but: Connection[User] | None = None) -> None:
        """Send to all who are here, and wait for nobody."""
        for conn in self.connections:
            if conn is not but:
                try:
                    conn.send_nowait(message)
                except trio.WouldBlock:
                    conn.close_nowait(1013, "too slow")  # its page connects again, and begins anew
                except Disconnected:
                    pass  # it is just leaving

    def enter(self, conn: Connection[User]) -> None:
        """Let somebody in, who may be here already in another window."""
        if conn.principal.name not in self.people:
            self.tell(Joined(conn.principal.name))
        self.connections.append(conn)

    def leave(self, conn: Connection[User]) -> None:
        """Let somebody go."""
        self.connections.remove(conn)
        if conn.principal.name not in self.people:
            self.tell(Left(conn.principal.name))


class NoSuchRoom(Exception):
    """There is no room of that name."""


app = App(errors=ErrorPolicy().on(NoSuchRoom, Close(4404, "no such room")), limits=Limits(max_message_size=16 * 1024))


@app.lifespan
@asynccontextmanager
async def hall() -> AsyncGenerator[dict[str, Room]]:
    """The rooms, for as long as the app is served."""
    yield {name: Room() for name in ROOMS}


@guard
async def load_user(gate: Gate, claims: Claims) -> User:
    """The user whom the token is about. A real one asks a database."""
    if claims.session_id is None:
        raise Unauthorized("a token without a session")
    return User(claims.subject, claims.session_id)


@guard
async def host(gate: Gate, user: User, room: str) -> Host:
    """The host of the room; asked for each message that only a host may send."""
    if gate.provided(hall)[room].people[0] != user.name:
        raise Forbidden("not the host of the room")
    return Host(user.name)


verifier = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer="chat")
member = bearer(verifier, header(), cookie(COOKIE)) >> load_user  # Guard[Anonymous, User]


# The conversation.

events = Events[User](sends=Welcome | Joined | Left | Said | TopicSet)


@events.on(Say)
async def say(conn: Connection[User], message: Say, room: str) -> Said:
    """Tell the others, and answer who has said it with the same."""
    place = conn.provided(hall)[room]
    number = place.said[-1].number + 1 if place.said else 1
    said = Said(number, conn.principal.name, message.text, datetime.now(UTC))
    place.said.append(said)
    place.tell(said, but=conn)
    return said


@events.on(SetTopic, guard=host)
async def set_topic(conn: Connection[Host], message: SetTopic, room: str) -> None:
    """Tell everybody. Who has asked with a ``ref`` is answered that it is done."""
    place = conn.provided(hall)[room]
    place.topic = message.topic
    place.tell(TopicSet(message.topic, conn.principal.name))


@events.on(History)
async def history(conn: Connection[User], message: History, room: str) -> AsyncGenerator[Said]:
    """One answer after the other, and then an end; a client that reads slowly holds up nobody else."""
    for said in tuple(conn.provided(hall)[room].said)[-message.last :]:
        yield said


@app.route("/rooms/{room}", guard=member)
async def chat(conn: Connection[User], room: str) -> None:
    """Be in the room for as long as the connection lasts."""
    place = conn.provided(hall).get(room)
    if place is None:
        raise NoSuchRoom(room)
    place.enter(conn)
    try:
        conn.send_nowait(Welcome(place.topic, place.people))  # at once: before anything that others cause
        await events(conn, room=room)
    finally:
        place.leave(conn)


# The page, and logging in and out.


def content_security_policy(page: str) -> str:
    """What a browser allows the page: the one script and the one style in it, and to connect to where it came from."""
    hashes: list[str] = []
    for element in ("script", "style"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes.append(f"{element}-src 'sha256-{digest}'")
    rest = "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"default-src 'none'; {'; '.join(hashes)}; {rest}"


POLICY = content_security_policy(PAGE)


@app.page("/")
async def page(request: Request[Anonymous]) -> Response:
    """The page, the same for everybody."""
    return Response(PAGE, media_type="text/html; charset=utf-8", headers=[("Content-Security-Policy", POLICY)])


@app.page("/me", guard=member | public)
async def me(request: Request[User | Anonymous]) -> Response:
    """The name of who asks, or nothing: the page cannot know, because the cookie is hidden from it."""
    return Response(request.principal.name if isinstance(request.principal, User) else "")


@app.page("/login", methods=["POST"])
async def login(request: Request[Anonymous]) -> Response:
    """Give a token for a name. Here would a password be asked for."""
    name = request.form().get("name", "").strip()
    if not NAME.fullmatch(name):
        return Response("a name has 1 to 20 letters and digits", status=422)
    now = time.time()
    claims = {"iss": "chat", "aud": "chat", "sub": name, "sid": secrets.token_hex(8), "iat": now, "exp": now + SECONDS}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    return Response(cookies=[Cookie(name=COOKIE, value=token, max_age=SECONDS)])


@app.page("/logout", methods=["POST"], guard=member)
async def logout(request: Request[User]) -> Response:
    """Take back the token, which ends what is connected with it, and forget it."""
    await app.sessions.revoke(session_id=request.principal.session)
    return Response(cookies=[Cookie(name=COOKIE, value="", max_age=0)])


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]) if sys.argv[1:] else 8765)
