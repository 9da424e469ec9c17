"""Properties of path patterns: the tree agrees with a slow and obvious model."""

from __future__ import annotations

from itertools import chain, repeat
from unicodedata import category
from urllib.parse import quote
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from seawall.errors import ConfigurationError
from seawall.routing.paths import PathPattern, PathTable

UUID_TEXT = "0f8fad5b-d9cb-469f-a165-70867728950e"
RANKS = ("literal", "uuid", "int", "float", "str", "path")

#: What each kind of segment takes, among the words that `paths` draws.
TAKES = {
    "{s}": {"a", "b", "z", "7", "7.5", UUID_TEXT, "x%2Fy"},
    "{s:uuid}": {UUID_TEXT},
    "{s:int}": {"7"},
    "{s:float}": {"7", "7.5"},
    "a": {"a"},
    "b": {"b"},
    "": {""},
}
WORDS = sorted(set(chain.from_iterable(TAKES.values())))
#: A word for each kind of segment that no preferred kind takes.
OWN = {"{s}": "z", "{s:uuid}": UUID_TEXT, "{s:int}": "7", "{s:float}": "7.5", "a": "a", "b": "b", "": ""}

Shape = tuple[str, ...]

inner = st.sampled_from(["{s}", "{s:uuid}", "{s:int}", "{s:float}", "a", "b"])
few = st.sampled_from(["{s}", "a"])


def join(head: list[str], last: str) -> Shape:
    """A shape from its first segments and its last one."""
    return (*head, last)


shapes = st.builds(
    join,
    st.lists(inner, max_size=2) | st.lists(few, max_size=3),
    st.sampled_from([*TAKES, "{s:path}", "{s}", "{s:path}"]),
)
paths = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(lambda words: "/" + "/".join(words))


def parse(shape: Shape) -> PathPattern:
    """The pattern of a shape, its placeholders called p0, p1, ..."""
    return PathPattern.parse("".join(f"/{segment.replace('{s', f'{{p{at}')}" for at, segment in enumerate(shape)))


def rank(segment: str) -> int:
    """How late a segment is preferred."""
    if not segment.startswith("{"):
        return 0
    return RANKS.index(segment[1:-1].partition(":")[2] or "str")


def takes(shape: Shape, words: list[str]) -> bool:
    """Whether the pattern, by itself, takes the path."""
    *head, last = shape
    if last == "{s:path}":
        rest = words[len(head) :]
        return bool(rest) and all(word and "%2F" not in word for word in rest) and takes_each(head, words)
    return len(words) == len(shape) and takes_each(shape, words)


def takes_each(shape: Shape | list[str], words: list[str]) -> bool:
    """Whether each segment takes its word; words beyond the segments are not looked at."""
    return all(word in TAKES[segment] for segment, word in zip(shape, words, strict=False))


def build(drawn: list[Shape]) -> tuple[PathTable[Shape], list[Shape], list[Shape]]:
    """A table of the shapes that are not refused, these shapes, and the refused ones that are no duplicates."""
    table: PathTable[Shape] = PathTable()
    kept: list[Shape] = []
    refused: list[Shape] = []
    for shape in drawn:
        try:
            table.add(parse(shape), shape)
        except ConfigurationError:
            if shape not in kept:
                refused.append(shape)
        else:
            kept.append(shape)
    return table, kept, refused


def own_paths(shape: Shape) -> list[list[str]]:
    """Paths that only this pattern takes, if any: its own words, and for `path` every number of unlikely ones."""
    if shape[-1] != "{s:path}":
        return [[OWN[segment] for segment in shape]]
    head = [OWN[segment] for segment in shape[:-1]]
    return [[*head, *repeat("z", count)] for count in range(1, 7)]


def model(kept: list[Shape], words: list[str]) -> Shape | None:
    """The best of the patterns that take the path, segment by segment from the left."""
    return min((shape for shape in kept if takes(shape, words)), key=lambda s: [rank(x) for x in s], default=None)


@given(st.lists(shapes, max_size=12), paths)
def test_the_tree_agrees_with_the_model(drawn: list[Shape], path: str) -> None:
    """Look-up finds the best of all patterns that take the path, whatever the order of adding."""
    table, kept, _ = build(drawn)
    again, _, _ = build(kept[::-1])
    for found in (table.find(path), again.find(path)):
        assert (found and found[0]) == model(kept, path[1:].split("/"))


@given(st.lists(shapes, max_size=12))
def test_every_pattern_of_a_table_can_be_reached(drawn: list[Shape]) -> None:
    """For each pattern that was not refused there is a path that leads to it."""
    table, kept, _ = build(drawn)
    for shape in kept:
        found = [table.find("/" + "/".join(words)) for words in own_paths(shape)]
        assert any(one is not None and one[0] == shape for one in found)


@given(st.lists(shapes, max_size=12))
def test_only_what_leaves_a_pattern_unreachable_is_refused(drawn: list[Shape]) -> None:
    """With a refused pattern among the others, some pattern would have had no path of its own."""
    _, kept, refused = build(drawn)
    for shape in refused:
        everyone = [*kept, shape]
        reached = {model(everyone, words) for one in everyone for words in own_paths(one)}
        assert not reached.issuperset(everyone)


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_quoted_segment_comes_back(text: str) -> None:
    """What a client quotes is what the handler gets, unless it is a dot segment or has a control character."""
    table: PathTable[int] = PathTable()
    table.add(PathPattern.parse("/x/{text}/y"), 1)
    found = table.find(f"/x/{quote(text, safe='')}/y")
    if text in {".", ".."} or any(category(character) == "Cc" for character in text):
        assert found is None
    else:
        assert found == (1, {"text": text})


@given(st.integers(-(10**18) + 1, 10**18 - 1), st.floats(allow_nan=False, allow_infinity=False), st.uuids())
def test_typed_values_come_back(number: int, real: float, key: UUID) -> None:
    """Numbers and UUIDs as Python writes them are read as the same values."""
    table: PathTable[int] = PathTable()
    table.add(PathPattern.parse("/{number:int}/{real:float}/{key:uuid}"), 1)
    assert table.find(f"/{number}/{real!r}/{key}") == (1, {"number": number, "real": real, "key": key})


@given(st.text() | st.text(alphabet="/.%2eEfF0a").map(lambda text: "/" + text))
def test_nothing_raises_and_no_dots_get_through(path: str) -> None:
    """Any text is a path that is found or not; a `path` value has no dot and no empty segment."""
    table: PathTable[int] = PathTable()
    table.add(PathPattern.parse("/{rest:path}"), 1)
    found = table.find(path)
    if found is not None:
        rest = str(found[1]["rest"]).split("/")
        assert not {"", ".", ".."}.intersection(rest)
        assert len(rest) == path.count("/")


@given(st.text() | st.text(alphabet="/{}ab:intpath%.").map(lambda text: "/" + text))
def test_parse_gives_a_pattern_or_a_configuration_error(text: str) -> None:
    """No text makes `parse` raise anything else, and a pattern that was parsed can be added and found."""
    try:
        pattern = PathPattern.parse(text)
    except ConfigurationError:
        return
    table: PathTable[int] = PathTable()
    table.add(pattern, 1)
    words = [quote(s, safe="") if isinstance(s, str) else "7" for s in pattern.segments]
    uuids = any(not isinstance(s, str) and s.converter == "uuid" for s in pattern.segments)
    assert uuids or table.find("/" + "/".join(words)) is not None
