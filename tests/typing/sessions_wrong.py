"""What must not check about sessions. Each line is an error to both checkers, for the reason that stands behind it."""

from __future__ import annotations

from pathlib import Path

from seawall import App, Connection, TokenVerifier, bearer
from seawall.sessions import (
    LoggedIn,
    LoginLimits,
    MemorySessions,
    Rotation,
    SigningKey,
    SqliteRevocations,
    SqliteSessions,
    SqliteTickets,
    StoredSession,
    TokenIssuer,
    login_page,
)
from seawall.tokens import Key
from tests.typing.sessions import Member, authenticate, issuer, login, signing, stored

app = App()


class ForSubjects:
    """A store that cannot end all sessions of a subject."""

    async def add(self, session: StoredSession, /) -> None: ...

    async def rotate(self, family: bytes, presented: bytes, successor: bytes, now: float, /) -> Rotation: ...

    async def delete(self, session_id: str, /) -> None: ...


class Blocking:
    """A store that does not let others go on."""

    def add(self, session: StoredSession, /) -> None: ...

    def rotate(self, family: bytes, presented: bytes, successor: bytes, now: float, /) -> Rotation: ...

    def delete(self, session_id: str, /) -> None: ...

    def delete_subject(self, issuer: str, subject: str, /) -> tuple[str, ...]:
        return ()


TokenIssuer("secret")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # who issues, and for whom?
TokenIssuer("secret", issuer="id")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # for whom?
TokenIssuer("secret", "id", "chat")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by keyword
TokenIssuer(Path("private.pem"), issuer="id", audience="chat")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # with which algorithm? a SigningKey says
TokenIssuer(Key(None, "secret", "HS256"), issuer="id", audience="chat")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a Key only verifies
TokenIssuer(None, issuer="id", audience="chat")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an environment variable that is not set
TokenIssuer("secret", issuer=["id"], audience="chat")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # one issuer
TokenIssuer("secret", issuer="id", audience=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no waiver: a token is for somebody
TokenIssuer("secret", issuer="id", audience="chat", access_lifetime="600")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number
TokenIssuer("secret", issuer="id", audience="chat", store=MemorySessions)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # called
TokenIssuer("secret", issuer="id", audience="chat", store=ForSubjects())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a method is missing
TokenIssuer("secret", issuer="id", audience="chat", store=Blocking())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # its methods are not async
TokenIssuer("secret", issuer="id", audience="chat", previous=signing)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a list of keys
SigningKey("pem", "ES256")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the name comes first, or None
SigningKey(None, "pem", "ES256K")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an algorithm that is not served
MemorySessions(1000)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a bound of what? by keyword
SqliteSessions()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # where?
SqliteSessions(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an environment variable that is not set
SqliteSessions("logins.db", 1000)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a bound of what? by keyword
SqliteSessions("logins.db", at_most="1000")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number
SqliteRevocations("logins.db", kept=660)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the app says it
App(revocations=SqliteSessions("logins.db"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the other store
App(tickets=SqliteSessions("logins.db"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the other store
SqliteTickets("logins.db", lifetime=30)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # it is always 30 s
App(revocations=SqliteRevocations)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # called
TokenIssuer("secret", issuer="id", audience="chat", store=SqliteRevocations("logins.db"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the other store
SqliteRevocations("logins.db").close()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # aclose, and awaited
members: TokenVerifier[Member] = issuer.verifier  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # its claims have no email
issuer.verifier_of(str)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]  # a text is no claims
issuer.access(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # about nobody
issuer.access("ada", "session")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by keyword
issuer.access("ada", scopes=[5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # scopes are texts
issuer.begin("ada").access  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # not awaited
signing.kid = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # a key is a value


def blocks(name: str, password: str) -> str | None: ...


async def says_yes(name: str, password: str) -> bool:
    return True


async def by_number(name: str, password: str) -> int | None: ...


async def by_name(name: str) -> str | None: ...


login_page(app, "/session", blocks, issuer)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it would block everybody
login_page(app, "/session", says_yes, issuer)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # who has logged in?
login_page(app, "/session", by_number, issuer)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a subject is a text
login_page(app, "/session", by_name, issuer)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # and the password?
login_page(app, "/session", authenticate("ada", ""), issuer)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # called already
login_page(app, "/session", authenticate, "secret")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an issuer
login_page(app, "/session", authenticate, issuer.verifier)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a verifier issues nothing
login_page(app, "/session", authenticate)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # who issues?
login_page(app, "/session", authenticate, issuer, "__Host-session")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by keyword
login_page(app, "/session", authenticate, issuer, after=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a path
login_page(app, "/session", authenticate, issuer, limits=LoginLimits)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # called
login_page(app, "/session", authenticate, issuer, device_cookie=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a name
LoginLimits(per_account=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an account is always bounded
LoginLimits(5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # five of what? by keyword
LoginLimits(clients=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # proxies= says it
LoggedIn("ada", ["chat"])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by keyword
LoggedIn(17)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a subject is a text
bearer(issuer.verifier, login)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # its cookie
bearer(login.cookie)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # verified by what?
login.cookie = login.cookie  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # a page stays as it was defined


@app.route("/members", guard=bearer(issuer.verifier))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # these claims have no email
async def of_members(conn: Connection[Member]) -> None: ...


async def log_in() -> None:
    tokens = await issuer.begin("ada", claims=["email"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # names and values
    tokens.refresh = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # tokens are a value
    await issuer.begin("ada", email="ada@example.org")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # in claims=
    await issuer.rotate(tokens)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the refresh token alone
    await issuer.rotate(refresh_token=tokens.refresh)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by position
    await login.end(tokens)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the id of the session
    await login.end_all()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # all of whom?
    await issuer.end(tokens)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the id of the session
    await stored.rotate("family", b"presented", b"successor", 0.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # digests are bytes
    rotation = await stored.rotate(b"family", b"presented", b"successor", 0.0)
    rotation.session  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]  # there may be none
