"""`Topic` and `Room` at run time, where annotations are evaluated; one parameter is too few before Python 3.13."""

from __future__ import annotations

import typing

import pytest

from seawall.rooms import Room, Topic

#: A module as an application writes it, without ``from __future__ import annotations``.
SOURCE = """
from typing import Generic, TypeVar

from seawall import Sendable
from seawall.rooms import Disconnect, Gap, Lag, Latest, Room, RoomEvent, Since, Subscribable, Topic

T = TypeVar("T")

def rooms(topic: Topic[int], room: Room[int], wide: Room[int, str]) -> Room[int | None]: ...

def wrap(event: RoomEvent[int] | Gap, lag: Lag[int] = Disconnect(8), since: Since | str = None) -> Sendable | None: ...

def lagging(lag: Lag[int] | None, latest: Latest[int] | None, feed: Subscribable[int, str] | None) -> "Topic[int]": ...

class Forum(Generic[T]):
    room: Room[T]
    topic: Topic[T] | None = None

Rooms = Room[T] | None
"""


def application() -> dict[str, object]:
    """What the module has in it."""
    namespace: dict[str, object] = {}
    exec(compile(SOURCE, "application.py", "exec", dont_inherit=True), namespace)
    return namespace


def test_annotations_are_evaluated() -> None:
    """What is left out is `object`, as type checkers take it."""
    names = application()
    hints = {name: typing.get_type_hints(names[name], names) for name in ("rooms", "wrap", "lagging", "Forum")}
    assert {name: typing.get_args(hint) for name, hint in hints["rooms"].items()} == {
        "topic": (int, object),
        "room": (int, object),
        "wide": (int, str),
        "return": (int | None, object),
    }
    assert typing.get_origin(hints["rooms"]["room"]) is Room
    assert typing.get_args(hints["lagging"]["return"]) == (int, object)
    assert hints["Forum"]["room"] == typing.cast("dict[object, object]", Room)[names["T"], object]


def test_a_parameter_is_filled_in_later() -> None:
    """By an alias, or by a class of the application's own that is generic."""
    alias = typing.cast("dict[object, object]", application()["Rooms"])
    assert alias[int] == Room[int] | None
    with pytest.raises(TypeError, match="Too many"):
        typing.cast("dict[object, object]", Room)[int, str, bytes]
    with pytest.raises(TypeError, match="Too many"):
        typing.cast("dict[object, object]", Topic)[int, str, bytes]
