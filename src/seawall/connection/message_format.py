"""`MessageFormat`: how the typed messages of one route are written."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final, TypeVar, cast, final

from seawall.messages.codec import Codec, Sendable
from seawall.messages.decoder import MessageDecoder, Ref, decoder_for
from seawall.messages.encoder import ErrorFrame, MessageEncoder
from seawall.messages.forms import class_of
from seawall.wire.frames.encoder import Frame, encode_binary, encode_text

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")

#: Types whose decoder is kept; a program that makes types without end has to wait for theirs.
_MOST: Final = 256

#: Types of messages that are the same as long as they are the same object. A subclass might not be.
_IMMUTABLE: Final = (str, bytes)

#: Bytes of the longest frame that is kept until the next message is sent to many: a longer one is sent for much longer
#: than it is made.
_KEPT: Final = 64 * 1024


@final
class MessageFormat:
    """The codec of one route, and what has been made for it."""

    def __init__(self, codec: Codec, route: str) -> None:
        """Begin with nothing made. `route` is for the texts of errors."""
        self.codec = codec
        """Of the route, or of the app."""
        self.framed = encode_binary if codec.binary else encode_text
        """The frame of what the codec has encoded."""
        self.encoder = MessageEncoder(codec)
        """For what is sent."""
        self.is_limited = False
        """Whether it sends values of some classes only."""
        self._answers = self.encoder
        self._route = route
        self._decoders: dict[object, MessageDecoder[object]] = {}
        self._repeated = object()  # what `frame_for_many` has encoded last; nobody sends this one
        self._repeated_frame: Frame = b""

    def sending(self, kinds: Collection[object], *, where: str) -> MessageFormat:
        """The same format for who sends values of these classes and of no others; answers may be any.

        Raises:
          ConfigurationError: as `MessageEncoder.check`, for `where`.
        """
        limited = MessageFormat(self.codec, self._route)
        limited.encoder = MessageEncoder(self.codec, only=frozenset(map(class_of, kinds)))
        limited.is_limited = True
        limited._answers = self.encoder
        for kind in kinds:
            limited.encoder.check(kind, where=where)
        return limited

    def decoder(self, kind: TypeForm[T]) -> MessageDecoder[T]:
        """What decodes messages of a type. Raises `ConfigurationError` if there can be none of it."""
        try:
            found = self._decoders.get(kind)
            is_kept = found is None and len(self._decoders) < _MOST
        except TypeError:  # what stands in an Annotated may not be hashed
            found, is_kept = None, False
        if found is None:
            found = decoder_for(self.codec, kind, where=f"route {self._route}")
            if is_kept:
                self._decoders[kind] = found
        return cast("MessageDecoder[T]", found)

    def frame(self, message: Sendable) -> Frame:
        """The frame of a message.

        Raises:
          TypeError, ValueError, ConfigurationError: as `MessageEncoder.encode`.
        """
        if isinstance(message, str):
            return encode_text(message.encode())
        if isinstance(message, bytes):
            return encode_binary(message)
        return self.framed(self.encoder.encode(message))

    def frame_for_many(self, message: Sendable) -> Frame:
        """As `frame`, for who sends one object to many connections: the frame of a text or of bytes is made once.

        Raises as `frame`.
        """
        if message is self._repeated:
            return self._repeated_frame
        frame = self.frame(message)
        if type(message) in _IMMUTABLE and len(frame) <= _KEPT:
            self._repeated, self._repeated_frame = message, frame
        return frame

    def answer(self, value: Sendable, *, re: Ref | None = None) -> Frame:
        """The frame of an answer. `str` and `bytes` are sent as they are, without a `re`.

        Raises:
          TypeError, ValueError, ConfigurationError: as `MessageEncoder.encode`.
        """
        if isinstance(value, str | bytes):
            return self.frame(value)
        if isinstance(value, ErrorFrame):
            return self.framed(self._answers.error(value, re=re))
        return self.framed(self._answers.encode(value, re=re))
