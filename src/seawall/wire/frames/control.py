"""`Control`: a control frame, and its encoding for trio-websocket."""

from __future__ import annotations

import struct
from typing import Final, final

from attrs import define

from seawall.errors import ProtocolViolation
from seawall.wire.frames.codes import PROTOCOL_ERROR, Opcode, sendable_code
from seawall.wire.frames.text import decode

#: The largest payload of a control frame, in bytes (RFC 6455, section 5.5); a close reason has two fewer.
MAX_CONTROL: Final = 125

_CODE: Final = struct.Struct("!H")
_BAD_GATEWAY: Final = _CODE.pack(1014)


@final
@define
class Control:
    """A Close, Ping or Pong frame that has been checked: at most 125 bytes of payload, and that of a Close is valid."""

    opcode: Opcode
    """`Opcode.CLOSE`, `Opcode.PING` or `Opcode.PONG`."""

    payload: bytes
    """The payload, unmasked."""

    @property
    def code(self) -> int:
        """The code of a Close frame; 1005, which is never sent, if it has none (RFC 6455, section 7.1.5)."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005

    @property
    def reason(self) -> str:
        """The reason of a Close frame; often empty."""
        return self.payload[2:].decode()

    @property
    def is_unknown_below(self) -> bool:
        """Whether it is a Close with 1014 (bad gateway), which IANA has registered, but wsproto does not know."""
        return self.payload.startswith(_BAD_GATEWAY) and self.opcode is Opcode.CLOSE

    def masked(self) -> bytes:
        """The frame as a client would send it, with a mask of zeros, for wsproto to read.

        A Close with 1014 becomes one with 1011, because wsproto would treat it as a violation; see `restored`.
        """
        payload = _CODE.pack(1011) + self.payload[2:] if self.is_unknown_below else self.payload
        return bytes((0x80 | self.opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def restored(answer: bytes) -> bytes:
    """The answer to a Close with 1014, of which wsproto believes that it had 1011."""
    return answer[:2] + _BAD_GATEWAY + answer[4:] if answer[2:4] == _CODE.pack(1011) else answer


def check_close(payload: bytes) -> None:
    """Raise for a code that must not be sent and a reason that is not UTF-8 (RFC 6455, sections 5.5.1 and 7.4)."""
    if payload and not sendable_code(int.from_bytes(payload[:2], "big")):
        raise ProtocolViolation(PROTOCOL_ERROR, "invalid close code")
    decode(payload[2:])
