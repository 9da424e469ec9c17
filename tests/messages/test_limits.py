"""Stock validators of attrs become limits of msgspec; whatever is not known stays with the class."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from typing import Annotated

import attrs
import msgspec
import pytest
from attrs import field
from attrs.validators import and_, ge, gt, in_, le, lt, max_len, min_len, optional, or_
from hypothesis import given
from hypothesis import strategies as st

from seawall import JSON, InvalidMessage
from seawall.messages.decoder import MessageDecoder, decoder_for
from seawall.messages.schema import schema_of
from tests.kit.json_schema import definition


def made(annotation: object, validator: object) -> type:
    """A class with one field that has a validator."""
    options: dict[str, object] = {"type": annotation, "validator": validator}
    kind: type = attrs.make_class("Made", {"value": field(**options)})  # type: ignore[call-overload]  # any options  # pyright: ignore[reportArgumentType, reportCallIssue]
    return kind


def limits(annotation: object, validator: object) -> object:
    """What the schema says about that field."""
    schema = schema_of(JSON(), made(annotation, validator), where="here")
    return definition(schema, "Made", "properties", "value")


KNOWN: list[tuple[object, object, object]] = [
    (int, ge(1), {"type": "integer", "minimum": 1}),
    (int, [gt(1), lt(5)], {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 5}),
    (
        int,
        [ge(1), gt(1), ge(0), le(5), lt(5), le(9)],
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 5},
    ),
    (int, and_(ge(1), and_(le(7), ge(2))), {"type": "integer", "minimum": 2, "maximum": 7}),
    (float, [ge(0), lt(1.5)], {"type": "number", "minimum": 0, "exclusiveMaximum": 1.5}),
    (str, [min_len(1), max_len(9), max_len(5)], {"type": "string", "minLength": 1, "maxLength": 5}),
    (list[int], max_len(3), {"type": "array", "items": {"type": "integer"}, "maxItems": 3}),
    (dict[str, int], max_len(3), {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 3}),
    (int | None, optional(ge(1)), {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}),
    (int, [ge(1), in_([1, 2])], {"type": "integer", "minimum": 1}),
    # What msgspec cannot hold, or holds otherwise, is the class's alone.
    (int, ge(0.5), {"type": "integer"}),
    (int, ge(2**70), {"type": "integer"}),
    (float, ge(float("inf")), {"type": "number"}),
    (int, ge(True), {"type": "integer"}),
    (str, ge("a"), {"type": "string"}),
    (str, max_len(-1), {"type": "string"}),
    (set[int], max_len(2), {"type": "array", "items": {"type": "integer"}}),
    (decimal.Decimal, ge(decimal.Decimal(1)), {"type": ["string", "number"], "format": "decimal"}),
    (bool, ge(1), {"type": "boolean"}),
    (int, or_(ge(5), le(1)), {"type": "integer"}),
    (int, None, {"type": "integer"}),
]


@pytest.mark.parametrize(("annotation", "validator", "said"), KNOWN, ids=[str(number) for number in range(len(KNOWN))])
def test_what_becomes_a_limit(annotation: object, validator: object, said: object) -> None:
    """The schema shows it."""
    assert limits(annotation, validator) == said


def decode(kind: type) -> Callable[[str], object]:
    """Decodes messages of a class."""
    decoder: MessageDecoder[object] = decoder_for(JSON(), kind, where="here")
    return decoder.decode


@pytest.mark.parametrize(
    ("annotation", "validator", "value", "detail"),
    [
        (str, max_len(2), '"abc"', "expected at most 2 characters"),
        (str, min_len(2), '"a"', "expected at least 2 characters"),
        (bytes, max_len(2), '"YWJj"', "expected at most 2 bytes"),
        (list[int], max_len(1), "[1,2]", "expected at most 1 items"),
        (dict[str, int], max_len(1), '{"a":1,"b":2}', "expected at most 1 entries"),
        (int, ge(1), "0", "expected at least 1"),
        (int, gt(1), "1", "expected at least 2"),
        (int, le(1), "2", "expected at most 1"),
        (int, lt(1), "1", "expected at most 0"),
        (float, lt(1.5), "1.5", "expected less than 1.5"),
        (float | None, optional(gt(1)), "1", "expected more than 1.0"),
        (int, ge(0.5), "0", "refused by its validator"),
        (set[int], max_len(1), "[1,2]", "refused by its validator"),
        (int | None, lt(1), "null", "refused by its validator"),
        (int, in_([1]), "2", "refused by its validator"),
    ],
)
def test_a_limit_is_named(annotation: object, validator: object, value: str, detail: str) -> None:
    """The path is that of the field, whoever holds the limit."""
    with pytest.raises(InvalidMessage) as refusal:
        decode(made(annotation, validator))(f'{{"type":"made","value":{value}}}')
    assert (refusal.value.path, refusal.value.detail) == ("$.value", detail)


def test_validators_that_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should attrs rename what it keeps in its validators, they are the class's alone, with the same path."""

    class Bounds:
        """A bound by another name."""

        compare_op = "=="
        bound = 1

        def __call__(self, instance: object, attribute: object, value: int) -> None:
            if value > 1:
                raise ValueError

    monkeypatch.setattr("seawall.messages.limits._NUMBER", Bounds)
    monkeypatch.setattr("seawall.messages.limits._MAX_LENGTH", Bounds)
    assert limits(int, Bounds()) == {"type": "integer"}
    assert limits(int, ge(1)) == {"type": "integer"}
    assert limits(str, max_len(1)) == {"type": "string"}
    with pytest.raises(InvalidMessage, match=r"\$\.value: refused by its validator"):
        decode(made(int, Bounds()))('{"type":"made","value":2}')


def test_limits_of_the_annotation_stay() -> None:
    """A field may have limits of msgspec's; those of attrs are the class's then."""
    kind = made(Annotated[int, msgspec.Meta(ge=5)], le(7))
    with pytest.raises(InvalidMessage, match="expected at least 5"):
        decode(kind)('{"type":"made","value":4}')
    with pytest.raises(InvalidMessage, match="refused by its validator"):
        decode(kind)('{"type":"made","value":8}')


BOUNDS = {">=": ge, ">": gt, "<=": le, "<": lt}
NUMBERS: st.SearchStrategy[float] = st.one_of(
    st.integers(-9, 9), st.floats(-9, 9), st.sampled_from([2**63, -(2**63) - 1, 2**70, 1e300])
)


@given(
    st.lists(st.tuples(st.sampled_from(sorted(BOUNDS)), NUMBERS), max_size=4), st.integers(-(2**72), 2**72) | NUMBERS
)
def test_msgspec_and_attrs_agree_about_numbers(bounds: list[tuple[str, float]], value: float) -> None:
    """Whatever the limits are, a value is refused if and only if the class refuses it."""
    kind = made(type(value), [BOUNDS[operator](number) for operator, number in bounds])
    try:
        kind(value)
    except ValueError:
        with pytest.raises(InvalidMessage):
            decode(kind)(f'{{"type":"made","value":{value!r}}}')
    else:
        assert decode(kind)(f'{{"type":"made","value":{value!r}}}') == kind(value)


def test_the_validators_of_attrs_are_where_they_were() -> None:
    """On this attrs the classes of its stock validators are told apart."""
    stock: list[object] = [ge(1), max_len(1), min_len(1), and_(ge(1)), optional(ge(1))]
    kinds: list[object] = [type(one) for one in stock]
    assert len(set(kinds)) == len(stock)
    others: list[object] = [gt(1), le(1), lt(1)]
    assert {type(one) for one in others} == {kinds[0]}
