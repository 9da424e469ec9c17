"""Path patterns: which route a path leads to, and with which parameters. Pure.

A pattern is made of whole segments: literals and placeholders.

==================  ============  ===================================================================
placeholder         value         what it takes
==================  ============  ===================================================================
``{name}``          `str`         one segment, never an empty one
``{name:int}``      `int`         1 to 18 ASCII digits, perhaps after ``-``
``{name:float}``    `float`       ``1``, ``-1.5``, ``2e-3``; finite
``{name:uuid}``     `uuid.UUID`   32 hexadecimal digits grouped 8-4-4-4-12
``{name:path}``     `str`         all that is left, at least one segment; only as the last segment
==================  ============  ===================================================================

A path is split at ``/`` first and percent-decoded afterwards, once (RFC 3986, section 2.4): ``%2F`` stays inside its
segment. Some paths match no pattern: those with a segment ``.`` or ``..``, encoded or not (a proxy in front may resolve
it differently), with a broken escape, with bytes that are not UTF-8, or with a control character. A trailing slash is
an empty last segment, which matches only a pattern with a trailing slash; other empty segments match nothing. ``path``
takes no segment with an encoded slash: its value, split at ``/``, gives the segments that were sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from keyword import iskeyword
from math import isfinite
from types import MappingProxyType
from typing import Final, Generic, NoReturn, TypeVar, final
from unicodedata import normalize
from urllib.parse import unquote_to_bytes
from uuid import UUID

from attrs import frozen

from seawall.callables import Parameter
from seawall.errors import ConfigurationError

T = TypeVar("T")

_DOTS = frozenset({".", ".."})
#: Visible ASCII and whole escapes. The alternatives exclude each other and nothing is given back: linear time.
_RAW = re.compile(r"/(?:[!\"$&->@-~]++|%[0-9a-fA-F]{2})*+")
#: What no decoded path may contain. Surrogates cannot be in one; a pattern with them could never match.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_BALANCED = re.compile(r"[^{}]*(?:\{[^{}]*\}[^{}]*)*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

#: The converters, with the type of their values.
_TYPES: Mapping[str, type[Parameter]] = {"str": str, "int": int, "float": float, "uuid": UUID, "path": str}

#: What a segment must look like to be converted, the preferred converter first; ``path`` takes more than a segment.
_FORMS: Mapping[str, re.Pattern[str]] = {
    "uuid": re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "int": re.compile(r"-?[0-9]{1,18}"),
    "float": re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"),
    "str": re.compile(r".+", re.DOTALL),
}


def _convert(converter: str, text: str) -> Parameter | None:
    """The value of a segment, or None if the converter does not take it."""
    if not _FORMS[converter].fullmatch(text):
        return None
    value = _TYPES[converter](text)
    return None if isinstance(value, float) and not isfinite(value) else value


@final
@frozen(kw_only=True)
class Placeholder:
    """A segment of a pattern that stands for a parameter."""

    name: str
    """The keyword under which the handler gets the value."""

    converter: str
    """``str``, ``int``, ``float``, ``uuid`` or ``path``."""


@final
@frozen(kw_only=True)
class PathPattern:
    """A pattern that has been checked. Made by `parse`."""

    text: str
    """The pattern as it was written."""

    segments: tuple[str | Placeholder, ...]
    """What stands between the slashes: literals (decoded) and placeholders; a trailing slash is a last ``""``."""

    @property
    def parameters(self) -> Mapping[str, type[Parameter]]:
        """Every placeholder's name and the type of its value, in order."""
        return {s.name: _TYPES[s.converter] for s in self.segments if isinstance(s, Placeholder)}

    @property
    def shape(self) -> tuple[str, ...]:
        """The segments without the names: two patterns of the same shape take the same paths."""
        return tuple(s if isinstance(s, str) else f"{{{s.converter}}}" for s in self.segments)

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Read a pattern such as ``/rooms/{room}/items/{id:int}``.

        Raises:
          ConfigurationError: the pattern can never work; the text says what is wrong and what to write.
        """
        check_pattern(text)
        if not text.startswith("/"):
            _refuse(text, "it does not start with '/'; put one in front")
        if "?" in text or "#" in text:
            _refuse(text, "it has a query or a fragment, which are no part of a path; leave out '?', '#' and the rest")
        *inner, last = text[1:].split("/")
        if "" in inner:
            _refuse(text, "it has an empty segment ('//'); write one '/'")
        segments = tuple(_segment(text, segment) for segment in (*inner, last))
        _check_placeholders(text, segments)
        return cls(text=text, segments=segments)


def check_pattern(value: object) -> None:
    """Refuse what is no text, for programs that no type checker has seen."""
    if not isinstance(value, str):
        raise ConfigurationError(f"path pattern {value!r}: it is no text; write one such as '/chat'")


def _refuse(pattern: str, problem: str) -> NoReturn:
    raise ConfigurationError(f"path pattern {pattern!r}: {problem}")


def _segment(pattern: str, text: str) -> str | Placeholder:
    if not _BALANCED.fullmatch(text):
        _refuse(pattern, f"the braces of {text!r} do not pair; write one placeholder per segment, as in '/{{name}}'")
    if (holder := _PLACEHOLDER.fullmatch(text)) is not None:
        return _placeholder(pattern, holder[1])
    if "{" in text:
        _refuse(pattern, f"the placeholder in {text!r} is not a whole segment; give it a segment of its own")
    if "%" in text:
        _refuse(pattern, f"the segment {text!r} is percent-encoded; write it decoded")
    if text in _DOTS:
        _refuse(pattern, f"the dot segment {text!r} never matches; write the path that it leads to")
    if _CONTROL.search(text):
        _refuse(pattern, f"the segment {text!r} has a character that no path can contain; leave it out")
    return text


def _placeholder(pattern: str, text: str) -> Placeholder:
    name, colon, converter = text.partition(":")
    # Python stores identifiers in NFKC: a keyword spelled otherwise would reach no parameter.
    if not name.isidentifier() or iskeyword(name) or normalize("NFKC", name) != name:
        _refuse(pattern, f"{name!r} cannot be the name of a parameter; use a Python identifier that is no keyword")
    converter = converter if colon else "str"
    if converter not in _TYPES:
        _refuse(pattern, f"there is no converter {converter!r}; known are {', '.join(_TYPES)}")
    return Placeholder(name=name, converter=converter)


def _check_placeholders(pattern: str, segments: tuple[str | Placeholder, ...]) -> None:
    names: set[str] = set()
    for at, segment in enumerate(segments, 1):
        if isinstance(segment, str):
            continue
        if segment.name in names:
            _refuse(pattern, f"the name {segment.name!r} is there twice; give each placeholder its own")
        if segment.converter == "path" and at < len(segments):
            _refuse(pattern, f"'{{{segment.name}:path}}' takes all that is left; make it the last segment")
        names.add(segment.name)


def _split(path: str) -> list[str] | None:
    """The decoded segments of a raw path, or None if it matches no pattern, whatever that is."""
    if not _RAW.fullmatch(path):
        return None
    try:
        text = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return None
    if _CONTROL.search(text):
        return None
    segments = text[1:].split("/")
    if len(segments) != path.count("/"):
        segments = [unquote_to_bytes(segment).decode() for segment in path[1:].split("/")]
    return None if _DOTS.intersection(segments) else segments


def _rest_from(segments: list[str]) -> int:
    """The index from which all segments may go into a ``path`` value."""
    at = len(segments)
    while at and segments[at - 1] and "/" not in segments[at - 1]:
        at -= 1
    return at


@final
class _Node(Generic[T]):
    """A node of the tree, reached by the segments before it. `rest` marks one below ``path``: it takes what is left."""

    def __init__(self, *, rest: bool = False) -> None:
        self.rest = rest
        self.literals: dict[str, _Node[T]] = {}
        self.converters: dict[str, _Node[T]] = {}
        self.entry: tuple[PathPattern, T] | None = None

    def child(self, segment: str | Placeholder) -> _Node[T]:
        if isinstance(segment, str):
            return self.literals.setdefault(segment, _Node())
        return self.converters.setdefault(segment.converter, _Node(rest=segment.converter == "path"))

    def steps(self, text: str) -> Iterator[tuple[_Node[T], tuple[Parameter, ...]]]:
        """The nodes that the segment `text` leads to, each with the parameter that it gives, preferred ones first."""
        if (literal := self.literals.get(text)) is not None:
            yield literal, ()
        for converter in _FORMS:
            node = self.converters.get(converter)
            if node is not None and (value := _convert(converter, text)) is not None:
                yield node, (value,)


_NO_PARAMETERS: Final[Mapping[str, Parameter]] = MappingProxyType({})


@final
class PathTable(Generic[T]):
    """Patterns with a value each, and the look-up.

    At every segment, from the first to the last, a literal is preferred to a placeholder, and placeholders in the order
    ``uuid``, ``int``, ``float``, ``str``, ``path``. If the preferred one leads to no pattern, the next one is tried.
    The order in which patterns were added does not matter.

    Look-up is bounded: the patterns form a tree, a node of depth `n` is compared with segment `n` only, and has one
    parent. So each node is visited once at most, whatever the path. Decoding is linear, and nothing recurses.

    Two kinds of patterns could never be reached, and `add` refuses them. One is a duplicate; placeholders of different
    kinds never hide each other, because each kind takes some segment that the preferred ones do not take. The other is
    a ``path`` where ``str`` takes every number of segments: ``/{a}`` and ``/{a}/{rest:path}`` hide ``/{all:path}``.
    """

    def __init__(self) -> None:
        """Begin with no patterns."""
        self._root: _Node[T] = _Node()
        self._shapes: dict[tuple[str, ...], PathPattern] = {}
        self._literal: dict[str, T] = {}  # what needs no walk: patterns without a placeholder, as they are written

    def add(self, pattern: PathPattern, value: T) -> None:
        """Let `pattern` lead to `value`.

        Raises:
          ConfigurationError: the table has a pattern of the same shape, or one of the patterns could never be
            reached (see the class); the text names the patterns. The table is then what it was.
        """
        shape = pattern.shape
        if (other := self._shapes.get(shape)) is not None:
            _refuse(pattern.text, f"it takes the same paths as {other.text!r}; remove one of them")
        self._shapes[shape] = pattern
        try:
            _check_reachable(self._shapes, shape)
        except ConfigurationError:
            del self._shapes[shape]
            raise
        self._node(pattern).entry = (pattern, value)
        if not pattern.parameters and "%" not in pattern.text:
            self._literal[pattern.text] = value

    def discard(self, pattern: PathPattern) -> None:
        """Let `pattern`, which has been added, lead to nothing again."""
        del self._shapes[pattern.shape]
        self._node(pattern).entry = None
        self._literal.pop(pattern.text, None)

    def _node(self, pattern: PathPattern) -> _Node[T]:
        node = self._root
        for segment in pattern.segments:
            node = node.child(segment)
        return node

    def find(self, path: str) -> tuple[T, Mapping[str, Parameter]] | None:
        """The value for a path and its parameters by name, or None if no pattern takes it.

        Args:
          path: as sent, still percent-encoded, without the query. Whatever it is, nothing is raised.
        """
        if path in self._literal:
            return self._literal[path], _NO_PARAMETERS
        segments = _split(path)
        return None if segments is None else self._walk(segments)

    def _walk(self, segments: list[str]) -> tuple[T, Mapping[str, Parameter]] | None:
        end, rest_from = len(segments), _rest_from(segments)
        stack: list[tuple[_Node[T], int, tuple[Parameter, ...]]] = [(self._root, 0, ())]
        while stack:
            node, at, values = stack.pop()
            if node.rest:
                at, values = end, (*values, "/".join(segments[at:]))
            if at < end:
                if "path" in node.converters and at >= rest_from:
                    stack.append((node.converters["path"], at, values))
                steps = [(step, at + 1, (*values, *value)) for step, value in node.steps(segments[at])]
                stack.extend(reversed(steps))
            elif node.entry is not None:
                pattern, value = node.entry
                return value, dict(zip(pattern.parameters, values, strict=True))
        return None


def _check_reachable(shapes: Mapping[tuple[str, ...], PathPattern], new: tuple[str, ...]) -> None:
    """Refuse the new shape if it hides a ``path`` pattern, or is a ``path`` pattern that others hide."""
    prefix = new
    while prefix and prefix[-1] in ("{str}", "{path}"):
        prefix = prefix[:-1]
        loser = shapes.get((*prefix, "{path}"))
        if loser is not None and (winners := _cover(shapes, prefix)):
            names = ", ".join(repr(winner.text) for winner in winners)
            _refuse(loser.text, f"it can never be reached, because {names} take every path first; remove one of them")


def _cover(shapes: Mapping[tuple[str, ...], PathPattern], prefix: tuple[str, ...]) -> list[PathPattern]:
    """The patterns that together take every path of one or more segments after `prefix`; empty if some is not taken."""
    cover: list[PathPattern] = []
    while (one := shapes.get(prefix := (*prefix, "{str}"))) is not None:
        cover.append(one)
        if (rest := shapes.get((*prefix, "{path}"))) is not None:
            return [*cover, rest]
    return []
