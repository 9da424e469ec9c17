"""What a `Poller` watches a plain socket for: a request head, the frames of a connection, or only the peer's end."""

from __future__ import annotations

import os
import select
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, final

import trio

from seawall.wire.frames.encoder import Frame, LongFrame
from seawall.wire.state import Reading, ReadingEvent
from seawall.wire.transport.base import LARGE_READ_SIZE, READ_SIZE, ReadInterest, Receiver
from seawall.wire.transport.poller import Polled, Poller
from seawall.wire.waiter import Waiter

if sys.platform == "linux" or TYPE_CHECKING:
    _IN: Final = select.EPOLLIN
    _READ: Final = select.EPOLLIN | select.EPOLLRDHUP
    _WRITE: Final = select.EPOLLOUT
    _LEFT: Final = select.EPOLLRDHUP
    _BROKEN: Final = select.EPOLLERR
    _CLOSED: Final = select.EPOLLHUP  # both sides are closed; a Unix socket is when its peer has closed it
    _DEAD: Final = select.EPOLLERR | select.EPOLLHUP
    _ONCE: Final = select.EPOLLONESHOT
    # The events to watch for while a socket is not read. Never 0: epoll would report a reset again and again. The
    # socket keeps `_READ` until the next event, because nearly always it is read again or closed before there is one.
    _WATCHED: Final = {
        ReadInterest.THROTTLED: _LEFT | _ONCE,
        ReadInterest.PAUSED: _LEFT | _ONCE,
        ReadInterest.NOTHING: _ONCE,
    }


# What is done with a socket that is read, or is to be read again soon; a tuple is searched without a call.
_READING: Final = (ReadInterest.READ, ReadInterest.DECODE)


# Globals, because to look a member up in its enum costs as much as a call.
_OPEN: Final = Reading.OPEN
_READ_ON: Final = ReadInterest.READ


#: Bytes of long frames that the kernel takes before it has sent them. Trio allows it 16 KiB, less than one segment.
#: What it holds for a peer that does not read costs memory, so connections without long frames are left at that.
UNSENT: Final = 64 * 1024


def _allow_unsent(plain: trio.socket.SocketType) -> None:
    """Let the kernel take `UNSENT` bytes, if it allowed less. 0 is the system's default, and -1 no limit."""
    with suppress(OSError):  # no TCP
        if 0 < plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) < UNSENT:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)


@final
class SocketTransport:
    """The transport of a plain socket: the poller's task reads it, and senders write to it in their own tasks."""

    __slots__ = (
        "_channel",
        "_descriptor",
        "_events",
        "_finished",
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
        self._was_full = False  # whether the last read got all the bytes that it asked for, so that more may be there
        self._was_large = False  # whether the last read was, or should have been, larger than `READ_SIZE`
        self._open = False
        self._finished = False  # whether the peer was found to have closed its side while reading was paused
        self._linger_done: Waiter | None = None  # made by `linger`
        self.probing = False

    def start(self, channel: Receiver) -> None:
        """Read the socket for `channel`."""
        self._channel = channel
        self._open = True
        self._poller.add(self._descriptor, self, self._events)

    def write(self, frame: Frame | bytearray | memoryview, /) -> int:
        """Write to the socket."""
        if not self._open:
            raise trio.BrokenResourceError
        try:
            if not isinstance(frame, LongFrame):
                return os.write(self._descriptor, frame)
            _allow_unsent(self._socket)
            return os.writev(self._descriptor, (frame.header, frame.payload))
        except BlockingIOError:
            return 0
        except OSError:
            # Not reported here: the next read fails as well, and it may first find a Close of the peer.
            raise trio.BrokenResourceError from None

    def update(self) -> None:
        """Ask the kernel for what the channel wants now, and for room if something waits to be written."""
        if not self._open:
            return
        channel = self._channel
        read_interest = channel.read_interest
        is_reading = read_interest is self._read_interest is ReadInterest.READ and self._events == _READ
        if is_reading and not channel.send_buffer.pending:
            return  # as nearly always
        if read_interest is ReadInterest.NOTHING:
            self._wake_lingering()
        self._poller.schedule(self, read_interest)
        self._read_interest = read_interest
        if read_interest in _READING or self._events & _IN:
            self._set_mask(_READ)
        else:
            self._set_mask(self._watched(read_interest))

    def _watched(self, read_interest: ReadInterest) -> int:
        """What to ask the kernel for while the socket is not read."""
        if self._finished and read_interest is ReadInterest.PAUSED:
            read_interest = ReadInterest.NOTHING  # epoll would report the end of the peer's side again and again
        return _WATCHED[read_interest]

    def _set_mask(self, events: int) -> None:
        """Ask the kernel for `events`, and for room if something waits to be written."""
        if self._channel.send_buffer.pending:
            events |= _WRITE
        if events != self._events:
            self._events = events
            self._poller.modify(self._descriptor, events)

    def on_ready(self, events: int, now: float) -> None:
        """Read or write, as `events` says."""
        channel = self._channel
        try:
            if events != _IN or self._read_interest is not _READ_ON:
                self._serve(channel, events, now)
            elif not self._read(channel, now):
                return  # as nearly always: a message has come, and reading goes on
            if self._read_interest is not channel.read_interest or not self._events:
                self.update()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
            self._fail(channel, fault)

    def proceed(self) -> None:
        """Decode for one turn, if the channel still wants that."""
        if not self._open:
            return  # it was closed in this turn, by one that came before it
        channel = self._channel
        try:
            if channel.read_interest is ReadInterest.DECODE:
                channel.proceed()
            self.update()
        except Exception as fault:  # noqa: BLE001 - as above
            self._fail(channel, fault)

    def probe(self) -> None:
        """Begin a probe: read what has come although the handler is behind."""
        if not self._open:
            return
        try:
            self._begin_probe()
        except Exception as fault:  # noqa: BLE001 - as above
            self._fail(self._channel, fault)

    async def linger(self, most: float, /) -> None:
        """Half-close the socket, and wait until the peer has closed too; the poller discards what comes."""
        if not self._open or most < 0:
            return  # else the channel counts what comes, and ends reading when it is more than `most`
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the peer has gone already
        self._was_full = True  # so that the next read asks for as many bytes as the channel allows
        self._linger_done = Waiter()
        self.update()
        while self._should_linger():
            await self._linger_done.wait()

    def close(self) -> None:
        """Stop using the socket, and drop the channel, which would be part of a reference cycle."""
        if self._open:
            self._open = False
            self._poller.schedule(self, ReadInterest.NOTHING)
            self._poller.remove(self._descriptor)
            self._wake_lingering()
            del self._channel

    async def wait_released(self) -> None:
        """Return at once: between the poller's turns no task of ours uses the socket."""

    def _fail(self, channel: Receiver, fault: Exception) -> None:
        """Report `fault` and read no more. A Close can still be written, unless this raises as well."""
        try:
            channel.fail(fault)
            self.update()
        except Exception:  # noqa: BLE001 - a second fault, most likely with the same cause
            channel.abort()

    def _wake_lingering(self) -> None:
        """Wake the task in `linger`, if there is one."""
        if self._linger_done is not None:
            self._linger_done.wake()

    def _should_linger(self) -> bool:
        """Whether the socket is still open in both directions, as far as we know, so that the peer's end can come."""
        return self._open and self._channel.reading is not Reading.FINISHED and not self._channel.send_buffer.broken

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
            self._events = 0  # after one event the kernel waits for no other
        elif events & _IN and read_interest not in _READING:
            # Not before the first event: on most sockets that are not read, none comes.
            self._set_mask(self._watched(read_interest))
            events &= ~_IN
        if events & _WRITE and channel.send_buffer.pending:
            self._flush(channel)
        if not events & ~_WRITE:
            return
        match channel.read_interest:
            case ReadInterest.READ:
                self._read(channel, now)
            case ReadInterest.THROTTLED:
                self._begin_probe()  # the peer has finished; it may have sent a Close before
            case ReadInterest.PAUSED:
                if events & _BROKEN:
                    channel.lose()
                    return
                self._finished = True
                if events & _CLOSED:
                    self._events = _ONCE  # epoll, if asked, would report it again and again
                channel.finish()
            case ReadInterest.NOTHING:
                if events & _DEAD:  # else epoll would report it again and again
                    self.close()
                    channel.send_buffer.abort()
                    channel.lose()
            case ReadInterest.DECODE:
                pass  # what has been read is decoded first

    def _read(self, channel: Receiver, now: float) -> bool:
        """Read once; whether `read_interest` may have changed."""
        if self._was_full or self._was_large or self.probing or channel.reading is not _OPEN:
            return self._read_adapted(channel, now)
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            channel.lose(ReadingEvent.RESET)
            return True
        self._was_full = len(data) == READ_SIZE  # then there may be more
        return channel.feed(data, now)

    def _read_adapted(self, channel: Receiver, now: float) -> bool:
        """The same with a size that suits what has been read before."""
        wanted = size = READ_SIZE
        if self._was_full or self._was_large or channel.reading is not _OPEN:
            wanted = channel.read_size
            size = LARGE_READ_SIZE if self._was_large and wanted == READ_SIZE else wanted  # large messages come in rows
        data, changed, came = None, False, 0
        try:
            data = os.read(self._descriptor, size)
        except BlockingIOError:
            pass
        except OSError:
            channel.lose(ReadingEvent.RESET)
            changed = True
        if data is not None:
            changed, came = channel.feed(data, now), len(data)
        self._was_full = came == size
        self._was_large = wanted > READ_SIZE or came > READ_SIZE
        if self.probing:
            self.probing = self._was_full or channel.backlog
        return changed


@final
class PolledReceiver:
    """Reads a plain socket before the upgrade. Reading it with Trio would take more system calls."""

    def __init__(self, poller: Poller, stream: trio.SocketStream) -> None:
        """Prepare; the socket is registered when a read has to wait for the first time."""
        self._poller = poller
        self._descriptor = stream.socket.fileno()
        self._ready = Waiter()
        self._is_registered = False

    @trio.lowlevel.enable_ki_protection
    async def receive_some(self, max_bytes: int) -> bytes:
        """At least one byte, or none at the end. A call that is cancelled has read nothing.

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
        """Wake the task in `receive_some`: there is something to read."""
        self._ready.wake()

    def close(self) -> None:
        """Read no more. The socket must still be open."""
        if self._is_registered:
            self._poller.remove(self._descriptor)


@final
class HangupWatch:
    """Watches a socket that is not read, for the peer's end: a reset, or that the peer has closed its side."""

    __slots__ = ("_descriptor", "_poller", "_watching")

    def __init__(self, poller: Poller, descriptor: int) -> None:
        """Prepare; nothing is watched before `begin`."""
        self._poller = poller
        self._descriptor = descriptor
        self._watching = False

    def begin(self, polled: Polled) -> None:
        """Call `polled.on_ready` once, when the peer has gone or has closed its side (`is_end`)."""
        self._poller.add(self._descriptor, polled, _LEFT | _ONCE)
        self._watching = True

    @staticmethod
    def is_end(events: int) -> bool:
        """Whether `events` say that the connection has broken off, and not only that the peer has closed its side."""
        return bool(events & _BROKEN)

    def end(self) -> None:
        """Watch no longer, and drop the `polled` of `begin`. The socket must still be open."""
        if self._watching:
            self._watching = False
            self._poller.remove(self._descriptor)
