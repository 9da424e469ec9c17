"""What must check about sessions: issuers, their tokens and verifiers, keys that sign, and stores."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never, assert_type

from attrs import frozen

from seawall import Anonymous, App, Claims, Connection, Guard, RefreshTokenReused, TokenVerifier, Unauthorized, bearer
from seawall.sessions import (
    LoggedIn,
    LoginLimits,
    LoginPage,
    MemorySessions,
    Reused,
    Rotated,
    Rotation,
    SessionStore,
    SigningKey,
    SqliteRevocations,
    SqliteSessions,
    SqliteTickets,
    StoredSession,
    TokenIssuer,
    Tokens,
    login_page,
    rotate,
)


@frozen(kw_only=True)
class Member(Claims):
    email: str


class Store:
    """Everything that a store has to have."""

    async def add(self, session: StoredSession, /) -> None: ...

    async def rotate(self, family: bytes, presented: bytes, successor: bytes, now: float, /) -> Rotation: ...

    async def delete(self, session_id: str, /) -> None: ...

    async def delete_subject(self, issuer: str, subject: str, /) -> tuple[str, ...]:
        return ()


signing = SigningKey("2026-03", Path("private.pem"), "ES256")
issuer = TokenIssuer("secret", issuer="https://chat.example", audience="chat")
several = TokenIssuer(
    signing,
    issuer="https://chat.example",
    audience=["chat", "mail"],
    access_lifetime=300,
    refresh_lifetime=86_400.0,
    store=MemorySessions(at_most=1000),
    previous=[b"secret", signing],
)
stored: SessionStore = Store()
in_a_file: SessionStore = SqliteSessions("logins.db", at_most=1000, per_subject=5)
App(revocations=SqliteRevocations(Path("logins.db")), tickets=SqliteTickets(Path("logins.db"), per_subject=3))
elsewhere = TokenIssuer(b"secret", issuer="id", audience="chat", store=Store())

assert_type(issuer.verifier, TokenVerifier[Claims])
assert_type(several.verifier_of(Member), TokenVerifier[Member])
assert_type(bearer(issuer.verifier), Guard[Anonymous, Claims])
assert_type(bearer(issuer.verifier_of(Member)), Guard[Anonymous, Member])
assert_type(issuer.access("ada", session_id="s", lifetime=60, scopes=["chat"], tenant="t", ranks=[1]), str)

app = App()


@app.route("/members", guard=bearer(issuer.verifier_of(Member)))
async def of_members(conn: Connection[Member]) -> None:
    assert_type(conn.principal.email, str)


async def log_in() -> None:
    tokens = await issuer.begin("ada", scopes={"chat"}, claims={"email": "ada@example.org"})
    assert_type(tokens, Tokens)
    assert_type(tokens.access_expires_at, float)
    try:
        assert_type(await issuer.rotate(tokens.refresh), Tokens)
    except RefreshTokenReused as reused:
        assert_type(reused.session_id, str)
        refused: Unauthorized = reused
        raise refused from None
    await issuer.end(tokens.session_id)
    assert_type(await issuer.end_all("ada"), tuple[str, ...])


async def authenticate(name: str, password: str) -> str | None:
    return name or None


async def knows_everybody(name: str, password: str) -> str:
    return name


class Accounts:
    async def check(self, username: str, secret: str) -> str | None: ...


login = login_page(app, "/session", authenticate, issuer)
assert_type(login, LoginPage)
assert_type(bearer(issuer.verifier, login.cookie), Guard[Anonymous, Claims])
assert_type(bearer(several.verifier_of(Member), login.cookie), Guard[Anonymous, Member])
login_page(app, "/mine", knows_everybody, several, cookie="__Host-mine", refresh_cookie="__Host-again", after="/chat")
login_page(app, "/others", Accounts().check, issuer)


async def with_claims(name: str, password: str) -> LoggedIn | None:
    return LoggedIn(name, scopes=["chat"], claims={"email": "ada@example.org"}) if password else None


login_page(app, "/claims", with_claims, issuer, limits=LoginLimits(per_address=None, proxies=["unix"], answer_after=1))


async def log_out() -> None:
    assert_type(await login.end("session"), int)
    assert_type(await login.end_all("ada"), int)


def stored_as(rotation: Rotation) -> StoredSession | None:
    match rotation:
        case Rotated(session):
            return assert_type(session, StoredSession)
        case Reused() | None:
            return None
        case _:
            assert_never(rotation)


def decide(session: StoredSession) -> None:
    assert_type(rotate(session, b"presented", b"successor", 0.0), Rotated | Reused | None)
