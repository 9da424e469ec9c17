"""Frames so large that they are unmasked where they lie, and read in one go all the same: as exact as small ones."""

from __future__ import annotations

from random import Random

import pytest

from seawall.wire.frames.codes import Opcode
from seawall.wire.frames.decoder import VIEW_FROM, Event, FrameDecoder

KEY = b"\x81\x02\xfe\x37"
MAX_SIZE = 300_000
SIZES = [VIEW_FROM - 1, VIEW_FROM, VIEW_FROM + 1, 65_535, 65_536, 65_539, 200_001]
NOISE = Random(3).randbytes(MAX_SIZE)
TEXT = ("grüße, ☃ 😀 " * 30_000).encode()


def frame(first: int, payload: bytes, width: int | None = None) -> bytes:
    """A client's frame, masked byte by byte; `width` is that of a length that is not minimal."""
    size = len(payload)
    width = width if width is not None else 0 if size < 126 else 2 if size < 0x10000 else 8
    length = bytes((0x80 | {0: size, 2: 126, 8: 127}[width],)) + (size.to_bytes(width, "big") if width else b"")
    return bytes((first,)) + length + KEY + bytes(byte ^ KEY[index % 4] for index, byte in enumerate(payload))


def decoder() -> FrameDecoder:
    """One with room for all of these."""
    return FrameDecoder(max_message_size=MAX_SIZE, max_fragments=4)


def events(decoding: FrameDecoder, *pieces: bytes | bytearray) -> list[Event]:
    """What it makes of the pieces, as the channel asks it."""
    found: list[Event] = []
    for piece in pieces:
        if (message := decoding.receive_message(piece)) is not None:
            found.append(message)
            continue
        decoding.receive_data(piece)
        while (event := decoding.next_event()) is not None:
            found.append(event)
    return found


@pytest.mark.parametrize("size", SIZES)
def test_a_large_message_at_once(size: int) -> None:
    """A read that is one message is that message, whatever the width of its length; nothing is held."""
    text = TEXT[:size].decode(errors="ignore")
    for first, message, payload in ((0x82, NOISE[:size], NOISE[:size]), (0x81, text, text.encode())):
        for data in (frame(first, payload), bytearray(frame(first, payload))):
            decoding = decoder()
            assert decoding.receive_message(data) == message
            assert decoding.pending == 0


@pytest.mark.parametrize("size", SIZES)
def test_a_large_message_cut_anywhere(size: int) -> None:
    """Cut in its header, at the first bytes of its payload, at the last ones, or often, it is the same."""
    whole = frame(0x82, NOISE[:size])
    for at in (*range(1, 20), len(whole) // 2 + 1, len(whole) - 1):
        assert events(decoder(), whole[:at], whole[at:]) == [NOISE[:size]]
    for step in (4_097, 16_384, 81_920):
        pieces = [whole[at : at + step] for at in range(0, len(whole), step)]
        assert events(decoder(), *pieces) == [NOISE[:size]]
        assert events(decoder(), *map(bytearray, pieces)) == [NOISE[:size]]


def test_messages_and_fragments_in_one_buffer() -> None:
    """Several in one read, and more before the first has been asked for: each is taken where it lies."""
    whole = frame(0x82, NOISE[:70_000])
    parts = frame(0x01, TEXT[:100_001]) + frame(0x89, b"p") + frame(0x80, TEXT[100_001:150_000])
    decoding = decoder()
    decoding.receive_data(whole[:5])
    decoding.receive_data(whole[5:] + parts[:80_000])
    decoding.receive_data(parts[80_000:] + whole)  # the buffer is one that grows
    assert decoding.next_event() == NOISE[:70_000]
    decoding.receive_data(whole)  # which it could not if something still looked into it
    ping = decoding.next_event()
    assert ping is not None
    assert not isinstance(ping, str | bytes)
    assert ping.opcode is Opcode.PING
    assert decoding.next_event() == TEXT[:150_000].decode(errors="strict")
    assert [decoding.next_event() for _ in range(3)] == [NOISE[:70_000], NOISE[:70_000], None]
    assert decoding.pending == 0


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(0x82, NOISE[:1_000], width=8), id="not minimal"),
        pytest.param(frame(0x82, NOISE[:65_535], width=8), id="just not minimal"),
        pytest.param(frame(0x82, NOISE + b"x"), id="too big"),
        pytest.param(frame(0x81, NOISE[:70_000]), id="no UTF-8"),
        pytest.param(frame(0x82, NOISE[:70_000])[:-1], id="a byte missing"),
        pytest.param(frame(0x82, NOISE[:70_000]) + b"\x82", id="a byte too many"),
        pytest.param(frame(0x02, NOISE[:70_000]), id="a fragment"),
        pytest.param(b"\x82\xff\x00\x00\x00\x00\x00\x01", id="half a length"),
        pytest.param(b"\x82\xff\xff" + bytes(100), id="over 63 bits"),
    ],
)
def test_what_is_no_large_message(data: bytes) -> None:
    """Of anything else nothing is taken at once; `next_event` judges it."""
    decoding = decoder()
    assert decoding.receive_message(data) is None
    assert decoding.pending == 0
