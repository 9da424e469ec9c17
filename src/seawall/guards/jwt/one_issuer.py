"""`OneIssuer`: verifies the tokens of one issuer.

PyJWT checks signatures and registered claims. This module, `rules` and `claims` check what PyJWT leaves to its caller:
that ``exp`` is there and not too far away, that dates are numbers, the type, and the size; and ``iat`` and ``nbf``, for
which PyJWT has no tolerance but that of ``exp``. Whatever exception a token causes, it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, TypeVar, final

import jwt
from attrs import Factory, field, frozen

from seawall.clock import unix_time
from seawall.errors import TokenExpired, Unauthorized
from seawall.guards.jwt.claims import AnyClaims, MalformedClaim
from seawall.guards.jwt.key_source import KeySource
from seawall.guards.jwt.key_table import VerificationKey
from seawall.guards.jwt.own_claims import ClaimsReader
from seawall.guards.jwt.rules import CheckedRules, any_audience, any_issuer
from seawall.guards.jwt.unverified import TokenHeader, header_of, issuer_of

if TYPE_CHECKING:
    from jwt.types import Options

C = TypeVar("C", bound=AnyClaims)
C_co = TypeVar("C_co", bound=AnyClaims, covariant=True)

#: Characters that a token may have; a longer one is refused without being decoded.
MAX_TOKEN = 8 * 1024


@final
@frozen
class Proof(Generic[C_co]):
    """A token that has been verified, and what a guard has to know besides its claims."""

    claims: C_co
    ends_at: float
    """Until when it is accepted, in Unix time."""
    skew: float
    """By how many seconds a date in it may be ahead of our clock, or past."""


@final
@frozen
class OneIssuer(Generic[C_co]):
    """Verifies the tokens of one issuer."""

    keys: KeySource
    rules: CheckedRules
    claims: ClaimsReader[C_co]
    _options: Options = field(
        init=False, repr=False, eq=False, default=Factory(lambda self: _options(self.rules), takes_self=True)
    )

    _audience: str | tuple[str, ...] | None = field(
        init=False, repr=False, eq=False, default=Factory(lambda self: _audience(self.rules), takes_self=True)
    )

    async def verify(self, token: str) -> C_co:
        """The claims of `token`. Raises as `TokenVerifier.verify`."""
        rules = self.rules
        header = header_of(token)
        if header.algorithm not in rules.algorithms:
            raise Unauthorized("token refused: of another algorithm")
        key = self.keys.find(header, rules.algorithms)
        if key is None:
            key = await self._fetched(header, token)
        payload = self._decoded(token, key)
        try:
            return self.claims.read(payload, now=unix_time() + rules.skew, max_lifetime=rules.max_lifetime)
        except MalformedClaim as error:
            raise Unauthorized(f"token refused: {error}") from None

    def proof(self, claims: C) -> Proof[C]:
        """What these claims, which it has verified, prove."""
        rules = self.rules
        return Proof(claims, claims.expires_at + rules.leeway, max(rules.skew, rules.leeway))

    async def _fetched(self, header: TokenHeader, token: str) -> VerificationKey:
        """A key that has to be asked for, which is done for tokens only that might be good."""
        if not self.rules.is_of(issuer_of(token)):
            raise Unauthorized("token refused: of another issuer")
        return await self.keys.fetch(header, self.rules.algorithms)

    def _decoded(self, token: str, key: VerificationKey) -> Mapping[str, object]:
        rules = self.rules
        try:
            decoded: dict[str, dict[str, object]] = jwt.decode_complete(
                token,
                key.material,
                algorithms=[key.algorithm],  # whatever the token says
                options=self._options,
                audience=self._audience,
                issuer=None if rules.issuer is any_issuer else rules.issuer,
                leeway=rules.leeway,
            )
        except jwt.ExpiredSignatureError:
            raise TokenExpired from None
        except Exception as error:  # noqa: BLE001 - PyJWT lets through what json, base64 and int() raise on odd bytes
            raise Unauthorized(f"token refused: {type(error).__name__}") from None
        rules.check(decoded["payload"], decoded["header"].get("typ"))
        return decoded["payload"]


def _audience(rules: CheckedRules) -> str | tuple[str, ...] | None:
    """Whom a token has to be for, as PyJWT takes it; a single name costs it less."""
    if rules.audience is any_audience:
        return None
    return rules.audience[0] if len(rules.audience) == 1 else rules.audience


def _options(rules: CheckedRules) -> Options:
    """What PyJWT checks: all but ``iat`` and ``nbf``, which are for `registered_claims`."""
    any_aud, any_iss = rules.audience is any_audience, rules.issuer is any_issuer
    return {
        "require": ["exp", *(() if any_aud else ("aud",)), *(() if any_iss else ("iss",))],
        "enforce_minimum_key_length": True,
        "verify_aud": not any_aud,
        "verify_iss": not any_iss and not rules.tenants,
        "verify_iat": False,
        "verify_nbf": False,
    }
