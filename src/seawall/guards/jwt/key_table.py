"""`VerificationKey`: a key, ready for PyJWT, which serves one algorithm; and how one is chosen among several. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TypeAlias, final

from attrs import field, frozen
from jwt.algorithms import has_crypto

from seawall.guards.jwt.algorithms import Algorithm
from seawall.guards.jwt.unverified import TokenHeader

if TYPE_CHECKING or has_crypto:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

#: Characters of a ``kid``.
MAX_KID: Final = 256

#: A public key.
PublicKey: TypeAlias = "RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey"


def rsa_bits(key: PublicKey) -> int | None:
    """The size of an RSA key; None for others."""
    return key.key_size if has_crypto and isinstance(key, RSAPublicKey) else None


@final
@frozen(kw_only=True)
class VerificationKey:
    """A key that PyJWT can verify with at once, without parsing it."""

    kid: str | None
    """How tokens name it; None: not at all."""
    algorithm: Algorithm
    """The one algorithm that it serves."""
    material: bytes | PublicKey = field(repr=False)
    """A secret for HS*, a public key for the others."""
    not_after: float | None = None
    """The last moment at which it verifies anything, in Unix time; None: for ever."""


@final
class KeyTable:
    """Some keys, and which of them a token means."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        """Choose among `keys`."""
        self._all = tuple(keys)
        self._named = dict[str | None, tuple[VerificationKey, ...]]()
        for key in self._all:
            self._named[key.kid] = (*self._named.get(key.kid, ()), key)

    def find(self, header: TokenHeader, now: float) -> VerificationKey | None:
        """The key of a token with this header, at `now` (Unix time): the only one that fits; None if none or several.

        If a key has the token's ``kid``, it is that one or none. Otherwise it is one without a ``kid``; or any, for a
        token that has none itself.
        """
        kid, algorithm = header.kid, header.algorithm
        named = self._all if kid is None else self._named.get(kid) or self._named.get(None, ())
        found: VerificationKey | None = None
        for key in named:
            if key.algorithm == algorithm and (key.not_after is None or now <= key.not_after):
                if found is not None:
                    return None
                found = key
        return found
