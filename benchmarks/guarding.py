"""What `benchmarks.verifying` does: a token is verified, four checks are asked. Tests count the steps of the same."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import AllowedPrivateKeys, AllowedPublicKeys

from seawall import Anonymous, Claims, Forbidden, Gate, Guard, check, guard, has_scope
from seawall.tokens import Algorithm, TokenVerifier, has

AUDIENCE, ISSUER = "chat", "https://id.example"
SECRET: Final = "a secret that is long enough for HS256"

ADA: Final = Claims(
    subject="ada",
    issuer=ISSUER,
    audience=(AUDIENCE,),
    expires_at=0.0,
    issued_at=None,
    not_before=None,
    token_id=None,
    scopes=frozenset({"chat:read", "chat:write", "chat:moderate", "files:read"}),
    raw={},
)

#: None of these guards and checks looks at it.
NO_GATE: Final = cast("Gate", None)

Signing: TypeAlias = "tuple[AllowedPrivateKeys | str, AllowedPublicKeys | str, bytes]"


def keys(algorithm: Algorithm) -> Signing:
    """What signs, the same for PyJWT to verify with, and the same for Seawall."""
    if algorithm == "HS256":
        return SECRET, SECRET, SECRET.encode()
    private: AllowedPrivateKeys
    match algorithm:
        case "RS256":
            private = generate_rsa(65537, 2048)
        case "ES256":
            private = generate_ec(SECP256R1())
        case _:
            private = Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private, jwt.get_algorithm_by_name(algorithm).prepare_key(pem), pem


def verifying(algorithm: Algorithm) -> tuple[Callable[[], None], Callable[[], None]]:
    """Verifying once, by PyJWT and by Seawall."""
    signing, prepared, given = keys(algorithm)
    now = time.time()
    claims = {
        "sub": "ada",
        "aud": AUDIENCE,
        "iss": ISSUER,
        "exp": now + 3600,
        "iat": now,
        "scope": "chat:read chat:write",
    }
    token = jwt.encode(claims, signing, algorithm, headers={"kid": "2026-03"})
    verifier = TokenVerifier(given, algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER)

    def by_pyjwt() -> None:
        jwt.decode_complete(
            token,
            prepared,
            algorithms=[algorithm],
            options={
                "require": ["exp", "aud", "iss"],
                "enforce_minimum_key_length": True,
                "verify_iat": False,
                "verify_nbf": False,
            },
            audience=AUDIENCE,
            issuer=ISSUER,
        )

    def by_seawall() -> None:
        try:
            verifier.verify(token).send(None)  # it waits for nothing, where the key is known
        except StopIteration as returned:
            if returned.value.subject != "ada":
                sys.exit(f"verifying: {returned.value} was verified")

    return by_pyjwt, by_seawall


@guard
async def proved(gate: Gate, before: Anonymous) -> Claims:
    """Prove claims that are there already."""
    return ADA


@check
async def is_person(gate: Gate, claims: Claims) -> None:
    """Refuse a service: a check as an application writes it."""
    if claims.subject.startswith("service:"):
        raise Forbidden


def scopes_of(claims: Claims) -> frozenset[str]:
    """What `has` looks for one in."""
    return claims.scopes


CHAINS: Final[dict[str, Guard[Anonymous, Claims]]] = {
    "four `has_scope`": (
        proved
        >> has_scope("chat:read")
        >> has_scope("chat:write")
        >> has_scope("chat:moderate")
        >> has_scope("files:read")
    ),
    "two `has_scope`, `has`, a function": (
        proved >> has_scope("chat:read") >> has_scope("chat:write") >> has(scopes_of, "files:read") >> is_person
    ),
}


def admitting(chain: Guard[Anonymous, Claims]) -> Callable[[], None]:
    """Letting somebody in by `chain`, once."""
    stranger = Anonymous()

    def admit() -> None:
        try:
            chain.admit(NO_GATE, stranger).send(None)  # it waits for nothing
        except StopIteration as returned:
            if returned.value is not ADA:
                sys.exit(f"verifying: {returned.value} was let in")

    return admit
