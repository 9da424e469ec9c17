"""`Transport`: how the bytes of a `MessageChannel` get to its peer and back; and `ReadInterest`, what it is to do next.

The channel decides what is to be read, and a transport when: it asks `MessageChannel.read_interest` after everything
that may have changed it. What may change it is known to the transport, because it has called `MessageChannel.feed`,
`proceed`, `lose` or `fail` itself, or is said by `Transport.update`.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol, final

from seawall.wire.state import Reading

#: Seconds between two looks at a peer whose handler is behind.
PACE: Final = 0.5

#: Bytes read at once; in a message that is larger than that, and on a plain socket after it; and at most, in the middle
#: of a large frame. 80 KiB hold a message of 64 KiB, whose echo takes 57 us in one read and 75 in two; 1 MiB takes the
#: same. glibc maps fresh memory for what is 128 KiB or more.
READ_SIZE: Final = 16 * 1024
LARGE_READ_SIZE: Final = 80 * 1024
MAX_READ_SIZE: Final = 256 * 1024


@final
class ReadInterest(enum.Enum):
    """What a channel wants from its transport next. `ReceiveQueue` says where a new reason to pause belongs."""

    READ = "read"
    """Read, `MessageChannel.read_size` bytes at most, and give what came to `MessageChannel.feed`."""
    DECODE = "decode"
    """There is more than one turn's worth already: call `MessageChannel.proceed` when all others have had a turn."""
    THROTTLED = "throttled"
    """The handler has enough for now. Begin a look after `PACE`, so that control frames are not kept waiting; see
    `Transport.probing`."""
    PAUSED = "paused"
    """As much is held as may be: do not read at all, but call `MessageChannel.lose` when the peer has gone."""
    NOTHING = "nothing"
    """Whatever comes does not matter any more."""


class Outgoing(Protocol):
    """What a transport knows of a `SendBuffer`."""

    @property
    def pending(self) -> bytearray:
        """What waits to be written."""
        ...

    @property
    def broken(self) -> bool:
        """Whether nothing more can be written."""
        ...

    def mark_written(self, count: int, /) -> None:
        """So many bytes off the front of what waits have been written."""
        ...

    def abort(self) -> None:
        """Nothing more will be written."""
        ...


class Receiver(Protocol):
    """What a transport knows of its `MessageChannel`."""

    @property
    def accepted(self) -> bool:
        """Whether the 101 is on its way."""
        ...

    @property
    def reading(self) -> Reading:
        """What becomes of what comes."""
        ...

    @property
    def backlog(self) -> bool:
        """Whether there is more to decode."""
        ...

    @property
    def read_interest(self) -> ReadInterest:
        """What the transport is to do next."""
        ...

    @property
    def read_size(self) -> int:
        """How many bytes it may read at once."""
        ...

    @property
    def send_buffer(self) -> Outgoing:
        """What waits to be written."""
        ...

    def feed(self, data: bytes | bytearray, now: float, /) -> bool:
        """Take what has been read, nothing for the end; whether `read_interest` may have changed."""
        ...

    def proceed(self) -> None:
        """Decode one turn's worth of what has come."""
        ...

    def lose(self) -> None:
        """The peer has gone."""
        ...

    def fail(self, fault: Exception, /) -> None:
        """The transport has failed in a way that nobody foresaw."""
        ...

    def abort(self) -> None:
        """Give everything up."""
        ...


class Transport(Protocol):
    """One connection's way to its peer. It is made first, and given its channel by `start`."""

    probing: bool
    """Whether there is a look: all that has come is taken in, once, although the handler is behind, because a Ping or a
    Close may be in it. The transport begins it, and ends it when it has found nothing more."""

    def start(self, channel: Receiver, /) -> None:
        """Begin to read and to write for `channel`, which is complete; called once, by its constructor."""
        ...

    def write(self, data: bytes, /) -> int:
        """Hand over what can go at once, and say how many bytes went; the rest is then taken from `SendBuffer.pending`.

        Raises:
          trio.BrokenResourceError: nothing will ever go again.
        """
        ...

    def update(self) -> None:
        """What the channel wants has changed, or whether something waits to be written.

        Whatever changes `MessageChannel.read_interest` outside of the calls of the transport itself calls this: a
        transport may remember it.
        """
        ...

    async def linger(self) -> None:
        """Say that nothing more will come, and discard what the peer still sends, until it has finished too.

        The caller bounds the time by `close`, and closes the stream afterwards, too; `linger` in `lingering` says why.
        """
        ...

    def close(self) -> None:
        """Let go of the stream and of the channel. May be called more than once."""
        ...

    async def wait_released(self) -> None:
        """Wait, after `close`, until the stream may be used by somebody else."""
        ...
