"""What functions take from the path, and every way in which that can disagree with the path."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

import pytest

from seawall import callables
from seawall.callables import PathArgument, check_sync_callback, describe, path_arguments, returns_bool
from seawall.errors import ConfigurationError

Room: TypeAlias = str
AnyFunction = Callable[..., object]  # type: ignore[explicit-any]  # functions of every shape are the subject

OLD_OPTIONAL: object = typing.Optional[int]  # noqa: UP045  # pyright: ignore[reportDeprecated]  # still a form of it
OLD_UNION: object = typing.Union[int, str]  # noqa: UP007  # pyright: ignore[reportDeprecated]  # still a form of it

if typing.TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers


async def plain(conn: object, room: str, number: int = 0, *, key: UUID) -> None:
    """A function whose annotations are text, because of the import from __future__."""


class Method:
    """Has functions of every other kind."""

    async def method(self, conn: object, room: str) -> None:
        """Bound when it is used."""

    @classmethod
    async def of_class(cls, conn: object, room: str) -> None:
        """Bound to the class."""

    @staticmethod
    async def static(conn: object, room: str) -> None:
        """Bound to nothing."""

    async def __call__(self, conn: object, room: str) -> None:
        """Make instances callable."""


def wrapped(function: AnyFunction) -> AnyFunction:
    """Wrap as decorators do."""

    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return wrapper


def test_what_a_function_takes() -> None:
    """Everything but the leading parameters, with its annotation resolved."""
    by = describe(plain)
    assert path_arguments(plain, leading=1) == (
        PathArgument(name="room", annotation=str, required=True, owner=by),
        PathArgument(name="number", annotation=int, required=False, owner=by),
        PathArgument(name="key", annotation=UUID, required=True, owner=by),
    )


KINDS = {
    "method": Method().method,
    "classmethod": Method.of_class,
    "staticmethod": Method.static,
    "instance": Method(),
    "wrapped": wrapped(Method().method),
    "partial": functools.partial(Method().method),
    "partial of an instance": functools.partial(Method()),
}


@pytest.mark.parametrize("function", KINDS.values(), ids=KINDS)
def test_every_kind_of_function(function: AnyFunction) -> None:
    """Methods, callable instances, wrappers and partials take what is behind them."""
    (room,) = path_arguments(function, leading=1)
    assert (room.name, room.annotation, room.required) == ("room", str, True)


@pytest.mark.parametrize("function", KINDS.values(), ids=KINDS)
def test_every_kind_of_function_is_named(function: AnyFunction) -> None:
    """The name, the file and the line of what a person has written."""
    assert "Method." in describe(function)
    assert "test_callables.py:" in describe(function)


def test_a_partial_takes_no_more_what_it_was_given() -> None:
    """What a partial has filled is not asked of the path; filled by name, it has a default."""
    assert path_arguments(functools.partial(plain, object(), room="x"), leading=0)[0].required is False
    (room,) = path_arguments(functools.partial(Method().method, object()), leading=0)
    assert room.name == "room"


def test_what_is_not_written_in_python() -> None:
    """A function without source still has a name."""
    assert describe(len) == "len()"
    assert describe(functools.partial(len)) == "len()"


def test_a_class_is_named() -> None:
    """A class is callable too."""
    assert describe(Method) == "Method()"


async def too_few() -> None:
    """Takes nothing."""


async def by_name_only(*, conn: object) -> None:
    """Takes nothing by position."""


async def keywords_only(**kwargs: object) -> None:
    """Takes nothing by position either."""


@pytest.mark.parametrize("function", [too_few, by_name_only, keywords_only])
def test_too_few_parameters(function: AnyFunction) -> None:
    """Who takes no connection is no handler."""
    with pytest.raises(
        ConfigurationError, match=rf"{function.__name__}\(\) \(.*\) must take the connection as positional"
    ):
        path_arguments(function, leading=1)


def test_a_positional_only_parameter() -> None:
    """Path parameters arrive by keyword; the remedy is in the text."""

    async def handler(conn: object, room: str, /) -> None:
        pass

    with pytest.raises(ConfigurationError, match=r"handler\(\) .*'room' is positional-only.*move it behind the /"):
        path_arguments(handler, leading=1)


def test_what_takes_everything() -> None:
    """`*args, **kwargs` say nothing about the path."""

    async def every(*args: object, **kwargs: object) -> None:
        pass

    async def rest(conn: object, *args: object, **kwargs: object) -> None:
        pass

    assert path_arguments(every, leading=1) == ()
    assert path_arguments(rest, leading=1) == ()


async def shapes(
    conn: object,
    alias: Room,
    union: str | None,
    annotated: Annotated[str, "a room"],
    anything: object,
    checkers: OnlyForCheckers,
) -> None:
    """Take one parameter for each form of annotation."""


def test_annotations_that_are_no_text() -> None:
    """Without the import from __future__ they are there as they are."""

    async def handler(conn: object, room: str) -> None:
        pass

    handler.__annotations__["room"] = UUID
    assert [parameter.annotation for parameter in path_arguments(handler, leading=1)] == [UUID]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="a name that is not there is an error of the definition")
def test_annotations_that_nobody_has_evaluated() -> None:
    """From Python 3.14 on they are evaluated when they are asked for; a name for type checkers only stays open."""
    namespace: dict[str, AnyFunction] = {}
    exec("async def handler(conn: Unknown, room: OnlyForCheckers, key: int) -> None: ...", namespace)
    room, key = path_arguments(namespace["handler"], leading=1)
    compare("/{room}/{key:int}", {"room": str, "key": int}, (room, key))
    with pytest.raises(ConfigurationError, match="'key' is annotated int"):
        compare("/{room}/{key}", {"room": str, "key": str}, (room, key))


OFFERED = ["alias", "union", "annotated", "anything", "checkers"]


def test_annotations_that_agree() -> None:
    """Aliases, unions, Annotated, object, none at all, and a name that only a type checker sees."""
    function: AnyFunction = shapes
    compare("/x", dict.fromkeys(OFFERED, str), path_arguments(function, leading=1))
    by_name = {parameter.name: parameter.annotation for parameter in path_arguments(function, leading=1)}
    assert by_name["checkers"] is inspect.Parameter.empty


def compare(path: str, offered: dict[str, type], *functions: tuple[PathArgument, ...]) -> None:
    """Compare a path with what the functions of its route take."""
    callables.check_path_arguments(path, offered, owner="chat() (app.py:7)", functions=functions)


def agreeing(annotation: object) -> None:
    """Compare an annotation with a path that offers a string."""
    parameter = PathArgument(name="room", annotation=annotation, required=True, owner="chat() (app.py:7)")
    compare("/rooms/{room}", {"room": str}, (parameter,))


@pytest.mark.parametrize(
    "annotation",
    [str, typing.Any, object, inspect.Parameter.empty, OLD_UNION, str | int, Annotated[str | None, 1]],
    ids=repr,
)
def test_an_annotation_that_takes_a_string(annotation: object) -> None:
    """What is a string, or may be one, agrees."""
    agreeing(annotation)


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (int, "int"),
        (bytes, "bytes"),
        (None, "None"),
        (OLD_OPTIONAL, "Optional"),
        (list[str], "list"),
        (dict[str, str], "dict"),
        (tuple[str, ...], "tuple"),
        (type[str], "type"),
        (Annotated[int, str], "int"),
        (Literal["lobby"], "lobby"),
        (Callable[[str], str], "Callable"),
        ("str", "str"),
    ],
    ids=repr,
)
def test_an_annotation_that_disagrees(annotation: object, shown: str) -> None:
    """Anything else is a mistake: the function, the parameter, the path and both types are in the text."""
    with pytest.raises(ConfigurationError) as caught:
        agreeing(annotation)
    text = str(caught.value)
    assert text.startswith("chat() (app.py:7): parameter 'room' is annotated ")
    assert shown in text
    assert "'/rooms/{room}' gives str; change the annotation, or the converter in the path" in text


@pytest.mark.parametrize(
    ("converter", "kind"), [("int", int), ("float", float), ("uuid", UUID), ("path", str), ("str", str)]
)
def test_each_converter(converter: str, kind: type) -> None:
    """The type that a converter gives is the one to annotate; bool, which is an int to Python, is not."""
    for annotation in (int, float, UUID, str, bool):
        parameter = PathArgument(name="x", annotation=annotation, required=True, owner="chat()")
        if annotation is kind:
            compare(f"/{{x:{converter}}}", {"x": kind}, (parameter,))
        else:
            with pytest.raises(ConfigurationError, match=f"gives {kind.__name__}; change the annotation"):
                compare(f"/{{x:{converter}}}", {"x": kind}, (parameter,))


def test_a_parameter_that_the_path_does_not_have() -> None:
    """Named with its function, the path and two remedies; one with a default is no mistake."""
    needed = PathArgument(name="room", annotation=str, required=True, owner="load() (guards.py:3)")
    with pytest.raises(ConfigurationError) as caught:
        compare("/rooms", {}, (), (needed,))
    assert str(caught.value) == (
        "load() (guards.py:3) takes 'room', which the path '/rooms' does not have; "
        "add {room} to the path, or give the parameter a default"
    )
    optional = PathArgument(name="room", annotation=int, required=False, owner="load() (guards.py:3)")
    compare("/rooms", {}, (), (optional,))


def test_a_placeholder_that_nobody_takes() -> None:
    """Named with the handler, the path and two remedies; it is enough that a guard takes it."""
    with pytest.raises(ConfigurationError) as caught:
        compare("/rooms/{room}/{id:int}", {"room": str, "id": int}, (), ())
    assert str(caught.value) == (
        "chat() (app.py:7): path '/rooms/{room}/{id:int}' has {room}, but neither the handler nor a guard takes it; "
        "add a parameter `room: str` to the handler, or remove the placeholder"
    )
    room = PathArgument(name="room", annotation=str, required=True, owner="load() (guards.py:3)")
    compare("/rooms/{room}", {"room": str}, (), (room,))


def test_two_may_take_one_placeholder() -> None:
    """The handler and any number of guards see the same parameter; each must agree."""
    room = PathArgument(name="room", annotation=str, required=True, owner="chat() (app.py:7)")
    wrong = PathArgument(name="room", annotation=int, required=True, owner="load() (guards.py:3)")
    compare("/rooms/{room}", {"room": str}, (room,), (room,))
    with pytest.raises(ConfigurationError, match=r"^load\(\) \(guards\.py:3\): parameter 'room' is annotated int"):
        compare("/rooms/{room}", {"room": str}, (room,), (wrong,))


@pytest.mark.parametrize("function", [len, print, max, functools.partial(print, "x")])
def test_a_callback_that_is_written_in_c(function: AnyFunction) -> None:
    """It need not say what it takes."""
    check_sync_callback("App(on_end=...)", function, takes="outcome")


def test_what_is_not_known_to_return_a_bool() -> None:
    """A function that is written in C may say nothing, and an annotation may be quoted beyond reason."""

    def quoted() -> None:
        """Its annotation is set below."""

    assert not returns_bool(max)
    for quotes, known in ((1, True), (2, True), (4, False)):
        annotation = "bool"
        for _ in range(quotes - 1):
            annotation = repr(annotation)
        quoted.__annotations__["return"] = annotation
        assert returns_bool(quoted) is known
