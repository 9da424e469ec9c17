"""Keys for the tests of tokens, made once in a run, and tokens that are signed with them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Final, TypeAlias, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from seawall.guards.jwt.algorithms import ALGORITHMS, Algorithm

PrivateKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey

ASYMMETRIC: Final[tuple[Algorithm, ...]] = tuple(
    algorithm for algorithm in ALGORITHMS if not algorithm.startswith("HS")
)

CURVES: Final = {"P-256": SECP256R1(), "P-384": SECP384R1(), "P-521": SECP521R1(), "secp256k1": SECP256K1()}


@cache
def _made(kind: str, nth: int, /) -> PrivateKey:
    """The `nth` key of a kind: a number of bits or the name of a curve."""
    if kind in CURVES:
        return generate_private_key(CURVES[kind])
    if kind == "Ed25519":
        return Ed25519PrivateKey.generate()
    return Ed448PrivateKey.generate() if kind == "Ed448" else generate_rsa(65537, int(kind))


def rsa(bits: int = 2048, nth: int = 0) -> RSAPrivateKey:
    """The `nth` RSA key of this size."""
    return cast("RSAPrivateKey", _made(str(bits), nth))


def ec(curve: str = "P-256", nth: int = 0) -> EllipticCurvePrivateKey:
    """The `nth` key of this curve."""
    return cast("EllipticCurvePrivateKey", _made(curve, nth))


def ed25519(nth: int = 0) -> Ed25519PrivateKey:
    """The `nth` key of this kind."""
    return cast("Ed25519PrivateKey", _made("Ed25519", nth))


def ed448() -> Ed448PrivateKey:
    """A key of the other curve for EdDSA."""
    return cast("Ed448PrivateKey", _made("Ed448", 0))


def key_for(algorithm: Algorithm, nth: int = 0) -> PrivateKey:
    """The `nth` private key that signs by an asymmetric algorithm."""
    match algorithm[:2]:
        case "ES":
            return ec({"ES256": "P-256", "ES384": "P-384"}.get(algorithm, "P-521"), nth)
        case "Ed":
            return ed25519(nth)
        case _:
            return rsa(nth=nth)


def public_pem(key: PrivateKey) -> bytes:
    """Its public half, as issuers give it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_der(key: PrivateKey) -> bytes:
    """The same without base64."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def public_ssh(key: PrivateKey) -> bytes:
    """Its public half, as in ``authorized_keys``."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def private_pem(key: PrivateKey) -> bytes:
    """The key, unencrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def jwk(key: PrivateKey, *, private: bool = False, **members: object) -> dict[str, object]:
    """A JWK of the public or private half, with further members; one that is None is left out."""
    match key:
        case RSAPrivateKey():
            made: dict[str, object] = RSAAlgorithm.to_jwk(key if private else key.public_key(), as_dict=True)
        case EllipticCurvePrivateKey():
            made = ECAlgorithm.to_jwk(key if private else key.public_key(), as_dict=True)
        case _:
            made = OKPAlgorithm.to_jwk(key if private else key.public_key(), as_dict=True)
    made.pop("key_ops", None)  # PyJWT adds it to RSA keys only
    return {name: value for name, value in (made | members).items() if value is not None}


def signed_by(
    key: PrivateKey | str | bytes, algorithm: str, header: Mapping[str, object] | None = None, **claims: object
) -> str:
    """A token for a minute, signed with `key`, with further header parameters and claims."""
    payload = {"sub": "ada", "exp": time.time() + 60} | claims
    return jwt.encode(payload, key, algorithm=algorithm, headers=None if header is None else dict(header))


def renamed(token: str, kid: str) -> str:
    """The same token as if a key of that name had signed it; its signature is wrong then, but takes no time to make."""
    header, rest = token.split(".", 1)
    parameters = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    encoded = base64.urlsafe_b64encode(json.dumps(parameters | {"kid": kid}).encode())
    return f"{encoded.decode().rstrip('=')}.{rest}"
