"""The annotations of a class: resolved, and with its type parameters filled in."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Mapping
from typing import Final, TypeVar, cast

from seawall.errors import ConfigurationError
from seawall.messages.forms import arguments_of, class_of, origin_of

#: What says only that a class has parameters.
_GENERIC: Final = frozenset[object]((typing.Generic, typing.Protocol))


class UnresolvedName(ConfigurationError):
    """An annotation names what does not exist yet; it may later, when the program is complete."""


def resolved_hints(kind: object, known: Mapping[str, object]) -> dict[str, object]:
    """The annotations of a class, or of a generic one with its parameters: ``Page[Item]``.

    Args:
      kind: the class.
      known: classes by module and qualified name; those that stand beside it may be named although its module does not
        have them, because they are local to the same function.

    Raises:
      UnresolvedName: an annotation names what cannot be found.
    """
    origin = class_of(kind)
    found: dict[str, object] = {}
    owners = _owners(kind)
    for owner in reversed(origin.__mro__):
        if owner is not object:
            own = _evaluated(_annotations(owner), owner, known)
            found |= {name: substituted(hint, owners.get(owner, {})) for name, hint in own.items()}
    return found


def resolved_types(kind: object, attributes: Mapping[str, object], known: Mapping[str, object]) -> dict[str, object]:
    """The types that attrs or `dataclasses` has for the fields of a class, resolved in the same way.

    They are the annotations, unless a ``field_transformer`` has given a field another type, or an annotation stands in
    a class that neither has seen. What is no annotation is looked up where one of the same name stands.

    Args:
      kind: the class, or a generic one with its parameters.
      attributes: the types by name; None where none is known, or where the annotation is None.
      known: as for `resolved_hints`.

    Raises:
      UnresolvedName: a type names what cannot be found.
    """
    origin = class_of(kind)
    owners, annotations = _owners(kind), {one: _annotations(one) for one in origin.__mro__ if one is not object}
    found: dict[str, object] = {}
    for name, type_ in attributes.items():
        having = [one for one, own in annotations.items() if name in own]
        if type_ is not None or having:
            first = having[0] if having else origin
            said = annotations[first][name] if type_ is None else type_
            owner = next((one for one in having if annotations[one][name] == said), first)
            hint = _evaluated({name: said}, owner, known)[name]
            found[name] = substituted(hint, owners.get(owner, {}))
    return found


def _evaluated(annotations: dict[str, object], owner: type, known: Mapping[str, object]) -> dict[str, object]:
    """Those of one class; `typing.get_type_hints` would mix the parameters of its bases up."""
    try:
        return evaluated(annotations, owner, known)
    except NameError as error:
        raise UnresolvedName(
            f"{owner.__qualname__} has an annotation that names {error.name!r}, which does not exist; define it before "
            "the route is added, in the module of the class if `from __future__ import annotations` is in force"
        ) from None


def evaluated(annotations: dict[str, object], owner: type, known: Mapping[str, object]) -> dict[str, object]:
    """Annotations, with the names in them looked up where a class stands.

    Raises:
      NameError: one is not there.
    """
    module = sys.modules.get(owner.__module__)
    alone = types.SimpleNamespace(__annotations__=annotations)
    parameters: tuple[TypeVar, ...] = getattr(owner, "__type_params__", ())  # of ``class Page[T]``
    namespace = {**_beside(owner, known), owner.__name__: owner, **{one.__name__: one for one in parameters}}
    return typing.get_type_hints(alone, {} if module is None else vars(module), namespace, include_extras=True)


def _beside(owner: type, known: Mapping[str, object]) -> dict[str, object]:
    """Those of the known classes that stand where `owner` stands; in a module, what it has itself is the truth."""
    place, _, _ = f"{owner.__module__}.{owner.__qualname__}".rpartition(".")
    beside = {name.rpartition(".")[2]: kind for name, kind in known.items() if name.rpartition(".")[0] == place}
    module = sys.modules.get(place)
    return {name: kind for name, kind in beside.items() if module is None or name not in vars(module)}


if sys.version_info >= (3, 14):
    import annotationlib

    def _annotations(owner: type) -> dict[str, object]:
        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
else:

    def _annotations(owner: type) -> dict[str, object]:
        return dict(vars(owner).get("__annotations__", {}))


def _owners(kind: object) -> dict[type, dict[TypeVar, object]]:
    """By class, what the type parameters of `kind` and of its generic bases stand for."""
    found: dict[type, dict[TypeVar, object]] = {}

    def visit(form: object, outer: Mapping[TypeVar, object]) -> None:
        origin = origin_of(form) or form
        if not isinstance(origin, type):
            return
        parameters: tuple[TypeVar, ...] = getattr(origin, "__parameters__", ())
        arguments = (substituted(argument, outer) for argument in arguments_of(form))
        mapping = dict(zip(parameters, arguments, strict=False))
        found[origin] = mapping
        for base in getattr(origin, "__orig_bases__", origin.__bases__):
            if origin_of(base) not in _GENERIC:
                visit(base, mapping)

    visit(kind, {})
    return found


def substituted(hint: object, mapping: Mapping[TypeVar, object]) -> object:
    """A type with its type parameters filled in; those that are unknown stay."""
    if isinstance(hint, TypeVar):
        return mapping.get(hint, hint)
    parameters: tuple[TypeVar, ...] = () if isinstance(hint, type) else getattr(hint, "__parameters__", ())
    if not parameters or not any(parameter in mapping for parameter in parameters):
        return hint
    subscribed = cast("_Generic", hint)
    return subscribed[tuple(mapping.get(parameter, parameter) for parameter in parameters)]


class _Generic(typing.Protocol):
    def __getitem__(self, arguments: tuple[object, ...], /) -> object:
        """Fill the parameters in."""
        ...
