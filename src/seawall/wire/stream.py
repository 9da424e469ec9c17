"""`StreamTransport`: the link of everything that is not a plain socket: TLS, memory, a system without epoll.

One task reads the stream and one writes it. Neither is cancelled before `linger` or `close`, when there is nothing more
to say: TLS, for one, is broken by a write that is cancelled half-way, and when it reads it may have to write. What has
been read and is left for later has a task of its own while there is such a thing: both may be busy with the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import trio

from seawall.wire.channel import MessageChannel
from seawall.wire.lingering import linger
from seawall.wire.poller import HangupWatch
from seawall.wire.transport import PACE, ReadInterest
from seawall.wire.waiter import Waiter

#: Bytes handed to the stream at once.
WRITE_SIZE: Final = 64 * 1024

#: What a lane wants while it is behind with what has been read.
_BEHIND: Final = frozenset({ReadInterest.DECODE, ReadInterest.THROTTLED})

#: Seconds of waiting after which it is sure that the stream had nothing more to give.
EMPTY: Final = 0.02


@final
class StreamTransport:
    """Reads and writes inside `run`."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        channel: MessageChannel,
        watch: Callable[[Callable[[], None]], HangupWatch] | None,
    ) -> None:
        """Prepare. `watch` begins to watch the socket under `stream`, if there is one and a poller for it."""
        self._stream = stream
        self._channel = channel
        self._begin_watch = watch
        self._watch: HangupWatch | None = None
        self._read_interest = ReadInterest.READ
        self._changed = Waiter()
        self._turned = Waiter()
        self._more = Waiter()
        self._working = trio.CancelScope()
        self._stopped = trio.Event()
        self._catching_up = False

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read and write until `linger` or `close`, or until the stream has ended and failed."""
        try:
            with self._working:
                async with trio.open_nursery(strict_exception_groups=True) as self._tasks:
                    self._tasks.start_soon(self._read_on)
                    await self._write_on()
        finally:
            self._stopped.set()
            self._end_watching()
            del self._channel, self._tasks  # circles would be left to the garbage collector

    def write(self, data: bytes) -> int:
        """Take nothing, but let the writer begin."""
        self._more.wake()
        return 0

    def update(self) -> None:
        """See to it that what the lane wants now is done."""
        if self._stopped.is_set():
            return
        read_interest = self._channel.read_interest
        if read_interest is not self._read_interest:
            self._read_interest = read_interest
            self._changed.wake()
            self._turned.wake()
        if self._is_behind() and not self._catching_up:
            self._catching_up = True
            self._tasks.start_soon(self._catch_up)

    async def linger(self) -> None:
        """Half-close the stream, and discard what still comes."""
        self._working.cancel()
        await self.wait_released()
        await linger(self._stream)

    async def wait_released(self) -> None:
        """Wait until nothing is read and nothing written any more."""
        await self._stopped.wait()

    def close(self) -> None:
        """Neither read nor write, and let the poller forget the socket, which is closed next."""
        self._working.cancel()
        self._end_watching()

    @trio.lowlevel.enable_ki_protection
    async def _read_on(self) -> None:
        try:
            while not self._channel.eof:
                await self._read_once()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
            self._channel.fail(fault)

    async def _read_once(self) -> None:
        read_interest = self._channel.read_interest
        if read_interest is ReadInterest.PAUSED:
            self._begin_watching()
        if read_interest is not ReadInterest.READ:
            await self._changed.wait()
            self._end_watching()
            return
        asked_at = trio.current_time()
        try:
            data = await self._stream.receive_some(self._channel.read_size)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        now = trio.current_time()
        if now - asked_at >= EMPTY:
            self._channel.looking = False  # there was nothing; this is new
        self._channel.feed(data, now)
        self.update()

    @trio.lowlevel.enable_ki_protection
    async def _catch_up(self) -> None:
        """Decode what has been read, a turn at a time; look whether there is more now and then."""
        try:
            while self._is_behind():
                with trio.move_on_after(0.0 if self._read_interest is ReadInterest.DECODE else PACE) as pause:
                    await self._turned.wait()
                if pause.cancelled_caught:
                    self._take_turn()
                self.update()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
            self._channel.fail(fault)
        finally:
            self._catching_up = False

    def _take_turn(self) -> None:
        """Decode, or look, whichever is the lane's demand after all that may have happened before it was our turn."""
        match self._channel.read_interest:
            case ReadInterest.DECODE:
                self._channel.proceed()
            case ReadInterest.THROTTLED:
                self._channel.look()
            case ReadInterest.READ | ReadInterest.PAUSED | ReadInterest.NOTHING:
                pass

    def _is_behind(self) -> bool:
        return not self._working.cancel_called and self._channel.read_interest in _BEHIND

    @trio.lowlevel.enable_ki_protection
    async def _write_on(self) -> None:
        out = self._channel.out
        while not out.broken:
            if not out.pending:
                await self._more.wait()
                continue
            batch = bytes(out.pending[:WRITE_SIZE])
            try:
                await self._stream.send_all(batch)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # The reader finds out too, and says so: whether the peer had closed properly only it can know.
                out.abort()
            except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
                out.abort()
                self._channel.fail(fault)
            else:
                out.taken(len(batch))

    def _begin_watching(self) -> None:
        if self._begin_watch is not None:
            self._watch = self._begin_watch(self._on_gone)

    def _end_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _on_gone(self) -> None:
        try:
            self._channel.lose()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this connection and not the poller
            self._channel.fail(fault)
