"""`Budget`: what the connections of a server have to share: turns, and memory for what nobody has received."""

from __future__ import annotations

from typing import Final, final

from seawall.limits import Limits
from seawall.wire.inbound_budget import InboundBudget

#: Operations, and bytes, after which a task that never has to wait lets the other tasks run.
OPERATIONS: Final = 16
BYTES: Final = 256 * 1024


@final
class Budget:
    """Counts operations that did not block. All connections of a server share it: a broadcast uses many in one task."""

    __slots__ = ("_bytes", "_operations", "inbound")

    def __init__(self, total_inbound_buffer: int = Limits().total_inbound_buffer) -> None:
        """Begin with nothing spent."""
        self.inbound = InboundBudget(total_inbound_buffer)
        """Memory for what nobody has received."""
        self._operations = 0
        self._bytes = 0

    def is_spent(self, size: int) -> bool:
        """Count an operation on `size` bytes that need not block; whether the other tasks are to run before it.

        If so, the caller executes a full checkpoint first, and otherwise one that only looks for cancellation.
        """
        operations = self._operations = self._operations + 1
        total = self._bytes = self._bytes + size
        if operations < OPERATIONS and total < BYTES:
            return False
        self._operations = self._bytes = 0
        return True
