"""`OneRun`: what may be used by one run of Trio at a time, because its events, locks and cancel scopes are of that run.

A program may have several, each in a thread of its own. That Trio runs where a method is called is not enough then.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock
from typing import final

import trio

from seawall.errors import ConfigurationError


@final
class OneRun:
    """Which run of Trio uses something, and how often."""

    __slots__ = ("_lock", "_token", "_uses")

    def __init__(self) -> None:
        """Begin unused."""
        self._lock = Lock()  # two threads may begin at once
        self._token: trio.lowlevel.TrioToken | None = None
        self._uses = 0

    @property
    def is_used(self) -> bool:
        """Whether it is used by any run."""
        return self._uses > 0

    def is_elsewhere(self) -> bool:
        """Whether it is used, and by another run than the one in which this is called, if that is in one."""
        if not self._uses:
            return False
        return not trio.lowlevel.in_trio_run() or trio.lowlevel.current_trio_token() is not self._token

    @contextmanager
    def using(self, refusal: str) -> Generator[None]:
        """Use it in the run of Trio in which this is called; several uses in one run may overlap.

        Raises:
          ConfigurationError: another run uses it; the text is `refusal`.
        """
        here = trio.lowlevel.current_trio_token()
        with self._lock:
            if self._uses and self._token is not here:
                raise ConfigurationError(refusal)
            self._token = here
            self._uses += 1
        try:
            yield
        finally:
            with self._lock:
                self._uses -= 1
                if not self._uses:
                    self._token = None
