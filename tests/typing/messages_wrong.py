"""Typed messages that are wrong, one a line: each is an error for mypy and for pyright, or this file fails the check."""

from __future__ import annotations

from typing import NamedTuple, assert_never

from seawall import JSON, Codec, Connection, Fields, Invalid, MessagePack, tag
from seawall.messages.decoder import EventDecoder, MessageDecoder, decoder_for
from seawall.messages.encoder import MessageEncoder
from tests.typing.messages import Left, Moved, Say

codec: Codec = JSON()
encoder = MessageEncoder(codec)


class Row(NamedTuple):
    """A tuple."""

    a: int


async def later() -> Say:
    """A value that has to be awaited."""
    return Say("hi")


# What no codec is made with.
JSON("camel")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by keyword
JSON(rename="snake")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is no spelling
JSON(unknown_fields=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is a word
MessagePack(binary=False)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # it always is
codec.binary = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # it is a value
no_codec: Codec = Say("hi")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # it decodes nothing

# What is no type.
decoder_for(codec, 5, where="")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number
decoder_for(codec, Say("hi"), where="")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an instance
decoder_for(codec, [Say, Left], where="")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a list of types
decoder_for(codec, Say)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # where?

# What is decoded is what was asked for.
narrow: MessageDecoder[Say] = decoder_for(codec, Say | Left, where="")  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]  # it may be Left
left: Left = decoder_for(codec, Say, where="").decode("")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # it is Say
decoder_for(codec, Say, where="").decode(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number is no message
decoder_for(codec, Say, where="").decode("").room  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # Say has none
EventDecoder(codec, Say, where="")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # several, in a tuple

# What cannot be sent.
encoder.encode("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # text is sent as it is
encoder.encode(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number
encoder.encode(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nothing
encoder.encode([Say("hi")])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a list
encoder.encode({"type": "say"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a dict
encoder.encode(later())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a coroutine
encoder.encode(Say("hi"), re=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no ref
encoder.encode(Say("hi"), 7)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by keyword
fields: Fields = 5  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # it has none
Invalid(field="n")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # without a text
Invalid("text", "n")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # by keyword
tag(Say)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # without a name


async def handler(conn: Connection[object]) -> None:
    """A match that is not exhaustive, and what is sent by mistake."""
    async for message in conn.messages(Say | Left | Moved):
        match message:
            case Say():
                pass
            case Left():
                pass
            case _:
                assert_never(message)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # Moved is missing
    await conn.send(later())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # nobody has awaited it
    await conn.send(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a number
    conn.messages(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no type
