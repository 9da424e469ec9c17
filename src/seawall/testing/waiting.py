"""How long a test's client waits, and what it says when it has waited in vain.

Without a bound a test that waits for an answer which never comes would hang and not fail; in virtual time it would do
so at full load, because Pings and Pongs go on for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, NamedTuple, final

import trio
from attrs import frozen
from trio.testing import MockClock

#: Seconds that a client waits unless it is told otherwise: of real time, and of the virtual time of a `MockClock`.
REAL_TIMEOUT: Final = 30.0
VIRTUAL_TIMEOUT: Final = 3600.0

#: Seconds that are added to each bound, so that what happens at that very moment is still in time.
GRACE: Final = 0.001


class Account(NamedTuple):
    """What there is to say about a connection when a wait has taken too long."""

    instead: str
    """What has come since the wait began."""
    standing: str
    """How the connection stands."""


@final
@frozen
class TimedOut(trio.TooSlowError):
    """A client has waited for something that did not come in time; see the argument `timeout` of `connect`.

    A `trio.TooSlowError`, as the one of ``trio.fail_after``.
    """

    waited_for: str
    """What it waited for, such as ``a message``."""
    timeout: float
    """For how many seconds."""
    instead: str
    """What came instead."""
    standing: str
    """How the connection stands."""

    def __str__(self) -> str:
        """All of it."""
        return f"waited {self.timeout:g} s for {self.waited_for}, in vain; instead came {self.instead}; {self.standing}"


def default_timeout() -> float:
    """The bound of a client that is told none: `VIRTUAL_TIMEOUT` under a `MockClock`, else `REAL_TIMEOUT`."""
    return VIRTUAL_TIMEOUT if isinstance(trio.lowlevel.current_clock(), MockClock) else REAL_TIMEOUT


@contextmanager
def bounded(timeout: float, waited_for: str, account: Callable[[], Account]) -> Generator[None]:
    """Bound the wait in the block by `timeout` seconds, and raise `TimedOut` if it has not ended by then."""
    with trio.move_on_after(timeout + GRACE) as scope:
        yield
    if scope.cancelled_caught:
        raise TimedOut(waited_for, timeout, *account())
