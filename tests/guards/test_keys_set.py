"""JSON Web Key Sets: which of the keys that issuers publish are used, for what, and that the odd ones are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm

from seawall.errors import Unauthorized
from seawall.guards.jwt.algorithms import Algorithm
from seawall.guards.jwt.key_set import MAX_KEYS, KeySet, MalformedKeySet, parse_key_set
from seawall.guards.jwt.key_source import KeySource
from seawall.guards.jwt.key_table import VerificationKey
from seawall.guards.jwt.unverified import TokenHeader
from seawall.tokens import TokenVerifier, any_audience, any_issuer
from tests.kit.keys import ASYMMETRIC, PrivateKey, ec, ed448, ed25519, jwk, key_for, rsa, signed_by
from tests.kit.tokens import verified

RS: tuple[Algorithm, ...] = ("RS256",)
ALL_RSA: tuple[Algorithm, ...] = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


def a_set(*keys: object) -> KeySet:
    """The set of these JWKs."""
    return parse_key_set(json.dumps({"keys": keys}).encode())


def refused(*keys: object) -> str:
    """What is said of a set none of whose keys can be used."""
    with pytest.raises(MalformedKeySet) as caught:
        a_set(*keys)
    return str(caught.value)


class Published(KeySource):
    """A source that has one set for ever."""

    def __init__(self, *keys: object) -> None:
        """Have the set of these JWKs."""
        self._keys = a_set(*keys)

    def find(self, header: TokenHeader, algorithms: tuple[Algorithm, ...], /) -> VerificationKey | None:
        """Look into the set."""
        return self._keys.find(header, algorithms)

    def check(self, algorithms: tuple[Algorithm, ...], /) -> None:
        """Whatever they are."""


def accepts(
    keys: tuple[object, ...],
    algorithms: tuple[Algorithm, ...],
    key: PrivateKey,
    algorithm: str,
    header: Mapping[str, object] | None = None,
) -> bool:
    """Whether a verifier with this set accepts a token that `key` has signed by `algorithm`."""
    verifier = TokenVerifier(Published(*keys), algorithms=algorithms, audience=any_audience, issuer=any_issuer)
    try:
        return verified(signed_by(key, algorithm, header), verifier).subject == "ada"
    except Unauthorized:
        return False


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_each_algorithm(algorithm: Algorithm) -> None:
    """A key that names its algorithm serves that one, under its `kid`."""
    key = key_for(algorithm)
    keys = (jwk(key, alg=algorithm, kid="now", use="sig", key_ops=["verify"]),)
    assert a_set(*keys).skipped == ()
    assert accepts(keys, (algorithm,), key, algorithm, {"kid": "now"})
    assert accepts(keys, ASYMMETRIC, key, algorithm, {"kid": "now"})
    assert not accepts(keys, (algorithm,), key_for(algorithm, 1), algorithm, {"kid": "now"})
    assert not accepts(keys, (algorithm,), key, algorithm, {"kid": "then"})


def test_a_key_that_does_not_say_its_algorithm() -> None:
    """It serves the one that its type and curve leave among the verifier's; a token does not get to choose."""
    assert accepts((jwk(rsa()),), RS, rsa(), "RS256")
    assert accepts((jwk(rsa()),), ("PS384", "ES256"), rsa(), "PS384")
    assert accepts((jwk(rsa(), alg=None),), RS, rsa(), "RS256")
    for algorithm in ("RS256", "PS256"):
        assert not accepts((jwk(rsa()),), ("RS256", "PS256"), rsa(), algorithm)
    assert not accepts((jwk(rsa()),), ("ES256",), rsa(), "RS256")
    assert accepts((jwk(ec("P-384")),), ("ES256", "ES384"), ec("P-384"), "ES384")
    assert accepts((jwk(ed25519()),), ("ES256", "EdDSA"), ed25519(), "EdDSA")
    assert accepts((jwk(ed448()),), ("EdDSA",), ed448(), "EdDSA")


def test_another_algorithm_than_the_key_says() -> None:
    """PS256 by a key that says RS256 is refused, though the signature would be right."""
    named = (jwk(rsa(), alg="RS256", kid="k"),)
    assert accepts(named, ("RS256", "PS256"), rsa(), "RS256", {"kid": "k"})
    assert not accepts(named, ("RS256", "PS256"), rsa(), "PS256", {"kid": "k"})
    assert not accepts(named, ("PS256",), rsa(), "PS256", {"kid": "k"})


def test_a_token_without_a_kid() -> None:
    """It is accepted only where exactly one key is for its algorithm."""
    one, two = jwk(rsa(), kid="1", alg="RS256"), jwk(rsa(nth=1), kid="2", alg="RS256")
    other = jwk(ec(), kid="3")
    assert accepts((one, other), ("RS256", "ES256"), rsa(), "RS256")
    assert accepts((one, other), ("RS256", "ES256"), ec(), "ES256")
    assert not accepts((one, two), RS, rsa(), "RS256")
    assert accepts((one, jwk(rsa(nth=1), kid="2", alg="PS256")), ("RS256", "PS256"), rsa(), "RS256")


def test_a_key_without_a_kid() -> None:
    """It is for tokens whose `kid` no key has; one that has the `kid` and does not fit is no reason to try others."""
    bare = jwk(rsa())
    assert accepts((bare,), RS, rsa(), "RS256", {"kid": "whatever"})
    assert accepts((bare, jwk(rsa(nth=1), kid="1")), RS, rsa(), "RS256", {"kid": "whatever"})
    assert not accepts((bare, jwk(rsa(nth=1), kid="1")), RS, rsa(), "RS256", {"kid": "1"})
    assert not accepts((bare, jwk(ec(), kid="1")), ("RS256", "ES256"), rsa(), "RS256", {"kid": "1"})
    assert not accepts((bare, jwk(rsa(nth=1))), RS, rsa(), "RS256", {"kid": "whatever"})


def test_two_keys_of_one_kid() -> None:
    """They serve nothing where both fit, and that is said; one for each algorithm is fine, and so is one twice."""
    one, two = jwk(rsa(), kid="k"), jwk(rsa(nth=1), kid="k")
    assert a_set(one, two).skipped == ("kid 'k': several keys have it for one algorithm, and none of these is used",)
    for key in (rsa(), rsa(nth=1)):
        assert not accepts((one, two), RS, key, "RS256", {"kid": "k"})
    each = (one, jwk(ec(), kid="k"))
    assert a_set(*each).skipped == ()
    assert accepts(each, ("RS256", "ES256"), rsa(), "RS256", {"kid": "k"})
    assert accepts(each, ("RS256", "ES256"), ec(), "ES256", {"kid": "k"})
    assert len(a_set(one, one).keys) == 1
    assert accepts((one, one), RS, rsa(), "RS256", {"kid": "k"})


BAD: dict[str, tuple[object, str]] = {
    "a secret": ({"kty": "oct", "k": "c2VjcmV0" * 8}, "a secret or a private key"),
    "a secret, said to be RSA": (jwk(rsa(), k="c2VjcmV0"), "a secret or a private key"),
    "a private RSA key": (jwk(rsa(), private=True), "a secret or a private key"),
    "a private EC key": (jwk(ec(), private=True), "a secret or a private key"),
    "a private Ed25519 key": (jwk(ed25519(), private=True), "a secret or a private key"),
    "a prime": (jwk(rsa(), p="AQAB"), "a secret or a private key"),
    "a numeric kid": (jwk(rsa(), kid=7), "its kid is no text"),
    "a kid that is a list": (jwk(rsa(), kid=["k"]), "its kid is no text"),
    "a long kid": (jwk(rsa(), kid="k" * 257), "its kid is no text, or is too long"),
    "a short RSA key": (jwk(rsa(1024)), "RSA key of 1024 bits; 2048 are the least"),
    "a huge RSA key": (jwk(rsa(), n="_" * 60_000), "RSA key of 360000 bits; .*16384 the most"),
    "RSA without a modulus": (jwk(rsa(), n=None), "malformed"),
    "an empty modulus": (jwk(rsa(), n=""), "malformed"),
    "a modulus that is a number": (jwk(rsa(), n=5), "malformed"),
    "the exponent 1": (jwk(rsa(), e="AQ"), "malformed"),
    "an even exponent": (jwk(rsa(), e="Ag"), "malformed"),
    "a point beside the curve": (jwk(ec(), x=jwk(ec())["y"]), "malformed"),
    "a short coordinate": (jwk(ec(), x="AQAB"), "malformed"),
    "a curve of another size": (jwk(ec(), crv="P-384"), "malformed"),
    "EC without a point": ({"kty": "EC", "crv": "P-256"}, "malformed"),
    "a short Ed25519 key": (jwk(ed25519(), x="AQAB"), "malformed"),
    "RSA for ES256": (jwk(rsa(), alg="ES256"), "does not fit its type"),
    "RSA for HS256": (jwk(rsa(), alg="HS256"), "does not fit its type"),
    "P-256 for ES384": (jwk(ec(), alg="ES384"), "does not fit its type or its curve"),
    "a text": ("k", "it is no object"),
    "null": (None, "it is no object"),
    "a list": ([jwk(rsa())], "it is no object"),
}

OTHERS: dict[str, tuple[object, str]] = {
    "for encryption": (jwk(rsa(), use="enc"), "not for signatures"),
    "for something new": (jwk(rsa(), use="new"), "not for signatures"),
    "a use that is a list": (jwk(rsa(), use=["sig"]), "not for signatures"),
    "for signing only": (jwk(rsa(), key_ops=["sign"]), "not for verifying"),
    "for wrapping keys": (jwk(rsa(), key_ops=["wrapKey", "encrypt"]), "not for verifying"),
    "for nothing": (jwk(rsa(), key_ops=[]), "not for verifying"),
    "operations as a text": (jwk(rsa(), key_ops="verify"), "not for verifying"),
    "an algorithm for encryption": (jwk(rsa(), alg="RSA-OAEP"), "algorithm is not known"),
    "none": (jwk(rsa(), alg="none"), "algorithm is not known"),
    "an algorithm that is a list": (jwk(rsa(), alg=["RS256"]), "algorithm is not known"),
    "ES256K": (ECAlgorithm.to_jwk(ec("secp256k1").public_key(), as_dict=True), "type or curve is not known"),
    "a new type": ({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQAB"}, "type or curve is not known"),
    "no type": ({"kid": "k"}, "type or curve is not known"),
    "a type that is a list": (jwk(rsa(), kty=["RSA"]), "type or curve is not known"),
    "a curve that is a list": (jwk(ec(), crv=["P-256"]), "type or curve is not known"),
    "for key agreement": (jwk(ed25519(), crv="X25519"), "type or curve is not known"),
}


@pytest.mark.parametrize(("bad", "said"), (BAD | OTHERS).values(), ids=BAD | OTHERS)
def test_odd_keys(bad: object, said: str) -> None:
    """A key that is odd is skipped; the good ones beside it serve, and a set of odd ones alone is none."""
    with pytest.raises(MalformedKeySet, match=f"^no key can be used: key 1: .*{said}"):
        a_set(bad)
    keys = (bad, jwk(ec(nth=1), kid="good"))
    assert [key.kid for key in a_set(*keys).keys] == ["good"]
    assert accepts(keys, ("ES256",), ec(nth=1), "ES256", {"kid": "good"})
    for key, algorithm in ((rsa(), "RS256"), (ec(), "ES256"), (ed25519(), "EdDSA")):
        assert not accepts(keys, ("RS256", "ES256", "EdDSA"), key, algorithm, {"kid": "7"})


@pytest.mark.parametrize(("bad", "said"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_said(bad: object, said: str) -> None:
    """The place of a key that is no good is named, for the log, and nothing of the key itself."""
    (line,) = a_set(jwk(ec(nth=1)), bad).skipped
    assert line.startswith("key 2: ")
    if isinstance(bad, dict):
        members = cast("dict[str, object]", bad).values()
        assert not [value for value in members if isinstance(value, str) and len(value) > 8 and value[:8] in line]


@pytest.mark.parametrize("other", [key for key, _ in OTHERS.values()], ids=OTHERS)
def test_what_is_not_for_us_is_passed_over(other: object) -> None:
    """Keycloak has a key for encryption in every set: that is no reason for a warning."""
    assert a_set(jwk(ec(nth=1)), other).skipped == ()


JUNK: dict[str, bytes] = {
    "nothing": b"",
    "a page": b"<!doctype html><title>503</title>",
    "no UTF-8": b'{"keys": ["\xff"]}',
    "UTF-16": json.dumps({"keys": [jwk(rsa())]}).encode("utf-16"),
    "half a set": json.dumps({"keys": [jwk(rsa())]}).encode()[:-9],
    "two sets": json.dumps({"keys": [jwk(rsa())]}).encode() * 2,
    "depth": b"[" * 60_000,
    "a long number": b'{"keys": [' + b"9" * 60_000 + b"]}",
    "a list": json.dumps([jwk(rsa())]).encode(),
    "a key": json.dumps(jwk(rsa())).encode(),
    "a text": b'"keys"',
    "null": b"null",
    "no keys": b"{}",
    "keys by name": json.dumps({"keys": {"k": jwk(rsa())}}).encode(),
    "keys in a text": json.dumps({"keys": json.dumps([jwk(rsa())])}).encode(),
    "keys twice": b'{"keys": [], ' + json.dumps({"keys": [jwk(rsa())]}).encode()[1:],
}


@pytest.mark.parametrize("data", JUNK.values(), ids=JUNK)
def test_what_is_no_set(data: bytes) -> None:
    """Whatever a server answers, it is a set or one error."""
    with pytest.raises(MalformedKeySet, match=r"^it is no "):
        parse_key_set(data)


def test_an_empty_set() -> None:
    """A set without a key cannot be what the issuer means."""
    assert refused() == "no key can be used: there is none"


def test_a_member_twice() -> None:
    """Parsers differ in which of two they take, so a key that has one twice is skipped."""
    good = json.dumps(jwk(rsa(), kid="k", alg="RS256"))
    twice = good[:-1] + ', "alg": "PS256"}'
    with pytest.raises(MalformedKeySet, match="key 1: it has a member twice"):
        parse_key_set(b'{"keys": [%s]}' % twice.encode())
    assert parse_key_set(b'{"keys": [%s, %s]}' % (twice.encode(), good.encode())).skipped == (
        "key 1: it has a member twice",
    )


def test_a_byte_order_mark() -> None:
    """RFC 8259 allows to pass over it, and some servers send one."""
    assert parse_key_set(b"\xef\xbb\xbf" + json.dumps({"keys": [jwk(rsa())]}).encode()).keys


def test_more_keys_than_there_can_be() -> None:
    """The first ones serve; the others are not even looked at."""
    keys = [jwk(ec(), kid=str(at)) for at in range(MAX_KEYS + 50)]
    found = a_set(*keys)
    assert len(found.keys) == MAX_KEYS
    assert found.skipped == (f"keys {MAX_KEYS + 1} to {MAX_KEYS + 50}: {MAX_KEYS} are the most that are looked at",)
    assert found.has("0")
    assert not found.has(str(MAX_KEYS))


def test_a_set_shows_no_key() -> None:
    """What is logged of one are names."""
    assert cast("str", jwk(rsa())["n"])[:8] not in repr(a_set(jwk(rsa(), kid="k")))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Nothing but a set or a `MalformedKeySet` comes of any answer."""
    try:
        parse_key_set(data)
    except MalformedKeySet:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(
    key=st.sampled_from([jwk(rsa()), jwk(ec()), jwk(ed25519()), jwk(rsa(), private=True)]),
    members=st.dictionaries(
        st.sampled_from(["kty", "n", "e", "crv", "x", "y", "d", "k", "use", "key_ops", "alg", "kid", "x5c"]),
        JSON | st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "sig", "RS256", "ES256", "AQAB"]),
        max_size=3,
    ),
)
def test_any_members(key: dict[str, object], members: dict[str, object]) -> None:
    """Whatever stands in a key, it is used as it should be, or skipped."""
    try:
        found = a_set(key | members)
    except MalformedKeySet:
        return
    for header in (TokenHeader("RS256", None), TokenHeader("ES256", "k")):
        found.find(header, ALL_RSA)
    (one,) = found.keys
    assert "HS256" not in one.algorithms
    assert not ({"d", "k"} & (key | members).keys())
