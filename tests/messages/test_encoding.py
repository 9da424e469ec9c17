"""Values become messages that their own decoder reads back."""

from __future__ import annotations

import datetime as dt
import decimal
import gc
import json
import math
import weakref
from typing import NamedTuple, cast

import msgspec
import pytest
from attrs import define, field, frozen

from seawall import JSON, InvalidMessage, MessagePack
from seawall.messages.codec import Fields
from seawall.messages.encoder import MAX_CLASSES, MAX_ERROR, ErrorFrame, MessageEncoder
from seawall.policy.answers import answer_invalid
from tests.kit.messages import Circle, Move, Moved, Page, Place, Point, RoomLeft, Say, Search, Shapes, Square, Tree


def encoded(value: Fields, codec: JSON | None = None, re: int | str | None = None) -> object:
    """The message of a value."""
    made: object = json.loads(MessageEncoder(codec or JSON()).encode(value, re=re))
    return made


EXPECTED: list[tuple[Fields, object]] = [
    (Say("a", "hi"), {"type": "say", "room": "a", "text": "hi", "n": 1}),
    (RoomLeft("a"), {"type": "room_left", "room_id": "a", "last_message": None}),
    (
        Search({"limit": 1, "near": Place("a", Point(1, 2))}, {"a_b": 3, "c": Point(1, 2)}, {}),
        {
            "type": "search",
            "options": {"limit": 1, "near": ["a", {"x": 1, "y": 2, "type": "cartesian"}]},
            "fixed": {"a_b": 3, "c": {"x": 1, "y": 2, "type": "cartesian"}},
            "places": {},
        },
    ),
    (
        Shapes(Circle(1), [Square(2.0)], {"a": None}),
        {
            "type": "shapes",
            "one": {"type": "circle", "radius": 1},
            "several": [{"type": "square", "side": 2.0, "kind": "filled"}],
            "by_name": {"a": None},
        },
    ),
    (
        Move(to=Point(1, 2), via=[Point(3, 4, "polar")]),
        {
            "type": "move",
            "to": {"x": 1, "y": 2, "type": "cartesian"},
            "speed": 1.0,
            "via": [{"x": 3, "y": 4, "type": "polar"}],
        },
    ),
    (
        Moved(Point(1, 2)),
        {"type": "moved", "at": {"x": 1, "y": 2, "type": "cartesian"}, "by": "nobody", "tags": []},
    ),
    (
        Tree("a", [Tree("b")]),
        {
            "type": "tree",
            "name": "a",
            "children": [{"name": "b", "children": [], "parent": None}],
            "parent": None,
        },
    ),
]


@pytest.mark.parametrize(("value", "message"), EXPECTED)
def test_the_message_of_a_value(value: Fields, message: object) -> None:
    """A tag for the message and the members of unions, all fields, and the names of the parameters."""
    assert encoded(value) == message


def test_names_are_spelled_as_the_codec_says() -> None:
    """The fields are renamed, the type is not."""
    assert encoded(RoomLeft("a"), JSON(rename="camel")) == {"type": "room_left", "roomId": "a", "lastMessage": None}


def test_an_answer_carries_re() -> None:
    """Right behind the type."""
    assert MessageEncoder(JSON()).encode(Circle(1.5), re=7) == b'{"type":"circle","re":7,"radius":1.5}'
    assert encoded(Circle(1.5), re="a") == {"type": "circle", "re": "a", "radius": 1.5}
    assert encoded(Circle(1.5), re=0) == {"type": "circle", "re": 0, "radius": 1.5}


def test_what_ends_an_answer() -> None:
    """A value of nobody's."""
    encoder = MessageEncoder(JSON())
    assert encoder.done(7) == b'{"type":"done","re":7}'
    assert encoder.end("a") == b'{"type":"end","re":"a"}'
    assert encoder.error(ErrorFrame(code="cancelled"), re=2) == b'{"type":"error","re":2,"code":"cancelled"}'
    assert encoder.error(ErrorFrame(code="too_many_requests", retry_after=2)) == (
        b'{"type":"error","code":"too_many_requests","retry_after":2}'
    )


def test_an_error_says_where() -> None:
    """With the ref of the message that failed."""
    encoder = MessageEncoder(JSON())
    invalid = InvalidMessage("$.text", "expected at most 10 characters", ref=5)
    assert json.loads(encoder.error(answer_invalid(invalid), re=invalid.ref)) == {
        "type": "error",
        "re": 5,
        "code": "invalid_message",
        "path": "$.text",
        "detail": "expected at most 10 characters",
    }
    assert "re" not in json.loads(encoder.error(answer_invalid(invalid)))


@pytest.mark.parametrize("character", ["x", "\x00", "é", "\U0001f600", '"'])
def test_an_error_is_short(character: str) -> None:
    """512 bytes, whatever the ref, the path and the validator's text are made of."""
    ref = character * (64 // len(character.encode()))
    invalid = InvalidMessage("$" + character * 1000, character * 1000, ref=ref)
    frame = MessageEncoder(JSON()).error(answer_invalid(invalid), re=ref)
    assert len(frame) <= MAX_ERROR
    assert json.loads(frame)["re"] == ref


@frozen
class Numbers:
    """Where numbers can hide."""

    number: float = 0.0
    price: decimal.Decimal = decimal.Decimal(0)
    maybe: float | None = None
    many: list[float] = field(factory=list[float])
    table: dict[str, decimal.Decimal] = field(factory=dict[str, decimal.Decimal])
    row: tuple[float, int] = (0.0, 0)
    anything: object = None


@pytest.mark.parametrize("codec", [JSON(), MessagePack()])
@pytest.mark.parametrize(
    "value",
    [
        Numbers(number=math.nan),
        Numbers(number=-math.inf),
        Numbers(price=decimal.Decimal("NaN")),
        Numbers(price=decimal.Decimal("sNaN")),
        Numbers(price=decimal.Decimal("-Infinity")),
        Numbers(maybe=math.inf),
        Numbers(many=[1, math.nan]),
        Numbers(table={"a": decimal.Decimal("inf")}),
        Numbers(row=(math.nan, 1)),
        Numbers(anything={"a": [math.nan]}),
        Numbers(anything=object()),
        Numbers(anything={1: 2}),
    ],
)
def test_numbers_that_are_none(codec: JSON | MessagePack, value: Numbers) -> None:
    """NaN and infinity are refused, wherever they are; msgspec would send null."""
    with pytest.raises(
        ValueError, match=r"which no message can carry|where only what JSON can say|a key that is no text"
    ):
        MessageEncoder(codec).encode(value)


def test_numbers_that_are_some() -> None:
    """Large ones, whole ones and those of other types stay."""
    value = Numbers(1e308, decimal.Decimal("1.50"), 10**30, anything=[1, 2.5, "a", None, True])
    assert encoded(value) == {
        "type": "numbers",
        "number": 1e308,
        "price": "1.50",
        "maybe": 10**30,
        "many": [],
        "table": {},
        "row": [0.0, 0],
        "anything": [1, 2.5, "a", None, True],
    }


class Row(NamedTuple):
    """No class of fields, although it has ``__match_args__``."""

    a: int


async def forgotten() -> Circle:
    """What has to be awaited."""
    return Circle(1)


def test_what_cannot_be_sent() -> None:
    """A type checker finds these; at run time they are a TypeError with the remedy."""
    encoder = MessageEncoder(JSON())
    coroutine = forgotten()
    for value, said in (
        (coroutine, "write `await`"),
        (Circle, "make an instance of it"),
        (Row(1), "make it an attrs class"),
        (7, "a int was to be sent"),
        ({"a": 1}, "a dict was to be sent"),
    ):
        with pytest.raises(TypeError, match=said):
            encoder.encode(value)  # type: ignore[arg-type]  # that is the point  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match=said):
            encoder.encode(value, re=1)  # type: ignore[arg-type]  # as above  # pyright: ignore[reportArgumentType]
    coroutine.close()


@frozen
class Disc(Circle):
    """A class that is derived from a member of a union."""

    colour: str = "red"


def test_a_derived_class_in_a_union() -> None:
    """It is sent as the member that is declared, and as itself if it is the message."""
    assert encoded(Shapes(Disc(1.5)))["one"] == {"type": "circle", "radius": 1.5}  # type: ignore[index]  # an object  # pyright: ignore[reportIndexIssue]
    assert encoded(Disc(1.5)) == {"type": "disc", "radius": 1.5, "colour": "red"}


def test_a_stranger_in_a_union() -> None:
    """What is none of the members is not sent without its type."""
    with pytest.raises(TypeError, match="a Point is sent where Circle or Square is declared"):
        MessageEncoder(JSON()).encode(Shapes(Point(1, 2)))  # type: ignore[arg-type]  # that is the point  # pyright: ignore[reportArgumentType]


@define
class Private:
    """What msgspec by itself would drop, send or misspell."""

    _hidden: int
    spelled: int = field(alias="other")
    computed: int = field(init=False, default=3)
    from_: str = "x"


def test_what_msgspec_would_lose() -> None:
    """The fields of a message are the parameters of the class."""
    assert encoded(Private(1, 2)) == {"type": "private", "hidden": 1, "other": 2, "from": "x"}
    assert msgspec.json.decode(msgspec.json.encode(Private(1, 2))) != encoded(Private(1, 2))


def cents(value: str) -> int:
    """From text to a number."""
    return int(value)


@frozen
class Converted:
    """A field that is sent as what it is."""

    n: int = field(converter=cents)
    names: Page[int] | None = None


def test_a_converted_field_is_sent_as_its_type() -> None:
    """The converter is for what arrives."""
    assert encoded(Converted("5", Page([1]))) == {
        "type": "converted",
        "n": 5,
        "names": {"items": [1], "following": None},
    }


def test_classes_without_end() -> None:
    """A handler may make a class in each call: only so many are remembered, and the generic ones that were declared."""
    encoder = MessageEncoder(JSON())
    encoder.check(Page[int], where="the test")
    made: list[weakref.ref[type]] = []

    def send() -> None:
        @frozen
        class Local:
            n: int

        for re in (None, 3):
            assert json.loads(encoder.encode(Local(1), re=re))["type"] == "local"
        made.append(weakref.ref(Local))

    for _ in range(MAX_CLASSES + 10):
        send()
    gc.collect()
    assert made[0]() is None
    assert sum(one() is not None for one in made) <= MAX_CLASSES
    encoder.check(Page[int], where="the test")
    assert json.loads(encoder.encode(Page([1]))) == {"type": "page", "items": [1], "following": None}
    assert json.loads(encoder.encode(Page([1]), re=1)) == {"type": "page", "re": 1, "items": [1], "following": None}
    assert encoder.encode(RoomLeft("a")) == MessageEncoder(JSON()).encode(RoomLeft("a"))


@frozen
class Anything:
    """Whatever JSON can say."""

    o: object


@frozen
class Dated:
    """A moment, and a number."""

    at: dt.datetime
    n: int = 0


def test_what_contains_itself_is_refused() -> None:
    """It has no end, and everybody would wait for it."""
    endless: list[object] = []
    endless.append({"k": endless})
    tree = Tree("a")
    tree.children.append(tree)
    for codec in (JSON(), MessagePack()):
        for value in (Anything(endless), tree):
            for re in (None, 1):
                with pytest.raises(ValueError, match="a value is nested too deeply, or contains itself"):
                    MessageEncoder(codec).encode(value, re=re)
        with pytest.raises(ValueError, match="nested too deeply"):
            MessageEncoder(codec).ask(tree, 1)


def test_what_stands_twice_is_sent_twice() -> None:
    """It does not contain itself."""
    once = [1]
    assert encoded(Anything([once, once])) == {"type": "anything", "o": [[1], [1]]}
    with pytest.raises(ValueError, match="NaN"):
        MessageEncoder(JSON()).encode(Anything([once, once, math.nan]))


@pytest.mark.parametrize(
    "value",
    [
        Dated(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 2**70),
        Dated(dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=14)))),
    ],
    ids=["number", "date"],
)
@pytest.mark.parametrize("re", [None, 1])
def test_what_message_pack_cannot_say(value: Dated, re: int | None) -> None:
    """JSON can."""
    with pytest.raises(ValueError, match="a number or a date is out of the range of the format"):
        MessageEncoder(MessagePack()).encode(value, re=re)
    assert MessageEncoder(JSON()).encode(value, re=re)


@pytest.mark.parametrize("value", ["text", b"bytes"])
def test_text_is_no_message(value: str | bytes) -> None:
    """An answer has to be a value, and the error does not say that text would do."""
    with pytest.raises(TypeError, match=r"was to be sent as a message; make it a field of one, or `conn.send` it"):
        MessageEncoder(JSON()).encode(cast("Fields", value), re=1)
