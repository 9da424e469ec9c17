"""`Rules`: what a verifier demands of a token, whoever has signed it. Pure."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, Required, TypedDict, cast, final

from attrs import Factory, field, frozen

from seawall.errors import ConfigurationError, Unauthorized
from seawall.guards.jwt.algorithms import Algorithm
from seawall.mistakes import check_names, is_number, several

#: What stands in an issuer for the tenant that a token names in its ``tid``.
_TENANT: Final = "{tid}"

#: Claims that have a rule of their own, and its name.
_RULED: Final[Mapping[str, str]] = {
    "aud": "audience",
    "iss": "issuer",
    "exp": "leeway and max_lifetime",
    "nbf": "skew",
    "iat": "skew",
}


@final
class Waiver(enum.Enum):
    """The claims that a `TokenVerifier` can be told not to check."""

    AUDIENCE = "any_audience"
    ISSUER = "any_issuer"
    TENANT = "any_tenant"


any_audience: Final = Waiver.AUDIENCE
"""Accept tokens that were issued for other audiences too (RFC 8725, section 3.9, advises against it)."""
any_issuer: Final = Waiver.ISSUER
"""Accept tokens with any ``iss``, or none; only the key says who has issued them."""
any_tenant: Final = Waiver.TENANT
"""Accept tokens of every tenant of the issuer: of whoever has an account there."""


class Rules(TypedDict, total=False):
    """What a `TokenVerifier` demands of a token. Algorithms, audience and issuer have to be said."""

    algorithms: Required[Iterable[Algorithm]]
    """The algorithms to accept; what a token's own header names only ever selects among them."""
    audience: Required[str | Iterable[str] | Literal[Waiver.AUDIENCE]]
    """Who we are: a token's ``aud`` must name it, or one of several. `any_audience` waives that."""
    issuer: Required[str | Literal[Waiver.ISSUER]]
    """Who must have issued the token. `any_issuer` waives that. ``{tid}`` in it stands for one of `tenants`."""
    tenants: Iterable[str] | Literal[Waiver.TENANT]
    """The tenants whose tokens are accepted, if the issuer has a ``{tid}``: a token's ``tid`` must be one of them, and
    its ``iss`` that of the tenant. `any_tenant` accepts those of all."""
    require: Mapping[str, str | int | float | bool]
    """Claims that must have exactly this value, such as ``{"azp": "web"}`` where tokens have no ``aud``."""
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


#: The rules that there have to be, and what to write.
_DEMANDED: Final[Mapping[str, str]] = {
    "algorithms": "name what the issuer signs with: ['HS256']",
    "audience": "give its name, or waive it: any_audience",
    "issuer": "give its name, or waive it: any_issuer",
}


def check_rules(given: Mapping[str, object]) -> None:
    """Refuse rules that are misspelt, or missing, for programs that no type checker has seen.

    Raises:
      ConfigurationError: there are some.
    """
    check_names("TokenVerifier", given, Rules.__annotations__, kind="rule")
    for name, remedy in _DEMANDED.items():
        if name not in given:
            raise ConfigurationError(f"TokenVerifier: {name}= is missing; {remedy}")


def _algorithms(value: Iterable[Algorithm]) -> tuple[Algorithm, ...]:
    return several("TokenVerifier: algorithms", value, such_as="['HS256']")


def _audience(value: object) -> tuple[str, ...] | Literal[Waiver.AUDIENCE]:
    if value is any_audience:
        return any_audience
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Iterable) or isinstance(value, bytes):
        return (cast("str", value),)  # refused below
    return tuple(cast("Iterable[str]", value))


def _tenants(value: object) -> tuple[str, ...] | Literal[Waiver.TENANT]:
    if value is any_tenant:
        return any_tenant
    return several("TokenVerifier: tenants", cast("Iterable[str]", value), such_as="['9188040d-...']")


def _required(value: Mapping[str, str | int | float | bool]) -> Mapping[str, str | int | float | bool]:
    """The same claims, whatever happens to `value` later; what is no mapping is refused by `_check_require`."""
    return dict(value) if _is_mapping(value) else value


@final
@frozen(kw_only=True)
class CheckedRules:
    """`Rules`, with their defaults, checked.

    Raises:
      ConfigurationError: with these rules verifying would mean nothing; the text says which one.
    """

    algorithms: tuple[Algorithm, ...] = field(converter=_algorithms)
    audience: tuple[str, ...] | Literal[Waiver.AUDIENCE] = field(converter=_audience)
    issuer: str | Literal[Waiver.ISSUER]
    tenants: tuple[str, ...] | Literal[Waiver.TENANT] = field(default=(), converter=_tenants)
    require: Mapping[str, str | int | float | bool] = field(
        factory=dict[str, "str | int | float | bool"], converter=_required
    )
    leeway: float = 0.0
    skew: float = 60.0
    type: str | None = None
    max_lifetime: float = 86_400.0
    _issuers: re.Pattern[str] | None = field(
        init=False, repr=False, eq=False, default=Factory(lambda self: _issuers(self.issuer), takes_self=True)
    )

    def __attrs_post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.audience is not any_audience and not (self.audience and all(_is_word(one) for one in self.audience)):
            given = self.audience[0] if len(self.audience) == 1 else list(self.audience)
            raise ConfigurationError(f"TokenVerifier: audience={given!r}; give its name, or waive it: any_audience")
        if self.issuer is not any_issuer and not _is_word(self.issuer):
            raise ConfigurationError(f"TokenVerifier: issuer={self.issuer!r}; give its name, or waive it: any_issuer")
        self._check_tenants()
        _check_require(self.require)
        for name, seconds in (("leeway", self.leeway), ("skew", self.skew)):
            if not (is_number(seconds) and 0 <= seconds < math.inf):
                raise ConfigurationError(f"TokenVerifier: {name}={seconds!r}; give a number of seconds, such as 30")
        if not (self.type is None or _is_word(self.type)):
            raise ConfigurationError(f"TokenVerifier: type={self.type!r}; give a text, such as 'at+jwt', or None")
        if not (is_number(self.max_lifetime) and self.max_lifetime > 0):
            raise ConfigurationError(
                f"TokenVerifier: max_lifetime={self.max_lifetime!r}; give a number of seconds above 0"
            )

    def _check_tenants(self) -> None:
        if self._issuers is None:
            if self.tenants:
                raise ConfigurationError(
                    f"TokenVerifier: tenants=, but the issuer {self.issuer!r} has no {_TENANT}; write it where the "
                    f"tenant's id stands, as in 'https://login.microsoftonline.com/{_TENANT}/v2.0'"
                )
        elif not self.tenants:
            raise ConfigurationError(
                f"TokenVerifier: the issuer has a {_TENANT}, and whose tokens are meant is not said; list the tenants, "
                "tenants=['9188040d-...'], or accept whoever has an account there: tenants=any_tenant"
            )
        elif self.tenants is not any_tenant and not all(_is_word(tenant) for tenant in self.tenants):
            raise ConfigurationError(f"TokenVerifier: tenants={list(self.tenants)!r}; give their ids, as texts")

    def is_of(self, issuer: str | None) -> bool:
        """Whether a token that names this issuer, and has not been verified, may be one of these."""
        if self._issuers is not None:
            return issuer is not None and self._issuers.fullmatch(issuer) is not None
        return self.issuer is any_issuer or issuer == self.issuer

    def overlaps(self, other: CheckedRules) -> bool:
        """Whether there may be an issuer that both are of; a tenant's id has no slash in it."""
        ours, theirs = str(self.issuer).split("/"), str(other.issuer).split("/")
        return len(ours) == len(theirs) and all(map(_meet, ours, theirs))

    def check(self, payload: Mapping[str, object], media_type: object) -> None:
        """Look at what PyJWT has not: the signature, ``exp``, ``aud`` and ``iss`` have been verified.

        Args:
          payload: what it says.
          media_type: the ``typ`` of its header.

        Raises:
          Unauthorized: it is of another type or tenant, or a claim that is required has another value.
        """
        if self.type is not None and _media_type(media_type) != _media_type(self.type):
            raise Unauthorized("token refused: of another type")
        if self._issuers is not None:
            self._check_tenant(payload)
        for name, wanted in self.require.items():
            found = payload.get(name)
            if found != wanted or isinstance(found, bool) != isinstance(wanted, bool):
                raise Unauthorized(f"token refused: {name} is missing, or is not the one that is required")

    def _check_tenant(self, payload: Mapping[str, object]) -> None:
        tenant = payload.get("tid")
        if not isinstance(tenant, str) or not tenant:
            raise Unauthorized("token refused: it names no tenant in tid")
        if payload.get("iss") != cast("str", self.issuer).replace(_TENANT, tenant):
            raise Unauthorized("token refused: its tid is not the tenant of its issuer")
        if self.tenants is not any_tenant and tenant not in self.tenants:
            raise Unauthorized("token refused: of another tenant")


def _issuers(issuer: object) -> re.Pattern[str] | None:
    """What matches the issuers of all tenants; None if `issuer` has no place for one."""
    if not (isinstance(issuer, str) and _TENANT in issuer):
        return None
    return re.compile("[^/]+".join(map(re.escape, issuer.split(_TENANT))))


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _meet(one: str, other: str) -> bool:
    """Whether a text between two slashes may be as both say."""
    pattern, other_pattern = _issuers(one), _issuers(other)
    if pattern is None:
        return one == other if other_pattern is None else other_pattern.fullmatch(one) is not None
    if other_pattern is None:
        return pattern.fullmatch(other) is not None
    (begin, *_, end), (other_begin, *_, other_end) = one.split(_TENANT), other.split(_TENANT)
    begins = begin.startswith(other_begin) or other_begin.startswith(begin)
    return begins and (end.endswith(other_end) or other_end.endswith(end))


def _check_require(require: object) -> None:
    if not isinstance(require, Mapping):
        raise ConfigurationError(
            f"TokenVerifier: require={require!r}; give claims and values, such as {{'azp': 'web'}}"
        )
    for name, wanted in cast("Mapping[object, object]", require).items():
        if not _is_word(name) or not isinstance(wanted, str | int | float):
            raise ConfigurationError(
                f"TokenVerifier: require has {name!r}: {wanted!r}; give the name of a claim, and the text, number or "
                "bool that it has to be"
            )
        if name in _RULED:
            raise ConfigurationError(
                f"TokenVerifier: require has {name!r}, for which there is a rule of its own: "
                f"{_RULED[cast('str', name)]}"
            )


def _is_word(value: object) -> bool:
    """Whether `value` is a name. For programs that no type checker has seen: None must not mean any name."""
    return isinstance(value, str) and bool(value)


def _media_type(name: object) -> str:
    """A ``typ`` for comparison: without case and without the prefix that may be left out (RFC 7515, section 4.1.9)."""
    return name.lower().removeprefix("application/") if isinstance(name, str) else ""
