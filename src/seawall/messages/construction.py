"""How instances of an attrs class are made without its ``__init__``, where that would only check once more.

When msgspec has held all limits of a class while it decoded, what is left of ``__init__`` is to set the attributes. The
validators are functions of Python: to call them again costs several times as much as to decode the message.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from seawall.messages.fields import ByClass, FieldSpec, Value, attrs_fields, is_attrs, is_generated
from seawall.messages.limits import holds

#: Sets one attribute, whatever ``__setattr__`` says.
Setter: TypeAlias = Callable[[object, object], None]

#: What a class may have that ``__init__`` calls, or keeps beside the fields.
_MORE: tuple[str, ...] = ("__attrs_pre_init__", "__attrs_post_init__", "_attrs_cached_hash")


def setters_of(kind: type, specs: Sequence[FieldSpec]) -> list[Setter] | None:
    """What sets the attributes of a new instance, field by field; None if the class has to be called.

    It need not be if attrs has made a class with slots and with its ``__init__``, and all that this does is to set what
    the message brings or the default says.
    """
    if not (is_attrs(kind) and is_generated(kind) and _is_made_plainly(kind) and len(specs) == len(attrs_fields(kind))):
        return None
    setters: list[Setter] = []
    for spec in specs:
        slot: object = getattr(kind, spec.name, None)
        if not isinstance(slot, types.MemberDescriptorType) or not _is_set_as_it_is(spec):
            return None
        setters.append(slot.__set__)
    return setters or None


def _is_made_plainly(kind: type) -> bool:
    """Whether nobody takes part in making an instance but ``__init__``."""
    new: object = kind.__new__
    is_usual = type(kind).__call__ is type.__call__ and new is object.__new__
    return is_usual and not any(hasattr(kind, name) for name in _MORE)


def _is_set_as_it_is(spec: FieldSpec) -> bool:
    """Whether the value that has been decoded, or the default, is what ``__init__`` would set."""
    attribute, default = spec.attribute, spec.default
    if attribute is None or attribute.converter is not None or isinstance(default, ByClass):
        return False
    if attribute.validator is None:
        return True
    return holds(spec.accepts, attribute.validator) and (
        not isinstance(default, Value) or _is_allowed(attribute.validator, default.value)
    )


def _is_allowed(validator: object, default: object) -> bool:
    """Whether a validator that msgspec can hold lets the default pass; it looks at the value alone."""
    try:
        cast("Callable[[object, object, object], object]", validator)(None, None, default)
    except Exception:  # noqa: BLE001 - an error of the class, which it is to raise itself, or none
        return False
    return True
