"""What a key is made of: from what an application gives to what PyJWT verifies with. Each mistake is refused.

The texts of the errors have nothing of what was given, which may be secret.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import jwt
from jwt.algorithms import HMACAlgorithm, has_crypto

from seawall.errors import ConfigurationError
from seawall.guards.jwt.algorithms import CURVES, RSA, RSA_BITS, SECRET_SIZES, Algorithm
from seawall.guards.jwt.key_table import PublicKey
from seawall.guards.jwt.secret import is_encoded_key, weakness_of

if TYPE_CHECKING or has_crypto:  # the extra `crypto`
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

#: A secret, as text or bytes; a public key, as the text or bytes of a PEM or as the path of a file with one.
Material: TypeAlias = str | bytes | Path

#: Bytes of a file with a key: a public key of 16,384 bits has less than 3 KiB.
MAX_FILE: Final = 64 * 1024

_LABEL: Final = re.compile(rb"-----BEGIN ([^\n-]*)-----")

#: What cryptography calls the curves.
_CURVE_NAMES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

_PUBLIC_HALF: Final = "give its public half: openssl pkey -in key.pem -pubout -out public.pem"


def prepared(where: str, material: object, algorithms: tuple[Algorithm, ...]) -> bytes | PublicKey:
    """What PyJWT verifies with, for a key that serves all of `algorithms`, which are known.

    Args:
      where: how the texts of errors begin.
      material: what an application has given, of any type.
      algorithms: at least one.

    Raises:
      ConfigurationError: it is no such key.
    """
    secret = [algorithm for algorithm in algorithms if algorithm in SECRET_SIZES]
    if not secret:
        return _public_key(where, material, algorithms)
    if len(secret) < len(algorithms):
        others = [algorithm for algorithm in algorithms if algorithm not in SECRET_SIZES]
        raise ConfigurationError(
            f"{where}: one key cannot serve {'/'.join(secret)} and {'/'.join(others)}: whoever has the public key "
            "could sign with it; give the algorithms of one kind, or a KeyRing of keys that name theirs"
        )
    return _secret(where, material, algorithms)


def _secret(where: str, material: object, algorithms: tuple[Algorithm, ...]) -> bytes:
    if isinstance(material, Path):
        raise ConfigurationError(
            f"{where}: a secret is not read from a file, whose last line end might belong to it; read it and give the "
            "text: path.read_text().strip()"
        )
    secret = bytes_of(where, material)
    size = len(secret)
    needed = max(SECRET_SIZES[algorithm] for algorithm in algorithms)
    if size < needed:
        raise ConfigurationError(
            f"{where}: a secret of {size} bytes is too short, {'/'.join(algorithms)} needs {needed} "
            f"(RFC 7518, section 3.2); make one with `secrets.token_urlsafe({needed})`"
        )
    if (weakness := weakness_of(secret)) is not None:
        raise ConfigurationError(
            f"{where}: the secret {weakness}; make one with `secrets.token_urlsafe({needed})` and read it "
            "from the environment or a file"
        )
    if is_encoded_key(secret) or not _is_secret(secret):
        raise ConfigurationError(
            f"{where}: the secret looks like a key of another kind (PEM, with or without its lines, DER, SSH or JWK), "
            "and a public one is no secret; give the secret that is shared with the issuer, or name the algorithms of "
            "the public key"
        )
    return secret


def _is_secret(secret: bytes) -> bool:
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.InvalidKeyError:
        return False
    return True


def bytes_of(where: str, material: object) -> bytes:
    """The bytes of what an application has given, of any type.

    Raises:
      ConfigurationError: it is no text, bytes or path, or the path of nothing that can be read.
    """
    if isinstance(material, Path):
        return _read(where, material)
    if isinstance(material, bytes):
        return material
    if not isinstance(material, str):  # what it is instead may be secret
        if material is None:
            raise ConfigurationError(
                f"{where}: the key is None; is the environment variable set that it was to come from?"
            )
        raise ConfigurationError(
            f"{where}: the key is no str, bytes or Path; give a secret as text, or the PEM of a key or its Path"
        )
    try:
        return material.encode()
    except UnicodeEncodeError:  # not chained: it holds the secret
        raise ConfigurationError(f"{where}: the key cannot be encoded as UTF-8; give it as bytes") from None


def _read(where: str, path: Path) -> bytes:
    if "-----BEGIN" in str(path):
        raise ConfigurationError(f"{where}: the Path has a key for its name; give the PEM as str or bytes")
    try:
        with path.open("rb") as file:
            found = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{where}: the key cannot be read from {path}: {error}") from None
    if len(found) > MAX_FILE:
        raise ConfigurationError(f"{where}: {path} has more than {MAX_FILE} bytes; give a file with one key")
    return found


def _public_key(where: str, material: object, algorithms: tuple[Algorithm, ...]) -> PublicKey:
    pem = bytes_of(where, material)
    if (mistake := _mistake(pem)) is not None:
        raise ConfigurationError(f"{where}: {'/'.join(algorithms)} needs the PEM of a public key; {mistake}")
    try:
        key: object = load_pem_public_key(pem)
    except Exception:  # noqa: BLE001 - cryptography raises several kinds, some of which quote what was given
        newlines = r'; its ends of lines are backslashes: text.replace("\\n", "\n")' if rb"\n" in pem else ""
        raise ConfigurationError(f"{where}: the PEM of the public key cannot be parsed{newlines}") from None
    kind, served = _served(key)
    missing = [algorithm for algorithm in algorithms if algorithm not in served]
    if missing:
        good_for = f"only {'/'.join(sorted(served))}" if served else "nor any other algorithm"
        raise ConfigurationError(
            f"{where}: {kind} cannot serve {'/'.join(missing)}, {good_for}; name the algorithm that the issuer signs "
            "with, and give the key that it publishes for it"
        )
    return cast("PublicKey", key)


def _served(key: object) -> tuple[str, frozenset[Algorithm]]:
    """What the key is called, and which algorithms it can serve."""
    if isinstance(key, RSAPublicKey):
        if key.key_size in RSA_BITS:
            return "an RSA key", RSA
        least, most = RSA_BITS.start, RSA_BITS.stop - 1
        return f"an RSA key of {key.key_size} bits ({least} are the least, {most} the most)", frozenset()
    if isinstance(key, EllipticCurvePublicKey):
        curve = _CURVE_NAMES.get(key.curve.name, key.curve.name)
        return f"an EC key of the curve {curve}", frozenset({CURVES[curve]} if curve in CURVES else ())
    if isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        return "an Ed25519 or Ed448 key", frozenset({"EdDSA"})
    return "a key of this kind", frozenset()


def _mistake(pem: bytes) -> str | None:
    """Why this is not the PEM of one public key, and what to do, as the end of a sentence; None if it may be one."""
    labels = _LABEL.findall(pem)
    label = labels[0] if labels else b""
    if b"ENCRYPTED" in pem:
        return f"this is an encrypted private key: {_PUBLIC_HALF} (it asks for the passphrase)"
    if label == b"OPENSSH PRIVATE KEY":
        return (
            "this is a private key of SSH, with which anybody could sign who breaks in here; give a PEM of a public one"
        )
    if any(b"PRIVATE KEY" in each for each in labels):
        return f"this is a private key, with which anybody could sign who breaks in here; {_PUBLIC_HALF}"
    if any(b"CERTIFICATE" in each for each in labels):
        return (
            "this is a certificate, whose dates and issuer nobody would check here; give the public key that is in it: "
            "openssl x509 -in certificate.pem -pubkey -noout"
        )
    if len(labels) > 1:
        return "this holds several keys; give each as a Key of a KeyRing"
    if labels:
        return None
    return _no_pem(pem)


def _no_pem(given: bytes) -> str:
    start = given.lstrip(b" \t\r\n")
    if start.startswith((b"ssh-", b"ecdsa-sha2-", b"sk-", b"---- BEGIN SSH2")):
        return "this is a key of SSH; ssh-keygen -e -m PKCS8 -f key.pub writes those of RSA and EC as a PEM"
    if start.startswith((b"{", b"[")):
        return "this is JSON; a JSON Web Key Set is fetched by JWKS(url)"
    if is_encoded_key(given):
        return (
            "this is one without its BEGIN and END lines, or DER: "
            "openssl pkey -pubin -inform DER -in key.der -out public.pem"
        )
    return "this is none; a file is given by its path: pathlib.Path('public.pem')"
