"""Classes of messages, of every kind that an application may write."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from typing import Annotated, Generic, Literal, NamedTuple, NotRequired, Required, TypedDict, TypeVar

import msgspec
from attrs import define, field, frozen
from attrs.validators import ge, le, lt, max_len, min_len

from seawall.position import Position

T = TypeVar("T")


class Colour(enum.Enum):
    """An enum of text."""

    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    """An enum of numbers."""

    LOW = 1
    HIGH = 2


@frozen
class Say:
    """The message of most tests, with four validators."""

    room: str = field(validator=[min_len(1), max_len(32)])
    text: str = field(validator=max_len(10))
    n: int = field(default=1, validator=ge(0))


@frozen
class RoomLeft:
    """One whose name has two words."""

    room_id: str
    last_message: str | None = None


@frozen
class Circle:
    """A member of a union."""

    radius: float


@frozen
class Square:
    """Another."""

    side: float
    type_: Literal["filled", "open"] = field(default="filled", alias="kind")


@frozen
class Tree:
    """One that contains itself."""

    name: str = field(validator=max_len(8))
    children: list[Tree] = field(factory=list["Tree"])
    parent: Tree | None = None


@frozen
class Point:
    """Nested, in no union, with a field named ``type``."""

    x: int
    y: int
    type: str = "cartesian"


@frozen
class Page(Generic[T]):
    """A generic one."""

    items: list[T]
    following: T | None = None


class Place(NamedTuple):
    """An array in a message."""

    name: str
    at: Point


class Options(TypedDict, total=False):
    """An object of which the keys are known."""

    limit: Required[int]
    near: Place
    more: list[Options]


class Fixed(TypedDict):
    """One that is marked where a key may be absent."""

    a_b: int
    c: NotRequired[Point]


ONE: Fixed = {"a_b": 1}


@frozen
class Search:
    """Holds what is no class of its own."""

    options: Options
    fixed: Fixed = ONE
    places: dict[str, Place] = field(factory=dict[str, Place])


@frozen
class Shapes:
    """Unions, one by one and in collections."""

    one: Circle | Square
    several: list[Circle | Square] = field(factory=list[Circle | Square])
    by_name: dict[str, Circle | Square | None] = field(factory=dict[str, Circle | Square | None])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Move:
    """A dataclass."""

    to: Point
    speed: float = 1.0
    via: list[Point] = dataclasses.field(default_factory=list[Point])


class Moved(msgspec.Struct, frozen=True):
    """A Struct, with a nested attrs class."""

    at: Point
    by: Annotated[str, msgspec.Meta(max_length=8)] = "nobody"
    tags: list[str] = []


@define
class Everything:
    """One field of each plain type."""

    text: str
    whole: int
    number: float
    yes: bool
    raw: bytes
    nothing: None
    at: dt.datetime
    day: dt.date
    hour: dt.time
    lasts: dt.timedelta
    id: uuid.UUID
    price: decimal.Decimal
    colour: Colour
    level: Level
    word: Literal["a", "b", 3]
    maybe: int | None
    either: int | str
    row: tuple[int, str]
    rows: tuple[Point, ...]
    names: set[str]
    fixed: frozenset[int]
    counts: dict[str, int]
    by_id: dict[uuid.UUID, Point]
    nested: Point
    pages: Page[Point]
    tree: Tree
    since: Position
    seen: set[Position]
    last: Position | None = None


@frozen
class Bounded:
    """Limits that both attrs and msgspec hold."""

    low: int = field(validator=[ge(-5), le(5)])
    share: float = field(validator=[ge(0), lt(1)])
    maybe: int | None = field(default=None, validator=[])
    names: list[str] = field(factory=list[str], validator=[min_len(0), max_len(3)])
    word: str = field(default="abc", validator=[min_len(2), max_len(4)])


#: All of which a message may be.
MESSAGES: tuple[object, ...] = (
    Search,
    Say,
    RoomLeft,
    Tree,
    Shapes,
    Move,
    Moved,
    Everything,
    Bounded,
    Page[Point],
    Page[Circle],
)
