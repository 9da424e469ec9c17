"""What must check about tokens: verifiers, their claims, issuers, sources, and checks of values."""

from __future__ import annotations

import enum
from typing import Annotated, assert_type

from attrs import frozen

from seawall import Anonymous, App, Check, Claims, Connection, Guard, TokenVerifier, any_audience, any_issuer, bearer
from seawall.tokens import (
    JWKS,
    AnyClaims,
    At,
    Fetching,
    HttpsGet,
    Service,
    any_tenant,
    by_issuer,
    cookie,
    first_message,
    has,
    header,
    https_get,
)


class Role(enum.Enum):
    ADMIN = "admin"


@frozen(kw_only=True)
class Member(Claims):
    email: str
    roles: Annotated[frozenset[Role], At("realm_access", "roles")] = frozenset()
    groups: tuple[str, ...] = ()


@frozen(kw_only=True)
class Robot(AnyClaims):
    client_id: str
    ranks: frozenset[int] = frozenset()


class Door(enum.Enum):
    FRONT = 1


def roles_of(member: Member) -> frozenset[Role]:
    return member.roles


def groups_of(member: Member) -> tuple[str, ...]:
    return member.groups


def ranks_of(robot: Robot) -> frozenset[int]:
    return robot.ranks


def scopes_of(claims: AnyClaims) -> frozenset[str]:
    return claims.scopes


plain = TokenVerifier("secret", algorithms=["HS256"], audience="chat", issuer="id")
members = TokenVerifier("secret", algorithms=["RS256"], audience=["chat", "mail"], issuer="id", claims=Member)
robots = TokenVerifier(
    b"secret", algorithms=("ES256",), audience=any_audience, issuer=any_issuer, claims=Robot, require={"azp": "web"}
)
tenants = TokenVerifier("secret", algorithms=["HS256"], audience="chat", issuer="https://x/{tid}", tenants=["t"])
everyone = TokenVerifier("secret", algorithms=["HS256"], audience="chat", issuer="https://x/{tid}", tenants=any_tenant)

assert_type(plain, TokenVerifier[Claims])
assert_type(members, TokenVerifier[Member])
assert_type(robots, TokenVerifier[Robot])
assert_type(by_issuer(plain, members), TokenVerifier[Claims | Member])
assert_type(by_issuer(members, robots), TokenVerifier[Member | Robot])
assert_type(by_issuer(members, robots, plain), TokenVerifier[Member | Robot | Claims])
several: list[TokenVerifier[Member]] = [members, members]
assert_type(by_issuer(*several), TokenVerifier[Member])
wider: TokenVerifier[AnyClaims] = members  # a verifier is covariant
unnamed: TokenVerifier = plain  # without an argument it is one of Claims

assert_type(bearer(members), Guard[Anonymous, Member])
assert_type(bearer(robots, header(), cookie("__Host-session"), first_message()), Guard[Anonymous, Robot])
assert_type(bearer(by_issuer(members, robots)), Guard[Anonymous, Member | Robot])
assert_type(has(roles_of, Role.ADMIN), Check[Member])
assert_type(has(groups_of, "admins", "editors"), Check[Member])
assert_type(has(ranks_of, 5), Check[Robot])
assert_type(bearer(members) >> has(roles_of, Role.ADMIN), Guard[Anonymous, Member])
assert_type(bearer(members) >> has(scopes_of, "chat"), Guard[Anonymous, Member])
by_group: Check[Member] = has(lambda member: member.groups, "admins")
by_role: Check[Member] = has(lambda member: member.roles, Role.ADMIN)

app = App()


@app.route("/members", guard=bearer(members) >> has(roles_of, Role.ADMIN))
async def of_members(conn: Connection[Member]) -> None:
    assert_type(conn.principal.subject, str)
    assert_type(conn.principal.email, str)


@app.route("/robots", guard=bearer(robots))
async def of_robots(conn: Connection[Robot]) -> None:
    assert_type(conn.principal.subject, str | None)


@app.route("/each", guard=bearer(by_issuer(members, robots)))
async def of_each(conn: Connection[Member | Robot]) -> None:
    assert_type(conn.principal.scopes, frozenset[str])


async def verify() -> None:
    assert_type(await members.verify("token"), Member)
    assert_type((await members.verify("token")).roles, frozenset[Role])


async def own(url: str) -> bytes:
    return url.encode()


often: Fetching = {"refresh": 60, "cool_down": 5, "fetch": own}
keys = JWKS("https://id.example/jwks", **often)
assert_type(keys, JWKS)
assert_type(JWKS.discover("https://id.example", timeout=2.5, fetch=HttpsGet(max_bytes=1000)), JWKS)
assert_type(keys.services(), tuple[Service, ...])
published = TokenVerifier(keys, algorithms=["RS256"], audience="chat", issuer="https://id.example", claims=Member)
assert_type(published, TokenVerifier[Member])
assert_type(bearer(published), Guard[Anonymous, Member])


async def get() -> None:
    assert_type(await https_get("https://id.example/jwks"), bytes)
