"""`SigningKey`: which keys sign, what verifies their tokens, what is derived from them, and which ones are refused."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.dsa import generate_private_key as generate_dsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from seawall.errors import ConfigurationError, Unauthorized
from seawall.guards.jwt.algorithms import Algorithm
from seawall.sessions import SigningKey
from seawall.tokens import KeyRing, TokenVerifier, any_audience, any_issuer
from tests.kit.keys import ASYMMETRIC, ec, ed448, jwk, key_for, private_pem, public_pem, rsa
from tests.kit.tokens import SECRET, verified

CLAIMS = {"sub": "ada", "exp": 4_000_000_000}


def verifier(key: SigningKey) -> TokenVerifier:
    """What takes its tokens."""
    return TokenVerifier(
        KeyRing(key.verifying),
        algorithms=[key.algorithm],
        audience=any_audience,
        issuer=any_issuer,
        max_lifetime=1e10,
        type="at+jwt",
    )


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_private_key(algorithm: Algorithm, tmp_path: Path) -> None:
    """A PEM is text, bytes or a file; all are the same key, whose public half verifies, and no other one does."""
    pem = private_pem(key_for(algorithm))
    file = tmp_path / "private.pem"
    file.write_bytes(pem)
    keys = [SigningKey(None, given, algorithm) for given in (pem, pem.decode(), file)]
    for key in keys:
        token = key.sign(CLAIMS, type="at+jwt")
        assert all(verified(token, verifier(other)).subject == "ada" for other in keys)
        assert b"PRIVATE" not in cast("bytes", key.verifying.material)
    other = SigningKey(None, private_pem(key_for(algorithm, 1)), algorithm)
    with pytest.raises(Unauthorized):
        verified(other.sign(CLAIMS, type="at+jwt"), verifier(keys[0]))
    assert len({key.verifying.kid for key in [*keys, other]}) == 2
    assert len({key.derived(b"a: b") for key in [*keys, other]}) == 2


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_secret(algorithm: Algorithm) -> None:
    """Text and bytes are the same secret; its name and what is derived say nothing of it."""
    keys = [SigningKey(None, given, algorithm) for given in (SECRET * 2, (SECRET * 2).encode())]
    for key in keys:
        assert all(verified(key.sign(CLAIMS, type="at+jwt"), verifier(other)).subject == "ada" for other in keys)
    other = SigningKey(None, SECRET * 2 + "x", algorithm)
    with pytest.raises(Unauthorized):
        verified(other.sign(CLAIMS, type="at+jwt"), verifier(keys[0]))
    assert len({key.verifying.kid for key in [*keys, other]}) == 2
    assert len({key.derived(label) for key in [*keys, other] for label in (b"a: b", b"seawall: kid")}) == 4
    assert len(keys[0].derived(b"a: b")) == 32


def test_other_forms_of_a_private_key() -> None:
    """PKCS #1 and SEC 1 are PEMs of the same key as PKCS #8, lines around it do not count, and Ed448 serves EdDSA."""
    for key, algorithm in ((rsa(), "RS256"), (ec(), "ES256")):
        old = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        new = private_pem(key)
        one, two, three = (
            SigningKey(None, pem, cast("Algorithm", algorithm)) for pem in (old, new, b"our key\n" + new + b"\n")
        )
        assert one.verifying.kid == two.verifying.kid == three.verifying.kid
        assert one.derived(b"a: b") == two.derived(b"a: b") == three.derived(b"a: b")
    other = SigningKey("k", private_pem(ed448()), "EdDSA")
    assert verified(other.sign(CLAIMS, type="at+jwt"), verifier(other)).subject == "ada"


def test_its_name() -> None:
    """A name of one's own stands in the header."""
    key = SigningKey("2026-03", SECRET, "HS256")
    assert key.verifying.kid == "2026-03"
    assert repr(key) == "SigningKey(kid='2026-03', algorithm='HS256')"


SSH = ec().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())

SAID: dict[str, tuple[object, str, str]] = {
    "a public key": (public_pem(rsa()), "RS256", "RS256 signs with a private key; this holds none"),
    "an encrypted one": (
        rsa().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
        "RS256",
        "encrypted; decrypt it",
    ),
    "one of SSH": (SSH, "ES256", "ssh-keygen -p -m PKCS8"),
    "two": (private_pem(rsa()) + private_pem(rsa(nth=1)), "RS256", "several keys"),
    "a secret": (SECRET, "RS256", "this is no PEM"),
    "a name of a file": ("private.pem", "ES256", r"pathlib.Path\('private.pem'\)"),
    "a JWK": (str(jwk(rsa(), private=True)), "RS256", "this is no PEM"),
    "None": (None, "ES256", "environment variable"),
    "a number": (7, "ES256", "no str, bytes or Path"),
    "a broken one": ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "ES256", "cannot be parsed$"),
    "literal newlines": (private_pem(ec()).replace(b"\n", b"\\n"), "ES256", r"text.replace\("),
    "a short RSA key": (private_pem(rsa(1024)), "RS256", "1024 bits"),
    "RSA for ES": (private_pem(rsa()), "ES256", "an RSA key cannot serve ES256"),
    "EC for RS": (private_pem(ec()), "RS256", "an EC key of the curve P-256 cannot serve RS256"),
    "another curve": (private_pem(ec("P-384")), "ES256", "cannot serve ES256, only ES384"),
    "DSA": (
        generate_dsa(1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "RS256",
        "of this kind signs with no algorithm",
    ),
    "a private key as a secret": (private_pem(ec()), "HS256", "which takes a secret; name its algorithm"),
    "a public key as a secret": (public_pem(ec()), "HS256", "a public one is no secret"),
    "a file as a secret": (Path("secret"), "HS256", "not read from a file"),
    "a secret that is too short": (SECRET[:40], "HS384", "a secret of 40 bytes is too short, HS384 needs 48"),
    "one of everybody": ("x" * 40, "HS256", "only 1 different bytes"),
    "no algorithm": (SECRET, "none", r"algorithms \['none'\]"),
}


@pytest.mark.parametrize(("material", "algorithm", "said"), SAID.values(), ids=SAID)
def test_keys_that_are_refused(material: object, algorithm: Algorithm, said: str) -> None:
    """The text says what was given, and how to get what is needed; it never shows it."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        SigningKey(None, cast("str", material), algorithm)
    assert caught.value.__cause__ is None
    shown = "".join(traceback.format_exception(caught.value)).partition("Error: ")[2]
    assert str(caught.value).startswith("SigningKey: ")
    assert not any(part in shown for part in ("MII", "MFk", "MHc", SECRET))


def test_a_kid_that_is_the_key() -> None:
    """Arguments that have been mixed up are not shown."""
    with pytest.raises(ConfigurationError, match="SigningKey: the kid is no text") as caught:
        SigningKey(private_pem(ec()).decode(), "k", "ES256")
    assert "BEGIN" not in str(caught.value)
