"""How a socket is put away so that the peer still reads the last thing that was written to it."""

from __future__ import annotations

from typing import TypeGuard

import trio

#: Seconds for which a peer may keep us reading after our last word.
LINGER = 1.0


async def linger(stream: trio.abc.Stream) -> None:
    """Say that nothing more will come, and discard what the peer still sends, for `LINGER` seconds at most.

    Closing a socket with unread data in it makes the kernel send a reset, and a reset makes the peer's kernel throw
    away what the peer has not read yet: the HTTP refusal or the Close frame. So we half-close, and read on until the
    peer has closed too. The caller closes the stream afterwards.
    """
    with trio.move_on_after(LINGER):
        try:
            await _half_close(stream)
            transport = _transport(stream)
            while await transport.receive_some(64 * 1024):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


async def _half_close(stream: trio.abc.Stream) -> None:
    if _is_tls(stream):
        try:
            await stream.unwrap()
        except trio.BrokenResourceError:
            pass  # the peer sent something else than its close_notify; ours is out, and that is what counts
    transport = _transport(stream)
    if isinstance(transport, trio.abc.HalfCloseableStream):
        await transport.send_eof()


def _transport(stream: trio.abc.Stream) -> trio.abc.Stream:
    """What carries the bytes: the stream itself, or what is under its TLS."""
    return stream.transport_stream if _is_tls(stream) else stream


def _is_tls(stream: trio.abc.Stream) -> TypeGuard[trio.SSLStream[trio.abc.Stream]]:
    return isinstance(stream, trio.SSLStream)
