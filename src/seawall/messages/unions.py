"""Whether classes and the members of a union can be told apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from seawall.errors import ConfigurationError
from seawall.messages.forms import class_of, shown
from seawall.messages.shapes import Shape
from seawall.messages.tags import tag_of


def check_tags(classes: Iterable[object], path: str) -> None:
    """Refuse two classes of one tag.

    Raises:
      ConfigurationError: there are two.
    """
    by_tag: dict[str, object] = {}
    for kind in classes:
        other = by_tag.setdefault(tag_of(class_of(kind)), kind)
        if other is not kind:
            raise ConfigurationError(
                f"{path}: {shown(other)} and {shown(kind)} have one type, {tag_of(class_of(kind))!r}; give one "
                'of them another: @tag("...")'
            )


def check_names(known: Mapping[str, object], more: Iterable[tuple[str, object]]) -> dict[str, object]:
    """What is known by a name, and more.

    Raises:
      ConfigurationError: two classes have one name.
    """
    by_name = {**known}
    for name, kind in more:
        other = by_name.setdefault(name, kind)
        if other != kind:
            raise ConfigurationError(f"{shown(other)} and {shown(kind)} have one name, {name}; rename one of them")
    return by_name


def check_told_apart(members: Iterable[Shape], path: str) -> None:
    """Refuse two members of a union that msgspec would take for one.

    Such are a list, and a set that it decodes as a list; text, and a position.

    Raises:
      ConfigurationError: there are two.
    """
    for name, kinds in (("arrays", {list, tuple, set, frozenset}), ("objects", {dict}), ("texts", {str})):
        if sum(not kinds.isdisjoint(member.wire_kinds()) for member in members) > 1:
            raise ConfigurationError(
                f"{path}: a union of two {name}, which look the same in a message; give it members that differ"
            )
