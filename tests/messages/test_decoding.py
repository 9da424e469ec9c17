"""Messages become values of the classes that an application has written, by those classes' own rules."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import decimal
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, NewType, Self, TypeVar, cast

import attrs
import msgspec
import pytest
from attrs import define, field, frozen
from attrs.validators import ge, in_, not_

from seawall import JSON, Invalid, InvalidMessage, MessagePack, tag
from seawall.messages.codec import Codec
from seawall.messages.decoder import MessageDecoder, answer_decoder_for, decoder_for
from seawall.messages.encoder import MessageEncoder
from seawall.messages.problems import Problem, of_msgspec
from tests.kit.messages import (
    Circle,
    Level,
    Move,
    Moved,
    Options,
    Page,
    Place,
    Point,
    RoomLeft,
    Say,
    Search,
    Shapes,
    Square,
    Tree,
)

T = TypeVar("T")


def decoder(kind: object, codec: Codec | None = None) -> MessageDecoder[object]:
    """A decoder, as a route makes it."""
    made: MessageDecoder[object] = decoder_for(codec or JSON(), cast("type[object]", kind), where="here")
    return made


def decoded(kind: object, text: str, codec: Codec | None = None) -> object:
    """The value of one message."""
    return decoder(kind, codec).decode(text)


def refused(kind: object, text: str, codec: Codec | None = None) -> tuple[str, str]:
    """Where and why a message is refused."""
    with pytest.raises(InvalidMessage) as refusal:
        decoder(kind, codec).decode(text)
    return refusal.value.path, refusal.value.detail


def test_an_attrs_class() -> None:
    """A message of the class's type is an instance of it."""
    assert decoded(Say, '{"type":"say","room":"a","text":"hi","n":3}') == Say("a", "hi", 3)
    assert decoded(Say, '{"n":3,"text":"hi","room":"a","type":"say"}') == Say("a", "hi", 3)


def test_a_message_brings_its_type() -> None:
    """Even where only one class is expected: a message is the same whoever reads it."""
    assert refused(RoomLeft, '{"room_id":"a"}') == ("$.type", "missing")
    assert refused(RoomLeft, '{"type":7,"room_id":"a"}') == ("$.type", "expected a type that is known")
    with pytest.raises(InvalidMessage) as refusal:
        decoded(RoomLeft, '{"type":"say","room_id":"a"}')
    assert refusal.value.code == "unknown_type"
    assert refusal.value.path == "$.type"


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        (JSON(), '{"type":"room_left","room_id":"a","last_message":"b"}'),
        (JSON(rename="camel"), '{"type":"room_left","roomId":"a","lastMessage":"b"}'),
        (JSON(rename="pascal"), '{"type":"room_left","RoomId":"a","LastMessage":"b"}'),
        (JSON(rename="kebab"), '{"type":"room_left","room-id":"a","last-message":"b"}'),
    ],
)
def test_names_are_spelled_as_the_codec_says(codec: JSON, text: str) -> None:
    """The fields are renamed, the type is not."""
    assert decoded(RoomLeft, text, codec) == RoomLeft("a", "b")


def test_unknown_fields() -> None:
    """They are refused unless the codec ignores them."""
    text = '{"type":"room_left","room_id":"a","newer":1}'
    assert refused(RoomLeft, text) == ("$", "a field that is not known")
    assert decoded(RoomLeft, text, JSON(unknown_fields="ignore")) == RoomLeft("a")


def test_a_union_is_told_apart_by_type() -> None:
    """Each class of a union is a message of its own."""
    assert decoded(Say | RoomLeft, '{"type":"room_left","room_id":"a"}') == RoomLeft("a")
    assert decoded(Say | RoomLeft, '{"type":"say","room":"a","text":"hi"}') == Say("a", "hi")
    assert decoded(Say | None, "null") is None


def test_members_of_unions_are_tagged_and_others_are_not() -> None:
    """A nested value that is in no union brings no type, and may have a field named so."""
    text = '{"type":"shapes","one":{"type":"circle","radius":1},"several":[{"type":"square","side":2,"kind":"open"}]}'
    assert decoded(Shapes, text) == Shapes(Circle(1.0), [Square(2.0, "open")])
    assert refused(Shapes, '{"type":"shapes","one":{"radius":1}}') == ("$.one.type", "missing")
    assert refused(Shapes, '{"type":"shapes","one":{"type":"x"}}') == ("$.one.type", "expected a type that is known")
    assert decoded(Move, '{"type":"move","to":{"x":1,"y":2,"type":"polar"}}') == Move(to=Point(1, 2, "polar"))


def test_a_type_in_a_union_that_is_unknown_is_no_unknown_message() -> None:
    """The code says whether the message itself is of a type that is not expected."""
    with pytest.raises(InvalidMessage) as refusal:
        decoded(Shapes, '{"type":"shapes","one":{"type":"x"}}')
    assert refusal.value.code == "invalid_message"


def test_dataclasses_and_structs() -> None:
    """They follow the same rules, and may contain each other."""
    assert decoded(Move, '{"type":"move","to":{"x":1,"y":2},"via":[{"x":3,"y":4}]}') == Move(
        to=Point(1, 2), via=[Point(3, 4)]
    )
    assert decoded(Moved, '{"type":"moved","at":{"x":1,"y":2}}') == Moved(Point(1, 2))
    assert refused(Moved, '{"type":"moved","at":{"x":1,"y":2},"by":"123456789"}') == (
        "$.by",
        "expected at most 8 characters",
    )
    assert refused(Move, '{"type":"move","to":{"x":1,"y":2,"z":3}}') == ("$.to", "a field that is not known")


def test_a_class_that_contains_itself() -> None:
    """To any depth, with the path of what is wrong."""
    assert decoded(Tree, '{"type":"tree","name":"a","children":[{"name":"b"}]}') == Tree("a", [Tree("b")])
    text = '{"type":"tree","name":"a","children":[{"name":"b"},{"name":"b","parent":{"name":"123456789"}}]}'
    assert refused(Tree, text) == ("$.children[1].parent.name", "expected at most 8 characters")


def test_named_tuples_and_typed_dicts() -> None:
    """An array of all fields, and an object of which the keys are known; a key that may be absent stays so."""
    text = '{"type":"search","options":{"limit":1,"near":["a",{"x":1,"y":2}],"more":[{"limit":2}]},"fixed":{"a_b":3}}'
    near = Place("a", Point(1, 2))
    value = decoded(Search, text)
    assert value == Search({"limit": 1, "near": near, "more": [{"limit": 2}]}, {"a_b": 3})
    assert isinstance(value, Search)
    assert isinstance(value.options.get("near"), Place)
    assert decoded(Search, text.replace("a_b", "aB"), JSON(rename="camel")) == value
    assert refused(Search, text.replace('"limit":2', '"limit":"2"')) == (
        "$.options.more[0].limit",
        "expected an integer, got text",
    )
    assert refused(Search, text.replace('{"a_b":3}', "{}")) == ("$.fixed.a_b", "missing")
    assert refused(Search, text.replace('"x":1', '"x":1,"z":1'))[0] == "$.options.near[1]"
    assert refused(Search, text.replace('"limit":2', '"limit":2,"z":1'))[1] == "a field that is not known"


def test_generic_classes() -> None:
    """The parameters are filled in, those of bases too."""
    assert decoded(Page[Point], '{"type":"page","items":[{"x":1,"y":2}]}') == Page([Point(1, 2)])
    assert decoded(Page[int], '{"type":"page","items":[1],"following":2}') == Page([1], 2)
    assert decoded(Numbers, '{"type":"numbers","items":[1],"name":"a"}') == Numbers([1], None, "a")
    assert refused(Numbers, '{"type":"numbers","items":["a"],"name":"a"}')[0] == "$.items[0]"


@frozen
class Numbers(Page[int]):
    """A class whose base is generic."""

    name: str = ""


def to_cents(value: str) -> int:
    """A converter from another type."""
    return int(decimal.Decimal(value) * 100)


def with_step(value: int, instance: object) -> int:
    """A converter that looks at what has been set before."""
    if value > 99:
        raise Invalid("too many")
    return value + int(getattr(instance, "cents", 0))


@frozen
class Order:
    """A converter of each kind."""

    cents: int = field(converter=to_cents, validator=ge(0))
    piped: int | None = field(converter=attrs.converters.optional(to_cents), default=None)


#: Converters that type checkers do not follow.
CHAINED = attrs.make_class(
    "Chained",
    {
        "cents": field(type=int, converter=attrs.converters.pipe(to_cents, float)),
        "step": field(type=int, converter=attrs.Converter(with_step, takes_self=True), default=1),
    },
)


def test_a_converter_says_what_arrives() -> None:
    """The type in the message is that of the converter's parameter, and its value is what the class makes of it."""
    assert decoded(Order, '{"type":"order","cents":"1.50","piped":"2"}') == Order("1.50", "2")
    assert decoded(CHAINED, '{"type":"chained","cents":"1","step":5}') == CHAINED("1", 5)
    assert refused(CHAINED, '{"type":"chained","cents":"1","step":100}') == ("$.step", "too many")
    assert refused(CHAINED, '{"type":"chained","cents":1.0}') == ("$.cents", "expected text, got a number")
    assert refused(Order, '{"type":"order","cents":1}') == ("$.cents", "expected text, got an integer")
    assert refused(Order, '{"type":"order","cents":"-1"}') == ("$.cents", "refused by its validator")
    assert refused(Order, '{"type":"order","cents":"x"}') == ("$.cents", "refused by its validator")


def after_private(instance: object) -> int:
    """A default that needs the instance."""
    return int(getattr(instance, "_private", 0)) + 1


@define
class Secretive:
    """Aliases, private names, what is not set by the message, and defaults of each kind."""

    _private: int
    spelled: int = field(alias="other")
    from_: str = "x"
    made: list[int] = field(factory=list[int])
    twice: int = field(init=False)
    after: int = field(default=attrs.Factory(after_private, takes_self=True))

    def __attrs_post_init__(self) -> None:
        self.twice = 2 * self._private


def test_aliases_defaults_and_what_the_message_may_not_set() -> None:
    """The names of the parameters are those in the message; a keyword loses its underscore."""
    value = decoded(Secretive, '{"type":"secretive","private":1,"other":2,"from":"y"}')
    assert value == Secretive(1, 2, "y")
    assert isinstance(value, Secretive)
    assert (value.twice, value.after, value.made) == (2, 2, [])
    assert refused(Secretive, '{"type":"secretive","private":1,"other":2,"twice":5}')[1] == "a field that is not known"
    other = decoded(Secretive, '{"type":"secretive","private":1,"other":2}')
    assert isinstance(other, Secretive)
    assert other.made is not value.made


def after_start(instance: Between, attribute: attrs.Attribute[int], value: int) -> None:
    """A validator that looks at another field."""
    if value < instance.start:
        raise Invalid("end must not be before start")


@frozen
class Between:
    """Validators over two fields."""

    start: int
    end: int = field(validator=after_start)
    step: int = 1

    def __attrs_post_init__(self) -> None:
        if self.step > self.end - self.start:
            raise Invalid("step must fit between start and end", field="step")
        if self.step == 7:
            raise Invalid("no sevens")


def test_validators_over_several_fields_name_the_field() -> None:
    """A validator of a field is about that field, and `Invalid` may name another."""
    assert refused(Between, '{"type":"between","start":2,"end":1}') == ("$.end", "end must not be before start")
    assert refused(Between, '{"type":"between","start":2,"end":3,"step":5}') == (
        "$.step",
        "step must fit between start and end",
    )
    assert refused(Between, '{"type":"between","start":2,"end":30,"step":7}') == ("$", "no sevens")
    nested = '{"type":"page","items":[{"start":2,"end":3,"step":5}]}'
    assert refused(Page[Between], nested)[0] == "$.items[0].step"


@dataclasses.dataclass
class Checked:
    """A dataclass with a check of its own."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise Invalid("end must not be before start", field="end")
        if self.end == 13:
            raise ValueError("secret 13")


def test_a_dataclass_may_check_itself() -> None:
    """In ``__post_init__``, by the same exception."""
    assert refused(Checked, '{"type":"checked","start":2,"end":1}') == ("$.end", "end must not be before start")
    assert refused(Checked, '{"type":"checked","start":2,"end":13}') == ("$", "refused by its validator")


@define
class Open:
    """An ``__init__`` that takes anything by name."""

    a: int
    b: int = 2

    def __init__(self, **fields: int) -> None:
        self.a, self.b = fields["a"], fields.get("b", 3)


@define
class Extra:
    """An ``__init__`` that takes more than the fields, and needs nothing more."""

    a: int
    b: int

    def __init__(self, a: int, extra: int = 5, b: int = 1, *more: int) -> None:
        self.a, self.b = a + extra, b


@dataclasses.dataclass
class Counted:
    """A field that the message does not set."""

    a: int
    seen: int = dataclasses.field(init=False, default=0)


@frozen
class Several:
    """Unions with what is no class."""

    at: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None
    local: Annotated[dt.datetime, msgspec.Meta(tz=False)] | None = None
    rows: list[Circle] | None = None
    table: dict[str, Circle] | int | None = None
    row: tuple[Circle, int] | None = None
    places: Place | None = None
    limited: Annotated[list[Circle], msgspec.Meta(max_length=2)] | None = None
    options: Options | None = None
    days: dict[dt.date, int] = field(factory=dict[dt.date, int])
    sets: tuple[set[int | str], frozenset[Annotated[int, msgspec.Meta(ge=1)]]] = (set(), frozenset())
    inner: Annotated[list[Circle] | int, "of mine"] | None = None
    either: int | str = field(default=0, validator=not_(in_([13])))


def test_unions_with_what_is_no_class() -> None:
    """Told apart by what they are in JSON; and sent again as they were."""
    entries = {
        "at": "2026-01-01T00:00:00Z",
        "local": "2026-01-01T00:00:00",
        "rows": [{"radius": 1.0}],
        "table": {"a": {"radius": 2.0}},
        "row": [{"radius": 3.0}, 1],
        "places": ["a", {"x": 1, "y": 2, "type": "cartesian"}],
        "limited": [{"radius": 4.0}],
        "options": {"limit": 1},
        "sets": [[1], [2]],
        "inner": [{"radius": 5.0}],
        "days": {"2026-01-01": 1},
        "either": "a",
    }
    message = {"type": "several"} | entries
    value = decoded(Several, json.dumps(message))
    assert isinstance(value, Several)
    assert (value.rows, value.row, value.limited) == ([Circle(1.0)], (Circle(3.0), 1), [Circle(4.0)])
    assert json.loads(MessageEncoder(JSON()).encode(value)) == message
    assert json.loads(MessageEncoder(JSON()).encode(Several(table=5)))["table"] == 5
    wrongs: list[tuple[str, object, str, str]] = [
        ("at", "2026-01-01T00:00:00", "$.at", "expected a time zone"),
        ("local", "2026-01-01T00:00:00Z", "$.local", "expected no time zone"),
        ("either", 13, "$.either", "refused by its validator"),
        ("limited", [entries["row"]], "$.limited[0]", "expected an object, got an array"),
        ("places", ["a", {}], "$.places[1].x", "missing"),
        ("sets", [[1], [0]], "$.sets[1][0]", "expected at least 1"),
        ("row", [], "$.row", "expected 2 items"),
    ]
    for name, wrong, path, detail in wrongs:
        assert refused(Several, json.dumps(message | {name: wrong})) == (path, detail)


@define
class OwnInit:
    """A class with an ``__init__`` of its own."""

    a: int
    b: int = 5
    c: list[int] = field(factory=list[int])

    def __init__(self, a: int, *, b: int = 6, c: list[int] | None = None) -> None:
        self.a, self.b, self.c = a, b, [1] if c is None else c


def test_an_init_of_its_own_is_called() -> None:
    """With what the message brings, and the defaults of the fields."""
    assert decoded(OwnInit, '{"type":"own_init","a":1,"b":2}') == OwnInit(1, b=2, c=[])
    assert decoded(Open, '{"type":"open","a":1}') == Open(a=1, b=2)
    assert decoded(Extra, '{"type":"extra","a":1,"b":2}') == Extra(1, b=2)
    assert decoded(Counted, '{"type":"counted","a":1}') == Counted(1)


UserId = NewType("UserId", int)


@frozen
class Plainly:
    """Types that stand for others."""

    user: UserId
    many: Sequence[int]
    table: Mapping[str, Sequence[Point]]
    limited: Annotated[int, msgspec.Meta(ge=3)]
    anything: object = None


def test_types_that_stand_for_others() -> None:
    """``NewType``, abstract collections, ``Annotated``, and `object` for any value."""
    text = (
        '{"type":"plainly","user":1,"many":[1],"table":{"a":[{"x":1,"y":2}]},"limited":3,"anything":{"a":[1.5,null]}}'
    )
    assert decoded(Plainly, text) == Plainly(UserId(1), [1], {"a": [Point(1, 2)]}, 3, {"a": [1.5, None]})
    assert refused(Plainly, text.replace('"limited":3', '"limited":2')) == ("$.limited", "expected at least 3")
    assert refused(Plainly, text.replace('"x":1', '"x":"1"')) == (
        "$.table[...][0].x",
        "expected an integer, got text",
    )


@tag("chat.v2")
@frozen
class Tagged:
    """A class with a type of its own."""

    text: str = ""


@frozen
class Inherits(Tagged):
    """One that does not inherit it."""


class OwnTag(msgspec.Struct, tag="own", frozen=True):
    """A Struct that says it in its own way."""

    text: str = ""


@dataclasses.dataclass
class HTTPError2:
    """A name with several capitals in a row."""


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Tagged, "chat.v2"), (Inherits, "inherits"), (OwnTag, "own"), (HTTPError2, "http_error2"), (Say, "say")],
)
def test_types_of_classes(kind: type, name: str) -> None:
    """The name in snake_case, or what the class says."""
    brought = {"say": ',"room":"a","text":""'}.get(name, "")
    assert type(decoded(kind, f'{{"type":"{name}"{brought}}}')) is kind


def test_a_frame_of_the_other_kind() -> None:
    """JSON is text, MessagePack is binary."""
    with pytest.raises(InvalidMessage, match=r"\$: expected a text message"):
        decoder(Say).decode(b"{}")
    with pytest.raises(InvalidMessage, match=r"\$: expected a binary message"):
        decoder(Say, MessagePack()).decode("{}")


def test_the_ref_of_what_is_refused() -> None:
    """A message that brings a ref where there is none is refused, and the refusal can be answered."""
    with pytest.raises(InvalidMessage) as refusal:
        decoded(Circle, '{"type":"circle","radius":2,"ref":7}')
    assert refusal.value.ref == 7
    assert refusal.value.detail == "a field that is not known"


@pytest.mark.parametrize(
    "ref", ["-1", str(2**53), "1.0", "true", "null", "[]", '"' + "x" * 65 + '"', '"' + "é" * 33 + '"']
)
def test_a_ref_that_is_none(ref: str) -> None:
    """An integer from 0 to below 2^53, or text of at most 64 bytes."""
    with pytest.raises(InvalidMessage) as refusal:
        decoded(Circle, f'{{"type":"circle","ref":{ref}}}')
    assert refusal.value.ref is None


def test_plain_types() -> None:
    """What is no class brings no type."""
    assert decoded(list[int], "[1,2]") == [1, 2]
    assert decoded(dict[str, Circle], '{"a":{"radius":1}}') == {"a": Circle(1.0)}
    assert refused(list[Circle], '[{"radius":"1"}]') == ("$[0].radius", "expected a number, got text")
    assert decoded(int | None, "null") is None


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "malformed"),
        ("nul", "malformed"),
        ("{", "malformed"),
        ('{"type":"tree","name":"x"} x', "malformed"),
        ('{"type":"say","room":"\\ud800","text":""}', "malformed"),
        ('{"type":"say","room":"\ud800","text":""}', "malformed"),
        ('{"type":"tree","name":"a","parent":' + '{"name":"a","parent":' * 100_000, "nested too deeply"),
        ("[" * 1_000_000, "expected an object, got an array"),
        ("[]", "expected an object, got an array"),
    ],
)
def test_what_is_no_message(text: str, detail: str) -> None:
    """Nothing but InvalidMessage, at the root."""
    assert refused(Say | Tree, text) == ("$", detail)


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"\xc1", b"\x91" * 100_000, b"\x81\xa4type\xa3\xff\xff\xff", b"\x81\x91\x01\x02"]
)
def test_what_is_no_messagepack(payload: bytes) -> None:
    """Nothing but InvalidMessage."""
    with pytest.raises(InvalidMessage):
        decoder(Say | Tree, MessagePack()).decode(payload)
    with pytest.raises(InvalidMessage):
        decoder(dict[str, int], MessagePack()).decode(payload)


def test_numbers_that_are_none() -> None:
    """NaN and infinity, as Decimals too; and integers of 4,000 digits are numbers."""
    for text in ("NaN", "Infinity", "1e999", "-1e999"):
        assert refused(Circle, f'{{"type":"circle","radius":{text}}}')[1] in {
            "malformed",
            "expected a number within range",
        }
    for text in ("NaN", "sNaN", "Infinity", "-inf"):
        assert refused(list[decimal.Decimal], f'["{text}"]') == ("$[0]", "expected a finite number")
    assert decoded(list[int], f"[{'1' * 4000}]") == [int("1" * 4000)]
    assert refused(list[int], f"[{'1' * 5000}]") == ("$[0]", "expected a number within range")
    packed = msgspec.msgpack.encode({"type": "circle", "radius": float("nan")})
    with pytest.raises(InvalidMessage, match=r"\$\.radius: expected a finite number"):
        decoder(Circle, MessagePack()).decode(packed)
    with pytest.raises(InvalidMessage, match=r"\$\[\.\.\.\]: expected a finite number"):
        decoder(dict[str, float], MessagePack()).decode(msgspec.msgpack.encode({"a": float("inf")}))
    with pytest.raises(InvalidMessage):
        decoder(Plainly, MessagePack()).decode(
            msgspec.msgpack.encode(
                {"type": "plainly", "user": 1, "many": [], "table": {}, "limited": 3, "anything": [float("nan")]}
            )
        )


def test_the_last_of_duplicate_keys_counts() -> None:
    """As in every parser that a browser or Python has."""
    assert decoded(Circle, '{"type":"circle","radius":1,"radius":2}') == Circle(2.0)


def test_an_answer_carries_re() -> None:
    """An answer is decoded with the ``re`` by which it was found."""
    answers = answer_decoder_for(JSON(), Circle, where="here")
    assert answers.decode('{"type":"circle","re":1,"radius":2}') == Circle(2.0)
    with pytest.raises(InvalidMessage, match=r"\$\.re: missing"):
        answers.decode('{"type":"circle","radius":2}')


def test_decoders_are_made_once() -> None:
    """Equal codecs and types share one."""
    assert decoder(Say, JSON()) is decoder(Say, JSON())
    assert decoder(Say | Circle) is decoder(Circle | Say)
    assert decoder(Say, JSON()) is not decoder(Say, JSON(rename="camel"))


def test_an_unknown_field_of_a_message_that_is_cut_off() -> None:
    """Its name, which may look like a place, is in no answer, though it cannot be looked up."""
    whole = '{"type":"say","room":"a","text":"hi","n":3,"x` - at `$.secret":1}'
    assert refused(Say, whole) == ("$", "a field that is not known")
    assert refused(Say, whole[:-1]) == ("$", "malformed")


def test_what_another_msgspec_may_say() -> None:
    """Words that are not known are not repeated; the place is."""
    assert of_msgspec("Expect this `and` that - at `$.n[2]`") == Problem("$.n[2]", "not what is expected here")


def test_a_validator_that_changes_its_mind() -> None:
    """What is refused once stays refused, although nothing is found when it is asked again."""
    answers = iter([False, True, True, False, True, False])

    def fickle(instance: object, attribute: object, value: int) -> None:
        if not next(answers):
            raise ValueError(value)

    kind = attrs.make_class("Fickle", {"n": field(type=int, validator=fickle)})
    assert refused(kind, '{"type":"fickle","n":1}') == ("$", "refused by its validator")
    assert refused(kind, '{"type":"fickle","n":1}') == ("$", "refused by its validator")


def test_a_class_that_cannot_be_asked_twice() -> None:
    """Where no instance can be had without ``__init__``, the path is that of the value."""

    @define
    class Strange:
        n: int = field(validator=in_([1]))

        def __new__(cls, n: int) -> Self:
            return super().__new__(cls)

    assert decoded(Strange, '{"type":"strange","n":1}') == Strange(1)
    assert refused(Strange, '{"type":"strange","n":0}') == ("$", "refused by its validator")

    @define
    class Half:
        n: int = field(validator=in_([1]))
        unset: int = field(init=False, validator=ge(0))

    assert refused(Half, '{"type":"half","n":0}') == ("$.n", "refused by its validator")


class Ordered(msgspec.Struct):
    """A Struct with a check of its own, and a field that may be left out."""

    start: int
    end: int | msgspec.UnsetType = msgspec.UNSET
    step: int = msgspec.field(default=1, name="by")

    def __post_init__(self) -> None:
        if isinstance(self.end, int) and self.end < self.start:
            raise Invalid("end must not be before start", field="end")
        if self.step == 0:
            raise Invalid("not zero", field="nothing")


def test_a_struct_may_check_itself() -> None:
    """In ``__post_init__``; names that it gives to fields are the last word."""
    camel = JSON(rename="camel")
    assert decoded(Ordered, '{"type":"ordered","start":1}', camel) == Ordered(1)
    assert refused(Ordered, '{"type":"ordered","start":1,"end":0}') == ("$.end", "end must not be before start")
    assert refused(Ordered, '{"type":"ordered","start":1,"by":0}') == ("$", "not zero")
    assert refused(Ordered, '{"type":"ordered","start":1,"by":"0"}', camel)[0] == "$.by"


def test_what_only_python_cannot_stand() -> None:
    """A message that msgspec decodes may still be nested too deeply for the classes to be called."""

    def nested(depth: int) -> str:
        return '{"type":"tree","name":"a"' + ',"children":[{"name":"b"' * depth + "}]" * depth + "}"

    assert decoded(Tree, nested(50)) is not None
    for depth in range(200, 1000, 20):
        with contextlib.suppress(InvalidMessage):
            decoded(Tree, nested(depth))
    assert refused(Tree, nested(400)) == refused(Tree, nested(2000)) == ("$", "nested too deeply")


def test_a_place_in_the_middle() -> None:
    """Paths go through tuples, sets and mappings; a key of a mapping is never in one."""
    kind = tuple[int, tuple[Tree, ...], dict[str, Tree], set[Level], Sequence[None]]
    tree = '{"name":"a"}'
    wrong = '{"name":"123456789"}'
    assert decoded(kind, f'[1,[{tree}],{{"k":{tree}}},[1],[null]]') == (
        1,
        (Tree("a"),),
        {"k": Tree("a")},
        {Level.LOW},
        [None],
    )
    assert refused(kind, f"[1,[{tree},{wrong}],{{}},[],[]]")[0] == "$[1][1].name"
    assert refused(kind, f'[1,[],{{"k":{wrong}}},[],[]]')[0] == "$[2][...].name"
    assert refused(kind, "[1,[],{},[3],[]]")[0] == "$[3][0]"
    assert refused(kind, "[1,[],{},[]]") == ("$", "expected 5 items")
    assert refused(dict[Level, int], '{"7":1}') == ("$[...]", "expected one of the values that are allowed")


def refusing(value: int) -> int:
    """A converter that msgspec cannot foresee."""
    if value == 13:
        raise Invalid("no thirteens")
    return value


@frozen
class Lucky:
    """Refused by Python alone."""

    n: int = field(converter=refusing)

    def __hash__(self) -> int:
        if self.n == 7:
            raise TypeError("cannot hash 7")
        return self.n


def test_what_python_refuses_is_found_in_collections() -> None:
    """The same paths as msgspec's."""
    kind = tuple[list[Lucky], tuple[Lucky, int], dict[str, Lucky], frozenset[Lucky], Lucky | None]
    text = '[[{"n":1}],[{"n":2},1],{"k":{"n":3}},[{"n":4}],{"n":5}]'
    assert decoded(kind, text) == ([Lucky(1)], (Lucky(2), 1), {"k": Lucky(3)}, frozenset({Lucky(4)}), Lucky(5))
    for number, path in ((1, "$[0][0].n"), (2, "$[1][0].n"), (3, "$[2][...].n"), (4, "$[3][0].n"), (5, "$[4].n")):
        assert refused(kind, text.replace(f'"n":{number}', '"n":13')) == (path, "no thirteens")
    assert refused(kind, text.replace('"n":4', '"n":7')) == ("$[3]", "refused by its validator")
    packed = msgspec.msgpack.encode({"a": {"b": [float("nan")]}})
    for kind in (dict[str, object | None], dict[str, object]):
        with pytest.raises(InvalidMessage, match=r"\$\[\.\.\.\]\[\.\.\.\]\[0\]: expected a finite number"):
            decoder(kind, MessagePack()).decode(packed)
    with pytest.raises(InvalidMessage, match=r"\$\[\.\.\.\]: expected a finite number"):
        decoder(dict[str, float | str], MessagePack()).decode(msgspec.msgpack.encode({"a": float("inf")}))


def test_every_exception_of_a_validator_is_a_refusal() -> None:
    """Also one that nobody raises on purpose; what is no `Exception` goes through."""

    def of(error: BaseException) -> Callable[[object, object, int], None]:
        def validator(instance: object, attribute: object, value: int) -> None:
            raise error

        return validator

    for error in (KeyError("x"), RecursionError(), MemoryError(), msgspec.ValidationError("x - at `$.y`")):
        kind = attrs.make_class("Broken", {"n": field(type=int, validator=of(error))})
        assert refused(kind, '{"type":"broken","n":1}')[1] in {"refused by its validator", "nested too deeply"}
    kind = attrs.make_class("Broken", {"n": field(type=int, validator=of(KeyboardInterrupt()))})
    with pytest.raises(KeyboardInterrupt):
        decoded(kind, '{"type":"broken","n":1}')


@pytest.mark.parametrize("complains", [[True, False, True], [True, False, False]], ids=["again", "once"])
def test_a_validator_that_finds_fault_now_and_then(complains: list[bool]) -> None:
    """What it has refused stays refused, although it lets the same value pass when it is asked for the place."""
    asked = iter(complains)

    def validator(instance: object, attribute: object, value: int) -> None:
        if next(asked):
            raise ValueError

    kind = attrs.make_class("Moody", {"n": field(type=int, validator=validator)})
    assert refused(kind, '{"type":"moody","n":1}') == ("$", "refused by its validator")
    assert list(asked) == []
