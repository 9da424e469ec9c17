"""The type of a field is the one that attrs has, which need not be the annotation that stands in the class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import attrs
import msgspec
import pytest
from attrs import define, frozen

from seawall import JSON, Fields, InvalidMessage
from seawall.messages.decoder import MessageDecoder, decoder_for
from seawall.messages.encoder import MessageEncoder

T = TypeVar("T")


def as_numbers(_: type, fields: list[attrs.Attribute[object]]) -> list[attrs.Attribute[object]]:
    """Whatever stands in the class, it is a number."""
    return [one.evolve(type=int) for one in fields]


def as_names(_: type, fields: list[attrs.Attribute[object]]) -> list[attrs.Attribute[object]]:
    """The same, by a name that has to be looked up where the class stands."""
    return [one.evolve(type="list[Inner]") for one in fields]


def as_lists(_: type, fields: list[attrs.Attribute[object]]) -> list[attrs.Attribute[object]]:
    """Of what the class is generic in."""
    return [one.evolve(type=list[T]) for one in fields]  # type: ignore[valid-type]  # pyright: ignore[reportGeneralTypeIssues]  # bound by the class


@frozen
class Inner:
    """What is named."""

    n: int


@frozen(field_transformer=as_numbers)
class Numbers:
    """Says text, and has a number."""

    value: str


@frozen(field_transformer=as_names)
class Named:
    """Says text, and has a list."""

    value: str


@frozen(field_transformer=as_lists)
class Lists(Generic[T]):
    """Says one, and has many."""

    value: T


@frozen(field_transformer=as_numbers)
class Derived(Named):
    """Its base has a list, and so would it, but for its own transformer."""


class Unseen(Numbers):
    """Attrs has not seen this annotation."""

    value: bytes  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]  # what is wrong


@frozen
class Base(Generic[T]):
    """Is generic, with annotations that are text."""

    value: list[T]


@frozen
class Filled(Base[int]):
    """Has them resolved by attrs, which leaves the parameter in them."""


attrs.resolve_types(Filled)


def as_untyped(_: type, fields: list[attrs.Attribute[object]]) -> list[attrs.Attribute[object]]:
    """Says nothing about it, so that the annotation does."""
    return [one.evolve(type=None) for one in fields]


@frozen(field_transformer=as_untyped)
class Untyped:
    """Has a type in its annotation alone."""

    value: int


@frozen
class Nothing:
    """Has an annotation that is None, which for attrs is no type."""

    value: None = None


@dataclass(frozen=True)
class Data:
    """Has a number."""

    value: int


class UnseenData(Data):
    """What makes dataclasses has not seen this annotation."""

    value: bytes  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]  # what is wrong


@define
class Old:
    """Has a type that is no annotation."""

    value = attrs.field(type=int)  # pyright: ignore[reportGeneralTypeIssues]  # attrs, not dataclasses


@pytest.mark.parametrize(
    ("kind", "tag", "value", "wrong", "detail"),
    [
        (Numbers, "numbers", 3, "a", "expected an integer, got text"),
        (Named, "named", [Inner(3)], "a", "expected an array, got text"),
        (Lists[int], "lists", [1, 2], 1, "expected an array, got an integer"),
        (Derived, "derived", 3, [], "expected an integer, got an array"),
        (Unseen, "unseen", 3, "YQ==", "expected an integer, got text"),
        (Filled, "filled", [3], 3, "expected an array, got an integer"),
        (Base[int], "base", [3], 3, "expected an array, got an integer"),
        (Old, "old", 3, "a", "expected an integer, got text"),
        (Untyped, "untyped", 3, "a", "expected an integer, got text"),
        (Nothing, "nothing", None, "a", "expected null, got text"),
        (UnseenData, "unseen_data", 3, "YQ==", "expected an integer, got text"),
    ],
)
def test_the_type_of_the_attribute_is_what_counts(
    kind: type, tag: str, value: object, wrong: object, detail: str
) -> None:
    """What arrives is of that type, what is sent too, and a value of the annotated type is refused."""
    decoder = cast("MessageDecoder[Fields]", decoder_for(JSON(), cast("type[object]", kind), where="here"))
    encoder = MessageEncoder(JSON())
    encoder.check(kind, where="here")
    plain = [{"n": 3}] if kind is Named else value
    text = msgspec.json.encode({"type": tag, "value": plain}).decode()
    message = decoder.decode(text)
    assert message == cast("Callable[[object], Fields]", kind)(value)
    assert encoder.encode(message).decode() == text
    with pytest.raises(InvalidMessage) as caught:
        decoder.decode(msgspec.json.encode({"type": tag, "value": wrong}).decode())
    assert (caught.value.path, caught.value.detail) == ("$.value", detail)
