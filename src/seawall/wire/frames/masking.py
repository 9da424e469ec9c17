"""Unmasks a client's payload (RFC 6455, section 5.3): in C where that is installed, else in Python.

The C function is that of the `websockets` package, which the extra `fast` installs. It is not documented there, so only
this module imports it, and it is used only if its results are those of our function. Microseconds in Python and in C,
CPython 3.11: 64 bytes 0.56 and 0.08, 1 KiB 1.8 and 0.13, 64 KiB 68 and 1.3, 1 MiB 1,560 and 22.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

#: Payloads of this many bytes and more are unmasked by `bytes.translate` on four strides, smaller ones by one XOR of
#: big integers. CPython 3.11, microseconds for XOR and for translate: 64 bytes 0.5 and 0.8, 384 bytes 1.0 and 1.2,
#: 768 bytes 1.5 and 1.6, 1 KiB 2.0 and 1.8, 4 KiB 6.7 and 5.0, 64 KiB 240 and 72. The integers lose because they are
#: built from 30-bit digits; the strides lose on small payloads because they make eight objects instead of three.
STRIDED_FROM: Final = 768

_IDENTITY: Final = int.from_bytes(bytes(range(256)), "big")

# For each byte of a key, the table by which `bytes.translate` XORs with that byte.
_TABLES: Final = tuple(
    (_IDENTITY ^ int.from_bytes(bytes((byte,)) * 256, "big")).to_bytes(256, "big") for byte in range(256)
)

# For each number of words, the factor that repeats a key so many times when the key is multiplied by it.
_REPEATS: Final = tuple(int.from_bytes(b"\1\0\0\0" * words, "little") for words in range((STRIDED_FROM >> 2) + 1))


#: Unmasks a payload with a key, the four bytes of the frame's header; the first byte with the first of the key.
Unmask: TypeAlias = Callable[[bytes | bytearray | memoryview, bytes | bytearray], bytes | bytearray]


def unmask_in_python(payload: bytes | bytearray | memoryview, key: bytes | bytearray) -> bytes | bytearray:
    """Unmask as fast as Python alone can.

    Args:
      payload: masked, its first byte with the first byte of the key.
      key: the four bytes of the frame's header.
    """
    size = len(payload)
    if size < STRIDED_FROM:
        words = (size + 3) >> 2
        mask = int.from_bytes(key, "little") * _REPEATS[words]
        return (int.from_bytes(payload, "little") ^ mask).to_bytes(words << 2, "little")[:size]
    plain = bytearray(payload)
    for offset in range(4):
        plain[offset::4] = plain[offset::4].translate(_TABLES[key[offset]])
    return plain


def unmask_in_c() -> Unmask | None:
    """The function of `websockets`; None where it is not installed, was not compiled, or cannot be imported."""
    try:
        from websockets.speedups import apply_mask  # noqa: PLC0415 # an optional extra
    except Exception:  # noqa: BLE001 - whatever is wrong, the Python function remains
        return None
    return apply_mask


# Sizes around the 16, 8 and 4 bytes that the C code takes at once, and one for each way of `unmask_in_python`.
_SIZES: Final = (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 64, 125, 126, STRIDED_FROM + 3)


def agrees(candidate: Unmask) -> bool:
    """Whether `candidate` gives the results of `unmask_in_python`. The test takes 0.1 ms, as it runs at each import."""
    masked = bytes(range(256)) * 4
    key = b"\x81\x02\xfe\x37"
    try:
        for start, size in enumerate(_SIZES):
            payload = memoryview(masked)[start : start + size]
            expected = unmask_in_python(payload, key)
            for given in (payload, bytes(payload), bytearray(payload)):
                found = candidate(given, key if size & 1 else bytearray(key))
                if type(found) is not bytes or found != expected:
                    return False
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def choose(candidate: Unmask | None) -> Unmask:
    """The candidate if there is one and it `agrees`, else `unmask_in_python`."""
    return unmask_in_python if candidate is None or not agrees(candidate) else candidate


#: The function that unmasks in this process.
unmask: Final = choose(unmask_in_c())

#: Whether `unmask` is the function in C.
ACCELERATED: Final = unmask is not unmask_in_python
