"""Sets and mappings whose members the peer has chosen so that all have one hash."""

from __future__ import annotations

import decimal
import json
import sys
import uuid
from collections.abc import Mapping
from typing import Annotated, cast

import msgspec
import pytest
from attrs import frozen

from seawall import JSON, InvalidMessage, MessagePack
from seawall.messages.codec import Codec
from seawall.messages.decoder import decoder_for
from seawall.messages.hashing import MOST, CollidingValues, check_hashes
from tests.kit.messages import Level

#: Multiples of it have the hash 0.
MODULUS = sys.hash_info.modulus


@frozen
class Cell:
    """Hashed by its fields."""

    x: int


def colliding(count: int) -> list[int]:
    """Numbers of one hash."""
    return [number * MODULUS for number in range(count)]


def uuids(count: int) -> list[str]:
    """UUIDs of one hash."""
    return [str(uuid.UUID(int=number)) for number in colliding(count)]


def decoded(codec: Codec, kind: object, message: str | bytes) -> object:
    """The value of a message."""
    return decoder_for(codec, cast("type[object]", kind), where="the test").decode(message)


def refused(codec: Codec, kind: object, value: object) -> tuple[str, str]:
    """Where a value is wrong, and why."""
    message = json.dumps(value) if not codec.binary else msgspec.msgpack.encode(value)
    with pytest.raises(InvalidMessage) as caught:
        decoded(codec, kind, message)
    return caught.value.path, caught.value.detail


SETS: list[tuple[object, list[object]]] = [
    (set[int], [*colliding(MOST + 1)]),
    (frozenset[int], [*colliding(MOST + 1)]),
    (set[decimal.Decimal], [str(number) for number in colliding(MOST + 1)]),
    (set[uuid.UUID], [*uuids(MOST + 1)]),
    (set[int | str], [*colliding(MOST + 1), "text"]),
    (set[tuple[int, int]], [[number, 1] for number in colliding(MOST + 1)]),
    (set[frozenset[int]], [[number] for number in colliding(MOST + 1)]),
    (set[Cell], [{"x": number} for number in colliding(MOST + 1)]),
    (set[object], [*colliding(MOST + 1)]),
    (set[Annotated[int, msgspec.Meta(ge=0)]], [*colliding(MOST + 1)]),
]


@pytest.mark.parametrize(("kind", "value"), SETS, ids=[str(kind) for kind, _ in SETS])
def test_a_set_of_one_hash_is_refused(kind: object, value: list[object]) -> None:
    """It would compare each item with each."""
    assert refused(JSON(), kind, value) == ("$", "too many values of one hash")
    generic = cast("Mapping[object, object]", dict)
    assert refused(JSON(), generic[str, kind], {"k": value}) == (
        "$[...]",
        "too many values of one hash",
    )


@pytest.mark.parametrize("codec", [JSON(), MessagePack()], ids=["json", "messagepack"])
def test_a_mapping_of_one_hash_is_refused(codec: Codec) -> None:
    """Its keys are text in the message, whose hashes nobody knows."""
    assert refused(codec, dict[uuid.UUID, int], dict.fromkeys(uuids(MOST + 1), 1)) == (
        "$",
        "too many values of one hash",
    )


def test_a_mapping_of_numbers_of_one_hash_is_refused() -> None:
    """In JSON; MessagePack has no numbers that are large enough."""
    found = refused(JSON(), dict[int, list[Cell]], dict.fromkeys(map(str, colliding(MOST + 1)), ()))
    assert found == ("$", "too many values of one hash")


@pytest.mark.parametrize("kind", [set[int], dict[int, int]], ids=str)
def test_numbers_that_are_large_and_differ_are_no_fault(kind: object) -> None:
    """Nor are many that are the same."""
    several = [*range(-2000, 2000), *colliding(MOST), *(2**70 + number for number in range(1000))] * 2
    found = decoded(
        JSON(), kind, json.dumps(several) if kind == set[int] else json.dumps({str(one): one for one in several})
    )
    assert found == (set(several) if kind == set[int] else {one: one for one in several})
    assert decoded(JSON(), set[int], json.dumps([7] * 1000)) == {7}


def test_values_of_few_hashes() -> None:
    """Only those that differ are counted."""
    check_hashes([*colliding(MOST), *range(1000)])
    check_hashes([0, *range(1000), *[0] * 1000])
    with pytest.raises(CollidingValues):
        check_hashes([*range(1000), *colliding(MOST + 1)])


@pytest.mark.parametrize(
    ("kind", "message", "detail"),
    [
        (dict[int, int], '{"01":1}', "expected an integer, got text"),
        (dict[uuid.UUID, int], '{"x":1}', "expected a UUID"),
        (dict[Annotated[int, msgspec.Meta(ge=3)], int], '{"2":1}', "expected at least 3"),
        (dict[Level, int], '{"9":1}', "expected one of the values that are allowed"),
    ],
    ids=str,
)
def test_a_wrong_key(kind: object, message: str, detail: str) -> None:
    """It is found where it was before, among few and among many."""
    with pytest.raises(InvalidMessage) as caught:
        decoded(JSON(), kind, message)
    assert (caught.value.path, caught.value.detail) == ("$[...]", detail)


def test_the_last_of_two_keys_that_are_one_counts() -> None:
    """A UUID can be written in several ways."""
    one = str(uuid.UUID(int=2**127 + 10))
    many = {str(uuid.UUID(int=number)): 0 for number in range(MOST)}
    for others in ({}, many):
        found = decoded(JSON(), dict[uuid.UUID, int], json.dumps({one: 1, **others, one.upper(): 2}))
        assert found == {uuid.UUID(key): value for key, value in others.items()} | {uuid.UUID(one): 2}


def test_the_least_of_a_set_is_of_items_that_differ() -> None:
    """A list in its place would count one twice."""
    kind = Annotated[set[int], msgspec.Meta(min_length=2)]
    assert decoded(JSON(), kind, "[1,2,2]") == {1, 2}
    assert refused(JSON(), kind, [1, 1])[0] == "$"
