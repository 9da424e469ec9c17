"""The messages of events: values with a ref, cancels and answers."""

from __future__ import annotations

import msgspec
import pytest

from seawall import JSON, InvalidMessage, MessagePack
from seawall.messages.codec import Codec
from seawall.messages.decoder import Control, EventDecoder
from tests.kit.messages import Circle, Point, RoomLeft, Say, Square


def events(*kinds: object, codec: Codec | None = None) -> EventDecoder:
    """A decoder, as `Events` makes it."""
    return EventDecoder(codec or JSON(), kinds or (Say, Circle | Square), where="events")


@pytest.mark.parametrize(
    ("text", "received"),
    [
        ('{"type":"circle","radius":1}', (Circle(1.0), None)),
        ('{"type":"circle","radius":1,"ref":0}', (Circle(1.0), 0)),
        ('{"type":"square","ref":9007199254740991,"side":1}', (Square(1.0), 2**53 - 1)),
        ('{"type":"circle","radius":1,"ref":"a"}', (Circle(1.0), "a")),
        ('{"type":"circle","radius":1,"ref":"' + "é" * 32 + '"}', (Circle(1.0), "é" * 32)),
        ('{"type":"cancel","ref":2}', (Control.CANCEL, 2)),
        ('{"type":"cancel","ref":"b"}', (Control.CANCEL, "b")),
        ('{"type":"answer","re":1,"a":"yes"}', (Control.ANSWER, 1)),
        ('{"type":"circle","re":"x","radius":1}', (Control.ANSWER, "x")),
        ('{"type":"circle","re":3,"anything":[1]}', (Control.ANSWER, 3)),
    ],
)
def test_what_is_received(text: str, received: tuple[object, object]) -> None:
    """The value of one of the classes and its ref, or what is about another event."""
    assert events().decode(text) == received
    assert events(codec=JSON(unknown_fields="ignore")).decode(text) == received


@pytest.mark.parametrize(
    ("text", "code", "path", "ref"),
    [
        ('{"type":"nope","ref":4}', "unknown_type", "$.type", 4),
        ('{"ref":4}', "invalid_message", "$.type", 4),
        ('{"type":"say","ref":5,"room":"a","text":"xxxxxxxxxxx"}', "invalid_message", "$.text", 5),
        ('{"type":"say","room":"a","text":"x","ref":-1}', "invalid_message", "$.ref", None),
        ('{"type":"say","room":"a","text":"x","ref":1.5}', "invalid_message", "$.ref", None),
        ('{"type":"say","room":"a","text":"x","ref":"' + "é" * 33 + '"}', "invalid_message", "$.ref", None),
        ('{"type":"cancel","ref":"' + "é" * 33 + '"}', "invalid_message", "$.ref", None),
        ('{"type":"cancel"}', "invalid_message", "$.ref", None),
        ('{"type":"cancel","ref":1,"why":2}', "invalid_message", "$", 1),
        ('{"type":"answer","re":-1,"ref":3}', "invalid_message", "$.re", 3),
        ("[]", "invalid_message", "$", None),
        ("{", "invalid_message", "$", None),
    ],
)
def test_what_is_refused(text: str, code: str, path: str, ref: object) -> None:
    """With the ref by which the refusal can be answered, if it can be one."""
    with pytest.raises(InvalidMessage) as refusal:
        events().decode(text)
    assert (refusal.value.code, refusal.value.path, refusal.value.ref) == (code, path, ref)


def test_raw_messages() -> None:
    """Frames of the other kind go to whoever takes them, as they are."""
    assert events(bytes, Say).decode(b"\xff") == (b"\xff", None)
    assert events(str, Say, codec=MessagePack()).decode("x") == ("x", None)
    with pytest.raises(InvalidMessage, match="expected a text message"):
        events(Say).decode(b"\xff")


def test_messagepack() -> None:
    """The envelope is the same in every codec."""
    packed = msgspec.msgpack.encode({"type": "circle", "ref": 2, "radius": 1.5})
    assert events(codec=MessagePack()).decode(packed) == (Circle(1.5), 2)


def test_one_class_alone() -> None:
    """Its messages bring their type all the same."""
    assert events(RoomLeft).decode('{"type":"room_left","room_id":"a"}') == (RoomLeft("a"), None)
    with pytest.raises(InvalidMessage, match=r"\$\.type: missing"):
        events(RoomLeft).decode('{"room_id":"a"}')


def test_no_class_at_all() -> None:
    """Cancels and answers are known all the same."""
    assert EventDecoder(JSON(), (), where="events").decode('{"type":"cancel","ref":1}') == (Control.CANCEL, 1)


def test_a_nested_value_may_have_a_ref() -> None:
    """Only the message itself has an envelope."""
    assert Point(1, 2).type == "cartesian"
