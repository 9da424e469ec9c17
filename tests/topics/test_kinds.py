"""What is published is of the classes that the topic or the presence was defined with, without a type checker too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Generic, NewType, TypeVar, cast

import pytest
import trio
from attrs import frozen

from seawall import Anonymous, App, ConfigurationError, Connection, public
from seawall.rooms import Presence, Room
from seawall.testing import Closed, serve

T = TypeVar("T")
HERE = __name__


@frozen
class Said:
    """What is published."""

    text: str


@frozen
class Louder(Said):
    """A kind of it."""

    volume: int = 1


@frozen
class Whispered:
    """Something else."""

    text: str


@frozen
class Page(Generic[T]):
    """A generic class."""

    items: list[T]


class Shout(str):
    """Text, of a class of its own."""

    __slots__ = ()


Words = NewType("Words", str)


async def coroutine() -> Said:
    """What is not awaited."""
    return Said("hello")


async def published(room: Room[object], value: object) -> None:
    """In both ways; both say the same."""
    texts: list[str] = []
    try:
        await room.publish(value)
    except TypeError as error:
        texts.append(str(error).replace("publish()", "_"))
    try:
        room.publish_nowait(value)
    except TypeError as error:
        texts.append(str(error).replace("publish_nowait()", "_"))
    if texts:
        first, second = texts
        assert first == second
        raise TypeError(first)


ACCEPTED = [
    (Said, Said("x")),
    (Said, Louder("x")),
    (Said | Whispered, Whispered("x")),
    (str, "x"),
    (str, Shout("x")),
    (Words, "x"),
    (str | bytes, b"x"),
    (Said | str, "x"),
    (Said | (Whispered | bytes), b"x"),
    (Page[int], Page([1])),
]


@pytest.mark.parametrize(("kind", "value"), ACCEPTED, ids=range(len(ACCEPTED)))
async def test_what_a_topic_is_of_is_published(kind: object, value: object) -> None:
    """An instance of the class, of a subclass, of one member of a union, and of a generic class."""
    app = App()
    room = cast("Room[object]", app.topic("rooms", cast("type[Said]", kind), history=1)())
    async with serve(app):
        await published(room, value)
        (event,) = await room.history(1)
        assert event.value is value


REFUSED = [
    (Said, Whispered("x"), f"_ was given {HERE}.Whispered, and topic('rooms') is of {HERE}.Said; give one"),
    (Louder, Said("x"), f"given {HERE}.Said, and topic('rooms') is of {HERE}.Louder"),
    (Said, "x", f"given str, and topic('rooms') is of {HERE}.Said"),
    (Said, 1, f"given int, and topic('rooms') is of {HERE}.Said"),
    (Said, None, f"given NoneType, and topic('rooms') is of {HERE}.Said"),
    (str, b"x", "given bytes, and topic('rooms') is of str"),
    (str | bytes, Said("x"), f"given {HERE}.Said, and topic('rooms') is of str or bytes"),
    (Said | Whispered, "x", f"topic('rooms') is of {HERE}.Said or {HERE}.Whispered"),
    (Page[int], Said("x"), f"topic('rooms') is of {HERE}.Page"),
    (Said, Said, "the class Said was to be sent; make an instance of it"),
]


@pytest.mark.parametrize(("kind", "value", "text"), REFUSED, ids=range(len(REFUSED)))
async def test_what_it_is_not_of_is_refused(kind: object, value: object, text: str) -> None:
    """With the topic, what it is of, what was given, and the remedy; and nothing is published."""
    app = App()
    room = cast("Room[object]", app.topic("rooms", cast("type[Said]", kind), history=1)())
    async with serve(app):
        with pytest.raises(TypeError) as raised:
            await published(room, value)
        assert text in str(raised.value)
        assert await room.history(1) == ()


async def test_a_coroutine_is_told_from_a_value_of_another_class() -> None:
    """It was to be awaited, and Python does not warn of it once more."""
    app = App()
    room = cast("Room[object]", app.topic("rooms", Said)())
    async with serve(app):
        with pytest.raises(TypeError, match="a coroutine was to be sent, which nobody has awaited; write `await`"):
            room.publish_nowait(coroutine())


async def test_a_readable_topic_is_of_the_same_classes() -> None:
    """Whoever may read it."""
    app = App()

    async def everybody(_: object) -> None:
        await trio.lowlevel.checkpoint()

    room = cast("Room[object]", app.topic("rooms", Said).readable(everybody)())
    async with serve(app):
        await published(room, Said("x"))
        with pytest.raises(TypeError, match=r"topic\('rooms'\) is of"):
            await published(room, Whispered("x"))


@pytest.mark.parametrize("kind", [int, list[Said], Said | int, Annotated[Said, 1], Said | None])
def test_a_topic_is_of_what_messages_can_carry(kind: object) -> None:
    """Everything else is refused where it is defined."""
    app = App()
    defined: list[Callable[[], object]] = [
        lambda: app.topic("rooms", cast("type[Said]", kind)),
        lambda: app.presence("rooms", cast("type[Said]", kind)),
    ]
    for define in defined:
        with pytest.raises(ConfigurationError, match=r"^(topic|presence)\('rooms'\)"):
            define()


async def test_a_member_is_said_by_a_value_of_the_presence() -> None:
    """Where somebody joins, who is not in the room then, and where it says something else, which nobody is told."""
    app = App()
    people = app.presence("rooms", Said)
    unchecked = cast("Presence[object]", people)
    texts: list[str] = []

    @app.route("/", guard=public)
    async def handler(conn: Connection[Anonymous]) -> None:
        with pytest.raises(TypeError) as joining:
            async with unchecked().joined(conn, Whispered("x")):
                pytest.fail("it has joined")
        assert people().members() == ()
        async with unchecked().joined(conn, Louder("x")) as me:
            with pytest.raises(TypeError) as updating:
                await me.update("x")
            (member,) = people().members()
            assert member.value == Louder("x")
        texts.extend(str(one.value) for one in (joining, updating))

    async with serve(app) as server, server.connect("/") as client:
        with pytest.raises(Closed):
            await client.receive()
    remedy = f"and presence('rooms') is of {HERE}.Said; give one of these, or define it with a union that has both"
    assert texts == [
        f"joined() was given {HERE}.Whispered, {remedy}",
        f"update() was given str, {remedy}",
    ]


async def test_whoever_gets_nothing_is_a_connection() -> None:
    """Not what it is called; and nothing is published."""
    app = App()
    room = app.topic("rooms", Said, history=1)()
    async with serve(app):
        with pytest.raises(TypeError, match=r"publish\(but=...\) was given str; give the Connection"):
            await room.publish(Said("x"), but=cast("Connection[object]", "c1"))
        assert await room.history(1) == ()
