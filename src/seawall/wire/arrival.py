"""Reading a request head from a stream."""

from __future__ import annotations

from contextlib import closing
from typing import Protocol, final

import trio
from attrs import frozen

from seawall.handshake import Handshake
from seawall.wire.head import Head, HeadReader
from seawall.wire.poller import PolledReceiver, Poller

#: Bytes asked of the stream at once.
READ_SIZE = 16 * 1024


@final
@frozen
class Arrival:
    """What a client asked for, and what it sent after it."""

    asked: Handshake
    early: bytes


class Source(Protocol):
    """What a head can be read from: a stream, for instance."""

    async def receive_some(self, max_bytes: int, /) -> bytes | bytearray:
        """At least one byte; none at the end."""
        ...


async def read_head(stream: trio.abc.ReceiveStream, poller: Poller | None = None) -> tuple[Head, bytes] | None:
    """Read until the head is whole; it and what came after it, or None if the peer left before.

    The caller bounds the time.

    Args:
      stream: what to read from.
      poller: waits for it, if it is a plain socket.

    Raises:
      BadRequest: it is no request that we answer otherwise than with an error.
    """
    if poller is None or not isinstance(stream, trio.SocketStream):
        return await _read(stream)
    with closing(PolledReceiver(poller, stream)) as door:
        return await _read(door)


async def _read(source: Source) -> tuple[Head, bytes] | None:
    reader = HeadReader()
    while True:
        try:
            data = await source.receive_some(READ_SIZE)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        if not data:
            return None
        head = reader.receive_data(bytes(data))
        if head is not None:
            return head, reader.rest
