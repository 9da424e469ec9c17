"""`KeySource`: where a verifier finds the key with which a token was signed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal, TypeAlias, final, get_args

import jwt
from attrs import field, frozen
from jwt.algorithms import HMACAlgorithm

from seawall.errors import ConfigurationError
from seawall.guards.jwt.secret import weakness_of
from seawall.guards.service import Serviced

#: Algorithms that a shared secret can serve (RFC 7518, section 3.2).
Algorithm: TypeAlias = Literal["HS256", "HS384", "HS512"]

#: Bytes that the secret must have: the size of the hash (RFC 7518, section 3.2).
_KEY_SIZES: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}

#: What a verifier can be given as keys.
Keys: TypeAlias = "str | bytes"


class KeySource(Serviced, ABC):
    """Where a verifier finds the key for a token."""

    @abstractmethod
    async def find(self, token: str, /) -> str | bytes:
        """The key that `token` is to be verified with."""


@final
@frozen
class SharedSecret(KeySource):
    """A secret that is shared with the issuer."""

    secret: bytes = field(repr=False)

    async def find(self, token: str, /) -> str | bytes:
        """The secret."""
        return self.secret


def key_source(keys: Keys, algorithms: tuple[Algorithm, ...]) -> KeySource:
    """The source that `keys` stands for.

    Raises:
      ConfigurationError: the keys serve none of `algorithms`, or protect nothing.
    """
    known = get_args(Algorithm)
    if not algorithms or not all(algorithm in known for algorithm in algorithms):
        raise ConfigurationError(f"TokenVerifier: algorithms {list(algorithms)}; name some of {list(known)}")
    secret = _secret(keys)
    _check_secret(secret, algorithms)
    return SharedSecret(secret)


def _check_secret(secret: bytes, algorithms: tuple[Algorithm, ...]) -> None:
    size = len(secret)
    needed = max(_KEY_SIZES[algorithm] for algorithm in algorithms)
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


def _secret(keys: Keys) -> bytes:
    _check_keys(keys)
    try:
        return keys.encode() if isinstance(keys, str) else keys
    except UnicodeEncodeError:  # not chained: it holds the secret
        raise ConfigurationError("TokenVerifier: keys cannot be encoded as UTF-8; give the secret as bytes") from None


def _check_keys(keys: object) -> None:
    if not isinstance(keys, str | bytes):  # what it is instead may be secret
        kind = "None; is the environment variable set that it was to come from?" if keys is None else "no str or bytes"
        raise ConfigurationError(f"TokenVerifier: keys is {kind}; give the secret, as str or bytes")
