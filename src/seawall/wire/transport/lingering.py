"""How a socket is put away so that the peer still reads the last thing that was written to it."""

from __future__ import annotations

import socket
from typing import TypeGuard

import trio

#: Seconds for which a peer may keep us reading after our last word; within a second all of it has to be over.
LINGER = 0.9

#: Bytes discarded at once: who was sending a large message when it ended should get through in that time.
READ_SIZE = 256 * 1024


async def linger(stream: trio.abc.Stream) -> None:
    """Say that nothing more will come, and discard what the peer still sends, for `LINGER` seconds at most.

    Closing a socket with unread data in it makes the kernel send a reset, and a reset makes the peer's kernel throw
    away what the peer has not read yet: the HTTP refusal or the Close frame. So we half-close, and read on until the
    peer has closed too. The caller closes the stream afterwards.
    """
    transport = stream.transport_stream if _is_tls(stream) else stream
    try:
        with trio.move_on_after(LINGER):
            await _half_close(stream, transport)
            while await transport.receive_some(READ_SIZE):
                pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        if transport is not stream:  # TLS that has been unwrapped lets go of its transport, and no longer closes it
            await abandon(transport)  # noqa: ASYNC102 - it waits for nobody


async def abandon(stream: trio.abc.Stream) -> None:
    """Close `stream` without waiting, whatever it raises: it is closed all the same (`trio.abc.AsyncResource`)."""
    if isinstance(stream, trio.SocketStream):
        stream.socket.close()  # what its `aclose` does, but for a turn of the scheduler
        return
    try:
        await trio.aclose_forcefully(stream)
    except Exception:  # noqa: BLE001, S110 - nothing more is done with it, and nobody could do anything about it
        pass


async def _half_close(stream: trio.abc.Stream, transport: trio.abc.Stream) -> None:
    if _is_tls(stream):
        try:
            await stream.unwrap()
        except trio.BrokenResourceError:
            pass  # the peer sent something else than its close_notify; ours is out, and that is what counts
    if isinstance(transport, trio.SocketStream):
        try:
            transport.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has gone already
    elif isinstance(transport, trio.abc.HalfCloseableStream):
        await transport.send_eof()


def _is_tls(stream: trio.abc.Stream) -> TypeGuard[trio.SSLStream[trio.abc.Stream]]:
    return isinstance(stream, trio.SSLStream)
