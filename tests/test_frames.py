"""The frame decoder against RFC 6455, clause by clause, and the frames of a server."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable
from typing import cast

import pytest
from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol
from wsproto.frame_protocol import Opcode as WsprotoOpcode

from seawall.errors import ProtocolViolation
from seawall.wire.frames import (
    Control,
    Event,
    FrameDecoder,
    Opcode,
    encode_close,
    encode_frame,
    encode_message,
    sendable_code,
)
from seawall.wire.masking import STRIDED_FROM, unmask

KEY = b"\x81\x02\xfe\x37"
MAX_SIZE = 100_000
MAX_FRAGMENTS = 8

Trace = list[Event | tuple[int, str]]


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """Mask byte by byte, as RFC 6455, section 5.3, writes it down."""
    return bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def length_field(size: int) -> bytes:
    """The minimal length of a masked frame."""
    if size < 126:
        return bytes((0x80 | size,))
    return b"\xfe" + size.to_bytes(2, "big") if size < 0x10000 else b"\xff" + size.to_bytes(8, "big")


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame as a client sends it."""
    return bytes((0x80 * fin | opcode,)) + length_field(len(payload)) + KEY + masked(payload)


def close(code: int, reason: bytes = b"") -> bytes:
    """A client's Close frame."""
    return frame(8, code.to_bytes(2, "big") + reason)


def decoder() -> FrameDecoder:
    """A decoder with the limits that these tests assume."""
    return FrameDecoder(max_message_size=MAX_SIZE, max_fragments=MAX_FRAGMENTS)


def drain(decoding: FrameDecoder) -> Trace:
    """All events there are, and the violation that ends them."""
    trace: Trace = []
    try:
        while (event := decoding.next_event()) is not None:
            trace.append(event)
    except ProtocolViolation as violation:
        trace.append((violation.code, violation.reason))
    return trace


def trace_of(pieces: Iterable[bytes]) -> Trace:
    """What a fresh decoder makes of the pieces."""
    decoding, trace = decoder(), Trace()
    for piece in pieces:
        decoding.receive_data(piece)
        trace += drain(decoding)
    return trace


def octets(data: bytes) -> Iterable[bytes]:
    """The bytes one by one."""
    return (data[index : index + 1] for index in range(len(data)))


PING = Control(Opcode.PING, b"p")
SNOWMAN = "☃".encode()

GOOD: list[tuple[str, bytes, Trace]] = [
    ("nothing", b"", []),
    ("empty text", frame(1), [""]),
    ("empty binary", frame(2), [b""]),
    ("text", frame(1, "héllo ☃ 😀".encode()), ["héllo ☃ 😀"]),
    ("binary", frame(2, b"\x00\xff"), [b"\x00\xff"]),
    ("7-bit length", frame(2, b"a" * 125), [b"a" * 125]),
    ("shortest 16-bit length", frame(2, b"a" * 126), [b"a" * 126]),
    ("longest 16-bit length", frame(1, b"a" * 65535), ["a" * 65535]),
    ("shortest 64-bit length", frame(2, b"a" * 65536), [b"a" * 65536]),
    ("largest message", frame(2, b"a" * MAX_SIZE), [b"a" * MAX_SIZE]),
    ("strided, odd size", frame(2, bytes(range(256)) * 3 + b"xyz"), [bytes(range(256)) * 3 + b"xyz"]),
    ("ping", frame(9, b"p"), [PING]),
    ("pong", frame(10, b"p" * 125), [Control(Opcode.PONG, b"p" * 125)]),
    ("several", frame(1, b"a") + frame(9, b"p") + frame(2, b"b"), ["a", PING, b"b"]),
    ("fragments", frame(1, b"a", fin=False) + frame(0, b"b", fin=False) + frame(0, b"c"), ["abc"]),
    ("binary fragments", frame(2, b"a", fin=False) + frame(0, b"b"), [b"ab"]),
    ("empty fragments", frame(1, fin=False) + frame(0, fin=False) + frame(0), [""]),
    ("empty first fragment", frame(1, fin=False) + frame(0, b"a"), ["a"]),
    ("ping between fragments", frame(1, b"a", fin=False) + frame(9, b"p") + frame(0, b"b"), [PING, "ab"]),
    ("character cut by a fragment", frame(1, SNOWMAN[:1], fin=False) + frame(0, SNOWMAN[1:]), ["☃"]),
    ("most fragments", frame(1, fin=False) + frame(0, fin=False) * 6 + frame(0, b"a"), ["a"]),
    ("size over all fragments", frame(2, b"a" * 50_000, fin=False) + frame(0, b"b" * 50_000),
     [b"a" * 50_000 + b"b" * 50_000]),
    ("two fragmented messages", (frame(1, b"a", fin=False) + frame(0, b"b")) * 2, ["ab", "ab"]),
    ("close without code", frame(8), [Control(Opcode.CLOSE, b"")]),
    ("close with reason", close(4000, SNOWMAN), [Control(Opcode.CLOSE, b"\x0f\xa0" + SNOWMAN)]),
    ("nothing after a close", frame(8) + b"\xff" * 100, [Control(Opcode.CLOSE, b"")]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
def test_legal_streams(data: bytes, expected: Trace) -> None:
    """A legal stream decodes to its messages and control frames, whole or byte by byte."""
    assert trace_of([data]) == expected
    assert trace_of(octets(data)) == expected


# The bytes up to and with the one that shows the fault: before the last of them nothing is wrong yet.
BAD: list[tuple[str, bytes, int, str]] = [
    ("rsv1", b"\xc1", 1002, "reserved bits set"),
    ("rsv2", b"\xa1", 1002, "reserved bits set"),
    ("rsv3", b"\x91", 1002, "reserved bits set"),
    *((f"opcode {code}", bytes((0x80 | code,)), 1002, "unknown opcode") for code in (3, 4, 5, 6, 7, 11, 12, 15)),
    *((f"fragmented {code}", bytes((code,)), 1002, "fragmented control frame") for code in (8, 9, 10)),
    ("continuation of nothing", b"\x80", 1002, "nothing to continue"),
    ("continuation after the end", frame(1, b"a") + b"\x00", 1002, "nothing to continue"),
    ("text in a text", frame(1, b"a", fin=False) + b"\x81", 1002, "message inside a message"),
    ("binary in a text", frame(1, fin=False) + b"\x02", 1002, "message inside a message"),
    ("unmasked", b"\x81\x05", 1002, "frame not masked"),
    ("unmasked ping", b"\x89\x00", 1002, "frame not masked"),
    ("long ping", b"\x89\xfe", 1002, "control frame too long"),
    ("very long close", b"\x88\xff", 1002, "control frame too long"),
    ("half a close code", b"\x88\x81", 1002, "half a close code"),
    ("short in 16 bits", b"\x82\xfe\x00\x7d", 1002, "length not minimal"),
    ("zero in 16 bits", b"\x82\xfe\x00\x00", 1002, "length not minimal"),
    ("short in 64 bits", b"\x82\xff" + bytes(6), 1002, "length not minimal"),
    ("64 bits", b"\x82\xff\x80", 1002, "length over 63 bits"),
    ("63 bits", b"\x82\xff\x7f", 1009, "message too big"),
    ("one too big", b"\x82\xff" + (MAX_SIZE + 1).to_bytes(8, "big"), 1009, "message too big"),
    ("much too big", b"\x82\xff\x00\x00\x00\x01", 1009, "message too big"),
    ("too big in the second fragment", frame(2, b"a" * MAX_SIZE, fin=False) + b"\x80\x81", 1009, "message too big"),
    ("too big with 16 bits", frame(2, b"a" * MAX_SIZE, fin=False) + b"\x00\xfe\x01", 1009, "message too big"),
    ("too many fragments", frame(1, fin=False) + frame(0, fin=False) * 7 + b"\x80", 1009, "too many fragments"),
    ("bad text", frame(1, b"a\xffb")[:-1], 1007, "invalid UTF-8"),
    ("bad last byte", frame(1, b"a\xff"), 1007, "invalid UTF-8"),
    ("overlong", frame(1, b"\xc0\xaf")[:-1], 1007, "invalid UTF-8"),
    ("surrogate", frame(1, b"\xed\xa0\x80")[:-1], 1007, "invalid UTF-8"),
    ("last surrogate", frame(1, b"a\xed\xbf\xbf")[:-1], 1007, "invalid UTF-8"),
    ("above U+10FFFF", frame(1, b"\xf4\x90\x80\x80")[:-2], 1007, "invalid UTF-8"),
    ("unfinished character", frame(1, SNOWMAN[:2]), 1007, "invalid UTF-8"),
    ("unfinished over fragments", frame(1, SNOWMAN[:1], fin=False) + frame(0, SNOWMAN[1:2]), 1007, "invalid UTF-8"),
    ("unfinished at an empty end", frame(1, SNOWMAN[:1], fin=False) + frame(0), 1007, "invalid UTF-8"),
    ("bad in a first fragment", frame(1, b"\xff", fin=False), 1007, "invalid UTF-8"),
    ("bad across fragments", frame(1, SNOWMAN[:1], fin=False) + frame(0, b"aa")[:-1], 1007, "invalid UTF-8"),
    *((f"close {code}", close(code), 1002, "invalid close code") for code in (0, 999, 1004, 1005, 1006, 1015, 1016)),
    *((f"close {code}", close(code), 1002, "invalid close code") for code in (1100, 2000, 2999, 5000, 65535)),
    ("bad close reason", close(1000, b"\xff"), 1007, "invalid UTF-8"),
    ("cut close reason", close(1000, SNOWMAN[:2]), 1007, "invalid UTF-8"),
    ("bad code before bad reason", close(999, b"\xff"), 1002, "invalid close code"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code", "reason"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_violations(data: bytes, code: int, reason: str) -> None:
    """Each violation is reported with its code, at the very byte that shows it, whatever follows it."""
    assert trace_of(octets(data))[-1] == (code, reason)
    assert (code, reason) not in trace_of(octets(data[:-1]))
    assert trace_of([data])[-1] == (code, reason)
    assert trace_of([data + b"\x00" * 20])[-1] == (code, reason)


def test_utf8_fails_at_the_first_wrong_byte() -> None:
    """Of all beginnings of up to three bytes exactly those are borne with that can become valid UTF-8."""
    characters = [chr(point).encode() for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
    hopeful = {character[:size] for character in characters for size in range(1, 5)}
    ones = [bytes((byte,)) for byte in range(256)]
    twos = [first + second for first in ones if first in hopeful and first >= b"\xc0" for second in ones]
    threes = [two + third for two in twos if two in hopeful and two >= b"\xf0" for third in ones]
    for text in [*ones, *twos, *threes]:
        assert (trace_of([b"\x01\x84" + bytes(4) + text]) == []) == (text in hopeful)


def test_events_before_a_violation_are_delivered() -> None:
    """What was good before the violation arrives first."""
    assert trace_of([frame(1, b"a") + frame(9, b"p") + b"\xff"]) == ["a", PING, (1002, "reserved bits set")]


@pytest.mark.parametrize("last", [frame(8), b"\xff", frame(1, fin=False) + b"\xff"], ids=["close", "fault", "later"])
def test_deaf_after_the_end(last: bytes) -> None:
    """After a Close frame or a violation nothing is yielded, nothing raised and nothing kept."""
    decoding = decoder()
    decoding.receive_data(last + frame(1, b"late"))
    assert len(drain(decoding)) == 1
    assert decoding.pending == 0
    decoding.receive_data(frame(1, b"later") + b"\xff")
    assert drain(decoding) == []
    assert decoding.pending == 0


def test_buffers_of_any_kind() -> None:
    """Bytes, bytearray and memoryview are all taken, and none is kept."""
    data = bytearray(frame(1, b"abc"))
    decoding = decoder()
    for piece in (bytes(data), data, memoryview(bytes(data))):
        decoding.receive_data(piece)
    data.clear()
    assert drain(decoding) == ["abc", "abc", "abc"]


def test_memory_follows_what_arrived() -> None:
    """A header that announces much holds nothing; an unfinished message holds its payload."""
    decoding = FrameDecoder(max_message_size=1 << 62, max_fragments=1)
    decoding.receive_data(b"\x82\xff" + (1 << 62).to_bytes(8, "big") + KEY)
    assert decoding.next_event() is None
    assert decoding.pending == 0
    decoding.receive_data(b"x" * 1000)
    assert decoding.next_event() is None
    assert decoding.pending == 1000


def test_pending_counts_what_was_not_asked_for() -> None:
    """Frames that nobody has asked for are held, and let go of as they are taken."""
    decoding = decoder()
    size = len(frame(1, b"abc"))
    for _ in range(10):
        decoding.receive_data(frame(1, b"abc"))
    assert decoding.pending == 10 * size
    for taken in range(1, 11):
        assert decoding.next_event() == "abc"
        assert decoding.pending == (10 - taken) * size
        decoding.receive_data(b"")


def best_of_three(work: Callable[[int], None], size: int) -> float:
    """The least time that `work` takes for this size, in seconds."""
    times: list[float] = []
    for _ in range(3):
        began = time.perf_counter()
        work(size)
        times.append(time.perf_counter() - began)
    return min(times)


def one_text_byte_by_byte(size: int) -> None:
    """Feed one long text message in the smallest pieces."""
    decoding = FrameDecoder(max_message_size=size, max_fragments=1)
    for piece in octets(frame(1, b"x" * size)):
        decoding.receive_data(piece)
        decoding.next_event()


def many_frames_at_once(size: int) -> None:
    """Feed many small messages in one piece."""
    decoding = FrameDecoder(max_message_size=size, max_fragments=1)
    decoding.receive_data(frame(1, b"x") * size)
    while decoding.next_event() is not None:
        pass


def one_in_one_out(size: int) -> None:
    """Take one message and feed another, over a backlog that stays."""
    decoding = FrameDecoder(max_message_size=size, max_fragments=1)
    decoding.receive_data(frame(1, b"x") * size)
    for _ in range(size):
        decoding.next_event()
        decoding.receive_data(frame(1, b"x"))


@pytest.mark.parametrize("work", [one_text_byte_by_byte, many_frames_at_once, one_in_one_out])
def test_time_is_linear(work: Callable[[int], None]) -> None:
    """Sixteen times the bytes take about sixteen times as long, not 256 times."""
    assert best_of_three(work, 32_000) < 80 * best_of_three(work, 2_000)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, STRIDED_FROM - 1, STRIDED_FROM, STRIDED_FROM + 3, 70_001])
@pytest.mark.parametrize("key", [bytes(4), b"\xff\xff\xff\xff", KEY], ids=["zeros", "ones", "mixed"])
def test_unmask(size: int, key: bytes) -> None:
    """Both ways of unmasking agree with the definition, at every remainder."""
    payload = bytes(index * 7 & 0xFF for index in range(size))
    assert unmask(bytearray(masked(payload, key)), key) == payload


SENDABLE = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


def test_sendable_codes() -> None:
    """Exactly the codes of RFC 6455, section 7.4, and of the registry may travel, in both directions."""
    assert {code for code in range(-1, 70_000) if sendable_code(code)} == SENDABLE
    received = {code for code in range(65536) if isinstance(trace_of([close(code)])[0], Control)}
    assert received == SENDABLE


def test_control_reads_a_close() -> None:
    """Code and reason of a Close frame are those of its payload; no payload means 1005."""
    assert (Control(Opcode.CLOSE, b"").code, Control(Opcode.CLOSE, b"").reason) == (1005, "")
    full = Control(Opcode.CLOSE, b"\x03\xe9" + SNOWMAN)
    assert (full.code, full.reason) == (1001, "☃")


def client_reads(data: bytes) -> list[Frame]:
    """What wsproto, as a client, makes of frames."""
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(data)
    return list(protocol.received_frames())


def server_reads(data: bytes) -> list[Frame]:
    """What wsproto, as a server, makes of frames."""
    protocol = FrameProtocol(client=False, extensions=[])
    protocol.receive_bytes(data)
    return list(protocol.received_frames())


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG])
@pytest.mark.parametrize("payload", [b"", b"abc", b"\xff" * 125], ids=["empty", "short", "longest"])
def test_masked_ping_and_pong(opcode: Opcode, payload: bytes) -> None:
    """A control frame encoded again is what wsproto expects of a client."""
    (read,) = server_reads(Control(opcode, payload).masked())
    assert (int(read.opcode), read.payload) == (opcode, payload)


@pytest.mark.parametrize(("code", "seen"), [(1000, 1000), (1011, 1011), (1014, 1011), (3000, 3000), (4999, 4999)])
def test_masked_close(code: int, seen: int) -> None:
    """Every Close we accept is one that wsproto accepts: 1014, which it does not know, becomes 1011."""
    control = Control(Opcode.CLOSE, code.to_bytes(2, "big") + SNOWMAN)
    (read,) = server_reads(control.masked())
    assert read.payload == (seen, "☃")
    assert control.code == code


def test_every_accepted_close_is_known_below() -> None:
    """No code that passes our check is a violation to wsproto."""
    for code in sorted(SENDABLE):
        assert len(server_reads(Control(Opcode.CLOSE, code.to_bytes(2, "big")).masked())) == 1
    (empty,) = server_reads(Control(Opcode.CLOSE, b"").masked())
    assert empty.payload == (CloseReason.NO_STATUS_RCVD, "")


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_encoded_lengths_are_minimal(size: int, header: bytes) -> None:
    """A server's frame is final, unmasked, and has the shortest length there is."""
    assert encode_frame(Opcode.BINARY, b"x" * size) == header + b"x" * size


@pytest.mark.parametrize("message", ["", "☃" * 100, b"", b"\xff" * 300], ids=["no text", "text", "no bytes", "bytes"])
def test_encoded_messages(message: str | bytes) -> None:
    """A client reads from our frame the message that went in, of the same kind."""
    (read,) = client_reads(encode_message(message))
    kind = WsprotoOpcode.TEXT if isinstance(message, str) else WsprotoOpcode.BINARY
    assert (read.opcode, read.message_finished) == (kind, True)
    assert read.payload == message


def test_encoded_close() -> None:
    """A client reads from our Close frame the code and reason that went in."""
    (read,) = client_reads(encode_close(4404, "no such room"))
    assert read.payload == (4404, "no such room")
    assert encode_close(1000, "é" * 61)[1] == 124


@pytest.mark.parametrize(
    ("code", "reason"),
    [(999, ""), (1005, ""), (1006, ""), (1015, ""), (70_000, ""), (1000, "é" * 62), (1000, "\ud800")],
)
def test_close_that_cannot_be_sent(code: int, reason: str) -> None:
    """A code that may not travel, and a reason that is too long or no text, are refused before they are sent."""
    with pytest.raises(ValueError, match=r"close code|125 bytes|surrogates"):
        encode_close(code, reason)


def test_control_frames_have_a_limit() -> None:
    """A ping of 126 bytes cannot be made."""
    with pytest.raises(ValueError, match="holds 125 bytes, not 126"):
        encode_frame(Opcode.PING, b"x" * 126)


def test_text_that_is_no_text() -> None:
    """A lone surrogate cannot be sent as text."""
    with pytest.raises(UnicodeEncodeError):
        encode_message("\ud800")


@pytest.mark.parametrize("buffer", [bytearray(b"x"), memoryview(b"x"), array("I", [1, 2, 3]), None, 5], ids=repr)
def test_what_is_neither_text_nor_bytes_is_not_sent(buffer: object) -> None:
    """Of another buffer the length would count items, and the frame would be torn."""
    with pytest.raises(TypeError, match="a message is str or bytes"):
        encode_message(cast("bytes", buffer))
