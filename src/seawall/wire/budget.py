"""`Budget`: how much may be done without blocking before everybody else gets a turn."""

from __future__ import annotations

from typing import Final, final

#: Operations and bytes after which a task that never has to wait lets the others run.
OPERATIONS: Final = 16
BYTES: Final = 256 * 1024


@final
class Budget:
    """Shared by all connections of a server, because one task may use many: a broadcast, for instance."""

    __slots__ = ("_bytes", "_operations")

    def __init__(self) -> None:
        """Begin with nothing spent."""
        self._operations = 0
        self._bytes = 0

    def is_spent(self, size: int) -> bool:
        """Count an operation on `size` bytes that need not block; whether others are to run before it is done.

        It is followed by a full checkpoint then, and otherwise by one for cancellation alone.
        """
        self._operations += 1
        self._bytes += size
        if self._operations < OPERATIONS and self._bytes < BYTES:
            return False
        self._operations = self._bytes = 0
        return True
