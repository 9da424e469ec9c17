"""Unmasking in C and in Python: the same bytes from both, and the one in Python where the other will not do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from random import Random

import pytest

from seawall.wire.frames import masking
from seawall.wire.frames.masking import STRIDED_FROM, Unmask, agrees, choose, unmask, unmask_in_c, unmask_in_python

KEYS = [bytes(4), b"\xff\xff\xff\xff", b"\x81\x02\xfe\x37"]
BLOCK = 16  # bytes that the C function takes at once
NOISE = Random(5).randbytes(320)
LARGE = [STRIDED_FROM - 1, STRIDED_FROM, STRIDED_FROM + 1, 4_099, 65_535, 65_536, 81_922]

Payload = bytes | bytearray | memoryview
KINDS: list[Callable[[memoryview], Payload]] = [bytes, bytearray, memoryview, lambda view: memoryview(bytearray(view))]

WAYS = [pytest.param(unmask, id="in use"), pytest.param(unmask_in_python, id="in Python")]


def by_definition(masked: Payload, key: bytes) -> bytes:
    """Byte by byte, as RFC 6455, section 5.3, writes it down."""
    return bytes(byte ^ key[index % 4] for index, byte in enumerate(masked))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("key", KEYS, ids=["zeros", "ones", "mixed"])
def test_every_size_up_to_300(way: Unmask, key: bytes) -> None:
    """Every size, from every place in a buffer, of every kind of buffer: exactly what the definition says."""
    for size in range(301):
        for start in range(BLOCK + 1 if size < 2 * BLOCK + 2 else 4):
            payload = memoryview(NOISE)[start : start + size]
            expected = by_definition(payload, key)
            for kind in KINDS:
                assert way(kind(payload), key) == expected
                assert way(payload, bytearray(key)) == expected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", LARGE)
def test_large_payloads(way: Unmask, size: int) -> None:
    """Nor does the definition end at small sizes, and what was given stays as it was."""
    noise = Random(size).randbytes(size + BLOCK)
    for start in (0, 1, 6, 14):
        given = bytearray(noise)
        payload = memoryview(given)[start : start + size]
        assert way(payload, KEYS[2]) == by_definition(payload, KEYS[2])
        assert given == noise


def test_c_is_used_where_it_can_be_imported() -> None:
    """The C function is the one in use, unless it is not there."""
    assert (unmask_in_c() is not None) == masking.ACCELERATED
    assert unmask is (unmask_in_c() or unmask_in_python)


def other_order(masked: Payload, key: bytes | bytearray) -> bytes:
    """Begin with the last byte of the key."""
    return by_definition(masked, bytes(reversed(key)))


def wrong_at_a_block(masked: Payload, key: bytes | bytearray) -> bytes:
    """Be wrong from the first whole block on."""
    return bytes(masked) if len(masked) >= BLOCK else by_definition(masked, bytes(key))


def only_bytes(masked: Payload, key: bytes | bytearray) -> bytes:
    """Refuse any other buffer."""
    if not isinstance(masked, bytes):
        raise TypeError
    return by_definition(masked, bytes(key))


def a_bytearray(masked: Payload, key: bytes | bytearray) -> bytearray:
    """Give what somebody might change later."""
    return bytearray(by_definition(masked, bytes(key)))


def three_arguments(masked: Payload, key: bytes | bytearray, start: int) -> bytes:
    """Take one more."""
    return by_definition(masked[start:], bytes(key))


ODD = [other_order, wrong_at_a_block, only_bytes, a_bytearray, three_arguments]


@pytest.mark.parametrize("odd", ODD)
def test_what_does_something_else_is_not_used(odd: Unmask) -> None:
    """A candidate that is wrong, takes less, or takes something else loses, and nothing is raised."""
    assert not agrees(odd)
    assert choose(odd) is unmask_in_python


def test_what_agrees_is_used() -> None:
    """A candidate that does what ours does is taken; with none there is ours."""

    def right(masked: Payload, key: bytes | bytearray) -> bytes:
        return by_definition(masked, bytes(key))

    assert choose(right) is right
    assert choose(None) is unmask_in_python


MODULES = {
    "not installed": "sys.modules['websockets'] = None",
    "not compiled": "sys.modules['websockets.speedups'] = None",
    "without the function": "sys.modules['websockets.speedups'] = types.ModuleType('speedups')",
    "broken": "sys.modules['websockets.speedups'] = type('Broken', (), {'__getattr__': lambda *_: 1 / 0})()",
}


@pytest.mark.parametrize("before", MODULES.values(), ids=MODULES)
def test_where_it_cannot_be_imported(before: str) -> None:
    """A process without it starts all the same, says nothing, and unmasks."""
    program = f"""
import sys, types
{before}
from seawall.wire.frames import masking
assert not masking.ACCELERATED
assert masking.unmask(b"abcd", b"\\1\\1\\1\\1") == b"`cbe"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_little_of_websockets_is_imported() -> None:
    """What the extra adds to the start is one compiled module, not a second WebSocket library."""
    program = "import sys, seawall; print(*sorted(name for name in sys.modules if name.startswith('websockets')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    allowed = {"websockets", "websockets.imports", "websockets.speedups", "websockets.version"}
    assert set(done.stdout.split()) <= allowed
