"""`Claims`: what a token says, with the registered claims as typed fields (RFC 7519, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from attrs import field, frozen

#: Dates have to be nearer to 1970 than this many seconds (the year 9999). NaN fails that comparison too.
_LATEST = 253_402_300_800

#: As a tuple, because a union would be made anew for each date.
_NUMBERS = (int, float)


@frozen(kw_only=True)
class AnyClaims:
    """What a verified token says, which may be about nobody. Dates are Unix time in seconds."""

    subject: str | None
    """``sub``: whom the token is about."""
    issuer: str | None
    """``iss``."""
    audience: tuple[str, ...]
    """``aud``, always as a tuple."""
    expires_at: float
    """``exp``."""
    issued_at: float | None
    """``iat``."""
    not_before: float | None
    """``nbf``."""
    token_id: str | None
    """``jti``."""
    session_id: str | None = None
    """``sid``: what all tokens of one log-in have in common (OpenID Connect, as in Back-Channel Logout 1.0)."""
    scopes: frozenset[str]
    """``scope``: a string of words (RFC 8693, section 4.2) or a list of them."""
    raw: Mapping[str, object] = field(repr=False)
    """Every claim, registered or not, as it was decoded."""


@frozen(kw_only=True)
class Claims(AnyClaims):
    """What a verified token says about its subject. Dates are Unix time in seconds.

    Claims of an application's own are the fields of an attrs class that is derived from it, and that a `TokenVerifier`
    is given: a claim of the field's name, or the one that `At` names::

        @frozen(kw_only=True)
        class Member(Claims):
            email: str
            roles: Annotated[frozenset[str], At("realm_access", "roles")] = frozenset()
    """

    subject: str
    """``sub``: whom the token is about."""


class MalformedClaim(Exception):
    """A claim is not what RFC 7519 says that it is."""


def registered_claims(payload: Mapping[str, object], *, now: float, max_lifetime: float) -> dict[str, object]:
    """The fields of `AnyClaims` in a payload whose signature and ``exp`` have been verified.

    Args:
      payload: what the token says, decoded from JSON.
      now: the last moment that ``iat`` and ``nbf`` may name, in Unix time: the issuer's clock, if it is ahead of ours.
      max_lifetime: how many seconds after `now` ``exp`` may lie.

    Raises:
      MalformedClaim: a registered claim has a value of the wrong type, ``exp`` is missing or too far away, or ``iat``
        or ``nbf`` is later than `now`.
    """
    expires_at, issued_at, not_before = _date(payload, "exp"), _date(payload, "iat"), _date(payload, "nbf")
    if expires_at is None or expires_at > now + max_lifetime:
        raise MalformedClaim("exp is too far away, or missing")
    if (issued_at is not None and issued_at > now) or (not_before is not None and not_before > now):
        name = "iat" if issued_at is not None and issued_at > now else "nbf"
        raise MalformedClaim(f"{name} is ahead of our clock by more than the skew")
    return {
        "subject": _text(payload, "sub"),
        "issuer": _text(payload, "iss"),
        "audience": _words(payload, "aud", separate=False),
        "expires_at": expires_at,
        "issued_at": issued_at,
        "not_before": not_before,
        "token_id": _text(payload, "jti"),
        "session_id": _text(payload, "sid"),
        "scopes": frozenset(_words(payload, "scope", separate=True)),
        "raw": MappingProxyType(dict(payload)),
    }


def _date(payload: Mapping[str, object], name: str) -> float | None:
    value = payload.get(name)
    if value is None:
        return None
    if not isinstance(value, _NUMBERS) or isinstance(value, bool) or not -_LATEST < value < _LATEST:
        raise MalformedClaim(f"{name} is not a date")
    return float(value)


def _text(payload: Mapping[str, object], name: str) -> str | None:
    value = payload.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedClaim(f"{name} is not a string")
    return value


def _words(payload: Mapping[str, object], name: str, *, separate: bool) -> tuple[str, ...]:
    value = payload.get(name)
    if value is None:
        return ()
    if isinstance(value, str):  # scopes are separated by a space (RFC 6749, section 3.3), or a tab, and nothing else
        return tuple(filter(None, value.replace("\t", " ").split(" "))) if separate else (value,)
    if isinstance(value, list):
        entries = cast("list[object]", value)
        words = tuple(word for word in entries if isinstance(word, str))
        if len(words) == len(entries):
            return words
    raise MalformedClaim(f"{name} is neither a string nor a list of strings")
