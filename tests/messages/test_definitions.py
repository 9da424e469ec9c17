"""What cannot be part of a message is refused when it is defined, with the field and the remedy."""

from __future__ import annotations

import abc
import dataclasses
import enum
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Generic, Protocol, TypeVar, cast

import attrs
import msgspec
import pytest
from attrs import define, field, frozen

from seawall import JSON, ConfigurationError, MessagePack, tag
from seawall.messages.decoder import EventDecoder, decoder_for
from seawall.messages.encoder import MessageEncoder
from seawall.messages.hints import UnresolvedName
from tests.kit import messages
from tests.kit.messages import Circle, Page, Say

T = TypeVar("T")


def mistake(kind: object) -> str:
    """The text with which a type is refused."""
    with pytest.raises(ConfigurationError) as refusal:
        decoder_for(JSON(), cast("type[object]", kind), where="route '/chat'")
    text = str(refusal.value)
    assert text.startswith("route '/chat': ")
    return text.removeprefix("route '/chat': ")


def of(annotation: object, converter: object = None) -> type[object]:
    """A class with one field of a type."""
    made: type[object] = attrs.make_class("Made", {"value": untyped(type=annotation, converter=converter)})
    return made


def untyped(**options: object) -> object:
    """A field of attrs, of options that its stubs have no type for."""
    make: Callable[..., object] = attrs.field  # type: ignore[explicit-any]  # any options
    return make(**options)


def converted(value: object) -> object:
    """A converter that loses its annotation below."""
    return value


converted.__annotations__.clear()


class Empty(enum.Enum):
    """Nothing at all."""


class Mixed(enum.Enum):
    """Text and numbers."""

    A = "a"
    B = 1


@dataclasses.dataclass
class Initial:
    """What is only for ``__init__``."""

    a: int
    b: dataclasses.InitVar[int] = 1


@define(init=False)
class TakesMore:
    """An ``__init__`` that takes what is no field."""

    a: int

    def __init__(self, a: int, b: int) -> None:
        self.a = a + b


@define
class TakesLess:
    """An ``__init__`` that does not take a field."""

    a: int
    b: int

    def __init__(self, a: int) -> None:
        self.a, self.b = a, 1


@define
class NeedsSelf:
    """A default that needs the instance, and an ``__init__`` that attrs has not made."""

    a: int
    b: int = field(default=attrs.Factory(lambda self: self.a, takes_self=True))

    def __init__(self, a: int, b: int) -> None:
        self.a, self.b = a, b


@frozen
class TwiceOne:
    """Two fields that are spelled alike."""

    a_b: int
    a__b: int


@frozen
class Loose(Generic[T]):
    """A parameter that nothing fills in."""

    value: T


class Nested:
    """Holds a class of a name that is taken."""

    @frozen
    class Circle:
        """Not the other one."""

        name: str


@frozen
class BothCircles:
    """Two classes of one name."""

    one: Circle
    other: Nested.Circle


@tag("circle")
@frozen
class Round:
    """One whose type is taken."""

    name: str


@frozen
class HasRef:
    """A field that the envelope has."""

    ref: int


@frozen
class Abstract(abc.ABC):
    """Has no instances."""

    a: int

    @abc.abstractmethod
    def more(self) -> int:
        """What those that are derived from it do."""


@frozen
class Concrete(Abstract):
    """One of those."""

    def more(self) -> int:
        """Do it."""
        return self.a


@frozen
class HasA(Protocol):
    """Neither has this."""

    a: int


@dataclasses.dataclass
class DataHasA(Protocol):
    """Nor this."""

    a: int


class NoFields(msgspec.Struct):
    """But this has."""


#: What no annotation of a function would allow.
PARAMETER: type[object] = cast("type[object]", T)

REFUSED: list[tuple[object, str]] = [
    (attrs.make_class("Made", ["value"]), "Made.value has no type; annotate it"),
    (of(Any), "Made.value is Any, which is no type; write `object` for any value"),
    (of(int, converter=converted), "Made.value: its converter does not say what it takes"),
    (of(int, converter=int), "Made.value: its converter does not say what it takes"),
    (of(int, converter=attrs.Converter(converted)), "Made.value: its converter does not say what it takes"),
    (of(Callable[[], int]), "Made.value is a callable, which no message can carry; remove it"),
    (of(list), "Made.value: say of what, builtins.list[...]"),
    (of(dict), "Made.value: say of what, builtins.dict[...]"),
    (of(tuple), "Made.value: say of what"),
    (of(Page), "Made.value: Page is generic; say of what, Page[...]"),
    (of(Iterable[int]), "Made.value is a "),
    (of(complex), "Made.value is a builtins.complex, which no message can carry; make it an attrs class"),
    (of(list[list[complex]]), "Made.value[][] is a builtins.complex"),
    (of(dict[float, int]), "Made.value: a key in a message is text"),
    (of(dict[Circle, int]), "Made.value: a key in a message is text"),
    (of(dict[object, int]), "Made.value: a key in a message is text"),
    (of(Mixed), "Made.value cannot be decoded: Enums must contain either all str or all int"),
    (of(Empty), "Made.value cannot be decoded: Enum types must have at least one item"),
    (of(tuple[int, *tuple[str, ...]]), "Made.value: a tuple with a part of any length; make that part a list"),
    (of(list[int] | set[int]), "Made.value: a union of two arrays, which look the same in a message"),
    (of(list[messages.Say] | set[messages.Say]), "Made.value: a union of two arrays, which look the same"),
    (of(dict[int, int] | dict[str, int]), "Made.value: a union of two objects, which look the same in a message"),
    (of(dict[int | str, int]), "Made.value: a key in a message is text; use one of str, int, an enum, UUID or a date"),
    (of(Circle | dict[str, int]), "Made.value cannot be decoded: Type unions may not contain more than one dict-like"),
    (of(str | bytes), "Made.value cannot be decoded: Type unions may not contain more than one str-like"),
    (of(Circle | Round), "Made.value: tests.kit.messages.Circle and "),
    (Circle | Round, "have one type, 'circle'; give one of them another"),
    (of("Nowhere"), "Made: Made has an annotation that names 'Nowhere', which does not exist"),
    (BothCircles, "have one name, Circle; rename one of them"),
    (Initial, "Initial.b is an InitVar"),
    (TakesMore, "TakesMore: its __init__ takes 'b', which is no field; give it a default"),
    (TakesLess, "TakesLess: its __init__ takes no 'b'; give it one, or init=False"),
    (NeedsSelf, "NeedsSelf.b: its default needs the instance, but __init__ is not attrs' own"),
    (Loose, "Loose: Loose is generic; say of what, Loose[...]"),
    (Loose[PARAMETER], "Loose.value is the type parameter ~T, which nothing fills in"),  # type: ignore[valid-type]  # as it would come from a mistake
    (HasRef, "HasRef.ref is 'ref' in the message, which the envelope needs; rename the field"),
    (messages.Point, "Point.type is 'type' in the message, which is taken; rename it"),
    (of(messages.Point | Circle), "Made.value.type is 'type' in the message, which is taken"),
    (of(set[messages.Everything]), "Made.value: a set of tests.kit.messages.Everything, which cannot be hashed"),
    (of(set[list[int]]), "Made.value: a set of builtins.list, which cannot be hashed"),
    (of(object | Circle), "Made.value: a union with object, which all others are"),
    (complex, "$ is a builtins.complex"),
    (msgspec.Struct, "Struct: msgspec.Struct has no instances; name the classes that are derived from it, A | B"),
    (of(msgspec.Struct), "Made.value: msgspec.Struct has no instances; name the classes"),
    (of(Circle | msgspec.Struct), "Made.value: msgspec.Struct has no instances; name the classes"),
    (Abstract, "Abstract: tests.messages.test_definitions.Abstract has no instances; name the classes"),
    (of(list[Abstract]), "Made.value[]: tests.messages.test_definitions.Abstract has no instances; name the classes"),
    (HasA, "HasA: tests.messages.test_definitions.HasA has no instances; name the classes"),
    (DataHasA, "DataHasA: tests.messages.test_definitions.DataHasA has no instances; name the classes"),
]


@pytest.mark.parametrize(("kind", "said"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_is_refused(kind: object, said: str) -> None:
    """The text names the field and the remedy."""
    assert said in mistake(kind)


def test_two_fields_of_one_spelling() -> None:
    """A codec that renames may make them alike."""
    decoder_for(JSON(), TwiceOne, where="here")
    with pytest.raises(ConfigurationError, match=r"TwiceOne\.a__b is 'aB' in the message, which is taken"):
        decoder_for(JSON(rename="camel"), TwiceOne, where="here")


def test_a_class_that_is_not_there_yet() -> None:
    """Told apart from other mistakes, because it may be there later."""

    @frozen
    class Early:
        later: Later  # type: ignore[name-defined]  # noqa: F821 - that is the point  # pyright: ignore[reportUndefinedVariable]

    with pytest.raises(UnresolvedName, match=r"here: Early: .*Early has an annotation that names 'Later'"):
        decoder_for(JSON(), Early, where="here")


def test_classes_of_a_function_may_name_each_other() -> None:
    """Those of one union know each other, although no module does."""

    @frozen
    class First:
        second: Second | None = None
        first: First | None = None

    @frozen
    class Second:
        name: str = ""

    decode = decoder_for(JSON(), First | Second, where="here").decode
    assert decode('{"type":"first","second":{"name":"a"},"first":{}}') == First(Second("a"), First())


def test_an_alias_that_contains_itself() -> None:
    """It has no end."""

    class TypeAliasType:
        """As Python 3.12 has it."""

        __value__: object

    alias = TypeAliasType()
    alias.__value__ = list[alias]  # type: ignore[valid-type]  # as ``type Nested = list[Nested]``
    assert "an alias that contains itself; make it a class" in mistake(of(alias))


@pytest.mark.parametrize("name", ["", "with space", "é", "x" * 65, '"', cast("str", 5), cast("str", None)])
def test_a_tag_is_short_and_plain(name: str) -> None:
    """It is part of every message."""
    with pytest.raises(ConfigurationError, match="give 1 to 64 of"):
        tag(name)


def test_what_an_event_cannot_be() -> None:
    """Classes only, and none of the type that every connection knows."""

    @frozen
    class Cancel:
        """Taken."""

    with pytest.raises(ConfigurationError, match=r"events: .* have one type, 'cancel'"):
        EventDecoder(JSON(), (Cancel,), where="events")
    with pytest.raises(ConfigurationError, match=r"events: .*int.* is no class of messages"):
        EventDecoder(JSON(), (int,), where="events")
    with pytest.raises(ConfigurationError, match="is no class of messages"):
        EventDecoder(MessagePack(), (bytes,), where="events")
    with pytest.raises(ConfigurationError, match="have one type"):
        EventDecoder(JSON(), (Circle, Round), where="events")


def test_what_cannot_be_sent_is_found_before_it_is() -> None:
    """If somebody asks; otherwise when the first is sent."""
    encoder = MessageEncoder(JSON())
    encoder.check(Say, where="events")
    with pytest.raises(ConfigurationError, match=r"events: Made\.value is a builtins\.complex"):
        encoder.check(of(complex), where="events")
    with pytest.raises(ConfigurationError, match=r"events: .*int.* is no class of messages"):
        encoder.check(int, where="events")
    with pytest.raises(ConfigurationError, match="Page is generic, and a value does not say of what"):
        encoder.encode(Page([1]))
    encoder.check(Page[int], where="events")
    encoder.check(Page[int], where="events")
    assert encoder.encode(Page([1])) == b'{"type":"page","items":[1],"following":null}'
    with pytest.raises(ConfigurationError, match="events: Page_int and Page_str cannot both be sent"):
        encoder.check(Page[str], where="events")
    with pytest.raises(ConfigurationError, match=r"Made\.value is a builtins\.complex"):
        encoder.encode(cast("Callable[[complex], Say]", of(complex))(1j))


@pytest.mark.parametrize("kind", [msgspec.Struct, Abstract, HasA, DataHasA])
def test_a_class_without_instances_is_not_sent(kind: type[object]) -> None:
    """Nor is it an event; what is derived from it is both."""
    with pytest.raises(
        ConfigurationError, match=r"here: .* has no instances; name the classes that are derived from it"
    ):
        MessageEncoder(JSON()).check(kind, where="here")
    with pytest.raises(
        ConfigurationError, match=r"here: .* has no instances; name the classes that are derived from it"
    ):
        EventDecoder(JSON(), (kind,), where="here")
    assert EventDecoder(JSON(), (Concrete, NoFields), where="here").decode('{"type":"no_fields"}') == (NoFields(), None)
    assert MessageEncoder(JSON()).encode(Concrete(1)) == b'{"type":"concrete","a":1}'


def test_a_field_of_a_class_without_instances_is_sent() -> None:
    """What is in it is one that is derived; of that, the fields that the annotation knows."""
    kind = cast("Callable[[object], Say]", of(Abstract))
    assert MessageEncoder(JSON()).encode(kind(Concrete(1))) == b'{"type":"made","value":{"a":1}}'
    with pytest.raises(ConfigurationError, match=r"msgspec\.Struct has no instances"):
        MessageEncoder(JSON()).check(of(msgspec.Struct), where="here")  # nothing of it would be sent


def test_what_cannot_be_hashed() -> None:
    """A decoder for it is made each time."""
    kind = of(Annotated[int, []])
    assert decoder_for(JSON(), kind, where="") is decoder_for(JSON(), kind, where="")
    odd = Annotated[Circle, []]
    assert decoder_for(JSON(), odd, where="") is not decoder_for(JSON(), odd, where="")


def test_types_without_end() -> None:
    """Decoders that are made for classes of a function do not stay for ever."""
    first = of(int)
    decoder: object = decoder_for(JSON(), first, where="")
    for _ in range(1100):
        decoder_for(JSON(), of(int), where="")
    assert decoder_for(JSON(), first, where="") is not decoder
