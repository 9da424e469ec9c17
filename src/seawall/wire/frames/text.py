"""What a client sends as text: UTF-8, or a violation (RFC 6455, section 8.1)."""

from __future__ import annotations

import codecs
from typing import final

from seawall.errors import ProtocolViolation
from seawall.wire.frames.codes import INVALID_DATA


@final
class RawText(bytes):
    """The payload of a text message that is not decoded: known to be UTF-8, and told apart from a binary message.

    For codecs that read bytes, as those of JSON do: decoding first would cost them a copy and a second pass.
    """

    __slots__ = ()


def as_raw_text(text: bytes | bytearray) -> RawText:
    """A whole text, as it came.

    Raises:
      ProtocolViolation: 1007, this is not UTF-8.
    """
    if not text.isascii():
        decode(text)
    return RawText(text)


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
