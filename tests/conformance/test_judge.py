"""The judge of the Autobahn test-suite: what it expects, and what it finds fault with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.judge import Expected, Result, differences, expand, read_expected, read_results, table

FILE = Path(__file__).with_name("expected.toml").read_text(encoding="utf-8")


def result(behaviour: str = "OK", closing: str = "OK", code: int | None = 1000) -> Result:
    """What the suite might say."""
    return {"behavior": behaviour, "behaviorClose": closing, "remoteCloseCode": code}


def test_the_file() -> None:
    """All the cases of the suite but those about compression, and the 119 that break a rule."""
    cases = read_expected(FILE, deflate=False)
    assert len(cases) == 301
    assert sum(one.violated for one in cases.values()) == 119
    assert not [case for case in cases if case.startswith(("12.", "13."))]


def test_the_sample() -> None:
    """Every kind of data and every offer of permessage-deflate is in the sample."""
    sample = read_expected(FILE, deflate=True).keys() - read_expected(FILE, deflate=False).keys()
    kinds = {f"12.{number}" for number in range(1, 6)} | {f"13.{number}" for number in range(1, 8)}
    assert {case.rpartition(".")[0] for case in sample} == kinds


@pytest.mark.parametrize(
    ("pattern", "cases"),
    [
        ("2.5", ["2.5"]),
        ("2.9-11", ["2.9", "2.10", "2.11"]),
        ("1.1-2.1-2", ["1.1.1", "1.1.2", "1.2.1", "1.2.2"]),
    ],
)
def test_patterns(pattern: str, cases: list[str]) -> None:
    """Any number may be a range."""
    assert list(expand(pattern)) == cases


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('"3.1" = "OK 1000"', "cannot be expected"),
        ('"3.1" = "OK none"', "cannot be expected"),
        ('"3.1" = "FAILED 1002"', "cannot be expected"),
        ('"3.1-2" = "OK 1002"\n"3.2" = "OK 1002"', "twice"),
    ],
)
def test_a_file_that_makes_no_sense(line: str, fault: str) -> None:
    """A violation without its code, a failure that is expected and a case that is there twice are refused."""
    with pytest.raises(ValueError, match=fault):
        read_expected(f"[violated]\n{line}\n[deflate]\n", deflate=True)


@pytest.mark.parametrize(
    ("behaviour", "outcome", "faults"),
    [
        ("OK", result(code=1002), []),
        ("OK", result("NON-STRICT", code=1002), ["3.1: is NON-STRICT, not OK"]),
        ("OK", result("FAILED", code=1002), ["3.1: is FAILED, not OK"]),
        ("OK", result("UNIMPLEMENTED", code=1002), ["3.1: is UNIMPLEMENTED, not OK"]),
        ("NON-STRICT", result(code=1002), []),
        ("NON-STRICT", result("NON-STRICT", code=1002), []),
        ("NON-STRICT", result("INFORMATIONAL", code=1002), ["3.1: is INFORMATIONAL, not NON-STRICT"]),
        ("INFORMATIONAL", result("INFORMATIONAL", "INFORMATIONAL", 1002), []),
        ("INFORMATIONAL", result(code=1002), ["3.1: is OK, not INFORMATIONAL"]),
        ("OK", result(closing="UNCLEAN", code=1002), ["3.1: closing was UNCLEAN"]),
        ("OK", result(closing="FAILED BY CLIENT", code=1002), ["3.1: closing was FAILED BY CLIENT"]),
        ("OK", result(code=1007), ["3.1: the server closed with 1007, not 1002"]),
        ("OK", result(code=None), ["3.1: the server closed with no code, not 1002"]),
    ],
)
def test_differences(behaviour: str, outcome: Result, faults: list[str]) -> None:
    """What the suite lets pass, such as a violation that is answered without a code, we do not."""
    assert differences({"3.1": Expected(behaviour, 1002, violated=True)}, {"3.1": outcome}) == faults


def test_cases_that_are_missing_or_unknown() -> None:
    """A run that was cut short fails, and so does a case that nobody has thought about; 2.10 comes after 2.9."""
    cases = {"2.10": Expected("OK", 1000, violated=False), "3.1": Expected("OK", 1002, violated=True)}
    assert differences(cases, {"2.9": result(), "3.1": result(code=1002)}) == [
        "2.9: ran, but expected.toml does not know it",
        "2.10: did not run",
    ]


def test_the_table() -> None:
    """Each category and all of them are counted."""
    results = read_results(
        '{"seawall": {'
        '"2.4": {"behavior": "OK", "behaviorClose": "OK", "remoteCloseCode": 1000},'
        '"2.5": {"behavior": "NON-STRICT", "behaviorClose": "OK", "remoteCloseCode": 1002},'
        '"10.1.1": {"behavior": "FAILED", "behaviorClose": "UNCLEAN", "remoteCloseCode": null}}}'
    )
    cases = {
        "2.4": Expected("OK", 1000, violated=False),
        "2.5": Expected("NON-STRICT", 1002, violated=True),
        "10.1.1": Expected("OK", 1002, violated=True),
    }
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table(cases, results).splitlines()]
    assert rows[2:] == [
        ["2.*", "2", "1", "1", "0", "0", "0", "1", "1"],
        ["10.*", "1", "0", "0", "0", "1", "1", "1", "0"],
        ["all", "3", "1", "1", "0", "1", "1", "2", "1"],
    ]
