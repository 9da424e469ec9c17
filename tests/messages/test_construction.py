"""An attrs class whose `__init__` would only check once more is not called; what it refuses is refused all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, cast

import attrs
import msgspec
import pytest
from attrs import Factory, define, field, frozen
from attrs.validators import ge, gt, in_, instance_of, le, lt, matches_re, max_len, min_len, optional
from hypothesis import given
from hypothesis import strategies as st

from seawall import JSON, InvalidMessage, MessagePack
from seawall.messages.codec import Codec
from seawall.messages.construction import setters_of
from seawall.messages.decoder import decoder_for
from seawall.messages.fields import fields_of
from seawall.messages.limits import holds

T = TypeVar("T")


@frozen
class Place:
    """Is nested, and has no validator."""

    row: int


@frozen
class Held:
    """All that it demands is held by msgspec."""

    text: str = field(validator=[min_len(1), max_len(5)])
    count: int = field(validator=[ge(-3), lt(7)])
    share: float = field(default=0.5, validator=[gt(0), le(1.5)])
    places: tuple[Place, ...] = field(default=(), kw_only=True)


@frozen
class Kept(Held):
    """Inherits its fields, and has a default that is shared."""

    _name: str | None = None
    unit: tuple[int, ...] = (1,)


@define
class Open:
    """Can be changed, and would validate that."""

    count: int = field(validator=ge(0))


@frozen
class Of(Generic[T]):
    """Is generic."""

    value: T
    count: int = field(default=1, validator=ge(0))


def is_called(kind: object) -> bool:
    """Whether the class is called for a message."""
    origin = cast("type", getattr(kind, "__origin__", kind))
    return setters_of(origin, fields_of(kind, {}, "here")) is None


@pytest.mark.parametrize("kind", [Place, Held, Kept, Open, Of[int]])
def test_a_class_that_need_not_be_called(kind: object) -> None:
    """Its attributes are set from what msgspec has decoded."""
    assert not is_called(kind)


def with_field(**options: object) -> type:
    """A class with one field of its own, beside one that could be set."""
    kind: type = attrs.make_class("Made", {"count": field(type=int), "value": field(**options)}, slots=True)  # type: ignore[call-overload]  # any options  # pyright: ignore[reportArgumentType, reportCallIssue]
    return kind


def half(value: int) -> float:
    """Convert."""
    return value / 2


MADE_BY_THE_CLASS: list[dict[str, object]] = [
    {"type": float, "converter": half},
    {"type": list[int], "default": Factory(list[int])},
    {"type": int, "default": 3, "init": False},
    {"type": str, "validator": matches_re("a+")},
    {"type": str, "validator": [max_len(3), in_(["a"])]},
    {"type": int, "validator": instance_of(int)},
    {"type": int | None, "validator": optional(ge(1))},
    {"type": int | None, "validator": ge(1)},
    {"type": list[int], "validator": max_len(3)},
    {"type": int, "validator": [ge(0), le(1.5)]},
    {"type": int, "validator": [ge(0), le(2**70)]},
    {"type": float, "validator": [ge(0), le(2**53 + 1)]},
    {"type": float, "validator": [gt(0), le(float("inf"))]},
    {"type": int, "default": -1, "validator": ge(0)},
    {"type": int, "default": "none", "validator": ge(0)},
]


@pytest.mark.parametrize("options", MADE_BY_THE_CLASS)
def test_a_field_that_only_the_class_can_set(options: dict[str, object]) -> None:
    """With a converter, a default that is made, or what msgspec does not hold in the same way, the class is called."""
    assert is_called(with_field(**options))


class Counting(type):
    """A metaclass that takes part in making instances."""

    def __call__(cls, *given: object, **named: object) -> object:
        """As usual."""
        return super().__call__(*given, **named)


def own_init() -> type:
    """A class whose `__init__` attrs has not written."""

    @define(init=False)
    class Own:
        """Writes it itself."""

        value: int

        def __init__(self, value: int) -> None:
            self.value = value + 1

    return Own


def inherited_init() -> type:
    """A class that attrs has not seen, derived from one of attrs."""

    class Derived(Place):
        """Has no slots."""

    return Derived


def nothing(_: object) -> None:
    """Do it."""


def new(kind: type[T], value: int) -> T:
    """As usual."""
    return object.__new__(kind)


def with_part(base: type, part: str, value: object) -> type:
    """A class of attrs with one more part."""
    kind: type = define(type("Made", (base,), {"__annotations__": {"value": int}, part: value}))
    return kind


MADE_OTHERWISE: dict[str, Callable[[], type]] = {
    "its own __init__": own_init,
    "an inherited __init__": inherited_init,
    "before": lambda: with_part(object, "__attrs_pre_init__", nothing),
    "afterwards": lambda: with_part(object, "__attrs_post_init__", nothing),
    "__new__": lambda: with_part(object, "__new__", new),
    "a metaclass": lambda: define(Counting("Made", (), {"__annotations__": {"value": int}})),
    "no slots": lambda: attrs.make_class("Made", {"value": field(type=int)}, slots=False),
    "a hash that is kept": lambda: attrs.make_class(
        "Made", {"value": field(type=int)}, slots=True, frozen=True, cache_hash=True
    ),
    "no fields": lambda: attrs.make_class("Made", {}, slots=True),
}


@pytest.mark.parametrize("made", MADE_OTHERWISE)
def test_a_class_that_is_made_otherwise(made: str) -> None:
    """Whoever takes part in making instances does so for those of messages too."""
    assert is_called(MADE_OTHERWISE[made]())


#: What MessagePack can carry; JSON's integers have no bounds.
NUMBERS = st.one_of(st.integers(-9, 9), st.integers(-(2**63), 2**64 - 1), st.floats(), st.booleans())
GIVEN = st.fixed_dictionaries(
    {"text": st.text(max_size=7), "count": NUMBERS},
    optional={"share": NUMBERS, "places": st.lists(st.fixed_dictionaries({"row": st.integers(-9, 9)}), max_size=2)},
)


def received(codec: Codec, kind: type, fields: dict[str, object]) -> object:
    """What a message with these fields becomes; None if it is refused."""
    encode = msgspec.msgpack.encode if codec.binary else msgspec.json.encode
    payload = encode({"type": "held" if kind is Held else "called"} | fields)
    try:
        return decoder_for(codec, kind, where="here").decode(payload if codec.binary else payload.decode())
    except InvalidMessage:
        return None


@frozen
class Called(Held):
    """The same, but it is called."""

    def __attrs_post_init__(self) -> None:
        """Makes it so."""


@given(GIVEN, st.sampled_from([JSON(), MessagePack()]))
def test_what_is_set_is_what_the_class_would_make(fields: dict[str, object], codec: Codec) -> None:
    """Whatever comes, an instance is refused or made exactly as if the class were called."""
    made, called = received(codec, Held, fields), received(codec, Called, fields)
    assert (made is None) is (called is None)
    if isinstance(made, Held) and isinstance(called, Called):
        assert attrs.asdict(made) == attrs.asdict(called)
        assert type(made) is Held
        assert type(made.count) is int
        assert type(made.share) is float


INTEGERS = st.one_of(st.integers(-9, 9), st.integers(), st.integers(2**62, 2**66), st.integers(-(2**66), -(2**62)))


@given(st.tuples(INTEGERS, INTEGERS), INTEGERS)
def test_bounds_that_are_held_are_those_of_the_validator(bounds: tuple[int, int], value: int) -> None:
    """Of whatever size bound and value are, msgspec refuses a number if, and only if, the validator does."""
    validator = [ge(min(bounds)), lt(max(bounds))]
    kind: type = attrs.make_class("Made", {"value": field(type=int, validator=validator)}, slots=True)
    try:
        expected = kind(value)
    except ValueError:
        expected = None
    message = msgspec.json.encode({"type": "made", "value": value})
    try:
        made: object = decoder_for(JSON(), kind, where="here").decode(message.decode())
    except InvalidMessage:
        made = None
    assert made == expected
    assert holds(int, validator) is all(abs(bound) < 2**63 for bound in bounds)


def test_a_limit_beside_another_validator_does_not_stand_for_it() -> None:
    """The limit is held, and the class has to be called for the other one."""
    assert holds(int, attrs.validators.and_(ge(1), le(5)))
    assert not holds(int, attrs.validators.and_(ge(1), in_([1, 2, 3])))
    assert not holds(str, attrs.validators.and_(max_len(5), matches_re("[a-z]+")))
