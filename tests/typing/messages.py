"""Typed messages as applications write them: mypy and pyright know the value of what is decoded, with no flag set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Generic, Optional, TypeVar, assert_never, assert_type  # pyright: ignore[reportDeprecated]  # Optional is still written

import msgspec
from attrs import Attribute, field, frozen
from attrs.validators import ge, max_len

from seawall import (
    JSON,
    Codec,
    Connection,
    Fields,
    Invalid,
    InvalidMessage,
    MessagePack,
    Sendable,
    email,
    normalised_email,
    tag,
)
from seawall.messages.codec import Rename, UnknownFields
from seawall.messages.decoder import Control, EventDecoder, MessageDecoder, Ref, answer_decoder_for, decoder_for
from seawall.messages.encoder import MessageEncoder
from seawall.messages.schema import schema_of

T = TypeVar("T")


@tag("say.v2")
@frozen
class Say:
    """An attrs class with validators."""

    text: str = field(validator=max_len(10))
    n: int = field(default=0, validator=ge(0))
    to: str | None = field(default=None, converter=normalised_email)
    sender: str = field(default="", validator=email())


@dataclass
class Left:
    """A dataclass."""

    room: str


class Moved(msgspec.Struct):
    """A Struct."""

    x: int


@frozen
class Page(Generic[T]):
    """A generic class."""

    items: list[T]


def shorter(instance: Say, attribute: Attribute[str], value: str) -> None:
    """A validator of an application's."""
    raise Invalid("from must not be after to", field="n")


codec: Codec = JSON(rename="camel", unknown_fields="ignore")
packed: Codec = MessagePack()


class CBOR:
    """A codec of an application's."""

    binary: bool = True
    rename: Rename | None = None
    unknown_fields: UnknownFields = "refuse"

    def decoder(self, kind: object, /) -> Callable[[str | bytes], object]:
        """Decode."""
        raise NotImplementedError

    def encoder(self) -> Callable[[object], bytes]:
        """Encode."""
        raise NotImplementedError


own: Codec = CBOR()

assert_type(Say("hi").text, str)  # `tag` keeps the class
assert_type(decoder_for(codec, Say, where=""), MessageDecoder[Say])
assert_type(decoder_for(codec, Say | Left, where=""), MessageDecoder[Say | Left])
assert_type(decoder_for(codec, Say | Left | Moved, where="").decode("").__class__, type[Say | Left | Moved])
assert_type(decoder_for(codec, list[Say], where=""), MessageDecoder[list[Say]])
assert_type(decoder_for(codec, Page[Say], where=""), MessageDecoder[Page[Say]])
assert_type(decoder_for(codec, Say | None, where=""), MessageDecoder[Say | None])
assert_type(decoder_for(codec, Optional[Say], where=""), MessageDecoder[Say | None])  # noqa: UP045 - it is still written  # pyright: ignore[reportDeprecated]  # as above
assert_type(decoder_for(codec, Annotated[int, "x"], where=""), MessageDecoder[int])
assert_type(answer_decoder_for(codec, Say, where="").decode(b""), Say)

Either = Say | Left
assert_type(decoder_for(codec, Either, where=""), MessageDecoder[Say | Left])

wider: MessageDecoder[Say | Left] = decoder_for(codec, Say, where="")  # a decoder of one is one of more

events = EventDecoder(codec, (Say, Left | Moved, bytes), where="")
assert_type(events.decode(""), tuple[object, Ref | None])

encoder = MessageEncoder(codec)
assert_type(encoder.encode(Say("hi")), bytes)
encoder.encode(Left("a"), re=1)
encoder.encode(Moved(1), re="a")
encoder.encode(Page([1]))
fields: Fields = Say("hi")
sendable: list[Sendable] = ["a", b"b", Say("hi"), Left("a"), Moved(1)]
schema_of(codec, Say | Left, where="")


async def handler(conn: Connection[object]) -> None:
    """Matching is exhaustive."""
    assert_type(await conn.receive_as(Say), Say)
    async for message in conn.messages(Say | Left | Moved):
        match message:
            case Say(text):
                assert_type(text, str)
            case Left(room):
                assert_type(room, str)
            case Moved(x):
                assert_type(x, int)
            case _:
                assert_never(message)
    for value in sendable:
        await conn.send(value)


def controls(received: tuple[object, Ref | None]) -> Ref | None:
    """What is no event is told by identity."""
    value, ref = received
    if value is Control.CANCEL or value is Control.ANSWER:
        assert_type(value, Control)
    return ref


def refused(invalid: InvalidMessage) -> str:
    """What an error says."""
    assert_type(invalid.ref, int | str | None)
    return f"{invalid.path} {invalid.detail} {invalid.code}"
