"""The fields of a class as it is called with them: of attrs classes, dataclasses and Structs."""

from __future__ import annotations

import dataclasses
import inspect
import keyword
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NotRequired, Protocol, Required, TypeAlias, cast, final

import attrs
import msgspec
from attrs import frozen

from seawall.errors import ConfigurationError
from seawall.messages.forms import arguments_of, class_of, origin_of, shown
from seawall.messages.hints import UnresolvedName, evaluated, resolved_hints, resolved_types
from seawall.messages.validators import email, normalised_email
from seawall.position import Position

#: In place of what the message did not bring. attrs takes it for "use the factory".
NOTHING: Final = attrs.NOTHING

#: Classes of attrs, one of which its stubs call a function.
FACTORY: Final = cast("type", attrs.Factory)
CONVERTER: Final = cast("type", attrs.Converter)


class AttrsField(Protocol):
    """What is read of a field of an attrs class, with nothing said about its type."""

    name: str
    alias: str | None
    type: object
    default: object
    converter: object
    validator: object
    init: bool


def attrs_fields(kind: type) -> tuple[AttrsField, ...]:
    """The fields of an attrs class."""
    return cast("tuple[AttrsField, ...]", attrs.fields(kind))


@final
@frozen
class Value:
    """A default that is one value."""

    value: object


@final
@frozen
class Made:
    """A default that is made anew for each instance."""

    make: Callable[[], object]


@final
@frozen
class ByClass:
    """A default that attrs makes, with the instance or without, when it is given `NOTHING`."""


@final
@frozen
class Absent:
    """Nothing at all: the key of a TypedDict that need not be there."""


Default: TypeAlias = Value | Made | ByClass | Absent | None


@final
@frozen(kw_only=True)
class FieldSpec:
    """One field of a class."""

    name: str
    """Of the attribute."""
    argument: str
    """Of the parameter of ``__init__``."""
    wire: str
    """In the message, before the codec renames it."""
    renamed: bool = True
    """Whether the codec may rename it."""
    accepts: object
    """The type of what ``__init__`` takes: a converter's parameter, else the type of the field."""
    type: object
    """The type of the attribute."""
    default: Default = None
    keyword_only: bool = False
    attribute: AttrsField | None = None
    """Of an attrs class: its converter and its validators."""


def is_class_of_fields(kind: object) -> bool:
    """Whether `kind` is an attrs class, a dataclass or a Struct; not a `Position`, which is text in a message."""
    if not isinstance(kind, type) or kind is Position:
        return False
    known = cast("type[object]", kind)
    return is_attrs(known) or dataclasses.is_dataclass(known) or _is_struct(known)


def _is_struct(kind: type) -> bool:
    return issubclass(kind, msgspec.Struct)


def is_struct_base(kind: object) -> bool:
    """Whether `kind` is the base of all Structs."""
    return kind is msgspec.Struct


def is_without_instances(kind: type) -> bool:
    """Whether only classes that are derived from `kind` have instances: it is abstract, a Protocol, or `Struct`."""
    return is_struct_base(kind) or inspect.isabstract(kind) or vars(kind).get("_is_protocol") is True


def check_has_instances(kind: type, path: str) -> None:
    """Refuse the base of others where a class of messages is wanted.

    Raises:
      ConfigurationError: it is one.
    """
    if is_without_instances(kind):
        raise ConfigurationError(
            f"{path}: {shown(kind)} has no instances; name the classes that are derived from it, A | B"
        )


def is_dictionary(kind: object) -> bool:
    """Whether `kind` is a TypedDict."""
    return typing.is_typeddict(kind)


def is_attrs(kind: type) -> bool:
    """Whether attrs has made the class, or one that it is derived from."""
    return attrs.has(kind)


def fields_of(kind: object, known: Mapping[str, object], path: str) -> tuple[FieldSpec, ...]:
    """What `kind`, a class or a generic one with its parameters, is called with, in the order of the parameters.

    Args:
      kind: the class.
      known: classes by module and qualified name that annotations beside them may name.
      path: where it was found, for messages.

    Raises:
      ConfigurationError: a field cannot be filled from a message; the text says which one, and what to do.
    """
    origin = class_of(kind)
    try:
        if is_attrs(origin):
            hints = resolved_types(kind, {one.name: one.type for one in attrs_fields(origin)}, known)
        else:
            hints = resolved_hints(kind, known)
        hints |= resolved_types(kind, _types_of_dataclass(origin), known)
    except UnresolvedName as error:
        raise UnresolvedName(f"{path}: {error}") from None
    if is_dictionary(origin):
        return tuple(_of_dictionary(origin, hints))
    if is_attrs(origin):
        specs = _of_attrs(origin, hints, path)
    elif _is_struct(origin):
        specs = _of_struct(cast("type[msgspec.Struct]", origin), hints)
    else:
        specs = _of_dataclass(origin, hints, path)
    return _in_order(origin, specs, path)


def _types_of_dataclass(kind: object) -> dict[str, object]:
    """The types of its fields, which a decorator may have changed; none of another class."""
    return {one.name: one.type for one in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}


def wire_name(name: str) -> str:
    """``from_`` is ``from``: the underscore is there because the name is a keyword of Python."""
    return name[:-1] if name.endswith("_") and keyword.iskeyword(name[:-1]) else name


def _of_dictionary(kind: type, hints: Mapping[str, object]) -> Iterator[FieldSpec]:
    needed: frozenset[str] = getattr(kind, "__required_keys__", frozenset[str]())
    for name, hint in hints.items():
        mark = origin_of(hint)  # what is text under future annotations is not in `__required_keys__`
        marked = mark is Required or mark is NotRequired
        required = mark is Required if marked else name in needed
        accepts = arguments_of(hint)[0] if marked else hint
        default = None if required else Absent()
        yield FieldSpec(name=name, argument=name, wire=name, accepts=accepts, type=accepts, default=default)


def _of_attrs(kind: type, hints: Mapping[str, object], path: str) -> list[FieldSpec]:
    generated = is_generated(kind)
    specs: list[FieldSpec] = []
    for attribute in attrs_fields(kind):
        if not attribute.init:
            continue
        place = f"{path}.{attribute.name}"
        hint = hints.get(attribute.name)
        if hint is None:
            raise ConfigurationError(f"{place} has no type; annotate it")
        if attribute.converter is normalised_email:
            email()  # while the program is put together, and not at a message
        accepts = hint if attribute.converter is None else accepted_by(attribute.converter, kind, place)
        argument = attribute.alias or attribute.name
        specs.append(
            FieldSpec(
                name=attribute.name,
                argument=argument,
                wire=wire_name(argument),
                accepts=accepts,
                type=hint,
                default=_attrs_default(attribute.default, generated=generated, place=place),
                attribute=attribute,
            )
        )
    return specs


def is_generated(kind: type) -> bool:
    """Whether attrs has written ``__init__``, which takes `NOTHING` for a default."""
    code = getattr(vars(kind).get("__init__"), "__code__", None)
    return isinstance(code, types.CodeType) and code.co_filename.startswith("<attrs generated")


def _attrs_default(default: object, *, generated: bool, place: str) -> Default:
    if default is NOTHING:
        return None
    if not isinstance(default, FACTORY):
        return Value(default)
    if generated:
        return ByClass()
    if getattr(default, "takes_self", False):
        raise ConfigurationError(f"{place}: its default needs the instance, but __init__ is not attrs' own; use attrs'")
    return Made(cast("Callable[[], object]", getattr(default, "factory", None)))


def accepted_by(converter: object, owner: type, place: str) -> object:
    """The type of the values that a converter takes: the annotation of its first parameter.

    Args:
      converter: a function, a class, or a `attrs.Converter`.
      owner: the class whose field it converts; what its annotation names is looked up there too.
      place: the field, for messages.

    Raises:
      ConfigurationError: it has none.
    """
    function: object = getattr(converter, "converter", None) if isinstance(converter, CONVERTER) else converter
    target = function if inspect.isroutine(function) or isinstance(function, type) else type(function).__call__
    try:
        parameters = list(inspect.signature(cast("Callable[[], object]", function)).parameters.values())
        hint: object = parameters[0].annotation
        if isinstance(hint, str):
            source = getattr(target, "__init__", None) if isinstance(target, type) else inspect.unwrap(target)
            hint = typing.get_type_hints(source, include_extras=True).get(parameters[0].name)
        elif hint is not inspect.Parameter.empty:  # attrs' own converters hold that of the function in them, unresolved
            hint = evaluated({"value": hint}, owner, {})["value"]
    except (ValueError, TypeError, IndexError, NameError):
        hint = None  # written in C, or the annotation names nothing
    if hint is None or hint is inspect.Parameter.empty or isinstance(hint, str | typing.TypeVar):
        raise ConfigurationError(
            f"{place}: its converter does not say what it takes; give it a function whose parameter is annotated, "
            "`def convert(value: str) -> ...`"
        )
    return hint


def _of_dataclass(kind: type, hints: Mapping[str, object], path: str) -> list[FieldSpec]:
    specs: list[FieldSpec] = []
    declared = {field.name for field in dataclasses.fields(kind)}
    for name, hint in hints.items():
        if isinstance(hint, dataclasses.InitVar) and name not in declared:
            raise ConfigurationError(f"{path}.{name} is an InitVar, which could not be sent back; make it a field")
    for field in dataclasses.fields(kind):
        if field.init:
            default: Default = None
            if field.default is not dataclasses.MISSING:
                default = Value(field.default)
            elif field.default_factory is not dataclasses.MISSING:
                default = Made(field.default_factory)
            hint = hints[field.name]
            specs.append(
                FieldSpec(
                    name=field.name,
                    argument=field.name,
                    wire=wire_name(field.name),
                    accepts=hint,
                    type=hint,
                    default=default,
                )
            )
    return specs


def _of_struct(kind: type[msgspec.Struct], hints: Mapping[str, object]) -> list[FieldSpec]:
    specs: list[FieldSpec] = []
    for field in msgspec.structs.fields(kind):
        default: Default = None
        if field.default is not msgspec.NODEFAULT:
            default = Value(field.default)
        elif field.default_factory is not msgspec.NODEFAULT:
            default = Made(cast("Callable[[], object]", field.default_factory))
        own = field.encode_name != field.name
        hint = hints[field.name]
        specs.append(
            FieldSpec(
                name=field.name,
                argument=field.name,
                wire=field.encode_name if own else wire_name(field.name),
                renamed=not own,
                accepts=hint,
                type=hint,
                default=default,
            )
        )
    return specs


def _in_order(kind: type, specs: list[FieldSpec], path: str) -> tuple[FieldSpec, ...]:
    """The fields in the order of the parameters of ``__init__``, which may be the application's own."""
    parameters = inspect.signature(kind).parameters
    by_argument = {spec.argument: spec for spec in specs}
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return tuple(attrs.evolve(spec, keyword_only=True) for spec in specs)
    for argument in by_argument:
        if argument not in parameters:
            raise ConfigurationError(f"{path}: its __init__ takes no {argument!r}; give it one, or init=False")
    ordered: list[FieldSpec] = []
    positional = True
    for name, parameter in parameters.items():
        spec = by_argument.get(name)
        positional = positional and spec is not None and parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        if spec is not None:
            ordered.append(attrs.evolve(spec, keyword_only=not positional))
        elif parameter.default is inspect.Parameter.empty and parameter.kind not in {
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        }:
            raise ConfigurationError(f"{path}: its __init__ takes {name!r}, which is no field; give it a default")
    return tuple(ordered)
