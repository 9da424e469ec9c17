"""Frames of messages that go to many connections: made once, and never an old one."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import msgspec
import pytest

from seawall import JSON
from seawall.connection.message_format import MessageFormat
from seawall.messages.codec import Rename, UnknownFields
from seawall.wire.frames.encoder import encode_message


def made() -> MessageFormat:
    """What writes the messages of a route."""
    return MessageFormat(JSON(), "/x")


@attrs.define
class Score:
    """A value that can change."""

    points: int


@attrs.frozen
class Said:
    """A value of any length."""

    text: str


@attrs.frozen
class Refilling:
    """A codec that fills one buffer again and again."""

    buffer: bytearray
    binary: bool = False
    rename: Rename | None = None
    unknown_fields: UnknownFields = "refuse"

    def decoder(self, kind: object, /) -> Callable[[str | bytes], object]:
        """As JSON."""
        return JSON().decoder(kind)

    def encoder(self) -> Callable[[object], bytes]:
        """Fill the buffer."""

        def encode(value: object) -> bytes:
            msgspec.json.Encoder().encode_into(value, self.buffer)
            return self.buffer  # type: ignore[return-value]  # pyright: ignore[reportReturnType] # not all checkers refuse it

        return encode


class Name(str):
    """Text that is more than text."""

    __slots__ = ()


@pytest.mark.parametrize("message", ["a text for everybody", "x" * 300, b"\x00\xff" * 70, "", "…"])
def test_one_object_is_encoded_once(message: str | bytes) -> None:
    """The same text or bytes, sent to many, have one frame, and it is that of `frame`."""
    form = made()
    first = form.frame_for_many(message)
    assert first == form.frame(message) == encode_message(message)
    assert form.frame_for_many(message) is first


def test_another_message_has_another_frame() -> None:
    """What is kept is of one message only, and a text is not the bytes that it becomes."""
    form = made()
    for message in ("one", "two", b"two", "one", Name("two"), Name("one")):
        assert form.frame_for_many(message) == encode_message(message)


def test_a_value_is_encoded_each_time() -> None:
    """A value that has changed between two subscribers is sent as it is then."""
    form, score = made(), Score(1)
    first = form.frame_for_many(score)
    score.points = 2
    assert form.frame_for_many(score) == form.frame(score) != first


def test_what_is_no_message_is_refused_first() -> None:
    """Before anything has been sent there is no frame for what is no message at all."""
    with pytest.raises(TypeError):
        made().frame_for_many(None)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # as no checker allows


def test_a_long_frame_is_not_kept() -> None:
    """A route does not hold a message of any size until the next one is sent."""
    form, message = made(), "x" * 70_000
    assert form.frame_for_many(message) is not form.frame_for_many(message)


@pytest.mark.parametrize("size", [1, 100, 1000, 70_000, 600_000])
def test_a_frame_is_as_it_was_made(size: int) -> None:
    """What a codec does with its buffer afterwards changes no frame, which may have to wait."""
    form = MessageFormat(Refilling(bytearray()), "/x")
    first = form.frame(Said("a" * size))
    before = bytes(first)
    form.frame(Said("b" * size))
    assert bytes(first) == before
