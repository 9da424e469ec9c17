"""Text from outside, and exceptions, escaped, shortened and without credentials, for one line of a log. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

#: What stands in place of a credential.
REDACTED: Final = "[redacted]"

#: A JSON Web Token, or what is left of one that was cut: base64url of ``{"`` with or without white space, and whatever
#: follows with dots. It needs neither the dots nor a word's beginning, and reads each character once.
_TOKEN: Final = re.compile(r"(?:eyJ|eyAi|ewo[gIiJ]|ewki|ew0K)[A-Za-z0-9_-]{9,}+(?:\.[A-Za-z0-9_=-]*+)*+")

#: A credential that is named: ``access_token=...`` in a query, ``token='...'`` in a repr, ``"ticket": "..."`` in JSON
#: (which may be quoted once more), ``'token': ['...']`` of `urllib.parse.parse_qs`.
_VALUE: Final = (
    r"""(?:=|%3D|\\*+["']\s*[:,=]\s*))"""
    r"""(?:\[redacted]|[\[(]*+\\*+(?:b?"(?:[^"\\]|\\.)*+"?|b?'(?:[^'\\]|\\.)*+'?|[^\s&#"']++))"""
)
_NAMED: Final = re.compile(r"((?:token|ticket)" + _VALUE, re.IGNORECASE)

#: The same, for the names that an application has given its own; see `redact_named`.
_NAMED_BY_APPS: Final[dict[str, re.Pattern[str]]] = {}

#: One in the header ``Authorization``: of the two schemes that everybody uses, what is too long to be a word. And one
#: among the subprotocols, ``bearer.<token>``, but no name of Python such as ``guards.bearer.something``.
_SCHEME: Final = re.compile(
    r"(bearer|basic)((?:\s|[:=]|%20)++|(?<=bearer)(?<![\w.]bearer)\.)[A-Za-z0-9._~+/-]{16,}+=*+", re.IGNORECASE
)

#: Characters behind the end of a text that is shortened in which a credential is still seen whole.
_BEYOND: Final = 16 * 1024


def redact_named(name: str) -> None:
    """Let `redacted` know, from now on, that what is called `name` is a credential, in every text of this process."""
    _NAMED_BY_APPS[name.lower()] = re.compile(rf"((?<![A-Za-z0-9_]){re.escape(name)}" + _VALUE, re.IGNORECASE)


def redacted(text: str) -> str:
    """`text` with `REDACTED` in place of each credential: what has the shape of a JSON Web Token, or is named one.

    A text without any is returned as it is, and that costs next to nothing.
    """
    lower = text.lower()
    if "token" in lower or "ticket" in lower:
        text = _NAMED.sub(rf"\1{REDACTED}", text)
    for name, pattern in tuple(_NAMED_BY_APPS.items()):
        if name in lower:
            text = pattern.sub(rf"\1{REDACTED}", text)
    if "bearer" in lower or "basic" in lower:
        text = _SCHEME.sub(rf"\1\2{REDACTED}", text)
    return _TOKEN.sub(REDACTED, text) if "ey" in lower or "ew" in lower else text


def escaped(text: str) -> Iterator[str]:
    r"""The characters of `text`, each that is not printable written as ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``."""
    for character in text:
        code = ord(character)
        if character.isprintable():
            yield character
        elif code <= 0xFF:
            yield f"\\x{code:02x}"
        else:
            yield f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def safe(text: str, limit: int = 200) -> str:
    r"""Text from outside, escaped and shortened for one line of a log.

    What is not printable (`str.isprintable`: control characters, line breaks, bidirectional marks, lone surrogates)
    is written as ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``; printable characters of every script stay. Credentials are
    `redacted`, and one that would be cut is so as a whole.

    Args:
      text: anything.
      limit: the most characters of the result. What does not fit is left out, and the result ends in ``…``.
    """
    text = redacted(text) if len(text) <= limit + _BEYOND else redacted(text[: limit + _BEYOND]) + "…"
    pieces: list[str] = []
    size = 0
    for piece in escaped(text[: limit + 1]):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            break
    else:
        return "".join(pieces)
    while pieces and size >= limit:
        size -= len(pieces.pop())
    return "".join(pieces) + "…"


def name_of(failure: BaseException) -> str:
    """The type and the text of `failure`, bounded and escaped, for a log line."""
    try:
        text = str(failure)
    except Exception:  # noqa: BLE001 - an exception whose str raises has to be reported too
        text = "(its text cannot be shown)"
    return f"{type(failure).__name__}: {safe(text)}"


def name_of_type(kind: type[object]) -> str:
    """The module and the qualified name of `kind`."""
    return f"{kind.__module__}.{kind.__qualname__}"
