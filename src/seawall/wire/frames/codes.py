"""The numbers of RFC 6455: opcodes (section 5.2) and close codes (section 7.4)."""

from __future__ import annotations

import enum
from typing import Final

#: The framing is wrong.
PROTOCOL_ERROR: Final = 1002

#: A payload is not of the type that it claims: text that is not UTF-8, or corrupt compressed data.
INVALID_DATA: Final = 1007

#: A message exceeds a limit.
TOO_BIG: Final = 1009

# The codes that a Close frame may carry: section 7.4, and the IANA registry (1012 to 1014). 1004 to 1006 and 1015 must
# not be sent, 1016 to 2999 are unassigned, and no code lies outside 1000 to 4999.
_SENDABLE: Final = frozenset([*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)])


class Opcode(enum.IntEnum):
    """The kinds of frame that RFC 6455, section 5.2, defines."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


def sendable_code(code: object) -> bool:
    """Whether an endpoint may put `code` into a Close frame, and so may receive it."""
    return isinstance(code, int) and code in _SENDABLE  # 1000.0 is in the set too
