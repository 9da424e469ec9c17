"""`linger`: closes our side of a stream so that the peer can still read the last bytes that we have written."""

from __future__ import annotations

import math
import socket
import struct
import sys
from typing import Final, TypeGuard

import trio

from seawall.wire.transport.sockets import socket_of

#: Seconds for which we read at most after our last write, so that a connection ends within a second after it.
LINGER = 0.9

#: Seconds for which a peer may take nothing of what the kernel still has for it when the socket is closed. Without a
#: bound the kernel of a peer that reads nothing, but answers, has ours keep that for ever: megabytes, and for each
#: connection anew.
UNTAKEN = 10

#: The value of SO_LINGER for a socket that is reset when it is closed.
_RESET: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

#: Bytes discarded in one read: a peer in the middle of a large message should be able to send all of it in `LINGER`.
READ_SIZE = 256 * 1024


async def linger(stream: trio.abc.Stream, *, most: float = math.inf) -> None:
    """Half-close the stream, and discard what the peer sends until the peer has closed too.

    That takes `LINGER` seconds at most, and `most` bytes.

    To close a socket with unread data in it makes the kernel send a reset, and a reset makes the peer's kernel throw
    away what the peer has not read yet: the HTTP refusal or the Close frame. The caller closes the stream afterwards.
    """
    transport = stream.transport_stream if _is_tls(stream) else stream
    try:
        with trio.move_on_after(LINGER):
            await _half_close(stream, transport)
            discarded = 0
            while discarded <= most and (data := await transport.receive_some(READ_SIZE)):
                discarded += len(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        if transport is not stream:  # unwrapped TLS has dropped its transport, and does not close it any more
            await abandon(transport)  # noqa: ASYNC102 - it does not wait


async def abandon(stream: trio.abc.Stream, *, reset: bool = False) -> None:
    """Close `stream` without waiting, and ignore errors: a stream whose `aclose` raises is closed too, says Trio.

    The kernel goes on sending what it has, if the peer takes some of it every `UNTAKEN` seconds. With `reset` it throws
    that away and resets the connection, where it is a socket.
    """
    if (connected := socket_of(stream)) is not None:
        _limit_kernel(connected, reset=reset)
    if isinstance(stream, trio.SocketStream):
        stream.socket.close()  # as its `aclose` does, without a turn of the scheduler
        return
    try:
        await trio.aclose_forcefully(stream)
    except Exception:  # noqa: BLE001, S110 - it is not used any more, and nobody could act on the error
        pass


def _limit_kernel(connected: trio.socket.SocketType, *, reset: bool) -> None:
    """Say what the kernel does with what it still has for the peer when the socket is closed."""
    try:
        if reset:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        elif sys.platform == "linux":
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN * 1000)
    except OSError:
        pass  # a Unix socket, of which nothing is kept, or one that has been closed


async def _half_close(stream: trio.abc.Stream, transport: trio.abc.Stream) -> None:
    try:
        if _is_tls(stream):
            await stream.unwrap()
    except trio.BrokenResourceError:
        pass  # the peer sent no close_notify; but ours has been written, and no more is needed
    finally:  # also when it is cancelled: a peer that has read an end reads no reset after it
        if isinstance(transport, trio.SocketStream):
            try:
                transport.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the peer has gone already
    if not isinstance(transport, trio.SocketStream) and isinstance(transport, trio.abc.HalfCloseableStream):
        await transport.send_eof()


def _is_tls(stream: trio.abc.Stream) -> TypeGuard[trio.SSLStream[trio.abc.Stream]]:
    return isinstance(stream, trio.SSLStream)
