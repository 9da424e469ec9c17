"""A chat: what was said before, resuming after a cut, who is there, and a host who can put others out.

    python examples/chat.py

Open http://127.0.0.1:8765 and choose a name; then once more in a private window, to talk to yourself. "Go offline" cuts
the connection, as a tunnel would: what was said meanwhile is there when it is back. Whoever asks is given a token for
the name, in a cookie that no script can read. A real chat asks for a password first, which examples/login.py does.
Tokens are good until the program ends; with SEAWALL_SECRET in the environment, longer.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

import jwt
from attrs import Attribute, field, frozen
from attrs.validators import and_, max_len

from seawall import (
    Anonymous,
    App,
    Claims,
    Close,
    Connection,
    Cookie,
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
from seawall.rooms import Gap, Joined, Left, Position, PresenceChange, RoomEvent, Snapshot, Updated
from seawall.tokens import cookie, header

ROOMS = ("lobby", "kitchen")
NAME = re.compile(r"[^\W_]{1,20}")
KICKED_FOR = 60.0  # seconds

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
class Enter:
    """Comes first. Who has been here before says what it has had already."""

    since: Position | None = None


@frozen
class Say:
    """Says something to all who are in the room."""

    text: str = field(validator=and_(max_len(500), not_blank))


@frozen
class Kick:
    """Puts somebody out of the room for a minute, which only its host may."""

    name: str = field(validator=max_len(20))


# What the server sends.


@frozen
class Said:
    """Somebody has said something. This is what the room keeps."""

    name: str
    text: str
    at: datetime


@frozen
class Heard:
    """What was said, and its place, which the client keeps for when it comes back."""

    position: Position
    said: Said


@frozen
class Missed:
    """Some of what was said is missing at this place."""

    position: Position
    lost: int | None
    """How many messages; None if nobody knows."""


@frozen
class Person:
    """Somebody who is in the room."""

    id: str
    name: str


@frozen
class Here:
    """All who are in the room, in the order in which they came. The first one is the host."""

    people: tuple[Person, ...]


@frozen
class Came:
    """Somebody has come."""

    person: Person


@frozen
class Gone:
    """Somebody has gone."""

    person: Person


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


@frozen
class Who:
    """What a room knows of each connection in it."""

    name: str


class NoSuchRoom(Exception):
    """There is no room of that name."""


app = App(errors=ErrorPolicy().on(NoSuchRoom, Close(4404, "no such room")), limits=Limits(max_message_size=16 * 1024))
said = app.topic("rooms/{room}", Said, history=100)
people = app.presence("rooms/{room}", Who)


@guard
async def load_user(gate: Gate, claims: Claims) -> User:
    """The user whom the token is about. A real one asks a database."""
    if claims.session_id is None:
        raise Unauthorized("a token without a session")
    return User(claims.subject, claims.session_id)


@guard
async def host(gate: Gate, user: User, room: str) -> Host:
    """The host of the room; asked for each message that only a host may send."""
    if people(room=room).members()[0].value.name != user.name:
        raise Forbidden("not the host of the room")
    return Host(user.name)


verifier = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer="chat")
member = bearer(verifier, header(), cookie(COOKIE)) >> load_user  # Guard[Anonymous, User]


# The conversation.

events = Events[User](sends=Heard | Missed | Here | Came | Gone)


@events.on(Say)
async def say(conn: Connection[User], message: Say, room: str) -> None:
    """Tell everybody in the room, who has said it too."""
    await said(room=room).publish(Said(conn.principal.name, message.text, datetime.now(UTC)))


@events.on(Kick, guard=host)
async def kick(conn: Connection[Host], message: Kick, room: str) -> None:
    """End what somebody has in the room, and refuse them for a while."""
    if message.name == conn.principal.name:
        raise Forbidden("the host stays")
    await said(room=room).kick(subject=message.name, seconds=KICKED_FOR)


def told(event: RoomEvent[Said] | Gap) -> Heard | Missed:
    """What clients are told: called once for each message, however many read it."""
    match event:
        case RoomEvent(value, at):
            return Heard(at, value)
        case Gap(before, lost):
            return Missed(before, lost)
        case _:
            assert_never(event)


def shown(event: RoomEvent[PresenceChange[Who]] | Gap) -> Here | Came | Gone | None:
    """What clients are told of who is in the room: all who are there, and then who comes and goes."""
    if isinstance(event, Gap):
        return None  # all who are there come next
    match event.value:
        case Snapshot(members):
            return Here(tuple(Person(one.id, one.value.name) for one in members))
        case Joined(one) | Updated(one):
            return Came(Person(one.id, one.value.name))
        case Left(one):
            return Gone(Person(one.id, one.value.name))
        case _:
            assert_never(event.value)


@app.route("/rooms/{room}", guard=member)
async def chat(conn: Connection[User], room: str) -> None:
    """Be in the room for as long as the connection lasts."""
    if room not in ROOMS:
        raise NoSuchRoom(room)
    entry = await conn.receive_as(Enter)
    async with (
        people(room=room).joined(conn, Who(conn.principal.name)),
        conn.subscribe(said(room=room), since=entry.since, wrap=told),
        conn.subscribe(people(room=room), wrap=shown),
    ):
        await events(conn, room=room)


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
