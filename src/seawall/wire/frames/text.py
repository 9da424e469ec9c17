"""Checks and decodes the text that a client sends, which has to be UTF-8 (RFC 6455, section 8.1)."""

from __future__ import annotations

import codecs

from seawall.errors import ProtocolViolation
from seawall.wire.frames.codes import INVALID_DATA


def decode(text: bytes | bytearray) -> str:
    """The payload of a whole text message, or the reason of a Close, decoded.

    Raises:
      ProtocolViolation: 1007, the bytes are not UTF-8.
    """
    try:
        return str(text, "utf-8")
    except UnicodeDecodeError:
        raise ProtocolViolation(INVALID_DATA, "invalid UTF-8") from None


def unfinished(text: bytes | bytearray) -> bytes | bytearray:
    """The bytes of an incomplete character at the end of a text of which more will come; empty if there is none.

    Raises:
      ProtocolViolation: 1007, no continuation makes the text valid UTF-8.
    """
    if text.isascii():  # decoding would make a copy
        return b""
    try:
        _, whole = codecs.utf_8_decode(text, "strict", False)
    except UnicodeDecodeError:
        raise ProtocolViolation(INVALID_DATA, "invalid UTF-8") from None
    # CPython refuses an encoded surrogate only at its third byte, because of "surrogatepass"; its second shows it.
    rest = text[whole:]
    if len(rest) == 2 and rest[0] == 0xED and rest[1] >= 0xA0:
        raise ProtocolViolation(INVALID_DATA, "invalid UTF-8")
    return rest
