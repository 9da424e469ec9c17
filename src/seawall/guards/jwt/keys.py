"""What a verifier can be given as keys, and the `KeySource` that it becomes."""

from __future__ import annotations

from typing import TypeAlias, final

from attrs import field, frozen

from seawall.guards.jwt.algorithms import Algorithm, check_algorithms
from seawall.guards.jwt.key import Key
from seawall.guards.jwt.key_ring import KeyRing
from seawall.guards.jwt.key_source import KeySource
from seawall.guards.jwt.key_table import KeyTable, VerificationKey
from seawall.guards.jwt.material import Material, prepared
from seawall.guards.jwt.unverified import TokenHeader

#: What a verifier can be given as keys.
Keys: TypeAlias = Material | Key | KeySource


@final
@frozen
class OneKey(KeySource):
    """A key without a name, for one or several algorithms."""

    table: KeyTable = field(repr=False)

    def find(self, header: TokenHeader, algorithms: tuple[Algorithm, ...], /) -> VerificationKey | None:
        """The key, whatever ``kid`` a token names."""
        return self.table.find(header, 0.0)  # none of them ends

    def check(self, algorithms: tuple[Algorithm, ...], /) -> None:
        """It has been made for them."""


def key_source(keys: Keys, algorithms: tuple[Algorithm, ...]) -> KeySource:
    """The source that `keys` stands for.

    Raises:
      ConfigurationError: the keys cannot serve `algorithms`, or protect nothing.
    """
    check_algorithms(algorithms, "TokenVerifier")
    if isinstance(keys, Key):
        keys = KeyRing(keys)
    if isinstance(keys, KeySource):
        keys.check(algorithms)
        return keys
    material = prepared("TokenVerifier", keys, algorithms)
    return OneKey(KeyTable(VerificationKey(kid=None, algorithm=each, material=material) for each in algorithms))
