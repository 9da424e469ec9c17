"""The ways to break RFC 6455: sections 5.2 to 5.6, 7.4 and 8.1, clause by clause, and our own limits."""

from __future__ import annotations

from typing import Final

from seawall import Limits
from tests.kit.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame

#: So that a violation of a size needs no megabytes.
SMALL: Final = Limits(max_message_size=100, max_fragments=20, wind_down=0.1)

OPCODES: Final = {
    "a continuation": CONTINUATION,
    "a text": TEXT,
    "a binary": BINARY,
    "a Close": CLOSE,
    "a Ping": PING,
    "a Pong": PONG,
}

#: The start of a text, for what can only go wrong later.
BEGUN: Final = frame(TEXT, b"begun", fin=False)

KOSME: Final = "κόσμε".encode()

#: RFC 6455, section 5.2.
HEADERS: Final = {
    **{
        f"reserved bit {4 - bit.bit_length()} in {name}": frame(opcode, rsv=bit)
        for bit in (4, 2, 1)
        for name, opcode in OPCODES.items()
    },
    "all reserved bits": frame(TEXT, b"x", rsv=7),
    "a reserved bit in a continuation": BEGUN + frame(CONTINUATION, rsv=4),
    **{f"opcode {opcode}": frame(opcode, b"x") for opcode in (*range(3, 8), *range(11, 16))},
    "an unknown opcode in a message": BEGUN + frame(5, b"x"),
    **{f"{name} that is not masked": frame(opcode, b"", mask=None) for name, opcode in OPCODES.items()},
    "a continuation in the middle that is not masked": BEGUN + frame(CONTINUATION, b"x", mask=None),
    "a length of 125 in 16 bits": b"\x81\xfe\x00\x7d" + bytes(4),
    "a length of 0 in 16 bits": b"\x82\xfe\x00\x00" + bytes(4),
    "a length of 65535 in 64 bits": b"\x82\xff" + (65535).to_bytes(8, "big"),
    "a length of 1 in 64 bits": b"\x81\xff" + (1).to_bytes(8, "big"),
    "a length of 0 in 64 bits": b"\x81\xff" + bytes(8) + bytes(4),
    "a length with the highest bit": b"\x82\xff\x80" + bytes(7),
    "the longest length": b"\x82\xff" + b"\xff" * 8,
}

#: RFC 6455, sections 5.4 and 5.5.
ORDER: Final = {
    "nothing to continue": frame(CONTINUATION, b"x"),
    "the end of nothing": frame(CONTINUATION, b"x", fin=False),
    "nothing to continue any more": BEGUN + frame(CONTINUATION) + frame(CONTINUATION, b"x"),
    "a text in a text": BEGUN + frame(TEXT, b"y"),
    "a binary in a text": BEGUN + frame(BINARY, b"y"),
    "a beginning in a beginning": BEGUN + BEGUN,
    "a text after a Ping in a text": BEGUN + frame(PING) + frame(TEXT, b"y"),
    **{f"{name} in pieces": frame(OPCODES[name], fin=False) for name in ("a Close", "a Ping", "a Pong")},
    "a Ping in pieces in a message": BEGUN + frame(PING, b"x", fin=False),
    **{f"{name} of 126 bytes": frame(OPCODES[name], bytes(126)) for name in ("a Close", "a Ping", "a Pong")},
    "a Ping of 65536 bytes": frame(PING, bytes(65536)),
    "a long Ping, by its header alone": b"\x89\xfe",
    "half a close code": frame(CLOSE, b"\x03"),
}

#: RFC 6455, section 7.4, and the registry of IANA.
NEVER_SENT: Final = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 65535)
CODES: Final = {f"close code {code}": close_frame(code) for code in NEVER_SENT}
ALLOWED: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999)

#: RFC 6455, sections 5.5.1 and 8.1.
TEXTS: Final = {
    "a byte that never is": frame(TEXT, b"\xff"),
    "a continuation byte alone": frame(TEXT, b"\x80"),
    "a character that is not finished": frame(TEXT, KOSME[:3]),
    "a character that is not finished, in pieces": frame(TEXT, KOSME[:3], fin=False) + frame(CONTINUATION),
    "an overlong slash": frame(TEXT, b"\xc0\xaf"),
    "an overlong NUL in three bytes": frame(TEXT, b"\xe0\x80\x80"),
    "an overlong NUL in four bytes": frame(TEXT, b"\xf0\x80\x80\x80"),
    "a surrogate": frame(TEXT, b"\xed\xa0\x80"),
    "a pair of surrogates": frame(TEXT, b"\xed\xa0\xbd\xed\xb8\x80"),
    "beyond the last character": frame(TEXT, b"\xf4\x90\x80\x80"),
    "a character of five bytes": frame(TEXT, b"\xf8\x88\x80\x80\x80"),
    "a character of six bytes": frame(TEXT, b"\xfc\x84\x80\x80\x80\x80"),
    "a character cut by a Ping": frame(TEXT, KOSME[:3], fin=False) + frame(PING) + frame(CONTINUATION, b"x"),
    # None of these is finished, and none of them needs to be.
    "bad text in a message that goes on": frame(TEXT, b"good \xf5", fin=False),
    "bad text in a later piece": BEGUN + frame(CONTINUATION, b"\xed\xa0", fin=False),
    "bad text in a frame that goes on": frame(TEXT, b"\xc0" + bytes(90))[:50],
    "a close reason that is not text": close_frame(1000, b"\xff"),
    "a close reason that is not finished": close_frame(1000, KOSME[:3]),
}

#: Ours: `Limits.max_message_size` and `Limits.max_fragments`.
SIZES: Final = {
    "more bytes than characters": frame(TEXT, "é".encode() * 51),
    "one byte too many": frame(BINARY, bytes(101)),
    "too much, by the header alone": b"\x82\xff" + (1 << 62).to_bytes(8, "big"),
    "too much, by half of the header": b"\x82\xfe\x01",
    "too much, in pieces": frame(BINARY, bytes(60), fin=False) + frame(CONTINUATION, bytes(60)),
    "too much, by the header of a piece": frame(BINARY, bytes(60), fin=False) + frame(CONTINUATION, bytes(60))[:6],
    "too many empty pieces": frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 20,
    "too many pieces with Pings between": frame(TEXT, fin=False) + (frame(PONG) + frame(CONTINUATION, fin=False)) * 20,
}

#: One of each kind, for where it would take too long to break every rule.
KINDS: Final = (
    "a reserved bit in a continuation",
    "opcode 3",
    "a text that is not masked",
    "a length of 125 in 16 bits",
    "a length with the highest bit",
    "nothing to continue",
    "a text in a text",
    "a Ping of 126 bytes",
    "half a close code",
    "close code 1005",
    "a byte that never is",
    "one byte too many",
)

VIOLATIONS: Final = {
    **{name: (broken, 1002) for name, broken in (HEADERS | ORDER | CODES).items()},
    **{name: (broken, 1007) for name, broken in TEXTS.items()},
    **{name: (broken, 1009) for name, broken in SIZES.items()},
}
