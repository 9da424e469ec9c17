"""What the suite reports, held against ``expected.toml``. Nothing here runs anything."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias, TypedDict, final

from attrs import frozen

#: The codes that fail a connection: protocol error, not UTF-8, too big.
VIOLATIONS: Final = frozenset({1002, 1007, 1009})

#: What the suite may say of a case for which this is expected.
ALLOWED: Final = {
    "OK": {"OK"},
    "NON-STRICT": {"OK", "NON-STRICT"},
    "INFORMATIONAL": {"INFORMATIONAL"},
}

#: What the suite may say of the way a connection closed. The others are UNCLEAN, WRONG CODE, FAILED BY CLIENT, FAILED.
CLOSED_WELL: Final = frozenset({"OK", "INFORMATIONAL"})

Cases: TypeAlias = "dict[str, Expected]"


@final
@frozen
class Expected:
    """What a case has to come to."""

    behaviour: str
    code: int | None
    """The server's close code; None where it must not send one."""
    violated: bool
    """Whether the client breaks a rule, so that the server has to fail the connection."""


class Result(TypedDict):
    """What the suite says of a case, in its ``index.json``."""

    behavior: str
    behaviorClose: str
    remoteCloseCode: int | None


def expand(pattern: str) -> Iterator[str]:
    """The cases that a pattern stands for: ``1.2-3.1`` is 1.2.1 and 1.3.1."""
    ranges: list[range] = []
    for part in pattern.split("."):
        first, _, last = part.partition("-")
        ranges.append(range(int(first), int(last or first) + 1))
    for numbers in itertools.product(*ranges):
        yield ".".join(map(str, numbers))


def read_expected(text: str, *, deflate: bool) -> Cases:
    """The cases of ``expected.toml``, with those about permessage-deflate or without.

    Raises:
      ValueError: a case is there twice, or something about one makes no sense.
    """
    sections: dict[str, dict[str, str]] = tomllib.loads(text)
    if not deflate:
        del sections["deflate"]
    found: Cases = {}
    for section, patterns in sections.items():
        for pattern, said in patterns.items():
            behaviour, code = said.split()
            one = Expected(behaviour, None if code == "none" else int(code), section == "violated")
            if behaviour not in ALLOWED or (one.violated and one.code not in VIOLATIONS):
                raise ValueError(f"{pattern}: {said!r} cannot be expected")
            for case in expand(pattern):
                if found.setdefault(case, one) is not one:
                    raise ValueError(f"{pattern}: {case} is there twice")
    return found


def read_results(text: str) -> dict[str, Result]:
    """The results in an ``index.json`` about one server."""
    servers: dict[str, dict[str, Result]] = json.loads(text)
    (results,) = servers.values()
    return results


def by_number(case: str) -> list[int]:
    """The key that sorts 2.10 behind 2.9."""
    return [int(part) for part in case.split(".")]


def differences(expected: Mapping[str, Expected], results: Mapping[str, Result]) -> list[str]:
    """A line for each thing that is not as it should be; none if the server passes."""
    return [
        f"{case}: {fault}"
        for case in sorted(expected.keys() | results.keys(), key=by_number)
        for fault in _faults(expected.get(case), results.get(case))
    ]


def _faults(expected: Expected | None, result: Result | None) -> Iterator[str]:
    if expected is None:
        yield "ran, but expected.toml does not know it"
    elif result is None:
        yield "did not run"
    else:
        if result["behavior"] not in ALLOWED[expected.behaviour]:
            yield f"is {result['behavior']}, not {expected.behaviour}"
        if result["behaviorClose"] not in CLOSED_WELL:
            yield f"closing was {result['behaviorClose']}"
        if result["remoteCloseCode"] != expected.code:
            yield f"the server closed with {_code(result['remoteCloseCode'])}, not {_code(expected.code)}"


def _code(code: int | None) -> str:
    return "no code" if code is None else str(code)


def table(expected: Mapping[str, Expected], results: Mapping[str, Result]) -> str:
    """The counts of each category of cases in Markdown."""
    head = ["cases", "number", "OK", "non-strict", "informational", "failed", "unclean", "violations", "right code"]
    categories = sorted({case.partition(".")[0] for case in results}, key=int)
    rows = [_row(f"{category}.*", f"{category}.", expected, results) for category in categories]
    rows.append(_row("all", "", expected, results))
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "".join(
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + " |\n"
        for line in lines
    )


def _row(name: str, prefix: str, expected: Mapping[str, Expected], results: Mapping[str, Result]) -> list[str]:
    chosen = {case: result for case, result in results.items() if case.startswith(prefix)}
    behaviours = [result["behavior"] for result in chosen.values()]
    known = ["OK", "NON-STRICT", "INFORMATIONAL"]
    broken = {case: one for case, one in expected.items() if one.violated and case in chosen}
    counts = [
        len(chosen),
        *map(behaviours.count, known),
        sum(behaviour not in known for behaviour in behaviours),
        sum(result["behaviorClose"] not in CLOSED_WELL for result in chosen.values()),
        len(broken),
        sum(chosen[case]["remoteCloseCode"] == one.code for case, one in broken.items()),
    ]
    return [name, *map(str, counts)]
