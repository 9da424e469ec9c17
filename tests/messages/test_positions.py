"""A `Position` in a message is text; what is none is refused with its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, NewType, cast

import attrs
import msgspec
import pytest
from attrs import define, frozen

from seawall import JSON, ConfigurationError, InvalidMessage, MessagePack
from seawall.messages.codec import Codec
from seawall.messages.decoder import decoder_for
from seawall.messages.encoder import MessageEncoder
from seawall.messages.schema import schema_of
from seawall.position import Position
from seawall.room_event import Gap, RoomEvent

Seen = NewType("Seen", Position)
AT = Position("a1B2", 7)
SEEN = Seen(AT)
CODECS: tuple[Codec, ...] = (JSON(), MessagePack())


class Last(NamedTuple):
    """What was read last in a room."""

    room: str
    at: Position


@define
class Join:
    """Comes back to rooms."""

    since: Position | None = None
    seen: Seen = SEEN
    all: list[Position] = attrs.field(factory=list[Position])
    by_room: dict[str, Position] = attrs.field(factory=dict[str, Position])
    last: tuple[Last, ...] = ()


@frozen
class Missed:
    """A message with what a room says."""

    gap: Gap


def packed(codec: Codec, value: object) -> str | bytes:
    """A message as a client sends it."""
    return msgspec.msgpack.encode(value) if codec.binary else msgspec.json.encode(value).decode()


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_a_position_is_text(codec: Codec) -> None:
    """On the wire, wherever it stands; and a position again where it is received."""
    join = Join(AT, SEEN, [AT], {"x": AT}, (Last("x", AT),))
    payload = MessageEncoder(codec).encode(join)
    plain: object = msgspec.msgpack.decode(payload) if codec.binary else msgspec.json.decode(payload)
    text = "a1B2-7"
    assert plain == {
        "type": "join",
        "since": text,
        "seen": text,
        "all": [text],
        "by_room": {"x": text},
        "last": [["x", text]],
    }
    assert decoder_for(codec, Join, where="here").decode(packed(codec, plain)) == join
    assert decoder_for(codec, Join, where="here").decode(packed(codec, {"type": "join"})) == Join()
    assert decoder_for(codec, Position, where="here").decode(packed(codec, text)) == AT


@pytest.mark.parametrize("codec", CODECS, ids=repr)
@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"since": "garbage"}, "$.since"),
        ({"since": ""}, "$.since"),
        ({"seen": "a1B2-07"}, "$.seen"),
        ({"all": ["a1B2-7", "a1B2-"]}, "$.all[1]"),
        ({"by_room": {"x": "-7"}}, "$.by_room[...]"),
        ({"last": [["x", "a1B2-7\n"]]}, "$.last[0][1]"),
    ],
)
def test_garbage_is_an_invalid_message(codec: Codec, given: dict[str, object], path: str) -> None:
    """With its place, and not with what it was."""
    with pytest.raises(InvalidMessage) as caught:
        decoder_for(codec, Join, where="here").decode(packed(codec, {"type": "join", **given}))
    assert (caught.value.path, caught.value.detail) == (path, "expected a position")
    assert caught.value.__context__ is None


def test_a_position_is_no_number() -> None:
    """Another type than text is refused as everywhere."""
    with pytest.raises(InvalidMessage, match=r"\$\.since: expected text or null, got an integer"):
        decoder_for(JSON(), Join, where="here").decode('{"type":"join","since":7}')


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (Position | str, "a union of two texts, which look the same in a message"),
        (Position | Literal["joined"], "a union of two texts, which look the same in a message"),
        (Position | bytes, "Type unions may not contain more than one str-like"),
    ],
)
def test_positions_and_other_text(kind: object, problem: str) -> None:
    """Cannot be told apart, as no two kinds of text can."""
    made: type[object] = attrs.make_class("Made", {"value": attrs.field(type=cast("type[object]", kind))})
    with pytest.raises(ConfigurationError, match=f"Made.value.*{problem}"):
        decoder_for(JSON(), made, where="here")


def test_what_is_sent_in_place_of_a_position() -> None:
    """Anything else would be text, and no position: that is a mistake of the program."""
    for wrong in ("a1B2-7", 7, None):
        join = Join(seen=cast("Seen", wrong))
        with pytest.raises(TypeError, match=rf"a {type(wrong).__name__} is sent where Position is declared"):
            MessageEncoder(JSON()).encode(join)


def test_a_position_is_no_message() -> None:
    """It has fields, but is a part of messages: `str` makes a message of it."""
    with pytest.raises(TypeError, match="a Position was to be sent; send text, bytes, or an instance"):
        MessageEncoder(JSON()).encode(AT)


def test_a_gap_is_a_message() -> None:
    """So is a class of the application's with one in it; an event is generic, and needs such a class."""
    encode: Callable[[object], bytes] = cast("Callable[[object], bytes]", MessageEncoder(JSON()).encode)
    assert encode(Gap(AT, 3)) == b'{"type":"gap","before":"a1B2-7","lost":3}'
    assert encode(Missed(Gap(AT, None))) == b'{"type":"missed","gap":{"before":"a1B2-7","lost":null}}'
    with pytest.raises(ConfigurationError, match="RoomEvent is generic"):
        encode(RoomEvent(7, AT))


def test_what_the_schema_says() -> None:
    """Text of a form, which has no meaning for clients."""
    assert schema_of(JSON(), Position, where="here") == {
        "type": "string",
        "pattern": "^([A-Za-z0-9]{1,24})-(0|[1-9][0-9]{0,18})$",
    }
