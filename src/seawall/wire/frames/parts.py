"""A message that does not come at once, as it is held until its last part has come."""

from __future__ import annotations

from io import BytesIO
from typing import Final, TypeAlias, final

from seawall.wire.frames.text import decode, unfinished

#: Bytes from which on a part of a text is held decoded, if it is ASCII. A str takes 50 bytes more than its text, so of
#: smaller ones a message would take much more memory than what has come.
DECODED_FROM: Final = 1024


@final
class BinaryParts:
    """The parts of a binary message. A BytesIO, unlike a bytearray, returns bytes without a copy."""

    __slots__ = ("_payload",)

    def __init__(self) -> None:
        """Begin with nothing."""
        self._payload = BytesIO()

    def add(self, part: bytes | bytearray, /) -> None:
        """Hold a part, of which more will come."""
        self._payload.write(part)

    def join(self, last: bytes | bytearray, /) -> bytes:
        """The whole message, with its last part. Called once."""
        self._payload.write(last)
        return self._payload.getvalue()


@final
class TextParts:
    """The parts of a text, which are checked as they come.

    As long as they are ASCII and large, they are decoded as they come, while they are in the processor's cache: so an
    echo of 1 MiB takes a tenth less. Other text is held as bytes, and decoded at the end: in a str, one emoji makes
    every character take four bytes.
    """

    __slots__ = ("_cut", "_decoded", "_encoded")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._decoded: list[str] = []
        self._encoded: BytesIO | None = None  # all of it, once a part is small or not ASCII
        self._cut: bytes | bytearray = b""  # the incomplete character at its end

    def add(self, part: bytes | bytearray, /) -> None:
        """Hold a part, of which more will come.

        Raises:
          ProtocolViolation: 1007, whatever comes, it cannot become valid UTF-8.
        """
        if self._encoded is None:
            if len(part) >= DECODED_FROM:
                try:
                    self._decoded.append(str(part, "ascii"))
                except UnicodeDecodeError:
                    pass
                else:
                    return
            self._encoded = BytesIO()
            self._encoded.writelines(text.encode() for text in self._decoded)
            self._decoded.clear()
        self._encoded.write(part)
        self._cut = unfinished(self._cut + part if self._cut else part)

    def join(self, last: bytes | bytearray, /) -> str:
        """The whole text, with its last part. Called once.

        Raises:
          ProtocolViolation: 1007, it is not UTF-8.
        """
        if self._encoded is None:
            self._decoded.append(decode(last))
            return "".join(self._decoded)
        self._encoded.write(last)
        return decode(self._encoded.getvalue())


#: The payload so far of one message.
Parts: TypeAlias = TextParts | BinaryParts
