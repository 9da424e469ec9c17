"""RFC 6455 framing, the server's side: bytes in, events out, with no I/O.

`FrameDecoder` checks every byte of a client against section 5 and yields whole messages and single control frames.
A fault is reported as soon as the bytes that show it have arrived, and it is the same one however the stream is cut
into reads. There is one exception: of compressed text that is corrupt and not UTF-8 either, one of the two faults is
reported. Both have the code 1007.
"""

from __future__ import annotations

import enum
from typing import Final, TypeAlias, final

from attrs import define, field

from seawall.errors import ProtocolViolation
from seawall.wire.frames.codes import PROTOCOL_ERROR, TOO_BIG, Opcode
from seawall.wire.frames.control import MAX_CONTROL, Control, check_close
from seawall.wire.frames.deflate import Inflater
from seawall.wire.frames.masking import unmask
from seawall.wire.frames.parts import BinaryParts, Parts, TextParts
from seawall.wire.frames.text import decode

#: Frames of one message that one call reads: the frames of a message count for a turn like as many messages.
MAX_PIECES: Final = 64

#: Bytes by which the frames of a compressed message may exceed twice the size to which it may inflate. To deflate adds
#: some percent at most, and a few bytes for each flush; whatever is longer consists of empty blocks.
COMPRESSED_SLACK: Final = 1024

#: Bytes of payload from which on a part of a buffer is unmasked through a view. To copy a smaller one first takes less
#: time. Microseconds by a copy and by a view, unmasked in C: 1 KiB 0.22 and 0.31, 16 KiB 0.80 and 0.60, 64 KiB 2.6 and
#: 1.5, 1 MiB, whose copy takes fresh memory, 1,130 and 25.
VIEW_FROM: Final = 8 * 1024

_FIN: Final = 0x80
_RSV1: Final = 0x40  # "per-message compressed" (RFC 7692, section 6)


# Globals, because to look a member up in its enum costs as much as a call, and every frame compares with these.
_TEXT: Final = Opcode.TEXT
_CLOSE: Final = Opcode.CLOSE
_WHOLE_TEXT: Final = _FIN | Opcode.TEXT
_WHOLE_BINARY: Final = _FIN | Opcode.BINARY
_OPCODES: Final = {int(opcode): opcode for opcode in Opcode}


#: What a decoder yields: a text message, a binary message, or a control frame.
Event: TypeAlias = str | bytes | Control


def _first_byte_fault(byte: int) -> str | None:
    if byte & 0x70:
        return "reserved bits set"
    if byte & 0x0F not in _OPCODES:
        return "unknown opcode"
    return "fragmented control frame" if byte & 0x08 and byte < 0x80 else None


# For each first byte of a frame, what is wrong with it, whatever came before; and the same where compression was agreed
# on: then the first frame of a message may have RSV1, and no other frame (RFC 7692, section 6).
_FIRST_BYTE_FAULTS: Final = tuple(_first_byte_fault(byte) for byte in range(256))
_FIRST_BYTE_FAULTS_RSV1: Final = tuple(
    None if byte & ~_FIN in (_RSV1 | _TEXT, _RSV1 | Opcode.BINARY) else _FIRST_BYTE_FAULTS[byte] for byte in range(256)
)


def _check_second_byte(opcode: Opcode, second: int) -> int:
    """The 7-bit length; 126 or 127 if an extended length follows."""
    if second < 0x80:
        raise ProtocolViolation(PROTOCOL_ERROR, "frame not masked")
    length = second & 0x7F
    if opcode >= _CLOSE and length > MAX_CONTROL:
        raise ProtocolViolation(PROTOCOL_ERROR, "control frame too long")
    if opcode is _CLOSE and length == 1:
        raise ProtocolViolation(PROTOCOL_ERROR, "half a close code")
    return length


def _long_length(found: bytes | bytearray, width: int) -> int:
    """The extended length in `found`; the least possible one while fewer than its `width` bytes have come."""
    missing = 8 * (width - len(found))
    least = int.from_bytes(found, "big") << missing
    if least >> 63:
        raise ProtocolViolation(PROTOCOL_ERROR, "length over 63 bits")
    if least + (1 << missing) <= (126 if width == 2 else 0x10000):
        raise ProtocolViolation(PROTOCOL_ERROR, "length not minimal")
    return least


@final
class Position(enum.Enum):
    """Where a decoder is in what the client sends."""

    BETWEEN = "between"
    """The next byte begins a frame and a message."""
    IN_FRAME = "in a frame"
    """A frame has begun, a control frame or one whose header has not come yet."""
    IN_MESSAGE = "in a message"
    """The header of a message has come, and the message is not complete."""


@final
@define(eq=False, kw_only=True)
class FrameDecoder:
    """Decodes what one client sends after the upgrade: call `receive_data`, then `next_event` until it returns None.

    Memory is bounded by the bytes that have come and are not decoded yet, plus ``max_message_size``. No memory is taken
    for bytes that a header only announces. Time is linear in the number of bytes, however they are cut.

    After a violation, and after a Close frame, the decoder has stopped: it yields nothing and drops what it receives,
    because what follows either must not be processed (RFC 6455, sections 5.5.1 and 7.1.7).
    """

    max_message_size: int
    """Bytes of payload that one message may have in all of its frames, after inflating."""

    _max_fragments: int = field(alias="max_fragments")
    """Frames that one message may have, including empty ones; at least 1."""

    _inflater: Inflater | None = field(alias="inflater", default=None)
    """Inflates compressed messages; None if that was not agreed on. Nothing else may use it."""

    has_more: bool = field(init=False, default=False)
    """Whether the last `next_event` returned None because of `MAX_PIECES`: call it again after a turn of others."""

    _buffer: bytes | bytearray = field(init=False, default=b"")
    _at: int = field(init=False, default=0)  # where the unread part of the buffer begins
    _stopped: bool = field(init=False, default=False)

    # The frame whose header has been read; the opcode is None when a header comes next.
    _opcode: Opcode | None = field(init=False, default=None)
    _final: bool = field(init=False, default=False)
    _key: bytes | bytearray = field(init=False, default=b"")
    _left: int = field(init=False, default=0)  # bytes of its payload that have not been unmasked

    # The message whose first header has been read; the kind is None when there is none.
    _kind: Opcode | None = field(init=False, default=None)
    _inflating: Inflater | None = field(init=False, default=None)  # None if it is not compressed
    _announced: int = field(init=False, default=0)  # bytes of payload in its frames so far
    _fragments: int = field(init=False, default=0)
    _parts: Parts | None = field(init=False, default=None)  # of a message that did not come at once
    _held: int = field(init=False, default=0)  # bytes of payload in them

    @property
    def pending(self) -> int:
        """Bytes held: those that are not decoded yet, and those of a message that is not complete."""
        return len(self._buffer) - self._at + self._held

    @property
    def missing(self) -> int:
        """Bytes that have yet to come to complete the frame whose header has been read; 0 if there is none."""
        return 0 if self._opcode is None else max(0, self._left - (len(self._buffer) - self._at))

    @property
    def announced(self) -> int:
        """Bytes of payload that the headers so far announce for a message that is not complete; 0 if there is none."""
        return self._announced

    @property
    def position(self) -> Position:
        """Where it has stopped for want of bytes."""
        if self._kind is not None:
            return Position.IN_MESSAGE
        return Position.BETWEEN if self._opcode is None and self._at == len(self._buffer) else Position.IN_FRAME

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes that have come; `next_event` decodes them."""
        if self._stopped:
            return
        if self._at == len(self._buffer):
            self._buffer = bytes(data)  # no copy if it is bytes
            self._at = 0
            return
        if not isinstance(self._buffer, bytearray):
            self._buffer = bytearray(self._buffer)
        # Removing the decoded part only when it is the larger one keeps the time of all moves together linear.
        if self._at * 2 > len(self._buffer):
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def receive_message(self, data: bytes | bytearray) -> str | bytes | None:
        """Decode `data` if it is exactly one message in one frame, and nothing before it is left: the commonest case.

        Returns:
          The message. If it is None, nothing has been decoded: call `receive_data` with the same `data`.
        """
        if self._buffer or self._kind is not None or self._opcode is not None or self._stopped:
            return None
        size = len(data) - 6
        if 0 <= size <= MAX_CONTROL and data[1] == size + 0x80 and data[0] == _WHOLE_TEXT:
            # Most messages are as short: to decode them here, and with the same result, takes half the time.
            try:
                return str(unmask(data[6:], data[2:6]), "utf-8") if size <= self.max_message_size else None
            except UnicodeDecodeError:
                return None
        self._buffer, self._at = data, 0
        try:
            message = self._read_whole()
        except ProtocolViolation:
            message = None
        if self._at != len(data):
            message = None
        self._buffer, self._at = b"", 0
        return message

    def next_event(self, *, without_messages: bool = False) -> Event | None:
        """The next message or control frame; None if more data are needed, or if `has_more` says to call again later.

        Raises:
          ProtocolViolation: the client broke RFC 6455 (1002), sent text that is not UTF-8 or compressed data that are
            corrupt (1007), or exceeded a limit (1009). Raised once; from then on the result is None.
        """
        self.has_more = False
        if self._at == len(self._buffer):
            self._compact()
            return None
        if without_messages and (self._buffer[self._at] & 0x0F if self._opcode is None else self._opcode) < _CLOSE:
            return None
        try:
            if self._kind is None and self._opcode is None:
                message = self._read_whole()
                if message is not None:
                    return message
            return self._next()
        except ProtocolViolation:
            self.stop()
            raise

    def _read_whole(self) -> str | bytes | None:
        """Decode a message in one frame that has come completely.

        None for anything else, and for most faults: `_next` then decodes step by step, and raises.
        """
        buffer, at = self._buffer, self._at
        if len(buffer) - at < 6:
            return None
        first, size, start = buffer[at], buffer[at + 1] - 0x80, at + 6
        if size == 126:
            start += 2
            size = buffer[at + 2] << 8 | buffer[at + 3]
            if size <= MAX_CONTROL:
                return None
        elif size == 127:
            start += 8
            size = int.from_bytes(
                buffer[at + 2 : at + 10], "big"
            )  # wrong if bytes are missing, but then the frame is incomplete
            if size <= 0xFFFF:
                return None
        is_text, end = first == _WHOLE_TEXT, start + size
        if not (is_text or first == _WHOLE_BINARY) or not 0 <= size <= self.max_message_size or end > len(buffer):
            return None
        self._at = end
        masked = buffer[start:end] if size < VIEW_FROM else memoryview(buffer)[start:end]
        payload = unmask(masked, buffer[start - 4 : start])
        if is_text:
            return decode(payload)
        return bytes(payload)

    def _next(self) -> Event | None:
        for _ in range(MAX_PIECES):
            opcode = self._opcode
            if opcode is None:
                opcode = self._read_header()
                if opcode is None:
                    break
            available = len(self._buffer) - self._at
            if available < self._left:
                if opcode < _CLOSE:
                    self._append(self._read_payload(available, last=False))
                break
            if opcode >= _CLOSE:
                return self._finish_control(opcode)
            message = self._finish_data()
            if message is not None:
                return message
        else:
            self.has_more = True
            return None
        self._compact()
        return None

    def _read_header(self) -> Opcode | None:
        """Read the header of a frame (RFC 6455, section 5.2); None if it is incomplete.

        The part of an incomplete header that has come is checked, and the whole again when more has come.
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
            length = _long_length(buffer[at : at + width], width)
            at += width
        if opcode < _CLOSE:
            self._check_size(first, length)
        if len(buffer) < at + 4:
            return None
        self._at = at + 4
        self._opcode, self._key, self._left = opcode, buffer[at : at + 4], length
        if opcode < _CLOSE:
            self._begin_frame(first, length)
        return opcode

    def _check_first_byte(self, first: int) -> Opcode:
        fault = (_FIRST_BYTE_FAULTS if self._inflater is None else _FIRST_BYTE_FAULTS_RSV1)[first]
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

    def _check_size(self, first: int, length: int) -> None:
        """Refuse a frame if, with the length in its header, the message is too big, compressed or not."""
        limit = self.max_message_size
        if self._inflating is not None or first & _RSV1:
            limit += limit + COMPRESSED_SLACK
        if self._announced + length > limit:
            raise ProtocolViolation(TOO_BIG, "message too big")

    def _begin_frame(self, first: int, length: int) -> None:
        self._final = first >= _FIN
        self._fragments += 1
        self._announced += length
        if self._kind is None:  # no continuation frame: that would have raised
            self._kind = self._opcode
            self._inflating = self._inflater if first & _RSV1 else None

    def _take(self, size: int) -> bytes | bytearray:
        """Unmask the next `size` bytes of the frame's payload."""
        buffer, start, key = self._buffer, self._at, self._key
        end = self._at = start + size
        self._left -= size
        shift = size & 3 if self._left else 0
        if shift:
            self._key = key[shift:] + key[:shift]
        return unmask(buffer[start:end] if size < VIEW_FROM else memoryview(buffer)[start:end], key)

    def _read_payload(self, size: int, *, last: bool) -> bytes | bytearray:
        """The next `size` bytes of a data frame's payload, inflated if they are compressed."""
        payload = self._take(size)
        if self._inflating is None:
            return payload
        room = self.max_message_size - self._held
        payload = self._inflating.inflate(payload, limit=room, last=last)
        if len(payload) > room:
            self._append(payload)  # raises instead if the text is not UTF-8: the same fault however it is cut
            raise ProtocolViolation(TOO_BIG, "message too big")
        return payload

    def _append(self, payload: bytes | bytearray) -> None:
        """Append to a message that is not complete; raise if it is text and can no longer become valid UTF-8."""
        if not payload:
            return  # a header that came alone, or an empty frame; a text is decoded as it comes while parts are large
        if self._parts is None:
            self._parts = TextParts() if self._kind is _TEXT else BinaryParts()
        self._held += len(payload)
        self._parts.add(payload)

    def _finish_data(self) -> str | bytes | None:
        """Read the rest of a data frame that has come completely; the message if this was its last frame."""
        payload = self._read_payload(self._left, last=self._final)
        self._opcode = None
        if not self._final:
            self._append(payload)
            return None
        parts, self._parts = self._parts, None
        kind, self._kind = self._kind, None
        self._inflating = None
        self._announced = self._fragments = self._held = 0
        if parts is not None:
            return parts.join(payload)
        return decode(payload) if kind is _TEXT else bytes(payload)

    def _finish_control(self, opcode: Opcode) -> Control:
        """Read the payload of a control frame that has come completely."""
        payload = bytes(self._take(self._left))
        self._opcode = None
        if opcode is _CLOSE:
            check_close(payload)
            self.stop()
        return Control(opcode, payload)

    def stop(self) -> None:
        """Decode nothing more, and drop all that is held."""
        self._stopped = True
        self._buffer, self._at = b"", 0
        self._parts, self._held = None, 0
        self._kind = self._opcode = None
        self._inflater = self._inflating = None

    def _compact(self) -> None:
        """Drop the bytes that have been decoded; the rest is shorter than a header or a control frame."""
        self._buffer, self._at = self._buffer[self._at :], 0
