"""Tokens: what RFC 8725 asks of a verifier, and that nothing a client sends causes anything but a refusal."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import math
import secrets
import time
import traceback
from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.errors import ConfigurationError, TokenExpired, Unauthorized
from seawall.guards.jwt.algorithms import Algorithm
from seawall.guards.jwt.claims import AnyClaims, Claims
from seawall.guards.jwt.one_issuer import MAX_TOKEN
from seawall.guards.jwt.rules import Rules, any_audience, any_issuer
from seawall.guards.jwt.secret import KNOWN
from seawall.guards.jwt.verifier import TokenVerifier
from tests.kit.tokens import verified

SECRET = "s3cret-that-nobody-may-ever-read-in-a-log-or-an-error-message-0123456789"
HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
NOW: float = time.time()


@pytest.fixture(autouse=True)
def _present() -> None:
    """Each test has its own now: the whole suite takes longer than some of these tokens live."""
    global NOW  # noqa: PLW0603 - the cases below are written against one moment
    NOW = time.time()  # pyright: ignore[reportConstantRedefinition]  # as above


def encode(data: bytes) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_raw(header: bytes, payload: bytes, *, secret: str = SECRET, algorithm: str = "HS256") -> str:
    """A token of any bytes whatever, with a signature that is right. Made without the library under test."""
    signed = f"{encode(header)}.{encode(payload)}"
    signature = hmac.new(secret.encode(), signed.encode(), HASHES[algorithm]).digest()
    return f"{signed}.{encode(signature)}"


def sign(claims: Mapping[str, object], header: dict[str, object] | None = None, *, algorithm: str = "HS256") -> str:
    """A token with these claims, and further header parameters."""
    head = json.dumps({"alg": algorithm, "typ": "JWT"} | (header or {}))
    return sign_raw(head.encode(), json.dumps(claims).encode(), algorithm=algorithm)


def good(**changes: object) -> dict[str, object]:
    """Claims that are good, with changes; None leaves one out."""
    claims: dict[str, object] = {"sub": "ann", "aud": "chat", "iss": "https://id.example", "exp": NOW + 600}
    return {name: value for name, value in (claims | changes).items() if value is not None}


verifier = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer="https://id.example")
waiving = TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer)


def refused(token: str, by: TokenVerifier = verifier) -> Unauthorized:
    """The refusal that the token gets."""
    with pytest.raises(Unauthorized) as caught:
        verified(token, by)
    return caught.value


def test_a_good_token() -> None:
    """Every registered claim is read, dates as floats, the audience as a tuple, the scopes as a set."""
    payload = good(iat=NOW - 5, nbf=NOW - 5, jti="t1", scope="chat:read chat:write", room=7)
    claims = verified(sign(payload), verifier)
    assert claims == Claims(
        subject="ann",
        issuer="https://id.example",
        audience=("chat",),
        expires_at=NOW + 600,
        issued_at=NOW - 5,
        not_before=NOW - 5,
        token_id="t1",
        scopes=frozenset({"chat:read", "chat:write"}),
        raw=payload,
    )


def test_the_least_a_token_can_say() -> None:
    """With audience, issuer and subject waived, only `exp` has to be there."""
    about_nobody = TokenVerifier(
        SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, claims=AnyClaims
    )
    claims = verified(sign({"exp": NOW + 600}), about_nobody)
    assert (claims.subject, claims.issuer, claims.audience, claims.scopes) == (None, None, (), frozenset())
    assert (claims.issued_at, claims.not_before, claims.token_id) == (None, None, None)


def test_raw_claims_cannot_be_changed() -> None:
    """Claims are a value: what a handler does with them reaches no other."""
    raw = verified(sign(good()), verifier).raw
    with pytest.raises(TypeError):
        raw["sub"] = "eve"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]  # what must not work


@pytest.mark.parametrize(
    ("given", "expected"),
    [("a", ["a"]), ("a  b a", ["a", "b"]), ("", []), (["a", "b c"], ["a", "b c"]), (None, [])],
    ids=repr,
)
def test_scopes(given: object, expected: list[str]) -> None:
    """Scopes are a string of words, or a list."""
    assert verified(sign(good(scope=given)), verifier).scopes == set(expected)


def test_one_of_several_audiences() -> None:
    """A token may be for several; we must be among them."""
    assert verified(sign(good(aud=["mail", "chat"])), verifier).audience == ("mail", "chat")
    refused(sign(good(aud=["mail", "calendar"])))


@pytest.mark.parametrize("algorithm", HASHES)
def test_each_algorithm(algorithm: Algorithm) -> None:
    """HS256, HS384 and HS512 verify what was signed with them."""
    one = TokenVerifier(SECRET, algorithms=[algorithm], audience="chat", issuer="https://id.example")
    assert verified(sign(good(), algorithm=algorithm), one).subject == "ann"


def test_a_secret_of_bytes() -> None:
    """A secret is text or bytes."""
    one = TokenVerifier(SECRET.encode(), algorithms=["HS256"], audience="chat", issuer="https://id.example")
    assert verified(sign(good()), one).subject == "ann"


@pytest.mark.parametrize(
    "algorithm",
    ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256", "HS256 ", "X"],
)
@pytest.mark.parametrize("signed", [True, False])
def test_the_token_does_not_choose_the_algorithm(algorithm: str, signed: bool) -> None:
    """Only what the verifier names is accepted, whatever the header says, with a signature or without."""
    token = sign_raw(json.dumps({"alg": algorithm}).encode(), json.dumps(good()).encode())
    if not signed:
        token = token.rpartition(".")[0] + "."
    refused(token)


@pytest.mark.parametrize("algorithm", [None, 0, True, [], ["HS256"], {"HS256": 1}, 1.5], ids=repr)
def test_an_algorithm_that_is_no_string(algorithm: object) -> None:
    """A header may hold anything."""
    refused(sign_raw(json.dumps({"alg": algorithm}).encode(), json.dumps(good()).encode()))


def test_a_token_without_an_algorithm() -> None:
    """There is no default."""
    refused(sign_raw(b"{}", json.dumps(good()).encode()))


def test_one_of_several_algorithms() -> None:
    """The header selects among the accepted ones, and the signature has to be of that one."""
    both = TokenVerifier(SECRET, algorithms=["HS256", "HS512"], audience="chat", issuer="https://id.example")
    assert verified(sign(good(), algorithm="HS512"), both).subject == "ann"
    refused(sign(good(), algorithm="HS384"), both)
    mixed = sign_raw(b'{"alg":"HS512"}', json.dumps(good()).encode(), algorithm="HS256")
    refused(mixed, both)


@pytest.mark.parametrize("secret", ["", "x" * 64, SECRET + " ", SECRET.upper()], ids=["none", "other", "more", "case"])
def test_a_signature_by_somebody_else(secret: str) -> None:
    """Another secret makes another signature."""
    refused(sign_raw(b'{"alg":"HS256"}', json.dumps(good()).encode(), secret=secret))


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": ["made-up"], "made-up": 1},
        {"crit": []},
        {"crit": "b64"},
        {"crit": None},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"kid": 7},
        {"kid": None},
    ],
    ids=repr,
)
def test_headers_that_cannot_be_obeyed(header: dict[str, object]) -> None:
    """What is critical and not understood is refused (RFC 7515, section 4.1.11), and so is what is malformed."""
    refused(sign(good(), header))


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "k1"},
        {"jku": "https://evil.example/keys"},
        {"x5u": "file:///etc/passwd"},
        {"jwk": {"kty": "oct", "k": ""}},
    ],
    ids=repr,
)
def test_headers_that_do_not_count(header: dict[str, object]) -> None:
    """A token cannot bring its own key, nor say where to fetch one (RFC 8725, section 3.10)."""
    assert verified(sign(good(), header), verifier).subject == "ann"


@pytest.mark.parametrize("name", ["exp", "aud", "iss"])
def test_what_must_be_there(name: str) -> None:
    """`exp`, `aud` and `iss` are required, and null is not there."""
    refused(sign(good(**{name: None})))
    refused(sign(good() | {name: None}))


@pytest.mark.parametrize("waived", ["aud", "iss"])
def test_waivers(waived: str) -> None:
    """Each waiver waives one claim: it may be missing or anybody's; the other one is still asked for."""
    one = TokenVerifier(
        SECRET,
        algorithms=["HS256"],
        audience=any_audience if waived == "aud" else "chat",
        issuer=any_issuer if waived == "iss" else "https://id.example",
    )
    other = "iss" if waived == "aud" else "aud"
    for claims in (good(), good(**{waived: None}), good(**{waived: "somebody else"})):
        assert verified(sign(claims), one).subject == "ann"
        refused(sign(claims | {other: "somebody else"}), one)
        refused(sign(claims | {other: None}), one)


@pytest.mark.parametrize("name", ["aud", "iss"])
@pytest.mark.parametrize(
    "value", ["", "Chat", "chat ", 7, True, [], ["https://id.example", 7], {}, {"chat": 1}], ids=repr
)
def test_an_audience_and_an_issuer_of_somebody_else(name: str, value: object) -> None:
    """They must be exactly ours, and of the right type."""
    refused(sign(good() | {name: value}))


@pytest.mark.parametrize("name", ["aud", "iss"])
@pytest.mark.parametrize("value", [7, True, [7], {}, {"chat": 1}], ids=repr)
def test_waived_claims_have_their_type(name: str, value: object) -> None:
    """What is not compared is still read: a handler can rely on the types."""
    refused(sign(good() | {name: value}), waiving)


NO_DATES = {
    "an old string": '"1"',
    "a string": f'"{int(NOW) + 600}"',
    "true": "true",
    "false": "false",
    "null": "null",
    "NaN": "NaN",
    "infinity": "Infinity",
    "minus infinity": "-Infinity",
    "1e400": "1e400",
    "-1e400": "-1e400",
    "10**400": "1" + "0" * 400,
    "10**5000": "1" + "0" * 5_000,
    "an old list": "[1]",
    "a list": f"[{int(NOW) + 600}]",
    "an object": '{"exp": 1}',
    "a deep list": "[" * 2_000 + "]" * 2_000,
    "a long string": '"' + "9" * 5_000 + '"',
}


@pytest.mark.parametrize("value", NO_DATES.values(), ids=NO_DATES)
@pytest.mark.parametrize("by", [verifier, waiving], ids=["strict", "waiving"])
def test_an_expiry_that_is_no_date(value: str, by: TokenVerifier) -> None:
    """Whatever stands in `exp`, as JSON or as what Python takes for it: a token without a date is refused."""
    payload = json.dumps(good(exp=0)).replace('"exp": 0', f'"exp": {value}')
    refused(sign_raw(b'{"alg":"HS256"}', payload.encode()), by)


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize(
    "value", ['"1"', "true", "NaN", "-Infinity", "1e400", "-1e400", "[1]", "{}", "-1" + "0" * 400], ids=repr
)
def test_other_dates_that_are_none(name: str, value: str) -> None:
    """The dates that may be missing have their type when they are there."""
    payload = json.dumps(good(**{name: 0})).replace(f'"{name}": 0', f'"{name}": {value}')
    refused(sign_raw(b'{"alg":"HS256"}', payload.encode()))


@pytest.mark.parametrize("name", ["sub", "jti"])
@pytest.mark.parametrize("value", [7, True, ["ann"], {"a": 1}], ids=repr)
def test_names_that_are_no_strings(name: str, value: object) -> None:
    """Subject and token id are strings (RFC 7519, section 4.1)."""
    refused(sign(good(**{name: value})))


@pytest.mark.parametrize("value", [7, True, {"chat": 1}, ["a", 7], [["a"]]], ids=repr)
def test_scopes_that_are_none(value: object) -> None:
    """A scope that is no string would be a scope that nobody can check."""
    refused(sign(good(scope=value)))


def test_a_token_that_has_expired() -> None:
    """It was good once, which the exception says; one that never was good is not."""
    assert isinstance(refused(sign(good(exp=NOW - 1))), TokenExpired)
    assert isinstance(refused(sign(good(exp=0))), TokenExpired)
    assert not isinstance(refused(sign(good(exp=NOW - 1), algorithm="HS512")), TokenExpired)
    forged = sign_raw(b'{"alg":"HS256"}', json.dumps(good(exp=NOW - 1)).encode(), secret="x" * 64)
    assert not isinstance(refused(forged), TokenExpired)


def test_a_token_that_expires_too_late() -> None:
    """A token for longer than `max_lifetime` is a mistake or a forgery."""
    assert "exp is too far away" in str(refused(sign(good(exp=NOW + 86_400 + 120))))
    assert verified(sign(good(exp=NOW + 86_400 - 60)), verifier).subject == "ann"
    strict = TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, max_lifetime=300.0)
    refused(sign(good(exp=NOW + 600)), strict)


@pytest.mark.parametrize("claims", [{"nbf": 120}, {"iat": 120}, {"iat": 120, "nbf": -5}], ids=str)
def test_a_token_from_the_future(claims: dict[str, float]) -> None:
    """Not yet valid, or issued later than any clock may say, is refused; the log says which of them."""
    ahead = {name: NOW + seconds for name, seconds in claims.items()}
    assert f"{next(iter(claims))} is ahead of our clock" in str(refused(sign(good(**ahead))))


@pytest.mark.parametrize(
    "claims", [{"iat": 2.0}, {"nbf": 2.0}, {"exp": 86_401.0}, {"iat": 59.0, "nbf": 59.0, "exp": 86_459.0}], ids=str
)
def test_mended_16_a_clock_that_is_a_little_ahead(claims: dict[str, float]) -> None:
    """An issuer whose clock is ahead of ours by less than a minute signs good tokens, without any setting."""
    dates = {name: NOW + seconds for name, seconds in claims.items()}
    assert verified(sign(good(**dates)), verifier).subject == "ann"


@pytest.mark.parametrize("skew", [0.0, 5.0, 60.0])
def test_mended_16_skew_is_a_bound(skew: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the three may be ahead by exactly `skew`, and by no more."""
    monkeypatch.setattr("seawall.clock.source", lambda: NOW)
    one = TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, skew=skew)
    for name, limit in (("iat", 0.0), ("nbf", 0.0), ("exp", 86_400.0)):
        assert verified(sign(good(**{name: NOW + limit + skew})), one).subject == "ann"
        refused(sign(good(**{name: NOW + limit + skew + 0.5})), one)


def test_mended_16_skew_is_not_for_the_end_of_a_token() -> None:
    """A token that has expired is refused, however much the clocks may differ; `leeway` is for that."""
    one = TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, skew=600)
    assert isinstance(refused(sign(good(exp=NOW - 1)), one), TokenExpired)
    both = TokenVerifier(SECRET, algorithms=["HS256"], audience=any_audience, issuer=any_issuer, leeway=5)
    assert verified(sign(good(exp=NOW - 1)), both).expires_at == NOW - 1


def test_leeway() -> None:
    """A token is accepted for so long after its end; no other date has this tolerance."""
    lenient = TokenVerifier(
        SECRET, algorithms=["HS256"], audience="chat", issuer="https://id.example", leeway=120, max_lifetime=1000
    )
    assert verified(sign(good(exp=NOW - 60)), lenient).subject == "ann"
    for claims in (good(exp=NOW - 180), good(nbf=NOW + 90), good(iat=NOW + 90), good(exp=NOW + 1090)):
        refused(sign(claims), lenient)


@pytest.mark.parametrize(
    ("wanted", "typ", "fits"),
    [
        (None, "at+jwt", True),
        (None, None, True),
        ("at+jwt", "at+jwt", True),
        ("at+jwt", "AT+JWT", True),
        ("at+jwt", "application/at+jwt", True),
        ("application/at+jwt", "at+jwt", True),
        ("at+jwt", "JWT", False),
        ("at+jwt", "", False),
        ("at+jwt", None, False),
        ("at+jwt", 7, False),
        ("at+jwt", ["at+jwt"], False),
    ],
)
def test_the_type_of_a_token(wanted: str | None, typ: object, fits: bool) -> None:
    """Where a `typ` is asked for, a token for another purpose is refused (RFC 8725, section 3.11)."""
    one = TokenVerifier(SECRET, algorithms=["HS256"], audience="chat", issuer="https://id.example", type=wanted)
    token = sign(good(), {"typ": typ})
    if fits:
        assert verified(token, one).subject == "ann"
    else:
        refused(token, one)


def test_a_token_that_is_too_long_is_not_read() -> None:
    """Above 8 KiB nothing is decoded: the refusal costs nothing and says so."""
    token = sign(good(pad="x" * MAX_TOKEN))
    assert "more than 8192 characters" in str(refused(token))
    assert "more than 8192 characters" in str(refused("." * (MAX_TOKEN + 1)))
    just = sign(good(pad="x" * 5_000))
    assert len(just) < MAX_TOKEN
    assert verified(just, verifier).subject == "ann"


NO_TOKENS = {
    "nothing": "",
    "space": " ",
    "a dot": ".",
    "two dots": "..",
    "three dots": "...",
    "letters": "a.b.c",
    "a null byte": "\x00",
    "a surrogate": "\ud800",
    "not ASCII": "é.é.é",
    "JSON": "null",
    "with its scheme": f"Bearer {sign(good())}",
    "one part more": sign(good()) + ".",
    "one part before": "." + sign(good()),
    "cut": sign(good())[:-1],
    "of nothing": sign_raw(b"", b""),
    "of nulls": sign_raw(b"null", b"null"),
    "of lists": sign_raw(b"[]", b"[]"),
    "without a payload": sign_raw(b'{"alg":"HS256"}', b""),
    "null as a payload": sign_raw(b'{"alg":"HS256"}', b"null"),
    "a list as a payload": sign_raw(b'{"alg":"HS256"}', b"[]"),
    "a string as a payload": sign_raw(b'{"alg":"HS256"}', b'"exp"'),
    "a payload that is not UTF-8": sign_raw(b'{"alg":"HS256"}', b"\xff"),
    "half a payload": sign_raw(b'{"alg":"HS256"}', b"{"),
    "a header that is not UTF-8": sign_raw(b"\xff", json.dumps(good()).encode()),
    "a deep payload": sign_raw(b'{"alg":"HS256"}', b"[" * 3_000),
    "a deep header": sign_raw(b"[" * 3_000, b"{}"),
    "a deep claim": sign_raw(b'{"alg":"HS256"}', b'{"a":' * 900 + b"1" + b"}" * 900),
}


@pytest.mark.parametrize("token", NO_TOKENS.values(), ids=NO_TOKENS)
def test_tokens_that_are_none(token: str) -> None:
    """Whatever it is, it is a refusal."""
    refused(token)


headers = st.dictionaries(
    st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jku"]),
    st.sampled_from(["HS256", "none", "RS256"])
    | st.none()
    | st.booleans()
    | st.floats()
    | st.lists(st.text(), max_size=2),
)
values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
payloads = st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub", "jti", "scope", "x"]), values)


def only_unauthorized(token: str, by: TokenVerifier) -> None:
    """Verify; a claim set or a refusal is right, anything else is raised."""
    try:
        verified(token, by)
    except Unauthorized as refusal:
        text = "".join(traceback.format_exception(refusal))
    else:
        text = ""
    assert SECRET not in text


@given(headers, payloads, st.sampled_from([verifier, waiving]))
def test_any_claims_are_good_or_unauthorized(
    header: dict[str, object], payload: dict[str, object], by: TokenVerifier
) -> None:
    """A right signature over any JSON causes nothing else."""
    for head in (header, header | {"alg": "HS256"}):
        only_unauthorized(sign_raw(json.dumps(head).encode(), json.dumps(good() | payload).encode()), by)
    only_unauthorized(sign_raw(b'{"alg":"HS256"}', json.dumps(payload).encode()), by)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_signed_bytes_are_unauthorized(header: bytes, payload: bytes) -> None:
    """A right signature over bytes that are no JSON is a refusal."""
    refused(sign_raw(header, payload))
    refused(sign_raw(b'{"alg":"HS256"}', payload))


@given(st.text())
def test_any_text_is_unauthorized(token: str) -> None:
    """What is no token at all is a refusal."""
    refused(token)
    refused(f"{token}.{token}.{token}")


@given(st.data())
def test_any_change_to_a_token_is_unauthorized(data: st.DataObject) -> None:
    """A token of which a character was changed, removed or added is not the token that was signed."""
    token = sign(good())
    at = data.draw(st.integers(0, len(token) - 1))
    kept = data.draw(st.integers(0, 1))
    changed = token[:at] + data.draw(st.text("ab.=-_A0é", max_size=2)) + token[at + kept :]
    try:
        claims = verified(changed, verifier)
    except Unauthorized:
        return
    # Base64 lets the last character of the signature vary in bits that say nothing; what was signed is unchanged.
    assert changed.rpartition(".")[0] == token.rpartition(".")[0]
    assert claims == verified(token, verifier)


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_that_is_too_short(algorithm: Algorithm, size: int) -> None:
    """A secret is at least as long as the hash (RFC 7518, section 3.2); the error has the remedy, not the secret."""
    long = "zyxwvutsrq" * 7
    for secret in (long[:size], long[: size - 2] + "é", long[:size].encode()):
        TokenVerifier(secret, algorithms=[algorithm], audience="a", issuer="b")
    for secret in ("z" * (size - 1), b"z" * (size - 1), ""):
        with pytest.raises(
            ConfigurationError, match=rf"is too short, {algorithm} needs {size} .*token_urlsafe"
        ) as caught:
            TokenVerifier(secret, algorithms=[algorithm], audience="a", issuer="b")
        assert "zz" not in str(caught.value)


def test_the_longest_hash_decides() -> None:
    """With several algorithms the secret must be long enough for each."""
    with pytest.raises(ConfigurationError, match="needs 64"):
        TokenVerifier("z" * 63, algorithms=["HS256", "HS512"], audience="a", issuer="b")


@pytest.mark.parametrize("secret", sorted(KNOWN))
def test_mended_21_a_secret_that_everybody_knows(secret: bytes) -> None:
    """One that stands in an example is refused, however it is spelt; the error has the remedy, not the secret."""
    for spelt in (secret.decode(), secret.upper(), secret + b"\n"):
        with pytest.raises(
            ConfigurationError, match=r"stands in an example .*token_urlsafe\(32\).*environment"
        ) as caught:
            TokenVerifier(spelt, algorithms=["HS256"], audience="a", issuer="b")
        assert secret[:20].decode() not in str(caught.value).lower()


@pytest.mark.parametrize(
    "secret", ["0" * 64, "0123456780" * 7, "password" * 8, b"\x00" * 64, "é" * 40, "abcabcabc" * 8], ids=repr
)
def test_mended_21_a_secret_that_can_be_guessed(secret: str | bytes) -> None:
    """With fewer than 10 different bytes it was not drawn by chance."""
    with pytest.raises(ConfigurationError, match=r"only \d different bytes.*token_urlsafe\(64\)"):
        TokenVerifier(secret, algorithms=["HS512"], audience="a", issuer="b")


def test_mended_21_a_secret_that_was_drawn_by_chance() -> None:
    """In whatever way it is written down."""
    for _ in range(100):
        for secret in (secrets.token_hex(32), secrets.token_urlsafe(32), secrets.token_bytes(32)):
            TokenVerifier(secret, algorithms=["HS256"], audience="a", issuer="b")


@pytest.mark.parametrize("algorithms", [[], ["none"], ["HS256", "none"], ["ES256K"], ["hs256"], [""], [None]], ids=repr)
def test_algorithms_that_there_are_not(algorithms: list[Algorithm]) -> None:
    """An empty list, `none`, or an unknown name is refused at once, with those that there are."""
    with pytest.raises(ConfigurationError, match=r"name some of \['HS256', 'HS384', 'HS512', 'RS256', .*'EdDSA'\]"):
        TokenVerifier(SECRET, algorithms=algorithms, audience="a", issuer="b")


def test_algorithms_are_a_list() -> None:
    """Text is a sequence too, of letters."""
    with pytest.raises(ConfigurationError, match=r"algorithms='HS256': give a list, \['HS256'\]"):
        TokenVerifier(SECRET, algorithms=cast("list[Algorithm]", "HS256"), audience="a", issuer="b")


@pytest.mark.parametrize("value", [None, "", any_issuer, 7, [], ["chat", None], b"chat"], ids=repr)
def test_an_audience_that_waives_nothing_in_so_many_words(value: str) -> None:
    """None, as a setting that is not there gives it, must not mean anybody."""
    with pytest.raises(ConfigurationError, match=r"audience=.*any_audience"):
        TokenVerifier(SECRET, algorithms=["HS256"], audience=value, issuer="b")


@pytest.mark.parametrize("value", [None, "", any_audience, 7, ["b"]], ids=repr)
def test_an_issuer_that_waives_nothing_in_so_many_words(value: str) -> None:
    """None, as a setting that is not there gives it, must not mean anybody."""
    with pytest.raises(ConfigurationError, match=r"issuer=.*any_issuer"):
        TokenVerifier(SECRET, algorithms=["HS256"], audience="a", issuer=value)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_a_leeway_that_would_make_every_token_good(value: float) -> None:
    """A leeway is a number of seconds; with NaN or infinity no token would ever expire."""
    with pytest.raises(ConfigurationError, match=r"leeway.*seconds"):
        TokenVerifier(SECRET, algorithms=["HS256"], audience="a", issuer="b", leeway=value)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_mended_16_a_skew_that_is_none(value: float) -> None:
    """A skew is a number of seconds, as a leeway is."""
    with pytest.raises(ConfigurationError, match=r"skew.*seconds"):
        TokenVerifier(SECRET, algorithms=["HS256"], audience="a", issuer="b", skew=value)


@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_a_lifetime_that_is_none(value: float) -> None:
    """Infinity means any; NaN would mean it without saying so."""
    with pytest.raises(ConfigurationError, match=r"max_lifetime.*seconds"):
        TokenVerifier(SECRET, algorithms=["HS256"], audience="a", issuer="b", max_lifetime=value)
    one = TokenVerifier(SECRET, algorithms=["HS256"], audience="a", issuer="b", max_lifetime=math.inf)
    assert verified(sign(good(aud="a", iss="b", exp=NOW + 10_000_000)), one).subject == "ann"


def test_a_public_key_as_a_secret() -> None:
    """A PEM given as a secret is the classic confusion: anybody could sign with it; it fails when it is defined."""
    pem = "-----BEGIN PUBLIC KEY-----\n" + "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE" * 3 + "\n-----END PUBLIC KEY-----\n"
    with pytest.raises(ConfigurationError, match="a key of another kind") as caught:
        TokenVerifier(pem, algorithms=["HS256"], audience="a", issuer="b")
    assert "MFkw" not in "".join(traceback.format_exception(caught.value))


def test_the_secret_is_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    """Not in a repr, not in a str, not in an exception or its traceback, not in a log."""
    caplog.set_level(logging.DEBUG)
    texts = [repr(verifier), str(verifier), f"{verifier!r}"]
    token = sign(good(sub="ann", password="hunter2"))
    claims = verified(token, verifier)
    texts += [repr(claims), str(claims)]
    for bad in (
        token[:-3] + "AAA",
        token + "x",
        sign(good(exp=0)),
        sign(good(exp=None)),
        sign(good(sub=7)),
        "x" * 9_000,
    ):
        try:
            verified(bad, verifier)
        except Unauthorized as refusal:
            texts += [str(refusal), repr(refusal), "".join(traceback.format_exception(refusal))]
            assert bad[-40:] not in texts[-1]
    assert len(texts) == 5 + 6 * 3
    assert caplog.text == ""
    assert not [text for text in texts if SECRET in text or "hunter2" in text or token in text]


def test_a_secret_that_cannot_be_encoded_is_in_no_text() -> None:
    """As an undecodable environment variable gives it: the error must not quote it."""
    with pytest.raises(ConfigurationError, match="cannot be encoded") as caught:
        TokenVerifier("hunter2" * 9 + "\udcff", algorithms=["HS256"], audience="a", issuer="b")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)).partition("Error: ")[2]
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"algorithms": ["HS256"], "issuer": "id"}, "audience= is missing; give its name, or waive it: any_audience"),
        ({"algorithms": ["HS256"], "audience": "chat"}, "issuer= is missing; give its name, or waive it: any_issuer"),
        ({"audience": "chat", "issuer": "id"}, "algorithms= is missing; name what the issuer signs with: ['HS256']"),
        ({}, "algorithms= is missing"),
        (
            {"algorithms": ["HS256"], "audience": "chat", "issuer": "id", "leway": 5},
            "there is no rule 'leway'; the rules are algorithms, audience, issuer, tenants, require, leeway, ",
        ),
    ],
)
def test_rules_that_are_missing_or_misspelt(rules: Rules, text: str) -> None:
    """A type checker finds them; without one, the remedy is said in words of the verifier's."""
    with pytest.raises(ConfigurationError) as caught:
        TokenVerifier(SECRET, **rules)
    assert str(caught.value).startswith(f"TokenVerifier: {text}")
