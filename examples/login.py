"""Logging in with a password, on the port of the WebSockets; who is connected where, and logging out.

    python examples/login.py

It prints the passwords of two accounts. Open http://127.0.0.1:8765 and log in; then once more in another tab, and in a
private window. Access tokens live for 20 seconds here, so that one sees how they are renewed. With SEAWALL_SECRET and
LOGIN_DATA, a directory, in the environment, everybody is still logged in when the program is started again.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import trio
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from attrs import frozen

from seawall import Anonymous, App, Claims, Connection, Events, Limits, Request, Response, bearer
from seawall.sessions import Lagged, SessionInfo, SqliteRevocations, SqliteSessions, TokenIssuer, login_page

SECRET = os.environ.get("SEAWALL_SECRET") or secrets.token_urlsafe(32)
TEMPORARY = tempfile.TemporaryDirectory()
DATA = Path(os.environ.get("LOGIN_DATA") or TEMPORARY.name)
PAGE = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")

app = App(
    revocations=SqliteRevocations(DATA / "sessions.db"),
    limits=Limits(lease_warning=5),  # the default is 30, for tokens that live for minutes
)
issuer = TokenIssuer(
    SECRET, issuer="login", audience="login", access_lifetime=20, store=SqliteSessions(DATA / "sessions.db")
)


# The accounts. What is stored of a password is a hash that takes long to compute, so that happens in a thread.

hasher = PasswordHasher(parallelism=1)  # several of them are hashed at once
NOBODY = hasher.hash(secrets.token_urlsafe())  # for names that nobody has: they are answered as slowly


async def authenticate(username: str, password: str) -> str | None:
    """Whose name and password it is."""
    return await trio.to_thread.run_sync(check_password, username, password)


def check_password(username: str, password: str) -> str | None:
    """The same, in a thread."""
    with closing(sqlite3.connect(DATA / "accounts.db")) as accounts:
        found = accounts.execute("SELECT hash FROM accounts WHERE name = ?", (username,)).fetchone()
    try:
        hasher.verify(found[0] if found else NOBODY, password)
    except VerifyMismatchError:
        return None
    return username if found else None


def make_accounts(*names: str) -> None:
    """Make those that are not there yet, with passwords that are printed once, and stored nowhere."""
    with closing(sqlite3.connect(DATA / "accounts.db")) as accounts, accounts:
        accounts.execute("CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, hash TEXT NOT NULL)")
        for name in names:
            password = secrets.token_urlsafe(9)
            row = (name, hasher.hash(password))
            if accounts.execute("INSERT INTO accounts VALUES (?, ?) ON CONFLICT DO NOTHING", row).rowcount:
                print(f"log in as {name}, with the password {password}", flush=True)


login = login_page(app, "/session", authenticate, issuer)


# The conversation.


@frozen
class Expiring:
    """The access token ends in five seconds. The page posts to /session/renew then, and the connection goes on."""


@frozen
class Device:
    """A browser in which somebody is logged in, and connected."""

    session: str
    browser: str
    """What it calls itself: its ``User-Agent``."""
    peer: str
    tabs: int
    since: float
    """When the first of the tabs connected, in Unix time."""


@frozen
class Devices:
    """Where somebody is connected, whenever that changes."""

    here: str
    """The session of who is told."""
    devices: tuple[Device, ...]


@frozen
class LogOut:
    """Logs out one of one's own devices."""

    session: str


browsers: dict[str, str] = {}  # by connection
events = Events[Claims](sends=Expiring | Devices)


@events.on(LogOut)
async def log_out(conn: Connection[Claims], message: LogOut) -> None:
    """End the session, unless it is somebody else's."""
    if app.sessions.find(subject=conn.principal.subject, session_id=message.session):
        await login.end(message.session)


@app.route("/live", guard=bearer(issuer.verifier, login.cookie, warn=Expiring()))
async def live(conn: Connection[Claims]) -> None:
    """Be connected."""
    browsers[conn.id] = conn.handshake.header("User-Agent") or ""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_devices, conn)
            await events(conn)
            nursery.cancel_scope.cancel()  # no more messages: the peer has gone, or the server is stopping
    finally:
        del browsers[conn.id]


async def tell_devices(conn: Connection[Claims]) -> None:
    """Tell somebody where they are connected, now and whenever that changes."""
    subject = conn.principal.subject
    async with app.sessions.watch() as changes:
        await conn.send(devices_of(conn))
        async for change in changes:
            if isinstance(change, Lagged) or any(held.subject == subject for held in change.session.credentials):
                await conn.send(devices_of(conn))


def devices_of(conn: Connection[Claims]) -> Devices:
    """Where the user of a connection is: one device for each session, which may have several tabs."""
    tabs: dict[str, list[SessionInfo]] = {}
    for tab in app.sessions.find(subject=conn.principal.subject):
        tabs.setdefault(tab.credentials[0].session_id or "", []).append(tab)
    devices = tuple(
        Device(session, browsers.get(first.id, ""), first.peer, 1 + len(others), first.opened_at)
        for session, (first, *others) in tabs.items()
    )
    return Devices(conn.principal.session_id or "", devices)


# The page.


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


if __name__ == "__main__":
    os.umask(0o077)  # what is stored is for this user alone
    make_accounts("ada", "grace")
    app.run(port=int(sys.argv[1]) if sys.argv[1:] else 8765)
