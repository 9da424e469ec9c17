"""The ``type`` of a message: the name of its class in snake_case, or what `tag` says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from seawall.errors import ConfigurationError
from seawall.mistakes import is_text

T = TypeVar("T")

TAG_FIELD: Final = "type"
_ATTRIBUTE: Final = "__seawall_tag__"
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_ALLOWED = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


def tag(name: str, /) -> Callable[[type[T]], type[T]]:
    """Gives a class another ``type`` than its name in snake_case: ``@tag("say.v2")`` above ``@frozen class Say``.

    Subclasses do not inherit it. A `msgspec.Struct` may say it in its own way too: ``class Say(Struct, tag="say.v2")``.

    Raises:
      ConfigurationError: it is not 1 to 64 letters, digits or ``_.:/-`` of ASCII.
    """
    if not (is_text(name) and _ALLOWED.fullmatch(name)):
        raise ConfigurationError(f"tag({name!r}): give 1 to 64 of A-Z, a-z, 0-9 and _ . : / -")

    def decorate(kind: type[T]) -> type[T]:
        setattr(kind, _ATTRIBUTE, name)
        return kind

    return decorate


def tag_of(kind: type) -> str:
    """The ``type`` of the messages of a class."""
    own: object = vars(kind).get(_ATTRIBUTE)
    if isinstance(own, str):
        return own
    if issubclass(kind, msgspec.Struct):
        configured = kind.__struct_config__.tag
        if isinstance(configured, str) and configured != kind.__name__:
            return configured
    return snake_case(kind.__name__)


def snake_case(name: str) -> str:
    """``RoomLeft`` is ``room_left``, ``HTTPError`` is ``http_error``."""
    return _WORDS.sub("_", name.strip("_")).lower()
