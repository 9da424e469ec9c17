"""Reading a request head from a stream."""

from __future__ import annotations

from typing import final

import trio
from attrs import frozen

from seawall.handshake import Handshake
from seawall.wire.head import Head, HeadReader

#: Bytes asked of the stream at once.
READ_SIZE = 16 * 1024


@final
@frozen
class Arrival:
    """What a client asked for, and what it sent after it."""

    asked: Handshake
    early: bytes


async def read_head(stream: trio.abc.ReceiveStream) -> tuple[Head, bytes] | None:
    """Read until the head is whole; it and what came after it, or None if the peer left before.

    The caller bounds the time.

    Raises:
      BadRequest: it is no request that we answer otherwise than with an error.
    """
    reader = HeadReader()
    while True:
        try:
            data = await stream.receive_some(READ_SIZE)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        if not data:
            return None
        head = reader.receive_data(bytes(data))
        if head is not None:
            return head, reader.rest
