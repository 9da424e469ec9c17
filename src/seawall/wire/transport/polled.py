"""A plain socket as a `Poller` minds it: before anything is agreed on, as a transport, and when nobody reads it."""

from __future__ import annotations

import os
import select
import socket
import sys
from typing import TYPE_CHECKING, Final, final

import trio

from seawall.wire.state import Reading
from seawall.wire.transport.base import LARGE_READ_SIZE, READ_SIZE, ReadInterest, Receiver
from seawall.wire.transport.poller import Polled, Poller
from seawall.wire.waiter import Waiter

if sys.platform == "linux" or TYPE_CHECKING:
    _IN: Final = select.EPOLLIN
    _READ: Final = select.EPOLLIN | select.EPOLLRDHUP
    _WRITE: Final = select.EPOLLOUT
    _LEFT: Final = select.EPOLLRDHUP
    _DEAD: Final = select.EPOLLERR | select.EPOLLHUP
    _ONCE: Final = select.EPOLLONESHOT
    # What a socket is watched for when it is not to be read; never 0, which would report a reset again and again. It
    # stays at `_READ` until the next event all the same: nearly always there is none before it is read again or closed.
    _WATCHED: Final = {
        ReadInterest.THROTTLED: _LEFT | _ONCE,
        ReadInterest.PAUSED: _LEFT | _ONCE,
        ReadInterest.NOTHING: _ONCE,
    }


def _is_reading(read_interest: ReadInterest) -> bool:
    return read_interest is ReadInterest.READ or read_interest is ReadInterest.DECODE


@final
class SocketTransport:
    """The transport of a plain socket: the poller reads it, and who sends writes to it directly."""

    __slots__ = (
        "_channel",
        "_descriptor",
        "_events",
        "_linger_done",
        "_open",
        "_poller",
        "_read_interest",
        "_socket",
        "_was_full",
        "_was_large",
        "probing",
    )

    _channel: Receiver

    def __init__(self, poller: Poller, stream: trio.SocketStream) -> None:
        """Take the socket over from `stream`, from `start` until `close`."""
        self._poller = poller
        self._socket = stream.socket
        self._descriptor = stream.socket.fileno()
        self._read_interest = ReadInterest.READ
        self._events = _READ
        self._was_full = False
        self._was_large = False
        self._open = False
        self._linger_done: Waiter | None = None  # for `linger`
        self.probing = False

    def start(self, channel: Receiver) -> None:
        """Read the socket for `channel`."""
        self._channel = channel
        self._open = True
        self._poller.add(self._descriptor, self, self._events)

    def write(self, data: bytes | bytearray) -> int:
        """Write to the socket."""
        if not self._open:
            raise trio.BrokenResourceError
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:
            # The reader finds out too, and says so: whether the peer had closed properly only it can know.
            raise trio.BrokenResourceError from None

    def update(self) -> None:
        """Wait for what the channel wants now, and for room if there is something to write."""
        if not self._open:
            return
        channel = self._channel
        read_interest = channel.read_interest
        if (
            read_interest is self._read_interest is ReadInterest.READ
            and self._events == _READ
            and not channel.send_buffer.pending
        ):
            return  # as nearly always
        if read_interest is ReadInterest.NOTHING and self._linger_done is not None:
            self._linger_done.wake()
        self._poller.schedule(self, read_interest)
        self._read_interest = read_interest
        self._set_mask(_READ if _is_reading(read_interest) or self._events & _IN else _WATCHED[read_interest])

    def _set_mask(self, events: int) -> None:
        """Ask the kernel for these, and for room if there is something to write."""
        if self._channel.send_buffer.pending:
            events |= _WRITE
        if events != self._events:
            self._events = events
            self._poller.modify(self._descriptor, events)

    def on_ready(self, events: int, now: float) -> None:
        """Something has happened to the socket."""
        channel = self._channel
        try:
            if events != _IN or self._read_interest is not ReadInterest.READ:
                self._serve(channel, events, now)
            elif not self._read(channel, now):
                return  # as nearly always: a message has come, and more may
            if self._read_interest is not channel.read_interest or not self._events:
                self.update()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
            self._fail(channel, fault)

    def proceed(self) -> None:
        """Decode on."""
        if not self._open:
            return  # it has just been closed, in the same turn
        channel = self._channel
        try:
            if channel.read_interest is ReadInterest.DECODE:
                channel.proceed()
            self.update()
        except Exception as fault:  # noqa: BLE001 - as above
            self._fail(channel, fault)

    def probe(self) -> None:
        """Take in what has come, though the handler is behind."""
        if not self._open:
            return
        try:
            self._begin_probe()
        except Exception as fault:  # noqa: BLE001 - as above
            self._fail(self._channel, fault)

    async def linger(self) -> None:
        """Half-close the socket; the poller discards what still comes."""
        if not self._open:
            return
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it has gone already
        self._was_full = True
        self._linger_done = Waiter()
        self.update()
        while self._should_linger():
            await self._linger_done.wait()

    def close(self) -> None:
        """Give the socket back, and let go of the channel: circles would be left to the garbage collector."""
        if self._open:
            self._open = False
            self._poller.schedule(self, ReadInterest.NOTHING)
            self._poller.remove(self._descriptor)
            if self._linger_done is not None:
                self._linger_done.wake()
            del self._channel

    async def wait_released(self) -> None:
        """Nothing of ours uses the socket between the poller's turns."""

    def _fail(self, channel: Receiver, fault: Exception) -> None:
        """Read no more. The peer is still told, if that is possible."""
        try:
            channel.fail(fault)
            self.update()
        except Exception:  # noqa: BLE001 - the second fault has the first one's cause
            channel.abort()

    def _should_linger(self) -> bool:
        """Whether the peer may still finish properly, and we would see it."""
        channel = self._channel if self._open else None
        return channel is not None and channel.reading is not Reading.FINISHED and not channel.send_buffer.broken

    def _begin_probe(self) -> None:
        self.probing = True
        self.update()

    def _flush(self, channel: Receiver) -> None:
        buffer = channel.send_buffer
        try:
            buffer.mark_written(self.write(buffer.pending))
        except trio.BrokenResourceError:
            buffer.abort()

    def _serve(self, channel: Receiver, events: int, now: float) -> None:
        read_interest = channel.read_interest
        if self._events & _ONCE:
            self._events = 0  # the kernel has forgotten what it was to wait for
        elif events & _IN and not _is_reading(read_interest):
            # Only now: most sockets that are not read do not say anything either.
            self._set_mask(_WATCHED[read_interest])
            events &= ~_IN
        if events & _WRITE and channel.send_buffer.pending:
            self._flush(channel)
        if not events & ~_WRITE:
            return
        match channel.read_interest:
            case ReadInterest.READ:
                self._read(channel, now)
            case ReadInterest.THROTTLED:
                self._begin_probe()  # the peer may have gone, and have said why
            case ReadInterest.PAUSED:
                channel.lose()
            case ReadInterest.NOTHING:
                if events & _DEAD:  # it would be reported for ever
                    self.close()
                    channel.send_buffer.abort()
                    channel.lose()
            case ReadInterest.DECODE:
                pass  # first what is here already

    def _read(self, channel: Receiver, now: float) -> bool:
        """Read once; whether that may have changed what is to be done next."""
        wanted = channel.read_size if self._was_full or self._was_large or not channel.accepted else READ_SIZE
        size = LARGE_READ_SIZE if self._was_large and wanted == READ_SIZE else wanted  # after one, another may come
        try:
            data = os.read(self._descriptor, size)
        except BlockingIOError:
            data = None
        except OSError:
            data = b""
        changed = data is not None and channel.feed(data, now)
        self._was_full = data is not None and len(data) == size  # then there is more, and perhaps much more
        self._was_large = wanted > READ_SIZE or (data is not None and len(data) > READ_SIZE)
        self.probing = self.probing and (self._was_full or channel.backlog)
        return changed


@final
class PolledReceiver:
    """Reads a plain socket on which nothing has been agreed yet. Trio would ask the kernel more often for it."""

    def __init__(self, poller: Poller, stream: trio.SocketStream) -> None:
        """Prepare; nothing is asked of the poller before something is waited for."""
        self._poller = poller
        self._descriptor = stream.socket.fileno()
        self._ready = Waiter()
        self._is_registered = False

    @trio.lowlevel.enable_ki_protection
    async def receive_some(self, max_bytes: int) -> bytes:
        """At least one byte; none at the end. Cancelled, it has taken nothing.

        Raises:
          trio.BrokenResourceError: the peer has reset the connection.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                return os.read(self._descriptor, max_bytes)
            except BlockingIOError:
                if not self._is_registered:
                    self._poller.add(self._descriptor, self, _READ)
                    self._is_registered = True
                await self._ready.wait()
            except OSError as error:
                raise trio.BrokenResourceError from error

    def on_ready(self, _events: int, _now: float) -> None:
        """There is something to read."""
        self._ready.wake()

    def close(self) -> None:
        """Read no more."""
        if self._is_registered:
            self._poller.remove(self._descriptor)


@final
class HangupWatch:
    """Watches a socket that nobody reads for the peer's going: a reset, or that it has finished."""

    __slots__ = ("_descriptor", "_poller", "_watching")

    def __init__(self, poller: Poller, descriptor: int) -> None:
        """Prepare; nothing is watched before `begin`."""
        self._poller = poller
        self._descriptor = descriptor
        self._watching = False

    def begin(self, polled: Polled) -> None:
        """Tell `polled` once, when the peer has gone."""
        self._poller.add(self._descriptor, polled, _LEFT | _ONCE)
        self._watching = True

    def end(self) -> None:
        """Watch no longer, and let go of who was to be told. The socket must still be open."""
        if self._watching:
            self._watching = False
            self._poller.remove(self._descriptor)
