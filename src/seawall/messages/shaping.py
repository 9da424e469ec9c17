"""From annotations to shapes: which types a message may consist of, checked when it is defined."""

from __future__ import annotations

import collections.abc
import datetime as dt
import decimal
import enum
import typing
import uuid
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, NoReturn, cast, final

import msgspec
from attrs import define, field, frozen

from seawall.errors import ConfigurationError
from seawall.messages.codec import JSON, Codec, MessagePack, spelled
from seawall.messages.fields import (
    NOTHING,
    FieldSpec,
    check_has_instances,
    fields_of,
    is_class_of_fields,
    is_dictionary,
    is_struct_base,
)
from seawall.messages.forms import (
    UNIONS,
    arguments_of,
    class_of,
    documentation,
    is_enum,
    is_generic,
    is_hashable,
    is_named_tuple,
    members_of,
    name_of,
    named_fields,
    origin_of,
    shown,
    union,
    without_alias,
)
from seawall.messages.hints import resolved_hints
from seawall.messages.limits import annotated, limited, validator_of
from seawall.messages.positions import position_shape
from seawall.messages.records import Member, Record, struct_default
from seawall.messages.shapes import Choice, Limited, Many, Plain, Row, Shape, Table
from seawall.messages.tags import TAG_FIELD, tag_of
from seawall.messages.unions import check_names, check_tags, check_told_apart
from seawall.messages.values import finite, finite_decimal, not_plain, plain

#: What msgspec decodes and encodes, and nothing has to be checked.
_LEAVES: Final = (
    type(None), bool, int, str, bytes, bytearray, uuid.UUID, dt.datetime, dt.date, dt.time,
    dt.timedelta, msgspec.UnsetType,
)  # fmt: skip

#: What an annotation names, what msgspec decodes for it, and what else may be sent.
_COLLECTIONS: Final[Mapping[object, tuple[type, tuple[type, ...]]]] = {
    list: (list, ()),
    set: (set, ()),
    frozenset: (frozenset, ()),
    collections.abc.Sequence: (list, (tuple, collections.abc.Sequence)),
    collections.abc.MutableSequence: (list, (collections.abc.MutableSequence,)),
    collections.abc.Collection: (list, (tuple, set, frozenset)),
    collections.abc.Set: (frozenset, (set, collections.abc.Set)),
    collections.abc.MutableSet: (set, (collections.abc.MutableSet,)),
}
_KEYS: Final = {str, int, uuid.UUID, dt.datetime, dt.date}
_CALLABLE: Final[object] = collections.abc.Callable
_MAPPINGS: Final = frozenset[object]((dict, collections.abc.Mapping, collections.abc.MutableMapping))

#: The fields of the envelope, which no message may have itself.
RESERVED: Final = (TAG_FIELD, "ref", "re")

#: How JSON Schema calls what is text in a message, and msgspec says nothing about unless it has a time zone.
_FORMATS: Final[Mapping[object, str]] = {dt.datetime: "date-time", dt.time: "time"}

#: How many annotations may stand in each other. A recursive alias would have no end.
_DEPTH: Final = 40


@final
@frozen(kw_only=True)
class Envelope:
    """The fields of a message beside those of its class, and the types that msgspec decodes for them."""

    name: str
    wire: object
    required: bool = False


class Role(enum.Enum):
    """What a class is in a message."""

    NESTED = "nested"
    """A value that is in no union: no tag."""
    MEMBER = "member"
    """A member of a union, which its tag tells from the others."""
    MESSAGE = "message"
    """The whole message: its tag, and the fields of the envelope."""


@final
@define(eq=False)
class Shaper:
    """Makes the shapes of all types that one decoder or encoder meets."""

    codec: Codec
    sends: bool = False
    """Whether the values are sent; their fields then look as they are typed, not as their converters take them."""
    describes: bool = False
    """Whether the types are for a schema, where no default of ours may be seen."""
    envelope: tuple[Envelope, ...] = ()
    _records: dict[tuple[object, Role], Record] = field(init=False, factory=dict[tuple[object, Role], Record])
    _known: dict[str, object] = field(init=False, factory=dict[str, object])
    """Classes by module and qualified name: what stands beside them may name them, although they are local."""

    def shape(self, kind: object, path: str) -> Shape:
        """The shape of a value somewhere in a message.

        Raises:
          ConfigurationError: it, or something in it, cannot be part of a message; the text says where, and what to do.
        """
        return self._shape(kind, path, 0)

    def message(self, kind: object) -> Record:
        """The shape of a whole message of one class.

        Raises:
          ConfigurationError: as `shape`; or a field of it has the name of one of the envelope.
        """
        record = self._record(kind, class_of(kind).__name__, Role.MESSAGE if self.envelope else Role.MEMBER)
        for member in record.members:
            if member.wire in RESERVED:
                raise ConfigurationError(
                    f"{record.name}.{member.spec.name} is {member.wire!r} in the message, which the envelope needs; "
                    "rename the field"
                )
        return record

    def know(self, kinds: Iterable[object]) -> None:
        """Let annotations name these classes."""
        self._known |= {shown(class_of(kind)): class_of(kind) for kind in kinds if is_class_of_fields(class_of(kind))}

    def finish(self) -> Mapping[str, object]:
        """Let msgspec look at all that has been shaped.

        Returns:
          The classes in it, by name.

        Raises:
          ConfigurationError: two classes have one name, or a union cannot be told apart.
        """
        by_name = check_names({}, ((record.name, kind) for (kind, _), record in self._records.items()))
        for (kind, role), record in self._records.items():
            if role is Role.NESTED and (kind, Role.MEMBER) in self._records and isinstance(record.wire, type):
                record.wire.__name__ = f"{record.name}Untagged"
        for record in self._records.values():
            for member in record.members:
                check_decodable(member.shape.wire, f"{record.name}.{member.spec.name}")
        return by_name

    def _shape(self, kind: object, path: str, depth: int) -> Shape:
        if depth > _DEPTH:
            raise ConfigurationError(f"{path}: an alias that contains itself; make it a class")
        kind = without_alias(kind)
        origin = origin_of(kind)
        if origin is Annotated:
            return self._annotated(kind, path, depth)
        if origin in UNIONS:
            return self.choice(kind, path, depth)
        if origin is Literal:
            values = arguments_of(kind)
            return Plain(kind, tuple({type(value) for value in values}))
        if is_class_of_fields(origin or kind) or is_dictionary(origin or kind):
            return self._record(kind, path, Role.NESTED)
        if is_named_tuple(kind):
            named, hints = class_of(kind), resolved_hints(kind, self._known)
            return Row(
                tuple(self._shape(hints[name], f"{path}.{name}", depth + 1) for name in named_fields(kind)), named
            )
        if is_enum(kind):
            return Plain(kind, (class_of(kind),))
        return self._leaf(kind, path) or self._collection(kind, path, depth) or _refuse(kind, path)

    def _annotated(self, kind: object, path: str, depth: int) -> Shape:
        inner, *metadata = arguments_of(kind)
        shape = self._shape(inner, path, depth + 1)
        limits = [one for one in metadata if isinstance(one, msgspec.Meta)]
        if isinstance(shape, Many) and shape.decoded is not shape.collection:
            shape.least = max((one.min_length or 0 for one in limits), default=0)
        return Limited(shape, annotated(shape.wire, *limits)) if limits else shape

    def _leaf(self, kind: object, path: str) -> Shape | None:
        if kind is None:  # as in ``list[None]``
            kind = type(None)
        if kind is float:
            return Plain(float, (float, int), None if isinstance(self.codec, JSON) else finite, finite)
        if kind is decimal.Decimal:
            return Plain(kind, (decimal.Decimal,), finite_decimal, finite_decimal)
        if kind is object:
            return Plain(typing.Any, (object,), None if isinstance(self.codec, JSON) else plain, plain, not_plain)
        if kind in _LEAVES:
            form = kind if self.describes and kind in _FORMATS else None
            wire = kind if form is None else annotated(kind, described(format=_FORMATS[form]))
            return Plain(wire, (cast("type", kind),))
        return position_shape(kind)

    def _collection(self, kind: object, path: str, depth: int) -> Shape | None:
        origin = origin_of(kind)
        arguments: tuple[object, ...] = arguments_of(kind)
        if origin is tuple:
            if any(getattr(one, "__unpacked__", False) or origin_of(one) is typing.Unpack for one in arguments):
                raise ConfigurationError(f"{path}: a tuple with a part of any length; make that part a list of its own")
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                return Many(self._shape(arguments[0], f"{path}[]", depth + 1), tuple)
            return Row(tuple(self._shape(one, f"{path}[{at}]", depth + 1) for at, one in enumerate(arguments)))
        if origin in _COLLECTIONS:
            collection, accepted = _COLLECTIONS[origin]
            item = self._shape(arguments[0], f"{path}[]", depth + 1)
            if collection is not list and (odd := [one for one in item.value_kinds() if not is_hashable(one)]):
                raise ConfigurationError(f"{path}: a set of {shown(odd[0])}, which cannot be hashed; make it frozen")
            return Many(item, collection, accepted)
        if origin in _MAPPINGS:
            key, value = (self._shape(one, f"{path}[...]", depth + 1) for one in arguments)
            kinds = set(key.value_kinds())
            if len(kinds) != 1 or not (kinds <= _KEYS or is_enum(next(iter(kinds)))):
                raise ConfigurationError(
                    f"{path}: a key in a message is text; use one of str, int, an enum, UUID or a date"
                )
            accepted = () if origin is dict else (collections.abc.Mapping,)
            table = Table(key, value, accepted, texts=self._decodes_as_text(key))
            names = described_names(key.value_kinds()[0]) if self.describes else None
            return table if names is None else Limited(table, annotated(table.wire, names))
        return None

    def _decodes_as_text(self, key: Shape) -> bool:
        """Whether the keys of a mapping are text for msgspec, and become what they are afterwards."""
        if key.hashed or self.describes:
            return False
        is_written_as_text = isinstance(self.codec, MessagePack) and key.value_kinds() == (uuid.UUID,)
        return is_written_as_text or not self.codec.binary

    def choice(self, kind: object, path: str, depth: int = 0) -> Shape:
        """The shape of a union: where it has two classes or more, each carries its tag."""
        kinds = members_of(kind)
        classes = [one for one in kinds if is_class_of_fields(class_of(one))]
        self.know(classes)
        check_tags(classes, path)
        role = Role.MEMBER if len(classes) > 1 else Role.NESTED
        members = tuple(
            self._record(one, path, role) if one in classes else self._shape(one, path, depth + 1) for one in kinds
        )
        check_told_apart(members, path)
        if object in kinds and set(kinds) - {object, type(None)}:
            raise ConfigurationError(f"{path}: a union with object, which all others are; write `object` alone")
        return Choice(members, union(member.wire for member in members))

    def _record(self, kind: object, path: str, role: Role) -> Record:
        if (known := self._records.get((kind, role))) is not None:
            return known
        origin = class_of(kind)
        if origin_of(kind) is None and is_generic(origin):
            raise ConfigurationError(f"{path}: {origin.__name__} is generic; say of what, {origin.__name__}[...]")
        if is_struct_base(origin) or not self.sends:
            check_has_instances(origin, path)
        tag = None if role is Role.NESTED else tag_of(origin)
        record = Record(origin, tag, name_of(kind))
        self._records[kind, role] = record
        try:
            self._fill(record, kind, path, self.envelope if role is Role.MESSAGE else ())
        except ConfigurationError:
            del self._records[kind, role]
            raise
        return record

    def _fill(self, record: Record, kind: object, path: str, envelope: tuple[Envelope, ...]) -> None:
        """Make its Struct first, because its fields may be of the same class, and give them their types then."""
        specs = fields_of(kind, self._known, path)
        wires = [spelled(spec.wire, self.codec.rename) if spec.renamed else spec.wire for spec in specs]
        taken = {*(() if record.tag is None else (TAG_FIELD,)), *(one.name for one in envelope)}
        for spec, wire in zip(specs, wires, strict=True):
            if wire in taken:
                raise ConfigurationError(f"{path}.{spec.name} is {wire!r} in the message, which is taken; rename it")
            taken.add(wire)
        record.wire = self._struct(record, specs, wires, envelope)
        members: list[Member] = []
        for spec, wire in zip(specs, wires, strict=True):
            place = f"{path}.{spec.name}"
            shape = self._shape(spec.type if self.sends else spec.accepts, place, 0)
            if (validator := validator_of(spec.attribute)) is not None:
                shape = _limited(shape, spec.accepts, validator)
            members.append(Member(spec, wire, shape))
        record.members = tuple(members)
        types_of_fields = {f"f{index}": member.shape.wire for index, member in enumerate(members)}
        record.wire.__annotations__ = types_of_fields | {one.name: one.wire for one in envelope}

    def _struct(
        self, record: Record, specs: tuple[FieldSpec, ...], wires: list[str], envelope: tuple[Envelope, ...]
    ) -> type[msgspec.Struct]:
        fields: list[tuple[str, type] | tuple[str, type, object]] = []
        for index, spec in enumerate(specs):
            fields.append((f"f{index}", object, self._default(spec)) if spec.default else (f"f{index}", object))
        fields += [(one.name, object) if one.required else (one.name, object, None) for one in envelope]
        made = msgspec.defstruct(
            record.name,
            fields,
            tag=record.tag,
            tag_field=None if record.tag is None else TAG_FIELD,
            rename={f"f{index}": wire for index, wire in enumerate(wires)},
            forbid_unknown_fields=self.codec.unknown_fields == "refuse",
            kw_only=True,
            gc=False,
        )
        made.__doc__ = documentation(record.kind)
        return made

    def _default(self, spec: FieldSpec) -> object:
        default = struct_default(spec)
        return msgspec.field(default_factory=object) if self.describes and default is NOTHING else default


def check_decodable(wire: object, path: str) -> None:
    """Let msgspec look at a type.

    Raises:
      ConfigurationError: it cannot decode it.
    """
    try:
        msgspec.json.Decoder(wire)
    except (TypeError, ValueError, RecursionError) as error:
        said = str(error).partition(" - ")[0]
        raise ConfigurationError(f"{path} cannot be decoded: {said}; give it a type whose members differ") from None


def described(**words: object) -> msgspec.Meta:
    """Words of JSON Schema that msgspec would not say."""
    return msgspec.Meta(extra_json_schema=words)


def described_names(kind: type) -> msgspec.Meta | None:
    """What the keys of a mapping look like, which are text in JSON."""
    if is_enum(kind):
        members = cast("Iterable[enum.Enum]", kind)
        return described(propertyNames={"enum": [str(member.value) for member in members]})
    if kind is int:
        return described(propertyNames={"pattern": "^(0|-?[1-9][0-9]*)$"})
    form = "uuid" if kind is uuid.UUID else "date" if kind is dt.date else _FORMATS.get(kind)
    return None if form is None else described(propertyNames={"format": form})


def _limited(shape: Shape, kind: object, validator: object) -> Shape:
    """A shape with the limits of a stock validator; of a union only that with None has any."""
    kinds = members_of(kind)
    others = [one for one in kinds if one is not type(None)]
    if len(others) != 1:
        return shape
    if isinstance(shape, Choice):
        members = tuple(
            _limited(member, one, validator) if one is others[0] else member
            for one, member in zip(kinds, shape.members, strict=True)
        )
        return Choice(members, union(member.wire for member in members))
    origin = origin_of(others[0])
    base = dict if origin in _MAPPINGS else _COLLECTIONS[origin][0] if origin in _COLLECTIONS else others[0]
    narrowed = limited(shape.wire, base, validator)
    return shape if narrowed is shape.wire else Limited(shape, narrowed)


def _refuse(kind: object, path: str) -> NoReturn:
    """Say what is wrong with a type that no message can have."""
    if kind is typing.Any:
        raise ConfigurationError(f"{path} is Any, which is no type; write `object` for any value")
    if isinstance(kind, typing.TypeVar):
        raise ConfigurationError(f"{path} is the type parameter {kind}, which nothing fills in; write Class[type]")
    origin = origin_of(kind) or kind
    if origin is _CALLABLE:
        raise ConfigurationError(f"{path} is a callable, which no message can carry; remove it, or give it init=False")
    if origin is tuple or origin in _COLLECTIONS or origin in _MAPPINGS:
        raise ConfigurationError(f"{path}: say of what, {shown(kind)}[...]")
    raise ConfigurationError(
        f"{path} is a {shown(kind)}, which no message can carry; make it an attrs class, or give its field a "
        "converter from a type that messages have"
    )
