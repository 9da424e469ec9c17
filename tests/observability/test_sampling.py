"""`LogSampler`, and what a storm of failures leaves in the log."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from seawall import Anonymous, App, Connection, ErrorReport, public
from seawall.observability.sampling import BURST, MAX_KINDS, WINDOW, LogSampler
from seawall.testing import serve


def test_a_burst_and_no_more() -> None:
    """So many of a kind within a window are let through, and the others counted, once."""
    throttle = LogSampler()
    assert [throttle.admits(("a",), 0.0) for _ in range(BURST + 3)] == [True] * BURST + [False] * 3
    assert throttle.admits(("b",), 0.0)
    assert throttle.kinds() == (("a",),)
    assert throttle.take_suppressed(("a",)) == 3
    assert throttle.take_suppressed(("a",)) == 0
    assert throttle.take_suppressed(("never",)) == 0
    assert throttle.kinds() == ()


def test_a_new_window() -> None:
    """When the time is over, so many are let through again."""
    throttle = LogSampler()
    for began in (5.0, 5.0 + WINDOW, 500.0):
        assert all(throttle.admits(("a",), began) for _ in range(BURST))
        assert not throttle.admits(("a",), began + WINDOW - 0.1)
    assert throttle.take_suppressed(("a",)) == 3


def test_kinds_without_end() -> None:
    """Their number is bounded; all that come later are one kind."""
    throttle = LogSampler()
    admitted = sum(throttle.admits((str(number),), 0.0) for number in range(MAX_KINDS * 2))
    assert admitted == MAX_KINDS + BURST
    assert throttle.kinds() == (("others",),)
    assert throttle.admits(("0",), 0.0)
    assert throttle.counted_as(("another",)) == ("others",)
    assert throttle.take_suppressed(("another",)) == MAX_KINDS - BURST


def test_kinds_that_are_over_make_room() -> None:
    """But for those of which somebody has still to be told."""
    throttle = LogSampler()
    for number in range(MAX_KINDS):
        throttle.admits((str(number),), 0.0)
    while throttle.admits(("0",), 0.0):
        pass
    assert throttle.counted_as(("new",)) == ("others",)
    assert throttle.admits(("new",), WINDOW)
    assert throttle.counted_as(("new",)) == ("new",)
    assert throttle.take_suppressed(("0",)) == 1


async def crash(conn: Connection[Anonymous]) -> None:
    """Fail as nobody expected."""
    raise RuntimeError("a storm")


def written(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is in the log of errors."""
    return [record.getMessage() for record in caplog.records if record.name == "seawall.error"]


async def test_a_storm_of_failures_is_counted(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """A few are written down with their tracebacks; how many more there were is said with the next, or at the end."""
    app = App()
    app.route("/crash", guard=public)(crash)

    async def storm(count: int) -> None:
        for _ in range(count):
            async with serving.connect("/crash") as client:
                assert (await client.wait_closed()).code == 1011

    async with serve(app) as serving:
        await storm(BURST + 5)
        assert len(written(caplog)) == BURST
        assert all("RuntimeError: a storm" in line for line in written(caplog))
        await trio.sleep(WINDOW)
        await storm(BURST + 7)
        *_, count = written(caplog)[: BURST + 1]
        assert count == "5 more of the same were not logged: builtins.RuntimeError handler /crash"
    assert len(written(caplog)) == 2 * BURST + 2
    assert written(caplog)[-1] == "7 more of the same were not logged: builtins.RuntimeError handler /crash"


async def test_a_storm_that_is_over_is_counted(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody has to wait for the next failure, or for the end of the server, to read how many there were."""
    app = App()
    app.route("/crash", guard=public)(crash)
    async with serve(app) as serving:
        for _ in range(2):
            for _ in range(BURST + 5):
                async with serving.connect("/crash") as client:
                    await client.wait_closed()
            await trio.sleep(WINDOW + 1)
            *_, count = written(caplog)
            assert count == "5 more of the same were not logged: builtins.RuntimeError handler /crash"
    assert len(written(caplog)) == 2 * (BURST + 1)


async def test_a_report_of_ones_own_gets_everything(autojump_clock: MockClock) -> None:
    """It may count for itself."""
    reports: list[ErrorReport] = []
    app = App(report=reports.append)
    app.route("/crash", guard=public)(crash)
    async with serve(app) as serving:
        for _ in range(BURST + 5):
            async with serving.connect("/crash") as client:
                await client.wait_closed()
    assert len(reports) == BURST + 5
