"""What a verifier demands beside a signature: audiences, exact claims, tenants, and one issuer of several."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Annotated, cast

import pytest
from attrs import frozen

from seawall import Claims, ConfigurationError, TokenVerifier, Unauthorized, any_audience, any_issuer
from seawall.tokens import AnyClaims, At, any_tenant, by_issuer
from tests.kit.tokens import SECRET, signed, verified

OTHER = "another secret that is long enough for all the tokens of these tests"

ENTRA = "https://login.microsoftonline.com/{tid}/v2.0"


def verifier(**rules: object) -> TokenVerifier[Claims]:
    """A verifier with these rules."""
    given: dict[str, object] = {"algorithms": ["HS256"], "audience": "chat", "issuer": "https://id.example"}
    make = cast("Callable[..., TokenVerifier[Claims]]", TokenVerifier)  # type: ignore[explicit-any]  # any rules
    return make(SECRET, **given | rules)


def token(**claims: object) -> str:
    """A token that is good, but for what is given."""
    return token_by(SECRET, claims)


def token_by(secret: str, claims: Mapping[str, object]) -> str:
    """The same, signed with this secret."""
    given: dict[str, object] = {"sub": "ada", "aud": "chat", "iss": "https://id.example", "exp": time.time() + 60}
    return signed({**given, **claims}, secret)


def refused(presented: str, by: TokenVerifier[AnyClaims]) -> str:
    """Why a token is refused."""
    with pytest.raises(Unauthorized) as caught:
        verified(presented, by)
    return str(caught.value)


@pytest.mark.parametrize("aud", ["chat", "mail", ["mail", "x"], ["x", "chat"]])
def test_one_of_several_audiences(aud: object) -> None:
    """A token has to name one of them."""
    assert verified(token(aud=aud), verifier(audience=["chat", "mail"])).subject == "ada"


@pytest.mark.parametrize("aud", ["calendar", ["x", "y"], [], None, ["Chat"], "chat "])
def test_none_of_several_audiences(aud: object) -> None:
    """Otherwise it is for somebody else."""
    refused(token(aud=aud), verifier(audience=["chat", "mail"]))


EXACT = {"azp": "web", "token_use": "access", "level": 2, "verified": True}


def test_claims_that_are_required() -> None:
    """Each has to be there, with this value."""
    by = verifier(audience=any_audience, require=EXACT)
    assert verified(token(**EXACT), by).subject == "ada"


@pytest.mark.parametrize(
    "change",
    [{"azp": "evil"}, {"azp": None}, {"azp": ["web"]}, {"azp": "web "}, {"level": True}, {"level": "2"}, {"level": 3},
     {"verified": 1}, {"verified": "true"}, {"verified": False}, {"token_use": "id"}],
    ids=str,
)  # fmt: skip
def test_a_claim_that_is_not_the_required_one(change: dict[str, object]) -> None:
    """A bool is no number, a list of one no text; the refusal names the claim and not its value."""
    text = refused(token(**EXACT | change), verifier(audience=any_audience, require=EXACT))
    assert f"{next(iter(change))} is missing, or is not the one that is required" in text
    assert "evil" not in text


def test_what_is_required_stays_required() -> None:
    """Changing the mapping afterwards takes nothing back."""
    demanded: dict[str, object] = {"azp": "web"}
    by = verifier(audience=any_audience, require=demanded)
    demanded.clear()
    refused(token(azp="evil"), by)


def test_tenants() -> None:
    """The issuer is that of the token's own tenant, which has to be one of ours."""
    by = verifier(issuer=ENTRA, tenants=["t1", "t2"])
    assert verified(token(iss=ENTRA.format(tid="t2"), tid="t2"), by).issuer == ENTRA.format(tid="t2")
    assert verified(token(iss=ENTRA.format(tid="t9"), tid="t9"), verifier(issuer=ENTRA, tenants=any_tenant)).subject


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"iss": ENTRA.format(tid="t3"), "tid": "t3"}, "of another tenant"),
        ({"iss": ENTRA.format(tid="t1"), "tid": "t2"}, "its tid is not the tenant of its issuer"),
        ({"iss": ENTRA.format(tid="t2"), "tid": "t1"}, "its tid is not the tenant of its issuer"),
        ({"iss": ENTRA.format(tid="t1")}, "it names no tenant"),
        ({"iss": ENTRA.format(tid="t1"), "tid": ["t1"]}, "it names no tenant"),
        ({"iss": ENTRA.format(tid=""), "tid": ""}, "it names no tenant"),
        ({"iss": ENTRA, "tid": "t1"}, "its tid is not the tenant of its issuer"),
        ({"iss": None, "tid": "t1"}, "refused"),
        ({"iss": "https://evil.example/t1/v2.0", "tid": "t1"}, "its tid is not the tenant of its issuer"),
    ],
    ids=str,
)
def test_another_tenant(claims: dict[str, object], text: str) -> None:
    """Neither `tid` alone nor `iss` alone lets in."""
    assert text in refused(token(**claims), verifier(issuer=ENTRA, tenants=["t1", "t2"]))


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"issuer": ENTRA}, r"issuer has a \{tid\}, .*tenants=any_tenant"),
        ({"issuer": ENTRA, "tenants": []}, r"issuer has a \{tid\}"),
        ({"issuer": ENTRA, "tenants": "t1"}, r"tenants='t1': give a list, \['t1'\]"),
        ({"issuer": ENTRA, "tenants": [None]}, r"tenants=\[None\]; give their ids"),
        ({"issuer": ENTRA, "tenants": 5}, r"tenants=5: give a list"),
        ({"tenants": ["t1"]}, r"tenants=, but the issuer 'https://id.example' has no \{tid\}"),
        ({"tenants": any_tenant}, r"tenants=, but the issuer"),
        ({"issuer": any_issuer, "tenants": ["t1"]}, r"tenants=, but the issuer"),
        ({"require": ["azp"]}, r"require=\['azp'\]; give claims and values"),
        ({"require": {"azp": None}}, r"require has 'azp': None; give the name of a claim"),
        ({"require": {"azp": ["web"]}}, r"require has 'azp'"),
        ({"require": {5: "web"}}, r"require has 5"),
        ({"require": {"aud": "chat"}}, r"require has 'aud', for which there is a rule of its own: audience"),
        ({"require": {"exp": 5}}, r"require has 'exp', .*: leeway and max_lifetime"),
    ],
    ids=str,
)
def test_rules_that_mean_nothing(rules: dict[str, object], text: str) -> None:
    """Are refused where the verifier is made."""
    with pytest.raises(ConfigurationError, match=text):
        verifier(**rules)


@frozen(kw_only=True)
class Own(Claims):
    """Of tokens that we issue."""

    role: str


@frozen(kw_only=True)
class Google(Claims):
    """Of tokens that Google issues."""

    email: str


own = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer="https://id.example", claims=Own, leeway=5)
google = TokenVerifier(OTHER, algorithms=["HS256"], audience="g", issuer="https://accounts.google.com", claims=Google)
entra = TokenVerifier(OTHER, algorithms=["HS256"], audience="e", issuer=ENTRA, tenants=["t1"])
each = by_issuer(own, google, entra)


def test_each_issuer_has_its_verifier() -> None:
    """Claims are of the class of that issuer."""
    assert isinstance(verified(token(role="x"), each), Own)
    assert isinstance(
        verified(token_by(OTHER, {"iss": "https://accounts.google.com", "aud": "g", "email": "a@b"}), each), Google
    )
    assert type(verified(token_by(OTHER, {"iss": ENTRA.format(tid="t1"), "tid": "t1", "aud": "e"}), each)) is Claims


@pytest.mark.parametrize(
    ("secret", "claims"),
    [
        (OTHER, {"role": "x"}),  # ours, signed by Google
        (SECRET, {"iss": "https://accounts.google.com", "aud": "g", "email": "a@b"}),  # Google's, signed by us
        (
            OTHER,
            {"iss": "https://accounts.google.com", "aud": "chat", "email": "a@b"},
        ),  # for our audience, not Google's
        (SECRET, {"iss": "https://evil.example", "role": "x"}),
        (SECRET, {"iss": None, "role": "x"}),
        (OTHER, {"iss": ENTRA.format(tid="t2"), "tid": "t2", "aud": "e"}),
        (OTHER, {"iss": ENTRA.format(tid="t1/.."), "tid": "t1/..", "aud": "e"}),
    ],
    ids=str,
)
def test_an_issuer_with_the_key_of_another(secret: str, claims: dict[str, object]) -> None:
    """The one that the token names decides alone."""
    refused(token_by(secret, claims), each)


@pytest.mark.parametrize("presented", ["", "x", "a.b.c", "..", "e30.e30.", "x" * 9_000])
def test_what_is_no_token(presented: str) -> None:
    """Is refused, whatever it is."""
    refused(presented, each)


async def test_each_issuer_has_its_leeway() -> None:
    """What a guard leases is what the verifier of the issuer allows."""
    proof = await each.prove(token(role="x"))
    assert proof.ends_at == proof.claims.expires_at + 5
    other = await each.prove(token_by(OTHER, {"iss": "https://accounts.google.com", "aud": "g", "email": "a@b"}))
    assert other.ends_at == other.claims.expires_at


def test_verifiers_of_one_issuer() -> None:
    """Two of one issuer, one of any, one alone: each is an error that says what to do."""
    anybodys = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer=any_issuer)
    tenant = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer=ENTRA.format(tid="t1"))
    for several in ((own, own), (own, verifier()), (entra, tenant), (tenant, entra), (entra, entra), (each, google)):
        with pytest.raises(ConfigurationError, match=r"^by_issuer\(\): two verifiers of the issuer .*; leave one"):
            by_issuer(*several)

    def of(issuer: str) -> TokenVerifier[Claims]:
        tenants = {"tenants": any_tenant} if "{tid}" in issuer else {}
        return verifier(issuer=issuer, **tenants)

    for issuers in (("https://l/{tid}/v2", "https://l/acme/{tid}"), ("https://l/{tid}-a", "https://l/b-{tid}")):
        with pytest.raises(ConfigurationError, match=r"^by_issuer\(\): two verifiers of the issuer .*; leave one"):
            by_issuer(*map(of, issuers))
    for issuers in (
        ("https://l/{tid}/v2", "https://l/{tid}/v1"),
        ("https://l/{tid}", "https://l/{tid}/"),
        ("https://l/{tid}", "https://m/{tid}"),
        ("https://l/a-{tid}", "https://l/b-{tid}"),
        ("https://l/{tid}/x", "https://l/acme/y"),
    ):
        by_issuer(*map(of, issuers))
    with pytest.raises(ConfigurationError, match=r"any_issuer would take the tokens of the others"):
        by_issuer(own, anybodys)
    with pytest.raises(ConfigurationError, match=r"give it one for each issuer"):
        by_issuer(own)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue] # the mistake
    with pytest.raises(ConfigurationError, match=r"was given a str; give it verifiers"):
        by_issuer(own, cast("TokenVerifier[Claims]", SECRET))


def test_nothing_secret_is_shown() -> None:
    """The text of a verifier has its rules and not its keys."""
    assert SECRET not in repr(each)
    assert OTHER not in repr(each)
    assert "https://id.example" in repr(each)


# What tokens of providers look like; their values are made up.


@frozen(kw_only=True)
class OfKeycloak(Claims):
    """A realm's access token."""

    azp: str
    username: Annotated[str, At("preferred_username")]
    roles: Annotated[frozenset[str], At("realm_access", "roles")] = frozenset()
    client_roles: Annotated[frozenset[str], At("resource_access", "chat", "roles")] = frozenset()


@frozen(kw_only=True)
class OfAuth0(Claims):
    """An access token for an API, with permissions and a claim of a customer's."""

    permissions: frozenset[str] = frozenset()
    roles: Annotated[tuple[str, ...], At("https://chat.example/roles")] = ()


@frozen(kw_only=True)
class OfEntra(Claims):
    """An access token of version 2."""

    tenant: Annotated[str, At("tid")]
    object_id: Annotated[str, At("oid")]
    scp: str = ""
    roles: frozenset[str] = frozenset()


@frozen(kw_only=True)
class OfCognito(Claims):
    """An access token, which has no audience."""

    client_id: str
    groups: Annotated[frozenset[str], At("cognito:groups")] = frozenset()


@frozen(kw_only=True)
class OfGoogle(Claims):
    """An ID token."""

    email: str
    email_verified: bool
    domain: Annotated[str | None, At("hd")] = None


@frozen(kw_only=True)
class OfFirebase(Claims):
    """An ID token."""

    sign_in: Annotated[str, At("firebase", "sign_in_provider")]
    user_id: str


@frozen(kw_only=True)
class OfOkta(Claims):
    """An access token, whose scopes are a list under another name."""

    uid: str
    scp: tuple[str, ...] = ()


PROVIDERS: list[tuple[type[AnyClaims], dict[str, object], dict[str, object], dict[str, object]]] = [
    (
        OfKeycloak,
        {"issuer": "https://id.example/realms/chat", "audience": "chat", "require": {"typ": "Bearer", "azp": "web"}},
        {
            "exp": 0, "iat": -1, "auth_time": -2, "jti": "onrtac:1", "iss": "https://id.example/realms/chat",
            "aud": ["chat", "account"], "sub": "f3a1", "typ": "Bearer", "azp": "web", "sid": "s1", "acr": "1",
            "allowed-origins": ["https://chat.example"], "realm_access": {"roles": ["admin", "offline_access"]},
            "resource_access": {"chat": {"roles": ["speaker"]}, "account": {"roles": ["manage-account"]}},
            "scope": "openid profile email", "email_verified": True, "preferred_username": "ada",
        },
        {"username": "ada", "roles": {"admin", "offline_access"}, "client_roles": {"speaker"}, "session_id": "s1"},
    ),
    (
        OfAuth0,
        {"issuer": "https://chat.eu.auth0.com/", "audience": "https://api.chat.example", "require": {"azp": "web"}},
        {
            "iss": "https://chat.eu.auth0.com/", "sub": "auth0|60a1", "iat": -1, "exp": 0, "azp": "web",
            "aud": ["https://api.chat.example", "https://chat.eu.auth0.com/userinfo"], "scope": "openid chat:write",
            "permissions": ["chat:write"], "https://chat.example/roles": ["admin"],
        },
        {"permissions": {"chat:write"}, "roles": ("admin",), "scopes": {"openid", "chat:write"}},
    ),
    (
        OfEntra,
        {"issuer": ENTRA, "tenants": ["72f9"], "audience": "6e74", "require": {"ver": "2.0"}},
        {
            "aud": "6e74", "iss": ENTRA.format(tid="72f9"), "iat": -1, "nbf": -1, "exp": 0, "aio": "x", "azp": "6e75",
            "azpacr": "1", "name": "Ada", "oid": "690b", "preferred_username": "ada@chat.example", "rh": "x",
            "scp": "Chat.Write", "sub": "HKZp", "tid": "72f9", "uti": "x", "ver": "2.0", "roles": ["Admin"],
        },
        {"tenant": "72f9", "object_id": "690b", "scp": "Chat.Write", "roles": {"Admin"}},
    ),
    (
        OfCognito,
        {
            "issuer": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x", "audience": any_audience,
            "require": {"client_id": "3n4b", "token_use": "access"},
        },
        {
            "sub": "aaaa", "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x", "client_id": "3n4b",
            "origin_jti": "x", "event_id": "x", "token_use": "access", "scope": "chat/write", "auth_time": -1, "exp": 0,
            "iat": -1, "jti": "y", "username": "ada", "cognito:groups": ["admins"], "version": 2,
        },
        {"client_id": "3n4b", "groups": {"admins"}, "scopes": {"chat/write"}, "token_id": "y", "audience": ()},
    ),
    (
        OfGoogle,
        {"issuer": "https://accounts.google.com", "audience": "1.apps", "require": {"email_verified": True}},
        {
            "iss": "https://accounts.google.com", "azp": "1.apps", "aud": "1.apps", "sub": "1105", "hd": "chat.example",
            "email": "ada@chat.example", "email_verified": True, "at_hash": "x", "iat": -1, "exp": 0,
        },
        {"email": "ada@chat.example", "domain": "chat.example", "subject": "1105"},
    ),
    (
        OfFirebase,
        {"issuer": "https://securetoken.google.com/chat-1", "audience": "chat-1"},
        {
            "iss": "https://securetoken.google.com/chat-1", "aud": "chat-1", "user_id": "u1", "sub": "u1",
            "iat": -1, "exp": 0, "firebase": {"identities": {"email": ["a@b"]}, "sign_in_provider": "password"},
        },
        {"sign_in": "password", "user_id": "u1"},
    ),
    (
        OfOkta,
        {"issuer": "https://chat.okta.com/oauth2/default", "audience": "api://default", "require": {"cid": "0oa1"}},
        {
            "ver": 1, "jti": "AT.1", "iss": "https://chat.okta.com/oauth2/default", "aud": "api://default", "iat": -1,
            "exp": 0, "cid": "0oa1", "uid": "00u1", "scp": ["openid", "chat"], "sub": "ada@chat.example",
        },
        {"uid": "00u1", "scp": ("openid", "chat"), "token_id": "AT.1"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "rules", "claims", "expected"), PROVIDERS, ids=[kind.__name__ for kind, *_ in PROVIDERS]
)
def test_a_provider(
    kind: type[AnyClaims], rules: dict[str, object], claims: Mapping[str, object], expected: Mapping[str, object]
) -> None:
    """What it issues is verified and typed; each claim that is required is looked at."""
    dates = {name: time.time() + 60 + cast("int", claims[name]) for name in ("exp", "iat", "nbf") if name in claims}
    dates |= {name: date - 60 for name, date in dates.items() if name != "exp"}
    payload = {**claims, **dates}
    found = verified(signed(payload), verifier(**rules, claims=kind))
    assert {name: getattr(found, name) for name in expected} == expected
    for name in cast("Mapping[str, object]", rules.get("require", {})):
        refused(signed({**payload, name: "x"}), verifier(**rules, claims=kind))
    refused(signed({**payload, "iss": "https://evil.example"}), verifier(**rules, claims=kind))
