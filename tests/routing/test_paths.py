"""Path patterns and the table that finds them."""

from __future__ import annotations

from time import process_time
from uuid import UUID

import pytest

from seawall.callables import Parameter
from seawall.errors import ConfigurationError
from seawall.routing.paths import PathPattern, PathTable, Placeholder

KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"


def table(*patterns: str) -> PathTable[str]:
    """A table in which each pattern leads to its own text."""
    made: PathTable[str] = PathTable()
    for text in patterns:
        made.add(PathPattern.parse(text), text)
    return made


def parameters(pattern: str, path: str) -> dict[str, Parameter] | None:
    """What `pattern`, alone in a table, makes of `path`."""
    found = table(pattern).find(path)
    return None if found is None else dict(found[1])


def test_parse_keeps_text_segments_and_types_in_order() -> None:
    """A parsed pattern tells its text, its segments, and its parameters with their types in order."""
    text = "/a b/{s}/{i:int}/{f:float}/{u:uuid}/{r:path}"
    pattern = PathPattern.parse(text)
    assert pattern.text == text
    assert pattern.segments[:3] == (
        "a b",
        Placeholder(name="s", converter="str"),
        Placeholder(name="i", converter="int"),
    )
    assert list(pattern.parameters.items()) == [("s", str), ("i", int), ("f", float), ("u", UUID), ("r", str)]


def test_patterns_are_values() -> None:
    """Patterns compare and hash by what they say."""
    assert PathPattern.parse("/a/{b}") == PathPattern.parse("/a/{b}")
    assert len({PathPattern.parse("/a/{b}"), PathPattern.parse("/a/{b}"), PathPattern.parse("/a/{c}")}) == 2


def test_str_may_be_spelled_out() -> None:
    """A placeholder without a converter is one with `str`."""
    assert PathPattern.parse("/{a}").segments == PathPattern.parse("/{a:str}").segments


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("", "does not start with '/'", "put one in front"),
        ("rooms", "does not start with '/'", "put one in front"),
        ("/a?b=1", "a query or a fragment", "leave out"),
        ("/a#b", "a query or a fragment", "leave out"),
        ("/a//b", "an empty segment", "write one '/'"),
        ("//", "an empty segment", "write one '/'"),
        ("/a/{b", "do not pair", "one placeholder per segment"),
        ("/a/b}", "do not pair", "one placeholder per segment"),
        ("/a/}b{", "do not pair", "one placeholder per segment"),
        ("/{{a}}", "do not pair", "one placeholder per segment"),
        ("/{a/b}", "do not pair", "one placeholder per segment"),
        ("/a{b}", "not a whole segment", "a segment of its own"),
        ("/{a}b", "not a whole segment", "a segment of its own"),
        ("/{a}{b}", "not a whole segment", "a segment of its own"),
        ("/{}", "'' cannot be the name", "use a Python identifier"),
        ("/{1a}", "'1a' cannot be the name", "use a Python identifier"),
        ("/{a b}", "'a b' cannot be the name", "use a Python identifier"),
        ("/{class}", "'class' cannot be the name", "no keyword"),
        ("/{ﬁ}", "'ﬁ' cannot be the name", "use a Python identifier"),
        ("/{a}/{a:int}", "'a' is there twice", "give each placeholder its own"),
        ("/{a:number}", "no converter 'number'", "known are str, int, float, uuid, path"),
        ("/{a:}", "no converter ''", "known are str, int, float, uuid, path"),
        ("/{a:path}/b", "takes all that is left", "make it the last segment"),
        ("/{a:path}/", "takes all that is left", "make it the last segment"),
        ("/./a", "the dot segment '.'", "write the path that it leads to"),
        ("/a/..", "the dot segment '..'", "write the path that it leads to"),
        ("/caf%C3%A9", "is percent-encoded", "write it decoded"),
        ("/a\nb", "no path can contain", "leave it out"),
        ("/\udc80", "no path can contain", "leave it out"),
    ],
)
def test_parse_refuses(text: str, problem: str, remedy: str) -> None:
    """A pattern that cannot work is refused with its text, the problem and the remedy."""
    with pytest.raises(ConfigurationError) as caught:
        PathPattern.parse(text)
    message = str(caught.value)
    assert message.startswith(f"path pattern {text!r}: ")
    assert problem in message
    assert remedy in message


@pytest.mark.parametrize(
    ("pattern", "path", "value"),
    [
        ("/{x}", "/a", "a"),
        ("/{x}", "/0", "0"),
        ("/{x}", "/caf%C3%A9", "café"),
        ("/{x}", "/a%2Fb", "a/b"),
        ("/{x}", "/a%2fb", "a/b"),
        ("/{x}", "/%2525", "%25"),
        ("/{x}", "/%2", None),
        ("/{x}", "/%zz", None),
        ("/{x}", "/%FF", None),
        ("/{x}", "/%ED%A0%80", None),
        ("/{x}", "/%C0%AF", None),
        ("/{x}", "/a%00", None),
        ("/{x}", "/a%0A", None),
        ("/{x}", "/a%7F", None),
        ("/{x}", "/a%C2%85", None),
        ("/{x}", "/.", None),
        ("/{x}", "/..", None),
        ("/{x}", "/%2e%2E", None),
        ("/{x}", "/...", "..."),
        ("/{x}", "/%7Bx%7D", "{x}"),
        ("/{x}", "/{int}", "{int}"),
        ("/{x}", "/", None),
        ("/{x}", "/a/", None),
        ("/{x}", "//a", None),
        ("/{x}/", "/a/", "a"),
        ("/{x}/", "/a", None),
        ("/{x:int}", "/7", 7),
        ("/{x:int}", "/-007", -7),
        ("/{x:int}", "/%37", 7),
        ("/{x:int}", "/" + "9" * 18, 10**18 - 1),
        ("/{x:int}", "/" + "9" * 19, None),
        ("/{x:int}", "/+7", None),
        ("/{x:int}", "/1_0", None),
        ("/{x:int}", "/%D9%A3", None),
        ("/{x:int}", "/7%20", None),
        ("/{x:int}", "/-", None),
        ("/{x:float}", "/7", 7.0),
        ("/{x:float}", "/-1.5", -1.5),
        ("/{x:float}", "/1e-05", 1e-05),
        ("/{x:float}", "/1E+16", 1e16),
        ("/{x:float}", "/1e999", None),
        ("/{x:float}", "/inf", None),
        ("/{x:float}", "/nan", None),
        ("/{x:float}", "/1.", None),
        ("/{x:float}", "/.5", None),
        ("/{x:float}", "/0x1p3", None),
        ("/{x:uuid}", "/" + KEY, UUID(KEY)),
        ("/{x:uuid}", "/" + KEY.upper(), UUID(KEY)),
        ("/{x:uuid}", "/" + KEY.replace("-", ""), None),
        ("/{x:uuid}", "/{" + KEY + "}", None),
        ("/{x:uuid}", "/urn:uuid:" + KEY, None),
        ("/f/{x:path}", "/f/a", "a"),
        ("/f/{x:path}", "/f/a/b%20c", "a/b c"),
        ("/f/{x:path}", "/f", None),
        ("/f/{x:path}", "/f/", None),
        ("/f/{x:path}", "/f/a/", None),
        ("/f/{x:path}", "/f//etc", None),
        ("/f/{x:path}", "/f/%2Fetc", None),
        ("/f/{x:path}", "/f/a/b%2Fc", None),
        ("/f/{x:path}", "/f/a/../b", None),
        ("/f/{x:path}", "/f/a/%2e%2e/b", None),
        ("/f/{x:path}", "/f/a/.", None),
    ],
)
def test_a_parameter_takes_what_its_converter_says(pattern: str, path: str, value: Parameter | None) -> None:
    """Each converter gives a value of its type, and takes nothing that it cannot stand for."""
    found = parameters(pattern, path)
    assert found == (None if value is None else {"x": value})
    assert found is None or type(found["x"]) is type(value)


@pytest.mark.parametrize("path", ["", "a", "/a b", "/a?b", "/a#b", "/é", "/\udc80", "/a\n", "*"])
def test_what_is_no_raw_path_is_not_found(path: str) -> None:
    """Text that cannot be the path of a request leads nowhere, and does not raise."""
    assert table("/{x}", "/{x:path}").find(path) is None


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("/", "/"), ("/a", "/a"), ("/a", "/%61"), ("/a/", "/a/"), ("/café au lait", "/caf%c3%a9%20au%20lait")],
)
def test_literals_match_decoded(pattern: str, path: str) -> None:
    """Literals are compared with what the path means, not with how it is spelled."""
    assert parameters(pattern, path) == {}


@pytest.mark.parametrize(("pattern", "path"), [("/a", "/A"), ("/a", "/a/"), ("/a/", "/a"), ("/a/b", "/a%2Fb")])
def test_literals_match_exactly(pattern: str, path: str) -> None:
    """Case and a trailing slash matter, and an encoded slash is not a slash."""
    assert parameters(pattern, path) is None


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/me", "/me"),
        ("/" + KEY, "/{u:uuid}"),
        ("/7", "/{i:int}"),
        ("/7.5", "/{f:float}"),
        ("/you", "/{s}"),
        ("/you/too", "/{r:path}"),
        ("/a%2Fb", "/{s}"),
    ],
)
def test_the_more_particular_segment_wins(path: str, pattern: str) -> None:
    """Literal, uuid, int, float, str, path: in this order, whatever the order of adding."""
    patterns = ("/{r:path}", "/{s}", "/{f:float}", "/{i:int}", "/{u:uuid}", "/me")
    for made in (table(*patterns), table(*reversed(patterns))):
        found = made.find(path)
        assert found is not None
        assert found[0] == pattern


def test_a_choice_that_leads_nowhere_is_given_up() -> None:
    """A literal or typed segment with no way on falls back to the next best, at every depth."""
    made = table("/a/b/c", "/a/{x:int}/d", "/{y}/b/e", "/{z:path}")
    assert made.find("/a/b/c") == ("/a/b/c", {})
    assert made.find("/a/b/e") == ("/{y}/b/e", {"y": "a"})
    assert made.find("/a/7/d") == ("/a/{x:int}/d", {"x": 7})
    assert made.find("/a/7/e") == ("/{z:path}", {"z": "a/7/e"})
    assert made.find("/a") == ("/{z:path}", {"z": "a"})


def test_the_first_segment_weighs_most() -> None:
    """A literal early in the pattern beats one that comes later."""
    assert table("/{x}/b", "/a/{y}").find("/a/b") == ("/a/{y}", {"y": "b"})


def test_an_empty_table_finds_nothing() -> None:
    """Without patterns every path leads nowhere."""
    assert table().find("/") is None


def test_none_is_a_value() -> None:
    """A pattern may lead to None and is found all the same."""
    made: PathTable[None] = PathTable()
    made.add(PathPattern.parse("/a"), None)
    assert made.find("/a") == (None, {})


@pytest.mark.parametrize(
    ("first", "second"),
    [("/a", "/a"), ("/a/{x:int}", "/a/{y:int}"), ("/{x}", "/{y:str}"), ("/{x:path}", "/{y:path}")],
)
def test_a_duplicate_is_refused(first: str, second: str) -> None:
    """Two patterns that differ at most in names are refused, and both are named."""
    made = table(first)
    with pytest.raises(ConfigurationError, match="takes the same paths as") as caught:
        made.add(PathPattern.parse(second), second)
    assert repr(first) in str(caught.value)
    assert repr(second) in str(caught.value)


@pytest.mark.parametrize(
    "patterns",
    [
        ("/{a}", "/{a}/{b:path}", "/{all:path}"),
        ("/{all:path}", "/{a}/{b:path}", "/{a}"),
        ("/{a}", "/{all:path}", "/{a}/{b:path}"),
        ("/x/{a}", "/x/{a}/{b}", "/x/{a}/{b}/{c:path}", "/x/{all:path}"),
        ("/x/{a}", "/x/{all:path}", "/x/{a}/{b}/{c:path}", "/x/{a}/{b}"),
    ],
)
def test_an_unreachable_path_pattern_is_refused(patterns: tuple[str, ...]) -> None:
    """A `path` that is left with nothing is refused, whichever pattern comes last, and the table stays as it was."""
    *before, last = patterns
    made = table(*before)
    with pytest.raises(ConfigurationError, match="it can never be reached") as caught:
        made.add(PathPattern.parse(last), last)
    loser = next(text for text in patterns if "{all:path}" in text)
    assert str(caught.value).startswith(f"path pattern {loser!r}: ")
    assert all(repr(text) in str(caught.value) for text in patterns)
    made.add(PathPattern.parse("/other"), "/other")
    assert made.find("/other") == ("/other", {})


@pytest.mark.parametrize(
    ("patterns", "path"),
    [
        (("/{a}/{b:path}", "/{all:path}"), "/x"),
        (("/{a}", "/{a}/{b}", "/{all:path}"), "/x/y/z"),
        (("/{a:float}", "/{a:float}/{b:path}", "/{all:path}"), "/x"),
        (("/{a}", "/{a}/{b}/{c:path}", "/{all:path}"), "/x/y"),
        (("/{a}/", "/{a}/{b:path}", "/{all:path}"), "/x"),
    ],
)
def test_a_path_pattern_that_has_something_left_is_kept(patterns: tuple[str, ...], path: str) -> None:
    """A `path` beside patterns that take almost everything still gets the rest."""
    found = table(*patterns).find(path)
    assert found is not None
    assert found[0] == "/{all:path}"


@pytest.mark.parametrize("segment", ["/1", "/%2F", "/%31", "/"])
def test_a_hostile_path_is_quick(segment: str) -> None:
    """A path of thousands of segments costs milliseconds, in a table made for backtracking."""
    kinds = ("{%s}", "{%s:int}", "{%s:float}", "1")
    fork = [f"/{a % 'a'}/{b % 'b' if '%' in b else b}" for a in kinds[:3] for b in kinds]
    made = table(*(f"{prefix}/{{c}}/{{d:int}}/end" for prefix in fork), "/{rest:path}", "/1/{rest:path}")
    path = (segment * 8000)[:16384]
    start = process_time()
    made.find(path)
    assert process_time() - start < 1


def test_a_very_deep_pattern_does_not_recurse() -> None:
    """A pattern deeper than Python's stack is found like any other."""
    deep = "/a" * 5000
    assert table(deep, deep + "/{x}").find(deep + "/b") == (deep + "/{x}", {"x": "b"})
