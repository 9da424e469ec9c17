"""What a client sends as text: UTF-8, or a violation (RFC 6455, section 8.1)."""

from __future__ import annotations

import codecs

from seawall.errors import ProtocolViolation
from seawall.wire.codes import INVALID_DATA


def decode(text: bytes | bytearray) -> str:
    """A whole text.

    Raises:
      ProtocolViolation: 1007, this is not UTF-8.
    """
    try:
        return str(text, "utf-8")
    except UnicodeDecodeError:
        raise ProtocolViolation(INVALID_DATA, "invalid UTF-8") from None


def unfinished(text: bytes | bytearray) -> bytes | bytearray:
    """The last character of a text that goes on, if it is not whole yet; else nothing.

    Raises:
      ProtocolViolation: 1007, this can no longer become UTF-8.
    """
    if text.isascii():  # decoding would make a copy
        return b""
    try:
        _, whole = codecs.utf_8_decode(text, "strict", False)
    except UnicodeDecodeError:
        raise ProtocolViolation(INVALID_DATA, "invalid UTF-8") from None
    # For the sake of "surrogatepass" CPython waits for the third byte of a surrogate before it refuses the second.
    rest = text[whole:]
    if len(rest) == 2 and rest[0] == 0xED and rest[1] >= 0xA0:
        raise ProtocolViolation(INVALID_DATA, "invalid UTF-8")
    return rest
