"""The frame decoder against RFC 6455, clause by clause, and the frames of a server."""

from __future__ import annotations

import time
import tracemalloc
import zlib
from array import array
from collections.abc import Callable, Iterable
from itertools import accumulate, product
from random import Random
from typing import cast

import pytest
from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol
from wsproto.frame_protocol import Opcode as WsprotoOpcode

from seawall.compression import Deflate
from seawall.errors import ProtocolViolation
from seawall.wire.frames.codes import Opcode, sendable_code
from seawall.wire.frames.control import Control
from seawall.wire.frames.decoder import MAX_PIECES, Event, FrameDecoder
from seawall.wire.frames.deflate import Deflater, Inflater, negotiate
from seawall.wire.frames.encoder import (
    LONG_FROM,
    LongFrame,
    compress_frame,
    encode_close,
    encode_control,
    encode_message,
)
from seawall.wire.frames.masking import STRIDED_FROM, unmask

KEY = b"\x81\x02\xfe\x37"
MAX_SIZE = 100_000
MAX_FRAGMENTS = 8
RSV1 = 0x40

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


def masked_with(key: bytes, payload: bytes) -> bytes:
    """A binary message with a key of its own."""
    return bytes((0x82, 0x80 | len(payload))) + key + masked(payload, key)


def close(code: int, reason: bytes = b"") -> bytes:
    """A client's Close frame."""
    return frame(8, code.to_bytes(2, "big") + reason)


def decoder(inflater: Inflater | None = None) -> FrameDecoder:
    """A decoder with the limits that these tests assume."""
    return FrameDecoder(max_message_size=MAX_SIZE, max_fragments=MAX_FRAGMENTS, inflater=inflater)


def drain(decoding: FrameDecoder) -> Trace:
    """All events there are, and the violation that ends them."""
    trace: Trace = []
    try:
        while (event := decoding.next_event()) is not None:
            trace.append(event)
    except ProtocolViolation as violation:
        trace.append((violation.code, violation.reason))
    return trace


def trace_of(pieces: Iterable[bytes], inflater: Inflater | None = None) -> Trace:
    """What a fresh decoder makes of the pieces."""
    decoding, trace = decoder(inflater), Trace()
    for piece in pieces:
        decoding.receive_data(piece)
        trace += drain(decoding)
    return trace


def octets(data: bytes) -> Iterable[bytes]:
    """The bytes one by one; those before the last 2,000 a hundred and one at a time, to save time."""
    single = max(0, len(data) - 2_000)
    yield from (data[index : min(single, index + 101)] for index in range(0, single, 101))
    yield from (data[index : index + 1] for index in range(single, len(data)))


PING = Control(Opcode.PING, b"p")
SNOWMAN = "☃".encode()

GOOD: list[tuple[str, bytes, Trace]] = [
    # 5.2, base framing, and 5.6, data frames
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
    ("network byte order", frame(2, b"a" * 0x0102), [b"a" * 0x0102]),
    ("network byte order, 64 bits", frame(2, b"a" * 0x010203), [b"a" * 0x010203]),
    # 5.3, masking
    ("a key for each frame", masked_with(b"abcd", b"a") + masked_with(b"\0\0\0\0", b"b") + masked_with(KEY, b"c"),
     [b"a", b"b", b"c"]),
    # 5.5, control frames
    ("ping", frame(9, b"p"), [PING]),
    ("empty ping", frame(9), [Control(Opcode.PING, b"")]),
    ("longest ping", frame(9, b"p" * 125), [Control(Opcode.PING, b"p" * 125)]),
    ("pong that nobody asked for", frame(10, b"p" * 125), [Control(Opcode.PONG, b"p" * 125)]),
    ("control frames hold any bytes", frame(9, b"\xff\x00"), [Control(Opcode.PING, b"\xff\x00")]),
    ("all kinds between fragments", frame(1, b"a", fin=False) + frame(9, b"p") + frame(10) + frame(0, b"b"),
     [PING, Control(Opcode.PONG, b""), "ab"]),
    # 8.1, UTF-8
    ("text like binary", frame(2, b"\xed\xa0\x80"), [b"\xed\xa0\x80"]),
    ("NUL and U+10FFFF", frame(1, "\0\U0010ffff\ufeff".encode()), ["\0\U0010ffff\ufeff"]),
    ("character cut at every byte", b"".join(frame(1 if not i else 0, b"\xf0\x9f\x98\x80"[i : i + 1], fin=i == 3)
                                           for i in range(4)), ["😀"]),
    # 5.4, fragmentation
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
    # 5.5.1, Close, and 7.4, its codes
    ("close without code", frame(8), [Control(Opcode.CLOSE, b"")]),
    ("close without reason", close(1000), [Control(Opcode.CLOSE, b"\x03\xe8")]),
    ("longest close", close(1000, b"r" * 123), [Control(Opcode.CLOSE, b"\x03\xe8" + b"r" * 123)]),
    ("close between fragments", frame(1, b"a", fin=False) + frame(8) + frame(0), [Control(Opcode.CLOSE, b"")]),
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
    # 5.2, base framing, and 5.5, control frames
    ("rsv1", b"\xc1", 1002, "reserved bits set"),
    ("rsv2", b"\xa1", 1002, "reserved bits set"),
    ("rsv3", b"\x91", 1002, "reserved bits set"),
    ("rsv1 on a continuation", frame(1, fin=False) + b"\xc0", 1002, "reserved bits set"),
    ("rsv1 on a ping", b"\xc9", 1002, "reserved bits set"),
    ("all reserved bits", b"\xf2", 1002, "reserved bits set"),
    *((f"opcode {code}", bytes((0x80 | code,)), 1002, "unknown opcode") for code in (*range(3, 8), *range(11, 16))),
    *((f"fragmented {code}", bytes((code,)), 1002, "fragmented control frame") for code in (8, 9, 10)),
    # 5.4, fragmentation
    ("continuation of nothing", b"\x80", 1002, "nothing to continue"),
    ("continuation after a whole message", frame(1, b"a") + b"\x80", 1002, "nothing to continue"),
    ("continuation after a ping", frame(9) + b"\x80", 1002, "nothing to continue"),
    ("continuation after the end", frame(1, b"a") + b"\x00", 1002, "nothing to continue"),
    ("text in a text", frame(1, b"a", fin=False) + b"\x81", 1002, "message inside a message"),
    ("binary in a text", frame(1, fin=False) + b"\x02", 1002, "message inside a message"),
    # 5.1 and 5.3, masking
    ("unmasked", b"\x81\x05", 1002, "frame not masked"),
    ("unmasked ping", b"\x89\x00", 1002, "frame not masked"),
    ("unmasked close", b"\x88\x02", 1002, "frame not masked"),
    ("unmasked continuation", frame(1, fin=False) + b"\x80\x00", 1002, "frame not masked"),
    ("unmasked, long", b"\x82\x7f", 1002, "frame not masked"),
    # 5.5, control frames
    ("long ping", b"\x89\xfe", 1002, "control frame too long"),
    ("very long close", b"\x88\xff", 1002, "control frame too long"),
    ("half a close code", b"\x88\x81", 1002, "half a close code"),
    # 5.2, lengths; 7.4.1 and 10.4, sizes
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
    # 8.1, UTF-8
    ("bad text", frame(1, b"a\xffb")[:-1], 1007, "invalid UTF-8"),
    ("bad last byte", frame(1, b"a\xff"), 1007, "invalid UTF-8"),
    ("overlong", frame(1, b"\xc0\xaf")[:-1], 1007, "invalid UTF-8"),
    ("surrogate", frame(1, b"\xed\xa0\x80")[:-1], 1007, "invalid UTF-8"),
    ("last surrogate", frame(1, b"a\xed\xbf\xbf")[:-1], 1007, "invalid UTF-8"),
    ("above U+10FFFF", frame(1, b"\xf4\x90\x80\x80")[:-2], 1007, "invalid UTF-8"),
    ("lone continuation byte", frame(1, b"\x80"), 1007, "invalid UTF-8"),
    ("bad in a last fragment", frame(1, b"a", fin=False) + frame(0, b"b\xff"), 1007, "invalid UTF-8"),
    ("bad after a ping", frame(1, SNOWMAN[:1], fin=False) + frame(9) + frame(0, b"\xff"), 1007, "invalid UTF-8"),
    ("unfinished character", frame(1, SNOWMAN[:2]), 1007, "invalid UTF-8"),
    ("unfinished over fragments", frame(1, SNOWMAN[:1], fin=False) + frame(0, SNOWMAN[1:2]), 1007, "invalid UTF-8"),
    ("unfinished at an empty end", frame(1, SNOWMAN[:1], fin=False) + frame(0), 1007, "invalid UTF-8"),
    ("bad in a first fragment", frame(1, b"\xff", fin=False), 1007, "invalid UTF-8"),
    ("bad across fragments", frame(1, SNOWMAN[:1], fin=False) + frame(0, b"aa")[:-1], 1007, "invalid UTF-8"),
    # 5.5.1, Close, and 7.4, its codes
    *((f"close {code}", close(code), 1002, "invalid close code") for code in (0, 999, 1004, 1005, 1006, 1015, 1016)),
    *((f"close {code}", close(code), 1002, "invalid close code") for code in (1100, 2000, 2999, 5000, 65535)),
    ("bad close reason", close(1000, b"\xff"), 1007, "invalid UTF-8"),
    ("cut close reason", close(1000, SNOWMAN[:2]), 1007, "invalid UTF-8"),
    ("bad code before bad reason", close(999, b"\xff"), 1002, "invalid close code"),
]  # fmt: skip


@pytest.mark.parametrize("opcode", [1, 2, RSV1 | 1, RSV1 | 2])
def test_a_whole_message_inside_a_message(opcode: int) -> None:
    """A message that is all there is no better than its first byte."""
    for begun in (frame(1, b"a", fin=False), frame(RSV1 | 2, fin=False)):
        for pieces in ([begun + frame(opcode, b"b")], [begun, frame(opcode, b"b")]):
            assert trace_of(pieces, inflater()) == [(1002, "message inside a message")]


def test_every_first_byte() -> None:
    """Of the 256 first bytes exactly those of section 5.2 may begin a stream, or go on in the middle of a message."""
    for first in range(256):
        fin, rsv, opcode = first >= 0x80, first & 0x70, first & 0x0F
        control, data = opcode in (8, 9, 10), opcode in (1, 2)
        good = not rsv and (fin or not control)
        assert (trace_of([bytes((first,))]) == []) == (good and (control or data))
        assert (trace_of([frame(1, b"a", fin=False), bytes((first,))]) == []) == (good and (control or not opcode))
        deflated = rsv == 0x40 and data
        assert (trace_of([bytes((first,))], inflater()) == []) == ((good and (control or data)) or deflated)


@pytest.mark.parametrize("opcode", Opcode)
def test_every_second_byte(opcode: Opcode) -> None:
    """Of the 256 second bytes exactly those go on that are masked and, in control frames, of a length that may be."""
    before = [frame(1, fin=False)] if opcode is Opcode.CONTINUATION else []
    for second in range(256):
        length = second & 0x7F
        fits = opcode < 8 or (length <= 125 and not (opcode == 8 and length == 1))
        assert (trace_of([*before, bytes((0x80 | opcode, second))]) == []) == (second >= 0x80 and fits)


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


AT_ONCE: dict[str, tuple[bytes, str | bytes | None]] = {
    "text": (frame(Opcode.TEXT, "grüße".encode()), "grüße"),
    "binary": (frame(Opcode.BINARY, bytes(1000)), bytes(1000)),
    "nothing in it": (frame(Opcode.TEXT), ""),
    "nothing at all": (b"", None),
    "half": (frame(Opcode.TEXT, b"half")[:-1], None),
    "two": (frame(Opcode.TEXT, b"one") * 2, None),
    "one and a byte": (frame(Opcode.TEXT, b"one") + b"\x81", None),
    "a fragment": (frame(Opcode.TEXT, b"part", fin=False), None),
    "control": (frame(Opcode.PING), None),
    "no UTF-8": (frame(Opcode.TEXT, b"\xff"), None),
    "too big": (frame(Opcode.BINARY, bytes(MAX_SIZE + 1)), None),
}


@pytest.mark.parametrize(("data", "message"), AT_ONCE.values(), ids=AT_ONCE)
def test_a_message_at_once(data: bytes, message: str | bytes | None) -> None:
    """A piece that is exactly one message is read in one go; of any other nothing is taken, and nothing raised."""
    decoding = decoder()
    assert decoding.receive_message(data) == message
    assert decoding.pending == 0
    expected = trace_of([data])
    decoding.receive_data(data)
    assert drain(decoding) == expected


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_a_message_at_once_has_the_same_limit(opcode: Opcode) -> None:
    """Whatever the limit is, a message that has as many bytes is read in one go, and one of a byte more is refused."""
    for limit in (*range(130), 0xFFFF, 0x10000):
        decoding, too_big = FrameDecoder(max_message_size=limit, max_fragments=1), frame(opcode, b"a" * (limit + 1))
        assert decoding.receive_message(frame(opcode, b"a" * limit)) is not None
        assert decoding.receive_message(too_big) is None
        decoding.receive_data(too_big)
        assert drain(decoding) == [(1009, "message too big")]


@pytest.mark.parametrize(
    "before", [frame(Opcode.TEXT, b"a", fin=False), frame(Opcode.TEXT)[:1], frame(Opcode.TEXT, b"ab")[:-1], frame(3)]
)
def test_no_message_at_once_behind_something_else(before: bytes) -> None:
    """What belongs to a message or a frame that has begun is not one, nor is anything after the end."""
    decoding = decoder()
    decoding.receive_data(before)
    drain(decoding)
    assert decoding.receive_message(frame(Opcode.TEXT, b"no message")) is None


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
    """The least time that `work` takes of the processor for this size, in seconds, whatever else runs."""
    times: list[float] = []
    for _ in range(3):
        began = time.thread_time()
        work(size)
        times.append(time.thread_time() - began)
    return min(times)


def one_text_byte_by_byte(size: int) -> None:
    """Feed one long text message in the smallest pieces."""
    decoding = FrameDecoder(max_message_size=size, max_fragments=1)
    for piece in frame(1, b"x" * size):
        decoding.receive_data(bytes((piece,)))
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


# RFC 7692: frames of compressed messages.


def deflated(data: bytes, *, level: int = 6) -> bytes:
    """The payload of a compressed message that refers to no other."""
    stream = zlib.compressobj(level, wbits=-15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


def inflater() -> Inflater:
    """What a client without any agreement on windows needs."""
    return Inflater(bits=15, takeover=True)


def fragmented(opcode: int, payload: bytes, *sizes: int) -> bytes:
    """A compressed message in fragments; the last one has what is left."""
    ends = [*accumulate(sizes), len(payload)]
    starts = [0, *ends[:-1]]
    frames = [
        frame(RSV1 | opcode if not start else 0, payload[start:end], fin=end == len(payload))
        for start, end in zip(starts, ends, strict=True)
    ]
    return b"".join(frames)


SAME = "ab" * 50_000
HARD = Random(0).randbytes(MAX_SIZE)

COMPRESSED: list[tuple[str, bytes, Trace]] = [
    ("text", frame(RSV1 | 1, deflated(SNOWMAN * 100)), ["☃" * 100]),
    ("binary", frame(RSV1 | 2, deflated(b"\xff\x00" * 100)), [b"\xff\x00" * 100]),
    ("empty", frame(RSV1 | 1, b"\x00") + frame(RSV1 | 2, b"\x00"), ["", b""]),
    ("no payload", frame(RSV1 | 1) + frame(1, b"a"), ["", "a"]),
    ("largest message", frame(RSV1 | 1, deflated(SAME.encode())), [SAME]),
    ("largest message, incompressible", frame(RSV1 | 2, deflated(HARD, level=1)), [HARD]),
    ("largest message, longer than plain", frame(RSV1 | 2, deflated(HARD, level=0)), [HARD]),
    ("fragments", fragmented(1, deflated(b"Hello, Hello, Hello"), 1, 3, 0, 2), ["Hello, Hello, Hello"]),
    ("empty first fragment", frame(RSV1 | 1, fin=False) + frame(0, deflated(b"abc")), ["abc"]),
    ("empty last fragment", frame(RSV1 | 1, deflated(b"abc"), fin=False) + frame(0), ["abc"]),
    ("only empty fragments", frame(RSV1 | 1, fin=False) + frame(0, fin=False) + frame(0), [""]),
    ("ping between fragments", frame(RSV1 | 1, deflated(b"abc")[:2], fin=False) + frame(9, b"p")
     + frame(0, deflated(b"abc")[2:]), [PING, "abc"]),
    ("plain between compressed", frame(RSV1 | 1, deflated(b"abc")) + frame(1, b"def") + frame(RSV1 | 1, deflated(b"g")),
     ["abc", "def", "g"]),
    ("plain fragments between compressed", frame(RSV1 | 1, deflated(b"abc")) + frame(1, b"d", fin=False)
     + frame(0, b"e") + frame(RSV1 | 1, deflated(b"f")), ["abc", "de", "f"]),
    ("context is taken over", frame(RSV1 | 1, deflated(b"Hello")) + frame(1, b"x")
     + frame(RSV1 | 1, bytes.fromhex("f200110000")), ["Hello", "x", "Hello"]),
    ("final block", frame(RSV1 | 1, bytes.fromhex("f348cdc9c9070000")) * 2, ["Hello", "Hello"]),
    ("character cut by a fragment", fragmented(1, deflated(SNOWMAN * 3, level=0), 7), ["☃☃☃"]),
    ("close", frame(RSV1 | 1, deflated(b"abc")) + frame(8), ["abc", Control(Opcode.CLOSE, b"")]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in COMPRESSED], ids=[case[0] for case in COMPRESSED])
def test_compressed_streams(data: bytes, expected: Trace) -> None:
    """Compressed messages, plain ones between them and control frames decode alike, whole or byte by byte."""
    assert trace_of([data], inflater()) == expected
    assert trace_of(octets(data), inflater()) == expected


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
def test_plain_streams_with_compression(data: bytes, expected: Trace) -> None:
    """That compression was agreed on changes nothing for who does not use it."""
    assert trace_of([data], inflater()) == expected
    assert trace_of(octets(data), inflater()) == expected


# As in BAD, up to the byte that shows the fault.
WRONG: list[tuple[str, bytes, int, str]] = [
    ("rsv2", b"\xa1", 1002, "reserved bits set"),
    ("rsv1 and rsv3", b"\xd1", 1002, "reserved bits set"),
    ("rsv1 on a continuation", frame(RSV1 | 1, fin=False) + b"\xc0", 1002, "reserved bits set"),
    ("rsv1 on a continuation of plain text", frame(1, fin=False) + b"\x40", 1002, "reserved bits set"),
    *((f"rsv1 on {code}", bytes((0xC0 | code,)), 1002, "reserved bits set") for code in (8, 9, 10)),
    *((f"rsv1 on {code}", bytes((0xC0 | code,)), 1002, "reserved bits set") for code in (3, 7, 11, 15)),
    ("compressed in a text", frame(1, fin=False) + b"\xc1", 1002, "message inside a message"),
    ("text in a compressed one", frame(RSV1 | 1, fin=False) + b"\x81", 1002, "message inside a message"),
    ("unmasked", b"\xc1\x05", 1002, "frame not masked"),
    ("corrupt", frame(RSV1 | 2, b"\x06"), 1007, "invalid compressed data"),
    ("corrupt in a fragment", frame(RSV1 | 2, b"\x00\x00\x00\xff\xff", fin=False) + frame(0, b"\x06", fin=False), 1007,
     "invalid compressed data"),
    ("reference to nothing", frame(RSV1 | 1, bytes.fromhex("f20011")), 1007, "invalid compressed data"),
    ("reference to a plain message", frame(1, b"Hello") + frame(RSV1 | 1, bytes.fromhex("f20011")), 1007,
     "invalid compressed data"),
    ("unfinished character", frame(RSV1 | 1, deflated(SNOWMAN[:2])), 1007, "invalid UTF-8"),
    ("one too big", frame(RSV1 | 2, deflated(HARD + b"x", level=0)[:-1], fin=False), 1009, "message too big"),
    ("one too big at the end", frame(RSV1 | 2, deflated(HARD + b"x", level=0))[:-1], 1009, "message too big"),
    ("header too big", b"\xc2\xff" + (2 * MAX_SIZE + 1025).to_bytes(8, "big"), 1009, "message too big"),
    ("much too big", b"\xc2\xff\x00\x00\x00\x01", 1009, "message too big"),
    ("plain and too big, after a compressed one", frame(RSV1 | 1, deflated(b"a")) + b"\x82\xff\x00\x00\x00\x00\x00\x02",
     1009, "message too big"),
    ("frames too big", frame(RSV1 | 2, b"\x00\x00\x00\xff\xff" * 40_000, fin=False) + b"\x00\xfe\x04\x01", 1009,
     "message too big"),
    ("too many fragments", frame(RSV1 | 1, fin=False) + frame(0, fin=False) * 7 + b"\x80", 1009, "too many fragments"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code", "reason"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_compressed_violations(data: bytes, code: int, reason: str) -> None:
    """With compression too each violation is reported at the byte that shows it, and what follows changes nothing."""
    assert trace_of(octets(data), inflater())[-1] == (code, reason)
    assert (code, reason) not in trace_of(octets(data[:-1]), inflater())
    assert trace_of([data], inflater())[-1] == (code, reason)
    assert trace_of([data + b"\x00" * 20], inflater())[-1] == (code, reason)


@pytest.mark.parametrize("opcode", [0x41, 0x42, 0xC1, 0xC2])
def test_rsv1_without_an_agreement(opcode: int) -> None:
    """Nobody may compress what was not agreed to be compressed (RFC 7692, section 6)."""
    assert trace_of([bytes((opcode,))]) == [(1002, "reserved bits set")]


@pytest.mark.parametrize(
    "data",
    [
        frame(RSV1 | 1, deflated(b"a\xff", level=0), fin=False)[:-1],
        fragmented(1, deflated(SNOWMAN[:1] + b"a", level=0), 6)[:-1],
    ],
    ids=["in a fragment", "across fragments"],
)
def test_compressed_text_fails_fast(data: bytes) -> None:
    """A text that can no longer become UTF-8 is refused before its compressed data are all there."""
    assert trace_of(octets(data[:-1]), inflater()) == []
    assert trace_of(octets(data), inflater()) == trace_of([data], inflater()) == [(1007, "invalid UTF-8")]


BOMB = deflated(b"a" * 10_000_000)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"a" * (MAX_SIZE + 1), (1009, "message too big")),
        (b"a" * MAX_SIZE + b"\xff", (1007, "invalid UTF-8")),
        (b"a" * 50_000 + b"\xff" + b"a" * MAX_SIZE, (1007, "invalid UTF-8")),
        (b"a" * (MAX_SIZE - 1) + SNOWMAN, (1009, "message too big")),
    ],
    ids=["too big", "bad where it is too big", "bad, then too big", "a character over the limit"],
)
def test_the_first_fault_is_the_fault(text: bytes, fault: tuple[int, str]) -> None:
    """What a text is refused for does not depend on how much of it is inflated at once."""
    data = frame(RSV1 | 1, deflated(text))
    assert trace_of([data], inflater()) == trace_of(octets(data), inflater()) == [fault]


def test_a_bomb_is_defused() -> None:
    """Ten million bytes in ten thousand are refused after the limit, and let go of."""
    decoding = decoder(inflater())
    decoding.receive_data(frame(RSV1 | 2, BOMB))
    tracemalloc.start()
    try:
        assert drain(decoding) == [(1009, "message too big")]
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert decoding.pending == 0
    assert held < 5_000
    assert peak < 5 * MAX_SIZE


def test_pending_counts_what_was_inflated() -> None:
    """An unfinished message counts as large as it has become."""
    decoding = decoder(inflater())
    decoding.receive_data(frame(RSV1 | 2, deflated(b"a" * 50_000), fin=False))
    assert drain(decoding) == []
    assert decoding.pending == 50_000


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
        (LONG_FROM, b"\x82\x7f\x00\x00\x00\x00\x00\x08\x00\x00"),
    ],
)
def test_encoded_lengths_are_minimal(size: int, header: bytes) -> None:
    """A server's frame is final, unmasked, and has the shortest length there is."""
    assert bytes(encode_message(b"x" * size)) == header + b"x" * size


@pytest.mark.parametrize("size", [LONG_FROM, LONG_FROM + 1, 1_000_000])
def test_a_long_frame_is_no_copy(size: int) -> None:
    """From `LONG_FROM` on, what is sent is the header and the payload itself, and so is what remains of it."""
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    long = encode_message(payload)
    assert isinstance(long, LongFrame)
    assert long.payload is payload
    assert len(long) == len(long.header) + size
    for written in (0, 1, 9, 10, 11, 1000, len(long) - 1, len(long)):
        rest = long.after(written)
        assert rest == bytes(long)[written:]
        assert written < len(long.header) or rest.obj is payload
    assert len(repr(long)) < 100
    assert isinstance(encode_message(payload[: LONG_FROM - 1]), bytes)


@pytest.mark.parametrize("message", ["", "☃" * 100, b"", b"\xff" * 300], ids=["no text", "text", "no bytes", "bytes"])
def test_encoded_messages(message: str | bytes) -> None:
    """A client reads from our frame the message that went in, of the same kind."""
    (read,) = client_reads(bytes(encode_message(message)))
    kind = WsprotoOpcode.TEXT if isinstance(message, str) else WsprotoOpcode.BINARY
    assert (read.opcode, read.message_finished) == (kind, True)
    assert read.payload == message


def deflater(config: Deflate) -> Deflater:
    """One for a client that leaves everything to us."""
    agreement = negotiate(["permessage-deflate"], config)
    assert agreement is not None
    return agreement.deflater()


@pytest.mark.parametrize(
    "message", ["☃" * 100, b"\xff" * 300, "ab" * 100_000, HARD], ids=["text", "bytes", "large", "hard"]
)
def test_compressed_messages(message: str | bytes) -> None:
    """A compressed message is one frame with RSV1, of minimal length, and inflates to what went in."""
    data = bytes(encode_message(message, deflater(Deflate())))
    size, start = data[1], 2
    if size > 125:
        start = 4 if size == 126 else 10
        size = int.from_bytes(data[2:start], "big")
    assert data[0] == (0xC1 if isinstance(message, str) else 0xC2)
    assert (size, start) == (len(data) - start, 2 if size < 126 else 4 if size < 65536 else 10)
    plain = inflater().inflate(data[start:], limit=1_000_000, last=True)
    assert plain == (message.encode() if isinstance(message, str) else message)


@pytest.mark.parametrize(
    ("size", "first"), [(0, 0x81), (9, 0x81), (10, 0xC1), (11, 0xC1), (70_000, 0xC1), (LONG_FROM, 0xC1)]
)
def test_what_is_worth_compressing(size: int, first: int) -> None:
    """From the threshold on messages are compressed; those below go out as they are."""
    message = "x" * size
    data = bytes(encode_message(message, deflater(Deflate(threshold=10))))
    assert data[0] == first
    assert (data == encode_message(message)) == (first == 0x81)


def test_an_empty_message_compressed() -> None:
    """With a threshold of 0 even nothing is compressed, to the one byte that RFC 7692, section 7.2.3.6, gives."""
    deflating = deflater(Deflate(threshold=0))
    assert [encode_message("", deflating), encode_message(b"", deflating)] == [b"\xc1\x01\x00", b"\xc2\x01\x00"]


def test_what_cannot_be_compressed_grows_little() -> None:
    """A frame never becomes longer than its docstring says, however little memory there is."""
    for memory_level, size in product(range(1, 10), (0, 1, 64, 119, 120, 125, 126, 200, 1_000, 65_530, MAX_SIZE)):
        config = Deflate(threshold=0, memory_level=memory_level, server_max_window_bits=9)
        deflating, frame = deflater(config), encode_message(HARD[:size])
        assert len(compress_frame(frame, deflating)) <= len(frame) * 1.07 + 8


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
        encode_control(Opcode.PING, b"x" * 126)


def test_text_that_is_no_text() -> None:
    """A lone surrogate cannot be sent as text."""
    with pytest.raises(UnicodeEncodeError):
        encode_message("\ud800")


@pytest.mark.parametrize(
    "buffer",
    [bytearray(b"x"), memoryview(b"x"), array("I", [1, 2, 3]), None, 5],
    ids=["bytearray", "memoryview", "array", "None", "int"],
)
def test_what_is_neither_text_nor_bytes_is_not_sent(buffer: object) -> None:
    """Of another buffer the length would count items, and the frame would be torn."""
    with pytest.raises(TypeError, match="a message is str or bytes"):
        encode_message(cast("bytes", buffer))


def test_a_message_of_many_pieces_is_read_in_turns() -> None:
    """One call reads so many frames and no more; what is left is read by the next ones, and nothing is lost."""
    decoder = FrameDecoder(max_message_size=1000, max_fragments=1000)
    piece = bytes([0x00, 0x81, 0, 0, 0, 0]) + b"x"
    decoder.receive_data(bytes([0x02, 0x81, 0, 0, 0, 0]) + b"x" + piece * 199 + bytes([0x80, 0x80, 0, 0, 0, 0]))
    calls = 1
    while (event := decoder.next_event()) is None:
        assert decoder.has_more
        calls += 1
    assert event == b"x" * 200
    assert calls == 201 // MAX_PIECES + 1
    assert decoder.next_event() is None
    assert not decoder.has_more
