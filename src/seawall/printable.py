"""Text from outside, and exceptions, escaped and shortened for one line of a log. Pure."""

from __future__ import annotations

from collections.abc import Iterator


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
    is written as ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``; printable characters of every script stay.

    Args:
      text: anything.
      limit: the most characters of the result. What does not fit is left out, and the result ends in ``…``.
    """
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
