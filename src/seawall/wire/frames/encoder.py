"""The frames of a server (RFC 6455, section 5.2): unmasked, whole, and compressed where that was agreed."""

from __future__ import annotations

import struct
from typing import Final

from seawall.wire.frames.codes import Opcode, sendable_code
from seawall.wire.frames.control import MAX_CONTROL
from seawall.wire.frames.deflate import Deflater

_CODE: Final = struct.Struct("!H")
_HEADER_16: Final = struct.Struct("!BBH")
_HEADER_64: Final = struct.Struct("!BBQ")

_FIN: Final = 0x80
_RSV1: Final = 0x40  # "per-message compressed" (RFC 7692, section 6)
_TEXT: Final = _FIN | Opcode.TEXT
_BINARY: Final = _FIN | Opcode.BINARY

# The headers of short texts, which are sent most: to look one up takes a fifth of the time that making it takes.
_SHORT_TEXT: Final = tuple(bytes((_TEXT, size)) for size in range(MAX_CONTROL + 1))

# Where the payload of an unmasked frame begins, by its second byte; at 2 for every other second byte.
_PAYLOAD_AT: Final = {126: _HEADER_16.size, 127: _HEADER_64.size}


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """One unfragmented, unmasked frame, as a server sends it (RFC 6455, section 5.2).

    Raises:
      ValueError: a control frame with more than 125 bytes of payload (RFC 6455, section 5.5).
    """
    if opcode >= Opcode.CLOSE and len(payload) > MAX_CONTROL:
        raise ValueError(f"a control frame holds {MAX_CONTROL} bytes, not {len(payload)}")
    return _frame(_FIN | opcode, payload)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size <= MAX_CONTROL:
        return (_SHORT_TEXT[size] if first == _TEXT else bytes((first, size))) + payload
    if size < 0x10000:
        return _HEADER_16.pack(first, 126, size) + payload
    return _HEADER_64.pack(first, 127, size) + payload


def encode_message(message: str | bytes, deflater: Deflater | None = None) -> bytes:
    """One message as one frame: a str as text, bytes as binary (RFC 6455, section 5.6).

    Args:
      message: what to send.
      deflater: compresses the message if that is long enough; `compress_frame` says when it may be used.

    Raises:
      UnicodeEncodeError: the text holds a lone surrogate, which UTF-8 cannot encode. It is a `ValueError`.
      TypeError: the message is neither str nor bytes.
    """
    if isinstance(message, str):
        frame = _frame(_TEXT, message.encode())
    elif _is_bytes(message):
        frame = _frame(_BINARY, message)
    else:
        raise TypeError(
            f"a message is str or bytes, not {type(message).__name__}; convert it, as with json.dumps or bytes"
        )
    return frame if deflater is None else compress_frame(frame, deflater)


def encode_text(payload: bytes) -> bytes:
    """A text message as one frame, encoded already: `payload` is UTF-8."""
    size = len(payload)
    return _SHORT_TEXT[size] + payload if size <= MAX_CONTROL else _frame(_TEXT, payload)


def encode_binary(payload: bytes) -> bytes:
    """A binary message as one frame."""
    return _frame(_BINARY, payload)


def _is_bytes(message: object) -> bool:
    """Check what type checkers promise: the length of another buffer may count items, and give a wrong header."""
    return isinstance(message, bytes)


def compress_frame(frame: bytes, deflater: Deflater) -> bytes:
    """A frame of `encode_message`, compressed if its payload is long enough for that (RFC 7692, section 6.1).

    Send the result at once, without a checkpoint in between: `Deflater` says why. A payload that cannot be compressed
    becomes longer, by 8 bytes and 7 % at most.
    """
    at = _PAYLOAD_AT.get(frame[1], 2)
    if len(frame) - at < deflater.threshold:
        return frame
    return _frame(frame[0] | _RSV1, deflater.deflate(memoryview(frame)[at:]))


def encode_close(code: int, reason: str) -> bytes:
    """A Close frame (RFC 6455, section 5.5.1).

    Args:
      code: one that `sendable_code` accepts.
      reason: at most 123 bytes of UTF-8, possibly none.

    Raises:
      ValueError: the code may not be sent, or the reason is too long or cannot be encoded.
    """
    if not sendable_code(code):
        raise ValueError(f"{code} cannot be sent as a close code; see RFC 6455, section 7.4")
    return encode_frame(Opcode.CLOSE, _CODE.pack(code) + reason.encode())
