"""`PasswordChecks`: few at once, so that a storm of log-ins leaves the processor to everybody else."""

from __future__ import annotations

from typing import Final, final

import trio

#: How many may wait for their turn, of those that are known and of the others each.
MAX_WAITING: Final = 16

#: For how many seconds they do.
PATIENCE: Final = 3.0


@final
class PasswordChecks:
    """Takes turns. Browsers that are known come first, so that a storm of others keeps nobody out."""

    def __init__(self, at_once: int) -> None:
        """Let so many be checked at once."""
        self._free = at_once
        self._known = trio.lowlevel.ParkingLot()
        self._others = trio.lowlevel.ParkingLot()

    async def begin(self, *, known: bool) -> bool:
        """Wait for a turn; whoever gets one has to say `end`.

        Returns:
          Whether there was one: within `PATIENCE`, and not at once if `MAX_WAITING` wait already.
        """
        if self._free:
            self._free -= 1
            await trio.lowlevel.cancel_shielded_checkpoint()
            return True
        waiting = self._known if known else self._others
        if len(waiting) >= MAX_WAITING:
            await trio.lowlevel.checkpoint()
            return False
        with trio.move_on_after(PATIENCE):
            await waiting.park()
            return True
        return False

    def end(self) -> None:
        """Leave the turn to the next one."""
        for waiting in (self._known, self._others):
            if waiting:
                waiting.unpark()
                return
        self._free += 1
