"""`Credentials`: a name and a password, read from what was posted. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, TypeVar, cast, final

from attrs import field, frozen

from seawall.http.exchange import Request

P = TypeVar("P")

#: Bytes of what is posted: a name and a password, each of whose bytes may take six in JSON or three in a form.
MAX_BODY: Final = 16 * 1024

#: Bytes of a name, in UTF-8: more than an address of e-mail has (RFC 5321, section 4.5.3.1).
MAX_NAME: Final = 320

#: Bytes of a password, in UTF-8, which somebody has to hash.
MAX_PASSWORD: Final = 1024

#: What no name has.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

#: The type of a form without files.
FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"


@final
@frozen(kw_only=True)
class Credentials:
    """What somebody wants to log in with."""

    name: str = field(repr=False)
    password: str = field(repr=False)


@final
@frozen
class Unreadable:
    """What was posted is none."""

    status: int
    text: str
    """What to mend. It repeats nothing."""


def media_type(request: Request[P]) -> str:
    """The type of what was posted, without parameters, in lower case."""
    return (request.handshake.header("content-type") or "").partition(";")[0].strip(" \t").lower()


def read_credentials(request: Request[P]) -> Credentials | Unreadable:
    """The fields ``username`` and ``password`` of JSON or of a form."""
    if len(request.body) > MAX_BODY:
        return Unreadable(413, "more than 16 KiB")
    kind = media_type(request)
    if kind not in (_JSON, FORM):
        return Unreadable(415, f"neither {_JSON} nor {FORM}")
    fields: Mapping[str, object] | None = request.form() if kind == FORM else _json_object(request.body)
    if fields is None:
        return Unreadable(400, "no JSON object")
    name, password = fields.get("username"), fields.get("password")
    if not (isinstance(name, str) and isinstance(password, str) and name and password):
        return Unreadable(400, "username and password are texts that are not empty")
    return _checked(name, password)


def _checked(name: str, password: str) -> Credentials | Unreadable:
    """Refuse what no account can have, before somebody hashes it, or stores it."""
    name_size, password_size = _size(name), _size(password)
    if name_size is None or password_size is None or _CONTROL.search(name) or "\0" in password:
        return Unreadable(400, "a character that no name or no password has")
    if name_size > MAX_NAME:
        return Unreadable(400, f"a name of more than {MAX_NAME} bytes")
    if password_size > MAX_PASSWORD:
        return Unreadable(400, f"a password of more than {MAX_PASSWORD} bytes")
    return Credentials(name=name, password=password)


def _size(text: str) -> int | None:
    """Its bytes in UTF-8; None if it has a lone surrogate, which has none."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None


def _json_object(body: bytes) -> Mapping[str, object] | None:
    try:
        value: object = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else None
