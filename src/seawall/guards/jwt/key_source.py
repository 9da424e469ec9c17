"""`KeySource`: where a verifier finds the key with which a token was signed."""

from __future__ import annotations

from abc import ABC, abstractmethod

from seawall.errors import Unauthorized
from seawall.guards.jwt.algorithms import Algorithm
from seawall.guards.jwt.key_table import VerificationKey
from seawall.guards.jwt.unverified import TokenHeader
from seawall.guards.service import Serviced


class KeySource(Serviced, ABC):
    """Where a verifier finds the key for a token."""

    @abstractmethod
    def find(self, header: TokenHeader, algorithms: tuple[Algorithm, ...], /) -> VerificationKey | None:
        """The key of a token with this header, as far as is known now; None if there is none.

        It does not wait, so that a token whose key is known costs no checkpoint.

        Args:
          header: what the token says; its algorithm is one of `algorithms`.
          algorithms: those that the verifier accepts. The key is for one of them.

        Raises:
          Unavailable: nothing is known about any key yet.
        """

    async def fetch(self, header: TokenHeader, algorithms: tuple[Algorithm, ...], /) -> VerificationKey:
        """The key that `find` did not find, after asking for it, if that is possible and not too often.

        It is called for tokens only whose (unverified) header and issuer are what the verifier demands.

        Raises:
          Unauthorized: there is no such key.
          Unavailable: the keys cannot be fetched now.
        """
        raise unknown_key()

    @abstractmethod
    def check(self, algorithms: tuple[Algorithm, ...], /) -> None:
        """Refuse `algorithms`, those of a verifier, if this source can have no keys for them.

        Raises:
          ConfigurationError: it cannot.
        """


def unknown_key() -> Unauthorized:
    """The refusal of a token for which there is no key."""
    return Unauthorized("token refused: no key fits its kid and its algorithm")
