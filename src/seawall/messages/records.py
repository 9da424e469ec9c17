"""`Record`: the shape of a class. msgspec decodes a Struct that is made for it, and then the class is called."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, assert_never, cast, final

import msgspec
from attrs import define, field, frozen

from seawall.errors import Invalid
from seawall.messages.construction import Setter, setters_of
from seawall.messages.fields import (
    CONVERTER,
    FACTORY,
    NOTHING,
    Absent,
    AttrsField,
    ByClass,
    FieldSpec,
    Made,
    Value,
    attrs_fields,
    is_attrs,
    is_dictionary,
)
from seawall.messages.problems import Problem, of_validator
from seawall.messages.shapes import Convert, Shape
from seawall.messages.tags import TAG_FIELD

#: What is compiled takes one or two values, as its caller knows.
Function: TypeAlias = Callable[..., object]  # type: ignore[explicit-any]  # of any parameters

#: Defaults that a Struct can hold itself: nothing can change them, and they are no shape's to build.
_IMMUTABLE: Final = (
    type(None), bool, int, float, str, bytes, decimal.Decimal, uuid.UUID, enum.Enum, dt.date, dt.time,
    dt.timedelta,
)  # fmt: skip


@final
@frozen
class Member:
    """A field, its name in the message, and its shape."""

    spec: FieldSpec
    wire: str
    shape: Shape


@final
@frozen
class Behind:
    """An expression that stands behind a value which has been built from ``decoded``."""

    source: str
    names: Mapping[str, object]


@final
@define(eq=False)
class Record(Shape):
    """How the instances of one class look in a message."""

    kind: type
    tag: str | None
    """Its ``type``; None for a nested value that is in no union."""
    name: str
    """For the schema."""
    members: tuple[Member, ...] = field(init=False, default=())
    wire: object = field(init=False, default=None)
    _builder: Convert | None = field(init=False, default=None)
    _dumper: Convert | None = field(init=False, default=None)
    _busy: bool = field(init=False, default=False)
    """A function of it is being made: the class contains itself."""

    def builder(self) -> Convert:
        """Calls the class; made once."""
        if self._busy:
            return self._build_later
        if self._builder is None:
            self._busy = True
            self._builder = self.compiled_builder(None)
            self._busy = False
        return self._builder

    def _build_later(self, decoded: object) -> object:
        return self.builder()(decoded)

    def _dump_later(self, value: object) -> object:
        return self.dumper()(value)

    def compiled_builder(self, behind: Behind | None) -> Convert:
        """One call of the class with all its arguments; a pair, if something stands behind it."""
        names: dict[str, object] = {"kind": self.kind, "NOTHING": NOTHING}
        arguments = [_argument(index, member, names) for index, member in enumerate(self.members)]
        setters = setters_of(self.kind, [member.spec for member in self.members])
        made = self._called(arguments, names) if setters is None else _set(arguments, setters, names)
        if behind is None:
            return _function(f"lambda decoded: {made}", names)
        return _function(f"lambda decoded: ({made}, {behind.source})", names | dict(behind.names))

    def _called(self, arguments: list[str], names: dict[str, object]) -> str:
        """The expression of a call of the class."""
        if is_dictionary(self.kind):
            names["kind"] = _present
            arguments = [f"({member.spec.name!r}, {one})" for member, one in zip(self.members, arguments, strict=True)]
        pairs = zip(self.members, arguments, strict=True)
        given = [f"{member.spec.argument}={one}" if member.spec.keyword_only else one for member, one in pairs]
        return f"kind({', '.join(given)})"

    def dumper(self) -> Convert:
        """Makes what msgspec encodes; made once."""
        if self._busy:
            return self._dump_later
        if self._dumper is None:
            self._busy = True
            names: dict[str, object] = {"made": self.struct_to_send(())}
            self._dumper = _function(f"lambda value: made({self._sent(names)})", names)
            self._busy = False
        return self._dumper

    def dumper_with(self, envelope: str) -> Callable[[object, object], object]:
        """The same, with a field of the envelope in front, such as ``re``."""
        names: dict[str, object] = {"made": self.struct_to_send((envelope,))}
        made: Callable[[object, object], object] = _function(
            f"lambda value, envelope: made(envelope, {self._sent(names)})", names
        )
        return made

    def _sent(self, names: dict[str, object]) -> str:
        arguments: list[str] = []
        for index, member in enumerate(self.members):
            read = f"value[{member.spec.name!r}]" if is_dictionary(self.kind) else f"value.{member.spec.name}"
            convert = member.shape.dumper()
            sent = read if convert is None else f"dump{index}({read})"
            names |= {f"dump{index}": convert, "UNSET": msgspec.UNSET}
            absent = isinstance(member.spec.default, Absent)
            arguments.append(f"({sent} if {member.spec.name!r} in value else UNSET)" if absent else sent)
        return ", ".join(arguments)

    def struct_to_send(self, envelope: tuple[str, ...]) -> object:
        """The Struct that is encoded: its fields are in order, and all of them are there."""
        names = [*(f"e{index}" for index in range(len(envelope))), *(f"f{index}" for index in range(len(self.members)))]
        spelled = dict(zip(names, [*envelope, *(member.wire for member in self.members)], strict=True))
        tag_field = None if self.tag is None else TAG_FIELD
        return msgspec.defstruct(self.name, names, tag=self.tag, tag_field=tag_field, rename=spelled, gc=False)

    def rebuild(self, decoded: object, path: str) -> object:
        """Calls the class as the builder does, after its fields have been built one by one."""
        given: dict[str, object] = {}
        for index, member in enumerate(self.members):
            value: object = getattr(decoded, f"f{index}")
            if value is NOTHING or _is_default(value, member.spec):
                continue
            built = member.shape.rebuild(value, f"{path}.{member.wire}")
            if isinstance(built, Problem):
                return built
            given[member.spec.argument] = built
        try:
            return self.kind(**given)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a validator raises
            return self._fault(error, given, path)

    def _fault(self, error: Exception, given: Mapping[str, object], path: str) -> Problem:
        """Which field is at fault: found by asking converters and validators of an attrs class one by one."""
        if isinstance(error, Invalid) and error.field is not None:
            for member in self.members:
                if member.spec.name == error.field:
                    return of_validator(error, f"{path}.{member.wire}")
        if not is_attrs(self.kind):
            return of_validator(error, path)
        wires = {member.spec.name: f"{path}.{member.wire}" for member in self.members}
        try:
            name, refusal = first_refusal(self.kind, given) or ("", error)
        except Exception:  # noqa: BLE001 - an instance of this class cannot be made without its __init__
            name, refusal = "", error
        return of_validator(refusal, wires.get(name, path))

    def wire_kinds(self) -> tuple[type, ...]:
        """The Struct."""
        return (self.wire,) if isinstance(self.wire, type) else ()

    def value_kinds(self) -> tuple[type, ...]:
        """The class."""
        return (dict,) if is_dictionary(self.kind) else (self.kind,)


def _present(*pairs: tuple[str, object]) -> dict[str, object]:
    """What of a TypedDict has been in the message."""
    return {name: value for name, value in pairs if value is not NOTHING}


def struct_default(spec: FieldSpec) -> object:
    """What the Struct has where the message has nothing: the default itself, or `NOTHING`."""
    default = spec.default
    if isinstance(default, Value) and isinstance(default.value, _IMMUTABLE):
        return default.value
    return NOTHING


def _is_default(value: object, spec: FieldSpec) -> bool:
    """Whether the Struct holds the default of the class; what is given once more would be no mistake either."""
    return isinstance(spec.default, Value) and value is spec.default.value


def _argument(index: int, member: Member, names: dict[str, object]) -> str:
    """The expression of one argument."""
    convert = member.shape.builder()
    read = f"decoded.f{index}"
    built = read
    if convert is not None:
        names[f"build{index}"] = convert
        built = f"build{index}({read})"
    match member.spec.default:
        case None:
            return built
        case ByClass() | Absent():
            return read if convert is None else f"(NOTHING if {read} is NOTHING else {built})"
        case Made(make):
            names[f"make{index}"] = make
            return f"(make{index}() if {read} is NOTHING else {built})"
        case Value(value):
            if convert is None and struct_default(member.spec) is not NOTHING:
                return read
            names[f"default{index}"] = value
            absent = "NOTHING" if struct_default(member.spec) is NOTHING else f"default{index}"
            return f"(default{index} if {read} is {absent} else {built})"
        case _:
            assert_never(member.spec.default)


def _set(arguments: list[str], setters: list[Setter], names: dict[str, object]) -> str:
    """The expression of an instance whose attributes are set one by one; a setter returns None."""
    names["new"] = object.__new__
    steps: list[str] = []
    for index, (argument, setter) in enumerate(zip(arguments, setters, strict=True)):
        names[f"set{index}"] = setter
        steps.append(f"set{index}({'made' if index else 'made := new(kind)'}, {argument})")
    return f"({' or '.join(steps)} or made)"


def _function(source: str, names: dict[str, object]) -> Function:
    """Compile a function that reads one class; attrs and dataclasses make ``__init__`` in the same way."""
    made: Function = eval(source, names)  # noqa: S307 - made of our names, and of identifiers of the class
    return made


def first_refusal(kind: type, given: Mapping[str, object]) -> tuple[str, Exception] | None:
    """The first field of an attrs class whose converter or validator raises, on an instance like the one refused."""
    fields = attrs_fields(kind)
    instance: object = cast("Function", kind.__new__)(kind)
    for attribute in fields:
        value = given.get(attribute.alias or attribute.name, NOTHING) if attribute.init else NOTHING
        try:
            if value is NOTHING:
                value = _default_value(attribute, instance)
            if value is NOTHING:
                continue  # set by __attrs_post_init__, or not at all
            object.__setattr__(instance, attribute.name, _converted(attribute, instance, value))
        except Exception as error:  # noqa: BLE001 - whatever a converter raises
            return attribute.name, error
    for attribute in fields:
        if attribute.validator is not None and hasattr(instance, attribute.name):
            try:
                cast("Function", attribute.validator)(instance, attribute, getattr(instance, attribute.name))
            except Exception as error:  # noqa: BLE001 - whatever a validator raises
                return attribute.name, error
    return None


def _default_value(attribute: AttrsField, instance: object) -> object:
    default: object = attribute.default
    if isinstance(default, FACTORY):
        make = cast("Function", getattr(default, "factory", None))
        return make(instance) if getattr(default, "takes_self", False) else make()
    return default


def _converted(attribute: AttrsField, instance: object, value: object) -> object:
    if attribute.converter is None:
        return value
    convert = cast("Function", attribute.converter)
    return convert(value, instance, attribute) if isinstance(convert, CONVERTER) else convert(value)
