"""`TokenVerifier`: verifies JSON Web Tokens (RFC 7519) with the defaults of RFC 8725.

PyJWT checks signatures and registered claims. This module and `seawall.guards.jwt.claims` check what PyJWT leaves to
its caller: that ``exp`` is there and not too far away, that dates are numbers, the type, and the size; and ``iat`` and
``nbf``, for which PyJWT has no tolerance but that of ``exp``. Whatever exception a token causes, it is refused.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias, final, get_args

import jwt
from attrs import field, frozen
from jwt.algorithms import HMACAlgorithm

from seawall.clock import unix_time
from seawall.errors import ConfigurationError, TokenExpired, Unauthorized
from seawall.guards.jwt.claims import Claims, MalformedClaim, claims_from
from seawall.guards.jwt.secret import weakness_of
from seawall.mistakes import is_number, several

#: Algorithms that a shared secret can serve (RFC 7518, section 3.2).
Algorithm: TypeAlias = Literal["HS256", "HS384", "HS512"]

#: Characters that a token may have; a longer one is refused without being decoded.
MAX_TOKEN = 8 * 1024

#: Bytes that the secret must have: the size of the hash (RFC 7518, section 3.2).
_KEY_SIZES: Mapping[str, int] = {"HS256": 32, "HS384": 48, "HS512": 64}


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


@final
@frozen
class TokenVerifier:
    """Verifies tokens that were signed with a shared secret.

    ::

        verifier = TokenVerifier(secret, algorithms=["HS256"], audience="chat", issuer="https://id.example")

    Raises:
      ConfigurationError: no or an unknown algorithm; a secret that is too short for it, that everybody can read in an
        example, that has fewer than 10 different bytes, or that is no secret at all; an audience or an issuer that is
        neither named nor waived; a leeway, a skew or a lifetime that is no number of seconds.
    """

    keys: str | bytes = field(repr=False)
    """The secret: at least 32 bytes for HS256, 48 for HS384, 64 for HS512."""
    algorithms: tuple[Algorithm, ...] = field(converter=_several, kw_only=True)
    """The algorithms to accept; what a token's own header names only ever selects among them."""
    audience: str | Literal[Waiver.AUDIENCE] = field(kw_only=True)
    """Who we are: a token's ``aud`` must name it. `any_audience` waives that."""
    issuer: str | Literal[Waiver.ISSUER] = field(kw_only=True)
    """Who must have issued the token. `any_issuer` waives that."""
    leeway: float = field(default=0.0, kw_only=True)
    """Seconds for which a token is still accepted after its ``exp``."""
    skew: float = field(default=60.0, kw_only=True)
    """Seconds by which the issuer's clock may be ahead of ours, for ``iat``, ``nbf`` and `max_lifetime`; it does not
    prolong a token."""
    type: str | None = field(default=None, kw_only=True)
    """The ``typ`` that the header must have, such as ``at+jwt`` (RFC 9068); None does not look at it."""
    max_lifetime: float = field(default=86_400.0, kw_only=True)
    """How far ``exp`` may lie in the future, in seconds: a token for a thousand years is a mistake or a forgery."""

    def __attrs_post_init__(self) -> None:
        """Refuse settings with which verifying would mean nothing."""
        known = get_args(Algorithm)
        if not self.algorithms or not all(algorithm in known for algorithm in self.algorithms):
            raise ConfigurationError(f"TokenVerifier: algorithms {list(self.algorithms)}; name some of {list(known)}")
        self._check_secret(_secret(self.keys))
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

    def _check_secret(self, secret: bytes) -> None:
        size = len(secret)
        needed = max(_KEY_SIZES[algorithm] for algorithm in self.algorithms)
        if size < needed:
            raise ConfigurationError(
                f"TokenVerifier: a secret of {size} bytes is too short, {'/'.join(self.algorithms)} needs {needed} "
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

    def verify(self, token: str) -> Claims:
        """The claims of `token`.

        Raises:
          TokenExpired: it was good once.
          Unauthorized: anything else is wrong with it. The text does not repeat the token.
        """
        if len(token) > MAX_TOKEN:
            raise Unauthorized(f"token of more than {MAX_TOKEN} characters")
        payload = self._decode(token)
        try:
            return claims_from(payload, now=unix_time() + self.skew, max_lifetime=self.max_lifetime)
        except MalformedClaim as error:
            raise Unauthorized(f"token refused: {error}") from None

    def _decode(self, token: str) -> Mapping[str, object]:
        waived = {"aud": self.audience is any_audience, "iss": self.issuer is any_issuer}
        try:
            decoded: dict[str, dict[str, object]] = jwt.decode_complete(
                token,
                self.keys,
                algorithms=self.algorithms,
                options={
                    "require": ["exp", *(claim for claim, is_waived in waived.items() if not is_waived)],
                    "enforce_minimum_key_length": True,
                    "verify_aud": not waived["aud"],
                    "verify_iss": not waived["iss"],
                    "verify_iat": False,  # these two are for `claims_from`
                    "verify_nbf": False,
                },
                audience=None if isinstance(self.audience, Waiver) else self.audience,
                issuer=None if isinstance(self.issuer, Waiver) else self.issuer,
                leeway=self.leeway,
            )
        except jwt.ExpiredSignatureError:
            raise TokenExpired from None
        except Exception as error:  # noqa: BLE001 - PyJWT lets through what json, base64 and int() raise on odd bytes
            raise Unauthorized(f"token refused: {type(error).__name__}") from None
        if self.type is not None and _media_type(decoded["header"].get("typ")) != _media_type(self.type):
            raise Unauthorized("token refused: of another type")
        return decoded["payload"]


def _check_keys(keys: object) -> None:
    if not isinstance(keys, str | bytes):  # what it is instead may be secret
        kind = "None; is the environment variable set that it was to come from?" if keys is None else "no str or bytes"
        raise ConfigurationError(f"TokenVerifier: keys is {kind}; give the secret, as str or bytes")


def _secret(keys: str | bytes) -> bytes:
    _check_keys(keys)
    try:
        return keys.encode() if isinstance(keys, str) else keys
    except UnicodeEncodeError:  # not chained: it holds the secret
        raise ConfigurationError("TokenVerifier: keys cannot be encoded as UTF-8; give the secret as bytes") from None


def _is_word(value: object) -> bool:
    """Whether `value` is a name. For programs that no type checker has seen: None must not mean any name."""
    return isinstance(value, str) and bool(value)


def _media_type(name: object) -> str:
    """A ``typ`` for comparison: without case and without the prefix that may be left out (RFC 7515, section 4.1.9)."""
    return name.lower().removeprefix("application/") if isinstance(name, str) else ""
