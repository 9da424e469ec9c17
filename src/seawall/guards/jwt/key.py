"""`Key`: a key of an issuer, with its name and its one algorithm."""

from __future__ import annotations

import math
from typing import Final, final

from attrs import Factory, field, frozen

from seawall.errors import ConfigurationError
from seawall.guards.jwt.algorithms import Algorithm, check_algorithms
from seawall.guards.jwt.key_table import MAX_KID, VerificationKey
from seawall.guards.jwt.material import Material, prepared
from seawall.mistakes import is_number

#: Characters of a ``kid`` that is shown in errors: where two arguments have been mixed up, it is the secret.
_SHOWN: Final = 32


@final
@frozen
class Key:
    """A key, for a `KeyRing` or a `TokenVerifier`: it verifies tokens of one algorithm, and no others.

    ::

        Key("2026-03", Path("public.pem"), "RS256", not_after=1_774_000_000)

    Raises:
      ConfigurationError: the material is no key for the algorithm, or one that protects nothing; the `kid` is no text;
        `not_after` is no Unix time.
    """

    kid: str | None
    """How tokens name it, in their header; None: not at all."""
    material: Material = field(repr=False)
    """A secret for HS*, as text or bytes. For all others a public key: a PEM, as text, bytes or the path of a file,
    which is read at once."""
    algorithm: Algorithm
    """The algorithm of the tokens."""
    not_after: float | None = field(default=None, kw_only=True)
    """The last moment, in Unix time, at which it is accepted, for the end of a rotation; None: for ever."""
    verifying: VerificationKey = field(
        init=False, repr=False, eq=False, default=Factory(lambda self: self._verifying(), takes_self=True)
    )
    """The same, checked and parsed."""

    def _verifying(self) -> VerificationKey:
        check_kid(self.kid, "Key")
        where = f"Key({self.kid!r})" if self.kid is None or len(self.kid) < _SHOWN else f"Key('{self.kid[:8]}...')"
        check_algorithms((self.algorithm,), where)
        if self.not_after is not None and not (is_number(self.not_after) and math.isfinite(self.not_after)):
            raise ConfigurationError(f"{where}: not_after={self.not_after!r}; give a Unix time in seconds, or None")
        material = prepared(where, self.material, (self.algorithm,))
        return VerificationKey(kid=self.kid, algorithm=self.algorithm, material=material, not_after=self.not_after)


def check_kid(kid: object, where: str) -> None:
    """Refuse what cannot be a ``kid``. It is not repeated: where arguments have been mixed up, it is the key.

    Raises:
      ConfigurationError: it is no name; the text of the error begins with `where`.
    """
    if not (kid is None or (isinstance(kid, str) and 0 < len(kid) <= MAX_KID and "-----BEGIN" not in kid)):
        raise ConfigurationError(
            f"{where}: the kid is no text of 1 to {MAX_KID} characters; give the kid that the issuer's tokens have in "
            "their header, or None"
        )
