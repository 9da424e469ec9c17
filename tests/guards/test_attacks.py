"""The attacks on tokens, in one table: what an attacker presents, what is answered, and that no log has any of it.

What single bytes of a token do is in `test_tokens`, keys in `test_keys`, and all that a renewal is refused for in
`tests.serving.test_renewal`; here is one of each kind, over a server.
"""

from __future__ import annotations

import base64
import json
import logging
import socket
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Final, TypeAlias, cast

import jwt
import pytest
from attrs import frozen
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from seawall import App, Claims, Connection, ErrorReport, Forbidden, Gate, TokenVerifier, bearer, guard, has_scope
from seawall.testing import Rejected, connect
from seawall.tokens import At, Key, KeyRing, by_issuer, cookie, has, header
from tests.kit.tokens import by, signed

SECRET: Final = "5ecret-of-these-attacks-that-nobody-else-has-0123456789"
OTHER: Final = "an0ther-secret-of-another-issuer-0123456789-0123456789"
ISSUER: Final = "https://id.example"
TENANTS: Final = "https://login.example/{tid}/v2"

RSA: Final = rsa.generate_private_key(65537, 2048)
PUBLIC: Final = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
STRANGERS: Final = rsa.generate_private_key(65537, 2048)


@frozen(kw_only=True)
class Member(Claims):
    """Of the route of roles."""

    roles: Annotated[frozenset[str], At("realm_access", "roles")]


def roles_of(member: Member) -> frozenset[str]:
    """The roles."""
    return member.roles


BANNED: Final = set[str]()


@guard
async def not_banned(gate: Gate, claims: Claims) -> Claims:
    """Asks a list that changes."""
    if claims.subject in BANNED:
        raise Forbidden("banned")
    return claims


async def greet(conn: Connection[Claims]) -> None:
    """Say who it is, and renew with whatever comes."""
    await conn.send(f"welcome {conn.principal.subject}")
    async for message in conn:
        try:
            await conn.renew(str(message))
        except Exception as error:  # noqa: BLE001 - what kind it is, is what the test wants
            await conn.send(type(error).__name__)
        else:
            await conn.send("renewed")


def app_of_all(report: Callable[[ErrorReport], None]) -> App:
    """An app with a route for each way of verifying."""
    app = App(report=report)
    hmac = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer=ISSUER)
    member = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer=ISSUER, claims=Member)
    ring = KeyRing(Key("2026", PUBLIC, "RS256"), Key("old", PUBLIC, "RS256", not_after=time.time() - 5))
    public = TokenVerifier(ring, algorithms=["RS256"], audience="chat", issuer=ISSUER)
    tenants = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer=TENANTS, tenants=["t1"])
    other = TokenVerifier(OTHER, algorithms=["HS256"], audience="chat", issuer="https://other.example")
    typed = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer=ISSUER, type="at+jwt")
    app.route("/hmac", guard=bearer(hmac, header(), cookie("__Host-session")) >> not_banned)(greet)
    app.route("/scope", guard=bearer(hmac) >> has_scope("chat"))(greet)
    app.route("/role", guard=bearer(member) >> has(roles_of, "admin"))(greet)
    app.route("/public", guard=bearer(public))(greet)
    app.route("/tenants", guard=bearer(tenants))(greet)
    app.route("/each", guard=bearer(by_issuer(hmac, other)))(greet)
    app.route("/typed", guard=bearer(typed))(greet)
    return app


def encode(part: object) -> str:
    """A part of a token."""
    text = part if isinstance(part, str) else json.dumps(part)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def claims(**changes: object) -> dict[str, object]:
    """Claims that are good, but for the changes; None leaves one out."""
    given: dict[str, object] = {"sub": "ada", "aud": "chat", "iss": ISSUER, "exp": time.time() + 60, "iat": time.time()}
    return {name: value for name, value in (given | changes).items() if value is not None}


def token(head: Mapping[str, object] | None = None, secret: str = SECRET, **changes: object) -> str:
    """A token with a signature of HS256 that is right, whatever its header and its claims say."""
    signed_part = f"{encode({'alg': 'HS256', 'typ': 'JWT', **(head or {})})}.{encode(claims(**changes))}"
    signature = jwt.get_algorithm_by_name("HS256").sign(signed_part.encode(), secret.encode())
    return f"{signed_part}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def rs256(key: rsa.RSAPrivateKey = RSA, head: Mapping[str, object] | None = None, algorithm: str = "RS256") -> str:
    """A token with a signature of RSA."""
    return jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": "2026", **(head or {})})


def unsigned(alg: str, *, rest: str = "") -> str:
    """A token without a signature that says so."""
    return f"{encode({'alg': alg})}.{encode(claims())}.{rest}"


def with_public_key_as_secret() -> str:
    """HS256, with the public key of the verifier as the secret."""
    part = f"{encode({'alg': 'HS256', 'kid': '2026'})}.{encode(claims())}"
    signature = jwt.get_algorithm_by_name("HS256").sign(part.encode(), PUBLIC.encode())
    return f"{part}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


#: Headers of RFC 7515 that lead to a key of whoever has made the token.
FOREIGN: Final = ("jku", "x5u", "jwk", "x5c")

#: Makes what is presented; it is given the address of a server that nobody may call.
Present: TypeAlias = Callable[[str], Mapping[str, str]]


def foreign(name: str, address: str) -> dict[str, object]:
    """One of these headers."""
    own_key: dict[str, object] = {"kty": "oct", "k": encode("x" * 32)}
    values: dict[str, object] = {"jku": f"{address}/keys", "x5u": f"{address}/key", "jwk": own_key, "x5c": ["MIIB"]}
    return {name: values[name]}


def with_foreign_header(name: str, address: str) -> Mapping[str, str]:
    """HS256 with another secret, and where to find it."""
    return by(token(foreign(name, address), secret=OTHER))


def with_foreign_key(name: str, address: str) -> Mapping[str, str]:
    """RS256 with another key, and where to find it."""
    return by(rs256(STRANGERS, foreign(name, address)))


def without(alg: str, _: str) -> Mapping[str, str]:
    """Nobody has signed it."""
    return by(unsigned(alg))


def of_kid(kid: object, _: str) -> Mapping[str, str]:
    """A token of a key with this name."""
    return by(token({"alg": "RS256", "kid": kid}))


def claiming(changes: Mapping[str, object], _: str) -> Mapping[str, str]:
    """A token with these claims."""
    return by(token(**dict[str, Any](changes)))


#: What is presented, to which route, and the status of the answer. A token is made when its test runs.
ATTACKS: Final[Mapping[str, tuple[str, Present, int]]] = {
    # Signatures.
    **{f"alg {alg!r}": ("/hmac", partial(without, alg), 401) for alg in ("none", "None", "NONE", "nOnE", "")},
    "none with a signature": ("/hmac", lambda _: by(unsigned("none", rest="eA")), 401),
    "a signature that was stripped": ("/hmac", lambda _: by(token().rpartition(".")[0] + "."), 401),
    "without the last part": ("/hmac", lambda _: by(token().rpartition(".")[0]), 401),
    "a signature that was cut": ("/hmac", lambda _: by(token()[:-4]), 401),
    "a signature of other claims": ("/hmac", lambda _: by(f"{token().rpartition('.')[0]}.{token(sub='e')[-43:]}"), 401),
    "another secret": ("/hmac", lambda _: by(token(secret=OTHER)), 401),
    "an empty secret": ("/hmac", lambda _: by(jwt.encode(claims(), "x" * 32, algorithm="HS256")), 401),
    "the public key as a secret": ("/public", lambda _: by(with_public_key_as_secret()), 401),
    "a stranger's key": ("/public", lambda _: by(rs256(STRANGERS)), 401),
    "PS256 by a key for RS256": ("/public", lambda _: by(rs256(algorithm="PS256")), 401),
    "RS512 by a key for RS256": ("/public", lambda _: by(rs256(algorithm="RS512")), 401),
    "RS256 where HS256 is spoken": ("/hmac", lambda _: by(rs256()), 401),
    "a key that is no longer accepted": ("/public", lambda _: by(rs256(head={"kid": "old"})), 401),
    # Headers: nothing in them is followed, and what is critical is not ignored.
    **{f"header {name}": ("/hmac", partial(with_foreign_header, name), 401) for name in FOREIGN},
    **{f"a public key of its own, {name}": ("/public", partial(with_foreign_key, name), 401) for name in FOREIGN},
    "header crit": ("/hmac", lambda _: by(token({"crit": ["x"], "x": 1})), 401),
    "header b64": ("/hmac", lambda _: by(token({"crit": ["b64"], "b64": False})), 401),
    **{
        f"kid {str(kid)[:20]!r}": ("/public", partial(of_kid, kid), 401)
        for kid in ("../../etc/passwd", "/dev/null", "' OR 1=1 --", "x" * 4_000, "\x00", 7, ["2026"])
    },
    "a token of more than 8 KiB": ("/hmac", lambda _: by(token(x="x" * 8_000)), 401),
    # Claims.
    **{f"no {name}": ("/hmac", partial(claiming, {name: None}), 401) for name in ("exp", "aud", "iss", "sub")},
    "has expired": ("/hmac", lambda _: by(token(exp=time.time() - 1)), 401),
    "a thousand years": ("/hmac", lambda _: by(token(exp=time.time() + 3e10)), 401),
    "not yet": ("/hmac", lambda _: by(token(nbf=time.time() + 120)), 401),
    "issued tomorrow": ("/hmac", lambda _: by(token(iat=time.time() + 120)), 401),
    "for somebody else": ("/hmac", lambda _: by(token(aud="mail")), 401),
    "for some others": ("/hmac", lambda _: by(token(aud=["mail", "chat.evil"])), 401),
    "of somebody else": ("/hmac", lambda _: by(token(iss="https://evil.example")), 401),
    "of nearly us": ("/hmac", lambda _: by(token(iss=ISSUER + "/")), 401),
    "an ID token for an access token": ("/typed", lambda _: by(token()), 401),
    **{
        f"{name} is {value!r}": ("/hmac", partial(claiming, {name: value}), 401)
        for name, values in {
            "exp": ("soon", [1], {"a": 1}, True, float("nan"), float("inf"), 1e400, -1, "9999999999"),
            "nbf": ("now", [1], True, float("nan")),
            "iat": ("now", [1], True, float("nan")),
            "aud": (7, {"chat": 1}, [7], [["chat"]]),
            "iss": (7, [ISSUER], {"a": ISSUER}),
            "sub": (7, ["ada"], {"a": 1}, True),
            "jti": (7, ["x"]),
            "sid": (7, ["x"]),
            "scope": (7, [7], {"chat": 1}),
        }.items()
        for value in values
    },
    "roles that are a text": ("/role", lambda _: by(token(realm_access={"roles": "admin"})), 401),
    "no roles": ("/role", lambda _: by(token()), 401),
    "roles in another place": ("/role", lambda _: by(token(roles=["admin"])), 401),
    "another role": ("/role", lambda _: by(token(realm_access={"roles": ["no admin"]})), 403),
    "another scope": ("/scope", lambda _: by(token(scope="chatter")), 403),
    # Issuers and tenants.
    "ours, with the key of another": ("/each", lambda _: by(token(secret=OTHER)), 401),
    "another's, with our key": ("/each", lambda _: by(token(iss="https://other.example")), 401),
    "another tenant": ("/tenants", lambda _: by(token(iss=TENANTS.format(tid="t2"), tid="t2")), 401),
    "another tenant's tid": ("/tenants", lambda _: by(token(iss=TENANTS.format(tid="t2"), tid="t1")), 401),
    "another tenant's issuer": ("/tenants", lambda _: by(token(iss=TENANTS.format(tid="t1"), tid="t2")), 401),
    "the template itself": ("/tenants", lambda _: by(token(iss=TENANTS, tid="{tid}")), 401),
    # Where it is presented.
    "in header and cookie": ("/hmac", lambda _: by(token()) | {"Cookie": f"__Host-session={token()}"}, 401),
    "a bad one in the header, a good one in the cookie": (
        "/hmac",
        lambda _: by("x") | {"Cookie": f"__Host-session={token()}"},
        401,
    ),
    "a cookie that a sub-domain has set too": (
        "/hmac",
        lambda _: {"Cookie": f"__Host-session={token(sub='eve')}; __Host-session={token()}"},
        401,
    ),
    "without the scheme": ("/hmac", lambda _: {"Authorization": token()}, 401),
    "under another scheme": ("/hmac", lambda _: {"Authorization": f"Basic {token()}"}, 401),
    "two in one header": ("/hmac", lambda _: {"Authorization": f"Bearer {token()}, Bearer {token()}"}, 401),
    "nothing": ("/hmac", lambda _: {}, 401),
    "banned": ("/hmac", lambda _: by(token(sub="banned")), 403),
}  # fmt: skip

#: What is good, so that the table above is not about an app that refuses everybody.
GOOD: Final[Mapping[str, tuple[str, Present]]] = {
    "a header": ("/hmac", lambda _: by(token())),
    "a cookie": ("/hmac", lambda _: {"Cookie": f"__Host-session={token()}"}),
    "a scope": ("/scope", lambda _: by(token(scope="chat"))),
    "a role": ("/role", lambda _: by(token(realm_access={"roles": ["admin"]}))),
    "RSA": ("/public", lambda _: by(rs256())),
    "a tenant": ("/tenants", lambda _: by(token(iss=TENANTS.format(tid="t1"), tid="t1"))),
    "another issuer": ("/each", lambda _: by(token(iss="https://other.example", secret=OTHER))),
    "a type": ("/typed", lambda _: by(token({"typ": "at+jwt"}))),
    "headers that are not looked at": (
        "/hmac",
        lambda address: by(token(foreign("jku", address))),
    ),
}


@contextmanager
def nothing_leaks(log: pytest.LogCaptureFixture, *presented: str) -> Generator[list[ErrorReport]]:
    """Fails if a part of what was presented, or a secret, is in the log, in a report or in a traceback."""
    reports = list[ErrorReport]()
    log.clear()
    with log.at_level(logging.DEBUG):
        yield reports
    formatter = logging.Formatter("%(message)s %(exc_text)s")
    lines = "\n".join(formatter.format(record) + repr(vars(record)) for record in log.records)
    text = lines + "".join(repr(report) + str(report.exception) for report in reports)
    parts = [part for value in presented for part in value.replace("=", " ").split(" ") if len(part) > 40]
    for secret in (*parts, *(part.rpartition(".")[2] for part in parts), SECRET, OTHER):
        assert len(secret) <= 40 or secret not in text


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused with this status, and with the text of the status alone; there is no trace of the token."""
    path, present, status = ATTACKS[name]
    BANNED.add("banned")
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        presented = present(f"http://127.0.0.1:{trap.getsockname()[1]}")
        with nothing_leaks(caplog, *presented.values()) as reports:
            app = app_of_all(reports.append)
            with pytest.raises(Rejected) as caught:
                async with connect(app, path, headers=presented):
                    pass
        with pytest.raises(BlockingIOError):  # nobody has followed an address in a header
            trap.accept()
    assert caught.value.status == status
    assert str(caught.value) == {401: "401 unauthorized", 403: "403 forbidden"}[status]
    assert len(reports) == 1


@pytest.mark.parametrize("name", GOOD)
async def test_what_is_good(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """It lets in."""
    path, present = GOOD[name]
    presented = present("http://127.0.0.1:9")
    with nothing_leaks(caplog, *presented.values()) as reports:
        async with connect(app_of_all(reports.append), path, headers=presented) as client:
            assert await client.receive() == "welcome ada"
    assert reports == []


RENEWALS: Final[Mapping[str, tuple[str, dict[str, object], dict[str, object], str]]] = {
    "the same": ("/hmac", {}, {}, "renewed"),
    "another subject": ("/hmac", {}, {"sub": "eve"}, "Unauthorized"),
    "another session": ("/hmac", {"sid": "1"}, {"sid": "2"}, "Unauthorized"),
    "no session": ("/hmac", {"sid": "1"}, {}, "Unauthorized"),
    "another issuer": ("/hmac", {}, {"iss": "https://evil.example"}, "Unauthorized"),
    "another audience": ("/hmac", {}, {"aud": "mail"}, "Unauthorized"),
    "one that has expired": ("/hmac", {}, {"exp": 1}, "TokenExpired"),
    "another tenant": (
        "/tenants",
        {"iss": TENANTS.format(tid="t1"), "tid": "t1"},
        {"iss": TENANTS.format(tid="t2"), "tid": "t2"},
        "Unauthorized",
    ),
    "fewer scopes": ("/scope", {"scope": "chat"}, {"scope": "read"}, "closed 3003"),
    "fewer roles": ("/role", {"realm_access": {"roles": ["admin"]}}, {"realm_access": {"roles": []}}, "closed 3003"),
    "after a ban": ("/hmac", {"sub": "mallory"}, {"sub": "mallory"}, "closed 3003"),
}


@pytest.mark.parametrize("name", RENEWALS)
async def test_a_renewal(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What proves somebody else leaves the lease as it is; what is forbidden now ends the connection."""
    path, first, second, answer = RENEWALS[name]
    one, other = token(**dict[str, Any](first)), token(**dict[str, Any](second))
    BANNED.discard("mallory")
    with nothing_leaks(caplog, one, other) as reports:
        async with connect(app_of_all(reports.append), path, headers=by(one)) as client:
            assert str(await client.receive()).startswith("welcome ")
            BANNED.add("mallory")
            await client.send(other)
            if answer.startswith("closed"):
                assert (await client.wait_closed()).code == 3003
            else:
                assert await client.receive() == answer


def test_signed_is_no_other() -> None:
    """The kit signs as this module does, so that what is refused here is refused for what it says."""
    assert jwt.decode(signed(claims(), SECRET), SECRET, algorithms=["HS256"], audience="chat")["sub"] == "ada"
    assert cast("str", jwt.decode(token(), SECRET, algorithms=["HS256"], audience="chat")["sub"]) == "ada"
