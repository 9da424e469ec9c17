"""What must not check about tokens. Each line is an error to both checkers, for the reason that stands behind it."""

from __future__ import annotations

from seawall import App, Check, Connection, TokenVerifier, any_audience, bearer, has_scope
from seawall.tokens import (
    JWKS,
    AnyClaims,
    At,
    Claims,
    HttpsGet,
    any_tenant,
    by_issuer,
    cookie,
    first_message,
    has,
    header,
)
from tests.typing.tokens import (
    Door,
    Member,
    Robot,
    Role,
    groups_of,
    members,
    plain,
    ranks_of,
    robots,
    roles_of,
)

app = App()

TokenVerifier("secret", algorithms=["HS256"], audience="a", issuer="b", claims=str)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]  # a text is no claims
TokenVerifier("secret", algorithms=["HS256"], audience="a", issuer="b", claims=Member.email)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # nor is a field
TokenVerifier("secret", algorithms=["ES256K"], audience="a", issuer="b")  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # an algorithm that is not served
TokenVerifier("secret", algorithms="HS256", audience="a", issuer="b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a list of algorithms
TokenVerifier("secret", algorithms=["HS256"], audience=["a", 5], issuer="b")  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # audiences are texts
TokenVerifier("secret", algorithms=["HS256"], audience="a", issuer=["b"])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # of several issuers, by_issuer
TokenVerifier("secret", algorithms=["HS256"], audience="a", issuer="b/{tid}", tenants=any_audience)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # another waiver
TokenVerifier("secret", algorithms=["HS256"], audience=any_tenant, issuer="b")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # another waiver
TokenVerifier("secret", algorithms=["HS256"], audience="a", issuer="b", require=["azp"])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # which value?
TokenVerifier("secret", algorithms=["HS256"], audience="a", issuer="b", require={"azp": None})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]  # None is no value
TokenVerifier("secret", algorithms=["HS256"], audience="a", issuer="b", require={"azp": ["web"]})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]  # one value
TokenVerifier("secret", algorithms=["HS256"], audience="a", issuer="b", leway=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # misspelt
wrong_claims: TokenVerifier[Member] = plain  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # its claims have no email
wrong_robot: TokenVerifier[Claims] = robots  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # these may be about nobody
members.verify("token").email  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # not awaited
At(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a name is a text
by_issuer(members, "secret")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]  # a secret is no verifier
by_issuer()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # of which issuers?
by_issuer(members)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # one needs no choice
has(groups_of)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # which of them?
either: TokenVerifier[Member] = by_issuer(members, robots)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]  # it may be a robot
bearer(members, "cookie")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a name is no source
bearer(members, cookie)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # called, with a name
bearer(members, header("Authorization"))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportUnknownArgumentType]  # it is the header
bearer(members, cookie())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportUnknownArgumentType]  # of which name?
bearer(members, first_message(members))  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue, reportUnknownArgumentType]  # a source takes no verifier
has(roles_of, "admin")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]  # a role is no text
has(roles_of, Door.FRONT, "x")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]  # nor are these
has(groups_of, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]  # a group is a text
by_name: Check[Member] = has(lambda member: member.nobody, "x")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType, reportUnknownMemberType]  # what a lambda is called with is known
has(ranks_of, "5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]  # a rank is a number
has("admin")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # of what?
has(Member, "admin")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]  # a class gives no values
bearer(robots) >> has(roles_of, Role.ADMIN)  # type: ignore[arg-type]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]  # a robot has no roles
bearer(plain) >> has(groups_of, "x")  # type: ignore[arg-type]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]  # these claims have no groups
bearer(by_issuer(members, robots)) >> has(groups_of, "x")  # type: ignore[arg-type]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]  # a robot has no groups
bearer(members) >> has_scope(Role.ADMIN)  # type: ignore[arg-type]  # pyright: ignore[reportUnusedExpression, reportArgumentType]  # a role is no scope


@app.route("/a", guard=bearer(members))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # members are no robots
async def of_robots(conn: Connection[Robot]) -> None: ...


@app.route("/b", guard=bearer(by_issuer(members, robots)))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a robot may come
async def of_members_only(conn: Connection[Member]) -> None: ...


@app.route("/c", guard=bearer(robots))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a robot's subject may be None
async def about_somebody(conn: Connection[Claims]) -> None: ...


async def deal_with_none(claims: AnyClaims, sure: Claims) -> None:
    claims.subject.upper()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]  # it may be None
    sure.subject = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # claims are a value


async def text_of(url: str) -> str:
    return url


JWKS(b"https://id.example/jwks")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a URL is a text
JWKS("https://id.example/jwks", refrsh=60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # misspelt
JWKS("https://id.example/jwks", fetch=text_of)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it gives no bytes
JWKS.discover("https://id.example", refresh="60")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # seconds are a number
HttpsGet(5)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]  # by keyword
