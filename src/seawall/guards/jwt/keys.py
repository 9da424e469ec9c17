"""What a verifier can be given as keys, and the `KeySource` that it becomes."""

from __future__ import annotations

from typing import TypeAlias, final

import jwt
from attrs import field, frozen
from jwt.algorithms import HMACAlgorithm

from seawall.errors import ConfigurationError
from seawall.guards.jwt.algorithms import SECRET_SIZES, Algorithm, check_algorithms
from seawall.guards.jwt.key_source import KeySource
from seawall.guards.jwt.key_table import VerificationKey
from seawall.guards.jwt.secret import weakness_of
from seawall.guards.jwt.unverified import TokenHeader

#: What a verifier can be given as keys.
Keys: TypeAlias = "str | bytes | KeySource"


@final
@frozen
class SharedSecret(KeySource):
    """A secret that is shared with the issuer."""

    secret: bytes = field(repr=False)

    def check(self, algorithms: tuple[Algorithm, ...], /) -> None:
        """A secret serves HS* only."""

    def find(self, header: TokenHeader, algorithms: tuple[Algorithm, ...], /) -> VerificationKey | None:
        """The secret."""
        return VerificationKey(kid=None, algorithm=header.algorithm, material=self.secret)


def key_source(keys: Keys, algorithms: tuple[Algorithm, ...]) -> KeySource:
    """The source that `keys` stands for.

    Raises:
      ConfigurationError: the keys serve none of `algorithms`, or protect nothing.
    """
    check_algorithms(algorithms)
    if isinstance(keys, KeySource):
        keys.check(algorithms)
        return keys
    secret = _secret(keys)
    _check_secret(secret, algorithms)
    return SharedSecret(secret)


def _check_secret(secret: bytes, algorithms: tuple[Algorithm, ...]) -> None:
    size = len(secret)
    needed = max(SECRET_SIZES[algorithm] for algorithm in algorithms)
    if size < needed:
        raise ConfigurationError(
            f"TokenVerifier: a secret of {size} bytes is too short, {'/'.join(algorithms)} needs {needed} "
            f"(RFC 7518, section 3.2); make one with `secrets.token_urlsafe({needed})`"
        )
    if (weakness := weakness_of(secret)) is not None:
        raise ConfigurationError(
            f"TokenVerifier: the secret {weakness}; make one with `secrets.token_urlsafe({needed})` and read it "
            "from the environment or a file"
        )
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.InvalidKeyError:
        raise ConfigurationError(
            "TokenVerifier: keys looks like a key of another kind (PEM or SSH), and a public one is no secret; "
            "give the secret that is shared with the issuer"
        ) from None


def _secret(keys: str | bytes) -> bytes:
    _check_keys(keys)
    try:
        return keys.encode() if isinstance(keys, str) else keys
    except UnicodeEncodeError:  # not chained: it holds the secret
        raise ConfigurationError("TokenVerifier: keys cannot be encoded as UTF-8; give the secret as bytes") from None


def _check_keys(keys: object) -> None:
    if not isinstance(keys, str | bytes):  # what it is instead may be secret
        kind = "None; is the environment variable set that it was to come from?" if keys is None else "no str or bytes"
        raise ConfigurationError(f"TokenVerifier: keys is {kind}; give the secret, as str or bytes")
