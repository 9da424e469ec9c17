"""Every value of every type comes back from its own message; whatever is not a message is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall import JSON, InvalidMessage, MessagePack
from seawall.messages.codec import Codec, Fields
from seawall.messages.decoder import Control, EventDecoder, MessageDecoder, decoder_for
from seawall.messages.encoder import MessageEncoder
from seawall.policy.answers import answer_invalid
from seawall.position import Position
from tests.kit import messages

CODECS: tuple[Codec, ...] = (
    JSON(),
    MessagePack(),
    JSON(rename="camel", unknown_fields="ignore"),
    MessagePack(rename="kebab"),
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
POINTS = st.builds(messages.Point, x=INTEGERS, y=INTEGERS, type=TEXT)
CIRCLES = st.builds(messages.Circle, radius=FLOATS)
SHAPES = CIRCLES | st.builds(messages.Square, side=FLOATS, kind=st.sampled_from(["filled", "open"]))
TREES = st.recursive(
    st.builds(messages.Tree, name=TEXT),
    lambda inner: st.builds(messages.Tree, name=TEXT, children=st.lists(inner, max_size=2), parent=st.none() | inner),
    max_leaves=5,
)
PAGES = st.builds(messages.Page[messages.Point], items=st.lists(POINTS, max_size=2), following=st.none() | POINTS)
PLACES = st.builds(messages.Place, name=TEXT, at=POINTS)
OPTIONS = st.fixed_dictionaries(
    {"limit": INTEGERS},
    optional={
        "near": PLACES,
        "more": st.lists(st.fixed_dictionaries({"limit": INTEGERS}, optional={"near": PLACES}), max_size=2),
    },
)
POSITIONS = st.builds(Position, st.from_regex("[A-Za-z0-9]{1,24}", fullmatch=True), st.integers(0, 10**19 - 1))
VALUES: st.SearchStrategy[Fields] = st.one_of(
    st.builds(messages.Say, room=TEXT.filter(bool), text=TEXT, n=st.integers(0, 2**63 - 1)),
    st.builds(messages.RoomLeft, room_id=TEXT, last_message=st.none() | TEXT),
    TREES,
    st.builds(
        messages.Shapes,
        one=SHAPES,
        several=st.lists(SHAPES, max_size=3),
        by_name=st.dictionaries(TEXT, st.none() | SHAPES, max_size=2),
    ),
    st.builds(messages.Move, to=POINTS, speed=FLOATS, via=st.lists(POINTS, max_size=2)),
    st.builds(messages.Moved, at=POINTS, by=TEXT, tags=st.lists(TEXT, max_size=2)),
    st.builds(
        messages.Bounded,
        low=st.integers(-5, 5),
        share=st.floats(0, 1, exclude_max=True),
        names=st.lists(TEXT, max_size=3),
    ),
    PAGES,
    st.builds(
        messages.Search,
        options=OPTIONS,
        fixed=st.fixed_dictionaries({"a_b": INTEGERS}, optional={"c": POINTS}),
        places=st.dictionaries(TEXT, PLACES, max_size=2),
    ),
    st.builds(
        messages.Everything,
        text=TEXT,
        whole=INTEGERS,
        number=FLOATS,
        yes=st.booleans(),
        raw=st.binary(max_size=8),
        nothing=st.none(),
        at=st.datetimes(timezones=st.just(dt.UTC)) | st.datetimes(),
        day=st.dates(),
        hour=st.times(),
        lasts=st.timedeltas(dt.timedelta(-(10**6)), dt.timedelta(10**6)),
        id=st.uuids(),
        price=st.decimals(allow_nan=False, allow_infinity=False),
        colour=st.sampled_from(messages.Colour),
        level=st.sampled_from(messages.Level),
        word=st.sampled_from(["a", "b", 3]),
        maybe=st.none() | INTEGERS,
        either=INTEGERS | TEXT,
        row=st.tuples(INTEGERS, TEXT),
        rows=st.lists(POINTS, max_size=2).map(tuple),
        names=st.sets(TEXT, max_size=2),
        fixed=st.frozensets(INTEGERS, max_size=2),
        counts=st.dictionaries(TEXT, INTEGERS, max_size=2),
        by_id=st.dictionaries(st.uuids(), POINTS, max_size=2),
        nested=POINTS,
        pages=PAGES,
        tree=TREES,
        since=POSITIONS,
        seen=st.sets(POSITIONS, max_size=2),
        last=st.none() | POSITIONS,
    ),
)


def kind_of(value: Fields) -> object:
    """The type by which a value is decoded."""
    return messages.Page[messages.Point] if isinstance(value, messages.Page) else type(value)


def decoder(codec: Codec, kind: object) -> MessageDecoder[object]:
    """A decoder, as a route makes it."""
    made: MessageDecoder[object] = decoder_for(codec, cast("type[object]", kind), where="here")
    return made


def message(codec: Codec, payload: bytes) -> str | bytes:
    """A payload as it arrives."""
    return payload if codec.binary else payload.decode(errors="surrogateescape")


ENCODERS: dict[Codec, MessageEncoder] = {codec: MessageEncoder(codec) for codec in CODECS}
for one in ENCODERS.values():
    one.check(messages.Page[messages.Point], where="here")
ALL = tuple(kind for kind in messages.MESSAGES if kind != messages.Page[messages.Circle])
EVENTS: dict[Codec, EventDecoder] = {codec: EventDecoder(codec, ALL, where="here") for codec in CODECS}


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(CODECS), VALUES)
def test_a_value_comes_back(codec: Codec, value: Fields) -> None:
    """By the decoder of its class, and by that of all events."""
    payload = ENCODERS[codec].encode(value)
    assert decoder(codec, kind_of(value)).decode(message(codec, payload)) == value
    assert EVENTS[codec].decode(message(codec, payload)) == (value, None)
    answer = ENCODERS[codec].encode(value, re="a")
    assert EVENTS[codec].decode(message(codec, answer)) == (Control.ANSWER, "a")


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
@given(st.sampled_from(CODECS), VALUES, st.data())
def test_a_corrupted_message_is_refused_or_is_valid(codec: Codec, value: Fields, data: st.DataObject) -> None:
    """Bytes cut, changed or inserted: a path and no exception but one, or a value that comes back."""
    payload = bytearray(ENCODERS[codec].encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(payload) - 1, 0)))
        match data.draw(st.sampled_from(["cut", "change", "insert"])):
            case "cut":
                del payload[at : at + data.draw(st.integers(1, 5))]
            case "change":
                payload[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case _:
                payload[at:at] = data.draw(
                    st.sampled_from([b"[", b"{", b'"', b"\\", b"9" * 400, b"1e999", b"\x00", b"\xff"])
                )
    refused_or_valid(codec, kind_of(value), bytes(payload))


@settings(deadline=None)
@given(st.sampled_from(CODECS), st.sampled_from(messages.MESSAGES), st.binary(max_size=40))
def test_any_bytes(codec: Codec, kind: object, payload: bytes) -> None:
    """Nothing but `InvalidMessage` comes of them."""
    refused_or_valid(codec, kind, payload)


JUNK = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)
@given(st.sampled_from(CODECS), VALUES, JUNK, st.data())
def test_a_field_of_another_type(codec: Codec, value: Fields, junk: object, data: st.DataObject) -> None:
    """One entry of the message replaced by anything."""
    binary = codec.binary
    payload = ENCODERS[codec].encode(value)
    tree: dict[str, object] = msgspec.msgpack.decode(payload) if binary else msgspec.json.decode(payload)
    tree[data.draw(st.sampled_from([*tree, "ref", "re", "other"]))] = junk
    refused_or_valid(codec, kind_of(value), msgspec.msgpack.encode(tree) if binary else msgspec.json.encode(tree))


def refused_or_valid(codec: Codec, kind: object, payload: bytes) -> None:
    """A payload is refused with a path, or is a value that comes back."""
    value = received(decoder(codec, kind).decode, message(codec, payload))
    if isinstance(value, InvalidMessage):
        assert value.path.startswith("$")
        assert value.detail
        assert len(ENCODERS[codec].error(answer_invalid(value), re=value.ref)) <= 512
        assert value.__context__ is None
    else:
        again = ENCODERS[codec].encode(cast("Fields", value))
        assert decoder(codec, kind).decode(message(codec, again)) == value
    received(EVENTS[codec].decode, message(codec, payload))


def received(decode: Callable[[str | bytes], object], payload: str | bytes) -> object:
    """The value, or why there is none."""
    try:
        return decode(payload)
    except InvalidMessage as invalid:
        return invalid


def test_every_class_is_tried() -> None:
    """What the module of classes holds is what is made here."""
    assert set(ALL) | {messages.Page[messages.Circle]} == set(messages.MESSAGES)
    with pytest.raises(InvalidMessage):
        decoder(JSON(), messages.Tree).decode("{}")
