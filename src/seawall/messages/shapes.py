"""Shapes: how a value looks in a message, and the ways between the two.

A shape has the type that msgspec decodes (`wire`), a function from what msgspec has decoded to the value (`builder`),
one back (`dumper`), and the way of the builder once more, step by step, to find where it fails (`rebuild`).
"""

from __future__ import annotations

import decimal
import typing
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias, cast, final

import msgspec
from attrs import define, field

from seawall.messages.hashing import CollidingValues, KeyReader, check_hashes, collected
from seawall.messages.problems import COLLIDING, REFUSED, Problem, of_msgspec
from seawall.messages.values import not_finite

#: From one to the other. None, where a shape has none, leaves the value as it is.
Convert: TypeAlias = Callable[[object], object]

#: Types of which a peer can find many values of one hash.
_UNSALTED: Final[tuple[object, ...]] = (int, uuid.UUID, decimal.Decimal, typing.Any)


class Shape(ABC):
    """How values of one type look in a message."""

    wire: object
    """The type that msgspec decodes."""

    @property
    def hashed(self) -> bool:
        """Whether msgspec may hash what it decodes: it can be hashed, and the peer cannot choose the hash."""
        return False

    @abstractmethod
    def builder(self) -> Convert | None:
        """From what msgspec has decoded to the value; None if that is the value."""

    @abstractmethod
    def dumper(self) -> Convert | None:
        """From the value to what msgspec encodes; None if that is the value."""

    @abstractmethod
    def rebuild(self, decoded: object, path: str) -> object:
        """As the builder does; a `Problem` where it fails."""

    @abstractmethod
    def wire_kinds(self) -> tuple[type, ...]:
        """The classes of what msgspec decodes, as far as the builder matters."""

    @abstractmethod
    def value_kinds(self) -> tuple[type, ...]:
        """The classes of the values."""


@final
@define(eq=False)
class Plain(Shape):
    """What msgspec decodes and encodes by itself; the checks return the value or raise ValueError."""

    wire: object
    kinds: tuple[type, ...]
    check: Convert | None = None
    check_sent: Convert | None = None
    explain: Callable[[object, str], Problem] = not_finite
    """What `check` has found wrong with a value at a path."""

    @property
    def hashed(self) -> bool:
        """Not of numbers without end."""
        return not any(self.wire is one for one in _UNSALTED)

    def builder(self) -> Convert | None:
        """As `Shape.builder` says."""
        return self.check

    def dumper(self) -> Convert | None:
        """As `Shape.dumper` says."""
        return self.check_sent

    def rebuild(self, decoded: object, path: str) -> object:
        """As `Shape.rebuild` says."""
        try:
            return decoded if self.check is None else self.check(decoded)
        except ValueError:
            pass
        return self.explain(decoded, path)

    def wire_kinds(self) -> tuple[type, ...]:
        """As `Shape.wire_kinds` says."""
        return self.kinds

    def value_kinds(self) -> tuple[type, ...]:
        """As `Shape.value_kinds` says."""
        return self.kinds


@final
@define(eq=False)
class Limited(Shape):
    """A shape with limits that msgspec holds."""

    inner: Shape
    wire: object

    @property
    def hashed(self) -> bool:
        """As that of the shape."""
        return self.inner.hashed

    def builder(self) -> Convert | None:
        """As `Shape.builder` says."""
        return self.inner.builder()

    def dumper(self) -> Convert | None:
        """As `Shape.dumper` says."""
        return self.inner.dumper()

    def rebuild(self, decoded: object, path: str) -> object:
        """As `Shape.rebuild` says."""
        return self.inner.rebuild(decoded, path)

    def wire_kinds(self) -> tuple[type, ...]:
        """As `Shape.wire_kinds` says."""
        return self.inner.wire_kinds()

    def value_kinds(self) -> tuple[type, ...]:
        """As `Shape.value_kinds` says."""
        return self.inner.value_kinds()


@final
@define(eq=False)
class Many(Shape):
    """A list, a set, a frozenset, or a tuple of any length."""

    item: Shape
    collection: type
    """list, set, frozenset or tuple."""
    accepted: tuple[type, ...] = ()
    """What else can be sent: any sequence, where the annotation says so."""
    decoded: type = field(init=False)
    """What msgspec decodes: a list where it may not hash the items."""
    least: int = 0
    """How many items a set has at least that is decoded as a list, in which one may stand twice."""
    wire: object = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.decoded = self.collection if self.collection is tuple or self.item.hashed else list
        generic = cast("Mapping[object, object]", self.decoded)
        self.wire = generic[(self.item.wire, ...) if self.decoded is tuple else self.item.wire]

    def builder(self) -> Convert | None:
        """As `Shape.builder` says."""
        convert, collection = self.item.builder(), self.collection
        if convert is None:
            return (
                None if self.decoded is collection else lambda decoded: self._collected(cast("list[object]", decoded))
            )
        if collection is list:
            return lambda decoded: [convert(item) for item in cast("Iterable[object]", decoded)]
        return lambda decoded: self._collected([convert(item) for item in cast("Iterable[object]", decoded)])

    def _collected(self, items: list[object]) -> object:
        made = collected(self.collection, items)
        if self.least and len(cast("set[object]", made)) < self.least:
            raise ValueError("too few items that differ")
        return made

    def dumper(self) -> Convert | None:
        """As `Shape.dumper` says."""
        convert = self.item.dumper()
        return None if convert is None else lambda value: [convert(item) for item in cast("Iterable[object]", value)]

    def rebuild(self, decoded: object, path: str) -> object:
        """As `Shape.rebuild` says."""
        built: list[object] = []
        for index, item in enumerate(cast("Iterable[object]", decoded)):
            one = self.item.rebuild(item, f"{path}[{index}]" if self.decoded in {list, tuple} else f"{path}[...]")
            if isinstance(one, Problem):
                return one
            built.append(one)
        try:
            return self._collected(built)
        except CollidingValues:
            return Problem(path, COLLIDING)
        except Exception:  # noqa: BLE001 - an item whose class refuses to be hashed
            return Problem(path, REFUSED)

    def wire_kinds(self) -> tuple[type, ...]:
        """As `Shape.wire_kinds` says."""
        return (self.decoded,)

    def value_kinds(self) -> tuple[type, ...]:
        """As `Shape.value_kinds` says."""
        return (self.collection, *self.accepted)


@final
@define(eq=False)
class Row(Shape):
    """A tuple of a fixed length; a NamedTuple, if there is a class."""

    items: tuple[Shape, ...]
    kind: type = tuple
    wire: object = field(init=False)

    def __attrs_post_init__(self) -> None:
        generic = cast("Mapping[object, object]", tuple)
        self.wire = generic[tuple(item.wire for item in self.items)]

    def builder(self) -> Convert | None:
        """As `Shape.builder` says."""
        convert, make = self._each([item.builder() for item in self.items]), self._make
        if make is None or convert is None:
            return make or convert
        return lambda decoded: make(convert(decoded))

    @property
    def _make(self) -> Convert | None:
        return cast("Convert | None", getattr(self.kind, "_make", None))

    def dumper(self) -> Convert | None:
        """As `Shape.dumper` says."""
        return self._each([item.dumper() for item in self.items])

    @staticmethod
    def _each(converts: list[Convert | None]) -> Convert | None:
        if not any(converts):
            return None

        def convert(values: object) -> object:
            pairs = zip(cast("tuple[object, ...]", values), converts, strict=True)
            return tuple(value if one is None else one(value) for value, one in pairs)

        return convert

    def rebuild(self, decoded: object, path: str) -> object:
        """As `Shape.rebuild` says."""
        built: list[object] = []
        for index, (value, item) in enumerate(zip(cast("tuple[object, ...]", decoded), self.items, strict=True)):
            one = item.rebuild(value, f"{path}[{index}]")
            if isinstance(one, Problem):
                return one
            built.append(one)
        return tuple(built) if self._make is None else self._make(built)

    def wire_kinds(self) -> tuple[type, ...]:
        """As `Shape.wire_kinds` says."""
        return (tuple,)

    def value_kinds(self) -> tuple[type, ...]:
        """As `Shape.value_kinds` says."""
        return (self.kind,)


@final
@define(eq=False)
class Table(Shape):
    """A mapping."""

    key: Shape
    value: Shape
    accepted: tuple[type, ...] = ()
    texts: bool = False
    """Whether msgspec decodes the keys as text, because it may not hash them."""
    wire: object = field(init=False)

    def __attrs_post_init__(self) -> None:
        generic = cast("Mapping[object, object]", dict)
        self.wire = generic[str if self.texts else self.key.wire, self.value.wire]

    def builder(self) -> Convert | None:
        """As `Shape.builder` says."""
        if not self.texts:
            return self._each(self.key.builder(), self.value.builder())
        read = cast("Convert", KeyReader(self.key.wire).read)
        make = self._each(None, self.value.builder())
        return read if make is None else lambda items: read(make(items))

    def dumper(self) -> Convert | None:
        """As `Shape.dumper` says."""
        return self._each(self.key.dumper(), self.value.dumper())

    @staticmethod
    def _each(key: Convert | None, value: Convert | None) -> Convert | None:
        if key is None and value is None:
            return None
        make_key, make_value = key or _same, value or _same
        return lambda items: {
            make_key(name): make_value(item) for name, item in cast("Mapping[object, object]", items).items()
        }

    def rebuild(self, decoded: object, path: str) -> object:
        """As `Shape.rebuild` says."""
        pairs: list[tuple[object, object]] = []
        for name, item in cast("Mapping[object, object]", decoded).items():
            key, value = self._rebuilt_key(name, f"{path}[...]"), self.value.rebuild(item, f"{path}[...]")
            for one in (key, value):
                if isinstance(one, Problem):
                    return one
            pairs.append((key, value))
        try:
            check_hashes([key for key, _ in pairs])
        except CollidingValues:
            return Problem(path, COLLIDING)
        return dict(pairs)

    def _rebuilt_key(self, name: object, path: str) -> object:
        if not self.texts:
            return self.key.rebuild(name, path)
        try:
            (key,) = KeyReader(self.key.wire).read({cast("str", name): None})
        except msgspec.ValidationError as error:
            return Problem(path, of_msgspec(str(error)).detail)
        return key

    def wire_kinds(self) -> tuple[type, ...]:
        """As `Shape.wire_kinds` says."""
        return (dict,)

    def value_kinds(self) -> tuple[type, ...]:
        """As `Shape.value_kinds` says."""
        return (dict, *self.accepted)


def _same(value: object) -> object:
    return value


@final
@define(eq=False)
class Choice(Shape):
    """One of several."""

    members: tuple[Shape, ...]
    wire: object

    def builder(self) -> Convert | None:
        """As `Shape.builder` says."""
        table: dict[type, Convert] = {}
        for member in self.members:
            if (convert := member.builder()) is not None:
                table |= dict.fromkeys(member.wire_kinds(), convert)
        if not table:
            return None
        find, otherwise = table.get, table.get(object)

        def build(decoded: object) -> object:
            convert = find(type(decoded), otherwise)
            return decoded if convert is None else convert(decoded)

        return build

    def dumper(self) -> Convert | None:
        """As `Shape.dumper` says."""
        table: dict[type, Convert] = {}
        for member in self.members:
            convert = member.dumper()
            table |= dict.fromkeys(member.value_kinds(), convert or _same)
        if set(table.values()) == {_same}:
            return None
        find = table.get

        def dump(value: object) -> object:
            convert = find(type(value))
            if convert is None:
                convert = next((one for kind, one in table.items() if isinstance(value, kind)), None)
                if convert is None:
                    expected = " or ".join(kind.__name__ for kind in table)
                    raise TypeError(f"a {type(value).__name__} is sent where {expected} is declared")
            return convert(value)

        return dump

    def rebuild(self, decoded: object, path: str) -> object:
        """As `Shape.rebuild` says."""
        by_kind = {kind: member for member in self.members for kind in member.wire_kinds()}
        member = by_kind.get(type(decoded), by_kind.get(object))
        return decoded if member is None else member.rebuild(decoded, path)

    def wire_kinds(self) -> tuple[type, ...]:
        """As `Shape.wire_kinds` says."""
        return tuple(kind for member in self.members for kind in member.wire_kinds())

    def value_kinds(self) -> tuple[type, ...]:
        """As `Shape.value_kinds` says."""
        return tuple(kind for member in self.members for kind in member.value_kinds())
