"""`StreamTransport`: the transport of all that is not a plain socket: TLS, memory, sockets of a system without epoll.

One task reads the stream and one writes it. Neither is cancelled before `linger` or `close`, when nothing more is
written: a cancelled write breaks a TLS stream, and TLS may have to write in order to read. Both tasks may be waiting
for the stream while there is more to decode or a probe is due, so a third task runs while that is so.
"""

from __future__ import annotations

import ssl
from typing import Final, final

import trio

from seawall.wire.frames.encoder import Frame
from seawall.wire.state import Reading, ReadingEvent
from seawall.wire.transport.base import PACE, ReadInterest, Receiver
from seawall.wire.transport.lingering import linger
from seawall.wire.transport.polled import HangupWatch
from seawall.wire.waiter import Waiter

#: Bytes handed to the stream at once.
WRITE_SIZE: Final = 64 * 1024

#: What a channel wants while it is behind with what has been read.
_BEHIND: Final = frozenset({ReadInterest.DECODE, ReadInterest.THROTTLED})

#: Seconds of waiting in a read after which we conclude that the stream held nothing when the read began.
IDLE_READ_SECONDS: Final = 0.02


@final
class StreamTransport:
    """Reads and writes a stream in tasks: `_run`, which writes, and its children `_read_on` and `_catch_up`."""

    __slots__ = (
        "_catching_up",
        "_channel",
        "_nursery",
        "_read_interest",
        "_scope",
        "_stopped",
        "_stream",
        "_wake_catch_up",
        "_wake_reader",
        "_wake_writer",
        "_watch",
        "probing",
    )

    _channel: Receiver

    def __init__(self, stream: trio.abc.Stream, nursery: trio.Nursery, watch: HangupWatch | None = None) -> None:
        """Prepare.

        Args:
          stream: is read and written from `start` on.
          nursery: in which a task does that, until `close`, or until the stream has ended and failed.
          watch: watches the socket under `stream` while it is not read; None without a socket or a poller.
        """
        self._stream = stream
        self._nursery = nursery  # the caller's; while `_run` runs, its own one inside of that
        self._watch = watch
        self._read_interest = ReadInterest.READ
        self._wake_reader = Waiter()  # for the reader
        self._wake_catch_up = Waiter()  # for who catches up
        self._wake_writer = Waiter()  # for the writer
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        self._catching_up = False
        self.probing = False

    def start(self, channel: Receiver) -> None:
        """Read and write for `channel`."""
        self._channel = channel
        self._nursery.start_soon(self._run, name="writer")  # with a name: else Trio makes a new text for each task

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        """Read and write until `linger` or `close`, or until the stream has ended and failed."""
        try:
            with self._scope:
                async with trio.open_nursery(strict_exception_groups=True) as self._nursery:
                    self._nursery.start_soon(self._read_on, name="reader")
                    await self._write_on()
        finally:
            self._stopped.set()
            self._end_watching()
            self._watch = None
            del self._channel, self._nursery  # else reference cycles would be left to the garbage collector

    def write(self, frame: Frame, /) -> int:
        """Take nothing, and wake the writer, which writes what is pending."""
        self._wake_writer.wake()
        return 0

    def update(self) -> None:
        """Wake the tasks if the channel wants something else now, and start `_catch_up` if it is needed."""
        if self._stopped.is_set():
            return
        read_interest = self._channel.read_interest
        if read_interest is not self._read_interest:
            self._read_interest = read_interest
            self._wake_reader.wake()
            self._wake_catch_up.wake()
        if self._is_behind() and not self._catching_up:
            self._catching_up = True
            self._nursery.start_soon(self._catch_up)

    async def linger(self, most: float, /) -> None:
        """Half-close the stream, and discard what comes until the peer has closed too, or until `close`."""
        working, self._scope = self._scope, trio.CancelScope()
        working.cancel()
        await self.wait_released()
        with self._scope:  # which `close` cancels
            await linger(self._stream, most=most)

    async def wait_released(self) -> None:
        """Wait until no task reads or writes the stream."""
        await self._stopped.wait()

    def close(self) -> None:
        """Cancel reading and writing, and unregister the socket from the poller, because it is closed next."""
        self._scope.cancel()
        self._end_watching()

    @trio.lowlevel.enable_ki_protection
    async def _read_on(self) -> None:
        try:
            while self._channel.reading is not Reading.FINISHED:
                await self._read_once()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
            self._channel.fail(fault)

    async def _read_once(self) -> None:
        read_interest = self._channel.read_interest
        if read_interest is ReadInterest.PAUSED and self._watch is not None:
            self._watch.begin(self)
        if read_interest is not ReadInterest.READ:
            await self._wake_reader.wait()
            self._end_watching()
            return
        asked_at = trio.current_time()
        try:
            data = await self._stream.receive_some(self._channel.read_size)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as broken:
            if not isinstance(broken.__cause__, ssl.SSLEOFError):  # TLS that has ended without a word
                self._channel.lose(ReadingEvent.RESET)
                self.update()
                return
            data = b""
        now = trio.current_time()
        if now - asked_at >= IDLE_READ_SECONDS:
            self.probing = False  # the stream was empty when the read began: the probe has found everything
        self._channel.feed(data, now)
        self.update()

    @trio.lowlevel.enable_ki_protection
    async def _catch_up(self) -> None:
        """While the channel is behind, decode what has been read, one turn after another, and begin probes."""
        try:
            while self._is_behind():
                with trio.move_on_after(0.0 if self._read_interest is ReadInterest.DECODE else PACE) as pause:
                    await self._wake_catch_up.wait()
                if pause.cancelled_caught:
                    self._take_turn()
                self.update()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
            self._channel.fail(fault)
        finally:
            self._catching_up = False

    def _take_turn(self) -> None:
        """Decode or begin a probe, whichever the channel wants now: its wish may have changed during the wait."""
        match self._channel.read_interest:
            case ReadInterest.DECODE:
                self._channel.proceed()
            case ReadInterest.THROTTLED:
                self.probing = True
            case ReadInterest.READ | ReadInterest.PAUSED | ReadInterest.NOTHING:
                pass

    def _is_behind(self) -> bool:
        return not self._scope.cancel_called and self._channel.read_interest in _BEHIND

    @trio.lowlevel.enable_ki_protection
    async def _write_on(self) -> None:
        buffer = self._channel.send_buffer
        while not buffer.broken:
            if not buffer.pending:
                await self._wake_writer.wait()
                continue
            batch = bytes(buffer.pending[:WRITE_SIZE])
            try:
                await self._stream.send_all(batch)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # Not reported here: the next read fails as well, and it may first find a Close of the peer.
                buffer.abort()
            except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
                buffer.abort()
                self._channel.fail(fault)
            else:
                buffer.mark_written(len(batch))

    def _end_watching(self) -> None:
        if self._watch is not None:
            self._watch.end()

    def on_ready(self, events: int, _now: float, /) -> None:
        """Tell the channel that the peer has gone while the stream was not read."""
        try:
            if HangupWatch.is_end(events):
                self._channel.lose()
            else:
                self._channel.finish()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and not the poller
            self._channel.fail(fault)
