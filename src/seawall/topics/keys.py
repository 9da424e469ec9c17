"""`RoomPattern` and `RoomKey`: what a topic is called, and which of its rooms is meant. Pure.

A pattern is made of segments between ``/``, as that of a route, without a ``/`` in front: literals and placeholders.

================  =============  =====================================================
placeholder       value          what it takes
================  =============  =====================================================
``{name}``        `str`          text of at most 1,024 bytes in UTF-8
``{name:int}``    `int`          a whole number of 64 bits
``{name:uuid}``   `uuid.UUID`    any
================  =============  =====================================================

A room is its pattern and the tuple of its parameters, never a text that they are joined to: a parameter may hold ``/``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from keyword import iskeyword
from typing import Final, NoReturn, final
from unicodedata import normalize
from uuid import UUID

from attrs import field, frozen

from seawall.callables import Parameter
from seawall.errors import ConfigurationError, InvalidMessage

#: Bytes of a parameter that is text.
MAX_TEXT: Final = 1024
#: So many characters have no more bytes than that, whatever they are.
_SURELY_SHORT: Final = MAX_TEXT // 4
_MOST: Final = 2**63 - 1

_TYPES: Final[Mapping[str, type[Parameter]]] = {"str": str, "int": int, "uuid": UUID}
_PLACEHOLDER: Final = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@final
@frozen(eq=False, repr=False)
class RoomKey:
    """Which room is meant, within one app. Keys of the same pattern and parameters are equal."""

    pattern: str
    parameters: tuple[Parameter, ...]
    """In the order in which the pattern has them."""
    _hash: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Hash it as text, which is salted: anybody can find numbers that have one hash, and name rooms by them."""
        object.__setattr__(self, "_hash", hash(repr((self.pattern, self.parameters))))

    def __eq__(self, other: object) -> bool:
        """Whether it is the same room."""
        if not isinstance(other, RoomKey):
            return NotImplemented
        return self._hash == other._hash and self.pattern == other.pattern and self.parameters == other.parameters

    def __hash__(self) -> int:
        """One hash for keys that are equal."""
        return self._hash

    def __repr__(self) -> str:
        """The pattern, and what fills it in, shortened."""
        shown = (one if len(one := repr(value)) <= 60 else f"{one[:59]}…" for value in self.parameters)
        return f"{self.pattern}({', '.join(shown)})"


def shown_room(key: RoomKey) -> str:
    """How a room is called in the log: printable, however it is called, and each parameter of 60 characters at most.

    The log in which the changes of a presence are told is called as their room.
    """
    return repr(key).removeprefix("/")


def log_key(key: RoomKey) -> RoomKey:
    """What the log is called in which the changes of a presence are told: as no room of a topic can be."""
    return RoomKey(f"/{key.pattern}", key.parameters)


@final
@frozen(kw_only=True, eq=False)
class RoomPattern:
    """A pattern that has been checked. Made by `parse`."""

    text: str
    """As it was written."""
    parameters: Mapping[str, type[Parameter]]
    """Every placeholder's name and the type of its value, in order."""
    shape: str
    """The text without the names: two patterns of one shape would be told apart by nothing but spelling."""

    @classmethod
    def parse(cls, text: str) -> RoomPattern:
        """Read a pattern such as ``rooms/{room}`` or ``rooms/{room}/items/{id:int}``.

        Raises:
          ConfigurationError: it is none; the text says what is wrong and what to write.
        """
        _check_text(text)
        parameters: dict[str, type[Parameter]] = {}
        shape: list[str] = []
        for segment in text.split("/"):
            if not segment:
                _refuse(text, "it has an empty segment; write single '/' between segments, and none at either end")
            found = _PLACEHOLDER.fullmatch(segment)
            if found is None:
                if "{" in segment or "}" in segment:
                    _refuse(text, f"the placeholder in {segment!r} is not a whole segment; give it one of its own")
                shape.append(segment)
                continue
            name, converter = found[1], "str" if found[2] is None else found[2]
            _check_placeholder(text, name, converter, parameters)
            parameters[name] = _TYPES[converter]
            shape.append(f"{{{converter}}}")
        return cls(text=text, parameters=parameters, shape="/".join(shape))

    def key(self, values: Mapping[str, Parameter]) -> RoomKey:
        """The key of the room with these parameters.

        Raises:
          TypeError: one is missing, or unknown, or not of the type that the pattern names.
          InvalidMessage: text that is too long or cannot be encoded, or a number that is too large: a peer names rooms.
        """
        if values.keys() != self.parameters.keys():
            raise TypeError(f"{self.text!r} takes {_listed(self.parameters)}; it was given {_listed(values)}")
        return RoomKey(self.text, tuple(_checked(self, name, values[name]) for name in self.parameters))


def _checked(pattern: RoomPattern, name: str, value: Parameter) -> Parameter:
    kind = pattern.parameters[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{pattern.text!r}: {name} is a {type(value).__name__}; give it a {kind.__name__}")
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, int):
        if abs(value) > _MOST:
            raise InvalidMessage(f"$.{name}", "expected a number within range")
        return int(value)
    return value


def _text(name: str, value: str) -> str:
    """`value` as a plain str, if a room can be called so."""
    try:
        size = len(value) if len(value) <= _SURELY_SHORT and value.isascii() else len(str.encode(value))
    except UnicodeEncodeError:
        size = MAX_TEXT + 1
    if size > MAX_TEXT:
        raise InvalidMessage(f"$.{name}", f"expected text of at most {MAX_TEXT} bytes")
    return value if type(value) is str else str.__str__(value)


def _check_text(value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"pattern {value!r}: it is no text; write one such as 'rooms/{{room}}'")
    if value.startswith("/"):
        _refuse(value, f"what rooms are called is no path; write {value.lstrip('/')!r}")
    if _CONTROL.search(value):
        _refuse(value, "it has a character that cannot be printed; leave it out")


def _check_placeholder(pattern: str, name: str, converter: str, known: Mapping[str, type[Parameter]]) -> None:
    # Python stores identifiers in NFKC: a keyword spelled otherwise would reach no parameter.
    if not name.isidentifier() or iskeyword(name) or normalize("NFKC", name) != name:
        _refuse(pattern, f"{name!r} cannot be the name of a parameter; use a Python identifier that is no keyword")
    if converter not in _TYPES:
        _refuse(pattern, f"there is no converter {converter!r}; known are {', '.join(_TYPES)}")
    if name in known:
        _refuse(pattern, f"the name {name!r} is there twice; give each placeholder its own")


def _refuse(pattern: str, problem: str) -> NoReturn:
    raise ConfigurationError(f"pattern {pattern!r}: {problem}")


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "no parameters"
