"""`Transport`: how the bytes of a `MessageChannel` get to its peer and back; and what a lane asks of it."""

from __future__ import annotations

import enum
from typing import Final, Protocol, final

#: Seconds between two looks at a peer whose handler is behind.
PACE: Final = 0.5


@final
class ReadInterest(enum.Enum):
    """What a lane wants from its link next."""

    READ = "read"
    """Read, `MessageChannel.read_size` bytes at most, and give what came to `MessageChannel.feed`."""
    DECODE = "decode"
    """There is more than one turn's worth already: call `MessageChannel.proceed` when everybody else has had a turn."""
    THROTTLED = "later"
    """The handler has enough for now. Call `MessageChannel.look` after `PACE`, so that control frames are not kept
    waiting."""
    PAUSED = "watch"
    """As much is held as may be: do not read at all, but call `MessageChannel.lose` when the peer has gone."""
    NOTHING = "nothing"
    """Whatever comes does not matter any more."""


class Transport(Protocol):
    """One connection's way to its peer."""

    def write(self, data: bytes, /) -> int:
        """Hand over what can go at once, and say how many bytes went; the rest is then taken from `SendBuffer.pending`.

        Raises:
          trio.BrokenResourceError: nothing will ever go again.
        """
        ...

    def update(self) -> None:
        """The lane's demand has changed, or whether something waits to be written.

        Whatever changes `MessageChannel.read_interest` outside of `MessageChannel.feed`, `proceed` and `lose` calls
        this: a link may remember it.
        """
        ...

    async def linger(self) -> None:
        """Say that nothing more will come, and discard what the peer still sends, until it has finished too.

        The caller bounds the time, and closes the stream afterwards; `seawall.wire.lingering.linger` says why.
        """
        ...

    def close(self) -> None:
        """Let go of the stream. May be called more than once."""
        ...

    async def wait_released(self) -> None:
        """Wait, after `close`, until the stream may be used by somebody else."""
        ...
