"""`Deflate`: how the messages of an app or a route are compressed (RFC 7692)."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypeGuard, final

from attrs import Attribute, field, frozen

from seawall.errors import ConfigurationError

# The range of each number that zlib is given. The RFC knows windows of 8 bits too, but with them zlib cannot deflate a
# stream without a header: it refuses, and older releases took 9 in silence, which is more than was agreed.
_RANGES = {
    "level": range(1, 10),
    "memory_level": range(1, 10),
    "server_max_window_bits": range(9, 16),
    "client_max_window_bits": range(9, 16),
}


def _in_range(instance: object, attribute: Attribute[int], value: object) -> None:
    allowed = _RANGES[attribute.name]
    if not _is_int(value) or value not in allowed:
        raise ConfigurationError(
            f"Deflate.{attribute.name} is {value!r}; give a whole number from {allowed[0]} to {allowed[-1]}"
        )


def _not_negative(instance: object, attribute: Attribute[int], value: object) -> None:
    if not _is_int(value) or value < 0:
        raise ConfigurationError(f"Deflate.{attribute.name} is {value!r}; give a size in bytes, or 0 for every message")


def _is_bool(instance: object, attribute: Attribute[bool], value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"Deflate.{attribute.name} is {value!r}; give True or False")


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


@final
@frozen(kw_only=True)
class Deflate:
    """Compress messages with permessage-deflate (RFC 7692), where the client offers it.

    It saves bytes and costs time and memory. On the machine where it was measured a message of 75 bytes of JSON takes
    2.4 µs to deflate, to a fifth of its size where one message resembles another, and 0.9 µs to inflate; 1 MiB of JSON
    takes 18 ms and 3 ms, in which nothing else runs. Once both directions have been used, a connection holds:

    ===================================  =========  =========  =======
    bytes                                deflating  inflating     both
    ===================================  =========  =========  =======
    with these defaults                     39,000     11,600   50,600
    ... if the client sets no window        39,000     40,300   79,300
    with every number at its largest       400,000     40,300  440,000
    ===================================  =========  =========  =======

    That is zlib's formula, 2 ** (bits + 2) + 2 ** (memory_level + 9) and 2 ** bits, plus 6,200 and 7,500. A connection
    without a compressed message holds nothing of it, and a direction without context takeover nothing in between.
    Firefox offers no ``client_max_window_bits``: its messages may need the largest window.

    Of a message that comes in, no more is inflated than ``Limits.max_message_size``.

    Do not compress a secret together with text that an attacker chooses: the length tells what they have in common
    (CRIME, CVE-2012-4929). ``server_context_takeover=False`` keeps messages apart, but not the parts of one.

    Raises:
      ConfigurationError: a value is outside its range.
    """

    level: int = field(default=6, validator=_in_range)
    """How hard to try, 1 (fast) to 9 (small). zlib's default, as in websockets; of small messages it matters little."""

    memory_level: int = field(default=5, validator=_in_range)
    """zlib's ``memLevel``, 1 to 9: deflating takes 2 ** (9 + level) bytes for it. 5 as in websockets: 16 KiB."""

    server_max_window_bits: int = field(default=12, validator=_in_range)
    """How far back what we send may refer, 9 to 15: deflating takes 2 ** (2 + bits) bytes. 12 as in websockets."""

    client_max_window_bits: int = field(default=12, validator=_in_range)
    """The same for what a client sends, if it lets us choose: inflating takes 2 ** bits bytes. 12 as in websockets."""

    server_context_takeover: bool = field(default=True, validator=_is_bool)
    """Whether what we send may refer to earlier messages. Without it, small messages hardly shrink at all."""

    client_context_takeover: bool = field(default=True, validator=_is_bool)
    """Whether what a client sends may refer to earlier messages; without, our inflater needs no memory in between."""

    threshold: int = field(default=64, validator=_not_negative)
    """Bytes from which a message is compressed. Below, the headers of TCP and IP outweigh what could be saved.

    Without context takeover it pays from some hundred bytes; ws for Node takes 1,024 then."""


#: The compression of a route: a `Deflate` of its own, False for none, None for that of router or app.
RouteCompression: TypeAlias = Deflate | Literal[False] | None


def check_compression(value: object, *, where: str) -> None:
    """Refuse a `value` that is no `RouteCompression`, such as True, which does not say how to compress.

    Raises:
      ConfigurationError: it is neither a `Deflate` nor False nor None.
    """
    if not (value is None or value is False or isinstance(value, Deflate)):
        raise ConfigurationError(f"{where}: compression={value!r} is no compression; give Deflate(), or leave it out")
