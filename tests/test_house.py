"""The rules of `tests.house`, each on sources that keep it and sources that do not."""

from __future__ import annotations

import ast
import textwrap

import pytest

from tests.house import RULES, Measure, Tree, judge, white_space


def numbers(rule: str, **sources: str) -> dict[str, int]:
    """What is counted for a rule, by name; the names of modules have ``_`` for the dot after ``seawall``."""
    named = {name.replace("_", ".", 1): textwrap.dedent(source) for name, source in sources.items()}
    return {measure.name: measure.number for measure in Tree(named).measures() if measure.rule == rule}


def test_lines_of_code() -> None:
    """Neither blank lines nor comments nor docstrings, whosever they are, are code; a long string is."""
    source = '''\
        """What it is.

        More of it.
        """

        # Why.
        LIMIT = 3  # in seconds
        """Of what."""


        class Thing:
            """A thing."""

            size: int
            """How big."""

            def text(self) -> str:
                """Say it,
                in words."""
                return """one

                two"""
    '''
    assert numbers("code", seawall_thing=source) == {"seawall.thing": 6}
    assert numbers("body", seawall_thing=source) == {"seawall.thing.Thing.text": 2}


def test_parameters() -> None:
    """All kinds of them, but neither self nor cls; a static method and a function inside of a method have no self."""
    source = """
        def plain(a, /, b, *, c, **rest): ...

        class Thing:
            def method(self, a): ...

            @staticmethod
            def static(a):
                def inner(a, b): ...
    """
    assert numbers("parameters", seawall_thing=source) == {
        "seawall.thing.plain": 3,
        "seawall.thing.Thing.method": 1,
        "seawall.thing.Thing.static": 1,
        "seawall.thing.Thing.static.inner": 2,
    }


STATEFUL = {
    "assigned": """
        class Thing:
            def __init__(self):
                self.a = self.b = 1
                self.c, self.d = 1, 2

            async def run(self):
                self.a += 1
                for self.e in (): ...
                with open("f") as self.f: ...
                self.other.x = other.y = 1
    """,
    "declared": """
        from attrs import define

        @define(eq=False)
        class Thing:
            kind: ClassVar[int] = 0
            a: int
            b: int = 0
            c: int
            d: int
            e: int
            f: int
    """,
    "slots": """
        class Thing:
            __slots__ = ("a", "b", "c", "d", "e", "f")

            def set(self):
                self.a = 1
    """,
    "inherited": """
        from seawall.base import Base

        class Thing(Base[int]):
            def __init__(self):
                self.e = self.f = 1
    """,
}


@pytest.mark.parametrize("source", STATEFUL.values(), ids=STATEFUL)
def test_attributes(source: str) -> None:
    """They are found wherever they are declared or assigned, those of bases in other modules too."""
    base = "class Base:\n    def __init__(self):\n        self.a = self.b = self.c = self.d = 1"
    assert numbers("attributes", seawall_thing=source, seawall_base=base)["seawall.thing.Thing"] == 6


def test_a_property_that_is_set_is_no_attribute() -> None:
    """It is counted once, as a method."""
    source = """
        class Thing:
            @property
            def a(self): ...

            @a.setter
            def a(self, value): ...

            def b(self):
                self.a = 1
    """
    assert numbers("attributes", seawall_thing=source) == {"seawall.thing.Thing": 0}
    assert numbers("methods", seawall_thing=source) == {"seawall.thing.Thing": 2}


def test_booleans() -> None:
    """By their annotation, or the parameter's, or by what they are given: a literal, a comparison, a negation."""
    source = """
        class Thing:
            a: bool
            b: bool | None
            no: int

            def __init__(self, c: bool, neither: int):
                self.c = c
                self.neither, self.d = neither, False
                self.e: bool = neither
                self.f = neither > 1
                self.g = not neither
                self.h = neither or c
                self.nor = 1 if c else 2
    """
    assert numbers("booleans", seawall_thing=source) == {"seawall.thing.Thing": 8}


@pytest.mark.parametrize(
    "thing",
    [
        "@frozen\nclass Thing:",
        "@attrs.frozen(kw_only=True)\nclass Thing:",
        "@dataclass(frozen=True)\nclass Thing:",
        "class Thing(NamedTuple):",
        "class Thing(Protocol[int]):",
        "class Thing(TypedDict):",
        "class Thing(enum.Enum):",
        "class Thing(ValueError):",
        "class Thing(Refused):",
    ],
)
def test_what_is_no_mutable_state(thing: str) -> None:
    """Values, protocols and exceptions may have as much of everything as they like."""
    imports = "import attrs, enum\nfrom attrs import frozen\nfrom typing import NamedTuple, Protocol, TypedDict\n"
    imports += "from seawall.errors import Refused\n"
    errors = "class Refused(Exception): ..."
    source = f"{imports}{thing}\n    a: bool\n"
    assert numbers("attributes", seawall_thing=source, seawall_errors=errors) == {}


def test_what_is_mutable_state() -> None:
    """An implementation of a protocol is, and so is a class that only holds values."""
    source = """
        from typing import Protocol
        from attrs import define

        class Shape(Protocol): ...

        class Thing(Shape): ...

        @define(eq=False)
        class Other: ...
    """
    assert numbers("attributes", seawall_thing=source) == {"seawall.thing.Thing": 0, "seawall.thing.Other": 0}


def test_public_classes_are_free() -> None:
    """What users need decides how large the API is."""
    source = "class App:\n    a: int\n    def b(self): ..."
    assert numbers("attributes", seawall_app=source) == {}


ALIASES = """
    from collections.abc import Callable
    from typing import Protocol, TypeAlias

    OnEnd: TypeAlias = Callable[[int], None]
    Many = dict[str, OnEnd]

    class Renew(Protocol):
        def __call__(self): ...
"""

KEEPER = """
    import collections.abc
    from attrs import frozen
    from seawall.aliases import Many, OnEnd as When, Renew

    Mine = When | None

    @frozen
    class Keeper:
        a: collections.abc.Callable[[], None]
        b: When
        c: Many
        none: int

    class Other:
        def __init__(self, renew: Renew, mine: Mine, number: int) -> None:
            self.d = renew
            self.e = mine or print
            self.number = number
            self.f: Renew | None = None
            kept: Renew = renew
"""


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("seawall_wire.channel", 6),
        ("seawall_connection", 6),
        ("seawall_connection.leases", 6),
        ("seawall_lifecycle", 6),
        ("seawall_connection_gate", 0),
        ("seawall_app", 0),
    ],
)
def test_callables(module: str, number: int) -> None:
    """On instances of the connection's classes, frozen ones too, under whatever name and with whatever else."""
    assert numbers("callables", seawall_aliases=ALIASES, **{module: KEEPER}) == {"seawall": number}


def complaints(number: int, accepted: int | None) -> list[str]:
    """What is said about so many methods, if so many are accepted."""
    table = {} if accepted is None else {"methods": {"seawall.thing.Thing": (accepted, "because")}}
    return [said for _, said in judge([Measure("methods", "seawall.thing", "seawall.thing.Thing", number)], table)]


def test_a_bound() -> None:
    """What exceeds it is an error, what reaches it is none."""
    assert complaints(RULES["methods"].bound, None) == []
    assert complaints(21, None) == ["seawall.thing.Thing has 21 methods, more than 20"]


def test_an_exception() -> None:
    """It accepts its own number and no other; whoever has made it smaller lowers the number or removes it."""
    assert complaints(25, 25) == []
    assert complaints(26, 25) == ["seawall.thing.Thing has 26 methods, more than 20 (25 accepted)"]
    assert complaints(24, 25) == [
        "seawall.thing.Thing is down to 24 (methods); write that in place of 25 in tests/house.py"
    ]
    assert complaints(20, 25) == ["seawall.thing.Thing needs no exception any more (methods: 25); remove it"]


def test_an_exception_for_what_is_gone() -> None:
    """It is an error."""
    table = {"methods": {"seawall.gone.Thing": (25, "because")}}
    assert list(judge([], table)) == [(None, "seawall.gone.Thing needs no exception any more (methods: 25); remove it")]


@pytest.mark.parametrize(
    ("source", "complaints"),
    [
        ("text.strip()", 1),
        ("text.lstrip()", 1),
        ("text.rstrip(None)", 1),
        ("text.split()", 1),
        ("text.split(None, 1)", 1),
        ("text.rsplit(maxsplit=1)", 1),
        ("text.split(sep=None)", 1),
        ("b'a b'.split()", 1),
        ("str.strip(text)", 1),
        ("map(str.strip, text.split(','))", 1),
        ("(await gate.receive_text()).strip().split()", 2),
        ("text.strip(' \\t')", 0),
        ("text.split(';')", 0),
        ("text.split(sep=';')", 0),
        ("str.strip(text, ' ')", 0),
        ("re.split(pattern, text)", 0),
        ("text.splitlines()", 0),
        ("split(text)", 0),
    ],
)
def test_mended_02_white_space_is_named(source: str, complaints: int) -> None:
    """Text is split and stripped at what is named, never at whatever Python takes for white space."""
    tree = compile(source, "thing.py", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(tree, ast.Module)
    assert len(list(white_space(tree))) == complaints
