"""RFC 6455 framing, the server's side: bytes in, events out; nothing here waits and nothing here does I/O.

`FrameDecoder` checks every byte of a client against section 5 and yields whole messages and single control frames;
the ``encode_*`` functions make the frames of a server. A fault is reported as soon as the bytes that show it have
arrived, and always as the same fault, wherever the stream was cut.
"""

from __future__ import annotations

import codecs
import enum
import struct
from typing import Final, TypeAlias, final

from attrs import define, field, frozen

from seawall.errors import ProtocolViolation
from seawall.wire.masking import unmask

#: Close codes for the three ways to break the rules (RFC 6455, section 7.4.1).
PROTOCOL_ERROR: Final = 1002
INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009

#: The largest payload of a control frame, in bytes (RFC 6455, section 5.5); a close reason has two fewer.
MAX_CONTROL: Final = 125

# The codes a Close frame may carry: RFC 6455, section 7.4, and the IANA registry (1012 to 1014). 1004 to 1006 and
# 1015 never travel, 1016 to 2999 are unassigned, and nothing lies outside 1000 to 4999.
_CODES: Final = frozenset([*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)])

_CODE: Final = struct.Struct("!H")
_HEADER_16: Final = struct.Struct("!BBH")
_HEADER_64: Final = struct.Struct("!BBQ")


class Opcode(enum.IntEnum):
    """The kinds of frame that RFC 6455, section 5.2, defines."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


# Looking a member up in its class costs as much as a call; these are looked at for every frame.
_TEXT: Final = Opcode.TEXT
_CLOSE: Final = Opcode.CLOSE
_OPCODES: Final = {int(opcode): opcode for opcode in Opcode}


@final
@frozen
class Control:
    """A Close, Ping or Pong frame that has been checked: at most 125 bytes, and a Close payload that is valid."""

    opcode: Opcode
    """`Opcode.CLOSE`, `Opcode.PING` or `Opcode.PONG`."""

    payload: bytes
    """The payload, unmasked."""

    @property
    def code(self) -> int:
        """The code of a Close frame; 1005, which never travels, if it has none (RFC 6455, section 7.1.5)."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005

    @property
    def reason(self) -> str:
        """The reason of a Close frame; often empty."""
        return self.payload[2:].decode()

    def masked(self) -> bytes:
        """The frame as a client would send it, with a mask of zeros, for wsproto to read.

        A Close with 1014 (bad gateway) is passed on as 1011: IANA has registered the code and wsproto, which does
        not know it, would call a good frame a violation. `code` still says 1014.
        """
        payload = self.payload
        if self.opcode is _CLOSE and self.code == 1014:
            payload = _CODE.pack(1011) + payload[2:]
        return bytes((0x80 | self.opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload


#: What a decoder yields: a text message, a binary message, or a control frame.
Event: TypeAlias = str | bytes | Control


def _first_byte_fault(byte: int) -> str | None:
    if byte & 0x70:
        return "reserved bits set"
    if byte & 0x0F not in _OPCODES:
        return "unknown opcode"
    return "fragmented control frame" if byte & 0x08 and byte < 0x80 else None


# What is wrong with a frame's first byte, whatever came before it.
_FIRST_BYTE_FAULTS: Final = tuple(_first_byte_fault(byte) for byte in range(256))


def _check_second_byte(opcode: Opcode, second: int) -> int:
    """The 7-bit length, which may announce a longer one."""
    if second < 0x80:
        raise ProtocolViolation(PROTOCOL_ERROR, "frame not masked")
    length = second & 0x7F
    if opcode >= _CLOSE and length > MAX_CONTROL:
        raise ProtocolViolation(PROTOCOL_ERROR, "control frame too long")
    if opcode is _CLOSE and length == 1:
        raise ProtocolViolation(PROTOCOL_ERROR, "half a close code")
    return length


def _decode(payload: bytes | bytearray) -> str:
    try:
        return str(payload, "utf-8")
    except UnicodeDecodeError:
        raise ProtocolViolation(INVALID_DATA, "invalid UTF-8") from None


def _whole_characters(text: bytearray) -> int:
    """How many bytes of a text that goes on are whole characters; the rest is one that may still become valid."""
    try:
        _, whole = codecs.utf_8_decode(text, "strict", False)
    except UnicodeDecodeError:
        raise ProtocolViolation(INVALID_DATA, "invalid UTF-8") from None
    # For the sake of "surrogatepass" CPython waits for the third byte of a surrogate before it refuses the second.
    rest = text[whole:]
    if len(rest) == 2 and rest[0] == 0xED and rest[1] >= 0xA0:
        raise ProtocolViolation(INVALID_DATA, "invalid UTF-8")
    return whole


def _check_close(payload: bytes) -> None:
    """Refuse a code that may not travel, and a reason that is not text (RFC 6455, sections 5.5.1 and 7.4)."""
    if payload and not sendable_code(int.from_bytes(payload[:2], "big")):
        raise ProtocolViolation(PROTOCOL_ERROR, "invalid close code")
    _decode(payload[2:])


@final
@define(eq=False, kw_only=True)
class FrameDecoder:
    """Decodes what one client sends after the upgrade: feed it bytes, then ask for events until there are none.

    Memory is bounded by what has arrived and not yet been asked for, plus ``max_message_size``; what a header
    merely announces costs nothing. Time is linear in the number of bytes, however they are cut.

    After a violation, and after a Close frame, the decoder is deaf: it yields nothing more and drops what it is
    given, because whatever follows either of them must not be processed (RFC 6455, sections 5.5.1 and 7.1.7).
    """

    _max_message_size: int = field(alias="max_message_size")
    """Bytes of payload in one message, over all of its frames."""

    _max_fragments: int = field(alias="max_fragments")
    """Frames in one message, empty ones included; at least 1."""

    _buffer: bytearray = field(init=False, factory=bytearray)
    _at: int = field(init=False, default=0)  # where the unread part of the buffer begins
    _deaf: bool = field(init=False, default=False)

    # The frame whose header has been read; without an opcode a header comes next.
    _opcode: Opcode | None = field(init=False, default=None)
    _final: bool = field(init=False, default=False)
    _key: bytes = field(init=False, default=b"")
    _left: int = field(init=False, default=0)  # bytes of its payload that have not been taken

    # The message whose first header has been read; without a kind there is none.
    _kind: Opcode | None = field(init=False, default=None)
    _fragments: int = field(init=False, default=0)
    _message: bytearray = field(init=False, factory=bytearray)
    _checked: int = field(init=False, default=0)  # bytes of it that are known to be whole characters

    @property
    def pending(self) -> int:
        """Bytes held: those not yet decoded and those of an unfinished message."""
        return len(self._buffer) - self._at + len(self._message)

    @property
    def missing(self) -> int:
        """Bytes that are known to be still on their way: the rest of a data frame that has begun."""
        return 0 if self._opcode is None else max(0, self._left - (len(self._buffer) - self._at))

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take what has arrived; ask `next_event` what it means."""
        if self._deaf:
            return
        # To cut off the read part only when it is the larger one makes all moves together linear.
        if self._at * 2 > len(self._buffer):
            self._compact()
        self._buffer += data

    def next_event(self) -> Event | None:
        """The next message or control frame, or None if more data are needed.

        Raises:
          ProtocolViolation: the client broke RFC 6455 (1002), sent text that is not UTF-8 (1007), or exceeded a
            limit (1009). Raised once; from then on the answer is None.
        """
        try:
            return self._next()
        except ProtocolViolation:
            self._stop()
            raise

    def _next(self) -> Event | None:
        while not self._deaf:
            opcode = self._opcode
            if opcode is None:
                opcode = self._read_header()
                if opcode is None:
                    break
            available = len(self._buffer) - self._at
            if available < self._left:
                if opcode < _CLOSE:
                    self._append(self._take(available))
                break
            if opcode >= _CLOSE:
                return self._finish_control(opcode)
            message = self._finish_data()
            if message is not None:
                return message
        # What is left now is less than one header or one control frame, so this moves next to nothing.
        self._compact()
        return None

    def _read_header(self) -> Opcode | None:
        """Read the header of a frame (RFC 6455, section 5.2); None if it is not all there yet.

        A header that is still incomplete is judged by what there is of it, and again when more has come.
        """
        buffer, at = self._buffer, self._at
        held = len(buffer) - at
        if not held:
            return None
        first = buffer[at]
        opcode = self._check_first_byte(first)
        if held == 1:
            return None
        length = _check_second_byte(opcode, buffer[at + 1])
        at += 2
        if length > MAX_CONTROL:
            width = 2 if length == 126 else 8
            length = self._long_length(buffer[at : at + width], width)
            at += width
        elif opcode < _CLOSE:
            self._check_size(length)
        if len(buffer) < at + 4:
            return None
        self._at = at + 4
        self._opcode, self._key, self._left = opcode, bytes(buffer[at : at + 4]), length
        if opcode < _CLOSE:
            self._final = first >= 0x80
            self._fragments += 1
            self._kind = self._kind or opcode  # a continuation is not reached without a kind
        return opcode

    def _check_first_byte(self, first: int) -> Opcode:
        fault = _FIRST_BYTE_FAULTS[first]
        if fault is not None:
            raise ProtocolViolation(PROTOCOL_ERROR, fault)
        opcode = _OPCODES[first & 0x0F]
        if opcode == 0:
            if self._kind is None:
                raise ProtocolViolation(PROTOCOL_ERROR, "nothing to continue")
            if self._fragments >= self._max_fragments:
                raise ProtocolViolation(TOO_BIG, "too many fragments")
        elif opcode < _CLOSE and self._kind is not None:
            raise ProtocolViolation(PROTOCOL_ERROR, "message inside a message")
        return opcode

    def _long_length(self, found: bytearray, width: int) -> int:
        """The extended length that `found` is, or the least it can become once all `width` bytes are there."""
        missing = 8 * (width - len(found))
        least = int.from_bytes(found, "big") << missing
        if least >> 63:
            raise ProtocolViolation(PROTOCOL_ERROR, "length over 63 bits")
        if least + (1 << missing) <= (126 if width == 2 else 0x10000):
            raise ProtocolViolation(PROTOCOL_ERROR, "length not minimal")
        self._check_size(least)
        return least

    def _check_size(self, length: int) -> None:
        # The frames before this one are all there, so what is held of the message is its size up to here.
        if len(self._message) + length > self._max_message_size:
            raise ProtocolViolation(TOO_BIG, "message too big")

    def _take(self, size: int) -> bytes | bytearray:
        """Unmask the next `size` bytes of the payload."""
        start, key = self._at, self._key
        self._at = start + size
        self._left -= size
        turn = size & 3 if self._left else 0
        if turn:
            self._key = key[turn:] + key[:turn]
        return unmask(self._buffer[start : start + size], key)

    def _append(self, payload: bytes | bytearray) -> None:
        """Add to a message that goes on, and refuse it now if it can no longer become valid UTF-8.

        The text itself is thrown away and decoded again at the end: strings of a few characters each would hold
        many times what has arrived.
        """
        self._message += payload
        if self._kind is _TEXT:
            self._checked += _whole_characters(self._message[self._checked :])

    def _finish_data(self) -> str | bytes | None:
        """Read the rest of a data frame that is all there; a message if that was its end."""
        payload = self._take(self._left)
        self._opcode = None
        if not self._final:
            self._append(payload)
            return None
        if self._message:
            self._message += payload
            payload, self._message = self._message, bytearray()
        kind, self._kind = self._kind, None
        self._fragments = self._checked = 0
        return _decode(payload) if kind is _TEXT else bytes(payload)

    def _finish_control(self, opcode: Opcode) -> Control:
        """Read the payload of a control frame that is all there."""
        payload = bytes(self._take(self._left))
        self._opcode = None
        if opcode is _CLOSE:
            _check_close(payload)
            self._stop()
        return Control(opcode, payload)

    def _stop(self) -> None:
        """Be deaf, and let go of everything."""
        self._deaf = True
        self._at = 0
        self._buffer.clear()
        self._message.clear()

    def _compact(self) -> None:
        del self._buffer[: self._at]
        self._at = 0


def sendable_code(code: int) -> bool:
    """Whether an endpoint may put `code` into a Close frame (RFC 6455, section 7.4), and so may receive it."""
    return code in _CODES


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """One unfragmented, unmasked frame, as a server sends it (RFC 6455, section 5.2).

    Raises:
      ValueError: a control frame with more than 125 bytes of payload (RFC 6455, section 5.5).
    """
    size = len(payload)
    if size <= MAX_CONTROL:
        return bytes((0x80 | opcode, size)) + payload
    if opcode >= _CLOSE:
        raise ValueError(f"a control frame holds {MAX_CONTROL} bytes, not {size}")
    if size < 0x10000:
        return _HEADER_16.pack(0x80 | opcode, 126, size) + payload
    return _HEADER_64.pack(0x80 | opcode, 127, size) + payload


def encode_message(message: str | bytes) -> bytes:
    """One message as one frame: a str as text, bytes as binary (RFC 6455, section 5.6).

    Raises:
      UnicodeEncodeError: the text holds a lone surrogate, which UTF-8 cannot carry. It is a `ValueError`.
      TypeError: it is neither.
    """
    if isinstance(message, str):
        return encode_frame(_TEXT, message.encode())
    if not _is_bytes(message):
        raise TypeError(f"a message is str or bytes, not {type(message).__name__}; convert it, as with bytes(message)")
    return encode_frame(Opcode.BINARY, message)


def _is_bytes(message: object) -> bool:
    """For what a type checker rules out: of other buffers the length counts items, and the frame would be torn."""
    return isinstance(message, bytes)


def encode_close(code: int, reason: str) -> bytes:
    """A Close frame (RFC 6455, section 5.5.1).

    Args:
      code: one that `sendable_code` accepts.
      reason: at most 123 bytes of UTF-8; may be empty.

    Raises:
      ValueError: the code may not be sent, or the reason is too long or cannot be encoded.
    """
    if not sendable_code(code):
        raise ValueError(f"{code} cannot be sent as a close code; see RFC 6455, section 7.4")
    return encode_frame(_CLOSE, _CODE.pack(code) + reason.encode())
