"""A wall clock that a test may set, for leases in virtual time."""

from __future__ import annotations

import time

import pytest
import trio
from attrs import define

from tests.kit.tokens import signed


@define
class Wall:
    """A wall clock that goes like Trio's, until it is set. It begins at the time that tokens are verified by."""

    began: float
    ahead: float = 0.0

    @classmethod
    def instead_of(cls, patch: pytest.MonkeyPatch) -> Wall:
        """The wall clock of Seawall from now on."""
        wall = cls(float(int(time.time())))
        patch.setattr("seawall.clock.source", wall.time)
        return wall

    def time(self) -> float:
        """Now, in Unix time."""
        return self.began + self.ahead + trio.current_time()

    def token(self, seconds: float, subject: str | None = "ada", **claims: object) -> str:
        """A token that is good for so many seconds from now."""
        return signed({"sub": subject, "exp": self.time() + seconds} | claims)
