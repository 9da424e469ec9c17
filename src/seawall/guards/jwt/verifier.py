"""`TokenVerifier`: verifies JSON Web Tokens (RFC 7519) with the defaults of RFC 8725.

PyJWT checks signatures and registered claims. This module and `seawall.guards.jwt.claims` check what PyJWT leaves to
its caller: that ``exp`` is there and not too far away, that dates are numbers, the type, and the size; and ``iat`` and
``nbf``, for which PyJWT has no tolerance but that of ``exp``. Whatever exception a token causes, it is refused.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Generic, Literal, Required, TypedDict, TypeVar, Unpack, cast, final, overload

import jwt
from attrs import field, frozen

from seawall.clock import unix_time
from seawall.errors import ConfigurationError, TokenExpired, Unauthorized
from seawall.guards.jwt.claims import AnyClaims, Claims, MalformedClaim, claims_from
from seawall.guards.jwt.keys import Algorithm, Keys, key_source
from seawall.guards.service import Service, Serviced
from seawall.mistakes import is_number, several

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    C_co = DefaultTypeVar("C_co", bound=AnyClaims, covariant=True, default=Claims)
else:
    C_co = TypeVar("C_co", bound=AnyClaims, covariant=True)

#: Characters that a token may have; a longer one is refused without being decoded.
MAX_TOKEN = 8 * 1024


@final
class Waiver(enum.Enum):
    """The claims that a `TokenVerifier` can be told not to check."""

    AUDIENCE = "any_audience"
    ISSUER = "any_issuer"


any_audience: Final = Waiver.AUDIENCE
"""Accept tokens that were issued for other audiences too (RFC 8725, section 3.9, advises against it)."""
any_issuer: Final = Waiver.ISSUER
"""Accept tokens with any ``iss``, or none; only the key says who has issued them."""


def _several(algorithms: Iterable[Algorithm]) -> tuple[Algorithm, ...]:
    return several("TokenVerifier: algorithms", algorithms, such_as="['HS256']")


class Rules(TypedDict, total=False):
    """What a `TokenVerifier` demands of a token. Algorithms, audience and issuer have to be said."""

    algorithms: Required[Iterable[Algorithm]]
    """The algorithms to accept; what a token's own header names only ever selects among them."""
    audience: Required[str | Literal[Waiver.AUDIENCE]]
    """Who we are: a token's ``aud`` must name it. `any_audience` waives that."""
    issuer: Required[str | Literal[Waiver.ISSUER]]
    """Who must have issued the token. `any_issuer` waives that."""
    leeway: float
    """Seconds for which a token is still accepted after its ``exp``; 0 by default."""
    skew: float
    """Seconds by which the issuer's clock may be ahead of ours, for ``iat``, ``nbf`` and `max_lifetime`; it does not
    prolong a token. 60 by default."""
    type: str | None
    """The ``typ`` that the header must have, such as ``at+jwt`` (RFC 9068); None, the default, does not look at it."""
    max_lifetime: float
    """How far ``exp`` may lie in the future, in seconds: a token for a thousand years is a mistake or a forgery. A day
    by default."""


@final
class TokenVerifier(Serviced, Generic[C_co]):
    """Verifies tokens.

    ::

        verifier = TokenVerifier(secret, algorithms=["HS256"], audience="chat", issuer="https://id.example")

    Raises:
      ConfigurationError: no or an unknown algorithm; a secret that is too short for it, that everybody can read in an
        example, that has fewer than 10 different bytes, or that is no secret at all; an audience or an issuer that is
        neither named nor waived; a leeway, a skew or a lifetime that is no number of seconds.
    """

    @overload
    def __init__(self: TokenVerifier[Claims], keys: Keys, **rules: Unpack[Rules]) -> None: ...
    @overload
    def __init__(self, keys: Keys, *, claims: type[C_co], **rules: Unpack[Rules]) -> None: ...
    def __init__(self, keys: Keys, *, claims: type[AnyClaims] = Claims, **rules: Unpack[Rules]) -> None:
        """Verify tokens that were signed with `keys`.

        Args:
          keys: the secret, as text or bytes: at least 32 bytes for HS256, 48 for HS384, 64 for HS512.
          claims: the class of what `verify` returns.
          rules: what is demanded of a token; see `Rules`.
        """
        self._rules = _CheckedRules(**rules)
        self._keys = key_source(keys, self._rules.algorithms)
        self._claims = cast("type[C_co]", claims)  # as the overloads say

    def __repr__(self) -> str:
        """What is demanded, without the keys."""
        return f"TokenVerifier({self._rules})"

    @property
    def leeway(self) -> float:
        """Seconds for which a token is still accepted after its ``exp``."""
        return self._rules.leeway

    @property
    def skew(self) -> float:
        """Seconds by which the issuer's clock may be ahead of ours."""
        return self._rules.skew

    def services(self) -> tuple[Service, ...]:
        """What a server has to run for its keys; `bearer` names it."""
        return self._keys.services()

    async def verify(self, token: str, /) -> C_co:
        """The claims of `token`. It waits only where a key has to be fetched.

        Raises:
          TokenExpired: it was good once.
          Unauthorized: anything else is wrong with it. The text does not repeat the token.
        """
        if len(token) > MAX_TOKEN:
            raise Unauthorized(f"token of more than {MAX_TOKEN} characters")
        payload = self._decode(token, await self._keys.find(token))
        rules = self._rules
        try:
            return claims_from(self._claims, payload, now=unix_time() + rules.skew, max_lifetime=rules.max_lifetime)
        except MalformedClaim as error:
            raise Unauthorized(f"token refused: {error}") from None

    def _decode(self, token: str, key: str | bytes) -> Mapping[str, object]:
        rules = self._rules
        waived = {"aud": rules.audience is any_audience, "iss": rules.issuer is any_issuer}
        try:
            decoded: dict[str, dict[str, object]] = jwt.decode_complete(
                token,
                key,
                algorithms=rules.algorithms,
                options={
                    "require": ["exp", *(claim for claim, is_waived in waived.items() if not is_waived)],
                    "enforce_minimum_key_length": True,
                    "verify_aud": not waived["aud"],
                    "verify_iss": not waived["iss"],
                    "verify_iat": False,  # these two are for `claims_from`
                    "verify_nbf": False,
                },
                audience=None if isinstance(rules.audience, Waiver) else rules.audience,
                issuer=None if isinstance(rules.issuer, Waiver) else rules.issuer,
                leeway=rules.leeway,
            )
        except jwt.ExpiredSignatureError:
            raise TokenExpired from None
        except Exception as error:  # noqa: BLE001 - PyJWT lets through what json, base64 and int() raise on odd bytes
            raise Unauthorized(f"token refused: {type(error).__name__}") from None
        if rules.type is not None and _media_type(decoded["header"].get("typ")) != _media_type(rules.type):
            raise Unauthorized("token refused: of another type")
        return decoded["payload"]


@final
@frozen(kw_only=True)
class _CheckedRules:
    """`Rules`, with their defaults, checked."""

    algorithms: tuple[Algorithm, ...] = field(converter=_several)
    audience: str | Literal[Waiver.AUDIENCE]
    issuer: str | Literal[Waiver.ISSUER]
    leeway: float = 0.0
    skew: float = 60.0
    type: str | None = None
    max_lifetime: float = 86_400.0

    def __attrs_post_init__(self) -> None:
        """Refuse settings with which verifying would mean nothing."""
        for name, value, waiver in (
            ("audience", self.audience, any_audience),
            ("issuer", self.issuer, any_issuer),
        ):
            if value is not waiver and not _is_word(value):
                raise ConfigurationError(f"TokenVerifier: {name}={value!r}; give its name, or waive it: {waiver.value}")
        for name, seconds in (("leeway", self.leeway), ("skew", self.skew)):
            if not (is_number(seconds) and 0 <= seconds < math.inf):
                raise ConfigurationError(f"TokenVerifier: {name}={seconds!r}; give a number of seconds, such as 30")
        if not (self.type is None or _is_word(self.type)):
            raise ConfigurationError(f"TokenVerifier: type={self.type!r}; give a text, such as 'at+jwt', or None")
        if not (is_number(self.max_lifetime) and self.max_lifetime > 0):
            raise ConfigurationError(
                f"TokenVerifier: max_lifetime={self.max_lifetime!r}; give a number of seconds above 0"
            )


def _is_word(value: object) -> bool:
    """Whether `value` is a name. For programs that no type checker has seen: None must not mean any name."""
    return isinstance(value, str) and bool(value)


def _media_type(name: object) -> str:
    """A ``typ`` for comparison: without case and without the prefix that may be left out (RFC 7515, section 4.1.9)."""
    return name.lower().removeprefix("application/") if isinstance(name, str) else ""
