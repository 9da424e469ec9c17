"""``python -m benchmarks.verifying``: what `TokenVerifier` takes beyond PyJWT, which checks the signatures for it.

Both verify the same token, in one process and in turns: PyJWT with a key that has been parsed before, by the same
options, so that all the rest is Seawall's: finding the key, its own checks, and an object with the claims. Each number
is the median of the turns, and what Seawall takes more is the median of the differences within a turn.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median
from typing import Final, TypeAlias, final

import jwt
from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import AllowedPrivateKeys, AllowedPublicKeys

from benchmarks.method import machine
from benchmarks.report import fill_in, table
from seawall.tokens import Algorithm, TokenVerifier

#: Microseconds that Seawall may take more than PyJWT.
AT_MOST: Final = 10.0

#: Tokens that each verifies in a turn, and turns.
TOKENS, TURNS = 50, 200

AUDIENCE, ISSUER = "chat", "https://id.example"
SECRET: Final = "a secret that is long enough for HS256"

Signing: TypeAlias = "tuple[AllowedPrivateKeys | str, AllowedPublicKeys | str, bytes]"


@final
class Options(argparse.Namespace):
    """What the command line asks for."""

    write: bool


@final
@frozen
class Taken:
    """Microseconds for one token."""

    algorithm: str
    by_pyjwt: float
    by_seawall: float
    more: float

    def row(self) -> list[str]:
        """A line of the table."""
        reached = "ok" if self.more <= AT_MOST else "**not**"
        return [self.algorithm, *(f"{value:.1f}" for value in (self.by_pyjwt, self.by_seawall, self.more)), reached]


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


def timed(function: Callable[[], None]) -> float:
    """Microseconds of CPU time that a token takes."""
    start = time.process_time()
    for _ in range(TOKENS):
        function()
    return (time.process_time() - start) / TOKENS * 1e6


def measure(algorithm: Algorithm) -> Taken:
    """What both take."""
    pair = verifying(algorithm)
    turns = [(timed(pair[0]), timed(pair[1])) for _ in range(TURNS)]
    theirs, ours = zip(*turns, strict=True)
    return Taken(algorithm, median(theirs), median(ours), median(mine - its for its, mine in turns))


def main() -> None:
    """Measure, print, and with ``--write`` put the table into the docs."""
    parser = argparse.ArgumentParser("python -m benchmarks.verifying", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    given = parser.parse_args(namespace=Options())
    algorithms: tuple[Algorithm, ...] = ("HS256", "RS256", "ES256", "EdDSA")
    rows = [measure(algorithm).row() for algorithm in algorithms]
    text = table(["a token, CPU, µs", "PyJWT", "seawall", "more", f"at most {AT_MOST:.0f}"], rows)
    print(text)
    if given.write:
        day = time.strftime("%Y-%m-%d", time.gmtime())
        versions = ", ".join(f"{package} {version(package)}" for package in ("PyJWT", "cryptography"))
        fill_in("verifying", f"{day}, `python -m benchmarks.verifying`, on {machine()}; {versions}.\n\n{text}")


if __name__ == "__main__":
    main()
