"""What an `object` in MessagePack may not be: more than JSON can say. The error says where, and what it is."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest
from attrs import field, frozen

from seawall import InvalidMessage, MessagePack
from seawall.messages.decoder import decoder_for
from seawall.messages.problems import MAX_PATH

SECRET = "rose" * 8


@frozen
class Report:
    """Has all kinds of places for them."""

    data: object = None
    named: dict[str, object] = field(factory=dict[str, object])
    many: list[object] = field(factory=list[object])
    row: tuple[int, object] = (1, None)


DEEP = {"a": [{"b": [1, 2, {"c": b"\x00"}]}]}
FAULTS: dict[str, tuple[str, object, str, str]] = {
    "bytes": ("data", SECRET.encode(), "$.data", "expected what JSON can say, got bytes"),
    "extension": (
        "data",
        msgspec.msgpack.Ext(7, SECRET.encode()),
        "$.data",
        "expected what JSON can say, got an extension",
    ),
    "timestamp": ("data", dt.datetime.now(dt.UTC), "$.data", "expected what JSON can say, got a timestamp"),
    "a key that is a number": ("data", {1: "a"}, "$.data[...]", "expected a key of text"),
    "a key that is bytes": ("data", {SECRET.encode(): 1}, "$.data[...]", "expected a key of text"),
    "a key that is null": ("data", {None: 1}, "$.data[...]", "expected a key of text"),
    "NaN": ("data", float("nan"), "$.data", "expected a finite number"),
    "infinity in a list": ("data", [1, [0.5, float("inf")]], "$.data[1][1]", "expected a finite number"),
    "deep": ("data", DEEP, "$.data[...][0][...][2][...]", "expected what JSON can say, got bytes"),
    "the first of two": ("data", [b"a", {1: 2}], "$.data[0]", "expected what JSON can say, got bytes"),
    "of a mapping": ("named", {"a": 1, SECRET: b"a"}, "$.named[...]", "expected what JSON can say, got bytes"),
    "of a list": ("many", [1, {2: 3}], "$.many[1][...]", "expected a key of text"),
    "of a row": ("row", [1, [b"a"]], "$.row[1][0]", "expected what JSON can say, got bytes"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_more_than_json_can_say(name: str) -> None:
    """It has a path and a text of its own, without a value or a key of the peer's."""
    place, value, path, detail = FAULTS[name]
    message = msgspec.msgpack.encode({"type": "report", place: value})
    with pytest.raises(InvalidMessage) as caught:
        decoder_for(MessagePack(), Report, where="here").decode(message)
    assert (caught.value.path, caught.value.detail) == (path, detail)
    assert SECRET not in str(caught.value)


def test_a_message_that_is_deep_and_wide() -> None:
    """Neither makes a long path, nor takes long to look through."""
    value: object = b"a"
    for _ in range(200):
        value = [0, value]
    message = msgspec.msgpack.encode({"type": "report", "data": [[0] * 500_000, value]})
    with pytest.raises(InvalidMessage) as caught:
        decoder_for(MessagePack(), Report, where="here").decode(message)
    assert caught.value.path.startswith("$.data[1][1][1]")
    assert len(caught.value.path) <= MAX_PATH
    assert caught.value.detail == "expected what JSON can say, got bytes"


def test_what_json_can_say() -> None:
    """It arrives as it is."""
    value: object = {"a": [1, -1, 0.5, True, None, "x", {"b": list[object]()}], "c": 2**63}
    message = msgspec.msgpack.encode({"type": "report", "data": value})
    assert decoder_for(MessagePack(), Report, where="here").decode(message) == Report(value)
