"""`Transport`: moves the bytes of a `MessageChannel` to and from its peer; `ReadInterest`: what the channel wants next.

The channel decides what is to be read, and the transport when. The transport looks at `MessageChannel.read_interest`
after everything that may have changed it: after its own calls of `MessageChannel.feed`, `proceed`, `lose` and `fail`,
and whenever `Transport.update` is called.

Probes. While a handler is behind, its peer is not read (`ReadInterest.THROTTLED`). But a Ping or a Close may have come,
and they should not wait for the handler. So every `PACE` seconds the transport probes: it sets `Transport.probing`,
which makes the channel want to `READ`, until everything that has come is read or the hard mark of the `ReceiveQueue` is
reached. Messages that are read in a probe are queued above the soft mark.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol, final

from seawall.wire.frames.encoder import Frame
from seawall.wire.state import Reading, ReadingEvent

#: Seconds between two probes of a peer whose handler is behind; see above.
PACE: Final = 0.5

#: Bytes of one read: normally; in a message that is larger than that, and on a plain socket after such a message; in
#: the middle of a frame that is larger still. 80 KiB hold a message of 64 KiB, whose echo takes 57 us in one read and
#: 75 in two; the echo of 1 MiB takes the same. glibc maps fresh memory for 128 KiB and more.
READ_SIZE: Final = 16 * 1024
LARGE_READ_SIZE: Final = 80 * 1024
MAX_READ_SIZE: Final = 256 * 1024


@final
class ReadInterest(enum.Enum):
    """What a channel wants from its transport next. `ReceiveQueue` documents where a new reason to pause belongs."""

    READ = "read"
    """Read at most `MessageChannel.read_size` bytes, and hand them to `MessageChannel.feed`."""
    DECODE = "decode"
    """More has come than is decoded in one turn: call `MessageChannel.proceed` after the other tasks had a turn."""
    THROTTLED = "throttled"
    """The handler is behind: do not read, but begin a probe after `PACE` seconds."""
    PAUSED = "paused"
    """The queue is full: do not read at all, but call `MessageChannel.finish` or `lose` when the peer has gone."""
    NOTHING = "nothing"
    """Nothing that comes matters any more: do not read."""


class Outgoing(Protocol):
    """The part of a `SendBuffer` that a transport uses."""

    @property
    def pending(self) -> bytearray | memoryview:
        """What waits to be written."""
        ...

    @property
    def broken(self) -> bool:
        """Whether nothing more can be written."""
        ...

    def mark_written(self, count: int, /) -> None:
        """Remove the first `count` bytes of `pending`, which have been written."""
        ...

    def abort(self) -> None:
        """Write nothing more."""
        ...


class Receiver(Protocol):
    """The part of a `MessageChannel` that its transport uses."""

    @property
    def accepted(self) -> bool:
        """Whether the 101 has been sent."""
        ...

    @property
    def reading(self) -> Reading:
        """What is done with the bytes that come."""
        ...

    @property
    def backlog(self) -> bool:
        """Whether bytes that could be decoded now are still in the decoder."""
        ...

    @property
    def read_interest(self) -> ReadInterest:
        """What the transport is to do next."""
        ...

    @property
    def read_size(self) -> int:
        """How many bytes the transport may read at once."""
        ...

    @property
    def send_buffer(self) -> Outgoing:
        """What waits to be written."""
        ...

    def feed(self, data: bytes | bytearray, now: float, /) -> bool:
        """Take what has been read, or nothing at the end; whether `read_interest` may have changed."""
        ...

    def proceed(self) -> None:
        """Decode one turn's worth of what has come."""
        ...

    def finish(self) -> None:
        """The peer has closed its side, and what it sent last has not been read."""
        ...

    def lose(self, how: ReadingEvent = ..., /) -> None:
        """The peer has gone."""
        ...

    def fail(self, fault: Exception, /) -> None:
        """The transport raised an unforeseen exception."""
        ...

    def abort(self) -> None:
        """Send and read nothing more, and drop the stream."""
        ...


class Transport(Protocol):
    """Reads and writes the stream of one connection. It is made before its channel, which calls `start`."""

    probing: bool
    """Whether a probe is going on, as the module describes. The transport sets it, and clears it when it has read
    everything that has come."""

    def start(self, channel: Receiver, /) -> None:
        """Begin to read and to write for `channel`. Called once, at the end of the channel's constructor."""
        ...

    def write(self, frame: Frame, /) -> int:
        """Write what the stream takes at once of `frame`, and return the number of bytes; the rest becomes `pending`.

        Raises:
          trio.BrokenResourceError: nothing can be written any more.
        """
        ...

    def update(self) -> None:
        """Look again at what the channel wants, and whether something waits to be written.

        Whoever changes `MessageChannel.read_interest`, other than in a call by the transport, has to call this, because
        a transport may remember the old value.
        """
        ...

    async def linger(self, most: float, /) -> None:
        """Half-close the stream, and discard what the peer sends until the peer has closed too, or `most` bytes.

        The caller bounds the time by calling `close`, and closes the stream afterwards. `lingering.linger` says why.
        """
        ...

    def close(self) -> None:
        """Stop using the stream, and drop the channel. May be called more than once."""
        ...

    async def wait_released(self) -> None:
        """Wait, after `close`, until no task of the transport uses the stream."""
        ...
