"""`Budget`: how much tasks may send and receive without blocking before the other tasks get a turn."""

from __future__ import annotations

from typing import Final, final

#: Operations, and bytes, after which a task that never has to wait lets the other tasks run.
OPERATIONS: Final = 16
BYTES: Final = 256 * 1024


@final
class Budget:
    """Counts operations that did not block. All connections of a server share it: a broadcast uses many in one task."""

    __slots__ = ("_bytes", "_operations")

    def __init__(self) -> None:
        """Begin with nothing spent."""
        self._operations = 0
        self._bytes = 0

    def is_spent(self, size: int) -> bool:
        """Count an operation on `size` bytes that need not block; whether the other tasks are to run before it.

        If so, the caller executes a full checkpoint first, and otherwise one that only looks for cancellation.
        """
        self._operations += 1
        self._bytes += size
        if self._operations < OPERATIONS and self._bytes < BYTES:
            return False
        self._operations = self._bytes = 0
        return True
