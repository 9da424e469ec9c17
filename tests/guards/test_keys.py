"""Keys: which ones a verifier takes, what each of them verifies, and which ones are refused when it is made."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import secrets
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import cast

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.dsa import generate_private_key as generate_dsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from trustme import CA

from seawall.errors import ConfigurationError, Unauthorized
from seawall.guards.jwt.algorithms import ALGORITHMS, Algorithm
from seawall.guards.jwt.material import MAX_FILE
from seawall.tokens import Key, TokenVerifier, any_audience, any_issuer
from tests.kit.keys import (
    ASYMMETRIC,
    ec,
    ed448,
    ed25519,
    jwk,
    key_for,
    private_pem,
    public_der,
    public_pem,
    public_ssh,
    rsa,
    signed_by,
)
from tests.kit.tokens import SECRET, verified


def verifier(keys: str | bytes | Path | Key, *algorithms: Algorithm) -> TokenVerifier:
    """A verifier that asks for a signature, and for little else."""
    return TokenVerifier(keys, algorithms=algorithms, audience=any_audience, issuer=any_issuer)


def refused(keys: object, *algorithms: Algorithm) -> str:
    """What is said of keys of which no verifier can be made."""
    with pytest.raises(ConfigurationError) as caught:
        verifier(cast("str", keys), *algorithms)
    assert caught.value.__cause__ is None
    return str(caught.value)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_public_key(algorithm: Algorithm, tmp_path: Path) -> None:
    """A PEM is text, bytes, or a file, and verifies what its private half has signed, and nothing else."""
    key = key_for(algorithm)
    pem = public_pem(key)
    file = tmp_path / "public.pem"
    file.write_bytes(pem)
    for given in (pem, pem.decode(), file, Key(None, pem, algorithm), Key(None, file, algorithm)):
        one = verifier(given, algorithm)
        assert verified(signed_by(key, algorithm), one).subject == "ada"
        assert verified(signed_by(key, algorithm, {"kid": "anything"}), one).subject == "ada"
        with pytest.raises(Unauthorized):
            verified(signed_by(key_for(algorithm, 1), algorithm), one)


def test_a_file_is_read_when_the_verifier_is_made(tmp_path: Path) -> None:
    """What happens to the file later changes nothing: a `KeyRing` reloads."""
    file = tmp_path / "public.pem"
    file.write_bytes(public_pem(rsa()))
    one = verifier(file, "RS256")
    file.unlink()
    assert verified(signed_by(rsa(), "RS256"), one).subject == "ada"


def test_the_other_curve_of_eddsa() -> None:
    """Both of RFC 8037 are good."""
    assert verified(signed_by(ed448(), "EdDSA"), verifier(public_pem(ed448()), "EdDSA")).subject == "ada"


def test_a_pem_of_rsa_alone() -> None:
    """The older form of RSA keys (PKCS #1) is a PEM too, and what stands around it does not count."""
    old = rsa().public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    for pem in (old, b"the key of our issuer\n" + old + b"\n\n"):
        assert verified(signed_by(rsa(), "RS256"), verifier(pem, "RS256")).subject == "ada"


def test_one_key_for_several_algorithms() -> None:
    """A PEM does not say its algorithm: the verifier does, and a token selects among those."""
    one = verifier(public_pem(rsa()), "RS256", "PS512")
    for algorithm in ("RS256", "PS512"):
        assert verified(signed_by(rsa(), algorithm), one).subject == "ada"
    for algorithm in ("RS512", "PS256"):
        with pytest.raises(Unauthorized, match="another algorithm"):
            verified(signed_by(rsa(), algorithm), one)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_confusion_of_algorithms(algorithm: Algorithm) -> None:
    """A token whose HMAC was made with the public key, in whatever form, is refused: everybody could make one."""
    key = key_for(algorithm)
    for one in (verifier(public_pem(key), algorithm), verifier(Key("k", public_pem(key), algorithm), algorithm)):
        for public in (public_pem(key), public_pem(key).strip(), public_der(key), public_ssh(key)):
            for claimed in ("HS256", algorithm):
                header, payload = (
                    base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
                    for part in ({"alg": claimed, "kid": "k"}, {"sub": "eve", "exp": time.time() + 60})
                )
                signature = hmac.digest(public, header + b"." + payload, hashlib.sha256)
                token = b".".join((header, payload, base64.urlsafe_b64encode(signature).rstrip(b"=")))
                with pytest.raises(Unauthorized):
                    verified(token.decode(), one)


def test_one_key_of_two_kinds() -> None:
    """One key for HS* and for others is what makes that confusion possible, so it is refused whatever the key is."""
    for keys in (public_pem(rsa()), SECRET):
        assert "one key cannot serve HS256 and RS256" in refused(keys, "HS256", "RS256")


@pytest.mark.parametrize(
    "encoded",
    [
        public_pem(rsa()),
        public_pem(rsa()).partition(b"-----END")[0],
        b"".join(public_pem(ec()).splitlines()[1:-1]),
        b"\n".join(public_pem(rsa()).splitlines()[1:-1]),
        base64.urlsafe_b64encode(public_der(ed25519())).rstrip(b"="),
        private_pem(ec()),
        b"".join(private_pem(rsa()).splitlines()[1:-1]),
        public_der(rsa()),
        public_der(ed25519()),
        rsa().public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1),
        ec().private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        public_ssh(rsa()),
        public_ssh(ec()),
        public_ssh(rsa()).split(b" ")[1],
        json.dumps(jwk(rsa())).encode(),
        json.dumps({"keys": [jwk(rsa())]}).encode(),
        CA().cert_pem.bytes(),
    ],
    ids=[
        "PEM", "half a PEM", "base64 of EC", "base64 of RSA", "base64 for URLs", "private PEM", "base64 of private RSA",
        "DER of RSA", "DER of Ed25519", "PKCS #1", "SEC 1", "SSH RSA", "SSH EC", "SSH base64", "JWK", "JWKS", "X.509",
    ],
)  # fmt: skip
def test_a_key_as_a_secret(encoded: bytes) -> None:
    """A key of another kind is no secret, whatever form it is in: if it is public, everybody could sign."""
    assert "looks like a key of another kind" in refused(encoded, "HS256")


def test_what_looks_a_little_like_a_key() -> None:
    """Random secrets that begin as DER does, or are base64, are secrets."""
    for secret in (b"\x30" + secrets.token_bytes(47), b"\x30\x82" + secrets.token_bytes(46), secrets.token_bytes(48)):
        for form in (secret, base64.b64encode(secret), secret.hex().encode()):
            verifier(form, "HS256")


SAID: dict[str, tuple[object, Algorithm, str]] = {
    "a private PEM": (private_pem(rsa()), "RS256", "a private key.*openssl pkey -in key.pem -pubout"),
    "an old private PEM": (
        ec().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "ES256",
        "a private key.*openssl pkey",
    ),
    "an encrypted PEM": (
        rsa().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")),
        "RS256",
        "an encrypted private key.*openssl pkey.*asks for the passphrase",
    ),
    "an old encrypted PEM": (
        rsa().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"hunter2")),
        "RS256",
        "an encrypted private key",
    ),
    "a private key of SSH": (
        ed25519().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        "EdDSA",
        "a private key of SSH.*PEM of a public one",
    ),
    "a key of SSH": (public_ssh(rsa()), "RS256", "a key of SSH; ssh-keygen -e -m PKCS8"),
    "a certificate": (CA().cert_pem.bytes(), "ES256", "a certificate.*openssl x509"),
    "two keys": (public_pem(rsa()) + public_pem(rsa(nth=1)), "RS256", "several keys.*KeyRing"),
    "DER": (public_der(rsa()), "RS256", "without its BEGIN and END lines, or DER: openssl pkey -pubin -inform DER"),
    "base64": (b"".join(public_pem(rsa()).splitlines()[1:-1]), "RS256", "without its BEGIN and END lines"),
    "a JWK": (json.dumps(jwk(rsa())), "RS256", "JSON; a JSON Web Key Set is fetched by JWKS"),
    "a secret": (SECRET, "RS256", r"this is none; .* pathlib.Path\('public.pem'\)"),
    "a name of a file": ("public.pem", "RS256", r"this is none; .* pathlib.Path\('public.pem'\)"),
    "nothing": ("", "RS256", "this is none"),
    "literal newlines": (public_pem(rsa()).replace(b"\n", b"\\n"), "RS256", r"text.replace\("),
    "a broken PEM": (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "RS256", "cannot be parsed"),
    "None": (None, "RS256", "environment variable"),
    "a number": (7, "RS256", "the key is no str, bytes or Path; give a secret as text"),
    "a PEM as a path": (Path(private_pem(rsa()).decode()), "RS256", "the Path has a key for its name"),
    "a surrogate": ("\udcff" + SECRET, "RS256", "cannot be encoded"),
    "a short RSA key": (public_pem(rsa(1024)), "RS256", "an RSA key of 1024 bits .2048 are the least"),
    "RSA for ES": (public_pem(rsa()), "ES256", "an RSA key cannot serve ES256, only PS256/PS384/PS512/RS256"),
    "EC for RS": (public_pem(ec()), "RS256", "an EC key of the curve P-256 cannot serve RS256, only ES256"),
    "another curve": (public_pem(ec("P-384")), "ES256", "the curve P-384 cannot serve ES256, only ES384"),
    "the curve of Bitcoin": (public_pem(ec("secp256k1")), "ES256", "secp256k1 cannot serve ES256, nor any other"),
    "EC for EdDSA": (public_pem(ec()), "EdDSA", "cannot serve EdDSA"),
    "Ed25519 for ES": (public_pem(ed25519()), "ES256", "an Ed25519 or Ed448 key cannot serve ES256, only EdDSA"),
    "DSA": (
        generate_dsa(1024).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "RS256",
        "a key of this kind cannot serve RS256",
    ),
}


@pytest.mark.parametrize(("keys", "algorithm", "said"), SAID.values(), ids=SAID)
def test_keys_that_are_refused(keys: object, algorithm: Algorithm, said: str) -> None:
    """A verifier says what it was given instead of a public key, and how to get one; and it never shows it."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        verifier(cast("bytes", keys), algorithm)
    shown = "".join(traceback.format_exception(caught.value)).partition("Error: ")[2]
    assert "MII" not in shown
    assert "MFk" not in shown
    assert SECRET not in shown


def test_one_algorithm_of_two_does_not_fit() -> None:
    """A key has to serve all that the verifier accepts: else one of them would be refused for ever."""
    assert "cannot serve ES384, only ES256" in refused(public_pem(ec()), "ES256", "ES384")
    assert "cannot serve ES256" in refused(public_pem(rsa()), "RS256", "ES256")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """The path is named, and why."""
    assert f"cannot be read from {tmp_path}/none.pem: [Errno 2]" in refused(tmp_path / "none.pem", "RS256")
    assert f"cannot be read from {tmp_path}" in refused(tmp_path, "RS256")
    assert "null" in refused(Path("\0"), "RS256")
    large = tmp_path / "large.pem"
    large.write_bytes(b"x" * (MAX_FILE + 1))
    assert f"{large} has more than {MAX_FILE} bytes" in refused(large, "RS256")


def test_a_secret_in_a_file(tmp_path: Path) -> None:
    """Whether its last line end belongs to it, only the application knows."""
    assert "path.read_text().strip()" in refused(tmp_path / "secret", "HS256")


def test_a_key_is_a_value() -> None:
    """It cannot be changed, is equal to its like, and shows all but what it is made of."""
    key = Key("2026-03", SECRET, "HS256", not_after=1_774_000_000)
    assert key == Key("2026-03", SECRET, "HS256", not_after=1_774_000_000)
    assert hash(key) == hash(Key("2026-03", SECRET, "HS256", not_after=1_774_000_000))
    assert key != Key("2026-03", SECRET + "x", "HS256", not_after=1_774_000_000)
    assert repr(key) == "Key(kid='2026-03', algorithm='HS256', not_after=1774000000)"
    assert SECRET not in repr(key.verifying)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        key.kid = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # what must not work


@pytest.mark.parametrize(
    "kid", ["", "x" * 257, 7, b"k1", public_pem(rsa()).decode()], ids=["", "long", "7", "bytes", "PEM"]
)
def test_names_that_are_none(kid: object) -> None:
    """A `kid` is a text that stands in a header; and it is not repeated, for it may be the key in the wrong place."""
    with pytest.raises(ConfigurationError, match="Key: the kid is no text of 1 to 256 characters") as caught:
        Key(cast("str", kid), SECRET, "HS256")
    assert "MII" not in str(caught.value)


def test_arguments_that_have_been_mixed_up() -> None:
    """Where the secret stands in the place of the `kid`, the error does not show it."""
    with pytest.raises(ConfigurationError, match=r"a secret of 7 bytes is too short") as caught:
        Key(SECRET, "2026-03", "HS256")
    assert SECRET[:20] not in str(caught.value)


@pytest.mark.parametrize("not_after", [math.nan, math.inf, "tomorrow", True], ids=repr)
def test_ends_that_are_none(not_after: object) -> None:
    """NaN would be for ever."""
    with pytest.raises(ConfigurationError, match=r"not_after=.*give a Unix time"):
        Key("k", SECRET, "HS256", not_after=cast("float", not_after))


@pytest.mark.parametrize("algorithm", ["none", "HS", "ES256K", None, ["HS256"]], ids=repr)
def test_a_key_for_no_algorithm(algorithm: object) -> None:
    """What there is no algorithm for is no key."""
    with pytest.raises(ConfigurationError, match=r"Key\('k'\): algorithms .*; name some of"):
        Key("k", SECRET, cast("Algorithm", algorithm))


def test_the_errors_of_a_key_begin_with_its_name() -> None:
    """There are several in a ring."""
    with pytest.raises(ConfigurationError, match=r"^Key\('k'\): .*cannot serve ES256"):
        Key("k", public_pem(rsa()), "ES256")
    with pytest.raises(ConfigurationError, match=r"^Key\(None\): "):
        Key(None, public_pem(rsa()), "ES256")
    with pytest.raises(ConfigurationError, match=r"^Key\('a{8}\.\.\.'\): "):
        Key("a" * 43, public_pem(rsa()), "ES256")


WITHOUT_CRYPTOGRAPHY = """
import sys
sys.modules["cryptography"] = None
from seawall.errors import ConfigurationError
from seawall.tokens import Key, TokenVerifier
TokenVerifier("%s", algorithms=["HS256"], audience="a", issuer="b")
for make in (
    lambda: TokenVerifier("%s", algorithms=["HS256", "RS256"], audience="a", issuer="b"),
    lambda: Key("k", "-----BEGIN PUBLIC KEY-----", "EdDSA"),
):
    try:
        make()
    except ConfigurationError as error:
        print(error)
"""


@pytest.mark.slow
def test_without_the_extra() -> None:
    """Where cryptography is not installed, secrets serve as ever, and the other algorithms name the extra."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_CRYPTOGRAPHY % (SECRET, SECRET)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "TokenVerifier: RS256 needs the extra `crypto`; install it: pip install 'seawall[crypto]'",
        "Key('k'): EdDSA needs the extra `crypto`; install it: pip install 'seawall[crypto]'",
    ]


def test_every_algorithm_that_there_is() -> None:
    """Thirteen: `none` and ES256K are not among them."""
    assert set(ALGORITHMS) == {f"{kind}{bits}" for kind in ("HS", "RS", "PS", "ES") for bits in (256, 384, 512)} | {
        "EdDSA"
    }
