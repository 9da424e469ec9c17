"""What a token says before anything of it has been verified. Nothing is accepted for it; it only selects. Pure."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, cast, final

from attrs import frozen

from seawall.errors import Unauthorized
from seawall.guards.jwt.algorithms import ALGORITHMS, Algorithm

#: Headers that are remembered: those of one issuer differ with the key only, so that nearly every token has one.
REMEMBERED: Final = 64


@final
@frozen
class TokenHeader:
    """What a token says about its key, by which one of ours is chosen. Nothing else in a header is looked at."""

    algorithm: Algorithm
    """``alg`` (RFC 7515, section 4.1.1)."""
    kid: str | None
    """``kid`` (RFC 7515, section 4.1.4)."""


def header_of(token: str) -> TokenHeader:
    """The header of `token`, which is not verified.

    Raises:
      Unauthorized: there is none, or one with an ``alg`` that is not known here, or a ``kid`` that is no text.
    """
    try:
        return _parsed(token[: token.index(".")])
    except Unauthorized:
        raise
    except Exception as error:  # noqa: BLE001 - json and base64 raise several kinds on odd bytes, RecursionError too
        raise Unauthorized(f"token refused: {type(error).__name__}") from None


def issuer_of(token: str) -> str | None:
    """The ``iss`` of `token`, which is not verified; None if it has none that can be read."""
    try:
        issuer = _object(token.split(".")[1]).get("iss")
    except Exception:  # noqa: BLE001 - as in `header_of`
        return None
    return issuer if isinstance(issuer, str) else None


@final
@frozen
class NamedIdentity:
    """Whom a token says that it is about."""

    issuer: str
    """``iss``; empty if it names none."""
    subject: str | None
    """``sub``."""
    session_id: str | None
    """``sid``."""


def identity_of(token: str) -> NamedIdentity:
    """Whom `token` says that it is about, which is not verified.

    Raises:
      Unauthorized: it has no claims that can be read, or names neither a subject nor a session.
    """
    try:
        claims = _object(token.split(".")[1])
    except Exception as error:  # noqa: BLE001 - as in `header_of`
        raise Unauthorized(f"token refused: {type(error).__name__}") from None
    issuer, subject, session_id = (claims.get(name) for name in ("iss", "sub", "sid"))
    if not all(value is None or isinstance(value, str) for value in (issuer, subject, session_id)):
        raise Unauthorized("token refused: iss, sub or sid is no text")
    if subject is None and session_id is None:
        raise Unauthorized("token refused: it names neither a subject nor a session")
    return NamedIdentity(cast("str | None", issuer) or "", cast("str | None", subject), cast("str | None", session_id))


def _object(segment: str) -> Mapping[str, object]:
    decoded: object = json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    if not isinstance(decoded, dict):
        raise Unauthorized("token refused: a part of it is no object")
    return cast("dict[str, object]", decoded)


@lru_cache(maxsize=REMEMBERED)
def _parsed(segment: str) -> TokenHeader:
    header = _object(segment)
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise Unauthorized("token refused: its header names no algorithm that is known here")
    kid = header.get("kid")
    if "kid" in header and not isinstance(kid, str):
        raise Unauthorized("token refused: the kid of its header is no text")
    return TokenHeader(algorithm, cast("str | None", kid))
