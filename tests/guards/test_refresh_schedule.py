"""`RefreshSchedule`: when keys are fetched, and for how long they are good, on two clocks."""

from __future__ import annotations

import pytest

from seawall.guards.jwt.refresh_schedule import Now, RefreshSchedule


def at(trio: float, unix: float | None = None) -> Now:
    """A moment; both clocks go alike unless it says otherwise."""
    return Now(trio, 1_000_000 + trio if unix is None else 1_000_000 + unix)


def schedule() -> RefreshSchedule:
    """One with the defaults of a `JWKS`."""
    return RefreshSchedule(refresh=300, stale=86_400, cool_down=10)


def fetched(moment: Now) -> RefreshSchedule:
    """One that has fetched keys at a moment."""
    made = schedule()
    made.restart(moment)
    made.begin(moment)
    made.succeed()
    return made


def test_it_begins_at_once() -> None:
    """Before anything has been fetched there is nothing, and it is time."""
    made = schedule()
    made.restart(at(50))
    assert made.is_stale(at(50))
    assert made.wait(at(50)) <= 0
    assert made.cooling(at(50)) <= 0


def test_after_a_fetch() -> None:
    """It is time again when `refresh` has passed; who asks waits for `cool_down`."""
    made = fetched(at(50))
    assert not made.is_stale(at(50))
    assert (made.wait(at(50)), made.wait(at(349)), made.wait(at(350))) == (300, 1, 0)
    assert (made.cooling(at(50)), made.cooling(at(60))) == (10, 0)
    assert (made.is_stale(at(50 + 86_400)), made.is_stale(at(50 + 86_401))) == (False, True)


def test_failures_come_less_and_less_often() -> None:
    """The pause is the cool-down, then twice as long and so on, and never longer than `refresh`."""
    made, now, pauses = fetched(at(0)), 300.0, list[float]()
    for _ in range(8):
        made.begin(at(now - 5))
        made.fail(at(now))
        pauses.append(made.wait(at(now)))
        now += pauses[-1]
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    assert made.age(at(now)) == now
    made.begin(at(now))
    made.succeed()
    assert (made.failures, made.wait(at(now)), made.age(at(now))) == (0, 300, 0)


def test_a_thousand_failures_are_no_overflow() -> None:
    """An outage may be long."""
    made = schedule()
    for _ in range(2000):
        made.begin(at(0))
        made.fail(at(0))
    assert made.wait(at(0)) == 300


def test_a_short_refresh_does_not_break_the_cool_down() -> None:
    """Even if keys are to be fetched every second, the cool-down passes between two fetches."""
    made = RefreshSchedule(refresh=1, stale=60, cool_down=10)
    made.restart(at(0))
    made.begin(at(0))
    made.fail(at(0))
    assert made.wait(at(0)) == 10
    made.begin(at(10))
    made.succeed()
    assert made.wait(at(10)) == 10


@pytest.mark.parametrize(("unix", "due", "stale"), [(301, True, False), (86_401, True, True), (-3600, False, False)])
def test_a_machine_that_was_suspended(unix: float, *, due: bool, stale: bool) -> None:
    """Trio's clock has not gone on, the wall clock has; one that was set back makes nothing younger."""
    made = fetched(at(0))
    later = at(1, unix)
    assert (made.wait(later) <= 0, made.is_stale(later)) == (due, stale)


def test_another_run() -> None:
    """Trio's clock shows something else in another run: what was fetched is as old as the wall clock says."""
    made = fetched(at(50_000, 50))
    made.restart(at(3, 150))
    assert made.age(at(3, 150)) == 100
    assert made.wait(at(3, 150)) <= 0
    made.restart(at(9, 40))  # it was set back
    assert made.age(at(9, 40)) == 0


def test_a_fetch_that_was_broken_off_counts_as_none() -> None:
    """Who takes over fetches as soon as the keys are old, and at once if there are none."""
    cold, warm = schedule(), fetched(at(0))
    for made in (cold, warm):
        made.begin(at(100))
    assert cold.wait(at(100)) <= 0
    assert warm.wait(at(100)) == 200
