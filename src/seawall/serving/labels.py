"""Tells the servers of one process apart in the log: the second is ``s2``, and its connections are ``s2-c17``."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_running: Final[set[int]] = set()  # the numbers of the servers that run
_lock: Final = threading.Lock()


@contextmanager
def label_of_server() -> Generator[str]:
    """A label that no other server of the process has while the block runs: none for the first, then ``s2``, ``s3``."""
    with _lock:
        number = next(number for number in itertools.count(1) if number not in _running)
        _running.add(number)
    try:
        yield "" if number == 1 else f"s{number}"
    finally:
        _running.discard(number)
