"""The algorithms that a token may be signed with (RFC 7518, section 3.1, and RFC 8037), and what each needs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args

from jwt.algorithms import has_crypto

from seawall.errors import ConfigurationError

#: The algorithms; those that begin with HS need a shared secret, the others the extra ``crypto``.
Algorithm: TypeAlias = Literal[
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]

ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)

#: Bytes that a secret must have: the size of the hash (RFC 7518, section 3.2).
SECRET_SIZES: Final[Mapping[Algorithm, int]] = {"HS256": 32, "HS384": 48, "HS512": 64}

#: What RSA keys serve, and the curve of each other algorithm.
RSA: Final[frozenset[Algorithm]] = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVES: Final[Mapping[str, Algorithm]] = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}

#: Bits that an RSA key must have (RFC 7518, section 3.3), and may have: OpenSSL verifies with none that is larger.
RSA_BITS: Final = range(2048, 16_384 + 1)


def check_algorithms(algorithms: tuple[Algorithm, ...], where: str) -> None:
    """Refuse algorithms that nothing can be verified with; the text of the error begins with `where`.

    Raises:
      ConfigurationError: there is none, one that is unknown, or one that needs the extra ``crypto``, which is missing.
    """
    if not algorithms or not all(algorithm in ALGORITHMS for algorithm in algorithms):
        raise ConfigurationError(f"{where}: algorithms {list(algorithms)}; name some of {list(ALGORITHMS)}")
    asymmetric = [algorithm for algorithm in algorithms if algorithm not in SECRET_SIZES]
    if asymmetric and not has_crypto:
        raise ConfigurationError(
            f"{where}: {'/'.join(asymmetric)} needs the extra `crypto`; install it: pip install 'seawall[crypto]'"
        )
