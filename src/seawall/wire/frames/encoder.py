"""The frames of a server (RFC 6455, section 5.2): unmasked, whole, and compressed where that was agreed."""

from __future__ import annotations

import struct
from typing import Final, TypeAlias, final

from attrs import frozen

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

#: Bytes of payload from which on a frame is a `LongFrame`. Microseconds of an echo with a copy and without one: 64 KiB
#: 33 and 34, 256 KiB 132 and 138, 512 KiB 259 and 240.
LONG_FROM: Final = 512 * 1024

# Where the payload of an unmasked frame begins, by its second byte; at 2 for every other second byte.
_PAYLOAD_AT: Final = {126: _HEADER_16.size, 127: _HEADER_64.size}


@final
@frozen(eq=False, repr=False)
class LongFrame:
    """A frame of a payload of `LONG_FROM` bytes and more, in two parts, which are written at once.

    To make one `bytes` of it would copy the payload: of an echo of 1 MiB, the copy was a tenth of the time.
    """

    header: bytes
    payload: bytes

    def __len__(self) -> int:
        """The bytes of both."""
        return len(self.header) + len(self.payload)

    def __bytes__(self) -> bytes:
        """Both as one."""
        return self.header + self.payload

    def after(self, written: int) -> memoryview:
        """What remains when so many bytes have been written. It is not copied, unless the header remains."""
        at = written - len(self.header)
        return memoryview(bytes(self))[written:] if at < 0 else memoryview(self.payload)[at:]


#: A whole frame, as it is sent; ``bytes(frame)`` if it has to be one object.
Frame: TypeAlias = bytes | LongFrame


def encode_control(opcode: Opcode, payload: bytes) -> bytes:
    """A control frame.

    Raises:
      ValueError: more than 125 bytes of payload (RFC 6455, section 5.5).
    """
    if len(payload) > MAX_CONTROL:
        raise ValueError(f"a control frame holds {MAX_CONTROL} bytes, not {len(payload)}")
    return bytes((_FIN | opcode, len(payload))) + payload


def _frame(first: int, payload: bytes) -> Frame:
    size = len(payload)
    if size <= MAX_CONTROL:
        return (_SHORT_TEXT[size] if first == _TEXT else bytes((first, size))) + payload
    if size < 0x10000:
        return _HEADER_16.pack(first, 126, size) + payload
    if size < LONG_FROM:
        return _HEADER_64.pack(first, 127, size) + payload
    return LongFrame(_HEADER_64.pack(first, 127, size), bytes(payload))  # no copy, unless a codec made no bytes


def encode_message(message: str | bytes, deflater: Deflater | None = None) -> Frame:
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


def encode_text(payload: bytes) -> Frame:
    """A text message as one frame, encoded already: `payload` is UTF-8."""
    size = len(payload)
    return _SHORT_TEXT[size] + payload if size <= MAX_CONTROL else _frame(_TEXT, payload)


def encode_binary(payload: bytes) -> Frame:
    """A binary message as one frame."""
    return _frame(_BINARY, payload)


def _is_bytes(message: object) -> bool:
    """Check what type checkers promise: the length of another buffer may count items, and give a wrong header."""
    return isinstance(message, bytes)


def compress_frame(frame: Frame, deflater: Deflater) -> Frame:
    """A frame of `encode_message`, compressed if its payload is long enough for that (RFC 7692, section 6.1).

    Send the result at once, without a checkpoint in between: `Deflater` says why. A payload that cannot be compressed
    becomes longer, by 8 bytes and 7 % at most.
    """
    if isinstance(frame, LongFrame):
        first, payload = frame.header[0], memoryview(frame.payload)
    else:
        first, payload = frame[0], memoryview(frame)[_PAYLOAD_AT.get(frame[1], 2) :]
    return frame if len(payload) < deflater.threshold else _frame(first | _RSV1, deflater.deflate(payload))


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
    return encode_control(Opcode.CLOSE, _CODE.pack(code) + reason.encode())
