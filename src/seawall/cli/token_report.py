"""What is in a token that nobody has verified, for people. Pure, but for the clock."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping
from typing import Final, cast, final

import jwt
from attrs import frozen

from seawall.clock import unix_time
from seawall.guards.jwt.claims import MalformedClaim, registered_claims
from seawall.guards.jwt.one_issuer import MAX_TOKEN

#: The claims that are dates.
_DATES: Final = ("exp", "iat", "nbf", "auth_time")

_DAY: Final = 86_400.0


@final
@frozen
class Unverified:
    """The parts of a token."""

    header: Mapping[str, object]
    claims: Mapping[str, object]
    length: int
    is_signed: bool


@final
@frozen
class Report:
    """What is said of a token."""

    text: str
    warnings: tuple[str, ...]


def claims_of(token: str) -> Unverified | None:
    """The parts of `token`; None if it is no token."""
    try:
        found = jwt.decode_complete(token, options={"verify_signature": False})
    except Exception:  # noqa: BLE001 - PyJWT lets through what json, base64 and int() raise on odd bytes
        return None
    return Unverified(found["header"], found["payload"], len(token), token.rpartition(".")[2] != "")


def report(token: Unverified | None) -> Report:
    """What `token` says, and what a `TokenVerifier` would not like about it."""
    if token is None:
        return Report("", ())
    lines = ["Header", *_lines(token.header), "", "Claims", *_lines(token.claims)]
    return Report("\n".join(lines), tuple(_warnings(token)))


def _lines(values: Mapping[str, object]) -> Iterator[str]:
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        shown = json.dumps(value)  # also of what is no text for a terminal
        date = f"  {_date(value)}" if name in _DATES and _is_number(value) else ""
        yield f"  {json.dumps(name)[1:-1]:<{width}}  {shown}{date}"


def _date(value: object) -> str:
    seconds = cast("float", value) - unix_time()
    try:
        date = dt.datetime.fromtimestamp(cast("float", value), tz=dt.UTC)
    except (OverflowError, ValueError, OSError):
        return "(no date)"
    return f"{date:%Y-%m-%d %H:%M:%S} UTC, {_span(abs(seconds))} {'ago' if seconds < 0 else 'from now'}"


def _span(seconds: float) -> str:
    for unit, size in (("days", _DAY), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _warnings(token: Unverified) -> Iterator[str]:
    algorithm = str(token.header.get("alg"))
    if algorithm.lower() == "none" or not token.is_signed:
        yield "it is not signed: anybody can have made it"
    if token.length > MAX_TOKEN:
        yield f"it has {token.length} characters, and a verifier reads no more than {MAX_TOKEN}"
    for name, waiver in (("sub", "claims=AnyClaims"), ("aud", "audience=any_audience"), ("iss", "issuer=any_issuer")):
        if name not in token.claims:
            yield f"there is no {name}: a verifier refuses it, but for {waiver}"
    try:
        registered_claims({**token.claims, "exp": 0}, now=math.inf, max_lifetime=math.inf)
    except MalformedClaim as malformed:
        yield f"{malformed}: every verifier refuses it"
    expires_at = token.claims.get("exp")
    if not _is_number(expires_at):
        yield "there is no exp, or it is no date: every verifier refuses it"
        return
    left = cast("float", expires_at) - unix_time()
    if left <= 0:
        yield "it has expired"
    elif left > _DAY:
        yield f"it is good for {_span(left)}: a verifier refuses more than a day, but for a longer max_lifetime"
    if "iat" not in token.claims:
        yield "there is no iat: it counts as issued before every log-out of its subject"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
