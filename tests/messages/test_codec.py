"""Codecs: what they are made with, and one that an application has written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, final, get_args

import msgspec
import pytest
from attrs import frozen

from seawall import JSON, ConfigurationError, InvalidMessage, MessagePack
from seawall.messages.codec import Codec, Fields, Rename, Sendable, UnknownFields, check_codec, spelled
from seawall.messages.decoder import Control, EventDecoder, decoder_for
from seawall.messages.encoder import MessageEncoder
from tests.kit.messages import Circle, Say, Shapes, Square, Tree


@final
@frozen
class YAML:
    """A codec of an application's, for a format that msgspec reads into plain values only."""

    binary: bool = False
    rename: Rename | None = "camel"
    unknown_fields: UnknownFields = "refuse"

    def decoder(self, kind: object, /) -> Callable[[str | bytes], object]:
        """By way of plain values; the stand-in for a library is JSON, which is YAML."""

        def decode(message: str | bytes) -> object:
            made: object = msgspec.convert(msgspec.json.decode(message), kind)
            return made

        return decode

    def encoder(self) -> Callable[[object], bytes]:
        """As above."""
        return lambda value: msgspec.json.encode(msgspec.to_builtins(value))


def test_a_codec_of_an_application() -> None:
    """Tags, classes, paths and refs are the same in every format."""
    codec: Codec = YAML()
    check_codec(codec, where="here")
    events = EventDecoder(codec, (Say, Shapes, Tree), where="here")
    encoder = MessageEncoder(codec)
    value = Shapes(Circle(1.5), [Square(2.0)], {"a": None})
    assert events.decode(encoder.encode(value).decode()) == (value, None)
    assert events.decode('{"type":"cancel","ref":1}') == (Control.CANCEL, 1)
    assert b'"byName":{"a":null}' in encoder.encode(value)
    with pytest.raises(InvalidMessage, match=r"\$\.several\[0\]\.radius: expected a number, got text") as refusal:
        events.decode(
            '{"type":"shapes","ref":2,"one":{"type":"circle","radius":1},"several":[{"type":"circle","radius":""}]}'
        )
    assert refusal.value.ref == 2
    with pytest.raises(InvalidMessage, match=r"\$: malformed"):
        decoder_for(codec, Say, where="here").decode("{")


def test_a_codec_that_breaks() -> None:
    """Whatever it raises, the peer has sent nothing that is a message."""

    class Broken:
        binary = False
        rename: Rename | None = None
        unknown_fields: UnknownFields = "refuse"

        def decoder(self, kind: object, /) -> Callable[[str | bytes], object]:
            def decode(message: str | bytes) -> object:
                raise LookupError(message)

            return decode

        def encoder(self) -> Callable[[object], bytes]:
            raise LookupError

    with pytest.raises(InvalidMessage, match=r"\$: malformed"):
        decoder_for(Broken(), Say, where="here").decode("secret")


@pytest.mark.parametrize("codec", [JSON, MessagePack])
def test_what_a_codec_cannot_be_made_with(codec: Callable[..., object]) -> None:  # type: ignore[explicit-any]  # to be called wrongly
    """A typo is found where it is written."""
    with pytest.raises(ConfigurationError, match=r"rename='snake'\): give one of None, 'camel', 'pascal', 'kebab'"):
        codec(rename="snake")
    with pytest.raises(ConfigurationError, match=r"unknown_fields=True\): give one of 'refuse', 'ignore'"):
        codec(unknown_fields=True)


@pytest.mark.parametrize(
    ("name", "rename", "said"),
    [
        ("room_id", None, "room_id"),
        ("room_id", "camel", "roomId"),
        ("room_id", "pascal", "RoomId"),
        ("room_id", "kebab", "room-id"),
        ("x", "camel", "x"),
        ("_", "camel", "_"),
        ("roomId", "camel", "roomId"),
    ],
)
def test_names(name: str, rename: Literal["camel", "pascal", "kebab"] | None, said: str) -> None:
    """Words are told apart by underscores."""
    assert spelled(name, rename) == said


def test_what_can_be_sent_is_a_type_at_run_time() -> None:
    """Annotations that are evaluated may join it to others: what a `wrap` returns is ``Sendable | None``."""
    assert get_args(Sendable | None) == (str, bytes, Fields, type(None))
