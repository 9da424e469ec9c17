"""The parts of a message: whatever they are, the whole is what came, and a fault is found at the part that shows it."""

from __future__ import annotations

import codecs
import tracemalloc
from itertools import product

import pytest

from seawall.errors import ProtocolViolation
from seawall.wire.frames.parts import DECODED_FROM, BinaryParts, Parts, TextParts

#: Large enough to be decoded as it comes, and just too small for that; nothing; no ASCII, whole and cut; no text.
UNITS = (
    b"a" * DECODED_FROM,
    b"b" * (DECODED_FROM - 1),
    b"",
    "ü".encode() * DECODED_FROM,
    b"c" * DECODED_FROM + b"\xf0\x9f",
    b"\x98\x80" + b"d" * DECODED_FROM,
    b"\xed\xa0" + b"e" * DECODED_FROM,
)


def fault_at(parts: tuple[bytes, ...]) -> int | None:
    """The first part that no other can make valid; the last of text that is incomplete."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for number, part in enumerate(parts):
        try:
            decoder.decode(part, final=number == len(parts) - 1)
        except UnicodeDecodeError:
            return number
    return None


def found(parts: tuple[bytes, ...]) -> str | int:
    """The text of the parts, or the number of the one at which it is found to be none."""
    held, number = TextParts(), -1
    try:
        for number, part in enumerate(parts[:-1]):  # noqa: B007 - where it has ended
            held.add(part)
        number = len(parts) - 1
        return held.join(parts[-1])
    except ProtocolViolation:
        return number


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_text_of_any_parts(count: int) -> None:
    """Decoded as it comes or not, the text is the same, and so is the part at which it is found to be none."""
    for parts in product(UNITS, repeat=count):
        fault = fault_at(parts)
        assert found(parts) == (b"".join(parts).decode() if fault is None else fault)


def test_binary_of_any_parts() -> None:
    """Bytes are bytes."""
    for parts in product(UNITS, repeat=3):
        held = BinaryParts()
        held.add(parts[0])
        held.add(bytearray(parts[1]))
        assert held.join(parts[2]) == b"".join(parts)


@pytest.mark.parametrize("kind", [TextParts, BinaryParts])
@pytest.mark.parametrize("size", [1, 100, DECODED_FROM - 1, DECODED_FROM, 16 * 1024])
def test_parts_take_the_memory_of_what_has_come(kind: type[TextParts | BinaryParts], size: int) -> None:
    """However small they are, all of them together take a sixth more than their bytes at most."""
    part, count = b"x" * size, 200_000 // size
    tracemalloc.start()
    try:
        held: Parts = kind()
        for _ in range(count):
            held.add(part)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 200_000 * 7 / 6
    assert len(held.join(b"")) == count * size


@pytest.mark.parametrize("part", [b"", b"x", "ü".encode() * DECODED_FROM], ids=["nothing", "small", "not ASCII"])
def test_text_is_encoded_again_within_twice_its_size(part: bytes) -> None:
    """Where a part ends the decoding, what has come is held twice for a moment, and not three times."""
    held, count = TextParts(), 30
    tracemalloc.start()
    try:
        for _ in range(count):
            held.add(b"x" * 100_000)
        held.add(part)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < count * 100_000 * 9 / 4
    assert held.join(b"") == "x" * count * 100_000 + part.decode()
